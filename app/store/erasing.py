"""Taking things out: hidden with the request, then removed for good, step by step, each of which may be run again.

INVARIANT: a published version without a boundary that holds today is read by nobody, since whatever reads content
joins it. That is what hides a version from the moment its erasure is on record; removing it comes after.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, aliased
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.citation import CitationId
from app.domain.corpus import ChunkId, Digest, DocumentId, Metadata, Origin, VersionId, text_digest
from app.domain.erasure import ErasedVersion, Erasure, ErasureId, ErasureState, Probes
from app.domain.errors import Conflict
from app.domain.evidence import PointId, point_of
from app.domain.instants import FOREVER, Instant
from app.domain.jobs import JobState
from app.store import golden
from app.store.database import in_pieces, insert_absent
from app.store.holds import covering
from app.store.metadata import metadata_to_json, source_to_json
from app.store.recorded import close, holds
from app.store.tables import (
    AttachmentRow,
    ChunkRow,
    CitationRow,
    DocumentRow,
    ElementRow,
    EmbeddingRow,
    ErasedVersionRow,
    ErasureRow,
    EscalationDecisionRow,
    EscalationRow,
    IndexTaskRow,
    JobRow,
    PeriodRow,
    ReviewRow,
    SourceItemRow,
    SourceRow,
    SourceRunItemRow,
    SourceRunRow,
    TextRow,
    TombstoneRow,
    TraceRow,
    TransformationRow,
    VersionBoundaryRow,
    VersionRow,
    WithdrawalRow,
)

NO_TEXT: Final = text_digest("")
"""What an erased version's text is: the empty one, so that its row still points at a text."""

NO_LONGER_KEPT: Final = "What it was is no longer kept: the document was erased."

_AT_ONCE: Final = 500
_OPEN: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A piece of a version's own text, and the instants (valid, known) at which its periods begin."""

    text: str
    instants: tuple[tuple[Instant, Instant], ...]


def mark_of(collection: str, uri: str, *, pepper: bytes) -> str:
    """The uri as a tombstone has it: it can be recognised, and not read."""
    return hmac.new(pepper, f"tombstone:{collection}\0{uri}".encode(), hashlib.sha256).hexdigest()


def request(
    session: Session,
    id: ErasureId,
    document: DocumentId,
    versions: Sequence[VersionId] | None,
    *,
    reason: str,
    rule: str | None,
    pepper: bytes,
    at: Instant,
    by: PrincipalRef,
    claim: tuple[str, Instant] | None = None,
) -> None:
    """Let these versions of a document, or all of it, be erased: nobody reads them once this is committed.

    Raises `Conflict` under legal hold. This is the only way in, so whatever asks for an erasure asks here.
    """
    row = session.scalars(select(DocumentRow).where(col(DocumentRow.public_id) == document)).one()
    assert row.id is not None
    held = covering(session, document, row.collection)
    if held:
        own = [each for each in held if each.covers(document, row.collection)]
        raise Conflict(under_hold(own[0].id, own[0].title) if own else _HELD_WITH_ITS_MAIL)
    if versions is None:
        _cancel(session, row.id, at=at)
    going = _going(session, row.id, versions)
    whole = versions is None or not _remains(session, row.id, going)
    session.add(
        ErasureRow(
            id=id,
            document_id=row.id,
            collection=row.collection,
            whole=whole,
            reason=reason,
            rule=rule,
            requested_at=at,
            requested_by=by,
            state=ErasureState.REQUESTED,
            originals=sorted(
                {each.digest for each in going}
                | _never_submitted(session, [each.id or 0 for each in going])
                | (_submitted(session, row.id) if whole else set())
            ),
            removed={},
            kept={},
            probes={},
            index_rewritten=False,
            certificate=None,
            claimed_by=claim[0] if claim else None,
            claimed_until=claim[1] if claim else 0,
        )
    )
    session.flush()
    session.add_all(
        ErasedVersionRow(
            version_id=each.id or 0, erasure=id, number=each.number, digest=each.digest, text_digest=each.text_digest
        )
        for each in going
    )
    session.flush()
    ids = _versions_of(id)
    close(session, VersionBoundaryRow, col(VersionBoundaryRow.version_id).in_(ids), at=at)
    session.execute(delete(IndexTaskRow).where(col(IndexTaskRow.version_id).in_(ids)))
    session.execute(update(VersionRow).where(col(VersionRow.id).in_(ids)).values(metadata_digest=""))
    if whole:
        mark = mark_of(row.collection, row.uri, pepper=pepper)
        close(session, TombstoneRow, col(TombstoneRow.mark) == mark, at=at)
        session.add(TombstoneRow(mark=mark, erasure=id, recorded_from=at, recorded_to=FOREVER, recorded_by=by))


