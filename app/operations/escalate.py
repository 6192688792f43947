"""Recourse: asking people for what a rule refuses, deciding about it, and asking the question again."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import (
    ALL_STAFF,
    BOOTSTRAP_ADMINISTRATOR,
    Action,
    Grant,
    GrantKind,
    Kind,
    Party,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
)
from app.domain.answer import Again, Answer
from app.domain.citation import CitationId
from app.domain.corpus import DocumentId
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted, RateLimited
from app.domain.instants import Instant, iso
from app.domain.obligations import KNOWN_FORMS, DutyKind, duty
from app.domain.recourse import (
    AFTERWARDS,
    MINUTE_MS,
    Decision,
    Desk,
    Escalation,
    EscalationId,
    EscalationKind,
    EscalationState,
    Latency,
    NoticeKind,
    Verdict,
    latency,
    limits_of,
    longest,
    state_after,
)
from app.domain.trace import Outcome, Trace, TraceId, TraceKind
from app.operations import authorize, discharge, read, route
from app.operations.attest import asked_in, record_with
from app.operations.identify import Credentials, Standing, identify
from app.operations.prepare import SYSTEM
from app.operations.retrieve import retrieve
from app.ports import Institution, Ports
from app.store import directory, escalations, grants, notices, traces
from app.store.database import reading, recording
from app.store.grants import Given

ABSENT: Final = "There is no escalation by that id that you may know of."
NO_TRACE: Final = "There is no answer of yours by that trace_id. GET /v1/traces lists them."
NO_COLLECTION: Final = "There is no collection by that name that you may know of. GET /v1/collections lists them."
NO_GRANT: Final = "There is no grant by that id that you may know of."
MOVED: Final = "Something that this depends on changed at the same moment. Send it again."
MAX_WAITING: Final = 100
"""Of one subject at once: people's attention is what this costs."""

_CLOCKWORK: Final = Principal(subject=Party(profile=Profile(ref=SYSTEM, display_name="clock"), groups=frozenset()))
"""On whose behalf it is on record what is done because its time has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Petition:
    """What somebody asks for, as it was sent. `None` is: not stated."""

    kind: EscalationKind
    reason: str
    trace: TraceId | None = None
    collection: str | None = None
    document: DocumentId | None = None
    citation: CitationId | None = None
    purpose: str | None = None
    until: Instant | None = None
    minutes: int | None = None
    share_question: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What somebody decides. `until` or `minutes` limit what is approved, and so do `purpose` and `obligations`."""

    verdict: Verdict
    reason: str
    until: Instant | None = None
    minutes: int | None = None
    purpose: str | None = None
    obligations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An escalation as it may be seen. The question's text is content of whoever asked it."""

    escalation: Escalation
    question: str | None
    own: bool
    decidable: bool
    """Whether this principal may decide now."""


# -- asking ------------------------------------------------------------------------------------------------------------

_NEEDED: Final = {
    EscalationKind.REQUEST_ACCESS: frozenset({"collection"}),
    EscalationKind.OVERRIDE: frozenset({"trace_id"}),
    EscalationKind.DISPUTE_LABEL: frozenset(),
    EscalationKind.DISPUTE_ANSWER: frozenset({"trace_id"}),
    EscalationKind.ASK: frozenset(),
}
_POSSIBLE: Final = {
    EscalationKind.REQUEST_ACCESS: frozenset({"trace_id", "purpose", "until", "minutes"}),
    EscalationKind.OVERRIDE: frozenset({"until", "minutes"}),
    EscalationKind.DISPUTE_LABEL: frozenset({"trace_id", "document", "citation", "purpose"}),
    EscalationKind.DISPUTE_ANSWER: frozenset({"document", "citation", "purpose"}),
    EscalationKind.ASK: frozenset({"trace_id", "collection", "document", "citation", "purpose"}),
}


