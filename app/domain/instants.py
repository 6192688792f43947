"""Instants: whole milliseconds since 1970-01-01T00:00:00Z, one integer in SQL, in the index and in Python.

An integer orders and compares the same in SQLite, PostgreSQL and the index, and never loses its zone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NewType

from app.domain.errors import Invalid

Instant = NewType("Instant", int)

FOREVER: Final = Instant(253_402_300_799_999)
"""9999-12-31T23:59:59.999Z: the open end of a period. It is exact as a float64, which the index compares in."""

BEGINNING: Final = Instant(-62_135_596_800_000)
"""0001-01-01T00:00:00Z: the open start of a period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The two instants that a question may be about; `None` is now, and what is known now."""

    as_of: Instant | None = None
    known_at: Instant | None = None

    def __bool__(self) -> bool:
        return self.as_of is not None or self.known_at is not None


NOW: Final = Moment()


def instant_of(moment: datetime) -> Instant:
    """The instant of an aware datetime; raises `Invalid` without a zone, and outside the years 1 to 9999 in UTC."""
    if moment.tzinfo is None:
        raise Invalid("A date and time needs its zone, for example 2026-01-31T00:00:00Z.")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    instant = Instant(delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000)
    if not BEGINNING <= instant <= FOREVER:
        raise Invalid("A date and time lies in the years 1 to 9999 in UTC.")
    return instant


def parse_instant(text: str) -> Instant:
    """An instant from ISO 8601: a date (midnight UTC) or a date and time with its zone. Raises `Invalid`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            "A date and time is written as in 2026-01-31T00:00:00Z, or 2026-01-31 for midnight UTC."
        ) from None
    if len(text) <= len("2026-01-31"):
        moment = moment.replace(tzinfo=UTC)
    return instant_of(moment)


def days_after(instant: Instant, days: int) -> Instant:
    """That many times 24 hours later, but never after the end of time."""
    return Instant(min(instant + days * 86_400_000, FOREVER))


def iso(instant: Instant) -> str:
    """ISO 8601 in UTC; whole seconds carry no fraction."""
    seconds, ms = divmod(instant, 1000)
    text = datetime.fromtimestamp(seconds, tz=UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def iso_or_none(instant: Instant) -> str | None:
    """As `iso`, and `None` for an open end."""
    return None if instant in (FOREVER, BEGINNING) else iso(instant)
