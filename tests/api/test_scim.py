"""SCIM 2.0: another directory keeps users and groups, each change holds at once, and nobody gets above themselves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.started import started
from tests.running import Running

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
REACH = "urn:muniment:params:scim:schemas:extension:reach:2.0:User"
SCHEMAS = {
    "Users": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "Groups": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
}
QUESTION = "When is a train booked?"


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("scim"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_principal("assistant:scim", groups=["group:provisioners"])
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"], clearance="restricted")
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("user:ana")
        yield run


def scim(
    run: Running, method: str, path: str, body: Any = None, *, who: str = "assistant:scim", **rest: Any
) -> Response:
    return run.request(method, f"/scim/v2{path}", who, json=body, **rest)


def created(run: Running, endpoint: str, **body: Any) -> dict[str, Any]:
    response = scim(run, "POST", f"/{endpoint}", {"schemas": SCHEMAS[endpoint], **body})
    assert response.status_code == 201, response.text
    resource: dict[str, Any] = response.json()
    return resource


def patched(run: Running, path: str, *operations: dict[str, Any]) -> Response:
    return scim(run, "PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def error(response: Response, status: int) -> dict[str, Any]:
    """The error of a response that must be one, of RFC 7644's shape."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/scim+json"), response.text
    body: dict[str, Any] = response.json()
    assert (body["schemas"], body["status"]) == ([ERROR], str(status))
    assert body["detail"]
    return body


