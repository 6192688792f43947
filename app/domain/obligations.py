"""What a permit may demand of an answer: the forms of an @obligation that are known here, and their meaning."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from app.domain.access import PrincipalRef


class DutyKind(StrEnum):
    CITE = "cite"
    """Each passage comes with its document, version and digest."""
    MAX_PASSAGES = "max-passages"
    REDACT = "redact"
    NO_EXPORT = "no-export"
    NOTIFY = "notify"
    VERIFIED_ONLY = "verified-only"
    """Of an answer that a model wrote, nothing is shown that the passages do not support."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """An obligation as it is understood. One that is not is no `Duty`: whatever carries it is denied (XACML)."""

    kind: DutyKind
    passages: int | None = None
    """Of `max-passages`: so many at the most."""
    category: str | None = None
    """Of `redact`: what is blacked out."""
    group: PrincipalRef | None = None
    """Of `notify`: who hears of the answer."""


KNOWN_FORMS = "cite-sources, cite, max-passages:N, redact:CATEGORY, no-export, notify:group:NAME, verified-only"
"""As policies write them, parted by commas."""

_FORM = re.compile(
    r"(?P<cite>cite|cite-sources)"
    r"|max-passages:(?P<passages>[1-9][0-9]{0,3})"
    r"|redact:(?P<category>[A-Za-z0-9][A-Za-z0-9._@+-]{0,127})"
    r"|(?P<no_export>no-export)"
    r"|(?P<verified>verified-only)"
    r"|notify:(?P<group>group:[A-Za-z0-9][A-Za-z0-9._@+-]{0,127})"
)


@lru_cache(maxsize=1_000)
def duty(obligation: str) -> Duty | None:
    """What one obligation asks for; None if it is of no known form."""
    found = _FORM.fullmatch(obligation)
    if found is None:
        return None
    if passages := found["passages"]:
        return Duty(kind=DutyKind.MAX_PASSAGES, passages=int(passages))
    if category := found["category"]:
        return Duty(kind=DutyKind.REDACT, category=category)
    if group := found["group"]:
        return Duty(kind=DutyKind.NOTIFY, group=PrincipalRef(group))
    if found["verified"]:
        return Duty(kind=DutyKind.VERIFIED_ONLY)
    return Duty(kind=DutyKind.CITE if found["cite"] else DutyKind.NO_EXPORT)
