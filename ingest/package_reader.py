"""Two formats that are a ZIP of XML: OpenDocument text, and EPUB, which is a ZIP of pages."""

import io
import posixpath
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from lxml import etree  # type: ignore[import-untyped]

from app.domain.corpus import ElementKind, Finding
from app.domain.errors import Unparseable
from ingest.blocks import Block, partial, table_blocks, title
from ingest.gate import decoded

_TEXT: Final = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DC_TITLE: Final = "{http://purl.org/dc/elements/1.1/}title"
_OPF: Final = "{http://www.idpf.org/2007/opf}"
_CONTAINER: Final = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_UNREAD: Final = frozenset({f"{_TEXT}tracked-changes", f"{_TEXT}sequence-decls", f"{_TEXT}table-of-content"})
_REPEATED: Final = f"{_TABLE}number-columns-repeated"
MAX_COLUMNS: Final = 200

HtmlBlocks = Callable[[str], tuple[list[Block], str | None, list[Finding]]]


def odt_blocks(content: bytes) -> tuple[list[Block], str | None, list[Finding]]:
    """Blocks, the title among the file's properties, and findings. Raises `Unparseable`."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        root = _xml(package, "content.xml")
        meta = _xml(package, "meta.xml", needed=False)
        pictures = sum(1 for name in package.namelist() if name.startswith("Pictures/") and not name.endswith("/"))
    body = next(root.iter("{urn:oasis:names:tc:opendocument:xmlns:office:1.0}text"), None)
    if body is None:
        raise Unparseable("The document has no text part: it is damaged. Save it anew, or as DOCX.")
    stated = None if meta is None else meta.findtext(f".//{_DC_TITLE}")
    findings = [partial(f"Text in pictures ({pictures} in the file) was not read.")] if pictures else []
    return list(_odt(body)), stated, findings


def _odt(parent: Any, kind: ElementKind = ElementKind.PARAGRAPH) -> Iterator[Block]:
    for element in parent:
        if element.tag in _UNREAD or not isinstance(element.tag, str):
            continue
        if element.tag == f"{_TEXT}h":
            level = element.get(f"{_TEXT}outline-level", "1")
            yield title(_written(element), level=int(level) if level.isdigit() and len(level) < 3 else 1)
        elif element.tag == f"{_TEXT}p":
            yield Block(kind=kind, text=_written(element))
        elif element.tag == f"{_TABLE}table":
            yield from table_blocks(list(_rows(element)), header=True)
        elif element.tag == f"{_TEXT}list":
            yield from _odt(element, ElementKind.LIST_ITEM)
        else:
            yield from _odt(element, kind)


def _rows(table: Any) -> Iterator[list[str]]:
    for row in table.iter(f"{_TABLE}table-row"):
        cells: list[str] = []
        for cell in row:
            if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                continue
            text = " ".join(_written(line) for line in cell.iter(f"{_TEXT}p"))
            times = cell.get(_REPEATED, "1")
            cells += [text] * (min(MAX_COLUMNS, int(times)) if times.isdigit() and len(times) < 6 else 1)
        yield cells[:MAX_COLUMNS]


def _written(element: Any) -> str:
    """A paragraph's text; a run of spaces, a tab and a line break are elements there."""
    parts = [element.text or ""]
    for child in element:
        parts += (_inline(child), child.tail or "")
    return "".join(parts)


def _inline(child: Any) -> str:
    if child.tag in (f"{_TEXT}tab", f"{_TEXT}s"):
        return " "
    if child.tag == f"{_TEXT}line-break":
        return "\n"
    if child.tag == f"{_TEXT}note":
        return f" [{' '.join(_written(line) for line in child.iter(f'{_TEXT}p'))}]"
    return _written(child) if isinstance(child.tag, str) else ""


def epub_blocks(content: bytes, html_blocks: HtmlBlocks) -> tuple[list[Block], str | None, list[Finding]]:
    """Blocks of the pages in reading order, the book's title, and findings. Raises `Unparseable`."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        container = _xml(package, "META-INF/container.xml")
        place = next((each.get("full-path", "") for each in container.iter(f"{_CONTAINER}rootfile")), "")
        book = _xml(package, place)
        pages = {each.get("id"): each.get("href", "") for each in book.iter(f"{_OPF}item")}
        order = [pages.get(each.get("idref"), "") for each in book.iter(f"{_OPF}itemref")]
        blocks: list[Block] = []
        findings: list[Finding] = []
        missing = 0
        for href in order:
            name = posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(href)))
            if name not in package.namelist():
                missing += 1
                continue
            found, _, told = html_blocks(decoded(package.read(name)))
            blocks.extend(found)
            findings.extend(told)
    if missing:
        findings.append(partial(f"{missing} pages that the book lists are not in the file."))
    return blocks, book.findtext(f".//{_DC_TITLE}"), findings


def _xml(package: zipfile.ZipFile, part: str, *, needed: bool = True) -> Any:
    if part not in package.namelist():
        if not needed:
            return None
        raise Unparseable("The document is damaged: a part that it cannot be without is missing. Save it anew.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        return etree.fromstring(package.read(part), parser)
    except (etree.XMLSyntaxError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise Unparseable(
            "The document is damaged or incomplete: a part of it cannot be read. Save it anew."
        ) from error
