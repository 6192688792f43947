"""Reading back: documents, versions, text, originals and citations, each through the one gate, as of now."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy.orm import Session

from app.domain.access import Action, BoundaryId, Collection, Reach
from app.domain.citation import CitationId
from app.domain.corpus import DocumentId, Element, Lifecycle, Span, Version, VersionId, lifecycle, text_digest
from app.domain.errors import NotFound, Unavailable
from app.domain.instants import FOREVER, Instant
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import corpus, traces
from app.store.database import reading

ABSENT = "There is nothing here by that id that you may read. If you expected it, ask the owner of its collection."
"""What absent and hidden both are told."""

AROUND_CHARS = 1000
"""How much of the text before and after a citation is shown with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version that may be shown, with how it stands now and its collection as it is today."""

    version: Version
    lifecycle: Lifecycle
    collection: Collection
    ends: Instant
    """When the version ends, as the principal may know it: a successor under embargo does not show through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of documents, each by its newest version that may be shown; `after` continues it."""

    documents: tuple[Shown, ...]
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """A citation opened again: the quote, what is around it, and how its version stands now."""

    id: CitationId
    shown: Shown
    span: Span
    quote: str
    before: str
    following: str
    elements: tuple[Element, ...]
    """Those that the quote lies in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    content: bytes
    media_type: str
    filename: str


