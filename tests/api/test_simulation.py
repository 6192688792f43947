"""A draft of the policies simulated: who would gain and lose what, exactly, and nothing else told."""

import json
import re
from typing import Any

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.domain.access import Action, Boundary, Party, Principal, PrincipalRef, Question
from app.domain.corpus import DocumentId
from app.ports import Bounded
from app.store import directory
from app.store.database import reading
from tests.api.laid import Laid, laid
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
    report, listed = pairs(run, draft)

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
