"""Legal holds: placed by owners or administrators, released by administrators alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import Action
from app.domain.corpus import DocumentId
from app.domain.erasure import Hold, HoldId
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.trace import TraceKind
from app.operations import authorize, read
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify
from app.operations.submit import curated, handles_document
from app.ports import Institution, Ports
from app.store import erasing, holds
from app.store.database import reading, recording
from app.store.publishing import collection_of

ABSENT: Final = "There is no hold by that id that you may know of."


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants to be kept, and why. Either documents or whole collections."""

    title: str
    reason: str
    matter: str | None
    documents: frozenset[DocumentId]
    collections: frozenset[str]


def place(ports: Ports, credentials: Credentials, order: Order) -> Hold:
    """Keep what is named, from the next commit on. Raises `NotFound`, `NotPermitted`, or `Invalid`.

    Owners hold what is theirs and what they may read; administrators hold anything, and see nothing of it by that.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        if bool(order.documents) == bool(order.collections):
            fault = Fault(detail="Name documents or collections, and not both.", pointer="/documents")
            raise Invalid("A hold is on documents or on collections.", faults=(fault,))
        administers = authorize.permitted(ports, session, standing, Action.MANAGE, Institution())
        for name in sorted(order.collections):
            _named_collection(ports, session, standing, name, administers=administers)
        for document in sorted(order.documents):
            _named_document(ports, session, standing, document, administers=administers)
    with recording(ports.engine, ports.now()) as (session, at):
        for document in sorted(order.documents):  # one may have been erased since it was looked at
            if erasing.erasure_of(session, document) is not None:
                raise NotFound(read.ABSENT)
        placed = Hold(
            id=HoldId(f"hold_{ports.new_id()}"),
            title=order.title,
            reason=order.reason,
            matter=order.matter,
            documents=order.documents,
            collections=order.collections,
            placed_at=at,
            placed_by=standing.principal.subject.ref,
        )
        holds.place(session, placed)
    _on_record(ports, standing, "place-hold", placed.id)
    return placed


def release(ports: Ports, credentials: Credentials, id: HoldId, *, reason: str) -> Hold:
    """End a hold, as administrators alone may: an owner could lift what stands in its own way.

    Raises `NotFound`, `NotPermitted`, and `Conflict` if it was released before.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        administers = authorize.permitted(ports, session, standing, Action.MANAGE, Institution())
        _shown(ports, session, standing, holds.hold(session, id))
        if not administers:
            raise NotPermitted(authorize.ADMINISTRATORS_ONLY)
    with recording(ports.engine, ports.now()) as (session, at):
        if not holds.release(session, id, reason=reason, at=at, by=standing.principal.subject.ref):
            raise Conflict("This hold was released before.")
        found = holds.hold(session, id)
    assert found is not None
    _on_record(ports, standing, "release-hold", id)
    return found


def hold(ports: Ports, credentials: Credentials, id: HoldId) -> Hold:
    """A hold as far as it concerns the principal. Raises `NotFound` to everybody whom it does not."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        return _shown(ports, session, standing, holds.hold(session, id))


def listed(ports: Ports, credentials: Credentials) -> list[Hold]:
    """The holds that `hold` shows, newest first, those that were released too."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        seen = [_visible(ports, session, standing, each) for each in holds.holds(session)]
    return [each for each in seen if each is not None]


def numbers(ports: Ports, credentials: Credentials, documents: Sequence[DocumentId]) -> dict[DocumentId, int]:
    """How many holds are on each of these documents, of those whose collection the principal curates."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        own = authorize.curated_collections(ports, session, standing)
        homes = {document: collection_of(session, document) for document in set(documents)}
        in_force = holds.in_force(session) if own & {*homes.values()} else []
        return {
            document: sum(each.covers(document, home) for each in in_force)
            for document, home in homes.items()
            if home in own and home is not None
        }


def _named_collection(ports: Ports, session: Session, standing: Standing, name: str, *, administers: bool) -> None:
    if not (administers and name in authorize.register(ports, session, standing).collections):
        curated(ports, session, standing, name)


def _named_document(
    ports: Ports, session: Session, standing: Standing, document: DocumentId, *, administers: bool
) -> None:
    home = collection_of(session, document)
    if home is None or erasing.erasure_of(session, document) is not None:
        raise NotFound(read.ABSENT)
    if administers:
        return
    own = home in authorize.curated_collections(ports, session, standing)
    if not own or not handles_document(ports, session, standing, document, home):
        raise NotFound(read.ABSENT)


def _shown(ports: Ports, session: Session, standing: Standing, found: Hold | None) -> Hold:
    shown = _visible(ports, session, standing, found) if found is not None else None
    if shown is None:
        raise NotFound(ABSENT)
    return shown


def _visible(ports: Ports, session: Session, standing: Standing, found: Hold) -> Hold | None:
    """To administrators and auditors whole, as ids; to owners, what it covers of theirs; to others nothing."""
    for action in (Action.MANAGE, Action.AUDIT):
        if authorize.permitted(ports, session, standing, action, Institution()):
            return found
    own = authorize.curated_collections(ports, session, standing)
    collections = found.collections & own
    documents = frozenset(
        document
        for document in found.documents
        if (home := collection_of(session, document)) in own
        and home is not None
        and handles_document(ports, session, standing, document, home)
    )
    return replace(found, collections=collections, documents=documents) if collections or documents else None


def _on_record(ports: Ports, standing: Standing, what: str, id: HoldId) -> None:
    record(ports, standing.principal, TraceKind.CHANGE, outcome="changed", request={"what": what, "hold": id})
