"""Each route of the contract, in its shapes, on documents put in and read back through HTTP."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import jsonschema_rs
import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.domain.citation import CONTEXT_HEADER
from app.store.database import reading
from app.store.tables import CollectionRow, MembershipRow, PrincipalRow, PurposeRow
from ingest.ports import Parser
from tests.api.refusals import pointers, refusal
from tests.api.started import started, working
from tests.ingest import samples
from tests.running import Running

T = TypeVar("T")

SHARING = (
    "# Data sharing\n\n## Partners\n\nA customer dataset is shared with a partner only under a signed agreement.\n\n"
    "## Analysis\n\nAn analysis of a customer dataset by a partner is stopped when consent is withdrawn.\n"
)
QUESTION = "Can we share this customer dataset with our partner for analysis?"


@dataclass(frozen=True, kw_only=True)
class Office:
    """Muniment with two collections of the owners of which lena is one, and what was answered when it was furnished."""

    run: Running
    sharing: str
    pdf: str
    submitted: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def office(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Office]:
    """For tests that add to it and leave alone what is there."""
    folder = tmp_path_factory.mktemp("contract")
    with started(folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        furnish(run)
        sharing = run.submit(
            "user:lena",
            "policies",
            SHARING,
            uri="policies/sharing",
            title="Data-sharing policy",
            label={"level": "confidential", "categories": ["pii"]},
            jurisdictions=["EU"],
            valid_from="2025-03-01",
            review_by="2030-01-01T00:00:00+02:00",
            source={"connector": "mail", "author": "Ana", "etag": "7", "fetched_at": "2025-02-27T09:30:00.250Z"},
            attributes={"region": "EU", "branch": ["Lisbon", "Dublin"]},
        )
        pdf = run.submit_file("user:lena", "policies", samples.pdf(), "sharing.pdf", uri="policies/records")
        for number in range(5):
            run.submit("user:lena", "shelf", f"# Sheet {number}\nOn the shelf.", uri=f"sheet-{number}")
        run.work()
        yield Office(
            run=run,
            sharing=sharing.json()["document"]["id"],
            pdf=pdf.json()["document"]["id"],
            submitted={"text": sharing.json(), "file": pdf.json()},
        )


def furnish(run: Running) -> None:
    run.put_purpose("legal-review")
    run.put_principal("group:legal")
    run.put_principal("group:counsel", groups=["group:legal"])
    cleared = {"clearance": "confidential", "categories": ["pii"], "jurisdictions": ["EU"]}
    run.put_principal("user:lena", groups=["group:counsel"], **cleared)
    run.put_principal("user:ana", **cleared)
    run.put_principal("user:max")
    run.put_principal("user:sunniva", groups=["group:auditors"])
    run.put_principal("assistant:helper", may_assert=True, **cleared)
    staff = {"owners": ["group:legal"], "default_readers": ["group:all-staff"]}
    run.put_collection("policies", **staff, discoverable=True)
    run.put_collection("shelf", **staff)
    run.put_collection("contracts", owners=["group:legal"], discoverable=True)


@pytest.fixture
def run_furnished(run: Running) -> Running:
    """A Muniment of the test's own, for tests that change what is there."""
    furnish(run)
    return run


def got(run: Running, path: str, who: str = "user:ana", **rest: Any) -> Any:
    response = run.request("GET", path, who, **rest)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    return response.json()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# -- The control plane -------------------------------------------------------------------------------------------------

PRINCIPAL = {
    "display_name": "Ana Ferreira",
    "groups": ["group:legal"],
    "clearance": "confidential",
    "categories": ["pii"],
    "jurisdictions": ["EU"],
    "purposes": ["legal-review"],
    "collections": ["policies"],
    "active": True,
    "may_assert": False,
    "team": "legal",
}
COLLECTION = {
    "title": "Contracts with partners",
    "owners": ["group:legal"],
    "default_label": {"level": "confidential", "categories": ["pii"]},
    "default_readers": ["group:counsel", "user:ana"],
    "jurisdictions": ["EU"],
    "purposes": ["legal-review"],
    "discoverable": True,
    "system_of_record": True,
    "review_after_days": 365,
}


