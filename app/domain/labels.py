"""Labels: how sensitive a document is, as an ordered level and a set of categories."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase

from app.domain.errors import Invalid


class Level(IntEnum):
    """Ordered: a reader needs a clearance that is at least the level."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    @property
    def word(self) -> str:
        return self.name.lower()


def parse_level(word: str) -> Level:
    """The level of that name; raises `Invalid` naming the levels there are."""
    try:
        return Level[word.upper()]
    except KeyError:
        raise Invalid(
            f"There is no level {word!r}: the levels are {', '.join(level.word for level in Level)}."
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A level and categories. `&`-like joining only ever makes it stricter."""

    level: Level = Level.PUBLIC
    categories: frozenset[str] = field(default_factory=frozenset)

    def join(self, other: "Label") -> "Label":
        """The stricter level and the union of categories."""
        return Label(level=max(self.level, other.level), categories=self.categories | other.categories)

    def covers(self, other: "Label") -> bool:
        """Whether it is at least as strict in everything: joining `other` would change nothing."""
        return self.level >= other.level and self.categories >= other.categories


UNLABELLED = Label()
"""The label of nothing at all: joining it changes nothing."""


UNKNOWN = Label(level=Level.RESTRICTED)
"""The label of what nobody has said a level of: unknown is strictest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """What an owner lays down for every uri of a collection that `path` matches: a floor, below which no label is.

    `path` is a pattern over the whole uri: `*` is any text, slashes too, `?` one character, `[ab]` one of them.
    """

    path: str
    level: Level | None = None
    """None: the rule says nothing of the level."""
    categories: frozenset[str] = frozenset()

    def covers(self, uri: str) -> bool:
        return fnmatchcase(uri, self.path)

    @property
    def floor(self) -> Label:
        return Label(level=self.level or Level.PUBLIC, categories=self.categories)


def rules_floor(rules: Iterable[LabelRule], uri: str) -> Label:
    """What these rules together make of a uri; `UNLABELLED` if none covers it."""
    found = UNLABELLED
    for rule in rules:
        if rule.covers(uri):
            found = found.join(rule.floor)
    return found


class CauseKind(StrEnum):
    """Where a label, or a part of it, came from."""

    STATED = "stated"
    """The owner's own word, with the document."""
    COLLECTION = "collection"
    """The collection's default."""
    UNKNOWN = "unknown"
    """Nobody said a level, so it is the strictest."""
    EARLIER = "earlier-version"
    """The version before it is labelled so, and nothing was stated, or another label for the same content."""
    RULE = "rule"
    """A rule of the collection; the detail is its path."""
    DETECTED = "detected"
    """Found in the text; the detail is the category."""
    AMENDED = "amended"
    """An owner moved the document's boundary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One of the things that a label is made of."""

    kind: CauseKind
    detail: str | None = None
