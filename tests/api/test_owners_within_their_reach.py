"""Who curates a collection changes only what it may read: no way round clearance, category, wall or jurisdiction."""

import pytest

from tests.running import Running

SECRET = "The merger with Castellan closes in March."


def _founded(run: Running) -> None:
    run.put_principal("group:owners")
    run.put_principal(
        "user:boss", groups=["group:owners"], clearance="restricted", categories=["pii"], jurisdictions=["EU"]
    )
    run.put_principal("user:clerk", groups=["group:owners"])
    run.put_principal("assistant:bot", may_assert=True, clearance="public")
    run.put_collection("deals", owners=["group:owners"])


@pytest.mark.parametrize(
    "stated",
    [
        {"label": {"level": "restricted"}},
        {"label": {"level": "internal", "categories": ["pii"]}},
        {"denied": ["user:clerk"]},
        {"jurisdictions": ["EU"]},
    ],
    ids=["clearance", "category", "wall", "jurisdiction"],
)
def test_an_owner_who_may_not_read_a_document_neither_opens_nor_replaces_it(
    run: Running, stated: dict[str, object]
) -> None:
    _founded(run)
    document = run.publish("user:boss", "deals", SECRET, uri="merger", **stated)
    body = {"label": {"level": "public"}, "denied": [], "jurisdictions": [], "readers": ["group:all-staff"]}
    body["reason"] = "The merger is announced."
    assert run.request("PATCH", f"/v1/documents/{document}", "user:clerk", json=body).status_code == 404
    withdrawn = run.request("POST", f"/v1/documents/{document}/withdraw", "user:clerk", json={"reason": "x"})
    assert withdrawn.status_code == 404
    again = run.submit("user:clerk", "deals", SECRET, uri="merger", **stated)
    assert again.status_code == 403
    assert document not in again.text
    assert run.found("user:clerk", "When does the merger close?") == []
    assert run.found("user:boss", "When does the merger close?") == ["merger"]
    assert run.request("PATCH", f"/v1/documents/{document}", "user:boss", json=body).status_code == 200
    assert run.found("user:clerk", "When does the merger close?") == ["merger"]


def test_an_owner_may_amend_what_is_bound_to_a_purpose(run: Running) -> None:
    _founded(run)
    run.put_purpose("audit")
    document = run.publish("user:boss", "deals", SECRET, uri="merger", purposes=["audit"])
    body = {"label": {"level": "public"}, "reason": "It is announced."}
    response = run.request("PATCH", f"/v1/documents/{document}", "user:boss", json=body)
    assert response.status_code == 200


def test_an_assistant_on_its_own_word_releases_nothing_above_its_ceiling(run: Running) -> None:
    _founded(run)
    document = run.publish("user:boss", "deals", SECRET, uri="merger", label={"level": "restricted"})
    body = {"label": {"level": "public"}, "readers": ["assistant:bot"], "reason": "x"}
    released = run.request("PATCH", f"/v1/documents/{document}", "assistant:bot", acting_for="user:boss", json=body)
    assert released.status_code == 404
    assert run.found("assistant:bot", "When does the merger close?") == []


def test_an_embargo_put_on_later_is_not_passed_by_asking_what_was_known_before(run: Running) -> None:
    _founded(run)
    run.put_principal("user:ana")
    document = run.publish("user:boss", "deals", SECRET, uri="merger", readers=["group:all-staff"])
    known = run.retrieve("user:ana", "merger")["passages"][0]["citation"]["recorded_at"]
    assert run.found("user:ana", "merger", known_at=known, as_of=known) == ["merger"]
    run.request("PATCH", f"/v1/documents/{document}", "user:boss", json={"valid_from": "2090-01-01"})
    assert run.found("user:ana", "merger", known_at=known, as_of=known) == []
    assert run.found("user:boss", "merger", known_at=known, as_of=known) == ["merger"]


def test_a_successor_under_embargo_does_not_show_through(run: Running) -> None:
    _founded(run)
    run.put_principal("user:ana")
    document = run.publish("user:boss", "deals", SECRET, uri="merger", readers=["group:all-staff"])
    run.publish(
        "user:boss", "deals", "It closes in May.", uri="merger", readers=["group:all-staff"], valid_from="2090-01-01"
    )
    assert run.request("GET", f"/v1/documents/{document}", "user:ana").json()["valid_to"] is None
    assert run.retrieve("user:ana", "merger")["passages"][0]["citation"]["valid_to"] is None
    assert run.request("GET", f"/v1/documents/{document}", "user:boss").json()["valid_to"] == "2090-01-01T00:00:00Z"


def test_a_collection_is_known_by_what_can_be_read_in_it_now(run: Running) -> None:
    _founded(run)
    run.put_principal("user:ana")

    def known() -> list[str]:
        return [each["name"] for each in run.request("GET", "/v1/collections", "user:ana").json()["collections"]]

    document = run.publish("user:boss", "deals", SECRET, uri="merger", readers=["user:ana"], valid_from="2090-01-01")
    assert known() == []
    run.request("PATCH", f"/v1/documents/{document}", "user:boss", json={"valid_from": "2020-01-01"})
    assert known() == ["deals"]
    run.request("POST", f"/v1/documents/{document}/withdraw", "user:boss", json={"reason": "done"})
    assert known() == []
