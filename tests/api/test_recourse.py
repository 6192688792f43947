"""What a refusal leaves: asking people, who decide within what was asked, for a time; and asking again."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlmodel import col

from app.adapters.cedar_policy import default_policies
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.bootstrap import now
from app.domain.access import PrincipalRef
from app.domain.instants import Instant
from app.domain.recourse import HOUR_MS
from app.operations import escalate, notify
from app.store import directory, registry
from app.store.database import recording
from app.store.tables import GrantRow
from ingest.ports import Parser
from ingest.web_client import post_to
from tests.api.refusals import pointers, refusal
from tests.api.started import started
from tests.running import Running, app_on
from tests.sites import site

QUESTION = "Can I share this customer dataset with our partner for analysis?"
ASKED = {"purpose": "partner-analytics", "client": "member-17", "destination": "US"}

RULES = """
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
        return [(each["kind"], each["about"]["escalation"]) for each in notices if "escalation" in each["about"]]


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
    run.client = TestClient(app_on(run.ports), raise_server_exceptions=False)
    for group in ("group:compliance", "group:legal", "group:dpo"):
        run.put_principal(group)
    about = {
        "title": "Analysis with a partner",
        "owner": "group:compliance",
        "categories": [],
        "consent_required": True,
    }
    run.admin("PUT", "/v1/purposes/partner-analytics", about)
    for purpose in ("research", "marketing"):
        run.put_purpose(purpose)
    for jurisdiction in ("EU", "US"):
        run.admin("PUT", f"/v1/jurisdictions/{jurisdiction}", {"title": jurisdiction})
    run.put_principal("group:officers", groups=["group:compliance"])
    run.put_principal("user:ana", team="claims", categories=["pii"], jurisdictions=["EU"])
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
        run.submit("user:lena", "policies", text, uri=f"sharing-{number}")
    run.submit("user:lena", "contracts", "# Contract\n\nThe partner receives no customer dataset.", uri="contract")
    run.submit("user:lena", "secret", "# Secret\n\nThe partner is called Zwibbel.", uri="secret")
    run.work()
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
    applied = {(each["check"], each["policies"][0]) for each in first["checks"] if each["outcome"] == "escalated"}
    assert applied == {
        ("jurisdiction", "transfer-not-covered"),
        ("purpose", "consent-missing"),
        ("personal-data", "sensitive-fields"),
    }
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
    assert made["rules"] == ["consent-missing", "sensitive-fields", "transfer-not-covered"]
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


# -- who decides -------------------------------------------------------------------------------------------------------


def test_nobody_decides_about_what_they_asked_for_themselves(shared: Desk) -> None:
    """Not as the subject, not as the assistant that asked, and not as a member of the group that it was routed to."""
    run = shared.run
    run.put_principal("user:self", groups=["group:compliance"])
    made = shared.override("user:self")
    refused = refusal(run, shared.decide("user:self", made["id"]), 403, "not-permitted")
    assert refused["detail"] == "Nobody decides about what they asked for themselves, or through whom it was asked."
    assert shared.get(made["href"], "user:self")["may_decide"] is False
    through = run.request(
        "POST",
        f"{made['href']}/decision",
        "assistant:helper",
        headers={"Muniment-Subject-Token": run.key("user:self")},
        json={"decision": "approve", "reason": "Mine.", "minutes": 5},
    )
    refusal(run, through, 403, "not-permitted")
    run.put_principal("assistant:officer", groups=["group:compliance"])
    refusal(run, shared.decide("assistant:officer", made["id"]), 403, "not-permitted")
    assert run.retrieve("user:self", QUESTION, **ASKED)["outcome"] == "escalated"


def test_an_assistants_word_decides_nothing_and_an_assistant_that_asked_does_not_carry_the_decision(
    shared: Desk,
) -> None:
    run = shared.run
    made = shared.override("assistant:helper", acting_for="user:max")
    assert (made["subject"], made["actors"], made["proof"]) == ("user:max", ["assistant:helper"], "asserted")
    body = {"decision": "approve", "reason": "She said so.", "minutes": 5}
    path = f"{made['href']}/decision"
    asserted = run.request("POST", path, "assistant:helper", acting_for="user:cora", json=body)
    refusal(run, asserted, 404, "not-found")
    proven = run.request(
        "POST", path, "assistant:helper", headers={"Muniment-Subject-Token": run.key("user:cora")}, json=body
    )
    refusal(run, proven, 403, "not-permitted")
    assert shared.get(made["href"], "user:cora")["state"] == "waiting"
    assert shared.decided("user:cora", made["id"])["state"] == "approved"
    alone = run.request("POST", f"{made['href']}/ask-again", "user:max")
    refusal(run, alone, 403, "not-permitted")
    again = shared.again("assistant:helper", made["id"], acting_for="user:max")
    assert again["outcome"] == "answered"


