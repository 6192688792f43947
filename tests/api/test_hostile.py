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
TRANSFER = {"from": "EU", "to": "CH", "basis": "adequacy", "evidence": "Made up.", "reason": "Mine."}
EVERYTHING = '@id("mine") @reason("It is all mine.") permit (principal, action, resource);'
CEDAR = {"cedar": EVERYTHING}
MINE = {**CEDAR, "reason": "It is all mine."}
ABOUT_KEEPER: dict[str, Any] = {"subject": {"type": "user", "id": "keeper"}, "action": {"name": "read"}}
THE_SECRET = {"resource": {"type": "document", "id": "{secret}"}}
PROVISIONING = "POST /scim/v2/Groups"
"""It is not in the OpenAPI document: another specification describes it."""
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
    Attempt(
        route="PUT /v1/purposes/{id}",
        path="/v1/purposes/mine",
        body={"title": "Mine", "owner": "{me}"},
        who=(ADMINISTRATOR,),
    ),
    Attempt(route="PUT /v1/purposes/{id}", path="/v1/purposes/mine", body={"title": "Mine"}, who=HOSTILE[1:]),
    Attempt(route="DELETE /v1/purposes/{id}", path="/v1/purposes/none"),
    Attempt(
        route="PUT /v1/jurisdictions/{id}",
        path="/v1/jurisdictions/CH",
        body={"title": "Switzerland", "within": ["EU"]},
    ),
    Attempt(route="DELETE /v1/jurisdictions/{id}", path="/v1/jurisdictions/EU", who=HOSTILE[1:]),
    Attempt(route="PUT /v1/transfers", path="/v1/transfers", body=TRANSFER),
    Attempt(
        route="PUT /v1/transfers",
        path="/v1/transfers",
        body={**TRANSFER, "valid_from": "2990-01-01", "expires_at": "2999-01-01"},
    ),
    Attempt(route="POST /v1/transfers/{id}/withdraw", path="/v1/transfers/trf_x/withdraw", body={"reason": "Mine."}),
    Attempt(
        route="POST /v1/consents",
        path="/v1/consents",
        body={"client": "TM-1", "purpose": "research", "jurisdictions": ["CH"], "evidence": {"text": "Made up."}},
    ),
    Attempt(route="POST /v1/consents/{id}/withdraw", path="/v1/consents/con_x/withdraw", body={"reason": "Mine."}),
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
    # ---- what decides
    Attempt(
        route="POST /v1/principals/{kind}/{id}/keys/{key_id}/rotate",
        path="/v1/principals/user/keeper/keys/key_1/rotate",
        body={},
    ),
    Attempt(route="POST /v1/policies", path="/v1/policies", body=MINE, who=HOSTILE[1:]),  # drafting opens nothing
    Attempt(route="POST /v1/policies/validate", path="/v1/policies/validate", body=CEDAR, who=HOSTILE[1:]),
    Attempt(route="POST /v1/policies/simulate", path="/v1/policies/simulate", body=CEDAR, who=HOSTILE[1:]),
    Attempt(
        route="POST /v1/policies/explain",
        path="/v1/policies/explain",
        body={"subject": "user:keeper", "action": "read", "resource": {"document": "{secret}"}},
    ),
    Attempt(
        route="PUT /v1/policies/tests",
        path="/v1/policies/tests",
        body={"tables": {}, "reason": "Mine."},
        who=HOSTILE[1:],
    ),
    Attempt(route="POST /v1/policies/{id}/test", path="/v1/policies/{draft}/test", body={}, who=HOSTILE[1:]),
    Attempt(route="POST /v1/policies/{id}/approve", path="/v1/policies/{draft}/approve", body={"digest": "{digest}"}),
    Attempt(route="POST /v1/policies/{id}/activate", path="/v1/policies/{draft}/activate", body={"reason": "Mine."}),
    Attempt(
        route="POST /v1/policies/rollback", path="/v1/policies/rollback", body={"reason": "Mine."}, who=HOSTILE[1:]
    ),
    Attempt(route="DELETE /v1/policies/{id}", path="/v1/policies/{draft}", who=HOSTILE[1:]),
    # ---- asking as somebody who may read it
    Attempt(
        route="PUT /v1/collections/{name}/questions/{id}",
        path="/v1/collections/vault/questions/q",
        body={"question": QUESTION, "who": "user:keeper", "expects": [{"document_id": "{secret}"}]},
    ),
    Attempt(route="DELETE /v1/collections/{name}/questions/{id}", path="/v1/collections/vault/questions/q"),
    Attempt(route="POST /v1/collections/{name}/evaluations", path="/v1/collections/vault/evaluations"),
    # ---- the ways round
    Attempt(
        route="POST /v1/break-glass",
        path="/v1/break-glass",
        body={"collections": ["vault"], "minutes": 5, "reason": "I want to.", "ticket": "INC-1"},
    ),
    Attempt(route="DELETE /v1/break-glass/{id}", path="/v1/break-glass/grant_1"),
    Attempt(
        route="POST /v1/escalations",
        path="/v1/escalations",
        body={"kind": "request-access", "collection": "vault", "minutes": 5, "reason": "I want to."},
    ),
    Attempt(
        route="POST /v1/escalations",
        path="/v1/escalations",
        body={"kind": "dispute-label", "document": "{secret}", "reason": "I want to."},
    ),
    Attempt(
        route="POST /v1/escalations/{id}/decision",
        path="/v1/escalations/{escalation}/decision",
        body={"decision": "approve", "minutes": 5, "reason": "I want to."},
    ),
    Attempt(route="POST /v1/escalations/{id}/ask-again", path="/v1/escalations/{escalation}/ask-again"),
    Attempt(route="DELETE /v1/grants/{id}", path="/v1/grants/grant_1"),
    Attempt(
        route="PUT /v1/webhooks/{name}",
        path="/v1/webhooks/mine",
        body={"url": "https://example.org/", "recipients": ["group:keepers"], "events": ["escalation-opened"]},
        who=HOSTILE[1:],
    ),
    Attempt(route="DELETE /v1/webhooks/{name}", path="/v1/webhooks/mine"),
    Attempt(route="POST /v1/index/generations", path="/v1/index/generations", who=HOSTILE[1:]),
    # ---- as if for another application, or another directory
    Attempt(route="POST /access/v1/evaluation", path="/access/v1/evaluation", body={**ABOUT_KEEPER, **THE_SECRET}),
    Attempt(
        route="POST /access/v1/evaluations",
        path="/access/v1/evaluations",
        body={**ABOUT_KEEPER, "evaluations": [THE_SECRET]},
    ),
    Attempt(
        route="POST /access/v1/search/subject",
        path="/access/v1/search/subject",
        body={"subject": {"type": "user"}, "action": {"name": "read"}, **THE_SECRET},
    ),
    Attempt(
        route="POST /access/v1/search/resource",
        path="/access/v1/search/resource",
        body={**ABOUT_KEEPER, "resource": {"type": "document"}},
    ),
    Attempt(
        route="POST /access/v1/search/action",
        path="/access/v1/search/action",
        body={"subject": ABOUT_KEEPER["subject"], **THE_SECRET},
    ),
    Attempt(
        route=PROVISIONING,
        path="/scim/v2/Groups",
        body={"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "auditors"},
    ),
    # ---- the question
    Attempt(
        route="POST /v1/retrieve",
        path="/v1/retrieve",
        body={"query": QUESTION},
        headers={"Muniment-On-Behalf-Of": "user:keeper"},
    ),
    Attempt(
        route="POST /v1/answer",
        path="/v1/answer",
        body={"query": QUESTION, "stream": True},
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
    assert routes == {attempt.route for attempt in ATTEMPTS} - {PROVISIONING}


@pytest.mark.parametrize("who", HOSTILE)
def test_nobody_opens_anything_to_themselves(run: Running, who: str) -> None:
    words = _founded(run)
    kind, _, name = who.partition(":")
    words |= {"{me}": who, "{kind}": kind, "{name}": name}
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
        assert _last_on_record(run, who) == ("refusal", path), told
        assert _sees(run, who, words["{secret}"]) == [], told
    assert run.found("user:keeper", QUESTION, purpose=None) == ["combination"]


def _founded(run: Running) -> dict[str, str]:
    """A vault with one document that none of the hostile may read, a place of its own for the owner, and a policy set
    that the administrator drafted. Returns what they are called by."""
    for group in ("group:keepers", "group:outsiders"):
        run.put_principal(group)
    run.put_principal(
        "user:keeper", groups=["group:keepers"], clearance="restricted", categories=["pii"], jurisdictions=["EU"]
    )
    run.put_principal("user:auditor", groups=["group:auditors"])
    run.put_principal(ADMINISTRATOR, groups=["group:administrators", "group:outsiders"], jurisdictions=["CH"])
    run.admin("PUT", "/v1/jurisdictions/EU", {"title": "European Union"})
    run.put_purpose("research")
    run.put_principal(OWNER, groups=["group:outsiders"])
    run.put_principal(ASSISTANT, groups=["group:outsiders"])
    run.put_principal(USER, groups=["group:outsiders"])
    run.put_collection("vault", owners=["group:keepers"], default_label={"level": "confidential"})
    run.put_collection("notes", owners=[OWNER])
    secret = run.publish("user:keeper", "vault", SECRET, uri="combination", jurisdictions=["EU"])
    bound = {"jurisdictions": ["EU"], "consents": ["client:TM-1"]}
    run.publish("user:keeper", "vault", "Quarterly premiums.", uri="tm-1", readers=["group:outsiders"], **bound)
    run.request("PUT", "/v1/collections/vault/sources/feed", "user:keeper", json=SOURCE)
    job = run.request("GET", "/v1/jobs?collection=vault", "user:keeper").json()["jobs"][0]["id"]
    draft = run.request("POST", "/v1/policies", ADMINISTRATOR, json=MINE).json()
    asked = {"kind": "ask", "reason": "May I share it?", "collection": "vault"}
    escalation = run.request("POST", "/v1/escalations", "user:keeper", json=asked).json()["id"]
    return {
        "{secret}": secret,
        "{job}": job,
        "{escalation}": escalation,
        "{draft}": draft["id"],
        "{digest}": draft["digest"],
    }


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


def _last_on_record(run: Running, who: str) -> tuple[str, str]:
    """What an auditor is told was tried last by somebody: the kind of its trace, and where they knocked."""
    traces = run.request("GET", "/v1/traces?limit=20", "user:auditor").json()["traces"]
    last = next(trace for trace in traces if trace["subject"] == who)
    return last["kind"], last["request"].get("path", "")
