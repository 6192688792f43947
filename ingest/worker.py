"""The ingest worker: takes acknowledged jobs in batches and runs each batch as one workflow.

    python -m ingest.worker [--name worker-1] [--liveness-fd N]

What is to be done, and how far it is, stands in SQL: every step reads there what is left. A worker says there every
few seconds that it lives. What one had that is gone is queued again, by whoever notices first, on whatever machine;
and one that was only slow finds that its batch is no longer its own, and changes nothing.
"""

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, StepOptions, WorkflowHandle
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app.bootstrap import new_id, open_ports
from app.domain.corpus import Digest
from app.domain.errors import Invalid, Unavailable
from app.domain.instants import Instant
from app.operations import escalate
from app.operations.clear import clear_away
from app.operations.erase import carry_on
from app.operations.notify import deliver_due
from app.operations.rebuild import build_some, look_ahead, remove_retired, renew_if_changed
from app.operations.retain import run_due
from app.operations.synchronize import restock, synchronize
from app.ports import Detector, Ports
from app.settings import Settings
from app.store import jobs, workers
from app.store.database import clock_of, reading, writing
from app.store.workers import Self
from app.watch import Held, held, on_end_of_parent
from ingest import pipeline
from ingest.labelling import DETECTORS
from ingest.ports import Parser
from ingest.runs import SourceRuns
from ingest.sandbox import SandboxedParser
from ingest.web_client import post_to

logger = logging.getLogger(__name__)

APPLICATION_VERSION = "2"
"""Of the workflow's shape. DBOS resumes only what the same version began, so it is pinned, not derived from code."""

MAX_BATCH_JOBS = 128
MAX_BATCH_BYTES = 4_000_000
"""Of originals: a batch has many small documents, or a few large ones."""
MAX_BATCHES = 2
"""At once: one is read while the other is embedded."""

_LOOK_EVERY_S = 0.1
_BUILD_EVERY_S = 0.2
_BUILD_FOR_S = 2.0
_BUILD_AGAIN_S = 3.0
"""After a piece beside an ingest, or when a part was down."""
_SYNCHRONIZE_EVERY_S = 1.0
_BURY_EVERY_S = 2.0
_CLEAR_EVERY_S = 10.0
_DISPOSE_EVERY_S = 1.0
_REMIND_EVERY_S = 2.0
_TELL_EVERY_S = 2.0
_READING_AT_ONCE = 2
_SIGNED_AT_ONCE = 20
"""Texts from before an upgrade, between two looks for work."""
_FROM_THE_FIRST: Digest | None = Digest("")
_RESTED = "MUNIMENT_WORKER_RESTED"
"""Set in a worker that begins anew for want of work: it loads the model with its first job, not at once."""

_REST_AFTER_S = 60.0
"""Without work, before a worker gives back what it took: about half a second, and the model's load at the next job."""
_UNDER_WAY = ("PENDING", "ENQUEUED", "DELAYED")
_TAKE_OVER_S = 15.0
"""How long a worker waits for the one before it, of the same name and folder, to be gone."""

Step = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Chore:
    """What a worker does every so often, beside its batches. When a part that it needs is down, it is left undone."""

    every_s: float
    act: Callable[[], object]
    due_at: float = 0.0

    def do_if_due(self) -> None:
        now = time.monotonic()
        if now >= self.due_at:
            self.due_at = now + self.every_s
            self.act()


