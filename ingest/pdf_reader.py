"""PDF to blocks, from the characters, boxes and fonts that pdfium reports.

unstructured's `fast` strategy is not used: it gives one element for each text box of pdfminer and no font, so a heading
is glued to the paragraph below it and every cell of a table stands alone. Here lines are rebuilt with their size and
weight, which is what makes a heading a heading, and cells that share a row become a row.

Boxes are in points, origin top-left of the page as it is shown (crop box and rotation applied).
"""

import ctypes
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Any, Final

import pypdfium2 as pdfium  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium_c  # type: ignore[import-untyped]

from app.domain.corpus import Box, ElementKind, Finding, FindingCode
from app.domain.errors import NeedsOcr, NoText, Unparseable
from ingest import ocr, programs
from ingest.blocks import Block, hidden, joined, looks_like_header, partial, table_blocks

CELL_GAP_EM: Final = 1.0
"""A gap within a line this wide, in font sizes, may part two cells."""
HEADING_RATIO: Final = 1.12
"""Lines set larger than the body by this are headings."""
MAX_HEADING_CHARS: Final = 160
MIN_HEADING_LETTERS: Final = 2
MAX_CELL_LINES: Final = 8
MAX_RAISED_EM: Final = 3.0
"""How far above its left neighbour, set low or in the middle of the row, a cell may begin."""
ALIGNED_WITHIN_PT: Final = 4.0
MARGIN_SHARE: Final = 0.08
"""Running heads and feet are looked for in this share of the page at its top and at its bottom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Characters on one baseline without a wide gap: a line of text, or one line of a cell."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    """Points from the top-left, the page turned so that most of its text runs to the right."""
    box: Box
    """Where it is on the page as shown."""
    size: float
    bold: bool
    turned: bool
    """Runs another way than most of the page, as a note along the margin does."""

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def is_marker(self) -> bool:
        return bool(_MARKER.fullmatch(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    cells: tuple[tuple[Line, ...], ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for cell in self.cells for line in cell)


_MARKER: Final = re.compile(r"[•‣▪●◦–·■□○\uf0b7\uf0a7*-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]")
_STARTS_ITEM: Final = re.compile(r"(?:[•‣▪●◦■□○\uf0b7\uf0a7]\s*|[–*-]\s+|\(?(?:\d{1,2}|[a-z]|[ivx]{1,5})[.)]\s+)\S")


def pdf_blocks(content: bytes) -> tuple[list[Block], str | None, list[Finding]]:
    """Blocks, the title that the file states, and findings. Raises `Unparseable` with the reason."""
    pages = _pages(content)
    _check_any_text(pages.sheets)
    findings = _findings(pages.sheets)
    lines = _told_apart(pages.sheets)
    body = _body_size([line for page in lines for line in page.text])
    words = _words(line.text for page in lines for line in page.text)
    blocks = [
        block
        for sheet, page in zip(pages.sheets, lines, strict=True)
        for block in (sheet.read.blocks if sheet.read else _page_blocks(page.text, body, words))
    ]
    if running := {_place(line): line for page in reversed(lines) for line in reversed(page.running)}:
        detail = "Heads and feet that run through the pages stand once, at the end of the text."
        findings.append(Finding(code=FindingCode.REARRANGED, detail=detail))
        blocks.extend(_running(line) for line in reversed(running.values()))
    return blocks, pages.title, findings


# -- from pdfium ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """A page turned so that most of its text runs to the right."""

    lines: list[Line]
    height: float
    drawn: bool = False
    """Something is drawn on it, be it a picture."""
    unseen: int = 0
    """Characters that are there and cannot be seen; they are not among the lines."""
    read: ocr.Read | None = None
    """What was read off it, where it has no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    sheets: list[_Sheet]
    title: str | None


def _opened(content: bytes) -> Any:
    try:
        return pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        code = pdfium_c.FPDF_GetLastError()
        if code in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY):
            raise Unparseable("The PDF is protected by a password: save it without one.") from error
        raise Unparseable("The PDF is damaged or incomplete: it cannot be opened.") from error


