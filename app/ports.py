"""What Muniment needs from elsewhere, as protocols, and the frozen bundle that every operation is given.

SQL is not a port: the store is SQL, and tests use a real database. An adapter raises the errors of
`app.domain.errors` and lets no third-party exception through.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.engine import Engine

from app.domain.access import Boundary, Collection, Question, Ruling
from app.domain.answering import MIN_CONFIDENCE
from app.domain.checks import Rule
from app.domain.composing import ComposingTerms
from app.domain.corpus import Digest
from app.domain.evidence import Hits, IndexEntry, IndexQuery, Lexical, Placement, PointId, Purged, Vector
from app.domain.generations import FIRST, Generation, GenerationId
from app.domain.instants import Instant
from app.domain.jobs import Limits
from app.domain.keys import KeyUses
from app.domain.memo import Memo
from app.domain.policies import Examination
from app.domain.ranking import Ranking
from app.domain.recourse import RecourseTerms
from app.domain.redaction import Spotted
from app.domain.stated import NOTHING_STATED, Stated
from app.domain.tokens import Claims


class Index(Protocol):
    """Vectors, lexical weights and a few integers a point; everything in it can be rebuilt from SQL.

    Every write is durable when it returns, may be repeated, and is atomic for each point. `IndexUnavailable` is
    raised when the index cannot be reached; the write may then have happened or not.
    """

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        """Add points, or replace those with the same id."""
        ...

    def move(self, placements: Sequence[Placement]) -> None:
        """Replace what is known of points beside their vectors; points that are not there are passed over."""
        ...

    def remove(self, points: Sequence[PointId]) -> None:
        """Forget points; those that are not there are passed over. Their bytes may stay where nothing finds them."""
        ...

    def purge(self, points: Sequence[PointId]) -> Purged:
        """Forget the chunks of these points for good: no later `upsert` of them is taken, and none says so.

        What the index ever forgot, these and others, is gone from its own files if `Purged.rewritten` says so. May
        take long, and others are answered meanwhile.
        """
        ...

    def held(self, points: Sequence[PointId]) -> frozenset[PointId]:
        """Those of these points that are there, whether a search reaches them or not."""
        ...

    def search(self, query: IndexQuery) -> Hits:
        """The best points within the query's boundaries, instants and facets, and nothing else.

        INVARIANT: a function of the points that match the filter. Document frequencies are counted over those
        alone, and ties at the cut-off are broken by chunk id, so hidden points change nothing.
        """
        ...

    def size(self) -> int:
        """How many points there are."""
        ...


class Embedder(Protocol):
    """Texts to unit vectors, and the token counts of the same model."""

    @property
    def fingerprint(self) -> str:
        """Names the model's exact weights and settings: equal fingerprints, equal vectors."""
        ...

    @property
    def dimension(self) -> int: ...

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]: ...

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]: ...


class Reranker(Protocol):
    """How well texts answer a question, read together with it: slower than vectors, and finer."""

    @property
    def fingerprint(self) -> str:
        """Names the model's exact weights and settings."""
        ...

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score in [0, 1] a text, in order. INVARIANT: a text's score does not depend on the other texts."""
        ...


class Generator(Protocol):
    """A model elsewhere that writes. What it is given has left the house."""

    @property
    def model(self) -> str: ...

    @property
    def place(self) -> str:
        """Where it is, without anything secret: for the record."""
        ...

    def write(self, instructions: str, asked: str) -> Iterator[str]:
        """What it writes, piece by piece, as it comes; closing the iterator ends it. Nothing is sent before the first
        piece is asked for. Raises `Unavailable`, then too when it was cut off; never more than a bounded length."""
        ...


class Tokenizer(Protocol):
    """The embedding model's own tokenizer, without the model: what a chunk and a context cost."""

    @property
    def max_tokens(self) -> int:
        """What the model reads of one text; the rest would be cut off."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """[start, end) in code points of each token, in order, special tokens left out."""
        ...

    def count(self, text: str) -> int:
        """How many `offsets` there are, told sooner."""
        ...

    def known(self, text: str) -> float:
        """The share of a text's letters in [0, 1] that the model has words or parts of words for; 1 without letters.

        What it spells out letter by letter, or has no token for, it was hardly taught to read.
        """
        ...


class Analyzer(Protocol):
    """Texts to weighted terms for lexical search (BM25). No weight depends on other documents."""

    @property
    def fingerprint(self) -> str:
        """Names the rules: equal fingerprints, equal terms and weights."""
        ...

    def passage(self, text: str, *, names: Sequence[str] = ()) -> Lexical:
        """`names` are its titles and headings, which are found misspelled, too (`misspelled`)."""
        ...

    def query(self, text: str) -> Lexical: ...

    def asked(self, text: str) -> tuple[tuple[str, Lexical], ...]:
        """The words of a question that say something, in order, each with the terms of which a passage may have one."""
        ...

    def misspelled(self, text: str, *, found: Container[int]) -> Lexical:
        """What the names of passages are found by that the question's words may mean, of those words that may be
        misspelled: none of their terms is `found`."""
        ...

    def language(self, text: str) -> str | None:
        """Its ISO 639 code, judged by the text alone; None if nothing in it tells."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What belongs together: an index, and what it was made with. A query's vector of one model never meets another's
    index."""

    index: Index
    embedder: Embedder
    tokenizer: Tokenizer
    analyzer: Analyzer


class Generations(Protocol):
    """Indexes with their models, by generation."""

    def opened(self, generation: Generation) -> Retrieval:
        """What a generation needs, opened when it is first asked for. Its model is loaded when it first embeds, and
        raises `Unavailable` if it is no longer what the index was made with. Raises `IndexUnavailable`."""
        ...

    def keep(self, ids: Set[GenerationId]) -> None:
        """Close and unload what was opened of other generations."""
        ...

    def drop(self, generation: Generation) -> None:
        """Remove a generation's index for good. May be repeated."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A boundary filled in from its collection (`Boundary.within`): the resource that `read` is decided about."""

    boundary: Boundary
    collection: Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """The whole: the resource of `ask`, `manage`, `audit` and `evaluate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What another application guards, as it calls and describes it: the resource of `use`."""

    type: str
    name: str
    stated: Stated = NOTHING_STATED


