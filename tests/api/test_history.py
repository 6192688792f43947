"""What owners do with a document's history: compare, roll back, supersede, review; and what others see of it."""

from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from tests.running import Running

ONE = "# Leave\n\n## Notice\n\nGive notice a month ahead, in writing, to the office.\n\n## Pay\n\nPay ends then.\n"
TWO = "# Leave\n\n## Pay\n\nPay ends then.\n\n## Notice\n\nGive notice a year ahead, in writing, to the office.\n"


@pytest.fixture
def shelf(run: Running) -> Running:
    """Two collections of the same owner, read by all staff; a clerk who owns only the second."""
    run.put_principal("user:ana", clearance="restricted")
    run.put_principal("user:clerk")
    run.put_principal("user:bo")
    run.put_collection("rules", owners=["user:ana"], default_readers=["group:all-staff"])
    run.put_collection("notes", owners=["user:ana", "user:clerk"], default_readers=["group:all-staff"])
    return run


def post(run: Running, path: str, who: str = "user:ana", **body: Any) -> Response:
    return run.request("POST", path, who, json=body)


def got(run: Running, path: str, who: str = "user:bo") -> Any:
    response = run.request("GET", path, who)
    assert response.status_code == 200, response.text
    return response.json()


def _two_versions(run: Running) -> str:
    run.publish("user:ana", "rules", ONE, uri="leave", valid_from="2020-01-01", attributes={"region": "EU"})
    return run.publish("user:ana", "rules", TWO, uri="leave", valid_from="2024-01-01")


# -- Differences -------------------------------------------------------------------------------------------------------


