"""Labels: joining only makes stricter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.domain.labels import UNLABELLED, Label, Level, parse_level

labels = st.builds(
    Label,
    level=st.sampled_from(Level),
    categories=st.frozensets(st.sampled_from(["pii", "phi", "privileged", "secret"])),
)


@given(one=labels, other=labels)
def test_join_is_at_least_as_strict_as_each(one: Label, other: Label) -> None:
    joined = one.join(other)
    assert all(joined.level >= each.level and joined.categories >= each.categories for each in (one, other))


@given(one=labels, other=labels)
def test_join_adds_nothing_that_neither_has(one: Label, other: Label) -> None:
    joined = one.join(other)
    assert joined.level in (one.level, other.level)
    assert joined.categories == one.categories | other.categories


@given(one=labels, other=labels, third=labels)
def test_join_is_the_same_in_any_order_and_grouping(one: Label, other: Label, third: Label) -> None:
    assert one.join(other) == other.join(one)
    assert one.join(other).join(third) == one.join(other.join(third))


@given(one=labels)
def test_join_with_itself_or_with_nothing_changes_nothing(one: Label) -> None:
    assert one.join(one) == one
    assert one.join(UNLABELLED) == one


def test_levels_rise_from_public_to_restricted() -> None:
    assert [level.word for level in sorted(Level)] == ["public", "internal", "confidential", "restricted"]


@pytest.mark.parametrize("level", Level)
def test_level_is_read_back_from_its_word(level: Level) -> None:
    assert parse_level(level.word) is level


@pytest.mark.parametrize("word", ["", "secret", "0", "public "])
def test_unknown_level_is_invalid_and_those_there_are_get_named(word: str) -> None:
    with pytest.raises(Invalid, match="public, internal, confidential, restricted"):
        parse_level(word)
