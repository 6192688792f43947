"""Documents: putting them in, finding them, reading their versions, amending and withdrawing them."""

import base64
import json
import re
from dataclasses import dataclass
from email.message import Message
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from starlette.datastructures import FormData, UploadFile

from app.api.credentials import Asking
from app.api.jobs import JobOut, job_out, wait_for
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, TITLES, faults_of, problem, problems
from app.api.retrieve import BoxOut
from app.api.wire import At, InstantIn, LabelWire, Name, Ref, Storable, Text, Title, Wire, label_out, refs
from app.domain.citation import opaque
from app.domain.corpus import (
    MAX_DOCUMENT_BYTES,
    DocumentId,
    Element,
    FindingCode,
    Lifecycle,
    Metadata,
    Origin,
)
from app.domain.errors import Conflict, Fault, Invalid, NoText, NotFound, UnsupportedMedia
from app.domain.instants import FOREVER, iso, iso_or_none
from app.domain.jobs import JobState
from app.domain.trace import TraceId
from app.operations import curate, erase, hold, read
from app.operations.curate import UNSTATED, Amendment
from app.operations.identify import Credentials
from app.operations.submit import Submitted, known, submit
from app.ports import Ports

T = TypeVar("T", bound=BaseModel)

routes = APIRouter(tags=["documents"], responses=ASKED)

MAX_WAIT_S = 60.0

_EXTENSIONS = {
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/html": ".html",
    "text/csv": ".csv",
    "message/rfc822": ".eml",
}

