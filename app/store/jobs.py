"""Jobs: submissions acknowledged, claimed in batches, and ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, null, or_, select, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import Digest, DocumentId, Metadata, VersionId
from app.domain.instants import FOREVER, Instant
from app.domain.jobs import (
    MAX_CRASHES,
    SUSPECT_AFTER_CRASHES,
    Job,
    JobId,
    JobResult,
    JobState,
    Limits,
    Problem,
    Stage,
    pause_s,
)
from app.store.database import in_pieces
from app.store.metadata import findings_from_json, findings_to_json, metadata_from_json, metadata_to_json
from app.store.tables import DocumentRow, JobRow, VersionRow

INGEST = "ingest"
_OPEN = (JobState.QUEUED, JobState.RUNNING)
_GIVEN_UP = (JobState.FAILED, JobState.CANCELLED)

_KILLS = Problem(
    kind="internal",
    detail="The worker that read this document died, every time. It was set aside, so that others are read.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What an ingest job works on: the original, what was said of it, and where it goes."""

    job: JobId
    document_row: int
    document: DocumentId
    collection: str
    filename: str
    media_type: str | None
    blob: Digest
    metadata: Metadata
    metadata_digest: str
    submitted_by: PrincipalRef
    size_bytes: int = 0
    submitted_through: PrincipalRef | None = None
    """The assistant, if one brought it for somebody."""


def add_job(session: Session, submission: Submission, *, at: Instant) -> None:
    session.add(
        JobRow(
            id=submission.job,
            kind=INGEST,
            state=JobState.QUEUED,
            stage=None,
            document_id=submission.document_row,
            filename=submission.filename,
            media_type=submission.media_type,
            blob=submission.blob,
            metadata_json=metadata_to_json(submission.metadata),
            metadata_digest=submission.metadata_digest,
            submitted_by=submission.submitted_by,
            submitted_through=submission.submitted_through,
            submitted_at=at,
            problem=None,
            result=None,
            ended_at=None,
            collection=submission.collection,
            size_bytes=submission.size_bytes,
        )
    )


def job(session: Session, id: JobId) -> Job | None:
    return next(iter(some_jobs(session, [id])), None)


def some_jobs(session: Session, ids: Sequence[JobId]) -> list[Job]:
    """Those of these jobs that there are, in the order in which they were acknowledged."""
    return _jobs(session, col(JobRow.id).in_(list(ids)))


def listed(
    session: Session,
    *,
    collections: frozenset[str],
    by: PrincipalRef | None,
    collection: str | None,
    state: JobState | None,
    before: JobId | None,
    limit: int,
) -> list[Job]:
    """Jobs of these collections, and those that `by` submitted in any; of one collection, if
    it is named. The newest first, and older than `before`."""
    within = col(JobRow.collection).in_(collections)
    where = [within if by is None else or_(within, col(JobRow.submitted_by) == by)]
    if collection is not None:
        where.append(col(JobRow.collection) == collection)
    if state is not None:
        where.append(col(JobRow.state) == state)
    if before is not None:
        place = select(col(JobRow.seq)).where(col(JobRow.id) == before).scalar_subquery()
        where.append(col(JobRow.seq) < place)
    rows = session.execute(_JOBS.where(*where).order_by(col(JobRow.seq).desc()).limit(limit))
    return [_job(row, document) for row, document in rows]


def waiting(session: Session, collection: str) -> tuple[int, int]:
    """How many jobs are queued in all, and how many of those in a collection."""
    queued = select(func.count()).select_from(JobRow).where(col(JobRow.state) == JobState.QUEUED)
    in_collection = queued.where(col(JobRow.collection) == collection)
    return session.execute(queued).scalar_one(), session.execute(in_collection).scalar_one()


