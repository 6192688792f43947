"""Original bytes to `Parsed`. Imported in the sandbox process only.

unstructured reads HTML, DOCX and PPTX; PDF, XLSX, CSV, Markdown and plain text have readers of our own, each of which
says why. What counts as a heading is taken from the document (`h2`, `Heading 2`, a slide's title) and never from
grammar, so the language model that unstructured would download is not needed: see `_quiet_unstructured`.
"""

import io
import os
import re
import sys
import types
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

from app.domain.corpus import ElementKind, Finding, FindingCode, Parsed
from app.domain.errors import NeedsOcr, NoText, TooLarge, Unparseable, UnsupportedMedia
from ingest.blocks import Block, assembled, looks_like_header, paragraph, partial, table_blocks, title
from ingest.data_reader import json_blocks, json_lines_blocks, xml_blocks
from ingest.gate import MAX_HTML_DEPTH, PICTURES, MediaType, decoded
from ingest.hidden_html import without_hidden
from ingest.office_converter import CONVERTED, converted
from ingest.ooxml import as_transitional, without_hidden_runs
from ingest.package_reader import epub_blocks, odt_blocks


def _quiet_unstructured() -> None:
    """Make unstructured importable without network, telemetry, spaCy or torch. Call before it is first imported.

    It tags parts of speech to tell titles from sentences by grammar (through spaCy: 4 s and 240 MB, torch among them,
    and a model downloaded at first use). None of that decides anything here, so two modules are stood in for: a
    tokenizer that finds one sentence without a verb in everything, and an empty list of English words.
    """
    os.environ.update(DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="1", UNSTRUCTURED_DISABLE_NOTICE="1")
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    tokenize: Any = types.ModuleType("unstructured.nlp.tokenize")
    tokenize.sent_tokenize = _one_sentence
    tokenize.word_tokenize = re.compile(r"\w+|[^\w\s]").findall
    tokenize.pos_tag = _no_tags
    words: Any = types.ModuleType("unstructured.nlp.english_words")
    words.ENGLISH_WORDS = frozenset[str]()
    sys.modules.setdefault(tokenize.__name__, tokenize)
    sys.modules.setdefault(words.__name__, words)


def _one_sentence(text: str) -> list[str]:
    return [text]


def _no_tags(text: str) -> list[tuple[str, str]]:
    return []


_quiet_unstructured()

from unstructured.documents import elements as un  # noqa: E402
from unstructured.partition.docx import partition_docx  # noqa: E402
from unstructured.partition.html import parser as html_parser  # noqa: E402
from unstructured.partition.html import partition_html  # noqa: E402
from unstructured.partition.pptx import partition_pptx  # noqa: E402
from unstructured.partition.text_type import is_bulleted_text  # noqa: E402

from ingest.mail_reader import mail_blocks  # noqa: E402
from ingest.ocr import picture_blocks  # noqa: E402
from ingest.pdf_reader import pdf_blocks  # noqa: E402
from ingest.sheet_reader import old_sheet_file_blocks, sheet_file_blocks  # noqa: E402
from ingest.text_reader import (  # noqa: E402
    csv_blocks,
    markdown_blocks,
    markdown_title,
    org_blocks,
    org_title,
    rst_blocks,
    text_blocks,
)


def _type_from_text(text: str) -> type[un.Text]:
    return un.ListItem if is_bulleted_text(text) else un.Text


# The original drops texts of one character, such as the 7 in `<div>7</div>`.
html_parser.derive_element_type_from_text = _type_from_text

MAX_TEXT_CHARS: Final = 20_000_000
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".emf", ".wmf", ".svg", ".webp")

_IN_PICTURES: Final = re.compile(r"Text in pictures ")

Findings = list[Finding]


def parse_file(content: bytes, media_type: str) -> Parsed:
    """What an admitted file says. Raises `Unparseable`, `UnsupportedMedia` or `TooLarge`; anything else is a bug of
    a reader, or the file's doing, and the sandbox's to report."""
    read = _READERS.get(media_type)
    if read is None:
        raise UnsupportedMedia(f"Nothing here reads files of type {media_type!r}.")
    parsed = _little_told(read(content), len(content), media_type)
    if not parsed.text:
        if any(_IN_PICTURES.match(each.detail) for each in parsed.findings):
            raise NeedsOcr("The document holds no text, only pictures: it has to be read off them. Send it as a PDF.")
        raise NoText(
            "The document holds no text that can be read. If it shows any, that is in shapes: send it as a PDF."
        )
    if len(parsed.text) > MAX_TEXT_CHARS:
        raise TooLarge(f"The document holds more than {MAX_TEXT_CHARS:,} characters of text, the most that is read.")
    return parsed


