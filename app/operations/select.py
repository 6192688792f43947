"""From hits to passages: steps 3 to 5 of an answer. What is shown is decided again, on SQL as it is at this moment."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import Boundary, BoundaryId, Collection, Obligation, PolicyId, Reach
from app.domain.answer import Query
from app.domain.citation import CONTEXT_HEADER, Flag, IntegrityError, Passage, cited, opaque, shown_end
from app.domain.corpus import ChunkId, StoredChunk
from app.domain.demands import ATTRIBUTE, Field, has_phrases, meets, phrases
from app.domain.evidence import Hit
from app.domain.instants import Instant
from app.domain.ranking import Turns
from app.domain.redaction import Excerpt
from app.domain.similarity import Heard
from app.operations import authorize, discharge
from app.operations.reach import closed, redacted_in
from app.operations.widen import Chosen, tokens_of, widened
from app.ports import Ports
from app.store import corpus

_HEADER: Final = ("tokens", CONTEXT_HEADER)
"""Where the header's token count is remembered, by generation: each has a tokenizer of its own."""

SPARE: Final = 4
"""Hits confirmed beyond `top_k` in the first go, so that a few drops cost no second query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """What is left of the hits, and how many were passed over for which reason: for auditors alone."""

    passages: tuple[Passage, ...]
    obligations: tuple[Obligation, ...]
    policies: frozenset[PolicyId]
    """Those that let the passages be shown."""
    drops: dict[str, int]
    ruled: bool
    """Whether a system of record is known to the principal, so that others are not authoritative."""
    header_tokens: int
    passage_tokens: tuple[int, ...]
    """Of each passage as it stands in the context."""

    def tokens_of(self, passages: Sequence[Passage]) -> int:
        """What a context of the first of the passages costs: between its parts there is white space, which is free."""
        return self.header_tokens + sum(self.passage_tokens[: len(passages)]) if passages else 0


def select(
    ports: Ports,
    session: Session,
    query: Query,
    reach: Reach,
    hits: Sequence[Hit],
    *,
    now: Instant,
    collections: Mapping[str, Collection],
    records: frozenset[str],
) -> Selected:
    """The first `top_k` hits that stand up to SQL as it is now, do not repeat each other and fit the budget.

    Only as many rows as are needed are loaded; what is passed over is refilled from the hits that follow. INVARIANT:
    by one decision, `reach`, on the state of the database that it was made on and `session` sees, what passages grow
    by included: access that was narrowed between two decisions would leave what the first let be shown without the
    obligations under which it did. So ports are called in a transaction; those that are, tokenizer, analyzer and
    redactors, wait for nothing.
    """
    selection = _Selection(ports, query)
    confirming = _Confirming(ports, query, reach, collections, now)
    for candidate in _in_turn(hits, confirming.confirmed(session, hits), decay=ports.ranking.document_decay):
        selection.offer(candidate)
        if selection.full:
            break
    ruled = bool(records) or selection.of_record
    chosen = selection.chosen(ruled=ruled)
    if query.expand and query.max_tokens is not None:
        chosen = widened(ports, session, chosen, room=query.max_tokens - selection.header_tokens)
    boundaries = {candidate.boundary_id for candidate in selection.taken}
    return Selected(
        passages=tuple(each.passage for each in chosen),
        obligations=authorize.obligations_on(reach, boundaries),
        policies=frozenset(policy for id in boundaries for policy in reach.grounds.rulings[id].policies),
        drops={**confirming.drops, **selection.drops},
        ruled=ruled,
        header_tokens=selection.header_tokens,
        passage_tokens=tuple(each.tokens for each in chosen),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A hit that may be shown, as it is held against others that say the same."""

    passage: Passage
    """Its rank, score and flags are not known yet."""
    score: float
    """That of the best of those it speaks for."""
    chunk: ChunkId
    boundary_id: BoundaryId
    hidden: frozenset[str]
    """The categories that are not shown of it."""
    alone: bool
    """An obligation has its quote shown without what is around it."""
    authority: tuple[bool, bool, Instant, Instant]
    """Of a system of record, still in force, then the newer; of two alike the higher speaks for both."""
    superseded: bool
    stale: bool
    speaks_for_copy: bool = False
    """It is of a system of record, and took the place of one that is not."""

    @property
    def of_record(self) -> bool:
        return self.authority[0]

    def scored(self, score: float) -> "_Candidate":
        return self if score == self.score else replace(self, score=score)

    def ranked(self, rank: int, *, ruled: bool) -> Passage:
        """The passage as it leaves, if it does not grow; `ruled` as in `Selected`."""
        flags = {
            Flag.NOT_AUTHORITATIVE: ruled and not self.of_record,
            Flag.SUPERSEDED: self.superseded,
            Flag.STALE: self.stale,
            Flag.SPEAKS_FOR_COPY: self.speaks_for_copy,
        }
        raised = tuple(flag for flag, is_raised in flags.items() if is_raised)
        return replace(self.passage, rank=rank, score=self.score, flags=raised)


