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

MIN_CONFIDENCE: Final = 0.28
"""Cross-validated by document, .25 and .3 refuse 91 of 100 unanswerable and 4 of 100 answerable golden questions of the
fixtures (of 32 and 136), 60 to 64 and 6 of 100 of the harder ones in fixtures/golden/refusing.yaml. At 0.5 it is 97 and
13, and 89 and 9. `python -m bench.refusing` prints the whole curve."""

MAX_PASSAGES: Final = 8
MAX_WEIGHED: Final = 16
"""Sentences that are embedded for one question, each twice: those that share most with it, of so many passages at the
most."""

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
    heading: str
    """What it stands under."""
    terms: frozenset[Term]
    near: frozenset[Term]
    """Of the sentence, those beside it, title and headings."""
    context: frozenset[Term]
    """Of its passage as a whole, with title and headings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A word of the question that says something."""

    terms: Mapping[Term, float]
    """Of which a text may have one: how surely it then says the word, 0 to 1."""
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A candidate with how well it answers the question."""

    candidate: Candidate
    cosine: float
    """The mean of the sentence's by itself and of the sentence's under its heading."""
    covered: float
    """Which part of the question's words it says, each by its weight: 0 to 1."""
    near: float
    """Likewise, with the sentences beside it, title and headings."""
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What an answer's confidence is computed from: what the passages have of the question."""

    cosine: float
    """The highest of any sentence."""
    near: float
    """Which part of the question's words the best sentence says, with what is beside and above it."""
    anywhere: float
    """Which part of them all passages together say."""


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
NEAR_WEIGHT: Final = 0.2
COVERED_WEIGHT: Final = 0.15
OFFERS_WEIGHT: Final = 0.1
"""Of some tried, what has most often a golden question's `says` among the first sentences: first in 66 of 100, among
two in 77, among three in 80 (without headings and neighbours 65, 71 and 74)."""

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


_COMMON_WEIGHT: Final = 0.3
_NAME_WEIGHT: Final = 1.5
_COMMON_WORDS: Final = """
    able about after allowed any anybody anything ask asked before between called came can come comes company could day
    days decide decided did do does doing done during each every far find first for from get gets give given go goes
    going good got had happen happens has have here high how if kind know large last let long look made make makes many
    may mean means month months much must name need needs new next now office often old one ones other our paid pay pays
    people person put say says said should since some somebody someone something society soon stand such take taken tell
    there thing things time today until us use used using want wants way we week weeks went whole will work working
    works would year years
"""
"""What questions of any institution are made of, which says little about what this one is about."""
_COMMON: Final = frozenset(_COMMON_WORDS.split())


def weights_of(
    question: str, words: Sequence[tuple[str, Mapping[Term, float]]], contexts: Sequence[frozenset[Term]]
) -> tuple[Asked, ...]:
    """The question's words with what each weighs: the fewer of the passages say it, the more; names and identifiers
    more, common words less."""
    return tuple(
        Asked(terms=terms, weight=_importance(word, question) * _rarity(terms, contexts)) for word, terms in words
    )


def _rarity(terms: Mapping[Term, float], contexts: Sequence[frozenset[Term]]) -> float:
    having = sum(1 for context in contexts if not context.isdisjoint(terms))
    return math.log(1 + (len(contexts) + 1) / (0.5 + having))


def _importance(word: str, question: str) -> float:
    if word.casefold() in _COMMON:
        return _COMMON_WEIGHT
    capital = word[:1].isupper() and (question.find(word) > 0 or (len(word) > 1 and word.isupper()))
    return _NAME_WEIGHT if capital or any(map(str.isdigit, word)) else 1.0


def coverage(asked: Sequence[Asked], said: frozenset[Term]) -> float:
    """Which part of the question's weight is said: 0 to 1; 1 for a question without words."""
    total = math.fsum(each.weight for each in asked)
    covered = (
        each.weight * max((sure for term, sure in each.terms.items() if term in said), default=0) for each in asked
    )
    return math.fsum(covered) / total if total else 1.0


def most_promising(candidates: Sequence[Candidate], asked: Sequence[Asked]) -> list[Candidate]:
    """Those worth embedding, in order: what shares most with the question, then what stands higher."""
    shared = [round(coverage(asked, each.terms) + coverage(asked, each.near), 6) for each in candidates]
    by_words = sorted(range(len(candidates)), key=lambda at: (-shared[at], at))
    return [candidates[at] for at in sorted(by_words[:MAX_WEIGHED])]


def weighed(
    candidates: Sequence[Candidate], cosines: Sequence[float], asked: Sequence[Asked], kind: Wanted
) -> list[Weighed]:
    """Each candidate with its score, in order. Cosines are rounded: the same text may come from another batch."""
    return [
        _weighed(candidate, round(cosine, 4), asked, kind)
        for candidate, cosine in zip(candidates, cosines, strict=True)
    ]


def _weighed(candidate: Candidate, cosine: float, asked: Sequence[Asked], kind: Wanted) -> Weighed:
    covered, near = coverage(asked, candidate.terms), coverage(asked, candidate.near)
    score = (
        COSINE_WEIGHT * cosine
        + NEAR_WEIGHT * near
        + COVERED_WEIGHT * covered
        + OFFERS_WEIGHT * (kind is not Wanted.ANYTHING and offers(candidate.shown, kind))
    )
    return Weighed(candidate=candidate, cosine=cosine, covered=covered, near=near, score=round(score, 4))


def basis(some: Sequence[Weighed], asked: Sequence[Asked], contexts: Sequence[frozenset[Term]]) -> Basis:
    """What the best sentence and all passages together have of the question."""
    best = sorted(some, key=lambda each: -each.score)[:1]
    return Basis(
        cosine=max((each.cosine for each in some), default=0.0),
        near=max((each.near for each in best), default=0.0),
        anywhere=coverage(asked, frozenset[Term]().union(*contexts)),
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


def confidence(found: Basis) -> float:
    """How sure it is that the passages answer the question: 0 to 1."""
    total = _INTERCEPT + sum(weight * getattr(found, name) for name, weight in _COEFFICIENTS)
    return round(1 / (1 + math.exp(-total)), 4)


_INTERCEPT: Final = -6.03
_COEFFICIENTS: Final = (("cosine", 7.91), ("near", 2.25), ("anywhere", 1.88))
"""As `python -m bench.refusing` fits: logistic regression with an L2 penalty of 0.02 on standardized features, both
classes of equal weight, on 270 questions about the fixtures, 87 of them unanswerable. All-MiniLM-L6-v2; for another
model, fit again."""
