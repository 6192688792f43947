"""The decision point for others: OpenID AuthZEN Authorization API 1.0, over the same engine and the same gate."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from httpx import Response

from app.adapters.cedar_policy import default_policies
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.bootstrap import initialise
from app.domain.access import PrincipalRef
from app.domain.errors import Invalid
from app.settings import Settings
from app.store import registry
from app.store.database import recording
from ingest.ports import Parser
from tests.api.started import started
from tests.running import ADMINISTRATOR_KEY, Running, app_on

POLICIES = Path(__file__).parents[2] / "fixtures" / "policies"
TODO = yaml.safe_load((POLICIES / "todo.yaml").read_text())
PEP = "assistant:gateway"

EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SEARCHES = {name: f"/access/v1/search/{name}" for name in ("subject", "resource", "action")}


def activate(run: Running, *files: str) -> None:
    policies = "\n".join((default_policies(), *((POLICIES / name).read_text() for name in files)))
    assert run.ports.policy_engine.validate(policies) == []
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """An institution with an enforcement point, the people of the published examples, and documents of its own."""
    with started(tmp_path_factory.mktemp("authzen"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        activate(run, "todo.cedar", "authzen.cedar")
        run.put_principal(PEP, groups=["group:enforcement-points"], clearance="confidential")
        for group, within in TODO["groups"].items():
            run.put_principal(group, groups=within)
        for person in TODO["people"].values():
            run.put_principal(person["principal"], groups=person["groups"])
        run.put_principal("group:record-administrators")
        for name in ("alice@acmecorp.com", "alice@example.com", "bob@example.com", "alice"):
            run.put_principal(f"user:{name}")
        run.put_principal("user:bob", groups=["group:record-administrators"])
        named = [
            {"kind": "user", "value": id, "principal": person["principal"]} for id, person in TODO["people"].items()
        ]
        run.admin("PUT", "/v1/identities/authzen", {"identities": named})
        run.put_purpose("legal-review")
        run.put_principal("group:legal")
        run.put_principal("user:lena", groups=["group:legal"], clearance="confidential")
        run.put_principal("user:ana", clearance="confidential")
        run.put_principal("user:max")
        run.put_principal("user:left", active=False)
        run.put_principal("assistant:helper")
        run.put_collection("open", owners=["group:legal"], default_readers=["group:all-staff", PEP], discoverable=True)
        run.put_collection("vault", owners=["group:legal"])
        yield run


@pytest.fixture(scope="module")
def papers(run: Running) -> dict[str, str]:
    """Documents of ours by a word: who reads them is said by the word."""
    gate = {"readers": ["user:ana", PEP]}
    return {
        "all": run.publish("user:lena", "open", "# Trains\nBook early.", uri="trains"),
        "ana": run.publish("user:lena", "vault", "# For Ana\nAnd the gateway.", uri="ana", **gate),
        "above": run.publish("user:lena", "vault", "# High\nUp.", uri="above", label={"level": "confidential"}, **gate),
        "unseen": run.publish("user:lena", "vault", "# Unseen\nBy the gateway.", uri="unseen", readers=["user:ana"]),
        "legal": run.publish("user:lena", "open", "# Legal\nReview.", uri="legal", purposes=["legal-review"]),
        "gone": "doc_" + "a" * 26,
    }


def post(run: Running, path: str, body: Any, who: str = PEP, **rest: Any) -> Response:
    return run.request("POST", path, who, json=body, **rest)


def got(run: Running, path: str, body: Any, who: str = PEP, **rest: Any) -> Any:
    response = post(run, path, body, who, **rest)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    return response.json()


def may(run: Running, subject: str, operation: str, type: str, id: str, who: str = PEP, **rest: Any) -> bool:
    kind, _, name = subject.partition(":")
    body = {
        "subject": {"type": kind, "id": name},
        "action": {"name": operation},
        "resource": {"type": type, "id": id},
        **rest,
    }
    decision = got(run, EVALUATION, body, who)["decision"]
    assert isinstance(decision, bool)
    return decision


def decisions(run: Running, body: Any, who: str = PEP) -> list[bool]:
    return [each["decision"] for each in got(run, EVALUATIONS, body, who)["evaluations"]]


def ids(found: Any) -> list[str]:
    return [each.get("id") or each["name"] for each in found["results"]]


def text_refusal(response: Response, status: int) -> str:
    """A refusal as the specification has it: a message, with nobody's secret in it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "text/plain; charset=utf-8"), (
        response.status_code,
        response.text,
    )
    assert len(response.text.split()) >= 4
    assert response.text.endswith(".")
    assert ADMINISTRATOR_KEY not in response.text
    return response.text


# -- The interop scenario ----------------------------------------------------------------------------------------------


def _todo(request: dict[str, Any]) -> dict[str, Any]:
    """The resource of a published request."""
    if "to" in request:
        return {"type": "user", "id": request["to"]}
    if "of" not in request:
        return {"type": "todo", "id": "todo-1"}
    return {
        "type": "todo",
        "id": "7240d0db-8ff0-41ec-98b2-34a096273b9f",
        "properties": {"ownerID": request["of"]},
    }


