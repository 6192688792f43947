"""Versions: staged unseen, published whole, superseded and corrected in two times, and never overwritten."""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from app.domain.access import Boundary, BoundaryId
from app.domain.corpus import (
    ChunkId,
    Document,
    DocumentId,
    Element,
    ElementKind,
    Metadata,
    Origin,
    Period,
    Span,
    StoredChunk,
    Version,
    VersionId,
    digest_of,
    embedded_text,
    text_digest,
)
from app.domain.errors import Conflict
from app.domain.evidence import PERIODS_PER_VERSION, Placement, Vector, chunk_of, point_of
from app.domain.instants import BEGINNING, FOREVER, Instant
from app.store import boundaries, corpus, jobs, publishing
from app.store.database import reading, recording, writing
from app.store.metadata import metadata_digest
from tests.conftest import PREPARED_AT, STARTED_AT, Clock
from tests.store.building import INTERNAL, RESTRICTED, Shelf, Staged, stage
from tests.store.history import rows_of, unchanged

MODEL = "a model"
LAST_MOMENT = 6
MOMENTS = range(LAST_MOMENT + 1)
"""Valid times in the tests that go through all of them; an open end lies beyond."""


@pytest.fixture
def shelf(engine: Engine, clock: Clock) -> Shelf:
    return Shelf(engine, clock)


def versions(shelf: Shelf, uri: str = "policy.md") -> list[Version]:
    with reading(shelf.engine) as session:
        found = publishing.document_row(session, collection="policies", uri=uri)
        assert found is not None
        return corpus.versions_of(session, found[1])


def listed(
    shelf: Shelf,
    *boundaries_in: Boundary,
    containing: str | None = None,
    after: tuple[str, str] | None = None,
    limit: int = 100,
    collection: str | None = None,
) -> list[tuple[str, int]]:
    """(uri, number) of what `latest_versions` gives within these boundaries."""
    with recording(shelf.engine, shelf.clock.now(), "boundaries") as (session, at):
        ids = [boundaries.interned(session, each, at=at) for each in boundaries_in]
    with reading(shelf.engine) as session:
        found = corpus.latest_versions(
            session, boundaries=ids, collection=collection, containing=containing, after=after, limit=limit
        )
    return [(version.document.uri, version.number) for version in found]


# Staged


def test_staged_version_is_seen_by_nobody(shelf: Shelf) -> None:
    staged = shelf.stage()
    chunks = shelf.chunks(staged.version)
    assert len(chunks) == 1
    assert versions(shelf) == []
    assert listed(shelf, INTERNAL, RESTRICTED) == []
    for valid_at, known_at in product((BEGINNING, 0, STARTED_AT, FOREVER - 1, FOREVER), repeat=2):
        assert shelf.stored(chunks, valid_at=valid_at, known_at=known_at) == {}


def test_staged_version_beside_a_published_one_changes_nothing_that_is_seen(shelf: Shelf) -> None:
    published = shelf.put("Share nothing.")
    before = versions(shelf), shelf.stored(shelf.chunks(published), valid_at=FOREVER - 1, known_at=FOREVER - 1)
    staged = shelf.stage("Share everything.")
    chunks = shelf.chunks(published, staged.version)
    assert (versions(shelf), shelf.stored(chunks, valid_at=FOREVER - 1, known_at=FOREVER - 1)) == before


def test_placements_of_a_staged_version_hold_at_no_instant_and_in_no_boundary(shelf: Shelf) -> None:
    staged = shelf.stage("ab", cuts=[(0, 1), (1, 2)])
    placements = shelf.placements(staged.version)
    assert [chunk_of(each.point) for each in placements] == shelf.chunks(staged.version)
    assert {each.boundary for each in placements} == {publishing.NO_BOUNDARY}
    assert not any(
        _holds(each, valid_at, known_at)
        for each in placements
        for valid_at, known_at in product((BEGINNING, STARTED_AT, FOREVER), repeat=2)
    )


def test_staging_again_replaces_what_the_same_job_staged(shelf: Shelf) -> None:
    staged = shelf.stage("The first attempt.")
    with writing(shelf.engine) as session:
        stage(session, staged.submission, "The second.")
    with reading(shelf.engine) as session:
        again = publishing.version_of_job(session, staged.submission.job)
        assert again is not None
        assert publishing.unpublished(session, [staged.submission.job]) == {staged.submission.job: again.id}
    assert shelf.chunks(staged.version) == []
    shelf.publish(Staged(submission=staged.submission, version=again.id))
    assert [chunk.text for chunk in _now(shelf, again.id)] == ["The second."]


