"""A data folder with a large corpus in it, laid down in bulk: the rows and points that an ingest would have left.

Only the way in is short: parsing and embedding 100,000 chunks would take an hour. Vectors are embeddings of our own
sentences, each turned a little at random, so that they lie as real ones do and no two are alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.domain.access import Boundary, BoundaryId, Collection, PrincipalRef, Profile
from app.domain.corpus import ChunkId, Metadata, digest_of, embedded_text, text_digest
from app.domain.evidence import IndexEntry, Placement, Vector, point_of
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Label, Level
from app.ports import Ports
from app.store import boundaries, directory, duplicates, registry
from app.store.database import reading, recording, writing
from app.store.jobs import INGEST
from app.store.metadata import metadata_digest, metadata_to_json, source_to_json
from app.store.tables import (
    ChunkRow,
    DocumentRow,
    ElementRow,
    EmbeddingRow,
    JobRow,
    PeriodRow,
    TextRow,
    VersionBoundaryRow,
    VersionRow,
)
from bench.wording import Writer
from ingest.signing import signed

COLLECTIONS: Final = 20
TEAMS: Final = 10
"""Each team reads one boundary of each collection: a tenth of everything."""
CHUNKS_PER_DOCUMENT: Final = 5

READER: Final = PrincipalRef("user:reader")
CURATOR: Final = PrincipalRef("user:curator")
INTO: Final = "collection-00"

_READERS_TEAM: Final = 3

_BY: Final = PrincipalRef("user:administrator")
_TURN: Final = 0.6
"""Length of what is added to a sentence's unit vector: a cosine of about 0.86 is left."""
_DOCUMENTS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A document of one version, by the number that all of its rows are named after."""

    number: int
    title: str
    texts: tuple[str, ...]
    vectors: tuple[Vector, ...]


def lay_down(ports: Ports, sentences: Sequence[str], *, chunks: int) -> None:
    """People, collections, boundaries and `chunks` chunks, in SQL and in the index. Nothing if they are there."""
    with reading(ports.engine) as session:
        if session.execute(select(func.count()).select_from(ChunkRow)).scalar_one() >= chunks:
            return
    open_to = _institution(ports)
    documents = _documents(ports, sentences, chunks // CHUNKS_PER_DOCUMENT)
    while some := list(islice(documents, _DOCUMENTS_AT_ONCE)):
        at = ports.now()
        with writing(ports.engine) as session:
            _store(session, some, open_to, ports.embedder.fingerprint, at=at)
        ports.index.upsert([entry for each in some for entry in _entries(ports, each, open_to, at=at)])


def as_files(ports: Ports, sentences: Sequence[str], folder: Path, *, chunks: int) -> list[int]:
    """The vectors that `lay_down` put in the index, and the number of each one's boundary, for others to read:
    `vectors.npy` and `boundaries.npy`. Returns the numbers of the boundaries that the reader reads."""
    vectors: list[Vector] = []
    numbers: list[int] = []
    for document in _documents(ports, sentences, chunks // CHUNKS_PER_DOCUMENT):
        vectors.extend(document.vectors)
        numbers.extend([document.number % (COLLECTIONS * TEAMS)] * len(document.vectors))
    np.save(folder / "vectors.npy", np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1))
    np.save(folder / "boundaries.npy", np.array(numbers, np.int32))
    return list(range(COLLECTIONS * _READERS_TEAM, COLLECTIONS * (_READERS_TEAM + 1)))


def _institution(ports: Ports) -> list[BoundaryId]:
    """Who there is and what may be read by whom: the boundaries, in the order in which documents are put in them."""
    with recording(ports.engine, ports.now(), "directory", "policies", "boundaries") as (session, at):
        for team in range(TEAMS):
            group = Profile(ref=PrincipalRef(f"group:team-{team}"), display_name=f"Team {team}")
            directory.record_principal(session, group, at=at, by=_BY)
        owners = Profile(ref=PrincipalRef("group:owners"), display_name="Owners")
        directory.record_principal(session, owners, at=at, by=_BY)
        for ref, group_ref in ((READER, f"group:team-{_READERS_TEAM}"), (CURATOR, "group:owners")):
            person = Profile(
                ref=ref,
                display_name=ref,
                groups=frozenset({PrincipalRef(group_ref)}),
                clearance=Level.CONFIDENTIAL,
                categories=frozenset({"pii"}),
                jurisdictions=frozenset({"EU"}),
            )
            directory.record_principal(session, person, at=at, by=_BY)
        return [
            _boundary(session, number % COLLECTIONS, number // COLLECTIONS, at=at)
            for number in range(COLLECTIONS * TEAMS)
        ]


def _boundary(session: Session, collection: int, team: int, *, at: Instant) -> BoundaryId:
    name = f"collection-{collection:02}"
    if team == 0:
        home = Collection(
            name=name,
            title=f"Collection {collection}",
            owners=frozenset({PrincipalRef("group:owners")}),
            default_label=Label(level=Level.INTERNAL),
            discoverable=collection % 4 == 0,
        )
        registry.record_collection(session, home, at=at, by=_BY)
    level = (Level.PUBLIC, Level.INTERNAL, Level.CONFIDENTIAL)[collection % 3]
    boundary = Boundary(
        collection=name,
        label=Label(level=level, categories=frozenset({"pii"} if collection % 5 == 0 else ())),
        readers=frozenset({PrincipalRef(f"group:team-{team}")}),
        jurisdictions=frozenset({"EU", "UK"} if collection % 2 else ()),
    )
    return boundaries.interned(session, boundary, at=at)


def _documents(ports: Ports, sentences: Sequence[str], count: int) -> Iterator[_Document]:
    writer = Writer(sentences, seed=1)
    chance = np.random.default_rng(1)
    known = np.frombuffer(b"".join(ports.embedder.embed_passages(sentences)), dtype="<f4")
    known = known.reshape(len(sentences), ports.embedder.dimension)
    for number in range(1, count + 1):
        passages = [writer.passage() for _ in range(CHUNKS_PER_DOCUMENT)]
        yield _Document(
            number=number,
            title=writer.title(),
            texts=tuple(text for _, text in passages),
            vectors=tuple(_turned(known[about], chance) for about, _ in passages),
        )


def _turned(vector: NDArray[np.float32], chance: np.random.Generator) -> Vector:
    noise = chance.standard_normal(vector.shape)
    turned = vector + noise * (_TURN / np.linalg.norm(noise))
    return Vector((turned / np.linalg.norm(turned)).astype("<f4").tobytes())


def _entries(ports: Ports, document: _Document, open_to: Sequence[BoundaryId], *, at: Instant) -> Iterator[IndexEntry]:
    for ordinal, (text, vector) in enumerate(zip(document.texts, document.vectors, strict=True)):
        placement = Placement(
            point=point_of(ChunkId(_chunk(document, ordinal)), 0),
            boundary=open_to[document.number % len(open_to)],
            valid_from=at,
            valid_to=FOREVER,
            recorded_from=at,
            recorded_to=FOREVER,
        )
        lexical = ports.analyzer.passage(embedded_text(document.title, (document.title,), text))
        yield IndexEntry(placement=placement, dense=vector, lexical=lexical)


def _chunk(document: _Document, ordinal: int) -> int:
    return (document.number - 1) * CHUNKS_PER_DOCUMENT + ordinal + 1


def _store(
    session: Session, documents: Sequence[_Document], open_to: Sequence[BoundaryId], fingerprint: str, *, at: Instant
) -> None:
    """All rows of these documents, published at `at`: a row each but for elements, chunks and embeddings."""
    rows: dict[type[Any], list[dict[str, Any]]] = {
        table: []
        for table in (
            DocumentRow,
            TextRow,
            VersionRow,
            VersionBoundaryRow,
            PeriodRow,
            JobRow,
            ElementRow,
            ChunkRow,
            EmbeddingRow,
        )
    }
    for document in documents:
        for table, values in _rows(document, open_to[document.number % len(open_to)], fingerprint, at=at):
            rows[table].append(values)
    for table, listed in rows.items():
        session.execute(insert(table), listed)
    for text in {row["digest"]: row["text"] for row in rows[TextRow]}.values():
        duplicates.add_signature(session, text_digest(text), signed(text))


def _rows(
    document: _Document, boundary: BoundaryId, fingerprint: str, *, at: Instant
) -> Iterator[tuple[type[Any], dict[str, Any]]]:
    id, collection = document.number, f"collection-{document.number % (COLLECTIONS * TEAMS) % COLLECTIONS:02}"
    text = "\n\n".join(document.texts)
    metadata = Metadata(uri=f"papers/{id:06}.md", title=document.title)
    recorded = {"recorded_from": at, "recorded_to": FOREVER, "recorded_by": CURATOR}
    named = {"id": id, "public_id": f"doc_bench{id:06}", "collection": collection, "uri": metadata.uri}
    yield DocumentRow, {**named, "created_at": at}
    yield TextRow, {"digest": text_digest(text), "text": text}
    yield (
        VersionRow,
        {
            "id": id,
            "document_id": id,
            "job_id": f"job_bench{id:06}",
            "number": 1,
            "published_at": at,
            "title": document.title,
            "media_type": "text/markdown",
            "size_bytes": len(text.encode()),
            "digest": digest_of(text.encode()),
            "metadata_digest": metadata_digest(metadata),
            "text_digest": text_digest(text),
            "parser": "in bulk",
            "source": source_to_json(metadata.source),
            "attributes": {},
            "findings": [],
        },
    )
    yield VersionBoundaryRow, {"version_id": id, "boundary_id": boundary, **recorded}
    period = {"ordinal": 0, "valid_from": at, "valid_to": FOREVER, "review_by": None}
    yield PeriodRow, {"version_id": id, **period, **recorded}
    yield (
        JobRow,
        {
            "id": f"job_bench{id:06}",
            "kind": INGEST,
            "state": "succeeded",
            "stage": "publish",
            "document_id": id,
            "filename": f"{id:06}.md",
            "media_type": "text/markdown",
            "blob": digest_of(text.encode()),
            "metadata_json": metadata_to_json(metadata),
            "metadata_digest": metadata_digest(metadata),
            "submitted_by": CURATOR,
            "submitted_at": at,
            "batch": "in bulk",
            "problem": None,
            "result": None,
            "ended_at": at,
            "collection": collection,
        },
    )
    start = 0
    for ordinal, (said, vector) in enumerate(zip(document.texts, document.vectors, strict=True)):
        where = {"version_id": id, "ordinal": ordinal, "start": start, "end": start + len(said), "page": None}
        embedded = text_digest(embedded_text(document.title, (document.title,), said))
        placed = {**where, "boxes": [], "section": [document.title]}
        yield ElementRow, {**placed, "kind": "paragraph"}
        yield (
            ChunkRow,
            {
                **placed,
                "id": _chunk(document, ordinal),
                "tokens": len(said) // 5,
                "digest": text_digest(said),
                "embedded_digest": embedded,
            },
        )
        yield EmbeddingRow, {"digest": embedded, "fingerprint": fingerprint, "vector": vector}
        start += len(said) + 2
