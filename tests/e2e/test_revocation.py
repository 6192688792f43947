"""Promise 4 under load: once the call that narrows access has returned, no response that starts has the content."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col

from app.adapters.index_process import ProcessIndex
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.bootstrap import now, secret
from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.evidence import IndexQuery
from app.store.database import open_engine, reading
from app.store.tables import ChunkRow, DocumentRow, VersionBoundaryRow, VersionRow
from tests.e2e.conftest import OWNER
from tests.e2e.processes import PATIENCE_S, Muniment, eventually, suspended

RETRIEVING: Final = 8
ROUNDS: Final = 1
AFTERWARDS: Final = 3
"""Responses awaited on each address after a narrowing, that started after it."""

PATIENCE_WITH_A_STUCK_INDEX_S: Final = 10.0

QUESTION: Final = "What was agreed on the settlement of the heron claim?"
PURPOSE: Final = "support"


@dataclass(kw_only=True)
class Case:
    """One document that one person may see, through nested groups, and everything that this rests on.

    Each `put_` lays something down anew from the profiles kept here, changed as stated: what is not stated comes back.
    """

    served: Muniment
    name: str
    through: str = ""
    """How the person asks: itself, or by an assistant that has its word (`asserted`) or its key (`proven`)."""
    readers: tuple[str, ...] = ()
    document: str = ""
    version: int = 0
    citation: str = ""
    keys: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def secret(self) -> str:
        """In the text and the title, and not in the uri or the question."""
        return f"zw{self.name.replace('-', '')}zw"

    @property
    def person(self) -> str:
        return f"user:{self.name}"

    @property
    def assistant(self) -> str:
        return f"assistant:{self.name}"

    def put_person(self, **changed: Any) -> None:
        self.served.put_principal(self.person, **(_usual() | {"groups": [f"group:{self.name}-team"]} | changed))

    def put_assistant(self, **changed: Any) -> None:
        self.served.put_principal(self.assistant, **(_usual() | {"may_assert": True} | changed))

    def put_team(self, **changed: Any) -> None:
        self.served.put_principal(f"group:{self.name}-team", **({"groups": [f"group:{self.name}-branch"]} | changed))

    def put_branch(self, **changed: Any) -> None:
        self.served.put_principal(f"group:{self.name}-branch", **changed)

    def put_collection(self, **changed: Any) -> None:
        usual = {
            "title": self.name,
            "owners": ["group:owners"],
            "default_readers": [f"group:{self.name}-branch"],
        }
        self.served.admin("PUT", f"/v1/collections/{self.name}", usual | changed)

    def patch(self, **changed: Any) -> None:
        self.served.succeed(OWNER, "PATCH", f"/v1/documents/{self.document}", changed)

    def withdraw(self) -> None:
        self.served.succeed(OWNER, "POST", f"/v1/documents/{self.document}/withdraw", {"reason": "a test"})

    def publish(self) -> None:
        """The document, or its next version if the last one was withdrawn."""
        metadata = {
            "uri": f"{self.name}/settlement",
            "title": f"Settlement {self.secret}",
            "label": {"level": "confidential", "categories": ["pii"]},
            "readers": list(self.readers),
        }
        text = f"# Heron\n\nThe settlement of the heron claim was agreed at {self.secret} francs."
        self.document = self.served.publish(OWNER, self.name, text, **metadata)

    def issue_key(self, who: str) -> None:
        self.keys[who] = self.served.issue(who)

    def revoke_key(self, who: str) -> None:
        self.served.admin("DELETE", f"/v1/principals/{who.replace(':', '/', 1)}/keys/{self.keys[who]['id']}")

    def lay_down(self) -> None:
        self.put_branch()
        self.put_team()
        self.put_collection()
        self.put_person()
        self.put_assistant()
        self.issue_key(self.person)
        self.issue_key(self.assistant)
        self.publish()

    def headers(self) -> dict[str, str]:
        person, assistant = (self.keys[who]["key"] for who in (self.person, self.assistant))
        if not self.through:
            return {"Authorization": f"Bearer {person}"}
        named = (
            {"Muniment-On-Behalf-Of": self.person} if self.through == "asserted" else {"Muniment-Subject-Token": person}
        )
        return {"Authorization": f"Bearer {assistant}", **named}

    def addresses(self) -> dict[str, tuple[str, str, Any]]:
        """Every way in which the document, or its title, can leave."""
        at = f"/v1/documents/{self.document}"
        stated = f"?purpose={PURPOSE}"
        return {
            "retrieve": ("POST", "/v1/retrieve", {"query": QUESTION, "purpose": PURPOSE, "top_k": 50}),
            "answer": ("POST", "/v1/answer", {"query": QUESTION, "purpose": PURPOSE, "top_k": 50}),
            "citation": ("GET", f"/v1/citations/{self.citation}{stated}", None),
            "text": ("GET", f"{at}/versions/{self.version}/text{stated}", None),
            "content": ("GET", f"{at}/versions/{self.version}/content{stated}", None),
            "version": ("GET", f"{at}/versions/{self.version}{stated}", None),
            "document": ("GET", f"{at}{stated}", None),
            "list": ("GET", f"/v1/documents{stated}&q={self.secret}&limit=200", None),
        }

    def ask(self, address: str, client: httpx.Client) -> httpx.Response:
        method, path, body = self.addresses()[address]
        return client.request(method, f"{self.served.url}{path}", headers=self.headers(), json=body, timeout=60)

    def shows(self, response: httpx.Response) -> bool:
        return self.secret.encode() in response.content

    def find(self) -> None:
        """Wait until the person finds the document, and note its version and a citation of it."""
        with httpx.Client() as client:

            def cited() -> dict[str, Any] | None:
                response = self.ask("retrieve", client)
                passages = response.json()["passages"] if response.status_code == 200 else []
                return next((each["citation"] for each in passages if self.secret in each["text"]), None)

            citation = eventually(cited, f"{self.person} finds what they may see", within_s=30)
        self.citation, self.version = citation["id"], citation["version"]


@dataclass(frozen=True, slots=True)
class Seen:
    address: str
    started: float
    shown: bool
    status: int


class Onlookers:
    """Threads that ask for everything all the time, and what each was told."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._seen: list[Seen] = []
        self._over = threading.Event()

    @contextmanager
    def looking(self) -> Iterator[None]:
        wanted = ["retrieve"] * RETRIEVING + [each for each in self._case.addresses() if each != "retrieve"]
        threads = [threading.Thread(target=self._look, args=(address,)) for address in wanted]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def wait_until_shown_everywhere(self) -> None:
        """A test that could not fail would prove nothing."""
        since = time.monotonic()
        eventually(lambda: self._shown(since) == set(self._case.addresses()), "everything shown again", within_s=40)

    def since(self, instant: float) -> Sequence[Seen]:
        """What started later, once there is enough of it on every address."""

        def enough() -> list[Seen]:
            later = [each for each in list(self._seen) if each.started > instant]
            counted = [sum(each.address == address for each in later) for address in self._case.addresses()]
            return later if min(counted) >= AFTERWARDS else []

        found: list[Seen] = eventually(enough, "answers on every address", within_s=60)
        return found

    def _shown(self, since: float) -> set[str]:
        return {each.address for each in list(self._seen) if each.started > since and each.shown}

    def _look(self, address: str) -> None:
        with httpx.Client() as client:
            while not self._over.is_set():
                started = time.monotonic()
                response = self._case.ask(address, client)
                self._seen.append(Seen(address, started, self._case.shows(response), response.status_code))


