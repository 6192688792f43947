"""What is different between two versions of a document, for somebody who may read both."""

from dataclasses import dataclass

from app.domain.corpus import DocumentId
from app.domain.difference import Difference, Text, difference
from app.domain.errors import TooLarge
from app.operations.identify import Credentials
from app.operations.read import Place, Whole, texts
from app.ports import Ports

MAX_COMPARED_CHARS = 6_000_000
"""Of both texts together: two of them take some seconds at the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    old: Whole
    new: Whole
    difference: Difference


def compare(
    ports: Ports, credentials: Credentials, document: DocumentId, old: Place, new: Place, *, purpose: str | None
) -> Compared:
    """The difference, on record as a read of both. Raises `NotFound` unless both may be read, and `TooLarge`."""
    before, after = texts(ports, credentials, document, [old, new], purpose=purpose, what="diff")
    if len(before.text) + len(after.text) > MAX_COMPARED_CHARS:
        raise TooLarge(
            f"These two versions are too long to be compared here: together, they may have {MAX_COMPARED_CHARS:,} "
            "characters. Each can be read by itself, with its sections, at its /text."
        )
    found = difference(Text(text=before.text, elements=before.elements), Text(text=after.text, elements=after.elements))
    return Compared(old=before, new=after, difference=found)
