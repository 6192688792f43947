"""The who-sees-what table of fixtures/policies, as domain values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from app.domain.access import (
    Action,
    Boundary,
    Collection,
    Party,
    PolicyId,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Terms,
)
from app.domain.labels import Label, parse_level
from app.ports import Bounded, Institution, Resource

_TABLE = Path(__file__).parents[2] / "fixtures" / "policies" / "default-policy-cases.yaml"

Written = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: a question, and what its asker sees and misses by name."""

    name: str
    question: Question
    sees: tuple[str, ...]
    misses: tuple[str, ...]
    forbidden_by: frozenset[PolicyId]
    permitted_by: frozenset[PolicyId]
    """Empty when the row does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    resources: Mapping[str, Resource]
    rows: tuple[Row, ...]

    def named(self, names: Sequence[str]) -> list[Resource]:
        return [self.resources[name] for name in names]


@cache
def table() -> Table:
    written: Written = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    nesting: dict[str, list[str]] = written["groups"]
    parties = {ref: _party(ref, entry, nesting) for ref, entry in written["principals"].items()}
    collections = {name: _collection(name, entry) for name, entry in written["collections"].items()}
    resources: dict[str, Resource] = {"institution": Institution(), **collections}
    for name, entry in written["boundaries"].items():
        collection = collections[entry.get("collection", "files")]
        resources[name] = Bounded(boundary=_boundary(entry, collection), collection=collection)
    return Table(resources=resources, rows=tuple(_row(case, parties) for case in written["cases"]))


def _row(case: Written, parties: Mapping[str, Party]) -> Row:
    through = case.get("through")
    asker = f"{case['who']} through {through}" if through else case["who"]
    by = case.get("by", [])
    return Row(
        name=f"{asker}{' (asserted)' if case.get('asserted') else ''} {case['asks']} {case.get('for', '')}: "
        f"{case['because']}",
        question=Question(
            principal=Principal(
                subject=parties[case["who"]],
                actors=(parties[through],) if through else (),
                proof=Proof.ASSERTED if case.get("asserted") else Proof.PROVEN,
                second_factor=case.get("second factor", False),
            ),
            action=Action(case["asks"]),
            purpose=case.get("for"),
            terms=Terms(granted=frozenset(case.get("granted", ()))),
        ),
        sees=tuple(case.get("sees", ())),
        misses=tuple(case.get("misses", ())),
        forbidden_by=frozenset(map(PolicyId, [by] if isinstance(by, str) else by)),
        permitted_by=frozenset(map(PolicyId, case.get("thanks to", ()))),
    )


def _party(ref: str, entry: Written, nesting: Mapping[str, list[str]]) -> Party:
    direct = entry.get("groups", [])
    return Party(
        profile=Profile(
            ref=PrincipalRef(ref),
            display_name=ref,
            groups=_refs(direct),
            clearance=parse_level(entry.get("clearance", "internal")),
            categories=frozenset(entry.get("categories", ())),
            jurisdictions=frozenset(entry.get("jurisdictions", ())),
            purposes=frozenset(entry.get("purposes", ())),
            collections=frozenset(entry.get("collections", ())),
            active=entry.get("active", True),
            may_assert=entry.get("may_assert", False),
        ),
        groups=_refs(_closure(direct, nesting)),
    )


def _closure(groups: Sequence[str], nesting: Mapping[str, list[str]]) -> Iterator[str]:
    for group in groups:
        yield group
        yield from _closure(nesting[group], nesting)


def _collection(name: str, entry: Written) -> Collection:
    return Collection(
        name=name,
        title=name.title(),
        owners=_refs(entry["owners"]),
        default_label=Label(),
        default_readers=_refs(entry.get("default_readers", ())),
        discoverable=entry.get("discoverable", False),
    )


def _boundary(entry: Written, collection: Collection) -> Boundary:
    return Boundary(
        collection=collection.name,
        label=Label(
            level=parse_level(entry.get("level", "internal")), categories=frozenset(entry.get("categories", ()))
        ),
        readers=_refs(entry.get("readers", ())),
        denied=_refs(entry.get("denied", ())),
        jurisdictions=frozenset(entry.get("jurisdictions", ())),
        purposes=frozenset(entry.get("purposes", ())),
        consents=frozenset(entry.get("consents", ())),
    ).within(collection)


def _refs(names: Sequence[str] | Iterator[str]) -> frozenset[PrincipalRef]:
    return frozenset(PrincipalRef(name) for name in names)
