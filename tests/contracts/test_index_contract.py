"""One suite for the `Index` port: every adapter answers as the reference does, hidden points change nothing."""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from qdrant_client import QdrantClient

from app.adapters.edge_index import EdgeIndex
from app.adapters.index_process import AUTHKEY_VARIABLE, ProcessIndex, index_address
from app.adapters.qdrant_index import QdrantIndex
from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.errors import IndexUnavailable
from app.domain.evidence import (
    Hits,
    IndexEntry,
    IndexQuery,
    Lexical,
    Mark,
    Placement,
    PointId,
    Vector,
    chunk_of,
    point_of,
)
from app.domain.instants import BEGINNING, FOREVER, Instant
from app.ports import Index
from tests.fakes import ReferenceIndex

pytestmark = [  # what Qdrant's in-memory double says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]

DIMENSION = 16
NO_TERMS = Lexical(terms=(), weights=())
FACETS = ("region=EU", "region=US", "kind=policy")


class IndexProcess:
    """A real index process of our own, and the ways to end it."""

    def __init__(self, home: Path, *, budget_ms: float = 60_000.0) -> None:
        self.home = home
        self.budget_ms = budget_ms
        self.address = index_address(home)
        self.authkey = secrets.token_bytes(32)
        self._running: subprocess.Popen[str] | None = None
        self._alive: int | None = None

    def start(self) -> None:
        read, self._alive = os.pipe()
        command = [sys.executable, "-m", "app.adapters.index_process", "--liveness-fd", str(read)]
        command += ["--folder", str(self.home / "index"), "--address", str(self.address)]
        self._running = subprocess.Popen(
            [*command, "--dimension", str(DIMENSION), "--budget-ms", str(self.budget_ms)],
            env=os.environ | {AUTHKEY_VARIABLE: self.authkey.hex()},
            pass_fds=[read],
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(read)

    def client(self, *, patience_s: float = 20.0, authkey: bytes | None = None) -> ProcessIndex:
        return ProcessIndex(self.address, authkey or self.authkey, patience_s=patience_s)

    def end(self, number: signal.Signals) -> int:
        assert self._running is not None
        self._running.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self._running is not None
        assert self._running.stderr is not None
        code = self._running.wait(timeout=20)
        self.complaint = self._running.stderr.read()
        self._running.stderr.close()
        self._running = None
        self.lose_parent()
        return code

    def lose_parent(self) -> None:
        """Close the pipe that tells the process that its parent is there."""
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None

    def stop(self) -> None:
        if self._running is not None:
            self.end(signal.SIGKILL)


@contextmanager
def edge_index(home: Path) -> Iterator[Index]:
    with EdgeIndex(home / "index", DIMENSION) as index:
        yield index


@contextmanager
def quick_index(home: Path) -> Iterator[Index]:
    """One whose searches go by arrays, whatever they take."""
    with EdgeIndex(home / "index", DIMENSION, budget_ms=0.0) as index:
        quickened(index)
        yield index


def quickened(index: EdgeIndex) -> None:
    """After as many searches as it is judged by."""
    for _ in range(16):
        index.search(asked(1))
    while index.quicken():
        pass
    assert index.quick


@contextmanager
def process_index(home: Path) -> Iterator[Index]:
    process = IndexProcess(home)
    process.start()
    client = process.client()
    try:
        yield client
    finally:
        client.close()
        process.stop()


@contextmanager
def qdrant_index(_home: Path) -> Iterator[Index]:
    client = QdrantClient(":memory:")
    yield QdrantIndex(client, "chunks", DIMENSION)
    client.close()


ADAPTERS = [edge_index, quick_index, process_index, qdrant_index]


@pytest.fixture(scope="module", params=ADAPTERS)
def make_index(request: pytest.FixtureRequest, quick_folder: Path) -> Iterator[Callable[[], Index]]:
    """Makes new, empty indexes of one kind."""
    with ExitStack() as stack:

        def made() -> Index:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=quick_folder)))
            index: Index = stack.enter_context(request.param(home))
            return index

        yield made


@pytest.fixture(scope="module")
def used_index(make_index: Callable[[], Index]) -> Index:
    """One index for many examples: each leaves its deleted points behind, as life does."""
    return make_index()


