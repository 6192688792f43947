"""The index on Qdrant Edge, inside this process.

The engine holds Python's global lock for the whole of every call, so the product opens it in a process of its own
(`app.adapters.index_process`). Nothing here is safe to call from two threads at once.

Layout of the folder: `lock` (held while the index is open), `shard` (the engine's files), `barred` (chunks that were
purged), and while it is rewritten `shard.new` and `shard.old`.
"""

import ctypes
import fcntl
import logging
import os
import shutil
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from app.adapters.columns import Columns, Words
from app.adapters.exact_ranking import Candidate, Engine, Space, best_hits, both_ways, checked_vector
from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.errors import IndexUnavailable
from app.domain.evidence import (
    Demand,
    Hits,
    IndexEntry,
    IndexQuery,
    Lexical,
    Placement,
    PointId,
    Purged,
    Vector,
    chunk_of,
)
from app.domain.instants import Instant

_SEGMENTS: Final = 8
"""Measured at 100k points, tidied every 10k: with 8 segments each pause is at most 1.6 s, memory 0.38 GB and a search
half as long as with the engine's own choice of 2 (7.4 s, 0.50 GB)."""

_PIECE: Final = 500
"""Points copied at a time when the files are rewritten: 0.07 s, in which nobody else is answered."""

_TIDY_AFTER_POINTS: Final = 10_000
"""Copied points between two tidyings of the new files."""

BUDGET_MS: Final = 1.0
"""What a search may take, as a median of the last ones, before all points are laid out in arrays as well."""

_SAMPLED: Final = 16
"""The last searches by which that is decided, and on which the arrays must give the engine's own answers."""

_SHRUNK: Final = 0.5
"""Below this part of the size at which they were laid out, the arrays are given up."""

_PERIOD_FIELDS: Final = ("valid_from", "valid_to", "recorded_from", "recorded_to")

_log = logging.getLogger(__name__)


