"""What another application says of its own things: properties that it states with a question, and nothing we know."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import Invalid

MAX_DEPTH = 8
"""How far objects and lists nest."""
MAX_PROPERTIES = 200
"""Of one thing, those of what it holds counted too; and the members of one list."""
MAX_CHARS = 4_000
"""Of one text, and of the name of a property with those that it lies in."""

_LARGEST = 2**63 - 1
"""What a number of Cedar's holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Properties by name, each name in one of these. What lies in an object goes by a JSON pointer without its first
    slash: `record/title`. Null says nothing; a number that is not whole, or too large, is text."""

    texts: frozenset[tuple[str, str]] = frozenset()
    flags: frozenset[tuple[str, bool]] = frozenset()
    numbers: frozenset[tuple[str, int]] = frozenset()
    lists: frozenset[tuple[str, frozenset[str]]] = frozenset()
    """Of texts; what else is in a list stands there as JSON. Objects and lists in one go by their places in it."""


NOTHING_STATED = Stated()


def stated(properties: Mapping[str, Any]) -> Stated:
    """Properties as JSON has them. Raises `Invalid`, a sentence, for those that are too many, too long or too deep."""
    texts, flags, numbers, lists = set(), set(), set(), set()
    for count, (name, value) in enumerate(_leaves(properties), start=1):
        if count > MAX_PROPERTIES:
            raise Invalid(f"There are more than {MAX_PROPERTIES} properties.")
        _fitting(name)
        if isinstance(value, bool):
            flags.add((name, value))
        elif isinstance(value, int) and abs(value) <= _LARGEST:
            numbers.add((name, value))
        elif isinstance(value, list):
            lists.add((name, frozenset(map(_text, value))))
        else:
            texts.add((name, _text(value)))
    return Stated(texts=frozenset(texts), flags=frozenset(flags), numbers=frozenset(numbers), lists=frozenset(lists))


def _leaves(value: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every value that holds no further one, by name; a list of such values is one value."""
    if depth > MAX_DEPTH:
        raise Invalid(f"Properties are nested deeper than {MAX_DEPTH}.")
    if isinstance(value, list) and (len(value) > MAX_PROPERTIES):
        raise Invalid(f"A list has more than {MAX_PROPERTIES} members.")
    within: list[tuple[str, object]]
    if isinstance(value, dict):
        within = [*value.items()]
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        within = [(str(place), each) for place, each in enumerate(value)]
    else:
        if value is not None:
            yield name, value
        return
    for key, each in within:
        step = key.replace("~", "~0").replace("/", "~1")
        yield from _leaves(each, f"{name}/{step}" if depth else step, depth + 1)


def _text(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid("A number is not one that JSON knows.")
    return _fitting(value if isinstance(value, str) else json.dumps(value))


def _fitting(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise Invalid(f"A property or its name is longer than {MAX_CHARS} characters.")
    if "\x00" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise Invalid("A property holds a null character or half a character, which no text here may.")
    return text
