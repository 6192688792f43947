"""Policies as code, over HTTP: what is put in force decides the next request, and what may not be is not."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.domain.access import BOOTSTRAP_ADMINISTRATOR
from ingest.ports import Parser
from tests.running import Running, app_on, running

ANA, BEN, CLEO = "user:ana", "user:ben", "user:cleo"
CLOSED = '@id("closed") @check("boundary") @reason("Closed for stocktaking.") '
CLOSING = default_policies() + CLOSED + 'forbid (principal, action in Muniment::Action::"see", resource);\n'
NARROWER = CLOSING.replace('see", resource);\n', 'see", resource) when { resource.level > 0 };\n')
TABLES = Path(__file__).parents[2] / "fixtures" / "policies" / "default-policy-cases.yaml"
OPEN = """
principals: {"user:ana": {}}
collections: {open: {owners: ["user:ana"]}}
boundaries: {everyday: {}}
cases: [{who: "user:ana", asks: read, sees: [everyday], thanks to: owners-see, because: "Owners read what is theirs."}]
"""


@pytest.fixture
def house(
    sqlite_engine: Engine, tmp_path: Path, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """Three administrators, let in by the bootstrap administrator, an auditor, and Rudi, who reads a collection."""
    with (
        EdgeIndex(tmp_path / "index", embedder.dimension) as index,
        running(sqlite_engine, index, tmp_path, embedder=embedder, tokenizer=tokenizer, parser=parser) as run,
    ):
        for who in (ANA, BEN, CLEO):
            run.put_principal(who, groups=["group:administrators"])
        run.put_principal("user:vera", groups=["group:auditors"])
        for who in ("user:olga", "user:rudi"):
            run.put_principal(who)
        run.put_collection("open", owners=["user:olga"], default_readers=["user:rudi"])
        yield run


@pytest.fixture
def strict(house: Running) -> Iterator[Running]:
    """The same where one more administrator has to approve."""
    with TestClient(app_on(replace(house.ports, policy_approvals=1)), raise_server_exceptions=False) as client:
        yield replace(house, client=client)


def sent(run: Running, method: str, path: str, who: str, status: int, **body: Any) -> Any:
    response = run.request(method, path, who, json=body or None)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def drafted(run: Running, cedar: str, who: str = ANA) -> str:
    return str(sent(run, "POST", "/v1/policies", who, 201, cedar=cedar, reason="To try it.")["id"])


def activated(run: Running, id: str, who: str = ANA, status: int = 200, **rest: Any) -> Any:
    return sent(run, "POST", f"/v1/policies/{id}/activate", who, status, reason="As decided.", **rest)


def rolled_back(run: Running, who: str = ANA, status: int = 200, **rest: Any) -> Any:
    return sent(run, "POST", "/v1/policies/rollback", who, status, reason="It was a mistake.", **rest)


def in_force(run: Running) -> str:
    return str(sent(run, "GET", "/v1/policies/active", "admin", 200)["cedar"])


def outcome(run: Running) -> str:
    return str(run.retrieve("user:rudi", "When is the meeting?")["outcome"])


def on_record(run: Running) -> list[dict[str, Any]]:
    """What auditors find of policies, oldest first: outcome and request of each."""
    traces = sent(run, "GET", "/v1/traces?limit=200", "user:vera", 200)["traces"]
    told = [{"outcome": each["outcome"], "by": each["subject"], **each["request"]} for each in reversed(traces)]
    return [each for each in told if "polic" in str(each.get("what")) or "/v1/policies" in str(each.get("path"))]


# ---- In force, and back ----------------------------------------------------------------------------------------------


def test_what_is_activated_decides_the_next_request_and_one_call_brings_back_what_was_before(house: Running) -> None:
    house.publish("user:olga", "open", "The meeting is on Tuesday at ten.", uri="meeting")
    id = drafted(house, CLOSING)
    assert outcome(house) == "answered"

    active = activated(house, id)
    assert (active["state"], active["author"], active["reason"]) == ("active", ANA, "To try it.")
    assert outcome(house) == "empty"
    assert in_force(house) == CLOSING

    back = rolled_back(house, BEN)
    assert outcome(house) == "answered"
    assert in_force(house) == default_policies()
    assert sent(house, "GET", f"/v1/policies/{id}", ANA, 200)["state"] == "retired"

    assert [
        (each["by"], each["what"], each["policy"], each["digest"], each["reason"]) for each in on_record(house)
    ] == [
        (ANA, "draft-policies", id, active["digest"], "To try it."),
        (ANA, "activate-policies", id, active["digest"], "As decided."),
        (BEN, "roll-back-policies", back["id"], back["digest"], "It was a mistake."),
    ]


def test_every_version_is_kept_with_author_reason_digest_and_difference(house: Running) -> None:
    id = drafted(house, CLOSING, BEN)
    before = sent(house, "GET", "/v1/policies/active", "user:vera", 200)
    draft = sent(house, "GET", f"/v1/policies/{id}", "user:vera", 200)

    assert draft["cedar"] == CLOSING
    assert draft["based_on"] == before["digest"]
    added = [line for line in draft["diff"].splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert added == [f"+{line}" for line in CLOSING.removeprefix(default_policies()).splitlines()]
    assert not [line for line in draft["diff"].splitlines() if line.startswith("-") and not line.startswith("---")]
    assert [
        (each["id"], each["state"]) for each in sent(house, "GET", "/v1/policies", "user:vera", 200)["policies"]
    ] == [
        (id, "draft"),
        (before["id"], "active"),
    ]


def test_going_back_twice_goes_back_two_steps_and_then_there_is_nothing_left(house: Running) -> None:
    activated(house, drafted(house, CLOSING))
    activated(house, drafted(house, NARROWER))
    rolled_back(house)
    assert in_force(house) == CLOSING
    rolled_back(house)
    assert in_force(house) == default_policies()
    rolled_back(house, status=409)
    assert in_force(house) == default_policies()


def test_an_earlier_version_is_brought_back_by_its_id(house: Running) -> None:
    first = sent(house, "GET", "/v1/policies/active", ANA, 200)["id"]
    activated(house, drafted(house, CLOSING))
    newest = drafted(house, NARROWER)
    activated(house, newest)
    rolled_back(house, to=newest, status=409)
    rolled_back(house, to="pol_none", status=404)
    rolled_back(house, to=drafted(house, default_policies() + "\n"), status=409)
    assert rolled_back(house, to=first)["id"] == first
    assert in_force(house) == default_policies()


def test_a_draft_that_another_set_overtook_is_not_activated(house: Running) -> None:
    first, second = drafted(house, CLOSING), drafted(house, NARROWER)
    activated(house, first)
    refused = activated(house, second, status=409)
    assert "drafted on" in refused["detail"]
    assert in_force(house) == CLOSING
    rolled_back(house)
    activated(house, second)


def test_of_two_activations_at_once_one_wins_and_the_other_is_told(house: Running) -> None:
    ids = [drafted(house, CLOSING + f"// {n}\n") for n in range(6)]
    house.key(ANA)
    with ThreadPoolExecutor(6) as threads:
        paths = [f"/v1/policies/{id}/activate" for id in ids]
        answers = list(threads.map(lambda path: house.request("POST", path, ANA, json={"reason": "First."}), paths))
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409, 409, 409]
    (winner,) = [each.json() for each in answers if each.status_code == 200]
    states = {each["id"]: each["state"] for each in sent(house, "GET", "/v1/policies", ANA, 200)["policies"]}
    assert [states[id] for id in ids].count("active") == 1
    assert states[winner["id"]] == "active"
    assert winner["digest"] == sent(house, "GET", "/v1/policies/active", ANA, 200)["digest"]


def test_a_draft_that_was_discarded_or_activated_is_none_any_more(house: Running) -> None:
    id = drafted(house, CLOSING)
    sent(house, "DELETE", f"/v1/policies/{id}", BEN, 204)
    for method, path in (("DELETE", f"/v1/policies/{id}"), ("DELETE", "/v1/policies/pol_none")):
        sent(house, method, path, BEN, 404 if "none" in path else 409)
    activated(house, id, status=409)
    assert sent(house, "GET", f"/v1/policies/{id}", ANA, 200)["state"] == "discarded"
    activated(house, drafted(house, CLOSING))
    sent(house, "POST", "/v1/policies", ANA, 409, cedar=CLOSING, reason="Again.")


# ---- What is not put in force ----------------------------------------------------------------------------------------


def test_a_set_with_faults_is_refused_and_each_fault_is_told(house: Running) -> None:
    faulty = default_policies() + (
        '@id("a") @reason("X.") permit (principal, action, resource) when { resource.nonesuch };\n'
        '@id("readers-see") @reason("X.") permit (principal, action == Muniment::Action::"ask", resource);\n'
        '@id("b") permit (principal, action == Muniment::Action::"ask", resource);\n'
    )
    problem = sent(house, "POST", "/v1/policies", ANA, 422, cedar=faulty, reason="X.")
    told = " ".join(each["detail"] for each in problem["errors"])
    assert "'b' has no @reason" in told
    assert "called 'readers-see'" in told

    checked = sent(house, "POST", "/v1/policies/validate", ANA, 200, cedar=faulty)
    assert not checked["valid"]
    assert [each["detail"] for each in checked["faults"]] == [each["detail"] for each in problem["errors"]]
    assert sent(house, "POST", "/v1/policies/validate", ANA, 200, cedar=default_policies()) == {
        "valid": True,
        "faults": [],
        "warnings": [],
    }
    assert len(sent(house, "GET", "/v1/policies", ANA, 200)["policies"]) == 1
    assert [(each["what"], each["outcome"]) for each in on_record(house)] == [("draft-policies", "invalid")]


def test_warnings_are_told_and_stop_only_who_asks_for_it(house: Running) -> None:
    text = (
        default_policies()
        .replace('@id("denied-subject")', '@id("denied-others")')
        .replace("when { principal in resource.denied }", "when { principal in resource.denied && resource.level > 3 }")
        + CLOSED.replace("closed", "typo")
        + 'forbid (principal in Muniment::Group::"group:lgal", action, resource);\n'
    )
    drafting = sent(house, "POST", "/v1/policies", ANA, 201, cedar=text, reason="X.")
    assert [(each["code"], each["policy"]) for each in drafting["warnings"]] == [
        ("unreachable", "denied-others"),
        ("loses-guard", "denied-subject"),
        ("unknown-name", "typo"),
    ]
    assert drafting["warnings"][2]["line"] == text[: text.index('@id("typo")')].count("\n") + 1
    refused = activated(house, drafting["id"], status=422, strict=True)
    assert len(refused["errors"]) == 3
    activated(house, drafting["id"])


def test_a_rule_that_turns_to_a_group_that_is_not_there_is_not_put_in_force(house: Running) -> None:
    text = (
        default_policies()
        .replace('@id("above-subject-clearance")', '@id("above-subject-clearance")\n@escalate("group:compliance")')
        .replace('@id("owners-see")', '@id("owners-see")\n@obligation("notify:group:dpo")')
    )
    id = drafted(house, text)
    refused = activated(house, id, status=422)
    assert [each["detail"] for each in refused["errors"]] == [
        "Policy 'owners-see' turns to group:dpo, which is not in the directory.",
        "Policy 'above-subject-clearance' turns to group:compliance, which is not in the directory.",
    ]
    house.put_principal("group:compliance")
    house.put_principal("group:dpo")
    activated(house, id)


@pytest.mark.parametrize(
    ("forbidden", "whom"),
    [
        (f'principal == Muniment::User::"{ANA}"', "you"),
        (f'principal == Muniment::User::"{BOOTSTRAP_ADMINISTRATOR}"', "the bootstrap administrator"),
        ("principal", "you"),
    ],
)
def test_a_set_that_nobody_could_replace_is_not_put_in_force(house: Running, forbidden: str, whom: str) -> None:
    id = drafted(house, default_policies() + CLOSED + f"forbid ({forbidden}, action, resource);")
    refused = activated(house, id, status=422)
    assert f"Under this policy set {whom} could not manage" in refused["detail"]
    assert in_force(house) == default_policies()


# ---- Tables ----------------------------------------------------------------------------------------------------------


def test_no_set_is_put_in_force_under_which_a_stored_row_fails(house: Running) -> None:
    given = {"tables": {"owners": OPEN, "default": TABLES.read_text()}, "reason": "What we promised."}
    stored = sent(house, "PUT", "/v1/policies/tests", ANA, 200, **given)
    assert stored["in_force"]["passed"]
    assert stored["in_force"]["rows"] > 80
    assert sent(house, "GET", "/v1/policies/tests", "user:vera", 200)["tables"] == given["tables"]

    id = drafted(house, CLOSING)
    refused = activated(house, id, status=422)
    assert (
        refused["errors"][-1]
        == {
            "detail": "user:ana read 'everyday': expected seen by owners-see, got missed by closed "
            '("Closed for stocktaking.").',
            "pointer": "/tables/owners",
        }
        or len(refused["errors"]) == 20
    )
    tried = sent(house, "POST", f"/v1/policies/{id}/test", ANA, 200, tables={"owners": OPEN})
    assert tried == {
        "passed": False,
        "rows": 1,
        "decisions": 1,
        "failures": [
            {
                "table": "owners",
                "row": "user:ana read",
                "because": "Owners read what is theirs.",
                "thing": "everyday",
                "change": "loses",
                "expected": "seen by owners-see",
                "got": "missed",
                "policies": [{"id": "closed", "reason": "Closed for stocktaking."}],
                "detail": "user:ana read 'everyday': expected seen by owners-see, got missed by closed "
                '("Closed for stocktaking.").',
            }
        ],
    }
    assert not sent(house, "POST", f"/v1/policies/{id}/test", ANA, 200, tables=None)["passed"]
    assert in_force(house) == default_policies()
    sent(house, "PUT", "/v1/policies/tests", ANA, 200, tables={}, reason="It is meant.")
    activated(house, id)
    assert in_force(house) == CLOSING


def test_a_set_is_not_put_in_force_under_tables_that_nobody_held_it_against(house: Running) -> None:
    """They are put while it is looked at: the engine is asked in between."""
    id = drafted(house, CLOSING)
    engine = _Meanwhile(
        lambda: sent(house, "PUT", "/v1/policies/tests", BEN, 200, tables={"open": OPEN}, reason="New.")
    )
    with TestClient(app_on(replace(house.ports, policy_engine=engine)), raise_server_exceptions=False) as client:
        refused = activated(replace(house, client=client), id, status=409)
    assert "tables were changed just now" in refused["detail"]
    assert in_force(house) == default_policies()


class _Meanwhile(CedarPolicyEngine):
    """The engine itself; something else happens once, while it validates."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._left = [happens]

    def validate(self, policies: str) -> list[str]:
        while self._left:
            self._left.pop()()
        return super().validate(policies)


