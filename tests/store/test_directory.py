"""Principals, memberships and keys: who is who today, who was who then, and what is never overwritten."""

from dataclasses import replace

import pytest
from sqlalchemy.engine import Engine

from app.domain.access import (
    ADMINISTRATORS,
    ALL_STAFF,
    AUDITORS,
    BOOTSTRAP_ADMINISTRATOR,
    PROVISIONERS,
    Epochs,
    Kind,
    Party,
    PrincipalRef,
    Profile,
)
from app.domain.instants import Instant
from app.domain.labels import Level
from app.operations.identify import key_digest
from app.operations.prepare import ensure_administrator_key
from app.store import directory
from app.store.database import reading, recording
from tests.conftest import PREPARED_AT, Clock
from tests.store.history import rows_of, unchanged

BY = PrincipalRef("user:registrar")
ANA = Profile(
    ref=PrincipalRef("user:ana"),
    display_name="Ana Núñez 🧭",
    groups=frozenset({PrincipalRef("group:legal"), PrincipalRef("group:eu")}),
    clearance=Level.CONFIDENTIAL,
    categories=frozenset({"pii", "phi"}),
    jurisdictions=frozenset({"EU"}),
    purposes=frozenset({"audit"}),
    collections=frozenset({"policies"}),
    active=True,
    may_assert=True,
    team="claims",
)
PEPPER = b"pepper"


def group(name: str, *parents: str, active: bool = True) -> Profile:
    return Profile(ref=ref_of(name), display_name=name, groups=frozenset(map(ref_of, parents)), active=active)


def user(name: str, *groups: str, active: bool = True) -> Profile:
    return Profile(
        ref=PrincipalRef(f"user:{name}"), display_name=name, groups=frozenset(map(ref_of, groups)), active=active
    )


def ref_of(name: str) -> PrincipalRef:
    return PrincipalRef(f"group:{name}")


def record(engine: Engine, clock: Clock, *profiles: Profile) -> Instant:
    with recording(engine, clock.now(), "directory") as (session, at):
        for profile in profiles:
            directory.record_principal(session, profile, at=at, by=BY)
    return at


def record_key(engine: Engine, clock: Clock, ref: PrincipalRef, id: str) -> Instant:
    with recording(engine, clock.now(), "directory") as (session, at):
        directory.record_key(session, id=id, principal=ref, digest=f"digest of {id}", at=at, by=BY)
    return at


def revoke(engine: Engine, clock: Clock, ref: PrincipalRef, id: str | None = None) -> tuple[int, Instant]:
    with recording(engine, clock.now(), "directory") as (session, at):
        return directory.revoke_keys(session, ref, at=at, by=BY, id=id), at


def party(engine: Engine, ref: PrincipalRef, at: Instant | None = None) -> Party:
    with reading(engine) as session:
        return directory.party(session, ref, at=at)


def groups_of(engine: Engine, name: str, at: Instant | None = None) -> set[str]:
    """Every group of a user but all-staff, by name."""
    return {ref.partition(":")[2] for ref in party(engine, PrincipalRef(f"user:{name}"), at).groups - {ALL_STAFF}}


def holder(engine: Engine, id: str) -> PrincipalRef | None:
    with reading(engine) as session:
        found = directory.key_by_digest(session, f"digest of {id}")[0]
        return found.principal if found is not None else None


def before(at: Instant) -> Instant:
    return Instant(at - 1)


def test_profile_comes_back_as_it_was_recorded(engine: Engine, clock: Clock) -> None:
    plain = Profile(ref=PrincipalRef("assistant:bot"), display_name="", clearance=Level.PUBLIC, active=False)
    record(engine, clock, ANA, plain)
    with reading(engine) as session:
        assert directory.profile(session, ANA.ref) == ANA
        assert directory.profile(session, plain.ref) == plain
        assert directory.profile(session, PrincipalRef("user:nobody")) is None


