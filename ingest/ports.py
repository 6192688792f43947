"""What ingest needs from elsewhere, as protocols."""

from typing import Protocol

from app.domain.corpus import Parsed


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
