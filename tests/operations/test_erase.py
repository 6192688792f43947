"""Erasing on both databases: killed at any step it is finished by the next, and nothing of the text stays in a row."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel

from app.adapters.cedar_policy import CedarPolicyEngine
from app.adapters.fsspec_blobs import FsspecBlobs
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.bootstrap import new_id
from app.domain.access import PrincipalRef
from app.domain.corpus import (
    Attributes,
    Digest,
    DocumentId,
    Finding,
    FindingCode,
    Metadata,
    Origin,
    VersionId,
    digest_of,
)
from app.domain.erasure import Erasure, ErasureId, ErasureState, Hold, HoldId, canonical_digest
from app.domain.errors import Conflict, NotFound
from app.domain.evidence import PointId, Purged, Vector
from app.domain.instants import Instant
from app.domain.jobs import JobResult, Problem
from app.domain.memo import Memo
from app.operations.erase import CLAIM_MS, carry_on
from app.operations.synchronize import index_versions, synchronize
from app.ports import Ports
from app.store import erasing, holds, jobs, publishing
from app.store.database import reading, recording, writing
from tests.conftest import Clock
from tests.fakes import ReferenceIndex
from tests.operations.test_synchronize import WordTokenizer
from tests.store.building import RESTRICTED, Shelf

BY = PrincipalRef("user:steward")


class Killed(BaseException):
    """As by kill -9: nobody catches it."""


class SignEmbedder:
    """Unit vectors that differ with the text."""

    fingerprint = "signs"
    dimension = 64

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return [self._vector(text) for text in texts]

    embed_queries = embed_passages

    @staticmethod
    def _vector(text: str) -> Vector:
        bits = np.unpackbits(np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], dtype="u1"))
        return Vector(np.where(bits, 0.125, -0.125).astype("<f4").tobytes())


class Fuse:
    """Ends everything before the step of that number, counted from 0: a transaction, or a call of a port."""

    def __init__(self, engine: Engine) -> None:
        self.left: int | None = None
        event.listen(engine, "begin", lambda _: self.step())

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class FusedIndex(ReferenceIndex):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def purge(self, points: Sequence[PointId]) -> Purged:
        self._fuse.step()
        purged = super().purge(points)
        self._fuse.step()
        return purged


class FusedBlobs(FsspecBlobs):
    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    def remove(self, digest: Digest) -> bool:
        self._fuse.step()
        removed = super().remove(digest)
        self._fuse.step()
        return removed


@dataclass(kw_only=True)
class Office:
    """Where documents are put in, and taken out."""

    ports: Ports
    clock: Clock
    shelf: Shelf
    fuse: Fuse

    def put(self, text: str, uri: str, *, attributes: Attributes | None = None) -> VersionId:
        """Published and indexed, with its original."""
        said = Metadata(
            uri=uri,
            title=f"Title of {uri}",
            source=Origin(connector="folder", etag=f"etag of {uri}", author=f"author of {uri}"),
            attributes=attributes or {},
        )
        self.ports.blobs.put(text.encode())
        staged = self.shelf.stage(text, metadata=said)
        with reading(self.ports.engine) as session:
            missing = publishing.unembedded(session, [staged.version], self.ports.embedder.fingerprint)
        vectors = self.ports.embedder.embed_passages(list(missing.values()))
        with writing(self.ports.engine) as session:
            cached = dict(zip(missing, vectors, strict=True))
            publishing.add_embeddings(session, cached, self.ports.embedder.fingerprint)
        index_versions(self.ports, [staged.version])
        number, at = self.shelf.publish(staged)
        synchronize(self.ports)
        found = (Finding(code=FindingCode.PARTIAL, detail=f"the {text} was not all read"),)
        result = JobResult(document=staged.submission.document, version=number, findings=found)
        with writing(self.ports.engine) as session:
            jobs.succeed(session, staged.submission.job, result, at=at)
        return staged.version

    def request(self, uri: str, versions: Sequence[VersionId] | None = None) -> ErasureId:
        id = ErasureId(f"era_{new_id()}")
        with recording(self.ports.engine, self.clock.now()) as (session, at):
            erasing.request(
                session,
                id,
                self.document(uri),
                versions,
                reason="asked to",
                rule=None,
                pepper=self.ports.pepper,
                at=at,
                by=BY,
            )
        return id

    def document(self, uri: str) -> DocumentId:
        with reading(self.ports.engine) as session:
            found = publishing.document_row(session, collection="policies", uri=uri)
        assert found is not None
        return found[1]

    def erasure(self, id: ErasureId) -> Erasure:
        with reading(self.ports.engine) as session:
            found = erasing.erasure(session, id)
        assert found is not None
        return found

    def tables_with(self, word: str) -> set[str]:
        """The tables in a row of which a word stands, whatever its column."""
        with self.ports.engine.connect() as connection:
            return {
                table.name
                for table in SQLModel.metadata.sorted_tables
                for row in connection.execute(table.select())
                if word in repr(tuple(row))
            }

    def has_original(self, text: str) -> bool:
        try:
            self.ports.blobs.get(digest_of(text.encode()))
        except NotFound:
            return False
        return True


@pytest.fixture
def office(engine: Engine, clock: Clock, tmp_path: Path) -> Office:
    fuse = Fuse(engine)
    ports = Ports(
        engine=engine,
        index=FusedIndex(fuse),
        embedder=SignEmbedder(),
        tokenizer=WordTokenizer(),
        analyzer=SnowballAnalyzer(),
        policy_engine=CedarPolicyEngine(),
        blobs=FusedBlobs(f"file://{tmp_path / 'blobs'}", fuse),
        memo=Memo(),
        pepper=b"pepper",
        now=clock.now,
        new_id=new_id,
    )
    return Office(ports=ports, clock=clock, shelf=Shelf(engine, clock), fuse=fuse)


def test_an_erasure_that_is_killed_before_any_of_its_steps_is_finished_by_another(office: Office) -> None:
    killed = 0
    while True:
        word = f"zwibbel{killed:03}"
        office.put(f"The {word} is blue.", word, attributes={"of": (word,)})
        office.put(f"The {word} is green.", word)
        erased = office.request(word)
        office.fuse.left = killed
        try:
            carry_on(office.ports, "one that is killed")
            break
        except Killed:
            killed += 1
        finally:
            office.fuse.left = None
        office.clock.set(Instant(office.clock.now() + CLAIM_MS))
        assert carry_on(office.ports, "another") == 1
        _is_gone(office, erased, word)
    _is_gone(office, erased, word)
    assert killed > 12
    assert carry_on(office.ports, "nothing to do") == 0


def test_an_erasure_is_left_to_whoever_claimed_it_until_its_time_is_up(office: Office) -> None:
    office.put("The zwibbel is blue.", "z")
    office.request("z")
    with writing(office.ports.engine) as session:
        now = office.clock.now()
        assert erasing.claim(session, "one", until=Instant(now + CLAIM_MS), now=now)
    assert carry_on(office.ports, "another") == 0
    office.clock.set(Instant(now + CLAIM_MS))
    assert carry_on(office.ports, "another") == 1


def _is_gone(office: Office, erased: ErasureId, word: str) -> None:
    found = office.erasure(erased)
    assert found.state is ErasureState.CERTIFIED
    assert found.probes.clean
    assert found.certificate is not None
    assert found.certificate_digest == canonical_digest(found.certificate)
    assert office.tables_with(word) == set()
    assert not office.has_original(f"The {word} is blue.")
    assert not office.has_original(f"The {word} is green.")
    assert office.ports.index.size() == 0


def test_a_certificate_says_what_went_and_that_the_sentences_found_it_before(office: Office) -> None:
    office.put("The zwibbel is blue.", "z")
    office.put("The zwibbel is green.", "z")
    erased = office.request("z")
    carry_on(office.ports, "worker")

    found = office.erasure(erased)
    assert found.removed == {
        "versions": 2,
        "index_points": 3,  # the first has a point for before it was superseded, and one for after
        "elements": 2,
        "chunks": 2,
        "texts": 2,
        "embeddings": 2,
        "originals": 2,
        "submissions": 2,
    }
    assert found.kept == {"texts": 0, "embeddings": 0, "originals": 0}
    assert (found.probes.sentences, found.probes.found) == (2, 0)
    assert found.probes.queries == found.probes.found_before == 3


def test_what_another_document_has_too_stays_for_it(office: Office) -> None:
    text = "The zwibbel is blue."
    office.put(text, "one")
    other = office.put(text, "two")
    first = office.request("one")
    carry_on(office.ports, "worker")

    assert office.has_original(text)
    assert [each.text for each in _chunks(office, other)] == [text]
    assert office.erasure(first).kept == {"texts": 1, "embeddings": 1, "originals": 1}

    second = office.request("two")
    carry_on(office.ports, "worker")
    assert not office.has_original(text)
    assert office.tables_with("zwibbel") == set()
    assert office.erasure(second).kept == {"texts": 0, "embeddings": 0, "originals": 0}


def test_two_documents_alike_that_are_erased_at_once_leave_nothing(office: Office) -> None:
    text = "The zwibbel is blue."
    office.put(text, "one")
    office.put(text, "two")
    office.request("one")
    office.request("two")
    assert carry_on(office.ports, "worker") == 2
    assert not office.has_original(text)
    assert office.tables_with("zwibbel") == set()


def test_a_single_version_goes_and_the_document_lives_on(office: Office) -> None:
    first = office.put("The zwibbel is blue.", "z")
    second = office.put("The quomble is green.", "z")
    erased = office.request("z", [first])
    carry_on(office.ports, "worker")

    assert not office.erasure(erased).whole
    assert office.tables_with("zwibbel") == set()
    assert [each.text for each in _chunks(office, second)] == ["The quomble is green."]
    assert office.document("z")

    last = office.request("z", [second])
    carry_on(office.ports, "worker")
    assert office.erasure(last).whole
    assert office.tables_with("quomble") == set()


def test_under_hold_no_erasure_is_taken_in_until_it_is_released(office: Office) -> None:
    office.put("The zwibbel is blue.", "z")
    with recording(office.ports.engine, office.clock.now()) as (session, at):
        hold = Hold(
            id=HoldId("hold_1"),
            title="Claim",
            reason="counsel",
            matter=None,
            documents=frozenset(),
            collections=frozenset({"policies"}),
            placed_at=at,
            placed_by=BY,
        )
        holds.place(session, hold)
    with pytest.raises(Conflict, match="hold_1, 'Claim'"):
        office.request("z")
    with recording(office.ports.engine, office.clock.now()) as (session, at):
        assert holds.release(session, hold.id, reason="settled", at=at, by=BY)
        assert not holds.release(session, hold.id, reason="again", at=at, by=BY)
    office.request("z")
    with reading(office.ports.engine) as session:
        assert [replace(each, released_at=None) for each in holds.holds(session)] == [
            replace(hold, released_by=BY, release_reason="settled")
        ]


def test_an_index_that_is_told_late_of_what_was_erased_takes_nothing(office: Office) -> None:
    """Somebody read SQL before the request and writes to the index after the purge."""
    version = office.put("The zwibbel is blue.", "z")
    late: list[Any] = []
    upsert = office.ports.index.upsert
    slow = replace(office.ports, index=_Late(office.ports.index, late))
    index_versions(slow, [version])
    office.request("z")
    carry_on(office.ports, "worker")
    upsert(late)
    assert office.ports.index.size() == 0


class _Late:
    """An index whose writes are kept back."""

    def __init__(self, index: Any, kept_back: list[Any]) -> None:
        self._index, self._kept_back = index, kept_back

    def upsert(self, entries: Sequence[Any]) -> None:
        self._kept_back += entries


def test_what_is_being_erased_can_be_moved_nowhere(office: Office) -> None:
    version = office.put("The zwibbel is blue.", "z")
    office.request("z")
    office.shelf.move(version, RESTRICTED)
    assert _chunks(office, version) == []
    assert office.shelf.placements(version) == []


def test_a_lost_index_is_told_of_nothing_that_is_being_erased(office: Office) -> None:
    office.put("The zwibbel is blue.", "z")
    office.put("The quomble is green.", "q")
    office.request("z")
    lost = replace(office.ports, index=ReferenceIndex())
    with writing(lost.engine) as session:
        publishing.replace_index_tasks_by_all(session)
    synchronize(lost)
    assert lost.index.size() == 1
    with reading(lost.engine) as session:
        assert publishing.published_chunks(session) == 1


def test_texts_and_vectors_that_no_version_has_go_with_the_next_erasure(office: Office) -> None:
    """What a submission left that failed half-way says as much as what was published."""
    staged = office.shelf.stage("The zwibbel is blue.", uri="half")
    with writing(office.ports.engine) as session:
        vectors = {Digest("sha256:1"): Vector(b"zwibbel vector")}
        publishing.add_embeddings(session, vectors, office.ports.embedder.fingerprint)
        publishing.unstage(session, staged.submission.job)
    assert {"texts", "embeddings"} <= office.tables_with("zwibbel")
    office.put("The quomble is green.", "q")
    office.request("q")
    carry_on(office.ports, "worker")
    assert office.tables_with("zwibbel") == set()


def test_reasons_and_refusals_that_speak_of_what_is_erased_are_not_kept(office: Office) -> None:
    version = office.put("The quomble is green.", "z")
    with recording(office.ports.engine, office.clock.now()) as (session, at):
        publishing.withdraw(session, version, reason="the zwibbel is not blue", at=at, by=BY)
    refused = office.shelf.submit("z", metadata=Metadata(uri="z", title="zwibbel"))
    with writing(office.ports.engine) as session:
        problem = Problem(kind="invalid", detail="the zwibbel cannot be read")
        jobs.fail(session, refused.job, problem, at=office.clock.now())
    assert office.tables_with("zwibbel") == {"withdrawals", "jobs"}
    office.request("z")
    carry_on(office.ports, "worker")
    assert office.tables_with("zwibbel") == set()


def _chunks(office: Office, version: VersionId) -> list[Any]:
    now = office.clock.now()
    return list(office.shelf.stored(office.shelf.chunks(version), valid_at=now, known_at=now).values())


# -- nothing that holds content is forgotten when tables are added -----------------------------------------------------

GONE = {
    "chunks": {"digest", "embedded_digest", "boxes", "section"},
    "elements": {"kind", "boxes", "section"},
    "embeddings": {"digest", "fingerprint", "vector"},
    "texts": {"digest", "text"},
    "signatures": {"text_digest", "algorithm", "slots", "normal_digest"},
    "bands": {"band"},
    "transformations": {"*"},
    "source_items": {"*"},
    "golden_questions": {"*"},
}
"""Tables whose rows are deleted."""

SCRUBBED = {
    "documents": {"uri"},
    "versions": {"title", "metadata_digest", "text_digest", "source", "attributes", "findings", "detected"},
    "withdrawals": {"reason"},
    "version_boundaries": {"reason"},
    "periods": {"reason"},
    "reviews": {"note"},
    "escalations": {"reason"},
    "escalation_decisions": {"reason"},
    "attachments": {"name"},
    "sources": {"cursor"},
    "source_runs": {"cursor"},
    "source_run_items": {"key", "uri", "stated", "problem"},
    "jobs": {"filename", "media_type", "metadata", "metadata_digest", "problem", "result"},
}
"""Columns that are overwritten."""

NOT_CONTENT = {
    "documents": {"public_id", "collection"},
    "versions": {"job_id", "media_type", "digest", "parser"},
    "withdrawals": {"recorded_by"},
    "jobs": {"id", "kind", "state", "stage", "blob", "submitted_by", "submitted_through", "batch", "collection"},
    "version_boundaries": {"recorded_by", "causes"},
    "attachments": {"media_type", "digest", "job_id"},
    "supersessions": {"recorded_by"},
    "reviews": {"by"},
    "label_rules": {"*"},
    "workers": {"*"},
    "generations": {"*"},
    "foreign_principals": {"*"},
    "source_settings": {"*"},
    "source_run_unchanged": {"*"},
    "sources": {"collection", "name", "cursor_of", "watched"},
    "source_runs": {"id", "state", "triggered_by", "claim", "problem"},
    "source_run_items": {"run_id", "token", "outcome", "job_id"},
    "periods": {"recorded_by"},
    "citations": {"id", "quote_digest"},
    "boundaries": {"*"},
    "collections": {"*"},
    "erased_versions": {"*"},
    "erasures": {"*"},
    "tombstones": {"*"},
    "holds": {"*"},
    "retentions": {"*"},
    "retention_due": {"*"},
    "principals": {"*"},
    "memberships": {"*"},
    "provisioned": {"*"},
    "keys": {"*"},
    "purposes": {"*"},
    "jurisdictions": {"*"},
    "transfers": {"*"},
    "consents": {"*"},
    "policy_texts": {"*"},
    "policy_activations": {"*"},
    "policy_versions": {"*"},
    "policy_approvals": {"*"},
    "policy_tests": {"*"},
    "grants": {"*"},
    "notices": {"*"},
    "escalations": {
        *("id", "kind", "subject", "actors", "proof", "team", "trace", "asked_through", "collection", "document"),
        *("citation", "purpose", "client", "destination", "codes", "state", "grant_id"),
    },
    "escalation_seats": {"*"},
    "escalation_decisions": {"escalation", "by", "verdict", "purpose", "obligations"},
    "escalation_repeats": {"*"},
    "webhooks": {"*"},
    "deliveries": {"*"},
    "traces": {"*"},
    "evaluations": {"*"},
}
"""Ids, digests, people, and what was asked: no text of a document. `*` is every column."""


def test_every_column_that_could_hold_text_is_known_to_the_erasure() -> None:
    """A new table or column is put into one of the three lists, and `app/store/erasing.py` does what the list says."""
    unknown = [
        f"{table.name}.{column.name}"
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if type(column.type).__name__ in {"Text", "AutoString", "String", "JSON", "LargeBinary"}
        and not any(
            column.name in listed.get(table.name, ()) or "*" in listed.get(table.name, ())
            for listed in (GONE, SCRUBBED, NOT_CONTENT)
        )
    ]
    assert unknown == []