PEOPLE = {person["principal"].removeprefix("user:").partition("@")[0]: id for id, person in TODO["people"].items()}
PUBLISHED = [(who, request) for who, requests in TODO["decisions"].items() for request in requests]


@pytest.mark.parametrize(("who", "request_"), PUBLISHED)
def test_interop_scenario_decides_as_published(run: Running, who: str, request_: dict[str, Any]) -> None:
    body = {
        "subject": {"type": "user", "id": PEOPLE[who]},
        "action": {"name": request_["may"]},
        "resource": _todo(request_),
    }
    answer = got(run, EVALUATION, body)
    assert answer["decision"] is request_["expected"]
    own = {**body, "subject": {"type": "user", "id": TODO["people"][PEOPLE[who]]["principal"]}}
    assert got(run, EVALUATION, own) == answer


@pytest.mark.parametrize("case", TODO["several"])
def test_interop_scenario_decides_several_at_once_as_published(run: Running, case: dict[str, Any]) -> None:
    body = {
        "subject": {"type": "user", "id": PEOPLE[case["who"]]},
        "action": {"name": "can_update_todo"},
        "evaluations": [{"resource": _todo({"of": owner})} for owner in case["of"]],
    }
    assert decisions(run, body) == case["expected"]


def test_all_published_requests_are_there() -> None:
    assert len(PUBLISHED) == 40
    assert len(PEOPLE) == 5


def test_explained_id_means_whom_it_is_explained_as_even_if_somebody_is_called_so(run: Running) -> None:
    named = [{"kind": "user", "value": id, "principal": each["principal"]} for id, each in TODO["people"].items()]
    try:
        for odd in ("bob", "user:bob"):
            explained = {"kind": "user", "value": odd, "principal": "user:alice"}
            run.admin("PUT", "/v1/identities/authzen", {"identities": [*named, explained]})
            write = {"action": {"name": "write"}, "resource": _record("record-1")}
            body = {"evaluations": [{**write, "subject": {"type": "user", "id": id}} for id in ("bob", "user:bob")]}
            assert decisions(run, body) == [odd == "bob", False]
            read = {"action": {"name": "read"}, "resource": _record("record-1"), "subject": {"type": "user"}}
            found = ids(got(run, SEARCHES["subject"], read))
            assert found == (["alice", "user:bob"] if odd == "bob" else ["alice", "bob"])
    finally:
        run.admin("PUT", "/v1/identities/authzen", {"identities": named})


# -- The specification's own examples ----------------------------------------------------------------------------------

ALICE = {"type": "user", "id": "alice@example.com"}
BOB = {"type": "user", "id": "bob@example.com"}
READ = {"name": "can_read"}
ACCOUNT = {"type": "account", "id": "123"}
LATER = {"time": "2024-10-26T01:22-07:00"}


def _document(id: str) -> dict[str, Any]:
    return {"type": "document", "id": id}


def test_example_of_an_evaluation(run: Running) -> None:
    body = {
        "subject": ALICE,
        "resource": ACCOUNT,
        "action": {"name": "can_read", "properties": {"method": "GET"}},
        "context": {"time": "1985-10-26T01:22-07:00"},
    }
    assert got(run, EVALUATION, body) == {"decision": True}
    assert got(run, EVALUATION, {**body, "subject": {**ALICE, "id": "alice@acmecorp.com"}})["decision"] is False


def test_example_over_https_is_answered_under_its_request_id(run: Running) -> None:
    id = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
    body = {
        "subject": ALICE,
        "resource": {"type": "todo", "id": "1"},
        "action": READ,
        "context": {"time": "1985-10-26T01:22-07:00"},
    }
    response = post(run, EVALUATION, body, headers={"X-Request-ID": id})
    assert response.json() == {"decision": True}
    assert response.headers["X-Request-ID"] == id
    assert "X-Request-ID" not in post(run, EVALUATION, body).headers
    refused = post(run, EVALUATION, {}, headers={"X-Request-ID": id})
    assert (refused.status_code, refused.headers["X-Request-ID"]) == (400, id)


@pytest.mark.parametrize(
    ("stated", "each"),
    [
        ({}, {"subject": ALICE, "action": READ, "context": {"time": "2024-05-31T15:22-07:00"}}),
        ({"subject": ALICE, "context": {"time": "2024-05-31T15:22-07:00"}}, {"action": READ}),
        ({"subject": ALICE, "context": {"time": "2024-05-31T15:22-07:00"}, "action": READ}, {}),
    ],
)
def test_examples_of_evaluations_with_and_without_defaults(
    run: Running, stated: dict[str, Any], each: dict[str, Any]
) -> None:
    named = ("boxcarring.md", "subject-search.md", "resource-search.md")
    several: list[dict[str, Any]] = [{**each, "resource": _document(name)} for name in named]
    assert decisions(run, {**stated, "evaluations": several}) == [True, False, False]
    several[0]["action"] = {"name": "can_edit"}
    assert decisions(run, {**stated, "evaluations": several}) == [False, False, False]


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_examples_of_the_three_semantics(run: Running, semantic: str, expected: list[bool]) -> None:
    body = {
        "subject": ALICE,
        "action": {"name": "read"},
        "options": {"evaluations_semantic": semantic, "another_option": "value"},
        "evaluations": [{"resource": _document(str(n))} for n in (1, 2, 3)],
    }
    answer = got(run, EVALUATIONS, body)["evaluations"]
    assert [each["decision"] for each in answer] == expected
    if semantic == "deny_on_first_deny":
        assert answer[-1]["context"].items() >= {"code": "200", "reason": "deny_on_first_deny"}.items()


