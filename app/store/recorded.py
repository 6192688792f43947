"""The one way in which recorded history is read and moved on: rows that hold from an instant to another."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, literal_column, update
from sqlalchemy.orm import Session
from sqlmodel import SQLModel, col

from app.domain.instants import FOREVER, Instant

_STILL = literal_column(f"{FOREVER:d}", BigInteger)
"""Written out, as the partial indices have it. Were it a parameter, SQLite would look at its value to see whether such
an index serves, and so compile the statement anew each time: two thirds of its time for a question's chunks."""


def holds(table: Any, at: Instant | None = None) -> ColumnElement[bool]:
    """The condition that a row holds: today if `at` is None, else what was recorded as of that instant."""
    if at is None:
        return col(table.recorded_to) == _STILL
    return and_(col(table.recorded_from) <= at, col(table.recorded_to) > at)


def close(session: Session, table: Any, *where: ColumnElement[bool], at: Instant) -> int:
    """End the rows that hold today; says how many there were."""
    result = session.execute(update(table).where(holds(table), *where).values(recorded_to=at))
    return int(result.rowcount)  # type: ignore[attr-defined]


def replace_state(session: Session, row: SQLModel, *where: ColumnElement[bool], at: Instant) -> None:
    """End what holds today and let `row` hold from `at` on."""
    close(session, type(row), *where, at=at)
    session.flush()
    session.add(row)
