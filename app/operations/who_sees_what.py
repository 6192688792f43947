"""Who-sees-what tables: a small world in YAML, and rows that say who asks what and what comes of it.

A table is a file that people write, so its form is checked in full and every mistake is told with its place. How one
is written stands at the head of fixtures/policies/default-policy-cases.yaml.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

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
    Ruling,
    Terms,
)
from app.domain.errors import Fault, Invalid
from app.domain.instants import BEGINNING, FOREVER, Instant, parse_instant
from app.domain.jurisdictions import Jurisdiction, Registers, Transfer
from app.domain.labels import Label, Level, parse_level
from app.operations.prepare import SYSTEM
from app.ports import Bounded, Institution, PolicyEngine, Resource

_MOST_ASKED = 20_000
"""Things that the rows of one table ask about: some seconds of deciding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table: a question, and what its asker sees and misses by name."""

    asks: str
    """Who asks what, through whom, for what, in words."""
    because: str
    question: Question
    sees: tuple[str, ...]
    misses: tuple[str, ...]
    forbidden_by: frozenset[PolicyId] | None
    """What decides all that is missed; empty: nothing permits it; None: the row does not say."""
    permitted_by: frozenset[PolicyId] | None
    """What decides all that is seen."""
    obligations: frozenset[str] | None
    """What must be done with all that is seen."""

    @property
    def name(self) -> str:
        return f"{self.asks}: {self.because}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    name: str
    resources: Mapping[str, Resource]
    rows: tuple[Row, ...]

    def named(self, names: Sequence[str]) -> list[Resource]:
        return [self.resources[name] for name in names]


class Change(StrEnum):
    """How what is decided differs from what a row says."""

    GAINS = "gains"
    LOSES = "loses"
    DECIDED_OTHERWISE = "decided otherwise"
    """Seen or missed as the row says, by other policies or with other obligations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A thing of a row that is not as the row says."""

    table: str
    asks: str
    because: str
    thing: str
    change: Change
    expected: str
    got: str
    deciding: tuple[tuple[PolicyId, str], ...]
    """The policies that decided it, with their reasons; empty if nothing permits it."""

    @property
    def sentence(self) -> str:
        by = "; ".join(f'{id} ("{reason}")' for id, reason in self.deciding) or "nothing that permits it"
        return f"{self.asks} {self.thing!r}: expected {self.expected}, got {self.got} by {by}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a policy set makes of tables."""

    rows: int
    decisions: int
    failures: tuple[Failure, ...]


def outcome(engine: PolicyEngine, policies: str, tables: Iterable[Table]) -> Outcome:
    """Every row decided by these policies. Raises `Unavailable` if they are unusable."""
    reasons = {rule.id: rule.reason for rule in engine.rules(policies)}
    rows = decisions = 0
    failures: list[Failure] = []
    for table in tables:
        for row in table.rows:
            names = (*row.sees, *row.misses)
            rulings = engine.decide(policies, row.question, table.named(names))
            rows, decisions = rows + 1, decisions + len(names)
            for n, (thing, ruling) in enumerate(zip(names, rulings, strict=True)):
                failure = _failure(table, row, thing, ruling, expected=n < len(row.sees), reasons=reasons)
                failures += [failure] if failure is not None else []
    return Outcome(rows=rows, decisions=decisions, failures=tuple(failures))


def _failure(
    table: Table, row: Row, thing: str, ruling: Ruling, *, expected: bool, reasons: Mapping[PolicyId, str]
) -> Failure | None:
    wanted = row.permitted_by if expected else row.forbidden_by
    owed = row.obligations if expected else None
    if ruling.allowed != expected:
        change = Change.GAINS if ruling.allowed else Change.LOSES
    elif wanted in (None, frozenset(ruling.policies)) and owed in (None, frozenset(ruling.obligations)):
        return None
    else:
        change = Change.DECIDED_OTHERWISE
    return Failure(
        table=table.name,
        asks=row.asks,
        because=row.because,
        thing=thing,
        change=change,
        expected=_told(expected, wanted, owed),
        got=_told(ruling.allowed, None, frozenset(ruling.obligations) if owed is not None else None),
        deciding=tuple((id, reasons.get(id, "")) for id in ruling.policies),
    )


def _told(seen: bool, by: frozenset[PolicyId] | None, owed: frozenset[str] | None) -> str:
    words = "seen" if seen else "missed"
    if by is not None:
        words += f" by {', '.join(sorted(by)) or 'nothing that permits it'}"
    return words if owed is None else f"{words} with {', '.join(sorted(owed)) or 'no obligation'}"