def test_profile_can_be_read_as_of_every_instant(engine: Engine, clock: Clock) -> None:
    states = [
        ANA,
        replace(ANA, clearance=Level.PUBLIC),
        replace(ANA, groups=frozenset({PrincipalRef("group:eu")})),
        replace(ANA, active=False, groups=frozenset()),
        replace(ANA, groups=frozenset({PrincipalRef("group:us"), PrincipalRef("group:legal")}), team=None),
        ANA,
    ]
    instants = [record(engine, clock, state) for state in states]
    with reading(engine) as session:
        assert [directory.profile(session, ANA.ref, at=at) for at in instants] == states
        assert [directory.profile(session, ANA.ref, at=before(at)) for at in instants] == [None, *states[:-1]]
        assert directory.profile(session, ANA.ref) == ANA


@pytest.mark.parametrize(
    "changed",
    [
        replace(ANA, display_name="Ana"),
        replace(ANA, clearance=Level.RESTRICTED),
        replace(ANA, categories=frozenset({"pii"})),
        replace(ANA, jurisdictions=frozenset()),
        replace(ANA, purposes=frozenset()),
        replace(ANA, collections=frozenset()),
        replace(ANA, active=False),
        replace(ANA, may_assert=False),
        replace(ANA, team="sales"),
        replace(ANA, groups=frozenset({PrincipalRef("group:us")})),
    ],
    ids=lambda changed: next(
        name for name in Profile.__dataclass_fields__ if getattr(changed, name) != getattr(ANA, name)
    ),
)
def test_changing_any_field_closes_the_row_and_leaves_it(engine: Engine, clock: Clock, changed: Profile) -> None:
    record(engine, clock, ANA)
    principals, memberships = rows_of(engine, "principals"), rows_of(engine, "memberships")
    at = record(engine, clock, changed)
    closed = unchanged(principals, rows_of(engine, "principals"), closed_at=at)
    assert closed == [row["ref"] == ANA.ref for row in principals.values()]
    left = unchanged(memberships, rows_of(engine, "memberships"), closed_at=at)
    assert left == [row["member"] == ANA.ref and row["parent"] not in changed.groups for row in memberships.values()]


def test_membership_that_stays_keeps_its_row(engine: Engine, clock: Clock) -> None:
    record(engine, clock, ANA)
    record(engine, clock, replace(ANA, groups=ANA.groups | {PrincipalRef("group:us")}))
    stayed = [row for row in rows_of(engine, "memberships").values() if row["member"] == ANA.ref]
    assert sorted(row["parent"] for row in stayed) == ["group:eu", "group:legal", "group:us"]


def test_recording_the_profile_that_already_holds_records_nothing(engine: Engine, clock: Clock) -> None:
    record(engine, clock, ANA)
    kept = rows_of(engine, "principals"), rows_of(engine, "memberships")
    with recording(engine, clock.now(), "directory") as (session, at):
        assert not directory.record_principal(session, ANA, at=at, by=BY)
    assert (rows_of(engine, "principals"), rows_of(engine, "memberships")) == kept


def test_groups_nest_to_any_depth(engine: Engine, clock: Clock) -> None:
    chain = [group(f"g{n}", f"g{n + 1}") for n in range(20)]
    record(engine, clock, *chain, group("g20"), user("ana", "g0"), user("ben", "g15"))
    assert groups_of(engine, "ana") == {f"g{n}" for n in range(21)}
    assert groups_of(engine, "ben") == {f"g{n}" for n in range(15, 21)}


def test_groups_in_a_circle_are_each_counted_once(engine: Engine, clock: Clock) -> None:
    record(engine, clock, group("a", "b"), group("b", "c"), group("c", "a"), user("ana", "b"), user("ben"))
    assert groups_of(engine, "ana") == {"a", "b", "c"}
    assert groups_of(engine, "ben") == set()
    assert party(engine, ref_of("a")).groups == {ref_of(name) for name in "abc"}


