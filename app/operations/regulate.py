"""Jurisdictions and the transfer rules between them: administrators lay them down, and everybody may know them."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.instants import Instant
from app.domain.jurisdictions import Jurisdiction, Registers, Transfer
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.duties import laying_down
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import jurisdictions
from app.store.database import reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for: by what right data of one jurisdiction may be used in another, and from when to when."""

    origin: str
    destination: str
    basis: str
    evidence: str
    valid_from: Instant | None
    """None: as before, or from now on if there was no rule between the two."""
    expires_at: Instant
    reason: str


def put_jurisdiction(ports: Ports, credentials: Credentials, new: Jurisdiction) -> None:
    """Let it be registered so from now on. Raises `NotPermitted`, or `Invalid` for a place that it cannot be within."""
    standing = _administrator(ports, credentials)
    with laying_down(ports, standing, "directory") as (session, at):
        before = jurisdictions.registers(session)
        faults = _nesting_faults(before, new)
        if faults:
            raise Invalid("It cannot lie within what is named; nothing was changed.", faults=tuple(faults))
        jurisdictions.record_jurisdiction(session, new, at=at, by=standing.principal.subject.ref)
        _on_record(session, ports, standing, "put-jurisdiction", new.id)


def _nesting_faults(before: Registers, new: Jurisdiction) -> list[Fault]:
    after = replace(before, jurisdictions={**before.jurisdictions, new.id: replace(new, within=frozenset())})
    unknown = sorted(new.within - before.jurisdictions.keys() - {new.id})
    circular = sorted(place for place in new.within if new.id in after.above({place}))
    return [
        *(Fault(detail=f"{place} is not a registered jurisdiction.", pointer="/within") for place in unknown),
        *(Fault(detail=f"Within {place}, {new.id} would lie in itself.", pointer="/within") for place in circular),
    ]


def end_jurisdiction(ports: Ports, credentials: Credentials, id: str) -> None:
    """Let it be a plain name again, that contains itself alone. Raises `NotPermitted`, `NotFound`, and `Conflict`
    while another lies within it."""
    standing = _administrator(ports, credentials)
    with laying_down(ports, standing, "directory") as (session, at):
        inside = [each.id for each in jurisdictions.jurisdictions(session).values() if id in each.within]
        if inside:
            raise Conflict(f"{', '.join(inside)} would be left within nothing: say where that lies first.")
        if not jurisdictions.end_jurisdiction(session, id, at=at):
            raise NotFound(f"There is no jurisdiction {id} registered.")
        _on_record(session, ports, standing, "end-jurisdiction", id)


def laid_down(ports: Ports, credentials: Credentials, *, known_at: Instant | None = None) -> tuple[Registers, Instant]:
    """What is registered, or was as of then, with the instant to look at it: no secret to anybody with a key."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        if not standing.principal.subject.profile.active:
            raise NotPermitted("Whoever is not active sees nothing here. Ask an administrator.")
        if known_at is None:
            return standing.registers, standing.now
        return jurisdictions.registers(session, at=known_at), known_at


def put_transfer(ports: Ports, credentials: Credentials, order: Order) -> tuple[Transfer, Instant]:
    """Let this be the rule between the two, with the instant from which on. Raises `NotPermitted` or `Invalid`."""
    standing = _administrator(ports, credentials)
    with laying_down(ports, standing, "directory") as (session, at):
        before = _between(jurisdictions.transfers(session), order)
        rule = Transfer(
            id=f"trf_{ports.new_id()}",
            origin=order.origin,
            destination=order.destination,
            basis=order.basis,
            evidence=order.evidence,
            valid_from=order.valid_from if order.valid_from is not None else before.valid_from if before else at,
            expires_at=order.expires_at,
            reason=order.reason,
            recorded_at=at,
            recorded_by=standing.principal.subject.ref,
        )
        if rule.valid_from >= rule.expires_at:
            fault = Fault(detail="A rule ends after it begins.", pointer="/expires_at")
            raise Invalid("The rule would never be in force.", faults=(fault,))
        if before is not None and _same(before, rule):
            return before, at
        jurisdictions.record_transfer(session, rule, at=at)
        about = f"{rule.origin} to {rule.destination}"
        _on_record(session, ports, standing, "put-transfer", rule.id, between=about, reason=rule.reason)
    return rule, at


def end_transfer(ports: Ports, credentials: Credentials, id: str, *, reason: str) -> None:
    """End a rule: no request that starts after this returns is answered by it. Raises `NotPermitted` or `NotFound`."""
    standing = _administrator(ports, credentials)
    with laying_down(ports, standing, "directory") as (session, at):
        by = standing.principal.subject.ref
        if not jurisdictions.end_transfer(session, id, reason=reason, at=at, by=by):
            raise NotFound("There is no such transfer rule, or it was ended or replaced before.")
        _on_record(session, ports, standing, "end-transfer", id, reason=reason)


def _between(rules: list[Transfer], order: Order) -> Transfer | None:
    ends = (order.origin, order.destination)
    return next((rule for rule in rules if (rule.origin, rule.destination) == ends), None)


def _same(before: Transfer, after: Transfer) -> bool:
    recorded = {"id": before.id, "recorded_at": before.recorded_at, "recorded_by": before.recorded_by}
    return before == replace(after, **recorded)  # type: ignore[arg-type]


def _administrator(ports: Ports, credentials: Credentials) -> Standing:
    with reading(ports.engine) as session:
        return authorize.administrator(ports, session, credentials)


def _on_record(session: Session, ports: Ports, standing: Standing, what: str, about: str, **more: str) -> None:
    request = {"what": what, "about": about, **more}
    record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