def _pages(content: bytes) -> _Pages:
    document = _opened(content)
    try:
        if not len(document):
            raise Unparseable("The PDF has no pages.")
        sheets: list[_Sheet] = []
        for number in range(len(document)):
            try:
                page = document[number]
            except pdfium.PdfiumError:
                sheets.append(_Sheet(lines=[], height=0.0))
                continue
            sheet = _sheet(page, number + 1)
            if not sheet.lines and sheet.drawn and ocr.available() and programs.time_left_s() > 0:
                with suppress(Unparseable):  # told with the pages that no text was found on
                    sheet = replace(sheet, read=_read_off(page, number + 1))
            sheets.append(sheet)
            page.close()
        return _Pages(sheets=sheets, title=_stated_title(document))
    finally:
        document.close()


def _read_off(page: Any, number: int) -> ocr.Read:
    width, height = page.get_size()
    scale = min(ocr.DOTS_PER_INCH / 72, (ocr.MAX_PIXELS / max(1.0, width * height)) ** 0.5 / 2)
    picture = page.render(scale=scale, grayscale=True).to_pil()
    return ocr.read_picture(picture, page=number, points_per_pixel=1 / scale)


def _check_any_text(sheets: Sequence[_Sheet]) -> None:
    if any(sheet.lines or (sheet.read and sheet.read.blocks) for sheet in sheets):
        return
    if any(sheet.drawn and sheet.read is None for sheet in sheets):
        if ocr.available():
            raise Unparseable("The PDF holds only pictures, and Tesseract could not read them in time. Split it.")
        raise NeedsOcr(ocr.WITHOUT.format("The PDF holds no text, only pictures or drawings: it has"))
    if any(sheet.read for sheet in sheets):
        raise NoText("No text was found on the PDF's pages, though they were read as pictures. Send one with text.")
    raise NoText("The PDF's pages hold no text that can be seen. Send one that shows some.")


_NO_TITLE: Final = re.compile(
    r"\W*|untitled.*|anonymous|unspecified|\(.*\)|document\d*|microsoft (?:word|powerpoint|excel) - .*|.*\.\w{2,5}",
    re.IGNORECASE,
)


def _stated_title(document: Any) -> str | None:
    """The title in the file's metadata, unless a program wrote it there for want of one."""
    stated = str(document.get_metadata_value("Title") or "").strip()
    return None if _NO_TITLE.fullmatch(stated) else stated


def _sheet(page: Any, number: int) -> _Sheet:
    text_page = page.get_textpage()
    try:
        written = [pen for pen in _written(text_page, _to_shown(page)) if pen.text()]
        drawn = _Drawn(page)
        pens = [pen for pen in written if not drawn.hides(pen, text_page)]
        turns = Counter[_Turn]()
        for pen in pens:
            turns[pen.turn] += len(pen.units)
        along = turns.most_common(1)[0][0] if turns else _Turn.RIGHT
        width, height = page.get_size()
        lines = [_line(pen, text_page, page=number, along=along, shown=(width, height)) for pen in pens]
        return _Sheet(
            lines=_downwards(lines),
            height=height if along in (_Turn.RIGHT, _Turn.LEFT) else width,
            drawn=not pens and drawn.anything,
            unseen=sum(len(pen.units) for pen in written) - sum(len(pen.units) for pen in pens),
        )
    finally:
        text_page.close()


_Rect = tuple[float, float, float, float]
"""x0, y0, x1, y1 from the top-left."""


def _downwards(lines: list[Line]) -> list[Line]:
    """Lines as drawn, unless they go up the page: pdfium lists pages on their side from the end."""
    steps = [below.y0 - above.y0 for above, below in pairwise(lines)]
    upwards = sum(step < -1 for step in steps) > 2 * sum(step > 1 for step in steps) + 1
    return sorted(lines, key=lambda line: (line.y0, line.x0)) if upwards else lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Affine:
    """From a page's own space to points from the top-left of the page as shown."""

    xx: float
    xy: float
    yx: float
    yy: float
    x: float
    y: float

    def box(self, left: float, bottom: float, right: float, top: float) -> _Rect:
        xs = sorted((self.xx * left + self.xy * bottom, self.xx * right + self.xy * top))
        ys = sorted((self.yx * left + self.yy * bottom, self.yx * right + self.yy * top))
        return self.x + xs[0], self.y + ys[0], self.x + xs[1], self.y + ys[1]