class EdgeIndex:
    """The `Index` port on an Edge shard in `folder`: exact search, durable when a write returns.

    Raises `IndexUnavailable` when another process has the folder open or the engine fails, and `ValueError` for
    vectors that are not of `dimension`. `unoptimized` counts the points written since the last `optimize`.

    Once searches take longer than `budget_ms`, `quicken` lays out all points in `Columns`, and from then on those are
    searched: the same hits, sooner. INVARIANT: the same to the last digit, so that what turned it on (how much there
    is, and what others asked) cannot be told from an answer.
    """

    def __init__(self, folder: Path, dimension: int, *, budget_ms: float = BUDGET_MS) -> None:
        self._budget_ms = budget_ms
        self._columns: Columns | None = None
        self._laying_out: _LayingOut | None = None
        self._taken: deque[tuple[IndexQuery, float]] = deque(maxlen=_SAMPLED)
        self._columns_from = self._refused_at = 0
        self._dimension = dimension
        self._folder = folder
        self._lock = _held_lock(folder)
        self._barred = _Barred(folder / "barred")
        self._rewriting: _Rewriting | None = None
        self._begun = self._finished = 0
        self.unoptimized = 0
        try:
            with _engine_errors():
                self._shard = _opened_shard(folder / "shard", dimension)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        taken = [entry for entry in entries if chunk_of(entry.placement.point) not in self._barred]
        points = {entry.placement.point: self._rendered(entry) for entry in taken}
        if points:
            with self._kept_alike() as columns:
                self._write([edge.UpdateOperation.upsert_points(list(points.values()))], len(points))
                if columns is not None:
                    columns.upsert(taken)

    def move(self, placements: Sequence[Placement]) -> None:
        wanted = {placement.point: placement for placement in placements}
        if self._rewriting is not None:  # what is not copied yet will be copied as it then is
            with _engine_errors():
                for operation in self._moving(wanted, _present(self._rewriting.shard, wanted)):
                    self._rewriting.shard.update(operation)
        with _engine_errors():
            present = _present(self._shard, wanted)
        operations = self._moving(wanted, present)
        if operations:
            with self._kept_alike() as columns:
                self._write(operations, len(present), copied=False)
                if columns is not None:
                    columns.move(placements)

    def _moving(self, wanted: Mapping[PointId, Placement], present: frozenset[int]) -> list[edge.UpdateOperation]:
        # By ids, one operation for all points that end up alike: by filter, kills have been seen to lose it.
        alike: dict[Placement, list[PointId]] = {}
        for point, placement in wanted.items():
            if point in present:
                alike.setdefault(_unnamed(placement), []).append(point)
        return [
            edge.UpdateOperation.set_payload([int(point) for point in points], _payload(placement))
            for placement, points in alike.items()
        ]

    def remove(self, points: Sequence[PointId]) -> None:
        if points:
            with self._kept_alike() as columns:
                self._write([edge.UpdateOperation.delete_points([int(point) for point in set(points)])], len(points))
                if columns is not None:
                    columns.remove(points)

    def purge(self, points: Sequence[PointId]) -> Purged:
        there, begun = self.begin_purge(points)
        while not self.go_on_purging(begun):
            pass
        return Purged(points=there, rewritten=True)

    def begin_purge(self, points: Sequence[PointId]) -> tuple[int, int]:
        """Forget the points, and begin to rewrite the files: how many there were, and what to go on with.

        The engine only marks what it deletes, and its log keeps what was ever written, so whatever is left is copied
        into new files, a piece at a time, while searches go on in the old ones and writes go to both.
        """
        self._barred.add([chunk_of(point) for point in points])
        there = len(self.held(points))
        self.remove(points)
        with self._kept_alike() as columns:
            if columns is not None:
                columns.purge()
        self._end_rewriting()
        with _engine_errors():
            self._rewriting = _Rewriting(shard=_made_shard(self._folder / "shard.new", self._dimension))
        self._begun += 1
        return there, self._begun

    def go_on_purging(self, begun: int, *, at_most: int = _PIECE) -> bool:
        """Copy a piece; whether the files are rewritten. Raises `IndexUnavailable` when it must be begun anew."""
        if begun <= self._finished:
            return True
        if self._rewriting is None or begun > self._begun:
            raise IndexUnavailable("The index was restarted while it was being rewritten. Try again.")
        try:
            with _engine_errors():
                if not self._rewriting.copy_from(self._shard, at_most):
                    return False
                self._change_places(self._rewriting.shard)
        except IndexUnavailable:
            self._end_rewriting()
            raise
        self._finished = self._begun
        return True

    def _change_places(self, new: edge.EdgeShard) -> None:
        """Let the new files be the shard's. A kill between the two renames leaves the old ones (`_opened_shard`)."""
        new.optimize()
        new.flush()
        new.close()
        self._rewriting = None
        place, old = self._folder / "shard", self._folder / "shard.old"
        self._shard.flush()
        self._shard.close()
        place.rename(old)
        (self._folder / "shard.new").rename(place)
        _flush_folder(self._folder)
        self._shard = edge.EdgeShard.load(str(place), _config(self._dimension))
        shutil.rmtree(old)
        _flush_folder(self._folder)
        self.unoptimized = 0
        _return_freed_memory()

    def _end_rewriting(self) -> None:
        if self._rewriting is not None:
            rewriting, self._rewriting = self._rewriting, None
            with _engine_errors():
                rewriting.shard.close()
        shutil.rmtree(self._folder / "shard.new", ignore_errors=True)

    def held(self, points: Sequence[PointId]) -> frozenset[PointId]:
        with _engine_errors():
            return frozenset(PointId(point) for point in _present(self._shard, points))

    def search(self, query: IndexQuery) -> Hits:
        if not query.boundaries:
            raise ValueError("a search needs at least one boundary")
        if not all(query.facets) or not all(query.demands):
            return Hits()
        by_arrays = not query.facets and not query.demands
        if self._columns is not None and by_arrays:
            return self._search_columns(self._columns, query)
        start = time.perf_counter()
        hits = self._search_engine(query)
        if by_arrays:
            self._taken.append((query, (time.perf_counter() - start) * 1000))
        return hits

    def _search_engine(self, query: IndexQuery) -> Hits:
        with _engine_errors():
            return best_hits(_Reached(self._shard, query, self._dimension), query)

    def _search_columns(self, columns: Columns, query: IndexQuery) -> Hits:
        """As `_search_engine`: vectors are scored by the engine in the end, among the nearest."""
        matching = columns.reached(query)
        nearest = columns.nearest(query.dense, matching, query.depth) if query.dense is not None else []
        words = Words(query.lexical, matching) if query.lexical else None
        best = words.best(query.depth) if words else []
        listed = [*dict.fromkeys([*nearest, *best])]
        exact, shared = words.exact(listed) if words else ({}, {})
        near = self._scored(query.dense, listed) if query.dense is not None else {}
        return both_ways(query, near=near, exact=exact, worded={point: shared[point] for point in best})

    def _scored(self, vector: Vector, points: Sequence[PointId]) -> dict[PointId, float]:
        """What the engine scores each of these points, which match, whatever else does."""
        request = edge.QueryRequest(
            query=edge.Query.Nearest(checked_vector(vector, self._dimension), using=Space.DENSE),
            limit=len(points),
            filter=edge.Filter(must=[edge.HasIdCondition({int(point) for point in points})]),
            params=edge.SearchParams(exact=True),
            with_payload=False,
        )
        if not points:
            return {}
        with _engine_errors():
            (found,) = self._shard.query_batch(edge.QueryBatchRequest([request]))
        return {PointId(_number(each.id)): each.score for each in found}

    @property
    def quick(self) -> bool:
        """Whether searches go by the arrays."""
        return self._columns is not None

    def quicken(self, *, at_most: int = _PIECE) -> bool:
        """A step towards searches within the budget; whether there is another to take. Blocks for 0.1 s, and up to a
        second when arrays are merged."""
        if self._columns is not None:
            if self.size() < self._columns_from * _SHRUNK:
                _log.info("index: few enough points are left for the engine alone: the arrays are given up")
                self._columns = None
                self._taken.clear()
            return False
        if self._laying_out is None:
            if not self._is_over_budget() or self._rewriting is not None:
                return False
            self._laying_out = _LayingOut(columns=Columns(self._folder, self._dimension))
            _log.info("index: searches take more than %g ms: all points are laid out in arrays", self._budget_ms)
        with self._kept_alike():
            if not self._laying_out.copy_from(self._shard, at_most):
                return True
        return self._tried()

    def _tried(self) -> bool:
        """Search the arrays for something that was asked, and turn them on when all of the sample came out right."""
        assert self._laying_out is not None
        columns = self._laying_out.columns
        self._laying_out.tried += 1
        if self._laying_out.tried <= _SAMPLED and self._taken:
            query, _ = self._taken.pop()
            if self._search_columns(columns, query) != self._search_engine(query):
                _log.error("index: arrays gave other hits than the engine: the engine goes on alone")
                self._refused_at, self._laying_out = self.size(), None
                self._taken.clear()
                return False
            return True
        self._columns, self._laying_out, self._columns_from = columns, None, self.size()
        self._taken.clear()
        _log.info("index: searches go by the arrays: %d points", self._columns_from)
        return False

    def _is_over_budget(self) -> bool:
        """Asked of the last searches; once arrays were refused, not before much has changed."""
        if len(self._taken) < _SAMPLED or self.size() < self._refused_at * (1 + _SHRUNK):
            return False
        return median(ms for _, ms in self._taken) > self._budget_ms

    @contextmanager
    def _kept_alike(self) -> Iterator[Columns | None]:
        """The arrays, if any, to do what is done to the shard. A failure gives them up: they may not be alike."""
        columns = self._columns or (self._laying_out.columns if self._laying_out is not None else None)
        try:
            yield columns
        except BaseException:
            self._columns = self._laying_out = None
            raise

    def size(self) -> int:
        with _engine_errors():
            return self._shard.count(edge.CountRequest(exact=True))

    def optimize(self) -> bool:
        """Tidy the engine's segments; whether there was anything to do. Results do not change.

        Blocks everything for one to two seconds when called every 10,000 points. Never called, 100k points answered
        half as fast and took 0.65 GB instead of 0.38.
        """
        if self._rewriting is not None:
            return False  # the new files are tidied as they are filled
        with _engine_errors():
            self._shard.flush()
            tidied = self._shard.optimize()
            self._shard.flush()
        self.unoptimized = 0
        if tidied:
            _return_freed_memory()
        return tidied

    def close(self) -> None:
        """Flush and let go of the folder. May be repeated."""
        if self._lock < 0:
            return
        try:
            self._end_rewriting()
            with _engine_errors():
                self._shard.flush()
                self._shard.close()
        finally:
            os.close(self._lock)
            self._lock = -1

    def drop(self) -> None:
        """Close, and remove the files for good. May be repeated."""
        self.close()
        for left in ("shard", "shard.new", "shard.old"):
            shutil.rmtree(self._folder / left, ignore_errors=True)
        (self._folder / "barred").unlink(missing_ok=True)

    def _write(self, operations: Sequence[edge.UpdateOperation], points: int, *, copied: bool = True) -> None:
        with _engine_errors():
            if self._rewriting is not None and copied:
                for operation in operations:
                    self._rewriting.shard.update(operation)
            for operation in operations:
                self._shard.update(operation)
            self._shard.flush()  # INVARIANT: acknowledged means on disk; update() alone is not
        self.unoptimized += points

    def _rendered(self, entry: IndexEntry) -> edge.Point:
        vectors: dict[str, list[float] | edge.SparseVector | list[list[float]]] = {
            Space.DENSE: checked_vector(entry.dense, self._dimension)
        }
        if entry.lexical:
            vectors[Space.LEXICAL] = _sparse(entry.lexical)
        return edge.Point(
            id=int(entry.placement.point),
            vector=vectors,
            payload=_payload(entry.placement) | {"marks": sorted(entry.marks)},
        )