def test_example_of_a_subject_search(run: Running) -> None:
    body = {"subject": {"type": "user"}, "action": READ, "resource": ACCOUNT, "context": LATER}
    assert got(run, SEARCHES["subject"], body) == {
        "results": [ALICE, BOB],
        "page": {"next_token": "", "count": 2},
    }


def test_example_of_a_resource_search(run: Running) -> None:
    body = {"subject": ALICE, "action": READ, "resource": {"type": "account"}}
    assert got(run, SEARCHES["resource"], body)["results"] == [ACCOUNT, {"type": "account", "id": "456"}]


def test_example_of_an_action_search(run: Running) -> None:
    body = {"subject": ALICE, "resource": ACCOUNT, "context": LATER}
    assert got(run, SEARCHES["action"], body)["results"] == [{"name": "can_read"}, {"name": "can_write"}]


# -- The certification scenario: eight decisions, and searches that lead to them ---------------------------------------


def _record(id: str, **properties: Any) -> dict[str, Any]:
    return {"type": "record", "id": id, **({"properties": properties} if properties else {})}


ARCHIVED = _record("record-2", status="archived")
ADMIN = {"role": "admin"}


@pytest.mark.parametrize(
    ("subject", "action", "resource", "expected"),
    [
        ({"id": "alice"}, {"name": "read"}, _record("record-1"), True),
        ({"id": "alice"}, {"name": "write"}, _record("record-1"), True),
        ({"id": "bob"}, {"name": "read"}, _record("record-1"), True),
        ({"id": "bob"}, {"name": "write"}, _record("record-1"), False),
        ({"id": "alice"}, {"name": "write"}, ARCHIVED, False),
        ({"id": "bob", "properties": ADMIN}, {"name": "write"}, ARCHIVED, True),
        ({"id": "alice", "properties": ADMIN}, {"name": "write"}, ARCHIVED, True),
        ({"id": "alice"}, {"name": "delete", "properties": {"soft": True}}, _record("record-1"), True),
        ({"id": "alice"}, {"name": "delete", "properties": {"soft": False}}, _record("record-1"), False),
        ({"id": "alice"}, {"name": "delete", "properties": {"soft": "true"}}, _record("record-1"), False),
    ],
)
def test_certification_scenario_decides_as_it_must(
    run: Running, subject: dict[str, Any], action: dict[str, Any], resource: dict[str, Any], expected: bool
) -> None:
    body = {"subject": {"type": "user", **subject}, "action": action, "resource": resource}
    assert got(run, EVALUATION, body)["decision"] is expected
    unknown = {"foo": "bar", "futureField": {"nested": True}, "context": {"ip": "192.168.1.1"}}
    assert got(run, EVALUATION, {**body, **unknown})["decision"] is expected
    assert got(run, EVALUATIONS, body)["decision"] is expected
    assert got(run, EVALUATIONS, {**body, "evaluations": []})["decision"] is expected


def test_what_is_said_in_one_place_of_several_stands_for_the_default_but_for_what_has_to_be_said(run: Running) -> None:
    body = {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "write"},
        "resource": {"type": "record", "id": "record-3", "properties": {"status": "archived"}},
        "evaluations": [
            {"resource": {"id": "record-1", "properties": {"status": "active"}}},
            {"resource": {"id": "record-1"}},
            {},
            {"resource": _record("record-1", status="archived")},
        ],
    }
    assert decisions(run, body) == [True, True, False, False]


def test_one_that_cannot_be_read_is_denied_alone_and_says_why(run: Running) -> None:
    alice = {"type": "user", "id": "alice"}
    body = {
        "subject": alice,
        "action": {"name": "read"},
        "evaluations": [{"resource": _record("record-1")}, {}, {"resource": "record-1"}, {"resource": {"id": "x"}}],
    }
    answer = got(run, EVALUATIONS, body)["evaluations"]
    assert [each["decision"] for each in answer] == [True, False, False, False]
    assert [each["context"]["error"]["message"] for each in answer[1:]] == [
        "/resource: It is missing.",
        "/resource: It should be a JSON object.",
        "/resource/type: It is missing.",
    ]


def test_searches_of_the_certification_scenario(run: Running) -> None:
    user, write = {"type": "user"}, {"name": "write"}
    bob = {"type": "user", "id": "bob", "properties": ADMIN}

    def found(search: str, **body: Any) -> list[str]:
        return ids(got(run, SEARCHES[search], body))

    assert found("subject", subject=user, action={"name": "read"}, resource=_record("record-1")) == ["alice", "bob"]
    assert "bob" in found("subject", subject=user, action=write, resource=ARCHIVED)
    alice = {"type": "user", "id": "alice"}
    assert "record-1" in found("resource", subject=alice, action={"name": "read"}, resource={"type": "record"})
    assert "record-2" in found("resource", subject=bob, action=write, resource={"type": "record"})
    assert found("action", subject=alice, resource=_record("record-1")) == ["read", "write"]
    assert "write" in found("action", subject=bob, resource=ARCHIVED)
    assert found("action", subject={"type": "user", "id": "nonexistent-user"}, resource=_record("record-1")) == []
    assert found("subject", subject={"type": "spaceship"}, action=write, resource=ARCHIVED) == []
    assert found("resource", subject=alice, action=write, resource={"type": "spaceship"}) == []


