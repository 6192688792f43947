"""A hostile administrator, owner, assistant and user each try to open to themselves what is closed to them.

Every route that changes anything is tried, with the most that it could give: a route that is not in `ATTEMPTS` is a
test that fails. After each attempt nobody sees more than before, and whoever tried it is on record.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.running import Running

SECRET = "The vault's combination is seven, nineteen, thirty-two."
QUESTION = "What is the combination of the vault?"

ADMINISTRATOR, OWNER, ASSISTANT, USER = "user:mallory", "user:owen", "assistant:bot", "user:una"
HOSTILE = (ADMINISTRATOR, OWNER, ASSISTANT, USER)
ALL_OF_IT = {
    "groups": ["group:keepers"],
    "clearance": "restricted",
    "categories": ["pii"],
    "jurisdictions": ["EU"],
    "may_assert": True,
}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`{me}` is whoever tries, `{secret}` the document that is closed to it."""

    route: str
    path: str
    body: Any = None
    who: tuple[str, ...] = HOSTILE
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]


OPENED: dict[str, Any] = {
    "label": {"level": "public"},
    "readers": ["{me}"],
    "denied": [],
    "jurisdictions": [],
    "purposes": [],
    "reason": "It is mine.",
}
OPENED_NOW = {name: value for name, value in OPENED.items() if name != "reason"}
VAULT = {
    "title": "Vault",
    "owners": ["group:keepers", "{me}"],
    "default_label": {"level": "public"},
    "default_readers": ["{me}"],
}
SOURCE = {"connector": "push", "namespace": "corp"}

