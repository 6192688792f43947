"""A worker that is gone is replaced by any other, and one that was only slow does no harm when it wakes up."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import Engine
from sqlmodel import col

from app.adapters.index_process import ProcessIndex
from app.bootstrap import secret
from app.store.database import open_engine, reading
from app.store.tables import ChunkRow, JobRow, VersionRow, WorkerRow
from tests.e2e.conftest import OWNER, READER, lay_down
from tests.e2e.papers import MEDIA_TYPES, Paper, paper
from tests.e2e.processes import Muniment, eventually, muniment, suspended

WITHIN_S = 30.0
LONG = 400
"""Sentences: some seconds of embedding."""


@contextmanager
def shared(folder: Path, request: pytest.FixtureRequest, database: str, **environment: str) -> Iterator[Muniment]:
    """A server on a database that other machines could share: PostgreSQL, and SQLite."""
    url = request.getfixturevalue(f"_{database}_url")
    with muniment(folder, MUNIMENT_DATABASE_URL=url, **environment) as served:
        served.start()
        served.wait_until_ready()
        lay_down(served)
        second = served.launch_worker("worker-2")
        eventually(lambda: workers(served) == {"worker-1", "worker-2"}, "two workers")
        yield served
        if second.poll() is None:
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0
        assert served.stop() == 0


@contextmanager
def opened(served: Muniment) -> Iterator[Engine]:
    engine = open_engine(served.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def submit(served: Muniment, paper: Paper) -> str:
    body = {
        "text": paper.content().decode(),
        "media_type": MEDIA_TYPES[paper.kind],
        "metadata": {"uri": paper.uri, "title": f"On {paper.word}"},
    }
    return str(served.succeed(OWNER, "POST", "/v1/collections/papers/documents", body)["job"]["id"])


def job(served: Muniment, id: str) -> dict[str, Any]:
    found: dict[str, Any] = served.succeed(OWNER, "GET", f"/v1/jobs/{id}")
    return found


def under_way(served: Muniment, id: str, stage: str) -> str:
    """The worker that has it, once it is at that stage."""
    eventually(lambda: job(served, id)["stage"] == stage, f"{id} at {stage}: {job(served, id)}")
    with opened(served) as engine, reading(engine) as session:
        batch = session.execute(select(col(JobRow.batch)).where(col(JobRow.id) == id)).scalar_one()
    return str(batch).partition("/")[0]


def workers(served: Muniment) -> set[str]:
    with opened(served) as engine, reading(engine) as session:
        return set(session.scalars(select(col(WorkerRow.name))))


def cited(served: Muniment, word: str) -> set[tuple[str, int]]:
    passages = served.retrieve(READER, word, mode="lexical", top_k=50)["passages"]
    return {(each["citation"]["uri"], each["citation"]["version"]) for each in passages if word in each["text"]}


def is_there_once(served: Muniment, one: Paper) -> None:
    """One version, whole, each chunk with one point and no point without a chunk."""
    assert cited(served, one.word) == {(one.uri, 1)}
    (listed,) = served.succeed(READER, "GET", f"/v1/documents?q={one.word}")["documents"]
    text = served.succeed(READER, "GET", f"/v1/documents/{listed['document_id']}/versions/1/text")["text"]
    assert one.is_whole_in(text)
    with opened(served) as engine, reading(engine) as session:
        assert session.scalars(select(col(VersionRow.number))).all() == [1]
        chunks = session.execute(select(func.count()).select_from(ChunkRow)).scalar_one()
    eventually(lambda: _points(served) == chunks, f"{chunks} points: {_points(served)}", within_s=20)


def _points(served: Muniment) -> int:
    index = ProcessIndex(served.home / "run" / "index.sock", secret(served.home, "index"), patience_s=30)
    try:
        return index.size()
    finally:
        index.close()


def test_batch_of_a_worker_that_is_killed_for_good_is_taken_over_within_half_a_minute(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with shared(tmp_path, request, "postgresql") as served:
        (second,) = served.others
        one = paper(1, 1, "md", sentences=LONG)
        with suspended(served.process("worker")):
            id = submit(served, one)
            assert under_way(served, id, "embed") == "worker-2"
            second.send_signal(signal.SIGKILL)
            second.wait(60)
        eventually(lambda: job(served, id)["attempts"] == 2, f"taken over: {job(served, id)}", within_s=WITHIN_S)
        eventually(lambda: job(served, id)["state"] == "succeeded", f"done: {job(served, id)}")
        is_there_once(served, one)
        assert workers(served) == {"worker-1"}


@pytest.mark.parametrize(("database", "stage"), [("sqlite", "parse"), ("postgresql", "embed")])
def test_worker_that_wakes_up_after_its_batch_was_taken_changes_nothing(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, stage: str
) -> None:
    with shared(tmp_path, request, database, MUNIMENT_INGEST__DEAD_AFTER_S="3") as served:
        (second,) = served.others
        slow = psutil.Process(second.pid)
        one = paper(2, 1, "docx" if stage == "parse" else "md", sentences=LONG)
        with suspended(served.process("worker")):
            eventually(lambda: workers(served) == {"worker-2"}, "the first worker given up")
            id = _submit_file(served, one)
            assert under_way(served, id, stage) == "worker-2"
            slow.suspend()
        eventually(lambda: job(served, id)["attempts"] == 2, f"taken over: {job(served, id)}", within_s=WITHIN_S)
        slow.resume()  # in the middle of the other's work
        eventually(lambda: job(served, id)["state"] == "succeeded", f"done: {job(served, id)}")
        done = job(served, id)
        eventually(lambda: workers(served) == {"worker-1", "worker-2"}, "both among the living again")
        assert job(served, id) == done
        is_there_once(served, one)


def _submit_file(served: Muniment, one: Paper) -> str:
    response = served.request(
        "POST",
        "/v1/collections/papers/documents",
        OWNER,
        files={"file": (one.filename, one.content())},
        data={"metadata": f'{{"uri": "{one.uri}"}}'},
    )
    assert response.status_code == 202, response.text
    return str(response.json()["job"]["id"])


def test_worker_that_is_told_to_stop_gives_up_its_batch_at_once(served: Muniment) -> None:
    second = served.launch_worker("worker-4")
    eventually(lambda: "worker-4" in workers(served), "a second worker")
    one = paper(300, 1, "md", sentences=LONG)
    with suspended(served.process("worker")):
        id = submit(served, one)
        assert under_way(served, id, "embed") == "worker-4"
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
        assert job(served, id)["state"] == "queued"
    eventually(lambda: job(served, id)["state"] == "succeeded", f"done: {job(served, id)}")


def test_worker_that_has_rested_works_again(served: Muniment) -> None:
    with suspended(served.process("worker")):
        second: subprocess.Popen[bytes] = served.launch(
            "ingest.worker", "--name", "worker-5", "--rest-after-s", "0.5", "--liveness-fd", str(served.liveness)
        )
        served.others.append(second)
        process = psutil.Process(second.pid)
        served.publish(OWNER, "papers", "# First\n\nRead before it rests.", uri="rest/first")
        eventually(lambda: process.environ().get("MUNIMENT_WORKER_RESTED") == "yes", "begun anew for want of work")
        rested_mb = process.memory_info().rss
        served.publish(OWNER, "papers", "# Second\n\nRead after it rested.", uri="rest/second")
        assert process.memory_info().rss > rested_mb
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
