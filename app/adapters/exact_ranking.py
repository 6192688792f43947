"""What every Qdrant engine's candidates go through before they are hits: a cut-off that ignores ties, exact BM25.

An engine is trusted with *which* points match and roughly how well, not with the last digits. It adds the float32
parts of a lexical score in the order in which its segment first met the terms, so documents that nobody may see
moved the sixth decimal of a visible one (measured: Edge 0.9.0, one score in twenty). Here the engine tells the
document frequencies, the scores are added up again exactly, and ties are cut by chunk id. Dense scores were the same
to the bit whatever else a shard held, and are taken as they are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

from app.domain.corpus import ChunkId
from app.domain.errors import IndexUnavailable
from app.domain.evidence import SCORE_DIGITS, Hit, Hits, IndexQuery, Lexical, PointId, Vector, chunk_of, in_order

_SPARE: Final = 16
"""Points fetched beyond the depth at first: enough unless many tie at the cut."""

_GROWTH: Final = 4

_TIE: Final = 2 * 10.0**-SCORE_DIGITS
"""Scores further apart than this are surely different when rounded."""

_FLOAT32_NOISE: Final = 2.0**-22
"""Relative error that one addition in float32 may leave, with room to spare."""


class Space(StrEnum):
    """The two named vectors of a point."""

    DENSE = "dense"
    LEXICAL = "lexical"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point with the engine's score. `weights` is its lexical vector, if the query has terms to hold against it."""

    point: PointId
    score: float
    weights: Mapping[int, float] = field(default_factory=dict)


class Engine(Protocol):
    """One query's filter, bound to an engine. Every method sees only the points that match it."""

    def nearest(self, limits: Mapping[Space, int]) -> dict[Space, list[Candidate]]:
        """The best `limit` of each space that is named, best first; points that share no term are left out."""
        ...

    def dense_scores(self, points: Sequence[PointId]) -> dict[PointId, float]:
        """What each of these points scores by meaning; the query has a dense vector."""
        ...

    def lexical_population(self) -> int:
        """How many of the matching points have a lexical vector."""
        ...

    def term_scores(self, carriers: Mapping[int, PointId]) -> dict[int, float]:
        """For each term, what its carrier scores when the query is that term alone, with weight 1."""
        ...


def best_hits(engine: Engine, query: IndexQuery) -> Hits:
    """The port's answer to `query`, from an engine that already has its filter."""
    found = _settled_candidates(engine, query)
    near, worded = found.get(Space.DENSE, []), found.get(Space.LEXICAL, [])
    exact = _exact_scores(engine, query.lexical, _each_once([*worded, *near])) if query.lexical else {}
    scores = {each.point: each.score for each in near}
    if query.dense is not None and (unseen := [each.point for each in worded if each.point not in scores]):
        scores |= engine.dense_scores(unseen)
    asked = query.lexical.terms if query.lexical else ()
    return both_ways(
        query,
        near=scores,
        exact=exact,
        worded={each.point: [term in each.weights for term in asked] for each in worded},
    )


def both_ways(
    query: IndexQuery,
    *,
    near: Mapping[PointId, float],
    exact: Mapping[PointId, float],
    worded: Mapping[PointId, Sequence[bool]],
) -> Hits:
    """The best of each list, each with what the other list scores it: one that is only far down there is not lost.

    `near` and `exact` are what candidates of either list score, by meaning and by BM25; the best `depth` of all that
    match are among them. `worded` are those of the lexical list, with whether they have each of the question's terms.
    """
    dense, lexical = _ranked_points(near), _ranked_points(exact)
    best = {hit.chunk for hit in lexical[: query.depth]}
    kept = best | {hit.chunk for hit in dense[: query.depth]}
    return Hits(
        dense=tuple([hit for hit in dense if hit.chunk in kept]),
        lexical=tuple([hit for hit in lexical if hit.chunk in kept]),
        terms=_terms(query.lexical, best, worded) if query.lexical else (),
    )


def _each_once(candidates: Iterable[Candidate]) -> list[Candidate]:
    return list({each.point: each for each in candidates}.values())