def test_administrators_decide_nothing_that_was_not_routed_to_them(shared: Desk) -> None:
    made = shared.override("user:max", **{**ASKED, "client": "member-2"})
    for who in ("user:adam", "admin", "user:lena"):
        refusal(shared.run, shared.decide(who, made["id"]), 404, "not-found")
    refusal(shared.run, shared.decide("user:sunniva", made["id"]), 403, "not-permitted")


def test_an_administrator_gains_nothing_by_making_the_deciders(desk: Desk) -> None:
    """Puts a puppet into the group, issues it a key, makes it an owner: none of it counts for what it then asks."""
    run = desk.run
    made = desk.override("user:adam")

    def as_adam(method: str, path: str, body: Any = None) -> Any:
        response = run.request(method, path, "user:adam", json=body)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    as_adam("PUT", "/v1/principals/user/puppet", {"groups": ["group:officers"]})
    run.keys["user:puppet"] = as_adam("POST", "/v1/principals/user/puppet/keys")["key"]
    refusal(run, desk.decide("user:puppet", made["id"]), 403, "not-permitted")
    as_adam("PUT", "/v1/principals/group/clique", {"groups": ["group:compliance"]})
    run.put_principal("user:other", groups=["group:clique"])
    refusal(run, desk.decide("user:other", made["id"]), 403, "not-permitted")
    run.keys["user:cora"] = as_adam("POST", "/v1/principals/user/cora/keys")["key"]
    detail = refusal(run, desk.decide("user:cora", made["id"]), 403, "not-permitted")["detail"]
    assert detail == "Whoever asked for this issued a key of yours. Somebody else has to decide."

    mine = {
        "title": "Contracts",
        "owners": ["user:puppet"],
        "discoverable": True,
        "default_label": {"level": "internal"},
    }
    as_adam("PUT", "/v1/collections/contracts", mine)
    access = desk.escalate("user:adam", kind="request-access", collection="contracts")
    assert access["routed_to"] == ["group:auditors"]
    refusal(run, desk.decide("user:puppet", access["id"]), 404, "not-found")
    assert run.retrieve("user:adam", QUESTION, **ASKED)["outcome"] == "escalated"
    changes = [
        each["request"]["path"]
        for each in desk.get("/v1/traces?limit=200", "user:sunniva")["traces"]
        if each["kind"] == "refusal"
    ]
    assert changes.count(f"{made['href']}/decision") == 3
    run.put_principal("user:carl", groups=["group:compliance"])
    assert desk.decided("user:carl", made["id"])["state"] == "approved"


def test_an_administrator_gains_nothing_by_keys_that_its_keys_make(desk: Desk) -> None:
    """Rotates a key as its holder, and issues keys and lets people in as somebody else: it may know all of these."""
    run = desk.run
    made = desk.override("user:adam")
    run.put_principal("user:eve", groups=["group:administrators"])
    run.put_principal("user:olaf", groups=["group:officers"])

    def issued(who: str, by: str, path: str = "", **body: Any) -> Any:
        response = run.request("POST", f"/v1/principals/user/{who}/keys{path}", by, json=body)
        assert response.status_code == 201, response.text
        run.keys[f"user:{who}"] = response.json()["key"]
        return response.json()["id"]

    issued("cora", "user:cora", f"/{issued('cora', 'user:adam')}/rotate", overlap_s=0)
    issued("eve", "user:adam")
    issued("olaf", "user:eve")
    for who in ("user:cora", "user:olaf"):
        detail = refusal(run, desk.decide(who, made["id"]), 403, "not-permitted")["detail"]
        assert detail == "Whoever asked for this issued a key of yours. Somebody else has to decide."
    assert run.request("PUT", "/v1/principals/user/friend", "user:eve", json={"groups": ["group:officers"]}).is_success
    refusal(run, desk.decide("user:friend", made["id"]), 403, "not-permitted")
    run.put_principal("user:new", groups=["group:officers"])
    assert desk.decided("user:new", made["id"], "deny")["state"] == "denied"


# -- within what was asked ---------------------------------------------------------------------------------------------


