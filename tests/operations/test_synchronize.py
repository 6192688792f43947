"""The index follows SQL, whatever is changed meanwhile, whoever else tells it, and however often it fails.

Several synchronizers run in threads of their own that are never in motion at the same time: each stops before every
transaction and on both sides of every write to the index, and the test says who goes on. So any order in which two
of them, and the changes, could meet can be drawn, shrunk and run again.
"""

import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import CedarPolicyEngine
from app.adapters.fsspec_blobs import FsspecBlobs
from app.domain.access import Boundary
from app.domain.corpus import Metadata, VersionId, embedded_text
from app.domain.errors import IndexUnavailable
from app.domain.evidence import Hits, IndexEntry, IndexQuery, Lexical, Placement, PointId, Vector
from app.domain.instants import FOREVER, Instant
from app.domain.memo import Memo
from app.operations.synchronize import index_versions, synchronize
from app.ports import Ports
from app.store import publishing
from app.store.database import reading, writing
from tests.conftest import Clock
from tests.store.building import INTERNAL, RESTRICTED, Shelf

PATIENCE_S = 20
"""How long a step may take before the test is given up."""


class PlainIndex:
    """The writing half of the `Index` port as a dictionary; it fails when it is told to."""

    def __init__(self) -> None:
        self.entries: dict[PointId, IndexEntry] = {}
        self.failing: str | None = None
        self.pause: Callable[[], None] = lambda: None

    @property
    def placements(self) -> dict[PointId, Placement]:
        return {point: entry.placement for point, entry in self.entries.items()}

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        with self._written():
            self.entries |= {entry.placement.point: entry for entry in entries}

    def move(self, placements: Sequence[Placement]) -> None:
        with self._written():
            for placement in placements:
                if placement.point in self.entries:
                    self.entries[placement.point] = replace(self.entries[placement.point], placement=placement)

    def remove(self, points: Sequence[PointId]) -> None:
        with self._written():
            for point in points:
                self.entries.pop(point, None)

    def search(self, query: IndexQuery) -> Hits:
        raise NotImplementedError

    def size(self) -> int:
        return len(self.entries)

    @contextmanager
    def _written(self) -> Iterator[None]:
        self.pause()
        failing, self.failing = self.failing, None
        if failing == "before":
            raise IndexUnavailable("It did not get there.")
        yield
        self.pause()
        if failing == "after":
            raise IndexUnavailable("It got there, and nobody knows.")


class LengthEmbedder:
    """Vectors that tell the text's length, and a count of the texts that were embedded."""

    fingerprint = "length"
    dimension = 1

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        self.embedded += texts
        return [vector_of(text) for text in texts]

    embed_queries = embed_passages


class OneTermAnalyzer:
    fingerprint = "one term"

    def passage(self, text: str, *, names: Sequence[str] = ()) -> Lexical:
        return Lexical(terms=(len(text),), weights=(1.0,))

    def query(self, text: str) -> Lexical:
        return self.passage(text)

    def asked(self, text: str) -> tuple[tuple[str, Lexical], ...]:
        return ((text, self.passage(text)),)

    def misspelled(self, text: str, *, found: Container[int]) -> Lexical:
        return Lexical(terms=(), weights=())

    def language(self, text: str) -> str | None:
        return None


class WordTokenizer:
    max_tokens = 256

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def count(self, text: str) -> int:
        return 1

    def known(self, text: str) -> float:
        return 1.0


def vector_of(text: str) -> Vector:
    return Vector(len(text).to_bytes(4, "little"))


@pytest.fixture
def ports(sqlite_engine: Engine, clock: Clock, tmp_path: Any) -> Ports:
    return Ports(
        engine=sqlite_engine,
        index=PlainIndex(),
        embedder=LengthEmbedder(),
        tokenizer=WordTokenizer(),
        analyzer=OneTermAnalyzer(),
        policy_engine=CedarPolicyEngine(),
        blobs=FsspecBlobs(f"file://{tmp_path / 'blobs'}"),
        memo=Memo(),
        pepper=b"pepper",
        now=clock.now,
        new_id=lambda: "id",
    )


