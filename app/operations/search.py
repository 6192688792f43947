"""From a question to its hits: step 2 of an answer. Asks the models and the index, and no database."""

from collections.abc import Sequence

from app.domain.access import Reach
from app.domain.answer import Mode, Query
from app.domain.evidence import Hit, IndexQuery
from app.domain.ranking import fused, relevant
from app.domain.stopwatch import Stopwatch
from app.ports import Ports


def search(ports: Ports, query: Query, reach: Reach, watch: Stopwatch) -> Sequence[Hit]:
    """Fused hits within the reach, best first. An empty reach, or a question without terms, asks no index."""
    if not reach:
        return ()
    dense = ports.embedder.embed_queries([query.text])[0] if query.mode is not Mode.LEXICAL else None
    watch.lap("embed")
    lexical = ports.analyzer.query(query.text) if query.mode is not Mode.DENSE else None
    if dense is None and not lexical:
        return ()
    hits = ports.index.search(
        IndexQuery(
            dense=dense,
            lexical=lexical or None,
            boundaries=reach.boundaries,
            valid_at=reach.valid_at,
            known_at=reach.known_at,
            facets=tuple(
                tuple(f"{name}={value}" for value in values) for name, values in sorted(query.filters.items())
            ),
            depth=ports.ranking.depth,
        )
    )
    watch.lap("search")
    said = relevant(hits, min_cosine=ports.ranking.min_cosine)
    return fused(said, ports.ranking, question=query.text)
