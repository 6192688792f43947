"""Collections, purposes and policies: what holds today, what held before, and that nothing is overwritten."""

from dataclasses import replace

from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import default_policies
from app.domain.access import Collection, PrincipalRef, Purpose
from app.domain.instants import Instant
from app.domain.labels import Label, Level
from app.store import registry
from app.store.database import reading, recording
from tests.conftest import PREPARED_AT, Clock
from tests.store.history import rows_of, unchanged

BY = PrincipalRef("user:registrar")
POLICIES = Collection(
    name="policies",
    title="Policies — 政策 🗂",
    owners=frozenset({PrincipalRef("group:legal"), PrincipalRef("user:ana")}),
    default_label=Label(level=Level.CONFIDENTIAL, categories=frozenset({"pii", "privileged"})),
    default_readers=frozenset({PrincipalRef("group:all-staff")}),
    jurisdictions=frozenset({"EU", "US"}),
    purposes=frozenset({"audit"}),
    discoverable=True,
    system_of_record=True,
    review_after_days=365,
)
AUDIT = Purpose(id="audit", title="Audit", description="Looking back.\nWith care.")


def test_collection_comes_back_as_it_was_recorded(engine: Engine, clock: Clock) -> None:
    plain = Collection(name="minutes", title="", owners=frozenset(), default_label=Label())
    with recording(engine, clock.now(), "directory") as (session, at):
        assert registry.record_collection(session, POLICIES, at=at, by=BY)
        assert registry.record_collection(session, plain, at=at, by=BY)
    with reading(engine) as session:
        assert registry.collection(session, "policies") == POLICIES
        assert registry.collection(session, "minutes") == plain
        assert registry.collection(session, "elsewhere") is None
        assert list(registry.collections(session).items()) == [("minutes", plain), ("policies", POLICIES)]


def test_collection_can_be_read_as_of_every_instant(engine: Engine, clock: Clock) -> None:
    states = [POLICIES, replace(POLICIES, title="Rules"), replace(POLICIES, default_readers=frozenset()), POLICIES]
    instants = [_record_collection(engine, clock, state) for state in states]
    with reading(engine) as session:
        assert [registry.collection(session, "policies", at=at) for at in instants] == states
        assert [registry.collections(session, at=_before(at)) for at in instants] == [
            {},
            *({"policies": state} for state in states[:-1]),
        ]
        assert registry.collection(session, "policies") == states[-1]


def test_changing_a_collection_closes_its_row_and_leaves_it(engine: Engine, clock: Clock) -> None:
    _record_collection(engine, clock, POLICIES)
    before = rows_of(engine, "collections")
    at = _record_collection(engine, clock, replace(POLICIES, discoverable=False))
    assert unchanged(before, rows_of(engine, "collections"), closed_at=at) == [True]


def test_recording_the_collection_that_already_holds_records_nothing(engine: Engine, clock: Clock) -> None:
    _record_collection(engine, clock, POLICIES)
    before = rows_of(engine, "collections")
    with recording(engine, clock.now(), "directory") as (session, at):
        assert not registry.record_collection(session, POLICIES, at=at, by=BY)
    assert rows_of(engine, "collections") == before


def test_purpose_can_be_read_as_of_every_instant_and_is_never_overwritten(engine: Engine, clock: Clock) -> None:
    with recording(engine, clock.now(), "directory") as (session, first):
        assert registry.record_purpose(session, AUDIT, at=first, by=BY)
    before = rows_of(engine, "purposes")
    renamed = replace(AUDIT, title="Internal audit")
    with recording(engine, clock.now(), "directory") as (session, second):
        assert registry.record_purpose(session, renamed, at=second, by=BY)
        assert not registry.record_purpose(session, renamed, at=second, by=BY)
    with reading(engine) as session:
        assert registry.purposes(session, at=_before(first)) == {}
        assert registry.purposes(session, at=first) == {"audit": AUDIT}
        assert registry.purposes(session, at=_before(second)) == {"audit": AUDIT}
        assert registry.purposes(session, at=second) == {"audit": renamed}
        assert registry.purposes(session) == {"audit": renamed}
    assert unchanged(before, rows_of(engine, "purposes"), closed_at=second) == [True]


def test_purposes_are_in_the_order_of_their_ids(engine: Engine, clock: Clock) -> None:
    with recording(engine, clock.now(), "directory") as (session, at):
        for id in ("b", "c", "a"):
            registry.record_purpose(session, replace(AUDIT, id=id), at=at, by=BY)
    with reading(engine) as session:
        assert list(registry.purposes(session)) == ["a", "b", "c"]


def test_policies_that_decided_can_be_read_as_of_every_instant(engine: Engine, clock: Clock) -> None:
    texts = ["permit nobody;", "// ünïcödé 🔏\npermit everybody;", "permit nobody;"]
    instants = []
    for text in texts:
        with recording(engine, clock.now(), "policies") as (session, at):
            registry.record_policies(session, text, reason="a trial", at=at, by=BY)
        instants.append(at)
    with reading(engine) as session:
        assert registry.active_policies(session, at=_before(PREPARED_AT)) is None
        assert registry.active_policies(session, at=PREPARED_AT) == default_policies()
        assert [registry.active_policies(session, at=at) for at in instants] == texts
        assert [registry.active_policies(session, at=_before(at)) for at in instants] == [
            default_policies(),
            *texts[:-1],
        ]
        assert registry.active_policies(session) == texts[-1]
    assert len(rows_of(engine, "policy_texts")) == 3


def test_activating_policies_closes_the_row_before_and_leaves_it(engine: Engine, clock: Clock) -> None:
    before = rows_of(engine, "policy_activations")
    with recording(engine, clock.now(), "policies") as (session, at):
        registry.record_policies(session, "permit nobody;", reason="a trial", at=at, by=BY)
    assert unchanged(before, rows_of(engine, "policy_activations"), closed_at=at) == [True]


def _record_collection(engine: Engine, clock: Clock, state: Collection) -> Instant:
    with recording(engine, clock.now(), "directory") as (session, at):
        assert registry.record_collection(session, state, at=at, by=BY)
    return at


def _before(at: Instant) -> Instant:
    return Instant(at - 1)
