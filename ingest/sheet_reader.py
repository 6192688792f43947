"""XLSX to blocks, through openpyxl: each sheet a section, each row a line.

unstructured's own reader is passed by: it goes through pandas and a graph of connected cells (40 MB more to load, and
minutes on a sheet with many cells) and glues a sheet's cells into one text without their column names.
"""

import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, Final

import openpyxl  # type: ignore[import-untyped]
import xlrd  # type: ignore[import-untyped]

from app.domain.corpus import Finding
from app.domain.errors import Unparseable
from ingest.blocks import Block, hidden, partial, sheet_blocks, title

MAX_CELLS: Final = 1_000_000
MAX_EMPTY_ROWS: Final = 10_000
"""In a row: what comes after so much nothing is a stray format, or a bomb."""


def sheet_file_blocks(content: bytes) -> tuple[list[Block], str | None, list[Finding]]:
    """Blocks, the title that the workbook states, and findings: hidden sheets, charts, uncounted formulas, cut-offs."""
    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    blocks: list[Block] = []
    findings: list[Finding] = []
    left = MAX_CELLS
    try:
        for number, sheet in enumerate(workbook.worksheets, start=1):
            if sheet.sheet_state != "visible":
                findings.append(hidden(f"The hidden sheet {sheet.title!r} was left out."))
                continue
            rows: list[list[str]] = []
            for row in _rows(sheet):
                left -= len(row)
                if left < 0:
                    findings.append(
                        partial(f"Sheet {sheet.title!r} was read to row {len(rows):,} only: there are too many cells.")
                    )
                    break
                rows.append(row)
            inner = list(sheet_blocks(rows, page=number))
            if inner:
                blocks.append(title(sheet.title, level=1, page=number))
                blocks.extend(inner)
            if left < 0:
                break
        charts = len(workbook.chartsheets)
        stated = str(workbook.properties.title or "") or None
    finally:
        workbook.close()
    if charts:
        findings.append(partial(f"{charts} chart sheets were not read."))
    if shapes := _shapes_with_text(content):
        findings.append(partial(f"Text in {shapes} shapes that lie over the sheets was not read."))
    if uncounted := _formulas_without_result(content):
        findings.append(
            partial(f"{uncounted} formulas have no stored result: open the workbook, let it calculate, and save it.")
        )
    return blocks, stated, findings


def old_sheet_file_blocks(content: bytes) -> tuple[list[Block], list[Finding]]:
    """As `sheet_file_blocks`, of an XLS file. Raises `Unparseable`."""
    try:
        book = xlrd.open_workbook(file_contents=content, logfile=io.StringIO(), formatting_info=True)
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise Unparseable("The workbook is protected by a password: save it without one.") from error
        raise Unparseable("The workbook is damaged or incomplete. Save it anew, as XLSX.") from error
    blocks: list[Block] = []
    findings: list[Finding] = []
    left = MAX_CELLS
    for number, sheet in enumerate(book.sheets(), start=1):
        if sheet.visibility:
            findings.append(hidden(f"The hidden sheet {sheet.name!r} was left out."))
            continue
        rows = [[_old_shown(book, cell) for cell in sheet.row(at)] for at in range(min(sheet.nrows, left))]
        left = max(0, left - sum(map(len, rows)))
        if len(rows) < sheet.nrows:
            findings.append(
                partial(f"Sheet {sheet.name!r} was read to row {len(rows):,} only: there are too many cells.")
            )
        if inner := list(sheet_blocks(rows, page=number)):
            blocks.append(title(sheet.name, level=1, page=number))
            blocks.extend(inner)
    return blocks, findings


def _old_shown(book: Any, cell: Any) -> str:
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return ""
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return shown(bool(cell.value), "")
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return str(xlrd.error_text_from_code.get(cell.value, "#ERROR"))
    number_format = book.format_map[book.xf_list[cell.xf_index].format_key].format_str if cell.xf_index else ""
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return shown(xlrd.xldate.xldate_as_datetime(cell.value, book.datemode), number_format)
        except (ValueError, OverflowError):
            return shown(cell.value, "")
    return shown(cell.value, number_format)


def _rows(sheet: Any) -> Iterator[list[str]]:
    """Rows of shown values. What the file says of its own size is not believed."""
    sheet.reset_dimensions()
    empty = 0
    for row in sheet.iter_rows():
        cells = [shown(cell.value, str(cell.number_format or "")) if cell.value is not None else "" for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        empty = 0 if cells else empty + 1
        if empty > MAX_EMPTY_ROWS:
            return
        if cells or empty == 1:
            yield cells


_DECIMALS: Final = re.compile(r"0\.(0+)")


def shown(value: object, number_format: str) -> str:
    """A cell's value about as the sheet shows it: dates as ISO 8601, percentages as such, no float noise."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case dt.datetime():
            return (
                value.date().isoformat() if value.time() == dt.time() else value.isoformat(sep=" ", timespec="minutes")
            )
        case dt.date() | dt.time():
            return value.isoformat()
        case int() | float() if "%" in number_format:
            places = _DECIMALS.search(number_format)
            return f"{round(value * 100, len(places.group(1)) if places else 0):g}%"
        case float():
            return f"{value:.15g}"
        case _:
            return str(value)


_SHAPE_TEXT: Final = re.compile(rb"<a:t>[^<]*\S")


def _shapes_with_text(content: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        drawings = [name for name in archive.namelist() if re.fullmatch(r"xl/drawings/drawing\d+\.xml", name)]
        return sum(
            bool(_SHAPE_TEXT.search(shape)) for name in drawings for shape in archive.read(name).split(b"</xdr:sp>")
        )


_NO_RESULT: Final = re.compile(rb"(?:</f>|<f[^<>]{0,200}/>)(?:<v\s*/>|<v></v>)?</c>")


def _formulas_without_result(content: bytes) -> int:
    """How many formulas were never calculated; as they are stored without a value, they read as empty cells."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(len(_NO_RESULT.findall(archive.read(name))) for name in _sheet_parts(archive.namelist()))


def _sheet_parts(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("xl/worksheets/") and name.endswith(".xml")]
