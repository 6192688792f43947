"""The one gate. Every decision is made here, over boundaries, and cached by epoch, never by time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import (
    _SEAL,
    DENIED,
    Action,
    Boundary,
    BoundaryId,
    Collection,
    Grant,
    Grounds,
    Obligation,
    Purpose,
    Question,
    Reach,
    Ruling,
    Terms,
)
from app.domain.checks import Rule
from app.domain.errors import Fault, Invalid, NotPermitted, Unavailable
from app.domain.instants import Instant
from app.operations import discharge
from app.operations.identify import Standing
from app.ports import Bounded, Institution, Ports
from app.store import boundaries as boundary_store
from app.store import corpus, registry

INTERFACE = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What the institution has laid down, under one pair of epochs."""

    policies: str
    rules: tuple[Rule, ...]
    collections: Mapping[str, Collection]
    collections_as_they_are: frozenset[Collection]
    """All of them by value: what was decided about them holds as long as this is the same."""
    purposes: Mapping[str, Purpose]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extent:
    """What one question reaches under one set of epochs: the whole decision, remembered."""

    rulings: Mapping[BoundaryId, Ruling]
    allowed: frozenset[BoundaryId]
    curated: frozenset[BoundaryId]
    obligations: tuple[Obligation, ...]


def register(ports: Ports, session: Session, standing: Standing) -> Register:
    """Collections, purposes and the active policies. Raises `Unavailable` when no policy set is active or usable."""
    key = ("register", standing.epochs.policies, standing.epochs.directory)
    return ports.memo.recall(key, lambda: _register(ports, session))


def reach(
    ports: Ports,
    session: Session,
    standing: Standing,
    *,
    action: Action = Action.READ,
    purpose: str | None = None,
    client: str | None = None,
    destination: str | None = None,
    valid_at: Instant | None = None,
    known_at: Instant | None = None,
) -> Reach:
    """All that the principal may read (or describe) for this purpose. The only place where a `Reach` is made."""
    laid_down = register(ports, session, standing)
    _registered(laid_down, purpose)
    question = _question(standing, action, purpose, client=client, destination=destination)
    extent = ports.memo.recall(
        ("extent", question, standing.epochs),
        lambda: _extent(ports, session, standing, question, laid_down),
        weigh=lambda extent: 2 * len(extent.allowed) + 100,
    )
    return Reach(
        boundaries=extent.allowed,
        curated=extent.curated,
        valid_at=standing.now if valid_at is None else valid_at,
        known_at=standing.now if known_at is None else known_at,
        obligations=extent.obligations,
        grounds=Grounds(question=question, epochs=standing.epochs, rulings=extent.rulings),
        _sealed=_SEAL,
    )


def grants_in_play(standing: Standing, principal_reach: Reach) -> tuple[Grant, ...]:
    """The subject's grants that this question is covered by."""
    asked = principal_reach.grounds.question
    this = (asked.purpose, asked.client, asked.destination)
    return tuple(
        each
        for each in standing.grants
        if (each.collections and each.purpose in (None, asked.purpose))
        or (each.waives and (each.purpose, each.client, each.destination) == this)
    )


def stands(standing: Standing, principal_reach: Reach) -> bool:
    """Whether a reach is what would be decided now: no counter moved, and no grant began or ended meanwhile."""
    before = principal_reach.grounds
    question = before.question
    terms = _terms(standing, question.purpose, question.client, question.destination)
    return standing.epochs == before.epochs and (standing.principal, terms) == (question.principal, question.terms)


def asked(
    ports: Ports,
    session: Session,
    standing: Standing,
    *,
    purpose: str | None,
    client: str | None = None,
    destination: str | None = None,
) -> Ruling:
    """Whether this principal may put any question for this purpose. Raises `Invalid` for an unregistered purpose."""
    laid_down = register(ports, session, standing)
    _registered(laid_down, purpose)
    question = _question(standing, Action.ASK, purpose, client=client, destination=destination)
    return _one(ports, standing, laid_down, question, Institution())


def require(
    ports: Ports,
    session: Session,
    standing: Standing,
    action: Action,
    resource: Collection | Institution,
    *,
    otherwise: str,
) -> None:
    """Pass if the policy allows it; else raise `NotPermitted` with `otherwise`: what is needed, and whom to ask."""
    laid_down = register(ports, session, standing)
    if not _one(ports, standing, laid_down, _question(standing, action, None), resource).allowed:
        raise NotPermitted(otherwise)


