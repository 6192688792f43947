"""Reading back: documents, versions, text, originals and citations, each through the one gate.

An instant that is asked for says which versions there were and which was in force; who may see them is decided today.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from sqlalchemy.orm import Session

from app.domain.access import Action, BoundaryId, Collection, Obligation, PolicyId, Reach
from app.domain.citation import CitationId
from app.domain.corpus import Digest, DocumentId, Element, Lifecycle, Span, Version, VersionId, lifecycle, text_digest
from app.domain.errors import NotFound, Unavailable
from app.domain.instants import FOREVER, NOW, Instant, Moment
from app.domain.redaction import Excerpt, Redaction, redacted, redactions_within
from app.domain.trace import TraceKind
from app.operations import authorize, discharge
from app.operations.attest import record_with
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import corpus, succession, traces
from app.store.database import reading, writing

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
    superseded_by: DocumentId | None = None
    """The document that takes this one's place, if the principal may see it."""


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
    quote_digest: Digest
    """Of the exact quote, whether or not all of it is shown."""
    quote: str
    """What is shown of it."""
    before: str
    following: str
    elements: tuple[Element, ...]
    """Those that the quote lies in."""
    obligations: tuple[Obligation, ...]
    redactions: tuple[Redaction, ...]
    """Of the quote and of what is around it."""


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
    at: Moment = NOW,
) -> Page:
    """Documents by (collection, uri), each by its newest version that may be described to the principal.

    Without `state`, what is in force at that moment; owners find their embargoed, expired and withdrawn ones by asking
    for that state.
    """
    wanted = state or Lifecycle.CURRENT
    found: list[Shown] = []
    place = after
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.DESCRIBE, purpose, at)
        while view.reach and len(found) <= limit:
            some = corpus.latest_versions(
                session,
                boundaries=view.reach.boundaries,
                collection=collection,
                containing=containing,
                after=place,
                limit=limit + 1,
                valid_at=view.reach.valid_at,
                known_at=at.known_at,
            )
            if not some:
                break
            for _, several in groupby(some, key=lambda version: version.document.id):
                open_to = (each for each in view.visible(several) if each.lifecycle is wanted)
                shown = next((each for each in open_to if view.is_named(each, containing)), None)
                if shown is not None:
                    found.append(shown)
            place = _place(some[-1])
        page = tuple(view.naming_successors(session, found[:limit]))
    return Page(documents=page, after=_place(page[-1].version) if len(found) > limit else None)


def versions(
    ports: Ports, credentials: Credentials, document: DocumentId, *, purpose: str | None, at: Moment = NOW
) -> list[Shown]:
    """The versions that may be described to the principal, newest first; raises `NotFound` when there are none.

    At a moment that is asked for: those that were in force then or had been superseded by then.
    """
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.DESCRIBE, purpose, at)
        found = view.naming_successors(session, view.of_document(session, document))
    if not found:
        raise NotFound(ABSENT)
    return found


def document(ports: Ports, credentials: Credentials, id: DocumentId, *, purpose: str | None, at: Moment = NOW) -> Shown:
    """A document by the version in force; at no stated moment, and without one in force, by its newest.

    Raises `NotFound` when nothing was in force or known then that may be described.
    """
    shown = versions(ports, credentials, id, purpose=purpose, at=at)
    in_force = [each for each in shown if each.lifecycle is Lifecycle.CURRENT]
    if at and not in_force:
        raise NotFound(ABSENT)
    return (in_force or shown)[0]


