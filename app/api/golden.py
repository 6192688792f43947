"""Golden questions of a collection, evaluations by them, and what the collection lacks: pages for its owners."""

import base64
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import InstantIn, Name, Storable, Text, Title, Wire
from app.domain import golden as domain
from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId
from app.domain.errors import Invalid
from app.domain.evaluation import Bar, Summary, summaries, summary, svg
from app.domain.instants import iso, iso_or_none
from app.domain.metrics import MEASURES, Difference
from app.operations import gaps, golden

routes = APIRouter(tags=["evaluation"], responses=ASKED)

MAX_DAYS = 366
SVG = "image/svg+xml"
_DRAWN: dict[int | str, dict[str, Any]] = {200: {"content": {SVG: {"schema": {"type": "string"}}}}}


class ExpectedIn(Wire):
    """A document of the collection, by its uri or its id."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=2000), Storable] | None = None
    document_id: Annotated[str, StringConstraints(min_length=1, max_length=100), Storable] | None = None
    version: int | None = Field(default=None, ge=1, le=1_000_000_000, description="Unset: any.")
    says: Title | None = Field(default=None, description="What stands in the passage, however its lines are broken.")


class GoldenQuestionIn(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "question": "How long is the probation period?",
                "who": "user:mei",
                "expects": [{"uri": "hr/handbook", "version": 2, "says": "The probation period is four months"}],
                "slice": "working time",
            }
        }
    )
    question: Annotated[str, StringConstraints(min_length=1, max_length=4000), Storable]
    who: (
        Annotated[str, StringConstraints(pattern=r"^(user|assistant):[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=140)]
        | None
    ) = Field(default=None, description="Asked as: then within what both may read. Unset: whoever evaluates.")
    purpose: Name | None = None
    as_of: InstantIn | None = None
    expects: list[ExpectedIn] = Field(default_factory=list, max_length=20)
    slice: Annotated[str, StringConstraints(min_length=1, max_length=100), Storable] = "all"
    unanswerable: bool = Field(default=False, description="Nothing in the collection answers it, and so nothing may.")

    @field_validator("question")
    @classmethod
    def _says_something(cls, question: str) -> str:
        if not question.strip():
            raise ValueError("The question is blank.")
        return question

    @field_validator("expects")
    @classmethod
    def _each_named_once(cls, expects: list[ExpectedIn]) -> list[ExpectedIn]:
        if any((each.uri is None) == (each.document_id is None) for each in expects):
            raise ValueError("Name each document by its uri or by its document_id, and not by both.")
        return expects


class ExpectedOut(BaseModel):
    document_id: str
    version: int | None
    says: str | None


class GoldenQuestionOut(BaseModel):
    id: str
    question: str
    who: str | None
    purpose: str | None
    as_of: str | None
    expects: list[ExpectedOut]
    slice: str
    unanswerable: bool
    stated_by: str | None = Field(
        description="Owners may have questions of one name, where one's is hidden from another."
    )


class GoldenQuestionsOut(BaseModel):
    questions: list[GoldenQuestionOut]


class SummaryOut(BaseModel):
    """Means over the questions that have an answer, and counts."""

    answerable: int
    unanswerable: int
    measures: dict[str, float] = Field(description=f"By name: {', '.join(MEASURES)}; empty without such a question.")
    wrong_versions: int = Field(description="Questions for which an expected document was cited by another version.")
    found_nothing: int = Field(description="Of those that have an answer.")
    found_nothing_unanswerable: int = Field(description="Of those that have none: all, at best.")
    p50_ms: float
    p95_ms: float


class ResultOut(BaseModel):
    question: str
    slice: str
    who: str
    measures: dict[str, float]
    wrong_version: bool
    found_nothing: bool
    ms: float = Field(description="Of the whole answer, less the question's embedding.")


class MeasureDifferenceOut(BaseModel):
    mean: float
    low: float = Field(description="The mean lies between low and high in 95% of bootstrap samples.")
    high: float
    p: float = Field(description="By a paired randomization test, two-sided.")


class EvaluationOut(BaseModel):
    id: str
    at: str
    by: str
    ranking: dict[str, Any] = Field(description="How hits were ranked.")
    model: str = Field(description="The fingerprint of the embedding model.")
    whole: SummaryOut


class EvaluatedOut(EvaluationOut):
    slices: dict[str, SummaryOut]
    principals: dict[str, SummaryOut]
    results: list[ResultOut]
    before: str | None = Field(description="The evaluation that it is compared with: the one before.")
    differences: dict[str, MeasureDifferenceOut] = Field(
        description="By measure, over the questions that both asked alike."
    )


class EvaluationsOut(BaseModel):
    evaluations: list[EvaluationOut]


class UnansweredOut(BaseModel):
    question: str = Field(description="In small letters and without punctuation around it: nobody's own spelling.")
    times: int
    last_day: str


class GapsOut(BaseModel):
    questions: list[UnansweredOut]
    withheld: int = Field(description=f"Different questions that fewer than {gaps.LEAST_ASKERS} others asked.")
    complete: bool = Field(description=f"Whether no more than {gaps.MAX_LOOKED_AT} questions found nothing.")


class UnfoundOut(BaseModel):
    document_id: str
    uri: str
    title: str
    version: int
    recorded_at: str


class UnfoundPageOut(BaseModel):
    documents: list[UnfoundOut]
    cursor: str | None = Field(description="Send it back to go on; null at the end.")


Days = Annotated[int, Query(ge=1, le=MAX_DAYS, description="How far back is looked.")]


@routes.get("/v1/collections/{name}/questions", summary="The golden questions of a collection", responses=problems(404))
def get_questions(name: Name, asking: Asking, ports: PortsOf) -> GoldenQuestionsOut:
    """For owners: those that expect nothing which the caller may not know of."""
    return GoldenQuestionsOut(questions=[_question(each) for each in golden.questions(ports, asking, name)])


@routes.put(
    "/v1/collections/{name}/questions/{id}",
    summary="State a golden question",
    responses={**problems(404, 409), **SENT},
)
def put_question(name: Name, id: Name, body: GoldenQuestionIn, asking: Asking, ports: PortsOf) -> GoldenQuestionOut:
    """For owners. What is expected has to be in the collection and the caller's to know of. It takes the place of the
    question that `GET` gives the caller by that id."""
    stated = domain.GoldenQuestion(
        name=id,
        question=body.question,
        who=PrincipalRef(body.who) if body.who is not None else None,
        purpose=body.purpose,
        as_of=body.as_of,
        slice=body.slice,
        unanswerable=body.unanswerable,
    )
    expecting = [
        golden.Expecting(
            uri=each.uri,
            document=DocumentId(each.document_id) if each.document_id is not None else None,
            version=each.version,
            says=each.says,
        )
        for each in body.expects
    ]
    return _question(golden.put_question(ports, asking, name, stated, expecting))


@routes.get("/v1/collections/{name}/questions/{id}", summary="A golden question", responses=problems(404))
def get_question(name: Name, id: Name, asking: Asking, ports: PortsOf) -> GoldenQuestionOut:
    """For owners. Of several of that id that the caller may see, the caller's own, or else the one first stated."""
    return _question(golden.question(ports, asking, name, id))


