"""Whether time can be trusted, on years of one company's policy pages: python -m bench.site_policy [DATA]

DATA is the folder that holds `versions.jsonl.gz`, or MUNIMENT_BENCH_DATA one above it. Every version goes in over HTTP,
in an order that has nothing to do with time, and is read by the real worker. Then what was in force at an instant is
asked for in every way, and held against the intervals themselves; and again after corrections, as held now and as was
known before. Exit codes: 0 nothing wrong was told, 1 something was.
"""

import argparse
import gzip
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from app.domain.corpus import Digest, digest_of
from app.domain.instants import FOREVER, Instant, iso, iso_or_none, parse_instant
from bench.serving import Caller, Server, served

INTO: Final = "site-policy"
OWNER: Final = "user:owner"
READER: Final = "user:reader"
_PATIENCE_S: Final = 3600.0
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One version of the data. Deletions have no text: they are the end that the version before states."""

    path: str
    begins: Instant
    ends: Instant
    text: str

    @property
    def digest(self) -> Digest:
        return digest_of(self.text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """When a version is valid, by the reference."""

    number: int
    begins: Instant
    ends: Instant
    stated: Stated


Held = Mapping[str, Sequence[Stands]]
"""The reference: what each path's versions are held to have been valid, at some time of knowing."""


@dataclass(kw_only=True)
class Tally:
    """What was asked in one way, and what was wrong."""

    asked: int = 0
    found: int = 0
    nothing: int = 0
    """Right in that there was nothing."""
    wrong: list[str] = field(default_factory=list)
    passages: int = 0
    """All that were cited: each was in force then, or is among the wrong."""

    def judge(self, place: str, told: Digest | None, right: Digest | None) -> None:
        self.asked += 1
        if told != right:
            self.wrong.append(f"{place}: {told} instead of {right}")
        elif right is None:
            self.nothing += 1
        else:
            self.found += 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.site_policy", description="Ask what was in force, and when known.")
    parser.add_argument("data", type=Path, nargs="?", help="the folder with versions.jsonl.gz")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--corrections", type=int, default=60)
    parser.add_argument("--paths", type=int, help="only so many of the paths: to try it out")
    parser.add_argument("--seed", type=int, default=20261122)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that the server is ended too
    folder = chosen.data or Path(os.environ.get("MUNIMENT_BENCH_DATA", ".")) / "site_policy"
    chance = random.Random(chosen.seed)
    stated, deletions = _read(folder / "versions.jsonl.gz", paths=chosen.paths)
    out = Console(width=120)
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-bench-")))
        server = opened.enter_context(served(home, home / "home"))
        return measure(server, stated, deletions, chance, out, pairs=chosen.pairs, corrections=chosen.corrections)


def measure(
    server: Server,
    stated: Sequence[Stated],
    deletions: int,
    chance: random.Random,
    out: Console,
    *,
    pairs: int,
    corrections: int,
) -> int:
    _lay_down(server)
    owner_key, reader_key = server.key_of(OWNER), server.key_of(READER)
    wrong: list[str] = []

    def ask(when: str, held: Held, pairs: Sequence[tuple[str, Instant]], known_at: Instant | None = None) -> None:
        with server.connect(reader_key) as reader:  # one for each use: what lies idle for seconds is closed
            tallies = _asked(reader, documents, held, pairs, chance, known_at=known_at)
        _tell(out, when, tallies)
        wrong.extend(each for tally in tallies.values() for each in tally.wrong)

    with server.connect(owner_key) as owner:
        start = time.monotonic()
        documents = _put_in(owner, chance.sample(stated, len(stated)))
        took_s = time.monotonic() - start
        before, known_at = _held(owner, documents, stated)
    out.print(
        f"{len(stated) + deletions:,} versions of {len(documents)} paths: {len(stated):,} texts published in "
        f"{took_s:.0f} s, {deletions} deletions as the ends that they are."
    )
    ask("as held", before, _pairs(before, chance, pairs))
    with server.connect(owner_key) as owner:
        after = _correct(owner, documents, before, chance, corrections)
    again = _pairs(after, chance, pairs)
    ask(f"after {corrections} corrections", after, again)
    ask("as was known before the corrections", before, again, known_at)
    for each in wrong[:20]:
        out.print(f"Wrong: {each}")
    return 1 if wrong else 0