def signs(number: int) -> Vector:
    """A unit vector whose products with its like are exact in float32, so that ties are ties everywhere."""
    bits = np.array([number >> place & 1 for place in range(DIMENSION)])
    return Vector(np.where(bits, 0.25, -0.25).astype("<f4").tobytes())


SOME = signs(0)


def entry(point: int, boundary: int = 1, *, dense: Vector = SOME, lexical: Lexical = NO_TERMS) -> IndexEntry:
    return IndexEntry(placement=placed(point, boundary), dense=dense, lexical=lexical)


def placed(point: int, boundary: int = 1, *facets: str) -> Placement:
    return Placement(
        point=PointId(point),
        boundary=BoundaryId(boundary),
        valid_from=BEGINNING,
        valid_to=FOREVER,
        recorded_from=Instant(0),
        recorded_to=FOREVER,
        facets=facets,
    )


def asked(
    *boundaries: int,
    dense: Vector | None = SOME,
    lexical: Lexical | None = None,
    depth: int = 10,
    facets: tuple[tuple[str, ...], ...] = (),
) -> IndexQuery:
    return IndexQuery(
        dense=dense,
        lexical=lexical,
        boundaries=frozenset(BoundaryId(boundary) for boundary in boundaries),
        valid_at=Instant(50),
        known_at=Instant(50),
        facets=facets,
        depth=depth,
    )


def point(chunk: int, ordinal: int = 0) -> PointId:
    return point_of(ChunkId(chunk), ordinal)


# --- strategies: small worlds, in which everything collides and ties

chunks = st.integers(1, 8)
points = st.builds(point, chunks, st.integers(0, 1))
vectors = st.sampled_from([signs(number) for number in (0, 1, 3, 0x0F0F, 0xFFFE, 0xABCD)])
weights = st.sampled_from([0.5, 1.0, 1.75]) | st.floats(0.125, 4.0, width=32)


@st.composite
def lexicals(draw: st.DrawFn, *, fewest: int = 0) -> Lexical:
    terms = sorted(draw(st.sets(st.sampled_from([0, 1, 2, 3, 7, 2**32 - 1]), min_size=fewest)))
    return Lexical(terms=tuple(terms), weights=tuple(draw(weights) for _ in terms))


placements = st.builds(
    Placement,
    point=points,
    boundary=st.integers(1, 4).map(BoundaryId),
    valid_from=st.sampled_from([BEGINNING, Instant(10)]),
    valid_to=st.sampled_from([Instant(20), FOREVER]),
    recorded_from=st.sampled_from([Instant(0), Instant(10)]),
    recorded_to=st.sampled_from([Instant(20), FOREVER]),
    facets=st.lists(st.sampled_from(FACETS), unique=True, max_size=2).map(tuple),
)
marks = st.frozensets(st.integers(0, 3).map(Mark), max_size=3)
entries = st.builds(IndexEntry, placement=placements, dense=vectors, lexical=lexicals(), marks=marks)
Write = tuple[str, Sequence[IndexEntry] | Sequence[Placement] | Sequence[PointId]]
writes: st.SearchStrategy[Write] = st.one_of(
    st.tuples(st.just("upsert"), st.lists(entries, max_size=8)),
    st.tuples(st.just("move"), st.lists(placements, max_size=4)),
    st.tuples(st.just("remove"), st.lists(points, max_size=4)),
)
queries = st.builds(
    IndexQuery,
    dense=st.none() | vectors,
    lexical=st.none() | lexicals(),
    boundaries=st.frozensets(st.integers(1, 5).map(BoundaryId), min_size=1, max_size=3),
    valid_at=st.sampled_from([Instant(5), Instant(10), Instant(20)]),
    known_at=st.sampled_from([Instant(5), Instant(10), Instant(20)]),
    facets=st.lists(st.lists(st.sampled_from(FACETS), max_size=2).map(tuple), max_size=2).map(tuple),
    demands=st.just(()) | st.lists(st.lists(marks.filter(bool), max_size=2).map(tuple), max_size=2).map(tuple),
    depth=st.integers(1, 5),
)
EVERY_POINT = [point(chunk, ordinal) for chunk in range(1, 9) for ordinal in (0, 1)]