def _states(run: Running) -> list[int]:
    """How many states are on record of principals, memberships, purposes and collections."""
    tables = (PrincipalRow, MembershipRow, PurposeRow, CollectionRow)
    with reading(run.ports.engine) as session:
        return [session.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def test_principal_is_put_and_read_back_whole(office: Office) -> None:
    put = office.run.admin("PUT", "/v1/principals/user/whole", PRINCIPAL)
    assert put == {"id": "user:whole", **PRINCIPAL}
    assert got(office.run, "/v1/principals/user/whole", "admin") == put
    everybody = got(office.run, "/v1/principals", "admin")["principals"]
    assert put in everybody
    assert [each["id"] for each in everybody] == sorted(each["id"] for each in everybody)


def test_principal_stated_by_halves_gets_the_narrow_defaults(office: Office) -> None:
    put = office.run.admin("PUT", "/v1/principals/assistant/bare", {})
    empty: dict[str, Any] = {name: [] for name in ("groups", "categories", "jurisdictions", "purposes", "collections")}
    flags = {"active": True, "may_assert": False, "team": None}
    assert put == {"id": "assistant:bare", "display_name": "bare", "clearance": "internal", **empty, **flags}


@pytest.mark.parametrize(
    ("path", "body", "changed", "grown"),
    [
        ("/v1/principals/user/again", PRINCIPAL, PRINCIPAL | {"clearance": "restricted"}, [1, 0, 0, 0]),
        ("/v1/principals/user/again", PRINCIPAL, PRINCIPAL | {"groups": ["group:counsel"]}, [1, 1, 0, 0]),
        ("/v1/purposes/again", {"title": "Again"}, {"title": "Again", "description": "Once more."}, [0, 0, 1, 0]),
        ("/v1/collections/again", COLLECTION, COLLECTION | {"discoverable": False}, [0, 0, 0, 1]),
        ("/v1/collections/again", COLLECTION, COLLECTION | {"default_readers": []}, [0, 0, 0, 1]),
    ],
    ids=["principal", "membership", "purpose", "collection", "readers"],
)
def test_history_grows_by_what_changes_and_by_nothing_else(
    office: Office, path: str, body: dict[str, Any], changed: dict[str, Any], grown: list[int]
) -> None:
    first = office.run.admin("PUT", path, body)
    before = _states(office.run)
    assert office.run.admin("PUT", path, body) == first
    assert office.run.admin("PUT", path, dict(reversed(body.items()))) == first
    assert _states(office.run) == before
    office.run.admin("PUT", path, changed)
    assert [after - was for after, was in zip(_states(office.run), before, strict=True)] == grown


def test_several_unknown_names_are_each_pointed_at(office: Office) -> None:
    body = PRINCIPAL | {"groups": ["group:none"], "purposes": ["gossip"], "collections": ["nowhere"]}
    problem = refusal(
        office.run, office.run.request("PUT", "/v1/principals/user/ana", "admin", json=body), 422, "invalid"
    )
    assert pointers(problem) == ["/groups", "/purposes", "/collections"]
    assert got(office.run, "/v1/principals/user/ana", "admin")["purposes"] == []


def test_purposes_are_put_and_listed_to_everybody_with_a_key(office: Office) -> None:
    body = {"title": "Legal review", "description": "Giving advice."}
    unsaid: dict[str, Any] = dict.fromkeys(("owner", "legal_basis", "categories", "review_by"))
    expected = {"id": "legal-review", **body, **unsaid, "consent_required": False}
    assert office.run.admin("PUT", "/v1/purposes/legal-review", body) == expected
    for who in ("user:max", "assistant:helper", "admin"):
        assert expected in got(office.run, "/v1/purposes", who)["purposes"]


def test_collection_is_put_and_listed_to_those_who_may_know_of_it(office: Office) -> None:
    put = office.run.admin("PUT", "/v1/collections/partners", COLLECTION | {"discoverable": False})
    for name, value in put.items():
        assert value == {"name": "partners", **COLLECTION, "discoverable": False}[name]
    listed = {
        who: [each["name"] for each in got(office.run, "/v1/collections", who)["collections"]]
        for who in ("user:lena", "user:max", "assistant:helper", "admin")
    }
    assert "partners" in listed["user:lena"]
    assert {"policies", "shelf", "contracts"} <= set(listed["user:max"])
    assert "partners" not in listed["user:max"]
    assert "shelf" not in listed["assistant:helper"]
    assert not {"partners", "shelf"} & set(listed["admin"])


def test_key_is_shown_once_opens_what_it_should_and_is_revoked_at_once(office: Office) -> None:
    response = office.run.request("POST", "/v1/principals/user/ana/keys", "admin")
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    issued = response.json()
    assert issued.keys() == {"id", "key", "expires_at", "actions", "collections"}
    assert re.fullmatch(r"mun_[a-z2-7]{52}", issued["key"])
    headers = {"Authorization": f"Bearer {issued['key']}"}
    assert office.run.client.get("/v1/documents", headers=headers).status_code == 200
    for path in ("/v1/principals", "/v1/principals/user/ana", "/v1/traces?limit=200"):
        assert issued["key"] not in office.run.request("GET", path, "admin").text
    wrong = office.run.request("DELETE", f"/v1/principals/user/max/keys/{issued['id']}", "admin")
    refusal(office.run, wrong, 404, "not-found")
    assert office.run.client.get("/v1/documents", headers=headers).status_code == 200
    gone = office.run.request("DELETE", f"/v1/principals/user/ana/keys/{issued['id']}", "admin")
    assert (gone.status_code, gone.content) == (204, b"")
    refusal(office.run, office.run.client.get("/v1/documents", headers=headers), 401, "unauthenticated")
    again = office.run.request("DELETE", f"/v1/principals/user/ana/keys/{issued['id']}", "admin")
    refusal(office.run, again, 404, "not-found")


@pytest.mark.parametrize("who", ["user:lena", "user:max", "user:sunniva", "assistant:helper"])
def test_control_plane_is_for_administrators(office: Office, who: str) -> None:
    other = "user/ana" if who == "user:max" else "user/max"
    for method, path, body in (
        ("PUT", "/v1/principals/user/max", PRINCIPAL),
        ("GET", "/v1/principals/user/max", None),
        ("GET", "/v1/principals", None),
        ("POST", "/v1/principals/user/max/keys", None),
        ("GET", f"/v1/principals/{other}/keys", None),
        ("DELETE", f"/v1/principals/{other}/keys/key_x", None),
        ("POST", f"/v1/principals/{other}/keys/key_x/rotate", None),
        ("POST", "/v1/policies/simulate", {"cedar": "permit (principal, action, resource);"}),
        ("PUT", "/v1/purposes/mine", {"title": "Mine"}),
        ("PUT", "/v1/collections/policies", COLLECTION),
    ):
        problem = refusal(office.run, office.run.request(method, path, who, json=body), 403, "not-permitted")
        assert "group:administrators" in problem["detail"]


# -- Documents ---------------------------------------------------------------------------------------------------------


def test_submission_is_acknowledged_with_its_job(office: Office) -> None:
    for submitted in office.submitted.values():
        assert submitted["state"] == "queued"
        assert submitted["version"] == {"id": None}
        job = submitted["job"]
        assert (job["kind"], job["state"], job["problem"], job["result"]) == ("ingest", "queued", None, None)
        assert job["progress"] == {"done": 0, "total": 7, "unit": "steps"}
        ended = got(office.run, f"/v1/jobs/{job['id']}", "user:lena")
        assert (ended["state"], ended["progress"]["done"]) == ("succeeded", 7)
        assert ended["result"] == {
            "document_id": submitted["document"]["id"],
            "version": 1,
            "unchanged": False,
            "findings": got(office.run, f"/v1/documents/{submitted['document']['id']}")["findings"],
            "attachments": [],
        }


def test_acknowledgement_says_where_to_follow(run_furnished: Running) -> None:
    response = run_furnished.submit("user:lena", "shelf", "# Words", uri="words")
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/jobs/{response.json()['job']['id']}"
    assert got(run_furnished, response.headers["location"], "user:lena")["state"] == "queued"


def test_waiting_gives_the_published_version(run_furnished: Running) -> None:
    body = {"text": "# Words", "metadata": {"uri": "words"}}
    path, headers = "/v1/collections/shelf/documents", {"Prefer": "respond-async, wait=30"}
    with working(run_furnished):
        response = run_furnished.request("POST", path, "user:lena", json=body, headers=headers)
    assert response.status_code == 201
    published = response.json()
    id = published["document"]["id"]
    assert (published["state"], published["version"]) == ("published", {"id": 1})
    assert response.headers["location"] == f"/v1/documents/{id}/versions/1"
    assert got(run_furnished, response.headers["location"])["document_id"] == id
    again = run_furnished.request("POST", path, "user:lena", json=body, headers=headers)
    assert again.status_code == 200
    assert again.json() == {"state": "unchanged", "job": None, "document": {"id": id}, "version": {"id": 1}}


def test_waiting_in_vain_gives_the_job_to_follow(run_furnished: Running) -> None:
    response = run_furnished.request(
        "POST",
        "/v1/collections/shelf/documents",
        "user:lena",
        json={"text": "# Words", "metadata": {"uri": "words"}},
        headers={"Prefer": "wait=1"},
    )
    assert (response.status_code, response.json()["state"]) == (202, "queued")


def test_same_bytes_again_while_they_are_on_their_way_are_one_job_and_one_version(run_furnished: Running) -> None:
    texts = ("# Words", "# Words", "# Others", "# Words")
    submitted = [run_furnished.submit("user:lena", "shelf", text, uri="words") for text in texts]
    assert [each.status_code for each in submitted] == [202] * 4
    ids = [each.json()["job"]["id"] for each in submitted]
    assert (ids[0] == ids[1], len(set(ids))) == (True, 3)
    run_furnished.work()
    results = [got(run_furnished, f"/v1/jobs/{id}", "user:lena")["result"] for id in ids]
    assert [(each["version"], each["unchanged"]) for each in results] == [
        (1, False),
        (1, False),
        (2, False),
        (3, False),
    ]


def test_withdrawing_while_it_is_read_ends_the_wait_with_a_conflict(run_furnished: Running) -> None:
    submitted = run_furnished.submit("user:lena", "shelf", "# Words", uri="words").json()
    path = f"/v1/documents/{submitted['document']['id']}/withdraw"
    assert run_furnished.request("POST", path, "user:lena", json={"reason": "wrong"}).status_code == 200
    assert got(run_furnished, f"/v1/jobs/{submitted['job']['id']}", "user:lena")["state"] == "cancelled"
    run_furnished.work()
    refusal(run_furnished, run_furnished.request("GET", path.removesuffix("/withdraw"), "user:lena"), 404, "not-found")


def test_other_bytes_are_the_next_version_and_other_metadata_too(run_furnished: Running) -> None:
    id = run_furnished.publish("user:lena", "shelf", "# Words\nThe first.", uri="words", valid_from="2024-01-01")
    run_furnished.publish("user:lena", "shelf", "# Words\nThe second.", uri="words", valid_from="2025-01-01")
    run_furnished.publish(
        "user:lena", "shelf", "# Words\nThe second.", uri="words", valid_from="2025-01-01", title="Other words"
    )
    versions = got(run_furnished, f"/v1/documents/{id}/versions")["versions"]
    assert [(each["version"], each["title"], each["state"]) for each in versions] == [
        (3, "Other words", "current"),
        (2, "Words", "superseded"),
        (1, "Words", "superseded"),
    ]
    assert got(run_furnished, f"/v1/documents/{id}") == versions[0]
    texts = [got(run_furnished, f"/v1/documents/{id}/versions/{n}/text")["text"] for n in (1, 2, 3)]
    assert ["first" in texts[0], "second" in texts[1], texts[2]] == [True, True, texts[1]]


class Strict(BaseModel):
    """What the contract names must be there, in these types; more may be."""

    model_config = ConfigDict(strict=True, extra="allow")


class Label(Strict):
    level: str
    categories: list[str]


def test_version_tells_all_that_was_stated(office: Office) -> None:
    version = got(office.run, f"/v1/documents/{office.sharing}")
    assert got(office.run, f"/v1/documents/{office.sharing}/versions/1") == version
    assert version.pop("boundary").startswith("bnd_")
    assert in_utc(version.pop("recorded_at"))
    assert version.pop("parser")
    assert version == {
        "document_id": office.sharing,
        "collection": "policies",
        "uri": "policies/sharing",
        "version": 1,
        "title": "Data-sharing policy",
        "state": "current",
        "media_type": "text/markdown",
        "size_bytes": len(SHARING.encode()),
        "digest": sha256(SHARING.encode()),
        "label": {"level": "confidential", "categories": ["pii"]},
        "jurisdictions": ["EU"],
        "purposes": [],
        "valid_from": "2025-03-01T00:00:00Z",
        "valid_to": None,
        "review_by": "2029-12-31T22:00:00Z",
        "source": {
            "connector": "mail",
            "fetched_at": "2025-02-27T09:30:00.250Z",
            "etag": "7",
            "author": "Ana",
            "location": None,
            "item": None,
        },
        "attributes": {"region": ["EU"], "branch": ["Lisbon", "Dublin"]},
        "findings": [],
        "rollback_of": None,
        "superseded_by": None,
        "holds": None,
    }


def in_utc(text: str) -> bool:
    return text.endswith("Z") and len(text) in (20, 24)


def test_original_comes_back_byte_for_byte_and_only_as_a_download(office: Office) -> None:
    for id, content, media_type, name in (
        (office.pdf, None, "application/pdf", "records"),
        (office.sharing, SHARING.encode(), "text/markdown", "sharing"),
    ):
        response = office.run.request("GET", f"/v1/documents/{id}/versions/1/content", "user:ana")
        assert response.status_code == 200
        assert sha256(response.content) == got(office.run, f"/v1/documents/{id}")["digest"]
        assert content in (None, response.content)
        assert response.headers["content-type"] == media_type
        assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert response.headers["x-content-type-options"] == "nosniff"


def test_name_of_a_download_cannot_break_out_of_its_header(run_furnished: Running) -> None:
    id = run_furnished.publish("user:lena", "shelf", "# Words", uri='a/b";\r\nSet-Cookie: x="é')
    response = run_furnished.request("GET", f"/v1/documents/{id}/versions/1/content", "user:ana")
    assert response.headers["content-disposition"] == 'attachment; filename="b____Set-Cookie_ x___"'
    assert "set-cookie" not in response.headers


def test_text_is_what_its_elements_point_into(office: Office) -> None:
    for id in (office.pdf, office.sharing):
        canonical = got(office.run, f"/v1/documents/{id}/versions/1/text")
        assert (canonical["document_id"], canonical["version"]) == (id, 1)
        text, before = canonical["text"], 0
        for element in canonical["elements"]:
            start, end = element["span"]
            assert before <= start < end <= len(text)
            assert not text[before:start].strip()
            before = end
            assert element["kind"] in {"title", "paragraph", "list-item", "table", "other"}
        assert not text[before:].strip()
    pages = [element["page"] for element in got(office.run, f"/v1/documents/{office.pdf}/versions/1/text")["elements"]]
    assert set(pages) == {1, 2}


def test_page_after_page_shows_everything_once(office: Office) -> None:
    whole = got(office.run, "/v1/documents?limit=200")
    assert whole["cursor"] is None
    places = [(each["collection"], each["uri"]) for each in whole["documents"]]
    assert places == sorted(places)
    assert {"sheet-0", "sheet-4", "policies/sharing", "policies/records"} <= {uri for _, uri in places}
    for limit in (1, 2, 3, len(places) - 1, len(places)):
        shown, query = [], f"?limit={limit}"
        while True:
            page = got(office.run, f"/v1/documents{query}")
            assert len(page["documents"]) == limit or page["cursor"] is None
            shown += page["documents"]
            if page["cursor"] is None:
                break
            query = f"?limit={limit}&cursor={page['cursor']}"
        assert shown == whole["documents"]


def test_list_is_narrowed_by_collection_title_and_uri(office: Office) -> None:
    def uris(query: str) -> list[str]:
        return [each["uri"] for each in got(office.run, f"/v1/documents?{query}")["documents"]]

    assert uris("collection=shelf") == [f"sheet-{number}" for number in range(5)]
    assert uris("q=SHEET-3") == ["sheet-3"]
    assert uris("q=data-SHARING%20policy") == ["policies/sharing"]
    assert uris("q=%25") == uris("q=_") == uris("collection=nowhere") == []


def test_list_shows_what_is_in_force_and_the_rest_by_its_state_to_owners(run_furnished: Running) -> None:
    run = run_furnished
    for uri, times in {
        "now": {},
        "past": {"valid_from": "2019-01-01", "valid_to": "2020-01-01"},
        "ahead": {"valid_from": "2090-01-01"},
        "gone": {},
    }.items():
        run.submit("user:lena", "shelf", f"# {uri}\nOf the shelf.", uri=uri, **times)
    run.work()
    run.publish("user:lena", "shelf", "# now\nOf the shelf, again.", uri="now")
    by_uri = {each["uri"]: each for each in got(run, "/v1/documents", "user:lena")["documents"]}
    path = f"/v1/documents/{by_uri['gone']['document_id']}/withdraw"
    assert run.request("POST", path, "user:lena", json={"reason": "wrong"}).status_code == 200

    def listed(who: str) -> dict[str, list[str]]:
        states = ("", "current", "superseded", "expired", "embargoed", "withdrawn")
        query = {state: f"?state={state}" if state else "" for state in states}
        return {
            state: [each["uri"] for each in got(run, f"/v1/documents{query[state]}", who)["documents"]]
            for state in states
        }

    assert listed("user:lena") == {
        "": ["now"],
        "current": ["now"],
        "superseded": ["now"],
        "expired": ["past"],
        "embargoed": ["ahead"],
        "withdrawn": ["gone"],
    }
    assert listed("user:ana") == {
        "": ["now"],
        "current": ["now"],
        "superseded": ["now"],
        "expired": [],
        "embargoed": [],
        "withdrawn": [],
    }


def test_amendment_moves_what_it_states_and_leaves_the_rest(run_furnished: Running) -> None:
    run = run_furnished
    times = {"valid_from": "2025-01-01", "valid_to": "2090-01-01", "review_by": "2080-01-01"}
    id = run.publish("user:lena", "shelf", "# Words", uri="words", label={"level": "public"}, **times)
    path = f"/v1/documents/{id}"

    def amended(**body: Any) -> dict[str, Any]:
        response = run.request("PATCH", path, "user:lena", json=body)
        assert (response.status_code, response.json()) == (200, {"id": id}), response.text
        return dict(got(run, path, "user:lena"))

    before = got(run, path, "user:lena")
    boundary = before["boundary"]
    after = amended(label={"level": "confidential", "categories": ["pii"]}, jurisdictions=["EU"])
    assert after.pop("boundary") != boundary
    del before["boundary"]
    assert after == before | {"label": {"level": "confidential", "categories": ["pii"]}, "jurisdictions": ["EU"]}
    refusal(run, run.request("GET", path, "user:max"), 404, "not-found")
    assert run.request("GET", path, "user:ana").status_code == 200
    amended(readers=["user:lena"])
    refusal(run, run.request("GET", path, "user:ana"), 404, "not-found")
    amended(readers=[], denied=["user:max"])
    assert run.request("GET", path, "user:ana").status_code == 200
    times_taken = amended(valid_to=None, review_by=None)
    assert (times_taken["valid_from"], times_taken["valid_to"], times_taken["review_by"]) == (
        "2025-01-01T00:00:00Z",
        None,
        None,
    )
    assert amended(valid_from="2019-01-01", valid_to="2020-01-01")["state"] == "expired"
    refusal(run, run.request("GET", path, "user:ana"), 404, "not-found")
    assert amended(valid_to="1970-01-01", valid_from="1960-01-01")["valid_to"] == "1970-01-01T00:00:00Z"
    for who in ("user:ana", "user:max"):
        refusal(run, run.request("GET", path, who), 404, "not-found")
    opened = {
        "purposes": ["legal-review"],
        "jurisdictions": [],
        "label": {},
        "denied": [],
        "valid_to": None,
        "reason": "open",
    }
    assert run.request("PATCH", path, "user:lena", json=opened).status_code == 200
    refusal(run, run.request("GET", path, "user:max"), 404, "not-found")
    assert got(run, f"{path}?purpose=legal-review", "user:max")["purposes"] == ["legal-review"]


def test_withdrawn_document_is_gone_to_readers_and_kept_for_owners(run_furnished: Running) -> None:
    run = run_furnished
    id = run.publish("user:lena", "shelf", "# Words\nBook a train.", uri="words")
    citation = run.retrieve("user:ana", "train")["passages"][0]["citation"]["id"]
    response = run.request("POST", f"/v1/documents/{id}/withdraw", "user:lena", json={"reason": "wrong"})
    assert (response.status_code, response.json()) == (200, {"id": id, "still_superseded": []})
    for path in (f"/v1/documents/{id}", f"/v1/documents/{id}/versions/1/text", f"/v1/citations/{citation}"):
        refusal(run, run.request("GET", path, "user:ana"), 404, "not-found")
    assert run.retrieve("user:ana", "train")["outcome"] == "empty"
    assert got(run, f"/v1/documents/{id}", "user:lena")["state"] == "withdrawn"
    assert got(run, f"/v1/documents/{id}/versions/1/text", "user:lena")["text"]
    assert got(run, f"/v1/citations/{citation}", "user:lena")["current"] is False
    run.publish("user:lena", "shelf", "# Words\nBook a train.", uri="words")
    assert got(run, f"/v1/documents/{id}")["version"] == 2


# -- Jobs --------------------------------------------------------------------------------------------------------------


def test_events_of_a_job_end_with_its_last_state(run_furnished: Running) -> None:
    run = run_furnished
    for text, state in (("# Words", "succeeded"), ("%PDF-", "failed")):
        job = run.submit("user:lena", "shelf", text, uri=state).json()["job"]
        with working(run):
            response = run.request("GET", f"/v1/jobs/{job['id']}/events", "user:lena")
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
        events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]
        assert {name for name, _ in events[:-1]} <= {"progress"}
        assert events[-1] == ("ended", got(run, f"/v1/jobs/{job['id']}", "user:lena"))
        assert events[-1][1]["state"] == state
        done = [each["progress"]["done"] for _, each in events]
        assert done == sorted(done)


