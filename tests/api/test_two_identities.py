"""An assistant for a person: what the person may see, within the assistant's own ceiling; and on record as such."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.refusals import refusal
from tests.api.started import started
from tests.running import Running

QUESTION = "When is a train booked?"

DOCUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("open", {}),
    "confidential": ("open", {"label": {"level": "confidential"}}),
    "restricted": ("open", {"label": {"level": "restricted"}}),
    "personal": ("open", {"label": {"categories": ["pii"]}}),
    "health": ("open", {"label": {"categories": ["phi"]}}),
    "european": ("open", {"jurisdictions": ["EU"]}),
    "american": ("open", {"jurisdictions": ["US"]}),
    "support": ("open", {"purposes": ["customer-support"]}),
    "for-the-assistants": ("open", {"readers": ["assistant:narrow", "assistant:wide"]}),
    "elsewhere": ("other", {}),
    "denied": ("open", {"denied": ["user:ana"]}),
}

ANA = {"plain", "confidential", "personal", "european", "elsewhere"}
"""What ana sees by herself, stating no purpose."""


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("identities"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        for purpose in ("customer-support", "legal-review"):
            run.put_purpose(purpose)
        run.put_principal("group:owners")
        everything = {"clearance": "restricted", "categories": ["pii", "phi"]}
        run.put_principal("user:olga", groups=["group:owners"], **everything)
        run.put_principal("user:ana", clearance="confidential", categories=["pii"], jurisdictions=["EU"])
        run.put_principal("user:piet", groups=["group:administrators"])
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("user:gone", active=False)
        staff = {"owners": ["group:owners"], "default_readers": ["group:all-staff"]}
        run.put_collection("open", **staff)
        run.put_collection("other", **staff)
        run.put_principal("assistant:wide", may_assert=True, **everything)
        run.put_principal("assistant:mute", **everything)
        run.put_principal("assistant:gone", may_assert=True, active=False, **everything)
        run.put_principal(
            "assistant:narrow",
            may_assert=True,
            clearance="internal",
            jurisdictions=["US"],
            purposes=["customer-support"],
            collections=["open"],
        )
        run.put_principal("assistant:american", may_assert=True, jurisdictions=["US"], **everything)
        for name, (collection, metadata) in DOCUMENTS.items():
            run.submit("user:olga", collection, f"# {name}\nA train is booked, {name}.", uri=name, **metadata)
        run.work()
        yield run


def found(
    run: Running, who: str, *, proven_by: str | None = None, asserted: str | None = None, **stated: Any
) -> set[str]:
    headers = {"Muniment-Subject-Token": run.key(proven_by)} if proven_by else {}
    response = run.request(
        "POST",
        "/v1/retrieve",
        who,
        acting_for=asserted,
        json={"query": QUESTION, "top_k": 50, **stated},
        headers=headers,
    )
    assert response.status_code == 200, response.text
    return {passage["citation"]["uri"] for passage in response.json()["passages"]}


def test_assistant_alone_sees_only_what_it_was_granted_itself(run: Running) -> None:
    assert found(run, "assistant:wide") == {"for-the-assistants"}
    assert found(run, "assistant:narrow", purpose="customer-support") == {"for-the-assistants"}
    assert found(run, "assistant:mute") == set()


@pytest.mark.parametrize("how", ["proven_by", "asserted"])
def test_assistant_for_a_person_sees_what_the_person_does_and_nothing_of_its_own(run: Running, how: str) -> None:
    assert found(run, "user:ana") == ANA
    assert found(run, "assistant:wide", **{how: "user:ana"}) == ANA
    assert found(run, "assistant:wide", purpose="customer-support", **{how: "user:ana"}) == ANA | {"support"}


@pytest.mark.parametrize("how", ["proven_by", "asserted"])
def test_assistants_ceiling_narrows_what_it_does_for_a_person(run: Running, how: str) -> None:
    """Clearance, categories, jurisdictions, purposes and collections: each is the lesser of the two."""
    assert found(run, "assistant:american", **{how: "user:ana"}) == ANA - {"european"}
    narrow = found(run, "assistant:narrow", purpose="customer-support", **{how: "user:ana"})
    assert narrow == {"plain", "support"}
    headers = {"Muniment-Subject-Token": run.key("user:ana")} if how == "proven_by" else {}
    for purpose in (None, "legal-review"):
        response = run.request(
            "POST",
            "/v1/retrieve",
            "assistant:narrow",
            acting_for="user:ana" if how == "asserted" else None,
            headers=headers,
            json={"query": QUESTION, "purpose": purpose},
        )
        answer = response.json()
        assert (answer["outcome"], answer["passages"]) == ("blocked", [])
        (blocked,) = [check for check in answer["checks"] if check["outcome"] == "blocked"]
        assert (blocked["check"], blocked["policies"]) == ("purpose", ["outside-actor-purposes"])


def test_same_ceiling_holds_on_every_way_to_content(run: Running) -> None:
    listed = run.request("GET", "/v1/documents?limit=200", "assistant:american", acting_for="user:ana").json()
    assert {each["uri"] for each in listed["documents"]} == ANA - {"european"}
    own = run.request("GET", "/v1/documents?limit=200", "user:ana").json()["documents"]
    statuses = {}
    for each in own:
        path = f"/v1/documents/{each['document_id']}/versions/1"
        for tail in ("", "/text", "/content"):
            response = run.request("GET", path + tail, "assistant:american", acting_for="user:ana")
            statuses.setdefault(each["uri"], set()).add(response.status_code)
    assert statuses == {uri: {404} if uri == "european" else {200} for uri in ANA}
    passages = run.retrieve("user:ana", QUESTION, top_k=50)["passages"]
    for passage in passages:
        citation = passage["citation"]
        response = run.request("GET", f"/v1/citations/{citation['id']}", "assistant:american", acting_for="user:ana")
        assert response.status_code == (404 if citation["uri"] == "european" else 200)
    collections = run.request("GET", "/v1/collections", "assistant:narrow", acting_for="user:olga").json()
    assert [each["name"] for each in collections["collections"]] == ["open"]


def test_subject_who_left_and_assistant_that_was_switched_off_are_blocked(run: Running) -> None:
    for who, person, policy in (
        ("assistant:wide", "user:gone", "inactive-subject"),
        ("assistant:gone", "user:ana", "inactive-actor"),
    ):
        answer = run.retrieve(who, QUESTION, acting_for=person)
        assert (answer["outcome"], answer["passages"]) == ("blocked", [])
        blocked = [check["policies"] for check in answer["checks"] if check["outcome"] == "blocked"]
        assert blocked == [[policy]]
        assert run.request("GET", "/v1/documents", who, acting_for=person).json()["documents"] == []
        assert run.request("GET", "/v1/traces", who, acting_for=person).json()["traces"] == []


def _asked(run: Running, who: str, **headers: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `identity` check of an answer, and its trace as its auditor sees it."""
    response = run.request("POST", "/v1/retrieve", who, json={"query": QUESTION}, headers=headers)
    answer = response.json()
    trace = run.request("GET", f"/v1/traces/{answer['trace_id']}", "user:sunniva").json()
    return answer["checks"][0], trace


