"""Two times through every way of reading: what was in force then, and what was known of it then."""

from typing import Any

import pytest

from app.domain.evidence import PERIODS_PER_VERSION
from tests.running import Running


@pytest.fixture
def rules(run: Running) -> Running:
    """A collection that all staff reads, an owner and a reader."""
    run.put_principal("user:ana")
    run.put_principal("user:bo")
    run.put_collection("rules", owners=["user:ana"], default_readers=["group:all-staff"])
    return run


def got(run: Running, path: str, who: str = "user:bo") -> Any:
    response = run.request("GET", path, who)
    assert response.status_code == 200, response.text
    return response.json()


def status(run: Running, path: str, who: str = "user:bo") -> int:
    return run.request("GET", path, who).status_code


def _notice(run: Running) -> str:
    """Three versions: one month from 2020 on, two from 2022 on, three from 2024 on."""
    document = ""
    for year, months in ((2020, "one month"), (2022, "two months"), (2024, "three months")):
        document = run.publish(
            "user:ana", "rules", f"The notice period is {months}.", uri="notice", valid_from=f"{year}-01-01"
        )
    return document


def test_what_was_in_force_then_is_listed_got_and_read(rules: Running) -> None:
    document = _notice(rules)
    rules.publish("user:ana", "rules", "Lunch is free.", uri="lunch", valid_from="2023-01-01")
    seen = {}
    for year in (2019, 2021, 2023, 2025):
        at = f"as_of={year}-06-01"
        listed = [(each["uri"], each["version"]) for each in got(rules, f"/v1/documents?{at}")["documents"]]
        response = rules.request("GET", f"/v1/documents/{document}?{at}", "user:bo")
        text = rules.request("GET", f"/v1/documents/{document}/text?{at}", "user:bo")
        versions = rules.request("GET", f"/v1/documents/{document}/versions?{at}", "user:bo")
        seen[year] = (
            listed,
            response.json().get("version"),
            text.json().get("text", "").removeprefix("The notice period is "),
            [(each["version"], each["state"]) for each in versions.json().get("versions", [])],
        )
    assert seen == {
        2019: ([], None, "", []),
        2021: ([("notice", 1)], 1, "one month.", [(1, "current")]),
        2023: ([("lunch", 1), ("notice", 2)], 2, "two months.", [(2, "current"), (1, "superseded")]),
        2025: (
            [("lunch", 1), ("notice", 3)],
            3,
            "three months.",
            [(3, "current"), (2, "superseded"), (1, "superseded")],
        ),
    }
    for tail in ("", "/text", "/content"):
        path = f"/v1/documents/{document}/versions/2{tail}"
        assert (status(rules, f"{path}?as_of=2021-06-01"), status(rules, f"{path}?as_of=2022-06-01")) == (404, 200)


