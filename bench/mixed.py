"""Mixed load for a while: questions, documents, relabellings and revocations by several clients at once.

    python -m bench.mixed [--minutes 30] [--clients 8] [--chunks 10000]

Each client has documents of its own that it alone may read, each with a word that stands nowhere else. It closes and
opens them over and over, and whatever any answer holds is looked through for the words of others and for its own while
they are closed. Exit codes: 0 no error, no leak, and every target is met; 1 otherwise.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, quantiles
from typing import Final

from rich.console import Console
from rich.table import Table

from app.bootstrap import open_ports
from app.settings import Settings
from bench.ingesting import sampled
from bench.prepared import CURATOR, INTO, lay_down
from bench.serving import Caller, Server, served
from bench.wording import Writer, own_sentences

MOST_P99: Final = 8.0
"""Times the median."""
MOST_GROWTH: Final = 1.1
"""Memory in the last quarter against that of the second: the first is the warm-up."""

_SAMPLED_EVERY_S: Final = 5.0
_KEPT_DOCUMENTS: Final = 40
"""Documents that a client puts in over and over, so that what grows is versions and not the corpus alone."""
_PATIENCE_S: Final = 60.0
_MOST_EXAMPLES: Final = 5

_ACTS: Final = {"retrieve": 88, "ingest": 4, "relabel": 4, "revoke": 4}
"""How often each is done, of a hundred."""


@dataclass(kw_only=True)
class Record:
    """What all clients saw together."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    took_ms: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    memory_mb: list[tuple[float, Counter[str]]] = field(default_factory=list)

    def took(self, act: str, ms: float) -> None:
        with self.lock:
            self.took_ms.setdefault(act, []).append(ms)

    def failed(self, act: str, error: Exception) -> None:
        with self.lock:
            self.errors[f"{act}: {error}"[:300]] += 1

    def leaked(self, what: str) -> None:
        with self.lock:
            self.leaks.append(what)


@dataclass(kw_only=True)
class Client:
    """One person, who asks, and the curator on the same thread, who changes what that person may read."""

    number: int
    clients: int
    asking: Caller
    curating: Caller
    writer: Writer
    chance: random.Random
    record: Record
    document: str = ""
    closed: bool = False
    put_in: int = 0

    @property
    def person(self) -> str:
        return f"user:client-{self.number}"

    @property
    def word(self) -> str:
        return word_of(self.number)

    def lay_down(self) -> None:
        """The document that is opened and closed."""
        metadata = {"uri": f"mixed/{self.number}", "title": f"File {self.number}", "readers": [self.person]}
        text = f"# Settlement\n\nThe settlement of case {self.number} was agreed at {self.word} francs."
        accepted = self.curating.ask(
            "POST",
            f"/v1/collections/{INTO}/documents",
            {"text": text, "media_type": "text/markdown", "metadata": {**metadata, "label": {"level": "internal"}}},
        )
        self.document = accepted["document"]["id"]
        deadline = time.monotonic() + _PATIENCE_S
        while self.curating.ask("GET", f"/v1/jobs/{accepted['job']['id']}")["state"] != "succeeded":
            if time.monotonic() > deadline:
                raise RuntimeError("the first document was not published in time")
            time.sleep(0.1)

    def work_until(self, deadline: float) -> None:
        acts = {
            "retrieve": self.retrieve,
            "ingest": self.ingest,
            "relabel": self.relabel,
            "revoke": self.revoke,
        }
        while time.monotonic() < deadline:
            act = self.chance.choices(list(_ACTS), weights=list(_ACTS.values()))[0]
            try:
                acts[act]()
            except Exception as error:  # noqa: BLE001 (every one is an error that is told of at the end)
                self.record.failed(act, error)

    def retrieve(self) -> None:
        about_its_own = self.chance.random() < 0.3
        question = f"What was agreed on case {self.number}?" if about_its_own else self.writer.question()
        self._ask(question)

    def ingest(self) -> None:
        """A document, or its next version."""
        self.put_in += 1
        uri = f"mixed/{self.number}/{self.put_in % _KEPT_DOCUMENTS}"
        body = {
            "text": self.writer.document(sections=2, paragraphs=2),
            "media_type": "text/markdown",
            "metadata": {"uri": uri, "readers": ["group:team-3"], "label": {"level": "internal"}},
        }
        self._timed("ingest", "POST", f"/v1/collections/{INTO}/documents", body)

    def relabel(self) -> None:
        """To what the person is not cleared for, and back."""
        self._narrow({"label": {"level": "confidential"}}, "relabel")
        self._widen({"label": {"level": "internal"}, "reason": "bench"}, "relabel")

    def revoke(self) -> None:
        self._narrow({"readers": [str(CURATOR)]}, "revoke")
        self._widen({"readers": [self.person]}, "revoke")

    def _narrow(self, change: dict[str, object], act: str) -> None:
        self._timed(act, "PATCH", f"/v1/documents/{self.document}", change)
        self.closed = True
        for _ in range(2):
            self._ask(f"What was agreed on case {self.number}?")

    def _widen(self, change: dict[str, object], act: str) -> None:
        self.closed = False
        self._timed(act, "PATCH", f"/v1/documents/{self.document}", change)

    def _ask(self, question: str) -> None:
        said = self._timed("retrieve", "POST", "/v1/retrieve", {"query": question}, caller=self.asking)
        for number in range(self.clients):
            if word_of(number) in said and (number != self.number or self.closed):
                self.record.leaked(f"client {self.number} was told of {number}'s document")

    def _timed(self, act: str, method: str, path: str, body: object, *, caller: Caller | None = None) -> str:
        if caller is None:
            self.curating.renew()
        start = time.perf_counter()
        said = (caller or self.curating).bytes_of(method, path, json.dumps(body).encode())
        self.record.took(act, (time.perf_counter() - start) * 1000)
        return said.decode()


