"""Breaking the glass: collections opened to oneself in an emergency, for a short time, and never quietly.

It opens what nobody would have granted in time. It beats no forbid: label, wall, jurisdiction and purpose hold as ever.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import AUDITORS, Action, BrokenGlass, Collection, Grant, GrantKind, Kind, PrincipalRef
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.instants import Instant, iso
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.identify import Credentials, Standing, identify
from app.ports import Institution, Ports
from app.store import grants
from app.store.database import reading, recording
from app.store.notices import add_notice

logger = logging.getLogger(__name__)

ABSENT: Final = "There is no broken glass by that id that you may know of."
_ALONE: Final = (
    "Only a person breaks the glass, alone and with a second factor: send your own access token, obtained with one. "
    "An API key is not enough, and no assistant does it for you."
)
_NOT_ALLOWED: Final = (
    "No policy lets you break the glass. By default those in group:break-glass may: ask an administrator."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """What somebody wants opened, and why."""

    ticket: str
    reason: str
    minutes: int
    collections: frozenset[str]


def break_glass(ports: Ports, credentials: Credentials, emergency: Emergency) -> BrokenGlass:
    """Open collections to whoever asks, from now until the minutes are over. Raises `NotPermitted`, or `Invalid`.

    Its owners and the auditors hear of it in the same commit, and it is in the log as nothing else is.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        principal = standing.principal
        if principal.subject.kind is not Kind.USER or principal.actors or not principal.second_factor:
            raise NotPermitted(_ALONE)
        authorize.require(ports, session, standing, Action.BREAK_GLASS, Institution(), otherwise=_NOT_ALLOWED)
        known = authorize.register(ports, session, standing).collections
        _check(ports, emergency, known)
    subject = principal.subject.ref
    with recording(ports.engine, ports.now(), "grants") as (session, at):
        taken = Grant(
            id=f"gr_{ports.new_id()}",
            kind=GrantKind.BREAK_GLASS,
            subject=subject,
            collections=emergency.collections,
            begins=at,
            ends=Instant(at + emergency.minutes * 60_000),
            because=emergency.ticket,
            reason=emergency.reason,
            granted_by=subject,
        )
        grants.record_grant(session, taken, at=at)
        _tell(session, ports, taken, [known[name] for name in sorted(emergency.collections)], at=at)
        record_with(session, ports, principal, TraceKind.BREAK_GLASS, outcome="broken", request=_account(taken))
    logger.warning(
        "BREAK-GLASS %s: %s opened %s to themselves until %s, ticket %r",
        taken.id,
        subject,
        ", ".join(sorted(taken.collections)),
        iso(taken.ends),
        taken.because,
    )
    return BrokenGlass(grant=taken, ended_at=None, ended_by=None)


def broken(ports: Ports, credentials: Credentials) -> tuple[Sequence[BrokenGlass], Instant]:
    """Those that concern the principal, newest first, and now: its own, those of what it owns; auditors see all."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        return _visible(ports, session, standing, grants.broken_glasses(session)), standing.now


def mend(ports: Ports, credentials: Credentials, id: str) -> None:
    """End one at once, as whoever may know of it. Raises `NotFound`, and `Conflict` if it is over."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = [
            each for each in _visible(ports, session, standing, grants.broken_glasses(session)) if each.grant.id == id
        ]
    if not found:
        raise NotFound(ABSENT)
    if not found[0].is_open(standing.now):
        raise Conflict("It is over already.")
    by = standing.principal.subject.ref
    with recording(ports.engine, ports.now(), "grants") as (session, at):
        if not grants.revoke_grant(session, id, at=at, by=by):
            raise Conflict("It is over already.")
        about = {"grant": id, "ended_by": by}
        add_notice(session, found[0].grant.subject, "break-glass-ended", id=f"ntc_{ports.new_id()}", about=about, at=at)
        record_with(session, ports, standing.principal, TraceKind.BREAK_GLASS, outcome="ended", request={"grant": id})
    logger.warning("BREAK-GLASS %s: ended by %s", id, by)


def _check(ports: Ports, emergency: Emergency, known: Iterable[str]) -> None:
    faults = [
        Fault(detail=f"{name} is not a collection.", pointer="/collections")
        for name in sorted(emergency.collections.difference(known))
    ]
    if emergency.minutes > ports.break_glass_minutes:
        most = f"It is open for {ports.break_glass_minutes} minutes at the most."
        faults.append(Fault(detail=most, pointer="/minutes"))
    if faults:
        raise Invalid("The glass was not broken: see errors.", faults=tuple(faults))


def _tell(session: Session, ports: Ports, taken: Grant, opened: Sequence[Collection], *, at: Instant) -> None:
    """Each owner of what is theirs, and the auditors of all of it."""
    told: dict[PrincipalRef, set[str]] = {AUDITORS: set(taken.collections)}
    for collection in opened:
        for owner in collection.owners:
            told.setdefault(owner, set()).add(collection.name)
    for recipient, names in sorted(told.items()):
        about = {**_account(replace(taken, collections=frozenset(names))), "subject": taken.subject}
        add_notice(session, recipient, "break-glass", id=f"ntc_{ports.new_id()}", about=about, at=at)


def _account(taken: Grant) -> dict[str, object]:
    return {
        "grant": taken.id,
        "ticket": taken.because,
        "reason": taken.reason,
        "collections": sorted(taken.collections),
        "until": taken.ends,
    }


def _visible(ports: Ports, session: Session, standing: Standing, some: Sequence[BrokenGlass]) -> Sequence[BrokenGlass]:
    """To auditors and to whoever broke it whole; to owners, what it opened of theirs."""
    if authorize.permitted(ports, session, standing, Action.AUDIT, Institution()):
        return some
    subject = standing.principal.subject
    alone = not standing.principal.actors and not standing.principal.limited
    own = subject.ref if subject.profile.active and alone else None
    curated = authorize.curated_collections(ports, session, standing)
    return [
        each if each.grant.subject == own else replace(each, grant=replace(each.grant, collections=seen))
        for each in some
        if (seen := each.grant.collections & curated) or each.grant.subject == own
    ]