def permitted(
    ports: Ports, session: Session, standing: Standing, action: Action, resource: Collection | Institution
) -> bool:
    laid_down = register(ports, session, standing)
    return _one(ports, standing, laid_down, _question(standing, action, None), resource).allowed


def handles(ports: Ports, session: Session, standing: Standing, boundaries: Iterable[Boundary]) -> bool:
    """Whether the principal may read within all of these boundaries, for whatever purposes they name.

    Who curates a collection changes only what it may read: else it could open to itself what clearance, category,
    wall or jurisdiction closes.
    """
    wanted = frozenset(boundaries)
    return handled(ports, session, standing, wanted) == wanted


def handled(ports: Ports, session: Session, standing: Standing, boundaries: Iterable[Boundary]) -> frozenset[Boundary]:
    """Those of these boundaries that the principal `handles`."""
    laid_down = register(ports, session, standing)

    def readable(each: Bounded) -> bool:
        return any(
            ports.policy_engine.decide(laid_down.policies, _question(standing, Action.READ, purpose), [each])[0].allowed
            for purpose in (None, *sorted(each.boundary.purposes))
        )

    return frozenset(each for each in set(boundaries) if readable(_resource(each, laid_down.collections)))


def curated_collections(ports: Ports, session: Session, standing: Standing) -> frozenset[str]:
    """The names of the collections that the principal may curate."""
    return _collections_for(ports, session, standing, Action.CURATE)


def discoverable_collections(ports: Ports, session: Session, standing: Standing) -> frozenset[str]:
    """The names of the collections whose existence is no secret to the principal."""
    return _collections_for(ports, session, standing, Action.DISCOVER)


def readable_collections(ports: Ports, session: Session, standing: Standing) -> frozenset[str]:
    """The names of the collections in which there is a version in force that the principal may read, for no purpose."""
    return corpus.collections_within(session, reach(ports, session, standing).boundaries, now=standing.now)


def within_collections(
    ports: Ports, session: Session, standing: Standing, whole: Reach, names: frozenset[str]
) -> Reach:
    """The part of a reach that lies in these collections."""
    known = _boundaries(ports, session, standing)
    return whole & (id for id in whole.boundaries if known[id].collection in names)


def _collections_for(ports: Ports, session: Session, standing: Standing, action: Action) -> frozenset[str]:
    laid_down = register(ports, session, standing)
    question = _question(standing, action, None)
    key = ("collections", question, standing.epochs.policies, laid_down.collections_as_they_are)

    def decide() -> frozenset[str]:
        resources = list(laid_down.collections.values())
        rulings = ports.policy_engine.decide(laid_down.policies, question, resources)
        return frozenset(each.name for each, ruling in zip(resources, rulings, strict=True) if ruling.allowed)

    return ports.memo.recall(key, decide)


def _register(ports: Ports, session: Session) -> Register:
    policies = registry.active_policies(session)
    if policies is None:
        raise Unavailable(
            "No policies are active, so nothing can be read. An administrator must activate a policy set."
        )
    collections = registry.collections(session)
    return Register(
        policies=policies,
        rules=ports.policy_engine.rules(policies),
        collections=collections,
        collections_as_they_are=frozenset(collections.values()),
        purposes=registry.purposes(session),
    )


def _registered(laid_down: Register, purpose: str | None) -> None:
    if purpose is not None and purpose not in laid_down.purposes:
        raise Invalid(
            "That purpose is not registered.",
            faults=(Fault(detail="Not a registered purpose: see GET /v1/purposes.", pointer="/purpose"),),
        )


def _question(
    standing: Standing,
    action: Action,
    purpose: str | None,
    *,
    client: str | None = None,
    destination: str | None = None,
) -> Question:
    return Question(
        principal=standing.principal,
        action=action,
        purpose=purpose,
        interface=INTERFACE,
        client=client,
        destination=destination,
        terms=_terms(standing, purpose, client, destination),
    )


def _terms(standing: Standing, purpose: str | None, client: str | None, destination: str | None) -> Terms:
    """What the grants in force come to for this question."""
    opening = [each for each in standing.grants if each.purpose in (None, purpose)]
    asked_for = (purpose, client, destination)
    waiving = [each for each in standing.grants if (each.purpose, each.client, each.destination) == asked_for]
    return Terms(
        granted=frozenset(name for each in opening for name in each.collections),
        waived=frozenset(code for each in waiving for code in each.waives),
    )


def _one(
    ports: Ports, standing: Standing, laid_down: Register, question: Question, resource: Collection | Institution
) -> Ruling:
    key = ("ruling", question, resource, standing.epochs.policies)
    return ports.memo.recall(key, lambda: ports.policy_engine.decide(laid_down.policies, question, [resource])[0])


