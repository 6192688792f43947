"""The database itself: migrated, prepared by several at once, recorded into on one rising clock, and gone."""

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert, inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlmodel import SQLModel

from app.domain.access import (
    ALL_STAFF,
    BOOTSTRAP_ADMINISTRATOR,
    BUILT_IN_GROUPS,
    Action,
    Boundary,
    Epochs,
    PrincipalRef,
    Purpose,
    Scope,
)
from app.domain.corpus import Digest, DocumentId, Finding, FindingCode, Metadata
from app.domain.errors import DatabaseUnavailable
from app.domain.instants import FOREVER, Instant
from app.domain.jobs import JobId, JobState
from app.domain.labels import Label, Level
from app.domain.policies import preceding
from app.domain.trace import TraceKind
from app.operations.prepare import prepare
from app.store import corpus, directory, duplicates, jobs, policies, registry
from app.store.database import migrate, open_engine, reading, recording, writing
from app.store.metadata import metadata_to_json
from app.store.tables import TextRow, TraceRow
from ingest.signing import signed
from tests.conftest import PREPARED_AT, STARTED_AT, Clock
from tests.store.migrating import migrations
from tests.store.together import meet_at, prepare_together

BY = PrincipalRef("user:registrar")
AUDIT = Purpose(id="audit", title="Audit", description="")


@pytest.fixture
def empty_engine(empty_database_url: str) -> Iterator[Engine]:
    opened = open_engine(empty_database_url)
    yield opened
    opened.dispose()


def test_migrations_make_every_table_of_the_models(empty_engine: Engine) -> None:
    migrate(empty_engine)
    assert set(inspect(empty_engine).get_table_names()) == {*SQLModel.metadata.tables, "alembic_version"}


def test_what_the_first_schema_held_is_read_after_every_migration_since(empty_engine: Engine) -> None:
    with empty_engine.begin() as connection:
        command.upgrade(migrations(connection), "20261122_recorded")
        _fill_first_schema(connection)
    migrate(empty_engine)
    with reading(empty_engine) as session:
        (version,) = corpus.versions_of(session, DocumentId("doc_1"))
        job = jobs.job(session, JobId("job_1"))
        (waiting,) = jobs.open_submissions(session, 1)
        collection = registry.collection(session, "policies")
        unsigned = duplicates.unsigned_texts(session, "minhash", after=Digest(""), limit=2)
        versions = policies.versions(session)
        deciding = policies.in_force(session)
        before = preceding(policies.activations(session))
    assert {(each.id, each.author, each.reason, each.state) for each in versions} == {
        (f"pol_{'a' * 26}", "user:steward", "first", "active"),
        (f"pol_{'b' * 26}", "user:steward", "second", "retired"),
    }
    assert deciding is not None
    assert before is not None
    assert (deciding.version, before.version) == (f"pol_{'a' * 26}", f"pol_{'b' * 26}")
    was_not_read = (Finding(code=FindingCode.PARTIAL, detail="Attachments were not read: x.bin."),)
    assert (version.number, version.title, version.findings) == (1, "Sharing", was_not_read)
    assert version.boundary == Boundary(collection="policies", label=Label(level=Level.INTERNAL))
    assert job is not None
    assert job.result is not None
    assert (job.collection, job.state, job.result.version, job.result.findings, job.result.attachments) == (
        ("policies", JobState.SUCCEEDED, 1, was_not_read, ())
    )
    assert (waiting.job, waiting.collection, waiting.metadata) == ("job_2", "policies", Metadata(uri="policy.md"))
    assert collection is not None
    assert collection.default_label == Label(level=Level.INTERNAL)
    assert [*unsigned] == ["sha256:text"]


