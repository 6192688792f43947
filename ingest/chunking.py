"""From a version's elements to chunks: the spans that are embedded, searched and cited. Pure.

The whole text is tokenized once; everything after that is arithmetic on token offsets.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.corpus import Chunk, Element, ElementKind, Parsed, Span, boxes_by_page, embedded_text
from app.ports import Tokenizer

TARGET_TOKENS: Final = 160
MAX_TOKENS: Final = 220
TITLE_TOKENS: Final = 60
"""Kept free in every chunk for the titles that go before its text."""
LEAST_TOKENS: Final = 64
"""A chunk is never made smaller than this for the sake of a long context: the model then cuts it off."""
MODEL_MARKS: Final = 2
"""Tokens that the model puts around every text."""
MAX_CHARS: Final = 4_000
"""For text that the tokenizer makes little of: a word of a hundred letters and more is one token to it."""
TOKENIZED_AT_ONCE_CHARS: Final = 100_000
"""A tokenizer's memory grows with the text it is given; elements are not divided for this."""


def chunks(parsed: Parsed, tokenizer: Tokenizer, *, title: str = "") -> tuple[Chunk, ...]:
    """The chunks of a version, in order: they do not overlap, and leave out nothing but white space.

    About `TARGET_TOKENS` each and at most `MAX_TOKENS`, or what the model reads beside the context of `embedded_text`
    (`title` and section) if that is less. A chunk stays within one section; a title goes with what follows it; an
    element that is too long is parted at the ends of sentences, a table between its rows, and only a piece without any
    of these between words or, last, between tokens.
    """
    starts = _token_starts(parsed, tokenizer)
    room = _Room(tokenizer, title)
    packed = _packed(list(_units(parsed, starts, room)), starts, room)
    return tuple(_chunk(units, parsed.elements, starts) for units in packed)


class _Room:
    """How many tokens a chunk may have, by its section."""

    def __init__(self, tokenizer: Tokenizer, title: str) -> None:
        self._tokenizer = tokenizer
        self._title = title
        self._known: dict[tuple[str, ...], int] = {}

    def at_most(self, section: tuple[str, ...]) -> int:
        if section not in self._known:
            context_tokens = self._tokenizer.count(embedded_text(self._title, section, ""))
            left = self._tokenizer.max_tokens - MODEL_MARKS - context_tokens
            self._known[section] = max(LEAST_TOKENS, min(MAX_TOKENS, left))
        return self._known[section]

    def target(self, section: tuple[str, ...]) -> int:
        return max(LEAST_TOKENS // 2, min(TARGET_TOKENS, self.at_most(section) - TITLE_TOKENS))


# -- tokens --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Starts:
    """Where each token begins, ascending."""

    at: list[int]

    def within(self, start: int, end: int) -> int:
        """How many tokens begin in [start, end)."""
        return bisect_left(self.at, end) - bisect_left(self.at, start)

    def after(self, start: int, tokens: int) -> int | None:
        """Where the token begins that comes `tokens` after the first one from `start` on."""
        wanted = bisect_left(self.at, start) + tokens
        return self.at[wanted] if wanted < len(self.at) else None


def _token_starts(parsed: Parsed, tokenizer: Tokenizer) -> _Starts:
    at: list[int] = []
    for start, end in _batches(parsed.elements):
        at.extend(start + token_start for token_start, _ in tokenizer.offsets(parsed.text[start:end]))
    return _Starts(at)


def _batches(elements: Sequence[Element]) -> Iterator[tuple[int, int]]:
    """Runs of whole elements of about `TOKENIZED_AT_ONCE_CHARS`."""
    first = 0
    for at, element in enumerate(elements):
        last = at + 1 == len(elements)
        if last or element.span.end - elements[first].span.start >= TOKENIZED_AT_ONCE_CHARS:
            yield elements[first].span.start, element.span.end
            first = at + 1


# -- units ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not divided any more: an element, a sentence, a row, or a window of a longer one."""

    start: int
    end: int
    element: int
    """Its place among the elements."""
    is_title: bool
    section: tuple[str, ...]
    ends_at: int
    """Where its element ends."""


def _units(parsed: Parsed, starts: _Starts, room: _Room) -> Iterator[_Unit]:
    for at, element in enumerate(parsed.elements):
        for start, end in _divided(parsed.text, element, starts, room.target(element.section)):
            yield _Unit(start, end, at, element.kind is ElementKind.TITLE, element.section, element.span.end)


def _divided(text: str, element: Element, starts: _Starts, tokens: int) -> Iterator[tuple[int, int]]:
    """An element's span in pieces of at most `tokens`, without the white space around them."""
    start, end = element.span.start, element.span.end
    breaks = _ROW_END if element.kind is ElementKind.TABLE else _SENTENCE_END
    whole = _fits(start, end, starts, tokens)
    for piece_start, piece_end in [(start, end)] if whole else _split(text, start, end, breaks):
        for window in _windows(text, piece_start, piece_end, starts, tokens):
            if trimmed := _trimmed(text, *window):
                yield trimmed


_ROW_END: Final = re.compile(r"\n")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…])[\"'”’»)\]]{0,3}\s|(?<=[。！？])|\n")