ATTEMPTS = [
    # ---- oneself
    Attempt(route="PUT /v1/principals/{kind}/{id}", path="/v1/principals/{kind}/{name}", body=ALL_OF_IT),
    Attempt(
        route="PUT /v1/principals/{kind}/{id}",
        path="/v1/principals/group/outsiders",
        body={"groups": ["group:keepers"]},
    ),
    Attempt(
        route="POST /v1/principals/{kind}/{id}/keys",
        path="/v1/principals/user/keeper/keys",
        who=(OWNER, ASSISTANT, USER),
    ),
    Attempt(
        route="DELETE /v1/principals/{kind}/{id}/keys/{key_id}",
        path="/v1/principals/user/keeper/keys/key_1",
    ),
    # ---- what is laid down
    Attempt(route="PUT /v1/collections/{name}", path="/v1/collections/vault", body=VAULT),
    Attempt(
        route="PUT /v1/collections/{name}",
        path="/v1/collections/vault",
        body={**VAULT, "owners": ["group:keepers"], "default_readers": ["group:outsiders"]},
    ),
    Attempt(route="PUT /v1/purposes/{id}", path="/v1/purposes/mine", body={"title": "Mine"}, who=HOSTILE[1:]),
    Attempt(
        route="PUT /v1/identities/{namespace}",
        path="/v1/identities/corp",
        body={"identities": [{"kind": "user", "value": "keeper@example.org", "principal": "{me}"}]},
    ),
    # ---- the document
    Attempt(route="PATCH /v1/documents/{id}", path="/v1/documents/{secret}", body=OPENED),
    Attempt(
        route="POST /v1/collections/{name}/documents/amend",
        path="/v1/collections/vault/documents/amend",
        body={"documents": ["{secret}"], **OPENED_NOW},
    ),
    Attempt(
        route="PATCH /v1/documents/{id}/versions/{n}",
        path="/v1/documents/{secret}/versions/1",
        body={"valid_from": "2020-01-01", "reason": "It was."},
    ),
    Attempt(
        route="POST /v1/collections/{name}/documents",
        path="/v1/collections/vault/documents",
        body={"text": "Mine.", "media_type": "text/plain", "metadata": {"uri": "combination", "readers": ["{me}"]}},
    ),
    Attempt(route="POST /v1/documents/{id}/withdraw", path="/v1/documents/{secret}/withdraw", body={"reason": "Gone."}),
    Attempt(
        route="POST /v1/documents/{id}/rollback", path="/v1/documents/{secret}/rollback", body={"to": 1, "reason": "x"}
    ),
    Attempt(
        route="POST /v1/documents/{id}/supersede",
        path="/v1/documents/{secret}/supersede",
        body={"by": "{secret}"},
    ),
    Attempt(route="POST /v1/documents/{id}/reviewed", path="/v1/documents/{secret}/reviewed", body={}),
    Attempt(route="POST /v1/documents/{id}/erase", path="/v1/documents/{secret}/erase", body={"reason": "Gone."}),
    # ---- its collection
    Attempt(
        route="PUT /v1/collections/{name}/label-rules",
        path="/v1/collections/vault/label-rules",
        body={"rules": []},
    ),
    Attempt(
        route="POST /v1/collections/{name}/label-rules/preview",
        path="/v1/collections/vault/label-rules/preview",
        body={"rules": []},
    ),
    Attempt(
        route="PUT /v1/collections/{name}/retention",
        path="/v1/collections/vault/retention",
        body={"rules": []},
    ),
    Attempt(
        route="POST /v1/collections/{name}/retention/run",
        path="/v1/collections/vault/retention/run",
        body={"dry_run": True},
    ),
    Attempt(
        route="PUT /v1/collections/{name}/sources/{source}", path="/v1/collections/vault/sources/mine", body=SOURCE
    ),
    Attempt(route="DELETE /v1/collections/{name}/sources/{source}", path="/v1/collections/vault/sources/feed"),
    Attempt(route="POST /v1/collections/{name}/sources/{source}/run", path="/v1/collections/vault/sources/feed/run"),
    Attempt(
        route="POST /v1/collections/{name}/sources/{source}/runs/{run}/cancel",
        path="/v1/collections/vault/sources/feed/runs/run_1/cancel",
    ),
    Attempt(
        route="POST /v1/collections/{name}/sources/{source}/push",
        path="/v1/collections/vault/sources/feed/push",
        body={"items": []},
    ),
    Attempt(
        route="POST /v1/holds",
        path="/v1/holds",
        body={"title": "Mine", "documents": ["{secret}"], "reason": "Held."},
        who=HOSTILE[1:],  # an administrator may, and learns nothing by it
    ),
    Attempt(route="POST /v1/holds/{id}/release", path="/v1/holds/hold_1/release", body={"reason": "Mine."}),
    Attempt(route="POST /v1/erasures/{id}/readmit", path="/v1/erasures/era_1/readmit", body={"reason": "Mine."}),
    Attempt(route="POST /v1/jobs/{id}/cancel", path="/v1/jobs/{job}/cancel"),
    Attempt(route="POST /v1/jobs/{id}/retry", path="/v1/jobs/{job}/retry"),
    # ---- people who could be asked
    Attempt(
        route="POST /v1/escalations",
        path="/v1/escalations",
        body={"kind": "request-access", "collection": "vault", "reason": "Mine."},
    ),
    Attempt(
        route="POST /v1/escalations",
        path="/v1/escalations",
        body={"kind": "dispute-label", "document": "{secret}", "reason": "Mine."},
    ),
    Attempt(
        route="POST /v1/escalations/{id}/decision",
        path="/v1/escalations/{escalation}/decision",
        body={"decision": "approve", "minutes": 5, "reason": "Mine."},
    ),
    Attempt(route="POST /v1/escalations/{id}/ask-again", path="/v1/escalations/{escalation}/ask-again"),
    Attempt(route="DELETE /v1/grants/{id}", path="/v1/grants/gr_1"),
    Attempt(
        route="PUT /v1/webhooks/{name}",
        path="/v1/webhooks/mine",
        body={"url": "https://mine.example/", "recipients": ["group:keepers"], "events": ["escalation-opened"]},
    ),
    Attempt(route="DELETE /v1/webhooks/{name}", path="/v1/webhooks/mine"),
    # ---- the question
    Attempt(
        route="POST /v1/retrieve",
        path="/v1/retrieve",
        body={"query": QUESTION},
        headers={"Muniment-On-Behalf-Of": "user:keeper"},
    ),
]


