"""The index on a Qdrant server or cluster, for when one machine is not enough.

Only ever run against the client's own in-memory double (`QdrantClient(":memory:")`), which takes the same requests.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from grpc import RpcError  # type: ignore[import-untyped]
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException

from app.adapters.exact_ranking import Candidate, Engine, Space, best_hits, checked_vector
from app.domain.corpus import ChunkId
from app.domain.errors import IndexUnavailable
from app.domain.evidence import Demand, Hits, IndexEntry, IndexQuery, Lexical, Placement, PointId, Purged, chunk_of

_PERIOD_FIELDS: Final = ("valid_from", "valid_to", "recorded_from", "recorded_to")


class QdrantIndex:
    """The `Index` port on the qdrant collection `name`, made with its payload indexes if it is absent.

    A graph is built (the server's default), but every search asks for `exact=True`: what comes back is the same
    function of the matching points as in the embedded index. Turning that off is a measured decision about recall.
    Writes wait until they are applied. A search takes one round trip, and two more when it has lexical candidates
    to be scored exactly. Raises `IndexUnavailable` for whatever the client raises, and `ValueError` for vectors that
    are not of `dimension`. Safe to share between threads as far as the client is: a server's is, ":memory:" is not.
    """

    def __init__(self, client: QdrantClient, name: str, dimension: int) -> None:
        self._client = client
        self._name = name
        self._dimension = dimension
        self._barred: set[ChunkId] = set()
        with _client_errors():
            if not client.collection_exists(name):
                self._create()

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        taken = [entry for entry in entries if chunk_of(entry.placement.point) not in self._barred]
        points = {entry.placement.point: self._rendered(entry) for entry in taken}
        if points:
            with _client_errors():
                self._client.upsert(self._name, list(points.values()), wait=True)

    def move(self, placements: Sequence[Placement]) -> None:
        wanted = {placement.point: placement for placement in placements}
        alike: dict[Placement, list[PointId]] = {}
        for point, placement in wanted.items():
            alike.setdefault(replace(placement, point=PointId(0)), []).append(point)
        # Selected by a filter on ids and not by ids: a filter passes over points that are not there.
        operations: list[models.UpdateOperation] = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload=_payload(placement), filter=_having_ids(points))
            )
            for placement, points in alike.items()
        ]
        if operations:
            with _client_errors():
                self._client.batch_update_points(self._name, operations, wait=True)

    def remove(self, points: Sequence[PointId]) -> None:
        if points:
            with _client_errors():
                self._client.delete(self._name, models.FilterSelector(filter=_having_ids(points)), wait=True)

    def purge(self, points: Sequence[PointId]) -> Purged:
        """The server drops the bytes when it next rewrites a segment: it cannot be told to. What was purged is barred
        here and not in other processes, which look at SQL again after each write (`synchronize`)."""
        self._barred |= {chunk_of(point) for point in points}
        there = len(self.held(points))
        self.remove(points)
        return Purged(points=there, rewritten=False)

    def held(self, points: Sequence[PointId]) -> frozenset[PointId]:
        if not points:
            return frozenset()
        with _client_errors():
            found = self._client.retrieve(self._name, list(points), with_payload=False)
        return frozenset(PointId(int(each.id)) for each in found)

    def search(self, query: IndexQuery) -> Hits:
        if not query.boundaries:
            raise ValueError("a search needs at least one boundary")
        if not all(query.facets) or not all(query.demands):
            return Hits()
        with _client_errors():
            return best_hits(_Reached(self._client, self._name, query, self._dimension), query)

    def size(self) -> int:
        with _client_errors():
            return self._client.count(self._name, exact=True).count

    def close(self) -> None:
        self._client.close()

    def drop(self) -> None:
        """Remove the qdrant collection. May be repeated."""
        with _client_errors():
            self._client.delete_collection(self._name)

    def _create(self) -> None:
        self._client.create_collection(
            self._name,
            vectors_config={Space.DENSE: models.VectorParams(size=self._dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={Space.LEXICAL: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        for field, schema in _payload_indexes().items():
            self._client.create_payload_index(self._name, field, field_schema=schema, wait=True)

    def _rendered(self, entry: IndexEntry) -> models.PointStruct:
        vectors: dict[str, models.Vector] = {Space.DENSE: checked_vector(entry.dense, self._dimension)}
        if entry.lexical:
            vectors[Space.LEXICAL] = _sparse(entry.lexical)
        return models.PointStruct(
            id=entry.placement.point, vector=vectors, payload=_payload(entry.placement) | {"marks": sorted(entry.marks)}
        )


class _Reached(Engine):
    """The qdrant collection as one query may see it."""

    def __init__(self, client: QdrantClient, name: str, query: IndexQuery, dimension: int) -> None:
        self._client = client
        self._name = name
        self._filter = _filter(query)
        self._params = models.SearchParams(exact=True, idf=models.IdfCorpusParams(corpus=self._filter))
        self._queries: dict[Space, list[float] | models.SparseVector] = {}
        if query.dense is not None:
            self._queries[Space.DENSE] = checked_vector(query.dense, dimension)
        if query.lexical:
            self._queries[Space.LEXICAL] = _sparse(query.lexical)

    def nearest(self, limits: Mapping[Space, int]) -> dict[Space, list[Candidate]]:
        requests = [
            models.QueryRequest(
                query=self._queries[space],
                using=space,
                limit=limit,
                filter=self._filter,
                params=self._params if space is Space.LEXICAL else models.SearchParams(exact=True),
                with_payload=False,
                with_vector=[Space.LEXICAL] if Space.LEXICAL in self._queries else False,
            )
            for space, limit in limits.items()
        ]
        found = self._client.query_batch_points(self._name, requests)
        return {space: [_candidate(point) for point in each.points] for space, each in zip(limits, found, strict=True)}

    def dense_scores(self, points: Sequence[PointId]) -> dict[PointId, float]:
        found = self._client.query_points(
            self._name,
            query=self._queries[Space.DENSE],
            using=Space.DENSE,
            limit=len(points),
            query_filter=_having_ids(points),
            search_params=models.SearchParams(exact=True),
            with_payload=False,
        )
        return {PointId(int(each.id)): each.score for each in found.points}

    def lexical_population(self) -> int:
        lexical = models.Filter(must=[self._filter, models.HasVectorCondition(has_vector=Space.LEXICAL)])
        return self._client.count(self._name, count_filter=lexical, exact=True).count

    def term_scores(self, carriers: Mapping[int, PointId]) -> dict[int, float]:
        requests = [
            models.QueryRequest(
                query=models.SparseVector(indices=[term], values=[1.0]),
                using=Space.LEXICAL,
                limit=1,
                filter=_having_ids([point]),
                params=self._params,
                with_payload=False,
            )
            for term, point in carriers.items()
        ]
        found = self._client.query_batch_points(self._name, requests)
        return {term: each.points[0].score for term, each in zip(carriers, found, strict=True) if each.points}


def _payload_indexes() -> dict[str, models.PayloadSchemaType | models.IntegerIndexParams]:
    return {
        "boundary": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False),
        **{
            name: models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True)
            for name in _PERIOD_FIELDS
        },
        "facets": models.PayloadSchemaType.KEYWORD,
        "marks": models.IntegerIndexParams(
            type=models.IntegerIndexType.INTEGER, lookup=True, range=False, on_disk=True
        ),
    }


def _filter(query: IndexQuery) -> models.Filter:
    """INVARIANT: always the boundaries, never an empty `must`, which the server takes for "everything"."""

    def within(start: str, end: str, instant: int) -> list[models.FieldCondition]:
        return [
            models.FieldCondition(key=start, range=models.Range(lte=instant)),
            models.FieldCondition(key=end, range=models.Range(gt=instant)),
        ]

    return models.Filter(
        must=[
            models.FieldCondition(key="boundary", match=models.MatchAny(any=sorted(query.boundaries))),
            *within("valid_from", "valid_to", query.valid_at),
            *within("recorded_from", "recorded_to", query.known_at),
            *(models.FieldCondition(key="facets", match=models.MatchAny(any=list(group))) for group in query.facets),
            *(_meeting(demand) for demand in query.demands),
        ]
    )


def _meeting(demand: Demand) -> models.Filter:
    return models.Filter(
        should=[
            models.Filter(
                must=[models.FieldCondition(key="marks", match=models.MatchValue(value=mark)) for mark in sorted(marks)]
            )
            for marks in demand
        ]
    )


def _having_ids(points: Sequence[PointId]) -> models.Filter:
    return models.Filter(must=[models.HasIdCondition(has_id=list(points))])


def _payload(placement: Placement) -> dict[str, object]:
    return {
        "boundary": placement.boundary,
        "valid_from": placement.valid_from,
        "valid_to": placement.valid_to,
        "recorded_from": placement.recorded_from,
        "recorded_to": placement.recorded_to,
        "facets": list(placement.facets),
    }


def _sparse(lexical: Lexical) -> models.SparseVector:
    return models.SparseVector(indices=list(lexical.terms), values=list(lexical.weights))


def _candidate(found: models.ScoredPoint) -> Candidate:
    lexical = found.vector.get(Space.LEXICAL) if isinstance(found.vector, dict) else None
    weights = (
        dict(zip(lexical.indices, lexical.values, strict=True)) if isinstance(lexical, models.SparseVector) else {}
    )
    return Candidate(PointId(int(found.id)), found.score, weights)


@contextmanager
def _client_errors() -> Iterator[None]:
    """Whatever the client raises for an unreachable or failing server becomes `IndexUnavailable`."""
    try:
        yield
    except (ApiException, QdrantException, RpcError, OSError) as error:
        raise IndexUnavailable("The index server failed or cannot be reached. Try again.") from error
