"""Generations of the index: which there are, which one answers, and which are still told of changes."""

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.corpus import Digest
from app.domain.generations import FIRST, Generation, GenerationId, GenerationState, Makeup, Progress
from app.domain.instants import Instant
from app.store import publishing
from app.store.tables import ChunkRow, EmbeddingRow, EpochsRow, GenerationRow, IndexTaskRow, VersionRow

HELD = (GenerationState.BUILDING, GenerationState.ACTIVE, GenerationState.RETIRED)
"""Those that have an index."""


def generations(session: Session) -> list[Generation]:
    """All that ever were, the newest first."""
    return [_generation(row) for row in session.scalars(select(GenerationRow).order_by(col(GenerationRow.id).desc()))]


def generation(session: Session, id: GenerationId) -> Generation:
    return _generation(session.get_one(GenerationRow, id))


def in_state(session: Session, *states: GenerationState) -> list[Generation]:
    """In the order in which they were made."""
    rows = session.scalars(
        select(GenerationRow).where(col(GenerationRow.state).in_(states)).order_by(col(GenerationRow.id))
    )
    return [_generation(row) for row in rows]


def active(session: Session) -> Generation:
    (found,) = in_state(session, GenerationState.ACTIVE)
    return found


def building(session: Session) -> Generation | None:
    return next(iter(in_state(session, GenerationState.BUILDING)), None)


def describe_first(session: Session, makeup: Makeup, *, analyzer: str, at: Instant) -> bool:
    """Say what the first generation is made with, if nobody has; whether that was to be said.

    What was indexed before generations were written down was made with the model that made the vectors kept.
    """
    told = session.execute(
        update(GenerationRow)
        .where(col(GenerationRow.id) == FIRST, col(GenerationRow.embedding) == "")
        .values(embedding=makeup.embedding, dimension=makeup.dimension, analyzer=analyzer, made_at=at, active_from=at)
    )
    if not told.rowcount:  # type: ignore[attr-defined]
        return False
    known = list(session.scalars(select(col(EmbeddingRow.fingerprint)).distinct().limit(2)))
    if len(known) == 1:
        settle_fingerprint(session, FIRST, known[0])
    return True


def settle_fingerprint(session: Session, id: GenerationId, fingerprint: str) -> str:
    """Say which model's vectors a generation holds, if nobody has; what it then is."""
    unsaid = (col(GenerationRow.id) == id, col(GenerationRow.fingerprint).is_(None))
    session.execute(update(GenerationRow).where(*unsaid).values(fingerprint=fingerprint))
    return session.execute(select(col(GenerationRow.fingerprint)).where(col(GenerationRow.id) == id)).scalar_one() or ""


def begin(session: Session, makeup: Makeup, *, at: Instant) -> GenerationId:
    """A generation to be built, told of every version. Call it in a recording: nothing is changed meanwhile."""
    row = GenerationRow(
        embedding=makeup.embedding,
        fingerprint=None,
        dimension=makeup.dimension,
        analyzer=makeup.analyzer,
        state=GenerationState.BUILDING,
        made_at=at,
    )
    session.add(row)
    session.flush()
    id = GenerationId(row.id or 0)
    publishing.replace_index_tasks_by_all(session, id)
    return id


def activate(session: Session, id: GenerationId, *, at: Instant) -> None:
    """Let a generation answer from now on, and retire the one that did. Call it in a recording."""
    session.execute(
        update(GenerationRow)
        .where(col(GenerationRow.state) == GenerationState.ACTIVE)
        .values(state=GenerationState.RETIRED, active_to=at)
    )
    session.execute(
        update(GenerationRow)
        .where(col(GenerationRow.id) == id)
        .values(state=GenerationState.ACTIVE, active_from=at, builder=None)
    )
    session.execute(update(EpochsRow).values(generation=id))
    publishing.tell_of_staged(session, id)
    _untold(session)


