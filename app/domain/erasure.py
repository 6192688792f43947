"""Legal holds, erasures and their certificates: what must be kept, what must go, and how it is shown to be gone."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NewType

from app.domain.access import PrincipalRef
from app.domain.corpus import Digest, DocumentId
from app.domain.instants import Instant, iso

HoldId = NewType("HoldId", str)
"""`hold_...`: opaque, shown outside."""

ErasureId = NewType("ErasureId", str)
"""`era_...`: opaque, shown outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An order to keep: while it is in force, nothing that it covers is erased, by anybody.

    One on a collection covers what is put in later, too.
    """

    id: HoldId
    title: str
    reason: str
    matter: str | None
    documents: frozenset[DocumentId]
    collections: frozenset[str]
    placed_at: Instant
    placed_by: PrincipalRef
    released_at: Instant | None = None
    released_by: PrincipalRef | None = None
    release_reason: str | None = None

    def covers(self, document: DocumentId, collection: str) -> bool:
        return self.released_at is None and (document in self.documents or collection in self.collections)


class ErasureState(StrEnum):
    """How far an erasure is. Each step may be run again; none is gone back on. Nobody reads the versions in any."""

    REQUESTED = "requested"
    """Decided and durable. What is to go is still there, where nobody reaches it."""
    REMOVED = "removed"
    """Gone from the index and from SQL; originals and what the database file still holds are next."""
    CERTIFIED = "certified"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedVersion:
    """What is left of a version: what it was, by digest. `number` is None of one that was never published."""

    number: int | None
    digest: Digest
    text_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What was asked of the index and of SQL with the document's own sentences, and what came back.

    `found_before` shows that the questions were ones that found it: 0 only if it was not in the index any more.
    """

    sentences: int = 0
    queries: int = 0
    found_before: int = 0
    found: int = 0
    points_left: int = 0
    rows_left: int = 0
    originals_left: int = 0

    @property
    def clean(self) -> bool:
        return self.found + self.points_left + self.rows_left + self.originals_left == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure, as far as it is. It names nothing of what was erased but ids and digests."""

    id: ErasureId
    document: DocumentId
    collection: str
    whole: bool
    """The document with all of its versions; else some versions, and the document lives on."""
    versions: tuple[ErasedVersion, ...]
    reason: str
    rule: str | None
    """The retention rule that asked for it, in words."""
    requested_at: Instant
    requested_by: PrincipalRef
    state: ErasureState
    removed: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    """By kind, what stays because a document that is not erased has the very same."""
    probes: Probes = Probes()
    certificate: Mapping[str, Any] | None = None
    certificate_digest: Digest | None = None


NOT_COVERED: Final = (
    "Other documents that contain it, such as the mail that it came with: each is erased by itself.",
    "Backups and copies of the data folder, the database or the originals that were made before.",
    "Answers, texts and originals that left before, wherever they were taken to.",
    "Questions that people asked: the traces keep those as what was asked, and no text of the document.",
    "Blocks that the file system has freed and not yet written over, and the memory of running processes.",
)
"""What an erasure here cannot reach; each certificate says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What each store does with what was removed from it, in a sentence."""

    database: str
    index: str
    originals: str


def certificate_of(erasure: Erasure, guarantees: Guarantees, *, at: Instant) -> dict[str, Any]:
    """The certificate of an erasure that is done, as JSON values. Its place for a signature is apart from it."""
    return {
        "erasure": erasure.id,
        "document": erasure.document,
        "collection": erasure.collection,
        "whole_document": erasure.whole,
        "versions": [
            {"version": each.number, "digest": each.digest, "text_digest": each.text_digest}
            for each in erasure.versions
        ],
        "reason": erasure.reason,
        "rule": erasure.rule,
        "requested_by": erasure.requested_by,
        "requested_at": iso(erasure.requested_at),
        "holds_checked": {"at": iso(erasure.requested_at), "in_force_on_it": 0},
        "removed": dict(erasure.removed),
        "kept_because_shared": dict(erasure.kept),
        "probes": {
            "sentences": erasure.probes.sentences,
            "queries": erasure.probes.queries,
            "found_before": erasure.probes.found_before,
            "found": erasure.probes.found,
            "index_points_left": erasure.probes.points_left,
            "rows_left": erasure.probes.rows_left,
            "originals_left": erasure.probes.originals_left,
        },
        "guarantees": {
            "database": guarantees.database,
            "index": guarantees.index,
            "originals": guarantees.originals,
        },
        "not_covered": list(NOT_COVERED),
        "certified_at": iso(at),
    }


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 for what a certificate holds: names in ASCII, strings, whole numbers below 2**53, lists, objects."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def canonical_digest(value: Mapping[str, Any]) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(canonical_json(value)).hexdigest()}")
