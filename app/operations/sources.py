"""Sources, for the owners of a collection: registered, run, looked back on, removed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import Boundary, BoundaryId, Collection, PrincipalRef
from app.domain.corpus import DocumentId, stated_boundary
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.foreign import ForeignName, ForeignPrincipals
from app.domain.jobs import JobState
from app.domain.runs import Connector, ItemOutcome, Noted, Registered, Registrant, Report, Run, RunId, Setback, Tally
from app.domain.sources import SourceName, SourceSettings
from app.domain.trace import TraceKind
from app.operations import authorize, collect
from app.operations.attest import record
from app.operations.duties import laying_down
from app.operations.identify import Credentials, Standing, identify
from app.operations.locate import check_places
from app.operations.schedule import next_due
from app.operations.submit import handled_documents
from app.ports import Ports
from app.store import boundaries as boundary_store
from app.store import directory, runs
from app.store import sources as store
from app.store.database import reading, recording, writing

NO_SUCH_SOURCE = "There is no source by that name in a collection that you own."
_NO_SUCH_COLLECTION = "There is no collection by that name that you own, so no source of it."
NO_SUCH_RUN = "There is no run by that id of a source in a collection that you own."

SCHEDULE = "schedule"
WATCH = "watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A source with its latest run."""

    registered: Registered
    latest: Run | None


def put_source(ports: Ports, credentials: Credentials, settings: SourceSettings) -> Registered:
    """Let a source be registered so from now on, in the name of whoever asks: its runs may do what they may do.

    Raises `NotFound` to whoever does not own the collection, `NotPermitted` for a place that is not allowed, `Invalid`.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        home = _curated(ports, session, standing, settings.collection)
        before = store.registered(session, settings.collection, settings.name)
        _check(ports, settings)
        principal = standing.principal
        if principal.scopes:
            raise NotPermitted(
                f"A source runs with all that whoever registers it may do, and what was sent is limited to "
                f"{principal.limits}. Register it with a key that is not limited."
            )
        registrant = Registrant(
            subject=principal.subject.ref,
            actors=principal.acting,
            proof=principal.proof,
        )
        if before is not None and (before.settings, before.registrant) == (settings, registrant):
            return before
    scheduled = settings.schedule is not None and not settings.paused
    due = next_due(settings.schedule, ports.now()) if scheduled and settings.schedule else None
    with recording(ports.engine, ports.now()) as (session, at):
        concerned = []
        if before is not None and before.settings.namespace != settings.namespace:
            concerned = [each.document for each in store.items_with_acl(session, [before.id]) if each.document]
        concerned = collect.whole(session, concerned)
        handled = handled_documents(ports, session, standing, dict.fromkeys(concerned, home.name))
        id = store.record_source(session, settings, registrant, next_run_at=due, at=at)
        registered = store.registered_by_id(session, id)
        assert registered is not None
        if concerned:
            known = store.foreign_principals(session, settings.namespace)
            collect.rederive(session, [registered], known, at=at, by=standing, handled=handled)
    _on_record(ports, standing, "put-source", f"{settings.collection}/{settings.name}")
    return registered


def source(ports: Ports, credentials: Credentials, collection: str, name: SourceName) -> Described:
    with reading(ports.engine) as session:
        _, registered = registered_source(ports, session, credentials, collection, name)
        return _described(session, registered)


def sources(ports: Ports, credentials: Credentials, collection: str) -> list[Described]:
    """The sources of a collection, by name."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        _curated(ports, session, standing, collection)
        return [_described(session, each) for each in store.registered_in(session, collection)]


def remove_source(ports: Ports, credentials: Credentials, collection: str, name: SourceName) -> None:
    """End a source and its runs. What it brought stays, its owners' to withdraw."""
    with reading(ports.engine) as session:
        standing, registered = registered_source(ports, session, credentials, collection, name)
    with recording(ports.engine, ports.now()) as (session, at):
        store.remove_source(session, registered.id, at=at)
        if (going_on := runs.open_run(session, registered.id)) is not None:
            runs.cancel(session, going_on, at=at)
    _on_record(ports, standing, "remove-source", f"{collection}/{name}")


