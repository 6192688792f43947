"""Putting versions in: staged where nobody sees them, published whole in one recording, corrected by closing rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import BoundaryId, PrincipalRef
from app.domain.corpus import (
    Chunk,
    ChunkId,
    Digest,
    DocumentId,
    Finding,
    Metadata,
    Parsed,
    Version,
    VersionId,
    curtailed,
    embedded_text,
    text_digest,
)
from app.domain.errors import Conflict
from app.domain.evidence import PERIODS_PER_VERSION, Placement, Vector, point_of
from app.domain.instants import BEGINNING, FOREVER, Instant
from app.domain.jobs import JobId
from app.store.corpus import boxes_to_json
from app.store.database import insert_absent
from app.store.jobs import Submission
from app.store.metadata import findings_from_json, findings_to_json, source_to_json
from app.store.recorded import holds, replace_state
from app.store.tables import (
    ChunkRow,
    DocumentRow,
    ElementRow,
    EmbeddingRow,
    IndexTaskRow,
    PeriodRow,
    TextRow,
    VersionBoundaryRow,
    VersionRow,
    WithdrawalRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedChunk:
    """A chunk with the text as it is embedded and the digest that its vector is cached by."""

    chunk: Chunk
    digest: Digest
    embedded_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedChunk:
    """A chunk as the index is told of it: its text with context, and its vector if one is cached."""

    id: ChunkId
    text: str
    title: str
    section: tuple[str, ...]
    vector: Vector | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobVersion:
    """The version that a job made; without a number it is staged."""

    id: VersionId
    number: int | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest published version of a document, as far as a new submission is held against it."""

    number: int
    digest: Digest
    metadata_digest: str


def document_row(session: Session, *, collection: str, uri: str) -> tuple[int, DocumentId] | None:
    row = session.execute(
        select(col(DocumentRow.id), col(DocumentRow.public_id)).where(
            col(DocumentRow.collection) == collection, col(DocumentRow.uri) == uri
        )
    ).first()
    return (row.id, DocumentId(row.public_id)) if row else None


def collection_of(session: Session, document: DocumentId) -> str | None:
    return session.scalars(select(col(DocumentRow.collection)).where(col(DocumentRow.public_id) == document)).first()


def add_document(session: Session, *, id: DocumentId, collection: str, uri: str, at: Instant) -> int:
    """A document without versions; returns its row."""
    row = DocumentRow(public_id=id, collection=collection, uri=uri, created_at=at)
    session.add(row)
    session.flush()
    assert row.id is not None
    return row.id


def withdraw(session: Session, version: VersionId, *, reason: str, at: Instant, by: PrincipalRef) -> None:
    """Leave a version to its owners from `at` on."""
    row = WithdrawalRow(version_id=version, reason=reason, recorded_from=at, recorded_to=FOREVER, recorded_by=by)
    replace_state(session, row, col(WithdrawalRow.version_id) == version, at=at)
    session.add(IndexTaskRow(version_id=version, whole=False))


def latest(session: Session, document: int) -> Latest | None:
    """The newest published version of a document, unless it was withdrawn."""
    row = session.execute(
        select(col(VersionRow.id), col(VersionRow.number), col(VersionRow.digest), col(VersionRow.metadata_digest))
        .where(col(VersionRow.document_id) == document, col(VersionRow.number).is_not(None))
        .order_by(col(VersionRow.number).desc())
        .limit(1)
    ).first()
    if row is None or _withdrawn(session, VersionId(row.id)):
        return None
    return Latest(number=row.number, digest=Digest(row.digest), metadata_digest=row.metadata_digest)