_FINE: Final = 64
"""Device units a point, when pdfium is asked for whole ones."""
_PROBE_PT: Final = 1000.0


def _to_shown(page: Any) -> _Affine:
    """Asks pdfium where three points of the page come to lie: crop box and rotation in any combination."""
    width, height = page.get_size()

    def shown(x: float, y: float) -> tuple[float, float]:
        device_x, device_y = ctypes.c_int(), ctypes.c_int()
        pdfium_c.FPDF_PageToDevice(
            page.raw, 0, 0, round(width * _FINE), round(height * _FINE), 0, x, y, device_x, device_y
        )
        return device_x.value / _FINE, device_y.value / _FINE

    (x, y), (along_x, along_y), (up_x, up_y) = shown(0, 0), shown(_PROBE_PT, 0), shown(0, _PROBE_PT)
    return _Affine(
        xx=round((along_x - x) / _PROBE_PT),
        yx=round((along_y - y) / _PROBE_PT),
        xy=round((up_x - x) / _PROBE_PT),
        yy=round((up_y - y) / _PROBE_PT),
        x=x,
        y=y,
    )


class _Turn(Enum):
    """Which way a line runs on the page as shown."""

    RIGHT = 0
    UP = 1
    DOWN = 2
    LEFT = 3

    def upright(self, box: _Rect) -> _Rect:
        """The box as it would lie if the page were turned about its top-left, so that the line runs to the right."""
        x0, y0, x1, y1 = box
        match self:
            case _Turn.RIGHT:
                return box
            case _Turn.UP:
                return -y1, x0, -y0, x1
            case _Turn.DOWN:
                return y0, -x1, y1, -x0
            case _Turn.LEFT:
                return -x1, -y1, -x0, -y0

    def back_in_place(self, width: float, height: float) -> tuple[float, float]:
        """How far to move what `upright` gave, so that the turned page's own top-left is at zero."""
        return (height if self is _Turn.UP else width if self is _Turn.LEFT else 0.0), (
            width if self is _Turn.DOWN else height if self is _Turn.LEFT else 0.0
        )


class _Pen:
    """Gathers the characters of one line."""

    def __init__(self, at: int, box: _Rect, turn: _Turn) -> None:
        self.units: list[int] = []
        self.first = self.last = at
        self.turn = turn
        self.box = box
        self.line = turn.upright(box)

    def add(self, unit: int, at: int, box: _Rect) -> None:
        self.units.append(unit)
        self.last = at
        self.box = _around(self.box, box)
        self.line = _around(self.line, self.turn.upright(box))

    def goes_on(self, box: _Rect) -> bool:
        """Whether a character stands on this line, right after what is there: raised and lowered ones too."""
        x0, y0, x1, y1 = self.turn.upright(box)
        height = max(1.0, self.line[3] - self.line[1], y1 - y0)
        level = min(y1, self.line[3]) - max(y0, self.line[1]) > 0.4 * min(y1 - y0, self.line[3] - self.line[1])
        widest = CELL_GAP_EM * 0.8 * height
        return level and (-height <= x0 - self.line[2] <= widest or -height <= self.line[0] - x1 <= widest)

    def gap(self, box: _Rect) -> float:
        """White space between the line and a character after it (or before it, right to left), in line heights."""
        x0, _, x1, _ = self.turn.upright(box)
        return max(x0 - self.line[2], self.line[0] - x1) / max(1.0, self.line[3] - self.line[1])

    def text(self) -> str:
        """UTF-16 units to text; a pair of surrogates is one character, a lone one is replaced."""
        pairs = b"".join(unit.to_bytes(2, "little") for unit in self.units if unit < 0x10000)
        if len(pairs) == 2 * len(self.units):
            return " ".join(pairs.decode("utf-16-le", "replace").split())
        return " ".join("".join(map(chr, self.units)).split())


def _around(one: _Rect, other: _Rect) -> _Rect:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


_SPACES: Final = frozenset({0x20, 0xA0, 0x09, 0x0A, 0x0D, 0x3000, 0x2002, 0x2003, 0x2009})
MIN_SPACE: Final = 0.08
"""In line heights. pdfium sets spaces and line ends of its own between the letters of a ligature, too."""
_WORD_BREAKS: Final = frozenset({0x02, 0xAD, 0xFFFE})
"""What pdfium reports for a hyphen at a line's end; it has no box of its own."""


