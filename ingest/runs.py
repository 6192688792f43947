"""Running sources: claimed in SQL, listed page by page with each page's place kept, taken up where it broke off."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from app.domain.errors import Invalid, MunimentError, Unavailable
from app.domain.instants import Instant
from app.domain.jobs import Problem
from app.domain.runs import Connector, Registered, Run, RunId, RunState, SourceId, needs_confirmation
from app.domain.sources import Fetched, Item, Page, SourceSettings
from app.operations import collect, sources
from app.operations.collect import GONE, Errand
from app.operations.locate import check_location, check_places
from app.ports import Ports
from app.store import runs
from app.store import sources as store
from app.store.database import reading, writing
from ingest.folder_source import look_of
from ingest.ports import Revalidates, Source
from ingest.sources import WATCH, open_source

logger = logging.getLogger(__name__)

MAX_OPEN_JOBS = 256
"""Of one run at a time: what is listed waits until what was submitted is taken in."""

LEASE_MS = 30_000
"""How long a run waits for a worker that gives no sign of life, before another one goes on with it."""

_BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_LOOK_EVERY_S = 0.25
_RENEW_EVERY_S = 5.0
_CHECK_EVERY_S = 0.5
_PAUSE_S = 0.2
_AT_ONCE = 2
_WATCH_EVERY_S = 2.0
_WATCH_SHARE = 20.0
"""A look that takes long is taken rarely: of all the time, one part in so many."""

REQUESTS_PER_SECOND = "requests_per_second"
"""The option that keeps fetches apart."""

_INTERNAL = "Something failed on our side while running this source; it is logged under the run's id."
_CONFIRM = (
    "Most of what this source had is not there any more, so the place itself may be what is missing. "
    "Nothing was withdrawn. If it is right, run the source with confirm_withdrawals."
)

T = TypeVar("T")
Wait = Callable[[float], None]
"""Lets so many seconds pass. Raises `BrokenOff` when there is no time left."""


class BrokenOff(Exception):
    """The run is somebody else's to end or to go on with: it was cancelled, taken over, or this worker stops."""


def claim_next(ports: Ports, name: str) -> tuple[Run, str] | None:
    """The oldest run that waits, and the claim that it is held by."""
    now = ports.now()
    with reading(ports.engine) as session:
        if not runs.anything_to_claim(session, now):
            return None
    claim = f"{name}:{ports.new_id()}"
    with writing(ports.engine) as session:
        run = runs.claim(session, claim, now=now, until=Instant(now + LEASE_MS))
    return (run, claim) if run is not None else None


def carry_out(ports: Ports, run: Run, claim: str, scratch: Path, wait: Wait) -> None:
    """List a source, and take in what differs. What goes wrong ends the run, with the reason and its place kept."""
    try:
        with reading(ports.engine) as session:
            registered = store.registered_by_id(session, run.source_id)
        if registered is None or registered.settings.paused:
            _end(ports, run.id, RunState.CANCELLED)
            return
        _Carrying(ports, run, claim, registered, scratch, wait).out()
    except BrokenOff:
        return
    except MunimentError as error:
        _end(ports, run.id, RunState.FAILED, Problem(kind=error.kind, detail=error.detail))
    except Exception:
        logger.exception("run %s failed", run.id)
        _end(ports, run.id, RunState.FAILED, Problem(kind=MunimentError.kind, detail=_INTERNAL))


def finish_runs(ports: Ports) -> list[RunId]:
    """End the runs that wait for nothing but their jobs, once those are over."""
    with reading(ports.engine) as session:
        if not runs.any_listed(session):
            return []
    with writing(ports.engine) as session:
        return runs.finish(session, at=ports.now())


