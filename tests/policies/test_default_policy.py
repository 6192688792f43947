"""The default policy: the table of who sees what, a plain reading of its words, and what may only narrow."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.domain.access import (
    ADMINISTRATORS,
    AUDITORS,
    BOOTSTRAP_ADMINISTRATOR,
    BREAK_GLASS_GROUP,
    ENFORCEMENT_POINTS,
    PROVISIONERS,
    Action,
    Boundary,
    Collection,
    Kind,
    Party,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Terms,
    Use,
)
from app.domain.errors import Unavailable
from app.domain.labels import Label, Level
from app.ports import Bounded, Institution, Resource, Thing
from tests.policies.cases import Row, table

Name = TypeVar("Name", bound=str)


@cache
def engine() -> CedarPolicyEngine:
    return CedarPolicyEngine()


def allowed(question: Question, resources: Sequence[Resource], policies: str | None = None) -> list[bool]:
    return [ruling.allowed for ruling in engine().decide(policies or default_policies(), question, resources)]


# ---- The table -----------------------------------------------------------------------------------------------------


def test_default_policy_is_valid() -> None:
    assert engine().validate(default_policies()) == []


@pytest.mark.parametrize("row", table().rows, ids=lambda row: row.name)
def test_row_of_the_table_holds(row: Row) -> None:
    seen = engine().decide(default_policies(), row.question, table().named(row.sees))
    missed = engine().decide(default_policies(), row.question, table().named(row.misses))

    assert {name: ruling.allowed for name, ruling in zip(row.sees, seen, strict=True)} == dict.fromkeys(row.sees, True)
    assert {name: (ruling.allowed, {*ruling.policies}) for name, ruling in zip(row.misses, missed, strict=True)} == (
        dict.fromkeys(row.misses, (False, {*(row.forbidden_by or ())}))
    )
    if row.permitted_by:
        assert [{*ruling.policies} for ruling in seen] == [{*row.permitted_by}] * len(seen)


def test_every_policy_decides_a_row() -> None:
    rows = table().rows
    deciding = frozenset().union(*(named for row in rows for named in (row.forbidden_by, row.permitted_by) if named))
    assert deciding == {rule.id for rule in engine().rules(default_policies())}


def test_every_rule_has_a_check_and_one_plain_sentence() -> None:
    for rule in engine().rules(default_policies()):
        assert rule.check is not None, rule.id
        assert rule.reason.endswith("."), rule.id
        assert rule.reason.count(".") == 1, rule.id


# ---- The words, read plainly ---------------------------------------------------------------------------------------


SEE = (Action.READ, Action.DESCRIBE)


def expected(question: Question, resource: Resource) -> bool:
    """The default policy in words, once more and as simply as can be."""
    return permitted(question, resource) and not any(forbidden(question, resource))


def permitted(question: Question, resource: Resource) -> bool:
    subject, action = question.principal.subject, question.action
    home = resource.collection if isinstance(resource, Bounded) else resource
    if isinstance(home, Collection) and home.name in question.terms.granted and action in (*SEE, Action.DISCOVER):
        return True
    if isinstance(resource, Bounded):
        auditor = action is Action.DESCRIBE and AUDITORS in subject.groups and question.principal.proof is Proof.PROVEN
        return auditor or named(subject, resource.boundary.readers | resource.collection.owners)
    if isinstance(resource, Collection):
        return named(subject, resource.owners) or (action is Action.DISCOVER and resource.discoverable)
    if isinstance(resource, Thing):
        return False
    if action is Action.BREAK_GLASS and (question.principal.actor or not question.principal.second_factor):
        return False
    roles = {
        Action.MANAGE: ADMINISTRATORS,
        Action.AUDIT: AUDITORS,
        Action.BREAK_GLASS: BREAK_GLASS_GROUP,
        Action.PROVISION: PROVISIONERS,
        Action.EVALUATE: ENFORCEMENT_POINTS,
    }
    role = roles.get(action)
    return role is None or role in subject.groups


def forbidden(question: Question, resource: Resource) -> Iterator[bool]:
    subject, actor, action = question.principal.subject, question.principal.actor, question.action
    yield not subject.profile.active
    yield subject.ref == BOOTSTRAP_ADMINISTRATOR and action in (*SEE, Action.CURATE)
    proven_alone = (Action.MANAGE, Action.AUDIT, Action.PROVISION, Action.EVALUATE)
    yield question.principal.proof is Proof.ASSERTED and action in proven_alone
    trusted = actor is not None and actor.ref in ("assistant:console", "assistant:importer")
    yield actor is not None and question.principal.proof is Proof.ASSERTED and action is Action.CURATE and not trusted
    if not (action is Action.DESCRIBE and AUDITORS in subject.groups):
        if subject.kind is Kind.USER and action in (*SEE, Action.ASK):
            yield question.purpose is not None and not open_to({question.purpose}, subject.profile.purposes)
        if isinstance(resource, Bounded):
            yield from hidden(question, resource)
    if action is Action.ASK:
        yield from uncovered(question)
    if actor is not None:
        yield not actor.profile.active
        yield isinstance(resource, Bounded) and not cleared(actor, resource.boundary)
    for assistant in (party for party in (subject, actor) if party is not None and party.kind is Kind.ASSISTANT):
        yield from above_ceiling(assistant, question, resource)


def hidden(question: Question, resource: Bounded) -> Iterator[bool]:
    """Why the subject, on its own account, does not see it."""
    subject, boundary = question.principal.subject, resource.boundary
    yield named(subject, boundary.denied)
    yield not cleared(subject, boundary)
    yield not open_to({question.purpose}, boundary.purposes)
    if subject.kind is Kind.USER:
        yield not at_home(subject, boundary, question.terms)
    registered = question.terms.purpose_categories
    if registered is not None and question.purpose not in boundary.purposes:
        yield "purpose-categories" not in question.terms.waived and not boundary.label.categories <= registered


def uncovered(question: Question) -> Iterator[bool]:
    """What is stated and no register covers, unless somebody waived that."""
    terms, waived = question.terms, question.terms.waived
    sent, registered = question.destination is not None, question.terms.purpose_categories
    yield sent and not terms.transferable and "transfer-not-covered" not in waived
    if terms.consent_needed and (sent or question.client is not None):
        yield not terms.consented and "consent-missing" not in waived
    if sent and registered is not None:
        held = question.principal.subject.profile.categories
        yield not held <= registered and "sensitive-fields" not in waived


def above_ceiling(assistant: Party, question: Question, resource: Resource) -> Iterator[bool]:
    if question.action in (*SEE, Action.ASK):
        yield not open_to({question.purpose}, assistant.profile.purposes)
    if isinstance(resource, Bounded | Collection):
        name = resource.name if isinstance(resource, Collection) else resource.collection.name
        yield not open_to({name}, assistant.profile.collections)
    if isinstance(resource, Bounded):
        yield bool(assistant.profile.jurisdictions) and not at_home(assistant, resource.boundary, question.terms)


def named(party: Party, refs: frozenset[PrincipalRef]) -> bool:
    return not refs.isdisjoint({party.ref, *party.groups})


def cleared(party: Party, boundary: Boundary) -> bool:
    return boundary.label.level <= party.profile.clearance and boundary.label.categories <= party.profile.categories


def at_home(party: Party, boundary: Boundary, terms: Terms) -> bool:
    """Somebody who is within a place is in it; what is open there by a rule may be used, too."""
    consenting = terms.consents | party.within | party.profile.jurisdictions
    bound = boundary.jurisdictions
    return not bound or bool(bound & party.receives) or bool(boundary.consents & consenting)


def open_to(stated: set[str] | set[str | None], limits: frozenset[str]) -> bool:
    """An empty limit is none."""
    return not limits or not limits.isdisjoint(stated)


# ---- Worlds to compare them in: few names, so that they often meet -------------------------------------------------

ROLES = ("administrators", "auditors", "break-glass", "provisioners", "enforcement-points")
GROUPS = [PrincipalRef(f"group:{name}") for name in ("a", "b", *ROLES)]
USERS = [PrincipalRef("user:ana"), PrincipalRef("user:ben"), BOOTSTRAP_ADMINISTRATOR]
ASSISTANTS = [PrincipalRef("assistant:ana"), PrincipalRef("assistant:bot"), PrincipalRef("assistant:console")]
COLLECTIONS = ["library", "files"]
PLACES, REASONS, CATEGORIES = ["EU", "US"], ["support", "review"], ["pii", "phi"]
BY_INA = "client:ina"
WAIVABLE = ["purpose-categories", "transfer-not-covered", "consent-missing", "sensitive-fields"]


def some(names: Sequence[Name], *, at_most: int = 2) -> st.SearchStrategy[frozenset[Name]]:
    return st.frozensets(st.sampled_from(names), max_size=at_most)


def mostly(value: bool) -> st.SearchStrategy[bool]:
    return st.sampled_from([value] * 7 + [not value])


@st.composite
def parties(draw: st.DrawFn, refs: Sequence[PrincipalRef]) -> Party:
    ref = draw(st.sampled_from(refs))
    groups = draw(some(GROUPS))
    profile = Profile(
        ref=ref,
        display_name=ref,
        groups=groups,
        clearance=draw(st.sampled_from([*Level, Level.RESTRICTED, Level.RESTRICTED])),
        categories=draw(some(CATEGORIES)),
        jurisdictions=draw(some(PLACES)),
        purposes=draw(some(REASONS, at_most=1)),
        collections=draw(some(COLLECTIONS, at_most=1)),
        active=draw(mostly(True)),
    )
    within = profile.jurisdictions and profile.jurisdictions | draw(some(PLACES, at_most=1))
    return Party(profile=profile, groups=groups, within=within, receives=within | draw(some(PLACES, at_most=1)))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    subject = draw(parties([*USERS, *ASSISTANTS]))
    actor = draw(st.none() | parties([ref for ref in ASSISTANTS if ref != subject.ref]))
    proof = Proof.PROVEN if actor is None else draw(st.sampled_from(Proof))
    action = draw(st.sampled_from([*Action, Action.READ, Action.READ]))
    return Question(
        principal=Principal(
            subject=subject, actors=(actor,) if actor else (), proof=proof, second_factor=draw(st.booleans())
        ),
        action=action,
        use=Use(operation="can_read_todos") if action is Action.USE else None,
        purpose=draw(st.sampled_from([*REASONS, None])),
        client=draw(st.sampled_from([None, "ina"])),
        destination=draw(st.sampled_from([None, *PLACES])),
        terms=Terms(
            granted=draw(some(COLLECTIONS, at_most=1)),
            waived=draw(some(WAIVABLE)),
            consents=draw(some([BY_INA], at_most=1)),
            consent_needed=draw(st.booleans()),
            consented=draw(st.booleans()),
            transferable=draw(st.booleans()),
            purpose_categories=draw(st.none() | some(CATEGORIES)),
        ),
    )


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    return Collection(
        name=draw(st.sampled_from(COLLECTIONS)),
        title="A collection",
        owners=draw(some([*GROUPS, *USERS, *ASSISTANTS])),
        default_label=Label(),
        discoverable=draw(st.booleans()),
    )


@st.composite
def bounded(draw: st.DrawFn) -> Bounded:
    collection = draw(collections())
    boundary = Boundary(
        collection=collection.name,
        label=Label(level=draw(st.sampled_from(Level)), categories=draw(some(CATEGORIES, at_most=1))),
        readers=draw(some([*GROUPS, *USERS, *ASSISTANTS], at_most=5)),
        denied=draw(some([*GROUPS, *USERS, *ASSISTANTS], at_most=1)),
        jurisdictions=draw(some(PLACES, at_most=1)),
        purposes=draw(some(REASONS, at_most=1)),
        consents=draw(some([*PLACES, BY_INA], at_most=1)),
    )
    return Bounded(boundary=boundary, collection=collection)


def of_a_kind(action: Action) -> st.SearchStrategy[list[Resource]]:
    """Resources that the action is asked of."""
    one: dict[Action, st.SearchStrategy[Resource]] = {
        Action.READ: bounded(),
        Action.DESCRIBE: bounded(),
        Action.DISCOVER: collections(),
        Action.CURATE: collections(),
        Action.USE: st.just(Thing(type="todo", name="1")),
    }
    return st.lists(one.get(action, st.just(Institution())), min_size=1, max_size=6)


cases = questions().flatmap(lambda question: st.tuples(st.just(question), of_a_kind(question.action)))


@settings(max_examples=300, deadline=None)
@given(cases)
def test_policy_decides_as_its_words_say(case: tuple[Question, list[Resource]]) -> None:
    question, resources = case
    assert allowed(question, resources) == [expected(question, resource) for resource in resources]


# ---- What may only narrow ------------------------------------------------------------------------------------------

CONDITIONS = [
    "principal.clearance < 2",
    "principal is Muniment::Assistant",
    'principal in Muniment::Group::"group:a"',
    'context has purpose && context.purpose == "support"',
    "context has actor",
    'resource is Muniment::Boundary && resource.categories.contains("pii")',
    "resource is Muniment::Collection && resource.discoverable",
    "true",
]


def assert_narrower(after: list[bool], before: list[bool]) -> None:
    assert all(was or not is_now for is_now, was in zip(after, before, strict=True)), (before, after)


@settings(max_examples=75, deadline=None)
@given(cases, st.sampled_from(CONDITIONS))
def test_another_forbid_never_allows_more(case: tuple[Question, list[Resource]], condition: str) -> None:
    added = f'@id("added") @reason("Added.") forbid (principal, action, resource) when {{ {condition} }};'
    assert_narrower(allowed(*case, default_policies() + added), allowed(*case))


@settings(max_examples=75, deadline=None)
@given(cases, st.sampled_from(["subject", "actor"]), st.data())
def test_taking_from_a_party_never_allows_more(
    case: tuple[Question, list[Resource]], side: str, data: st.DataObject
) -> None:
    """Of what is seen and done here. Who holds less may send more elsewhere: `sensitive-fields` is for that."""
    question, resources = replace(case[0], destination=None), case[1]
    party = question.principal.actor if side == "actor" else question.principal.subject
    if party is None:
        return
    with_less = data.draw(st.sampled_from(lessenings(party)))
    principal = (
        replace(question.principal, actors=(with_less,))
        if side == "actor"
        else replace(question.principal, subject=with_less)
    )
    assert_narrower(allowed(replace(question, principal=principal), resources), allowed(question, resources))


def lessenings(party: Party) -> list[Party]:
    """The party with less of what permits; not an assistant's empty sets, which would lift a ceiling."""
    profile = party.profile
    less = [replace(profile, active=False), replace(profile, categories=frozenset())]
    if profile.clearance > Level.PUBLIC:
        less.append(replace(profile, clearance=Level(profile.clearance - 1)))
    lessened = [replace(party, profile=lesser) for lesser in less]
    if party.kind is Kind.USER:
        nowhere = replace(profile, jurisdictions=frozenset())
        lessened.append(Party(profile=nowhere, groups=party.groups))
    return [*lessened, replace(party, receives=frozenset())]


