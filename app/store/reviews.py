"""Reviews: what is to be looked at again, and who looked when."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Review, VersionId
from app.domain.instants import Instant
from app.store.tables import DocumentRow, ReviewRow, VersionRow


def add_review(
    session: Session, version: VersionId, *, next: Instant | None, note: str, at: Instant, by: PrincipalRef
) -> None:
    session.add(ReviewRow(version_id=version, at=at, by=by, note=note, next=next))


def reviews_of(session: Session, documents: Iterable[DocumentId]) -> dict[DocumentId, Sequence[Review]]:
    """The reviews of these documents, the last first; those that were never reviewed are left out."""
    rows = session.execute(
        select(ReviewRow, col(VersionRow.number), col(DocumentRow.public_id))
        .join(VersionRow, col(VersionRow.id) == col(ReviewRow.version_id))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .where(col(DocumentRow.public_id).in_(list(documents)))
        .order_by(col(ReviewRow.id).desc())
    )
    found: dict[DocumentId, list[Review]] = {}
    for row, number, document in rows:
        review = Review(
            version=number or 0,
            at=Instant(row.at),
            by=PrincipalRef(row.by),
            note=row.note,
            next=Instant(row.next) if row.next is not None else None,
        )
        found.setdefault(DocumentId(document), []).append(review)
    return dict(found)