def test_failed_job_tells_why_as_a_problem(run_furnished: Running) -> None:
    job = run_furnished.submit("user:lena", "shelf", "%PDF-", uri="words").json()["job"]
    run_furnished.work()
    ended = got(run_furnished, f"/v1/jobs/{job['id']}", "user:lena")
    assert (ended["state"], ended["result"]) == ("failed", None)
    assert ended["problem"]["type"] == "/problems/unsupported-media-type"
    assert (ended["problem"]["title"], ended["problem"]["status"]) == ("Unsupported format", 415)


# -- Questions ---------------------------------------------------------------------------------------------------------


class Box(Strict):
    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class Citation(Strict):
    id: str
    document_id: str
    title: str
    uri: str
    collection: str
    version: int
    digest: str
    span: list[int]
    quote_digest: str
    page: int | None
    boxes: list[Box]
    section: list[str]
    valid_from: str | None
    valid_to: str | None
    recorded_at: str


class Redacted(Strict):
    span: list[int]
    kind: str
    category: str


class Passage(Strict):
    rank: int
    score: float
    text: str
    citation: Citation
    label: Label
    jurisdictions: list[str]
    boundary: str
    flags: list[str]
    redactions: list[Redacted]


class Named(Strict):
    id: str
    policies: list[str]


