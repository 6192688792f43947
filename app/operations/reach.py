"""What one question may be answered from: step 1 of an answer, and again at its last moment."""

from dataclasses import replace

from sqlalchemy.orm import Session

from app.domain.access import BoundaryId, Reach, Ruling
from app.domain.answer import Query
from app.domain.corpus import StoredChunk
from app.domain.instants import Instant
from app.operations import authorize, discharge
from app.operations.identify import Standing
from app.ports import Ports


def reach_of(ports: Ports, session: Session, standing: Standing, query: Query, asked: Ruling) -> Reach:
    """What may be read, at the two instants asked for. What lies ahead is under embargo: its owners alone see it."""
    reach = authorize.reach(
        ports,
        session,
        standing,
        purpose=query.purpose,
        client=query.client,
        destination=query.destination,
        valid_at=query.as_of,
        known_at=query.known_at,
    )
    reach = authorize.under(ports, reach, asked)
    if reach.valid_at > standing.now:
        reach = reach & reach.curated
    if standing.witness is not None:
        reach = reach & _witnessed(ports, session, standing.witness, query)
    if query.collections is None:
        return reach
    return authorize.within_collections(ports, session, standing, reach, query.collections)


def _witnessed(ports: Ports, session: Session, witness: Standing, query: Query) -> frozenset[BoundaryId]:
    """What whoever evaluates may read by the same question."""
    asked = authorize.asked(
        ports, session, witness, purpose=query.purpose, client=query.client, destination=query.destination
    )
    return reach_of(ports, session, witness, query, asked).boundaries if asked.allowed else frozenset()


def as_of_now(ports: Ports, session: Session, standing: Standing, query: Query, before: Reach) -> Reach:
    """What may be read by what holds at this moment: as before, or decided again, the question itself included.

    INVARIANT: of the same two instants, which the index was asked for: else an answer would say that it is of what it
    had not looked for, and who may see nothing of a change would see that there was one.
    """
    if standing.witness is None and authorize.stands(ports, session, standing, before):
        return before
    asked = authorize.asked(
        ports, session, standing, purpose=query.purpose, client=query.client, destination=query.destination
    )
    again = reach_of(ports, session, standing, replace(query, as_of=before.valid_at, known_at=before.known_at), asked)
    return again if asked.allowed else again & ()


def closed(chunk: StoredChunk | None, reach: Reach, *, now: Instant) -> str | None:
    """Why a hit may not be read, by what SQL holds of it; None if it may. In one word, for auditors."""
    if chunk is None:
        return "lifecycle"
    if chunk.boundary_id not in reach.boundaries:
        return "boundary"
    return "lifecycle" if chunk.begins > now and chunk.boundary_id not in reach.curated else None


def redacted_in(reach: Reach, boundary: BoundaryId) -> frozenset[str]:
    """The categories that are not shown of what lies in a boundary of the reach."""
    return discharge.categories_redacted(authorize.obligations_on(reach, [boundary]))


def systems_of_record(ports: Ports, session: Session, standing: Standing) -> frozenset[str]:
    """The systems of record that the principal may know of, whether or not it may read anything in them."""
    collections = authorize.register(ports, session, standing).collections
    open_to = authorize.discoverable_collections(ports, session, standing)
    own = authorize.curated_collections(ports, session, standing)
    return frozenset(name for name in open_to | own if collections[name].system_of_record)
