"""The README's commands and its first request, run as they stand there."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.supervisor import ready

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
REQUEST, OWN, DIFFERENCE, *_ = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
ADMIN_KEY = "an administrator's key for the README's first request"
START_PATIENCE_S = 90


def _run(script: str, home: Path, **settings: str) -> str:
    """What the script prints; it runs in the checkout, and must succeed."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MUNIMENT_")}
    environment = {**plain, "MUNIMENT_HOME": str(home), "NO_COLOR": "1", **settings}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server as `make serve` starts it, on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    environment = {**os.environ, "MUNIMENT_HOME": str(tmp_path / "home"), "MUNIMENT_ADMIN_KEY": ADMIN_KEY}
    command = [f"{Path(sys.executable).parent}/muniment", "serve", "--port", str(number)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + START_PATIENCE_S
        while not ready(f"http://127.0.0.1:{number}"):
            assert server.poll() is None
            assert time.monotonic() < deadline
        yield number
        server.terminate()
        assert server.wait(30) == 0


def test_own_documents_are_found_without_a_server(tmp_path: Path) -> None:
    shown = _run(OWN, tmp_path / "home")
    assert "answered" in shown
    assert "unpickling what a socket sends is running it" in " ".join(shown.split())


def test_first_request_is_answered_as_the_readme_says(tmp_path: Path, port: int) -> None:
    script = "\necho ----\n".join((REQUEST, DIFFERENCE)).replace(":8321", f":{port}")
    told, _, then = _run(script, tmp_path / "unused", MUNIMENT_ADMIN_KEY=ADMIN_KEY).partition("\n----\n")
    (difference,) = re.findall(r"It answers `(.*?)`", README)
    assert difference in then.splitlines()
    answer = json.loads(told.strip().splitlines()[-1])
    shortened = json.loads(re.findall(r"```json\n(.*?)```", README, flags=re.DOTALL)[0])
    assert answer["outcome"] == shortened["outcome"]
    (passage,), (promised,) = answer["passages"], shortened["passages"]
    assert passage["text"] == promised["text"]
    assert passage["label"] == promised["label"]
    for name in ("uri", "version", "span"):
        assert passage["citation"][name] == promised["citation"][name]
    assert answer["context"].startswith(shortened["context"].removesuffix("..."))
    checks = {check["check"]: check for check in answer["checks"]}
    for check in shortened["checks"]:
        assert {name: checks[check["check"]][name] for name in check} == check


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)", README.replace("and make are", ""))) <= targets


def test_every_setting_that_the_readme_names_exists() -> None:
    from app.settings import Settings

    named = {name.lower() for name in re.findall(r"`MUNIMENT_([A-Z_]+)`", README)}
    for name in named:
        head, _, tail = name.partition("__")
        assert head in Settings.model_fields
        if tail:
            assert tail in type(getattr(Settings(), head)).model_fields


def test_nothing_in_the_readme_waits_to_be_written() -> None:
    assert re.findall(r"^[A-Z]{4,}$", README, flags=re.MULTILINE) == []