def _boundaries(ports: Ports, session: Session, standing: Standing) -> Mapping[BoundaryId, Boundary]:
    """Every boundary there is, by id; rows are only ever added, so the memory is extended and never dropped."""
    key = ("boundaries", standing.epochs.boundaries)

    def load() -> Mapping[BoundaryId, Boundary]:
        latest = ports.memo.get(_LATEST_BOUNDARIES)
        before: dict[BoundaryId, Boundary] = dict(latest) if isinstance(latest, dict) else {}
        before.update(boundary_store.boundaries_after(session, max(before, default=BoundaryId(0))))
        ports.memo.put(_LATEST_BOUNDARIES, before, weight=0)
        return before

    return ports.memo.recall(key, load, weigh=lambda known: len(known) + 100)


_LATEST_BOUNDARIES = "latest-boundaries"


def _extent(ports: Ports, session: Session, standing: Standing, question: Question, laid_down: Register) -> _Extent:
    known = _boundaries(ports, session, standing)
    rulings = _rulings(ports, standing, question, laid_down, known)
    allowed = frozenset(id for id, ruling in rulings.items() if ruling.allowed)
    curated = curated_collections(ports, session, standing)
    return _Extent(
        rulings=rulings,
        allowed=allowed,
        curated=frozenset(id for id in allowed if known[id].collection in curated),
        obligations=_obligations(rulings[id] for id in allowed),
    )


def _rulings(
    ports: Ports,
    standing: Standing,
    question: Question,
    laid_down: Register,
    known: Mapping[BoundaryId, Boundary],
) -> Mapping[BoundaryId, Ruling]:
    """A ruling for every boundary: only those interned since this question was last decided are decided now.

    INVARIANT: a ruling depends on the policies, on the question with the parties in it by value, and on the boundary
    within its collection. Of the directory no more than that, so a change to others drops nothing.
    """
    key = ("rulings", question, standing.epochs.policies, laid_down.collections_as_they_are)
    found = ports.memo.get(key)
    before: dict[BoundaryId, Ruling] = found if isinstance(found, dict) else {}
    resources = _resources(ports, laid_down, known)
    new = [id for id in resources if id not in before]
    decided = ports.policy_engine.reachable(laid_down.policies, question, [resources[id] for id in new])
    after = {**before, **{id: _dischargeable(ports, ruling) for id, ruling in zip(new, decided, strict=True)}}
    ports.memo.put(key, after, weight=len(after) + 100)
    return after if len(after) == len(known) else {id: after.get(id, DENIED) for id in known}


def _resources(ports: Ports, laid_down: Register, known: Mapping[BoundaryId, Boundary]) -> Mapping[BoundaryId, Bounded]:
    """Every boundary within its collection: the same for every question until a collection changes."""
    key = ("resources", laid_down.collections_as_they_are)
    found = ports.memo.get(key)
    before: dict[BoundaryId, Bounded] = found if isinstance(found, dict) else {}
    collections = laid_down.collections
    new = {
        id: _resource(each, collections)
        for id, each in known.items()
        if id not in before and each.collection in collections
    }
    if not new:
        return before
    after = {**before, **new}
    ports.memo.put(key, after, weight=2 * len(after) + 100)
    return after


def _resource(boundary: Boundary, collections: Mapping[str, Collection]) -> Bounded:
    collection = collections[boundary.collection]
    return Bounded(boundary=boundary.within(collection), collection=collection)


def _dischargeable(ports: Ports, ruling: Ruling) -> Ruling:
    """A permit with an obligation that nobody here can discharge, a misspelt one too, is a denial."""
    return ruling if all(discharge.can_be(ports, each) for each in ruling.obligations) else DENIED


def _obligations(rulings: Iterable[Ruling]) -> tuple[Obligation, ...]:
    """Each obligation once, with the policies that lay it on, in the order of its name."""
    by_name: dict[str, set[str]] = {}
    for ruling in rulings:
        for name in ruling.obligations:
            by_name.setdefault(name, set()).update(ruling.policies)
    return tuple(Obligation(id=name, policies=tuple(sorted(by_name[name]))) for name in sorted(by_name))  # type: ignore[arg-type]


def obligations_on(principal_reach: Reach, ids: Iterable[BoundaryId]) -> tuple[Obligation, ...]:
    """What must be done with an answer that shows content of these boundaries."""
    return _obligations(principal_reach.grounds.rulings[id] for id in ids)