def test_inactive_group_confers_nothing_not_even_what_it_is_in(engine: Engine, clock: Clock) -> None:
    record(engine, clock, group("left", "top", active=False), group("right", "top", "left"), group("top"))
    record(engine, clock, user("ana", "left"), user("ben", "right"))
    assert groups_of(engine, "ana") == set()
    assert groups_of(engine, "ben") == {"right", "top"}


def test_group_that_was_never_recorded_confers_nothing(engine: Engine, clock: Clock) -> None:
    record(engine, clock, group("known"), user("ana", "known", "unknown"))
    assert groups_of(engine, "ana") == {"known"}


def test_nested_groups_can_be_read_as_of_every_instant(engine: Engine, clock: Clock) -> None:
    created = record(engine, clock, group("team", "legal"), group("legal"), user("ana", "team"))
    nested = record(engine, clock, group("legal", "board"), group("board"))
    closed = record(engine, clock, group("team", "legal", active=False))
    moved = record(engine, clock, user("ana", "board"))
    assert [groups_of(engine, "ana", at) for at in (before(created), created, nested, closed, moved)] == [
        set(),
        {"team", "legal"},
        {"team", "legal", "board"},
        set(),
        {"board"},
    ]


def test_unknown_principal_is_inactive_and_in_no_group(engine: Engine) -> None:
    stranger = PrincipalRef("user:stranger")
    expected = Profile(ref=stranger, display_name=stranger, clearance=Level.PUBLIC, active=False)
    assert party(engine, stranger) == Party(profile=expected, groups=frozenset())


def test_principal_was_unknown_before_it_was_recorded(engine: Engine, clock: Clock) -> None:
    at = record(engine, clock, group("legal"), user("ana", "legal"))
    assert party(engine, PrincipalRef("user:ana"), before(at)) == party(engine, PrincipalRef("user:ana"), Instant(0))
    assert not party(engine, PrincipalRef("user:ana"), before(at)).profile.active


def test_all_staff_is_made_of_the_active_users_and_of_nobody_else(engine: Engine, clock: Clock) -> None:
    bot = Profile(ref=PrincipalRef("assistant:bot"), display_name="bot")
    record(engine, clock, user("ana"), user("gone", active=False), bot, group("legal"))
    staff = {
        ref: ALL_STAFF in party(engine, PrincipalRef(ref)).groups
        for ref in ("user:ana", "user:gone", bot.ref, "group:legal", BOOTSTRAP_ADMINISTRATOR, "user:stranger")
    }
    assert [ref for ref, counted in staff.items() if counted] == ["user:ana"]


def test_who_left_was_staff_until_then(engine: Engine, clock: Clock) -> None:
    ana = PrincipalRef("user:ana")
    joined = record(engine, clock, user("ana"))
    left = record(engine, clock, user("ana", active=False))
    assert [party(engine, ana, at).groups for at in (before(joined), joined, before(left), left)] == [
        frozenset(),
        {ALL_STAFF},
        {ALL_STAFF},
        frozenset(),
    ]


def test_bootstrap_administrator_is_an_administrator_from_the_start(engine: Engine) -> None:
    assert party(engine, BOOTSTRAP_ADMINISTRATOR, PREPARED_AT).groups == {ADMINISTRATORS}
    assert party(engine, BOOTSTRAP_ADMINISTRATOR).profile.clearance is Level.PUBLIC


def test_principals_are_listed_by_reference_and_kind(engine: Engine, clock: Clock) -> None:
    bot = Profile(ref=PrincipalRef("assistant:bot"), display_name="bot")
    record(engine, clock, user("ana", "auditors"), bot)
    with reading(engine) as session:
        listed = directory.principals(session)
        assert [each.ref for each in listed] == [
            bot.ref,
            ADMINISTRATORS,
            ALL_STAFF,
            AUDITORS,
            PROVISIONERS,
            BOOTSTRAP_ADMINISTRATOR,
            "user:ana",
        ]
        assert directory.principals(session, kind=Kind.ASSISTANT) == [bot]
        assert directory.principals(session, kind=Kind.USER)[-1] == user("ana", "auditors")


