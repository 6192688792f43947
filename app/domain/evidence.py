"""What an index keeps, what it is asked and what it answers: points, queries and hits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import mul
from typing import Final, NewType

from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.instants import Instant

Vector = NewType("Vector", bytes)
"""A unit vector: float32, little-endian."""


def cosine(some: Vector, other: Vector) -> float:
    """How near two texts are to each other by their unit vectors: -1 to 1."""
    return math.fsum(map(mul, memoryview(some).cast("f"), memoryview(other).cast("f")))


PointId = NewType("PointId", int)
"""A chunk during one period: what the index keeps."""

PERIODS_PER_VERSION: Final = 4096
"""The most corrections of valid time that one version can have: the low bits of a point id."""

SCORE_DIGITS: Final = 6
"""Scores are compared rounded to this many digits: what differs less is a tie."""


def point_of(chunk: ChunkId, ordinal: int) -> PointId:
    if not 0 <= ordinal < PERIODS_PER_VERSION:
        raise ValueError(f"period {ordinal} of a chunk")
    return PointId(chunk * PERIODS_PER_VERSION + ordinal)


def chunk_of(point: PointId) -> ChunkId:
    return ChunkId(point // PERIODS_PER_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexical:
    """A sparse vector: 32-bit term ids, ascending and distinct, with a weight above zero each."""

    terms: tuple[int, ...]
    weights: tuple[float, ...]

    def __bool__(self) -> bool:
        return bool(self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the index knows of a point beside its vectors."""

    point: PointId
    boundary: BoundaryId
    valid_from: Instant
    valid_to: Instant
    recorded_from: Instant
    recorded_to: Instant
    facets: tuple[str, ...] = ()
    """`attributes.region=EU`: the attributes that questions may filter by."""


Mark = NewType("Mark", int)
"""Something that a question may demand of a passage, as a small number: a word, two words in a row, its language.

Many things share a number. What has not the mark has not the thing; what has it may have it.
"""

Demand = tuple[frozenset[Mark], ...]
"""Alternatives, of which a passage must have one whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    placement: Placement
    dense: Vector
    lexical: Lexical
    marks: frozenset[Mark] = frozenset()
    """What questions may demand of its text and headings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What an index did to forget for good."""

    points: int
    """How many of the points there were."""
    rewritten: bool
    """Its files were rewritten with what is left alone. Otherwise the engine writes over the space in its own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """A search within a reach. `boundaries` is never empty: an empty reach is answered without the index."""

    dense: Vector | None
    lexical: Lexical | None
    boundaries: frozenset[BoundaryId]
    valid_at: Instant
    known_at: Instant
    facets: tuple[tuple[str, ...], ...] = ()
    """Every group must match; within a group, any one does."""
    demands: tuple[Demand, ...] = ()
    """Every one must be met. One without alternatives is met by nothing; none of them is empty."""
    depth: int

    def __post_init__(self) -> None:
        if not self.boundaries:
            raise ValueError("a search needs at least one boundary")
        if self.depth < 1:
            raise ValueError(f"a search of depth {self.depth}")
        if not all(marks for demand in self.demands for marks in demand):
            raise ValueError("a demand that everything would meet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    chunk: ChunkId
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """The best `depth` of each list, best first, by (score rounded to `SCORE_DIGITS` descending, chunk id).

    Of a query with both vectors, each list also scores the best of the other: a chunk that `lexical` then lacks shares
    no term with the query, and none is lacking in `dense`.
    """

    dense: tuple[Hit, ...] = ()
    lexical: tuple[Hit, ...] = ()
    terms: tuple[int, ...] = ()
    """The question's terms that any of the lexical hits has, ascending."""


def in_order(scores: Mapping[ChunkId, float]) -> tuple[Hit, ...]:
    """The one order of hits, everywhere: rounded score descending, then chunk id."""
    rounded = sorted([(-round(score, SCORE_DIGITS), chunk) for chunk, score in scores.items()])
    return tuple([Hit(chunk=chunk, score=-score) for score, chunk in rounded])
