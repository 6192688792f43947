"""Which documents lie in which boundaries, by the version that is in force."""

from sqlalchemy.engine import Engine

from app.domain.access import BoundaryId
from app.domain.corpus import DocumentId
from app.domain.instants import parse_instant
from app.store import corpus
from app.store.boundaries import boundaries_after
from app.store.database import reading
from tests.conftest import Clock
from tests.store.building import INTERNAL, RESTRICTED, Shelf

NOW = parse_instant("2030-01-01")


def test_documents_lie_where_their_version_in_force_lies(engine: Engine, clock: Clock) -> None:
    shelf = Shelf(engine, clock)
    for uri in ("a.md", "b.md"):
        shelf.put("First.", uri=uri)
    shelf.put("Second, and stricter.", uri="b.md", boundary=RESTRICTED)
    shelf.put("Over.", uri="c.md", valid_to=parse_instant("2029-01-01"))
    shelf.withdraw(shelf.put("Wrong.", uri="d.md"))
    with reading(engine) as session:
        ids = {boundary: id for id, boundary in boundaries_after(session, BoundaryId(0))}
        lying = corpus.ids_in_force(session, ids.values(), now=NOW)
        assert corpus.documents_in_force(session, now=NOW) == {ids[INTERNAL]: 1, ids[RESTRICTED]: 1}
        assert {id: len(documents) for id, documents in lying.items()} == {ids[INTERNAL]: 1, ids[RESTRICTED]: 1}
        (a,), (b,) = lying[ids[INTERNAL]], lying[ids[RESTRICTED]]
        assert corpus.boundaries_of_versions(session, [(a, 1), (b, 1), (b, 2), (b, 3), (DocumentId("doc_x"), 1)]) == {
            (a, 1): ids[INTERNAL],
            (b, 1): ids[INTERNAL],
            (b, 2): ids[RESTRICTED],
        }
