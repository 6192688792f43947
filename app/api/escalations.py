"""Recourse: asking people for what a rule refuses, deciding about it, asking again, and grants."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.retrieve import AnswerOut, answer_out
from app.api.wire import InstantIn, Name, Storable, Text, Wire
from app.domain.citation import CitationId
from app.domain.corpus import DocumentId
from app.domain.errors import Fault, Invalid
from app.domain.instants import Instant, iso
from app.domain.recourse import EscalationId, EscalationKind, EscalationState, Latency, Verdict
from app.domain.trace import TraceId
from app.operations import escalate, notify
from app.operations.escalate import Petition, Ruled, Seen
from app.store.grants import Given

routes = APIRouter(tags=["recourse"], responses=ASKED)

Reason = Annotated[str, StringConstraints(min_length=1, max_length=4000), Storable]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200), Storable]
Cursor = Annotated[str, StringConstraints(max_length=100), Storable]
Minutes = Annotated[int, Field(ge=1, le=525_600)]

_ASKED: JsonDict = {
    "kind": "override",
    "trace_id": "tr_mxylfwm5ymkxa5gcifi2c432nt",
    "reason": "The partner's analysis of claims starts on Monday; the agreement is signed.",
    "minutes": 480,
    "share_question": True,
}
_DECIDED: JsonDict = {
    "decision": "approve",
    "reason": "Covered by the agreement of March; three passages are enough.",
    "minutes": 120,
    "obligations": ["max-passages:3"],
}
_ESCALATION: JsonDict = {
    "id": "esc_4wrij62whllid6p5he5q545sfe",
    "kind": "override",
    "state": "waiting",
    "subject": "user:ana",
    "actors": [],
    "proof": "proven",
    "trace_id": "tr_mxylfwm5ymkxa5gcifi2c432nt",
    "question": "Can I share this customer dataset with our partner for analysis?",
    "collection": None,
    "document": None,
    "citation": None,
    "purpose": "partner-analytics",
    "client": "member-17",
    "destination": "US",
    "rules": ["consent-missing", "transfer-not-covered"],
    "reason": "The partner's analysis of claims starts on Monday; the agreement is signed.",
    "wanted_until": None,
    "wanted_minutes": 480,
    "routed_to": ["group:compliance"],
    "waits_for": [["group:compliance"]],
    "raised_to": [],
    "opened_at": "2026-11-22T09:00:00Z",
    "expires_at": "2026-12-06T09:00:00Z",
    "closed_at": None,
    "decisions": [],
    "grant": None,
    "asked_again": [],
    "may_decide": False,
    "href": "/v1/escalations/esc_4wrij62whllid6p5he5q545sfe",
}


class EscalationBody(Wire):
    """`request-access` names a collection; `override`, the trace of a question that was escalated; `dispute-label`, a
    document or a citation; `dispute-answer`, the trace of an answer; `ask`, whatever it is about. A refusal's
    `recourse` holds the body to post, but for the reason."""

    model_config = ConfigDict(json_schema_extra={"example": _ASKED})
    kind: EscalationKind = Field(strict=False)
    reason: Reason
    trace_id: Id | None = None
    collection: Name | None = None
    document: Id | None = None
    citation: Id | None = None
    purpose: Name | None = Field(default=None, description="The one that access is wanted for; unset: whichever.")
    until: InstantIn | None = None
    minutes: Minutes | None = Field(default=None, description="Counted from the approval on.")
    share_question: bool = Field(
        default=False, description="Whether those who decide may read the question that the trace is of."
    )

    def domain(self) -> Petition:
        return Petition(
            kind=self.kind,
            reason=self.reason,
            trace=TraceId(self.trace_id) if self.trace_id is not None else None,
            collection=self.collection,
            document=DocumentId(self.document) if self.document is not None else None,
            citation=CitationId(self.citation) if self.citation is not None else None,
            purpose=self.purpose,
            until=self.until,
            minutes=self.minutes,
            share_question=self.share_question,
        )


class DecisionBody(Wire):
    """An approval says until when, or for how many minutes; it may only narrow what was asked for. `answer` is for
    disputes and questions, and `withdraw` for whoever asked."""

    model_config = ConfigDict(json_schema_extra={"example": _DECIDED})
    decision: Verdict = Field(strict=False)
    reason: Reason
    until: InstantIn | None = None
    minutes: Minutes | None = None
    purpose: Name | None = None
    obligations: list[Annotated[str, StringConstraints(max_length=200), Storable]] = Field(
        default_factory=list, max_length=20, description="What must be done with every answer that it makes possible."
    )

    def domain(self) -> Ruled:
        limits = {
            "until": self.until is not None,
            "minutes": self.minutes is not None,
            "purpose": self.purpose is not None,
            "obligations": bool(self.obligations),
        }
        stated = [name for name, given in limits.items() if given]
        if stated and self.decision is not Verdict.APPROVE:
            faults = tuple(Fault(detail="Only an approval has it.", pointer=f"/{name}") for name in stated)
            raise Invalid("Only an approval has limits.", faults=faults)
        if self.until is not None and self.minutes is not None:
            fault = Fault(detail="State this or until, and not both.", pointer="/minutes")
            raise Invalid("The end was stated twice.", faults=(fault,))
        return Ruled(
            verdict=self.decision,
            reason=self.reason,
            until=self.until,
            minutes=self.minutes,
            purpose=self.purpose,
            obligations=tuple(self.obligations),
        )


class DecidedOut(BaseModel):
    decision: Verdict
    by: str
    at: str
    reason: str
    until: str | None
    purpose: str | None
    obligations: list[str]


class EscalationOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": _ESCALATION})
    id: str
    kind: EscalationKind
    state: EscalationState
    subject: str
    actors: list[str] = Field(description="Through whom it was asked, sender first.")
    proof: str
    trace_id: str | None
    question: str | None = Field(description="To whoever asked it, and if that was agreed to, to those who decide.")
    collection: str | None
    document: str | None
    citation: str | None
    purpose: str | None
    client: str | None
    destination: str | None
    rules: list[str] = Field(description="The codes of the rules that an override waives.")
    reason: str
    wanted_until: str | None
    wanted_minutes: int | None
    routed_to: list[str]
    waits_for: list[list[str]] = Field(description="One of each of these has yet to decide.")
    raised_to: list[str] = Field(description="Who may decide in anybody's place, since nobody did in time.")
    opened_at: str
    expires_at: str
    closed_at: str | None
    decisions: list[DecidedOut]
    grant: str | None
    asked_again: list[str] = Field(description="The traces of the question, asked again.")
    may_decide: bool = Field(description="Whether whoever reads this may decide now.")
    href: str


class EscalationsOut(BaseModel):
    escalations: list[EscalationOut]
    cursor: str | None


class GrantOut(BaseModel):
    id: str
    kind: str
    subject: str
    collections: list[str]
    waives: list[str]
    purpose: str | None
    client: str | None
    destination: str | None
    obligations: list[str]
    begins: str
    ends: str
    because: str = Field(description="The escalation that it answers, or the ticket that the glass was broken for.")
    granted_by: str
    revoked_at: str | None
    revoked_by: str | None


class GrantsOut(BaseModel):
    grants: list[GrantOut]
    cursor: str | None


class LatencyOut(BaseModel):
    name: str
    decided: int
    median_s: float | None
    p90_s: float | None
    waiting: int
    oldest_waiting_s: float | None


class LatenciesOut(BaseModel):
    groups: list[LatencyOut] = Field(description="By who decides.")
    teams: list[LatencyOut] = Field(description="By the team of whoever asked; for auditors and administrators.")


class NoticeOut(BaseModel):
    id: str
    recipient: str
    kind: str
    about: dict[str, Any]
    at: str


class NoticesOut(BaseModel):
    notices: list[NoticeOut]
    cursor: str | None = Field(description="Send it along the next time: what comes after it is told then.")


@routes.post(
    "/v1/escalations",
    status_code=201,
    summary="Ask people for what a rule refuses",
    responses={**problems(404, 409, 429), **SENT},
)
def post_escalation(body: EscalationBody, asking: Asking, ports: PortsOf, response: Response) -> EscalationOut:
    """Routed to the owners of what it is about, or to whom the rules name. What the principal may not know of is
    answered as if it were absent."""
    made = _escalation(escalate.escalate(ports, asking, body.domain()))
    response.headers["Location"] = made.href
    return made


@routes.get("/v1/escalations", summary="Escalations that one asked for or may decide about, newest first")
def get_escalations(
    asking: Asking,
    ports: PortsOf,
    state: EscalationState | None = None,
    cursor: Cursor | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> EscalationsOut:
    """For auditors, everybody's."""
    before = EscalationId(cursor) if cursor else None
    found = escalate.listed(ports, asking, state=state, before=before, limit=limit)
    last = found[-1].escalation.id if len(found) == limit else None
    return EscalationsOut(escalations=[_escalation(each) for each in found], cursor=last)


