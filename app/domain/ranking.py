"""From ranked lists of hits to the few that are worth a caller's tokens. Pure functions over scores."""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, pstdev
from typing import Final

from app.domain.corpus import ChunkId
from app.domain.evidence import SCORE_DIGITS, Hit, Hits, in_order


class Fusion(StrEnum):
    """How the scores of two lists are made comparable: each list's to [0, 1], before they are added by weight."""

    CONVEX = "convex"
    """Between the least that such a score can be and the list's best (TM2C2: Bruch et al. 2022, arXiv 2210.11934)."""
    MIN_MAX = "min-max"
    """Between the list's own extremes."""
    DBSF = "dbsf"
    """Between three standard deviations below the list's mean and three above (distribution-based score fusion)."""
    RRF = "rrf"
    """By rank alone (reciprocal rank fusion: Cormack et al. 2009)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How hits are ranked: everything about it that can be chosen, so that two choices can be compared in one run."""

    fusion: Fusion = Fusion.CONVEX
    dense_weight: float = 0.78
    """What meaning counts for in [0, 1], with shared words for the rest. For `CONVEX`, whose cosines lie close."""
    adaptation: float = 0.5
    """How far a question may move it by what its hits tell, and by how much of it the model can read: 0 not at all."""
    rrf_k: int = 60
    depth: int = 64
    """Hits taken from each of dense and lexical before fusion. More changed nothing: both score what either found."""
    min_cosine: float = 0.2
    """Below this, and without a shared term, a passage has nothing to do with the question (all-MiniLM-L6-v2)."""
    document_decay: float = 0.99
    """What each further passage of one document counts for, of what the one before it did; 1 counts them alike."""
    rerank_candidates: int = 10
    """Of how many hits a reranker reads the text: it costs time for each, and at its weight few rise from further."""
    rerank_weight: float = 0.1
    """What a reranker's score counts for in [0, 1], beside the fused one: more than it seems, because its scores lie
    far apart, and the fused ones of the first ten within .17 (on SciFact)."""

    def __post_init__(self) -> None:
        for weight in (self.dense_weight, self.adaptation, self.document_decay, self.rerank_weight):
            if not 0 <= weight <= 1:
                raise ValueError(f"a weight of {weight}")
        if self.rrf_k < 0 or self.depth < 1 or self.rerank_candidates < 0:
            raise ValueError("a count below what can be counted")


DEFAULT: Final = Ranking()


def fused(hits: Hits, ranking: Ranking = DEFAULT, *, known: float = 1.0) -> tuple[Hit, ...]:
    """The two lists as one, best first, scores in [0, 1]; with one list empty, the other alone ranks.

    What shares no word with the question scores 0 by words. `known` as in `dense_weight`. INVARIANT: a function of
    these hits, the choices and the question.
    """
    dense = _by_chunk(hits.dense, ranking, least=LEAST_COSINE)
    lexical = _by_chunk(hits.lexical, ranking, least=0.0)
    weight = dense_weight(hits, ranking, known=known) if dense and lexical else float(bool(dense))
    chunks = dense.keys() | lexical.keys()
    return in_order(
        {chunk: weight * dense.get(chunk, 0.0) + (1 - weight) * lexical.get(chunk, 0.0) for chunk in chunks}
    )


LEAST_COSINE: Final = -1.0


def _by_chunk(hits: Sequence[Hit], ranking: Ranking, *, least: float) -> dict[ChunkId, float]:
    scaled = _scaled(hits, ranking, least=least)
    return {hit.chunk: score for hit, score in zip(hits, scaled, strict=True)}


def _scaled(hits: Sequence[Hit], ranking: Ranking, *, least: float) -> list[float]:
    """The scores of a list, best first, in [0, 1]; `least` is what no such score falls below."""
    scores = [hit.score for hit in hits]
    if not scores:
        return []
    if ranking.fusion is Fusion.RRF:
        return [(ranking.rrf_k + 1) / (ranking.rrf_k + rank) for rank, _ in enumerate(scores, 1)]
    low, high = _BOUNDS[ranking.fusion](scores, least)
    if not high > low:
        return [1.0] * len(scores)
    if ranking.fusion is Fusion.DBSF:  # of the others, no score is beyond the bounds
        scores = [min(max(score, low), high) for score in scores]
    width = high - low
    return [(score - low) / width for score in scores]


_BOUNDS: Final[Mapping[Fusion, Callable[[Sequence[float], float], tuple[float, float]]]] = {
    Fusion.CONVEX: lambda scores, least: (min(least, *scores), max(scores)),
    Fusion.MIN_MAX: lambda scores, _: (min(scores), max(scores)),
    Fusion.DBSF: lambda scores, _: _three_sigma(scores),
}