def abandon(session: Session, id: GenerationId, *, at: Instant) -> None:
    """Build a generation no further. Call it in a recording."""
    session.execute(
        update(GenerationRow)
        .where(col(GenerationRow.id) == id)
        .values(state=GenerationState.RETIRED, active_to=at, builder=None)
    )
    _untold(session)


def _untold(session: Session) -> None:
    """What is retired is told nothing more."""
    told = select(col(GenerationRow.id)).where(col(GenerationRow.state).in_(publishing.TOLD))
    session.execute(delete(IndexTaskRow).where(col(IndexTaskRow.generation_id).not_in(told)))


def remove(session: Session, id: GenerationId) -> None:
    """Write down that its index is gone."""
    session.execute(update(GenerationRow).where(col(GenerationRow.id) == id).values(state=GenerationState.REMOVED))
    session.execute(delete(IndexTaskRow).where(col(IndexTaskRow.generation_id) == id))


def claim(session: Session, id: GenerationId, builder: str, *, until: Instant, now: Instant) -> bool:
    """Have a generation to oneself to build; False while another worker has it."""
    free = or_(
        col(GenerationRow.builder).is_(None),
        col(GenerationRow.builder) == builder,
        col(GenerationRow.builder_until) < now,
    )
    building = col(GenerationRow.state) == GenerationState.BUILDING
    told = session.execute(
        update(GenerationRow)
        .where(col(GenerationRow.id) == id, building, free)
        .values(builder=builder, builder_until=until)
    )
    return bool(told.rowcount)  # type: ignore[attr-defined]


def count_cut_off(session: Session, id: GenerationId, chunks: int) -> None:
    session.execute(
        update(GenerationRow).where(col(GenerationRow.id) == id).values(cut_off=col(GenerationRow.cut_off) + chunks)
    )


def progress(session: Session, id: GenerationId) -> Progress:
    """How many published chunks it was told of, of all: with their vectors, whatever is moved since."""
    total = publishing.published_chunks(session)
    waiting = exists().where(
        col(IndexTaskRow.version_id) == col(ChunkRow.version_id),
        col(IndexTaskRow.generation_id) == id,
        col(IndexTaskRow.whole),
    )
    left = session.execute(
        select(func.count()).select_from(ChunkRow).join(VersionRow).where(col(VersionRow.number).is_not(None), waiting)
    ).scalar_one()
    return Progress(done=max(total - left, 0), total=total)


def forget_vectors(session: Session, *, after: Digest | None, limit: int) -> Digest | None:
    """Take away kept vectors that no generation with an index is made with, some at a time in the order of digests.

    Returns what to go on after, or None when that was all.
    """
    some = select(col(EmbeddingRow.digest)).distinct().order_by(col(EmbeddingRow.digest)).limit(limit)
    if after is not None:
        some = some.where(col(EmbeddingRow.digest) > after)
    looked_at = list(session.scalars(some))
    if not looked_at:
        return None
    within = col(EmbeddingRow.digest).between(looked_at[0], looked_at[-1])
    session.execute(delete(EmbeddingRow).where(within, _of_no_generation()))
    return Digest(looked_at[-1])


def _of_no_generation() -> ColumnElement[bool]:
    made_with = select(col(GenerationRow.fingerprint)).where(
        col(GenerationRow.state).in_(HELD), col(GenerationRow.fingerprint).is_not(None)
    )
    return col(EmbeddingRow.fingerprint).not_in(made_with)


def _generation(row: GenerationRow) -> Generation:
    return Generation(
        id=GenerationId(row.id or 0),
        makeup=Makeup(embedding=row.embedding, dimension=row.dimension, analyzer=row.analyzer),
        fingerprint=row.fingerprint,
        state=GenerationState(row.state),
        made_at=Instant(row.made_at),
        active_from=_instant(row.active_from),
        active_to=_instant(row.active_to),
        cut_off=row.cut_off,
    )


def _instant(stored: int | None) -> Instant | None:
    return Instant(stored) if stored is not None else None