def under_hold(id: str, title: str) -> str:
    return (
        f"This is under legal hold {id}, {title!r}: nothing of it is erased, by anybody. Ask an administrator, who "
        "alone can release the hold."
    )


_HELD_WITH_ITS_MAIL: Final = (
    "This came with a mail that is under legal hold: nothing of it is erased, by anybody. Ask an administrator, who "
    "alone can release the hold."
)
"""Which hold is told to whoever may read the mail, by `GET /v1/holds`."""


def barred_by(session: Session, mark: str) -> ErasureId | None:
    """The erasure that keeps a uri from being taken in again."""
    found = select(col(TombstoneRow.erasure)).where(col(TombstoneRow.mark) == mark, holds(TombstoneRow))
    erasure = session.scalars(found).first()
    return ErasureId(erasure) if erasure else None


def readmit(session: Session, id: ErasureId, *, reason: str, at: Instant, by: PrincipalRef) -> bool:
    """Let the uri of an erased document be taken in again; False if it may be already."""
    ended = session.execute(
        update(TombstoneRow)
        .where(col(TombstoneRow.erasure) == id, holds(TombstoneRow))
        .values(recorded_to=at, readmitted_by=by, readmit_reason=reason)
    )
    return bool(ended.rowcount)  # type: ignore[attr-defined]


def was_erased(session: Session, digest: Digest) -> bool:
    """Whether bytes like these were to be removed once: then they may be gone, or go in this moment."""
    version = select(col(ErasedVersionRow.version_id)).where(col(ErasedVersionRow.digest) == digest)
    job = (
        select(col(JobRow.seq))
        .join(ErasureRow, col(ErasureRow.document_id) == col(JobRow.document_id))
        .where(col(JobRow.blob) == digest)
    )
    return any(session.execute(each.limit(1)).first() is not None for each in (version, job))


# -- finding -----------------------------------------------------------------------------------------------------------


def erasure(session: Session, id: ErasureId) -> Erasure | None:
    found = _erasures(session, col(ErasureRow.id) == id)
    return found[0] if found else None


def erasures_in(session: Session, collection: str) -> list[Erasure]:
    """Newest first."""
    return _erasures(session, col(ErasureRow.collection) == collection)[::-1]


def erasure_of(session: Session, document: DocumentId) -> Erasure | None:
    """The erasure that a document went by, whole."""
    found = _erasures(session, col(DocumentRow.public_id) == document, col(ErasureRow.whole).is_(True))
    return found[-1] if found else None


def erasure_of_citation(session: Session, citation: CitationId) -> Erasure | None:
    """The erasure that what a citation points at went by."""
    version = select(col(CitationRow.version_id)).where(col(CitationRow.id) == citation).scalar_subquery()
    taken = select(col(ErasedVersionRow.erasure)).where(col(ErasedVersionRow.version_id) == version)
    id = session.scalars(taken).first()
    return erasure(session, ErasureId(id)) if id else None


def claim(session: Session, name: str, *, until: Instant, now: Instant) -> list[Erasure]:
    """Erasures that are not over and that nobody else is carrying out, given to `name` until then; oldest first."""
    free = or_(col(ErasureRow.claimed_by) == name, col(ErasureRow.claimed_until) <= now)
    session.execute(
        update(ErasureRow)
        .where(col(ErasureRow.state) != ErasureState.CERTIFIED, free)
        .values(claimed_by=name, claimed_until=until)
    )
    return _erasures(session, col(ErasureRow.state) != ErasureState.CERTIFIED, col(ErasureRow.claimed_by) == name)


