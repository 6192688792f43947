"""A draft of the policies held against those in force, before anybody is affected: a matrix, and a replay.

Nothing is read of any document, and no reach comes of it: rulings are counted. What a report may name is decided in
DECISIONS, "What an administrator may see of a simulation".
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from threading import Lock

from sqlalchemy.orm import Session

from app.domain.access import (
    Action,
    Boundary,
    BoundaryId,
    Collection,
    Kind,
    PrincipalRef,
    Question,
    Ruling,
    kind_of,
)
from app.domain.checks import Rule
from app.domain.corpus import DocumentId
from app.domain.errors import Fault, Invalid, NotFound, RateLimited
from app.domain.instants import Instant, days_after
from app.domain.policies import PolicyVersionId
from app.domain.simulation import (
    Affected,
    Asker,
    Compared,
    Difference,
    Direction,
    Edit,
    Named,
    Power,
    Recorded,
    Replayed,
    Report,
    Side,
    fate,
    mentions,
    side_of,
)
from app.domain.trace import Trace, TraceKind
from app.operations import authorize
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, standing_of
from app.operations.policies import ABSENT
from app.ports import Bounded, Institution, Ports, Resource
from app.store import corpus, directory, traces
from app.store import policies as policy_store
from app.store.database import reading

MAX_DECISIONS = 4_000_000
"""Of one simulation: some minutes' work. One that would need more says so, and how to ask for less."""
MAX_SECONDS = 90.0
"""A client waits about two minutes."""
MAX_RECORDED = 20_000
"""Questions on record that are gone through, the newest first."""
_IN_A_GO = 2048
"""Decisions before other threads get a turn and the time is looked at."""
_TURN_S = 0.0005

