"""Runs of sources: asked for, claimed by a worker for as long as it lives, and what they came to."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import BoundaryId
from app.domain.corpus import DocumentId, Metadata
from app.domain.instants import Instant
from app.domain.jobs import JobId, JobState, Problem
from app.domain.runs import ItemOutcome, Noted, Run, RunId, RunState, SourceId
from app.domain.sources import Cursor, SourceName
from app.store.database import insert_absent
from app.store.metadata import metadata_from_json, metadata_to_json
from app.store.recorded import holds
from app.store.tables import (
    AttachmentRow,
    DocumentRow,
    JobRow,
    SourceItemRow,
    SourceRow,
    SourceRunItemRow,
    SourceRunRow,
    SourceRunUnchangedRow,
    VersionBoundaryRow,
    VersionRow,
)

_OPEN_RUN = (RunState.QUEUED, RunState.RUNNING)
_OPEN_JOB = (JobState.QUEUED, JobState.RUNNING)


def add_run(
    session: Session,
    id: RunId,
    source: SourceId,
    *,
    triggered_by: str,
    confirmed: bool,
    at: Instant,
    claim: str | None = None,
) -> None:
    """A run to be taken up by a worker; with a `claim`, one that goes on already where it was asked for."""
    session.add(
        SourceRunRow(
            id=id,
            source_id=source,
            state=RunState.QUEUED if claim is None else RunState.RUNNING,
            triggered_by=triggered_by,
            requested_at=at,
            started_at=None if claim is None else at,
            listed_at=None,
            ended_at=None,
            cursor=None,
            whole=False,
            confirmed=confirmed,
            cancelling=False,
            claim=claim,
            lease_until=None,
            problem=None,
        )
    )
    session.flush()


def open_run(session: Session, source: SourceId) -> RunId | None:
    """The run of a source that is queued or goes on, if there is one."""
    found = session.scalars(
        select(col(SourceRunRow.id))
        .where(col(SourceRunRow.source_id) == source, col(SourceRunRow.state).in_(_OPEN_RUN))
        .order_by(col(SourceRunRow.seq).desc())
    ).first()
    return RunId(found) if found else None


def run(session: Session, id: RunId) -> Run | None:
    row = session.execute(_RUNS.where(col(SourceRunRow.id) == id)).first()
    return _run(row) if row else None


def runs_of(session: Session, source: SourceId, *, limit: int) -> list[Run]:
    """Newest first."""
    query = _RUNS.where(col(SourceRunRow.source_id) == source).order_by(col(SourceRunRow.seq).desc()).limit(limit)
    return [_run(row) for row in session.execute(query)]


def claim(session: Session, claimant: str, *, now: Instant, until: Instant) -> Run | None:
    """The oldest run that nobody works on, claimed; a run whose claim ran out has lost its worker. One of a source
    goes on at a time."""
    other = SourceRunRow.__table__.alias("other")  # type: ignore[attr-defined]
    sibling = exists().where(
        other.c.source_id == col(SourceRunRow.source_id),
        other.c.seq < col(SourceRunRow.seq),
        other.c.state.in_(_OPEN_RUN),
        other.c.listed_at.is_(None),
    )
    free = or_(col(SourceRunRow.claim).is_(None), col(SourceRunRow.lease_until) < now)
    id = session.scalars(
        select(col(SourceRunRow.id))
        .where(col(SourceRunRow.state).in_(_OPEN_RUN), col(SourceRunRow.listed_at).is_(None), free, ~sibling)
        .order_by(col(SourceRunRow.seq))
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if id is None:
        return None
    session.execute(
        update(SourceRunRow)
        .where(col(SourceRunRow.id) == id)
        .values(
            state=RunState.RUNNING,
            claim=claimant,
            lease_until=until,
            started_at=func.coalesce(col(SourceRunRow.started_at), now),
        )
    )
    return run(session, RunId(id))


def anything_to_claim(session: Session, now: Instant) -> bool:
    free = or_(col(SourceRunRow.claim).is_(None), col(SourceRunRow.lease_until) < now)
    query = select(col(SourceRunRow.seq)).where(
        col(SourceRunRow.state).in_(_OPEN_RUN), col(SourceRunRow.listed_at).is_(None), free
    )
    return session.execute(query.limit(1)).first() is not None


def release(session: Session, name: str) -> None:
    """Let go of what workers of that name had claimed: the one that lives now has not begun."""
    session.execute(
        update(SourceRunRow)
        .where(col(SourceRunRow.claim).startswith(f"{name}:", autoescape=True), col(SourceRunRow.state).in_(_OPEN_RUN))
        .values(claim=None, lease_until=None)
    )


def renew(session: Session, id: RunId, claimant: str, *, until: Instant) -> bool | None:
    """Hold a run for longer. None: it is no longer the claimant's. Else whether it is to be broken off."""
    result = session.execute(
        update(SourceRunRow)
        .where(col(SourceRunRow.id) == id, col(SourceRunRow.claim) == claimant, col(SourceRunRow.state).in_(_OPEN_RUN))
        .values(lease_until=until)
    )
    if not result.rowcount:  # type: ignore[attr-defined]
        return None
    return bool(session.execute(select(col(SourceRunRow.cancelling)).where(col(SourceRunRow.id) == id)).scalar_one())


