"""What is decided again just before an answer leaves: access that is narrowed while the index is being asked.

An answer in words asks it twice, so access may be narrowed the first time or the second.
"""

import json
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
from app.domain.corpus import Digest, DocumentId, Metadata
from app.domain.errors import NotPermitted, Unauthenticated
from app.domain.evidence import Hits, IndexQuery
from app.domain.instants import Instant
from app.domain.labels import Level
from app.domain.trace import Outcome, TraceId
from app.operations import curate, explain, golden, submit
from app.operations.answer import Wish, answer
from app.operations.identify import Credentials
from app.operations.retrieve import find, retrieve
from app.ports import BlobStore, Index
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
def team(run: Running) -> str:
    run.put_principal("group:team")
    run.put_principal("user:ana")
    run.put_principal("user:bo", groups=["group:team"])
    run.put_collection("notes", owners=["user:ana"], default_readers=["group:team"])
    return run.publish("user:ana", "notes", DOCUMENT, uri="audit")


@pytest.fixture
def document(run: Running, ask: Ask, team: str) -> str:
    assert ask(run, lambda: None) == ["audit"]
    return team


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


@pytest.mark.parametrize("nth", [1, 2])
def test_who_may_ask_no_longer_is_told_nothing_but_that(run: Running, team: str, nth: int) -> None:
    """Neither which collections there are to be asked for, nor how surely what it may not read answers."""
    run.put_collection("merger", owners=["user:ana"], discoverable=True)
    credentials, query = Credentials(bearer=run.key("user:bo")), Query(text=QUESTION)
    before = retrieve(run.ports, credentials, query)
    leaves = _Meanwhile(run.ports.index, lambda: run.put_principal("user:bo", active=False), nth)
    told = answer(replace(run.ports, index=leaves), credentials, query, Wish())  # type: ignore[arg-type]
    after = retrieve(run.ports, credentials, query)

    assert [each.collection for each in before.recourse] == ["merger"]
    assert (told.said.text, told.said.confidence) == ("", None)
    assert (told.answer.outcome, told.answer.checks, told.answer.recourse) == (Outcome.BLOCKED, after.checks, ())


def test_collection_that_becomes_unknown_meanwhile_is_not_pointed_to(run: Running, team: str) -> None:
    run.put_collection("merger", owners=["user:ana"], discoverable=True, system_of_record=True)
    closing = _Meanwhile(run.ports.index, lambda: run.put_collection("merger", owners=["user:ana"]))
    told = retrieve(replace(run.ports, index=closing), Credentials(bearer=run.key("user:bo")), Query(text=QUESTION))  # type: ignore[arg-type]
    assert ([passage.flags for passage in told.passages], told.recourse) == ([()], ())


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
    for act in (lambda: None, lambda: guide.put_principal("user:cy")):
        ports = replace(guide.ports, index=_Meanwhile(guide.ports.index, act))  # type: ignore[arg-type]
        found = find(ports, Credentials(bearer=guide.key("user:ana")), Query(text=TOPIC))
        assert found.answer.passages
        assert "lies ahead" not in str(found.answer.checks)
        searched = found.searched
        assert (found.reach.valid_at, found.reach.known_at) == (searched.valid_at, searched.known_at)


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


# -- what is decided once and shown after -----------------------------------------------------------------------------


