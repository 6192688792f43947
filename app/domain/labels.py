"""Labels: how sensitive a document is, as an ordered level and a set of categories."""

from dataclasses import dataclass, field
from enum import IntEnum

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


UNLABELLED = Label()
"""The label of nothing at all: joining it changes nothing."""