class Worker:
    """The batches under way, and the loop that finds more. One a process, as DBOS is."""

    def __init__(
        self,
        ports: Ports,
        parser: Parser,
        me: Self,
        *,
        sources: SourceRuns | None = None,
        detectors: Sequence[Detector] = DETECTORS,
    ) -> None:
        self._ports, self._me, self._sources = ports, me, sources
        self._readers = ThreadPoolExecutor(_READING_AT_ONCE, thread_name_prefix="reader")
        self._running: dict[str, WorkflowHandle[None]] = {}
        self._suspect = False
        self._chores = [
            Chore(every_s=_SYNCHRONIZE_EVERY_S, act=lambda: synchronize(ports)),
            Chore(every_s=_BURY_EVERY_S, act=self._bury),
            Chore(every_s=_CLEAR_EVERY_S, act=lambda: clear_away(ports)),
            Chore(every_s=_DISPOSE_EVERY_S, act=self._dispose),
            Chore(every_s=_REMIND_EVERY_S, act=lambda: escalate.run_due(ports)),
            Chore(every_s=_TELL_EVERY_S, act=self._tell),
            Chore(every_s=_BUILD_EVERY_S, act=self._build),
        ]
        self._building = ThreadPoolExecutor(1, thread_name_prefix="building")
        self._built: Future[None] | None = None
        self._build_at = 0.0
        self._builds = False
        self._disposing = ThreadPoolExecutor(1, thread_name_prefix="disposing")
        self._disposed: Future[None] | None = None
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="telling")
        self._told: Future[None] | None = None
        steps: list[tuple[str, Step]] = [
            ("stage", lambda batch: pipeline.stage_batch(ports, parser, self._readers, batch, detectors=detectors)),
            ("embed", lambda batch: pipeline.embed_batch(ports, batch)),
            ("index", lambda batch: pipeline.index_batch(ports, batch)),
            ("publish", lambda batch: pipeline.publish_batch(ports, batch)),
            ("place", lambda batch: pipeline.place_batch(ports, batch)),
        ]

        @DBOS.workflow(name="ingest-batch", max_recovery_attempts=1000)
        def run(batch: str) -> None:
            try:
                for name, step in steps:
                    DBOS.run_step(StepOptions(name=name), step, batch)
            except Unavailable as error:
                setback = error
                DBOS.run_step(
                    _insistently("postpone"), lambda batch: pipeline.postpone_batch(ports, batch, setback), batch
                )
            except Exception as error:
                failure = error
                DBOS.run_step(_insistently("fail"), lambda batch: pipeline.fail_batch(ports, batch, failure), batch)

        self._workflow = run

    def serve(self, stop: threading.Event, *, rest_after_s: float) -> None:
        """Work until told to stop; what is under way then is anybody's.

        Returns too when there was work, and then none for `rest_after_s`: what the model and its threads took is given
        back by beginning anew.
        """
        if self._sources is not None:
            self._sources.start(stop)
        worked, idle_since = _RESTED not in os.environ, time.monotonic()
        stocked, sign_after = False, _FROM_THE_FIRST
        while not stop.is_set():
            claimed = False
            try:
                if not stocked:
                    self._restock()
                    stocked = True
                if sign_after is not None:
                    sign_after = pipeline.sign_texts(self._ports, after=sign_after, limit=_SIGNED_AT_ONCE)
                self._reap()
                claimed = self._claim()
                for chore in self._chores:
                    chore.do_if_due()
            except Unavailable as error:
                logger.warning("waiting: %s", error.detail)
            if claimed or self._busy:
                worked, idle_since = True, time.monotonic()
            if not claimed:
                if worked and time.monotonic() - idle_since > rest_after_s:
                    return
                stop.wait(_LOOK_EVERY_S)

    @property
    def _busy(self) -> bool:
        """Whether anything is under way that the worker should not rest from."""
        fetching = self._sources is not None and self._sources.busy
        return bool(self._running) or self._is_disposing() or self._builds or fetching

    def _dispose(self) -> None:
        """Have erasures that nobody carries out, and retention rules that are due, seen to beside everything else."""
        if self._disposed is not None:
            if self._is_disposing():
                return
            failure = self._disposed.exception()
            if failure is not None:
                logger.error("disposing failed, and is tried again", exc_info=failure)
        self._disposed = self._disposing.submit(self._dispose_of_all)

    def _is_disposing(self) -> bool:
        return self._disposed is not None and not self._disposed.done()

    def _dispose_of_all(self) -> None:
        try:
            carry_on(self._ports, self._me.name)
            run_due(self._ports)
        except Unavailable as error:
            logger.warning("waiting to erase: %s", error.detail)

    def _tell(self) -> None:
        """Have webhooks told of what is new beside everything else: whoever is told may be slow."""
        if self._told is not None:
            if not self._told.done():
                return
            failure = self._told.exception()
            if failure is not None:
                logger.error("telling webhooks failed, and is tried again", exc_info=failure)
        self._told = self._telling.submit(self._tell_all)

    def _tell_all(self) -> None:
        try:
            deliver_due(self._ports, post_to)
        except Unavailable as error:
            logger.warning("waiting to tell webhooks: %s", error.detail)

    def _build(self) -> None:
        """Have the next generation of the index built beside everything else, some versions at a time: in its own time
        while there is nothing to ingest, and now and then while there is."""
        if self._built is not None:
            if not self._built.done():
                return
            failure = self._built.exception()
            if failure is not None:
                logger.error("building the index failed, and is tried again", exc_info=failure)
        if time.monotonic() >= self._build_at:
            self._built = self._building.submit(self._build_for_a_while)

    def _build_for_a_while(self) -> None:
        until = time.monotonic() + _BUILD_FOR_S
        try:
            while build_some(self._ports, self._me.name):
                self._builds = True
                if self._running or time.monotonic() > until:
                    break
            else:
                self._builds = False
            if remove_retired(self._ports):
                look_ahead(self._ports)
        except Unavailable as error:
            logger.warning("waiting to build the index: %s", error.detail)
            self._build_at = time.monotonic() + _BUILD_AGAIN_S
        if self._running:
            self._build_at = time.monotonic() + _BUILD_AGAIN_S

    def _restock(self) -> None:
        if restock(self._ports):
            logger.warning("the index holds less than the database: it is told of everything anew")

    def _bury(self) -> None:
        with reading(self._ports.engine) as session:
            if not workers.anybody_gone(session, silent_before=_silent_before(self._ports, session)):
                return
        with writing(self._ports.engine) as session:
            workers.beat(session, self._me, clock=clock_of(session))  # one that was suspended does not bury itself
            silent_before = _silent_before(self._ports, session)
            released = workers.bury(session, silent_before=silent_before, at=self._ports.now())
        if released:
            logger.warning("%d jobs of a worker that is gone are queued again", len(released))

    def _claim(self) -> bool:
        """A batch, if there is room and work. A suspect is done when nothing else is, and nothing else meanwhile."""
        if len(self._running) >= MAX_BATCHES or (self._suspect and self._running):
            return False
        at = self._ports.now()
        with reading(self._ports.engine) as session:
            self._suspect = jobs.anything_queued(session, suspects=True, at=at)
            if (self._suspect and self._running) or not jobs.anything_queued(session, at=at):
                return False
        batch = self._me.batch(new_id())
        with writing(self._ports.engine) as session:
            claimed = jobs.claim(
                session, batch, max_jobs=MAX_BATCH_JOBS, max_bytes=MAX_BATCH_BYTES, suspects=self._suspect, at=at
            )
        if claimed:
            with SetWorkflowID(batch):
                self._running[batch] = DBOS.start_workflow(self._workflow, batch)
        return bool(claimed)

    def _reap(self) -> None:
        for batch, handle in list(self._running.items()):
            if handle.get_status().status not in _UNDER_WAY:
                del self._running[batch]
                if not self._running:
                    _return_freed_memory()


