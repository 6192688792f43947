"""One batch of documents from acknowledged bytes to published versions, as steps that may each be run again.

    gate -> parse -> label -> chunk -> (staged)  ->  embed  ->  index  ->  publish  ->  place

Every step reads from SQL what there is to do and leaves what it did there, so a step that was killed halfway is simply
run once more. What a document does wrong ends that document's job; what a part of ours does wrong is retried.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeVar

from sqlalchemy.orm import Session

from app.domain.corpus import (
    ATTACHMENTS_OF,
    Digest,
    Finding,
    FindingCode,
    Parsed,
    VersionId,
    embedded_text,
    labelled,
    text_digest,
)
from app.domain.errors import Conflict, MunimentError, NoText, Unavailable
from app.domain.instants import Instant
from app.domain.jobs import JobId, JobResult, Problem, Stage
from app.domain.provenance import Activity, Transformation
from app.domain.similarity import Signature
from app.operations.attach import attach
from app.operations.clear import clear_away
from app.operations.generations import active
from app.operations.synchronize import index_settled, synchronize
from app.ports import Detector, Ports
from app.store import boundaries, duplicates, erasing, jobs, provenance, publishing, registry, succession
from app.store.database import reading, recording, writing
from app.store.jobs import Submission
from app.store.publishing import JobVersion
from ingest.chunking import chunks
from ingest.gate import admitted
from ingest.labelling import DETECTORS, proposals
from ingest.ports import Parser
from ingest.provenance import chunked, embedded_by, gated, parsed_from, published
from ingest.signing import ALGORITHM, signed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_INTERNAL = "Something failed on our side while reading this document; it is logged under the job's id."
MAX_ATTACHED_DEPTH = 2
"""How far attachments of attachments are followed."""
_COMMITTED_AT_ONCE = 16
"""Documents stored or published in one transaction: a commit waits for the disk, and others wait for the commit."""

_EMBED_AT_ONCE = 256
"""Chunks embedded between two commits to the cache: what a kill can cost."""


def stage_batch(
    ports: Ports, parser: Parser, readers: Executor, batch: str, *, detectors: Sequence[Detector] = DETECTORS
) -> None:
    """Gate, parse, label and chunk each document; store it where nobody sees it. A bad document fails alone."""
    ports = active(ports)
    with reading(ports.engine) as session:
        submissions = jobs.submissions_of(session, batch)
        staged = publishing.staged_jobs(session, [each.job for each in submissions])
    todo = [each for each in submissions if each.job not in staged]
    _advance(ports, batch, Stage.PARSE, [each.job for each in todo])
    for some in _batched(todo, _COMMITTED_AT_ONCE):
        ready = [each for each in readers.map(lambda each: _read(ports, parser, detectors, batch, each), some) if each]
        _store(ports, batch, ready)


def embed_batch(ports: Ports, batch: str) -> None:
    """Vectors for every staged chunk, from the cache where this model has seen the text before."""
    ports = active(ports)
    _advance(ports, batch, Stage.EMBED)
    started, fingerprint = ports.now(), ports.embedder.fingerprint
    with reading(ports.engine) as session:
        missing = publishing.unembedded(session, _staged_versions(ports, batch), fingerprint)
    for some in _batched(sorted(missing.items(), key=lambda item: len(item[1])), _EMBED_AT_ONCE):
        vectors = ports.embedder.embed_passages([text for _, text in some])
        with writing(ports.engine) as session:
            wanted = erasing.wanted_embeddings(session, [digest for digest, _ in some])
            made = {digest: vector for (digest, _), vector in zip(some, vectors, strict=True) if digest in wanted}
            publishing.add_embeddings(session, made, fingerprint)
    _recount_embedding(ports, batch, fingerprint, started)


def index_batch(ports: Ports, batch: str) -> None:
    """Every staged chunk into the index, where no question reaches it yet.

    Into the one that answers: whichever takes its place is told of what is staged then.
    """
    _advance(ports, batch, Stage.INDEX)
    index_settled(active(ports), _staged_versions(ports, batch))


def publish_batch(ports: Ports, batch: str) -> None:
    """Give each staged version its number, boundary and period: all of a version in one recording, or nothing."""
    _advance(ports, batch, Stage.PUBLISH)
    for some in _batched(_open_jobs(ports, batch), _COMMITTED_AT_ONCE):
        try:
            with recording(ports.engine, ports.now()) as (session, at):
                for job in some:
                    _publish(ports, session, batch, job, at=at)
        except Conflict:
            _publish_singly(ports, batch, some)


def place_batch(ports: Ports, batch: str) -> None:
    """Tell the index where the published versions stand, and what they superseded; then their jobs are done."""
    published = _published(ports, batch)
    with reading(ports.engine) as session:
        documents = [submission.document_row for submission, _ in published]
        touched = publishing.versions_beside(session, documents)
        touched += succession.versions_of(session, [id for each, _ in published for id in each.metadata.supersedes])
    synchronize(ports, touched)
    _succeed(ports, published)
    clear_away(ports)


def postpone_batch(ports: Ports, batch: str, error: Unavailable) -> None:
    """Try what is left of a batch again later, as a part of ours is down; what was tried too often is given up.

    What is published by then is there, whatever the index was told of it so far: its tasks see to the rest.
    """
    logger.warning("batch %s waits: %s", batch, error.detail)
    _postpone(ports, batch, _open_jobs(ports, batch), error)


def fail_batch(ports: Ports, batch: str, error: Exception) -> None:
    """End the jobs of a batch that a bug of ours stopped, whole; what was staged is cleared away in the background."""
    detail = error.detail if isinstance(error, MunimentError) else _INTERNAL
    kind = error.kind if isinstance(error, MunimentError) else MunimentError.kind
    logger.error("batch %s failed", batch, exc_info=error)
    _succeed(ports, _published(ports, batch))
    with writing(ports.engine) as session:
        for submission in jobs.submissions_of(session, batch):
            jobs.fail(session, submission.job, Problem(kind=kind, detail=detail), batch=batch, at=ports.now())


def sign_texts(ports: Ports, *, after: Digest, limit: int) -> Digest | None:
    """Sign some texts that are not, such as those from before an upgrade; says after which to go on, None at the end.

    Others write meanwhile: signing is what takes long, and is done before the database is locked.
    """
    with reading(ports.engine) as session:
        unsigned = duplicates.unsigned_texts(session, ALGORITHM, after=after, limit=limit)
    signatures = {digest: signed(text) for digest, text in unsigned.items()}
    if not signatures:
        return None
    with writing(ports.engine) as session:
        there = duplicates.still_there(session, signatures)
        for digest in sorted(there):
            duplicates.add_signature(session, digest, signatures[digest])
    return max(signatures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A document that was read, to be stored."""

    submission: Submission
    parsed: Parsed
    chunks: tuple[publishing.StagedChunk, ...]
    title: str
    media_type: str
    size_bytes: int
    attachments: Sequence[publishing.StagedAttachment]
    detected: frozenset[str]
    signature: Signature
    steps: Sequence[Transformation]


