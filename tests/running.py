"""Muniment running inside a test's process on real parts: a real database, index, model, parser, policies and files.

Only the processes are missing: the worker's steps are run by `Running.work`, and requests go to the app without a
socket. What needs real processes is in tests/e2e.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy.engine import Engine
from starlette.routing import BaseRoute

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.adapters.fsspec_blobs import FsspecBlobs
from app.adapters.personal_data import PII, PersonalData
from app.adapters.secrets import SECRET, Secrets
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.bootstrap import new_id, now
from app.domain.memo import Memo
from app.operations import erase
from app.operations.prepare import ensure_administrator_key, prepare
from app.ports import Embedder, Index, Ports, Tokenizer
from app.server import create_app
from app.store import jobs
from app.store.database import writing
from ingest import pipeline, runs
from ingest.ports import Parser

PEPPER = b"a pepper for tests, of 32 bytes.."
ADMINISTRATOR_KEY = "the administrator's key in tests, longer than 32 characters"


@dataclass(kw_only=True)
class Running:
    """The app over its ports, with the keys that were given out."""

    ports: Ports
    client: TestClient
    parser: Parser
    readers: ThreadPoolExecutor
    folder: Path
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def places(self) -> Path:
        """The folder that sources may fetch from."""
        return self.folder / "places"

    def request(self, method: str, path: str, who: str, *, acting_for: str | None = None, **rest: Any) -> Response:
        """One request with the key of `who` (`user:ana`, `assistant:x`, `admin`), for somebody else if stated."""
        headers = {"Authorization": f"Bearer {self.key(who)}", **rest.pop("headers", {})}
        if acting_for is not None:
            headers["Muniment-On-Behalf-Of"] = acting_for
        return self.client.request(method, path, headers=headers, **rest)

    def key(self, who: str) -> str:
        """The API key of a principal, issued when it is first needed."""
        if who == "admin":
            return ADMINISTRATOR_KEY
        if who not in self.keys:
            issued = self.admin("POST", f"/v1/principals/{who.replace(':', '/', 1)}/keys")
            self.keys[who] = issued["key"]
        return self.keys[who]

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """What the administrator gets; it must succeed."""
        response = self.request(method, path, "admin", json=body)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def put_principal(self, ref: str, **body: Any) -> None:
        self.admin("PUT", f"/v1/principals/{ref.replace(':', '/', 1)}", body)

    def put_collection(self, name: str, **body: Any) -> None:
        """By default what nobody labels in it is internal; say `default_label=None` to leave that unsaid."""
        self.admin("PUT", f"/v1/collections/{name}", {"title": name, "default_label": {"level": "internal"}, **body})

    def put_purpose(self, name: str) -> None:
        self.admin("PUT", f"/v1/purposes/{name}", {"title": name})

    def submit(self, who: str, collection: str, text: str, **metadata: Any) -> Response:
        """Markdown text as a document; `work` publishes it."""
        body = {"text": text, "media_type": "text/markdown", "metadata": metadata}
        return self.request("POST", f"/v1/collections/{collection}/documents", who, json=body)

    def submit_file(self, who: str, collection: str, content: bytes, filename: str, **metadata: Any) -> Response:
        return self.request(
            "POST",
            f"/v1/collections/{collection}/documents",
            who,
            files={"file": (filename, content)},
            data={"metadata": json.dumps(metadata)},
        )

    def publish(self, who: str, collection: str, text: str, **metadata: Any) -> str:
        """Submit Markdown text and publish it; returns the document's id."""
        response = self.submit(who, collection, text, **metadata)
        assert response.status_code in (200, 202), response.text
        self.work()
        return str(response.json()["document"]["id"])

    def work(self) -> None:
        """Run the worker's steps until no run of a source and no job is left."""
        while (claimed := runs.claim_next(self.ports, "test")) is not None:
            runs.carry_out(self.ports, *claimed, self.folder / "sources", self._meanwhile)
        self._work_off_jobs()
        runs.finish_runs(self.ports)

    def _meanwhile(self, seconds: float) -> None:
        """What goes on beside a run that waits: no time passes here."""
        if seconds:
            self._work_off_jobs()

    def _work_off_jobs(self) -> None:
        while True:
            batch = f"test:{new_id()}"
            with writing(self.ports.engine) as session:
                claimed = jobs.claim(session, batch, max_jobs=32)
            if not claimed:
                erase.carry_on(self.ports, "test")
                return
            pipeline.stage_batch(self.ports, self.parser, self.readers, batch)
            pipeline.embed_batch(self.ports, batch)
            pipeline.index_batch(self.ports, batch)
            pipeline.publish_batch(self.ports, batch)
            pipeline.place_batch(self.ports, batch)

    def retrieve(self, who: str, query: str, *, acting_for: str | None = None, **rest: Any) -> dict[str, Any]:
        """The answer to a question; it must be 200."""
        response = self.request("POST", "/v1/retrieve", who, acting_for=acting_for, json={"query": query, **rest})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def found(self, who: str, query: str, **rest: Any) -> list[str]:
        """The uris that an answer cites, each once, in order."""
        passages = self.retrieve(who, query, **rest)["passages"]
        return list(dict.fromkeys(passage["citation"]["uri"] for passage in passages))