class _Rewriting:
    """New files that are being filled with what the old ones hold."""

    def __init__(self, *, shard: edge.EdgeShard) -> None:
        self.shard = shard
        self._next: object = None
        self._untidied = 0

    def copy_from(self, old: edge.EdgeShard, at_most: int) -> bool:
        """Copy the next piece, in the order of ids; whether that was the last."""
        records, self._next = old.scroll(
            edge.ScrollRequest(limit=at_most, offset=self._next, with_payload=True, with_vector=True)  # type: ignore[arg-type]
        )
        points = [edge.Point(id=each.id, vector=each.vector, payload=each.payload) for each in records]  # type: ignore[arg-type]
        if points:
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        self._untidied += len(points)
        if self._untidied >= _TIDY_AFTER_POINTS:
            self.shard.flush()
            self.shard.optimize()
            self._untidied = 0
        if self._next is None:
            self.shard.flush()
        return self._next is None


class _LayingOut:
    """Arrays that are being filled with what a shard holds."""

    def __init__(self, *, columns: Columns) -> None:
        self.columns = columns
        self.tried = 0
        self._next: object = None
        self._done = False

    def copy_from(self, shard: edge.EdgeShard, at_most: int) -> bool:
        """Copy the next piece, in the order of ids; whether all is copied."""
        if not self._done:
            with _engine_errors():
                records, self._next = shard.scroll(
                    edge.ScrollRequest(limit=at_most, offset=self._next, with_payload=True, with_vector=True)  # type: ignore[arg-type]
                )
            self.columns.upsert([_entry_of(record) for record in records])
            self._done = self._next is None
        return self._done


