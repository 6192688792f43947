"""Whatever JSON an application states becomes properties that policies can read, or one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.domain.stated import MAX_PROPERTIES, Stated, stated

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5)
)


def names(found: Stated) -> list[str]:
    return [name for some in (found.texts, found.flags, found.numbers, found.lists) for name, _ in some]


@given(st.dictionaries(st.text(max_size=5), values, max_size=10))
def test_any_json_is_stated_under_names_of_one_type_or_refused_in_a_sentence(properties: dict[str, object]) -> None:
    try:
        found, refusal = stated(properties), ""
    except Invalid as error:
        found, refusal = Stated(), error.detail
    assert len(names(found)) == len(set(names(found))) <= MAX_PROPERTIES
    assert not refusal or refusal.endswith(".")


def test_each_kind_of_value_is_found_where_it_belongs() -> None:
    assert stated(
        {
            "ownerID": "ana",
            "soft": False,
            "size": 12,
            "ratio": 1.5,
            "huge": 2**63,
            "nothing": None,
            "tags": ["a", 1, True],
            "none": [],
            "record": {"title": "T", "a/b~c": 1},
            "rows": [{"n": 1}, ["x"]],
        }
    ) == Stated(
        texts=frozenset({("ownerID", "ana"), ("ratio", "1.5"), ("huge", str(2**63)), ("record/title", "T")}),
        flags=frozenset({("soft", False)}),
        numbers=frozenset({("size", 12), ("record/a~1b~0c", 1), ("rows/0/n", 1)}),
        lists=frozenset({
            ("tags", frozenset({"a", "1", "true"})),
            ("none", frozenset[str]()),
            ("rows/1", frozenset({"x"})),
        }),
    )  # fmt: skip


@pytest.mark.parametrize(
    "properties", [{"a": {"b": 1}, "a/b": 2}, {"a": {"b/c": 1}, "a/b": {"c": 2}}, {"a": [{}], "a/0": 1}]
)
def test_names_that_look_alike_stay_apart(properties: dict[str, object]) -> None:
    assert len(names(stated(properties))) == len(set(names(stated(properties))))


@pytest.mark.parametrize(
    "properties",
    [
        {"a": "x" * 4_001},
        {"x" * 4_001: 1},
        {str(n): n for n in range(201)},
        {"a": list(range(201))},
        {"a": "\x00"},
        {"\ud800": 1},
        {"a": float("nan")},
        {"a": float("inf")},
    ],
)
def test_what_does_not_fit_is_refused(properties: dict[str, object]) -> None:
    with pytest.raises(Invalid, match=r"\.$"):
        stated(properties)