def test_missing_names_those_that_are_not_recorded_today(engine: Engine, clock: Clock) -> None:
    record(engine, clock, user("ana"))
    named = [PrincipalRef(ref) for ref in ("user:zoe", "user:ana", "group:all-staff", "group:nobody", "user:zoe")]
    with reading(engine) as session:
        assert directory.missing(session, named) == ["group:nobody", "user:zoe"]
        assert directory.missing(session, []) == []


def test_key_is_its_holders_until_it_is_revoked(engine: Engine, clock: Clock) -> None:
    record(engine, clock, ANA, user("ben"))
    record_key(engine, clock, ANA.ref, "first")
    record_key(engine, clock, ANA.ref, "second")
    record_key(engine, clock, PrincipalRef("user:ben"), "third")
    assert [holder(engine, id) for id in ("first", "second", "third", "no such")] == [
        ANA.ref,
        ANA.ref,
        "user:ben",
        None,
    ]
    assert revoke(engine, clock, ANA.ref, "first")[0] == 1
    assert [holder(engine, id) for id in ("first", "second", "third")] == [None, ANA.ref, "user:ben"]


def test_key_lookup_tells_epochs_and_the_last_instant_whether_it_finds_one_or_not(engine: Engine, clock: Clock) -> None:
    at = record_key(engine, clock, ANA.ref, "first")
    with reading(engine) as session:
        epochs, last = directory.epochs_and_instant(session)
        first = directory.key(session, ANA.ref, "first")
        assert first is not None
        assert directory.key_by_digest(session, "digest of first") == (first, epochs, at)
        assert directory.key_by_digest(session, "no such") == (None, epochs, at)
    assert last == at
    assert epochs == Epochs(policies=2, directory=3, boundaries=1, grants=1)


def test_revoking_without_an_id_ends_every_key_of_that_principal_alone(engine: Engine, clock: Clock) -> None:
    for ref, id in ((ANA.ref, "first"), (ANA.ref, "second"), (PrincipalRef("user:ben"), "third")):
        record_key(engine, clock, ref, id)
    kept = rows_of(engine, "keys")
    count, at = revoke(engine, clock, ANA.ref)
    assert count == 2
    assert unchanged(kept, rows_of(engine, "keys"), closed_at=at) == [True, True, False]
    with reading(engine) as session:
        assert directory.key_digests(session, ANA.ref) == frozenset()
        assert directory.key_digests(session, PrincipalRef("user:ben")) == {"digest of third"}


def test_revoked_key_keeps_the_instant_of_its_first_revocation(engine: Engine, clock: Clock) -> None:
    record_key(engine, clock, ANA.ref, "first")
    revoke(engine, clock, ANA.ref, "first")
    kept = rows_of(engine, "keys")
    assert revoke(engine, clock, ANA.ref, "first")[0] == 0
    assert revoke(engine, clock, ANA.ref)[0] == 0
    assert rows_of(engine, "keys") == kept


def test_key_is_not_revoked_under_somebody_elses_name(engine: Engine, clock: Clock) -> None:
    record_key(engine, clock, ANA.ref, "first")
    assert revoke(engine, clock, PrincipalRef("user:ben"), "first")[0] == 0
    assert holder(engine, "first") == ANA.ref


def test_administrators_configured_key_replaces_the_one_before_and_may_come_back(engine: Engine, clock: Clock) -> None:
    def configure(key: str | None, generated: str = "") -> str | None:
        return ensure_administrator_key(engine, configured=key, generated=generated, pepper=PEPPER, now=clock.now())

    def in_force() -> set[str]:
        with reading(engine) as session:
            return set(directory.key_digests(session, BOOTSTRAP_ADMINISTRATOR))

    assert configure(None, "generated") == "generated"
    assert configure(None, "generated again") is None
    assert in_force() == {key_digest("generated", pepper=PEPPER)}
    for key in ("one", "another", "another", "one"):
        assert configure(key) is None
        assert in_force() == {key_digest(key, pepper=PEPPER)}
