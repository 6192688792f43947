"""Thousands of changes outside the reach of everybody who asks: after each, requests give the bytes they always gave.

What may be seen is laid down once, and every request is answered once. From then on documents that no asker may read
are added, given new versions, relabelled, withdrawn and erased, the index is tidied in between, and whatever is asked
again must be answered as before: by each index adapter, in every mode. Nightly, with MUNIMENT_HIDDEN_CHANGES=10000.
"""

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.worlds import QUESTIONS, SENTENCES, owner, timeless, world_on
from tests.fakes import ReferenceReranker
from tests.running import Running, app_on

CHANGES: Final = int(os.environ.get("MUNIMENT_HIDDEN_CHANGES", "1000"))
"""Of both adapters together."""
SEED: Final = int(os.environ.get("MUNIMENT_HIDDEN_SEED", "5"))
ASKED_AFTER_EACH: Final = 2
TIDIED_EVERY: Final = 25
ALL_ASKED_EVERY: Final = 500

ASKERS: Final[dict[str, dict[str, Any]]] = {
    "user:narrow": {"clearance": "public"},
    "user:west": {"groups": ["group:west"], "clearance": "internal", "jurisdictions": ["EU"]},
    "user:wide": {"groups": ["group:east"], "clearance": "restricted", "categories": ["pii"], "jurisdictions": ["US"]},
}
OFTEN: Final = {"add": 30, "version": 20, "relabel": 30, "withdraw": 18, "erase": 2}
"""How often what is done to it, of a hundred."""
MOST_HIDDEN: Final = 30
"""Documents at a time: then some are erased before others are added."""