def _read(
    ports: Ports, parser: Parser, detectors: Sequence[Detector], batch: str, submission: Submission
) -> _Ready | None:
    """A document gated, parsed and chunked; None if there is nothing to store of it: its job is over, or put off."""
    try:
        if _unchanged(ports, batch, submission):
            return None
        content = ports.blobs.get(submission.blob)
        began = ports.now()
        media_type = admitted(content, declared=submission.media_type, filename=submission.filename)
        let_in = ports.now()
        parsed = parser.parse(content, media_type, submission.filename)
        original = submission.blob
        so_far = [
            gated(original, declared=submission.media_type, media_type=media_type, started=began, ended=let_in),
            parsed_from(original, parsed, started=let_in, ended=ports.now()),
        ]
        return _cut(ports, detectors, submission, parsed, media_type=media_type, size_bytes=len(content), so_far=so_far)
    except Unavailable as error:
        _postpone(ports, batch, [submission.job], error)
    except MunimentError as error:
        _fail(ports, batch, submission.job, Problem(kind=error.kind, detail=error.detail))
    except Exception:
        logger.exception("job %s failed", submission.job)
        _fail(ports, batch, submission.job, Problem(kind=MunimentError.kind, detail=_INTERNAL))
    return None


def _unchanged(ports: Ports, batch: str, submission: Submission) -> bool:
    """Whether the newest version has these bytes and metadata, by now; then the job is done, and nothing is read."""
    with reading(ports.engine) as session:
        newest = publishing.latest(session, submission.document_row)
    if newest is None or (newest.digest, newest.metadata_digest) != (submission.blob, submission.metadata_digest):
        return False
    result = JobResult(document=submission.document, version=newest.number, unchanged=True)
    with writing(ports.engine) as session:
        if jobs.held(session, batch, submission.job):
            jobs.succeed(session, submission.job, result, at=ports.now())
    return True


