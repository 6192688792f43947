"""Escalations: requests to people, what they decided, and when something is to be done about them next.

Whatever changes one is called within a `recording`: those are one after the other, so what was read stays as it was.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef, Proof
from app.domain.citation import CitationId
from app.domain.corpus import DocumentId
from app.domain.instants import Instant
from app.domain.recourse import (
    AFTERWARDS,
    Decision,
    Desk,
    Escalation,
    EscalationId,
    EscalationKind,
    EscalationState,
    RecourseTerms,
    Verdict,
)
from app.domain.trace import TraceId
from app.store.database import in_pieces
from app.store.tables import EscalationDecisionRow, EscalationRepeatRow, EscalationRow, EscalationSeatRow

_AT_ONCE = 500
Timer = Literal["remind", "raise", "expire", "end"]
"""What is to be done: the last is to tell that a grant has ended."""


def open_escalation(session: Session, new: Escalation, terms: RecourseTerms) -> None:
    """Let it wait for its desks, and be seen to at its times."""
    remind_at = new.opened_at + terms.remind_after_ms
    raise_at = new.opened_at + terms.escalate_after_ms
    row = EscalationRow(
        id=new.id,
        kind=new.kind,
        subject=new.subject,
        actors=list(new.actors),
        proof=new.proof,
        team=new.team,
        trace=new.trace,
        asked_through=list(new.asked_through),
        collection=new.collection,
        document=new.document,
        citation=new.citation,
        purpose=new.purpose,
        client=new.client,
        destination=new.destination,
        codes=dict(new.codes),
        reason=new.reason,
        shares_question=new.shares_question,
        wanted_until=new.wanted_until,
        wanted_minutes=new.wanted_minutes,
        state=new.state,
        opened_at=new.opened_at,
        remind_at=remind_at,
        raise_at=raise_at,
        expires_at=new.expires_at,
        due_at=min(remind_at, raise_at, new.expires_at),
    )
    session.add(row)
    session.flush()
    for number, desk in enumerate(new.desks):
        seat(session, new.id, number, desk)


def seat(session: Session, id: EscalationId, desk: int, refs: Desk) -> None:
    """Let these decide at a desk."""
    session.add_all(EscalationSeatRow(escalation=id, desk=desk, ref=ref) for ref in sorted(refs))


def escalation(session: Session, id: EscalationId) -> Escalation | None:
    row = session.scalars(select(EscalationRow).where(col(EscalationRow.id) == id)).first()
    return _escalations(session, [row])[0] if row else None


def escalations(
    session: Session,
    *,
    of: PrincipalRef | None = None,
    seats: frozenset[PrincipalRef] | None = None,
    state: EscalationState | None = None,
    before: EscalationId | None = None,
    limit: int,
) -> list[Escalation]:
    """Newest first: those that `of` asked for or that one of `seats` may decide about; everybody's without either."""
    query = select(EscalationRow).order_by(col(EscalationRow.seq).desc()).limit(limit)
    if of is not None or seats is not None:
        seated = select(col(EscalationSeatRow.escalation)).where(col(EscalationSeatRow.ref).in_(sorted(seats or ())))
        query = query.where(or_(col(EscalationRow.subject) == (of or ""), col(EscalationRow.id).in_(seated)))
    if state is not None:
        query = query.where(col(EscalationRow.state) == state)
    if before is not None:
        place = select(col(EscalationRow.seq)).where(col(EscalationRow.id) == before).scalar_subquery()
        query = query.where(col(EscalationRow.seq) < func.coalesce(place, 0))
    return _escalations(session, session.scalars(query).all())


def since(session: Session, opened_from: Instant) -> list[Escalation]:
    """Those that were opened from then on, or wait still; oldest first."""
    query = select(EscalationRow).where(
        or_(col(EscalationRow.opened_at) >= opened_from, col(EscalationRow.state) == EscalationState.WAITING)
    )
    return _escalations(session, session.scalars(query.order_by(col(EscalationRow.seq))).all())


def waiting_of(session: Session, subject: PrincipalRef) -> list[Escalation]:
    """What a subject asked for and nobody has decided yet, oldest first."""
    query = select(EscalationRow).where(
        col(EscalationRow.subject) == subject, col(EscalationRow.state) == EscalationState.WAITING
    )
    return _escalations(session, session.scalars(query.order_by(col(EscalationRow.seq))).all())


def about_trace(session: Session, trace: TraceId) -> list[Escalation]:
    """Those that were opened about a trace, or under which it was asked again; oldest first."""
    again = select(col(EscalationRepeatRow.escalation)).where(col(EscalationRepeatRow.trace) == trace)
    query = select(EscalationRow).where(or_(col(EscalationRow.trace) == trace, col(EscalationRow.id).in_(again)))
    return _escalations(session, session.scalars(query.order_by(col(EscalationRow.seq))).all())


def of_grant(session: Session, grant: str) -> Escalation | None:
    row = session.scalars(select(EscalationRow).where(col(EscalationRow.grant_id) == grant)).first()
    return _escalations(session, [row])[0] if row else None


def add_decisions(session: Session, id: EscalationId, decisions: Sequence[Decision]) -> None:
    """Each at its desk, once: a second is an error of the database."""
    session.add_all(
        EscalationDecisionRow(
            escalation=id,
            desk=each.desk,
            by=each.by,
            verdict=each.verdict,
            reason=each.reason,
            until=each.until,
            purpose=each.purpose,
            obligations=list(each.obligations),
            at=each.at,
        )
        for each in decisions
    )


