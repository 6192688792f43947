"""Review dates: which documents are to be looked at again, and that somebody has."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.corpus import DocumentId, Lifecycle, Review, Version, lifecycle
from app.domain.errors import Conflict, Fault, Invalid
from app.domain.instants import Instant, days_after
from app.operations import authorize, read
from app.operations.curate import UNSTATED, Correction, Unstated, corrected, curating, followed_up, owned
from app.operations.identify import Credentials, identify
from app.operations.submit import curated
from app.ports import Ports
from app.store import corpus, reviews
from app.store.database import reading, recording

Place = tuple[Instant, str]
"""Review date and uri: where a page ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A version in force that is to be looked at again, whom to ask, and the last time that somebody looked."""

    version: Version
    overdue: bool
    owners: tuple[str, ...]
    last: Review | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePage:
    due: tuple[Due, ...]
    after: Place | None


def due(
    ports: Ports,
    credentials: Credentials,
    collection: str,
    *,
    overdue_only: bool,
    within_days: int,
    after: Place | None,
    limit: int,
) -> DuePage:
    """What an owner of the collection may read of it and is to be reviewed by then, the longest overdue first.

    Raises `NotFound` and `NotPermitted` as submitting does.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        home = curated(ports, session, standing, collection)
        until = standing.now if overdue_only else days_after(standing.now, within_days)
        candidates = corpus.boundaries_due(session, collection, now=standing.now, until=until)
        handled = [id for id, boundary in candidates if authorize.handles(ports, session, standing, [boundary])]
        found = corpus.versions_due(
            session, collection, handled, now=standing.now, until=until, after=after, limit=limit + 1
        )
        found = read.described(ports, session, standing, found)
        looked = reviews.reviews_of(session, [each.document.id for each in found])
    page = [
        Due(
            version=each,
            overdue=each.period.review_by is not None and each.period.review_by <= standing.now,
            owners=tuple(sorted(home.owners)),
            last=looked[each.document.id][0] if each.document.id in looked else None,
        )
        for each in found[:limit]
    ]
    more = len(found) > limit
    return DuePage(due=tuple(page), after=_place(page[-1].version) if more else None)


def reviewed(
    ports: Ports, credentials: Credentials, document: DocumentId, *, next: Instant | None | Unstated, note: str
) -> tuple[int, Instant | None]:
    """Put on record that an owner has looked at a document's version in force, or its newest if none is.

    It is due again at `next`: unless that is stated, after the collection's term, or never if it has none. Returns
    the version's number and when it is due. Raises what `amend` does, and `Invalid` for a date that is past.
    """
    standing = curating(ports, credentials, document)
    with recording(ports.engine, ports.now()) as (session, at):
        owned(ports, session, standing, document)
        versions = corpus.versions_of(session, document, valid_at=at)
        if not versions:
            raise Conflict("Nothing of this document was published yet, so there is nothing to review.")
        by = standing.principal.subject.ref
        version = _looked_at(versions, at)
        term = authorize.register(ports, session, standing).collections[version.document.collection].review_after_days
        by_term = days_after(at, term) if term is not None else None
        again = by_term if next is UNSTATED else next
        if again is not None and again <= at:
            fault = Fault(detail="It must lie ahead.", pointer="/next")
            raise Invalid("The next review cannot be in the past; nothing was changed.", faults=(fault,))
        corrected(session, version, Correction(review_by=again, reason=note or None), at=at, by=by)
        reviews.add_review(session, version.id, next=again, note=note, at=at, by=by)
    change = {"what": "review", "document": document, "version": version.number, "next": again}
    followed_up(ports, standing, change, [version.id])
    return version.number, again


def history(ports: Ports, credentials: Credentials, document: DocumentId) -> Sequence[Review]:
    """The reviews of a document, the last first; for owners."""
    with reading(ports.engine) as session:
        owned(ports, session, identify(ports, session, credentials), document)
        return reviews.reviews_of(session, [document]).get(document, ())


def _looked_at(versions: Sequence[Version], at: Instant) -> Version:
    """The version in force, or the newest."""
    in_force = [each for each in versions if lifecycle(each, now=at) is Lifecycle.CURRENT]
    return (in_force or versions)[0]


def _place(version: Version) -> Place:
    assert version.period.review_by is not None
    return version.period.review_by, version.document.uri
