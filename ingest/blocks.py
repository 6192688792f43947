"""Between a reader of one format and `Parsed`: blocks in reading order, and the canonical text made of them. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from app.domain.corpus import Attachment, Box, Element, ElementKind, Finding, FindingCode, Parsed, Span
from app.domain.errors import TooLarge

SEPARATOR: Final = "\n\n"
MAX_HEADING_CHARS: Final = 200
"""Of a heading's text as it stands in a section path; the element has all of it."""

MAX_ELEMENTS: Final = 100_000
"""A manual of 900 pages has 5,000."""

MAX_ROWS_PER_ELEMENT: Final = 20
MAX_TABLE_ELEMENT_CHARS: Final = 600
"""About one chunk: a table longer than this becomes several elements, each with the header line."""

MAX_NAMED_HEADER_CHARS: Final = 160
"""Up to this, a row of a sheet repeats its column names; beyond, it would say little else."""

Row = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One piece of a document, as a reader of its format found it."""

    kind: ElementKind
    text: str
    level: int = 1
    """Of a title: it stands under those of a lower level before it. Without meaning for other kinds."""
    page: int | None = None
    boxes: tuple[Box, ...] = ()
    apart: bool = False
    """Stands under none of the headings around it: a running head, a footnote, what is on a slide without a title."""


def paragraph(text: str, *, page: int | None = None) -> Block:
    return Block(kind=ElementKind.PARAGRAPH, text=text, page=page)


def title(text: str, *, level: int, page: int | None = None) -> Block:
    return Block(kind=ElementKind.TITLE, text=text, level=level, page=page)


def partial(detail: str) -> Finding:
    """That something the original shows was not read."""
    return Finding(code=FindingCode.PARTIAL, detail=detail)


def hidden(detail: str) -> Finding:
    """That text which no reader of the original sees was left out."""
    return Finding(code=FindingCode.HIDDEN_TEXT, detail=detail)


def assembled(
    blocks: Iterable[Block],
    *,
    parser: str,
    title: str | None = None,
    findings: Iterable[Finding] = (),
    attachments: Iterable[Attachment] = (),
) -> Parsed:
    """Canonical text with an element a block: texts cleaned, joined by an empty line, spans exact.

    Characters that make text read otherwise than it looks are taken out and told. Blocks without text are dropped. A
    title's section is the headings above it, itself not among them. Without a stated title, the document's is its
    first heading. Raises `TooLarge` for more than `MAX_ELEMENTS`.
    """
    pieces: list[str] = []
    elements: list[Element] = []
    headings: list[tuple[int, str]] = []
    length = 0
    taken_out: Counter[str] = Counter()
    for block in blocks:
        text = cleaned(as_shown(block.text, taken_out))
        if not text:
            continue
        is_title = block.kind is ElementKind.TITLE
        if is_title:
            while headings and headings[-1][0] >= block.level:
                headings.pop()
        if len(elements) == MAX_ELEMENTS:
            raise TooLarge(
                f"The document falls into more than {MAX_ELEMENTS:,} pieces, the most that is read: split it."
            )
        start = length + len(SEPARATOR) if pieces else 0
        length = start + len(text)
        pieces.append(text)
        elements.append(
            Element(
                kind=block.kind,
                span=Span(start=start, end=length),
                page=block.page,
                boxes=block.boxes,
                section=() if block.apart else tuple(heading for _, heading in headings),
            )
        )
        if is_title:
            headings.append((block.level, " ".join(text.split())[:MAX_HEADING_CHARS]))
    whole = SEPARATOR.join(pieces)
    stated = " ".join(cleaned(as_shown(title or "", taken_out)).split())[:MAX_HEADING_CHARS]
    first = next((e.span.of(whole) for e in elements if e.kind is ElementKind.TITLE), "")
    return Parsed(
        text=whole,
        elements=tuple(elements),
        parser=parser,
        title=stated or " ".join(first.split())[:MAX_HEADING_CHARS] or None,
        findings=tuple(dict.fromkeys([*findings, *_characters(taken_out)])),
        attachments=tuple(attachments),
    )


def _characters(taken_out: Counter[str]) -> Iterator[Finding]:
    if taken_out:
        counted = " and ".join(f"{number} {kind}" for kind, number in sorted(taken_out.items()))
        detail = f"Characters that make text read otherwise than it looks were taken out: {counted}."
        yield Finding(code=FindingCode.CONTROL_CHARACTERS, detail=detail)


_INVISIBLE: Final = re.compile(
    "[\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\uffa0\U0001bca0-\U0001bca3"
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
_BIDIRECTIONAL: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINING_SCRIPTS: Final = re.compile(
    "[\u0600-\u06ff\u0700-\u08ff\u0900-\u0dff\u0e80-\u109f\u1780-\u18af\u1a20-\u1b7f\ua840-\ua8ff\ua980-\uaaff"
    "\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefe\U00010a00-\U00011fff]"
)
"""Arabic, Syriac, Indic and others, in which joiners choose between letters' forms, and so between words."""
_EMOJI: Final = re.compile("[\u00a9\u00ae\u203c-\u3299\ufe0f\U0001f000-\U0001faff]")
_HANGUL_FILLERS: Final = re.compile("[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]")


