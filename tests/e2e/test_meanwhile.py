"""What happens to a document while it is on its way in: corrected, withdrawn, worked on by several, left by one."""

import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlmodel import col

from app.adapters.index_process import ProcessIndex
from app.bootstrap import secret
from app.store.database import open_engine, reading
from app.store.tables import ChunkRow, DocumentRow, JobRow, VersionRow
from tests.e2e.conftest import OWNER, READER, lay_down
from tests.e2e.papers import MEDIA_TYPES, Paper, paper
from tests.e2e.processes import Muniment, eventually, muniment, suspended

LONG = 500
"""Sentences: enough for some seconds of embedding."""


def submit(served: Muniment, paper: Paper, **metadata: Any) -> dict[str, Any]:
    """The acknowledgement."""
    body = {
        "text": paper.content().decode(),
        "media_type": MEDIA_TYPES[paper.kind],
        "metadata": {"uri": paper.uri, "title": f"On {paper.word}", **metadata},
    }
    acknowledged: dict[str, Any] = served.succeed(OWNER, "POST", "/v1/collections/papers/documents", body)
    return acknowledged


def job(served: Muniment, id: str) -> dict[str, Any]:
    found: dict[str, Any] = served.succeed(OWNER, "GET", f"/v1/jobs/{id}")
    return found


def ended(served: Muniment, id: str) -> dict[str, Any]:
    """The job, once it is over."""
    found: dict[str, Any] = eventually(
        lambda: (now := job(served, id)) and now["state"] not in ("queued", "running") and now,
        f"job {id} over: {job(served, id)}",
    )
    return found


def cited(served: Muniment, who: str, word: str) -> set[tuple[str, int]]:
    passages = served.retrieve(who, word, mode="lexical", top_k=50)["passages"]
    return {(each["citation"]["uri"], each["citation"]["version"]) for each in passages if word in each["text"]}


def staged(served: Muniment, uri: str) -> int:
    """How many chunks of a document belong to versions that are not published."""
    engine = open_engine(served.database_url)
    with reading(engine) as session:
        found = session.execute(
            select(func.count())
            .select_from(ChunkRow)
            .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
            .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
            .where(col(DocumentRow.uri) == uri, col(VersionRow.number).is_(None))
        ).scalar_one()
    engine.dispose()
    return found


def batches(served: Muniment) -> dict[str, list[str]]:
    """The jobs that each worker has claimed, by its name."""
    engine = open_engine(served.database_url)
    with reading(engine) as session:
        rows = session.execute(select(col(JobRow.batch), col(JobRow.id))).all()
    engine.dispose()
    found: dict[str, list[str]] = {}
    for batch, id in rows:
        found.setdefault((batch or "").partition("/")[0], []).append(id)
    return found


def queued(served: Muniment, _paper: Paper, _id: str) -> None:
    """As it is: the worker has been suspended before."""


def under_way(served: Muniment, paper: Paper, id: str) -> None:
    """Until its text and chunks are stored, unpublished, and are being embedded."""
    eventually(lambda: job(served, id)["stage"] == "embed" and staged(served, paper.uri), "a staged version")


@pytest.mark.parametrize(("number", "when"), [(1, queued), (2, under_way)], ids=["queued", "under-way"])
def test_correction_holds_for_a_version_that_is_still_being_ingested(
    served: Muniment, number: int, when: Callable[[Muniment, Paper, str], None]
) -> None:
    one = paper(number, 1, "md", sentences=LONG if when is under_way else 3)
    with suspended(served.process("worker")) if when is queued else nullcontext():
        acknowledged = submit(served, one)
        document, id = acknowledged["document"]["id"], acknowledged["job"]["id"]
        when(served, one, id)
        served.succeed(OWNER, "PATCH", f"/v1/documents/{document}", {"label": {"level": "restricted"}})
        assert job(served, id)["state"] in ("queued", "running")
    assert ended(served, id)["state"] == "succeeded"
    assert served.succeed(OWNER, "GET", f"/v1/documents/{document}")["label"]["level"] == "restricted"
    assert cited(served, OWNER, one.word) == {(one.uri, 1)}
    assert cited(served, READER, one.word) == set()
    assert served.request("GET", f"/v1/documents/{document}", READER).status_code == 404
    assert submit(served, one)["state"] == "unchanged"