class _Carrying:
    """One run under way, on one thread."""

    def __init__(self, ports: Ports, run: Run, claim: str, registered: Registered, scratch: Path, wait: Wait) -> None:
        self._ports, self._run, self._claim, self._registered = ports, run, claim, registered
        self._scratch, self._wait = scratch, wait
        self._since = run.cursor
        self._pace_s = _pace_s(registered.settings)
        self._failures = 0
        self._checked = self._fetched = 0.0

    def out(self) -> None:
        settings = self._registered.settings
        with reading(self._ports.engine) as session:
            collect.authority(self._ports, session, self._registered)
        check_places(self._ports, settings)
        source = self._patiently(lambda: open_source(settings, self._scratch))
        errand = Errand(registered=self._registered, run=self._run.id, lists_all=source.lists_all)
        whole = self._begin(errand)
        self._patiently(lambda: self._list(source, errand))
        if whole and not self._patiently(lambda: self._retire_unseen(errand)):
            _end(self._ports, self._run.id, RunState.NEEDS_CONFIRMATION, Problem(kind="conflict", detail=_CONFIRM))
            return
        self._check(now=True)
        with writing(self._ports.engine) as session:
            runs.listed(session, self._run.id, at=self._ports.now())

    def _begin(self, errand: Errand) -> bool:
        """Where the listing goes on; whether what it does not name is gone. A run that was broken off knows both."""
        if self._run.resumed:
            return self._run.whole
        with writing(self._ports.engine) as session:
            runs.begin_listing(session, self._run.id, whole=errand.lists_all)
            if not errand.lists_all:
                self._since = store.kept_cursor(session, self._registered.id, self._settings_digest)
        return errand.lists_all

    def _list(self, source: Source, errand: Errand) -> None:
        for page in source.pages(self._since):
            self._take_in(source, errand, page)
            self._check(now=page.next is not None)
            if page.next is not None:
                with writing(self._ports.engine) as session:
                    runs.keep_place(session, self._run.id, page.next)
                    if not errand.lists_all:
                        store.keep_cursor(session, self._registered.id, page.next, self._settings_digest)
                self._since = page.next
            self._failures = 0

    def _take_in(self, source: Source, errand: Errand, page: Page) -> None:
        self._check()
        todo = collect.sift(self._ports, errand, page.items)
        collect.rebind(self._ports, errand, todo)
        for each in todo:
            if not each.same:
                self._make_room()
                collect.settle(self._ports, errand, each, lambda item, held: self._fetch(source, item, held))

    def _fetch(self, source: Source, item: Item, held: str | None) -> Fetched | None:
        if self._pace_s:
            self._wait(max(0.0, self._fetched + self._pace_s - time.monotonic()))
            self._fetched = time.monotonic()
        if held is not None and isinstance(source, Revalidates):
            return source.fetch_unless(item, held)
        return source.fetch(item)

    def _make_room(self) -> None:
        """Wait until what was submitted is not too much at once."""
        while True:
            self._check()
            with reading(self._ports.engine) as session:
                if runs.open_jobs(session, self._run.id) < MAX_OPEN_JOBS:
                    return
            self._wait(_PAUSE_S)

    def _retire_unseen(self, errand: Errand) -> bool:
        """Withdraw what the listing did not name; False if that is so much that somebody has to say so first."""
        with reading(self._ports.engine) as session:
            standing = collect.authority(self._ports, session, self._registered)
            unseen = store.items_not_seen(session, self._registered.id, self._run.id)
            there = store.count_items(session, self._registered.id)
        going = sum(each.document is not None for each in unseen)
        if not self._run.confirmed and needs_confirmation(going=going, there=there):
            return False
        for each in unseen:
            self._check()
            collect.retire(self._ports, errand, standing, each, ended=None, reason=GONE)
        return True

    def _patiently(self, do: Callable[[], T]) -> T:
        """What `do` gives; tried again, ever later, while a part of ours or the place itself cannot be reached."""
        while True:
            try:
                return do()
            except Unavailable:
                if self._failures == len(_BACKOFF_S):
                    raise
                self._wait(_BACKOFF_S[self._failures])
                self._failures += 1

    def _check(self, *, now: bool = False) -> None:
        """Pass while the run is ours to go on with; raises `BrokenOff`, having ended it if it was cancelled."""
        self._wait(0.0)
        if not now and time.monotonic() < self._checked + _CHECK_EVERY_S:
            return
        self._checked = time.monotonic()
        with writing(self._ports.engine) as session:
            until = Instant(self._ports.now() + LEASE_MS)
            cancelling = runs.renew(session, self._run.id, self._claim, until=until)
            if cancelling:
                runs.cancel_jobs(session, self._run.id, at=self._ports.now())
                runs.end(session, self._run.id, RunState.CANCELLED, at=self._ports.now())
        if cancelling is not False:
            raise BrokenOff

    @property
    def _settings_digest(self) -> str:
        """A place that was kept is one under these settings alone."""
        settings = self._registered.settings
        return hashlib.sha256(
            json.dumps([settings.connector, settings.location, sorted(settings.options.items())]).encode()
        ).hexdigest()


