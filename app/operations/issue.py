"""API keys from their issue to their end: administrators issue them, and who holds some keeps them in order."""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import BOOTSTRAP_ADMINISTRATOR, UNLIMITED, Action, Kind, Principal, PrincipalRef, Scope
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted, Unavailable
from app.domain.instants import Instant, days_after, iso
from app.domain.keys import Key, KeyState
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.identify import Credentials, Standing, identify, key_digest
from app.ports import Institution, Ports
from app.store import directory, notices
from app.store.database import reading, recording, writing

OWN_OR_ADMINISTRATOR = (
    "Keys are administrators' to see and to issue; others list, rotate and revoke their own, with a key of their own "
    "and not through an assistant. Ask somebody in group:administrators."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a new key is to be good for, and until when: by one of the two, or as long as is allowed."""

    scope: Scope = UNLIMITED
    expires: Instant | None = None
    days: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """An API key, shown this once: only its digest is kept."""

    id: str
    key: str
    scope: Scope
    expires: Instant | None


def issue_key(ports: Ports, credentials: Credentials, ref: PrincipalRef, wanted: Wanted) -> IssuedKey:
    """A new key for a user or assistant.

    Raises `NotFound`, `NotPermitted` for a key that would be good for more than what was sent is limited to, and
    `Invalid` for a group, an unknown collection, or an end that is past or too far.
    """
    with reading(ports.engine) as session:
        standing = _administrator(ports, session, credentials)
        _not_the_bootstrap_key(ref)
        if not _no_wider(wanted.scope, standing.principal):
            raise NotPermitted(
                f"What was sent is limited to {standing.principal.limits}: it issues keys that are limited to no more, "
                "and say so."
            )
        laid_down = authorize.register(ports, session, standing)
        found = directory.profile(session, ref)
    if found is None:
        raise NotFound(f"There is no principal {ref}. Create it first.")
    if found.kind is Kind.GROUP:
        raise Invalid("A group has no key: give one to each user or assistant in it.")
    unknown = sorted(wanted.scope.collections - frozenset(laid_down.collections))
    if unknown:
        faults = tuple(Fault(detail=f"{name} is not a collection.", pointer="/collections") for name in unknown)
        raise Invalid("Some collections are not known; nothing was issued.", faults=faults)
    expires = _end(ports, wanted, standing.now)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        issued = _recorded(session, ports, standing, ref, wanted.scope, expires=expires, note=wanted.note, at=at)
        _on_record(session, ports, standing, "issue-key", ref, issued.id)
    return issued


def keys(ports: Ports, credentials: Credentials, ref: PrincipalRef) -> list[tuple[Key, KeyState]]:
    """The keys that a principal has or had, the newest first. Raises `NotPermitted`, and `NotFound`."""
    write_down_uses(ports)
    with reading(ports.engine) as session:
        standing = _keeper(ports, session, credentials, ref)
        if directory.profile(session, ref) is None:
            raise NotFound(f"There is no principal {ref}.")
        found = directory.keys(session, ref)
    return [(each, each.state(standing.now)) for each in found if _no_wider(each.scope, standing.principal)]


def rotate_key(
    ports: Ports, credentials: Credentials, ref: PrincipalRef, id: str, *, wanted: Wanted, overlap_s: int
) -> IssuedKey:
    """A successor that is good for the same, beside which the old key lives for the overlap; 0 ends it at once.

    It ends when the old one would have. An administrator may say otherwise; its holder may only bring that forward.
    Raises `NotFound`, and `Conflict` for a key that was rotated before, has expired or was revoked.
    """
    with reading(ports.engine) as session:
        standing = _keeper(ports, session, credentials, ref)
        _not_the_bootstrap_key(ref)
        found = _kept(session, standing, ref, id)
        administers = authorize.permitted(ports, session, standing, Action.MANAGE, Institution())
    stated = wanted.expires is not None or wanted.days is not None
    expires = _end(ports, wanted, standing.now) if stated or found.expires is None else found.expires
    if not administers and found.expires is not None and (expires is None or expires > found.expires):
        raise NotPermitted(f"This key ends at {iso(found.expires)}. Ask an administrator for one that lives longer.")
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        found = _kept(session, standing, ref, id)
        state = found.state(standing.now)
        if state is not KeyState.ACTIVE:
            ended = {KeyState.RETIRING: "was rotated before", KeyState.EXPIRED: "has expired"}
            raise Conflict(f"That key {ended.get(state, 'was revoked')}. Issue a new one, or rotate its successor.")
        issued = _recorded(session, ports, standing, ref, found.scope, expires=expires, note=found.note, at=at)
        if overlap_s:
            directory.retire_key(session, id, until=Instant(at + 1000 * overlap_s))
        else:
            directory.revoke_keys(session, ref, at=at, by=standing.principal.subject.ref, id=id)
        _on_record(session, ports, standing, "rotate-key", ref, id, successor=issued.id)
    return issued


def revoke_key(ports: Ports, credentials: Credentials, ref: PrincipalRef, id: str) -> None:
    """End a key: no request that starts after this returns is let in with it. Raises `NotFound`."""
    with reading(ports.engine) as session:
        standing = _keeper(ports, session, credentials, ref)
        _kept(session, standing, ref, id)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        if not directory.revoke_keys(session, ref, at=at, by=standing.principal.subject.ref, id=id):
            raise NotFound(f"{ref} has no such key in force.")
        _on_record(session, ports, standing, "revoke-key", ref, id)


def write_down_uses(ports: Ports) -> None:
    """Keep when keys were last used; what cannot be kept now is forgotten, and nothing waits for it."""
    used = ports.key_uses.taken()
    if used:
        with suppress(Unavailable), writing(ports.engine) as session:
            directory.note_uses(session, used)


def _administrator(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    standing = identify(ports, session, credentials)
    authorize.require(ports, session, standing, Action.MANAGE, Institution(), otherwise=OWN_OR_ADMINISTRATOR)
    return standing


def _keeper(ports: Ports, session: Session, credentials: Credentials, ref: PrincipalRef) -> Standing:
    """An administrator, or the holder itself. An assistant that acts for a person keeps none of the person's keys: with
    one it would be rid of its own ceiling."""
    standing = identify(ports, session, credentials)
    principal = standing.principal
    if principal.subject.ref == ref and not principal.actors and principal.subject.profile.active:
        return standing
    authorize.require(ports, session, standing, Action.MANAGE, Institution(), otherwise=OWN_OR_ADMINISTRATOR)
    return standing


def _kept(session: Session, standing: Standing, ref: PrincipalRef, id: str) -> Key:
    found = directory.key(session, ref, id)
    if found is None or not _no_wider(found.scope, standing.principal):
        raise NotFound(f"{ref} has no such key.")
    return found


def _not_the_bootstrap_key(ref: PrincipalRef) -> None:
    """INVARIANT: its key is its operator's, who starts the server: else an administrator could act as nobody, and the
    record would not say who."""
    if ref == BOOTSTRAP_ADMINISTRATOR:
        raise NotPermitted(
            "The bootstrap administrator's key is given by whoever runs this server: start it with another "
            "MUNIMENT_ADMIN_KEY."
        )


def _no_wider(scope: Scope, principal: Principal) -> bool:
    """INVARIANT: with what is limited, nobody makes, sees, rotates or revokes a key that is good for more."""
    return all(scope.within(limit) for limit in principal.scopes)


def _end(ports: Ports, wanted: Wanted, now: Instant) -> Instant | None:
    """When a key ends that begins now. Raises `Invalid` for an end that is past, or later than is allowed here."""
    latest = days_after(now, ports.max_key_days) if ports.max_key_days is not None else None
    if wanted.expires is not None and wanted.days is not None:
        fault = Fault(detail="Say when it ends, or after how many days; not both.", pointer="/days")
        raise Invalid("A key ends once.", faults=(fault,))
    end = days_after(now, wanted.days) if wanted.days is not None else wanted.expires
    pointer = "/days" if wanted.days is not None else "/expires_at"
    if end is None:
        return latest
    if end <= now:
        raise Invalid("That end is past.", faults=(Fault(detail="It has to lie ahead.", pointer=pointer),))
    if latest is not None and end > latest:
        detail = f"A key lives {ports.max_key_days} days here at the most."
        raise Invalid(detail, faults=(Fault(detail=detail, pointer=pointer),))
    return end


def _recorded(
    session: Session,
    ports: Ports,
    standing: Standing,
    ref: PrincipalRef,
    scope: Scope,
    *,
    expires: Instant | None,
    note: str,
    at: Instant,
) -> IssuedKey:
    issued = IssuedKey(
        id=f"key_{ports.new_id()}", key=f"mun_{ports.new_id()}{ports.new_id()}", scope=scope, expires=expires
    )
    directory.record_key(
        session,
        id=issued.id,
        principal=ref,
        digest=key_digest(issued.key, pepper=ports.pepper),
        scope=scope,
        expires=expires,
        note=note,
        at=at,
        by=standing.principal.subject.ref,
    )
    by = standing.principal.subject.ref
    if by != ref:  # whoever can act in somebody's name is no secret from that one
        about = {"key": issued.id, "by": by}
        notices.add_notice(session, ref, "key-issued", id=f"ntc_{ports.new_id()}", about=about, at=at)
    return issued


def _on_record(
    session: Session, ports: Ports, standing: Standing, what: str, ref: PrincipalRef, id: str, **more: str
) -> None:
    request = {"what": what, "about": f"{ref} {id}", **more}
    record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