def profile(run: Running, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = run.admin("GET", f"/v1/principals/{ref.replace(':', '/', 1)}")
    return found


def test_scim2_tester_passes_whole(run: Running) -> None:
    headers = {"Authorization": f"Bearer {run.key('assistant:scim')}"}
    client = TestClient(run.client.app, base_url="http://testserver/scim/v2", headers=headers)
    results = check_server(SyncSCIMClient(client))
    assert [f"{each.title}: {each.reason}" for each in results if each.status is not Status.SUCCESS] == []
    assert len(results) > 100


def test_leaving_a_group_hides_its_documents_in_the_next_request(run: Running) -> None:
    bob = created(run, "Users", userName="bob@example.org", displayName="Bob")
    team = created(run, "Groups", displayName="travellers", members=[{"value": bob["id"]}])
    outer = created(run, "Groups", displayName="everybody-abroad", members=[{"value": team["id"]}])
    assert outer["members"][0]["type"] == "Group"
    run.put_collection("abroad", owners=["group:owners"], default_readers=["group:everybody-abroad"])
    run.publish("user:olga", "abroad", "# Travel\nA train is booked 14 days ahead.", uri="abroad/travel")
    who = "user:bob@example.org"
    assert run.found(who, QUESTION) == ["abroad/travel"]
    document = run.request("GET", "/v1/documents", who).json()["documents"][0]["document_id"]
    gone = patched(run, f"/Groups/{team['id']}", {"op": "remove", "path": f'members[value eq "{bob["id"]}"]'})
    assert gone.status_code == 204
    assert run.found(who, QUESTION) == []
    assert run.request("GET", f"/v1/documents/{document}", who).status_code == 404
    back = patched(run, f"/Groups/{team['id']}", {"op": "add", "path": "members", "value": [{"value": bob["id"]}]})
    assert back.status_code == 204
    assert run.found(who, QUESTION) == ["abroad/travel"]
    nested = patched(run, f"/Groups/{outer['id']}", {"op": "remove", "path": f'members[value eq "{team["id"]}"]'})
    assert nested.status_code == 204
    assert run.found(who, QUESTION) == []


def test_deactivated_user_is_refused_by_the_very_next_request(run: Running) -> None:
    cy = created(run, "Users", userName="cy")
    assert run.retrieve("user:cy", QUESTION)["outcome"] == "empty"
    assert patched(run, f"/Users/{cy['id']}", {"op": "replace", "path": "active", "value": False}).status_code == 204
    assert run.retrieve("user:cy", QUESTION)["outcome"] == "blocked"
    assert run.request("GET", "/v1/purposes", "user:cy").status_code == 403
    unsaid = scim(run, "PUT", f"/Users/{cy['id']}", {"schemas": SCHEMAS["Users"], "userName": "cy"})
    assert unsaid.status_code == 200
    assert run.retrieve("user:cy", QUESTION)["outcome"] == "blocked"
    patched(run, f"/Users/{cy['id']}", {"op": "replace", "value": {"active": True}})
    assert run.retrieve("user:cy", QUESTION)["outcome"] == "empty"


def test_deleted_user_has_no_key_and_no_name_that_another_could_take(run: Running) -> None:
    dan = created(run, "Users", userName="dan")
    team = created(run, "Groups", displayName="dans", members=[{"value": dan["id"]}])
    run.key("user:dan")
    assert scim(run, "DELETE", f"/Users/{dan['id']}").status_code == 204
    assert run.request("GET", "/v1/purposes", "user:dan").status_code == 401
    error(scim(run, "GET", f"/Users/{dan['id']}"), 404)
    error(scim(run, "DELETE", f"/Users/{dan['id']}"), 404)
    assert "members" not in scim(run, "GET", f"/Groups/{team['id']}").json()
    again = created(run, "Users", userName="dan")
    assert again["id"] != dan["id"]
    known = [each["id"] for each in run.admin("GET", "/v1/principals")["principals"]]
    assert (f"user:{again['id']}" in known, "user:dan" in known) == (True, False)


def test_user_comes_back_as_it_was_put_and_without_its_password(run: Running) -> None:
    put = {
        "schemas": [*SCHEMAS["Users"], REACH],
        "userName": "Eve@Example.org",
        "externalId": "00u1",
        "name": {"givenName": "Eve", "familyName": "Ó"},
        "emails": [{"value": "eve@example.org", "type": "work", "primary": True}],
        "active": True,
        REACH: {"clearance": "confidential", "jurisdictions": "EU DE", "categories": "pii", "team": "legal"},
    }
    response = scim(run, "POST", "/Users", {**put, "password": "a secret of hers"})
    body = response.json()
    assert {name: body[name] for name in put} == put
    assert "a secret of hers" not in response.text
    assert response.headers["etag"] == body["meta"]["version"]
    assert scim(run, "GET", f"/Users/{body['id']}").json() == body
    eve = profile(run, "user:eve@example.org")
    assert (eve["clearance"], eve["jurisdictions"], eve["categories"], eve["team"]) == (
        "confidential",
        ["DE", "EU"],
        ["pii"],
        "legal",
    )
    without = {name: value for name, value in put.items() if name != REACH} | {"schemas": SCHEMAS["Users"]}
    assert scim(run, "PUT", f"/Users/{body['id']}", without).status_code == 200
    eve = profile(run, "user:eve@example.org")
    assert (eve["clearance"], eve["jurisdictions"], eve["categories"], eve["team"]) == ("internal", [], [], None)


def test_what_is_created_is_cleared_as_everybody_is_and_keeps_what_administrators_add(run: Running) -> None:
    fay = created(run, "Users", userName="fay")
    assert profile(run, "user:fay") == {
        "id": "user:fay",
        "display_name": "fay",
        "groups": [],
        "clearance": "internal",
        "categories": [],
        "jurisdictions": [],
        "purposes": [],
        "collections": [],
        "active": True,
        "may_assert": False,
        "team": None,
    }
    run.put_principal("user:fay", clearance="confidential", jurisdictions=["EU"])
    patched(run, f"/Users/{fay['id']}", {"op": "replace", "path": "displayName", "value": "Fay"})
    after = profile(run, "user:fay")
    assert (after["display_name"], after["clearance"], after["jurisdictions"]) == ("Fay", "confidential", ["EU"])


def test_names_of_principals_that_are_there_are_not_taken_over(run: Running) -> None:
    for endpoint, body, ref in (
        ("Users", {"userName": "administrator"}, "user:administrator"),
        ("Users", {"userName": "ANA"}, "user:ana"),
        ("Groups", {"displayName": "administrators"}, "group:administrators"),
        ("Groups", {"displayName": "provisioners"}, "group:provisioners"),
    ):
        before = profile(run, ref)
        resource = created(run, endpoint, **body)
        assert profile(run, ref) == before
        kind = ref.partition(":")[0]
        assert profile(run, f"{kind}:{resource['id']}")["groups"] == []


def test_principals_of_administrators_are_not_there(run: Running) -> None:
    for path in ("/Users/ana", "/Users/administrator", "/Users/user:administrator", "/Groups/administrators"):
        error(scim(run, "GET", path), 404)
        error(scim(run, "DELETE", path), 404)
        error(patched(run, path, {"op": "replace", "path": "externalId", "value": "x"}), 404)
    body = {"schemas": SCHEMAS["Groups"], "displayName": "administrators", "members": []}
    error(scim(run, "PUT", "/Groups/group:administrators", body), 404)
    listed = scim(run, "GET", "/?filter=externalId pr or id pr").json()["Resources"]
    assert listed
    assert not {"olga", "sunniva", "scim", "owners"} & {
        each.get("userName", each.get("displayName")) for each in listed
    }


@pytest.mark.parametrize("member", ["assistant:scim", "user:administrator", "user:olga", "ana", "group:owners"])
def test_nobody_but_what_it_created_is_put_into_a_group(run: Running, member: str) -> None:
    group = created(run, "Groups", displayName=f"for {member}")
    add = {"op": "add", "path": "members", "value": [{"value": member}]}
    error(patched(run, f"/Groups/{group['id']}", add), 400)
    by_reference = {"op": "add", "path": "members", "value": [{"$ref": f"http://testserver/scim/v2/Users/{member}"}]}
    error(patched(run, f"/Groups/{group['id']}", by_reference), 400)


@pytest.mark.parametrize("built_in", ["administrators", "auditors", "provisioners"])
def test_nobody_gets_into_a_built_in_group_through_one_that_leads_to_it(run: Running, built_in: str) -> None:
    gus = created(run, "Users", userName=f"gus-{built_in}")
    inner = created(run, "Groups", displayName=f"inner-{built_in}")
    outer = created(run, "Groups", displayName=f"outer-{built_in}", members=[{"value": inner["id"]}])
    run.put_principal(f"group:outer-{built_in}", groups=[f"group:{built_in}"])
    full = created(run, "Groups", displayName=f"full-{built_in}", members=[{"value": gus["id"]}])
    for group in (inner, outer):
        for member in (gus, full):
            add = {"op": "add", "path": "members", "value": [{"value": member["id"]}]}
            error(patched(run, f"/Groups/{group['id']}", add), 403)
            whole = {
                "schemas": SCHEMAS["Groups"],
                "displayName": group["displayName"],
                "members": [{"value": member["id"]}],
            }
            error(scim(run, "PUT", f"/Groups/{group['id']}", whole), 403)
    refused = run.request("GET", "/v1/traces?limit=50", "user:sunniva").json()["traces"]
    assert any(each["kind"] == "refusal" and each["subject"] == "assistant:scim" for each in refused)
    assert run.request("GET", "/v1/principals", f"user:gus-{built_in}").status_code == 403
    less = patched(run, f"/Groups/{outer['id']}", {"op": "remove", "path": f'members[value eq "{inner["id"]}"]'})
    assert less.status_code == 204


def test_client_that_another_client_created_clears_and_admits_itself_nowhere(run: Running) -> None:
    own = created(run, "Users", userName="second-client")
    holding = created(run, "Groups", displayName="clients", members=[{"value": own["id"]}])
    target = created(run, "Groups", displayName="target")
    run.put_principal("user:second-client", groups=["group:clients", "group:provisioners"])
    who = "user:second-client"
    for member in (own, holding):
        add = {"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": member["id"]}]}]}
        error(scim(run, "PATCH", f"/Groups/{target['id']}", add, who=who), 403)
    clear = {"schemas": [PATCH], "Operations": [{"op": "add", "path": REACH, "value": {"clearance": "restricted"}}]}
    error(scim(run, "PATCH", f"/Users/{own['id']}", clear, who=who), 403)
    assert profile(run, who)["clearance"] == "internal"


