"""Erasing: an owner's request, carried out step by step to a certificate, whichever process is killed meanwhile."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import Action
from app.domain.citation import CitationId
from app.domain.corpus import Digest, DocumentId
from app.domain.erasure import (
    Erasure,
    ErasureId,
    ErasureState,
    Guarantees,
    Probes,
    canonical_digest,
    certificate_of,
)
from app.domain.errors import Conflict, IndexUnavailable, NotFound, Unavailable
from app.domain.evidence import IndexQuery, PointId, chunk_of
from app.domain.instants import Instant
from app.domain.trace import TraceKind
from app.operations import authorize, read
from app.operations.attest import record, record_with
from app.operations.curate import apart_from, curating
from app.operations.generations import holding
from app.operations.identify import Credentials, Standing, identify
from app.operations.submit import curated
from app.ports import Institution, Ports
from app.store import boundaries, erasing, publishing
from app.store.database import reading, recording, rewritten, writing

ABSENT: Final = "There is no erasure by that id that you may know of."

CLAIM_MS: Final = 10_000
"""How long whoever carries out an erasure is left alone with it. Two at once do no harm, and the work twice."""

SENTENCES: Final = 8
"""Asked with, of each erasure."""

SENTENCE_CHARS: Final = 300
_INSTANTS: Final = 3
"""Of each sentence's version: the beginnings of its first period, of its last, and of one between."""

_DEPTH: Final = 50


def erase(
    ports: Ports, credentials: Credentials, document: DocumentId, *, reason: str
) -> tuple[Erasure, list[ErasureId]]:
    """Erase a document with all of its versions. Raises `NotFound`, `NotPermitted`, and `Conflict` under legal hold.

    1. An owner asks, who may read every version of it.
    2. Nothing holds it, and from that commit on nobody reads it and its uri is not taken in. What came with it goes
       too, by an erasure of its own each, as far as the owner may read it: nothing of it may be held either.
    3. What can be carried out now is; the rest a worker does. Nothing is certified before it is shown to be gone.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        _not_erased(ports, session, standing, document)
    standing = curating(ports, credentials, document)
    name = f"api:{ports.new_id()}"
    asked: dict[DocumentId, ErasureId] = {}
    with recording(ports.engine, ports.now()) as (session, at):
        if erasing.erasure_of(session, document) is not None:
            raise NotFound(read.ABSENT)
        apart = apart_from(ports, session, standing, document)
        for each in (document, *publishing.parts_of(session, document)):
            if each in apart or erasing.erasure_of(session, each) is not None:
                continue
            asked[each] = ErasureId(f"era_{ports.new_id()}")
            erasing.request(
                session,
                asked[each],
                each,
                None,
                reason=reason,
                rule=None,
                pepper=ports.pepper,
                at=at,
                by=standing.principal.subject.ref,
                claim=(name, Instant(ports.now() + CLAIM_MS)),
            )
            request = {"what": "erase", "document": each, "erasure": asked[each]}
            record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="accepted", request=request)
    id = asked.pop(document)
    with suppress(Unavailable):
        carry_on(ports, name)
    with reading(ports.engine) as session:
        found = erasing.erasure(session, id)
    assert found is not None
    return found, list(asked.values())


def erasure(ports: Ports, credentials: Credentials, id: ErasureId) -> Erasure:
    """An erasure, to the owners of its collection, auditors and administrators; `NotFound` to everybody else."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = erasing.erasure(session, id)
        if found is None or not _may_know(ports, session, standing, found.collection):
            raise NotFound(ABSENT)
    return found


def erasures(ports: Ports, credentials: Credentials, collection: str) -> list[Erasure]:
    """Those of a collection, newest first, to whom `erasure` shows them."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        known = authorize.register(ports, session, standing).collections
        if not (collection in known and _may_know(ports, session, standing, collection)):
            curated(ports, session, standing, collection)
        return erasing.erasures_in(session, collection)


def readmit(ports: Ports, credentials: Credentials, id: ErasureId, *, reason: str) -> Erasure:
    """Let the uri of an erased document be taken in again, as an owner decides. Nothing comes back by it."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = erasing.erasure(session, id)
        if found is None or not _may_know(ports, session, standing, found.collection):
            raise NotFound(ABSENT)
        curated(ports, session, standing, found.collection)
    with recording(ports.engine, ports.now()) as (session, at):
        if not erasing.readmit(session, id, reason=reason, at=at, by=standing.principal.subject.ref):
            raise Conflict("That uri may be taken in already: nothing bars it.")
    record(ports, standing.principal, TraceKind.CHANGE, outcome="changed", request={"what": "readmit", "erasure": id})
    return found


