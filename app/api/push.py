"""The push format: JSON lines, each an item with its content and access list, and for each line what became of it.

Two shapes of a line are read: Muniment's own, and Microsoft Graph's `externalItem` as it stands.
"""

import base64
import binascii
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from app.api.credentials import Asking
from app.api.documents import Attribute, Attributes
from app.api.ports import PortsOf
from app.api.problems import ASKED, faults_of, problems
from app.api.sources import SourceId, problem_out
from app.api.wire import InstantIn, LabelWire, Name, Storable, Title, Wire
from app.domain.corpus import MAX_DOCUMENT_BYTES, digest_of
from app.domain.errors import Invalid, TooLarge, UnsupportedMedia
from app.domain.jobs import Problem
from app.domain.sources import Access, Acl, AclEntry, Fetched, ForeignKind, Item, SourceName
from app.operations.collect import Errand
from app.operations.push import Pushed, Verdict, begin_push, push
from app.ports import Ports

routes = APIRouter(tags=["sources"], responses={**ASKED, **problems(404, 409, 413, 415)})

MAX_PUSH_BYTES = 200_000_000
MAX_LINE_BYTES = MAX_DOCUMENT_BYTES * 4 // 3 + 1_000_000
"""A document in base64, and what is said of it."""

_IN_MEMORY_BYTES = 5_000_000
_LINES = "application/x-ndjson"
_MEDIA_TYPES = (_LINES, "application/jsonl", "application/jsonlines", "application/x-jsonlines")
_EXTENSIONS = {
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/html": ".html",
    "text/csv": ".csv",
    "message/rfc822": ".eml",
    "application/pdf": ".pdf",
}
_GRAPH_TYPES = {"text": "text/plain", "html": "text/html"}
_KINDS = {
    "user": ForeignKind.USER,
    "group": ForeignKind.GROUP,
    "externalGroup": ForeignKind.GROUP,
    "everyone": ForeignKind.EVERYONE,
    "everyoneExceptGuests": ForeignKind.EVERYONE_EXCEPT_GUESTS,
}
_MAX_ATTRIBUTES = 50
_MAX_ATTRIBUTE_CHARS = 500

_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")

Key = Annotated[str, StringConstraints(min_length=1, max_length=2000), Storable]


class AclEntryIn(BaseModel):
    """An entry as Microsoft Graph has it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["user", "group", "externalGroup", "everyone", "everyoneExceptGuests"]
    value: Annotated[str, StringConstraints(max_length=500), Storable] = ""
    accessType: Literal["grant", "deny"]  # noqa: N815 (Graph's name)

    def domain(self) -> AclEntry:
        return AclEntry(access=Access(self.accessType), kind=_KINDS[self.type], value=self.value)


AclIn = Annotated[list[AclEntryIn], Field(max_length=10_000)]


class PushLine(Wire):
    """An item in Muniment's own shape. Its content is one of `content` (or `text`) and `content_base64`. Without `acl`
    the collection's readers hold; with an empty one, nobody but the owners reads it."""

    model_config = ConfigDict(strict=False)
    key: Key
    op: Literal["upsert", "delete"] = "upsert"
    content: str | None = None
    content_base64: str | None = None
    media_type: Annotated[str, StringConstraints(max_length=255), Storable] | None = None
    filename: Annotated[str, StringConstraints(max_length=255), Storable] | None = None
    etag: Attribute | None = None
    title: Title | None = None
    author: Attribute | None = None
    label: LabelWire | None = None
    valid_from: InstantIn | None = None
    acl: AclIn | None = None
    attributes: dict[Name, Attributes] = Field(default_factory=dict, max_length=_MAX_ATTRIBUTES)

    @model_validator(mode="before")
    @classmethod
    def _by_other_names(cls, value: Any) -> Any:
        """`id` is the key and `text` the content."""
        if not isinstance(value, dict):
            return value
        named = dict(value)
        for other, name in (("id", "key"), ("text", "content")):
            if other in named and name not in named:
                named[name] = named.pop(other)
        return named

    def domain(self) -> Pushed:
        if self.op == "delete":
            return Pushed(item=Item(key=self.key, gone=True, valid_from=self.valid_from), fetched=None)
        media_type = self.media_type or (None if self.content_base64 is not None else "text/plain")
        return _pushed(
            self.key,
            self._bytes(),
            media_type=media_type,
            filename=self.filename,
            etag=self.etag,
            title=self.title,
            author=self.author,
            label=self.label,
            valid_from=self.valid_from,
            acl=self.acl,
            attributes={name: tuple(values) for name, values in self.attributes.items()},
        )

    def _bytes(self) -> bytes:
        if (self.content is None) == (self.content_base64 is None):
            raise Invalid("An item has either content or content_base64.")
        if self.content is not None:
            return self.content.encode(errors="replace")
        try:
            return base64.b64decode(self.content_base64 or "", validate=True)
        except (binascii.Error, ValueError):
            raise Invalid("content_base64 is not base64.") from None