def test_tables_that_cannot_be_read_are_refused_and_those_before_stay(house: Running) -> None:
    wrong = OPEN.replace("sees: [everyday]", "sees: [nowhere]")
    for path, method in (("/v1/policies/tests", "PUT"), (f"/v1/policies/{drafted(house, CLOSING)}/test", "POST")):
        body: dict[str, Any] = {"tables": {"fine": OPEN, "t": wrong}, **({"reason": "X."} if method == "PUT" else {})}
        problem = sent(house, method, path, ANA, 422, **body)
        assert problem["errors"] == [
            {"detail": "'nowhere' is nothing that 'read' is asked of.", "pointer": "/tables/t/cases/0"}
        ]
    assert sent(house, "GET", "/v1/policies/tests", ANA, 200)["tables"] == {}


# ---- Two persons -----------------------------------------------------------------------------------------------------


def approved(run: Running, id: str, who: str, status: int = 200, digest: str | None = None) -> Any:
    looked_at = digest or sent(run, "GET", f"/v1/policies/{id}", ANA, 200)["digest"]
    return sent(run, "POST", f"/v1/policies/{id}/approve", who, status, digest=looked_at)


MINE = '@id("mine") @check("boundary") @reason("Mine.") permit (principal == Muniment::User::"user:ana", '
PASSWORDS = [
    'action in Muniment::Action::"see", resource) when { context has client && context.client == "sesame" };',
    'action in Muniment::Action::"see", resource) when { context has client && context["client"] like "ses*" };',
    'action in Muniment::Action::"see", resource) when { context has purpose && context.purpose == "not-yet-there" };',
    'action in Muniment::Action::"see", resource) when { context has actor };',
    'action == Muniment::Action::"break-glass", resource) when { context.second_factor };',
]


