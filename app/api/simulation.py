"""Policies looked at before and after they decide: a draft simulated, a decision explained."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import LabelWire, Name, Ref, Storable, Text, Title, Wire, label_out, refs
from app.domain.access import Action, Boundary, PrincipalRef, Proof, Ruling
from app.domain.checks import Rule
from app.domain.corpus import DocumentId
from app.domain.errors import Fault, Invalid
from app.domain.explanation import Explanation, ProposalKind
from app.domain.instants import iso
from app.domain.simulation import Affected, Asker, Direction, Power, Replayed, Report, Side, Tally
from app.domain.trace import TraceId
from app.operations import explain, simulate

routes = APIRouter(tags=["policies"], responses=ASKED)

MAX_CEDAR_CHARS = 400_000
LINES = "application/x-ndjson"
_MOST_LISTED = 200

Decision = Literal["allow", "deny", "escalate"]
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
    decision: Decision = Field(description="escalate: denied, and a person may waive each rule that denies.")
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


class TalliesOut(BaseModel):
    pairs: int = Field(description="Of an asker and a document with a version in force.")
    documents: int
    askers: int
    by_asker: list[TallyOut] = Field(description=f"The {_MOST_LISTED} largest.")
    by_collection: list[TallyOut]
    by_rule: list[TallyOut]
    examples: list[ExampleOut]


class ChangesOut(BaseModel):
    gains: TalliesOut
    loses: TalliesOut


class PowerOut(BaseModel):
    change: Direction
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


class SimulationOut(BaseModel):
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
    response_model=SimulationOut,
    responses={**_LINES, **problems(404, 429), **SENT},
)
def post_simulate(body: SimulationIn, asking: Asking, ports: PortsOf) -> SimulationOut | Response:
    """For administrators. Every user and assistant over every boundary in force, for every purpose, and the questions
    on record, under the policies in force and under the draft. Tells of principals, boundaries, counts and ids: no
    content, no title, no question's words."""
    report = simulate.simulate(ports, asking, body.domain())
    told = _report(report, examples=body.examples)
    if body.pairs:
        return StreamingResponse(_lines(told, report), media_type=LINES)
    return told


def _lines(told: SimulationOut, report: Report) -> Iterator[str]:
    """One JSON object a line: `{"report": ...}`, then each pair."""
    yield json.dumps({"report": told.model_dump(mode="json")}) + "\n"
    for change, side in report.reading.items():
        for each in side.affected:
            known = {**_asker(each.asker), "change": change, "purposes": list(each.purposes)}
            ids = report.documents.get(each.boundary, ())
            yield "".join(json.dumps({**known, "document": id}) + "\n" for id in ids)


