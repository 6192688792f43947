"""Documents put straight into the store: what an ingest leaves there, without parsing or an index."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from sqlalchemy import select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import Boundary, PrincipalRef
from app.domain.corpus import (
    Chunk,
    ChunkId,
    DocumentId,
    Element,
    ElementKind,
    Metadata,
    Parsed,
    Span,
    StoredChunk,
    VersionId,
    digest_of,
    embedded_text,
    text_digest,
)
from app.domain.evidence import Placement
from app.domain.instants import Instant
from app.domain.jobs import JobId
from app.domain.labels import Label, Level
from app.store import boundaries, corpus, jobs, publishing
from app.store.database import reading, recording, writing
from app.store.jobs import Submission
from app.store.metadata import metadata_digest
from app.store.tables import ChunkRow
from tests.conftest import Clock

BY = PrincipalRef("user:steward")
INTERNAL = Boundary(collection="policies", label=Label(level=Level.INTERNAL))
RESTRICTED = Boundary(collection="policies", label=Label(level=Level.RESTRICTED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version that is stored and not published."""

    submission: Submission
    version: VersionId


@dataclass
class Shelf:
    """A database and a clock, and what an ingest, an amendment and a withdrawal do to documents in it."""

    engine: Engine
    clock: Clock
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def submit(
        self, uri: str = "policy.md", *, content: bytes = b"", metadata: Metadata | None = None, size_bytes: int = 0
    ) -> Submission:
        """Acknowledged: a job is queued for the document, which is made if it is new."""
        said = metadata or Metadata(uri=uri)
        number = next(self._numbers)
        with recording(self.engine, self.clock.now()) as (session, at):
            found = publishing.document_row(session, collection="policies", uri=said.uri)
            if found is None:
                id = DocumentId(f"doc_{number}")
                publishing.add_document(session, id=id, collection="policies", uri=said.uri, at=at)
                found = publishing.document_row(session, collection="policies", uri=said.uri)
            assert found is not None
            submission = Submission(
                job=JobId(f"job_{number}"),
                document_row=found[0],
                document=found[1],
                collection="policies",
                filename="policy.md",
                media_type="text/markdown",
                blob=digest_of(content),
                metadata=said,
                metadata_digest=metadata_digest(said),
                submitted_by=BY,
                size_bytes=size_bytes,
            )
            jobs.add_job(session, submission, at=at)
        return submission

    def stage(
        self,
        text: str = "Share nothing.",
        *,
        uri: str = "policy.md",
        cuts: Sequence[tuple[int, int]] | None = None,
        metadata: Metadata | None = None,
    ) -> Staged:
        """Stored where nobody sees it; one chunk for each of `cuts`, or one of the whole text."""
        submission = self.submit(uri, content=text.encode(), metadata=metadata)
        with writing(self.engine) as session:
            stage(session, submission, text, cuts)
        with reading(self.engine) as session:
            made = publishing.version_of_job(session, submission.job)
        assert made is not None
        return Staged(submission=submission, version=made.id)

    def publish(self, staged: Staged, boundary: Boundary = INTERNAL) -> tuple[int, Instant]:
        """The number that the version was given, and when."""
        with recording(self.engine, self.clock.now(), "boundaries") as (session, at):
            id = boundaries.interned(session, boundary, at=at)
            number = publishing.publish(session, staged.version, staged.submission, id, at=at)
        return number, at

    def put(
        self,
        text: str = "Share nothing.",
        *,
        uri: str = "policy.md",
        valid_from: Instant | None = None,
        valid_to: Instant | None = None,
        boundary: Boundary = INTERNAL,
        cuts: Sequence[tuple[int, int]] | None = None,
    ) -> VersionId:
        """Submitted, staged and published."""
        said = Metadata(uri=uri, valid_from=valid_from, valid_to=valid_to)
        staged = self.stage(text, metadata=said, cuts=cuts)
        self.publish(staged, boundary)
        return staged.version

    def correct(
        self, version: VersionId, valid_from: Instant, valid_to: Instant, review_by: Instant | None = None
    ) -> Instant:
        """When it was recorded that the version was valid then."""
        with recording(self.engine, self.clock.now(), "boundaries") as (session, at):
            publishing.correct_period(session, version, (valid_from, valid_to), review_by, at=at, by=BY)
        return at

    def move(self, version: VersionId, boundary: Boundary) -> Instant:
        with recording(self.engine, self.clock.now(), "boundaries") as (session, at):
            publishing.move_boundary(session, version, boundaries.interned(session, boundary, at=at), at=at, by=BY)
        return at

    def withdraw(self, version: VersionId) -> Instant:
        with recording(self.engine, self.clock.now(), "boundaries") as (session, at):
            publishing.withdraw(session, version, reason="wrong", at=at, by=BY)
        return at

    def chunks(self, *versions: VersionId) -> list[ChunkId]:
        """The chunks of these versions, in order."""
        with reading(self.engine) as session:
            rows = session.scalars(
                select(col(ChunkRow.id)).where(col(ChunkRow.version_id).in_(versions)).order_by(col(ChunkRow.id))
            )
            return [ChunkId(id or 0) for id in rows]

    def stored(self, chunks: Sequence[ChunkId], *, valid_at: int, known_at: int) -> dict[ChunkId, StoredChunk]:
        with reading(self.engine) as session:
            return corpus.stored_chunks(session, chunks, valid_at=Instant(valid_at), known_at=Instant(known_at))

    def placements(self, *versions: VersionId) -> list[Placement]:
        with reading(self.engine) as session:
            return publishing.placements_of(session, versions)


def stage(session: Session, submission: Submission, text: str, cuts: Sequence[tuple[int, int]] | None = None) -> None:
    """As the ingest does within its transaction."""
    spans = [Span(start=start, end=end) for start, end in cuts or [(0, len(text))]]
    parsed = Parsed(
        text=text,
        elements=tuple(Element(kind=ElementKind.PARAGRAPH, span=span, page=1) for span in spans),
        parser="by hand",
    )
    staged = [
        publishing.StagedChunk(
            chunk=Chunk(span=span, tokens=len(span.of(text)), page=1, boxes=(), section=("Sharing",)),
            digest=text_digest(span.of(text)),
            embedded_digest=text_digest(embedded_text("Policy", ("Sharing",), span.of(text))),
        )
        for span in spans
    ]
    publishing.stage(
        session, submission, parsed, staged, title="Policy", media_type="text/markdown", size_bytes=len(text)
    )
