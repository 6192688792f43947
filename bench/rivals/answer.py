"""One other library with the same points, in a process and a virtual environment of its own.

    python answer.py NAME FOLDER      `vectors.npy` and `boundaries.npy` are read from the folder, and filled in

Then a line of JSON on standard input is a question, `{"vector": [...], "boundaries": [...], "limit": 10}`, and a line
on standard output its answer, `{"ms": 1.5, "points": [7, ...]}`: the time of the library's own call alone.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

Ask = Callable[[list[float], list[int], int], list[int]]
_AT_ONCE = 5_000


def chromadb(vectors: Any, boundaries: Sequence[int], folder: str) -> Ask:
    import chromadb  # type: ignore[import-not-found]

    client = chromadb.PersistentClient(folder, chromadb.config.Settings(anonymized_telemetry=False))
    kept = client.create_collection("points", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    for some in _pieces(len(vectors)):
        kept.add(
            ids=[str(n) for n in some],
            embeddings=vectors[some.start : some.stop],
            metadatas=[{"boundary": boundaries[n]} for n in some],
        )

    def ask(vector: list[float], within: list[int], limit: int) -> list[int]:
        found = kept.query(query_embeddings=[vector], n_results=limit, where={"boundary": {"$in": within}}, include=[])
        return [int(id) for id in found["ids"][0]]

    return ask


def lancedb(
    vectors: Any, boundaries: Sequence[int], folder: str, *, indexed: bool = True, refined: bool = False
) -> Ask:
    """With the indexes that its documentation advises for filtered search: IVF_PQ, and a bitmap on the filter.

    `refined`: looking into so many partitions, and scoring so many candidates again, that it finds 95% of the best.
    """
    import lancedb  # type: ignore[import-not-found]
    import pyarrow  # type: ignore[import-not-found]

    flat = pyarrow.array(np.asarray(vectors).reshape(-1), pyarrow.float32())
    table = lancedb.connect(folder).create_table(
        "points",
        pyarrow.table(
            {
                "id": pyarrow.array(range(len(vectors)), pyarrow.int64()),
                "boundary": pyarrow.array(boundaries, pyarrow.int32()),
                "vector": pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            }
        ),
    )
    if indexed:
        table.create_index("vector", config=lancedb.index.IvfPq(distance_type="cosine"))
        table.create_index("boundary", config=lancedb.index.Bitmap())
        table.optimize()

    def asking(effort: tuple[int, int] | None) -> Ask:
        def ask(vector: list[float], within: list[int], limit: int) -> list[int]:
            condition = f"boundary IN ({', '.join(map(str, within))})"
            query = table.search(np.array(vector, "f4")).distance_type("cosine").where(condition, prefilter=True)
            if effort is not None:
                query = query.nprobes(effort[0]).refine_factor(effort[1])
            found = query.select(["id", "_distance"]).limit(limit).to_arrow()
            return [int(id) for id in found["id"].to_pylist()]

        return ask

    if not refined:
        return asking(None)
    return next(
        (ask for ask in map(asking, _EFFORTS) if _recall(ask, vectors, boundaries) >= _ENOUGH), asking(_EFFORTS[-1])
    )


_EFFORTS = ((20, 5), (20, 20), (40, 20), (80, 20), (160, 50), (1_000, 100))
"""Partitions looked into, and candidates scored again for each that is wanted: the first that finds enough."""
_ENOUGH = 0.97
"""On the sample, so that .95 are found of what is asked then."""


def _recall(ask: Ask, vectors: Any, boundaries: Sequence[int]) -> float:
    """Of the ten nearest to some vectors between two points, within a tenth of the boundaries: how many are found."""
    chance = np.random.default_rng(5)
    numbers = np.array(boundaries)
    within = sorted(set(boundaries))
    within = within[: max(len(within) // 10, 1)]
    seen = np.flatnonzero(np.isin(numbers, within))
    found = 0
    for one, other in chance.integers(0, len(vectors), (_SAMPLE, 2)):
        vector = np.asarray(vectors[one]) + np.asarray(vectors[other])
        vector /= np.linalg.norm(vector)
        best = seen[np.argsort(-(vectors[seen] @ vector))[:10]]
        found += len({*best.tolist()} & {*ask(vector.tolist(), within, 10)})
    return found / (10 * _SAMPLE)


_SAMPLE = 30


def langchain_qdrant(vectors: Any, boundaries: Sequence[int], _folder: str) -> Ask:
    """On Qdrant's in-memory double: what langchain offers where there is no server."""
    from langchain_core.embeddings import Embeddings  # type: ignore[import-not-found]
    from langchain_qdrant import QdrantVectorStore  # type: ignore[import-not-found]
    from qdrant_client import QdrantClient, models

    class _Given(Embeddings):  # type: ignore[misc]
        """Vectors that were made before; nothing is embedded here."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vectors[int(text)].tolist() for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return [float(number) for number in json.loads(text)]

    client = QdrantClient(":memory:")
    client.create_collection(
        "points", vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    )
    store = QdrantVectorStore(client, "points", _Given(), validate_collection_config=False)
    for some in _pieces(len(vectors)):
        store.add_texts(
            [str(n) for n in some], [{"boundary": boundaries[n]} for n in some], ids=list(some), batch_size=_AT_ONCE
        )

    def ask(vector: list[float], within: list[int], limit: int) -> list[int]:
        condition = models.FieldCondition(key="metadata.boundary", match=models.MatchAny(any=within))
        found = store.similarity_search_with_score_by_vector(vector, k=limit, filter=models.Filter(must=[condition]))
        return [int(document.page_content) for document, _ in found]

    return ask


RIVALS = {
    "chromadb": chromadb,
    "lancedb": lancedb,
    "lancedb refined": lambda vectors, boundaries, folder: lancedb(vectors, boundaries, folder, refined=True),
    "lancedb without index": lambda vectors, boundaries, folder: lancedb(vectors, boundaries, folder, indexed=False),
    "langchain-qdrant": langchain_qdrant,
}


def main() -> None:
    name, given = sys.argv[1], Path(sys.argv[2])
    vectors = np.load(given / "vectors.npy", mmap_mode="r")
    boundaries = np.load(given / "boundaries.npy").tolist()
    with tempfile.TemporaryDirectory() as folder:
        start = perf_counter()
        ask = RIVALS[name](vectors, boundaries, folder)
        print(json.dumps({"filled_s": perf_counter() - start}), flush=True)
        for line in sys.stdin:
            question = json.loads(line)
            start = perf_counter()
            points = ask(question["vector"], question["boundaries"], question["limit"])
            print(json.dumps({"ms": (perf_counter() - start) * 1000, "points": points}), flush=True)


def _pieces(count: int) -> list[range]:
    return [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]


if __name__ == "__main__":
    main()