def test_it_is_on_record_whether_the_person_was_proven_or_asserted(run: Running) -> None:
    alone, trace = _asked(run, "user:ana")
    assert (alone["check"], alone["reason"]) == ("identity", "user:ana, proven by its own credential.")
    assert (trace["subject"], trace["actor"], trace["proof"]) == ("user:ana", None, "proven")

    proven, trace = _asked(run, "assistant:wide", **{"Muniment-Subject-Token": run.key("user:ana")})
    assert proven["reason"] == "user:ana (proven by its own credential), through assistant:wide."
    assert (trace["subject"], trace["actor"], trace["proof"]) == ("user:ana", "assistant:wide", "proven")

    asserted, trace = _asked(run, "assistant:wide", **{"Muniment-On-Behalf-Of": "user:ana"})
    assert asserted["reason"] == "user:ana (asserted by the assistant, not proven), through assistant:wide."
    assert (trace["subject"], trace["actor"], trace["proof"]) == ("user:ana", "assistant:wide", "asserted")

    itself, trace = _asked(run, "assistant:wide")
    assert itself["reason"] == "assistant:wide, proven by its own credential."
    assert (trace["subject"], trace["actor"], trace["proof"]) == ("assistant:wide", None, "proven")


def test_proven_person_needs_no_may_assert(run: Running) -> None:
    assert found(run, "assistant:mute", proven_by="user:ana") == ANA
    refused = run.request("POST", "/v1/retrieve", "assistant:mute", acting_for="user:ana", json={"query": QUESTION})
    refusal(run, refused, 403, "not-permitted")


def test_subject_token_ends_with_its_key(run: Running) -> None:
    issued = run.admin("POST", "/v1/principals/user/ana/keys")
    headers = {"Muniment-Subject-Token": issued["key"]}
    assert run.request("GET", "/v1/documents", "assistant:mute", headers=headers).status_code == 200
    run.admin("DELETE", f"/v1/principals/user/ana/keys/{issued['id']}")
    problem = refusal(
        run, run.request("GET", "/v1/documents", "assistant:mute", headers=headers), 401, "unauthenticated"
    )
    assert "Muniment-Subject-Token" in problem["detail"]


def test_may_assert_ends_at_once_when_it_is_taken_away(run: Running) -> None:
    run.put_principal("assistant:brief", may_assert=True)
    assert run.request("GET", "/v1/documents", "assistant:brief", acting_for="user:ana").status_code == 200
    run.put_principal("assistant:brief", may_assert=False)
    response = run.request("GET", "/v1/documents", "assistant:brief", acting_for="user:ana")
    refusal(run, response, 403, "not-permitted")