def request_run(ports: Ports, credentials: Credentials, collection: str, name: SourceName, *, confirmed: bool) -> Run:
    """Have a worker run a source. One that goes on already is that run. Raises `Conflict` for one that is paused."""
    with reading(ports.engine) as session:
        standing, registered = registered_source(ports, session, credentials, collection, name)
    if registered.settings.connector == Connector.PUSH:
        raise Conflict("This source is pushed to: POST its documents to .../push. There is nothing to run.")
    if registered.settings.paused:
        raise Conflict("This source is paused. Register it again with paused false, or muniment source pause --resume.")
    with writing(ports.engine) as session:
        going_on = runs.open_run(session, registered.id)
        if going_on is not None and confirmed:
            raise Conflict("A run of this source goes on. Confirm its withdrawals when it has stopped to ask for that.")
        by = standing.principal.label
        id = going_on or trigger(ports, session, registered, triggered_by=by, confirmed=confirmed)
        run = runs.run(session, id)
    assert run is not None
    _on_record(ports, standing, "run-source", f"{collection}/{name}", run=id)
    return run


def trigger(
    ports: Ports, session: Session, registered: Registered, *, triggered_by: str, confirmed: bool = False
) -> RunId:
    """Ask for a run, within a transaction."""
    id = RunId(f"run_{ports.new_id()}")
    runs.add_run(session, id, registered.id, triggered_by=triggered_by, confirmed=confirmed, at=ports.now())
    return id


def trigger_due(ports: Ports) -> list[RunId]:
    """Ask for a run of each source whose time has come, and set its next: whichever worker looks, once. Times that
    passed while nobody looked are one run; a source of which a run goes on is not run again for them."""
    now = ports.now()
    asked: list[RunId] = []
    with reading(ports.engine) as session:
        if not store.anything_due(session, now):
            return asked
    with writing(ports.engine) as session:
        for registered in store.due(session, now):
            schedule = registered.settings.schedule
            store.set_next_run(session, registered.id, next_due(schedule, now) if schedule else None)
            if runs.open_run(session, registered.id) is None:
                asked.append(trigger(ports, session, registered, triggered_by=SCHEDULE))
    return asked


def reports(ports: Ports, credentials: Credentials, collection: str, name: SourceName, *, limit: int) -> list[Report]:
    """The latest runs of a source, newest first, as the principal may know of them."""
    with reading(ports.engine) as session:
        standing, registered = registered_source(ports, session, credentials, collection, name)
        return [_report(ports, session, standing, run) for run in runs.runs_of(session, registered.id, limit=limit)]


def report(ports: Ports, credentials: Credentials, collection: str, name: SourceName, id: RunId) -> Report:
    """What a run came to. Items that the principal may not read are neither listed nor counted."""
    with reading(ports.engine) as session:
        standing, registered = registered_source(ports, session, credentials, collection, name)
        return _report(ports, session, standing, _run_of(session, registered, id))


def cancel_run(ports: Ports, credentials: Credentials, collection: str, name: SourceName, id: RunId) -> Run:
    """Break a run off. What was taken stays; the next run goes on with the rest. Raises `Conflict` if it is over."""
    with reading(ports.engine) as session:
        standing, registered = registered_source(ports, session, credentials, collection, name)
        if _run_of(session, registered, id).state.ended:
            raise Conflict("This run is over.")
    with writing(ports.engine) as session:
        runs.cancel(session, id, at=ports.now())
        run = _run_of(session, registered, id)
    _on_record(ports, standing, "cancel-run", f"{collection}/{name}", run=id)
    return run


