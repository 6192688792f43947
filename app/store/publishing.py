"""Putting versions in: staged where nobody sees them, published whole in one recording, corrected by closing rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, delete, exists, func, insert, join, literal, or_, select, true
from sqlalchemy.orm import Session, aliased
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
    Period,
    RecordedPeriod,
    Version,
    VersionId,
    curtailed,
    embedded_text,
    text_digest,
)
from app.domain.demands import facets_of
from app.domain.errors import Conflict
from app.domain.evidence import PERIODS_PER_VERSION, Placement, Vector, point_of
from app.domain.generations import FIRST, GenerationId, GenerationState
from app.domain.instants import BEGINNING, FOREVER, Instant, days_after
from app.domain.jobs import JobId
from app.domain.labels import Cause, Label
from app.store.boundaries import boundary_of
from app.store.corpus import boxes_to_json
from app.store.database import in_pieces, insert_absent
from app.store.jobs import Submission
from app.store.metadata import causes_to_json, findings_from_json, findings_to_json, source_to_json
from app.store.recorded import close, holds, replace_state
from app.store.tables import (
    AttachmentRow,
    BoundaryRow,
    ChunkRow,
    DocumentRow,
    ElementRow,
    EmbeddingRow,
    GenerationRow,
    IndexTaskRow,
    JobRow,
    PeriodRow,
    TextRow,
    TransformationRow,
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
class StagedAttachment:
    """What came with a mail, its bytes in the blob store."""

    name: str
    media_type: str | None
    digest: Digest


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
    detected: frozenset[str]
    """Categories that its text proposes."""


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
    _tell(session, [version], whole=False)


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
    attachments: Sequence[StagedAttachment] = (),
    detected: Iterable[str] = (),
) -> VersionId:
    """Store a version with its text, elements and chunks where nobody sees it. What the same job staged is replaced.

    `detected` are the categories that its text proposes.
    """
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
        detected=sorted(detected),
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
    session.add_all(
        [
            AttachmentRow(
                version_id=version,
                ordinal=ordinal,
                name=each.name,
                media_type=each.media_type,
                digest=each.digest,
            )
            for ordinal, each in enumerate(attachments, start=1)
        ]
    )
    return VersionId(version)


def _keep_text(session: Session, digest: Digest, text: str) -> None:
    """Have a text there until this transaction ends: one that only an erased version had may be going just now."""
    held = select(col(TextRow.digest)).where(col(TextRow.digest) == digest).with_for_update(read=True, key_share=True)
    while session.execute(held).first() is None:
        insert_absent(session, TextRow, [{"digest": digest, "text": text}])


def unstage(session: Session, job: JobId) -> None:
    """Forget what a job staged and did not publish."""
    staged = select(col(VersionRow.id)).where(col(VersionRow.job_id) == job, col(VersionRow.number).is_(None))
    _forget(session, list(session.scalars(staged)))


def _forget(session: Session, ids: Sequence[int | None]) -> None:
    if not ids:
        return
    for table in (ElementRow, ChunkRow, AttachmentRow, TransformationRow, IndexTaskRow):
        session.execute(delete(table).where(col(table.version_id).in_(ids)))
    session.execute(delete(VersionRow).where(col(VersionRow.id).in_(ids)))


def left_behind(session: Session, job: JobId | None = None, *, limit: int) -> list[VersionId]:
    """Versions that are staged, though the job that staged them is over: of one job, or of any."""
    over = exists().where(
        col(JobRow.id) == col(VersionRow.job_id), col(JobRow.state).in_(("failed", "cancelled", "succeeded"))
    )
    query = select(col(VersionRow.id)).where(col(VersionRow.number).is_(None), over)
    if job is not None:
        query = query.where(col(VersionRow.job_id) == job)
    # in the order of the index of what is staged, so that it is gone through: few are, and very many jobs are over
    return [VersionId(id or 0) for id in session.scalars(query.order_by(col(VersionRow.job_id)).limit(limit))]


def forget(session: Session, versions: Sequence[VersionId]) -> None:
    """Take versions away that were never published."""
    staged = select(col(VersionRow.id)).where(col(VersionRow.id).in_(list(versions)), col(VersionRow.number).is_(None))
    _forget(session, list(session.scalars(staged)))


def version_of_job(session: Session, job: JobId) -> JobVersion | None:
    """The version that a job staged, with its number once published."""
    return versions_of_jobs(session, [job]).get(job)


def versions_of_jobs(session: Session, ids: Sequence[JobId]) -> dict[JobId, JobVersion]:
    """As `version_of_job`, of several."""
    rows = session.execute(
        select(
            col(VersionRow.job_id),
            col(VersionRow.id),
            col(VersionRow.number),
            col(VersionRow.findings),
            col(VersionRow.detected),
        ).where(col(VersionRow.job_id).in_(list(ids)))
    )
    return {
        JobId(job): JobVersion(
            id=VersionId(id or 0),
            number=number,
            findings=findings_from_json(findings),
            detected=frozenset(detected or ()),
        )
        for job, id, number, findings, detected in rows
    }


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


def versions_beside(session: Session, documents: Sequence[int]) -> list[VersionId]:
    """Every published version of these documents."""
    rows = session.scalars(
        select(col(VersionRow.id)).where(
            col(VersionRow.document_id).in_(list(documents)), col(VersionRow.number).is_not(None)
        )
    )
    return [VersionId(id or 0) for id in rows]


def attachments(session: Session, version: VersionId) -> list[tuple[int, StagedAttachment]]:
    """What came with a version, by its number there, from 1."""
    rows = session.scalars(
        select(AttachmentRow).where(col(AttachmentRow.version_id) == version).order_by(col(AttachmentRow.ordinal))
    )
    return [
        (row.ordinal, StagedAttachment(name=row.name, media_type=row.media_type, digest=Digest(row.digest)))
        for row in rows
    ]


def add_finding(session: Session, version: VersionId, finding: Finding) -> None:
    row = session.get_one(VersionRow, version)
    row.findings = [*row.findings, *findings_to_json([finding])]
    session.add(row)


def name_attached(session: Session, version: VersionId, ordinal: int, document: int, job: JobId | None) -> None:
    """Say which document an attachment became, and by which job if it brings something new."""
    row = session.get_one(AttachmentRow, (version, ordinal))
    row.document_id, row.job_id = document, job
    session.add(row)


def attached_jobs(session: Session, version: VersionId) -> list[JobId]:
    """The jobs that take in what came with a version, in its order."""
    rows = session.scalars(
        select(col(AttachmentRow.job_id))
        .where(col(AttachmentRow.version_id) == version, col(AttachmentRow.job_id).is_not(None))
        .order_by(col(AttachmentRow.ordinal))
    )
    return [JobId(job) for job in rows if job is not None]


def attached(session: Session, document: int) -> dict[int, DocumentId]:
    """The documents that what came with any version of a document became, by row."""
    mail = aliased(VersionRow)
    rows = session.execute(
        select(col(DocumentRow.id), col(DocumentRow.public_id))
        .join(AttachmentRow, col(AttachmentRow.document_id) == col(DocumentRow.id))
        .join(mail, col(mail.id) == col(AttachmentRow.version_id))
        .where(col(mail.document_id) == document)
        .order_by(col(DocumentRow.id))
    )
    return {int(row or 0): DocumentId(id) for row, id in rows}


def with_attachments(session: Session, documents: Sequence[DocumentId]) -> list[DocumentId]:
    """Those of these documents that something came with."""
    found: list[str] = []
    for some in in_pieces(documents):
        found += session.scalars(
            select(col(DocumentRow.public_id))
            .distinct()
            .join(VersionRow, col(VersionRow.document_id) == col(DocumentRow.id))
            .join(AttachmentRow, col(AttachmentRow.version_id) == col(VersionRow.id))
            .where(col(DocumentRow.public_id).in_(some))
        )
    return [DocumentId(id) for id in sorted(found)]


def parts_of(session: Session, document: DocumentId) -> list[DocumentId]:
    """What came with a document, and with that in turn; what it is itself part of stands before it."""
    first = session.scalars(select(col(DocumentRow.id)).where(col(DocumentRow.public_id) == document)).first()
    found: dict[int, DocumentId] = {}
    waiting = [first] if first is not None else []
    while waiting:
        inner = {row: id for row, id in attached(session, waiting.pop()).items() if row not in found and row != first}
        found.update(inner)
        waiting.extend(inner)
    return list(found.values())


def parts_of_several(session: Session, documents: Sequence[DocumentId]) -> dict[DocumentId, list[DocumentId]]:
    """As `parts_of`, of those of these documents that something came with."""
    return {mail: parts_of(session, mail) for mail in with_attachments(session, documents)}


def label_of_newest(session: Session, document: int) -> Label | None:
    """Today's label of a document's newest published version; None if there is none."""
    row = session.scalars(
        select(BoundaryRow)
        .join(VersionBoundaryRow, col(VersionBoundaryRow.boundary_id) == col(BoundaryRow.id))
        .join(VersionRow, col(VersionRow.id) == col(VersionBoundaryRow.version_id))
        .where(col(VersionRow.document_id) == document, col(VersionRow.number).is_not(None), holds(VersionBoundaryRow))
        .order_by(col(VersionRow.number).desc())
        .limit(1)
    ).first()
    return boundary_of(row).label if row else None


def publish(
    session: Session,
    version: VersionId,
    submission: Submission,
    boundary: BoundaryId,
    *,
    at: Instant,
    causes: Iterable[Cause] = (),
    reason: str | None = None,
    review_after_days: int | None = None,
) -> int:
    """Give a staged version its number, boundary and period, in the place of what it supersedes; returns the number.

    Without a stated review date, it is to be reviewed that many days after it is both known and valid. The index is
    told by tasks that are written in the same transaction.
    """
    row = session.get_one(VersionRow, version)
    newest = session.execute(
        select(func.max(col(VersionRow.number))).where(col(VersionRow.document_id) == row.document_id)
    ).scalar_one()
    metadata, by = submission.metadata, submission.submitted_by
    row.number, row.published_at, row.metadata_digest = (newest or 0) + 1, at, submission.metadata_digest
    session.add(row)
    valid = _validity(metadata, at)
    leave_to_others(session, row.document_id, valid, at=at, by=by)
    session.add(
        VersionBoundaryRow(
            version_id=version,
            boundary_id=boundary,
            recorded_from=at,
            recorded_to=FOREVER,
            recorded_by=by,
            causes=causes_to_json(causes),
            reason=reason,
        )
    )
    review_by = metadata.review_by
    if review_by is None and review_after_days is not None:
        review_by = days_after(max(at, valid[0]), review_after_days)
    session.add(_period(version, 0, valid, review_by, at=at, by=by))
    _tell(session, [version], whole=False)
    session.flush()
    return row.number


def correct_version(
    session: Session,
    version: Version,
    valid: tuple[Instant, Instant],
    review_by: Instant | None,
    *,
    at: Instant,
    by: PrincipalRef,
    reason: str | None = None,
) -> None:
    """As `correct_period`, and the document's other versions are left what this one then does not take."""
    correct_period(session, version.id, valid, review_by, at=at, by=by, reason=reason)
    document = session.execute(select(col(VersionRow.document_id)).where(col(VersionRow.id) == version.id)).scalar_one()
    leave_to_others(session, document, valid, at=at, by=by, by_version=version.id)


