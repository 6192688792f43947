"""Retention rules, and when they are carried out next."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, VersionId
from app.domain.instants import FOREVER, Instant
from app.domain.retention import Disposal, RetentionRule, Since
from app.store.database import insert_absent
from app.store.recorded import holds, replace_state
from app.store.tables import DocumentRow, RetentionDueRow, RetentionRow, VersionRow, WithdrawalRow


def rules(session: Session, collection: str) -> tuple[RetentionRule, ...]:
    """A collection's rules in their order; none, unless some were ever set."""
    found = select(col(RetentionRow.rules)).where(col(RetentionRow.collection) == collection, holds(RetentionRow))
    return tuple(_rule(each) for each in session.scalars(found).first() or ())


def record_rules(
    session: Session,
    collection: str,
    new: Sequence[RetentionRule],
    *,
    first_run_at: Instant,
    at: Instant,
    by: PrincipalRef,
) -> None:
    """Let these be the rules from `at` on; without any, nothing is carried out."""
    row = RetentionRow(
        collection=collection,
        rules=[{"when": each.when, "after_days": each.after_days, "action": each.action} for each in new],
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(RetentionRow.collection) == collection, at=at)
    insert_absent(session, RetentionDueRow, [{"collection": collection, "due_at": first_run_at}])
    set_due(session, collection, first_run_at)


def set_due(session: Session, collection: str, at: Instant) -> None:
    session.execute(update(RetentionDueRow).where(col(RetentionDueRow.collection) == collection).values(due_at=at))


def claim_due(session: Session, *, now: Instant, until: Instant) -> str | None:
    """A collection whose rules are to be carried out now, which nobody else is given before `until`."""
    due = select(RetentionDueRow).where(col(RetentionDueRow.due_at) <= now).order_by(col(RetentionDueRow.due_at))
    row = session.scalars(due.limit(1).with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    row.due_at = until
    session.add(row)
    return row.collection


def documents_in(session: Session, collection: str) -> list[DocumentId]:
    """The documents that have a published version, in the order in which they came."""
    rows = session.scalars(
        select(col(DocumentRow.public_id))
        .where(
            col(DocumentRow.collection) == collection,
            select(col(VersionRow.id))
            .where(col(VersionRow.document_id) == col(DocumentRow.id), col(VersionRow.number).is_not(None))
            .exists(),
        )
        .order_by(col(DocumentRow.id))
    )
    return [DocumentId(each) for each in rows]


def withdrawn_at(session: Session, versions: Sequence[VersionId]) -> dict[VersionId, Instant]:
    """When those of these versions that are withdrawn were."""
    rows = session.execute(
        select(col(WithdrawalRow.version_id), col(WithdrawalRow.recorded_from)).where(
            col(WithdrawalRow.version_id).in_(list(versions)), holds(WithdrawalRow)
        )
    )
    return {VersionId(version): Instant(at) for version, at in rows}


def _rule(value: dict[str, Any]) -> RetentionRule:
    return RetentionRule(when=Since(value["when"]), after_days=value["after_days"], action=Disposal(value["action"]))
