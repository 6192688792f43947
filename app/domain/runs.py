"""Runs of sources: what is registered, what a run came to, and what is remembered of each item between two runs."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from app.domain.access import PrincipalRef, Proof
from app.domain.corpus import Digest, DocumentId, Metadata
from app.domain.instants import Instant
from app.domain.jobs import JobId, JobState, Problem
from app.domain.sources import Acl, Cursor, SourceName, SourceSettings

SourceId = NewType("SourceId", int)
"""A row: never shown outside."""

RunId = NewType("RunId", str)
"""`run_...`: opaque, shown outside."""


class Connector(StrEnum):
    FOLDER = "folder"
    GIT = "git"
    OBJECTS = "objects"
    WEB = "web"
    MAIL = "mail"
    PUSH = "push"


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEEDS_CONFIRMATION = "needs-confirmation"
    """It would withdraw so much that the place itself may be what is missing: an owner has to say."""

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)


class ItemOutcome(StrEnum):
    """What became of an item in a run."""

    UNCHANGED = "unchanged"
    NEW = "new"
    CHANGED = "changed"
    BOUNDARY_ONLY = "boundary-only"
    """Who may read it is otherwise; what it says is not."""
    WITHDRAWN = "withdrawn"
    """It is gone at its source. Where the source says since when, its validity ends then; else it is withdrawn."""
    REFUSED = "refused"
    """It was not taken: the run's report says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrant:
    """In whose name a source's runs act: whoever registered it, through assistants if that is how they asked."""

    subject: PrincipalRef
    actors: tuple[PrincipalRef, ...] = ()
    proof: Proof = Proof.PROVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A source as it is registered today."""

    id: SourceId
    settings: SourceSettings
    registrant: Registrant
    recorded_at: Instant
    next_run_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    id: RunId
    source: SourceName
    source_id: SourceId
    collection: str
    state: RunState
    triggered_by: str
    """Who asked for it, or `schedule`, or `watch`."""
    requested_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    cursor: Cursor | None
    resumed: bool
    """It has listed a part already, in an attempt that was broken off."""
    whole: bool
    """Its listing began without a cursor, so what it does not name is gone, where the source lists all."""
    confirmed: bool
    """It may withdraw as much as it finds gone."""
    problem: Problem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many items a run came across, by what became of them. `failed` were taken and then could not be read."""

    listed: int = 0
    unchanged: int = 0
    new: int = 0
    changed: int = 0
    boundary_only: int = 0
    withdrawn: int = 0
    refused: int = 0
    failed: int = 0
    going_on: int = 0
    """Taken, and their jobs not over yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became of an item in a run where it was not left as it is, as far as that is known by now."""

    uri: str
    outcome: ItemOutcome
    document: DocumentId | None
    stated: Metadata
    job: JobId | None
    job_state: JobState | None
    problem: Problem | None
    """Why it was refused, or why its job failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """An item that is not in, or not as it should be, and why."""

    uri: str
    kind: str
    detail: str
    document: DocumentId | None
    job: JobId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    run: Run
    tally: Tally
    setbacks: tuple[Setback, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownItem:
    """What is remembered of an item. `token` names its state as it was listed; `digest` is that of its content."""

    key: str
    uri: str
    token: str
    etag: str | None
    digest: Digest | None
    said: str
    valid_from: Instant | None
    acl: Acl | None
    document: DocumentId | None
    run: RunId
    gone: bool
    job: JobId | None = None
    job_state: JobState | None = None
    job_problem: Problem | None = None

    @property
    def broken_off(self) -> bool:
        """Its last submission ended for no fault of the document's own: it is to be tried again."""
        if self.job_state is JobState.CANCELLED:
            return True
        return self.job_state is JobState.FAILED and (
            self.job_problem is None or self.job_problem.kind in ("internal", "unavailable")
        )


SOME_WITHDRAWALS = 20
"""So many documents may go at once without anybody being asked."""


def needs_confirmation(*, going: int, there: int) -> bool:
    """Whether so much of what a source has is gone that its place may be what is missing: a mount, a login."""
    return going > SOME_WITHDRAWALS and 2 * going > there
