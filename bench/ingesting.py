"""Documents put in through the running server, against the embedding of their chunks alone."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlmodel import col

from app.domain.corpus import VersionId, embedded_text
from app.domain.jobs import JobState
from app.ports import Ports
from app.store import publishing
from app.store.database import reading
from app.store.tables import JobRow, VersionRow
from bench.encoding import Encoder
from bench.prepared import INTO
from bench.serving import Server
from bench.wording import Writer

_SUBMITTING_AT_ONCE: Final = 4
_PATIENCE_S: Final = 1800.0
_WARM_UP: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The same chunks both ways."""

    documents: int
    chunks: int
    ingest_s: float
    """From the moment at which the worker may claim the first to the end of the last job."""
    encode_s: float
    ingest_cpu_s: float
    """Of all of the server's processes."""
    encode_cpu_s: float

    @property
    def cpu_ratio(self) -> float:
        """The same in seconds of processor time: what is left of it when others keep the machine busy."""
        return self.encode_cpu_s / self.ingest_cpu_s

    @property
    def ratio(self) -> float:
        """Throughput of the whole ingest as a part of what encoding alone reaches."""
        return self.encode_s / self.ingest_s


def rounds(ports: Ports, server: Server, key: str, writer: Writer, *, documents: int, times: int) -> Iterator[Round]:
    """Each round puts in new documents, then encodes the chunks that came of them."""
    with Encoder() as encoder:
        for _ in range(times):
            _ingested(ports, server, key, [_document(writer) for _ in range(_WARM_UP)])  # it may have rested
            before = server.cpu_s(), encoder.cpu_s()
            ingest_s, jobs = _ingested(ports, server, key, [_document(writer) for _ in range(documents)])
            texts = _embedded_texts(ports, jobs)
            encode_s = encoder.seconds_for(texts)
            yield Round(
                documents=documents,
                chunks=len(texts),
                ingest_s=ingest_s,
                encode_s=encode_s,
                ingest_cpu_s=server.cpu_s() - before[0],
                encode_cpu_s=encoder.cpu_s() - before[1],
            )


@contextmanager
def sampled(act: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Do something again and again meanwhile, in a thread."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(every_s):
            act()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _document(writer: Writer) -> str:
    return writer.document(sections=3, paragraphs=2)


def _ingested(ports: Ports, server: Server, key: str, texts: Sequence[str]) -> tuple[float, list[str]]:
    """Seconds for these documents, and their jobs. All are queued before the worker may take the first."""
    worker = server.worker()
    worker.send_signal(signal.SIGSTOP)
    try:
        jobs = _submitted(server, key, texts)
    finally:
        start = ports.now()
        worker.send_signal(signal.SIGCONT)
    return (_end_of(ports, jobs) - start) / 1000, jobs


def _submitted(server: Server, key: str, texts: Sequence[str]) -> list[str]:
    def submit(share: Sequence[str]) -> list[str]:
        with server.connect(key) as caller:
            return [
                caller.ask(
                    "POST",
                    f"/v1/collections/{INTO}/documents",
                    {
                        "text": text,
                        "media_type": "text/markdown",
                        "metadata": {"uri": f"bench/{time.time_ns()}-{hash(text)}"},
                    },
                )["job"]["id"]
                for text in share
            ]

    with ThreadPoolExecutor(_SUBMITTING_AT_ONCE) as threads:
        shares = [texts[start::_SUBMITTING_AT_ONCE] for start in range(_SUBMITTING_AT_ONCE)]
        return [job for listed in threads.map(submit, shares) for job in listed]


def _end_of(ports: Ports, jobs: Sequence[str]) -> int:
    """The instant at which the last of these jobs succeeded."""
    deadline = time.monotonic() + _PATIENCE_S
    query = select(func.count(), func.max(col(JobRow.ended_at))).where(
        col(JobRow.id).in_(jobs), col(JobRow.state) == JobState.SUCCEEDED
    )
    while time.monotonic() < deadline:
        with reading(ports.engine) as session:
            over, last = session.execute(query).one()
        if over == len(jobs) and last is not None:
            return last
        time.sleep(0.2)
    raise RuntimeError(f"{over} of {len(jobs)} documents were ingested in {_PATIENCE_S:g} s")


def _embedded_texts(ports: Ports, jobs: Sequence[str]) -> list[str]:
    with reading(ports.engine) as session:
        versions = session.scalars(select(col(VersionRow.id)).where(col(VersionRow.job_id).in_(jobs))).all()
        chunks = publishing.indexed_chunks(session, [VersionId(id or 0) for id in versions], ports.embedder.fingerprint)
    return [embedded_text(chunk.title, chunk.section, chunk.text) for chunk in chunks]
