"""The control plane: principals, keys, purposes and collections."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import (
    NAME,
    InstantIn,
    LabelWire,
    LevelWord,
    Name,
    Ref,
    Storable,
    Title,
    Wire,
    label_out,
    level_word,
    refs,
)
from app.domain.access import Collection, PrincipalRef, Profile, Purpose
from app.domain.instants import iso
from app.domain.labels import Level
from app.operations import read, register

routes = APIRouter(tags=["control plane"], responses=ASKED)

Kind = Literal["user", "group", "assistant"]
Group = Annotated[str, StringConstraints(pattern=r"^group:[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=140)]
Owner = Annotated[str, StringConstraints(pattern=r"^(user|group):[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=140)]
Id = Annotated[str, Path(pattern=NAME, max_length=128)]


_PRINCIPAL: JsonDict = {
    "display_name": "Ana Ferreira",
    "groups": ["group:legal"],
    "clearance": "confidential",
    "categories": ["pii"],
    "jurisdictions": ["EU"],
    "purposes": ["customer-support"],
    "collections": [],
    "active": True,
    "may_assert": False,
    "team": "legal",
}
_PURPOSE: JsonDict = {
    "title": "Analysis with a partner",
    "description": "Preparing, sharing or studying a customer dataset together with a partner.",
    "owner": "group:compliance",
    "legal_basis": "Consent of the client (Article 6(1)(a) GDPR)",
    "categories": [],
    "consent_required": True,
    "review_by": "2027-06-30T00:00:00Z",
}


class PrincipalBody(Wire):
    """A user's jurisdictions are where it is, and none means nowhere; an assistant's empty lists are no ceiling."""

    model_config = ConfigDict(json_schema_extra={"example": _PRINCIPAL})
    display_name: Title | None = None
    groups: list[Group] = Field(default_factory=list, max_length=500)
    clearance: LevelWord = "internal"
    categories: list[Name] = Field(default_factory=list, max_length=50)
    jurisdictions: list[Name] = Field(default_factory=list, max_length=300)
    purposes: list[Name] = Field(default_factory=list, max_length=300)
    collections: list[Name] = Field(default_factory=list, max_length=1000)
    active: bool = True
    may_assert: bool = False
    team: Title | None = None


class PrincipalOut(PrincipalBody):
    model_config = ConfigDict(json_schema_extra={"example": {"id": "user:ana", **_PRINCIPAL}})
    id: str
    display_name: str


class PrincipalsOut(BaseModel):
    principals: list[PrincipalOut]


class PurposeBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": _PURPOSE})
    title: Title
    description: Annotated[str, StringConstraints(max_length=5000), Storable] = ""
    owner: Owner | None = Field(default=None, description="Answers for it: keeps its consents, waives its rules.")
    legal_basis: Title | None = None
    categories: Annotated[list[Name], Field(max_length=50)] | None = Field(
        default=None, description="What it was registered for. Null: that is not laid down, so any."
    )
    consent_required: bool = Field(default=False, description="Whose data it is about has to have consented.")
    review_by: InstantIn | None = None


class PurposeOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": {"id": "partner-analytics", **_PURPOSE}})
    id: str
    title: str
    description: str
    owner: str | None
    legal_basis: str | None
    categories: list[str] | None
    consent_required: bool
    review_by: str | None


class PurposesOut(BaseModel):
    purposes: list[PurposeOut]


class CollectionBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "title": "Contracts",
                "owners": ["group:legal"],
                "default_label": {"level": "confidential", "categories": []},
                "default_readers": ["group:legal", "user:ana"],
                "jurisdictions": ["EU"],
                "purposes": [],
                "discoverable": True,
                "system_of_record": True,
                "review_after_days": 365,
            }
        }
    )
    title: Title
    owners: list[Ref] = Field(max_length=100, examples=[["group:legal"]])
    default_label: LabelWire | None = Field(
        default=None, description="Null: what nobody labels is restricted, since unknown is strictest."
    )
    default_readers: list[Ref] = Field(default_factory=list, max_length=1000)
    jurisdictions: list[Name] = Field(default_factory=list, max_length=300)
    purposes: list[Name] = Field(default_factory=list, max_length=300)
    discoverable: bool = False
    system_of_record: bool = False
    review_after_days: int | None = Field(default=None, ge=1, le=36_500)


class CollectionOut(BaseModel):
    name: str
    title: str
    owners: list[str]
    default_label: LabelWire | None
    discoverable: bool
    system_of_record: bool
    review_after_days: int | None


class CollectionsOut(BaseModel):
    collections: list[CollectionOut]


@routes.put(
    "/v1/principals/{kind}/{id}",
    summary="Let a principal be so from now on",
    responses={**problems(409), **SENT},
)
def put_principal(kind: Kind, id: Id, body: PrincipalBody, asking: Asking, ports: PortsOf) -> PrincipalOut:
    """For administrators. What was recorded before is kept with its time. Unknown groups and purposes: 422."""
    profile = Profile(
        ref=PrincipalRef(f"{kind}:{id}"),
        display_name=body.display_name or id,
        groups=refs(body.groups),
        clearance=Level[body.clearance.upper()],
        categories=frozenset(body.categories),
        jurisdictions=frozenset(body.jurisdictions),
        purposes=frozenset(body.purposes),
        collections=frozenset(body.collections),
        active=body.active,
        may_assert=body.may_assert,
        team=body.team,
    )
    register.put_principal(ports, asking, profile)
    return _principal(profile)


@routes.get("/v1/principals/{kind}/{id}", summary="A principal as recorded today", responses=problems(404))
def get_principal(kind: Kind, id: Id, asking: Asking, ports: PortsOf) -> PrincipalOut:
    return _principal(register.principal(ports, asking, PrincipalRef(f"{kind}:{id}")))


@routes.get("/v1/principals", summary="Everybody recorded today")
def get_principals(asking: Asking, ports: PortsOf) -> PrincipalsOut:
    return PrincipalsOut(principals=[_principal(each) for each in register.principals(ports, asking)])


@routes.put("/v1/purposes/{id}", summary="Register a purpose", responses=SENT)
def put_purpose(id: Id, body: PurposeBody, asking: Asking, ports: PortsOf) -> PurposeOut:
    """For administrators. Holds from the next question on."""
    purpose = Purpose(
        id=id,
        title=body.title,
        description=body.description,
        owner=PrincipalRef(body.owner) if body.owner is not None else None,
        legal_basis=body.legal_basis,
        categories=frozenset(body.categories) if body.categories is not None else None,
        consent_required=body.consent_required,
        review_by=body.review_by,
    )
    register.put_purpose(ports, asking, purpose)
    return _purpose(purpose)


@routes.get("/v1/purposes", summary="The registered purposes")
def get_purposes(asking: Asking, ports: PortsOf) -> PurposesOut:
    return PurposesOut(purposes=[_purpose(each) for each in register.purposes(ports, asking)])


@routes.delete(
    "/v1/purposes/{id}",
    status_code=204,
    summary="End a purpose",
    responses=problems(404),
    response_class=Response,
)
def delete_purpose(id: Id, asking: Asking, ports: PortsOf) -> Response:
    """For administrators. From the next question on nothing is asked for it; what is bound to it alone stays closed."""
    register.end_purpose(ports, asking, id)
    return Response(status_code=204)


@routes.put("/v1/collections/{name}", summary="Let a collection be so from now on", responses=SENT)
def put_collection(
    name: Annotated[str, Path(pattern=NAME, max_length=128)], body: CollectionBody, asking: Asking, ports: PortsOf
) -> CollectionOut:
    """For administrators. Its owners decide what is in it; that is not the administrator's to read."""
    collection = Collection(
        name=name,
        title=body.title,
        owners=refs(body.owners),
        default_label=body.default_label.domain() if body.default_label else None,
        default_readers=refs(body.default_readers),
        jurisdictions=frozenset(body.jurisdictions),
        purposes=frozenset(body.purposes),
        discoverable=body.discoverable,
        system_of_record=body.system_of_record,
        review_after_days=body.review_after_days,
    )
    register.put_collection(ports, asking, collection)
    return _collection(collection)


