"""`muniment source`: places that documents are fetched from, and what their runs came to."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from app.cli.client import Json, Server
from app.cli.console import Failed, err, note, out, say, say_json, table
from app.cli.ingest import curating
from app.domain.access import PrincipalRef
from app.settings import Settings

_LOOK_EVERY_S = 0.3
_SHARE = 10
"""Looking at a long report takes time that the run needs: of all of it, one part in so many."""

_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A source, and for whom it is asked about."""

    collection: str
    name: str
    person: PrincipalRef | None
    as_json: bool

    @property
    def path(self) -> str:
        return f"/v1/collections/{self.collection}/sources/{self.name}"


def add(
    settings: Settings,
    named: Named,
    location: str,
    *,
    connector: str | None,
    options: Mapping[str, str],
    schedule: str | None,
    namespace: str,
) -> bool:
    """Register a source."""
    place = _place(location)
    body = {
        "connector": connector or connector_of(location),
        "location": place,
        "options": dict(options),
        "schedule": schedule,
        "namespace": namespace,
    }
    with curating(settings, named.collection, named.person, fetching=[place]) as server:
        registered = server.put(named.path, body)
    if named.as_json:
        say_json(registered)
    else:
        due = f" It is run next at {registered['next_run_at']}." if registered["next_run_at"] else ""
        say(f"{named.name} of {named.collection}: {registered['connector']} {registered['location']}.{due}")
    return True


def listed(settings: Settings, collection: str, person: PrincipalRef | None, *, as_json: bool) -> bool:
    """The sources of a collection."""
    with _asking(settings, collection, person) as server:
        found = server.get(f"/v1/collections/{collection}/sources")
    if as_json:
        say_json(found)
        return True
    rows = [
        (
            each["name"],
            each["connector"],
            "paused" if each["paused"] else (each["next_run_at"] or "when asked"),
            each["latest_run"]["state"] if each["latest_run"] else "never run",
            each["location"],
        )
        for each in found["sources"]
    ]
    if rows:
        out().print(table(("source", "connector", "next run", "last run", "location"), rows))
    else:
        say(f"{collection} has no sources.")
    return True


def show(settings: Settings, named: Named) -> bool:
    """One source, as it is registered."""
    with _asking(settings, named.collection, named.person) as server:
        found = server.get(named.path)
    if named.as_json:
        say_json(found)
        return True
    shown = {**found, "options": ", ".join(f"{name}={value}" for name, value in sorted(found["options"].items()))}
    shown["latest_run"] = f"{found['latest_run']['id']}: {found['latest_run']['state']}" if found["latest_run"] else ""
    out().print(table(("", ""), [(name, str(value)) for name, value in shown.items() if value not in (None, "")]))
    return True


def run(settings: Settings, named: Named, *, wait: bool, confirmed: bool) -> bool:
    """Run a source; whether all of it went well, where that was waited for."""
    with _asking(settings, named.collection, named.person) as server:
        return run_on(server, named, wait=wait or not settings.url, confirmed=confirmed)


def run_on(server: Server, named: Named, *, wait: bool, confirmed: bool = False) -> bool:
    started = server.post(f"{named.path}/run", {"confirm_withdrawals": confirmed})["run"]
    if not wait:
        if named.as_json:
            say_json(started)
        else:
            say(f"{started['id']} is {started['state']}. It goes on in the background.")
        return True
    report = _followed(server, f"{named.path}/runs/{started['id']}")
    if named.as_json:
        say_json(report)
    else:
        tell(report)
    return report["state"] == "succeeded" and not report["setbacks"]


def runs(settings: Settings, named: Named, run: str | None) -> bool:
    """The latest runs of a source, or the report of one."""
    with _asking(settings, named.collection, named.person) as server:
        found = server.get(f"{named.path}/runs/{run}" if run else f"{named.path}/runs")
    if named.as_json:
        say_json(found)
    elif run:
        tell(found)
    elif found["runs"]:
        rows = [
            (each["id"], each["started_at"] or each["requested_at"], each["triggered_by"], each["state"], _counts(each))
            for each in found["runs"]
        ]
        out().print(table(("run", "at", "asked for by", "state", "what it came to"), rows, whole="run"))
    else:
        say(f"{named.name} was never run.")
    return True


def remove(settings: Settings, named: Named) -> bool:
    """Remove a source; what it brought stays."""
    with _asking(settings, named.collection, named.person) as server:
        server.delete(named.path)
    say(f"{named.name} is removed from {named.collection}. Its documents stay; withdraw those that should not.")
    return True


