"""A draft of the policies simulated: who would gain and lose what, exactly, and nothing else told."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.domain.access import Action, Boundary, Party, Principal, PrincipalRef, Question
from app.domain.corpus import DocumentId
from app.operations import simulate
from app.ports import Bounded
from app.store import directory
from app.store.database import reading
from ingest.ports import Parser
from tests.api.laid import Laid, laid
from tests.api.refusals import pointers, refusal
from tests.api.started import started
from tests.running import Running

_RULE = r'@id\("{}"\).*?;\n'


def without(*rules: str) -> str:
    """The default policies less these rules."""
    text = default_policies()
    for rule in rules:
        text, dropped = re.subn(_RULE.format(rule), "", text, flags=re.DOTALL)
        assert dropped == 1
    return text


def simulated(run: Running, cedar: str, **rest: Any) -> dict[str, Any]:
    response = run.request("POST", "/v1/policies/simulate", "admin", json={"cedar": cedar, **rest})
    assert response.status_code == 200, response.text
    report: dict[str, Any] = response.json()
    return report


def pairs(run: Running, cedar: str, **rest: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report, and every pair that it lists."""
    response = run.request("POST", "/v1/policies/simulate", "admin", json={"cedar": cedar, "pairs": True, **rest})
    assert response.status_code == 200, response.text
    first, *lines = [json.loads(line) for line in response.text.splitlines()]
    return first["report"], lines


def parties(run: Running) -> dict[PrincipalRef, Party]:
    with reading(run.ports.engine) as session:
        everybody = [each.ref for each in directory.principals(session) if not each.ref.startswith("group:")]
        return {ref: directory.party(session, ref) for ref in everybody}


# -- Exactness ---------------------------------------------------------------------------------------------------------


def reads(party: Party, boundary: Boundary, owners: frozenset[PrincipalRef], *, anywhere: bool) -> bool:
    """The default policy's answer to a person without an assistant and a purpose, said once more; with `anywhere`,
    whatever the jurisdiction."""
    who, names = party.profile, party.groups | {party.ref}
    return (
        who.active
        and who.ref != "user:administrator"
        and bool(names & (boundary.readers | owners))
        and not names & boundary.denied
        and boundary.label.level <= who.clearance
        and boundary.label.categories <= who.categories
        and not boundary.purposes
        and (
            anywhere
            or not boundary.jurisdictions
            or bool(who.jurisdictions & (boundary.jurisdictions | boundary.consents))
        )
    )


def test_dropping_the_jurisdiction_rule_lists_exactly_the_pairs_that_an_exhaustive_evaluation_finds(
    run: Running,
) -> None:
    corpus = laid(run.ports, documents=2_000, people=100, jobs=30)
    draft = without("outside-subject-jurisdictions")
    run.key("user:p0")
    meanwhile = 0
    with ThreadPoolExecutor(1) as pool:
        simulating = pool.submit(pairs, run, draft)
        while not wait([simulating], timeout=0.2).done:
            meanwhile += run.request("GET", "/v1/collections", "user:p0").status_code == 200
    report, listed = simulating.result()
    assert meanwhile > 10, "others were not answered while it went on"

    asked = parties(run)
    assert len([ref for ref in asked if ref.startswith("user:p")]) == 100
    expected = set()
    for document, boundary in corpus.boundaries.items():
        collection = corpus.collections[boundary.collection]
        bounded = boundary.within(collection)
        for ref, party in asked.items():
            before, after = (reads(party, bounded, collection.owners, anywhere=each) for each in (False, True))
            if before != after:
                expected.add((ref, document, "gains"))
    assert len(expected) > 1_000
    assert {(each["subject"], each["document"], each["change"]) for each in listed} == expected
    assert len(listed) == len(expected)
    assert (report["complete"], report["cut"]) == (True, [])
    assert report["read"]["gains"]["pairs"] == len(expected)
    assert report["read"]["loses"]["pairs"] == 0
    assert report["read"]["gains"]["by_rule"][0]["name"] == "outside-subject-jurisdictions"
    assert report["compared"]["boundaries"] == 2_000
    assert_as_cedar_says(corpus, asked, draft, {(subject, document) for subject, document, _ in expected})


def assert_as_cedar_says(
    corpus: Laid, asked: dict[PrincipalRef, Party], draft: str, gained: set[tuple[PrincipalRef, DocumentId]]
) -> None:
    """One in a hundred pairs, one by one."""
    engine = CedarPolicyEngine()
    every = [(ref, document) for ref in sorted(asked) for document in corpus.boundaries]
    for ref, document in every[::100]:
        boundary = corpus.boundaries[document]
        collection = corpus.collections[boundary.collection]
        resource = Bounded(boundary=boundary.within(collection), collection=collection)
        question = Question(principal=Principal(subject=asked[ref]), action=Action.READ, purpose=None)
        before, after = (engine.decide(text, question, [resource])[0] for text in (default_policies(), draft))
        assert (after.allowed and not before.allowed) == ((ref, document) in gained)