def test_what_was_known_then_is_told_after_corrections(rules: Running) -> None:
    document = _notice(rules)
    known = got(rules, f"/v1/documents/{document}")["recorded_at"]
    path = f"/v1/documents/{document}"
    body = {"valid_from": "2021-01-01", "reason": "the second was signed earlier"}
    corrected = rules.request("PATCH", f"{path}/versions/2", "user:ana", json=body)
    assert corrected.status_code == 200, corrected.text
    assert [(each["version"], each["valid_from"], each["valid_to"]) for each in corrected.json()["versions"]] == [
        (1, "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
        (2, "2021-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        (3, "2024-01-01T00:00:00Z", None),
    ]
    assert got(rules, f"{path}?as_of=2021-06-01")["version"] == 2
    assert got(rules, f"{path}?as_of=2021-06-01&known_at={known}")["version"] == 1
    assert got(rules, f"{path}/text?as_of=2021-06-01&known_at={known}")["text"].endswith("one month.")
    ends = [each["valid_to"] for each in got(rules, f"{path}/versions?known_at={known}")["versions"]]
    assert ends == [None, "2024-01-01T00:00:00Z", "2022-01-01T00:00:00Z"]
    listed = got(rules, f"/v1/documents?as_of=2021-06-01&known_at={known}")["documents"]
    assert [each["version"] for each in listed] == [1]
    for tail in ("", "/versions", "/versions/1", "/text", "/versions/1/text", "/diff?from=1&to=2"):
        joint = "&" if "?" in tail else "?"
        assert status(rules, f"{path}{tail}{joint}known_at=2019-01-01") == 404, tail
    assert got(rules, "/v1/documents?known_at=2019-01-01")["documents"] == []


def test_every_period_is_kept_with_who_recorded_it_and_why_for_owners(rules: Running) -> None:
    document = _notice(rules)
    path = f"/v1/documents/{document}/versions/1"
    body = {"valid_to": "2021-06-01", "review_by": "2021-03-01", "reason": "it ended early"}
    assert rules.request("PATCH", path, "user:ana", json=body).status_code == 200
    told = got(rules, f"{path}/periods", "user:ana")["periods"]
    assert [(each["ordinal"], each["valid_to"], each["review_by"], each["reason"]) for each in told] == [
        (0, None, None, None),
        (1, "2022-01-01T00:00:00Z", None, None),
        (2, "2021-06-01T00:00:00Z", "2021-03-01T00:00:00Z", "it ended early"),
    ]
    assert {each["recorded_by"] for each in told} == {"user:ana"}
    assert [each["recorded_to"] for each in told] == [told[1]["recorded_from"], told[2]["recorded_from"], None]
    assert status(rules, f"{path}/periods") == 403
    assert rules.request("PATCH", path, "user:bo", json=body).status_code == 403
    assert status(rules, f"/v1/documents/{document}/versions/9/periods", "user:ana") == 404
    assert rules.request("PATCH", f"/v1/documents/{document}/versions/9", "user:ana", json=body).status_code == 404


def test_correction_leaves_gaps_and_never_takes_all_of_a_later_version(rules: Running) -> None:
    document = _notice(rules)
    path = f"/v1/documents/{document}"
    refused = rules.request("PATCH", f"{path}/versions/1", "user:ana", json={"valid_to": None, "reason": "x"})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    assert "Version 3" in refused.json()["detail"]
    before = rules.request("PATCH", f"{path}/versions/1", "user:ana", json={"valid_to": "2019-01-01", "reason": "x"})
    assert (before.status_code, before.json()["errors"][0]["pointer"]) == (422, "/valid_to")
    ended = rules.request("PATCH", f"{path}/versions/2", "user:ana", json={"valid_to": "2023-01-01", "reason": "x"})
    assert ended.status_code == 200
    assert status(rules, f"{path}?as_of=2023-06-01") == 404
    assert rules.found("user:bo", "How long is the notice period?", as_of="2023-06-01") == []
    longer = rules.request("PATCH", f"{path}/versions/1", "user:ana", json={"valid_to": "2022-06-01", "reason": "x"})
    assert longer.json()["versions"][1]["valid_from"] == "2022-06-01T00:00:00Z"
    assert got(rules, f"{path}?as_of=2022-03-01")["version"] == 1


def test_nothing_is_corrected_without_a_reason_or_a_time(rules: Running) -> None:
    path = f"/v1/documents/{_notice(rules)}/versions/1"
    for body in ({"valid_to": "2021-01-01"}, {"reason": "x"}, {"valid_from": None, "reason": "x"}):
        assert rules.request("PATCH", path, "user:ana", json=body).status_code == 422
    for query in ("as_of=yesterday", "known_at=1767225600", "as_of=2026-01-01T00:00:00", "as_of="):
        assert status(rules, f"/v1/documents?{query}") == 422


def test_embargo_is_passed_neither_by_what_was_known_nor_by_an_instant_ahead(rules: Running) -> None:
    document = _notice(rules)
    path = f"/v1/documents/{document}"
    known = got(rules, path)["recorded_at"]
    rules.publish("user:ana", "rules", "From 2090 on, none.", uri="notice", valid_from="2090-01-01")
    held = {"valid_from": "2091-01-01", "reason": "not yet"}
    assert rules.request("PATCH", f"{path}/versions/3", "user:ana", json={**held, "valid_to": None}).status_code == 200
    for query in (f"known_at={known}", f"as_of=2025-01-01&known_at={known}", "as_of=2090-06-01", "as_of=2091-06-01"):
        assert status(rules, f"{path}?{query}") == 404, query
        assert status(rules, f"{path}/text?{query}") == 404, query
        assert got(rules, f"/v1/documents?{query}")["documents"] == [], query
        numbers = [each["version"] for each in _listed(rules, f"{path}/versions?{query}")]
        assert not {3, 4} & set(numbers), query
    assert status(rules, f"{path}/diff?from=2&to=3&known_at={known}") == 404
    assert got(rules, f"{path}?as_of=2091-06-01", "user:ana")["version"] == 3
    ends = {each["version"]: each["valid_to"] for each in _listed(rules, f"{path}/versions")}
    assert ends == {1: "2022-01-01T00:00:00Z"}  # the second ended, and nothing has begun in its place


def _listed(run: Running, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.request("GET", path, "user:bo").json().get("versions", [])
    return found


def test_end_that_a_version_under_embargo_set_is_not_shown(rules: Running) -> None:
    """Neither one of a version that was published later, nor of an earlier one that was corrected to begin then."""
    document = _notice(rules)
    path = f"/v1/documents/{document}"
    again = {"valid_from": "2090-01-01", "valid_to": None, "reason": "it will hold again"}
    assert rules.request("PATCH", f"{path}/versions/1", "user:ana", json=again).status_code == 200
    assert got(rules, path, "user:ana")["valid_to"] == "2090-01-01T00:00:00Z"
    assert got(rules, path)["valid_to"] is None
    assert rules.retrieve("user:bo", "notice period")["passages"][0]["citation"]["valid_to"] is None


def test_expired_version_stays_its_owners_when_a_successor_is_under_embargo(rules: Running) -> None:
    """Until the successor begins, nothing has taken its place."""
    document = rules.publish("user:ana", "rules", "Wear masks.", uri="masks", valid_from="2020-01-01")
    citation = rules.retrieve("user:bo", "masks")["passages"][0]["citation"]["id"]
    ended = {"valid_to": "2023-01-01"}
    assert rules.request("PATCH", f"/v1/documents/{document}", "user:ana", json=ended).status_code == 200
    assert status(rules, f"/v1/documents/{document}") == 404
    rules.publish("user:ana", "rules", "Wear hats.", uri="masks", valid_from="2090-01-01")
    assert status(rules, f"/v1/documents/{document}") == 404
    assert status(rules, f"/v1/citations/{citation}") == 404
    assert got(rules, "/v1/documents?state=superseded")["documents"] == []
    assert got(rules, f"/v1/documents/{document}?as_of=2022-01-01")["version"] == 1
    assert got(rules, f"/v1/citations/{citation}", "user:ana")["source"]["state"] == "expired"


def test_reach_is_todays_whatever_instant_is_asked_for(rules: Running) -> None:
    document = _notice(rules)
    path = f"/v1/documents/{document}"
    known = got(rules, path)["recorded_at"]
    assert got(rules, f"{path}?known_at={known}")["version"] == 3
    closed = {"readers": ["user:ana"]}
    assert rules.request("PATCH", path, "user:ana", json=closed).status_code == 200
    for query in ("", f"?known_at={known}", "?as_of=2021-01-01", f"?as_of=2021-01-01&known_at={known}"):
        for tail in ("", "/text", "/versions", "/versions/1/text"):
            assert status(rules, f"{path}{tail}{query}") == 404
        assert got(rules, f"/v1/documents{query}")["documents"] == []


def test_version_that_cannot_be_ended_once_more_fails_its_successor_alone(rules: Running) -> None:
    """Its periods are used up: what would supersede it fails with the reason, and all else is published."""
    document = rules.publish("user:ana", "rules", "Wear masks.", uri="masks", valid_from="2020-01-01")
    with rules.ports.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE periods SET ordinal = {PERIODS_PER_VERSION - 1}")
    failing = rules.submit("user:ana", "rules", "Wear hats.", uri="masks", valid_from="2024-01-01").json()["job"]["id"]
    rules.publish("user:ana", "rules", "Lunch is free.", uri="lunch")
    job = got(rules, f"/v1/jobs/{failing}", "user:ana")
    assert (job["state"], job["problem"]["type"]) == ("failed", "/problems/conflict")
    assert [each["uri"] for each in got(rules, "/v1/documents")["documents"]] == ["lunch", "masks"]
    refused = rules.request("PATCH", f"/v1/documents/{document}", "user:ana", json={"valid_to": "2030-01-01"})
    assert refused.status_code == 409
    assert got(rules, f"/v1/documents/{document}")["valid_to"] is None


def test_versions_put_in_in_any_order_read_as_if_in_order(rules: Running) -> None:
    """Backwards, with a gap and a document that was deleted and came back."""
    spans = [
        ("2024-01-01", None),
        ("2022-01-01", "2023-01-01"),
        ("2021-01-01", "2022-01-01"),
        ("2020-01-01", "2021-01-01"),
    ]
    document = ""
    for begins, ends in spans:
        text = f"Rule of {begins[:4]}."
        document = rules.publish("user:ana", "rules", text, uri="rule", valid_from=begins, valid_to=ends)
    path = f"/v1/documents/{document}"
    then = {
        year: rules.request("GET", f"{path}/text?as_of={year}-06-01", "user:bo").json().get("text")
        for year in range(2019, 2026)
    }
    assert then == {
        2019: None,
        2020: "Rule of 2020.",
        2021: "Rule of 2021.",
        2022: "Rule of 2022.",
        2023: None,
        2024: "Rule of 2024.",
        2025: "Rule of 2024.",
    }
    states = {each["version"]: each["state"] for each in got(rules, f"{path}/versions")["versions"]}
    assert states == {1: "current", 2: "superseded", 3: "superseded", 4: "superseded"}