_LITTLE: Final = 2_000
"""Bytes a character of text: above it, most of a file must be something else."""
LITTLE_MATTERS_FROM_BYTES: Final = 100_000


def _little_told(parsed: Parsed, size_bytes: int, media_type: str) -> Parsed:
    """That a large file gave little text, if nothing else explains it."""
    explained = {FindingCode.PARTIAL, FindingCode.NEEDS_OCR, FindingCode.OCR, FindingCode.ATTACHMENT}
    large = size_bytes >= LITTLE_MATTERS_FROM_BYTES and media_type not in (*PICTURES, MediaType.EML)
    if not large or size_bytes < _LITTLE * len(parsed.text) or explained & {each.code for each in parsed.findings}:
        return parsed
    told = partial(f"Little text was found for the size of the file: {len(parsed.text):,} characters.")
    return replace(parsed, findings=(*parsed.findings, told))


# -- formats with a reader of their own ----------------------------------------------------------------------------


def _pdf(content: bytes) -> Parsed:
    blocks, stated, findings = pdf_blocks(content)
    return assembled(blocks, parser=f"pypdfium2 {version('pypdfium2')}", title=stated, findings=findings)


def _xlsx(content: bytes) -> Parsed:
    content, told = as_transitional(content)
    blocks, stated, findings = sheet_file_blocks(content)
    return assembled(blocks, parser=f"openpyxl {version('openpyxl')}", title=stated, findings=[*told, *findings])


def _csv(content: bytes) -> Parsed:
    blocks, findings = csv_blocks(decoded(content))
    return assembled(blocks, parser=_OURS, findings=findings)


def _markdown(content: bytes) -> Parsed:
    text = decoded(content)
    blocks, findings = markdown_blocks(text)
    return assembled(blocks, parser=_OURS, title=markdown_title(text), findings=findings)


def _text(content: bytes) -> Parsed:
    return assembled(text_blocks(decoded(content)), parser=_OURS)


def _rst(content: bytes) -> Parsed:
    return assembled(rst_blocks(decoded(content)), parser=_OURS)


def _org(content: bytes) -> Parsed:
    text = decoded(content)
    return assembled(org_blocks(text), parser=_OURS, title=org_title(text))


def _json(content: bytes) -> Parsed:
    return assembled(json_blocks(decoded(content)), parser=_OURS)


def _json_lines(content: bytes) -> Parsed:
    return assembled(json_lines_blocks(decoded(content)), parser=_OURS)


def _xml_file(content: bytes) -> Parsed:
    blocks, is_page = xml_blocks(content)
    return _html(content) if is_page else assembled(blocks, parser=f"lxml {version('lxml')}")


def _xls(content: bytes) -> Parsed:
    blocks, findings = old_sheet_file_blocks(content)
    return assembled(blocks, parser=f"xlrd {version('xlrd')}", findings=findings)


def _odt(content: bytes) -> Parsed:
    blocks, stated, findings = odt_blocks(content)
    return assembled(blocks, parser=_OURS, title=stated, findings=findings)


def _epub(content: bytes) -> Parsed:
    blocks, stated, findings = epub_blocks(content, html_blocks)
    return assembled(blocks, parser=_UNSTRUCTURED, title=stated, findings=findings)


def _picture(content: bytes) -> Parsed:
    blocks, findings = picture_blocks(content)
    if not blocks:
        raise NoText("No text was found in the picture. Send one that shows some, larger or sharper.")
    return assembled(blocks, parser="tesseract", findings=findings)


def _through_office(media_type: MediaType) -> Callable[[bytes], Parsed]:
    def read(content: bytes) -> Parsed:
        new, becomes = converted(content, media_type)
        parsed = _READERS[becomes](new)
        return replace(parsed, parser=f"libreoffice, {parsed.parser}")

    return read


_OURS: Final = f"muniment {version('muniment')}"
_UNSTRUCTURED: Final = f"unstructured {version('unstructured')}"

# -- unstructured's elements ---------------------------------------------------------------------------------------