def as_shown(text: str, taken_out: Counter[str] | None = None) -> str:
    """Text without the characters that are not seen and change what is read, each counted by its kind.

    Joiners stay where a script or an emoji needs them, the tags of a flag too, and soft hyphens.
    """

    def instead(found: re.Match[str]) -> str:
        character = found.group()
        if _belongs(text, found.start(), character):
            return character
        kind = "bidirectional marks" if character in _BIDIRECTIONAL else "zero-width characters"
        if taken_out is not None:
            taken_out[kind] += 1
        return ""

    return _INVISIBLE.sub(instead, text)


def _belongs(text: str, at: int, character: str) -> bool:
    """Whether an invisible character is part of how its neighbours are written."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    match character:
        case "\u200c" | "\u200d" if _JOINING_SCRIPTS.match(before):
            return True
        case "\u200d":
            return bool(_EMOJI.match(before) and _EMOJI.match(after))
        case "\u180e":
            return "\u1800" <= before <= "\u18af"
        case "\u115f" | "\u1160":
            return bool(_HANGUL_FILLERS.match(before) or _HANGUL_FILLERS.match(after))
    if "\U000e0020" <= character <= "\U000e007f":
        flag = text[max(0, at - 8) : at].rpartition("\U0001f3f4")
        return bool(flag[1]) and all("\U000e0020" <= tag <= "\U000e007a" for tag in flag[2])
    if "\U000e0100" <= character <= "\U000e01ef":
        return bool(_IDEOGRAPH.match(before))
    return False


_LINE_ENDS: Final = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_TRAILING: Final = re.compile(r"(?<![^\S\n])[^\S\n]++(?=\n|\Z)")
"""Begun only where blanks begin, and possessive: a run of them is passed over in one step, and not once from each."""
_EMPTY_LINES: Final = re.compile(r"\n{3,}")


def cleaned(text: str) -> str:
    """Text that any database, encoder and index takes: one kind of line end, no control character, no lone surrogate.

    Lines keep their indentation and lose trailing spaces; the whole loses its outer empty lines.
    """
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROLS.sub("", text)
    text = _SURROGATES.sub("\ufffd", text)
    text = _TRAILING.sub("", text)
    return _EMPTY_LINES.sub("\n\n", text).strip()


# -- tables --------------------------------------------------------------------------------------------------------


def table_blocks(
    rows: Sequence[Row], *, header: bool, page: int | None = None, boxes: tuple[Box, ...] = ()
) -> Iterator[Block]:
    """A table, a line a row, cells parted by ` | `; a long one in several blocks, each under its header line."""
    lines = [line for line in (pipe_line(row) for row in rows) if line.strip("| ")]
    head, body = (lines[0], lines[1:]) if header and len(lines) > 1 else (None, lines)
    for part in _parts(body, head):
        yield Block(kind=ElementKind.TABLE, text=part, page=page, boxes=boxes)


def sheet_blocks(rows: Sequence[Row], *, page: int | None = None) -> Iterator[Block]:
    """Rows of a sheet or CSV file: tables and notes, parted where a row is empty.

    In a table of three columns or more with a header, each row names its columns (`Country: DE; Amount: 120`), so
    that a row found by itself says what it is; the header line opens the table. Two columns may as well be names and
    values, and very long column names would leave little else: rows are then as in `table_blocks`.
    """
    for region in _regions(rows):
        notes, table = _notes_and_table(region)
        if notes:
            yield paragraph("\n".join(notes), page=page)
        if not table:
            continue
        head = list(table[0])
        if len(head) < 3 or not looks_like_header(table) or sum(map(len, head)) > MAX_NAMED_HEADER_CHARS:
            yield from table_blocks(table, header=looks_like_header(table), page=page)
            continue
        lines = [pipe_line(head), *(line for line in (_named_line(head, row) for row in table[1:]) if line)]
        for part in _parts(lines, None):
            yield Block(kind=ElementKind.TABLE, text=part, page=page)


def looks_like_header(rows: Sequence[Row]) -> bool:
    """Whether the first of several rows names columns: words only, all different, and no gaps between them."""
    if len(rows) < 2:
        return False
    cells = [cell.strip() for cell in rows[0]]
    while cells and not cells[-1]:
        cells.pop()
    words = all(cell and len(cell) <= 120 and not _IS_NUMBER.fullmatch(cell) for cell in cells)
    return len(cells) >= 2 and words and len(set(cells)) == len(cells)


_IS_NUMBER: Final = re.compile(r"[-+(]?[\d.,' \xa0€$£%]*\d[\d.,' \xa0€$£%)]*(?:EUR|USD|GBP|CHF)?|\d{4}-\d\d-\d\d.*")


def pipe_line(row: Row) -> str:
    """One row on one line; trailing empty cells are left out, others keep their place."""
    cells = [" ".join(cell.split()) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return " | ".join(cells)


def _named_line(head: Row, row: Row) -> str:
    pairs: list[str] = []
    for at, cell in enumerate(row):
        value = " ".join(cell.split())
        name = " ".join(head[at].split()) if at < len(head) else ""
        if value:
            pairs.append(f"{name}: {value}" if name else value)
    return "; ".join(pairs)


def _parts(lines: Sequence[str], head: str | None) -> Iterator[str]:
    """Lines joined up to the caps of one element, each part opened by the header line if there is one."""
    opening = [head] if head is not None else []
    part: list[str] = []
    chars = 0
    for line in lines:
        if part and (len(part) >= MAX_ROWS_PER_ELEMENT or chars + len(line) > MAX_TABLE_ELEMENT_CHARS):
            yield "\n".join(opening + part)
            part, chars = [], 0
        part.append(line)
        chars += len(line) + 1
    if part:
        yield "\n".join(opening + part)


def _regions(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Runs of rows that hold something."""
    region: list[Row] = []
    for row in rows:
        if any(cell.strip() for cell in row):
            region.append(row)
        elif region:
            yield region
            region = []
    if region:
        yield region


