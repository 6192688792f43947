"""XML and JSON to blocks: what data says, each value with its name. Pure but for lxml."""

import json
from collections.abc import Iterator
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

from app.domain.corpus import ElementKind
from app.domain.errors import Unparseable
from ingest.blocks import Block, paragraph, title

MAX_LEVELS: Final = 200
MAX_RECORD_CHARS: Final = 1_500
"""A record with more to say is taken apart, its parts under its name."""

Json = Any
"""What `json` makes of a file: its types say nothing of what is in it."""


def json_blocks(text: str) -> Iterator[Block]:
    """Objects as `name: value` lines, lists item by item, what is in them under their names. Raises `Unparseable`."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise Unparseable("The JSON is nested too deeply to be read. Simplify it.") from error
    except ValueError as error:
        raise Unparseable("The file is not JSON: it is damaged or incomplete. Save it anew.") from error
    yield from _value(value, level=1)


def json_lines_blocks(text: str) -> Iterator[Block]:
    """One JSON value a line. Raises `Unparseable` with the number of a line that is none."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unparseable(f"Line {number} of the file is not JSON. Mend it, or leave it out.") from error
        yield from _value(value, level=1)


def _value(value: Json, *, level: int) -> Iterator[Block]:
    if level > MAX_LEVELS:
        raise Unparseable(f"The JSON is nested deeper than {MAX_LEVELS} levels, the most that is read. Simplify it.")
    whole = _record(value)
    if whole is not None:
        if whole:
            yield Block(kind=ElementKind.PARAGRAPH, text=whole)
        return
    if isinstance(value, list):
        for each in value:
            yield from _value(each, level=level + 1)
        return
    plain = {name: each for name, each in value.items() if not isinstance(each, dict | list)}
    if plain:
        yield paragraph("\n".join(_pair(name, each) for name, each in plain.items() if _said(each)))
    for name, each in value.items():
        if name not in plain:
            yield title(str(name), level=level)
            yield from _value(each, level=level + 1)


def _record(value: Json) -> str | None:
    """A value as one short text; `None` when it is too long or too deep for that."""
    match value:
        case dict():
            inner = [(name, _plain(each)) for name, each in value.items()]
            if any(text is None for _, text in inner):
                return None
            lines = "\n".join(f"{name}: {text}" for name, text in inner if text)
            return lines if len(lines) <= MAX_RECORD_CHARS else None
        case list():
            return _plain(value)
        case _:
            return _said(value)


def _plain(value: Json) -> str | None:
    """A single value, or a list of them, on one line."""
    if isinstance(value, list):
        if any(isinstance(each, dict | list) for each in value):
            return None
        return "; ".join(filter(None, map(_said, value)))
    return None if isinstance(value, dict) else _said(value)


def _pair(name: str, value: Json) -> str:
    return f"{name}: {_said(value)}"


def _said(value: Json) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def xml_blocks(content: bytes) -> tuple[list[Block], bool]:
    """Elements with text under the names of what they are in, and whether it is in truth a page (XHTML).

    Raises `Unparseable`. No entity is resolved, and nothing is fetched.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise Unparseable("The file is not well-formed XML: it is damaged or incomplete. Save it anew.") from error
    if _name(root) == "html":
        return [], True
    return list(_element(root, level=1)), False


def _element(element: Any, *, level: int) -> Iterator[Block]:
    """A record whose parts hold text alone is one block; else text and parts follow each other, under its name."""
    if level > MAX_LEVELS:
        raise Unparseable(f"The XML is nested deeper than {MAX_LEVELS} levels, the most that is read. Simplify it.")
    parts = [part for part in element if isinstance(part.tag, str)]
    attributes = [f"{etree.QName(name).localname}: {value}" for name, value in element.attrib.items() if value.strip()]
    own = " ".join((element.text or "").split())
    if not parts:
        if lines := [*attributes, *([f"{_name(element)}: {own}"] if own else [])]:
            yield paragraph("\n".join(lines))
        return
    mixed = own or any((part.tail or "").strip() for part in parts)
    flat = all(not len(part) for part in parts)
    if mixed and flat:
        yield paragraph(" ".join(" ".join(element.itertext()).split()))
        return
    lines = [*attributes, *(f"{_name(part)}: {text}" for part in parts if (text := _text(part)))]
    if flat and sum(map(len, lines)) <= MAX_RECORD_CHARS:
        if lines:
            yield paragraph("\n".join(lines))
        return
    yield title(_name(element), level=level)
    if attributes or own:
        yield paragraph("\n".join(filter(None, (*attributes, own))))
    for part in parts:
        yield from _element(part, level=level + 1)
        if tail := " ".join((part.tail or "").split()):
            yield paragraph(tail)


def _text(element: Any) -> str:
    said = [*(value for value in element.attrib.values() if value.strip()), " ".join((element.text or "").split())]
    return " ".join(filter(None, said))


def _name(element: Any) -> str:
    return str(etree.QName(element).localname)
