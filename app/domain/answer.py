"""A question as it is put and the answer as it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.access import Obligation, PrincipalRef
from app.domain.checks import Check
from app.domain.citation import Passage
from app.domain.conflicts import Contradiction
from app.domain.instants import Instant
from app.domain.labels import Label
from app.domain.recourse import EscalationId, EscalationKind
from app.domain.trace import Outcome, TraceId


class Mode(StrEnum):
    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked, for what, within what. `None` is: not stated."""

    text: str
    purpose: str | None = None
    client: str | None = None
    """Whose data it is about."""
    destination: str | None = None
    """The jurisdiction where the answer will be used."""
    collections: frozenset[str] | None = None
    top_k: int = 8
    max_tokens: int | None = None
    as_of: Instant | None = None
    known_at: Instant | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`attributes.region`, `title`, ... (see `demands.Field`) -> values, any of which may match; every name must."""
    mode: Mode = Mode.HYBRID
    rerank: bool = True
    """Whether the reranker reads the first hits, if one is configured."""
    expand: bool = True
    """Whether passages grow by what is around them, as far as `max_tokens` leaves room."""
    workflow: str | None = None
    decision: str | None = None
    again: "Again | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A question that is asked again: what it was escalated by, and the trace of its first answer."""

    escalation: EscalationId
    first: TraceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Recourse:
    """A way forward: what may be asked of people, and of whom. What is asked for is a collection that may be known of,
    or else a decision about the question itself."""

    kind: EscalationKind
    collection: str | None = None
    title: str
    owners: tuple[PrincipalRef, ...]
    body: Mapping[str, str | bool]
    """What to send as an escalation, with a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts are of the embedding model's tokenizer; `timings_ms` by step."""

    query_tokens: int
    context_tokens: int
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    trace_id: TraceId
    outcome: Outcome
    passages: tuple[Passage, ...] = ()
    conflicts: tuple[Contradiction, ...] = ()
    """Pairs of passages that contradict each other."""
    context: str = ""
    label: Label | None = None
    """The join of the passages' labels; None without passages."""
    obligations: tuple[Obligation, ...] = ()
    checks: tuple[Check, ...]
    recourse: tuple[Recourse, ...]
    usage: Usage
