"""What sentences say that can be held against other sentences: their words, quantities, names and modality.

English and German, read without a model, by rules that stand here. What a rule does not know is left out, not guessed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from app.domain import phrasing
from app.domain.corpus import Span


class QuantityKind(StrEnum):
    NUMBER = "number"
    """A count of something: `three attempts`; or a measure: `10 MB`."""
    MONEY = "money"
    PERCENT = "percent"
    DURATION = "duration"
    """In hours, whatever its unit; working days are a unit of their own."""
    TIME = "time"
    """Of a day, in minutes since midnight."""
    DATE = "date"
    """As yyyymmdd; a part that is not named is zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with what it counts, as an interval: `30 days` has two equal ends, `at least 30 days` no upper one."""

    kind: QuantityKind
    low: float | None
    high: float | None
    unit: str = ""
    """`EUR`, `MB`, `month`, `working-day`; of a date, which of its parts are named: `ymd`, `ym`, `md`, `y`."""
    of: frozenset[str] = frozenset()
    """Stems of what is counted, if it is a count: `characters` of `8 characters`."""
    per: str = ""
    """Of a rate: `year` of `25 days a year`."""
    span: Span
    """In the text that was read."""

    @property
    def exact(self) -> bool:
        return self.low is not None and self.low == self.high

    @property
    def limit(self) -> bool:
        """It is open on one side: at most, at least, before, after."""
        return self.low is None or self.high is None


class Modality(StrEnum):
    """How a sentence says what it says."""

    ASSERTED = "asserted"
    DENIED = "denied"
    REQUIRED = "required"
    OPTIONAL = "optional"
    """Not required."""
    PERMITTED = "permitted"
    FORBIDDEN = "forbidden"

    @property
    def opposites(self) -> frozenset["Modality"]:
        """What contradicts it, said of the same thing."""
        return _OPPOSITES[self]


_OPPOSITES: Final = {
    Modality.ASSERTED: frozenset([Modality.DENIED]),
    Modality.DENIED: frozenset([Modality.ASSERTED]),
    Modality.REQUIRED: frozenset([Modality.OPTIONAL, Modality.FORBIDDEN]),
    Modality.OPTIONAL: frozenset([Modality.REQUIRED]),
    Modality.PERMITTED: frozenset([Modality.FORBIDDEN]),
    Modality.FORBIDDEN: frozenset([Modality.PERMITTED, Modality.REQUIRED]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence, with what can be compared of it."""

    span: Span
    """In the text that was read."""
    words: tuple[str, ...]
    """Stems of the words that carry its sense, in order; without quantities, modals and negations."""
    quantities: tuple[Quantity, ...]
    modality: Modality
    names: frozenset[str]
    """What is written like a name and is no quantity: `EU`, `SOX-404`, `section 5`; in lower case."""
    condition: frozenset[str] = frozenset()
    """Stems of what it is said under: after `if`, `unless`, `for`, `außer`, ..."""


def sentences(text: str) -> tuple[Span, ...]:
    """Where the sentences of a text are, in order: without the white space between them, and none is empty.

    A blank line ends one, and so does a line break before an item of a list or after a colon.
    """
    found: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        if match["stop"] and _abbreviates(text, start, match.start()):
            continue
        if match["line"] and match.start() - text.rfind("\n", 0, match.start()) > _SHORT_LINE:
            continue  # wrapped
        end = match.end("stop") if match["stop"] else match.start()
        _add(found, text, start, end)
        start = match.end()
    _add(found, text, start, len(text))
    return tuple(found)


_END: Final = re.compile(
    r"(?P<stop>[.!?…][\"'”’»)\]]*)\s+(?=[\"'“‘«„(\[]*[^\W_a-zäöüß])"
    r"|(?=\n|\s\s)(?:"  # as all that follow begin: few places are looked at four times
    r"(?<![^\S\n])[^\S\n]*\n\s*\n\s*"
    r"|(?<=:)[^\S\n]*\n\s*"
    r"|(?<![^\S\n])[^\S\n]*\n[^\S\n]*(?=[-*•–·|]|\(?\w{1,3}[.)]\s)"
    r"|(?<![,;])(?P<line>\n)(?=[A-ZÄÖÜ]))"
)
_SHORT_LINE: Final = 40
"""A line of no more characters, with a capital letter after it, is a heading."""
_LAST_WORD: Final = re.compile(r"(?:[^\W\d_]\.\s?)*[^\W_]+$")


