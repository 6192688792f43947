"""Hidden and absent look the same: for what somebody may not see, and for what never was, the same bytes."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from httpx import Response

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.refusals import refusal
from tests.api.started import started
from tests.running import Running

SECRET = "Saltmarsh"
"""In the text, title and uri of everything that is hidden, and nowhere else."""

CONTENT = "Castellan"
"""In the text of everything that is hidden, and nowhere else."""

QUESTION = "Which two societies join in a fusion, and who books a train?"
"""Matches what is hidden, in words that are in the question alone."""

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

ABSENT = {
    "document": "doc_" + "a" * 26,
    "job": "job_" + "a" * 26,
    "citation": "cit_" + "a" * 32,
    "trace": "tr_" + "a" * 26,
}


@dataclass(frozen=True, kw_only=True)
class House:
    """Muniment with three collections: `open` to all staff, `known` of but closed, `shut` unknown."""

    run: Running
    visible: str
    documents: dict[str, str]
    """Hidden documents, by why they are."""
    jobs: dict[str, str]
    citation: str
    trace: str

    def told(self, who: str, method: str, path: str, *, instead_of: str, **rest: Any) -> tuple[int, Any, bytes]:
        """Status, headers and body of the answer to `who`, with `instead_of` (what was asked about) masked."""
        through, _, person = who.partition(" for ")
        response = self.run.request(method, path, through, acting_for=person or None, **rest)
        masked = response.content.replace(instead_of.encode(), b"<asked about>")
        if response.headers["content-type"].endswith("json") and b'"trace_id"' in masked:
            masked = masked.replace(response.json()["trace_id"].encode(), b"<trace>")
        return response.status_code, sorted(response.headers.multi_items()), masked


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[House]:
    with started(tmp_path_factory.mktemp("hidden"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        yield _furnished(run)


def _furnished(run: Running) -> House:
    run.put_purpose("legal-review")
    run.put_principal("group:owners")
    run.put_principal("user:olga", groups=["group:owners"], clearance="restricted", categories=["pii"])
    run.put_principal("user:ana")
    run.put_principal("user:piet", groups=["group:administrators"])
    run.put_principal("user:sunniva", groups=["group:auditors"])
    run.put_principal("assistant:herald", may_assert=True, clearance="restricted", categories=["pii"])
    staff = {"owners": ["group:owners"], "default_readers": ["group:all-staff"]}
    run.put_collection("open", **staff, discoverable=True)
    run.put_collection("known", owners=["group:owners"], discoverable=True)
    run.put_collection("shut", owners=["group:owners"])

    def put(collection: str, why: str, **metadata: Any) -> str:
        text = f"# {SECRET} {why}\n{CONTENT} joins two societies in a fusion."
        return str(run.submit("user:olga", collection, text, **metadata).json()["document"]["id"])

    travel = run.submit("user:olga", "open", "# Travel\nBook a train 14 days ahead.", uri="travel")
    run.submit("user:olga", "open", f"# {SECRET}\nFrom 2090 on.", uri="travel", valid_from="2090-01-01")
    documents = {
        "in-a-hidden-collection": put("shut", "hidden", uri="saltmarsh/hidden"),
        "in-a-known-collection": put("known", "known", uri="saltmarsh/known"),
        "above-clearance": put("open", "label", uri="saltmarsh/label", label={"level": "restricted"}),
        "of-a-category-not-held": put("open", "category", uri="saltmarsh/category", label={"categories": ["pii"]}),
        "for-other-readers": put("open", "readers", uri="saltmarsh/readers", readers=["user:olga"]),
        "denied": put("open", "denied", uri="saltmarsh/denied", denied=["user:ana", "user:piet", "user:sunniva"]),
        "for-another-purpose": put("open", "purpose", uri="saltmarsh/purpose", purposes=["legal-review"]),
        "of-another-jurisdiction": put("open", "place", uri="saltmarsh/place", jurisdictions=["EU"]),
        "embargoed": put("open", "embargo", uri="saltmarsh/embargo", valid_from="2090-01-01"),
        "expired": put("open", "past", uri="saltmarsh/past", valid_from="2019-01-01", valid_to="2020-01-01"),
        "withdrawn": put("open", "withdrawn", uri="saltmarsh/withdrawn"),
    }
    run.work()
    withdrawn = {"json": {"reason": "wrong"}}
    run.request("POST", f"/v1/documents/{documents['withdrawn']}/withdraw", "user:olga", **withdrawn)
    answer = run.retrieve("user:olga", QUESTION, collections=["shut"])
    failed = run.submit("user:olga", "shut", f"%PDF-{SECRET}", uri="saltmarsh/failed")
    run.work()
    unpublished = run.submit("user:olga", "open", f"# {SECRET}", uri="saltmarsh/unpublished")
    documents["not-yet-published"] = unpublished.json()["document"]["id"]
    documents["never-published"] = failed.json()["document"]["id"]
    return House(
        run=run,
        visible=travel.json()["document"]["id"],
        documents=documents,
        jobs={"failed": failed.json()["job"]["id"], "queued": unpublished.json()["job"]["id"]},
        citation=answer["passages"][0]["citation"]["id"],
        trace=answer["trace_id"],
    )


ASKERS = ["user:ana", "user:piet", "admin", "assistant:herald", "assistant:herald for user:ana"]
"""None may see any of it. Auditors, who may know that it is there, are below."""

HIDDEN = [
    "in-a-hidden-collection",
    "in-a-known-collection",
    "above-clearance",
    "of-a-category-not-held",
    "for-other-readers",
    "denied",
    "for-another-purpose",
    "of-another-jurisdiction",
    "embargoed",
    "expired",
    "withdrawn",
    "not-yet-published",
    "never-published",
]

CONTENT_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/documents/{id}/versions/1/text", None),
    ("GET", "/v1/documents/{id}/versions/1/content", None),
    ("GET", "/v1/documents/{id}/text", None),
    ("GET", "/v1/documents/{id}/diff?from=1&to=1", None),
]
DOCUMENT_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/documents/{id}", None),
    ("GET", "/v1/documents/{id}/versions", None),
    ("GET", "/v1/documents/{id}/versions/1", None),
    ("GET", "/v1/documents/{id}/versions/2", None),
    *CONTENT_ROUTES,
    ("PATCH", "/v1/documents/{id}", {"readers": ["group:nobody"]}),
    ("PATCH", "/v1/documents/{id}", {"readers": ["user:ana"]}),
    ("PATCH", "/v1/documents/{id}", {"purposes": ["none"]}),
    ("PATCH", "/v1/documents/{id}", {"valid_to": "1970-01-01"}),
    ("PATCH", "/v1/documents/{id}", {"label": {"level": "public"}}),
    ("PATCH", "/v1/documents/{id}", {"label": {"level": "public"}, "reason": "because"}),
    ("PATCH", "/v1/documents/{id}", {}),
    ("GET", "/v1/documents/{id}/labels", None),
    ("POST", "/v1/documents/{id}/withdraw", {"reason": "because"}),
    ("POST", "/v1/documents/{id}/withdraw", {}),
    ("GET", "/v1/documents/{id}?as_of=2090-06-01", None),
    ("GET", "/v1/documents/{id}/versions/1?known_at=2090-06-01", None),
    ("GET", "/v1/documents/{id}/versions/1/periods", None),
    ("PATCH", "/v1/documents/{id}/versions/1", {"valid_to": "1970-01-01", "reason": "because"}),
    ("POST", "/v1/documents/{id}/rollback", {"to": 1, "reason": "because"}),
    ("POST", "/v1/documents/{id}/supersede", {"by": "doc_none"}),
    ("POST", "/v1/documents/{id}/reviewed", {}),
    ("GET", "/v1/documents/{id}/reviews", None),
    ("GET", "/v1/documents/{id}/versions/1/provenance?verify=true", None),
    ("GET", "/v1/documents/{id}/versions/1/provenance?format=prov-json", None),
    ("GET", "/v1/documents/{id}/duplicates", None),
    ("POST", "/v1/documents/{id}/erase", {"reason": "because"}),
    ("POST", "/v1/escalations", {"kind": "dispute-label", "document": "{id}", "reason": "because"}),
    ("POST", "/v1/escalations", {"kind": "ask", "document": "{id}", "collection": "open", "reason": "because"}),
]


@pytest.mark.parametrize("who", ["user:ana", "admin", "assistant:herald for user:ana"])
@pytest.mark.parametrize("why", HIDDEN)
def test_hidden_document_is_told_as_one_that_never_was(house: House, why: str, who: str) -> None:
    assert set(HIDDEN) == set(house.documents)
    _same_on_every_route(house, who, house.documents[why], DOCUMENT_ROUTES)


def _same_on_every_route(house: House, who: str, hidden: str, routes: list[tuple[str, str, Any]]) -> None:
    absent = ABSENT["document"]
    for method, path, body in routes:
        asked, never = (
            house.told(who, method, path.format(id=id), instead_of=id, json=_with_id(body, id))
            for id in (hidden, absent)
        )
        assert asked == never, (method, path, body)
        assert asked[0] in (404, 422), (method, path, body)


def _with_id(body: Any, id: str) -> Any:
    return {**body, "document": id} if body and "document" in body else body


@pytest.mark.parametrize("who", ["user:ana", "assistant:gate"])
@pytest.mark.parametrize("why", HIDDEN)
def test_decision_point_tells_of_a_hidden_document_as_of_one_that_never_was(house: House, why: str, who: str) -> None:
    house.run.put_principal("assistant:gate", groups=["group:enforcement-points"])

    def told(id: str, path: str, **body: Any) -> tuple[int, Any, bytes]:
        status, headers, content = house.told(who, "POST", f"/access/v1/{path}", instead_of=id, json=body)
        return status, [each for each in headers if each[0] != "muniment-trace"], content

    ana = {"type": "user", "id": "ana"}
    for action in ("read", "describe", "curate"):
        some = {"subject": ana, "action": {"name": action}}
        asked, never = (
            [
                told(id, "evaluation", **some, resource=resource),
                told(id, "evaluations", **some, evaluations=[{"resource": resource}]),
                told(id, "search/action", subject=ana, resource=resource),
                told(id, "search/subject", **some, resource=resource),
            ]
            for id in (house.documents[why], ABSENT["document"])
            for resource in ({"type": "document", "id": id},)
        )
        assert asked == never
        assert b'"decision":false' in asked[0][2]
        listed = told("-", "search/resource", **some, resource={"type": "document"})[2]
        assert house.documents[why].encode() not in listed


def test_what_was_asked_to_be_changed_by_strangers_is_unchanged(house: House) -> None:
    stands = {
        why: house.run.request("GET", f"/v1/documents/{id}", "user:olga").json().get("state")
        for why, id in house.documents.items()
    }
    out_of_force = {"embargoed": "embargoed", "expired": "expired", "withdrawn": "withdrawn"}
    never = {"not-yet-published": None, "never-published": None}
    purposed = {"for-another-purpose": None, "of-another-jurisdiction": None}  # to its owner as well, stated or placed
    assert stands == dict.fromkeys(HIDDEN, "current") | out_of_force | never | purposed


@pytest.mark.parametrize("who", ["user:ana", "user:piet", "user:sunniva", "assistant:herald for user:ana"])
def test_version_that_is_hidden_is_told_as_a_number_that_never_was(house: House, who: str) -> None:
    """The visible document has a second version, which is under embargo."""
    for tail in ("", "/text", "/content"):
        path = f"/v1/documents/{house.visible}/versions"
        hidden = house.told(who, "GET", f"{path}/2{tail}", instead_of="/versions/2")
        never = house.told(who, "GET", f"{path}/3{tail}", instead_of="/versions/3")
        assert hidden == never
        assert hidden[0] == 404
    listed = json.loads(house.told(who, "GET", f"/v1/documents/{house.visible}/versions", instead_of="-")[2])[
        "versions"
    ]
    assert [(each["version"], each["valid_to"]) for each in listed] == [(1, None)]


@pytest.mark.parametrize("who", [*ASKERS, "user:sunniva"])
def test_job_of_somebody_else_is_told_as_one_that_never_was(house: House, who: str) -> None:
    for hidden in house.jobs.values():
        for method, tail in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
            asked = house.told(who, method, f"/v1/jobs/{hidden}{tail}", instead_of=hidden)
            never = house.told(who, method, f"/v1/jobs/{ABSENT['job']}{tail}", instead_of=ABSENT["job"])
            assert asked == never
            assert asked[0] == 404
    own = house.told(who, "GET", f"/v1/jobs?id={'&id='.join(house.jobs.values())}", instead_of="-")[2]
    assert json.loads(own)["jobs"] == []
    for query in ("", "?state=failed", "?collection=shut"):
        told = house.told(who, "GET", f"/v1/jobs{query}", instead_of="-")[2]
        assert not any(each.encode() in told for each in house.jobs.values())


@pytest.mark.parametrize("who", [*ASKERS, "user:sunniva"])
def test_citation_of_something_hidden_is_told_as_one_that_never_was(house: House, who: str) -> None:
    assert house.run.request("GET", f"/v1/citations/{house.citation}", "user:olga").status_code == 200
    asked = house.told(who, "GET", f"/v1/citations/{house.citation}", instead_of=house.citation)
    never = house.told(who, "GET", f"/v1/citations/{ABSENT['citation']}", instead_of=ABSENT["citation"])
    assert asked == never
    assert asked[0] == 404


@pytest.mark.parametrize("who", ASKERS)
def test_trace_of_somebody_else_is_told_as_one_that_never_was(house: House, who: str) -> None:
    for path in ("/v1/traces/{id}", "/v1/traces?cursor={id}"):
        asked = house.told(who, "GET", path.format(id=house.trace), instead_of=house.trace)
        never = house.told(who, "GET", path.format(id=ABSENT["trace"]), instead_of=ABSENT["trace"])
        assert asked == never
        assert asked[0] in (404, 422)
    own = json.loads(house.told(who, "GET", "/v1/traces?limit=200", instead_of="-")[2])["traces"]
    assert house.trace not in {each["id"] for each in own}
    assert {each["subject"] for each in own} <= {who.rpartition(" ")[2].replace("admin", "user:administrator")}


@pytest.mark.parametrize("who", ASKERS)
def test_hidden_collection_is_told_as_one_that_never_was(house: House, who: str) -> None:
    document = {"text": "words", "metadata": {"uri": "words", "readers": ["group:nobody"]}}
    for method, path, rest in (
        ("POST", "/v1/collections/{id}/documents", {"json": document}),
        ("POST", "/v1/collections/{id}/documents", {"json": {}}),
        ("POST", "/v1/collections/{id}/documents", {"files": {"file": ("words.md", b"words")}}),
        ("GET", "/v1/documents?collection={id}", {}),
        ("GET", "/v1/documents?collection={id}&state=withdrawn&q=s", {}),
        ("GET", "/v1/collections/{id}/reviews", {}),
        ("GET", "/v1/collections/{id}/duplicates", {}),
        ("GET", "/v1/collections/{id}/label-rules", {}),
        ("PUT", "/v1/collections/{id}/label-rules", {"json": {"rules": []}}),
        ("POST", "/v1/collections/{id}/label-rules/preview", {"json": {"rules": []}}),
        ("GET", "/v1/collections/{id}/retention", {}),
        ("PUT", "/v1/collections/{id}/retention", {"json": {"rules": []}}),
        ("POST", "/v1/collections/{id}/retention/run", {"json": {"dry_run": True}}),
        ("GET", "/v1/collections/{id}/questions", {}),
        ("PUT", "/v1/collections/{id}/questions/x", {"json": {"question": "Which?", "unanswerable": True}}),
        ("GET", "/v1/collections/{id}/questions/x", {}),
        ("DELETE", "/v1/collections/{id}/questions/x", {}),
        ("POST", "/v1/collections/{id}/evaluations", {}),
        ("GET", "/v1/collections/{id}/evaluations", {}),
        ("GET", "/v1/collections/{id}/evaluations/ev_1", {}),
        ("GET", "/v1/collections/{id}/evaluations/ev_1.svg", {}),
        ("GET", "/v1/collections/{id}/unanswered", {}),
        ("GET", "/v1/collections/{id}/unfound", {}),
        ("POST", "/v1/collections/{id}/documents/amend", {"json": {"uris": ["saltmarsh/hidden"], "readers": []}}),
        ("GET", "/v1/collections/{id}/sources", {}),
        ("PUT", "/v1/collections/{id}/sources/x", {"json": {"connector": "push"}}),
        ("GET", "/v1/collections/{id}/sources/x", {}),
        ("POST", "/v1/collections/{id}/sources/x/run", {}),
        ("GET", "/v1/collections/{id}/sources/x/runs", {}),
    ):
        asked = house.told(who, method, path.format(id="shut"), instead_of="shut", **rest)
        never = house.told(who, method, path.format(id="none"), instead_of="none", **rest)
        assert asked == never, (method, path)
    collections = house.told(who, "GET", "/v1/collections", instead_of="-")[2]
    assert b"shut" not in collections


@pytest.mark.parametrize("who", ["user:ana", "assistant:herald", "assistant:herald for user:ana"])
def test_nothing_hidden_is_held_or_told_by_what_was_held_or_erased(house: House, who: str) -> None:
    """Administrators hold by id what they may not see, so the question is not theirs."""
    hold, hidden = {"title": "Case", "reason": "because"}, house.documents["above-clearance"]
    for field, there, absent in (("collections", "shut", "none"), ("documents", hidden, ABSENT["document"])):
        asked = house.told(who, "POST", "/v1/holds", instead_of=there, json={**hold, field: [there]})
        never = house.told(who, "POST", "/v1/holds", instead_of=absent, json={**hold, field: [absent]})
        assert asked == never
        assert asked[0] == 404
    asked = house.told(who, "GET", "/v1/collections/shut/erasures", instead_of="shut")
    assert asked == house.told(who, "GET", "/v1/collections/none/erasures", instead_of="none")


@pytest.mark.parametrize("who", [*ASKERS, "user:sunniva"])
def test_question_to_a_hidden_collection_is_answered_as_to_one_that_never_was(house: House, who: str) -> None:
    through, _, person = who.partition(" for ")
    answers = []
    for name in ("shut", "none"):
        answer = house.run.retrieve(through, QUESTION, acting_for=person or None, collections=[name])
        assert (answer["outcome"], answer["recourse"]) == ("empty", [])
        del answer["trace_id"], answer["usage"]["timings_ms"]
        answers.append(_INSTANT.sub("<now>", json.dumps(answer)))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("who", ["user:ana", "user:sunniva", "assistant:herald for user:ana"])
def test_principals_are_nothing_to_ask_about_without_managing_them(house: House, who: str) -> None:
    for method, tail, body in (
        ("GET", "", None),
        ("PUT", "", {}),
        ("PUT", "", {"groups": ["group:administrators"]}),
        ("POST", "/keys", None),
        ("DELETE", "/keys/key_none", None),
    ):
        told = [
            house.told(who, method, f"/v1/principals/user/{name}{tail}", instead_of=name, json=body)
            for name in ("olga", "nope")
        ]
        assert told[0] == told[1]
        assert told[0][0] == 403


# -- Lists -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["user:ana", "user:piet", "assistant:herald for user:ana"])
def test_list_counts_and_cursors_tell_of_nothing_hidden(house: House, who: str) -> None:
    """Page by page: no empty page, no cursor but to what was shown, and none where only hidden documents follow."""

    def listed(query: str) -> Any:
        return json.loads(house.told(who, "GET", f"/v1/documents{query}", instead_of="-")[2])

    for query in ("", "?limit=1", "?limit=200", "?q=travel&limit=1", "?collection=open&limit=1"):
        page = listed(query)
        assert [each["uri"] for each in page["documents"]] == ["travel"]
        assert page["cursor"] is None
    for query in (
        "?q=saltmarsh",
        "?q=%25",
        "?collection=known",
        *(f"?state={state}" for state in ("superseded", "expired", "embargoed", "withdrawn")),
        "?cursor=" + base64.urlsafe_b64encode(b'["open", "travel"]').decode(),
    ):
        assert listed(query) == {"documents": [], "cursor": None}, query


# -- Known, and not one's own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["user:ana", "user:piet", "user:sunniva", "assistant:herald for user:ana"])
def test_change_to_what_may_be_seen_names_its_owners(house: House, who: str) -> None:
    through, _, person = who.partition(" for ")
    document = {"text": "words", "metadata": {"uri": "words"}}
    for method, path, body in (
        ("PATCH", f"/v1/documents/{house.visible}", {"readers": ["user:ana"]}),
        ("PATCH", f"/v1/documents/{house.visible}", {"readers": ["group:nobody"]}),
        ("POST", f"/v1/documents/{house.visible}/withdraw", {"reason": "because"}),
        ("POST", "/v1/collections/open/documents", document),
        ("POST", "/v1/collections/known/documents", document),
    ):
        response = house.run.request(method, path, through, acting_for=person or None, json=body)
        assert "group:owners" in refusal(house.run, response, 403, "not-permitted")["detail"]


# -- Roles without content ---------------------------------------------------------------------------------------------


_PAGES = ("erasures", "retention", "questions", "evaluations", "unanswered", "unfound")
"""Of a collection, beside those that every owner has."""


def _everything(house: House, who: str) -> dict[str, Response]:
    """What every GET of the API gives to `who`, about everything there is."""
    paths = ["/v1/collections", "/v1/purposes", "/v1/principals", "/v1/documents?limit=200", "/v1/traces?limit=200"]
    paths += [f"/v1/documents?limit=200&state={each}" for each in ("superseded", "expired", "embargoed", "withdrawn")]
    paths += [f"/v1/jobs/{id}{tail}" for id in house.jobs.values() for tail in ("", "/events")]
    paths += [f"/v1/citations/{house.citation}", f"/v1/traces/{house.trace}", "/v1/holds", "/v1/erasures/era_none"]
    paths += ["/v1/suggest?q=a", "/v1/facets"]
    paths += ["/v1/jurisdictions", "/v1/transfers", "/v1/consents"]
    paths += ["/v1/identities/directory", "/v1/escalations", "/v1/escalations/latencies", "/v1/grants", "/v1/notices"]
    paths += ["/v1/webhooks", "/v1/webhooks/none/deliveries", "/v1/index"]
    paths += ["/v1/break-glass", "/v1/policies", "/v1/policies/active", "/v1/policies/tests"]
    paths += [f"/v1/traces/{house.trace}/explanation", "/v1/principals/user/ana/keys"]
    homes = {each["collection"] for each in house.run.request("GET", "/v1/documents", who).json()["documents"]}
    paths += [f"/v1/collections/{name}/{what}" for name in sorted(homes) for what in _PAGES]
    for id in (house.visible, *house.documents.values()):
        paths += [f"/v1/documents/{id}/text", f"/v1/documents/{id}/diff?from=1&to=1", f"/v1/documents/{id}/reviews"]
        for number in (1, 2):
            paths += [f"/v1/documents/{id}/versions/{number}{tail}" for tail in ("/periods", "?as_of=2090-01-01")]
            paths += [f"/v1/documents/{id}/versions/{number}{tail}" for tail in ("", "/text", "/content")]
        paths += [f"/v1/documents/{id}", f"/v1/documents/{id}/versions"]
    known = {route.split("{")[0].rstrip("/") for route in house.run.client.get("/openapi.json").json()["paths"]}
    unasked = (
        known
        - {path.split("?")[0] for path in paths}
        - {
            "/v1/documents",
            "/v1/jobs",
            "/v1/citations",
            "/v1/erasures",
            "/v1/identities",
        }
    )
    decisions = {"evaluation", "evaluations", "search/subject", "search/resource", "search/action"}
    other = {"/.well-known/authzen-configuration", *(f"/access/v1/{name}" for name in decisions)}
    other |= {f"/v1/policies/{name}" for name in ("simulate", "explain", "rollback", "validate")}
    other.add("/v1/index/generations")
    assert unasked - other == {"/v1/retrieve", "/v1/answer", "/healthz", "/readyz", "/metrics"}
    return {path: house.run.request("GET", path, who) for path in paths}


@pytest.mark.parametrize("purpose", [None, "legal-review"])
def test_administrators_key_reads_no_content_anywhere(house: House, purpose: str | None) -> None:
    """Not even of a collection that the administrator made its own."""
    mine = {"title": "Mine", "owners": ["user:administrator"], "default_readers": ["user:administrator"]}
    house.run.admin("PUT", "/v1/collections/mine", mine)
    for path, response in _everything(house, "admin").items():
        assert SECRET.lower() not in response.text.lower(), path
        assert "14 days" not in response.text, path
    stated = {"purpose": purpose} if purpose else {}
    assert house.run.retrieve("admin", QUESTION, **stated)["passages"] == []
    into_mine = {"text": "words", "metadata": {"uri": "words"}}
    refusal(
        house.run,
        house.run.request("POST", "/v1/collections/mine/documents", "admin", json=into_mine),
        403,
        "not-permitted",
    )


def test_administrator_by_role_reads_nothing_but_what_everybody_does(house: House) -> None:
    for path, response in _everything(house, "user:piet").items():
        assert SECRET.lower() not in response.text.lower(), path
    assert house.run.found("user:piet", QUESTION) == ["travel"]


PUBLISHED = [why for why in HIDDEN if why not in ("not-yet-published", "never-published")]
IN_FORCE = [why for why in PUBLISHED if why not in ("embargoed", "expired", "withdrawn")]


@pytest.mark.parametrize("why", HIDDEN)
def test_auditor_reads_metadata_of_what_is_in_force_and_no_content(house: House, why: str) -> None:
    hidden = house.documents[why]
    _same_on_every_route(house, "user:sunniva", hidden, CONTENT_ROUTES)
    if why not in IN_FORCE:
        _same_on_every_route(house, "user:sunniva", hidden, DOCUMENT_ROUTES)
        return
    described = house.run.request("GET", f"/v1/documents/{hidden}", "user:sunniva")
    assert described.status_code == 200
    assert SECRET in described.json()["title"]
    assert CONTENT not in described.text
    listed = house.run.request("GET", "/v1/documents?limit=200", "user:sunniva").json()["documents"]
    assert hidden in [each["document_id"] for each in listed]


def test_auditor_reads_no_content_anywhere(house: House) -> None:
    for path, response in _everything(house, "user:sunniva").items():
        assert CONTENT not in response.text, path
    assert house.run.found("user:sunniva", QUESTION) == ["travel"]
