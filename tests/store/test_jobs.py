"""Jobs: claimed once and in order, one of a document at a time, and ended once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Finding, FindingCode, Metadata, Origin
from app.domain.instants import BEGINNING, FOREVER, Instant
from app.domain.jobs import (
    MAX_CRASHES,
    SUSPECT_AFTER_CRASHES,
    Job,
    JobId,
    JobResult,
    JobState,
    Limits,
    Problem,
    Stage,
    pause_s,
)
from app.domain.labels import Label, Level
from app.store import jobs
from app.store.database import reading, writing
from app.store.metadata import metadata_digest
from tests.conftest import STARTED_AT, Clock
from tests.store.building import BY, Shelf

LATER = Instant(STARTED_AT + 3_600_000)
FULL = Metadata(
    uri="s3://bucket/Ünïcödé 🗂.md",
    title='A "title" 🧾',
    label=Label(level=Level.CONFIDENTIAL, categories=frozenset({"pii", "phi"})),
    readers=frozenset({PrincipalRef("group:legal")}),
    denied=frozenset({PrincipalRef("user:ben")}),
    jurisdictions=frozenset({"EU"}),
    purposes=frozenset({"audit"}),
    consents=frozenset({"US"}),
    valid_from=BEGINNING,
    valid_to=FOREVER,
    review_by=LATER,
    source=Origin(connector="mail", fetched_at=STARTED_AT, etag='W/"1"', author="Ana"),
    attributes={"region": ("EU", "US"), "kind": ("policy",)},
)


@pytest.fixture
def shelf(engine: Engine, clock: Clock) -> Shelf:
    return Shelf(engine, clock)


def claim(shelf: Shelf, batch: str, max_jobs: int = 10) -> list[JobId]:
    with writing(shelf.engine) as session:
        return jobs.claim(session, batch, max_jobs=max_jobs)


def succeed(session: Session, job: JobId, version: int = 1) -> None:
    jobs.succeed(session, job, JobResult(document=DocumentId("doc_1"), version=version), at=LATER)


def fail(session: Session, job: JobId) -> None:
    jobs.fail(session, job, Problem(kind="unparseable-document", detail="It is encrypted."), at=LATER)


def cancel(session: Session, job: JobId) -> None:
    found = jobs.job(session, job)
    assert found is not None
    jobs.cancel_of(session, found.document, at=LATER)


def job(shelf: Shelf, id: JobId) -> Job:
    with reading(shelf.engine) as session:
        found = jobs.job(session, id)
    assert found is not None
    return found


def states(shelf: Shelf, ids: Sequence[JobId]) -> list[str]:
    return [job(shelf, id).state.value for id in ids]


def test_submission_is_a_queued_job_until_it_is_claimed(shelf: Shelf) -> None:
    submission = shelf.submit("a")
    queued = Job(
        id=submission.job,
        kind="ingest",
        state=JobState.QUEUED,
        stage=None,
        done=0,
        total=7,
        problem=None,
        result=None,
        document=submission.document,
        collection="policies",
        uri="a",
        submitted_by=BY,
        submitted_at=STARTED_AT,
    )
    assert job(shelf, submission.job) == queued
    claim(shelf, "batch")
    assert job(shelf, submission.job) == replace(queued, state=JobState.RUNNING, stage=Stage.GATE, attempts=1)


def test_job_that_does_not_exist_is_none(shelf: Shelf) -> None:
    with reading(shelf.engine) as session:
        assert jobs.job(session, JobId("job_none")) is None


def test_batch_gets_its_submissions_as_they_were_acknowledged(shelf: Shelf) -> None:
    submissions = [shelf.submit(uri, content=uri.encode()) for uri in ("c", "a", "b")]
    submissions.append(shelf.submit(metadata=FULL))
    claim(shelf, "batch")
    with reading(shelf.engine) as session:
        assert jobs.submissions_of(session, "batch") == submissions
        assert jobs.submissions_of(session, "another") == []


def test_oldest_jobs_are_claimed_first_and_each_once(shelf: Shelf) -> None:
    ids = [shelf.submit(uri).job for uri in ("e", "d", "c", "b", "a")]
    assert [claim(shelf, f"batch {n}", max_jobs=2) for n in range(4)] == [ids[:2], ids[2:4], ids[4:], []]


def test_batch_never_has_two_submissions_of_a_document(shelf: Shelf) -> None:
    first, again, other = shelf.submit("a").job, shelf.submit("a").job, shelf.submit("b").job
    assert claim(shelf, "batch") == [first, other]
    assert job(shelf, again).state is JobState.QUEUED


@pytest.mark.parametrize("end", [succeed, fail], ids=["succeeded", "failed"])
def test_later_submission_of_a_document_waits_until_the_earlier_is_over(
    shelf: Shelf, end: Callable[[Session, JobId], None]
) -> None:
    first, second, third = (shelf.submit("a").job for _ in range(3))
    assert claim(shelf, "one") == [first]
    assert claim(shelf, "two") == []
    with writing(shelf.engine) as session:
        end(session, first)
    assert claim(shelf, "three") == [second]
    assert job(shelf, third).state is JobState.QUEUED


def test_submission_after_a_withdrawal_is_not_held_up_by_those_before(shelf: Shelf) -> None:
    first, second = shelf.submit("a"), shelf.submit("a")
    claim(shelf, "one")
    with writing(shelf.engine) as session:
        jobs.cancel_of(session, first.document, at=LATER)
    third = shelf.submit("a")
    assert claim(shelf, "two") == [third.job]
    assert states(shelf, [first.job, second.job, third.job]) == ["cancelled", "cancelled", "running"]


def test_four_claiming_at_once_never_get_a_job_twice_nor_two_of_a_document_at_once(shelf: Shelf) -> None:
    submitted = [shelf.submit(f"document {n % 7}") for n in range(42)]
    document_of = {submission.job: submission.document for submission in submitted}
    in_work: set[DocumentId] = set()
    claimed: list[JobId] = []

    def work(worker: int) -> None:
        turn = 0
        while True:
            with reading(shelf.engine) as session:
                if not jobs.anything_queued(session):
                    return
            turn += 1
            mine = claim(shelf, f"worker {worker} turn {turn}", max_jobs=3)
            documents = [document_of[id] for id in mine]
            assert not in_work & set(documents)
            assert len(set(documents)) == len(documents)
            in_work.update(documents)
            claimed.extend(mine)
            in_work.difference_update(documents)
            with writing(shelf.engine) as session:
                for id in mine:
                    succeed(session, id)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [None] * 4
    assert sorted(claimed) == sorted(document_of)
    for document in set(document_of.values()):
        acknowledged = [submission.job for submission in submitted if submission.document == document]
        assert [id for id in claimed if document_of[id] == document] == acknowledged


def test_stages_count_as_done_once_they_are_over(shelf: Shelf) -> None:
    id = shelf.submit("a").job
    claim(shelf, "batch")
    seen = []
    for stage in Stage:
        with writing(shelf.engine) as session:
            jobs.advance(session, "batch", stage)
        seen.append((job(shelf, id).stage, job(shelf, id).done))
    assert seen == [(stage, n) for n, stage in enumerate(Stage)]
    with writing(shelf.engine) as session:
        succeed(session, id)
    assert (job(shelf, id).done, job(shelf, id).total) == (7, 7)


def test_result_of_a_job_comes_back_whole(shelf: Shelf) -> None:
    submission = shelf.submit("a")
    result = JobResult(
        document=submission.document,
        version=3,
        unchanged=True,
        findings=(Finding(code=FindingCode.NEEDS_OCR, detail="A page is an image 🖼."),),
    )
    with writing(shelf.engine) as session:
        jobs.succeed(session, submission.job, result, at=LATER)
    ended = job(shelf, submission.job)
    assert (ended.state, ended.result, ended.problem) == (JobState.SUCCEEDED, result, None)


def test_problem_of_a_job_comes_back_whole(shelf: Shelf) -> None:
    submission = shelf.submit("a")
    with writing(shelf.engine) as session:
        fail(session, submission.job)
    ended = job(shelf, submission.job)
    problem = Problem(kind="unparseable-document", detail="It is encrypted.")
    assert (ended.state, ended.result, ended.problem, ended.done) == (JobState.FAILED, None, problem, 0)


@pytest.mark.parametrize("end", [succeed, fail, cancel])
def test_job_ends_once_whatever_runs_again(shelf: Shelf, end: Callable[[Session, JobId], None]) -> None:
    submission = shelf.submit("a")
    claim(shelf, "batch")
    with writing(shelf.engine) as session:
        end(session, submission.job)
    ended = job(shelf, submission.job)
    assert ended.state.ended
    with writing(shelf.engine) as session:
        for other in (succeed, fail, cancel):
            other(session, submission.job)
        jobs.advance(session, "batch", Stage.EMBED)
        jobs.restate(session, submission.job, FULL)
    assert job(shelf, submission.job) == ended
    assert claim(shelf, "again") == []


def test_cancelling_leaves_other_documents_and_what_has_ended(shelf: Shelf) -> None:
    done, queued, other = shelf.submit("a"), shelf.submit("a"), shelf.submit("b")
    with writing(shelf.engine) as session:
        succeed(session, done.job)
        jobs.cancel_of(session, queued.document, at=LATER)
    assert states(shelf, [done.job, queued.job, other.job]) == ["succeeded", "cancelled", "queued"]


def test_batch_is_open_while_any_of_its_jobs_is_running(shelf: Shelf) -> None:
    ids = [shelf.submit(uri).job for uri in ("a", "b", "c", "d")]
    claim(shelf, "one", max_jobs=2)
    claim(shelf, "two", max_jobs=1)
    with reading(shelf.engine) as session:
        assert jobs.open_batches(session) == ["one", "two"]
    with writing(shelf.engine) as session:
        succeed(session, ids[0])
        fail(session, ids[2])
    with reading(shelf.engine) as session:
        assert jobs.open_batches(session) == ["one"]
        assert [each.job for each in jobs.submissions_of(session, "one")] == [ids[1]]
        assert jobs.anything_queued(session)
    assert states(shelf, ids) == ["succeeded", "running", "failed", "queued"]


def test_open_submissions_of_a_document_can_be_restated(shelf: Shelf) -> None:
    done, running, queued = (shelf.submit("a") for _ in range(3))
    other = shelf.submit("b")
    with writing(shelf.engine) as session:
        succeed(session, done.job)
    claim(shelf, "batch", max_jobs=1)
    changed = replace(running.metadata, readers=frozenset({PrincipalRef("group:board")}))
    with writing(shelf.engine) as session:
        assert jobs.open_jobs_of(session, done.document_row) == [running.job, queued.job]
        for _, id, metadata in jobs.unpublished_metadata(session, [done.document], given_up=False):
            assert metadata == Metadata(uri="a")
            jobs.restate(session, id, changed)
    with reading(shelf.engine) as session:
        assert jobs.submissions_of(session, "batch") == [replace(running, metadata=changed)]
        both = jobs.unpublished_metadata(session, [done.document, other.document], given_up=False)
        assert both == [
            (done.document, running.job, changed),
            (done.document, queued.job, changed),
            (other.document, other.job, other.metadata),
        ]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (replace(FULL, title="Another"), False),
        (replace(FULL, consents=frozenset()), False),
        (replace(FULL, attributes={"region": ("US", "EU"), "kind": ("policy",)}), False),
        (replace(FULL, valid_to=None), False),
        (replace(FULL, source=Origin(connector="upload", fetched_at=LATER)), True),
        (replace(FULL, attributes=dict(reversed(FULL.attributes.items()))), True),
    ],
    ids=["title", "consents", "attributes", "valid_to", "fetched again", "in another order"],
)
def test_digest_of_metadata_tells_what_an_owner_changed(changed: Metadata, same: bool) -> None:
    assert (metadata_digest(changed) == metadata_digest(FULL)) is same


def release(shelf: Shelf, batch: str, *, crashed: bool) -> list[JobId]:
    with writing(shelf.engine) as session:
        return jobs.release(session, batch, crashed=crashed, at=LATER)


def postpone(shelf: Shelf, batch: str, id: JobId, *, at: Instant, published: bool = False) -> list[JobId]:
    problem = Problem(kind="unavailable", detail="The index is down.")
    out = frozenset({id} if published else ())
    limits = Limits(max_setbacks=2)
    with writing(shelf.engine) as session:
        return jobs.postpone(session, batch, [id], problem, limits=limits, published=out, at=at)


def test_batch_is_a_few_large_documents_or_many_small_ones(shelf: Shelf) -> None:
    sizes = (5, 5, 100, 1, 1, 1)
    ids = [shelf.submit(f"{n}", size_bytes=size).job for n, size in enumerate(sizes)]
    with writing(shelf.engine) as session:
        shares = [jobs.claim(session, f"batch {n}", max_jobs=10, max_bytes=12) for n in range(3)]
    assert shares == [ids[:2], ids[2:3], ids[3:]]


def test_jobs_of_a_worker_that_is_gone_are_queued_again_and_what_is_over_is_not(shelf: Shelf) -> None:
    over, open_, other = (shelf.submit(uri).job for uri in ("a", "b", "c"))
    claim(shelf, "gone", max_jobs=2)
    claim(shelf, "alive")
    with writing(shelf.engine) as session:
        succeed(session, over)
    assert release(shelf, "gone", crashed=True) == [open_]
    assert release(shelf, "gone", crashed=True) == []
    assert states(shelf, [over, open_, other]) == ["succeeded", "queued", "running"]
    assert claim(shelf, "another") == [open_]
    assert (job(shelf, open_).attempts, job(shelf, other).attempts) == (2, 1)


def test_batch_that_was_lost_writes_nothing_of_its_jobs(shelf: Shelf) -> None:
    id = shelf.submit("a").job
    claim(shelf, "slow")
    with writing(shelf.engine) as session:
        assert jobs.held(session, "slow", id)
    release(shelf, "slow", crashed=True)
    claim(shelf, "another")
    with writing(shelf.engine) as session:
        assert not jobs.held(session, "slow", id)
        jobs.advance(session, "slow", Stage.EMBED)
        jobs.fail(session, id, Problem(kind="internal", detail="Too late."), batch="slow", at=LATER)
    assert postpone(shelf, "slow", id, at=LATER) == []
    assert release(shelf, "slow", crashed=True) == []
    now = job(shelf, id)
    assert (now.state, now.stage, now.attempts) == (JobState.RUNNING, Stage.GATE, 2)


def test_job_that_was_there_when_workers_died_is_done_alone_and_then_set_aside(shelf: Shelf) -> None:
    poison, innocent = shelf.submit("a").job, shelf.submit("b").job
    for n in range(SUSPECT_AFTER_CRASHES):
        assert claim(shelf, f"both {n}") == [poison, innocent]
        release(shelf, f"both {n}", crashed=True)
    for n in range(MAX_CRASHES - SUSPECT_AFTER_CRASHES):
        with writing(shelf.engine) as session:
            assert jobs.claim(session, "not suspected", max_jobs=9, suspects=False) == []
            assert jobs.anything_queued(session, suspects=True)
            assert jobs.claim(session, f"alone {n}", max_jobs=9, suspects=True) == [poison]
        release(shelf, f"alone {n}", crashed=True)
    ended = job(shelf, poison)
    assert (ended.state, ended.problem and ended.problem.kind) == (JobState.FAILED, "internal")
    assert ended.advice is not None
    with writing(shelf.engine) as session:
        assert jobs.claim(session, "last", max_jobs=9, suspects=True) == [innocent]


def test_worker_that_leaves_in_order_holds_nothing_against_its_jobs(shelf: Shelf) -> None:
    id = shelf.submit("a").job
    for n in range(2 * MAX_CRASHES):
        claim(shelf, f"batch {n}")
        assert release(shelf, f"batch {n}", crashed=False) == [id]
    with reading(shelf.engine) as session:
        assert not jobs.anything_queued(session, suspects=True)


def test_setback_puts_a_job_off_for_longer_each_time_until_it_is_given_up(shelf: Shelf) -> None:
    id = shelf.submit("a").job
    for n, pause_ms in enumerate((2_000, 4_000)):
        claim(shelf, f"batch {n}")
        assert postpone(shelf, f"batch {n}", id, at=LATER) == []
        waits = job(shelf, id)
        assert (waits.state, waits.not_before) == (JobState.QUEUED, LATER + pause_ms)
        with writing(shelf.engine) as session:
            early = Instant(LATER + pause_ms - 1)
            assert not jobs.anything_queued(session, at=early)
            assert jobs.claim(session, "early", max_jobs=9, at=early) == []
            assert jobs.anything_queued(session, at=Instant(LATER + pause_ms))
    claim(shelf, "last")
    assert postpone(shelf, "last", id, at=LATER) == [id]
    given_up = job(shelf, id)
    assert (given_up.state, given_up.attempts) == (JobState.FAILED, 3)
    assert given_up.problem == Problem(kind="unavailable", detail="The index is down.")


def test_what_is_published_is_never_given_up(shelf: Shelf) -> None:
    id = shelf.submit("a").job
    for n in range(3):
        claim(shelf, f"batch {n}")
        given_up = postpone(shelf, f"batch {n}", id, at=LATER, published=True)
    assert given_up == [id]
    assert job(shelf, id).state is JobState.RUNNING


def test_pauses_grow_to_five_minutes() -> None:
    assert [pause_s(n) for n in (1, 2, 3, 8, 9, 10_000)] == [2, 4, 8, 256, 300, 300]
    assert 10 * 3600 < sum(pause_s(n + 1) for n in range(Limits().max_setbacks)) < 14 * 3600


def test_job_is_tried_again_from_the_start(shelf: Shelf) -> None:
    id = shelf.submit("a").job
    claim(shelf, "batch")
    with writing(shelf.engine) as session:
        fail(session, id)
        jobs.retry(session, id)
    queued = job(shelf, id)
    assert (queued.state, queued.problem, queued.ended_at, queued.attempts) == (JobState.QUEUED, None, None, 1)
    assert claim(shelf, "again") == [id]
    with writing(shelf.engine) as session:
        jobs.retry(session, id)
    assert job(shelf, id).state is JobState.RUNNING


@pytest.mark.parametrize(("later", "is_overtaken"), [(None, True), (succeed, True), (fail, False), (cancel, False)])
def test_job_is_overtaken_by_a_later_submission_unless_that_came_to_nothing(
    shelf: Shelf, later: Callable[[Session, JobId], None] | None, is_overtaken: bool
) -> None:
    first = shelf.submit("a").job
    with writing(shelf.engine) as session:
        fail(session, first)
    second = shelf.submit("a").job
    shelf.submit("b")
    with writing(shelf.engine) as session:
        if later is not None:
            later(session, second)
        assert jobs.overtaken(session, first) is is_overtaken
        assert not jobs.overtaken(session, second)


def test_what_waits_is_counted_in_all_and_by_collection(shelf: Shelf) -> None:
    ids = [shelf.submit(uri).job for uri in ("a", "b", "c")]
    with writing(shelf.engine) as session:
        fail(session, ids[0])
        assert jobs.waiting(session, "policies") == (2, 2)
        assert jobs.waiting(session, "another") == (2, 0)