def test_access_is_granted_to_the_collection_asked_for_until_it_is_over_or_revoked(desk: Desk) -> None:
    run = desk.run
    way = next(each for each in run.retrieve("user:ana", "Zwibbel")["recourse"] if each["collection"] == "contracts")
    assert way["body"] == {"kind": "request-access", "collection": "contracts"}
    asked = "Which dataset does the partner of the contract receive?"
    for number, who in enumerate(("user:ana", "user:lena", "user:cora", "user:adam")):
        made = desk.escalate("user:ana", **way["body"])
        assert (made["routed_to"], made["may_decide"]) == (["group:legal"], False)
        assert "contract" not in run.found("user:ana", asked)
        grant = desk.decided("user:lena", made["id"], obligations=["max-passages:2"])["grant"]
        assert "contract" in run.found("user:ana", asked)
        assert "contract" not in run.found("user:max", asked)
        assert "secret" not in run.found("user:ana", asked)
        [listed] = [each for each in desk.get("/v1/grants", "user:ana")["grants"] if each["id"] == grant]
        assert (listed["collections"], listed["because"]) == (["contracts"], made["id"])
        assert (listed["granted_by"], listed["revoked_at"]) == ("user:lena", None)
        assert len(desk.get("/v1/grants", "user:sunniva")["grants"]) == number + 1
        assert desk.get("/v1/grants", "user:max")["grants"] == []
        for stranger in ("user:max", "user:cora"):
            refusal(run, run.request("DELETE", f"/v1/grants/{grant}", stranger), 404, "not-found")
        if who == "user:cora":
            desk.clock.forward(hours=1.1)
        else:
            assert run.request("DELETE", f"/v1/grants/{grant}", who).status_code == 204
            refusal(run, run.request("DELETE", f"/v1/grants/{grant}", who), 409, "conflict")
            assert desk.told("user:ana")[-1] == ("grant-revoked", made["id"])
        assert "contract" not in run.found("user:ana", asked)


def test_access_for_a_purpose_opens_nothing_for_another(shared: Desk) -> None:
    run = shared.run
    asked = "Which dataset does the partner of the contract receive?"
    made = shared.escalate("user:max", kind="request-access", collection="contracts", purpose="partner-analytics")
    other = shared.decide("user:lena", made["id"], purpose="research")
    assert pointers(refusal(run, other, 422, "invalid")) == ["/purpose"]
    shared.decided("user:lena", made["id"])
    assert "contract" in run.found("user:max", asked, purpose="partner-analytics")
    assert "contract" not in run.found("user:max", asked)


def test_an_approval_only_narrows(shared: Desk) -> None:
    run = shared.run
    answer = run.retrieve("user:ana", QUESTION, **{**ASKED, "client": "member-5"})
    made = shared.escalate("user:ana", **answer["recourse"][0]["body"], minutes=30)
    before = shared.get("/v1/grants", "user:sunniva")
    wider: list[tuple[dict[str, Any], str]] = [
        ({"minutes": 31}, "/until"),
        ({"until": "2090-01-01"}, "/until"),
        ({"until": "2020-01-01"}, "/until"),
        ({"minutes": 5, "obligations": ["max-passages:3", "be nice"]}, "/obligations/1"),
        ({"minutes": 5, "obligations": ["notify:group:nobody"]}, "/obligations/0"),
        ({"minutes": 5, "obligations": ["redact:weather"]}, "/obligations/0"),
        ({"minutes": 5, "purpose": "research"}, "/purpose"),
        ({"minutes": 5, "until": "2090-01-01"}, "/minutes"),
    ]
    for limits, pointer in wider:
        assert pointers(refusal(run, shared.decide("user:cora", made["id"], **limits), 422, "invalid")) == [pointer]
    body = {"decision": "approve", "reason": "Without an end."}
    endless = run.request("POST", f"{made['href']}/decision", "user:cora", json=body)
    assert pointers(refusal(run, endless, 422, "invalid")) == ["/until"]
    assert shared.get(made["href"], "user:ana")["state"] == "waiting"
    assert shared.get("/v1/grants", "user:sunniva") == before


def test_no_approval_lasts_longer_than_the_institution_allows(shared: Desk) -> None:
    made = shared.override("user:ana", **{**ASKED, "client": "member-3"})
    refused = refusal(shared.run, shared.decide("user:cora", made["id"], minutes=60 * 24 * 31), 422, "invalid")
    assert pointers(refused) == ["/until"]
    last = shared.get("/v1/traces?limit=1", "user:sunniva")["traces"][0]
    assert (last["kind"], last["subject"], last["request"]["escalation"]) == ("refusal", "user:cora", made["id"])


