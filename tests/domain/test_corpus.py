"""Documents in time: periods, what a newer version leaves of an older one, and where a version stands."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.access import Boundary, BoundaryId
from app.domain.corpus import (
    Document,
    DocumentId,
    Lifecycle,
    Origin,
    Period,
    Span,
    Version,
    VersionId,
    curtailed,
    digest_of,
    embedded_text,
    lifecycle,
    text_digest,
)
from app.domain.instants import BEGINNING, FOREVER, Instant
from app.domain.labels import Label

moments = st.one_of(st.integers(0, 9), st.sampled_from([int(BEGINNING), int(FOREVER)])).map(Instant)
spans_of_time = st.tuples(moments, moments)
valid_spans = spans_of_time.map(lambda pair: (min(pair), max(pair)))
GRID = [Instant(moment) for moment in (BEGINNING, *range(-1, 11), FOREVER - 1)]


def covers(period: tuple[Instant, Instant], moment: Instant) -> bool:
    return period[0] <= moment < period[1]


@given(old=valid_spans, new=valid_spans)
def test_what_is_left_of_a_version_meets_nothing_of_the_newer_one(
    old: tuple[Instant, Instant], new: tuple[Instant, Instant]
) -> None:
    left = curtailed(*old, by=new) or old
    assert not any(covers(left, moment) and covers(new, moment) for moment in GRID)


@given(old=valid_spans, new=spans_of_time)
def test_what_is_left_of_a_version_was_its_own(old: tuple[Instant, Instant], new: tuple[Instant, Instant]) -> None:
    left = curtailed(*old, by=new)
    if left is not None:
        assert all(covers(old, moment) for moment in GRID if covers(left, moment))
        assert left[0] <= left[1]


@given(old=valid_spans, new=valid_spans)
def test_what_was_superseded_does_not_come_back_after_a_successor_that_started_later(
    old: tuple[Instant, Instant], new: tuple[Instant, Instant]
) -> None:
    left = curtailed(*old, by=new) or old
    lost = [moment for moment in GRID if covers(old, moment) and not covers(left, moment)]
    if new[0] > old[0]:
        assert all(moment >= new[0] for moment in lost)
        assert not lost or not any(covers(left, moment) for moment in GRID if moment >= new[1])
    else:
        assert all(covers(new, moment) for moment in lost)


@given(old=valid_spans, new=spans_of_time)
def test_periods_that_do_not_meet_leave_each_other_alone(
    old: tuple[Instant, Instant], new: tuple[Instant, Instant]
) -> None:
    if not any(covers(old, moment) and covers(new, moment) for moment in GRID) and old[0] < old[1]:
        assert curtailed(*old, by=new) is None


@given(old=valid_spans, new=valid_spans)
def test_curtailing_twice_by_the_same_changes_nothing_more(
    old: tuple[Instant, Instant], new: tuple[Instant, Instant]
) -> None:
    left = curtailed(*old, by=new) or old
    assert (curtailed(*left, by=new) or left) == left


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ((0, FOREVER), (5, FOREVER), (0, 5)),
        ((0, FOREVER), (5, 7), (0, 5)),
        ((5, FOREVER), (2, FOREVER), (5, 5)),
        ((5, FOREVER), (2, 7), (7, FOREVER)),
        ((5, 9), (5, 7), (7, 9)),
        ((5, 9), (5, 9), (5, 5)),
        ((5, 9), (2, 5), None),
        ((5, 9), (9, FOREVER), None),
        ((0, FOREVER), (5, 5), None),
        ((0, FOREVER), (5, 3), None),
    ],
)
def test_newer_version_takes_what_it_covers(
    old: tuple[int, int], new: tuple[int, int], left: tuple[int, int] | None
) -> None:
    assert curtailed(Instant(old[0]), Instant(old[1]), by=(Instant(new[0]), Instant(new[1]))) == left


@pytest.mark.parametrize(("withdrawn", "superseded"), [*product((False, True), repeat=2)])
@pytest.mark.parametrize("now", [9, 10, 19, 20])
def test_version_stands_where_the_table_says(withdrawn: bool, superseded: bool, now: int) -> None:
    stands = lifecycle(_version(withdrawn=withdrawn, superseded=superseded), now=Instant(now))
    if withdrawn:
        assert stands is Lifecycle.WITHDRAWN
    elif now == 9:
        assert stands is Lifecycle.EMBARGOED
    elif now in (10, 19):
        assert stands is Lifecycle.CURRENT
    else:
        assert stands is (Lifecycle.SUPERSEDED if superseded else Lifecycle.EXPIRED)


def test_readers_are_shown_what_is_or_was_in_force_and_owners_the_rest() -> None:
    assert [stands for stands in Lifecycle if stands.open_to_readers] == [Lifecycle.CURRENT, Lifecycle.SUPERSEDED]


@pytest.mark.parametrize(("valid_at", "known_at"), [*product((9, 10, 19, 20), (99, 100, 199, 200))])
def test_period_holds_from_its_start_until_before_its_end_in_both_times(valid_at: int, known_at: int) -> None:
    period = _period(recorded_to=200)
    holds = period.holds(valid_at=Instant(valid_at), known_at=Instant(known_at))
    assert holds == (valid_at in (10, 19) and known_at in (100, 199))


@given(text=st.text(max_size=20), ends=st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_span_is_of_code_points(text: str, ends: tuple[int, int]) -> None:
    start, end = sorted(ends)
    assert Span(start=start, end=end).of(text) == "".join(list(text)[start:end])


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1), (-2, -1)])
def test_span_that_is_none_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="span"):
        Span(start=start, end=end)


def test_digest_is_sha256_of_the_bytes() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of(b"") == text_digest("") == empty
    assert text_digest("🗂") == digest_of(b"\xf0\x9f\x97\x82")


def test_embedded_text_has_its_title_and_section_in_front_once() -> None:
    assert embedded_text("Policy", (), "Text.") == "Policy\nText."
    assert embedded_text("Policy", ("Policy", "Sharing", "Partners"), "Text.") == "Policy > Sharing > Partners\nText."


def _period(recorded_to: int = FOREVER) -> Period:
    return Period(
        ordinal=0,
        valid_from=Instant(10),
        valid_to=Instant(20),
        recorded_from=Instant(100),
        recorded_to=Instant(recorded_to),
    )


def _version(*, withdrawn: bool, superseded: bool) -> Version:
    return Version(
        id=VersionId(1),
        document=Document(id=DocumentId("doc_1"), collection="policies", uri="a", recorded_at=Instant(0)),
        number=1,
        title="Policy",
        media_type="text/plain",
        size_bytes=1,
        digest=digest_of(b""),
        text_digest=text_digest(""),
        parser="by hand",
        source=Origin(),
        attributes={},
        findings=(),
        recorded_at=Instant(100),
        boundary_id=BoundaryId(1),
        boundary=Boundary(collection="policies", label=Label()),
        period=_period(),
        begins=Instant(10),
        withdrawn=withdrawn,
        superseded=superseded,
        latest=not superseded,
    )
