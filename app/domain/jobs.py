"""Jobs: work that was acknowledged and goes on after the response."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Finding
from app.domain.instants import Instant

JobId = NewType("JobId", str)


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Stage(StrEnum):
    """The steps of an ingest, in order: `progress.done` is the number of those that are over."""

    GATE = "gate"
    PARSE = "parse"
    LABEL = "label"
    CHUNK = "chunk"
    EMBED = "embed"
    INDEX = "index"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a job failed: a kind of `app.domain.errors` and a sentence for the owner."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    document: DocumentId
    version: int | None
    unchanged: bool = False
    findings: tuple[Finding, ...] = ()
    attachments: tuple[JobId, ...] = ()
    """The jobs that take in what came with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    id: JobId
    kind: str
    state: JobState
    stage: Stage | None
    done: int
    total: int
    problem: Problem | None
    result: JobResult | None
    document: DocumentId
    collection: str
    submitted_by: PrincipalRef
    submitted_at: Instant