def collections(ports: Ports, credentials: Credentials) -> list[Collection]:
    """The collections that the principal may discover, curate, or read something in; by name."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        known = authorize.register(ports, session, standing).collections
        names = (
            authorize.discoverable_collections(ports, session, standing)
            | authorize.curated_collections(ports, session, standing)
            | authorize.readable_collections(ports, session, standing)
        )
    return [known[name] for name in sorted(names)]


def documents(
    ports: Ports,
    credentials: Credentials,
    *,
    purpose: str | None,
    collection: str | None,
    state: Lifecycle | None,
    containing: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Page:
    """Documents by (collection, uri), each by its newest version that may be described to the principal.

    Without `state`, what is in force; owners find their embargoed, expired and withdrawn ones by asking for that state.
    """
    wanted = state or Lifecycle.CURRENT
    found: list[Shown] = []
    place = after
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.DESCRIBE, purpose)
        while view.reach and len(found) <= limit:
            some = corpus.latest_versions(
                session,
                boundaries=view.reach.boundaries,
                collection=collection,
                containing=containing,
                after=place,
                limit=limit + 1,
            )
            if not some:
                break
            for _, several in groupby(some, key=lambda version: version.document.id):
                shown = next((each for each in view.visible(several) if each.lifecycle is wanted), None)
                if shown is not None:
                    found.append(shown)
            place = _place(some[-1])
    page = tuple(found[:limit])
    return Page(documents=page, after=_place(page[-1].version) if len(found) > limit else None)


def versions(ports: Ports, credentials: Credentials, document: DocumentId, *, purpose: str | None) -> list[Shown]:
    """The versions that may be described to the principal, newest first; raises `NotFound` when there are none."""
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.DESCRIBE, purpose)
        found = list(view.visible(corpus.versions_of(session, document)))
    if not found:
        raise NotFound(ABSENT)
    return found


def version(ports: Ports, credentials: Credentials, document: DocumentId, number: int, *, purpose: str | None) -> Shown:
    for shown in versions(ports, credentials, document, purpose=purpose):
        if shown.version.number == number:
            return shown
    raise NotFound(ABSENT)


def text(
    ports: Ports, credentials: Credentials, document: DocumentId, number: int, *, purpose: str | None
) -> tuple[Shown, str, list[Element]]:
    """Canonical text and its elements, on record as read."""
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.READ, purpose)
        shown = view.one(session, document, number)
        content = _intact_text(session, shown.version)
        elements = corpus.elements_of(session, shown.version.id)
    _on_record(ports, view, shown, "text", purpose)
    return shown, content, elements


def original(
    ports: Ports, credentials: Credentials, document: DocumentId, number: int, *, purpose: str | None
) -> Original:
    """The original bytes, on record as read."""
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.READ, purpose)
        shown = view.one(session, document, number)
    content = ports.blobs.get(shown.version.digest)
    _on_record(ports, view, shown, "content", purpose)
    name = shown.version.document.uri.rsplit("/", 1)[-1]
    return Original(content=content, media_type=shown.version.media_type, filename=name)


def citation(ports: Ports, credentials: Credentials, id: CitationId, *, purpose: str | None) -> Reopened:
    """A citation as it stands now, authorized again; raises `NotFound` for one that is absent, hidden or closed."""
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.READ, purpose)
        cited = traces.citation(session, id)
        if cited is None:
            raise NotFound(ABSENT)
        shown = view.one(session, cited.document, None, cited.version)
        content = _intact_text(session, shown.version)
        elements = corpus.elements_of(session, shown.version.id)
    span = cited.span
    quote = span.of(content)
    if text_digest(quote) != cited.quote_digest:
        raise Unavailable("The cited text is no longer what was published, so it is not shown. Tell its owner.")
    _on_record(ports, view, shown, id, purpose)
    return Reopened(
        id=id,
        shown=shown,
        span=span,
        quote=quote,
        before=content[max(0, span.start - AROUND_CHARS) : span.start],
        following=content[span.end : span.end + AROUND_CHARS],
        elements=tuple(e for e in elements if e.span.start < span.end and span.start < e.span.end),
    )


def visible_versions(ports: Ports, session: Session, standing: Standing, document: DocumentId) -> list[Shown]:
    """The versions of a document that may be described to this principal, stating no purpose; newest first."""
    view = _View.under(ports, session, standing, Action.DESCRIBE, None)
    return list(view.visible(corpus.versions_of(session, document)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What one principal may see for one action, and the rule of what is shown of it."""

    standing: Standing
    reach: Reach
    collections: Mapping[str, Collection]

    @classmethod
    def of(
        cls, ports: Ports, session: Session, credentials: Credentials, action: Action, purpose: str | None
    ) -> "_View":
        return cls.under(ports, session, identify(ports, session, credentials), action, purpose)

    @classmethod
    def under(cls, ports: Ports, session: Session, standing: Standing, action: Action, purpose: str | None) -> "_View":
        return cls(
            standing=standing,
            reach=authorize.reach(ports, session, standing, action=action, purpose=purpose),
            collections=authorize.register(ports, session, standing).collections,
        )

    def visible(self, several: Iterable[Version]) -> Iterator[Shown]:
        """Those within the reach, and out of force only to those who curate them."""
        for each in several:
            stands = lifecycle(each, now=self.standing.now)
            if each.boundary_id not in self.reach.boundaries or not self._discharges(each.boundary_id):
                continue
            if stands.open_to_readers or each.boundary_id in self.reach.curated:
                curated = each.boundary_id in self.reach.curated
                known = curated or not each.superseded or each.period.valid_to <= self.standing.now
                yield Shown(
                    version=each,
                    lifecycle=stands,
                    collection=self.collections[each.document.collection],
                    ends=each.period.valid_to if known else FOREVER,
                )

    def _discharges(self, boundary: BoundaryId) -> bool:
        """Whether showing a whole version does what its permit obliges to; what a list shows of it does."""
        obliged = {each.id for each in authorize.obligations_on(self.reach, [boundary])}
        return self.reach.grounds.question.action is not Action.READ or obliged <= authorize.WHOLE_TEXT_OBLIGATIONS

    def one(self, session: Session, document: DocumentId, number: int | None, id: VersionId | None = None) -> Shown:
        """The version of that number or id; raises `NotFound` if it is absent or may not be shown."""
        for shown in self.visible(corpus.versions_of(session, document)):
            if number == shown.version.number or id == shown.version.id:
                return shown
        raise NotFound(ABSENT)


def _place(version: Version) -> tuple[str, str]:
    return version.document.collection, version.document.uri


def _intact_text(session: Session, version: Version) -> str:
    content = corpus.text_of(session, version.text_digest)
    if text_digest(content) != version.text_digest:
        raise Unavailable("The stored text is no longer what was published, so it is not shown. Tell its owner.")
    return content


def _on_record(ports: Ports, view: _View, shown: Shown, what: str, purpose: str | None) -> None:
    record(
        ports,
        view.standing.principal,
        TraceKind.READ,
        outcome="answered",
        request={
            "what": what,
            "document": shown.version.document.id,
            "version": shown.version.number,
            "digest": shown.version.digest,
            "purpose": purpose,
        },
    )
