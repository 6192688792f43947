"""The index in a process of its own: the server of it, and the `Index` port as its client.

Apart from every other process because the engine stops all Python threads while it works, and because one process at
a time may hold the folder: API and worker share this one. They speak msgpack over a unix socket, never pickle.

    python -m app.adapters.index_process --folder F --address A --dimension N     the key: see `AUTHKEY_VARIABLE`
"""

import argparse
import logging
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgpack  # type: ignore[import-untyped]

from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.errors import IndexUnavailable
from app.domain.evidence import Hit, Hits, IndexEntry, IndexQuery, Lexical, Placement, PointId, Purged, Vector
from app.domain.instants import Instant

if TYPE_CHECKING:
    from app.adapters.edge_index import EdgeIndex

_Item = TypeVar("_Item")

AUTHKEY_VARIABLE: Final = "MUNIMENT_INDEX_AUTHKEY"
"""Environment variable with the shared key in hex. Unset, the key is the first line of standard input."""

_ADDRESS_BYTES: Final = 100
"""A unix socket's path holds 107 bytes on Linux and 103 on macOS."""

_TIDY_AFTER_POINTS: Final = 10_000
"""Optimize at once after so many written points: a pause of about 1.5 s each, instead of a longer one later."""

_TIDY_WHEN_IDLE_S: Final = 5.0
_LOOK_EVERY_S: Final = 1.0
_BETWEEN_STEPS_S: Final = 0.02
"""Others get their turn between two steps of laying out all points."""

_PIECE: Final = 500
"""Points a message: between the pieces of a large write, searches get their turn."""

_SHORTEST_KEY: Final = 16

_log = logging.getLogger(__name__)


def index_address(home: Path, name: str = "index") -> Path:
    """Where the socket goes: in the home, or in a private temporary folder when that path is too long for one."""
    address = home / "run" / f"{name}.sock"
    if len(os.fsencode(address.absolute())) <= _ADDRESS_BYTES:
        address.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return address.absolute()
    return Path(tempfile.mkdtemp(prefix="muniment-", dir="/tmp")) / f"{name}.sock"