def _three_sigma(scores: Sequence[float]) -> tuple[float, float]:
    middle, spread = fmean(scores), pstdev(scores)
    return middle - 3 * spread, middle + 3 * spread


# -- what a question's hits tell --------------------------------------------------------------------------------------

_FOLLOWING: Final = 10
"""Hits after the first: it is held against the last of these."""
_SCORE_OF_COSINE: Final = 75.0
"""What a lead by words is as sure as a lead of 1 by meaning, as is usual on the sets that were measured."""
_NO_LEAD: Final = 0.01
"""Added to both leads, in cosines: below it one is as good as none, and none divides nothing by 0."""
_WELL_KNOWN: Final = 0.95
"""The share from which a text is known as well as any: names and endings are spelled out in every language."""
_LEAST_KNOWN: Final = 0.05
"""A share below which a text is known no less: what nobody can read has hits by meaning, too."""
_KNOWN_EXPONENT: Final = 4
"""Of the known share, before it is raised to `adaptation`: at .5, the square of it counts (`app/DECISIONS.md`)."""


def dense_weight(hits: Hits, ranking: Ranking, *, known: float = 1.0) -> float:
    """What meaning counts for with this question, in [0, 1]: more than words the further its own hits stand apart.

    A list whose first hit hardly stands out from those after it tells little of this question, and so does the meaning
    of a question of which the model was taught to read but a share, `known`. Ranks alone tell none of it. Neither list
    is empty.
    """
    if ranking.fusion is Fusion.RRF:
        return ranking.dense_weight
    meaning = _lead(hits.dense, cut=True) + _NO_LEAD
    words = _lead(hits.lexical, cut=len(hits.lexical) >= ranking.depth) / _SCORE_OF_COSINE + _NO_LEAD
    read = min(max(known, _LEAST_KNOWN) / _WELL_KNOWN, 1.0)
    surer = math.pow(meaning / words * read**_KNOWN_EXPONENT, ranking.adaptation)
    odds = ranking.dense_weight * surer, 1 - ranking.dense_weight
    return odds[0] / sum(odds)


def _lead(hits: Sequence[Hit], *, cut: bool) -> float:
    """How far the first hit stands above those after it. What a list that is not `cut` leaves out scores 0 by it."""
    after = hits[min(_FOLLOWING, len(hits) - 1)].score if cut or len(hits) > _FOLLOWING else 0.0
    return hits[0].score - after


# -- several passages of one document ---------------------------------------------------------------------------------


class Turns:
    """Hits in the order of what their scores are worth, where each further one of a document is worth less.

    They come best first, each with its document. INVARIANT: the first of each document keeps its score, so the best
    hit stays the best and documents keep their order; what comes out depends on the hits alone, not on when it is asked
    for.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._earlier: Counter[str] = Counter()
        self._waiting: list[tuple[float, ChunkId]] = []

    def enter(self, hit: Hit, document: str) -> None:
        worth = round(hit.score * self._decay ** self._earlier[document], SCORE_DIGITS)
        self._earlier[document] += 1
        heapq.heappush(self._waiting, (-worth, hit.chunk))

    def due(self, following: Hit | None) -> Iterator[Hit]:
        """Those that nothing can come before any more, when the hit that `following` is has yet to enter."""
        while self._waiting and (following is None or -self._waiting[0][0] > following.score):
            worth, chunk = heapq.heappop(self._waiting)
            yield Hit(chunk=chunk, score=-worth)


def relevant(hits: Hits, *, min_cosine: float) -> Hits:
    """The hits that say something: those that share a term with the question, or whose meaning is near enough.

    Every text has some nearest neighbour; without a floor, a question about nothing here would be answered with it.
    """
    shared = {hit.chunk for hit in hits.lexical}
    near = tuple(hit for hit in hits.dense if hit.score >= min_cosine or hit.chunk in shared)
    return Hits(dense=near, lexical=hits.lexical)


# -- a reranker's word ------------------------------------------------------------------------------------------------


_CALM: Final = 4.0
"""Rerankers that are trained on yes and no are surer than they are right: their log-odds are divided by this, which
with `Ranking.rerank_weight` is what lowers nothing (`app/DECISIONS.md`)."""


def calibrated(score: float) -> float:
    """A reranker's score in [0, 1], drawn to the middle."""
    yes, no = (math.pow(min(max(each, 0.0), 1.0), 1 / _CALM) for each in (score, 1 - score))
    return yes / (yes + no)


def reweighed(hits: Sequence[Hit], read: Mapping[ChunkId, float], *, weight: float) -> tuple[Hit, ...]:
    """Hits with what a reranker made of some of them mixed in, best first, scores in [0, 1].

    Those that it did not read come after all that it did, as they did before.
    """
    return in_order({hit.chunk: (1 - weight) * hit.score + weight * read.get(hit.chunk, 0.0) for hit in hits})
