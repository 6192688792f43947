"""`muniment policy simulate` and `explain`: the report and the reasons, for whoever types."""

from pathlib import Path

import pytest

from app.adapters.cedar_policy import default_policies
from app.cli.simulate import tell, tell_why
from tests.cli.running import muniment

ANYBODY = '@id("anybody") @reason("Anybody may.") permit (principal, action, resource);\n'


def test_a_file_is_simulated_and_whoever_could_manage_is_named(tmp_path: Path) -> None:
    (tmp_path / "draft.cedar").write_text(default_policies() + ANYBODY)
    home = {"MUNIMENT_HOME": str(tmp_path / "home")}
    done = muniment("policy", "simulate", "draft.cedar", "--days", "7", folder=tmp_path, **home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("user:administrator could audit.")
    assert "The draft: new anybody." in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if "gains audit" in line] == [
        ["user:administrator", "gains", "audit", "everywhere", "anybody"]
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("simulate",), "FILE|ID"),
        (("simulate", "x", "--days", "-1"), "'--days'"),
        (("simulate", "x", "--principal", "ana"), "Name a principal"),
        (("explain", "user:ana"), "ACTION"),
        (("explain", "group:legal", "read"), "Name user:ID or assistant:ID."),
        (("explain", "user:ana", "read", "--label", "restricted"), "of some document of a --collection"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    used = muniment("policy", *arguments, folder=tmp_path)
    assert used.returncode == 2
    assert says in used.stderr


def test_what_is_gained_and_lost_is_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    nothing = {"pairs": 0, "documents": 0, "askers": 0, "by_asker": [], "by_collection": [], "by_rule": []}
    asker = {"subject": "user:ana", "actors": ["assistant:a", "assistant:b"], "proof": "asserted"}
    tallied = [{"name": "user:ana", "pairs": 3, "documents": 2, "askers": 1}]
    rulings = {
        "before": {"decision": "deny", "policies": ["wall"]},
        "after": {"decision": "allow", "policies": ["readers-see"]},
    }
    boundary = {"collection": "hr", "label": {"level": "restricted", "categories": ["pii"]}, "jurisdictions": ["EU"]}
    gains = nothing | {"pairs": 3, "by_asker": tallied, "by_collection": tallied, "by_rule": tallied}
    gains["examples"] = [{**asker, **rulings, "boundary": boundary, "documents": 2}]
    question = {**asker, "purpose": None, "times": 4, "before": "asked", "after": "blocked"}
    question |= {"cited": 2, "lost": 1, "gained_documents": 0, "lost_documents": 5}
    tell(
        {
            "verdict": "Three pairs.",
            "edit": {"dropped": ["wall"], "new": [], "rewritten": []},
            "compared": {"askers": 1, "of_askers": 1, "boundaries": 1, "documents": 2},
            "read": {"gains": gains, "loses": nothing},
            "powers": {"count": 0, "listed": []},
            "questions": {"recorded": 4, "changed": 1, "listed": [question]},
        }
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("Three pairs. The draft: dropped wall. Compared: 1 of 1 askers over 1 boundaries")
    assert "user:ana through assistant:b through assistant:a (asserted) hr restricted pii [EU]" in shown
    assert "asked -> blocked, 1 of 2 cited passages lost, 5 documents lost" in shown


def test_why_is_a_table_and_a_list_of_what_would_change_it(capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"effect": "forbid", "id": "wall", "check": None, "reason": "Walled."}
    steps = [{"kind": "clearance", "sentence": "Higher."}, {"kind": "group", "sentence": "In it."}]
    tell_why(
        {
            "decision": "deny",
            "verdict": "2 things together would be enough.",
            "asking": {"decision": "deny", "policies": ["no-asking"]},
            "forbids": [rule],
            "permits": [],
            "what_would_change_it": [{"together": steps}],
        }
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("deny: 2 things together would be enough. The question as a whole: deny, by no-asking.")
    assert "forbid wall Walled. - Higher. And: In it." in shown