class GraphContent(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: Literal["text", "html"]
    value: str


class GraphItem(BaseModel):
    """Microsoft Graph's `externalItem`. What it says beyond what is known here is passed over."""

    model_config = ConfigDict(extra="ignore")
    id: Key
    acl: AclIn
    properties: dict[str, Any] = Field(default_factory=dict, max_length=1000)
    content: GraphContent

    def domain(self) -> Pushed:
        title = self.properties.get("title")
        return _pushed(
            self.id,
            self.content.value.encode(errors="replace"),
            media_type=_GRAPH_TYPES[self.content.type],
            title=title[:500] if isinstance(title, str) and title else None,
            acl=self.acl,
            attributes=_attributes(self.properties),
        )


@routes.post(
    "/v1/collections/{name}/sources/{source}/push",
    summary="Push items, a line each",
    response_class=StreamingResponse,
    responses={200: {"description": "A verdict for each line, in order", "content": {_LINES: {}}}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "JSON lines: an item each, as PushLine or as Microsoft Graph's externalItem.",
            "content": {
                _LINES: {
                    "schema": {"type": "string"},
                    "example": '{"key": "hr/leave", "content": "# Leave", "media_type": "text/markdown", '
                    '"acl": [{"type": "user", "value": "ana@example.org", "accessType": "grant"}]}\n'
                    '{"key": "hr/old", "op": "delete"}\n',
                }
            },
        }
    },
)
async def post_push(
    request: Request, name: Name, source: SourceId, asking: Asking, ports: PortsOf
) -> StreamingResponse:
    """Each line is taken or refused by itself, and told of in a line of the answer. Pushing a line again changes
    nothing. The answer's header Muniment-Run names the run that reports on what became of the documents."""
    errand = await run_in_threadpool(begin_push, ports, asking, name, SourceName(source))
    media_type = request.headers.get("content-type", _LINES).partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise UnsupportedMedia(f"Send items as JSON lines, with Content-Type: {_LINES}.")
    with ExitStack() as unless_answered:
        body = unless_answered.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))
        async for piece in request.stream():
            await run_in_threadpool(body.write, piece)
        body.seek(0)
        unless_answered.pop_all()  # the answer reads it and closes it
    return StreamingResponse(_answers(ports, errand, body), media_type=_LINES, headers={"Muniment-Run": errand.run})


def _answers(ports: Ports, errand: Errand, body: IO[bytes]) -> Iterator[str]:
    with body:
        number = 0
        while line := body.readline(MAX_LINE_BYTES + 1):
            number += 1
            whole = len(line) <= MAX_LINE_BYTES
            while not line.endswith(b"\n") and not whole and (line := body.readline(MAX_LINE_BYTES)):
                pass
            if whole and not line.strip():
                continue
            yield json.dumps({"line": number, **_answer(ports, errand, line if whole else None)}) + "\n"


def _answer(ports: Ports, errand: Errand, line: bytes | None) -> dict[str, Any]:
    """What became of one line; None: it is longer than any may be."""
    try:
        if line is None:
            raise TooLarge(f"A line may have {MAX_LINE_BYTES // 1_000_000} MB at the most.")
        pushed = _read(line)
    except (Invalid, TooLarge) as error:
        return {
            "state": "invalid",
            "problem": {
                **problem_out(Problem(kind=error.kind, detail=error.detail)).model_dump(),
                "errors": [{"detail": fault.detail, "pointer": fault.pointer} for fault in error.faults],
            },
        }
    verdict: Verdict = push(ports, errand, pushed)
    return {
        "key": pushed.item.key,
        "state": verdict.outcome.value,
        "document_id": verdict.document,
        "job_id": verdict.job,
        **({"problem": problem_out(verdict.problem).model_dump()} if verdict.problem else {}),
    }


def _read(line: bytes) -> Pushed:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise Invalid("This line is not JSON.") from None
    model = GraphItem if isinstance(value, dict) and isinstance(value.get("content"), dict) else PushLine
    try:
        return model.model_validate(value).domain()
    except ValidationError as error:
        faults = faults_of(error.errors(include_url=False, include_input=False))[:20]
        raise Invalid("This line is not of the form that the contract gives: see errors.", faults=faults) from None


def _pushed(
    key: str,
    content: bytes,
    *,
    media_type: str | None,
    acl: list[AclEntryIn] | None,
    filename: str | None = None,
    etag: str | None = None,
    author: str | None = None,
    label: LabelWire | None = None,
    **said: Any,
) -> Pushed:
    """The content is here, so its digest says whether it is another; the etag is kept as where it came from."""
    item = Item(
        key=key,
        etag=digest_of(content),
        acl=Acl(entries=frozenset(each.domain() for each in acl)) if acl is not None else None,
        author=author,
        label=label.domain() if label else None,
        media_type=media_type,
        **said,
    )
    name = filename or key.rpartition("/")[2] or "item"
    if "." not in name:
        name += _EXTENSIONS.get(media_type or "", "")
    return Pushed(item=item, fetched=Fetched(content=content, filename=name, media_type=media_type, etag=etag))


def _attributes(properties: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Properties as attributes: texts, numbers and truths, or lists of them; annotations and long texts left out."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in properties.items():
        several = [_words(each) for each in (value if isinstance(value, list) else [value])]
        fits = all(each is not None and len(each) <= _MAX_ATTRIBUTE_CHARS for each in several)
        if _ATTRIBUTE_NAME.fullmatch(name) and several and fits and len(found) < _MAX_ATTRIBUTES:
            found[name] = tuple(each for each in several[:100] if each is not None)
    return found


def _words(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.replace("\x00", "").encode(errors="replace").decode()
    return str(value) if isinstance(value, int | float) else None
