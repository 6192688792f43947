"""What owners do to documents that are in: move their boundary or validity, withdraw them."""

from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Final

from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Version, VersionId
from app.domain.errors import Fault, Invalid, NotFound, NotPermitted, Unavailable
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Label
from app.domain.trace import TraceKind
from app.operations import authorize, read
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify
from app.operations.submit import check_names, handles_document
from app.operations.synchronize import synchronize
from app.ports import Ports
from app.store import boundaries as boundary_store
from app.store import corpus, jobs, publishing
from app.store.database import reading, recording


class Unstated(Enum):
    UNSTATED = "unstated"


UNSTATED: Final = Unstated.UNSTATED
"""Of a field that stays as it is; `None` takes a time away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What is to be otherwise from now on.

    The boundary fields move every version of the document, and those still being ingested, so that nothing stays open
    through its history. The times are those of the newest version.
    """

    label: Label | Unstated = UNSTATED
    readers: frozenset[PrincipalRef] | Unstated = UNSTATED
    denied: frozenset[PrincipalRef] | Unstated = UNSTATED
    jurisdictions: frozenset[str] | Unstated = UNSTATED
    purposes: frozenset[str] | Unstated = UNSTATED
    consents: frozenset[str] | Unstated = UNSTATED
    valid_from: Instant | Unstated = UNSTATED
    valid_to: Instant | None | Unstated = UNSTATED
    review_by: Instant | None | Unstated = UNSTATED

    def stated(self, *, times: bool = True) -> dict[str, Any]:
        """The fields that are to change, by name."""
        names = [field.name for field in fields(self) if times or field.name not in _TIMES]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not UNSTATED}


_TIMES = ("valid_from", "valid_to", "review_by")


def amend(ports: Ports, credentials: Credentials, document: DocumentId, amendment: Amendment) -> None:
    """Move a document's boundary or validity. Narrowing holds for every request that starts after this returns.

    SQL decides from the moment of the commit; the index follows at once or, if it is down, as soon as it is back.
    Raises `NotFound`, `NotPermitted`, `Invalid`.
    """
    standing = _curator(ports, credentials, document, amendment)
    with recording(ports.engine, ports.now()) as (session, at):
        versions = amended(session, document, amendment, at=at, by=standing.principal.subject.ref)
    _followed_up(ports, standing, document, "amend", versions)


def withdraw(ports: Ports, credentials: Credentials, document: DocumentId, *, reason: str) -> None:
    """Leave every version to the owners, and cancel what is still being ingested. As immediate as `amend`."""
    standing = _curator(ports, credentials, document, Amendment())
    with recording(ports.engine, ports.now()) as (session, at):
        versions = withdrawn(session, document, reason=reason, at=at, by=standing.principal.subject.ref)
    _followed_up(ports, standing, document, "withdraw", versions)


def amended(
    session: Session, document: DocumentId, amendment: Amendment, *, at: Instant, by: PrincipalRef
) -> list[VersionId]:
    """Write an amendment, by whoever is entitled to it, and say of which versions. Within a recording."""
    versions = corpus.versions_of(session, document)
    for version in versions:
        moved = replace(version.boundary, **amendment.stated(times=False))
        id = boundary_store.interned(session, moved, at=at)
        publishing.move_boundary(session, version.id, id, at=at, by=by)
    if versions:
        _correct(session, versions[0], amendment, at=at, by=by)
    for job, metadata in jobs.open_metadata(session, document):
        jobs.restate(session, job, replace(metadata, **amendment.stated()))
    return [version.id for version in versions]


def withdrawn(session: Session, document: DocumentId, *, reason: str, at: Instant, by: PrincipalRef) -> list[VersionId]:
    """Write a withdrawal, by whoever is entitled to it, and say of which versions. Within a recording."""
    versions = corpus.versions_of(session, document)
    for version in versions:
        if not version.withdrawn:
            publishing.withdraw(session, version.id, reason=reason, at=at, by=by)
    jobs.cancel_of(session, document, at=at)
    return [version.id for version in versions]


def _curator(ports: Ports, credentials: Credentials, document: DocumentId, amendment: Amendment) -> Standing:
    """The standing of an owner of the document's collection, once the names in the amendment are known."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        collection = publishing.collection_of(session, document)
        if collection is None or collection not in authorize.curated_collections(ports, session, standing):
            _refuse(ports, session, standing, document)
        elif not handles_document(ports, session, standing, document, collection):
            raise NotFound(read.ABSENT)
        purposes = amendment.purposes if amendment.purposes is not UNSTATED else frozenset()
        check_names(
            session,
            readers=amendment.readers if amendment.readers is not UNSTATED else frozenset(),
            denied=amendment.denied if amendment.denied is not UNSTATED else frozenset(),
            unknown_purposes=purposes - frozenset(authorize.register(ports, session, standing).purposes),
            within="",
        )
    return standing


def _refuse(ports: Ports, session: Session, standing: Standing, document: DocumentId) -> None:
    """Whoever may see the document is told who may change it; to everybody else it is absent."""
    seen = read.visible_versions(ports, session, standing, document)
    if not seen:
        raise NotFound(read.ABSENT)
    owners = ", ".join(sorted(seen[0].collection.owners))
    raise NotPermitted(f"Only the owners of {seen[0].collection.name} change this document. Ask {owners}.")


def _correct(session: Session, newest: Version, amendment: Amendment, *, at: Instant, by: PrincipalRef) -> None:
    period = newest.period
    valid_from = period.valid_from if amendment.valid_from is UNSTATED else amendment.valid_from
    stated = FOREVER if amendment.valid_to is None else amendment.valid_to
    valid_to = period.valid_to if stated is UNSTATED else stated
    review_by = period.review_by if amendment.review_by is UNSTATED else amendment.review_by
    if valid_to <= valid_from:
        fault = Fault(detail="It must be later than valid_from.", pointer="/valid_to")
        raise Invalid("A document cannot end before it begins; nothing was changed.", faults=(fault,))
    publishing.correct_newest(session, newest, (valid_from, valid_to), review_by, at=at, by=by)


def _followed_up(ports: Ports, standing: Standing, document: DocumentId, what: str, versions: list[VersionId]) -> None:
    """Tell the index now if it can be told; the tasks written with the change see to it otherwise."""
    record(
        ports,
        standing.principal,
        TraceKind.CHANGE,
        outcome="changed",
        request={"what": what, "document": document},
    )
    with suppress(Unavailable):
        synchronize(ports, versions)
