"""How each version came to be, as it was written down with every step."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.corpus import Digest, Span, VersionId
from app.domain.evidence import Vector
from app.domain.instants import Instant
from app.domain.provenance import Activity, Submission, Transformation
from app.store.tables import ChunkRow, EmbeddingRow, JobRow, TransformationRow, VersionRow

_ORDINALS = {activity: ordinal for ordinal, activity in enumerate(Activity)}


def record_transformations(session: Session, version: VersionId, some: Sequence[Transformation]) -> None:
    """Write down steps; a step that was run again takes the place of its earlier run."""
    ordinals = [_ORDINALS[each.activity] for each in some]
    session.execute(
        delete(TransformationRow).where(
            col(TransformationRow.version_id) == version, col(TransformationRow.ordinal).in_(ordinals)
        )
    )
    session.add_all(
        [
            TransformationRow(
                version_id=version,
                ordinal=_ORDINALS[each.activity],
                activity=each.activity,
                input_digest=each.input,
                output_digest=each.output,
                software=each.software,
                parameters=dict(each.parameters),
                started_at=each.started,
                ended_at=each.ended,
            )
            for each in some
        ]
    )
    session.flush()


def transformations_of(session: Session, version: VersionId) -> dict[Activity, Transformation]:
    """The steps that made a version, in order. A version from before they were written down has none."""
    rows = session.scalars(
        select(TransformationRow)
        .where(col(TransformationRow.version_id) == version)
        .order_by(col(TransformationRow.ordinal))
    )
    return {
        Activity(row.activity): Transformation(
            activity=Activity(row.activity),
            input=Digest(row.input_digest),
            output=Digest(row.output_digest),
            software=row.software,
            parameters=row.parameters,
            started=Instant(row.started_at),
            ended=Instant(row.ended_at),
        )
        for row in rows
    }


def submission_of(session: Session, version: VersionId) -> Submission:
    row = session.execute(
        select(col(JobRow.submitted_by), col(JobRow.submitted_through), col(JobRow.submitted_at))
        .join(VersionRow, col(VersionRow.job_id) == col(JobRow.id))
        .where(col(VersionRow.id) == version)
    ).one()
    return Submission(
        by=PrincipalRef(row.submitted_by),
        through=PrincipalRef(row.submitted_through) if row.submitted_through else None,
        at=Instant(row.submitted_at),
    )


def chunk_set(session: Session, version: VersionId) -> list[tuple[Span, Digest]]:
    """The chunks of a version in order: where each stands, and the digest of its text."""
    rows = session.execute(
        select(col(ChunkRow.start), col(ChunkRow.end), col(ChunkRow.digest))
        .where(col(ChunkRow.version_id) == version)
        .order_by(col(ChunkRow.ordinal))
    )
    return [(Span(start=start, end=end), Digest(digest)) for start, end, digest in rows]


def embedded(session: Session, version: VersionId, fingerprint: str) -> list[tuple[Digest, Vector]]:
    """The texts of a version's chunks as this model embedded them, in order, each with its vector."""
    rows = session.execute(
        select(col(ChunkRow.embedded_digest), col(EmbeddingRow.vector))
        .join(EmbeddingRow, col(EmbeddingRow.digest) == col(ChunkRow.embedded_digest))
        .where(col(ChunkRow.version_id) == version, col(EmbeddingRow.fingerprint) == fingerprint)
        .order_by(col(ChunkRow.ordinal))
    )
    return [(Digest(digest), Vector(vector)) for digest, vector in rows]