def apply(index: Index, write: Write) -> None:
    getattr(index, write[0])(write[1])


def many_entries(boundary: int, first_chunk: int, count: int, seed: int) -> list[IndexEntry]:
    """Points whose scores have all their digits: real numbers in vectors and weights, up to eight terms each."""
    draw = np.random.default_rng(seed)
    made = []
    for chunk in range(first_chunk, first_chunk + count):
        terms = sorted(int(term) for term in draw.choice(12, draw.integers(1, 9), replace=False))
        made.append(
            entry(
                point(chunk),
                boundary,
                dense=random_vector(draw),
                lexical=Lexical(
                    terms=tuple(terms), weights=tuple(float(np.float32(draw.random() * 3 + 0.1)) for _ in terms)
                ),
            )
        )
    return made


def random_vector(draw: np.random.Generator) -> Vector:
    numbers = draw.standard_normal(DIMENSION)
    return Vector((numbers / np.linalg.norm(numbers)).astype("<f4").tobytes())


def long_queries(depth: int) -> list[IndexQuery]:
    draw = np.random.default_rng(99)
    return [
        asked(
            1,
            dense=random_vector(draw),
            lexical=Lexical(terms=tuple(range(start, start + 6)), weights=(1.0,) * 6),
            depth=depth,
        )
        for start in range(6)
    ]


# --- what every adapter promises


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(written=st.lists(writes, min_size=1, max_size=6), questions=st.lists(queries, min_size=1, max_size=6))
def test_every_search_equals_the_reference(
    used_index: Index, written: list[Write], questions: list[IndexQuery]
) -> None:
    reference = ReferenceIndex()
    used_index.remove(EVERY_POINT)
    for write in written:
        apply(used_index, write)
        apply(reference, write)

    assert used_index.size() == reference.size()
    assert [used_index.search(each) for each in questions] == [reference.search(each) for each in questions]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(written=st.lists(writes, min_size=1, max_size=5), seed=st.integers(0, 5))
def test_hidden_points_change_nothing(used_index: Index, written: list[Write], seed: int) -> None:
    used_index.remove(EVERY_POINT)
    visible = many_entries(9, 100, 20, seed)
    used_index.upsert(visible)
    seen = [replace(query, boundaries=frozenset({BoundaryId(9)})) for query in long_queries(5)]
    before = [used_index.search(query) for query in seen]
    for write in written:  # all of it in other boundaries
        apply(used_index, write)

    after = [used_index.search(query) for query in seen]
    used_index.remove([each.placement.point for each in visible])

    assert after == before


def test_no_digit_of_a_score_depends_on_hidden_points_that_came_first(make_index: Callable[[], Index]) -> None:
    visible, hidden = many_entries(1, 1, 200, seed=1), many_entries(2, 1001, 600, seed=2)
    alone, among, after = make_index(), make_index(), make_index()
    alone.upsert(visible)
    among.upsert(random.Random(3).sample(visible + hidden, k=800))
    after.upsert(hidden)
    after.upsert(visible)
    after.remove([each.placement.point for each in hidden])
    optimize = getattr(after, "optimize", None)
    if optimize is not None:
        optimize()

    answers = [[index.search(query) for query in long_queries(300)] for index in (alone, among, after)]

    assert len(answers[0][0].lexical) > 150
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]


def test_answers_agree_with_the_reference_to_five_digits_on_real_numbers(make_index: Callable[[], Index]) -> None:
    index, reference = make_index(), ReferenceIndex()
    for each in (index, reference):
        each.upsert(many_entries(1, 1, 200, seed=4))
    for query in long_queries(200):
        found, expected = index.search(query), reference.search(query)

        assert [hit.chunk for hit in found.lexical] == [hit.chunk for hit in expected.lexical]
        for mine, theirs in ((found.dense, expected.dense), (found.lexical, expected.lexical)):
            assert {hit.chunk: hit.score for hit in mine} == pytest.approx(
                {hit.chunk: hit.score for hit in theirs}, abs=2e-6
            )
            assert list(mine) == sorted(mine, key=lambda hit: (-hit.score, hit.chunk))


