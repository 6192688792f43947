"""Decisions for other applications, which enforce them where they stand (OpenID AuthZEN Authorization API 1.0).

What is asked about is ours (documents, collections, the institution) or a thing of the application's own. Of what is
ours, whoever asks learns no more than it may know itself: what is hidden from it, absent or forbidden is one denial.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sqlalchemy.orm import Session

from app.domain.access import Action, Kind, PolicyId, PrincipalRef, Ruling, Use
from app.domain.corpus import DocumentId, Version
from app.domain.errors import Invalid
from app.domain.stated import Stated
from app.domain.trace import Account, TraceId
from app.operations import authorize, read
from app.operations.attest import attest_decisions
from app.operations.identify import Credentials, Standing, identify, standing_about
from app.operations.read import Circumstances
from app.ports import Institution, Named, Ports, Resource, Thing
from app.store import corpus, directory, sources
from app.store.database import reading

NAMESPACE = "authzen"
"""Of the identities by which applications call users that have another name here."""

MAX_EVALUATIONS = 500
"""Of one request; each may be about another principal, which costs about a millisecond."""

MAX_PAGE = 200
_MAX_LOOKED_AT = 1_000
"""Principals that one page of a search looks at: the page is then short, and the next goes on behind them."""

ENFORCEMENT_POINTS_ONLY = (
    "No policy in force lets this principal ask what others may do, since the answers disclose it. By default those in "
    "group:enforcement-points do: ask an administrator, to whom `muniment policy diff` tells whether that rule is in "
    "force. About itself everybody may ask."
)
OURS_REFUSED = (
    "It is not allowed, or there is no such thing here that you may know of. If you expected it, ask the owner of its "
    "collection."
)
"""Of everything that is ours: denied, hidden, absent and no possible action are told the same."""
_NO_ACTOR = "Users and assistants are who acts here. Ask about one of them."
_NOT_PERMITTED = "No policy permits this. Ask an administrator."

_DOCUMENT = re.compile(r"doc_[a-z0-9]{26}")
"""A document that goes by another id is another application's."""
_OURS: Mapping[str, tuple[Action, ...]] = {
    "document": (Action.CURATE, Action.DESCRIBE, Action.READ),
    "collection": (Action.CURATE, Action.DISCOVER),
    "institution": (Action.ASK,),
}
_THE_INSTITUTION = "institution"
_AT_ONCE = 50
"""Candidates of a search that are decided together."""