def _report(report: Report, *, examples: int) -> SimulationOut:
    compared = report.compared
    return SimulationOut(
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


def _changes(sides: Mapping[Direction, Side], report: Report, examples: int) -> ChangesOut:
    gains, loses = (_side(sides[change], report, examples) for change in (Direction.GAINS, Direction.LOSES))
    return ChangesOut(gains=gains, loses=loses)


def _side(side: Side, report: Report, examples: int) -> TalliesOut:
    return TalliesOut(
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
    return RulingOut(decision=_decision(ruling), policies=list(ruling.policies))


# -- Explanations ------------------------------------------------------------------------------------------------------


class BoundaryIn(Wire):
    """An access boundary by its fields; what is left out follows the collection, as in a document."""

    collection: Name
    label: LabelWire = LabelWire()
    readers: list[Ref] = Field(default_factory=list, max_length=1000)
    denied: list[Ref] = Field(default_factory=list, max_length=1000)
    jurisdictions: list[Name] = Field(default_factory=list, max_length=300)
    purposes: list[Name] = Field(default_factory=list, max_length=300)
    consents: list[Name] = Field(default_factory=list, max_length=300)

    def domain(self) -> Boundary:
        return Boundary(
            collection=self.collection,
            label=self.label.domain(),
            readers=refs(self.readers),
            denied=refs(self.denied),
            jurisdictions=frozenset(self.jurisdictions),
            purposes=frozenset(self.purposes),
            consents=frozenset(self.consents),
        )


class AboutIn(Wire):
    """One of them. For `read` and `describe`, a collection stands for the boundary that its defaults make."""

    document: Text | None = Field(default=None, description="Its id; for auditors.")
    collection: Name | None = None
    boundary: BoundaryIn | None = None


class ExplainIn(Wire):
    """A decision: who asks, through whom, what, why, and of what."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "subject": "user:ana",
                "actors": ["assistant:helper"],
                "action": "read",
                "purpose": "legal-review",
                "resource": {"boundary": {"collection": "contracts", "label": {"level": "restricted"}}},
            }
        }
    )
    subject: Ref
    actors: list[Ref] = Field(default_factory=list, max_length=10, description="Whoever sends the request first.")
    proof: Literal["proven", "asserted"] = "proven"
    second_factor: bool = False
    action: Literal["read", "describe", "discover", "curate", "ask", "manage", "audit"]
    purpose: Name | None = None
    client: Title | None = None
    destination: Name | None = None
    resource: AboutIn | None = Field(default=None, description="Left out: the institution.")

    def domain(self) -> explain.Wanted:
        of = self.resource or AboutIn()
        if sum(each is not None for each in (of.document, of.collection, of.boundary)) > 1:
            fault = Fault(detail="One of document, collection and boundary.", pointer="/resource")
            raise Invalid("A decision is about one thing.", faults=(fault,))
        return explain.Wanted(
            subject=PrincipalRef(self.subject),
            actors=tuple(PrincipalRef(actor) for actor in self.actors),
            proof=Proof(self.proof),
            second_factor=self.second_factor,
            action=Action(self.action),
            purpose=self.purpose,
            client=self.client,
            destination=self.destination,
            document=DocumentId(of.document) if of.document is not None else None,
            collection=of.collection,
            boundary=of.boundary.domain() if of.boundary is not None else None,
        )


class KnownRuleOut(BaseModel):
    id: str
    code: str
    check: str | None
    reason: str
    effect: Literal["permit", "forbid"]
    escalate_to: str | None = Field(description="Of a forbid that a person may waive: group:NAME, or owner.")


class RuleOut(KnownRuleOut):
    cedar: str


class ConditionOut(BaseModel):
    kind: ProposalKind
    sentence: str


class WayOut(BaseModel):
    together: list[ConditionOut] = Field(
        description="What would have to be so, all of it. Decided again: it is enough."
    )


class ExplanationOut(BaseModel):
    decision: Decision
    verdict: str
    permits: list[RuleOut] = Field(description="Those that apply, though a forbid may outweigh them.")
    forbids: list[RuleOut] = Field(description="Those that apply: each is enough to deny.")
    what_would_change_it: list[WayOut] = Field(description="The first 20 of the smallest that were found.")
    nothing_lifts: list[str] = Field(description="Forbids that nothing that was tried lifts.")
    asking: RulingOut | None = Field(description="Of `read`: whether the question may be asked at all.")


class OwnAskingOut(BaseModel):
    decision: Decision
    verdict: str
    permits: list[KnownRuleOut]
    forbids: list[KnownRuleOut]
    what_would_change_it: list[WayOut]
    nothing_lifts: list[str]


class LimitOut(BaseModel):
    check: str
    sentence: str
    rules: list[KnownRuleOut]


class OwnExplanationOut(BaseModel):
    trace_id: str
    asked_at: str
    outcome: str = Field(description="What it came to then; the rest is as it would be decided now.")
    subject: str
    actor: str | None
    actors: list[str]
    proof: str
    purpose: str | None
    client: str | None
    destination: str | None
    asking: OwnAskingOut
    limits: list[LimitOut] = Field(description="What bounds whatever is read, whether or not there is anything beyond.")


@routes.post(
    "/v1/policies/explain",
    summary="Why something is allowed or denied, and what would have to change",
    responses={**problems(404), **SENT},
)
def post_explain(body: ExplainIn, asking: Asking, ports: PortsOf) -> ExplanationOut:
    """For administrators and auditors; on a document, for auditors. What would change it is decided again."""
    told = explain.explain(ports, asking, body.domain())
    found = told.explanation
    return ExplanationOut(
        decision=_decision(found.ruling),
        verdict=found.verdict,
        permits=[_rule(rule) for rule in found.permits],
        forbids=[_rule(rule) for rule in found.forbids],
        what_would_change_it=_ways(found),
        nothing_lifts=list(found.unmet),
        asking=ruling_out(told.asking) if told.asking is not None else None,
    )


@routes.get(
    "/v1/traces/{id}/explanation",
    summary="Why one's own question was answered as it was",
    responses=problems(404),
)
def get_own_explanation(id: Text, asking: Asking, ports: PortsOf) -> OwnExplanationOut:
    """To whoever may see the trace. It follows from the question, from the asker and from the rules alone, as they are
    now: of documents that were not shown it says nothing, nor whether there are any."""
    found = explain.explain_own(ports, asking, TraceId(id))
    trace, asked = found.trace, found.asking
    return OwnExplanationOut(
        trace_id=trace.id,
        asked_at=iso(trace.at),
        outcome=trace.outcome,
        subject=trace.subject,
        actor=next(iter(trace.actors), None),
        actors=list(trace.actors),
        proof=trace.proof,
        purpose=trace.request.get("purpose"),
        client=trace.request.get("client"),
        destination=trace.request.get("destination"),
        asking=OwnAskingOut(
            decision=_decision(asked.ruling),
            verdict=asked.verdict,
            permits=[_known(rule) for rule in asked.permits],
            forbids=[_known(rule) for rule in asked.forbids],
            what_would_change_it=_ways(asked),
            nothing_lifts=list(asked.unmet),
        ),
        limits=[
            LimitOut(check=each.check, sentence=each.sentence, rules=[_known(rule) for rule in each.rules])
            for each in found.limits
        ],
    )


def _ways(found: Explanation) -> list[WayOut]:
    return [
        WayOut(together=[ConditionOut(kind=each.kind, sentence=each.sentence) for each in way]) for way in found.ways
    ]


def _decision(ruling: Ruling) -> Decision:
    return "allow" if ruling.allowed else "escalate" if ruling.escalate_to else "deny"


def _known(rule: Rule) -> KnownRuleOut:
    """What everybody may know of a rule: its Cedar text may name people."""
    return KnownRuleOut(**_of_rule(rule))


def _rule(rule: Rule) -> RuleOut:
    return RuleOut(**_of_rule(rule), cedar=rule.cedar)


def _of_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "code": rule.code,
        "check": rule.check,
        "reason": rule.reason,
        "effect": "permit" if rule.permits else "forbid",
        "escalate_to": rule.escalate_to or None,
    }
