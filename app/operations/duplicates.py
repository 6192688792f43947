"""Documents that live in several places: near-duplicates of what is in force, as far as the principal may read both."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import Action
from app.domain.corpus import Digest, DocumentId
from app.domain.errors import NotFound
from app.domain.similarity import ALIKE, MAYBE_ALIKE, Shingle, estimated, jaccard, shingles, words
from app.operations.identify import Credentials, identify
from app.operations.read import ABSENT, Shown, _View
from app.operations.submit import curated
from app.ports import Ports
from app.store import corpus, duplicates
from app.store.database import reading
from app.store.duplicates import SignedVersion, Within

MAX_TWINS = 50
"""Shown of one document, the most alike first."""

MAX_COMPARED_CHARS = 4_000_000
"""Of texts that one request compares word by word, about half a second; the rest stays estimated."""

_MOST_AT_ONCE = 400
"""Documents looked at in one query while few have duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A document in force that says nearly the same as another."""

    shown: Shown
    estimated: float
    exact: float | None
    """None where the texts were too long to be compared within one request."""
    identical: bool
    """The canonical texts are one, sign for sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """A document and its near-duplicates, the most alike first; ties by collection and uri."""

    shown: Shown
    others: tuple[Twin, ...]
    more: bool
    """There are more than `MAX_TWINS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Like:
    """A version that is alike, before it is shown."""

    signed: SignedVersion
    estimated: float
    exact: float | None

    @property
    def order(self) -> tuple[float, str, str]:
        """The most alike first, then by collection and uri."""
        return -(self.estimated if self.exact is None else self.exact), self.signed.collection, self.signed.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Documents that have near-duplicates, by uri; `after` continues it."""

    documents: tuple[Twins, ...]
    after: str | None


def of_collection(
    ports: Ports, credentials: Credentials, name: str, *, purpose: str | None, after: str | None, limit: int
) -> Page:
    """The documents of a collection that live in others too, to its owners. Raises what `curated` does.

    INVARIANT: both sides lie in boundaries that the principal may read whole, now and for this purpose; what is hidden
    takes no place, is not counted, and moves no page's end.
    """
    found: list[Twins] = []
    with reading(ports.engine) as session:
        curated(ports, session, identify(ports, session, credentials), name)
        comparing = _Comparing.of(ports, session, credentials, purpose)
        place, at_once = after, limit
        while len(found) <= limit:
            some = duplicates.signed_in_collection(session, comparing.within, name, after=place, limit=at_once)
            for each in comparing.twins(some, outside=name):
                found.append(each)
                if len(found) > limit:
                    break
            if len(some) < at_once:
                break
            place, at_once = some[-1].uri, min(at_once * 2, _MOST_AT_ONCE)
    page = tuple(found[:limit])
    return Page(documents=page, after=page[-1].shown.version.document.uri if len(found) > limit else None)


def of_document(ports: Ports, credentials: Credentials, document: DocumentId, *, purpose: str | None) -> Twins:
    """The near-duplicates of a document in force, wherever they are.

    Raises `NotFound` unless the principal may read a version of it; one that is not in force has no duplicates.
    """
    with reading(ports.engine) as session:
        comparing = _Comparing.of(ports, session, credentials, purpose)
        shown = next(comparing.view.visible(corpus.versions_of(session, document)), None)
        if shown is None:
            raise NotFound(ABSENT)
        signed = duplicates.signed_document(session, comparing.within, document)
        found = comparing.twins([signed] if signed else [], outside=None)
        return next(found, Twins(shown=shown, others=(), more=False))


class _Comparing:
    """What one principal may read whole, and how much comparing is left to one request."""

    def __init__(self, session: Session, view: _View) -> None:
        self.view = view
        readable = frozenset(id for id in view.reach.boundaries if view.reads_whole(id))
        self.within = Within(boundaries=readable, now=view.standing.now)
        self._session = session
        self._chars_left = MAX_COMPARED_CHARS

    @classmethod
    def of(cls, ports: Ports, session: Session, credentials: Credentials, purpose: str | None) -> "_Comparing":
        return cls(session, _View.of(ports, session, credentials, Action.READ, purpose))

    def twins(self, some: Sequence[SignedVersion], *, outside: str | None) -> Iterator[Twins]:
        """Those of `some` that have near-duplicates, each with them."""
        met = duplicates.met(self._session, self.within, some, outside=outside)
        for each in some:
            alike = self._alike(each, met[each.version])
            if not alike:
                continue
            versions = corpus.versions_by_id(self._session, [each.version, *(like.signed.version for like in alike)])
            shown = {one.version.id: one for one in self.view.visible(versions.values())}
            yield Twins(
                shown=shown[each.version],
                others=tuple(
                    Twin(
                        shown=shown[like.signed.version],
                        estimated=like.estimated,
                        exact=like.exact,
                        identical=like.signed.text == each.text,
                    )
                    for like in alike[:MAX_TWINS]
                ),
                more=len(alike) > MAX_TWINS,
            )

    def _alike(self, here: SignedVersion, met: Iterable[SignedVersion]) -> list["_Like"]:
        """Of those that were met the ones that are alike, the most alike first; one more than is shown."""
        guessed = ((estimated(here.signature, each.signature), each) for each in met)
        nearest = sorted(
            ((guess, each) for guess, each in guessed if guess >= MAYBE_ALIKE),
            key=lambda pair: (-pair[0], pair[1].collection, pair[1].uri),
        )
        kept: list[_Like] = []
        own: frozenset[Shingle] | None = None
        for guess, each in nearest:
            exact: float | None = 1.0 if each.text == here.text else None
            if exact is None:
                own = self._shingles(here.text) if own is None else own
                others = self._shingles(each.text)
                exact = None if own is None or others is None else jaccard(own, others)
            if (guess if exact is None else exact) >= ALIKE:
                kept.append(_Like(signed=each, estimated=guess, exact=exact))
            if len(kept) > MAX_TWINS:
                break
        return sorted(kept, key=lambda like: like.order)

    def _shingles(self, text: Digest) -> frozenset[Shingle] | None:
        """Of a stored text; None once this request has compared enough."""
        if self._chars_left <= 0:
            return None
        content = corpus.text_of(self._session, text)
        self._chars_left -= len(content)
        return shingles(words(content))
