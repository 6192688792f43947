"""Every point of an index in arrays, so that looking at all that match takes little: the fast way to the exact answer.

The engine spends most of a search on its filter: 150 to 250 ns a matching point, five times a search. Here a filter is
one look-up a point, and what matches is scored by reading it in the order in which it lies. Nothing is approximated
and nothing is learnt from points, so what comes out is the same function of the matching points as without this.

Points lie in blocks, within a block by boundary. A block's points never change; what is known of them does, in place.
"""

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from app.adapters.exact_ranking import checked_vector, idf
from app.domain.evidence import (
    PERIODS_PER_VERSION,
    SCORE_DIGITS,
    IndexEntry,
    IndexQuery,
    Lexical,
    Placement,
    PointId,
    Vector,
)
from app.domain.instants import FOREVER

_LARGEST: Final = 50_000
"""Points in a block: what is merged at a time, in about a second."""

_STEP: Final = 4
"""A block is merged with those after it once together they are a quarter of it."""

_MOST_DEAD: Final = 0.3

_NOWHERE: Final = -1
"""The boundary of a point that was removed."""

_BLUR: Final = 2.0**-23
"""For each dimension: more than a product of two unit vectors is off by in float32, whatever the order of additions."""

_TIE: Final = 2 * 10.0**-SCORE_DIGITS

_Ints = NDArray[np.int64]

