"""Policies looked at before and after they decide: a draft simulated, a decision explained."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import Name, Ref, Storable, Wire, label_out, refs
from app.domain.access import Action, Boundary, Ruling
from app.domain.errors import Fault, Invalid
from app.domain.instants import iso
from app.domain.simulation import Affected, Asker, Change, Power, Replayed, Report, Side, Tally
from app.operations import simulate

routes = APIRouter(tags=["policies"], responses=ASKED)

MAX_CEDAR_CHARS = 400_000
LINES = "application/x-ndjson"
_MOST_LISTED = 200

Cedar = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CEDAR_CHARS), Storable]


class SimulationIn(Wire):
    """The draft, as Cedar text or by its id, and what is to be compared."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "cedar": '@id("all-may-ask")\n@reason("Everybody may ask.")\n'
                'permit (principal, action == Muniment::Action::"ask", resource);',
                "days": 30,
                "examples": 5,
            }
        }
    )
    cedar: Cedar | None = None
    policy: Annotated[str, StringConstraints(min_length=1, max_length=100), Storable] | None = Field(
        default=None, description="The id of a draft, instead of `cedar`: pol_..."
    )
    days: int = Field(default=30, ge=0, le=3650, description="How far back recorded questions are asked again.")
    principals: list[Ref] | None = Field(default=None, max_length=5000, description="These alone; a group's members.")
    collections: list[Name] | None = Field(default=None, max_length=1000, description="Boundaries of these alone.")
    examples: int = Field(default=5, ge=0, le=100)
    pairs: bool = Field(
        default=False,
        description="Answer with JSON lines: the report, then every (asker, document) pair whose reading would change.",
    )
    max_decisions: int = Field(default=simulate.MAX_DECISIONS, ge=1, le=simulate.MAX_DECISIONS)

    def domain(self) -> simulate.Wanted:
        if (self.cedar is None) == (self.policy is None):
            raise Invalid(
                "Send either the draft's text as `cedar`, or its id as `policy`.",
                faults=(Fault(detail="One of cedar and policy, not both and not neither.", pointer="/cedar"),),
            )
        return simulate.Wanted(
            cedar=self.cedar,
            policy=self.policy,
            days=self.days,
            principals=refs(self.principals) if self.principals is not None else None,
            collections=frozenset(self.collections) if self.collections is not None else None,
            max_decisions=self.max_decisions,
        )


class RulingOut(BaseModel):
    decision: str = Field(description="allow, deny, or escalate: denied, and a person may waive each rule that denies.")
    policies: list[str]


class TallyOut(BaseModel):
    name: str
    pairs: int
    documents: int
    askers: int


class ExampleOut(BaseModel):
    subject: str
    actors: list[str]
    proof: str
    active: bool
    purposes: list[str | None] = Field(description="For which the change holds; null is no purpose.")
    boundary: dict[str, Any] = Field(description="The access boundary, by its fields.")
    documents: int
    document_ids: list[str]
    before: RulingOut
    after: RulingOut


class SideOut(BaseModel):
    pairs: int = Field(description="Of an asker and a document with a version in force.")
    documents: int
    askers: int
    by_asker: list[TallyOut] = Field(description=f"The {_MOST_LISTED} largest.")
    by_collection: list[TallyOut]
    by_rule: list[TallyOut]
    examples: list[ExampleOut]


class ChangesOut(BaseModel):
    gains: SideOut
    loses: SideOut


class PowerOut(BaseModel):
    change: Change
    subject: str
    actors: list[str]
    proof: str
    active: bool
    action: Action
    collection: str | None
    purposes: list[str | None]
    before: RulingOut
    after: RulingOut


class PowersOut(BaseModel):
    count: int
    listed: list[PowerOut] = Field(description=f"The first {_MOST_LISTED}: what is gained first.")


class ReplayedOut(BaseModel):
    subject: str
    actors: list[str]
    proof: str
    purpose: str | None
    client: str | None
    destination: str | None
    times: int
    before: str
    after: str
    cited: int
    lost: int
    gained_documents: int
    lost_documents: int


class QuestionsOut(BaseModel):
    recorded: int
    different: int
    changed: int
    unregistered: int = Field(description="Different ones whose purpose is registered no longer: refused either way.")
    listed: list[ReplayedOut] = Field(description=f"The first {_MOST_LISTED} that would come out otherwise.")


class ComparedOut(BaseModel):
    askers: int
    of_askers: int
    boundaries: int
    documents: int
    purposes: list[str]
    decisions: int


class EditOut(BaseModel):
    dropped: list[str]
    new: list[str]
    rewritten: list[str]


class ReportOut(BaseModel):
    verdict: str
    complete: bool
    cut: list[str] = Field(description="What was left out, and why; empty if nothing was.")
    at: str
    edit: EditOut
    compared: ComparedOut
    read: ChangesOut
    describe: ChangesOut = Field(description="Metadata alone, asked for without a purpose.")
    powers: PowersOut
    questions: QuestionsOut


_LINES: dict[int | str, dict[str, Any]] = {
    200: {"content": {LINES: {"schema": {"type": "string"}}}, "description": "The report; with `pairs`, JSON lines."}
}


