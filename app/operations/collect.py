"""Taking in what a source has: each item is held against what is remembered of it, and only what differs is acted on.

    listed -> passed over (nothing differs) | rebound (who may read it) | fetched, taken (what it says) | retired (gone)

An item goes through the same door as an upload, in the name of whoever registered the source. Whatever is noted of it
is written in the transaction that acts on it, so a run that is broken off anywhere and begun again does nothing twice.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef
from app.domain.corpus import (
    MAX_DOCUMENT_BYTES,
    Digest,
    DocumentId,
    Metadata,
    Origin,
    digest_of,
)
from app.domain.errors import Conflict, Invalid, MunimentError, NotPermitted, TooLarge, Unavailable, Unparseable
from app.domain.foreign import OWNERS_ALONE, Audience, ForeignPrincipals, audience
from app.domain.instants import Instant
from app.domain.jobs import JobId, JobState, Problem
from app.domain.runs import ItemOutcome, KnownItem, Registered, RunId
from app.domain.sources import Acl, Fetched, Item
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record
from app.operations.curate import Amendment, amended, withdrawn
from app.operations.identify import Standing, standing_of
from app.operations.submit import Submitted, admissible, handled_documents, take
from app.ports import Ports
from app.store import corpus, erasing, jobs, publishing, registry, runs, sources
from app.store.database import reading, recording, writing

Fetch = Callable[[Item, str | None], Fetched | None]
"""An item's content, given the etag of what is held of it; `None` if that is still it."""

_MAX_KEY_BYTES = 2000
_MAX_TITLE_CHARS = 500
_REBOUND_AT_ONCE = 100
"""Boundaries moved in one transaction, which holds up every other recording."""

PREFIX = "prefix"
"""The option that is put before every key, so that two sources of a collection do not name one document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A run at work: of which source, and whether the source lists all that it has."""

    registered: Registered
    run: RunId
    lists_all: bool

    @property
    def collection(self) -> str:
        return self.registered.settings.collection

    def uri(self, key: str) -> str:
        return self.registered.settings.options.get(PREFIX, "") + key


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """An item that something is to be done about. `same` is what it says: only who may read it may differ."""

    item: Item
    known: KnownItem | None
    same: bool


def authority(ports: Ports, session: Session, registered: Registered) -> Standing:
    """The standing in whose name a source's runs act. Raises `NotPermitted` if whoever registered it may no longer."""
    who = registered.registrant
    standing = standing_of(ports, session, who.subject, actors=who.actors, proof=who.proof)
    collection = registered.settings.collection
    if collection not in authorize.curated_collections(ports, session, standing):
        through = "".join(f" through {actor}" for actor in reversed(who.actors))
        raise NotPermitted(
            f"{who.subject}{through} registered this source, and may no longer put documents into {collection}. "
            "An owner who registers it again takes it over."
        )
    return standing


def sift(ports: Ports, errand: Errand, items: Sequence[Item]) -> list[Todo]:
    """Those items of a page that something is to be done about, in order; the rest is counted as left as it is.

    Of several states of one key, those up to the one that is remembered are done, whichever run did them.
    """
    todo: list[Todo] = []
    left: list[KnownItem] = []
    failed: list[tuple[Item, KnownItem]] = []
    with reading(ports.engine) as session:
        known = sources.known_items(session, errand.registered.id, [item.key for item in items])
    last = {item.key: n for n, item in enumerate(items) if _stands(errand, item, known.get(item.key))}
    for n, item in enumerate(items):
        before, done = known.get(item.key), last.get(item.key, -1)
        if before is None or n > done:
            if before is None or not _older(errand, item, before):
                todo.append(Todo(item=item, known=before, same=False))
        elif n < done or before.gone:
            continue
        elif before.acl != item.acl:
            todo.append(Todo(item=item, known=before, same=True))
        elif before.run == errand.run:
            continue
        elif before.job_state is JobState.FAILED:
            failed.append((item, before))
        else:
            left.append(before)
    _leave(ports, errand, left, failed)
    return todo


def rebind(ports: Ports, errand: Errand, todo: Sequence[Todo]) -> None:
    """Let the items whose access list is another be read by whom it now names, and nothing else about them change.

    Holds for every version, and for what is still being ingested, from when this returns. Where whoever registered
    the source may not read a document, its boundary is moved as far as that narrows it, and no further.
    """
    wanted = [each for each in todo if each.known and each.known.document and each.known.acl != each.item.acl]
    for start in range(0, len(wanted), _REBOUND_AT_ONCE):
        _rebind_some(ports, errand, wanted[start : start + _REBOUND_AT_ONCE])


