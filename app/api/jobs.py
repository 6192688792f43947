"""Jobs: how far work is that was acknowledged."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, STATUS, TITLES, problems
from app.api.wire import Text
from app.domain.errors import MunimentError
from app.domain.jobs import Job, JobId, JobState
from app.operations import submit
from app.operations.identify import Credentials
from app.ports import Ports

routes = APIRouter(tags=["jobs"], responses={**ASKED, **problems(404)})

_POLL_S = 0.1
_MAX_STREAM_S = 3600.0


class ProgressOut(BaseModel):
    done: int
    total: int
    unit: Literal["steps"]


class JobOut(BaseModel):
    id: str
    kind: str
    state: JobState
    stage: str | None
    progress: ProgressOut
    problem: dict[str, Any] | None
    result: dict[str, Any] | None


@routes.get("/v1/jobs/{id}", summary="How far a job is")
def get_job(id: Text, asking: Asking, ports: PortsOf) -> JobOut:
    """For whoever submitted it and the owners of its collection."""
    return job_out(submit.job(ports, asking, JobId(id)))


@routes.get(
    "/v1/jobs/{id}/events",
    summary="A job's progress as server-sent events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
def get_job_events(id: Text, asking: Asking, ports: PortsOf) -> StreamingResponse:
    """An event `progress` for each change, and `ended` with the last; each is a job as JSON."""
    first = submit.job(ports, asking, JobId(id))
    return StreamingResponse(_events(ports, asking, first), media_type="text/event-stream")


def job_out(job: Job) -> JobOut:
    problem = job.problem and {
        "type": f"/problems/{job.problem.kind}",
        "title": TITLES[job.problem.kind],
        "status": STATUS[job.problem.kind],
        "detail": job.problem.detail,
    }
    result = job.result and {
        "document_id": job.result.document,
        "version": job.result.version,
        "unchanged": job.result.unchanged,
        "findings": [{"code": each.code, "detail": each.detail} for each in job.result.findings],
        "attachments": list(job.result.attachments),
    }
    return JobOut(
        id=job.id,
        kind=job.kind,
        state=job.state,
        stage=job.stage,
        progress=ProgressOut(done=job.done, total=job.total, unit="steps"),
        problem=problem or None,
        result=result or None,
    )


async def wait_for(ports: Ports, asking: Credentials, id: JobId, *, timeout_s: float) -> Job:
    """The job once it is over, or as it is when the time is up. No thread is held while nothing is looked at."""
    deadline = time.monotonic() + timeout_s
    while True:
        job = await run_in_threadpool(submit.job, ports, asking, id)
        if job.state.ended or time.monotonic() >= deadline:
            return job
        await asyncio.sleep(_POLL_S)


async def _events(ports: Ports, asking: Credentials, first: Job) -> AsyncIterator[str]:
    """Authorized anew for each look, so a stream ends when the right to see it does."""
    deadline = time.monotonic() + _MAX_STREAM_S
    job, told = first, None
    while True:
        now = job_out(job)
        if now != told:
            name = "ended" if job.state.ended else "progress"
            yield f"event: {name}\ndata: {json.dumps(now.model_dump(mode='json'))}\n\n"
            told = now
        if job.state.ended or time.monotonic() >= deadline:
            return
        await asyncio.sleep(_POLL_S)
        try:
            job = await run_in_threadpool(submit.job, ports, asking, first.id)
        except MunimentError:
            return