@routes.get("/v1/escalations/latencies", summary="How long decisions take")
def get_latencies(asking: Asking, ports: PortsOf, days: Annotated[int, Query(ge=1, le=3660)] = 90) -> LatenciesOut:
    """For auditors and administrators of all groups, for others of those they are in."""
    found = escalate.latencies(ports, asking, days=days)
    return LatenciesOut(
        groups=[_latency(name, each) for name, each in found.groups.items()],
        teams=[_latency(name, each) for name, each in found.teams.items()],
    )


@routes.get("/v1/escalations/{id}", summary="How far an escalation is", responses=problems(404))
def get_escalation(id: Text, asking: Asking, ports: PortsOf) -> EscalationOut:
    """For whoever asked, those who decide, and auditors."""
    return _escalation(escalate.escalation(ports, asking, EscalationId(id)))


@routes.post(
    "/v1/escalations/{id}/decision", summary="Decide about an escalation", responses={**problems(404, 409), **SENT}
)
def post_decision(id: Text, body: DecisionBody, asking: Asking, ports: PortsOf) -> EscalationOut:
    """For members of whom it was routed to, and never for whoever asked. Where rules name several groups, each decides:
    all have to approve, and the shortest time and all obligations hold."""
    return _escalation(escalate.decide(ports, asking, EscalationId(id), body.domain()))