def _fill_first_schema(connection: Connection) -> None:
    """A published document with a job that is over, and another that waits, as the first release wrote them."""
    tables = MetaData()
    tables.reflect(connection)
    recorded = {"recorded_from": 1, "recorded_to": FOREVER, "recorded_by": "user:steward"}
    said = metadata_to_json(Metadata(uri="policy.md"))
    narrow = dict[str, Any](jurisdictions=[], purposes=[])
    read = {"document": "doc_1", "version": 1, "unchanged": False, "findings": ["Attachments were not read: x.bin."]}
    version = dict[str, Any](document_id=1, number=1, published_at=1, title="Sharing", media_type="text/markdown")
    version |= {
        "size_bytes": 5,
        "digest": "sha256:x",
        "metadata_digest": "m",
        "text_digest": "sha256:text",
        "parser": "by hand",
    }
    version |= {"source": said["source"], "attributes": {}, "findings": read["findings"], "job_id": "job_1"}
    job = dict[str, Any](
        kind="ingest", stage=None, document_id=1, filename="policy.md", media_type=None, blob="sha256:x"
    )
    job |= {
        "metadata": said,
        "metadata_digest": "m",
        "submitted_by": "user:steward",
        "submitted_at": 1,
        "problem": None,
    }
    owned = {
        "name": "policies",
        "title": "Policies",
        "owners": [],
        "default_readers": [],
        "level": "internal",
        "categories": [],
    }
    rows: list[tuple[str, dict[str, Any]]] = [
        ("collections", {**owned, **narrow, "discoverable": False, "system_of_record": False, **recorded}),
        (
            "boundaries",
            {"id": 1, "digest": "b", "collection": "policies", "level": "internal", "categories": [], "readers": []},
        ),
        ("documents", {"id": 1, "public_id": "doc_1", "collection": "policies", "uri": "policy.md", "created_at": 1}),
        ("texts", {"digest": "sha256:text", "text": "Share"}),
        ("versions", {"id": 1, **version}),
        ("version_boundaries", {"version_id": 1, "boundary_id": 1, **recorded}),
        ("periods", {"version_id": 1, "ordinal": 0, "valid_from": 1, "valid_to": FOREVER, **recorded}),
        ("jobs", {**job, "id": "job_1", "state": "succeeded", "result": read, "ended_at": 2}),
        ("jobs", {**job, "id": "job_2", "state": "queued", "result": None}),
        *(("policy_texts", {"digest": digest * 64, "cedar": digest, "created_at": 1}) for digest in "ab"),
        *(
            (
                "policy_activations",
                {"slot": "institution", "digest": digest * 64, "reason": why, **recorded, "recorded_to": to},
            )
            for digest, why, to in (("a", "first", 1), ("b", "second", 1), ("a", "again", FOREVER))
        ),
    ]
    rows[1][1].update(narrow, denied=[], consents=[], created_at=1)
    for name, row in rows:
        connection.execute(tables.tables[name].insert().values(row))


def test_going_back_leaves_no_key_that_is_good_for_more_and_no_trace_of_an_unknown_kind(engine: Engine) -> None:
    """Nor anything that keeps it from coming forward again."""
    limits: list[dict[str, Any]] = [
        {},
        {"scope": Scope(actions=frozenset({Action.ASK}))},
        {"scope": Scope(collections=frozenset({"policies"}))},
        {"expires": FOREVER},
    ]
    with recording(engine, STARTED_AT, "directory") as (session, at):
        for number, limit in enumerate(limits):
            id, digest = f"key_{number}", f"digest-{number}"
            directory.record_key(
                session, id=id, digest=digest, principal=BOOTSTRAP_ADMINISTRATOR, at=at, by=BY, **limit
            )
    with engine.begin() as connection:
        told = {"at": STARTED_AT, "subject": "user:ana", "proof": "key", "outcome": "answered"}
        for kind in (TraceKind.RETRIEVE, TraceKind.ANSWER, TraceKind.EVALUATION):
            row = TraceRow(id=f"tr_{kind}", kind=kind, request={}, response={}, grounds={}, actor=None, **told)
            connection.execute(insert(TraceRow).values(row.model_dump(exclude={"seq"})))
    with engine.begin() as connection:
        command.downgrade(migrations(connection), "20261122_originals")
        assert connection.execute(text("SELECT id FROM traces")).scalars().all() == ["tr_retrieve"]  # of known kinds
        good = connection.execute(text(f"SELECT id FROM keys WHERE recorded_to = {FOREVER}")).scalars().all()
    assert good == ["key_0"]
    migrate(engine)
    with reading(engine) as session:
        assert directory.key_by_digest(session, "digest-0")[0] is not None
        assert directory.key_by_digest(session, "digest-1")[0] is None
        assert policies.in_force(session) is not None


def test_migrated_schema_is_the_one_that_the_models_describe(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_migrated_indexes_are_unique_over_what_holds_today(engine: Engine) -> None:
    """Autogeneration does not compare the condition of a partial index: this does."""
    wanted = {
        f"uq_{table.name}_open"
        for table in SQLModel.metadata.sorted_tables
        if any(column.name == "recorded_to" for column in table.columns)
    } | {"uq_provisioned_unique_name"}
    catalogue = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public'",
    }
    with engine.connect() as connection:
        found = {row.name: row.sql for row in connection.execute(text(catalogue[engine.dialect.name]))}
    partial = {name for name, sql in found.items() if "UNIQUE" in sql and "WHERE" in sql and str(FOREVER) in sql}
    assert partial == wanted


def test_tables_that_the_models_count_up_for_good_do_so_in_the_migrated_schema(sqlite_engine: Engine) -> None:
    """Nor does it compare AUTOINCREMENT, without which SQLite gives a deleted row's id again."""
    wanted = {
        table.name for table in SQLModel.metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"]
    }
    with sqlite_engine.connect() as connection:
        found = connection.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")).scalars()
        assert set(found) == wanted == {"chunks", "index_tasks", "versions"}


