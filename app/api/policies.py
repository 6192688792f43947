"""Policies as code: versions drafted, tested, approved, put in force and brought back."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import Name, Storable, Text, Wire
from app.domain.instants import iso
from app.domain.policies import PolicyDigest, PolicyVersion, PolicyVersionId, Remark, StoredTables
from app.operations import policies
from app.operations.policies import Shown
from app.operations.who_sees_what import Failure, Outcome

routes = APIRouter(tags=["policies"], responses=ASKED)

_MAX_CHARS = 400_000

Cedar = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_CHARS), Storable]
Yaml = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_CHARS), Storable]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000), Storable]

_CEDAR = '@id("readers-see")\n@check("boundary")\n@reason("Readers see what they were given.")\npermit (principal, action in Muniment::Action::"see", resource)\nwhen { principal in resource.readers };\n'  # noqa: E501
_TABLE = (
    "principals:\n  user:ana: {clearance: confidential}\n"
    "collections:\n  files: {owners: [user:ana]}\n"
    "boundaries:\n  secret: {level: restricted}\n"
    "cases:\n  - {who: user:ana, asks: read, misses: [secret], by: above-subject-clearance}\n"
)
_VERSION: JsonDict = {
    "id": "pol_ycm4hswkclbmkpkltlte2st7ae",
    "digest": "9f2c1a7be0d34455a1f7f3b2f6f7e8f9ffe1a2b3c4d5e6f708192a3b4c5d6e7f",
    "state": "draft",
    "author": "user:ana",
    "reason": "Partners in the US are covered by the new transfer rule.",
    "created_at": "2026-11-22T20:00:00Z",
    "based_on": "0b5d1a7be0d34455a1f7f3b2f6f7e8f9ffe1a2b3c4d5e6f708192a3b4c5d6e7f",
    "approvals": [{"by": "user:ben", "at": "2026-11-22T21:00:00Z"}],
}


class PolicyDraftBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"cedar": _CEDAR, "reason": "Only readers, for now."}})
    cedar: Cedar = Field(description="A whole policy set: it replaces the one in force.")
    reason: Reason


class PolicyTextBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"cedar": _CEDAR}})
    cedar: Cedar


class PolicyTablesBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={"example": {"tables": {"clearance": _TABLE}, "reason": "Clearance is never given up."}}
    )
    tables: dict[Name, Yaml] = Field(max_length=50, description="YAML, by name. All of them: what is left out is gone.")
    reason: Reason


class PolicyTestBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"tables": {"clearance": _TABLE}}})
    tables: dict[Name, Yaml] | None = Field(default=None, max_length=50, description="Null: the stored ones.")


class PolicyApproveBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"digest": _VERSION["digest"]}})
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="Of the text that was looked at."
    )


class PolicyActivateBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "As decided on 22 November.", "strict": False}})
    reason: Reason
    strict: bool = Field(default=False, description="Refuse if there are warnings, too.")


class PolicyRollbackBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Claims cannot read their files.", "to": None}})
    reason: Reason
    to: Text | None = Field(default=None, description="A version that was in force; null: what was in force before.")


class PolicyApprovalOut(BaseModel):
    by: str
    at: str


class PolicyVersionOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": _VERSION})
    id: str
    digest: str = Field(description="sha256 of the text.")
    state: str = Field(description="draft, active, retired or discarded.")
    author: str
    reason: str
    created_at: str
    based_on: str | None = Field(description="The digest of the set that was in force when it was drafted.")
    approvals: list[PolicyApprovalOut]


class PolicyVersionsOut(BaseModel):
    policies: list[PolicyVersionOut]


class PolicyWarningOut(BaseModel):
    code: str = Field(
        description="unreachable, shadowed, duplicate, may-fail, loses-guard, unknown-name or unread.",
    )
    policy: str
    line: int | None = Field(description="Where the policy starts; null if it is not in the text.")
    detail: str


class PolicyDraftOut(PolicyVersionOut):
    model_config = ConfigDict(json_schema_extra={"example": {**_VERSION, "warnings": []}})
    warnings: list[PolicyWarningOut]


class PolicyTextOut(PolicyVersionOut):
    model_config = ConfigDict(json_schema_extra={"example": {**_VERSION, "cedar": _CEDAR, "diff": ""}})
    cedar: str
    diff: str = Field(description="From the set in force to this one, as diff -u writes it; empty if they are equal.")


class PolicyActiveOut(PolicyTextOut):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_VERSION,
                "cedar": _CEDAR,
                "diff": "",
                "activated_at": "2026-11-22T22:00:00Z",
                "activated_by": "user:ben",
                "activation_reason": "As decided on 22 November.",
            }
        }
    )
    activated_at: str
    activated_by: str
    activation_reason: str


class PolicyFaultOut(BaseModel):
    detail: str


class PolicyValidationOut(BaseModel):
    valid: bool
    faults: list[PolicyFaultOut] = Field(description="Each keeps the set from being drafted.")
    warnings: list[PolicyWarningOut] = Field(description="None keeps a set from being put in force, unless asked to.")


class DecidingPolicyOut(BaseModel):
    id: str
    reason: str


class PolicyFailureOut(BaseModel):
    table: str
    row: str = Field(description="Who asks what, through whom, for what.")
    because: str
    thing: str
    change: str = Field(description="gains, loses, or decided otherwise.")
    expected: str
    got: str
    policies: list[DecidingPolicyOut] = Field(description="What decided it; empty if nothing permits it.")
    detail: str


class PolicyTestOut(BaseModel):
    passed: bool
    rows: int
    decisions: int
    failures: list[PolicyFailureOut]


class PolicyTablesOut(BaseModel):
    tables: dict[str, str]
    reason: str | None
    recorded_at: str | None
    recorded_by: str | None


class PolicyTablesPutOut(PolicyTablesOut):
    in_force: PolicyTestOut = Field(description="How the set in force stands by them.")


@routes.post("/v1/policies", status_code=201, summary="Draft a policy set", responses={**problems(409), **SENT})
def post_draft(body: PolicyDraftBody, asking: Asking, ports: PortsOf) -> PolicyDraftOut:
    """For administrators. It decides nothing yet. With faults it is refused, and each is told."""
    drafted, validation = policies.draft(ports, asking, body.cedar, reason=body.reason)
    return PolicyDraftOut(**_fields(drafted), warnings=[_warning(each) for each in validation.remarks])


@routes.get("/v1/policies", summary="Every version of the policies")
def get_versions(asking: Asking, ports: PortsOf) -> PolicyVersionsOut:
    """For administrators and auditors. Newest first."""
    return PolicyVersionsOut(policies=[_version(each) for each in policies.listed(ports, asking)])


@routes.get("/v1/policies/active", summary="The policies in force", responses=problems(404))
def get_active(asking: Asking, ports: PortsOf) -> PolicyActiveOut:
    """For administrators and auditors."""
    shown, active = policies.shown_in_force(ports, asking)
    return PolicyActiveOut(
        **_fields(shown.version),
        cedar=shown.cedar,
        diff=shown.diff,
        activated_at=iso(active.at),
        activated_by=active.by,
        activation_reason=active.reason,
    )


@routes.get("/v1/policies/tests", summary="The tables that activations are held against")
def get_tables(asking: Asking, ports: PortsOf) -> PolicyTablesOut:
    """For administrators and auditors."""
    found = policies.tables(ports, asking)
    if found is None:
        return PolicyTablesOut(tables={}, reason=None, recorded_at=None, recorded_by=None)
    return PolicyTablesOut(**_table_fields(found))


@routes.put("/v1/policies/tests", summary="Lay down the tables that activations are held against", responses=SENT)
def put_tables(body: PolicyTablesBody, asking: Asking, ports: PortsOf) -> PolicyTablesPutOut:
    """For administrators. Who sees what, and why; earlier tables are kept with their time. Approvals that were given
    beside other tables no longer count."""
    stored, stands = policies.put_tables(ports, asking, body.tables, reason=body.reason)
    return PolicyTablesPutOut(**_table_fields(stored), in_force=_outcome(stands))


@routes.post("/v1/policies/validate", summary="What is wrong with a policy set", responses=SENT)
def post_validate(body: PolicyTextBody, asking: Asking, ports: PortsOf) -> PolicyValidationOut:
    """For administrators. Faults, and warnings: rules that never act, act twice or can fail, guards that are gone."""
    found = policies.validated(ports, asking, body.cedar)
    return PolicyValidationOut(
        valid=not found.faults,
        faults=[PolicyFaultOut(detail=each) for each in found.faults],
        warnings=[_warning(each) for each in found.remarks],
    )


@routes.post(
    "/v1/policies/rollback", summary="Bring the policies before back", responses={**problems(404, 409), **SENT}
)
def post_rollback(body: PolicyRollbackBody, asking: Asking, ports: PortsOf) -> PolicyVersionOut:
    """For administrators. It acts at once. The set just before needs no approval, any other does: draft it again."""
    to = PolicyVersionId(body.to) if body.to is not None else None
    return _version(policies.roll_back(ports, asking, reason=body.reason, to=to))


@routes.get("/v1/policies/{id}", summary="One version of the policies", responses=problems(404))
def get_version(id: Text, asking: Asking, ports: PortsOf) -> PolicyTextOut:
    """For administrators and auditors. Its text, and how it differs from what is in force."""
    return _with_text(policies.shown(ports, asking, PolicyVersionId(id)))


@routes.delete(
    "/v1/policies/{id}",
    status_code=204,
    summary="Discard a draft",
    responses=problems(404, 409),
    response_class=Response,
)
def delete_draft(id: Text, asking: Asking, ports: PortsOf) -> Response:
    """For administrators. Its text is kept."""
    policies.discard(ports, asking, PolicyVersionId(id))
    return Response(status_code=204)


@routes.post("/v1/policies/{id}/test", summary="Hold a version against tables", responses={**problems(404), **SENT})
def post_test(id: Text, body: PolicyTestBody, asking: Asking, ports: PortsOf) -> PolicyTestOut:
    """For administrators. Each row that does not come out as it says, with the policies that decided it."""
    return _outcome(policies.tested(ports, asking, PolicyVersionId(id), body.tables))


@routes.post("/v1/policies/{id}/approve", summary="Approve a draft", responses={**problems(404, 409), **SENT})
def post_approve(id: Text, body: PolicyApproveBody, asking: Asking, ports: PortsOf) -> PolicyVersionOut:
    """For administrators other than its author."""
    return _version(policies.approve(ports, asking, PolicyVersionId(id), PolicyDigest(body.digest)))


@routes.post("/v1/policies/{id}/activate", summary="Put a draft in force", responses={**problems(404, 409), **SENT})
def post_activate(id: Text, body: PolicyActivateBody, asking: Asking, ports: PortsOf) -> PolicyVersionOut:
    """For administrators. The next request is decided by it. Refused if it has faults, if a row of the stored tables
    fails, if another set was put in force since it was drafted, or if approvals are wanting."""
    id_ = PolicyVersionId(id)
    return _version(policies.activate(ports, asking, id_, reason=body.reason, strict=body.strict))


def _fields(version: PolicyVersion) -> dict[str, object]:
    return _version(version).model_dump()


def _version(version: PolicyVersion) -> PolicyVersionOut:
    return PolicyVersionOut(
        id=version.id,
        digest=version.digest,
        state=version.state,
        author=version.author,
        reason=version.reason,
        created_at=iso(version.created_at),
        based_on=version.based_on,
        approvals=[PolicyApprovalOut(by=each.by, at=iso(each.at)) for each in version.approvals],
    )


def _with_text(shown: Shown) -> PolicyTextOut:
    return PolicyTextOut(**_fields(shown.version), cedar=shown.cedar, diff=shown.diff)


def _warning(remark: Remark) -> PolicyWarningOut:
    return PolicyWarningOut(code=remark.code, policy=remark.policy, line=remark.line, detail=remark.sentence)


def _table_fields(stored: StoredTables) -> dict[str, object]:
    return {
        "tables": dict(stored.tables),
        "reason": stored.reason,
        "recorded_at": iso(stored.at),
        "recorded_by": stored.by,
    }


def _outcome(found: Outcome) -> PolicyTestOut:
    return PolicyTestOut(
        passed=not found.failures,
        rows=found.rows,
        decisions=found.decisions,
        failures=[_failure(each) for each in found.failures],
    )


def _failure(each: Failure) -> PolicyFailureOut:
    return PolicyFailureOut(
        table=each.table,
        row=each.asks,
        because=each.because,
        thing=each.thing,
        change=each.change,
        expected=each.expected,
        got=each.got,
        policies=[DecidingPolicyOut(id=id, reason=reason) for id, reason in each.deciding],
        detail=each.sentence,
    )
