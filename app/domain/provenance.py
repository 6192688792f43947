"""How a version came to be: every transformation from the fetched bytes to what is searched, with its digests."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.access import PrincipalRef
from app.domain.corpus import Digest, Span
from app.domain.instants import Instant

Parameters = Mapping[str, str | int | Sequence[str]]


class Activity(StrEnum):
    """What was done, in the order in which it is."""

    GATE = "gate"
    """Original bytes -> the same, as the media type that they were found to be."""
    PARSE = "parse"
    """Original bytes -> canonical text."""
    CHUNK = "chunk"
    """Canonical text -> the chunk set."""
    EMBED = "embed"
    """The chunk set, each with its context -> vectors."""
    LABEL = "label"
    """What was stated and found -> the boundary that the version was published in."""
    PUBLISH = "publish"
    """All of it -> a numbered version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """One step: what went in, what came out, which software did it, how, and when."""

    activity: Activity
    input: Digest
    output: Digest
    software: str
    """Program and version; of `embed`, the model's fingerprint."""
    parameters: Parameters = field(default_factory=dict)
    started: Instant
    ended: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Who brought the original, through which assistant if through one, and when it was acknowledged."""

    by: PrincipalRef
    through: PrincipalRef | None
    at: Instant


def chunk_set_digest(chunks: Iterable[tuple[Span, Digest]]) -> Digest:
    """Of chunks in order: their spans in the canonical text, and the digests of what stands there."""
    listed = [[span.start, span.end, digest] for span, digest in chunks]
    return Digest(f"sha256:{hashlib.sha256(json.dumps(listed, separators=(',', ':')).encode()).hexdigest()}")


def sequence_digest(parts: Iterable[bytes]) -> Digest:
    """Of parts in order: the digest of their digests, so that where one ends is part of it."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return Digest(f"sha256:{whole.hexdigest()}")
