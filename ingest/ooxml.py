"""Office files made readable: strict ones as the transitional ones that libraries know, and without hidden text."""

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

from app.domain.corpus import Finding
from ingest.blocks import hidden, partial

_STRICT: Final = b"http://purl.oclc.org/ooxml/"
_NAMESPACES: Final = (
    (b"officeDocument/extendedProperties", b"officeDocument/2006/extended-properties"),
    (b"officeDocument/customProperties", b"officeDocument/2006/custom-properties"),
    (b"officeDocument/", b"officeDocument/2006/"),
    (b"wordprocessingml/", b"wordprocessingml/2006/"),
    (b"spreadsheetml/", b"spreadsheetml/2006/"),
    (b"presentationml/", b"presentationml/2006/"),
    (b"drawingml/", b"drawingml/2006/"),
)
"""ISO/IEC 29500-4 names what 29500-1 does, in other namespaces."""
_PARTS_WITH_ROOT: Final = ("word/document.xml", "xl/workbook.xml", "ppt/presentation.xml")

_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_SHOWN_ANYHOW: Final = frozenset({"0", "false", "off"})
_TINY_HALF_POINTS: Final = 3
_MAY_HIDE: Final = re.compile(rb"<w:vanish\b|<w:sz w:val=\"[0-3]\"")


def as_transitional(content: bytes) -> tuple[bytes, list[Finding]]:
    """A strict file under the namespaces that libraries know, and that it was; any other as it is."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        roots = [package.read(name)[:4096] for name in _PARTS_WITH_ROOT if name in package.namelist()]
    if not any(_STRICT in root for root in roots):
        return content, []
    told = partial("The file is in the strict form of Office Open XML: some of what it shows may not have been read.")
    return _rewritten(content, lambda _, part: _renamed(part)), [told]


def _renamed(part: bytes) -> bytes:
    for strict, known in _NAMESPACES:
        part = part.replace(_STRICT + strict, b"http://schemas.openxmlformats.org/" + known)
    return part


def without_hidden_runs(content: bytes) -> tuple[bytes, list[Finding]]:
    """A DOCX without the runs that are marked as hidden or set too small to be seen, and how many there were."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        names = [name for name in package.namelist() if re.fullmatch(r"word/[a-z]+\d*\.xml", name)]
        if not any(_MAY_HIDE.search(package.read(name)) for name in names if name != "word/styles.xml"):
            return content, []
    passages = characters = 0

    def seen(name: str, part: bytes) -> bytes:
        nonlocal passages, characters
        if name not in names or name == "word/styles.xml" or not _MAY_HIDE.search(part):
            return part
        root = etree.fromstring(part, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
        for run in list(root.iter(f"{_W}r")):
            text = "".join(each.text or "" for each in run.iter(f"{_W}t"))
            if text.strip() and _is_hidden(run):
                passages += 1
                characters += len(text)
                run.getparent().remove(run)
        result: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
        return result

    content = _rewritten(content, seen)
    detail = f"{passages} passages with {characters} characters that are hidden in the document were left out."
    return content, [hidden(detail)] if passages else []


def _is_hidden(run: Any) -> bool:
    properties = run.find(f"{_W}rPr")
    if properties is None:
        return False
    vanish, size = properties.find(f"{_W}vanish"), properties.find(f"{_W}sz")
    if vanish is not None and vanish.get(f"{_W}val", "1") not in _SHOWN_ANYHOW:
        return True
    stated = "" if size is None else size.get(f"{_W}val", "")
    return stated.isdigit() and int(stated) <= _TINY_HALF_POINTS


def _rewritten(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The package with its XML parts changed, and nothing compressed: it is read once and thrown away."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as package, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as changed:
        for entry in package.infolist():
            part = package.read(entry)
            is_xml = entry.filename.endswith((".xml", ".rels"))
            changed.writestr(entry.filename, change(entry.filename, part) if is_xml else part)
    return out.getvalue()