def _abbreviates(text: str, start: int, dot: int) -> bool:
    """Whether the full stop at `dot` belongs to the word before it, and ends no sentence."""
    if text[dot] != ".":
        return False
    found = _LAST_WORD.search(text, max(start, dot - 12), dot)
    if found is None:
        return False
    word = found[0].casefold()
    ordinal = word.isdecimal() and len(word) <= 2 and bool(phrasing.MONTH_AHEAD.match(text, dot + 1))
    initial = len(word) == 1 and word.isalpha()
    return ordinal or initial or word in phrasing.ABBREVIATIONS


def _add(found: list[Span], text: str, start: int, end: int) -> None:
    if said := text[start:end].strip():
        start = text.index(said, start)
        found.append(Span(start=start, end=start + len(said)))


def claims(text: str) -> tuple[Claim, ...]:
    """The sentences of a text, each read."""
    return tuple(claim(text, span) for span in sentences(text))


def claim(text: str, span: Span) -> Claim:
    """The sentence at `span`, read. Spans in it are those of `text`."""
    tokens = _tokens(text, span)
    reading = _Reading(tokens)
    quantities = tuple(reading.quantities())
    return Claim(
        span=span,
        words=tuple(reading.words()),
        quantities=quantities,
        modality=reading.modality(),
        names=frozenset(reading.names()),
        condition=frozenset(reading.condition()),
    )


def stems(text: str) -> tuple[str, ...]:
    """Stems of the words of a text that carry sense, in order: what claims are found by."""
    return tuple(filter(None, map(_sense, _WORD.findall(text))))


@lru_cache(maxsize=20_000)
def _sense(word: str) -> str:
    """The stem of a word as it is written; empty if it carries no sense."""
    low = word.casefold()
    return "" if low in phrasing.STOP_WORDS else stem(low)


