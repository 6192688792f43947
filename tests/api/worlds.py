"""Worlds of documents and people for the tests of non-interference: what is hidden from somebody is changed at will."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.adapters.qdrant_index import QdrantIndex
from app.store.database import open_engine
from ingest.ports import Parser
from tests.running import Running, running

SENTENCES = (
    "Customer data may be shared with partner Northlight after approval.",
    "Customer data must never be shared with any partner.",
    "Retention of claim files is seven years.",
    "Retention of claim files is ten years.",
    "The travel limit for a hotel is 140 euros a night.",
    "Control SOX-404 requires two signatures.",
    "Passwords have at least fourteen characters.",
    "The merger closes in March.",
)
QUESTIONS = ("May we share customer data with a partner?", "SOX-404", "How long are claim files kept?")
LEVELS = ("public", "internal", "confidential", "restricted")
GROUPS = ("group:east", "group:west")
"""West is in east."""


@dataclass(frozen=True, kw_only=True)
class Doc:
    sentences: tuple[str, ...]
    level: str
    categories: tuple[str, ...]
    readers: tuple[str, ...]
    denied: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    purposes: tuple[str, ...]

    def metadata(self, uri: str) -> dict[str, Any]:
        return {
            "uri": uri,
            "title": "A paper",
            "label": {"level": self.level, "categories": list(self.categories)},
            "readers": list(self.readers),
            "denied": list(self.denied),
            "jurisdictions": list(self.jurisdictions),
            "purposes": list(self.purposes),
            "valid_from": "2020-01-01",
        }

    @property
    def text(self) -> str:
        return "\n\n".join(self.sentences)


@dataclass(frozen=True, kw_only=True)
class Person:
    groups: tuple[str, ...]
    clearance: str
    categories: tuple[str, ...]
    jurisdictions: tuple[str, ...]

    def sees(self, doc: Doc, me: str) -> bool:
        """The default policy in words, for somebody who owns nothing and states no purpose."""
        mine = {me, "group:all-staff", *self.groups} | ({"group:east"} if "group:west" in self.groups else set())
        return (
            bool(mine & set(doc.readers))
            and not mine & set(doc.denied)
            and LEVELS.index(doc.level) <= LEVELS.index(self.clearance)
            and set(doc.categories) <= set(self.categories)
            and (not doc.jurisdictions or bool(set(doc.jurisdictions) & set(self.jurisdictions)))
            and not doc.purposes
        )


@dataclass(frozen=True, kw_only=True)
class World:
    """One Muniment for all examples of an adapter: each new corpus stands among all the earlier ones, hidden too."""

    running: Running
    in_force: dict[str, Doc]
    """Every document by its uri, as it was last put or changed."""

    def visible(self, person: Person, me: str) -> set[str]:
        return {uri for uri, doc in self.in_force.items() if person.sees(doc, me)}


@contextmanager
def world_on(
    adapter: str, folder: Path, *, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[World]:
    """An empty world on an index adapter. Its owner may read all; one other reads what nobody else may."""
    engine = open_engine(f"sqlite:///{folder / 'muniment.sqlite'}")
    index = (
        EdgeIndex(folder / "index", embedder.dimension)
        if adapter == "embedded"
        else QdrantIndex(QdrantClient(":memory:"), "muniment", embedder.dimension)
    )
    with running(engine, index, folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as started:
        started.put_purpose("support")
        started.put_principal("group:east")
        started.put_principal("group:west", groups=["group:east"])
        started.put_principal("group:owners")
        started.put_principal(
            "user:owner",
            groups=["group:owners"],
            clearance="restricted",
            categories=["pii"],
            jurisdictions=["EU", "US"],
        )
        started.put_principal("user:other", clearance="restricted", categories=["pii"])
        yield World(running=started, in_force={})
    engine.dispose()


def change(
    world: World, name: str, what: str, doc: Doc, *, number: int, hidden: list[str], ids: dict[str, str]
) -> None:
    """Add a hidden document, or withdraw, relabel or supersede one that is there."""
    run = world.running
    uri = f"{name}/hidden-{number}" if what == "add" or not hidden else hidden[number % len(hidden)]
    if uri not in ids or what == "new-version":
        run.submit("user:owner", name, doc.text, **doc.metadata(uri))
        world.in_force[uri] = doc
    elif what == "withdraw":
        owner(run, "POST", f"/v1/documents/{ids[uri]}/withdraw", {"reason": "no longer needed"})
        world.in_force.pop(uri, None)
    else:
        body = {"label": {"level": "restricted"}, "readers": ["user:other"], "reason": "it was too wide"}
        owner(run, "PATCH", f"/v1/documents/{ids[uri]}", body)
        if uri in world.in_force:
            world.in_force[uri] = replace(
                world.in_force[uri], level="restricted", categories=(), readers=("user:other",)
            )
    run.work()


def owner(run: Running, method: str, path: str, body: dict[str, Any]) -> None:
    response = run.request(method, path, "user:owner", json=body)
    assert response.status_code < 300, response.text


def timeless(text: str) -> str:
    """Without the id of the trace and the instant of asking."""
    text = re.sub(r'"trace_id":"tr_[a-z0-9]+"', "", text)
    return re.sub(r"in force at [0-9TZ:.-]+", "", text)
