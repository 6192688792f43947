"""The registers that say where data may be used: jurisdictions, transfer rules, and clients' consents."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import NAME, InstantIn, Name, Storable, Text, Title, Wire
from app.domain.errors import NotFound
from app.domain.instants import FOREVER, Instant, iso, iso_or_none
from app.domain.jurisdictions import Consent, ConsentEvidence, Jurisdiction, Transfer
from app.operations import consent, regulate

routes = APIRouter(tags=["registers"], responses=ASKED)

Id = Annotated[str, Path(pattern=NAME, max_length=128)]
KnownAt = Annotated[InstantIn | None, Query(description="As was recorded then. Unset: what is known now.")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=5000), Storable]

_JURISDICTION: JsonDict = {"title": "Germany", "within": ["EU"]}
_TRANSFER: JsonDict = {
    "from": "EU",
    "to": "UK",
    "basis": "adequacy",
    "evidence": "Implementing Decision (EU) 2021/1772",
    "valid_from": "2021-06-28T00:00:00Z",
    "expires_at": "2031-12-27T00:00:00Z",
    "reason": "The Commission found the United Kingdom's protection adequate.",
}
_CONSENT: JsonDict = {
    "client": "TM-207745",
    "purpose": "partner-analytics",
    "jurisdictions": ["EU"],
    "evidence": {"uri": "https://records.example/consents/207745.pdf"},
    "given_at": "2026-03-01T00:00:00Z",
    "expires_at": "2028-03-01T00:00:00Z",
}
_REASON: JsonDict = {"reason": "The Commission repealed its decision."}


class JurisdictionBody(Wire):
    """A name that is not registered is a plain one: it contains itself alone."""

    model_config = ConfigDict(json_schema_extra={"example": _JURISDICTION})
    title: Title
    within: list[Name] = Field(
        default_factory=list, max_length=100, description="The registered jurisdictions that contain it directly."
    )


class JurisdictionOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": {"id": "DE", **_JURISDICTION}})
    id: str
    title: str
    within: list[str]


class JurisdictionsOut(BaseModel):
    jurisdictions: list[JurisdictionOut]


class TransferBody(Wire):
    """Data of `from`, and of all within it, may be used in `to`, and in all within it; it goes no further by that."""

    model_config = ConfigDict(json_schema_extra={"example": _TRANSFER})
    origin: Name = Field(alias="from")
    destination: Name = Field(alias="to")
    basis: Name = Field(examples=["adequacy", "scc", "bcr", "derogation"])
    evidence: Words = Field(description="Where the basis can be read: a decision, a contract, an assessment.")
    valid_from: InstantIn | None = Field(
        default=None, description="Unset: as the rule between the two had it, or from now on."
    )
    expires_at: InstantIn | None = Field(default=None, description="Unset: until somebody ends it.")
    reason: Title


class ReasonBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": _REASON})
    reason: Title


class TransferOut(BaseModel):
    id: str
    origin: str = Field(serialization_alias="from")
    destination: str = Field(serialization_alias="to")
    basis: str
    evidence: str
    valid_from: str
    expires_at: str | None
    reason: str
    in_force: bool = Field(description="At the instant that was asked about.")
    recorded_at: str
    recorded_by: str


class TransfersOut(BaseModel):
    transfers: list[TransferOut]


class EvidenceWire(Wire):
    """What shows that it was given: at least one of these."""

    uri: Title | None = None
    digest: Title | None = None
    text: Words | None = None


class ConsentBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": _CONSENT})
    client: Name
    purpose: Name
    jurisdictions: list[Name] = Field(
        min_length=1, max_length=300, description="Where the data may be used by it, with all that lies within."
    )
    evidence: EvidenceWire
    given_at: InstantIn | None = Field(default=None, description="In force from then on. Unset: now.")
    expires_at: InstantIn | None = Field(default=None, description="Unset: until it is withdrawn.")


class ConsentOut(BaseModel):
    id: str
    client: str
    purpose: str
    jurisdictions: list[str]
    evidence: EvidenceWire
    given_at: str
    expires_at: str | None
    in_force: bool
    recorded_at: str
    recorded_by: str
    withdrawn_at: str | None
    withdrawn_by: str | None
    withdrawal_reason: str | None


class ConsentsOut(BaseModel):
    consents: list[ConsentOut]


@routes.put("/v1/jurisdictions/{id}", summary="Register a jurisdiction", responses=SENT)
def put_jurisdiction(id: Id, body: JurisdictionBody, asking: Asking, ports: PortsOf) -> JurisdictionOut:
    """For administrators. Whoever is in it is in what contains it, from the next request on. Cycles: 422."""
    new = Jurisdiction(id=id, title=body.title, within=frozenset(body.within))
    regulate.put_jurisdiction(ports, asking, new)
    return _jurisdiction(new)


@routes.get("/v1/jurisdictions", summary="The registered jurisdictions")
def get_jurisdictions(asking: Asking, ports: PortsOf, known_at: KnownAt = None) -> JurisdictionsOut:
    registers, _ = regulate.laid_down(ports, asking, known_at=known_at)
    return JurisdictionsOut(jurisdictions=[_jurisdiction(each) for each in registers.jurisdictions.values()])


@routes.get("/v1/jurisdictions/{id}", summary="A registered jurisdiction", responses=problems(404))
def get_jurisdiction(id: Id, asking: Asking, ports: PortsOf, known_at: KnownAt = None) -> JurisdictionOut:
    registers, _ = regulate.laid_down(ports, asking, known_at=known_at)
    if id not in registers.jurisdictions:
        raise NotFound("There is no jurisdiction registered by that name.")
    return _jurisdiction(registers.jurisdictions[id])


@routes.delete(
    "/v1/jurisdictions/{id}",
    status_code=204,
    summary="Let a jurisdiction be a plain name again",
    responses=problems(404, 409),
    response_class=Response,
)
def delete_jurisdiction(id: Id, asking: Asking, ports: PortsOf) -> Response:
    """For administrators; 409 while another lies within it."""
    regulate.end_jurisdiction(ports, asking, id)
    return Response(status_code=204)


@routes.put("/v1/transfers", summary="Let data of one jurisdiction be used in another", responses=SENT)
def put_transfer(body: TransferBody, asking: Asking, ports: PortsOf) -> TransferOut:
    """For administrators. There is one rule from a jurisdiction to another: this replaces what was there."""
    order = regulate.Order(
        origin=body.origin,
        destination=body.destination,
        basis=body.basis,
        evidence=body.evidence,
        valid_from=body.valid_from,
        expires_at=body.expires_at if body.expires_at is not None else FOREVER,
        reason=body.reason,
    )
    return _transfer(*regulate.put_transfer(ports, asking, order))


@routes.get("/v1/transfers", summary="The transfer rules that nobody has ended")
def get_transfers(asking: Asking, ports: PortsOf, known_at: KnownAt = None) -> TransfersOut:
    """Those that are not in force yet, or have expired, too."""
    registers, at = regulate.laid_down(ports, asking, known_at=known_at)
    return TransfersOut(transfers=[_transfer(each, at) for each in registers.transfers])


@routes.post(
    "/v1/transfers/{id}/withdraw",
    status_code=204,
    summary="End a transfer rule, at once",
    responses={**problems(404), **SENT},
    response_class=Response,
)
def post_transfer_withdrawal(id: Text, body: ReasonBody, asking: Asking, ports: PortsOf) -> Response:
    """For administrators."""
    regulate.end_transfer(ports, asking, id, reason=body.reason)
    return Response(status_code=204)


@routes.post("/v1/consents", status_code=201, summary="Record a client's consent", responses=SENT)
def post_consent(body: ConsentBody, asking: Asking, ports: PortsOf) -> ConsentOut:
    """For administrators, and the purpose's owner in person. It opens what names `client:...` among its consents."""
    evidence = ConsentEvidence(uri=body.evidence.uri, digest=body.evidence.digest, text=body.evidence.text)
    order = consent.Order(
        client=body.client,
        purpose=body.purpose,
        jurisdictions=frozenset(body.jurisdictions),
        evidence=evidence,
        given_at=body.given_at,
        expires_at=body.expires_at if body.expires_at is not None else FOREVER,
    )
    return _consent(*consent.give(ports, asking, order))


