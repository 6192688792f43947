"""The sandbox: what a file may cost, what it may reach, and that nothing is left behind however it ends."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.domain.errors import TooLarge, Unavailable, Unparseable
from ingest import sandbox
from ingest.confinement import Limits
from ingest.gate import MediaType
from ingest.sandbox import SandboxedParser
from tests.ingest import samples

SLOW = samples.slow_html()


@pytest.fixture(scope="module")
def parser() -> Iterator[SandboxedParser]:
    with SandboxedParser(slots=4) as parser:
        yield parser


def parses(parser: SandboxedParser) -> bool:
    return parser.parse(b"words", MediaType.TXT, "a.txt").text == "words"


def until(true: Callable[[], bool]) -> None:
    """Wait for another process to come to something; the test fails if it never does."""
    given_up = threading.Event()
    timer = threading.Timer(20, given_up.set)
    timer.start()
    try:
        while not true():
            assert not given_up.is_set(), "it never came to that"
    finally:
        timer.cancel()


def readers(warm_pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(warm_pid).children()
    return []


def reader_at_work(parser: SandboxedParser) -> psutil.Process:
    """The child that reads the one file under way, once its limits are in place."""
    hello = parser.hello()

    def confined() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(child.cwd().startswith(hello.folder) for child in readers(hello.pid))
        return False

    until(confined)
    return readers(hello.pid)[0]


def gone(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


# -- what a file may cost ------------------------------------------------------------------------------------------


def test_a_file_that_takes_too_long_is_killed_and_the_next_is_read() -> None:
    with SandboxedParser(limits=Limits(wall_s=0.3)) as parser:
        with pytest.raises(Unparseable, match=r"took longer than 0\.3 s"):
            parser.parse(SLOW, MediaType.HTML, "a.html")
        assert readers(parser.hello().pid) == []
        assert parses(parser)


def test_a_file_that_takes_too_much_of_the_processor_is_killed() -> None:
    with SandboxedParser(limits=Limits(cpu_s=1)) as parser, pytest.raises(Unparseable, match="took longer"):
        parser.parse(SLOW * 3, MediaType.HTML, "a.html")


def test_a_file_that_needs_too_much_memory_is_refused(parser: SandboxedParser) -> None:
    mapped_bytes = psutil.Process(parser.hello().pid).memory_info().vms
    with SandboxedParser(limits=Limits(memory_bytes=mapped_bytes + 80_000_000)) as tight:
        with pytest.raises(Unparseable, match="more memory than allowed"):
            tight.parse(SLOW, MediaType.HTML, "a.html")
        assert parses(tight)


def test_a_file_with_more_text_than_is_read_is_too_large(parser: SandboxedParser) -> None:
    with pytest.raises(TooLarge, match="20,000,000 characters"):
        parser.parse(b"word " * 4_100_000, MediaType.TXT, "a.txt")


def test_a_reader_that_crashes_is_the_files_fault_and_the_next_is_read(parser: SandboxedParser) -> None:
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(parser.parse, SLOW, MediaType.HTML, "a.html")
        reader_at_work(parser).send_signal(signal.SIGSEGV)
        with pytest.raises(Unparseable, match="failed on the document"):
            reading.result()
    assert parses(parser)


# -- several at once -----------------------------------------------------------------------------------------------


def test_files_read_at_once_do_not_get_mixed_up(parser: SandboxedParser) -> None:
    texts = [f"document {number} " * (1 + 500 * (number % 3)) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda text: parser.parse(text.encode(), MediaType.TXT, "a.txt").text, texts))
    assert read == [text.strip() for text in texts]


def test_a_slow_file_does_not_hold_up_a_quick_one(parser: SandboxedParser) -> None:
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(parser.parse, SLOW, MediaType.HTML, "a.html")
        until(lambda: bool(readers(parser.hello().pid)))
        assert parses(parser)
        assert not slow.done()
        assert slow.result().text.startswith("a paragraph")


# -- when the warm process goes ------------------------------------------------------------------------------------


def test_a_warm_process_that_was_killed_is_started_again(parser: SandboxedParser) -> None:
    first = parser.hello().pid
    os.kill(first, signal.SIGKILL)
    assert parses(parser)
    assert parser.hello().pid != first


def test_a_file_whose_warm_process_is_killed_is_read_again() -> None:
    with SandboxedParser() as parser, ThreadPoolExecutor() as pool:
        first = parser.hello().pid
        reading = pool.submit(parser.parse, SLOW, MediaType.HTML, "a.html")
        child = reader_at_work(parser)
        child.suspend()  # it cannot end by itself now, only be ended
        os.kill(first, signal.SIGKILL)
        assert reading.result().text.startswith("a paragraph")
        until(lambda: gone(child))
        assert parser.hello().pid != first


def test_a_file_whose_warm_process_is_killed_twice_is_to_be_tried_later() -> None:
    with SandboxedParser() as parser, ThreadPoolExecutor() as pool:
        reading = pool.submit(parser.parse, SLOW, MediaType.HTML, "a.html")
        for _ in range(2):
            until(lambda: bool(readers(parser.hello().pid)))
            killed = parser.hello().pid
            os.kill(killed, signal.SIGKILL)
            until(lambda: reading.done() or parser.hello().pid != killed)  # noqa: B023  # it has ended by then
        with pytest.raises(Unavailable, match="ended twice"):
            reading.result()
        assert parses(parser)


def test_closing_ends_the_warm_process_and_the_files_under_way() -> None:
    parser = SandboxedParser()
    warm = psutil.Process(parser.hello().pid)
    folder = Path(parser.hello().folder)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(parser.parse, SLOW, MediaType.HTML, "a.html")
        child = reader_at_work(parser)
        child.suspend()
        parser.close()
        with pytest.raises(Unavailable):
            reading.result()
    assert gone(warm)
    until(lambda: gone(child))
    assert not folder.exists()
    with pytest.raises(Unavailable, match="closed"):
        parser.parse(b"words", MediaType.TXT, "a.txt")


CLIENT = """
import sys, threading
from ingest.sandbox import SandboxedParser
parser = SandboxedParser()
print(parser.hello().pid, parser.hello().folder, flush=True)
parser.parse(sys.stdin.buffer.read(), "text/html", "a.html")
"""


def test_nothing_is_left_when_the_client_is_killed_in_the_middle_of_a_file() -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with client:
        assert client.stdin is not None
        assert client.stdout is not None
        pid, folder = client.stdout.readline().decode().split()
        warm = psutil.Process(int(pid))
        client.stdin.write(SLOW * 4)
        client.stdin.close()
        until(lambda: any(child.cwd().startswith(folder) for child in warm.children()))
        child = warm.children()[0]
        child.suspend()
        client.kill()
    until(lambda: gone(warm) and gone(child))
    assert not Path(folder).exists()


# -- what a file may reach -----------------------------------------------------------------------------------------


def confined(folder: Path, code: str) -> str:
    """What a process prints that runs the child's own set-up and then `code`."""
    setup = "from pathlib import Path; import sys; from ingest.confinement import *; folder = Path(sys.argv[1]); "
    run = subprocess.run(
        [sys.executable, "-c", setup + code, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


TRY = "\ntry:\n    {}\n    print('done')\nexcept OSError as error:\n    print(type(error).__name__)"


def test_the_kernel_gives_readers_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5).close()"
        assert confined(tmp_path, TRY.format(connect)) == "done"
        closed = confined(tmp_path, f"print(leave_network()); {TRY.format(connect)}").split()
    if closed[0] == "False":
        pytest.skip("this kernel allows no network namespace to this user")
    assert closed == ["True", "OSError"]


def test_python_code_in_a_reader_opens_no_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert confined(tmp_path, f"confine(Limits(), folder); {TRY.format(connect)}") == "PermissionError"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("open('inside', 'w').close()", "done"),
        ("import tempfile; tempfile.TemporaryFile().close()", "done"),
        ("open('/tmp/outside-of-it', 'w')", "PermissionError"),
        ("import os; os.open('../outside', os.O_CREAT | os.O_WRONLY)", "PermissionError"),
        ("import os; os.remove('/tmp/not-there')", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import os; os.system('true')", "PermissionError"),
        ("open('/etc/hostname').close() if Path('/etc/hostname').exists() else None", "done"),
        ("file = open('big', 'wb'); file.write(b'x' * 65_000_000); file.close()", "OSError"),
    ],
)
def test_python_code_in_a_reader_changes_only_its_own_folder(tmp_path: Path, code: str, outcome: str) -> None:
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    assert confined(tmp_path, f"{ignore}confine(Limits(), folder); {TRY.format(code)}") == outcome