@settings(max_examples=75, deadline=None)
@given(cases, st.sampled_from(GROUPS))
def test_leaving_a_group_that_is_not_denied_never_allows_more(
    case: tuple[Question, list[Resource]], group: PrincipalRef
) -> None:
    question, resources = case
    subject = question.principal.subject
    if any(isinstance(resource, Bounded) and group in resource.boundary.denied for resource in resources):
        return
    left = replace(question.principal, subject=replace(subject, groups=subject.groups - {group}))
    assert_narrower(allowed(replace(question, principal=left), resources), allowed(question, resources))


@settings(max_examples=75, deadline=None)
@given(cases, parties(ASSISTANTS))
def test_asking_through_an_assistant_never_allows_more(case: tuple[Question, list[Resource]], actor: Party) -> None:
    question, resources = case
    alone = replace(question, principal=replace(question.principal, actors=(), proof=Proof.PROVEN))
    through = replace(question, principal=replace(question.principal, actors=(actor,)))
    if actor.ref != question.principal.subject.ref:
        assert_narrower(allowed(through, resources), allowed(alone, resources))


# ---- A forbid that fails -------------------------------------------------------------------------------------------

FORBIDS = [rule.id for rule in engine().rules(default_policies()) if not rule.permits]
OVERFLOWS = "when { 9223372036854775807 + 1 > 0 }"


