"""`muniment eval` of a collection: its golden questions asked, what found nothing in it, and what nothing finds."""

from pathlib import Path

from app.cli.client import Json
from app.cli.connect import asking
from app.cli.console import note, out, say, say_json, table
from app.domain.access import PrincipalRef
from app.domain.metrics import MEASURES
from app.settings import Settings

_PAGE = 200
_SHORT = ("nDCG@10", "R@5", "R@10", "R@50", "MRR@10", "hit@3")


def evaluate_collection(
    settings: Settings, collection: str, person: PrincipalRef | None, drawing: Path | None, *, as_json: bool
) -> None:
    """Ask the golden questions that its owners keep, and show what came of it, against the time before."""
    with asking(settings, person) as server:
        made = server.post(f"/v1/collections/{collection}/evaluations")
        if drawing is not None:
            path = f"/v1/collections/{collection}/evaluations/{made['id']}.svg"
            drawing.write_text(server.text(path, media_type="image/svg+xml"), encoding="utf-8")
    if as_json:
        say_json(made)
    else:
        _tell(collection, made)


def _tell(collection: str, made: Json) -> None:
    say(f"{collection}: {len(made['results'])} golden questions, kept as {made['id']}.", style="bold")
    say()
    parts = [("all questions", made["whole"]), *made["slices"].items(), *made["principals"].items()]
    columns = ("", "of", *_SHORT, "p95 ms")
    out().print(table(columns, [_row(name, each) for name, each in parts], whole=""))
    whole = made["whole"]
    if whole["unanswerable"]:
        found = whole["found_nothing_unanswerable"]
        say(f"Nothing was found for {found} of {whole['unanswerable']} questions that nothing answers.")
    if wrong := [each["question"] for each in made["results"] if each["wrong_version"]]:
        say(f"A wrong version was cited for: {', '.join(wrong)}.")
    if missed := [each["question"] for each in made["results"] if each["measures"].get("hit@3") == 0]:
        say(f"Not among the first three: {', '.join(missed)}.")
    if made["differences"]:
        found = made["differences"]["ndcg@10"]
        interval = f"{found['low']:+.4f} to {found['high']:+.4f}"
        say(f"Against {made['before']}: nDCG@10 {found['mean']:+.4f} ({interval}), p {found['p']:.4f}.")


def _row(name: str, found: Json) -> tuple[str, ...]:
    measures = [f"{found['measures'][each]:.3f}" if found["measures"] else "" for each in MEASURES]
    return name, str(found["answerable"]), *measures, f"{found['p95_ms']:.0f}"


def unanswered(settings: Settings, collection: str, person: PrincipalRef | None, days: int, *, as_json: bool) -> None:
    with asking(settings, person) as server:
        found = server.get(f"/v1/collections/{collection}/unanswered?days={days}&limit={_PAGE}")
    if as_json:
        say_json(found)
        return
    if found["questions"]:
        rows = [(str(each["times"]), each["last_day"], each["question"]) for each in found["questions"]]
        out().print(table(("times", "last", "asked, and nothing was found"), rows))
    else:
        say(f"In {days} days there is no question that several people asked and nothing answered.")
    if found["withheld"]:
        note(f"{found['withheld']} more were asked by too few people to be told of.")


def unfound(
    settings: Settings, collection: str, person: PrincipalRef | None, days: int, most: int, *, as_json: bool
) -> None:
    found: list[Json] = []
    cursor: str | None = ""
    with asking(settings, person) as server:
        while cursor is not None and len(found) < most:
            more = f"&cursor={cursor}" if cursor else ""
            page = server.get(f"/v1/collections/{collection}/unfound?days={days}&limit={min(most, _PAGE)}{more}")
            found += page["documents"]
            cursor = page["cursor"]
    found = found[:most]
    if as_json:
        say_json({"documents": found})
    elif found:
        out().print(table(("document", "title"), [(each["uri"], each["title"]) for each in found], whole="document"))
    else:
        say(f"Every document in force was cited within {days} days.")
