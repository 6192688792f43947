"""Sources and their runs in the database: one worker a run, for as long as it lives, and one run for each due time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy.engine import Engine

from app.domain.access import PrincipalRef
from app.domain.corpus import Metadata
from app.domain.instants import Instant
from app.domain.jobs import Problem
from app.domain.runs import ItemOutcome, KnownItem, Registrant, RunId, RunState, SourceId
from app.domain.sources import Access, Acl, AclEntry, Cursor, ForeignKind, SourceName, SourceSettings
from app.store import runs, sources
from app.store.database import reading, recording, writing
from tests.conftest import STARTED_AT, Clock
from tests.store.building import Shelf

LENA = Registrant(subject=PrincipalRef("user:lena"))
SHELF = SourceSettings(
    name=SourceName("shelf"),
    collection="policies",
    connector="folder",
    location="/srv/shelf",
    options={"watch": "true"},
    schedule="0 3 * * *",
    namespace="entra",
)
LATER = Instant(STARTED_AT + 60_000)
LATEST = Instant(LATER + 60_000)


def _registered(engine: Engine, settings: SourceSettings = SHELF) -> SourceId:
    with recording(engine, STARTED_AT) as (session, at):
        return sources.record_source(session, settings, LENA, next_run_at=LATER, at=at)


def _queued(engine: Engine, source: SourceId, id: str) -> RunId:
    with writing(engine) as session:
        runs.add_run(session, RunId(id), source, triggered_by="schedule", confirmed=False, at=STARTED_AT)
    return RunId(id)


def _claim(engine: Engine, claim: str, *, now: Instant = STARTED_AT) -> RunId | None:
    with writing(engine) as session:
        run = runs.claim(session, claim, now=now, until=Instant(now + 30_000))
    return run.id if run else None


def test_a_source_is_as_it_was_registered_last_and_its_history_stays(engine: Engine) -> None:
    id = _registered(engine)
    with recording(engine, LATER) as (session, at):
        paused = SourceSettings(name=SHELF.name, collection="policies", connector="folder", location="/x", paused=True)
        assert sources.record_source(session, paused, LENA, next_run_at=None, at=at) == id
    with reading(engine) as session:
        found = sources.registered(session, "policies", SHELF.name)
        assert found is not None
        assert (found.settings, found.registrant, found.next_run_at) == (paused, LENA, None)
    with recording(engine, LATEST) as (session, at):
        sources.remove_source(session, id, at=at)
        assert sources.registered(session, "policies", SHELF.name) is None
        assert [each.settings for each in sources.registered_ever(session)] == [paused]


def test_a_run_is_claimed_by_one_of_many_workers(engine: Engine) -> None:
    run = _queued(engine, _registered(engine), "run_1")
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda n: _claim(engine, f"worker-{n}:x"), range(8)))
    assert sorted(claimed, key=str) == [*[None] * 7, run]


def test_a_run_whose_worker_gives_no_sign_of_life_is_another_ones_and_the_first_is_told_so(engine: Engine) -> None:
    run = _queued(engine, _registered(engine), "run_1")
    assert _claim(engine, "one:x") == run
    assert _claim(engine, "two:x") is None
    assert _claim(engine, "two:x", now=LATER) == run
    with writing(engine) as session:
        assert runs.renew(session, run, "one:x", until=LATEST) is None
        assert runs.renew(session, run, "two:x", until=LATEST) is False
        runs.cancel(session, run, at=LATER)
        assert runs.renew(session, run, "two:x", until=LATEST) is True


def test_a_worker_that_is_started_again_lets_go_of_what_it_had_and_of_nothing_else(engine: Engine) -> None:
    one, two = _registered(engine), _registered(engine, replace(SHELF, name=SourceName("other")))
    run, other = _queued(engine, one, "run_1"), _queued(engine, two, "run_2")
    assert (_claim(engine, "worker-1:x"), _claim(engine, "worker-10:x")) == (run, other)
    with writing(engine) as session:
        runs.release(session, "worker-1")
    assert (_claim(engine, "worker-1:y"), _claim(engine, "worker-1:z")) == (run, None)


def test_a_second_run_of_a_source_waits_until_the_first_has_listed(engine: Engine) -> None:
    source = _registered(engine)
    first, second = _queued(engine, source, "run_1"), _queued(engine, source, "run_2")
    assert (_claim(engine, "one:x"), _claim(engine, "two:x")) == (first, None)
    with writing(engine) as session:
        runs.listed(session, first, at=LATER)
    assert _claim(engine, "two:x") == second


def test_a_due_time_is_seen_by_one_of_many_that_look(engine: Engine) -> None:
    id = _registered(engine)

    def look(_: int) -> int:
        with writing(engine) as session:
            due = sources.due(session, LATER)
            for each in due:
                sources.set_next_run(session, each.id, LATEST)
            return len(due)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(look, range(8))) == 1
    with reading(engine) as session:
        assert not sources.anything_due(session, LATER)
        found = sources.registered_by_id(session, id)
        assert found is not None
        assert found.next_run_at == LATEST


def test_a_look_of_a_watched_place_is_new_once(engine: Engine) -> None:
    id = _registered(engine)
    with writing(engine) as session:
        assert [sources.note_watched(session, id, look) for look in ("a", "a", "b", "a")] == [True, False, True, True]
        assert sources.watched(session, id) == "a"


def test_a_cursor_holds_under_the_settings_that_it_was_kept_with(engine: Engine) -> None:
    id = _registered(engine)
    with writing(engine) as session:
        sources.keep_cursor(session, id, Cursor("c"), "these")
        assert (sources.kept_cursor(session, id, "these"), sources.kept_cursor(session, id, "others")) == ("c", None)


def test_what_is_remembered_of_an_item_is_read_back_whole(engine: Engine, clock: Clock) -> None:
    submission = Shelf(engine, clock).submit("a.md")
    id = _registered(engine)
    acl = Acl(entries=frozenset({AclEntry(access=Access.DENY, kind=ForeignKind.USER, value="é")}))
    item = KnownItem(
        key="a.md",
        uri="x/a.md",
        token="t",
        etag=None,
        digest=None,
        said="s",
        valid_from=STARTED_AT,
        acl=acl,
        document=submission.document,
        run=RunId("run_1"),
        gone=False,
    )
    with writing(engine) as session:
        sources.remember(session, id, item)
        assert sources.known_items(session, id, ["a.md", "b.md"]) == {"a.md": item}
        assert sources.items_not_seen(session, id, RunId("run_2")) == [item]
        assert sources.items_not_seen(session, id, RunId("run_1")) == []
        assert sources.holder_of_uri(session, "policies", "a.md") == (id, "a.md")
        assert not sources.others_with_document(session, id, "a.md", submission.document)
        assert sources.others_with_document(session, id, "b.md", submission.document)
        assert sources.items_with_acl(session, [id]) == [item]


def test_a_run_ends_when_its_jobs_are_over_and_keeps_what_was_noted(engine: Engine) -> None:
    id = _queued(engine, _registered(engine), "run_1")
    assert _claim(engine, "one:x") == id
    said, why = Metadata(uri="a.md"), Problem(kind="too-large", detail="It is large.")
    with writing(engine) as session:
        for _ in range(2):
            runs.note(
                session,
                id,
                key="a.md",
                token="t",
                uri="a.md",
                outcome=ItemOutcome.REFUSED,
                document=None,
                stated=said,
                problem=why,
            )
        assert runs.finish(session, at=LATER) == []
        runs.listed(session, id, at=LATER)
        assert runs.finish(session, at=LATEST) == [id]
        assert runs.finish(session, at=LATEST) == []
        [noted] = runs.items_of(session, id)
        assert (noted.uri, noted.outcome, noted.stated, noted.problem) == ("a.md", ItemOutcome.REFUSED, said, why)
        run = runs.run(session, id)
    assert run is not None
    assert (run.state, run.ended_at) == (RunState.SUCCEEDED, LATEST)