def _notes_and_table(region: list[Row]) -> tuple[list[str], list[Row]]:
    """The leading rows that hold one cell only, as lines, and the rest without the columns empty in all of it."""
    filled = [sum(1 for cell in row if cell.strip()) for row in region]
    if len(region) > 1 and max(filled) == 1 and len({_first_filled(row) for row in region}) == 1:
        return [], _without_empty_columns(region)
    at = next((at for at, count in enumerate(filled) if count > 1), len(region))
    notes = [" ".join(" ".join(row).split()) for row in region[:at]]
    return notes, _without_empty_columns(region[at:])


def _first_filled(row: Row) -> int:
    return next(at for at, cell in enumerate(row) if cell.strip())


def _without_empty_columns(rows: Sequence[Row]) -> list[Row]:
    width = max((len(row) for row in rows), default=0)
    kept = [at for at in range(width) if any(at < len(row) and row[at].strip() for row in rows)]
    return [[row[at] if at < len(row) else "" for at in kept] for row in rows]


def joined(lines: Iterable[str]) -> str:
    """Lines of one paragraph as running text; a space between them, and none between two ideographs."""
    text = ""
    for before, line in pairwise(["", *lines]):
        tight = not before or (_IDEOGRAPH.match(before[-1:]) and _IDEOGRAPH.match(line[:1]))
        text += line if tight else f" {line}"
    return text


_IDEOGRAPH: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