def put_identities(
    ports: Ports, credentials: Credentials, namespace: str, wanted: Mapping[ForeignName, PrincipalRef]
) -> None:
    """Let these, and no others, be meant by the names of a directory. Who may read by an access list in those names
    is decided again, at once. For administrators. Raises `NotPermitted`, or `Invalid` naming whom nobody knows."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        unknown = set(directory.missing(session, frozenset(wanted.values())))
        if unknown:
            faults = tuple(
                Fault(detail=f"{ref} is not in the directory.", pointer=f"/identities/{n}/principal")
                for n, ref in enumerate(wanted.values())
                if ref in unknown
            )
            raise Invalid("Some principals are not known here; nothing was changed.", faults=faults)
    with laying_down(ports, standing, "directory") as (session, at):  # tokens may name people by these
        by = standing.principal.subject.ref
        if store.record_foreign_principals(session, namespace, wanted, at=at, by=by):
            concerned = [each for each in store.registered_ever(session) if each.settings.namespace == namespace]
            collect.rederive(session, concerned, wanted, at=at, by=standing)
    _on_record(ports, standing, "put-identities", namespace)


def identities(ports: Ports, credentials: Credentials, namespace: str) -> ForeignPrincipals:
    """Whom the names of a directory mean. For administrators."""
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        return store.foreign_principals(session, namespace)


def _check(ports: Ports, settings: SourceSettings) -> None:
    if settings.connector == Connector.PUSH:
        if settings.location or settings.schedule:
            raise Invalid("A source that is pushed to has neither location nor schedule.")
        return
    if not settings.location:
        fault = Fault(detail="It is missing.", pointer="/location")
        raise Invalid("A source needs a location to fetch from.", faults=(fault,))
    check_places(ports, settings)
    if settings.schedule is not None:
        next_due(settings.schedule, ports.now())


def _curated(ports: Ports, session: Session, standing: Standing, name: str) -> Collection:
    """The collection, if the principal curates it. To everybody else its sources are as absent as any."""
    if name not in authorize.curated_collections(ports, session, standing):
        raise NotFound(_NO_SUCH_COLLECTION)
    return authorize.register(ports, session, standing).collections[name]


def registered_source(
    ports: Ports, session: Session, credentials: Credentials, collection: str, name: SourceName
) -> tuple[Standing, Registered]:
    standing = identify(ports, session, credentials)
    _curated(ports, session, standing, collection)
    registered = store.registered(session, collection, name)
    if registered is None:
        raise NotFound(NO_SUCH_SOURCE)
    return standing, registered


def _run_of(session: Session, registered: Registered, id: RunId) -> Run:
    run = runs.run(session, id)
    if run is None or run.source_id != registered.id:
        raise NotFound(NO_SUCH_RUN)
    return run


def _described(session: Session, registered: Registered) -> Described:
    latest = runs.runs_of(session, registered.id, limit=1)
    return Described(registered=registered, latest=latest[0] if latest else None)


def _report(ports: Ports, session: Session, standing: Standing, run: Run) -> Report:
    """INVARIANT: a function of what the principal may read: each item counts where every boundary of its document is
    open to them, and the one that was stated for it."""
    home = authorize.register(ports, session, standing).collections[run.collection]
    noted = runs.items_of(session, run.id)
    of_documents = runs.boundaries_of(session, run.id)
    unchanged = runs.unchanged_of(session, run.id)
    sight = _Sight(ports, session, standing)
    seen = [
        each
        for each in noted
        if sight.of(stated_boundary(each.stated, home))
        and all(sight.of_id(id) for id in of_documents.get(each.document or DocumentId(""), ()))
    ]
    left = sum(number for id, number in unchanged.items() if sight.of_id(id))
    return Report(run=run, tally=_tally(seen, left), setbacks=tuple(_setbacks(seen)))


class _Sight:
    """Which boundaries the principal reads within, each decided once."""

    def __init__(self, ports: Ports, session: Session, standing: Standing) -> None:
        self._ports, self._session, self._standing = ports, session, standing
        self._decided: dict[Boundary, bool] = {}
        self._by_id: Mapping[BoundaryId, Boundary] | None = None

    def of(self, boundary: Boundary) -> bool:
        if boundary not in self._decided:
            self._decided[boundary] = authorize.handles(self._ports, self._session, self._standing, [boundary])
        return self._decided[boundary]

    def of_id(self, id: BoundaryId) -> bool:
        if self._by_id is None:
            self._by_id = dict(boundary_store.boundaries_after(self._session, BoundaryId(0)))
        return self.of(self._by_id[id])


def _tally(noted: Sequence[Noted], unchanged: int) -> Tally:
    """Of an item with several states, each counts: they are versions."""

    def count(outcome: ItemOutcome) -> int:
        return sum(each.outcome is outcome for each in noted)

    states = [each.job_state for each in noted]
    return Tally(
        listed=len(noted) + unchanged,
        unchanged=unchanged,
        new=count(ItemOutcome.NEW),
        changed=count(ItemOutcome.CHANGED),
        boundary_only=count(ItemOutcome.BOUNDARY_ONLY),
        withdrawn=count(ItemOutcome.WITHDRAWN),
        refused=count(ItemOutcome.REFUSED),
        failed=sum(state is JobState.FAILED for state in states),
        going_on=sum(state in (JobState.QUEUED, JobState.RUNNING) for state in states),
    )


def _setbacks(noted: Iterable[Noted]) -> Iterable[Setback]:
    for each in noted:
        if each.problem is not None and (each.outcome is ItemOutcome.REFUSED or each.job_state is JobState.FAILED):
            yield Setback(
                uri=each.uri,
                kind=each.problem.kind,
                detail=each.problem.detail,
                document=each.document,
                job=each.job,
            )


def _on_record(ports: Ports, standing: Standing, what: str, about: str, *, run: RunId | None = None) -> None:
    request = {"what": what, "about": about, **({"run": run} if run else {})}
    record(ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