Uri = Annotated[str, StringConstraints(min_length=1, max_length=2000), Storable]
ConsentName = Annotated[str, StringConstraints(pattern=r"^(client:)?[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=135)]
Attribute = Annotated[str, StringConstraints(max_length=500), Storable]
Attributes = Annotated[
    list[Attribute],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(description="One value, or a list of them.", max_length=100),
]
_CREDENTIALS = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)
Place = tuple[Text, Text]
"""Collection and uri: where a page of documents ended."""


class SourceIn(Wire):
    connector: Annotated[str, StringConstraints(max_length=100), Storable] = "upload"
    fetched_at: InstantIn | None = None
    etag: Attribute | None = None
    author: Attribute | None = None
    location: Uri | None = Field(default=None, description="Where it was found: a URL or a path.")
    item: Uri | None = Field(default=None, description="The key that names it at its source.")

    @field_validator("location")
    @classmethod
    def _without_credentials(cls, location: str | None) -> str | None:
        """A URL's user and password are no part of where something is."""
        return _CREDENTIALS.sub(r"\1", location) if location is not None else None


class MetadataIn(Wire):
    """What an owner states with a document. Empty means: as the collection has it."""

    uri: Uri | None = Field(default=None, examples=["policies/data-sharing"])
    title: Title | None = None
    label: LabelWire | None = None
    label_reason: Title | None = Field(
        default=None, description="Why the label is what it is, whatever rules and detection would raise it to."
    )
    readers: list[Ref] = Field(default_factory=list, max_length=1000)
    denied: list[Ref] = Field(default_factory=list, max_length=1000)
    jurisdictions: list[Name] = Field(default_factory=list, max_length=300)
    purposes: list[Name] = Field(default_factory=list, max_length=300)
    consents: list[ConsentName] = Field(
        default_factory=list,
        max_length=300,
        description="What opens it beyond its jurisdictions: others, or client:NAME by that one's consent.",
    )
    valid_from: InstantIn | None = None
    valid_to: InstantIn | None = None
    review_by: InstantIn | None = None
    source: SourceIn = Field(default_factory=SourceIn)
    attributes: dict[Name, Attributes] = Field(default_factory=dict, max_length=50)
    supersedes: list[Uri] = Field(
        default_factory=list,
        max_length=100,
        description="Documents whose time ends where this one's begins: uris in the same collection, or ids.",
    )

    def domain(self, filename: str | None) -> Metadata:
        uri = self.uri or filename
        if not uri:
            raise Invalid("Give the document a uri.", faults=(Fault(detail="It is missing.", pointer="/metadata/uri"),))
        ends = FOREVER if self.valid_to is None else self.valid_to
        if self.valid_from is not None and ends <= self.valid_from:
            fault = Fault(detail="It must be later than valid_from.", pointer="/metadata/valid_to")
            raise Invalid("A document cannot end before it begins.", faults=(fault,))
        if self.label_reason is not None and self.label is None:
            fault = Fault(detail="State the label that it is the reason for.", pointer="/metadata/label")
            raise Invalid("There is a reason for a label, and no label.", faults=(fault,))
        return Metadata(
            uri=uri,
            title=self.title,
            label=self.label.domain() if self.label else None,
            label_reason=self.label_reason,
            readers=refs(self.readers),
            denied=refs(self.denied),
            jurisdictions=frozenset(self.jurisdictions),
            purposes=frozenset(self.purposes),
            consents=frozenset(self.consents),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            review_by=self.review_by,
            source=Origin(
                connector=self.source.connector,
                fetched_at=self.source.fetched_at,
                etag=self.source.etag,
                author=self.source.author,
                location=self.source.location,
                item=self.source.item,
            ),
            attributes={name: tuple(values) for name, values in self.attributes.items()},
        )


class TextDocument(Wire):
    """A document as text, instead of a file."""

    text: Annotated[str, StringConstraints(max_length=MAX_DOCUMENT_BYTES)]
    media_type: Literal["text/plain", "text/markdown", "text/html", "text/csv", "message/rfc822"] = "text/plain"
    metadata: MetadataIn


class AmendmentIn(Wire):
    """What is to be otherwise; what is left out stays. `null` takes `valid_to` or `review_by` away.

    A label that is less strict than today's, in its level or for want of a category, wants a `reason`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "readers": ["group:legal", "user:ana"],
                "label": {"level": "confidential", "categories": ["pii"]},
            }
        }
    )
    label: LabelWire | None = None
    readers: list[Ref] | None = Field(default=None, max_length=1000)
    denied: list[Ref] | None = Field(default=None, max_length=1000)
    jurisdictions: list[Name] | None = Field(default=None, max_length=300)
    purposes: list[Name] | None = Field(default=None, max_length=300)
    consents: list[ConsentName] | None = Field(default=None, max_length=300)
    valid_from: InstantIn | None = None
    valid_to: InstantIn | None = None
    review_by: InstantIn | None = None
    reason: Title | None = Field(default=None, description="Kept in the document's label history.")

    def domain(self) -> Amendment:
        stated = self.model_fields_set - {"reason"}
        missing = [name for name in stated - {"valid_to", "review_by"} if getattr(self, name) is None]
        if missing:
            faults = tuple(Fault(detail="It cannot be null.", pointer=f"/{name}") for name in sorted(missing))
            raise Invalid("Only valid_to and review_by can be taken away with null.", faults=faults)
        if not stated:
            raise Invalid("Nothing is stated that could be changed: see /docs for what can.")
        return Amendment(
            label=self.label.domain() if self.label else UNSTATED,
            readers=refs(self.readers) if self.readers is not None else UNSTATED,
            denied=refs(self.denied) if self.denied is not None else UNSTATED,
            jurisdictions=frozenset(self.jurisdictions) if self.jurisdictions is not None else UNSTATED,
            purposes=frozenset(self.purposes) if self.purposes is not None else UNSTATED,
            consents=frozenset(self.consents) if self.consents is not None else UNSTATED,
            valid_from=self.valid_from if self.valid_from is not None else UNSTATED,
            valid_to=self.valid_to if "valid_to" in stated else UNSTATED,
            review_by=self.review_by if "review_by" in stated else UNSTATED,
            reason=self.reason,
        )


_BOUNDARY_FIELDS = ("label", "readers", "denied", "jurisdictions", "purposes", "consents")


class AmendSeveralIn(AmendmentIn):
    """Which documents, by id or by uri, and what of their boundary is to be otherwise."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"uris": ["hr/handbook", "hr/leave-policy"], "readers": ["group:hr"]}}
    )
    documents: list[Annotated[str, StringConstraints(max_length=100), Storable]] = Field(
        default_factory=list, max_length=curate.MAX_AMENDED
    )
    uris: list[Uri] = Field(default_factory=list, max_length=curate.MAX_AMENDED)

    def domain(self) -> Amendment:
        stated = self.model_fields_set - {"documents", "uris"}
        if times := sorted(stated - set(_BOUNDARY_FIELDS)):
            faults = tuple(Fault(detail="Times are amended one document at a time.", pointer=f"/{n}") for n in times)
            raise Invalid("Only the boundary of several documents can be amended at once.", faults=faults)
        if not self.documents and not self.uris:
            raise Invalid("Name the documents that are to be amended, by id (documents) or by uri (uris).")
        return AmendmentIn.model_validate(self.model_dump(include=stated), strict=False).domain()


