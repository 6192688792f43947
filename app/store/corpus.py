"""Reading documents, versions, texts and chunks. Only published versions are ever returned."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, Text, and_, bindparam, case, cast, false, func, or_, select, true
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import Boundary, BoundaryId, PrincipalRef
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
from app.domain.errors import Unavailable
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Cause
from app.domain.redaction import Excerpt
from app.domain.windows import Part
from app.store.boundaries import AS_WRITTEN, boundary_as_written, boundary_of
from app.store.database import in_pieces, one_of
from app.store.metadata import causes_from_json, findings_from_json, source_from_json
from app.store.recorded import holds
from app.store.tables import (
    BoundaryRow,
    ChunkRow,
    DocumentRow,
    ElementRow,
    PeriodRow,
    SupersessionRow,
    TextRow,
    VersionBoundaryRow,
    VersionRow,
    WithdrawalRow,
)

_Columns = TypeVarTuple("_Columns")

_Other = aliased(VersionRow)
_OtherPeriod = aliased(PeriodRow)
_Today = aliased(PeriodRow, name="today")
"""The period that holds today; `PeriodRow` is the one that was known at the instant asked for."""

_LATER = (
    select(col(_Other.id))
    .where(col(_Other.document_id) == col(VersionRow.document_id), col(_Other.number) > col(VersionRow.number))
    .exists()
)
_BEGINS_LATER = (
    select(col(_Other.id))
    .join(_OtherPeriod, and_(col(_OtherPeriod.version_id) == col(_Other.id), holds(_OtherPeriod)))
    .where(
        col(_Other.document_id) == col(VersionRow.document_id),
        col(_OtherPeriod.valid_from) > col(_Today.valid_from),
    )
    .exists()
)
_REPLACED = (
    select(col(SupersessionRow.id))
    .where(col(SupersessionRow.document_id) == col(VersionRow.document_id), holds(SupersessionRow))
    .exists()
)
_LATEST = case((_LATER, false()), (col(PeriodRow.valid_to) == FOREVER, true()), else_=~_BEGINS_LATER & ~_REPLACED)
"""Lazily, the cheapest first: a document may have a thousand versions."""

_WITHDRAWN = (
    select(col(WithdrawalRow.id))
    .where(col(WithdrawalRow.version_id) == col(VersionRow.id), holds(WithdrawalRow))
    .exists()
)
_Loaded = Select[VersionRow, DocumentRow, PeriodRow, BoundaryRow, int, bool, bool, bool]


def versions_of(
    session: Session, document: DocumentId, *, valid_at: Instant = FOREVER, known_at: Instant | None = None
) -> list[Version]:
    """Every published version of a document, newest first; empty if there is none, or none was known then.

    With today's boundaries, and periods as held today or as was known at an instant. Whether one is superseded is
    judged at `valid_at`.
    """
    query = _versions(valid_at, known_at).where(col(DocumentRow.public_id) == document)
    return _loaded(session, query.order_by(col(VersionRow.number).desc()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """That a version lay in a boundary for a time: when we said so, who, and why."""

    number: int
    boundary: Boundary
    recorded_from: Instant
    recorded_to: Instant
    recorded_by: PrincipalRef
    causes: tuple[Cause, ...]
    reason: str | None


def boundary_history(session: Session, document: DocumentId) -> list[Bound]:
    """Every boundary that a published version of a document has lain in, latest first."""
    rows = session.execute(
        select(VersionBoundaryRow, BoundaryRow, col(VersionRow.number))
        .join(BoundaryRow, col(BoundaryRow.id) == col(VersionBoundaryRow.boundary_id))
        .join(VersionRow, col(VersionRow.id) == col(VersionBoundaryRow.version_id))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .where(col(DocumentRow.public_id) == document, col(VersionRow.number).is_not(None))
        .order_by(col(VersionBoundaryRow.recorded_from).desc(), col(VersionRow.number).desc())
    )
    return [
        Bound(
            number=number or 0,
            boundary=boundary_of(boundary),
            recorded_from=Instant(held.recorded_from),
            recorded_to=Instant(held.recorded_to),
            recorded_by=PrincipalRef(held.recorded_by),
            causes=causes_from_json(held.causes),
            reason=held.reason,
        )
        for held, boundary, number in rows
    ]


def boundaries_in(session: Session, collection: str) -> list[tuple[VersionId, str, BoundaryId]]:
    """Every published version of a collection with its uri and today's boundary."""
    rows = session.execute(
        select(col(VersionRow.id), col(DocumentRow.uri), col(VersionBoundaryRow.boundary_id))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .where(col(DocumentRow.collection) == collection, col(VersionRow.number).is_not(None))
        .order_by(col(VersionRow.id))
    )
    return [(VersionId(version or 0), uri, BoundaryId(boundary)) for version, uri, boundary in rows]