def settle(ports: Ports, errand: Errand, todo: Todo, fetch: Fetch) -> None:
    """Fetch and take an item, or retire it if it is gone. A refusal is noted with its reason, and raises nothing.

    Raises `Unavailable`: try again. Raises `NotPermitted` when the source's runs may act for nobody any longer.
    """
    item = todo.item
    with reading(ports.engine) as session:
        standing = authority(ports, session, errand.registered)
        found = sources.known_items(session, errand.registered.id, {item.key, item.moved_from or item.key})
    known = found.get(item.key)
    if item.moved_from is not None and (left := found.get(item.moved_from)) and not left.gone:
        retire(ports, errand, standing, left, ended=item.valid_from, reason=f"At its source it is now {item.key}.")
    if item.gone:
        if known is not None and not known.gone:
            retire(ports, errand, standing, known, ended=item.valid_from, reason=GONE, token=_token(item))
        return
    if _was_erased(ports, errand, item):
        return
    try:
        _take(ports, errand, standing, item, known, fetch)
    except Unavailable:
        raise
    except MunimentError as error:
        _refuse(ports, errand, item, known, Problem(kind=error.kind, detail=error.detail))


def _was_erased(ports: Ports, errand: Errand, item: Item) -> bool:
    """Whether the item's document was erased and not readmitted; it is refused without keeping what it is called."""
    with reading(ports.engine) as session:
        mark = erasing.mark_of(errand.collection, errand.uri(item.key), pepper=ports.pepper)
        erasure = erasing.barred_by(session, mark)
    if erasure is None:
        return False
    name = f"erased:{erasure}"
    detail = (
        f"It was erased: see GET /v1/erasures/{erasure}. It is taken in again only once an owner readmits it there."
    )
    with writing(ports.engine) as session:
        runs.note(
            session,
            errand.run,
            key=name,
            token="",
            uri=name,
            outcome=ItemOutcome.REFUSED,
            document=None,
            stated=Metadata(uri=name),
            problem=Problem(kind=Conflict.kind, detail=detail),
        )
    return True


_LIMITED = Problem(
    kind=NotPermitted.kind,
    detail="Whoever registered the source may not read this document, so who else may was only narrowed. "
    "An owner who may read it takes over by registering the source again.",
)
GONE = "It is no longer at its source."


def retire(
    ports: Ports,
    errand: Errand,
    standing: Standing,
    known: KnownItem,
    *,
    ended: Instant | None,
    reason: str,
    token: str = "",
) -> None:
    """Withdraw the document of an item that is gone, or end its validity then, if the source says when that was.

    What has ended is still answered as of a time before it; what is withdrawn is not. Both only narrow, so they are
    done whatever whoever registered the source may read.
    """
    source, by, document = errand.registered.id, standing.principal.subject.ref, known.document
    gone = replace(known, gone=True, run=errand.run, token=token, valid_from=ended or known.valid_from)
    with recording(ports.engine, ports.now()) as (session, at):
        if document is not None:
            stated = (jobs.metadata_of(session, known.job) if known.job else None) or Metadata(uri=known.uri)
            shared = sources.others_with_document(session, source, known.key, document)
            if not shared and (ended is None or not _end(session, document, ended, at=at, by=by)):
                withdrawn(session, document, reason=reason, at=at, by=by)
            runs.note(
                session,
                errand.run,
                key=known.key,
                token=token or f"gone:{known.token}",
                uri=known.uri,
                outcome=ItemOutcome.WITHDRAWN,
                document=sources.document_row_of(session, document),
                stated=stated,
            )
        sources.remember(session, source, gone)
    if document is not None:
        _on_record(ports, standing, "withdraw", errand, [document])


def rederive(
    session: Session,
    registered: Sequence[Registered],
    known: ForeignPrincipals,
    *,
    at: Instant,
    by: Standing,
    handled: frozenset[DocumentId] | None = None,
) -> list[DocumentId]:
    """Let the items of these sources be read by whom their access lists now mean. Within a recording; says which
    documents that moved. Those that are not `handled` (None: all are) are moved as far as that narrows them."""
    moved = []
    for item in sources.items_with_acl(session, [each.id for each in registered]):
        if item.document is None or item.acl is None:
            continue
        if _move(session, item.document, audience(item.acl, known), at=at, by=by, handled=handled):
            moved.append(item.document)
    return moved