def version(
    ports: Ports,
    credentials: Credentials,
    document: DocumentId,
    number: int,
    *,
    purpose: str | None,
    at: Moment = NOW,
) -> Shown:
    for shown in versions(ports, credentials, document, purpose=purpose, at=at):
        if shown.version.number == number:
            return shown
    raise NotFound(ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which version of a document is meant: by number, or as the one in force; at a moment."""

    number: int | None = None
    at: Moment = NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A version with its canonical text and elements."""

    shown: Shown
    text: str
    elements: tuple[Element, ...]


def texts(
    ports: Ports,
    credentials: Credentials,
    document: DocumentId,
    places: Sequence[Place],
    *,
    purpose: str | None,
    what: str = "text",
) -> list[Whole]:
    """Canonical texts and their elements, in order, each on record as read; `NotFound` unless all may be read."""
    read: list[tuple[_View, Whole]] = []
    with reading(ports.engine) as session:
        for place in places:
            view = _View.of(ports, session, credentials, Action.READ, purpose, place.at)
            shown = view.at_place(session, document, place.number)
            discharge.require_whole(view.owed(shown))
            elements = corpus.elements_of(session, shown.version.id)
            whole = Whole(shown=shown, text=_intact_text(session, shown.version), elements=tuple(elements))
            read.append((view, whole))
    for view, whole in read:
        _on_record(ports, view, whole.shown, what, purpose)
    return [whole for _, whole in read]


def original(
    ports: Ports,
    credentials: Credentials,
    document: DocumentId,
    number: int,
    *,
    purpose: str | None,
    at: Moment = NOW,
) -> Original:
    """The original bytes, on record as read."""
    with reading(ports.engine) as session:
        view = _View.of(ports, session, credentials, Action.READ, purpose, at)
        shown = view.at_place(session, document, number)
        discharge.require_whole(view.owed(shown))
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
        shown = view.naming_successors(session, [view.one(session, cited.document, cited.version)])[0]
        content = _intact_text(session, shown.version)
        elements = corpus.elements_of(session, shown.version.id)
    span = cited.span
    quote = span.of(content)
    if text_digest(quote) != cited.quote_digest:
        raise Unavailable("The cited text is no longer what was published, so it is not shown. Tell its owner.")
    _on_record(ports, view, shown, id, purpose)
    owed = view.owed(shown)
    around = 0 if discharge.quote_alone(owed) else AROUND_CHARS
    before = Span(start=max(0, span.start - around), end=span.start)
    following = Span(start=span.end, end=min(len(content), span.end + around))
    categories = discharge.categories_redacted(owed)
    hidden = _hidden(ports, categories, content, Span(start=before.start, end=following.end))

    def shown_of(part: Span) -> str:
        return redacted(Excerpt(text=part.of(content), start=part.start), redactions_within(part, hidden))

    return Reopened(
        id=id,
        shown=shown,
        span=span,
        quote_digest=cited.quote_digest,
        quote=shown_of(span),
        before=shown_of(before),
        following=shown_of(following),
        elements=tuple(
            replace(each, section=tuple(discharge.without(ports, categories, line) for line in each.section))
            for each in elements
            if each.span.start < span.end and span.start < each.span.end
        ),
        obligations=owed,
        redactions=hidden,
    )


def _hidden(ports: Ports, categories: frozenset[str], content: str, within: Span) -> tuple[Redaction, ...]:
    """What is not shown of a part of a text."""
    if not categories:
        return ()
    start = max(0, within.start - discharge.AROUND_CHARS)
    excerpt = Excerpt(text=content[start : within.end + discharge.AROUND_CHARS], start=start)
    return discharge.found(ports, categories, excerpt, within=within)


def visible_versions(
    ports: Ports, session: Session, standing: Standing, document: DocumentId, *, purpose: str | None = None
) -> list[Shown]:
    """The versions of a document that may be described to this principal for this purpose; newest first."""
    return _View.under(ports, session, standing, Action.DESCRIBE, purpose).of_document(session, document)


def described(ports: Ports, session: Session, standing: Standing, several: Iterable[Version]) -> list[Version]:
    """The same versions, which the principal handles, as they are described to it: without what an obligation blacks
    out, and where it knows of them for a purpose alone, without all that could be."""
    view = _View.under(ports, session, standing, Action.DESCRIBE, None)
    return [
        view.without_what_is_redacted(each)
        if each.boundary_id in view.reach.boundaries
        else _blacked_out(ports, frozenset(ports.redactors), each)
        for each in several
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is stated of a question beside who asks, what and of what."""

    purpose: str | None = None
    client: str | None = None
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Whether a document is shown to one principal by a version that another may know of; and why, for the record."""

    shown: bool
    collection: str
    obligations: tuple[str, ...]
    """What showing it obliges to."""
    policies: tuple[PolicyId, ...]
    """Those that determined it for the one."""


def shared(
    ports: Ports,
    session: Session,
    standing: Standing,
    witness: Standing,
    action: Action,
    several: Sequence[Version],
    stated: Circumstances,
) -> dict[DocumentId, Shared]:
    """Every document among these versions, as one principal may see it and the witness may know of it. To read is to
    read what is in force."""
    view = _View.over(ports, session, several, standing, action, stated)
    known = _View.over(ports, session, several, witness, Action.DESCRIBE, stated)
    shown = frozenset(each.id for each in _shown_in_both(view, known, several))
    return {
        id: _shared(view, [each for each in versions if each.id in shown] or versions, shown)
        for id, versions in _by_document(several).items()
    }


def _by_document(several: Iterable[Version]) -> dict[DocumentId, list[Version]]:
    found: dict[DocumentId, list[Version]] = {}
    for each in several:
        found.setdefault(each.document.id, []).append(each)
    return found


def _shared(view: "_View", versions: Sequence[Version], shown: frozenset[VersionId]) -> Shared:
    rulings = [found for each in versions if (found := view.reach.grounds.rulings.get(each.boundary_id))]
    reading = view.reach.grounds.question.action is Action.READ
    return Shared(
        shown=versions[0].id in shown,
        collection=versions[0].document.collection,
        obligations=tuple(dict.fromkeys(one for ruling in rulings for one in ruling.obligations if reading)),
        policies=tuple(dict.fromkeys(one for ruling in rulings for one in ruling.policies)),
    )


def shared_page(
    ports: Ports,
    session: Session,
    standing: Standing,
    witness: Standing,
    action: Action,
    stated: Circumstances,
    *,
    after: tuple[str, str] | None,
    limit: int,
) -> tuple[list[DocumentId], tuple[str, str] | None]:
    """A page of all documents that are `shared`, by (collection, uri), and the place that continues it."""
    view = _View.under(ports, session, standing, action, stated.purpose, stated=stated)
    known = _View.under(ports, session, witness, Action.DESCRIBE, stated.purpose, stated=stated)
    both = (view.reach & known.reach.boundaries).boundaries
    found: dict[DocumentId, tuple[str, str]] = {}
    place = after
    while both and len(found) <= limit:
        some = corpus.latest_versions(
            session,
            boundaries=both,
            collection=None,
            containing=None,
            after=place,
            limit=limit + 1,
            valid_at=view.reach.valid_at,
        )
        if not some:
            break
        found |= {each.document.id: _place(each) for each in _shown_in_both(view, known, some)}
        place = _place(some[-1])
    page = [*found][:limit]
    return page, found[page[-1]] if len(found) > limit else None


def _shown_in_both(view: "_View", known: "_View", several: Sequence[Version]) -> list[Version]:
    reading = view.reach.grounds.question.action is Action.READ
    known_of = {each.version.id for each in known.visible(several)}
    return [
        each.version
        for each in view.visible(several)
        if each.version.id in known_of and (not reading or each.lifecycle is Lifecycle.CURRENT)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What one principal may see for one action, and the rule of what is shown of it."""

    ports: Ports
    standing: Standing
    reach: Reach
    collections: Mapping[str, Collection]
    at: Moment

    @classmethod
    def of(
        cls,
        ports: Ports,
        session: Session,
        credentials: Credentials,
        action: Action,
        purpose: str | None,
        at: Moment = NOW,
    ) -> "_View":
        return cls.under(ports, session, identify(ports, session, credentials), action, purpose, at)

    @classmethod
    def under(
        cls,
        ports: Ports,
        session: Session,
        standing: Standing,
        action: Action,
        purpose: str | None,
        at: Moment = NOW,
        *,
        stated: Circumstances = Circumstances(),
    ) -> "_View":
        """What lies ahead of now is under embargo: of that, what the principal curates."""
        reach = authorize.reach(
            ports,
            session,
            standing,
            action=action,
            purpose=purpose,
            client=stated.client,
            destination=stated.destination,
            valid_at=at.as_of,
            known_at=at.known_at,
        )
        return cls(
            ports=ports,
            standing=standing,
            reach=reach & reach.curated if reach.valid_at > standing.now else reach,
            collections=authorize.register(ports, session, standing).collections,
            at=at,
        )

    @classmethod
    def over(
        cls,
        ports: Ports,
        session: Session,
        several: Iterable[Version],
        standing: Standing,
        action: Action,
        stated: Circumstances,
    ) -> "_View":
        """As today, of these versions alone."""
        reach = authorize.reach_among(
            ports,
            session,
            standing,
            {each.boundary_id: each.boundary for each in several},
            action=action,
            purpose=stated.purpose,
            client=stated.client,
            destination=stated.destination,
        )
        collections = authorize.register(ports, session, standing).collections
        return cls(ports=ports, standing=standing, reach=reach, collections=collections, at=NOW)

    def visible(self, several: Iterable[Version]) -> Iterator[Shown]:
        """Those within the reach, and out of force only to those who curate them.

        INVARIANT: embargo is judged by the clock and by what we hold today. What was known before, or what is asked
        about the past, does not pass it.
        """
        for each in several:
            stands = lifecycle(each, now=self.reach.valid_at)
            if each.boundary_id not in self.reach.boundaries:
                continue
            curated = each.boundary_id in self.reach.curated
            if curated or (stands.open_to_readers and each.begins <= self.standing.now):
                known = curated or each.latest or each.period.valid_to <= self.standing.now
                yield Shown(
                    version=self.without_what_is_redacted(each),
                    lifecycle=stands,
                    collection=self.collections[each.document.collection],
                    ends=each.period.valid_to if known else FOREVER,
                )

    def of_document(self, session: Session, document: DocumentId) -> list[Shown]:
        """The versions of a document that may be shown, newest first."""
        return list(
            self.visible(corpus.versions_of(session, document, valid_at=self.reach.valid_at, known_at=self.at.known_at))
        )

    def naming_successors(self, session: Session, several: Sequence[Shown]) -> list[Shown]:
        """The same, each with the document that takes its place, if that may be shown today."""
        found = succession.successors(session, {each.version.document.id for each in several})
        today = replace(self, at=NOW, reach=self.reach.at(self.standing.now)) if found else self
        known = {each for each in {one.successor for one in found.values()} if today.of_document(session, each)}
        return [
            replace(each, superseded_by=one.successor)
            if (one := found.get(each.version.document.id)) and one.successor in known
            else each
            for each in several
        ]

    def reads_whole(self, boundary: BoundaryId) -> bool:
        """Whether versions in a boundary may be read from end to end."""
        return discharge.whole(authorize.obligations_on(self.reach, [boundary]))

    def without_what_is_redacted(self, version: Version) -> Version:
        """A version of the reach, as it is shown."""
        categories = discharge.categories_redacted(authorize.obligations_on(self.reach, [version.boundary_id]))
        return _blacked_out(self.ports, categories, version)

    def is_named(self, shown: Shown, containing: str | None) -> bool:
        """Whether this is still part of the title as it is shown, or of the uri, where something is blacked out."""
        if not containing or not discharge.categories_redacted(self.owed(shown)):
            return True
        part, version = containing.lower(), shown.version
        return part in version.title.lower() or part in version.document.uri.lower()

    def owed(self, shown: Shown) -> tuple[Obligation, ...]:
        """What must be done when content of a version is shown."""
        return authorize.obligations_on(self.reach, [shown.version.boundary_id])

    def at_place(self, session: Session, document: DocumentId, number: int | None) -> Shown:
        """The version of that number, or the one in force; raises `NotFound` if it is absent or may not be shown."""
        for shown in self.of_document(session, document):
            if shown.version.number == number or (number is None and shown.lifecycle is Lifecycle.CURRENT):
                return shown
        raise NotFound(ABSENT)

    def one(self, session: Session, document: DocumentId, id: VersionId) -> Shown:
        """A version; raises `NotFound` if it is absent or may not be shown."""
        for shown in self.of_document(session, document):
            if id == shown.version.id:
                return shown
        raise NotFound(ABSENT)


def _blacked_out(ports: Ports, categories: frozenset[str], version: Version) -> Version:
    """A title may be the first line of a text, and attributes the header of a mail."""
    if not categories:
        return version
    title = discharge.without(ports, categories, version.title)
    attributes = {
        name: tuple(discharge.without(ports, categories, each) for each in several)
        for name, several in version.attributes.items()
    }
    return replace(version, title=title, attributes=attributes)


def _place(version: Version) -> tuple[str, str]:
    return version.document.collection, version.document.uri


def _intact_text(session: Session, version: Version) -> str:
    content = corpus.text_of(session, version.text_digest)
    if text_digest(content) != version.text_digest:
        raise Unavailable("The stored text is no longer what was published, so it is not shown. Tell its owner.")
    return content


def _on_record(ports: Ports, view: _View, shown: Shown, what: str, purpose: str | None) -> None:
    principal = view.standing.principal
    opening = [each.id for each in view.standing.grants if shown.version.document.collection in each.collections]
    request = {
        **({"grants": opening} if opening else {}),
        "what": what,
        "document": shown.version.document.id,
        "version": shown.version.number,
        "digest": shown.version.digest,
        "purpose": purpose,
        "as_of": view.at.as_of,
        "known_at": view.at.known_at,
    }
    with writing(ports.engine) as session:
        trace = record_with(session, ports, principal, TraceKind.READ, outcome="answered", request=request)
        discharge.notify(ports, session, view.owed(shown), principal, trace, view.standing.now)