def correct_period(
    session: Session,
    version: VersionId,
    valid: tuple[Instant, Instant],
    review_by: Instant | None,
    *,
    at: Instant,
    by: PrincipalRef,
    reason: str | None = None,
) -> None:
    """Hold from now on that a version was valid then; what we held before stays in recorded time."""
    old = session.scalars(select(PeriodRow).where(col(PeriodRow.version_id) == version, holds(PeriodRow))).one()
    if (old.valid_from, old.valid_to, old.review_by) == (*valid, review_by):
        return
    if old.ordinal + 1 >= PERIODS_PER_VERSION:
        raise Conflict("The validity of this version was corrected too often. Submit the document as a new version.")
    replace_state(
        session,
        _period(version, old.ordinal + 1, valid, review_by, at=at, by=by, reason=reason),
        col(PeriodRow.version_id) == version,
        at=at,
    )
    _tell(session, [version], whole=True)


def periods(session: Session, version: VersionId) -> list[RecordedPeriod]:
    """Every period of a version that was ever held, the first recorded first."""
    rows = session.scalars(
        select(PeriodRow).where(col(PeriodRow.version_id) == version).order_by(col(PeriodRow.ordinal))
    )
    return [
        RecordedPeriod(
            period=Period(
                ordinal=row.ordinal,
                valid_from=Instant(row.valid_from),
                valid_to=Instant(row.valid_to),
                review_by=Instant(row.review_by) if row.review_by is not None else None,
                recorded_from=Instant(row.recorded_from),
                recorded_to=Instant(row.recorded_to),
            ),
            by=PrincipalRef(row.recorded_by),
            reason=row.reason,
        )
        for row in rows
    ]