C_LEVEL = {
    "open-outside": "libc.open(b'/tmp/outside-of-it', os.O_CREAT | os.O_WRONLY, 0o600)",
    "truncate-outside": "libc.truncate(given, ctypes.c_long(0))",
    "remove-outside": "libc.unlink(given)",
    "rename-outside": "libc.rename(given, given + b'2')",
    "link-inside-out": "libc.link(given, b'stolen')",
    "socket-outside": "libc.mknod(given + b'.sock', 0o140600, 0)",
    "signal-outside": "libc.kill(os.getppid(), 0)",
}


@pytest.mark.parametrize("call", C_LEVEL)
def test_the_kernel_refuses_what_a_reader_without_python_would_do_outside(tmp_path: Path, call: str) -> None:
    """As code would that has taken a native reader over: past every guard in Python."""
    given, inside = tmp_path / "given", tmp_path / "own"
    given.write_text("somebody else's")
    inside.mkdir()
    code = (
        f"confine(Limits(), folder); import ctypes, os; given = {os.fsencode(given)!r}; "
        f"libc = ctypes.CDLL(None, use_errno=True); print(libc.open(b'in', os.O_CREAT | os.O_WRONLY, 0o600) > 0, "
        f"{C_LEVEL[call]}, ctypes.get_errno() in (1, 13, 18))"
    )
    version = int(confined(inside, "from ingest.landlock import landlock_version; print(landlock_version())"))
    outcome = confined(inside, code)
    if version >= (6 if call == "signal-outside" else 3):
        assert outcome == "True -1 True"
    assert outcome.startswith("True ")
    assert call == "signal-outside" or version < 3 or given.read_text() == "somebody else's"