@pytest.fixture(scope="module", autouse=True)
def _founded(served: Muniment) -> None:
    for purpose in (PURPOSE, "audit"):
        served.admin("PUT", f"/v1/purposes/{purpose}", {"title": purpose})
    served.admin("PUT", "/v1/collections/elsewhere", {"title": "Elsewhere", "owners": ["group:owners"]})


def _usual() -> dict[str, Any]:
    return {"clearance": "confidential", "categories": ["pii"], "jurisdictions": ["EU"]}


Change = Callable[[Case], None]

# What narrows, what widens again, how the person asks, and whether the document names its readers itself.
_NARROWINGS: dict[str, tuple[Change, Change, str, bool]] = {
    "group-removed-from-person": (lambda c: c.put_person(groups=[]), Case.put_person, "", True),
    "nested-group-removed": (lambda c: c.put_team(groups=[]), Case.put_team, "", True),
    "clearance-lowered": (lambda c: c.put_person(clearance="internal"), Case.put_person, "", True),
    "category-removed": (lambda c: c.put_person(categories=[]), Case.put_person, "", True),
    "person-deactivated": (lambda c: c.put_person(active=False), Case.put_person, "", True),
    "person-deactivated-behind-assistant": (lambda c: c.put_person(active=False), Case.put_person, "asserted", True),
    "jurisdictions-of-document": (
        lambda c: c.patch(jurisdictions=["US"]),
        lambda c: c.patch(jurisdictions=["EU"]),
        "",
        True,
    ),
    "purposes-of-person": (lambda c: c.put_person(purposes=["audit"]), Case.put_person, "", True),
    "readers-of-document": (
        lambda c: c.patch(readers=["user:owner"]),
        lambda c: c.patch(readers=list(c.readers)),
        "",
        True,
    ),
    "denied-by-document": (lambda c: c.patch(denied=[c.person]), lambda c: c.patch(denied=[]), "", True),
    "group-denied-by-document": (
        lambda c: c.patch(denied=[f"group:{c.name}-branch"]),
        lambda c: c.patch(denied=[]),
        "",
        True,
    ),
    "label-raised": (
        lambda c: c.patch(label={"level": "restricted", "categories": ["pii"]}),
        lambda c: c.patch(label={"level": "confidential", "categories": ["pii"]}, reason="a test"),
        "",
        True,
    ),
    "category-added-to-label": (
        lambda c: c.patch(label={"level": "confidential", "categories": ["pii", "phi"]}),
        lambda c: c.patch(label={"level": "confidential", "categories": ["pii"]}, reason="a test"),
        "",
        True,
    ),
    "purposes-of-document": (lambda c: c.patch(purposes=["audit"]), lambda c: c.patch(purposes=[]), "", True),
    "document-expired": (
        lambda c: c.patch(valid_from="2020-01-01", valid_to="2021-01-01"),
        lambda c: c.patch(valid_to=None),
        "",
        True,
    ),
    "document-embargoed": (
        lambda c: c.patch(valid_from="2120-01-01"),
        lambda c: c.patch(valid_from="2020-01-01"),
        "",
        True,
    ),
    "withdrawn": (Case.withdraw, Case.publish, "", True),
    "default-readers-of-collection": (
        lambda c: c.put_collection(default_readers=["user:owner"]),
        Case.put_collection,
        "",
        False,
    ),
    "purposes-of-collection": (lambda c: c.put_collection(purposes=["audit"]), Case.put_collection, "", False),
    "jurisdictions-of-collection": (lambda c: c.put_collection(jurisdictions=["US"]), Case.put_collection, "", False),
    "key-revoked": (lambda c: c.revoke_key(c.person), lambda c: c.issue_key(c.person), "", True),
    "key-of-person-revoked-behind-assistant": (
        lambda c: c.revoke_key(c.person),
        lambda c: c.issue_key(c.person),
        "proven",
        True,
    ),
    "key-of-assistant-revoked": (
        lambda c: c.revoke_key(c.assistant),
        lambda c: c.issue_key(c.assistant),
        "proven",
        True,
    ),
    "assistant-deactivated": (lambda c: c.put_assistant(active=False), Case.put_assistant, "proven", True),
    "clearance-of-assistant-lowered": (
        lambda c: c.put_assistant(clearance="internal"),
        Case.put_assistant,
        "asserted",
        True,
    ),
    "category-of-assistant-removed": (lambda c: c.put_assistant(categories=[]), Case.put_assistant, "proven", True),
    "collections-of-assistant": (
        lambda c: c.put_assistant(collections=["elsewhere"]),
        Case.put_assistant,
        "proven",
        True,
    ),
    "purposes-of-assistant": (lambda c: c.put_assistant(purposes=["audit"]), Case.put_assistant, "asserted", True),
    "word-of-assistant-not-taken": (
        lambda c: c.put_assistant(may_assert=False),
        Case.put_assistant,
        "asserted",
        True,
    ),
}


