"""Labels: an owner's rules by path, what they would raise, and the history of a document's labels."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import LabelWire, LevelWord, Name, Storable, Text, Wire, label_out, level_word
from app.domain.citation import opaque
from app.domain.corpus import DocumentId
from app.domain.instants import iso, iso_or_none
from app.domain.labels import CauseKind, LabelRule, parse_level
from app.operations import label
from app.ports import Ports
from app.store.corpus import Bound

routes = APIRouter(tags=["labels"], responses=ASKED)


class LabelRuleWire(Wire):
    """For every uri that `path` matches (`*` is any text, slashes too; `?` one character): no label is below this."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=500), Storable] = Field(examples=["hr/*"])
    level: LevelWord | None = None
    categories: list[Name] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _says_something(self) -> "LabelRuleWire":
        if self.level is None and not self.categories:
            raise ValueError("A rule states a level, categories, or both.")
        return self

    def domain(self) -> LabelRule:
        level = parse_level(self.level) if self.level is not None else None
        return LabelRule(path=self.path, level=level, categories=frozenset(self.categories))


class LabelRulesWire(Wire):
    model_config = ConfigDict(
        json_schema_extra={"example": {"rules": [{"path": "hr/*", "level": "confidential", "categories": ["pii"]}]}}
    )
    rules: list[LabelRuleWire] = Field(max_length=200)

    def domain(self) -> list[LabelRule]:
        return [rule.domain() for rule in self.rules]


class RaiseOut(BaseModel):
    document_id: str
    uri: str
    before: LabelWire
    after: LabelWire


class PreviewOut(BaseModel):
    """Of the documents that may be read by whoever asks."""

    raised: list[RaiseOut]


class CauseOut(BaseModel):
    kind: CauseKind
    detail: str | None = Field(description="A rule's path, a category that was found, or the field that was moved.")


class HeldOut(BaseModel):
    """A version lay in a boundary for a time; `to` is null while it does."""

    version: int
    label: LabelWire
    boundary: str
    from_: str = Field(serialization_alias="from")
    to: str | None
    by: str
    causes: list[CauseOut] = Field(description="What the label was made of; empty where that was not kept.")
    reason: str | None


class LabelHistoryOut(BaseModel):
    labels: list[HeldOut]


@routes.put(
    "/v1/collections/{name}/label-rules",
    summary="Lay down a collection's label rules",
    responses={**problems(404), **SENT},
)
def put_label_rules(name: Name, body: LabelRulesWire, asking: Asking, ports: PortsOf) -> LabelRulesWire:
    """For owners; all of the rules at once. What is published and covered by a new rule is raised before this returns;
    a rule that is taken away lowers nothing."""
    label.put_rules(ports, asking, name, body.domain())
    return body


@routes.get("/v1/collections/{name}/label-rules", summary="A collection's label rules", responses=problems(404))
def get_label_rules(name: Name, asking: Asking, ports: PortsOf) -> LabelRulesWire:
    return LabelRulesWire(rules=[_rule_out(rule) for rule in label.rules(ports, asking, name)])


@routes.post(
    "/v1/collections/{name}/label-rules/preview",
    summary="What label rules would raise",
    responses={**problems(404), **SENT},
)
def post_label_rules_preview(name: Name, body: LabelRulesWire, asking: Asking, ports: PortsOf) -> PreviewOut:
    """Changes nothing. Documents that the asker may not read are raised by the rules too, and are not listed."""
    found = label.preview(ports, asking, name, body.domain())
    return PreviewOut(
        raised=[
            RaiseOut(
                document_id=each.document,
                uri=each.uri,
                before=label_out(each.before),
                after=label_out(each.after),
            )
            for each in found
        ]
    )


@routes.get(
    "/v1/documents/{id}/labels", summary="Every label that a document has had, and why", responses=problems(404)
)
def get_labels(id: Text, asking: Asking, ports: PortsOf) -> LabelHistoryOut:
    """For owners; latest first. Every boundary is there, also where it was not the label that moved."""
    return LabelHistoryOut(labels=[_held_out(ports, each) for each in label.history(ports, asking, DocumentId(id))])


def _rule_out(rule: LabelRule) -> LabelRuleWire:
    return LabelRuleWire(
        path=rule.path,
        level=level_word(rule.level) if rule.level is not None else None,
        categories=sorted(rule.categories),
    )


def _held_out(ports: Ports, held: Bound) -> HeldOut:
    return HeldOut(
        version=held.number,
        label=label_out(held.boundary.label),
        boundary=opaque("bnd", held.boundary.digest(), pepper=ports.pepper),
        from_=iso(held.recorded_from),
        to=iso_or_none(held.recorded_to),
        by=held.recorded_by,
        causes=[CauseOut(kind=each.kind, detail=each.detail) for each in held.causes],
        reason=held.reason,
    )
