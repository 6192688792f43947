"""A server that `muniment serve` runs, and every command against it: one server for the whole module."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import psutil
import pytest

from app.cli.client import Server
from tests.cli.pages import Page, pages
from tests.cli.running import MUNIMENT, begun, environment, muniment

INSTITUTION = """
purposes:
  beekeeping: {title: Beekeeping}
principals:
  group:keepers: {display_name: Keepers}
  user:ana: {groups: ["group:keepers"], clearance: confidential, categories: [pii]}
  user:ben: {}
  assistant:helper: {clearance: confidential, collections: [hive], may_assert: true}
  assistant:quiet: {clearance: internal}
collections:
  hive:
    title: The hive
    owners: ["group:keepers", "assistant:helper"]
    default_label: {level: internal, categories: []}
    default_readers: ["group:all-staff"]
    discoverable: true
  cellar: {title: The cellar, owners: ["group:keepers"], default_label: {level: internal}, discoverable: true}
documents:
  - file: honey.md
    collection: hive
    metadata: {uri: honey, title: Honey, valid_from: "2024-01-01"}
  - file: honey-2.md
    collection: hive
    metadata: {uri: honey, title: Honey, valid_from: "2025-01-01"}
  - file: mead.md
    collection: cellar
    metadata: {uri: mead, title: Mead, label: {level: confidential, categories: []}}