def claim(
    session: Session,
    batch: str,
    *,
    max_jobs: int,
    max_bytes: int | None = None,
    suspects: bool | None = None,
    at: Instant = FOREVER,
) -> list[JobId]:
    """Give the oldest queued jobs to a batch, and say which. A batch of more than `max_bytes` has only one.

    `suspects`: only one of those that were there when workers died, or none of them. `at`: those that wait until
    later are left.

    INVARIANT: a document's submissions are published in the order in which they were acknowledged: one is not claimed
    while an earlier one of the same document is not over, so a batch has at most one of each document.
    """
    earlier = aliased(JobRow)
    blocked = exists().where(
        col(earlier.document_id) == col(JobRow.document_id),
        col(earlier.seq) < col(JobRow.seq),
        col(earlier.state).in_(_OPEN),
    )
    wanted = (
        select(col(JobRow.id), col(JobRow.size_bytes))
        .where(*_claimable(at, suspects), ~blocked)
        .order_by(col(JobRow.seq))
        .limit(1 if suspects else max_jobs)
        .with_for_update(skip_locked=True)
    )
    ids: list[JobId] = []
    weight = 0
    for id, size_bytes in session.execute(wanted):
        weight += size_bytes
        if ids and max_bytes is not None and weight > max_bytes:
            break
        ids.append(JobId(id))
    session.execute(
        update(JobRow)
        .where(col(JobRow.id).in_(ids))
        .values(batch=batch, state=JobState.RUNNING, stage=Stage.GATE, attempts=JobRow.attempts + 1)
    )
    return ids


def anything_queued(session: Session, *, suspects: bool | None = None, at: Instant = FOREVER) -> bool:
    """Whether there may be something to claim, as `claim` has it."""
    return session.execute(select(col(JobRow.seq)).where(*_claimable(at, suspects)).limit(1)).first() is not None


def _claimable(at: Instant, suspects: bool | None) -> list[ColumnElement[bool]]:
    where = [col(JobRow.state) == JobState.QUEUED, col(JobRow.batch).is_(None), col(JobRow.not_before) <= at]
    suspect = col(JobRow.crashes) >= SUSPECT_AFTER_CRASHES
    return where if suspects is None else [*where, suspect if suspects else ~suspect]


def open_batches(session: Session) -> list[str]:
    """Batches that have been claimed and have jobs that are not over, oldest first."""
    rows = session.execute(
        select(col(JobRow.batch), col(JobRow.seq))
        .where(col(JobRow.state) == JobState.RUNNING, col(JobRow.batch).is_not(None))
        .order_by(col(JobRow.seq))
    )
    return list(dict.fromkeys(batch for batch, _ in rows if batch))


def held(session: Session, batch: str, id: JobId) -> bool:
    """Whether a job is that batch's still, and is not over; nobody takes it away before this transaction ends.

    INVARIANT: what a step writes of a job, it writes after asking this in the same transaction. A worker that was
    taken for dead, and wakes up in the middle of a step, therefore changes nothing.
    """
    query = select(col(JobRow.seq)).where(col(JobRow.id) == id, *_ours(batch)).with_for_update()
    return session.execute(query).first() is not None


def release(session: Session, batch: str, *, crashed: bool, at: Instant) -> list[JobId]:
    """Queue again the jobs of a batch that are not over, and say which.

    `crashed`: its worker died. A job that was there too often when one did ends here, unless it has published.
    """
    published = exists().where(col(VersionRow.job_id) == col(JobRow.id), col(VersionRow.number).is_not(None))
    query = select(col(JobRow.id), col(JobRow.crashes), published).where(*_ours(batch)).with_for_update()
    rows = session.execute(query).all()
    again = []
    for id, before, out in rows:
        crashes = before + crashed
        if crashed and crashes >= MAX_CRASHES and not out:
            fail(session, JobId(id), _KILLS, batch=batch, at=at)
            continue
        again.append(JobId(id))
        values: dict[str, object] = {"crashes": crashes}
        if crashed and crashes >= SUSPECT_AFTER_CRASHES:
            values["not_before"] = at + int(pause_s(crashes - SUSPECT_AFTER_CRASHES + 1) * 1000)
        _requeue(session, batch, [JobId(id)], **values)
    return again


def postpone(
    session: Session,
    batch: str,
    ids: Sequence[JobId],
    problem: Problem,
    *,
    limits: Limits,
    published: frozenset[JobId],
    at: Instant,
) -> list[JobId]:
    """Queue these jobs of a batch again for later, as a part of ours is down; says which are given up instead.

    They end as failed, but for those that have published: these are left to whoever asked.
    """
    query = select(col(JobRow.id), col(JobRow.setbacks)).where(col(JobRow.id).in_(list(ids)), *_ours(batch))
    given_up = []
    for id, before in session.execute(query.with_for_update()).all():
        setbacks = before + 1
        if setbacks > limits.max_setbacks:
            given_up.append(JobId(id))
            if id not in published:
                fail(session, JobId(id), problem, batch=batch, at=at)
        else:
            not_before = at + int(pause_s(setbacks) * 1000)
            _requeue(session, batch, [JobId(id)], setbacks=setbacks, not_before=not_before)
    return given_up


