"""Retention: how long a collection keeps what is out of use, and what is done with it then. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.corpus import Version
from app.domain.instants import Instant

DAY_MS: Final = 86_400_000


class Since(StrEnum):
    """What the days of a rule are counted from."""

    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    PUBLISHED = "published"


class Disposal(StrEnum):
    WITHDRAW = "withdraw"
    ERASE = "erase"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    when: Since
    after_days: int
    action: Disposal

    @property
    def words(self) -> str:
        verb = "erase" if self.action is Disposal.ERASE else "withdraw"
        return f"{verb} what was {self.when} {self.after_days} days ago"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A version that a rule has come due for, and the instant that its days are counted from."""

    version: Version
    rule: RetentionRule
    since: Instant


def due(version: Version, rules: Sequence[RetentionRule], *, withdrawn_at: Instant | None, now: Instant) -> Due | None:
    """The rule that acts on a version now: one that erases before one that withdraws, then in their order."""
    found = [
        Due(version=version, rule=rule, since=since)
        for rule in rules
        if (since := _since(version, rule.when, withdrawn_at=withdrawn_at, now=now)) is not None
        and since + rule.after_days * DAY_MS <= now
        and not (rule.action is Disposal.WITHDRAW and version.withdrawn)
    ]
    return min(found, key=lambda each: each.rule.action is not Disposal.ERASE, default=None)


def _since(version: Version, when: Since, *, withdrawn_at: Instant | None, now: Instant) -> Instant | None:
    """When it came to be so. Out of force counts from when that was both true and known, so never too early."""
    if when is Since.PUBLISHED:
        return version.recorded_at
    if when is Since.WITHDRAWN:
        return withdrawn_at
    out_of_force = version.period.valid_to <= now
    if not out_of_force or version.superseded is not (when is Since.SUPERSEDED):
        return None
    return max(version.period.valid_to, version.period.recorded_from)
