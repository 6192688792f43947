"""Interned boundaries: equal ones are one row with one small id."""

import json
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Text, cast, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import Boundary, BoundaryId
from app.domain.instants import Instant
from app.domain.labels import Label, parse_level
from app.store.tables import BoundaryRow, EpochsRow

_SHARED = 4_096
"""Labels and sets that many boundaries have in common are one object: what is kept is looked at by every collection
of garbage, which stops everybody."""


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
    rows = session.execute(_COLUMNS.where(col(BoundaryRow.id) > after).order_by(col(BoundaryRow.id)))
    return [(BoundaryId(row.id), boundary_of(row)) for row in rows]


_COLUMNS = select(
    col(BoundaryRow.id),
    col(BoundaryRow.collection),
    col(BoundaryRow.level),
    col(BoundaryRow.categories),
    col(BoundaryRow.readers),
    col(BoundaryRow.denied),
    col(BoundaryRow.jurisdictions),
    col(BoundaryRow.purposes),
    col(BoundaryRow.consents),
)
"""Columns rather than rows as objects: there may be 100,000 of them, and each would be a dozen objects."""


def boundary_of(row: BoundaryRow | Row[*tuple[Any, ...]]) -> Boundary:
    return Boundary(
        collection=sys.intern(row.collection),
        label=_label(row.level, tuple(row.categories)),
        readers=_set(tuple(row.readers)),
        denied=_set(tuple(row.denied)),
        jurisdictions=_set(tuple(row.jurisdictions)),
        purposes=_set(tuple(row.purposes)),
        consents=_set(tuple(row.consents)),
    )


AS_WRITTEN = (
    col(BoundaryRow.collection),
    col(BoundaryRow.level),
    *(
        cast(getattr(BoundaryRow, name), Text)
        for name in ("categories", "readers", "denied", "jurisdictions", "purposes", "consents")
    ),
)
"""A boundary's columns with their lists as they are written, for `boundary_as_written`."""


@lru_cache(maxsize=_SHARED)
def boundary_as_written(columns: tuple[str, ...]) -> Boundary:
    """The boundary of such columns, read once: they are few, and each of the passages of an answer comes with one."""
    collection, level, *lists = columns
    categories, *names = (tuple(json.loads(each)) for each in lists)
    readers, denied, jurisdictions, purposes, consents = map(_set, names)
    return Boundary(
        collection=sys.intern(collection),
        label=_label(level, categories),
        readers=readers,
        denied=denied,
        jurisdictions=jurisdictions,
        purposes=purposes,
        consents=consents,
    )


@lru_cache(maxsize=_SHARED)
def _label(level: str, categories: tuple[str, ...]) -> Label:
    return Label(level=parse_level(level), categories=frozenset(categories))


@lru_cache(maxsize=_SHARED)
def _set(names: tuple[Any, ...]) -> frozenset[Any]:
    return frozenset(names)
