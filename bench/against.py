"""Governed retrieval over HTTP against filtered searches of other libraries, of the same points, in one run.

    python -m bench.against --python .venv-rivals/bin/python [--quick] [--home DIR]

Each library runs in a process of its own, in a virtual environment of its own (`bench/rivals/requirements.txt`), and is
given the question's vector; ours embeds it, decides, searches dense and lexical, confirms, cites and puts it on
record. What embedding takes is not counted, as the others do not do it. Exit codes: 0 every target is met, 1 one is
missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from app.adapters.index_process import ProcessIndex
from app.bootstrap import open_ports
from app.domain.answer import Query
from app.operations.identify import Credentials
from app.operations.retrieve import retrieve
from app.ports import Ports
from app.settings import Settings
from bench.prepared import READER, as_files, lay_down
from bench.serving import Caller, Server, served
from bench.wording import Writer, own_sentences

LEAST_AGAINST_CHROMADB: Final = 5.0
LEAST_AGAINST_LANCEDB: Final = 1.0
MOST_GROWTH: Final = 3.0
"""Times the first size's median, where ten times as many chunks are there."""

RIVALS: Final = ("chromadb", "lancedb", "lancedb refined", "lancedb without index", "langchain-qdrant")
_LIMIT: Final = 10
_WARM_UP: Final = 30
_IN_A_ROW: Final = 10
"""Questions that each is asked before the next one's turn: all take turns, and none is measured waking up."""
_QUICK_WITHIN_S: Final = 600.0
_PATIENCE_MS: Final = 120_000.0
"""What one library's answers may take in all: one that is slow is asked fewer questions, and the run ends."""
_THREADS: Final = "2"


