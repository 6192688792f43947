"""Cedar's ways of failing open, each closed; and what the engine promises beside."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import cedarpy
import pytest

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.domain.access import (
    DENIED,
    Action,
    Boundary,
    Collection,
    Party,
    PolicyId,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Ruling,
    Use,
)
from app.domain.checks import CheckName, Rule
from app.domain.errors import Unavailable
from app.domain.labels import Label, Level
from app.domain.stated import NOTHING_STATED, stated
from app.ports import Bounded, Institution, Named, PolicyEngine, Resource, Thing

PERMIT_ALL = '@id("permit-all") @reason("All.") permit (principal, action, resource);\n'
READERS_READ = """
@id("readers-read") @reason("Readers.")
permit (principal, action == Muniment::Action::"read", resource) when { principal in resource.readers };
"""
OVERFLOW = "9223372036854775807 + 1 > 0"


@pytest.fixture(scope="module")
def engine() -> CedarPolicyEngine:
    return CedarPolicyEngine()


def party(ref: str, *groups: str, **profile: Any) -> Party:
    named = frozenset(PrincipalRef(group) for group in groups)
    return Party(profile=Profile(ref=PrincipalRef(ref), display_name=ref, groups=named, **profile), groups=named)


def asked(
    subject: Party, action: Action = Action.READ, *, actor: Party | None = None, purpose: str | None = None
) -> Question:
    return Question(
        principal=Principal(subject=subject, actors=(actor,) if actor else ()), action=action, purpose=purpose
    )


def collection(name: str = "files", *owners: str) -> Collection:
    return Collection(
        name=name, title=name, owners=frozenset(PrincipalRef(owner) for owner in owners), default_label=Label()
    )


def bounded(*readers: str, within: Collection | None = None, **boundary: Any) -> Bounded:
    home = within or collection()
    named = frozenset(PrincipalRef(reader) for reader in readers)
    entry = Boundary(**{"collection": home.name, "label": Label(), "readers": named, **boundary})
    return Bounded(boundary=entry, collection=home)


ANA = party("user:ana", "group:claims")


def forbid(name: str, condition: str, *, action: str = "action") -> str:
    return f'@id("{name}") @reason("No.") forbid (principal, {action}, resource) when {{ {condition} }};\n'


def allowed(
    engine: PolicyEngine, policies: str, question: Question, resources: Sequence[Resource] = (bounded("user:ana"),)
) -> list[bool]:
    return [ruling.allowed for ruling in engine.decide(policies, question, resources)]


def test_engine_is_the_port(engine: CedarPolicyEngine) -> None:
    port: PolicyEngine = engine
    assert port.validate(PERMIT_ALL) == []
    assert allowed(port, PERMIT_ALL, asked(ANA)) == [True]


# ---- Errors while deciding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition", [OVERFLOW, f"resource.readers.isEmpty() || {OVERFLOW}", 'ip("10.0.0.1/33").isIpv4()']
)
def test_forbid_that_errors_denies(engine: CedarPolicyEngine, condition: str) -> None:
    """Cedar by itself skips it and allows."""
    policies = PERMIT_ALL + forbid("broken", condition)
    if engine.validate(policies):
        with pytest.raises(Unavailable):
            engine.decide(policies, asked(ANA), [bounded("user:ana")])
    else:
        assert engine.decide(policies, asked(ANA), [bounded("user:ana")]) == [DENIED]


def test_permit_that_errors_beside_one_that_holds_denies(engine: CedarPolicyEngine) -> None:
    broken = f'@id("broken") @reason("All.") permit (principal, action, resource) when {{ {OVERFLOW} }};'
    assert engine.decide(PERMIT_ALL + broken, asked(ANA), [bounded("user:ana")]) == [DENIED]


def test_error_denies_only_where_it_happens(engine: CedarPolicyEngine) -> None:
    policies = PERMIT_ALL + forbid("broken", f"resource is Muniment::Boundary && resource.level == 3 && {OVERFLOW}")
    resources = [bounded(label=Label(level=level)) for level in (Level.PUBLIC, Level.RESTRICTED, Level.INTERNAL)]
    assert allowed(engine, policies, asked(ANA), resources) == [True, False, True]


def test_failing_decisions_are_logged(engine: CedarPolicyEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine.decide(PERMIT_ALL + forbid("broken", OVERFLOW), asked(ANA), [bounded(), bounded()])
    assert "2 of 2 decisions failed and deny" in caplog.text


# ---- Questions and entities that do not fit the schema ---------------------------------------------------------------


def test_forbid_on_an_action_group_holds(engine: CedarPolicyEngine) -> None:
    """Without the schema Cedar does not know that `read` is in `see`, and allows."""
    on_see = PERMIT_ALL + forbid("no-seeing", "true", action='action in Muniment::Action::"see"')
    assert allowed(engine, on_see, asked(ANA, Action.READ)) == [False]
    assert allowed(engine, on_see, asked(ANA, Action.DESCRIBE)) == [False]
    assert allowed(engine, on_see, asked(ANA, Action.ASK), [Institution()]) == [True]


@pytest.mark.parametrize(
    ("question", "resource"),
    [
        (asked(ANA, Action.READ), collection()),
        (asked(ANA, Action.ASK), bounded("user:ana")),
        (asked(ANA, Action.CURATE), Institution()),
        (asked(party("group:claims")), bounded("group:claims")),
        (asked(ANA, actor=party("user:ben")), bounded("user:ana")),
        (asked(ANA, actor=party("group:claims")), bounded("user:ana")),
    ],
)
def test_question_that_does_not_fit_the_schema_is_denied(
    engine: CedarPolicyEngine, question: Question, resource: Resource
) -> None:
    """Cedar answers NoDecision, which is a denial; without the schema in the request it would allow."""
    assert engine.decide(PERMIT_ALL, question, [resource]) == [DENIED]


def answers(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Lets `change` have Cedar's answers before the engine sees them."""
    batch = cedarpy.is_authorized_batch

    def changed(*arguments: Any) -> list[cedarpy.AuthzResult]:
        return [cedarpy.AuthzResult(answer) for answer in change([result._authz_resp for result in batch(*arguments)])]

    monkeypatch.setattr(cedarpy, "is_authorized_batch", changed)


