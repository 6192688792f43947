"""`muniment retrieve`: one question, and its answer with everything that was checked."""

from collections.abc import Mapping
from typing import Any

from rich.padding import Padding

from app.cli.checked import tell_checks
from app.cli.client import Json
from app.cli.connect import asking
from app.cli.console import out, plain, say, say_json, word
from app.domain.access import PrincipalRef
from app.settings import Settings


def retrieve(settings: Settings, question: Mapping[str, Any], person: PrincipalRef | None, *, as_json: bool) -> None:
    """Ask and show. A question that is blocked or finds nothing has an answer too: it says why."""
    with asking(settings, person) as server:
        answer = server.post("/v1/retrieve", question)
    if as_json:
        say_json(answer)
    else:
        show(answer)


def show(answer: Json) -> None:
    console = out()
    console.print(word(answer["outcome"]).append(f": {_in_words(answer)}", style="default"))
    for passage in answer["passages"]:
        console.print()
        console.print(plain(headline(passage), style="bold"), soft_wrap=True)
        console.print(Padding(plain(passage["text"]), (0, 0, 0, 4)))
        console.print(plain(f"    {passage['citation']['id']}", style="dim"), soft_wrap=True)
    tell_checks(answer)
    say(f"Trace {answer['trace_id']}, {answer['usage']['timings_ms']['total']:.0f} ms.")


def headline(passage: Json) -> str:
    """Number, title, version, page, section, label and score of a passage, on one line."""
    citation, label = passage["citation"], passage["label"]
    parts = [citation["title"], f"version {citation['version']}"]
    if citation["page"] is not None:
        parts.append(f"page {citation['page']}")
    if citation["section"]:
        parts.append(" > ".join(citation["section"]))
    parts.append(label_words(label))
    return f"[{passage['rank']}] {', '.join(parts)} (score {passage['score']:.2f})"


def label_words(label: Json) -> str:
    return " ".join([label["level"], *label["categories"]])


def _in_words(answer: Json) -> str:
    number = len(answer["passages"])
    return {
        "answered": f"{number} passage{'' if number == 1 else 's'}.",
        "empty": "nothing that you may read matches.",
        "blocked": "a policy forbids the question; the checks say which.",
        "escalated": "a person has to decide; the checks say why.",
    }.get(answer["outcome"], "")
