"""`muniment apply`: an institution laid down from one file, in the shapes of the control plane."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from app.cli.client import Document, Json, Refused, Server
from app.cli.connect import administering
from app.cli.console import Failed, out, say, table
from app.cli.gather import Candidate
from app.cli.ingest import Fate, Submission, taken_in
from app.domain.access import IMPORTER
from app.domain.labels import parse_level
from app.settings import Settings

_INVALID = 422
_BODIES = ("jurisdictions", "purposes", "principals", "collections")
"""Sections of a body under each name."""
_SECTIONS = {"title", "jurisdictions", "transfers", "purposes", "principals", "collections", "documents"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A document of the file: where it lies under the documents' folder, and what is said of it."""

    file: str
    collection: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """A file as it was read: bodies for the control plane, by name, in the file's order."""

    purposes: Mapping[str, Json]
    principals: Mapping[str, Json]
    collections: Mapping[str, Json]
    documents: Sequence[Entry]
    jurisdictions: Mapping[str, Json] = field(default_factory=dict)
    transfers: Sequence[Json] = ()

    def owner_of(self, collection: str) -> str:
        """The active person of the file who owns the collection and may read most; raises `Failed` if there is none.

        Who puts the next version of a document in has to be able to read the one before.
        """
        owners = set(self.collections.get(collection, {}).get("owners", ()))
        found = [
            ref
            for ref, body in self.principals.items()
            if ref.startswith("user:") and body.get("active", True) and owners & {ref, *self._groups_above(ref)}
        ]
        if not found:
            raise Failed(
                f"Nobody in the file is an active owner of {collection}, so its documents have no one to be from."
            )
        return max(found, key=lambda ref: _scope(self.principals[ref]))

    def categories(self) -> list[str]:
        """Every category that somebody in the file holds."""
        return sorted({each for body in self.principals.values() for each in body.get("categories", ())})

    def _groups_above(self, ref: str) -> set[str]:
        found: set[str] = set()
        new = [ref]
        while new:
            above = [group for each in new for group in self.principals.get(each, {}).get("groups", ())]
            new = [group for group in above if group not in found]
            found.update(new)
        return found


def apply(settings: Settings, file: Path, documents: Path | None) -> bool:
    """Lay down what the file says and tell what changed; whether every document was taken."""
    institution = read_institution(file)
    with administering(settings, worker=documents is not None) as server:
        for line in lay_down(server, institution):
            say(line)
        if documents is None:
            if institution.documents:
                say(f"{len(institution.documents)} documents were left alone: --documents DIR puts them in.")
            return True
        with importing(server, institution) as importer:
            fates = taken_in(importer, submissions(institution, documents), waits=True)
    return told(fates)


def read_institution(file: Path) -> Institution:
    """The file's sections; raises `Failed` if it is not of that form."""
    try:
        read = json.loads(json.dumps(yaml.safe_load(file.read_text(encoding="utf-8")), default=str))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Failed(f"{file} is not YAML{f': see line {mark.line + 1}' if mark else ''}.") from None
    except (ValueError, TypeError, RecursionError):
        raise Failed(f"{file} cannot be read as YAML in UTF-8.") from None
    if not isinstance(read, dict) or not set(read) <= _SECTIONS:
        raise Failed(f"{file} may have {', '.join(sorted(_SECTIONS))}, and nothing else.")
    sections = {name: read.get(name) or {} for name in _BODIES}
    for name, section in sections.items():
        if not isinstance(section, dict) or not all(isinstance(body, dict | None) for body in section.values()):
            raise Failed(f"{file}: {name} has a body under each name.")
    if strange := [ref for ref in sections["principals"] if ":" not in ref]:
        raise Failed(f"{file}: {strange[0]!r} is not a principal: write user:ID, group:ID or assistant:ID.")
    transfers = read.get("transfers") or []
    if not isinstance(transfers, list) or not all(isinstance(rule, dict) for rule in transfers):
        raise Failed(f"{file}: transfers is a list of rules, each with from and to.")
    try:
        documents = [Entry(**entry) for entry in read.get("documents") or ()]
    except TypeError:
        raise Failed(f"{file}: each of documents has file, collection and metadata.") from None
    named = {name: {key: body or {} for key, body in section.items()} for name, section in sections.items()}
    return Institution(**named, transfers=transfers, documents=documents)


@contextmanager
def _named(entry: str) -> Iterator[None]:
    """Let a refusal say which entry of the file it is about, and what that leaves."""
    try:
        yield
    except Refused as refusal:
        raise _at(entry, refusal) from None


def _at(entry: str, refusal: Refused) -> Failed:
    said = str(refusal).replace("; nothing was changed", "")
    return Failed(f"{entry}: {said} What stands before it in the file was laid down: mend it, and apply it again.")


