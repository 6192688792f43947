"""Promise 8, by kill -9: what was acknowledged is there once and whole, what was not is retried, and every job ends."""

import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final

import httpx
import qdrant_edge as edge
from sqlalchemy import func, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.corpus import VersionId, digest_of
from app.domain.evidence import Placement
from app.domain.jobs import JobState
from app.store import publishing
from app.store.database import open_engine, reading
from app.store.tables import ChunkRow, DocumentRow, ElementRow, IndexTaskRow, JobRow, VersionRow
from tests.e2e.conftest import OWNER, READER, lay_down
from tests.e2e.papers import MEDIA_TYPES, Paper, paper
from tests.e2e.processes import Muniment, eventually, muniment

PAPERS: Final = 500
KILLS: Final = ("index",) * 9 + ("worker",) * 7 + ("API",) * 4 + ("supervisor",) * 2
STOPS: Final = ("worker",) * 2
"""By SIGTERM: what a deployment does. Beside the kills."""

SUBMITTERS: Final = 4


@dataclass(kw_only=True)
class Acknowledged:
    """What the server answered for, per uri in order, and whatever was seen that must never be."""

    papers: dict[str, list[Paper]] = field(default_factory=lambda: defaultdict(list))
    documents: dict[str, str] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    """The levels that documents were corrected to, by document."""
    correctable: Queue[str] = field(default_factory=Queue)
    """Documents that are not submitted again."""
    wrong: list[str] = field(default_factory=list)
    refused: int = 0
    looks: int = 0

    def expected(self, uri: str) -> list[Paper]:
        """The versions that a document must have: repetition of what is newest makes none."""
        return [paper for paper, _ in groupby(self.papers[uri])]


def test_nothing_acknowledged_is_lost_or_half_visible_when_any_process_is_killed(tmp_path: Path) -> None:
    seed = os.environ.get("MUNIMENT_KILL_SEED", "muniment")
    print(f"MUNIMENT_KILL_SEED={seed}")  # shown when it fails
    with muniment(tmp_path) as served:
        served.start()
        served.wait_until_ready()
        lay_down(served)
        served.key(OWNER), served.key(READER)
        acknowledged = Acknowledged()
        _ingest_under_fire(served, random.Random(seed), acknowledged)

        assert acknowledged.wrong == []
        assert acknowledged.looks > 100
        assert len(acknowledged.labels) > 100
        _every_document_is_there_once(served, acknowledged)
        _every_document_is_found(served, acknowledged)

        assert served.stop() == 0
        assert served.alive() == []
        assert served.held_locks() == []
        _the_index_holds_what_sql_says(served)


# -- the ingest, and those who disturb it ------------------------------------------------------------------------------


def _ingest_under_fire(served: Muniment, chance: random.Random, acknowledged: Acknowledged) -> None:
    """Submit everything, a share of it after each kill, so that no kill meets an idle server."""
    todo = list(_papers(chance))
    share = PAPERS // len(KILLS) + 1
    permits, over = threading.Semaphore(2 * share), threading.Event()
    with ThreadPoolExecutor(SUBMITTERS + 3) as pool, ExitStack() as ending:
        ending.callback(over.set)
        parts = [todo[n::SUBMITTERS] for n in range(SUBMITTERS)]
        submitting = [pool.submit(_submit_all, served, part, permits, acknowledged) for part in parts]
        disturbing = [pool.submit(_look, served, n, over, acknowledged) for n in range(2)]
        disturbing.append(pool.submit(_correct, served, over, acknowledged))
        try:
            _kill_all(served, chance, lambda: permits.release(share))
        finally:
            permits.release(PAPERS)
        served.wait_until_ready()
        for submitted in submitting:
            submitted.result()
        _every_job_has_succeeded(served, acknowledged)
        over.set()
        for each in disturbing:
            each.result()


def _papers(chance: random.Random) -> Iterator[list[Paper]]:
    """`PAPERS` papers, most with one edition; some have two, some go back to the first, some repeat it."""
    for number in range(PAPERS):
        kind = chance.choices(["md", "txt", *MEDIA_TYPES], [40, 40, *[2] * len(MEDIA_TYPES)])[0]
        sentences = 60 if chance.random() < 0.03 else chance.randint(2, 6)
        editions = chance.choices([(1,), (1, 2), (1, 2, 1), (1, 1)], [80, 14, 3, 3])[0]
        yield [paper(number, edition, kind, sentences=sentences) for edition in editions]


def _submit_all(
    served: Muniment, todo: Sequence[Sequence[Paper]], permits: threading.Semaphore, acknowledged: Acknowledged
) -> None:
    for editions in todo:
        permits.acquire()
        for each in editions:
            _submit(served, each, acknowledged)
        if len(editions) == 1:
            acknowledged.correctable.put(acknowledged.documents[editions[0].uri])