class AmendedOut(BaseModel):
    documents: int
    versions: int = Field(description="How many of their versions lie in another boundary now.")


class WithdrawBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "It was sent to the wrong collection."}})
    reason: Title


class DocumentRef(BaseModel):
    id: str


class RevivalOut(BaseModel):
    document_id: str
    uri: str
    how: str


class WithdrawnOut(BaseModel):
    id: str
    still_superseded: list[RevivalOut] = Field(
        description="Documents that gave way to this one, and what brings them back."
    )


class VersionRef(BaseModel):
    id: int | None


class SubmittedOut(BaseModel):
    state: Literal["queued", "running", "published", "unchanged"]
    job: JobOut | None
    document: DocumentRef
    version: VersionRef


class FindingOut(BaseModel):
    """What the owner should know of a version: a code to count by, and a sentence."""

    code: FindingCode
    detail: str


class VersionOut(BaseModel):
    document_id: str
    collection: str
    uri: str
    version: int
    title: str
    state: Lifecycle
    media_type: str
    size_bytes: int
    digest: str
    label: LabelWire
    jurisdictions: list[str]
    purposes: list[str]
    boundary: str
    valid_from: str | None
    valid_to: str | None
    review_by: str | None
    recorded_at: str
    parser: str
    source: dict[str, Any]
    attributes: dict[str, list[str]]
    findings: list[FindingOut]
    rollback_of: int | None = Field(description="The number of the version whose bytes were brought back as this one.")
    superseded_by: str | None = Field(
        description="The document that takes the place of this one, to those who may see it."
    )
    holds: int | None = Field(default=None, description="How many legal holds are on it; null but to its owners.")


class DocumentsOut(BaseModel):
    documents: list[VersionOut]
    cursor: str | None = Field(description="Send it back to go on; null at the end.")


class VersionsOut(BaseModel):
    versions: list[VersionOut]


class ElementOut(BaseModel):
    kind: str
    span: tuple[int, int]
    page: int | None
    boxes: list[BoxOut]
    section: list[str]


class TextOut(BaseModel):
    document_id: str
    version: int
    text: str
    elements: list[ElementOut]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    content: bytes
    filename: str
    media_type: str | None
    metadata: Metadata
    supersedes: tuple[str, ...]


async def _upload(request: Request, asking: Asking, ports: PortsOf) -> Upload:
    """The document of a request, as a multipart file or as JSON text. Nothing is read for whoever is not known."""
    await run_in_threadpool(known, ports, asking)
    sent_as = Message()
    sent_as["Content-Type"] = request.headers.get("content-type", "application/json")
    kind = sent_as.get_content_type()
    if kind == "multipart/form-data" and sent_as.get_content_charset("utf-8") in ("utf-8", "utf8"):
        return await _multipart(request)
    if kind == "application/json":
        return await run_in_threadpool(_text, await request.body())
    raise UnsupportedMedia(
        "Send a document as multipart/form-data (file and metadata, in UTF-8), or as application/json."
    )


async def _multipart(request: Request) -> Upload:
    async with request.form(max_files=2, max_fields=10) as form:
        file, stated = _parts(form)
        content = await file.read()
        described = await stated.read() if isinstance(stated, UploadFile) else stated
        metadata = _validated(MetadataIn, described or "{}", "/metadata")
        filename = (file.filename or "").replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "")[-255:]
        media_type = (file.content_type or "").replace("\x00", "")[:255]
    return Upload(
        content=_not_empty(content),
        filename=filename,
        media_type=None if media_type in ("", "application/octet-stream") else media_type,
        metadata=metadata.domain(filename),
        supersedes=tuple(metadata.supersedes),
    )


def _parts(form: FormData) -> tuple[UploadFile, UploadFile | str | None]:
    """The parts `file` and `metadata`. Any other is refused: a misspelt `metadata` would leave its label unsaid."""
    names = [name for name, _ in form.multi_items()]
    faults = [
        Fault(detail="There is no such part.", pointer=f"/{name}") for name in sorted(set(names) - {"file", "metadata"})
    ]
    faults += [Fault(detail="It is given twice.", pointer=f"/{name}") for name in set(names) if names.count(name) > 1]
    file = form.get("file")
    if not isinstance(file, UploadFile):
        faults.append(Fault(detail="It is missing, or not a file.", pointer="/file"))
    if faults or not isinstance(file, UploadFile):
        raise Invalid("A multipart document has a part named file and one named metadata.", faults=tuple(faults))
    return file, form.get("metadata")


