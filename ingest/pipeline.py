"""One batch of documents from acknowledged bytes to published versions, as steps that may each be run again.

    gate -> parse -> label -> chunk -> (staged)  ->  embed  ->  index  ->  publish  ->  place

Every step reads from SQL what there is to do and leaves what it did there, so a step that was killed halfway is simply
run once more. What a document does wrong ends that document's job; what a part of ours does wrong is retried.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import PurePosixPath

from app.domain.corpus import Digest, Parsed, VersionId, embedded_text, text_digest
from app.domain.errors import MunimentError, Unavailable, Unparseable
from app.domain.instants import Instant
from app.domain.jobs import JobId, JobResult, Problem, Stage
from app.domain.provenance import Activity, Transformation
from app.operations.synchronize import index_versions, synchronize
from app.ports import Ports
from app.store import boundaries, corpus, duplicates, jobs, provenance, publishing, registry
from app.store.database import reading, recording, writing
from app.store.jobs import Submission
from ingest.chunking import chunks
from ingest.gate import admitted
from ingest.labelling import labelled
from ingest.ports import Parser
from ingest.provenance import chunked, embedded_by, gated, parsed_from, published
from ingest.signing import ALGORITHM, signed

logger = logging.getLogger(__name__)

_INTERNAL = "Something failed on our side while reading this document; it is logged under the job's id."
_EMBED_AT_ONCE = 256
"""Chunks embedded between two commits to the cache: what a kill can cost."""


def stage_batch(ports: Ports, parser: Parser, readers: Executor, batch: str) -> None:
    """Gate, parse, label and chunk each document; store it where nobody sees it. A bad document fails alone."""
    with reading(ports.engine) as session:
        submissions = jobs.submissions_of(session, batch)
        staged = publishing.staged_jobs(session, [each.job for each in submissions])
    todo = [each for each in submissions if each.job not in staged]
    _advance(ports, [each.job for each in todo], Stage.PARSE)
    for _ in readers.map(lambda each: _stage(ports, parser, each), todo):
        pass


def embed_batch(ports: Ports, batch: str) -> None:
    """Vectors for every staged chunk, from the cache where this model has seen the text before."""
    _advance(ports, _open_jobs(ports, batch), Stage.EMBED)
    started, fingerprint = ports.now(), ports.embedder.fingerprint
    with reading(ports.engine) as session:
        missing = publishing.unembedded(session, _staged_versions(ports, batch), fingerprint)
    for some in _batched(sorted(missing.items(), key=lambda item: len(item[1])), _EMBED_AT_ONCE):
        vectors = ports.embedder.embed_passages([text for _, text in some])
        with writing(ports.engine) as session:
            publishing.add_embeddings(
                session, {digest: vector for (digest, _), vector in zip(some, vectors, strict=True)}, fingerprint
            )
    _recount_embedding(ports, batch, fingerprint, started)


def index_batch(ports: Ports, batch: str) -> None:
    """Every staged chunk into the index, where no question reaches it yet."""
    _advance(ports, _open_jobs(ports, batch), Stage.INDEX)
    index_versions(ports, _staged_versions(ports, batch))


def publish_batch(ports: Ports, batch: str) -> None:
    """Give each staged version its number, boundary and period: all of a version in one recording, or nothing."""
    _advance(ports, _open_jobs(ports, batch), Stage.PUBLISH)
    for job in _open_jobs(ports, batch):
        _publish(ports, batch, job)


def place_batch(ports: Ports, batch: str) -> None:
    """Tell the index where the published versions stand, and what they superseded; then their jobs are done."""
    with reading(ports.engine) as session:
        submissions = jobs.submissions_of(session, batch)
        published = [
            (each, found)
            for each in submissions
            if (found := publishing.version_of_job(session, each.job)) and found.number is not None
        ]
        touched = [id for each, _ in published for id in publishing.versions_beside(session, each.document_row)]
    synchronize(ports, touched)
    with writing(ports.engine) as session:
        for submission, version in published:
            result = JobResult(document=submission.document, version=version.number, findings=version.findings)
            jobs.succeed(session, submission.job, result, at=ports.now())
    _clear_away(ports, batch)


def fail_batch(ports: Ports, batch: str, error: Exception) -> None:
    """End the jobs of a batch that a part of ours kept failing, whole; what was staged is cleared away."""
    detail = error.detail if isinstance(error, MunimentError) else _INTERNAL
    kind = error.kind if isinstance(error, MunimentError) else MunimentError.kind
    logger.error("batch %s failed", batch, exc_info=error)
    with writing(ports.engine) as session:
        for submission in jobs.submissions_of(session, batch):
            jobs.fail(session, submission.job, Problem(kind=kind, detail=detail), at=ports.now())
    _clear_away(ports, batch)


def sign_texts(ports: Ports, *, limit: int) -> int:
    """Sign texts that are not, such as those from before an upgrade; says how many there were."""
    with writing(ports.engine) as session:
        unsigned = duplicates.unsigned_texts(session, ALGORITHM, limit=limit)
        for text in unsigned:
            duplicates.add_signature(session, text, signed(corpus.text_of(session, text)))
    return len(unsigned)


def _stage(ports: Ports, parser: Parser, submission: Submission) -> None:
    try:
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
        _store(ports, submission, parsed, media_type, len(content), so_far)
    except Unavailable:
        raise
    except MunimentError as error:
        _fail(ports, submission.job, Problem(kind=error.kind, detail=error.detail))
    except Exception:
        logger.exception("job %s failed", submission.job)
        _fail(ports, submission.job, Problem(kind=MunimentError.kind, detail=_INTERNAL))


def _store(
    ports: Ports,
    submission: Submission,
    parsed: Parsed,
    media_type: str,
    size_bytes: int,
    so_far: Sequence[Transformation],
) -> None:
    if not parsed.text.strip():
        raise Unparseable("No text was found in the document, so there is nothing to retrieve from it.")
    began = ports.now()
    title = submission.metadata.title or parsed.title or PurePosixPath(submission.metadata.uri).name
    cut = chunks(parsed, ports.tokenizer, title=title)
    staged = []
    for chunk in cut:
        text = chunk.span.of(parsed.text)
        embedded = embedded_text(title, chunk.section, text)
        staged.append(
            publishing.StagedChunk(chunk=chunk, digest=text_digest(text), embedded_digest=text_digest(embedded))
        )
    text, signature = text_digest(parsed.text), signed(parsed.text)
    steps = [*so_far, chunked(text, staged, started=began, ended=ports.now())]
    with writing(ports.engine) as session:
        version = publishing.stage(
            session, submission, parsed, staged, title=title, media_type=media_type, size_bytes=size_bytes
        )
        duplicates.add_signature(session, text, signature)
        provenance.record_transformations(session, version, steps)


def _recount_embedding(ports: Ports, batch: str, fingerprint: str, started: Instant) -> None:
    """Write down which model made the vectors of each staged version."""
    with reading(ports.engine) as session:
        made = {
            version: provenance.embedded(session, version, fingerprint) for version in _staged_versions(ports, batch)
        }
    with writing(ports.engine) as session:
        for version, vectors in made.items():
            step = embedded_by(fingerprint, vectors, started=started, ended=ports.now())
            provenance.record_transformations(session, version, [step])


def _publish(ports: Ports, batch: str, job: JobId) -> None:
    with recording(ports.engine, ports.now()) as (session, at):
        submission = next((each for each in jobs.submissions_of(session, batch) if each.job == job), None)
        staged = publishing.version_of_job(session, job)
        if submission is None or staged is None or staged.number is not None:
            return  # cancelled or failed meanwhile, or published by an earlier run of this step
        newest = publishing.latest(session, submission.document_row)
        if newest and (newest.digest, newest.metadata_digest) == (submission.blob, submission.metadata_digest):
            result = JobResult(document=submission.document, version=newest.number, unchanged=True)
            jobs.succeed(session, job, result, at=at)
            return
        collection = registry.collection(session, submission.collection)
        if collection is None:
            raise Unavailable(f"collection {submission.collection} is not recorded")
        boundary = labelled(submission.metadata, collection)
        id = boundaries.interned(session, boundary, at=at)
        publishing.publish(session, staged.id, submission, id, at=at)
        steps = provenance.transformations_of(session, staged.id)
        if Activity.CHUNK in steps:  # absent if it was staged by a program from before they were written down
            last = published(steps, boundary, submission.blob, at=at)
            provenance.record_transformations(session, staged.id, last)


def _clear_away(ports: Ports, batch: str) -> None:
    """Forget what jobs of this batch staged and will never publish: in the index first, then in SQL."""
    with reading(ports.engine) as session:
        ended = jobs.ended_of(session, batch)
        left = publishing.unpublished(session, ended)
        points = [each.point for version in left.values() for each in publishing.placements(session, version)]
    if not left:
        return
    ports.index.remove(points)
    with writing(ports.engine) as session:
        for job in left:
            publishing.unstage(session, job)


def _fail(ports: Ports, job: JobId, problem: Problem) -> None:
    with writing(ports.engine) as session:
        jobs.fail(session, job, problem, at=ports.now())


def _advance(ports: Ports, ids: Sequence[JobId], stage: Stage) -> None:
    with writing(ports.engine) as session:
        jobs.advance(session, ids, stage)


def _open_jobs(ports: Ports, batch: str) -> list[JobId]:
    with reading(ports.engine) as session:
        return [each.job for each in jobs.submissions_of(session, batch)]


def _staged_versions(ports: Ports, batch: str) -> list[VersionId]:
    open_jobs = _open_jobs(ports, batch)
    with reading(ports.engine) as session:
        return list(publishing.unpublished(session, open_jobs).values())


def _batched(items: Sequence[tuple[Digest, str]], size: int) -> Iterator[Sequence[tuple[Digest, str]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
