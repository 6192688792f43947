"""Claims held against evidence: what a sentence says must stand in a passage, with its numbers, names and polarity.

Rules and vectors, and no model of inference: a claim that puts the right words together wrongly (who did what to whom,
cause and effect, a condition left out) may pass, and one that says the same in other words may not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.claims import Claim, Modality, Quantity, stem, stems
from app.domain.phrasing import STOP_WORDS

SUPPORTS: Final = 0.55
"""From here on evidence says what a claim says, if nothing in it is otherwise: half words shared, half cosine."""

SAME_MATTER: Final = 0.5
"""From here on evidence and claim are about the same, so that what is otherwise in it contradicts."""


class Verdict(StrEnum):
    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    """Evidence on the same matter says another number, or the opposite."""
    UNSUPPORTED = "unsupported"
    UNCITED = "uncited"
    """Supported, by a passage that the claim does not cite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A sentence of a passage, or two that follow each other, read."""

    passage: int
    """Its rank."""
    place: int
    """Of the sentence among all of them; of two, of the first."""
    claims: tuple[Claim, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of a claim. `place` is the sentence that supports or contradicts it, if any does."""

    verdict: Verdict
    passage: int | None = None
    place: int | None = None
    score: float = 0.0


def verified(
    text: str, claim: Claim, statements: Sequence[Statement], cosines: Sequence[float], *, cited: frozenset[int]
) -> Finding:
    """What the statements say of a claim in a text; `cosines` are how near each is to it. What it cites comes first."""
    nearness = [
        round(0.5 * max(0.0, cosine) + 0.5 * shared(claim, statement), 4)
        for statement, cosine in zip(statements, cosines, strict=True)
    ]
    by_nearness = sorted(range(len(statements)), key=lambda at: (-nearness[at], at))
    known = _opens_with_what_is_known(claim.span.of(text), statements)
    supporting = [at for at in by_nearness if known and nearness[at] >= SUPPORTS and _holds(claim, statements[at])]
    own = [at for at in supporting if statements[at].passage in cited]
    if supporting:
        at = (own or supporting)[0]
        return _found(Verdict.SUPPORTED if own else Verdict.UNCITED, statements[at], nearness[at])
    near = [at for at in by_nearness if nearness[at] >= SAME_MATTER]
    named = [each for at in near for one in statements[at].claims for each in one.quantities]
    for at in near:
        if len(statements[at].claims) == 1 and _otherwise(claim, statements[at], named):
            return _found(Verdict.CONTRADICTED, statements[at], nearness[at])
    return Finding(verdict=Verdict.UNSUPPORTED, score=max(nearness, default=0.0))


def _found(verdict: Verdict, statement: Statement, score: float) -> Finding:
    return Finding(verdict=verdict, passage=statement.passage, place=statement.place, score=score)


def _opens_with_what_is_known(said: str, statements: Sequence[Statement]) -> bool:
    """Whether the first word, which is capital and may be a name, is one that the evidence has, or one of no matter."""
    found = _FIRST_WORD.match(said)
    word = found[1].casefold() if found else ""
    return (
        word in STOP_WORDS or word in _OPENING or any(stem(word) in stems(each.text) for each in statements) or not word
    )


_FIRST_WORD: Final = re.compile(r"[^\w]*([^\W\d_][\w'’-]*)")
_OPENERS: Final = """
    according additionally also answer currently furthermore generally hence however moreover namely otherwise overall
    please similarly specifically therefore thus yes yet ja laut gemäß zudem außerdem daher jedoch
"""
_OPENING: Final = frozenset(_OPENERS.split())


def shared(claim: Claim, statement: Statement) -> float:
    """Which part of the claim's words the statement says."""
    said = frozenset(word for each in statement.claims for word in each.words)
    asked = frozenset(claim.words)
    return len(asked & said) / len(asked) if asked else 0.0


def _holds(claim: Claim, statement: Statement) -> bool:
    """Whether every number and name of the claim stands there, and nothing there says its opposite."""
    quantities = [each for one in statement.claims for each in one.quantities]
    text = statement.text.casefold()
    return (
        all(any(_equal(each, other) for other in quantities) for each in claim.quantities)
        and all(name in text for name in claim.names)
        and claim.modality not in _closest(claim, statement).modality.opposites
    )


def _otherwise(claim: Claim, statement: Statement, named: Sequence[Quantity]) -> bool:
    """Whether the statement says the opposite, or another number of the same that nothing near names otherwise."""
    quantities = statement.claims[0].quantities
    another = any(
        any(_comparable(each, other) for other in quantities) and not any(_equal(each, other) for other in named)
        for each in claim.quantities
    )
    modality = _closest(claim, statement).modality
    return another or (claim.modality in modality.opposites and {claim.modality, modality} != _MILD)


_MILD: Final = {Modality.REQUIRED, Modality.OPTIONAL}
"""Saying that something need not be is often beside saying what must."""


def _closest(claim: Claim, statement: Statement) -> Claim:
    """Of several sentences, the one that shares most words with the claim."""
    asked = frozenset(claim.words)
    return max(statement.claims, key=lambda each: len(asked & frozenset(each.words)))


def _comparable(some: Quantity, other: Quantity) -> bool:
    """Whether two quantities measure the same sort of thing."""
    return (
        some.kind is other.kind
        and some.unit == other.unit
        and (not some.of or not other.of or bool(some.of & other.of))
    )


def _equal(some: Quantity, other: Quantity) -> bool:
    """Whether they name the same value. That one is a limit and the other is not does not part them; opposite limits
    do."""
    if some.kind is not other.kind or (some.unit != other.unit and some.kind.value in ("money", "date")):
        return False
    if some.unit != other.unit and "working-day" in (some.unit, other.unit):
        return False
    if some.limit and other.limit and (some.low is None) != (other.low is None):
        return False
    ours, theirs = _ends(some), _ends(other)
    return ours == theirs or (len(ours) == 1 and ours <= theirs)


def _ends(quantity: Quantity) -> frozenset[float]:
    return frozenset(end for end in (quantity.low, quantity.high) if end is not None)
