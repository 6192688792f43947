"""How a version came to be, in our own shape and as W3C PROV-JSON."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.api.credentials import Asking
from app.api.documents import origin_out
from app.api.ports import PortsOf
from app.api.problems import ASKED, problems
from app.api.wire import Name, Text
from app.domain.access import Kind, PrincipalRef, kind_of
from app.domain.citation import opaque
from app.domain.corpus import DocumentId
from app.domain.instants import Instant, iso
from app.domain.provenance import Activity, Transformation
from app.operations.provenance import Evidence, Provenance, provenance
from app.operations.read import Shown
from app.ports import Ports

routes = APIRouter(tags=["documents"], responses=ASKED)

PROV_JSON = "application/prov+json"


class SubmissionOut(BaseModel):
    by: str
    through: str | None = Field(description="The assistant, if one brought it for somebody.")
    at: str


class StepOut(BaseModel):
    activity: Activity
    input: str = Field(description="The digest of what went in.")
    output: str = Field(description="The digest of what came out; of `label`, the boundary's id.")
    software: str
    parameters: dict[str, Any]
    started_at: str
    ended_at: str


class ProvenanceOut(BaseModel):
    document_id: str
    collection: str
    uri: str
    version: int
    digest: str = Field(description="Of the original bytes.")
    text_digest: str = Field(description="Of the canonical text.")
    recorded_at: str
    source: dict[str, Any]
    submitted: SubmissionOut
    steps: list[StepOut] = Field(description="In order; empty for a version from before they were written down.")
    previous_version: int | None = Field(description="The version that it revises, if the caller may know of it.")
    verified: bool | None = Field(description="Whether all that is stored bears it out; null unless asked for.")
    evidence: dict[Evidence, bool] | None = Field(description="What was verified, and whether it held.")


@routes.get(
    "/v1/documents/{id}/versions/{n}/provenance",
    summary="How a version came to be",
    response_model=ProvenanceOut,
    responses={
        200: {
            "model": ProvenanceOut,
            "description": "In our own shape, or as W3C PROV-JSON",
            "content": {PROV_JSON: {"schema": {"type": "object"}}},
        },
        **problems(404),
    },
)
def get_provenance(
    id: Text,
    n: int,
    asking: Asking,
    ports: PortsOf,
    purpose: Name | None = None,
    verify: Annotated[bool, Query(description="hold what is stored against it, the original too")] = False,
    format: Annotated[Literal["json", "prov-json"] | None, Query(description="before `Accept`")] = None,
    accept: Annotated[str | None, Header()] = None,
) -> ProvenanceOut | JSONResponse:
    """Where it was fetched, by whom it was brought, and every step to what is searched, each with its digests. It is
    metadata: whoever may know of the version may know this. `Accept: application/prov+json` gives PROV-JSON."""
    found = provenance(ports, asking, DocumentId(id), n, purpose=purpose, verify=verify)
    if format == "prov-json" or (format is None and PROV_JSON in (accept or "")):
        return JSONResponse(prov_json(ports, found), media_type=PROV_JSON)
    version = found.shown.version
    return ProvenanceOut(
        document_id=version.document.id,
        collection=version.document.collection,
        uri=version.document.uri,
        version=version.number,
        digest=version.digest,
        text_digest=version.text_digest,
        recorded_at=iso(version.recorded_at),
        source=origin_out(version.source),
        submitted=SubmissionOut(by=found.submission.by, through=found.submission.through, at=iso(found.submission.at)),
        steps=[_step(ports, step) for step in found.steps.values()],
        previous_version=found.previous.version.number if found.previous else None,
        verified=all(found.verified.values()) if found.verified is not None else None,
        evidence=dict(found.verified) if found.verified is not None else None,
    )


def _step(ports: Ports, step: Transformation) -> StepOut:
    return StepOut(
        activity=step.activity,
        input=step.input,
        output=_boundary(ports, step) if step.activity is Activity.LABEL else step.output,
        software=step.software,
        parameters=dict(step.parameters),
        started_at=iso(step.started),
        ended_at=iso(step.ended),
    )


def _boundary(ports: Ports, step: Transformation) -> str:
    """The boundary's digest would tell who may read, to whoever guesses it; its public id does not."""
    return opaque("bnd", step.output.removeprefix("sha256:"), pepper=ports.pepper)


