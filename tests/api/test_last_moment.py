"""What is decided again just before an answer leaves: access that is narrowed while the index is being asked.

An answer in words asks it twice, so access may be narrowed the first time or the second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection

from app.domain.access import Grant, GrantKind, PrincipalRef
from app.domain.answer import Query
from app.domain.checks import CheckName
from app.domain.errors import Unauthenticated
from app.domain.evidence import Hits, IndexQuery
from app.domain.instants import Instant
from app.operations.answer import Wish, answer
from app.operations.identify import Credentials
from app.operations.retrieve import find, retrieve
from app.ports import Index
from app.store import directory
from app.store.database import reading, recording
from app.store.grants import record_grant
from tests.api.test_obligations import CARD, oblige
from tests.api.test_ranking import QUESTION as TOPIC
from tests.api.test_ranking import TOWN
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


# -- access that is narrowed while what was found is being confirmed -------------------------------------------------


@pytest.fixture
def guide(run: Running) -> Running:
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="confidential", categories=["pii"])
    run.put_collection("town", owners=["user:olga"], default_readers=["user:ana"])
    run.publish("user:olga", "town", TOWN.replace("The quarry is", f"Pay with card {CARD}. The quarry is"), uri="town")
    return run


@contextmanager
def once_chunks_are_read(run: Running, act: Callable[[], object]) -> Iterator[list[Connection]]:
    """Something else happens after the first statement that reads chunks; what each that does is executed on."""
    read_on: list[Connection] = []

    def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM chunks" in statement:
            read_on.append(connection)
            if len(read_on) == 1:
                act()

    event.listen(run.ports.engine, "after_cursor_execute", after)
    try:
        yield read_on
    finally:
        event.remove(run.ports.engine, "after_cursor_execute", after)


def test_passages_keep_the_obligations_under_which_they_were_confirmed(guide: Running) -> None:
    """The second go of confirming finds access narrowed: nothing is shown by what held before without its duties."""
    oblige(guide, "redact:pii")
    credentials, query = Credentials(bearer=guide.key("user:ana")), Query(text=TOPIC, top_k=2, max_tokens=900)
    before = retrieve(guide.ports, credentials, query)
    with once_chunks_are_read(guide, lambda: guide.put_principal("user:ana", clearance="public")) as read_on:
        during = retrieve(guide.ports, credentials, query)
    after = retrieve(guide.ports, credentials, query)

    assert len(read_on) > 3, "a second go, what is around what is redacted, and growth"
    assert len(set(read_on)) == 1, "all in one transaction"
    assert "[redacted: payment card]" in before.context
    assert (during.context, during.obligations) == (before.context, before.obligations)
    assert after.passages == ()


def test_what_is_on_record_is_the_decision_that_the_passages_were_confirmed_by(guide: Running) -> None:
    def meanwhile() -> None:
        oblige(guide, "no-export")
        guide.put_principal("user:ana", clearance="restricted", categories=["pii"])
        with recording(guide.ports.engine, guide.ports.now(), "grants") as (session, at):
            record_grant(session, opened(at), at=at)

    ports = replace(guide.ports, index=_Meanwhile(guide.ports.index, meanwhile))  # type: ignore[arg-type]
    told = retrieve(ports, Credentials(bearer=guide.key("user:ana")), Query(text=TOPIC))
    assert [each.id for each in told.obligations] == ["no-export"]
    said = {check.check: check.reason for check in told.checks}
    assert "A grant opens town" in said[CheckName.BOUNDARY]
    assert "restricted" in said[CheckName.CLEARANCE]

    guide.put_principal("user:sunniva", groups=["group:auditors"])
    grounds = guide.request("GET", f"/v1/traces/{told.trace_id}", "user:sunniva").json()["grounds"]
    assert grounds["grants"] == ["grant-1"]
    with reading(guide.ports.engine) as session:
        assert grounds["epochs"]["policies"] == directory.epochs_and_instant(session)[0].policies


def opened(at: Instant) -> Grant:
    ana = PrincipalRef("user:ana")
    return Grant(
        id="grant-1",
        kind=GrantKind.ESCALATION,
        subject=ana,
        collections=frozenset({"town"}),
        begins=at,
        ends=Instant(at + 3_600_000),
        because="a test",
        granted_by=ana,
    )


def test_what_is_decided_again_is_asked_of_the_same_instants(guide: Running) -> None:
    """Whatever moves meanwhile, hidden or not: the answer is as of when it was asked, and says so."""
    instants: list[tuple[Any, Any]] = []
    for act in (lambda: None, lambda: guide.put_principal("user:cy")):
        ports = replace(guide.ports, index=_Meanwhile(guide.ports.index, act))  # type: ignore[arg-type]
        found = find(ports, Credentials(bearer=guide.key("user:ana")), Query(text=TOPIC))
        assert found.answer.passages
        assert "lies ahead" not in str(found.answer.checks)
        instants.append((found.reach.valid_at - found.standing.now, found.reach.known_at - found.standing.now))
    assert instants == [(0, 0), (0, 0)]


# -- what is loaded, and what is passed over ---------------------------------------------------------------------------

HOURS = ("at dawn", "after breakfast", "by ten", "at noon", "when school ends", "towards dusk", "in moonlight", "never")


@pytest.fixture
def gates(run: Running) -> Running:
    run.put_principal("user:olga")
    run.put_principal("user:bo")
    run.put_collection("gates", owners=["user:olga"], default_readers=["user:bo"])
    for number, when in enumerate(HOURS):
        words = {"uri": f"gate-{number}", "title": f"Gate {number}"}
        run.submit("user:olga", "gates", f"The {'very ' * number}old gate opens {when}.", **words)
    run.work()
    return run


GATES = "When does the old gate open?"


def test_no_more_rows_are_loaded_than_an_answer_needs(gates: Running) -> None:
    with once_chunks_are_read(gates, lambda: None) as read_on:
        found = find(gates.ports, Credentials(bearer=gates.key("user:bo")), Query(text=GATES, top_k=1))
    assert len(found.answer.passages) == len(read_on) == 1


def test_what_was_passed_over_is_counted_by_its_reason(gates: Running) -> None:
    credentials, query = Credentials(bearer=gates.key("user:bo")), Query(text=GATES, top_k=20)
    assert find(gates.ports, credentials, query).drops == {}
    (first, *rest) = find(gates.ports, credentials, query).answer.passages
    gates.publish("user:olga", "gates", first.citation.quote, uri="copy")

    def closed() -> None:
        gone = {"readers": ["user:olga"]}
        gates.request("PATCH", f"/v1/documents/{rest[-1].citation.document}", "user:olga", json=gone)

    ports = replace(gates.ports, index=_Meanwhile(gates.ports.index, closed))  # type: ignore[arg-type]
    assert find(ports, credentials, query).drops == {"boundary": 1, "repeated": 1}
    within = find(gates.ports, credentials, replace(query, max_tokens=1))
    assert (len(within.answer.passages), within.drops) == (1, {"repeated": 1, "budget": len(rest) - 1})
