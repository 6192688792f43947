"""Decisions over many boundaries: nobody else waits for them, nobody's are dropped for another, none is stale."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread

import pytest
from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import CedarPolicyEngine
from app.bootstrap import new_id, now
from app.domain.access import (
    Boundary,
    Collection,
    Grant,
    GrantKind,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Reach,
    Ruling,
)
from app.domain.instants import Instant
from app.domain.labels import Label, Level
from app.domain.memo import Memo
from app.operations import authorize
from app.operations.identify import standing_of
from app.ports import Bounded, Ports
from app.store import boundaries, directory, grants, registry
from app.store.database import reading, recording

ANA, BEN = PrincipalRef("user:ana"), PrincipalRef("user:ben")
BY = PrincipalRef("user:administrator")
MANY = 10_000


class Counting(CedarPolicyEngine):
    """The engine itself, which notes how many boundaries it was asked of."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def reachable(self, policies: str, question: Question, resources: list[Bounded]) -> list[Ruling]:  # type: ignore[override]
        self.asked.append(len(resources))
        return super().reachable(policies, question, resources)


@pytest.fixture
def ports(sqlite_engine: Engine) -> Ports:
    nothing: object = None
    return Ports(
        engine=sqlite_engine,
        index=nothing,  # type: ignore[arg-type]
        embedder=nothing,  # type: ignore[arg-type]
        tokenizer=nothing,  # type: ignore[arg-type]
        analyzer=nothing,  # type: ignore[arg-type]
        policy_engine=Counting(),
        blobs=nothing,  # type: ignore[arg-type]
        memo=Memo(),
        pepper=b"a pepper for tests, of 32 bytes..",
        now=now,
        new_id=new_id,
    )


def asked(ports: Ports) -> list[int]:
    """How many boundaries were decided in each go since this was last asked."""
    engine = ports.policy_engine
    assert isinstance(engine, Counting)
    noted, engine.asked = engine.asked, []
    return noted


def lay_down(ports: Ports, count: int) -> None:
    with recording(ports.engine, ports.now(), "directory", "boundaries") as (session, at):
        for person in (ANA, BEN):
            directory.record_principal(session, profile(person), at=at, by=BY)
        registry.record_collection(session, HOME, at=at, by=BY)
        for number in range(count):
            boundaries.interned(session, boundary(number), at=at)


HOME = Collection(name="files", title="Files", owners=frozenset(), default_label=None)


def profile(ref: PrincipalRef) -> Profile:
    return Profile(ref=ref, display_name=ref, clearance=Level.CONFIDENTIAL)


def boundary(number: int) -> Boundary:
    """Ana reads every fiftieth."""
    readers = {PrincipalRef(f"user:nobody-{number}"), *([ANA] if number % 50 == 0 else [])}
    return Boundary(collection="files", label=Label(level=Level(number % 2)), readers=frozenset(readers))


def reach(ports: Ports, who: PrincipalRef, purpose: str | None = None) -> Reach:
    with reading(ports.engine) as session:
        standing = standing_of(ports, session, who, actors=(), proof=Proof.PROVEN)
        return authorize.reach(ports, session, standing, purpose=purpose)


def test_nothing_is_owed_only_on_what_may_be_read(ports: Ports) -> None:
    """A denial obliges to nothing: whoever asks for obligations beyond a reach must not be told that there are none."""
    lay_down(ports, 2)
    found = reach(ports, ANA)
    (beyond,) = found.grounds.rulings.keys() - found.boundaries
    assert authorize.obligations_on(found, found.boundaries) == ()
    for ids in ([beyond], [*found.boundaries, beyond]):
        with pytest.raises(ValueError, match="may not be read"):
            authorize.obligations_on(found, ids)


