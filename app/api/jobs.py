"""Jobs: how far work is that was acknowledged."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, STATUS, TITLES, problems
from app.api.wire import Name, Storable, Text
from app.domain.errors import MunimentError
from app.domain.instants import iso
from app.domain.jobs import Job, JobId, JobState
from app.operations import oversee
from app.operations.identify import Credentials
from app.ports import Ports

routes = APIRouter(tags=["jobs"], responses=ASKED)

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
    document: dict[str, str]
    attempts: int = Field(description="How often it was begun.")
    next_attempt_at: str | None = Field(description="When it is tried again, if a part that it needs was down.")
    advice: str | None = Field(description="What can be done, of one that failed or was cancelled.")
    submitted_at: str
    ended_at: str | None


class JobsOut(BaseModel):
    jobs: list[JobOut]
    cursor: str | None = Field(description="Send it back to go on; null at the end.")


@routes.get("/v1/jobs", summary="Jobs that may be followed, newest first")
def get_jobs(
    asking: Asking,
    ports: PortsOf,
    collection: Name | None = None,
    state: JobState | None = None,
    id: Annotated[
        list[Annotated[str, StringConstraints(max_length=100), Storable]] | None,
        Query(description="These alone; those that are not there for you are left out.", max_length=200),
    ] = None,
    cursor: Annotated[str, StringConstraints(max_length=100), Storable] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobsOut:
    """One's own, and those of collections that one owns, of documents that one may read. `state=failed` lists the
    dead letters: what was not taken in, why, and what can be done."""
    if id is not None:
        found = oversee.some_jobs(ports, asking, [JobId(each) for each in id])
    else:
        before = JobId(cursor) if cursor else None
        found = oversee.listed(ports, asking, collection=collection, state=state, before=before, limit=limit)
    return JobsOut(jobs=[job_out(each) for each in found.jobs], cursor=found.after)


@routes.get("/v1/jobs/{id}", summary="How far a job is", responses=problems(404))
def get_job(id: Text, asking: Asking, ports: PortsOf) -> JobOut:
    """For whoever submitted it, and those owners of its collection who may read its document."""
    return job_out(oversee.job(ports, asking, JobId(id)))


@routes.post("/v1/jobs/{id}/cancel", summary="Cancel a job", responses=problems(404, 409))
def post_cancel(id: Text, asking: Asking, ports: PortsOf) -> JobOut:
    """Possible until its version is published; what it left is cleared away."""
    return job_out(oversee.cancel(ports, asking, JobId(id)))


@routes.post("/v1/jobs/{id}/retry", status_code=202, summary="Try a job again", responses=problems(404, 409))
def post_retry(id: Text, asking: Asking, ports: PortsOf) -> JobOut:
    """Of one that failed or was cancelled, unless its document was submitted again since."""
    return job_out(oversee.retry(ports, asking, JobId(id)))


@routes.get(
    "/v1/jobs/{id}/events",
    summary="A job's progress as server-sent events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problems(404)},
)
def get_job_events(id: Text, asking: Asking, ports: PortsOf) -> StreamingResponse:
    """An event `progress` for each change, and `ended` with the last; each is a job as JSON."""
    first = oversee.job(ports, asking, JobId(id))
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
        document={"id": job.document, "uri": job.uri, "collection": job.collection},
        attempts=job.attempts,
        next_attempt_at=iso(job.not_before) if job.not_before is not None else None,
        advice=job.advice,
        submitted_at=iso(job.submitted_at),
        ended_at=iso(job.ended_at) if job.ended_at is not None else None,
    )


async def wait_for(ports: Ports, asking: Credentials, id: JobId, *, timeout_s: float) -> Job:
    """The job once it is over, or as it is when the time is up. No thread is held while nothing is looked at."""
    deadline = time.monotonic() + timeout_s
    while True:
        job = await run_in_threadpool(oversee.job, ports, asking, id)
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
            job = await run_in_threadpool(oversee.job, ports, asking, first.id)
        except MunimentError:
            return
