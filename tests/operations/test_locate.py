"""Where sources may fetch from: what is allowed and lies below it, however it is written, and nothing else."""

from pathlib import Path
from typing import Any, cast

import pytest

from app.domain.errors import Invalid, NotPermitted
from app.domain.sources import SourceName, SourceSettings
from app.operations.locate import check_location, check_places
from app.ports import Ports

ALLOWED = ("https://intranet.example/books/", "s3://bucket/a", "ssh://git@code.example/team")


class _Allowing:
    """Of the ports, what a location is held against."""

    def __init__(self, *locations: str) -> None:
        self.source_locations = locations


def _ports(*locations: str) -> Ports:
    return cast(Ports, _Allowing(*locations))


@pytest.mark.parametrize(
    "location",
    [
        "https://intranet.example/books",
        "https://INTRANET.example:443/books/one?page=2",
        "https://intranet.example/x/../books/one",
        "s3://bucket/a/b",
        "git@code.example:team/handbook.git",
        "ssh://code.example/team/handbook",
    ],
)
def test_what_is_allowed_and_what_lies_below_it_is_fetched(location: str) -> None:
    check_location(_ports(*ALLOWED), location)


@pytest.mark.parametrize(
    "location",
    [
        "https://intranet.example/",
        "https://intranet.example/bookshelf",
        "https://intranet.example/books/../secret",
        "https://intranet.example/books/%2e%2e/secret",
        "http://intranet.example/books",
        "https://intranet.example:8443/books",
        "https://intranet.example.evil.example/books",
        "s3://bucket/ab",
        "s3://bucket2/a",
        "git@code.example:other/handbook.git",
        "/books",
    ],
)
def test_nothing_else_is(location: str) -> None:
    with pytest.raises(NotPermitted, match="MUNIMENT_SOURCES__ALLOW"):
        check_location(_ports(*ALLOWED), location)


@pytest.mark.parametrize(
    "location",
    [
        "books",
        "",
        "https://a:b@intranet.example/books",
        "https://a-token@intranet.example/books",
        "https://intranet.example@evil.example/books",
        "zip::s3://bucket/a",
        "https://[/",
        "c:\\books",
        "https://intranet.example/books/.\t./secret",
    ],
)
def test_what_is_no_place_is_said_to_be_none(location: str) -> None:
    with pytest.raises(Invalid):
        check_location(_ports(*ALLOWED), location)


def test_a_path_counts_where_it_leads(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "way-out").symlink_to(outside)
    (outside / "way-in").symlink_to(inside)
    ports = _ports(str(inside))
    for place in (inside, inside / "deep" / "er", outside / "way-in", f"file://{inside}"):
        check_location(ports, str(place))
    for place in (outside, inside / "way-out", inside / ".." / "outside", tmp_path / "inside-too", tmp_path):
        with pytest.raises(NotPermitted):
            check_location(ports, str(place))


@pytest.mark.parametrize("sign", ["?", "#", "?x=", "\t", "\n"])
def test_no_sign_in_a_file_url_hides_where_its_path_leads(tmp_path: Path, sign: str) -> None:
    with pytest.raises(Invalid):
        check_location(_ports(str(tmp_path)), f"file://{tmp_path}{sign}/../../../../../../etc")


def test_nothing_is_fetched_where_nothing_is_allowed() -> None:
    with pytest.raises(NotPermitted):
        check_location(_ports(), "/srv")


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({"endpoint_url": "http://169.254.169.254/"}, False),
        ({"pages": "https://intranet.example/books/2 https://evil.example/"}, False),
        ({"hosts": "evil.example"}, False),
        ({"pages": "https://intranet.example/books/2", "contact": "https://us.example/bot", "branch": "main"}, True),
    ],
)
def test_addresses_in_options_are_held_against_the_same(options: dict[str, Any], fits: bool) -> None:
    settings = SourceSettings(
        name=SourceName("x"),
        collection="c",
        connector="web",
        location="https://intranet.example/books",
        options=options,
    )
    if fits:
        check_places(_ports(*ALLOWED), settings)
        return
    with pytest.raises(NotPermitted):
        check_places(_ports(*ALLOWED), settings)