def let_go(session: Session, name: str) -> None:
    """Leave what `name` claimed to whoever comes next."""
    session.execute(update(ErasureRow).where(col(ErasureRow.claimed_by) == name).values(claimed_until=0))


def anything_open(session: Session) -> bool:
    query = select(col(ErasureRow.seq)).where(col(ErasureRow.state) != ErasureState.CERTIFIED).limit(1)
    return session.execute(query).first() is not None


# -- what is to go -----------------------------------------------------------------------------------------------------


def points(session: Session, id: ErasureId) -> list[PointId]:
    """Every point that the index may hold of what is to go: each chunk in each period that was ever recorded."""
    rows = session.execute(
        select(col(ChunkRow.id), func.coalesce(col(PeriodRow.ordinal), 0))
        .outerjoin(PeriodRow, col(PeriodRow.version_id) == col(ChunkRow.version_id))
        .where(col(ChunkRow.version_id).in_(_versions_of(id)))
        .order_by(col(ChunkRow.id))
    )
    return [point_of(ChunkId(chunk or 0), ordinal) for chunk, ordinal in rows]


def sentences(session: Session, id: ErasureId, *, at_most: int, max_chars: int) -> list[Sentence]:
    """Pieces of what is to go, from chunks spread over all of it. Never stored: they live as long as the step does."""
    chunks = session.execute(
        select(col(ChunkRow.version_id), col(ChunkRow.start), col(ChunkRow.end), col(VersionRow.text_digest))
        .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
        .where(col(ChunkRow.version_id).in_(_versions_of(id)))
        .order_by(col(ChunkRow.id))
    ).all()
    found = []
    for version, start, end, digest in chunks[:: max(1, len(chunks) // at_most)][:at_most]:
        piece = func.substr(col(TextRow.text), start + 1, min(end - start, max_chars))
        text = session.execute(select(piece).where(col(TextRow.digest) == digest)).scalar_one()
        found.append(Sentence(text=text, instants=_beginnings(session, version)))
    return found


def _beginnings(session: Session, version: int) -> tuple[tuple[Instant, Instant], ...]:
    rows = session.execute(
        select(col(PeriodRow.valid_from), col(PeriodRow.recorded_from))
        .where(col(PeriodRow.version_id) == version, col(PeriodRow.valid_from) < col(PeriodRow.valid_to))
        .order_by(col(PeriodRow.ordinal))
    )
    return tuple((Instant(valid), Instant(known)) for valid, known in rows)


def originals(session: Session, id: ErasureId) -> list[Digest]:
    return [Digest(each) for each in session.scalars(select(col(ErasureRow.originals)).where(_named(id))).one()]


def original_is_wanted(session: Session, digest: Digest) -> bool:
    """Whether a version that stays, or a submission that may still be read, has these very bytes.

    Ask it in a `recording`, and remove the bytes before that ends: a submission is acknowledged in one.
    """
    version = exists().where(col(VersionRow.digest) == digest, _stays(col(VersionRow.id)))
    job = exists().where(
        col(JobRow.blob) == digest,
        col(JobRow.state).in_((*_OPEN, JobState.FAILED)),
        ~exists().where(col(ErasureRow.document_id) == col(JobRow.document_id), col(ErasureRow.whole).is_(True)),
    )
    attachment = exists().where(
        col(AttachmentRow.digest) == digest,
        col(VersionRow.id) == col(AttachmentRow.version_id),
        col(VersionRow.number).is_(None),  # it is submitted when its mail is published
        _stays(col(VersionRow.id)),
    )
    return bool(session.execute(select(or_(version, job, attachment))).scalar_one())


# -- removing ----------------------------------------------------------------------------------------------------------


def remove(session: Session, id: ErasureId, probes: Probes, *, points: int, rewritten: bool) -> None:
    """Remove from SQL all that an erasure covers, and keep what was found on the way; nothing if that is done.

    What stays of a version is its row, with its number, digests and times, for history and citations to point at.
    """
    row = session.scalars(select(ErasureRow).where(_named(id)).with_for_update()).one()
    if row.state != ErasureState.REQUESTED:
        return
    ids = list(session.scalars(_versions_of(id)))
    texts = {text for _, text in _digests(session, ids)}
    embedded = _embedded(session, ids)
    removed = {"versions": len(ids), "index_points": points}
    insert_absent(session, TextRow, [{"digest": NO_TEXT, "text": ""}])
    for some in _batched(ids):
        removed["elements"] = removed.get("elements", 0) + _deleted(session, ElementRow, some)
        removed["chunks"] = removed.get("chunks", 0) + _deleted(session, ChunkRow, some)
        _deleted(session, IndexTaskRow, some)
        _scrub_versions(session, some)
    removed["texts"] = _unused(session, TextRow, texts)
    removed["embeddings"] = _unused(session, EmbeddingRow, embedded)
    removed["submissions"] = _scrub_jobs(session, row.document_id, ids, whole=row.whole)
    _scrub_escalations(session, row.document_id)
    golden.forget(session, row.document_id)
    if row.whole:
        _scrub_document(session, row.document_id)
    row.kept = {
        "texts": _left(session, TextRow, texts - {NO_TEXT}),
        "embeddings": _left(session, EmbeddingRow, embedded),
    }
    left = sum(_counted(session, table, ids) for table in (ElementRow, ChunkRow, IndexTaskRow))
    row.removed = removed
    row.probes = {**_probes_to_json(probes), "rows_left": left}
    row.index_rewritten = rewritten
    row.state = ErasureState.REMOVED
    session.add(row)


def orphans(session: Session) -> tuple[set[Digest], set[Digest]]:
    """The texts and vectors that no version has."""
    texts = session.scalars(select(col(TextRow.digest)).where(_NO_VERSION))
    embeddings = session.scalars(select(col(EmbeddingRow.digest)).where(_NO_CHUNK))
    return {Digest(each) for each in texts} - {NO_TEXT}, {Digest(each) for each in embeddings}


def remove_unused(session: Session, texts: set[Digest], embeddings: set[Digest]) -> None:
    """Remove those of these that still no version has."""
    _unused(session, TextRow, texts)
    _unused(session, EmbeddingRow, embeddings)


def counted_originals(session: Session, id: ErasureId, *, removed: int, kept: int, left: int) -> None:
    row = session.scalars(select(ErasureRow).where(_named(id)).with_for_update()).one()
    if row.state == ErasureState.REMOVED:
        row.removed = {**row.removed, "originals": removed}
        row.kept = {**row.kept, "originals": kept}
        row.probes = {**row.probes, "originals_left": left}
        session.add(row)


def certify(session: Session, id: ErasureId, certificate: dict[str, object], digest: Digest) -> None:
    """The last word on an erasure: it stands as it was first given."""
    session.execute(
        update(ErasureRow)
        .where(_named(id), col(ErasureRow.state) == ErasureState.REMOVED)
        .values(state=ErasureState.CERTIFIED, certificate=certificate, certificate_digest=digest, claimed_until=0)
    )


def rewritten(session: Session, id: ErasureId) -> bool:
    """Whether the index rewrote its files for this erasure."""
    return session.scalars(select(col(ErasureRow.index_rewritten)).where(_named(id))).one()


def wanted_embeddings(session: Session, digests: Iterable[Digest]) -> frozenset[Digest]:
    """Those of these that some chunk has, which stays until this transaction ends: only they may be cached.

    What is embedded takes a while, and may have been erased by then.
    """
    found = session.scalars(
        select(col(ChunkRow.embedded_digest))
        .where(col(ChunkRow.embedded_digest).in_(list(digests)))
        .with_for_update(read=True)
    )
    return frozenset(Digest(each) for each in found)


# -- parts -------------------------------------------------------------------------------------------------------------


def _named(id: ErasureId) -> ColumnElement[bool]:
    return col(ErasureRow.id) == id


def _versions_of(id: ErasureId) -> Select[int]:
    return select(col(ErasedVersionRow.version_id)).where(col(ErasedVersionRow.erasure) == id)


def _stays(version: Mapped[int | None]) -> ColumnElement[bool]:
    return ~exists().where(col(ErasedVersionRow.version_id) == version)


def _going(session: Session, document: int, versions: Sequence[VersionId] | None) -> list[VersionRow]:
    """The versions that an erasure takes, staged ones too if it takes all, and none that another one has."""
    query = select(VersionRow).where(col(VersionRow.document_id) == document, _stays(col(VersionRow.id)))
    if versions is not None:
        query = query.where(col(VersionRow.id).in_(list(versions)))
    return list(session.scalars(query.order_by(col(VersionRow.id))))


def _remains(session: Session, document: int, going: Sequence[VersionRow]) -> bool:
    """Whether anything of the document is there beside these: a version, or a submission that may become one."""
    taken = [each.id for each in going]
    other = _going(session, document, None)
    pending = select(col(JobRow.seq)).where(col(JobRow.document_id) == document, col(JobRow.state).in_(_OPEN))
    return any(each.id not in taken for each in other) or session.execute(pending.limit(1)).first() is not None


def _cancel(session: Session, document: int, *, at: Instant) -> None:
    """End what is still being ingested. Whoever is storing a part of it is waited for, and what it stored goes too."""
    session.execute(
        update(JobRow)
        .where(col(JobRow.document_id) == document, col(JobRow.state).in_(_OPEN))
        .values(state=JobState.CANCELLED, ended_at=at)
    )


def _submitted(session: Session, document: int) -> set[str]:
    """The originals of all that was ever submitted of a document, published or not."""
    return set(session.scalars(select(col(JobRow.blob)).where(col(JobRow.document_id) == document)))


def _never_submitted(session: Session, ids: Sequence[int]) -> set[str]:
    """What came with these versions and became no document: nobody else removes its bytes."""
    found: set[str] = set()
    for some in _batched(ids):
        unnamed = select(col(AttachmentRow.digest)).where(
            col(AttachmentRow.version_id).in_(some), col(AttachmentRow.document_id).is_(None)
        )
        found |= set(session.scalars(unnamed))
    return found


def _digests(session: Session, ids: Sequence[int]) -> list[tuple[str, Digest]]:
    rows = session.execute(
        select(col(ErasedVersionRow.digest), col(ErasedVersionRow.text_digest)).where(
            col(ErasedVersionRow.version_id).in_(ids)
        )
    )
    return [(digest, Digest(text)) for digest, text in rows]


def _embedded(session: Session, ids: Sequence[int]) -> set[Digest]:
    found: set[Digest] = set()
    for some in _batched(ids):
        rows = session.scalars(select(col(ChunkRow.embedded_digest)).where(col(ChunkRow.version_id).in_(some)))
        found |= {Digest(each) for each in rows}
    return found


def _deleted(session: Session, table: type[ElementRow | ChunkRow | IndexTaskRow], ids: Sequence[int]) -> int:
    gone = session.execute(delete(table).where(col(table.version_id).in_(ids)))
    return int(gone.rowcount)  # type: ignore[attr-defined]


def _counted(session: Session, table: type[ElementRow | ChunkRow | IndexTaskRow], ids: Sequence[int]) -> int:
    query = select(func.count()).select_from(table).where(col(table.version_id).in_(_erased_among(ids)))
    return session.execute(query).scalar_one()


def _erased_among(ids: Sequence[int]) -> Select[int]:
    return select(col(ErasedVersionRow.version_id)).where(
        col(ErasedVersionRow.version_id) >= min(ids, default=0), col(ErasedVersionRow.version_id).in_(ids)
    )


_Referring = aliased(VersionRow)
_NO_VERSION = ~exists().where(col(_Referring.text_digest) == col(TextRow.digest))
_NO_CHUNK = ~exists().where(col(ChunkRow.embedded_digest) == col(EmbeddingRow.digest))


def _unused(session: Session, table: type[TextRow | EmbeddingRow], digests: set[Digest]) -> int:
    """Delete those that nothing refers to any more; how many went."""
    unused = _NO_VERSION if table is TextRow else _NO_CHUNK
    gone = 0
    for some in _batched(sorted(digests)):
        session.execute(select(col(table.digest)).where(col(table.digest).in_(some)).with_for_update()).all()
        ended = session.execute(
            delete(table).where(col(table.digest).in_(some), unused).execution_options(synchronize_session=False)
        )
        gone += int(ended.rowcount)  # type: ignore[attr-defined]
    return gone


def _left(session: Session, table: type[TextRow | EmbeddingRow], digests: set[Digest]) -> int:
    """Those that are still there, since something that stays has the very same."""
    return sum(
        session.execute(select(func.count()).select_from(table).where(col(table.digest).in_(some))).scalar_one()
        for some in _batched(sorted(digests))
    )


def _scrub_versions(session: Session, ids: Sequence[int]) -> None:
    session.execute(delete(TransformationRow).where(col(TransformationRow.version_id).in_(ids)))
    staged = select(col(VersionRow.id)).where(col(VersionRow.id).in_(ids), col(VersionRow.number).is_(None))
    session.execute(
        delete(AttachmentRow)
        .where(col(AttachmentRow.version_id).in_(staged))
        .execution_options(synchronize_session=False)
    )
    session.execute(
        delete(VersionRow).where(col(VersionRow.id).in_(ids), col(VersionRow.number).is_(None))
    )  # nothing else points at what was never published
    session.execute(
        update(VersionRow)
        .where(col(VersionRow.id).in_(ids))
        .values(
            title="",
            text_digest=NO_TEXT,
            metadata_digest="",
            source=source_to_json(Origin(connector="erased")),
            attributes={},
            findings=[],
            detected=[],
        )
    )
    for table in (WithdrawalRow, VersionBoundaryRow, PeriodRow):
        reasoned = update(table).where(col(table.version_id).in_(ids), col(table.reason).is_not(None))
        session.execute(reasoned.values(reason=NO_LONGER_KEPT))
    session.execute(update(ReviewRow).where(col(ReviewRow.version_id).in_(ids)).values(note=NO_LONGER_KEPT))
    session.execute(update(AttachmentRow).where(col(AttachmentRow.version_id).in_(ids)).values(name=""))


def _scrub_escalations(session: Session, document: int) -> None:
    """Take out of what people were asked about a document, or about an answer that showed it, what they said of it."""
    public = session.get_one(DocumentRow, document).public_id
    asked = select(col(EscalationRow.id)).where(col(EscalationRow.document) == public)
    traced = (
        select(col(EscalationRow.id), col(TraceRow.response))
        .join(TraceRow, col(TraceRow.id) == col(EscalationRow.trace))
        .where(col(EscalationRow.document).is_(None))
    )
    about = set(session.scalars(asked))
    for id, response in session.execute(traced):
        if any(each["document"] == public for each in response.get("passages", ())):
            about.add(id)
    for some in in_pieces(about):
        decided = update(EscalationDecisionRow).where(col(EscalationDecisionRow.escalation).in_(some))
        session.execute(decided.values(reason=NO_LONGER_KEPT))
        session.execute(update(EscalationRow).where(col(EscalationRow.id).in_(some)).values(reason=NO_LONGER_KEPT))


def _scrub_jobs(session: Session, document: int, ids: Sequence[int], *, whole: bool) -> int:
    """Take out of submissions what they say of the document: of all, or of those that made these versions."""
    query = select(JobRow).where(col(JobRow.document_id) == document)
    if not whole:
        made = select(col(VersionRow.job_id)).where(col(VersionRow.id).in_(ids))
        query = query.where(col(JobRow.id).in_(made))
    said = metadata_to_json(Metadata(uri="", source=Origin(connector="erased")))
    submissions = list(session.scalars(query))
    for job in submissions:
        job.filename, job.media_type, job.metadata_json, job.metadata_digest = "", None, said, ""
        if job.problem:
            job.problem = {**job.problem, "detail": NO_LONGER_KEPT}
        if job.result:
            job.result = {**job.result, "findings": []}
        session.add(job)
    session.flush()
    return len(submissions)


def _scrub_document(session: Session, document: int) -> None:
    row = session.get_one(DocumentRow, document)
    row.uri = f"erased:{row.public_id}"
    session.add(row)
    _forget_at_sources(session, document, row.uri)


def _forget_at_sources(session: Session, document: int, name: str) -> None:
    """Leave nothing of what a document is called where it came from; where a listing goes on may be told by a name."""
    items = select(SourceItemRow).where(col(SourceItemRow.document_id) == document)
    noted_of = [col(SourceRunItemRow.document_id) == document]
    for item in session.scalars(items).all():
        runs = select(col(SourceRunRow.id)).where(col(SourceRunRow.source_id) == item.source_id)
        noted_of.append(  # before it was taken in, it may have been refused
            and_(col(SourceRunItemRow.key) == item.key, col(SourceRunItemRow.run_id).in_(runs))
        )
        for table, source in ((SourceRow, col(SourceRow.id)), (SourceRunRow, col(SourceRunRow.source_id))):
            told = update(table).where(source == item.source_id, col(table.cursor).contains(item.key, autoescape=True))
            session.execute(told.values(cursor=None))
        session.delete(item)
    seen = select(SourceRunItemRow).where(or_(*noted_of))
    for noted in session.scalars(seen).all():
        said = metadata_to_json(Metadata(uri=name, source=Origin(connector="erased")))
        noted.key, noted.uri, noted.stated = f"{name}:{noted.id}", name, said
        if noted.problem:
            noted.problem = {**noted.problem, "detail": NO_LONGER_KEPT}
        session.add(noted)


def _batched(items: Sequence[int] | Sequence[Digest]) -> "list[list[int]]":
    return [list(items[start : start + _AT_ONCE]) for start in range(0, len(items), _AT_ONCE)]  # type: ignore[arg-type]


def _erasures(session: Session, *where: ColumnElement[bool]) -> list[Erasure]:
    rows = session.execute(
        select(ErasureRow, col(DocumentRow.public_id))
        .join(DocumentRow, col(DocumentRow.id) == col(ErasureRow.document_id))
        .where(*where)
        .order_by(col(ErasureRow.seq))
        .execution_options(populate_existing=True)
    ).all()
    versions: dict[str, list[ErasedVersion]] = {}
    for some in [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]:
        for each in session.scalars(
            select(ErasedVersionRow)
            .where(col(ErasedVersionRow.erasure).in_([row.id for row, _ in some]))
            .order_by(col(ErasedVersionRow.version_id))
        ):
            versions.setdefault(each.erasure, []).append(
                ErasedVersion(number=each.number, digest=Digest(each.digest), text_digest=Digest(each.text_digest))
            )
    return [_erasure(row, document, versions.get(row.id, [])) for row, document in rows]


def _erasure(row: ErasureRow, document: str, versions: Sequence[ErasedVersion]) -> Erasure:
    return Erasure(
        id=ErasureId(row.id),
        document=DocumentId(document),
        collection=row.collection,
        whole=row.whole,
        versions=tuple(versions),
        reason=row.reason,
        rule=row.rule,
        requested_at=Instant(row.requested_at),
        requested_by=PrincipalRef(row.requested_by),
        state=ErasureState(row.state),
        removed=row.removed,
        kept=row.kept,
        probes=Probes(**row.probes),
        certificate=row.certificate,
        certificate_digest=Digest(row.certificate_digest) if row.certificate_digest else None,
    )


def _probes_to_json(probes: Probes) -> dict[str, int]:
    return {
        "sentences": probes.sentences,
        "queries": probes.queries,
        "found_before": probes.found_before,
        "found": probes.found,
        "points_left": probes.points_left,
        "rows_left": probes.rows_left,
        "originals_left": probes.originals_left,
    }