def _split(text: str, start: int, end: int, breaks: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """[start, end) parted after each break; nothing is left out."""
    for found in breaks.finditer(text, start, end):
        if found.end() > start:
            yield start, found.end()
            start = found.end()
    if start < end:
        yield start, end


def _windows(text: str, start: int, end: int, starts: _Starts, tokens: int) -> Iterator[tuple[int, int]]:
    """A piece, in windows of at most `tokens` where it is longer: cut between words if there are any."""
    while not _fits(start, end, starts, tokens):
        most = min(end, start + MAX_CHARS)
        by_tokens = starts.after(start, tokens)
        limit = most if by_tokens is None else min(most, by_tokens)
        space = max(text.rfind(" ", start + 1, limit), text.rfind("\n", start + 1, limit))
        cut = space + 1 if space > start + (limit - start) // 2 else max(limit, start + 1)
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _fits(start: int, end: int, starts: _Starts, tokens: int) -> bool:
    return end - start <= MAX_CHARS and starts.within(start, end) <= tokens


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    if not piece.strip():
        return None
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


# -- chunks --------------------------------------------------------------------------------------------------------


def _packed(units: Sequence[_Unit], starts: _Starts, room: _Room) -> Iterator[list[_Unit]]:
    """Units in runs, a chunk each: as many as fit, of one section, each run's titles before its text."""
    run: list[_Unit] = []
    for unit in units:
        if run and not _joins(run, unit, starts, room):
            yield run
            run = []
        run.append(unit)
    if run:
        yield run


def _joins(run: Sequence[_Unit], unit: _Unit, starts: _Starts, room: _Room) -> bool:
    first, last = run[0], run[-1]
    most = min(room.at_most(first.section), room.at_most(unit.section))
    if not _fits(first.start, unit.end, starts, most):
        return False
    if last.is_title:
        return True
    if unit.is_title or unit.section != last.section:
        return False
    if _fits(first.start, unit.end, starts, min(TARGET_TOKENS, most)):
        return True
    # The rest of an element is not left over as a crumb when all of it still fits.
    return unit.element == last.element and _fits(first.start, unit.ends_at, starts, most)


def _chunk(units: Sequence[_Unit], elements: Sequence[Element], starts: _Starts) -> Chunk:
    span = Span(start=units[0].start, end=units[-1].end)
    touched = [elements[at] for at in dict.fromkeys(unit.element for unit in units)]
    body = next((unit for unit in units if not unit.is_title), units[0])
    return Chunk(
        span=span,
        tokens=starts.within(span.start, span.end),
        page=next((element.page for element in touched if element.page is not None), None),
        boxes=boxes_by_page(box for element in touched for box in element.boxes),
        section=body.section,
    )
