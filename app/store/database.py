"""The database: opening it, reading it, and recording into it on one ever-rising clock."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    any_,
    bindparam,
    case,
    create_engine,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import SQLModel, col

from app.domain.errors import DatabaseUnavailable, Invalid
from app.domain.instants import Instant
from app.store.tables import EpochsRow

T = TypeVar("T")

Moving = Literal["policies", "directory", "boundaries", "grants"]

_BUSY_TIMEOUT_S = 30
_BUSY_PAUSE_S = 0.01
_WRITING = "muniment_writing"
"""Execution option: the transaction will write, so SQLite takes its lock at BEGIN and cannot fail later."""


def open_engine(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL, with what each needs to be durable and to wait rather than fail.

    Raises `Invalid` for a URL that is neither's.
    """
    if not url.startswith(("sqlite://", "postgresql+psycopg://")):
        raise Invalid("MUNIMENT_DATABASE_URL is no database that is known here: use sqlite:///... or postgresql://...")
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            connect_args={"timeout": _BUSY_TIMEOUT_S},
            pool_size=20,
            max_overflow=20,
            pool_use_lifo=True,  # what was used last has its pages and statements at hand
            hide_parameters=True,  # an error is logged, and kept by DBOS; what it was about is not
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(url, pool_size=20, max_overflow=20, pool_pre_ping=True, hide_parameters=True)


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    _write_ahead(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "cache_size = -16000", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("lower", 1, _lowered, deterministic=True)


def _lowered(text: str | None) -> str | None:
    """SQLite's own `lower` knows ASCII alone."""
    return text.lower() if text is not None else None


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the file to WAL. SQLite does not wait its busy timeout for that when two open a new file at once: we do."""
    give_up_at = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(_BUSY_PAUSE_S)


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def migrate(engine: Engine) -> None:
    """Bring the schema up to the newest migration. Safe to call at every start, and from several processes."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with (
        _translated(),
        engine.connect().execution_options(**{_WRITING: True}) as connection,
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7243391)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the database and writes nothing. Raises `DatabaseUnavailable`."""
    with _translated(), Session(engine) as session:
        if engine.dialect.name == "postgresql":  # where by default each statement sees a state of its own
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A transaction for work in progress and traces: what is never asked for as of an instant."""
    with (
        _translated(),
        engine.connect().execution_options(**{_WRITING: True}) as connection,
        Session(connection, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def recording(engine: Engine, now: Instant, *moving: Moving) -> Iterator[tuple[Session, Instant]]:
    """A transaction that changes recorded history, and the instant at which all of it is recorded.

    INVARIANT: recordings are one after the other, and each instant is later than all before it, whatever the clocks
    of several machines say. The counters named in `moving` go up with it, so caches notice.
    """
    with writing(engine) as session:
        later = col(EpochsRow.instant) + 1
        session.execute(
            update(EpochsRow).values(
                instant=case((later > now, later), else_=now),
                **{name: getattr(EpochsRow, name) + 1 for name in moving},
            )
        )
        yield session, Instant(session.execute(text("SELECT instant FROM epochs")).scalar_one())


def clock_of(session: Session) -> Instant:
    """What the database's own clock shows: one for all machines that share it. Not the recorded clock."""
    now = _CLOCKS[session.get_bind().dialect.name]
    return Instant(session.execute(text(now)).scalar_one())


_CLOCKS = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}


def rewritten(engine: Engine) -> str:
    """Rewrite the database's files without what was deleted from them; what that guarantees, in a sentence.

    SQLite's `secure_delete` overwrites what is deleted, but not the copies that balancing pages leaves in their gaps:
    four texts of three hundred were still in a file of 19 MB. So the file is rebuilt, and the log is cut to nothing.
    Waits for readers of the log; raises `DatabaseUnavailable` if they do not end.
    """
    with _translated():
        if engine.dialect.name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM"))
            return (
                "PostgreSQL: the rows were deleted and vacuumed. The server writes over their space and its "
                "write-ahead log in its own time."
            )
        _rebuilt(engine)
    return "SQLite: deleted content is overwritten, the file was rebuilt without it, and the log was cut to nothing."


def _rebuilt(engine: Engine) -> None:
    connection = engine.raw_connection()  # SQLAlchemy's own would begin a transaction
    try:
        connection.cursor().execute("VACUUM")
        give_up_at = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            row = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if row is not None and row[0] == 0:
                return
            if time.monotonic() > give_up_at:
                raise DatabaseUnavailable("The database's log is being read all the time. Try again in a moment.")
            time.sleep(_BUSY_PAUSE_S)
    except sqlite3.OperationalError as error:
        raise DatabaseUnavailable("The database is busy. Try again in a moment.") from error
    finally:
        connection.close()


_IN_ONE_STATEMENT = 500


def in_pieces(items: Iterable[T]) -> Iterator[list[T]]:
    """These items, as many at a time as one statement may name: SQLite takes 32,766 parameters, PostgreSQL 65,535."""
    several = list(items)
    for start in range(0, len(several), _IN_ONE_STATEMENT):
        yield several[start : start + _IN_ONE_STATEMENT]


def one_of(column: Any, name: str, dialect: str) -> ColumnElement[bool]:
    """The condition that a column is among the items of the parameter of that name: a list, however long.

    SQLAlchemy's own `IN` has a parameter for each item, and so writes the statement anew each time it is sent.
    """
    if dialect == "postgresql":
        among: ColumnElement[bool] = column == any_(bindparam(name, type_=ARRAY(column.type)))
        return among
    item = func.json_each(bindparam(name, type_=JSON)).table_valued("value")
    listed: ColumnElement[bool] = column.in_(select(item.c.value))
    return listed


def insert_absent(session: Session, table: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows whose key is not there yet, whoever inserts the same at the same time.

    Give the rows in the order of their key: two that insert the same ones in different orders block each other.
    """
    if not rows:
        return
    session.flush()
    connection = session.connection()  # without the unit of work, which is twice as dear
    connection.execute(_absent(connection.dialect.name, str(table.__tablename__)), rows)


@cache
def _absent(dialect: str, table: str) -> sqlite.Insert | postgresql.Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(SQLModel.metadata.tables[table]).on_conflict_do_nothing()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, NoConnectionFree) as error:
        raise DatabaseUnavailable("The database cannot be reached or is busy. Try again in a moment.") from error
    except DBAPIError as error:
        if type(error) is DatabaseError:  # not one of its kinds: what SQLite says of a file that is damaged
            raise DatabaseUnavailable(
                "The database cannot be read. Whoever runs this server must see to it."
            ) from error
        if error.connection_invalidated:
            raise DatabaseUnavailable("The database connection was lost. Try again in a moment.") from error
        raise