# -- What is ours ------------------------------------------------------------------------------------------------------


def test_our_documents_are_decided_as_our_own_routes_decide(run: Running, papers: dict[str, str]) -> None:
    for who in ("user:ana", "user:max", "user:lena"):
        for word in ("all", "ana", "above", "legal"):
            path = f"/v1/documents/{papers[word]}/versions/1/text"
            expected = run.request("GET", path, who).status_code == 200
            assert may(run, who, "read", "document", papers[word], who) is expected, (who, word)
            if word != "legal":
                assert may(run, who, "read", "document", papers[word]) is expected, (who, word)
    assert may(run, "user:ana", "read", "document", papers["above"])


def test_enforcement_point_learns_nothing_of_what_it_may_not_know(run: Running, papers: dict[str, str]) -> None:
    def answer(word: str, action: str, subject: str = "ana") -> bytes:
        body = {
            "subject": {"type": "user", "id": subject},
            "action": {"name": action},
            "resource": _document(papers[word]),
        }
        response = post(run, EVALUATION, body)
        assert response.status_code == 200
        return response.content

    assert may(run, "user:ana", "read", "document", papers["unseen"], "user:ana")
    for action in ("read", "describe", "curate", "can_read"):
        hidden = answer("unseen", action)
        assert json.loads(hidden)["decision"] is False
        assert hidden == answer("gone", action) == answer("gone", action, "nobody")
    assert answer("unseen", "read") == answer("ana", "read", "max")


def test_stated_properties_and_context_open_nothing_of_ours(run: Running, papers: dict[str, str]) -> None:
    everything = {"clearance": 3, "groups": ["group:legal"], "active": True, "name": "lena", "categories": ["pii"]}
    body = {
        "subject": {"type": "user", "id": "max", "properties": everything},
        "action": {"name": "read", "properties": everything},
        "resource": {**_document(papers["ana"]), "properties": {"readers": ["user:max"], "level": 0}},
        "context": {**everything, "second_factor": True, "proven": True, "granted": ["vault"]},
    }
    assert got(run, EVALUATION, body)["decision"] is False


def test_purpose_and_actors_of_the_context_count_as_they_do_for_us(run: Running, papers: dict[str, str]) -> None:
    purpose = {"context": {"purpose": "legal-review"}}
    assert not may(run, "user:ana", "read", "document", papers["legal"])
    assert may(run, "user:ana", "read", "document", papers["legal"], **purpose)
    assert may(run, "user:ana", "ask", "institution", "all", **purpose)
    unregistered = {
        "subject": {"type": "user", "id": "ana"},
        "action": {"name": "read"},
        "resource": _document(papers["all"]),
        "context": {"purpose": "none-such"},
    }
    answer = got(run, EVALUATION, unregistered)
    assert answer == {
        "decision": False,
        "context": {"error": {"status": 400, "message": "That purpose is not registered."}},
    }
    assert may(run, "user:ana", "read", "document", papers["above"])
    assert not may(run, "user:ana", "read", "document", papers["above"], context={"actor": "assistant:helper"})
    assert may(run, "user:ana", "read", "document", papers["all"], context={"actor": "assistant:helper"})
    chain = {"context": {"actor": ["assistant:helper", "assistant:unknown"]}}
    assert not may(run, "user:ana", "read", "document", papers["all"], **chain)


def test_collections_and_the_institution_are_decided_too(run: Running, papers: dict[str, str]) -> None:
    assert may(run, "user:max", "discover", "collection", "open")
    assert may(run, "user:lena", "curate", "collection", "open")
    assert not may(run, "user:max", "curate", "collection", "open")
    assert may(run, "user:lena", "curate", "document", papers["all"])
    assert not may(run, "user:ana", "curate", "document", papers["all"])
    assert not may(run, "user:lena", "manage", "institution", "all")
    hidden = {"subject": {"type": "user", "id": "lena"}, "action": {"name": "curate"}}
    absent = [{**hidden, "resource": {"type": "collection", "id": name}} for name in ("none-such", "..")]
    first, second = got(run, EVALUATIONS, {"evaluations": absent})["evaluations"]
    assert first == second
    assert first["decision"] is False


def test_whoever_left_or_never_was_may_nothing(run: Running, papers: dict[str, str]) -> None:
    for subject in ("user:left", "user:never", "group:legal", "spaceship:one", "assistant:never"):
        assert not may(run, subject, "read", "document", papers["all"]), subject
        assert not may(run, subject, "can_read_todos", "todo", "todo-1"), subject