@dataclass
class Desk:
    """One document and what its owners do to it, as the pipeline and `curate` do it."""

    ports: Ports
    shelf: Shelf
    uri: str = "policy.md"
    made: list[VersionId] = field(default_factory=list)

    def publish(self, valid_from: int, valid_to: int) -> None:
        said = Metadata(uri=self.uri, valid_from=Instant(valid_from), valid_to=Instant(valid_to))
        staged = self.shelf.stage("ab", cuts=[(0, 1), (1, 2)], metadata=said)
        with suppress(IndexUnavailable):
            index_versions(self.ports, [staged.version])
        index_versions(self.ports, [staged.version])  # a step may be run again, and is if it failed
        self.shelf.publish(staged)
        self.made.append(staged.version)

    def correct(self, which: int, valid_from: int, valid_to: int) -> None:
        self.shelf.correct(self.made[which % len(self.made)], Instant(valid_from), Instant(valid_to))

    def move(self, which: int, boundary: Boundary) -> None:
        self.shelf.move(self.made[which % len(self.made)], boundary)

    def withdraw(self, which: int) -> None:
        self.shelf.withdraw(self.made[which % len(self.made)])


class Synchronizer:
    """One synchronizer in a thread of its own that moves only when it is told to."""

    current = threading.local()

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._over = True
        self._failure: BaseException | None = None

    def step(self) -> None:
        """Go on to the next stop; one that is over begins again."""
        if self._over:
            self._over = False
            threading.Thread(target=self._run, daemon=True).start()
        self._go.release()
        assert self._stopped.acquire(timeout=PATIENCE_S), "a synchronizer is stuck"
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        while not self._over:
            self.step()

    @classmethod
    def stop(cls) -> None:
        """Called in a synchronizer's thread, waits until it may go on; in any other, does nothing."""
        running: Synchronizer | None = getattr(cls.current, "running", None)
        if running is not None:
            running._stopped.release()
            assert running._go.acquire(timeout=PATIENCE_S), "the test is over"

    def _run(self) -> None:
        Synchronizer.current.running = self
        assert self._go.acquire(timeout=PATIENCE_S), "the test is over"
        try:
            synchronize(self._ports)
        except IndexUnavailable:
            pass
        except BaseException as failure:  # noqa: BLE001  (handed to the test's own thread)
            self._failure = failure
        finally:
            self._over = True
            self._stopped.release()


def index_of(ports: Ports) -> PlainIndex:
    assert isinstance(ports.index, PlainIndex)
    return ports.index


def wanted(desk: Desk) -> dict[PointId, Placement]:
    """What SQL says the index should hold."""
    return {each.point: each for each in desk.shelf.placements(*desk.made)}


def pending(ports: Ports) -> int:
    with reading(ports.engine) as session:
        return len(publishing.index_tasks(session, limit=1000))


@pytest.fixture
def desk(ports: Ports, clock: Clock) -> Desk:
    return Desk(ports, Shelf(ports.engine, clock))


def test_index_holds_what_sql_says_after_each_change(ports: Ports, desk: Desk) -> None:
    changes: list[Callable[[], None]] = [
        lambda: desk.publish(0, FOREVER),
        lambda: desk.move(0, RESTRICTED),
        lambda: desk.correct(0, 5, FOREVER),
        lambda: desk.publish(7, FOREVER),
        lambda: desk.withdraw(1),
        lambda: desk.move(1, RESTRICTED),
    ]
    for change in changes:
        change()
        assert synchronize(ports) > 0
        assert index_of(ports).placements == wanted(desk)
        assert pending(ports) == 0
    assert synchronize(ports) == 0


def test_new_periods_carry_the_vectors_of_their_text(ports: Ports, desk: Desk) -> None:
    desk.publish(0, FOREVER)
    desk.correct(0, 1, FOREVER)
    synchronize(ports)
    texts = [embedded_text("Policy", ("Sharing",), part) for part in "ab"]
    assert [entry.dense for _, entry in sorted(index_of(ports).entries.items())] == [
        vector_of(text) for text in texts for _ in range(2)
    ]
    assert {entry.lexical for entry in index_of(ports).entries.values()} == {
        Lexical(terms=(len(texts[0]),), weights=(1.0,))
    }


def test_text_that_was_embedded_before_is_not_embedded_again(ports: Ports, desk: Desk) -> None:
    desk.publish(0, FOREVER)
    with writing(ports.engine) as session:
        missing = publishing.unembedded(session, desk.made, "length")
        publishing.add_embeddings(session, {digest: vector_of(text) for digest, text in missing.items()}, "length")
    assert isinstance(ports.embedder, LengthEmbedder)
    ports.embedder.embedded.clear()
    desk.correct(0, 1, FOREVER)
    synchronize(ports)
    assert ports.embedder.embedded == []
    assert index_of(ports).placements == wanted(desk)