def _text(body: bytes) -> Upload:
    document = _validated(TextDocument, body, "")
    metadata = document.metadata.domain(None)
    return Upload(
        content=_not_empty(document.text.encode()),
        filename=f"text{_EXTENSIONS[document.media_type]}",
        media_type=document.media_type,
        metadata=metadata,
        supersedes=tuple(document.metadata.supersedes),
    )


def _validated(model: type[T], body: str | bytes, prefix: str) -> T:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = faults_of(error.errors(include_url=False, include_input=False), prefix)
        raise Invalid("The document's description is not of the form that the contract gives.", faults=faults) from None


def _not_empty(content: bytes) -> bytes:
    if not content.strip():
        raise NoText("The document is empty: there is nothing in it to be found. Send one that holds text.")
    return content


_UPLOAD_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "metadata": {"type": "string", "description": "MetadataIn as JSON"},
                    },
                }
            },
            "application/json": {
                "schema": TextDocument.model_json_schema(ref_template="#/components/schemas/{model}"),
                "example": {
                    "text": "# Travel\nBook at least 14 days ahead.",
                    "media_type": "text/markdown",
                    "metadata": {"uri": "hr/travel", "title": "Travel policy", "label": {"level": "internal"}},
                },
            },
        },
    }
}


@routes.post(
    "/v1/collections/{name}/documents",
    status_code=202,
    summary="Put a document in",
    response_model=SubmittedOut,
    responses={
        200: {"model": SubmittedOut, "description": "Unchanged: the newest version has these bytes and metadata"},
        201: {"model": SubmittedOut, "description": "Published in the time that `Prefer: wait` gave"},
        **problems(404, 409, 429),
        **SENT,
    },
    openapi_extra=_UPLOAD_SCHEMA,
)
async def post_document(
    request: Request,
    response: Response,
    name: Name,
    asking: Asking,
    ports: PortsOf,
    upload: Annotated[Upload, Depends(_upload)],
    prefer: Annotated[str | None, Header()] = None,
) -> SubmittedOut | JSONResponse:
    """202 once the bytes and the job are durable; 200 `unchanged` for the same bytes and metadata again. With
    `Prefer: wait=SECONDS`, 201 if it is published in that time, or the job's problem if it fails in it."""
    submitted = await run_in_threadpool(
        submit,
        ports,
        asking,
        name,
        upload.content,
        filename=upload.filename,
        media_type=upload.media_type,
        metadata=upload.metadata,
        supersedes=upload.supersedes,
    )
    return await acknowledged(request, response, ports, asking, submitted, prefer=prefer)


async def acknowledged(
    request: Request,
    response: Response,
    ports: Ports,
    asking: Credentials,
    submitted: Submitted,
    *,
    prefer: str | None,
) -> SubmittedOut | JSONResponse:
    """What a submission is answered with: at once, or after the time that `Prefer: wait` gives it."""
    wait_s = _wait_s(prefer)
    job = submitted.job
    if job is not None and wait_s:
        job = await wait_for(ports, asking, job.id, timeout_s=wait_s)
    if job is not None and job.state is JobState.FAILED and job.problem:
        return problem(
            request,
            job.problem.kind,
            TITLES[job.problem.kind],
            job.problem.detail,
            trace_id=TraceId(f"tr_{ports.new_id()}"),
            job={"id": job.id, "state": job.state},
        )
    if job is not None and job.state is JobState.CANCELLED:
        raise Conflict("This was cancelled, or its document withdrawn, while it was being read: it was not published.")
    if job is None or (job.result and job.result.unchanged):
        response.status_code = 200
        number = job.result.version if job and job.result else submitted.unchanged_version
        return _submitted("unchanged", submitted, number, job_out(job) if job else None)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if job.state is JobState.SUCCEEDED and job.result:
        response.status_code = 201
        response.headers["Location"] = f"/v1/documents/{submitted.document}/versions/{job.result.version}"
        return _submitted("published", submitted, job.result.version, job_out(job))
    return _submitted("queued" if job.state is JobState.QUEUED else "running", submitted, None, job_out(job))


