"""The first hits read together with the question: where selection (step 3) begins, if a reranker is configured."""

from collections.abc import Sequence

from app.domain.access import Reach
from app.domain.answer import Query
from app.domain.corpus import ChunkId, StoredChunk, embedded_text, text_digest
from app.domain.evidence import Hit
from app.domain.instants import Instant
from app.domain.ranking import calibrated, reweighed
from app.domain.stopwatch import Stopwatch
from app.operations.identify import Credentials, identify
from app.operations.reach import as_of_now, closed
from app.ports import Ports
from app.store import corpus
from app.store.database import reading


def rerank(
    ports: Ports,
    credentials: Credentials,
    query: Query,
    reach: Reach,
    hits: Sequence[Hit],
    *,
    now: Instant,
    watch: Stopwatch,
) -> Sequence[Hit]:
    """The hits in the order that a reranker gives the first of them; as they were, if none is configured or asked for.

    INVARIANT: it reads only what SQL lets this principal read, at this moment; what the index still offers beyond that
    is passed over and takes nobody's place, so it moves no score. What is shown is decided again after it.
    """
    if ports.reranker is None or not query.rerank or not hits:
        return hits
    candidates = _confirmed(ports, credentials, query, reach, hits, now)
    texts = [embedded_text(each.title, each.section, each.text) for each in candidates]
    scores = ports.reranker.scores(query.text, texts) if texts else []
    read = {each.id: calibrated(score) for each, score in zip(candidates, scores, strict=True)}
    watch.lap("rerank")
    return reweighed(hits, read, weight=ports.ranking.rerank_weight)


def _confirmed(
    ports: Ports, credentials: Credentials, query: Query, reach: Reach, hits: Sequence[Hit], now: Instant
) -> Sequence[StoredChunk]:
    """The first of the hits that may be read, as many as are reranked."""
    most = ports.ranking.rerank_candidates
    found: list[StoredChunk] = []
    with reading(ports.engine) as session:
        current = as_of_now(ports, session, identify(ports, session, credentials), query, reach)
        for start in range(0, len(hits), max(most, 1)):
            some = [hit.chunk for hit in hits[start : start + most]]
            if not some or len(found) >= most:
                break
            stored = corpus.stored_chunks(session, some, valid_at=reach.valid_at, known_at=reach.known_at)
            found += [stored[id] for id in some if _may_be_read(id, stored, current, now)]
    return found[:most]


def _may_be_read(id: ChunkId, stored: dict[ChunkId, StoredChunk], reach: Reach, now: Instant) -> bool:
    chunk = stored.get(id)
    return chunk is not None and closed(chunk, reach, now=now) is None and text_digest(chunk.text) == chunk.digest