def _blocks(elements: Iterable[un.Element]) -> Iterator[Block]:
    """Elements as blocks. A `Title` counts as one as far as the partitioner of its format has it from the document."""
    for element in elements:
        meta = element.metadata
        if isinstance(element, un.Table):
            rows, header = table_rows(meta.text_as_html or "")
            if rows:
                yield from table_blocks(rows, header=header, page=meta.page_number)
            else:
                yield Block(kind=ElementKind.TABLE, text=element.text, page=meta.page_number)
            continue
        yield Block(
            kind=_kind(element),
            text=element.text,
            level=1 + (meta.category_depth or 0),
            page=meta.page_number,
        )


def _kind(element: un.Element) -> ElementKind:
    match element:
        case un.Title():
            return ElementKind.TITLE
        case un.ListItem():
            return ElementKind.LIST_ITEM
        case un.Header() | un.Footer() | un.Image() | un.CodeSnippet() | un.Formula():
            return ElementKind.OTHER
        case _:
            return ElementKind.PARAGRAPH


MAX_SPAN: Final = 100
MAX_SPREAD_CELLS: Final = 100_000


def table_rows(html: str) -> tuple[list[list[str]], bool]:
    """The rows of an HTML table, a cell over several rows in each of them, and whether the first is a header."""
    root = etree.fromstring(html, _html_parser()) if html.strip() else None
    table = None if root is None else root.find(".//table")
    if table is None:
        return [], False
    _spread(table)
    rows = [list(row.iterchildren("td", "th")) for row in table.iter("tr")]
    texts = [[" ".join("".join(cell.itertext()).split()) for cell in row] for row in rows]
    return texts, bool(rows and any(cell.tag == "th" for cell in rows[0])) or looks_like_header(texts)


def _spread(table: Any) -> None:
    """Give each place of a table a cell of its own: a cell over rows is repeated in them, beside one over columns
    stand empty ones. (Of a table in a table, the inner one is left to its own turn.)"""
    hanging: dict[int, tuple[int, Any]] = {}
    added = 0
    for row in _own_rows(table):
        at = 0
        for cell in list(row.iterchildren("td", "th")):
            at = _hang(row, cell, at, hanging)
            down, across = _span(cell.attrib.pop("rowspan", None)), _span(cell.attrib.pop("colspan", None))
            for place in range(across if added < MAX_SPREAD_CELLS else 1):
                if place:
                    cell.addnext(etree.Element(cell.tag))
                if down > 1:
                    hanging[at + place] = (down, None if place else cell)
                added += 1
            at += across
        _hang(row, None, at, hanging)
        hanging = {at: (left - 1, cell) for at, (left, cell) in hanging.items() if left > 1}


def _own_rows(table: Any) -> list[Any]:
    inner = {row for nested in table.iter("table") if nested is not table for row in nested.iter("tr")}
    return [row for row in table.iter("tr") if row not in inner]


def _hang(row: Any, before: Any, at: int, hanging: dict[int, tuple[int, Any]]) -> int:
    """Fill the places that cells of earlier rows reach down into; the first free place after them."""
    while at in hanging and hanging[at][0] > 0:
        cell = hanging[at][1]
        copy = etree.Element("td")
        if cell is not None:
            copy.text = " ".join("".join(cell.itertext()).split())
        if before is None:
            row.append(copy)
        else:
            before.addprevious(copy)
        at += 1
    return at


def _span(stated: str | None) -> int:
    return min(MAX_SPAN, int(stated)) if stated and re.fullmatch(r"[1-9]\d{0,4}", stated) else 1


# -- HTML ----------------------------------------------------------------------------------------------------------


def _html_parser(*, remove_comments: bool = True) -> etree.HTMLParser:
    return etree.HTMLParser(
        encoding="utf-8", huge_tree=True, no_network=True, remove_comments=remove_comments, remove_pis=True
    )


def _html(content: bytes) -> Parsed:
    blocks, stated, findings = html_blocks(decoded(content))
    return assembled(blocks, parser=_UNSTRUCTURED, title=stated, findings=findings)


_SHOWN_AS: Final = {
    "main": "div", "nav": "div", "details": "div", "figure": "div", "form": "div", "fieldset": "div", "dialog": "div",
    "summary": "p", "figcaption": "p", "legend": "p",
    "label": "span", "button": "span", "del": "s",
}  # fmt: skip
"""Tags that unstructured drops with their text, or keeps alone, and plain ones that say the same."""