class _Confirming:
    """Hits held against SQL as it is now, by one decision; `drops` counts those of which nothing may be shown."""

    def __init__(
        self, ports: Ports, query: Query, reach: Reach, collections: Mapping[str, Collection], now: Instant
    ) -> None:
        self._ports, self._query, self._reach, self._collections, self._now = ports, query, reach, collections, now
        self._phrases = phrases(query.text)
        self.drops: Counter[str] = Counter()

    def confirmed(self, session: Session, hits: Sequence[Hit]) -> Iterator[_Candidate | None]:
        """What may be shown of each hit, in order; None for one of which nothing may be, and it is counted why not.

        Rows are loaded as they are asked for, in goes of as many as are likely to be enough.
        """
        for some in _batched(hits, self._query.top_k + SPARE):
            stored = corpus.stored_chunks(
                session, [hit.chunk for hit in some], valid_at=self._reach.valid_at, known_at=self._reach.known_at
            )
            within = {chunk.boundary_id for chunk in stored.values()} & self._reach.boundaries
            hidden = {id: redacted_in(self._reach, id) for id in within}
            wanted = [id for id, chunk in stored.items() if hidden.get(chunk.boundary_id)]
            around = corpus.surroundings(session, wanted, chars=discharge.AROUND_CHARS) if wanted else {}
            for hit in some:
                yield self._confirmed(hit, stored.get(hit.chunk), hidden, around.get(hit.chunk))

    def _confirmed(
        self,
        hit: Hit,
        chunk: StoredChunk | None,
        within: Mapping[BoundaryId, frozenset[str]],
        around: Excerpt | None,
    ) -> _Candidate | None:
        """`within` are the categories that are not shown, by boundary of the reach; `around` is what the hit stands in,
        if some of it is not to be shown."""
        why_not = closed(chunk, self._reach, now=self._now)
        if chunk is None or why_not is not None:
            self.drops[why_not or "lifecycle"] += 1
            return None
        curated = chunk.boundary_id in self._reach.curated
        try:
            citation = cited(chunk, pepper=self._ports.pepper, ends=shown_end(chunk, now=self._now, curated=curated))
        except IntegrityError:
            self.drops["integrity"] += 1
            return None
        collection = self._collections[chunk.collection]
        passage = Passage(
            rank=0,
            score=0.0,
            citation=citation,
            boundary=chunk.boundary.within(collection),
            boundary_key=self._ports.memo.recall(("bnd", chunk.boundary_id), lambda: self._key_of(chunk.boundary)),
        )
        hidden = within[chunk.boundary_id]
        if hidden:
            if around is None or around.of(chunk.span) != chunk.text:
                self.drops["redaction"] += 1
                return None
            passage = self._redacted(passage, hidden, around)
            if self._asks_for_what_is_hidden(hidden):
                self.drops["filter"] += 1
                return None
        if not self._meets_filters(passage, chunk):
            self.drops["filter"] += 1
            return None
        if self._phrases and not has_phrases(passage.text, *self._phrases):
            self.drops["phrase"] += 1
            return None
        ended = citation.valid_to <= self._now
        return _Candidate(
            passage=passage,
            score=hit.score,
            chunk=chunk.id,
            boundary_id=chunk.boundary_id,
            hidden=hidden,
            alone=discharge.quote_alone(authorize.obligations_on(self._reach, [chunk.boundary_id])),
            authority=(collection.system_of_record, not ended, citation.valid_from, citation.recorded_at),
            superseded=ended and not chunk.latest,
            stale=chunk.review_by is not None and chunk.review_by <= self._reach.valid_at,
        )

    def _asks_for_what_is_hidden(self, categories: frozenset[str]) -> bool:
        """Whether a filter names an attribute that would be blacked out: then its match would confirm it."""
        asked = ((name, value) for name, several in self._query.filters.items() for value in several)
        values = (value for name, value in asked if name.startswith(ATTRIBUTE))
        return any(discharge.without(self._ports, categories, value) != value for value in values)

    def _meets_filters(self, passage: Passage, chunk: StoredChunk) -> bool:
        """The index decides by marks, which others may share, and by what may be blacked out."""
        asked = self._query.filters
        if not asked:
            return True
        citation = passage.citation
        language = self._ports.analyzer.language(chunk.text) if Field.LANGUAGE in asked else None
        return meets(asked, title=citation.title, section=citation.section, language=language)

    def _key_of(self, boundary: Boundary) -> str:
        return opaque("bnd", boundary.digest(), pepper=self._ports.pepper)

    def _redacted(self, passage: Passage, categories: frozenset[str], around: Excerpt) -> Passage:
        citation = passage.citation
        title, *section = (discharge.without(self._ports, categories, it) for it in (citation.title, *citation.section))
        return replace(
            passage,
            citation=replace(citation, title=title, section=tuple(section)),
            redactions=discharge.found(self._ports, categories, around, within=citation.span),
        )


