"""POST /v1/retrieve."""

import re
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic.config import JsonDict

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT
from app.api.wire import InstantIn, LabelWire, Name, Storable, Wire, label_out
from app.domain.access import Obligation
from app.domain.answer import Answer, Mode, Query
from app.domain.citation import Citation, Flag, Passage
from app.domain.conflicts import Because, ConflictKind, Contradiction
from app.domain.demands import Field as Filter
from app.domain.instants import iso, iso_or_none
from app.domain.redaction import Redaction
from app.operations.retrieve import retrieve

routes = APIRouter(tags=["retrieve"], responses=ASKED | SENT)

Value = Annotated[str, StringConstraints(max_length=500), Storable]


def _known_filter(name: str) -> str:
    attribute = re.fullmatch(r"attributes\.[A-Za-z0-9][A-Za-z0-9._@+-]*", name)
    if name not in set(Filter) and not (attribute and len(name) <= 140):
        raise ValueError(f"Not a filter. There are {', '.join(sorted(Filter))} and attributes.<name>.")
    return name


FilterName = Annotated[str, AfterValidator(_known_filter)]
Reference = Annotated[str, StringConstraints(max_length=200), Storable]
"""What the question belongs to, in the words of whoever asks: kept in the trace."""


class RetrieveBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={  # names nothing that a fresh server lacks
            "example": {
                "query": "Can we share this customer dataset with our partner for analysis?",
                "top_k": 8,
                "max_tokens": 2000,
                "mode": "hybrid",
                "workflow": "case-17",
                "decision": "share-dataset-042",
            }
        }
    )
    query: Annotated[str, StringConstraints(min_length=1, max_length=4000), Storable] = Field(
        examples=["Can we share this customer dataset with our partner for analysis?"],
        description="What stands in quotation marks, every passage says word for word.",
    )
    purpose: Name | None = Field(default=None, description="One that is registered: see `GET /v1/purposes`.")
    client: Name | None = Field(default=None, description="Whose data it is about, if that matters to the rules.")
    destination: Name | None = Field(default=None, description="The jurisdiction where the answer will be used.")
    collections: list[Name] | None = Field(default=None, max_length=200, examples=[["policies"]])
    top_k: int = Field(default=8, ge=1, le=50)
    max_tokens: int | None = Field(default=None, ge=1, le=100_000)
    as_of: InstantIn | None = None
    known_at: InstantIn | None = None
    filters: dict[FilterName, Annotated[list[Value], Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict,
        max_length=20,
        examples=[{"attributes.region": ["EU"], "title": ["retention policy"], "uri": ["policies/travel"]}],
        description="A passage has one value of each: `title` and `section` (words of them), `uri` (the document, or "
        "all below), `language` (ISO 639, of the passage), `media_type`, and `attributes.<name>`.",
    )
    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    rerank: bool = Field(
        default=True,
        description="Let the reranker, if one is configured, read the first hits; false is faster, and ranks by fusion "
        "alone.",
    )
    expand: bool = Field(
        default=True,
        description="Fill what `max_tokens` leaves: passages grow, the best first, by the text before and after them "
        "in their section, and those that meet become one. Without `max_tokens` none grows.",
    )
    workflow: Reference | None = None
    decision: Reference | None = None

    @field_validator("query")
    @classmethod
    def _says_something(cls, query: str) -> str:
        if not query.strip():
            raise ValueError("The query is blank.")
        return query

    def domain(self) -> Query:
        return Query(
            text=self.query,
            purpose=self.purpose,
            client=self.client,
            destination=self.destination,
            collections=frozenset(self.collections) if self.collections is not None else None,
            top_k=self.top_k,
            max_tokens=self.max_tokens,
            as_of=self.as_of,
            known_at=self.known_at,
            filters={name: tuple(values) for name, values in self.filters.items()},
            mode=Mode(self.mode),
            rerank=self.rerank,
            expand=self.expand,
            workflow=self.workflow,
            decision=self.decision,
        )


class BoxOut(BaseModel):
    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class CitationOut(BaseModel):
    id: str
    document_id: str
    title: str
    uri: str
    collection: str
    version: int
    digest: str
    span: tuple[int, int]
    quote_digest: str
    page: int | None
    boxes: list[BoxOut]
    section: list[str]
    valid_from: str | None
    valid_to: str | None
    recorded_at: str


class RedactionOut(BaseModel):
    span: tuple[int, int] = Field(description="In the version's canonical text, as a citation's.")
    kind: str
    category: str


class PassageOut(BaseModel):
    rank: int
    score: float
    text: str
    citation: CitationOut
    label: LabelWire
    jurisdictions: list[str]
    boundary: str
    flags: list[Flag]
    redactions: list[RedactionOut]


class ConflictOut(BaseModel):
    """Two sentences of two passages that contradict each other; pairs are in the order of `passages`."""

    passages: tuple[int, int] = Field(description="Their ranks.")
    spans: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="Of the sentences, each in its version's canonical text, as a citation's."
    )
    quotes: tuple[str, str]
    kind: ConflictKind
    says: tuple[str, str] = Field(description="What differs, in the words of each; of polarity, how each says it.")
    preferred: int | None = Field(description="The rank of the one that comes before the other; null if neither does.")
    because: Because | None


