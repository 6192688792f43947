"""One decision explained: which policies determined it, and what would have to change, tried by deciding again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice

from sqlalchemy.orm import Session

from app.domain.access import (
    Action,
    Boundary,
    Collection,
    Kind,
    PolicyId,
    PrincipalRef,
    Proof,
    Question,
    Ruling,
    kind_of,
)
from app.domain.checks import Rule
from app.domain.corpus import DocumentId
from app.domain.errors import Fault, Invalid, NotFound, NotPermitted
from app.domain.explanation import Case, Explanation, Limit, Proposal, ProposalKind, groups_in, limits, proposals
from app.domain.labels import UNKNOWN
from app.domain.trace import Trace, TraceId, TraceKind
from app.operations import authorize, review
from app.operations.attest import record
from app.operations.identify import Credentials, Standing, identify, standing_of
from app.operations.read import _View
from app.ports import Bounded, Institution, Ports, Resource
from app.store import directory
from app.store.database import reading

FOR_OVERSIGHT_ONLY = (
    "Administrators and auditors have decisions about others explained. Of your own questions, see "
    "GET /v1/traces/{id}/explanation."
)
MAX_TRIED = 400
"""Decisions in looking for what it takes together, a millisecond each."""
MAX_TOGETHER = 4
_MAX_WAYS = 20

_OVER_BOUNDARIES = (Action.READ, Action.DESCRIBE)
_OVER_COLLECTIONS = (Action.CURATE, Action.DISCOVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The decision that is to be explained. At most one of document, collection and boundary; none: the institution."""

    subject: PrincipalRef
    actors: tuple[PrincipalRef, ...] = ()
    """Whoever sends the request first."""
    proof: Proof = Proof.PROVEN
    second_factor: bool = False
    action: Action
    purpose: str | None = None
    client: str | None = None
    destination: str | None = None
    document: DocumentId | None = None
    collection: str | None = None
    boundary: Boundary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A decision explained; for one about reading, what becomes of a question as a whole, too."""

    explanation: Explanation
    asking: Ruling | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQuestion:
    """What whoever asked may know of why it was answered as it was."""

    trace: Trace
    asking: Explanation
    """Whether it may be asked at all, decided again today."""
    limits: tuple[Limit, ...]


def explain(ports: Ports, credentials: Credentials, wanted: Wanted) -> Told:
    """For administrators and auditors; of a document, for auditors who may describe it: its label is no business of
    an administrator. Raises `NotPermitted`, `NotFound`, and `Invalid` for what cannot be asked."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        _oversees(ports, session, standing, document=wanted.document is not None)
        laid_down = authorize.register(ports, session, standing)
        _check(session, laid_down, wanted)
        asker = _standing(ports, session, wanted)
        boundary, collection = _place(ports, session, credentials, laid_down, wanted)
        question = _question(ports, session, asker, wanted, wanted.action)
        case = Case(question=question, boundary=boundary, collection=collection)
        purposes = {
            each: _question(ports, session, asker, replace(wanted, purpose=each), wanted.action)
            for each in laid_down.purposes
        }
        above = _joinable(session, case, laid_down.rules)
        ask = _question(ports, session, asker, wanted, Action.ASK)
    explanation = _explained(ports, laid_down, case, purposes=purposes, above=above)
    asking = None
    if wanted.action is Action.READ:
        (asking,) = authorize.decided(ports, laid_down.policies, ask, [Institution()])
    request = {
        "what": "explain-decision",
        "about": wanted.subject,
        "action": wanted.action,
        "document": wanted.document,
    }
    record(ports, standing.principal, TraceKind.READ, outcome="answered", request=request)
    return Told(explanation=explanation, asking=asking)


def explain_own(ports: Ports, credentials: Credentials, id: TraceId) -> OwnQuestion:
    """Of a question on record, to whoever may see its trace. Raises `NotFound`.

    INVARIANT: a function of what was asked, of the asker's own attributes and of the rules, as they are today. Of what
    there is to be read, nothing: neither what was shown nor what was not.
    """
    with reading(ports.engine) as session:
        found = review.trace_as_of(ports, session, credentials, id).trace
        if found.kind is not TraceKind.RETRIEVE:
            raise NotFound("That trace is not of a question, so there is no decision on one to explain.")
        standing = standing_of(ports, session, found.subject, actors=found.actors, proof=found.proof)
        laid_down = authorize.register(ports, session, standing)

        def question(purpose: str | None) -> Question:
            asked = found.request
            return authorize.question_of(
                ports,
                session,
                standing,
                Action.ASK,
                purpose=purpose,
                client=asked.get("client"),
                destination=asked.get("destination"),
            )

        purpose = found.request.get("purpose")
        case = Case(question=question(purpose))
        purposes = {each: question(each) for each in laid_down.purposes}
    return OwnQuestion(
        trace=found,
        asking=_explained(ports, laid_down, case, purposes=purposes, above={}),
        limits=limits(standing.principal, purpose, laid_down.rules),
    )