# -- PROV-JSON (https://www.w3.org/submissions/prov-json/) -------------------------------------------------------------

_PREFIXES = {"muniment": "urn:muniment:", "sha256": "urn:sha256:"}
_Relation = tuple[str, dict[str, Any]]


def prov_json(ports: Ports, found: Provenance) -> dict[str, Any]:
    """The same as W3C PROV: entities by their digest or public id, activities of this version, and who did them."""
    relations: dict[str, dict[str, Any]] = {}
    for number, (kind, members) in enumerate(_relations(ports, found), 1):
        relations.setdefault(kind, {})[f"_:r{number}"] = members
    return {
        "prefix": _PREFIXES,
        "entity": dict(_entities(ports, found)),
        "activity": dict(_activities(found)),
        "agent": dict(_agents(found)),
        **relations,
    }


def _entities(ports: Ports, found: Provenance) -> Iterator[tuple[str, dict[str, Any]]]:
    version, source = found.shown.version, found.shown.version.source
    yield (
        _version(found.shown),
        {
            "prov:label": version.title,
            "muniment:uri": version.document.uri,
            "muniment:collection": version.document.collection,
            "muniment:version": version.number,
        },
    )
    if found.previous is not None:
        yield _version(found.previous), {"muniment:version": found.previous.version.number}
    origin = {"connector": source.connector, "item": source.item, "etag": source.etag, "author": source.author}
    yield (
        _source(found),
        {
            "prov:type": _name("muniment:source-item"),
            **({"prov:location": source.location} if source.location else {}),
            **{f"muniment:{name}": value for name, value in origin.items() if value is not None},
        },
    )
    yield (
        version.digest,
        {
            "prov:type": _name("muniment:original"),
            "muniment:media-type": version.media_type,
            "muniment:bytes": version.size_bytes,
        },
    )
    yield version.text_digest, {"prov:type": _name("muniment:canonical-text")}
    for activity, kind in ((Activity.CHUNK, "chunk-set"), (Activity.EMBED, "vectors"), (Activity.LABEL, "boundary")):
        if activity in found.steps:
            yield _output(ports, found, activity), {"prov:type": _name(f"muniment:{kind}")}


def _activities(found: Provenance) -> Iterator[tuple[str, dict[str, Any]]]:
    fetched = found.shown.version.source.fetched_at
    yield _activity(found, "fetch"), _times(fetched, fetched) if fetched is not None else {}
    yield _activity(found, "submit"), _times(found.submission.at, found.submission.at)
    for activity, step in found.steps.items():
        yield (
            _activity(found, activity),
            {
                **_times(step.started, step.ended),
                **{f"muniment:{name}": _value(value) for name, value in step.parameters.items()},
            },
        )


def _agents(found: Provenance) -> Iterator[tuple[str, dict[str, Any]]]:
    for ref in (found.submission.by, found.submission.through):
        if ref is not None:
            person = kind_of(ref) is Kind.USER
            yield (
                _agent(ref),
                {
                    "prov:type": _name("prov:Person" if person else "prov:SoftwareAgent"),
                    "prov:label": ref,
                },
            )
    for software in {step.software: None for step in found.steps.values()}:
        yield _software(software), {"prov:type": _name("prov:SoftwareAgent"), "prov:label": software}


