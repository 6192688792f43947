"""Which document takes another's place, from when on: recorded, and carried over into their periods."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, VersionId
from app.domain.instants import FOREVER, Instant
from app.store import publishing
from app.store.jobs import Submission
from app.store.recorded import close, holds, replace_state
from app.store.tables import DocumentRow, JobRow, PeriodRow, SupersessionRow, VersionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """`successor` has taken the place of `document` from `valid_from` on."""

    document: DocumentId
    successor: DocumentId
    valid_from: Instant


def successors(session: Session, documents: Iterable[DocumentId]) -> dict[DocumentId, Succession]:
    """What has taken the place of these documents, in what we hold today."""
    return {each.document: each for each in _successions(session, documents=documents)}


def superseded_by(session: Session, successor: DocumentId) -> list[Succession]:
    """The documents whose place one has taken, by id."""
    return _successions(session, successor=successor)


def supersede(
    session: Session, document: DocumentId, successor: DocumentId, valid_from: Instant, *, at: Instant, by: PrincipalRef
) -> None:
    """Let a document's time end at `valid_from`, for good: it does not come back when its successor expires."""
    row, other = _row_of(session, document), _row_of(session, successor)
    replace_state(
        session,
        SupersessionRow(
            document_id=row,
            successor_id=other,
            valid_from=valid_from,
            recorded_from=at,
            recorded_to=FOREVER,
            recorded_by=by,
        ),
        col(SupersessionRow.document_id) == row,
        at=at,
    )
    publishing.leave_to_others(session, row, (valid_from, FOREVER), at=at, by=by)


def revive(session: Session, document: DocumentId, *, at: Instant) -> None:
    """Hold from now on that no document has taken this one's place. Its periods are its owner's to correct."""
    close(session, SupersessionRow, col(SupersessionRow.document_id) == _row_of(session, document), at=at)


def leads_to(session: Session, document: DocumentId, successor: DocumentId) -> bool:
    """Whether `successor` is, at whatever remove, superseded by `document`: the other way would be a circle."""
    seen: set[DocumentId] = set()
    place: DocumentId | None = successor
    while place is not None and place not in seen:
        if place == document:
            return True
        seen.add(place)
        found = successors(session, [place]).get(place)
        place = found.successor if found else None
    return False


def settle(session: Session, version: VersionId, submission: Submission, *, at: Instant) -> list[DocumentId]:
    """Carry over what publishing a version means for other documents; returns those whose place it takes.

    What is submitted after its document was superseded speaks for itself: it is in force again. What was submitted
    before stays superseded, however late it is published.
    """
    own = successors(session, [submission.document]).get(submission.document)
    if own is not None:
        recorded, submitted = _recorded_from(session, submission.document_row), _submitted_at(session, submission)
        if submitted > recorded:
            revive(session, submission.document, at=at)
        else:
            end = (own.valid_from, FOREVER)
            publishing.leave_to_others(session, submission.document_row, end, at=at, by=submission.submitted_by)
    if not submission.metadata.supersedes:
        return []
    session.flush()
    begins = _begins(session, version)
    taken = [
        each for each in sorted(submission.metadata.supersedes) if not leads_to(session, each, submission.document)
    ]
    for each in taken:
        supersede(session, each, submission.document, begins, at=at, by=submission.submitted_by)
    return taken


def follow(
    session: Session, successor: DocumentId, before: Instant, after: Instant, *, at: Instant, by: PrincipalRef
) -> list[DocumentId]:
    """When a version that documents gave way to begins earlier than was held, they give way earlier; says which.

    Beginning later gives nothing back: what was taken from a document is its owner's to give again.
    """
    moved = [each.document for each in superseded_by(session, successor) if after < each.valid_from == before]
    for document in moved:
        supersede(session, document, successor, after, at=at, by=by)
    return moved


def documents_named(session: Session, collection: str, names: Sequence[str]) -> dict[str, tuple[DocumentId, str]]:
    """The documents, each with its collection, that these names mean: uris in the collection, or ids of any."""
    rows = session.execute(
        select(col(DocumentRow.public_id), col(DocumentRow.collection), col(DocumentRow.uri)).where(
            col(DocumentRow.public_id).in_(list(names))
            | ((col(DocumentRow.collection) == collection) & col(DocumentRow.uri).in_(list(names)))
        )
    ).all()
    by_id = {row.public_id: (DocumentId(row.public_id), row.collection) for row in rows}
    by_uri = {row.uri: (DocumentId(row.public_id), row.collection) for row in rows if row.collection == collection}
    return {name: found for name in names if (found := by_uri.get(name) or by_id.get(name)) is not None}


def versions_of(session: Session, documents: Iterable[DocumentId]) -> list[VersionId]:
    """Every published version of these documents: what the index is to be told of."""
    rows = session.scalars(
        select(col(VersionRow.id))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .where(col(DocumentRow.public_id).in_(list(documents)), col(VersionRow.number).is_not(None))
    )
    return [VersionId(id or 0) for id in rows]


_Successor = aliased(DocumentRow)


def _successions(
    session: Session, *, documents: Iterable[DocumentId] | None = None, successor: DocumentId | None = None
) -> list[Succession]:
    query = (
        select(col(DocumentRow.public_id), col(_Successor.public_id), col(SupersessionRow.valid_from))
        .join(DocumentRow, col(DocumentRow.id) == col(SupersessionRow.document_id))
        .join(_Successor, col(_Successor.id) == col(SupersessionRow.successor_id))
        .where(holds(SupersessionRow))
        .order_by(col(DocumentRow.public_id))
    )
    if documents is not None:
        query = query.where(col(DocumentRow.public_id).in_(list(documents)))
    if successor is not None:
        query = query.where(col(_Successor.public_id) == successor)
    return [
        Succession(document=DocumentId(one), successor=DocumentId(other), valid_from=Instant(begins))
        for one, other, begins in session.execute(query)
    ]


def _row_of(session: Session, document: DocumentId) -> int:
    row = session.execute(select(col(DocumentRow.id)).where(col(DocumentRow.public_id) == document)).scalar_one()
    return int(row or 0)


def _recorded_from(session: Session, document_row: int) -> Instant:
    held = select(col(SupersessionRow.recorded_from)).where(
        col(SupersessionRow.document_id) == document_row, holds(SupersessionRow)
    )
    return Instant(session.execute(held).scalar_one())


def _submitted_at(session: Session, submission: Submission) -> Instant:
    return Instant(
        session.execute(select(col(JobRow.submitted_at)).where(col(JobRow.id) == submission.job)).scalar_one()
    )


def _begins(session: Session, version: VersionId) -> Instant:
    held = select(col(PeriodRow.valid_from)).where(col(PeriodRow.version_id) == version, holds(PeriodRow))
    return Instant(session.execute(held).scalar_one())
