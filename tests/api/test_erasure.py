"""Legal hold, erasure and retention as their callers see them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.corpus import Parsed
from app.operations import retain
from app.store import erasing, retention
from app.store.database import reading, writing
from ingest.ports import Parser
from tests.running import Running

OLGA, RUDI, OTTO = "user:olga", "user:rudi", "user:otto"
"""Owns papers; reads them; owns reports."""

CLERK, AUDITOR = "user:clerk", "user:sunniva"
"""Owns papers and is cleared for less; audits."""

BLUE = "# Zwibbel\n\nThe zwibbel is blue and stands in the garden."
GREEN = "# Zwibbel\n\nThe zwibbel was painted green in the spring."
QUESTION = "What stands in the garden?"


@pytest.fixture
def house(run: Running) -> Running:
    run.put_principal("group:owners")
    run.put_principal(OLGA, groups=["group:owners"], clearance="restricted")
    run.put_principal(CLERK, groups=["group:owners"])
    run.put_principal(RUDI)
    run.put_principal(OTTO)
    run.put_principal(AUDITOR, groups=["group:auditors"])
    run.put_collection("papers", owners=["group:owners"], default_readers=["group:all-staff"])
    run.put_collection("reports", owners=[OTTO])
    return run


def posted(run: Running, path: str, who: str, status: int = 201, **body: Any) -> dict[str, Any]:
    response = run.request("POST", path, who, json=body)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def erase(run: Running, document: str, who: str = OLGA, status: int = 201) -> dict[str, Any]:
    return posted(run, f"/v1/documents/{document}/erase", who, status, reason="the person asked us to")


def got(run: Running, path: str, who: str, status: int = 200) -> Any:
    response = run.request("GET", path, who)
    assert response.status_code == status, response.text
    return response.json()


# -- erasure -----------------------------------------------------------------------------------------------------------


def test_erased_document_is_gone_for_everybody_and_what_it_was_is_on_record_by_digest(house: Running) -> None:
    house.publish(OLGA, "papers", "# Trains\n\nTrains leave on time.", uri="trains")
    house.publish(OLGA, "papers", BLUE, uri="z")
    document = house.publish(OLGA, "papers", GREEN, uri="z")
    answer = house.retrieve(RUDI, QUESTION)
    (cited,) = [each["citation"]["id"] for each in answer["passages"] if each["citation"]["document_id"] == document]

    erased = erase(house, document)

    for who in (OLGA, RUDI, AUDITOR, "admin"):
        for rest in ("", "/versions", "/versions/1", "/versions/2/text", "/versions/1/content"):
            assert house.request("GET", f"/v1/documents/{document}{rest}", who).status_code == 404
        assert house.request("GET", f"/v1/citations/{cited}", who).status_code == 404
    for state in ("current", "superseded", "withdrawn", "expired"):
        listed = got(house, f"/v1/documents?state={state}", OLGA)["documents"]
        assert [each for each in listed if each["document_id"] == document] == []
    assert document not in [each["citation"]["document_id"] for each in house.retrieve(RUDI, QUESTION)["passages"]]
    assert house.found(RUDI, "When do trains leave?") == ["trains"]

    for path in (f"/v1/documents/{document}", f"/v1/citations/{cited}"):
        assert erased["id"] in got(house, path, OLGA, 404)["detail"]
        absent = got(house, f"{path[:-3]}xyz", RUDI, 404)["detail"]
        assert got(house, path, RUDI, 404)["detail"] == absent

    certificate = erased["certificate"]
    assert erased["state"] == "certified"
    assert [each["digest"] for each in certificate["versions"]] == [_sha256(BLUE), _sha256(GREEN)]
    assert certificate["removed"]["originals"] == 2
    assert certificate["probes"]["found_before"] > 0
    assert certificate["probes"]["found"] == 0
    canonical = json.dumps(certificate, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert erased["certificate_digest"] == f"sha256:{hashlib.sha256(canonical).hexdigest()}"
    assert erased["signature"] is None
    trace = got(house, f"/v1/traces/{answer['trace_id']}", RUDI)
    assert _sha256(GREEN) in [each["digest"] for each in trace["response"]["passages"]]


def test_certificate_is_for_owners_auditors_and_administrators_and_holds_no_content(house: Running) -> None:
    document = house.publish(OLGA, "papers", BLUE, uri="zwibbel.md", title="On the zwibbel")
    erased = erase(house, document)
    for who in (OLGA, CLERK, AUDITOR, "admin"):
        assert got(house, f"/v1/erasures/{erased['id']}", who) == erased
        assert got(house, "/v1/collections/papers/erasures", who) == {"erasures": [erased]}
    for who in (RUDI, OTTO):
        got(house, f"/v1/erasures/{erased['id']}", who, 404)
        assert house.request("GET", "/v1/collections/papers/erasures", who).status_code in (403, 404)
    assert "zwibbel" not in json.dumps(erased).lower()


def test_only_an_owner_who_may_read_a_document_erases_it_and_only_once(house: Running) -> None:
    secret = house.publish(OLGA, "papers", BLUE, uri="z", label={"level": "restricted"})
    for who in (RUDI, OTTO, CLERK, "admin"):
        erase(house, secret, who, 404)
    erase(house, secret, AUDITOR, 403)  # who may know that it is there
    plain = house.publish(OLGA, "papers", GREEN, uri="y")
    erase(house, plain, RUDI, 403)
    erased = erase(house, secret)
    assert erased["id"] in erase(house, secret, status=404)["detail"]
    assert erased["id"] not in erase(house, secret, RUDI, 404)["detail"]
    for change in ({"label": {"level": "public"}}, {"valid_to": None}):
        assert house.request("PATCH", f"/v1/documents/{secret}", OLGA, json=change).status_code == 404
    posted(house, f"/v1/documents/{secret}/withdraw", OLGA, 404, reason="x")
    posted(house, "/v1/holds", "admin", 404, title="Late", reason="r", documents=[secret])


def test_bytes_that_another_document_has_stay_for_it_and_the_certificate_does_not_name_it(house: Running) -> None:
    other = house.publish(OTTO, "reports", BLUE, uri="theirs")
    document = house.publish(OLGA, "papers", BLUE, uri="ours")
    erased = erase(house, document)
    assert erased["certificate"]["kept_because_shared"] == {"texts": 1, "embeddings": 1, "originals": 1}
    assert other not in json.dumps(erased)
    assert "reports" not in json.dumps(erased)
    content = house.request("GET", f"/v1/documents/{other}/versions/1/content", OTTO)
    assert content.content == BLUE.encode()
    assert house.found(OTTO, QUESTION) == ["theirs"]


def test_what_was_erased_is_not_taken_in_again_until_an_owner_readmits_it(house: Running) -> None:
    erased = erase(house, house.publish(OLGA, "papers", BLUE, uri="z"))
    refused = house.submit(OLGA, "papers", BLUE, uri="z")
    assert refused.status_code == 409
    assert erased["id"] in refused.json()["detail"]
    assert house.submit(OLGA, "papers", BLUE, uri="elsewhere").status_code == 202

    readmit = f"/v1/erasures/{erased['id']}/readmit"
    posted(house, readmit, RUDI, 404, reason="r")
    posted(house, readmit, AUDITOR, 404, reason="r")
    assert posted(house, readmit, OLGA, 200, reason="a mistake")["id"] == erased["id"]
    posted(house, readmit, OLGA, 409, reason="again")
    again = house.publish(OLGA, "papers", BLUE, uri="z")
    assert again != erased["document_id"]
    assert got(house, f"/v1/documents/{again}", RUDI)["version"] == 1
    erase(house, again)
    assert house.submit(OLGA, "papers", BLUE, uri="z").status_code == 409


class InTheMiddle:
    """A parser during whose work something happens once."""

    def __init__(self, parser: Parser, happens: Callable[[], object]) -> None:
        self._parser, self._happens = parser, happens

    def parse(self, content: bytes, media_type: str, filename: str) -> Parsed:
        parsed = self._parser.parse(content, media_type, filename)
        happens, self._happens = self._happens, lambda: None
        happens()
        return parsed


def test_what_is_being_read_while_its_document_is_erased_is_never_stored(house: Running) -> None:
    document = house.publish(OLGA, "papers", GREEN, uri="z")
    job = house.submit(OLGA, "papers", BLUE, uri="z").json()["job"]["id"]
    parser, house.parser = house.parser, InTheMiddle(house.parser, lambda: erase(house, document))
    house.work()
    house.parser = parser
    assert got(house, f"/v1/jobs/{job}", OLGA)["state"] == "cancelled"
    got(house, f"/v1/documents/{document}", OLGA, 404)
    assert house.found(RUDI, QUESTION) == []
    with reading(house.ports.engine) as session:
        texts, embeddings = erasing.orphans(session)
    assert (texts, embeddings) == (set(), set())
    database = Path(house.ports.engine.url.database or "")
    assert b"zwibbel" not in database.read_bytes().lower()


def test_a_submission_that_nobody_ever_saw_can_be_erased(house: Running) -> None:
    response = house.submit_file(OLGA, "papers", b"%PDF-1.4 no such thing as a zwibbel", "z.pdf", uri="z")
    house.work()
    erased = erase(house, response.json()["document"]["id"])
    assert erased["certificate"]["removed"]["originals"] == 1
    assert erased["versions"] == []


# -- legal hold --------------------------------------------------------------------------------------------------------


def test_nothing_under_hold_is_erased_by_anybody_until_an_administrator_releases_it(house: Running) -> None:
    document = house.publish(OLGA, "papers", BLUE, uri="z")
    hold = posted(house, "/v1/holds", OLGA, title="Claim 17", reason="counsel", matter="m-1", documents=[document])
    refused = erase(house, document, status=409)
    assert hold["id"] in refused["detail"]
    assert "Claim 17" in refused["detail"]
    assert "administrator" in refused["detail"]
    assert got(house, f"/v1/documents/{document}", OLGA)["holds"] == 1
    assert got(house, f"/v1/documents/{document}", RUDI)["holds"] is None
    posted(house, f"/v1/documents/{document}/withdraw", OLGA, 200, reason="meanwhile")

    release = f"/v1/holds/{hold['id']}/release"
    posted(house, release, OLGA, 403, reason="in my way")
    posted(house, release, OTTO, 404, reason="r")
    released = posted(house, release, "admin", 200, reason="settled")
    assert (released["released_by"], released["release_reason"]) == ("user:administrator", "settled")
    posted(house, release, "admin", 409, reason="again")
    assert got(house, f"/v1/holds/{hold['id']}", OLGA) == released
    erase(house, document)


def test_a_hold_on_a_collection_covers_what_comes_later(house: Running) -> None:
    posted(house, "/v1/holds", "admin", title="All of it", reason="counsel", collections=["papers"])
    document = house.publish(OLGA, "papers", BLUE, uri="z")
    assert "All of it" in erase(house, document, status=409)["detail"]
    assert got(house, f"/v1/documents/{document}/versions", OLGA)["versions"][0]["holds"] == 1


def test_a_hold_shows_each_what_concerns_it_and_no_titles(house: Running) -> None:
    plain = house.publish(OLGA, "papers", BLUE, uri="z", title="On the zwibbel")
    secret = house.publish(OLGA, "papers", GREEN, uri="y", label={"level": "restricted"})
    theirs = house.publish(OTTO, "reports", GREEN, uri="x")
    hold = posted(house, "/v1/holds", "admin", title="T", reason="r", documents=[plain, secret, theirs])
    path = f"/v1/holds/{hold['id']}"
    everything = sorted([plain, secret, theirs])
    seen = {OLGA: sorted([plain, secret]), CLERK: [plain], OTTO: [theirs], AUDITOR: everything, "admin": everything}
    for who, documents in seen.items():
        assert got(house, path, who)["documents"] == documents
        assert [each["documents"] for each in got(house, "/v1/holds", who)["holds"]] == [documents]
        assert "zwibbel" not in json.dumps(got(house, path, who))
    got(house, path, RUDI, 404)
    assert got(house, "/v1/holds", RUDI) == {"holds": []}


def test_owners_hold_what_is_theirs_and_what_they_may_read(house: Running) -> None:
    secret = house.publish(OLGA, "papers", GREEN, uri="y", label={"level": "restricted"})
    theirs = house.publish(OTTO, "reports", GREEN, uri="x")
    absent = posted(house, "/v1/holds", CLERK, 404, title="T", reason="r", documents=["doc_none"])["detail"]
    for who, document in ((CLERK, secret), (OLGA, theirs), (RUDI, theirs), (AUDITOR, secret)):
        refused = posted(house, "/v1/holds", who, 404, title="T", reason="r", documents=[document])
        assert refused["detail"] == absent
    posted(house, "/v1/holds", OLGA, 404, title="T", reason="r", collections=["reports"])
    house.publish(OLGA, "papers", BLUE, uri="z")  # so that the collection is no secret to its readers
    posted(house, "/v1/holds", RUDI, 403, title="T", reason="r", collections=["papers"])
    posted(house, "/v1/holds", "admin", 404, title="T", reason="r", collections=["no-such"])
    posted(house, "/v1/holds", OLGA, 422, title="T", reason="r")
    posted(house, "/v1/holds", OLGA, 422, title="T", reason="r", documents=[secret], collections=["papers"])
    assert got(house, "/v1/holds", "admin") == {"holds": []}


# -- retention ---------------------------------------------------------------------------------------------------------

SUPERSEDED = {"when": "superseded", "after_days": 0, "action": "erase"}


def set_rules(run: Running, *rules: dict[str, Any]) -> None:
    response = run.request("PUT", "/v1/collections/papers/retention", OLGA, json={"rules": list(rules)})
    assert response.status_code == 200, response.text
    assert got(run, "/v1/collections/papers/retention", OLGA) == {"rules": list(rules)}


def carried_out(run: Running, who: str = OLGA, *, dry_run: bool) -> list[dict[str, Any]]:
    path = "/v1/collections/papers/retention/run"
    found: list[dict[str, Any]] = posted(run, path, who, 200, dry_run=dry_run)["versions"]
    return found


def test_superseded_versions_are_erased_and_the_document_lives_on(house: Running) -> None:
    house.publish(OLGA, "papers", BLUE, uri="z")
    document = house.publish(OLGA, "papers", GREEN, uri="z")
    set_rules(house, {"when": "superseded", "after_days": 1, "action": "erase"})
    assert carried_out(house, dry_run=True) == []
    set_rules(house, SUPERSEDED)
    (due,) = carried_out(house, dry_run=True)
    assert (due["version"], due["rule"], due["held_by"], due["done"]) == (1, SUPERSEDED, [], True)
    assert len(got(house, f"/v1/documents/{document}/versions", OLGA)["versions"]) == 2

    (done,) = carried_out(house, dry_run=False)

    assert [each["version"] for each in got(house, f"/v1/documents/{document}/versions", OLGA)["versions"]] == [2]
    erasure = got(house, f"/v1/erasures/{done['erasure']}", OLGA)
    assert (erasure["whole_document"], erasure["versions"], erasure["state"]) == (False, [1], "certified")
    assert erasure["rule"] == "erase what was superseded 0 days ago"
    assert house.publish(OLGA, "papers", BLUE, uri="z") == document
    assert got(house, f"/v1/documents/{document}", OLGA)["version"] == 3


def test_a_hold_beats_every_rule_and_is_reported(house: Running) -> None:
    house.publish(OLGA, "papers", BLUE, uri="z")
    document = house.publish(OLGA, "papers", GREEN, uri="z")
    hold = posted(house, "/v1/holds", OLGA, title="Claim", reason="counsel", documents=[document])
    set_rules(house, SUPERSEDED)
    for dry_run in (True, False):
        (held,) = carried_out(house, dry_run=dry_run)
        assert held["held_by"] == [{"id": hold["id"], "title": "Claim"}]
        assert (held["done"], held["erasure"]) == (False, None)
    assert len(got(house, f"/v1/documents/{document}/versions", OLGA)["versions"]) == 2


def test_an_owner_is_told_of_and_acts_on_what_it_may_read_alone(house: Running) -> None:
    for text in (BLUE, GREEN):
        secret = house.publish(OLGA, "papers", text, uri="z", label={"level": "restricted"})
    set_rules(house, SUPERSEDED)
    assert carried_out(house, CLERK, dry_run=True) == carried_out(house, CLERK, dry_run=False) == []
    assert len(got(house, f"/v1/documents/{secret}/versions", OLGA)["versions"]) == 2
    for who, status in ((RUDI, 403), (OTTO, 403), (AUDITOR, 403), ("admin", 403)):
        response = house.request("POST", "/v1/collections/papers/retention/run", who, json={"dry_run": True})
        assert response.status_code in (status, 404)


def test_the_daily_run_is_about_all_documents_and_comes_once_a_day(house: Running) -> None:
    for text in (BLUE, GREEN):
        secret = house.publish(OLGA, "papers", text, uri="z", label={"level": "restricted"})
    set_rules(house, SUPERSEDED)
    assert retain.run_due(house.ports) == 0
    with writing(house.ports.engine) as session:
        retention.set_due(session, "papers", house.ports.now())
    assert retain.run_due(house.ports) == 1
    assert retain.run_due(house.ports) == 0
    assert len(got(house, f"/v1/documents/{secret}/versions", OLGA)["versions"]) == 1
    (erasure,) = got(house, "/v1/collections/papers/erasures", OLGA)["erasures"]
    assert (erasure["requested_by"], erasure["state"]) == ("system", "certified")


def test_a_document_that_a_rule_erased_whole_is_not_taken_in_again(house: Running) -> None:
    house.publish(OLGA, "papers", BLUE, uri="z", valid_from="2020-01-01", valid_to="2021-01-01")
    set_rules(house, {"when": "expired", "after_days": 0, "action": "erase"})
    (done,) = carried_out(house, dry_run=False)
    assert got(house, f"/v1/erasures/{done['erasure']}", OLGA)["whole_document"]
    assert house.submit(OLGA, "papers", BLUE, uri="z").status_code == 409


def test_a_rule_that_would_never_do_anything_or_is_none_is_refused(house: Running) -> None:
    for rule in (
        {"when": "withdrawn", "after_days": 0, "action": "withdraw"},
        {"when": "superseded", "after_days": -1, "action": "erase"},
        {"when": "bored", "after_days": 1, "action": "erase"},
        {"when": "superseded", "after_days": 1, "action": "burn"},
    ):
        response = house.request("PUT", "/v1/collections/papers/retention", OLGA, json={"rules": [rule]})
        assert response.status_code == 422
    assert got(house, "/v1/collections/papers/retention", OLGA) == {"rules": []}


rules = st.builds(
    lambda when, after_days, action: {"when": when, "after_days": after_days, "action": action},
    st.sampled_from(["superseded", "expired", "withdrawn", "published"]),
    st.sampled_from([0, 1]),
    st.sampled_from(["withdraw", "erase"]),
).filter(lambda rule: (rule["when"], rule["action"]) != ("withdrawn", "withdraw"))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(
        st.tuples(st.integers(1, 3), st.booleans(), st.booleans(), st.sampled_from([None, "2020-01-01"])),
        min_size=1,
        max_size=2,
    ),
    laid_down=st.lists(rules, min_size=1, max_size=3),
)
def test_what_a_dry_run_says_is_what_is_then_done(
    house: Running, documents: list[tuple[int, bool, bool, str | None]], laid_down: list[dict[str, Any]]
) -> None:
    ids = []
    for number, (versions, withdrawn, held, ends) in enumerate(documents):
        times = {"valid_from": "2019-01-01", "valid_to": ends} if ends else {}
        uri = f"{len(got(house, '/v1/traces?limit=200', OLGA)['traces'])}/{house.ports.new_id()}"
        for version in range(versions):
            id = house.publish(OLGA, "papers", f"Item {number} of {uri}, edition {version}.", uri=uri, **times)
        ids.append(id)
        if withdrawn:
            posted(house, f"/v1/documents/{id}/withdraw", OLGA, 200, reason="r")
        if held:
            posted(house, "/v1/holds", OLGA, title="H", reason="r", documents=[id])
    set_rules(house, *laid_down)
    before = _standing(house, ids)

    told = carried_out(house, dry_run=True)
    assert _standing(house, ids) == before
    done = carried_out(house, dry_run=False)

    assert [{**each, "erasure": None} for each in done] == told
    expected = dict(before)
    for each in told:
        if each["document_id"] in ids and each["done"]:
            key = (each["document_id"], each["version"])
            if each["rule"]["action"] == "erase":
                del expected[key]
            else:
                expected[key] = "withdrawn"
    assert _standing(house, ids) == expected


def _standing(run: Running, documents: list[str]) -> dict[tuple[str, int], str]:
    """Whether each version is there, and whether it is withdrawn."""
    found = {}
    for id in documents:
        response = run.request("GET", f"/v1/documents/{id}/versions", OLGA)
        for each in response.json().get("versions", []):
            found[(id, each["version"])] = "withdrawn" if each["state"] == "withdrawn" else "there"
    return found


def _sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