def test_every_group_that_the_rules_name_approves_and_the_narrowest_holds(desk: Desk) -> None:
    run = desk.run
    made = desk.override("user:ana", purpose="research")
    assert (made["routed_to"], len(made["waits_for"])) == (["group:compliance", "group:legal"], 2)
    one = desk.decided("user:lena", made["id"], minutes=600, obligations=["max-passages:1"])
    assert (one["state"], one["grant"], one["waits_for"]) == ("waiting", None, [["group:compliance"]])
    assert run.retrieve("user:ana", QUESTION, purpose="research")["outcome"] == "escalated"
    refusal(run, desk.decide("user:lena", made["id"]), 403, "not-permitted")
    desk.decided("user:cora", made["id"], minutes=60, obligations=["cite"])
    [grant] = desk.get("/v1/grants", "user:ana")["grants"]
    assert (grant["waives"], grant["obligations"]) == (["two-desks", "two-desks-more"], ["max-passages:1", "cite"])
    desk.clock.forward(hours=1.1)
    assert run.retrieve("user:ana", QUESTION, purpose="research")["outcome"] == "escalated"
    denied = desk.override("user:max", purpose="research")
    assert desk.decided("user:cora", denied["id"], "deny")["state"] == "denied"
    refusal(run, desk.decide("user:lena", denied["id"]), 409, "conflict")


def test_an_approval_that_is_over_before_the_last_one_comes_makes_no_grant(desk: Desk) -> None:
    made = desk.override("user:ana", purpose="research")
    desk.decided("user:lena", made["id"], minutes=30)
    desk.clock.forward(hours=1)
    late = refusal(desk.run, desk.decide("user:cora", made["id"]), 409, "conflict")
    assert "is over" in late["detail"]
    assert desk.get("/v1/grants", "user:ana")["grants"] == []
    assert desk.decided("user:cora", made["id"], "deny")["state"] == "denied"


def test_nobody_decides_who_is_taken_out_of_the_group_at_that_moment(desk: Desk) -> None:
    """Between who decides is looked at and what is decided is written, the clock is read: that is when it happens."""
    run = desk.run
    made = desk.override("user:ana")
    run.key("user:cora")
    reads, inside = count(), run.ports

    def read() -> Instant:
        if next(reads) == 1:
            with recording(inside.engine, inside.now(), "directory") as (session, at):
                cora = directory.profile(session, PrincipalRef("user:cora"))
                assert cora is not None
                directory.record_principal(session, replace(cora, groups=frozenset()), at=at, by=PrincipalRef("test"))
        return inside.now()

    run.client = TestClient(app_on(replace(inside, now=read)), raise_server_exceptions=False)
    refused = refusal(run, desk.decide("user:cora", made["id"]), 409, "conflict")
    assert "changed at the same moment" in refused["detail"]
    assert desk.get(made["href"], "user:ana")["state"] == "waiting"


def test_rules_that_nobody_may_waive_are_not_waived(desk: Desk) -> None:
    run = desk.run
    blocked = run.retrieve("user:ana", QUESTION, purpose="marketing", destination="US")
    assert (blocked["outcome"], [each["kind"] for each in blocked["recourse"]]) == ("blocked", ["ask"])
    override = {"kind": "override", "reason": "Please.", "trace_id": blocked["trace_id"]}
    refusal(run, run.request("POST", "/v1/escalations", "user:ana", json=override), 409, "conflict")
    made = desk.override("user:ana")
    activate(run, default_policies().replace('@escalate("owner")', "") + RULES)
    refusal(run, desk.decide("user:cora", made["id"]), 409, "conflict")
    again = {"kind": "override", "reason": "Please.", "trace_id": made["trace_id"], "minutes": 5}
    refusal(run, run.request("POST", "/v1/escalations", "user:ana", json=again), 409, "conflict")
    assert desk.again("user:ana", made["id"])["outcome"] == "blocked"


def test_a_grant_waives_nothing_once_its_rule_may_not_be_waived(desk: Desk) -> None:
    made = desk.override("user:ana")
    desk.decided("user:cora", made["id"])
    assert desk.again("user:ana", made["id"])["outcome"] == "answered"
    strict = default_policies().replace('unless { context.waived.contains("consent-missing") }', "")
    activate(desk.run, strict + RULES)
    assert desk.again("user:ana", made["id"])["outcome"] == "escalated"


def test_what_nobody_here_can_discharge_denies_what_the_grant_made_possible(desk: Desk) -> None:
    """An obligation is held against what can be done when it is due, and not only when it was laid on."""
    run = desk.run
    made = desk.override("user:ana")
    grant = desk.decided("user:cora", made["id"])["grant"]
    with recording(run.ports.engine, run.ports.now(), "grants") as (session, _):
        session.execute(update(GrantRow).where(col(GrantRow.id) == grant).values(obligations=["be nice"]))
    answer = desk.again("user:ana", made["id"])
    assert (answer["outcome"], answer["passages"]) == ("empty", [])


