"""Separation of duties: whoever lays down who may see what opens nothing to itself by it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from sqlalchemy.orm import Session

from app.domain.access import (
    BOOTSTRAP_ADMINISTRATOR,
    Action,
    Boundary,
    BoundaryId,
    Collection,
    Kind,
    Party,
    PrincipalRef,
    Proof,
    Purpose,
    Question,
    Ruling,
)
from app.domain.errors import NotPermitted
from app.domain.foreign import ForeignName
from app.domain.instants import Instant
from app.domain.jurisdictions import BY_CLIENT, Consent, Registers
from app.domain.labels import Label, Level
from app.operations import authorize
from app.operations.identify import Standing, standing_of
from app.ports import Institution, Ports, Resource
from app.store import boundaries, directory, jurisdictions, registry
from app.store import sources as source_store
from app.store.database import Moving, recording

NOT_FOR_ONESELF = "That would open something to yourself; nothing was changed. Ask another administrator to do it."


def would_open(ports: Ports, session: Session, standing: Standing, *, before: str, after: str) -> bool:
    """Whether a policy set lets its principal do or see anything that another does not, of all there is today, or with
    less that it is obliged to; or might, because what differs hangs on what can be stated with a question.

    Each party is looked at alone: what an assistant may not pass on is open to its subject without it.
    """
    parties = (standing.principal.subject.ref, *standing.principal.acting)
    if any(ref != BOOTSTRAP_ADMINISTRATOR for ref in parties) and _hangs_on_what_is_stated(ports, before, after):
        return True
    alone = [standing_of(ports, session, ref, actors=(), proof=Proof.PROVEN) for ref in parties]
    return any(_would_open(ports, session, each, before=before, after=after) for each in alone)


def _hangs_on_what_is_stated(ports: Ports, before: str, after: str) -> bool:
    """Whether what the one set permits and the other does not, or no longer forbids, is about a client, a destination,
    a second factor, an assistant or a purpose, which may be registered afterwards: too many to be tried."""
    old, new = ({(each.permits, each.cedar) for each in ports.policy_engine.rules(text)} for text in (before, after))
    gone = [cedar for permits, cedar in old - new if not permits]
    instead = [cedar for permits, cedar in new - old if permits or gone]  # a forbid may take the place of one
    loosened = [*gone, *instead]
    return any(_CONTEXT.search(_TRIED.sub("", cedar)) for cedar in loosened)


_CONTEXT = re.compile(r"\bcontext\b")
_TRIED = re.compile(r"\bcontext\s*(?:\.|\bhas\b)\s*(?:granted|waived)\b")
"""What of a context others give. What else names it, in a comment too, was not tried."""


def _would_open(ports: Ports, session: Session, standing: Standing, *, before: str, after: str) -> bool:
    """INVARIANT: what a collection may come to hold is looked at with what it holds, whoever reaches content at all."""
    laid_down = authorize.register(ports, session, standing)
    homes = laid_down.collections
    there = [*authorize.known_boundaries(ports, session, standing).values()]
    known = [*there, *_to_come(standing.principal.subject.ref, homes, there)]
    bounded = [authorize.resource_of(each, homes) for each in known if each.collection in homes]

    def more(question: Question, resources: Sequence[Resource]) -> bool:
        old = authorize.decided(ports, before, question, resources)
        new = authorize.decided(ports, after, question, resources)
        return any(_wider(*each) for each in zip(old, new, strict=True))

    def more_seen(question: Question) -> bool:
        old = authorize.reached(ports, before, question, bounded)
        new = authorize.reached(ports, after, question, bounded)
        return any(_wider(*each) for each in zip(old, new, strict=True))

    def asked(action: Action, purpose: str | None = None) -> Question:
        return authorize.question_of(ports, session, standing, action, purpose=purpose)

    purposes = (None, *laid_down.purposes)
    return (
        any(more(asked(action), [Institution()]) for action in _POWERS)
        or any(more(asked(Action.ASK, purpose), [Institution()]) for purpose in purposes)
        or any(more(asked(action), [*homes.values()]) for action in (Action.DISCOVER, Action.CURATE))
        or any(more_seen(asked(action, purpose)) for action in (Action.READ, Action.DESCRIBE) for purpose in purposes)
    )


def _to_come(ref: PrincipalRef, homes: Iterable[str], there: Iterable[Boundary]) -> Iterator[Boundary]:
    """What each collection may come to hold for whom it is open to: every level, with and without all categories that
    anything has. Who is named as a reader later is named by somebody else."""
    if ref == BOOTSTRAP_ADMINISTRATOR:
        return
    known = frozenset(category for each in there for category in each.label.categories) | {"pii", "phi"}
    for name, level, categories in product(homes, Level, (frozenset[str](), known)):
        yield Boundary(collection=name, label=Label(level=level, categories=categories))


def _wider(was: Ruling, now: Ruling) -> bool:
    return now.allowed and not (was.allowed and {*was.obligations} <= {*now.obligations})


_POWERS = (Action.AUDIT, Action.PROVISION, Action.EVALUATE, Action.BREAK_GLASS)


@contextmanager
def laying_down(ports: Ports, standing: Standing, *moving: Moving) -> Iterator[tuple[Session, Instant]]:
    """As `recording`. Raises `NotPermitted` at its end, and nothing is changed, if whoever does it would hold more.

    What somebody holds is compared, not what there is to see today: what would open to them later counts too. The
    bootstrap administrator is not looked at: it reaches no content, whatever it holds.
    """
    everybody = (standing.principal.subject, *standing.principal.actors)
    parties = [party.ref for party in everybody if party.ref != BOOTSTRAP_ADMINISTRATOR]
    with recording(ports.engine, ports.now(), *moving) as (session, at):
        before = [_held(session, ref) for ref in parties]
        yield session, at
        session.flush()
        after = [_held(session, ref) for ref in parties]
        pairs = [*zip(before, after, strict=True)]
        if any(_more(session, *each) or _receives_more(*each, now=at) for each in pairs):
            raise NotPermitted(NOT_FOR_ONESELF)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """All by which a party may see something."""

    party: Party
    refs: frozenset[PrincipalRef]
    """By which it can be named: itself and its groups."""
    collections: Mapping[str, Collection]
    names: frozenset[tuple[str, ForeignName]]
    """By which other directories mean it."""
    registers: Registers
    """By which data of other jurisdictions may be used where it is."""
    purposes: Mapping[str, Purpose]


def _held(session: Session, ref: PrincipalRef) -> _Held:
    party = directory.party(session, ref)
    refs = frozenset({party.ref, *party.groups})
    return _Held(
        party=party,
        refs=refs,
        collections=registry.collections(session),
        names=source_store.names_of(session, refs),
        registers=jurisdictions.registers(session),
        purposes=registry.purposes(session),
    )


def _more(session: Session, before: _Held, after: _Held) -> bool:
    return (
        _raised(before.party, after.party)
        or not after.names <= before.names
        or _eased(before, after)
        or any(_opened(before, after, name) for name in after.collections)
        or any(_named(session, after, name) for name in after.collections if _unbound(before, after, name))
    )


def _eased(before: _Held, after: _Held) -> bool:
    """Whether a purpose that it may state asks for less than before, or has become its own to answer for."""
    stated = after.party.profile.purposes
    for name, new in after.purposes.items():
        old = before.purposes.get(name)
        if new.owner in after.refs and (old is None or old.owner not in before.refs):
            return True
        if old is None or (stated and name not in stated):
            continue
        wider = old.categories is not None and (new.categories is None or not new.categories <= old.categories)
        if wider or (old.consent_required and not new.consent_required):
            return True
    return False


def _receives_more(before: _Held, after: _Held, *, now: Instant) -> bool:
    """Whether data of a jurisdiction may be used where it is, now or at any time to come, and might not before."""
    rules = (*before.registers.transfers, *after.registers.transfers)
    turns = {now, *(turn for rule in rules for turn in (rule.valid_from, rule.expires_at) if turn > now)}
    was, places = before.party.profile.jurisdictions, after.party.profile.jurisdictions
    return any(not after.registers.receives(places, at) <= before.registers.receives(was, at) for at in turns)


def opens_to(session: Session, standing: Standing, given: Consent) -> bool:
    """Whether a consent opens documents that name its client to whoever puts it on record."""
    principal = standing.principal
    named = f"{BY_CLIENT}{given.client}"
    homes = registry.collections(session)
    for party in (principal.subject, *principal.actors):
        refs = {party.ref, *party.groups}
        if given.jurisdictions.isdisjoint(party.within):
            continue
        for _, each in boundaries.boundaries_after(session, BoundaryId(0)):
            home = homes.get(each.collection)
            readers = each.within(home).readers | home.owners if home else frozenset()
            if named in each.consents and readers & refs:
                return True
    return False


def _raised(before: Party, after: Party) -> bool:
    old, new = before.profile, after.profile
    raised = (
        not after.groups <= before.groups
        or new.clearance > old.clearance
        or not new.categories <= old.categories
        or (new.active and not old.active)
        or (new.may_assert and not old.may_assert)
        or _loosened(old.purposes, new.purposes)
    )
    if new.kind is Kind.ASSISTANT:
        limits = ((old.jurisdictions, new.jurisdictions), (old.collections, new.collections))
        return raised or any(_loosened(*limit) for limit in limits)
    return raised or not new.jurisdictions <= old.jurisdictions


def _opened(before: _Held, after: _Held, name: str) -> bool:
    """Whether it became an owner or a reader of a collection."""
    old, new = before.collections.get(name), after.collections[name]
    owned, read = (bool(old and old.owners & before.refs), bool(old and old.default_readers & before.refs))
    return (bool(new.owners & after.refs) and not owned) or (bool(new.default_readers & after.refs) and not read)


def _unbound(before: _Held, after: _Held, name: str) -> bool:
    old, new = before.collections.get(name), after.collections[name]
    return old is not None and (
        _loosened(old.jurisdictions, new.jurisdictions) or _loosened(old.purposes, new.purposes)
    )


def _named(session: Session, held: _Held, name: str) -> bool:
    """Whether anything in a collection is open to it by name or group."""
    home = held.collections[name]
    if (home.owners | home.default_readers) & held.refs:
        return True
    every = boundaries.boundaries_after(session, BoundaryId(0))
    return any(each.collection == name and each.readers & held.refs for _, each in every)


def _loosened(before: frozenset[str], after: frozenset[str]) -> bool:
    """Of a limit that an empty set does not set."""
    return bool(before) and (not after or not after <= before)