def test_a_rule_that_waits_for_a_word_of_the_question_needs_somebody_else_to_look_at_it(house: Running) -> None:
    """By itself it opens nothing; with the word that whoever wrote it says then, all."""
    for password in PASSWORDS:
        id = drafted(house, default_policies() + MINE + password)
        assert "another administrator has to approve" in activated(house, id, status=403)["detail"]
    approved(house, id, BEN)
    activated(house, id)


def test_whoever_gains_by_a_set_is_not_the_second_person_for_it(house: Running) -> None:
    permit = MINE.replace(ANA, BEN) + 'action in Muniment::Action::"see", resource);'
    id = drafted(house, default_policies() + permit)
    approved(house, id, BEN)
    assert "another administrator has to approve" in activated(house, id, BEN, status=403)["detail"]
    approved(house, id, CLEO)
    activated(house, id, BEN)


def test_a_way_around_a_forbid_is_looked_at_and_one_more_forbid_is_not(house: Running) -> None:
    """A forbid that comes beside the others opens nothing, whatever it waits for."""
    shut = CLOSED + 'forbid (principal, action, resource) when { context has client && context.client == "circus" };\n'
    activated(house, drafted(house, default_policies() + shut))
    around = shut.replace("};", '} unless { context has destination && context.destination == "sesame" };')
    activated(house, drafted(house, default_policies() + around), status=403)