def _submit(served: Muniment, paper: Paper, acknowledged: Acknowledged) -> None:
    """Until it is acknowledged; again only after no answer or 503."""
    upload = {"file": (paper.filename, paper.content(), MEDIA_TYPES[paper.kind])}
    metadata = {"metadata": json.dumps({"uri": paper.uri, "title": f"On {paper.word}"})}

    at = "/v1/collections/papers/documents"
    response = _persistently(acknowledged, partial(served.request, "POST", at, OWNER, files=upload, data=metadata))
    if response.status_code not in (200, 202):
        acknowledged.wrong.append(f"{paper.uri}: {response.status_code} {response.text}")
        return
    body = response.json()
    if acknowledged.documents.setdefault(paper.uri, body["document"]["id"]) != body["document"]["id"]:
        acknowledged.wrong.append(f"{paper.uri} is two documents")
    acknowledged.papers[paper.uri].append(paper)
    if body["job"]:
        acknowledged.jobs.append(body["job"]["id"])


def _correct(served: Muniment, over: threading.Event, acknowledged: Acknowledged) -> None:
    """Raise and lower labels, of documents that are in and of some that are on their way in."""
    chance = random.Random(0)
    while not over.is_set():
        try:
            document = acknowledged.correctable.get(timeout=0.2)
        except Empty:
            continue
        level = chance.choice(["public", "internal"])
        body, at = {"label": {"level": level}, "reason": "a test"}, f"/v1/documents/{document}"
        response = _persistently(acknowledged, partial(served.request, "PATCH", at, OWNER, json=body))
        if response.status_code != 200:
            acknowledged.wrong.append(f"PATCH {document}: {response.status_code} {response.text}")
        acknowledged.labels[document] = level


