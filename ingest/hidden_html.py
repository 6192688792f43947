"""What a page holds and does not show, taken out of its tree before it is read: text meant for machines alone.

Judged by what the page itself says: attributes, inline styles, and the rules of its own style sheets whose selector is
one tag, class or id. No layout is computed, so what a script or a sheet elsewhere hides stays.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

from app.domain.corpus import Finding
from ingest.blocks import hidden

Style = Mapping[str, str]

_NEVER_SHOWN: Final = frozenset({"template", "noscript", "noframes", "noembed", "datalist", "rp"})
_NO_TEXT: Final = frozenset({"script", "style", "head", "title"})
_FAR_PX: Final = 500.0
"""Text moved this far left of or above its place is off every screen."""
_FAR_RIGHT_PX: Final = 5_000.0
_NEAR: Final = 12
"""Colours that differ by no more in red, green and blue each cannot be told apart."""
_TINY_PX: Final = 2.0
_PX: Final[Mapping[str, float]] = {"px": 1.0, "": 1.0, "pt": 4 / 3, "em": 16.0, "rem": 16.0, "ex": 8.0, "%": 0.16,
                                   "vw": 10.0, "vh": 10.0, "in": 96.0, "cm": 38.0, "mm": 3.8}  # fmt: skip
_LENGTH: Final = re.compile(r"(-?\d{0,9}\.?\d{1,9}|-?\d{1,9}\.)(px|pt|em|rem|ex|%|vw|vh|in|cm|mm|)")
_COLOURS: Final[Mapping[str, str]] = {
    "white": "ffffff", "black": "000000", "red": "ff0000", "lime": "00ff00", "blue": "0000ff", "yellow": "ffff00",
    "gray": "808080", "grey": "808080", "silver": "c0c0c0", "snow": "fffafa",
}  # fmt: skip
_RGB: Final = re.compile(r"rgba?\(\s*(\d{1,3})\s*[, ]\s*(\d{1,3})\s*[, ]\s*(\d{1,3})\s*(?:[,/]\s*([\d.]{1,9}%?)\s*)?\)")
_GREY: Final = re.compile(
    r"rgb\(\s*(\d{1,3})%[\s,]+\1%[\s,]+\1%\s*\)|hsl\([^,\s]{1,9}[\s,]+(?:0%[\s,]+(?=\d)|\d{1,3}%[\s,]+(?=0%|100%))(\d{1,3})%\s*\)"
)
"""Greys, white and black written in shares; other colours written so are none that is known."""
_ESCAPE: Final = re.compile(r"\\([0-9A-Fa-f]{1,6})\s?")
_RULE: Final = re.compile(r"([^{}@]{1,2000})\{([^{}]{0,5000})\}")
_SIMPLE: Final = re.compile(r"([a-z][a-z0-9]*)?(?:([.#])([A-Za-z_][\w-]*))?")
_MAX_RULES: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What text would be written in and on, as far as the page says."""

    colour: str | None
    background: str | None


@dataclass(slots=True)
class _Count:
    passages: int = 0
    characters: int = 0
    comments: int = 0


def without_hidden(root: Any) -> list[Finding]:
    """Take hidden elements and comments out of a page, each with its text; what comes after them stays. Tells it."""
    count = _Count()
    sheets = _Sheets(root)
    for comment in list(root.iter(etree.Comment)):
        text = (comment.text or "").strip()
        count.comments += bool(re.search(r"\w", text)) and not text.startswith(("[if", "<![endif"))
        _remove(comment)
    # A page that no sheet paints is white.
    start = _Ground(colour=None, background="ffffff" if sheets.unpainted else None)
    _walk(root, start, sheets, count)
    return list(_told(count))


def _told(count: _Count) -> Iterator[Finding]:
    if count.passages:
        yield hidden(
            f"Left out as readers of the page do not see it: {count.passages} passage(s) of {count.characters} "
            "characters."
        )
    if count.comments:
        yield hidden(f"Left out as readers of the page do not see it: {count.comments} comment(s).")


