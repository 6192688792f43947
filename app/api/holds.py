"""Legal holds: placed, seen, released."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import Name, Text, Title, Wire
from app.domain.corpus import DocumentId
from app.domain.erasure import Hold, HoldId
from app.domain.instants import iso
from app.operations import hold
from app.operations.hold import Order

routes = APIRouter(tags=["legal holds"], responses=ASKED)


class HoldBody(Wire):
    """On documents, or on collections with all that is put in later."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "title": "Northlight litigation",
                "reason": "Counsel expects a claim.",
                "matter": "2026-114",
                "documents": ["doc_ycm4hswkclbmkpkltlte2st7ae"],
                "collections": [],
            }
        }
    )
    title: Title
    reason: Title
    matter: Title | None = None
    documents: list[Title] = Field(default_factory=list, max_length=10_000, description="Ids.")
    collections: list[Name] = Field(default_factory=list, max_length=1000)


class ReleaseBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "The claim was settled."}})
    reason: Title


class HoldOut(BaseModel):
    id: str
    title: str
    reason: str
    matter: str | None
    documents: list[str] = Field(description="Ids; an owner sees those of its collections that it may read.")
    collections: list[str]
    placed_at: str
    placed_by: str
    released_at: str | None
    released_by: str | None
    release_reason: str | None


class HoldsOut(BaseModel):
    holds: list[HoldOut]


@routes.post("/v1/holds", status_code=201, summary="Place a legal hold", responses={**problems(404), **SENT})
def post_hold(body: HoldBody, asking: Asking, ports: PortsOf) -> HoldOut:
    """For owners of what it covers, and administrators. While it is in force, nobody erases any of it."""
    placed = hold.place(
        ports,
        asking,
        Order(
            title=body.title,
            reason=body.reason,
            matter=body.matter,
            documents=frozenset(DocumentId(each) for each in body.documents),
            collections=frozenset(body.collections),
        ),
    )
    return _hold(placed)


@routes.get("/v1/holds", summary="Legal holds that may be known of")
def get_holds(asking: Asking, ports: PortsOf) -> HoldsOut:
    """Newest first, those that were released too."""
    return HoldsOut(holds=[_hold(each) for each in hold.listed(ports, asking)])


@routes.get("/v1/holds/{id}", summary="A legal hold", responses=problems(404))
def get_hold(id: Text, asking: Asking, ports: PortsOf) -> HoldOut:
    return _hold(hold.hold(ports, asking, HoldId(id)))


@routes.post("/v1/holds/{id}/release", summary="Release a legal hold", responses={**problems(404, 409), **SENT})
def post_release(id: Text, body: ReleaseBody, asking: Asking, ports: PortsOf) -> HoldOut:
    """For administrators: an owner cannot lift what stands in its own way."""
    return _hold(hold.release(ports, asking, HoldId(id), reason=body.reason))


def _hold(found: Hold) -> HoldOut:
    return HoldOut(
        id=found.id,
        title=found.title,
        reason=found.reason,
        matter=found.matter,
        documents=sorted(found.documents),
        collections=sorted(found.collections),
        placed_at=iso(found.placed_at),
        placed_by=found.placed_by,
        released_at=iso(found.released_at) if found.released_at is not None else None,
        released_by=found.released_by,
        release_reason=found.release_reason,
    )
