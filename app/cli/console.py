"""How the command line speaks: results on stdout, everything else on stderr, and one sentence for a failure."""

import json
import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {
    "answered": "green",
    "pass": "green",
    "ok": "green",
    "empty": "yellow",
    "narrowed": "yellow",
    "redacted": "magenta",
    "warned": "magenta",
    "escalated": "red",
    "blocked": "red",
    "wrong": "red",
    "succeeded": "green",
    "failed": "red",
}
"""Colours are an addition: each of these words is printed as well."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Failed(Exception):
    """Ends a command with exit code 1; its text is the sentence for whoever typed it."""


def out() -> Console:
    return Console(highlight=False)


def err() -> Console:
    return Console(stderr=True, highlight=False)


def note(sentence: str) -> None:
    """Say something that is not the result."""
    err().print(plain(sentence), soft_wrap=True)


def say(sentence: str = "", *, style: str = "") -> None:
    out().print(plain(sentence, style=style), soft_wrap=True)


def say_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def plain(text: str, *, style: str = "") -> Text:
    """Text to print as it stands: never markup, and without the characters that steer a terminal.

    What is printed comes from documents, and a document could move the cursor over a line that says `blocked`.
    """
    return Text(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text), style=style)


def word(outcome: str) -> Text:
    return plain(outcome, style=STYLES.get(outcome, ""))


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, whole: str | None = None) -> Table:
    """Columns that need no lines; the last takes the room that is left. What is in `whole` is never broken: an id."""
    made = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns[:-1]:
        made.add_column(column, overflow="fold", no_wrap=column == whole)
    made.add_column(columns[-1], overflow="fold", ratio=1)
    for row in rows:
        made.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in row))
    return made
