"""What owners do to documents that are in: move their boundary or validity, withdraw them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Final

from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Version, VersionId, curtailed
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted, Unavailable
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Label
from app.domain.trace import Account, TraceKind
from app.operations import authorize, read
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify
from app.operations.submit import check_names, handles_document
from app.operations.synchronize import synchronize
from app.ports import Ports
from app.store import boundaries as boundary_store
from app.store import corpus, jobs, publishing, succession
from app.store.database import reading, recording


class Unstated(Enum):
    UNSTATED = "unstated"


UNSTATED: Final = Unstated.UNSTATED
"""Of a field that stays as it is; `None` takes a time away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """When one version was valid and is to be reviewed, as far as that is to be otherwise; and why."""

    valid_from: Instant | Unstated = UNSTATED
    valid_to: Instant | None | Unstated = UNSTATED
    review_by: Instant | None | Unstated = UNSTATED
    reason: str | None = None


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
        by = standing.principal.subject.ref
        versions = corpus.versions_of(session, document)
        for version in versions:
            moved = replace(version.boundary, **amendment.stated(times=False))
            id = boundary_store.interned(session, moved, at=at)
            publishing.move_boundary(session, version.id, id, at=at, by=by)
        others = _correct(session, versions[0], amendment, at=at, by=by) if versions else []
        for job, metadata in jobs.open_metadata(session, document):
            jobs.restate(session, job, replace(metadata, **amendment.stated()))
    followed_up(ports, standing, {"what": "amend", "document": document}, [*(each.id for each in versions), *others])


def withdraw(ports: Ports, credentials: Credentials, document: DocumentId, *, reason: str) -> list[read.Shown]:
    """Leave every version to the owners, and cancel what is still being ingested. As immediate as `amend`.

    Returns the documents that it had superseded and that the owner may see, each by its newest version: they do not
    come back by themselves.
    """
    standing = _curator(ports, credentials, document, Amendment())
    with recording(ports.engine, ports.now()) as (session, at):
        versions = corpus.versions_of(session, document)
        for version in versions:
            if not version.withdrawn:
                publishing.withdraw(session, version.id, reason=reason, at=at, by=standing.principal.subject.ref)
        jobs.cancel_of(session, document, at=at)
        left = [each.document for each in succession.superseded_by(session, document)]
    followed_up(ports, standing, {"what": "withdraw", "document": document}, [version.id for version in versions])
    with reading(ports.engine) as session:
        seen = [read.visible_versions(ports, session, standing, each) for each in left]
    return [versions[0] for versions in seen if versions]


def curating(ports: Ports, credentials: Credentials, document: DocumentId) -> Standing:
    """The standing of an owner of the document's collection who may read the document; raises as `amend` does."""
    return _curator(ports, credentials, document, Amendment())


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


def _correct(
    session: Session, newest: Version, amendment: Amendment, *, at: Instant, by: PrincipalRef
) -> list[VersionId]:
    correction = Correction(valid_from=amendment.valid_from, valid_to=amendment.valid_to, review_by=amendment.review_by)
    return corrected(session, newest, correction, at=at, by=by)


def corrected(
    session: Session, version: Version, correction: Correction, *, at: Instant, by: PrincipalRef
) -> list[VersionId]:
    """Hold from now on that a version was valid then; call within a recording. `version` is as held today.

    1. A period ends after it begins.
    2. The document's other versions are left the time that this one does not take. One that was published later is
       not taken all of it: that is said of it, not in passing.
    3. Documents that gave way when this version begins give way earlier if it begins earlier.
    4. A version that is to be valid beyond where another document took its place is superseded by it no more.

    Returns the versions of other documents that moved too. Raises `Invalid`, `Conflict`.
    """
    period, document = version.period, version.document.id
    valid_from = period.valid_from if correction.valid_from is UNSTATED else correction.valid_from
    stated = FOREVER if correction.valid_to is None else correction.valid_to
    valid_to = period.valid_to if stated is UNSTATED else stated
    review_by = period.review_by if correction.review_by is UNSTATED else correction.review_by
    valid = (valid_from, valid_to)
    moves = valid != (period.valid_from, period.valid_to)

    # 1.
    if moves and valid_to <= valid_from:
        fault = Fault(detail="It must be later than valid_from.", pointer="/valid_to")
        raise Invalid("A document cannot end before it begins; nothing was changed.", faults=(fault,))

    # 2.
    if moves:
        _leave_something(session, version, valid)
    publishing.correct_version(session, version, valid, review_by, at=at, by=by, reason=correction.reason)
    if not moves:
        return []

    # 3.
    followed = succession.follow(session, document, period.valid_from, valid_from, at=at, by=by)

    # 4.
    own = succession.successors(session, [document]).get(document)
    if own is not None and valid_to > own.valid_from:
        succession.revive(session, document, at=at)
    return succession.versions_of(session, followed)


def _leave_something(session: Session, version: Version, valid: tuple[Instant, Instant]) -> None:
    for other in corpus.versions_of(session, version.document.id):
        if other.number <= version.number or other.period.valid_from >= other.period.valid_to:
            continue
        left = curtailed(other.period.valid_from, other.period.valid_to, by=valid)
        if left is not None and left[0] >= left[1]:
            raise Conflict(
                f"Version {other.number}, which was published later, would never have been in force. Say when "
                f"version {version.number} ended, or correct version {other.number} first; nothing was changed."
            )


def followed_up(ports: Ports, standing: Standing, change: Account, versions: Sequence[VersionId]) -> None:
    """Put a change on record, and tell the index now if it can be told; the tasks written with it see to it else."""
    record(ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=change)
    with suppress(Unavailable):
        synchronize(ports, versions)
