"""Checks: every one that was applied, in order, saying the rule and never what it removed."""

from dataclasses import replace

import pytest

from app.domain.access import DENIED, Party, PolicyId, Principal, PrincipalRef, Profile, Proof, Ruling
from app.domain.checks import (
    Asked,
    Check,
    CheckName,
    CheckOutcome,
    Rule,
    applied,
    authority,
    blocked,
    conflict,
    freshness,
    personal_data,
)
from app.domain.instants import Instant, parse_instant
from app.domain.labels import Label, Level

NARROWED, PASS, BLOCKED = CheckOutcome.NARROWED, CheckOutcome.PASS, CheckOutcome.BLOCKED
NOW = parse_instant("2026-06-01T12:00:00Z")
ASKED = Asked(purpose="audit", valid_at=NOW, known_at=None)


def rule(id: str, check: CheckName | None, *, permits: bool = False) -> Rule:
    return Rule(id=PolicyId(id), check=check, reason=f"{id}, because.", permits=permits)


RULES = (
    rule("permit-readers", CheckName.BOUNDARY, permits=True),
    rule("deny-walls", CheckName.BOUNDARY),
    rule("deny-above-clearance", CheckName.CLEARANCE),
    rule("deny-suspended", CheckName.IDENTITY),
    rule("permit-asking", CheckName.TOOL, permits=True),
    rule("permit-owners", CheckName.BOUNDARY, permits=True),
    rule("deny-uncategorised", None),
)
INSPECTED = (freshness(()), authority((), ruled=False), conflict((), passages=0))
PERSONAL_DATA = personal_data((), (), None)
OF_PASSAGES = [name for name in CheckName if name is not CheckName.GROUNDING]
"""That one is of what is answered in words, and put behind the others there."""
DECIDED_BY = frozenset({PolicyId("permit-asking"), PolicyId("permit-readers"), PolicyId("deny-above-clearance")})


def party(ref: str, **profile: object) -> Party:
    return Party(
        profile=Profile(ref=PrincipalRef(ref), display_name=ref, **profile),  # type: ignore[arg-type]
        groups=frozenset(),
    )


ANA = party("user:ana", clearance=Level.CONFIDENTIAL, jurisdictions=frozenset({"EU", "CH"}))
CHIEF = party("user:chief", clearance=Level.RESTRICTED, categories=frozenset({"pii", "phi"}))
BOT = party("assistant:bot", clearance=Level.INTERNAL, collections=frozenset({"policies"}))


def checks(
    principal: Principal,
    asked: Asked = ASKED,
    label: Label | None = None,
    *,
    decided_by: frozenset[PolicyId] = DECIDED_BY,
    intact: bool = True,
) -> dict[CheckName, Check]:
    found = applied(
        RULES,
        principal,
        asked,
        label,
        decided_by=decided_by,
        intact=intact,
        inspected=INSPECTED,
        personal_data=PERSONAL_DATA,
    )
    return {check.check: check for check in found}


def test_every_check_is_named_once_and_in_order() -> None:
    found = applied(
        RULES,
        Principal(subject=ANA),
        ASKED,
        None,
        decided_by=DECIDED_BY,
        intact=True,
        inspected=INSPECTED,
        personal_data=PERSONAL_DATA,
    )
    assert [check.check for check in found] == OF_PASSAGES


def test_checks_name_every_rule_that_stood_guard_and_of_the_permits_those_that_decided() -> None:
    found = checks(Principal(subject=ANA))
    assert {name: check.policies for name, check in found.items() if check.policies} == {
        CheckName.IDENTITY: ("deny-suspended",),
        CheckName.TOOL: ("permit-asking",),
        CheckName.BOUNDARY: ("permit-readers", "deny-walls"),
        CheckName.CLEARANCE: ("deny-above-clearance",),
    }


def test_permit_that_let_nothing_be_shown_is_not_named() -> None:
    found = checks(Principal(subject=ANA), decided_by=frozenset())
    assert {name: check.policies for name, check in found.items() if check.policies} == {
        CheckName.IDENTITY: ("deny-suspended",),
        CheckName.BOUNDARY: ("deny-walls",),
        CheckName.CLEARANCE: ("deny-above-clearance",),
    }


def test_checks_are_a_function_of_who_asked_what_under_which_rules() -> None:
    """Two callers alike in these are told the same, whatever lies hidden: nothing else goes in."""
    told = [checks(Principal(subject=replace(ANA)), replace(ASKED), Label(level=Level.INTERNAL)) for _ in range(2)]
    assert told[0] == told[1]


def test_label_of_what_is_shown_is_told_by_clearance_alone() -> None:
    shown, none = checks(Principal(subject=ANA), label=Label(level=Level.INTERNAL)), checks(Principal(subject=ANA))
    assert [name for name in OF_PASSAGES if shown[name] != none[name]] == [CheckName.CLEARANCE]
    assert shown[CheckName.CLEARANCE].reason.endswith("; what is shown is internal.")
    assert shown[CheckName.CLEARANCE].outcome is none[CheckName.CLEARANCE].outcome


def test_groups_of_the_principal_are_not_told() -> None:
    """Which group let somebody in would tell the readers of what they see."""
    inside = replace(ANA, groups=frozenset({PrincipalRef("group:legal")}))
    assert checks(Principal(subject=inside)) == checks(Principal(subject=ANA))


