"""Looking at rows themselves: what history promises is about those."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Engine
from sqlmodel import SQLModel

from app.domain.instants import FOREVER, Instant

Rows = Mapping[Any, Mapping[str, Any]]
"""By primary key."""


def rows_of(engine: Engine, table: str) -> Rows:
    """Every row of a table."""
    found = SQLModel.metadata.tables[table]
    (key,) = found.primary_key.columns
    with engine.connect() as connection:
        return {row._mapping[key]: dict(row._mapping) for row in connection.execute(found.select().order_by(key))}


def unchanged(before: Rows, after: Rows, *, closed_at: Instant) -> list[bool]:
    """For each row there was, whether it was closed; it must be as it was but for that, and closed at `closed_at`."""
    closed = []
    for key, row in before.items():
        was_open_and_is_not = row["recorded_to"] == FOREVER and after[key]["recorded_to"] != FOREVER
        kept = {**row, "recorded_to": closed_at} if was_open_and_is_not else dict(row)
        assert {name: value for name, value in after[key].items() if name != "revoked_by"} == {
            name: value for name, value in kept.items() if name != "revoked_by"
        }
        closed.append(was_open_and_is_not)
    return closed