def move_boundary(
    session: Session,
    version: VersionId,
    boundary: BoundaryId,
    *,
    at: Instant,
    by: PrincipalRef,
    causes: Iterable[Cause] = (),
    reason: str | None = None,
) -> bool:
    """Let another boundary hold for a version from `at` on; False if it already does, or the version was erased.

    INVARIANT: only `publish` gives a version its first boundary, so that one which lost it to an erasure gets none.
    """
    row = VersionBoundaryRow(
        version_id=version,
        boundary_id=boundary,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
        causes=causes_to_json(causes),
        reason=reason,
    )
    today = session.scalars(
        select(col(VersionBoundaryRow.boundary_id)).where(
            col(VersionBoundaryRow.version_id) == version, holds(VersionBoundaryRow)
        )
    ).first()
    if today in (None, boundary):
        return False
    replace_state(session, row, col(VersionBoundaryRow.version_id) == version, at=at)
    _tell(session, [version], whole=False)
    return True


def documents_named(
    session: Session, collection: str, *, ids: Sequence[DocumentId] = (), uris: Sequence[str] = ()
) -> dict[DocumentId, str]:
    """The documents of a collection that have one of these ids or uris, each with its uri."""
    named = col(DocumentRow.public_id).in_(list(ids)) | col(DocumentRow.uri).in_(list(uris))
    rows = session.execute(
        select(col(DocumentRow.public_id), col(DocumentRow.uri)).where(col(DocumentRow.collection) == collection, named)
    )
    return {DocumentId(id): uri for id, uri in rows}