_WORD: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*|\w+(?:[-./]\w+)*")


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A word in lower case without its ending, so that forms of one word meet; cut after so many letters.

    Coarser than the stemmers of the index, and the same for both languages: it decides what may be compared, nothing
    else.
    """
    plain = word.translate(_PLAIN)
    plain = phrasing.SAME.get(plain, plain)
    for ending in phrasing.ENDINGS:
        if plain.endswith(ending) and len(plain) - len(ending) >= _SHORTEST_STEM:
            plain = plain[: -len(ending)]
            break
    plain = plain[:_LONGEST_STEM]
    return phrasing.SAME.get(plain, plain)


_PLAIN: Final = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss", "’": "'"})
_SHORTEST_STEM: Final = 4
_LONGEST_STEM: Final = 9


@dataclass(slots=True)  # not frozen: there are many, and a frozen one takes three times as long to make
class _Token:
    kind: str
    """`word`, `number`, `date`, `time`, `name`, `sign`."""
    text: str
    low: str
    """In lower case."""
    start: int
    end: int
    after: str
    """The character after it."""

    @property
    def numbers_line(self) -> bool:
        """It is written as the number of a line or a heading: `2.`, `3)`, `4.1`."""
        return self.after in (".", ")") or "." in self.text


_TOKEN: Final = re.compile(
    r"(?P<link>https?://\S+|\]\([^)\s]*\))"
    r"|(?P<date>\d{4}-\d{2}-\d{2}(?!\d)|\d{1,2}\.\s?\d{1,2}\.\s?\d{4}(?!\d)|\d{1,2}/\d{1,2}/\d{4}(?!\d))"
    r"|(?P<time>\d{1,2}[:.]\d{2}(?=\s?(?:[ap]\.?m\b|uhr\b)|(?<=:\d\d)(?![\d:])))"
    r"|(?P<number>\d{1,3}(?:[.,'’\u00a0\u202f\u2009 ]\d{3})+(?:[.,]\d{1,2})?(?![.,]?\d))"
    r"|(?P<name>\d+(?:\.\d+){2,}|\d+/\d+(?:/\d+)*|(?!(?:EUR|USD|GBP|CHF)\d)[^\W\d_]+-?\d+(?:[-./]?\w+)*)"
    r"|(?P<decimal>\d+(?:[.,]\d+)?)"
    r"|(?P<word>(?:EUR|USD|GBP|CHF)(?=\d)|[^\W\d_]+(?:['’-][^\W\d_]+)*)"
    r"|(?P<sign>[%€$£¥§#,;:()–/-])",
    re.IGNORECASE,
)


def _tokens(text: str, span: Span) -> list[_Token]:
    return [
        _Token(
            "number" if (kind := match.lastgroup or "") == "decimal" else kind,
            match[0],
            match[0].casefold(),
            match.start(),
            match.end(),
            text[match.end() : match.end() + 1],
        )
        for match in _TOKEN.finditer(text, span.start, span.end)
    ]


_BEHIND: Final = 6


class _Reading:
    """The tokens of one sentence. Those that quantities are made of are no words of it."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._used: set[int] = set()
        self._references: list[str] = []
        self._opening = next((at for at, token in enumerate(tokens) if token.kind not in ("sign", "link")), 0)

    def quantities(self) -> Iterator[Quantity]:
        at = 0
        while at < len(self._tokens):
            found = self._quantity(at)
            if found is None:
                at += 1
                continue
            quantity, first, after = found
            self._used.update(range(first, after))
            if quantity is not None:
                yield quantity
            at = after

    def words(self) -> Iterator[str]:
        for at, token in enumerate(self._tokens):
            if at in self._used or token.kind not in ("word", "name") or token.low in phrasing.SENSELESS:
                continue
            if self._predicative(at):
                yield stem(phrasing.DENYING[token.low])
                continue
            for part in token.low.split("-") if token.kind == "word" else [token.low]:
                if part not in phrasing.SENSELESS:
                    yield stem(part)

    def _predicative(self, at: int) -> bool:
        """Whether a word is said of something and may deny it: `is excluded`, and not `excluded items`."""
        before = self._tokens[max(0, at - 3) : at]
        return self._tokens[at].low in phrasing.DENYING and any(each.low in phrasing.BEING for each in before)

    def names(self) -> Iterator[str]:
        yield from self._references
        for at, token in enumerate(self._tokens):
            if at in self._used:
                continue
            acronym = len(token.text) > 1 and token.text.isupper()
            capital = at > 0 and token.text[0].isupper() and token.low not in phrasing.SENSELESS
            if token.kind == "name" or (token.kind == "word" and (acronym or capital)):
                yield token.low

    def condition(self) -> Iterator[str]:
        """What stands after a word that begins a condition, up to a comma after it."""
        within = False
        for at, token in enumerate(self._tokens):
            if token.low in phrasing.CONDITIONS:
                within = True
            elif token.text in ",;:":
                within = False
            elif within and at not in self._used and token.kind in ("word", "name"):
                yield from (stem(part) for part in token.low.split("-") if part not in phrasing.SENSELESS)

    def modality(self) -> Modality:
        """As its main part says it: what stands under a condition says nothing of it."""
        main = self._main()
        lows = [self._tokens[at].low for at in main]
        denied = self._negated(lows)
        for at, low in enumerate(lows):
            base = phrasing.MODALS.get(low)
            if low in ("have", "has", "had", "need") and lows[at + 1 : at + 2] == ["to"]:
                base = "required"
            if base is not None:
                forbids = low in phrasing.FORBID_WHEN_NEGATED
                return _modality(Modality(base), denied=denied, forbids=forbids)
        said_so = any(self._predicative(at) and self._tokens[at].low not in phrasing.ASSERTING for at in main)
        return Modality.DENIED if denied != said_so else Modality.ASSERTED

    def _main(self) -> list[int]:
        """The places of the main part: up to a condition, or after the comma that ends one at the start; without what
        stands in brackets."""
        places = range(len(self._tokens))
        if self._tokens and self._tokens[0].low in phrasing.SUBORDINATING:
            comma = next((at for at in places if self._tokens[at].text == ","), None)
            places = range(comma + 1, len(self._tokens)) if comma is not None else places
        end = next((at for at in places[1:] if self._tokens[at].low in phrasing.SUBORDINATING), places.stop)
        depth, main = 0, []
        for at in range(places.start, end):
            depth += {"(": 1, ")": -1}.get(self._tokens[at].text, 0)
            if depth <= 0 and at not in self._used:
                main.append(at)
        return main

    @staticmethod
    def _negated(lows: Sequence[str]) -> bool:
        """Whether an odd number of negations is said; those of `no more than` and `not only` are none."""
        said = (
            (low in phrasing.NEGATIONS or low.endswith(("n't", "n’t")) or low == "cannot")
            and not (low in ("nor", "noch") and at > 0)
            and not (low in phrasing.NEGATIONS and {*lows[at + 1 : at + 3]} & phrasing.NOT_NEGATED)
            for at, low in enumerate(lows)
        )
        return sum(said) % 2 == 1

    def _quantity(self, at: int) -> tuple[Quantity | None, int, int] | None:
        """What begins at a token: a quantity (or none, for a reference), and the tokens it takes, first and after."""
        token = self._tokens[at]
        if token.kind == "number" and at == self._opening and token.numbers_line:
            self._used.add(at)
            return None
        if token.kind == "sign" and token.text == "§" and self._is_number(at + 1):
            self._references.append(f"§ {self._tokens[at + 1].low}")
            return None, at, at + 2
        if token.low in phrasing.REFERENCES:
            skip = 2 if self._low(at + 1) in ("no", "nr", "#") else 1
            if self._is_number(at + skip) and self._tokens[at + skip].kind == "number":
                self._references.append(f"{token.low} {self._tokens[at + skip].low}")
                return None, at, at + skip + 1
        if token.kind in ("date", "time"):
            return self._moment(at)
        if (month := phrasing.MONTHS.get(token.low)) and token.text[0].isupper():
            return self._dated(at, month)
        if token.kind == "word" and (code := phrasing.CURRENCIES.get(token.low)) and self._is_number(at + 1):
            return self._money(at, at + 1, code)
        if token.kind == "sign" and (code := phrasing.CURRENCIES.get(token.text)) and self._is_number(at + 1):
            return self._money(at, at + 1, code)
        rated = token.low in phrasing.ARTICLES and at - 1 in self._used  # `EUR 10 a month`
        return self._counted(at) if self._is_number(at) and not rated else None

    def _low(self, at: int) -> str:
        return self._tokens[at].low if 0 <= at < len(self._tokens) else ""

    def _is_number(self, at: int) -> bool:
        if not 0 <= at < len(self._tokens):
            return False
        token = self._tokens[at]
        if token.kind == "number" or token.low in phrasing.NUMBERS:
            return True
        return token.low in phrasing.ARTICLES and self._low(at + 1).rstrip("s'’") in phrasing.HOURS

    def _value(self, at: int) -> tuple[float, int]:
        """The value that begins at a token, and the token after it: `2.5 million` is one."""
        token = self._tokens[at]
        value = _value_of(token.text) if token.kind == "number" else float(phrasing.NUMBERS.get(token.low, 1))
        after = at + 1
        while (times := phrasing.MULTIPLIERS.get(self._low(after))) is not None:
            value = min(value * times, _LARGEST)
            after += 1
        return value, after

    def _range(self, at: int) -> tuple[float, float, int]:
        """The value at a token, or both ends of a range that begins there: `10 to 15`, `between 10 and 15`."""
        low, after = self._value(at)
        between = self._low(at - 1) in ("between", "zwischen")
        joint = self._low(after)
        if (joint in ("to", "bis", "-", "–") or (between and joint in ("and", "und"))) and self._is_number(after + 1):
            high, beyond = self._value(after + 1)
            if high > low:
                return low, high, beyond
        return low, low, after

    def _money(self, at: int, number: int, code: str) -> tuple[Quantity, int, int]:
        low, high, after = self._range(number)
        return self._bounded(QuantityKind.MONEY, low, high, first=at, after=after, unit=code)

    def _counted(self, at: int) -> tuple[Quantity | None, int, int] | None:
        """What a number counts, by what follows it."""
        low, high, after = self._range(at)
        if self._low(after) == "-":
            after += 1
        ordinal = self._low(after) in ("st", "nd", "rd", "th") and self._tokens[after].start == self._tokens[at].end
        place = after + 1 if ordinal else after
        place += self._low(place) in ("of", "day")
        if (month := phrasing.MONTHS.get(self._low(place))) and self._tokens[place].text[0].isupper():
            year, after = self._year(place + 1)
            return self._date(year, month, int(min(low, _LARGEST)), first=at, after=after)
        if ordinal:
            return None
        following = self._low(after)
        if following in phrasing.PERCENTS or (following == "per" and self._low(after + 1) == "cent"):
            after += 2 if following == "per" else 1
            return self._bounded(QuantityKind.PERCENT, low, high, first=at, after=after, unit="%")
        if code := phrasing.CURRENCIES.get(following):
            return self._bounded(QuantityKind.MONEY, low, high, first=at, after=after + 1, unit=code)
        if following in ("am", "pm", "a", "p", "uhr", "o'clock") and (clock := self._clock(low, 0, after)):
            return self._bounded(QuantityKind.TIME, clock[0], clock[0], first=at, after=clock[1])
        if found := self._duration(low, high, at, after):
            return found
        if following in phrasing.MEASURES:
            unit = phrasing.MEASURES[following]
            return self._bounded(QuantityKind.NUMBER, low, high, first=at, after=after + 1, unit=unit)
        dated = (
            not at or not following or following in phrasing.STOP_WORDS or self._low(at - 1) in phrasing.BEFORE_YEARS
        )
        if dated and low == high and self._year(at)[0]:
            return self._date(int(low), 0, 0, first=at, after=after)
        of = []
        for word in self._tokens[after : after + 3]:
            if word.kind != "word" or word.low in phrasing.SENSELESS:
                break
            of.append(stem(word.low))
        before = self._low(at - 1)
        if not of and before not in phrasing.COUNTED_AFTER:
            self._references.append(f"{before} {self._tokens[at].low}")
            return None
        return self._bounded(QuantityKind.NUMBER, low, high, first=at, after=after, of=frozenset(of))

    def _duration(self, low: float, high: float, first: int, after: int) -> tuple[Quantity, int, int] | None:
        place = after
        working = False
        while self._low(place) in phrasing.DAY_ADJECTIVES:
            working |= self._low(place) in ("working", "business")
            place += 1
        unit = self._low(place).rstrip("'’")
        unit = unit.removesuffix("'s").removesuffix("’s")
        hours = phrasing.HOURS.get(unit)
        if hours is None and unit not in phrasing.WORKING_DAYS:
            return None
        if working or hours is None:
            return self._bounded(QuantityKind.DURATION, low, high, first=first, after=place + 1, unit="working-day")
        name, each = hours
        times = (low * each, high * each)
        return self._bounded(QuantityKind.DURATION, *times, first=first, after=place + 1, unit=name)

    def _clock(self, hour: float, minute: int, after: int) -> tuple[float, int] | None:
        """Minutes since midnight, and the token after: `5 pm`, `5 p.m.`, `17 Uhr`."""
        word, step = self._low(after), 1
        if word in ("a", "p"):
            if self._low(after + 1) != "m":
                return None
            word, step = f"{word}m", 2
        if hour > 24:
            return None
        if word in ("am", "pm"):
            if hour > 12 or (word == "am" and self._tokens[after].start - self._tokens[after - 1].end > 1):
                return None
            hour = hour % 12 + (12 if word == "pm" else 0)
        elif word not in ("uhr", "o'clock"):
            step = 0
        return hour * 60 + minute, after + step

    def _moment(self, at: int) -> tuple[Quantity | None, int, int]:
        token = self._tokens[at]
        if token.kind == "time":
            hour, minute = map(int, re.split(r"[:.]", token.text))
            clock = self._clock(hour, minute, at + 1)
            if clock is None or minute > 59:
                return None, at, at + 1
            return self._bounded(QuantityKind.TIME, clock[0], clock[0], first=at, after=clock[1])
        first, second, third = (int(part) for part in re.findall(r"\d+", token.text))
        if "-" in token.text:
            return self._date(first, second, third, first=at, after=at + 1)
        if "/" in token.text and (first <= 12) == (second <= 12) and first != second:
            return None, at, at + 1  # nobody knows which of the two is the month
        day, month = (second, first) if "/" in token.text and second > 12 else (first, second)
        return self._date(third, month, day, first=at, after=at + 1)

    def _dated(self, at: int, month: int) -> tuple[Quantity | None, int, int] | None:
        """`June 15, 2024`, `June 2024`, `June 15th`; a month alone is no date."""
        following = self._tokens[at + 1] if at + 1 < len(self._tokens) else None
        if following is None or following.kind != "number" or not following.text.isdecimal():
            return None
        number = int(_value_of(following.text))
        if number > 31:
            return self._date(number, month, 0, first=at, after=at + 2) if 1900 <= number <= 2100 else None
        after = at + 2
        after += self._low(after) in ("st", "nd", "rd", "th")
        year, after = self._year(after + (self._low(after) == ",")) if self._year_at(after) else (0, after)
        return self._date(year, month, number, first=at, after=after)

    def _year_at(self, at: int) -> bool:
        return self._year(at + (self._low(at) == ","))[0] > 0

    def _year(self, at: int) -> tuple[int, int]:
        """The year that stands at a token and the token after it; 0 if none does."""
        word = self._low(at)
        if len(word) == 4 and word.isdecimal() and word.isascii() and 1900 <= int(word) <= 2100:
            return int(word), at + 1
        return 0, at

    def _date(self, year: int, month: int, day: int, *, first: int, after: int) -> tuple[Quantity | None, int, int]:
        if month > 12 or day > 31:
            return None, first, after
        value = float(year * 10_000 + month * 100 + day)
        named = "".join(part for part, there in zip("ymd", (year, month, day), strict=True) if there)
        return self._bounded(QuantityKind.DATE, value, value, first=first, after=after, unit=named)

    def _bounded(
        self,
        kind: QuantityKind,
        low: float,
        high: float,
        *,
        first: int,
        after: int,
        unit: str = "",
        of: frozenset[str] = frozenset(),
    ) -> tuple[Quantity, int, int]:
        """The quantity with the bounds that are said before and after it, and what it is a rate of."""
        span = Span(start=self._tokens[first].start, end=self._tokens[after - 1].end)
        before = tuple(token.low for token in self._tokens[max(0, first - 4) : first])
        behind = tuple(token.low for token in self._tokens[after : after + _BEHIND])
        bound, taken = phrasing.bound(before, behind)
        quantity = Quantity(
            kind=kind,
            low=None if bound == "at-most" else low,
            high=None if bound == "at-least" else high,
            unit=unit,
            of=of,
            per=phrasing.rate(behind),
            span=span,
        )
        return quantity, first - taken, after


