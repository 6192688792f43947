"""Citations reopened, and traces."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StringConstraints

from app.api.credentials import Asking
from app.api.documents import ElementOut, VersionOut, element_out, version_out
from app.api.ports import PortsOf
from app.api.problems import ASKED, problems
from app.api.retrieve import ObligationOut, RedactionOut, obligation_out, redaction_out
from app.api.wire import Name, Storable, Text
from app.domain.citation import CitationId
from app.domain.corpus import Lifecycle
from app.domain.errors import NotFound
from app.domain.instants import iso
from app.domain.trace import TraceId
from app.operations import erase, read, review

routes = APIRouter(tags=["reading back"], responses=ASKED)


class ReopenedOut(BaseModel):
    id: str
    text: str
    span: tuple[int, int]
    quote_digest: str
    before: str = Field(description="The text just before the quote, in the same version.")
    after: str
    elements: list[ElementOut]
    obligations: list[ObligationOut]
    redactions: list[RedactionOut] = Field(description="What is blacked out of the quote and of what is around it.")
    current: bool = Field(description="Whether its version is in force now.")
    source: VersionOut


class LinkOut(BaseModel):
    """An escalation that a trace is part of: of the same question, asked at first and again."""

    escalation: str
    state: str
    grant: str | None
    first: str | None
    again: list[str]


class TraceOut(BaseModel):
    id: str
    at: str
    kind: str
    subject: str
    actor: str | None = Field(description="The assistant that sent the request for the subject.")
    actors: list[str] = Field(description="The whole chain of assistants, whoever sent the request first.")
    proof: str
    outcome: str
    request: dict[str, Any] = Field(description="`query` is null to everybody but the one who asked.")
    response: dict[str, Any]
    grounds: dict[str, Any] | None = Field(
        description="For auditors: what the decision rested on, and what was dropped."
    )
    links: list[LinkOut] = Field(description="Of a trace by its id: what became of it with people.")


class TracesOut(BaseModel):
    traces: list[TraceOut]
    cursor: str | None


@routes.get("/v1/citations/{id}", summary="A citation, opened again", responses=problems(404))
def get_citation(id: Text, asking: Asking, ports: PortsOf, purpose: Name | None = None) -> ReopenedOut:
    """The passage, what is around it, and whether it is still current. Authorized again, now."""
    try:
        found = read.citation(ports, asking, CitationId(id), purpose=purpose)
    except NotFound as absent:
        raise erase.explained(ports, asking, absent, CitationId(id)) from None
    return ReopenedOut(
        id=found.id,
        text=found.quote,
        span=(found.span.start, found.span.end),
        quote_digest=found.quote_digest,
        before=found.before,
        after=found.following,
        elements=[element_out(element) for element in found.elements],
        obligations=[obligation_out(each) for each in found.obligations],
        redactions=[redaction_out(each) for each in found.redactions],
        current=found.shown.lifecycle is Lifecycle.CURRENT,
        source=version_out(ports, found.shown),
    )


@routes.get("/v1/traces", summary="Traces, newest first")
def get_traces(
    asking: Asking,
    ports: PortsOf,
    cursor: Annotated[str, StringConstraints(max_length=100), Storable] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TracesOut:
    """One's own; for auditors, everybody's."""
    found = review.traces(ports, asking, before=TraceId(cursor) if cursor else None, limit=limit)
    return TracesOut(
        traces=[_trace(each) for each in found], cursor=found[-1].trace.id if len(found) == limit else None
    )


@routes.get("/v1/traces/{id}", summary="One trace", responses=problems(404))
def get_trace(id: Text, asking: Asking, ports: PortsOf) -> TraceOut:
    return _trace(review.trace(ports, asking, TraceId(id)))


def _trace(reviewed: review.Reviewed) -> TraceOut:
    trace = reviewed.trace
    return TraceOut(
        id=trace.id,
        at=iso(trace.at),
        kind=trace.kind,
        subject=trace.subject,
        actor=trace.actors[0] if trace.actors else None,
        actors=list(trace.actors),
        proof=trace.proof,
        outcome=trace.outcome,
        request=dict(trace.request),
        response=dict(trace.response),
        grounds=dict(trace.grounds) if reviewed.audited else None,
        links=[
            LinkOut(escalation=each.id, state=each.state, grant=each.grant, first=each.trace, again=list(each.repeats))
            for each in reviewed.escalations
        ],
    )
