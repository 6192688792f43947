"""Legal holds: placed, released, and asked for before anything is erased."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId
from app.domain.erasure import Hold, HoldId
from app.domain.instants import FOREVER, Instant
from app.store.recorded import holds as still_holds
from app.store.tables import AttachmentRow, DocumentRow, HoldRow, VersionRow


def place(session: Session, hold: Hold) -> None:
    session.add(
        HoldRow(
            public_id=hold.id,
            title=hold.title,
            reason=hold.reason,
            matter=hold.matter,
            documents=sorted(hold.documents),
            collections=sorted(hold.collections),
            recorded_from=hold.placed_at,
            recorded_to=FOREVER,
            recorded_by=hold.placed_by,
        )
    )


def release(session: Session, id: HoldId, *, reason: str, at: Instant, by: PrincipalRef) -> bool:
    """End a hold; False if there is none in force by that id."""
    ended = session.execute(
        update(HoldRow)
        .where(col(HoldRow.public_id) == id, still_holds(HoldRow))
        .values(recorded_to=at, released_by=by, release_reason=reason)
    )
    return bool(ended.rowcount)  # type: ignore[attr-defined]


def hold(session: Session, id: HoldId) -> Hold | None:
    row = session.scalars(select(HoldRow).where(col(HoldRow.public_id) == id)).first()
    return _hold(row) if row else None


def holds(session: Session) -> list[Hold]:
    """Every hold that was ever placed, newest first."""
    return [_hold(row) for row in session.scalars(select(HoldRow).order_by(col(HoldRow.id).desc()))]


def in_force(session: Session) -> list[Hold]:
    """Oldest first. Institutions have few: who covers what is decided over all of them."""
    rows = session.scalars(select(HoldRow).where(still_holds(HoldRow)).order_by(col(HoldRow.id)))
    return [_hold(row) for row in rows]


def covering(session: Session, document: DocumentId, collection: str) -> list[Hold]:
    """The holds in force on a document, or on a mail that it came with; oldest first."""
    found = in_force(session)
    whole = _with_mails(session, document) if found else []
    return [each for each in found if any(each.covers(one, collection) for one in whole)]


def _with_mails(session: Session, document: DocumentId) -> list[DocumentId]:
    """A document, the mails that it came with, and those that they came with."""
    mail, part = aliased(DocumentRow), aliased(DocumentRow)
    found = [document]
    for each in found:
        mails = session.scalars(
            select(col(mail.public_id))
            .distinct()
            .join(VersionRow, col(VersionRow.document_id) == col(mail.id))
            .join(AttachmentRow, col(AttachmentRow.version_id) == col(VersionRow.id))
            .join(part, col(part.id) == col(AttachmentRow.document_id))
            .where(col(part.public_id) == each)
        )
        found += [DocumentId(id) for id in mails if id not in found]
    return found


def _hold(row: HoldRow) -> Hold:
    released = row.recorded_to != FOREVER
    return Hold(
        id=HoldId(row.public_id),
        title=row.title,
        reason=row.reason,
        matter=row.matter,
        documents=frozenset(DocumentId(each) for each in row.documents),
        collections=frozenset(row.collections),
        placed_at=Instant(row.recorded_from),
        placed_by=PrincipalRef(row.recorded_by),
        released_at=Instant(row.recorded_to) if released else None,
        released_by=PrincipalRef(row.released_by) if row.released_by else None,
        release_reason=row.release_reason,
    )