def _persistently(acknowledged: Acknowledged, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer that is one: again after a connection that broke and after 503, and after nothing else."""

    def answer() -> httpx.Response | None:
        with suppress(httpx.TransportError):
            response = ask()
            if response.status_code != 503:
                return response
        acknowledged.refused += 1
        return None

    found: httpx.Response = eventually(answer, "an answer")
    return found


def _kill_all(served: Muniment, chance: random.Random, killed: Callable[[], None]) -> None:
    """In random order: half of them at once after another, the others in the middle of work."""
    plan = [(role, signal.SIGKILL) for role in KILLS] + [(role, signal.SIGTERM) for role in STOPS]
    chance.shuffle(plan)
    engine = open_engine(served.database_url)
    started = time.monotonic()
    for role, number in plan:
        if chance.random() < 0.5:
            before = _progress(engine)
            eventually(partial(_has_moved, engine, before), "the worker at work again")
            wait_s = chance.uniform(0, 2.5)
        else:
            wait_s = chance.uniform(0, 0.5)
        threading.Event().wait(wait_s)
        eventually(partial(served.kill, role, number), f"the {role} to be there to be killed")
        print(f"{time.monotonic() - started:.1f} s: {number.name} for the {role}; jobs: {_progress(engine)}")
        if role == "supervisor":
            served.start()
        if number is signal.SIGKILL:
            killed()
    engine.dispose()


def _has_moved(engine: Engine, before: list[tuple[str, str | None, int]]) -> bool:
    return _progress(engine) != before


def _progress(engine: Engine) -> list[tuple[str, str | None, int]]:
    """How many jobs there are in each state and stage, but for those that were only just submitted."""
    how_far = (col(JobRow.state), col(JobRow.stage))
    with reading(engine) as session:
        rows = session.execute(
            select(*how_far, func.count()).where(col(JobRow.state) != JobState.QUEUED).group_by(*how_far)
        )
        return sorted((state, stage, number) for state, stage, number in rows)


def _look(served: Muniment, number: int, over: threading.Event, acknowledged: Acknowledged) -> None:
    """All the time, as a reader: whatever is shown of a document is whole."""
    chance = random.Random(number)
    while not over.wait(0.05):
        known = list(acknowledged.documents.copy().items())  # others add to it: a copy is made in one go
        if not known:
            continue
        uri, document = chance.choice(known)
        try:
            for version in _seen(served, f"/v1/documents/{document}/versions", "versions") or []:
                address = f"/v1/documents/{document}/versions/{version['version']}/text"
                text = _seen(served, address, "text")
                editions = list(acknowledged.papers[uri]) or None
                if text is not None and editions and not any(each.is_whole_in(text) for each in editions):
                    acknowledged.wrong.append(f"{uri} version {version['version']} is not whole: {text!r}")
                acknowledged.looks += text is not None
        except httpx.TransportError:
            continue


def _seen(served: Muniment, path: str, member: str) -> Any:
    """None where there is nothing yet, or nobody to ask."""
    response = served.request("GET", path, READER)
    if response.status_code in (404, 503):
        return None
    assert response.status_code == 200, response.text
    return response.json()[member]


# -- what must be so afterwards ----------------------------------------------------------------------------------------


def _every_job_has_succeeded(served: Muniment, acknowledged: Acknowledged) -> None:
    with httpx.Client() as client:

        def over(id: str) -> dict[str, Any] | None:
            job: dict[str, Any] = _read(served, client, f"/v1/jobs/{id}", OWNER).json()
            return job if job["state"] not in ("queued", "running") else None

        for id in acknowledged.jobs:
            job = eventually(partial(over, id), f"job {id} over")
            assert (job["state"], job["problem"]) == ("succeeded", None)


def _every_document_is_there_once(served: Muniment, acknowledged: Acknowledged) -> None:
    listed, cursor = [], None
    while True:
        page = served.succeed(READER, "GET", f"/v1/documents?limit=200{f'&cursor={cursor}' if cursor else ''}")
        listed += [(each["uri"], each["document_id"]) for each in page["documents"]]
        if (cursor := page["cursor"]) is None:
            break
    assert sorted(listed) == sorted(acknowledged.documents.items())
    with httpx.Client() as client:
        for uri, document in listed:
            wanted = acknowledged.expected(uri)
            shown = _read(served, client, f"/v1/documents/{document}/versions").json()["versions"]
            assert [(each["version"], each["digest"]) for each in reversed(shown)] == [
                (number, digest_of(each.content())) for number, each in enumerate(wanted, 1)
            ], uri
            if (level := acknowledged.labels.get(document)) is not None:
                assert shown[0]["label"]["level"] == level
            for number, each in enumerate(wanted, 1):
                at = f"/v1/documents/{document}/versions/{number}"
                assert each.is_whole_in(_read(served, client, f"{at}/text").json()["text"])
                assert _read(served, client, f"{at}/content").content == each.content()


def _every_document_is_found(served: Muniment, acknowledged: Acknowledged) -> None:
    with httpx.Client() as client:

        def cited(word: str, **how: Any) -> list[tuple[str, int, str]]:
            body = {"query": f"What is said of {word}?", **how}
            answer = served.request("POST", "/v1/retrieve", READER, client=client, json=body).json()
            passages = [(each["citation"], each["text"]) for each in answer["passages"]]
            return [(citation["uri"], citation["version"], text) for citation, text in passages if word in text]

        for uri in acknowledged.papers:
            editions = acknowledged.expected(uri)
            newest = (uri, len(editions))
            assert {found[:2] for found in cited(editions[-1].word)} == {newest}
            every = cited(editions[-1].word, mode="lexical", top_k=50)
            assert {found[:2] for found in every} == {newest}
            assert editions[-1].is_whole_in("\n".join(text for _, _, text in every))


def _read(served: Muniment, client: httpx.Client, path: str, who: str = READER) -> httpx.Response:
    response = served.request("GET", path, who, client=client)
    assert response.status_code == 200, response.text
    return response


def _the_index_holds_what_sql_says(served: Muniment) -> None:
    engine = open_engine(served.database_url)
    with reading(engine) as session:
        states = dict(session.execute(select(col(JobRow.state), func.count()).group_by(col(JobRow.state))).all())
        assert set(states) == {JobState.SUCCEEDED}
        assert _count(session, DocumentRow) == PAPERS
        assert _count(session, IndexTaskRow) == 0
        assert session.scalars(select(col(VersionRow.id)).where(col(VersionRow.number).is_(None))).all() == []
        versions = set(session.scalars(select(col(VersionRow.id))))
        for table in (ChunkRow, ElementRow):
            assert set(session.scalars(select(col(table.version_id)))) == versions
        wanted = {
            each.point: _payload(each)
            for each in publishing.placements_of(session, [VersionId(version or 0) for version in versions])
        }
    engine.dispose()
    shard = edge.EdgeShard.load(str(served.home / "index" / "shard"))
    records, _ = shard.scroll(edge.ScrollRequest(limit=1_000_000, with_payload=True, with_vector=True))
    shard.close()
    held = {each.id: {name: what for name, what in (each.payload or {}).items() if name != "marks"} for each in records}
    assert held == wanted
    assert all(record.vector for record in records)


def _count(session: Session, table: Any) -> int:
    return session.execute(select(func.count()).select_from(table)).scalar_one()


def _payload(placement: Placement) -> dict[str, Any]:
    names = ("boundary", "valid_from", "valid_to", "recorded_from", "recorded_to")
    return {name: getattr(placement, name) for name in names} | {"facets": list(placement.facets)}