def _leave(ports: Ports, errand: Errand, left: Sequence[KnownItem], failed: Sequence[tuple[Item, KnownItem]]) -> None:
    """Count what is as it was; what could not be read then cannot be now, and is told of again."""
    if not left and not failed:
        return
    with writing(ports.engine) as session:
        foreign = _foreign(session, errand)
        for item, known in failed:
            stated = _stated(errand, item, _audience(item.acl, foreign))
            _note(
                session, errand, item, ItemOutcome.REFUSED, stated, document=known.document, problem=known.job_problem
            )
        runs.note_unchanged(session, errand.run, errand.registered.id, [each.key for each in left])
        touched = [*left, *(known for _, known in failed)]
        sources.touch(session, errand.registered.id, [each.key for each in touched], errand.run)


def _rebind_some(ports: Ports, errand: Errand, todo: Sequence[Todo]) -> None:
    with reading(ports.engine) as session:
        standing = authority(ports, session, errand.registered)
    with recording(ports.engine, ports.now()) as (session, at):
        wholes = whole(session, [_document_of(each) for each in todo])
        handled = handled_documents(ports, session, standing, dict.fromkeys(wholes, errand.collection))
        foreign = _foreign(session, errand)
        moved = []
        for each in todo:
            assert each.known is not None
            document, wanted = _document_of(each), _audience(each.item.acl, foreign)
            if _move(session, document, wanted, at=at, by=standing, handled=handled):
                moved.append(document)
            known = replace(each.known, acl=each.item.acl)
            if each.same:
                outcome = ItemOutcome.BOUNDARY_ONLY if document in handled else ItemOutcome.REFUSED
                problem = None if document in handled else _LIMITED
                stated = _stated(errand, each.item, wanted)
                _note(session, errand, each.item, outcome, stated, document=document, problem=problem)
                known = replace(known, run=errand.run)
            sources.remember(session, errand.registered.id, known)
    if moved:
        _on_record(ports, standing, "rebind", errand, moved)


def _take(ports: Ports, errand: Errand, standing: Standing, item: Item, known: KnownItem | None, fetch: Fetch) -> None:
    _check_key(item.key)
    held = known is not None and not known.gone and not known.broken_off and known.document is not None
    same = known is not None and held and known.said == _said(errand, item) and known.digest is not None
    fetched = fetch(item, known.etag if known is not None and same else None)
    if fetched is None:
        assert known is not None
        _unchanged(ports, errand, item, replace(known, token=_token(item), run=errand.run))
        return
    if len(fetched.content) > MAX_DOCUMENT_BYTES:
        raise TooLarge(f"It is larger than {MAX_DOCUMENT_BYTES // 1_000_000} MB, the most that is taken.")
    if not fetched.content.strip():
        raise Unparseable("The document is empty: there is nothing in it to be found.")
    uri = _uri(errand, item, fetched)
    digest = digest_of(fetched.content)
    fresh = replace(_known(errand, item, uri, digest), etag=fetched.etag or item.etag)
    if known is not None and held and (known.digest, known.said, known.uri) == (digest, fresh.said, uri):
        _unchanged(ports, errand, item, replace(fresh, document=known.document, job=known.job))
        return
    with reading(ports.engine) as session:
        metadata = _stated(errand, item, _audience(item.acl, _foreign(session, errand)), fetched)
        metadata = replace(metadata, source=replace(metadata.source, fetched_at=ports.now()))
        admissible(ports, session, standing, errand.collection, metadata)
        holder = sources.holder_of_uri(session, errand.collection, uri)
        double = holder is not None and holder != (errand.registered.id, item.key)
        taken = publishing.document_row(session, collection=errand.collection, uri=uri) if double else None
    if double and taken is not None and holder is not None:
        if holder[0] != errand.registered.id:
            raise Invalid(
                f"Another source of this collection has a document of that name. Give this source the option {PREFIX}."
            )
        _unchanged(ports, errand, item, replace(fresh, document=taken[1]))
        return
    outcome = ItemOutcome.NEW if known is None or known.gone or known.document is None else ItemOutcome.CHANGED

    def along(session: Session, submitted: Submitted) -> None:
        """Who may read it is decided again here: the names of other directories may have got another meaning."""
        readers, denied = _bounds(_audience(item.acl, _foreign(session, errand)))
        stated = replace(metadata, readers=readers, denied=denied)
        job = submitted.job.id if submitted.job else None
        if job is not None and stated != metadata:
            jobs.restate(session, job, stated)
        sources.remember(session, errand.registered.id, replace(fresh, document=submitted.document, job=job))
        if job is None:
            runs.note_unchanged(session, errand.run, errand.registered.id, [item.key])
        else:
            _note(session, errand, item, outcome, stated, document=submitted.document, job=job)

    take(
        ports,
        standing,
        errand.collection,
        fetched.content,
        filename=fetched.filename.replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "")[-255:],
        media_type=fetched.media_type or item.media_type,
        metadata=metadata,
        along=along,
    )