def stage(
    session: Session,
    submission: Submission,
    parsed: Parsed,
    chunks: Sequence[StagedChunk],
    *,
    title: str,
    media_type: str,
    size_bytes: int,
) -> None:
    """Store a version with its text, elements and chunks where nobody sees it. What the same job staged is replaced."""
    unstage(session, submission.job)
    digest = text_digest(parsed.text)
    _keep_text(session, digest, parsed.text)
    row = VersionRow(
        document_id=submission.document_row,
        job_id=submission.job,
        number=None,
        published_at=None,
        title=title,
        media_type=media_type,
        size_bytes=size_bytes,
        digest=submission.blob,
        metadata_digest=submission.metadata_digest,
        text_digest=digest,
        parser=parsed.parser,
        source=source_to_json(submission.metadata.source),
        attributes={name: list(values) for name, values in submission.metadata.attributes.items()},
        findings=findings_to_json(parsed.findings),
    )
    session.add(row)
    session.flush()
    version = row.id or 0
    session.bulk_save_objects(
        [
            ElementRow(
                version_id=version,
                ordinal=ordinal,
                kind=element.kind,
                start=element.span.start,
                end=element.span.end,
                page=element.page,
                boxes=boxes_to_json(element.boxes),
                section=list(element.section),
            )
            for ordinal, element in enumerate(parsed.elements)
        ]
    )
    session.bulk_save_objects(
        [
            ChunkRow(
                version_id=version,
                ordinal=ordinal,
                start=staged.chunk.span.start,
                end=staged.chunk.span.end,
                tokens=staged.chunk.tokens,
                digest=staged.digest,
                embedded_digest=staged.embedded_digest,
                page=staged.chunk.page,
                boxes=boxes_to_json(staged.chunk.boxes),
                section=list(staged.chunk.section),
            )
            for ordinal, staged in enumerate(chunks)
        ]
    )


def _keep_text(session: Session, digest: Digest, text: str) -> None:
    """Have a text there until this transaction ends: one that only an erased version had may be going just now."""
    held = select(col(TextRow.digest)).where(col(TextRow.digest) == digest).with_for_update(read=True, key_share=True)
    while session.execute(held).first() is None:
        insert_absent(session, TextRow, [{"digest": digest, "text": text}])


def unstage(session: Session, job: JobId) -> None:
    """Forget what a job staged and did not publish."""
    staged = select(col(VersionRow.id)).where(col(VersionRow.job_id) == job, col(VersionRow.number).is_(None))
    for table in (ElementRow, ChunkRow, IndexTaskRow):
        session.execute(delete(table).where(col(table.version_id).in_(staged)))
    session.execute(delete(VersionRow).where(col(VersionRow.job_id) == job, col(VersionRow.number).is_(None)))


def version_of_job(session: Session, job: JobId) -> JobVersion | None:
    """The version that a job staged, with its number once published."""
    row = session.execute(
        select(col(VersionRow.id), col(VersionRow.number), col(VersionRow.findings)).where(
            col(VersionRow.job_id) == job
        )
    ).first()
    return (
        JobVersion(id=VersionId(row.id), number=row.number, findings=findings_from_json(row.findings)) if row else None
    )


def unpublished(session: Session, ids: Sequence[JobId]) -> dict[JobId, VersionId]:
    """What these jobs have staged and not published."""
    rows = session.execute(
        select(col(VersionRow.job_id), col(VersionRow.id)).where(
            col(VersionRow.job_id).in_(list(ids)), col(VersionRow.number).is_(None)
        )
    )
    return {JobId(job): VersionId(id or 0) for job, id in rows}


def staged_jobs(session: Session, ids: Sequence[JobId]) -> frozenset[JobId]:
    """Those of these jobs that have staged or published their version."""
    rows = session.scalars(select(col(VersionRow.job_id)).where(col(VersionRow.job_id).in_(list(ids))))
    return frozenset(JobId(job) for job in rows)


def versions_beside(session: Session, document: int) -> list[VersionId]:
    """Every published version of a document."""
    rows = session.scalars(
        select(col(VersionRow.id)).where(col(VersionRow.document_id) == document, col(VersionRow.number).is_not(None))
    )
    return [VersionId(id or 0) for id in rows]


