"""The fast path decides as plain Cedar does, question by question; whatever goes wrong on it denies."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cedarpy
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.domain.access import (
    DENIED,
    Action,
    Boundary,
    Collection,
    Party,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Ruling,
    Terms,
)
from app.domain.labels import Label, Level
from app.ports import Bounded

ENGINE = CedarPolicyEngine(chunk=5)

PEOPLE = ("user:ana", 'user:o"hara', "assistant:bot", "assistant:scribe")
GROUPS = ("group:all-staff", "group:legal", "group:claims")
WORDS = ("pii", "EU", "support")
"""Categories, jurisdictions, purposes and codes alike, so that one is often found among the others."""
COLLECTIONS = ("files", "shelf")
MOST = 9_223_372_036_854_775_807


# ---- Worlds ---------------------------------------------------------------------------------------------------------


def some(names: tuple[str, ...]) -> st.SearchStrategy[frozenset[Any]]:
    return st.frozensets(st.sampled_from(names), max_size=2)


@st.composite
def parties(draw: st.DrawFn, kind: str) -> Party:
    ref = PrincipalRef(draw(st.sampled_from([each for each in PEOPLE if each.startswith(kind)])))
    groups = draw(some(GROUPS))
    profile = Profile(
        ref=ref,
        display_name=ref,
        groups=groups,
        clearance=draw(st.sampled_from(Level)),
        categories=draw(some(WORDS)),
        jurisdictions=draw(some(WORDS)),
        purposes=draw(some(WORDS)),
        collections=draw(some(COLLECTIONS)),
        active=draw(st.sampled_from((True, True, True, False))),
    )
    return Party(profile=profile, groups=groups, receives=draw(some(WORDS)))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    actors = draw(st.lists(parties("assistant"), max_size=3))
    subject = draw(st.one_of(parties("user"), parties("user"), parties("assistant")))
    return Question(
        principal=Principal(
            subject=subject,
            actors=tuple(actors if all(actor.ref != subject.ref for actor in actors) else ()),
            proof=draw(st.sampled_from(Proof)),
            second_factor=draw(st.booleans()),
        ),
        action=draw(st.sampled_from((Action.READ, Action.READ, Action.DESCRIBE))),
        purpose=draw(st.sampled_from((None, *WORDS))),
        interface=draw(st.sampled_from(("rest", "mcp"))),
        client=draw(st.sampled_from((None, *WORDS))),
        destination=draw(st.sampled_from((None, *WORDS))),
        terms=Terms(
            granted=draw(some(COLLECTIONS)),
            waived=draw(some(WORDS)),
            consents=draw(some(WORDS)),
            consent_needed=draw(st.booleans()),
            consented=draw(st.booleans()),
            transferable=draw(st.booleans()),
            purpose_categories=draw(st.none() | some(WORDS)),
        ),
    )


@st.composite
def worlds(draw: st.DrawFn) -> list[Bounded]:
    homes = {
        name: Collection(
            name=name,
            title=name,
            owners=draw(some((*PEOPLE, *GROUPS))),
            default_label=None,
            discoverable=draw(st.booleans()),
        )
        for name in COLLECTIONS
    }

    def bounded(home: Collection, level: Level, sets: list[frozenset[Any]]) -> Bounded:
        readers, denied, categories, jurisdictions, consents, purposes = sets
        boundary = Boundary(
            collection=home.name,
            label=Label(level=level, categories=categories),
            readers=readers,
            denied=denied,
            jurisdictions=jurisdictions,
            consents=consents,
            purposes=purposes,
        )
        return Bounded(boundary=boundary, collection=home)

    sets = st.tuples(*[some((*PEOPLE, *GROUPS))] * 2, *[some(WORDS)] * 4).map(list)
    boundaries = st.builds(bounded, st.sampled_from([*homes.values()]), st.sampled_from(Level), sets)
    return draw(st.lists(boundaries, min_size=1, max_size=12))


# ---- Policies -------------------------------------------------------------------------------------------------------

quoted = st.sampled_from(WORDS).map('"{}"'.format)
group = st.sampled_from((*GROUPS, *PEOPLE)).map(lambda it: "Muniment::Group::" + it.replace('"', '\\"').join('""'))
home = st.sampled_from(COLLECTIONS).map('Muniment::Collection::"{}"'.format)
strings = st.one_of(
    st.sampled_from(
        [f"resource.{name}" for name in ("categories", "jurisdictions", "consents", "purposes")]
        + [f"principal.{name}" for name in ("categories", "jurisdictions", "receives", "purposes")]
        + ["context.waived", "context.consents"]
    ),
    st.lists(quoted, min_size=1, max_size=2).map(lambda several: f"[{', '.join(several)}]"),
)
groups = st.one_of(
    st.sampled_from(("resource.readers", "resource.denied", "resource.collection.owners")),
    st.lists(group, min_size=1, max_size=2).map(lambda several: f"[{', '.join(several)}]"),
)
homes = st.one_of(st.just("context.granted"), st.lists(home, min_size=1).map(lambda several: f"[{', '.join(several)}]"))
numbers = st.recursive(
    st.sampled_from(("resource.level", "principal.clearance", "0", "1", "2", "3", str(MOST))),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner), inner.map("(-{})".format)
    ),
    max_leaves=3,
)
facts = st.one_of(
    st.builds("principal in {}".format, groups),
    st.builds("principal in {}".format, group),
    st.builds("{}.contains({})".format, strings, quoted),
    st.builds("{}.{}({})".format, strings, st.sampled_from(("containsAll", "containsAny")), strings),
    st.builds("{} {} {}".format, strings, st.sampled_from(("==", "!=")), strings),
    st.builds("{}.isEmpty()".format, st.one_of(strings, groups, homes)),
    st.builds("{}.contains({})".format, groups, group),
    st.builds("{}.{}({})".format, groups, st.sampled_from(("containsAll", "containsAny")), groups),
    st.builds("{} == {}".format, groups, groups),
    st.builds("resource in {}".format, st.one_of(home, homes, st.just("resource.collection"))),
    st.builds("resource.collection {} {}".format, st.sampled_from(("==", "!=", "in")), home),
    st.builds("{}.contains(resource.collection)".format, homes),
    st.builds("({} {} {})".format, numbers, st.sampled_from(("<", "<=", ">", ">=", "==", "!=")), numbers),
    st.builds("[{}, {}].contains({})".format, numbers, numbers, numbers),
    st.builds("context.interface like {}".format, st.sampled_from(('"r*"', '"*"', '"mcp"'))),
    st.builds("(context has purpose && {}.contains(context.purpose))".format, strings),
    st.builds("(context has client && context.client == {})".format, quoted),
    st.builds("(context has actor && context.actor in {})".format, groups),
    st.builds("(context has actor && context.actor.clearance {} {})".format, st.sampled_from(("<", ">=")), numbers),
    st.builds("(context has actor && {} in context.actor.collections)".format, st.just("resource")),
    st.builds("(context has purpose_categories && context.purpose_categories.containsAll({}))".format, strings),
    st.sampled_from(
        (
            "principal.active",
            "context.proven",
            "context.second_factor",
            "context.transferable",
            "(context.consent_needed && !context.consented)",
            "principal is Muniment::Assistant",
            'principal == Muniment::User::"user:ana"',
            "resource.collection.discoverable",
            "resource has readers",
            "resource is Muniment::Boundary",
            "{level: resource.level}.level > 1",
            "true",
            "false",
        )
    ),
)
conditions = st.recursive(
    facts,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("(if {} then {} else {})".format, inner, inner, inner),
    ),
    max_leaves=5,
)
clauses = st.builds("{} {{ {} }}".format, st.sampled_from(("when", "unless")), conditions)


@st.composite
def policy_sets(draw: st.DrawFn) -> str:
    """At least one policy permits, since nothing else would be told apart."""
    effects = ["permit", *draw(st.lists(st.sampled_from(("permit", "forbid")), max_size=4))]
    return "\n".join(
        f'@id("p{n}") @reason("r") {obligation if effect == "permit" else ""} {effect} ({scope}) {" ".join(several)};'
        for n, (effect, scope, several, obligation) in enumerate(
            (
                effect,
                draw(scopes),
                draw(st.lists(clauses, max_size=2)),
                draw(st.sampled_from(("", '@obligation("cite")'))),
            )
            for effect in effects
        )
    )


scopes = st.builds(
    "{}, {}, {}".format,
    st.one_of(
        st.sampled_from(("principal", "principal", "principal is Muniment::User")),
        st.builds("principal in {}".format, group),
    ),
    st.sampled_from(("action", 'action in Muniment::Action::"see"', 'action == Muniment::Action::"read"')),
    st.one_of(
        st.just("resource is Muniment::Boundary"),
        st.just("resource is Muniment::Boundary"),
        st.builds("resource is Muniment::Boundary in {}".format, home),
    ),
)
generated = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def plainly(policies: str, question: Question, resources: list[Bounded]) -> list[Ruling]:
    """What Cedar says of each alone, as far as the fast path tells it."""
    each = [ENGINE.decide(policies, question, [resource])[0] for resource in resources]
    return [ruling if ruling.allowed else DENIED for ruling in each]


@settings(generated, max_examples=400)
@given(policy_sets(), questions(), worlds())
def test_fast_path_decides_as_plain_cedar(policies: str, question: Question, resources: list[Bounded]) -> None:
    assume(not ENGINE.validate(policies))
    assert ENGINE.reachable(policies, question, resources) == plainly(policies, question, resources)


@generated
@given(questions(), worlds())
def test_default_policy_is_narrowed_to_what_it_allows(question: Question, resources: list[Bounded]) -> None:
    """Cedar is asked of nothing that it denies: every rule of the default policy is one that narrowing understands."""
    policies = default_policies()
    expected = plainly(policies, question, resources)
    assert ENGINE.reachable(policies, question, resources) == expected
    asked: list[int] = []
    batch = cedarpy.is_authorized_batch

    def counted(requests: list[Any], *rest: Any) -> list[cedarpy.AuthzResult]:
        asked.append(len(requests))
        return batch(requests, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized_batch", counted)
        ENGINE.reachable(policies, question, resources)
    allowed = sum(ruling.allowed for ruling in expected)
    assert sum(asked) == allowed * max(1, len(question.principal.actors))


# ---- Errors ---------------------------------------------------------------------------------------------------------

ERRING = (
    f"{MOST} + 1 > 0",
    f"resource.level + {MOST} + 1 > 0",
    f"principal.clearance * 2 + {MOST} + 1 > 0 || true",
    f"(if true then {MOST} + resource.level + 1 else 0) > resource.level",
    f"-(-{MOST} - 1 - resource.level) > 0",
)


@generated
@given(policy_sets(), st.sampled_from(("permit", "forbid")), st.sampled_from(ERRING), questions(), worlds())
def test_policy_that_errs_denies_whatever_the_others_say(
    policies: str, effect: str, erring: str, question: Question, resources: list[Bounded]
) -> None:
    broken = f'@id("x") @reason("r") {effect} (principal, action, resource is Muniment::Boundary) when {{ {erring} }};'
    assume(not ENGINE.validate(policies + broken))
    assert ENGINE.reachable(policies + broken, question, resources) == [DENIED] * len(resources)


ANA = Party(profile=Profile(ref=PrincipalRef("user:ana"), display_name="Ana"), groups=frozenset())
ASKED = Question(principal=Principal(subject=ANA), action=Action.READ, purpose=None)
FILES = Collection(name="files", title="Files", owners=frozenset(), default_label=None)
OPEN, CLOSED = (
    Bounded(
        boundary=Boundary(collection="files", label=Label(), readers=frozenset({PrincipalRef(ref)})), collection=FILES
    )
    for ref in ("user:ana", "user:ben")
)


def allowed(question: Question, resources: list[Any]) -> list[bool]:
    return [ruling.allowed for ruling in ENGINE.reachable(default_policies(), question, resources)]


@pytest.mark.parametrize(
    "misfit",
    [
        replace(OPEN, boundary=replace(OPEN.boundary, purposes=frozenset({7}))),  # type: ignore[arg-type]
        replace(OPEN, boundary=replace(OPEN.boundary, jurisdictions=frozenset({"\ud800"}))),
        replace(OPEN, boundary=replace(OPEN.boundary, label=None)),  # type: ignore[arg-type]
        replace(OPEN, boundary=replace(OPEN.boundary, readers=None)),  # type: ignore[arg-type]
        replace(OPEN, collection=replace(FILES, name="elsewhere")),
        replace(OPEN, collection=replace(FILES, discoverable="no")),  # type: ignore[arg-type]
        "no resource at all",
    ],
)
def test_boundary_that_does_not_fit_is_denied_and_takes_no_other_with_it(misfit: Any) -> None:
    assert allowed(ASKED, [OPEN, misfit, CLOSED, OPEN]) == [True, False, False, True]


@pytest.mark.parametrize("change", [{"active": "yes"}, {"clearance": "high"}, {"categories": frozenset({7})}])
def test_principal_that_does_not_fit_is_denied(change: dict[str, Any]) -> None:
    question = replace(ASKED, principal=Principal(subject=replace(ANA, profile=replace(ANA.profile, **change))))
    assert allowed(question, [OPEN, OPEN]) == [False, False]


def test_group_that_is_none_is_denied() -> None:
    member = replace(ANA, groups=frozenset({PrincipalRef("user:boss")}))
    assert allowed(replace(ASKED, principal=Principal(subject=member)), [OPEN]) == [False]


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, RuntimeError])
def test_engine_that_fails_denies(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fails(*_: object) -> None:
        raise error("nothing works today")

    monkeypatch.setattr(cedarpy, "is_authorized_batch", fails)
    assert allowed(ASKED, [OPEN, CLOSED]) == [False, False]


def residuals(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Lets `change` have what partial evaluation leaves before the engine sees it."""
    partially = cedarpy.is_authorized_partial

    def changed(*arguments: Any) -> cedarpy.PartialAuthzResult:
        return cedarpy.PartialAuthzResult({"residuals": change(partially(*arguments).residuals)})

    monkeypatch.setattr(cedarpy, "is_authorized_partial", changed)


