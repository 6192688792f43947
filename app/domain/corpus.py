"""Documents and what they are made of: versions, canonical text, elements, spans, chunks, periods."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from app.domain.access import Boundary, BoundaryId, Collection, PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Label

Digest = NewType("Digest", str)
"""`sha256:` and 64 hex digits."""

MAX_DOCUMENT_BYTES = 20_000_000
"""The largest original that is taken; the gate may set less for a format."""

DocumentId = NewType("DocumentId", str)
"""`doc_...`: opaque, shown outside."""

VersionId = NewType("VersionId", int)
ChunkId = NewType("ChunkId", int)
"""Rows: never shown outside. A lower chunk id was indexed earlier; ties are broken by it."""

Attributes = Mapping[str, tuple[str, ...]]
"""What an owner says of a document beyond the contract's fields; each name has one or more values."""


def digest_of(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


def text_digest(text: str) -> Digest:
    """Of the text's UTF-8 bytes."""
    return digest_of(text.encode())


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span:
    """Half-open [start, end) in code points of a version's canonical text."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"no span from {self.start} to {self.end}")

    def of(self, text: str) -> str:
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle on a page: points, origin top-left; pages count from 1."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class ElementKind(StrEnum):
    TITLE = "title"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list-item"
    TABLE = "table"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A parsed block of a version. Elements are in reading order and do not overlap."""

    kind: ElementKind
    span: Span
    page: int | None = None
    boxes: tuple[Box, ...] = ()
    section: tuple[str, ...] = ()
    """The headings above it, outermost first."""


class FindingCode(StrEnum):
    """What kind of thing an owner should know of a version."""

    PARTIAL = "partial"
    """Something that the original shows was not read."""
    NEEDS_OCR = "needs-ocr"
    """Pages or pictures hold text that only OCR could read."""
    REARRANGED = "rearranged"
    """Text stands in another place than the original shows it in."""
    OCR = "ocr"
    """Text was read off a picture; the sentence says how sure the reader was."""
    HIDDEN_TEXT = "hidden-text"
    """Text that no reader of the original sees was left out."""
    CONTROL_CHARACTERS = "control-characters"
    """Zero-width or bidirectional characters, which make text read otherwise than it looks, were taken out."""
    ATTACHMENT = "attachment"
    PERSONAL_DATA = "personal-data"
    SECRET = "secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an owner should know of a version: a code to count by, and a sentence. Never quotes the text."""

    code: FindingCode
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a parser made of the original: canonical text and the elements that its spans point into.

    Text between elements is separators only (line breaks). `parser` names program and version.
    """

    text: str
    elements: tuple[Element, ...]
    parser: str
    title: str | None = None
    findings: tuple[Finding, ...] = ()


def embedded_text(title: str, section: tuple[str, ...], text: str) -> str:
    """A chunk's text with its context in front, as it is embedded and lexically indexed. Not evidence: never shown.

    The context is the title and the innermost headings, cut short: a model reads only so much.
    """
    path = [title, *[heading for heading in section if heading != title][-_CONTEXT_HEADINGS:]]
    return f"{' > '.join(part[:_CONTEXT_CHARS] for part in path)}\n{text}"


_CONTEXT_HEADINGS = 3
_CONTEXT_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A span kept for retrieval, with where it stands. Chunks of a version are in order and leave no element out."""

    span: Span
    tokens: int
    page: int | None
    boxes: tuple[Box, ...]
    section: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a version came from, in the words of whoever fetched it."""

    connector: str = "upload"
    fetched_at: Instant | None = None
    etag: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an owner states with a document. `None` and empty mean: as the collection has it."""

    uri: str
    title: str | None = None
    label: Label | None = None
    readers: frozenset[PrincipalRef] = frozenset()
    denied: frozenset[PrincipalRef] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    consents: frozenset[str] = frozenset()
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    review_by: Instant | None = None
    source: Origin = field(default_factory=Origin)
    attributes: Attributes = field(default_factory=dict)


def stated_boundary(metadata: Metadata, collection: Collection) -> Boundary:
    """The boundary that an owner states, with the collection's default label where none is.

    A stated label is the owner's own word and is taken whole: its categories are not mixed with the default's, and it
    may be lower than the default. What is left empty stays empty, and so follows the collection (`Boundary.within`).
    """
    return Boundary(
        collection=collection.name,
        label=collection.default_label if metadata.label is None else metadata.label,
        readers=metadata.readers,
        denied=metadata.denied,
        jurisdictions=metadata.jurisdictions,
        purposes=metadata.purposes,
        consents=metadata.consents,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When a version was true (`valid`) and during what time we held that to be so (`recorded`); half-open both.

    `ordinal` counts the periods of one version from 0; a correction closes one in recorded time and adds the next.
    """

    ordinal: int
    valid_from: Instant
    valid_to: Instant = FOREVER
    review_by: Instant | None = None
    recorded_from: Instant
    recorded_to: Instant = FOREVER

    def holds(self, *, valid_at: Instant, known_at: Instant) -> bool:
        return self.valid_from <= valid_at < self.valid_to and self.recorded_from <= known_at < self.recorded_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source thing's identity: its URI in a collection."""

    id: DocumentId
    collection: str
    uri: str
    recorded_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A document's immutable content, with the boundary and period in force when it was loaded."""

    id: VersionId
    document: Document
    number: int
    title: str
    media_type: str
    size_bytes: int
    digest: Digest
    text_digest: Digest
    parser: str
    source: Origin
    attributes: Attributes
    findings: tuple[Finding, ...]
    recorded_at: Instant
    boundary_id: BoundaryId
    boundary: Boundary
    period: Period
    withdrawn: bool
    superseded: bool
    """A later version of the same document has been published."""


class Lifecycle(StrEnum):
    """Where a version stands at an instant."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    EMBARGOED = "embargoed"
    WITHDRAWN = "withdrawn"

    @property
    def open_to_readers(self) -> bool:
        """Expired, embargoed and withdrawn versions are read by owners only."""
        return self in (Lifecycle.CURRENT, Lifecycle.SUPERSEDED)


def lifecycle(version: Version, *, now: Instant) -> Lifecycle:
    """How a version stands now: withdrawal first, then embargo, then whether it is in force, then why it is not."""
    if version.withdrawn:
        return Lifecycle.WITHDRAWN
    if now < version.period.valid_from:
        return Lifecycle.EMBARGOED
    if now < version.period.valid_to:
        return Lifecycle.CURRENT
    return Lifecycle.SUPERSEDED if version.superseded else Lifecycle.EXPIRED


def curtailed(valid_from: Instant, valid_to: Instant, *, by: tuple[Instant, Instant]) -> tuple[Instant, Instant] | None:
    """What is left of a version's validity when a newer version of the document is valid during `by`.

    The newer one wins wherever both would be. One that starts later ends the older for good: what was superseded does
    not come back when its successor expires. One that starts earlier takes only the time it covers; nothing left is
    the empty period at its own start. `None`: the two do not meet, or the newer one is never valid; nothing changes.
    """
    new_from, new_to = by
    if new_from >= new_to or new_from >= valid_to or new_to <= valid_from:
        return None
    if new_from > valid_from:
        return valid_from, new_from
    return (new_to, valid_to) if new_to < valid_to else (valid_from, valid_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunk:
    """A chunk as SQL holds it, with all that confirming and citing it needs."""

    id: ChunkId
    version_id: VersionId
    document: DocumentId
    collection: str
    uri: str
    title: str
    number: int
    version_digest: Digest
    boundary_id: BoundaryId
    boundary: Boundary
    """Today's, whatever instant was asked for."""
    span: Span
    text: str
    """text[span] of the canonical text, as stored now."""
    digest: Digest
    """Of the chunk's text when it was published."""
    tokens: int
    page: int | None
    boxes: tuple[Box, ...]
    section: tuple[str, ...]
    valid_from: Instant
    valid_to: Instant
    begins: Instant
    """When it is valid from in what we hold today: ahead of now, it is under embargo, whatever was known before."""
    recorded_at: Instant
    latest: bool
    """No later version of the document has been published."""