class Check(Strict):
    check: str
    outcome: str
    reason: str
    policies: list[str]
    code: str | None


class Recourse(Strict):
    kind: str
    collection: str
    title: str
    owner: str
    href: str


class Cost(Strict):
    amount: str
    currency: str


class Usage(Strict):
    query_tokens: int
    context_tokens: int
    cost: Cost
    timings_ms: dict[str, float]


class Answer(Strict):
    trace_id: str
    outcome: str
    passages: list[Passage]
    context: str
    label: Label | None
    obligations: list[Named]
    checks: list[Check]
    recourse: list[Recourse]
    usage: Usage
    receipt: str | None


FULL = {
    "purpose": "legal-review",
    "collections": ["policies"],
    "top_k": 8,
    "max_tokens": 2000,
    "as_of": None,
    "known_at": None,
    "filters": {"attributes.region": ["EU", "UK"]},
    "mode": "hybrid",
    "rerank": True,
    "expand": True,
    "workflow": "case-17",
    "decision": "share-dataset-042",
}


@pytest.mark.parametrize("stated", [{}, FULL], ids=["query-alone", "everything-stated"])
def test_answer_has_every_field_of_the_contract(office: Office, stated: dict[str, Any]) -> None:
    raw = office.run.retrieve("user:ana", QUESTION, **stated)
    answer = Answer.model_validate(raw)
    assert answer.trace_id.startswith("tr_")
    assert answer.outcome == "answered"
    assert answer.passages[0].citation.uri == "policies/sharing"
    assert [passage.rank for passage in answer.passages] == list(range(1, len(answer.passages) + 1))
    scores = [passage.score for passage in answer.passages]
    assert scores == sorted(scores, reverse=True)
    for passage in answer.passages:
        assert passage.citation.id.startswith("cit_")
        assert passage.boundary.startswith("bnd_")
        assert in_utc(passage.citation.recorded_at)
    assert answer.context.split("\n")[0] == CONTEXT_HEADER
    for passage in answer.passages:
        cited = passage.citation
        assert f"[{passage.rank}]\n" in answer.context
        assert f"{cited.title} ({cited.uri}, version {cited.version}" in answer.context
        assert passage.text in answer.context
    assert answer.label == Label(level="confidential", categories=["pii"])
    names = [
        "identity",
        "purpose",
        "tool",
        "boundary",
        "clearance",
        "jurisdiction",
        "lifecycle",
        "integrity",
        "freshness",
        "authority",
        "conflict",
        "personal-data",
    ]
    assert [check.check for check in answer.checks] == names
    assert all(check.reason.endswith(".") for check in answer.checks)
    ways = [each.collection for each in answer.recourse if each.collection in ("contracts", "policies", "shelf")]
    assert ways == (["policies"] if stated else ["contracts", "policies"])
    assert {(each.kind, each.owner, each.href) for each in answer.recourse} == {
        ("request-access", "group:legal", "/v1/escalations")
    }
    assert answer.usage.query_tokens == len(office.run.ports.tokenizer.offsets(QUESTION))
    assert answer.usage.context_tokens == len(office.run.ports.tokenizer.offsets(answer.context))
    assert answer.usage.timings_ms.keys() >= {"embed", "search", "total"}
    if stated:
        assert {passage.citation.uri for passage in answer.passages} == {"policies/sharing"}


