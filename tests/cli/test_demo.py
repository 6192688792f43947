"""`muniment demo`, whole."""

import re
from pathlib import Path

import pytest

from app.cli import demo
from app.cli.console import Failed
from tests.cli.running import muniment


def test_the_demo_shows_what_it_promises_and_touches_nothing_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "muniment.toml").write_text('database_url = "postgresql://nobody@127.0.0.1:9/none"')
    home, kept = tmp_path / "mine", tmp_path / "kept"
    shown = muniment("demo", "--keep", kept, folder=tmp_path, MUNIMENT_HOME=str(home), MUNIMENT_INDEX__URL="http://x")
    assert shown.returncode == 0, shown.stderr
    outcomes = re.findall(r"^   (answered|empty|blocked|escalated)", shown.stdout, re.MULTILINE)
    assert outcomes == ["answered"] * 5 + ["empty", "blocked", "blocked", "escalated", "answered"]
    assert "Legal advice on the Northlight audit" in shown.stdout
    assert "An override is asked of group:compliance: esc_" in shown.stdout
    assert "Owed: max-passages:2, redact:pii" in shown.stdout
    assert "the grant is over, and the same question is escalated again." in shown.stdout
    now, before = shown.stdout.split("asks again, now:")[1].split("asks again, as of 2024-06-15:")
    assert "Data-sharing policy, version 2," in now
    assert "Data-sharing policy, version 1," in before
    assert not home.exists()

    asked = muniment(
        "retrieve", "How long is parental leave?", "--as", "user:mei", folder=kept, MUNIMENT_HOME=str(kept)
    )
    assert asked.returncode == 0, asked.stderr
    assert "22 weeks" in asked.stdout


def test_the_number_of_a_heading_is_no_sentence_that_tells() -> None:
    text = "3. Other days\n\nMarriage gives two days. Moving house gives one."
    assert demo.telling_sentence(text, "Can we share data?") == "Marriage gives two days."


def test_a_folder_with_something_in_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = muniment("demo", "--keep", tmp_path, folder=tmp_path)
    assert (refused.returncode, refused.stderr) == (1, f"{tmp_path} is not empty. Choose a folder that is new.\n")


def test_without_the_source_the_demo_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "FIXTURES", tmp_path)
    with pytest.raises(Failed, match=r"^The demo needs the folder fixtures of the source"):
        demo.demo(None)