def _cut(
    ports: Ports,
    detectors: Sequence[Detector],
    submission: Submission,
    parsed: Parsed,
    *,
    media_type: str,
    size_bytes: int,
    so_far: Sequence[Transformation],
) -> _Ready:
    if not parsed.text.strip():
        raise NoText("No text was found in the document, so there is nothing to retrieve from it. Send one with text.")
    began = ports.now()
    title = submission.metadata.title or parsed.title or PurePosixPath(submission.metadata.uri).name
    proposed = proposals(f"{title}\n{parsed.text}", detectors)
    parsed = replace(parsed, findings=(*parsed.findings, *proposed.findings))
    staged = []
    for chunk in chunks(parsed, ports.tokenizer, title=title):
        text = chunk.span.of(parsed.text)
        embedded = embedded_text(title, chunk.section, text)
        staged.append(
            publishing.StagedChunk(chunk=chunk, digest=text_digest(text), embedded_digest=text_digest(embedded))
        )
    parsed = _within_depth(parsed, submission)
    attachments = [
        publishing.StagedAttachment(name=each.name, media_type=each.media_type, digest=ports.blobs.put(each.content))
        for each in parsed.attachments
    ]
    text, signature = text_digest(parsed.text), signed(parsed.text)
    steps = [*so_far, chunked(text, staged, started=began, ended=ports.now())]
    return _Ready(
        submission=submission,
        parsed=parsed,
        chunks=tuple(staged),
        title=title,
        media_type=media_type,
        size_bytes=size_bytes,
        attachments=attachments,
        detected=proposed.categories,
        signature=signature,
        steps=steps,
    )


def _store(ports: Ports, batch: str, several: Sequence[_Ready]) -> None:
    with writing(ports.engine) as session:
        for ready in several:
            if not jobs.held(session, batch, ready.submission.job):
                continue  # cancelled meanwhile, or another worker's by now
            version = publishing.stage(
                session,
                ready.submission,
                ready.parsed,
                ready.chunks,
                title=ready.title,
                media_type=ready.media_type,
                size_bytes=ready.size_bytes,
                attachments=ready.attachments,
                detected=ready.detected,
            )
            duplicates.add_signature(session, text_digest(ready.parsed.text), ready.signature)
            provenance.record_transformations(session, version, ready.steps)


def _within_depth(parsed: Parsed, submission: Submission) -> Parsed:
    """What came with a mail that came with a mail, and so on: past a depth, it is told of and left there."""
    if not parsed.attachments:
        return parsed
    names = ", ".join(each.name for each in parsed.attachments)
    if submission.metadata.uri.count(ATTACHMENTS_OF) < MAX_ATTACHED_DEPTH:
        many = f"{len(parsed.attachments)} attachments are documents" if len(parsed.attachments) > 1 else None
        detail = f"{many or 'An attachment is a document'} of {'their' if many else 'its'} own: {names}."
        return replace(parsed, findings=(*parsed.findings, Finding(code=FindingCode.ATTACHMENT, detail=detail)))
    detail = f"What came with it was not read, as mail is nested deeper than {MAX_ATTACHED_DEPTH} levels: {names}."
    told = Finding(code=FindingCode.PARTIAL, detail=detail)
    return replace(parsed, attachments=(), findings=(*parsed.findings, told))


def _recount_embedding(ports: Ports, batch: str, fingerprint: str, started: Instant) -> None:
    """Write down which model made the vectors of each staged version."""
    with reading(ports.engine) as session:
        made = {
            version: provenance.embedded(session, version, fingerprint) for version in _staged_versions(ports, batch)
        }
    with writing(ports.engine) as session:
        still = frozenset(
            publishing.unpublished(session, [each.job for each in jobs.submissions_of(session, batch)]).values()
        )
        for version, vectors in made.items():
            if version not in still:
                continue  # cancelled meanwhile, or another worker's by now
            step = embedded_by(fingerprint, vectors, started=started, ended=ports.now())
            provenance.record_transformations(session, version, [step])