def test_difference_is_told_by_section_with_exact_spans(shelf: Running) -> None:
    path = f"/v1/documents/{_two_versions(shelf)}"
    found = got(shelf, f"{path}/diff?from=1&to=2")
    (section,) = found["sections"]
    assert (section["change"], section["old"]["section"], found["unchanged"]) == ("moved", ["Leave", "Notice"], 2)
    (hunk,) = section["hunks"]
    assert (hunk["old"]["text"], hunk["new"]["text"]) == ("month", "year")
    for side, number in (("old", 1), ("new", 2)):
        text = got(shelf, f"{path}/versions/{number}/text")["text"]
        start, end = hunk[side]["span"]
        assert text[start:end] == hunk[side]["text"]
    assert got(shelf, f"{path}/diff?from_as_of=2021-01-01&to_as_of=2025-01-01") == found
    assert got(shelf, f"{path}/diff?from=2&to=2")["sections"] == []
    plain = shelf.request("GET", f"{path}/diff?from=1&to=2", "user:bo", headers={"Accept": "text/plain"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert "== Leave > Notice: moved and changed\nGive notice a [-month-]{+year+} ahead" in plain.text


def test_difference_of_what_may_not_both_be_read_is_absent(shelf: Running) -> None:
    path = f"/v1/documents/{_two_versions(shelf)}"
    shelf.publish("user:ana", "rules", "Secret.", uri="leave", valid_from="2090-01-01")
    for query in ("from=1&to=3", "from=3&to=1", "from=1&to=9", "from=1&to_as_of=2019-01-01"):
        assert shelf.request("GET", f"{path}/diff?{query}", "user:bo").status_code == 404, query
    assert got(shelf, f"{path}/diff?from=1&to=3", "user:ana")["new_version"] == 3
    for query in ("from=1", "to=1", "from=1&from_as_of=2020-01-01&to=2", "from=x&to=2"):
        assert shelf.request("GET", f"{path}/diff?{query}", "user:bo").status_code == 422, query
    shelf.request("PATCH", path, "user:ana", json={"label": {"level": "restricted"}})
    assert shelf.request("GET", f"{path}/diff?from=1&to=2", "user:bo").status_code == 404


# -- Rollback ----------------------------------------------------------------------------------------------------------


def test_rollback_publishes_the_bytes_of_then_as_the_next_version_from_now_on(shelf: Running) -> None:
    document = _two_versions(shelf)
    path = f"/v1/documents/{document}"
    accepted = post(shelf, f"{path}/rollback", to=1, reason="the second was wrong")
    assert (accepted.status_code, accepted.json()["state"]) == (202, "queued")
    assert accepted.headers["Location"] == f"/v1/jobs/{accepted.json()['job']['id']}"
    shelf.work()
    newest, second, first = got(shelf, f"{path}/versions")["versions"]
    assert (newest["version"], newest["state"], newest["rollback_of"], newest["valid_from"]) == (
        3,
        "current",
        1,
        newest["recorded_at"],
    )
    assert (newest["digest"], newest["attributes"]) == (first["digest"], {"region": ["EU"]})
    assert second["valid_to"] == newest["valid_from"]
    assert got(shelf, f"{path}?as_of=2025-01-01")["version"] == 2
    assert got(shelf, f"{path}/diff?from=1&to=3")["sections"] == []
    again = post(shelf, f"{path}/rollback", to=3, reason="nothing to do")
    assert (again.status_code, again.json()["state"], again.json()["version"]) == (200, "unchanged", {"id": 3})


def test_rollback_opens_nothing(shelf: Running) -> None:
    """What was open when it was put in is as closed as the newest version is when it comes back."""
    document = _two_versions(shelf)
    path = f"/v1/documents/{document}"
    label = {"level": "restricted", "categories": []}
    shelf.publish("user:ana", "rules", "Closed.", uri="leave", label=label, denied=["user:clerk"])
    assert got(shelf, f"{path}/versions/1")["label"]["level"] == "internal"
    assert post(shelf, f"{path}/rollback", to=1, reason="words of then").status_code == 202
    tightened = shelf.request("PATCH", path, "user:ana", json={"readers": ["user:ana"]})
    assert tightened.status_code == 200
    shelf.work()
    versions = got(shelf, f"{path}/versions", "user:ana")["versions"]
    assert (versions[0]["version"], versions[0]["label"], versions[0]["boundary"]) == (
        4,
        label,
        versions[1]["boundary"],
    )
    assert shelf.found("user:bo", "notice a month ahead") == []


def test_rollback_of_what_cannot_come_back_is_refused_with_the_reason(shelf: Running, tmp_path: Path) -> None:
    document = _two_versions(shelf)
    path = f"/v1/documents/{document}"
    assert post(shelf, f"{path}/rollback", to=9, reason="x").status_code == 404
    assert post(shelf, f"{path}/rollback", "user:bo", to=1, reason="x").status_code == 403
    assert post(shelf, f"{path}/rollback", to=1).status_code == 422
    assert post(shelf, f"{path}/rollback", to=1, reason="x").status_code == 202
    under_way = post(shelf, f"{path}/rollback", to=1, reason="x")
    assert (under_way.status_code, "under way" in under_way.json()["detail"]) == (409, True)
    shelf.work()
    digest = got(shelf, f"{path}/versions/2")["digest"].removeprefix("sha256:")
    (tmp_path / "blobs" / digest[:2] / digest).unlink()
    gone = post(shelf, f"{path}/rollback", to=2, reason="x")
    assert (gone.status_code, "no longer kept" in gone.json()["detail"]) == (409, True)
    post(shelf, f"{path}/withdraw", reason="wrong")
    withdrawn = post(shelf, f"{path}/rollback", to=1, reason="x")
    assert (withdrawn.status_code, "withdrawn" in withdrawn.json()["detail"]) == (409, True)


# -- Supersession ------------------------------------------------------------------------------------------------------

QUESTION = "How far ahead must a flight be booked?"


def _old_and_new(run: Running, **stated: Any) -> tuple[str, str]:
    old = run.publish("user:ana", "rules", "Book a flight 14 days ahead.", uri="old", valid_from="2020-01-01")
    text = "Book a flight 21 days ahead."
    return old, run.publish("user:ana", "rules", text, uri="new", **{"supersedes": ["old"], **stated})


def test_document_gives_way_where_its_successor_begins(shelf: Running) -> None:
    old, new = _old_and_new(shelf, valid_from="2024-01-01")
    told = got(shelf, f"/v1/documents/{old}")
    assert (told["state"], told["valid_to"], told["superseded_by"]) == ("superseded", "2024-01-01T00:00:00Z", new)
    assert got(shelf, f"/v1/documents/{new}")["superseded_by"] is None
    assert [each["uri"] for each in got(shelf, "/v1/documents")["documents"]] == ["new"]
    assert [each["uri"] for each in got(shelf, "/v1/documents?as_of=2022-01-01")["documents"]] == ["old"]
    assert shelf.found("user:bo", QUESTION) == ["new"]
    assert shelf.found("user:bo", QUESTION, as_of="2022-01-01") == ["old"]
    periods = got(shelf, f"/v1/documents/{old}/versions/1/periods", "user:ana")["periods"]
    assert [each["valid_to"] for each in periods] == [None, "2024-01-01T00:00:00Z"]
    assert shelf.found("user:bo", QUESTION, known_at=periods[0]["recorded_from"]) == ["old"]


def test_successor_is_named_to_those_who_may_see_it_and_not_before_it_begins(shelf: Running) -> None:
    old, new = _old_and_new(shelf, valid_from="2024-01-01", readers=["user:ana"])
    assert got(shelf, f"/v1/documents/{old}")["superseded_by"] is None
    assert got(shelf, f"/v1/documents/{old}", "user:ana")["superseded_by"] == new
    later, ahead = (
        shelf.publish("user:ana", "rules", "Trains too.", uri="trains"),
        shelf.publish("user:ana", "rules", "No trains.", uri="none", valid_from="2090-01-01", supersedes=["trains"]),
    )
    told = got(shelf, f"/v1/documents/{later}")
    assert (told["state"], told["valid_to"], told["superseded_by"]) == ("current", None, None)
    owned = got(shelf, f"/v1/documents/{later}", "user:ana")
    assert (owned["valid_to"], owned["superseded_by"]) == ("2090-01-01T00:00:00Z", ahead)
    assert shelf.retrieve("user:bo", "trains")["passages"][0]["citation"]["valid_to"] is None


def test_only_what_one_handles_is_superseded(shelf: Running) -> None:
    hidden = shelf.publish("user:ana", "notes", "Secret.", uri="hidden", label={"level": "restricted"})
    foreign = shelf.publish("user:ana", "rules", "Foreign.", uri="foreign")
    own = shelf.publish("user:clerk", "notes", "Mine.", uri="mine")
    refusals = []
    for name in ("hidden", hidden, foreign, "doc_" + "a" * 26, "nothing", "new"):
        response = shelf.submit("user:clerk", "notes", "New.", uri="new", supersedes=["mine", name])
        assert response.status_code == 422, name
        refusals.append((response.json()["detail"], response.json()["errors"]))
    assert all(each == refusals[0] for each in refusals)
    assert refusals[0][1][0]["pointer"] == "/metadata/supersedes/1"
    for name in (hidden, foreign, "doc_" + "a" * 26, own):
        refused = post(shelf, f"/v1/documents/{own}/supersede", "user:clerk", by=name)
        assert refused.status_code == 422, name
        assert "by its id" in refused.json()["errors"][0]["detail"]
    assert post(shelf, f"/v1/documents/{hidden}/supersede", "user:clerk", by=own).status_code == 404
    assert post(shelf, f"/v1/documents/{foreign}/supersede", "user:clerk", by=own).status_code == 403


def test_document_that_is_there_gives_way_afterwards_across_collections(shelf: Running) -> None:
    old = shelf.publish("user:ana", "rules", "Book a flight 14 days ahead.", uri="old", valid_from="2020-01-01")
    new = shelf.publish("user:ana", "notes", "Book a flight 21 days ahead.", uri="new", valid_from="2023-01-01")
    answer = post(shelf, f"/v1/documents/{old}/supersede", by=new)
    assert (answer.status_code, answer.json()) == (
        200,
        {"id": old, "superseded_by": new, "begins": "2023-01-01T00:00:00Z"},
    )
    assert shelf.found("user:bo", QUESTION) == ["new"]
    assert shelf.found("user:bo", QUESTION, as_of="2022-01-01") == ["old"]
    circle = post(shelf, f"/v1/documents/{new}/supersede", by=old)
    assert circle.status_code == 409
    unpublished = shelf.submit("user:ana", "rules", "Later.", uri="later").json()["document"]["id"]
    assert post(shelf, f"/v1/documents/{new}/supersede", by=unpublished).status_code == 409
    younger = shelf.publish("user:ana", "rules", "Book a bus.", uri="bus", valid_from="2025-01-01")
    begins = post(shelf, f"/v1/documents/{younger}/supersede", by=new).json()["begins"]
    assert begins > "2026"
    assert got(shelf, f"/v1/documents/{younger}?as_of=2025-06-01")["version"] == 1


def test_withdrawing_a_successor_says_what_would_bring_the_old_back(shelf: Running) -> None:
    old, new = _old_and_new(shelf, valid_from="2024-01-01")
    (hint,) = post(shelf, f"/v1/documents/{new}/withdraw", reason="wrong").json()["still_superseded"]
    assert (hint["document_id"], hint["uri"]) == (old, "old")
    assert shelf.found("user:bo", QUESTION) == []
    assert got(shelf, f"/v1/documents/{old}")["state"] == "superseded"
    path = f"/v1/documents/{old}/versions/1"
    assert path in hint["how"]
    revived = shelf.request("PATCH", path, "user:ana", json={"valid_to": None, "reason": "its successor was wrong"})
    assert revived.status_code == 200
    told = got(shelf, f"/v1/documents/{old}")
    assert (told["state"], told["superseded_by"]) == ("current", None)
    assert shelf.found("user:bo", QUESTION) == ["old"]


def test_submission_after_its_document_was_superseded_is_in_force_and_one_before_is_not(shelf: Running) -> None:
    old, new = _old_and_new(shelf, valid_from="2024-01-01")
    text = "Book a flight 7 days ahead."
    shelf.publish("user:ana", "rules", text, uri="old")
    assert got(shelf, f"/v1/documents/{old}")["superseded_by"] is None
    assert sorted(shelf.found("user:bo", QUESTION)) == ["new", "old"]
    waiting = shelf.submit("user:ana", "rules", "Book a flight a day ahead.", uri="old")
    assert waiting.status_code == 202
    assert post(shelf, f"/v1/documents/{old}/supersede", by=new).status_code == 200
    shelf.work()
    told = got(shelf, f"/v1/documents/{old}", "user:ana")
    assert (told["version"], told["state"], told["superseded_by"]) == (3, "superseded", new)
    assert shelf.found("user:bo", QUESTION) == ["new"]


def test_document_gives_way_earlier_when_its_successor_is_corrected_to_begin_earlier(shelf: Running) -> None:
    old, new = _old_and_new(shelf, valid_from="2024-01-01")
    body = {"valid_from": "2022-01-01", "reason": "signed before"}
    assert shelf.request("PATCH", f"/v1/documents/{new}/versions/1", "user:ana", json=body).status_code == 200
    assert got(shelf, f"/v1/documents/{old}")["valid_to"] == "2022-01-01T00:00:00Z"
    assert shelf.found("user:bo", QUESTION, as_of="2023-01-01") == ["new"]


# -- Reviews -----------------------------------------------------------------------------------------------------------


def test_what_is_past_its_review_is_flagged_and_listed_until_it_is_reviewed(shelf: Running) -> None:
    stale = shelf.publish("user:ana", "rules", "Park in the yard.", uri="parking", review_by="2025-01-01")
    shelf.publish("user:ana", "rules", "Lunch is free.", uri="lunch", review_by="2090-01-01")
    (passage,) = shelf.retrieve("user:bo", "Where to park?", top_k=1)["passages"]
    assert (passage["citation"]["uri"], passage["flags"]) == ("parking", ["stale"])
    assert shelf.retrieve("user:bo", "Is lunch free?", top_k=1)["passages"][0]["flags"] == []
    (due,) = got(shelf, "/v1/collections/rules/reviews?overdue=true", "user:ana")["documents"]
    assert (due["document_id"], due["overdue"], due["ask"], due["last_review"]) == (stale, True, ["user:ana"], None)
    assert len(got(shelf, "/v1/collections/rules/reviews?within_days=36500", "user:ana")["documents"]) == 2
    answer = post(shelf, f"/v1/documents/{stale}/reviewed", next="2089-01-01", note="still so")
    assert (answer.status_code, answer.json()["review_by"]) == (200, "2089-01-01T00:00:00Z")
    assert got(shelf, "/v1/collections/rules/reviews", "user:ana")["documents"] == []
    assert shelf.retrieve("user:bo", "Where to park?", top_k=1)["passages"][0]["flags"] == []
    (review,) = got(shelf, f"/v1/documents/{stale}/reviews", "user:ana")["reviews"]
    assert (review["by"], review["note"], review["next"], review["version"]) == (
        "user:ana",
        "still so",
        "2089-01-01T00:00:00Z",
        1,
    )
    first = got(shelf, "/v1/collections/rules/reviews?within_days=36500&limit=1", "user:ana")
    (rest,) = got(shelf, f"/v1/collections/rules/reviews?within_days=36500&cursor={first['cursor']}", "user:ana")[
        "documents"
    ]
    assert ([each["uri"] for each in first["documents"]], rest["uri"]) == (["parking"], "lunch")
    assert first["documents"][0]["last_review"] == review


def test_review_date_follows_from_the_collections_term(shelf: Running) -> None:
    shelf.put_collection("rules", owners=["user:ana"], default_readers=["group:all-staff"], review_after_days=10)
    document = shelf.publish("user:ana", "rules", "Park in the yard.", uri="parking", valid_from="2020-01-01")
    told = got(shelf, f"/v1/documents/{document}")
    assert told["review_by"] > told["recorded_at"]
    (due,) = got(shelf, "/v1/collections/rules/reviews?within_days=11", "user:ana")["documents"]
    assert due["overdue"] is False
    assert got(shelf, "/v1/collections/rules/reviews?within_days=9", "user:ana")["documents"] == []
    again = post(shelf, f"/v1/documents/{document}/reviewed").json()["review_by"]
    assert again > told["review_by"]
    assert post(shelf, f"/v1/documents/{document}/reviewed", next=None).json()["review_by"] is None
    assert post(shelf, f"/v1/documents/{document}/reviewed", next="2020-01-01").status_code == 422
    assert [each["next"] for each in got(shelf, f"/v1/documents/{document}/reviews", "user:ana")["reviews"]] == [
        None,
        again,
    ]


def test_reviews_are_the_owners_and_only_of_what_they_may_read(shelf: Running) -> None:
    secret = {"uri": "secret", "label": {"level": "restricted"}, "review_by": "2025-01-01"}
    hidden = shelf.publish("user:ana", "notes", "Secret.", **secret)
    path = "/v1/collections/notes/reviews"
    assert [each["uri"] for each in got(shelf, path, "user:ana")["documents"]] == ["secret"]
    assert got(shelf, path, "user:clerk") == {"documents": [], "cursor": None}
    assert shelf.request("GET", path, "user:bo").status_code == 404
    assert shelf.request("GET", f"/v1/documents/{hidden}/reviews", "user:clerk").status_code == 404
    assert post(shelf, f"/v1/documents/{hidden}/reviewed", "user:clerk").status_code == 404
    shown = shelf.publish("user:ana", "notes", "Shown.", uri="shown")
    assert shelf.request("GET", path, "user:bo").status_code == 403
    assert post(shelf, f"/v1/documents/{shown}/reviewed", "user:bo").status_code == 403