def test_quote_is_the_span_of_the_text_and_the_digests_are_of_the_bytes(office: Office) -> None:
    passages = [
        passage
        for question in (QUESTION, "How many years are records kept?", "Which sheet is on the shelf?")
        for passage in office.run.retrieve("user:ana", question)["passages"]
    ]
    assert {passage["citation"]["document_id"] for passage in passages} >= {office.sharing, office.pdf}
    for passage in passages:
        citation = passage["citation"]
        path = f"/v1/documents/{citation['document_id']}/versions/{citation['version']}"
        start, end = citation["span"]
        assert got(office.run, f"{path}/text")["text"][start:end] == passage["text"]
        assert sha256(passage["text"].encode()) == citation["quote_digest"]
        content = office.run.request("GET", f"{path}/content", "user:ana").content
        assert sha256(content) == citation["digest"]
        if citation["document_id"] == office.pdf:
            assert citation["page"] in (1, 2)
            assert citation["boxes"]
            assert {box["page"] for box in citation["boxes"]} <= {1, 2}
        else:
            assert (citation["page"], citation["boxes"]) == (None, [])


def test_citation_reopens_with_what_is_around_it(office: Office) -> None:
    passage = office.run.retrieve("user:ana", QUESTION)["passages"][0]
    citation = passage["citation"]
    opened = got(office.run, f"/v1/citations/{citation['id']}")
    assert (opened["id"], opened["text"], opened["span"]) == (citation["id"], passage["text"], citation["span"])
    assert opened["quote_digest"] == citation["quote_digest"]
    assert opened["current"] is True
    assert opened["source"] == got(office.run, f"/v1/documents/{office.sharing}")
    text = got(office.run, f"/v1/documents/{office.sharing}/versions/1/text")["text"]
    assert (opened["before"] + opened["text"] + opened["after"]) in text
    start, end = citation["span"]
    assert all(start < element["span"][1] and element["span"][0] < end for element in opened["elements"])


