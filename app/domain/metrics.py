"""How good a ranking is, and whether one is better than another. Pure functions over ids and numbers.

As trec_eval and BEIR compute them: linear gain, discounted by log2 of rank + 1; the mean over questions is a macro
average, and a question without anything relevant has no place in it.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Final

Relevance = Mapping[str, float]
"""What answers a question, by id, and how well; 0 and less is not relevant."""

_EXACT_UP_TO: Final = 12
"""Differences: 4,096 ways to turn their signs are all gone through."""
_NOISE: Final = 1e-12
"""Sums of the same numbers in another order differ by less."""


def ndcg(found: Sequence[str], relevance: Relevance, *, k: int) -> float:
    """Normalized discounted cumulative gain of the first k, in [0, 1] (Järvelin and Kekäläinen 2002, linear gain)."""
    ideal = sorted((gain for gain in relevance.values() if gain > 0), reverse=True)
    best = _discounted(ideal[:k])
    return _discounted([max(relevance.get(each, 0.0), 0.0) for each in found[:k]]) / best if best else 0.0


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def recall(found: Sequence[str], relevance: Relevance, *, k: int) -> float:
    """The share of what is relevant that is among the first k."""
    wanted = _relevant(relevance)
    return len(wanted & set(found[:k])) / len(wanted) if wanted else 0.0


def reciprocal_rank(found: Sequence[str], relevance: Relevance, *, k: int) -> float:
    """1 over the rank of the first that is relevant; 0 if none of the first k is. Its mean is MRR@k."""
    wanted = _relevant(relevance)
    return next((1 / rank for rank, each in enumerate(found[:k], start=1) if each in wanted), 0.0)


def hit(found: Sequence[str], relevance: Relevance, *, k: int) -> float:
    """1 if any of the first k is relevant, else 0."""
    return float(bool(_relevant(relevance) & set(found[:k])))


def _relevant(relevance: Relevance) -> frozenset[str]:
    return frozenset(each for each, gain in relevance.items() if gain > 0)


MEASURES: Final[Mapping[str, Callable[[Sequence[str], Relevance], float]]] = {
    "ndcg@10": lambda found, relevance: ndcg(found, relevance, k=10),
    "recall@5": lambda found, relevance: recall(found, relevance, k=5),
    "recall@10": lambda found, relevance: recall(found, relevance, k=10),
    "recall@50": lambda found, relevance: recall(found, relevance, k=50),
    "mrr@10": lambda found, relevance: reciprocal_rank(found, relevance, k=10),
    "hit@3": lambda found, relevance: hit(found, relevance, k=3),
}
"""What is told of every evaluation, in the order of its columns."""


def measured(found: Sequence[str], relevance: Relevance) -> dict[str, float]:
    """Every measure of one question. `found` has each id once, best first."""
    return {name: measure(found, relevance) for name, measure in MEASURES.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank); 0.0 of none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much better one is than the other over the same questions; `low` to `high` is the bootstrap interval."""

    mean: float
    low: float
    high: float
    p: float
    """Of a difference at least as large, either way, if the two were the same (paired randomization test)."""


def difference(one: Sequence[float], other: Sequence[float], *, seed: int) -> Difference:
    """Of `one` over `other`, a value of each question in the same order. Raises `ValueError` if they do not pair."""
    differences = [mine - theirs for mine, theirs in zip(one, other, strict=True)]
    low, high = bootstrap_interval(differences, seed=seed)
    return Difference(
        mean=fmean(differences) if differences else 0.0, low=low, high=high, p=randomization_p(differences, seed=seed)
    )


def randomization_p(differences: Sequence[float], *, seed: int, rounds: int = 10_000) -> float:
    """Two-sided p of the mean difference: how often turning signs at random gives one as large (Fisher 1935).

    Exact over all signs for few differences that are not 0; else (more extreme + 1) / (rounds + 1), which is never 0.
    """
    telling = [each for each in differences if each]
    observed = abs(math.fsum(telling)) - _NOISE
    if len(telling) <= _EXACT_UP_TO:
        signs = list(product((1, -1), repeat=len(telling)))
        return sum(abs(_signed(telling, each)) >= observed for each in signs) / len(signs)
    drawn = _random_signs(len(telling), seed=seed, rounds=rounds)
    return (1 + sum(abs(_signed(telling, each)) >= observed for each in drawn)) / (rounds + 1)


def _signed(differences: Sequence[float], signs: Sequence[int]) -> float:
    return sum(each if sign > 0 else -each for each, sign in zip(differences, signs, strict=True))


def _random_signs(number: int, *, seed: int, rounds: int) -> Iterator[list[int]]:
    chance = random.Random(seed)  # noqa: S311 - the same seed, the same answer
    for _ in range(rounds):
        bits = chance.getrandbits(number)
        yield [1 if bits >> at & 1 else -1 for at in range(number)]


def bootstrap_interval(
    differences: Sequence[float], *, seed: int, rounds: int = 2_000, share: float = 0.95
) -> tuple[float, float]:
    """Where the mean difference lies in this share of samples drawn with replacement (Efron 1979, percentiles)."""
    if not differences:
        return 0.0, 0.0
    chance = random.Random(seed)  # noqa: S311 - the same seed, the same answer
    means = sorted(fmean(chance.choices(differences, k=len(differences))) for _ in range(rounds))
    outside = (1 - share) / 2
    return means[int(outside * rounds)], means[min(int((1 - outside) * rounds), rounds - 1)]
