"""From ranked lists of hits to the few that are worth a caller's tokens. Pure functions over scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.corpus import ChunkId
from app.domain.evidence import Hit, Hits, ranked


class Fusion(StrEnum):
    """How the scores of two lists are made comparable."""

    MIN_MAX = "min-max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How hits are ranked: everything about it that can be chosen, so that two choices can be compared in one run."""

    fusion: Fusion = Fusion.MIN_MAX
    dense_weight: float = 0.5
    depth: int = 100
    """Hits taken from each of dense and lexical before fusion: the depth that fusion was measured at."""
    min_cosine: float = 0.2
    """Below this, and without a shared term, a passage has nothing to do with the question (all-MiniLM-L6-v2)."""


def fused(hits: Hits, *, dense_weight: float = 0.5) -> tuple[Hit, ...]:
    """Min-max fusion of the two lists, best first, scores in [0, 1].

    Each list is scaled to [0, 1] between its own extremes; a hit that one list lacks scores 0 there; a list whose
    hits all tie scales to 1. With one list empty, the other alone ranks. Min-max over the first hundred of each
    measured better than reciprocal rank fusion on SciFact with the default model.
    """
    if not hits.dense or not hits.lexical:
        return ranked(_scaled(hits.dense or hits.lexical), len(hits.dense) + len(hits.lexical))
    scores: dict[ChunkId, float] = {}
    for weight, listed in ((dense_weight, hits.dense), (1 - dense_weight, hits.lexical)):
        for hit in _scaled(listed):
            scores[hit.chunk] = scores.get(hit.chunk, 0.0) + weight * hit.score
    return ranked((Hit(chunk=chunk, score=score) for chunk, score in scores.items()), len(scores))


def _scaled(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    if not hits:
        return ()
    high, low = max(hit.score for hit in hits), min(hit.score for hit in hits)
    spread = high - low
    return tuple(Hit(chunk=hit.chunk, score=(hit.score - low) / spread if spread else 1.0) for hit in hits)


def relevant(hits: Hits, *, min_cosine: float) -> Hits:
    """The hits that say something: those that share a term with the question, or whose meaning is near enough.

    Every text has some nearest neighbour; without a floor, a question about nothing here would be answered with it.
    """
    shared = {hit.chunk for hit in hits.lexical}
    near = tuple(hit for hit in hits.dense if hit.score >= min_cosine or hit.chunk in shared)
    return Hits(dense=near, lexical=hits.lexical)