@routes.post(
    "/v1/policies/simulate",
    summary="What a draft of the policies would change, before anybody is affected",
    response_model=ReportOut,
    responses={**_LINES, **problems(404, 429), **SENT},
)
def post_simulate(body: SimulationIn, asking: Asking, ports: PortsOf) -> ReportOut | Response:
    """For administrators. Every user and assistant over every boundary in force, for every purpose, and the questions
    on record, under the policies in force and under the draft. Tells of principals, boundaries, counts and ids: no
    content, no title, no question's words."""
    report = simulate.simulate(ports, asking, body.domain())
    told = _report(report, examples=body.examples)
    if body.pairs:
        return StreamingResponse(_lines(told, report), media_type=LINES)
    return told


def _lines(told: ReportOut, report: Report) -> Iterator[str]:
    """One JSON object a line: `{"report": ...}`, then each pair."""
    yield json.dumps({"report": told.model_dump(mode="json")}) + "\n"
    for change, side in report.reading.items():
        for each in side.affected:
            known = {**_asker(each.asker), "change": change, "purposes": list(each.purposes)}
            ids = report.documents.get(each.boundary, ())
            yield "".join(json.dumps({**known, "document": id}) + "\n" for id in ids)


def _report(report: Report, *, examples: int) -> ReportOut:
    compared = report.compared
    return ReportOut(
        verdict=report.verdict,
        complete=not compared.cut,
        cut=list(compared.cut),
        at=iso(report.at),
        edit=EditOut(
            dropped=[rule.id for rule in report.edit.dropped if rule.id not in report.edit.rewritten],
            new=[rule.id for rule in report.edit.new if rule.id not in report.edit.rewritten],
            rewritten=sorted(report.edit.rewritten),
        ),
        compared=ComparedOut(
            askers=compared.askers,
            of_askers=compared.of_askers,
            boundaries=compared.boundaries,
            documents=compared.documents,
            purposes=list(compared.purposes),
            decisions=compared.decisions,
        ),
        read=_changes(report.reading, report, examples),
        describe=_changes(report.describing, report, examples),
        powers=PowersOut(count=len(report.powers), listed=[_power(each) for each in report.powers[:_MOST_LISTED]]),
        questions=QuestionsOut(
            recorded=compared.recorded,
            different=compared.of_replayed + compared.unregistered,
            changed=len(report.replayed),
            unregistered=compared.unregistered,
            listed=[_replayed(each) for each in report.replayed[:_MOST_LISTED]],
        ),
    )


def _changes(sides: Mapping[Change, Side], report: Report, examples: int) -> ChangesOut:
    gains, loses = (_side(sides[change], report, examples) for change in (Change.GAINS, Change.LOSES))
    return ChangesOut(gains=gains, loses=loses)


def _side(side: Side, report: Report, examples: int) -> SideOut:
    return SideOut(
        pairs=side.pairs,
        documents=side.documents,
        askers=side.askers,
        by_asker=_tallies(side.by_asker),
        by_collection=_tallies(side.by_collection),
        by_rule=_tallies(side.by_rule),
        examples=[_example(each, report) for each in side.affected[:examples]],
    )


def _tallies(several: Sequence[Tally]) -> list[TallyOut]:
    return [
        TallyOut(name=each.name, pairs=each.pairs, documents=each.documents, askers=each.askers)
        for each in several[:_MOST_LISTED]
    ]


def _example(each: Affected, report: Report) -> ExampleOut:
    ids = report.documents.get(each.boundary, ())
    return ExampleOut(
        **_asker(each.asker),
        active=each.active,
        purposes=list(each.purposes),
        boundary=boundary_out(report.boundaries[each.boundary]),
        documents=len(ids),
        document_ids=list(ids[:3]),
        before=ruling_out(each.difference.before),
        after=ruling_out(each.difference.after),
    )


def _power(each: Power) -> PowerOut:
    return PowerOut(
        change=each.difference.change,
        **_asker(each.asker),
        active=each.active,
        action=each.action,
        collection=each.collection,
        purposes=list(each.purposes),
        before=ruling_out(each.difference.before),
        after=ruling_out(each.difference.after),
    )


def _replayed(each: Replayed) -> ReplayedOut:
    question = each.question
    return ReplayedOut(
        **_asker(question.asker),
        purpose=question.purpose,
        client=question.client,
        destination=question.destination,
        times=each.times,
        before=each.before,
        after=each.after,
        cited=each.cited,
        lost=each.lost,
        gained_documents=each.gained_documents,
        lost_documents=each.lost_documents,
    )


def _asker(asker: Asker) -> dict[str, Any]:
    return {"subject": asker.subject, "actors": list(asker.actors), "proof": asker.proof}


def boundary_out(boundary: Boundary) -> dict[str, Any]:
    return {
        "collection": boundary.collection,
        "label": label_out(boundary.label).model_dump(),
        "readers": sorted(boundary.readers),
        "denied": sorted(boundary.denied),
        "jurisdictions": sorted(boundary.jurisdictions),
        "purposes": sorted(boundary.purposes),
        "consents": sorted(boundary.consents),
    }


def ruling_out(ruling: Ruling) -> RulingOut:
    decision = "allow" if ruling.allowed else "escalate" if ruling.escalate_to else "deny"
    return RulingOut(decision=decision, policies=list(ruling.policies))
