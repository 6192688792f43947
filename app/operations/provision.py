"""Users and groups kept as another directory has them: what it creates, changes and ends, and what it may not.

It knows of what it created itself and of nothing else: principals that administrators laid down, the built-in groups
among them, are not there for it. What it creates is cleared as everybody is, unless it says more.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from sqlalchemy.orm import Session

from app.domain.access import BUILT_IN_GROUPS, Action, Kind, PrincipalRef, Profile
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.instants import Instant
from app.domain.labels import Level
from app.domain.provisioning import Provisioned, ResourceId, Said, Stated, folded
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.identify import Credentials, Standing, identify
from app.ports import Institution, Ports
from app.store import directory
from app.store import provisioning as store
from app.store.database import reading, recording

T = TypeVar("T")

PROVISIONERS_ONLY = (
    "No policy in force lets this principal keep users and groups. By default those in group:provisioners do: ask an "
    "administrator, to whom `muniment policy diff` tells whether that rule is in force."
)
MAX_NAME_CHARS = 500
MAX_CONTENT_CHARS = 250_000
"""Of what is said of one user or group beside its members: patches could add to it without end."""

_MAX_KEYED_BYTES = 2_400
"""Of what is looked up by: PostgreSQL keeps 2,704 in an index. Folding may make a text longer."""

_TOLD_AT_MOST = 100
"""Members that a trace names, of those who came and of those who left."""

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,127}")


class Moved(Exception):
    """It has changed since it was looked at: nothing was done."""


def provisioner(ports: Ports, credentials: Credentials) -> Standing:
    """Whoever may keep users and groups. Raises `Unauthenticated` and `NotPermitted`."""
    with reading(ports.engine) as session:
        return _provisioner(ports, session, credentials)


@contextmanager
def looking(ports: Ports, credentials: Credentials) -> Iterator[Session]:
    """As `reading`, to whoever may keep users and groups as it then is. Raises as `provisioner` does."""
    with reading(ports.engine) as session:
        _provisioner(ports, session, credentials)
        yield session


def _provisioner(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    standing = identify(ports, session, credentials)
    authorize.require(ports, session, standing, Action.PROVISION, Institution(), otherwise=PROVISIONERS_ONLY)
    return standing


def create(ports: Ports, standing: Standing, said: Said) -> Provisioned:
    """A new user or group. Raises `Conflict` for a name that is taken, `Invalid`, and what `_admit` does."""
    _check(said)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        _check_name(session, said, None)
        id = ResourceId(ports.new_id())
        ref = _ref_for(session, said, id)
        profile = _profile(ref, said, None)
        directory.record_principal(session, profile, at=at, by=_by(standing))
        session.flush()
        _record(session, ports, standing, "provision", id=id, ref=ref, said=said, created=at, at=at)
        return _there(session, said.kind, id)


def update(ports: Ports, standing: Standing, id: ResourceId, said: Said, *, expected: Instant | None) -> Provisioned:
    """Let that be said of a user or group from now on.

    Raises `NotFound`, `Moved` if it is no longer as it was when it `changed` at `expected`, and what `create` does.
    """
    _check(said)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        before = _unmoved(session, said.kind, id, expected)
        _check_not_itself(standing, before)
        _check_name(session, said, id)
        directory.record_principal(session, _profile(before.ref, said, before), at=at, by=_by(standing))
        session.flush()
        _record(session, ports, standing, "provision", id=id, ref=before.ref, said=said, created=before.created, at=at)
        return _there(session, said.kind, id)


def remove(ports: Ports, standing: Standing, kind: Kind, id: ResourceId, *, expected: Instant | None) -> None:
    """Let a user or group be no more: its keys and its memberships end with it. Raises as `update` does."""
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        before = _unmoved(session, kind, id, expected)
        _check_not_itself(standing, before)
        store.end(session, id, before.ref, at=at, by=_by(standing))
        request = {"what": "end-provisioned", "about": before.ref}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)


def _unmoved(session: Session, kind: Kind, id: ResourceId, expected: Instant | None) -> Provisioned:
    found = _there(session, kind, id, members=False)
    if expected is not None and found.changed != expected:
        raise Moved
    return found


def _there(session: Session, kind: Kind, id: ResourceId, *, members: bool = True) -> Provisioned:
    found = store.resource(session, id, members=members)
    if found is None or found.profile.kind is not kind:
        raise NotFound(f"There is no {kind} by that id.")
    return found


def _record(
    session: Session,
    ports: Ports,
    standing: Standing,
    what: str,
    *,
    id: ResourceId,
    ref: PrincipalRef,
    said: Said,
    created: Instant,
    at: Instant,
) -> None:
    store.record_resource(session, id, ref, said, created=created, at=at, by=_by(standing))
    session.flush()
    request: dict[str, object] = {"what": what, "about": ref, "active": said.active}
    if said.kind is Kind.GROUP:
        came, left = _members(session, standing, ref, said, at=at)
        request |= {name: sorted(refs)[:_TOLD_AT_MOST] for name, refs in (("came", came), ("left", left)) if refs}
    record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)


def _members(
    session: Session, standing: Standing, group: PrincipalRef, said: Said, *, at: Instant
) -> tuple[frozenset[PrincipalRef], frozenset[PrincipalRef]]:
    """Let those be in the group whom the other directory names; whom administrators put there stays."""
    refs = store.refs_of(session, said.members)
    unknown = sorted(said.members.keys() - refs.keys())
    if unknown:
        faults = tuple(Fault(detail="There is no user or group by that id.", pointer="/members") for _ in unknown[:1])
        raise Invalid("Some members are not known; nothing was changed.", faults=faults)
    before = store.members_of(session, group)
    _admit(session, standing, group, frozenset(refs.values()) - before.keys())
    wanted = {refs[id]: display for id, display in said.members.items()}
    among = before.keys() | wanted.keys()
    came, left = store.record_members(session, group, wanted, among=among, at=at, by=_by(standing))
    session.flush()
    return came, left


def _admit(session: Session, standing: Standing, group: PrincipalRef, new: frozenset[PrincipalRef]) -> None:
    """INVARIANT: nobody comes by this into a built-in group, directly or through groups; nor does whoever sends it
    into any group; and no group into itself. Asked within the change, so that nothing is nested meanwhile."""
    if not new:
        return
    above = directory.groups_above(session, [group]) | {group}
    if above & {*BUILT_IN_GROUPS}:
        raise NotPermitted("That group leads to a built-in one: administrators alone put somebody into it.")
    own = {party.ref for party in (standing.principal.subject, *standing.principal.actors)}
    if new & (own | directory.groups_above(session, own)):
        raise NotPermitted("Nobody puts themselves into a group this way. Ask an administrator.")
    if new & above:
        fault = Fault(detail="The group would be in itself.", pointer="/members")
        raise Invalid("A group is not in itself, directly or through others.", faults=(fault,))


def _check_not_itself(standing: Standing, found: Provisioned) -> None:
    """Whoever keeps the others is kept by administrators: else it could clear itself."""
    if found.ref in {party.ref for party in (standing.principal.subject, *standing.principal.actors)}:
        raise NotPermitted("Nobody changes themselves this way. Ask an administrator.")


def _check(said: Said) -> None:
    texts = (said.name, said.display_name, said.external_id or "", said.stated.team or "", *said.members)
    shown = [display for display in said.members.values() if display is not None]
    if any("\x00" in text for text in (*texts, *shown)) or "\\u0000" in said.content:
        raise Invalid("It holds a null character, which no text here may.")
    keyed = max(len(folded(text).encode()) for text in (said.name, said.display_name))
    if keyed > _MAX_KEYED_BYTES or any(len(text) > MAX_NAME_CHARS for text in (*texts, *shown)):
        raise Invalid(f"Names and ids have {MAX_NAME_CHARS} characters at the most.")
    if not said.name.strip():
        raise Invalid("A name is not empty.")
    if len(said.content) > MAX_CONTENT_CHARS:
        raise Invalid(f"What is said of one user or group has {MAX_CONTENT_CHARS} characters at the most.")


def _check_name(session: Session, said: Said, id: ResourceId | None) -> None:
    if said.kind is Kind.USER and any(
        other != id for other in store.ids_where(session, [Kind.USER], "name", said.name)
    ):
        raise Conflict("That userName is another user's.")


def _ref_for(session: Session, said: Said, id: ResourceId) -> PrincipalRef:
    """By its name, if that can be written as one and never was anybody's; by its id, which never was either.

    A reference is not given out twice: it may stand in boundaries of old.
    """
    name = folded(said.name)
    named = PrincipalRef(f"{said.kind}:{name}")
    if _PLAIN_NAME.fullmatch(name) and not directory.ever_recorded(session, named):
        return named
    return PrincipalRef(f"{said.kind}:{id}")


def _profile(ref: PrincipalRef, said: Said, before: Provisioned | None) -> Profile:
    """What the other directory does not say stays as administrators laid it down; what it said and says no longer is
    what everybody has."""
    was = before.stated if before is not None else Stated()
    old = before.profile if before is not None else Profile(ref=ref, display_name=said.display_name)
    new = said.stated
    return replace(
        old,
        display_name=said.display_name,
        active=said.active if said.active is not None else old.active,
        clearance=_one_of(new.clearance, was.clearance, old.clearance, Level.INTERNAL),
        categories=_one_of(new.categories, was.categories, old.categories, frozenset()),
        jurisdictions=_one_of(new.jurisdictions, was.jurisdictions, old.jurisdictions, frozenset()),
        team=_one_of(new.team, was.team, old.team, None),
    )


def _one_of(new: T | None, was: T | None, kept: T, usual: T) -> T:
    if new is not None:
        return new
    return usual if was is not None else kept


def _by(standing: Standing) -> PrincipalRef:
    return standing.principal.subject.ref
