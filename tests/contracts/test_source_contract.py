"""What every `Source` does, shown on each connector over a real place: repository, folder, bucket, site, mailbox."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import NotFound, TooLarge, Unavailable
from app.domain.sources import Cursor, Item, Page
from ingest.ports import Source
from tests.contracts import places
from tests.contracts.places import Place


@pytest.fixture(params=places.MAKERS, ids=lambda maker: maker.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with request.param(tmp_path, 10) as made:
        yield made


def listed(source: Source, since: Cursor | None = None) -> list[Item]:
    return [item for page in source.pages(since) for item in page.items]


def test_everything_there_is_listed_and_fetched_as_it_is(place: Place) -> None:
    source = place.open()
    assert {item.key: source.fetch(item).content for item in listed(source)} == place.contents


def test_keys_are_stable_names_that_lead_nowhere_else(place: Place) -> None:
    for item in listed(place.open()):
        assert 0 < len(item.key) <= 2000
        assert not item.key.startswith("/")
        assert "\x00" not in item.key
        assert not {"", ".", ".."} & set(item.key.removeprefix("http://").split("/")) - {""}
        item.key.encode()


def test_two_listings_have_the_same_items_in_the_same_order(place: Place) -> None:
    assert listed(place.open()) == listed(place.open())


def test_pages_are_no_longer_than_asked_and_together_are_the_listing(place: Place) -> None:
    pages = list(place.open(page_items=3).pages(None))
    assert all(len(page.items) <= 3 for page in pages)
    assert [item for page in pages for item in page.items] == listed(place.open(page_items=1000))


@pytest.mark.parametrize("page_items", [1, 3])
def test_a_listing_goes_on_after_any_page_with_exactly_the_rest(place: Place, page_items: int) -> None:
    pages = list(place.open(page_items=page_items).pages(None))
    for number, page in enumerate(pages):
        assert page.next is not None
        rest = [item for later in pages[number + 1 :] for item in later.items]
        assert listed(place.open(page_items=page_items), page.next) == rest


def test_a_cursor_that_cannot_be_read_begins_the_listing_anew(place: Place) -> None:
    everything = listed(place.open())
    for cursor in ("", "nonsense", "{}", "[1]", '{"at": [1]}', '{"at": "--all"}', '{"at": 10000000000, "after": -1}'):
        assert listed(place.open(), Cursor(cursor)) == everything


def test_pages_come_as_they_are_asked_for(place: Place) -> None:
    pages = place.open(page_items=2).pages(None)
    first: Page = next(pages)
    assert len(first.items) == 2


def test_what_was_lost_after_it_was_listed_is_not_found(place: Place) -> None:
    item = listed(place.open())[0]
    source = place.open()
    with pytest.raises(NotFound):
        source.fetch(place.lose(item))


def test_what_is_larger_than_may_be_read_is_refused(place: Place) -> None:
    source = place.open(max_bytes=5)
    items = listed(source)
    assert items
    for item in items:
        with pytest.raises(TooLarge):
            source.fetch(item)


def test_a_place_that_cannot_be_reached_is_an_error_and_never_an_empty_listing(place: Place) -> None:
    source = place.open()
    place.shut()
    with pytest.raises(Unavailable):
        listed(source)


def test_fetching_from_a_place_that_cannot_be_reached_is_tried_again_or_not_found(place: Place) -> None:
    item = listed(place.open())[0]
    source = place.open()
    place.shut()
    with pytest.raises((Unavailable, NotFound)):
        source.fetch(item)


@pytest.mark.parametrize(
    "maker",
    [maker for maker in places.MAKERS if maker not in (places.bucket_in_memory, places.linked_pages)],
    ids=lambda maker: maker.__name__,
)
def test_a_longer_listing_takes_no_more_memory(maker: places.Maker, tmp_path: Path) -> None:
    def peak(count: int, folder: Path) -> int:
        folder.mkdir()
        with maker(folder, count) as made:
            for _ in made.open(page_items=10).pages(None):  # what is loaded once is not what is measured
                break
            gc.collect()
            tracemalloc.start()
            try:
                for _ in made.open(page_items=10).pages(None):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert peak(800, tmp_path / "long") < peak(80, tmp_path / "short") + 400_000
