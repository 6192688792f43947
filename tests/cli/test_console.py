"""What is printed is text as it stands, and what is shown of a passage is a sentence that is in it."""

from io import StringIO

import pytest
from rich.console import Console

from app.cli.client import sentence_of
from app.cli.console import plain, table, word
from app.cli.demo import telling_sentence
from app.cli.retrieve import headline


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("blocked\x1b[1A\x1b[2Kanswered", "blocked\N{REPLACEMENT CHARACTER}[1A\N{REPLACEMENT CHARACTER}[2Kanswered"),
        ("\x1b]0;owned\x07", "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}"),
        ("csi \x9b2J", "csi \N{REPLACEMENT CHARACTER}2J"),
        ("a\rb", "a\N{REPLACEMENT CHARACTER}b"),
        ("left \u202eright", "left \N{REPLACEMENT CHARACTER}right"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("[red]no markup[/red] [link=x]", "[red]no markup[/red] [link=x]"),
        ("lines\nstay", "lines\nstay"),
        ("naïve é 漢字 ‰", "naïve é 漢字 ‰"),
    ],
)
def test_text_from_documents_cannot_steer_the_terminal(text: str, printed: str) -> None:
    shown = StringIO()
    Console(file=shown, width=200, force_terminal=True, color_system=None).print(plain(text))
    assert shown.getvalue().rstrip(" \n") == printed


def test_without_a_terminal_an_outcome_is_its_word_alone() -> None:
    shown = StringIO()
    Console(file=shown, width=80).print(table(("check", "outcome"), [("purpose", word("blocked"))]))
    assert shown.getvalue().split() == ["check", "outcome", "purpose", "blocked"]
    assert "\x1b" not in shown.getvalue()


def test_an_id_is_never_broken_however_narrow_the_terminal() -> None:
    id, shown = "job_3wkbe6vfvibzutnwjqw6bngrxp", StringIO()
    rows = [(id, "failed", "shelf: " + "a-long-name/" * 9, "What is wrong, and what to do. " * 9)]
    Console(file=shown, width=80).print(table(("job", "state", "document", "what"), rows, whole="job"))
    assert id in shown.getvalue().split()


def test_the_telling_sentence_is_whole_and_not_a_heading() -> None:
    text = (
        "3. Sharing with a partner for analysis\n\nThis is new. Totals may be shared with a partner once approved. Ask."
    )
    told = telling_sentence(text, "Can we share this with our partner?")
    assert told == "Totals may be shared with a partner once approved."
    assert telling_sentence("", "x") == ""
    assert telling_sentence("word " * 100, "word").endswith("word ...")


def test_a_headline_says_where_a_passage_stands() -> None:
    passage = {
        "rank": 2,
        "score": 0.8312,
        "citation": {"title": "Handbook", "version": 3, "page": 4, "section": ["Leave", "Parents"]},
        "label": {"level": "confidential", "categories": ["phi", "pii"]},
    }
    assert headline(passage) == "[2] Handbook, version 3, page 4, Leave > Parents, confidential phi pii (score 0.83)"


def test_a_problem_is_told_with_each_of_its_faults() -> None:
    problem = {
        "detail": "Some names are not known.",
        "errors": [{"detail": "group:x is not in the directory.", "pointer": "/readers"}, {"detail": "And so on."}],
    }
    assert sentence_of(problem) == ("Some names are not known. readers: group:x is not in the directory. And so on.")
    assert sentence_of({"detail": "Not here."}) == "Not here."