def test_group_is_not_in_itself_through_others(run: Running) -> None:
    first = created(run, "Groups", displayName="first")
    second = created(run, "Groups", displayName="second", members=[{"value": first["id"]}])
    for member in (first, second):
        add = {"op": "add", "path": "members", "value": [{"value": member["id"]}]}
        error(patched(run, f"/Groups/{first['id']}", add), 400)


def test_only_provisioners_and_keys_that_are_good_for_it_get_anything(run: Running) -> None:
    error(run.client.get("/scim/v2/Users"), 401)
    error(run.client.get("/scim/v2/ServiceProviderConfig"), 401)
    for who in ("admin", "user:ana", "user:sunniva"):
        for method, path in (("GET", "/Users"), ("GET", "/Schemas"), ("POST", "/Users"), ("GET", "/nowhere")):
            error(scim(run, method, path, {} if method == "POST" else None, who=who), 403)
    issued = run.admin("POST", "/v1/principals/assistant/scim/keys", {"actions": ["read"]})
    run.keys["reading"] = issued["key"]
    error(scim(run, "GET", "/Users", who="reading"), 403)
    issued = run.admin("POST", "/v1/principals/assistant/scim/keys", {"actions": ["provision"]})
    run.keys["provisioning"] = issued["key"]
    assert scim(run, "GET", "/Users", who="provisioning").status_code == 200
    assert run.request("GET", "/v1/principals", "provisioning").status_code == 403