def _not_erased(ports: Ports, session: Session, standing: Standing, document: DocumentId) -> None:
    """To whoever may know of the erasure, an erased document is not just absent."""
    found = erasing.erasure_of(session, document)
    if found is not None:
        known = _may_know(ports, session, standing, found.collection)
        raise NotFound(_ERASED.format(found.id) if known else read.ABSENT)


def explained(ports: Ports, credentials: Credentials, absent: NotFound, what: DocumentId | CitationId) -> NotFound:
    """The refusal of a document or citation that is not there; to whoever may know of it, that it was erased."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = erasing.erasure_of(session, DocumentId(what)) or erasing.erasure_of_citation(session, CitationId(what))
        if found is not None and _may_know(ports, session, standing, found.collection):
            return NotFound(_ERASED.format(found.id))
    return absent


_ERASED: Final = "It was erased: see GET /v1/erasures/{}."


def _may_know(ports: Ports, session: Session, standing: Standing, collection: str) -> bool:
    return (
        collection in authorize.curated_collections(ports, session, standing)
        or authorize.permitted(ports, session, standing, Action.AUDIT, Institution())
        or authorize.permitted(ports, session, standing, Action.MANAGE, Institution())
    )


# -- carrying it out ---------------------------------------------------------------------------------------------------


def carry_on(ports: Ports, name: str) -> int:
    """Bring every erasure that nobody else is carrying out to its certificate; how many were certified.

    1. The index forgets it for good, and is asked for it with its own sentences, before and after.
    2. SQL forgets it, in one transaction with what was found.
    3. The originals go, unless something that stays has the very same bytes.
    4. The database's files are rewritten without it.
    5. Everything is looked for once more, and what is found gone is certified.

    Killed anywhere, it is begun again at the step that was not over. Raises `Unavailable` when a part is down.
    """
    with reading(ports.engine) as session:
        if not erasing.anything_open(session):
            return 0
    now = ports.now()
    with writing(ports.engine) as session:
        claimed = erasing.claim(session, name, until=Instant(now + CLAIM_MS), now=now)
    if not claimed:
        return 0
    try:
        _forget([each.id for each in claimed if each.state is ErasureState.REQUESTED], ports)
        for each in claimed:
            _remove_originals(ports, each.id)
        _remove_orphans(ports)
        guaranteed = rewritten(ports.engine)
        return sum(_certify(ports, each.id, guaranteed) for each in claimed)
    except Unavailable:
        with suppress(Unavailable), writing(ports.engine) as session:
            erasing.let_go(session, name)
        raise


def _forget(ids: Sequence[ErasureId], ports: Ports) -> None:
    """1. and 2. The index is rewritten once for all of them, and before SQL forgets: SQL knows what to look for.

    So is every other generation that has files. Only the one that answers is asked the questions, by its own model: of
    the others it is looked up whether they hold a point.
    """
    ports, *others = holding(ports)
    looking = [_Looking.made(ports, id) for id in ids]
    if not looking:
        return
    before = [each.found(ports) for each in looking]
    there = [len(ports.index.held(each.points)) for each in looking]
    points = [point for each in looking for point in each.points]
    purged = [each.index.purge(points) for each in (ports, *others)]
    for each, found_before, held_before in zip(looking, before, there, strict=True):
        probes = Probes(
            sentences=each.sentences,
            queries=len(each.queries),
            found_before=found_before,
            found=each.found(ports),
            points_left=sum(len(one.index.held(each.points)) for one in (ports, *others)),
        )
        if not probes.clean:
            raise IndexUnavailable("The index still finds what it was told to forget. It is told again.")
        with writing(ports.engine) as session:
            rewritten_all = all(one.rewritten for one in purged)
            erasing.remove(session, each.id, probes, points=held_before, rewritten=rewritten_all)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looking:
    """What to look for of one erasure, in memory alone: its sentences as questions, and its points."""

    id: ErasureId
    points: tuple[PointId, ...]
    sentences: int
    queries: tuple[IndexQuery, ...]

    @classmethod
    def made(cls, ports: Ports, id: ErasureId) -> "_Looking":
        with reading(ports.engine) as session:
            points = erasing.points(session, id)
            sentences = erasing.sentences(session, id, at_most=SENTENCES, max_chars=SENTENCE_CHARS)
            everywhere = [
                publishing.NO_BOUNDARY,
                *(each for each, _ in boundaries.boundaries_after(session, publishing.NO_BOUNDARY)),
            ]
        vectors = ports.embedder.embed_queries([each.text for each in sentences]) if sentences else []
        return cls(
            id=id,
            points=tuple(points),
            sentences=len(sentences),
            queries=tuple(
                IndexQuery(
                    dense=vector,
                    lexical=ports.analyzer.query(sentence.text) or None,
                    boundaries=frozenset(everywhere),
                    valid_at=valid_at,
                    known_at=known_at,
                    depth=_DEPTH,
                )
                for sentence, vector in zip(sentences, vectors, strict=True)
                for valid_at, known_at in _spread(sentence.instants)
            ),
        )

    def found(self, ports: Ports) -> int:
        """How many of the questions, over all boundaries, find a chunk of what is to go."""
        chunks = {chunk_of(point) for point in self.points}
        answers = (ports.index.search(query) for query in self.queries)
        return sum(any(hit.chunk in chunks for hit in (*hits.dense, *hits.lexical)) for hits in answers)


def _spread(instants: Sequence[tuple[Instant, Instant]]) -> list[tuple[Instant, Instant]]:
    if len(instants) <= _INSTANTS:
        return list(instants)
    return [instants[0], instants[len(instants) // 2], instants[-1]]


def _remove_originals(ports: Ports, id: ErasureId) -> None:
    """3. In a recording, though a port is called in it: no submission is acknowledged between the look and the act."""
    with reading(ports.engine) as session:
        digests = erasing.originals(session, id)
    kept = left = 0
    for digest in digests:
        with recording(ports.engine, ports.now()) as (session, _):
            if erasing.original_is_wanted(session, digest):
                kept += 1
                continue
            ports.blobs.remove(digest)
            left += _is_there(ports, digest)
    with writing(ports.engine) as session:
        erasing.counted_originals(session, id, removed=len(digests) - kept - left, kept=kept, left=left)


def _remove_orphans(ports: Ports) -> None:
    """Texts and vectors that no version has: what submissions left that were cancelled, or failed half-way."""
    with reading(ports.engine) as session:
        texts, embeddings = erasing.orphans(session)
    if texts or embeddings:
        with writing(ports.engine) as session:
            erasing.remove_unused(session, texts, embeddings)


def _is_there(ports: Ports, digest: Digest) -> bool:
    try:
        ports.blobs.get(digest)
    except NotFound:
        return False
    return True


def _certify(ports: Ports, id: ErasureId, database: str) -> bool:
    with reading(ports.engine) as session:
        found = erasing.erasure(session, id)
        index = erasing.rewritten(session, id)
    if found is None or found.state is not ErasureState.REMOVED:
        return False
    if not found.probes.clean:
        raise Unavailable(f"Erasure {id} is not clean yet: it is carried out again.")
    certificate = certificate_of(
        found,
        Guarantees(
            database=database,
            index=_REWRITTEN if index else _WRITTEN_OVER,
            originals="The files were deleted; an object store that keeps old versions of objects keeps them.",
        ),
        at=ports.now(),
    )
    with writing(ports.engine) as session:
        erasing.certify(session, id, certificate, canonical_digest(certificate))
    return True


_REWRITTEN: Final = "The index's files, its log too, were rewritten with what is left."
_WRITTEN_OVER: Final = "The points were deleted; the index server drops their bytes when it next rewrites a segment."