def test_every_route_that_changes_anything_is_tried(run: Running) -> None:
    document = run.client.get("/openapi.json").json()
    routes = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
        if method != "get"
    }
    assert routes == {attempt.route for attempt in ATTEMPTS}


@pytest.mark.parametrize("who", HOSTILE)
def test_nobody_opens_anything_to_themselves(run: Running, who: str) -> None:
    secret, job = _founded(run)
    kind, _, name = who.partition(":")
    asked = {"kind": "ask", "reason": "May I share it?", "collection": "vault"}
    escalation = run.request("POST", "/v1/escalations", "user:keeper", json=asked).json()["id"]
    words = {"{escalation}": escalation, "{me}": who, "{secret}": secret, "{job}": job, "{kind}": kind, "{name}": name}
    for attempt in ATTEMPTS:
        if who not in attempt.who:
            continue
        path = str(_said(attempt.path, words))
        response = run.request(
            attempt.method, path, who, json=_said(attempt.body, words), headers=dict(attempt.headers)
        )
        told = (who, attempt.route, response.status_code, response.text[:300])
        assert response.status_code in (403, 404), told
        assert SECRET not in response.text, told
        assert _on_record(run, response.json()["trace_id"]) == ("refusal", who, path), told
        assert _sees(run, who, secret) == [], told
    assert run.found("user:keeper", QUESTION, purpose=None) == ["combination"]


def _founded(run: Running) -> tuple[str, str]:
    """A vault with one document that none of the hostile may read, and a place of its own for the owner."""
    for group in ("group:keepers", "group:outsiders"):
        run.put_principal(group)
    run.put_principal(
        "user:keeper", groups=["group:keepers"], clearance="restricted", categories=["pii"], jurisdictions=["EU"]
    )
    run.put_principal("user:auditor", groups=["group:auditors"])
    run.put_principal(ADMINISTRATOR, groups=["group:administrators", "group:outsiders"])
    run.put_principal(OWNER, groups=["group:outsiders"])
    run.put_principal(ASSISTANT, groups=["group:outsiders"])
    run.put_principal(USER, groups=["group:outsiders"])
    run.put_collection("vault", owners=["group:keepers"], default_label={"level": "confidential"})
    run.put_collection("notes", owners=[OWNER])
    secret = run.publish("user:keeper", "vault", SECRET, uri="combination", jurisdictions=["EU"])
    run.request("PUT", "/v1/collections/vault/sources/feed", "user:keeper", json=SOURCE)
    job = run.request("GET", "/v1/jobs?collection=vault", "user:keeper").json()["jobs"][0]["id"]
    return secret, job


def _said(value: Any, words: dict[str, str]) -> Any:
    """The same with every word in braces put in its place."""
    if isinstance(value, dict):
        return {name: _said(each, words) for name, each in value.items()}
    if isinstance(value, list):
        return [_said(each, words) for each in value]
    if isinstance(value, str):
        for word, means in words.items():
            value = value.replace(word, means)
    return value


def _sees(run: Running, who: str, secret: str) -> list[str]:
    """By which doors the document is open to somebody."""
    doors = {
        "retrieve": run.found(who, QUESTION),
        "get": run.request("GET", f"/v1/documents/{secret}", who).status_code == 200,
        "text": run.request("GET", f"/v1/documents/{secret}/versions/1/text", who).status_code == 200,
        "list": run.request("GET", "/v1/documents?collection=vault", who).json().get("documents", []),
    }
    return [door for door, found in doors.items() if found]


def _on_record(run: Running, trace_id: str) -> tuple[str, str, str]:
    """What an auditor is told of a trace: its kind, who it was, and where they knocked."""
    trace = run.request("GET", f"/v1/traces/{trace_id}", "user:auditor").json()
    return trace["kind"], trace["subject"], trace["request"]["path"]
