"""Many small files by `muniment ingest`, killed in the middle and begun again: each is in exactly once.

MUNIMENT_INGEST_FILES sets how many; 10,000 are measured by `python -m bench.many`.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.engine import Engine
from sqlmodel import col

from app.store.database import open_engine, reading
from app.store.tables import ChunkRow, DocumentRow, IndexTaskRow, JobRow, VersionRow
from tests.e2e.conftest import OWNER, READER, lay_down
from tests.e2e.papers import word_of
from tests.e2e.processes import ROOT, Muniment, eventually, muniment

FILES: Final = int(os.environ.get("MUNIMENT_INGEST_FILES", "600"))


def test_many_files_are_in_exactly_once_though_command_and_worker_are_killed(tmp_path: Path) -> None:
    _written(tmp_path / "files")
    with muniment(tmp_path, MUNIMENT_INGEST__MAX_QUEUED_IN_COLLECTION=str(FILES // 3)) as served:
        served.start()
        served.wait_until_ready()
        lay_down(served)
        first = _begun(served)
        eventually(lambda: _succeeded(served) > FILES // 10, "a tenth of the files read")
        served.kill("worker")
        eventually(lambda: _submitted(served) > FILES // 2, "half of the files sent")
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=30)
        assert 0 < _submitted(served) < FILES
        account = _account(_begun(served))
        assert sum(account["counts"].values()) == FILES
        assert set(account["counts"]) <= {"published", "unchanged"}
        assert account["counts"]["unchanged"] > 0
        assert len({each["document_id"] for each in account["documents"]}) == FILES
        assert {each["version"] for each in account["documents"]} == {1}
        _each_is_there_once(served)
        assert _account(_begun(served))["counts"] == {"unchanged": FILES}
        _each_is_there_once(served)
        assert served.stop() == 0


def _written(folder: Path) -> None:
    for n in range(FILES):
        path = folder / f"{n // 100:03}" / f"{n:05}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Paper {n}\n\nThe rule of {word_of(n)} holds for {n} days.")


def _begun(served: Muniment) -> subprocess.Popen[str]:
    settings = {"MUNIMENT_URL": served.url, "MUNIMENT_KEY": served.key(OWNER), "PYTHONPATH": str(ROOT)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUNIMENT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "app.main", "ingest", "files", "--collection", "papers", "--wait", "--json"],
        cwd=served.folder,
        env={**inherited, **settings, "TMPDIR": str(served.temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _account(command: subprocess.Popen[str]) -> Any:
    said, complained = command.communicate(timeout=60 + FILES)
    assert command.returncode == 0, complained
    return json.loads(said)


@contextmanager
def _opened(served: Muniment) -> Iterator[Engine]:
    engine = open_engine(served.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def _submitted(served: Muniment) -> int:
    with _opened(served) as engine, reading(engine) as session:
        return session.execute(select(func.count()).select_from(JobRow)).scalar_one()


def _succeeded(served: Muniment) -> int:
    with _opened(served) as engine, reading(engine) as session:
        query = select(func.count()).select_from(JobRow).where(col(JobRow.state) == "succeeded")
        return session.execute(query).scalar_one()


def _each_is_there_once(served: Muniment) -> None:
    with _opened(served) as engine, reading(engine) as session:
        assert session.execute(select(func.count()).select_from(DocumentRow)).scalar_one() == FILES
        assert Counter(session.scalars(select(col(VersionRow.number)))) == {1: FILES}
        assert session.execute(select(func.count()).select_from(ChunkRow)).scalar_one() == FILES
        assert Counter(session.scalars(select(col(JobRow.state)))).keys() == {"succeeded"}
        assert session.execute(select(func.count()).select_from(IndexTaskRow)).scalar_one() == 0
    for n in (0, FILES // 2, FILES - 1):
        (passage,) = served.retrieve(READER, word_of(n), mode="lexical")["passages"]
        assert passage["citation"]["uri"].endswith(f"{n:05}.md")
