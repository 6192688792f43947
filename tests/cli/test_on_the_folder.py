"""Commands that open the data folder themselves: no server is running, and none is left behind."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.running import muniment

FOREVER = 253_402_300_799_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A data folder into which the operator of the machine has ingested, and what the first command said."""

    path: Path
    first: CompletedProcess[str]

    def run(self, *arguments: str | Path) -> CompletedProcess[str]:
        return muniment(*arguments, folder=self.path)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        database = sqlite3.connect(self.path / ".muniment" / "muniment.sqlite")
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("folder")
    (path / "notes").mkdir()
    (path / "notes" / "bees.md").write_text("# Bees\n\nForty thousand bees live in the hive in July.")
    (path / "notes" / "broken.pdf").write_text("no PDF")
    (path / "institution.yaml").write_text(
        "principals: {'user:ana': {clearance: confidential, categories: [pii]}}\n"
        "collections: {library: {title: Library, owners: ['user:ana'], discoverable: true,\n"
        "  default_label: {level: internal}}}\n"
    )
    return Folder(path=path, first=muniment("ingest", "notes", "--collection", "bees", "--json", folder=path))


def test_the_first_ingest_makes_the_collection_and_waits_for_every_job(folder: Folder) -> None:
    account = json.loads(folder.first.stdout)
    assert folder.first.returncode == 1, "broken.pdf"
    assert account["counts"] == {"failed": 1, "published": 1}
    assert "Created the collection bees, owned by user:operator." in folder.first.stderr
    assert folder.first.stderr.count("mun_") == 1, "the administrator's key is shown once, and not on stdout"
    assert "Traceback" not in folder.first.stderr


def test_the_operator_reads_what_it_put_in_and_a_key_of_a_killed_command_is_revoked(folder: Folder) -> None:
    with (folder.path / ".muniment" / "run" / "console.keys").open("w") as ledger:
        ledger.write("user:operator key_console_left\n")
    database = sqlite3.connect(folder.path / ".muniment" / "muniment.sqlite")
    with database:
        database.execute(
            "INSERT INTO keys (id, principal, digest, recorded_from, recorded_to, recorded_by) "
            f"VALUES ('key_console_left', 'user:operator', 'abc', 1, {FOREVER}, 'system')"
        )
    database.close()
    asked = folder.run("retrieve", "How many bees live in the hive?", "--json")
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert [passage["citation"]["uri"] for passage in answer["passages"]] == ["bees.md"]
    assert answer["checks"][0]["reason"] == "user:operator, proven by its own credential."


def test_for_a_person_it_is_on_record_that_the_console_asserted_her(folder: Folder) -> None:
    applied = folder.run("apply", "institution.yaml")
    assert applied.returncode == 0, applied.stderr
    asked = folder.run("retrieve", "How many bees live in the hive?", "--as", "user:ana", "--json")
    answer = json.loads(asked.stdout)
    assert answer["outcome"] == "empty", "the bees are the operator's"
    (trace,) = folder.rows(f"SELECT subject, actor, proof FROM traces WHERE id = '{answer['trace_id']}'")
    assert trace == ("user:ana", "assistant:console", "asserted")
    (console,) = folder.rows(
        f"SELECT clearance, categories FROM principals WHERE ref = 'assistant:console' AND recorded_to = {FOREVER}"
    )
    assert console == ("confidential", '["pii"]')


def test_a_collection_of_somebody_else_is_refused_with_the_way_out(folder: Folder) -> None:
    refused = folder.run("ingest", "notes", "--collection", "library")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "Only the owners of library change what is in it. Ask user:ana. Or say --as with one of its owners.\n"
    )


def test_no_key_of_a_command_is_left_in_force(folder: Folder) -> None:
    """After all the commands above, those that failed too."""
    keys = folder.rows(f"SELECT id, principal, recorded_to = {FOREVER} FROM keys")
    temporary = [(principal, in_force) for id, principal, in_force in keys if str(id).startswith("key_console_")]
    assert {principal for principal, _ in temporary} >= {"user:operator", "assistant:console", "user:administrator"}
    assert {in_force for _, in_force in temporary} == {0}
    assert sum(bool(in_force) for _, _, in_force in keys) == 1, "the administrator's own"