_NONE: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Having:
    """Which rows of a block have which of some terms: an entry for each row of each term, by term."""

    rows: NDArray[np.int32]
    which: NDArray[np.intp]
    """The term, by its place among those asked for."""
    weights: NDArray[np.float64]

    def frequencies(self, terms: int) -> _Ints:
        return np.bincount(self.which, minlength=terms)

    def summed(self, size: int, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each of `size` rows, the sum over its terms, always in the same order; 0 where it has none of them."""
        return np.bincount(self.rows, self.weights * factors[self.which], size).astype(np.float64, copy=False)

    def weights_at(self, rows: _Ints, size: int, terms: int) -> NDArray[np.float64]:
        """The weight of each term in each of the rows that are wanted, of `size`; 0 where it has none."""
        place = np.full(size, -1, np.int32)
        place[rows] = np.arange(len(rows), dtype=np.int32)
        at = place[self.rows]
        wanted = at >= 0
        found = np.zeros((len(rows), terms))
        found[at[wanted], self.which[wanted]] = self.weights[wanted]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Postings:
    """Who has a term, and with which weight: `rows[starts[i]:starts[i + 1]]` have `terms[i]`, ascending."""

    terms: NDArray[np.uint32]
    starts: _Ints
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, terms: NDArray[np.uint32], rows: NDArray[np.int32], weights: NDArray[np.float32]) -> Self:
        """From one triple for each term of each row, in any order."""
        order = np.argsort(terms.astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64), kind="stable")
        distinct, starts = np.unique(terms[order], return_index=True)
        return cls(terms=distinct, starts=np.append(starts, len(terms)), rows=rows[order], weights=weights[order])

    def within(self, mask: NDArray[np.bool_], terms: Sequence[int]) -> _Having:
        """Those of the rows in the mask that have any of these terms."""
        asked = np.array(terms, np.uint32)
        first = np.searchsorted(self.terms, asked)
        begins, ends = self.starts[first], self.starts[np.searchsorted(self.terms, asked, side="right")]
        listed = [slice(begin, end) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
        rows = np.concatenate([self.rows[own] for own in listed])
        kept = mask[rows]
        return _Having(
            rows=rows[kept],
            which=np.repeat(np.arange(len(terms)), ends - begins)[kept],
            weights=np.concatenate([self.weights[own] for own in listed])[kept].astype(np.float64),
        )

    def triples(self) -> tuple[NDArray[np.uint32], NDArray[np.int32], NDArray[np.float32]]:
        return np.repeat(self.terms, np.diff(self.starts)), self.rows, self.weights


class _Block:
    """Some points. `place` is boundary, valid_from, valid_to, recorded_from and recorded_to, a row each."""

    def __init__(self, points: _Ints, place: _Ints, vectors: NDArray[np.float32], postings: _Postings) -> None:
        self.points = points
        self.place = place
        self.vectors = vectors
        self.postings = postings
        self.lexical = np.zeros(len(points), bool)
        self.lexical[postings.rows] = True
        self._by_point = np.argsort(points).astype(np.int32)
        self.note()

    def __len__(self) -> int:
        return len(self.points)

    def rows_of(self, points: _Ints) -> tuple[_Ints, _Ints]:
        """Where those of the points that are here lie, and which of the points they are."""
        at = np.searchsorted(self.points, points, sorter=self._by_point).clip(max=len(self) - 1)
        rows = self._by_point[at]
        here = np.flatnonzero((self.points[rows] == points) & (self.place[0, rows] != _NOWHERE))
        return rows[here].astype(np.int64), here

    def note(self) -> None:
        """The last boundary, and within which instants every point here is in force: then none is looked at for it."""
        boundary, begins, ends, recorded, withdrawn = self.place
        self.last = int(boundary.max(initial=0))
        valid = begins.max(initial=0), ends.min(initial=FOREVER)
        self._always = *valid, recorded.max(initial=0), withdrawn.min(initial=FOREVER)

    def dead(self) -> int:
        return int(np.count_nonzero(self.place[0] == _NOWHERE))

    def matching(self, allowed: NDArray[np.bool_], valid_at: int, known_at: int) -> NDArray[np.bool_]:
        boundary, begins, ends, recorded, withdrawn = self.place
        mask: NDArray[np.bool_] = allowed[boundary]
        for start, end, instant, always in (
            (begins, ends, valid_at, self._always[:2]),
            (recorded, withdrawn, known_at, self._always[2:]),
        ):
            if instant < always[0]:
                mask &= start <= instant
            if instant >= always[1]:
                mask &= end > instant
        return mask


Matching = Sequence[tuple[_Block, NDArray[np.bool_]]]
"""Of each block in which something matches a query, what does."""


class Columns:
    """The points of an index, searched exactly. Not to be called from two threads at once.

    Vectors are kept in files without a name in `folder`, the rest in memory: about 100 bytes a point and six more for
    each of its terms.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._blocks: list[_Block] = []

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        latest = {entry.placement.point: entry for entry in entries}
        if not latest:
            return
        self.remove(list(latest))
        self._blocks.append(self._made(list(latest.values())))
        self._merge()

    def move(self, placements: Sequence[Placement]) -> None:
        latest = list({placement.point: placement for placement in placements}.values())
        points = np.array([placement.point for placement in latest], np.int64)
        for block in self._blocks:
            rows, which = block.rows_of(points)
            if len(rows):
                block.place[:, rows] = _place([latest[n] for n in which])
                block.note()

    def remove(self, points: Sequence[PointId]) -> None:
        wanted = np.array(points, np.int64)
        for number, block in enumerate(self._blocks):
            rows, _ = block.rows_of(wanted)
            if len(rows):
                block.place[0, rows] = _NOWHERE
                if block.dead() > _MOST_DEAD * len(block):
                    self._blocks[number] = self._merged([block])
        self._blocks = [block for block in self._blocks if len(block)]

    def purge(self) -> None:
        """Let nothing that was ever removed be in the files either."""
        self._blocks = [self._merged([block]) if block.dead() else block for block in self._blocks]

    def nearest(self, vector: Vector, reached: Matching, depth: int) -> list[PointId]:
        """Points of which the best `depth` chunks are sure to be: what is to be scored to the last digit."""
        wanted = np.array(checked_vector(vector, self._dimension), np.float32)
        wanted /= np.linalg.norm(wanted)
        # By einsum: as fast as BLAS here, and no threads of its own that wait for busy cores (25 ms instead of 1).
        points: list[_Ints] = [_NONE]
        scores: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        for block, mask in reached:
            for start, stop in _runs(mask):
                points.append(block.points[start:stop])
                scores.append(np.einsum("ij,j->i", block.vectors[start:stop], wanted))
        found, cosines = np.concatenate(points), np.concatenate(scores)
        cut = _cut(found, cosines, depth) - 2 * _BLUR * self._dimension - _TIE
        return [PointId(point) for point in found[cosines >= cut].tolist()]

    def reached(self, query: IndexQuery) -> Matching:
        """Each block with what matches in it, if anything does."""
        return list(self._reached(query))

    def _reached(self, query: IndexQuery) -> Iterator[tuple[_Block, NDArray[np.bool_]]]:
        most = max((block.last for block in self._blocks), default=0)
        allowed = np.zeros(most + 2, bool)  # the last is `_NOWHERE`'s
        allowed[[boundary for boundary in query.boundaries if 0 <= boundary <= most]] = True
        for block in self._blocks:
            mask = block.matching(allowed, query.valid_at, query.known_at)
            if mask.any():
                yield block, mask

    def _made(self, entries: Sequence[IndexEntry]) -> _Block:
        listed = sorted(entries, key=lambda entry: (entry.placement.boundary, entry.placement.point))
        counts = [len(entry.lexical.terms) for entry in listed]
        return self._laid_down(
            np.array([entry.placement.point for entry in listed], np.int64),
            _place([entry.placement for entry in listed]),
            [_units([entry.dense for entry in listed])],
            _Postings.of(
                np.array([term for entry in listed for term in entry.lexical.terms], np.uint32),
                np.repeat(np.arange(len(listed), dtype=np.int32), counts),
                np.array([weight for entry in listed for weight in entry.lexical.weights], np.float32),
            ),
        )

    def _merge(self) -> None:
        """Let the last blocks be one, as long as that does not copy a large one for a few."""
        last = len(self._blocks) - 1
        while last > 0:
            after = sum(map(len, self._blocks[last:]))
            before = len(self._blocks[last - 1])
            if before + after > _LARGEST or before > _STEP * after:
                break
            last -= 1
        if last < len(self._blocks) - 1:
            self._blocks[last:] = [self._merged(self._blocks[last:])]

    def _merged(self, blocks: Sequence[_Block]) -> _Block:
        """What is alive in these, in a block."""
        alive = [np.flatnonzero(block.place[0] != _NOWHERE) for block in blocks]
        points = np.concatenate([block.points[rows] for block, rows in zip(blocks, alive, strict=True)])
        place = np.concatenate([block.place[:, rows] for block, rows in zip(blocks, alive, strict=True)], axis=1)
        order = np.lexsort((points, place[0]))
        becomes = np.empty(len(order), np.int32)
        becomes[order] = np.arange(len(order), dtype=np.int32)
        terms, rows_of_terms, weights = [], [], []
        first = 0
        for block, rows in zip(blocks, alive, strict=True):
            new = np.full(len(block), -1, np.int32)
            new[rows] = becomes[first : first + len(rows)]
            first += len(rows)
            term, row, weight = block.postings.triples()
            kept = new[row] >= 0
            terms.append(term[kept])
            rows_of_terms.append(new[row[kept]])
            weights.append(weight[kept])
        vectors = [block.vectors[rows] for block, rows in zip(blocks, alive, strict=True)]
        return self._laid_down(
            points[order],
            np.ascontiguousarray(place[:, order]),
            vectors,
            _Postings.of(np.concatenate(terms), np.concatenate(rows_of_terms), np.concatenate(weights)),
            order=order,
        )

    def _laid_down(
        self,
        points: _Ints,
        place: _Ints,
        vectors: Sequence[NDArray[np.float32]],
        postings: _Postings,
        *,
        order: _Ints | None = None,
    ) -> _Block:
        together = np.concatenate(vectors)
        if not len(together):
            return _Block(points, place, together, postings)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            kept = np.memmap(file, dtype="<f4", mode="w+", shape=together.shape)
        kept[:] = together if order is None else together[order]
        return _Block(points, place, kept, postings)


class Words:
    """BM25 of the points that match a query, with document frequencies counted among those alone."""

    def __init__(self, lexical: Lexical, reached: Matching) -> None:
        self._terms = lexical.terms
        self._reached = reached
        self._having = [block.postings.within(mask, lexical.terms) for block, mask in reached]
        population = sum(int(np.count_nonzero(block.lexical & mask)) for block, mask in reached)
        carried = sum((own.frequencies(len(self._terms)) for own in self._having), np.zeros(len(self._terms), np.int64))
        self._factors = np.array(
            [
                weight * idf(population, frequency) if frequency else 0.0
                for weight, frequency in zip(lexical.weights, carried.tolist(), strict=True)
            ]
        )

    def best(self, depth: int) -> list[PointId]:
        """The points of more than `depth` chunks, if there are, and all that tie with the last."""
        points, scores = [_NONE], [np.empty(0)]
        for (block, _), own in zip(self._reached, self._having, strict=True):
            summed = own.summed(len(block), self._factors)
            found = np.flatnonzero(summed != 0)  # of truth values, as it is slow of numbers
            points.append(block.points[found])
            scores.append(summed[found])
        together, cut = np.concatenate(points), np.concatenate(scores)
        return [PointId(point) for point in together[cut >= _cut(together, cut, depth) - _TIE].tolist()]

    def exact(self, points: Sequence[PointId]) -> tuple[dict[PointId, float], dict[PointId, list[bool]]]:
        """Of those that match and share a term: the score to the last digit, and of each term whether it is shared."""
        scores: dict[PointId, float] = {}
        shared: dict[PointId, list[bool]] = {}
        wanted = np.array(points, np.int64)
        for (block, mask), own in zip(self._reached, self._having, strict=True):
            rows, _ = block.rows_of(wanted)
            rows = rows[mask[rows]]
            weights = own.weights_at(rows, len(block), len(self._terms))
            has = weights != 0
            rows, weights, has = (each[has.any(axis=1)] for each in (rows, weights, has))
            found = [PointId(point) for point in block.points[rows].tolist()]
            scores.update(zip(found, map(math.fsum, (weights * self._factors).tolist()), strict=True))
            shared.update(zip(found, has.tolist(), strict=True))
        return scores, shared


def _cut(points: _Ints, scores: NDArray[Any], depth: int) -> float:
    """A score that the best `depth` chunks reach; below every score when there are not more."""
    limit = depth
    while limit < len(scores):
        cut = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        if len(np.unique(points[scores >= cut] // PERIODS_PER_VERSION)) >= depth:
            return float(cut)
        limit *= 2
    return -math.inf


def _runs(mask: NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """Where what matches begins and ends."""
    ends = np.empty(len(mask) + 1, bool)
    ends[0], ends[-1] = mask[0], mask[-1]
    np.not_equal(mask[1:], mask[:-1], out=ends[1:-1])
    edges = np.flatnonzero(ends)
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _place(placements: Sequence[Placement]) -> _Ints:
    return np.array(
        [[it.boundary, it.valid_from, it.valid_to, it.recorded_from, it.recorded_to] for it in placements], np.int64
    ).T.copy()


def _units(vectors: Sequence[Vector]) -> NDArray[np.float32]:
    rows = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
    units: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units