def test_ties_at_the_cut_go_to_the_lowest_chunk_ids_whatever_is_hidden(make_index: Callable[[], Index]) -> None:
    same = Lexical(terms=(4,), weights=(1.0,))
    visible = [entry(point(chunk), 1, lexical=same) for chunk in range(1, 121)]
    hidden = [entry(point(chunk), 2, lexical=same) for chunk in range(200, 400)]
    index = make_index()
    index.upsert(random.Random(1).sample(visible + hidden, k=320))
    index.remove([each.placement.point for each in random.Random(2).sample(hidden, k=100)])

    hits = index.search(asked(1, lexical=same, depth=3))

    assert [hit.chunk for hit in hits.dense] == [1, 2, 3]
    assert [hit.chunk for hit in hits.lexical] == [1, 2, 3]


def test_a_chunk_with_two_matching_points_is_one_hit(make_index: Callable[[], Index]) -> None:
    terms = Lexical(terms=(4,), weights=(1.0,))
    index = make_index()
    index.upsert([entry(point(chunk, ordinal), lexical=terms) for chunk in (1, 2, 3) for ordinal in (0, 1, 2)])

    hits = index.search(asked(1, lexical=terms, depth=2))

    assert [hit.chunk for hit in hits.dense] == [hit.chunk for hit in hits.lexical] == [1, 2]


def test_what_is_purged_is_not_there_and_is_never_taken_again(make_index: Callable[[], Index]) -> None:
    index = make_index()
    index.upsert([entry(point(chunk, ordinal)) for chunk in (1, 2, 3) for ordinal in (0, 1)])

    purged = index.purge([point(2, 0), point(2, 1), point(2, 2)])
    index.upsert([entry(point(2)), entry(point(4))])
    index.move([placed(point(2), 1)])

    assert purged.points == 2
    assert index.held([point(chunk, ordinal) for chunk in (1, 2, 4) for ordinal in (0, 1, 2)]) == {
        point(1, 0),
        point(1, 1),
        point(4),
    }
    assert [hit.chunk for hit in index.search(asked(1)).dense] == [1, 3, 4]
    assert index.size() == 5


def test_searches_are_the_same_after_a_purge_of_others(make_index: Callable[[], Index]) -> None:
    visible, hidden = many_entries(1, 1, 200, seed=1), many_entries(2, 1001, 600, seed=2)
    index = make_index()
    index.upsert(random.Random(3).sample(visible + hidden, k=800))
    before = [index.search(query) for query in long_queries(50)]

    index.purge([each.placement.point for each in hidden])

    assert index.size() == len(visible)
    assert [index.search(query) for query in long_queries(50)] == before


def test_a_point_that_is_there_is_held_where_no_search_reaches_it(make_index: Callable[[], Index]) -> None:
    index = make_index()
    nowhere = replace(placed(point(1)), valid_from=FOREVER, valid_to=FOREVER)
    index.upsert([replace(entry(point(1)), placement=nowhere)])

    assert index.search(asked(1)) == Hits()
    assert index.held([point(1), point(2)]) == {point(1)}


def test_a_search_without_boundaries_is_refused(used_index: Index) -> None:
    query = asked(1)
    object.__setattr__(query, "boundaries", frozenset())  # past the type's own guard

    with pytest.raises(ValueError, match="boundary"):
        used_index.search(query)


def test_moving_a_missing_point_creates_nothing_and_moves_the_rest(make_index: Callable[[], Index]) -> None:
    index = make_index()
    index.upsert([entry(point(1)), entry(point(2))])
    index.move([placed(point(1), 7), placed(point(99), 7), placed(point(2), 7)])

    assert index.size() == 2
    assert [hit.chunk for hit in index.search(asked(7)).dense] == [1, 2]
    assert index.search(asked(1)) == Hits()


def test_a_group_of_facets_that_names_none_matches_nothing(make_index: Callable[[], Index]) -> None:
    index = make_index()
    index.upsert([entry(point(1))])
    index.move([placed(point(1), 1, "region=EU")])

    assert index.search(asked(1, facets=(("region=US", "region=EU"),))).dense
    assert index.search(asked(1, facets=((),))) == Hits()


