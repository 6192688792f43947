"""What each step of an ingest leaves in a version's provenance. Pure."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

from app.domain.access import Boundary
from app.domain.corpus import Digest, Parsed, text_digest
from app.domain.evidence import Vector
from app.domain.instants import Instant
from app.domain.provenance import Activity, Transformation, chunk_set_digest, sequence_digest
from app.store.publishing import StagedChunk
from ingest.chunking import MAX_TOKENS, TARGET_TOKENS

SOFTWARE: Final = f"muniment {version('muniment')}"


def gated(
    original: Digest, *, declared: str | None, media_type: str, started: Instant, ended: Instant
) -> Transformation:
    """The verdict is that it was let in; what was refused has no version."""
    return Transformation(
        activity=Activity.GATE,
        input=original,
        output=original,
        software=SOFTWARE,
        parameters={"media_type": media_type} | ({"declared": declared} if declared else {}),
        started=started,
        ended=ended,
    )


def parsed_from(original: Digest, parsed: Parsed, *, started: Instant, ended: Instant) -> Transformation:
    return Transformation(
        activity=Activity.PARSE,
        input=original,
        output=text_digest(parsed.text),
        software=parsed.parser,
        parameters={
            "elements": len(parsed.elements),
            "findings": sorted({finding.code.value for finding in parsed.findings}),
        },
        started=started,
        ended=ended,
    )


def chunked(text: Digest, chunks: Sequence[StagedChunk], *, started: Instant, ended: Instant) -> Transformation:
    return Transformation(
        activity=Activity.CHUNK,
        input=text,
        output=chunk_set_digest((each.chunk.span, each.digest) for each in chunks),
        software=SOFTWARE,
        parameters={"chunks": len(chunks), "target_tokens": TARGET_TOKENS, "max_tokens": MAX_TOKENS},
        started=started,
        ended=ended,
    )


def embedded_by(
    fingerprint: str, vectors: Sequence[tuple[Digest, Vector]], *, started: Instant, ended: Instant
) -> Transformation:
    """Texts with their context in, vectors out; those from the cache were made by the same model before."""
    return Transformation(
        activity=Activity.EMBED,
        input=sequence_digest(digest.encode() for digest, _ in vectors),
        output=sequence_digest(vector for _, vector in vectors),
        software=fingerprint,
        parameters={"vectors": len(vectors)},
        started=started,
        ended=ended,
    )


def published(
    steps: Mapping[Activity, Transformation], boundary: Boundary, original: Digest, *, at: Instant
) -> list[Transformation]:
    """The label that it went out under, and that it did: both in one recording."""
    label = Transformation(
        activity=Activity.LABEL,
        input=steps[Activity.PARSE].output,
        output=Digest(f"sha256:{boundary.digest()}"),
        software=SOFTWARE,
        parameters={"level": boundary.label.level.word, "categories": sorted(boundary.label.categories)},
        started=at,
        ended=at,
    )
    publish = Transformation(
        activity=Activity.PUBLISH,
        input=steps[Activity.CHUNK].output,
        output=original,
        software=SOFTWARE,
        started=at,
        ended=at,
    )
    return [label, publish]
