"""Recourse: what somebody asks of people when a rule refuses, who decides about it, and by when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final, NewType

from app.domain.access import ADMINISTRATORS, PrincipalRef, Proof
from app.domain.citation import CitationId
from app.domain.corpus import DocumentId
from app.domain.instants import Instant
from app.domain.trace import TraceId

EscalationId = NewType("EscalationId", str)

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000

Desk = frozenset[PrincipalRef]
"""Groups, or people by name, any one of whom decides."""

AFTERWARDS: Final = -1
"""The number of the desk that an escalation is raised to when nobody decided in time: it may decide for any other."""


class EscalationKind(StrEnum):
    REQUEST_ACCESS = "request-access"
    OVERRIDE = "override"
    """Waive, for a time, the rules that escalated one question."""
    DISPUTE_LABEL = "dispute-label"
    DISPUTE_ANSWER = "dispute-answer"
    ASK = "ask"

    @property
    def wants_grant(self) -> bool:
        return self in (EscalationKind.REQUEST_ACCESS, EscalationKind.OVERRIDE)


class EscalationState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    """Nobody decided in time."""


class Verdict(StrEnum):
    APPROVE = "approve"
    DENY = "deny"
    ANSWER = "answer"
    WITHDRAW = "withdraw"
    """By whoever asked; the others are the deciders'."""


class NoticeKind(StrEnum):
    """What people and webhooks are told of."""

    OPENED = "escalation-opened"
    REMINDER = "escalation-reminder"
    RAISED = "escalation-raised"
    DECIDED = "escalation-decided"
    EXPIRED = "escalation-expired"
    WITHDRAWN = "escalation-withdrawn"
    GRANT_REVOKED = "grant-revoked"
    GRANT_ENDED = "grant-ended"
    GLASS_BROKEN = "break-glass"
    GLASS_MENDED = "break-glass-ended"
    KEY_ISSUED = "key-issued"
    CONTENT_SHOWN = "content-shown"
    """To the group that an obligation `notify:` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecourseTerms:
    """How long an institution lets people take, and who is there for what nobody else is."""

    remind_after_ms: int = 24 * HOUR_MS
    escalate_after_ms: int = 72 * HOUR_MS
    expire_after_ms: int = 336 * HOUR_MS
    max_grant_ms: int = 720 * HOUR_MS
    compliance: PrincipalRef | None = None
    """Who is asked when no rule and no collection says who; None: the auditors."""
    afterwards: PrincipalRef = ADMINISTRATORS
    """Whom an escalation is raised to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided at one desk. `until` and `obligations` are of approvals."""

    desk: int
    by: PrincipalRef
    verdict: Verdict
    reason: str
    at: Instant
    until: Instant | None = None
    purpose: str | None = None
    obligations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A request to people, and how far it is."""

    id: EscalationId
    kind: EscalationKind
    subject: PrincipalRef
    actors: tuple[PrincipalRef, ...]
    """Through whom it was sent, sender first."""
    proof: Proof
    team: str | None
    """The subject's, when it asked."""
    trace: TraceId | None = None
    """The answer that it is about."""
    asked_through: tuple[PrincipalRef, ...] = ()
    """Who put that question for the subject."""
    collection: str | None = None
    document: DocumentId | None = None
    citation: CitationId | None = None
    purpose: str | None = None
    client: str | None = None
    destination: str | None = None
    codes: Mapping[str, str]
    """Of the rules that an override is to waive, each with whom its rule names to decide."""
    reason: str
    shares_question: bool
    """Whether those who decide may read the question that it is about."""
    wanted_until: Instant | None = None
    wanted_minutes: int | None = None
    """From the approval on."""
    desks: tuple[Desk, ...]
    """Each must approve; one that denies is enough."""
    afterwards: Desk | None = None
    """Whom it was raised to; None until then."""
    state: EscalationState = EscalationState.WAITING
    opened_at: Instant
    expires_at: Instant
    closed_at: Instant | None = None
    decisions: tuple[Decision, ...] = ()
    grant: str | None = None
    repeats: tuple[TraceId, ...] = ()
    """Traces of the question when it was asked again."""

    @property
    def requesters(self) -> frozenset[PrincipalRef]:
        """None of whom may decide."""
        return frozenset((self.subject, *self.actors, *self.asked_through))

    @property
    def seats(self) -> Desk:
        """Everybody who may decide, at whichever desk."""
        return frozenset().union(*self.desks, self.afterwards or ())

    @property
    def pending(self) -> tuple[int, ...]:
        """The desks that have yet to decide."""
        decided = {each.desk for each in self.decisions}
        if self.state is not EscalationState.WAITING:
            return ()
        return tuple(number for number in range(len(self.desks)) if number not in decided)

    def open_to(self, memberships: frozenset[PrincipalRef]) -> tuple[int, ...]:
        """The desks at which somebody who is all this may decide now."""
        if self.afterwards is not None and self.afterwards & memberships:
            return self.pending
        return tuple(number for number in self.pending if self.desks[number] & memberships)