def html_blocks(html: str) -> tuple[list[Block], str | None, Findings]:
    """Blocks of all that a page shows, its title, and what it holds and does not show. Raises `Unparseable` for
    nesting that libxml2 would cut off."""
    root = etree.fromstring(html.encode("utf-8", "replace"), _html_parser(remove_comments=False))
    if root is None:
        return [], None, []
    _check_depth(root)
    findings = without_hidden(root)
    found = root.find(".//title")
    stated = None if found is None else "".join(found.itertext())
    for tag in root.iter(*_SHOWN_AS):
        tag.tag = _SHOWN_AS[tag.tag]
    for caption in list(root.iter("caption")):
        _lift(caption)
    for table in root.iter("table"):
        _spread(table)
    text = etree.tostring(root, encoding="unicode", method="html")
    return list(_blocks(partition_html(text=text, languages=[""], unique_element_ids=True))), stated, findings


def _lift(caption: Any) -> None:
    """Put a table's caption before the table, as a paragraph."""
    table = next(caption.iterancestors("table"), None)
    if table is None or table.getparent() is None:
        return
    caption.getparent().remove(caption)
    caption.tag, caption.tail = "p", None
    table.addprevious(caption)


def _check_depth(root: Any) -> None:
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_HTML_DEPTH:
            raise Unparseable(f"The HTML is nested deeper than {MAX_HTML_DEPTH} levels, the most that is read.")


# -- DOCX ----------------------------------------------------------------------------------------------------------

_BOLD_TITLE_LEVEL: Final = 20
"""Below every heading style."""


def _docx(content: bytes) -> Parsed:
    content, told = as_transitional(content)
    content, unseen = without_hidden_runs(content)
    elements = partition_docx(file=io.BytesIO(content), languages=[""], unique_element_ids=True)
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        blocks = [*_docx_blocks(elements), *_notes(package), *_text_boxes(package)]
        return assembled(
            blocks,
            parser=_UNSTRUCTURED,
            title=_office_title(package),
            findings=[*told, *unseen, *_office_findings(package, "word")],
        )


def _docx_blocks(elements: list[un.Element]) -> Iterator[Block]:
    """As `_blocks`, short paragraphs wholly in bold as headings of their own, and running heads and feet last, once."""
    running: dict[str, Block] = {}
    for element in elements:
        if isinstance(element, un.Header | un.Footer):
            running.setdefault(element.text, Block(kind=ElementKind.OTHER, text=element.text, apart=True))
        elif type(element) in (un.Text, un.NarrativeText) and _is_bold_title(element):
            yield title(element.text, level=_BOLD_TITLE_LEVEL, page=element.metadata.page_number)
        else:
            yield from _blocks([element])
    yield from running.values()


def _is_bold_title(element: un.Element) -> bool:
    text = element.text.strip()
    if len(text) > 100 or text.endswith((".", ",", ";", ":")) or not any(map(str.isalpha, text)):
        return False
    contents = element.metadata.emphasized_text_contents or []
    tags = element.metadata.emphasized_text_tags or []
    bold = "".join(part for part, tag in zip(contents, tags, strict=False) if tag == "b")
    return "".join(bold.split()) == "".join(text.split())


_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_WP: Final = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_MC: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"


def _notes(package: zipfile.ZipFile) -> Iterator[Block]:
    """Footnotes and endnotes, which unstructured passes over, each with its number."""
    for part, tag in (("word/footnotes.xml", "footnote"), ("word/endnotes.xml", "endnote")):
        root = _xml(package, part)
        notes = [] if root is None else [note for note in root.iter(_W + tag) if note.get(_W + "type") is None]
        for number, note in enumerate(notes, start=1):
            if text := _runs(note):
                yield Block(kind=ElementKind.OTHER, text=f"[{number}] {text}", apart=True)


def _text_boxes(package: zipfile.ZipFile) -> Iterator[Block]:
    """Text in shapes beside the text, which unstructured passes over."""
    root = _xml(package, "word/document.xml")
    for box in () if root is None else root.iter(_W + "txbxContent"):
        around = {ancestor.tag for ancestor in box.iterancestors()}
        if _MC + "Fallback" in around or _WP + "inline" in around:
            continue
        if text := _runs(box):
            yield Block(kind=ElementKind.OTHER, text=text, apart=True)


def _runs(node: Any) -> str:
    """The text of a node's paragraphs, a line each."""
    lines = ("".join(run.text or "" for run in line.iter(_W + "t")) for line in node.iter(_W + "p"))
    return "\n".join(filter(str.strip, lines))


def _xml(package: zipfile.ZipFile, part: str) -> Any:
    if part not in package.namelist():
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True, huge_tree=True)
    return etree.fromstring(package.read(part), parser)


