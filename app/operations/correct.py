"""The time of one version: corrected by its owners, and its history read back."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.corpus import DocumentId, RecordedPeriod, Version
from app.domain.errors import NotFound
from app.operations import read
from app.operations.curate import Correction, corrected, curating, followed_up, owned
from app.operations.identify import Credentials, identify
from app.ports import Ports
from app.store import corpus, publishing
from app.store.database import reading, recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The versions of a document in the order of their numbers, each with the period that holds today."""

    document: DocumentId
    versions: tuple[Version, ...]


def correct(
    ports: Ports, credentials: Credentials, document: DocumentId, number: int, correction: Correction
) -> Timeline:
    """Correct the valid time of any version, withdrawn or not. Raises as `amend` does, and `Conflict`."""
    standing = curating(ports, credentials, document)
    with recording(ports.engine, ports.now()) as (session, at):
        owned(ports, session, standing, document)
        version = _numbered(corpus.versions_of(session, document), number)
        others = corrected(session, version, correction, at=at, by=standing.principal.subject.ref)
        session.flush()
        versions = corpus.versions_of(session, document)
    change = {"what": "correct", "document": document, "version": number, "reason": correction.reason}
    followed_up(ports, standing, change, [*(each.id for each in versions), *others])
    return Timeline(document=document, versions=tuple(reversed(versions)))


def periods(ports: Ports, credentials: Credentials, document: DocumentId, number: int) -> list[RecordedPeriod]:
    """Every period of a version that was ever held, the first recorded first; for owners."""
    with reading(ports.engine) as session:
        owned(ports, session, identify(ports, session, credentials), document)
        version = _numbered(corpus.versions_of(session, document), number)
        return publishing.periods(session, version.id)


def _numbered(versions: Sequence[Version], number: int) -> Version:
    found = next((each for each in versions if each.number == number), None)
    if found is None:
        raise NotFound(read.ABSENT)
    return found