def lying(session: Session, documents: Sequence[DocumentId]) -> list[tuple[VersionId, BoundaryId]]:
    """In which boundary each published version of these documents lies today."""
    rows = session.execute(
        select(col(VersionBoundaryRow.version_id), col(VersionBoundaryRow.boundary_id))
        .join(VersionRow, col(VersionRow.id) == col(VersionBoundaryRow.version_id))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .where(
            col(DocumentRow.public_id).in_(list(documents)),
            col(VersionRow.number).is_not(None),
            holds(VersionBoundaryRow),
        )
        .order_by(col(VersionBoundaryRow.version_id))
    )
    return [(VersionId(version), BoundaryId(boundary)) for version, boundary in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A version that is to lie in another boundary than it does, and why."""

    version: VersionId
    boundary: BoundaryId
    causes: tuple[Cause, ...]


def move_boundaries(
    session: Session, moves: Sequence[Move], *, at: Instant, by: PrincipalRef, reason: str | None = None
) -> None:
    """As `move_boundary`, of many versions that each move, in few statements; the index is told by tasks."""
    for start in range(0, len(moves), _MOVED_AT_ONCE):
        some = moves[start : start + _MOVED_AT_ONCE]
        close(session, VersionBoundaryRow, col(VersionBoundaryRow.version_id).in_([e.version for e in some]), at=at)
        session.execute(
            insert(VersionBoundaryRow),
            [
                {
                    "version_id": each.version,
                    "boundary_id": each.boundary,
                    "recorded_from": at,
                    "recorded_to": FOREVER,
                    "recorded_by": by,
                    "causes": causes_to_json(each.causes),
                    "reason": reason,
                }
                for each in some
            ],
        )
        _tell(session, [each.version for each in some], whole=False)


_MOVED_AT_ONCE = 500
"""Versions in one statement: databases limit its parameters."""


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


def placements_of(session: Session, versions: Sequence[VersionId]) -> list[Placement]:
    """Where the index should hold the points of versions: every chunk in every period, in today's boundary.

    A version that is staged has points that no instant reaches, and one that is withdrawn likewise: they are there,
    with their vectors, and cannot be found. In the order of `versions`; four queries, however many there are.
    """
    ids = list(dict.fromkeys(versions))
    stored = {
        version: (boundary, facets_of(attributes, uri=uri, media_type=media_type))
        for version, boundary, attributes, media_type, uri in session.execute(
            select(
                col(VersionRow.id),
                col(VersionBoundaryRow.boundary_id),
                col(VersionRow.attributes),
                col(VersionRow.media_type),
                col(DocumentRow.uri),
            )
            .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
            .outerjoin(
                VersionBoundaryRow,
                (col(VersionBoundaryRow.version_id) == col(VersionRow.id)) & holds(VersionBoundaryRow),
            )
            .where(
                col(VersionRow.id).in_(ids),
                # what was published and lies nowhere is being erased, or was
                col(VersionBoundaryRow.boundary_id).is_not(None) | col(VersionRow.number).is_(None),
            )
        )
    }
    times: dict[int, list[_Times]] = {}
    for version, *period in session.execute(
        select(
            col(PeriodRow.version_id),
            col(PeriodRow.ordinal),
            col(PeriodRow.valid_from),
            col(PeriodRow.valid_to),
            col(PeriodRow.recorded_from),
            col(PeriodRow.recorded_to),
        ).where(col(PeriodRow.version_id).in_(ids))
    ):
        times.setdefault(version, []).append(_Times(*period))
    withdrawn = set(
        session.scalars(
            select(col(WithdrawalRow.version_id)).where(col(WithdrawalRow.version_id).in_(ids), holds(WithdrawalRow))
        )
    )
    chunks: dict[int, list[ChunkId]] = {}
    for version, chunk in session.execute(
        select(col(ChunkRow.version_id), col(ChunkRow.id))
        .where(col(ChunkRow.version_id).in_(ids))
        .order_by(col(ChunkRow.id))
    ):
        chunks.setdefault(version, []).append(ChunkId(chunk or 0))
    return [
        placement
        for version in ids
        if version in stored
        for placement in _placed(
            chunks.get(version, []), times.get(version) or [_NEVER], *stored[version], hidden=version in withdrawn
        )
    ]


def _placed(
    chunks: Sequence[ChunkId],
    times: Sequence["_Times"],
    boundary: int | None,
    facets: tuple[str, ...],
    *,
    hidden: bool,
) -> Iterator[Placement]:
    for chunk in chunks:
        for each in times:
            seen = _NEVER if hidden else each
            yield Placement(
                point=point_of(chunk, each.ordinal),
                boundary=BoundaryId(boundary if boundary is not None else NO_BOUNDARY),
                valid_from=Instant(seen.valid_from),
                valid_to=Instant(seen.valid_to),
                recorded_from=Instant(seen.recorded_from),
                recorded_to=Instant(seen.recorded_to),
                facets=facets,
            )


class _Times(NamedTuple):
    """A period, as a row has it."""

    ordinal: int
    valid_from: int
    valid_to: int
    recorded_from: int
    recorded_to: int


_NEVER = _Times(0, FOREVER, FOREVER, FOREVER, FOREVER)
NO_BOUNDARY = BoundaryId(0)
"""Of a version that is staged: no row has this id, so no reach holds it."""


TOLD: Final = (GenerationState.BUILDING, GenerationState.ACTIVE)
"""Generations of the index that are told of every change."""


def _tell(session: Session, versions: Sequence[VersionId], *, whole: bool) -> None:
    """Have the index told of versions: each generation by a task of its own, and one that is being built of all.

    INVARIANT: called in a recording, as a generation is begun and activated in one, so none is passed over.
    """
    for some in in_pieces(versions):
        _tell_each(session, col(VersionRow.id).in_(some), col(GenerationRow.state).in_(TOLD), whole=whole)


def _tell_each(
    session: Session, which: ColumnElement[bool], told: ColumnElement[bool], *, whole: bool, newest_first: bool = False
) -> None:
    building = col(GenerationRow.state) == GenerationState.BUILDING
    id = col(VersionRow.id)
    tasks = (
        select(id, or_(literal(whole), building), col(GenerationRow.id))
        .select_from(join(VersionRow, GenerationRow, told))
        .where(which)
        .order_by(id.desc() if newest_first else id)
    )
    session.flush()
    session.execute(insert(IndexTaskRow).from_select(["version_id", "whole", "generation_id"], tasks))


def tell_of_staged(session: Session, generation: GenerationId) -> None:
    """Have one generation told of what is staged: it may stand in another alone."""
    _tell_each(session, col(VersionRow.number).is_(None), col(GenerationRow.id) == generation, whole=True)


def index_tasks(session: Session, *, limit: int, generation: GenerationId = FIRST) -> list[tuple[int, VersionId, bool]]:
    """What a generation of the index has yet to be told, oldest first: (task, version, vectors too)."""
    rows = session.execute(
        select(col(IndexTaskRow.id), col(IndexTaskRow.version_id), col(IndexTaskRow.whole))
        .where(col(IndexTaskRow.generation_id) == generation)
        .order_by(col(IndexTaskRow.id))
        .limit(limit)
    )
    return [(int(id or 0), VersionId(version), whole) for id, version, whole in rows]


def index_tasks_of(
    session: Session, versions: Sequence[VersionId], *, generation: GenerationId = FIRST
) -> list[tuple[int, VersionId, bool]]:
    """As `index_tasks`, of these versions."""
    found: list[tuple[int, VersionId, bool]] = []
    for some in in_pieces(versions):
        rows = session.execute(
            select(col(IndexTaskRow.id), col(IndexTaskRow.version_id), col(IndexTaskRow.whole)).where(
                col(IndexTaskRow.version_id).in_(some), col(IndexTaskRow.generation_id) == generation
            )
        )
        found += [(int(id or 0), VersionId(version), whole) for id, version, whole in rows]
    return sorted(found)


def remove_index_tasks(session: Session, ids: Sequence[int]) -> None:
    for some in in_pieces(ids):
        session.execute(delete(IndexTaskRow).where(col(IndexTaskRow.id).in_(some)))


def anything_staged(session: Session) -> bool:
    """Whether there is a version, published or not."""
    return session.execute(select(col(VersionRow.id)).limit(1)).first() is not None


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


def replace_index_tasks_by_all(session: Session, generation: GenerationId = FIRST) -> None:
    """Have a generation told of every version anew, vectors too; the newest first, as they are asked for most."""
    session.execute(delete(IndexTaskRow).where(col(IndexTaskRow.generation_id) == generation))
    _tell_each(session, true(), col(GenerationRow.id) == generation, whole=True, newest_first=True)


def renew_index_tasks(
    session: Session, ids: Sequence[int], wanted: Mapping[VersionId, bool], *, generation: GenerationId = FIRST
) -> None:
    """Put new tasks in the place of these: one for each version, whether vectors are wanted too."""
    remove_index_tasks(session, ids)
    session.add_all(
        [IndexTaskRow(version_id=id, whole=whole, generation_id=generation) for id, whole in wanted.items()]
    )


def _validity(metadata: Metadata, at: Instant) -> tuple[Instant, Instant]:
    """When a version is valid: from now on, unless stated; one that is said to have ended began at some time."""
    valid_to = FOREVER if metadata.valid_to is None else metadata.valid_to
    if metadata.valid_from is not None:
        return metadata.valid_from, valid_to
    return (at if at < valid_to else BEGINNING), valid_to


def leave_to_others(
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
    reason: str | None = None,
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
        reason=reason,
    )
