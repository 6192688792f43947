"""Putting a document in: acknowledged once its bytes and its job are durable."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import NOBODY, Action, Collection, PrincipalRef
from app.domain.corpus import DocumentId, Metadata, stated_boundary
from app.domain.errors import Fault, Invalid, NotFound, NotPermitted
from app.domain.jobs import Job, JobId
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import corpus, directory, jobs, publishing
from app.store.database import reading, recording
from app.store.metadata import metadata_digest

NO_SUCH_COLLECTION = (
    "There is no collection by that name that you may put documents in. "
    "GET /v1/collections lists those you may know of; their owners add documents."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """`job` is None when the newest version already has these bytes and metadata."""

    document: DocumentId
    job: Job | None
    unchanged_version: int | None


def known(ports: Ports, credentials: Credentials) -> None:
    """Pass if somebody is known by these credentials; raises what `identify` does."""
    with reading(ports.engine) as session:
        identify(ports, session, credentials)


def submit(
    ports: Ports,
    credentials: Credentials,
    collection: str,
    content: bytes,
    *,
    filename: str,
    media_type: str | None,
    metadata: Metadata,
) -> Submitted:
    """Take a document for ingestion by an owner. Raises `NotFound`, `NotPermitted`, or `Invalid` with each fault.

    1. The principal curates the collection; whether one that is hidden exists is not told. Where the uri is taken, it
       may read what is there: who could not, would learn of it, and could change it.
    2. Every name in the metadata is known.
    3. The same bytes and metadata again change nothing.
    4. The bytes are durable before the job is, and the job before it is acknowledged.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        admissible(ports, session, standing, collection, metadata)
    return take(ports, standing, collection, content, filename=filename, media_type=media_type, metadata=metadata)


def admissible(ports: Ports, session: Session, standing: Standing, collection: str, metadata: Metadata) -> None:
    """Rules 1 and 2 of `submit`."""
    curated(ports, session, standing, collection)
    laid_down = authorize.register(ports, session, standing)
    check_names(
        session,
        readers=metadata.readers,
        denied=metadata.denied,
        unknown_purposes=metadata.purposes - frozenset(laid_down.purposes),
        within="/metadata",
    )
    _check_uri(ports, session, standing, collection, metadata.uri)


def take(
    ports: Ports,
    standing: Standing,
    collection: str,
    content: bytes,
    *,
    filename: str,
    media_type: str | None,
    metadata: Metadata,
    along: Callable[[Session, Submitted], None] | None = None,
) -> Submitted:
    """Rules 3 and 4 of `submit`, of what is `admissible`: one door for uploads and sources.

    `along` writes in the same transaction: what it notes is there exactly if the submission is.
    """
    digest = ports.blobs.put(content)
    said = metadata_digest(metadata)
    with recording(ports.engine, ports.now()) as (session, at):
        found = publishing.document_row(session, collection=collection, uri=metadata.uri)
        if found is None:
            document = DocumentId(f"doc_{ports.new_id()}")
            row = publishing.add_document(session, id=document, collection=collection, uri=metadata.uri, at=at)
        else:
            row, document = found
            newest = publishing.latest(session, row)
            pending = jobs.open_jobs_of(session, row)
            if newest and not pending and (newest.digest, newest.metadata_digest) == (digest, said):
                unchanged = Submitted(document=document, job=None, unchanged_version=newest.number)
                if along is not None:
                    along(session, unchanged)
                return unchanged
        id = JobId(f"job_{ports.new_id()}")
        submission = jobs.Submission(
            job=id,
            document_row=row,
            document=document,
            collection=collection,
            filename=filename,
            media_type=media_type,
            blob=digest,
            metadata=metadata,
            metadata_digest=said,
            submitted_by=standing.principal.subject.ref,
        )
        jobs.add_job(session, submission, at=at)
        session.flush()
        submitted = Submitted(document=document, job=jobs.job(session, id), unchanged_version=None)
        if along is not None:
            along(session, submitted)
    record(
        ports,
        standing.principal,
        TraceKind.CHANGE,
        outcome="accepted",
        request={"what": "submit", "document": document, "job": id, "digest": digest},
    )
    return submitted


def _check_uri(ports: Ports, session: Session, standing: Standing, collection: str, uri: str) -> None:
    found = publishing.document_row(session, collection=collection, uri=uri)
    if found and not handles_document(ports, session, standing, found[1], collection):
        raise NotPermitted("That uri is taken by a document that you may not read. Use another, or ask its owners.")


def handles_document(ports: Ports, session: Session, standing: Standing, document: DocumentId, collection: str) -> bool:
    """Whether the principal may read every version of a document, and what is still being ingested of it."""
    home = authorize.register(ports, session, standing).collections[collection]
    published = [version.boundary for version in corpus.versions_of(session, document)]
    coming = [stated_boundary(metadata, home) for _, metadata in jobs.open_metadata(session, document)]
    return authorize.handles(ports, session, standing, [*published, *coming])


def job(ports: Ports, credentials: Credentials, id: JobId) -> Job:
    """A job, to whoever submitted it or curates its collection; raises `NotFound` to everybody else.

    Through an assistant only the second holds: it is within the collections that the assistant may use.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = jobs.job(session, id)
        if found is not None:
            subject, alone = standing.principal.subject, standing.principal.actor is None
            own = found.submitted_by == subject.ref and subject.profile.active and alone
            if own or found.collection in authorize.curated_collections(ports, session, standing):
                return found
    raise NotFound("There is no job by that id that you may follow.")


def curated(ports: Ports, session: Session, standing: Standing, name: str) -> Collection:
    """The collection, if the principal curates it.

    Raises `NotPermitted` where its existence is no secret to the principal, else `NotFound`, as for one that is absent.
    """
    collection = authorize.register(ports, session, standing).collections.get(name)
    known = (
        authorize.discoverable_collections(ports, session, standing)
        | authorize.readable_collections(ports, session, standing)
        | authorize.curated_collections(ports, session, standing)
    )
    if collection is None or name not in known:
        raise NotFound(NO_SUCH_COLLECTION)
    authorize.require(
        ports,
        session,
        standing,
        Action.CURATE,
        collection,
        otherwise=f"Only the owners of {name} change what is in it. Ask {', '.join(sorted(collection.owners))}.",
    )
    return collection


def check_names(
    session: Session,
    *,
    readers: frozenset[PrincipalRef],
    denied: frozenset[PrincipalRef],
    unknown_purposes: frozenset[str],
    within: str,
) -> None:
    """Raises `Invalid` naming each principal or purpose that is not known: unknown is never nobody, nor everybody.

    `within` is the pointer to where the request states them.
    """
    faults = [
        Fault(detail=f"{ref} is not in the directory.", pointer=f"{within}/{where}")
        for where, refs in (("readers", readers), ("denied", denied))
        for ref in directory.missing(session, refs - {NOBODY})
    ]
    faults += [
        Fault(detail=f"{purpose} is not a registered purpose.", pointer=f"{within}/purposes")
        for purpose in sorted(unknown_purposes)
    ]
    if faults:
        raise Invalid("Some names are not known here; nothing was changed.", faults=tuple(faults))
