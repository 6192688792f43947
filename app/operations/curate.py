"""What owners do to documents that are in: move their boundary or validity, withdraw them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Final

from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Metadata, Version, VersionId, curtailed, labelled
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted, Unavailable
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Cause, CauseKind, Label
from app.domain.trace import Account, TraceKind
from app.operations import authorize, read
from app.operations.attest import record, record_with
from app.operations.identify import Credentials, Standing, identify
from app.operations.submit import check_names, curated, handled_documents, handles_document
from app.operations.synchronize import synchronize
from app.ports import Ports
from app.store import boundaries as boundary_store
from app.store import corpus, erasing, jobs, publishing, registry, succession
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
    reason: str | None = None
    """Why; a label that becomes less strict wants one."""

    def stated(self, *, times: bool = True) -> dict[str, Any]:
        """The fields that are to change, by name."""
        names = [field.name for field in fields(self) if field.name != "reason" and (times or field.name not in _TIMES)]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not UNSTATED}


_TIMES = ("valid_from", "valid_to", "review_by")


def amend(ports: Ports, credentials: Credentials, document: DocumentId, amendment: Amendment) -> None:
    """Move a document's boundary or validity. Narrowing holds for every request that starts after this returns.

    The attachments of a mail go with it, as far as the principal may read them; a label that one was given of its own
    is joined with the new one. To set an attachment apart, amend it afterwards.
    SQL decides from the moment of the commit; the index follows at once or, if it is down, as soon as it is back.
    Raises `NotFound`, `NotPermitted`, `Invalid`.
    """
    standing = _curator(ports, credentials, document, amendment)
    with recording(ports.engine, ports.now()) as (session, at):
        apart = apart_from(ports, session, standing, document)
        versions = amended(session, document, amendment, at=at, by=standing.principal.subject.ref, apart=apart)
    followed_up(ports, standing, {"what": "amend", "document": document}, versions)


def amended(
    session: Session,
    document: DocumentId,
    amendment: Amendment,
    *,
    at: Instant,
    by: PrincipalRef,
    apart: frozenset[DocumentId] = frozenset(),
) -> list[VersionId]:
    """Write an amendment, by whoever is entitled to it, and say which versions it touches. Within a recording.

    Attachments go with their mail, but for those `apart`.
    """
    versions = corpus.versions_of(session, document)
    coming = [metadata for _, _, metadata in jobs.unpublished_metadata(session, [document], given_up=True)]
    collection = publishing.collection_of(session, document) or ""
    _check_lowering(session, collection, [each.boundary.label for each in versions], coming, amendment)
    label = versions[0].boundary.label if versions else None
    parts = [part for part in publishing.parts_of(session, document) if part not in apart]
    touched = _move(session, document, amendment, at=at, by=by)
    for part in parts:
        touched += _move(session, part, amendment, at=at, by=by, as_long_as=label)
    return touched


def _move(
    session: Session,
    document: DocumentId,
    amendment: Amendment,
    *,
    at: Instant,
    by: PrincipalRef,
    as_long_as: Label | None = None,
    times: bool = True,
) -> list[VersionId]:
    """Let an amendment hold for a document; a label other than `as_long_as` is joined with the new one."""

    def moving(label: Label | None, *, times: bool) -> dict[str, Any]:
        stated = amendment.stated(times=times)
        if "label" in stated and label is not None and as_long_as is not None and label != as_long_as:
            stated["label"] = label.join(stated["label"])
        return stated

    versions = corpus.versions_of(session, document)
    for version in versions:
        moved = replace(version.boundary, **moving(version.boundary.label, times=False))
        id = boundary_store.interned(session, moved, at=at)
        publishing.move_boundary(
            session, version.id, id, at=at, by=by, causes=_amended(amendment), reason=amendment.reason
        )
    others = _correct(session, versions[0], amendment, at=at, by=by) if versions and times else []
    for _, job, metadata in jobs.unpublished_metadata(session, [document], given_up=True):
        jobs.restate(session, job, _restated(metadata, amendment, moving(metadata.label, times=times)))
    return [*(version.id for version in versions), *others]


def _restated(metadata: Metadata, amendment: Amendment, stated: Mapping[str, Any]) -> Metadata:
    """What was said of a submission that is not over, amended; why its label is what it is comes with the label."""
    restated = replace(metadata, **stated)
    return restated if amendment.label is UNSTATED else replace(restated, label_reason=amendment.reason)


def apart_from(ports: Ports, session: Session, standing: Standing, document: DocumentId) -> frozenset[DocumentId]:
    """Attachments that the principal may not read, so does nothing to.

    INVARIANT: called first within a recording. What was published or closed since it was decided that the document is
    the principal's to change is looked at here: raises as `owned` does.
    """
    owned(ports, session, standing, document)
    parts = dict.fromkeys(publishing.parts_of(session, document), publishing.collection_of(session, document) or "")
    return frozenset(parts) - handled_documents(ports, session, standing, parts) if parts else frozenset()


MAX_AMENDED = 5_000
"""Documents of one call: what one recording takes in well under a second."""


def amend_several(
    ports: Ports,
    credentials: Credentials,
    collection: str,
    amendment: Amendment,
    *,
    ids: Sequence[DocumentId] = (),
    uris: Sequence[str] = (),
) -> tuple[list[DocumentId], int]:
    """As `amend`, of the boundary alone, for many documents of one collection: all of them, or none.

    Says which they are, and how many versions moved. One recording: SQL decides for all from its commit on. Nothing is
    read or embedded again; the index is told where the points stand in the background.
    Raises `NotFound` with a fault for each that is not there to be amended, `NotPermitted`, `Invalid`.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        _check_amendment(ports, session, standing, amendment)
    by = standing.principal.subject.ref
    stated = amendment.stated(times=False)
    with recording(ports.engine, ports.now()) as (session, at):
        named = publishing.documents_named(session, collection, ids=ids, uris=uris)
        handled = handled_documents(ports, session, standing, dict.fromkeys(named, collection))
        _check_all_there(ids, uris, {id: uri for id, uri in named.items() if id in handled})
        parts = _parts_of_several(ports, session, standing, collection, list(named))
        documents = sorted(named)
        before = {id: boundary for _, id, boundary in corpus.boundaries_of(session, documents)}
        coming = jobs.unpublished_metadata(session, documents, given_up=True)
        labels = [boundary.label for boundary in before.values()]
        _check_lowering(session, collection, labels, [metadata for *_, metadata in coming], amendment)
        to = {id: boundary_store.interned(session, replace(each, **stated), at=at) for id, each in before.items()}
        moves = [
            publishing.Move(version=version, boundary=to[id], causes=_amended(amendment))
            for version, id in publishing.lying(session, documents)
            if to[id] != id
        ]
        publishing.move_boundaries(session, moves, at=at, by=by, reason=amendment.reason)
        versions = len(moves)
        for _, job, metadata in coming:
            jobs.restate(session, job, _restated(metadata, amendment, stated))
        for part, label in parts.items():
            versions += len(_move(session, part, amendment, at=at, by=by, as_long_as=label, times=False))
        request = {"what": "amend", "collection": collection, "documents": documents, "fields": sorted(stated)}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
    return documents, versions


