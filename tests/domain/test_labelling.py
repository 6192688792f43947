"""From what is stated, laid down and found to the boundary that a version is published in."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.access import Boundary, Collection, PrincipalRef
from app.domain.corpus import Labelled, Metadata, labelled
from app.domain.labels import Cause, CauseKind, Label, LabelRule, Level

COLLECTION = Collection(
    name="policies",
    title="Policies",
    owners=frozenset({PrincipalRef("group:legal")}),
    default_label=Label(level=Level.CONFIDENTIAL, categories=frozenset({"privileged"})),
    default_readers=frozenset({PrincipalRef("group:all-staff")}),
    jurisdictions=frozenset({"EU"}),
)
UNLABELLED = replace(COLLECTION, default_label=None)
PUBLIC = Label(level=Level.PUBLIC)


def _label(level: Level, *categories: str) -> Label:
    return Label(level=level, categories=frozenset(categories))


def _kinds(found: Labelled) -> list[tuple[str, str | None]]:
    return [(cause.kind.value, cause.detail) for cause in found.causes]


def test_nothing_stated_takes_the_collections_label_and_leaves_the_rest_to_follow_it() -> None:
    found = labelled(Metadata(uri="a"), COLLECTION)
    assert found.boundary == Boundary(collection="policies", label=_label(Level.CONFIDENTIAL, "privileged"))
    assert found.boundary.within(COLLECTION).readers == COLLECTION.default_readers
    assert found.causes == (Cause(kind=CauseKind.COLLECTION),)


def test_a_stated_label_is_taken_whole_and_everything_stated_is_kept() -> None:
    stated = Metadata(
        uri="a",
        label=_label(Level.PUBLIC, "pii"),
        readers=frozenset({PrincipalRef("user:ana")}),
        denied=frozenset({PrincipalRef("user:ben")}),
        jurisdictions=frozenset({"US"}),
        purposes=frozenset({"claims"}),
        consents=frozenset({"CH"}),
    )
    assert labelled(stated, COLLECTION).boundary == Boundary(
        collection="policies",
        label=_label(Level.PUBLIC, "pii"),
        readers=frozenset({PrincipalRef("user:ana")}),
        denied=frozenset({PrincipalRef("user:ben")}),
        jurisdictions=frozenset({"US"}),
        purposes=frozenset({"claims"}),
        consents=frozenset({"CH"}),
    )


def test_where_nobody_says_a_level_it_is_the_strictest() -> None:
    found = labelled(Metadata(uri="a"), UNLABELLED)
    assert found.boundary.label == _label(Level.RESTRICTED)
    assert _kinds(found) == [("unknown", None)]
    only_categories = [LabelRule(path="*", categories=frozenset({"pii"}))]
    assert labelled(Metadata(uri="a"), UNLABELLED, rules=only_categories).boundary.label == _label(
        Level.RESTRICTED, "pii"
    )
    assert labelled(Metadata(uri="a"), UNLABELLED, detected={"pii"}).boundary.label == _label(Level.RESTRICTED, "pii")


def test_a_rule_that_says_a_level_makes_it_known() -> None:
    rules = [LabelRule(path="hr/*", level=Level.INTERNAL), LabelRule(path="*", categories=frozenset({"staff"}))]
    found = labelled(Metadata(uri="hr/leave"), UNLABELLED, rules=rules)
    assert found.boundary.label == _label(Level.INTERNAL, "staff")
    assert _kinds(found) == [("rule", "hr/*"), ("rule", "*")]


def test_rules_and_what_was_found_raise_what_an_owner_states_and_are_named() -> None:
    rules = [
        LabelRule(path="hr/*", level=Level.CONFIDENTIAL),
        LabelRule(path="hr/grievances/*", categories=frozenset({"pii"})),
        LabelRule(path="finance/*", level=Level.RESTRICTED),
        LabelRule(path="*", level=Level.PUBLIC),
    ]
    found = labelled(Metadata(uri="hr/grievances/7", label=PUBLIC), COLLECTION, rules=rules, detected={"pii", "secret"})
    assert found.boundary.label == _label(Level.CONFIDENTIAL, "pii", "secret")
    assert _kinds(found) == [
        ("stated", None),
        ("rule", "hr/*"),
        ("rule", "hr/grievances/*"),
        ("detected", "secret"),
    ], "what raised nothing is not named"


def test_an_owner_who_states_a_label_and_a_reason_is_taken_at_its_word() -> None:
    rules = [LabelRule(path="*", level=Level.RESTRICTED)]
    stated = Metadata(uri="a", label=PUBLIC, label_reason="An invented example.")
    found = labelled(stated, COLLECTION, rules=rules, detected={"pii"}, before=_label(Level.RESTRICTED))
    assert (found.boundary.label, found.reason) == (PUBLIC, "An invented example.")
    assert _kinds(found) == [("stated", None)]


def test_a_version_that_nobody_labels_is_no_less_strict_than_the_one_before_it() -> None:
    before = _label(Level.RESTRICTED, "pii")
    found = labelled(Metadata(uri="a"), COLLECTION, before=before)
    assert found.boundary.label == _label(Level.RESTRICTED, "pii", "privileged")
    assert _kinds(found) == [("collection", None), ("earlier-version", None)]
    assert labelled(Metadata(uri="a", label=PUBLIC), COLLECTION, before=before).boundary.label == PUBLIC
    assert labelled(Metadata(uri="a"), UNLABELLED, before=_label(Level.INTERNAL)).boundary.label == _label(
        Level.INTERNAL
    )


_LABELS = st.builds(
    Label, level=st.sampled_from(Level), categories=st.frozensets(st.sampled_from(["pii", "phi", "secret"]))
)
_RULES = st.lists(
    st.builds(
        LabelRule,
        path=st.sampled_from(["*", "hr/*", "*.md", "?", "hr/[ab]"]),
        level=st.none() | st.sampled_from(Level),
        categories=st.frozensets(st.sampled_from(["pii", "staff"])),
    )
)


@given(
    stated=st.none() | _LABELS,
    default=st.none() | _LABELS,
    before=st.none() | _LABELS,
    rules=_RULES,
    detected=st.frozensets(st.sampled_from(["pii", "secret"])),
    uri=st.sampled_from(["a", "hr/a", "hr/x.md", "notes.md"]),
)
def test_without_a_reason_a_label_is_never_below_any_of_its_sources(
    stated: Label | None,
    default: Label | None,
    before: Label | None,
    rules: list[LabelRule],
    detected: frozenset[str],
    uri: str,
) -> None:
    collection = replace(COLLECTION, default_label=default)
    found = labelled(Metadata(uri=uri, label=stated), collection, rules=rules, detected=detected, before=before)
    label = found.boundary.label
    sources = [stated] if stated is not None else [each for each in (default, before) if each is not None]
    assert all(label.covers(each) for each in sources)
    assert all(label.covers(rule.floor) for rule in rules if rule.covers(uri))
    assert label.categories >= detected
    assert found.causes
    if not sources and all(rule.level is None for rule in rules if rule.covers(uri)):
        assert label.level is Level.RESTRICTED
