"""What came with a mail, as documents of its own: each taken in by its own job, through its own gate."""

import re
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy.orm import Session

from app.domain.access import Boundary
from app.domain.corpus import (
    ATTACHMENTS_OF,
    PART_OF,
    DocumentId,
    Finding,
    FindingCode,
    Metadata,
    Origin,
    VersionId,
)
from app.domain.instants import Instant
from app.domain.jobs import JobId
from app.ports import Ports
from app.store import corpus, erasing, jobs, publishing
from app.store.jobs import Submission
from app.store.metadata import metadata_digest

_MAX_NAME_CHARS = 80
_NO_LONGER_THERE = "It is not among the attachments of the newest version of its mail."


def attach(
    ports: Ports, session: Session, mail: Submission, version: VersionId, *, boundary: Boundary, at: Instant
) -> None:
    """Submit what came with a version of a mail, within the transaction that publishes it: all of it, or nothing.

    Each is born in the mail's boundary as it is now; from there on it is a document like any other, named after the
    mail. What one was given of its own since, its next version keeps. One that an earlier version had and this one has
    not is withdrawn. One that was erased does not come back with its mail.
    """
    before = publishing.attached(session, mail.document_row)
    earlier = next((each for each in corpus.versions_of(session, mail.document) if each.id != version), None)
    still: set[int] = set()
    attachments = publishing.attachments(session, version)
    for ordinal, each in attachments:
        place = _place(ports, session, mail, f"{ordinal}-{_safe(each.name)}", frozenset(before), at=at)
        if place is None:
            _leave_out(ports, session, version, ordinal, each)
            continue
        row, document, uri = place
        still.add(row)
        own = next(iter(corpus.versions_of(session, document)), None)
        born = _born(boundary, earlier.boundary, own.boundary) if earlier and own else boundary
        metadata = _metadata(mail, born, uri)
        if born.label != boundary.label:
            metadata = replace(metadata, label_reason=None)  # it was given for the mail's label
        said = metadata_digest(metadata)
        as_the_mail = metadata_digest(_metadata(mail, boundary, uri))
        newest = publishing.latest(session, row)
        same = newest is not None and newest.digest == each.digest and newest.metadata_digest in (said, as_the_mail)
        if same and not jobs.open_jobs_of(session, row):
            publishing.name_attached(session, version, ordinal, row, None)
            continue
        submission = Submission(
            job=JobId(f"job_{ports.new_id()}"),
            document_row=row,
            document=document,
            collection=mail.collection,
            filename=each.name,
            media_type=each.media_type,
            blob=each.digest,
            metadata=metadata,
            metadata_digest=said,
            submitted_by=mail.submitted_by,
            size_bytes=mail.size_bytes // len(attachments),  # together they weigh what the mail does
            submitted_through=mail.submitted_through,
        )
        jobs.add_job(session, submission, at=at)
        session.flush()
        publishing.name_attached(session, version, ordinal, row, submission.job)
    for row, document in before.items():
        if row not in still:
            for part in (document, *publishing.parts_of(session, document)):
                _withdraw(session, part, mail, at=at)


def _born(boundary: Boundary, earlier: Boundary, own: Boundary) -> Boundary:
    """The mail's boundary, but for what sets the attachment apart from how the mail was before."""
    apart = {name: getattr(own, name) for name in _OF_ITS_OWN if getattr(own, name) != getattr(earlier, name)}
    if "denied" in apart:
        apart["denied"] = own.denied | boundary.denied
    if own.label != earlier.label:
        apart["label"] = own.label.join(boundary.label)
    return replace(boundary, **apart)


_OF_ITS_OWN = ("readers", "denied", "jurisdictions", "purposes", "consents")


def _safe(name: str) -> str:
    """A name as the last part of a uri; its end, which tells the format, is kept."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[-_MAX_NAME_CHARS:] or "unnamed"


def _place(
    ports: Ports, session: Session, mail: Submission, name: str, own: frozenset[int], *, at: Instant
) -> tuple[int, DocumentId, str] | None:
    """The document that an attachment becomes: the mail's own by that name, else a new one under a free uri; None if
    what had that uri was erased, and not readmitted.

    INVARIANT: what somebody else put under such a uri is never given another version from here.
    """
    for uri in _uris(f"{mail.metadata.uri}{ATTACHMENTS_OF}{name}"):
        found = publishing.document_row(session, collection=mail.collection, uri=uri)
        if found is None:
            if erasing.barred_by(session, erasing.mark_of(mail.collection, uri, pepper=ports.pepper)) is not None:
                return None
            document = DocumentId(f"doc_{ports.new_id()}")
            row = publishing.add_document(session, id=document, collection=mail.collection, uri=uri, at=at)
            return row, document, uri
        if found[0] in own:
            return found[0], found[1], uri
    raise AssertionError("some uri is free")


def _leave_out(
    ports: Ports, session: Session, version: VersionId, ordinal: int, left: publishing.StagedAttachment
) -> None:
    """Say that an attachment is left out; its bytes, which its mail's staging stored, go as the erasure had them go."""
    detail = f"Attachment {ordinal} was erased here before. It is taken in again only once an owner readmits it."
    publishing.add_finding(session, version, Finding(code=FindingCode.PARTIAL, detail=detail))
    if not erasing.original_is_wanted(session, left.digest):
        ports.blobs.remove(left.digest)


def _uris(wanted: str) -> Iterator[str]:
    yield wanted
    number = 2
    while True:
        yield f"{wanted}~{number}"
        number += 1


def _metadata(mail: Submission, boundary: Boundary, uri: str) -> Metadata:
    stated = mail.metadata
    return Metadata(
        uri=uri,
        label=boundary.label,
        label_reason=stated.label_reason,
        readers=boundary.readers,
        denied=boundary.denied,
        jurisdictions=boundary.jurisdictions,
        purposes=boundary.purposes,
        consents=boundary.consents,
        valid_from=stated.valid_from,
        valid_to=stated.valid_to,
        review_by=stated.review_by,
        source=Origin(
            connector=stated.source.connector, fetched_at=stated.source.fetched_at, author=stated.source.author
        ),
        attributes={**stated.attributes, PART_OF: (mail.document,)},
    )


def _withdraw(session: Session, document: DocumentId, mail: Submission, *, at: Instant) -> None:
    for version in corpus.versions_of(session, document):
        if not version.withdrawn:
            publishing.withdraw(session, version.id, reason=_NO_LONGER_THERE, at=at, by=mail.submitted_by)
    jobs.cancel_of(session, document, at=at)
