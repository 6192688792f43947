"""What is decided again just before an answer leaves: access that is narrowed while the index is being asked.

An answer in words asks it twice, so access may be narrowed the first time or the second.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from app.domain.answer import Query
from app.domain.errors import Unauthenticated
from app.domain.evidence import Hits, IndexQuery
from app.operations.answer import Wish, answer
from app.operations.identify import Credentials
from app.operations.retrieve import retrieve
from app.ports import Index
from tests.running import Running

DOCUMENT = "The audit is in June."
QUESTION = "When is the audit?"


@dataclass
class _Meanwhile:
    """The real index; while it is asked for the `nth` time, something else happens."""

    index: Index
    act: Callable[[], object]
    nth: int = 1

    def search(self, query: IndexQuery) -> Hits:
        hits = self.index.search(query)
        self.nth -= 1
        if self.nth == 0:
            self.act()
        return hits


Ask = Callable[[Running, Callable[[], object]], list[str]]


def _retrieve(run: Running, act: Callable[[], object]) -> list[str]:
    ports = replace(run.ports, index=_Meanwhile(run.ports.index, act))  # type: ignore[arg-type]
    told = retrieve(ports, Credentials(bearer=run.key("user:bo")), Query(text=QUESTION))
    return [passage.citation.uri for passage in told.passages]


def _answer(run: Running, act: Callable[[], object], *, nth: int = 1) -> list[str]:
    ports = replace(run.ports, index=_Meanwhile(run.ports.index, act, nth))  # type: ignore[arg-type]
    told = answer(ports, Credentials(bearer=run.key("user:bo")), Query(text=QUESTION), Wish())
    assert [each.text for each in told.said.sentences] == [DOCUMENT for _ in told.answer.passages]
    return [passage.citation.uri for passage in told.answer.passages]


@pytest.fixture(
    params=[_retrieve, _answer, partial(_answer, nth=2)], ids=["retrieve", "answer", "answer-the-second-time"]
)
def ask(request: pytest.FixtureRequest) -> Ask:
    asking: Ask = request.param
    return asking


@pytest.fixture
def document(run: Running, ask: Ask) -> str:
    run.put_principal("group:team")
    run.put_principal("user:ana")
    run.put_principal("user:bo", groups=["group:team"])
    run.put_collection("notes", owners=["user:ana"], default_readers=["group:team"])
    published = run.publish("user:ana", "notes", DOCUMENT, uri="audit")
    assert ask(run, lambda: None) == ["audit"]
    return published


def test_person_who_leaves_the_group_meanwhile_gets_nothing(run: Running, ask: Ask, document: str) -> None:
    assert ask(run, lambda: run.put_principal("user:bo", groups=[])) == []


def test_document_that_is_closed_meanwhile_is_not_shown(run: Running, ask: Ask, document: str) -> None:
    body = {"readers": ["user:ana"]}
    assert ask(run, lambda: run.request("PATCH", f"/v1/documents/{document}", "user:ana", json=body)) == []


def test_document_that_is_withdrawn_meanwhile_is_not_shown(run: Running, ask: Ask, document: str) -> None:
    body = {"reason": "wrong"}
    assert ask(run, lambda: run.request("POST", f"/v1/documents/{document}/withdraw", "user:ana", json=body)) == []


def test_key_that_is_revoked_meanwhile_is_refused(run: Running, ask: Ask, document: str) -> None:
    issued = run.admin("POST", "/v1/principals/user/bo/keys")
    run.keys["user:bo"] = issued["key"]
    with pytest.raises(Unauthenticated):
        ask(run, lambda: run.admin("DELETE", f"/v1/principals/user/bo/keys/{issued['id']}"))