def test_citation_of_a_superseded_version_says_that_it_is_no_longer_current(run_furnished: Running) -> None:
    run_furnished.publish("user:lena", "shelf", "# Words\nBook a train.", uri="words")
    passage = run_furnished.retrieve("user:ana", "train")["passages"][0]
    run_furnished.publish("user:lena", "shelf", "# Words\nBook a coach.", uri="words")
    opened = got(run_furnished, f"/v1/citations/{passage['citation']['id']}")
    assert (opened["text"], opened["current"], opened["source"]["state"]) == (passage["text"], False, "superseded")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_each_mode_finds_what_is_asked_for(office: Office, mode: str) -> None:
    question = "What is stopped when consent is withdrawn?"
    assert office.run.found("user:ana", question, mode=mode)[0] == "policies/sharing"


@pytest.mark.parametrize("top_k", [1, 2, 50])
def test_no_more_passages_than_asked_for(office: Office, top_k: int) -> None:
    passages = office.run.retrieve("user:ana", "Which sheet is on the shelf?", top_k=top_k)["passages"]
    assert len(passages) == min(top_k, len(passages))
    assert passages
    whole = office.run.retrieve("user:ana", "Which sheet is on the shelf?", top_k=50)["passages"]
    assert passages == whole[:top_k]


@pytest.mark.parametrize("max_tokens", [90, 120, 160, 240, 2000])
def test_context_fits_the_tokens_that_were_given(office: Office, max_tokens: int) -> None:
    answer = office.run.retrieve("user:ana", "Which sheet is on the shelf?", max_tokens=max_tokens)
    assert answer["passages"]
    assert answer["usage"]["context_tokens"] <= max_tokens


def test_first_passage_is_shown_even_if_it_alone_costs_more_than_was_given(office: Office) -> None:
    assert len(office.run.retrieve("user:ana", "Which sheet is on the shelf?", max_tokens=1)["passages"]) == 1


def test_filters_must_all_match_and_any_value_of_one_does(office: Office) -> None:
    def found(**filters: list[str]) -> list[str]:
        stated = {f"attributes.{name}": values for name, values in filters.items()}
        return office.run.found("user:ana", QUESTION, filters=stated)

    assert found(region=["EU"]) == found(region=["UK", "EU"]) == found(branch=["Dublin"]) == ["policies/sharing"]
    assert found(region=["EU"], branch=["Lisbon"]) == ["policies/sharing"]
    assert found(region=["UK"]) == found(region=["EU"], branch=["Porto"]) == []


