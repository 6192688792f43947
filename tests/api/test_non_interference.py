"""What a caller receives is a function of what that caller may see: nothing unreadable, and nothing that shows it.

Random worlds are put into a running Muniment through HTTP, on each index adapter. One person asks and looks around;
then everything that is hidden from that person is changed; then the same requests give the same bytes.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.worlds import GROUPS, LEVELS, QUESTIONS, SENTENCES, Doc, Person, World, change, timeless, world_on
from tests.running import Running

CASES = int(os.environ.get("MUNIMENT_NON_INTERFERENCE_CASES", "6"))
"""Worlds for each adapter."""


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


@pytest.fixture(scope="module", params=["embedded", "qdrant-client"])
def world(
    request: pytest.FixtureRequest,
    quick_folder: Path,
    embedder: LocalEmbedder,
    tokenizer: LocalTokenizer,
    parser: Parser,
) -> Iterator[World]:
    with (
        tempfile.TemporaryDirectory(prefix="world-", dir=quick_folder) as folder,
        world_on(request.param, Path(folder), embedder=embedder, tokenizer=tokenizer, parser=parser) as made,
    ):
        yield made


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

    for number, (what, doc) in enumerate(changes):
        if not person.sees(doc, me):
            change(world, name, what, doc, number=number, hidden=hidden, ids=ids)
    run.work()
    assert _look_around(run, me, name, ids, jobs) == seen


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
                seen[f"{question} {mode} {narrowed}"] = timeless(json.dumps(answer))
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
        seen[f"GET {path}"] = timeless(response.text)
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


def _uris_in(seen: dict[str, str]) -> set[str]:
    return set(re.findall(r'"uri": ?"([^"]+)"', " ".join(seen.values())))