# -- What is asked -----------------------------------------------------------------------------------------------------


def _oversees(ports: Ports, session: Session, standing: Standing, *, document: bool) -> None:
    audits = authorize.permitted(ports, session, standing, Action.AUDIT, Institution())
    if not (audits or authorize.permitted(ports, session, standing, Action.MANAGE, Institution())):
        raise NotPermitted(FOR_OVERSIGHT_ONLY)
    if document and not audits:
        raise NotPermitted("Only auditors have decisions on a document explained. State a boundary's fields instead.")


def _check(session: Session, laid_down: authorize.Register, wanted: Wanted) -> None:
    faults = [
        Fault(detail=f"{ref} is not in the directory.", pointer="/subject" if ref == wanted.subject else "/actors")
        for ref in directory.missing(session, (wanted.subject, *wanted.actors))
    ]
    if kind_of(wanted.subject) is Kind.GROUP:
        faults.append(Fault(detail="A group asks nothing: name one of its members.", pointer="/subject"))
    if any(kind_of(actor) is not Kind.ASSISTANT for actor in wanted.actors):
        faults.append(Fault(detail="Only assistants act for others.", pointer="/actors"))
    if wanted.proof is Proof.ASSERTED and not wanted.actors:
        faults.append(Fault(detail="Only an assistant asserts who the subject is.", pointer="/proof"))
    if wanted.purpose is not None and wanted.purpose not in laid_down.purposes:
        faults.append(Fault(detail="Not a registered purpose: see GET /v1/purposes.", pointer="/purpose"))
    name = wanted.boundary.collection if wanted.boundary is not None else wanted.collection
    if name is not None and name not in laid_down.collections:
        faults.append(Fault(detail=f"{name} is not a collection.", pointer="/resource"))
    faults += _misfits(wanted)
    if faults:
        raise Invalid("That is no question that could be asked here.", faults=tuple(faults))


def _misfits(wanted: Wanted) -> list[Fault]:
    content = wanted.document is not None or wanted.boundary is not None
    if wanted.action in _OVER_BOUNDARIES:
        fits, needs = content or wanted.collection is not None, "a document, a boundary, or a collection's default one"
    elif wanted.action in _OVER_COLLECTIONS:
        fits, needs = wanted.collection is not None and not content, "a collection"
    else:
        fits, needs = not content and wanted.collection is None, "the institution, and no resource is named"
    return [] if fits else [Fault(detail=f"{wanted.action} is decided over {needs}.", pointer="/resource")]


def _standing(ports: Ports, session: Session, wanted: Wanted) -> Standing:
    standing = standing_of(ports, session, wanted.subject, actors=wanted.actors, proof=wanted.proof)
    return replace(standing, principal=replace(standing.principal, second_factor=wanted.second_factor))


def _question(ports: Ports, session: Session, asker: Standing, wanted: Wanted, action: Action) -> Question:
    return authorize.question_of(
        ports,
        session,
        asker,
        action,
        purpose=wanted.purpose,
        client=wanted.client,
        destination=wanted.destination,
    )


def _place(
    ports: Ports, session: Session, credentials: Credentials, laid_down: authorize.Register, wanted: Wanted
) -> tuple[Boundary | None, Collection | None]:
    """The boundary, filled in, and the collection that it is decided over. Raises `NotFound` for a document that is
    absent, or that the auditor may not describe."""
    boundary = wanted.boundary
    if wanted.document is not None:
        view = _View.of(ports, session, credentials, Action.DESCRIBE, None)
        boundary = view.at_place(session, wanted.document, None).version.boundary
    name = boundary.collection if boundary is not None else wanted.collection
    if name is None:
        return None, None
    collection = laid_down.collections[name]
    if boundary is None and wanted.action in _OVER_BOUNDARIES:
        boundary = Boundary(collection=name, label=collection.default_label or UNKNOWN)
    return (boundary.within(collection) if boundary is not None else None), collection