def _written(text_page: Any, shown: _Affine) -> Iterator[_Pen]:
    """Lines in the order in which the page draws them, parted where the baseline changes and at wide gaps."""
    rect = pdfium_c.FS_RECTF()
    pen: _Pen | None = None
    space = guessed = False
    for at in range(max(0, pdfium_c.FPDFText_CountChars(text_page))):
        unit = pdfium_c.FPDFText_GetUnicode(text_page, at)
        if unit in _SPACES:
            guessed = bool(pdfium_c.FPDFText_IsGenerated(text_page, at))
            space = space or not guessed
            continue
        if unit in _WORD_BREAKS:
            if pen is not None:
                pen.units.append(ord("-"))
            continue
        if unit == 0 or not pdfium_c.FPDFText_GetLooseCharBox(text_page, at, rect):
            continue
        box = shown.box(rect.left, rect.bottom, rect.right, rect.top)
        if pen is None or not pen.goes_on(box):
            if pen is not None:
                yield pen
            pen = _Pen(at, box, _turn(text_page, at, shown))
        elif space or (guessed and pen.gap(box) > MIN_SPACE):
            pen.units.append(0x20)
        space = guessed = False
        pen.add(unit, at, box)
    if pen is not None:
        yield pen


def _turn(text_page: Any, at: int, shown: _Affine) -> _Turn:
    matrix = pdfium_c.FS_MATRIX()
    if not pdfium_c.FPDFText_GetMatrix(text_page, at, matrix):
        return _Turn.RIGHT
    along_x = shown.xx * matrix.a + shown.xy * matrix.b
    along_y = shown.yx * matrix.a + shown.yy * matrix.b
    if abs(along_x) >= abs(along_y):
        return _Turn.RIGHT if along_x >= 0 else _Turn.LEFT
    return _Turn.DOWN if along_y > 0 else _Turn.UP


def _line(pen: _Pen, text_page: Any, *, page: int, along: _Turn, shown: tuple[float, float]) -> Line:
    (first_size, first_bold), (last_size, last_bold) = _font(text_page, pen.first), _font(text_page, pen.last)
    right_by, down_by = along.back_in_place(*shown)
    x0, y0, x1, y1 = along.upright(pen.box)
    left, top, right, bottom = (round(edge, 2) for edge in pen.box)
    return Line(
        text=pen.text(),
        x0=round(x0 + right_by, 2),
        y0=round(y0 + down_by, 2),
        x1=round(x1 + right_by, 2),
        y1=round(y1 + down_by, 2),
        box=Box(page=page, x0=left, y0=top, x1=right, y1=bottom),
        size=round(2 * max(first_size, last_size)) / 2,
        bold=first_bold and last_bold,
        turned=pen.turn is not along,
    )


_BOLD_NAME: Final = re.compile(rb"bold|black|heavy|demi", re.IGNORECASE)
_BOLD_WEIGHT: Final = 600


def _font(text_page: Any, at: int) -> tuple[float, bool]:
    """Size in points as shown, and whether it is bold by weight or by name."""
    matrix = pdfium_c.FS_MATRIX()
    scale = 1.0
    if pdfium_c.FPDFText_GetMatrix(text_page, at, matrix):
        scale = (matrix.c**2 + matrix.d**2) ** 0.5 or 1.0
    name = ctypes.create_string_buffer(128)
    pdfium_c.FPDFText_GetFontInfo(text_page, at, name, 128, None)
    bold = pdfium_c.FPDFText_GetFontWeight(text_page, at) >= _BOLD_WEIGHT or bool(_BOLD_NAME.search(name.value))
    return pdfium_c.FPDFText_GetFontSize(text_page, at) * scale, bold


# -- what cannot be seen -------------------------------------------------------------------------------------------

_TINY_PT: Final = 1.5
_PALE: Final = 230
"""Of 255: what is filled with so much of red, green and blue may be white on white."""
_EVEN: Final = 12
"""Of 255: shades nearer than this to each other are one to the eye."""


