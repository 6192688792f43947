"""What Muniment costs, as ratios measured in one run: python -m bench [--quick] [--home DIR]

Exit codes: 0 every target is met, 1 one is missed.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from app.bootstrap import open_ports
from app.settings import Settings
from bench import asking, embedding, ingesting, parsing
from bench.prepared import CURATOR, READER, lay_down
from bench.serving import Server, Taken, served
from bench.wording import Writer, own_sentences

MOST_GOVERNED: Final = 3.0
MOST_DECISION: Final = 0.01
LEAST_INGEST: Final = 0.9
MOST_RSS_MB: Final = 1_500

_SAMPLED_EVERY_S: Final = 0.5

RESTED_AFTER_S: Final = 75.0
"""When a worker without work has given back what it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    chunks: int = 100_000
    questions: int = 340
    decisions: int = 1_000
    documents: int = 64
    rounds: int = 5


QUICK: Final = Extent(chunks=10_000, questions=140, decisions=300, rounds=2)


@dataclass
class Targets:
    """What was to be reached, and whether it was."""

    missed: list[str] = field(default_factory=list)

    def verdict(self, name: str, met: bool) -> str:
        if not met:
            self.missed.append(name)
        return "met" if met else "MISSED"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Measure Muniment against its parts.")
    parser.add_argument("--quick", action="store_true", help="10k chunks and less of everything: to try it out")
    parser.add_argument("--home", type=Path, help="a folder to prepare and leave, or to use again")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that the server is ended too
    out = Console(width=120)
    targets = Targets()
    with ExitStack() as opened:
        folder = chosen.home or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-bench-")))
        measure(folder.absolute(), QUICK if chosen.quick else Extent(), out, targets)
    for name in targets.missed:
        out.print(f"Missed: {name}.")
    return 1 if targets.missed else 0


def measure(folder: Path, extent: Extent, out: Console, targets: Targets) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sentences = own_sentences()
    writer = Writer(sentences, seed=time.time_ns())
    targets.missed += parsing.tell(parsing.reading(writer, paragraphs=extent.documents, times=extent.rounds), out)
    embedded = embedding.embedding(writer, folder / "models", questions=extent.questions, rounds=extent.rounds)
    _tell_embedding(out, embedded, targets)
    with ExitStack() as opened:
        server = opened.enter_context(served(folder, folder / "home"))
        ports = opened.enter_context(open_ports(Settings(home=folder / "home")))
        start = time.monotonic()
        lay_down(ports, sentences, chunks=extent.chunks)
        out.print(f"{ports.index.size():,} chunks in place after {time.monotonic() - start:.0f} s.")

        reader, curator = server.key_of(READER), server.key_of(CURATOR)
        questions = list(dict.fromkeys(writer.question() for _ in range(extent.questions)))
        with server.connect(reader) as caller:
            retrieval = asking.retrieval(ports, caller, reader, questions)
        decision = asking.decision(ports, reader, times=extent.decisions)
        _tell_retrieval(out, retrieval, targets)
        _tell_decision(out, decision, retrieval, targets)

        peak: list[list[Taken]] = [server.taken(shared=False)]
        with ingesting.sampled(lambda: _keep_larger(peak, server), every_s=_SAMPLED_EVERY_S):
            rounds = list(
                ingesting.rounds(ports, server, curator, writer, documents=extent.documents, times=extent.rounds)
            )
        _tell_ingest(out, rounds, targets)
        time.sleep(RESTED_AFTER_S)
        with server.connect(reader) as caller:  # anew: a server closes what is idle
            for question in questions[:20]:
                caller.ask("POST", "/v1/retrieve", {"query": question})
        _tell_memory(out, server.taken(shared=True), peak[0], targets)


def _tell_embedding(out: Console, found: embedding.Embedding, targets: Targets) -> None:
    table = _table("Embedding one question, one thread on both sides", "p50 ms")
    table.add_row("SentenceTransformer.encode", f"{found.encode_ms:.2f}")
    table.add_row("embed_queries", f"{found.ours_ms:.2f}")
    table.add_section()
    verdict = targets.verdict("embedding of one question", found.ratio <= embedding.MOST_OF_ENCODE)
    table.add_row(f"ratio (at most {embedding.MOST_OF_ENCODE:g}): {verdict}", f"{found.ratio:.2f}")
    out.print(table)
    table = _table(f"Callers at once, {found.threads} threads", "questions/s", "questions/s of CPU time")
    table.add_row("one", f"{median(found.one_caller):.0f}", f"{found.one_a_cpu_s:.0f}")
    table.add_row("eight", f"{median(found.eight_callers):.0f}", f"{found.eight_a_cpu_s:.0f}")
    table.add_section()
    verdict = targets.verdict("eight callers", found.gain >= embedding.LEAST_OF_EIGHT)
    cpu = found.eight_a_cpu_s / found.one_a_cpu_s
    table.add_row(f"ratio (at least {embedding.LEAST_OF_EIGHT:g}): {verdict}", f"{found.gain:.2f}", f"{cpu:.2f}")
    out.print(table)