def test_revocation_counts_at_once(run: Running, papers: dict[str, str]) -> None:
    run.put_principal("user:brief")
    assert may(run, "user:brief", "read", "document", papers["all"])
    run.put_principal("user:brief", active=False)
    assert not may(run, "user:brief", "read", "document", papers["all"])
    run.admin("PUT", "/v1/principals/user/morty@the-citadel.com", {"groups": []})
    assert not may(run, f"user:{PEOPLE['morty']}", "can_create_todo", "todo", "todo-1")
    run.admin("PUT", "/v1/principals/user/morty@the-citadel.com", {"groups": ["group:todo-editors"]})
    assert may(run, f"user:{PEOPLE['morty']}", "can_create_todo", "todo", "todo-1")


def test_searches_over_ours_lead_to_what_is_allowed(run: Running, papers: dict[str, str]) -> None:
    def resources(name: str, action: str, who: str = PEP) -> set[str]:
        body = {"subject": {"type": "user", "id": name}, "action": {"name": action}, "resource": {"type": "document"}}
        return set(ids(got(run, SEARCHES["resource"], body, who)))

    assert resources("ana", "read") == {papers[word] for word in ("all", "ana", "above")}
    assert resources("max", "read") == {papers["all"]}
    assert resources("ana", "read", "user:ana") == {papers[word] for word in ("all", "ana", "above", "unseen")}
    assert resources("lena", "curate") == {papers[word] for word in ("all", "ana", "above")}
    assert resources("lena", "can_read") == set()

    def subjects(word: str, type: str = "user") -> set[str]:
        body = {"subject": {"type": type}, "action": {"name": "read"}, "resource": _document(papers[word])}
        return set(ids(got(run, SEARCHES["subject"], body)))

    assert subjects("ana") == {"ana", "lena"}
    assert subjects("ana", "assistant") == {"gateway"}
    assert {"max", "ana", "lena", "alice"} <= subjects("all")
    assert "left" not in subjects("all")
    assert subjects("unseen") == subjects("gone") == set()

    def actions(word: str) -> list[str]:
        body = {"subject": {"type": "user", "id": "lena"}, "resource": _document(papers[word])}
        return ids(got(run, SEARCHES["action"], body))

    assert actions("all") == ["curate", "describe", "read"]
    assert actions("unseen") == actions("gone") == []


def test_every_result_of_a_search_is_decided_so(run: Running, papers: dict[str, str]) -> None:
    body = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": _document(papers["all"])}
    found = got(run, SEARCHES["subject"], body)["results"]
    several = [{**body, "subject": subject} for subject in found]
    assert decisions(run, {"evaluations": several}) == [True] * len(found)