def lay_down(server: Server, institution: Institution) -> list[str]:
    """Jurisdictions, purposes, principals, collections, transfer rules, in this order; says a sentence about each.

    A principal may be limited to collections that are not there yet, and own them. It then begins inactive, without
    that limit, and gets it, and is active, once they are there: at no time may it do more than the file says. A
    purpose whose owner is not there yet has none until then.
    """
    for id, body in institution.jurisdictions.items():
        with _named(f"jurisdiction {id}"):
            server.put(f"/v1/jurisdictions/{id}", body)
    purposes = {each["id"]: each for each in server.get("/v1/purposes")["purposes"]}
    principals = {each["id"]: each for each in server.get("/v1/principals")["principals"]}
    changes = {"purposes": _Changes(purposes), "principals": _Changes(principals)}
    unowned: dict[str, Json] = {}
    for id, body in institution.purposes.items():
        with _named(f"purpose {id}"):
            try:
                changes["purposes"].note(id, server.put(f"/v1/purposes/{id}", body))
            except Refused as refusal:
                if refusal.status != _INVALID or not body.get("owner"):
                    raise
                server.put(f"/v1/purposes/{id}", {**body, "owner": None})
                unowned[id] = body
    limited: dict[str, Json] = {}
    for ref, body in institution.principals.items():
        try:
            changes["principals"].note(ref, server.put(_path(ref), body))
        except Refused as refusal:
            if refusal.status != _INVALID or not body.get("collections"):
                raise _at(ref, refusal) from None
            limited[ref] = body
            if ref not in principals:
                with _named(ref):
                    server.put(_path(ref), {**body, "collections": [], "active": False})
    for id, body in unowned.items():
        with _named(f"purpose {id}"):
            changes["purposes"].note(id, server.put(f"/v1/purposes/{id}", body))
    for name, body in institution.collections.items():
        with _named(f"collection {name}"):
            server.put(f"/v1/collections/{name}", body)
    for ref, body in limited.items():
        with _named(ref):
            changes["principals"].note(ref, server.put(_path(ref), body))
    for rule in institution.transfers:
        with _named(f"transfer from {rule.get('from')} to {rule.get('to')}"):
            server.put("/v1/transfers", rule)
    sections = {"jurisdictions": institution.jurisdictions, "transfers": institution.transfers}
    counted = {name: len(entries) for name, entries in sections.items() if entries}
    counted["collections"] = len(institution.collections)
    return [
        *(f"{section}: {each.sentence()}" for section, each in changes.items()),
        *(f"{section}: {count} laid down as the file has them." for section, count in counted.items()),
    ]


class _Changes:
    """What was put, against what was there before."""

    def __init__(self, before: Mapping[str, Json]) -> None:
        self._before = before
        self._new = self._same = 0
        self._changed: list[str] = []

    def note(self, key: str, after: Json) -> None:
        if key not in self._before:
            self._new += 1
        elif self._before[key] == after:
            self._same += 1
        else:
            self._changed.append(key)

    def sentence(self) -> str:
        changed = f"{len(self._changed)} changed" + (f" ({', '.join(self._changed)})" if self._changed else "")
        return f"{self._new} new, {changed}, {self._same} as before."


@contextmanager
def importing(administrator: Server, institution: Institution) -> Iterator[Server]:
    """The server to `assistant:importer`, which puts documents in for their owners, and is no ceiling to them.

    Its key is revoked and it is inactive before and after.
    """
    path = _path(IMPORTER)
    body = {
        "display_name": "Puts in the documents of an applied file, for their owners",
        "clearance": "restricted",
        "categories": institution.categories(),
        "may_assert": True,
    }
    administrator.put(path, body)
    issued = administrator.post(f"{path}/keys")
    try:
        with administrator.with_key(issued["key"]) as server:
            yield server
    finally:
        administrator.delete(f"{path}/keys/{issued['id']}")
        administrator.put(path, {**body, "active": False})


def submissions(institution: Institution, folder: Path, *, but: Sequence[str] = ()) -> list[Submission]:
    """The documents of the file, each in the name of an owner, without those whose files are in `but`."""
    return [
        Submission(
            uri=entry.metadata.get("uri", entry.file),
            collection=entry.collection,
            document=partial(_document, entry, folder),
            on_behalf_of=institution.owner_of(entry.collection),
        )
        for entry in institution.documents
        if entry.file not in but
    ]


def _scope(body: Json) -> tuple[int, int, int]:
    """How much somebody may read, to choose by: clearance first."""
    level = parse_level(body.get("clearance", "internal"))
    return level, len(body.get("categories", ())), len(body.get("jurisdictions", ()))


def told(fates: Sequence[Fate]) -> bool:
    """Say what became of the documents; whether all of them are in."""
    states = Counter(fate.state for fate in fates)
    say(f"{len(fates)} documents: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())) + ".")
    if bad := [(fate.uri, fate.reason or "") for fate in fates if fate.bad]:
        out().print(table(("not taken", "why"), bad))
    return not bad


def _document(entry: Entry, folder: Path) -> Document:
    uri = entry.metadata.get("uri", entry.file)
    return Candidate(uri=uri, place=folder / entry.file, root=folder).document(entry.metadata)


def _path(ref: str) -> str:
    kind, _, id = ref.partition(":")
    return f"/v1/principals/{kind}/{id}"