def publish(session: Session, version: VersionId, submission: Submission, boundary: BoundaryId, *, at: Instant) -> int:
    """Give a staged version its number, boundary and period, in the place of what it supersedes; returns the number.

    The index is told by tasks that are written in the same transaction.
    """
    row = session.get_one(VersionRow, version)
    newest = session.execute(
        select(func.max(col(VersionRow.number))).where(col(VersionRow.document_id) == row.document_id)
    ).scalar_one()
    metadata, by = submission.metadata, submission.submitted_by
    row.number, row.published_at, row.metadata_digest = (newest or 0) + 1, at, submission.metadata_digest
    session.add(row)
    valid = _validity(metadata, at)
    _supersede(session, row.document_id, valid, at=at, by=by)
    session.add(
        VersionBoundaryRow(
            version_id=version, boundary_id=boundary, recorded_from=at, recorded_to=FOREVER, recorded_by=by
        )
    )
    session.add(_period(version, 0, valid, metadata.review_by, at=at, by=by))
    session.add(IndexTaskRow(version_id=version, whole=False))
    session.flush()
    return row.number


def correct_newest(
    session: Session,
    newest: Version,
    valid: tuple[Instant, Instant],
    review_by: Instant | None,
    *,
    at: Instant,
    by: PrincipalRef,
) -> None:
    """As `correct_period`, of a document's newest version, which supersedes the others wherever it is then valid."""
    correct_period(session, newest.id, valid, review_by, at=at, by=by)
    document = session.execute(select(col(VersionRow.document_id)).where(col(VersionRow.id) == newest.id)).scalar_one()
    _supersede(session, document, valid, at=at, by=by, by_version=newest.id)


def correct_period(
    session: Session,
    version: VersionId,
    valid: tuple[Instant, Instant],
    review_by: Instant | None,
    *,
    at: Instant,
    by: PrincipalRef,
) -> None:
    """Hold from now on that a version was valid then; what we held before stays in recorded time."""
    old = session.scalars(select(PeriodRow).where(col(PeriodRow.version_id) == version, holds(PeriodRow))).one()
    if (old.valid_from, old.valid_to, old.review_by) == (*valid, review_by):
        return
    if old.ordinal + 1 >= PERIODS_PER_VERSION:
        raise Conflict("The validity of this version was corrected too often. Submit the document as a new version.")
    replace_state(
        session,
        _period(version, old.ordinal + 1, valid, review_by, at=at, by=by),
        col(PeriodRow.version_id) == version,
        at=at,
    )
    session.add(IndexTaskRow(version_id=version, whole=True))


def move_boundary(session: Session, version: VersionId, boundary: BoundaryId, *, at: Instant, by: PrincipalRef) -> bool:
    """Let another boundary hold for a version from `at` on; False if it already does, or the version was erased.

    INVARIANT: only `publish` gives a version its first boundary, so that one which lost it to an erasure gets none.
    """
    row = VersionBoundaryRow(
        version_id=version, boundary_id=boundary, recorded_from=at, recorded_to=FOREVER, recorded_by=by
    )
    today = session.scalars(
        select(col(VersionBoundaryRow.boundary_id)).where(
            col(VersionBoundaryRow.version_id) == version, holds(VersionBoundaryRow)
        )
    ).first()
    if today in (None, boundary):
        return False
    replace_state(session, row, col(VersionBoundaryRow.version_id) == version, at=at)
    session.add(IndexTaskRow(version_id=version, whole=False))
    return True


def indexed_chunks(session: Session, versions: Sequence[VersionId], fingerprint: str) -> list[IndexedChunk]:
    """The chunks of these versions in order, each with its vector if this model has embedded its text before.

    Each text is read once and cut here: a database that cuts it reads the whole of it for every chunk.
    """
    originals = session.execute(
        select(col(VersionRow.id), col(TextRow.text))
        .join(TextRow, col(TextRow.digest) == col(VersionRow.text_digest))
        .where(col(VersionRow.id).in_(list(versions)))
    )
    texts = {version: text for version, text in originals}  # noqa: C416 (rows are no pairs to dict)
    rows = session.execute(
        select(
            col(ChunkRow.id),
            col(ChunkRow.version_id),
            col(ChunkRow.start),
            col(ChunkRow.end),
            col(VersionRow.title),
            col(ChunkRow.section),
            col(EmbeddingRow.vector),
        )
        .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
        .outerjoin(
            EmbeddingRow,
            (col(EmbeddingRow.digest) == col(ChunkRow.embedded_digest))
            & (col(EmbeddingRow.fingerprint) == fingerprint),
        )
        .where(col(ChunkRow.version_id).in_(list(versions)))
        .order_by(col(ChunkRow.id))
    )
    return [
        IndexedChunk(
            id=ChunkId(id or 0),
            text=texts[version][start:end],
            title=title,
            section=tuple(section),
            vector=Vector(vector) if vector is not None else None,
        )
        for id, version, start, end, title, section, vector in rows
    ]