@pytest.mark.parametrize(("number", "when"), [(3, queued), (4, under_way)], ids=["queued", "under-way"])
def test_withdrawal_cancels_what_is_still_being_ingested(
    served: Muniment, number: int, when: Callable[[Muniment, Paper, str], None]
) -> None:
    one = paper(number, 1, "txt", sentences=LONG if when is under_way else 3)
    with suspended(served.process("worker")) if when is queued else nullcontext():
        acknowledged = submit(served, one)
        document, id = acknowledged["document"]["id"], acknowledged["job"]["id"]
        when(served, one, id)
        served.succeed(OWNER, "POST", f"/v1/documents/{document}/withdraw", {"reason": "a mistake"})
        assert job(served, id)["state"] == "cancelled"
    eventually(lambda: staged(served, one.uri) == 0, "nothing left of what was staged")
    again = paper(number, 2, "txt", sentences=3)
    assert ended(served, submit(served, again)["job"]["id"])["result"]["version"] == 1
    assert job(served, id)["state"] == "cancelled"
    for who in (OWNER, READER):
        assert cited(served, who, one.word) == {(one.uri, 1)}
    assert again.is_whole_in(served.succeed(READER, "GET", f"/v1/documents/{document}/versions/1/text")["text"])


def test_two_workers_share_the_work_and_keep_the_order_of_versions(served: Muniment) -> None:
    second = served.launch_worker("worker-2")
    eventually(lambda: served.home / "run" / "worker-2.lock" in served.held_locks(), "a second worker")
    papers = [paper(number, edition, "md", sentences=3) for edition in (1, 2, 3) for number in range(100, 125)]
    ids = [submit(served, each)["job"]["id"] for each in papers]
    for id in ids:
        assert ended(served, id)["state"] == "succeeded"
    shares = batches(served)
    assert set(shares["worker-1"]) & set(ids)
    assert set(shares["worker-2"]) & set(ids)
    for each in papers[:25]:
        listed = served.succeed(READER, "GET", f"/v1/documents?q={each.word}")["documents"]
        assert [(shown["uri"], shown["version"]) for shown in listed] == [(each.uri, 3)]
        at = f"/v1/documents/{listed[0]['document_id']}/versions"
        for edition in (1, 2, 3):
            text = served.succeed(READER, "GET", f"{at}/{edition}/text")["text"]
            assert paper(100 + papers.index(each), edition, "md", sentences=3).is_whole_in(text)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0


def test_lost_index_is_rebuilt_and_until_then_no_question_is_answered_as_if_nothing_were_there(
    tmp_path: Path,
) -> None:
    with muniment(tmp_path) as served:
        served.start()
        served.wait_until_ready()
        lay_down(served)
        papers = [paper(number, edition, "md", sentences=3) for edition in (1, 2) for number in range(10)]
        for each in papers:
            assert ended(served, submit(served, each)["job"]["id"])["state"] == "succeeded"
        held = _points(served)
        assert served.stop() == 0
        shutil.rmtree(served.home / "index")
        served.start()

        def answered() -> bool:
            with suppress(httpx.TransportError):
                body = {"query": papers[0].word, "mode": "lexical"}
                response = served.request("POST", "/v1/retrieve", READER, json=body)
                assert response.status_code in (200, 503)
                assert response.status_code == 503 or response.json()["outcome"] == "answered"
                return response.status_code == 200
            return False

        eventually(answered, "the question answered again")
        served.wait_until_ready()
        for each in papers[10:]:
            assert cited(served, READER, each.word) == {(each.uri, 2)}
        eventually(lambda: _points(served) == held, "as many points as before")
        assert "the index holds less than the database" in served.log()
        assert served.stop() == 0


def _points(served: Muniment) -> int:
    index = ProcessIndex(served.home / "run" / "index.sock", secret(served.home, "index"), patience_s=30)
    size = index.size()
    index.close()
    return size