def test_every_pair_is_found_for_every_purpose_and_for_assistants_by_whatever_the_draft_changes(run: Running) -> None:
    """Against the engine asked of each pair alone, for drafts that drop, add and rewrite rules and name people."""
    for purpose in ("audit", "claims", "unmentioned"):
        run.put_purpose(purpose)
    corpus = laid(run.ports, documents=16, people=9, jobs=4, assistants=3, purposes=("audit", "claims"))
    everybody = parties(run)
    engine = CedarPolicyEngine()
    by_name = '@id("named") @reason("By name.") permit (principal == Muniment::User::"user:p4", action, resource);'
    stating = (
        '@id("stating") @reason("Whoever says why.") permit (principal, action, resource) when {context has purpose};'
    )
    walls = '@id("walled") @reason("Walled.") forbid (principal in Muniment::Group::"group:g3", action, resource);'
    drafts = (
        without("outside-boundary-purposes", "outside-assistant-purposes"),
        without("inactive-subject") + by_name + walls,
        without("denied-subject", "owners-see") + stating,
        default_policies().replace("resource.level > principal.clearance", "resource.level >= principal.clearance"),
    )
    several = {
        document: Bounded(
            boundary=boundary.within(corpus.collections[boundary.collection]),
            collection=corpus.collections[boundary.collection],
        )
        for document, boundary in corpus.boundaries.items()
    }

    def allowed(policies: str) -> set[tuple[PrincipalRef, DocumentId, str | None]]:
        return {
            (ref, document, purpose)
            for ref, party in everybody.items()
            for purpose in (None, "audit", "claims", "unmentioned")
            for document, resource in several.items()
            if engine.decide(
                policies,
                Question(principal=Principal(subject=party), action=Action.READ, purpose=purpose),
                [resource],
            )[0].allowed
        }

    before = allowed(default_policies())
    for draft in drafts:
        report, listed = pairs(run, draft)
        after = allowed(draft)
        expected = {(*each, "gains") for each in after - before} | {(*each, "loses") for each in before - after}
        found = [
            (each["subject"], each["document"], purpose, each["change"])
            for each in listed
            for purpose in each["purposes"]
        ]
        assert expected
        assert len(found) == len(expected)
        assert set(found) == expected
        assert report["complete"]


