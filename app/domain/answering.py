"""Which sentences of the passages answer a question, and how sure that is. Pure functions over words and cosines.

Everything here is a function of the question and of passages that may be shown, as they are shown: no statistic over
anything else goes in, so what is hidden moves neither a sentence nor the refusal.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from app.domain.citation import Citation
from app.domain.claims import sentences
from app.domain.corpus import Span
from app.domain.redaction import Redaction
from app.domain.similarity import jaccard, words
from app.domain.verification import Verdict

NOT_HERE: Final = "This is not in the documents you may read."
"""The refusal: the same words whether there is nothing, or nothing that may be read."""

MIN_CONFIDENCE: Final = 0.3
"""Five-fold cross-validated on what the coefficients were fitted on, this refuses 84 of 100 unanswerable and 9 of 100
answerable questions of the fixtures; of the other policies 46 (of which several are answered by another document) and
none. At 0.5 it is 92 and 25, and 69 and 4. Of 68 golden questions written apart from this and not fitted on,
84 and 14 of 100; at 0.5, 97 and 22."""

MAX_PASSAGES: Final = 8
MAX_WEIGHED: Final = 32
"""Sentences that are embedded for one question: those that share most with it, of so many passages at the most."""

Term = int


class AnswerKind(StrEnum):
    EXTRACTIVE = "extractive"
    """Sentences of the passages as they stand."""
    GENERATED = "generated"
    """Written by a model, and held against the passages claim by claim."""
    NONE = "none"


class Wanted(StrEnum):
    """What kind of answer a question asks for, so far as its own words say."""

    DURATION = "duration"
    DATE = "date"
    NUMBER = "number"
    NAME = "name"
    RULE = "rule"
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence of a passage."""

    passage: int
    """The passage's rank."""
    citation: Citation
    """Of the sentence: its own span and quote."""
    shown: str
    """The quote without what is blacked out of it."""
    redactions: tuple[Redaction, ...] = ()
    terms: frozenset[Term]
    context: frozenset[Term]
    """Of its passage as a whole, with title and headings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A candidate with how well it answers the question."""

    candidate: Candidate
    cosine: float
    covered: float
    """Which part of the question's words it says, each weighted by how rare it is among the passages: 0 to 1."""
    in_context: float
    """Likewise, of what its passage says."""
    offers: bool
    """Whether it holds what kind of answer was asked for."""
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an answer's confidence is computed from."""

    cosine: float
    covered: float
    in_context: float
    anywhere: float
    """Which part of the question's words any passage says."""
    offers: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence of an answer, as it leaves."""

    text: str
    citation: Citation | None
    """Of the sentence it is, or that supports it; None if nothing does."""
    passage: int | None
    """The rank of the passage that is from."""
    score: float
    redactions: tuple[Redaction, ...] = ()
    verdict: Verdict | None = None
    """Of a generated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is answered."""

    kind: AnswerKind
    text: str
    sentences: tuple[Sentence, ...] = ()
    confidence: float | None = None
    """That the passages answer the question; None if none was looked at."""
    dropped: Mapping[Verdict, int] = field(default_factory=dict)
    """Generated sentences that did not leave, by what was found of them."""


COSINE_WEIGHT: Final = 0.6
COVERED_WEIGHT: Final = 0.25
CONTEXT_WEIGHT: Final = 0.1
OFFERS_WEIGHT: Final = 0.15

_ASKS: Final = (
    (
        Wanted.DURATION,
        r"how (?:long|soon|quickly|fast|often)\b|for how many (?:days|weeks|months|years)|within (?:how|what|which)"
        r"|how many (?:minutes|hours|days|weeks|months|years)|wie lange|wie schnell|binnen",
    ),
    (
        Wanted.DATE,
        r"^\W*(?:(?:since|until|by|from) )?when\b|(?:until|by) when|wann\b|(?:what|which) (?:date|day|month|year)",
    ),
    (
        Wanted.NUMBER,
        r"how (?:much|many|high|large|big|far|old)\b|the most|at most|up to what|wie ?viele?|wie hoch"
        r"|(?:what|which) (?:percentage|share|amount|rate|score|limit|sum|number|price)",
    ),
    (Wanted.NAME, r"\bwho(?:m|se)?\b|\bwer\b|\bwen\b|\bwem\b"),
    (
        Wanted.RULE,
        r"(?:^|[,.;])[^\w,.;]*(?:may|can|must|should|do|does|am|are|is|was|will|darf|kann|muss|soll)\b",
    ),
)
_QUESTIONS: Final = tuple((wanted, re.compile(pattern, re.IGNORECASE)) for wanted, pattern in _ASKS)

_NUMBER_WORDS: Final = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|ninety"
    "|hundred|thousand|million|half|third|quarter|once|twice|zero|none|nothing|no"
    "|ein(?:e[mnrs]?)?|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwölf"
)
_A_NUMBER: Final = rf"(?:\d|\b(?:{_NUMBER_WORDS})\b)"
_OFFERS: Final = {
    Wanted.NUMBER: re.compile(_A_NUMBER, re.IGNORECASE),
    Wanted.DURATION: re.compile(
        rf"{_A_NUMBER}.{{0,40}}?(?:second|minute|hour|day|night|week|month|quarter|year|minute|stunde|tag|woche|monat|jahr)"
        r"|immediately|at once|straight away|without delay|sofort|unverzüglich|permanently|forever|indefinite",
        re.IGNORECASE | re.DOTALL,
    ),
    Wanted.DATE: re.compile(
        r"\b(?:19|20)\d\d\b|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mär|Mai|Okt|Dez)[a-zä]*\b"
        r"|\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|\bday\b|\b(?:before|after|until|once|when|as soon as|within)\b",
    ),
    Wanted.NAME: re.compile(
        r"(?<=[^\s.!?])\s+[A-ZÄÖÜ]|[A-ZÄÖÜ][a-zäöü]+ [A-ZÄÖÜ]"
        r"|\b(?:you|he|she|they|we|nobody|everybody|manager|officer|owner|team)\b"
    ),
    Wanted.RULE: re.compile(
        r"\b(?:may|must|can|cannot|can't|shall|should|not|never|no|nobody|none|only|always|unless|except|need|needs"
        r"|needed|required?|requires|allowed|permitted|forbidden|prohibited|refused|sufficient|enough|treated"
        r"|darf|dürfen|muss|müssen|nicht|kein|keine|nie|nur|erlaubt|verboten)\b",
        re.IGNORECASE,
    ),
}


_ROW: Final = re.compile(r"[^\n]* \| [^\n]*|[^\n;]*: [^\n;]*;[^\n]*")


def pieces(text: str) -> Iterator[Span]:
    """The sentences of a text, in order; of a table, its rows."""
    for span in sentences(text):
        lines = span.of(text).split("\n")
        if len(lines) < 2 or sum(1 for line in lines if _ROW.fullmatch(line)) * 2 <= len(lines):
            yield span
            continue
        start = span.start
        for line in lines:
            if line.strip():
                yield Span(start=start + len(line) - len(line.lstrip()), end=start + len(line.rstrip()))
            start += len(line) + 1


def wanted(question: str) -> Wanted:
    """What kind of answer is asked for; of several, what is more exact."""
    return next((kind for kind, pattern in _QUESTIONS if pattern.search(question)), Wanted.ANYTHING)


def offers(sentence: str, kind: Wanted) -> bool:
    """Whether a sentence holds something of that kind."""
    pattern = _OFFERS.get(kind)
    return pattern is None or pattern.search(sentence) is not None


def rarities(asked: frozenset[Term], contexts: Sequence[frozenset[Term]]) -> Mapping[Term, float]:
    """What each term of the question weighs: the fewer of the passages say it, the more."""
    return {
        term: math.log(1 + (len(contexts) + 1) / (0.5 + sum(1 for context in contexts if term in context)))
        for term in asked
    }


def coverage(weights: Mapping[Term, float], said: frozenset[Term]) -> float:
    """Which part of the question's weight is said; 1 for a question without terms."""
    total = sum(weights.values())
    return sum(weight for term, weight in sorted(weights.items()) if term in said) / total if total else 1.0


