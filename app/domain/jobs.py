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
    uri: str
    submitted_by: PrincipalRef
    submitted_at: Instant
    ended_at: Instant | None = None
    attempts: int = 0
    """How often it was begun."""
    not_before: Instant | None = None
    """When it is tried again, if a part of ours was down and it waits for that."""

    @property
    def advice(self) -> str | None:
        """What its owner can do about it, of one that is over without having been published."""
        if self.state is JobState.CANCELLED:
            return "Retry it to have it published after all, or submit the document again."
        if self.state is not JobState.FAILED:
            return None
        return _ADVICE.get(self.problem.kind if self.problem else "", _ADVICE_OTHERWISE)


_ADVICE = {
    "unparseable-document": "Mend the document, or save it in another format, and submit it again.",
    "unsupported-media-type": "Save the document in a format that is read here, and submit that.",
    "no-text": "Submit a document that holds text, or a sharper picture of it.",
    "needs-ocr": "Have Tesseract installed where the worker runs and retry it, or submit a document that holds text.",
    "too-large": "Split the document, or leave out its images, and submit the parts.",
    "not-found": "The original is not there any more: submit the document again.",
    "unavailable": "Retry it once the server is ready again (GET /readyz names what is not).",
}
_ADVICE_OTHERWISE = (
    "Tell whoever runs this server, with the job's id: its log says more. Retry it once that is mended, or submit "
    "the document in another format."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much waits at once, and how long a job goes on being tried."""

    max_queued: int = 50_000
    max_queued_in_collection: int = 20_000
    max_setbacks: int = 150
    """Of a job, each a try that met a part of ours that was down: by `pause_s`, about half a day."""
    dead_after_s: float = 15.0
    """Silence after which a worker is taken for dead. One that is only slow loses its batches, and no more."""


FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 300.0

SUSPECT_AFTER_CRASHES = 2
"""A job that was there when so many workers died is done alone, so that one that kills them takes no other along."""

MAX_CRASHES = 8
"""Then it is set aside. Two of these may have been another's doing; of the rest it was there alone. Between them it
waits, so that workers that die for reasons of their own do not die over the same job."""


def pause_s(setbacks: int) -> float:
    """How long to wait after this many setbacks in a row: twice as long each time, up to five minutes."""
    return min(FIRST_PAUSE_S * 2.0 ** min(setbacks - 1, 20), LONGEST_PAUSE_S)