def state_after(escalation: Escalation, decisions: Sequence[Decision]) -> EscalationState:
    """Where it stands with all of these: any desk may deny, and only all of them together approve."""
    verdicts = {each.verdict for each in decisions}
    if Verdict.WITHDRAW in verdicts:
        return EscalationState.WITHDRAWN
    if Verdict.DENY in verdicts:
        return EscalationState.DENIED
    if Verdict.ANSWER in verdicts:
        return EscalationState.ANSWERED
    every = {each.desk for each in decisions} >= set(range(len(escalation.desks)))
    return EscalationState.APPROVED if every else EscalationState.WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What several approvals leave of what was asked: the shortest time, and everything that any of them obliges to."""

    until: Instant
    purpose: str | None
    obligations: tuple[str, ...]


def limits_of(escalation: Escalation, approvals: Sequence[Decision]) -> Limits:
    ends = [each.until for each in approvals if each.until is not None]
    purposes = [each.purpose for each in approvals if each.purpose is not None]
    return Limits(
        until=min(ends),
        purpose=escalation.purpose or (purposes[0] if purposes else None),
        obligations=tuple(dict.fromkeys(name for each in approvals for name in each.obligations)),
    )


def longest(escalation: Escalation, terms: RecourseTerms, *, at: Instant) -> Instant:
    """The last instant that an approval of now may last until: what was asked for, and never beyond the institution's
    own limit."""
    ends = [at + terms.max_grant_ms]
    if escalation.wanted_until is not None:
        ends.append(escalation.wanted_until)
    if escalation.wanted_minutes is not None:
        ends.append(at + escalation.wanted_minutes * MINUTE_MS)
    return Instant(min(ends))


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long decisions took, and what waits. None where there is nothing to measure."""

    decided: int
    median_ms: int | None
    p90_ms: int | None
    waiting: int
    oldest_waiting_ms: int | None


def latency(took_ms: Sequence[int], waiting_ms: Sequence[int]) -> Latency:
    return Latency(
        decided=len(took_ms),
        median_ms=_quantile(took_ms, 0.5),
        p90_ms=_quantile(took_ms, 0.9),
        waiting=len(waiting_ms),
        oldest_waiting_ms=max(waiting_ms, default=None),
    )


def _quantile(values: Sequence[int], share: float) -> int | None:
    """The smallest of the values that so large a share of them does not exceed (nearest rank)."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else None


# -- webhooks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that is told when one of these recipients is. Its secret follows from the generation."""

    name: str
    url: str
    recipients: frozenset[PrincipalRef]
    events: frozenset[str]
    """Kinds of notices, these here and others."""
    generation: str


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


MAX_TRIES: Final = 8
_PAUSES_S: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400)
"""Between two tries: the schedule that Standard Webhooks suggests, a day and a half in all."""


def pause_ms(tries: int) -> int | None:
    """How long after so many tries the next one is due; None: it is given up."""
    return _PAUSES_S[tries - 1] * 1000 if tries < MAX_TRIES else None