def begin_listing(session: Session, id: RunId, *, whole: bool) -> None:
    session.execute(update(SourceRunRow).where(col(SourceRunRow.id) == id).values(whole=whole))


def keep_place(session: Session, id: RunId, cursor: Cursor) -> None:
    session.execute(update(SourceRunRow).where(col(SourceRunRow.id) == id).values(cursor=cursor))


def listed(session: Session, id: RunId, *, at: Instant) -> None:
    """Nothing more will be submitted; the run ends when its jobs have."""
    session.execute(
        update(SourceRunRow).where(col(SourceRunRow.id) == id).values(listed_at=at, claim=None, lease_until=None)
    )


def end(session: Session, id: RunId, state: RunState, *, at: Instant, problem: Problem | None = None) -> None:
    """A run ends once."""
    value = {"kind": problem.kind, "detail": problem.detail} if problem else None
    session.execute(
        update(SourceRunRow)
        .where(col(SourceRunRow.id) == id, col(SourceRunRow.state).in_(_OPEN_RUN))
        .values(state=state, ended_at=at, problem=value, claim=None, lease_until=None)
    )


def cancel(session: Session, id: RunId, *, at: Instant) -> None:
    """End a run that has not begun or has nothing more to list; have one that goes on broken off by its worker. Its
    jobs that are queued are cancelled."""
    mine = (col(SourceRunRow.id) == id, col(SourceRunRow.state).in_(_OPEN_RUN))
    session.execute(update(SourceRunRow).where(*mine).values(cancelling=True))
    session.execute(
        update(SourceRunRow)
        .where(*mine, or_(col(SourceRunRow.claim).is_(None), col(SourceRunRow.listed_at).is_not(None)))
        .values(state=RunState.CANCELLED, ended_at=at)
    )
    cancel_jobs(session, id, at=at)


def cancel_jobs(session: Session, id: RunId, *, at: Instant) -> None:
    """Cancel the jobs of a run that no worker has taken up."""
    session.execute(
        update(JobRow)
        .where(
            col(JobRow.id).in_(_jobs_of(id)),
            col(JobRow.state) == JobState.QUEUED,
            col(JobRow.batch).is_(None),
        )
        .values(state=JobState.CANCELLED, ended_at=at)
    )


def finish(session: Session, *, at: Instant) -> list[RunId]:
    """End the runs that have listed everything and whose jobs are over; says which."""
    going_on = select(col(SourceRunItemRow.run_id)).where(
        col(SourceRunItemRow.job_id).in_(select(col(JobRow.id)).where(col(JobRow.state).in_(_OPEN_JOB)))
    )
    ids = [
        RunId(id)
        for id in session.scalars(
            select(col(SourceRunRow.id)).where(
                col(SourceRunRow.state) == RunState.RUNNING,
                col(SourceRunRow.listed_at).is_not(None),
                col(SourceRunRow.id).not_in(going_on),
            )
        )
    ]
    for id in ids:
        end(session, id, RunState.SUCCEEDED, at=at)
    return ids