def _unchanged(ports: Ports, errand: Errand, item: Item, known: KnownItem) -> None:
    with writing(ports.engine) as session:
        before = sources.known_items(session, errand.registered.id, [item.key]).get(item.key)
        sources.remember(session, errand.registered.id, known)
        if before is None or before.run != errand.run:
            runs.note_unchanged(session, errand.run, errand.registered.id, [item.key])


def _refuse(ports: Ports, errand: Errand, item: Item, known: KnownItem | None, problem: Problem) -> None:
    """Note why an item was not taken. Its next listing is looked at anew, whatever its etag."""
    with writing(ports.engine) as session:
        stated = _stated(errand, item, _audience(item.acl, _foreign(session, errand)))
        document = known.document if known else None
        _note(session, errand, item, ItemOutcome.REFUSED, stated, document=document, problem=problem)
        if len(item.key.encode(errors="replace")) > _MAX_KEY_BYTES:
            return
        kept = known or replace(_known(errand, item, errand.uri(item.key), None), token="")
        kept = replace(kept, key=_storable(item.key), uri=_storable(kept.uri), token="", run=errand.run)
        sources.remember(session, errand.registered.id, kept)


def _end(session: Session, document: DocumentId, ended: Instant, *, at: Instant, by: PrincipalRef) -> bool:
    """End a document's validity then; False if no part of it is valid before, so that it is to be withdrawn."""
    versions = corpus.versions_of(session, document)
    coming = [
        metadata.valid_from or at for *_, metadata in jobs.unpublished_metadata(session, [document], given_up=False)
    ]
    begins = [*(each.period.valid_from for each in versions[:1]), *coming]
    if not begins or max(begins) >= ended or (versions and versions[0].withdrawn and not coming):
        return False
    if versions and versions[0].period.valid_to <= ended and not coming:
        return True
    amended(session, document, Amendment(valid_to=ended), at=at, by=by)
    return True


def whole(session: Session, documents: Sequence[DocumentId]) -> list[DocumentId]:
    """These documents, and what came with each that is a mail."""
    parts = publishing.parts_of_several(session, documents)
    return [one for each in documents for one in (each, *parts.get(each, ()))]


_Stated = tuple[frozenset[PrincipalRef], frozenset[PrincipalRef]]
"""Readers and denied."""


def _move(
    session: Session,
    document: DocumentId,
    wanted: Audience | None,
    *,
    at: Instant,
    by: Standing,
    handled: frozenset[DocumentId] | None,
) -> bool:
    """Move the boundary of every version of a document, and of what is coming, to an audience; whether it moved.

    One that is not `handled` (None: all are) is moved no further than what narrows it. So is what came with a mail and
    was given other readers than the mail since: no list in another directory opens what an owner set apart here.
    """
    stated = _stated_of(session, document)
    moved = False
    for each in whole(session, [document]):
        apart = each != document and not _stated_of(session, each) <= stated
        limited = apart or (handled is not None and each not in handled)
        moved |= _move_one(session, each, wanted, at=at, by=by.principal.subject.ref, limited=limited)
    return moved


def _move_one(
    session: Session,
    document: DocumentId,
    wanted: Audience | None,
    *,
    at: Instant,
    by: PrincipalRef,
    limited: bool,
) -> bool:
    stated = _stated_of(session, document)
    if limited:
        if wanted is None:
            return False
        home = registry.collection(session, publishing.collection_of(session, document) or "")
        within = (home.default_readers if home else None) or OWNERS_ALONE
        for readers, denied in stated:
            wanted = wanted.narrowed_to(Audience(readers=readers or within, denied=denied))
    readers, denied = _bounds(wanted)
    if all(each == (readers, denied) for each in stated):
        return False
    parts = frozenset(publishing.parts_of(session, document))
    amended(session, document, Amendment(readers=readers, denied=denied), at=at, by=by, apart=parts)
    return True


def _stated_of(session: Session, document: DocumentId) -> set[_Stated]:
    """By every version of a document, and by what is coming."""
    boundaries = [each.boundary for each in corpus.versions_of(session, document)]
    coming = [each for *_, each in jobs.unpublished_metadata(session, [document], given_up=True)]
    return {(each.readers, each.denied) for each in boundaries} | {(each.readers, each.denied) for each in coming}


