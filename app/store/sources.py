"""Sources: how they are registered, what is remembered of their items, and the principals of other directories."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef, Proof
from app.domain.corpus import Digest, DocumentId
from app.domain.foreign import ForeignName, ForeignPrincipals
from app.domain.instants import FOREVER, Instant
from app.domain.jobs import JobId, JobState, Problem
from app.domain.runs import KnownItem, Registered, Registrant, RunId, SourceId
from app.domain.sources import Access, Acl, AclEntry, Cursor, ForeignKind, SourceName, SourceSettings
from app.store.chains import chained, unchained
from app.store.recorded import close, holds, replace_state
from app.store.tables import (
    DocumentRow,
    ForeignPrincipalRow,
    JobRow,
    SourceItemRow,
    SourceRow,
    SourceSettingsRow,
)

_AT_ONCE = 500
"""Keys asked for in one statement: SQLite takes so many parameters and no more."""


# -- registration ------------------------------------------------------------------------------------------------------


def registered(session: Session, collection: str, name: SourceName) -> Registered | None:
    """The source of that name as it is registered today."""
    return _first(session, col(SourceRow.collection) == collection, col(SourceRow.name) == name)


def registered_by_id(session: Session, id: SourceId) -> Registered | None:
    return _first(session, col(SourceRow.id) == id)


def registered_in(session: Session, collection: str) -> list[Registered]:
    """Every source of a collection, by name."""
    query = _REGISTERED.where(col(SourceRow.collection) == collection).order_by(col(SourceRow.name))
    return [_registered(*row) for row in session.execute(query)]


def registered_everywhere(session: Session) -> list[Registered]:
    """Every source that is registered today."""
    return [_registered(*row) for row in session.execute(_REGISTERED.order_by(col(SourceRow.id)))]


def registered_ever(session: Session) -> list[Registered]:
    """Every source as it is registered, or was when it was removed: what it brought is still bounded by its names."""
    latest = select(func.max(col(SourceSettingsRow.id))).group_by(col(SourceSettingsRow.source_id))
    query = (
        select(SourceRow, SourceSettingsRow)
        .join(SourceSettingsRow, col(SourceSettingsRow.source_id) == col(SourceRow.id))
        .where(col(SourceSettingsRow.id).in_(latest))
        .order_by(col(SourceRow.id))
    )
    return [_registered(*row) for row in session.execute(query)]


def record_source(
    session: Session, settings: SourceSettings, registrant: Registrant, *, next_run_at: Instant | None, at: Instant
) -> SourceId:
    """Let a source be registered so from `at` on."""
    row = session.scalars(
        select(SourceRow).where(col(SourceRow.collection) == settings.collection, col(SourceRow.name) == settings.name)
    ).first() or SourceRow(collection=settings.collection, name=settings.name, created_at=at)
    row.next_run_at = next_run_at
    session.add(row)
    session.flush()
    id = SourceId(row.id or 0)
    replace_state(
        session,
        SourceSettingsRow(
            source_id=id,
            connector=settings.connector,
            location=settings.location,
            options=dict(settings.options),
            schedule=settings.schedule,
            namespace=settings.namespace,
            paused=settings.paused,
            actor=chained(registrant.actors),
            proof=registrant.proof,
            recorded_from=at,
            recorded_to=FOREVER,
            recorded_by=registrant.subject,
        ),
        col(SourceSettingsRow.source_id) == id,
        at=at,
    )
    return id


def remove_source(session: Session, id: SourceId, *, at: Instant) -> None:
    """Let a source be registered no longer. Its documents stay, and what is remembered of its items too."""
    close(session, SourceSettingsRow, col(SourceSettingsRow.source_id) == id, at=at)
    session.execute(update(SourceRow).where(col(SourceRow.id) == id).values(next_run_at=None))


def due(session: Session, now: Instant) -> list[Registered]:
    """The sources whose time has come, held by this transaction: another one passes over them."""
    query = _REGISTERED.where(col(SourceRow.next_run_at) <= now).with_for_update(of=SourceRow, skip_locked=True)
    return [_registered(*row) for row in session.execute(query)]


def anything_due(session: Session, now: Instant) -> bool:
    return (
        session.execute(select(col(SourceRow.id)).where(col(SourceRow.next_run_at) <= now).limit(1)).first() is not None
    )


def set_next_run(session: Session, id: SourceId, next_run_at: Instant | None) -> None:
    session.execute(update(SourceRow).where(col(SourceRow.id) == id).values(next_run_at=next_run_at))


def note_watched(session: Session, id: SourceId, seen: str) -> bool:
    """Remember what a watched place looks like; False if that is known, by whoever else watches it too."""
    result = session.execute(
        update(SourceRow)
        .where(col(SourceRow.id) == id, (col(SourceRow.watched).is_(None)) | (col(SourceRow.watched) != seen))
        .values(watched=seen)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]


def watched(session: Session, id: SourceId) -> str | None:
    return session.execute(select(col(SourceRow.watched)).where(col(SourceRow.id) == id)).scalar_one()


def kept_cursor(session: Session, id: SourceId, settings: str) -> Cursor | None:
    """Where the last listing under these settings (their digest) left off."""
    found = session.scalars(
        select(col(SourceRow.cursor)).where(col(SourceRow.id) == id, col(SourceRow.cursor_of) == settings)
    ).first()
    return Cursor(found) if found is not None else None


def keep_cursor(session: Session, id: SourceId, cursor: Cursor, settings: str) -> None:
    session.execute(update(SourceRow).where(col(SourceRow.id) == id).values(cursor=cursor, cursor_of=settings))


# -- items -------------------------------------------------------------------------------------------------------------


def known_items(session: Session, source: SourceId, keys: Iterable[str]) -> dict[str, KnownItem]:
    """What is remembered of the items of these keys."""
    found: dict[str, KnownItem] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        query = _items(source).where(col(SourceItemRow.key).in_(wanted[start : start + _AT_ONCE]))
        found |= {row[0].key: _known(row) for row in session.execute(query)}
    return found


def items_not_seen(session: Session, source: SourceId, run: RunId) -> list[KnownItem]:
    """Items that are not gone and that this run has not come across, by key."""
    query = _items(source).where(col(SourceItemRow.run_id) != run, ~col(SourceItemRow.gone))
    return [_known(row) for row in session.execute(query.order_by(col(SourceItemRow.key)))]


def count_items(session: Session, source: SourceId) -> int:
    """How many items are there, with a document, and not gone."""
    return session.execute(
        select(func.count())
        .select_from(SourceItemRow)
        .where(
            col(SourceItemRow.source_id) == source,
            ~col(SourceItemRow.gone),
            col(SourceItemRow.document_id).is_not(None),
        )
    ).scalar_one()


def items_with_acl(session: Session, sources: Iterable[SourceId]) -> list[KnownItem]:
    """Items of these sources that have an access list and a document."""
    query = (
        select(SourceItemRow, col(DocumentRow.public_id), JobRow)
        .join(DocumentRow, col(DocumentRow.id) == col(SourceItemRow.document_id))
        .outerjoin(JobRow, col(JobRow.id) == col(SourceItemRow.job_id))
        .where(col(SourceItemRow.source_id).in_(list(sources)))
        .order_by(col(SourceItemRow.id))
    )
    return [known for row in session.execute(query) if (known := _known(row)).acl is not None]


def others_with_document(session: Session, source: SourceId, key: str, document: DocumentId) -> bool:
    """Whether another item of any source that is not gone stands for the same document."""
    query = (
        select(col(SourceItemRow.id))
        .join(DocumentRow, col(DocumentRow.id) == col(SourceItemRow.document_id))
        .where(
            col(DocumentRow.public_id) == document,
            ~col(SourceItemRow.gone),
            (col(SourceItemRow.source_id) != source) | (col(SourceItemRow.key) != key),
        )
        .limit(1)
    )
    return session.execute(query).first() is not None


def holder_of_uri(session: Session, collection: str, uri: str) -> tuple[SourceId, str] | None:
    """The source and key of the item that stands for the document of that uri, if one does and is not gone."""
    row = session.execute(
        select(col(SourceItemRow.source_id), col(SourceItemRow.key))
        .join(DocumentRow, col(DocumentRow.id) == col(SourceItemRow.document_id))
        .where(col(DocumentRow.collection) == collection, col(DocumentRow.uri) == uri, ~col(SourceItemRow.gone))
        .order_by(col(SourceItemRow.id))
        .limit(1)
    ).first()
    return (SourceId(row[0]), row[1]) if row else None


def remember(session: Session, source: SourceId, item: KnownItem) -> None:
    """Let this be what is known of an item."""
    row = session.scalars(
        select(SourceItemRow).where(col(SourceItemRow.source_id) == source, col(SourceItemRow.key) == item.key)
    ).first()
    fields: dict[str, Any] = {
        "uri": item.uri,
        "token": item.token,
        "etag": item.etag,
        "digest": item.digest,
        "said": item.said,
        "valid_from": item.valid_from,
        "acl": acl_to_json(item.acl) if item.acl is not None else None,
        "document_id": document_row_of(session, item.document),
        "job_id": item.job,
        "run_id": item.run,
        "gone": item.gone,
    }
    if row is None:
        row = SourceItemRow(source_id=source, key=item.key, **fields)
    else:
        row.sqlmodel_update(fields)
    session.add(row)
    session.flush()


def touch(session: Session, source: SourceId, keys: Sequence[str], run: RunId) -> None:
    """Note that a run has come across these items."""
    for start in range(0, len(keys), _AT_ONCE):
        some = list(keys[start : start + _AT_ONCE])
        session.execute(
            update(SourceItemRow)
            .where(col(SourceItemRow.source_id) == source, col(SourceItemRow.key).in_(some))
            .values(run_id=run)
        )


def document_row_of(session: Session, document: DocumentId | None) -> int | None:
    if document is None:
        return None
    return session.execute(select(col(DocumentRow.id)).where(col(DocumentRow.public_id) == document)).scalar_one()


# -- principals of other directories -----------------------------------------------------------------------------------


def foreign_principals(session: Session, namespace: str, *, at: Instant | None = None) -> ForeignPrincipals:
    """Who is meant by the names of a namespace, as recorded."""
    rows = session.scalars(
        select(ForeignPrincipalRow).where(
            col(ForeignPrincipalRow.namespace) == namespace, holds(ForeignPrincipalRow, at)
        )
    )
    return {(ForeignKind(row.kind), row.value): PrincipalRef(row.ref) for row in rows}


def names_of(session: Session, refs: frozenset[PrincipalRef]) -> frozenset[tuple[str, ForeignName]]:
    """By which names, of which directories, these principals are meant."""
    row = ForeignPrincipalRow
    found = session.scalars(select(row).where(col(row.ref).in_(refs), holds(row)))
    return frozenset((each.namespace, (ForeignKind(each.kind), each.value)) for each in found)


def foreign_principal(session: Session, namespace: str, name: ForeignName) -> PrincipalRef | None:
    """Who is meant by one name of a namespace today; None: nobody."""
    kind, value = name
    ref = session.scalars(
        select(col(ForeignPrincipalRow.ref)).where(
            col(ForeignPrincipalRow.namespace) == namespace,
            col(ForeignPrincipalRow.kind) == kind,
            col(ForeignPrincipalRow.value) == value,
            holds(ForeignPrincipalRow),
        )
    ).first()
    return PrincipalRef(ref) if ref else None


def foreign_users(session: Session, namespace: str, values: Iterable[str]) -> dict[str, PrincipalRef]:
    """Whom these names of users mean in a namespace; those that mean nobody are left out."""
    wanted = [*set(values)]
    rows = session.execute(
        select(col(ForeignPrincipalRow.value), col(ForeignPrincipalRow.ref)).where(
            col(ForeignPrincipalRow.namespace) == namespace,
            col(ForeignPrincipalRow.kind) == ForeignKind.USER,
            col(ForeignPrincipalRow.value).in_(wanted),
            holds(ForeignPrincipalRow),
        )
    )
    return {value: PrincipalRef(ref) for value, ref in rows}


def record_foreign_principals(
    session: Session,
    namespace: str,
    wanted: Mapping[ForeignName, PrincipalRef],
    *,
    at: Instant,
    by: PrincipalRef,
) -> frozenset[ForeignName]:
    """Let these, and no others, be meant by the names of a namespace from `at` on; says whose meaning that moved."""
    before = foreign_principals(session, namespace)
    moved = frozenset(name for name in {*before, *wanted} if before.get(name) != wanted.get(name))
    for kind, value in sorted(moved):
        close(
            session,
            ForeignPrincipalRow,
            col(ForeignPrincipalRow.namespace) == namespace,
            col(ForeignPrincipalRow.kind) == kind,
            col(ForeignPrincipalRow.value) == value,
            at=at,
        )
    session.flush()
    for name in sorted(moved & wanted.keys()):
        session.add(
            ForeignPrincipalRow(
                namespace=namespace,
                kind=name[0],
                value=name[1],
                ref=wanted[name],
                recorded_from=at,
                recorded_to=FOREVER,
                recorded_by=by,
            )
        )
    return moved


# -- rows --------------------------------------------------------------------------------------------------------------

_REGISTERED = select(SourceRow, SourceSettingsRow).join(
    SourceSettingsRow, (col(SourceSettingsRow.source_id) == col(SourceRow.id)) & holds(SourceSettingsRow)
)


def _first(session: Session, *where: Any) -> Registered | None:
    row = session.execute(_REGISTERED.where(*where)).first()
    return _registered(row[0], row[1]) if row else None


def _registered(row: SourceRow, settings: SourceSettingsRow) -> Registered:
    return Registered(
        id=SourceId(row.id or 0),
        settings=SourceSettings(
            name=SourceName(row.name),
            collection=row.collection,
            connector=settings.connector,
            location=settings.location,
            options=dict(settings.options),
            schedule=settings.schedule,
            namespace=settings.namespace,
            paused=settings.paused,
        ),
        registrant=Registrant(
            subject=PrincipalRef(settings.recorded_by),
            actors=unchained(settings.actor),
            proof=Proof(settings.proof),
        ),
        recorded_at=Instant(settings.recorded_from),
        next_run_at=Instant(row.next_run_at) if row.next_run_at is not None else None,
    )


def _items(source: SourceId) -> Any:
    return (
        select(SourceItemRow, col(DocumentRow.public_id), JobRow)
        .outerjoin(DocumentRow, col(DocumentRow.id) == col(SourceItemRow.document_id))
        .outerjoin(JobRow, col(JobRow.id) == col(SourceItemRow.job_id))
        .where(col(SourceItemRow.source_id) == source)
    )


def _known(found: Row[*tuple[Any, ...]]) -> KnownItem:
    row, document, job = found
    known = KnownItem(
        key=row.key,
        uri=row.uri,
        token=row.token,
        etag=row.etag,
        digest=Digest(row.digest) if row.digest else None,
        said=row.said,
        valid_from=Instant(row.valid_from) if row.valid_from is not None else None,
        acl=acl_from_json(row.acl) if row.acl is not None else None,
        document=DocumentId(document) if document else None,
        run=RunId(row.run_id),
        gone=row.gone,
    )
    if job is None:
        return known
    return replace(
        known,
        job=JobId(job.id),
        job_state=JobState(job.state),
        job_problem=Problem(**job.problem) if job.problem else None,
    )


def acl_to_json(acl: Acl) -> list[list[str]]:
    return [[entry.access, entry.kind, entry.value] for entry in sorted(acl.entries)]


def acl_from_json(value: Iterable[Sequence[str]]) -> Acl:
    return Acl(
        entries=frozenset(
            AclEntry(access=Access(access), kind=ForeignKind(kind), value=name) for access, kind, name in value
        )
    )
