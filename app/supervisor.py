"""One machine's processes: index, API and worker, started together, restarted when they crash, ended together."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.adapters.index_process import AUTHKEY_VARIABLE, index_address
from app.bootstrap import held_generations, index_name, initialise, secret
from app.domain.errors import Unavailable
from app.domain.generations import Generation
from app.settings import Settings
from app.watch import held

STOP_PATIENCE_S = 10.0
READY_PATIENCE_S = 120.0
_RESTART_AFTER_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_AFTER_S = 30.0
_FOLLOW_EVERY_S = 1.0


@dataclass(slots=True, kw_only=True)
class _Child:
    """A process that is to be running. Only the parent holds the other end of its liveness pipe."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """Of an index process: what goes with it, when its generation does."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    crashes: int = 0
    due_at: float = 0.0


class Supervisor:
    """Index, API and worker of one data folder; make it with `supervised`."""

    def __init__(self, settings: Settings, host: str, port: int, *, worker: bool) -> None:
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._liveness, self._held_end = os.pipe()
        os.set_inheritable(self._liveness, True)
        self._settings = settings
        self._looked_at = 0.0
        self._children = _children(settings, host, port, self._liveness, worker=worker)

    def start(self) -> None:
        for child in self._children:
            self._spawn(child)

    def watch(self) -> None:
        """Restart what crashes, until `stop`. A child that keeps crashing is restarted ever more slowly."""
        while not self._stop.wait(0.1):
            with self._lock:
                if self._stop.is_set():
                    return
                self._follow_generations()
                for child in self._children:
                    self._look_after(child)

    def wait_until_ready(self) -> bool:
        """Whether every part came up within `READY_PATIENCE_S`."""
        deadline = time.monotonic() + READY_PATIENCE_S
        while time.monotonic() < deadline and not self._stop.is_set():
            if ready(self.url):
                return True
            time.sleep(0.1)
        return False

    def stop(self) -> None:
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def end(self) -> None:
        """Ask each child to stop, the API first and the index last; kill what has not within `STOP_PATIENCE_S`."""
        self._stop.set()
        with self._lock:
            self._end_children()
        os.close(self._held_end)
        os.close(self._liveness)

    def _end_children(self) -> None:
        for child in reversed(self._children):
            self._end(child)

    def _end(self, child: _Child) -> None:
        process = child.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _spawn(self, child: _Child) -> None:
        child.process = subprocess.Popen(
            child.command,
            env={**os.environ, **child.environment},
            pass_fds=(self._liveness,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        child.started_at = time.monotonic()

    def _follow_generations(self) -> None:
        """Have an index process for each generation that has an index, and none for those whose index is gone."""
        now = time.monotonic()
        if self._settings.index.url is not None or now - self._looked_at < _FOLLOW_EVERY_S:
            return
        self._looked_at = now
        try:
            wanted = {index_name(each.id): each for each in held_generations(self._settings)}
        except Unavailable:
            return
        here = {child.name: child for child in self._children if child.folder is not None}
        for child in [child for name, child in here.items() if name not in wanted]:
            self._end(child)
            self._children.remove(child)
            shutil.rmtree(child.folder or "", ignore_errors=True)
        new = [each for name, each in wanted.items() if name not in here]
        self._children[:0] = [_index(self._settings, each, self._liveness) for each in new]

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None and child.process.poll() is not None:
            code = child.process.returncode
            child.process = None
            child.crashes = child.crashes + 1 if now - child.started_at < _STEADY_AFTER_S else 1
            wait_s = _RESTART_AFTER_S[min(child.crashes, len(_RESTART_AFTER_S)) - 1]
            child.due_at = now + wait_s
            print(f"muniment: the {child.name} ended with {code}; restarting it.", file=sys.stderr, flush=True)
        if child.process is None and now >= child.due_at:
            try:
                self._spawn(child)
            except OSError as error:  # no memory or process is to be had: that passes
                child.due_at = now + _RESTART_AFTER_S[-1]
                print(f"muniment: the {child.name} cannot be started now: {error}.", file=sys.stderr, flush=True)


@contextmanager
def supervised(
    settings: Settings, host: str, port: int, *, worker: bool = True, stopped_by: Sequence[signal.Signals] = ()
) -> Iterator[tuple[Supervisor, str | None]]:
    """A data folder's processes, started, with the administrator's key if one was made now. Raises `Held`.

    `stopped_by` are signals that stop it from before the first child on: one that came while they start would else
    break in anywhere. Only in the main thread.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held(settings.home / "run" / "server.lock"):
        generated = initialise(settings)
        supervisor = Supervisor(settings, host, port, worker=worker)
        for number in stopped_by:
            signal.signal(number, lambda _number, _frame: supervisor.stop())
        try:
            supervisor.start()
            yield supervisor, generated
        finally:
            supervisor.end()


def ready(url: str) -> bool:
    """Whether the server at `url`, on this machine, says that every part is ready."""
    try:
        with _DIRECTLY.open(f"{url}/readyz", timeout=5) as response:
            return bool(json.load(response)["status"] == "ready")
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _children(settings: Settings, host: str, port: int, liveness: int, *, worker: bool) -> list[_Child]:
    shared = {
        "MUNIMENT_HOME": str(settings.home.absolute()),
        "MUNIMENT_SOURCES__ALLOW": json.dumps(settings.sources.locations),
        "MUNIMENT_SOURCES__SCHEDULED": str(settings.sources.scheduled),
    }
    alive = ["--liveness-fd", str(liveness)]
    children = []
    if settings.index.url is None:
        children = [_index(settings, each, liveness) for each in held_generations(settings)]
    if worker:
        children.append(_Child(name="worker", command=[*_PYTHON, "ingest.worker", *alive], environment=shared))
    api = ["app.api_process", "--host", host, "--port", str(port)]
    children.append(_Child(name="API", command=[*_PYTHON, *api, *alive], environment=shared))
    return children


def _index(settings: Settings, generation: Generation, liveness: int) -> _Child:
    """A process for one generation of the index: what one is told freezes no other."""
    name = index_name(generation.id)
    address, folder = index_address(settings.home, name), settings.home / name
    (settings.home / "run" / f"{name}.address").write_text(str(address))
    command = ["app.adapters.index_process", "--folder", str(folder), "--address", str(address)]
    command += ["--budget-ms", str(settings.index.budget_ms), "--liveness-fd", str(liveness)]
    dimension = ["--dimension", str(generation.makeup.dimension)]
    key = {AUTHKEY_VARIABLE: secret(settings.home, "index").hex()}
    return _Child(name=name, command=[*_PYTHON, *command, *dimension], environment=key, folder=folder)


_PYTHON = (sys.executable, "-m")
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Our own server is on this machine, whatever proxy the world is reached by."""
