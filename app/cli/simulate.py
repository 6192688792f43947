"""`muniment policy simulate` and `explain`: what a draft would change, and why a decision is as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cli.client import Json
from app.cli.connect import administering
from app.cli.console import out, plain, say, say_json, table
from app.cli.policies import text_of
from app.settings import Settings

_SHOWN = 10


def simulate(settings: Settings, draft: str, asked: Mapping[str, Any], *, as_json: bool) -> None:
    """What a draft, a file or one that was drafted before, would change."""
    named = {"policy": draft} if draft.startswith("pol_") else {"cedar": text_of(Path(draft))}
    with administering(settings, worker=False) as server:
        report = server.post("/v1/policies/simulate", {**named, **asked})
    if as_json:
        say_json(report)
    else:
        tell(report)


def explain(settings: Settings, asked: Mapping[str, Any], *, as_json: bool) -> None:
    """Why something is allowed or denied."""
    with administering(settings, worker=False) as server:
        found = server.post("/v1/policies/explain", asked)
    if as_json:
        say_json(found)
    else:
        tell_why(found)


def tell(report: Json) -> None:
    say(report["verdict"], style="bold")
    edit, compared = report["edit"], report["compared"]
    changed = [f"{what} {', '.join(rules)}" for what, rules in edit.items() if rules]
    say(f"The draft: {'; '.join(changed) or 'the same rules'}.")
    say(
        f"Compared: {compared['askers']} of {compared['of_askers']} askers over {compared['boundaries']} boundaries of "
        f"{compared['documents']} documents; {report['questions']['recorded']} recorded questions."
    )
    for change in ("gains", "loses"):
        side = report["read"][change]
        if side["pairs"]:
            say()
            _tell_side(change, side)
    if report["powers"]["count"]:
        say()
        rows = [
            (_asker(each), f"{each['change']} {each['action']}", each["collection"] or "everywhere", _by(each))
            for each in report["powers"]["listed"][:_SHOWN]
        ]
        out().print(table(("who", "what", "over", "decided by"), rows))
        _more(report["powers"]["count"])
    if report["questions"]["changed"]:
        say()
        rows = [
            (_asker(each), each["purpose"] or "none", str(each["times"]), _fate(each))
            for each in report["questions"]["listed"][:_SHOWN]
        ]
        out().print(table(("recorded question of", "purpose", "times", "what would come of it"), rows))
        _more(report["questions"]["changed"])


def _tell_side(change: str, side: Json) -> None:
    for title, tallies in (("who " + change, "by_asker"), ("in", "by_collection"), ("by the rule", "by_rule")):
        rows = [(each["name"], str(each["documents"]), str(each["pairs"])) for each in side[tallies][:_SHOWN]]
        out().print(table((title, "documents", "pairs"), rows))
        _more(len(side[tallies]))
    if side["examples"]:
        examples = [
            (_asker(each), _boundary(each["boundary"]), str(each["documents"]), _by(each))
            for each in side["examples"][:_SHOWN]
        ]
        out().print(table(("for example", "boundary", "documents", "decided by"), examples))


def tell_why(found: Json) -> None:
    say(f"{found['decision']}: {found['verdict']}", style="bold")
    if found["asking"] is not None and found["asking"]["decision"] != "allow":
        say(f"The question as a whole: {found['asking']['decision']}, by {', '.join(found['asking']['policies'])}.")
    rows = [
        (each["effect"], each["id"], each["check"] or "", each["reason"])
        for each in (*found["forbids"], *found["permits"])
    ]
    if rows:
        out().print(table(("effect", "policy", "check", "why it is there"), rows))
    elif found["decision"] == "deny":
        say("No policy permits it.")
    for way in found["what_would_change_it"]:
        say("- " + " And: ".join(step["sentence"] for step in way["together"]))


def _asker(each: Json) -> str:
    through = " through ".join((each["subject"], *reversed(each["actors"])))
    return through if each["proof"] == "proven" else f"{through} (asserted)"


def _by(each: Json) -> str:
    """The rules on the side that denies, or those that permit where none forbade."""
    denied, allowed = sorted((each["before"], each["after"]), key=lambda ruling: ruling["decision"] == "allow")
    return ", ".join(denied["policies"] or allowed["policies"])


def _fate(each: Json) -> str:
    parts = [f"{each['before']} -> {each['after']}"] if each["before"] != each["after"] else []
    parts += [f"{each['lost']} of {each['cited']} cited passages lost"] if each["lost"] else []
    parts += [
        f"{each[f'{what}_documents']} documents {what}" for what in ("gained", "lost") if each[f"{what}_documents"]
    ]
    return ", ".join(parts)


def _boundary(boundary: Json) -> str:
    parts = [boundary["collection"], boundary["label"]["level"], *boundary["label"]["categories"]]
    return " ".join([*parts, *(f"[{place}]" for place in boundary["jurisdictions"])])


def _more(number: int) -> None:
    if number > _SHOWN:
        out().print(plain(f"... and {number - _SHOWN} more: --json has them.", style="dim"))
