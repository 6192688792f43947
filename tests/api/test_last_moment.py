"""What is decided again just before an answer leaves: access that is narrowed while the index is being asked."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from app.domain.answer import Query
from app.domain.errors import Unauthenticated
from app.domain.evidence import Hits, IndexQuery
from app.operations.identify import Credentials
from app.operations.retrieve import retrieve
from app.ports import Index
from tests.running import Running


@dataclass
class _Meanwhile:
    """The real index; while it is asked, something else happens."""

    index: Index
    act: Callable[[], object]

    def search(self, query: IndexQuery) -> Hits:
        hits = self.index.search(query)
        self.act()
        return hits


def _ask(run: Running, act: Callable[[], object]) -> list[str]:
    ports = replace(run.ports, index=_Meanwhile(run.ports.index, act))  # type: ignore[arg-type]
    answer = retrieve(ports, Credentials(bearer=run.key("user:bo")), Query(text="When is the audit?"))
    return [passage.citation.uri for passage in answer.passages]


@pytest.fixture
def document(run: Running) -> str:
    run.put_principal("group:team")
    run.put_principal("user:ana")
    run.put_principal("user:bo", groups=["group:team"])
    run.put_collection("notes", owners=["user:ana"], default_readers=["group:team"])
    published = run.publish("user:ana", "notes", "The audit is in June.", uri="audit")
    assert _ask(run, lambda: None) == ["audit"]
    return published


def test_person_who_leaves_the_group_meanwhile_gets_nothing(run: Running, document: str) -> None:
    assert _ask(run, lambda: run.put_principal("user:bo", groups=[])) == []


def test_document_that_is_closed_meanwhile_is_not_shown(run: Running, document: str) -> None:
    body = {"readers": ["user:ana"]}
    assert _ask(run, lambda: run.request("PATCH", f"/v1/documents/{document}", "user:ana", json=body)) == []


def test_document_that_is_withdrawn_meanwhile_is_not_shown(run: Running, document: str) -> None:
    body = {"reason": "wrong"}
    assert _ask(run, lambda: run.request("POST", f"/v1/documents/{document}/withdraw", "user:ana", json=body)) == []


def test_key_that_is_revoked_meanwhile_is_refused(run: Running, document: str) -> None:
    issued = run.admin("POST", "/v1/principals/user/bo/keys")
    run.keys["user:bo"] = issued["key"]
    with pytest.raises(Unauthenticated):
        _ask(run, lambda: run.admin("DELETE", f"/v1/principals/user/bo/keys/{issued['id']}"))
