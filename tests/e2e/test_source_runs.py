"""A source's run on real processes: killed in the middle, it goes on, and everything is in once."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import col

from app.store.database import open_engine, reading
from app.store.tables import DocumentRow, JobRow, VersionRow
from tests.e2e.conftest import OWNER, lay_down
from tests.e2e.processes import Muniment, eventually, muniment

FILES: Final = 300
"""More than a run has under way at once, so that it is listing still when it is killed."""

AT: Final = "/v1/collections/papers/sources/shelf"


def test_a_run_that_is_killed_goes_on_and_takes_every_file_in_once(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for number in range(FILES):
        (shelf / f"{number:04}.md").write_text(f"# Paper {number}\n\nThis is paper number {number}.")
    with muniment(tmp_path, MUNIMENT_SOURCES__ALLOW=str(shelf)) as served:
        served.start()
        served.wait_until_ready()
        lay_down(served)
        served.succeed(OWNER, "PUT", AT, {"connector": "folder", "location": str(shelf)})
        run = served.request("POST", f"{AT}/run", OWNER).headers["Location"]
        for share in (0.1, 0.4):
            eventually(partial(_took, served, run, int(share * FILES)), "a part of the files is taken")
            assert _report(served, run)["state"] == "running"
            assert served.kill("worker")
        report = eventually(lambda: _ended(_report(served, run)), "the run is over", within_s=300)
        assert (report["state"], report["setbacks"]) == ("succeeded", [])
        assert {name: number for name, number in report["counts"].items() if number} == {"listed": FILES, "new": FILES}
        assert _made(served) == (FILES, FILES, FILES)
        _what_is_added_to_a_watched_folder_is_taken_in_by_itself(served, shelf)
        assert served.stop() == 0


def _what_is_added_to_a_watched_folder_is_taken_in_by_itself(served: Muniment, shelf: Path) -> None:
    stated = {"connector": "folder", "location": str(shelf), "options": {"watch": "true"}}
    served.succeed(OWNER, "PUT", AT, stated)
    (shelf / "late.md").write_text("# Late\n\nThis came late.")

    def by_itself() -> Any:
        runs = served.succeed(OWNER, "GET", f"{AT}/runs")["runs"]
        return [each for each in runs if each["triggered_by"] == "watch" and each["state"] == "succeeded"]

    [run, *_] = eventually(by_itself, "a run that nobody asked for")
    counts = {name: number for name, number in run["counts"].items() if number}
    assert counts == {"listed": FILES + 1, "unchanged": FILES, "new": 1}


def _took(served: Muniment, run: str, number: int) -> bool:
    return bool(_report(served, run)["counts"]["new"] > number)


def _report(served: Muniment, path: str) -> dict[str, Any]:
    report: dict[str, Any] = served.succeed(OWNER, "GET", path)
    return report


def _ended(report: dict[str, Any]) -> dict[str, Any] | None:
    return report if report["ended_at"] else None


def _made(served: Muniment) -> tuple[int, int, int]:
    """How many documents there are, jobs, and documents with exactly one version."""
    engine = open_engine(served.database_url)
    try:
        with reading(engine) as session:
            documents = session.execute(select(func.count()).select_from(DocumentRow)).scalar_one()
            jobs = session.execute(select(func.count()).select_from(JobRow)).scalar_one()
            versions = Counter(session.scalars(select(col(VersionRow.document_id))))
    finally:
        engine.dispose()
    return documents, jobs, sum(number == 1 for number in versions.values())