@pytest.mark.parametrize("of", ["subject", "document", "action"])
def test_pages_are_all_of_it_once(run: Running, papers: dict[str, str], of: str) -> None:
    lena = {"type": "user", "id": "lena"}
    path, body = {
        "subject": (
            SEARCHES["subject"],
            {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": _document(papers["all"])},
        ),
        "document": (
            SEARCHES["resource"],
            {"subject": lena, "action": {"name": "read"}, "resource": {"type": "document"}},
        ),
        "action": (SEARCHES["action"], {"subject": lena, "resource": _document(papers["all"])}),
    }[of]
    whole = ids(got(run, path, body))
    assert len(whole) >= 3
    shown, token = [], ""
    for _ in range(len(whole)):
        page = got(run, path, {**body, "page": {"limit": 1, "token": token}})
        assert page["page"]["count"] == len(page["results"]) <= 1
        shown += ids(page)
        token = page["page"]["next_token"]
        if not token:
            break
    assert (shown, token) == (whole, "")


def test_page_token_is_good_for_its_own_search_alone(run: Running, papers: dict[str, str]) -> None:
    body = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": _document(papers["all"])}
    token = got(run, SEARCHES["subject"], {**body, "page": {"limit": 1}})["page"]["next_token"]
    assert token
    again = {**body, "page": {"next_token": token, "limit": 1}}
    assert got(run, SEARCHES["subject"], again)["results"]
    run.put_principal("assistant:other-gateway", groups=["group:enforcement-points"])
    others = [
        post(run, SEARCHES["subject"], {**again, "action": {"name": "describe"}}),
        post(run, SEARCHES["subject"], {**again, "page": {"token": token[:-1] + "x"}}),
        post(run, SEARCHES["subject"], {**again, "page": {"token": "é.😀"}}),
        post(run, SEARCHES["subject"], again, "assistant:other-gateway"),
        post(run, SEARCHES["action"], {**again, "subject": {"type": "user", "id": "ana"}}),
    ]
    for response in others:
        assert "page token" in text_refusal(response, 400)


# -- Who may ask -------------------------------------------------------------------------------------------------------


def test_only_enforcement_points_ask_about_others_whoever_they_are(run: Running, papers: dict[str, str]) -> None:
    read = {"action": {"name": "read"}, "resource": _document(papers["all"])}
    said = set()
    for about in ("lena", "nobody", "left", "user:lena"):
        body = {"subject": {"type": "user", "id": about}, **read}
        for path in (EVALUATION, EVALUATIONS):
            said.add(text_refusal(post(run, path, body, "user:ana"), 403))
    body = {"evaluations": [{**read, "subject": {"type": "user", "id": name}} for name in ("ana", "lena")]}
    said.add(text_refusal(post(run, EVALUATIONS, body, "user:ana"), 403))
    own = {"subject": {"type": "user", "id": "ana"}, **read, "context": {"actor": "assistant:helper"}}
    said.add(text_refusal(post(run, EVALUATION, own, "user:ana"), 403))
    for path in SEARCHES.values():
        said.add(text_refusal(post(run, path, {"subject": {"type": "user", "id": "lena"}, **read}, "user:ana"), 403))
    for who in ("admin", "assistant:helper"):
        said.add(text_refusal(post(run, EVALUATION, {"subject": {"type": "user", "id": "ana"}, **read}, who), 403))
    assert len(said) == 1
    assert "group:enforcement-points" in said.pop()
    newest = run.request("GET", "/v1/traces?limit=1", "assistant:helper").json()["traces"][0]
    assert (newest["kind"], newest["outcome"]) == ("refusal", "not-permitted")


def test_everybody_asks_about_themselves(run: Running, papers: dict[str, str]) -> None:
    assert may(run, "user:max", "read", "document", papers["all"], "user:max")
    assert not may(run, "user:max", "read", "document", papers["ana"], "user:max")
    assert may(run, "user:beth@the-smiths.com", "can_read_todos", "todo", "1", "user:beth@the-smiths.com")
    body = {"subject": {"type": "user", "id": "max"}, "resource": _document(papers["all"])}
    assert ids(got(run, SEARCHES["action"], body, "user:max")) == ["describe", "read"]


def test_assistant_asks_for_a_person_about_that_person_within_its_own_ceiling(
    run: Running, papers: dict[str, str]
) -> None:
    """And about nobody else, even if it is an enforcement point by itself: the person it names proved nothing."""
    groups = ["group:enforcement-points"]
    run.put_principal("assistant:desk", groups=groups, may_assert=True, clearance="internal")
    ana: dict[str, Any] = {"subject": {"type": "user", "id": "ana"}, "action": {"name": "read"}}
    several = {**ana, "evaluations": [{"resource": _document(papers[word])} for word in ("all", "above")]}
    response = post(run, EVALUATIONS, several, "assistant:desk", acting_for="user:ana")
    assert [each["decision"] for each in response.json()["evaluations"]] == [True, False]
    other = {**several, "subject": {"type": "user", "id": "max"}}
    text_refusal(post(run, EVALUATIONS, other, "assistant:desk", acting_for="user:ana"), 403)
    assert decisions(run, other, "assistant:desk") == [False, False]  # it may ask, and know of neither itself


def test_without_a_key_nothing_is_decided(run: Running) -> None:
    body = {"subject": ALICE, "action": READ, "resource": ACCOUNT}
    for path in (EVALUATION, EVALUATIONS, *SEARCHES.values()):
        response = run.client.post(path, json=body)
        assert "API key" in text_refusal(response, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"
    unknown = run.client.post(EVALUATION, json=body, headers={"Authorization": "Bearer mun_unknown"})
    text_refusal(unknown, 401)


# -- What is not of the form -------------------------------------------------------------------------------------------

WHOLE: dict[str, Any] = {"subject": ALICE, "action": READ, "resource": ACCOUNT}


def _deep(levels: int) -> Any:
    return {"in": _deep(levels - 1)} if levels else 1


def _malformed() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in WHOLE:
        yield f"no {name}", {key: value for key, value in WHOLE.items() if key != name}
        yield f"{name} is text", {**WHOLE, name: "alice"}
        yield f"{name} is empty", {**WHOLE, name: {}}
        yield f"{name} has no properties", {**WHOLE, name: {**WHOLE[name], "properties": "none"}}
        yield f"{name} is too deep", {**WHOLE, name: {**WHOLE[name], "properties": _deep(40)}}
        yield f"{name} has too many", {**WHOLE, name: {**WHOLE[name], "properties": {str(n): n for n in range(201)}}}
        yield f"{name} has a null character", {**WHOLE, name: {**WHOLE[name], "properties": {"a": "\x00"}}}
        yield f"{name} has half a character", {**WHOLE, name: {**WHOLE[name], "properties": {"\ud800": "a"}}}
        yield f"{name} has a long text", {**WHOLE, name: {**WHOLE[name], "properties": {"a": "x" * 4_001}}}
    yield "subject has no type", {**WHOLE, "subject": {"id": "alice"}}
    yield "resource has no id", {**WHOLE, "resource": {"type": "account"}}
    yield "action is a number", {**WHOLE, "action": {"name": 123}}
    yield "id with a null character", {**WHOLE, "resource": {"type": "account", "id": "\x00"}}
    yield "context is text", {**WHOLE, "context": "none"}
    yield "context is too deep", {**WHOLE, "context": _deep(40)}
    yield "actor with half a character", {**WHOLE, "context": {"actor": "assistant:\ud800"}}
    yield "obligation with half a character", {**WHOLE, "context": {"discharges": ["\ud800"]}}
    yield "purpose is a number", {**WHOLE, "context": {"purpose": 1}}
    yield "actor is a person", {**WHOLE, "context": {"actor": "user:ana"}}


MALFORMED = dict(_malformed())


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS])
def test_what_is_not_of_the_form_is_400_with_a_sentence(run: Running, name: str, path: str) -> None:
    content = json.dumps(MALFORMED[name])
    response = run.request("POST", path, PEP, content=content, headers={"Content-Type": "application/json"})
    refused = text_refusal(response, 400)
    assert "/" in refused
    assert "constrained" not in refused, "a pointer names what was sent, and no type of ours"