def test_unstaging_forgets_what_was_staged_and_never_what_was_published(shelf: Shelf) -> None:
    published, staged = shelf.stage("Published."), shelf.stage("Staged.", uri="other.md")
    shelf.publish(published)
    before = versions(shelf)
    with writing(shelf.engine) as session:
        publishing.unstage(session, published.submission.job)
        publishing.unstage(session, staged.submission.job)
    assert versions(shelf) == before
    assert shelf.chunks(staged.version) == []
    assert [chunk.text for chunk in _now(shelf, published.version)] == ["Published."]
    with reading(shelf.engine) as session:
        assert publishing.version_of_job(session, staged.submission.job) is None


def test_id_is_never_given_again(shelf: Shelf) -> None:
    """What still acts on an id that it read before, on a point in the index or a task, meets nothing that is new."""
    first = shelf.stage()
    chunks = shelf.chunks(first.version)
    with writing(shelf.engine) as session:
        publishing.unstage(session, first.submission.job)
    second = shelf.stage()
    assert second.version > first.version
    assert shelf.chunks(second.version) > chunks
    shelf.publish(second)
    (task,) = rows_of(shelf.engine, "index_tasks")
    _settle_tasks(shelf)
    shelf.move(second.version, RESTRICTED)
    (later,) = rows_of(shelf.engine, "index_tasks")
    assert later > task


def test_same_text_is_staged_by_eight_at_once(shelf: Shelf) -> None:
    """Copies of one document, in one batch: each is read by a thread of its own."""
    submissions = [shelf.submit(f"copy {n}") for n in range(24)]

    def read(number: int) -> None:
        with writing(shelf.engine) as session:
            stage(session, submissions[number], f"The same text, of three kinds: {number % 3}.")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(24))) == [None] * 24
    with reading(shelf.engine) as session:
        assert publishing.staged_jobs(session, [each.job for each in submissions]) == {each.job for each in submissions}
    assert len(rows_of(shelf.engine, "texts")) == 3


# Published


def test_published_version_is_all_that_was_said_of_it(shelf: Shelf) -> None:
    said = Metadata(
        uri="policy.md",
        valid_from=Instant(10),
        valid_to=Instant(20),
        review_by=Instant(15),
        source=Origin(connector="mail", fetched_at=Instant(5), etag="1", author="Ana"),
        attributes={"region": ("EU", "US"), "kind": ("policy",)},
    )
    staged = shelf.stage("Share nothing.", metadata=said)
    number, at = shelf.publish(staged)
    assert number == 1
    assert versions(shelf) == [
        Version(
            id=staged.version,
            document=Document(
                id=staged.submission.document, collection="policies", uri="policy.md", recorded_at=STARTED_AT
            ),
            number=1,
            title="Policy",
            media_type="text/markdown",
            size_bytes=14,
            digest=digest_of(b"Share nothing."),
            text_digest=text_digest("Share nothing."),
            parser="by hand",
            source=said.source,
            attributes=said.attributes,
            findings=(),
            recorded_at=at,
            boundary_id=_id_of(shelf, INTERNAL),
            boundary=INTERNAL,
            period=Period(
                ordinal=0,
                valid_from=Instant(10),
                valid_to=Instant(20),
                review_by=Instant(15),
                recorded_from=at,
                recorded_to=FOREVER,
            ),
            begins=Instant(10),
            withdrawn=False,
            superseded=False,
            latest=True,
        )
    ]


def test_versions_of_a_document_are_numbered_from_one_in_the_order_of_publishing(shelf: Shelf) -> None:
    later, sooner = shelf.stage("Staged first."), shelf.stage("Staged second.")
    other = shelf.stage("Another document.", uri="other.md")
    assert [shelf.publish(staged)[0] for staged in (sooner, other, later, shelf.stage("Third."))] == [1, 1, 2, 3]
    assert [(each.number, each.superseded) for each in versions(shelf)] == [(3, False), (2, True), (1, True)]
    assert [each.number for each in versions(shelf, "other.md")] == [1]


