"""An ACL change of many documents: at once for whoever asks, nothing embedded again, the index told afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import func, select
from sqlmodel import col

from app.domain.evidence import Vector
from app.operations.synchronize import synchronize
from app.ports import Embedder
from app.store import publishing
from app.store.database import reading
from app.store.tables import DocumentRow, EmbeddingRow, IndexTaskRow, VersionRow
from tests.running import Running, app_on

MANY = 150


@dataclass(frozen=True)
class QuestionsAlone:
    """An embedder that fails the test when it is given a passage."""

    embedder: Embedder

    @property
    def fingerprint(self) -> str:
        return self.embedder.fingerprint

    @property
    def dimension(self) -> int:
        return self.embedder.dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self.embedder.embed_queries(texts)

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        assert not texts, "a passage was embedded again"
        return []


@pytest.fixture
def shelf(run: Running) -> Running:
    """Lena and Ole own it; Lena alone is cleared for what is restricted. Max is staff."""
    run.put_principal("group:owners")
    run.put_principal("user:lena", groups=["group:owners"], clearance="restricted")
    run.put_principal("user:ole", groups=["group:owners"])
    run.put_principal("user:max")
    run.put_collection("shelf", owners=["group:owners"], default_readers=["group:all-staff"])
    run.put_collection("other", owners=["user:max"])
    return run


def amended(run: Running, who: str = "user:lena", **body: Any) -> Response:
    return run.request("POST", "/v1/collections/shelf/documents/amend", who, json=body)


def count(run: Running, table: Any) -> int:
    with reading(run.ports.engine) as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


def test_change_of_many_holds_at_once_embeds_nothing_and_reaches_the_index_later(shelf: Running) -> None:
    for n in range(MANY):
        assert shelf.submit("user:lena", "shelf", f"# Paper {n}\n\nThe otter rule.", uri=f"{n:03}").status_code == 202
    shelf.work()
    assert len(shelf.found("user:max", "otter rule", mode="lexical", top_k=50)) == 50
    embedded = count(shelf, EmbeddingRow)
    assert count(shelf, IndexTaskRow) == 0
    with reading(shelf.ports.engine) as session:
        ids = list(session.scalars(select(col(DocumentRow.public_id)).order_by(col(DocumentRow.uri))))
        versions = list(session.scalars(select(col(VersionRow.id))))
    ports = replace(shelf.ports, embedder=QuestionsAlone(shelf.ports.embedder))
    with TestClient(app_on(ports), raise_server_exceptions=False) as client:
        here = replace(shelf, ports=ports, client=client)
        answer = amended(here, documents=ids[1:], readers=["user:lena"])
        assert (answer.status_code, answer.json()) == (200, {"documents": MANY - 1, "versions": MANY - 1})
        assert count(here, IndexTaskRow) == MANY - 1  # nobody has told the index yet
        assert here.found("user:max", "otter rule", mode="lexical", top_k=50) == ["000"]
        assert len(here.found("user:lena", "otter rule", mode="lexical", top_k=50)) >= 1
        assert synchronize(ports) == MANY - 1
        assert here.found("user:max", "otter rule", mode="lexical", top_k=50) == ["000"]
        assert len(here.found("user:lena", "otter rule", mode="lexical", top_k=50)) == 50
    assert count(shelf, EmbeddingRow) == embedded
    with reading(shelf.ports.engine) as session:
        assert len({each.boundary for each in publishing.placements_of(session, versions)}) == 2


def test_several_are_named_by_uri_and_what_is_on_its_way_is_narrowed_too(shelf: Running) -> None:
    shelf.publish("user:lena", "shelf", "# Otters", uri="in")
    assert shelf.submit("user:lena", "shelf", "# Otters coming", uri="coming").status_code == 202
    answer = amended(shelf, uris=["in", "coming"], label={"level": "restricted"})
    assert (answer.status_code, answer.json()) == (200, {"documents": 2, "versions": 1})
    shelf.work()
    assert shelf.found("user:max", "otters") == []
    assert set(shelf.found("user:lena", "otters")) == {"in", "coming"}
    traces = shelf.request("GET", "/v1/traces", "user:lena").json()["traces"]
    (recorded,) = [each["request"] for each in traces if each["request"].get("what") == "amend"]
    assert (len(recorded["documents"]), recorded["fields"]) == (2, ["label"])


def test_all_are_changed_or_none_and_hidden_and_absent_look_the_same(shelf: Running) -> None:
    open_ = shelf.publish("user:lena", "shelf", "# Open otters", uri="open")
    closed = shelf.publish("user:lena", "shelf", "# Closed otters", uri="closed", label={"level": "restricted"})
    elsewhere = shelf.publish("user:max", "other", "# Other otters", uri="elsewhere")
    told = []
    for other in (closed, elsewhere, "doc_" + "a" * 26):
        answer = amended(shelf, "user:ole", documents=[open_, other], readers=["user:ole"])
        assert answer.status_code == 404
        assert [each["pointer"] for each in answer.json()["errors"]] == ["/documents/1"]
        told.append({**answer.json(), "trace_id": None})
    for uri in ("closed", "nothing"):
        assert amended(shelf, "user:ole", uris=[uri], readers=["user:ole"]).status_code == 404
    assert told[0] == told[1] == told[2]
    assert shelf.found("user:max", "open otters", collections=["shelf"]) == ["open"]


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("user:max", {"uris": ["in"], "readers": ["user:max"]}, 403),
        ("user:lena", {"uris": ["in"]}, 422),
        ("user:lena", {"readers": ["user:lena"]}, 422),
        ("user:lena", {"uris": ["in"], "readers": None}, 422),
        ("user:lena", {"uris": ["in"], "readers": ["user:nobody"]}, 422),
        ("user:lena", {"uris": ["in"], "valid_to": None}, 422),
        ("user:lena", {"documents": ["d"] * 5001, "readers": ["user:lena"]}, 422),
    ],
    ids=["staff", "nothing", "no documents", "null", "unknown reader", "a time", "too many"],
)
def test_what_is_no_change_of_a_boundary_by_an_owner_is_refused(
    shelf: Running, who: str, body: dict[str, Any], status: int
) -> None:
    shelf.publish("user:lena", "shelf", "# Otters", uri="in")
    answer = amended(shelf, who, **body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert shelf.found("user:max", "otters") == ["in"]
