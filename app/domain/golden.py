"""Golden questions of a collection: what its owners ask to see whether it is answered as it must be."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.domain.access import BoundaryId, PrincipalRef
from app.domain.citation import Passage
from app.domain.corpus import DocumentId
from app.domain.evaluation import Scored, says
from app.domain.instants import Instant
from app.domain.metrics import measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A document that is to answer the question; `version` and `says` are of any, if unstated."""

    document: DocumentId
    version: int | None = None
    says: str | None = None

    def met_by(self, passage: Passage) -> bool:
        """Whether a passage is of it. `says` stands in the passage, however its lines are broken."""
        cited = passage.citation
        of_version = self.version is None or self.version == cited.version
        return cited.document == self.document and of_version and says(passage.text, self.says)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenQuestion:
    """`who` is asked as; None is whoever runs the evaluation. `by` stated it; None as long as nobody has."""

    name: str
    question: str
    by: PrincipalRef | None = None
    who: PrincipalRef | None = None
    purpose: str | None = None
    as_of: Instant | None = None
    expects: tuple[Expected, ...] = ()
    slice: str = "all"
    unanswerable: bool = False

    @property
    def stated(self) -> str:
        """A digest of all that its result depends on: results of one that was stated otherwise are not compared."""
        expects = [[each.document, each.version, each.says] for each in self.expects]
        content = [self.question, self.who, self.purpose, self.as_of, expects, self.unanswerable]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def scored(self, passages: Sequence[Passage], *, who: PrincipalRef, ms: float) -> Scored:
        """How well these passages answer it. One without an answer is refused if nothing was found."""
        result = Scored(
            question=self.name, slice=self.slice, who=who, unanswerable=self.unanswerable, refused=not passages, ms=ms
        )
        if not self.expects:
            return result
        found = dict.fromkeys(self._found(passage) for passage in passages)
        relevance = {str(number): 1.0 for number in range(len(self.expects))}
        wrong = any(self._is_wrong_version(passage) for passage in passages)
        return replace(result, measures=measured(list(found), relevance), wrong_version=wrong)

    def _found(self, passage: Passage) -> str:
        """The number of the first expectation that a passage meets; the document of one that meets none."""
        met = (str(number) for number, each in enumerate(self.expects) if each.met_by(passage))
        return next(met, passage.citation.document)

    def _is_wrong_version(self, passage: Passage) -> bool:
        cited = passage.citation
        versions = {each.version for each in self.expects if each.document == cited.document}
        return bool(versions) and None not in versions and cited.version not in versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The result of one question, and how that was stated then."""

    scored: Scored
    stated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of asking a collection's golden questions, kept as it came out.

    INVARIANT: `reached` is, for each purpose, all that could have had a part in it: whoever may not read that today is
    not shown it.
    """

    id: str
    collection: str
    at: Instant
    by: PrincipalRef
    ranking: Mapping[str, Any]
    model: str
    reached: Mapping[str | None, frozenset[BoundaryId]]
    kept: tuple[Kept, ...]

    @property
    def scored(self) -> tuple[Scored, ...]:
        return tuple(each.scored for each in self.kept)

    def comparable(self) -> tuple[Scored, ...]:
        """Its results, each under a name that another evaluation has for the same question as stated then."""
        return tuple(replace(each.scored, question=f"{each.scored.question} {each.stated}") for each in self.kept)


def folded(question: str) -> str:
    """What a question is grouped by: small letters, single spaces, no punctuation around it. Nobody's own spelling."""
    return " ".join(question.casefold().split()).strip(" .,;:!?¿¡\"'()")