def test_every_change_is_on_record_by_who_sent_it(run: Running) -> None:
    hal = created(run, "Users", userName="hal")
    team = created(run, "Groups", displayName="hals", members=[{"value": hal["id"]}])
    patched(run, f"/Groups/{team['id']}", {"op": "remove", "path": "members"})
    scim(run, "DELETE", f"/Users/{hal['id']}")
    traces = run.request("GET", "/v1/traces?limit=10", "user:sunniva").json()["traces"]
    changes = [each["request"] for each in traces if (each["kind"], each["subject"]) == ("change", "assistant:scim")]
    assert changes[:4] == [
        {"what": "end-provisioned", "about": "user:hal"},
        {"what": "provision", "about": "group:hals", "active": True, "left": ["user:hal"]},
        {"what": "provision", "about": "group:hals", "active": True, "came": ["user:hal"]},
        {"what": "provision", "about": "user:hal", "active": None},
    ]


def test_patch_and_filter_that_would_take_long_are_refused_at_once(run: Running) -> None:
    user = created(run, "Users", userName="patient")
    several = [{"op": "add", "path": "emails", "value": [{"value": f"{n}@example.org"}]} for n in range(501)]
    assert "500 operations" in error(patched(run, f"/Users/{user['id']}", *several), 400)["detail"]
    wanted = {"schemas": [SEARCH], "filter": " or ".join(['title eq "x"'] * 600)}
    assert "8000 characters" in error(scim(run, "POST", "/.search", wanted), 400)["detail"]
    assert "8000 characters" in error(scim(run, "GET", f"/Users?filter={wanted['filter']}"), 400)["detail"]
    assert "emails" not in scim(run, "GET", f"/Users/{user['id']}").json()


def test_change_for_a_version_that_is_past_is_refused(run: Running) -> None:
    ivy = created(run, "Users", userName="ivy")
    path, version = f"/Users/{ivy['id']}", {"If-Match": ivy["meta"]["version"]}
    body = {"schemas": SCHEMAS["Users"], "userName": "ivy", "title": "Clerk"}
    assert scim(run, "PUT", path, body, headers=dict(version)).status_code == 200
    error(scim(run, "PUT", path, {**body, "title": "Boss"}, headers=dict(version)), 412)
    fresh = scim(run, "GET", path)
    assert scim(run, "GET", path, headers={"If-None-Match": fresh.headers["etag"]}).status_code == 304
    run.put_principal("user:ivy", team="legal")
    error(scim(run, "DELETE", path, headers={"If-Match": fresh.headers["etag"]}), 412)


def test_members_that_come_at_the_same_time_all_come(run: Running) -> None:
    team = created(run, "Groups", displayName="crowd")
    people = [created(run, "Users", userName=f"crowd-{number}")["id"] for number in range(6)]

    def join(id: str) -> int:
        add = {"op": "add", "path": "members", "value": [{"value": id}]}
        return patched(run, f"/Groups/{team['id']}", add).status_code

    with ThreadPoolExecutor(3) as together:
        assert list(together.map(join, people)) == [204] * 6
    members = scim(run, "GET", f"/Groups/{team['id']}").json()["members"]
    assert {each["value"] for each in members} == set(people)
    assert "members" not in scim(run, "GET", f"/Groups/{team['id']}?excludedAttributes=members").json()


def test_users_are_found_by_name_and_by_anything_else_and_paged(run: Running) -> None:
    for number in range(5):
        created(run, "Users", userName=f"Paged-{number}", title="Pager", externalId=f"x{number}")

    def found(query: str) -> list[str]:
        response = scim(run, "GET", f"/Users?{query}")
        assert response.status_code == 200, response.text
        return [each["userName"] for each in response.json().get("Resources", [])]

    assert found('filter=userName eq "paged-3"') == ["Paged-3"]
    assert found('filter=externalId eq "x2"') == ["Paged-2"]
    assert found('filter=externalId eq "X2"') == []
    assert found('filter=userName eq "nobody\\u0000"') == []
    query = 'filter=title eq "pager"&sortBy=userName'
    assert found(query + "&sortOrder=descending&count=2") == ["Paged-4", "Paged-3"]
    assert found(query + "&startIndex=3&count=2") == ["Paged-2", "Paged-3"]
    whole = scim(run, "GET", "/Users?startIndex=2&count=3").json()
    assert (whole["itemsPerPage"], len(whole["Resources"]), whole["startIndex"]) == (3, 3, 2)
    assert scim(run, "GET", "/Users?count=0").json()["totalResults"] == whole["totalResults"]
    searched = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'userName sw "paged"'}
    assert scim(run, "POST", "/Users/.search", searched).json()["totalResults"] == 5
    error(scim(run, "POST", "/Users", {"schemas": SCHEMAS["Users"], "userName": "PAGED-0"}), 409)