def escalate(ports: Ports, credentials: Credentials, petition: Petition) -> Seen:
    """Ask the people whom it is up to.

    1. Whoever asks is active, and what is stated is what this kind of request is about.
    2. What it is about is the principal's own trace, or something that it may know of: else `NotFound`, as if absent.
    3. An override is of a question that was escalated, by rules that may still be waived.
    4. The same is asked for once at a time, and not too much at once.
    5. It is on record, and those who decide are told, if and only if it is acknowledged.
    """
    _check_form(petition)
    with reading(ports.engine) as session:
        standing = _unlimited(ports, session, credentials)
        trace = _own_trace(session, standing, petition.trace)
        collection, document = _about(ports, session, standing, petition)
        codes = _waived(ports, session, standing, petition, trace)
        desks = _desks(ports, session, standing, petition, trace, collection, codes)
    principal = standing.principal
    asked = dict(trace.request) if trace else {}
    override = petition.kind is EscalationKind.OVERRIDE
    with recording(ports.engine, ports.now()) as (session, at):
        if petition.until is not None and petition.until <= at:
            raise Invalid(
                "The time asked for is over.", faults=(Fault(detail="It lies in the past.", pointer="/until"),)
            )
        new = Escalation(
            id=EscalationId(f"esc_{ports.new_id()}"),
            kind=petition.kind,
            subject=principal.subject.ref,
            actors=tuple(actor.ref for actor in principal.actors),
            proof=principal.proof,
            team=principal.subject.profile.team,
            trace=trace.id if trace else None,
            asked_through=trace.actors if trace else (),
            collection=collection,
            document=document,
            citation=petition.citation,
            purpose=asked.get("purpose") if override else petition.purpose,
            client=asked.get("client") if override else None,
            destination=asked.get("destination") if override else None,
            codes=codes,
            reason=petition.reason,
            shares_question=petition.share_question and trace is not None,
            wanted_until=petition.until,
            wanted_minutes=petition.minutes,
            desks=desks,
            opened_at=at,
            expires_at=Instant(at + ports.recourse.expire_after_ms),
        )
        _check_not_waiting(session, new)
        escalations.open_escalation(session, new, ports.recourse)
        _tell(session, ports, NoticeKind.OPENED, new, new.seats, at=at)
        _on_record(session, ports, principal, "escalate", new)
    return _seen(standing, new, trace)


def _check_form(petition: Petition) -> None:
    stated = {
        "trace_id": petition.trace,
        "collection": petition.collection,
        "document": petition.document,
        "citation": petition.citation,
        "purpose": petition.purpose,
        "until": petition.until,
        "minutes": petition.minutes,
    }
    given = {name for name, value in stated.items() if value is not None}
    needed, possible = _NEEDED[petition.kind], _POSSIBLE[petition.kind]
    faults = [Fault(detail="It is missing.", pointer=f"/{name}") for name in sorted(needed - given)]
    faults += [
        Fault(detail=f"It means nothing for {petition.kind}.", pointer=f"/{name}")
        for name in sorted(given - needed - possible)
    ]
    for one, other in (("document", "citation"), ("until", "minutes")):
        if {one, other} <= given:
            faults.append(Fault(detail=f"State this or {one}, and not both.", pointer=f"/{other}"))
    if petition.kind is EscalationKind.DISPUTE_LABEL and not given & {"document", "citation"}:
        faults.append(Fault(detail="Name the document, or a citation of it.", pointer="/document"))
    if faults:
        raise Invalid(f"That is not what {petition.kind} takes; nothing was asked.", faults=tuple(faults))


