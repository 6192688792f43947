"""`muniment serve` as a process of its own, spoken to over HTTP, and what its processes take up."""

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

from app.supervisor import READY_PATIENCE_S, ready

_MB: Final = 1_000_000
_ROLES: Final = (
    ("app.api_process", "API"),
    ("app.adapters.index_process", "index"),
    ("ingest.sandbox", "sandbox"),
    ("ingest.worker", "worker"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one process takes up. `pss_mb` counts a page that several share in parts; None where it cannot be read."""

    role: str
    rss_mb: float
    pss_mb: float | None


@dataclass(kw_only=True)
class Server:
    """A running server and the keys to it."""

    port: int
    process: psutil.Process
    administrator_key: str = field(repr=False)

    def connect(self, key: str) -> "Caller":
        return Caller(self.port, key)

    def key_of(self, ref: str) -> str:
        """A new key of a principal."""
        with self.connect(self.administrator_key) as administrator:
            issued = administrator.ask("POST", f"/v1/principals/{ref.replace(':', '/', 1)}/keys")
        return str(issued["key"])

    def worker(self) -> psutil.Process:
        for child in self.process.children():
            if "ingest.worker" in child.cmdline():
                return child
        raise RuntimeError("the server has no worker")

    def cpu_s(self) -> float:
        """Processor time of all processes so far."""
        return cpu_s_of([self.process, *self.process.children(recursive=True)])

    def cpu_s_by_role(self) -> dict[str, float]:
        """As `cpu_s`, of each of the server's processes."""
        return {_role(process): cpu_s_of([process]) for process in self.process.children(recursive=True)}

    def taken(self, *, shared: bool) -> list[Taken]:
        """Every process of the server's, the supervisor first. What is `shared` takes long to find out."""
        found = []
        for process in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found.append(_taken(process, shared=shared))
        return found


class Caller:
    """One keep-alive connection with one key."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def renew(self) -> None:
        """Let the next request open a connection of its own: the server closes one that was idle for seconds."""
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer, which must be a success."""
        return json.loads(self.bytes_of(method, path, None if body is None else json.dumps(body).encode()))

    def bytes_of(self, method: str, path: str, body: bytes | None) -> bytes:
        """The body of an answer as it came, for those who hold a watch."""
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:500].decode(errors='replace')}")
        return content


@contextmanager
def served(folder: Path, home: Path) -> Iterator[Server]:
    """A server on this data folder, ready, with an administrator's key of this run; ended at the end."""
    port, key = _free_port(), secrets.token_hex(32)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUNIMENT_")}
    with (folder / "server.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "app.main", "serve", "--port", str(port)],
            cwd=folder,
            env={**inherited, "MUNIMENT_HOME": str(home), "MUNIMENT_ADMIN_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(started, port, folder / "server.log")
        yield Server(port=port, process=psutil.Process(started.pid), administrator_key=key)
    finally:
        started.terminate()
        started.wait(60)


def _wait_until_ready(started: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_PATIENCE_S
    while not ready(f"http://127.0.0.1:{port}"):
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not become ready:\n{log.read_text()[-4000:]}")
        time.sleep(0.1)


def cpu_s_of(processes: Iterable[psutil.Process]) -> float:
    """Processor time of these, with what children of theirs took that have ended."""
    total_s = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def _taken(process: psutil.Process, *, shared: bool) -> Taken:
    pss_mb = None
    if shared:
        with suppress(psutil.AccessDenied):
            pss_mb = process.memory_full_info().pss / _MB
    return Taken(role=_role(process), rss_mb=process.memory_info().rss / _MB, pss_mb=pss_mb)


def _role(process: psutil.Process) -> str:
    command = process.cmdline()
    return next((role for module, role in _ROLES if module in command), "supervisor")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
