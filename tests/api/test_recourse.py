"""What a refusal leaves: asking people, who decide within what was asked, for a time; and asking again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.adapters.cedar_policy import default_policies
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.bootstrap import now
from app.domain.access import PrincipalRef
from app.domain.instants import Instant
from app.domain.recourse import HOUR_MS
from app.operations import escalate
from app.server import create_app
from app.store import registry
from app.store.database import recording
from ingest.ports import Parser
from tests.api.started import started
from tests.running import Running

QUESTION = "Can I share this customer dataset with our partner for analysis?"
ASKED = {"purpose": "partner-analytics", "client": "member-17", "destination": "US"}

RULES = """
@id("transfer-not-covered")
@check("jurisdiction")
@reason("Data leaves the jurisdiction only where a transfer rule covers it.")
@escalate("group:compliance")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has destination && context.destination == "US" }
unless { context.waived.contains("transfer-not-covered") };

@id("consent-missing-here")
@code("consent-missing")
@check("jurisdiction")
@reason("This purpose wants the consent of the client.")
@escalate("group:compliance")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has client && context.client like "member-*" }
unless { context.waived.contains("consent-missing") };

@id("two-desks")
@check("purpose")
@reason("Research wants two groups.")
@escalate("group:legal")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has purpose && context.purpose == "research" }
unless { context.waived.contains("two-desks") };

@id("two-desks-more")
@check("purpose")
@reason("Research wants compliance, too.")
@escalate("group:compliance")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has purpose && context.purpose == "research" }
unless { context.waived.contains("two-desks-more") };