# ---- As it is written -----------------------------------------------------------------------------------------------

_PRINCIPAL = r"^(user|group|assistant):[A-Za-z0-9][A-Za-z0-9._@+-]*$"
_LEVEL = rf"^({'|'.join(level.word for level in Level)})$"
_ACTION = rf"^({'|'.join(Action)})$"
_SAID_PLAINLY = {
    _PRINCIPAL: "Write user:ID, group:ID or assistant:ID.",
    _LEVEL: f"Write {', '.join(level.word for level in Level)}.",
    _ACTION: f"Write {', '.join(Action)}.",
}

_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Ref = Annotated[str, StringConstraints(pattern=_PRINCIPAL, max_length=140)]
_LevelWord = Annotated[str, StringConstraints(pattern=_LEVEL)]
_ActionWord = Annotated[str, StringConstraints(pattern=_ACTION)]
# INVARIANT: every list is bounded, since aliases make a short text say a long list a thousand times.
_Names = Annotated[list[_Name], Field(max_length=200)]
_Refs = Annotated[list[_Ref], Field(max_length=200)]
_Things = Annotated[list[_Name], Field(max_length=1000)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _WrittenParty(_Written):
    groups: _Refs = []
    clearance: _LevelWord = "internal"
    categories: _Names = []
    jurisdictions: _Names = []
    receives: _Names | None = None
    purposes: _Names = []
    collections: _Names = []
    active: bool = True
    may_assert: bool = False


class _WrittenCollection(_Written):
    owners: _Refs = []
    default_readers: _Refs = []
    discoverable: bool = False


class _WrittenBoundary(_Written):
    collection: _Name | None = None
    level: _LevelWord = "internal"
    categories: _Names = []
    readers: _Refs = []
    denied: _Refs = []
    jurisdictions: _Names = []
    purposes: _Names = []
    consents: _Names = []


class _WrittenTransfer(_Written):
    origin: _Name = Field(alias="from")
    destination: _Name = Field(alias="to")
    valid_from: date = date.min
    expires_at: date = date.max


class _WrittenPurpose(_Written):
    categories: _Names | None = None
    consent_required: bool = False


class _WrittenRow(_Written):
    who: _Ref
    through: _Ref | _Refs = []
    asserted: bool = False
    second_factor: bool = Field(default=False, alias="second factor")
    asks: _ActionWord
    purpose: _Name | None = Field(default=None, alias="for")
    client: _Name | None = None
    destination: _Name | None = None
    granted: _Names = []
    waived: _Names = []
    consents: _Names = []
    consent_needed: bool | None = Field(default=None, alias="consent needed")
    consented: bool = False
    transferable: bool | None = None
    purpose_categories: _Names | None = Field(default=None, alias="purpose categories")
    sees: _Things = []
    misses: _Things = []
    by: _Name | _Names | None = None
    thanks_to: _Name | _Names | None = Field(default=None, alias="thanks to")
    owes: _Name | _Names | None = None
    because: Annotated[str, StringConstraints(max_length=1000)] = ""


class _WrittenTable(_Written):
    looked_at: date = Field(default=date(2026, 1, 1), alias="looked at")
    jurisdictions: Annotated[dict[_Name, _Names], Field(max_length=2000)] = {}
    """Each with those that contain it."""
    transfers: Annotated[list[_WrittenTransfer], Field(max_length=2000)] = []
    purposes: Annotated[dict[_Name, _WrittenPurpose], Field(max_length=2000)] = {}
    groups: Annotated[dict[_Ref, _Refs], Field(max_length=2000)] = {}
    principals: Annotated[dict[_Ref, _WrittenParty], Field(max_length=2000)]
    collections: Annotated[dict[_Name, _WrittenCollection], Field(max_length=2000)] = {}
    boundaries: Annotated[dict[_Name, _WrittenBoundary], Field(max_length=2000)] = {}
    cases: Annotated[list[_WrittenRow], Field(min_length=1, max_length=2000)]


def read_table(name: str, text: str) -> Table:
    """A table as its author wrote it. Raises `Invalid` with a fault for each mistake, pointing into the table."""
    written = _written(name, text)
    faults = [Fault(detail=detail, pointer=f"/{name}/{place}") for place, detail in _mistakes(written)]
    if faults:
        raise _invalid(name, faults)
    nesting = {group: tuple(above) for group, above in written.groups.items()}
    world = _world(written)
    parties = {ref: _party(ref, entry, nesting, world) for ref, entry in written.principals.items()}
    collections = {each: _collection(each, entry) for each, entry in written.collections.items()}
    resources: dict[str, Resource] = {"institution": Institution(), **collections}
    for each, entry in written.boundaries.items():
        collection = collections[_home(written, entry)]
        resources[each] = Bounded(boundary=_boundary(entry, collection), collection=collection)
    return Table(name=name, resources=resources, rows=tuple(_row(case, parties, world) for case in written.cases))


def _written(name: str, text: str) -> _WrittenTable:
    """INVARIANT: read by Python's own loader. The one in C is eight times as fast, and 100,000 brackets overflow its
    stack, which kills the process."""
    try:
        return _WrittenTable.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"See line {mark.line + 1}." if mark else "It may hold a character that YAML does not have."
        raise _invalid(name, [Fault(detail=f"This is not YAML. {where}", pointer=f"/{name}")]) from None
    except ValidationError as error:
        faults = [
            Fault(detail=_plainly(each), pointer="/".join(["", name, *map(str, each["loc"])]))
            for each in error.errors(include_url=False, include_input=False)[:50]
        ]
        raise _invalid(name, faults) from None
    except (RecursionError, ValueError, TypeError):
        raise _invalid(name, [Fault(detail="This cannot be read as YAML.", pointer=f"/{name}")]) from None


def _plainly(error: Any) -> str:
    pattern = error.get("ctx", {}).get("pattern")
    return _SAID_PLAINLY.get(pattern, f"{error['msg']}.")


def _invalid(name: str, faults: list[Fault]) -> Invalid:
    return Invalid(f"The table {name!r} is not of the form of who-sees-what tables.", faults=tuple(faults))


def _mistakes(written: _WrittenTable) -> Iterator[tuple[str, str]]:
    """Names that nothing in the table has, and things that cannot be asked about, each with its place."""
    for group, above in written.groups.items():
        yield from ((f"groups/{group}", _unknown(each, "groups")) for each in above if each not in written.groups)
    for ref, party in written.principals.items():
        for each in party.groups:
            if each not in written.groups:
                yield f"principals/{ref}/groups", _unknown(each, "groups")
    for name, boundary in written.boundaries.items():
        if _home(written, boundary) not in written.collections:
            yield f"boundaries/{name}/collection", "Name one of the table's collections."
        if name in written.collections or name == "institution":
            yield f"boundaries/{name}", "Another thing of the table has this name."
    if "institution" in written.collections:
        yield "collections/institution", "The institution has this name."
    for n, row in enumerate(written.cases):
        for ref in (row.who, *_several(row.through)):
            if ref not in written.principals:
                yield f"cases/{n}", _unknown(ref, "principals")
        asked_of = _asked_of(written, Action(row.asks))
        for thing in (*row.sees, *row.misses):
            if thing not in asked_of:
                yield f"cases/{n}", f"{thing!r} is nothing that {row.asks!r} is asked of."
        if not row.sees and not row.misses:
            yield f"cases/{n}", "Say what is seen or missed."
    if sum(len(row.sees) + len(row.misses) for row in written.cases) > _MOST_ASKED:
        yield "cases", f"The rows ask about more than {_MOST_ASKED:,} things: make several tables of it."


def _asked_of(written: _WrittenTable, action: Action) -> Mapping[str, object] | frozenset[str]:
    if action in (Action.READ, Action.DESCRIBE):
        return written.boundaries
    return written.collections if action in (Action.DISCOVER, Action.CURATE) else frozenset({"institution"})


def _unknown(name: str, section: str) -> str:
    return f"{name} is not among the table's {section}."


def _home(written: _WrittenTable, boundary: _WrittenBoundary) -> str:
    """The boundary's collection: the table's first, if it names none."""
    return boundary.collection or next(iter(written.collections), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """What the registers of a table say, and when they are looked at."""

    registers: Registers
    purposes: Mapping[str, _WrittenPurpose]
    now: Instant


def _world(written: _WrittenTable) -> _World:
    return _World(
        registers=Registers(
            jurisdictions={
                name: Jurisdiction(id=name, title=name, within=frozenset(within))
                for name, within in written.jurisdictions.items()
            },
            transfers=tuple(
                Transfer(
                    id=f"transfer {n}",
                    origin=each.origin,
                    destination=each.destination,
                    basis="as the table says",
                    evidence="",
                    valid_from=_instant(each.valid_from),
                    expires_at=_instant(each.expires_at),
                    reason="",
                    recorded_at=BEGINNING,
                    recorded_by=SYSTEM,
                )
                for n, each in enumerate(written.transfers, start=1)
            ),
        ),
        purposes=written.purposes,
        now=_instant(written.looked_at),
    )


def _instant(day: date) -> Instant:
    if day in (date.min, date.max):
        return BEGINNING if day == date.min else FOREVER
    return parse_instant(day.isoformat())


def _terms(case: _WrittenRow, subject: Party, world: _World) -> Terms:
    purpose = world.purposes.get(case.purpose or "", _WrittenPurpose())
    categories = purpose.categories if case.purpose_categories is None else case.purpose_categories
    transferable = case.destination is None or world.registers.transferable(subject, case.destination, world.now)
    return Terms(
        granted=frozenset(case.granted),
        waived=frozenset(case.waived),
        consents=frozenset(case.consents),
        consent_needed=purpose.consent_required if case.consent_needed is None else case.consent_needed,
        consented=case.consented,
        transferable=transferable if case.transferable is None else case.transferable,
        purpose_categories=None if categories is None else frozenset(categories),
    )


def _row(case: _WrittenRow, parties: Mapping[str, Party], world: _World) -> Row:
    through = _several(case.through)
    asker = " through ".join((case.who, *reversed(through)))
    purpose = f" for {case.purpose}" if case.purpose else ""
    return Row(
        asks=f"{asker}{' (asserted)' if case.asserted else ''} {case.asks}{purpose}",
        because=case.because,
        question=Question(
            principal=Principal(
                subject=parties[case.who],
                actors=tuple(parties[ref] for ref in through),
                proof=Proof.ASSERTED if case.asserted else Proof.PROVEN,
                second_factor=case.second_factor,
            ),
            action=Action(case.asks),
            purpose=case.purpose,
            client=case.client,
            destination=case.destination,
            terms=_terms(case, parties[case.who], world),
        ),
        sees=tuple(case.sees),
        misses=tuple(case.misses),
        forbidden_by=_policies(case.by),
        permitted_by=_policies(case.thanks_to),
        obligations=None if case.owes is None else frozenset(_several(case.owes)),
    )


def _several(one_or_more: str | Sequence[str]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)


def _policies(written: str | Sequence[str] | None) -> frozenset[PolicyId] | None:
    return None if written is None else frozenset(map(PolicyId, _several(written)))


def _party(ref: str, entry: _WrittenParty, nesting: Mapping[str, Sequence[str]], world: _World) -> Party:
    party = Party(
        profile=Profile(
            ref=PrincipalRef(ref),
            display_name=ref,
            groups=_refs(entry.groups),
            clearance=parse_level(entry.clearance),
            categories=frozenset(entry.categories),
            jurisdictions=frozenset(entry.jurisdictions),
            purposes=frozenset(entry.purposes),
            collections=frozenset(entry.collections),
            active=entry.active,
            may_assert=entry.may_assert,
        ),
        groups=_refs(_closure(entry.groups, nesting)),
    )
    placed = world.registers.placed(party, world.now)
    return placed if entry.receives is None else replace(placed, receives=frozenset(entry.receives))


def _closure(groups: Sequence[str], nesting: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = [*groups]
    while waiting:
        group = waiting.pop()
        if group not in found:
            found.add(group)
            waiting.extend(nesting[group])
    return frozenset(found)


def _collection(name: str, entry: _WrittenCollection) -> Collection:
    return Collection(
        name=name,
        title=name.title(),
        owners=_refs(entry.owners),
        default_label=Label(),
        default_readers=_refs(entry.default_readers),
        discoverable=entry.discoverable,
    )


def _boundary(entry: _WrittenBoundary, collection: Collection) -> Boundary:
    return Boundary(
        collection=collection.name,
        label=Label(level=parse_level(entry.level), categories=frozenset(entry.categories)),
        readers=_refs(entry.readers),
        denied=_refs(entry.denied),
        jurisdictions=frozenset(entry.jurisdictions),
        purposes=frozenset(entry.purposes),
        consents=frozenset(entry.consents),
    ).within(collection)


def _refs(names: Iterable[str]) -> frozenset[PrincipalRef]:
    return frozenset(PrincipalRef(name) for name in names)
