"""Instants: read from ISO 8601, written as ISO 8601, and never without a zone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.domain.instants import BEGINNING, FOREVER, Instant, instant_of, iso, iso_or_none, parse_instant

instants = st.integers(BEGINNING, FOREVER).map(Instant)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T19:00-05:00", 0),
        ("2024-02-29T12:00:00Z", 1_709_208_000_000),
        ("0001-01-01", BEGINNING),
        ("0001-01-01T00:00:00Z", BEGINNING),
        ("9999-12-31T23:59:59.999Z", FOREVER),
        ("9999-12-31T23:59:59.999999Z", FOREVER),
    ],
)
def test_iso_8601_is_read(text: str, instant: int) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-30", "2026-01-31T25:00:00Z", "10000-01-01", "1769817600", "2026-01-31T00:00:00Zulu"],
)
def test_what_is_not_iso_8601_is_invalid_with_an_example(text: str) -> None:
    with pytest.raises(Invalid, match="2026-01-31T00:00:00Z"):
        parse_instant(text)


def test_date_and_time_without_a_zone_is_invalid() -> None:
    with pytest.raises(Invalid, match="zone"):
        parse_instant("2026-01-31T00:00:00")
    with pytest.raises(Invalid, match="zone"):
        instant_of(datetime(2026, 1, 31))


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "0001-01-01T13:59+14:00"])
def test_moment_outside_the_years_1_to_9999_in_utc_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        parse_instant(text)


@given(instant=instants)
def test_written_instant_reads_back_as_itself(instant: Instant) -> None:
    assert parse_instant(iso(instant)) == instant


@given(moment=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), zone=zones)
def test_instant_is_the_moment_floored_to_a_millisecond_in_any_zone(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=UTC).astimezone(zone)
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert instant_of(aware) == since // timedelta(milliseconds=1)


@given(one=instants, other=instants)
def test_written_instants_of_whole_seconds_sort_as_the_instants_do(one: Instant, other: Instant) -> None:
    whole = [Instant(instant // 1000 * 1000) for instant in (one, other)]
    assert (iso(whole[0]) < iso(whole[1])) == (whole[0] < whole[1])


def test_whole_seconds_are_written_without_a_fraction() -> None:
    assert (iso(Instant(0)), iso(Instant(1)), iso(Instant(-1))) == (
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.001Z",
        "1969-12-31T23:59:59.999Z",
    )


def test_open_ends_are_written_as_none() -> None:
    assert (iso_or_none(FOREVER), iso_or_none(BEGINNING)) == (None, None)
    assert iso_or_none(Instant(0)) == "1970-01-01T00:00:00Z"


def test_open_ends_are_exact_in_the_floating_point_that_the_index_compares_in() -> None:
    assert int(float(FOREVER)) == FOREVER
    assert int(float(BEGINNING)) == BEGINNING
