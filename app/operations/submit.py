"""Putting a document in: acknowledged once its bytes and its job are durable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import NOBODY, Action, Collection, PrincipalRef, Proof
from app.domain.corpus import Digest, DocumentId, Metadata, digest_of, labelled
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted, RateLimited
from app.domain.jobs import Job, JobId
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import corpus, directory, erasing, jobs, publishing, registry, succession
from app.store.database import reading, recording
from app.store.metadata import metadata_digest

NO_SUCH_COLLECTION = (
    "There is no collection by that name that you may put documents in. "
    "GET /v1/collections lists those you may know of; their owners add documents."
)


NOT_YOURS = (
    "It is no other document that you may change: name a uri in this collection, or the id of a document that you own "
    "and may read."
)
"""What absent, hidden and somebody else's are all told."""


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
    supersedes: Sequence[str] = (),
) -> Submitted:
    """Take a document for ingestion by an owner. Raises `NotFound`, `NotPermitted`, or `Invalid` with each fault.

    1. The principal curates the collection; whether one that is hidden exists is not told. Where the uri is taken, it
       may read what is there: who could not, would learn of it, and could change it.
    2. Every name in the metadata is known, and each document that it is to supersede is one that the principal handles.
    3. There is room in the queue, or `RateLimited`.
    4. The same bytes and metadata again change nothing: what is on its way already is followed by the same job.
    5. The bytes are durable before the job is, and the job before it is acknowledged.
    6. What was erased is not taken in again by the same uri, until an owner readmits it: raises `Conflict`.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        admissible(ports, session, standing, collection, metadata)
        superseded = _superseded(ports, session, standing, collection, supersedes, metadata.uri)
        metadata = replace(metadata, supersedes=superseded)
        there = _unchanged(session, collection, metadata.uri, digest_of(content), metadata_digest(metadata))
        if there is not None:
            return there
        _check_room(ports, session, collection)
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
    """Rules 4 to 6 of `submit`, of what is `admissible`: one door for uploads and sources. Where the uri has been taken
    since, rule 1 again.

    `along` writes in the same transaction: what it notes is there exactly if the submission is.
    """
    digest, said = ports.blobs.put(content), metadata_digest(metadata)
    with recording(ports.engine, ports.now()) as (session, at):
        _check_uri(ports, session, standing, collection, metadata.uri)
        if (there := _unchanged(session, collection, metadata.uri, digest, said)) is not None:
            if along is not None:
                along(session, there)
            return there
        erased = erasing.barred_by(session, erasing.mark_of(collection, metadata.uri, pepper=ports.pepper))
        if erased is not None:
            raise Conflict(
                f"A document by that uri was erased: see GET /v1/erasures/{erased}. It is taken in again only once an "
                f"owner has said so, with POST /v1/erasures/{erased}/readmit."
            )
        if erasing.was_erased(session, digest):
            ports.blobs.put(content)  # the bytes may have gone since; here nobody removes any
        found = publishing.document_row(session, collection=collection, uri=metadata.uri)
        if found is None:
            document = DocumentId(f"doc_{ports.new_id()}")
            row = publishing.add_document(session, id=document, collection=collection, uri=metadata.uri, at=at)
        else:
            row, document = found
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
            size_bytes=len(content),
            submitted_through=standing.principal.actor.ref if standing.principal.actor else None,
        )
        jobs.add_job(session, submission, at=at)
        session.flush()
        submitted = Submitted(document=document, job=jobs.job(session, id), unchanged_version=None)
        if along is not None:
            along(session, submitted)
        request = {"what": "submit", "document": document, "job": id, "digest": digest}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="accepted", request=request)
    return submitted


def _unchanged(session: Session, collection: str, uri: str, digest: Digest, said: str) -> Submitted | None:
    """The answer to bytes and metadata that the newest version has already, or that are the last on their way.

    Whoever was interrupted and sends all again doubles nothing.
    """
    found = publishing.document_row(session, collection=collection, uri=uri)
    if found is None:
        return None
    row, document = found
    pending = jobs.open_submissions(session, row)
    if pending:
        same = (pending[-1].blob, pending[-1].metadata_digest) == (digest, said)
        coming = jobs.job(session, pending[-1].job) if same else None
        return Submitted(document=document, job=coming, unchanged_version=None) if coming else None
    newest = publishing.latest(session, row)
    if newest is None or (newest.digest, newest.metadata_digest) != (digest, said):
        return None
    return Submitted(document=document, job=None, unchanged_version=newest.number)


def _check_room(ports: Ports, session: Session, collection: str) -> None:
    waiting, of_collection = jobs.waiting(session, collection)
    if waiting >= ports.limits.max_queued or of_collection >= ports.limits.max_queued_in_collection:
        raise RateLimited("As many documents wait to be read as may wait at once. Send the rest in a while.")


def _superseded(
    ports: Ports, session: Session, standing: Standing, collection: str, names: Sequence[str], uri: str
) -> frozenset[DocumentId]:
    """The documents that these names mean: uris in the collection, or ids. Raises `Invalid` with each that is none."""
    known = named(ports, session, standing, collection, names)
    own = publishing.document_row(session, collection=collection, uri=uri)
    faults = [
        Fault(detail=NOT_YOURS, pointer=f"/metadata/supersedes/{place}")
        for place, name in enumerate(names)
        if name not in known or (own is not None and known[name] == own[1])
    ]
    if faults:
        raise Invalid("What it is to supersede is not known; nothing was changed.", faults=tuple(faults))
    return frozenset(known.values())


def named(
    ports: Ports, session: Session, standing: Standing, collection: str, names: Sequence[str]
) -> dict[str, DocumentId]:
    """Those of these names that mean a document which the principal curates and may read."""
    own = authorize.curated_collections(ports, session, standing)
    return {
        name: document
        for name, (document, home) in succession.documents_named(session, collection, names).items()
        if home in own and handles_document(ports, session, standing, document, home)
    }


def _check_uri(ports: Ports, session: Session, standing: Standing, collection: str, uri: str) -> None:
    found = publishing.document_row(session, collection=collection, uri=uri)
    if found and not handles_document(ports, session, standing, found[1], collection, given_up=False):
        raise NotPermitted("That uri is taken by a document that you may not read. Use another, or ask its owners.")


def handles_document(
    ports: Ports, session: Session, standing: Standing, document: DocumentId, collection: str, *, given_up: bool = True
) -> bool:
    """Whether the principal may read every version of a document, and what is still being ingested of it.

    `given_up`: what failed or was cancelled too, since it may be tried again.
    """
    return bool(handled_documents(ports, session, standing, {document: collection}, given_up=given_up))


def handled_documents(
    ports: Ports, session: Session, standing: Standing, documents: Mapping[DocumentId, str], *, given_up: bool = True
) -> frozenset[DocumentId]:
    """As `handles_document`, of several, each with its collection: those that it holds for."""
    collections = authorize.register(ports, session, standing).collections
    within = [(id, boundary) for id, _, boundary in corpus.boundaries_of(session, list(documents))]
    rules = {name: registry.label_rules(session, name) for name in set(documents.values())}
    within += [
        (id, labelled(metadata, collections[documents[id]], rules=rules[documents[id]]).boundary)
        for id, _, metadata in jobs.unpublished_metadata(session, list(documents), given_up=given_up)
    ]
    handled = authorize.handled(ports, session, standing, {boundary for _, boundary in within})
    return frozenset(documents) - {id for id, boundary in within if boundary not in handled}


PROVE_IT = " Through an assistant, an owner proves who they are with Muniment-Subject-Token."


def curated(ports: Ports, session: Session, standing: Standing, name: str) -> Collection:
    """The collection, if the principal curates it.

    Raises `NotPermitted` where its existence is no secret to the principal, else `NotFound`, as for one that is absent.
    """
    collection = authorize.register(ports, session, standing).collections.get(name)
    if collection is not None and name in authorize.curated_collections(ports, session, standing):
        return collection  # without looking through all there is for what else may be known of it
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
        otherwise=f"Only the owners of {name} change what is in it. Ask {', '.join(sorted(collection.owners))}."
        + ("" if standing.principal.proof is Proof.PROVEN else PROVE_IT),
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
