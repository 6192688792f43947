"""Measures of a ranking, against values worked out by hand."""

import math

import pytest

from app.domain.metrics import (
    bootstrap_interval,
    difference,
    hit,
    measured,
    ndcg,
    percentile,
    randomization_p,
    recall,
    reciprocal_rank,
)


def test_a_perfect_ranking_has_a_gain_of_one_and_a_fruitless_one_of_none() -> None:
    assert ndcg(["a", "b", "x"], {"a": 1, "b": 1}, k=10) == 1.0
    assert ndcg(["x", "y"], {"a": 1}, k=10) == 0.0
    assert ndcg([], {"a": 1}, k=10) == 0.0
    assert ndcg(["a"], {}, k=10) == 0.0


def test_gain_is_linear_and_discounted_by_the_logarithm_of_the_rank() -> None:
    # DCG = 3/log2(2) + 0 + 2/log2(4) = 4; the ideal = 3/log2(2) + 2/log2(3) + 1/log2(4)
    ideal = 3 + 2 / math.log2(3) + 0.5
    assert ndcg(["a", "x", "b"], {"a": 3, "b": 2, "c": 1}, k=10) == pytest.approx(4 / ideal)
    assert ndcg(["x", "a"], {"a": 1}, k=10) == pytest.approx(0.6309297535714575)
    assert ndcg(["x", "a"], {"a": 1}, k=1) == 0.0


def test_what_is_judged_irrelevant_gains_nothing() -> None:
    judged = {"a": 0, "b": -1, "c": 1}
    assert measured(["a", "b", "c"], judged) == {
        "ndcg@10": pytest.approx(0.5),
        "recall@5": 1.0,
        "recall@10": 1.0,
        "recall@50": 1.0,
        "mrr@10": pytest.approx(1 / 3),
        "hit@3": 1.0,
    }


def test_recall_rank_and_hit_look_at_the_first_k_alone() -> None:
    found, wanted = ["x", "a", "y", "b"], {"a": 1.0, "b": 1.0, "c": 1.0}
    assert recall(found, wanted, k=2) == pytest.approx(1 / 3)
    assert recall(found, wanted, k=4) == pytest.approx(2 / 3)
    assert reciprocal_rank(found, wanted, k=4) == 0.5
    assert reciprocal_rank(found, wanted, k=1) == 0.0
    assert (hit(found, wanted, k=1), hit(found, wanted, k=2)) == (0.0, 1.0)


def test_a_percentile_is_a_value_that_was_there() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.95) == 4.0
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) == 0.0


def test_few_differences_are_tested_exactly() -> None:
    # of the 8 ways to turn three signs, only +++ and --- have a sum of at least 6
    assert randomization_p([1, 2, 3], seed=1) == 2 / 8
    # sums of +-1 +-2 +-3 with the observed -1+2+3 = 4: +-6 and +-4
    assert randomization_p([-1, 2, 3], seed=1) == 4 / 8
    assert randomization_p([0.0, 0.0], seed=1) == 1.0
    assert randomization_p([], seed=1) == 1.0


def test_questions_that_do_not_differ_do_not_change_the_test() -> None:
    assert randomization_p([1, 2, 3, *[0.0] * 500], seed=1) == 2 / 8


def test_many_differences_are_drawn_and_agree_with_the_binomial() -> None:
    # 15 of 20 equal differences are positive: a sign test, two-sided p = 2 * P(B(20, 1/2) >= 15) = 0.0414
    drawn = randomization_p([1.0] * 15 + [-1.0] * 5, seed=7)
    assert drawn == pytest.approx(0.0414, abs=0.006)
    assert drawn == randomization_p([1.0] * 15 + [-1.0] * 5, seed=7), "the same seed, the same p"
    assert randomization_p([1.0] * 40, seed=7) == pytest.approx(1 / 10_001)


def test_the_interval_holds_the_mean_and_widens_with_the_spread() -> None:
    assert bootstrap_interval([0.5] * 10, seed=1) == (0.5, 0.5)
    low, high = bootstrap_interval([0.0, 1.0] * 50, seed=1)
    # the standard error of the mean is .5 / sqrt(100) = .05
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.015)
    assert high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.015)


def test_a_difference_pairs_the_questions() -> None:
    made = difference([1.0, 0.5, 1.0], [0.0, 0.5, 0.5], seed=3)
    assert made.mean == pytest.approx(0.5)
    assert made.p == 2 / 4, "the tie tells nothing, of two others both signs"
    assert made.low <= made.mean <= made.high
    with pytest.raises(ValueError, match="zip"):
        difference([1.0], [1.0, 2.0], seed=3)