def _read(file: Path, *, paths: int | None) -> tuple[list[Stated], int]:
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    wanted = sorted({row["path"] for row in rows})[:paths]
    rows = [row for row in rows if row["path"] in wanted]
    stated = [
        Stated(
            path=row["path"],
            begins=parse_instant(row["valid_from"]),
            ends=parse_instant(row["valid_to"]) if row["valid_to"] else FOREVER,
            text=row["text"],
        )
        for row in rows
        if not row["deleted"]
    ]
    return stated, len(rows) - len(stated)


def _lay_down(server: Server) -> None:
    with server.connect(server.administrator_key) as administrator:
        for person in (OWNER, READER):
            administrator.ask("PUT", f"/v1/principals/{person.replace(':', '/')}", {})
        body = {"title": "Site policy", "owners": [OWNER], "default_readers": ["group:all-staff"]}
        administrator.ask("PUT", f"/v1/collections/{INTO}", body)


def _put_in(owner: Caller, stated: Sequence[Stated]) -> dict[str, str]:
    """Every version, submitted and published; the document of each path."""
    documents: dict[str, str] = {}
    jobs = []
    for each in stated:
        metadata = {"uri": each.path, "valid_from": iso(each.begins), "valid_to": iso_or_none(each.ends)}
        body = {"text": each.text, "media_type": "text/markdown", "metadata": metadata}
        accepted = owner.ask("POST", f"/v1/collections/{INTO}/documents", body)
        documents[each.path] = accepted["document"]["id"]
        jobs.append(accepted["job"]["id"])
    deadline = time.monotonic() + _PATIENCE_S
    for job in jobs:
        while (state := owner.ask("GET", f"/v1/jobs/{job}"))["state"] in ("queued", "running"):
            if time.monotonic() > deadline:
                raise RuntimeError("the documents were not ingested in time")
            time.sleep(0.5)
        if state["state"] != "succeeded":
            raise RuntimeError(f"{job}: {state['problem']}")
    return documents


def _held(owner: Caller, documents: Mapping[str, str], stated: Sequence[Stated]) -> tuple[Held, Instant]:
    """The reference from the data alone, with the numbers that the versions were given; and when all was known."""
    held: dict[str, list[Stands]] = {}
    last = 0
    for path, document in documents.items():
        told = owner.ask("GET", f"/v1/documents/{document}/versions")["versions"]
        numbers = {(each["digest"], each["valid_from"]): each["version"] for each in told}
        last = max(last, *(parse_instant(each["recorded_at"]) for each in told))
        for each in stated:
            if each.path == path:
                number = numbers.get((each.digest, iso(each.begins)), 0)
                held.setdefault(path, []).append(Stands(number=number, begins=each.begins, ends=each.ends, stated=each))
    return held, Instant(last)


def _pairs(held: Held, chance: random.Random, count: int) -> list[tuple[str, Instant]]:
    """Random paths and instants: any instant of the path's years, or one of its edges to the millisecond."""
    pairs = []
    for _ in range(count):
        path = chance.choice(sorted(held))
        edges = sorted({edge for each in held[path] for edge in (each.begins, each.ends) if edge != FOREVER})
        first, last = edges[0] - 90 * _DAY_MS, min(edges[-1] + 90 * _DAY_MS, _now())
        edge = chance.choice(edges) - chance.choice((0, 0, 1))
        pairs.append((path, Instant(min(chance.choice((edge, chance.randint(first, last))), _now()))))
    return pairs


def _in_force(held: Held, path: str, at: Instant) -> Stated | None:
    """The dumb reference: at most one interval holds."""
    found = [each for each in held[path] if each.begins <= at < each.ends]
    assert len(found) <= 1, (path, at)
    return found[0].stated if found else None