def test_question_is_answered_as_of_then_and_as_known_then(run_furnished: Running) -> None:
    run = run_furnished
    run.publish("user:lena", "shelf", "# Travel\nBook a train 14 days ahead.", uri="travel", valid_from="2024-01-01")
    known = got(run, "/v1/documents")["documents"][0]["recorded_at"]
    run.publish("user:lena", "shelf", "# Travel\nBook a train 30 days ahead.", uri="travel", valid_from="2025-01-01")

    def days(**stated: str) -> list[str]:
        passages = run.retrieve("user:ana", "How many days ahead is a train booked?", **stated)["passages"]
        return [match.group() for passage in passages if (match := re.search(r"\d+ days", passage["text"]))]

    assert days() == ["30 days"]
    assert days(as_of="2024-06-01T00:00:00Z") == ["14 days"]
    assert days(as_of="2024-06-01T02:00:00+02:00") == ["14 days"]
    assert days(as_of="2023-12-31") == []
    assert days(known_at=known) == ["14 days"]
    assert days(known_at="2020-01-01") == []
    assert days(as_of="2025-06-01", known_at=known) == ["14 days"]


def test_label_of_an_answer_is_the_join_of_its_passages(run_furnished: Running) -> None:
    run = run_furnished
    for uri, label in {
        "one": {"level": "public", "categories": ["pii"]},
        "two": {"level": "confidential"},
        "three": {"level": "internal"},
    }.items():
        run.submit("user:lena", "shelf", f"# {uri}\nBook a train, {uri}.", uri=uri, label=label)
    run.work()
    answer = run.retrieve("user:ana", "train")
    assert sorted(answer["passages"][n]["citation"]["uri"] for n in range(3)) == ["one", "three", "two"]
    assert answer["label"] == {"level": "confidential", "categories": ["pii"]}
    lesser = run.retrieve("user:max", "train")
    assert [each["citation"]["uri"] for each in lesser["passages"]] == ["three"]
    assert lesser["label"] == {"level": "internal", "categories": []}


def test_answer_without_passages_is_empty_and_says_whom_to_ask(office: Office) -> None:
    answer = Answer.model_validate(office.run.retrieve("assistant:helper", QUESTION))
    assert (answer.outcome, answer.passages, answer.context, answer.label) == ("empty", [], "", None)
    assert {"contracts", "policies"} <= {each.collection for each in answer.recourse}


# -- Traces ------------------------------------------------------------------------------------------------------------


def test_trace_of_an_answer_is_ones_own_and_tells_what_was_asked_and_shown(office: Office) -> None:
    answer = office.run.retrieve("user:ana", QUESTION, **FULL)
    trace = got(office.run, f"/v1/traces/{answer['trace_id']}")
    assert trace.keys() == {
        "id", "at", "kind", "subject", "actor", "actors", "proof", "outcome", "request", "response", "grounds", "links",
    }  # fmt: skip
    assert (trace["id"], trace["kind"], trace["outcome"]) == (answer["trace_id"], "retrieve", "answered")
    assert (trace["subject"], trace["actor"], trace["actors"]) == ("user:ana", None, [])
    assert trace["proof"] == "proven"
    assert in_utc(trace["at"])
    assert trace["request"] == {
        "query": QUESTION,
        "client": None,
        "destination": None,
        **FULL,
        "as_of": None,
        "known_at": None,
    }
    assert trace["grounds"] is None
    assert [each["citation"] for each in trace["response"]["passages"]] == [
        passage["citation"]["id"] for passage in answer["passages"]
    ]
    assert trace["response"]["checks"] == answer["checks"]
    assert "signed agreement" not in json.dumps(trace)
    for stranger in ("user:max", "user:lena", "admin", "assistant:helper"):
        response = office.run.request("GET", f"/v1/traces/{answer['trace_id']}", stranger)
        refusal(office.run, response, 404, "not-found")


def test_auditor_sees_every_trace_and_its_grounds_and_not_the_question(office: Office) -> None:
    office.run.key("user:sunniva")  # issuing it leaves a trace of its own
    answer = office.run.retrieve("user:ana", QUESTION)
    trace = got(office.run, f"/v1/traces/{answer['trace_id']}", "user:sunniva")
    assert trace["request"]["query"] is None
    assert trace["grounds"].keys() >= {"epochs", "boundaries", "dropped"}
    own = got(office.run, f"/v1/traces/{answer['trace_id']}")
    assert trace == own | {"request": own["request"] | {"query": None}, "grounds": trace["grounds"]}
    newest = got(office.run, "/v1/traces?limit=1", "user:sunniva")["traces"][0]
    assert newest == trace


def test_traces_page_by_page_are_all_of_ones_own_newest_first(run_furnished: Running) -> None:
    run = run_furnished
    asked = [run.retrieve("user:ana", f"Question {number}?")["trace_id"] for number in range(5)]
    run.retrieve("user:max", "Another's question?")
    whole = got(run, "/v1/traces")
    assert [each["id"] for each in whole["traces"]] == asked[::-1]
    assert whole["cursor"] is None
    shown, query = [], "?limit=2"
    while query:
        page = got(run, f"/v1/traces{query}")
        shown += [each["id"] for each in page["traces"]]
        query = page["cursor"] and f"?limit=2&cursor={page['cursor']}"
    assert shown == asked[::-1]
    assert {each["subject"] for each in got(run, "/v1/traces", "user:sunniva")["traces"]} > {"user:ana", "user:max"}


