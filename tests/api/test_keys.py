"""API keys: limited, expiring, rotated and revoked, each at once; and nobody is better off by a key that is limited."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.api.keys import ActionWord
from app.domain.access import Action
from app.domain.instants import Instant
from app.operations.issue import write_down_uses
from ingest.ports import Parser
from tests.api.refusals import pointers, refusal
from tests.api.started import started
from tests.running import Running, app_on

QUESTION = "When is a train booked?"
DAY_MS = 86_400_000


@dataclass
class Ahead:
    """A clock that can be put forward."""

    run: Running
    ms: int = field(default=0)

    def now(self) -> Instant:
        return Instant(self.run.ports.now() + self.ms)


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("keys"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"])
        run.put_principal("user:ana")
        run.put_principal("user:max")
        run.put_principal("user:piet", groups=["group:administrators"])
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("assistant:herald", may_assert=True)
        staff = {"owners": ["group:owners"], "default_readers": ["group:all-staff"], "discoverable": True}
        for name in ("travel", "other"):
            run.put_collection(name, **staff)
            run.submit("user:olga", name, f"# {name}\nA train is booked, {name}.", uri=name)
        run.work()
        yield run


def issue(run: Running, who: str, *, by: str = "admin", **body: Any) -> dict[str, Any]:
    response = run.request("POST", f"/v1/principals/{who.replace(':', '/', 1)}/keys", by, json=body)
    assert response.status_code == 201, response.text
    issued: dict[str, Any] = response.json()
    run.keys[issued["id"]] = issued["key"]
    return issued


def keys_of(run: Running, who: str, *, by: str = "admin") -> dict[str, dict[str, Any]]:
    response = run.request("GET", f"/v1/principals/{who.replace(':', '/', 1)}/keys", by)
    assert response.status_code == 200, response.text
    return {each["id"]: each for each in response.json()["keys"]}


def rotate(run: Running, who: str, id: str, *, by: str = "admin", **body: Any) -> Response:
    return run.request("POST", f"/v1/principals/{who.replace(':', '/', 1)}/keys/{id}/rotate", by, json=body)


def test_nobody_makes_a_key_of_the_bootstrap_administrator(run: Running) -> None:
    (theirs,) = keys_of(run, "user:administrator")
    for by in ("user:piet", "admin"):
        for path in ("", f"/{theirs}/rotate"):
            response = run.request("POST", f"/v1/principals/user/administrator/keys{path}", by, json={})
            assert "MUNIMENT_ADMIN_KEY" in refusal(run, response, 403, "not-permitted")["detail"]
    assert [*keys_of(run, "user:administrator")] == [theirs]


def lets_in(run: Running, key: str, *, client: TestClient | None = None) -> bool:
    response = (client or run.client).get("/v1/documents", headers={"Authorization": f"Bearer {key}"})
    assert response.status_code in (200, 401), response.text
    return response.status_code == 200


def test_key_can_be_limited_to_every_action() -> None:
    assert get_args(ActionWord) == tuple(Action)


def test_key_is_listed_with_all_but_itself(run: Running) -> None:
    issued = issue(run, "user:ana", days=30, actions=["read", "ask"], collections=["travel"], note="the intranet")
    listed = keys_of(run, "user:ana")[issued["id"]]
    assert (listed["state"], listed["created_by"], listed["last_used"]) == ("active", "user:administrator", None)
    assert (listed["actions"], listed["collections"], listed["note"]) == (["ask", "read"], ["travel"], "the intranet")
    assert listed["expires_at"] == issued["expires_at"] > listed["created_at"]
    assert issued["key"] not in str(listed)


def test_last_use_is_known_without_a_write_of_the_request(run: Running) -> None:
    issued = issue(run, "user:ana")
    assert lets_in(run, issued["key"])
    first = keys_of(run, "user:ana")[issued["id"]]["last_used"]
    assert first is not None
    assert lets_in(run, issued["key"])
    write_down_uses(run.ports)
    assert keys_of(run, "user:ana")[issued["id"]]["last_used"] >= first


def test_expired_key_is_refused_and_its_holder_told_that_it_expired(run: Running) -> None:
    issued = issue(run, "user:ana", days=1)
    clock = Ahead(run)
    ahead = TestClient(app_on(replace(run.ports, now=clock.now)))
    assert lets_in(run, issued["key"], client=ahead)
    clock.ms = DAY_MS + 60_000
    headers = {"Authorization": f"Bearer {issued['key']}"}
    gone = refusal(run, ahead.get("/v1/documents", headers=headers), 401, "unauthenticated")
    assert "expired at" in gone["detail"]
    helper = {"Authorization": f"Bearer {run.key('assistant:herald')}", "Muniment-Subject-Token": issued["key"]}
    assert "expired at" in refusal(run, ahead.get("/v1/documents", headers=helper), 401, "unauthenticated")["detail"]
    stranger = {"Authorization": "Bearer mun_nobodys"}
    unknown = refusal(run, ahead.get("/v1/documents", headers=stranger), 401, "unauthenticated")
    assert "expired" not in unknown["detail"]


def test_end_that_is_past_or_said_twice_is_refused(run: Running) -> None:
    path = "/v1/principals/user/ana/keys"
    past = run.request("POST", path, "admin", json={"expires_at": "2020-01-01T00:00:00Z"})
    assert pointers(refusal(run, past, 422, "invalid")) == ["/expires_at"]
    twice = run.request("POST", path, "admin", json={"expires_at": "2220-01-01T00:00:00Z", "days": 3})
    assert pointers(refusal(run, twice, 422, "invalid")) == ["/days"]
    nothing = run.request("POST", path, "admin", json={"actions": [], "collections": ["nowhere"]})
    assert pointers(refusal(run, nothing, 422, "invalid")) == ["/actions"]
    nowhere = run.request("POST", path, "admin", json={"collections": ["nowhere"]})
    assert pointers(refusal(run, nowhere, 422, "invalid")) == ["/collections"]


def test_no_key_outlives_what_the_institution_allows(run: Running) -> None:
    limited = replace(run, client=TestClient(app_on(replace(run.ports, max_key_days=10))))
    response = limited.request("POST", "/v1/principals/user/ana/keys", "admin", json={"days": 11})
    assert pointers(refusal(run, response, 422, "invalid")) == ["/days"]
    unsaid = issue(limited, "user:ana")
    assert unsaid["expires_at"] is not None
    endless = issue(run, "user:ana")
    assert endless["expires_at"] is None
    rotated = rotate(limited, "user:ana", endless["id"], by=endless["id"])
    assert rotated.status_code == 201
    assert rotated.json()["expires_at"] is not None


def test_rotated_key_lives_beside_its_successor_and_no_longer(run: Running) -> None:
    old = issue(run, "user:ana", days=30, actions=["read"], note="kept")
    new = rotate(run, "user:ana", old["id"], overlap_s=60).json()
    assert (new["actions"], new["expires_at"]) == (["read"], old["expires_at"])
    assert lets_in(run, old["key"])
    assert lets_in(run, new["key"])
    listed = keys_of(run, "user:ana")
    assert (listed[old["id"]]["state"], listed[new["id"]]["state"]) == ("retiring", "active")
    assert listed[new["id"]]["note"] == "kept"
    refusal(run, rotate(run, "user:ana", old["id"]), 409, "conflict")
    clock = Ahead(run, ms=61_000)
    ahead = TestClient(app_on(replace(run.ports, now=clock.now)))
    assert not lets_in(run, old["key"], client=ahead)
    assert lets_in(run, new["key"], client=ahead)


def test_key_rotated_without_overlap_is_dead_at_once(run: Running) -> None:
    old = issue(run, "user:ana")
    new = rotate(run, "user:ana", old["id"], overlap_s=0).json()
    assert (lets_in(run, old["key"]), lets_in(run, new["key"])) == (False, True)
    assert keys_of(run, "user:ana")[old["id"]]["state"] == "revoked"


def test_people_keep_their_own_keys_and_nobody_elses(run: Running) -> None:
    own, other = issue(run, "user:ana", days=9), issue(run, "user:max")
    assert own["id"] in keys_of(run, "user:ana", by="user:ana")
    refusal(run, run.request("GET", "/v1/principals/user/max/keys", "user:ana"), 403, "not-permitted")
    refusal(run, run.request("GET", "/v1/principals/user/nobody/keys", "user:ana"), 403, "not-permitted")
    refusal(run, rotate(run, "user:max", other["id"], by="user:ana"), 403, "not-permitted")
    refusal(run, rotate(run, "user:ana", other["id"], by="user:ana"), 404, "not-found")
    gone = run.request("DELETE", f"/v1/principals/user/ana/keys/{other['id']}", "user:ana")
    refusal(run, gone, 404, "not-found")
    refusal(run, run.request("POST", "/v1/principals/user/ana/keys", "user:ana"), 403, "not-permitted")
    assert lets_in(run, other["key"])
    longer = rotate(run, "user:ana", own["id"], by="user:ana", days=90)
    refusal(run, longer, 403, "not-permitted")
    rotated = rotate(run, "user:ana", own["id"], by="user:ana")
    assert (rotated.status_code, rotated.json()["expires_at"]) == (201, own["expires_at"])
    assert run.request("DELETE", f"/v1/principals/user/ana/keys/{own['id']}", "user:ana").status_code == 204
    assert not lets_in(run, own["key"])


@pytest.mark.parametrize("how", ["proven", "asserted"])
def test_assistant_gets_hold_of_no_key_of_the_person_it_acts_for(run: Running, how: str) -> None:
    own = issue(run, "user:ana")
    named = {"Muniment-Subject-Token": run.key("user:ana")} if how == "proven" else {}
    acting_for = "user:ana" if how == "asserted" else None
    for method, path in (("GET", "keys"), ("POST", f"keys/{own['id']}/rotate"), ("DELETE", f"keys/{own['id']}")):
        refusal(
            run,
            run.request(
                method,
                f"/v1/principals/user/ana/{path}",
                "assistant:herald",
                headers=dict(named),
                acting_for=acting_for,
            ),
            403,
            "not-permitted",
        )
    assert lets_in(run, own["key"])


def test_key_for_one_collection_sees_and_is_told_of_no_other(run: Running) -> None:
    key = issue(run, "user:olga", collections=["travel"])["id"]
    assert run.found(key, QUESTION) == ["travel"]
    answer = run.retrieve(key, QUESTION)
    assert {each["collection"] for each in answer["recourse"]} <= {"travel"}
    tool = next(check for check in answer["checks"] if check["check"] == "tool")
    assert (tool["outcome"], "limited to the collections travel" in tool["reason"]) == ("narrowed", True)
    listed = run.request("GET", "/v1/documents", key).json()["documents"]
    assert {each["collection"] for each in listed} == {"travel"}
    assert [each["name"] for each in run.request("GET", "/v1/collections", key).json()["collections"]] == ["travel"]
    refusal(run, run.submit(key, "other", "# New\nText.", uri="new"), 404, "not-found")
    assert run.submit(key, "travel", "# New\nText.", uri="new").status_code == 202
    run.work()
    assert run.request("GET", "/v1/traces", key).json()["traces"] == []
    everything = run.request("GET", "/v1/documents", "user:olga").json()["documents"]
    homes = {each["document_id"]: each["collection"] for each in everything}
    assert set(homes.values()) == {"travel", "other"}
    whole = run.request("GET", "/v1/jobs", "user:olga").json()["jobs"]
    assert {homes[each["document"]["id"]] for each in whole} == {"travel", "other"}
    listed = run.request("GET", "/v1/jobs", key).json()["jobs"]
    assert {homes[each["document"]["id"]] for each in listed} == {"travel"}
    hidden = next(each for each in whole if homes[each["document"]["id"]] == "other")
    for path in (f"/v1/documents/{hidden['document']['id']}", f"/v1/jobs/{hidden['id']}"):
        assert run.request("GET", path, "user:olga").status_code == 200
        refusal(run, run.request("GET", path, key), 404, "not-found")


def test_key_that_may_not_ask_is_told_so_and_gets_nothing(run: Running) -> None:
    key = issue(run, "user:ana", actions=["read"])["id"]
    answer = run.retrieve(key, QUESTION)
    assert (answer["outcome"], answer["passages"]) == ("blocked", [])
    assert [each["kind"] for each in answer["recourse"]] == ["ask"]
    tool = answer["checks"][-1]
    assert (tool["check"], tool["outcome"], tool["policies"]) == ("tool", "blocked", [])
    assert "limited to the actions read" in tool["reason"]


def test_key_that_may_only_ask_finds_nothing(run: Running) -> None:
    key = issue(run, "user:ana", actions=["ask"])["id"]
    assert run.retrieve(key, QUESTION)["outcome"] == "empty"
    assert run.request("GET", "/v1/documents", key).json()["documents"] == []
    assert run.request("GET", "/v1/collections", key).json()["collections"] == []


def test_owners_key_that_may_only_read_changes_nothing(run: Running) -> None:
    key = issue(run, "user:olga", actions=["read", "describe", "discover", "ask"])["id"]
    refused = run.submit(key, "travel", "# Changed\nText.", uri="travel")
    assert refused.status_code in (403, 404)
    document = run.request("GET", "/v1/documents", key).json()["documents"][0]["document_id"]
    assert run.request("POST", f"/v1/documents/{document}/withdraw", key, json={"reason": "x"}).status_code in (
        403,
        404,
    )
    assert run.request("GET", "/v1/jobs", key).json()["jobs"] == []


def test_source_is_not_registered_with_a_key_that_its_runs_would_outgrow(run: Running) -> None:
    key = issue(run, "user:olga", actions=["curate", "read", "describe", "discover"], collections=["travel"])["id"]
    body = {"connector": "folder", "location": str(run.places)}
    refused = run.request("PUT", "/v1/collections/travel/sources/plain", key, json=body)
    assert "not limited" in refusal(run, refused, 403, "not-permitted")["detail"]


def test_two_keys_limit_together(run: Running) -> None:
    run.put_principal("assistant:wide", clearance="restricted")
    bot = issue(run, "assistant:wide", actions=["ask", "read"], collections=["travel", "other"])["id"]
    for collections, found in ((["travel"], ["travel"]), (["other"], ["other"])):
        person = issue(run, "user:max", collections=collections)["key"]
        headers = {"Muniment-Subject-Token": person}
        answer = run.request("POST", "/v1/retrieve", bot, headers=headers, json={"query": QUESTION}).json()
        assert [each["citation"]["uri"] for each in answer["passages"]] == found
    reader = issue(run, "user:max", actions=["read"])["key"]
    headers = {"Muniment-Subject-Token": reader}
    answer = run.request("POST", "/v1/retrieve", bot, headers=headers, json={"query": QUESTION}).json()
    assert answer["outcome"] == "blocked"


def test_keys_of_one_person_with_different_limits_are_not_taken_for_each_other(run: Running) -> None:
    asked = {
        name: issue(run, "user:max", **body)["id"]
        for name, body in (("all", {}), ("travel", {"collections": ["travel"]}), ("other", {"collections": ["other"]}))
    }
    for _ in range(2):
        assert set(run.found(asked["all"], QUESTION)) == {"travel", "other"}
        assert run.found(asked["travel"], QUESTION) == ["travel"]
        assert run.found(asked["other"], QUESTION) == ["other"]


def test_limited_administrator_issues_and_rotates_nothing_beyond_its_key(run: Running) -> None:
    manager = issue(run, "user:piet", actions=["manage"])["id"]
    for body in ({}, {"actions": ["manage", "read"]}, {"collections": ["travel"]}):
        refused = run.request("POST", "/v1/principals/user/piet/keys", manager, json=body)
        refusal(run, refused, 403, "not-permitted")
    assert issue(run, "user:piet", by=manager, actions=["manage"])["actions"] == ["manage"]
    wider = issue(run, "user:piet")
    refusal(run, rotate(run, "user:piet", wider["id"], by=manager), 404, "not-found")
    gone = run.request("DELETE", f"/v1/principals/user/piet/keys/{wider['id']}", manager)
    refusal(run, gone, 404, "not-found")
    assert wider["id"] not in keys_of(run, "user:piet", by=manager)
    reader = issue(run, "user:piet", actions=["read"])["id"]
    said = refusal(run, run.request("GET", "/v1/principals", reader), 403, "not-permitted")["detail"]
    assert "the actions read" in said
    of_one = issue(run, "user:piet", collections=["travel"])["id"]
    refusal(run, run.request("GET", "/v1/principals", of_one), 403, "not-permitted")


def test_auditors_key_for_auditing_shows_no_words_of_anybody(run: Running) -> None:
    run.retrieve("user:sunniva", QUESTION)
    key = issue(run, "user:sunniva", actions=["audit"])["id"]
    traces = run.request("GET", "/v1/traces?limit=200", key).json()["traces"]
    assert traces
    assert QUESTION not in str(traces)


def test_issue_rotation_and_revocation_are_on_record_and_so_are_refusals(run: Running) -> None:
    old = issue(run, "user:ana")
    new = rotate(run, "user:ana", old["id"], by="user:ana").json()
    run.request("DELETE", f"/v1/principals/user/ana/keys/{old['id']}", "user:ana")
    rotate(run, "user:max", "key_x", by="user:ana")
    traces = run.request("GET", "/v1/traces?limit=200", "user:sunniva").json()["traces"]
    said = [(each["subject"], each["request"].get("what"), each["request"].get("about")) for each in traces]
    about = f"user:ana {old['id']}"
    assert ("user:administrator", "issue-key", about) in said
    assert ("user:ana", "rotate-key", about) in said
    assert ("user:ana", "revoke-key", about) in said
    refused = [each for each in traces if each["kind"] == "refusal" and each["subject"] == "user:ana"]
    assert any(each["request"]["path"] == "/v1/principals/user/max/keys/key_x/rotate" for each in refused)
    assert not any(key["key"] in str(traces) for key in (old, new))


def test_owners_key_that_may_only_curate_puts_new_documents_in_and_touches_none_that_it_may_not_read(
    run: Running,
) -> None:
    key = issue(run, "user:olga", actions=["curate"], collections=["travel"])["id"]
    assert run.submit(key, "travel", "# Added\nText.", uri="added").status_code == 202
    assert run.submit(key, "travel", "# Changed\nText.", uri="travel").status_code in (403, 404, 409)
    run.work()
    assert run.request("GET", "/v1/documents", key).json()["documents"] == []


def test_who_gets_a_key_from_somebody_else_is_told(run: Running) -> None:
    run.put_principal("user:nele")
    issued = run.admin("POST", "/v1/principals/user/nele/keys")
    run.keys["user:nele"] = issued["key"]
    (told,) = run.request("GET", "/v1/notices", "user:nele").json()["notices"]
    assert (told["kind"], told["about"]) == ("key-issued", {"key": issued["id"], "by": "user:administrator"})
    own = run.request("POST", f"/v1/principals/user/nele/keys/{issued['id']}/rotate", "user:nele", json={})
    assert own.status_code == 201, own.text
    assert len(run.request("GET", "/v1/notices", "user:nele").json()["notices"]) == 1
