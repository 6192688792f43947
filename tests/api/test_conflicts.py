"""Passages that contradict each other are flagged, and what is past its review date; from what is shown alone."""

from typing import Any

import pytest

from app.adapters.cedar_policy import default_policies
from app.domain.access import PrincipalRef
from app.domain.instants import parse_instant
from app.store import registry
from app.store.database import recording
from tests.running import Running

QUESTION = "How long do I have to file a claim?"
HANDBOOK = "# Claims\n\nA member rings us first. Claims must be filed within 30 days of the loss."
LEAFLET = "# Claims\n\nPlease take photos. A claim has to be filed within 60 days of the loss."


@pytest.fixture
def desk(run: Running) -> Running:
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="confidential", categories=["pii"])
    run.put_collection("claims", owners=["user:olga"], default_readers=["user:ana"])
    run.put_collection("leaflets", owners=["user:olga"], default_readers=["user:ana"])
    run.put_collection("board", owners=["user:olga"])
    return run


def check(answer: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in answer["checks"] if each["check"] == name)
    return found


def test_two_documents_with_different_limits_are_flagged_with_exact_quotes(desk: Running) -> None:
    one = desk.publish("user:olga", "claims", HANDBOOK, uri="handbook", valid_from="2024-01-01T00:00:00Z")
    other = desk.publish("user:olga", "leaflets", LEAFLET, uri="leaflet", valid_from="2025-01-01T00:00:00Z")
    desk.publish("user:olga", "claims", "# Parking\n\nPark 50 metres off to file a claim.", uri="parking")
    answer = desk.retrieve("user:ana", QUESTION)
    (found,) = answer["conflicts"]
    passages = {each["rank"]: each for each in answer["passages"]}
    said = {one: "Claims must be filed within 30 days of the loss.", other: "A claim has to be filed within 60 days of"}
    for rank, (start, end), quote in zip(found["passages"], found["spans"], found["quotes"], strict=True):
        citation = passages[rank]["citation"]
        assert quote.startswith(said[citation["document_id"]])
        whole = desk.request("GET", f"/v1/documents/{citation['document_id']}/text", "user:ana").json()["text"]
        assert whole[start:end] == quote
    assert found["kind"] == "limit"
    assert sorted(found["says"]) == ["30 days", "60 days"]
    newer = next(rank for rank, each in passages.items() if each["citation"]["document_id"] == other)
    assert (found["preferred"], found["because"]) == (newer, "newer")
    flagged = [rank for rank, each in passages.items() if "conflict" in each["flags"]]
    assert flagged == found["passages"]
    told = check(answer, "conflict")
    numbers = " and ".join(map(str, found["passages"]))
    assert told["outcome"] == "warned"
    assert told["reason"] == (f"Passages {numbers} contradict each other in a limit; passage {newer} is the newer.")
    trace = desk.request("GET", f"/v1/traces/{answer['trace_id']}", "user:ana").json()
    kept = {name: found[name] for name in ("passages", "spans", "kind", "preferred", "because")}
    assert trace["response"]["conflicts"] == [kept]


def test_system_of_record_comes_before_the_newer(desk: Running) -> None:
    desk.put_collection("claims", owners=["user:olga"], default_readers=["user:ana"], system_of_record=True)
    one = desk.publish("user:olga", "claims", HANDBOOK, uri="handbook", valid_from="2024-01-01T00:00:00Z")
    desk.publish("user:olga", "leaflets", LEAFLET, uri="leaflet", valid_from="2025-01-01T00:00:00Z")
    answer = desk.retrieve("user:ana", QUESTION)
    (found,) = answer["conflicts"]
    record = next(each["rank"] for each in answer["passages"] if each["citation"]["document_id"] == one)
    assert (found["preferred"], found["because"]) == (record, "system-of-record")


def test_what_one_document_says_twice_and_what_is_said_of_another_place_is_no_conflict(desk: Running) -> None:
    desk.publish("user:olga", "claims", HANDBOOK, uri="eu", jurisdictions=["EU"])
    desk.publish("user:olga", "leaflets", LEAFLET, uri="us", jurisdictions=["US"])
    desk.put_principal("user:ana", clearance="confidential", jurisdictions=["EU", "US"])
    answer = desk.retrieve("user:ana", QUESTION)
    assert len(answer["passages"]) == 2
    assert answer["conflicts"] == []
    assert all(each["flags"] == [] for each in answer["passages"])
    assert check(answer, "conflict") == {
        "check": "conflict",
        "outcome": "pass",
        "reason": "No passage was found to contradict another.",
        "policies": [],
        "code": None,
    }


def test_hidden_contradiction_changes_nothing(desk: Running) -> None:
    desk.publish("user:olga", "claims", HANDBOOK, uri="handbook")
    before = desk.retrieve("user:ana", QUESTION)
    desk.publish("user:olga", "board", LEAFLET, uri="leaflet")
    after = desk.retrieve("user:ana", QUESTION)
    for answer in (before, after):
        del answer["trace_id"], answer["usage"]["timings_ms"]
        answer["checks"] = [each for each in answer["checks"] if each["check"] != "lifecycle"]  # names the instant
    assert after == before
    assert before["conflicts"] == []
    assert len(desk.retrieve("user:olga", QUESTION)["conflicts"]) == 1


def test_conflict_about_what_is_blacked_out_is_not_told(desk: Running) -> None:
    """The sentences contradict each other in a limit, and what of each is blacked out stands beside it."""
    for name, days in (("one", 30), ("two", 60)):
        text = f"# Claims\n\nClaims to {name}@example.org must be filed within {days} days."
        desk.publish("user:olga", "claims", text.replace(name, "desk"), uri=name)
    assert len(desk.retrieve("user:ana", QUESTION)["conflicts"]) == 1
    policies = default_policies().replace('@id("readers-see")', '@id("readers-see")\n@obligation("redact:pii")')
    with recording(desk.ports.engine, desk.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))
    answer = desk.retrieve("user:ana", QUESTION)
    assert [len(each["redactions"]) for each in answer["passages"]] == [1, 1]
    assert answer["conflicts"] == []
    assert check(answer, "conflict")["outcome"] == "pass"
    assert "desk@example.org" not in str(answer)
    assert len(desk.retrieve("user:olga", QUESTION)["conflicts"]) == 1, "her permit obliges to nothing"


def test_what_is_past_its_review_date_at_the_instant_asked_for_is_warned_of(desk: Running) -> None:
    desk.publish(
        "user:olga",
        "claims",
        HANDBOOK,
        uri="handbook",
        valid_from="2024-01-01T00:00:00Z",
        review_by="2025-01-01T00:00:00Z",
    )
    now, before = (desk.retrieve("user:ana", QUESTION, **more) for more in ({}, {"as_of": "2024-06-01T00:00:00Z"}))
    assert parse_instant("2025-01-01T00:00:00Z") < desk.ports.now()
    assert check(now, "freshness")["outcome"] == "warned"
    assert check(now, "freshness")["reason"] == (
        "Past the review date: passage 1. Ask the owner whether it still holds."
    )
    assert "stale" in now["passages"][0]["flags"]
    assert check(before, "freshness")["outcome"] == "pass"
    assert before["passages"][0]["flags"] == []