_OVER_COLLECTIONS = (Action.CURATE, Action.DISCOVER)
_OVER_ALL = (Action.MANAGE, Action.PROVISION, Action.BREAK_GLASS, Action.AUDIT, Action.EVALUATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be compared with what is in force."""

    cedar: str | None = None
    policy: str | None = None
    """The id of a draft, instead of its text."""
    days: int = 30
    """How far back recorded questions are asked again."""
    principals: frozenset[PrincipalRef] | None = None
    """These alone, as subjects; those in a group that is named. None: everybody."""
    collections: frozenset[str] | None = None
    """Boundaries of these alone."""
    max_decisions: int = MAX_DECISIONS


_ONE_AT_A_TIME = Lock()


def simulate(ports: Ports, credentials: Credentials, wanted: Wanted) -> Report:
    """What a draft would change, exactly, for all that was compared; `compared.cut` says what was not.

    For administrators. Raises `NotPermitted`, `Invalid` for a text that could not be put in force, `NotFound` for a
    draft that there is not, and `RateLimited` while another simulation goes on in this process.
    """
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        draft = wanted.cedar if wanted.cedar is not None else draft_text(session, wanted.policy or "")
    _usable(ports, draft)
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise RateLimited("Another simulation goes on here. Ask again when it is done.")
    try:
        with reading(ports.engine) as session:
            scene = _scene(ports, session, standing, wanted, draft)
        report = _report(ports, scene, max_decisions=wanted.max_decisions)
    finally:
        _ONE_AT_A_TIME.release()
    request = {"what": "simulate-policies", "policy": wanted.policy, "days": wanted.days, "verdict": report.verdict}
    record(ports, standing.principal, TraceKind.READ, outcome="answered", request=request)
    return report


def draft_text(session: Session, policy: str) -> str:
    """The Cedar text of a drafted policy set, or of one that decides or decided. Raises `NotFound`."""
    found = policy_store.version(session, PolicyVersionId(policy))
    cedar = policy_store.policy_text(session, found.digest) if found is not None else None
    if cedar is None:
        raise NotFound(ABSENT)
    return cedar


def _usable(ports: Ports, draft: str) -> None:
    faults = ports.policy_engine.validate(draft)
    if faults:
        raise Invalid(
            "These policies could not be put in force, so there is nothing to simulate.",
            faults=tuple(Fault(detail=fault, pointer="/cedar") for fault in faults),
        )


# -- What there is to be compared --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """An asker with its questions: about what it may read and describe, and about its other powers."""

    asker: Asker
    active: bool
    reading: tuple[Question, ...]
    describing: tuple[Question, ...]
    powers: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Again:
    """A recorded question, as it would be put today, and the boundaries of what its answers showed."""

    recorded: Recorded
    times: int
    ask: Question
    read: Question
    cited: Mapping[BoundaryId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """All that a simulation depends on, as SQL held it at one moment: nothing is read while it is decided."""

    at: Instant
    policies: str
    draft: str
    rules: tuple[Rule, ...]
    collections: Mapping[str, Collection]
    resources: Mapping[BoundaryId, Bounded]
    documents: Mapping[BoundaryId, Sequence[DocumentId]]
    askings: tuple[_Asking, ...]
    again: tuple[_Again, ...]
    purposes: tuple[str, ...]
    named: Named
    recorded: int
    unregistered: int
    """Different questions on record whose purpose is registered no longer: they are refused either way."""
    cut: tuple[str, ...]


def _scene(ports: Ports, session: Session, standing: Standing, wanted: Wanted, draft: str) -> _Scene:
    laid_down = authorize.register(ports, session, standing)
    subjects = _subjects(session, wanted.principals)
    unknown = (wanted.collections or frozenset()) - laid_down.collections.keys()
    if unknown:
        faults = tuple(Fault(detail=f"{name} is not a collection.", pointer="/collections") for name in sorted(unknown))
        raise Invalid("Some collections are not known here.", faults=faults)
    collections = {
        name: each
        for name, each in laid_down.collections.items()
        if wanted.collections is None or name in wanted.collections
    }
    counted, found, cut = _recorded(session, subjects, since=days_after(standing.now, -wanted.days))
    cited = corpus.boundaries_of_versions(session, {version for _, shown in found.values() for version in shown})
    known = authorize.known_boundaries(ports, session, standing)
    in_force = corpus.documents_in_force(session, now=standing.now)
    resources = {
        id: authorize.resource_of(known[id], laid_down.collections)
        for id in sorted({*in_force, *cited.values()})
        if known[id].collection in collections
    }
    purposes = tuple(laid_down.purposes)
    pairs = {recorded.asker for recorded in found if recorded.asker.actors}
    askers = [*(Asker(subject=ref) for ref in subjects), *sorted(pairs, key=lambda each: each.label)]
    possible = [each for each in found if each.purpose is None or each.purpose in laid_down.purposes]
    return _Scene(
        at=standing.now,
        policies=laid_down.policies,
        draft=draft,
        rules=laid_down.rules,
        collections=collections,
        resources=resources,
        documents=corpus.ids_in_force(session, resources, now=standing.now),
        askings=tuple(_asking(ports, session, asker, purposes) for asker in askers),
        again=tuple(_again(ports, session, each, *found[each], cited) for each in possible),
        purposes=purposes,
        named=_named(laid_down.policies, draft, resources.values(), laid_down.collections.values()),
        recorded=counted,
        unregistered=len(found) - len(possible),
        cut=cut,
    )


def _subjects(session: Session, principals: frozenset[PrincipalRef] | None) -> list[PrincipalRef]:
    """Every user and assistant, active or not; of these, those that were named, by a group too."""
    everybody = [each.ref for each in directory.principals(session) if each.kind is not Kind.GROUP]
    if principals is None:
        return everybody
    unknown = directory.missing(session, principals)
    if unknown:
        faults = tuple(Fault(detail=f"{ref} is not in the directory.", pointer="/principals") for ref in unknown)
        raise Invalid("Some principals are not known here.", faults=faults)
    groups = frozenset(ref for ref in principals if kind_of(ref) is Kind.GROUP)
    return [ref for ref in everybody if ref in principals or (groups and groups & directory.party(session, ref).groups)]


def _recorded(
    session: Session, subjects: Sequence[PrincipalRef], *, since: Instant
) -> tuple[int, dict[Recorded, tuple[int, Counter[tuple[DocumentId, int]]]], tuple[str, ...]]:
    """How many questions there were, the different ones with how often and what they showed, and whether all are."""
    wanted = frozenset(subjects)
    counted = 0
    found: dict[Recorded, tuple[int, Counter[tuple[DocumentId, int]]]] = {}
    for number, trace in enumerate(traces.retrievals(session, since=since, limit=MAX_RECORDED + 1)):
        if number == MAX_RECORDED:
            return counted, found, (f"Of the recorded questions, the newest {MAX_RECORDED} were asked again.",)
        if trace.subject not in wanted:
            continue
        counted += 1
        times, shown = found.setdefault(_as_recorded(trace), (0, Counter()))
        shown.update((DocumentId(each["document"]), each["version"]) for each in trace.response.get("passages", ()))
        found[_as_recorded(trace)] = (times + 1, shown)
    return counted, found, ()


def _as_recorded(trace: Trace) -> Recorded:
    """The question of a trace. One whose words are erased keeps what a decision depends on."""
    asked = trace.request
    return Recorded(
        asker=Asker(subject=trace.subject, actors=trace.actors, proof=trace.proof),
        purpose=asked.get("purpose"),
        client=asked.get("client"),
        destination=asked.get("destination"),
    )


def _standing(ports: Ports, session: Session, asker: Asker) -> Standing:
    return standing_of(ports, session, asker.subject, actors=asker.actors, proof=asker.proof)


def _asking(ports: Ports, session: Session, asker: Asker, purposes: Sequence[str]) -> _Asking:
    standing = _standing(ports, session, asker)
    principal = standing.principal
    with_two_factors = replace(standing, principal=replace(principal, second_factor=True))

    def questions(action: Action, stated: Iterable[str | None]) -> tuple[Question, ...]:
        asking = with_two_factors if action is Action.BREAK_GLASS else standing  # as whoever does it has them
        return tuple(authorize.question_of(ports, session, asking, action, purpose=purpose) for purpose in stated)

    return _Asking(
        asker=asker,
        active=all(party.profile.active for party in (principal.subject, *principal.actors)),
        reading=questions(Action.READ, (None, *purposes)),
        describing=questions(Action.DESCRIBE, (None,)),
        powers=(
            *(question for action in (*_OVER_COLLECTIONS, *_OVER_ALL) for question in questions(action, (None,))),
            *questions(Action.ASK, (None, *purposes)),
        ),
    )


def _again(
    ports: Ports,
    session: Session,
    recorded: Recorded,
    times: int,
    shown: Counter[tuple[DocumentId, int]],
    lying: Mapping[tuple[DocumentId, int], BoundaryId],
) -> _Again:
    standing = _standing(ports, session, recorded.asker)
    cited: Counter[BoundaryId] = Counter()
    for version, times_shown in shown.items():
        if version in lying:
            cited[lying[version]] += times_shown

    def question(action: Action) -> Question:
        return authorize.question_of(
            ports,
            session,
            standing,
            action,
            purpose=recorded.purpose,
            client=recorded.client,
            destination=recorded.destination,
        )

    return _Again(recorded=recorded, times=times, ask=question(Action.ASK), read=question(Action.READ), cited=cited)


def _named(policies: str, draft: str, resources: Iterable[Bounded], collections: Iterable[Collection]) -> Named:
    refs: set[PrincipalRef] = set()
    for bounded in resources:
        refs |= bounded.boundary.readers | bounded.boundary.denied
    for collection in collections:
        refs |= collection.owners
    groups = frozenset(ref for ref in refs if kind_of(ref) is Kind.GROUP)
    return Named(texts=(policies, draft), groups=groups)


# -- Deciding ----------------------------------------------------------------------------------------------------------


class _Spent(Exception):
    """The simulation has come to its bound, and goes no further."""


@dataclass(slots=True, kw_only=True)
class _Allowance:
    """How much may still be decided."""

    max_decisions: int
    until_s: float
    decisions: int = 0

    def take(self, number: int) -> None:
        """Raises `_Spent`. Lets other threads have their turn."""
        self.decisions += number
        if self.decisions > self.max_decisions or time.monotonic() > self.until_s:
            raise _Spent
        time.sleep(_TURN_S)


@dataclass(slots=True)
class _Known:
    """What was decided of questions that are alike: which boundaries, as bits, and what would come out otherwise."""

    decided: int = 0
    differences: dict[int, Difference] = field(default_factory=dict)


class _Comparison:
    """Decides under both sets, over every boundary and over whatever else, and what is alike once."""

    def __init__(self, ports: Ports, scene: _Scene, allowance: _Allowance) -> None:
        self._ports, self._scene, self._allowance = ports, scene, allowance
        self._both = (scene.policies, scene.draft)
        self._ids = list(scene.resources)
        self._resources = list(scene.resources.values())
        self._all = (1 << len(self._ids)) - 1
        self._mentioning: dict[str, int] = {}
        """Which boundaries mention a principal or a purpose by name, as bits."""
        for n, bounded in enumerate(self._resources):
            boundary, owners = bounded.boundary, bounded.collection.owners
            for name in (*boundary.readers, *boundary.denied, *boundary.purposes, *owners):
                self._mentioning[name] = self._mentioning.get(name, 0) | 1 << n
        self._owners = frozenset[str](ref for each in scene.collections.values() for ref in each.owners)
        self._known: dict[Question, _Known] = {}
        self._pairs: dict[tuple[Question, Sequence[Resource]], list[tuple[Ruling, Ruling]]] = {}
        self.edit = Edit.between(scene.rules, ports.policy_engine.rules(scene.draft))

    def boundaries(self, question: Question) -> dict[BoundaryId, Difference]:
        """Every boundary that would be decided otherwise for this question."""
        names = mentions(question)
        mentioned = reduce(or_, (self._mentioning.get(name, 0) for name in names))
        named = self._scene.named
        found = self._over(question, named.alike(question), self._all & ~mentioned)
        if mentioned:
            found |= self._over(question, named.alike(question, but_for=names), mentioned)
        return {self._ids[n]: found[n] for n in sorted(found)}

    def pairs(self, question: Question, resources: tuple[Resource, ...]) -> list[tuple[Ruling, Ruling]]:
        """The rulings under both sets on each of these."""
        key = (self._scene.named.alike(question, but_for=mentions(question) & self._owners), resources)
        if key not in self._pairs:
            self._allowance.take(2 * len(resources))
            before, after = (authorize.decided(self._ports, policies, question, resources) for policies in self._both)
            self._pairs[key] = list(zip(before, after, strict=True))
        return self._pairs[key]

    def _over(self, question: Question, alike: Question, wanted: int) -> dict[int, Difference]:
        """Of the boundaries wanted, those decided otherwise; none is decided twice for what is alike."""
        known = self._known.setdefault(alike, _Known())
        for some in _in_goes(wanted & ~known.decided):
            self._allowance.take(2 * len(some))
            before, after = (self._allowed(policies, question, some) for policies in self._both)
            known.differences |= self._differences(question, sorted(before ^ after))
            known.decided |= sum(1 << n for n in some)
        return {n: each for n, each in known.differences.items() if wanted >> n & 1}

    def _allowed(self, policies: str, question: Question, some: Sequence[int]) -> frozenset[int]:
        rulings = authorize.reached(self._ports, policies, question, [self._resources[n] for n in some])
        return frozenset(n for n, ruling in zip(some, rulings, strict=True) if ruling.allowed)

    def _differences(self, question: Question, some: Sequence[int]) -> dict[int, Difference]:
        """Both rulings in full, with the policies that determined a denial too."""
        self._allowance.take(2 * len(some))
        resources = [self._resources[n] for n in some]
        rulings = (authorize.decided(self._ports, policies, question, resources) for policies in self._both)
        return {
            n: Difference(before=before, after=after)
            for n, before, after in zip(some, *rulings, strict=True)
            if before.allowed != after.allowed
        }


def _in_goes(bits: int) -> Iterator[list[int]]:
    places = [n for n, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]
    for start in range(0, len(places), _IN_A_GO):
        yield places[start : start + _IN_A_GO]


def _report(ports: Ports, scene: _Scene, *, max_decisions: int) -> Report:
    """The matrix first, an asker at a time, then the replay: what is reported of each was decided whole."""
    allowance = _Allowance(max_decisions=max_decisions, until_s=time.monotonic() + MAX_SECONDS)
    comparison = _Comparison(ports, scene, allowance)
    reading: list[Affected] = []
    describing: list[Affected] = []
    powers: list[Power] = []
    replayed: list[Replayed] = []
    askers = questions = 0
    cut = list(scene.cut)
    try:
        for each in scene.askings:
            read = _affected(comparison, each, each.reading)
            described = _affected(comparison, each, each.describing)
            powers += _powers(comparison, each, scene.collections)
            reading += read
            describing += described
            askers += 1
        for again in scene.again:
            replayed.append(_replayed(comparison, again, scene.documents))
            questions += 1
    except _Spent:
        cut.append(
            f"It stopped after {allowance.decisions} decisions, with {askers} of {len(scene.askings)} askers and "
            f"{questions} of {len(scene.again)} recorded questions done. Name principals or collections for the rest."
        )
    spoken_of = {each.boundary for each in (*reading, *describing)}
    return Report(
        at=scene.at,
        edit=comparison.edit,
        compared=Compared(
            askers=askers,
            of_askers=len(scene.askings),
            boundaries=len(scene.resources),
            documents=sum(map(len, scene.documents.values())),
            purposes=scene.purposes,
            recorded=scene.recorded,
            replayed=questions,
            of_replayed=len(scene.again),
            unregistered=scene.unregistered,
            decisions=allowance.decisions,
            cut=tuple(cut),
        ),
        reading=_sides(reading, scene),
        describing=_sides(describing, scene),
        powers=tuple(powers),
        replayed=tuple(each for each in replayed if each.changed),
        boundaries={id: scene.resources[id].boundary for id in sorted(spoken_of)},
        documents={id: scene.documents.get(id, ()) for id in sorted(spoken_of)},
    )


def _affected(comparison: _Comparison, asking: _Asking, questions: Sequence[Question]) -> list[Affected]:
    """What changes for an asker, each boundary once, with the purposes for which it does."""
    purposes: dict[tuple[BoundaryId, Direction], list[str | None]] = {}
    differences: dict[tuple[BoundaryId, Direction], Difference] = {}
    for question in questions:
        for id, difference in comparison.boundaries(question).items():
            purposes.setdefault((id, difference.change), []).append(question.purpose)
            differences.setdefault((id, difference.change), difference)
    return [
        Affected(
            asker=asking.asker,
            active=asking.active,
            boundary=id,
            purposes=tuple(purposes[(id, change)]),
            difference=difference,
        )
        for (id, change), difference in differences.items()
    ]


def _powers(comparison: _Comparison, asking: _Asking, collections: Mapping[str, Collection]) -> list[Power]:
    """What else would come out otherwise, each thing once."""
    found: dict[tuple[Action, str | None, Direction], tuple[Difference, list[str | None]]] = {}
    several: tuple[Resource, ...] = tuple(collections.values())
    for question in asking.powers:
        resources = several if question.action in _OVER_COLLECTIONS else (Institution(),)
        for resource, (before, after) in zip(resources, comparison.pairs(question, resources), strict=True):
            if before.allowed != after.allowed:
                difference = Difference(before=before, after=after)
                name = resource.name if isinstance(resource, Collection) else None
                key = (question.action, name, difference.change)
                found.setdefault(key, (difference, []))[1].append(question.purpose)
    return [
        Power(
            asker=asking.asker,
            active=asking.active,
            action=action,
            collection=collection,
            purposes=tuple(purposes),
            difference=difference,
        )
        for (action, collection, _), (difference, purposes) in found.items()
    ]


def _replayed(comparison: _Comparison, again: _Again, documents: Mapping[BoundaryId, Sequence[DocumentId]]) -> Replayed:
    ((before, after),) = comparison.pairs(again.ask, (Institution(),))
    otherwise = comparison.boundaries(again.read)

    def number(change: Direction) -> int:
        return sum(len(documents.get(id, ())) for id, each in otherwise.items() if each.change is change)

    lost = (id for id, each in otherwise.items() if each.change is Direction.LOSES)
    return Replayed(
        question=again.recorded,
        times=again.times,
        before=fate(before),
        after=fate(after),
        cited=sum(again.cited.values()),
        lost=sum(again.cited.get(id, 0) for id in lost),
        gained_documents=number(Direction.GAINS),
        lost_documents=number(Direction.LOSES),
    )


def _sides(affected: Sequence[Affected], scene: _Scene) -> Mapping[Direction, Side]:
    boundaries: dict[BoundaryId, Boundary] = {id: each.boundary for id, each in scene.resources.items()}
    return {
        change: side_of([each for each in affected if each.difference.change is change], scene.documents, boundaries)
        for change in Direction
    }