def latest_versions(
    session: Session,
    *,
    boundaries: Iterable[BoundaryId],
    collection: str | None,
    containing: str | None,
    after: tuple[str, str] | None,
    limit: int,
    valid_at: Instant = FOREVER,
    known_at: Instant | None = None,
) -> list[Version]:
    """Versions within these boundaries, newest of each document first, by (collection, uri); `after` is a place there.

    A document's versions may lie in several boundaries: every one of its versions within `boundaries` is returned, so
    a caller can pick the newest that it may show. `limit` counts documents. The two instants are as in `versions_of`.
    """
    within: list[ColumnElement[bool]] = [col(VersionBoundaryRow.boundary_id).in_(set(boundaries))]
    if collection is not None:
        within.append(col(DocumentRow.collection) == collection)
    if containing:
        within.append(_named(containing))
    if after is not None:
        name, uri = after
        within.append(
            (col(DocumentRow.collection) > name) | and_(col(DocumentRow.collection) == name, col(DocumentRow.uri) > uri)
        )
    query = _versions(valid_at, known_at).where(*within)
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


def _named(containing: str) -> ColumnElement[bool]:
    """Whether this is part of a document's title or uri."""
    pattern = f"%{_escaped(containing.lower())}%"
    return func.lower(col(VersionRow.title)).like(pattern, escape="\\") | func.lower(col(DocumentRow.uri)).like(
        pattern, escape="\\"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogued:
    """How a document in force is listed."""

    document: DocumentId
    collection: str
    uri: str
    title: str
    boundary_id: BoundaryId


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many documents in force are alike in all of this."""

    collection: str
    boundary_id: BoundaryId
    media_type: str
    attributes: Mapping[str, Sequence[str]]
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What is in force at an instant within boundaries: ahead of now, of those that are `curated` alone."""

    boundaries: frozenset[BoundaryId]
    curated: frozenset[BoundaryId]
    valid_at: Instant
    known_at: Instant | None
    now: Instant
    collection: str | None = None


def catalogued(
    session: Session, wanted: InForce, patterns: Iterable[Sequence[str]], *, first: str, limit: int
) -> list[Catalogued]:
    """Documents whose title or uri has, of each group of patterns, one: those whose title is like `first` before
    others, the shorter title first. Patterns are of LIKE, in lower case, with `\\` to escape."""
    title, uri = func.lower(col(VersionRow.title)), func.lower(col(DocumentRow.uri))
    within = [
        or_(*(text.like(pattern, escape="\\") for pattern in group for text in (title, uri))) for group in patterns
    ]
    starting = case((title.like(first, escape="\\"), 0), else_=1)
    rows = session.execute(
        _in_force(wanted)
        .with_only_columns(
            col(DocumentRow.public_id),
            col(DocumentRow.collection),
            col(DocumentRow.uri),
            col(VersionRow.title),
            col(VersionBoundaryRow.boundary_id),
        )
        .where(*within)
        .order_by(starting, func.length(col(VersionRow.title)), col(DocumentRow.collection), col(DocumentRow.uri))
        .limit(limit)
    )
    return [
        Catalogued(
            document=DocumentId(id), collection=collection, uri=uri, title=title, boundary_id=BoundaryId(boundary)
        )
        for id, collection, uri, title, boundary in rows
    ]


def tallies(session: Session, wanted: InForce, *, containing: str | None) -> list[Tally]:
    """What is in force, counted; with a part of its title or uri if one is given."""
    described = cast(col(VersionRow.attributes), Text)
    alike = (col(DocumentRow.collection), col(VersionBoundaryRow.boundary_id), col(VersionRow.media_type), described)
    query = _in_force(wanted).with_only_columns(*alike, func.count()).group_by(*alike)
    if containing:
        query = query.where(_named(containing))
    return [
        Tally(
            collection=collection,
            boundary_id=BoundaryId(boundary),
            media_type=media_type,
            attributes=json.loads(attributes),
            documents=documents,
        )
        for collection, boundary, media_type, attributes, documents in session.execute(query)
    ]


def _in_force(wanted: InForce) -> Select[VersionRow]:
    """INVARIANT: what `Lifecycle.CURRENT` means of a version, and what of it readers may see, in SQL."""
    within = [
        col(VersionRow.number).is_not(None),
        col(VersionBoundaryRow.boundary_id).in_(wanted.boundaries),
        col(PeriodRow.valid_from) <= wanted.valid_at,
        col(PeriodRow.valid_to) > wanted.valid_at,
        ~_WITHDRAWN,
        or_(col(_Today.valid_from) <= wanted.now, col(VersionBoundaryRow.boundary_id).in_(wanted.curated)),
    ]
    if wanted.collection is not None:
        within.append(col(DocumentRow.collection) == wanted.collection)
    return (
        select(VersionRow)
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow, wanted.known_at)))
        .join(_Today, and_(col(_Today.version_id) == col(VersionRow.id), holds(_Today)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .where(*within)
    )


def boundaries_due(
    session: Session, collection: str, *, now: Instant, until: Instant
) -> list[tuple[BoundaryId, Boundary]]:
    """The boundaries in which something of a collection is to be reviewed, as in `versions_due`."""
    query = (
        _versions(now, None)
        .where(*_due(collection, now, until))
        .with_only_columns(col(BoundaryRow.id))
        .order_by(None)
        .distinct()
    )
    rows = session.scalars(select(BoundaryRow).where(col(BoundaryRow.id).in_(query)).order_by(col(BoundaryRow.id)))
    return [(BoundaryId(row.id or 0), boundary_of(row)) for row in rows]


def versions_due(
    session: Session,
    collection: str,
    boundaries: Iterable[BoundaryId],
    *,
    now: Instant,
    until: Instant,
    after: tuple[Instant, str] | None,
    limit: int,
) -> list[Version]:
    """Versions in force within these boundaries that are to be reviewed by `until`, by (review date, uri)."""
    query = _versions(now, None).where(*_due(collection, now, until), col(BoundaryRow.id).in_(set(boundaries)))
    if after is not None:
        date, uri = after
        query = query.where(
            (col(PeriodRow.review_by) > date) | and_(col(PeriodRow.review_by) == date, col(DocumentRow.uri) > uri)
        )
    return _loaded(session, query.order_by(col(PeriodRow.review_by), col(DocumentRow.uri)).limit(limit))


def _due(collection: str, now: Instant, until: Instant) -> tuple[ColumnElement[bool], ...]:
    return (
        col(DocumentRow.collection) == collection,
        col(PeriodRow.review_by) <= until,
        col(PeriodRow.valid_from) <= now,
        col(PeriodRow.valid_to) > now,
        ~_WITHDRAWN,
    )


def collections_within(session: Session, boundaries: Iterable[BoundaryId], *, now: Instant) -> frozenset[str]:
    """The collections in which a version that is in force now lies within these boundaries."""
    query = (
        select(col(DocumentRow.collection))
        .distinct()
        .join(VersionRow, col(VersionRow.document_id) == col(DocumentRow.id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .where(
            col(VersionBoundaryRow.boundary_id).in_(set(boundaries)),
            ~_WITHDRAWN,
            col(PeriodRow.valid_from) <= now,
            col(PeriodRow.valid_to) > now,
        )
    )
    return frozenset(session.scalars(query))


def boundaries_of(session: Session, documents: Sequence[DocumentId]) -> list[tuple[DocumentId, BoundaryId, Boundary]]:
    """Today's boundaries of the published versions of these documents, each once a document."""
    pairs: list[tuple[str, int]] = []
    for some in in_pieces(documents):
        lying = (
            select(col(DocumentRow.public_id), col(VersionBoundaryRow.boundary_id))
            .distinct()
            .join(VersionRow, col(VersionRow.document_id) == col(DocumentRow.id))
            .join(
                VersionBoundaryRow,
                and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
            )
            .where(col(DocumentRow.public_id).in_(some), col(VersionRow.number).is_not(None))
        )
        pairs += [(document, id) for document, id in session.execute(lying)]
    known: dict[int | None, Boundary] = {}
    for these in in_pieces({id for _, id in pairs}):
        rows = session.scalars(select(BoundaryRow).where(col(BoundaryRow.id).in_(these)))
        known |= {row.id: boundary_of(row) for row in rows}
    return [(DocumentId(document), BoundaryId(id), known[id]) for document, id in pairs]


def in_force(now: Instant) -> ColumnElement[bool]:
    """Of a query that joins `VersionRow` and today's `PeriodRow`: what is published, not withdrawn, and valid now."""
    return and_(
        col(VersionRow.number).is_not(None),
        ~_WITHDRAWN,
        col(PeriodRow.valid_from) <= now,
        col(PeriodRow.valid_to) > now,
    )


def documents_in_force(session: Session, *, now: Instant) -> dict[BoundaryId, int]:
    """Every boundary in which a version in force lies, and how many documents have theirs in it."""
    counted = _lying_in_force(select(col(VersionBoundaryRow.boundary_id), func.count()), now)
    rows = session.execute(counted.group_by(col(VersionBoundaryRow.boundary_id)))
    return {BoundaryId(boundary): documents for boundary, documents in rows}


def ids_in_force(
    session: Session, boundaries: Iterable[BoundaryId], *, now: Instant
) -> dict[BoundaryId, list[DocumentId]]:
    """The documents whose version in force lies in these boundaries, by id."""
    found: dict[BoundaryId, list[DocumentId]] = {}
    for some in in_pieces(boundaries):
        lying = _lying_in_force(select(col(VersionBoundaryRow.boundary_id), col(DocumentRow.public_id)), now)
        of_these = lying.where(col(VersionBoundaryRow.boundary_id).in_(some)).order_by(col(DocumentRow.public_id))
        for boundary, document in session.execute(of_these):
            found.setdefault(BoundaryId(boundary), []).append(DocumentId(document))
    return found


def boundaries_of_versions(
    session: Session, versions: Iterable[tuple[DocumentId, int]]
) -> dict[tuple[DocumentId, int], BoundaryId]:
    """Today's boundary of each of these published versions, named by document and number, that is not withdrawn."""
    wanted = set(versions)
    found: dict[tuple[DocumentId, int], BoundaryId] = {}
    for some in in_pieces({document for document, _ in wanted}):
        rows = session.execute(
            select(col(DocumentRow.public_id), col(VersionRow.number), col(VersionBoundaryRow.boundary_id))
            .join(VersionRow, col(VersionRow.document_id) == col(DocumentRow.id))
            .join(
                VersionBoundaryRow,
                and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
            )
            .where(col(DocumentRow.public_id).in_(some), col(VersionRow.number).is_not(None), ~_WITHDRAWN)
        )
        for document, number, boundary in rows:
            found[(DocumentId(document), number or 0)] = BoundaryId(boundary)
    return {version: boundary for version, boundary in found.items() if version in wanted}


def _lying_in_force(query: Select[*_Columns], now: Instant) -> Select[*_Columns]:
    """A query about documents and boundaries, of the versions that are in force."""
    return (
        query.select_from(VersionRow)
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .where(in_force(now))
    )


def versions_by_id(session: Session, ids: Iterable[VersionId]) -> dict[VersionId, Version]:
    """These versions, as far as they are published, with today's boundary and period."""
    query = _versions(FOREVER, None).where(col(VersionRow.id).in_(list(ids)))
    return {version.id: version for version in _loaded(session, query)}


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
    asked = {"chunks": list(chunks), "valid_at": valid_at, "known_at": known_at}
    connection = session.connection()
    found = [_stored_chunk(row) for row in connection.execute(_stored_chunks(connection.dialect.name), asked).all()]
    by_id = {chunk.id: chunk for chunk in found}
    if len(by_id) != len(found):  # INVARIANT: one boundary and one period hold at a time, or nothing is shown
        raise Unavailable("What is recorded of a document contradicts itself, so it is not shown. Tell its owner.")
    return by_id


def surroundings(session: Session, chunks: Sequence[ChunkId], *, chars: int) -> dict[ChunkId, Excerpt]:
    """The text of each chunk with so much of what is before and after it. One query."""
    start = case((col(ChunkRow.start) > chars, col(ChunkRow.start) - chars), else_=0).label("start")
    rows = session.execute(
        select(col(ChunkRow.id), start, func.substr(col(TextRow.text), start + 1, col(ChunkRow.end) + chars - start))
        .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
        .join(TextRow, col(TextRow.digest) == col(VersionRow.text_digest))
        .where(col(ChunkRow.id).in_(chunks))
    )
    return {ChunkId(id): Excerpt(text=text, start=start) for id, start, text in rows}


_Anchor = aliased(ChunkRow, name="anchor")


def neighbours(session: Session, chunks: Sequence[ChunkId], *, within: int, chars: int) -> list[Part]:
    """These chunks and those up to `within` places before and after them in their versions, in no particular order.

    Each once, with so much of the text before and after it. One query.
    """
    start = case((col(ChunkRow.start) > chars, col(ChunkRow.start) - chars), else_=0).label("around_start")
    near = (
        select(col(_Anchor.id))
        .where(
            col(_Anchor.id).in_(chunks),
            col(_Anchor.version_id) == col(ChunkRow.version_id),
            col(_Anchor.ordinal) >= col(ChunkRow.ordinal) - within,
            col(_Anchor.ordinal) <= col(ChunkRow.ordinal) + within,
        )
        .exists()
    )
    of_these = select(col(_Anchor.version_id)).where(col(_Anchor.id).in_(chunks))
    rows = session.execute(
        select(ChunkRow, start, func.substr(col(TextRow.text), start + 1, col(ChunkRow.end) + chars - start))
        .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
        .join(TextRow, col(TextRow.digest) == col(VersionRow.text_digest))
        .where(col(ChunkRow.version_id).in_(of_these), near)
    )
    return [
        Part(
            chunk=ChunkId(row.id or 0),
            version=VersionId(row.version_id),
            ordinal=row.ordinal,
            tokens=row.tokens,
            span=Span(start=row.start, end=row.end),
            digest=Digest(row.digest),
            page=row.page,
            boxes=boxes_from_json(row.boxes),
            section=tuple(row.section),
            around=Excerpt(text=text, start=start),
        )
        for row, start, text in rows
    ]


@cache
def _stored_chunks(dialect: str) -> Select[*tuple[Any, ...]]:
    """Made once, and columns rather than rows as objects: it is on every question's path."""
    return (
        select(
            col(ChunkRow.id),
            col(ChunkRow.version_id),
            col(ChunkRow.start),
            col(ChunkRow.end),
            func.substr(col(TextRow.text), col(ChunkRow.start) + 1, col(ChunkRow.end) - col(ChunkRow.start)),
            col(ChunkRow.digest),
            col(ChunkRow.tokens),
            col(ChunkRow.page),
            cast(col(ChunkRow.boxes), Text),
            cast(col(ChunkRow.section), Text),
            col(DocumentRow.public_id),
            col(DocumentRow.collection),
            col(DocumentRow.uri),
            col(VersionRow.title),
            col(VersionRow.number),
            col(VersionRow.digest),
            col(VersionRow.published_at),
            _LATEST,
            col(PeriodRow.valid_from),
            col(PeriodRow.valid_to),
            col(PeriodRow.review_by),
            col(_Today.valid_from),
            col(BoundaryRow.id),
            *AS_WRITTEN,
        )
        .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
        .join(TextRow, col(TextRow.digest) == col(VersionRow.text_digest))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(
            PeriodRow,
            and_(
                col(PeriodRow.version_id) == col(VersionRow.id),
                col(PeriodRow.recorded_from) <= bindparam("known_at"),
                col(PeriodRow.recorded_to) > bindparam("known_at"),
            ),
        )
        .join(_Today, and_(col(_Today.version_id) == col(VersionRow.id), holds(_Today)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .join(BoundaryRow, col(BoundaryRow.id) == col(VersionBoundaryRow.boundary_id))
        .where(
            one_of(col(ChunkRow.id), "chunks", dialect),
            col(VersionRow.number).is_not(None),
            ~_WITHDRAWN,
            col(PeriodRow.valid_from) <= bindparam("valid_at"),
            col(PeriodRow.valid_to) > bindparam("valid_at"),
        )
    )


def _stored_chunk(row: Row[*tuple[Any, ...]]) -> StoredChunk:
    """A row of `_stored_chunks`, by position: by name each of its columns is looked up, twice the time of the rest."""
    (
        id,
        version,
        start,
        end,
        text,
        digest,
        tokens,
        page,
        boxes,
        section,
        document,
        collection,
        uri,
        title,
        number,
        version_digest,
        published_at,
        latest,
        valid_from,
        valid_to,
        review_by,
        begins,
        boundary,
        *boundary_written,
    ) = row
    return StoredChunk(
        id=ChunkId(id),
        version_id=VersionId(version),
        document=DocumentId(document),
        collection=collection,
        uri=uri,
        title=title,
        number=number,
        version_digest=Digest(version_digest),
        boundary_id=BoundaryId(boundary),
        boundary=boundary_as_written(tuple(boundary_written)),
        span=Span(start=start, end=end),
        text=text,
        digest=Digest(digest),
        tokens=tokens,
        page=page,
        boxes=boxes_from_json(json.loads(boxes)),
        section=tuple(json.loads(section)),
        valid_from=Instant(valid_from),
        valid_to=Instant(valid_to),
        begins=Instant(begins),
        review_by=Instant(review_by) if review_by is not None else None,
        recorded_at=Instant(published_at),
        latest=latest,
    )


def boxes_from_json(boxes: list[list[float]]) -> tuple[Box, ...]:
    return tuple(Box(page=int(page), x0=x0, y0=y0, x1=x1, y1=y1) for page, x0, y0, x1, y1 in boxes)


def boxes_to_json(boxes: Iterable[Box]) -> list[list[float]]:
    return [[box.page, box.x0, box.y0, box.x1, box.y1] for box in boxes]


def _versions(valid_at: Instant, known_at: Instant | None) -> _Loaded:
    return (
        select(
            VersionRow,
            DocumentRow,
            PeriodRow,
            BoundaryRow,
            col(_Today.valid_from),
            _LATEST,
            _WITHDRAWN,
            _superseded(valid_at, known_at),
        )
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow, known_at)))
        .join(_Today, and_(col(_Today.version_id) == col(VersionRow.id), holds(_Today)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .join(BoundaryRow, col(BoundaryRow.id) == col(VersionBoundaryRow.boundary_id))
        .where(col(VersionRow.number).is_not(None))
    )


def _superseded(valid_at: Instant, known_at: Instant | None) -> ColumnElement[bool]:
    """Whether something took a version's place by then: a version that was published later, or that begins where it
    ends or after, in whatever order they were put in; or another document. One that has not begun takes no place."""
    begun = (
        select(col(_Other.id))
        .join(_OtherPeriod, and_(col(_OtherPeriod.version_id) == col(_Other.id), holds(_OtherPeriod, known_at)))
        .where(
            col(_Other.document_id) == col(VersionRow.document_id),
            col(_Other.number).is_not(None),
            col(_OtherPeriod.valid_from) < col(_OtherPeriod.valid_to),
            col(_OtherPeriod.valid_from) <= valid_at,
        )
    )
    replaced = select(col(SupersessionRow.id)).where(
        col(SupersessionRow.document_id) == col(VersionRow.document_id),
        holds(SupersessionRow, known_at),
        col(SupersessionRow.valid_from) <= valid_at,
    )
    later = begun.where(col(_Other.number) > col(VersionRow.number)).exists()
    following = begun.where(col(_OtherPeriod.valid_from) >= col(PeriodRow.valid_to)).exists()
    return case((later, true()), (following, true()), else_=replaced.exists())


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
            findings=findings_from_json(version.findings),
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
            begins=Instant(begins),
            withdrawn=withdrawn,
            superseded=superseded,
            latest=latest,
        )
        for version, document, period, boundary, begins, latest, withdrawn, superseded in session.execute(query)
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