class _Barred:
    """Chunks that were purged, in a file of ranges: whoever read them before is late, and nothing it writes is taken.

    Chunk ids are never given again, so nothing else is ever barred by it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: list[int] = []
        self._last: list[int] = []
        if path.exists():
            written = path.read_text().split()
            self._hold([(int(a), int(b)) for a, _, b in (each.partition("-") for each in written) if b])

    def __contains__(self, chunk: ChunkId) -> bool:
        place = bisect_right(self._first, chunk) - 1
        return place >= 0 and chunk <= self._last[place]

    def add(self, chunks: Sequence[ChunkId]) -> None:
        """Durable when it returns."""
        new = _ranges(sorted({chunk for chunk in chunks if chunk not in self}))
        if not new:
            return
        with self._path.open("a") as file:
            file.write("\n" + "".join(f"{first}-{last}\n" for first, last in new))
            file.flush()
            os.fsync(file.fileno())
        self._hold(new)

    def _hold(self, ranges: Sequence[tuple[int, int]]) -> None:
        held = sorted([*zip(self._first, self._last, strict=True), *ranges])
        self._first, self._last = [first for first, _ in held], [last for _, last in held]


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending, distinct numbers as [first, last] ranges."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


class _Reached(Engine):
    """The shard as one query may see it."""

    def __init__(self, shard: edge.EdgeShard, query: IndexQuery, dimension: int) -> None:
        self._shard = shard
        self._filter = _filter(query)
        self._params = edge.SearchParams(exact=True, idf=edge.IdfParams(corpus=self._filter))
        self._queries: dict[Space, edge.Query] = {}
        if query.dense is not None:
            self._queries[Space.DENSE] = edge.Query.Nearest(checked_vector(query.dense, dimension), using=Space.DENSE)
        if query.lexical:
            self._queries[Space.LEXICAL] = edge.Query.Nearest(_sparse(query.lexical), using=Space.LEXICAL)

    def nearest(self, limits: Mapping[Space, int]) -> dict[Space, list[Candidate]]:
        requests = [
            edge.QueryRequest(
                query=self._queries[space],
                limit=limit,
                filter=self._filter,
                params=self._params if space is Space.LEXICAL else edge.SearchParams(exact=True),
                with_payload=False,
                with_vector=[Space.LEXICAL] if Space.LEXICAL in self._queries else False,
            )
            for space, limit in limits.items()
        ]
        found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return {space: [_candidate(point) for point in points] for space, points in zip(limits, found, strict=True)}

    def dense_scores(self, points: Sequence[PointId]) -> dict[PointId, float]:
        request = edge.QueryRequest(
            query=self._queries[Space.DENSE],
            limit=len(points),
            filter=edge.Filter(must=[self._filter, edge.HasIdCondition({int(point) for point in points})]),
            params=edge.SearchParams(exact=True),
            with_payload=False,
        )
        found = self._shard.query_batch(edge.QueryBatchRequest([request]))[0]
        return {PointId(_number(each.id)): each.score for each in found}

    def lexical_population(self) -> int:
        lexical = edge.Filter(must=[self._filter, edge.HasVectorCondition(Space.LEXICAL)])
        return self._shard.count(edge.CountRequest(filter=lexical, exact=True))

    def term_scores(self, carriers: Mapping[int, PointId]) -> dict[int, float]:
        requests = [
            edge.QueryRequest(
                query=edge.Query.Nearest(edge.SparseVector([term], [1.0]), using=Space.LEXICAL),
                limit=1,
                filter=edge.Filter(must=[edge.HasIdCondition({int(point)})]),
                params=self._params,
                with_payload=False,
            )
            for term, point in carriers.items()
        ]
        found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return {term: points[0].score for term, points in zip(carriers, found, strict=True) if points}


def _held_lock(folder: Path) -> int:
    """A file descriptor that holds the folder.

    The engine has a lock of its own, in its log, but takes it too late: the attempt to open a shard that is open
    elsewhere was seen to cut a journal short under the holder, whose every flush then failed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise IndexUnavailable(
            f"The index folder {folder} is open in another process. Stop that one, or use it through its server."
        ) from error
    return lock