@routes.delete(
    "/v1/collections/{name}/questions/{id}",
    summary="Remove a golden question",
    status_code=204,
    responses=problems(404),
)
def delete_question(name: Name, id: Name, asking: Asking, ports: PortsOf) -> None:
    """For owners. Evaluations that asked it stay."""
    golden.remove_question(ports, asking, name, id)


@routes.post(
    "/v1/collections/{name}/evaluations",
    summary="Ask a collection's golden questions and keep what comes of it",
    status_code=201,
    responses=problems(404, 422, 429),
)
def post_evaluation(name: Name, asking: Asking, ports: PortsOf) -> EvaluatedOut:
    """For owners; the answer comes when all were asked. A question that is asked as somebody reaches what both that
    one and the caller may read, of this collection. Each leaves a trace of the kind `evaluation`, in the caller's name.
    """
    return _evaluated(golden.evaluate(ports, asking, name))


@routes.get("/v1/collections/{name}/evaluations", summary="The evaluations of a collection", responses=problems(404))
def get_evaluations(
    name: Name, asking: Asking, ports: PortsOf, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> EvaluationsOut:
    """For owners, the newest first: those that came from nothing which the caller may not read today."""
    found = golden.evaluations(ports, asking, name, limit=limit)
    return EvaluationsOut(evaluations=[EvaluationOut(**_evaluation(each)) for each in found])


@routes.get(
    "/v1/collections/{name}/evaluations/{id}.svg",
    summary="An evaluation, drawn",
    response_class=Response,
    responses={**_DRAWN, **problems(404)},
)
def get_drawing(name: Name, id: Text, asking: Asking, ports: PortsOf) -> Response:
    found = golden.evaluation(ports, asking, name, id).evaluation
    title = f"{name}, {iso(found.at)[:10]}: nDCG@10 by slice"
    whole = {"all questions": summary(found.scored)}
    parts = {**whole, **summaries(found.scored, lambda each: each.slice)}
    bars = [
        Bar(label=label, value=each.measures["ndcg@10"], note=f"of {each.answerable}")
        for label, each in parts.items()
        if each.measures
    ]
    return Response(svg(title, bars), media_type=SVG)


@routes.get("/v1/collections/{name}/evaluations/{id}", summary="An evaluation", responses=problems(404))
def get_evaluation(name: Name, id: Text, asking: Asking, ports: PortsOf) -> EvaluatedOut:
    """For owners: by slice and by principal, question by question, and against the one before."""
    return _evaluated(golden.evaluation(ports, asking, name, id))


@routes.get("/v1/collections/{name}/unanswered", summary="Questions that found nothing", responses=problems(404))
def get_unanswered(
    name: Name, asking: Asking, ports: PortsOf, days: Days = 30, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> GapsOut:
    """For owners, the most asked first. Words belong to whoever asked: a question is shown once several others did."""
    found = gaps.unanswered(ports, asking, name, days=days, limit=limit)
    return GapsOut(
        questions=[
            UnansweredOut(question=each.question, times=each.times, last_day=iso(each.last)[:10])
            for each in found.questions
        ],
        withheld=found.withheld,
        complete=found.complete,
    )


@routes.get("/v1/collections/{name}/unfound", summary="Documents that no answer cites", responses=problems(404))
def get_unfound(
    name: Name,
    asking: Asking,
    ports: PortsOf,
    days: Days = 90,
    cursor: Annotated[str, StringConstraints(max_length=4000)] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> UnfoundPageOut:
    """For owners, by uri: documents in force that the caller may know of and that were cited to nobody, to the day."""
    after = _place(cursor) if cursor else None
    page = gaps.unfound(ports, asking, name, days=days, after=after, limit=limit)
    return UnfoundPageOut(
        documents=[
            UnfoundOut(
                document_id=each.version.document.id,
                uri=each.version.document.uri,
                title=each.version.title,
                version=each.version.number,
                recorded_at=iso(each.version.recorded_at),
            )
            for each in page.documents
        ],
        cursor=base64.urlsafe_b64encode(page.after.encode()).decode() if page.after is not None else None,
    )


def _question(each: domain.GoldenQuestion) -> GoldenQuestionOut:
    return GoldenQuestionOut(
        id=each.name,
        question=each.question,
        who=each.who,
        purpose=each.purpose,
        as_of=iso_or_none(each.as_of) if each.as_of is not None else None,
        expects=[ExpectedOut(document_id=one.document, version=one.version, says=one.says) for one in each.expects],
        slice=each.slice,
        unanswerable=each.unanswerable,
        stated_by=each.by,
    )


def _evaluation(each: domain.Evaluation) -> dict[str, Any]:
    return {
        "id": each.id,
        "at": iso(each.at),
        "by": each.by,
        "ranking": dict(each.ranking),
        "model": each.model,
        "whole": _summary(summary(each.scored)),
    }


def _evaluated(compared: golden.Compared) -> EvaluatedOut:
    found = compared.evaluation
    return EvaluatedOut(
        **_evaluation(found),
        slices=_summaries(summaries(found.scored, lambda each: each.slice)),
        principals=_summaries(summaries(found.scored, lambda each: each.who)),
        results=[
            ResultOut(
                question=each.question,
                slice=each.slice,
                who=each.who,
                measures=dict(each.measures),
                wrong_version=each.wrong_version,
                found_nothing=bool(each.refused),
                ms=each.ms,
            )
            for each in found.scored
        ],
        before=compared.before,
        differences={name: _difference(each) for name, each in compared.differences.items()},
    )


def _summaries(parts: Mapping[str, Summary]) -> dict[str, SummaryOut]:
    return {name: _summary(each) for name, each in parts.items()}


def _summary(found: Summary) -> SummaryOut:
    return SummaryOut(
        answerable=found.answerable,
        unanswerable=found.unanswerable,
        measures={name: round(value, 6) for name, value in found.measures.items()},
        wrong_versions=found.wrong_versions,
        found_nothing=found.refused_answerable,
        found_nothing_unanswerable=found.refused_unanswerable,
        p50_ms=found.p50_ms,
        p95_ms=found.p95_ms,
    )


def _difference(found: Difference) -> MeasureDifferenceOut:
    return MeasureDifferenceOut(mean=found.mean, low=found.low, high=found.high, p=found.p)


_PLACE = TypeAdapter(Text)


def _place(cursor: str) -> str:
    try:
        return _PLACE.validate_python(base64.urlsafe_b64decode(cursor.encode()).decode())
    except ValueError:
        raise Invalid("That cursor is not one that was given out here. Begin again without one.") from None