@id("never")
@check("purpose")
@reason("Marketing is never allowed.")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has purpose && context.purpose == "marketing" };
"""


@dataclass(kw_only=True)
class Clock:
    """The wall clock, ahead by as much as a test says."""

    ahead_ms: int = 0

    def now(self) -> Instant:
        return Instant(now() + self.ahead_ms)

    def forward(self, hours: float) -> None:
        self.ahead_ms += int(hours * HOUR_MS)


@dataclass(kw_only=True)
class Desk:
    """Muniment with rules that people may waive, and people who may."""

    run: Running
    clock: Clock

    def escalate(self, who: str, *, acting_for: str | None = None, **body: Any) -> dict[str, Any]:
        body = {"reason": "It is needed on Monday.", **body}
        response = self.run.request("POST", "/v1/escalations", who, acting_for=acting_for, json=body)
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        assert response.headers["Location"] == made["href"] == f"/v1/escalations/{made['id']}"
        return made

    def override(self, who: str = "user:ana", *, acting_for: str | None = None, **asked: Any) -> dict[str, Any]:
        """An escalation of an escalated question, by what its refusal says is to be posted."""
        answer = self.run.retrieve(who, QUESTION, acting_for=acting_for, **(asked or ASKED))
        assert answer["outcome"] == "escalated", answer["checks"]
        way = answer["recourse"][0]
        assert (way["kind"], way["href"]) == ("override", "/v1/escalations")
        return self.escalate(who, acting_for=acting_for, **way["body"])

    def decide(self, who: str, id: str, decision: str = "approve", **body: Any) -> Any:
        if decision == "approve" and not {"until", "minutes"} & body.keys():
            body["minutes"] = 60
        path = f"/v1/escalations/{id}/decision"
        return self.run.request("POST", path, who, json={"decision": decision, "reason": "Looked into.", **body})

    def decided(self, who: str, id: str, decision: str = "approve", **body: Any) -> dict[str, Any]:
        response = self.decide(who, id, decision, **body)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def again(self, who: str, id: str, **rest: Any) -> dict[str, Any]:
        response = self.run.request("POST", f"/v1/escalations/{id}/ask-again", who, **rest)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def get(self, path: str, who: str) -> Any:
        response = self.run.request("GET", path, who)
        assert response.status_code == 200, response.text
        return response.json()

    def told(self, who: str) -> list[tuple[str, str]]:
        notices = self.get("/v1/notices?limit=200", who)["notices"]
        return [(each["kind"], each["about"]["escalation"]) for each in notices]


@pytest.fixture
def desk(run: Running) -> Desk:
    return furnished(run)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Desk]:
    """For tests that move no clock and change no rule."""
    folder = tmp_path_factory.mktemp("recourse")
    with started(folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        yield furnished(run)


def furnished(run: Running) -> Desk:
    clock = Clock()
    run.ports = replace(run.ports, now=clock.now)
    run.client = TestClient(create_app(run.ports), raise_server_exceptions=False)
    for purpose in ("partner-analytics", "research", "marketing"):
        run.put_purpose(purpose)
    for group in ("group:compliance", "group:legal", "group:dpo"):
        run.put_principal(group)
    run.put_principal("group:officers", groups=["group:compliance"])
    run.put_principal("user:ana", team="claims")
    run.put_principal("user:max")
    run.put_principal("user:cora", groups=["group:officers"])
    run.put_principal("user:lena", groups=["group:legal"])
    run.put_principal("user:adam", groups=["group:administrators"])
    run.put_principal("user:sunniva", groups=["group:auditors"])
    run.put_principal("assistant:helper", may_assert=True)
    staff = {"owners": ["group:legal"], "default_readers": ["group:all-staff", "assistant:helper"]}
    run.put_collection("policies", **staff)
    run.put_collection("contracts", owners=["group:legal"], default_readers=["user:lena"], discoverable=True)
    run.put_collection("secret", owners=["group:legal"], default_readers=["user:lena"])
    for number in ("one", "two"):
        text = f"# Sharing, part {number}\n\nA customer dataset is shared with a partner for analysis, rule {number}."
        run.publish("user:lena", "policies", text, uri=f"sharing-{number}")
    run.publish("user:lena", "contracts", "# Contract\n\nThe partner receives no customer dataset.", uri="contract")
    run.publish("user:lena", "secret", "# Secret\n\nThe partner is called Zwibbel.", uri="secret")
    activate(run, default_policies() + RULES)
    return Desk(run=run, clock=clock)


def activate(run: Running, cedar: str) -> None:
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, cedar, reason="a test", at=at, by=PrincipalRef("user:adam"))


def test_an_escalated_question_is_approved_within_a_limit_asked_again_and_refused_when_the_grant_is_over(
    desk: Desk,
) -> None:
    run = desk.run
    first = run.retrieve("user:ana", QUESTION, **ASKED)
    assert (first["outcome"], first["passages"]) == ("escalated", [])
    assert {"transfer-not-covered", "consent-missing-here"} == {p for c in first["checks"] for p in c["policies"]}
    override, ask = first["recourse"]
    assert override == {
        "kind": "override",
        "collection": None,
        "title": "Have the rules waived for this question, for a time",
        "owner": "group:compliance",
        "href": "/v1/escalations",
        "body": {"kind": "override", "trace_id": first["trace_id"], "share_question": True},
    }
    assert (ask["kind"], ask["owner"]) == ("ask", "group:auditors")

    made = desk.escalate("user:ana", **override["body"], minutes=600)
    assert (made["state"], made["routed_to"]) == ("waiting", ["group:compliance"])
    assert made["rules"] == ["consent-missing", "transfer-not-covered"]
    assert desk.told("user:cora") == [("escalation-opened", made["id"])]
    before = desk.get(made["href"], "user:cora")
    assert (before["question"], before["may_decide"]) == (QUESTION, True)

    approved = desk.decided("user:cora", made["id"], obligations=["max-passages:1"], minutes=120)
    assert approved["state"] == "approved"
    assert desk.told("user:ana") == [("escalation-decided", made["id"])]
    second = desk.again("user:ana", made["id"])
    assert (second["outcome"], len(second["passages"])) == ("answered", 1)
    assert "max-passages:1" in {each["id"] for each in second["obligations"]}
    assert len(run.retrieve("user:ana", QUESTION)["passages"]) == 2, "another question is not obliged"
    other = run.retrieve("user:ana", QUESTION, **{**ASKED, "client": "member-18"})
    assert other["outcome"] == "escalated", "nor waived"
    assert run.retrieve("user:max", QUESTION, **ASKED)["outcome"] == "escalated"

    desk.clock.forward(hours=2.1)
    third = desk.again("user:ana", made["id"])
    assert (third["outcome"], third["passages"]) == ("escalated", [])
    escalate.run_due(run.ports)
    assert desk.told("user:ana")[-1] == ("grant-ended", made["id"])

    link = {
        "escalation": made["id"],
        "state": "approved",
        "grant": approved["grant"],
        "first": first["trace_id"],
        "again": [second["trace_id"], third["trace_id"]],
    }
    for answer in (first, second, third):
        assert desk.get(f"/v1/traces/{answer['trace_id']}", "user:ana")["links"] == [link]
    asked = desk.get(f"/v1/traces/{second['trace_id']}", "user:sunniva")
    assert (asked["request"]["escalation"], asked["request"]["asked_before"]) == (made["id"], first["trace_id"])
    assert asked["grounds"]["grants"] == [approved["grant"]]
    assert desk.get(made["href"], "user:ana")["asked_again"] == [second["trace_id"], third["trace_id"]]
