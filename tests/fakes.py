"""Dumb stand-ins for ports: obviously right, in memory, slow."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from app.domain.corpus import ChunkId
from app.domain.evidence import (
    Hit,
    Hits,
    IndexEntry,
    IndexQuery,
    Lexical,
    Placement,
    PointId,
    Purged,
    Vector,
    chunk_of,
    in_order,
)


class ReferenceIndex:
    """The `Index` port as a dictionary and two loops: cosine, and BM25 over the points that match."""

    def __init__(self) -> None:
        self._entries: dict[PointId, IndexEntry] = {}
        self._purged: set[ChunkId] = set()

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        taken = [entry for entry in entries if chunk_of(entry.placement.point) not in self._purged]
        self._entries |= {entry.placement.point: entry for entry in taken}

    def move(self, placements: Sequence[Placement]) -> None:
        for placement in placements:
            if (entry := self._entries.get(placement.point)) is not None:
                self._entries[placement.point] = IndexEntry(
                    placement=placement, dense=entry.dense, lexical=entry.lexical, marks=entry.marks
                )

    def remove(self, points: Sequence[PointId]) -> None:
        for point in points:
            self._entries.pop(point, None)

    def purge(self, points: Sequence[PointId]) -> Purged:
        there = len(self.held(points))
        self._purged |= {chunk_of(point) for point in points}
        self._entries = {point: entry for point, entry in self._entries.items() if chunk_of(point) not in self._purged}
        return Purged(points=there, rewritten=True)

    def held(self, points: Sequence[PointId]) -> frozenset[PointId]:
        return frozenset(points) & frozenset(self._entries)

    def size(self) -> int:
        return len(self._entries)

    def search(self, query: IndexQuery) -> Hits:
        if not query.boundaries:
            raise ValueError("a search needs at least one boundary")
        matching = [entry for entry in self._entries.values() if _matches(entry, query)]
        dense = list(self._dense(query.dense, matching)) if query.dense is not None else []
        lexical = list(self._lexical(query.lexical, matching)) if query.lexical else []
        listed = {hit.chunk for hit in _best(lexical, query.depth)} if lexical else set()
        held = {term for each in matching if chunk_of(each.placement.point) in listed for term in each.lexical.terms}
        best = {hit.chunk for some in (dense, lexical) for hit in _best(some, query.depth)}
        return Hits(
            dense=_best((hit for hit in dense if hit.chunk in best), len(best)) if best else (),
            lexical=_best((hit for hit in lexical if hit.chunk in best), len(best)) if best else (),
            terms=tuple(term for term in query.lexical.terms if term in held) if query.lexical else (),
        )

    def _dense(self, query: Vector, matching: Sequence[IndexEntry]) -> Iterable[Hit]:
        for entry in matching:
            yield Hit(chunk=chunk_of(entry.placement.point), score=_cosine(query, entry.dense))

    def _lexical(self, query: Lexical, matching: Sequence[IndexEntry]) -> Iterable[Hit]:
        population = [dict(zip(each.lexical.terms, each.lexical.weights, strict=True)) for each in matching]
        total = sum(1 for weights in population if weights)
        for entry, weights in zip(matching, population, strict=True):
            parts = [
                asked * weights[term] * _idf(total, sum(1 for each in population if term in each))
                for term, asked in zip(query.terms, query.weights, strict=True)
                if term in weights
            ]
            if parts:
                yield Hit(chunk=chunk_of(entry.placement.point), score=math.fsum(parts))


def _matches(entry: IndexEntry, query: IndexQuery) -> bool:
    placement = entry.placement
    return (
        placement.boundary in query.boundaries
        and placement.valid_from <= query.valid_at < placement.valid_to
        and placement.recorded_from <= query.known_at < placement.recorded_to
        and all(set(group) & set(placement.facets) for group in query.facets)
        and all(any(marks <= entry.marks for marks in demand) for demand in query.demands)
    )


def _cosine(one: Vector, other: Vector) -> float:
    a, b = (np.frombuffer(each, dtype="<f4").astype("f8") for each in (one, other))
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def _idf(total: int, having: int) -> float:
    return math.log((total - having + 0.5) / (having + 0.5) + 1)


def _best(hits: Iterable[Hit], depth: int) -> tuple[Hit, ...]:
    best: dict[ChunkId, float] = {}
    for hit in hits:
        best[hit.chunk] = max(hit.score, best.get(hit.chunk, hit.score))
    return in_order(best)[:depth]


class ReferenceReranker:
    """The `Reranker` port by the share of the question's words that a text has. Remembers what it was given to read."""

    fingerprint = "shared words"

    def __init__(self) -> None:
        self.read: list[str] = []

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        self.read.extend(texts)
        asked = set(query.lower().split())
        return [len(asked & set(text.lower().split())) / len(asked) for text in texts]
