"""Every error as RFC 9457 problem+json. The only place that knows an HTTP status."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from app.api.credentials import credentials_of
from app.domain.errors import Fault, MunimentError, NotFound, NotPermitted
from app.domain.trace import TraceId
from app.operations.attest import refused
from app.ports import Ports

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS = {
    "unauthenticated": 401,
    "not-permitted": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "conflict": 409,
    "too-large": 413,
    "unsupported-media-type": 415,
    "invalid": 422,
    "unparseable-document": 422,
    "rate-limited": 429,
    "needs-ocr": 422,
    "no-text": 422,
    "internal": 500,
    "unavailable": 503,
}

_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "5"}, 503: {"Retry-After": "5"}}
_NO_SUCH_ROUTE = "There is nothing at that address. See /docs for what there is."
_UNREADABLE = "The request could not be read: its body is damaged, or not of the type that its Content-Type says."


def _every(kind: type[MunimentError]) -> Iterator[type[MunimentError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _every(each)


TITLES = {each.kind: each.title for each in _every(MunimentError)}


class FaultOut(BaseModel):
    detail: str
    pointer: str


class Problem(BaseModel):
    """RFC 9457. Kinds that need it add members: a failed job is under `job`, the parts that are down under `parts`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "/problems/invalid",
                "title": "Invalid request",
                "status": 422,
                "detail": "The request is not of the form that the contract gives: see errors.",
                "instance": "/v1/retrieve",
                "trace_id": "tr_4wrij62whllid6p5he5q545sfe",
                "errors": [{"detail": "It should be less than or equal to 50.", "pointer": "/top_k"}],
            }
        },
    )
    type: str
    title: str
    status: int
    detail: str
    instance: str
    trace_id: str
    errors: list[FaultOut]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, as OpenAPI has them."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {
            "description": " or ".join(kind for kind, its in STATUS.items() if its == status),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


ASKED = problems(401, 403, 422, 503)
"""Of every route that wants to know who asks."""

SENT = problems(413, 415)
"""Of every route that takes a body."""


def problem(
    request: Request,
    kind: str,
    title: str,
    detail: str,
    *,
    trace_id: TraceId,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    if request.scope["path"].startswith(_IN_WORDS):
        return _in_words(kind, detail, faults, headers or {})
    status = STATUS[kind]
    if request.scope["path"].startswith(_SCIM):
        return _scim_error(status, detail, headers=headers)
    body = {
        "type": f"/problems/{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": _instance(request),
        "trace_id": trace_id,
        "errors": [{"detail": fault.detail, "pointer": fault.pointer} for fault in faults],
        **members,
    }
    return JSONResponse(body, status, media_type=MEDIA_TYPE, headers={**_HEADERS.get(status, {}), **(headers or {})})


_SCIM = "/scim/"


def _scim_error(status: int, detail: str, *, headers: Mapping[str, str] | None) -> JSONResponse:
    """The same as RFC 7644, 3.12, has it, for clients that know no other form."""
    status = 400 if status == 422 else status
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status), "detail": detail}
    shown = {**_HEADERS.get(status, {}), **(headers or {})}
    return JSONResponse(body, status, media_type="application/scim+json", headers=shown)


_IN_WORDS = ("/access/v1/", "/.well-known/authzen-configuration")
"""Paths whose errors another specification says: a message as text, and 400 for whatever is not of the form (AuthZEN
Authorization API 1.0, Error Responses)."""


class _Words(JSONResponse):
    """A message instead of a problem, to callers that want a message."""

    media_type = "text/plain"

    def render(self, content: str) -> bytes:
        return content.encode()


def _in_words(kind: str, detail: str, faults: Sequence[Fault], headers: Mapping[str, str]) -> JSONResponse:
    status = 400 if STATUS[kind] in (415, 422) else STATUS[kind]
    where = "".join(f" {fault.pointer or 'the body'}: {fault.detail}" for fault in faults)
    text = f"{detail.replace(': see errors.', ':')}{where}"
    return _Words(text, status, headers={**_HEADERS.get(status, {}), **headers})


_MAX_FAULTS = 20
"""More mistakes than these help nobody, and cost as much to list as the request did to send."""