def _opened_shard(folder: Path, dimension: int) -> edge.EdgeShard:
    """The shard in `folder`, made first if it is not there. Made beside it and renamed, so never seen half-made.

    What a rewriting that was killed left beside it is cleared away; were its files changing places, the old ones
    are put back.
    """
    unfinished, old = folder.with_name("shard.new"), folder.with_name("shard.old")
    if old.is_dir() and not folder.is_dir():
        old.rename(folder)
    for left in (unfinished, old):
        shutil.rmtree(left, ignore_errors=True)
    if not folder.is_dir():
        _made_shard(unfinished, dimension).close()
        unfinished.rename(folder)
    return edge.EdgeShard.load(str(folder), _config(dimension))


def _made_shard(folder: Path, dimension: int) -> edge.EdgeShard:
    """A new and empty shard, open."""
    folder.mkdir()
    shard = edge.EdgeShard.create(str(folder), _config(dimension))
    for field, kind in _payload_indexes().items():
        shard.update(edge.UpdateOperation.create_field_index(field, kind))
    shard.flush()
    return shard


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _present(shard: edge.EdgeShard, points: Iterable[PointId]) -> frozenset[int]:
    """Those that the shard has: the engine raises half-way through when it is told to change a missing point."""
    wanted: list[int | UUID | str] = [int(point) for point in points]
    records = shard.retrieve(wanted, False, False) if wanted else []
    return frozenset(_number(record.id) for record in records)


def _config(dimension: int) -> edge.EdgeConfig:
    """Exact dense search (no graph), scoped IDF, vectors read from disk through the page cache, the log on."""
    return edge.EdgeConfig(
        vectors={
            Space.DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine, memory=edge.Memory.Cold)
        },
        sparse_vectors={
            Space.LEXICAL: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf, memory=edge.Memory.Cold)
        },
        hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=1_000_000_000),
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=_SEGMENTS),
        payload_memory=edge.Memory.Cold,
        wal_enabled=True,
    )