def test_publishing_that_fails_leaves_the_version_staged(shelf: Shelf) -> None:
    def fail_at_the_end(staged: Staged) -> None:
        with recording(shelf.engine, shelf.clock.now(), "boundaries") as (session, at):
            boundary = boundaries.interned(session, INTERNAL, at=at)
            publishing.publish(session, staged.version, staged.submission, boundary, at=at)
            raise LookupError

    first = shelf.put("First.")
    _settle_tasks(shelf)
    before = versions(shelf), shelf.placements(first), rows_of(shelf.engine, "periods")
    staged = shelf.stage("Second.")
    with pytest.raises(LookupError):
        fail_at_the_end(staged)
    assert (versions(shelf), shelf.placements(first), rows_of(shelf.engine, "periods")) == before
    assert rows_of(shelf.engine, "index_tasks") == {}
    assert shelf.publish(staged)[0] == 2


def test_every_change_to_a_version_leaves_a_task_for_the_index(shelf: Shelf) -> None:
    staged = shelf.stage("First.", metadata=Metadata(uri="policy.md", valid_from=Instant(0)))
    changes: list[tuple[Callable[[], object], set[VersionId]]] = [
        (lambda: shelf.publish(staged), {staged.version}),
        (lambda: shelf.move(staged.version, RESTRICTED), {staged.version}),
        (lambda: shelf.correct(staged.version, Instant(1), FOREVER), {staged.version}),
        (lambda: shelf.withdraw(staged.version), {staged.version}),
        (lambda: shelf.move(staged.version, RESTRICTED), set()),
        (lambda: shelf.correct(staged.version, Instant(1), FOREVER), set()),
    ]
    for change, told_of in changes:
        change()
        assert _settle_tasks(shelf) == told_of
    second = shelf.stage("Second.")
    shelf.publish(second)
    assert _settle_tasks(shelf) == {staged.version, second.version}


def test_newest_version_is_what_a_submission_is_held_against_until_it_is_withdrawn(shelf: Shelf) -> None:
    first, second = shelf.stage("First."), shelf.stage("Second.")
    row = first.submission.document_row

    def latest() -> publishing.Latest | None:
        with reading(shelf.engine) as session:
            return publishing.latest(session, row)

    assert latest() is None
    shelf.publish(first)
    said = metadata_digest(Metadata(uri="policy.md"))
    assert latest() == publishing.Latest(number=1, digest=digest_of(b"First."), metadata_digest=said)
    shelf.publish(second)
    assert latest() == publishing.Latest(number=2, digest=digest_of(b"Second."), metadata_digest=said)
    shelf.withdraw(second.version)
    assert latest() is None


def test_spans_are_in_code_points_whatever_the_text(shelf: Shelf) -> None:
    """Astral characters are two units in UTF-16 and four bytes in UTF-8: both databases must count them as one."""
    text = "🗂 Ünïcödé\n日本語のポリシー 👩‍👩‍👧 e\u0301 \U0010ffff\u2028'quoted' \\ % _ 🔏"
    cuts = [(n, n + 1) for n in range(len(text))] + [(0, 0), (0, 9), (10, 20), (3, len(text)), (len(text), len(text))]
    version = shelf.put(text, cuts=cuts)
    assert [(chunk.span.start, chunk.span.end, chunk.text) for chunk in _now(shelf, version)] == [
        (start, end, text[start:end]) for start, end in cuts
    ]
    with reading(shelf.engine) as session:
        indexed = publishing.indexed_chunks(session, [version], MODEL)
        assert [chunk.text for chunk in indexed] == [text[start:end] for start, end in cuts]
        assert corpus.text_of(session, text_digest(text)) == text
        assert corpus.elements_of(session, version) == [
            Element(kind=ElementKind.PARAGRAPH, span=Span(start=start, end=end), page=1) for start, end in cuts
        ]


@given(text=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_stored_chunk_is_its_span_of_the_text(shelf: Shelf, text: str, data: st.DataObject) -> None:
    place = st.integers(0, len(text))
    cuts = [tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(place, place), min_size=1, max_size=4))]
    version = shelf.put(text, cuts=cuts)  # type: ignore[arg-type]
    stored = _now(shelf, version)
    assert [chunk.text for chunk in stored] == [text[start:end] for start, end in cuts]
    assert all(chunk.digest == text_digest(chunk.text) for chunk in stored)