@routes.get("/v1/consents", summary="Consents that one keeps")
def get_consents(
    asking: Asking,
    ports: PortsOf,
    client: Annotated[Name | None, Query()] = None,
    purpose: Annotated[Name | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ConsentsOut:
    """The newest, withdrawn and expired ones too: all to administrators, and to owners of purposes theirs."""
    found, at = consent.listed(ports, asking, client=client, purpose=purpose, limit=limit)
    return ConsentsOut(consents=[_consent(each, at) for each in found])


@routes.post(
    "/v1/consents/{id}/withdraw", summary="Withdraw a consent, at once", responses={**problems(404, 409), **SENT}
)
def post_consent_withdrawal(id: Text, body: ReasonBody, asking: Asking, ports: PortsOf) -> ConsentOut:
    """For whoever may record one."""
    return _consent(*consent.withdraw(ports, asking, id, reason=body.reason))


def _jurisdiction(found: Jurisdiction) -> JurisdictionOut:
    return JurisdictionOut(id=found.id, title=found.title, within=sorted(found.within))


def _transfer(found: Transfer, at: Instant) -> TransferOut:
    return TransferOut(
        id=found.id,
        origin=found.origin,
        destination=found.destination,
        basis=found.basis,
        evidence=found.evidence,
        valid_from=iso(found.valid_from),
        expires_at=iso_or_none(found.expires_at),
        reason=found.reason,
        in_force=found.in_force(at),
        recorded_at=iso(found.recorded_at),
        recorded_by=found.recorded_by,
    )


def _consent(found: Consent, at: Instant) -> ConsentOut:
    shown = found.evidence
    return ConsentOut(
        id=found.id,
        client=found.client,
        purpose=found.purpose,
        jurisdictions=sorted(found.jurisdictions),
        evidence=EvidenceWire(uri=shown.uri, digest=shown.digest, text=shown.text),
        given_at=iso(found.given_at),
        expires_at=iso_or_none(found.expires_at),
        in_force=found.in_force(at),
        recorded_at=iso(found.recorded_at),
        recorded_by=found.recorded_by,
        withdrawn_at=iso(found.withdrawn_at) if found.withdrawn_at is not None else None,
        withdrawn_by=found.withdrawn_by,
        withdrawal_reason=found.withdrawal_reason,
    )
