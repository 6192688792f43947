"""Following jobs, and what can be done to one: cancel it, or try again what failed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.errors import Conflict, NotFound, NotPermitted, Unavailable
from app.domain.jobs import Job, JobId, JobState
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.clear import clear_away
from app.operations.identify import Credentials, Standing, identify
from app.operations.submit import handled_documents
from app.ports import Ports
from app.store import erasing, jobs, publishing, runs
from app.store.database import reading, recording

ABSENT = "There is no job by that id that you may follow."


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of jobs, the newest first; `after` continues it."""

    jobs: tuple[Job, ...]
    after: JobId | None


def job(ports: Ports, credentials: Credentials, id: JobId) -> Job:
    """A job, to whoever submitted it themselves, or curates its collection and may read its document; else `NotFound`.

    Through an assistant, both hold within the collections that the assistant may use.
    """
    with reading(ports.engine) as session:
        return _followed_one(ports, session, identify(ports, session, credentials), id)


def some_jobs(ports: Ports, credentials: Credentials, ids: Sequence[JobId]) -> Page:
    """Those of these jobs that the principal may follow; the others are left out, as if they were not there."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = _followed(ports, session, standing, jobs.some_jobs(session, ids), named=True)
    return Page(jobs=tuple(found), after=None)


def listed(
    ports: Ports,
    credentials: Credentials,
    *,
    collection: str | None,
    state: JobState | None,
    before: JobId | None,
    limit: int,
) -> Page:
    """Jobs that the principal may follow, the newest first; those that failed are the dead letters."""
    found: list[Job] = []
    place = before
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        within = authorize.curated_collections(ports, session, standing)
        own = standing.principal.subject.ref if _acts_for_itself(standing) else None
        while len(found) <= limit:
            some = jobs.listed(
                session, collections=within, by=own, collection=collection, state=state, before=place, limit=limit + 1
            )
            if not some:
                break
            found += _followed(ports, session, standing, some, named=False)
            place = some[-1].id
    page = tuple(found[:limit])
    return Page(jobs=page, after=page[-1].id if len(found) > limit else None)


def cancel(ports: Ports, credentials: Credentials, id: JobId) -> Job:
    """End a job that has published nothing. Raises `NotFound`, and `Conflict` for one that is over or published.

    What it staged is forgotten at once or, while the index is down, as soon as that is back.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        _followed_one(ports, session, standing, id)
    with recording(ports.engine, ports.now()) as (session, at):  # publishing is one too: it is before or after this
        version = publishing.version_of_job(session, id)
        if version is not None and version.number is not None:
            raise Conflict("Its version is published already. Withdraw the document to take it back.")
        found = _there(session, id)
        if found.state.ended:
            raise Conflict(f"It is over: it has {_ENDED[found.state]}.")
        jobs.cancel(session, id, at=at)
        request = {"what": "cancel", "document": found.document, "job": id}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
        session.flush()
        session.expire_all()
        cancelled = _there(session, id)
    with suppress(Unavailable):
        clear_away(ports, id)
    return cancelled


def retry(ports: Ports, credentials: Credentials, id: JobId) -> Job:
    """Queue a job again that failed or was cancelled, as an owner of its collection.

    Raises `NotFound`, `NotPermitted`, `Unavailable`, and `Conflict` for one that is not over, that succeeded, or after
    which the document was submitted again: it would put older content over newer.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        found = _followed_one(ports, session, standing, id)
        if found.collection not in authorize.curated_collections(ports, session, standing):
            raise NotPermitted("Only the owners of its collection have a document published. Ask one of them.")
        if not handled_documents(ports, session, standing, {found.document: found.collection}):
            raise NotPermitted("You may not read that document, so you cannot have it published. Ask its owners.")
        _check_retry(session, found)
    clear_away(ports, id)
    with recording(ports.engine, ports.now()) as (session, _):
        _check_retry(session, _there(session, id))
        jobs.retry(session, id)
        request = {"what": "retry", "document": found.document, "job": id}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="accepted", request=request)
        session.flush()
        session.expire_all()
        return _there(session, id)


_ENDED = {JobState.SUCCEEDED: "succeeded", JobState.FAILED: "failed", JobState.CANCELLED: "been cancelled"}


def _check_retry(session: Session, found: Job) -> None:
    if not found.state.ended:
        raise Conflict("It is not over: it is still queued or running.")
    if found.state is JobState.SUCCEEDED:
        raise Conflict("It succeeded: there is nothing to try again.")
    if (erased := erasing.erasure_of(session, found.document)) is not None:
        raise Conflict(f"The document was erased, and its original with it: see GET /v1/erasures/{erased.id}.")
    if jobs.overtaken(session, found.id):
        raise Conflict("The document was submitted again since: trying this again would put older content over newer.")


def _there(session: Session, id: JobId) -> Job:
    found = jobs.job(session, id)
    if found is None:
        raise NotFound(ABSENT)
    return found


def _followed_one(ports: Ports, session: Session, standing: Standing, id: JobId) -> Job:
    found = _followed(ports, session, standing, jobs.some_jobs(session, [id]), named=True)
    if not found:
        raise NotFound(ABSENT)
    return found[0]


def _followed(ports: Ports, session: Session, standing: Standing, some: Sequence[Job], *, named: bool) -> list[Job]:
    """Those that the principal submitted itself, and those of documents that it handles.

    An assistant that acts for the submitter follows what it can name, within the collections that it may use, though
    it may not read the document: it may have sent it. A list tells it of no more than it handles.
    """
    subject = standing.principal.subject
    within = authorize.curated_collections(ports, session, standing)
    alone = _acts_for_itself(standing)
    own = {
        each.id
        for each in some
        if each.submitted_by == subject.ref and (alone or (named and each.collection in within))
    }
    own -= runs.brought(session, own) if own else frozenset()  # what a source brought in its name it has not seen
    others = {each.document: each.collection for each in some if each.id not in own and each.collection in within}
    handled = handled_documents(ports, session, standing, others) if others else frozenset()
    return [each for each in some if each.id in own or each.document in handled]


def _acts_for_itself(standing: Standing) -> bool:
    """With all that it may do: through an assistant, or with a key that is limited, it follows what it curates."""
    principal = standing.principal
    return principal.actor is None and principal.subject.profile.active and not principal.scopes
