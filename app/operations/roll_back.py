"""Bringing an earlier version of a document back, as the next one."""

from dataclasses import replace

from app.domain.corpus import DocumentId, Metadata, Origin, Version
from app.domain.errors import Conflict, NotFound
from app.domain.jobs import JobId
from app.domain.trace import TraceKind
from app.operations import read
from app.operations.attest import record
from app.operations.curate import curating, owned
from app.operations.identify import Credentials
from app.operations.submit import Submitted
from app.ports import Ports
from app.store import corpus, jobs
from app.store.database import reading, recording
from app.store.metadata import metadata_digest

GONE = (
    "The original of that version is no longer kept, so it cannot be brought back. "
    "If you have the file, submit it again."
)


def roll_back(ports: Ports, credentials: Credentials, document: DocumentId, number: int, *, reason: str) -> Submitted:
    """Ingest the original of an earlier version again, valid from now, for an owner; unchanged if it is the newest.

    The next version has what that one said of itself (title and attributes), and the boundary of the newest: bringing
    words back opens them to nobody. Raises what `amend` does, `NotFound` for a version that there is not, `Conflict`
    for a document that was withdrawn, has a submission under way, or whose original is gone.
    """
    standing = curating(ports, credentials, document)
    with reading(ports.engine) as session:
        wanted = next((each for each in corpus.versions_of(session, document) if each.number == number), None)
    if wanted is None:
        raise NotFound(read.ABSENT)
    try:
        ports.blobs.get(wanted.digest)
    except NotFound:
        raise Conflict(GONE) from None
    with recording(ports.engine, ports.now()) as (session, at):
        owned(ports, session, standing, document)
        newest = next(iter(corpus.versions_of(session, document)), None)
        if newest is None:  # erased meanwhile
            raise NotFound(read.ABSENT)
        if newest.withdrawn:
            raise Conflict("This document is withdrawn. To bring it back, submit the version that is to be in force.")
        if newest.number == number:
            return Submitted(document=document, job=None, unchanged_version=number)
        if jobs.unpublished_metadata(session, [document], given_up=False):
            raise Conflict("A submission of this document is under way. Roll back when it is over.")
        id = JobId(f"job_{ports.new_id()}")
        metadata = _metadata(wanted, newest)
        original = jobs.submission_of(session, wanted.id)
        submission = replace(
            original,
            job=id,
            blob=wanted.digest,
            metadata=metadata,
            metadata_digest=metadata_digest(metadata),
            submitted_by=standing.principal.subject.ref,
            submitted_through=standing.principal.actor.ref if standing.principal.actor else None,
        )
        jobs.add_job(session, submission, at=at)
        session.flush()
        job = jobs.job(session, id)
    record(
        ports,
        standing.principal,
        TraceKind.CHANGE,
        outcome="accepted",
        request={"what": "rollback", "document": document, "to": number, "job": id, "reason": reason},
    )
    return Submitted(document=document, job=job, unchanged_version=None)


def _metadata(wanted: Version, newest: Version) -> Metadata:
    boundary = newest.boundary
    return Metadata(
        uri=wanted.document.uri,
        title=wanted.title,
        label=boundary.label,
        readers=boundary.readers,
        denied=boundary.denied,
        jurisdictions=boundary.jurisdictions,
        purposes=boundary.purposes,
        consents=boundary.consents,
        source=Origin(
            connector="rollback",
            fetched_at=wanted.source.fetched_at,
            etag=wanted.source.etag,
            author=wanted.source.author,
            rollback_of=wanted.number,
        ),
        attributes=wanted.attributes,
    )