def test_asserted_administrator_may_not_manage_and_a_proven_one_may(run: Running) -> None:
    for method, path, body in (
        ("GET", "/v1/principals", None),
        ("PUT", "/v1/purposes/asserted", {"title": "Asserted"}),
        ("POST", "/v1/principals/user/ana/keys", None),
    ):
        asserted = run.request(method, path, "assistant:wide", acting_for="user:piet", json=body)
        refusal(run, asserted, 403, "not-permitted")
        headers = {"Muniment-Subject-Token": run.key("user:piet")}
        assert run.request(method, path, "assistant:wide", headers=headers, json=body).status_code < 300


def test_asserted_auditor_may_not_audit_and_a_proven_one_may(run: Running) -> None:
    id = run.retrieve("user:ana", QUESTION)["trace_id"]
    asserted = run.request("GET", f"/v1/traces/{id}", "assistant:wide", acting_for="user:sunniva")
    refusal(run, asserted, 404, "not-found")
    listed = run.request("GET", "/v1/traces?limit=200", "assistant:wide", acting_for="user:sunniva").json()["traces"]
    assert {each["subject"] for each in listed} <= {"user:sunniva"}
    headers = {"Muniment-Subject-Token": run.key("user:sunniva")}
    proven = run.request("GET", f"/v1/traces/{id}", "assistant:wide", headers=headers).json()
    assert (proven["request"]["query"], proven["grounds"] is not None) == (None, True)


def test_person_sees_what_any_assistant_did_for_them_and_an_assistant_only_what_it_did(run: Running) -> None:
    by = {
        who: run.retrieve(who, QUESTION, acting_for="user:ana")["trace_id"]
        for who in ("assistant:wide", "assistant:american")
    }
    alone = run.retrieve("user:ana", QUESTION)["trace_id"]
    own = {each["id"] for each in run.request("GET", "/v1/traces?limit=200", "user:ana").json()["traces"]}
    assert {*by.values(), alone} <= own
    response = run.request("GET", "/v1/traces?limit=200", "assistant:wide", acting_for="user:ana")
    through = {each["id"] for each in response.json()["traces"]}
    assert by["assistant:wide"] in through
    assert not {by["assistant:american"], alone} & through
    for hidden in (by["assistant:american"], alone):
        response = run.request("GET", f"/v1/traces/{hidden}", "assistant:wide", acting_for="user:ana")
        refusal(run, response, 404, "not-found")


def test_owner_curates_through_an_assistant_only_within_its_collections(run: Running) -> None:
    body = {"text": "# Words", "metadata": {"uri": "through"}}
    into = "/v1/collections/{}/documents"
    olga, ana = ({"Muniment-Subject-Token": run.key(who)} for who in ("user:olga", "user:ana"))
    for name, status in (("open", 202), ("other", 404)):
        response = run.request("POST", into.format(name), "assistant:narrow", headers=olga, json=body)
        assert response.status_code == status, response.text
        if status == 202:
            job = f"/v1/jobs/{response.json()['job']['id']}"
            assert run.request("GET", job, "assistant:narrow", headers=olga).status_code == 200
            assert run.request("GET", job, "user:olga").status_code == 200
            refusal(run, run.request("GET", job, "assistant:narrow", headers=ana), 404, "not-found")
    elsewhere = run.request("POST", into.format("other"), "user:olga", json=body).json()["job"]["id"]
    response = run.request("GET", f"/v1/jobs/{elsewhere}", "assistant:narrow", headers=olga)
    refusal(run, response, 404, "not-found")


def test_an_assistant_on_its_own_word_changes_nothing_in_a_collection(run: Running) -> None:
    """It could open to itself, in an owner's name, what it may not read."""
    document = next(
        each["document_id"]
        for each in run.request("GET", "/v1/documents?collection=open&limit=200", "user:olga").json()["documents"]
    )
    to_itself = {"readers": ["assistant:wide"]}
    for method, path, body, status in (
        ("POST", "/v1/collections/open/documents", {"text": "# Words", "metadata": {"uri": "asserted"}}, 403),
        ("PATCH", f"/v1/documents/{document}", to_itself, 403),
        ("POST", f"/v1/documents/{document}/withdraw", {"reason": "x"}, 403),
        ("POST", f"/v1/documents/{document}/erase", {"reason": "x"}, 403),
    ):
        asserted = run.request(method, path, "assistant:wide", acting_for="user:olga", json=body)
        assert asserted.status_code == status, (path, asserted.text)
    headers = {"Muniment-Subject-Token": run.key("user:olga")}
    proven = run.request("PATCH", f"/v1/documents/{document}", "assistant:wide", headers=headers, json={"readers": []})
    assert proven.status_code == 200