@pytest.mark.parametrize(
    ("principal", "outcome", "reason"),
    [
        (Principal(subject=ANA), NARROWED, "Cleared up to confidential, for no special category."),
        (Principal(subject=CHIEF), PASS, "Cleared up to restricted, for phi, pii."),
        (
            Principal(subject=CHIEF, actors=(BOT,)),
            NARROWED,
            "Cleared up to internal, for no special category (the lower of subject and actor).",
        ),
    ],
    ids=["below the top", "at the top", "lowered by the actor"],
)
def test_clearance_is_the_lower_of_subject_and_actor(principal: Principal, outcome: CheckOutcome, reason: str) -> None:
    found = checks(principal)[CheckName.CLEARANCE]
    assert (found.outcome, found.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("principal", "reason"),
    [
        (Principal(subject=ANA), "user:ana, proven by its own credential."),
        (
            Principal(subject=ANA, actors=(BOT,), proof=Proof.PROVEN),
            "user:ana (proven by its own credential), through assistant:bot.",
        ),
        (
            Principal(subject=ANA, actors=(BOT,), proof=Proof.ASSERTED),
            "user:ana (asserted by the assistant, not proven), through assistant:bot.",
        ),
    ],
    ids=["alone", "proven", "asserted"],
)
def test_identity_says_who_asks_and_how_it_is_known(principal: Principal, reason: str) -> None:
    found = checks(principal)[CheckName.IDENTITY]
    assert (found.outcome, found.reason) == (PASS, reason)


def test_purpose_that_is_not_stated_narrows() -> None:
    stated, unstated = checks(Principal(subject=ANA)), checks(Principal(subject=ANA), replace(ASKED, purpose=None))
    assert (stated[CheckName.PURPOSE].outcome, stated[CheckName.PURPOSE].reason) == (
        PASS,
        "Asked for audit, a registered purpose.",
    )
    assert unstated[CheckName.PURPOSE].outcome is NARROWED


def test_boundary_names_the_subject_and_the_collections_of_the_actor() -> None:
    alone, through = checks(Principal(subject=ANA)), checks(Principal(subject=ANA, actors=(BOT,)))
    assert "include user:ana," in alone[CheckName.BOUNDARY].reason
    assert "assistant:bot" not in alone[CheckName.BOUNDARY].reason
    assert through[CheckName.BOUNDARY].reason.endswith("in the collections that assistant:bot may use.")
    assert {alone[CheckName.BOUNDARY].outcome, through[CheckName.BOUNDARY].outcome} == {NARROWED}


def test_jurisdiction_names_where_each_is() -> None:
    person, anywhere = checks(Principal(subject=ANA)), checks(Principal(subject=BOT))
    assert (person[CheckName.JURISDICTION].outcome, anywhere[CheckName.JURISDICTION].outcome) == (NARROWED, PASS)
    assert "user:ana (CH, EU)" in person[CheckName.JURISDICTION].reason
    nowhere = checks(Principal(subject=CHIEF, actors=(BOT,)))[CheckName.JURISDICTION]
    assert "user:chief (none)" in nowhere.reason
    assert "assistant:bot" not in nowhere.reason


def test_lifecycle_names_the_instants() -> None:
    now = checks(Principal(subject=ANA))[CheckName.LIFECYCLE]
    then = checks(Principal(subject=ANA), replace(ASKED, known_at=Instant(0)))[CheckName.LIFECYCLE]
    assert now.reason.startswith("Only versions in force at 2026-06-01T12:00:00Z; none that is withdrawn")
    assert then.reason.startswith("Only versions in force at 2026-06-01T12:00:00Z, as known at 1970-01-01T00:00:00Z;")


def test_damaged_text_warns_and_changes_no_other_check() -> None:
    intact, damaged = checks(Principal(subject=ANA)), checks(Principal(subject=ANA), intact=False)
    assert [name for name in OF_PASSAGES if intact[name] != damaged[name]] == [CheckName.INTEGRITY]
    assert (intact[CheckName.INTEGRITY].outcome, damaged[CheckName.INTEGRITY].outcome) == (PASS, CheckOutcome.WARNED)


def test_blocked_question_names_each_rule_that_forbids_it() -> None:
    ruling = Ruling(allowed=False, policies=(PolicyId("deny-above-clearance"), PolicyId("deny-uncategorised")))
    assert blocked(RULES, ruling, Principal(subject=ANA)) == (
        Check(check=CheckName.IDENTITY, outcome=PASS, reason="user:ana, proven by its own credential."),
        Check(
            check=CheckName.CLEARANCE,
            outcome=BLOCKED,
            reason="deny-above-clearance, because.",
            policies=(PolicyId("deny-above-clearance"),),
        ),
        Check(
            check=CheckName.TOOL,
            outcome=BLOCKED,
            reason="deny-uncategorised, because.",
            policies=(PolicyId("deny-uncategorised"),),
        ),
    )


def test_blocked_for_who_it_is_names_identity_once() -> None:
    ruling = Ruling(allowed=False, policies=(PolicyId("deny-suspended"),))
    assert blocked(RULES, ruling, Principal(subject=ANA)) == (
        Check(
            check=CheckName.IDENTITY,
            outcome=BLOCKED,
            reason="deny-suspended, because.",
            policies=(PolicyId("deny-suspended"),),
        ),
    )


@pytest.mark.parametrize("ruling", [DENIED, Ruling(allowed=False, policies=(PolicyId("permit-asking"),))])
def test_question_that_nothing_permits_says_whom_to_ask(ruling: Ruling) -> None:
    who, why = blocked(RULES, ruling, Principal(subject=ANA))
    assert who.check is CheckName.IDENTITY
    assert (why.check, why.outcome, why.policies) == (CheckName.TOOL, BLOCKED, ())
    assert "Ask an administrator" in why.reason