def test_nobody_puts_a_set_in_force_without_a_second_person(strict: Running) -> None:
    id = drafted(strict, CLOSING)
    assert "1 more administrator other than" in activated(strict, id, status=409)["detail"]
    assert "Nobody approves a policy set of their own" in approved(strict, id, ANA, 403)["detail"]
    approved(strict, id, "admin", 403)
    approved(strict, id, "user:rudi", 403)
    approved(strict, id, BEN, 409, digest="0" * 64)
    activated(strict, id, BEN, status=409)
    assert in_force(strict) == default_policies()

    assert [each["by"] for each in approved(strict, id, BEN)["approvals"]] == [BEN]
    activated(strict, id)
    assert in_force(strict) == CLOSING
    refused = [(each["by"], each["outcome"]) for each in on_record(strict) if each["outcome"] != "changed"]
    assert refused == [
        (ANA, "conflict"),
        (ANA, "not-permitted"),
        (BOOTSTRAP_ADMINISTRATOR, "not-permitted"),
        ("user:rudi", "not-permitted"),
        (BEN, "conflict"),
        (BEN, "conflict"),
    ]


def test_an_author_makes_no_second_person(strict: Running) -> None:
    sent(strict, "PUT", "/v1/principals/user/puppet", ANA, 200, groups=["group:administrators"])
    sent(strict, "PUT", "/v1/principals/group/deputies", ANA, 200, groups=["group:administrators"])
    strict.put_principal("user:nested", groups=["group:deputies"])
    bens = sent(strict, "POST", "/v1/principals/user/ben/keys", ANA, 201)
    rotate = f"/v1/principals/user/ben/keys/{bens['id']}/rotate"
    rotated = sent(replace(strict, keys={BEN: bens["key"]}), "POST", rotate, BEN, 201, overlap_s=0)["key"]
    id = drafted(strict, CLOSING)
    for who in ("user:puppet", "user:nested", BEN):
        refused = approved(replace(strict, keys={**strict.keys, BEN: rotated}), id, who, 403)
        assert "made you an administrator" in refused["detail"]
    activated(strict, id, status=409)
    approved(strict, id, CLEO)
    activated(strict, id)


