"""Many small files by `muniment ingest`, killed in the middle and begun again; then an ACL change of half of them.

    python -m bench.many [--files 10000] [--kill] [--home DIR]

Says how long each part took, what became of every file, how the worker's memory went, and how long the index needed
to catch up with the change. Exit codes: 0 every file is in exactly once, 1 not.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select
from sqlmodel import col

from app.bootstrap import open_ports
from app.ports import Ports
from app.settings import Settings
from app.store.database import reading
from app.store.tables import DocumentRow, EmbeddingRow, IndexTaskRow, JobRow, VersionRow
from bench import ingesting
from bench.serving import Server, served
from bench.wording import Writer, own_sentences

COLLECTION: Final = "many"
OWNER: Final = "user:owner"
READER: Final = "user:reader"
MOST_SLOPE_MB: Final = 20.0
"""Growth of the worker's memory over 10,000 documents that is still called flat: an average text has 10 kB."""

_AMENDED: Final = 5_000
_PATIENCE_S: Final = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.many", description="Many small files, and an ACL change of many.")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kill", action="store_true", help="kill -9 of command and worker in the middle")
    parser.add_argument("--home", type=Path, help="a folder to leave the data in")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that the server is ended too
    with ExitStack() as opened:
        folder = chosen.home or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-many-")))
        return 0 if measure(folder.absolute(), chosen.files, Console(width=120), kill=chosen.kill) else 1


