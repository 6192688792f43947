"""What the author of a valid policy set may not have meant: found where it is, and not where it is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.domain.access import PolicyId
from app.domain.policies import Remark, RemarkCode
from tests.policies.cases import table

READ = 'action == Muniment::Action::"read"'
ASK = 'permit (principal, action == Muniment::Action::"ask", resource)'
SEE = 'action in Muniment::Action::"see"'


@pytest.fixture(scope="module")
def engine() -> CedarPolicyEngine:
    return CedarPolicyEngine()


def written(*policies: str) -> str:
    """Policies called p1, p2 and so on, a line each."""
    return "\n".join(f'@id("p{n}") @reason("X.") {policy};' for n, policy in enumerate(policies, start=1))


def remarks(engine: CedarPolicyEngine, text: str, in_force: str | None = None) -> tuple[Remark, ...]:
    assert engine.validate(text) == []
    return engine.examine(text, in_force=in_force).remarks


def found(engine: CedarPolicyEngine, text: str, in_force: str | None = None) -> list[tuple[str, str, int | None]]:
    return [(each.code, each.policy, each.line) for each in remarks(engine, text, in_force)]


def test_default_policies_say_nothing_that_was_not_meant(engine: CedarPolicyEngine) -> None:
    assert remarks(engine, default_policies(), default_policies()) == ()


@pytest.mark.parametrize(
    ("scope", "conditions"),
    [
        ("principal, action, resource", "when { false }"),
        ("principal, action, resource", "unless { true || principal.active }"),
        (f"principal is Muniment::User, {SEE}, resource", "when { principal is Muniment::Assistant }"),
        (f"principal, {SEE}, resource", 'when { action == Muniment::Action::"ask" }'),
        (f"principal, {SEE}, resource", "when { resource.level > 1 && !(resource.level > 1) }"),
        (f"principal, {SEE}, resource", "when { resource.level > 1 } unless { 1 < resource.level }"),
        (f"principal, {SEE}, resource", "when { resource.level > 3 }"),
        (f"principal, {SEE}, resource", "when { resource.level > 1 && resource.level < 2 }"),
        (f"principal, {SEE}, resource", "when { resource.level == 1 && resource.level == 2 }"),
        ("principal, action, resource", "when { 2 < 1 }"),
        ("principal, action, resource", 'when { context.interface == "rest" && "mcp" == context.interface }'),
        ("principal, action, resource", 'when { "a" == "b" }'),
    ],
)
def test_conditions_that_cannot_all_hold_are_told(engine: CedarPolicyEngine, scope: str, conditions: str) -> None:
    text = written("permit (principal, action, resource)", f"forbid ({scope}) {conditions}")
    assert found(engine, text) == [("unreachable", "p2", 2)]


@pytest.mark.parametrize(
    ("broader", "narrower", "code"),
    [
        (
            f"permit (principal is Muniment::User, {SEE}, resource)",
            f"permit (principal is Muniment::User, {SEE}, resource) when {{ resource.level > 1 }}",
            "shadowed",
        ),
        (
            f"permit (principal, {SEE}, resource) when {{ principal in resource.readers }}",
            'permit (principal is Muniment::User, action == Muniment::Action::"read", resource) '
            "when { resource.level < 2 && principal in resource.readers }",
            "shadowed",
        ),
        (
            'forbid (principal in Muniment::Group::"group:a", action, resource)',
            'forbid (principal is Muniment::User in Muniment::Group::"group:a", action, resource)',
            "shadowed",
        ),
        (
            "forbid (principal is Muniment::User, action, resource)",
            'forbid (principal == Muniment::User::"user:ana", action, resource)',
            "shadowed",
        ),
        (
            f"forbid (principal, {SEE}, resource) when {{ resource.level > 1 }}",
            'forbid (principal, action in [Muniment::Action::"describe", Muniment::Action::"read"], resource) '
            "unless { resource.level <= 1 }",
            "duplicate",
        ),
        (
            f"forbid (principal, {SEE}, resource)",
            f"permit (principal, {SEE}, resource) when {{ resource.level < 2 }}",
            "shadowed",
        ),
    ],
)
def test_a_policy_that_another_makes_needless_is_told(
    engine: CedarPolicyEngine, broader: str, narrower: str, code: str
) -> None:
    assert found(engine, written(ASK, broader, narrower)) == [(code, "p3", 3)]
    if code == "shadowed":
        assert found(engine, written(ASK, narrower, broader)) == [(code, "p2", 2)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            f"permit (principal, {SEE}, resource) when {{ resource.level < 2 }}",
            f"permit (principal, {SEE}, resource) when {{ principal.active }}",
        ),
        (
            f"permit (principal, {SEE}, resource)",
            f'@obligation("no-export") permit (principal, {READ}, resource)',
        ),
        (
            f'@escalate("owner") forbid (principal, {SEE}, resource)',
            f"forbid (principal, {READ}, resource)",
        ),
        ("permit (principal is Muniment::User, action, resource)", f"permit (principal, {SEE}, resource)"),
        ("forbid (principal is Muniment::User, action, resource)", f"permit (principal, {SEE}, resource)"),
    ],
)
def test_a_policy_with_a_use_of_its_own_is_not_told_of(engine: CedarPolicyEngine, one: str, other: str) -> None:
    assert found(engine, written(ASK, one, other)) == []
    assert found(engine, written(ASK, other, one)) == []


@pytest.mark.parametrize(
    "computed", ["principal.clearance + 1 > 2", "-principal.clearance < 0", "2 * principal.clearance > 2"]
)
def test_arithmetic_that_can_overflow_is_told(engine: CedarPolicyEngine, computed: str) -> None:
    text = written(
        "permit (principal, action, resource)", f"forbid (principal, action, resource) when {{ {computed} }}"
    )
    assert found(engine, text) == [("may-fail", "p2", 2)]


@pytest.mark.parametrize(
    "failing",
    [
        'principal.getTag("a") == "b"',
        'decimal("1.23456").greaterThan(decimal("1.0"))',
        "ip(context.interface).isLoopback()",
        'context.purpose == "a"',
        "context.actor.active",
    ],
)
def test_what_else_can_fail_is_a_fault_already(engine: CedarPolicyEngine, failing: str) -> None:
    assert engine.validate(written(f"permit (principal, action, resource) when {{ {failing} }}")) != []


def test_guards_that_the_set_in_force_has_and_the_draft_lacks_are_told(engine: CedarPolicyEngine) -> None:
    guards = (
        f'@id("level") @check("clearance") @reason("X.") forbid (principal, {SEE}, resource) '
        "when { resource.level > principal.clearance };\n"
        f'@id("place") @check("jurisdiction") @reason("X.") forbid (principal, {SEE}, resource) '
        "unless { resource.jurisdictions.isEmpty() };\n"
    )
    always = written(ASK) + "\n"
    assert found(engine, always + guards, always + guards) == []
    assert remarks(engine, always, always + guards) == tuple(
        Remark(
            code=RemarkCode.LOSES_GUARD,
            policy=PolicyId(name),
            line=None,
            sentence=f"Policy {name!r} is in force and forbids; it is not here, nor is one that covers it. "
            f"Nothing of the check {check} forbids anything any more.",
        )
        for name, check in (("level", "clearance"), ("place", "jurisdiction"))
    )
    narrowed = always + guards.replace("resource.level >", "resource.level > 1 && resource.level >")
    assert found(engine, narrowed, always + guards) == [("loses-guard", "level", 2)]
    renamed = always + guards.replace('@id("level")', '@id("another")').replace(
        "when { resource.level > principal.clearance }", "unless { principal.clearance >= resource.level }"
    )
    assert found(engine, renamed, always + guards) == []


def test_a_policy_that_nests_too_deeply_is_told_to_be_unread(engine: CedarPolicyEngine) -> None:
    many = " && ".join(f"principal.clearance != {n + 10}" for n in range(120))
    text = written("permit (principal, action, resource)", f"forbid (principal, action, resource) when {{ {many} }}")
    assert found(engine, text) == [("unread", "p2", 2)]


def test_everybody_who_is_named_is_mentioned_once_with_the_line(engine: CedarPolicyEngine) -> None:
    text = "\n\n" + written(
        '@obligation("notify:group:dpo") permit (principal in Muniment::Group::"group:a", action, resource) '
        'when { principal in Muniment::Group::"group:a" || principal == Muniment::User::"user:ana" }',
        '@escalate("group:board") forbid (principal == Muniment::Assistant::"assistant:bot", action, resource)',
    )
    mentions = engine.examine(text, in_force=None).mentions
    assert [(each.policy, each.line, each.ref) for each in mentions] == [
        ("p1", 3, "group:a"),
        ("p1", 3, "user:ana"),
        ("p1", 3, "group:dpo"),
        ("p2", 4, "assistant:bot"),
        ("p2", 4, "group:board"),
    ]
    assert engine.examine(text, in_force=text).mentions == ()


SCOPES = ["principal", "principal is Muniment::User", 'principal in Muniment::Group::"group:claims"']
ACTIONS = ["action", SEE, 'action == Muniment::Action::"read"']
CONDITIONS = [
    "resource is Muniment::Boundary && resource.level > 1",
    "resource is Muniment::Boundary && resource.level <= 1",
    "!(resource is Muniment::Boundary) || resource.level > 1",
    "principal.active",
    "context has purpose",
    "context.proven",
    "principal.clearance >= 2",
    "2 > principal.clearance",
]


@st.composite
def policy_sets(draw: st.DrawFn) -> list[str]:
    def policy() -> str:
        clauses = draw(
            st.lists(st.tuples(st.sampled_from(["when", "unless"]), st.sampled_from(CONDITIONS)), max_size=3)
        )
        return (
            f"{draw(st.sampled_from(['permit', 'forbid']))} ({draw(st.sampled_from(SCOPES))}, "
            f"{draw(st.sampled_from(ACTIONS))}, resource) "
            + " ".join(f"{word} {{ {condition} }}" for word, condition in clauses)
        )

    several = [policy() for _ in range(draw(st.integers(1, 4)))]
    return ["permit (principal, action, resource) when { context.proven }", *several]


@settings(max_examples=60, deadline=None)
@given(policies=policy_sets())
def test_without_a_policy_that_is_said_to_be_needless_everything_is_decided_the_same(policies: list[str]) -> None:
    """What never applies, or only where another applies, changes no decision when it is taken out."""
    engine = CedarPolicyEngine()
    text = written(*policies)
    assert engine.validate(text) == []
    needless = {each.policy for each in engine.examine(text, in_force=None).remarks}
    lines = text.splitlines()
    for name in needless:
        rest = "\n".join(line for line in lines if not line.startswith(f'@id("{name}")'))
        if engine.validate(rest):
            continue  # nothing would be permitted any more
        for row in table().rows[::7]:
            resources = table().named([*row.sees, *row.misses])
            before = [ruling.allowed for ruling in engine.decide(text, row.question, resources)]
            assert [ruling.allowed for ruling in engine.decide(rest, row.question, resources)] == before, (name, text)