Resource = Bounded | Collection | Institution | Thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Words that policies compare operations and things of other applications with: all that is known of those."""

    operations: tuple[str, ...] = ()
    things: tuple[str, ...] = ()


class PolicyEngine(Protocol):
    """Decides questions by a policy set given as text. Knows no database and keeps no decision."""

    def validate(self, policies: str) -> list[str]:
        """What is wrong with the text, a sentence each; empty when it can be activated."""
        ...

    def examine(self, policies: str, *, in_force: str | None) -> Examination:
        """What the author of a text without faults may not have meant, beside what is in force. Raises `Unavailable`
        if it has faults."""
        ...

    def rules(self, policies: str) -> tuple[Rule, ...]:
        """Every policy with its annotations, in the text's order. Raises `Unavailable` if it is unusable."""
        ...

    def named(self, policies: str) -> "Named":
        """What of other applications the policies name. Raises `Unavailable` if the text is unusable."""
        ...

    def decide(self, policies: str, question: Question, resources: Sequence[Resource]) -> list[Ruling]:
        """One ruling a resource, in order.

        INVARIANT: any error while deciding, in any policy, denies that resource. Raises `Unavailable` when the
        text as a whole is unusable.
        """
        ...

    def reachable(self, policies: str, question: Question, resources: Sequence[Bounded]) -> list[Ruling]:
        """As `decide` wherever that allows; elsewhere `DENIED`, which does not say why. For thousands at once.

        Lets other threads run every few milliseconds.
        """
        ...


class Detector(Protocol):
    """Finds what its kinds describe in a text. The same text gives the same; in time linear in the text's length."""

    def spotted(self, text: str) -> list[Spotted]:
        """In no particular order; spans may overlap."""
        ...


class BlobStore(Protocol):
    """Originals by digest. `put` is durable when it returns and may be repeated."""

    def put(self, content: bytes) -> Digest: ...

    def get(self, digest: Digest) -> bytes:
        """The exact bytes; raises `NotFound`, and `Unavailable` if they no longer have that digest."""
        ...

    def remove(self, digest: Digest) -> bool:
        """Forget an original, and what a killed `put` left of it; whether it was there. Durable when it returns."""
        ...


class TokenVerifier(Protocol):
    """Access tokens of the institution's issuer. May wait for the issuer, a few seconds at the most."""

    def verify(self, token: str, *, now: Instant) -> Claims:
        """What a token says that is signed by the issuer, for us, and in its time.

        Raises `Unauthenticated` with a sentence that begins with "The token" and says what is wrong with it, and
        `Unavailable` while that cannot be told because the issuer is down.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All that an operation may reach; a test replaces one with `dataclasses.replace`."""

    engine: Engine
    index: Index
    embedder: Embedder
    tokenizer: Tokenizer
    analyzer: Analyzer
    policy_engine: PolicyEngine
    blobs: BlobStore
    memo: Memo
    """Decisions and what they rest on, by epoch."""
    pepper: bytes
    """Keys the digests of API keys and of opaque ids."""
    now: Callable[[], Instant]
    new_id: Callable[[], str]
    """128 random bits or more, in letters and digits."""
    generation: GenerationId = FIRST
    """That index, embedder, tokenizer and analyzer are of: `app.operations.generations` gives those of another."""
    generations: Generations | None = None
    """None: there is one generation, and it stays."""
    ranking: Ranking = field(default_factory=Ranking)
    reranker: Reranker | None = None
    """None: hits are ranked by fusion alone."""
    min_confidence: float = MIN_CONFIDENCE
    """Below it, a question is answered with the words that it is not in the documents."""
    generator: Generator | None = None
    """None: answers in words are sentences of the passages."""
    composing: ComposingTerms = field(default_factory=ComposingTerms)
    redactors: Mapping[str, Detector] = field(default_factory=dict)
    """By category: what finds all that an obligation to redact it means, each with a span that covers it."""
    limits: Limits = field(default_factory=Limits)
    policy_approvals: int = 0
    """How many administrators other than its author have to approve a policy set before it decides."""
    key_uses: KeyUses = field(default_factory=KeyUses)
    max_key_days: int | None = None
    """How long an API key lives at the most; None if that is not limited."""
    public_url: str | None = None
    """Where others reach this server, without a slash at its end. Never what a request says in its Host header."""
    source_locations: tuple[str, ...] = ()
    """The paths and URLs that documents may be fetched from, and what lies below them; nothing else."""
    tokens: TokenVerifier | None = None
    """None: no issuer is configured, and every token is refused."""
    break_glass_minutes: int = 60
    """The longest that a broken glass stays open."""
    recourse: RecourseTerms = field(default_factory=RecourseTerms)
    webhook_locations: tuple[str, ...] = ()
    """The URLs that webhooks may be at, and what lies below them; nothing else."""
