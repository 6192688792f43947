"""Retention: what a collection's rules say is to go, and doing it, for an owner or for the schedule."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import Party, Principal, Profile
from app.domain.corpus import DocumentId
from app.domain.erasure import ErasureId, Hold
from app.domain.errors import Unavailable
from app.domain.instants import Instant
from app.domain.retention import DAY_MS, Disposal, Due, RetentionRule, due
from app.domain.trace import TraceKind
from app.operations import erase, read
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify
from app.operations.prepare import SYSTEM
from app.operations.submit import curated, handles_document
from app.operations.synchronize import synchronize
from app.ports import Ports
from app.store import corpus, erasing, holds, publishing, retention
from app.store.database import reading, recording, writing

_CLAIM_MS: Final = 600_000
"""How long a worker that carries out a collection's rules is left alone with them; if it dies, another begins then."""

_SCHEDULE: Final = Principal(subject=Party(profile=Profile(ref=SYSTEM, display_name="schedule"), groups=frozenset()))
"""On whose behalf the daily run is on record: the owners set the rules, and no person acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed:
    """What a rule does, or would do, to a version. Under hold nothing is erased, whatever the rule."""

    due: Due
    held_by: tuple[Hold, ...]
    erasure: ErasureId | None = None

    @property
    def done(self) -> bool:
        return self.due.rule.action is Disposal.WITHDRAW or not self.held_by


def rules(ports: Ports, credentials: Credentials, collection: str) -> tuple[RetentionRule, ...]:
    """A collection's rules, to its owners. Raises what `curated` does."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        return retention.rules(session, collection)


def set_rules(ports: Ports, credentials: Credentials, collection: str, new: Sequence[RetentionRule]) -> None:
    """Let these be a collection's rules. They are carried out for the first time a day later."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
    with recording(ports.engine, ports.now()) as (session, at):
        retention.record_rules(
            session,
            collection,
            new,
            first_run_at=Instant(at + DAY_MS),
            at=at,
            by=standing.principal.subject.ref,
        )
    request = {"what": "set-retention", "collection": collection, "rules": [each.words for each in new]}
    record(ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)


def run(ports: Ports, credentials: Credentials, collection: str, *, dry_run: bool) -> list[Disposed]:
    """What the rules would do now, or do, to what this owner may read: of other documents it is told nothing, and
    they are left to the schedule."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        found = [
            each
            for document in retention.documents_in(session, collection)
            if (several := list(_due(session, document, collection, now=standing.now)))
            and handles_document(ports, session, standing, document, collection)
            for each in several
        ]
        shown = {each.id: each for each in read.described(ports, session, standing, [it.due.version for it in found])}
    done = found if dry_run else _dispose(ports, standing.principal, collection, found, owner=standing)
    return [replace(each, due=replace(each.due, version=shown[each.due.version.id])) for each in done]


def run_due(ports: Ports) -> int:
    """Carry out the rules of every collection that is due, for all of its documents; how many collections were."""
    done = 0
    while True:
        now = ports.now()
        with writing(ports.engine) as session:
            collection = retention.claim_due(session, now=now, until=Instant(now + _CLAIM_MS))
        if collection is None:
            return done
        with reading(ports.engine) as session:
            found = [
                each
                for document in retention.documents_in(session, collection)
                for each in _due(session, document, collection, now=now)
            ]
        _dispose(ports, _SCHEDULE, collection, found)
        with writing(ports.engine) as session:
            retention.set_due(session, collection, Instant(now + DAY_MS))
        done += 1


def _due(session: Session, document: DocumentId, collection: str, *, now: Instant) -> Iterator[Disposed]:
    """In the order of versions, newest first."""
    versions = corpus.versions_of(session, document)
    laid_down = retention.rules(session, collection)
    withdrawn = retention.withdrawn_at(session, [each.id for each in versions])
    held = tuple(holds.covering(session, document, collection)) if laid_down else ()
    for version in versions:
        found = due(version, laid_down, withdrawn_at=withdrawn.get(version.id), now=now)
        if found is not None:
            yield Disposed(due=found, held_by=held)


def _dispose(
    ports: Ports, principal: Principal, collection: str, found: Sequence[Disposed], *, owner: Standing | None = None
) -> list[Disposed]:
    by_document: dict[DocumentId, list[Disposed]] = {}
    for each in found:
        by_document.setdefault(each.due.version.document.id, []).append(each)
    done = [
        each
        for document, several in by_document.items()
        for each in _dispose_of(ports, principal, collection, document, several, owner)
    ]
    with suppress(Unavailable):  # what is not told or carried out now, a worker sees to
        synchronize(ports, [each.due.version.id for each in done if each.due.rule.action is Disposal.WITHDRAW])
        erase.carry_on(ports, f"retention:{ports.new_id()}")
    return done


def _dispose_of(
    ports: Ports,
    principal: Principal,
    collection: str,
    document: DocumentId,
    found: Sequence[Disposed],
    owner: Standing | None,
) -> Iterator[Disposed]:
    """Decided anew within the commit: what was read may have changed since, been put under hold, or closed to `owner`,
    if it is one who does it."""
    by = principal.subject.ref
    wanted = {each.due.version.id for each in found}
    with recording(ports.engine, ports.now()) as (session, at):
        if owner is not None and not handles_document(ports, session, owner, document, collection):
            return
        still = [each for each in _due(session, document, collection, now=at) if each.due.version.id in wanted]
        done = []
        for each in still:
            if each.due.rule.action is Disposal.WITHDRAW:
                publishing.withdraw(session, each.due.version.id, reason=each.due.rule.words, at=at, by=by)
                done.append(each)
            elif each.held_by:
                done.append(each)
        erased = [each for each in still if each.due.rule.action is Disposal.ERASE and not each.held_by]
        if erased:
            id = ErasureId(f"era_{ports.new_id()}")
            erasing.request(
                session,
                id,
                document,
                [each.due.version.id for each in erased],
                reason="The collection's retention rules.",
                rule="; ".join(dict.fromkeys(each.due.rule.words for each in erased)),
                pepper=ports.pepper,
                at=at,
                by=by,
            )
            done += [Disposed(due=each.due, held_by=(), erasure=id) for each in erased]
    acted = [each for each in done if each.done]
    if acted:
        record(
            ports,
            principal,
            TraceKind.CHANGE,
            outcome="changed",
            request={
                "what": "retention",
                "document": document,
                "versions": [[each.due.version.number, each.due.rule.words] for each in acted],
            },
        )
    yield from sorted(done, key=lambda each: -each.due.version.number)
