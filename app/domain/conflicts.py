"""Passages of different documents that answer a question differently: with another number, date or limit, or with no.

Precision comes before recall. Two sentences are held to be about the same thing only if their words agree but for
additions that narrow nothing; what differs has to be comparable: of one kind and unit, or one predicate with opposite
polarity. What these rules are not sure of is no conflict.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import combinations
from typing import Final

from app.domain import phrasing
from app.domain.citation import Flag, Passage
from app.domain.claims import Claim, Modality, Quantity, QuantityKind, claim, sentences, stem, stems
from app.domain.corpus import Span

MAX_SENTENCES: Final = 4
"""Of each passage: those that share most with the question are held against those of others."""
MAX_CHARS: Final = 400
"""A longer sentence is a list or a table, and is not read."""
MAX_CONFLICTS: Final = 10
"""Of one answer: the first by the ranks of their passages."""


MAX_WORDS: Final = 12
"""Of a longer sentence it is not sure what a negation in it denies."""


class ConflictKind(StrEnum):
    NUMBER = "number"
    DATE = "date"
    LIMIT = "limit"
    POLARITY = "polarity"


class Because(StrEnum):
    """Why one of two passages is to be preferred."""

    SYSTEM_OF_RECORD = "system-of-record"
    NEWER = "newer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two sentences of two passages that contradict each other. Pairs are in the order of the passages' ranks."""

    passages: tuple[int, int]
    """Their ranks."""
    spans: tuple[Span, Span]
    """Of the sentences, each in the canonical text of its version."""
    quotes: tuple[str, str]
    """Byte for byte what is in the spans."""
    kind: ConflictKind
    particulars: tuple[str, str]
    """What differs, as each says it; of `polarity` the modality of each."""
    preferred: int | None
    """The rank of the one that comes before the other, if one does."""
    because: Because | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadedClaim:
    """A claim with what is said around it: the stems of its title and sections."""

    claim: Claim
    text: str
    """Of the sentence, so that particulars can be quoted; spans of the claim are in it."""
    heading: frozenset[str] = frozenset()

    @property
    def context(self) -> frozenset[str]:
        return self.heading.union(self.claim.words)


def headed_claim(sentence: str, heading: frozenset[str] = frozenset()) -> HeadedClaim:
    """One sentence, read."""
    return HeadedClaim(claim=_read(sentence), text=sentence, heading=heading)


def _read(sentence: str) -> Claim:
    """What it claims, without why, and what happens then."""
    why = _WHY.search(sentence)
    return claim(sentence, Span(start=0, end=why.start() if why else len(sentence)))


_WHY: Final = re.compile(r",?\s(?:because|and then|weil|und dann|und danach)\s", re.IGNORECASE)


def conflicts(question: str, passages: Sequence[Passage]) -> tuple[Contradiction, ...]:
    """The pairs of passages of different documents that contradict each other, by rank; one for each pair.

    INVARIANT: a function of the question and of what is shown of the passages. A sentence of which anything is blacked
    out is not read.
    """
    if len({passage.citation.document for passage in passages}) < 2:
        return ()
    asked = frozenset(stems(question))
    told = {passage.rank: tuple(_told(passage, asked)) for passage in passages}
    if not any(told.values()):  # asked in words that none of them uses, in another language perhaps
        asked = frozenset()
        told = {passage.rank: tuple(_told(passage, asked)) for passage in passages}
    found: list[Contradiction] = []
    for one, other in combinations(passages, 2):
        if one.citation.document == other.citation.document or _elsewhere(one, other):
            continue
        if (conflict := _between(one, other, told[one.rank], told[other.rank], asked)) is not None:
            found.append(conflict)
            if len(found) == MAX_CONFLICTS:
                break
    return tuple(found)


def _elsewhere(one: Passage, other: Passage) -> bool:
    """Whether they are bound to different jurisdictions: each holds where it holds."""
    ours, theirs = one.boundary.jurisdictions, other.boundary.jurisdictions
    return bool(ours and theirs) and ours.isdisjoint(theirs)


