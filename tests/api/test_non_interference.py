"""What a caller receives is a function of what that caller may see: nothing unreadable, and nothing that shows it.

Random worlds are put into a running Muniment through HTTP, on each index adapter. One person asks and looks around;
then everything that is hidden from that person is changed; then the same requests give the same bytes.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.adapters.qdrant_index import QdrantIndex
from app.store.database import open_engine
from ingest.ports import Parser
from tests.running import Running, running

CASES = int(os.environ.get("MUNIMENT_NON_INTERFERENCE_CASES", "12"))
"""Worlds for each adapter."""

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


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=2).map(tuple)


docs = st.builds(
    Doc,
    sentences=st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=3, unique=True).map(tuple),
    level=st.sampled_from(LEVELS),
    categories=some("pii"),
    readers=st.sampled_from([("group:all-staff",), ("group:east",), ("group:west",), ("user:other",), ()]),
    denied=st.sampled_from([(), (), (), ("group:west",)]),
    jurisdictions=some("EU", "US"),
    purposes=st.sampled_from([(), (), ("support",)]),
)
people = st.builds(
    Person,
    groups=some(*GROUPS),
    clearance=st.sampled_from(LEVELS),
    categories=some("pii"),
    jurisdictions=some("EU", "US"),
)
hidden_changes = st.lists(
    st.tuples(st.sampled_from(["add", "withdraw", "relabel", "new-version"]), docs), min_size=1, max_size=4
)


@dataclass(frozen=True, kw_only=True)
class World:
    """One Muniment for all examples of an adapter: each new corpus stands among all the earlier ones, hidden too."""

    running: Running
    in_force: dict[str, Doc]
    """Every document by its uri, as it was last put or changed."""

    def visible(self, person: Person, me: str) -> set[str]:
        return {uri for uri, doc in self.in_force.items() if person.sees(doc, me)}


@pytest.fixture(scope="module", params=["embedded", "qdrant-client"])
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    embedder: LocalEmbedder,
    tokenizer: LocalTokenizer,
    parser: Parser,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(request.param)
    engine = open_engine(f"sqlite:///{folder / 'muniment.sqlite'}")
    index = (
        EdgeIndex(folder / "index", embedder.dimension)
        if request.param == "embedded"
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


numbers = count()


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
@pytest.mark.filterwarnings("ignore:Local mode performs exact")
@settings(
    max_examples=CASES,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # no shrinking: an example stands among its predecessors
    suppress_health_check=[HealthCheck.too_slow],
)
@given(person=people, before=st.lists(docs, min_size=2, max_size=7), changes=hidden_changes)
def test_hidden_documents_are_never_returned_and_change_nothing(
    world: World, person: Person, before: list[Doc], changes: list[tuple[str, Doc]]
) -> None:
    world_number = next(numbers)
    name = f"w{world_number}"
    me = f"user:{name}"
    run = world.running
    run.put_principal(
        me,
        groups=list(person.groups),
        clearance=person.clearance,
        categories=list(person.categories),
        jurisdictions=list(person.jurisdictions),
    )
    of_record = world_number % 2 == 1  # what is hidden in it says what is shown of others, and must not speak for them
    run.put_collection(name, owners=["group:owners"], discoverable=True, system_of_record=of_record)
    ids: dict[str, str] = {}
    jobs: dict[str, str] = {}
    for number, doc in enumerate(before):
        uri = f"{name}/{number}"
        submitted = run.submit("user:owner", name, doc.text, **doc.metadata(uri)).json()
        ids[uri], jobs[uri] = submitted["document"]["id"], submitted["job"]["id"]
        world.in_force[uri] = doc
    run.work()
    visible = world.visible(person, me)
    hidden = [uri for uri in ids if uri not in visible]
    note(f"visible {sorted(visible & set(ids))} of {sorted(ids)}")

    seen = _look_around(run, me, name, ids, jobs)
    assert _uris_in(seen) <= visible
    for uri in hidden:
        assert _statuses(run, me, ids[uri], jobs[uri]) == {404}, uri
    assert _uris_in({"": seen[f"GET /v1/documents?collection={name}"]}) == visible & set(ids)

    for number, (change, doc) in enumerate(changes):
        if not person.sees(doc, me):
            _change(world, name, change, doc, number=number, hidden=hidden, ids=ids)
    run.work()
    assert _look_around(run, me, name, ids, jobs) == seen


def _change(
    world: World, name: str, change: str, doc: Doc, *, number: int, hidden: list[str], ids: dict[str, str]
) -> None:
    """Add a hidden document, or withdraw, relabel or supersede one that is there."""
    run = world.running
    uri = f"{name}/hidden-{number}" if change == "add" or not hidden else hidden[number % len(hidden)]
    if uri not in ids or change == "new-version":
        run.submit("user:owner", name, doc.text, **doc.metadata(uri))
        world.in_force[uri] = doc
    elif change == "withdraw":
        _owner(run, "POST", f"/v1/documents/{ids[uri]}/withdraw", {"reason": "no longer needed"})
        world.in_force.pop(uri, None)
    else:
        body = {"label": {"level": "restricted"}, "readers": ["user:other"], "reason": "it was too wide"}
        _owner(run, "PATCH", f"/v1/documents/{ids[uri]}", body)
        if uri in world.in_force:
            world.in_force[uri] = replace(
                world.in_force[uri], level="restricted", categories=(), readers=("user:other",)
            )
    run.work()


def _owner(run: Running, method: str, path: str, body: dict[str, Any]) -> None:
    response = run.request(method, path, "user:owner", json=body)
    assert response.status_code == 200, response.text


def _look_around(run: Running, me: str, name: str, ids: dict[str, str], jobs: dict[str, str]) -> dict[str, str]:
    """Everything that this person can ask for, by request; without what differs from one asking to the next."""
    seen: dict[str, str] = {}
    citations: set[str] = set()
    for question in QUESTIONS:
        for mode in ("hybrid", "dense", "lexical"):
            for narrowed in ({}, {"collections": [name]}):
                answer = run.retrieve(me, question, mode=mode, top_k=5, **narrowed)
                citations |= {passage["citation"]["id"] for passage in answer["passages"]}
                del answer["trace_id"], answer["usage"]["timings_ms"]
                seen[f"{question} {mode} {narrowed}"] = _timeless(json.dumps(answer))
    paths = [
        "/v1/documents",
        f"/v1/documents?collection={name}",
        "/v1/documents?limit=1",
        "/v1/documents?q=paper",
        "/v1/collections",
    ]
    for uri, id in ids.items():
        paths += [f"/v1/documents/{id}", f"/v1/documents/{id}/versions", f"/v1/documents/{id}/versions/1/text"]
        paths += [f"/v1/documents/{id}/versions/2/content", f"/v1/jobs/{jobs[uri]}"]
        paths += [f"/v1/documents/{id}/duplicates", f"/v1/documents/{id}/versions/1/provenance"]
    paths += [f"/v1/citations/{id}" for id in sorted(citations)]
    for path in paths:
        response = run.request("GET", path, me)
        seen[f"GET {path}"] = _timeless(response.text)
    return seen


def _statuses(run: Running, me: str, document: str, job: str) -> set[int]:
    """How every door to one document and its job answers, the citations that its owner was given among them."""
    text = run.request("GET", f"/v1/documents/{document}/versions/1/text", "user:owner").json().get("text", "")
    cited = run.retrieve("user:owner", text[:200] or "nothing")["passages"]
    own = [each["citation"]["id"] for each in cited if each["citation"]["document_id"] == document]
    paths = [f"/v1/documents/{document}{rest}" for rest in ("", "/versions", "/versions/1", "/duplicates")]
    paths += [f"/v1/documents/{document}/versions/1/{what}" for what in ("text", "content", "provenance")]
    paths += [f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", *(f"/v1/citations/{id}" for id in own)]
    return {run.request("GET", path, me).status_code for path in paths}


def _timeless(text: str) -> str:
    """Without the id of the trace and the instant of asking."""
    text = re.sub(r'"trace_id":"tr_[a-z0-9]+"', "", text)
    return re.sub(r"in force at [0-9TZ:.-]+", "", text)


def _uris_in(seen: dict[str, str]) -> set[str]:
    return set(re.findall(r'"uri": ?"([^"]+)"', " ".join(seen.values())))
