"""The who-sees-what table of fixtures/policies, as domain values."""

from functools import cache
from pathlib import Path

from app.operations.who_sees_what import Row, Table, read_table

TABLE = Path(__file__).parents[2] / "fixtures" / "policies" / "default-policy-cases.yaml"

__all__ = ["TABLE", "Row", "Table", "table"]


@cache
def table() -> Table:
    return read_table(TABLE.name, TABLE.read_text(encoding="utf-8"))