def test_reads_changes_and_refusals_leave_traces_too(run_furnished: Running) -> None:
    run = run_furnished
    id = run.publish("user:lena", "shelf", "# Words\nBook a train.", uri="words", readers=["user:ana"])
    got(run, f"/v1/documents/{id}/versions/1/text")
    refused = run.request("GET", f"/v1/documents/{id}", "user:max").json()
    run.request("PATCH", f"/v1/documents/{id}", "user:lena", json={"readers": []})
    traces = {each["subject"]: each for each in reversed(got(run, "/v1/traces", "user:sunniva")["traces"])}
    assert (traces["user:ana"]["kind"], traces["user:ana"]["request"]["what"]) == ("read", "text")
    assert (traces["user:max"]["kind"], traces["user:max"]["outcome"]) == ("refusal", "not-found")
    assert traces["user:max"]["id"] == refused["trace_id"]
    assert traces["user:lena"]["kind"] == "change"
    assert traces["user:administrator"]["kind"] == "change"


# -- Operation and documentation ---------------------------------------------------------------------------------------


def test_health_readiness_and_metrics_need_no_key(office: Office) -> None:
    client = office.run.client
    assert client.get("/healthz").json() == {"status": "alive"}
    parts = dict.fromkeys(("database", "index", "model", "policies"), "ready")
    assert client.get("/readyz").json() == {"status": "ready", "parts": parts}
    office.run.request("GET", f"/v1/documents/{office.sharing}", "user:ana")
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    counted = 'muniment_requests_total{method="GET",route="/v1/documents/{id}",status="200"}'
    assert counted in metrics.text
    assert office.sharing not in metrics.text
    assert client.get("/docs").headers["content-type"].startswith("text/html")


CONTRACT = {
    "PUT /v1/principals/{kind}/{id}",
    "POST /v1/principals/{kind}/{id}/keys",
    "DELETE /v1/principals/{kind}/{id}/keys/{key_id}",
    "GET /v1/principals/{kind}/{id}/keys",
    "POST /v1/principals/{kind}/{id}/keys/{key_id}/rotate",
    "PUT /v1/purposes/{id}",
    "PUT /v1/collections/{name}",
    "GET /v1/collections",
    "POST /v1/collections/{name}/documents",
    "GET /v1/jobs/{id}",
    "GET /v1/jobs/{id}/events",
    "GET /v1/documents",
    "GET /v1/documents/{id}",
    "GET /v1/documents/{id}/versions",
    "GET /v1/documents/{id}/versions/{n}",
    "GET /v1/documents/{id}/versions/{n}/content",
    "GET /v1/documents/{id}/versions/{n}/text",
    "PATCH /v1/documents/{id}",
    "POST /v1/documents/{id}/withdraw",
    "POST /v1/retrieve",
    "POST /v1/answer",
    "GET /v1/citations/{id}",
    "GET /v1/traces",
    "GET /v1/traces/{id}",
    "POST /v1/policies",
    "GET /v1/policies",
    "GET /v1/policies/active",
    "PUT /v1/policies/tests",
    "GET /v1/policies/tests",
    "POST /v1/policies/validate",
    "POST /v1/policies/rollback",
    "GET /v1/policies/{id}",
    "DELETE /v1/policies/{id}",
    "POST /v1/policies/{id}/test",
    "POST /v1/policies/{id}/approve",
    "POST /v1/policies/{id}/activate",
    "POST /v1/break-glass",
    "GET /v1/break-glass",
    "DELETE /v1/break-glass/{id}",
    "POST /access/v1/evaluation",
    "POST /access/v1/evaluations",
    "POST /access/v1/search/subject",
    "POST /access/v1/search/resource",
    "POST /access/v1/search/action",
    "GET /.well-known/authzen-configuration",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_documented_with_its_problems(office: Office) -> None:
    operations = _operations(office.run.client.get("/openapi.json").json())
    assert operations.keys() >= CONTRACT
    for name, operation in operations.items():
        assert operation["summary"], name
        statuses = operation["responses"].keys()
        assert any(status.startswith("2") for status in statuses), name
        if " /access/" in name or "/.well-known/" in name:  # errors there are as another specification says
            assert all(
                response["content"] == {"text/plain": {"schema": {"type": "string"}}}
                for status, response in operation["responses"].items()
                if status != "200"
            ), name
            continue
        if "/v1/" in name:
            assert statuses >= {"401", "403", "422", "503"}, name
            assert operation["security"] == [{"HTTPBearer": []}], name
            headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
            assert headers >= {"Muniment-Subject-Token", "Muniment-On-Behalf-Of"}, name
        if "requestBody" in operation:
            assert statuses >= {"413", "415"}, name
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }, name


def test_openapi_document_is_sound_and_its_examples_are_true(office: Office) -> None:
    """Every schema is one, every reference leads somewhere, and every example is of its own schema."""
    document = office.run.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    exemplified = set()
    for name, schema in schemas.items():
        assert jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}), name
        validator = jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **_shared(schemas)})
        if "example" in schema:
            validator.validate(schema["example"])
            exemplified.add(name)
    for found in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        assert found.removeprefix("#/components/schemas/") in schemas
    assert exemplified >= {"AnswerOut", "Problem"}
    assert not [name for name in schemas if "__" in name], "two models of one name"
    for route, operation in _operations(document).items():
        taken = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        named = {name for name in schemas if f'/{name}"' in json.dumps(taken.get("schema"))}
        assert not taken or "example" in taken or named & exemplified, f"{route} takes a body that no example shows"
    upload = _operations(document)["POST /v1/collections/{name}/documents"]["requestBody"]["content"]
    validator = jsonschema_rs.Draft202012Validator(upload["application/json"]["schema"] | _shared(schemas))
    validator.validate(upload["application/json"]["example"])


@pytest.mark.parametrize("path", ["/v1/retrieve", "/v1/answer"])
def test_examples_of_questions_are_answered_by_a_fresh_server(run: Running, path: str) -> None:
    schemas = run.client.get("/openapi.json").json()["components"]["schemas"]
    body = schemas["RetrieveBody" if path == "/v1/retrieve" else "AnswerBody"]
    run.admin("POST", path, body["example"])
    for name, field in body["properties"].items():
        for example in field.get("examples", []):
            run.admin("POST", path, {"query": "May we?", name: example})


def _shared(schemas: dict[str, Any]) -> dict[str, Any]:
    return {"components": {"schemas": schemas}}
