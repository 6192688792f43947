"""Grants: what somebody may for a time beyond what policies give them, and who gave it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import BrokenGlass, Grant, GrantKind, PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.store.recorded import holds
from app.store.tables import GrantRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A grant with what became of it."""

    grant: Grant
    given_at: Instant
    revoked_at: Instant | None
    revoked_by: PrincipalRef | None


def record_grant(session: Session, new: Grant, *, at: Instant) -> None:
    """Let it be in force during its time. Call within a recording that moves `grants`."""
    session.add(
        GrantRow(
            id=new.id,
            kind=new.kind,
            subject=new.subject,
            collections=sorted(new.collections),
            waives=sorted(new.waives),
            purpose=new.purpose,
            client=new.client,
            destination=new.destination,
            obligations=list(new.obligations),
            begins=new.begins,
            ends=new.ends,
            because=new.because,
            reason=new.reason,
            recorded_from=at,
            recorded_to=FOREVER,
            recorded_by=new.granted_by,
        )
    )


def revoke_grant(session: Session, id: str, *, at: Instant, by: PrincipalRef) -> bool:
    """End it; False if it is unknown or was revoked before. Call within a recording that moves `grants`."""
    row = session.scalars(select(GrantRow).where(col(GrantRow.id) == id, holds(GrantRow))).first()
    if row is None:
        return False
    row.recorded_to, row.revoked_by = at, by
    session.add(row)
    return True


def grants_of(session: Session, subject: PrincipalRef, *, at: Instant | None = None) -> Sequence[Grant]:
    """Those that are not revoked, whether or not their time has come or is over, in the order they were given."""
    rows = session.scalars(
        select(GrantRow)
        .where(col(GrantRow.subject) == subject, holds(GrantRow, at))
        .order_by(col(GrantRow.recorded_from), col(GrantRow.id))
    )
    return tuple(map(_grant, rows))


def broken_glasses(session: Session) -> Sequence[BrokenGlass]:
    """Everybody's, those that are over too, the newest first."""
    rows = session.scalars(
        select(GrantRow)
        .where(col(GrantRow.kind) == GrantKind.BREAK_GLASS)
        .order_by(col(GrantRow.recorded_from).desc(), col(GrantRow.id))
    )
    return [
        BrokenGlass(
            grant=_grant(row),
            ended_at=Instant(row.recorded_to) if row.recorded_to != FOREVER else None,
            ended_by=PrincipalRef(row.revoked_by) if row.revoked_by else None,
        )
        for row in rows
    ]


def grant(session: Session, id: str) -> Grant | None:
    """As it was given, revoked or not."""
    row = session.get(GrantRow, id)
    return _grant(row) if row else None


def given(session: Session, *, subject: PrincipalRef | None, before: str | None, limit: int) -> list[Given]:
    """Those of one subject, or everybody's, revoked ones too; newest first, from before one of them on."""
    place = tuple_(col(GrantRow.recorded_from), col(GrantRow.id))
    query = select(GrantRow).order_by(col(GrantRow.recorded_from).desc(), col(GrantRow.id).desc()).limit(limit)
    if subject is not None:
        query = query.where(col(GrantRow.subject) == subject)
    if before is not None:
        row = session.get(GrantRow, before)
        if row is None or subject not in (None, row.subject):
            return []
        query = query.where(place < tuple_(row.recorded_from, row.id))
    return [
        Given(
            grant=_grant(row),
            given_at=Instant(row.recorded_from),
            revoked_at=Instant(row.recorded_to) if row.recorded_to != FOREVER else None,
            revoked_by=PrincipalRef(row.revoked_by) if row.revoked_by else None,
        )
        for row in session.scalars(query)
    ]


def _grant(row: GrantRow) -> Grant:
    return Grant(
        id=row.id,
        kind=GrantKind(row.kind),
        subject=PrincipalRef(row.subject),
        collections=frozenset(row.collections),
        waives=frozenset(row.waives),
        purpose=row.purpose,
        client=row.client,
        destination=row.destination,
        obligations=tuple(row.obligations),
        begins=Instant(row.begins),
        ends=Instant(row.ends),
        because=row.because,
        reason=row.reason,
        granted_by=PrincipalRef(row.recorded_by),
    )
