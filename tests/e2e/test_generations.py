"""Another embedding model, on a server that answers all the while, whatever is changed and killed meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import func, select
from sqlmodel import col

from app.store.database import open_engine, reading
from app.store.tables import EmbeddingRow, GenerationRow
from tests.e2e.conftest import OWNER, READER, lay_down
from tests.e2e.processes import Muniment, eventually, muniment, suspended
from tests.tiny_models import tiny_graph_embedder

SENTENCE = "The heron number {n} of pond {n} eats {n} frogs before noon."


@contextmanager
def asked_all_along(served: Muniment, question: str, uri: str) -> Iterator[list[list[str]]]:
    """What each answer cites, asked again and again while inside; every answer must cite `uri`, and none may fail."""
    answers: list[list[str]] = []
    failures: list[str] = []
    over = threading.Event()
    key = served.key(READER)

    def ask() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            while not over.wait(0.1):
                response = client.post(f"{served.url}/v1/retrieve", json={"query": question, "top_k": 20})
                if response.status_code != 200:
                    failures.append(response.text)
                    return
                answers.append([each["citation"]["uri"] for each in response.json()["passages"]])
                if uri not in answers[-1]:
                    failures.append(f"{uri} is not among {answers[-1]}")
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join(60)
    assert failures == []
    assert answers


def index(served: Muniment) -> dict[int, dict[str, Any]]:
    return {each["id"]: each for each in served.admin("GET", "/v1/index")["generations"]}


def states(served: Muniment) -> dict[int, str]:
    return {id: each["state"] for id, each in index(served).items()}


def index_process(served: Muniment) -> psutil.Process | None:
    assert served.supervisor
    for child in psutil.Process(served.supervisor.pid).children():
        with suppress(psutil.NoSuchProcess):
            if str(served.home / "index-2") in child.cmdline():
                return child
    return None


def claimed(served: Muniment) -> bool:
    engine = open_engine(served.database_url)
    with reading(engine) as session:
        found = session.scalars(select(col(GenerationRow.builder)).where(col(GenerationRow.builder).is_not(None))).all()
    engine.dispose()
    return bool(found)


def fingerprints(served: Muniment) -> dict[str, int]:
    """How many vectors are kept of each model."""
    engine = open_engine(served.database_url)
    with reading(engine) as session:
        fingerprint = col(EmbeddingRow.fingerprint)
        rows = session.execute(select(fingerprint, func.count()).group_by(fingerprint)).all()
    engine.dispose()
    return {name: many for name, many in rows}  # noqa: C416 (rows are no pairs to dict)


def cited(served: Muniment, query: str) -> set[str]:
    answer = served.retrieve(READER, query, mode="lexical", top_k=50)
    return {each["citation"]["uri"] for each in answer["passages"]}


def test_another_model_takes_over_at_once_and_nothing_is_missed_or_left(tmp_path: Path) -> None:
    old, new = tiny_graph_embedder(tmp_path / "old", dimension=16), tiny_graph_embedder(tmp_path / "new", dimension=32)
    with muniment(tmp_path, MUNIMENT_EMBEDDING__MODEL=str(old)) as served:
        served.start()
        served.wait_until_ready()
        lay_down(served)
        for number in range(6):
            served.publish(OWNER, "papers", SENTENCE.format(n=number + 100), uri=f"pond-{number}")
        erased = served.publish(OWNER, "papers", "The bittern sings of secrets.", uri="bittern")
        withdrawn = served.publish(OWNER, "papers", "The crane is withdrawn.", uri="crane")
        before = served.retrieve(READER, "heron number 103")
        assert served.stop() == 0
        (first,) = fingerprints(served)

        served.environment = {"MUNIMENT_EMBEDDING__MODEL": str(new)}
        served.start()
        with ExitStack() as meanwhile:
            with suspended(eventually(lambda: index_process(served), "an index process for the new generation")) as it:
                served.wait_until_ready()
                question = "How many frogs does heron number 103 eat?"
                meanwhile.enter_context(asked_all_along(served, question, "pond-3"))
                eventually(lambda: claimed(served), "a worker that tells the new index")
                served.kill("worker")
                it.kill()
            served.publish(OWNER, "papers", "The egret arrived meanwhile.", uri="egret")
            served.succeed(OWNER, "POST", f"/v1/documents/{withdrawn}/withdraw", {"reason": "over"})
            served.succeed(OWNER, "POST", f"/v1/documents/{erased}/erase", {"reason": "asked"})
            eventually(lambda: states(served).get(2) == "active", f"the new generation answers: {index(served)}")
            served.publish(OWNER, "papers", "The stork came afterwards.", uri="stork")
        eventually(lambda: states(served) == {1: "removed", 2: "active"}, f"the old one is gone: {index(served)}")

        assert index(served)[2]["dimension"] == 32
        assert index(served)[2]["fingerprint"] != index(served)[1]["fingerprint"] == first
        assert cited(served, "egret arrived meanwhile") == {"egret"}
        assert cited(served, "stork came afterwards") == {"stork"}
        assert cited(served, "bittern sings secrets") == cited(served, "crane withdrawn") == set()
        after = served.retrieve(READER, "heron number 103")
        assert after["passages"][0]["citation"]["uri"] == before["passages"][0]["citation"]["uri"] == "pond-3"
        assert fingerprints(served).keys() == {index(served)[2]["fingerprint"]}
        eventually(lambda: not (served.home / "index").exists(), "the old index's folder is gone")
        assert (served.home / "index-2").is_dir()
        assert served.stop() == 0
        assert served.alive() == []
