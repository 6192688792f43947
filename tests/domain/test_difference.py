"""Differences: exact, whatever the texts; what moved is told as moved."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.corpus import Element, ElementKind, Span
from app.domain.difference import Change, Difference, Text, difference, readable

_LONG = "Every member may leave at the end of a month, and says so in writing to the office."
_OTHER = "Fees are due on the first working day of a quarter, and are paid by direct debit only."


def _text(*sections: tuple[str, ...]) -> Text:
    """Each section as its headings, outermost first, and then its body; a heading is put in front of its own."""
    elements: list[Element] = []
    pieces: list[str] = []
    length = 0

    def add(kind: ElementKind, text: str, section: tuple[str, ...]) -> None:
        nonlocal length
        start = length + 2 if pieces else 0
        length = start + len(text)
        pieces.append(text)
        elements.append(Element(kind=kind, span=Span(start=start, end=length), section=section))

    for *path, body in sections:
        if path:
            add(ElementKind.TITLE, path[-1], tuple(path[:-1]))
        if body:
            add(ElementKind.PARAGRAPH, body, tuple(path))
    return Text(text="\n\n".join(pieces), elements=elements)


def _told(found: Difference) -> list[tuple[str, tuple[str, ...] | None, tuple[str, ...] | None, bool]]:
    return [(str(each.change), each.old_section, each.new_section, bool(each.hunks)) for each in found.sections]


def _is_exact(found: Difference, old: Text, new: Text) -> bool:
    """Putting each section's new words in the place of its old ones gives its new text, and hunks are in order."""
    for each in found.sections:
        if each.old is None or each.new is None:
            continue
        pieces, at = [], each.old.start
        for hunk in each.hunks:
            assert at <= hunk.old.start <= hunk.old.end <= each.old.end
            assert hunk.old.of(old.text) != hunk.new.of(new.text)
            pieces += [old.text[at : hunk.old.start], hunk.new.of(new.text)]
            at = hunk.old.end
        pieces.append(old.text[at : each.old.end])
        if "".join(pieces) != each.new.of(new.text):
            return False
    return True


def test_same_text_has_no_difference() -> None:
    text = _text(("Leaving", _LONG), ("Fees", _OTHER))
    found = difference(text, text)
    assert found == Difference(sections=(), unchanged=2)
    assert readable(found, text.text, text.text) == "Nothing is different.\n"


def test_changed_words_are_told_with_their_spans_on_both_sides() -> None:
    old = _text(("Leaving", _LONG), ("Fees", _OTHER))
    new = _text(("Leaving", _LONG.replace("a month", "the year")), ("Fees", _OTHER))
    found = difference(old, new)
    assert _told(found) == [("changed", ("Leaving",), ("Leaving",), True)]
    (hunk,) = found.sections[0].hunks
    assert (hunk.old.of(old.text), hunk.new.of(new.text)) == ("a month", "the year")
    assert "of [-a month-]{+the year+}, and" in readable(found, old.text, new.text)


def test_sections_that_came_and_went_are_told_where_they_stand() -> None:
    old = _text(("Leaving", _LONG), ("Pets", "No pets."), ("Fees", _OTHER))
    new = _text(("Leaving", _LONG), ("Fees", _OTHER), ("Bicycles", "In the yard."))
    found = difference(old, new)
    assert _told(found) == [("removed", ("Pets",), None, False), ("added", None, ("Bicycles",), False)]
    assert found.unchanged == 2
    assert found.sections[0].old is not None
    assert found.sections[0].old.of(old.text) == "Pets\n\nNo pets."
    assert "[-Pets\n\nNo pets.-]" in readable(found, old.text, new.text)


def test_section_that_moved_is_told_as_moved() -> None:
    old = _text(("Leaving", _LONG), ("Pets", "No pets."), ("Fees", _OTHER))
    new = _text(("Pets", "No pets."), ("Fees", _OTHER), ("Leaving", _LONG))
    found = difference(old, new)
    assert _told(found) == [("moved", ("Leaving",), ("Leaving",), False)]
    assert found.unchanged == 2