def _parts_of_several(
    ports: Ports, session: Session, standing: Standing, collection: str, documents: Sequence[DocumentId]
) -> dict[DocumentId, Label | None]:
    """The attachments that go with these documents and are not among them, each with the label of its mail."""
    mails = publishing.parts_of_several(session, documents)
    labels = {id: boundary.label for id, _, boundary in corpus.boundaries_of(session, list(mails))}
    parts = {part: labels.get(mail) for mail, several in mails.items() for part in several}
    handled = handled_documents(ports, session, standing, dict.fromkeys(parts, collection))
    return {part: label for part, label in parts.items() if part in handled and part not in documents}


def _check_all_there(ids: Sequence[DocumentId], uris: Sequence[str], there: Mapping[DocumentId, str]) -> None:
    taken = frozenset(there.values())
    faults = [Fault(detail=read.ABSENT, pointer=f"/documents/{n}") for n, id in enumerate(ids) if id not in there]
    faults += [Fault(detail=read.ABSENT, pointer=f"/uris/{n}") for n, uri in enumerate(uris) if uri not in taken]
    if faults:
        raise NotFound(
            f"{len(faults)} of these are not in this collection, or not yours to read; nothing was changed.",
            faults=tuple(faults),
        )


def withdraw(ports: Ports, credentials: Credentials, document: DocumentId, *, reason: str) -> list[read.Shown]:
    """Leave every version to the owners, and cancel what is still being ingested. As immediate as `amend`.

    Returns the documents that it had superseded and that the owner may see, each by its newest version: they do not
    come back by themselves.

    The attachments of a mail are withdrawn with it, as far as the principal may read them.
    """
    standing = _curator(ports, credentials, document, Amendment())
    with recording(ports.engine, ports.now()) as (session, at):
        apart = apart_from(ports, session, standing, document)
        touched = withdrawn(session, document, reason=reason, at=at, by=standing.principal.subject.ref, apart=apart)
        left = [each.document for each in succession.superseded_by(session, document)]
    followed_up(ports, standing, {"what": "withdraw", "document": document}, touched)
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        seen = [read.visible_versions(ports, session, standing, each) for each in left]
    return [versions[0] for versions in seen if versions]


