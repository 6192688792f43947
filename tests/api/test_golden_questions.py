"""Every golden question of the fixtures, through HTTP: what must come back comes back, what must not does not."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from app.cli.datasets import read_golden
from tests.running import Golden

FOLDER = Path(__file__).parents[2] / "fixtures/golden"
ALL = yaml.safe_load((FOLDER / "questions.yaml").read_text())
QUESTIONS = [question for question in ALL if question["finds"] or not question.get("unanswerable")]


def test_there_are_golden_questions_enough() -> None:
    assert len(QUESTIONS) >= 40
    assert {question["outcome"] for question in QUESTIONS} == {"answered", "empty", "blocked"}


_ASKED: dict[str, dict[str, Any]] = {}


def asked(golden: Golden, question: dict[str, Any]) -> dict[str, Any]:
    """The answer to a question, which is asked once however many tests look at it."""
    if question["id"] not in _ASKED:
        who, through = question["who"], question.get("through")
        stated = {name: question[name] for name in ("purpose", "as_of") if question.get(name)}
        acting_for = who if through else None
        answer = golden.running.retrieve(through or who, question["question"], acting_for=acting_for, **stated)
        _ASKED[question["id"]] = answer
    return _ASKED[question["id"]]


@pytest.mark.parametrize("question", QUESTIONS, ids=[question["id"] for question in QUESTIONS])
def test_golden_question_is_answered_as_it_must_be(golden: Golden, question: dict[str, Any]) -> None:
    answer = asked(golden, question)
    found = [(p["citation"]["uri"], p["citation"]["version"], " ".join(p["text"].split())) for p in answer["passages"]]
    assert answer["outcome"] == question["outcome"], question["because"]
    for wanted in question["finds"]:
        assert any(
            (uri, version) == (wanted["uri"], wanted["version"]) and wanted["says"] in text
            for uri, version, text in found
        ), f"{wanted} is not among {[each[:2] for each in found]}: {question['because']}"
    hidden = set(question["hides"]) & {uri for uri, _, _ in found}
    assert not hidden, question["because"]


def test_golden_questions_are_answered_as_well_as_what_is_kept_says(golden: Golden) -> None:
    """Renewed by `muniment eval --golden fixtures/golden/questions.yaml --keep`, when a change is meant."""
    kept = json.loads((FOLDER / "baseline.json").read_text())
    stated = {question["id"]: question for question in ALL}
    measures, wrong = [], []
    for question in read_golden(FOLDER / "questions.yaml"):
        if question.finds and not question.unanswerable:
            passages = asked(golden, stated[question.id])["passages"]
            found, mistaken = question.judged([(p["citation"]["uri"], p["citation"]["version"]) for p in passages])
            measures.append(found)
            wrong += [question.id] if mistaken else []
    assert len(measures) == kept["questions"], "questions came or went: renew what is kept"
    assert fmean(each["hit@3"] for each in measures) >= 0.95
    assert wrong == [], "these cite another version than the one in force"
    assert fmean(each["ndcg@10"] for each in measures) >= kept["measures"]["ndcg@10"] - 0.0005


def test_there_are_questions_that_nothing_here_answers() -> None:
    unanswerable = [question for question in read_golden(FOLDER / "questions.yaml") if question.unanswerable]
    assert len(unanswerable) >= 30