class _Drawn:
    """What a page looks like, found out only where text may not be seen on it."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._picture: Any = None
        self._pictured: bool | None = None

    @property
    def anything(self) -> bool:
        return next(iter(self._page.get_objects(max_depth=2)), None) is not None

    def hides(self, pen: _Pen, text_page: Any) -> bool:
        """Whether a line cannot be seen: without ink and no scan over it, tiny, off the page, in its colour."""
        if _font(text_page, pen.first)[0] < _TINY_PT and pen.box[3] - pen.box[1] < _TINY_PT:
            return True
        if all(_inkless(text_page, at) for at in (pen.first, pen.last)):
            return not self._has_picture()
        if self._beyond(pen.box):
            return True
        return all(_pale(text_page, at) for at in (pen.first, pen.last)) and self._is_even(pen.box)

    def _beyond(self, box: _Rect) -> bool:
        width, height = self._page.get_size()
        return box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height

    def _has_picture(self) -> bool:
        if self._pictured is None:
            pictures = self._page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE], max_depth=3)
            self._pictured = next(iter(pictures), None) is not None
        return self._pictured

    def _is_even(self, box: _Rect) -> bool:
        if self._picture is None:
            self._picture = self._page.render(scale=1, grayscale=True).to_pil()
        width, height = self._picture.size
        left, top, right, bottom = (round(edge) for edge in box)
        within = (max(0, left), max(0, top), min(width, max(right, left + 1)), min(height, max(bottom, top + 1)))
        if within[0] >= within[2] or within[1] >= within[3]:
            return True
        darkest, lightest = self._picture.crop(within).getextrema()
        return bool(lightest - darkest < _EVEN)


def _inkless(text_page: Any, at: int) -> bool:
    """Drawn neither filled nor outlined, as the text that OCR laid under a scan is (PDF 32000-1, table 106)."""
    drawn = pdfium_c.FPDFText_GetTextObject(text_page, at)
    return bool(drawn) and pdfium_c.FPDFTextObj_GetTextRenderMode(drawn) == pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE


def _pale(text_page: Any, at: int) -> bool:
    red, green, blue, opacity = (ctypes.c_uint() for _ in range(4))
    if not pdfium_c.FPDFText_GetFillColor(text_page, at, red, green, blue, opacity):
        return False
    return opacity.value < 13 or min(red.value, green.value, blue.value) >= _PALE


# -- pages ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _PageLines:
    text: list[Line]
    running: list[Line]


def _told_apart(sheets: Sequence[_Sheet]) -> list[_PageLines]:
    """Running heads and feet aside: lines in a margin, at the same height on half of the pages, clear of the text."""

    def margin(line: Line, height: float) -> bool:
        return not MARGIN_SHARE * height <= line.middle <= (1 - MARGIN_SHARE) * height

    seen = Counter(
        place for sheet in sheets for place in {_place(line) for line in sheet.lines if margin(line, sheet.height)}
    )
    often = max(2, len(sheets) / 2)
    told: list[_PageLines] = []
    for sheet in sheets:
        lines = sheet.lines
        often_here = [line for line in lines if margin(line, sheet.height) and seen[_place(line)] >= often]
        others = [line for line in lines if line not in often_here]
        running = [line for line in often_here if others and all(_clear_of(line, other) for other in others)]
        apart = set(map(id, running))
        told.append(_PageLines(text=[line for line in lines if id(line) not in apart], running=running))
    return told


def _clear_of(line: Line, other: Line) -> bool:
    """Whether white space parts two lines, as it does not part the head of a table from its rows on each page."""
    return max(other.y0 - line.y1, line.y0 - other.y1) > 0.5 * (line.y1 - line.y0)


def _place(line: Line) -> tuple[str, int]:
    """Equal for lines that say the same but for numbers, at the same height of their pages."""
    return re.sub(r"\d+", "#", line.text), round(line.middle / 4)


def _findings(sheets: Sequence[_Sheet]) -> list[Finding]:
    pages = [sheet.lines for sheet in sheets]
    findings = list(ocr.confidence_told([sheet.read for sheet in sheets if sheet.read]))
    if unseen := sum(sheet.unseen for sheet in sheets):
        findings.append(hidden(f"{unseen} characters that cannot be seen on the PDF's pages were left out."))
    empty = [number for number, sheet in enumerate(sheets, start=1) if sheet.drawn and sheet.read is None]
    if empty:
        shown = ", ".join(map(str, empty[:10])) + (" and others" if len(empty) > 10 else "")
        detail = (
            f"No text was found on {'page' if len(empty) == 1 else 'pages'} {shown}: an image may need OCR (Tesseract)."
        )
        findings.append(Finding(code=FindingCode.NEEDS_OCR, detail=detail))
    text = "".join(line.text for lines in pages for line in lines)
    garbled = sum(1 for character in text if character == "\ufffd" or "\ue000" <= character <= "\uf8ff")
    if garbled * 10 > len(text) > 0:
        findings.append(
            partial("Much of the PDF's text cannot be told from its fonts: what was read may make no sense.")
        )
    return findings


def _body_size(lines: Sequence[Line]) -> float:
    """The font size that most characters have."""
    sizes = Counter[float]()
    for line in lines:
        sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _words(texts: Iterator[str]) -> frozenset[str]:
    return frozenset(word for text in texts for word in re.findall(r"[^\W\d_]{3,}", text.lower()))


def _running(line: Line) -> Block:
    return Block(kind=ElementKind.OTHER, text=line.text, page=line.box.page, boxes=(line.box,), apart=True)


def _box(lines: Sequence[Line]) -> Box:
    return Box(
        page=lines[0].box.page,
        x0=min(line.box.x0 for line in lines),
        y0=min(line.box.y0 for line in lines),
        x1=max(line.box.x1 for line in lines),
        y1=max(line.box.y1 for line in lines),
    )


# -- rows and tables -----------------------------------------------------------------------------------------------


def _page_blocks(lines: list[Line], body: float, words: frozenset[str]) -> Iterator[Block]:
    """One page's blocks: tables where rows of cells stand below each other, paragraphs and headings elsewhere."""
    prose: list[Line] = []
    gap = _usual_gap(lines)
    for run in _runs(_with_markers(lines)):
        if isinstance(run, Line):
            prose.append(run)
            continue
        yield from _prose_blocks(prose, body, gap, words)
        prose = []
        rows = [[_flowed(cell, words) for cell in row] for row in _columns(run)]
        boxes = (_box([line for row in run for line in row.lines]),)
        header = looks_like_header(rows) or _is_bold_header(run)
        yield from table_blocks(rows, header=header, page=boxes[0].page, boxes=boxes)
    yield from _prose_blocks(prose, body, gap, words)