class _Told:
    """A sentence of a passage as it is shown. It is read when it meets one that it may contradict, and once."""

    def __init__(self, text: str, span: Span, words: frozenset[str], heading: frozenset[str]) -> None:
        self.text, self.span, self.words = text, span, words
        """`span`: in the canonical text."""
        self.counts = bool(_COUNTING.search(text)) or not words.isdisjoint(_COUNTS)
        self.denies = not words.isdisjoint(_DENIES) or "n't" in text or "n’t" in text
        self._heading = heading
        self._headed_claim: HeadedClaim | None = None

    def may_contradict(self, other: "_Told") -> bool:
        """Whether reading both is worth it: cheap, and false of most pairs."""
        if not ((self.counts and other.counts) or self.denies or other.denies) or self.text == other.text:
            return False
        return len(self.words & other.words) >= _MET * min(len(self.words), len(other.words))

    @property
    def headed_claim(self) -> HeadedClaim:
        if self._headed_claim is None:
            self._headed_claim = headed_claim(self.text, self._heading)
        return self._headed_claim


def _told(passage: Passage, asked: frozenset[str]) -> Iterator[_Told]:
    """What of a passage may answer the question, the most of it first."""
    quote, start = passage.citation.quote, passage.citation.span.start
    for each in passage.redactions:
        begin, end = each.span.start - start, each.span.end - start
        quote = f"{quote[:begin]}{_MASK * (end - begin)}{quote[end:]}"
    heading = _heading((passage.citation.title, *passage.citation.section))
    given = len(_met(asked, heading)) / 2
    candidates = []
    for span in sentences(quote):
        text = span.of(quote)
        if len(text) > MAX_CHARS or _UNREAD.search(text):
            continue
        words = frozenset(stems(text))
        answering = len(_met(asked, words)) + given
        if words and (answering or not asked):
            candidates.append((-answering, span, text, words))
    for _, span, text, words in sorted(candidates, key=lambda it: (it[0], it[1].start))[:MAX_SENTENCES]:
        yield _Told(text, Span(start=start + span.start, end=start + span.end), words, heading)


def _met(asked: frozenset[str], words: frozenset[str]) -> frozenset[str]:
    """What is asked about that is among the words, as part of a longer one perhaps: `urlaub` and `urlaubstage`."""
    met = asked & words
    beginnings = {each[:_PART] for each in words}
    missed = [each for each in asked - met if each[:_PART] in beginnings]
    if not missed:
        return met
    parts = [each for each in words if len(each) >= _PART]
    return met.union(each for each in missed if any(each.startswith(part) or part.startswith(each) for part in parts))


_PART: Final = 5

_MASK: Final = "\ufffc"
_UNREAD: Final = re.compile(f"[{_MASK}|\t]")
"""What is not shown, and rows of tables."""


def _heading(lines: Sequence[str]) -> frozenset[str]:
    return frozenset(word for line in lines for word in (*stems(line), *_upper(line)))


def _upper(line: str) -> Iterator[str]:
    return (each.casefold() for each in _CAPITALS.findall(line))


_CAPITALS: Final = re.compile(r"\b[A-Z]{2,}\b")


def _between(
    one: Passage, other: Passage, ours: Sequence[_Told], theirs: Sequence[_Told], asked: frozenset[str]
) -> Contradiction | None:
    for mine in ours:
        for yours in theirs:
            found = difference(mine.headed_claim, yours.headed_claim, asked) if mine.may_contradict(yours) else None
            if found is None:
                continue
            kind, particulars = found
            preferred, because = _preferred(one, other)
            return Contradiction(
                passages=(one.rank, other.rank),
                spans=(mine.span, yours.span),
                quotes=(mine.text, yours.text),
                kind=kind,
                particulars=particulars,
                preferred=preferred.rank if preferred else None,
                because=because,
            )
    return None


_COUNTING: Final = re.compile(
    r"(?i)\d|\b(?:an?|one|ein\w{0,2})\s(?:hour|day|week|month|year|stunde|tag|woche|monat|jahr)"
)
_COUNTS: Final = frozenset(map(stem, phrasing.NUMBERS))
_DENIES: Final = frozenset(map(stem, phrasing.SAYING_NO))
_MET: Final = 0.4
"""The share of its words that the shorter of two sentences has in common with the other, if they are worth reading."""