def _walk(element: Any, ground: _Ground, sheets: "_Sheets", count: _Count) -> None:
    """Depth is bounded: the page was refused if it is nested too deeply."""
    if not isinstance(element.tag, str) or element.tag in _NO_TEXT:
        return
    style = sheets.of(element)
    filled = style.get("-webkit-text-fill-color")
    colour = _stated(
        filled or style.get("color") or (element.get("color") if element.tag == "font" else None), "some ink"
    )
    background = _background(style) or _stated(element.get("bgcolor"), "some paint")
    ground = _Ground(colour=colour or ground.colour, background=background or ground.background)
    if element.tag in _NEVER_SHOWN or (element.tag not in ("html", "body") and _hides(element, style)):
        text = " ".join("".join(element.itertext()).split())
        count.passages += bool(text)
        count.characters += len(text)
        _remove(element)
        return
    if ground.colour is not None and (ground.colour == "transparent" or _alike(ground.colour, ground.background)):
        _blank(element, count)
    for child in list(element):
        _walk(child, ground, sheets, count)


def _blank(element: Any, count: _Count) -> None:
    """Take out an element's own text: inside it, other colours may be used."""
    own = [element.text or "", *(child.tail or "" for child in element)]
    characters = len(" ".join("".join(own).split()))
    if characters:
        count.passages += 1
        count.characters += characters
        element.text = None
        for child in element:
            child.tail = None


def _remove(element: Any) -> None:
    parent = element.getparent()
    if parent is None:
        element.text = None
        for child in list(element):
            element.remove(child)
        return
    if element.tail:
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + element.tail
        else:
            before.tail = (before.tail or "") + element.tail
    parent.remove(element)


def _hides(element: Any, style: Style) -> bool:
    if "hidden" in element.attrib and element.get("hidden", "").lower() != "until-found":
        return True
    if element.tag == "dialog" and "open" not in element.attrib:
        return True
    if style.get("display") == "none" or style.get("visibility") in ("hidden", "collapse"):
        return True
    if style.get("content-visibility") == "hidden" or _share(style.get("zoom")) == 0:
        return True
    filtered = re.search(r"opacity\(\s*([\d.]{1,9}%?)\s*\)", style.get("filter", ""))
    shares = [_share(style.get("opacity")), _share(filtered.group(1) if filtered else None)]
    if any(share is not None and share <= 0.02 for share in shares):
        return True
    size = _px(style.get("font-size") or style.get("font", "").partition("/")[0].rpartition(" ")[2])
    if size is not None and size < _TINY_PX:
        return True
    return _out_of_sight(style) or _no_room(style)


def _out_of_sight(style: Style) -> bool:
    moved = [_px(style.get("text-indent"))]
    if style.get("position") in ("absolute", "fixed"):
        away = [_px(style.get(side)) for side in ("left", "right")]
        if any(px is not None and px >= _FAR_RIGHT_PX for px in away):
            return True
        moved += [_px(style.get(side)) for side in ("left", "top", "right", "bottom")]
        clip = "".join(style.get("clip", "").split())
        if re.fullmatch(r"rect\(([01](?:px)?,?){4}\)", clip):
            return True
    moved += [_px(style.get(side)) for side in ("margin-left", "margin-top")]
    if any(px is not None and px <= -_FAR_PX for px in moved):
        return True
    if re.match(r"inset\((?:50|100)%", style.get("clip-path", "")):
        return True
    transform = "".join(style.get("transform", "").split())
    return bool(re.search(r"scale[xy]?\(0(?:\.0+)?\)|translate[xy]?\(-\d{4,}px", transform))


def _no_room(style: Style) -> bool:
    if style.get("overflow", "visible") not in ("hidden", "clip"):
        return False
    room = [_px(style.get(side)) for side in ("width", "height", "max-width", "max-height")]
    return any(px is not None and px <= 1 for px in room)


def _background(style: Style) -> str | None:
    for value in (style.get("background-color"), style.get("background")):
        if value is None:
            continue
        if found := _colour(value) or next((c for word in value.split() if (c := _colour(word))), None):
            return None if found == "transparent" else found
        return None if value in ("none", "inherit", "initial", "unset") else "some paint"
    return "some paint" if "background-image" in style else None


def _stated(value: str | None, unknown: str) -> str | None:
    """A colour that is stated, be it one that is not known here; `None` where none is, or the one around it holds."""
    if value is None or value in ("", "inherit", "currentcolor", "initial", "unset"):
        return None
    return _colour(value) or unknown