# -- the other kinds, and who sees what --------------------------------------------------------------------------------


def test_labels_and_answers_are_disputed_with_the_owners_and_questions_put_to_compliance(shared: Desk) -> None:
    run = shared.run
    answer = run.retrieve("user:ana", QUESTION)
    citation = answer["passages"][0]["citation"]
    label = shared.escalate("user:ana", kind="dispute-label", document=citation["document_id"])
    assert (label["collection"], label["routed_to"]) == ("policies", ["group:legal"])
    wrong = shared.escalate(
        "user:ana", kind="dispute-answer", trace_id=answer["trace_id"], citation=citation["id"], share_question=True
    )
    assert (wrong["document"], wrong["routed_to"]) == (citation["document_id"], ["group:legal"])
    whole = shared.escalate("user:ana", kind="dispute-answer", trace_id=answer["trace_id"])
    ask = shared.escalate("user:ana", kind="ask", trace_id=answer["trace_id"])
    assert whole["routed_to"] == ask["routed_to"] == ["group:auditors"]
    assert shared.get(wrong["href"], "user:lena")["question"] == QUESTION
    assert shared.get(ask["href"], "user:sunniva")["question"] is None
    assert shared.get(ask["href"], "user:ana")["question"] == QUESTION
    assert pointers(refusal(run, shared.decide("user:lena", label["id"]), 422, "invalid")) == ["/decision"]
    answered = shared.decided("user:lena", label["id"], "answer")
    assert (answered["state"], answered["grant"]) == ("answered", None)
    assert shared.get(label["href"], "user:ana")["decisions"][0]["reason"] == "Looked into."
    refusal(run, shared.decide("user:sunniva", ask["id"], "withdraw"), 403, "not-permitted")
    assert shared.decided("user:ana", ask["id"], "withdraw")["state"] == "withdrawn"
    refusal(run, shared.decide("user:sunniva", ask["id"], "answer"), 409, "conflict")


def test_what_people_said_of_a_document_is_gone_with_it(desk: Desk) -> None:
    run, said = desk.run, {"reason": "It says that rule two is for partners."}
    answer = run.retrieve("user:ana", QUESTION)
    cited = {each["citation"]["uri"]: each["citation"] for each in answer["passages"]}
    erased, kept = cited["sharing-two"], cited["sharing-one"]
    asked = [
        desk.escalate("user:ana", kind="dispute-label", document=erased["document_id"], **said),
        desk.escalate("user:ana", kind="dispute-answer", trace_id=answer["trace_id"], citation=erased["id"], **said),
        desk.escalate("user:ana", kind="dispute-answer", trace_id=answer["trace_id"], **said),
        desk.escalate("user:ana", kind="dispute-label", document=kept["document_id"], **said),
    ]
    for each in asked:
        desk.decided("user:sunniva" if each["document"] is None else "user:lena", each["id"], "answer", **said)
    gone = run.request(
        "POST", f"/v1/documents/{erased['document_id']}/erase", "user:lena", json={"reason": "Asked to."}
    )
    assert gone.status_code in (201, 202), gone.text
    run.work()
    left = [desk.get(each["href"], "user:ana") for each in asked]
    told = ["rule two" in each["reason"] + each["decisions"][0]["reason"] for each in left]
    assert told == [False, False, False, True]


def test_an_escalation_is_seen_by_who_asked_who_decides_and_auditors_and_by_nobody_else(shared: Desk) -> None:
    made = shared.override("user:ana", **{**ASKED, "client": "member-4"})
    for who in ("user:ana", "user:cora", "user:sunniva"):
        assert shared.get(made["href"], who)["id"] == made["id"]
        assert made["id"] in {each["id"] for each in shared.get("/v1/escalations?limit=200", who)["escalations"]}
    for who in ("user:max", "user:lena", "user:adam", "admin", "assistant:helper"):
        for path in (made["href"], f"{made['href']}-none"):
            assert refusal(shared.run, shared.run.request("GET", path, who), 404, "not-found")["detail"] == (
                "There is no escalation by that id that you may know of."
            )
        refusal(shared.run, shared.run.request("POST", f"{made['href']}/ask-again", who), 404, "not-found")
        found = {each["id"] for each in shared.get("/v1/escalations?limit=200", who)["escalations"]}
        assert made["id"] not in found
        refusal(shared.run, shared.run.request("GET", f"/v1/escalations?cursor={made['id']}", who), 422, "invalid")
    refusal(shared.run, shared.run.request("POST", f"{made['href']}/ask-again", "user:cora"), 403, "not-permitted")


