"""How documents are labelled: an owner's rules by path, what they raise, and the history of a document's labels."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import Boundary, BoundaryId
from app.domain.corpus import DocumentId, VersionId
from app.domain.errors import Unavailable
from app.domain.instants import Instant
from app.domain.labels import Cause, CauseKind, Label, LabelRule, rules_floor
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record
from app.operations.curate import owned
from app.operations.identify import Credentials, identify
from app.operations.submit import curated
from app.operations.synchronize import synchronize
from app.ports import Ports
from app.store import boundaries as boundary_store
from app.store import corpus, publishing, registry
from app.store.corpus import Bound
from app.store.database import reading, recording

_TOLD_AT_ONCE = 64
"""Versions that the index is told of before the answer; of more, the worker tells it. SQL decides meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """A document that rules would raise: from what its newest readable version has, to what it would have."""

    document: DocumentId
    uri: str
    before: Label
    after: Label


def rules(ports: Ports, credentials: Credentials, collection: str) -> tuple[LabelRule, ...]:
    """The label rules of a collection, to those who curate it. Raises `NotFound`, `NotPermitted`."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        return registry.label_rules(session, collection)


def put_rules(ports: Ports, credentials: Credentials, collection: str, wanted: Sequence[LabelRule]) -> None:
    """Let these be a collection's label rules. Raises `NotFound`, `NotPermitted`.

    A rule that is new raises what is published already, for every request that starts after this returns: every
    document that it covers, whoever may read it, since a rule that passed over what its author cannot see would leave
    the most guarded unguarded. A rule that is gone lowers nothing: that is an owner's to do, with a reason.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
    by = standing.principal.subject.ref
    with recording(ports.engine, ports.now()) as (session, at):
        before = registry.label_rules(session, collection)
        registry.record_label_rules(session, collection, wanted, at=at, by=by)
        new = [rule for rule in wanted if rule not in before]
        moves = _moves(session, collection, new, at=at)
        publishing.move_boundaries(session, moves, at=at, by=by)
    request = {"what": "put-label-rules", "about": collection}
    record(ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
    if len(moves) <= _TOLD_AT_ONCE:
        with suppress(Unavailable):
            synchronize(ports, [each.version for each in moves])


def preview(ports: Ports, credentials: Credentials, collection: str, wanted: Sequence[LabelRule]) -> list[Raise]:
    """What `put_rules` would raise, of the documents that the principal may read; by uri. Changes nothing."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        reach = authorize.reach(ports, session, standing)
        before = registry.label_rules(session, collection)
        new = [rule for rule in wanted if rule not in before]
        held = [each for each in corpus.boundaries_in(session, collection) if each[2] in reach.boundaries]
        known = boundary_store.boundaries(session, {boundary for _, _, boundary in held})
        found: dict[str, Raise] = {}
        for _, uri, boundary in held:
            label = known[boundary].label
            floor = rules_floor(new, uri)
            if not label.covers(floor):
                row = publishing.document_row(session, collection=collection, uri=uri)
                assert row is not None
                found[uri] = Raise(document=row[1], uri=uri, before=label, after=label.join(floor))
    return [found[uri] for uri in sorted(found)]


def history(ports: Ports, credentials: Credentials, document: DocumentId) -> list[Bound]:
    """Every boundary that a document's versions have lain in, latest first, to its owners.

    Raises `NotFound`, and `NotPermitted` to whoever may see the document and does not own it.
    """
    with reading(ports.engine) as session:
        owned(ports, session, identify(ports, session, credentials), document)
        return corpus.boundary_history(session, document)


def _moves(session: Session, collection: str, new: Sequence[LabelRule], *, at: Instant) -> list[publishing.Move]:
    """Every version of the collection that these rules raise, with the boundary that they raise it to."""
    if not new:
        return []
    held = corpus.boundaries_in(session, collection)
    known = boundary_store.boundaries(session, {boundary for _, _, boundary in held})
    matching: dict[str, tuple[LabelRule, ...]] = {}
    raised: dict[tuple[BoundaryId, tuple[LabelRule, ...]], publishing.Move | None] = {}
    moves = []
    for version, uri, boundary in held:
        if uri not in matching:
            matching[uri] = tuple(rule for rule in new if rule.covers(uri))
        key = (boundary, matching[uri])
        if key not in raised:
            raised[key] = _move(session, version, known[boundary], matching[uri], at=at)
        move = raised[key]
        if move is not None:
            moves.append(replace(move, version=version))
    return moves


def _move(
    session: Session, version: VersionId, boundary: Boundary, rules: Sequence[LabelRule], *, at: Instant
) -> publishing.Move | None:
    label, causes = boundary.label, []
    for rule in rules:
        if not label.covers(rule.floor):
            label = label.join(rule.floor)
            causes.append(Cause(kind=CauseKind.RULE, detail=rule.path))
    if not causes:
        return None
    id = boundary_store.interned(session, replace(boundary, label=label), at=at)
    return publishing.Move(version=version, boundary=id, causes=tuple(causes))