@contextmanager
def waiting(longest_ms: list[float]) -> Iterator[None]:
    """Meanwhile another thread wants a turn every millisecond; adds the longest that it waited for one."""
    over = Event()

    def want_turns() -> None:
        before, longest = time.perf_counter(), 0.0
        while not over.wait(0.001):
            at = time.perf_counter()
            longest, before = max(longest, at - before), at
        longest_ms.append(longest * 1000)

    other = Thread(target=want_turns)
    other.start()
    try:
        yield
    finally:
        over.set()
        other.join()


def test_others_get_their_turn_while_ten_thousand_boundaries_are_decided(ports: Ports) -> None:
    """50 ms at the most on a machine of one's own, where it is some 10; here, what no busy machine takes."""
    lay_down(ports, MANY)
    reach(ports, BEN)
    asked(ports)
    waited_ms: list[float] = []
    with waiting(waited_ms):
        found = reach(ports, ANA)
    assert asked(ports) == [MANY]
    assert len(found.boundaries) == MANY / 50
    assert waited_ms[0] < 250


def test_cold_decision_costs_a_fraction_of_plain_cedar(ports: Ports) -> None:
    lay_down(ports, 1_000)
    resources = [Bounded(boundary=boundary(number), collection=HOME) for number in range(1_000)]
    question = reach(ports, BEN).grounds.question
    with reading(ports.engine) as session:
        policies = registry.active_policies(session)
    assert policies is not None
    start = time.process_time()
    narrowed = ports.policy_engine.reachable(policies, question, resources)
    middle = time.process_time()
    plain = ports.policy_engine.decide(policies, question, resources)
    assert [each.allowed for each in narrowed] == [each.allowed for each in plain]
    assert (middle - start) * 5 < time.process_time() - middle


def test_change_to_somebody_else_drops_no_decision(ports: Ports) -> None:
    lay_down(ports, 100)
    before = reach(ports, ANA)
    asked(ports)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        directory.record_principal(session, profile(PrincipalRef("user:new")), at=at, by=BY)
    after = reach(ports, ANA)
    assert asked(ports) == [0]
    assert after.boundaries == before.boundaries
    assert after.grounds.epochs != before.grounds.epochs


def test_new_boundary_alone_is_decided(ports: Ports) -> None:
    lay_down(ports, 100)
    before = reach(ports, ANA)
    asked(ports)
    with recording(ports.engine, ports.now(), "boundaries") as (session, at):
        boundaries.interned(session, boundary(1_000), at=at)
    assert len(reach(ports, ANA).boundaries) == len(before.boundaries) + 1
    assert asked(ports) == [1]


@pytest.mark.parametrize("change", ["clearance", "group", "collection", "grant"])
def test_change_that_matters_is_decided_anew(ports: Ports, change: str) -> None:
    lay_down(ports, 100)
    whole, everybody = len(reach(ports, ANA).boundaries), 100
    assert whole == 2
    part = "grants" if change == "grant" else "directory"
    with recording(ports.engine, ports.now(), part) as (session, at):
        match change:
            case "clearance":
                directory.record_principal(session, replace(profile(ANA), active=False), at=at, by=BY)
                expected = 0
            case "group":
                owners = PrincipalRef("group:owners")
                directory.record_principal(session, Profile(ref=owners, display_name="Owners"), at=at, by=BY)
                registry.record_collection(session, replace(HOME, owners=frozenset({owners})), at=at, by=BY)
                directory.record_principal(session, replace(profile(ANA), groups=frozenset({owners})), at=at, by=BY)
                expected = everybody
            case "collection":
                registry.record_collection(session, replace(HOME, owners=frozenset({ANA})), at=at, by=BY)
                expected = everybody
            case _:
                grants.record_grant(session, opened(at), at=at)
                expected = everybody
    assert len(reach(ports, ANA).boundaries) == expected


def opened(at: Instant) -> Grant:
    return Grant(
        id="grant-1",
        kind=GrantKind.ESCALATION,
        subject=ANA,
        collections=frozenset({"files"}),
        begins=at,
        ends=Instant(at + 3_600_000),
        because="a test",
        granted_by=BY,
    )
