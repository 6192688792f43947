"""What anybody may write takes time by its length, not by its square, and breaks nothing."""

import time
from collections.abc import Callable

import pytest

from app.domain.answering import wanted
from app.domain.claims import claims, sentences
from app.domain.composing import without_marks
from app.domain.demands import has_phrases
from app.domain.similarity import Heard, particulars

LENGTH = 100_000
SECONDS = 5.0
"""Ten times and more what it takes, and a tenth or less of what it took by the square."""


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (sentences, " " * LENGTH + "x"),
        (sentences, "\r" * LENGTH),
        (wanted, "." * LENGTH),
        (wanted, "; " * (LENGTH // 2)),
        (without_marks, "\n" * LENGTH + "x"),
        (particulars, "a" * LENGTH),
        (particulars, "語" * LENGTH),
    ],
)
def test_time_grows_with_the_length(read: Callable[[str], object], text: str) -> None:
    began = time.process_time()
    read(text)
    assert time.process_time() - began < SECONDS


def test_many_phrases_are_looked_for_in_many_passages_at_once() -> None:
    words = [f"w{number}x" for number in range(600)]
    text = " ".join(words)
    began = time.process_time()
    assert all(has_phrases(text, *words) for _ in range(200))
    assert not has_phrases(text, *words, "w600x")
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize(
    "text",
    [
        f"It ends on {'9' * 330} January 2024.",
        f"It ends in June {'9' * 4400}.",
        f"It costs {'9' * 5000} euros in {'9' * 5000}.",
        f"It lasts 9 {'billion ' * 40} January.",
    ],
)
def test_numbers_of_any_length_are_read(text: str) -> None:
    (claim,) = claims(text)
    assert all(abs(bound) <= 1e24 for each in claim.quantities for bound in (each.low, each.high) if bound is not None)


def test_words_that_lie_alike_in_memory_are_not_taken_for_one_another() -> None:
    said = "we do it as he is on it by it at us"
    twins = " ".join(word.encode("ascii").decode("utf-16-le") for word in said.split())
    assert [hash(word) for word in said.split()] == [hash(word) for word in twins.split()]
    heard = Heard()
    assert heard.hear(said) == heard.hear(twins) == []