def test_what_one_may_not_know_of_is_asked_for_as_what_is_not_there(shared: Desk) -> None:
    run = shared.run
    stranger = run.retrieve("user:lena", QUESTION)["trace_id"]
    cases = [
        ({"kind": "request-access"}, "collection", "secret", "nothing"),
        ({"kind": "request-access", "purpose": "research"}, "collection", "secret", "nothing"),
        ({"kind": "override"}, "trace_id", stranger, "tr_none"),
        ({"kind": "dispute-answer"}, "trace_id", stranger, "tr_none"),
    ]
    for body, name, hidden, absent in cases:
        told = []
        for value in (hidden, absent):
            sent = {"reason": "Please.", **body, name: value}
            told.append(refusal(run, run.request("POST", "/v1/escalations", "user:ana", json=sent), 404, "not-found"))
        assert [each.pop("trace_id") for each in told]
        assert told[0] == told[1]


def test_the_same_is_asked_for_once_at_a_time(shared: Desk) -> None:
    body = {"kind": "ask", "reason": "What may I do?", "purpose": "research"}
    made = shared.escalate("user:max", **body)
    again = shared.run.request("POST", "/v1/escalations", "user:max", json=body)
    assert made["id"] in refusal(shared.run, again, 409, "conflict")["detail"]
    shared.decided("user:max", made["id"], "withdraw")
    shared.escalate("user:max", **body)


def test_whoever_is_not_active_asks_and_decides_nothing(desk: Desk) -> None:
    run = desk.run
    made = desk.override("user:ana")
    for who in ("user:ana", "user:cora"):
        run.key(who)
        run.put_principal(who, groups=["group:officers"], active=False)
    blocked = run.retrieve("user:ana", QUESTION)
    assert (blocked["outcome"], blocked["recourse"]) == ("blocked", [])
    body = {"kind": "ask", "reason": "Why?"}
    refusal(run, run.request("POST", "/v1/escalations", "user:ana", json=body), 403, "not-permitted")
    refusal(run, desk.decide("user:cora", made["id"]), 403, "not-permitted")
    refusal(run, desk.decide("user:ana", made["id"], "withdraw"), 403, "not-permitted")
    assert desk.get("/v1/notices", "user:cora") == {"notices": [], "cursor": None}
    assert desk.get("/v1/escalations", "user:ana") == {"escalations": [], "cursor": None}
    refusal(run, run.request("GET", made["href"], "user:ana"), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"kind": "override"}, ["/trace_id"]),
        ({"kind": "request-access"}, ["/collection"]),
        ({"kind": "request-access", "collection": "contracts", "document": "doc_1"}, ["/document"]),
        ({"kind": "dispute-label"}, ["/document"]),
        ({"kind": "dispute-label", "document": "doc_1", "citation": "cit_1"}, ["/citation"]),
        ({"kind": "ask", "minutes": 5}, ["/minutes"]),
        ({"kind": "override", "trace_id": "tr_1", "purpose": "research"}, ["/purpose"]),
        ({"kind": "request-access", "collection": "contracts", "until": "2020-01-01"}, ["/until"]),
        ({"kind": "request-access", "collection": "contracts", "purpose": "unknown"}, ["/purpose"]),
        ({"kind": "beg"}, ["/kind"]),
    ],
)
def test_requests_that_make_no_sense_are_told_why(shared: Desk, body: dict[str, Any], at: list[str]) -> None:
    response = shared.run.request("POST", "/v1/escalations", "user:ana", json={"reason": "Please.", **body})
    assert pointers(refusal(shared.run, response, 422, "invalid")) == at


# -- time --------------------------------------------------------------------------------------------------------------


