"""Workers: whoever is gone loses what it had to whoever notices first, and a slow one takes nothing back."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.engine import Engine

from app.domain.instants import Instant
from app.domain.jobs import JobId, JobState
from app.store import jobs, workers
from app.store.database import clock_of, reading, writing
from app.store.workers import Self
from tests.conftest import STARTED_AT, Clock
from tests.store.building import Shelf

ONE = Self(name="one", incarnation="a", place="here")
TWO = Self(name="two", incarnation="b", place="there")
DEAD_AFTER_MS = 15_000
NOW = STARTED_AT
DEAD = Instant(NOW + DEAD_AFTER_MS + 1)


@pytest.fixture
def shelf(engine: Engine, clock: Clock) -> Shelf:
    return Shelf(engine, clock)


def silent_before(clock: Instant) -> Instant:
    return Instant(clock - DEAD_AFTER_MS)


def register(shelf: Shelf, me: Self, *, clock: Instant = NOW) -> str | None:
    with writing(shelf.engine) as session:
        return workers.register(session, me, clock=clock, silent_before=silent_before(clock), at=clock)


def beat(shelf: Shelf, me: Self, *, clock: Instant) -> bool:
    with writing(shelf.engine) as session:
        return workers.beat(session, me, clock=clock)


def bury(shelf: Shelf, *, clock: Instant) -> list[JobId]:
    with reading(shelf.engine) as session:
        anybody = workers.anybody_gone(session, silent_before=silent_before(clock))
    with writing(shelf.engine) as session:
        released = workers.bury(session, silent_before=silent_before(clock), at=clock)
    assert anybody or not released
    return released


def claimed(shelf: Shelf, me: Self, uris: Sequence[str]) -> list[JobId]:
    ids = [shelf.submit(uri).job for uri in uris]
    with writing(shelf.engine) as session:
        assert jobs.claim(session, me.batch("1"), max_jobs=9) == ids
    return ids


def states(shelf: Shelf, ids: Sequence[JobId]) -> set[JobState]:
    with reading(shelf.engine) as session:
        return {each.state for each in jobs.some_jobs(session, ids)}


def test_batch_of_a_worker_that_is_silent_is_queued_again_once(shelf: Shelf) -> None:
    register(shelf, ONE), register(shelf, TWO)
    ids = claimed(shelf, ONE, ["a", "b"])
    assert beat(shelf, TWO, clock=DEAD)
    with ThreadPoolExecutor(4) as threads:
        released = list(threads.map(lambda _: bury(shelf, clock=DEAD), range(4)))
    assert sorted(released) == [[], [], [], ids]
    assert states(shelf, ids) == {JobState.QUEUED}


def test_worker_that_beats_in_time_keeps_its_batch(shelf: Shelf) -> None:
    register(shelf, ONE)
    ids = claimed(shelf, ONE, ["a"])
    assert beat(shelf, ONE, clock=DEAD)
    assert bury(shelf, clock=DEAD) == []
    assert states(shelf, ids) == {JobState.RUNNING}


def test_worker_that_wakes_up_too_late_begins_anew_with_nothing(shelf: Shelf) -> None:
    register(shelf, ONE)
    ids = claimed(shelf, ONE, ["a"])
    assert bury(shelf, clock=DEAD) == ids
    assert not beat(shelf, ONE, clock=DEAD)
    assert register(shelf, ONE, clock=DEAD) is None
    assert beat(shelf, ONE, clock=DEAD)
    with reading(shelf.engine) as session:
        assert jobs.submissions_of(session, ONE.batch("1")) == []


def test_name_that_lives_elsewhere_is_refused_until_it_is_dead(shelf: Shelf) -> None:
    register(shelf, ONE)
    ids = claimed(shelf, ONE, ["a"])
    elsewhere = Self(name="one", incarnation="c", place="there")
    assert register(shelf, elsewhere) == "here"
    assert states(shelf, ids) == {JobState.RUNNING}
    assert register(shelf, elsewhere, clock=DEAD) is None
    assert states(shelf, ids) == {JobState.QUEUED}
    assert not beat(shelf, ONE, clock=DEAD)
    assert register(shelf, ONE, clock=DEAD) == "there"


def test_worker_that_is_started_again_at_its_place_waits_for_nobody(shelf: Shelf) -> None:
    register(shelf, ONE)
    ids = claimed(shelf, ONE, ["a"])
    assert register(shelf, Self(name="one", incarnation="c", place="here")) is None
    assert states(shelf, ids) == {JobState.QUEUED}


def test_worker_that_leaves_gives_its_batch_up_at_once(shelf: Shelf) -> None:
    register(shelf, ONE)
    ids = claimed(shelf, ONE, ["a"])
    with writing(shelf.engine) as session:
        workers.leave(session, ONE, at=NOW)
    assert states(shelf, ids) == {JobState.QUEUED}
    assert bury(shelf, clock=DEAD) == []


def test_batch_of_nobody_who_is_known_is_queued_again(shelf: Shelf) -> None:
    ids = claimed(shelf, ONE, ["a"])
    assert bury(shelf, clock=NOW) == ids


def test_clock_of_the_database_is_that_of_the_day(engine: Engine) -> None:
    with reading(engine) as session:
        first, second = clock_of(session), clock_of(session)
    assert Instant(1_700_000_000_000) < first <= second
