"""What the command line says when it is used wrongly, or cannot begin."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.watch import held
from tests.cli.pages import pages
from tests.cli.running import muniment
from tests.tiny_models import tiny_cross_encoder, tiny_embedder

HEAVY = ("torch", "cedarpy", "sqlalchemy", "fastapi", "sentence_transformers", "httpx")


def test_help_names_every_command_and_loads_nothing_heavy(tmp_path: Path) -> None:
    shown = muniment("--help", folder=tmp_path)
    assert shown.returncode == 0
    for command in ("serve", "worker", "ingest", "retrieve", "answer", "diff", "policy", "apply", "doctor", "demo"):
        assert f" {command} " in shown.stdout

    loads = f"import sys, app.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Usage: muniment"),
        (("retreive", "x"), "No such command"),
        (("retrieve",), "QUESTION"),
        (("answer",), "QUESTION"),
        (("answer", "x", "--sentences", "11"), "'--sentences'"),
        (("retrieve", "x", "--as", "ana"), "Name a person: user:ID."),
        (("retrieve", "x", "--as", "group:legal"), "Name a person: user:ID."),
        (("retrieve", "x", "--top-k", "0"), "'--top-k'"),
        (("retrieve", "x", "--top-k", "51"), "'--top-k'"),
        (("retrieve", "x", "--mode", "psychic"), "hybrid"),
        (("ingest", "--collection", "bees"), "PATH|URL"),
        (("ingest", "x"), "--collection"),
        (("ingest", "x", "--collection", "../bees"), "A plain name."),
        (("ingest", "x", "--collection", "bees", "--label", "secret"), "public, internal, confidential, restricted"),
        (("ingest", "x", "--collection", "bees", "--label", "internal:"), None),
        (("ingest", "x", "--collection", "bees", "--label", "internal:p i"), "Write a level"),
        (("ingest", "x", "--collection", "bees", "--readers", "legal"), "Name principals"),
        (("ingest", "x", "--collection", "bees", "--readers", "group:legal,ana"), "Name principals"),
        (("apply", "missing.yaml"), "does not exist"),
        (("policy", "validate", "missing.cedar"), "does not exist"),
        (("policy", "draft", __file__), "--reason"),
        (("policy", "approve", "latest"), "As the list shows it"),
        (("policy", "tables", __file__), "Say why, with --reason."),
        (("serve", "--port", "0"), "'--port'"),
        (("worker", "--name", "a b"), "A plain name."),
        (("eval",), "Say one of --dataset, --golden and --collection."),
        (("eval", "--dataset", ".", "--collection", "c"), "Say one of"),
        (("eval", "--dataset", ".", "--target", "ndcg@10"), "Write a measure and a number"),
        (("eval", "--dataset", ".", "--target", "luck=0.5"), "Write a measure and a number"),
        (("eval", "--collection", "c", "--guard"), "--guard is of --dataset and --golden."),
        (("eval", "--collection", "c", "--target", "ndcg@10=0.5"), "--target is of --dataset and --golden."),
        (("eval", "--dataset", ".", "--keep"), "--keep is of --golden."),
        (("eval", "--dataset", ".", "--documents", "."), "--documents is of --golden."),
        (("eval", "--dataset", ".", "--as", "user:ana"), "--as is of --collection."),
        (("eval", "--dataset", ".", "--svg", "nowhere/drawn.svg"), "There is no folder nowhere: make it first"),
        (("eval", "unanswered"), "--collection"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_right(
    arguments: tuple[str, ...], says: str | None, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    with held(tmp_path / "run" / "server.lock"):
        used = muniment(*arguments, folder=tmp_path, MUNIMENT_HOME=str(tmp_path))
    if says is None:
        assert used.returncode == 1, "a label without categories is well-formed"
        return
    assert used.returncode == 2
    assert says in used.stdout + used.stderr
    assert "Traceback" not in used.stderr


@pytest.mark.parametrize(
    "arguments", [("retrieve", "x"), ("retrieve", "x", "--as", "user:ana"), ("ingest", ".", "--collection", "bees")]
)
def test_a_data_folder_that_a_server_holds_is_left_to_it(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bees.md").write_text("# Bees")
    home = tmp_path / "home"
    with held(home / "run" / "server.lock"):
        refused = muniment(*arguments, folder=tmp_path, MUNIMENT_HOME=str(home))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"A server holds this data folder ({home}). Set MUNIMENT_URL to its address, and MUNIMENT_KEY to your key.\n"
    )


def test_apply_is_told_of_a_server_that_holds_the_folder_too(tmp_path: Path) -> None:
    (tmp_path / "institution.yaml").write_text("purposes: {}")
    with held(tmp_path / "run" / "server.lock"):
        refused = muniment("apply", "institution.yaml", folder=tmp_path, MUNIMENT_HOME=str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr.startswith("A server holds this data folder")


def test_a_second_server_on_a_folder_does_not_start(tmp_path: Path) -> None:
    with held(tmp_path / "run" / "server.lock"):
        refused = muniment("serve", "--port", str(_free_port()), folder=tmp_path, MUNIMENT_HOME=str(tmp_path))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"A server is already running on this data folder ({tmp_path}).")


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = muniment("serve", "--port", str(port), folder=tmp_path, MUNIMENT_HOME=str(tmp_path / "home"))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Nothing can be served at 127.0.0.1:{port}: address already in use. Choose another --port or --host.\n"
    )
    assert not (tmp_path / "home").exists()


def test_a_host_that_is_not_of_this_machine_is_told_before_anything_starts(tmp_path: Path) -> None:
    refused = muniment("serve", "--host", "192.0.2.1", folder=tmp_path, MUNIMENT_HOME=str(tmp_path / "home"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("Nothing can be served at 192.0.2.1:8321: cannot assign requested address.")


def test_no_server_starts_with_a_reranker_that_is_none(tmp_path: Path) -> None:
    models = (
        tiny_embedder(tmp_path / "embedder"),
        tiny_cross_encoder(tmp_path / "classifier", outputs=3),
        tmp_path / "damaged",
    )
    models[-1].mkdir()
    (models[-1] / "config.json").write_text("{")
    for model in models:
        refused = muniment(
            "serve",
            "--port",
            str(_free_port()),
            folder=tmp_path,
            MUNIMENT_HOME=str(tmp_path / "home"),
            MUNIMENT_RERANK__MODEL=str(model),
        )
        assert (refused.returncode, refused.stdout) == (1, "")
        [sentence] = refused.stderr.splitlines()
        assert str(model) in sentence
        assert "no cross-encoder for ranking" in sentence or "cannot be read" in sentence


def test_a_worker_without_a_server_says_what_to_start(tmp_path: Path) -> None:
    refused = muniment("worker", folder=tmp_path, MUNIMENT_HOME=str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("Start muniment serve first.")


def test_a_setting_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path) -> None:
    refused = muniment("retrieve", "x", folder=tmp_path, MUNIMENT_ADMIN_KEY="too short to be one")
    assert refused.returncode == 1
    assert refused.stderr.startswith("MUNIMENT_ADMIN_KEY cannot be used, from the environment or muniment.toml:")
    assert "too short to be one" not in refused.stderr


def test_a_settings_file_with_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "muniment.toml").write_text("home = [")
    refused = muniment("retrieve", "x", folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "muniment.toml" in refused.stderr


def test_a_server_needs_a_key(tmp_path: Path) -> None:
    for arguments, says in (
        (("retrieve", "x"), "Set MUNIMENT_KEY to your key for the server at MUNIMENT_URL.\n"),
        (("ingest", ".", "--collection", "bees"), "Set MUNIMENT_KEY to your key for the server at MUNIMENT_URL.\n"),
        (("apply", "x.yaml"), "Set MUNIMENT_KEY, or MUNIMENT_ADMIN_KEY, to the key of an administrator.\n"),
    ):
        (tmp_path / "x.yaml").write_text("purposes: {}")
        refused = muniment(*arguments, folder=tmp_path, MUNIMENT_URL="http://127.0.0.1:9")
        assert (refused.returncode, refused.stderr) == (1, says)


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{_free_port()}"
    refused = muniment("retrieve", "x", folder=tmp_path, MUNIMENT_URL=url, MUNIMENT_KEY="mun_x")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (f"The server at {url} cannot be reached. Is it running, and is that its address?\n")


def test_an_address_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    refused = muniment("retrieve", "x", folder=tmp_path, MUNIMENT_URL="localhost:8321", MUNIMENT_KEY="mun_x")
    assert refused.returncode == 1
    assert refused.stderr == "localhost:8321 is no address: write it as http://127.0.0.1:8321.\n"


def test_a_key_that_no_header_can_hold_is_one_sentence(tmp_path: Path) -> None:
    refused = muniment("retrieve", "x", folder=tmp_path, MUNIMENT_URL="http://127.0.0.1:9", MUNIMENT_KEY="clé\n")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "clé" not in refused.stderr


def test_something_else_that_answers_is_not_taken_for_a_server(tmp_path: Path) -> None:
    with pages(lambda _: (200, {"Content-Type": "text/html"}, b"<p>Hello</p>")) as url:
        asked = muniment("ingest", ".", "--collection", "bees", folder=tmp_path, MUNIMENT_URL=url, MUNIMENT_KEY="k")
        assert asked.stderr == "There is nothing to take in: no file that is not hidden.\n"
        (tmp_path / "bees.md").write_text("# Bees")
        asked = muniment("ingest", ".", "--collection", "bees", folder=tmp_path, MUNIMENT_URL=url, MUNIMENT_KEY="k")
    assert asked.returncode == 1
    assert asked.stderr == f"What answers at {url} is not a Muniment server (status 501).\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