def _preload(ports: Ports) -> None:
    """Have the model ready for the first job, and the index built anew if its model is another by now."""
    try:
        renew_if_changed(ports)
    except Unavailable as error:
        logger.warning("the embedding model: %s", error.detail)


def _return_freed_memory() -> None:
    """Give the C allocator's free pages back to the system, when there is nothing to do. glibc only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def lock_of(locks: Path, name: str) -> Path:
    """The file that a worker of that name holds as long as it lives."""
    return locks / f"{name}.lock"


@contextmanager
def registered(ports: Ports, me: Self) -> Iterator[None]:
    """This process as the worker of its name, said to live as long as it does. Raises `Held`.

    Whoever is told that another process has its name by now ends at once: that one has its batches.
    """
    _register(ports, me)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(ports.limits.dead_after_s / 5):
            with suppress(Unavailable):
                if not _beaten(ports, me):
                    logger.error("another worker named %s has taken over: this one ends", me.name)
                    os._exit(1)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with suppress(Unavailable), writing(ports.engine) as session:
            workers.leave(session, me, at=ports.now())


def _register(ports: Ports, me: Self) -> None:
    deadline = time.monotonic() + ports.limits.dead_after_s + 5
    while True:
        with writing(ports.engine) as session:
            lives = _registered(ports, session, me)
        if lives is None:
            return
        if time.monotonic() > deadline:
            raise Held(lives)
        time.sleep(0.5)


def _beaten(ports: Ports, me: Self) -> bool:
    """Whether this worker still has its name. One that was taken for dead takes it again if nobody else has."""
    with writing(ports.engine) as session:
        return workers.beat(session, me, clock=clock_of(session)) or _registered(ports, session, me) is None


def _registered(ports: Ports, session: Session, me: Self) -> str | None:
    clock, silent_before = clock_of(session), _silent_before(ports, session)
    return workers.register(session, me, clock=clock, silent_before=silent_before, at=ports.now())


def _silent_before(ports: Ports, session: Session) -> Instant:
    """By the database's clock: who was not seen since is dead."""
    return Instant(clock_of(session) - int(ports.limits.dead_after_s * 1000))


def _insistently(name: str) -> StepOptions:
    """What ends a batch is tried for as long as it takes: it needs the database alone."""
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
        logging.getLogger("dbos").setLevel(logging.CRITICAL)  # that batches under way end without it is meant
        DBOS.destroy(destroy_registry=True)


def _detectors(settings: Settings) -> Sequence[Detector]:
    """What looks for personal data and secrets: our own, and presidio if it is configured. Raises `Invalid`."""
    if settings.detection.presidio is None:
        return DETECTORS
    from ingest.presidio_detector import PresidioDetector

    return (*DETECTORS, PresidioDetector(settings.detection.presidio))


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
    place = f"{socket.gethostname()}:{settings.home.absolute()}"
    me = Self(name=chosen.name, incarnation=new_id(), place=place)
    try:
        detectors = _detectors(settings)
    except Invalid as error:
        print(error.detail, file=sys.stderr)
        return 2
    try:
        with (
            held(lock_of(settings.home / "run", chosen.name), patience_s=_TAKE_OVER_S),
            open_ports(settings, searching=False) as ports,
            registered(ports, me),
            SandboxedParser(slots=_READING_AT_ONCE) as parser,
            _dbos(settings, chosen.name),
        ):
            sources = SourceRuns(ports, me.name, settings.home / "sources", scheduled=settings.sources.scheduled)
            worker = Worker(ports, parser, me, sources=sources, detectors=detectors)
            DBOS.launch()
            if _RESTED not in os.environ:
                threading.Thread(target=_preload, args=(ports,), name="preload", daemon=True).start()
            worker.serve(stop, rest_after_s=chosen.rest_after_s)
    except Held:
        print(
            f"A worker named {chosen.name} is running on this data folder, or elsewhere on its database. "
            "Give this one another --name.",
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
