"""Traces: what was asked, decided and answered, kept so that anybody entitled can go back over it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NewType

from app.domain.access import PrincipalRef, Proof
from app.domain.instants import Instant

TraceId = NewType("TraceId", str)


class Outcome(StrEnum):
    ANSWERED = "answered"
    EMPTY = "empty"
    """Nothing that the principal may read matches."""
    BLOCKED = "blocked"
    """A policy forbids the whole question."""
    ESCALATED = "escalated"


class TraceKind(StrEnum):
    RETRIEVE = "retrieve"
    """A question, and the passages it was answered with; with the sentences, if it was answered in words."""
    ANSWER = "answer"
    """What a model wrote and was let through, of an answer whose question is a trace of its own."""
    READ = "read"
    """Content of one version or citation was handed out."""
    CHANGE = "change"
    """Something was written: by whom, what, in which request."""
    REFUSAL = "refusal"
    BREAK_GLASS = "break-glass"
    """Somebody opened collections to themselves in an emergency, or that was ended."""
    DECISION = "decision"
    """An application asked what somebody may do, and enforces the answer itself."""
    EVALUATION = "evaluation"
    """An owner asked a golden question, perhaps as somebody else: nobody was shown anything."""


Account = Mapping[str, Any]
"""A JSON object as it was sent or will be sent: an account of an exchange, not a value to compute with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One exchange. `grounds` is for auditors: what the decision rested on, and what was dropped on the way."""

    id: TraceId
    at: Instant
    kind: TraceKind
    subject: PrincipalRef
    actors: tuple[PrincipalRef, ...]
    """The whole chain that acted for the subject, whoever sent the request first."""
    proof: Proof
    outcome: str
    request: Account
    response: Account
    grounds: Account