@contextmanager
def once_looked_at(run: Running, act: Callable[[], object], *, times: int = 1) -> Iterator[None]:
    """Something else happens when the database has been looked at so many times, each a transaction."""
    left = [times]

    def after(_connection: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    event.listen(run.ports.engine, "rollback", after)
    try:
        yield
    finally:
        event.remove(run.ports.engine, "rollback", after)
    assert left[0] <= 0, "it did not happen"


@pytest.fixture
def shared(run: Running) -> str:
    """A document of two owners, of whom olga alone may read what is restricted."""
    run.put_principal("user:olga", clearance="restricted")
    run.put_principal("user:otto")
    run.put_collection("notes", owners=["user:olga", "user:otto"])
    return run.publish("user:olga", "notes", DOCUMENT, uri="audit")


@pytest.mark.parametrize("path", ["reviews", "versions/1/periods"])
def test_what_was_said_of_a_document_once_it_was_closed_is_not_shown(run: Running, shared: str, path: str) -> None:
    def close() -> None:
        label = {"label": {"level": "restricted"}}
        assert run.request("PATCH", f"/v1/documents/{shared}", "user:olga", json=label).status_code == 200
        said = {"note": "It was leaked.", "next": "2090-01-01"}
        assert run.request("POST", f"/v1/documents/{shared}/reviewed", "user:olga", json=said).status_code == 200

    where = f"/v1/documents/{shared}/{path}"
    before = run.request("GET", where, "user:otto").json()
    with once_looked_at(run, close):
        during = run.request("GET", where, "user:otto").json()
    assert during == before
    assert "leaked" in run.request("GET", where, "user:olga").text
    assert run.request("GET", where, "user:otto").status_code == 404


def test_withdrawing_tells_what_it_had_superseded_as_it_may_be_seen_by_then(run: Running, shared: str) -> None:
    new = run.publish("user:olga", "notes", "The audit is in July.", uri="audit-2", supersedes=[shared])
    credentials = Credentials(bearer=run.key("user:otto"))
    with once_looked_at(run, lambda: run.put_principal("user:otto", clearance="public"), times=3):
        told = curate.withdraw(run.ports, credentials, DocumentId(new), reason="wrong")
    assert told == []


def test_explanation_of_what_others_asked_is_of_the_moment_at_which_it_may_be_seen(run: Running, team: str) -> None:
    run.put_principal("user:sunniva", groups=["group:auditors"])
    asked = run.retrieve("user:bo", QUESTION)["trace_id"]

    def leave() -> None:
        run.put_principal("user:sunniva", groups=[])
        run.put_principal("user:bo", clearance="confidential")

    credentials = Credentials(bearer=run.key("user:sunniva"))
    with once_looked_at(run, leave):
        told = explain.explain_own(run.ports, credentials, TraceId(asked))
    assert told.asking.case.question.principal.subject.profile.clearance is Level.INTERNAL


def test_directory_is_not_shown_to_who_keeps_it_no_longer(run: Running) -> None:
    for who in ("user:olga", "user:otto"):
        run.put_principal(who, groups=["group:provisioners"])
    key = run.key("user:otto")
    anna = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "anna"}

    def leave() -> None:
        run.put_principal("user:otto", groups=[])
        assert run.request("POST", "/scim/v2/Users", "user:olga", json=anna).status_code == 201

    with once_looked_at(run, leave):
        told = run.client.get("/scim/v2/Users", headers={"Authorization": f"Bearer {key}"})
    assert (told.status_code, "anna" in told.text) == (403, False)


@pytest.mark.parametrize("several", [False, True], ids=["amend", "amend-several"])
def test_nobody_opens_what_they_may_not_read_by_an_amendment_of_what_was_there_before(
    run: Running, shared: str, several: bool
) -> None:
    opened: dict[str, Any] = {"denied": []}
    method, path, sent = "PATCH", f"/v1/documents/{shared}", opened
    if several:
        method, path, sent = "POST", "/v1/collections/notes/documents/amend", {**opened, "documents": [shared]}
    run.key("user:otto")
    with once_looked_at(
        run, lambda: run.publish("user:olga", "notes", "Otto leaked it.", uri="audit", denied=["user:otto"])
    ):
        told = run.request(method, path, "user:otto", json=sent)
    assert told.status_code == 404
    assert run.found("user:otto", QUESTION) == []
    assert run.found("user:olga", QUESTION) == ["audit"]


def test_document_that_is_closed_meanwhile_is_left_to_the_daily_run_of_retention(run: Running, shared: str) -> None:
    rule = {"when": "published", "after_days": 0, "action": "withdraw"}
    path = "/v1/collections/notes/retention"
    assert run.request("PUT", path, "user:olga", json={"rules": [rule]}).status_code == 200
    run.key("user:otto")
    closed = {"label": {"level": "restricted"}}
    with once_looked_at(run, lambda: run.request("PATCH", f"/v1/documents/{shared}", "user:olga", json=closed)):
        told = run.request("POST", f"{path}/run", "user:otto", json={"dry_run": False}).json()
    assert told["versions"] == []
    assert run.found("user:olga", QUESTION) == ["audit"], "it is not withdrawn"