def most_promising(candidates: Sequence[Candidate], weights: Mapping[Term, float]) -> list[Candidate]:
    """Those worth embedding, in order: what shares most with the question, then what stands higher."""
    by_words = sorted(range(len(candidates)), key=lambda at: (-round(coverage(weights, candidates[at].terms), 6), at))
    return [candidates[at] for at in sorted(by_words[:MAX_WEIGHED])]


def weighed(
    candidates: Sequence[Candidate], cosines: Sequence[float], weights: Mapping[Term, float], kind: Wanted
) -> list[Weighed]:
    """Each candidate with its score, in order. Cosines are rounded: the same text may come from another batch."""
    return [
        _weighed(candidate, round(cosine, 4), weights, kind)
        for candidate, cosine in zip(candidates, cosines, strict=True)
    ]


def _weighed(candidate: Candidate, cosine: float, weights: Mapping[Term, float], kind: Wanted) -> Weighed:
    covered, in_context = coverage(weights, candidate.terms), coverage(weights, candidate.context)
    held = offers(candidate.shown, kind)
    score = (
        COSINE_WEIGHT * cosine
        + COVERED_WEIGHT * covered
        + CONTEXT_WEIGHT * in_context
        + OFFERS_WEIGHT * (held and kind is not Wanted.ANYTHING)
    )
    return Weighed(
        candidate=candidate,
        cosine=cosine,
        covered=covered,
        in_context=in_context,
        offers=held,
        score=round(score, 4),
    )