def test_the_warm_process_says_whether_the_kernel_guards_what_readers_write(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    own = confined(tmp_path, "from ingest.landlock import landlock_version; print(landlock_version() > 0)")
    assert str(parser.hello().writes_guarded) == own


def test_a_readers_failure_is_logged_by_type_and_place_and_without_content(
    parser: SandboxedParser, caplog: pytest.LogCaptureFixture
) -> None:
    broken = samples.repacked(samples.workbook(), {"xl/workbook.xml": b"<a>a secret of the file</b>"})
    with pytest.raises(Unparseable, match="failed on the document"):
        parser.parse(broken, MediaType.XLSX, "a.xlsx")
    (told,) = [each.getMessage() for each in caplog.records if "A reader of documents failed" in each.getMessage()]
    assert "Error at " in told
    assert re.search(r" at [\w.]+:\d+ \w+", told)
    assert "secret" not in told


def test_a_document_makes_no_request(parser: SandboxedParser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        page = f'<!DOCTYPE html SYSTEM "{url}"><link rel=stylesheet href="{url}"><img src="{url}"><iframe src="{url}">'
        parser.parse(f"{page}</iframe><p>words</p>".encode(), MediaType.HTML, "a.html")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_warm_process_says_whether_its_network_is_closed(parser: SandboxedParser) -> None:
    hello = parser.hello()
    own, its = (os.readlink(f"/proc/{pid}/ns/net") for pid in (os.getpid(), hello.pid))
    assert hello.network_closed == (own != its)


def test_the_warm_process_is_given_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNIMENT_ADMIN_KEY", "a secret of the server")
    with SandboxedParser() as parser:
        assert b"a secret" not in Path(f"/proc/{parser.hello().pid}/environ").read_bytes()


def test_a_files_folder_is_gone_when_it_has_been_read(parser: SandboxedParser) -> None:
    assert parses(parser)
    assert list(Path(parser.hello().folder).iterdir()) == []


def test_the_warm_process_loads_neither_torch_nor_spacy(parser: SandboxedParser) -> None:
    process = Path(f"/proc/{parser.hello().pid}")
    maps = (process / "maps").read_text()
    assert "lxml" in maps
    assert not any(name in maps for name in ("torch", "spacy", "pandas", "numba"))
    resident_pages = int((process / "statm").read_text().split()[1])
    assert resident_pages * os.sysconf("SC_PAGE_SIZE") < 200_000_000


# -- the wire ------------------------------------------------------------------------------------------------------


def test_frames_are_put_together_from_bytes_cut_anywhere() -> None:
    messages = [{"id": number, "content": b"x" * number} for number in range(40)]
    stream = b"".join(sandbox._framed(message) for message in messages)
    for step in (1, 3, 1000):
        frames = sandbox._Frames()
        pieces = (stream[at : at + step] for at in range(0, len(stream), step))
        assert [message for piece in pieces for message in frames.add(piece)] == messages
