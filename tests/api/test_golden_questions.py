"""Every golden question of the fixtures, through HTTP: what must come back comes back, what must not does not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.running import Golden

QUESTIONS = yaml.safe_load((Path(__file__).parents[2] / "fixtures/golden/questions.yaml").read_text())


def test_there_are_golden_questions_enough() -> None:
    assert len(QUESTIONS) >= 40
    assert {question["outcome"] for question in QUESTIONS} == {"answered", "empty", "blocked"}


@pytest.mark.parametrize("question", QUESTIONS, ids=[question["id"] for question in QUESTIONS])
def test_golden_question_is_answered_as_it_must_be(golden: Golden, question: dict[str, Any]) -> None:
    who, through = question["who"], question.get("through")
    stated = {name: question[name] for name in ("purpose", "as_of") if question.get(name)}
    answer = golden.running.retrieve(
        through or who, question["question"], acting_for=who if through else None, **stated
    )
    found = [(p["citation"]["uri"], p["citation"]["version"], " ".join(p["text"].split())) for p in answer["passages"]]
    assert answer["outcome"] == question["outcome"], question["because"]
    for wanted in question["finds"]:
        assert any(
            (uri, version) == (wanted["uri"], wanted["version"]) and wanted["says"] in text
            for uri, version, text in found
        ), f"{wanted} is not among {[each[:2] for each in found]}: {question['because']}"
    hidden = set(question["hides"]) & {uri for uri, _, _ in found}
    assert not hidden, question["because"]
