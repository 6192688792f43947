"""Types that several routes speak: labels, names, instants. What one route alone speaks stands in its own file."""

from typing import Annotated, Literal, cast

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from app.domain.access import PrincipalRef
from app.domain.errors import Invalid
from app.domain.instants import Instant, Moment, parse_instant
from app.domain.labels import Label, Level


class Wire(BaseModel):
    """Requests: what is not in the contract is an error, so that a misspelt field is never silently passed over, and
    nothing is taken for something else: `"8"` is no number and `"yes"` is not true."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("It holds a null character, which no text here may.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("It holds half a character (a lone surrogate), which no text here may.") from None
    return text


def _instant(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("Write an instant as a string: 2026-01-31T00:00:00Z.")
    try:
        return parse_instant(value)
    except Invalid as error:
        raise ValueError(error.detail) from None


NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"
Storable = AfterValidator(_storable)
"""After the constraints of a text, so that those speak of characters."""
Text = Annotated[str, Storable]
Name = Annotated[str, StringConstraints(pattern=NAME, min_length=1, max_length=128)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=500), Storable]
Ref = Annotated[
    str,
    StringConstraints(pattern=r"^(user|group|assistant):[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=140),
]
InstantIn = Annotated[Instant, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]


def _moment(
    as_of: Annotated[
        InstantIn | None, Query(description="What was in force then, as in 2026-01-31. Unset: now.")
    ] = None,
    known_at: Annotated[InstantIn | None, Query(description="As was recorded then. Unset: what is known now.")] = None,
) -> Moment:
    return Moment(as_of=as_of, known_at=known_at)


At = Annotated[Moment, Depends(_moment)]
"""The two instants of a request that reads. Who may see what was there then is decided now."""

LevelWord = Literal["public", "internal", "confidential", "restricted"]


class LabelWire(Wire):
    level: LevelWord = "internal"
    categories: list[Name] = Field(default_factory=list, max_length=50)

    def domain(self) -> Label:
        return Label(level=Level[self.level.upper()], categories=frozenset(self.categories))


def label_out(label: Label) -> LabelWire:
    return LabelWire(level=level_word(label.level), categories=sorted(label.categories))


def level_word(level: Level) -> LevelWord:
    return cast(LevelWord, level.word)


def refs(names: list[str]) -> frozenset[PrincipalRef]:
    return frozenset(PrincipalRef(name) for name in names)
