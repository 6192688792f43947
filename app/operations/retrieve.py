"""One question, answered with what its principal may read, cited, and with the checks that were applied."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import BoundaryId, Collection, Obligation, PolicyId, Reach
from app.domain.answer import Answer, Mode, Query, Recourse, Usage
from app.domain.checks import Asked, applied, blocked
from app.domain.citation import (
    CONTEXT_HEADER,
    IntegrityError,
    Passage,
    cited,
    context,
    joined,
    opaque,
    quoted,
    shown_end,
)
from app.domain.corpus import Digest, StoredChunk
from app.domain.evidence import Hit, IndexQuery, fused, relevant
from app.domain.instants import Instant
from app.domain.stopwatch import Stopwatch
from app.domain.trace import Outcome, TraceId
from app.operations import authorize
from app.operations.attest import attest
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import corpus
from app.store.database import reading

SEARCH_DEPTH = 100
"""Hits taken from each of dense and lexical before fusion: the depth that fusion was measured at."""

MIN_COSINE = 0.2
"""Below this, and without a shared term, a passage has nothing to do with the question (all-MiniLM-L6-v2)."""

_HEADER = ("tokens", CONTEXT_HEADER)
"""Where the header's token count is remembered: the tokenizer is the same while the process lives."""

SPARE = 4
"""Hits confirmed beyond `top_k` in the first go, so that a few drops cost no second query."""


def retrieve(ports: Ports, credentials: Credentials, query: Query) -> Answer:
    """The answer to a question; a refusal is an answer too. Raises what `identify` does, `Invalid`, `Unavailable`.

    What holds when it returns:
    0. The principal was verified, today.
    1. Every passage lies in a boundary that a policy allowed for this principal and purpose; no error allowed one.
    2. Scores and order are a function of what lies within that reach.
    3. No two passages say the same, and the context fits the token budget.
    4. Each passage was decided again, on its boundary as SQL held it at the last moment, and its text has its digest.
    5. Each quote is byte for byte what is in its span.
    6. Every check that was applied is named.
    7. Every obligation was discharged; one that is unknown had turned its permit into a denial.
    8. All of this is on record before anything leaves.
    """
    watch = Stopwatch()
    trace_id = TraceId(f"tr_{ports.new_id()}")

    with reading(ports.engine) as session:
        # 0. identify
        standing = identify(ports, session, credentials)
        laid_down = authorize.register(ports, session, standing)

        # 1. reach
        asked = authorize.asked(ports, session, standing, purpose=query.purpose)
        reach = _reach(ports, session, standing, query)
        recourse = _recourse(ports, session, standing, query)
    watch.lap("reach")

    if not asked.allowed:
        answer = Answer(
            trace_id=trace_id,
            outcome=Outcome.BLOCKED,
            checks=blocked(laid_down.rules, asked, standing.principal),
            recourse=(),
            usage=_usage(ports, query, 0, watch),
        )
        return attest(ports, standing, query, reach, answer, drops={})

    # 2. search
    hits = _search(ports, query, reach, watch)

    # 3. select, 4. confirm, 5. cite
    confirmed = _confirmed(ports, credentials, query, reach, hits, now=standing.now)
    watch.lap("confirm")

    # 6. inspect (freshness, authority, conflicts, injection and personal data have their place here)
    intact = "integrity" not in confirmed.drops

    # 7. discharge
    passages = _discharged(confirmed.passages, confirmed.obligations)

    # 8. attest
    label, text = joined(passages), context(passages)
    answer = Answer(
        trace_id=trace_id,
        outcome=Outcome.ANSWERED if passages else Outcome.EMPTY,
        passages=passages,
        context=text,
        label=label,
        obligations=confirmed.obligations if passages else (),
        checks=applied(
            laid_down.rules,
            standing.principal,
            Asked(
                purpose=query.purpose,
                valid_at=reach.valid_at,
                known_at=query.known_at,
                ahead=reach.valid_at > standing.now,
            ),
            label,
            decided_by=frozenset(asked.policies) | confirmed.policies,
            intact=intact,
        ),
        recourse=recourse,
        usage=_usage(ports, query, confirmed.tokens_of(passages), watch),
    )
    return attest(ports, standing, query, reach, answer, drops=confirmed.drops)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmed:
    """What is left of the hits, and how many were passed over for which reason: for auditors alone."""

    passages: tuple[Passage, ...]
    obligations: tuple[Obligation, ...]
    policies: frozenset[PolicyId]
    """Those that let the passages be shown."""
    drops: dict[str, int]
    header_tokens: int
    passage_tokens: tuple[int, ...]
    """Of each passage as it stands in the context."""

    def tokens_of(self, passages: Sequence[Passage]) -> int:
        """What a context of the first of the passages costs: between its parts there is white space, which is free."""
        return self.header_tokens + sum(self.passage_tokens[: len(passages)]) if passages else 0


def _reach(ports: Ports, session: Session, standing: Standing, query: Query) -> Reach:
    """What may be read, at the two instants asked for. What lies ahead is under embargo: its owners alone see it."""
    reach = authorize.reach(
        ports, session, standing, purpose=query.purpose, valid_at=query.as_of, known_at=query.known_at
    )
    if reach.valid_at > standing.now:
        reach = reach & reach.curated
    if query.collections is None:
        return reach
    return authorize.within_collections(ports, session, standing, reach, query.collections)