@routes.get("/v1/collections", summary="Collections that may be known of")
def get_collections(asking: Asking, ports: PortsOf) -> CollectionsOut:
    """Those that the principal may discover, owns, or can read something in."""
    return CollectionsOut(collections=[_collection(each) for each in read.collections(ports, asking)])


def _principal(profile: Profile) -> PrincipalOut:
    return PrincipalOut(
        id=profile.ref,
        display_name=profile.display_name,
        groups=sorted(profile.groups),
        clearance=level_word(profile.clearance),
        categories=sorted(profile.categories),
        jurisdictions=sorted(profile.jurisdictions),
        purposes=sorted(profile.purposes),
        collections=sorted(profile.collections),
        active=profile.active,
        may_assert=profile.may_assert,
        team=profile.team,
    )


def _purpose(purpose: Purpose) -> PurposeOut:
    return PurposeOut(
        id=purpose.id,
        title=purpose.title,
        description=purpose.description,
        owner=purpose.owner,
        legal_basis=purpose.legal_basis,
        categories=sorted(purpose.categories) if purpose.categories is not None else None,
        consent_required=purpose.consent_required,
        review_by=iso(purpose.review_by) if purpose.review_by is not None else None,
    )


def _collection(collection: Collection) -> CollectionOut:
    return CollectionOut(
        name=collection.name,
        title=collection.title,
        owners=sorted(collection.owners),
        default_label=label_out(collection.default_label) if collection.default_label else None,
        discoverable=collection.discoverable,
        system_of_record=collection.system_of_record,
        review_after_days=collection.review_after_days,
    )
