"""The one gate. Every decision is made here, over boundaries, and cached by epoch, never by time."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import (
    _SEAL,
    DENIED,
    Action,
    Boundary,
    BoundaryId,
    Collection,
    Grounds,
    Obligation,
    Purpose,
    Question,
    Reach,
    Ruling,
    Terms,
    Use,
)
from app.domain.checks import Rule
from app.domain.errors import Fault, Invalid, NotPermitted, Unavailable
from app.domain.instants import Instant
from app.operations.identify import Standing
from app.ports import Bounded, Institution, Ports, Resource
from app.store import boundaries as boundary_store
from app.store import corpus, registry

INTERFACE = "rest"

_KNOWN_OBLIGATIONS = re.compile(r"cite-sources|max-passages:[1-9][0-9]{0,3}")
"""What is discharged here. Any other obligation, a misspelt one too, turns its permit into a denial."""

WHOLE_TEXT_OBLIGATIONS = frozenset({"cite-sources"})
"""What reading a text, original or citation discharges: each comes with its document, version and digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What the institution has laid down, under one pair of epochs."""

    policies: str
    rules: tuple[Rule, ...]
    collections: Mapping[str, Collection]
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
        weigh=lambda extent: 3 * len(extent.rulings) + 100,
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


def reach_among(
    ports: Ports,
    session: Session,
    standing: Standing,
    boundaries: Mapping[BoundaryId, Boundary],
    *,
    action: Action,
    purpose: str | None,
    client: str | None,
    destination: str | None,
) -> Reach:
    """As `reach`, decided over these boundaries alone and not remembered: for a few of them and many principals."""
    laid_down = register(ports, session, standing)
    _registered(laid_down, purpose)
    question = _question(standing, action, purpose, client=client, destination=destination)
    resources = {
        id: _resource(each, laid_down.collections)
        for id, each in boundaries.items()
        if each.collection in laid_down.collections
    }
    decided = ports.policy_engine.decide(laid_down.policies, question, [*resources.values()])
    rulings = {id: _dischargeable(ruling) for id, ruling in zip(resources, decided, strict=True)}
    allowed = frozenset(id for id, ruling in rulings.items() if ruling.allowed)
    homes = [*{resources[id].collection for id in allowed}]
    curating = ports.policy_engine.decide(laid_down.policies, _question(standing, Action.CURATE, None), homes)
    curated = {home.name for home, ruling in zip(homes, curating, strict=True) if ruling.allowed}
    return Reach(
        boundaries=allowed,
        curated=frozenset(id for id in allowed if boundaries[id].collection in curated),
        valid_at=standing.now,
        known_at=standing.now,
        obligations=_obligations(rulings[id] for id in allowed),
        grounds=Grounds(question=question, epochs=standing.epochs, rulings=rulings),
        _sealed=_SEAL,
    )


def rulings(
    ports: Ports,
    session: Session,
    standing: Standing,
    action: Action,
    resources: Sequence[Resource],
    *,
    purpose: str | None,
    client: str | None,
    destination: str | None,
    use: Use | None = None,
) -> list[Ruling]:
    """A ruling for each, in order, not remembered. Raises `Invalid` for an unregistered purpose."""
    laid_down = register(ports, session, standing)
    _registered(laid_down, purpose)
    question = _question(standing, action, purpose, client=client, destination=destination)
    return ports.policy_engine.decide(laid_down.policies, replace(question, use=use), resources)


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
    key = ("collections", question, standing.epochs.policies, standing.epochs.directory)

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
    return Register(
        policies=policies,
        rules=ports.policy_engine.rules(policies),
        collections=registry.collections(session),
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
    key = ("ruling", question, resource, standing.epochs.policies, standing.epochs.directory)
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
    """A ruling for every boundary: only those interned since this question was last decided are decided now."""
    key = ("rulings", question, standing.epochs.policies, standing.epochs.directory)
    found = ports.memo.get(key)
    before: dict[BoundaryId, Ruling] = found if isinstance(found, dict) else {}
    new = [id for id in known if id not in before and known[id].collection in laid_down.collections]
    decided = ports.policy_engine.decide(
        laid_down.policies, question, [_resource(known[id], laid_down.collections) for id in new]
    )
    after = {**before, **{id: _dischargeable(ruling) for id, ruling in zip(new, decided, strict=True)}}
    ports.memo.put(key, after, weight=3 * len(after) + 100)
    return after if len(after) == len(known) else {id: after.get(id, DENIED) for id in known}


def _resource(boundary: Boundary, collections: Mapping[str, Collection]) -> Bounded:
    collection = collections[boundary.collection]
    return Bounded(boundary=boundary.within(collection), collection=collection)


def _dischargeable(ruling: Ruling) -> Ruling:
    known = all(_KNOWN_OBLIGATIONS.fullmatch(obligation) for obligation in ruling.obligations)
    return ruling if known or not ruling.allowed else DENIED


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
