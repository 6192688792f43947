"""Muniment as real processes on a data folder of a test's own, and the means to hurt them."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

ROOT: Final = Path(__file__).parents[2]
ADMINISTRATOR_KEY: Final = "the administrator's key in these tests, of 32 characters and more"
PATIENCE_S: Final = 120.0

_MODULES: Final = {"index": "app.adapters.index_process", "worker": "ingest.worker", "API": "app.api_process"}


def eventually(holds: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S) -> Any:
    """The first truthy value of `holds`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)


@dataclass(kw_only=True)
class Muniment:
    """One data folder, its supervisor if one is running, and the keys that were given out.

    Everything that is started, at whatever remove, inherits `TMPDIR`: `alive` finds it by that.
    """

    folder: Path
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    liveness: int
    """The read end of a pipe that only this process could write to: whatever is started ends with it."""
    supervisor: subprocess.Popen[bytes] | None = None
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def database_url(self) -> str:
        return self.environment.get("MUNIMENT_DATABASE_URL") or f"sqlite:///{self.home / 'muniment.sqlite'}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def launch(self, *command: str) -> subprocess.Popen[bytes]:
        """A Python module with this folder's settings, in the background."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        settings = {
            "MUNIMENT_HOME": str(self.home),
            "MUNIMENT_ADMIN_KEY": ADMINISTRATOR_KEY,
            "MUNIMENT_EMBEDDING__THREADS": "1",
            "TMPDIR": str(self.temporary),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUNIMENT_")}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**inherited, **settings, **self.environment},
                pass_fds=(self.liveness,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        """A new supervisor. It may be too early to ask anything: see `wait_until_ready`."""
        self.supervisor = self.launch("tests.e2e.serving", str(self.port), str(self.liveness))

    def launch_worker(self, name: str) -> subprocess.Popen[bytes]:
        """One more worker, beside the supervised one."""
        worker = self.launch("ingest.worker", "--name", name, "--liveness-fd", str(self.liveness))
        self.others.append(worker)
        return worker

    def wait_until_ready(self) -> None:
        eventually(self.is_ready, f"ready at {self.url}; its log:\n{self.log()[-4000:]}")

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=40).status_code == 200
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the supervisor, and what it then exits with."""
        assert self.supervisor is not None
        self.supervisor.send_signal(number)
        code = self.supervisor.wait(60)
        self.supervisor = None
        return code

    def process(self, role: str) -> psutil.Process | None:
        """The supervised process of that role (`index`, `worker`, `API`), if it is running now."""
        if self.supervisor is None:
            return None
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.supervisor.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if _MODULES[role] in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                        return child
        return None

    def kill(self, role: str, number: int = signal.SIGKILL) -> bool:
        """Signal the process of that role, or the `supervisor`; whether there was one."""
        if role == "supervisor":
            self.stop(number)
            return True
        found = self.process(role)
        if found is None:
            return False
        with suppress(psutil.NoSuchProcess):
            found.send_signal(number)
            return True
        return False

    def alive(self) -> list[str]:
        """Every process that was started for this folder, at whatever remove, and has not ended."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self.temporary):
                    found.append(f"{process.pid} {process.status()} {' '.join(process.cmdline())}")
        return found

    def held_locks(self) -> list[Path]:
        """The lock files of the data folder that somebody holds."""
        locks = [*(self.home / "run").glob("*.lock"), self.home / "index" / "lock"]
        return [path for path in locks if path.exists() and _is_held(path)]

    def log(self) -> str:
        """What all processes printed."""
        return (self.folder / "log").read_text(errors="replace")

    def end(self) -> None:
        """Kill whatever is left, by its pid, and wait until it is gone."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self.temporary):
                    process.kill()
        for started in (self.supervisor, *self.others):
            if started is not None:
                started.wait(30)

    # -- requests ------------------------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, who: str, *, client: httpx.Client | None = None, **rest: Any
    ) -> httpx.Response:
        """One request with the key of `who`: `admin`, or somebody whose key `key` has issued."""
        headers = {"Authorization": f"Bearer {self.key(who)}", **rest.pop("headers", {})}
        ask = client.request if client is not None else httpx.request
        return ask(method, f"{self.url}{path}", headers=headers, timeout=rest.pop("timeout", 60), **rest)

    def key(self, who: str) -> str:
        if who == "admin":
            return ADMINISTRATOR_KEY
        if who not in self.keys:
            self.keys[who] = self.issue(who)["key"]
        return self.keys[who]

    def issue(self, who: str) -> dict[str, str]:
        """A new key, with its id."""
        issued: dict[str, str] = self.admin("POST", f"/v1/principals/{who.replace(':', '/', 1)}/keys")
        return issued

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """What the administrator gets; it must succeed."""
        return self.succeed("admin", method, path, body)

    def succeed(self, who: str, method: str, path: str, body: Any = None) -> Any:
        response = self.request(method, path, who, json=body)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def put_principal(self, ref: str, **body: Any) -> None:
        self.admin("PUT", f"/v1/principals/{ref.replace(':', '/', 1)}", body)

    def publish(self, who: str, collection: str, text: str, **metadata: Any) -> str:
        """Put Markdown in and wait until it is published; returns the document's id."""
        body = {"text": text, "media_type": "text/markdown", "metadata": metadata}
        response = self.request(
            "POST", f"/v1/collections/{collection}/documents", who, json=body, headers={"Prefer": "wait=50"}
        )
        assert response.status_code in (200, 201), response.text
        return str(response.json()["document"]["id"])

    def retrieve(self, who: str, query: str, **rest: Any) -> dict[str, Any]:
        """The answer to a question; it must be 200."""
        answer: dict[str, Any] = self.succeed(who, "POST", "/v1/retrieve", {"query": query, **rest})
        return answer


@contextmanager
def muniment(folder: Path, **environment: str) -> Iterator[Muniment]:
    """A data folder with a free port. Nothing runs yet; whatever does at the end is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    liveness, held_end = os.pipe()
    served = Muniment(folder=folder, port=_free_port(), environment=environment, liveness=liveness)
    try:
        yield served
    finally:
        served.end()
        os.close(held_end)
        os.close(liveness)


@contextmanager
def suspended(process: psutil.Process | None) -> Iterator[psutil.Process]:
    """Stopped as by Ctrl-Z while inside: it holds what it holds and does nothing. It may be killed meanwhile."""
    assert process
    process.suspend()
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