def cancel(session: Session, id: JobId, *, at: Instant) -> None:
    _end(session, id, at=at, state=JobState.CANCELLED)


def retry(session: Session, id: JobId) -> None:
    """Queue a job again that failed or was cancelled. What it staged has been cleared away."""
    session.execute(
        update(JobRow)
        .where(col(JobRow.id) == id, col(JobRow.state).in_(_GIVEN_UP))
        .values(
            state=JobState.QUEUED, batch=None, stage=None, problem=null(), ended_at=None,
            setbacks=0, crashes=0, not_before=0,
        )
    )  # fmt: skip


def overtaken(session: Session, id: JobId) -> bool:
    """Whether a later submission of the same document is not over, or was published."""
    later = aliased(JobRow)
    query = (
        select(col(later.seq))
        .join(JobRow, col(JobRow.document_id) == col(later.document_id))
        .where(
            col(JobRow.id) == id,
            col(later.seq) > col(JobRow.seq),
            col(later.state).in_((*_OPEN, JobState.SUCCEEDED)),
        )
    )
    return session.execute(query.limit(1)).first() is not None


def submission(session: Session, id: JobId) -> Submission | None:
    """What a job works on, whatever its state."""
    found = _submissions(session, col(JobRow.id) == id)
    return found[0] if found else None


def submissions_of(session: Session, batch: str) -> list[Submission]:
    """The jobs of a batch that are not over, in the order in which they were acknowledged."""
    return _submissions(session, *_ours(batch))


def submission_of(session: Session, version: VersionId) -> Submission:
    """The submission that a version came of."""
    job = select(col(VersionRow.job_id)).where(col(VersionRow.id) == version).scalar_subquery()
    return _submissions(session, col(JobRow.id) == job)[0]


def _submissions(session: Session, *where: ColumnElement[bool]) -> list[Submission]:
    rows = session.execute(_JOBS.where(*where).order_by(col(JobRow.seq)))
    return [
        Submission(
            job=JobId(row.id),
            document_row=row.document_id,
            document=DocumentId(document.public_id),
            collection=document.collection,
            filename=row.filename,
            media_type=row.media_type,
            blob=Digest(row.blob),
            metadata=metadata_from_json(row.metadata_json),
            metadata_digest=row.metadata_digest,
            submitted_by=PrincipalRef(row.submitted_by),
            size_bytes=row.size_bytes,
            submitted_through=PrincipalRef(row.submitted_through) if row.submitted_through else None,
        )
        for row, document in rows
    ]


def advance(session: Session, batch: str, stage: Stage, ids: Sequence[JobId] | None = None) -> None:
    """Say at which step the jobs of a batch are: those that are not over, or those of them that are named."""
    named = [] if ids is None else [col(JobRow.id).in_(list(ids))]
    session.execute(update(JobRow).where(*_ours(batch), *named).values(stage=stage))


def succeed(session: Session, id: JobId, result: JobResult, *, at: Instant) -> None:
    value = {
        "document": result.document,
        "version": result.version,
        "unchanged": result.unchanged,
        "findings": findings_to_json(result.findings),
        "attachments": list(result.attachments),
    }
    _end(session, id, at=at, state=JobState.SUCCEEDED, result=value)


def fail(session: Session, id: JobId, problem: Problem, *, batch: str | None = None, at: Instant) -> None:
    """End a job; with `batch`, only if it is that batch's still."""
    stated = {"kind": problem.kind, "detail": problem.detail}
    _end(session, id, batch=batch, at=at, state=JobState.FAILED, problem=stated)


def open_jobs_of(session: Session, document_row: int) -> list[JobId]:
    """The jobs of a document that are not over, in order."""
    return [each.job for each in open_submissions(session, document_row)]


def open_submissions(session: Session, document_row: int) -> list[Submission]:
    """What of a document is not over, in the order in which it was acknowledged."""
    return _submissions(session, col(JobRow.document_id) == document_row, col(JobRow.state).in_(_OPEN))