def test_stored_chunk_carries_all_that_citing_it_needs(shelf: Shelf) -> None:
    staged = shelf.stage("Share nothing.", cuts=[(6, 13)], metadata=Metadata(uri="policy.md", valid_to=FOREVER))
    _, at = shelf.publish(staged, RESTRICTED)
    (chunk,) = shelf.chunks(staged.version)
    assert shelf.stored([chunk], valid_at=at, known_at=at) == {
        chunk: StoredChunk(
            id=chunk,
            version_id=staged.version,
            document=staged.submission.document,
            collection="policies",
            uri="policy.md",
            title="Policy",
            number=1,
            version_digest=digest_of(b"Share nothing."),
            boundary_id=_id_of(shelf, RESTRICTED),
            boundary=RESTRICTED,
            span=Span(start=6, end=13),
            text="nothing",
            digest=text_digest("nothing"),
            tokens=7,
            page=1,
            boxes=(),
            section=("Sharing",),
            valid_from=at,
            valid_to=FOREVER,
            begins=at,
            review_by=None,
            recorded_at=at,
            latest=True,
        )
    }


# In two times


def test_version_replaces_the_one_before_from_when_it_is_published(shelf: Shelf) -> None:
    first, second = shelf.stage("First."), shelf.stage("Second.")
    _, one = shelf.publish(first)
    _, two = shelf.publish(second)
    assert {
        (valid_at - one, known_at - one): _in_force(shelf, [first.version, second.version], valid_at, known_at)
        for valid_at, known_at in product((one - 1, one, two - 1, two, FOREVER - 1), (one - 1, one, two - 1, two))
    } == {
        (valid_at - one, known_at - one): (
            set()
            if known_at < one or valid_at < one
            else {first.version}
            if known_at < two or valid_at < two
            else {second.version}
        )
        for valid_at, known_at in product((one - 1, one, two - 1, two, FOREVER - 1), (one - 1, one, two - 1, two))
    }


@dataclass
class Replayed:
    """The same in the dumbest way: what happened, in order, over sets of moments. No period, no row, no range."""

    events: list[tuple[Instant, VersionId, frozenset[int], bool]] = field(default_factory=list)
    withdrawn: set[VersionId] = field(default_factory=set)

    def in_force(self, valid_at: int, known_at: int) -> set[VersionId]:
        true: dict[VersionId, frozenset[int]] = {}
        for at, version, moments, published in self.events:
            if at > known_at:
                break
            if published:
                true = {older: _yielding(theirs, moments) for older, theirs in true.items()}
            true[version] = moments
        return {version for version, moments in true.items() if valid_at in moments} - self.withdrawn


def _yielding(older: frozenset[int], newer: frozenset[int]) -> frozenset[int]:
    """What is left of the older: nothing that both would have, and nothing after a newer one that starts later."""
    if not older & newer:
        return older
    if min(newer) > min(older):
        return frozenset(moment for moment in older if moment < min(newer))
    return older - newer


@dataclass
class Bench:
    """One document, what is done to it, and the reference that has been told of the same."""

    shelf: Shelf
    uri: str
    reference: Replayed = field(default_factory=Replayed)
    made: list[VersionId] = field(default_factory=list)
    instants: list[Instant] = field(default_factory=list)

    def publish(self, valid_from: int, valid_to: int) -> None:
        said = Metadata(uri=self.uri, valid_from=Instant(valid_from), valid_to=Instant(valid_to))
        staged = self.shelf.stage("ab", cuts=[(0, 1), (1, 2)], metadata=said)
        _, at = self.shelf.publish(staged)
        self.made.append(staged.version)
        self._told(at, staged.version, valid_from, valid_to, published=True)

    def correct(self, which: int, valid_from: int, valid_to: int) -> None:
        version = self.made[which % len(self.made)]
        at = self.shelf.correct(version, Instant(valid_from), Instant(valid_to))
        self._told(at, version, valid_from, valid_to, published=False)

    def withdraw(self, which: int) -> None:
        version = self.made[which % len(self.made)]
        self.instants.append(self.shelf.withdraw(version))
        self.reference.withdrawn.add(version)

    def _told(self, at: Instant, version: VersionId, valid_from: int, valid_to: int, *, published: bool) -> None:
        moments = frozenset(moment for moment in MOMENTS if valid_from <= moment < valid_to)
        self.instants.append(at)
        self.reference.events.append((at, version, moments, published))

    def agrees(self) -> None:
        """At every pair of instants: SQL gives what the reference says, and the placements hold what SQL gives."""
        chunks = self.shelf.chunks(*self.made)
        placements = self.shelf.placements(*self.made)
        assert len({each.point for each in placements}) == len(placements)
        known = [PREPARED_AT, *(at for each in self.instants for at in (Instant(each - 1), each)), Instant(FOREVER - 1)]
        with reading(self.shelf.engine) as session:
            found = {
                (valid_at, known_at): corpus.stored_chunks(
                    session, chunks, valid_at=Instant(valid_at), known_at=known_at
                )
                for valid_at, known_at in product((-1, *MOMENTS), known)
            }
        for (valid_at, known_at), stored in found.items():
            assert {chunk.version_id for chunk in stored.values()} == self.reference.in_force(valid_at, known_at)
            assert len(stored) == 2 * len({chunk.version_id for chunk in stored.values()})
            assert set(stored) == {chunk_of(each.point) for each in placements if _holds(each, valid_at, known_at)}