def changed(forbid: str, *, scope: str | None = None, end: str) -> str:
    """The default policies with another scope of that forbid, or its own, and an ending after its conditions."""
    policies = default_policies()
    written = re.search(rf'@id\("{forbid}"\).*?;\n', policies, re.DOTALL)
    assert written is not None
    notes, own_scope, conditions = re.split(
        r"^(forbid \(.*?\)$|forbid \(.*?\);)", written[0], flags=re.DOTALL | re.MULTILINE
    )
    body = f"{own_scope.rstrip(';')}{conditions.rstrip().rstrip(';')}" if scope is None else scope
    return policies.replace(written[0], f"{notes}{body} {end};\n")


@pytest.mark.parametrize("forbid", FORBIDS)
def test_forbid_that_always_fails_lets_nothing_out(forbid: str) -> None:
    policies = changed(forbid, scope="forbid (principal, action, resource)", end=OVERFLOWS)
    assert engine().validate(policies) == []
    for row in table().rows:
        assert not any(allowed(row.question, table().named([*row.sees, *row.misses]), policies)), row.name


@pytest.mark.parametrize("forbid", FORBIDS)
def test_forbid_that_fails_where_it_applies_lets_nothing_out_there(forbid: str) -> None:
    policies = changed(forbid, end=OVERFLOWS)
    assert engine().validate(policies) == []
    rows = [row for row in table().rows if forbid in (row.forbidden_by or ())]
    assert rows
    for row in rows:
        assert not any(allowed(row.question, table().named(row.misses), policies)), row.name
        assert all(allowed(row.question, table().named(row.sees), policies)), row.name


@pytest.mark.parametrize("forbid", FORBIDS)
@pytest.mark.parametrize("broken", ["when { resource.nonesuch }", 'when { principal.active == "yes" }', "when { 1 + }"])
def test_forbid_that_cannot_be_decided_leaves_nothing_decided(forbid: str, broken: str) -> None:
    policies = changed(forbid, end=broken)
    assert engine().validate(policies) != []
    with pytest.raises(Unavailable):
        allowed(table().rows[0].question, table().named(table().rows[0].sees), policies)