def withdrawn(
    session: Session,
    document: DocumentId,
    *,
    reason: str,
    at: Instant,
    by: PrincipalRef,
    apart: frozenset[DocumentId] = frozenset(),
) -> list[VersionId]:
    """Write a withdrawal, by whoever is entitled to it, and say of which versions. Within a recording.

    Attachments go with their mail, but for those `apart`.
    """
    touched: list[VersionId] = []
    for each in (document, *publishing.parts_of(session, document)):
        if each in apart:
            continue
        versions = corpus.versions_of(session, each)
        for version in versions:
            if not version.withdrawn:
                publishing.withdraw(session, version.id, reason=reason, at=at, by=by)
        jobs.cancel_of(session, each, at=at)
        touched += [version.id for version in versions]
    return touched


def curating(ports: Ports, credentials: Credentials, document: DocumentId) -> Standing:
    """The standing of an owner of the document's collection who may read the document; raises as `amend` does."""
    return _curator(ports, credentials, document, Amendment())


def _curator(ports: Ports, credentials: Credentials, document: DocumentId, amendment: Amendment) -> Standing:
    """The standing of an owner of the document's collection, once the names in the amendment are known."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        owned(ports, session, standing, document)
        _check_amendment(ports, session, standing, amendment)
    return standing


def _check_amendment(ports: Ports, session: Session, standing: Standing, amendment: Amendment) -> None:
    """Raises `Invalid` for names that are not known."""
    purposes = amendment.purposes if amendment.purposes is not UNSTATED else frozenset()
    check_names(
        session,
        readers=amendment.readers if amendment.readers is not UNSTATED else frozenset(),
        denied=amendment.denied if amendment.denied is not UNSTATED else frozenset(),
        unknown_purposes=purposes - frozenset(authorize.register(ports, session, standing).purposes),
        within="",
    )


def owned(ports: Ports, session: Session, standing: Standing, document: DocumentId) -> None:
    """Pass if the principal owns the document's collection and may read the document.

    Raises `NotPermitted` to whoever may see it and does not own it, else `NotFound`.
    """
    collection = publishing.collection_of(session, document)
    if collection is None or collection not in authorize.curated_collections(ports, session, standing):
        _refuse(ports, session, standing, document)
    elif not handles_document(ports, session, standing, document, collection) or erasing.erasure_of(session, document):
        raise NotFound(read.ABSENT)


def _check_lowering(
    session: Session, collection: str, today: Sequence[Label], coming: Sequence[Metadata], amendment: Amendment
) -> None:
    """Raising needs nothing; a label that lets more people in than today's wants a reason, which is kept."""
    home = registry.collection(session, collection)
    if home is None or amendment.label is UNSTATED or amendment.reason is not None:
        return
    rules = registry.label_rules(session, collection)
    today = [*today, *(labelled(metadata, home, rules=rules).boundary.label for metadata in coming)]
    if not all(amendment.label.covers(each) for each in today):
        fault = Fault(detail="State why: it is kept in the document's label history.", pointer="/reason")
        raise Invalid(
            "This label is less strict than today's, in its level or for want of a category. "
            "Lowering needs a reason; nothing was changed.",
            faults=(fault,),
        )


def _amended(amendment: Amendment) -> tuple[Cause, ...]:
    """Each field of the boundary that was stated is named: the history shows what was moved."""
    return tuple(Cause(kind=CauseKind.AMENDED, detail=name) for name in sorted(amendment.stated(times=False)))


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