def handle_problems(app: FastAPI, ports: Ports) -> None:
    """Let every exception of a request end as a problem, and every refusal on record."""

    def new_trace() -> TraceId:
        return TraceId(f"tr_{ports.new_id()}")

    def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, MunimentError)
        trace_id = new_trace()
        if isinstance(error, NotPermitted | NotFound):
            refused(ports, credentials_of(request), error, trace_id, method=request.method, path=_instance(request))
        faults = error.faults[:_MAX_FAULTS]
        return problem(request, error.kind, error.title, error.detail, trace_id=trace_id, faults=faults)

    def of_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        if _is_no_json(request) and any(tuple(each["loc"]) == ("body",) for each in error.errors()):
            detail = "Send the body as JSON, with Content-Type: application/json."
            kind = "unsupported-media-type"
            return problem(request, kind, TITLES[kind], detail, trace_id=new_trace())
        faults = faults_of(error.errors()[:_MAX_FAULTS])
        detail = "The request is not of the form that the contract gives: see errors."
        return problem(request, "invalid", TITLES["invalid"], detail, trace_id=new_trace(), faults=faults)

    def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid")
        detail = {
            "not-found": _NO_SUCH_ROUTE,
            "method-not-allowed": f"{request.method[:20]} is not possible there. See /docs.",
            "invalid": _UNREADABLE,
        }[kind]
        title = TITLES.get(kind, "Method not allowed")
        return problem(request, kind, title, detail, trace_id=new_trace(), headers=error.headers)

    def of_a_bug(request: Request, error: Exception) -> JSONResponse:
        trace_id = new_trace()
        logger.error("%s %s failed, trace %s", request.method, _instance(request), trace_id, exc_info=error)
        detail = "Something failed on our side; it is logged under this trace_id. Nothing was disclosed."
        return problem(request, "internal", MunimentError.title, detail, trace_id=trace_id)

    app.add_exception_handler(MunimentError, ours)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(Exception, of_a_bug)


def faults_of(errors: Sequence[Any], prefix: str = "") -> tuple[Fault, ...]:
    """pydantic's errors as faults, each with a JSON pointer below `prefix`. What was sent is never said back."""
    return tuple(Fault(detail=_sentence(each), pointer=prefix + _pointer(each)) for each in errors)


_NAME = "[A-Za-z0-9][A-Za-z0-9._@+-]*$"
_OUR_WORDS = re.compile(r"^(Input|String|List|Dictionary|Tuple|Set|Data|Value) should ")


def _sentence(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "It is missing."
        case "extra_forbidden":
            return "There is no such field."
        case "string_pattern_mismatch":
            return _formed(context["pattern"])
        case "dict_type" | "model_type" | "model_attributes_type":
            return "It should be a JSON object."
        case "json_invalid":
            return f"It is not JSON: {context['error']}."
        case "int_type" | "int_parsing" | "int_from_float":
            return "It should be a whole number."
        case "bool_type" | "bool_parsing":
            return "It should be true or false."
        case "string_type":
            return "It should be text."
    text = _OUR_WORDS.sub("It should ", str(error["msg"]).removeprefix("Value error, "))
    return text if text.endswith(".") else f"{text[:1].upper()}{text[1:]}."


def _formed(pattern: str) -> str:
    """How to write what matches one of the patterns that end as names do."""
    before, is_name, _ = pattern.removeprefix("^").partition(_NAME)
    if not is_name:
        return f"It is not of the form {pattern}"
    letters = "letters, digits and . _ @ + -, beginning with a letter or a digit"
    if not before:
        return f"Write it with {letters}."
    kinds, _, mark = before.replace("\\", "").removeprefix("(").partition(")")
    forms = " or ".join(f"{kind}{mark}NAME" for kind in kinds.split("|"))
    return f"Write {forms}, and NAME with {letters}."


_NO_NAME: Final = re.compile(r"\[key\]|constrained-[a-z]+|list\[.*\]")
"""Parts of a location that are pydantic's own: of a key, and of one form among several that a value may have."""


def _pointer(error: Mapping[str, Any]) -> str:
    """A JSON pointer into the body; for other places, the place's name in front. Nothing of what is no JSON."""
    location = error["loc"]
    parts = location[1:] if location and location[0] == "body" else location
    if error["type"] == "json_invalid":
        return ""
    named = (str(part) for part in parts if not _NO_NAME.fullmatch(str(part)))
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in named)


def _is_no_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type != "application/json" and not media_type.endswith("+json")


def _instance(request: Request) -> str:
    """The path that was asked for, as a URI reference whatever bytes it held."""
    return quote(request.scope["path"], safe="/:@!$&'()*+,;=~-._")
