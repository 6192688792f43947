"""Where a warm retrieve's time goes: SQL, steps, processor time, and the functions that take longest.

python -m bench.profiling [--chunks 10000] [--home DIR]        prints Markdown; what was seen is in bench/README.md
"""

import argparse
import cProfile
import pstats
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from sqlalchemy import event

from app.bootstrap import open_ports
from app.domain.answer import Query
from app.operations.identify import Credentials
from app.operations.retrieve import retrieve
from app.ports import Ports
from app.settings import Settings
from bench.prepared import READER, lay_down
from bench.serving import Server, served
from bench.wording import Writer, own_sentences

_WARM_UP: Final = 40
_TIMES: Final = 100
_SHOWN: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.profiling", description="Show where a retrieve's time goes.")
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--home", type=Path, help="a folder to prepare and leave, or to use again")
    chosen = parser.parse_args(arguments)
    with ExitStack() as opened:
        folder = chosen.home or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        sentences = own_sentences()
        server = opened.enter_context(served(folder.absolute(), folder.absolute() / "home"))
        with open_ports(Settings(home=folder.absolute() / "home"), searching=False) as laying:
            lay_down(laying, sentences, chunks=chosen.chunks)
        ports = opened.enter_context(open_ports(Settings(home=folder.absolute() / "home")))
        writer = Writer(sentences, seed=5)
        key, questions = server.key_of(READER), [writer.question() for _ in range(_TIMES)]
        _tell(ports, Credentials(bearer=key), questions)
        _tell_processors(server, ports, key, questions)
    return 0


def _tell(ports: Ports, credentials: Credentials, questions: Sequence[str]) -> None:
    for question in questions[:_WARM_UP]:
        retrieve(ports, credentials, Query(text=question))
    print(f"{ports.index.size():,} points.\n\n## SQL statements of one warm retrieve\n")
    for statement, times in _statements(ports, credentials, questions).items():
        print(f"- {times:g} x `{statement}`")
    steps: defaultdict[str, list[float]] = defaultdict(list)
    for question in questions:
        start = time.perf_counter()
        answer = retrieve(ports, credentials, Query(text=question))
        steps["the whole call"].append((time.perf_counter() - start) * 1000)
        for step, ms in answer.usage.timings_ms.items():
            steps[step].append(ms)
    print("\n## Steps, medians\n\n| step | ms | of the whole |\n|---|---:|---:|")
    whole = median(steps["the whole call"])
    for step, listed in steps.items():
        print(f"| {step} | {median(listed):.2f} | {median(listed) / whole:.0%} |")
    _tell_functions(ports, credentials, questions)


def _tell_processors(server: Server, ports: Ports, key: str, questions: Sequence[str]) -> None:
    """Processor time is what a busy machine leaves as it is: of each process over HTTP, and of the call alone.

    The questions were put before, so that no embedding is counted.
    """
    start = time.thread_time()
    for question in questions:
        retrieve(ports, Credentials(bearer=key), Query(text=question))
    print(f"\n## Processor time of one, ms\n\n- the call, without the index process: {_each(start, questions):.1f}")
    with server.connect(key) as caller:
        for question in questions:
            caller.ask("POST", "/v1/retrieve", {"query": question})
        before = server.cpu_s_by_role()
        for question in questions:
            caller.ask("POST", "/v1/retrieve", {"query": question})
        for role, spent_s in server.cpu_s_by_role().items():
            print(f"- over HTTP, {role}: {(spent_s - before.get(role, 0.0)) * 1000 / len(questions):.1f}")


def _each(start: float, questions: Sequence[str]) -> float:
    return (time.thread_time() - start) * 1000 / len(questions)


def _statements(ports: Ports, credentials: Credentials, questions: Sequence[str]) -> dict[str, float]:
    """Each statement, shortened, with how often one retrieve sends it."""
    sent: Counter[str] = Counter()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = " ".join(statement.split())
        table = re.search(r"\b(?:FROM|INTO|UPDATE) (\w+)", words)
        sent[f"{words.split()[0]} {table.group(1) if table else words[:60]}"] += 1

    event.listen(ports.engine, "before_cursor_execute", note)
    try:
        for question in questions:
            retrieve(ports, credentials, Query(text=question))
    finally:
        event.remove(ports.engine, "before_cursor_execute", note)
    return {statement: times / len(questions) for statement, times in sent.most_common()}


def _tell_functions(ports: Ports, credentials: Credentials, questions: Sequence[str]) -> None:
    profile = cProfile.Profile()
    with profile:
        for question in questions:
            retrieve(ports, credentials, Query(text=question))
    found = pstats.Stats(profile).get_stats_profile()
    longest = sorted(found.func_profiles.items(), key=lambda item: -item[1].tottime)[:_SHOWN]
    print("\n## Functions, by their own time under cProfile\n")
    print("| function | own time | calls a retrieve |\n|---|---:|---:|")
    for name, each in longest:
        calls = int(str(each.ncalls).split("/")[0]) / len(questions)
        print(f"| `{Path(each.file_name).name}:{name}` | {each.tottime / found.total_tt:.1%} | {calls:g} |")


if __name__ == "__main__":
    sys.exit(main())
