"""Suggestions and facets: what a search box shows while somebody types, of what that person may know of."""

from typing import Any

import pytest

from app.adapters.cedar_policy import default_policies
from app.domain.access import PrincipalRef
from app.store import registry
from app.store.database import recording
from tests.running import Running


@pytest.fixture
def shelves(run: Running) -> Running:
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="restricted", categories=["pii"])
    run.put_collection("policies", owners=["user:olga"], default_readers=["user:ana"])
    run.put_collection("claims", owners=["user:olga"], default_readers=["user:ana"])
    run.put_collection("board", owners=["user:olga"])
    for collection, uri, title, metadata in (
        ("policies", "policies/data-sharing", "Data-sharing policy", {"attributes": {"region": ["EU", "UK"]}}),
        ("policies", "policies/travel", "Travel policy", {"attributes": {"region": ["EU"]}}),
        ("policies", "policies/uebung", "Übungen für Notfälle", {}),
        ("claims", "claims/handbook-v2.md", "How claims are settled", {"label": {"level": "confidential"}}),
        ("claims", "claims/old", "Sharing of old claims", {"valid_to": "2020-01-01T00:00:00Z"}),
    ):
        opened = {"valid_from": "2019-01-01T00:00:00Z", **metadata}
        response = run.submit("user:olga", collection, f"The text of {title}.", uri=uri, title=title, **opened)
        assert response.status_code == 202, response.text
    run.work()
    return run


def suggested(run: Running, q: str, *, who: str = "user:ana", **params: Any) -> list[str]:
    response = run.request("GET", "/v1/suggest", who, params={"q": q, **params})
    assert response.status_code == 200, response.text
    return [each["text"] for each in response.json()["suggestions"]]


def facets(run: Running, *, who: str = "user:ana", **params: Any) -> dict[str, Any]:
    response = run.request("GET", "/v1/facets", who, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_names_that_begin_with_what_is_typed_come_before_those_that_have_its_words(shelves: Running) -> None:
    shelves.publish("user:olga", "policies", "Whatever.", uri="policies/more", title="More on travel")
    assert suggested(shelves, "tra") == ["Travel policy", "More on travel"]
    assert suggested(shelves, "policy") == ["Travel policy", "Data-sharing policy"]
    assert suggested(shelves, "sharing pol") == ["Data-sharing policy"]
    assert suggested(shelves, "hand") == ["handbook-v2.md"], "by its name, where the title does not match"
    assert suggested(shelves, "übung") == suggested(shelves, "ÜBUNG") == ["Übungen für Notfälle"]
    assert suggested(shelves, "policy", limit=1) == ["Travel policy"]
    assert suggested(shelves, "policy", collection="claims") == []


def test_a_slip_of_the_hand_is_forgiven_and_two_in_a_short_word_are_not(shelves: Running) -> None:
    for slip in ("polcy travel", "trvael", "travle", "tarvel polcy", "tr4vel", "ttravel"):
        assert suggested(shelves, slip)[:1] == ["Travel policy"], slip
    for other in ("xyzzy", "%", "_", "\\", "...", "tr_vel%", "trxxxl"):
        assert suggested(shelves, other) == [], other


def test_only_what_is_in_force_at_that_moment_is_suggested_and_counted(shelves: Running) -> None:
    assert suggested(shelves, "sharing of") == []
    assert suggested(shelves, "sharing of", as_of="2019-06-01T00:00:00Z") == ["Sharing of old claims"]
    assert (facets(shelves)["documents"], facets(shelves, as_of="2019-06-01T00:00:00Z")["documents"]) == (4, 5)


def test_facets_count_documents_by_what_questions_filter_by(shelves: Running) -> None:
    assert facets(shelves) == {
        "documents": 4,
        "facets": {
            "collection": {"policies": 3, "claims": 1},
            "level": {"internal": 3, "confidential": 1},
            "media_type": {"text/markdown": 4},
            "attributes.region": {"EU": 2, "UK": 1},
        },
    }
    assert facets(shelves, q="polic", collection="policies")["documents"] == 3
    assert facets(shelves, q="travel")["facets"]["attributes.region"] == {"EU": 1}
    assert facets(shelves, q="nothing like it") == {
        "documents": 0,
        "facets": {"collection": {}, "level": {}, "media_type": {}},
    }


def test_documents_and_facets_agree(shelves: Running) -> None:
    for who in ("user:ana", "user:olga"):
        listed = shelves.request("GET", "/v1/documents", who).json()["documents"]
        assert facets(shelves, who=who)["documents"] == len(listed)


def test_hidden_twins_change_nothing(shelves: Running) -> None:
    """Twins in a closed collection, of a closed label, under embargo, for another purpose, and withdrawn."""
    asked = ("tra", "policy", "polcy", "sharing of", "hand", "travel x", "zebra")

    def seen() -> list[Any]:
        return [[suggested(shelves, each) for each in asked], facets(shelves), facets(shelves, q="polic")]

    before = seen()
    shelves.put_purpose("audit")
    hidden: list[tuple[str, dict[str, Any]]] = [
        ("board", {}),
        ("policies", {"label": {"level": "restricted"}}),
        ("policies", {"valid_from": "2090-01-01T00:00:00Z"}),
        ("policies", {"purposes": ["audit"]}),
        ("claims", {"readers": ["user:olga"]}),
    ]
    for number, (collection, more) in enumerate(hidden):
        for title in ("Travel policy", "Zebra policy", "Travel"):
            metadata = {"attributes": {"region": ["EU"], "secret": ["x"]}, **more}
            uri = f"policies/{title}-{number}"
            shelves.submit("user:olga", collection, "Hidden.", uri=uri, title=title, **metadata)
    shelves.work()
    gone = shelves.publish("user:olga", "policies", "Gone.", uri="policies/gone", title="Trade policy")
    shelves.request("POST", f"/v1/documents/{gone}/withdraw", "user:olga", json={"reason": "a test"})
    assert seen() == before
    assert suggested(shelves, "zebra", who="user:olga") == ["Zebra policy"]
    assert "Zebra policy" in suggested(shelves, "zebra", purpose="audit")


def test_what_is_blacked_out_of_a_title_completes_nothing(shelves: Running) -> None:
    title = "Complaint of ben.vos@example.org about travel"
    metadata = {"attributes": {"sender": ["ben.vos@example.org"]}}
    shelves.publish("user:olga", "claims", "Text.", uri="claims/c-17", title=title, **metadata)
    assert suggested(shelves, "ben") == [title]
    policies = default_policies().replace('@id("readers-see")', '@id("readers-see")\n@obligation("redact:pii")')
    with recording(shelves.ports.engine, shelves.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))
    assert suggested(shelves, "ben") == []
    assert suggested(shelves, "example") == []
    assert suggested(shelves, "complaint") == ["Complaint of [redacted: e-mail address] about travel"]
    assert facets(shelves)["facets"]["attributes.sender"] == {"[redacted: e-mail address]": 1}
    assert facets(shelves, q="ben.vos")["documents"] == 0


def test_nobody_and_nothing_typed_are_refused(shelves: Running) -> None:
    for path in ("/v1/suggest?q=tra", "/v1/facets"):
        assert shelves.client.get(path).status_code == 401
    for query in ("", "?q=", f"?q={'x' * 201}", "?q=tra&limit=0", "?q=tra&limit=51"):
        assert shelves.request("GET", f"/v1/suggest{query}", "user:ana").status_code == 422
    assert shelves.request("GET", "/v1/suggest?q=tra&purpose=none-such", "user:ana").status_code == 422