def _in_turn(hits: Sequence[Hit], confirmed: Iterable[_Candidate | None], *, decay: float) -> Iterator[_Candidate]:
    """What was confirmed of the hits, in the order of what is left of their scores when documents take turns."""
    turns, waiting = Turns(decay), dict[ChunkId, _Candidate]()
    following = iter([*hits[1:], None])
    for hit, candidate in zip(hits, confirmed, strict=True):
        if candidate is not None:
            waiting[hit.chunk] = candidate
            turns.enter(hit, candidate.passage.citation.document)
        for turn in turns.due(next(following)):
            yield waiting.pop(turn.chunk).scored(turn.score)


class _Selection:
    """Candidates as they come, best first, no two of which say the same, and those of them that fit the budget.

    INVARIANT: a function of the hits that may be shown, in their order. `full` does not look at how they were batched.
    """

    def __init__(self, ports: Ports, query: Query) -> None:
        self._ports, self._query = ports, query
        self._heard = Heard()
        self._candidates: dict[int, _Candidate] = {}
        self._order: list[int] = []
        self._offered = 0
        self._repeated = 0
        self._unfit = 0
        header = (*_HEADER, ports.generation)
        self.header_tokens = ports.memo.recall(header, lambda: ports.tokenizer.count(CONTEXT_HEADER))
        self.taken: list[_Candidate] = []
        self.tokens: list[int] = []

    @property
    def full(self) -> bool:
        """As many as were asked for, and the next few were held against them: a copy ranks close to its original."""
        return len(self.taken) == self._query.top_k and self._offered >= self._query.top_k + SPARE

    @property
    def of_record(self) -> bool:
        return any(candidate.of_record for candidate in self.taken)

    @property
    def drops(self) -> dict[str, int]:
        counted = {"repeated": self._repeated, "budget": self._unfit}
        return {why: count for why, count in counted.items() if count}

    def chosen(self, *, ruled: bool) -> Sequence[Chosen]:
        """What was taken, best first, with what its growth depends on."""
        return [
            Chosen(
                passage=candidate.ranked(rank, ruled=ruled),
                chunk=candidate.chunk,
                hidden=candidate.hidden,
                alone=candidate.alone,
                tokens=tokens,
            )
            for rank, (candidate, tokens) in enumerate(zip(self.taken, self.tokens, strict=True), 1)
        ]

    def offer(self, new: _Candidate) -> None:
        """Add it, or let the one with more authority speak for those that say the same, at the better rank."""
        alike = [at for at in self._heard.hear(new.passage.citation.quote) if at in self._candidates]
        if not alike:
            self._order.append(self._offered)
            self._candidates[self._offered] = new
            self._take(new)
        else:
            self._repeated += 1
            others = [self._candidates[at] for at in alike]
            if new.authority > max(other.authority for other in others):
                self._replace(alike, others, new)
        self._offered += 1

    def _replace(self, alike: Sequence[int], others: Sequence[_Candidate], new: _Candidate) -> None:
        """Let it stand at the best rank of those that say the same, and in the place of all of them."""
        best = min(alike, key=self._order.index)
        self._order[self._order.index(best)] = self._offered
        self._order = [at for at in self._order if at not in alike]
        self._candidates = {at: each for at, each in self._candidates.items() if at not in alike}
        self._candidates[self._offered] = replace(
            new,
            score=max(other.score for other in others),
            speaks_for_copy=new.of_record and not all(other.of_record for other in others),
        )
        self._refit()

    def _take(self, candidate: _Candidate) -> None:
        """The next passage, if there is room and it fits. The first is taken whatever it costs."""
        if len(self.taken) == self._query.top_k:
            return
        tokens = tokens_of(self._ports, candidate.passage, len(self.taken) + 1)
        spent = self.header_tokens + sum(self.tokens)
        if self.taken and self._query.max_tokens is not None and spent + tokens > self._query.max_tokens:
            self._unfit += 1
            return
        self.taken.append(candidate)
        self.tokens.append(tokens)

    def _refit(self) -> None:
        self.taken, self.tokens, self._unfit = [], [], 0
        for at in self._order:
            self._take(self._candidates[at])


def _batched(hits: Sequence[Hit], size: int) -> Iterator[Sequence[Hit]]:
    for start in range(0, len(hits), size):
        yield hits[start : start + size]