def test_empty_writes_do_nothing(used_index: Index) -> None:
    before = used_index.size()
    used_index.upsert([])
    used_index.move([])
    used_index.remove([])

    assert used_index.size() == before


@pytest.mark.parametrize(
    "vector", [b"", signs(0)[:-4], bytes(4 * DIMENSION), np.full(DIMENSION, np.nan, dtype="<f4").tobytes()]
)
def test_a_vector_that_is_none_is_refused_as_a_value(used_index: Index, vector: bytes) -> None:
    with pytest.raises(ValueError, match="vector"):
        used_index.search(asked(1, dense=Vector(vector)))
    with pytest.raises(ValueError, match="vector"):
        used_index.upsert([entry(point(1), dense=Vector(vector))])


# --- the embedded engine


def test_reopened_folder_holds_what_was_written(tmp_path: Path) -> None:
    with edge_index(tmp_path) as index:
        index.upsert(many_entries(1, 1, 50, seed=1))
        before = [index.search(query) for query in long_queries(50)]
    with edge_index(tmp_path) as index:
        assert [index.search(query) for query in long_queries(50)] == before


def test_a_folder_that_is_open_is_refused_and_its_holder_unharmed(tmp_path: Path) -> None:
    with edge_index(tmp_path) as index:
        index.upsert([entry(point(1))])
        with pytest.raises(IndexUnavailable, match="open in another process"), edge_index(tmp_path):
            pass
        index.upsert([entry(point(2), lexical=Lexical(terms=(1,), weights=(1.0,)))])

        assert index.size() == 2


def test_a_folder_made_for_other_vectors_is_refused_and_let_go(tmp_path: Path) -> None:
    with edge_index(tmp_path):
        pass
    with pytest.raises(IndexUnavailable, match="filled again"):
        EdgeIndex(tmp_path / "index", DIMENSION + 1)
    with edge_index(tmp_path) as index:
        assert index.size() == 0


def test_a_shard_that_was_never_finished_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "index" / "shard.new" / "segments").mkdir(parents=True)
    with edge_index(tmp_path) as index:
        assert index.size() == 0


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    written=st.lists(writes, min_size=2, max_size=5),
    purged=st.lists(points, max_size=3),
    meanwhile=st.lists(writes, max_size=4),
    questions=st.lists(queries, min_size=1, max_size=4),
)
def test_what_is_written_while_the_files_are_rewritten_is_there_after(
    quick_folder: Path, written: list[Write], purged: list[PointId], meanwhile: list[Write], questions: list[IndexQuery]
) -> None:
    reference = ReferenceIndex()
    with tempfile.TemporaryDirectory(dir=quick_folder) as home, EdgeIndex(Path(home), DIMENSION) as index:
        for write in written:
            apply(index, write)
            apply(reference, write)
        whole = [point(chunk_of(each), ordinal) for each in purged for ordinal in (0, 1)]
        there, begun = index.begin_purge(whole)
        assert there == reference.purge(whole).points
        over = False
        for write in meanwhile:  # a point at a time, so that each write falls into the middle
            over = index.go_on_purging(begun, at_most=1)
            apply(index, write)
            apply(reference, write)
            assert [index.search(each) for each in questions] == [reference.search(each) for each in questions]
        while not over:
            over = index.go_on_purging(begun, at_most=1)

        assert index.size() == reference.size()
        assert [index.search(each) for each in questions] == [reference.search(each) for each in questions]


def test_no_byte_of_what_was_purged_is_left_in_the_folder(tmp_path: Path) -> None:
    kept, gone, gone_before = (many_entries(1, first, 5, seed=first) for first in (1, 1001, 2001))
    named = [replace(each, placement=replace(each.placement, facets=("of=zwiebel",))) for each in gone]
    with edge_index(tmp_path) as index:
        index.upsert([*kept, *named, *gone_before])
        index.remove([each.placement.point for each in gone_before])
        assert traces_of([*named, *gone_before], tmp_path) != set()

        index.purge([each.placement.point for each in gone])

        assert traces_of([*named, *gone_before], tmp_path) == set()
        assert traces_of(kept, tmp_path) != set()
    assert traces_of([*named, *gone_before], tmp_path) == set()


