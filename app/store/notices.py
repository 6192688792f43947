"""Notices: what somebody is to hear of, written with what it is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.instants import Instant
from app.domain.recourse import NoticeKind
from app.store.tables import NoticeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What somebody is told: ids and kinds, and no content."""

    id: str
    recipient: PrincipalRef
    kind: str
    about: Mapping[str, Any]
    at: Instant


def add_notice(
    session: Session, recipient: PrincipalRef, kind: NoticeKind, *, id: str, about: Mapping[str, Any], at: Instant
) -> None:
    """In the caller's transaction: it is told if that is committed, and only then."""
    session.add(NoticeRow(public_id=id, recipient=recipient, kind=kind, about=dict(about), created_at=at))


def notices(
    session: Session, recipients: Iterable[PrincipalRef], *, after: str | None, limit: int
) -> Sequence[Notice] | None:
    """Oldest first, from after one of them on; None if `after` is none of theirs."""
    to = sorted(recipients)
    query = select(NoticeRow).where(col(NoticeRow.recipient).in_(to))
    if after is not None:
        place = session.scalar(
            select(col(NoticeRow.id)).where(col(NoticeRow.public_id) == after, col(NoticeRow.recipient).in_(to))
        )
        if place is None:
            return None
        query = query.where(col(NoticeRow.id) > place)
    return tuple(map(notice_of, session.scalars(query.order_by(col(NoticeRow.id)).limit(limit))))


def notice_of(row: NoticeRow) -> Notice:
    return Notice(
        id=row.public_id,
        recipient=PrincipalRef(row.recipient),
        kind=row.kind,
        about=row.about,
        at=Instant(row.created_at),
    )
