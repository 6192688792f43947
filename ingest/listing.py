"""What the connectors share: keys that are safe to keep, patterns of paths, options, and pages with their cursors."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from app.domain.errors import Invalid, TooLarge
from app.domain.sources import Cursor, Item, Page, SourceSettings
from ingest.gate import MAX_FILE_BYTES

PAGE_ITEMS: Final = 200
MAX_KEY_CHARS: Final = 2000
"""As long as a document's uri may be."""
_MAX_PATTERNS: Final = 100
_MAX_PATTERN_CHARS: Final = 300

Position = Mapping[str, str | int]
"""What a cursor holds, flat."""


def is_safe_path(path: str) -> bool:
    """Whether a relative path may be a key: it stays below where it begins, and any store can keep it."""
    return (
        0 < len(path) <= MAX_KEY_CHARS
        and "\x00" not in path
        and not path.startswith("/")
        and all(part not in ("", ".", "..") for part in path.split("/"))
        and not any("\ud800" <= character <= "\udfff" for character in path)
    )


def too_large(max_bytes: int = MAX_FILE_BYTES) -> TooLarge:
    return TooLarge(f"It is larger than {max_bytes / 1e6:,.6g} MB, the most that is read.")


def local_path(location: str) -> Path | None:
    """The absolute path that a location is, plain or as `file:///...`; `None` if it is neither."""
    if "\x00" in location:
        return None
    if location.startswith("file://"):
        location = unquote(location.removeprefix("file://"))
    return Path(location) if location.startswith("/") and "\x00" not in location else None


# -- options -------------------------------------------------------------------------------------------------------


class Options:
    """A source's options, read one by one; `refuse_others` then tells of any that nobody asked for."""

    def __init__(self, settings: SourceSettings) -> None:
        self._left = dict(settings.options)
        self._connector = settings.connector

    def text(self, name: str, default: str = "") -> str:
        return self._left.pop(name, default).strip()

    def flag(self, name: str) -> bool:
        value = self.text(name, "false").lower()
        if value not in ("true", "false"):
            raise Invalid(f"The option {name!r} is either true or false.")
        return value == "true"

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        text = self.text(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise Invalid(f"The option {name!r} is a number from {least:g} to {most:g}.")
        return value

    def paths(self) -> "Paths":
        """The patterns `include` and `exclude`, parted by commas or lines."""
        return Paths(include=self.text("include"), exclude=self.text("exclude"))

    def refuse_others(self) -> None:
        """Raises `Invalid` for an option that has no meaning here. Every run keeps the pace that it is told to."""
        self._left.pop("requests_per_second", None)
        if self._left:
            names = ", ".join(sorted(repr(name[:80]) for name in self._left))
            raise Invalid(f"The connector {self._connector} has no option {names}.")


class Paths:
    """Which paths are wanted: any that `include` matches (all, if it is empty) and `exclude` does not.

    `*`, `?` and `[abc]` stay within a folder's name, `**` is any number of folders, and a pattern that ends in `/` is
    all that lies below.
    """

    def __init__(self, *, include: str = "", exclude: str = "") -> None:
        self.text = f"{include}\n\n{exclude}"
        self._include, self._exclude = _patterns(include), _patterns(exclude)

    def wants(self, path: str) -> bool:
        names = path.split("/")
        if self._include and not any(_matches(pattern, names) for pattern in self._include):
            return False
        return not any(_matches(pattern, names) for pattern in self._exclude)


_Pattern = tuple[re.Pattern[str] | None, ...]
"""An expression for each folder's name; `None` is any number of folders."""


def _patterns(text: str) -> list[_Pattern]:
    found = [part.strip() for part in re.split(r"[,\n]", text) if part.strip()]
    if len(found) > _MAX_PATTERNS or any(len(each) > _MAX_PATTERN_CHARS for each in found):
        raise Invalid(f"At most {_MAX_PATTERNS} patterns of {_MAX_PATTERN_CHARS} characters are taken.")
    return [_pattern(each) for each in found]


def _pattern(text: str) -> _Pattern:
    names = (text.removeprefix("/") + ("**" if text.endswith("/") else "")).split("/")
    if names[-1] == "**":
        names.append("*")
    return tuple(None if name == "**" else re.compile(translate(name)) for name in names)


def _matches(pattern: _Pattern, names: list[str]) -> bool:
    """Only the last `**` met ever takes back what it took, so the time is at most the product of both lengths."""
    at = name = 0
    again: tuple[int, int] | None = None
    while name < len(names):
        part = pattern[at] if at < len(pattern) else None
        if at < len(pattern) and part is None:
            again = (at, name)
            at += 1
        elif part is not None and part.fullmatch(names[name]):
            at, name = at + 1, name + 1
        elif again is not None:
            again = (again[0], again[1] + 1)
            at, name = again[0] + 1, again[1]
        else:
            return False
    return all(part is None for part in pattern[at:])


# -- pages ---------------------------------------------------------------------------------------------------------


def paged(items: Iterable[tuple[Item, Position]], *, size: int) -> Iterator[Page]:
    """Pages of `size` items, each with the position after its last; nothing is drawn before it is asked for."""
    held: list[Item] = []
    position: Position = {}
    for item, position in items:
        held.append(item)
        if len(held) == size:
            yield Page(items=tuple(held), next=cursor_of(position))
            held = []
    if held:
        yield Page(items=tuple(held), next=cursor_of(position))


def cursor_of(position: Position) -> Cursor:
    return Cursor(json.dumps(position, sort_keys=True, separators=(",", ":")))


def position_of(cursor: Cursor | None) -> dict[str, str | int]:
    """What a cursor holds; empty for none, and for one that is not of this form: the listing then begins anew."""
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict) or not all(type(value) in (str, int) for value in found.values()):
        return {}
    return found


def word(position: Position, name: str) -> str:
    value = position.get(name, "")
    return value if isinstance(value, str) else ""


def count(position: Position, name: str) -> int:
    value = position.get(name, 0)
    return value if isinstance(value, int) and value >= 0 else 0


# -- words that strangers wrote ------------------------------------------------------------------------------------


def tidy(text: str, *, max_chars: int) -> str | None:
    """One line of printable text, cut short; `None` if nothing is left."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(kept.split())[:max_chars].strip() or None