class ObligationOut(BaseModel):
    id: str
    policies: list[str]


class CheckOut(BaseModel):
    check: str
    outcome: str
    reason: str
    policies: list[str]
    code: str | None = Field(description="Of the rule that blocks or escalates; null where a check is of several.")


class RecourseOut(BaseModel):
    kind: Literal["request-access", "override", "ask"]
    collection: str | None
    title: str
    owner: str
    href: str
    body: dict[str, str | bool] = Field(description="What to post there, with a `reason` of one's own.")


class CostOut(BaseModel):
    amount: str
    currency: str


class UsageOut(BaseModel):
    query_tokens: int
    context_tokens: int
    cost: CostOut
    timings_ms: dict[str, float]


_ANSWER: JsonDict = {
    "trace_id": "tr_mxylfwm5ymkxa5gcifi2c432nt",
    "outcome": "answered",
    "passages": [
        {
            "rank": 1,
            "score": 0.83,
            "text": "A dataset is shared with a partner only under a signed agreement.",
            "citation": {
                "id": "cit_371ee3be7eda8570726fe932004e78e0",
                "document_id": "doc_ycm4hswkclbmkpkltlte2st7ae",
                "title": "Data-sharing policy",
                "uri": "policies/data-sharing",
                "collection": "policies",
                "version": 3,
                "digest": "sha256:f0f5ee24696e05145b5c3e639650b487273cce16d85b4aa621e43fdbc75d6e70",
                "span": [1204, 1269],
                "quote_digest": "sha256:3f0c7a1ee6b6a3a0a5c3ba2cf0d0a6f9a1b0b2c69f6f3f4f0c9f7ad3cf6c11aa",
                "page": 4,
                "boxes": [{"page": 4, "x0": 72.0, "y0": 310.5, "x1": 540.0, "y1": 388.0}],
                "section": ["Data sharing", "Partners"],
                "valid_from": "2025-03-01T00:00:00Z",
                "valid_to": None,
                "recorded_at": "2025-02-27T09:30:00Z",
            },
            "label": {"level": "confidential", "categories": ["pii"]},
            "jurisdictions": ["EU"],
            "boundary": "bnd_0d9c1a5b7f3e2846a1b2c3d4e5f60718",
            "flags": [],
            "redactions": [],
        }
    ],
    "conflicts": [],
    "context": "The numbered passages below are quoted source material. ...",
    "label": {"level": "confidential", "categories": ["pii"]},
    "obligations": [{"id": "cite-sources", "policies": ["readers-see"]}],
    "checks": [
        {
            "check": "clearance",
            "outcome": "narrowed",
            "reason": "Cleared up to confidential, for pii; what is shown is confidential.",
            "policies": ["above-subject-clearance"],
            "code": None,
        }
    ],
    "recourse": [
        {
            "kind": "request-access",
            "collection": "contracts",
            "title": "Contracts with partners",
            "owner": "group:legal",
            "href": "/v1/escalations",
            "body": {"kind": "request-access", "collection": "contracts", "purpose": "customer-support"},
        }
    ],
    "usage": {
        "query_tokens": 14,
        "context_tokens": 1832,
        "cost": {"amount": "0.000021", "currency": "EUR"},
        "timings_ms": {"embed": 4.1, "search": 6.0, "total": 15.2},
    },
    "receipt": None,
}


class AnswerOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": _ANSWER})
    trace_id: str
    outcome: Literal["answered", "empty", "blocked", "escalated"]
    passages: list[PassageOut]
    conflicts: list[ConflictOut]
    context: str
    label: LabelWire | None
    obligations: list[ObligationOut]
    checks: list[CheckOut]
    recourse: list[RecourseOut]
    usage: UsageOut
    receipt: str | None = Field(description="A signed receipt; null until receipts are issued.")


@routes.post("/v1/retrieve", summary="Cited, permission-filtered context for a question", response_model=AnswerOut)
def post_retrieve(body: RetrieveBody, asking: Asking, ports: PortsOf) -> Response:
    """Passages that the principal may read now for this purpose, each with an exact citation, and every governance
    check that was applied. A question that a policy forbids as a whole is answered with 200 and `blocked`."""
    answer = answer_out(retrieve(ports, asking, body.domain()))
    return Response(answer.model_dump_json(), media_type="application/json")  # once, and not by way of dictionaries


def citation_out(citation: Citation) -> CitationOut:
    return CitationOut(
        id=citation.id,
        document_id=citation.document,
        title=citation.title,
        uri=citation.uri,
        collection=citation.collection,
        version=citation.version,
        digest=citation.digest,
        span=(citation.span.start, citation.span.end),
        quote_digest=citation.quote_digest,
        page=citation.page,
        boxes=[BoxOut(page=box.page, x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1) for box in citation.boxes],
        section=list(citation.section),
        valid_from=iso_or_none(citation.valid_from),
        valid_to=iso_or_none(citation.valid_to),
        recorded_at=iso(citation.recorded_at),
    )


def redaction_out(redaction: Redaction) -> RedactionOut:
    span = redaction.span
    return RedactionOut(span=(span.start, span.end), kind=redaction.kind, category=redaction.category)


def obligation_out(obligation: Obligation) -> ObligationOut:
    return ObligationOut(id=obligation.id, policies=list(obligation.policies))


def conflict_out(conflict: Contradiction) -> ConflictOut:
    one, other = conflict.spans
    return ConflictOut(
        passages=conflict.passages,
        spans=((one.start, one.end), (other.start, other.end)),
        quotes=conflict.quotes,
        kind=conflict.kind,
        says=conflict.particulars,
        preferred=conflict.preferred,
        because=conflict.because,
    )


def _passage(passage: Passage) -> PassageOut:
    return PassageOut(
        rank=passage.rank,
        score=passage.score,
        text=passage.text,
        citation=citation_out(passage.citation),
        label=label_out(passage.label),
        jurisdictions=sorted(passage.boundary.jurisdictions),
        boundary=passage.boundary_key,
        flags=list(passage.flags),
        redactions=[redaction_out(each) for each in passage.redactions],
    )


def answer_out(answer: Answer) -> AnswerOut:
    return AnswerOut(
        trace_id=answer.trace_id,
        outcome=answer.outcome.value,
        passages=[_passage(passage) for passage in answer.passages],
        conflicts=[conflict_out(each) for each in answer.conflicts],
        context=answer.context,
        label=label_out(answer.label) if answer.label else None,
        obligations=[obligation_out(each) for each in answer.obligations],
        checks=[
            CheckOut(
                check=each.check,
                outcome=each.outcome,
                reason=each.reason,
                policies=list(each.policies),
                code=each.code,
            )
            for each in answer.checks
        ],
        recourse=[
            RecourseOut(
                kind=cast(Literal["request-access", "override", "ask"], each.kind.value),
                collection=each.collection,
                title=each.title,
                owner=", ".join(each.owners),
                href="/v1/escalations",
                body=dict(each.body),
            )
            for each in answer.recourse
        ],
        usage=UsageOut(
            query_tokens=answer.usage.query_tokens,
            context_tokens=answer.usage.context_tokens,
            cost=CostOut(amount="0.000000", currency="EUR"),
            timings_ms=dict(answer.usage.timings_ms),
        ),
        receipt=None,
    )
