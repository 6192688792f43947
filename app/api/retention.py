"""Retention rules by collection: set, tried, carried out."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import Name, Wire
from app.domain.errors import Fault, Invalid
from app.domain.instants import iso
from app.domain.retention import Disposal, RetentionRule, Since
from app.operations import retain

routes = APIRouter(tags=["retention"], responses=ASKED)


class RuleWire(Wire):
    """What is done with a version, so many days after it was superseded, expired, withdrawn or published."""

    when: Since = Field(strict=False)
    after_days: int = Field(ge=0, le=36_500)
    action: Disposal = Field(strict=False)


class RetentionBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={"example": {"rules": [{"when": "superseded", "after_days": 365, "action": "erase"}]}}
    )
    rules: list[RuleWire] = Field(max_length=20)

    def domain(self) -> tuple[RetentionRule, ...]:
        for place, rule in enumerate(self.rules):
            if rule.when is Since.WITHDRAWN and rule.action is Disposal.WITHDRAW:
                fault = Fault(detail="What is withdrawn cannot be withdrawn again.", pointer=f"/rules/{place}/action")
                raise Invalid("A rule would never do anything.", faults=(fault,))
        return tuple(
            RetentionRule(when=rule.when, after_days=rule.after_days, action=rule.action) for rule in self.rules
        )


class RetentionOut(BaseModel):
    rules: list[RuleWire]


class RetentionRunBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"dry_run": True}})
    dry_run: bool = Field(description="True: only say what would be done.")


class HeldByOut(BaseModel):
    id: str
    title: str


class DisposedOut(BaseModel):
    document_id: str
    uri: str
    title: str
    version: int
    rule: RuleWire
    since: str = Field(description="What the days are counted from.")
    held_by: list[HeldByOut] = Field(
        description="The legal holds on it; those on a mail that it came with are not told."
    )
    done: bool = Field(description="Whether the rule acts on it: what is held is not erased.")
    erasure: str | None = Field(description="The erasure that it went by.")


class RetentionRunOut(BaseModel):
    dry_run: bool
    versions: list[DisposedOut]


@routes.put(
    "/v1/collections/{name}/retention",
    summary="Set a collection's retention rules",
    responses={**problems(404), **SENT},
)
def put_retention(name: Name, body: RetentionBody, asking: Asking, ports: PortsOf) -> RetentionOut:
    """For owners. Carried out once a day, for the first time a day from now: until then, try them. None: keep all."""
    retain.set_rules(ports, asking, name, body.domain())
    return RetentionOut(rules=body.rules)


@routes.get("/v1/collections/{name}/retention", summary="A collection's retention rules", responses=problems(404))
def get_retention(name: Name, asking: Asking, ports: PortsOf) -> RetentionOut:
    return RetentionOut(rules=[_rule(each) for each in retain.rules(ports, asking, name)])


@routes.post(
    "/v1/collections/{name}/retention/run",
    summary="Try a collection's retention rules, or carry them out now",
    responses={**problems(404), **SENT},
)
def post_run(name: Name, body: RetentionRunBody, asking: Asking, ports: PortsOf) -> RetentionRunOut:
    """For owners, and of the documents that they may read. The daily run is about all of the collection's."""
    found = retain.run(ports, asking, name, dry_run=body.dry_run)
    return RetentionRunOut(dry_run=body.dry_run, versions=[_disposed(each) for each in found])


def _rule(rule: RetentionRule) -> RuleWire:
    return RuleWire(when=rule.when, after_days=rule.after_days, action=rule.action)


def _disposed(each: retain.Disposed) -> DisposedOut:
    version = each.due.version
    return DisposedOut(
        document_id=version.document.id,
        uri=version.document.uri,
        title=version.title,
        version=version.number,
        rule=_rule(each.due.rule),
        since=iso(each.due.since),
        held_by=[
            HeldByOut(id=hold.id, title=hold.title)
            for hold in each.held_by
            if hold.covers(version.document.id, version.document.collection)
        ],
        done=each.done,
        erasure=each.erasure,
    )
