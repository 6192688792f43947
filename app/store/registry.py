"""Collections, purposes and policies: what the institution has laid down."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import Collection, PrincipalRef, Purpose
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Label, LabelRule, parse_level
from app.domain.policies import PolicyVersionId, policy_digest
from app.store import policies
from app.store.metadata import rules_from_json, rules_to_json
from app.store.recorded import close, holds, replace_state
from app.store.tables import CollectionRow, LabelRulesRow, PolicyActivationRow, PolicyTextRow, PurposeRow


def collections(session: Session, *, at: Instant | None = None) -> dict[str, Collection]:
    """Every collection by name, in the order of names."""
    rows = session.scalars(select(CollectionRow).where(holds(CollectionRow, at)).order_by(col(CollectionRow.name)))
    return {row.name: _collection(row) for row in rows}


def collection(session: Session, name: str, *, at: Instant | None = None) -> Collection | None:
    row = session.scalars(
        select(CollectionRow).where(col(CollectionRow.name) == name, holds(CollectionRow, at))
    ).first()
    return _collection(row) if row else None


def collection_recorded_by(session: Session, name: str) -> PrincipalRef | None:
    """Who laid it down as it is today."""
    found = session.scalar(
        select(col(CollectionRow.recorded_by)).where(col(CollectionRow.name) == name, holds(CollectionRow))
    )
    return PrincipalRef(found) if found else None


def record_collection(session: Session, new: Collection, *, at: Instant, by: PrincipalRef) -> bool:
    """Let this hold from `at` on; False, and nothing recorded, if it already does."""
    if collection(session, new.name) == new:
        return False
    row = CollectionRow(
        name=new.name,
        title=new.title,
        owners=sorted(new.owners),
        level=new.default_label.level.word if new.default_label else None,
        categories=sorted(new.default_label.categories) if new.default_label else [],
        default_readers=sorted(new.default_readers),
        jurisdictions=sorted(new.jurisdictions),
        purposes=sorted(new.purposes),
        discoverable=new.discoverable,
        system_of_record=new.system_of_record,
        review_after_days=new.review_after_days,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(CollectionRow.name) == new.name, at=at)
    return True


def label_rules(session: Session, collection: str, *, at: Instant | None = None) -> tuple[LabelRule, ...]:
    """The label rules of a collection, in the order in which they were laid down; empty if it has none."""
    row = session.scalars(
        select(LabelRulesRow).where(col(LabelRulesRow.collection) == collection, holds(LabelRulesRow, at))
    ).first()
    return rules_from_json(row.rules) if row else ()


def record_label_rules(
    session: Session, collection: str, rules: Sequence[LabelRule], *, at: Instant, by: PrincipalRef
) -> bool:
    """Let these be a collection's label rules from `at` on; False, and nothing recorded, if they already are."""
    if label_rules(session, collection) == tuple(rules):
        return False
    row = LabelRulesRow(
        collection=collection, rules=rules_to_json(rules), recorded_from=at, recorded_to=FOREVER, recorded_by=by
    )
    replace_state(session, row, col(LabelRulesRow.collection) == collection, at=at)
    return True


def purposes(session: Session, *, at: Instant | None = None) -> dict[str, Purpose]:
    """Every registered purpose by id, in the order of ids."""
    rows = session.scalars(select(PurposeRow).where(holds(PurposeRow, at)).order_by(col(PurposeRow.name)))
    return {row.name: _purpose(row) for row in rows}


def purpose_recorded_by(session: Session, id: str) -> PrincipalRef | None:
    """Who laid it down as it is today."""
    found = session.scalar(select(col(PurposeRow.recorded_by)).where(col(PurposeRow.name) == id, holds(PurposeRow)))
    return PrincipalRef(found) if found else None


def record_purpose(session: Session, new: Purpose, *, at: Instant, by: PrincipalRef) -> bool:
    """Let this hold from `at` on; False, and nothing recorded, if it already does."""
    if purposes(session).get(new.id) == new:
        return False
    row = PurposeRow(
        name=new.id,
        title=new.title,
        description=new.description,
        owner=new.owner,
        legal_basis=new.legal_basis,
        categories=sorted(new.categories) if new.categories is not None else None,
        consent_required=new.consent_required,
        review_by=new.review_by,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(PurposeRow.name) == new.id, at=at)
    return True


def end_purpose(session: Session, id: str, *, at: Instant) -> bool:
    """Let it be registered no longer from `at` on; False if it is not registered."""
    return bool(close(session, PurposeRow, col(PurposeRow.name) == id, at=at))


def active_policies(session: Session, *, at: Instant | None = None) -> str | None:
    """The Cedar text that decides; None when none was ever activated."""
    return session.scalars(
        select(col(PolicyTextRow.cedar))
        .join(PolicyActivationRow, col(PolicyActivationRow.digest) == col(PolicyTextRow.digest))
        .where(holds(PolicyActivationRow, at))
    ).first()


def record_policies(session: Session, cedar: str, *, reason: str, at: Instant, by: PrincipalRef) -> None:
    """Let this text decide from `at` on, as a version of its own. Call within a recording that moves `policies`."""
    id = PolicyVersionId(f"pol_{policy_digest(cedar)[:13]}{at:013d}")  # one instant, one activation
    policies.activate(
        session, policies.record_draft(session, id, cedar, reason=reason, at=at, by=by), reason=reason, at=at, by=by
    )


def _purpose(row: PurposeRow) -> Purpose:
    return Purpose(
        id=row.name,
        title=row.title,
        description=row.description,
        owner=PrincipalRef(row.owner) if row.owner is not None else None,
        legal_basis=row.legal_basis,
        categories=frozenset(row.categories) if row.categories is not None else None,
        consent_required=row.consent_required,
        review_by=Instant(row.review_by) if row.review_by is not None else None,
    )


def _collection(row: CollectionRow) -> Collection:
    return Collection(
        name=row.name,
        title=row.title,
        owners=frozenset(PrincipalRef(ref) for ref in row.owners),
        default_label=Label(level=parse_level(row.level), categories=frozenset(row.categories)) if row.level else None,
        default_readers=frozenset(PrincipalRef(ref) for ref in row.default_readers),
        jurisdictions=frozenset(row.jurisdictions),
        purposes=frozenset(row.purposes),
        discoverable=row.discoverable,
        system_of_record=row.system_of_record,
        review_after_days=row.review_after_days,
    )