def evidence(some: Sequence[Weighed], weights: Mapping[Term, float]) -> Evidence:
    """What the best sentences and all passages together have of the question."""
    best = sorted(some, key=lambda each: -each.score)[:1]
    said = frozenset[Term]().union(*(each.candidate.context for each in some))
    return Evidence(
        cosine=max((each.cosine for each in best), default=0.0),
        covered=max((each.covered for each in best), default=0.0),
        in_context=max((each.in_context for each in best), default=0.0),
        anywhere=coverage(weights, said),
        offers=float(any(each.offers for each in best)),
    )


def chosen(some: Sequence[Weighed], *, most: int, near: float = 0.75) -> list[Weighed]:
    """The few best, by passage in its order and within it as they stand; none that nearly repeats a better one.

    A sentence that scores far less than the best says something else: it must reach `near` of the best score.
    """
    ranked = sorted(range(len(some)), key=lambda at: (-some[at].score, at))
    taken: list[int] = []
    for at in ranked:
        if len(taken) == most or some[at].score < near * some[ranked[0]].score:
            break
        said = frozenset(words(some[at].candidate.shown))
        if all(jaccard(said, frozenset(words(some[other].candidate.shown))) < 0.8 for other in taken):
            taken.append(at)
    return [some[at] for at in sorted(taken)]


def confidence(found: Evidence) -> float:
    """How sure it is that the passages answer the question: 0 to 1."""
    total = _INTERCEPT + sum(weight * getattr(found, name) for name, weight in _COEFFICIENTS)
    return round(1 / (1 + math.exp(-total)), 4)


_INTERCEPT: Final = -5.03
_COEFFICIENTS: Final = (("cosine", 5.46), ("in_context", 2.85), ("anywhere", 1.82))
"""Logistic regression with an L2 penalty of 0.02, both classes of equal weight, on 202 questions: the fixtures' golden
ones that are answered and 50 about what their documents do not say, and 26 about fifteen other workplace policies, each
asked with the document that answers it and without. All-MiniLM-L6-v2; for another model, fit again."""