@pytest.mark.parametrize("page", ["1", {"token": "\ud800"}, {"token": 1}, {"limit": 0}, {"limit": "1"}, {"token": "x"}])
def test_page_that_is_not_of_the_form_is_400(run: Running, page: Any) -> None:
    for path in SEARCHES.values():
        content = json.dumps({**WHOLE, "page": page})
        response = run.request("POST", path, PEP, content=content, headers={"Content-Type": "application/json"})
        text_refusal(response, 400)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"subject": ' + b"9" * 10_000 + b"}", "application/json"),
        (json.dumps(WHOLE).encode(), "text/plain"),
        (json.dumps(WHOLE).encode(), "application/x-www-form-urlencoded"),
        (json.dumps({**WHOLE, "context": {"a": float("nan")}}).encode(), "application/json"),
        (b'{"context": {"a": 1e999}, ' + json.dumps(WHOLE).encode()[1:], "application/json"),
    ],
)
def test_what_is_no_json_is_400(run: Running, content: bytes, media_type: str) -> None:
    for path in (EVALUATION, EVALUATIONS, *SEARCHES.values()):
        response = run.request("POST", path, PEP, content=content, headers={"Content-Type": media_type})
        text_refusal(response, 400)


def test_too_many_at_once_are_refused_and_as_many_as_are_taken_are_decided_together(run: Running) -> None:
    several = [{"resource": {"type": "account", "id": str(n)}} for n in range(501)]
    body = {"subject": ALICE, "action": READ, "evaluations": several}
    assert "500" in text_refusal(post(run, EVALUATIONS, body), 400)
    answer = decisions(run, {**body, "evaluations": several[:500]})
    assert [n for n, each in enumerate(answer) if each] == [123, 456]
    objects = {**body, "evaluations": {"1": several[0]}}
    text_refusal(post(run, EVALUATIONS, objects), 400)
    semantics = {**body, "evaluations": several[:2], "options": {"evaluations_semantic": "any"}}
    text_refusal(post(run, EVALUATIONS, semantics), 400)
    huge = {**body, "context": {"a": "x" * 600_000}}
    text_refusal(post(run, EVALUATIONS, huge), 413)


def test_odd_but_possible_properties_are_decided(run: Running) -> None:
    odd = {
        "": "", "/~": 1, "a": None, "b": [], "c": [1, "x", None, True], "d": [{"e": [1]}], "f": 2**70, "g": -1.5,
        "é☃😀": "é☃😀", "h": {"i": {"j": False}}, "ownerID": "beth@the-smiths.com",
        "__entity": {"type": "x", "id": "y"}, "__extn": {"fn": "ip", "arg": "x"},
    }  # fmt: skip
    morty = {"type": "user", "id": PEOPLE["morty"], "properties": odd}
    resource = {"type": "todo", "id": "1", "properties": {**odd, "ownerID": "morty@the-citadel.com"}}
    body = {
        "subject": morty,
        "action": {"name": "can_update_todo", "properties": odd},
        "resource": resource,
        "context": odd,
    }
    assert got(run, EVALUATION, body) == {"decision": True}
    resource["properties"]["ownerID"] = ["morty@the-citadel.com"]
    assert got(run, EVALUATION, body)["decision"] is False


# -- On record, and where it is ----------------------------------------------------------------------------------------


def test_decisions_are_on_record_with_the_policies_that_decided(run: Running, papers: dict[str, str]) -> None:
    run.put_principal("user:sunniva", groups=["group:auditors"])
    body = {
        "subject": {"type": "user", "id": PEOPLE["beth"]},
        "resource": {"type": "todo", "id": "1"},
        "evaluations": [{"action": {"name": "can_read_todos"}}, {"action": {"name": "can_create_todo"}}],
    }
    response = post(run, EVALUATIONS, body)
    trace = run.request("GET", f"/v1/traces/{response.headers['Muniment-Trace']}", PEP).json()
    assert (trace["kind"], trace["subject"], trace["outcome"]) == ("decision", PEP, "answered")
    assert trace["response"] == {"decisions": [True, False]}
    assert trace["request"]["evaluations"][1]["action"] == {"name": "can_create_todo"}
    assert trace["grounds"] is None
    audited = run.request("GET", f"/v1/traces/{trace['id']}", "user:sunniva").json()
    assert audited["grounds"]["policies"] == [["todo-everybody-reads"], []]
    assert audited["grounds"]["epochs"].keys() == {"policies", "directory", "boundaries", "grants", "generation"}
    assert run.request("GET", f"/v1/traces/{trace['id']}", "user:ana").status_code == 404
    ours = {"subject": {"type": "user", "id": "ana"}, "action": {"name": "read"}}
    several = [{"resource": _document(papers[word])} for word in ("all", "unseen", "gone", "legal")]
    response = post(run, EVALUATIONS, {**ours, "evaluations": several})
    audited = run.request("GET", f"/v1/traces/{response.headers['Muniment-Trace']}", "user:sunniva").json()
    assert audited["response"] == {"decisions": [True, False, False, False]}
    assert audited["grounds"]["policies"] == [["readers-see"], ["readers-see"], [], ["outside-boundary-purposes"]]
    assert "readers-see" not in response.text
    searched = post(run, SEARCHES["action"], {"subject": ALICE, "resource": ACCOUNT})
    trace = run.request("GET", f"/v1/traces/{searched.headers['Muniment-Trace']}", PEP).json()
    assert trace["response"] == {"results": ["can_read", "can_write"], "more": False}


