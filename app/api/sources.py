"""Sources of a collection: registered, run, looked back on, removed."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, STATUS, TITLES, problems
from app.api.wire import NAME, Name, Storable, Text, Wire
from app.domain.instants import Instant, iso
from app.domain.jobs import Problem
from app.domain.runs import Registered, Report, Run, RunId, RunState, Setback, Tally
from app.domain.sources import SourceName, SourceSettings
from app.operations import sources

routes = APIRouter(tags=["sources"], responses={**ASKED, **problems(404)})

SourceId = Annotated[str, Path(pattern=NAME, max_length=128)]
ConnectorWord = Literal["folder", "git", "objects", "web", "mail", "push"]
Option = Annotated[str, StringConstraints(max_length=2000), Storable]


class SourceBody(Wire):
    """Where documents come from, and when. Secrets are not here: connectors take them from the server's environment."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "connector": "folder",
                "location": "/srv/handbooks",
                "options": {"watch": "true"},
                "schedule": "30 2 * * 1-5",
                "namespace": "",
                "paused": False,
            }
        }
    )
    connector: ConnectorWord
    location: Annotated[str, StringConstraints(max_length=2000), Storable] = Field(
        default="", description="A path or URL; it has to lie within what MUNIMENT_SOURCES__ALLOW names."
    )
    options: dict[Name, Option] = Field(
        default_factory=dict,
        max_length=50,
        description="`prefix` is put before every name, `requests_per_second` limits fetching, and each connector "
        "has its own, as `watch` of a folder.",
    )
    schedule: Annotated[str, StringConstraints(max_length=200), Storable] | None = Field(
        default=None, description="Five fields of cron, in UTC."
    )
    namespace: Name | Literal[""] = Field(
        default="", description="Whose names its access lists use: see PUT /v1/identities."
    )
    paused: bool = False

    def domain(self, collection: str, name: str) -> SourceSettings:
        return SourceSettings(
            name=SourceName(name),
            collection=collection,
            connector=self.connector,
            location=self.location,
            options=dict(self.options),
            schedule=self.schedule,
            namespace=self.namespace,
            paused=self.paused,
        )


class RunBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"confirm_withdrawals": False}})
    confirm_withdrawals: bool = Field(
        default=False, description="Withdraw what is gone, however much it is: after a run that needs confirmation."
    )


class ProblemOut(BaseModel):
    type: str
    title: str
    status: int
    detail: str


class RunOut(BaseModel):
    id: str
    collection: str
    source: str
    state: RunState
    triggered_by: str = Field(description="Who asked for it, or `schedule`, or `watch`.")
    requested_at: str
    started_at: str | None
    ended_at: str | None
    problem: ProblemOut | None


class RunRef(BaseModel):
    run: RunOut


class CountsOut(BaseModel):
    """Items by what became of them. Each state of an item that has several counts: it is a version."""

    listed: int
    unchanged: int
    new: int
    changed: int
    boundary_only: int = Field(description="Who may read it is otherwise; what it says is not.")
    withdrawn: int
    refused: int
    failed: int = Field(description="Taken, and could not be read.")
    in_progress: int


class SetbackOut(BaseModel):
    uri: str
    problem: ProblemOut
    document_id: str | None
    job_id: str | None


class ReportOut(RunOut):
    """What a run came to, of the items that you may read."""

    counts: CountsOut
    setbacks: list[SetbackOut] = Field(description="What was refused or failed, and why.")


class ReportsOut(BaseModel):
    runs: list[ReportOut]


class SourceOut(BaseModel):
    collection: str
    name: str
    connector: str
    location: str
    options: dict[str, str]
    schedule: str | None
    namespace: str
    paused: bool
    registered_by: str = Field(description="In whose name its runs act.")
    recorded_at: str
    next_run_at: str | None
    latest_run: RunOut | None


class SourcesOut(BaseModel):
    sources: list[SourceOut]


@routes.put("/v1/collections/{name}/sources/{source}", summary="Let a source be so from now on", responses=SENT)
def put_source(name: Name, source: SourceId, body: SourceBody, asking: Asking, ports: PortsOf) -> SourceOut:
    """For owners. Its runs act in the name of whoever registers it, and stop when they are an owner no longer."""
    registered = sources.put_source(ports, asking, body.domain(name, source))
    return _source(sources.Described(registered=registered, latest=None))


@routes.get("/v1/collections/{name}/sources", summary="The sources of a collection")
def get_sources(name: Name, asking: Asking, ports: PortsOf) -> SourcesOut:
    return SourcesOut(sources=[_source(each) for each in sources.sources(ports, asking, name)])


