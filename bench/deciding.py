"""What deciding costs: python -m bench.deciding [--largest N]

Cold decisions over 1,000, 10,000 and 100,000 boundaries against plain Cedar in one run, in processor time; what is
decided already; and how long others wait meanwhile. Exit codes: 0 every target is met, 1 one is missed.
"""

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from threading import Event
from time import perf_counter, process_time
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.bootstrap import initialise, open_ports
from app.domain.access import (
    DENIED,
    Action,
    Boundary,
    Collection,
    Party,
    Principal,
    PrincipalRef,
    Profile,
    Purpose,
    Question,
)
from app.domain.labels import Label, Level
from app.operations import authorize
from app.operations.identify import Credentials, identify
from app.ports import Bounded, Ports
from app.settings import Settings
from app.store import boundaries, directory, registry
from app.store.database import reading, recording
from bench.serving import Caller, Server, served

_Made = TypeVar("_Made")

SIZES: Final = (1_000, 10_000, 100_000)
MOST_COLD_MS: Final = {1_000: 120.0, 10_000: 250.0}
MOST_WARM_MS: Final = 0.3
MOST_STALL_MS: Final = 50.0

_COLLECTIONS: Final = 50
_GROUPS: Final = 400
_PLAIN_UP_TO: Final = 10_000
"""Plain Cedar takes half a minute for 100,000."""
_ROUNDS: Final = 20
_READER, _OTHER = PrincipalRef("user:reader"), PrincipalRef("user:other")
_BY: Final = PrincipalRef("user:administrator")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.deciding", description="Measure what deciding costs.")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="no more boundaries than this")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that the server is ended too
    out = Console(width=120)
    missed = [*_tell_cold(out, [size for size in SIZES if size <= chosen.largest])]
    with tempfile.TemporaryDirectory(prefix="muniment-bench-") as folder:
        missed += _tell_server(out, Path(folder), min(chosen.largest, 10_000))
    for each in missed:
        out.print(f"Missed: {each}.")
    return 1 if missed else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cold:
    """One cold decision, and plain Cedar's about the same."""

    boundaries: int
    groups: int
    """Of the subject's."""
    reachable: int
    cpu_ms: float
    again_ms: float
    """By the same engine, for another purpose."""
    plain_ms: float | None


def cold(size: int, *, groups: int) -> Cold:
    chance = random.Random(size)
    resources = [*_world(chance, size)]
    policies = default_policies()
    engine = CedarPolicyEngine()
    engine.validate(policies)
    question = _question(groups)
    spent_ms, rulings = _cpu(lambda: engine.reachable(policies, question, resources))
    again_ms, _ = _cpu(lambda: engine.reachable(policies, replace(question, purpose="audit"), resources))
    plain_ms = None
    if size <= _PLAIN_UP_TO:
        plainly = CedarPolicyEngine()
        plainly.validate(policies)
        plain_ms, expected = _cpu(lambda: plainly.decide(policies, question, resources))
        assert rulings == [each if each.allowed else DENIED for each in expected]
    return Cold(
        boundaries=size,
        groups=groups,
        reachable=sum(ruling.allowed for ruling in rulings),
        cpu_ms=spent_ms,
        again_ms=again_ms,
        plain_ms=plain_ms,
    )


def _tell_cold(out: Console, sizes: Sequence[int]) -> Iterator[str]:
    table = _table(
        "Cold decisions, processor time in ms",
        "reachable",
        "ms",
        "of the most",
        "other purpose",
        "plain Cedar",
        "ratio",
    )
    for size in sizes:
        for groups in (5, 20, 100):
            found = cold(size, groups=groups)
            most = MOST_COLD_MS.get(size)
            if most is not None and found.cpu_ms > most:
                yield f"{size:,} boundaries, {found.reachable} of them reachable: {found.cpu_ms:.0f} ms"
            table.add_row(
                f"{size:,}, in {groups} groups",
                f"{found.reachable:,}",
                f"{found.cpu_ms:.1f}",
                f"{found.cpu_ms / most:.2f}" if most else "",
                f"{found.again_ms:.1f}",
                f"{found.plain_ms:.0f}" if found.plain_ms else "",
                f"{found.plain_ms / found.cpu_ms:.0f}" if found.plain_ms else "",
            )
    out.print(table)


def _tell_server(out: Console, folder: Path, size: int) -> Iterator[str]:
    settings = Settings(home=folder / "home")
    initialise(settings)
    with ExitStack() as opened:
        server = opened.enter_context(served(folder, settings.home))
        ports = opened.enter_context(open_ports(settings))
        _lay_down(ports, size)
        warm_ms, loaded_ms = _warm(ports, server.key_of(_READER))
        if warm_ms > MOST_WARM_MS:
            yield f"a warm decision: {warm_ms:.3f} ms"
        table = _table(f"Over {size:,} boundaries, in ms", "")
        table.add_row("first decision of a process, boundaries read from SQL (processor time)", f"{loaded_ms:.0f}")
        table.add_row(f"a warm decision (at most {MOST_WARM_MS})", f"{warm_ms:.4f}")
        out.print(table)
        yield from _tell_stall(out, server)


