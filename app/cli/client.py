"""A Muniment server as one caller sees it. Whatever goes wrong is a sentence."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

import httpx

from app.cli.console import Failed

Json = dict[str, Any]
"""A JSON object of the API, as it came: the command line shows it and computes little with it."""

_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
_TRIES = 4
_MAX_PAUSE_S = 2.0
_LOOK_EVERY_S = 0.2
_AT_A_LOOK = 100
_ENDED = ("succeeded", "failed", "cancelled")


class Refused(Failed):
    """The server answered with a problem (RFC 9457)."""

    def __init__(self, status: int, sentence: str, kind: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is sent of a document."""

    content: bytes = field(repr=False)
    filename: str
    media_type: str | None
    metadata: Mapping[str, Any]


class Server:
    """Requests with one key, from several threads if need be. Every method raises `Refused` or `Failed`."""

    def __init__(self, url: str, key: str, *, on_behalf_of: str | None = None, trust_environment: bool = True) -> None:
        self.url = url.rstrip("/")
        self._trust_environment = trust_environment
        headers = {"Authorization": f"Bearer {key}", **_for(on_behalf_of)}
        try:
            self._client = httpx.Client(
                base_url=self.url, headers=headers, timeout=_TIMEOUT, trust_env=trust_environment
            )
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise Failed("MUNIMENT_URL or the key cannot be sent as it is written.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def with_key(self, key: str, *, on_behalf_of: str | None = None) -> "Server":
        """The same server to another caller."""
        return Server(self.url, key, on_behalf_of=on_behalf_of, trust_environment=self._trust_environment)

    def get(self, path: str, *, on_behalf_of: str | None = None) -> Json:
        return self.request("GET", path, headers=_for(on_behalf_of))

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        return self.request("PUT", path, json=body)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, subject_token: str | None = None) -> Json:
        headers = {"Muniment-Subject-Token": subject_token} if subject_token is not None else {}
        return self.request("POST", path, json=body, headers=headers)

    def delete(self, path: str) -> None:
        self.request("DELETE", path)

    def submit(self, collection: str, document: Document, *, on_behalf_of: str | None = None) -> Json:
        """The server's acknowledgement: once it is here, the document is durable."""
        return self.request(
            "POST",
            f"/v1/collections/{collection}/documents",
            files={
                "file": (document.filename, document.content, document.media_type or "application/octet-stream"),
                "metadata": (None, json.dumps(document.metadata), "application/json"),
            },
            headers=_for(on_behalf_of),
        )

    def ended(self, jobs: Mapping[str, str | None]) -> Iterator[Json]:
        """Each job once it is over, looked at on behalf of whom it is mapped to, if anybody.

        They end about in the order of their submission, so only the oldest of those that go on are looked at, many in
        one request.
        """
        waiting = list(jobs)
        while waiting:
            looked_at = waiting[:_AT_A_LOOK]
            over = {job["id"]: job for job in self._some_jobs(looked_at, jobs) if job["state"] in _ENDED}
            yield from over.values()
            waiting = [id for id in waiting if id not in over]
            if len(over) < len(looked_at):
                time.sleep(_LOOK_EVERY_S)

    def _some_jobs(self, ids: Sequence[str], persons: Mapping[str, str | None]) -> Iterator[Json]:
        for person in dict.fromkeys(persons[id] for id in ids):
            wanted = [id for id in ids if persons[id] == person]
            query = urlencode([("id", id) for id in wanted])
            found = self.get(f"/v1/jobs?{query}", on_behalf_of=person)["jobs"]
            if lost := set(wanted) - {job["id"] for job in found}:
                raise Failed(f"{len(lost)} of the jobs can no longer be followed with this key.")
            yield from found

    def request(self, method: str, path: str, **rest: Any) -> Json:
        """The answer's JSON, or {} where there is none. A server that is busy or starting is asked again.

        One that has as much as it takes at once is asked until it has room: it is working.
        """
        response = self._answer(method, path, **rest)
        if response.is_success and not response.content:
            return {}
        return self._json(response)

    def text(self, path: str, *, media_type: str = "text/plain") -> str:
        """The answer as text of that kind, from a route that gives it so."""
        response = self._answer("GET", path, headers={"Accept": media_type})
        if response.is_success and response.headers.get("content-type", "").startswith(media_type):
            return response.text
        self._json(response)
        raise Failed(f"What answers at {self.url} does not give this as text.")

    def _answer(self, method: str, path: str, **rest: Any) -> httpx.Response:
        tries = 1
        response = self._sent(method, path, **rest)
        while response.status_code == httpx.codes.TOO_MANY_REQUESTS or (
            response.status_code == httpx.codes.SERVICE_UNAVAILABLE and tries < _TRIES
        ):
            tries += response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            time.sleep(min(_seconds(response.headers.get("Retry-After")), _MAX_PAUSE_S))
            response = self._sent(method, path, **rest)
        return response

    def _json(self, response: httpx.Response) -> Json:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not (response.is_success or "detail" in body):
            raise Failed(f"What answers at {self.url} is not a Muniment server (status {response.status_code}).")
        if not response.is_success:
            raise Refused(response.status_code, sentence_of(body), str(body.get("type", "")).rpartition("/")[2] or None)
        return body

    def _sent(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **rest)
        except httpx.UnsupportedProtocol:
            raise Failed(f"{self.url} is no address: write it as http://127.0.0.1:8321.") from None
        except httpx.TimeoutException:
            raise Failed(f"The server at {self.url} does not answer in time.") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise Failed(
                f"The server at {self.url} cannot be reached. Is it running, and is that its address?"
            ) from None


def sentence_of(problem: Mapping[str, Any]) -> str:
    """A problem's detail, and each of its faults with where it is."""
    faults = [
        f"{fault['pointer'].lstrip('/')}: {fault['detail']}" if fault.get("pointer") else fault["detail"]
        for fault in problem.get("errors") or []
    ]
    return " ".join([problem["detail"], *faults])


def _for(person: str | None) -> dict[str, str]:
    return {} if person is None else {"Muniment-On-Behalf-Of": person}


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else 1.0
