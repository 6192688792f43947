"""The one gate. Every decision is made here, over boundaries, and cached by epoch, never by time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import (
    _SEAL,
    BOOTSTRAP_ADMINISTRATOR,
    DENIED,
    Action,
    Boundary,
    BoundaryId,
    Collection,
    Grant,
    Grounds,
    Obligation,
    Owed,
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
from app.domain.jurisdictions import BY_CLIENT, Consent, clients_named
from app.operations import discharge
from app.operations.identify import Credentials, Standing, identify
from app.ports import Bounded, Institution, Ports, Resource
from app.store import boundaries as boundary_store
from app.store import corpus, jurisdictions, registry

INTERFACE = "rest"
ADMINISTRATORS_ONLY = "Only administrators do this. Ask somebody in group:administrators."

_OF_CONTENT = frozenset({Action.READ, Action.DESCRIBE, Action.CURATE})


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
    question = _question(ports, session, standing, action, purpose, client=client, destination=destination)
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
        grounds=Grounds(question=question, epochs=standing.epochs, grants=standing.grants, rulings=extent.rulings),
        _sealed=_SEAL,
    )


def under(ports: Ports, principal_reach: Reach, asked: Ruling) -> Reach:
    """The reach, as far as what the permit to ask obliges to can be discharged: it is due on whatever is shown."""
    if not asked.obligations:
        return principal_reach
    before = principal_reach.grounds

    def owing(ruling: Ruling) -> Ruling:
        policies = tuple(dict.fromkeys((*ruling.policies, *asked.policies)))
        owed = replace(ruling, policies=policies, obligations=(*ruling.obligations, *asked.obligations))
        return _dischargeable(ports, before.question.action, owed)

    rulings = {id: owing(ruling) if ruling.allowed else ruling for id, ruling in before.rulings.items()}
    allowed = frozenset(id for id in principal_reach.boundaries if rulings[id].allowed)
    return replace(
        principal_reach & allowed,
        obligations=_obligations(rulings[id] for id in allowed),
        grounds=replace(before, rulings=rulings),
        _sealed=_SEAL,
    )


def grants_in_play(principal_reach: Reach, *, collections: frozenset[str] | None) -> tuple[Grant, ...]:
    """The subject's grants that this question is covered by, among these collections if it names any."""
    asked = principal_reach.grounds.question
    this = (asked.purpose, asked.client, asked.destination)
    return tuple(
        each
        for each in principal_reach.grounds.grants
        if (
            (each.collections if collections is None else each.collections & collections)
            and each.purpose in (None, asked.purpose)
        )
        or (each.waives and (each.purpose, each.client, each.destination) == this)
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
    question = _question(ports, session, standing, action, purpose, client=client, destination=destination)
    resources = {
        id: _resource(each, laid_down.collections)
        for id, each in boundaries.items()
        if each.collection in laid_down.collections
    }
    decided = _decided(ports, laid_down.policies, question, [*resources.values()])
    rulings = _owing(ports, dict(zip(resources, decided, strict=True)), question.terms, boundaries)
    allowed = frozenset(id for id, ruling in rulings.items() if ruling.allowed)
    homes = [*{resources[id].collection for id in allowed}]
    curate = _question(ports, session, standing, Action.CURATE, None)
    curating = _decided(ports, laid_down.policies, curate, homes)
    curated = {home.name for home, ruling in zip(homes, curating, strict=True) if ruling.allowed}
    return Reach(
        boundaries=allowed,
        curated=frozenset(id for id in allowed if boundaries[id].collection in curated),
        valid_at=standing.now,
        known_at=standing.now,
        obligations=_obligations(rulings[id] for id in allowed),
        grounds=Grounds(question=question, epochs=standing.epochs, grants=standing.grants, rulings=rulings),
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
    question = _question(ports, session, standing, action, purpose, client=client, destination=destination)
    return _decided(ports, laid_down.policies, replace(question, use=use), resources)


def stands(ports: Ports, session: Session, standing: Standing, principal_reach: Reach) -> bool:
    """Whether a reach is what would be decided now: no counter moved, and no grant, transfer rule or consent began or
    ended meanwhile."""
    before = principal_reach.grounds
    if standing.epochs != before.epochs or standing.principal != before.question.principal:
        return False
    question = before.question
    return _terms(ports, session, standing, question.purpose, question.client, question.destination) == question.terms


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
    question = _question(ports, session, standing, Action.ASK, purpose, client=client, destination=destination)
    return _one(ports, standing, laid_down, question, Institution())


def administrator(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    """Whoever asks, if they administer the institution. Raises `NotPermitted`, and what `identify` raises."""
    standing = identify(ports, session, credentials)
    require(ports, session, standing, Action.MANAGE, Institution(), otherwise=ADMINISTRATORS_ONLY)
    return standing


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
    if isinstance(resource, Institution) and not standing.principal.may_use(action):
        raise NotPermitted(
            f"What was sent is good for {standing.principal.limits} alone, and this takes {action}. Send a key that "
            "is good for it, or ask an administrator for one."
        )
    if not _one(ports, standing, laid_down, _question(ports, session, standing, action, None), resource).allowed:
        raise NotPermitted(otherwise)


def permitted(
    ports: Ports, session: Session, standing: Standing, action: Action, resource: Collection | Institution
) -> bool:
    laid_down = register(ports, session, standing)
    return _one(ports, standing, laid_down, _question(ports, session, standing, action, None), resource).allowed


def would_permit(
    ports: Ports, session: Session, policies: str, standing: Standing, action: Action, resource: Institution
) -> bool:
    """Whether it would be allowed if these policies were in force. Raises `Unavailable` if they are unusable."""
    question = _question(ports, session, standing, action, None)
    return _decided(ports, policies, question, [resource])[0].allowed


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
        questions = [
            _question(ports, session, standing, Action.READ, purpose)
            for purpose in (None, *sorted(each.boundary.purposes))
        ]
        return any(_decided(ports, laid_down.policies, question, [each])[0].allowed for question in questions)

    return frozenset(each for each in set(boundaries) if readable(_resource(each, laid_down.collections)))


def purposes_of(ports: Ports, session: Session, standing: Standing) -> frozenset[str]:
    """The purposes that the principal answers for, by name or through a group: in person, with a key for everything."""
    subject, through = standing.principal.subject, standing.principal.actor
    if through is not None or standing.principal.limited or not subject.profile.active:
        return frozenset()
    registered = register(ports, session, standing).purposes.values()
    return frozenset(each.id for each in registered if each.owner in {subject.ref, *subject.groups})


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
    question = _question(ports, session, standing, action, None)
    key = ("collections", question, standing.epochs.policies, laid_down.collections_as_they_are)

    def decide() -> frozenset[str]:
        resources = [*laid_down.collections.values()]
        rulings = _decided(ports, laid_down.policies, question, resources)
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
    ports: Ports,
    session: Session,
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
        terms=_terms(ports, session, standing, purpose, client, destination),
    )


def _terms(
    ports: Ports, session: Session, standing: Standing, purpose: str | None, client: str | None, destination: str | None
) -> Terms:
    """What the grants in force and the registers come to for this question, now.

    Of a purpose that is registered no longer nothing is known, so it needs consent and was registered for nothing.
    """
    opening = [each for each in standing.grants if each.purpose in (None, purpose)]
    asked_for = (purpose, client, destination)
    waiving = [each for each in standing.grants if (each.purpose, each.client, each.destination) == asked_for]
    opened = {(name, each.obligations) for each in opening for name in each.collections}
    owed = {Owed(obligation=owed, collection=name) for name, several in opened for owed in several}
    owed |= {Owed(obligation=owed, collection=None) for each in waiving if each.waives for owed in each.obligations}
    registers, subject, now = standing.registers, standing.principal.subject, standing.now
    stated = register(ports, session, standing).purposes.get(purpose) if purpose is not None else None
    used_in = subject.within if destination is None else registers.above({destination})
    return Terms(
        granted=frozenset(name for each in opening for name in each.collections),
        waived=frozenset(code for each in waiving for code in each.waives),
        owed=frozenset(owed),
        consents=_consents(ports, session, standing, purpose),
        consent_needed=purpose is not None and (stated is None or stated.consent_required),
        consented=purpose is not None
        and client is not None
        and any(each.covers(used_in, now) for each in _given(ports, session, standing, purpose, frozenset({client}))),
        transferable=destination is None or registers.transferable(subject, destination, now),
        purpose_categories=stated.categories if stated else None if purpose is None else frozenset(),
    )


def _consents(ports: Ports, session: Session, standing: Standing, purpose: str | None) -> frozenset[str]:
    """Of the clients that some boundary names, those whose consent is in force wherever this principal is bound to."""
    if purpose is None:
        return frozenset()
    key = ("clients-named", standing.epochs.boundaries)
    named = ports.memo.recall(key, lambda: _clients_named(_boundaries(ports, session, standing).values()))
    if not named:
        return frozenset()
    given = _given(ports, session, standing, purpose, named)
    principal = standing.principal
    bound = [principal.subject, *(actor for actor in principal.actors if actor.profile.jurisdictions)]
    covering = [{each.client for each in given if each.covers(party.within, standing.now)} for party in bound]
    return frozenset(f"{BY_CLIENT}{client}" for client in set.intersection(*covering))


def _given(
    ports: Ports, session: Session, standing: Standing, purpose: str, clients: frozenset[str]
) -> Sequence[Consent]:
    """The consents of these clients to that purpose that are recorded today, their time come or not."""
    return ports.memo.recall(
        ("consents", purpose, clients, standing.epochs.directory),
        lambda: jurisdictions.consents_to(session, purpose, clients),
        weigh=lambda found: 100 + 10 * len(found),
    )


def _clients_named(boundaries: Iterable[Boundary]) -> frozenset[str]:
    return frozenset(client for boundary in boundaries for client in clients_named(boundary.consents))


def _one(
    ports: Ports, standing: Standing, laid_down: Register, question: Question, resource: Collection | Institution
) -> Ruling:
    key = ("ruling", question, resource, standing.epochs.policies)
    return ports.memo.recall(key, lambda: _decided(ports, laid_down.policies, question, [resource])[0])


def _decided(ports: Ports, policies: str, question: Question, resources: Sequence[Resource]) -> list[Ruling]:
    """A ruling on each, in order, for whoever asks with these credentials.

    INVARIANT: whatever is decided for a principal comes by here, or, for all boundaries at once, by `_rulings`.
    """
    good = [each for each in resources if _in_scope(question, _home(each))]
    rulings = iter(decided(ports, policies, question, good) if good else ())
    return [next(rulings) if _in_scope(question, _home(each)) else DENIED for each in resources]


def _home(resource: Resource) -> str | None:
    """The collection that a credential has to be good for; None is the institution as a whole."""
    match resource:
        case Bounded():
            return resource.boundary.collection
        case Collection():
            return resource.name
        case _:
            return None


def _in_scope(question: Question, collection: str | None) -> bool:
    """Whether the credentials are good for it, and whoever asks for content is anybody at all. Asked before the policy
    is, and only narrows.

    INVARIANT: the bootstrap administrator, who is no person, reaches no content by any policy: else whoever holds its
    key could put a set in force that opens everything to it.
    """
    if question.principal.subject.ref == BOOTSTRAP_ADMINISTRATOR and question.action in _OF_CONTENT:
        return False
    return question.principal.may_use(question.action, collection)


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
    rulings = _owing(ports, _rulings(ports, standing, question, laid_down, known), question.terms, known)
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
    new = [id for id, each in resources.items() if id not in before and _in_scope(question, each.boundary.collection)]
    decided = reached(ports, laid_down.policies, question, [resources[id] for id in new])
    after = {**before, **dict(zip(new, decided, strict=True))}
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


def _owing(
    ports: Ports, rulings: Mapping[BoundaryId, Ruling], terms: Terms, known: Mapping[BoundaryId, Boundary]
) -> Mapping[BoundaryId, Ruling]:
    """The rulings with what grants oblige to beside the policies.

    A collection that a grant opened is read under the grant's obligations, whatever else permits parts of it.
    """
    if not terms.owed:
        return rulings

    def owing(id: BoundaryId, ruling: Ruling) -> Ruling:
        owed = [each.obligation for each in terms.owed if each.collection in (None, known[id].collection)]
        return _dischargeable(ports, Action.READ, replace(ruling, obligations=(*ruling.obligations, *sorted(owed))))

    return {id: owing(id, ruling) if ruling.allowed else ruling for id, ruling in rulings.items()}


def _resource(boundary: Boundary, collections: Mapping[str, Collection]) -> Bounded:
    collection = collections[boundary.collection]
    return Bounded(boundary=boundary.within(collection), collection=collection)


def _dischargeable(ports: Ports, action: Action, ruling: Ruling) -> Ruling:
    """A permit with an obligation that nobody here can discharge, a misspelt one too, is a denial. Of what other
    applications do, they say what they discharge."""
    theirs = action is Action.USE
    return ruling if theirs or all(discharge.can_be(ports, each) for each in ruling.obligations) else DENIED


def _obligations(rulings: Iterable[Ruling]) -> tuple[Obligation, ...]:
    """Each obligation once, with the policies that lay it on, in the order of its name."""
    by_name: dict[str, set[str]] = {}
    for ruling in rulings:
        for name in ruling.obligations:
            by_name.setdefault(name, set()).update(ruling.policies)
    return tuple(Obligation(id=name, policies=tuple(sorted(by_name[name]))) for name in sorted(by_name))  # type: ignore[arg-type]


def obligations_on(principal_reach: Reach, ids: Iterable[BoundaryId]) -> tuple[Obligation, ...]:
    """What must be done with an answer that shows content of these boundaries.

    Raises `ValueError` for one beyond the reach: a denial obliges to nothing, and nothing of it may be shown.
    """
    within = frozenset(ids)
    if not within <= principal_reach.boundaries:
        raise ValueError("obligations were asked for on what may not be read")
    return _obligations(principal_reach.grounds.rulings[id] for id in within)


# -- For simulation and explanation: decided by the same steps, for whoever it is asked about, and never a reach -------


def question_of(
    ports: Ports,
    session: Session,
    standing: Standing,
    action: Action,
    *,
    purpose: str | None = None,
    client: str | None = None,
    destination: str | None = None,
) -> Question:
    """What would be decided if this principal asked now."""
    return _question(ports, session, standing, action, purpose, client=client, destination=destination)


def known_boundaries(ports: Ports, session: Session, standing: Standing) -> Mapping[BoundaryId, Boundary]:
    """Every boundary there is, by id."""
    return _boundaries(ports, session, standing)


def resource_of(boundary: Boundary, collections: Mapping[str, Collection]) -> Bounded:
    """A boundary as it is decided about: filled in from its collection as it is today."""
    return _resource(boundary, collections)


def decided(ports: Ports, policies: str, question: Question, resources: Sequence[Resource]) -> list[Ruling]:
    """The ruling on each resource under a policy set, in force or not, as it would count: an obligation that nobody
    here can discharge is a denial. Raises `Unavailable` when the text is unusable."""
    rulings = ports.policy_engine.decide(policies, question, resources)
    return [_dischargeable(ports, question.action, ruling) for ruling in rulings]


def reached(ports: Ports, policies: str, question: Question, resources: Sequence[Bounded]) -> list[Ruling]:
    """As `decided` wherever that allows, and `DENIED` elsewhere: for thousands of boundaries."""
    rulings = ports.policy_engine.reachable(policies, question, resources)
    return [_dischargeable(ports, question.action, ruling) for ruling in rulings]
