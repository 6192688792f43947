"""Whether the server is alive, whether each part is ready, and its metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from app.api.ports import PortsOf
from app.api.problems import problem, problems
from app.domain.trace import TraceId
from app.operations.readiness import readiness

routes = APIRouter(tags=["operation"])


class AliveOut(BaseModel):
    status: str


class ReadyOut(BaseModel):
    status: str
    parts: dict[str, str]


@routes.get("/healthz", summary="Alive")
def get_healthz() -> AliveOut:
    return AliveOut(status="alive")


@routes.get("/readyz", summary="Ready, part by part", response_model=ReadyOut, responses=problems(503))
def get_readyz(request: Request, ports: PortsOf) -> ReadyOut | JSONResponse:
    parts = readiness(ports)
    named = {part: "ready" if error is None else error.detail for part, error in parts.items()}
    if all(error is None for error in parts.values()):
        return ReadyOut(status="ready", parts=named)
    down = ", ".join(part for part, error in parts.items() if error is not None)
    return problem(
        request,
        "unavailable",
        "Not ready",
        f"Not ready: {down}. See parts.",
        trace_id=TraceId(f"tr_{ports.new_id()}"),
        parts=named,
    )


@routes.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"description": "In Prometheus' own format", "content": {"text/plain": {}}}},
)
def get_metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