def checked_vector(vector: Vector, dimension: int) -> list[float]:
    """The vector's numbers; raises `ValueError` unless it has `dimension` finite ones, not all zero."""
    if len(vector) != 4 * dimension:
        raise ValueError(f"a vector of {len(vector)} bytes where {4 * dimension} are needed")
    numbers = np.frombuffer(vector, dtype="<f4")
    if not np.isfinite(numbers).all() or not numbers.any():
        raise ValueError("a vector with numbers that are not finite, or with nothing but zeros")
    floats: list[float] = numbers.tolist()
    return floats


def _settled_candidates(engine: Engine, query: IndexQuery) -> dict[Space, list[Candidate]]:
    """Fetch past the last point that ties with the cut, so that which ones the engine dropped cannot matter."""
    wanted: dict[Space, int] = {}
    if query.dense is not None:
        wanted[Space.DENSE] = query.depth + _SPARE
    if query.lexical:
        wanted[Space.LEXICAL] = query.depth + _SPARE
    terms = len(query.lexical.terms) if query.lexical else 0
    found: dict[Space, list[Candidate]] = {}
    while wanted:
        found |= engine.nearest(wanted)
        wanted = {
            space: limit * _GROWTH
            for space, limit in wanted.items()
            if not _is_settled(found[space], limit, query.depth, terms=terms if space is Space.LEXICAL else 0)
        }
    return found


def _is_settled(candidates: Sequence[Candidate], limit: int, depth: int, *, terms: int) -> bool:
    """Whether nothing that was not fetched can be among the best `depth` chunks."""
    if len(candidates) < limit:
        return True
    margin = _TIE + terms * _FLOAT32_NOISE * abs(candidates[0].score)
    last = candidates[-1].score
    return len({chunk_of(each.point) for each in candidates if each.score > last + margin}) >= depth


def _exact_scores(engine: Engine, query: Lexical, candidates: Sequence[Candidate]) -> dict[PointId, float]:
    """BM25 of each candidate that shares a term, in float64, from stored weights and integer counts alone."""
    carriers = _carriers(query, candidates)
    if not carriers:
        return {}
    population = engine.lexical_population()
    scores = engine.term_scores({term: carrier.point for term, carrier in carriers.items()})
    if scores.keys() != carriers.keys():
        raise IndexUnavailable("The index changed while it was searched. Ask again.")
    factors = {
        term: weight * idf(population, _frequency(population, scores[term] / carriers[term].weights[term]))
        for term, weight in zip(query.terms, query.weights, strict=True)
        if term in carriers
    }
    return {
        each.point: math.fsum(factor * each.weights[term] for term, factor in factors.items() if term in each.weights)
        for each in candidates
        if not factors.keys().isdisjoint(each.weights)
    }


def _carriers(query: Lexical, candidates: Sequence[Candidate]) -> dict[int, Candidate]:
    """A candidate for each query term that any of them has."""
    carriers: dict[int, Candidate] = {}
    for candidate in candidates:
        for term in query.terms:
            if term in candidate.weights:
                carriers.setdefault(term, candidate)
    return carriers


def _terms(query: Lexical, listed: Set[ChunkId], worded: Mapping[PointId, Sequence[bool]]) -> tuple[int, ...]:
    """The question's terms that any of the listed chunks has."""
    having = zip(*(has for point, has in worded.items() if chunk_of(point) in listed), strict=True)
    return tuple(term for term, has in zip(query.terms, having, strict=False) if any(has))


def idf(population: int, frequency: int) -> float:
    """Qdrant's inverse document frequency, the non-negative one of Lucene's BM25."""
    return math.log((population - frequency + 0.5) / (frequency + 0.5) + 1)


def _frequency(population: int, idf: float) -> int:
    """The document count that gave the engine's number, which float32 blurs: `idf` solved for it and rounded.

    The blur stays below half a document up to some four million matching points.
    """
    return min(max(round((population + 1) / math.exp(idf) - 0.5), 1), population)


def _ranked_points(scores: Mapping[PointId, float]) -> tuple[Hit, ...]:
    """Each chunk once, best first: while a period is being corrected, two points of a chunk may match."""
    chunks: dict[ChunkId, float] = {}
    for point, score in scores.items():
        chunk = chunk_of(point)
        chunks[chunk] = max(score, chunks.get(chunk, score))
    return in_order(chunks)