@routes.post(
    "/v1/escalations/{id}/ask-again",
    summary="Ask the original question again",
    responses=problems(404, 409),
)
def post_ask_again(id: Text, asking: Asking, ports: PortsOf) -> AnswerOut:
    """The question that it is about, as it was put, under what is decided now. The traces name each other."""
    return answer_out(escalate.ask_again(ports, asking, EscalationId(id)))


@routes.get("/v1/grants", summary="Grants, newest first")
def get_grants(
    asking: Asking, ports: PortsOf, cursor: Cursor | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> GrantsOut:
    """One's own; for auditors and administrators, everybody's."""
    found = escalate.granted(ports, asking, before=cursor or None, limit=limit)
    return GrantsOut(
        grants=[_grant(each) for each in found], cursor=found[-1].grant.id if len(found) == limit else None
    )


@routes.delete(
    "/v1/grants/{id}",
    status_code=204,
    summary="Revoke a grant, at once",
    responses=problems(404, 409),
    response_class=Response,
)
def delete_grant(id: Text, asking: Asking, ports: PortsOf) -> Response:
    """For whom it was given to, those who may decide about it, owners of what it opens, and administrators."""
    escalate.revoke(ports, asking, id)
    return Response(status_code=204)


@routes.get("/v1/notices", summary="What one is told, oldest first")
def get_notices(
    asking: Asking, ports: PortsOf, cursor: Cursor | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> NoticesOut:
    """Addressed to oneself, or to a group that one is in: ids and kinds, and no content."""
    found = notify.notices(ports, asking, after=cursor or None, limit=limit)
    return NoticesOut(
        notices=[
            NoticeOut(id=each.id, recipient=each.recipient, kind=each.kind, about=dict(each.about), at=iso(each.at))
            for each in found
        ],
        cursor=found[-1].id if found else cursor,
    )


def _escalation(seen: Seen) -> EscalationOut:
    found = seen.escalation
    return EscalationOut(
        id=found.id,
        kind=found.kind,
        state=found.state,
        subject=found.subject,
        actors=list(found.actors),
        proof=found.proof,
        trace_id=found.trace,
        question=seen.question,
        collection=found.collection,
        document=found.document,
        citation=found.citation,
        purpose=found.purpose,
        client=found.client,
        destination=found.destination,
        rules=sorted(found.codes),
        reason=found.reason,
        wanted_until=_iso(found.wanted_until),
        wanted_minutes=found.wanted_minutes,
        routed_to=sorted(frozenset().union(*found.desks)),
        waits_for=[sorted(found.desks[number]) for number in found.pending],
        raised_to=sorted(found.afterwards or ()),
        opened_at=iso(found.opened_at),
        expires_at=iso(found.expires_at),
        closed_at=_iso(found.closed_at),
        decisions=[
            DecidedOut(
                decision=each.verdict,
                by=each.by,
                at=iso(each.at),
                reason=each.reason,
                until=_iso(each.until),
                purpose=each.purpose,
                obligations=list(each.obligations),
            )
            for each in found.decisions
        ],
        grant=found.grant,
        asked_again=list(found.repeats),
        may_decide=seen.decidable,
        href=f"/v1/escalations/{found.id}",
    )


def _grant(given: Given) -> GrantOut:
    grant = given.grant
    return GrantOut(
        id=grant.id,
        kind=grant.kind,
        subject=grant.subject,
        collections=sorted(grant.collections),
        waives=sorted(grant.waives),
        purpose=grant.purpose,
        client=grant.client,
        destination=grant.destination,
        obligations=list(grant.obligations),
        begins=iso(grant.begins),
        ends=iso(grant.ends),
        because=grant.because,
        granted_by=grant.granted_by,
        revoked_at=_iso(given.revoked_at),
        revoked_by=given.revoked_by,
    )


def _latency(name: str, found: Latency) -> LatencyOut:
    return LatencyOut(
        name=name,
        decided=found.decided,
        median_s=_seconds(found.median_ms),
        p90_s=_seconds(found.p90_ms),
        waiting=found.waiting,
        oldest_waiting_s=_seconds(found.oldest_waiting_ms),
    )


def _seconds(ms: int | None) -> float | None:
    return ms / 1000 if ms is not None else None


def _iso(instant: Instant | None) -> str | None:
    return iso(instant) if instant is not None else None