def test_versions_that_are_named_are_told_of_and_the_rest_later(ports: Ports, desk: Desk) -> None:
    desk.publish(0, 5)
    desk.publish(5, FOREVER)
    for which in (0, 1):
        desk.move(which, RESTRICTED)
    synchronize(ports, [desk.made[1]])
    told, untold = desk.shelf.placements(desk.made[1]), desk.shelf.placements(desk.made[0])
    held = index_of(ports).placements
    assert all(held[each.point] == each for each in told)
    assert not any(held[each.point] == each for each in untold)
    synchronize(ports)
    assert index_of(ports).placements == wanted(desk)


@pytest.mark.parametrize("failing", ["before", "after"])
def test_failed_write_leaves_its_task_for_the_next(ports: Ports, desk: Desk, failing: str) -> None:
    desk.publish(0, FOREVER)
    synchronize(ports)
    desk.move(0, RESTRICTED)
    index_of(ports).failing = failing
    with pytest.raises(IndexUnavailable):
        synchronize(ports)
    assert pending(ports) == 1
    synchronize(ports)
    assert index_of(ports).placements == wanted(desk)


def test_index_that_stays_down_does_not_pile_up_tasks(ports: Ports, desk: Desk) -> None:
    desk.publish(0, FOREVER)
    desk.move(0, RESTRICTED)
    before = pending(ports)
    for _ in range(5):
        index_of(ports).failing = "before"
        with pytest.raises(IndexUnavailable):
            synchronize(ports)
    assert pending(ports) <= before


_moment = st.integers(0, 5)
_end = st.one_of(_moment, st.just(int(FOREVER)))
_which = st.integers(0, 1)
_step = st.tuples(st.just("step"), st.integers(0, 2))
_change = st.one_of(
    st.tuples(st.just("publish"), _moment, _end),
    st.tuples(st.just("correct"), _which, _moment, _end),
    st.tuples(st.just("move"), _which, st.sampled_from([INTERNAL, RESTRICTED])),
    st.tuples(st.just("withdraw"), _which),
)
_failure = st.tuples(st.just("fail"), st.sampled_from(["before", "after"]))
happenings = st.one_of(_step, _step, _step, _step, _step, _step, _change, _failure)

STALE_WRITE_FAILS = [
    ("move", 0, RESTRICTED),
    *[("step", 0)] * 3,  # the first is about to write what it has read: restricted
    ("move", 0, INTERNAL),
    *[("step", 1)] * 8,  # the second writes what is so, internal, and is done with all tasks
    ("fail", "after"),
    *[("step", 0)] * 3,  # the first writes, and never learns that it did
]
CHANGED_AND_BACK = [
    ("correct", 0, 1, FOREVER),
    *[("step", 0)] * 3,  # the first has read once, internal, and is about to read what it will write
    ("move", 0, RESTRICTED),
    ("step", 0),  # which is restricted
    ("move", 0, INTERNAL),
    *[("step", 1)] * 12,  # the second writes what is so, internal, and is done with all tasks
    *[("step", 0)] * 8,  # the first writes restricted, reads internal again as at first
]


@given(history=st.lists(happenings, min_size=20, max_size=50))
@example(history=STALE_WRITE_FAILS)
@example(history=CHANGED_AND_BACK)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_index_holds_what_sql_says_once_nothing_is_pending_whatever_happened(
    ports: Ports, desk: Desk, history: Sequence[tuple[Any, ...]]
) -> None:
    index = PlainIndex()
    index.pause = Synchronizer.stop
    ports = replace(ports, index=index)
    desk = Desk(ports, desk.shelf, uri=f"document {desk.shelf.clock.now()}")
    desk.publish(0, FOREVER)
    synchronize(ports)
    synchronizers = [Synchronizer(ports) for _ in range(3)]
    with _stopping_before_every_transaction(ports.engine):
        for what, *details in history:
            if what == "step":
                synchronizers[details[0]].step()
            elif what == "fail":
                index.failing = details[0]
            else:
                getattr(desk, what)(*details)
        for synchronizer in synchronizers:
            synchronizer.finish()
    index.failing = None
    synchronize(ports)
    assert index.placements == wanted(desk)


@contextmanager
def _stopping_before_every_transaction(engine: Engine) -> Iterator[None]:
    def stop(*_: object) -> None:
        Synchronizer.stop()

    event.listen(engine, "checkout", stop)
    try:
        yield
    finally:
        event.remove(engine, "checkout", stop)