def _joinable(session: Session, case: Case, rules: Sequence[Rule]) -> Mapping[PrincipalRef, frozenset[PrincipalRef]]:
    """The groups that could be joined for it, and the groups that each is in."""
    wanted = set(groups_in(rules))
    if case.boundary is not None:
        wanted |= case.boundary.readers
    if case.collection is not None:
        wanted |= case.collection.owners
    known = {ref for ref in wanted if kind_of(ref) is Kind.GROUP} - set(directory.missing(session, wanted))
    return {ref: directory.groups_above(session, [ref]) for ref in known}


# -- Deciding ----------------------------------------------------------------------------------------------------------


class _Bench:
    """Decides cases under one policy set, and under its permits alone, and counts how often."""

    def __init__(self, ports: Ports, laid_down: authorize.Register) -> None:
        self._ports, self._policies = ports, laid_down.policies
        self._permits = "\n".join(rule.cedar for rule in laid_down.rules if rule.permits)
        self.tried = 0

    def ruling(self, case: Case) -> Ruling:
        return self._decided(self._policies, case)

    def permits(self, case: Case) -> tuple[PolicyId, ...]:
        """The permits that apply, whatever forbids."""
        ruling = self._decided(self._permits, case)
        return ruling.policies if ruling.allowed else ()

    def _decided(self, policies: str, case: Case) -> Ruling:
        self.tried += 1
        (ruling,) = authorize.decided(self._ports, policies, case.question, [_resource(case)])
        return ruling


def _resource(case: Case) -> Resource:
    if case.boundary is not None and case.collection is not None:
        return Bounded(boundary=case.boundary, collection=case.collection)
    return case.collection or Institution()


def _explained(
    ports: Ports,
    laid_down: authorize.Register,
    case: Case,
    *,
    purposes: Mapping[str, Question],
    above: Mapping[PrincipalRef, frozenset[PrincipalRef]],
) -> Explanation:
    bench = _Bench(ports, laid_down)
    ruling = bench.ruling(case)
    permits = ruling.policies if ruling.allowed else bench.permits(case)
    forbids = () if ruling.allowed else ruling.policies
    ways: Sequence[tuple[Proposal, ...]] = ()
    unmet: tuple[PolicyId, ...] = ()
    if not ruling.allowed:
        tried = proposals(case, laid_down.rules, forbids, purposes=purposes, above=above)
        ways, unmet = _ways(bench, case, tried, forbids=frozenset(forbids), permitted=bool(permits))
    return Explanation(
        case=case,
        ruling=ruling,
        permits=tuple(rule for rule in laid_down.rules if rule.id in permits),
        forbids=tuple(rule for rule in laid_down.rules if rule.id in forbids),
        ways=tuple(ways),
        unmet=unmet,
    )


def _ways(
    bench: _Bench, case: Case, tried: Sequence[Proposal], *, forbids: frozenset[PolicyId], permitted: bool
) -> tuple[Sequence[tuple[Proposal, ...]], tuple[PolicyId, ...]]:
    """What is enough: each single thing that is; else the smallest combinations of what helps at all.

    And the forbids that nothing lifts. What is told was decided again; what is not told may have escaped a search that
    is bounded.
    """
    enough: list[tuple[Proposal, ...]] = []
    helping: list[Proposal] = []
    lifted: set[PolicyId] = set()
    for each in tried:
        changed = each.of(case)
        ruling = bench.ruling(changed)
        if ruling.allowed:
            enough.append((each,))
            continue
        now = frozenset(ruling.policies)
        lifted |= forbids - now
        helps = bool(forbids - now) or (not permitted and bool(bench.permits(changed)))
        if helps or each.kind is ProposalKind.OWN_PURPOSES:  # which another purpose may need beside it
            helping.append(each)
    if enough:
        return enough[:_MAX_WAYS], ()
    unmet = tuple(sorted(forbids - lifted))
    if not unmet:
        for number in range(2, MAX_TOGETHER + 1):
            several = combinations(helping, number)
            enough = [those for those in _within(bench, several) if bench.ruling(_all_of(those, case)).allowed]
            if enough:
                return enough[:_MAX_WAYS], ()
    return (), unmet


def _within(bench: _Bench, several: "combinations[tuple[Proposal, ...]]") -> "islice[tuple[Proposal, ...]]":
    return islice(several, max(0, MAX_TRIED - bench.tried))


def _all_of(several: Sequence[Proposal], case: Case) -> Case:
    for each in several:
        case = each.of(case)
    return case
