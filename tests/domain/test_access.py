"""Boundaries that intern by what they say, and a reach that nobody else makes and that only narrows."""

import copy
import hashlib
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.access import (
    _SEAL,
    Action,
    Boundary,
    BoundaryId,
    Collection,
    Epochs,
    Grounds,
    Kind,
    Obligation,
    Party,
    PolicyId,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Reach,
    _Seal,
    kind_of,
)
from app.domain.errors import Invalid
from app.domain.instants import Instant
from app.domain.labels import Label, Level

ids = st.frozensets(st.integers(1, 9).map(BoundaryId))
names = st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2)
refs = names.map(lambda some: frozenset(PrincipalRef(f"group:{name}") for name in some))
boundaries = st.builds(
    Boundary,
    collection=st.just("policies"),
    label=st.builds(Label, level=st.sampled_from(Level), categories=names),
    readers=refs,
    denied=refs,
    jurisdictions=names,
    purposes=names,
    consents=names,
)
collections = st.builds(
    Collection,
    name=st.just("policies"),
    title=st.just("Policies"),
    owners=refs,
    default_label=st.just(Label()),
    default_readers=refs,
    jurisdictions=names,
    purposes=names,
)


def party(ref: str) -> Party:
    return Party(profile=Profile(ref=PrincipalRef(ref), display_name=ref), groups=frozenset())


GROUNDS = Grounds(
    question=Question(principal=Principal(subject=party("user:ana")), action=Action.READ, purpose=None),
    epochs=Epochs(policies=1, directory=1, boundaries=1, grants=1),
    rulings={},
)


def fields_of_reach(**changed: Any) -> dict[str, Any]:
    return {
        "boundaries": frozenset({BoundaryId(1)}),
        "curated": frozenset(),
        "valid_at": Instant(1),
        "known_at": Instant(2),
        "obligations": (Obligation(id="cite-sources", policies=(PolicyId("p"),)),),
        "grounds": GROUNDS,
        **changed,
    }


def reach_of(allowed: frozenset[BoundaryId], curated: frozenset[BoundaryId] = frozenset()) -> Reach:
    return Reach(**fields_of_reach(boundaries=allowed, curated=curated & allowed, _sealed=_SEAL))


@pytest.mark.parametrize("sealed", [{}, {"_sealed": None}, {"_sealed": True}, {"_sealed": _Seal()}])
def test_reach_cannot_be_made_without_the_seal(sealed: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Reach(**fields_of_reach(**sealed))


def test_reach_cannot_be_widened_from_one_that_is_sealed() -> None:
    sealed = reach_of(frozenset({BoundaryId(1)}))
    with pytest.raises((TypeError, ValueError)):
        replace(sealed, boundaries=frozenset({BoundaryId(1), BoundaryId(2)}))
    with pytest.raises(AttributeError):
        sealed.boundaries = frozenset({BoundaryId(2)})  # type: ignore[misc]
    assert copy.copy(sealed) == pickle.loads(pickle.dumps(sealed)) == sealed


@given(allowed=ids, curated=ids, asked=ids)
def test_reach_only_narrows(allowed: frozenset[BoundaryId], curated: frozenset[BoundaryId], asked: Any) -> None:
    whole = reach_of(allowed, curated)
    part = whole & asked
    assert part == reach_of(allowed & asked, curated & asked)
    assert part.boundaries <= whole.boundaries
    assert part.curated <= part.boundaries
    assert (whole & iter(asked)) == part


@given(allowed=ids, curated=ids, one=ids, other=ids)
def test_narrowing_twice_is_the_same_in_any_order(allowed: Any, curated: Any, one: Any, other: Any) -> None:
    whole = reach_of(allowed, curated)
    assert whole & one & other == whole & other & one == whole & (one & other)
    assert whole & one & one == whole & one
    assert whole & (allowed | one) == whole


def test_empty_reach_is_false() -> None:
    assert not reach_of(frozenset())
    assert not reach_of(frozenset({BoundaryId(1)})) & {BoundaryId(2)}
    assert reach_of(frozenset({BoundaryId(1)}))


@given(one=boundaries, other=boundaries)
def test_boundaries_have_the_same_digest_if_and_only_if_they_are_equal(one: Boundary, other: Boundary) -> None:
    assert (one.canonical() == other.canonical()) == (one == other)
    assert (one.digest() == other.digest()) == (one == other)


@given(one=boundaries)
def test_digest_is_of_the_canonical_text_whatever_order_the_sets_are_in(one: Boundary) -> None:
    same = replace(
        one,
        readers=frozenset(sorted(one.readers, reverse=True)),
        purposes=frozenset(sorted(one.purposes, reverse=True)),
    )
    assert same.canonical() == one.canonical()
    assert one.digest() == hashlib.sha256(one.canonical().encode()).hexdigest()


def test_canonical_text_stays_as_it_is_or_every_boundary_is_interned_again() -> None:
    boundary = Boundary(
        collection="policies",
        label=Label(level=Level.CONFIDENTIAL, categories=frozenset({"pii", "phi"})),
        readers=frozenset({PrincipalRef("group:legal"), PrincipalRef("group:eu")}),
        consents=frozenset({"Zürich"}),
    )
    assert boundary.canonical() == (
        '{"categories":["phi","pii"],"collection":"policies","consents":["Z\\u00fcrich"],"denied":[],'
        '"jurisdictions":[],"level":"confidential","purposes":[],"readers":["group:eu","group:legal"]}'
    )


@given(boundary=boundaries, collection=collections)
def test_boundary_takes_from_its_collection_what_it_leaves_open(boundary: Boundary, collection: Collection) -> None:
    filled = boundary.within(collection)
    assert filled == replace(
        boundary,
        readers=boundary.readers if boundary.readers else collection.default_readers,
        jurisdictions=boundary.jurisdictions if boundary.jurisdictions else collection.jurisdictions,
        purposes=boundary.purposes if boundary.purposes else collection.purposes,
    )
    assert filled.within(collection) == filled


def test_boundary_of_another_collection_is_not_resolved() -> None:
    collection = Collection(name="minutes", title="", owners=frozenset(), default_label=Label())
    with pytest.raises(ValueError, match="policies"):
        Boundary(collection="policies", label=Label()).within(collection)


@pytest.mark.parametrize(
    ("ref", "kind"), [("user:ana", Kind.USER), ("group:a:b", Kind.GROUP), ("assistant:x", "assistant")]
)
def test_kind_is_what_comes_before_the_colon(ref: str, kind: str) -> None:
    assert kind_of(PrincipalRef(ref)) == kind


@pytest.mark.parametrize("ref", ["", "ana", "user", "user:", ":ana", "User:ana", "robot:ana", " user:ana"])
def test_what_is_not_kind_and_id_is_invalid(ref: str) -> None:
    with pytest.raises(Invalid, match="user:ID"):
        kind_of(PrincipalRef(ref))


def test_principal_is_called_by_its_subject_and_actor() -> None:
    ana, bot = party("user:ana"), party("assistant:bot")
    assert Principal(subject=ana).label == "user:ana"
    assert Principal(subject=ana, actors=(bot,), proof=Proof.ASSERTED).label == "user:ana through assistant:bot"
