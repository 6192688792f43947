"""What is told under every answer, whether in passages or in sentences: the checks, and what follows from them."""

from app.cli.client import Json
from app.cli.console import out, say, table, word


def tell_checks(answer: Json) -> None:
    """Each check with its outcome and why; the obligations that come along; of whom access may be asked."""
    say()
    rows = [(each["check"], word(each["outcome"]), each["reason"]) for each in answer["checks"]]
    out().print(table(("check", "outcome", "why"), rows))
    say()
    if answer["obligations"]:
        say(f"With this answer comes: {', '.join(each['id'] for each in answer['obligations'])}.")
    for each in answer["recourse"]:
        say(f"You may ask for access to {each['title']} ({each['collection']}) from {each['owner']}.")