def _with_markers(lines: Sequence[Line]) -> list[Line]:
    """A bullet or number that stands apart from its item is put before it."""
    told: list[Line] = []
    for line in lines:
        before = told[-1] if told else None
        if before is not None and before.is_marker and _beside(before, line) and line.x0 - before.x1 < 4 * line.size:
            told[-1] = replace(
                line,
                text=f"{before.text} {line.text}",
                x0=before.x0,
                y0=min(before.y0, line.y0),
                y1=max(before.y1, line.y1),
                box=_box([before, line]),
            )
        else:
            told.append(line)
    return told


def _beside(left: Line, right: Line) -> bool:
    if left.turned or right.turned:
        return False
    overlap = min(left.y1, right.y1) - max(left.y0, right.y0)
    return overlap > 0.5 * min(left.y1 - left.y0, right.y1 - right.y0) and right.x0 >= left.x1 - 1


def _runs(lines: list[Line]) -> Iterator[Line | list[TableRow]]:
    """Lines of prose one by one, and tables as lists of two rows or more."""
    pending: list[TableRow] = []
    for row in _rows(lines):
        if len(row.cells) > 1 and (not pending or _aligned(pending[-1], row)):
            pending.append(row)
            continue
        yield from _settled(pending)
        pending = [row] if len(row.cells) > 1 else []
        if len(row.cells) == 1:
            yield from row.lines
    yield from _settled(pending)


def _settled(rows: list[TableRow]) -> Iterator[Line | list[TableRow]]:
    """Two rows make a table; a row alone is a line with gaps in it, put together again."""
    if len(rows) >= 2:
        yield rows
        return
    for row in rows:
        if all(len(cell) == 1 for cell in row.cells):
            first, last = row.lines[0], row.lines[-1]
            text = " ".join(line.text for line in row.lines)
            yield replace(first, text=text, x1=last.x1, y1=max(first.y1, last.y1), box=_box(row.lines))
        else:
            yield from row.lines