def unembedded(session: Session, versions: Sequence[VersionId], fingerprint: str) -> dict[Digest, str]:
    """The texts of these versions' chunks, with their context, that this model has not embedded yet; each once."""
    chunks = indexed_chunks(session, versions, fingerprint)
    texts = [embedded_text(chunk.title, chunk.section, chunk.text) for chunk in chunks if chunk.vector is None]
    return {text_digest(text): text for text in texts}


def add_embeddings(session: Session, vectors: Mapping[Digest, Vector], fingerprint: str) -> None:
    """Cache vectors; those that are there already are left."""
    rows = [
        {"digest": digest, "fingerprint": fingerprint, "vector": vector} for digest, vector in sorted(vectors.items())
    ]
    insert_absent(session, EmbeddingRow, rows)


def placements(session: Session, version: VersionId) -> list[Placement]:
    """Where the index should hold the points of a version: every chunk in every period, in today's boundary.

    A version that is staged has points that no instant reaches, and one that is withdrawn likewise: they are there,
    with their vectors, and cannot be found.
    """
    row = session.execute(
        select(VersionRow, col(VersionBoundaryRow.boundary_id))
        .outerjoin(
            VersionBoundaryRow,
            (col(VersionBoundaryRow.version_id) == col(VersionRow.id)) & holds(VersionBoundaryRow),
        )
        .where(col(VersionRow.id) == version)
    ).first()
    if row is None:
        return []
    stored, boundary = row
    if boundary is None and stored.number is not None:
        return []  # it is being erased, or is
    periods = session.execute(
        select(
            col(PeriodRow.ordinal),
            col(PeriodRow.valid_from),
            col(PeriodRow.valid_to),
            col(PeriodRow.recorded_from),
            col(PeriodRow.recorded_to),
        ).where(col(PeriodRow.version_id) == version)
    ).all()
    times = [tuple(period) for period in periods] or [(0, *_NEVER)]
    if _withdrawn(session, version):
        times = [(ordinal, *_NEVER) for ordinal, *_ in times]
    facets = tuple(
        f"attributes.{name}={value}" for name, values in sorted(stored.attributes.items()) for value in values
    )
    chunks = session.scalars(
        select(col(ChunkRow.id)).where(col(ChunkRow.version_id) == version).order_by(col(ChunkRow.id))
    )
    return [
        Placement(
            point=point_of(ChunkId(chunk), ordinal),
            boundary=BoundaryId(boundary if boundary is not None else NO_BOUNDARY),
            valid_from=Instant(valid_from),
            valid_to=Instant(valid_to),
            recorded_from=Instant(recorded_from),
            recorded_to=Instant(recorded_to),
            facets=facets,
        )
        for chunk in chunks
        if chunk is not None
        for ordinal, valid_from, valid_to, recorded_from, recorded_to in times
    ]


_NEVER = (FOREVER, FOREVER, FOREVER, FOREVER)
NO_BOUNDARY = BoundaryId(0)
"""Of a version that is staged: no row has this id, so no reach holds it."""


def index_tasks(session: Session, *, limit: int) -> list[tuple[int, VersionId, bool]]:
    """What the index has yet to be told, oldest first: (task, version, vectors too)."""
    rows = session.execute(
        select(col(IndexTaskRow.id), col(IndexTaskRow.version_id), col(IndexTaskRow.whole))
        .order_by(col(IndexTaskRow.id))
        .limit(limit)
    )
    return [(int(id or 0), VersionId(version), whole) for id, version, whole in rows]