def _modality(said: Modality, *, denied: bool, forbids: bool) -> Modality:
    """What a modal says, or its negation: `must not` forbids, `not required` waives."""
    if not denied:
        return said
    if said is Modality.REQUIRED:
        return Modality.FORBIDDEN if forbids else Modality.OPTIONAL
    if said is Modality.PERMITTED:
        return Modality.FORBIDDEN
    return Modality.PERMITTED if said is Modality.FORBIDDEN else Modality.REQUIRED


def _value_of(text: str) -> float:
    """`5,000`, `5.000`, `5.000,50`, `2.5`, `2,5`: three digits after a sign are thousands, unless nothing precedes.

    Nothing is more than `_LARGEST`: what is compared is finite, whatever a document says.
    """
    return min(_number(text), _LARGEST)


_LARGEST: Final = 1e18


def _number(text: str) -> float:
    digits = re.sub(r"['’\u00a0\u202f\u2009 ]", "", text)
    signs = [char for char in digits if char in ".,"]
    if not signs:
        return float(digits)
    last = digits.rindex(signs[-1])
    tail = len(digits) - last - 1
    grouped = tail == 3 and not digits.startswith("0") and len(set(signs)) == 1
    if grouped:
        return float(digits.replace(".", "").replace(",", ""))
    whole = digits[:last].replace(".", "").replace(",", "")
    return float(f"{whole}.{digits[last + 1 :]}")
