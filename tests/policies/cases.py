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
from app.domain.instants import parse_instant
from app.domain.jurisdictions import Jurisdiction, Registers, Transfer
from app.domain.labels import Label, parse_level
from app.ports import Bounded, Institution, Resource

_TABLE = Path(__file__).parents[2] / "fixtures" / "policies" / "default-policy-cases.yaml"

_LOOKED_AT = parse_instant("2026-06-01")

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
    registers = _registers(written)
    parties = {
        ref: registers.placed(_party(ref, entry, nesting), _LOOKED_AT) for ref, entry in written["principals"].items()
    }
    collections = {name: _collection(name, entry) for name, entry in written["collections"].items()}
    resources: dict[str, Resource] = {"institution": Institution(), **collections}
    for name, entry in written["boundaries"].items():
        collection = collections[entry.get("collection", "files")]
        resources[name] = Bounded(boundary=_boundary(entry, collection), collection=collection)
    return Table(
        resources=resources,
        rows=tuple(_row(case, parties, registers, written["purposes"]) for case in written["cases"]),
    )


def _registers(written: Written) -> Registers:
    return Registers(
        jurisdictions={
            name: Jurisdiction(id=name, title=name, within=frozenset(within))
            for name, within in written["jurisdictions"].items()
        },
        transfers=tuple(
            Transfer(
                id=f"{each['from']} to {each['to']}",
                origin=each["from"],
                destination=each["to"],
                basis="adequacy",
                evidence="a decision",
                valid_from=parse_instant(str(each.get("valid_from", "2020-01-01"))),
                expires_at=parse_instant(str(each.get("expires_at", "2030-01-01"))),
                reason="a decision",
                recorded_at=_LOOKED_AT,
                recorded_by=PrincipalRef("user:manager"),
            )
            for each in written["transfers"]
        ),
    )


def _row(case: Written, parties: Mapping[str, Party], registers: Registers, purposes: Written) -> Row:
    purpose = purposes.get(case.get("for", ""), {})
    destination = case.get("to")
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
            ),
            action=Action(case["asks"]),
            purpose=case.get("for"),
            client=case.get("about"),
            destination=destination,
            terms=Terms(
                granted=frozenset(case.get("granted", ())),
                waived=frozenset(case.get("waived", ())),
                consents=frozenset(case.get("consents", ())),
                consent_needed=purpose.get("consent_required", False),
                consented=case.get("consented", False),
                transferable=destination is None
                or registers.transferable(parties[case["who"]], destination, _LOOKED_AT),
                purpose_categories=frozenset(purpose["categories"]) if "categories" in purpose else None,
            ),
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
