"""Erasure on real processes and real files: no byte of what was erased is left anywhere in the data folder.

Searched for are words that stand in no other text, in UTF-8 and both UTF-16s, and the vectors that were made of it.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col

from app.domain.corpus import digest_of
from app.store.database import open_engine, reading
from app.store.tables import ChunkRow, DocumentRow, EmbeddingRow, ErasureRow, VersionRow
from tests.e2e.conftest import OWNER, READER, lay_down
from tests.e2e.papers import Paper, paper
from tests.e2e.processes import PATIENCE_S, Muniment, eventually, muniment

UNSAID = "zwunsaidzw"
"""In titles, uris, filenames, attributes, authors and etags."""


KEPT = paper(39, 1, "md", sentences=10)


@dataclass(kw_only=True)
class Searched:
    """What must not stand in any file once the processes have ended, beside the server."""

    served: Muniment
    words: list[str] = field(default_factory=list)
    vectors: list[bytes] = field(default_factory=list)

    def left(self) -> list[str]:
        return _files_with(self.served.home, self.words, self.vectors)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    with muniment(tmp_path_factory.mktemp("erased")) as started:
        started.start()
        started.wait_until_ready()
        lay_down(started)
        found = Searched(served=started)
        _submitted(started, [KEPT])
        yield found
        assert started.stop() == 0
        assert found.words
        assert found.left() == []


def test_no_byte_of_an_erased_document_is_left(searched: Searched) -> None:
    served = searched.served
    papers = [
        *(paper(1, edition, "docx", sentences=8) for edition in (1, 2)),
        *(paper(2, edition, "md", sentences=30) for edition in (1, 2)),
        paper(3, 1, "pdf", sentences=8),
        paper(4, 1, "xlsx", sentences=8),
    ]
    documents = _submitted(served, papers)
    answer = served.retrieve(OWNER, "What is approved by the regulator, and within how many days?", top_k=50)
    cited = [each["citation"] for each in answer["passages"] if each["citation"]["document_id"] in documents.values()]
    assert len(cited) > 3
    searched.words += [UNSAID, *{each.word for each in papers}]
    searched.vectors += _vectors(served, documents.values())
    assert len(searched.vectors) > 5
    assert len(searched.left()) > len(searched.words)

    said = []
    for document in documents.values():
        response = served.request("POST", f"/v1/documents/{document}/erase", OWNER, json={"reason": "asked to"})
        assert response.status_code == 201, response.text
        said.append(response.text)

    assert searched.left() == []
    originals = {digest_of(each.content()) for each in papers}
    assert [path for path in (served.home / "blobs").rglob("*") if f"sha256:{path.name}" in originals] == []
    said += _everything_said_of(served, documents.values(), [each["id"] for each in cited])
    assert [text for text in said if any(word in text for word in searched.words)] == []
    assert _passages_of(served, KEPT) != []


@pytest.mark.parametrize("role", ["API", "index"])
def test_an_erasure_that_is_killed_is_finished_by_a_worker(searched: Searched, role: str) -> None:
    served = searched.served
    doomed = paper({"API": 50, "index": 51}[role], 1, "md", sentences=60)
    (document,) = _submitted(served, [doomed]).values()
    searched.vectors += _vectors(served, [document])
    asking = threading.Thread(target=_ask_to_erase, args=(served, document))
    asking.start()
    _until_requested(served, document)
    served.kill(role)
    asking.join()
    served.wait_until_ready()

    state = eventually(lambda: _certified(served, document), "certified")
    assert state["certificate"]["probes"]["found"] == 0
    assert served.request("GET", f"/v1/documents/{document}", OWNER).status_code == 404
    searched.words.append(doomed.word)
    assert searched.left() == []


# -- what is done ------------------------------------------------------------------------------------------------------


def _submitted(served: Muniment, papers: Sequence[Paper]) -> dict[str, str]:
    """The documents by uri, once all of them are published."""
    answers = [_submit(served, each) for each in papers]
    for answer in answers:
        path = f"/v1/jobs/{answer['job']['id']}"
        eventually(lambda path=path: served.succeed(OWNER, "GET", path)["state"] == "succeeded", "published")
    return {each.uri: answer["document"]["id"] for each, answer in zip(papers, answers, strict=True)}


def _submit(served: Muniment, each: Paper) -> Any:
    metadata = {
        "uri": each.uri if each is KEPT else f"{each.uri}/{UNSAID}",
        "title": f"On {each.word}",
        "attributes": {"topic": [each.word]},
        "source": {"connector": "folder", "etag": each.word, "author": each.word},
    }
    filename = each.filename if each is KEPT else f"{UNSAID}.{each.kind}"
    response = served.request(
        "POST",
        "/v1/collections/papers/documents",
        OWNER,
        files={"file": (filename, each.content())},
        data={"metadata": json.dumps(metadata)},
    )
    assert response.status_code == 202, response.text
    return response.json()


def _ask_to_erase(served: Muniment, document: str) -> None:
    with suppress(httpx.TransportError):
        served.request("POST", f"/v1/documents/{document}/erase", OWNER, json={"reason": "asked to"})


def _until_requested(served: Muniment, document: str) -> None:
    """That it is on record is seen in SQL before the answer, which comes with the certificate, is there."""
    query = select(col(ErasureRow.seq)).join(DocumentRow).where(col(DocumentRow.public_id) == document)
    engine = open_engine(served.database_url)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with reading(engine) as session:
            if session.execute(query).first() is not None:
                break
    engine.dispose()


def _certified(served: Muniment, document: str) -> dict[str, Any] | None:
    with suppress(httpx.TransportError, AssertionError):
        found = served.admin("GET", "/v1/collections/papers/erasures")["erasures"]
        return next((e for e in found if e["document_id"] == document and e["state"] == "certified"), None)
    return None


# -- where it is looked for --------------------------------------------------------------------------------------------


def _files_with(home: Path, words: Sequence[str], vectors: Sequence[bytes]) -> list[str]:
    wanted = [word.encode(encoding) for word in words for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    found = []
    for path in sorted(home.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file():
                content = path.read_bytes()
                found += [f"{path.name}: {each[:40]!r}" for each in (*wanted, *vectors) if each in content]
    return found


def _vectors(served: Muniment, documents: Any) -> list[bytes]:
    engine = open_engine(served.database_url)
    with reading(engine) as session:
        query = (
            select(col(EmbeddingRow.vector))
            .join(ChunkRow, col(ChunkRow.embedded_digest) == col(EmbeddingRow.digest))
            .join(VersionRow, col(VersionRow.id) == col(ChunkRow.version_id))
            .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
            .where(col(DocumentRow.public_id).in_(list(documents)))
        )
        found = [vector[:64] for vector in session.scalars(query)]
    engine.dispose()
    return found


def _everything_said_of(served: Muniment, documents: Any, citations: Sequence[str]) -> list[str]:
    paths = [f"/v1/citations/{id}" for id in citations]
    for id in documents:
        paths += [f"/v1/documents/{id}{rest}" for rest in ("", "/versions", "/versions/1/text", "/versions/2/content")]
    said = []
    for path in paths:
        response = served.request("GET", path, OWNER)
        assert response.status_code == 404, response.text
        said.append(response.text)
    for state in ("current", "superseded", "withdrawn", "expired"):
        said.append(served.request("GET", f"/v1/documents?state={state}&limit=200", OWNER).text)
    said.append(served.request("GET", "/v1/traces?limit=200", OWNER).text)
    said.append(served.request("GET", "/v1/collections/papers/erasures", OWNER).text)
    said += [json.dumps(served.retrieve(who, "approved by the regulator", top_k=50)) for who in (OWNER, READER)]
    return said


def _passages_of(served: Muniment, kept: Paper) -> list[Any]:
    passages = served.retrieve(OWNER, f"What of {kept.word}?")["passages"]
    return [each for each in passages if kept.word in each["text"]]