def _recourse(ports: Ports, session: Session, standing: Standing, query: Query) -> tuple[Recourse, ...]:
    """Collections in question that may be known of and are not the principal's own to curate.

    INVARIANT: a function of the principal, the policies and the collections, never of what is in them: a pointer that
    appeared only when something hidden matched would tell that it exists.
    """
    collections = authorize.register(ports, session, standing).collections
    open_to = authorize.discoverable_collections(ports, session, standing)
    own = authorize.curated_collections(ports, session, standing)
    return tuple(
        Recourse(collection=name, title=collections[name].title, owners=tuple(sorted(collections[name].owners)))
        for name in sorted(open_to - own)
        if query.collections is None or name in query.collections
    )


def _search(ports: Ports, query: Query, reach: Reach, watch: Stopwatch) -> Sequence[Hit]:
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
            depth=SEARCH_DEPTH,
        )
    )
    watch.lap("search")
    return fused(relevant(hits, min_cosine=MIN_COSINE))


def _confirmed(
    ports: Ports, credentials: Credentials, query: Query, reach: Reach, hits: Sequence[Hit], *, now: Instant
) -> _Confirmed:
    """The first `top_k` hits that stand up to SQL as it is now, do not repeat each other and fit the budget.

    Only as many rows as are needed are loaded; what is passed over is refilled from the hits that follow.
    """
    selection = _Selection(ports, query, now)
    current = reach
    for some in _batched(hits, query.top_k + SPARE):
        with reading(ports.engine) as session:
            standing = identify(ports, session, credentials)
            current = reach if standing.epochs == reach.grounds.epochs else _reach(ports, session, standing, query)
            collections = authorize.register(ports, session, standing).collections
            stored = corpus.stored_chunks(
                session, [hit.chunk for hit in some], valid_at=reach.valid_at, known_at=reach.known_at
            )
        for hit in some:
            if not selection.full:
                selection.offer(hit, stored.get(hit.chunk), current, collections)
        if selection.full:
            break
    return _Confirmed(
        passages=tuple(selection.passages),
        obligations=authorize.obligations_on(current, selection.boundaries),
        policies=frozenset(policy for id in selection.boundaries for policy in current.grounds.rulings[id].policies),
        drops=dict(selection.drops),
        header_tokens=selection.header_tokens,
        passage_tokens=tuple(selection.passage_tokens),
    )


class _Selection:
    """Passages as they are taken, best first, and the reasons for which hits were passed over."""

    def __init__(self, ports: Ports, query: Query, now: Instant) -> None:
        self._ports, self._query, self._now = ports, query, now
        self._said: set[Digest] = set()
        self.header_tokens = ports.memo.recall(_HEADER, lambda: len(ports.tokenizer.offsets(CONTEXT_HEADER)))
        self.passages: list[Passage] = []
        self.passage_tokens: list[int] = []
        self.boundaries: set[BoundaryId] = set()
        self.drops: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        return len(self.passages) == self._query.top_k

    def offer(self, hit: Hit, chunk: StoredChunk | None, reach: Reach, collections: Mapping[str, Collection]) -> None:
        """Take the hit as a passage, or count why not. The first that may be shown is taken whatever it costs."""
        if chunk is None:
            self.drops["lifecycle"] += 1
            return
        if chunk.boundary_id not in reach.boundaries:
            self.drops["boundary"] += 1
            return
        curated = chunk.boundary_id in reach.curated
        if chunk.begins > self._now and not curated:
            self.drops["lifecycle"] += 1
            return
        try:
            citation = cited(chunk, pepper=self._ports.pepper, ends=shown_end(chunk, now=self._now, curated=curated))
        except IntegrityError:
            self.drops["integrity"] += 1
            return
        if citation.quote_digest in self._said:
            self.drops["repeated"] += 1
            return
        passage = Passage(
            rank=len(self.passages) + 1,
            score=hit.score,
            citation=citation,
            boundary=chunk.boundary.within(collections[chunk.collection]),
            boundary_key=opaque("bnd", chunk.boundary.digest(), pepper=self._ports.pepper),
            flags=("stale",) if chunk.review_by is not None and chunk.review_by <= reach.valid_at else (),
        )
        tokens = len(self._ports.tokenizer.offsets(quoted(passage)))
        spent = self.header_tokens + sum(self.passage_tokens)
        if self.passages and self._query.max_tokens is not None and spent + tokens > self._query.max_tokens:
            self.drops["budget"] += 1
            return
        self.passage_tokens.append(tokens)
        self._said.add(citation.quote_digest)
        self.boundaries.add(chunk.boundary_id)
        self.passages.append(passage)


def _discharged(passages: tuple[Passage, ...], obligations: Sequence[Obligation]) -> tuple[Passage, ...]:
    """The passages after every obligation. `cite-sources` is met by the context itself, which cites each passage."""
    limits = [int(each.id.partition(":")[2]) for each in obligations if each.id.startswith("max-passages:")]
    return passages[: min(limits)] if limits else passages


def _usage(ports: Ports, query: Query, context_tokens: int, watch: Stopwatch) -> Usage:
    return Usage(
        query_tokens=len(ports.tokenizer.offsets(query.text)),
        context_tokens=context_tokens,
        timings_ms=watch.laps_ms(),
    )


def _batched(hits: Sequence[Hit], size: int) -> Iterator[Sequence[Hit]]:
    for start in range(0, len(hits), size):
        yield hits[start : start + size]
