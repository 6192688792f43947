"""API keys: issued, listed, rotated, revoked."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.control import Id, Kind
from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import InstantIn, Name, Storable, Text, Wire
from app.domain.access import Action, PrincipalRef, Scope
from app.domain.instants import Instant, iso
from app.domain.keys import Key, KeyState
from app.operations import issue

routes = APIRouter(tags=["control plane"], responses=ASKED)

ActionWord = Literal[
    "read",
    "describe",
    "discover",
    "curate",
    "ask",
    "manage",
    "audit",
    "break-glass",
    "provision",
    "evaluate",
    "use",
]
Note = Annotated[str, StringConstraints(max_length=500), Storable]

MAX_OVERLAP_S = 7 * 86_400
DEFAULT_OVERLAP_S = 300


class KeyBody(Wire):
    """What is left out is no limit; an empty list would be one that nothing passes, and is refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "days": 90,
                "actions": ["ask", "read"],
                "collections": ["contracts"],
                "note": "the intranet bot",
            }
        }
    )
    expires_at: InstantIn | None = None
    days: int | None = Field(default=None, ge=1, le=36_500)
    actions: list[ActionWord] | None = Field(default=None, min_length=1, max_length=20)
    collections: list[Name] | None = Field(default=None, min_length=1, max_length=1000)
    note: Note = ""

    def domain(self) -> issue.Wanted:
        scope = Scope(actions=frozenset(map(Action, self.actions or ())), collections=frozenset(self.collections or ()))
        return issue.Wanted(scope=scope, expires=self.expires_at, days=self.days, note=self.note)


class RotationBody(Wire):
    """The successor ends when its predecessor would have, unless an administrator says otherwise."""

    model_config = ConfigDict(json_schema_extra={"example": {"overlap_s": 3600}})
    overlap_s: int = Field(
        default=DEFAULT_OVERLAP_S, ge=0, le=MAX_OVERLAP_S, description="How long the old key lives on; 0: not at all."
    )
    expires_at: InstantIn | None = None
    days: int | None = Field(default=None, ge=1, le=36_500)

    def domain(self) -> issue.Wanted:
        return issue.Wanted(expires=self.expires_at, days=self.days)


class IssuedKeyOut(BaseModel):
    id: str
    key: str = Field(description="Shown this once; only its digest is kept.")
    expires_at: str | None
    actions: list[str] | None
    collections: list[str] | None


class KeyOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "key_4wrij62whllid6p5he5q545sfe",
                "state": "active",
                "created_at": "2026-01-31T09:00:00Z",
                "created_by": "user:piet",
                "expires_at": "2026-05-01T09:00:00Z",
                "last_used": "2026-02-01T12:30:00Z",
                "actions": ["ask", "read"],
                "collections": ["contracts"],
                "note": "the intranet bot",
            }
        }
    )
    id: str
    state: KeyState
    created_at: str
    created_by: str
    expires_at: str | None = Field(description="When it is let in no longer, whatever ends it.")
    last_used: str | None = Field(description="To the minute or so.")
    actions: list[str] | None = Field(description="What it is good for; null: whatever its holder may do.")
    collections: list[str] | None
    note: str


class KeysOut(BaseModel):
    keys: list[KeyOut]


@routes.post(
    "/v1/principals/{kind}/{id}/keys", status_code=201, summary="Issue an API key", responses={**problems(404), **SENT}
)
def post_key(
    kind: Kind,
    id: Id,
    asking: Asking,
    ports: PortsOf,
    response: Response,
    body: Annotated[KeyBody, Body()] = KeyBody(),  # noqa: B008
) -> IssuedKeyOut:
    """For administrators. A key may be limited to actions, to collections and in time; a limit only narrows what its
    holder may do. With a key that is limited, only keys are issued that are limited to no more."""
    return _issued(issue.issue_key(ports, asking, PrincipalRef(f"{kind}:{id}"), body.domain()), response)


@routes.get("/v1/principals/{kind}/{id}/keys", summary="A principal's keys, without the keys", responses=problems(404))
def get_keys(kind: Kind, id: Id, asking: Asking, ports: PortsOf) -> KeysOut:
    """For administrators, and for whoever's they are."""
    return KeysOut(keys=[_key(key, state) for key, state in issue.keys(ports, asking, PrincipalRef(f"{kind}:{id}"))])


@routes.post(
    "/v1/principals/{kind}/{id}/keys/{key_id}/rotate",
    status_code=201,
    summary="Replace a key by a successor",
    responses={**problems(404, 409), **SENT},
)
def rotate_key(
    kind: Kind,
    id: Id,
    key_id: Text,
    asking: Asking,
    ports: PortsOf,
    response: Response,
    body: Annotated[RotationBody, Body()] = RotationBody(),  # noqa: B008
) -> IssuedKeyOut:
    """For administrators, and for whoever's it is. The successor is good for the same; the old key lives on for the
    overlap, so that nothing stands still while it is put in place."""
    ref = PrincipalRef(f"{kind}:{id}")
    issued = issue.rotate_key(ports, asking, ref, key_id, wanted=body.domain(), overlap_s=body.overlap_s)
    return _issued(issued, response)


@routes.delete(
    "/v1/principals/{kind}/{id}/keys/{key_id}",
    status_code=204,
    summary="Revoke a key, at once",
    responses=problems(404),
    response_class=Response,
)
def delete_key(kind: Kind, id: Id, key_id: Text, asking: Asking, ports: PortsOf) -> Response:
    """For administrators, and for whoever's it is."""
    issue.revoke_key(ports, asking, PrincipalRef(f"{kind}:{id}"), key_id)
    return Response(status_code=204)


def _issued(issued: issue.IssuedKey, response: Response) -> IssuedKeyOut:
    response.headers["Cache-Control"] = "no-store"
    return IssuedKeyOut(
        id=issued.id,
        key=issued.key,
        expires_at=iso(issued.expires) if issued.expires is not None else None,
        actions=_limit(issued.scope.actions),
        collections=_limit(issued.scope.collections),
    )


def _key(key: Key, state: KeyState) -> KeyOut:
    ends = [each for each in (key.expires, key.retires, key.revoked) if each is not None]
    return KeyOut(
        id=key.id,
        state=state,
        created_at=iso(key.created),
        created_by=key.created_by,
        expires_at=iso(min(ends)) if ends else None,
        last_used=_iso(key.last_used),
        actions=_limit(key.scope.actions),
        collections=_limit(key.scope.collections),
        note=key.note,
    )


def _iso(instant: Instant | None) -> str | None:
    return iso(instant) if instant is not None else None


def _limit(names: frozenset[Action] | frozenset[str]) -> list[str] | None:
    return sorted(names) or None
