"""Parsing in a process apart: a warm parent that has the readers loaded, and forks a confined child for each file.

The parent is started as `python -m ingest.sandbox` and spoken to through its standard input and output, in frames: four
bytes of length, then msgpack. It has one thread and no network. A child has the file in memory, writes what it made of
it to a pipe, and is killed with all of its process group when it is done or takes too long. When the client goes away
in any manner, the parent sees the end of its input and goes too; when the parent goes, the kernel kills the children.
"""

import contextlib
import gc
import itertools
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import msgpack  # type: ignore[import-untyped]

from app.domain.corpus import Attachment, Box, Element, ElementKind, Finding, FindingCode, Parsed, Span
from app.domain.errors import MunimentError, NeedsOcr, NoText, TooLarge, Unavailable, Unparseable, UnsupportedMedia
from ingest import office_converter, programs
from ingest.confinement import (
    Limits,
    confine,
    die_with,
    leave_network,
    no_new_privileges,
    own_processes,
    own_temporary_folder,
)
from ingest.landlock import landlock_version

MAX_FRAME_BYTES: Final = 256_000_000
"""More than the largest file or text that the gate and the parser let pass."""
START_WITHIN_S: Final = 120.0
ANSWERS_WITHIN_S: Final = 30.0
"""What the warm process may take beyond a file's own wall clock before it counts as stuck."""
POLL_S: Final = 1.0

_log = logging.getLogger(__name__)


# -- the client's side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What the warm process says of itself once it is ready."""

    pid: int
    network_closed: bool
    """The kernel gave it a network namespace of its own; otherwise only Python code is held back."""
    writes_guarded: bool
    """The kernel keeps readers from changing files outside of their folder; otherwise only Python code is held back."""
    folder: str