@routes.get("/v1/collections/{name}/sources/{source}", summary="A source, and when it is run next")
def get_source(name: Name, source: SourceId, asking: Asking, ports: PortsOf) -> SourceOut:
    return _source(sources.source(ports, asking, name, SourceName(source)))


@routes.delete(
    "/v1/collections/{name}/sources/{source}",
    status_code=204,
    summary="Remove a source; its documents stay",
    response_class=Response,
)
def delete_source(name: Name, source: SourceId, asking: Asking, ports: PortsOf) -> Response:
    sources.remove_source(ports, asking, name, SourceName(source))
    return Response(status_code=204)


@routes.post(
    "/v1/collections/{name}/sources/{source}/run",
    status_code=202,
    summary="Run a source",
    responses={**problems(409), **SENT},
)
def post_run(
    name: Name, source: SourceId, asking: Asking, ports: PortsOf, response: Response, body: RunBody | None = None
) -> RunRef:
    """A worker carries it out. If a run of the source goes on already, it is that one."""
    confirmed = body is not None and body.confirm_withdrawals
    run = sources.request_run(ports, asking, name, SourceName(source), confirmed=confirmed)
    response.headers["Location"] = f"/v1/collections/{name}/sources/{source}/runs/{run.id}"
    return RunRef(run=RunOut.model_validate(_run(run)))


@routes.get("/v1/collections/{name}/sources/{source}/runs", summary="The latest runs of a source, newest first")
def get_runs(
    name: Name,
    source: SourceId,
    asking: Asking,
    ports: PortsOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> ReportsOut:
    found = sources.reports(ports, asking, name, SourceName(source), limit=limit)
    return ReportsOut(runs=[_report(each) for each in found])


@routes.get("/v1/collections/{name}/sources/{source}/runs/{run}", summary="What a run came to")
def get_run(name: Name, source: SourceId, run: Text, asking: Asking, ports: PortsOf) -> ReportOut:
    """Counts, and what was refused or failed. Of items that you may not read, nothing."""
    return _report(sources.report(ports, asking, name, SourceName(source), RunId(run)))


@routes.post(
    "/v1/collections/{name}/sources/{source}/runs/{run}/cancel", summary="Break a run off", responses=problems(409)
)
def post_cancel(name: Name, source: SourceId, run: Text, asking: Asking, ports: PortsOf) -> RunRef:
    """What was taken stays; the next run goes on with the rest."""
    cancelled = sources.cancel_run(ports, asking, name, SourceName(source), RunId(run))
    return RunRef(run=RunOut.model_validate(_run(cancelled)))


def problem_out(problem: Problem) -> ProblemOut:
    return ProblemOut(
        type=f"/problems/{problem.kind}",
        title=TITLES[problem.kind],
        status=STATUS[problem.kind],
        detail=problem.detail,
    )


def _source(described: sources.Described) -> SourceOut:
    registered: Registered = described.registered
    settings = registered.settings
    return SourceOut(
        collection=settings.collection,
        name=settings.name,
        connector=settings.connector,
        location=settings.location,
        options=dict(settings.options),
        schedule=settings.schedule,
        namespace=settings.namespace,
        paused=settings.paused,
        registered_by=registered.registrant.subject,
        recorded_at=iso(registered.recorded_at),
        next_run_at=_iso(registered.next_run_at),
        latest_run=RunOut.model_validate(_run(described.latest)) if described.latest else None,
    )


def _report(report: Report) -> ReportOut:
    return ReportOut.model_validate(
        {
            **_run(report.run),
            "counts": _counts(report.tally),
            "setbacks": [_setback(each) for each in report.setbacks],
        }
    )


def _run(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "collection": run.collection,
        "source": run.source,
        "state": run.state,
        "triggered_by": run.triggered_by,
        "requested_at": iso(run.requested_at),
        "started_at": _iso(run.started_at),
        "ended_at": _iso(run.ended_at),
        "problem": problem_out(run.problem) if run.problem else None,
    }


def _counts(tally: Tally) -> CountsOut:
    return CountsOut(
        listed=tally.listed,
        unchanged=tally.unchanged,
        new=tally.new,
        changed=tally.changed,
        boundary_only=tally.boundary_only,
        withdrawn=tally.withdrawn,
        refused=tally.refused,
        failed=tally.failed,
        in_progress=tally.going_on,
    )


def _setback(setback: Setback) -> SetbackOut:
    return SetbackOut(
        uri=setback.uri,
        problem=problem_out(Problem(kind=setback.kind, detail=setback.detail)),
        document_id=setback.document,
        job_id=setback.job,
    )


def _iso(instant: Instant | None) -> str | None:
    return iso(instant) if instant is not None else None