class Rival:
    """Another library, filled and ready to be asked."""

    def __init__(self, name: str, to: IO[str], answers: IO[str]) -> None:
        self._to, self._answers = to, answers
        self.name = name
        self.filled_s = float(self._next()["filled_s"])

    def ask(self, vector: Sequence[float], boundaries: Sequence[int]) -> tuple[float, list[int]]:
        """The milliseconds of its own call, and the points that it found."""
        self._to.write(json.dumps({"vector": vector, "boundaries": boundaries, "limit": _LIMIT}) + "\n")
        self._to.flush()
        answer = self._next()
        return float(answer["ms"]), answer["points"]

    def _next(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("it ended: see rivals.log")
        return json.loads(line)


@contextmanager
def rival(name: str, python: Path, folder: Path) -> Iterator[Rival]:
    with (folder / "rivals.log").open("ab") as log:
        process = subprocess.Popen(
            [python.absolute(), Path(__file__).parent / "rivals" / "answer.py", name, folder],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": _THREADS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Rival(name, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.against", description="Measure Muniment against other libraries.")
    parser.add_argument("--python", type=Path, default=Path(".venv-rivals/bin/python"), help="where the others are")
    parser.add_argument("--rivals", nargs="*", default=list(RIVALS), choices=RIVALS, help="none: Muniment alone")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--also", type=int, metavar="CHUNKS", help="then Muniment alone, with so many")
    parser.add_argument("--quick", action="store_true", help="10k chunks: to try it out")
    parser.add_argument("--home", type=Path, help="a folder to prepare and leave, or to use again")
    chosen = parser.parse_args(arguments)
    out = Console(width=120)
    with ExitStack() as opened:
        home = chosen.home or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-bench-")))
        home.mkdir(parents=True, exist_ok=True)
        chunks, questions = (10_000, 20) if chosen.quick else (chosen.chunks, 100)
        missed, p50_ms = measure(home.absolute(), chosen.python, chosen.rivals, chunks, questions, out)
        if chosen.also is not None:
            other = home.absolute() / f"also-{chosen.also}"
            other.mkdir(exist_ok=True)
            _, also_ms = measure(other, chosen.python, (), chosen.also, questions, out)
            growth = also_ms / p50_ms
            out.print(
                f"With {chosen.also:,} chunks an answer takes {growth:.1f} times as long (at most {MOST_GROWTH:g})."
            )
            missed += [f"growth of {growth:.1f} times"] if growth > MOST_GROWTH else []
    for name in missed:
        out.print(f"Missed: {name}.")
    return 1 if missed else 0


def measure(
    folder: Path, python: Path, names: Sequence[str], chunks: int, questions: int, out: Console
) -> tuple[list[str], float]:
    """The targets that were missed, and the median of whole answers in milliseconds."""
    sentences = own_sentences()
    writer = Writer(sentences, seed=time.time_ns())
    with ExitStack() as opened:
        server = opened.enter_context(served(folder, folder / "home"))
        laying = opened.enter_context(open_ports(Settings(home=folder / "home"), searching=False))
        lay_down(laying, sentences, chunks=chunks)
        ports = opened.enter_context(open_ports(Settings(home=folder / "home")))
        within = as_files(ports, sentences, folder, chunks=chunks)
        rivals = [opened.enter_context(rival(name, python, folder)) for name in names]
        for each in rivals:
            out.print(f"{each.name} was filled in {each.filled_s:.0f} s.")
        key = server.key_of(READER)
        _ask_some(server, key, writer)
        assert isinstance(laying.index, ProcessIndex)
        quick = _became_quick(laying.index)
        _ask_some(server, key, writer)
        for _ in range(_WARM_UP):
            _in_process_ms(ports, key, writer.question())
        out.print(f"The index searches {'its arrays' if quick else 'with the engine alone'}.")
        asked = [writer.question() for _ in range(questions)]
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        seen = np.flatnonzero(np.isin(np.load(folder / "boundaries.npy"), within))
        spent_ms: dict[str, list[float]] = {name: [] for name in ("muniment", "with embedding", "in process", *names)}
        recalled: dict[str, list[float]] = {name: [] for name in names}
        wanted: dict[str, tuple[list[float], set[int]]] = {}
        for question, embedded in zip(asked, ports.embedder.embed_queries(asked), strict=True):
            vector = np.frombuffer(embedded, "<f4")
            wanted[question] = vector.tolist(), set(seen[np.argsort(-(vectors[seen] @ vector))[:_LIMIT]].tolist())
        for first in range(0, questions, _IN_A_ROW):
            some = asked[first : first + _IN_A_ROW]
            with server.connect(key) as caller:  # anew: a server closes what is idle
                for question in some:
                    whole_ms, embedding_ms = _governed_ms(caller, question)
                    spent_ms["muniment"].append(whole_ms - embedding_ms)
                    spent_ms["with embedding"].append(whole_ms)
            spent_ms["in process"] += [_in_process_ms(ports, key, question) for question in some]
            for each in rivals:
                for question in some:
                    if sum(spent_ms[each.name]) > _PATIENCE_MS:
                        break
                    asked_for, best = wanted[question]
                    ms, points = each.ask(asked_for, within)
                    spent_ms[each.name].append(ms)
                    recalled[each.name].append(len(best & set(points)) / _LIMIT)
    return _tell(spent_ms, recalled, chunks, len(seen) / chunks, out), median(spent_ms["muniment"])


def _ask_some(server: Server, key: str, writer: Writer) -> None:
    with server.connect(key) as caller:
        for _ in range(_WARM_UP):
            _governed_ms(caller, writer.question())


def _governed_ms(caller: Caller, question: str) -> tuple[float, float]:
    """The whole request, and the embedding in it."""
    start = time.perf_counter()
    answer = caller.ask("POST", "/v1/retrieve", {"query": question})
    return (time.perf_counter() - start) * 1000, answer["usage"]["timings_ms"]["embed"]


def _in_process_ms(ports: Ports, key: str, question: str) -> float:
    """The same operation without HTTP, less embedding: what the others are, called as a library."""
    start = time.perf_counter()
    answer = retrieve(ports, Credentials(bearer=key), Query(text=question))
    return (time.perf_counter() - start) * 1000 - answer.usage.timings_ms["embed"]


def _became_quick(index: ProcessIndex) -> bool:
    deadline = time.monotonic() + _QUICK_WITHIN_S
    while not index.quick() and time.monotonic() < deadline:
        time.sleep(1)
    return index.quick()


def _tell(
    spent_ms: dict[str, list[float]], recalled: dict[str, list[float]], chunks: int, visible: float, out: Console
) -> list[str]:
    table = Table(title=f"{chunks:,} chunks, {visible:.0%} visible", title_justify="left", title_style="bold")
    for column in ("", "p50 ms", "p95 ms", "of muniment's p50", "recall@10"):
        table.add_column(column, justify="left" if not column else "right")
    ours = median(spent_ms["muniment"])
    labels = {
        "muniment": "POST /v1/retrieve, hybrid, less embedding",
        "with embedding": "the same, with embedding",
        "in process": "the same without HTTP, less embedding",
    }
    for name, listed in spent_ms.items():
        table.add_row(
            labels.get(name, f"{name}, dense, filtered"),
            f"{median(listed):.1f}",
            f"{sorted(listed)[int(len(listed) * 0.95)]:.1f}",
            f"{median(listed) / ours:.2f}",
            f"{median(recalled[name]):.2f}" if name in recalled else "",
        )
    out.print(table)
    least = {"chromadb": LEAST_AGAINST_CHROMADB, "lancedb": LEAST_AGAINST_LANCEDB}
    return [
        f"{name} takes {median(spent_ms[name]) / ours:.2f} times as long, at least {wanted:g} was wanted"
        for name, wanted in least.items()
        if name in spent_ms and median(spent_ms[name]) < wanted * ours
    ]


if __name__ == "__main__":
    sys.exit(main())
