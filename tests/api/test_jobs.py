"""What owners do with jobs: follow them, cancel them, find what was not read and why, and try it again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.adapters.edge_index import EdgeIndex
from app.bootstrap import new_id
from app.domain.errors import IndexUnavailable
from app.domain.evidence import IndexEntry
from app.domain.instants import FOREVER, Instant
from app.domain.jobs import Limits
from app.store import jobs
from app.store.database import reading, writing
from app.store.tables import VersionRow
from ingest import pipeline
from tests.running import Running, app_on

BROKEN = "%PDF-1.4 and nothing more"


@pytest.fixture
def shelf(run: Running) -> Running:
    """A collection, its owners Lena and Ole, and Max, who is staff. Lena alone is cleared for what is restricted."""
    run.put_principal("group:owners")
    run.put_principal("user:lena", groups=["group:owners"], clearance="restricted")
    run.put_principal("user:ole", groups=["group:owners"])
    run.put_principal("user:max")
    run.put_collection("shelf", owners=["group:owners"], default_readers=["group:all-staff"])
    run.put_collection("other", owners=["user:max"])
    return run


def submitted(run: Running, text: str = "# Words", who: str = "user:lena", **metadata: Any) -> str:
    """The job."""
    response = run.submit(who, "shelf", text, **{"uri": "words", **metadata})
    assert response.status_code == 202, response.text
    return str(response.json()["job"]["id"])


def told(run: Running, path: str, who: str = "user:lena", method: str = "GET", *, status: int = 200) -> Any:
    response = run.request(method, path, who)
    assert response.status_code == status, response.text
    return response.json()


def posted(run: Running, id: str, what: str, who: str = "user:lena", *, status: int) -> Any:
    return told(run, f"/v1/jobs/{id}/{what}", who, "POST", status=status)


def staged_half_way(run: Running) -> str:
    """The batch that has claimed what is queued, once it is staged and in the index."""
    batch = f"test:{new_id()}"
    with writing(run.ports.engine) as session:
        jobs.claim(session, batch, max_jobs=32)
    pipeline.stage_batch(run.ports, run.parser, run.readers, batch)
    pipeline.embed_batch(run.ports, batch)
    pipeline.index_batch(run.ports, batch)
    return batch


def versions(run: Running) -> int:
    with reading(run.ports.engine) as session:
        return session.execute(select(func.count()).select_from(VersionRow)).scalar_one()


@contextmanager
def with_ports(run: Running, **changed: Any) -> Iterator[Running]:
    """The same Muniment with other ports."""
    ports = replace(run.ports, **changed)
    with TestClient(app_on(ports), raise_server_exceptions=False) as client:
        yield replace(run, ports=ports, client=client)


class IndexThatIsDown(EdgeIndex):
    """An index whose process cannot be reached."""

    def __init__(self) -> None:
        pass

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        raise IndexUnavailable("The index cannot be reached.")


# -- cancel ------------------------------------------------------------------------------------------------------------


def test_cancelled_job_publishes_nothing(shelf: Running) -> None:
    id = submitted(shelf)
    assert posted(shelf, id, "cancel", status=200)["state"] == "cancelled"
    shelf.work()
    assert told(shelf, f"/v1/jobs/{id}")["state"] == "cancelled"
    assert told(shelf, "/v1/documents")["documents"] == []
    assert posted(shelf, id, "cancel", status=409)["detail"] == "It is over: it has been cancelled."


def test_cancelling_clears_away_what_was_staged_and_the_step_under_way_adds_nothing(shelf: Running) -> None:
    id = submitted(shelf)
    batch = staged_half_way(shelf)
    assert (versions(shelf), shelf.ports.index.size()) == (1, 1)
    assert posted(shelf, id, "cancel", status=200)["state"] == "cancelled"
    assert (versions(shelf), shelf.ports.index.size()) == (0, 0)
    pipeline.publish_batch(shelf.ports, batch)
    pipeline.place_batch(shelf.ports, batch)
    assert told(shelf, f"/v1/jobs/{id}")["state"] == "cancelled"
    assert (versions(shelf), shelf.ports.index.size()) == (0, 0)


def test_job_that_has_published_cannot_be_cancelled(shelf: Running) -> None:
    id = submitted(shelf)
    pipeline.publish_batch(shelf.ports, staged_half_way(shelf))  # and not placed yet: its job is running
    assert told(shelf, f"/v1/jobs/{id}")["state"] == "running"
    assert "Withdraw the document" in posted(shelf, id, "cancel", status=409)["detail"]


def test_owner_cancels_what_another_owner_submitted_and_others_do_not(shelf: Running) -> None:
    id, closed = submitted(shelf), submitted(shelf, uri="closed", label={"level": "restricted"})
    absent = posted(shelf, "job_" + "a" * 26, "cancel", "user:max", status=404)["detail"]
    for who, job in (("user:max", id), ("user:ole", closed)):
        for what in ("cancel", "retry"):
            assert posted(shelf, job, what, who, status=404)["detail"] == absent
        assert told(shelf, f"/v1/jobs/{job}", who, status=404)["detail"] == absent
    assert posted(shelf, id, "cancel", "user:ole", status=200)["state"] == "cancelled"


# -- what was not read -------------------------------------------------------------------------------------------------


def test_dead_letters_say_what_is_wrong_and_what_to_do(shelf: Running) -> None:
    good, bad = submitted(shelf), submitted(shelf, BROKEN, uri="broken")
    shelf.work()
    (dead,) = told(shelf, "/v1/jobs?state=failed")["jobs"]
    assert dead["id"] == bad
    assert dead["problem"]["type"] == "/problems/unsupported-media-type"
    assert dead["advice"].startswith("Save the document in a format that is read here")
    assert (dead["document"]["uri"], dead["document"]["collection"], dead["attempts"]) == ("broken", "shelf", 1)
    assert dead["ended_at"] is not None
    assert [each["id"] for each in told(shelf, "/v1/jobs")["jobs"]] == [bad, good]
    assert [each["id"] for each in told(shelf, f"/v1/jobs?id={good}&id={bad}&id=job_x")["jobs"]] == [good, bad]


def test_jobs_are_listed_to_those_who_may_follow_each_and_nothing_of_the_others_shows(shelf: Running) -> None:
    open_, closed = [], []
    for n in range(4):
        open_.append(submitted(shelf, uri=f"open/{n}"))
        closed.append(submitted(shelf, uri=f"closed/{n}", label={"level": "restricted"}))
    own = shelf.submit("user:max", "other", "# Own", uri="own").json()["job"]["id"]
    ids = "&".join(f"id={id}" for id in [*open_, *closed, own])

    def listed(who: str, query: str) -> list[str]:
        found, cursor = [], ""
        while True:
            page = told(shelf, f"/v1/jobs?{query}{cursor}", who)
            found += [each["id"] for each in page["jobs"]]
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"

    for query in ("limit=1", "limit=3", "collection=shelf&state=queued"):
        assert listed("user:ole", query) == open_[::-1]
    assert sorted(listed("user:lena", "limit=3")) == sorted(open_ + closed)
    assert listed("user:max", "limit=3") == [own]
    assert listed("user:max", "collection=shelf") == []
    assert listed("user:max", ids) == [own]
    assert sorted(listed("user:ole", ids)) == sorted(open_)


# -- again -------------------------------------------------------------------------------------------------------------


def test_cancelled_job_that_is_tried_again_is_published(shelf: Running) -> None:
    id = submitted(shelf)
    staged_half_way(shelf)
    posted(shelf, id, "cancel", status=200)
    again = posted(shelf, id, "retry", "user:ole", status=202)
    assert (again["state"], again["problem"], again["attempts"]) == ("queued", None, 1)
    shelf.work()
    done = told(shelf, f"/v1/jobs/{id}")
    assert (done["state"], done["result"]["version"], done["attempts"]) == ("succeeded", 1, 2)
    assert shelf.found("user:max", "words") == ["words"]
    assert "nothing to try again" in posted(shelf, id, "retry", status=409)["detail"]


def test_job_is_not_tried_again_over_a_newer_submission(shelf: Running) -> None:
    first = submitted(shelf, BROKEN)
    shelf.work()
    assert "still queued" in posted(shelf, submitted(shelf), "retry", status=409)["detail"]
    assert "older content over newer" in posted(shelf, first, "retry", status=409)["detail"]
    shelf.work()
    assert "older content over newer" in posted(shelf, first, "retry", status=409)["detail"]


def test_what_is_narrowed_after_it_failed_stays_narrow_when_it_is_tried_again(shelf: Running) -> None:
    submission = shelf.submit("user:lena", "shelf", "# Words", uri="words").json()
    posted(shelf, submission["job"]["id"], "cancel", status=200)
    path = f"/v1/documents/{submission['document']['id']}"
    narrowed = shelf.request("PATCH", path, "user:lena", json={"label": {"level": "restricted"}})
    assert narrowed.status_code == 200
    posted(shelf, submission["job"]["id"], "retry", status=202)
    shelf.work()
    assert shelf.found("user:max", "words") == []
    assert shelf.found("user:lena", "words") == ["words"]


def test_submitter_who_no_longer_owns_the_collection_cancels_and_does_not_try_again(shelf: Running) -> None:
    id = submitted(shelf, who="user:ole")
    shelf.put_principal("user:ole")
    assert posted(shelf, id, "cancel", "user:ole", status=200)["state"] == "cancelled"
    assert posted(shelf, id, "retry", "user:ole", status=403)["type"] == "/problems/not-permitted"


def test_every_change_to_a_job_is_on_record(shelf: Running) -> None:
    id = submitted(shelf)
    posted(shelf, id, "cancel", status=200)
    posted(shelf, id, "retry", status=202)
    traces = told(shelf, "/v1/traces")["traces"]
    assert [each["request"]["what"] for each in traces if each["request"].get("job") == id] == [
        "retry",
        "cancel",
        "submit",
    ]


# -- a part of ours that is down ---------------------------------------------------------------------------------------


def test_document_waits_while_the_index_is_down_and_is_given_up_with_a_sentence(shelf: Running) -> None:
    id = submitted(shelf)
    with with_ports(shelf, index=IndexThatIsDown(), limits=Limits(max_setbacks=2)) as down:
        for _ in range(3):
            before = down.ports.now()
            _worked_in_vain(down)
            waits = told(down, f"/v1/jobs/{id}")
            if waits["state"] == "queued":
                assert waits["next_attempt_at"] is not None
                with reading(down.ports.engine) as session:
                    assert not jobs.anything_queued(session, at=Instant(before + 1_000))
    (dead,) = told(shelf, "/v1/jobs?state=failed")["jobs"]
    assert (dead["id"], dead["problem"]["type"], dead["attempts"]) == (id, "/problems/unavailable", 3)
    assert dead["advice"].startswith("Retry it once the server is ready")
    posted(shelf, id, "retry", status=202)
    shelf.work()
    assert shelf.found("user:max", "words") == ["words"]


def _worked_in_vain(run: Running) -> None:
    batch = f"test:{new_id()}"
    with writing(run.ports.engine) as session:
        assert jobs.claim(session, batch, max_jobs=32, at=FOREVER)
    pipeline.stage_batch(run.ports, run.parser, run.readers, batch)
    pipeline.embed_batch(run.ports, batch)
    with pytest.raises(IndexUnavailable) as error:
        pipeline.index_batch(run.ports, batch)
    pipeline.postpone_batch(run.ports, batch, error=error.value)


def test_original_that_is_not_to_be_had_holds_up_no_other_document(shelf: Running) -> None:
    lost, other = submitted(shelf, uri="lost"), submitted(shelf, "# Another", uri="other")
    with reading(shelf.ports.engine) as session:
        submission = jobs.submission(session, jobs.JobId(lost))
    assert submission is not None
    content = shelf.ports.blobs.get(submission.blob)
    _damage(shelf, submission.blob)
    batch = staged_half_way(shelf)
    pipeline.publish_batch(shelf.ports, batch)
    pipeline.place_batch(shelf.ports, batch)
    assert told(shelf, f"/v1/jobs/{other}")["state"] == "succeeded"
    waits = told(shelf, f"/v1/jobs/{lost}")
    assert (waits["state"], waits["attempts"]) == ("queued", 1)
    assert waits["next_attempt_at"] is not None
    _damage(shelf, submission.blob, content)
    shelf.work()
    assert told(shelf, f"/v1/jobs/{lost}")["state"] == "succeeded"


def _damage(run: Running, digest: str, content: bytes = b"something else") -> None:
    folder = run.ports.engine.url.database
    assert folder is not None
    name = digest.removeprefix("sha256:")
    (path,) = [each for each in (Path(folder).parent / "blobs").rglob(f"*{name[-20:]}*") if each.is_file()]
    path.chmod(0o600)
    path.write_bytes(content)


# -- how much waits ----------------------------------------------------------------------------------------------------


def test_more_than_may_wait_is_told_to_come_later_and_is_taken_then(shelf: Running) -> None:
    with with_ports(shelf, limits=Limits(max_queued=3, max_queued_in_collection=2)) as small:
        submitted(small, uri="1"), submitted(small, uri="2")
        full = small.submit("user:lena", "shelf", "# Words", uri="3")
        assert (full.status_code, full.headers["Retry-After"]) == (429, "5")
        assert full.json()["type"] == "/problems/rate-limited"
        assert small.submit("user:max", "other", "# Own", uri="own").status_code == 202
        assert small.submit("user:max", "other", "# Own", uri="more").status_code == 429
        small.work()
        submitted(small, uri="3")