def any_listed(session: Session) -> bool:
    """Whether a run waits for its jobs."""
    query = select(col(SourceRunRow.seq)).where(
        col(SourceRunRow.state) == RunState.RUNNING, col(SourceRunRow.listed_at).is_not(None)
    )
    return session.execute(query.limit(1)).first() is not None


def open_jobs(session: Session, id: RunId) -> int:
    """How many jobs of a run are not over. From the side of the jobs: of those, few are open."""
    mine = exists().where(col(SourceRunItemRow.job_id) == col(JobRow.id), col(SourceRunItemRow.run_id) == id)
    query = select(func.count()).select_from(JobRow).where(col(JobRow.state).in_(_OPEN_JOB), mine)
    return session.execute(query).scalar_one()


def brought(session: Session, jobs: Iterable[JobId]) -> frozenset[JobId]:
    """Those of these jobs whose document a source brought, or came with a mail that one brought."""
    wanted = sorted(jobs)
    around = {job: {job} for job in wanted}
    for _ in range(_MAILS_IN_MAILS):  # the jobs of the mails around it, by which it is here
        asked = {mail for mails in around.values() for mail in mails}
        rows = session.execute(
            select(col(JobRow.id), col(VersionRow.job_id))
            .join(AttachmentRow, col(AttachmentRow.document_id) == col(JobRow.document_id))
            .join(VersionRow, col(VersionRow.id) == col(AttachmentRow.version_id))
            .where(col(JobRow.id).in_(asked))
        ).all()
        if not rows:
            break
        for mails in around.values():
            mails |= {JobId(mail) for job, mail in rows if job in mails}
    asked = {mail for mails in around.values() for mail in mails}
    job_of_item = col(SourceRunItemRow.job_id)
    by_source = set(session.scalars(select(job_of_item).where(job_of_item.in_(asked))))
    return frozenset(job for job, mails in around.items() if mails & by_source)


_MAILS_IN_MAILS = 3


def note(
    session: Session,
    id: RunId,
    *,
    key: str,
    token: str,
    uri: str,
    outcome: ItemOutcome,
    document: int | None,
    stated: Metadata,
    job: JobId | None = None,
    problem: Problem | None = None,
) -> None:
    """What became of an item; the same state of it again is noted in the place of the first."""
    session.execute(
        delete(SourceRunItemRow).where(
            col(SourceRunItemRow.run_id) == id, col(SourceRunItemRow.key) == key, col(SourceRunItemRow.token) == token
        )
    )
    session.add(
        SourceRunItemRow(
            run_id=id,
            key=key,
            token=token,
            uri=uri,
            outcome=outcome,
            document_id=document,
            job_id=job,
            stated=metadata_to_json(stated),
            problem={"kind": problem.kind, "detail": problem.detail} if problem else None,
        )
    )
    session.flush()


def note_unchanged(session: Session, id: RunId, source: SourceId, keys: Iterable[str]) -> None:
    """Count items that were left as they are, by the boundary of their document's newest version."""
    wanted = sorted(set(keys))
    newest = (
        select(func.max(col(VersionRow.number)))
        .where(col(VersionRow.document_id) == col(SourceItemRow.document_id))
        .correlate(SourceItemRow)
        .scalar_subquery()
    )
    counted: dict[int, int] = {}
    for start in range(0, len(wanted), 500):
        rows = session.execute(
            select(col(VersionBoundaryRow.boundary_id), func.count())
            .select_from(SourceItemRow)
            .join(VersionRow, col(VersionRow.document_id) == col(SourceItemRow.document_id))
            .join(
                VersionBoundaryRow,
                (col(VersionBoundaryRow.version_id) == col(VersionRow.id)) & holds(VersionBoundaryRow),
            )
            .where(
                col(SourceItemRow.source_id) == source,
                col(SourceItemRow.key).in_(wanted[start : start + 500]),
                col(VersionRow.number) == newest,
            )
            .group_by(col(VersionBoundaryRow.boundary_id))
        )
        for boundary, number in rows:
            counted[boundary] = counted.get(boundary, 0) + number
    insert_absent(
        session,
        SourceRunUnchangedRow,
        [{"run_id": id, "boundary_id": boundary, "number": 0} for boundary in sorted(counted)],
    )
    for boundary, number in sorted(counted.items()):
        session.execute(
            update(SourceRunUnchangedRow)
            .where(col(SourceRunUnchangedRow.run_id) == id, col(SourceRunUnchangedRow.boundary_id) == boundary)
            .values(number=SourceRunUnchangedRow.number + number)
        )