class Semantic(StrEnum):
    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """A subject as an application calls it."""

    type: str
    id: str
    stated: Stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under which circumstances, and through which assistants: what the context of a question says."""

    circumstances: Circumstances
    actors: tuple[PrincipalRef, ...]
    stated: Stated
    discharges: frozenset[str]
    """Obligations that the application says it knows and does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """May this subject do this to that?"""

    subject: Somebody
    operation: str
    of_operation: Stated
    resource: Thing
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An inquiry among others that is not of the form: it is denied, and the others are decided."""

    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided: `policies` determined it, and `reasons` are for whoever is denied."""

    allowed: bool
    policies: tuple[PolicyId, ...] = ()
    reasons: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    error: str | None = None
    """Said of an inquiry that could not be decided."""
    ours: bool = False
    """About what is ours, and so the policies are for the record alone: they would tell of its label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where to begin, and how much: `query` is all else that was asked, which the token is bound to."""

    query: Account
    token: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Ids or names, and the token of the page behind these; empty at the end."""

    names: tuple[str, ...]
    next_token: str
    trace: TraceId


def evaluate(
    ports: Ports,
    credentials: Credentials,
    inquiries: Sequence[Inquiry | Unreadable],
    *,
    semantic: Semantic,
    request: Account,
) -> tuple[list[Decision], TraceId]:
    """A decision for each, in order, up to the one that the semantic stops at; on record, with what decided.

    Raises `NotPermitted` if one is about somebody else and whoever asks is no enforcement point.
    """
    with reading(ports.engine) as session:
        desk = _Desk.of(ports, session, credentials)
        answers = iter(desk.decide([each for each in inquiries if isinstance(each, Inquiry)]))
    decisions = [
        next(answers) if isinstance(each, Inquiry) else Decision(allowed=False, error=each.because)
        for each in inquiries
    ]
    decisions = _until(decisions, semantic)
    trace = attest_decisions(
        ports,
        desk.asking,
        request=request,
        response={"decisions": [each.allowed for each in decisions]},
        grounds={"policies": [[*each.policies] for each in decisions]},
    )
    return decisions, trace


def search_subjects(
    ports: Ports, credentials: Credentials, kind: str, ask: Callable[[str], Inquiry], page: Page
) -> Found:
    """The active principals of a kind who may; `ask` puts the question about one of them."""
    with reading(ports.engine) as session:
        desk = _Desk.of(ports, session, credentials)
        desk.require_enforcement_point()
        skip = desk.beginning(page)
        acting = Kind(kind) if kind in (Kind.USER, Kind.ASSISTANT) else None
        refs = directory.active_refs(session, acting, skip=skip, limit=_MAX_LOOKED_AT + 1) if acting else []
        names, looked_at = desk.first(refs[:_MAX_LOOKED_AT], ask, page.limit)
        more = looked_at < len(refs)
        called = desk.called(names)
    return desk.found(page, called, skip + looked_at if more else None)


def search_resources(
    ports: Ports, credentials: Credentials, type: str, ask: Callable[[str], Inquiry], page: Page
) -> Found:
    """What of a type the subject may do this to: of ours, what whoever asks may know of; of other applications', what
    policies name, since nothing else of theirs is known here."""
    with reading(ports.engine) as session:
        desk = _Desk.of(ports, session, credentials)
        some = ask("")
        standing = desk.standings([some])[0]
        if type == "document" and standing is not None:
            names, after = desk.documents(standing, some, ask, page)
            return desk.found(page, names, after)
        skip = desk.beginning(page)
        candidates = desk.known_of(type)[skip:]
        names, looked_at = desk.first(candidates, ask, page.limit)
    return desk.found(page, names, skip + looked_at if looked_at < len(candidates) else None)


def search_actions(
    ports: Ports, credentials: Credentials, resource: Thing, ask: Callable[[str], Inquiry], page: Page
) -> Found:
    """What the subject may do to it, of all that is done to ours, or that policies name of other applications'."""
    with reading(ports.engine) as session:
        desk = _Desk.of(ports, session, credentials)
        desk.standings([ask("")])
        skip = desk.beginning(page)
        candidates = (_OURS[resource.type] if _is_ours(resource) else desk.named.operations)[skip:]
        names, looked_at = desk.first(candidates, ask, page.limit)
    return desk.found(page, names, skip + looked_at if looked_at < len(candidates) else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """One request at the decision point: who asks, and what is remembered while it is answered."""

    ports: Ports
    session: Session
    asking: Standing
    laid_down: authorize.Register
    versions: dict[DocumentId, list[Version]] = field(default_factory=dict)
    known: dict[tuple[PrincipalRef, tuple[PrincipalRef, ...]], Standing] = field(default_factory=dict)

    @classmethod
    def of(cls, ports: Ports, session: Session, credentials: Credentials) -> "_Desk":
        asking = identify(ports, session, credentials)
        laid_down = authorize.register(ports, session, asking)
        return cls(ports=ports, session=session, asking=asking, laid_down=laid_down)

    @property
    def named(self) -> Named:
        return self.ports.policy_engine.named(self.laid_down.policies)

    def require_enforcement_point(self) -> None:
        authorize.require(
            self.ports, self.session, self.asking, Action.EVALUATE, Institution(), otherwise=ENFORCEMENT_POINTS_ONLY
        )

    def standings(self, inquiries: Sequence[Inquiry]) -> list[Standing | None]:
        """Where the subject of each stands; None for what is no user and no assistant.

        INVARIANT: the answer is the same whoever the others are, or if there are none by such names: whether they may
        be asked about hangs on whoever asks alone.
        """
        refs = self._refs(inquiries)
        asked = [
            (ref, each.setting.actors) if ref is not None else None for ref, each in zip(refs, inquiries, strict=True)
        ]
        if not all(each is not None and self._is_oneself(*each) for each in asked):
            self.require_enforcement_point()
        return [each and self._standing(*each) for each in asked]

    def decide(self, inquiries: Sequence[Inquiry]) -> list[Decision]:
        """A decision for each, in order: those that differ in nothing but the resource are decided together."""
        standings = self.standings(inquiries)
        decisions = [Decision(allowed=False, reasons=(_NO_ACTOR,))] * len(inquiries)
        together: dict[tuple[Inquiry, PrincipalRef], list[int]] = {}
        for n, (each, standing) in enumerate(zip(inquiries, standings, strict=True)):
            if standing is not None:
                together.setdefault((_matter(each), standing.principal.subject.ref), []).append(n)
        for (matter, _), places in together.items():
            standing = standings[places[0]]
            assert standing is not None
            things = [inquiries[n].resource for n in places]
            try:
                decided = self._decided(standing, matter, things)
            except Invalid as error:
                decided = [Decision(allowed=False, error=error.detail)] * len(things)
            for n, decision in zip(places, decided, strict=True):
                decisions[n] = decision
        return decisions

    def first(self, candidates: Sequence[str], ask: Callable[[str], Inquiry], limit: int) -> tuple[list[str], int]:
        """The first of these that are allowed, up to a limit, and how many were looked at for them."""
        names: list[str] = []
        for start in range(0, len(candidates), _AT_ONCE):
            some = candidates[start : start + _AT_ONCE]
            for n, (name, decision) in enumerate(
                zip(some, self.decide([ask(name) for name in some]), strict=True), start=start
            ):
                if decision.allowed:
                    if len(names) == limit:
                        return names, n
                    names.append(name)
        return names, len(candidates)

    def documents(
        self, standing: Standing, some: Inquiry, ask: Callable[[str], Inquiry], page: Page
    ) -> tuple[list[str], tuple[str, str] | None]:
        """A page of our documents; short if some of those that are shown may not be what is asked, such as curated."""
        action = Action.READ if some.operation == Action.READ else Action.DESCRIBE
        place = _place(self.ports, self.asking, page)
        if place is not None and not isinstance(place, tuple):
            raise Invalid(_NOT_OURS)
        try:
            shown, after = read.shared_page(
                self.ports,
                self.session,
                standing,
                self.asking,
                action,
                some.setting.circumstances,
                after=place,
                limit=page.limit,
            )
        except Invalid:  # a purpose that is not registered: nothing is allowed for it
            return [], None
        names, _ = self.first(shown, ask, page.limit)
        return names, after

    def beginning(self, page: Page) -> int:
        """How many candidates the pages before this one looked at."""
        place = _place(self.ports, self.asking, page)
        if isinstance(place, tuple):
            raise Invalid(_NOT_OURS)
        return place or 0

    def known_of(self, type: str) -> list[str]:
        """What there may be of a type, besides documents: what whoever asks may know of ours, or policies name."""
        if type == "collection":
            return sorted(self._collections())
        return [_THE_INSTITUTION] if type == "institution" else [*self.named.things]

    def called(self, refs: Sequence[str]) -> list[str]:
        """Principals by the ids that mean them in a request: without their kind, unless that would mean another."""
        names = {ref: ref.partition(":")[2] for ref in refs}
        foreign = sources.foreign_users(self.session, NAMESPACE, names.values())
        return [name if foreign.get(name, ref) == ref else ref for ref, name in names.items()]

    def found(self, page: Page, names: Sequence[str], after: int | tuple[str, str] | None) -> Found:
        token = "" if after is None else _token(self.ports, self.asking, page, after)
        trace = attest_decisions(
            self.ports,
            self.asking,
            request={**page.query, "page": {"token": page.token, "limit": page.limit}},
            response={"results": [*names], "more": after is not None},
            grounds={},
        )
        return Found(names=tuple(names), next_token=token, trace=trace)

    def _refs(self, inquiries: Sequence[Inquiry]) -> list[PrincipalRef | None]:
        """Who is meant. An id with its kind in front means ours; without it, a user whom our namespace of identities
        says, before one of that name here."""
        subjects = [each.subject for each in inquiries]
        foreign = sources.foreign_users(
            self.session, NAMESPACE, {each.id for each in subjects if each.type == Kind.USER}
        )

        def ref(each: Somebody) -> PrincipalRef | None:
            if each.type not in (Kind.USER, Kind.ASSISTANT):
                return None
            if each.id.startswith(f"{each.type}:"):
                return PrincipalRef(each.id)
            own = PrincipalRef(f"{each.type}:{each.id}")
            return foreign.get(each.id, own) if each.type == Kind.USER else own

        return [*map(ref, subjects)]

    def _is_oneself(self, ref: PrincipalRef, actors: tuple[PrincipalRef, ...]) -> bool:
        """Whether it is asked about nobody but those who ask."""
        principal = self.asking.principal
        return ref == principal.subject.ref and {*actors} <= {actor.ref for actor in principal.actors}

    def _standing(self, ref: PrincipalRef, actors: tuple[PrincipalRef, ...]) -> Standing:
        if self._is_oneself(ref, actors):
            return self.asking
        if (ref, actors) not in self.known:
            self.known[ref, actors] = standing_about(self.ports, self.session, self.asking, ref, actors=actors)
        return self.known[ref, actors]

    def _decided(self, standing: Standing, matter: Inquiry, things: Sequence[Thing]) -> list[Decision]:
        if not _is_ours(things[0]):
            return self._of_others(standing, matter, things)
        type, stated = things[0].type, matter.setting.circumstances
        if matter.operation not in _OURS[type]:
            return [_of_ours(False)] * len(things)
        action = Action(matter.operation)
        if type == "document":
            return self._documents(standing, action, [DocumentId(each.name) for each in things], matter.setting)
        if type == "institution":
            return [*map(_plainly, self._rulings(standing, action, [Institution()] * len(things), stated))]
        known = self._collections()
        there = {each.name: self.laid_down.collections[each.name] for each in things if each.name in known}
        rulings = dict(zip(there, self._rulings(standing, action, [*there.values()], stated), strict=True))
        return [_plainly(rulings[each.name]) if each.name in rulings else _of_ours(False) for each in things]

    def _documents(
        self, standing: Standing, action: Action, ids: Sequence[DocumentId], setting: Setting
    ) -> list[Decision]:
        for id in ids:
            if id not in self.versions:
                self.versions[id] = corpus.versions_of(self.session, id, valid_at=self.asking.now)
        seen = Action.DESCRIBE if action is Action.CURATE else action
        several = [version for id in dict.fromkeys(ids) for version in self.versions[id]]
        shown = read.shared(self.ports, self.session, standing, self.asking, seen, several, setting.circumstances)
        homes = frozenset(self.laid_down.collections)
        if action is Action.CURATE:
            homes = authorize.curated_collections(self.ports, self.session, standing)
        return [
            _of_ours(
                each.shown and each.collection in homes and setting.discharges.issuperset(each.obligations),
                each.policies,
                obligations=each.obligations,
            )
            if (each := shown.get(id))
            else _of_ours(False)
            for id in ids
        ]

    def _of_others(self, standing: Standing, matter: Inquiry, things: Sequence[Thing]) -> list[Decision]:
        use = Use(
            operation=matter.operation,
            of_operation=matter.of_operation,
            of_subject=matter.subject.stated,
            of_request=matter.setting.stated,
        )
        rulings = self._rulings(standing, Action.USE, things, matter.setting.circumstances, use=use)
        return [self._explained(ruling, matter.setting.discharges) for ruling in rulings]

    def _rulings(
        self,
        standing: Standing,
        action: Action,
        resources: Sequence[Resource],
        stated: Circumstances,
        *,
        use: Use | None = None,
    ) -> list[Ruling]:
        return authorize.rulings(
            self.ports,
            self.session,
            standing,
            action,
            resources,
            purpose=stated.purpose,
            client=stated.client,
            destination=stated.destination,
            use=use,
        )

    def _explained(self, ruling: Ruling, discharges: frozenset[str]) -> Decision:
        """A ruling on what is another application's: it may know its own rules."""
        undone = [each for each in ruling.obligations if each not in discharges]
        if ruling.allowed and undone:
            said = f"It is allowed to an application that says in context.discharges that it does: {', '.join(undone)}."
            return Decision(allowed=False, policies=ruling.policies, reasons=(said,))
        reasons = tuple(rule.reason for rule in self.laid_down.rules if rule.id in ruling.policies)
        return Decision(
            allowed=ruling.allowed,
            policies=ruling.policies,
            reasons=reasons or (_NOT_PERMITTED,),
            obligations=ruling.obligations,
        )

    def _collections(self) -> frozenset[str]:
        """The names of those that whoever asks may know of."""
        return (
            authorize.discoverable_collections(self.ports, self.session, self.asking)
            | authorize.curated_collections(self.ports, self.session, self.asking)
            | authorize.readable_collections(self.ports, self.session, self.asking)
        )


def _of_ours(allowed: bool, policies: tuple[PolicyId, ...] = (), *, obligations: tuple[str, ...] = ()) -> Decision:
    """INVARIANT: every denial of what is ours is told in the same words, whatever is behind it."""
    if allowed:
        return Decision(allowed=True, policies=policies, obligations=obligations, ours=True)
    return Decision(allowed=False, policies=policies, reasons=(OURS_REFUSED,), ours=True)


def _plainly(ruling: Ruling) -> Decision:
    """A ruling on what is ours; an obligation is laid on passages and texts, so elsewhere it is a denial."""
    return _of_ours(ruling.allowed and not ruling.obligations, ruling.policies)


def _is_ours(thing: Thing) -> bool:
    return thing.type in _OURS and (thing.type != "document" or _DOCUMENT.fullmatch(thing.name) is not None)


def _matter(inquiry: Inquiry) -> Inquiry:
    """All of an inquiry but which thing of ours, or of others, it is about."""
    return replace(inquiry, resource=Thing(type=inquiry.resource.type if _is_ours(inquiry.resource) else "", name=""))


def _until(decisions: Sequence[Decision], semantic: Semantic) -> list[Decision]:
    """The decisions up to the one that says what comes of all of them."""
    if semantic is Semantic.EXECUTE_ALL:
        return [*decisions]
    telling = semantic is Semantic.PERMIT_ON_FIRST_PERMIT
    end = next((n for n, each in enumerate(decisions, start=1) if each.allowed is telling), len(decisions))
    return [*decisions[:end]]


_NOT_OURS = "That page token is not one that was given out for this search. Begin again without one."


def _token(ports: Ports, asking: Standing, page: Page, place: int | tuple[str, str]) -> str:
    """Continues this search, for whoever asks, and no other."""
    said = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    return f"{said}.{_seal(ports, asking, page, said)}"


def _place(ports: Ports, asking: Standing, page: Page) -> int | tuple[str, str] | None:
    """Where a page begins, by its token; None for the first. Raises `Invalid` for a token of another search."""
    if not page.token:
        return None
    said, _, seal = page.token.partition(".")
    if not hmac.compare_digest(seal.encode(), _seal(ports, asking, page, said).encode()):
        raise Invalid(_NOT_OURS)
    place = json.loads(base64.urlsafe_b64decode(said))
    return place if isinstance(place, int) else (str(place[0]), str(place[1]))


def _seal(ports: Ports, asking: Standing, page: Page, said: str) -> str:
    bound = json.dumps([asking.principal.label, page.query, said], sort_keys=True)
    return hmac.new(ports.pepper, b"search-page:" + bound.encode(), hashlib.sha256).hexdigest()[:32]
