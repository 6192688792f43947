"""Interned boundaries: equal ones are one row with one small id."""

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import Boundary, BoundaryId, PrincipalRef
from app.domain.instants import Instant
from app.domain.labels import Label, parse_level
from app.store.tables import BoundaryRow, EpochsRow


def interned(session: Session, boundary: Boundary, *, at: Instant) -> BoundaryId:
    """The id of this boundary, made if it is new, and then the `boundaries` epoch moves. Call within a recording."""
    digest = boundary.digest()
    found = session.scalars(select(col(BoundaryRow.id)).where(col(BoundaryRow.digest) == digest)).first()
    if found is not None:
        return BoundaryId(found)
    row = BoundaryRow(
        digest=digest,
        collection=boundary.collection,
        level=boundary.label.level.word,
        categories=sorted(boundary.label.categories),
        readers=sorted(boundary.readers),
        denied=sorted(boundary.denied),
        jurisdictions=sorted(boundary.jurisdictions),
        purposes=sorted(boundary.purposes),
        consents=sorted(boundary.consents),
        created_at=at,
    )
    session.add(row)
    session.execute(update(EpochsRow).values(boundaries=EpochsRow.boundaries + 1))
    session.flush()
    assert row.id is not None
    return BoundaryId(row.id)


def boundaries(session: Session, ids: Iterable[BoundaryId]) -> dict[BoundaryId, Boundary]:
    """These boundaries, by id."""
    rows = session.scalars(select(BoundaryRow).where(col(BoundaryRow.id).in_(set(ids))))
    return {BoundaryId(row.id or 0): boundary_of(row) for row in rows}


def boundaries_after(session: Session, after: BoundaryId) -> list[tuple[BoundaryId, Boundary]]:
    """Every boundary with a higher id, ascending: what a cache of decisions has yet to decide."""
    rows = session.scalars(select(BoundaryRow).where(col(BoundaryRow.id) > after).order_by(col(BoundaryRow.id)))
    return [(BoundaryId(row.id or 0), boundary_of(row)) for row in rows]


def boundary_of(row: BoundaryRow) -> Boundary:
    return Boundary(
        collection=row.collection,
        label=Label(level=parse_level(row.level), categories=frozenset(row.categories)),
        readers=frozenset(PrincipalRef(ref) for ref in row.readers),
        denied=frozenset(PrincipalRef(ref) for ref in row.denied),
        jurisdictions=frozenset(row.jurisdictions),
        purposes=frozenset(row.purposes),
        consents=frozenset(row.consents),
    )