def _tell_stall(out: Console, server: Server) -> Iterator[str]:
    table = _table("What others wait, ms", "alone: p50", "alone: worst", "while cold: p50", "worst", "stall")
    asked: dict[str, Callable[[Caller], object]] = {
        "GET /healthz": lambda caller: caller.ask("GET", "/healthz"),
        "POST /v1/retrieve of somebody else": lambda caller: caller.ask("POST", "/v1/retrieve", {"query": "kettles"}),
    }
    other_key, reader_key = server.key_of(_OTHER), server.key_of(_READER)
    with server.connect(reader_key) as reader, server.connect(other_key) as other:
        reader.ask("GET", "/v1/documents")
        cold_ms: list[float] = []
        purposes = iter(range(10_000))
        for name, ask in asked.items():
            alone = [_wall(lambda ask=ask: ask(other)) for _ in range(300)]  # type: ignore[misc]
            done = Event()

            def decide() -> None:
                for _ in range(_ROUNDS):
                    path = f"/v1/documents?purpose=p{next(purposes)}"
                    cold_ms.append(_wall(lambda path=path: reader.ask("GET", path)))  # type: ignore[misc]
                done.set()  # noqa: B023

            with ThreadPoolExecutor(1) as pool:
                deciding = pool.submit(decide)
                meanwhile = []
                while not done.is_set():
                    meanwhile.append(_wall(lambda ask=ask: ask(other)))  # type: ignore[misc]
                deciding.result()
            stall_ms = max(meanwhile) - max(alone)
            if stall_ms > MOST_STALL_MS:
                yield f"{name} was delayed by {stall_ms:.0f} ms"
            table.add_row(
                name, *(f"{it:.1f}" for it in (median(alone), max(alone), median(meanwhile), max(meanwhile), stall_ms))
            )
    out.print(table)
    out.print(f"A request that decides cold takes {median(cold_ms):.0f} ms in all.")


def _world(chance: random.Random, size: int) -> Iterator[Bounded]:
    homes = [_home(number) for number in range(_COLLECTIONS)]
    for _ in range(size):
        home = chance.choice(homes)
        yield Bounded(boundary=_boundary(chance, home), collection=home)


def _home(number: int) -> Collection:
    owners = frozenset({PrincipalRef(f"group:owners-{number}")})
    return Collection(name=f"collection-{number:02}", title="A collection", owners=owners, default_label=Label())


def _boundary(chance: random.Random, home: Collection) -> Boundary:
    def some(names: Sequence[str], most: int) -> frozenset[str]:
        return frozenset(chance.sample(names, chance.randint(0, most)))

    return Boundary(
        collection=home.name,
        label=Label(level=chance.choice([*Level]), categories=some(("pii", "phi", "privileged"), 1)),
        readers=frozenset(PrincipalRef(f"group:{chance.randrange(_GROUPS)}") for _ in range(chance.randint(1, 4))),
        denied=frozenset({PrincipalRef(f"group:{chance.randrange(_GROUPS)}")} if chance.random() < 0.1 else ()),
        jurisdictions=some(("EU", "UK", "US"), 2),
        purposes=some(("audit", "support"), 1) if chance.random() < 0.2 else frozenset(),
    )


def _profile(ref: PrincipalRef, groups: int) -> Profile:
    return Profile(
        ref=ref,
        display_name=ref,
        groups=frozenset(PrincipalRef(f"group:{number}") for number in range(groups)),
        clearance=Level.CONFIDENTIAL,
        categories=frozenset({"pii", "privileged"}),
        jurisdictions=frozenset({"EU"}),
    )


def _question(groups: int) -> Question:
    profile = _profile(_READER, groups)
    return Question(
        principal=Principal(subject=Party(profile=profile, groups=profile.groups)),
        action=Action.READ,
        purpose="support",
    )


def _lay_down(ports: Ports, size: int) -> None:
    chance = random.Random(1)
    with recording(ports.engine, ports.now(), "directory", "policies", "boundaries") as (session, at):
        for number in range(_GROUPS):
            name = PrincipalRef(f"group:{number}")
            directory.record_principal(session, Profile(ref=name, display_name=name), at=at, by=_BY)
        for person, groups in ((_READER, 20), (_OTHER, 1)):
            directory.record_principal(session, _profile(person, groups), at=at, by=_BY)
        for number in range(5 * _ROUNDS):
            purpose = Purpose(id=f"p{number}", title="A purpose", description="")
            registry.record_purpose(session, purpose, at=at, by=_BY)
        homes = [_home(number) for number in range(_COLLECTIONS)]
        for home in homes:
            registry.record_collection(session, home, at=at, by=_BY)
        for _ in range(size):
            boundaries.interned(session, _boundary(chance, chance.choice(homes)), at=at)


def _warm(ports: Ports, key: str) -> tuple[float, float]:
    """A decision that was taken before, and what it took the first time."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, Credentials(bearer=key))
        first_ms, _ = _cpu(lambda: authorize.reach(ports, session, standing))
        return median(_wall(lambda: authorize.reach(ports, session, standing)) for _ in range(1_000)), first_ms


def _cpu(act: Callable[[], _Made]) -> tuple[float, _Made]:
    start = process_time()
    made = act()
    return (process_time() - start) * 1000, made


def _wall(act: Callable[[], object]) -> float:
    start = perf_counter()
    act()
    return (perf_counter() - start) * 1000


def _table(title: str, *columns: str) -> Table:
    table = Table("", title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    sys.exit(main())
