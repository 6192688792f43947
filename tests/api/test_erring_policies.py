"""A forbid that raises an error inside itself lets nothing out: through the whole of Muniment, for every forbid."""

import re

import pytest

from app.adapters.cedar_policy import default_policies
from app.domain.access import PrincipalRef
from app.store import registry
from app.store.database import recording
from tests.running import Running

FORBIDS = re.findall(r'@id\("([^"]+)"\)(?:\s*@\w+\("[^"]*"\))*\s*forbid', default_policies())


def _erring(name: str) -> str:
    """The default policies with an integer overflow in one forbid: valid by the schema, an error when decided."""
    head, found, tail = default_policies().partition(f'@id("{name}")')
    body, semicolon, rest = tail.partition(";")
    assert found
    assert "forbid" in body
    overflow = "\nwhen { 9223372036854775807 + principal.clearance + 1 > 0 }"
    return f"{head}{found}{_widened(body)}{overflow}{semicolon}{rest}"


def _widened(forbid: str) -> str:
    """Its annotations and scope, applying to everything, without its conditions."""
    annotations = forbid.partition("forbid")[0]
    return f"{annotations}forbid (principal, action, resource)"


def _activate(run: Running, policies: str) -> None:
    assert run.ports.policy_engine.validate(policies) == []
    _in_force(run, policies)


def _in_force(run: Running, policies: str) -> None:
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))


def test_there_are_forbids() -> None:
    assert len(FORBIDS) >= 15


def test_no_erring_forbid_lets_anything_out(run: Running) -> None:
    run.put_principal("user:ana")
    run.put_collection("open", owners=["user:ana"], default_readers=["group:all-staff"])
    document = run.publish("user:ana", "open", "The meeting is on Tuesday at ten.", uri="meeting")
    answer = run.retrieve("user:ana", "When is the meeting?")
    assert answer["outcome"] == "answered"
    citation = answer["passages"][0]["citation"]["id"]
    for name in FORBIDS:
        _activate(run, _erring(name))
        refused = run.retrieve("user:ana", "When is the meeting?")
        assert (refused["outcome"], refused["passages"], refused["context"]) == ("blocked", [], ""), name
        for path in (f"/v1/documents/{document}/versions/1/text", f"/v1/citations/{citation}"):
            assert run.request("GET", path, "user:ana").status_code == 404, name
        assert run.request("GET", "/v1/documents", "user:ana").json()["documents"] == [], name
    _activate(run, default_policies())
    assert run.retrieve("user:ana", "When is the meeting?")["outcome"] == "answered"


@pytest.mark.parametrize("broken", ["permit (principal, action", "permit (principal, action, resource); forbid(x);"])
def test_policies_that_cannot_be_read_let_nothing_out(run: Running, broken: str) -> None:
    run.put_principal("user:ana")
    key = run.key("user:ana")
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, broken, reason="a test", at=at, by=PrincipalRef("test"))
    response = run.client.post("/v1/retrieve", json={"query": "x"}, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 503
    assert response.json()["type"] == "/problems/unavailable"


def test_an_obligation_that_nobody_can_discharge_is_a_denial(run: Running) -> None:
    run.put_principal("user:ana")
    run.put_collection("open", owners=["user:ana"])
    run.publish("user:ana", "open", "The meeting is on Tuesday at ten.", uri="meeting")
    policies = default_policies()
    for permit in ("readers-see", "owners-see"):
        policies = policies.replace(f'@id("{permit}")', f'@id("{permit}")\n@obligation("encrypt-for-the-moon")')
    _in_force(run, policies)
    assert run.retrieve("user:ana", "When is the meeting?")["outcome"] == "empty"


def test_max_passages_is_discharged(run: Running) -> None:
    run.put_principal("user:ana")
    run.put_collection("open", owners=["user:ana"])
    for day in ("Monday", "Tuesday", "Friday"):
        run.submit("user:ana", "open", f"The meeting is on {day}.", uri=day)
    run.work()
    assert len(run.retrieve("user:ana", "When is the meeting?")["passages"]) == 3
    policies = default_policies().replace(
        '@id("owners-see")', '@id("owners-see")\n@obligation("cite-sources,max-passages:2")'
    )
    _activate(run, policies)
    answer = run.retrieve("user:ana", "When is the meeting?")
    assert len(answer["passages"]) == 2
    assert {each["id"] for each in answer["obligations"]} == {"cite-sources", "max-passages:2"}
    assert all(each["policies"] == ["owners-see"] for each in answer["obligations"])