def index_tasks_of(session: Session, versions: Sequence[VersionId]) -> list[tuple[int, VersionId, bool]]:
    """As `index_tasks`, of these versions."""
    rows = session.execute(
        select(col(IndexTaskRow.id), col(IndexTaskRow.version_id), col(IndexTaskRow.whole))
        .where(col(IndexTaskRow.version_id).in_(list(versions)))
        .order_by(col(IndexTaskRow.id))
    )
    return [(int(id or 0), VersionId(version), whole) for id, version, whole in rows]


def remove_index_tasks(session: Session, ids: Sequence[int]) -> None:
    session.execute(delete(IndexTaskRow).where(col(IndexTaskRow.id).in_(list(ids))))


def published_chunks(session: Session) -> int:
    """The least that an index holds: a point for each. While versions are corrected, staged or erased, it holds more.

    A version that is being erased has no boundary that holds any more, and the index may have forgotten it.
    """
    published = (
        select(func.count())
        .select_from(ChunkRow)
        .join(VersionRow)
        .join(
            VersionBoundaryRow,
            (col(VersionBoundaryRow.version_id) == col(VersionRow.id)) & holds(VersionBoundaryRow),
        )
        .where(col(VersionRow.number).is_not(None))
    )
    return session.execute(published).scalar_one()


def replace_index_tasks_by_all(session: Session) -> None:
    """Have the index told of every version anew, vectors too; the newest first, as they are asked for most."""
    session.execute(delete(IndexTaskRow))
    versions = session.scalars(select(col(VersionRow.id)).order_by(col(VersionRow.id).desc()))
    session.add_all([IndexTaskRow(version_id=version, whole=True) for version in versions if version is not None])


def renew_index_tasks(session: Session, ids: Sequence[int], wanted: Mapping[VersionId, bool]) -> None:
    """Put new tasks in the place of these: one for each version, whether vectors are wanted too."""
    remove_index_tasks(session, ids)
    session.add_all([IndexTaskRow(version_id=version, whole=whole) for version, whole in wanted.items()])


def _validity(metadata: Metadata, at: Instant) -> tuple[Instant, Instant]:
    """When a version is valid: from now on, unless stated; one that is said to have ended began at some time."""
    valid_to = FOREVER if metadata.valid_to is None else metadata.valid_to
    if metadata.valid_from is not None:
        return metadata.valid_from, valid_to
    return (at if at < valid_to else BEGINNING), valid_to


def _supersede(
    session: Session,
    document: int,
    by_period: tuple[Instant, Instant],
    *,
    at: Instant,
    by: PrincipalRef,
    by_version: VersionId | None = None,
) -> None:
    """Leave to the other versions of a document what `by_period`, of `by_version` if it is recorded, does not take."""
    periods = session.scalars(
        select(PeriodRow)
        .join(VersionRow, col(VersionRow.id) == col(PeriodRow.version_id))
        .where(col(VersionRow.document_id) == document, holds(PeriodRow))
    ).all()
    for period in periods:
        if period.version_id == by_version:
            continue
        left = curtailed(Instant(period.valid_from), Instant(period.valid_to), by=by_period)
        if left is not None:
            review_by = Instant(period.review_by) if period.review_by is not None else None
            correct_period(session, VersionId(period.version_id), left, review_by, at=at, by=by)


def _withdrawn(session: Session, version: VersionId) -> bool:
    held = select(col(WithdrawalRow.id)).where(col(WithdrawalRow.version_id) == version, holds(WithdrawalRow))
    return session.execute(held).first() is not None


def _period(
    version: VersionId,
    ordinal: int,
    valid: tuple[Instant, Instant],
    review_by: Instant | None,
    *,
    at: Instant,
    by: PrincipalRef,
) -> PeriodRow:
    return PeriodRow(
        version_id=version,
        ordinal=ordinal,
        valid_from=valid[0],
        valid_to=valid[1],
        review_by=review_by,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
