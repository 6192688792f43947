"""How a version came to be, for whoever may know of it, and whether what is stored still bears it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from app.domain.access import Action
from app.domain.corpus import DocumentId, Version, text_digest
from app.domain.errors import Damaged, NotFound
from app.domain.provenance import Activity, Submission, Transformation, chunk_set_digest, sequence_digest
from app.operations.identify import Credentials
from app.operations.read import ABSENT, Shown, _View
from app.ports import Ports
from app.store import corpus
from app.store import provenance as provenance_store
from app.store.database import reading


class Evidence(StrEnum):
    """What a version's provenance is held against."""

    ORIGINAL = "original"
    """The stored bytes have the digest that was submitted, and is cited."""
    TEXT = "text"
    """The stored text has the digest that parsing gave it."""
    CHUNKS = "chunks"
    """The stored chunks are those that were cut, and each says what its digest says."""
    VECTORS = "vectors"
    """The vectors that are kept are those that the named model made."""
    CHAIN = "chain"
    """Each step began with what the one before it gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything that led from the fetched bytes to a version. `previous` only if it may be known of too."""

    shown: Shown
    submission: Submission
    steps: Mapping[Activity, Transformation]
    """In order. None for what was put in before they were written down."""
    previous: Shown | None
    verified: Mapping[Evidence, bool] | None
    """None unless it was asked for."""


def provenance(
    ports: Ports, credentials: Credentials, document: DocumentId, number: int, *, purpose: str | None, verify: bool
) -> Provenance:
    """The provenance of a version that may be described to the principal. Raises `NotFound`.

    It is metadata: names, places and digests, never text. Whether it verifies is told to the same people.
    """
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.DESCRIBE, purpose)
        visible = {shown.version.number: shown for shown in view.visible(corpus.versions_of(session, document))}
        if number not in visible:
            raise NotFound(ABSENT)
        shown = visible[number]
        steps = provenance_store.transformations_of(session, shown.version.id)
        found = Provenance(
            shown=shown,
            submission=provenance_store.submission_of(session, shown.version.id),
            steps=steps,
            previous=visible.get(number - 1),
            verified=None,
        )
        if not verify:
            return found
        stored = _stored(session, shown.version, steps)
    original = {Evidence.ORIGINAL: _original_intact(ports, shown.version)}
    return Provenance(
        shown=found.shown,
        submission=found.submission,
        steps=found.steps,
        previous=found.previous,
        verified={**original, **stored},
    )


def _stored(session: Session, version: Version, steps: Mapping[Activity, Transformation]) -> dict[Evidence, bool]:
    """What SQL holds, against what was written down; a step that was not written down verifies nothing."""
    text = corpus.text_of(session, version.text_digest)
    chunks = provenance_store.chunk_set(session, version.id)
    cut, embedded = steps.get(Activity.CHUNK), steps.get(Activity.EMBED)
    vectors = provenance_store.embedded(session, version.id, embedded.software) if embedded else []
    return {
        Evidence.TEXT: text_digest(text) == version.text_digest,
        Evidence.CHUNKS: cut is not None
        and chunk_set_digest(chunks) == cut.output
        and all(text_digest(span.of(text)) == digest for span, digest in chunks),
        Evidence.VECTORS: embedded is not None and sequence_digest(vector for _, vector in vectors) == embedded.output,
        Evidence.CHAIN: _chained(version, steps),
    }


def _chained(version: Version, steps: Mapping[Activity, Transformation]) -> bool:
    if steps.keys() != set(Activity):
        return False
    gate, parse, chunk = (steps[activity] for activity in (Activity.GATE, Activity.PARSE, Activity.CHUNK))
    publish = steps[Activity.PUBLISH]
    links: Sequence[tuple[str, str]] = [
        (gate.input, version.digest),
        (parse.input, gate.output),
        (parse.output, version.text_digest),
        (chunk.input, parse.output),
        (steps[Activity.LABEL].input, parse.output),
        (publish.input, chunk.output),
        (publish.output, version.digest),
    ]
    return all(one == other for one, other in links)


def _original_intact(ports: Ports, version: Version) -> bool:
    """Whether the original is there and is itself. Raises `Unavailable` only if the store cannot be reached."""
    try:
        ports.blobs.get(version.digest)
    except (NotFound, Damaged):
        return False
    return True