WRONG_BODIES: list[Any] = [
    None,
    [],
    {},
    {"schemas": SCHEMAS["Users"]},
    {"schemas": SCHEMAS["Users"], "userName": ""},
    {"schemas": SCHEMAS["Users"], "userName": " "},
    {"schemas": SCHEMAS["Users"], "userName": "nul\x00"},
    {"schemas": SCHEMAS["Users"], "userName": "x" * 501},
    {"schemas": SCHEMAS["Users"], "userName": "\U0001d160" * 500},
    {"schemas": SCHEMAS["Users"], "userName": "long", "externalId": "x" * 501},
    {"schemas": SCHEMAS["Users"], "userName": "deep", "title": "t" * 300_000},
    {"schemas": SCHEMAS["Users"], "userName": "typed", "active": {"no": 1}},
    {"schemas": [*SCHEMAS["Users"], REACH], "userName": "cleared", REACH: {"clearance": "top secret"}},
    {"schemas": [*SCHEMAS["Users"], REACH], "userName": "cleared", REACH: {"jurisdictions": "E/U"}},
    {"schemas": [*SCHEMAS["Users"], REACH], "userName": "cleared", REACH: {"team": "nul\x00"}},
    {"schemas": SCHEMAS["Users"], "userName": "nulled", "title": "nul\x00"},
]


@pytest.mark.parametrize("body", WRONG_BODIES, ids=range(len(WRONG_BODIES)))
def test_wrong_user_is_refused_in_the_clients_own_terms(run: Running, body: Any) -> None:
    error(scim(run, "POST", "/Users", body), 400)


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/Users", b"\xff\xfe", 400),
        ("POST", "/Users", b"[" * 100_000, 400),
        ("POST", "/Users", b'{"userName": "\\ud800"}', 400),
        ("PATCH", "/Users/x", b"{}", 400),
        ("PATCH", "/Users/a%00b", b"{}", 400),
        ("PUT", "/Users/a%00b", b"{}", 404),
        ("GET", "/Users/a%00b", b"", 404),
        ("GET", "/Users/%ff", b"", 404),
        ("GET", "/Users?filter=" + "(" * 3000, b"", 400),
        ("GET", "/Users?filter=" + "not (" * 1000 + "userName pr" + ")" * 1000, b"", 400),
        ("GET", "/Users?filter=nothing eq 1", b"", 400),
        ("GET", "/Users?sortBy=nothing", b"", 400),
        ("GET", "/Users?startIndex=x", b"", 400),
        ("GET", "/Nowhere/1/2/3", b"", 404),
        ("POST", "/Bulk", b"{}", 501),
        ("GET", "/Me", b"", 501),
        ("DELETE", "/Users", b"", 405),
        ("OPTIONS", "/Users", b"", 405),
        ("POST", "/Users", b" " * 2_100_000, 413),
    ],
)
def test_no_request_ends_in_an_error_of_ours(run: Running, method: str, path: str, content: bytes, status: int) -> None:
    headers = {"Content-Type": "application/scim+json"}
    error(run.request(method, f"/scim/v2{path}", "assistant:scim", content=content, headers=headers), status)


def test_huge_numbers_and_odd_hosts_are_answered(run: Running) -> None:
    far = scim(run, "GET", f"/Users?startIndex={10**30}&count={10**30}")
    assert (far.status_code, far.json().get("Resources", [])) == (200, [])
    joe = created(run, "Users", userName="joe")
    for host in ("[", "a b", "evil.example/x", "h:99999999"):
        answer = scim(run, "GET", f"/Users/{joe['id']}", headers={"Host": host})
        assert (answer.status_code, answer.json()["meta"]["location"]) == (200, f"/scim/v2/Users/{joe['id']}")
