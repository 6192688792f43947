"""Signatures of canonical texts, and which versions in force may be alike: found by bands, never pair by pair.

A signature belongs to a text, not to a version, so it is never out of date: what is in force, where, and for whom, is
read from the versions that have the text when somebody asks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, delete, select
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import BoundaryId
from app.domain.corpus import Digest, DocumentId, VersionId
from app.domain.instants import Instant
from app.domain.similarity import Signature, bands
from app.store.corpus import in_force
from app.store.database import in_pieces, insert_absent
from app.store.recorded import holds
from app.store.tables import (
    BandRow,
    DocumentRow,
    PeriodRow,
    SignatureRow,
    TextRow,
    VersionBoundaryRow,
    VersionRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVersion:
    """A version in force, with the signature of its text."""

    version: VersionId
    document: DocumentId
    collection: str
    uri: str
    text: Digest
    signature: Signature
    signature_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Of which versions a question about duplicates is asked: those in force now, in these boundaries."""

    boundaries: frozenset[BoundaryId]
    now: Instant


def add_signature(session: Session, text: Digest, signature: Signature) -> None:
    """Keep the signature of a text, and where it meets others; one of another algorithm is replaced."""
    outdated = and_(col(SignatureRow.text_digest) == text, col(SignatureRow.algorithm) != signature.algorithm)
    session.execute(delete(SignatureRow).where(outdated))
    row = {
        "text_digest": text,
        "algorithm": signature.algorithm,
        "slots": signature.slots,
        "normal_digest": signature.normal,
    }
    insert_absent(session, SignatureRow, [row])
    id = session.execute(select(col(SignatureRow.id)).where(col(SignatureRow.text_digest) == text)).scalar_one()
    insert_absent(session, BandRow, [{"band": band, "signature_id": id} for band in sorted(set(bands(signature)))])


def unsigned_texts(session: Session, algorithm: str, *, after: Digest, limit: int) -> dict[Digest, str]:
    """Texts without a signature of this algorithm, such as those put in before it was used, by digest, after this one
    (or an empty one)."""
    signed = (
        select(col(SignatureRow.id))
        .where(col(SignatureRow.text_digest) == col(TextRow.digest), col(SignatureRow.algorithm) == algorithm)
        .exists()
    )
    query = select(col(TextRow.digest), col(TextRow.text)).where(col(TextRow.digest) > after, ~signed)
    rows = session.execute(query.order_by(col(TextRow.digest)).limit(limit))
    return {Digest(digest): text for digest, text in rows}


def still_there(session: Session, texts: Iterable[Digest]) -> frozenset[Digest]:
    """Those of the texts that were not erased; none of them is before the transaction ends."""
    there = select(col(TextRow.digest)).order_by(col(TextRow.digest)).with_for_update(read=True, key_share=True)
    return frozenset(
        Digest(digest)
        for some in in_pieces(sorted(texts))
        for digest in session.scalars(there.where(col(TextRow.digest).in_(some)))
    )


def signed_in_collection(
    session: Session, within: Within, collection: str, *, after: str | None, limit: int
) -> list[SignedVersion]:
    """The versions of a collection, by uri; `after` is the uri where the last page ended."""
    query = _signed(within).where(col(DocumentRow.collection) == collection)
    if after is not None:
        query = query.where(col(DocumentRow.uri) > after)
    return _loaded(session, query.order_by(col(DocumentRow.uri)).limit(limit))


def signed_document(session: Session, within: Within, document: DocumentId) -> SignedVersion | None:
    """The version of a document that is in force, if it is signed."""
    found = _loaded(session, _signed(within).where(col(DocumentRow.public_id) == document))
    return found[0] if found else None


def met(
    session: Session, within: Within, some: Sequence[SignedVersion], *, outside: str | None
) -> dict[VersionId, list[SignedVersion]]:
    """For each of these versions, those of other documents that it shares a band with; without those of `outside`.

    INVARIANT: `within` is part of the query, so nothing that the principal may not read takes a place in the result.
    """
    own, other = aliased(BandRow), aliased(BandRow)
    pairs = session.execute(
        select(col(own.signature_id), col(other.signature_id))
        .distinct()
        .join(other, col(other.band) == col(own.band))
        .where(col(own.signature_id).in_({each.signature_id for each in some}))
    )
    meeting: dict[int, list[int]] = {}
    for one, another in pairs:
        meeting.setdefault(one, []).append(another)
    elsewhere = None if outside is None else col(DocumentRow.collection) != outside
    by_signature: dict[int, list[SignedVersion]] = {}
    for found in _of_signatures(session, within, {id for ids in meeting.values() for id in ids}, elsewhere):
        by_signature.setdefault(found.signature_id, []).append(found)
    return {
        each.version: [
            other
            for id in meeting.get(each.signature_id, ())
            for other in by_signature.get(id, ())
            if other.document != each.document
        ]
        for each in some
    }


_AT_ONCE = 10_000
"""Values in one condition: SQLite takes three times as many."""


def _of_signatures(
    session: Session, within: Within, ids: Iterable[int], condition: ColumnElement[bool] | None
) -> Iterable[SignedVersion]:
    wanted = sorted(ids)
    for start in range(0, len(wanted), _AT_ONCE):
        query = _signed(within).where(col(SignatureRow.id).in_(wanted[start : start + _AT_ONCE]))
        yield from _loaded(session, query if condition is None else query.where(condition))


_Signed = Select[int | None, str, str, str, str, int | None, str, bytes, str]


def _signed(within: Within) -> _Signed:
    # The sum keeps the index on boundaries out of the plan: through it, each query would visit all that may be read.
    readable = (col(VersionBoundaryRow.boundary_id) + 0).in_(within.boundaries)
    return (
        select(
            col(VersionRow.id),
            col(DocumentRow.public_id),
            col(DocumentRow.collection),
            col(DocumentRow.uri),
            col(VersionRow.text_digest),
            col(SignatureRow.id).label("signature_id"),
            col(SignatureRow.algorithm),
            col(SignatureRow.slots),
            col(SignatureRow.normal_digest),
        )
        .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
        .join(SignatureRow, col(SignatureRow.text_digest) == col(VersionRow.text_digest))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .where(in_force(within.now), readable)
    )


def _loaded(session: Session, query: _Signed) -> list[SignedVersion]:
    return [
        SignedVersion(
            version=VersionId(row.id),
            document=DocumentId(row.public_id),
            collection=row.collection,
            uri=row.uri,
            text=Digest(row.text_digest),
            signature=Signature(algorithm=row.algorithm, slots=row.slots, normal=Digest(row.normal_digest)),
            signature_id=row.signature_id,
        )
        for row in session.execute(query)
    ]