def _tell_retrieval(out: Console, found: asking.Retrieval, targets: Targets) -> None:
    table = _table(
        f"Governed retrieval: {found.pairs} pairs, {found.passages:g} passages an answer", "p50 ms", "p95 ms"
    )
    table.add_row("bare hybrid query", f"{found.bare_ms:.2f}", f"{found.bare_p95_ms:.2f}")
    table.add_row("POST /v1/retrieve, less embedding", f"{found.governed_ms:.2f}", f"{found.governed_p95_ms:.2f}")
    met = found.ratio <= MOST_GOVERNED
    table.add_section()
    table.add_row(
        f"ratio (at most {MOST_GOVERNED:g})", f"{found.ratio:.2f}", targets.verdict("governed retrieval", met)
    )
    table.add_row("median of the pairs' ratios", f"{found.pairwise_ratio:.2f}", "")
    out.print(table)
    steps = _table("Where it goes (medians)", "ms", "of a bare query")
    for step, ms in found.steps_ms.items():
        steps.add_row(step, f"{ms:.2f}", "not counted" if step == "embed" else f"{ms / found.bare_ms:.2f}")
    out.print(steps)


def _tell_decision(out: Console, found: asking.Decision, of: asking.Retrieval, targets: Targets) -> None:
    title = f"A warm decision: {found.readable} of {found.boundaries} boundaries are open"
    table = _table(title, "p50 ms", "of a retrieval")
    fraction = found.reach_ms / of.governed_ms
    table.add_row("reach", f"{found.reach_ms:.4f}", f"{fraction:.3%}")
    table.add_row(
        "identify, which reads the epochs", f"{found.identify_ms:.4f}", f"{found.identify_ms / of.governed_ms:.3%}"
    )
    table.add_section()
    verdict = targets.verdict("a warm decision", fraction <= MOST_DECISION)
    table.add_row(f"reach (at most {MOST_DECISION:.0%})", verdict, "")
    out.print(table)


def _tell_ingest(out: Console, rounds: Sequence[ingesting.Round], targets: Targets) -> None:
    table = _table("Ingest of Markdown", "documents/s", "chunks/s", "encode alone, chunks/s", "ratio", "of CPU time")
    for number, each in enumerate(rounds, start=1):
        table.add_row(
            f"round {number}: {each.documents} documents, {each.chunks} chunks",
            f"{each.documents / each.ingest_s:.1f}",
            f"{each.chunks / each.ingest_s:.1f}",
            f"{each.chunks / each.encode_s:.1f}",
            f"{each.ratio:.2f}",
            f"{each.cpu_ratio:.2f}",
        )
    ratio, cpu_ratio = median(each.ratio for each in rounds), median(each.cpu_ratio for each in rounds)
    table.add_section()
    verdict = targets.verdict("ingest", ratio >= LEAST_INGEST)
    table.add_row(f"median ratio (at least {LEAST_INGEST:g})", "", "", verdict, f"{ratio:.2f}", f"{cpu_ratio:.2f}")
    out.print(table)


def _tell_memory(out: Console, taken: Sequence[Taken], peak: Sequence[Taken], targets: Targets) -> None:
    """The target is what it takes to be there and to answer; what an ingest takes besides stands next to it."""
    table = _table("Memory, MB", "RSS", "PSS", "RSS at the peak of the ingest")
    at_rest, at_peak = _rss_mb_by_role(taken), _rss_mb_by_role(peak)
    pss_mb: Counter[str] = Counter()
    for each in taken:
        pss_mb[each.role] += round(each.pss_mb or each.rss_mb)
    for role in at_peak | at_rest:
        table.add_row(role, *(f"{listed[role]}" for listed in (at_rest, pss_mb, at_peak)))
    table.add_section()
    table.add_row("together", *(f"{listed.total()}" for listed in (at_rest, pss_mb, at_peak)))
    table.add_row(
        f"of {MOST_RSS_MB} (below 1)", *(f"{listed.total() / MOST_RSS_MB:.2f}" for listed in (at_rest, pss_mb, at_peak))
    )
    verdict = targets.verdict("memory", at_rest.total() < MOST_RSS_MB)
    table.add_row(f"{RESTED_AFTER_S:g} s after the ingest, answering", verdict, "", "")
    out.print(table)


def _rss_mb_by_role(taken: Sequence[Taken]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in taken:
        found[each.role] += round(each.rss_mb)
    return found


def _keep_larger(peak: list[list[Taken]], server: Server) -> None:
    now = server.taken(shared=False)
    if sum(each.rss_mb for each in now) > sum(each.rss_mb for each in peak[0]):
        peak[0] = now


def _table(title: str, *columns: str) -> Table:
    table = Table("", title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    sys.exit(main())