_TITLE: Final = "{http://purl.org/dc/elements/1.1/}title"
_NO_TITLE: Final = re.compile(
    r"\W*|(?:powerpoint|word) (?:presentation|document)|(?:slide|folie|document)\s*\d*", re.IGNORECASE
)


def _office_title(package: zipfile.ZipFile) -> str | None:
    """The title among the file's properties, unless the program put it there."""
    root = _xml(package, "docProps/core.xml")
    found = None if root is None else root.find(f".//{_TITLE}")
    stated = "" if found is None else (found.text or "").strip()
    return None if _NO_TITLE.fullmatch(stated) else stated


def _office_findings(package: zipfile.ZipFile, folder: str) -> Findings:
    """What is shown and was not read, by the parts that are there."""
    names = package.namelist()
    pictures = sum(1 for name in names if name.startswith(f"{folder}/media/") and name.lower().endswith(_PICTURES))
    charts = sum(1 for name in names if re.fullmatch(rf"{folder}/charts/chart\d*\.xml", name))
    diagrams = sum(1 for name in names if re.fullmatch(rf"{folder}/diagrams/data\d*\.xml", name))
    counted = ((pictures, "pictures"), (charts, "charts"), (diagrams, "diagrams"))
    return [partial(f"Text in {kind} ({count} in the file) was not read.") for count, kind in counted if count]


# -- PPTX ----------------------------------------------------------------------------------------------------------


def _pptx(content: bytes) -> Parsed:
    content, told = as_transitional(content)
    elements = partition_pptx(
        file=io.BytesIO(content), include_slide_notes=True, languages=[""], unique_element_ids=True
    )
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        return assembled(
            _slide_blocks(elements),
            parser=_UNSTRUCTURED,
            title=_office_title(package),
            findings=[*told, *_office_findings(package, "ppt")],
        )


def _slide_blocks(elements: Iterable[un.Element]) -> Iterator[Block]:
    """Slide by slide: its title, what is on it, its notes. What unstructured only guesses to be a title is text."""
    slides: dict[int, list[un.Element]] = {}
    for element in elements:
        if not isinstance(element, un.PageBreak):
            slides.setdefault(element.metadata.page_number or 0, []).append(element)
    for page, shown in slides.items():
        heads = [element for element in shown if _is_slide_title(element)]
        notes = [element for element in shown if _is_note(element)]
        rest = [element for element in shown if element not in heads and element not in notes]
        blocks = [
            *(title(head.text, level=1, page=page) for head in heads[:1]),
            *(_demoted(block) for block in _blocks([*heads[1:], *rest])),
            *(Block(kind=ElementKind.OTHER, text=note.text, page=page) for note in notes),
        ]
        yield from (replace(block, apart=not heads) for block in blocks)


def _is_slide_title(element: un.Element) -> bool:
    return isinstance(element, un.Title) and element.metadata.category_depth == 0


def _is_note(element: un.Element) -> bool:
    # The only elements of a slide that are narrative for another reason than their grammar.
    return isinstance(element, un.NarrativeText)


def _demoted(block: Block) -> Block:
    return paragraph(block.text, page=block.page) if block.kind is ElementKind.TITLE else block


# -- e-mail --------------------------------------------------------------------------------------------------------


def _eml(content: bytes) -> Parsed:
    blocks, subject, mail = mail_blocks(content, html_blocks)
    return assembled(blocks, parser=_UNSTRUCTURED, title=subject, findings=mail.findings, attachments=mail.attachments)


_READERS: Final[dict[str, Callable[[bytes], Parsed]]] = {
    MediaType.PDF: _pdf,
    MediaType.DOCX: _docx,
    MediaType.PPTX: _pptx,
    MediaType.XLSX: _xlsx,
    MediaType.HTML: _html,
    MediaType.MARKDOWN: _markdown,
    MediaType.TXT: _text,
    MediaType.CSV: _csv,
    MediaType.EML: _eml,
    MediaType.XML: _xml_file,
    MediaType.JSON: _json,
    MediaType.JSONL: _json_lines,
    MediaType.RST: _rst,
    MediaType.ORG: _org,
    MediaType.EPUB: _epub,
    MediaType.ODT: _odt,
    MediaType.XLS: _xls,
    **dict.fromkeys(PICTURES, _picture),
    **{old: _through_office(old) for old in CONVERTED},
}


def warm_up() -> None:
    """Read a little of what loads more at first use, so that forked readers need not."""
    parse_file(b"<h1>Warm</h1><ul><li>up</ul><table><tr><td>a<td>b</table>", MediaType.HTML)