def test_version_that_is_closed_meanwhile_is_not_rolled_back(run: Running, shared: str) -> None:
    def close() -> None:
        run.publish("user:olga", "notes", "Otto leaked it.", uri="audit", denied=["user:otto"])

    run.key("user:otto")
    with once_looked_at(run, close):
        sent = {"to": 1, "reason": "It was right."}
        told = run.request("POST", f"/v1/documents/{shared}/rollback", "user:otto", json=sent)
    assert told.status_code == 404


def test_access_list_opens_nothing_that_is_closed_meanwhile_to_who_registered_its_source(
    run: Running, shared: str
) -> None:
    run.put_principal("user:bo", clearance="restricted")
    at = "/v1/collections/notes/sources/crawl"
    stated = {"connector": "push", "namespace": "entra"}
    assert run.request("PUT", at, "user:otto", json=stated).status_code == 200
    named = {"kind": "user", "value": "guid-bo", "principal": "user:bo"}
    run.admin("PUT", "/v1/identities/entra", {"identities": [named]})

    def push(*acl: dict[str, str]) -> None:
        line = json.dumps({"key": "pushed", "content": DOCUMENT.replace("audit", "inspection"), "acl": acl})
        sent = {"content": line, "headers": {"Content-Type": "application/x-ndjson"}}
        assert run.request("POST", f"{at}/push", "user:otto", **sent).status_code == 200
        run.work()

    def close() -> None:
        label = {"label": {"level": "restricted"}, "uris": ["pushed"]}
        amended = run.request("POST", "/v1/collections/notes/documents/amend", "user:olga", json=label)
        assert amended.status_code == 200

    push()
    with once_looked_at(run, close, times=4):
        push({"type": "user", "value": "guid-bo", "accessType": "grant"})
    assert run.request("GET", "/v1/documents", "user:bo").json()["documents"] == []


@dataclass
class _SlowBlobs:
    """The real store; something else happens while the first bytes are put there."""

    blobs: BlobStore
    act: Callable[[], object] | None

    def put(self, content: bytes) -> Digest:
        act, self.act = self.act, None
        if act is not None:
            act()
        return self.blobs.put(content)


def test_uri_that_is_taken_meanwhile_by_what_one_may_not_read_stays_as_it_is(run: Running, shared: str) -> None:
    def take_it() -> None:
        run.publish("user:olga", "notes", "Secret.", uri="plan", label={"level": "restricted"})

    ports = replace(run.ports, blobs=_SlowBlobs(run.ports.blobs, take_it))  # type: ignore[arg-type]
    own = Credentials(bearer=run.key("user:otto"))
    with pytest.raises(NotPermitted, match="taken"):
        submit.submit(ports, own, "notes", b"Mine.", filename="plan.md", media_type=None, metadata=Metadata(uri="plan"))
    run.work()
    jobs = run.request("GET", "/v1/jobs", "user:olga").json()["jobs"]
    assert [each["state"] for each in jobs] == ["succeeded"] * 2, "the audit, and what took the uri"


# -- what takes longer than a moment ----------------------------------------------------------------------------------


def test_evaluation_that_rests_on_what_came_in_meanwhile_is_not_there_for_who_may_not_read_that(
    run: Running, shared: str
) -> None:
    for name in ("first", "second"):
        body = {"question": QUESTION, "expects": [{"uri": "audit"}]}
        assert run.request("PUT", f"/v1/collections/notes/questions/{name}", "user:olga", json=body).status_code == 200
    moved = "# When is the audit?\n\nWhen is the audit? When the audit is, is secret."
    restricted = {"label": {"level": "restricted"}}
    come_in = _Meanwhile(run.ports.index, lambda: run.publish("user:olga", "notes", moved, uri="moved", **restricted))

    made = golden.evaluate(
        replace(run.ports, index=come_in),  # type: ignore[arg-type]
        Credentials(bearer=run.key("user:olga")),
        "notes",
    ).evaluation
    first, second = (each.scored.measures["mrr@10"] for each in made.kept)
    assert first > second, "the second question found what had come in"
    path = f"/v1/collections/notes/evaluations/{made.id}"
    assert [run.request("GET", path, who).status_code for who in ("user:olga", "user:otto")] == [200, 404]