def _publish_singly(ports: Ports, batch: str, ids: Sequence[JobId]) -> None:
    """Each in a recording of its own: one that cannot be published, as a version of it was corrected too often to be
    ended again, fails alone."""
    for job in ids:
        try:
            with recording(ports.engine, ports.now()) as (session, at):
                _publish(ports, session, batch, job, at=at)
        except Conflict as error:
            _fail(ports, batch, job, Problem(kind=error.kind, detail=error.detail))


def _publish(ports: Ports, session: Session, batch: str, job: JobId, *, at: Instant) -> None:
    submission = jobs.submission(session, job) if jobs.held(session, batch, job) else None
    staged = publishing.version_of_job(session, job)
    if submission is None or staged is None or staged.number is not None:
        return  # cancelled, another worker's by now, or published by an earlier run of this step
    newest = publishing.latest(session, submission.document_row)
    if newest and (newest.digest, newest.metadata_digest) == (submission.blob, submission.metadata_digest):
        result = JobResult(document=submission.document, version=newest.number, unchanged=True)
        jobs.succeed(session, job, result, at=at)
        return
    collection = registry.collection(session, submission.collection)
    if collection is None:
        raise Unavailable(f"collection {submission.collection} is not recorded")
    said = labelled(
        submission.metadata,
        collection,
        rules=registry.label_rules(session, submission.collection),
        detected=staged.detected,
        before=publishing.label_of_newest(session, submission.document_row),
        restated=newest is not None and newest.digest == submission.blob,
    )
    id = boundaries.interned(session, said.boundary, at=at)
    publishing.publish(
        session,
        staged.id,
        submission,
        id,
        at=at,
        causes=said.causes,
        reason=said.reason,
        review_after_days=collection.review_after_days,
    )
    succession.settle(session, staged.id, submission, at=at)
    attach(ports, session, submission, staged.id, boundary=said.boundary, at=at)
    steps = provenance.transformations_of(session, staged.id)
    if Activity.CHUNK in steps:  # absent if it was staged by a program from before they were written down
        last = published(steps, said.boundary, submission.blob, at=at)
        provenance.record_transformations(session, staged.id, last)


def _published(ports: Ports, batch: str) -> list[tuple[Submission, JobVersion]]:
    """The jobs of a batch that are not over, though their version is published."""
    with reading(ports.engine) as session:
        submissions = jobs.submissions_of(session, batch)
        made = publishing.versions_of_jobs(session, [each.job for each in submissions])
    return [(each, made[each.job]) for each in submissions if each.job in made and made[each.job].number is not None]


def _succeed(ports: Ports, published: Sequence[tuple[Submission, JobVersion]]) -> None:
    if not published:
        return
    with writing(ports.engine) as session:
        for submission, version in published:
            result = JobResult(
                document=submission.document,
                version=version.number,
                findings=version.findings,
                attachments=tuple(publishing.attached_jobs(session, version.id)),
            )
            jobs.succeed(session, submission.job, result, at=ports.now())


def _postpone(ports: Ports, batch: str, ids: Sequence[JobId], error: Unavailable) -> None:
    problem = Problem(kind=error.kind, detail=error.detail)
    published = {submission.job: (submission, version) for submission, version in _published(ports, batch)}
    with writing(ports.engine) as session:
        at = ports.now()
        given_up = jobs.postpone(
            session, batch, ids, problem, limits=ports.limits, at=at, published=frozenset(published)
        )
    _succeed(ports, [published[job] for job in given_up if job in published])


def _fail(ports: Ports, batch: str, job: JobId, problem: Problem) -> None:
    with writing(ports.engine) as session:
        jobs.fail(session, job, problem, batch=batch, at=ports.now())


def _advance(ports: Ports, batch: str, stage: Stage, ids: Sequence[JobId] | None = None) -> None:
    with writing(ports.engine) as session:
        jobs.advance(session, batch, stage, ids)


def _open_jobs(ports: Ports, batch: str) -> list[JobId]:
    with reading(ports.engine) as session:
        return [each.job for each in jobs.submissions_of(session, batch)]


def _staged_versions(ports: Ports, batch: str) -> list[VersionId]:
    open_jobs = _open_jobs(ports, batch)
    with reading(ports.engine) as session:
        return list(publishing.unpublished(session, open_jobs).values())


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