@routes.get("/v1/documents", summary="Documents that may be known of")
def get_documents(
    asking: Asking,
    ports: PortsOf,
    at: At,
    collection: Name | None = None,
    state: Lifecycle | None = None,
    q: Annotated[str, StringConstraints(max_length=200), Storable, Query(description="part of the title or uri")]
    | None = None,
    purpose: Name | None = None,
    cursor: Annotated[str, StringConstraints(max_length=4000)] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DocumentsOut:
    """By collection and uri. Without `state`, what is in force, or was then; owners find the rest by its state."""
    page = read.documents(
        ports,
        asking,
        purpose=purpose,
        collection=collection,
        state=state,
        containing=q,
        after=place_of(cursor) if cursor else None,
        limit=limit,
        at=at,
    )
    return DocumentsOut(
        documents=_with_holds(ports, asking, [version_out(ports, shown) for shown in page.documents]),
        cursor=cursor_of(page.after) if page.after else None,
    )


@routes.get(
    "/v1/documents/{id}", summary="A document, by its newest version that may be shown", responses=problems(404)
)
def get_document(id: Text, asking: Asking, ports: PortsOf, at: At, purpose: Name | None = None) -> VersionOut:
    """The version in force; else, at no stated instant, the newest. 404 if nothing was in force or known then."""
    try:
        shown = read.document(ports, asking, DocumentId(id), purpose=purpose, at=at)
    except NotFound as absent:
        raise erase.explained(ports, asking, absent, DocumentId(id)) from None
    return _with_holds(ports, asking, [version_out(ports, shown)])[0]


@routes.get(
    "/v1/documents/{id}/versions",
    summary="The versions of a document that may be shown, newest first",
    responses=problems(404),
)
def get_versions(id: Text, asking: Asking, ports: PortsOf, at: At, purpose: Name | None = None) -> VersionsOut:
    shown = read.versions(ports, asking, DocumentId(id), purpose=purpose, at=at)
    return VersionsOut(versions=_with_holds(ports, asking, [version_out(ports, each) for each in shown]))


@routes.get("/v1/documents/{id}/versions/{n}", summary="One version", responses=problems(404))
def get_version(id: Text, n: int, asking: Asking, ports: PortsOf, at: At, purpose: Name | None = None) -> VersionOut:
    shown = read.version(ports, asking, DocumentId(id), n, purpose=purpose, at=at)
    return _with_holds(ports, asking, [version_out(ports, shown)])[0]


@routes.get(
    "/v1/documents/{id}/text",
    summary="Canonical text of the version in force, with its elements",
    responses=problems(404),
)
def get_text_in_force(id: Text, asking: Asking, ports: PortsOf, at: At, purpose: Name | None = None) -> TextOut:
    (whole,) = read.texts(ports, asking, DocumentId(id), [read.Place(at=at)], purpose=purpose)
    return _text_out(whole)


@routes.get(
    "/v1/documents/{id}/versions/{n}/text", summary="Canonical text, with its elements", responses=problems(404)
)
def get_text(id: Text, n: int, asking: Asking, ports: PortsOf, at: At, purpose: Name | None = None) -> TextOut:
    (whole,) = read.texts(ports, asking, DocumentId(id), [read.Place(number=n, at=at)], purpose=purpose)
    return _text_out(whole)


@routes.get(
    "/v1/documents/{id}/versions/{n}/content",
    summary="The original bytes",
    response_class=Response,
    responses={200: {"description": "In the media type of the original", "content": {"*/*": {}}}, **problems(404)},
)
def get_content(id: Text, n: int, asking: Asking, ports: PortsOf, at: At, purpose: Name | None = None) -> Response:
    """Always offered as a download: an uploaded page must never run as part of this origin."""
    original = read.original(ports, asking, DocumentId(id), n, purpose=purpose, at=at)
    ascii_name = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in original.filename)
    return Response(
        original.content,
        headers={
            "Content-Type": original.media_type,  # without a charset: nobody has said which these bytes are in
            "Content-Disposition": f'attachment; filename="{ascii_name or "document"}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@routes.patch(
    "/v1/documents/{id}", summary="Move a document's boundary or validity", responses={**problems(404, 409), **SENT}
)
def patch_document(id: Text, body: AmendmentIn, asking: Asking, ports: PortsOf) -> DocumentRef:
    """A narrowing holds for every request that starts after this returns. Answers given keep their old boundary."""
    curate.amend(ports, asking, DocumentId(id), body.domain())
    return DocumentRef(id=id)


@routes.post(
    "/v1/collections/{name}/documents/amend",
    summary="Move the boundaries of many documents at once",
    responses={**problems(404), **SENT},
)
def post_amend(name: Name, body: AmendSeveralIn, asking: Asking, ports: PortsOf) -> AmendedOut:
    """All of them, or none if one is not there for you. As immediate as PATCH of one: what narrows holds for every
    request that starts after this returns, and nothing is read or embedded again."""
    ids = [DocumentId(id) for id in body.documents]
    documents, versions = curate.amend_several(ports, asking, name, body.domain(), ids=ids, uris=body.uris)
    return AmendedOut(documents=len(documents), versions=versions)


@routes.post(
    "/v1/documents/{id}/withdraw", summary="Leave a document to its owners", responses={**problems(404), **SENT}
)
def post_withdraw(id: Text, body: WithdrawBody, asking: Asking, ports: PortsOf) -> WithdrawnOut:
    """At once. What it had superseded does not come back by itself: `still_superseded` says how it would."""
    left = curate.withdraw(ports, asking, DocumentId(id), reason=body.reason)
    return WithdrawnOut(id=id, still_superseded=[_revival(each) for each in left])


def _revival(shown: read.Shown) -> RevivalOut:
    document, path = shown.version.document, f"versions/{shown.version.number}"
    return RevivalOut(
        document_id=document.id,
        uri=document.uri,
        how=f'PATCH /v1/documents/{document.id}/{path} {{"valid_to": null, "reason": "..."}} puts it in force '
        "again, and so does submitting it again.",
    )


def _text_out(whole: read.Whole) -> TextOut:
    return TextOut(
        document_id=whole.shown.version.document.id,
        version=whole.shown.version.number,
        text=whole.text,
        elements=[element_out(element) for element in whole.elements],
    )


def version_out(ports: Ports, shown: read.Shown) -> VersionOut:
    version = shown.version
    boundary = version.boundary.within(shown.collection)
    return VersionOut(
        document_id=version.document.id,
        collection=version.document.collection,
        uri=version.document.uri,
        version=version.number,
        title=version.title,
        state=shown.lifecycle,
        media_type=version.media_type,
        size_bytes=version.size_bytes,
        digest=version.digest,
        label=label_out(version.boundary.label),
        jurisdictions=sorted(boundary.jurisdictions),
        purposes=sorted(boundary.purposes),
        boundary=opaque("bnd", version.boundary.digest(), pepper=ports.pepper),
        valid_from=iso_or_none(version.period.valid_from),
        valid_to=iso_or_none(shown.ends),
        review_by=iso_or_none(version.period.review_by) if version.period.review_by is not None else None,
        recorded_at=iso(version.recorded_at),
        parser=version.parser,
        source=origin_out(version.source),
        attributes={name: list(values) for name, values in version.attributes.items()},
        findings=[FindingOut(code=each.code, detail=each.detail) for each in version.findings],
        rollback_of=version.source.rollback_of,
        superseded_by=shown.superseded_by,
    )


def origin_out(source: Origin) -> dict[str, Any]:
    return {
        "connector": source.connector,
        "fetched_at": iso(source.fetched_at) if source.fetched_at is not None else None,
        "etag": source.etag,
        "author": source.author,
        "location": source.location,
        "item": source.item,
    }


def _with_holds(ports: Ports, asking: Asking, versions: list[VersionOut]) -> list[VersionOut]:
    numbers = hold.numbers(ports, asking, [DocumentId(each.document_id) for each in versions])
    return [each.model_copy(update={"holds": numbers.get(DocumentId(each.document_id))}) for each in versions]


def element_out(element: Element) -> ElementOut:
    return ElementOut(
        kind=element.kind,
        span=(element.span.start, element.span.end),
        page=element.page,
        boxes=[BoxOut(page=box.page, x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1) for box in element.boxes],
        section=list(element.section),
    )


def _submitted(
    state: Literal["queued", "running", "published", "unchanged"],
    submitted: Submitted,
    number: int | None,
    job: JobOut | None,
) -> SubmittedOut:
    return SubmittedOut(
        state=state, job=job, document=DocumentRef(id=submitted.document), version=VersionRef(id=number)
    )


def _wait_s(prefer: str | None) -> float:
    """Seconds of RFC 7240's `wait`; 0 without one that can be read."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition("=")
        seconds = value.strip()
        if name.strip().lower() == "wait" and seconds.isascii() and seconds.isdecimal():
            return min(float(seconds[:4]), MAX_WAIT_S)
    return 0.0


_PLACE = TypeAdapter(Place)


def cursor_of(place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def place_of(cursor: str) -> tuple[str, str]:
    try:
        return _PLACE.validate_json(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError:
        raise Invalid("That cursor is not one that was given out here. Begin again without one.") from None