def close_escalation(
    session: Session,
    id: EscalationId,
    state: EscalationState,
    *,
    at: Instant,
    grant: str | None = None,
    grant_ends: Instant | None = None,
) -> None:
    """End it, and with it every timer but that of the end of its grant."""
    values = {"state": state, "closed_at": at, "grant_id": grant, "remind_at": None, "raise_at": None}
    session.execute(update(EscalationRow).where(col(EscalationRow.id) == id).values(**values, due_at=grant_ends))


def forget_end(session: Session, id: EscalationId) -> None:
    """Nothing is to be told at the end of its grant: it has ended."""
    session.execute(update(EscalationRow).where(col(EscalationRow.id) == id).values(due_at=None))


def add_repeat(session: Session, id: EscalationId, trace: TraceId) -> None:
    session.add(EscalationRepeatRow(escalation=id, trace=trace))


def anything_due(session: Session, *, now: Instant) -> bool:
    return bool(session.scalar(select(select(EscalationRow).where(col(EscalationRow.due_at) <= now).exists())))


def take_due(session: Session, *, now: Instant) -> tuple[Escalation, Timer] | None:
    """One that something is to be done about now, and what: it is not given out again if this is committed."""
    query = select(EscalationRow).where(col(EscalationRow.due_at) <= now).order_by(col(EscalationRow.due_at)).limit(1)
    row = session.scalars(query.with_for_update()).first()
    if row is None:
        return None
    timer: Timer
    if row.state != EscalationState.WAITING:
        timer, row.due_at = "end", None
    elif row.expires_at <= now:
        timer, row.due_at = "expire", None
    elif row.raise_at is not None and row.raise_at <= now:
        timer, row.raise_at, row.remind_at = "raise", None, None
    else:
        timer, row.remind_at = "remind", None
    if timer in ("raise", "remind"):
        row.due_at = min(at for at in (row.remind_at, row.raise_at, row.expires_at) if at is not None)
    session.add(row)
    session.flush()
    return _escalations(session, [row])[0], timer


def _escalations(session: Session, rows: Sequence[EscalationRow]) -> list[Escalation]:
    if len(rows) > _AT_ONCE:
        return [each for some in in_pieces(rows) for each in _escalations(session, some)]
    ids = [row.id for row in rows]
    seats: defaultdict[str, defaultdict[int, set[PrincipalRef]]] = defaultdict(lambda: defaultdict(set))
    for each in session.scalars(select(EscalationSeatRow).where(col(EscalationSeatRow.escalation).in_(ids))):
        seats[each.escalation][each.desk].add(PrincipalRef(each.ref))
    decisions: defaultdict[str, list[Decision]] = defaultdict(list)
    made = select(EscalationDecisionRow).where(col(EscalationDecisionRow.escalation).in_(ids))
    for decided in session.scalars(made.order_by(col(EscalationDecisionRow.at), col(EscalationDecisionRow.desk))):
        decisions[decided.escalation].append(_decision(decided))
    repeats: defaultdict[str, list[TraceId]] = defaultdict(list)
    again = select(EscalationRepeatRow).where(col(EscalationRepeatRow.escalation).in_(ids))
    for repeat in session.scalars(again.order_by(col(EscalationRepeatRow.id))):
        repeats[repeat.escalation].append(TraceId(repeat.trace))
    return [_escalation(row, seats[row.id], decisions[row.id], repeats[row.id]) for row in rows]


def _escalation(row: EscalationRow, seats: Any, decisions: list[Decision], repeats: list[TraceId]) -> Escalation:
    afterwards = seats.get(AFTERWARDS)
    return Escalation(
        id=EscalationId(row.id),
        kind=EscalationKind(row.kind),
        subject=PrincipalRef(row.subject),
        actors=tuple(PrincipalRef(ref) for ref in row.actors),
        proof=Proof(row.proof),
        team=row.team,
        trace=TraceId(row.trace) if row.trace else None,
        asked_through=tuple(PrincipalRef(ref) for ref in row.asked_through),
        collection=row.collection,
        document=DocumentId(row.document) if row.document else None,
        citation=CitationId(row.citation) if row.citation else None,
        purpose=row.purpose,
        client=row.client,
        destination=row.destination,
        codes=row.codes,
        reason=row.reason,
        shares_question=row.shares_question,
        wanted_until=Instant(row.wanted_until) if row.wanted_until is not None else None,
        wanted_minutes=row.wanted_minutes,
        desks=tuple(frozenset(seats[number]) for number in sorted(seats) if number != AFTERWARDS),
        afterwards=frozenset(afterwards) if afterwards else None,
        state=EscalationState(row.state),
        opened_at=Instant(row.opened_at),
        expires_at=Instant(row.expires_at),
        closed_at=Instant(row.closed_at) if row.closed_at is not None else None,
        decisions=tuple(decisions),
        grant=row.grant_id,
        repeats=tuple(repeats),
    )


def _decision(row: EscalationDecisionRow) -> Decision:
    return Decision(
        desk=row.desk,
        by=PrincipalRef(row.by),
        verdict=Verdict(row.verdict),
        reason=row.reason,
        at=Instant(row.at),
        until=Instant(row.until) if row.until is not None else None,
        purpose=row.purpose,
        obligations=tuple(row.obligations),
    )
