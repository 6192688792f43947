"""Reading documents, versions, texts and chunks. Only published versions are ever returned."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import BoundaryId
from app.domain.corpus import (
    Box,
    ChunkId,
    Digest,
    Document,
    DocumentId,
    Element,
    ElementKind,
    Period,
    Span,
    StoredChunk,
    Version,
    VersionId,
)
from app.domain.instants import Instant
from app.store.boundaries import boundary_of
from app.store.metadata import source_from_json
from app.store.recorded import holds
from app.store.tables import (
    BoundaryRow,
    ChunkRow,
    DocumentRow,
    ElementRow,
    PeriodRow,
    TextRow,
    VersionBoundaryRow,
    VersionRow,
    WithdrawalRow,
)

_Later = aliased(VersionRow)
_LATEST = (
    ~select(col(_Later.id))
    .where(
        col(_Later.document_id) == col(VersionRow.document_id),
        col(_Later.number) > col(VersionRow.number),
    )
    .exists()
)


_WITHDRAWN = (
    select(col(WithdrawalRow.id))
    .where(col(WithdrawalRow.version_id) == col(VersionRow.id), holds(WithdrawalRow))
    .exists()
)
_Loaded = Select[VersionRow, DocumentRow, PeriodRow, BoundaryRow, bool, bool]


def versions_of(session: Session, document: DocumentId) -> list[Version]:
    """Every published version of a document with today's boundary and period, newest first; empty if there is none."""
    query = _versions().where(col(DocumentRow.public_id) == document).order_by(col(VersionRow.number).desc())
    return _loaded(session, query)


def latest_versions(
    session: Session,
    *,
    boundaries: Iterable[BoundaryId],
    collection: str | None,
    containing: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> list[Version]:
    """Versions within these boundaries, newest of each document first, by (collection, uri); `after` is a place there.

    A document's versions may lie in several boundaries: every one of its versions within `boundaries` is returned, so
    a caller can pick the newest that it may show. `limit` counts documents.
    """
    within: list[ColumnElement[bool]] = [col(VersionBoundaryRow.boundary_id).in_(set(boundaries))]
    if collection is not None:
        within.append(col(DocumentRow.collection) == collection)
    if containing:
        pattern = f"%{_escaped(containing.lower())}%"
        within.append(
            func.lower(col(VersionRow.title)).like(pattern, escape="\\")
            | func.lower(col(DocumentRow.uri)).like(pattern, escape="\\")
        )
    if after is not None:
        name, uri = after
        within.append(
            (col(DocumentRow.collection) > name) | and_(col(DocumentRow.collection) == name, col(DocumentRow.uri) > uri)
        )
    query = _versions().where(*within)
    page = (
        query.with_only_columns(col(DocumentRow.id), col(DocumentRow.collection), col(DocumentRow.uri))
        .distinct()
        .order_by(col(DocumentRow.collection), col(DocumentRow.uri))
        .limit(limit)
        .subquery()
    )
    return _loaded(
        session,
        query.where(col(DocumentRow.id).in_(select(page.c.id))).order_by(
            col(DocumentRow.collection), col(DocumentRow.uri), col(VersionRow.number).desc()
        ),
    )


def text_of(session: Session, digest: Digest) -> str:
    """Canonical text by digest."""
    return session.execute(select(col(TextRow.text)).where(col(TextRow.digest) == digest)).scalar_one()


def elements_of(session: Session, version: VersionId) -> list[Element]:
    rows = session.scalars(
        select(ElementRow).where(col(ElementRow.version_id) == version).order_by(col(ElementRow.ordinal))
    )
    return [
        Element(
            kind=ElementKind(row.kind),
            span=Span(start=row.start, end=row.end),
            page=row.page,
            boxes=boxes_from_json(row.boxes),
            section=tuple(row.section),
        )
        for row in rows
    ]


def stored_chunks(
    session: Session, chunks: Sequence[ChunkId], *, valid_at: Instant, known_at: Instant
) -> dict[ChunkId, StoredChunk]:
    """Those of `chunks` whose version is published, not withdrawn, and in force at the two instants. One query."""
    query = (
        select(
            ChunkRow,
            VersionRow,
            DocumentRow,
            PeriodRow,
            BoundaryRow,
            func.substr(col(TextRow.text), col(ChunkRow.start) + 1, col(ChunkRow.end) - col(ChunkRow.start)),
            _LATEST,
        )
        .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
        .join(TextRow, col(TextRow.digest) == col(VersionRow.text_digest))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow, known_at)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .join(BoundaryRow, col(BoundaryRow.id) == col(VersionBoundaryRow.boundary_id))
        .where(
            col(ChunkRow.id).in_(list(chunks)),
            col(VersionRow.number).is_not(None),
            ~_WITHDRAWN,
            col(PeriodRow.valid_from) <= valid_at,
            col(PeriodRow.valid_to) > valid_at,
        )
    )
    found = {}
    for chunk, version, document, period, boundary, text, latest in session.execute(query):
        found[ChunkId(chunk.id)] = StoredChunk(
            id=ChunkId(chunk.id),
            version_id=VersionId(version.id),
            document=DocumentId(document.public_id),
            collection=document.collection,
            uri=document.uri,
            title=version.title,
            number=version.number,
            version_digest=Digest(version.digest),
            boundary_id=BoundaryId(boundary.id),
            boundary=boundary_of(boundary),
            span=Span(start=chunk.start, end=chunk.end),
            text=text,
            digest=Digest(chunk.digest),
            tokens=chunk.tokens,
            page=chunk.page,
            boxes=boxes_from_json(chunk.boxes),
            section=tuple(chunk.section),
            valid_from=Instant(period.valid_from),
            valid_to=Instant(period.valid_to),
            recorded_at=Instant(version.published_at),
            latest=latest,
        )
    return found