def _preferred(one: Passage, other: Passage) -> tuple[Passage | None, Because | None]:
    """The system of record comes before others, and then the newer: by when it is valid from, then when it was
    recorded."""
    apart = [Flag.NOT_AUTHORITATIVE in each.flags for each in (one, other)]
    if apart[0] != apart[1]:
        return (other if apart[0] else one), Because.SYSTEM_OF_RECORD
    ours, theirs = ((each.citation.valid_from, each.citation.recorded_at) for each in (one, other))
    if ours == theirs:
        return None, None
    return (one if ours > theirs else other), Because.NEWER


def difference(
    one: HeadedClaim, other: HeadedClaim, asked: frozenset[str]
) -> tuple[ConflictKind, tuple[str, str]] | None:
    """How two statements contradict each other as answers to a question, and what of each does; None if they do not.

    They have to be about the same thing (1), in the same scope (2), and differ in what can be compared (3).
    """
    if not _comparable(one.claim, other.claim) or not _alike(one, other, asked) or _apart(one, other):
        return None
    return _differing(one, other) or _opposed(one, other)


def _comparable(one: Claim, other: Claim) -> bool:
    """Whether there is anything to compare: cheap, and true of few pairs."""
    if other.modality in one.modality.opposites:
        return True
    return bool({each.kind for each in one.quantities} & {each.kind for each in other.quantities})


def _alike(one: HeadedClaim, other: HeadedClaim, asked: frozenset[str]) -> bool:
    """(1) Most words of the shorter are in the other, and both share with the question what either does."""
    ours, theirs = frozenset(one.claim.words), frozenset(other.claim.words)
    shared = ours & theirs
    if not shared or len(shared) < _SHARED * min(len(ours), len(theirs)):
        return False
    if len(shared) < _ALL * len(ours | theirs):
        return False
    if asked:
        both = _met(asked, one.context) & _met(asked, other.context)
        either = _met(asked, ours | theirs) - both
        if not both or len(either) > len(both):
            return False
    return len(shared) > 1 or bool(one.heading & other.heading - shared) or ours == theirs


_SHARED: Final = 0.6
_ALL: Final = 0.34
_PREDICATE: Final = 0.6
"""Of all words of two that say the opposite: little may be added to either."""
_PLAIN_PREDICATE: Final = 0.75
"""Where neither says may or must, and a negation is all that parts them."""


def _apart(one: HeadedClaim, other: HeadedClaim) -> bool:
    """(2) Whether one holds in another place, for other people or under another condition than the other."""
    ours, theirs = frozenset(one.claim.words), frozenset(other.claim.words)
    mine, yours = ours | one.claim.names, theirs | other.claim.names
    if _places(one) != _places(other):
        return True
    narrowing = (mine - yours - other.heading, yours - mine - one.heading)
    if any(not each.isdisjoint(_QUALIFIERS) for each in narrowing):
        return True
    if (one.claim.condition - theirs - other.heading) or (other.claim.condition - ours - one.heading):
        return True
    if {*filter(_numbered, mine)} != {*filter(_numbered, yours)}:
        return True
    return _substituted(one.claim.words, other.claim.words)


def _places(said: HeadedClaim) -> frozenset[str]:
    named = said.heading | said.claim.names | frozenset(said.claim.words)
    return frozenset(phrasing.PLACES[each] for each in named if each in phrasing.PLACES)


_QUALIFIERS: Final = frozenset(stem(word.translate(str.maketrans("", "", "-"))) for word in phrasing.QUALIFIERS)


_OF_DOCUMENTS: Final = frozenset(map(stem, phrasing.OF_DOCUMENTS))


def _numbered(name: str) -> bool:
    """`SOX-404`, `section 5`: what has another number is another thing."""
    return any(char.isdigit() for char in name)