def _stands(errand: Errand, item: Item, known: KnownItem | None) -> bool:
    """Whether an item is what is remembered, so that there is nothing to fetch; who may read it is another matter."""
    if known is None or known.broken_off or known.token != _token(item):
        return False
    if item.gone:
        return known.gone
    told = item.etag is not None or (item.valid_from is not None and not errand.lists_all)
    return told and not known.gone and known.said == _said(errand, item)


def _older(errand: Errand, item: Item, known: KnownItem) -> bool:
    """Whether a source that tells what happened tells again what lies before what is remembered."""
    return (
        not errand.lists_all
        and item.valid_from is not None
        and known.valid_from is not None
        and item.valid_from < known.valid_from
    )


def _token(item: Item) -> str:
    """Names the state of an item as it is listed."""
    return _hashed([item.key, item.etag, item.valid_from, item.gone])


def _said(errand: Errand, item: Item) -> str:
    """Of what a listing says of an item beside its content and access list."""
    label = item.label
    return _hashed(
        [
            errand.uri(item.key),
            item.title,
            [label.level.word, sorted(label.categories)] if label else None,
            item.media_type,
            {name: list(values) for name, values in sorted(item.attributes.items())},
            item.valid_from,
        ]
    )


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _known(errand: Errand, item: Item, uri: str, digest: Digest | None) -> KnownItem:
    return KnownItem(
        key=item.key,
        uri=uri,
        token=_token(item),
        etag=item.etag,
        digest=digest,
        said=_said(errand, item),
        valid_from=item.valid_from,
        acl=item.acl,
        document=None,
        run=errand.run,
        gone=False,
    )


def _stated(errand: Errand, item: Item, who: Audience | None, fetched: Fetched | None = None) -> Metadata:
    """What is said of an item as a document."""
    title = (fetched.title if fetched else None) or item.title
    readers, denied = _bounds(who)
    return Metadata(
        uri=_uri(errand, item, fetched),
        title=_storable(title)[:_MAX_TITLE_CHARS] if title else None,
        label=item.label,
        readers=readers,
        denied=denied,
        valid_from=item.valid_from,
        source=Origin(
            connector=errand.registered.settings.connector,
            etag=(fetched.etag if fetched else None) or item.etag,
            author=(fetched.author if fetched else None) or item.author,
            location=errand.registered.settings.location or None,
            item=_storable(item.key),
        ),
        attributes=item.attributes,
    )


def _uri(errand: Errand, item: Item, fetched: Fetched | None) -> str:
    if fetched is not None and fetched.uri is not None:
        _check_key(fetched.uri)
        return errand.uri(fetched.uri)
    return _storable(errand.uri(item.key))


def _audience(acl: Acl | None, known: ForeignPrincipals) -> Audience | None:
    """None: the source keeps no access list, and the collection's readers hold."""
    return audience(acl, known) if acl is not None else None


def _bounds(who: Audience | None) -> tuple[frozenset[PrincipalRef], frozenset[PrincipalRef]]:
    """Readers and denied, as a boundary states them."""
    return (who.readers, who.denied) if who is not None else (frozenset(), frozenset())


def _foreign(session: Session, errand: Errand) -> ForeignPrincipals:
    return sources.foreign_principals(session, errand.registered.settings.namespace)


def _document_of(todo: Todo) -> DocumentId:
    assert todo.known is not None
    assert todo.known.document is not None
    return todo.known.document


def _note(
    session: Session,
    errand: Errand,
    item: Item,
    outcome: ItemOutcome,
    stated: Metadata,
    *,
    document: DocumentId | None,
    job: JobId | None = None,
    problem: Problem | None = None,
) -> None:
    runs.note(
        session,
        errand.run,
        key=_storable(item.key)[:_MAX_KEY_BYTES],
        token=_token(item),
        uri=stated.uri[:_MAX_KEY_BYTES],
        outcome=outcome,
        document=sources.document_row_of(session, document),
        stated=stated,
        job=job,
        problem=problem,
    )


def _check_key(key: str) -> None:
    """Raises `Invalid` for a name that no document can have."""
    if not key or key != _storable(key):
        raise Invalid("Its name holds characters that no document's may.")
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise Invalid(f"Its name is longer than {_MAX_KEY_BYTES} bytes, the most that a document's may have.")


def _storable(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _on_record(ports: Ports, standing: Standing, what: str, errand: Errand, documents: Sequence[DocumentId]) -> None:
    record(
        ports,
        standing.principal,
        TraceKind.CHANGE,
        outcome="changed",
        request={"what": what, "run": errand.run, "documents": list(documents)},
    )
