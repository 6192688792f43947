"""The web app: routes, errors, limits and metrics around the ports it is given."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import Counter, Histogram
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import (
    answer,
    authzen,
    break_glass,
    control,
    documents,
    duplicates,
    erasure,
    escalations,
    generations,
    golden,
    health,
    history,
    holds,
    identities,
    jobs,
    keys,
    labelling,
    policies,
    provenance,
    push,
    reading,
    registers,
    retention,
    retrieve,
    scim,
    simulation,
    sources,
    suggest,
    webhooks,
)
from app.api.problems import TITLES, Problem, handle_problems, problem
from app.domain.corpus import MAX_DOCUMENT_BYTES
from app.domain.errors import MunimentError
from app.domain.trace import TraceId
from app.operations.issue import write_down_uses
from app.operations.rebuild import look_ahead
from app.ports import Ports

MAX_BODY_BYTES = MAX_DOCUMENT_BYTES + 1_000_000
"""Of a request that brings a document: it and what is said of it."""

MAX_PLAIN_BODY_BYTES = 500_000
"""Of every other request. Bodies are read before anybody is identified, so this bounds what a stranger costs."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_REQUESTS = Counter("muniment_requests_total", "Requests by route and status.", ["method", "route", "status"])
_SECONDS = Histogram("muniment_request_seconds", "Seconds a request took, by route.", ["method", "route"])


def create_app(ports: Ports) -> FastAPI:
    """The API over these ports. Opening and closing them is the caller's."""
    app = _Documented(
        title="Muniment",
        summary="One governed memory for all of an institution's AI assistants",
        version="0.1.0",
        license_info=None,
        lifespan=_beside_requests,
        redirect_slashes=False,  # it would lead to whatever the Host header says, and keys along
    )
    app.state.ports = ports
    asking = (retrieve, answer, suggest, reading)
    knowledge = (documents, history, duplicates, provenance, labelling, holds, erasure, retention, golden)
    fetching = (sources, push, identities, jobs)
    governing = (control, keys, scim, registers, policies, simulation, break_glass, escalations, webhooks)
    for each in (*asking, *knowledge, *fetching, *governing, authzen, generations, health):
        app.include_router(each.routes)
    handle_problems(app, ports)
    app.add_middleware(_Measured)
    app.add_middleware(_BodyLimit, ports=ports)
    app.add_middleware(authzen.RequestIds)
    return app


_USES_EVERY_S = 60
"""How often it is written down which keys were used: no request does so, and none waits for it."""

_LOOKS_AHEAD_EVERY_S = 2
"""How often it is looked whether another generation of the index is about to answer: its model is loaded by then."""


@asynccontextmanager
async def _beside_requests(app: FastAPI) -> AsyncIterator[None]:
    ports: Ports = app.state.ports

    async def again_and_again() -> None:
        while True:
            await asyncio.sleep(_USES_EVERY_S)
            await asyncio.to_thread(write_down_uses, ports)

    async def looking_ahead() -> None:
        while ports.generations is not None:
            await asyncio.sleep(_LOOKS_AHEAD_EVERY_S)
            with suppress(MunimentError):
                await asyncio.to_thread(look_ahead, ports)

    going_on = [asyncio.create_task(each()) for each in (again_and_again, looking_ahead)]
    try:
        yield
    finally:
        for each in going_on:
            each.cancel()
        await asyncio.to_thread(write_down_uses, ports)


class _Documented(FastAPI):
    """Its OpenAPI document also holds the schemas that routes name by hand, and examples with the nulls they have."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        _, by_hand = models_json_schema(
            [
                (Problem, "serialization"),
                (retrieve.AnswerOut, "serialization"),
                (answer.ReplyOut, "serialization"),
                (escalations.EscalationOut, "serialization"),
                (documents.TextDocument, "validation"),
            ],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"].update(by_hand["$defs"])
        return document


class _Measured:
    """Counts and times requests by the route's template, never by its path: paths hold ids. Methods are what the
    client makes up, so the unusual ones are one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), "500"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            _REQUESTS.labels(method, route, status).inc()
            _SECONDS.labels(method, route).observe(time.perf_counter() - start)


_AT_MOST = (
    (re.compile(r"/v1/collections/[^/]+/documents"), MAX_BODY_BYTES),
    (re.compile(r"/v1/collections/[^/]+/sources/[^/]+/push"), push.MAX_PUSH_BYTES),
    (re.compile(re.escape(scim.ROOT) + "(/.*)?", re.DOTALL), scim.MAX_SCIM_BYTES),
    (re.compile(r"/v1/identities/[^/]+"), identities.MAX_IDENTITIES_BYTES),
)


class _TooLarge(Exception):
    pass


class _BodyLimit:
    """Refuses bodies that are too large before they are held in memory, and reads them off so the answer arrives."""

    def __init__(self, app: ASGIApp, ports: Ports) -> None:
        self._app, self._ports = app, ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        at_most = next((most for path, most in _AT_MOST if path.fullmatch(scope["path"])), MAX_PLAIN_BODY_BYTES)
        stated = dict(scope["headers"]).get(b"content-length", b"")
        if stated.isdigit() and int(stated) > at_most:
            await self._refuse(scope, receive, send, at_most, more=True)
            return
        taken = 0
        answering = more = False

        async def counted() -> Message:
            nonlocal taken, more
            message = await receive()
            taken, more = taken + len(message.get("body", b"")), message.get("more_body", False)
            if taken > at_most:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answering
            if taken > at_most and not answering:
                return  # whatever the app made of half a body, the answer is the refusal
            answering = True
            await send(message)

        with suppress(_TooLarge):
            await self._app(scope, counted, noted)
        if taken > at_most and not answering:
            await self._refuse(scope, receive, send, at_most, more=more)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, at_most: int, *, more: bool) -> None:
        for _ in range(100_000):
            if not more:
                break
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
        response = problem(
            Request(scope),
            "too-large",
            TITLES["too-large"],
            f"This request may have {at_most / 1_000_000:g} MB at the most. A document may have "
            f"{MAX_DOCUMENT_BYTES // 1_000_000} MB: split a larger one, or leave out its images.",
            trace_id=TraceId(f"tr_{self._ports.new_id()}"),
        )
        await response(scope, receive, send)
