"""Webhooks, and what is on its way to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.domain.recourse import DeliveryState, Webhook
from app.store.database import insert_absent
from app.store.notices import Notice, notice_of
from app.store.recorded import close, holds, replace_state
from app.store.tables import DeliveryRow, NoticeRow, WebhookRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A notice on its way to a webhook. `problem` says why the last try failed."""

    id: str
    webhook: str
    notice: Notice
    state: DeliveryState
    tries: int
    next_at: Instant
    problem: str | None
    ended_at: Instant | None


def webhooks(session: Session) -> list[Webhook]:
    """By name."""
    rows = session.scalars(select(WebhookRow).where(holds(WebhookRow)).order_by(col(WebhookRow.name)))
    return [_webhook(row) for row in rows]


def webhook(session: Session, name: str) -> Webhook | None:
    row = session.scalars(select(WebhookRow).where(col(WebhookRow.name) == name, holds(WebhookRow))).first()
    return _webhook(row) if row else None


def record_webhook(session: Session, new: Webhook, *, at: Instant, by: PrincipalRef) -> None:
    """Let it be so from `at` on."""
    row = WebhookRow(
        name=new.name,
        url=new.url,
        recipients=sorted(new.recipients),
        events=sorted(new.events),
        generation=new.generation,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(WebhookRow.name) == new.name, at=at)


def remove_webhook(session: Session, name: str, *, at: Instant) -> bool:
    """End it, and give up what is on its way to it; False if there is none."""
    waiting = col(DeliveryRow.state) == DeliveryState.WAITING
    gone = {"state": DeliveryState.GIVEN_UP, "problem": "The webhook was removed.", "ended_at": at}
    session.execute(update(DeliveryRow).where(col(DeliveryRow.webhook) == name, waiting).values(**gone))
    return close(session, WebhookRow, col(WebhookRow.name) == name, at=at) > 0


def anything_to_do(session: Session, *, now: Instant) -> bool:
    unseen = select(NoticeRow).where(col(NoticeRow.passed_on).is_(False)).exists()
    due = select(DeliveryRow).where(col(DeliveryRow.state) == DeliveryState.WAITING, col(DeliveryRow.next_at) <= now)
    return bool(session.scalar(select(unseen))) or bool(session.scalar(select(due.exists())))


def pass_on(session: Session, *, at: Instant, limit: int) -> int:
    """Note for every webhook which new notices it is told of: each once. Says how many notices were looked at."""
    query = select(NoticeRow).where(col(NoticeRow.passed_on).is_(False)).order_by(col(NoticeRow.id)).limit(limit)
    rows = session.scalars(query.with_for_update(skip_locked=True)).all()
    told = webhooks(session)
    for row in rows:
        deliveries = [
            {
                "id": f"msg_{row.public_id}_{each.name}",
                "webhook": each.name,
                "notice_id": row.id,
                "state": DeliveryState.WAITING,
                "tries": 0,
                "next_at": at,
            }
            for each in told
            if row.recipient in each.recipients and row.kind in each.events
        ]
        insert_absent(session, DeliveryRow, deliveries)
        row.passed_on = True
        session.add(row)
    return len(rows)


def claim_due(session: Session, *, now: Instant, until: Instant) -> Delivery | None:
    """A delivery that is due, counted as tried, which nobody else is given before `until`."""
    query = (
        select(DeliveryRow)
        .where(col(DeliveryRow.state) == DeliveryState.WAITING, col(DeliveryRow.next_at) <= now)
        .order_by(col(DeliveryRow.next_at), col(DeliveryRow.seq))
        .limit(1)
    )
    row = session.scalars(query.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    row.tries, row.next_at = row.tries + 1, until
    session.add(row)
    session.flush()
    return _deliveries(session, [row])[0]


def settle(session: Session, delivery: Delivery, *, problem: str | None, again_at: Instant | None, at: Instant) -> None:
    """What became of a try. Whoever was too slow, so that another tried since, changes nothing."""
    state = DeliveryState.DELIVERED if problem is None else DeliveryState.GIVEN_UP
    values = (
        {"next_at": again_at, "problem": problem}
        if again_at is not None
        else {"state": state, "problem": problem, "ended_at": at}
    )
    mine = (col(DeliveryRow.id) == delivery.id, col(DeliveryRow.tries) == delivery.tries)
    session.execute(update(DeliveryRow).where(*mine, col(DeliveryRow.state) == DeliveryState.WAITING).values(**values))


def deliveries(session: Session, webhook: str, *, limit: int) -> list[Delivery]:
    """Newest first."""
    query = select(DeliveryRow).where(col(DeliveryRow.webhook) == webhook).order_by(col(DeliveryRow.seq).desc())
    return _deliveries(session, session.scalars(query.limit(limit)).all())


def _deliveries(session: Session, rows: Sequence[DeliveryRow]) -> list[Delivery]:
    about = select(NoticeRow).where(col(NoticeRow.id).in_([row.notice_id for row in rows]))
    notices = {row.id: notice_of(row) for row in session.scalars(about)}
    return [
        Delivery(
            id=row.id,
            webhook=row.webhook,
            notice=notices[row.notice_id],
            state=DeliveryState(row.state),
            tries=row.tries,
            next_at=Instant(row.next_at),
            problem=row.problem,
            ended_at=Instant(row.ended_at) if row.ended_at is not None else None,
        )
        for row in rows
    ]


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook(
        name=row.name,
        url=row.url,
        recipients=frozenset(PrincipalRef(ref) for ref in row.recipients),
        events=frozenset(row.events),
        generation=row.generation,
    )