def _asked(
    reader: Caller,
    documents: Mapping[str, str],
    held: Held,
    pairs: Sequence[tuple[str, Instant]],
    chance: random.Random,
    *,
    known_at: Instant | None = None,
) -> dict[str, Tally]:
    tallies = {name: Tally() for name in ("GET document", "GET list", "GET content", "retrieve")}
    of_text = {(each.stated.path, each.stated.digest) for several in held.values() for each in several}
    for path, at in pairs:
        right = _in_force(held, path, at)
        place = f"{path} at {iso(at)}" + (f" known at {iso(known_at)}" if known_at is not None else "")
        query = f"as_of={iso(at)}" + (f"&known_at={iso(known_at)}" if known_at is not None else "")
        root = f"/v1/documents/{documents[path]}"
        told = _or_none(reader, f"{root}?{query}")
        tallies["GET document"].judge(place, told and told["digest"], right.digest if right else None)
        listed = reader.ask("GET", f"/v1/documents?{query}&limit=200&q={quote(path, safe='')}")["documents"]
        own = [each for each in listed if each["uri"] == path]
        tallies["GET list"].judge(place, own[0]["digest"] if own else None, right.digest if right else None)
        if told:
            content = reader.bytes_of("GET", f"{root}/versions/{told['version']}/content?{query}", None)
            tallies["GET content"].judge(place, digest_of(content), right.digest if right else None)
        asked = {"query": _sentence((right or held[path][0].stated).text, chance), "as_of": iso(at), "top_k": 20}
        answer = reader.ask("POST", "/v1/retrieve", asked | ({"known_at": iso(known_at)} if known_at else {}))
        cited = [(each["citation"]["uri"], each["citation"]["digest"]) for each in answer["passages"]]
        tallies["retrieve"].passages += len(cited)
        others = [digest for uri, digest in cited if uri == path and (right is None or digest != right.digest)]
        found = right is not None and (path, right.digest) in cited
        tallies["retrieve"].judge(
            place, others[0] if others else (right.digest if found and right else None), right.digest if right else None
        )
        for uri, digest in cited:
            assert (uri, digest) in of_text
            then = _in_force(held, uri, at)
            if then is None or then.digest != digest:
                tallies["retrieve"].wrong.append(f"{place}: also cites {uri} {digest}, which was not in force")
    return tallies


def _or_none(reader: Caller, path: str) -> Any:
    try:
        return reader.ask("GET", path)
    except RuntimeError as error:
        if " 404 " in str(error):
            return None
        raise


def _sentence(text: str, chance: random.Random) -> str:
    """Some words of a text: what somebody might ask who remembers it."""
    lines = [line.strip() for line in re.split(r"[.\n]", text) if len(line.split()) > 5]
    return chance.choice(lines or [text.strip()])[:300]


def _correct(
    owner: Caller, documents: Mapping[str, str], held: Held, chance: random.Random, count: int
) -> dict[str, list[Stands]]:
    """Versions that ended earlier, ran into the next one's time, or began earlier; the reference after all of it."""
    after = {path: sorted(several, key=lambda each: each.begins) for path, several in held.items()}
    candidates = [path for path in sorted(after) if len(after[path]) > 1]
    for path in chance.sample(candidates, min(count, len(candidates))):
        several = after[path]
        at = chance.randrange(len(several) - 1)
        one, other = several[at], several[at + 1]
        middle = Instant((other.begins + min(other.ends, Instant(_now()))) // 2)
        match chance.choice(("earlier end", "later end", "earlier start")):
            case "earlier end":
                ends = Instant((one.begins + one.ends) // 2)
                body = {"valid_to": iso(ends)}
                several[at] = _with(one, one.begins, ends)
            case "later end":
                body = {"valid_to": iso(middle)}
                several[at] = _with(one, one.begins, middle)
                several[at + 1] = _with(other, middle, other.ends)
            case _:
                begins = Instant((one.begins + one.ends) // 2)
                one, other = several[at], several[at + 1]
                body = {"valid_from": iso(begins)}
                several[at], several[at + 1] = _with(one, one.begins, begins), _with(other, begins, other.ends)
                one = other
        path_of = f"/v1/documents/{documents[path]}/versions/{one.number}"
        owner.ask("PATCH", path_of, body | {"reason": "the record was wrong"})
    return after


def _with(stands: Stands, begins: Instant, ends: Instant) -> Stands:
    return Stands(number=stands.number, begins=begins, ends=ends, stated=stands.stated)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _tell(out: Console, when: str, tallies: Mapping[str, Tally]) -> None:
    table = Table("", title=f"What was in force, {when}", title_justify="left", title_style="bold")
    for column in ("asked", "the right one", "rightly nothing", "wrong", "passages in force"):
        table.add_column(column, justify="right")
    for name, cells in _rows(tallies):
        table.add_row(name, *cells)
    out.print(table)


def _rows(tallies: Mapping[str, Tally]) -> Iterator[tuple[str, list[str]]]:
    for name, each in tallies.items():
        counts = [each.asked, each.found, each.nothing, len(each.wrong)]
        yield name, [*(f"{count}" for count in counts), f"{each.passages}" if each.passages else ""]


if __name__ == "__main__":
    sys.exit(main())