def test_who_does_not_decide_is_reminded_then_others_may_and_in_the_end_it_is_over(desk: Desk) -> None:
    run = desk.run
    made = desk.override("user:ana")

    def later(hours: float) -> list[tuple[str, str]]:
        desk.clock.forward(hours=hours)
        escalate.run_due(run.ports)
        escalate.run_due(run.ports)
        return [(kind, who) for who in ("user:cora", "user:adam", "user:ana") for kind, _ in desk.told(who)]

    opened = ("escalation-opened", "user:cora")
    assert later(23.9) == [opened]
    reminded = ("escalation-reminder", "user:cora")
    assert later(0.2) == [opened, reminded]
    refusal(run, desk.decide("user:adam", made["id"]), 404, "not-found")
    raised = "escalation-raised"
    assert later(48) == [opened, reminded, (raised, "user:cora"), (raised, "user:adam"), (raised, "user:ana")]
    assert desk.get(made["href"], "user:adam")["may_decide"] is True
    other = desk.override("user:max")
    assert desk.decided("user:adam", made["id"], minutes=60)["state"] == "approved"
    assert desk.again("user:ana", made["id"])["outcome"] == "answered"
    later(400)
    assert desk.get(other["href"], "user:max")["state"] == "expired"
    assert [kind for kind, _ in desk.told("user:max")] == ["escalation-expired"]
    refusal(run, desk.decide("user:cora", other["id"]), 409, "conflict")
    asked = desk.get("/v1/traces?limit=200", "user:sunniva")["traces"]
    done = [each["request"]["what"] for each in asked if each["subject"] == "system"]
    assert sorted(done) == ["time:end", "time:expire", "time:raise", "time:remind"]


def test_notices_are_polled_from_where_one_was(desk: Desk) -> None:
    (issued,) = desk.get("/v1/notices", "user:cora")["notices"]
    assert issued["kind"] == "key-issued"
    made = desk.override("user:ana")
    first = desk.get(f"/v1/notices?limit=1&cursor={issued['id']}", "user:cora")
    assert [each["about"]["escalation"] for each in first["notices"]] == [made["id"]]
    assert first["notices"][0]["recipient"] == "group:compliance"
    nothing = desk.get(f"/v1/notices?cursor={first['cursor']}", "user:cora")
    assert nothing == {"notices": [], "cursor": first["cursor"]}
    other = desk.override("user:max")
    more = desk.get(f"/v1/notices?cursor={first['cursor']}", "user:cora")["notices"]
    assert [each["about"]["escalation"] for each in more] == [other["id"]]
    refusal(desk.run, desk.run.request("GET", f"/v1/notices?cursor={first['cursor']}", "user:ana"), 422, "invalid")
    assert desk.told("user:ana") == []
    asserted = desk.run.request("GET", "/v1/notices", "assistant:helper", acting_for="user:cora")
    assert asserted.json() == {"notices": [issued], "cursor": issued["id"]}


def test_how_long_approvals_take_is_measured_by_group_and_by_team(desk: Desk) -> None:
    for number, hours in enumerate((1, 2, 3, 10)):
        made = desk.override("user:ana", **{**ASKED, "client": f"member-{number}"})
        desk.clock.forward(hours=hours)
        desk.decided("user:cora", made["id"], "deny")
    desk.override("user:ana")
    desk.clock.forward(hours=5)
    found = desk.get("/v1/escalations/latencies", "user:adam")
    [group] = found["groups"]
    assert (group["name"], group["decided"], group["waiting"]) == ("group:compliance", 4, 1)
    assert group["median_s"] == pytest.approx(2 * 3600, abs=60)
    assert group["p90_s"] == pytest.approx(10 * 3600, abs=60)
    assert group["oldest_waiting_s"] == pytest.approx(5 * 3600, abs=60)
    assert [(each["name"], each["decided"]) for each in found["teams"]] == [("claims", 4)]
    own = desk.get("/v1/escalations/latencies", "user:cora")
    assert ([each["name"] for each in own["groups"]], own["teams"]) == (["group:compliance"], [])
    assert desk.get("/v1/escalations/latencies", "user:max") == {"groups": [], "teams": []}


# -- webhooks ----------------------------------------------------------------------------------------------------------


