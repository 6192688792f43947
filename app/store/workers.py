"""Workers: which of them live, and what becomes of the batches of those that do not."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.instants import Instant
from app.domain.jobs import JobId
from app.store import jobs
from app.store.tables import WorkerRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """Which worker a process is. It holds the lock of its name at its place, so there it is the only one."""

    name: str
    incarnation: str
    """Of this process: what it claimed is never taken for another's of its name."""
    place: str

    def batch(self, id: str) -> str:
        return f"{_owner(self.name, self.incarnation)}:{id}"


def register(session: Session, me: Self, *, clock: Instant, silent_before: Instant, at: Instant) -> str | None:
    """Let this process be the worker of its name; the place of the one that is, if it may still live: if it was seen
    since `silent_before`.

    One that was at the same place is gone, however lately it was seen, since its lock is held by this one: what it
    had is queued again.
    """
    found = session.execute(
        select(WorkerRow).where(col(WorkerRow.name) == me.name).with_for_update()
    ).scalar_one_or_none()
    if found is not None and found.place != me.place and found.seen_at >= silent_before:
        return found.place
    if found is not None:
        session.delete(found)
        session.flush()
        release_batches(session, _owner(found.name, found.incarnation), crashed=True, at=at)
    session.add(WorkerRow(name=me.name, incarnation=me.incarnation, place=me.place, started_at=clock, seen_at=clock))
    return None


def beat(session: Session, me: Self, *, clock: Instant) -> bool:
    """Say that this worker lives; False when it was taken for dead, or replaced."""
    told = session.execute(update(WorkerRow).where(*_row_of(me)).values(seen_at=clock))
    return bool(told.rowcount)  # type: ignore[attr-defined]


def leave(session: Session, me: Self, *, at: Instant) -> None:
    """A worker that ends in order: its batches are anybody's at once, and nothing is held against them."""
    if session.execute(delete(WorkerRow).where(*_row_of(me))).rowcount:  # type: ignore[attr-defined]
        release_batches(session, _owner(me.name, me.incarnation), crashed=False, at=at)


def anybody_gone(session: Session, *, silent_before: Instant) -> bool:
    """Whether there is something for `bury`; asked of a reading session."""
    rows = session.scalars(select(WorkerRow)).all()
    known = {_owner(row.name, row.incarnation) for row in rows}
    return any(row.seen_at < silent_before for row in rows) or bool(_owners(session) - known)


def bury(session: Session, *, silent_before: Instant, at: Instant) -> list[JobId]:
    """Queue again what workers hold that were not seen since `silent_before`, or that are not there at all.

    INVARIANT: of several that find the same worker dead, one deletes its row and releases its batches; and a worker
    whose beat came first keeps both.
    """
    silent = col(WorkerRow.seen_at) < silent_before
    released: list[JobId] = []
    for row in session.scalars(select(WorkerRow).where(silent)).all():
        its = (col(WorkerRow.name) == row.name, col(WorkerRow.incarnation) == row.incarnation)
        if session.execute(delete(WorkerRow).where(*its, silent)).rowcount:  # type: ignore[attr-defined]
            released += release_batches(session, _owner(row.name, row.incarnation), crashed=True, at=at)
    known = {_owner(row.name, row.incarnation) for row in session.scalars(select(WorkerRow))}
    for owner in sorted(_owners(session) - known):
        released += release_batches(session, owner, crashed=False, at=at)
    return released


def release_batches(session: Session, owner: str, *, crashed: bool, at: Instant) -> list[JobId]:
    """Queue again the jobs of a worker's batches that are not over."""
    batches = [each for each in jobs.open_batches(session) if _owner_of(each) == owner]
    return [job for batch in batches for job in jobs.release(session, batch, crashed=crashed, at=at)]


def _owners(session: Session) -> set[str]:
    return {_owner_of(batch) for batch in jobs.open_batches(session)}


def _owner(name: str, incarnation: str) -> str:
    return f"{name}/{incarnation}"


def _owner_of(batch: str) -> str:
    return batch.rpartition(":")[0]


def _row_of(me: Self) -> tuple[ColumnElement[bool], ...]:
    return col(WorkerRow.name) == me.name, col(WorkerRow.incarnation) == me.incarnation
