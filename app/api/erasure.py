"""Erasures: documents taken out for good, and the certificates of it."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import Name, Text, Title, Wire
from app.domain.corpus import DocumentId
from app.domain.erasure import Erasure, ErasureId, ErasureState
from app.domain.instants import iso
from app.operations import erase

routes = APIRouter(tags=["erasure"], responses=ASKED)


class EraseBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={"example": {"reason": "Request of the person it is about, case 2026-114."}}
    )
    reason: Title


class ErasureOut(BaseModel):
    """It names nothing of what was erased but ids and digests."""

    id: str
    document_id: str
    collection: str
    state: ErasureState
    whole_document: bool = Field(description="All of the document; else some versions, and the document lives on.")
    versions: list[int] = Field(description="The published versions that it takes.")
    reason: str
    rule: str | None = Field(description="The retention rule that asked for it.")
    requested_at: str
    requested_by: str
    certificate: dict[str, Any] | None = Field(description="What was removed, and how it was shown to be gone.")
    certificate_digest: str | None = Field(description="sha256 of the certificate as canonical JSON (RFC 8785).")
    attachments: list[str] = Field(
        default=[], description="When a mail is erased: the erasures of what came with it, each with its certificate."
    )
    signature: None = Field(default=None, description="Null until this server has keys to sign with.")


class ErasuresOut(BaseModel):
    erasures: list[ErasureOut]


@routes.post(
    "/v1/documents/{id}/erase",
    status_code=201,
    summary="Erase a document for good",
    responses={
        202: {"model": ErasureOut, "description": "Nobody reads it any more; a worker carries out the rest"},
        **problems(404, 409),
        **SENT,
    },
)
def post_erase(id: Text, body: EraseBody, asking: Asking, ports: PortsOf, response: Response) -> ErasureOut:
    """For owners who may read every version. Under legal hold: 409. Its uri is not taken in again.

    The attachments of a mail are erased with it, as far as the owner may read them.
    """
    done, attachments = erase.erase(ports, asking, DocumentId(id), reason=body.reason)
    if done.state is not ErasureState.CERTIFIED:
        response.status_code = 202
    response.headers["Location"] = f"/v1/erasures/{done.id}"
    return erasure_out(done).model_copy(update={"attachments": list(attachments)})


@routes.get("/v1/erasures/{id}", summary="An erasure and its certificate", responses=problems(404))
def get_erasure(id: Text, asking: Asking, ports: PortsOf) -> ErasureOut:
    """For owners of the collection, auditors and administrators."""
    return erasure_out(erase.erasure(ports, asking, ErasureId(id)))


@routes.get("/v1/collections/{name}/erasures", summary="What was erased from a collection", responses=problems(404))
def get_erasures(name: Name, asking: Asking, ports: PortsOf) -> ErasuresOut:
    """Newest first; for its owners, auditors and administrators."""
    return ErasuresOut(erasures=[erasure_out(each) for each in erase.erasures(ports, asking, name)])


@routes.post(
    "/v1/erasures/{id}/readmit",
    summary="Let the uri of an erased document be taken in again",
    responses={**problems(404, 409), **SENT},
)
def post_readmit(id: Text, body: EraseBody, asking: Asking, ports: PortsOf) -> ErasureOut:
    """For owners. Nothing comes back by it."""
    return erasure_out(erase.readmit(ports, asking, ErasureId(id), reason=body.reason))


def erasure_out(erasure: Erasure) -> ErasureOut:
    return ErasureOut(
        id=erasure.id,
        document_id=erasure.document,
        collection=erasure.collection,
        state=erasure.state,
        whole_document=erasure.whole,
        versions=[each.number for each in erasure.versions if each.number is not None],
        reason=erasure.reason,
        rule=erasure.rule,
        requested_at=iso(erasure.requested_at),
        requested_by=erasure.requested_by,
        certificate=dict(erasure.certificate) if erasure.certificate is not None else None,
        certificate_digest=erasure.certificate_digest,
    )