def _rows(lines: list[Line]) -> Iterator[TableRow]:
    """Lines in drawing order as rows of cells.

    A line that stands right of what was drawn just before, at the same height, begins the next cell. The cell before
    may have several lines, or be set lower in its row than the new one. Columns of prose do not pass for cells: they
    are drawn whole, so the next column's first line is level with no recent line, or with too many below it.
    """
    cells: list[list[Line]] = []
    for line in lines:
        last = cells[-1] if cells else []
        if not last:
            cells = [[line]]
            continue
        level = _level_with(last, line)
        right_of_all = all(line.x0 >= before.x1 - 1 for before in last[level or 0 :])
        if level is not None and right_of_all and len(last) - level <= MAX_CELL_LINES:
            if len(cells) == 1:
                for before in last[:level]:
                    yield TableRow(cells=((before,),))
                cells[0] = last[level:]
            cells.append([line])
        elif len(cells) == 1 or _goes_on(last, line, cells):
            last.append(line)
            if len(cells) == 1 and len(last) > MAX_CELL_LINES:
                yield TableRow(cells=((last.pop(0),),))
        else:
            yield TableRow(cells=tuple(map(tuple, cells)))
            cells = [[line]]
    if len(cells) == 1:
        for line in cells[0]:
            yield TableRow(cells=((line,),))
    elif cells:
        yield TableRow(cells=tuple(map(tuple, cells)))


def _level_with(cell: Sequence[Line], line: Line) -> int | None:
    """The place in a cell from which on its lines share a row with a line to the right; `None` when none does."""
    if (beside := next((at for at, before in enumerate(cell) if _beside(before, line)), None)) is not None:
        return beside
    last = cell[-1]
    if line.turned or last.turned or not 0 <= last.y0 - line.y1 + last.size <= MAX_RAISED_EM * last.size:
        return None
    first = len(cell) - 1
    while first and cell[first].y0 - cell[first - 1].y1 < 0.3 * last.size and cell[first].x0 == cell[first - 1].x0:
        first -= 1
    return first


def _goes_on(cell: Sequence[Line], line: Line, cells: Sequence[Sequence[Line]]) -> bool:
    """Whether a line is the next one of the row's last cell: close below it, under it, and right of the others."""
    above = cell[-1]
    under = line.x0 < max(before.x1 for before in cell) and line.x1 > min(before.x0 for before in cell)
    close = -0.3 * above.size <= line.y0 - above.y1 <= 0.45 * above.size
    clear = all(line.x0 >= before.x1 - 1 for other in cells[:-1] for before in other)
    return under and close and clear and len(cell) < MAX_CELL_LINES and line.size == above.size


def _edges(cell: Sequence[Line]) -> tuple[float, float, float]:
    left, right = min(line.x0 for line in cell), max(line.x1 for line in cell)
    return left, right, (left + right) / 2


def _aligned(above: TableRow, below: TableRow) -> bool:
    """Rows of one table: near each other, and a cell after the first shares its left, right or middle."""
    top = max(line.y1 for line in above.lines)
    start = min(line.y0 for line in below.lines)
    size = below.lines[0].size or 10
    if not -size <= start - top <= 3 * size:
        return False
    return any(
        abs(one - other) <= ALIGNED_WITHIN_PT
        for upper in above.cells[1:]
        for lower in below.cells[1:]
        for one, other in zip(_edges(upper), _edges(lower), strict=True)
    )


def _columns(rows: Sequence[TableRow]) -> list[list[Sequence[Line]]]:
    """Each row's cells put under the widest row's columns, so that an empty cell keeps its place."""
    widest = max(rows, key=lambda row: len(row.cells))
    places = [_edges(cell) for cell in widest.cells]
    table: list[list[Sequence[Line]]] = []
    for row in rows:
        placed: list[Sequence[Line]] = [()] * len(places)
        taken = -1
        for left_over, cell in zip(range(len(row.cells) - 1, -1, -1), row.cells, strict=True):
            edges = _edges(cell)
            free = range(taken + 1, len(places) - left_over)
            taken = min(free, key=lambda at: min(abs(a - b) for a, b in zip(places[at], edges, strict=True)))
            placed[taken] = cell
        table.append(placed)
    return table


