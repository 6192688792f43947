"""Emergencies: the glass broken, seen, ended."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import Name, Text, Title, Wire
from app.domain.access import BrokenGlass
from app.domain.instants import Instant, iso
from app.operations import break_glass
from app.operations.break_glass import Emergency

routes = APIRouter(tags=["break-glass"], responses=ASKED)


class BreakGlassBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticket": "INC-2041",
                "reason": "The hospital needs the policy terms of a patient tonight.",
                "minutes": 30,
                "collections": ["contracts"],
            }
        }
    )
    ticket: Name
    reason: Title
    minutes: int = Field(ge=1, le=1440, description="The server may have a lower limit, and says so.")
    collections: list[Name] = Field(min_length=1, max_length=100)


class BrokenGlassOut(BaseModel):
    id: str
    subject: str
    ticket: str
    reason: str
    collections: list[str] = Field(description="An owner sees those of its own.")
    state: Literal["open", "over", "ended"]
    begins: str
    ends: str
    ended_at: str | None = Field(description="When somebody ended it before its time.")
    ended_by: str | None


class BrokenGlassesOut(BaseModel):
    broken_glasses: list[BrokenGlassOut]


@routes.post("/v1/break-glass", status_code=201, summary="Open collections in an emergency", responses=SENT)
def post_break_glass(body: BreakGlassBody, asking: Asking, ports: PortsOf) -> BrokenGlassOut:
    """For a person whom a policy lets, with an access token that a second factor was used for. Until it ends, what is
    asked with such a token reaches into these collections as a reader would: every rule that forbids still does.
    Owners and auditors are told, and each answer says so."""
    broken = break_glass.break_glass(
        ports,
        asking,
        Emergency(
            ticket=body.ticket,
            reason=body.reason,
            minutes=body.minutes,
            collections=frozenset(body.collections),
        ),
    )
    return _broken(broken, broken.grant.begins)


@routes.get("/v1/break-glass", summary="Whoever broke the glass")
def get_break_glass(asking: Asking, ports: PortsOf) -> BrokenGlassesOut:
    """Newest first, those that are over too: for auditors all, for owners those of their collections, and one's own."""
    found, now = break_glass.broken(ports, asking)
    return BrokenGlassesOut(broken_glasses=[_broken(each, now) for each in found])


@routes.delete(
    "/v1/break-glass/{id}",
    status_code=204,
    summary="End it, at once",
    responses=problems(404, 409),
    response_class=Response,
)
def delete_break_glass(id: Text, asking: Asking, ports: PortsOf) -> Response:
    """For whoever broke it, the owners of what it opened, and auditors."""
    break_glass.mend(ports, asking, id)
    return Response(status_code=204)


def _broken(found: BrokenGlass, now: Instant) -> BrokenGlassOut:
    grant = found.grant
    return BrokenGlassOut(
        id=grant.id,
        subject=grant.subject,
        ticket=grant.because,
        reason=grant.reason,
        collections=sorted(grant.collections),
        state="open" if found.is_open(now) else "over" if found.ended_at is None else "ended",
        begins=iso(grant.begins),
        ends=iso(grant.ends),
        ended_at=iso(found.ended_at) if found.ended_at is not None else None,
        ended_by=found.ended_by,
    )