def unpublished_metadata(
    session: Session, documents: Sequence[DocumentId], *, given_up: bool
) -> list[tuple[DocumentId, JobId, Metadata]]:
    """What was said of the submissions of these documents that are not over; with `given_up`, of those too that
    failed or were cancelled, and so may be tried again. In the order in which they were acknowledged."""
    states = (*_OPEN, *_GIVEN_UP) if given_up else _OPEN
    found = []
    for some in in_pieces(documents):
        rows = session.execute(
            select(col(JobRow.seq), col(DocumentRow.public_id), col(JobRow.id), col(JobRow.metadata_json))
            .join(DocumentRow, col(DocumentRow.id) == col(JobRow.document_id))
            .where(col(DocumentRow.public_id).in_(some), col(JobRow.state).in_(states))
        )
        found += [
            (seq or 0, DocumentId(document), JobId(id), metadata_from_json(value)) for seq, document, id, value in rows
        ]
    return [(document, job, metadata) for _, document, job, metadata in sorted(found, key=lambda each: each[0])]


def metadata_of(session: Session, id: JobId) -> Metadata | None:
    """What was said of a submission, whether it is over or not."""
    found = session.execute(select(col(JobRow.metadata_json)).where(col(JobRow.id) == id)).scalar_one_or_none()
    return metadata_from_json(found) if found is not None else None


def restate(session: Session, id: JobId, metadata: Metadata) -> None:
    """Let a submission that was not published be published with other metadata: also one that failed, when it is
    tried again.

    Its digest stays that of what was submitted: the same submission again changes nothing, as after a correction of
    what is published already.
    """
    session.execute(
        update(JobRow)
        .where(col(JobRow.id) == id, col(JobRow.state) != JobState.SUCCEEDED)
        .values(metadata_json=metadata_to_json(metadata))
    )


def cancel_of(session: Session, document: DocumentId, *, at: Instant) -> None:
    """Cancel every submission of a document that is not over; what was staged is never published."""
    session.execute(
        update(JobRow)
        .where(_of_document(document), col(JobRow.state).in_(_OPEN))
        .values(state=JobState.CANCELLED, ended_at=at)
    )


def _of_document(document: DocumentId) -> ColumnElement[bool]:
    row = select(col(DocumentRow.id)).where(col(DocumentRow.public_id) == document).scalar_subquery()
    return col(JobRow.document_id) == row


def _end(session: Session, id: JobId, *, batch: str | None = None, at: Instant, **values: object) -> None:
    """A job ends once: a second end, by a step that runs again, changes nothing."""
    where = _ours(batch) if batch is not None else [col(JobRow.state).in_(_OPEN)]
    session.execute(update(JobRow).where(col(JobRow.id) == id, *where).values(ended_at=at, **values))


def _ours(batch: str) -> list[ColumnElement[bool]]:
    return [col(JobRow.batch) == batch, col(JobRow.state) == JobState.RUNNING]


def _requeue(session: Session, batch: str, ids: Sequence[JobId], **values: object) -> None:
    session.execute(
        update(JobRow)
        .where(col(JobRow.id).in_(list(ids)), *_ours(batch))
        .values(state=JobState.QUEUED, batch=None, stage=None, **values)
    )


_JOBS = select(JobRow, DocumentRow).join(DocumentRow, col(DocumentRow.id) == col(JobRow.document_id))


def _jobs(session: Session, *where: ColumnElement[bool]) -> list[Job]:
    return [_job(row, document) for row, document in session.execute(_JOBS.where(*where).order_by(col(JobRow.seq)))]


def _job(row: JobRow, document: DocumentRow) -> Job:
    stages = list(Stage)
    state = JobState(row.state)
    over = len(stages) if state is JobState.SUCCEEDED else stages.index(Stage(row.stage)) if row.stage else 0
    return Job(
        id=JobId(row.id),
        kind=row.kind,
        state=state,
        stage=Stage(row.stage) if row.stage else None,
        done=over,
        total=len(stages),
        problem=Problem(**row.problem) if row.problem else None,
        result=JobResult(
            document=DocumentId(row.result["document"]),
            version=row.result["version"],
            unchanged=row.result["unchanged"],
            findings=findings_from_json(row.result["findings"]),
            attachments=tuple(map(JobId, row.result.get("attachments", ()))),
        )
        if row.result
        else None,
        document=DocumentId(document.public_id),
        collection=document.collection,
        uri=document.uri,
        submitted_by=PrincipalRef(row.submitted_by),
        submitted_at=Instant(row.submitted_at),
        ended_at=Instant(row.ended_at) if row.ended_at is not None else None,
        attempts=row.attempts,
        not_before=Instant(row.not_before) if row.not_before and state is JobState.QUEUED else None,
    )