def test_preparing_again_changes_nothing(empty_engine: Engine) -> None:
    prepare(empty_engine, default_policies="one", now=PREPARED_AT)
    before = _everything(empty_engine)
    prepare(empty_engine, default_policies="another", now=STARTED_AT)
    after = _everything(empty_engine)
    assert before.pop("epochs") != after.pop("epochs")
    assert before == after


def test_preparing_by_four_processes_at_once_lays_everything_down_once(empty_database_url: str) -> None:
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawned, initializer=meet_at, initargs=(spawned.Barrier(4),)) as processes:
        assert list(processes.map(prepare_together, [empty_database_url] * 4)) == [None] * 4
    opened = open_engine(empty_database_url)
    try:
        with reading(opened) as session:
            known = [each.ref for each in directory.principals(session)]
            active = registry.active_policies(session)
        tables = _everything(opened)
    finally:
        opened.dispose()
    assert known == sorted([*BUILT_IN_GROUPS, BOOTSTRAP_ADMINISTRATOR])
    assert active == "permit nothing"
    assert {name: len(tables[name]) for name in ("epochs", "principals", "memberships", "policy_activations")} == {
        "epochs": 1,
        "principals": 7,
        "memberships": 1,
        "policy_activations": 1,
    }


def test_clock_is_started_once_by_whoever_comes_first(empty_engine: Engine) -> None:
    migrate(empty_engine)
    together = threading.Barrier(8)

    def begin(_: int) -> None:
        together.wait(60)
        with writing(empty_engine) as session:
            directory.begin_epochs(session)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(begin, range(8))) == [None] * 8
    assert _epochs(empty_engine) == Epochs(policies=1, directory=1, boundaries=1, grants=1)


def test_recorded_instants_follow_the_clock_while_it_rises(engine: Engine) -> None:
    assert [_record(engine, Instant(STARTED_AT + n)) for n in (0, 5, 6)] == [STARTED_AT, STARTED_AT + 5, STARTED_AT + 6]


def test_recorded_instants_rise_when_the_clock_stands_still_or_goes_back(engine: Engine) -> None:
    clocks = [STARTED_AT, STARTED_AT, STARTED_AT - 60_000, Instant(0), STARTED_AT + 1, STARTED_AT + 10]
    recorded = [_record(engine, Instant(now)) for now in clocks]
    assert recorded == [STARTED_AT + n for n in (0, 1, 2, 3, 4, 10)]


def test_recordings_by_eight_threads_each_get_an_instant_of_their_own(engine: Engine) -> None:
    before = _epochs(engine)

    def record_some(purposes: list[Purpose]) -> list[Instant]:
        instants = []
        for purpose in purposes:
            with recording(engine, STARTED_AT, "policies") as (session, at):
                registry.record_purpose(session, purpose, at=at, by=BY)
            instants.append(at)
        return instants

    shares = [
        [Purpose(id=f"purpose-{thread}-{n}", title=f"{n}", description="") for n in range(8)] for thread in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        recorded = list(threads.map(record_some, shares))

    assert all(instants == sorted(instants) for instants in recorded)
    assert sorted(at for instants in recorded for at in instants) == [Instant(STARTED_AT + n) for n in range(64)]
    with reading(engine) as session:
        assert set(registry.purposes(session)) == {purpose.id for share in shares for purpose in share}
    assert _epochs(engine) == Epochs(
        policies=before.policies + 64, directory=before.directory, boundaries=before.boundaries, grants=before.grants
    )


@pytest.mark.parametrize(
    "moving", [(), ("policies",), ("directory",), ("boundaries",), ("policies", "directory", "boundaries")]
)
def test_recording_moves_the_counters_that_it_names_and_no_other(engine: Engine, moving: tuple[Any, ...]) -> None:
    before = _epochs(engine)
    with recording(engine, STARTED_AT, *moving):
        pass
    assert _epochs(engine) == Epochs(
        policies=before.policies + ("policies" in moving),
        directory=before.directory + ("directory" in moving),
        boundaries=before.boundaries + ("boundaries" in moving),
        grants=before.grants + ("grants" in moving),
    )


def test_writing_moves_no_counter(engine: Engine) -> None:
    before = _everything(engine)["epochs"]
    with writing(engine):
        pass
    assert _everything(engine)["epochs"] == before


def test_recording_that_fails_leaves_nothing(engine: Engine, clock: Clock) -> None:
    def fail_at_the_end() -> None:
        with recording(engine, clock.now(), "policies") as (session, at):
            registry.record_purpose(session, AUDIT, at=at, by=BY)
            session.flush()
            raise LookupError

    before = _everything(engine)
    with pytest.raises(LookupError):
        fail_at_the_end()
    assert _everything(engine) == before


def test_recording_that_is_open_is_not_seen(engine: Engine, clock: Clock) -> None:
    with recording(engine, clock.now(), "policies") as (session, at):
        registry.record_purpose(session, AUDIT, at=at, by=BY)
        session.flush()
        with reading(engine) as other:
            assert registry.purposes(other) == {}
    with reading(engine) as other:
        assert registry.purposes(other) == {"audit": AUDIT}


def test_reading_sees_one_state_whatever_is_recorded_meanwhile(engine: Engine, clock: Clock) -> None:
    with reading(engine) as session:
        before = directory.epochs_and_instant(session)
        with recording(engine, clock.now(), "directory") as (other, at):
            registry.record_purpose(other, AUDIT, at=at, by=BY)
        assert registry.purposes(session) == {}
        assert directory.epochs_and_instant(session) == before
    with reading(engine) as session:
        assert registry.purposes(session) == {"audit": AUDIT}


def test_state_holds_once_at_a_time_even_against_a_careless_writer(engine: Engine) -> None:
    """The database itself refuses a second open row: history cannot fork."""
    with pytest.raises(sqlalchemy.exc.IntegrityError), writing(engine) as session:
        session.execute(
            text(
                "INSERT INTO principals (ref, display_name, clearance, categories, jurisdictions, purposes, "
                "collections, active, may_assert, recorded_from, recorded_to, recorded_by) "
                "SELECT ref, display_name, clearance, categories, jurisdictions, purposes, collections, active, "
                "may_assert, recorded_from, recorded_to, recorded_by FROM principals WHERE ref = :ref"
            ),
            {"ref": ALL_STAFF},
        )


def test_server_that_is_not_there_is_unavailable(postgres: Any) -> None:
    _assert_unavailable(open_engine("postgresql+psycopg://postgres@127.0.0.1:1/muniment?connect_timeout=1"))
    _assert_unavailable(open_engine(postgres.url("no_such_database")))


def test_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    _assert_unavailable(open_engine(f"sqlite:///{tmp_path / 'gone' / 'muniment.sqlite'}"))


def test_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "muniment.sqlite").write_bytes(b"not a database" * 1000)
    _assert_unavailable(open_engine(f"sqlite:///{tmp_path / 'muniment.sqlite'}"))