def pause(settings: Settings, named: Named, *, paused: bool) -> bool:
    """Let a source not be run, or be run again."""
    with _asking(settings, named.collection, named.person) as server:
        found = server.get(named.path)
        kept = ("connector", "location", "options", "schedule", "namespace")
        registered = server.put(named.path, {**{name: found[name] for name in kept}, "paused": paused})
    if named.as_json:
        say_json(registered)
    else:
        say(f"{named.name} is paused." if paused else f"{named.name} is run again, at {_due(registered)}.")
    return True


def fetch(settings: Settings, urls: Sequence[str], collection: str, person: PrincipalRef | None, as_json: bool) -> bool:
    """Register a source for each address, run it, and tell what came of it: `muniment ingest URL`."""
    well = True
    with curating(settings, collection, person, fetching=urls) as server:
        for url in urls:
            named = Named(collection=collection, name=name_of(url), person=person, as_json=as_json)
            server.put(named.path, {"connector": connector_of(url), "location": url})
            if not as_json:
                note(f"{url} is the source {named.name} of {collection}.")
            well = run_on(server, named, wait=True) and well
    return well


def tell(report: Json) -> None:
    """What a run came to, in words."""
    say(f"{report['id']}, {report['state']}: {_counts(report)}.")
    if report["problem"]:
        say(report["problem"]["detail"])
    if report["state"] == "needs-confirmation":
        say("Here that is --confirm-withdrawals.")
    if report["setbacks"]:
        say()
        rows = [(each["uri"], each["problem"]["detail"]) for each in report["setbacks"]]
        out().print(table(("not taken", "why"), rows))


def is_source(target: str) -> bool:
    """Whether an address is of a place with many documents: a repository, a bucket, a site's map. A single page is
    fetched here, by whoever typed it, and sent like a file."""
    connector = connector_of(target) if "://" in target or _is_scp(target) else "folder"
    if connector == "web":
        return re.search(r"/[^/?]*sitemap[^/?]*\.xml(\.gz)?$", target.lower()) is not None
    return connector != "folder" or target.startswith("file://")


def connector_of(location: str) -> str:
    """The connector that a location looks made for."""
    if _is_scp(location) or location.startswith(("ssh://", "git://")):
        return "git"
    scheme = urlsplit(location).scheme.lower() if "://" in location else ""
    if location.rstrip("/").endswith(".git") or (not scheme and (Path(location) / ".git").is_dir()):
        return "git"
    if scheme in _STORES:
        return "objects"
    if scheme in ("http", "https"):
        return "web"
    path = Path(location)
    if path.suffix == ".mbox" or (not scheme and all((path / part).is_dir() for part in ("cur", "new", "tmp"))):
        return "mail"
    return "folder"


def name_of(url: str) -> str:
    """A source's name, made from its address: the same for the same."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.partition("://")[2].partition("?")[0]).strip("-._")
    return name[:128].rstrip("-._") or "address"


def option(text: str) -> tuple[str, str]:
    """`name=value`, taken apart. Raises `Failed`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Failed(f"Write an option as name=value, not {text!r}.")
    return name, value


def _place(location: str) -> str:
    """A path from the root, whatever folder it was typed in; a URL as it is."""
    typed = "://" not in location and not _is_scp(location)
    return str(Path(location).expanduser().absolute()) if typed else location


def _is_scp(location: str) -> bool:
    """Whether it is git's `user@host:path`."""
    return re.fullmatch(r"[^/@]+@[^/:]+:.*", location) is not None


def _asking(settings: Settings, collection: str, person: PrincipalRef | None) -> AbstractContextManager[Server]:
    """The server, to whoever owns the collection, which is there already."""
    return curating(settings, collection, person, founding=False)


def _followed(server: Server, path: str) -> Json:
    """The report of a run once it is over, with a line that moves while it goes on."""
    console = err()
    bar = Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=console, disable=not console.is_terminal
    )
    with bar:
        task = bar.add_task("waiting for a worker")
        try:
            while True:
                began = time.monotonic()
                report = server.get(path)
                if report["state"] not in ("queued", "running"):
                    return report
                bar.update(task, description=f"{report['state']}: {_counts(report)}")
                time.sleep(max(_LOOK_EVERY_S, _SHARE * (time.monotonic() - began)))
        except KeyboardInterrupt:
            raise Failed(
                "Interrupted. The run goes on in the background, or when this data folder is next served."
            ) from None


def _counts(report: Json) -> str:
    counted = {name.replace("_", " "): number for name, number in report["counts"].items() if number}
    return ", ".join(f"{number} {name}" for name, number in counted.items()) or "nothing"


def _due(registered: Json) -> str:
    return str(registered["next_run_at"] or "no set time")