HISTORIES: dict[str, list[tuple[str, *tuple[int, ...]]]] = {
    "one after the other": [("publish", 0, FOREVER), ("publish", 3, FOREVER), ("publish", 6, FOREVER)],
    "backdated before all": [("publish", 5, FOREVER), ("publish", 2, FOREVER)],
    "backdated and ending within": [("publish", 3, FOREVER), ("publish", 1, 5)],
    "backdated and ending before": [("publish", 5, FOREVER), ("publish", 1, 4)],
    "backdated up to the start": [("publish", 5, FOREVER), ("publish", 1, 5)],
    "same start": [("publish", 2, 7), ("publish", 2, 5)],
    "within": [("publish", 1, FOREVER), ("publish", 3, 5)],
    "covering": [("publish", 3, 5), ("publish", 1, 7)],
    "across two": [("publish", 0, 4), ("publish", 4, FOREVER), ("publish", 2, 6)],
    "never valid": [("publish", 0, FOREVER), ("publish", 5, 3)],
    "embargoed, then brought forward": [("publish", 0, FOREVER), ("publish", 6, FOREVER), ("correct", 1, 4, FOREVER)],
    "corrected to nothing and back": [("publish", 0, 6), ("correct", 0, 3, 3), ("correct", 0, 0, 6)],
    "corrected, then superseded": [("publish", 0, 6), ("correct", 0, 2, 7), ("publish", 4, FOREVER)],
    "corrected after it was superseded": [("publish", 0, 7), ("publish", 4, 7), ("correct", 0, 0, 2)],
    "withdrawn, and its successor not": [("publish", 0, FOREVER), ("withdraw", 0), ("publish", 4, FOREVER)],
    "withdrawn successor does not bring back": [("publish", 0, FOREVER), ("publish", 4, FOREVER), ("withdraw", 1)],
    "withdrawn twice": [("publish", 0, FOREVER), ("withdraw", 0), ("withdraw", 0)],
}


def run(bench: Bench, history: Sequence[tuple[str, *tuple[int, ...]]]) -> None:
    for step, *numbers in history:
        if step == "publish" or bench.made:
            getattr(bench, step)(*numbers)


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_what_was_in_force_is_known_at_every_pair_of_instants(
    shelf: Shelf, history: Sequence[tuple[str, *tuple[int, ...]]]
) -> None:
    bench = Bench(shelf, "policy.md")
    run(bench, history)
    bench.agrees()


_moment = st.integers(0, LAST_MOMENT)
_end = st.one_of(_moment, st.just(int(FOREVER)))
_which = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("publish"), _moment, _end),
    st.tuples(st.just("correct"), _which, _moment, _end),
    st.tuples(st.just("withdraw"), _which),
)