def test_section_that_moved_and_changed_is_told_as_both() -> None:
    old = _text(("Leaving", _LONG), ("Pets", "No pets."), ("Fees", _OTHER))
    new = _text(("Pets", "No pets."), ("Fees", _OTHER), ("Leaving", _LONG.replace("office", "board")))
    found = difference(old, new)
    assert _told(found) == [("moved", ("Leaving",), ("Leaving",), True)]
    assert "moved and changed" in readable(found, old.text, new.text)


def test_section_under_another_heading_is_moved_and_one_under_a_renamed_heading_is_not() -> None:
    old = _text(("House", ""), ("House", "Leaving", _LONG), ("House", "Fees", _OTHER), ("Annex", "See the map."))
    elsewhere = _text(("House", ""), ("House", "Fees", _OTHER), ("Annex", "See the map."), ("Annex", "Leaving", _LONG))
    assert _told(difference(old, elsewhere)) == [("moved", ("House", "Leaving"), ("Annex", "Leaving"), False)]
    renamed = _text(("Home", ""), ("Home", "Leaving", _LONG), ("Home", "Fees", _OTHER), ("Annex", "See the map."))
    assert _told(difference(old, renamed)) == [("changed", ("House",), ("Home",), True)]


def test_renamed_and_reworded_section_is_told_as_changed() -> None:
    old = _text(("Rules", ""), ("Rules", "Leaving", _LONG), ("Rules", "Pets", "No pets."))
    new = _text(
        ("Rules", ""), ("Rules", "Giving notice", _LONG.replace("a month", "the year")), ("Rules", "Pets", "No pets.")
    )
    assert _told(difference(old, new)) == [("changed", ("Rules", "Leaving"), ("Rules", "Giving notice"), True)]


def test_texts_without_headings_are_one_section() -> None:
    found = difference(_text(("One two three.",)), _text(("One four three.",)))
    assert _told(found) == [("changed", (), (), True)]


def test_from_nothing_and_to_nothing() -> None:
    some, none = _text(("Leaving", _LONG)), Text(text="", elements=())
    assert _told(difference(none, some)) == [("added", None, ("Leaving",), False)]
    assert _told(difference(some, none)) == [("removed", ("Leaving",), None, False)]
    assert difference(none, none) == Difference(sections=(), unchanged=0)


_words = st.lists(st.sampled_from(["a", "b.", "c,\n", "dé", "🗂", "e  f"]), max_size=12).map(" ".join).map(str.strip)
_headings = st.lists(st.sampled_from(["One", "Two", "Three"]), max_size=2).map(tuple)
_sections = st.lists(st.tuples(_headings, _words).map(lambda each: (*each[0], each[1])), max_size=6)


@given(old=_sections, new=_sections)
def test_difference_is_exact_complete_and_always_the_same(
    old: list[tuple[str, ...]], new: list[tuple[str, ...]]
) -> None:
    before, after = _text(*old), _text(*new)
    found = difference(before, after)
    assert _is_exact(found, before, after)
    assert difference(before, after) == found
    sides = [(each.old, each.new) for each in found.sections]
    assert len({o for o, _ in sides if o}) == sum(1 for o, _ in sides if o)
    assert len({n for _, n in sides if n}) == sum(1 for _, n in sides if n)
    if before.text == after.text and before.elements == after.elements:
        assert found.sections == ()
    if before.text != after.text:
        assert found.sections


def test_long_texts_that_have_little_in_common_are_compared_coarsely_and_say_so() -> None:
    old = _text(("Words", " ".join(f"w{n * 7919 % 997}" for n in range(20_000))))
    new = _text(("Words", " ".join(f"w{n * 7907 % 991}" for n in range(20_000))))
    found = difference(old, new)
    assert found.coarse
    assert found.sections[0].change is Change.CHANGED
    assert _is_exact(found, old, new)
    assert "may hold words that are not" in readable(found, old.text, new.text)


def test_one_word_in_a_long_text_is_found() -> None:
    words = [f"w{n * 7919 % 997}" for n in range(100_000)]
    old = _text(("Words", " ".join(words)))
    new = _text(("Words", " ".join([*words[:50_000], "new", *words[50_000:]])))
    found = difference(old, new)
    assert not found.coarse
    (hunk,) = found.sections[0].hunks
    assert (hunk.old.of(old.text), hunk.new.of(new.text)) == ("", " new")