def traces_of(some: Sequence[IndexEntry], folder: Path) -> set[str]:
    """The files in which a vector or a facet of these stands."""
    wanted = [each.dense for each in some] + [facet.encode() for each in some for facet in each.placement.facets]
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name for name, content in files.items() if any(each in content for each in wanted)}


def test_what_was_purged_is_barred_after_a_restart_too(tmp_path: Path) -> None:
    with edge_index(tmp_path) as index:
        index.upsert([entry(point(chunk)) for chunk in (1, 2, 3, 7)])
        index.purge([point(2), point(3)])
        index.purge([point(7)])
    with edge_index(tmp_path) as index:
        index.upsert([entry(point(chunk)) for chunk in range(1, 9)])
        assert index.held([point(chunk) for chunk in range(1, 10)]) == {point(chunk) for chunk in (1, 4, 5, 6, 8)}


@pytest.mark.parametrize("changing_places", [False, True])
def test_a_rewriting_that_was_killed_leaves_what_was_there(tmp_path: Path, changing_places: bool) -> None:
    folder = tmp_path / "index"
    with edge_index(tmp_path) as index:
        index.upsert([entry(point(1)), entry(point(2))])
    shutil.copytree(folder / "shard", folder / "shard.new")
    if changing_places:
        (folder / "shard").rename(folder / "shard.old")
    with edge_index(tmp_path) as index:
        assert index.size() == 2
        assert sorted(each.name for each in folder.iterdir()) == ["lock", "shard"]


# --- the arrays that it is searched by once the engine takes too long


def test_arrays_and_engine_give_the_same_hits_to_the_last_digit(tmp_path: Path) -> None:
    written = [*many_entries(1, 1, 800, seed=1), *many_entries(2, 5001, 800, seed=2)]
    with edge_index(tmp_path / "engine") as engine, quick_index(tmp_path / "arrays") as arrays:
        for index in (engine, arrays):
            for start in range(0, len(written), 250):
                index.upsert(random.Random(start).sample(written, k=250))
            index.remove([each.placement.point for each in random.Random(3).sample(written, k=300)])
            index.move([placed(each.placement.point, 2) for each in random.Random(4).sample(written, k=300)])
            index.upsert(written[:200])
            index.optimize()  # type: ignore[attr-defined]
        for depth in (1, 10, 1000):
            for query in [each for asked_for in long_queries(depth) for each in (asked_for, among_all(asked_for))]:
                assert arrays.search(query) == engine.search(query)


def test_no_digit_by_arrays_depends_on_hidden_points(tmp_path: Path) -> None:
    visible, hidden = many_entries(1, 1, 400, seed=1), many_entries(2, 1001, 1600, seed=2)
    with quick_index(tmp_path / "alone") as alone, quick_index(tmp_path / "among") as among:
        alone.upsert(visible)
        before = [alone.search(query) for query in long_queries(50)]
        among.upsert(random.Random(3).sample(visible + hidden, k=2000))

        assert [among.search(query) for query in long_queries(50)] == before
        among.remove([each.placement.point for each in random.Random(4).sample(hidden, k=900)])
        assert [among.search(query) for query in long_queries(50)] == before


def test_arrays_keep_to_the_instants_that_are_asked_for(tmp_path: Path) -> None:
    periods = [(BEGINNING, FOREVER), (BEGINNING, Instant(20)), (Instant(10), Instant(20)), (Instant(20), FOREVER)]
    terms = Lexical(terms=(4,), weights=(1.0,))
    reference = ReferenceIndex()
    with quick_index(tmp_path) as index:
        for each in (index, reference):
            each.upsert([entry(point(chunk), lexical=terms) for chunk in range(1, 17)])
            each.move(
                [
                    replace(
                        placed(point(1 + 4 * valid + known)),
                        valid_from=periods[valid][0],
                        valid_to=periods[valid][1],
                        recorded_from=periods[known][0],
                        recorded_to=periods[known][1],
                    )
                    for valid in range(4)
                    for known in range(4)
                ]
            )
        for valid_at in (9, 10, 19, 20):
            for known_at in (9, 10, 19, 20):
                at = replace(asked(1, lexical=terms), valid_at=Instant(valid_at), known_at=Instant(known_at))
                assert index.search(at) == reference.search(at)