# -- What is told, and to whom -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def office(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """One owner, a document that staff read, and one that is bound to a jurisdiction; a question of ana's on record."""
    with started(tmp_path_factory.mktemp("office"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_purpose("claims")
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"], jurisdictions=["EU"])
        run.put_principal("user:ana", jurisdictions=["UK"])
        run.put_principal("user:bo", jurisdictions=["EU"])
        run.put_principal("user:gone", active=False, jurisdictions=["EU"])
        run.put_principal("assistant:helper", may_assert=True)
        run.put_collection("open", owners=["group:owners"], default_readers=["group:all-staff"])
        run.publish("user:olga", "open", "# Zeppelins\nMoor every zeppelin at noon.", uri="zeppelins")
        run.publish("user:olga", "open", "# Anchors\nAnchors are bound.", uri="anchors", jurisdictions=["EU"])
        asked = run.retrieve("user:ana", "When do I moor a zeppelin?", purpose="claims")
        assert asked["outcome"] == "answered"
        run.retrieve("assistant:helper", "When do I moor a zeppelin?", acting_for="user:ana")
        yield run


def test_who_gains_is_told_with_the_boundary_by_its_fields_and_the_rule_that_decides(office: Running) -> None:
    report = simulated(office, without("outside-subject-jurisdictions"))
    gains = report["read"]["gains"]
    assert {each["name"]: each["pairs"] for each in gains["by_asker"]} == {
        "user:ana": 1,
        "user:ana through assistant:helper (asserted)": 1,
    }
    assert [(each["name"], each["documents"]) for each in gains["by_rule"]] == [("outside-subject-jurisdictions", 1)]
    assert report["edit"] == {"dropped": ["outside-subject-jurisdictions"], "new": [], "rewritten": []}
    example = gains["examples"][0]
    assert example["boundary"]["jurisdictions"] == ["EU"]
    assert (example["before"]["decision"], example["after"]["policies"]) == ("deny", ["readers-see"])
    assert report["verdict"].startswith(
        "2 (principal, document) pairs (1 document, 2 askers) would be gained, Nothing is lost."
    )
    assert report["read"]["loses"]["pairs"] == 0


def test_a_report_holds_no_title_no_content_and_no_words_of_a_question(office: Running) -> None:
    response = office.request(
        "POST", "/v1/policies/simulate", "admin", json={"cedar": without("all-may-ask", "readers-see"), "pairs": True}
    )
    assert "doc_" in response.text
    for told in ("zeppelin", "anchor", "noon", "moor"):
        assert told not in response.text.lower()


def test_a_draft_that_lets_somebody_manage_says_so_first(office: Running) -> None:
    widened = '@id("bo-rules") @reason("Bo rules.") permit (principal == Muniment::User::"user:bo", action, resource);'
    report = simulated(office, default_policies() + widened)
    assert report["verdict"].startswith("user:bo could manage. user:bo could audit. user:bo could curate.")
    powers = {(each["subject"], each["action"], each["collection"]) for each in report["powers"]["listed"]}
    assert powers == {
        ("user:bo", "manage", None),
        ("user:bo", "audit", None),
        ("user:bo", "curate", "open"),
        ("user:bo", "discover", "open"),
    }


def test_who_has_left_and_would_be_let_in_again_is_told(office: Running) -> None:
    report = simulated(office, without("inactive-subject"))
    assert [each["subject"] for each in report["powers"]["listed"] if each["action"] == "ask"] == ["user:gone"]
    assert not any(each["active"] for each in report["powers"]["listed"])


def test_recorded_questions_are_asked_again_under_the_draft(office: Running) -> None:
    """What would be blocked, and which of the passages that were cited could no longer be."""
    report = simulated(office, without("readers-see", "all-may-ask"))
    assert (report["questions"]["recorded"], report["questions"]["different"]) == (2, 2)
    by_purpose = {each["purpose"]: each for each in report["questions"]["listed"]}
    assert by_purpose["claims"] == {
        "subject": "user:ana",
        "actors": [],
        "proof": "proven",
        "purpose": "claims",
        "client": None,
        "destination": None,
        "times": 1,
        "before": "asked",
        "after": "blocked",
        "cited": 1,
        "lost": 1,
        "gained_documents": 0,
        "lost_documents": 1,
    }
    assert (by_purpose[None]["actors"], by_purpose[None]["proof"]) == (["assistant:helper"], "asserted")
    gained = simulated(office, without("outside-subject-jurisdictions"))["questions"]["listed"]
    assert [(each["before"], each["after"], each["lost"], each["gained_documents"]) for each in gained] == [
        ("asked", "asked", 0, 1)
    ] * 2


def test_the_same_rules_change_nothing_for_anybody(office: Running) -> None:
    report = simulated(office, "// The same.\n" + default_policies())
    assert report["verdict"] == "Nothing that was compared would change for anybody."
    assert report["edit"] == {"dropped": [], "new": [], "rewritten": []}


def test_what_is_cut_is_said_to_be_cut(office: Running) -> None:
    report = simulated(office, without("owners-see"), max_decisions=40)
    assert not report["complete"]
    assert report["compared"]["askers"] < report["compared"]["of_askers"]
    assert "This is not the whole of it: It stopped after" in report["verdict"]


def test_principals_and_collections_narrow_what_is_compared(office: Running) -> None:
    report = simulated(office, without("inactive-subject"), principals=["group:owners"], collections=[])
    assert (report["compared"]["of_askers"], report["compared"]["boundaries"]) == (1, 0)


def test_nothing_is_simulated_for_whoever_manages_nothing(office: Running) -> None:
    for who in ("user:olga", "user:ana", "assistant:helper"):
        response = office.request("POST", "/v1/policies/simulate", who, json={"cedar": default_policies()})
        refusal(office, response, 403, "not-permitted")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"cedar": "permit (principal, action, resource);"}, "/cedar"),
        ({}, "/cedar"),
        ({"cedar": "x", "policy": "pol_1"}, "/cedar"),
        ({"cedar": default_policies(), "principals": ["user:nobody"]}, "/principals"),
        ({"cedar": default_policies(), "collections": ["none"]}, "/collections"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_where_it_is_wrong(
    office: Running, body: dict[str, Any], where: str
) -> None:
    response = office.request("POST", "/v1/policies/simulate", "admin", json=body)
    assert where in pointers(refusal(office, response, 422, "invalid"))


def test_one_simulation_goes_on_at_a_time(office: Running) -> None:
    with simulate._ONE_AT_A_TIME:
        response = office.request("POST", "/v1/policies/simulate", "admin", json={"cedar": default_policies()})
        refusal(office, response, 429, "rate-limited")
    assert simulated(office, default_policies())["complete"]
