"""Provenance: from the source to what is searched, with digests that hold; in our own shape and as W3C PROV."""

import hashlib
import json
from typing import Any

import pytest
from prov.model import ProvActivity, ProvAgent, ProvDocument, ProvEntity
from sqlalchemy import text

from app.store.database import writing
from tests.api.test_attachments import mail
from tests.running import Running

TEXT = "# Sharing\n\nCustomer data is shared with a partner only after the data office agreed in writing.\n"
SOURCE = {
    "connector": "git",
    "fetched_at": "2026-03-01T10:00:00Z",
    "etag": "abc",
    "author": "Ana",
    "location": "https://me:secret@git.example.org/policies.git",
    "item": "policies/sharing.md",
}


@pytest.fixture
def office(run: Running) -> Running:
    run.put_principal("group:legal")
    run.put_principal("user:lena", groups=["group:legal"])
    run.put_principal("user:ana")
    run.put_principal("assistant:scribe", may_assert=True)
    run.put_collection("policies", owners=["group:legal"], default_readers=["group:all-staff"])
    return run


def told(run: Running, who: str, document: str, number: int = 1, **params: Any) -> dict[str, Any]:
    path = f"/v1/documents/{document}/versions/{number}/provenance"
    response = run.request("GET", path, who, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def sha256(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def test_provenance_leads_from_the_source_to_the_vectors(office: Running) -> None:
    id = office.publish("user:lena", "policies", TEXT, uri="policies/sharing", source=SOURCE)
    found = told(office, "user:ana", id)
    canonical = office.request("GET", f"/v1/documents/{id}/versions/1/text", "user:ana").json()["text"]
    version = office.request("GET", f"/v1/documents/{id}/versions/1", "user:ana").json()
    assert found["source"] == {**SOURCE, "location": "https://git.example.org/policies.git"} == version["source"]
    assert (found["digest"], found["text_digest"]) == (sha256(TEXT), sha256(canonical))
    assert (found["submitted"]["by"], found["submitted"]["through"]) == ("user:lena", None)
    steps = {step["activity"]: step for step in found["steps"]}
    assert list(steps) == ["gate", "parse", "chunk", "embed", "label", "publish"]
    assert (steps["gate"]["input"], steps["gate"]["parameters"]["media_type"]) == (sha256(TEXT), "text/markdown")
    assert (steps["parse"]["input"], steps["parse"]["output"]) == (sha256(TEXT), sha256(canonical))
    assert (steps["parse"]["software"], steps["chunk"]["input"]) == (version["parser"], sha256(canonical))
    assert steps["embed"]["software"] == office.ports.embedder.fingerprint
    assert (steps["label"]["output"], steps["label"]["parameters"]["level"]) == (version["boundary"], "internal")
    assert all(step["started_at"] <= step["ended_at"] <= found["recorded_at"] for step in steps.values())
    assert (found["verified"], found["previous_version"]) == (None, None)


def test_provenance_verifies_until_what_is_stored_is_something_else(office: Running) -> None:
    id = office.publish("user:lena", "policies", TEXT, uri="policies/sharing")
    assert told(office, "user:ana", id, verify=True)["verified"] is True
    with writing(office.ports.engine) as session:
        session.execute(text("UPDATE texts SET text = replace(text, 'agreed', 'argued')"))
    found = told(office, "user:ana", id, verify=True)
    held = {"original": True, "text": False, "chunks": False, "vectors": True, "chain": True}
    assert (found["verified"], found["evidence"]) == (False, held)


def test_step_that_is_run_again_leaves_one_set(office: Running) -> None:
    """As after a kill: the stage step begins anew with what it had staged before."""
    from app.store import jobs
    from ingest import pipeline

    job = office.submit("user:lena", "policies", TEXT, uri="policies/sharing").json()["document"]["id"]
    with writing(office.ports.engine) as session:
        jobs.claim(session, "killed", max_jobs=1)
    for _ in range(2):
        pipeline.stage_batch(office.ports, office.parser, office.readers, "killed")
        pipeline.embed_batch(office.ports, "killed")
    for step in (pipeline.index_batch, pipeline.publish_batch, pipeline.publish_batch, pipeline.place_batch):
        step(office.ports, "killed")
    found = told(office, "user:ana", job, verify=True)
    assert [step["activity"] for step in found["steps"]] == ["gate", "parse", "chunk", "embed", "label", "publish"]
    assert found["verified"] is True


def test_prov_json_is_read_by_the_prov_library_and_says_who_did_what_from_what(office: Running) -> None:
    response = office.request(
        "POST",
        "/v1/collections/policies/documents",
        "assistant:scribe",
        headers={"Muniment-Subject-Token": office.key("user:lena")},
        json={"text": TEXT, "media_type": "text/markdown", "metadata": {"uri": "policies/sharing", "source": SOURCE}},
    )
    assert response.status_code == 202, response.text
    office.work()
    id = response.json()["document"]["id"]
    office.publish("user:lena", "policies", TEXT + "It is reviewed.", uri="policies/sharing")
    path = f"/v1/documents/{id}/versions/2/provenance"
    later = office.request("GET", path, "user:ana", headers={"Accept": "application/prov+json"})
    first = office.request("GET", path.replace("/2/", "/1/") + "?format=prov-json", "user:ana")
    assert later.headers["content-type"] == "application/prov+json" == first.headers["content-type"]
    document = ProvDocument.deserialize(content=first.text, format="json")
    assert json.loads(document.serialize(format="json"))["entity"].keys() == first.json()["entity"].keys()
    named = {
        str(record.identifier)
        for kind in (ProvEntity, ProvActivity, ProvAgent)
        for record in document.get_records(kind)
    }
    related = {
        str(value)
        for relation in document.get_records()
        if relation.is_relation()
        for name, value in relation.formal_attributes
        if value is not None and name.localpart != "time"
    }
    assert related == named
    version = f"muniment:{id}/versions/1"
    assert {"sha256:" + sha256(TEXT)[7:], version, "muniment:user/lena", "muniment:assistant/scribe"} <= named
    (behalf,) = first.json()["actedOnBehalfOf"].values()
    assert (behalf["prov:delegate"], behalf["prov:responsible"]) == ("muniment:assistant/scribe", "muniment:user/lena")
    revisions = [each for each in later.json()["wasDerivedFrom"].values() if "prov:type" in each]
    assert [(each["prov:generatedEntity"], each["prov:usedEntity"]) for each in revisions] == [
        (f"muniment:{id}/versions/2", version)
    ]
    assert "secret" not in first.text


def test_provenance_is_metadata_and_hidden_is_absent(office: Running) -> None:
    office.put_principal("user:auditor", groups=["group:auditors"])
    id = office.publish("user:lena", "policies", TEXT, uri="policies/sharing", readers=["user:lena"])
    office.publish("user:lena", "policies", TEXT + "New.", uri="policies/sharing")
    path = f"/v1/documents/{id}/versions/{{}}/provenance"
    assert office.request("GET", path.format(1), "user:auditor").status_code == 200
    hidden, absent = (office.request("GET", path.format(number), "user:ana") for number in (1, 9))
    assert (hidden.status_code, hidden.json()["detail"]) == (404, absent.json()["detail"])
    told_to_ana = told(office, "user:ana", id, 2)
    assert told_to_ana["previous_version"] is None
    assert told(office, "user:lena", id, 2)["previous_version"] == 1
    exported = office.request("GET", path.format(2), "user:ana", params={"format": "prov-json"}).text
    assert f"{id}/versions/1" not in exported


def test_what_follows_of_a_submission_is_put_down_to_whoever_had_it_follow(office: Running) -> None:
    """Attachments came as their mail did; a rollback is its own submission."""
    body = {"text": mail({"rates.csv": b"Tariff;Premium\nBasic;120\n"}).decode(), "media_type": "message/rfc822"}
    for text_, metadata in ((body["text"], {"uri": "mail"}), (body["text"] + "Yours.", {"uri": "mail"})):
        brought = office.request(
            "POST",
            "/v1/collections/policies/documents",
            "assistant:scribe",
            headers={"Muniment-Subject-Token": office.key("user:lena")},
            json={**body, "text": text_, "metadata": metadata},
        )
        assert brought.status_code == 202, brought.text
        office.work()
    document = brought.json()["document"]["id"]
    back = office.request(
        "POST", f"/v1/documents/{document}/rollback", "user:lena", json={"to": 1, "reason": "so it was"}
    )
    assert back.status_code == 202
    office.work()
    through = [told(office, "user:lena", document, n)["submitted"]["through"] for n in (1, 2, 3)]
    assert through == ["assistant:scribe", "assistant:scribe", None]
    listed = office.request("GET", "/v1/documents?collection=policies", "user:lena").json()["documents"]
    (attached,) = [each["document_id"] for each in listed if each["uri"] != "mail"]
    assert told(office, "user:lena", attached)["submitted"]["through"] == "assistant:scribe"
