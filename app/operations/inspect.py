"""Step 6 of an answer: what its reader should know of the passages that are shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.domain.checks import Check, authority, conflict, freshness
from app.domain.citation import Flag, Passage
from app.domain.conflicts import Contradiction, conflicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The passages with the flags that inspecting them raised, what was found, and the checks that say so."""

    passages: tuple[Passage, ...]
    conflicts: tuple[Contradiction, ...]
    checks: tuple[Check, ...]


def inspect(question: str, passages: Sequence[Passage], *, ruled: bool) -> Inspected:
    """`ruled` if a system of record is known to the principal.

    INVARIANT: a function of the question, of what is shown and of what the principal may know: nothing is loaded here.
    """
    found = conflicts(question, passages)
    contradicted = {rank for each in found for rank in each.passages}
    flagged = tuple(
        replace(each, flags=(*each.flags, Flag.CONFLICT)) if each.rank in contradicted else each for each in passages
    )
    checks = (freshness(flagged), authority(flagged, ruled=ruled), conflict(found, passages=len(flagged)))
    return Inspected(passages=flagged, conflicts=found, checks=checks)
