"""Consents of clients: given with evidence, withdrawn at once, and kept by whoever answers for the purpose."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import Action
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.instants import Instant
from app.domain.jurisdictions import Consent, ConsentEvidence
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.duties import NOT_FOR_ONESELF, opens_to
from app.operations.identify import Credentials, Standing, identify
from app.ports import Institution, Ports
from app.store import jurisdictions
from app.store.database import reading, recording

KEEPERS_ONLY = (
    "Consents are kept by administrators, and by whoever answers for the purpose, in person: see GET /v1/purposes."
)
ABSENT = "There is no consent by that id that you keep."


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A consent as somebody states it."""

    client: str
    purpose: str
    jurisdictions: frozenset[str]
    evidence: ConsentEvidence
    given_at: Instant | None
    """None: now."""
    expires_at: Instant


def give(ports: Ports, credentials: Credentials, order: Order) -> tuple[Consent, Instant]:
    """Put a consent in force, with the instant of that. Raises `NotPermitted`, or `Invalid` for an unknown purpose."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        kept = _kept(ports, session, standing)
        if kept is not None and order.purpose not in kept:
            raise NotPermitted(KEEPERS_ONLY)
        if order.purpose not in authorize.register(ports, session, standing).purposes:
            raise _invalid("That purpose is not registered: see GET /v1/purposes.", "/purpose")
    if order.evidence == ConsentEvidence():
        raise _invalid("A consent has evidence: a uri, a digest or a text.", "/evidence")
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        given = Consent(
            id=f"con_{ports.new_id()}",
            client=order.client,
            purpose=order.purpose,
            jurisdictions=order.jurisdictions,
            evidence=order.evidence,
            given_at=order.given_at if order.given_at is not None else at,
            expires_at=order.expires_at,
            recorded_at=at,
            recorded_by=standing.principal.subject.ref,
        )
        if given.given_at >= given.expires_at:
            raise _invalid("A consent ends after it was given.", "/expires_at")
        if opens_to(session, standing, given):
            raise NotPermitted(NOT_FOR_ONESELF)
        jurisdictions.record_consent(session, given)
        _on_record(session, ports, standing, "give-consent", given)
    return given, at


def withdraw(ports: Ports, credentials: Credentials, id: str, *, reason: str) -> tuple[Consent, Instant]:
    """Withdraw it: no request that starts after this returns is answered by it.

    Raises `NotPermitted`, `NotFound`, and `Conflict` if it was withdrawn before.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        kept = _kept(ports, session, standing)
        found = jurisdictions.consent(session, id)
        if found is None or (kept is not None and found.purpose not in kept):
            raise NotFound(ABSENT)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        if not jurisdictions.withdraw_consent(session, id, reason=reason, at=at, by=standing.principal.subject.ref):
            raise Conflict("This consent was withdrawn before.")
        _on_record(session, ports, standing, "withdraw-consent", found, reason=reason)
        session.flush()
        withdrawn = jurisdictions.consent(session, id)
    assert withdrawn is not None
    return withdrawn, at


def listed(
    ports: Ports, credentials: Credentials, *, client: str | None, purpose: str | None, limit: int
) -> tuple[list[Consent], Instant]:
    """The newest consents that the principal keeps, withdrawn ones too, with the instant to look at them."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        kept = _kept(ports, session, standing)
        found = jurisdictions.consents(session, client=client, purpose=purpose, purposes=kept, limit=limit)
    return found, standing.now


def _kept(ports: Ports, session: Session, standing: Standing) -> frozenset[str] | None:
    """The purposes whose consents the principal keeps; None for an administrator, who keeps all."""
    if authorize.permitted(ports, session, standing, Action.MANAGE, Institution()):
        return None
    own = authorize.purposes_of(ports, session, standing)
    if not own:
        raise NotPermitted(KEEPERS_ONLY)
    return own


def _invalid(detail: str, pointer: str) -> Invalid:
    return Invalid("The consent cannot be taken; nothing was changed.", faults=(Fault(detail=detail, pointer=pointer),))


def _on_record(session: Session, ports: Ports, standing: Standing, what: str, about: Consent, **more: str) -> None:
    request = {"what": what, "about": about.id, "client": about.client, "purpose": about.purpose, **more}
    record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