def word_of(number: int) -> str:
    return f"zwq{number:03}quz"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.mixed", description="Mixed load: no error, no leak, steady memory.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--chunks", type=int, default=10_000)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that the server is ended too
    out = Console(width=120)
    record = Record()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-mixed-")))
        server = opened.enter_context(served(folder, folder / "home"))
        ports = opened.enter_context(open_ports(Settings(home=folder / "home")))
        lay_down(ports, own_sentences(), chunks=chosen.chunks)
        clients = [
            opened.enter_context(_client(server, number, record, clients=chosen.clients))
            for number in range(chosen.clients)
        ]
        for client in clients:
            client.lay_down()
        out.print(f"{ports.index.size():,} chunks, {chosen.clients} clients, {chosen.minutes:g} minutes.")
        _run(server, clients, record, seconds=chosen.minutes * 60)
    return 0 if tell(out, record) else 1


@contextmanager
def _client(server: Server, number: int, record: Record, *, clients: int) -> Iterator[Client]:
    """A new person who reads what `bench.prepared.READER`'s team reads, up to internal, with connections of its own."""
    person = f"user:client-{number}"
    with server.connect(server.administrator_key) as administrator:
        profile = {"groups": ["group:team-3"], "clearance": "internal", "categories": ["pii"], "jurisdictions": ["EU"]}
        administrator.ask("PUT", f"/v1/principals/{person.replace(':', '/')}", {"display_name": person, **profile})
    with server.connect(server.key_of(person)) as asking, server.connect(server.key_of(CURATOR)) as curating:
        yield Client(
            number=number,
            clients=clients,
            asking=asking,
            curating=curating,
            writer=Writer(own_sentences(), seed=number),
            chance=random.Random(number),
            record=record,
        )


def _run(server: Server, clients: Sequence[Client], record: Record, *, seconds: float) -> None:
    start = time.monotonic()

    def sample() -> None:
        taken: Counter[str] = Counter()
        for each in server.taken(shared=False):
            taken[each.role] += round(each.rss_mb)
        record.memory_mb.append((time.monotonic() - start, taken))

    threads = [threading.Thread(target=client.work_until, args=(start + seconds,)) for client in clients]
    with sampled(sample, every_s=_SAMPLED_EVERY_S):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def tell(out: Console, record: Record) -> bool:
    """Print what was seen; whether it is as it should be."""
    table = Table("", "times", "p50 ms", "p99 ms", "p99 / p50", title="Latency", title_justify="left")
    for act, took in sorted(record.took_ms.items()):
        p50, p99 = _p50_p99(took)
        table.add_row(act, f"{len(took):,}", f"{p50:.1f}", f"{p99:.1f}", f"{p99 / p50:.1f}")
    out.print(table)
    grown = _growth(record.memory_mb)
    memory = Table("", "MB, second quarter", "MB, last quarter", "ratio", title="Memory (RSS)", title_justify="left")
    for role, (before, after) in grown.items():
        memory.add_row(role, f"{before:.0f}", f"{after:.0f}", f"{after / before:.2f}")
    out.print(memory)
    p50, p99 = _p50_p99(record.took_ms["retrieve"])
    before, after = (sum(each[at] for each in grown.values()) for at in (0, 1))
    verdicts = {
        f"no error ({record.errors.total()} seen)": not record.errors,
        f"no leak ({len(record.leaks)} seen)": not record.leaks,
        f"p99 of a retrieval at most {MOST_P99:g} times its median ({p99 / p50:.1f})": p99 <= MOST_P99 * p50,
        f"memory at most {MOST_GROWTH:g} times that of before ({after / before:.2f})": after <= MOST_GROWTH * before,
    }
    for said, met in verdicts.items():
        out.print(f"{'met' if met else 'MISSED'}: {said}")
    for said in [
        *(f"{each} ({times}x)" for each, times in record.errors.most_common(_MOST_EXAMPLES)),
        *record.leaks[:_MOST_EXAMPLES],
    ]:
        out.print(said, markup=False)
    return all(verdicts.values())


def _p50_p99(took_ms: Sequence[float]) -> tuple[float, float]:
    cuts = quantiles(took_ms, n=100)
    return cuts[49], cuts[98]


def _growth(sampled_mb: Sequence[tuple[float, Counter[str]]]) -> dict[str, tuple[float, float]]:
    """Of each kind of process, its memory in the second and in the last quarter of the time."""
    end = sampled_mb[-1][0]
    second = [taken for at, taken in sampled_mb if 0.25 * end <= at < 0.5 * end]
    last = [taken for at, taken in sampled_mb if at >= 0.75 * end]
    roles = sorted({role for taken in (*second, *last) for role in taken})
    return {role: (mean(taken[role] for taken in second), mean(taken[role] for taken in last)) for role in roles}


if __name__ == "__main__":
    sys.exit(main())
