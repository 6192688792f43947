"""Policy sets: their texts, the versions that were drafted, who approved them, which decided when, and their tests."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.domain.policies import (
    Activation,
    Approval,
    PolicyDigest,
    PolicyState,
    PolicyVersion,
    PolicyVersionId,
    StoredTables,
    policy_digest,
)
from app.store.database import insert_absent
from app.store.recorded import holds, replace_state
from app.store.tables import (
    PolicyActivationRow,
    PolicyApprovalRow,
    PolicyTestsRow,
    PolicyTextRow,
    PolicyVersionRow,
)


def policy_text(session: Session, digest: PolicyDigest) -> str | None:
    """The Cedar text of a version by its digest, whatever its state."""
    row = session.get(PolicyTextRow, digest)
    return row.cedar if row else None


def version(session: Session, id: PolicyVersionId) -> PolicyVersion | None:
    row = session.get(PolicyVersionRow, id)
    return next(iter(_versions(session, [row])), None) if row else None


def versions(session: Session) -> list[PolicyVersion]:
    """Every version, newest first."""
    rows = session.scalars(
        select(PolicyVersionRow).order_by(col(PolicyVersionRow.created_at).desc(), col(PolicyVersionRow.id))
    )
    return _versions(session, list(rows))


def in_force(session: Session, *, at: Instant | None = None) -> Activation | None:
    """What decides, or decided at that instant; None if nothing was ever activated."""
    row = session.scalars(select(PolicyActivationRow).where(holds(PolicyActivationRow, at))).first()
    return _activation(row) if row else None


def activations(session: Session) -> list[Activation]:
    """Every activation, in their order."""
    rows = session.scalars(select(PolicyActivationRow).order_by(col(PolicyActivationRow.id)))
    return [_activation(row) for row in rows]


def record_draft(
    session: Session, id: PolicyVersionId, cedar: str, *, reason: str, at: Instant, by: PrincipalRef
) -> PolicyVersion:
    """Keep a text as a draft, based on what is in force now. Nothing is decided by it."""
    digest = policy_digest(cedar)
    insert_absent(session, PolicyTextRow, [{"digest": digest, "cedar": cedar, "created_at": at}])
    deciding = in_force(session)
    row = PolicyVersionRow(
        id=id,
        digest=digest,
        author=by,
        reason=reason,
        based_on=deciding.digest if deciding else None,
        created_at=at,
    )
    session.add(row)
    session.flush()
    return _versions(session, [row])[0]


def discard(session: Session, id: PolicyVersionId, *, at: Instant, by: PrincipalRef) -> None:
    row = session.get_one(PolicyVersionRow, id)
    row.discarded_at, row.discarded_by = at, by
    session.add(row)


def approve(session: Session, draft: PolicyVersion, *, at: Instant, by: PrincipalRef) -> None:
    """Put on record that `by` approves this text; again if they did before."""
    session.merge(PolicyApprovalRow(version=draft.id, approver=by, digest=draft.digest, approved_at=at))


def activate(
    session: Session,
    new: PolicyVersion,
    *,
    reason: str,
    at: Instant,
    by: PrincipalRef,
    restores: int | None = None,
) -> None:
    """Let this version decide from `at` on. Call within a recording that moves `policies`."""
    row = PolicyActivationRow(
        version=new.id,
        digest=new.digest,
        reason=reason,
        restores=restores,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, at=at)


def stored_tables(session: Session, *, at: Instant | None = None) -> StoredTables | None:
    """The tables that activations are held against; None if none were ever laid down."""
    row = session.scalars(select(PolicyTestsRow).where(holds(PolicyTestsRow, at))).first()
    if row is None:
        return None
    return StoredTables(
        tables=tuple(sorted(row.tables.items())),
        reason=row.reason,
        at=Instant(row.recorded_from),
        by=PrincipalRef(row.recorded_by),
    )


def record_tables(session: Session, new: StoredTables) -> None:
    """Let these hold from their instant on. Call within a recording; no decision rests on them."""
    row = PolicyTestsRow(
        tables=dict(new.tables), reason=new.reason, recorded_from=new.at, recorded_to=FOREVER, recorded_by=new.by
    )
    replace_state(session, row, at=new.at)


def _versions(session: Session, rows: list[PolicyVersionRow]) -> list[PolicyVersion]:
    approvals: dict[str, list[Approval]] = {}
    of_these = select(PolicyApprovalRow).where(col(PolicyApprovalRow.version).in_([row.id for row in rows]))
    for each in session.scalars(of_these.order_by(col(PolicyApprovalRow.approved_at), col(PolicyApprovalRow.approver))):
        approval = Approval(
            by=PrincipalRef(each.approver), at=Instant(each.approved_at), digest=PolicyDigest(each.digest)
        )
        approvals.setdefault(each.version, []).append(approval)
    deciding = in_force(session)
    decided = frozenset(session.scalars(select(col(PolicyActivationRow.version)).distinct()))
    return [
        PolicyVersion(
            id=PolicyVersionId(row.id),
            digest=PolicyDigest(row.digest),
            author=PrincipalRef(row.author),
            reason=row.reason,
            created_at=Instant(row.created_at),
            based_on=PolicyDigest(row.based_on) if row.based_on else None,
            state=_state(row, deciding, decided),
            approvals=tuple(approvals.get(row.id, ())),
        )
        for row in rows
    ]


def _state(row: PolicyVersionRow, deciding: Activation | None, decided: Iterable[str]) -> PolicyState:
    if deciding is not None and deciding.version == row.id:
        return PolicyState.ACTIVE
    if row.id in decided:
        return PolicyState.RETIRED
    return PolicyState.DRAFT if row.discarded_at is None else PolicyState.DISCARDED


def _activation(row: PolicyActivationRow) -> Activation:
    assert row.id is not None
    return Activation(
        id=row.id,
        version=PolicyVersionId(row.version),
        digest=PolicyDigest(row.digest),
        reason=row.reason,
        at=Instant(row.recorded_from),
        by=PrincipalRef(row.recorded_by),
        restores=row.restores,
    )