@pytest.mark.parametrize("name", _NARROWINGS)
def test_narrowing_takes_content_away_from_every_response_that_starts_after_it(served: Muniment, name: str) -> None:
    narrow, widen, through, names_readers = _NARROWINGS[name]
    readers = (f"group:{name}-branch",) if names_readers else ()
    case = Case(served=served, name=name, through=through, readers=readers)
    case.lay_down()
    case.find()
    onlookers = Onlookers(case)
    with onlookers.looking():
        for _ in range(ROUNDS):
            onlookers.wait_until_shown_everywhere()
            narrow(case)
            returned = time.monotonic()
            seen = onlookers.since(returned)
            assert [each for each in seen if each.shown] == []
            assert {each.status for each in seen} <= {200, 401, 403, 404}
            widen(case)
            case.find()
        onlookers.wait_until_shown_everywhere()


@pytest.mark.parametrize(
    ("narrow", "widen"),
    [
        (lambda c: c.patch(denied=[c.person]), lambda c: c.patch(denied=[])),
        (Case.withdraw, Case.publish),
        (lambda c: c.patch(valid_from="2020-01-01", valid_to="2021-01-01"), lambda c: c.patch(valid_to=None)),
    ],
    ids=["denied", "withdrawn", "expired"],
)
def test_narrowing_holds_while_the_index_does_not_know_of_it(
    served: Muniment, narrow: Change, widen: Change, request: pytest.FixtureRequest
) -> None:
    name = f"stale-{request.node.callspec.id}"
    case = Case(served=served, name=name, readers=(f"group:{name}-branch",))
    case.lay_down()
    case.find()
    index = served.process("index")
    with suspended(served.process("worker")), httpx.Client() as client:  # it would tell the index once that is back
        with suspended(index):
            started = time.monotonic()
            narrow(case)
            assert time.monotonic() - started < PATIENCE_WITH_A_STUCK_INDEX_S
            assert case.ask("retrieve", client).status_code == 503
            served.kill("index")  # while suspended: whatever it was sent since then is lost
        eventually(lambda: served.process("index") not in (None, index), "another index process")
        served.wait_until_ready()
        assert _holds_still(case)
        for address in case.addresses():
            for _ in range(AFTERWARDS):
                response = case.ask(address, client)
                assert response.status_code in (200, 404)
                assert not case.shows(response)
    eventually(lambda: not _holds_still(case), "the index told by the worker")
    widen(case)
    case.find()


def _holds_still(case: Case) -> bool:
    """Whether the index itself would give the document out, asked as of now for the boundary that it had."""
    engine = open_engine(case.served.database_url)
    with reading(engine) as session:
        first = session.execute(
            select(col(VersionBoundaryRow.boundary_id), col(ChunkRow.id))
            .join(VersionRow, col(VersionRow.id) == col(VersionBoundaryRow.version_id))
            .join(DocumentRow, col(DocumentRow.id) == col(VersionRow.document_id))
            .join(ChunkRow, col(ChunkRow.version_id) == col(VersionRow.id))
            .where(col(DocumentRow.public_id) == case.document)
            .order_by(col(VersionBoundaryRow.id))
        ).first()
    engine.dispose()
    assert first
    index = ProcessIndex(
        case.served.home / "run" / "index.sock", secret(case.served.home, "index"), patience_s=PATIENCE_S
    )
    found = index.search(
        IndexQuery(
            dense=None,
            lexical=SnowballAnalyzer().query(case.secret),
            boundaries=frozenset({BoundaryId(first[0])}),
            valid_at=now(),
            known_at=now(),
            depth=10,
        )
    )
    index.close()
    return ChunkId(first[1] or 0) in {hit.chunk for hit in found.lexical}
