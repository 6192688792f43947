"""What a collection lacks, to its owners: questions that found nothing, and documents that no answer cites."""

from collections import defaultdict
from dataclasses import dataclass, field

from app.domain.access import Action, PrincipalRef
from app.domain.corpus import Lifecycle
from app.domain.golden import folded
from app.domain.instants import BEGINNING, Instant, days_after
from app.operations.identify import Credentials, identify
from app.operations.read import Shown, _View
from app.operations.submit import curated
from app.ports import Ports
from app.store import corpus, golden, traces
from app.store.database import reading

LEAST_ASKERS = 3
"""Different people besides the owner who looks, before what they asked is shown: the words belong to whoever asked."""

MAX_LOOKED_AT = 20_000
"""Questions that found nothing which one request goes through, the newest first."""


@dataclass(slots=True)
class _Group:
    askers: set[PrincipalRef] = field(default_factory=set)
    times: int = 0
    last: Instant = BEGINNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A question that several people asked and nothing answered, in nobody's own spelling."""

    question: str
    times: int
    last: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The most asked first. `withheld` questions were asked by too few to be told of."""

    questions: tuple[Unanswered, ...]
    withheld: int
    complete: bool


def unanswered(ports: Ports, credentials: Credentials, collection: str, *, days: int, limit: int) -> Gaps:
    """Questions of the last days about this collection, or about all, that found nothing. Raises what `curated` does.

    INVARIANT: the text of a question is shown only if `LEAST_ASKERS` others than the one who looks asked it.
    """
    groups: defaultdict[str, _Group] = defaultdict(_Group)
    seen = 0
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        looking = {standing.principal.subject.ref, *standing.principal.acting}
        since = days_after(standing.now, -days)
        for subject, at, request in traces.found_nothing(session, since=since, limit=MAX_LOOKED_AT):
            seen += 1
            within = request["collections"]
            if subject not in looking and (within is None or collection in within):
                group = groups[folded(request["query"])]
                group.askers.add(subject)
                group.times += 1
                group.last = max(group.last, at)
    told = [
        Unanswered(question=question, times=group.times, last=group.last)
        for question, group in groups.items()
        if question and len(group.askers) >= LEAST_ASKERS
    ]
    told.sort(key=lambda each: (-each.times, each.question))
    return Gaps(questions=tuple(told[:limit]), withheld=len(groups) - len(told), complete=seen < MAX_LOOKED_AT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Documents by uri; `after` continues it."""

    documents: tuple[Shown, ...]
    after: str | None


def unfound(
    ports: Ports, credentials: Credentials, collection: str, *, days: int, after: str | None, limit: int
) -> Page:
    """Documents in force that the owner may know of, and that no answer of the last days cited, to the day.

    Raises what `curated` does. What is hidden from the owner takes no place.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        view = _View.under(ports, session, standing, Action.DESCRIBE, None)
        since = days_after(standing.now, -days - 1)
        found: dict[str, Shown] = {}
        place = after
        while len(found) <= limit:
            some = golden.uncited(
                session,
                collection,
                view.reach.boundaries,
                since=since,
                now=standing.now,
                after=place,
                limit=2 * limit + 2,
            )
            versions = corpus.versions_by_id(session, [version for _, version in some])
            for shown in view.visible(versions[version] for _, version in some):
                if shown.lifecycle is Lifecycle.CURRENT:
                    found.setdefault(shown.version.document.uri, shown)
            if len(some) < 2 * limit + 2:
                break
            place = some[-1][0]
    uris = sorted(found)[:limit]
    return Page(documents=tuple(found[uri] for uri in uris), after=uris[-1] if len(found) > limit else None)