def test_instants_within_which_all_points_are_in_force_are_looked_at_for_none(tmp_path: Path) -> None:
    with quick_index(tmp_path) as index:
        index.upsert([entry(point(chunk)) for chunk in range(1, 17)])
        (block,) = index._columns._blocks  # type: ignore[attr-defined]
        block.place[[2, 4]] = 0  # unnoticed: it looks at no point's own end
        assert len(index.search(asked(1, depth=100)).dense) == 16

        index.move([replace(placed(point(1)), valid_to=Instant(20))])
        assert not index.search(asked(1, depth=100)).dense


def among_all(query: IndexQuery) -> IndexQuery:
    return replace(query, boundaries=frozenset({BoundaryId(1), BoundaryId(2), BoundaryId(70_000)}))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    written=st.lists(writes, min_size=2, max_size=5),
    meanwhile=st.lists(writes, max_size=6),
    questions=st.lists(queries, min_size=1, max_size=4),
)
def test_what_is_written_while_arrays_are_laid_out_is_in_them(
    quick_folder: Path, written: list[Write], meanwhile: list[Write], questions: list[IndexQuery]
) -> None:
    reference = ReferenceIndex()
    with (
        tempfile.TemporaryDirectory(dir=quick_folder) as home,
        EdgeIndex(Path(home), DIMENSION, budget_ms=0.0) as index,
    ):
        for write in written:
            apply(index, write)
            apply(reference, write)
        for _ in range(16):
            index.search(asked(1))
        for write in meanwhile:  # a point at a time, so that each write falls into the middle
            index.quicken(at_most=1)
            apply(index, write)
            apply(reference, write)
            assert [index.search(each) for each in questions] == [reference.search(each) for each in questions]
        while index.quicken(at_most=1):
            pass

        assert index.quick
        assert [index.search(each) for each in questions] == [reference.search(each) for each in questions]


def test_within_its_budget_the_engine_goes_on_alone(tmp_path: Path) -> None:
    with EdgeIndex(tmp_path / "index", DIMENSION, budget_ms=60_000.0) as index:
        index.upsert([entry(point(1))])
        for _ in range(40):
            index.search(asked(1))

        assert not index.quicken()
        assert not index.quick


def test_arrays_are_given_up_when_little_is_left(tmp_path: Path) -> None:
    with EdgeIndex(tmp_path / "index", DIMENSION, budget_ms=0.0) as index:
        index.upsert([entry(point(chunk)) for chunk in range(1, 101)])
        quickened(index)
        index.remove([point(chunk) for chunk in range(1, 61)])
        index.quicken()

        assert not index.quick
        assert len(index.search(asked(1, depth=100)).dense) == 40


def test_arrays_that_give_other_hits_than_the_engine_are_never_searched(tmp_path: Path) -> None:
    with EdgeIndex(tmp_path / "index", DIMENSION, budget_ms=0.0) as index:
        index.upsert(many_entries(1, 1, 50, seed=1))
        for query in long_queries(10) * 3:
            index.search(query)
        assert index.quicken(at_most=10)  # some are laid out: one of them is now lost
        assert index._laying_out is not None
        index._laying_out.columns.remove([point(1)])
        index._laying_out.columns.remove([point(2)])
        while index.quicken():
            pass

        assert not index.quick
        assert len(index.search(asked(1, depth=100)).dense) == 50


# --- the process


def test_process_quickens_by_itself_once_searches_take_longer_than_its_budget(tmp_path: Path) -> None:
    process = IndexProcess(tmp_path, budget_ms=1e-6)
    process.start()
    client = process.client()
    client.upsert(many_entries(1, 1, 60, seed=5))
    before = [client.search(query) for query in long_queries(20)]
    assert not client.quick()
    for _ in range(16):
        client.search(asked(1))
    deadline = time.monotonic() + 20
    while not client.quick() and time.monotonic() < deadline:
        pass

    assert client.quick()
    assert [client.search(query) for query in long_queries(20)] == before
    client.close()
    process.stop()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[IndexProcess]:
    started = IndexProcess(tmp_path)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def client(process: IndexProcess) -> Iterator[ProcessIndex]:
    made = process.client()
    yield made
    made.close()