def measure(folder: Path, files: int, out: Console, *, kill: bool) -> bool:
    (folder / "files").mkdir(parents=True)
    writer = Writer(own_sentences(), seed=7)
    for n in range(files):
        path = folder / "files" / f"{n // 100:03}" / f"{n:05}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# Paper {n}\n\n{writer.passage()[1]}")
    with ExitStack() as opened:
        server = opened.enter_context(served(folder, folder / "home"))
        ports = opened.enter_context(open_ports(Settings(home=folder / "home")))
        key = _laid_down(server)
        table = Table("", "seconds", title=f"{files:,} small files", title_justify="left")
        memory: list[tuple[float, float]] = []
        with ingesting.sampled(lambda: _look(server, ports, memory), every_s=1.0):
            if kill:
                start = time.monotonic()
                first = _begun(folder, server, key)
                _until(ports, files // 3, first)
                first.kill()
                first.wait()
                server.worker().kill()
                table.add_row("command and worker killed after", f"{time.monotonic() - start:.1f}")
            start = time.monotonic()
            told = json.loads(_begun(folder, server, key).communicate()[0])
            table.add_row("ingested" + (", going on" if kill else ""), f"{time.monotonic() - start:.1f}")
        start = time.monotonic()
        again = json.loads(_begun(folder, server, key).communicate()[0])
        table.add_row("the same again", f"{time.monotonic() - start:.1f}")
        out.print(table)
        out.print(f"First: {told['counts']}. Again: {again['counts']}.")
        exactly = _exactly_once(ports, files, out) and again["counts"] == {"unchanged": files}
        flat = _tell_memory(memory, out)
        _amend(ports, server, key, min(files, _AMENDED), out)
        return exactly and flat


def _laid_down(server: Server) -> str:
    with server.connect(server.administrator_key) as administrator:
        for ref in (OWNER, READER):
            administrator.ask("PUT", f"/v1/principals/{ref.replace(':', '/')}", {})
        home = {"title": "Many", "owners": [OWNER], "default_readers": ["group:all-staff"]}
        administrator.ask("PUT", f"/v1/collections/{COLLECTION}", home)
    return server.key_of(OWNER)


def _begun(folder: Path, server: Server, key: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.main", "ingest", "files", "--collection", COLLECTION, "--wait", "--json"],
        cwd=folder,
        env={**os.environ, "MUNIMENT_URL": f"http://127.0.0.1:{server.port}", "MUNIMENT_KEY": key},
        stdout=subprocess.PIPE,
        text=True,
    )


def _until(ports: Ports, published: int, command: subprocess.Popen[str]) -> None:
    while _published(ports) < published and command.poll() is None:
        time.sleep(0.2)


def _published(ports: Ports) -> int:
    with reading(ports.engine) as session:
        query = select(func.count()).select_from(JobRow).where(col(JobRow.state) == "succeeded")
        return session.execute(query).scalar_one()


def _look(server: Server, ports: Ports, memory: list[tuple[float, float]]) -> None:
    taken = [each.rss_mb for each in server.taken(shared=False) if each.role == "worker"]
    if taken:
        memory.append((float(_published(ports)), taken[0]))


def _exactly_once(ports: Ports, files: int, out: Console) -> bool:
    with reading(ports.engine) as session:
        documents = session.execute(select(func.count()).select_from(DocumentRow)).scalar_one()
        numbers = Counter(session.scalars(select(col(VersionRow.number))))
    out.print(f"{documents:,} documents; versions by their number: {dict(numbers)}.")
    return documents == files and numbers == {1: files}


def _tell_memory(memory: Sequence[tuple[float, float]], out: Console) -> bool:
    """Of the second half: until then the model is loaded, and the allocator takes what it will keep."""
    half = [each for each in memory if each[0] >= memory[-1][0] / 2]
    slope = linear_regression([done for done, _ in half], [rss for _, rss in half]).slope * 10_000
    peak = max(rss for _, rss in memory)
    out.print(f"Worker: {half[0][1]:.0f} MB half way, {half[-1][1]:.0f} MB at the end, {peak:.0f} MB at the most.")
    out.print(f"Slope over 10,000 documents: {slope:+.1f} MB (flat: below {MOST_SLOPE_MB:g}).")
    return slope < MOST_SLOPE_MB


def _amend(ports: Ports, server: Server, key: str, count: int, out: Console) -> None:
    """Narrow so many documents in one call, ask at once, and wait until the index says so too."""
    with reading(ports.engine) as session:
        ids = list(
            session.scalars(select(col(DocumentRow.public_id)).order_by(col(DocumentRow.id).desc()).limit(count))
        )
        embedded = session.execute(select(func.count()).select_from(EmbeddingRow)).scalar_one()
    question = {"query": "Paper 17", "mode": "lexical", "top_k": 50}
    with server.connect(key) as owner, server.connect(server.key_of(READER)) as reader:
        before = _cited(reader.ask("POST", "/v1/retrieve", question))
        start = time.monotonic()
        owner.ask("POST", f"/v1/collections/{COLLECTION}/documents/amend", {"documents": ids, "readers": [OWNER]})
        called_s = time.monotonic() - start
        after = _cited(reader.ask("POST", "/v1/retrieve", question))
        asked_s = time.monotonic() - start - called_s
        while _tasks(ports) and time.monotonic() - start < _PATIENCE_S:
            time.sleep(0.1)
        caught_up_s = time.monotonic() - start
    with server.connect(server.key_of(READER)) as reader:  # the connection before has been idle for too long
        start = time.monotonic()
        caught_up = _cited(reader.ask("POST", "/v1/retrieve", question))
        then_s = time.monotonic() - start
    with reading(ports.engine) as session:
        new = session.execute(select(func.count()).select_from(EmbeddingRow)).scalar_one() - embedded
    table = Table("", "", title=f"An ACL change of {count:,} documents", title_justify="left")
    table.add_row("the call", f"{called_s:.2f} s")
    table.add_row("the next question, at once", f"{asked_s:.2f} s")
    table.add_row("index caught up after", f"{caught_up_s:.1f} s")
    table.add_row("the same question then", f"{then_s:.2f} s")
    table.add_row("texts embedded again", str(new))
    narrowed = set(ids)
    table.add_row("closed passages shown", str(len((after | caught_up) & narrowed)))
    table.add_row("passages before, at once, then", f"{len(before)}, {len(after)}, {len(caught_up)}")
    out.print(table)


def _cited(answer: Any) -> set[str]:
    return {passage["citation"]["document_id"] for passage in answer["passages"]}


def _tasks(ports: Ports) -> int:
    with reading(ports.engine) as session:
        return session.execute(select(func.count()).select_from(IndexTaskRow)).scalar_one()


if __name__ == "__main__":
    sys.exit(main())
