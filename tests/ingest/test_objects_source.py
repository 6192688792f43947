"""Objects of stores that are on this machine, and what is said where a store's package is not."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid, NotFound, Unavailable
from app.domain.sources import Cursor, Item
from ingest.listing import Paths, is_safe_path
from ingest.objects_source import ObjectsSource, open_objects
from tests.contracts.places import settings


def opened(location: str, *, page_items: int = 100, **options: str) -> ObjectsSource:
    return open_objects(settings("objects", location, **options), page_items=page_items)


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"It is {name}.")


def listed(source: ObjectsSource, since: Cursor | None = None) -> list[Item]:
    return [item for page in source.pages(since) for item in page.items]


def test_objects_are_listed_in_the_order_of_their_whole_names(tmp_path: Path) -> None:
    names = ["a", "a.md", "a-b/x.md", "a/x.md", "a/b/c.md", "a0.md", "Z.md", "ä.md", "a b.md"]
    put(tmp_path, *(name for name in names if name != "a"))
    keys = [item.key for item in listed(opened(tmp_path.as_uri()))]
    assert keys == sorted(name for name in names if name != "a")


def test_a_listing_goes_on_after_a_name_whatever_came_or_went(tmp_path: Path) -> None:
    put(tmp_path, *(f"{folder}/{number}.md" for folder in "abc" for number in range(3)))
    first = next(iter(opened(tmp_path.as_uri(), page_items=4).pages(None)))
    (tmp_path / "b" / "0.md").unlink()
    put(tmp_path, "a/00.md", "b/00.md", "b/1/x.md")
    rest = [item.key for item in listed(opened(tmp_path.as_uri()), first.next)]
    assert rest == ["b/00.md", "b/1.md", "b/1/x.md", "b/2.md", "c/0.md", "c/1.md", "c/2.md"]


def test_an_object_that_was_written_again_has_another_etag(tmp_path: Path) -> None:
    put(tmp_path, "a.md")
    (before,) = listed(opened(tmp_path.as_uri()))
    assert listed(opened(tmp_path.as_uri())) == [before]
    os.utime(tmp_path / "a.md", (1, 1))
    (after,) = listed(opened(tmp_path.as_uri()))
    assert before.etag != after.etag


def test_only_wanted_objects_are_listed(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "b.txt", "docs/c.md", "docs/drafts/d.md")
    source = opened(tmp_path.as_uri(), include="*.md, docs/**", exclude="docs/drafts/")
    assert [item.key for item in listed(source)] == ["a.md", "docs/c.md"]


def test_keys_that_lead_out_and_links_that_came_later_are_not_found(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "root/docs/a.md", "secret/a.md")
    source = opened(root.as_uri())
    for key in ("../secret/a.md", "/etc/passwd", "docs/../../secret/a.md", "", ".", "docs", "docs/a.md/", "a\0b"):
        with pytest.raises(NotFound):
            source.fetch(Item(key=key))
    (root / "docs" / "a.md").unlink()
    (root / "docs").rmdir()
    (root / "docs").symlink_to(tmp_path / "secret")
    with pytest.raises(NotFound):
        source.fetch(Item(key="docs/a.md"))


def test_a_location_that_is_one_object_or_not_there_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "a.md")
    with pytest.raises((Invalid, Unavailable)):
        listed(opened((tmp_path / "a.md").as_uri()))
    with pytest.raises(Unavailable):
        listed(opened((tmp_path / "absent").as_uri()))


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("s3://bucket/docs", "muniment[s3]"),
        ("gs://bucket/docs", "muniment[gcs]"),
        ("az://container/docs", "muniment[azure]"),
        ("https://example.org/docs", "'web'"),
        ("s3://key:secret@bucket/docs", "password"),
        ("simplecache::s3://bucket/docs", "URL"),
        ("nosuch://bucket", "no store"),
        ("file:///a/../etc", "'..'"),
        ("file://relative", "absolute"),
        ("/etc", "URL"),
        ("", "URL"),
    ],
)
def test_a_location_that_cannot_be_opened_says_what_to_do(location: str, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        opened(location)
    assert said in refusal.value.detail
    assert "secret" not in refusal.value.detail


def test_options_that_say_where_to_go_are_not_an_owners(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="endpoint_url"):
        opened(tmp_path.as_uri(), endpoint_url="http://169.254.169.254/")


# -- patterns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "wanted", "unwanted"),
    [
        ("*.md", ["a.md"], ["d/a.md", "a.mdx"]),
        ("**/*.md", ["a.md", "d/e/a.md"], ["a.txt"]),
        ("docs/**/*.md", ["docs/a.md", "docs/x/y/a.md"], ["a.md", "x/docs/a.md"]),
        ("docs/", ["docs/a", "docs/b/c"], ["docs", "x/docs/a"]),
        ("a/**/b/**/c", ["a/b/c", "a/x/b/y/z/c", "a/b/b/c"], ["a/c", "a/b/c/d"]),
        ("[ab]?.md", ["a1.md", "bz.md"], ["c1.md", "a.md", "a/.md"]),
        ("a.b", ["a.b"], ["axb"]),
        ("x*, \n y/**", ["xa", "y/b/c"], ["y", "z"]),
    ],
)
def test_patterns(pattern: str, wanted: list[str], unwanted: list[str]) -> None:
    paths = Paths(include=pattern)
    assert [path for path in [*wanted, *unwanted] if paths.wants(path)] == wanted


def test_no_pattern_takes_long() -> None:
    paths = Paths(include="/".join(["**", "*a*a*a*a*a*a*a*a*b"] * 12))
    assert not paths.wants("/".join(["a" * 60] * 30))


@given(st.lists(st.sampled_from(["..", ".", "", "a", "/", "\x00", "b.md", "\ud800"]), max_size=5))
def test_a_safe_path_stays_below_where_it_begins(parts: list[str]) -> None:
    path = "/".join(parts)
    if is_safe_path(path):
        assert os.path.normpath(f"/here/{path}") == f"/here/{path}"
        path.encode()
