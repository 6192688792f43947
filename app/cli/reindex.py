"""`muniment reindex`: the index built anew beside the one that answers, and how far it is."""

import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from app.cli.client import Json, Server
from app.cli.connect import administering
from app.cli.console import err, out, say, say_json, table, word
from app.settings import Settings

_LOOK_EVERY_S = 0.5


def reindex(settings: Settings, *, wait: bool, only_show: bool, as_json: bool) -> bool:
    """Begin, or go on with what is being built; whether it answers in the end, as far as that was waited for."""
    with administering(settings, worker=True) as server:
        begun = None if only_show else int(server.post("/v1/index/generations")["generation"])
        wait = wait or (not settings.url and not only_show)  # a server of our own ends with the command
        found = _followed(server, begun) if wait and begun is not None else server.get("/v1/index")
    if as_json:
        say_json(found)
    else:
        rows = [_row(each) for each in found["generations"]]
        out().print(table(("generation", "state", "analyzer", "chunks", "model"), rows))
        if begun is not None and not wait:
            say()
            say("It goes on in the background; the present index answers meanwhile. muniment reindex --show tells.")
    return not wait or begun is None or _state(found, begun) == "active"


def _followed(server: Server, begun: int) -> Json:
    columns = (TextColumn("Building the index"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err(), transient=True) as shown:
        task = shown.add_task("", total=None)
        while _state(found := server.get("/v1/index"), begun) == "building":
            progress = next(each for each in found["generations"] if each["id"] == begun)["progress"]
            shown.update(task, completed=progress["done"], total=progress["total"])
            time.sleep(_LOOK_EVERY_S)
    return found


def _state(found: Json, id: int) -> str:
    return str(next(each["state"] for each in found["generations"] if each["id"] == id))


def _row(each: Json) -> tuple[str | Text, ...]:
    progress = each["progress"]
    chunks = f"{progress['done']} of {progress['total']}" if progress else ""
    cut = f", which cuts off the ends of {each['cut_off']} chunks" if each["cut_off"] else ""
    model = f"{each['model'] or 'the packaged one'}, {each['dimension']} numbers{cut}"
    return str(each["id"]), word(each["state"]), each["analyzer"], chunks, model
