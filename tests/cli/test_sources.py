"""`muniment source` on a data folder: a folder is registered and run by whoever has the files anyway."""

from pathlib import Path

import pytest

from app.cli.sources import connector_of, is_source, name_of
from tests.cli.running import muniment


def test_a_folder_is_registered_and_run_and_what_was_refused_is_told(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "bees.md").write_text("# Bees\n\nSmoke calms the bees.")
    (shelf / "empty.md").write_text("")
    home = {"MUNIMENT_HOME": str(tmp_path / "home")}
    in_hive = ("--collection", "hive")
    added = muniment("source", "add", "shelf", "shelf", *in_hive, "--schedule", "0 3 * * *", folder=tmp_path, **home)
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith(f"shelf of hive: folder {shelf}. It is run next at ")
    run = muniment("source", "run", "shelf", *in_hive, folder=tmp_path, **home)
    assert run.returncode == 1
    assert "succeeded: 2 listed, 1 new, 1 refused." in run.stdout
    assert "empty.md" in run.stdout
    misspelt = muniment("source", "list", "--collection", "hvie", folder=tmp_path, **home)
    assert misspelt.returncode == 1
    assert "There is no collection by that name that you own" in misspelt.stderr
    assert "Created" not in misspelt.stderr


@pytest.mark.parametrize(
    ("location", "connector"),
    [
        ("https://example.org/handbook.git", "git"),
        ("git@example.org:handbook", "git"),
        ("ssh://example.org/handbook", "git"),
        ("s3://bucket/handbook", "objects"),
        ("https://example.org/sitemap.xml", "web"),
        ("/var/mail/ana.mbox", "mail"),
        ("/srv/handbooks", "folder"),
    ],
)
def test_the_connector_is_told_by_the_location(location: str, connector: str) -> None:
    assert connector_of(location) == connector
    assert is_source(location) == (not location.startswith("/"))


def test_a_page_is_no_source_and_the_name_of_one_is_always_the_same() -> None:
    assert not is_source("https://example.org/handbook/leave")
    assert name_of("https://example.org/a b/sitemap.xml?x=1") == "example.org-a-b-sitemap.xml"
