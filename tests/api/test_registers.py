"""Jurisdictions, transfer rules, consents and purposes: what they open and close, and from which request on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.domain.instants import Instant, iso
from tests.running import Running

QUESTION = "When does the merger close?"
TEXT = "# Merger\nThe merger with Castellan closes in March."
FAR = "2999-01-01T00:00:00Z"


class Clock:
    """Moves on when it is told to: what ends by time ends at that instant."""

    def __init__(self, run: Running) -> None:
        self.now = run.ports.now()

    def show(self) -> Instant:
        self.now = Instant(self.now + 1)
        return self.now

    def go_on(self, minutes: int) -> None:
        self.now = Instant(self.now + minutes * 60_000)

    def ahead(self, minutes: int) -> str:
        return iso(Instant(self.now + minutes * 60_000))


@pytest.fixture
def clock(run: Running) -> Clock:
    clock = Clock(run)
    run.client.app.state.ports = run.ports = replace(run.ports, now=clock.show)  # type: ignore[attr-defined]
    return clock


def founded(run: Running) -> None:
    run.put_principal("group:owners")
    run.put_principal("user:olga", groups=["group:owners"], jurisdictions=["EU", "US", "DE"], clearance="restricted")
    for name, place in (("dirk", "DE"), ("ana", "EU"), ("ursula", "UK"), ("una", "US")):
        run.put_principal(f"user:{name}", jurisdictions=[place])
    run.put_collection("deals", owners=["group:owners"], default_readers=["group:all-staff"])


def lay_down(run: Running, *places: str, **within: str) -> None:
    for place in places:
        run.admin("PUT", f"/v1/jurisdictions/{place}", {"title": place})
    for place, around in within.items():
        run.admin("PUT", f"/v1/jurisdictions/{place}", {"title": place, "within": [around]})


def rule(origin: str, destination: str, **more: Any) -> dict[str, Any]:
    stated = {"basis": "adequacy", "evidence": "A decision.", "reason": "It was found adequate."}
    return {"from": origin, "to": destination, **stated, **more}


def seen(run: Running, who: str, document: str, **asked: Any) -> bool:
    """Whether somebody finds and reads it: both ways agree, or the test fails."""
    found = bool(run.found(who, QUESTION, **asked))
    purpose = {"purpose": asked["purpose"]} if "purpose" in asked else {}
    fetched = run.request("GET", f"/v1/documents/{document}/versions/1/text", who, params=purpose)
    assert fetched.status_code == (200 if found else 404), fetched.text
    return found


def blocking(run: Running, who: str, **asked: Any) -> dict[str, str]:
    """The rules that forbid the question as a whole, each with its check."""
    answer = run.retrieve(who, QUESTION, **asked)
    stopping = [check for check in answer["checks"] if check["outcome"] in ("blocked", "escalated")]
    assert bool(stopping) == (answer["outcome"] in ("blocked", "escalated"))
    return {policy: check["check"] for check in stopping for policy in check["policies"]}


def changes(run: Running) -> list[dict[str, Any]]:
    """What is on record of changes, the newest first."""
    run.put_principal("user:sunniva", groups=["group:auditors"])
    traces = run.request("GET", "/v1/traces?limit=200", "user:sunniva").json()["traces"]
    return [each for each in traces if each["kind"] == "change"]


# ---- Jurisdictions -------------------------------------------------------------------------------------------------


def test_somebody_in_germany_reads_what_is_bound_to_the_eu_once_germany_is_within_it(run: Running) -> None:
    founded(run)
    document = run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["EU"])
    assert (seen(run, "user:dirk", document), seen(run, "user:ana", document)) == (False, True)
    lay_down(run, "EU", DE="EU")
    assert (seen(run, "user:dirk", document), seen(run, "user:una", document)) == (True, False)
    run.admin("PUT", "/v1/jurisdictions/DE", {"title": "Germany"})
    assert not seen(run, "user:dirk", document)


def test_somebody_in_the_eu_reads_nothing_that_is_bound_to_germany(run: Running) -> None:
    founded(run)
    lay_down(run, "EU", DE="EU", BY="DE")
    document = run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["DE"])
    assert (seen(run, "user:ana", document), seen(run, "user:dirk", document)) == (False, True)


def test_unregistered_names_are_plain_names(run: Running) -> None:
    founded(run)
    document = run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["US"])
    assert (seen(run, "user:una", document), seen(run, "user:ana", document)) == (True, False)
    lay_down(run, "US")
    assert (seen(run, "user:una", document), seen(run, "user:ana", document)) == (True, False)
    run.admin("DELETE", "/v1/jurisdictions/US")
    assert (seen(run, "user:una", document), seen(run, "user:ana", document)) == (True, False)
    missing = run.request("GET", "/v1/jurisdictions/US", "user:una")
    assert missing.status_code == 404


def test_a_jurisdiction_never_comes_to_lie_in_itself(run: Running) -> None:
    lay_down(run, "EU", DE="EU", BY="DE")
    for place, around in (("EU", "BY"), ("EU", "EU"), ("XX", "XX")):
        refused = run.request("PUT", f"/v1/jurisdictions/{place}", "admin", json={"title": "T", "within": [around]})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/within")
        assert "lie in itself" in refused.json()["errors"][0]["detail"]
    unknown = run.request("PUT", "/v1/jurisdictions/FR", "admin", json={"title": "France", "within": ["EEA"]})
    assert (unknown.status_code, unknown.json()["errors"][0]["detail"]) == (
        422,
        "EEA is not a registered jurisdiction.",
    )
    assert run.admin("GET", "/v1/jurisdictions/EU") == {"id": "EU", "title": "EU", "within": []}


def test_a_jurisdiction_that_contains_another_is_not_ended(run: Running) -> None:
    lay_down(run, "EU", DE="EU")
    assert run.request("DELETE", "/v1/jurisdictions/EU", "admin").status_code == 409
    run.admin("DELETE", "/v1/jurisdictions/DE")
    run.admin("DELETE", "/v1/jurisdictions/EU")
    assert run.request("DELETE", "/v1/jurisdictions/EU", "admin").status_code == 404
    assert run.admin("GET", "/v1/jurisdictions") == {"jurisdictions": []}


def test_what_was_registered_before_is_still_known(run: Running) -> None:
    lay_down(run, "EU", DE="EU")
    run.admin("PUT", "/v1/transfers", rule("EU", "UK"))
    then = run.admin("PUT", "/v1/transfers", rule("EU", "CH"))["recorded_at"]
    run.admin("DELETE", "/v1/jurisdictions/DE")
    for each in run.admin("GET", "/v1/transfers")["transfers"]:
        run.admin("POST", f"/v1/transfers/{each['id']}/withdraw", {"reason": "Repealed."})
    assert run.request("GET", "/v1/jurisdictions/DE", "admin").status_code == 404
    assert run.admin("GET", "/v1/transfers")["transfers"] == []
    assert run.admin("GET", f"/v1/jurisdictions/DE?known_at={then}")["within"] == ["EU"]
    known = run.admin("GET", f"/v1/transfers?known_at={then}")["transfers"]
    assert [(each["from"], each["to"], each["in_force"]) for each in known] == [("EU", "CH", True), ("EU", "UK", True)]


# ---- Transfer rules ------------------------------------------------------------------------------------------------


def test_a_transfer_rule_opens_data_with_the_next_request_and_closes_it_likewise(run: Running) -> None:
    founded(run)
    lay_down(run, "EU", DE="EU")
    documents = [
        run.publish("user:olga", "deals", TEXT + bound, uri=bound, jurisdictions=[bound]) for bound in ("EU", "DE")
    ]
    assert not any(seen(run, "user:ursula", document) for document in documents)
    put = run.admin("PUT", "/v1/transfers", rule("EU", "UK"))
    assert all(seen(run, "user:ursula", document) for document in documents)
    assert not any(seen(run, "user:una", document) for document in documents)
    answer = run.retrieve("user:ursula", QUESTION)
    told = next(check for check in answer["checks"] if check["check"] == "jurisdiction")
    assert "outside-subject-jurisdictions" in told["policies"]
    assert "by transfer rules also data of DE, EU" in told["reason"]
    run.admin("POST", f"/v1/transfers/{put['id']}/withdraw", {"reason": "Repealed."})
    assert not any(seen(run, "user:ursula", document) for document in documents)
    again = run.request("POST", f"/v1/transfers/{put['id']}/withdraw", "admin", json={"reason": "Repealed."})
    assert again.status_code == 404


def test_a_transfer_rule_begins_and_expires_at_its_instants(run: Running, clock: Clock) -> None:
    founded(run)
    document = run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["EU"])
    period = {"valid_from": clock.ahead(10), "expires_at": clock.ahead(20)}
    put = run.admin("PUT", "/v1/transfers", rule("EU", "UK", **period))
    assert (put["in_force"], seen(run, "user:ursula", document)) == (False, False)
    clock.go_on(11)
    assert seen(run, "user:ursula", document)
    assert run.request("GET", "/v1/transfers", "user:ursula").json()["transfers"][0]["in_force"]
    clock.go_on(10)
    assert not seen(run, "user:ursula", document)
    assert not run.request("GET", "/v1/transfers", "user:ursula").json()["transfers"][0]["in_force"]


@pytest.mark.parametrize(
    ("who", "asked"), [("user:ursula", {}), ("user:ana", {"destination": "UK"})], ids=["opened by it", "sent by it"]
)
def test_a_rule_that_expires_while_an_answer_is_made_shows_nothing(
    run: Running, clock: Clock, who: str, asked: dict[str, str]
) -> None:
    founded(run)
    run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["EU"])
    run.admin("PUT", "/v1/transfers", rule("EU", "UK", expires_at=clock.ahead(20)))
    assert run.found(who, QUESTION, **asked) == ["merger"]
    meanwhile(run, lambda: clock.go_on(21))
    assert run.found(who, QUESTION, **asked) == []


def test_a_rule_that_is_ended_while_an_answer_is_made_shows_nothing(run: Running) -> None:
    founded(run)
    run.publish("user:olga", "deals", TEXT, uri="merger")
    put = run.admin("PUT", "/v1/transfers", rule("EU", "UK"))
    end = f"/v1/transfers/{put['id']}/withdraw"
    meanwhile(run, lambda: run.admin("POST", end, {"reason": "Repealed."}))
    assert run.found("user:ana", QUESTION, destination="UK") == []


def meanwhile(run: Running, happens: Callable[[], object]) -> None:
    """Let something happen while the next question is being embedded: after it was decided, before it is answered."""
    run.client.app.state.ports = replace(run.ports, embedder=_Slow(run.ports.embedder, happens))  # type: ignore[attr-defined]


class _Slow:
    """The same embedder, while whose work something happens."""

    def __init__(self, embedder: Any, meanwhile: Callable[[], object]) -> None:
        self._embedder, self._meanwhile = embedder, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_queries(self, texts: Any) -> Any:
        self._meanwhile()
        return self._embedder.embed_queries(texts)


def test_a_rule_between_the_same_two_takes_the_place_of_the_one_before(run: Running) -> None:
    first = run.admin("PUT", "/v1/transfers", rule("EU", "UK"))
    assert run.admin("PUT", "/v1/transfers", rule("EU", "UK")) == first
    second = run.admin("PUT", "/v1/transfers", rule("EU", "UK", basis="scc"))
    assert second["id"] != first["id"]
    assert run.admin("GET", "/v1/transfers")["transfers"] == [second]
    never = run.request("PUT", "/v1/transfers", "admin", json=rule("EU", "UK", expires_at="2001-01-01"))
    assert (never.status_code, never.json()["errors"][0]["pointer"]) == (422, "/expires_at")


def test_an_answer_for_use_where_no_rule_leads_is_refused_by_the_rule(run: Running) -> None:
    founded(run)
    lay_down(run, "EU", DE="EU")
    run.publish("user:olga", "deals", TEXT, uri="merger")
    refusing = {"transfer-not-covered": "jurisdiction"}
    assert blocking(run, "user:ana", destination="US") == refusing
    assert blocking(run, "user:ana", destination="Atlantis") == refusing
    assert blocking(run, "user:dirk", destination="EU") == refusing
    assert run.retrieve("user:ana", QUESTION, destination="US")["passages"] == []
    put = run.admin("PUT", "/v1/transfers", rule("EU", "US"))
    assert run.found("user:ana", QUESTION, destination="US") == ["merger"]
    assert run.found("user:ana", QUESTION, destination="DE") == ["merger"]
    assert run.found("user:ana", QUESTION, destination="EU") == ["merger"]
    run.admin("POST", f"/v1/transfers/{put['id']}/withdraw", {"reason": "Repealed."})
    assert blocking(run, "user:ana", destination="US") == refusing


# ---- Purposes ------------------------------------------------------------------------------------------------------

ANALYTICS = {"title": "Analytics", "owner": "group:compliance", "consent_required": True, "categories": []}


def with_purpose(run: Running, **more: Any) -> None:
    run.put_principal("group:compliance")
    run.put_principal("user:cleo", groups=["group:compliance"])
    run.admin("PUT", "/v1/purposes/analytics", {**ANALYTICS, **more})


def consent(**more: Any) -> dict[str, Any]:
    stated = {"client": "TM-1", "purpose": "analytics", "jurisdictions": ["US"], "evidence": {"text": "Signed."}}
    return {**stated, **more}


def test_a_purpose_says_who_answers_for_it_and_what_it_is_for(run: Running) -> None:
    more = {"legal_basis": "Consent", "review_by": FAR, "description": "With a partner."}
    with_purpose(run, **more)
    expected = {"id": "analytics", **ANALYTICS, **more}
    assert run.request("GET", "/v1/purposes", "user:cleo").json()["purposes"] == [expected]
    refused = run.request("PUT", "/v1/purposes/x", "admin", json={"title": "X", "owner": "group:nobody"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/owner")


def test_a_purpose_that_ended_is_unknown_and_what_is_bound_to_it_stays_closed(run: Running) -> None:
    founded(run)
    with_purpose(run)
    document = run.publish("user:olga", "deals", TEXT, uri="merger", purposes=["analytics"])
    assert seen(run, "user:ana", document, purpose="analytics")
    run.admin("DELETE", "/v1/purposes/analytics")
    for method, path, rest in (
        ("POST", "/v1/retrieve", {"json": {"query": QUESTION, "purpose": "analytics"}}),
        ("GET", f"/v1/documents/{document}", {"params": {"purpose": "analytics"}}),
    ):
        refused = run.request(method, path, "user:ana", **rest)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"][-8:]) == (422, "/purpose")
    assert not seen(run, "user:ana", document)
    assert run.request("DELETE", "/v1/purposes/analytics", "admin").status_code == 404
    opened = run.request("PATCH", f"/v1/documents/{document}", "user:olga", json={"purposes": []})
    assert opened.status_code == 200
    assert seen(run, "user:ana", document)


def test_categories_that_a_purpose_was_not_registered_for_are_out(run: Running) -> None:
    founded(run)
    with_purpose(run)
    run.put_principal("user:ana", jurisdictions=["EU"], categories=["pii"])
    run.put_principal("user:olga", groups=["group:owners"], categories=["pii"])
    personal = {"label": {"level": "internal", "categories": ["pii"]}}
    document = run.publish("user:olga", "deals", TEXT, uri="merger", **personal)
    assert seen(run, "user:ana", document)
    assert not seen(run, "user:ana", document, purpose="analytics")
    told = run.retrieve("user:ana", QUESTION, purpose="analytics")["checks"]
    assert [each["policies"] for each in told if each["check"] == "personal-data"] == [
        ["purpose-categories", "sensitive-fields"]
    ]
    with_purpose(run, categories=["pii"])
    assert seen(run, "user:ana", document, purpose="analytics")
    with_purpose(run, categories=None)
    assert seen(run, "user:ana", document, purpose="analytics")


def test_whoever_holds_more_than_a_purpose_is_for_sends_nothing_elsewhere(run: Running) -> None:
    founded(run)
    with_purpose(run, consent_required=False)
    run.publish("user:olga", "deals", TEXT, uri="merger")
    asked = {"purpose": "analytics", "destination": "EU"}
    assert run.found("user:ana", QUESTION, **asked) == ["merger"]
    run.put_principal("user:ana", jurisdictions=["EU"], categories=["pii"])
    assert blocking(run, "user:ana", **asked) == {"sensitive-fields": "personal-data"}
    assert run.found("user:ana", QUESTION, purpose="analytics") == ["merger"]


# ---- Consents ------------------------------------------------------------------------------------------------------


def test_a_consent_covers_a_question_from_the_next_request_until_it_is_withdrawn(run: Running) -> None:
    founded(run)
    with_purpose(run)
    run.publish("user:olga", "deals", TEXT, uri="merger")
    asked = {"purpose": "analytics", "client": "TM-1"}
    refusing = {"consent-missing": "purpose"}
    assert blocking(run, "user:una", **asked) == refusing
    assert run.found("user:una", QUESTION, purpose="analytics") == ["merger"]
    given = run.admin("POST", "/v1/consents", consent())
    assert run.found("user:una", QUESTION, **asked) == ["merger"]
    assert blocking(run, "user:una", purpose="analytics", client="TM-2") == refusing
    assert blocking(run, "user:ana", **asked) == refusing
    assert blocking(run, "user:una", purpose="analytics", destination="US") == refusing
    withdrawn = run.admin("POST", f"/v1/consents/{given['id']}/withdraw", {"reason": "She wrote to us."})
    assert (withdrawn["in_force"], withdrawn["withdrawal_reason"]) == (False, "She wrote to us.")
    assert blocking(run, "user:una", **asked) == refusing
    path = f"/v1/consents/{given['id']}/withdraw"
    assert run.request("POST", path, "admin", json={"reason": "Again."}).status_code == 409


def test_what_names_a_client_is_open_where_and_for_what_that_client_consented(run: Running) -> None:
    founded(run)
    with_purpose(run)
    run.put_purpose("other")
    bound = {"jurisdictions": ["EU"], "consents": ["client:TM-1"]}
    document = run.publish("user:olga", "deals", TEXT, uri="merger", **bound)
    assert not seen(run, "user:una", document, purpose="analytics")
    given = run.admin("POST", "/v1/consents", consent())
    assert seen(run, "user:una", document, purpose="analytics")
    assert not seen(run, "user:una", document, purpose="other")
    assert not seen(run, "user:una", document)
    assert not seen(run, "user:ursula", document, purpose="analytics")
    run.admin("POST", f"/v1/consents/{given['id']}/withdraw", {"reason": "She wrote to us."})
    assert not seen(run, "user:una", document, purpose="analytics")
    run.admin("POST", "/v1/consents", consent(client="TM-2"))
    assert not seen(run, "user:una", document, purpose="analytics")


def test_a_client_s_consent_opens_nothing_to_an_assistant_that_is_bound_elsewhere(run: Running) -> None:
    founded(run)
    with_purpose(run)
    for name, places in (("here", ["US"]), ("there", ["UK"]), ("anywhere", [])):
        run.put_principal(f"assistant:{name}", jurisdictions=places, may_assert=True)
    run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["EU"], consents=["client:TM-1"])
    run.admin("POST", "/v1/consents", consent())
    found = {
        name: run.found(f"assistant:{name}", QUESTION, acting_for="user:una", purpose="analytics")
        for name in ("here", "there", "anywhere")
    }
    assert found == {"here": ["merger"], "there": [], "anywhere": ["merger"]}


def test_a_consent_begins_and_expires_at_its_instants(run: Running, clock: Clock) -> None:
    founded(run)
    with_purpose(run)
    bound = {"jurisdictions": ["EU"], "consents": ["client:TM-1"]}
    document = run.publish("user:olga", "deals", TEXT, uri="merger", **bound)
    asked = {"purpose": "analytics", "client": "TM-1"}
    period = {"given_at": clock.ahead(10), "expires_at": clock.ahead(20)}
    run.admin("POST", "/v1/consents", consent(**period))
    assert blocking(run, "user:una", **asked)
    assert not seen(run, "user:una", document, purpose="analytics")
    clock.go_on(11)
    assert not blocking(run, "user:una", **asked)
    assert seen(run, "user:una", document, purpose="analytics")
    clock.go_on(10)
    assert blocking(run, "user:una", **asked)
    assert not seen(run, "user:una", document, purpose="analytics")


def test_a_consent_that_expires_while_an_answer_is_made_shows_nothing(run: Running, clock: Clock) -> None:
    founded(run)
    with_purpose(run)
    run.publish("user:olga", "deals", TEXT, uri="merger", jurisdictions=["EU"], consents=["client:TM-1"])
    run.admin("POST", "/v1/consents", consent(expires_at=clock.ahead(20)))
    assert run.found("user:una", QUESTION, purpose="analytics") == ["merger"]
    meanwhile(run, lambda: clock.go_on(21))
    assert run.found("user:una", QUESTION, purpose="analytics") == []


@pytest.mark.parametrize(
    ("stated", "pointer"),
    [
        ({"purpose": "gossip"}, "/purpose"),
        ({"evidence": {}}, "/evidence"),
        ({"jurisdictions": []}, "/jurisdictions"),
        ({"given_at": "2026-03-01", "expires_at": "2026-02-01"}, "/expires_at"),
    ],
    ids=["purpose", "evidence", "nowhere", "over before it began"],
)
def test_a_consent_that_shows_nothing_is_refused(run: Running, stated: dict[str, Any], pointer: str) -> None:
    with_purpose(run)
    refused = run.request("POST", "/v1/consents", "admin", json=consent(**stated))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)


# ---- Who may, and the record ---------------------------------------------------------------------------------------


def test_the_owner_of_a_purpose_keeps_its_consents_and_no_other(run: Running) -> None:
    with_purpose(run)
    run.put_purpose("other")
    elsewhere = run.admin("POST", "/v1/consents", consent(purpose="other"))["id"]
    given = run.request("POST", "/v1/consents", "user:cleo", json=consent())
    assert (given.status_code, given.json()["recorded_by"]) == (201, "user:cleo")
    refused = run.request("POST", "/v1/consents", "user:cleo", json=consent(purpose="other"))
    assert refused.status_code == 403
    listed = run.request("GET", "/v1/consents", "user:cleo").json()["consents"]
    assert [each["id"] for each in listed] == [given.json()["id"]]
    assert len(run.admin("GET", "/v1/consents?client=TM-1")["consents"]) == 2
    assert len(run.admin("GET", "/v1/consents?client=TM-1&purpose=other")["consents"]) == 1
    reason = {"reason": "She wrote to us."}
    hidden = run.request("POST", f"/v1/consents/{elsewhere}/withdraw", "user:cleo", json=reason)
    absent = run.request("POST", "/v1/consents/con_none/withdraw", "user:cleo", json=reason)
    assert (hidden.status_code, hidden.json()["detail"]) == (absent.status_code, absent.json()["detail"])
    assert hidden.status_code == 404
    path = f"/v1/consents/{given.json()['id']}/withdraw"
    assert run.request("POST", path, "user:cleo", json=reason).status_code == 200
    run.put_principal("user:cleo")
    assert run.request("GET", "/v1/consents", "user:cleo").status_code == 403


def test_nobody_keeps_consents_through_an_assistant_but_an_administrator_who_proves_it(run: Running) -> None:
    with_purpose(run)
    run.put_principal("assistant:bot", may_assert=True)
    refused = run.request("POST", "/v1/consents", "assistant:bot", acting_for="user:cleo", json=consent())
    proven = {"Muniment-Subject-Token": run.key("user:cleo")}
    through = run.request("POST", "/v1/consents", "assistant:bot", headers=proven, json=consent())
    assert (refused.status_code, through.status_code) == (403, 403)


def test_nobody_but_administrators_changes_the_registers_and_each_try_is_on_record(run: Running) -> None:
    founded(run)
    with_purpose(run)
    rule_id = run.admin("PUT", "/v1/transfers", rule("EU", "UK"))["id"]
    lay_down(run, "FR")
    attempts: list[tuple[str, str, Any]] = [
        ("PUT", "/v1/jurisdictions/DE", {"title": "Germany"}),
        ("DELETE", "/v1/jurisdictions/FR", None),
        ("PUT", "/v1/transfers", rule("EU", "US")),
        ("POST", f"/v1/transfers/{rule_id}/withdraw", {"reason": "x"}),
        ("PUT", "/v1/purposes/analytics", {"title": "Mine", "owner": "user:ana"}),
        ("DELETE", "/v1/purposes/analytics", None),
        ("POST", "/v1/consents", consent()),
        ("POST", "/v1/consents/con_x/withdraw", {"reason": "x"}),
        ("GET", "/v1/consents", None),
    ]
    run.put_principal("user:sunniva", groups=["group:auditors"])
    for method, path, body in attempts:
        for who in ("user:ana", "user:olga", "user:sunniva"):
            refused = run.request(method, path, who, json=body)
            assert (refused.status_code, refused.json()["type"]) == (403, "/problems/not-permitted"), (method, path)
            trace = run.request("GET", f"/v1/traces/{refused.json()['trace_id']}", "user:sunniva").json()
            assert (trace["kind"], trace["subject"], trace["request"]["path"]) == ("refusal", who, path)
    assert [each["id"] for each in run.admin("GET", "/v1/transfers")["transfers"]] == [rule_id]
    assert run.admin("GET", "/v1/purposes")["purposes"][0]["owner"] == "group:compliance"
    assert run.admin("GET", "/v1/consents") == {"consents": []}


def test_no_administrator_opens_anything_to_themselves_by_a_register(run: Running) -> None:
    founded(run)
    with_purpose(run)
    lay_down(run, "EU")
    run.put_principal("user:mallory", groups=["group:administrators"], jurisdictions=["CH"])
    bound = {"jurisdictions": ["EU"], "consents": ["client:TM-1"]}
    run.publish("user:olga", "deals", TEXT, uri="merger", **bound)
    soon = {"valid_from": "2990-01-01", "expires_at": FAR}
    for method, path, body in (
        ("PUT", "/v1/transfers", rule("EU", "CH")),
        ("PUT", "/v1/transfers", rule("EU", "CH", **soon)),
        ("PUT", "/v1/jurisdictions/CH", {"title": "Switzerland", "within": ["EU"]}),
        ("POST", "/v1/consents", consent(jurisdictions=["CH"])),
    ):
        refused = run.request(method, path, "user:mallory", json=body)
        assert (refused.status_code, "open something to yourself" in refused.text) == (403, True), refused.text
        assert run.found("user:mallory", QUESTION, purpose="analytics") == []
    for method, path, body in (
        ("PUT", "/v1/transfers", rule("EU", "UK")),
        ("PUT", "/v1/jurisdictions/UK", {"title": "United Kingdom", "within": ["EU"]}),
        ("POST", "/v1/consents", consent()),
        ("POST", "/v1/consents", consent(client="TM-2", jurisdictions=["CH"])),
    ):
        assert run.request(method, path, "user:mallory", json=body).status_code in (200, 201), path
    run.admin("PUT", "/v1/transfers", rule("EU", "CH"))
    assert run.found("user:mallory", QUESTION) == ["merger"]


def test_no_administrator_asks_less_of_a_purpose_of_their_own_or_makes_it_their_own(run: Running) -> None:
    run.put_principal("user:mallory", groups=["group:administrators"])
    strict = {"title": "Analytics", "description": "", "categories": ["pii"], "consent_required": True}
    run.admin("PUT", "/v1/purposes/analytics", strict)
    for eased in (
        {"consent_required": False},
        {"categories": None},
        {"categories": ["pii", "phi"]},
        {"owner": "user:mallory"},
        {"owner": "group:administrators"},
    ):
        refused = run.request("PUT", "/v1/purposes/analytics", "user:mallory", json={**strict, **eased})
        assert (refused.status_code, "open something to yourself" in refused.text) == (403, True), refused.text
    stricter = run.request("PUT", "/v1/purposes/analytics", "user:mallory", json={**strict, "categories": []})
    assert stricter.status_code == 200
    run.admin("PUT", "/v1/purposes/analytics", {**strict, "consent_required": False})


def test_every_change_of_the_registers_is_on_record(run: Running) -> None:
    with_purpose(run)
    lay_down(run, "EU")
    rule_id = run.admin("PUT", "/v1/transfers", rule("EU", "UK"))["id"]
    consent_id = run.admin("POST", "/v1/consents", consent())["id"]
    run.admin("POST", f"/v1/consents/{consent_id}/withdraw", {"reason": "She wrote to us."})
    run.admin("POST", f"/v1/transfers/{rule_id}/withdraw", {"reason": "Repealed."})
    run.admin("DELETE", "/v1/jurisdictions/EU")
    run.admin("DELETE", "/v1/purposes/analytics")
    made = [(each["request"]["what"], each["request"]["about"]) for each in changes(run)]
    wanted = [
        ("end-purpose", "analytics"),
        ("end-jurisdiction", "EU"),
        ("end-transfer", rule_id),
        ("withdraw-consent", consent_id),
        ("give-consent", consent_id),
        ("put-transfer", rule_id),
        ("put-jurisdiction", "EU"),
        ("put-purpose", "analytics"),
    ]
    assert [each for each in made if each in wanted] == wanted
