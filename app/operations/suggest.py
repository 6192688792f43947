"""While a question is being typed: documents whose names complete it, and how many there are of what kind.

INVARIANT: a function of what may be described to the principal. Names are matched as they are shown: what an
obligation blacks out of a title completes nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import Action, Boundary, BoundaryId, Reach
from app.domain.corpus import DocumentId
from app.domain.instants import NOW, Moment
from app.domain.suggesting import closeness, pieces, typed
from app.operations import authorize, discharge
from app.operations.identify import Credentials, identify
from app.operations.reach import redacted_in
from app.ports import Ports
from app.store import corpus
from app.store.database import reading

CANDIDATES: Final = 500
"""Names that are held against what was typed, at the most; by how short they are, of those that begin alike first."""

MAX_VALUES: Final = 50
"""Of each facet: those of the most documents."""
MAX_ATTRIBUTES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A name that completes what was typed: a title, or the last part of a uri."""

    text: str
    kind: str
    """`title` or `name`."""
    document: DocumentId
    collection: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """How many documents in force there are, in all and by value; values of the most documents first."""

    documents: int
    by: Mapping[str, Mapping[str, int]]
    """`collection`, `level`, `media_type`, then `attributes.*` by name."""


def suggestions(
    ports: Ports,
    credentials: Credentials,
    text: str,
    *,
    purpose: str | None,
    collection: str | None,
    limit: int,
    at: Moment = NOW,
) -> list[Suggestion]:
    """Those that begin with what was typed, then those that have its words, then those that a slip parts from it."""
    words = typed(text)
    if not words:
        return []
    with reading(ports.engine) as session:
        reach, wanted, _ = _wanted(ports, session, credentials, purpose, collection, at)
        first = f"{_open(text.strip().lower())}%"
        found: list[Suggestion] = []
        for exact in (True, False):
            patterns = [[f"%{_open(word)}%"] if exact else [f"%{each}%" for each in pieces(word)] for word in words]
            rows = corpus.catalogued(session, wanted, patterns, first=first, limit=CANDIDATES) if reach else []
            found = _best(ports, reach, rows, words)
            if len(found) >= limit:
                break
    return found[:limit]


def facets(
    ports: Ports,
    credentials: Credentials,
    *,
    purpose: str | None,
    collection: str | None,
    containing: str | None,
    at: Moment = NOW,
) -> Facets:
    """Counts of what is in force; with a part of its title or uri if one is given.

    Where an obligation blacks something out, titles are not looked into: what is not shown is not counted by.
    """
    by: dict[str, Counter[str]] = {"collection": Counter(), "level": Counter(), "media_type": Counter()}
    with reading(ports.engine) as session:
        reach, wanted, bounded = _wanted(ports, session, credentials, purpose, collection, at)
        if containing:
            shown = frozenset(id for id in reach.boundaries if not redacted_in(reach, id))
            wanted = replace(wanted, boundaries=shown)
        tallies = corpus.tallies(session, wanted, containing=containing) if wanted.boundaries else []
    for tally in tallies:
        by["collection"][tally.collection] += tally.documents
        by["level"][bounded[tally.boundary_id].label.level.word] += tally.documents
        by["media_type"][tally.media_type] += tally.documents
        categories = redacted_in(reach, tally.boundary_id)
        for name, values in tally.attributes.items():
            counter = by.setdefault(f"attributes.{name}", Counter())
            for value in {discharge.without(ports, categories, each) for each in values}:
                counter[value] += tally.documents
    return Facets(documents=by["collection"].total(), by=_bounded(by))


def _bounded(by: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """The facets of the most documents, and of each the values of the most."""
    fixed = [name for name in by if not name.startswith("attributes.")]
    stated = sorted(by.keys() - fixed, key=lambda name: (-by[name].total(), name))[:MAX_ATTRIBUTES]
    return {
        name: dict(sorted(by[name].items(), key=lambda it: (-it[1], it[0]))[:MAX_VALUES])
        for name in (*fixed, *sorted(stated))
    }


def _open(word: str) -> str:
    """A pattern of LIKE for a word: letters beyond ASCII, and signs of the pattern, are any one letter."""
    return "".join(char if char.isascii() and char not in "%_\\" else "_" for char in word)


def _wanted(
    ports: Ports, session: Session, credentials: Credentials, purpose: str | None, collection: str | None, at: Moment
) -> tuple[Reach, corpus.InForce, Mapping[BoundaryId, Boundary]]:
    """What may be described, what of it is looked for, and the boundaries by id. What lies ahead of now is under
    embargo."""
    standing = identify(ports, session, credentials)
    reach = authorize.reach(
        ports,
        session,
        standing,
        action=Action.DESCRIBE,
        purpose=purpose,
        valid_at=at.as_of,
        known_at=at.known_at,
    )
    if reach.valid_at > standing.now:
        reach = reach & reach.curated
    wanted = corpus.InForce(
        boundaries=reach.boundaries,
        curated=reach.curated,
        valid_at=reach.valid_at,
        known_at=at.known_at,
        now=standing.now,
        collection=collection,
    )
    return reach, wanted, authorize.known_boundaries(ports, session, standing)


def _best(ports: Ports, reach: Reach, rows: list[corpus.Catalogued], words: tuple[str, ...]) -> list[Suggestion]:
    """Those of the names that complete the words, the closest first; each text once."""
    ranked = []
    for row in rows:
        title = discharge.without(ports, redacted_in(reach, row.boundary_id), row.title)
        for kind, text in (("title", title), ("name", PurePosixPath(row.uri.rstrip("/")).name)):
            close = closeness(words, text)
            if close is not None:
                order = (close, len(text), kind != "title", text, row.collection, row.uri)
                ranked.append((order, kind, text, row))
                break
    found: dict[str, Suggestion] = {}
    for _, kind, text, row in sorted(ranked, key=lambda it: it[0]):
        suggestion = Suggestion(text=text, kind=kind, document=row.document, collection=row.collection, uri=row.uri)
        found.setdefault(text.casefold(), suggestion)
    return [*found.values()]