_OF_THE_ASKING: Final = re.compile(r'"trace_id": "\w+"|"timings_ms": \{[^}]*\}')


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A request that can be made again."""

    who: str
    method: str
    path: str
    body: str = ""

    def of(self, run: Running) -> str:
        """The answer, without what differs from one asking to the next."""
        sent: dict[str, Any] = {"content": self.body, "headers": {"Content-Type": "application/json"}}
        response = run.request(self.method, self.path, self.who, **(sent if self.body else {}))
        text = response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            text = _OF_THE_ASKING.sub("", text)
        elif self.method == "POST":
            said = json.loads(text)
            said.pop("trace_id", None)
            said.get("usage", {}).pop("timings_ms", None)
            text = json.dumps(said)
        return f"{response.status_code} {timeless(text)}"


@dataclass(kw_only=True)
class Hidden:
    """What nobody who asks may read, and its changes."""

    run: Running
    chance: random.Random
    documents: dict[str, str] = field(default_factory=dict)
    """Ids by uri."""
    homes: dict[str, str] = field(default_factory=dict)
    """Collections by uri."""
    made: int = 0

    def change(self) -> str:
        """Do something to it; what was done."""
        what = self.chance.choices(list(OFTEN), weights=list(OFTEN.values()))[0]
        if not self.documents or (what == "add" and len(self.documents) < MOST_HIDDEN):
            return self._put(f"hidden/{self.made}", "add")
        uri = self.chance.choice(sorted(self.documents))
        if what in ("add", "version"):
            return self._put(uri, "version")
        path = f"/v1/documents/{self.documents[uri]}"
        if what == "relabel":
            level = self.chance.choice(["public", "internal", "confidential", "restricted"])
            owner(self.run, "PATCH", path, {"label": {"level": level}, "reason": "it is another"})
        elif what == "withdraw":
            del self.documents[uri]
            owner(self.run, "POST", f"{path}/withdraw", {"reason": "no longer needed"})
        else:
            del self.documents[uri]
            owner(self.run, "POST", f"{path}/erase", {"reason": "it was asked for"})
        self.run.work()
        return f"{what} {uri}"

    def _put(self, uri: str, what: str) -> str:
        self.made += 1
        sentences = self.chance.sample(SENTENCES, self.chance.randint(1, 3))
        sentences.append(f"It is kept under number {self.made}.")
        metadata = {
            "uri": uri,
            "title": self.chance.choice(["A paper", "Retention", f"Northlight {self.made}"]),
            "label": {"level": self.chance.choice(["public", "internal", "restricted"])},
            "readers": ["user:other"],
            "valid_from": "2020-01-01",
            "attributes": {"region": self.chance.choice(["EU", "US"])},
        }
        collection = self.homes.setdefault(uri, self.chance.choice(["shared", "vault"]))
        submitted = self.run.submit("user:owner", collection, "\n\n".join(sentences), **metadata)
        assert submitted.status_code == 202, submitted.text
        self.documents[uri] = submitted.json()["document"]["id"]
        self.run.work()
        return f"{what} {uri}"


def askings() -> list[Asking]:
    """Everything that each asker asks."""
    found = []
    for who in ASKERS:
        for query in (*QUESTIONS, "Northlight", "a paper on retention"):
            for mode in ("hybrid", "dense", "lexical"):
                for more in NARROWED:
                    found.append(_posted(who, "/v1/retrieve", query=query, mode=mode, **more))
            found.append(_posted(who, "/v1/retrieve", query=query, filters={"attributes.region": ["EU"]}))
            found.append(_posted(who, "/v1/retrieve", query=query, rerank=False))
            found.append(_posted(who, "/v1/answer", query=query, stream=query == "Northlight"))
        for query in PHRASES:
            found.append(_posted(who, "/v1/retrieve", query=query, max_tokens=200, expand=False))
            found.append(_posted(who, "/v1/answer", query=query, collections=["shared"], mode="lexical"))
        for filters in FILTERS:
            found.append(_posted(who, "/v1/retrieve", query="How long are files kept?", filters=filters))
        for path in PATHS:
            found.append(Asking(who=who, method="GET", path=path))
    return found


NARROWED: Final[tuple[dict[str, Any], ...]] = ({}, {"collections": ["shared"], "top_k": 3}, {"max_tokens": 200})

PATHS: Final = (
    "/v1/documents",
    "/v1/documents?collection=shared",
    "/v1/documents?collection=vault",
    "/v1/documents?limit=2",
    "/v1/documents?q=paper",
    "/v1/collections",
    "/v1/suggest?q=nort",
    "/v1/suggest?q=retnetion",
    "/v1/suggest?q=a+paper",
    "/v1/suggest?q=hidden",
    "/v1/facets",
    "/v1/facets?q=paper",
    "/v1/facets?collection=vault",
)

PHRASES: Final = (
    '"claim files" are kept',
    'What is "under number"?',
    '"Northlight"',
    "Who is Nortlight?",
)
"""What is said word for word, and a misspelled name."""

FILTERS: Final[tuple[dict[str, list[str]], ...]] = (
    {"title": ["retention"]},
    {"title": ["northlight"], "attributes.region": ["US"]},
    {"uri": ["hidden"]},
    {"language": ["en"]},
    {"media_type": ["text/markdown"], "section": ["a paper"]},
)


def _posted(who: str, path: str, **body: Any) -> Asking:
    return Asking(who=who, method="POST", path=path, body=json.dumps(body))


@pytest.fixture(params=["embedded", "qdrant-client"])
def hidden(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    embedder: LocalEmbedder,
    tokenizer: LocalTokenizer,
    parser: Parser,
) -> Iterator[Hidden]:
    """A world in which everybody who asks may read something, and nothing is hidden yet."""
    chance = random.Random(f"{SEED} {request.param}")
    with world_on(request.param, tmp_path, embedder=embedder, tokenizer=tokenizer, parser=parser) as world:
        ports = replace(world.running.ports, reranker=ReferenceReranker())
        run = replace(world.running, ports=ports, client=TestClient(app_on(ports)))
        run.put_collection("shared", owners=["group:owners"], discoverable=True)
        run.put_collection("vault", owners=["group:owners"], discoverable=True, system_of_record=True)
        for who, profile in ASKERS.items():
            run.put_principal(who, **profile)
        for number in range(14):
            run.submit(
                "user:owner",
                "shared",
                "\n\n".join(chance.sample(SENTENCES, chance.randint(1, 3))),
                uri=f"open/{number}",
                title=chance.choice(["A paper", "Retention of files", "Northlight"]),
                label={"level": chance.choice(["public", "public", "internal", "confidential"])},
                readers=[chance.choice(["group:all-staff", "group:all-staff", "group:east"])],
                valid_from="2020-01-01",
                attributes={"region": chance.choice(["EU", "US"])},
            )
        run.work()
        yield Hidden(run=run, chance=chance)


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_changes_of_what_is_hidden_change_no_answer(hidden: Hidden) -> None:
    run, chance = hidden.run, hidden.chance
    answers = {asking: asking.of(run) for asking in askings()}
    assert all(answer.startswith("200 ") for answer in answers.values())
    assert len(set(answers.values())) > len(ASKERS) * len(QUESTIONS)  # they do not all say the same

    for number in range(1, CHANGES // 2 + 1):
        done = hidden.change()
        if number % TIDIED_EVERY == 0 and isinstance(run.ports.index, EdgeIndex):
            run.ports.index.optimize()
        again = list(answers) if number % ALL_ASKED_EVERY == 0 else chance.sample(list(answers), ASKED_AFTER_EACH)
        for asking in again:
            assert asking.of(run) == answers[asking], f"{asking} after change {number}, {done} (seed {SEED})"