class SourceRuns:
    """The sources' side of a worker: what is due is asked for, what waits is claimed, what changed is noticed."""

    def __init__(self, ports: Ports, name: str, scratch: Path, *, scheduled: bool) -> None:
        self._ports, self._name, self._scratch, self._scheduled = ports, name, scratch, scheduled
        self._stop = threading.Event()
        self._carrying: dict[RunId, tuple[str, Future[None]]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._carrying)

    def start(self, stop: threading.Event) -> None:
        """Begin, in threads that end with the process."""
        self._stop = stop
        threading.Thread(target=self._serve, name="sources", daemon=True).start()
        if self._scheduled:
            threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _serve(self) -> None:
        released = False
        renewed = 0.0
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="source") as pool:
            while not self._stop.is_set():
                try:
                    if not released:
                        with writing(self._ports.engine) as session:
                            runs.release(session, self._name)
                        released = True
                    if self._scheduled:
                        sources.trigger_due(self._ports)
                    self._claim(pool)
                    finish_runs(self._ports)
                    if time.monotonic() > renewed + _RENEW_EVERY_S:
                        self._renew()
                        renewed = time.monotonic()
                except Unavailable as error:
                    logger.warning("waiting: %s", error.detail)
                self._stop.wait(_LOOK_EVERY_S)

    def _claim(self, pool: ThreadPoolExecutor) -> None:
        self._carrying = {id: each for id, each in self._carrying.items() if not each[1].done()}
        if len(self._carrying) < _AT_ONCE and (claimed := claim_next(self._ports, self._name)) is not None:
            run, claim = claimed
            future = pool.submit(carry_out, self._ports, run, claim, self._scratch, self._wait)
            self._carrying[run.id] = (claim, future)

    def _renew(self) -> None:
        """Hold what goes on here, also while a single item takes long."""
        for id, (claim, future) in list(self._carrying.items()):
            if not future.done():
                with writing(self._ports.engine) as session:
                    runs.renew(session, id, claim, until=Instant(self._ports.now() + LEASE_MS))

    def _wait(self, seconds: float) -> None:
        if self._stop.is_set() or (seconds and self._stop.wait(seconds)):
            raise BrokenOff

    def _watch(self) -> None:
        watch = Watch(self._ports)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                watch.look()
            except Unavailable as error:
                logger.warning("waiting: %s", error.detail)
            took = time.monotonic() - began
            self._stop.wait(max(_WATCH_EVERY_S, _WATCH_SHARE * took))


class Watch:
    """Folders that are looked at again and again: a run of one is asked for when it looks otherwise, and has come to
    rest. Looking is by names, sizes and times, which any mount tells; notifications come from some, and not from all.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._before: dict[SourceId, str] = {}

    def look(self) -> list[RunId]:
        """Look once; says which runs that asked for."""
        with reading(self._ports.engine) as session:
            watched = [each for each in store.registered_everywhere(session) if _is_watched(each.settings)]
        asked: list[RunId] = []
        for each in watched:
            try:
                check_location(self._ports, each.settings.location)
                look = look_of(Path(each.settings.location.removeprefix("file://")))
            except MunimentError:
                continue  # its runs say so, when they are asked for
            still, self._before[each.id] = self._before.get(each.id) == look, look
            if still and (run := self._asked(each, look)) is not None:
                asked.append(run)
        return asked

    def _asked(self, registered: Registered, look: str) -> RunId | None:
        with reading(self._ports.engine) as session:
            if store.watched(session, registered.id) == look:
                return None
        with writing(self._ports.engine) as session:
            if runs.open_run(session, registered.id) is not None or not store.note_watched(
                session, registered.id, look
            ):
                return None
            return sources.trigger(self._ports, session, registered, triggered_by=sources.WATCH)


def _is_watched(settings: SourceSettings) -> bool:
    return settings.connector == Connector.FOLDER and settings.options.get(WATCH) == "true" and not settings.paused


def _pace_s(settings: SourceSettings) -> float:
    """Seconds from one fetch to the next; 0 without a limit. Raises `Invalid` for a limit that is none."""
    stated = settings.options.get(REQUESTS_PER_SECOND)
    if stated is None:
        return 0.0
    try:
        rate = float(stated)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 10_000:
        raise Invalid(f"The option {REQUESTS_PER_SECOND} is a number above 0.")
    return 1 / rate


def _end(ports: Ports, id: RunId, state: RunState, problem: Problem | None = None) -> None:
    with writing(ports.engine) as session:
        runs.end(session, id, state, at=ports.now(), problem=problem)