def _is_bold_header(rows: Sequence[TableRow]) -> bool:
    return all(line.bold for line in rows[0].lines) and not all(line.bold for row in rows[1:] for line in row.lines)


# -- prose ---------------------------------------------------------------------------------------------------------


def _usual_gap(lines: Sequence[Line]) -> float:
    """The white space between two lines of one paragraph that is most frequent on the page, in font sizes."""
    gaps = Counter(
        round((below.y0 - above.y1) / above.size, 1)
        for above, below in pairwise(lines)
        if above.size == below.size > 0 and -0.5 < (below.y0 - above.y1) / above.size < 1.5
    )
    return gaps.most_common(1)[0][0] if gaps else 0.1


def _prose_blocks(lines: Sequence[Line], body: float, gap: float, words: frozenset[str]) -> Iterator[Block]:
    part: list[Line] = []
    for line in lines:
        if part and not _same_block(part, line, gap, body):
            yield _block(part, body, words)
            part = []
        part.append(line)
    if part:
        yield _block(part, body, words)


def _same_block(part: Sequence[Line], line: Line, gap: float, body: float) -> bool:
    above = part[-1]
    if line.turned or above.turned:
        return False
    if line.size != above.size or line.bold != above.bold:
        # One word set apart within a paragraph does not end it; a line set apart does.
        same_weight = line.bold == above.bold or (not line.bold and len(part) > 1)
        if not (same_weight and abs(line.size - above.size) <= 1 and line.size <= body * HEADING_RATIO):
            return False
    size = above.size or body or 10
    white = (line.y0 - above.y1) / size
    if not -0.9 <= white <= max(gap, 0.0) + 0.3:
        return False
    if _STARTS_ITEM.match(line.text) and (_STARTS_ITEM.match(part[0].text) or line.text[0] in "•‣▪●◦■□○\uf0b7"):
        return False
    indented = line.x0 - min(before.x0 for before in part) > 0.8 * size and line.x0 - above.x0 > 0.8 * size
    return not (indented and above.text.endswith((".", "!", "?", ":", "”", '"')))


def _block(lines: Sequence[Line], body: float, words: frozenset[str]) -> Block:
    text = _flowed(lines, words)
    kind = ElementKind.PARAGRAPH
    if lines[0].turned:
        kind = ElementKind.OTHER
    elif _is_heading(lines, text, body):
        kind = ElementKind.TITLE
    elif _STARTS_ITEM.match(text):
        kind = ElementKind.LIST_ITEM
    return Block(kind=kind, text=text, level=_level(lines[0].size, text), page=lines[0].box.page, boxes=(_box(lines),))


def _level(size: float, text: str) -> int:
    """The larger it is set the further out; among equals, a number before it (`2.1 Scope`) tells the depth."""
    numbered = re.match(r"\d{1,2}((?:\.\d{1,2})*)\.?\s", text)
    depth = 1 + numbered.group(1).count(".") if numbered else 0
    return 10 * (1000 - round(2 * size)) + min(depth, 9)


def _is_heading(lines: Sequence[Line], text: str, body: float) -> bool:
    """Set larger than the body, or wholly bold and not a sentence; short either way."""
    letters = sum(map(str.isalpha, text))
    if len(text) > MAX_HEADING_CHARS or len(lines) > 3 or letters < MIN_HEADING_LETTERS or text[0] in ",.;:)":
        return False
    if lines[0].size >= body * HEADING_RATIO:
        return True
    bold = all(line.bold for line in lines)
    return bold and lines[0].size >= body * 0.95 and not text.endswith((".", ",", ";", ":")) and len(text) <= 100


def _flowed(lines: Sequence[Line], words: frozenset[str]) -> str:
    """Lines as running text. A word broken by a hyphen is joined if the document has it whole elsewhere."""
    parts: list[str] = []
    for line in lines:
        before = parts[-1] if parts else ""
        tail, head = re.search(r"([^\W\d_]+)[-\u2010]$", before), re.match(r"[^\W\d_]+", line.text)
        if tail and head:
            whole = (tail.group(1) + head.group()).lower() in words and head.group()[0].islower()
            parts[-1] = (before[:-1] if whole else before) + line.text
        else:
            parts.append(line.text)
    return joined(parts)
