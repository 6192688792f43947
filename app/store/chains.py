"""Chains of actors as one column: references, sender first, with spaces between, which no reference holds."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, literal

from app.domain.access import PrincipalRef


def chained(actors: Sequence[PrincipalRef]) -> str | None:
    return " ".join(actors) or None


def unchained(value: str | None) -> tuple[PrincipalRef, ...]:
    return tuple(map(PrincipalRef, value.split())) if value else ()


def acted(column: Any, actor: PrincipalRef) -> ColumnElement[bool]:
    """The condition that an actor is in the chain. `replace` tells letters apart by case in both databases; `LIKE`
    does not in SQLite."""
    padded = literal(" ") + column + " "
    without: ColumnElement[str] = func.replace(padded, f" {actor} ", "")
    apart: ColumnElement[bool] = without != padded
    return apart
