"""`muniment jobs`: what was taken for reading and how far it is, what was not read and why, and trying that again."""

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, urlencode

from rich.text import Text

from app.cli.client import Json, Refused, Server
from app.cli.connect import asking
from app.cli.console import note, out, say, say_json, table, word
from app.domain.access import PrincipalRef
from app.settings import Settings

_PAGE = 200


def show(
    settings: Settings,
    person: PrincipalRef | None,
    *,
    collection: str | None,
    state: str | None,
    most: int,
    as_json: bool,
) -> None:
    """The newest jobs that the caller may follow, at most so many."""
    with asking(settings, person) as server:
        found, more = _listed(server, {"collection": collection, "state": state}, most)
    if as_json:
        say_json({"jobs": found})
        return
    if not found:
        say("There is no such job.")
        return
    out().print(
        table(
            ("job", "state", "tried", "document", "what is wrong, and what to do"),
            [_row(each) for each in found],
            whole="job",
        )
    )
    if more:
        say()
        say(f"The newest {len(found)}; --most shows more.")


def retry(settings: Settings, person: PrincipalRef | None, ids: Sequence[str], *, failed: bool, as_json: bool) -> bool:
    """Queue jobs again, or all that failed; whether each was."""
    with asking(settings, person) as server:
        chosen = [each["id"] for each in _every(server, {"state": "failed"})] if failed else list(ids)
        return _each(chosen, lambda id: server.post(f"/v1/jobs/{quote(id, safe='')}/retry"), as_json=as_json)


def cancel(settings: Settings, person: PrincipalRef | None, ids: Sequence[str], *, as_json: bool) -> bool:
    """End jobs that have published nothing; whether each was ended."""
    with asking(settings, person) as server:
        return _each(ids, lambda id: server.post(f"/v1/jobs/{quote(id, safe='')}/cancel"), as_json=as_json)


def _each(ids: Sequence[str], act: Callable[[str], Json], *, as_json: bool) -> bool:
    done: list[Json] = []
    refused: list[tuple[str, str]] = []
    for id in ids:
        try:
            done.append(act(id))
        except Refused as refusal:
            refused.append((id, str(refusal)))
    if as_json:
        say_json({"jobs": done, "refused": [{"id": id, "reason": reason} for id, reason in refused]})
        return not refused
    for each in done:
        say(f"{each['id']} is {each['state']}: {each['document']['uri']}")
    for id, reason in refused:
        note(f"{id}: {reason}")
    if not ids:
        say("There is no such job.")
    return not refused


def _row(job: Json) -> tuple[str | Text, ...]:
    problem = job["problem"]["detail"] if job["problem"] else ""
    waits = f"Tried again at {job['next_attempt_at']}." if job["next_attempt_at"] else ""
    says = " ".join(part for part in (problem, job["advice"] or waits) if part)
    document = f"{job['document']['collection']}: {job['document']['uri']}"
    return job["id"], word(job["state"]), str(job["attempts"]), document, says


def _listed(server: Server, asked: dict[str, str | None], most: int) -> tuple[list[Json], bool]:
    found: list[Json] = []
    for each in _every(server, asked):
        if len(found) == most:
            return found, True
        found.append(each)
    return found, False


def _every(server: Server, asked: dict[str, str | None]) -> Iterator[Json]:
    stated = {name: value for name, value in asked.items() if value is not None}
    cursor: str | None = None
    while True:
        query = urlencode({**stated, "limit": str(_PAGE), **({"cursor": cursor} if cursor else {})})
        page = server.get(f"/v1/jobs?{query}")
        yield from page["jobs"]
        cursor = page["cursor"]
        if cursor is None:
            return
