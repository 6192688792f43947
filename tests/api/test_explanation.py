"""Decisions explained: which policies decided, and what would have to change, which is then so."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.refusals import pointers, refusal
from tests.api.started import started
from tests.running import Running


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """For tests that change nothing of what is laid down here."""
    with started(tmp_path_factory.mktemp("explained"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        for purpose in ("legal-review", "claims"):
            run.put_purpose(purpose)
        run.put_principal("group:legal")
        run.put_principal("group:counsel", groups=["group:legal"])
        run.put_principal("user:lena", groups=["group:legal"], clearance="restricted", categories=["pii"])
        run.put_principal("user:ana", clearance="confidential", jurisdictions=["UK"])
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("user:gone", active=False)
        run.put_principal("user:narrow", purposes=["claims"])
        run.put_collection("contracts", owners=["group:legal"], discoverable=True)
        run.put_principal("assistant:helper", may_assert=True, clearance="internal", purposes=["claims"])
        yield run


def explained(run: Running, who: str = "admin", **asked: Any) -> dict[str, Any]:
    response = run.request("POST", "/v1/policies/explain", who, json=asked)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def ways(found: dict[str, Any]) -> list[list[str]]:
    return [[step["sentence"] for step in way["together"]] for way in found["what_would_change_it"]]


def of_contracts(**fields: Any) -> dict[str, Any]:
    return {"boundary": {"collection": "contracts", "label": {"level": "internal"}, **fields}}


def test_a_decision_names_its_policies_with_their_text_and_what_alone_would_be_enough(run: Running) -> None:
    found = explained(run, subject="user:ana", action="read", resource=of_contracts(readers=["group:counsel"]))
    assert (found["decision"], found["forbids"], found["permits"]) == ("deny", [], [])
    assert found["asking"] == {"decision": "allow", "policies": ["all-may-ask"]}
    assert ways(found) == [
        ["user:ana is in group:counsel."],
        ["user:ana is in group:legal."],
        ["An owner of contracts names user:ana among the readers."],
        ["A grant in force opens contracts to user:ana."],
    ]
    allowed = explained(run, subject="user:lena", action="read", resource=of_contracts())
    assert (allowed["decision"], ways(allowed)) == ("allow", [])
    (permit,) = allowed["permits"]
    assert (permit["id"], permit["effect"], permit["check"]) == ("owners-see", "permit", "boundary")
    assert permit["cedar"].startswith('@id("owners-see")')
    assert permit["cedar"].endswith("when { principal in resource.collection.owners };")


def test_what_would_change_a_decision_does_change_it(run: Running) -> None:
    """Each attribute is brought about in the directory, and the decision explained again."""
    of = of_contracts(readers=["user:ana"], label={"level": "restricted", "categories": []})
    found = explained(run, subject="user:ana", action="read", resource=of)
    assert (found["decision"], [rule["id"] for rule in found["forbids"]]) == ("deny", ["above-subject-clearance"])
    assert [rule["id"] for rule in found["permits"]] == ["readers-see"]
    assert ways(found) == [["user:ana is cleared for restricted."]]
    run.put_principal("user:ana", clearance="restricted", jurisdictions=["UK"])
    assert explained(run, subject="user:ana", action="read", resource=of)["decision"] == "allow"
    run.put_principal("user:ana", clearance="confidential", jurisdictions=["UK"])


def test_where_no_single_thing_is_enough_the_smallest_combination_is_told(run: Running) -> None:
    of = of_contracts(readers=["user:ana"], label={"level": "restricted", "categories": ["pii"]}, jurisdictions=["EU"])
    found = explained(run, subject="user:ana", action="read", resource=of)
    assert ways(found) == [
        ["user:ana is cleared for restricted.", "user:ana holds pii.", "user:ana is in EU."],
    ]
    assert found["verdict"] == "3 things together would be enough."


def test_a_wall_a_purpose_and_a_consent_are_among_what_is_tried(run: Running) -> None:
    of = of_contracts(readers=["user:ana"], denied=["user:ana"])
    denied = explained(run, subject="user:ana", action="read", resource=of)
    assert ways(denied) == [["An owner of contracts takes user:ana from those who are denied."]]
    bound = of_contracts(readers=["user:ana"], purposes=["legal-review"])
    assert ways(explained(run, subject="user:ana", action="read", resource=bound)) == [
        ["The question states the purpose legal-review."]
    ]
    narrow = explained(run, subject="user:narrow", action="read", purpose="legal-review", resource=of_contracts())
    assert narrow["asking"]["decision"] == "deny"
    assert [len(way) for way in ways(narrow)] == [2] * len(ways(narrow))


def test_an_assistants_ceiling_is_told_from_its_subjects(run: Running) -> None:
    asked = {"subject": "user:ana", "actors": ["assistant:helper"], "proof": "asserted", "purpose": "claims"}
    of = of_contracts(readers=["user:ana"], label={"level": "confidential", "categories": []})
    found = explained(run, action="read", resource=of, **asked)
    assert [rule["id"] for rule in found["forbids"]] == ["above-actor-clearance"]
    assert ways(found) == [
        ["user:ana asks in person, through no assistant."],
        ["assistant:helper is cleared for confidential."],
    ]
    managing = explained(run, subject="user:ana", actors=["assistant:helper"], proof="asserted", action="manage")
    assert [rule["id"] for rule in managing["forbids"]] == ["asserted-subject"]
    assert [
        "user:ana proves who they are, instead of being named by an assistant.",
        "user:ana is in group:administrators.",
    ] in ways(managing)


def test_what_no_one_can_bring_about_takes_a_change_of_policy(run: Running) -> None:
    found = explained(
        run, subject="user:administrator", action="read", resource=of_contracts(label={"level": "public"})
    )
    assert [rule["id"] for rule in found["forbids"]] == ["bootstrap-administrator"]
    assert (ways(found), found["nothing_lifts"]) == ([], ["bootstrap-administrator"])
    assert found["verdict"].startswith("Nothing short of a change of policy")


def test_administrators_explain_no_documents_and_auditors_only_those_they_describe(run: Running) -> None:
    document = run.publish("user:lena", "contracts", "# Lease\nTen years.", uri="lease", label={"level": "internal"})
    asked = {"subject": "user:ana", "action": "read", "resource": {"document": document}}
    assert explained(run, "user:sunniva", **asked)["decision"] == "deny"
    refusal(run, run.request("POST", "/v1/policies/explain", "admin", json=asked), 403, "not-permitted")
    refusal(run, run.request("POST", "/v1/policies/explain", "user:lena", json=asked), 403, "not-permitted")
    absent = {**asked, "resource": {"document": "doc_none"}}
    refusal(run, run.request("POST", "/v1/policies/explain", "user:sunniva", json=absent), 404, "not-found")


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"subject": "user:nobody", "action": "ask"}, "/subject"),
        ({"subject": "group:legal", "action": "ask"}, "/subject"),
        ({"subject": "user:ana", "action": "ask", "actors": ["user:lena"]}, "/actors"),
        ({"subject": "user:ana", "action": "ask", "proof": "asserted"}, "/proof"),
        ({"subject": "user:ana", "action": "ask", "purpose": "misspelt"}, "/purpose"),
        ({"subject": "user:ana", "action": "read"}, "/resource"),
        ({"subject": "user:ana", "action": "manage", "resource": {"collection": "contracts"}}, "/resource"),
        ({"subject": "user:ana", "action": "curate", "resource": {"collection": "none"}}, "/resource"),
        (
            {"subject": "user:ana", "action": "read", "resource": {"collection": "contracts", "document": "doc_1"}},
            "/resource",
        ),
    ],
)
def test_what_could_not_be_asked_is_refused_with_where_it_is_wrong(
    run: Running, asked: dict[str, Any], where: str
) -> None:
    response = run.request("POST", "/v1/policies/explain", "admin", json=asked)
    assert where in pointers(refusal(run, response, 422, "invalid"))


# -- One's own questions -----------------------------------------------------------------------------------------------


def own(run: Running, who: str, trace: str) -> dict[str, Any]:
    response = run.request("GET", f"/v1/traces/{trace}/explanation", who)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_ones_own_question_is_explained_by_rules_and_ones_own_attributes(run: Running) -> None:
    blocked = run.retrieve("user:narrow", "How long is the lease?", purpose="legal-review")
    assert blocked["outcome"] == "blocked"
    found = own(run, "user:narrow", blocked["trace_id"])
    assert (found["outcome"], found["asking"]["decision"]) == ("blocked", "deny")
    assert [rule["id"] for rule in found["asking"]["forbids"]] == ["outside-subject-purposes"]
    assert ways(found["asking"]) == [
        ["The question states the purpose claims."],
        ["The purpose that the question states is among those of user:narrow."],
    ]
    assert "user:narrow is cleared up to internal, for no special category." in [
        limit["sentence"] for limit in found["limits"]
    ]
    assert "cedar" not in found["limits"][0]["rules"][0]
    refusal(run, run.request("GET", f"/v1/traces/{blocked['trace_id']}/explanation", "user:ana"), 404, "not-found")
    assert own(run, "user:sunniva", blocked["trace_id"]) == found


def test_what_is_hidden_changes_nothing_of_ones_own_explanation(run: Running) -> None:
    before = own(run, "user:ana", run.retrieve("user:ana", "What about the harbour?")["trace_id"])
    hidden = run.publish(
        "user:lena", "contracts", "# Harbour\nThe harbour is leased.", uri="harbour", readers=["group:counsel"]
    )
    after = own(run, "user:ana", run.retrieve("user:ana", "What about the harbour?")["trace_id"])
    for each in (before, after):
        del each["trace_id"], each["asked_at"]
    assert before == after
    assert hidden not in str(after)
