"""Where data may be used: jurisdictions that nest, rules by which data goes from one to another, and consents.

A name that nobody registered is a plain name: it contains itself alone, and nothing contains it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from app.domain.access import Party, PrincipalRef
from app.domain.instants import Instant

BY_CLIENT: Final = "client:"
"""How a boundary names a client among its consents: `client:TM-207745`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    id: str
    title: str
    within: frozenset[str] = frozenset()
    """The jurisdictions that contain it directly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """While it is in force, data of `origin` and all within it may be used in `destination` and all within it.

    It covers no onward transfer: what it opens in the destination is not the destination's own data.
    """

    id: str
    origin: str
    destination: str
    basis: str
    evidence: str
    valid_from: Instant
    expires_at: Instant
    reason: str
    recorded_at: Instant
    recorded_by: PrincipalRef

    def in_force(self, now: Instant) -> bool:
        return self.valid_from <= now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEvidence:
    """What shows that a consent was given: at least one of these."""

    uri: str | None = None
    digest: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A client agrees that data about it is used for a purpose, in these jurisdictions and all within them."""

    id: str
    client: str
    purpose: str
    jurisdictions: frozenset[str]
    evidence: ConsentEvidence
    given_at: Instant
    expires_at: Instant
    recorded_at: Instant
    recorded_by: PrincipalRef
    withdrawn_at: Instant | None = None
    withdrawn_by: PrincipalRef | None = None
    withdrawal_reason: str | None = None

    def in_force(self, now: Instant) -> bool:
        return self.withdrawn_at is None and self.given_at <= now < self.expires_at

    def covers(self, places: frozenset[str], now: Instant) -> bool:
        """Whether it is in force and lets data be used in these jurisdictions, all that contain them included."""
        return self.in_force(now) and not self.jurisdictions.isdisjoint(places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """What is recorded of jurisdictions and transfer rules, whether or not a rule's time has come or is over."""

    jurisdictions: Mapping[str, Jurisdiction] = field(default_factory=dict)
    transfers: tuple[Transfer, ...] = ()

    def above(self, places: Iterable[str]) -> frozenset[str]:
        """The places themselves, and whatever contains them."""
        found: set[str] = set()
        new = set(places)
        while new:
            found |= new
            new = {above for place in new for above in self._within(place)} - found
        return frozenset(found)

    def below(self, places: frozenset[str]) -> frozenset[str]:
        """The places themselves, and whatever is within one of them."""
        return places | {each for each in self.jurisdictions if not places.isdisjoint(self.above({each}))}

    def receives(self, places: Iterable[str], now: Instant) -> frozenset[str]:
        """The jurisdictions whose data may be used in one of these places: what contains it, and what rules open."""
        inside = self.above(places)
        rules = (rule for rule in self.transfers if rule.in_force(now) and rule.destination in inside)
        return inside | self.below(frozenset(rule.origin for rule in rules))

    def placed(self, party: Party, now: Instant) -> Party:
        """The party with where it is, and the jurisdictions whose data may be used there now."""
        places = party.profile.jurisdictions
        return replace(party, within=self.above(places), receives=self.receives(places, now))

    def transferable(self, subject: Party, destination: str, now: Instant) -> bool:
        """Whether all that may be used where the subject is may be used in the destination too.

        All, not some: what a rule opened to the subject does not go on by another, and whoever is in several
        jurisdictions holds data of each. Somebody who is nowhere sends nothing.
        """
        return bool(subject.receives) and subject.receives <= self.receives({destination}, now)

    def era(self, now: Instant) -> int:
        """A number that is the same for two instants if no transfer rule begins or ends between them."""
        return sum((rule.valid_from <= now) + (rule.expires_at <= now) for rule in self.transfers)

    def _within(self, place: str) -> frozenset[str]:
        found = self.jurisdictions.get(place)
        return found.within & self.jurisdictions.keys() if found is not None else frozenset()


def clients_named(consents: Iterable[str]) -> Iterator[str]:
    """The clients among what boundaries name as consents; the rest are jurisdictions."""
    return (each.removeprefix(BY_CLIENT) for each in consents if each.startswith(BY_CLIENT))
