"""When a schedule is next due: five fields of cron, in UTC."""

import re

from croniter import croniter  # type: ignore[import-untyped]
from croniter.croniter import CroniterError  # type: ignore[import-untyped]

from app.domain.errors import Fault, Invalid
from app.domain.instants import Instant

_FIELD = r"[0-9A-Za-z*/,-]+"
_SCHEDULE = re.compile(rf"{_FIELD}( {_FIELD}){{4}}")
"""Plain cron alone: croniter also reads random, hashed, yearly and per-second schedules."""


def next_due(schedule: str, after: Instant) -> Instant:
    """The first minute of the schedule later than `after`. Raises `Invalid`."""
    if not _SCHEDULE.fullmatch(schedule) or re.search(r"(?i)(^|[ ,])[hrl]", schedule):
        raise _unreadable()
    try:
        seconds = croniter(schedule, after / 1000, ret_type=float).get_next()
    except (CroniterError, ValueError, KeyError, OverflowError):
        raise _unreadable() from None
    return Instant(int(seconds * 1000))


def _unreadable() -> Invalid:
    fault = Fault(detail="Write five fields of cron in UTC, as in 30 2 * * 1-5.", pointer="/schedule")
    return Invalid("The schedule cannot be read.", faults=(fault,))
