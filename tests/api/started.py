"""Muniment started for as long as a test module needs it, and a worker beside it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.store.database import open_engine
from ingest.ports import Parser
from tests.running import Running, running


@contextmanager
def started(
    folder: Path, *, url: str | None = None, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """An empty Muniment on an empty database: the one at `url`, or SQLite in the folder."""
    engine = open_engine(url or f"sqlite:///{folder / 'muniment.sqlite'}")
    try:
        with (
            EdgeIndex(folder / "index", embedder.dimension) as index,
            running(engine, index, folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as run,
        ):
            yield run
    finally:
        engine.dispose()


@contextmanager
def working(run: Running) -> Iterator[None]:
    """A worker in a thread of its own, as there is one beside the server."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            run.work()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