@pytest.mark.parametrize("decision", ["NoDecision", "Deny", "Unheard-of"])
def test_anything_but_allow_denies(engine: CedarPolicyEngine, monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    answers(monkeypatch, lambda found: [{**answer, "decision": decision} for answer in found])
    assert allowed(engine, PERMIT_ALL, asked(ANA), [bounded(), bounded()]) == [False, False]


def test_allow_that_no_policy_determined_denies(engine: CedarPolicyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, lambda found: [{**answer, "diagnostics": {"reason": [], "errors": []}} for answer in found])
    assert engine.decide(PERMIT_ALL, asked(ANA), [bounded()]) == [DENIED]


@pytest.mark.parametrize("active", ["yes", 1, None])
def test_principal_that_does_not_fit_the_schema_is_denied(engine: CedarPolicyEngine, active: Any) -> None:
    assert engine.decide(PERMIT_ALL, asked(party("user:ana", active=active)), [bounded()]) == [DENIED]


@pytest.mark.parametrize(
    "misfit",
    [
        bounded(purposes=frozenset({7})),
        bounded(jurisdictions=frozenset({"\ud800"})),
        bounded(within=replace(collection(), discoverable="no")),  # type: ignore[arg-type]
        Bounded(boundary=bounded().boundary, collection=collection("elsewhere")),
        "no resource at all",
    ],
)
def test_resource_that_does_not_fit_is_denied_and_takes_no_other_with_it(
    engine: CedarPolicyEngine, misfit: Resource
) -> None:
    resources = [bounded("user:ana"), bounded("user:ben"), misfit, bounded("user:ana")]
    assert allowed(engine, PERMIT_ALL, asked(ANA), resources) == [True, True, False, True]


def test_exception_while_deciding_denies(engine: CedarPolicyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("nothing works today")

    monkeypatch.setattr(cedarpy, "is_authorized_batch", fails)
    assert engine.decide(PERMIT_ALL, asked(ANA), [bounded(), bounded()]) == [DENIED, DENIED]


# ---- Which answer belongs to which question, and to which policy -----------------------------------------------------


@pytest.mark.parametrize("lost", [slice(1, None), slice(0, 0), slice(0, 1)])
def test_answers_that_are_missing_make_the_engine_unavailable(
    engine: CedarPolicyEngine, monkeypatch: pytest.MonkeyPatch, lost: slice
) -> None:
    answers(monkeypatch, lambda found: found[lost])
    with pytest.raises(Unavailable):
        engine.decide(PERMIT_ALL, asked(ANA), [bounded(), bounded()])


def test_answers_in_another_order_allow_nothing(engine: CedarPolicyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, lambda found: found[::-1])
    assert allowed(engine, READERS_READ, asked(ANA), [bounded("user:ben"), bounded("user:ana")]) == [False, False]


def test_rulings_are_in_the_order_of_the_resources(engine: CedarPolicyEngine) -> None:
    resources = [bounded("user:ana" if n % 3 else "user:ben", label=Label(level=Level(n % 4))) for n in range(300)]
    expected = [n % 3 != 0 for n in range(300)]
    assert allowed(engine, READERS_READ, asked(ANA), resources) == expected
    assert allowed(CedarPolicyEngine(chunk=7), READERS_READ, asked(ANA), resources) == expected
    assert allowed(CedarPolicyEngine(chunk=5_000), READERS_READ, asked(ANA), resources) == expected


def test_policies_are_named_by_id_and_not_by_position(engine: CedarPolicyEngine) -> None:
    """Cedar calls the twelfth policy `policy11`, and sorts it before the third."""
    policies = PERMIT_ALL + "".join(
        forbid(f"level-{n}", f"resource is Muniment::Boundary && resource.level == {n}") for n in range(12)
    )
    policies += forbid("policy3", "resource is Muniment::Boundary && resource.level >= 2")
    resources = [bounded(label=Label(level=Level(n))) for n in (1, 2, 3)]
    assert engine.decide(policies, asked(ANA), resources) == [
        Ruling(allowed=False, policies=(PolicyId("level-1"),)),
        Ruling(allowed=False, policies=(PolicyId("level-2"), PolicyId("policy3"))),
        Ruling(allowed=False, policies=(PolicyId("level-3"), PolicyId("policy3"))),
    ]


def test_obligations_are_those_of_the_permits_that_apply(engine: CedarPolicyEngine) -> None:
    policies = """
    @id("by-name") @reason("By name.") @obligation(" cite-sources, max-passages:3 ")
    permit (principal, action, resource is Muniment::Boundary) when { principal in resource.readers };
    @id("by-owning") @reason("By owning.") @obligation("cite-sources,no-export")
    permit (principal, action, resource is Muniment::Boundary) when { principal in resource.collection.owners };
    @id("by-nothing") @reason("By nothing.") @obligation("unheard-of")
    permit (principal, action, resource is Muniment::Boundary) when { resource.level == 3 };
    """
    owned = collection("files", "group:claims")
    assert engine.decide(policies, asked(ANA), [bounded("user:ana"), bounded("user:ana", within=owned), bounded()]) == [
        Ruling(allowed=True, policies=(PolicyId("by-name"),), obligations=("cite-sources", "max-passages:3")),
        Ruling(
            allowed=True,
            policies=(PolicyId("by-name"), PolicyId("by-owning")),
            obligations=("cite-sources", "max-passages:3", "no-export"),
        ),
        DENIED,
    ]


def test_what_is_no_resource_is_not_taken_for_one(engine: CedarPolicyEngine) -> None:
    nothing: Any = object()
    assert allowed(engine, PERMIT_ALL, asked(ANA, Action.ASK), [Institution(), nothing]) == [True, False]


def test_no_resources_have_no_rulings(engine: CedarPolicyEngine) -> None:
    assert engine.decide(PERMIT_ALL, asked(ANA), []) == []


# ---- Who is who ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ['o"hara', "o'hara\\", "josé", "a:b::c", "line\nbreak", 'x" } ; permit(principal,action,resource);', "大", " "],
)
def test_any_name_is_itself_and_no_other(engine: CedarPolicyEngine, name: str) -> None:
    resources = [bounded(f"user:{name}"), bounded(f"user:{name}x"), bounded(f"assistant:{name}"), bounded()]
    assert allowed(engine, READERS_READ, asked(party(f"user:{name}")), resources) == [True, False, False, False]
    in_group = asked(party("user:ana", f"group:{name}"))
    assert allowed(engine, READERS_READ, in_group, [bounded(f"group:{name}"), *resources]) == [True] + [False] * 4


def test_group_called_like_a_person_is_not_that_person(engine: CedarPolicyEngine) -> None:
    member = asked(party("user:ben", "group:user:ana"))
    assert allowed(engine, READERS_READ, member, [bounded("user:ana"), bounded("group:user:ana")]) == [False, True]


@pytest.mark.parametrize("group", ["user:boss", "assistant:boss", "boss"])
def test_membership_in_what_is_no_group_denies(engine: CedarPolicyEngine, group: str) -> None:
    assert allowed(engine, PERMIT_ALL, asked(party("user:ben", group)), [bounded(group)]) == [False]


def test_two_states_of_a_collection_are_each_decided_by_themselves(engine: CedarPolicyEngine) -> None:
    before, after = collection("files", "user:ana"), collection("files", "user:ben")
    resources = [bounded(within=before), bounded(within=after), bounded(within=before)]
    assert allowed(engine, default_policies(), asked(ANA), resources) == [True, False, True]
    assert allowed(engine, default_policies(), asked(ANA, Action.CURATE), [before, after]) == [True, False]


def test_decisions_follow_what_changed_between_them(engine: CedarPolicyEngine) -> None:
    """Resources are kept in Cedar's form: by value, so that nothing stale is decided on."""
    assert allowed(engine, default_policies(), asked(ANA), [bounded(within=collection("files", "user:ana"))]) == [True]
    assert allowed(engine, default_policies(), asked(ANA), [bounded(within=collection("files"))]) == [False]
    assert allowed(engine, default_policies(), asked(party("user:ana", active=False)), [bounded("user:ana")]) == [False]
    assert allowed(engine, default_policies() + forbid("no", "true"), asked(ANA)) == [False]


def test_policies_see_proof_purpose_interface_and_actor(engine: CedarPolicyEngine) -> None:
    policies = """
    @id("all-known") @reason("All is known.") permit (principal, action, resource)
    when { !context.proven && context.interface == "mcp" && context has purpose && context.purpose == "support" }
    when { context has actor && context.actor == Muniment::Assistant::"assistant:bot" };
    """
    principal = Principal(subject=ANA, actors=(party("assistant:bot"),), proof=Proof.ASSERTED)
    question = Question(principal=principal, action=Action.READ, purpose="support", interface="mcp")
    others = [
        replace(question, interface="rest"),
        replace(question, purpose=None),
        replace(question, purpose="other"),
        replace(question, principal=replace(principal, proof=Proof.PROVEN)),
        replace(question, principal=replace(principal, actors=())),
        replace(question, principal=replace(principal, actors=(party("assistant:other"),))),
    ]
    assert allowed(engine, policies, question) == [True]
    assert [allowed(engine, policies, other) for other in others] == [[False]] * len(others)


# ---- Texts that cannot be used ---------------------------------------------------------------------------------------

UNUSABLE = {
    "duplicate id": (
        PERMIT_ALL + forbid("twice", "true") + forbid("twice", "false"),
        ["2 policies are called 'twice': an @id names one."],
    ),
    "no id": ('@reason("All.") permit (principal, action, resource);', ["Policy number 1 has no @id."]),
    "empty id": ('@id @reason("All.") permit (principal, action, resource);', ["Policy number 1 has no @id."]),
    "no reason": (
        '@id("mute") permit (principal, action, resource);',
        ["Policy 'mute' has no @reason: say in one plain sentence why it is there."],
    ),
    "unknown check": (
        PERMIT_ALL.replace("@reason", '@check("horoscope") @reason'),
        [f"Policy 'permit-all' names the check 'horoscope', which is none: the checks are {', '.join(CheckName)}."],
    ),
    "unknown annotation": (
        PERMIT_ALL.replace("@reason", '@obligations("redact") @reason'),
        ["Policy 'permit-all' is annotated with @obligations, which means nothing here."],
    ),
    "empty obligation": (
        PERMIT_ALL.replace("@reason", '@obligation(" , ") @reason'),
        ["Policy 'permit-all' has an @obligation that says nothing."],
    ),
    "obligation of a forbid": (
        PERMIT_ALL + forbid("no", "true").replace("@reason", '@obligation("redact") @reason'),
        ["Policy 'no' forbids, so its @obligation would never be due: obligations belong to permits."],
    ),
    "template": (
        PERMIT_ALL + '@id("open") @reason("Open.") forbid (principal == ?principal, action, resource);',
        ["Policy 'open' is a template, which nothing here fills in: write it for one principal and resource."],
    ),
    "no permit": (forbid("no", "true"), ["No policy permits anything, so nothing would ever be answered."]),
    "nothing": ("", ["No policy permits anything, so nothing would ever be answered."]),
    "comment": ("// permit all; later\n", ["No policy permits anything, so nothing would ever be answered."]),
    "unknown attribute": (
        PERMIT_ALL + forbid("odd", "principal.shoe_size > 44"),
        [
            f"Policy 'odd' does not fit the schema: attribute `shoe_size` on entity type `Muniment::{kind}` not found."
            for kind in ("Assistant", "User")
        ],
    ),
    "mixed set": (
        PERMIT_ALL + forbid("odd", '[1, "a"].isEmpty()'),
        ["Policy 'odd' does not fit the schema: the types Long and String are not compatible."],
    ),
    "unreadable": (
        PERMIT_ALL + "\n// a comment; with a semicolon\n" + forbid("odd", "1 +") + forbid("fine", 'principal == "a;b"'),
        ["The policy that starts on line 4 cannot be read: unexpected token `}`."],
    ),
    "unfinished": (
        PERMIT_ALL + "permit (principal",
        ["The policy that starts on line 2 cannot be read: unexpected end of input."],
    ),
    # What follows ended the process before there was a guard: Cedar's parser recurses without a bound.
    "deep": (
        PERMIT_ALL + forbid("deep", "(" * 100_000 + "true" + ")" * 100_000),
        ["The policy that starts on line 2 is longer than 10000 characters: write it as several."],
    ),
    "brackets": (
        PERMIT_ALL + forbid("deep", "[" * 2_000 + "1" + "]" * 2_000 + ".isEmpty()"),
        ["The policy that starts on line 2 nests more than 40 brackets."],
    ),
    "brackets-behind-a-carriage-return": (
        PERMIT_ALL + "// To Cedar, the comment ends here:\r" + forbid("deep", "[" * 2_000 + "1" + "]" * 2_000),
        ["The policy that starts on line 2 nests more than 40 brackets."],
    ),
    "long": (
        PERMIT_ALL + forbid("long", " && ".join(["true"] * 100_000)),
        ["The policy that starts on line 2 is longer than 10000 characters: write it as several."],
    ),
    "chain": (
        PERMIT_ALL + forbid("chain", "&&".join(["true"] * 1_500)),
        ["The policy that starts on line 2 chains too many operators: write it as several."],
    ),
}


@pytest.mark.parametrize(("policies", "faults"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_policies_are_explained_and_decide_nothing(
    engine: CedarPolicyEngine, policies: str, faults: list[str]
) -> None:
    assert engine.validate(policies) == faults
    with pytest.raises(Unavailable):
        engine.decide(policies, asked(ANA), [bounded("user:ana")])
    with pytest.raises(Unavailable):
        engine.decide(policies, asked(ANA), [])
    with pytest.raises(Unavailable):
        engine.rules(policies)


def test_optional_attribute_read_unasked_is_a_fault(engine: CedarPolicyEngine) -> None:
    faults = engine.validate(PERMIT_ALL + forbid("hasty", 'context.purpose == "support"'))
    assert faults
    assert all(fault.startswith("Policy 'hasty' does not fit the schema: unable to guarantee") for fault in faults)


def test_every_fault_is_told_at_once(engine: CedarPolicyEngine) -> None:
    faults = engine.validate("permit (principal, action, resource);" + forbid("odd", "principal.nonesuch"))
    assert {fault.partition(" does not fit")[0].rstrip(".") for fault in faults} == {
        "Policy number 1 has no @id",
        "Policy number 1 has no @reason: say in one plain sentence why it is there",
        "Policy 'odd'",
    }


def test_long_conditions_within_the_bounds_are_decided(engine: CedarPolicyEngine) -> None:
    """Cedar's JSON form would refuse this one, so it is not gone through."""
    chain = " || ".join(f"resource.level == {n}" for n in range(10, 160))
    policies = PERMIT_ALL + forbid("long", chain, action='action == Muniment::Action::"read"')
    assert engine.validate(policies) == []
    assert allowed(engine, policies, asked(ANA)) == [True]


def test_rules_are_those_of_the_text_in_its_order(engine: CedarPolicyEngine) -> None:
    policies = """
    @id("second") @check("clearance") @reason("Two.") forbid (principal, action, resource) when { !context.proven };
    @id("first") @reason("One; \\"quoted\\" // and not a comment.") permit (principal, action, resource);
    """
    assert engine.rules(policies) == (
        Rule(id=PolicyId("second"), check=CheckName.CLEARANCE, reason="Two.", permits=False, code="second"),
        Rule(
            id=PolicyId("first"),
            check=None,
            reason='One; "quoted" // and not a comment.',
            permits=True,
            code="first",
        ),
    )


# ---- Things of other applications ------------------------------------------------------------------------------------

USE = 'permit (principal, action == Muniment::Action::"use", resource)'


def using(operation: str = "read", **said: Any) -> Question:
    return replace(asked(ANA, Action.USE), use=Use(operation=operation, **said))


def test_thing_is_decided_by_what_is_stated_of_it_of_the_subject_of_the_operation_and_of_the_request(
    engine: CedarPolicyEngine,
) -> None:
    """Each in its own place: what an application states of a subject is no attribute of the principal."""
    conditions = {
        "resource.stated.texts": "stated",
        "context.subject_stated.texts": "of_subject",
        "context.operation_stated.texts": "of_operation",
        "context.stated.texts": "of_request",
    }
    said = stated({"role": "admin"})
    for place, field in conditions.items():
        condition = f'{place}.hasTag("role") && {place}.getTag("role") == "admin"'
        policies = f'@id("p") @reason("P.") {USE} when {{ {condition} }};'
        for where in conditions.values():
            thing = Thing(type="t", name="n", stated=said if where == "stated" else NOTHING_STATED)
            question = using(**({} if where == "stated" else {where: said}))
            assert allowed(engine, policies, question, [thing]) == [where == field], (place, where)


def test_things_of_one_name_that_are_stated_differently_are_decided_each_by_its_own(engine: CedarPolicyEngine) -> None:
    policies = f'@id("p") @reason("P.") {USE} when {{ resource.stated.numbers.hasTag("n") }};'
    things = [Thing(type="t", name="n", stated=stated({key: 1})) for key in ("n", "m", "n")]
    assert allowed(engine, policies, using(), things) == [True, False, True]


def test_default_policies_permit_nothing_on_things(engine: CedarPolicyEngine) -> None:
    assert allowed(engine, default_policies(), using(), [Thing(type="t", name="n")]) == [False]


def test_use_of_what_is_ours_and_other_actions_on_things_are_denied(engine: CedarPolicyEngine) -> None:
    for question, resource in (
        (using(), bounded("user:ana")),
        (using(), Institution()),
        (asked(ANA, Action.USE), Thing(type="t", name="n")),
        (asked(ANA, Action.READ), Thing(type="t", name="n")),
    ):
        assert engine.decide(PERMIT_ALL, question, [resource]) == [DENIED]


def test_words_that_policies_hold_things_against_are_known(engine: CedarPolicyEngine) -> None:
    condition = '["b", "a"].contains(context.operation) || "c" == context.operation || resource.name == "1"'
    policies = f'@id("p") @reason("P.") {USE} when {{ {condition} && principal.name != "d" }};'
    assert engine.named(policies) == Named(operations=("a", "b", "c"), things=("1",))
    assert engine.named(default_policies()) == Named()


def test_what_is_known_of_a_question_is_known_of_a_use(engine: CedarPolicyEngine) -> None:
    schema = (files("app") / "policies" / "schema.cedarschema").read_text()

    def members(name: str) -> set[str]:
        body = schema.partition(f"type {name} = {{")[2].partition("};")[0]
        return {line.split("//")[0].strip() for line in body.splitlines() if line.split("//")[0].strip()}

    assert members("Use") - members("Question") == {
        "operation: String,",
        "operation_stated: Stated,",
        "subject_stated: Stated,",
        "stated: Stated,",
    }
    assert members("Question") <= members("Use")