def _relations(ports: Ports, found: Provenance) -> Iterator[_Relation]:
    version, original = _version(found.shown), found.shown.version.digest
    yield _used(found, "fetch", _source(found))
    yield _generated(found, "fetch", original)
    yield _derived(original, _source(found))
    yield _used(found, "submit", original)
    yield from _brought(found)
    for activity, step in found.steps.items():
        for entity in _inputs(ports, found, activity):
            yield _used(found, activity, entity)
        yield _associated(found, activity, _software(step.software))
        if activity not in (Activity.GATE, Activity.PUBLISH):  # the gate lets the same bytes through
            output = _output(ports, found, activity)
            yield _generated(found, activity, output)
            yield from (_derived(output, entity) for entity in _inputs(ports, found, activity))
    if Activity.PUBLISH in found.steps:
        yield _generated(found, Activity.PUBLISH, version)
    yield _derived(version, original)
    yield "wasAttributedTo", {"prov:entity": version, "prov:agent": _agent(found.submission.by)}
    if found.previous is not None:
        kind, members = _derived(version, _version(found.previous))
        yield kind, {**members, "prov:type": _name("prov:Revision")}


def _brought(found: Provenance) -> Iterator[_Relation]:
    """A person, or an assistant that acted on that person's behalf, submitted it."""
    by, through = found.submission.by, found.submission.through
    yield _associated(found, "submit", _agent(through or by))
    if through is not None:
        yield (
            "actedOnBehalfOf",
            {
                "prov:delegate": _agent(through),
                "prov:responsible": _agent(by),
                "prov:activity": _activity(found, "submit"),
            },
        )


def _inputs(ports: Ports, found: Provenance, activity: Activity) -> list[str]:
    version = found.shown.version
    if activity in (Activity.GATE, Activity.PARSE):
        return [version.digest]
    if activity in (Activity.CHUNK, Activity.LABEL):
        return [version.text_digest]
    before = [Activity.CHUNK] if activity is Activity.EMBED else [Activity.CHUNK, Activity.EMBED, Activity.LABEL]
    return [_output(ports, found, each) for each in before if each in found.steps]


def _output(ports: Ports, found: Provenance, activity: Activity) -> str:
    step = found.steps[activity]
    return f"muniment:{_boundary(ports, step)}" if activity is Activity.LABEL else step.output


def _used(found: Provenance, activity: str, entity: str) -> _Relation:
    return "used", {"prov:activity": _activity(found, activity), "prov:entity": entity}


def _generated(found: Provenance, activity: str, entity: str) -> _Relation:
    return "wasGeneratedBy", {"prov:entity": entity, "prov:activity": _activity(found, activity)}


def _associated(found: Provenance, activity: str, agent: str) -> _Relation:
    return "wasAssociatedWith", {"prov:activity": _activity(found, activity), "prov:agent": agent}


def _derived(entity: str, origin: str) -> _Relation:
    return "wasDerivedFrom", {"prov:generatedEntity": entity, "prov:usedEntity": origin}


def _version(shown: Shown) -> str:
    return f"muniment:{shown.version.document.id}/versions/{shown.version.number}"


def _source(found: Provenance) -> str:
    return f"{_version(found.shown)}/source"


def _activity(found: Provenance, name: str) -> str:
    return f"{_version(found.shown)}/{name}"


def _agent(ref: PrincipalRef) -> str:
    return f"muniment:{ref.replace(':', '/', 1)}"


def _software(software: str) -> str:
    """Names of programs hold signs that a qualified name may not."""
    return f"muniment:software/{''.join(sign if sign.isalnum() or sign in '._-' else '_' for sign in software)}"


def _name(qualified: str) -> dict[str, str]:
    return {"$": qualified, "type": "prov:QUALIFIED_NAME"}


def _times(started: Instant, ended: Instant) -> dict[str, str]:
    return {"prov:startTime": iso(started), "prov:endTime": iso(ended)}


def _value(value: object) -> object:
    """Several values are one text: an empty list would be no attribute at all."""
    return value if isinstance(value, str | int) else ", ".join(map(str, value))  # type: ignore[call-overload]
