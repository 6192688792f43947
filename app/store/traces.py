"""Traces and citations: what left, and what it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Select, func, insert, literal_column, select, update
from sqlalchemy.orm import Session
from sqlmodel import SQLModel, col

from app.domain.access import PrincipalRef, Proof
from app.domain.citation import CitationId
from app.domain.corpus import Digest, DocumentId, Span, VersionId
from app.domain.instants import Instant, days_after
from app.domain.trace import Account, Trace, TraceId, TraceKind
from app.store.chains import acted, chained, unchained
from app.store.database import insert_absent, one_of
from app.store.tables import CitationRow, DocumentRow, TraceRow, VersionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """What a citation points at."""

    id: CitationId
    document: DocumentId
    version: VersionId
    span: Span
    quote_digest: Digest


def add_trace(session: Session, trace: Trace) -> None:
    row = {
        "id": trace.id,
        "at": trace.at,
        "kind": trace.kind,
        "subject": trace.subject,
        "actor": chained(trace.actors),
        "proof": trace.proof,
        "outcome": trace.outcome,
        "request": dict(trace.request),
        "response": dict(trace.response),
        "grounds": dict(trace.grounds),
    }
    session.connection().execute(_ADD_TRACE, row)


_ADD_TRACE = insert(SQLModel.metadata.tables["traces"])
"""Without the unit of work, which cost half a millisecond of every answer."""


def trace(session: Session, id: TraceId) -> Trace | None:
    row = session.scalars(select(TraceRow).where(col(TraceRow.id) == id)).first()
    return _trace(row) if row else None


def traces(
    session: Session, *, of: tuple[PrincipalRef, Sequence[PrincipalRef]] | None, before: TraceId | None, limit: int
) -> list[Trace]:
    """Newest first: everybody's, or those of one subject with all of these actors in their chain; `before` is a trace
    among them."""
    query = select(TraceRow).order_by(col(TraceRow.seq).desc()).limit(limit)
    if of is not None:
        subject, actors = of
        query = query.where(col(TraceRow.subject) == subject)
        for actor in actors:
            query = query.where(acted(col(TraceRow.actor), actor))
    if before is not None:
        place = select(col(TraceRow.seq)).where(col(TraceRow.id) == before).scalar_subquery()
        query = query.where(col(TraceRow.seq) < func.coalesce(place, 0))
    return [_trace(row) for row in session.scalars(query)]


def retrievals(session: Session, *, since: Instant, limit: int) -> Iterator[Trace]:
    """The questions that were put to retrieve since then, newest first, as they are read."""
    query = (
        select(TraceRow)
        .where(col(TraceRow.kind) == TraceKind.RETRIEVE, col(TraceRow.at) >= since)
        .order_by(col(TraceRow.seq).desc())
        .limit(limit)
    )
    return map(_trace, session.scalars(query.execution_options(yield_per=_AT_A_TIME)))


_AT_A_TIME = 200


def add_citations(session: Session, cited: Sequence[Cited], *, at: Instant) -> None:
    """Make these citations reopenable; those that are there already are left."""
    if not cited:
        return
    connection = session.connection()
    leaving = {citation.id: citation for citation in cited}
    left = dict(connection.execute(_last_left(connection.dialect.name), {"ids": [*leaving]}).all())
    absent = [
        {
            "id": id,
            "version_id": citation.version,
            "start": citation.span.start,
            "end": citation.span.end,
            "quote_digest": citation.quote_digest,
            "created_at": at,
            "cited_at": at,
        }
        for id, citation in sorted(leaving.items())
        if id not in left
    ]
    insert_absent(session, CitationRow, absent)
    stale = [id for id, last in left.items() if last < days_after(at, -1)]
    if stale:
        _note_citing(session, stale, at=at)


@cache
def _last_left(dialect: str) -> Select[str, int]:
    return select(col(CitationRow.id), col(CitationRow.cited_at)).where(one_of(col(CitationRow.id), "ids", dialect))


def _note_citing(session: Session, stale: Sequence[str], *, at: Instant) -> None:
    """Let these have left today. Once a day each is written, and never while somebody else writes it: nobody waits."""
    free = (
        select(col(CitationRow.id))
        .where(col(CitationRow.id).in_(stale), col(CitationRow.cited_at) < days_after(at, -1))
        .with_for_update(skip_locked=True)
    )
    if ids := session.scalars(free).all():
        session.execute(update(CitationRow).where(col(CitationRow.id).in_(ids)).values(cited_at=at))


def found_nothing(session: Session, *, since: Instant, limit: int) -> Iterator[tuple[PrincipalRef, Instant, Account]]:
    """Who asked what when of the questions that found nothing since then, the newest first."""
    query = (
        select(col(TraceRow.subject), col(TraceRow.at), col(TraceRow.request))
        .where(
            literal_column("kind = 'retrieve' AND outcome = 'empty'"),  # as the index has it, or it is not used
            col(TraceRow.at) >= since,
        )
        .order_by(col(TraceRow.at).desc())
        .limit(limit)
    )
    for subject, at, request in session.execute(query.execution_options(yield_per=_AT_A_TIME)):
        yield PrincipalRef(subject), Instant(at), request


def citation(session: Session, id: CitationId) -> Cited | None:
    row = session.execute(
        select(CitationRow, col(DocumentRow.public_id))
        .join(VersionRow, col(VersionRow.id) == col(CitationRow.version_id))
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .where(col(CitationRow.id) == id)
    ).first()
    if row is None:
        return None
    found, document = row
    return Cited(
        id=id,
        document=DocumentId(document),
        version=VersionId(found.version_id),
        span=Span(start=found.start, end=found.end),
        quote_digest=Digest(found.quote_digest),
    )


def _trace(row: TraceRow) -> Trace:
    return Trace(
        id=TraceId(row.id),
        at=Instant(row.at),
        kind=TraceKind(row.kind),
        subject=PrincipalRef(row.subject),
        actors=unchained(row.actor),
        proof=Proof(row.proof),
        outcome=row.outcome,
        request=row.request,
        response=row.response,
        grounds=row.grounds,
    )
