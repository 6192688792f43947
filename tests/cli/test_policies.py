"""`muniment policy validate` and `test` on files: no server, and no data folder is made."""

import json
from pathlib import Path

import pytest

from app.adapters.cedar_policy import default_policies
from tests.cli.running import muniment
from tests.policies.cases import TABLE

PLACES = "when { !resource.jurisdictions.isEmpty() }"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The default policies, the same without a rule and with some slips, and ones that cannot be read."""
    (tmp_path / "policies.cedar").write_text(default_policies())
    head, _, rest = default_policies().partition('@id("outside-subject-jurisdictions")')
    without = head + rest.partition(";")[2]
    slip = '@id("slip") @reason("A slip.") forbid (principal, action, resource) when { principal.clearance > 3 };\n'
    (tmp_path / "open.cedar").write_text(without + slip)
    (tmp_path / "broken.cedar").write_text(default_policies() + "permit (")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "cases.yaml").write_text(TABLE.read_text())
    return tmp_path


def test_a_file_is_checked_without_a_server(desk: Path) -> None:
    sound = muniment("policy", "validate", "policies.cedar", "--strict", folder=desk)
    assert (sound.returncode, sound.stdout, sound.stderr) == (0, "policies.cedar can be put in force.\n", "")

    slipped = muniment("policy", "validate", "open.cedar", folder=desk)
    line = (desk / "open.cedar").read_text().count("\n")
    assert slipped.stdout.splitlines() == [
        f"warning (unreachable) on line {line}: Policy 'slip' never applies: its conditions cannot all hold.",
        "open.cedar can be put in force. 1 warning.",
    ]
    assert slipped.returncode == 0
    strict = muniment("policy", "validate", "open.cedar", "--strict", "--json", folder=desk)
    assert (strict.returncode, json.loads(strict.stdout)["warnings"][0]["line"]) == (1, line)

    broken = muniment("policy", "validate", "broken.cedar", folder=desk)
    assert broken.returncode == 1
    assert broken.stdout.startswith("fault: The policy that starts on line ")
    default = muniment("policy", "show", "--default", folder=desk)
    assert default.stdout == default_policies()
    assert not (desk / ".muniment").exists()


def test_an_author_sees_who_gains_and_who_loses_before_anything_is_put_in_force(desk: Path) -> None:
    as_promised = muniment("policy", "test", "policies.cedar", "--tables", "tables", folder=desk)
    assert as_promised.stdout.endswith("everybody sees what the tables say.\n"), as_promised.stderr
    assert as_promised.returncode == 0

    opened = muniment("policy", "test", "open.cedar", "--tables", "tables/cases.yaml", folder=desk)
    assert opened.returncode == 1
    assert (
        "gains: user:una read 'european': expected missed by outside-subject-jurisdictions, got seen by readers-see "
        '("Readers, by name or through a group, see what they were given.").'
    ) in opened.stdout.splitlines()
    assert ", 0 loses, " in opened.stdout.splitlines()[-1]
    told = json.loads(muniment("policy", "test", "open.cedar", "--tables", "tables", "--json", folder=desk).stdout)
    assert len(told["failures"]) == len(opened.stdout.splitlines()) - 1
    assert {each["change"] for each in told["failures"]} == {"gains", "decided otherwise"}
    assert not (desk / ".muniment").exists()


def test_what_cannot_be_read_is_one_sentence(desk: Path) -> None:
    (desk / "cases.yaml").write_text("principals: {ana: {}}\ncases: [{who: user:ana, asks: look, sees: [x]}]")
    (desk / "latin.cedar").write_bytes(b"\xff")
    for file, tables, said in (
        ("policies.cedar", "cases.yaml", "cases.yaml/cases/0/asks: Write read, describe, discover, curate, ask, "),
        ("policies.cedar", "none.yaml", "'none.yaml' does not exist"),
        ("broken.cedar", "tables", "The policies have faults: The policy that starts on line "),
        ("latin.cedar", "tables", "latin.cedar is no text in UTF-8."),
    ):
        ran = muniment("policy", "test", file, "--tables", tables, folder=desk)
        assert ran.returncode == (2 if "exist" in said else 1)
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr


def test_what_is_neither_a_file_nor_a_version_is_a_slip_of_whoever_typed_it(desk: Path) -> None:
    for command in (["simulate", "none.cedar"], ["diff", "none.cedar"], ["activate", "none.cedar", "--reason", "x"]):
        ran = muniment("policy", *command, folder=desk)
        assert ran.returncode == 2
        assert "'none.cedar' is neither a file that is there nor the id of a version: pol_..." in " ".join(
            ran.stderr.split()
        )
    assert not (desk / ".muniment").exists()