def _substituted(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether a word stands in the place of another: then it is another thing that is spoken of."""
    common = frozenset(ours) & frozenset(theirs)
    for tag, start, end, begin, stop in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        replaced = not common.issuperset(ours[start:end]) and not common.issuperset(theirs[begin:stop])
        if tag == "replace" and replaced:
            return True
    return False


def _differing(one: HeadedClaim, other: HeadedClaim) -> tuple[ConflictKind, tuple[str, str]] | None:
    """(3) The first quantities that can be compared and differ. Where each has several, they are held together in
    order, unless both have the same."""
    dated = _moments(one.claim) != _moments(other.claim)
    for kind in QuantityKind:
        ours = [each for each in one.claim.quantities if each.kind is kind]
        theirs = [each for each in other.claim.quantities if each.kind is kind]
        if not ours or len(ours) != len(theirs):
            continue
        pairs = [*zip(ours, theirs, strict=True)]
        if not all(_same_unit(*pair) for pair in pairs):
            continue
        if kind is QuantityKind.DATE:
            if not frozenset(one.claim.words) & frozenset(other.claim.words) - _OF_DOCUMENTS:
                return None  # each document says of itself since when it holds
            if any(each.unit == "y" for each in (*ours, *theirs)) or _others_differ(one.claim, other.claim):
                return None
        elif dated:
            return None
        if {(each.low, each.high) for each in ours} == {(each.low, each.high) for each in theirs}:
            continue
        for mine, yours in pairs:
            if not _compatible(mine, yours):
                limited = mine.limit or yours.limit
                named = ConflictKind.LIMIT if limited else ConflictKind.NUMBER
                return (
                    ConflictKind.DATE if kind is QuantityKind.DATE else named,
                    (mine.span.of(one.text), yours.span.of(other.text)),
                )
    return None


def _moments(claim: Claim) -> frozenset[tuple[float | None, float | None]]:
    return frozenset((each.low, each.high) for each in claim.quantities if each.kind is QuantityKind.DATE)


def _others_differ(one: Claim, other: Claim) -> bool:
    """Whether anything but dates differs: then the dates say when each of them holds."""

    def others(claim: Claim) -> list[tuple[float | None, float | None]]:
        return [(each.low, each.high) for each in claim.quantities if each.kind is not QuantityKind.DATE]

    return others(one) != others(other)


def _same_unit(one: Quantity, other: Quantity) -> bool:
    if one.per and other.per and one.per != other.per:
        return False
    if one.kind is QuantityKind.DURATION:
        return (one.unit == "working-day") == (other.unit == "working-day")
    if one.kind is QuantityKind.NUMBER and not one.unit and not other.unit:
        return bool(one.of & other.of) if one.of or other.of else True
    return one.unit == other.unit


def _compatible(one: Quantity, other: Quantity) -> bool:
    """Whether both can be true: the same values, nearly so where units differ (a month is about 30 days); or bounds
    on two sides that leave room between them."""
    if (one.low is None and other.high is None) or (one.high is None and other.low is None):
        below, above = (one, other) if one.low is None else (other, one)
        return below.high is not None and above.low is not None and above.low <= below.high
    if one.limit and other.exact:
        return _near(one, other, other.low, one.low if one.low is not None else one.high)
    if other.limit and one.exact:
        return _near(one, other, one.low, other.low if other.low is not None else other.high)
    if (one.low is None) != (other.low is None) or (one.high is None) != (other.high is None):
        return True
    return _near(one, other, one.low, other.low) and _near(one, other, one.high, other.high)


def _near(one: Quantity, other: Quantity, our: float | None, their: float | None) -> bool:
    if our is None or their is None:
        return our is their
    apart = abs(our - their)
    if one.kind is QuantityKind.DURATION and one.unit != other.unit:
        return apart <= _ROUNDED * max(our, their)
    return apart <= 1e-9 * max(abs(our), abs(their), 1.0)


_ROUNDED: Final = 0.1


def _opposed(one: HeadedClaim, other: HeadedClaim) -> tuple[ConflictKind, tuple[str, str]] | None:
    """(3) One predicate with opposite polarity: all that the shorter says is in the other."""
    if other.claim.modality not in one.claim.modality.opposites:
        return None
    ours, theirs = frozenset(one.claim.words), frozenset(other.claim.words)
    shared = ours & theirs
    if len(shared) < 2 or len(shared) < min(len(ours), len(theirs)) or len(shared) < _PREDICATE * len(ours | theirs):
        return None
    plain = Modality.DENIED in (one.claim.modality, other.claim.modality)
    if plain and len(shared) < _PLAIN_PREDICATE * len(ours | theirs):
        return None
    if max(len(one.claim.words), len(other.claim.words)) > MAX_WORDS:
        return None
    if _moments(one.claim) != _moments(other.claim) or _others_differ(one.claim, other.claim):
        return None
    return ConflictKind.POLARITY, (one.claim.modality, other.claim.modality)