def test_killed_process_keeps_what_it_acknowledged_and_is_found_again(
    process: IndexProcess, client: ProcessIndex
) -> None:
    written = many_entries(1, 1, 60, seed=5)
    client.upsert(written)
    client.move([placed(point(1), 3)])
    client.remove([point(2)])
    before = [client.search(query) for query in long_queries(60)]

    process.end(signal.SIGKILL)
    process.start()

    assert [client.search(query) for query in long_queries(60)] == before
    assert client.size() == 59
    assert [hit.chunk for hit in client.search(asked(3)).dense] == [1]


def test_a_purge_in_which_the_process_is_killed_is_to_be_begun_anew(
    process: IndexProcess, client: ProcessIndex
) -> None:
    client.upsert(many_entries(1, 1, 3000, seed=5))
    with ThreadPoolExecutor(1) as thread:
        purging = thread.submit(client.purge, [point(1)])
        while not (process.home / "index" / "shard.new").exists() and not purging.done():
            pass
        process.end(signal.SIGKILL)
        process.start()
        with suppress(IndexUnavailable):
            purging.result()

    assert client.purge([point(1)]).rewritten
    assert client.size() == 2999


def test_without_a_process_the_index_is_unavailable_at_once(process: IndexProcess, client: ProcessIndex) -> None:
    client.size()
    process.end(signal.SIGKILL)

    with pytest.raises(IndexUnavailable, match="No index process"):
        process.client(patience_s=0).size()


def test_terminated_process_closes_the_index_and_takes_its_socket_away(
    process: IndexProcess, client: ProcessIndex
) -> None:
    client.upsert([entry(point(1))])

    assert process.end(signal.SIGTERM) == 0
    assert not process.address.exists()
    with edge_index(process.home) as index:
        assert index.size() == 1


def test_process_ends_when_its_parent_is_gone(process: IndexProcess, client: ProcessIndex) -> None:
    client.size()
    process.lose_parent()

    assert process.ended() == 0


def test_process_refuses_a_folder_that_is_held(process: IndexProcess, client: ProcessIndex) -> None:
    client.upsert([entry(point(1))])
    second = IndexProcess(process.home)
    second.start()

    assert second.ended() == 1
    assert "open in another process" in second.complaint
    assert "Traceback" not in second.complaint
    assert client.size() == 1


def test_wrong_key_reaches_nothing(process: IndexProcess, client: ProcessIndex) -> None:
    client.size()
    with pytest.raises(IndexUnavailable, match="key"):
        process.client(authkey=b"another key of some length").size()
    assert client.size() == 0


def test_a_stranger_who_says_nothing_holds_up_nobody(process: IndexProcess, client: ProcessIndex) -> None:
    client.size()
    client.close()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(process.address))

        assert client.size() == 0


def test_an_answer_that_does_not_come_in_time_is_unavailable(tmp_path: Path) -> None:
    address = tmp_path / "deaf.sock"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(address))
        deaf.listen()
        with pytest.raises(IndexUnavailable, match=r"within 0\.2 seconds"):
            ProcessIndex(address, b"k" * 16, timeout_s=0.2).size()


def test_many_threads_share_one_client(client: ProcessIndex) -> None:
    client.upsert(many_entries(1, 1, 100, seed=6))
    expected = [client.search(query) for query in long_queries(20)]
    together = threading.Barrier(8)

    def ask(_thread: int) -> list[Hits]:
        together.wait(timeout=20)
        return [client.search(query) for query in long_queries(20)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [expected] * 8


def test_address_is_in_the_home_when_a_socket_fits_there_and_private_elsewhere_when_not(tmp_path: Path) -> None:
    assert index_address(tmp_path) == tmp_path / "run" / "index.sock"

    elsewhere = index_address(tmp_path / ("long" * 30))
    assert len(os.fsencode(elsewhere)) < 100
    assert elsewhere.parent.stat().st_mode & 0o777 == 0o700
    elsewhere.parent.rmdir()
