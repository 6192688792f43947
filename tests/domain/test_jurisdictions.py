"""Where data may be used: nesting, transfer rules and consents, held against their plainest reading."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.access import Party, PrincipalRef, Profile
from app.domain.instants import FOREVER, Instant
from app.domain.jurisdictions import Consent, ConsentEvidence, Jurisdiction, Registers, Transfer, clients_named

PLACES = ["EU", "DE", "BY", "UK", "US"]
PLAIN = "XX"
"""A name that is never registered."""
ADMINISTRATOR = PrincipalRef("user:administrator")


def transfer(origin: str, destination: str, begins: int = 0, ends: int = FOREVER) -> Transfer:
    return Transfer(
        id=f"{origin} to {destination}",
        origin=origin,
        destination=destination,
        basis="adequacy",
        evidence="A decision.",
        valid_from=Instant(begins),
        expires_at=Instant(ends),
        reason="It was found adequate.",
        recorded_at=Instant(0),
        recorded_by=ADMINISTRATOR,
    )


def located(*places: str) -> Party:
    ref = PrincipalRef("user:ana")
    profile = Profile(ref=ref, display_name="Ana", jurisdictions=frozenset(places))
    return Party(profile=profile, groups=frozenset())


# ---- The plainest reading ------------------------------------------------------------------------------------------


def contains(registers: Registers, outer: str, inner: str) -> bool:
    """Whether there is a way from the one to the other, looked for step by step."""
    if outer == inner:
        return True
    found = registers.jurisdictions.get(inner)
    return found is not None and any(
        contains(registers, outer, around) for around in found.within if around in registers.jurisdictions
    )


def usable(registers: Registers, data: str, place: str, now: Instant) -> bool:
    """Whether data bound to one jurisdiction may be used by somebody who is in another."""
    return contains(registers, data, place) or any(
        rule.valid_from <= now < rule.expires_at
        and contains(registers, rule.origin, data)
        and contains(registers, rule.destination, place)
        for rule in registers.transfers
    )


# ---- Registers to compare them in ----------------------------------------------------------------------------------


def within(places: list[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(places), max_size=2) if places else st.just(frozenset[str]())


@st.composite
def registers(draw: st.DrawFn) -> Registers:
    """Each place lies within some that stand before it, so nothing lies in itself; some are not registered."""
    registered = draw(st.frozensets(st.sampled_from(PLACES)))
    nested = {
        place: Jurisdiction(id=place, title=place, within=draw(within(PLACES[:at])))
        for at, place in enumerate(PLACES)
        if place in registered
    }
    instants = st.integers(min_value=0, max_value=6)
    some = st.builds(transfer, names, names, instants, instants)
    return Registers(jurisdictions=nested, transfers=tuple(draw(st.lists(some, max_size=4))))


names = st.sampled_from([*PLACES, PLAIN])
moments = st.integers(min_value=0, max_value=6).map(Instant)


@settings(max_examples=500)
@given(registers(), st.frozensets(names, max_size=2), moments)
def test_what_is_received_is_what_may_be_used_in_one_of_the_places(
    registers: Registers, places: frozenset[str], now: Instant
) -> None:
    placed = registers.placed(located(*places), now)
    everything = [*PLACES, PLAIN]
    assert placed.within == {name for name in everything if any(contains(registers, name, place) for place in places)}
    assert placed.receives == {
        name for name in everything if any(usable(registers, name, place, now) for place in places)
    }


@settings(max_examples=500)
@given(registers(), st.frozensets(names, max_size=2), names, moments)
def test_data_goes_where_all_of_it_may_be_used(
    registers: Registers, places: frozenset[str], destination: str, now: Instant
) -> None:
    subject = registers.placed(located(*places), now)
    expected = bool(places) and all(usable(registers, data, destination, now) for data in subject.receives)
    assert registers.transferable(subject, destination, now) == expected


@given(registers(), st.frozensets(names, max_size=2))
def test_nothing_begins_or_ends_within_an_era(registers: Registers, places: frozenset[str]) -> None:
    for before, after in pairwise(map(Instant, range(8))):
        if registers.era(before) == registers.era(after):
            assert registers.receives(places, before) == registers.receives(places, after)


@settings(max_examples=200)
@given(registers(), st.frozensets(names, max_size=2), moments, st.data())
def test_ending_a_rule_or_a_nesting_never_opens_more(
    registers: Registers, places: frozenset[str], now: Instant, data: st.DataObject
) -> None:
    rules = tuple(data.draw(st.permutations(registers.transfers)))[1:]
    kept = {name: each for name, each in registers.jurisdictions.items() if data.draw(st.booleans())}
    less = Registers(jurisdictions=kept, transfers=rules)
    assert less.receives(places, now) <= registers.receives(places, now)


# ---- By example ----------------------------------------------------------------------------------------------------


def test_data_of_a_region_goes_freely_within_it_by_a_rule_to_itself() -> None:
    nested = {name: Jurisdiction(id=name, title=name, within=frozenset({"EU"})) for name in ("DE", "FR")}
    europe = {"EU": Jurisdiction(id="EU", title="EU"), **nested}
    now = Instant(1)
    apart = Registers(jurisdictions=europe)
    freely = Registers(jurisdictions=europe, transfers=(transfer("EU", "EU"),))
    assert not apart.transferable(apart.placed(located("DE"), now), "FR", now)
    assert freely.transferable(freely.placed(located("DE"), now), "FR", now)


def test_whoever_is_in_several_places_sends_data_only_where_all_of_it_may_go() -> None:
    registers, now = Registers(transfers=(transfer("EU", "UK"),)), Instant(1)
    assert registers.transferable(registers.placed(located("EU"), now), "UK", now)
    assert not registers.transferable(registers.placed(located("EU", "US"), now), "UK", now)
    assert not registers.transferable(registers.placed(located("EU", "US"), now), "US", now)
    assert not registers.transferable(registers.placed(located(), now), "UK", now)


def test_a_consent_covers_its_places_and_what_is_within_them_while_it_is_in_force() -> None:
    def consent(**more: Any) -> Consent:
        return Consent(
            **{
                "id": "con_1",
                "client": "TM-1",
                "purpose": "analytics",
                "jurisdictions": frozenset({"EU"}),
                "evidence": ConsentEvidence(text="Signed."),
                "given_at": Instant(10),
                "expires_at": Instant(20),
                "recorded_at": Instant(10),
                "recorded_by": ADMINISTRATOR,
                **more,
            }
        )

    europe = {name: Jurisdiction(id=name, title=name, within=around) for name, around in NESTED.items()}
    in_germany = Registers(jurisdictions=europe).above({"DE"})
    assert [consent().covers(in_germany, Instant(now)) for now in (9, 10, 19, 20)] == [False, True, True, False]
    assert not consent(jurisdictions=frozenset({"BY"})).covers(in_germany, Instant(10))
    assert not consent(withdrawn_at=Instant(11)).covers(in_germany, Instant(12))


NESTED = {"EU": frozenset[str](), "DE": frozenset({"EU"}), "BY": frozenset({"DE"})}


def test_clients_are_told_from_jurisdictions_by_how_they_are_named() -> None:
    assert [*clients_named(["EU", "client:TM-1", "TM-2"])] == ["TM-1"]