def unchanged_of(session: Session, id: RunId) -> Mapping[BoundaryId, int]:
    rows = session.execute(
        select(col(SourceRunUnchangedRow.boundary_id), col(SourceRunUnchangedRow.number)).where(
            col(SourceRunUnchangedRow.run_id) == id
        )
    )
    return {BoundaryId(boundary): number for boundary, number in rows}


def items_of(session: Session, id: RunId) -> list[Noted]:
    """What was noted in a run, in order."""
    return [_noted(row) for row in session.execute(_NOTED.where(col(SourceRunItemRow.run_id) == id))]


def note_of(session: Session, id: RunId, key: str) -> Noted | None:
    """What was last noted in a run of an item."""
    query = _NOTED.where(col(SourceRunItemRow.run_id) == id, col(SourceRunItemRow.key) == key)
    rows = session.execute(query).all()
    return _noted(rows[-1]) if rows else None


def boundaries_of(session: Session, id: RunId) -> dict[DocumentId, set[BoundaryId]]:
    """Today's boundaries of every version of the documents that a run noted."""
    rows = session.execute(
        select(col(DocumentRow.public_id), col(VersionBoundaryRow.boundary_id))
        .distinct()
        .select_from(SourceRunItemRow)
        .join(DocumentRow, col(DocumentRow.id) == col(SourceRunItemRow.document_id))
        .join(VersionRow, col(VersionRow.document_id) == col(SourceRunItemRow.document_id))
        .join(
            VersionBoundaryRow,
            (col(VersionBoundaryRow.version_id) == col(VersionRow.id)) & holds(VersionBoundaryRow),
        )
        .where(col(SourceRunItemRow.run_id) == id)
    )
    found: dict[DocumentId, set[BoundaryId]] = {}
    for document, boundary in rows:
        found.setdefault(DocumentId(document), set()).add(BoundaryId(boundary))
    return found


def _jobs_of(id: RunId) -> Any:
    return select(col(SourceRunItemRow.job_id)).where(
        col(SourceRunItemRow.run_id) == id, col(SourceRunItemRow.job_id).is_not(None)
    )


_NOTED = (
    select(SourceRunItemRow, col(DocumentRow.public_id), col(JobRow.state), col(JobRow.problem))
    .outerjoin(DocumentRow, col(DocumentRow.id) == col(SourceRunItemRow.document_id))
    .outerjoin(JobRow, col(JobRow.id) == col(SourceRunItemRow.job_id))
    .order_by(col(SourceRunItemRow.id))
)


def _noted(found: Row[*tuple[Any, ...]]) -> Noted:
    row, document, state, problem = found
    return Noted(
        uri=row.uri,
        outcome=ItemOutcome(row.outcome),
        document=DocumentId(document) if document else None,
        stated=metadata_from_json(row.stated),
        job=JobId(row.job_id) if row.job_id else None,
        job_state=JobState(state) if state else None,
        problem=Problem(**(row.problem or problem)) if row.problem or problem else None,
    )


_RUNS = select(SourceRunRow, col(SourceRow.name), col(SourceRow.collection)).join(
    SourceRow, col(SourceRow.id) == col(SourceRunRow.source_id)
)


def _run(found: Row[*tuple[Any, ...]]) -> Run:
    row, name, collection = found
    return Run(
        id=RunId(row.id),
        source=SourceName(name),
        source_id=SourceId(row.source_id),
        collection=collection,
        state=RunState(row.state),
        triggered_by=row.triggered_by,
        requested_at=Instant(row.requested_at),
        started_at=Instant(row.started_at) if row.started_at is not None else None,
        ended_at=Instant(row.ended_at) if row.ended_at is not None else None,
        cursor=Cursor(row.cursor) if row.cursor is not None else None,
        resumed=row.cursor is not None,
        whole=row.whole,
        confirmed=row.confirmed,
        problem=Problem(**row.problem) if row.problem else None,
    )