def _acting(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    standing = identify(ports, session, credentials)
    if not route.active(standing):
        raise NotPermitted("Whoever is not active has no recourse here. Ask an administrator.")
    return standing


def _unlimited(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    """As `_acting`. Turning to people passes through no decision, so nothing that is limited is good for it."""
    standing = _acting(ports, session, credentials)
    if standing.principal.limited:
        raise NotPermitted(
            f"What was sent is limited to {standing.principal.limits}, and asking people and deciding are not among "
            "it. Send a credential that is not limited."
        )
    return standing


def _own_trace(session: Session, standing: Standing, id: TraceId | None) -> Trace | None:
    if id is None:
        return None
    found = traces.trace(session, id)
    if found is None or found.kind is not TraceKind.RETRIEVE or not _is_of(standing, found.subject, found.actors):
        raise NotFound(NO_TRACE)
    return found


def _is_of(standing: Standing, subject: PrincipalRef, actors: Sequence[PrincipalRef]) -> bool:
    """Whether it is the principal's own: the subject's, through whomever; or what those who act now did for it. To
    a credential that is limited, nothing is."""
    principal = standing.principal
    return not principal.limited and subject == principal.subject.ref and set(principal.acting) <= set(actors)


def _about(
    ports: Ports, session: Session, standing: Standing, petition: Petition
) -> tuple[str | None, DocumentId | None]:
    """The collection and document in question, both of which the principal may know of."""
    if petition.purpose is not None and petition.purpose not in _laid_down(ports, session, standing).purposes:
        fault = Fault(detail="Not a registered purpose: see GET /v1/purposes.", pointer="/purpose")
        raise Invalid("That purpose is not registered.", faults=(fault,))
    collection = petition.collection
    if collection is not None and collection not in (
        authorize.discoverable_collections(ports, session, standing)
        | authorize.curated_collections(ports, session, standing)
    ):
        raise NotFound(NO_COLLECTION)
    if petition.document is None and petition.citation is None:
        return collection, None
    cited = traces.citation(session, petition.citation) if petition.citation is not None else None
    document = cited.document if cited else petition.document
    if document is None:
        raise NotFound(read.ABSENT)
    shown = read.visible_versions(ports, session, standing, document, purpose=petition.purpose)
    home = next(
        (each.version.document.collection for each in shown if cited is None or each.version.id == cited.version), None
    )
    if home is None or collection not in (None, home):
        raise NotFound(read.ABSENT)
    return home, document


def _laid_down(ports: Ports, session: Session, standing: Standing) -> authorize.Register:
    return authorize.register(ports, session, standing)


def _waived(
    ports: Ports, session: Session, standing: Standing, petition: Petition, trace: Trace | None
) -> dict[str, str]:
    """The codes that an override is to waive, each with whom its rule names; raises `Conflict` if nobody may."""
    if petition.kind is not EscalationKind.OVERRIDE or trace is None:
        return {}
    if trace.outcome != Outcome.ESCALATED:
        raise Conflict("That question was not escalated, so nobody may waive what was decided. Ask compliance instead.")
    named = frozenset(
        policy
        for check in trace.response["checks"]
        if check["outcome"] in ("escalated", "blocked")
        for policy in check["policies"]
    )
    codes = route.waivable(_laid_down(ports, session, standing).rules, named)
    if codes is None:
        raise Conflict("The rules have changed since. Ask the question again, and see what is decided now.")
    return dict(codes)


def _desks(
    ports: Ports,
    session: Session,
    standing: Standing,
    petition: Petition,
    trace: Trace | None,
    collection: str | None,
    codes: dict[str, str],
) -> tuple[Desk, ...]:
    laid_down = _laid_down(ports, session, standing)
    if codes and trace is not None:
        purpose = laid_down.purposes.get(trace.request["purpose"] or "")
        return route.desks_named(ports, session, tuple(codes.values()), purpose, asked_by=route.askers(standing))
    if collection is None or petition.kind is EscalationKind.ASK:
        return (route.compliance(ports, session),)
    return route.owners(ports, session, laid_down.collections[collection], asked_by=route.askers(standing))


def _check_not_waiting(session: Session, new: Escalation) -> None:
    waiting = escalations.waiting_of(session, new.subject)
    for each in waiting:
        if _matter(each) == _matter(new):
            raise Conflict(f"You asked for this already, and it waits: {each.id}.")
    if len(waiting) >= MAX_WAITING:
        raise RateLimited(f"{MAX_WAITING} requests of yours wait already. Withdraw some, or wait for an answer.")


def _matter(each: Escalation) -> tuple[object, ...]:
    return (each.kind, each.actors, each.trace, each.collection, each.document, each.citation, each.purpose)


# -- seeing ------------------------------------------------------------------------------------------------------------


def escalation(ports: Ports, credentials: Credentials, id: EscalationId) -> Seen:
    """Raises `NotFound` to everybody but those who asked, those who decide, and auditors."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        return _found(ports, session, standing, id)


def listed(
    ports: Ports,
    credentials: Credentials,
    *,
    state: EscalationState | None,
    before: EscalationId | None,
    limit: int,
) -> list[Seen]:
    """Newest first, those that `escalation` shows. Raises `Invalid` if `before` is none of them."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        if before is not None:
            try:
                _found(ports, session, standing, before)
            except NotFound:
                raise Invalid("That cursor is not one that was given out here. Begin again without one.") from None
        audited = authorize.permitted(ports, session, standing, Action.AUDIT, Institution())
        if not (audited or route.active(standing)):
            return []
        subject = standing.principal.subject
        found = escalations.escalations(
            session,
            of=None if audited else subject.ref,
            seats=None if audited else _memberships(standing),
            state=state,
            before=before,
            limit=limit,
        )
        return [
            _seen(standing, each, traces.trace(session, each.trace) if each.trace else None)
            for each in found
            if _may_see(ports, session, standing, each)
        ]


def _found(ports: Ports, session: Session, standing: Standing, id: EscalationId) -> Seen:
    found = escalations.escalation(session, id)
    if found is None or not _may_see(ports, session, standing, found):
        raise NotFound(ABSENT)
    return _seen(standing, found, traces.trace(session, found.trace) if found.trace else None)


def _may_see(ports: Ports, session: Session, standing: Standing, found: Escalation) -> bool:
    if authorize.permitted(ports, session, standing, Action.AUDIT, Institution()):
        return True
    own = _is_of(standing, found.subject, found.actors)
    return route.active(standing) and (own or bool(_memberships(standing) & found.seats))


def _memberships(standing: Standing) -> frozenset[PrincipalRef]:
    """All that the principal is when it decides: nothing on an assistant's word, nor with what is limited."""
    principal = standing.principal
    if principal.proof is not Proof.PROVEN or principal.limited:
        return frozenset()
    return principal.subject.groups | {principal.subject.ref}


def _seen(standing: Standing, found: Escalation, trace: Trace | None) -> Seen:
    own = _is_of(standing, found.subject, found.actors)
    told = own or (found.shares_question and bool(_memberships(standing) & found.seats))
    eligible = _unfit(standing.principal, found) is None and bool(found.open_to(_memberships(standing)))
    question = trace.request.get("query") if trace and told else None
    return Seen(escalation=found, question=question, own=own, decidable=eligible)


# -- deciding ----------------------------------------------------------------------------------------------------------


def decide(ports: Ports, credentials: Credentials, id: EscalationId, ruled: Ruled) -> Seen:
    """Decide at every desk that one sits at; the last approval makes the grant.

    1. Whoever decides is a person, proven, with an unlimited credential, and a member of who it was routed to.
    2. It is none of those who asked, did not act through one of them, and has neither its seat nor its key from them.
    3. It still waits; for an override, the rules still name the same people.
    4. An approval lasts no longer than was asked for, or than is ever allowed; what it obliges to can be discharged.
    5. The decision, its grant, its trace and its notices are there together, or not at all.
    """
    with reading(ports.engine) as session:
        standing = _unlimited(ports, session, credentials)
        seen = _found(ports, session, standing, id)
        if ruled.verdict is Verdict.WITHDRAW and not seen.own:
            raise NotPermitted("Only whoever asked for it withdraws it. Deny it, if it is yours to decide.")
        laid_down = _laid_down(ports, session, standing)
    person = standing.principal.subject.ref
    moving = ("grants",) if ruled.verdict is Verdict.APPROVE else ()
    with recording(ports.engine, ports.now(), *moving) as (session, at):
        now, _ = directory.epochs_and_instant(session)
        if (now.directory, now.policies) != (standing.epochs.directory, standing.epochs.policies):
            raise Conflict(MOVED)
        found = escalations.escalation(session, id)
        assert found is not None
        if found.state is not EscalationState.WAITING:
            raise Conflict(f"This is no longer open: it is {found.state}.")
        decisions: tuple[Decision, ...]
        if ruled.verdict is Verdict.WITHDRAW:
            decisions = (Decision(desk=AFTERWARDS, by=person, verdict=ruled.verdict, reason=ruled.reason, at=at),)
        else:
            desks = _seats_taken(session, standing, found)
            decision = _decision(ports, session, laid_down, found, ruled, at=at, by=person)
            decisions = tuple(replace(decision, desk=desk) for desk in desks)
        escalations.add_decisions(session, id, decisions)
        after = replace(
            found, decisions=(*found.decisions, *decisions), state=state_after(found, (*found.decisions, *decisions))
        )
        if after.state is EscalationState.APPROVED:
            after = _given(ports, session, after, at=at, by=person)
        if after.state is not EscalationState.WAITING:
            after = replace(after, closed_at=at)
            ends = limits_of(after, after.decisions).until if after.grant else None
            escalations.close_escalation(session, id, after.state, at=at, grant=after.grant, grant_ends=ends)
            withdrawn = after.state is EscalationState.WITHDRAWN
            kind = NoticeKind.WITHDRAWN if withdrawn else NoticeKind.DECIDED
            _tell(session, ports, kind, after, after.seats if withdrawn else {after.subject}, at=at)
        _on_record(session, ports, standing.principal, f"decide:{ruled.verdict}", after)
    return replace(seen, escalation=after, decidable=False)


def _unfit(principal: Principal, found: Escalation) -> str | None:
    """Why somebody may not decide, wherever it is a member; None if it may."""
    subject = principal.subject
    if subject.kind is not Kind.USER or subject.ref == BOOTSTRAP_ADMINISTRATOR:
        return "A person decides, and neither an assistant nor the bootstrap key."
    if principal.proof is not Proof.PROVEN:
        return "Whoever decides has to prove who they are, with their own key or token."
    if principal.limited:
        return "This credential is limited, and deciding is not among what it is good for."
    if {subject.ref, *(actor.ref for actor in principal.actors)} & found.requesters:
        return "Nobody decides about what they asked for themselves, or through whom it was asked."
    return None


def _seats_taken(session: Session, standing: Standing, found: Escalation) -> tuple[int, ...]:
    """The desks that are this person's to decide at; raises `NotPermitted` if none is.

    INVARIANT: what the requesters gave does not count: neither a membership, nor a key that they then know.
    """
    unfit = _unfit(standing.principal, found)
    if unfit is not None:
        raise NotPermitted(unfit)
    person = standing.principal.subject.ref
    if directory.holds_key_by(session, person, found.requesters):
        raise NotPermitted("Whoever asked for this issued a key of yours. Somebody else has to decide.")
    independent = directory.groups_above(session, {person, ALL_STAFF}, not_by=found.requesters)
    desks = found.open_to(independent | {person, ALL_STAFF})
    if not desks:
        raise NotPermitted("This is not yours to decide: you are in none of the groups that it waits for.")
    return desks


def _decision(
    ports: Ports,
    session: Session,
    laid_down: authorize.Register,
    found: Escalation,
    ruled: Ruled,
    *,
    at: Instant,
    by: PrincipalRef,
) -> Decision:
    """What is decided, held against what was asked. Raises `Invalid` naming each limit that is none."""
    decision = Decision(desk=0, by=by, verdict=ruled.verdict, reason=ruled.reason, at=at)
    if (ruled.verdict is Verdict.APPROVE) is not found.kind.wants_grant and ruled.verdict is not Verdict.DENY:
        wanted = "approve or deny" if found.kind.wants_grant else "answer or deny"
        raise Invalid(
            f"{found.kind} is not decided like that.",
            faults=(Fault(detail=f"Write {wanted}.", pointer="/decision"),),
        )
    if ruled.verdict is not Verdict.APPROVE:
        return decision
    if found.kind is EscalationKind.OVERRIDE and not route.may_be_waived(laid_down.rules, found.codes):
        raise Conflict("The rules have changed since this was asked. Deny it; it may be asked for anew.")
    until = Instant(at + ruled.minutes * MINUTE_MS) if ruled.minutes is not None else ruled.until
    faults = [*_faults_of_time(until, longest(found, ports.recourse, at=at), at=at)]
    if ruled.purpose is not None and (
        found.kind is EscalationKind.OVERRIDE or found.purpose not in (None, ruled.purpose)
    ):
        if ruled.purpose != found.purpose:
            faults.append(Fault(detail="An approval is for the purpose that was asked for.", pointer="/purpose"))
    elif ruled.purpose is not None and ruled.purpose not in laid_down.purposes:
        faults.append(Fault(detail="Not a registered purpose: see GET /v1/purposes.", pointer="/purpose"))
    for place, name in enumerate(ruled.obligations):
        asked_for = duty(name)
        if asked_for is None:
            faults.append(Fault(detail=f"It is no obligation. Write {KNOWN_FORMS}.", pointer=f"/obligations/{place}"))
        elif not discharge.can_be(ports, name):
            faults.append(Fault(detail="Nothing here can discharge it.", pointer=f"/obligations/{place}"))
        elif asked_for.kind is DutyKind.NOTIFY and asked_for.group and directory.missing(session, [asked_for.group]):
            faults.append(Fault(detail="That group is not in the directory.", pointer=f"/obligations/{place}"))
    if faults:
        raise Invalid("It cannot be approved like that; nothing was decided.", faults=tuple(faults))
    return replace(decision, until=until, purpose=ruled.purpose, obligations=ruled.obligations)


def _faults_of_time(until: Instant | None, latest: Instant, *, at: Instant) -> list[Fault]:
    if until is None:
        return [Fault(detail="Say until when the approval lasts, or for how many minutes.", pointer="/until")]
    if until <= at:
        return [Fault(detail="It lies in the past.", pointer="/until")]
    if until > latest:
        return [Fault(detail=f"It can last until {iso(latest)} at the most.", pointer="/until")]
    return []


def _given(ports: Ports, session: Session, approved: Escalation, *, at: Instant, by: PrincipalRef) -> Escalation:
    """The escalation with the grant that it comes to: within what was asked, and within every approval."""
    limits = limits_of(approved, approved.decisions)
    if limits.until <= at:
        raise Conflict("The time that another approval lasts for is over. Deny it; it may be asked anew.")
    opens = approved.kind is EscalationKind.REQUEST_ACCESS and approved.collection is not None
    new = Grant(
        id=f"gr_{ports.new_id()}",
        kind=GrantKind.ESCALATION,
        subject=approved.subject,
        collections=frozenset({approved.collection} if opens and approved.collection else ()),
        waives=frozenset(approved.codes),
        purpose=limits.purpose,
        client=approved.client,
        destination=approved.destination,
        obligations=limits.obligations,
        begins=at,
        ends=limits.until,
        because=approved.id,
        granted_by=by,
    )
    grants.record_grant(session, new, at=at)
    return replace(approved, grant=new.id)


# -- asking again ------------------------------------------------------------------------------------------------------


def ask_again(ports: Ports, credentials: Credentials, id: EscalationId) -> Answer:
    """The question that an escalation is about, put again by whoever put it, under what is decided now."""
    with reading(ports.engine) as session:
        standing = _unlimited(ports, session, credentials)
        seen = _found(ports, session, standing, id)
        found = seen.escalation
        trace = traces.trace(session, found.trace) if found.trace else None
    if not seen.own:
        raise NotPermitted("Only whoever asked asks again.")
    if trace is None:
        raise Conflict("This is about no question, so there is none to ask again.")
    if tuple(actor.ref for actor in standing.principal.actors) != found.actors:
        raise NotPermitted("Ask again as you asked: by yourself, or through the same assistants.")
    return retrieve(ports, credentials, replace(asked_in(trace), again=Again(escalation=id, first=trace.id)))


# -- grants ------------------------------------------------------------------------------------------------------------


def granted(ports: Ports, credentials: Credentials, *, before: str | None, limit: int) -> list[Given]:
    """Grants, newest first: one's own; for auditors and administrators, everybody's."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        whole = _oversees(ports, session, standing)
        if not whole and (standing.principal.limited or not route.active(standing)):
            return []
        subject = None if whole else standing.principal.subject.ref
        return grants.given(session, subject=subject, before=before, limit=limit)


def revoke(ports: Ports, credentials: Credentials, id: str) -> None:
    """End a grant: no response that begins after this returns rests on it.

    For its subject, those who may decide about it, owners of what it opens, and administrators; `NotFound` to others.
    """
    with reading(ports.engine) as session:
        standing = _acting(ports, session, credentials)
        found = grants.grant(session, id)
        about = escalations.of_grant(session, id)
        if found is None or not _may_revoke(ports, session, standing, found, about):
            raise NotFound(NO_GRANT)
    by = standing.principal.subject.ref
    with recording(ports.engine, ports.now(), "grants") as (session, at):
        if not grants.revoke_grant(session, id, at=at, by=by):
            raise Conflict("This grant was revoked before.")
        request = {"what": "revoke-grant", "grant": id, "escalation": about.id if about else None}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
        if about is not None:
            escalations.forget_end(session, about.id)
        told = {"grant": id, "escalation": about.id if about else None}
        _notice(session, ports, NoticeKind.GRANT_REVOKED, found.subject, told, at=at)


def _oversees(ports: Ports, session: Session, standing: Standing) -> bool:
    return any(
        authorize.permitted(ports, session, standing, action, Institution()) for action in (Action.AUDIT, Action.MANAGE)
    )


def _may_revoke(ports: Ports, session: Session, standing: Standing, found: Grant, about: Escalation | None) -> bool:
    return (
        (found.subject == standing.principal.subject.ref and not standing.principal.limited)
        or authorize.permitted(ports, session, standing, Action.MANAGE, Institution())
        or bool(found.collections & authorize.curated_collections(ports, session, standing))
        or (about is not None and bool(_memberships(standing) & about.seats))
    )


# -- time --------------------------------------------------------------------------------------------------------------


def run_due(ports: Ports) -> int:
    """Remind, raise, end what nobody decided, and tell of grants that have ended; how many times something was done.

    Each is done once, whoever is killed where: what is due, what is done and that it is done are one transaction.
    """
    done = 0
    while True:
        with reading(ports.engine) as session:
            if not escalations.anything_due(session, now=ports.now()):
                return done
        with recording(ports.engine, ports.now()) as (session, at):
            due = escalations.take_due(session, now=at)
            if due is not None:
                _when_due(ports, session, *due, at=at)
                done += 1


def _when_due(ports: Ports, session: Session, found: Escalation, timer: escalations.Timer, *, at: Instant) -> None:
    waits_for = frozenset().union(*(found.desks[number] for number in found.pending))
    if timer == "remind":
        _tell(session, ports, NoticeKind.REMINDER, found, waits_for, at=at)
    elif timer == "raise":
        afterwards = frozenset({ports.recourse.afterwards})
        escalations.seat(session, found.id, AFTERWARDS, afterwards)
        _tell(session, ports, NoticeKind.RAISED, found, waits_for | afterwards | {found.subject}, at=at)
    elif timer == "expire":
        found = replace(found, state=EscalationState.EXPIRED)
        escalations.close_escalation(session, found.id, found.state, at=at)
        _tell(session, ports, NoticeKind.EXPIRED, found, found.seats | {found.subject}, at=at)
    else:
        _tell(session, ports, NoticeKind.GRANT_ENDED, found, {found.subject}, at=at)
    _on_record(session, ports, _CLOCKWORK, f"time:{timer}", found)


# -- how long it takes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """By group that decides, and by team that asked."""

    groups: dict[str, Latency]
    teams: dict[str, Latency]


def latencies(ports: Ports, credentials: Credentials, *, days: int) -> Latencies:
    """How long decisions of the last days took, and what waits: all of it for auditors and administrators, and for
    others that of the groups that they are in."""
    with reading(ports.engine) as session:
        standing = _acting(ports, session, credentials)
        whole = _oversees(ports, session, standing)
        groups = None if whole else _memberships(standing)
        since = Instant(standing.now - days * 24 * 60 * MINUTE_MS)
        found = escalations.since(session, since)
    by_group: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    by_team: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for each in found:
        decided = {one.desk: one.at for one in each.decisions if one.desk != AFTERWARDS}
        for number, desk in enumerate(each.desks):
            for ref in desk if groups is None else desk & groups:
                _count(by_group[ref], each, decided.get(number), waits=number in each.pending, now=standing.now)
        if whole:
            last = max(decided.values()) if decided and each.closed_at is not None else None
            _count(by_team[each.team or ""], each, last, waits=bool(each.pending), now=standing.now)
    return Latencies(
        groups={name: latency(*by_group[name]) for name in sorted(by_group)},
        teams={name: latency(*by_team[name]) for name in sorted(by_team)},
    )


def _count(
    into: tuple[list[int], list[int]], each: Escalation, decided: Instant | None, *, waits: bool, now: Instant
) -> None:
    took, waiting = into
    if decided is not None:
        took.append(decided - each.opened_at)
    elif waits:
        waiting.append(now - each.opened_at)


# -- telling -----------------------------------------------------------------------------------------------------------


def _tell(
    session: Session,
    ports: Ports,
    kind: NoticeKind,
    about: Escalation,
    recipients: frozenset[PrincipalRef] | set[PrincipalRef],
    *,
    at: Instant,
) -> None:
    told = {"escalation": about.id, "kind": about.kind, "state": about.state, "grant": about.grant}
    for recipient in sorted(recipients):
        _notice(session, ports, kind, recipient, told, at=at)


def _notice(
    session: Session,
    ports: Ports,
    kind: NoticeKind,
    recipient: PrincipalRef,
    about: dict[str, str | None],
    *,
    at: Instant,
) -> None:
    notices.add_notice(session, recipient, kind, id=f"ntc_{ports.new_id()}", about=about, at=at)


def _on_record(session: Session, ports: Ports, principal: Principal, what: str, about: Escalation) -> None:
    request = {
        "what": what,
        "escalation": about.id,
        "kind": about.kind,
        "state": about.state,
        "trace": about.trace,
        "grant": about.grant,
    }
    record_with(session, ports, principal, TraceKind.CHANGE, outcome="changed", request=request)
