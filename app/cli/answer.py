"""`muniment answer`: one question, answered in sentences, with where each of them stands."""

from collections.abc import Mapping
from typing import Any

from app.cli.checked import tell_checks
from app.cli.client import Json
from app.cli.connect import asking
from app.cli.console import out, plain, say, say_json, word
from app.domain.access import PrincipalRef
from app.settings import Settings


def answer(settings: Settings, question: Mapping[str, Any], person: PrincipalRef | None, *, as_json: bool) -> None:
    """Ask and show. A question that is not answered is refused in words, and the checks say why."""
    with asking(settings, person) as server:
        answer = server.post("/v1/answer", question)
    if as_json:
        say_json(answer)
    else:
        show(answer)


def show(answer: Json) -> None:
    console = out()
    console.print(word(answer["outcome"]))
    console.print()
    for sentence in answer["answer"]["sentences"]:
        console.print(plain(sentence["text"]))
        if (citation := sentence["citation"]) is not None:
            start, end = citation["span"]
            where = f"{citation['title']}, version {citation['version']}, {start} to {end}, {citation['id']}"
            console.print(plain(f"    {where}", style="dim"), soft_wrap=True)
    if not answer["answer"]["sentences"] and answer["answer"]["text"]:
        console.print(plain(answer["answer"]["text"]))
    tell_checks(answer)
    say(f"Trace {answer['trace_id']}.")
