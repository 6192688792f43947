"""What ingest needs from elsewhere, as protocols."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from app.domain.corpus import Parsed
from app.domain.sources import Cursor, Fetched, Item, Page


class Parser(Protocol):
    """Original bytes to canonical text and the elements that its spans point into.

    Safe to call from several threads at once. The same bytes and media type give the same `Parsed`.
    """

    def parse(self, content: bytes, media_type: str, filename: str) -> Parsed:
        """What the document says, in reading order. `media_type` is one that `ingest.gate.admitted` returned.

        Raises `Unparseable` (it cannot be read: the sentence says why), `UnsupportedMedia` (no reader for that type),
        `TooLarge` (it holds more than is read) or `Unavailable` (the parser itself is down: try again).
        """
        ...


class Source(Protocol):
    """A place that documents are fetched from, opened for one run; it is asked by one thread.

    Two kinds: one that lists all it has each time (a folder, a bucket, a site), so that what is no longer listed is
    gone; and one that tells what happened (a repository's commits, pushed lines), where only an item marked `gone` is.
    """

    @property
    def lists_all(self) -> bool:
        """Whether a run's pages, begun without a cursor, name everything that is there.

        To be asked when the pages have been drawn: a source that tells what happened says yes when it could not go on
        from its cursor, and began anew.
        """
        ...

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        """What there is, or what happened since, in an order that does not change between two runs.

        A cursor that leads nowhere any more begins the listing anew. An item that was moved is followed by one for
        its old key, `gone`.

        Nothing is held in memory beyond a page. Raises `Unavailable` when the place cannot be reached or refuses
        us for now (try again: what was listed so far stands), and `Invalid` when its settings cannot be right.
        """
        ...

    def fetch(self, item: Item) -> Fetched:
        """The content of an item that `pages` gave and that is not gone.

        Raises `NotFound` if it is no longer there, `TooLarge` before reading more than a document may have,
        `NotPermitted` if the place refuses it to us, `UnsupportedMedia` if what is there can never be read here (a
        pointer to content kept elsewhere, a film), `Unavailable` to be tried again.
        """
        ...


@runtime_checkable
class Revalidates(Source, Protocol):
    """A source whose items carry no etag of use, but that can be asked whether one is still as it was fetched."""

    def fetch_unless(self, item: Item, held: str) -> Fetched | None:
        """As `fetch`; `None` if the content is still that which was fetched with the etag `held`."""
        ...
