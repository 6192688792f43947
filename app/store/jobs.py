"""Jobs: submissions acknowledged, claimed in batches, and ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import Digest, DocumentId, Metadata
from app.domain.instants import Instant
from app.domain.jobs import Job, JobId, JobResult, JobState, Problem, Stage
from app.store.metadata import findings_from_json, findings_to_json, metadata_from_json, metadata_to_json
from app.store.tables import DocumentRow, JobRow

INGEST = "ingest"
_OPEN = (JobState.QUEUED, JobState.RUNNING)


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


def add_job(
    session: Session,
    submission: Submission,
    *,
    at: Instant,
) -> None:
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
            submitted_at=at,
            problem=None,
            result=None,
            ended_at=None,
        )
    )


def job(session: Session, id: JobId) -> Job | None:
    row = session.execute(
        select(JobRow, DocumentRow)
        .join(DocumentRow, col(DocumentRow.id) == col(JobRow.document_id))
        .where(col(JobRow.id) == id)
    ).first()
    return _job(row[0], row[1]) if row else None


def claim(session: Session, batch: str, *, max_jobs: int) -> list[JobId]:
    """Give the oldest queued jobs to a batch, and say which.

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
        select(col(JobRow.id))
        .where(col(JobRow.state) == JobState.QUEUED, col(JobRow.batch).is_(None), ~blocked)
        .order_by(col(JobRow.seq))
        .limit(max_jobs)
        .with_for_update(skip_locked=True)
    )
    ids = list(session.scalars(wanted))
    session.execute(
        update(JobRow).where(col(JobRow.id).in_(ids)).values(batch=batch, state=JobState.RUNNING, stage=Stage.GATE)
    )
    return [JobId(id) for id in ids]


def open_batches(session: Session) -> list[str]:
    """Batches that have been claimed and have jobs that are not over, oldest first."""
    rows = session.execute(
        select(col(JobRow.batch), col(JobRow.seq))
        .where(col(JobRow.state) == JobState.RUNNING, col(JobRow.batch).is_not(None))
        .order_by(col(JobRow.seq))
    )
    return list(dict.fromkeys(batch for batch, _ in rows if batch))


def hand_over(session: Session, batch: str, to: str) -> None:
    """Let all jobs of a batch be another's, those that are over too: what they left is cleared away with it."""
    session.execute(update(JobRow).where(col(JobRow.batch) == batch).values(batch=to))


def submissions_of(session: Session, batch: str) -> list[Submission]:
    """The jobs of a batch that are not over, in the order in which they were acknowledged."""
    rows = session.execute(
        select(JobRow, DocumentRow)
        .join(DocumentRow, col(DocumentRow.id) == col(JobRow.document_id))
        .where(col(JobRow.batch) == batch, col(JobRow.state).in_(_OPEN))
        .order_by(col(JobRow.seq))
    )
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
        )
        for row, document in rows
    ]


def advance(session: Session, ids: Sequence[JobId], stage: Stage) -> None:
    session.execute(update(JobRow).where(col(JobRow.id).in_(ids), col(JobRow.state).in_(_OPEN)).values(stage=stage))


def succeed(session: Session, id: JobId, result: JobResult, *, at: Instant) -> None:
    value = {
        "document": result.document,
        "version": result.version,
        "unchanged": result.unchanged,
        "findings": findings_to_json(result.findings),
    }
    _end(session, id, at=at, state=JobState.SUCCEEDED, result=value)


def fail(session: Session, id: JobId, problem: Problem, *, at: Instant) -> None:
    _end(session, id, at=at, state=JobState.FAILED, problem={"kind": problem.kind, "detail": problem.detail})


def open_jobs_of(session: Session, document_row: int) -> list[JobId]:
    """The jobs of a document that are not over, in order."""
    rows = session.scalars(
        select(col(JobRow.id))
        .where(col(JobRow.document_id) == document_row, col(JobRow.state).in_(_OPEN))
        .order_by(col(JobRow.seq))
    )
    return [JobId(id) for id in rows]


def ended_of(session: Session, batch: str) -> list[JobId]:
    """The jobs of a batch that are over, however they ended."""
    rows = session.scalars(select(col(JobRow.id)).where(col(JobRow.batch) == batch, col(JobRow.state).not_in(_OPEN)))
    return [JobId(id) for id in rows]


def open_metadata(session: Session, document: DocumentId) -> list[tuple[JobId, Metadata]]:
    """What was said of the submissions of a document that are not over yet."""
    rows = session.execute(
        select(col(JobRow.id), col(JobRow.metadata_json)).where(_of_document(document), col(JobRow.state).in_(_OPEN))
    )
    return [(JobId(id), metadata_from_json(value)) for id, value in rows]


def metadata_of(session: Session, id: JobId) -> Metadata | None:
    """What was said of a submission, whether it is over or not."""
    found = session.execute(select(col(JobRow.metadata_json)).where(col(JobRow.id) == id)).scalar_one_or_none()
    return metadata_from_json(found) if found is not None else None


def restate(session: Session, id: JobId, metadata: Metadata) -> None:
    """Let a submission that is not over be published with other metadata.

    Its digest stays that of what was submitted: the same submission again changes nothing, as after a correction of
    what is published already.
    """
    session.execute(
        update(JobRow)
        .where(col(JobRow.id) == id, col(JobRow.state).in_(_OPEN))
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


def counts(session: Session) -> dict[JobState, int]:
    rows = session.execute(select(col(JobRow.state), func.count()).group_by(col(JobRow.state)))
    return {JobState(state): int(number) for state, number in rows}


def _end(session: Session, id: JobId, *, at: Instant, **values: object) -> None:
    """A job ends once: a second end, by a step that runs again, changes nothing."""
    session.execute(
        update(JobRow).where(col(JobRow.id) == id, col(JobRow.state).in_(_OPEN)).values(ended_at=at, **values)
    )


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
        )
        if row.result
        else None,
        document=DocumentId(document.public_id),
        collection=document.collection,
        submitted_by=PrincipalRef(row.submitted_by),
        submitted_at=Instant(row.submitted_at),
    )


def anything_queued(session: Session) -> bool:
    query = select(col(JobRow.seq)).where(col(JobRow.state) == JobState.QUEUED, col(JobRow.batch).is_(None)).limit(1)
    return session.execute(query).first() is not None
