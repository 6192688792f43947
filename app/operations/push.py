"""Items that are brought rather than fetched, one after the other: each through the same door as any source's."""

from dataclasses import dataclass

from app.domain.corpus import DocumentId
from app.domain.errors import Conflict, MunimentError
from app.domain.jobs import JobId, Problem
from app.domain.runs import Connector, ItemOutcome, RunId
from app.domain.sources import Fetched, Item, SourceName
from app.operations import collect
from app.operations.collect import Errand
from app.operations.identify import Credentials
from app.operations.sources import registered_source
from app.ports import Ports
from app.store import runs
from app.store import sources as store
from app.store.database import reading, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """An item with its content; None of one that is gone."""

    item: Item
    fetched: Fetched | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a pushed item."""

    outcome: ItemOutcome
    document: DocumentId | None = None
    job: JobId | None = None
    problem: Problem | None = None


def begin_push(ports: Ports, credentials: Credentials, collection: str, name: SourceName) -> Errand:
    """A run that items are pushed in. Raises `NotFound`, or `Conflict` for a source that is paused or fetches."""
    with reading(ports.engine) as session:
        standing, registered = registered_source(ports, session, credentials, collection, name)
        collect.authority(ports, session, registered)
    if registered.settings.connector != Connector.PUSH:
        raise Conflict("This source fetches what it has. Register another one with the connector push.")
    if registered.settings.paused:
        raise Conflict("This source is paused. Register it again with paused false, or muniment source pause --resume.")
    id = RunId(f"run_{ports.new_id()}")
    at = ports.now()
    with writing(ports.engine) as session:
        runs.add_run(
            session, id, registered.id, triggered_by=standing.principal.label, confirmed=False, at=at, claim="push"
        )
        runs.listed(session, id, at=at)
    return Errand(registered=registered, run=id, lists_all=False)


def push(ports: Ports, errand: Errand, pushed: Pushed) -> Verdict:
    """Take one item in. Whatever is wrong with it is its verdict; the next one is not touched by it."""
    try:
        return _pushed(ports, errand, pushed)
    except MunimentError as error:
        return Verdict(outcome=ItemOutcome.REFUSED, problem=Problem(kind=error.kind, detail=error.detail))


def _pushed(ports: Ports, errand: Errand, pushed: Pushed) -> Verdict:
    def fetch(_: Item) -> Fetched:
        assert pushed.fetched is not None
        return pushed.fetched

    item, source = pushed.item, errand.registered.id
    with reading(ports.engine) as session:
        collect.authority(ports, session, errand.registered)
        before = store.known_items(session, source, [item.key]).get(item.key)
    if before and before.valid_from and item.valid_from is not None and item.valid_from < before.valid_from:
        raise Conflict("A state of this item that began later is known already. Push the states of an item in order.")
    todo = collect.sift(ports, errand, [item])
    collect.rebind(ports, errand, todo)
    for each in todo:
        if not each.same:
            collect.settle(ports, errand, each, lambda item, _: fetch(item))
    with reading(ports.engine) as session:
        noted = runs.note_of(session, errand.run, item.key) if todo or before is None else None
        known = store.known_items(session, source, [item.key]).get(item.key)
    if noted is None:
        return Verdict(outcome=ItemOutcome.UNCHANGED, document=known.document if known else None)
    return Verdict(outcome=noted.outcome, document=noted.document, job=noted.job, problem=noted.problem)
