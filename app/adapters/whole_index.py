"""An index that is searched only once it holds what was published: one that was lost is no empty answer."""

from collections.abc import Sequence

from sqlalchemy.engine import Engine

from app.domain.errors import IndexUnavailable
from app.domain.evidence import Hits, IndexEntry, IndexQuery, Placement, PointId, Purged
from app.ports import Index
from app.store import publishing
from app.store.database import reading


class WholeIndex:
    """The `Index` port over another one, which is compared with the database until it is found whole.

    A folder that was deleted, or is older than the database, is told of anew by a worker (`synchronize.restock`); until
    then searches raise `IndexUnavailable`.
    """

    def __init__(self, index: Index, engine: Engine) -> None:
        self._index, self._engine = index, engine
        self._found_whole = False

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        self._index.upsert(entries)

    def move(self, placements: Sequence[Placement]) -> None:
        self._index.move(placements)

    def remove(self, points: Sequence[PointId]) -> None:
        self._index.remove(points)

    def purge(self, points: Sequence[PointId]) -> Purged:
        return self._index.purge(points)

    def held(self, points: Sequence[PointId]) -> frozenset[PointId]:
        return self._index.held(points)

    def search(self, query: IndexQuery) -> Hits:
        self._be_whole()
        return self._index.search(query)

    def size(self) -> int:
        """Raises `IndexUnavailable` as `search` does: it is asked for to know whether a search would be answered."""
        self._be_whole()
        return self._index.size()

    def _be_whole(self) -> None:
        if self._found_whole:
            return
        with reading(self._engine) as session:
            published = publishing.published_chunks(session)
        if self._index.size() < published:
            raise IndexUnavailable("The index holds less than the database; a worker is rebuilding it. Try again soon.")
        self._found_whole = True