def test_denial_of_an_applications_own_thing_says_by_which_rule(run: Running) -> None:
    body = {"subject": {"type": "user", "id": "left"}, "action": READ, "resource": ACCOUNT}
    assert got(run, EVALUATION, body) == {
        "decision": False,
        "context": {
            "id": "inactive-subject",
            "reason_admin": {"en": "Decided by inactive-subject."},
            "reason_user": {"en-403": "Whoever is not active may do nothing."},
        },
    }
    body["subject"]["id"] = "max"  # type: ignore[index]
    assert got(run, EVALUATION, body)["context"] == {
        "id": "0",
        "reason_user": {"en-403": "No policy permits this. Ask an administrator."},
    }


def test_metadata_say_the_configured_address_and_never_the_host_that_was_asked(run: Running) -> None:
    path = "/.well-known/authzen-configuration"
    assert "MUNIMENT_PUBLIC_URL" in text_refusal(run.client.get(path), 404)
    base = "https://muniment.example.org"
    configured = TestClient(app_on(replace(run.ports, public_url=base)))
    response = configured.get(path, headers={"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}{EVALUATION}",
        "access_evaluations_endpoint": f"{base}{EVALUATIONS}",
        **{f"search_{name}_endpoint": f"{base}{path}" for name, path in SEARCHES.items()},
    }


def test_permit_with_an_obligation_holds_only_for_who_says_that_it_does_it(run: Running) -> None:
    notify = '@obligation("notify:group:dpo")\n'
    permit = f'@id("may-export") @check("tool") @reason("All export.") {notify}permit (principal, action, resource);'
    policies = "\n".join([default_policies(), permit])
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))
    try:
        body = {"subject": ALICE, "action": {"name": "export"}, "resource": {"type": "ledger", "id": "1"}}
        refused = got(run, EVALUATION, body)
        assert refused["decision"] is False
        assert "notify:group:dpo" in refused["context"]["reason_user"]["en-403"]
        able = {**body, "context": {"discharges": ["notify:group:dpo"]}}
        assert got(run, EVALUATION, able) == {"decision": True, "context": {"obligations": ["notify:group:dpo"]}}
    finally:
        activate(run, "todo.cedar", "authzen.cedar")


def test_text_of_ours_that_is_to_be_cited_is_read_only_by_who_says_that_it_cites(
    run: Running, papers: dict[str, str]
) -> None:
    permit = 'permit (principal, action == Muniment::Action::"read", resource) when { principal in resource.readers };'
    cited = f'@id("cited") @check("boundary") @reason("Cited.") @obligation("cite-sources") {permit}'
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        policies = "\n".join([default_policies(), cited])
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))
    try:
        cites = {"context": {"discharges": ["cite-sources"]}}
        assert not may(run, "user:ana", "read", "document", papers["all"])
        assert may(run, "user:ana", "read", "document", papers["all"], **cites)
        assert may(run, "user:ana", "describe", "document", papers["all"])
        assert not may(run, "user:max", "read", "document", papers["ana"], **cites)
    finally:
        activate(run, "todo.cedar", "authzen.cedar")


def test_policy_that_fails_while_deciding_denies(run: Running) -> None:
    permit = '@id("all-use") @check("tool") @reason("All.") permit (principal, action, resource);'
    fails = 'resource.stated.numbers.hasTag("n") && resource.stated.numbers.getTag("n") + 1 > 0'
    forbid = (
        '@id("never") @check("tool") @reason("No.") '
        f"forbid (principal, action, resource is Muniment::Thing) when {{ {fails} && false }};"
    )
    policies = "\n".join([default_policies(), permit, forbid])
    assert run.ports.policy_engine.validate(policies) == []
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))
    try:

        def counted(n: object) -> list[bool]:
            several = [{"resource": {"type": "ledger", "id": "1", "properties": {"n": n}}}, {"resource": ACCOUNT}]
            return decisions(run, {"subject": ALICE, "action": READ, "evaluations": several})

        assert counted(1) == [True, True]
        assert counted(2**63 - 1) == [False, True]
    finally:
        activate(run, "todo.cedar", "authzen.cedar")


@pytest.mark.parametrize(
    "url", ["http://muniment.example.org", "https://", "https://a.example/?q=1", "https://a b", "x"]
)
def test_public_address_that_is_none_stops_the_start(tmp_path: Path, url: str) -> None:
    with pytest.raises(Invalid, match="MUNIMENT_PUBLIC_URL"):
        initialise(Settings(home=tmp_path / "home", public_url=url))
    assert not (tmp_path / "home").exists()