def with_body(policy: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    return {**policy, "conditions": [{"kind": "when", "body": body}]}


@pytest.mark.parametrize(
    "body",
    [
        {"Value": True},
        {"unheard-of": {"arg": {"Value": True}}},
        {"error": []},
        {"==": {"left": {"Value": 1}, "right": {"Value": "1"}}},
        {"Value": 1},
        {".": {"left": {"unknown": [{"Value": "resource"}]}, "attr": "shoe_size"}},
        {"in": {"left": {"unknown": [{"Value": "resource"}]}, "right": {"unknown": [{"Value": "resource"}]}}},
    ],
)
def test_whatever_partial_evaluation_says_cedar_allows_or_nobody_does(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    """A permit of which too much remains opens nothing; what is not understood closes nothing."""
    residuals(
        monkeypatch,
        lambda found: {
            name: with_body(each, body) if each["effect"] == "permit" else each for name, each in found.items()
        },
    )
    assert allowed(ASKED, [OPEN, CLOSED]) == [True, False]


def test_forbid_that_is_not_understood_is_left_to_cedar(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"unheard-of": {"arg": {"Value": True}}}
    residuals(
        monkeypatch,
        lambda found: {
            name: with_body(each, odd) if each["effect"] == "forbid" else each for name, each in found.items()
        },
    )
    secret = replace(OPEN, boundary=replace(OPEN.boundary, label=Label(level=Level.RESTRICTED)))
    assert allowed(ASKED, [OPEN, secret]) == [True, False]


@pytest.mark.parametrize("kept", [slice(0, 0), slice(1, None), slice(0, -1)])
def test_partial_evaluation_that_leaves_policies_out_does_not_narrow(
    monkeypatch: pytest.MonkeyPatch, kept: slice
) -> None:
    residuals(monkeypatch, lambda found: dict([*found.items()][kept]))
    assert allowed(ASKED, [OPEN, CLOSED]) == [True, False]


def test_partial_evaluation_that_fails_does_not_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("an experimental feature")

    monkeypatch.setattr(cedarpy, "is_authorized_partial", fails)
    assert allowed(ASKED, [OPEN, CLOSED]) == [True, False]


@pytest.mark.parametrize("name", ['user:o"hara', "user:o'hara\\", "user:josé", "user:line\nbreak", "user: ", "user:大"])
def test_any_name_reaches_what_is_its_own(name: str) -> None:
    party = Party(profile=Profile(ref=PrincipalRef(name), display_name=name), groups=frozenset())
    own = replace(OPEN, boundary=replace(OPEN.boundary, readers=frozenset({PrincipalRef(name)})))
    assert allowed(replace(ASKED, principal=Principal(subject=party)), [own, OPEN]) == [True, False]