"""
DOCUMENTS = {
    "honey.md": "# Honey\n\nHoney is harvested in July, twenty kilograms from each hive.",
    "honey-2.md": "# Honey\n\nHoney is harvested in August, thirty kilograms from each hive.",
    "mead.md": "# Mead\n\nMead is made of honey and kept in the cellar for two winters.",
}
QUESTION = "When is honey harvested, and is mead made of it?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server, what it said when it started, and the keys of those who use it."""

    process: subprocess.Popen[str]
    said: str
    folder: Path
    url: str
    keys: dict[str, str]

    def run(self, who: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return muniment(*arguments, folder=self.folder, MUNIMENT_URL=self.url, MUNIMENT_KEY=self.keys[who])

    def run_json(self, who: str, *arguments: str | Path) -> Any:
        ran = self.run(who, *arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with the institution above laid down, its documents in, and a key for each who needs one."""
    folder = tmp_path_factory.mktemp("serving")
    (folder / "institution.yaml").write_text(INSTITUTION)
    (folder / "corpora").mkdir()
    for name, text in DOCUMENTS.items():
        (folder / "corpora" / name).write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    process = begun("serve", "--port", port, folder=folder)
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops it." not in said:
            line = process.stdout.readline()
            assert line, f"the server ended: {process.communicate()[1]}"
            said += line
        url = f"http://127.0.0.1:{port}"
        keys = {"admin": re.findall(r"mun_[a-z0-9]+", said)[0]}
        applied = muniment(
            "apply", "institution.yaml", "--documents", "corpora",
            folder=folder, MUNIMENT_URL=url, MUNIMENT_ADMIN_KEY=keys["admin"],
        )  # fmt: skip
        assert applied.returncode == 0, applied.stderr + applied.stdout
        assert applied.stdout.splitlines() == [
            "purposes: 1 new, 0 changed, 0 as before.",
            "principals: 5 new, 0 changed, 0 as before.",
            "collections: 2 laid down as the file has them.",
            "3 documents: 3 published.",
        ]
        with Server(url, keys["admin"]) as administrator:
            for ref in ("user/ana", "user/ben", "assistant/helper", "assistant/quiet"):
                keys[ref.replace("/", ":")] = administrator.post(f"/v1/principals/{ref}/keys")["key"]
        yield Running(process=process, said=said, folder=folder, url=url, keys=keys)
    finally:
        process.kill()
        process.communicate()


def test_serve_says_its_key_once_its_address_and_where_its_data_is(server: Running) -> None:
    assert server.said.count("mun_") == 1
    assert f"Muniment is ready at {server.url}, with its data in {server.folder / '.muniment'}." in server.said


def test_an_assistant_keeps_its_ceiling_when_its_collections_come_after_it(server: Running) -> None:
    with Server(server.url, server.keys["admin"]) as administrator:
        helper = administrator.get("/v1/principals/assistant/helper")
    assert (helper["active"], helper["collections"]) == (True, ["hive"])


def test_applying_again_changes_nothing_and_says_what_a_changed_file_changes(server: Running) -> None:
    again = server.run("admin", "apply", "institution.yaml", "--documents", "corpora")
    assert again.stdout.splitlines() == [
        "purposes: 0 new, 0 changed, 1 as before.",
        "principals: 0 new, 0 changed, 5 as before.",
        "collections: 2 laid down as the file has them.",
        "3 documents: 2 published, 1 unchanged.",
    ], "the two versions of one document are published anew, in their order"
    (server.folder / "changed.yaml").write_text("principals: {'user:ben': {team: bees}, 'user:cai': {}}")
    changed = server.run("admin", "apply", "changed.yaml")
    assert "principals: 1 new, 1 changed (user:ben), 0 as before." in changed.stdout.splitlines()


def test_the_importer_has_no_key_left(server: Running) -> None:
    database = sqlite3.connect(server.folder / ".muniment" / "muniment.sqlite")
    keys = database.execute("SELECT revoked_by FROM keys WHERE principal = 'assistant:importer'").fetchall()
    database.close()
    assert keys
    assert set(keys) == {("user:administrator",)}


def test_an_answer_is_the_servers_json_alone(server: Running) -> None:
    answer = server.run_json("user:ana", "retrieve", QUESTION, "--purpose", "beekeeping", "--top-k", "3")
    assert answer["outcome"] == "answered"
    assert {passage["citation"]["uri"] for passage in answer["passages"]} == {"honey", "mead"}
    assert answer["trace_id"].startswith("tr_")


def test_an_answer_for_people_has_all_that_was_checked(server: Running) -> None:
    told = server.run("user:ana", "retrieve", QUESTION)
    assert told.returncode == 0
    assert told.stdout.startswith("answered: 2 passages.\n")
    assert "Honey is harvested in August, thirty kilograms from each hive." in told.stdout
    assert "July" not in told.stdout
    for check in (
        "identity",
        "purpose",
        "tool",
        "boundary",
        "clearance",
        "jurisdiction",
        "lifecycle",
        "integrity",
        "freshness",
        "authority",
        "conflict",
        "personal-data",
    ):
        assert re.search(rf"^{check} +(pass|narrowed)", told.stdout, re.MULTILINE), check
    assert re.search(r"^    cit_\w+$", told.stdout, re.MULTILINE)
    assert re.search(r"^Trace tr_\w+, \d+ ms\.$", told.stdout, re.MULTILINE)
    assert "\x1b" not in told.stdout


def test_an_answer_in_words_says_where_each_sentence_stands(server: Running) -> None:
    told = server.run("user:ana", "answer", "When is honey harvested?", "--sentences", "1")
    assert told.stdout.startswith("answered\n\nHoney is harvested in August, thirty kilograms from each hive.\n    ")
    assert re.search(r"^    .+, version \d+, \d+ to \d+, cit_\w+$", told.stdout, re.MULTILINE)
    assert re.search(r"^grounding +pass", told.stdout, re.MULTILINE)
    refused = server.run_json("user:ana", "answer", "Who designed the new logo?", "--extract")
    assert (refused["outcome"], refused["answer"]["text"]) == ("empty", "This is not in the documents you may read.")


def test_as_of_then_what_held_then_is_told(server: Running) -> None:
    told = server.run("user:ana", "retrieve", QUESTION, "--as-of", "2024-06-15", "--collection", "hive")
    assert "in July" in told.stdout
    assert "in August" not in told.stdout


def test_difference_of_two_versions_is_told_by_uri_or_id_and_number_or_time(server: Running) -> None:
    told = server.run("user:ben", "diff", "honey", "1", "2")
    assert (told.returncode, told.stdout) == (
        0,
        "1 changed; 0 sections unchanged.\n\n== Honey: changed\nHoney is harvested in [-July, twenty-]{+August, "
        "thirty+} kilograms from each hive.\n",
    )
    found = server.run("user:ben", "diff", "honey", "2024-06-15", "2025-06-15", "--json")
    section = json.loads(found.stdout)["sections"][0]
    assert section["hunks"][0]["new"]["text"] == "August, thirty"
    hidden = server.run("user:ben", "diff", "mead", "1", "1")
    assert (hidden.returncode, hidden.stdout) == (1, "")
    assert hidden.stderr.startswith("No document in force that you may see has the uri mead.")


def test_what_one_may_not_read_is_not_told_and_whom_to_ask_is(server: Running) -> None:
    told = server.run("user:ben", "retrieve", QUESTION)
    assert told.returncode == 0
    assert "Mead is made" not in told.stdout
    assert "You may ask for access to The cellar (cellar) from group:keepers." in told.stdout


def test_an_assistant_may_name_whom_it_asks_for_if_it_may_assert(server: Running) -> None:
    told = server.run("assistant:helper", "retrieve", QUESTION, "--as", "user:ana")
    assert "asserted by the assistant, not proven" in told.stdout
    assert "Mead is made" not in told.stdout, "its ceiling is the hive"
    refused = server.run("assistant:quiet", "retrieve", QUESTION, "--as", "user:ana")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("This assistant may not name a person on its own word.")


def test_output_that_nobody_reads_ends_a_command_quietly(server: Running) -> None:
    cut = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {MUNIMENT} retrieve bees --json | true"],
        cwd=server.folder,
        env=environment(MUNIMENT_URL=server.url, MUNIMENT_KEY=server.keys["user:ana"]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (cut.returncode, cut.stderr) == (1, "")


def test_a_refusal_is_an_answer_and_a_problem_is_not(server: Running) -> None:
    empty = server.run("assistant:quiet", "retrieve", QUESTION)
    assert (empty.returncode, empty.stdout.splitlines()[0]) == (0, "empty: nothing that you may read matches.")
    problem = server.run("user:ana", "retrieve", QUESTION, "--purpose", "gardening", "--json")
    assert (problem.returncode, problem.stdout) == (1, "")
    assert problem.stderr.startswith("That purpose is not registered. purpose: Not a registered purpose")
    assert problem.stderr.count("\n") == 1
    unknown = muniment("retrieve", "x", folder=server.folder, MUNIMENT_URL=server.url, MUNIMENT_KEY="mun_x")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert "is not known here, or was revoked." in unknown.stderr


def test_what_is_refused_is_in_a_table_with_its_reason_and_the_rest_is_taken(server: Running) -> None:
    folder = server.folder / "mixed"
    folder.mkdir()
    (folder / "good.md").write_text("# Wax\n\nWax is melted at 64 degrees.")
    (folder / "empty.txt").write_text("")
    (folder / "not.pdf").write_text("this is no PDF at all")
    (folder / "out.md").symlink_to(server.folder / "institution.yaml")
    with (folder / "huge.txt").open("wb") as huge:
        huge.truncate(20_000_001)
    told = server.run("user:ana", "ingest", "mixed", "--collection", "hive", "--wait")
    assert told.returncode == 1
    assert told.stdout.startswith("5 into hive: 1 failed, 1 published, 3 refused, in ")
    table = dict(re.findall(r"^(\w+\.\w+) +(.+?) *$", told.stdout, re.MULTILINE))
    assert sorted(table) == ["empty.txt", "huge.txt", "not.pdf", "out.md"]
    assert table["huge.txt"] == "It is larger than 20 MB, the most that is taken. It was not sent."
    assert table["out.md"] == "It is a link to something outside the folder. It was not followed."
    assert "empty" in table["empty.txt"]
    assert "plain text" in table["not.pdf"]


def test_what_is_taken_bears_the_label_and_readers_that_were_stated(server: Running) -> None:
    (server.folder / "queen.md").write_text("# Queen\n\nThe queen is marked with a green dot this year.")
    taken = server.run_json(
        "user:ana", "ingest", "queen.md", "--collection", "hive", "--wait",
        "--label", "confidential:pii", "--readers", "user:ana,group:keepers",
    )  # fmt: skip
    assert taken["counts"] == {"published": 1}
    assert [(each["uri"], each["version"]) for each in taken["documents"]] == [("queen.md", 1)]
    answer = server.run_json("user:ana", "retrieve", "What colour is the queen's dot?", "--top-k", "1")
    assert answer["passages"][0]["label"] == {"level": "confidential", "categories": ["pii"]}
    hidden = server.run_json("user:ben", "retrieve", "What colour is the queen's dot?")
    assert "queen.md" not in {passage["citation"]["uri"] for passage in hidden["passages"]}
    again = server.run_json(
        "user:ana", "ingest", "queen.md", "--collection", "hive", "--wait",
        "--label", "confidential:pii", "--readers", "user:ana,group:keepers",
    )  # fmt: skip
    assert again["counts"] == {"unchanged": 1}


def test_without_wait_it_is_left_to_the_server(server: Running) -> None:
    (server.folder / "swarm.md").write_text("# Swarm\n\nA swarm leaves in May.")
    left = server.run("user:ana", "ingest", "swarm.md", "--collection", "hive")
    assert left.returncode == 0
    assert re.fullmatch(r"1 into hive: 1 accepted, in \d+\.\d s\. They go on in the background\.\n", left.stdout)


def test_a_page_is_taken_under_its_address(server: Running) -> None:
    with pages(lambda _: (200, {"Content-Type": "text/markdown"}, b"# Smoke\n\nSmoke calms the bees.")) as url:
        taken = server.run_json("user:ana", "ingest", f"{url}/smoke", "--collection", "hive", "--wait")
    assert [(each["uri"], each["state"]) for each in taken["documents"]] == [(f"{url}/smoke", "published")]


def test_a_collection_that_is_not_ones_own_is_one_sentence_and_no_table(server: Running) -> None:
    for collection, says in (
        ("hive", "Only the owners of hive change what is in it. Ask assistant:helper, group:keepers."),
        ("attic", "There is no collection by that name that you may put documents in."),
    ):
        refused = server.run("user:ben", "ingest", "corpora", "--collection", collection)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(says)
        assert refused.stderr.count("\n") == 1


def test_an_interrupted_ingest_says_what_was_accepted(server: Running) -> None:
    for n in range(3):
        (server.folder / f"frame-{n}.md").write_text(f"# Frame {n}\n\nThis is the frame of number {n}.")
    interrupted: Queue[subprocess.Popen[str]] = Queue()

    def interrupting(_: str) -> Page:
        interrupted.get().send_signal(signal.SIGINT)
        return 404, {}, b""

    with pages(interrupting) as url:
        files = [f"frame-{n}.md" for n in range(3)]
        settings = {"MUNIMENT_URL": server.url, "MUNIMENT_KEY": server.keys["user:ana"]}
        ingest = begun("ingest", *files, url, "--collection", "hive", folder=server.folder, **settings)
        interrupted.put(ingest)
        out, err = ingest.communicate()
    assert (ingest.returncode, out) == (1, "")
    assert re.fullmatch(r"Interrupted: [0-3] of 4 were accepted\. They go on in the background\.\n", err)


def test_a_command_for_the_folder_itself_is_told_of_the_server(server: Running) -> None:
    refused = muniment("retrieve", "x", folder=server.folder)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("A server holds this data folder (.muniment). Set MUNIMENT_URL to its address")


def test_doctor_finds_the_server_from_its_folder_and_from_its_address(server: Running) -> None:
    parts = {each["part"]: each for each in server.run_json("user:ana", "doctor")["parts"]}
    assert {part for part, each in parts.items() if each["state"] == "wrong"} == set()
    assert parts["server here"]["state"] == "ok"
    searched = r"Embedded, with [1-9]\d* points, searched (by the engine alone|in arrays)\."  # as its machine is quick
    assert re.fullmatch(searched, parts["index"]["detail"])
    assert parts["MUNIMENT_URL"]["detail"] == "Ready: database, index, model, policies."
    assert parts["MUNIMENT_KEY"]["state"] == "ok"


def test_an_administrator_drafts_tests_activates_and_rolls_back_policies(server: Running) -> None:
    file = server.folder / "closed.cedar"
    shown = server.run("admin", "policy", "show").stdout
    closing = '@id("closed") @reason("Closed for stocktaking.") forbid (principal, action == Muniment::Action::"read", resource);'  # noqa: E501
    file.write_text(f"{shown}\n{closing}\n")
    (server.folder / "promised.yaml").write_text(
        'principals: {"user:ana": {}}\ncollections: {hive: {owners: ["user:ana"]}}\nboundaries: {honey: {}}\n'
        'cases: [{who: "user:ana", asks: read, sees: [honey]}]\n'
    )
    assert f"+{closing}" in server.run("admin", "policy", "diff", file).stdout.splitlines()
    laid_down = server.run("admin", "policy", "tables", "promised.yaml", "--reason", "We said so.")
    assert (laid_down.returncode, laid_down.stdout, laid_down.stderr) == (0, "promised.yaml\n", "")
    lost = server.run("admin", "policy", "test", file)
    assert (lost.returncode, lost.stdout.splitlines()[-1]) == (
        1,
        "1 rows, 1 decisions: 0 gains, 1 loses, 0 decided otherwise.",
    )
    refused = server.run("admin", "policy", "activate", file, "--reason", "Stocktaking.")
    assert refused.returncode == 1
    assert "user:ana read 'honey': expected seen, got missed by closed" in refused.stderr
    id = re.findall(r"pol_[a-z0-9]+", refused.stderr)[0]

    (server.folder / "promised.yaml").write_text(
        (server.folder / "promised.yaml").read_text().replace("sees", "misses")
    )
    server.run("admin", "policy", "tables", "promised.yaml", "--reason", "For a day.")
    activated = server.run("admin", "policy", "activate", id, "--reason", "Stocktaking.")
    assert activated.stdout.startswith(f"{id} is in force. Its digest: "), activated.stderr
    assert server.run_json("user:ana", "retrieve", QUESTION)["passages"] == []

    back = server.run("admin", "policy", "rollback", "--reason", "Done.")
    assert back.returncode == 0, back.stderr
    assert server.run_json("user:ana", "retrieve", QUESTION)["passages"]
    assert server.run("admin", "policy", "show").stdout == shown
    states = {each["id"]: each["state"] for each in server.run_json("admin", "policy", "list")["policies"]}
    assert states[id] == "retired"
    refused = server.run("user:ana", "policy", "rollback", "--reason", "Mine.")
    assert "group:administrators" in refused.stderr


def test_the_last_thing_is_that_sigterm_ends_the_server_and_all_it_started(server: Running) -> None:
    """Last in the module: the server is gone after it."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert len(children) >= 3
    os.kill(server.process.pid, signal.SIGTERM)
    out, err = server.process.communicate(timeout=60)
    assert server.process.returncode == 0, err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert out == ""