@given(history=st.lists(steps, min_size=2, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
def test_any_history_is_known_at_every_pair_of_instants_by_sql_and_by_placements(
    shelf: Shelf, history: Sequence[tuple[str, *tuple[int, ...]]]
) -> None:
    bench = Bench(shelf, f"document {next(shelf._numbers)}")
    run(bench, history)
    bench.agrees()


def test_superseding_and_correcting_close_rows_and_leave_them(shelf: Shelf) -> None:
    first = shelf.put("First.", valid_from=Instant(0))
    before = rows_of(shelf.engine, "periods")
    _, superseded = shelf.publish(shelf.stage("Second.", metadata=Metadata(uri="policy.md", valid_from=Instant(5))))
    between = rows_of(shelf.engine, "periods")
    assert unchanged(before, between, closed_at=superseded) == [True]
    corrected = shelf.correct(first, Instant(1), Instant(5), review_by=Instant(3))
    after = rows_of(shelf.engine, "periods")
    open_before = [row["recorded_to"] == FOREVER and row["version_id"] == first for row in between.values()]
    assert unchanged(between, after, closed_at=corrected) == open_before
    period = versions(shelf)[1].period
    assert (period.ordinal, period.valid_from, period.valid_to, period.review_by, period.recorded_from) == (
        2,
        1,
        5,
        3,
        corrected,
    )


def test_superseding_keeps_the_review_date(shelf: Shelf) -> None:
    said = Metadata(uri="policy.md", valid_from=Instant(0), review_by=Instant(4))
    shelf.publish(shelf.stage("First.", metadata=said))
    shelf.put("Second.", valid_from=Instant(5))
    assert [version.period.review_by for version in versions(shelf)] == [None, 4]


def test_document_that_always_was_and_ever_will_be_is_in_force_at_the_ends_of_time(shelf: Shelf) -> None:
    version = shelf.put(valid_from=BEGINNING)
    for valid_at in (BEGINNING, 0, FOREVER - 1):
        assert _in_force(shelf, [version], valid_at, FOREVER - 1) == {version}
    assert _in_force(shelf, [version], BEGINNING - 1, FOREVER - 1) == set()
    assert _in_force(shelf, [version], FOREVER, FOREVER - 1) == set()


def test_version_that_was_corrected_too_often_is_a_conflict(shelf: Shelf) -> None:
    version = shelf.put(valid_from=Instant(0))
    with shelf.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE periods SET ordinal = {PERIODS_PER_VERSION - 1}")
    with pytest.raises(Conflict):
        shelf.correct(version, Instant(1), FOREVER)
    assert [each.point for each in shelf.placements(version)] == [
        point_of(shelf.chunks(version)[0], PERIODS_PER_VERSION - 1)
    ]


# Withdrawn and moved


def test_withdrawn_version_is_in_force_at_no_instant_that_is_asked_for(shelf: Shelf) -> None:
    staged = shelf.stage()
    _, published = shelf.publish(staged)
    at = shelf.withdraw(staged.version)
    for known_at in (published, Instant(at - 1), at, FOREVER):
        assert _in_force(shelf, [staged.version], published, known_at) == set()
    (version,) = versions(shelf)
    assert version.withdrawn
    assert listed(shelf, INTERNAL) == [("policy.md", 1)]


def test_withdrawing_again_closes_the_row_before_and_leaves_it(shelf: Shelf) -> None:
    version = shelf.put()
    shelf.withdraw(version)
    before = rows_of(shelf.engine, "withdrawals")
    at = shelf.withdraw(version)
    assert unchanged(before, rows_of(shelf.engine, "withdrawals"), closed_at=at) == [True]


def test_moving_a_boundary_closes_the_row_before_and_leaves_it(shelf: Shelf) -> None:
    version = shelf.put(boundary=INTERNAL)
    before = rows_of(shelf.engine, "version_boundaries")
    at = shelf.move(version, RESTRICTED)
    after = rows_of(shelf.engine, "version_boundaries")
    assert unchanged(before, after, closed_at=at) == [True]
    assert [(row["boundary_id"], row["recorded_from"]) for row in after.values()][1:] == [
        (_id_of(shelf, RESTRICTED), at)
    ]


def test_moving_to_the_boundary_that_already_holds_records_nothing(shelf: Shelf) -> None:
    version = shelf.put(boundary=INTERNAL)
    before = rows_of(shelf.engine, "version_boundaries")
    shelf.move(version, INTERNAL)
    assert rows_of(shelf.engine, "version_boundaries") == before


def test_boundary_is_todays_whatever_instant_is_asked_for(shelf: Shelf) -> None:
    staged = shelf.stage()
    _, published = shelf.publish(staged, INTERNAL)
    shelf.move(staged.version, RESTRICTED)
    chunks = shelf.chunks(staged.version)
    (then,) = shelf.stored(chunks, valid_at=published, known_at=published).values()
    assert (then.boundary, then.boundary_id) == (RESTRICTED, _id_of(shelf, RESTRICTED))
    assert {each.boundary for each in shelf.placements(staged.version)} == {then.boundary_id}
    assert versions(shelf)[0].boundary == RESTRICTED
    assert (listed(shelf, INTERNAL), listed(shelf, RESTRICTED)) == ([], [("policy.md", 1)])


def test_placements_carry_what_questions_filter_by(shelf: Shelf) -> None:
    said = Metadata(uri="policies/policy.md", attributes={"region": ("EU", "US"), "kind": ("überall 🌍",)})
    staged = shelf.stage(metadata=said)
    shelf.publish(staged)
    (placement,) = shelf.placements(staged.version)
    assert placement.facets == (
        "attributes.kind=überall 🌍",
        "attributes.region=EU",
        "attributes.region=US",
        "uri=policies",
        "uri=policies/policy.md",
        "media_type=text/markdown",
    )


def test_version_that_does_not_exist_has_no_placements(shelf: Shelf) -> None:
    assert shelf.placements(VersionId(4711)) == []


# Listed


def test_documents_are_listed_by_uri_and_every_version_within_the_boundaries_newest_first(shelf: Shelf) -> None:
    for uri, boundary in (("b", INTERNAL), ("a", RESTRICTED), ("b", RESTRICTED), ("c", INTERNAL), ("b", INTERNAL)):
        shelf.put(f"{uri} again", uri=uri, boundary=boundary)
    assert listed(shelf, INTERNAL, RESTRICTED) == [("a", 1), ("b", 3), ("b", 2), ("b", 1), ("c", 1)]
    assert listed(shelf, INTERNAL) == [("b", 3), ("b", 1), ("c", 1)]
    assert listed(shelf) == []
    assert listed(shelf, INTERNAL, RESTRICTED, collection="policies") == listed(shelf, INTERNAL, RESTRICTED)
    assert listed(shelf, INTERNAL, RESTRICTED, collection="contracts") == []


def test_pages_count_documents_and_follow_on(shelf: Shelf) -> None:
    for uri in ("d", "b", "a", "b", "c", "b"):
        shelf.put(f"{uri} again", uri=uri)
    first = listed(shelf, INTERNAL, limit=2)
    second = listed(shelf, INTERNAL, limit=2, after=("policies", "b"))
    third = listed(shelf, INTERNAL, limit=2, after=("policies", "d"))
    assert (first, second, third) == ([("a", 1), ("b", 3), ("b", 2), ("b", 1)], [("c", 1), ("d", 1)], [])
    assert listed(shelf, INTERNAL, after=("contracts", "z"))[0] == ("a", 1)
    assert listed(shelf, INTERNAL, after=("procedures", "a")) == []


@pytest.mark.parametrize(
    ("containing", "found"),
    [
        ("REPORT", ["100%_report.md", "Ärztliche report 🩺.md"]),
        ("policy", ["100%_report.md", "Ärztliche report 🩺.md", "plain.md"]),
        ("%", ["100%_report.md"]),
        ("_", ["100%_report.md"]),
        ("0%_r", ["100%_report.md"]),
        ("\\", []),
        ("'", []),
        ("🩺", ["Ärztliche report 🩺.md"]),
        ("Ärztliche", ["Ärztliche report 🩺.md"]),
        ("ärztLICHE", ["Ärztliche report 🩺.md"]),
        ("nowhere", []),
    ],
)
def test_text_looked_for_is_taken_literally_and_in_any_case(shelf: Shelf, containing: str, found: list[str]) -> None:
    """In the uri or in the title, which is Policy throughout."""
    for uri in ("100%_report.md", "Ärztliche report 🩺.md", "plain.md"):
        shelf.put(uri, uri=uri)
    assert sorted(uri for uri, _ in listed(shelf, INTERNAL, containing=containing)) == sorted(found)


# Vectors


def test_vectors_are_kept_by_text_and_model(shelf: Shelf) -> None:
    version = shelf.put("ab", cuts=[(0, 1), (1, 2)])
    texts = {text_digest(text): text for text in (embedded_text("Policy", ("Sharing",), part) for part in "ab")}

    def missing(model: str = MODEL) -> dict[str, str]:
        with reading(shelf.engine) as session:
            return dict(publishing.unembedded(session, [version], model))

    assert missing() == texts
    first, second = texts
    with writing(shelf.engine) as session:
        publishing.add_embeddings(session, {first: Vector(b"\0\1\2\xff")}, MODEL)
    assert missing() == {second: texts[second]}
    assert missing("another model") == texts
    with writing(shelf.engine) as session:
        publishing.add_embeddings(session, {first: Vector(b"other"), second: Vector(b"second")}, MODEL)
        publishing.add_embeddings(session, {}, MODEL)
    with reading(shelf.engine) as session:
        kept = [chunk.vector for chunk in publishing.indexed_chunks(session, [version], MODEL)]
    assert kept == [b"\0\1\2\xff", b"second"]


def test_same_texts_are_embedded_by_eight_at_once(shelf: Shelf) -> None:
    vectors = {text_digest(f"{n}"): Vector(b"%d" % n) for n in range(100)}

    def embed(seed: int) -> None:
        shuffled = dict(Random(seed).sample(list(vectors.items()), len(vectors)))
        with writing(shelf.engine) as session:
            publishing.add_embeddings(session, shuffled, MODEL)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(embed, range(24))) == [None] * 24
    with shelf.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM embeddings").scalar_one() == 100


def _now(shelf: Shelf, version: VersionId) -> list[StoredChunk]:
    """What is in force of a version at the end of time, by chunk."""
    chunks = shelf.chunks(version)
    stored = shelf.stored(chunks, valid_at=FOREVER - 1, known_at=FOREVER - 1)
    return [stored[chunk] for chunk in chunks]


def _in_force(shelf: Shelf, some: Sequence[VersionId], valid_at: int, known_at: int) -> set[VersionId]:
    stored = shelf.stored(shelf.chunks(*some), valid_at=valid_at, known_at=known_at)
    return {chunk.version_id for chunk in stored.values()}


def _holds(placement: Placement, valid_at: int, known_at: int) -> bool:
    return (
        placement.valid_from <= valid_at < placement.valid_to
        and placement.recorded_from <= known_at < placement.recorded_to
    )


def _id_of(shelf: Shelf, boundary: Boundary) -> BoundaryId:
    with reading(shelf.engine) as session:
        return next(id for id, each in boundaries.boundaries_after(session, BoundaryId(0)) if each == boundary)


def _settle_tasks(shelf: Shelf) -> set[VersionId]:
    """The versions that the index is to be told of, now told."""
    with writing(shelf.engine) as session:
        tasks = publishing.index_tasks(session, limit=100)
        publishing.remove_index_tasks(session, [task for task, _, _ in tasks])
    return {version for _, version, _ in tasks}


def test_very_many_are_asked_for_in_statements_that_a_database_takes(sqlite_engine: Engine, clock: Clock) -> None:
    """SQLite as it is compiled elsewhere takes 32,766 parameters; here it is held to fewer."""
    shelf = Shelf(sqlite_engine, clock)
    first, second = (shelf.put(text, uri=text) for text in ("First.", "Second."))
    late = shelf.submit("First.")
    versions = [first, *(VersionId(id) for id in range(10_000, 11_000)), second]
    documents = [DocumentId("doc_1"), *(DocumentId(f"doc_x{id}") for id in range(1_000)), DocumentId("doc_2")]
    with reading(sqlite_engine) as session:
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 600)
        tasks = publishing.index_tasks_of(session, versions)
        assert [version for _, version, _ in tasks] == [first, second]
        assert [id for id, _, _ in corpus.boundaries_of(session, documents)] == ["doc_1", "doc_2"]
        coming = jobs.unpublished_metadata(session, documents, given_up=False)
        assert [job for _, job, _ in coming][-1] == late.job
        chunks = shelf.chunks(first, second)
        several = [*chunks, *(ChunkId(id) for id in range(10_000, 11_000))]
        stored = corpus.stored_chunks(session, several, valid_at=Instant(FOREVER - 1), known_at=Instant(FOREVER - 1))
        assert sorted(stored) == chunks
