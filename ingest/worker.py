"""The ingest worker: takes acknowledged jobs in batches and runs each batch as one durable workflow.

    python -m ingest.worker [--name worker-1] [--liveness-fd N]

DBOS keeps which steps of a batch are over. A worker that dies is started again under its name, its executor id, and
goes on at the step that was interrupted. What is to be done stands in SQL: a claimed batch without a workflow is begun,
and the batch of a worker that does not come back is begun anew by another one of the same data folder.
"""

import argparse
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, StepOptions, WorkflowHandle
from sqlalchemy.engine import make_url

from app.bootstrap import new_id, open_ports
from app.domain.errors import Unavailable
from app.domain.evidence import Vector
from app.operations.synchronize import restock, synchronize
from app.ports import Embedder, Ports
from app.settings import Settings
from app.store import jobs
from app.store.database import reading, writing
from app.watch import Held, held, on_end_of_parent
from ingest import pipeline
from ingest.ports import Parser
from ingest.sandbox import SandboxedParser

logger = logging.getLogger(__name__)

APPLICATION_VERSION = "1"
"""Of the workflow's shape. DBOS resumes only what the same version began, so it is pinned, not derived from code."""

MAX_BATCH_JOBS = 32
MAX_BATCHES = 2
"""At once: one is read while the other is embedded."""

_LOOK_EVERY_S = 0.1
_SYNCHRONIZE_EVERY_S = 1.0
_ADOPT_EVERY_S = 5.0
_READING_AT_ONCE = 2
_SIGNED_AT_ONCE = 20
"""Texts from before an upgrade, between two looks for work."""
_RESTED = "MUNIMENT_WORKER_RESTED"
"""Set in a worker that begins anew for want of work: it loads the model with its first job, not at once."""

_REST_AFTER_S = 60.0
"""Without work, before a worker gives back what it took: about half a second, and the model's load at the next job."""
_UNDER_WAY = ("PENDING", "ENQUEUED", "DELAYED")
_TAKE_OVER_S = 15.0
"""How long a worker waits for the one before it, of the same name, to be gone."""

Step = Callable[[str], None]


class Worker:
    """The batches under way, and the loop that finds more. One a process, as DBOS is."""

    def __init__(self, ports: Ports, parser: Parser, name: str, locks: Path) -> None:
        self._ports, self._name, self._locks = ports, name, locks
        self._readers = ThreadPoolExecutor(_READING_AT_ONCE, thread_name_prefix="reader")
        self._running: dict[str, WorkflowHandle[None]] = {}
        steps: list[tuple[str, Step]] = [
            ("stage", lambda batch: pipeline.stage_batch(ports, parser, self._readers, batch)),
            ("embed", lambda batch: pipeline.embed_batch(ports, batch)),
            ("index", lambda batch: pipeline.index_batch(ports, batch)),
            ("publish", lambda batch: pipeline.publish_batch(ports, batch)),
            ("place", lambda batch: pipeline.place_batch(ports, batch)),
        ]

        @DBOS.workflow(name="ingest-batch", max_recovery_attempts=1000)
        def run(batch: str) -> None:
            try:
                for name, step in steps:
                    DBOS.run_step(_durably(name), step, batch)
            except Exception as error:
                failure = error
                DBOS.run_step(_durably("fail"), lambda batch: pipeline.fail_batch(ports, batch, failure), batch)

        self._workflow = run

    def serve(self, stop: threading.Event, *, rest_after_s: float) -> None:
        """Work until told to stop; the next worker of this name goes on with what is under way then.

        Returns too when there was work, and then none for `rest_after_s`: what the model and its threads took is given
        back by beginning anew.
        """
        self._resume()
        worked, idle_since = bool(self._running) or _RESTED not in os.environ, time.monotonic()
        told, adopted = _Due(_SYNCHRONIZE_EVERY_S), _Due(_ADOPT_EVERY_S)
        stocked = all_signed = False
        while not stop.is_set():
            claimed = False
            try:
                if not stocked:
                    self._restock()
                    stocked = True
                if not all_signed:
                    all_signed = pipeline.sign_texts(self._ports, limit=_SIGNED_AT_ONCE) < _SIGNED_AT_ONCE
                self._reap()
                claimed = self._claim()
                if adopted.again():
                    self._adopt()
                if told.again():
                    synchronize(self._ports)
            except Unavailable as error:
                logger.warning("waiting: %s", error.detail)
            if claimed or self._running:
                worked, idle_since = True, time.monotonic()
            if not claimed:
                if worked and time.monotonic() - idle_since > rest_after_s:
                    return
                stop.wait(_LOOK_EVERY_S)

    def _restock(self) -> None:
        if restock(self._ports):
            logger.warning("the index holds less than the database: it is told of everything anew")

    def _resume(self) -> None:
        """Take up this worker's batches: DBOS resumes those it knows of, the rest is begun, the hopeless is failed."""
        with reading(self._ports.engine) as session:
            batches = [each for each in jobs.open_batches(session) if each.startswith(f"{self._name}:")]
        for batch in batches:
            status = DBOS.get_workflow_status(batch)
            if status is None:
                self._begin(batch)
            elif status.status in _UNDER_WAY:
                self._running[batch] = DBOS.retrieve_workflow(batch)
            else:
                pipeline.fail_batch(self._ports, batch, Unavailable("This batch was begun too often without ending."))

    def _claim(self) -> bool:
        if len(self._running) >= MAX_BATCHES:
            return False
        batch = f"{self._name}:{new_id()}"
        with reading(self._ports.engine) as session:
            if not jobs.anything_queued(session):
                return False
        with writing(self._ports.engine) as session:
            claimed = jobs.claim(session, batch, max_jobs=MAX_BATCH_JOBS)
        if claimed:
            self._begin(batch)
        return bool(claimed)

    def _adopt(self) -> None:
        """Go on with the batches of workers that are gone: those whose name nobody holds in this data folder."""
        with reading(self._ports.engine) as session:
            batches = [each for each in jobs.open_batches(session) if not each.startswith(f"{self._name}:")]
        for batch in batches:
            lock = lock_of(self._locks, batch.rpartition(":")[0])
            if len(self._running) >= MAX_BATCHES or not lock.exists():
                continue
            with suppress(Held), held(lock):  # were it to come back now, it would wait until this is done
                ours = f"{self._name}:{new_id()}"
                with writing(self._ports.engine) as session:
                    jobs.hand_over(session, batch, ours)
                self._begin(ours)

    def _begin(self, batch: str) -> None:
        with SetWorkflowID(batch):
            self._running[batch] = DBOS.start_workflow(self._workflow, batch)

    def _reap(self) -> None:
        for batch, handle in list(self._running.items()):
            if handle.get_status().status not in _UNDER_WAY:
                del self._running[batch]
                if not self._running:
                    _return_freed_memory()