def test_a_webhook_is_told_signed_and_of_ids_alone(desk: Desk) -> None:
    taken: list[tuple[dict[str, str], bytes]] = []

    def take(handler: BaseHTTPRequestHandler) -> None:
        header = {name.lower(): value for name, value in handler.headers.items()}
        taken.append((header, handler.rfile.read(int(header["content-length"]))))
        handler.send_response(204)
        handler.end_headers()

    with site() as receiver:
        receiver.served["/hooks/desk"] = take
        run = desk.run
        run.ports = replace(run.ports, webhook_locations=(f"{receiver.url}/hooks",))
        run.client = TestClient(app_on(run.ports), raise_server_exceptions=False)
        body = {
            "url": f"{receiver.url}/hooks/desk",
            "recipients": ["group:compliance"],
            "events": ["escalation-opened"],
        }
        for url, status in ((f"{receiver.url}/other", 403), ("http://desk.example/hooks", 403), ("file:///hooks", 422)):
            elsewhere = run.request("PUT", "/v1/webhooks/desk", "admin", json={**body, "url": url})
            refusal(run, elsewhere, status, "not-permitted" if status == 403 else "invalid")
        refusal(run, run.request("PUT", "/v1/webhooks/desk", "user:cora", json=body), 403, "not-permitted")
        unknown = run.request("PUT", "/v1/webhooks/desk", "admin", json={**body, "recipients": ["group:none"]})
        assert pointers(refusal(run, unknown, 422, "invalid")) == ["/recipients"]
        misspelt = run.request("PUT", "/v1/webhooks/desk", "admin", json={**body, "events": ["escalation-opend"]})
        assert pointers(refusal(run, misspelt, 422, "invalid")) == ["/events/0"]
        laid = run.admin("PUT", "/v1/webhooks/desk", body)
        assert run.admin("PUT", "/v1/webhooks/desk", body)["secret"] is None
        made = desk.override("user:ana")
        notify.deliver_due(run.ports, post_to)

        [(header, content)] = taken
        key = base64.b64decode(laid["secret"].removeprefix("whsec_"))
        signed = f"{header['webhook-id']}.{header['webhook-timestamp']}.{content.decode()}".encode()
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert (len(key), header["webhook-signature"]) == (32, f"v1,{wanted}")
        told = json.loads(content)
        assert (told["type"], told["data"]["recipient"]) == ("escalation-opened", "group:compliance")
        assert told["data"]["about"] == {
            "escalation": made["id"],
            "kind": "override",
            "state": "waiting",
            "grant": None,
        }
        assert QUESTION not in content.decode()
        assert made["reason"] not in content.decode()
        [sent] = desk.get("/v1/webhooks/desk/deliveries", "admin")["deliveries"]
        assert (sent["id"], sent["state"], sent["tries"]) == (header["webhook-id"], "delivered", 1)
        assert laid["secret"] not in run.request("GET", "/v1/webhooks", "admin").text
        moved = run.admin("PUT", "/v1/webhooks/desk", {**body, "url": f"{receiver.url}/hooks/moved"})
        assert moved["secret"] not in (None, laid["secret"])
        assert run.request("DELETE", "/v1/webhooks/desk", "admin").status_code == 204
        refusal(run, run.request("DELETE", "/v1/webhooks/desk", "admin"), 404, "not-found")
        desk.override("user:max")
        assert notify.deliver_due(run.ports, post_to) == 0


@pytest.mark.parametrize("scope", [{"actions": ["ask", "read"]}, {"collections": ["contracts", "policies"]}])
def test_a_limited_key_turns_to_nobody_and_sees_nothing_of_what_people_are_asked(
    shared: Desk, scope: dict[str, list[str]]
) -> None:
    run = shared.run
    number = f"member-{len(shared.get('/v1/escalations?limit=200', 'user:sunniva')['escalations'])}"
    made = shared.override("user:ana", **{**ASKED, "client": number})
    grant = shared.decided("user:cora", made["id"])["grant"]
    limited = {
        who: run.admin("POST", f"/v1/principals/user/{who.partition(':')[2]}/keys", scope)["key"]
        for who in ("user:ana", "user:cora", "user:lena", "user:sunniva")
    }
    again = f"{made['href']}/ask-again"
    asking = {"kind": "ask", "reason": "May I?"}
    deciding = {"decision": "approve", "minutes": 5, "reason": "Yes."}
    for who, key in limited.items():
        header = {"Authorization": f"Bearer {key}"}
        for body, path in ((asking, "/v1/escalations"), (deciding, f"{made['href']}/decision"), (None, again)):
            told = refusal(run, run.client.post(path, json=body, headers=header), 403, "not-permitted")
            assert "not limited" in told["detail"], who
        for path in (made["href"], f"/v1/break-glass/{grant}", f"/v1/grants/{grant}"):
            method = "GET" if path == made["href"] else "DELETE"
            assert run.client.request(method, path, headers=header).status_code == 404, (who, path)
        for path in ("/v1/escalations", "/v1/grants", "/v1/notices", "/v1/break-glass", "/v1/escalations/latencies"):
            found = run.client.get(path, headers=header).json()
            assert not any(found.values()), (who, path, found)
    assert shared.again("user:ana", made["id"])["outcome"] == "answered"


def test_an_auditor_with_a_key_for_audits_alone_follows_what_people_were_asked(shared: Desk) -> None:
    run = shared.run
    made = shared.escalate("user:max", kind="ask", reason="For the auditors.")
    key = run.admin("POST", "/v1/principals/user/sunniva/keys", {"actions": ["audit"]})["key"]
    response = run.client.get(made["href"], headers={"Authorization": f"Bearer {key}"})
    assert (response.status_code, response.json()["reason"]) == (200, "For the auditors.")
