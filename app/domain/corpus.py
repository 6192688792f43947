"""Documents and what they are made of: versions, canonical text, elements, spans, chunks, periods."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from app.domain.access import Boundary, BoundaryId, Collection, PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.domain.labels import UNKNOWN, UNLABELLED, Cause, CauseKind, Label, LabelRule

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


def boxes_by_page(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """One box a page, around all that are on it, in the order of pages."""
    around: dict[int, Box] = {}
    for box in boxes:
        had = around.get(box.page, box)
        around[box.page] = Box(
            page=box.page,
            x0=min(had.x0, box.x0),
            y0=min(had.y0, box.y0),
            x1=max(had.x1, box.x1),
            y1=max(had.y1, box.y1),
        )
    return tuple(around[page] for page in sorted(around))


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
    """Something came with it and is a document of its own."""
    PERSONAL_DATA = "personal-data"
    SECRET = "secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an owner should know of a version: a code to count by, and a sentence. Never quotes the text."""

    code: FindingCode
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What came with a mail and is to become a document of its own. `name` is one part of a path, and printable."""

    name: str
    media_type: str | None
    """As the mail states it, where the name says nothing."""
    content: bytes


ATTACHMENTS_OF = "#attachments/"
"""In a uri, between that of a mail and what names one of its attachments."""

PART_OF = "part_of"
"""The attribute by which an attachment names the document that it came with."""


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
    attachments: tuple[Attachment, ...] = ()


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
    location: str | None = None
    """Where it was found there: a URL or a path."""
    item: str | None = None
    """The key that names it there for good."""
    rollback_of: int | None = None
    """The number of the version whose bytes these are, brought back by an owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an owner states with a document. `None` and empty mean: as the collection has it."""

    uri: str
    title: str | None = None
    label: Label | None = None
    label_reason: str | None = None
    """Why the label is what it is, whatever rules and detection would make of it."""
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
    supersedes: frozenset[DocumentId] = frozenset()
    """Other documents, whose time ends where this one's begins."""


def stated_boundary(metadata: Metadata, collection: Collection) -> Boundary:
    """The boundary that an owner states, with the collection's default label where none is, and else the strictest.

    A stated label is the owner's own word and is taken whole: its categories are not mixed with the default's, and it
    may be lower than the default. What is left empty stays empty, and so follows the collection (`Boundary.within`).
    """
    label = metadata.label or collection.default_label or UNKNOWN
    return Boundary(
        collection=collection.name,
        label=label,
        readers=metadata.readers,
        denied=metadata.denied,
        jurisdictions=metadata.jurisdictions,
        purposes=metadata.purposes,
        consents=metadata.consents,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The boundary that a version is published in, and where its label comes from."""

    boundary: Boundary
    causes: tuple[Cause, ...]
    reason: str | None


def labelled(
    metadata: Metadata,
    collection: Collection,
    *,
    rules: Iterable[LabelRule] = (),
    detected: Iterable[str] = (),
    before: Label | None = None,
    restated: bool = False,
) -> Labelled:
    """What is stated, raised by every rule of the collection that covers the uri and by what was found in the text.

    Raising is automatic. Only an owner who states a label and a reason for it is taken at its word. Where no label is
    stated, a version is no less strict than the one `before` it; neither is one that is `restated`: the same content
    under another label. Where nobody says a level at all, it is the strictest.
    """
    stated = stated_boundary(metadata, collection)
    if metadata.label is not None and metadata.label_reason is not None:
        return Labelled(boundary=stated, causes=(Cause(kind=CauseKind.STATED),), reason=metadata.label_reason)
    matching = [rule for rule in rules if rule.covers(metadata.uri)]
    raising = [(Cause(kind=CauseKind.RULE, detail=rule.path), rule.floor) for rule in matching]
    earlier = [(Cause(kind=CauseKind.EARLIER), before)] if before is not None else []
    if metadata.label is not None:
        parts = [(Cause(kind=CauseKind.STATED), metadata.label), *(earlier if restated else [])]
    else:
        if collection.default_label is not None:
            parts = [(Cause(kind=CauseKind.COLLECTION), collection.default_label), *earlier]
        elif before is None and all(rule.level is None for rule in matching):
            parts = [(Cause(kind=CauseKind.UNKNOWN), UNKNOWN)]
        else:
            parts = earlier
    raising += [
        (Cause(kind=CauseKind.DETECTED, detail=each), Label(categories=frozenset({each}))) for each in sorted(detected)
    ]
    label = UNLABELLED
    causes: list[Cause] = []
    for cause, part in [*parts, *raising]:
        if not causes or not label.covers(part):
            label = label.join(part)
            causes.append(cause)
    return Labelled(boundary=replace(stated, label=label), causes=tuple(causes), reason=None)


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
class RecordedPeriod:
    """A period with who held it to be so, and why if it was a correction with a reason."""

    period: Period
    by: PrincipalRef
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """An owner looked at a version, and said when it is to be looked at again, if ever."""

    version: int
    at: Instant
    by: PrincipalRef
    note: str
    next: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source thing's identity: its URI in a collection."""

    id: DocumentId
    collection: str
    uri: str
    recorded_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A document's immutable content, with today's boundary and the period that was known at the instant asked for."""

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
    begins: Instant
    """When it is valid from in what we hold today: ahead of now, it is under embargo, whatever was known before."""
    withdrawn: bool
    superseded: bool
    """Another version has begun in its place, or another document has, by the instant that it was loaded for."""
    latest: bool
    """No version that was published later or begins later has set its end, nor has another document."""


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
    """How a version stands at an instant: withdrawal first, then embargo, then whether it is in force, or why not."""
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
    review_by: Instant | None
    recorded_at: Instant
    latest: bool
    """As of a `Version`: its end is its own."""
