"""Claims held against passages: somebody's answer, or what a model wrote."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from app.domain.answering import Candidate
from app.domain.claims import Claim, claims
from app.domain.evidence import Vector, cosine
from app.domain.verification import Finding, Statement, Verdict, shared, verified
from app.ports import Ports

_COMPARED: Final = 12
"""Statements that are compared by meaning for one claim: those that share most words with it."""


class Verifier:
    """Holds claims against the sentences of some passages: read once, and embedded when a claim comes near them."""

    def __init__(self, ports: Ports, candidates: Sequence[Candidate]) -> None:
        self._ports = ports
        self._vectors: dict[str, Vector] = {}
        alone = [_statement([each], place) for place, each in enumerate(candidates)]
        pairs = [
            _statement([each, following], place)
            for place, (each, following) in enumerate(pairwise(candidates))
            if each.passage == following.passage
        ]
        self._statements = [*alone, *pairs]

    def verified(self, text: str, cited: frozenset[int]) -> Finding:
        """What is found of a claim. Of one that is several sentences, the worst."""
        found = [self._verified(text, claim, cited) for claim in claims(text)]
        return min(found, key=lambda each: _WORST.index(each.verdict), default=Finding(verdict=Verdict.UNSUPPORTED))

    def _verified(self, text: str, claim: Claim, cited: frozenset[int]) -> Finding:
        near = sorted(self._statements, key=lambda each: (-shared(claim, each), each.place))[:_COMPARED]
        said = claim.span.of(text)
        self._embed([said, *(each.text for each in near)])
        nearness = [round(cosine(self._vectors[said], self._vectors[each.text]), 4) for each in near]
        return verified(text, claim, near, nearness, cited=cited)

    def _embed(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._ports.embedder.embed_passages(new), strict=True))


_WORST: Final = (Verdict.CONTRADICTED, Verdict.UNSUPPORTED, Verdict.UNCITED, Verdict.SUPPORTED)


def _statement(several: Sequence[Candidate], place: int) -> Statement:
    text = " ".join(each.shown for each in several)
    return Statement(passage=several[0].passage, place=place, claims=claims(text), text=text)