class ProcessIndex:
    """The `Index` port over the socket of `serve_index`; safe to share between threads.

    A call on a connection that broke is made once more on a new one, since every write may be repeated: the index
    process can be restarted under it. `patience_s` is how long a refused connection is tried again, `timeout_s` how
    long an answer may take: longer than the pause that `EdgeIndex.optimize` makes. Either past: `IndexUnavailable`.
    """

    def __init__(self, address: Path, authkey: bytes, *, timeout_s: float = 30.0, patience_s: float = 0.0) -> None:
        self._address = address
        self._authkey = authkey
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._idle: list[Connection[Any, Any]] = []
        self._lock = threading.Lock()

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        for piece in _pieces(entries):
            self._call("upsert", [_entry_row(entry) for entry in piece])

    def move(self, placements: Sequence[Placement]) -> None:
        for piece in _pieces(placements):
            self._call("move", [_placement_row(placement) for placement in piece])

    def remove(self, points: Sequence[PointId]) -> None:
        for piece in _pieces(points):
            self._call("remove", list(piece))

    def purge(self, points: Sequence[PointId]) -> Purged:
        """The index process copies a piece a call, so others are answered meanwhile. See `EdgeIndex.begin_purge`."""
        there, begun = self._call("begin_purge", list(points))
        while not self._call("go_on_purging", begun):
            pass
        return Purged(points=int(there), rewritten=True)

    def held(self, points: Sequence[PointId]) -> frozenset[PointId]:
        return frozenset(PointId(point) for piece in _pieces(points) for point in self._call("held", list(piece)))

    def search(self, query: IndexQuery) -> Hits:
        dense, lexical, terms = self._call("search", _query_row(query))
        return Hits(dense=_hits(dense), lexical=_hits(lexical), terms=tuple(terms))

    def size(self) -> int:
        return int(self._call("size", None))

    def quick(self) -> bool:
        """Whether searches go by arrays: see `EdgeIndex`."""
        return bool(self._call("quick", None))

    def optimize(self) -> bool:
        """As `EdgeIndex.optimize`, now. Raises `IndexUnavailable` if it takes longer than `timeout_s`."""
        return bool(self._call("optimize", None))

    def drop(self) -> None:
        """Have the index's files removed for good; the index process takes nothing any more. May be repeated."""
        self._call("drop", None)

    def close(self) -> None:
        """Drop the idle connections; the index process goes on."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _call(self, verb: str, argument: object) -> Any:
        message = msgpack.packb([verb, argument])
        pooled = self._pooled()
        try:
            reply = self._exchanged(pooled or self._connected(), message)
        except _Broken:
            self.close()  # the others were made to the same process, which has gone
            try:
                reply = self._exchanged(self._connected(), message)
            except _Broken as error:
                raise IndexUnavailable("The index process stopped while it was answering. Try again.") from error
        outcome, value = reply
        if outcome == "ok":
            return value
        raise ValueError(value) if outcome == "value" else IndexUnavailable(value)

    def _pooled(self) -> "Connection[Any, Any] | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _exchanged(self, connection: "Connection[Any, Any]", message: bytes) -> tuple[str, Any]:
        """One request and its reply. Raises `_Broken`, or `IndexUnavailable` after `timeout_s`."""
        try:
            connection.send_bytes(message)
            outcome, value = msgpack.unpackb(connection.recv_bytes(), strict_map_key=False)
        except BlockingIOError as error:
            connection.close()
            raise self._no_answer() from error
        except (EOFError, OSError) as error:
            connection.close()
            raise _Broken from error
        with self._lock:
            self._idle.append(connection)
        return outcome, value

    def _connected(self) -> "Connection[Any, Any]":
        """A new connection on which both sides have shown that they know the key."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self._attempted()
            except (ConnectionRefusedError, FileNotFoundError) as error:
                if time.monotonic() >= deadline:
                    raise IndexUnavailable(
                        f"No index process listens at {self._address}. Start the server, or see its log for why it "
                        "has none."
                    ) from error
                time.sleep(0.02)

    def _attempted(self) -> "Connection[Any, Any]":
        with socket.socket(socket.AF_UNIX) as plain:
            limit = struct.pack("ll", int(self._timeout_s), int(self._timeout_s % 1 * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                plain.setsockopt(socket.SOL_SOCKET, option, limit)
            try:
                plain.connect(str(self._address))
            except BlockingIOError as error:  # so many wait already that no more are let in
                raise self._no_answer() from error
            connection: Connection[Any, Any] = Connection(plain.detach())
        try:
            answer_challenge(connection, self._authkey)
            deliver_challenge(connection, self._authkey)
        except AuthenticationError as error:
            connection.close()
            raise IndexUnavailable("The index process has another key. Restart the server.") from error
        except BlockingIOError as error:
            connection.close()
            raise self._no_answer() from error
        except (EOFError, OSError) as error:
            connection.close()
            raise _Broken from error
        return connection

    def _no_answer(self) -> IndexUnavailable:
        return IndexUnavailable(f"The index did not answer within {self._timeout_s:g} seconds.")


class _Broken(Exception):
    """The other side went away in the middle of a call."""


def serve_index(
    folder: Path,
    address: Path,
    authkey: bytes,
    dimension: int,
    *,
    budget_ms: float | None = None,
    liveness_fd: int | None = None,
) -> None:
    """The index process: open the index in `folder` and answer at `address` until told to stop, then flush and close.

    It stops on SIGTERM, and when `liveness_fd` reads end-of-file: the read end of a pipe whose other end only the
    parent holds, so that no death of the parent leaves it behind. Without one, it stops on SIGINT as well. Call it in
    the main thread. Raises `IndexUnavailable` when the folder is held by another process; then no socket has been
    touched.
    """
    from app.adapters.edge_index import BUDGET_MS, EdgeIndex  # the engine, which a client has no need of

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    if liveness_fd is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which still has answers to give
        threading.Thread(target=_stop_at_end_of_file, args=(liveness_fd, stop), daemon=True).start()
    with EdgeIndex(folder, dimension, budget_ms=BUDGET_MS if budget_ms is None else budget_ms) as index:
        desk = _Desk(index)
        with suppress(FileNotFoundError):
            address.unlink()  # left by a process that was killed: the folder's lock is ours, so nobody listens there
        with Listener(str(address), family="AF_UNIX", backlog=64) as listener:
            address.chmod(0o600)
            threading.Thread(target=_accept, args=(listener, authkey, desk), daemon=True).start()
            while not stop.wait(_LOOK_EVERY_S):
                desk.tidy_when_idle()
                while desk.quicken() and not stop.wait(_BETWEEN_STEPS_S):
                    pass
        desk.close()


class _Desk:
    """One verb at a time, whoever asks: the engine is not to be called from two threads at once."""

    def __init__(self, index: "EdgeIndex") -> None:
        self._index = index
        self._lock = threading.Lock()
        self._closed = False
        self._tidied = False
        self._last_call = time.monotonic()
        self._verbs: dict[str, Callable[[Any], object]] = {
            "upsert": lambda rows: index.upsert([_entry(row) for row in rows]),
            "move": lambda rows: index.move([_placement(row) for row in rows]),
            "remove": lambda points: index.remove([PointId(point) for point in points]),
            "begin_purge": lambda points: list(index.begin_purge([PointId(point) for point in points])),
            "go_on_purging": lambda begun: index.go_on_purging(int(begun)),
            "held": lambda points: list(index.held([PointId(point) for point in points])),
            "search": lambda row: _hits_row(index.search(_query(row))),
            "size": lambda _nothing: index.size(),
            "quick": lambda _nothing: index.quick,
            "optimize": lambda _nothing: index.optimize(),
        }

    def answer(self, message: bytes) -> bytes:
        """The packed reply to a packed request: `[outcome, value]`, where outcome is ok, value or unavailable."""
        try:
            verb, argument = msgpack.unpackb(message)
            if verb == "drop":
                self._drop()
                return bytes(msgpack.packb(["ok", None]))
            act = self._verbs[verb]
            with self._lock:
                if self._closed:
                    raise IndexUnavailable("The index process is stopping.")
                self._last_call = time.monotonic()
                reply = ["ok", act(argument)]
                if self._index.unoptimized >= _TIDY_AFTER_POINTS:
                    self._index.optimize()
        except IndexUnavailable as error:
            _log.error("index: %s", error.detail, exc_info=error)
            reply = ["unavailable", error.detail]
        except (ValueError, TypeError, KeyError) as error:
            reply = ["value", f"not a request that the index takes: {error}"]
        return bytes(msgpack.packb(reply))

    def tidy_when_idle(self) -> None:
        """Optimize once after every spell of writes, and once after the start, when nobody has asked for a while."""
        with self._lock:
            if self._closed:
                return
            untidy = self._index.unoptimized > 0 or not self._tidied
            if not untidy or time.monotonic() - self._last_call < _TIDY_WHEN_IDLE_S:
                return
            self._tidied = True
            self._last_call = time.monotonic()
            try:
                self._index.optimize()
            except IndexUnavailable as error:
                _log.error("index: %s", error.detail, exc_info=error)

    def quicken(self) -> bool:
        """A step of `EdgeIndex.quicken`; whether there is another."""
        with self._lock:
            if self._closed:
                return False
            try:
                return self._index.quicken()
            except IndexUnavailable as error:
                _log.error("index: %s", error.detail, exc_info=error)
                return False

    def close(self) -> None:
        """Wait for the verb that is under way, and take no more."""
        with self._lock:
            self._closed = True

    def _drop(self) -> None:
        with self._lock:
            self._closed = True
            self._index.drop()


def _accept(listener: Listener, authkey: bytes, desk: _Desk) -> None:
    while True:
        try:
            connection = listener.accept()
        except OSError:
            return  # closed: the process is stopping
        threading.Thread(target=_converse, args=(connection, authkey, desk), daemon=True).start()


def _converse(connection: "Connection[Any, Any]", authkey: bytes, desk: _Desk) -> None:
    """Answer one connection until it closes. The handshake is here, so that a silent stranger holds up nobody."""
    with connection, suppress(AuthenticationError, EOFError, OSError):
        deliver_challenge(connection, authkey)
        answer_challenge(connection, authkey)
        while True:
            connection.send_bytes(desk.answer(connection.recv_bytes()))


def _stop_at_end_of_file(descriptor: int, stop: threading.Event) -> None:
    while os.read(descriptor, 1):
        pass
    stop.set()


def _pieces(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _PIECE):
        yield items[start : start + _PIECE]


def _placement_row(placement: Placement) -> list[object]:
    return [
        placement.point,
        placement.boundary,
        placement.valid_from,
        placement.valid_to,
        placement.recorded_from,
        placement.recorded_to,
        placement.facets,
    ]


def _placement(row: Sequence[Any]) -> Placement:
    point, boundary, valid_from, valid_to, recorded_from, recorded_to, facets = row
    return Placement(
        point=PointId(point),
        boundary=BoundaryId(boundary),
        valid_from=Instant(valid_from),
        valid_to=Instant(valid_to),
        recorded_from=Instant(recorded_from),
        recorded_to=Instant(recorded_to),
        facets=tuple(facets),
    )


def _lexical_row(lexical: Lexical) -> list[object]:
    return [lexical.terms, lexical.weights]


def _lexical(row: Sequence[Any]) -> Lexical:
    terms, weights = row
    return Lexical(terms=tuple(terms), weights=tuple(weights))


def _entry_row(entry: IndexEntry) -> list[object]:
    return [_placement_row(entry.placement), entry.dense, _lexical_row(entry.lexical), sorted(entry.marks)]


def _entry(row: Sequence[Any]) -> IndexEntry:
    placement, dense, lexical, marks = row
    return IndexEntry(
        placement=_placement(placement), dense=Vector(dense), lexical=_lexical(lexical), marks=frozenset(marks)
    )


def _query_row(query: IndexQuery) -> list[object]:
    return [
        query.dense,
        None if query.lexical is None else _lexical_row(query.lexical),
        sorted(query.boundaries),
        query.valid_at,
        query.known_at,
        query.facets,
        [[sorted(marks) for marks in demand] for demand in query.demands],
        query.depth,
    ]


def _query(row: Sequence[Any]) -> IndexQuery:
    """Raises `ValueError` for an empty set of boundaries, as the type does."""
    dense, lexical, boundaries, valid_at, known_at, facets, demands, depth = row
    return IndexQuery(
        dense=None if dense is None else Vector(dense),
        lexical=None if lexical is None else _lexical(lexical),
        boundaries=frozenset(BoundaryId(boundary) for boundary in boundaries),
        valid_at=Instant(valid_at),
        known_at=Instant(known_at),
        facets=tuple(tuple(group) for group in facets),
        demands=tuple(tuple(frozenset(marks) for marks in demand) for demand in demands),
        depth=depth,
    )


def _hits_row(hits: Hits) -> list[object]:
    return [*([(hit.chunk, hit.score) for hit in listed] for listed in (hits.dense, hits.lexical)), hits.terms]


def _hits(rows: Sequence[Any]) -> tuple[Hit, ...]:
    return tuple(Hit(chunk=ChunkId(chunk), score=score) for chunk, score in rows)


def _authkey() -> bytes:
    """The key that the parent shares; raises `ValueError` when it is not hex or shorter than 16 bytes."""
    key = bytes.fromhex(os.environ.get(AUTHKEY_VARIABLE) or sys.stdin.readline().strip())
    if len(key) < _SHORTEST_KEY:
        raise ValueError("too short")
    return key


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: runs until told to stop. Exit codes: 0 stopped, 1 the index cannot be opened, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="app.adapters.index_process", description="Muniment's index process.")
    parser.add_argument("--folder", type=Path, required=True, help="where the index is kept")
    parser.add_argument("--address", type=Path, required=True, help="the unix socket to listen at")
    parser.add_argument("--dimension", type=int, required=True, help="numbers in a dense vector")
    parser.add_argument("--budget-ms", type=float, help="what a search may take before arrays are laid out")
    parser.add_argument("--liveness-fd", type=int, help="stop when this inherited descriptor reads end-of-file")
    options = parser.parse_args(arguments)
    try:
        key = _authkey()
    except ValueError:
        parser.error(f"the key ({AUTHKEY_VARIABLE}, or a line of standard input) is hex, at least 16 bytes of it")
    try:
        serve_index(
            options.folder,
            options.address,
            key,
            options.dimension,
            budget_ms=options.budget_ms,
            liveness_fd=options.liveness_fd,
        )
    except IndexUnavailable as error:
        print(error.detail, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