class SandboxedParser:
    """The `Parser` of the product. The warm process is started at the first file, and again whenever it is gone.

    Up to `slots` files are read at once; further callers wait. `close` it, or use it in a `with`.
    """

    def __init__(self, *, slots: int = 2, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._slots = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()
        self._warm: _WarmProcess | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def parse(self, content: bytes, media_type: str, filename: str) -> Parsed:
        """As `ingest.ports.Parser.parse`. A file whose reader crashes, hangs or eats memory is `Unparseable`."""
        with self._slots:
            for _ in range(2):
                warm = self._running()
                with contextlib.suppress(_WarmProcessGone):
                    return _parsed_or_raise(warm.ask(content, media_type, self._limits), self._limits)
                self._forget(warm)
        raise Unavailable("The process that reads documents has ended twice: try again later.")

    def hello(self) -> Hello:
        """What the warm process is like; starts it if need be. Raises `Unavailable`."""
        return self._running().hello

    def close(self) -> None:
        """End the warm process and whatever it is reading; a `parse` under way then raises `Unavailable`."""
        with self._lock:
            self._closed = True
            warm, self._warm = self._warm, None
        if warm is not None:
            warm.end()

    def _running(self) -> "_WarmProcess":
        with self._lock:
            if self._closed:
                raise Unavailable("The parser has been closed.")
            if self._warm is None or not self._warm.alive:
                if self._warm is not None:
                    self._warm.end()
                self._warm = _WarmProcess()
            return self._warm

    def _forget(self, warm: "_WarmProcess") -> None:
        with self._lock:
            if self._warm is warm:
                self._warm = None
        warm.end()


class _WarmProcessGone(Exception):
    """It ended, or is stuck, before it answered."""


class _WarmProcess:
    """One run of `python -m ingest.sandbox`, and the thread that gives its answers to those who wait for them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ingest.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_plain_environment(),
            start_new_session=True,
        )
        self._writing = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {0: Future()}
        self._waiting_lock = threading.Lock()
        self._gone = False
        first = self._waiting[0]
        self._reader = threading.Thread(target=self._read, name="sandbox-answers", daemon=True)
        self._reader.start()
        try:
            self.hello = Hello(**first.result(timeout=START_WITHIN_S)["hello"])
        except (_WarmProcessGone, TookTooLong) as error:
            self.end()
            raise Unavailable("The process that reads documents did not start: try again later.") from error
        if not self.hello.network_closed:
            _log.warning("The kernel allows no network namespace: readers of documents are held back by Python alone.")
        if not self.hello.writes_guarded:
            _log.warning("The kernel has no Landlock: what readers of documents write is held back by Python alone.")

    @property
    def alive(self) -> bool:
        return not self._gone and self._process.poll() is None

    def ask(self, content: bytes, media_type: str, limits: Limits) -> dict[str, Any]:
        """The answer to one file, as the warm process framed it. Raises `_WarmProcessGone`."""
        number = next(self._ids)
        answer: Future[dict[str, Any]] = Future()
        with self._waiting_lock:
            if self._gone:
                raise _WarmProcessGone
            self._waiting[number] = answer
        question = {"id": number, "content": content, "media_type": media_type, "limits": asdict(limits)}
        try:
            with self._writing:
                _write_all(self._stdin, _framed(question))
            return answer.result(timeout=limits.wall_s + ANSWERS_WITHIN_S)
        except (OSError, ValueError, TookTooLong) as error:
            raise _WarmProcessGone from error
        finally:
            with self._waiting_lock:
                self._waiting.pop(number, None)

    def end(self) -> None:
        """Close its input, which ends it; kill it if that does not. Safe to call again."""
        with self._writing, contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not threading.current_thread():
            self._reader.join()
        hello: Hello | None = getattr(self, "hello", None)
        if hello is not None:
            shutil.rmtree(hello.folder, ignore_errors=True)

    @property
    def _stdin(self) -> int:
        if self._process.stdin is None or self._process.stdin.closed:
            raise _WarmProcessGone
        return self._process.stdin.fileno()

    def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        frames = _Frames()
        try:
            with output:
                while received := self._received(output.fileno()):
                    for answer in frames.add(received):
                        self._give(answer)
        except (ValueError, KeyError, msgpack.UnpackException):
            self._process.kill()  # it does not speak as it should
        with self._waiting_lock:
            self._gone = True
            waiting_in_vain = list(self._waiting.values())
            self._waiting.clear()
        for future in waiting_in_vain:
            future.set_exception(_WarmProcessGone())

    def _received(self, descriptor: int) -> bytes:
        """The next bytes; none once the process has ended, though a child that it left may still hold the pipe."""
        readable = select.poll()
        readable.register(descriptor, select.POLLIN)
        while not readable.poll(1000 * POLL_S):
            if self._process.poll() is not None:
                return b""
        return os.read(descriptor, 1 << 20)

    def _give(self, answer: dict[str, Any]) -> None:
        with self._waiting_lock:
            waiting = self._waiting.pop(answer["id"], None)
        if waiting is not None:
            waiting.set_result(answer)


_KEPT_VARIABLES: Final = (
    "PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TESSDATA_PREFIX",
)


def _plain_environment() -> dict[str, str]:
    """This process's environment without its secrets."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


_REFUSALS: Final[Mapping[str, type[MunimentError]]] = {
    kind.kind: kind for kind in (Unparseable, NeedsOcr, NoText, UnsupportedMedia, TooLarge)
}


def _parsed_or_raise(answer: dict[str, Any], limits: Limits) -> Parsed:
    """The child's result, or the refusal that its end amounts to."""
    match answer["end"]:
        case "done":
            result = msgpack.unpackb(answer["result"])
            if "parsed" in result:
                return _unpacked(result["parsed"])
            if "fault" in result:
                _log.warning("A reader of documents failed: %s", result["fault"])
            raise _REFUSALS.get(result["kind"], Unparseable)(result["detail"])
        case "time":
            raise Unparseable(f"The document took longer than {limits.wall_s:g} s to read. Split it, or simplify it.")
        case "memory":
            raise Unparseable("The document needed more memory than allowed to be read. Split it, or simplify it.")
        case "size":
            raise TooLarge("The document holds more text than is read. Split it.")
        case _:
            raise Unparseable(
                "The program that reads this format failed on the document: it may be damaged. Save it anew."
            )


# -- what goes over the wire ---------------------------------------------------------------------------------------


def _framed(message: dict[str, Any]) -> bytes:
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(4, "big") + body


class _Frames:
    """Bytes as they come, to whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, received: bytes) -> Iterator[dict[str, Any]]:
        self._buffer += received
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError("a frame that is too large")
            if len(self._buffer) < 4 + length:
                return
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            yield msgpack.unpackb(body)


def _write_all(descriptor: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(descriptor, view) :]


def _packed(parsed: Parsed) -> dict[str, Any]:
    """Plain values; each distinct section path once."""
    sections = {section: at for at, section in enumerate(dict.fromkeys(element.section for element in parsed.elements))}
    return {
        "text": parsed.text,
        "parser": parsed.parser,
        "title": parsed.title,
        "findings": [[each.code.value, each.detail] for each in parsed.findings],
        "attachments": [[each.name, each.media_type, each.content] for each in parsed.attachments],
        "sections": [list(section) for section in sections],
        "elements": [
            [
                element.kind.value,
                element.span.start,
                element.span.end,
                element.page,
                [[box.page, box.x0, box.y0, box.x1, box.y1] for box in element.boxes],
                sections[element.section],
            ]
            for element in parsed.elements
        ],
    }


def _unpacked(packed: dict[str, Any]) -> Parsed:
    sections = [tuple(section) for section in packed["sections"]]
    return Parsed(
        text=packed["text"],
        parser=packed["parser"],
        title=packed["title"],
        findings=tuple(Finding(code=FindingCode(code), detail=detail) for code, detail in packed["findings"]),
        attachments=tuple(
            Attachment(name=name, media_type=media_type, content=content)
            for name, media_type, content in packed["attachments"]
        ),
        elements=tuple(
            Element(
                kind=ElementKind(kind),
                span=Span(start=start, end=end),
                page=page,
                boxes=tuple(Box(page=on, x0=x0, y0=y0, x1=x1, y1=y1) for on, x0, y0, x1, y1 in boxes),
                section=sections[section],
            )
            for kind, start, end, page, boxes, section in packed["elements"]
        ),
    )


# -- the warm process's side ---------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Child:
    """A file being read."""

    number: int
    pid: int
    pipe: int
    folder: Path
    limits: Limits
    kill_at: float
    result: bytearray = field(default_factory=bytearray)


class _Warm:
    """The parent's one loop: questions in, forks, answers out. Everything it waits for is in one `poll`."""

    def __init__(self, folder: Path, client_pid: int) -> None:
        self._folder = folder
        self._client_pid = client_pid
        self._frames = _Frames()
        self._children: dict[int, _Child] = {}
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)

    def run(self) -> None:
        """Until the input ends."""
        while os.getppid() == self._client_pid:
            for descriptor, _ in self._poll.poll(self._patience_ms()):
                if descriptor != 0:
                    self._collect(self._children[descriptor])
                elif received := os.read(0, 1 << 20):
                    for question in self._frames.add(received):
                        self._fork(question)
                else:
                    return
            for child in [child for child in self._children.values() if time.monotonic() >= child.kill_at]:
                self._finish(child, end="time")

    def stop(self) -> None:
        for child in list(self._children.values()):
            _kill(child.pid)

    def _patience_ms(self) -> float:
        soonest = min((child.kill_at for child in self._children.values()), default=float("inf"))
        return 1000 * max(0.0, min(POLL_S, soonest - time.monotonic()))

    def _fork(self, question: dict[str, Any]) -> None:
        number = question["id"]
        folder = self._folder / str(number)
        folder.mkdir(mode=0o700)
        limits = Limits(**question["limits"])
        kill_at = time.monotonic() + limits.wall_s
        own_pid = os.getpid()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(question, limits, folder, writing, own_pid, kill_at)
        os.close(writing)
        child = _Child(number=number, pid=pid, pipe=reading, folder=folder, limits=limits, kill_at=kill_at)
        self._children[reading] = child
        self._poll.register(reading, select.POLLIN)

    def _collect(self, child: _Child) -> None:
        received = os.read(child.pipe, 1 << 20)
        child.result += received
        if not received:
            self._finish(child, end=None)
        elif len(child.result) > MAX_FRAME_BYTES // 2:
            self._finish(child, end="size")

    def _finish(self, child: _Child, *, end: str | None) -> None:
        """Kill what is left of the child's group, collect it, remove its folder, answer."""
        self._poll.unregister(child.pipe)
        os.close(child.pipe)
        del self._children[child.pipe]
        # A child that is ending keeps the exit status it set: this is for its stragglers, while its id is still taken.
        _kill_group(child.pid)
        if end is not None:
            _kill(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        shutil.rmtree(child.folder, ignore_errors=True)
        end = end or _how_it_ended(
            status, cpu_s=usage.ru_utime + usage.ru_stime, resident_kb=usage.ru_maxrss, child=child
        )
        result = bytes(child.result) if end == "done" else b""
        _write_all(1, _framed({"id": child.number, "end": end, "result": result}))


def _kill(pid: int) -> None:
    _kill_group(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _how_it_ended(status: int, *, cpu_s: float, resident_kb: int, child: _Child) -> str:
    """`done`, `time`, `memory` or `crash`. A failed allocation in native code may look like any crash: the most it
    held tells them apart."""
    if os.WIFEXITED(status):
        return {0: "done", _OUT_OF_MEMORY: "memory"}.get(os.WEXITSTATUS(status), "crash")
    if os.WTERMSIG(status) == signal.SIGXCPU or cpu_s >= child.limits.cpu_s:
        return "time"
    much = resident_kb * 1024 > child.limits.memory_bytes / 3
    return "memory" if much or os.WTERMSIG(status) == signal.SIGKILL else "crash"


_OUT_OF_MEMORY: Final = 3


def _child(
    question: dict[str, Any], limits: Limits, folder: Path, pipe: int, parent_pid: int, kill_at: float
) -> NoReturn:
    """The forked child's whole life. Never returns, whatever happens."""
    try:
        os.setsid()
        die_with(parent_pid)
        _keep_only(pipe)
        programs.must_end_by(kill_at)
        if question["media_type"] in office_converter.CONVERTED:
            folder = own_temporary_folder(folder)
            own_processes()
        confine(limits, folder, programs=programs.places())
        result = _read_file(question["content"], question["media_type"])
        _write_all(pipe, msgpack.packb(result))
        os._exit(0)
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    finally:
        os._exit(1)


def _keep_only(pipe: int) -> None:
    """Leave the parent's input, output and other children's pipes; keep the way back."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, pipe)
    os.closerange(pipe + 1, 1 << 16)


def _read_file(content: bytes, media_type: str) -> dict[str, Any]:
    from ingest.unstructured_parser import parse_file

    try:
        return {"parsed": _packed(parse_file(content, media_type))}
    except MunimentError as error:
        return {"kind": error.kind, "detail": error.detail}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # Half a dozen libraries, on files made to break them: all of it is the file's.
        return {"kind": Unparseable.kind, "detail": _failed(error), "fault": _fault(error)}


def _failed(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The document is nested too deeply to be read. Simplify it."
    return "The program that reads this format failed on the document: it may be damaged or incomplete. Save it anew."


def _fault(error: Exception) -> str:
    """What failed and where, for the log: no message, since that may hold what the file says."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__module__}.{type(error).__qualname__} at {places}"


def main() -> None:
    """Run the warm process on standard input and output."""
    client_pid = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    network_closed = leave_network()
    no_new_privileges()
    import ingest.unstructured_parser

    ingest.unstructured_parser.warm_up()
    gc.collect()
    gc.freeze()  # forked children then leave these pages shared
    folder = Path(tempfile.mkdtemp(prefix="muniment-sandbox-"))
    warm = _Warm(folder, client_pid)
    hello = Hello(
        pid=os.getpid(),
        network_closed=network_closed,
        writes_guarded=landlock_version() > 0,
        folder=str(folder),
    )
    try:
        _write_all(1, _framed({"id": 0, "hello": asdict(hello)}))
        warm.run()
    except BrokenPipeError:
        pass
    finally:
        warm.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
