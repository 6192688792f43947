"""Interning: equal boundaries are one row, whoever asks for them and however often."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.engine import Engine

from app.domain.access import Boundary, BoundaryId, PrincipalRef
from app.domain.labels import Label, Level
from app.store.boundaries import boundaries_after, interned
from app.store.database import reading, recording
from app.store.tables import BoundaryRow
from tests.conftest import STARTED_AT, Clock

names = st.frozensets(st.sampled_from(["eu", "us", "überall", "日本", "🗾", 'a"b', "a,b", "a", "b", " "]), max_size=3)
refs = names.map(lambda some: frozenset(PrincipalRef(f"group:{name}") for name in some))
boundaries = st.builds(
    Boundary,
    collection=st.sampled_from(["policies", "contracts"]),
    label=st.builds(Label, level=st.sampled_from(Level), categories=names),
    readers=refs,
    denied=refs,
    jurisdictions=names,
    purposes=names,
    consents=names,
)

FULL = Boundary(
    collection="policies",
    label=Label(level=Level.CONFIDENTIAL, categories=frozenset({"pii"})),
    readers=frozenset({PrincipalRef("group:legal")}),
    denied=frozenset({PrincipalRef("user:ben")}),
    jurisdictions=frozenset({"EU"}),
    purposes=frozenset({"audit"}),
    consents=frozenset({"US"}),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(some=st.lists(boundaries, min_size=1, max_size=6))
def test_equal_boundaries_are_one_row_and_come_back_as_they_went_in(engine: Engine, some: list[Boundary]) -> None:
    with recording(engine, STARTED_AT, "boundaries") as (session, at):
        ids = [interned(session, boundary, at=at) for boundary in some]
    with recording(engine, STARTED_AT, "boundaries") as (session, at):
        assert [interned(session, boundary, at=at) for boundary in some] == ids
    with reading(engine) as session:
        stored = dict(boundaries_after(session, BoundaryId(0)))
    assert [stored[id] for id in ids] == some
    assert len(set(ids)) == len(set(some))


@pytest.mark.parametrize(
    "other",
    [
        replace(FULL, collection="contracts"),
        replace(FULL, label=replace(FULL.label, level=Level.RESTRICTED)),
        replace(FULL, label=replace(FULL.label, categories=frozenset({"phi"}))),
        replace(FULL, readers=FULL.denied),
        replace(FULL, denied=FULL.readers),
        replace(FULL, jurisdictions=frozenset({"US"})),
        replace(FULL, purposes=frozenset()),
        replace(FULL, consents=frozenset({"EU"})),
        replace(FULL, jurisdictions=FULL.consents, consents=FULL.jurisdictions),
        replace(FULL, readers=FULL.denied, denied=FULL.readers),
    ],
    ids=[
        "collection",
        "level",
        "categories",
        "readers",
        "denied",
        "jurisdictions",
        "purposes",
        "consents",
        "swapped",
        "swapped-refs",
    ],
)
def test_boundary_that_differs_in_any_field_is_another_row(engine: Engine, other: Boundary) -> None:
    with recording(engine, STARTED_AT, "boundaries") as (session, at):
        assert interned(session, FULL, at=at) != interned(session, other, at=at)


def test_equal_boundaries_interned_by_eight_threads_are_one_row(engine: Engine, clock: Clock) -> None:
    wanted = [replace(FULL, purposes=frozenset({f"purpose-{n}"})) for n in range(5)]

    def intern_all(_: int) -> list[BoundaryId]:
        found = []
        for boundary in wanted:
            with recording(engine, clock.now(), "boundaries") as (session, at):
                found.append(interned(session, boundary, at=at))
        return found

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(intern_all, range(8)))
    assert found == [found[0]] * 8
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(BoundaryRow)) == 5


def test_boundaries_after_one_are_those_made_later_in_order(engine: Engine) -> None:
    made = [replace(FULL, purposes=frozenset({name})) for name in ("a", "b", "c")]
    with recording(engine, STARTED_AT, "boundaries") as (session, at):
        ids = [interned(session, boundary, at=at) for boundary in made]
    with reading(engine) as session:
        assert boundaries_after(session, BoundaryId(0)) == list(zip(ids, made, strict=True))
        assert boundaries_after(session, ids[0]) == list(zip(ids[1:], made[1:], strict=True))
        assert boundaries_after(session, ids[2]) == []
    assert ids == sorted(ids)