def boxes_from_json(boxes: list[list[float]]) -> tuple[Box, ...]:
    return tuple(Box(page=int(page), x0=x0, y0=y0, x1=x1, y1=y1) for page, x0, y0, x1, y1 in boxes)


def boxes_to_json(boxes: Iterable[Box]) -> list[list[float]]:
    return [[box.page, box.x0, box.y0, box.x1, box.y1] for box in boxes]


def _versions() -> _Loaded:
    return (
        select(VersionRow, DocumentRow, PeriodRow, BoundaryRow, _LATEST, _WITHDRAWN)
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .join(BoundaryRow, col(BoundaryRow.id) == col(VersionBoundaryRow.boundary_id))
        .where(col(VersionRow.number).is_not(None))
    )


def _loaded(session: Session, query: _Loaded) -> list[Version]:
    return [
        Version(
            id=VersionId(version.id or 0),
            document=Document(
                id=DocumentId(document.public_id),
                collection=document.collection,
                uri=document.uri,
                recorded_at=Instant(document.created_at),
            ),
            number=version.number or 0,
            title=version.title,
            media_type=version.media_type,
            size_bytes=version.size_bytes,
            digest=Digest(version.digest),
            text_digest=Digest(version.text_digest),
            parser=version.parser,
            source=source_from_json(version.source),
            attributes={name: tuple(values) for name, values in version.attributes.items()},
            findings=tuple(version.findings),
            recorded_at=Instant(version.published_at or 0),
            boundary_id=BoundaryId(boundary.id or 0),
            boundary=boundary_of(boundary),
            period=Period(
                ordinal=period.ordinal,
                valid_from=Instant(period.valid_from),
                valid_to=Instant(period.valid_to),
                review_by=Instant(period.review_by) if period.review_by is not None else None,
                recorded_from=Instant(period.recorded_from),
                recorded_to=Instant(period.recorded_to),
            ),
            withdrawn=withdrawn,
            superseded=not latest,
        )
        for version, document, period, boundary, latest, withdrawn in session.execute(query)
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