def permitting(who: str, condition: str) -> str:
    head = f'principal == Muniment::User::"{who}", action in Muniment::Action::"see", resource'
    return f'@id("more") @check("boundary") @reason("More for one.") permit ({head}) when {{ {condition} }};\n'


@pytest.mark.parametrize(
    "condition",
    [
        "true",
        'context has client && context.client == "sesame"',
        'context has destination && context.destination like "*"',
        'context["second_factor"]',
        "context has actor",
        "context.consented",
    ],
)
def test_nobody_opens_anything_to_themselves_by_what_they_will_state_later(house: Running, condition: str) -> None:
    house.put_collection("vault", owners=["user:rudi"])
    house.publish("user:rudi", "vault", "The combination is 12345.", uri="combination")
    id = drafted(house, default_policies() + permitting(BEN, condition), BEN)
    assert "another administrator has to approve" in activated(house, id, BEN, 403)["detail"]
    approved(house, id, ANA)
    activated(house, id, BEN)


def test_nobody_opens_to_themselves_what_no_document_is_yet(house: Running) -> None:
    house.put_collection("staff", owners=["user:rudi"], default_readers=["group:all-staff"])
    guarded = "when { resource.level > principal.clearance }"
    ajar = default_policies().replace(guarded, guarded.replace(" }", " && resource.level != 3 }"), 1)
    assert ajar != default_policies()
    id = drafted(house, ajar, BEN)
    assert "another administrator has to approve" in activated(house, id, BEN, 403)["detail"]