def _payload_indexes() -> dict[str, edge.IntegerIndexParams | edge.KeywordIndexParams]:
    return {
        "boundary": edge.IntegerIndexParams(lookup=True, range=False),
        **{name: edge.IntegerIndexParams(lookup=False, range=True) for name in _PERIOD_FIELDS},
        "facets": edge.KeywordIndexParams(),
        "marks": edge.IntegerIndexParams(lookup=True, range=False, memory=edge.Memory.Cold),
    }


def _filter(query: IndexQuery) -> edge.Filter:
    """INVARIANT: always the boundaries, never an empty `must`, which the engine takes for "everything"."""

    def within(start: str, end: str, instant: int) -> list[edge.FieldCondition]:
        return [
            edge.FieldCondition(key=start, range=edge.RangeFloat(lte=float(instant))),
            edge.FieldCondition(key=end, range=edge.RangeFloat(gt=float(instant))),
        ]

    return edge.Filter(
        must=[
            edge.FieldCondition(
                key="boundary", match=edge.MatchAny([int(boundary) for boundary in sorted(query.boundaries)])
            ),
            *within("valid_from", "valid_to", query.valid_at),
            *within("recorded_from", "recorded_to", query.known_at),
            *(edge.FieldCondition(key="facets", match=edge.MatchAny(list(group))) for group in query.facets),
            *(_meeting(demand) for demand in query.demands),
        ]
    )


def _meeting(demand: Demand) -> edge.Filter:
    return edge.Filter(
        should=[
            edge.Filter(
                must=[edge.FieldCondition(key="marks", match=edge.MatchAny([int(mark)])) for mark in sorted(marks)]
            )
            for marks in demand
        ]
    )


def _payload(placement: Placement) -> dict[str, object]:
    return {
        "boundary": placement.boundary,
        "valid_from": placement.valid_from,
        "valid_to": placement.valid_to,
        "recorded_from": placement.recorded_from,
        "recorded_to": placement.recorded_to,
        "facets": list(placement.facets),
    }


def _unnamed(placement: Placement) -> Placement:
    """The placement without its point: equal for points that end up with the same payload."""
    return replace(placement, point=PointId(0))


def _sparse(lexical: Lexical) -> edge.SparseVector:
    return edge.SparseVector(list(lexical.terms), list(lexical.weights))


def _candidate(found: edge.ScoredPoint) -> Candidate:
    lexical = found.vector.get(Space.LEXICAL) if isinstance(found.vector, dict) else None
    weights = dict(zip(lexical.indices, lexical.values, strict=True)) if isinstance(lexical, edge.SparseVector) else {}
    return Candidate(PointId(_number(found.id)), found.score, weights)


def _entry_of(record: edge.Record) -> IndexEntry:
    """What was written as this record."""
    vectors: Any = record.vector
    payload: Any = record.payload
    lexical = vectors.get(Space.LEXICAL)
    return IndexEntry(
        placement=Placement(
            point=PointId(_number(record.id)),
            boundary=BoundaryId(payload["boundary"]),
            valid_from=Instant(payload["valid_from"]),
            valid_to=Instant(payload["valid_to"]),
            recorded_from=Instant(payload["recorded_from"]),
            recorded_to=Instant(payload["recorded_to"]),
            facets=tuple(payload["facets"]),
        ),
        dense=Vector(np.array(vectors[Space.DENSE], "<f4").tobytes()),
        lexical=Lexical(terms=tuple(lexical.indices), weights=tuple(lexical.values))
        if lexical is not None
        else Lexical(terms=(), weights=()),
    )


def _number(point: object) -> int:
    if not isinstance(point, int):
        raise TypeError(f"a point named {point!r} in a shard of numbered points")
    return point


@contextmanager
def _engine_errors() -> Iterator[None]:
    """The engine raises plain `Exception` and nothing finer: here, and only here, it becomes `IndexUnavailable`."""
    try:
        yield
    except (IndexUnavailable, ValueError, TypeError):
        raise
    except Exception as error:
        raise IndexUnavailable(
            "The index failed: see the server's log. A damaged index folder may be removed; it is filled again."
        ) from error


def _return_freed_memory() -> None:
    """Give the C allocator's free pages back to the system: up to 0.2 GB after a large `optimize`. glibc only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