def app_on(ports: Ports) -> FastAPI:
    """The app over these ports, with the routers of the first one: each works its routes out at its first request."""
    app = create_app(ports)
    app.router.routes[:] = [_first_of(route) for route in app.router.routes]
    return app


_first_included: dict[int, BaseRoute] = {}


def _first_of(route: BaseRoute) -> BaseRoute:
    """Of a router that is included, what was first included: it holds nothing of its app's. Others as they are."""
    router = getattr(route, "original_router", None)
    return route if router is None else _first_included.setdefault(id(router), route)


@contextmanager
def running(
    engine: Engine, index: Index, folder: Path, *, embedder: Embedder, tokenizer: Tokenizer, parser: Parser
) -> Iterator[Running]:
    """Muniment over this database and index, prepared, with the administrator's key in place."""
    with ExitStack() as opened:
        prepare(engine, default_policies=default_policies(), now=now())
        ensure_administrator_key(engine, configured=ADMINISTRATOR_KEY, generated="", pepper=PEPPER, now=now())
        ports = Ports(
            engine=engine,
            index=index,
            embedder=embedder,
            tokenizer=tokenizer,
            analyzer=SnowballAnalyzer(),
            policy_engine=CedarPolicyEngine(),
            blobs=FsspecBlobs(f"file://{folder / 'blobs'}"),
            memo=Memo(),
            pepper=PEPPER,
            now=now,
            new_id=new_id,
            redactors={PII: PersonalData(), SECRET: Secrets()},
            source_locations=(str(folder / "places"),),
        )
        client = opened.enter_context(TestClient(app_on(ports), raise_server_exceptions=False))
        readers = opened.enter_context(ThreadPoolExecutor(2))
        yield Running(ports=ports, client=client, parser=parser, readers=readers, folder=folder)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The institution of fixtures/, put into a running Muniment: who there is, and what was submitted."""

    running: Running
    institution: dict[str, Any]

    @property
    def uris(self) -> dict[str, str]:
        """Each document's collection by its uri."""
        return {each["metadata"]["uri"]: each["collection"] for each in self.institution["documents"]}


def founded(running: Running, institution: dict[str, Any], corpora: Path) -> Golden:
    """Lay down registers, principals and collections, then submit every document as an owner of its collection."""
    for jurisdiction, body in institution["jurisdictions"].items():
        running.admin("PUT", f"/v1/jurisdictions/{jurisdiction}", body)
    for purpose, body in institution["purposes"].items():
        running.admin("PUT", f"/v1/purposes/{purpose}", {**body, "owner": None})
    ceilings = {ref: body for ref, body in institution["principals"].items() if body.get("collections")}
    for ref, body in institution["principals"].items():
        running.put_principal(ref, **{name: value for name, value in body.items() if name != "collections"})
    for purpose, body in institution["purposes"].items():
        running.admin("PUT", f"/v1/purposes/{purpose}", body)
    for rule in institution["transfers"]:
        running.admin("PUT", "/v1/transfers", rule)
    for name, body in institution["collections"].items():
        running.admin("PUT", f"/v1/collections/{name}", body)
    for ref, body in ceilings.items():
        running.put_principal(ref, **body)
    running.put_principal(CURATOR, groups=sorted({o for c in institution["collections"].values() for o in c["owners"]}))
    for each in institution["documents"]:
        file = corpora / each["file"]
        response = running.submit_file(CURATOR, each["collection"], file.read_bytes(), file.name, **each["metadata"])
        assert response.status_code == 202, response.text
    running.work()
    return Golden(running=running, institution=institution)


CURATOR = "user:corpus-curator"
"""In every owning group, so that the corpus can be put in; asks nothing."""