def test_connections_cut_by_the_server_are_unavailable_once_and_then_replaced(postgresql_engine: Engine) -> None:
    def read() -> None:
        with reading(postgresql_engine) as session:
            directory.epochs_and_instant(session)
            _cut_others(postgresql_engine)
            directory.epochs_and_instant(session)

    def record() -> None:
        with recording(postgresql_engine, STARTED_AT):
            _cut_others(postgresql_engine)

    with pytest.raises(DatabaseUnavailable):
        read()
    with pytest.raises(DatabaseUnavailable):
        record()
    _cut_others(postgresql_engine)
    with reading(postgresql_engine) as session:
        assert directory.epochs_and_instant(session)[1] == PREPARED_AT


def test_waiting_in_vain_for_a_connection_is_unavailable(database_url: str) -> None:
    crowded = sqlalchemy.create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with reading(crowded) as session:
        directory.epochs_and_instant(session)
        _assert_unavailable(crowded)
    crowded.dispose()


def _record(engine: Engine, now: Instant) -> Instant:
    with recording(engine, now) as (_, at):
        return at


def _epochs(engine: Engine) -> Epochs:
    with reading(engine) as session:
        return directory.epochs_and_instant(session)[0]


def _everything(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select().order_by(*table.primary_key))]
            for table in SQLModel.metadata.sorted_tables
        }


def _assert_unavailable(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailable), reading(engine) as session:
        directory.epochs_and_instant(session)
    with pytest.raises(DatabaseUnavailable), recording(engine, STARTED_AT):
        pass


def _cut_others(engine: Engine) -> None:
    """As when the server goes down: every other connection to this database ends."""
    cutter = sqlalchemy.create_engine(engine.url)
    with cutter.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    cutter.dispose()


def test_a_text_that_is_being_erased_is_not_signed(postgresql_engine: Engine) -> None:
    """SQLite has one who writes at a time."""
    texts = [{"digest": digest, "text": digest} for digest in ("goes", "stays")]
    erased = threading.Event()

    def erase() -> None:
        with writing(postgresql_engine) as session:
            session.execute(text("DELETE FROM texts WHERE digest = 'goes'"))
            erased.set()
            time.sleep(0.3)

    with writing(postgresql_engine) as session:
        session.execute(insert(TextRow), texts)
    with ThreadPoolExecutor() as others:
        erasing = others.submit(erase)
        assert erased.wait(10)
        with writing(postgresql_engine) as session:
            there = duplicates.still_there(session, [Digest(each["digest"]) for each in texts])
            for digest in there:
                duplicates.add_signature(session, digest, signed(digest))
        erasing.result()

    assert there == {"stays"}
