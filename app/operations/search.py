"""From a question to its hits: step 2 of an answer. Asks the models and the index, and no database."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from app.domain.access import Reach
from app.domain.answer import Mode, Query
from app.domain.demands import demanded, facets_asked, phrases
from app.domain.evidence import Hit, Hits, IndexQuery, in_order
from app.domain.ranking import fused, relevant
from app.domain.stopwatch import Stopwatch
from app.ports import Ports


def search(ports: Ports, query: Query, reach: Reach, watch: Stopwatch) -> Sequence[Hit]:
    """Fused hits within the reach, best first. An empty reach, or a question without terms, asks no index."""
    if not reach:
        return ()
    quoted = phrases(query.text)
    lexical = ports.analyzer.query(query.text) if query.mode is not Mode.DENSE else None
    by_meaning = query.mode is not Mode.LEXICAL or (quoted and not lexical)
    dense = ports.embedder.embed_queries([query.text])[0] if by_meaning else None
    watch.lap("embed")
    if dense is None and not lexical:
        return ()
    asked = IndexQuery(
        dense=dense,
        lexical=lexical or None,
        boundaries=reach.boundaries,
        valid_at=reach.valid_at,
        known_at=reach.known_at,
        facets=facets_asked(query.filters),
        demands=demanded(query.text, query.filters),
        depth=ports.ranking.depth * (_DEEPER_FOR_PHRASES if quoted else 1),
    )
    hits = ports.index.search(asked)
    if lexical:
        hits = _with_names_meant(ports, query, asked, hits)
    watch.lap("search")
    said = relevant(hits, min_cosine=ports.ranking.min_cosine if not quoted else -1.0)
    return fused(said, ports.ranking, known=ports.tokenizer.known(query.text))


_DEEPER_FOR_PHRASES: Final = 10
"""Whether a passage says a phrase is decided on its text, later: some of what the index finds does not."""


def _with_names_meant(ports: Ports, query: Query, asked: IndexQuery, hits: Hits) -> Hits:
    """The hits, and what has in its title or in a name what a word of the question, which none of them has, may mean.

    A second search, for few questions: its scores are BM25's like those of the first, and are added to them.
    """
    meant = ports.analyzer.misspelled(query.text, found=frozenset(hits.terms))
    if not meant:
        return hits
    named = ports.index.search(replace(asked, lexical=meant))
    listed = {hit.chunk for hit in named.lexical}
    worded = {hit.chunk: hit.score for hit in hits.lexical}
    for hit in named.lexical:
        worded[hit.chunk] = worded.get(hit.chunk, 0.0) + hit.score
    near = {hit.chunk: hit.score for hit in (*hits.dense, *(hit for hit in named.dense if hit.chunk in listed))}
    return replace(hits, dense=in_order(near), lexical=in_order(worded))