def _colour(value: str | None) -> str | None:
    """A colour as six hex digits, `transparent`, or `None` for what is not known."""
    named = (value or "").strip().lower()
    if named in _COLOURS or named == "transparent":
        return _COLOURS.get(named, named)
    if re.fullmatch(r"#?[0-9a-f]{6}", named):
        return named[-6:]
    if re.fullmatch(r"#[0-9a-f]{3}", named):
        return "".join(2 * digit for digit in named[1:])
    if re.fullmatch(r"#[0-9a-f]{4}", named):
        named = "#" + "".join(2 * digit for digit in named[1:])
    if re.fullmatch(r"#[0-9a-f]{8}", named):
        return "transparent" if int(named[7:], 16) <= 5 else named[1:7]
    if grey := _GREY.fullmatch(named):
        return 3 * f"{round(min(100.0, float(grey.group(1) or grey.group(2))) * 2.55):02x}"
    if found := _RGB.fullmatch(named):
        if found.group(4) is not None and (_number(found.group(4).rstrip("%")) or 0.0) <= 0.02:
            return "transparent"
        return "".join(f"{min(255, int(part)):02x}" for part in found.groups()[:3])
    return None


def _alike(one: str, other: str | None) -> bool:
    if one == other or other is None:
        return one == other
    if not (re.fullmatch(r"[0-9a-f]{6}", one) and re.fullmatch(r"[0-9a-f]{6}", other)):
        return False
    return all(abs(int(one[at : at + 2], 16) - int(other[at : at + 2], 16)) <= _NEAR for at in (0, 2, 4))


def _share(value: str | None) -> float | None:
    """A number, or a percentage as one."""
    if value is not None and value.endswith("%"):
        percent = _number(value[:-1])
        return None if percent is None else percent / 100
    return _number(value)


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"\d{0,9}\.?\d{1,9}", value) else None


def _px(value: str | None) -> float | None:
    found = _LENGTH.fullmatch(value or "")
    return float(found.group(1)) * _PX[found.group(2)] if found else None


def _declarations(text: str) -> dict[str, str]:
    """Of the same property, the last; `!important` is taken as said."""
    found: dict[str, str] = {}
    text = _ESCAPE.sub(lambda code: chr(min(int(code.group(1), 16), 0xFFFF)), text)
    for declaration in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).split(";"):
        name, colon, value = declaration.partition(":")
        if colon:
            found[name.strip().lower()] = value.lower().replace("!important", "").strip()
    return found


class _Sheets:
    """The rules of a page's own style sheets, as far as their selectors are simple, and inline styles over them."""

    def __init__(self, root: Any) -> None:
        self._rules: dict[tuple[str, str, str], dict[str, str]] = {}
        links = any("stylesheet" in (link.get("rel") or "").lower() for link in root.iter("link"))
        texts = [text for style in root.iter("style") if (text := "".join(style.itertext())).strip()]
        for text in texts:
            self._add(text)
        self.unpainted = not links and not any("background" in text for text in texts)

    def of(self, element: Any) -> Style:
        tag, found = element.tag, {}
        keys = [(tag, "", "")]
        keys += [(each, ".", name) for name in (element.get("class") or "").split() for each in ("", tag)]
        keys += [(each, "#", element.get("id", "")) for each in ("", tag)]
        if self._rules:
            for key in keys:
                found.update(self._rules.get(key, {}))
        if stated := element.get("style"):
            found.update(_declarations(stated))
        return found

    def _add(self, text: str) -> None:
        plain = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for rule in _RULE.finditer(_without_conditions(plain)):
            if len(self._rules) > _MAX_RULES:
                return
            for selector in rule.group(1).split(","):
                if (simple := _SIMPLE.fullmatch(selector.strip())) and simple.group():
                    key = ((simple.group(1) or "").lower(), simple.group(2) or "", simple.group(3) or "")
                    self._rules.setdefault(key, {}).update(_declarations(rule.group(2)))


_EVERY_SCREEN: Final = re.compile(r"@media\s+(?:all|screen|only screen)\s*\{", re.IGNORECASE)


def _without_conditions(sheet: str) -> str:
    """A sheet without what holds on some screens only, or on paper."""
    kept: list[str] = []
    depth = skipped = 0
    for piece in re.split(r"(@[^{};]*\{|[{}])", _EVERY_SCREEN.sub("{", sheet)):
        if piece.startswith("@"):
            depth += 1
            skipped = skipped or depth
        elif piece == "{":
            depth += 1
        if not skipped and not piece.startswith("@"):
            kept.append(piece)
        if piece == "}":
            skipped = 0 if depth == skipped else skipped
            depth -= depth > 0
    return "".join(kept)