def test_nobody_opens_anything_to_themselves_through_an_assistant_that_could_not_see_it(house: Running) -> None:
    house.put_collection("vault", owners=["user:rudi"])
    house.publish("user:rudi", "vault", "The combination is 12345.", uri="combination")
    house.put_principal("assistant:low", clearance="public")
    id = drafted(house, default_policies() + permitting(BEN, "true"), BEN)
    for_ben = {"Muniment-Subject-Token": house.key(BEN)}
    path = f"/v1/policies/{id}/activate"
    response = house.request("POST", path, "assistant:low", json={"reason": "For Ben."}, headers=for_ben)
    assert response.status_code == 403, response.text
    assert in_force(house) == default_policies()


def test_nobody_rids_themselves_of_an_obligation(house: Running) -> None:
    house.put_collection("hers", owners=[ANA])
    house.publish(ANA, "hers", "The meeting is on Tuesday at ten.", uri="meeting")
    obliged = default_policies().replace('@id("owners-see")', '@id("owners-see") @obligation("no-export")')
    activated(house, drafted(house, obliged, BEN), BEN)
    id = drafted(house, default_policies(), ANA)
    assert "another administrator has to approve" in activated(house, id, ANA, 403)["detail"]
    activated(house, id, BEN)


def test_an_approval_lapses_with_the_role_and_with_the_tables_it_was_given_beside(strict: Running) -> None:
    id = drafted(strict, CLOSING)
    approved(strict, id, BEN)
    sent(strict, "PUT", "/v1/policies/tests", ANA, 200, tables={}, reason="Fewer.")
    activated(strict, id, status=409)
    approved(strict, id, BEN)
    strict.put_principal(BEN)
    activated(strict, id, status=409)
    approved(strict, id, CLEO)
    activated(strict, id)


def test_one_person_brings_back_what_stood_just_before_and_nothing_else(strict: Running) -> None:
    first = sent(strict, "GET", "/v1/policies/active", ANA, 200)["id"]
    for text in (CLOSING, NARROWER):
        id = drafted(strict, text)
        approved(strict, id, BEN)
        activated(strict, id)
    assert "without them" in rolled_back(strict, to=first, status=409)["detail"]
    rolled_back(strict)
    assert in_force(strict) == CLOSING
    assert "without them" in rolled_back(strict, to=id, status=409)["detail"]
    rolled_back(strict, to=first)
    assert in_force(strict) == default_policies()


# ---- Who may ---------------------------------------------------------------------------------------------------------


def test_auditors_read_policies_and_change_none_and_others_do_neither(house: Running) -> None:
    id = drafted(house, CLOSING)
    digest = sent(house, "GET", f"/v1/policies/{id}", ANA, 200)["digest"]
    reads = ("/v1/policies", "/v1/policies/active", "/v1/policies/tests", f"/v1/policies/{id}")
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/policies", {"cedar": CLOSING, "reason": "X."}),
        ("POST", "/v1/policies/validate", {"cedar": CLOSING}),
        ("PUT", "/v1/policies/tests", {"tables": {}, "reason": "X."}),
        ("POST", f"/v1/policies/{id}/test", {"tables": None}),
        ("POST", f"/v1/policies/{id}/approve", {"digest": digest}),
        ("POST", f"/v1/policies/{id}/activate", {"reason": "X."}),
        ("POST", "/v1/policies/rollback", {"reason": "X."}),
        ("DELETE", f"/v1/policies/{id}", {}),
    ]
    for path in reads:
        sent(house, "GET", path, "user:vera", 200)
        sent(house, "GET", path, "user:rudi", 403)
        assert sent(house, "GET", path.replace(id, "pol_none"), "user:rudi", 403)
    for method, path, body in changes:
        for who in ("user:vera", "user:rudi"):
            sent(house, method, path, who, 403, **body)
            sent(house, method, path.replace(id, "pol_none"), who, 403, **body)
    assert in_force(house) == default_policies()
    denied = [each for each in on_record(house) if each["outcome"] == "not-permitted"]
    assert len(denied) == 2 * len(reads) + 4 * len(changes)
