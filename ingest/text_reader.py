"""Plain text, Markdown and CSV to blocks. Pure.

unstructured is passed by for these three. It gives no offsets for them, guesses headings from grammar in plain text,
turns Markdown into HTML first (losing the author's own notation, and minutes on a line of `[`) and reads CSV through
pandas; what is needed here is in the lines themselves.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from app.domain.corpus import ElementKind, Finding
from ingest.blocks import Block, hidden, partial, sheet_blocks, table_blocks, title

# -- plain text ----------------------------------------------------------------------------------------------------

_LIST_MARK: Final = re.compile(r"\s{0,8}(?:[-*•‣▪●◦–·]|\d{1,3}[.)]|\(?[a-z][.)])\s+\S")
_NUMBERED_HEADING: Final = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+[A-ZÀ-Þ][^\n]{1,90}")
_NUMBERED: Final = re.compile(r"\s*\d")
_UNDERLINE: Final = re.compile(r"(=|-|~)\1{2,}\s*")


def text_blocks(text: str) -> Iterator[Block]:
    """Paragraphs parted by empty lines, list items a line each.

    A heading is one that any reader would take for one, as a wrong one would stand over all that follows: a line
    underlined with `===` or `---`, or a line alone that is numbered (`2.1 Scope`) or in capitals. Numbered lines that
    follow each other are a list.
    """
    paragraphs = list(_paragraphs(text.splitlines()))
    levels = [_heading_level(lines[0].strip()) if len(lines) == 1 else None for lines in paragraphs]
    for at, lines in enumerate(paragraphs):
        listed = _NUMBERED.match(lines[0]) and levels[at] in (levels[at - 1 : at] + levels[at + 1 : at + 2])
        yield from _plain_paragraph(lines, None if listed else levels[at])


def _plain_paragraph(lines: list[str], level: int | None) -> Iterator[Block]:
    if len(lines) >= 2 and _UNDERLINE.fullmatch(lines[1]) and not _UNDERLINE.fullmatch(lines[0]):
        yield title("\n".join(lines[:2]), level=1 if lines[1][0] == "=" else 2)
        lines = lines[2:]
    if level is not None:
        yield title(lines[0].strip(), level=level)
        return
    part: list[str] = []
    kind = ElementKind.PARAGRAPH
    for line in lines:
        if part and _LIST_MARK.match(line):
            yield Block(kind=kind, text="\n".join(part))
            part = []
        if not part:
            kind = ElementKind.LIST_ITEM if _LIST_MARK.match(line) else ElementKind.PARAGRAPH
        part.append(line)
    if part:
        yield Block(kind=kind, text="\n".join(part))


def _heading_level(line: str) -> int | None:
    if line.endswith((".", ",", ";", ":", "!", "?")) or len(line) > 100:
        return None
    if numbered := _NUMBERED_HEADING.fullmatch(line):
        return 2 + numbered.group(1).count(".")
    letters = [character for character in line if character.isalpha()]
    return 1 if len(letters) >= 4 and line.isupper() and len(line.split()) <= 12 else None


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for line in lines:
        if line.strip():
            part.append(line.rstrip())
        elif part:
            yield part
            part = []
    if part:
        yield part


# -- reStructuredText and Org ----------------------------------------------------------------------------------------

_ADORNMENT: Final = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*")


def rst_blocks(text: str) -> Iterator[Block]:
    """As `text_blocks`, titles by the lines under (and over) them; a mark's level is where it first stands.

    https://docutils.sourceforge.io/docs/ref/rst/restructuredtext.html#sections
    """
    marks: list[str] = []
    body: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line, under = lines[at], lines[at + 1] if at + 1 < len(lines) else ""
        over = _ADORNMENT.fullmatch(line) and at + 2 < len(lines) and lines[at + 2].rstrip() == line.rstrip()
        if over:
            mark, words, at = f"{line[0]}{line[0]}", under.strip(), at + 3
        elif (
            line.strip() and not line[0].isspace() and _ADORNMENT.fullmatch(under) and len(under.rstrip()) >= len(line)
        ):
            mark, words, at = under[0], line.strip(), at + 2
        else:
            body.append(line)
            at += 1
            continue
        yield from text_blocks("\n".join(body))
        body = []
        if mark not in marks:
            marks.append(mark)
        if words:
            yield title(words, level=1 + marks.index(mark))
    yield from text_blocks("\n".join(body))


_ORG_HEADING: Final = re.compile(r"(\*{1,20})\s+(\S.*)")
_ORG_TAGS: Final = re.compile(r"(?<!\s)\s++:[\w@#%:]+:\Z")
_ORG_TITLE: Final = re.compile(r"^#\+title:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)


def org_title(text: str) -> str | None:
    stated = _ORG_TITLE.search(text)
    return stated.group(1).rstrip(" \t") if stated else None


def org_blocks(text: str) -> Iterator[Block]:
    """As `text_blocks`, titles by their stars."""
    body: list[str] = []
    for line in text.splitlines():
        if (heading := _ORG_HEADING.fullmatch(line.rstrip())) is None:
            body.append(line)
            continue
        yield from text_blocks("\n".join(body))
        body = []
        yield title(_ORG_TAGS.sub("", heading.group(2)), level=len(heading.group(1)))
    yield from text_blocks("\n".join(body))


# -- Markdown ------------------------------------------------------------------------------------------------------

MAX_MARKED_LINE_CHARS: Final = 1_000
"""A longer line is text, whatever it looks like: the patterns below are quadratic at worst."""

_ATX: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_SETEXT: Final = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})[^`]*")
_ITEM: Final = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+\S.*|[ \t]*)")
_RULE: Final = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*")
_TABLE_RULE: Final = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE: Final = re.compile(r"^title:[ \t]*(\S.*)$", re.MULTILINE)
_ATTRIBUTES: Final = re.compile(r"[ \t]*\{[#.:][^{}]*\}$")


def markdown_title(text: str) -> str | None:
    """The title that a front matter states."""
    front = _FRONT_MATTER.match(_newlines(text))
    stated = _FRONT_TITLE.search(front.group(1)) if front else None
    return stated.group(1).rstrip(" \t").strip("'\"") if stated else None


def markdown_blocks(text: str) -> tuple[list[Block], list[Finding]]:
    """Blocks in the author's own notation, and findings.

    Headings lose their marks, since a section path shows them; everything else stays as written, so that a quote is
    found again in the source. Comments, which no reader of the page sees, are taken out and told.
    """
    source = _newlines(text)
    blocks: list[Block] = []
    if front := _FRONT_MATTER.match(source):
        blocks.append(Block(kind=ElementKind.OTHER, text=front.group(1)))
        source = source[front.end() :]
    lines, comments = _without_comments(source.split("\n"))
    blocks.extend(_markdown_lines(lines))
    return blocks, [hidden(f"{comments} comments in the Markdown, which readers do not see, were left out.")] * bool(
        comments
    )


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _without_comments(lines: Sequence[str]) -> tuple[list[str], int]:
    """Lines without `<!-- -->` outside of code, and how many comments there were. One never closed is text."""
    kept: list[str] = []
    comments = 0
    fence: str | None = None
    closes_after = max((at for at, line in enumerate(lines) if "-->" in line), default=-1)
    inside = False
    for at, line in enumerate(lines):
        if not inside and fence is None and (opened := _FENCE.fullmatch(line)):
            fence = opened.group(1)
        elif fence is not None and _closes(line, fence):
            fence = None
        if fence is not None:
            kept.append(line)
            continue
        seen = ""
        rest = line
        while rest:
            if inside:
                _, closed, rest = rest.partition("-->")
                inside = not closed
                continue
            before, opened_at, after = rest.partition("<!--")
            seen += before
            rest = after
            if opened_at and "-->" not in after and closes_after <= at:
                seen += opened_at + after
                rest = ""
            elif opened_at:
                comments += 1
                inside = True
        kept.append(seen)
    return kept, comments


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(fence) and set(stripped) == {fence[0]}


def _markdown_lines(lines: Sequence[str]) -> Iterator[Block]:
    at = 0
    part: list[str] = []
    while at < len(lines):
        line = lines[at]
        if len(line) > MAX_MARKED_LINE_CHARS:
            part.append(line)
            at += 1
            continue
        if fence := _FENCE.fullmatch(line):
            yield from _markdown_paragraph(part)
            part = []
            end = next(
                (end for end in range(at + 1, len(lines)) if _closes(lines[end], fence.group(1))), len(lines) - 1
            )
            yield Block(kind=ElementKind.OTHER, text="\n".join(lines[at : end + 1]))
            at = end + 1
            continue
        heading = _ATX.fullmatch(line)
        if heading or not line.strip():
            yield from _markdown_paragraph(part)
            part = []
            if heading and heading.group(2):
                yield title(_ATTRIBUTES.sub("", heading.group(2)), level=len(heading.group(1)))
        elif part and (under := _SETEXT.fullmatch(line)) and not _ITEM.fullmatch(part[-1]) and "|" not in part[-1]:
            yield title(" ".join(row.strip() for row in part), level=1 if under.group(1)[0] == "=" else 2)
            part = []
        elif _RULE.fullmatch(line):
            yield from _markdown_paragraph(part)
            part = []
        else:
            part.append(line)
        at += 1
    yield from _markdown_paragraph(part)


def _markdown_paragraph(lines: list[str]) -> Iterator[Block]:
    """A run of lines without an empty one: a table, list items, a paragraph, or a paragraph and then one of these."""
    rule = next((at for at in range(1, len(lines)) if "|" in lines[at - 1] and _TABLE_RULE.fullmatch(lines[at])), None)
    if rule is not None:
        yield from _markdown_items(lines[: rule - 1])
        yield from _markdown_table(lines[rule - 1 :])
    else:
        yield from _markdown_items(lines)


def _markdown_items(lines: list[str]) -> Iterator[Block]:
    part: list[str] = []
    kind = ElementKind.PARAGRAPH
    for line in lines:
        starts_item = bool(_ITEM.fullmatch(line))
        if part and starts_item:
            yield Block(kind=kind, text="\n".join(part))
            part = []
        if not part:
            kind = ElementKind.LIST_ITEM if starts_item else ElementKind.PARAGRAPH
        part.append(line)
    if part:
        yield Block(kind=kind, text="\n".join(part))


def _markdown_table(lines: list[str]) -> Iterator[Block]:
    rows = [_cells(line) for at, line in enumerate(lines) if at != 1]
    yield from table_blocks(rows, header=True)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


# -- CSV -----------------------------------------------------------------------------------------------------------

MAX_CELLS: Final = 1_000_000


def csv_blocks(text: str) -> tuple[list[Block], list[Finding]]:
    """The rows of a CSV file as `sheet_blocks`, and findings. Commas, semicolons, tabs and bars are told apart."""
    csv.field_size_limit(len(text) + 1)
    rows: list[list[str]] = []
    cells = 0
    findings: list[Finding] = []
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)):
        cells += len(row)
        if cells > MAX_CELLS:
            findings.append(
                partial(f"Only the first {len(rows):,} rows were read: the file has more than {MAX_CELLS:,} cells.")
            )
            break
        rows.append(row)
    return list(sheet_blocks(rows)), findings


def delimiter_of(text: str) -> str:
    """The mark that parts the first lines into the same number of cells, and into most; a comma when none does."""
    sample = list(csv_lines(text, count=20))

    def score(mark: str) -> tuple[float, int]:
        counts = [len(row) for row in csv.reader(sample, delimiter=mark)]
        widest = max(counts, default=1)
        return (sum(1 for count in counts if count == counts[0]) / max(1, len(counts)) if widest > 1 else 0.0, widest)

    return max(",;\t|", key=score)


def csv_lines(text: str, *, count: int) -> Iterator[str]:
    for at, line in enumerate(io.StringIO(text, newline="")):
        if at == count:
            return
        yield line[:10_000]
