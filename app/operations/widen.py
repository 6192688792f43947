"""Passages grown into what the token budget leaves: the last of selection, on text that SQL has just confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Final

from sqlalchemy.orm import Session

from app.domain.citation import Passage, fenced, numbered
from app.domain.corpus import ChunkId, VersionId
from app.domain.similarity import Heard
from app.domain.windows import WIDEST, Part, follows, stitched, wider
from app.operations import discharge
from app.ports import Ports
from app.store import corpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A passage that was chosen, with what its growth depends on."""

    passage: Passage
    chunk: ChunkId
    hidden: frozenset[str]
    """The categories that are not shown of it."""
    alone: bool
    """An obligation has its quote shown without what is around it."""
    tokens: int
    """Of the passage as it stands in the context."""


def widened(ports: Ports, session: Session, chosen: Sequence[Chosen], *, room: int) -> Sequence[Chosen]:
    """The passages, the best ranked first grown by their neighbours as far as the budget goes; those that meet are one.

    A passage grows within its version and section, by `WIDEST` chunks to each side, each with the digest that it was
    published with, and by nothing that another passage says already. `room` is the tokens of all of them together.
    INVARIANT: a function of the passages, which `session` has confirmed, and of their versions, which lie in the same
    boundaries. One query.
    """
    growing = [each.chunk for each in chosen if not each.alone]
    if not growing or sum(each.tokens for each in chosen) > room:
        return chosen
    parts = corpus.neighbours(session, growing, within=WIDEST, chars=discharge.AROUND_CHARS)
    return _Growth(ports, chosen, parts, room).grown()


def tokens_of(ports: Ports, passage: Passage, rank: int) -> int:
    """What the passage costs as it stands in the context, at a rank. What follows its number is counted once for all
    questions that it answers, and remembered as a digest and a number: nothing of a text that is erased is left in
    it."""
    return sum(
        ports.memo.recall(
            ("tokens", ports.generation, sha256(part.encode("utf-8", "surrogatepass")).digest()),
            partial(_counted, ports, part),
            weigh=lambda _: _WEIGHT_OF_A_NUMBER,
        )
        for part in (numbered(rank), fenced(passage))
    )


_WEIGHT_OF_A_NUMBER: Final = 5


def _counted(ports: Ports, text: str) -> int:
    return ports.tokenizer.count(text)


class _Growth:
    """Which chunks each passage spans, as it grows: planned by the tokens that SQL has for each chunk, then counted."""

    def __init__(self, ports: Ports, chosen: Sequence[Chosen], parts: Sequence[Part], room: int) -> None:
        self._ports, self._chosen, self._room = ports, chosen, room
        self._by_place = {part.place: part for part in parts if part.intact}
        by_chunk = {part.chunk: part for part in self._by_place.values()}
        self._runs: dict[ChunkId, tuple[Part, ...]] = {
            each.chunk: (by_chunk[each.chunk],) for each in chosen if each.chunk in by_chunk and not each.alone
        }
        self._planned = sum(each.tokens for each in chosen)
        self._steps = [dict(self._runs)]
        self._heard = Heard()
        for each in chosen:
            self._heard.hear(each.passage.citation.quote)

    def grown(self) -> Sequence[Chosen]:
        for chunk in list(self._runs):
            while chunk in self._runs and self._grows(chunk):
                self._steps.append(dict(self._runs))
        shown = self._rendered()
        while sum(each.tokens for each in shown) > self._room and len(self._steps) > 1:
            self._steps.pop()
            self._runs = self._steps[-1]
            shown = self._rendered()
        return shown

    def _grows(self, chunk: ChunkId) -> bool:
        """Whether the passage took a neighbour, or all of another passage that it meets: what follows comes first."""
        run = self._runs[chunk]
        after, before = self._by_place.get(_beside(run[-1], 1)), self._by_place.get(_beside(run[0], -1))
        if after is not None and follows(after, run[-1]) and self._has_room(chunk, after):
            self._runs[chunk] = (*run, *self._meeting(chunk, after))
            return True
        if before is not None and follows(run[0], before) and self._has_room(chunk, before):
            self._runs[chunk] = (*self._meeting(chunk, before), *run)
            return True
        return False

    def _has_room(self, chunk: ChunkId, neighbour: Part) -> bool:
        if self._other(chunk, neighbour) is not None:
            return True
        if self._planned + neighbour.tokens > self._room or self._heard.hear(neighbour.text):
            return False
        self._planned += neighbour.tokens
        return True

    def _meeting(self, chunk: ChunkId, neighbour: Part) -> tuple[Part, ...]:
        """The neighbour, or all of the passage that it is in, which is then no longer one of its own."""
        other = self._other(chunk, neighbour)
        return (neighbour,) if other is None else self._runs.pop(other)

    def _other(self, chunk: ChunkId, neighbour: Part) -> ChunkId | None:
        return next((its for its, run in self._runs.items() if its != chunk and neighbour in run), None)

    def _rendered(self) -> Sequence[Chosen]:
        taken = self._steps[0].keys() - self._runs.keys()
        left = [each for each in self._chosen if each.chunk not in taken]
        return [self._at_rank(each, rank) for rank, each in enumerate(left, 1)]

    def _at_rank(self, each: Chosen, rank: int) -> Chosen:
        run = self._runs.get(each.chunk, ())
        if len(run) < 2 and rank == each.passage.rank:
            return each
        passage = replace(each.passage, rank=rank)
        if len(run) > 1:
            within = {part.chunk for part in run}
            flags = (flag for its in self._chosen if its.chunk in within for flag in its.passage.flags)
            citation = wider(passage.citation, run, pepper=self._ports.pepper)
            passage = replace(
                passage,
                citation=citation,
                flags=tuple(dict.fromkeys(flags)),
                redactions=discharge.found(self._ports, each.hidden, stitched(run), within=citation.span),
            )
        return replace(each, passage=passage, tokens=tokens_of(self._ports, passage, rank))


def _beside(part: Part, step: int) -> tuple[VersionId, int]:
    return part.version, part.ordinal + step