class _OneThreadEmbedder:
    """The `Embedder` port, called on one thread whoever asks.

    torch makes a team of threads for every thread that calls it, with memory of their own: from the threads that
    batches run in, 768 passages took 774 MB instead of 544, and no less time.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self._thread.submit(self._embedder.embed_queries, texts).result()

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return self._thread.submit(self._embedder.embed_passages, texts).result()


def _return_freed_memory() -> None:
    """Give the C allocator's free pages back to the system, when there is nothing to do. glibc only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Due:
    """Whether so many seconds have passed since it last said so; the first time they have."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next = time.monotonic()

    def again(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._every_s
        return True


def lock_of(locks: Path, name: str) -> Path:
    """The file that a worker of that name holds as long as it lives."""
    return locks / f"{name}.lock"


def _durably(name: str) -> StepOptions:
    """A part of ours that is down is tried again every two seconds, for as long as it takes; a bug ends the batch."""
    return StepOptions(
        name=name,
        retries_allowed=True,
        interval_seconds=2.0,
        backoff_rate=1.0,
        max_attempts=1_000_000,
        should_retry=lambda error: isinstance(error, Unavailable),
    )


@contextmanager
def _dbos(settings: Settings, name: str) -> Iterator[None]:
    """DBOS on the institution's PostgreSQL, or on a SQLite file of its own beside ours: it locks it its own way."""
    own = make_url(settings.database).get_backend_name() == "sqlite"
    url = f"sqlite:///{settings.home.absolute() / 'workflows.sqlite'}" if own else settings.database
    config = DBOSConfig(
        name="muniment",
        system_database_url=url,
        executor_id=name,
        application_version=APPLICATION_VERSION,
        serializer=DBOSPortableJSONSerializer(),
        log_level="WARNING",
        enable_otlp=False,
        max_executor_threads=8,
    )
    DBOS(config=config)
    try:
        yield
    finally:
        DBOS.destroy(destroy_registry=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped, 1 another worker of that name is running, 2 wrong usage."""
    options = argparse.ArgumentParser(prog="muniment worker", description="One ingest worker.")
    options.add_argument("--name", default="worker-1", help="stable, and its own: a worker resumes what its name began")
    options.add_argument("--liveness-fd", type=int, help=argparse.SUPPRESS)
    options.add_argument("--rest-after-s", type=float, default=_REST_AFTER_S, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format=f"{chosen.name}: %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    on_end_of_parent(chosen.liveness_fd, lambda: os._exit(0))
    # Read when torch is first imported: on cores that others use too, waiting threads that spin took seven times the
    # processor time, and three times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings = Settings()
    locks = settings.home / "run"
    try:
        with (
            held(lock_of(locks, chosen.name), patience_s=_TAKE_OVER_S),
            open_ports(settings, threads=os.cpu_count() or 1, searching=False) as ports,
            SandboxedParser(slots=_READING_AT_ONCE) as parser,
            _dbos(settings, chosen.name),
        ):
            ports = replace(ports, embedder=_OneThreadEmbedder(ports.embedder))
            worker = Worker(ports, parser, chosen.name, locks)
            DBOS.launch()
            if _RESTED not in os.environ:
                threading.Thread(target=lambda: ports.embedder.fingerprint, name="preload", daemon=True).start()
            worker.serve(stop, rest_after_s=chosen.rest_after_s)
    except Held:
        print(
            f"A worker named {chosen.name} is running on this data folder. Give this one another --name.",
            file=sys.stderr,
        )
        return 1
    if not stop.is_set():
        sys.stdout.flush()
        os.environ[_RESTED] = "yes"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 (this very program)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # what is under way in other threads is resumed at the next start, not waited for
