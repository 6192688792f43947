"""What comes with a mail: documents of their own, in the mail's boundary, linked both ways, taken in exactly once."""

from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

import pytest

from app.bootstrap import new_id
from app.domain.corpus import DocumentId, digest_of
from app.domain.errors import NotFound
from app.store import erasing, jobs
from app.store.database import reading, writing
from ingest import pipeline
from tests.running import Running
from tests.store.history import rows_of

CLAIM = b"# Claim 17\nThe roof was damaged by hail on the ninth of March."
RATES = b"Tariff;Premium\nBasic;120\nComfort;240\n"
DAMAGE, TARIFF = "What damaged the roof?", "What is the premium of the tariff Comfort?"


def mail(attachments: Mapping[str, bytes], *, subject: str = "Papers", inner: bytes | None = None) -> bytes:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "Ana <ana@example.test>"
    message["To"] = "Ben <ben@example.test>"
    message.set_content("The papers come with this message.")
    for name, content in attachments.items():
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    if inner is not None:
        nested = EmailMessage()
        nested["Subject"] = "Forwarded"
        nested["From"] = "Cara <cara@example.test>"
        nested.set_content("See the tariff.")
        nested.add_attachment(inner, maintype="text", subtype="csv", filename="rates.csv")
        message.add_attachment(nested)
    return bytes(message)


@pytest.fixture
def office(run: Running) -> Running:
    run.put_principal("group:owners")
    run.put_principal("user:olga", groups=["group:owners"], clearance="restricted")
    run.put_principal("user:ana")
    run.put_principal("user:ben")
    run.put_collection("post", owners=["group:owners"])
    return run


def put(run: Running, content: bytes, **metadata: Any) -> dict[str, Any]:
    response = run.submit_file("user:olga", "post", content, "mail.eml", uri="mail-1", **metadata)
    assert response.status_code in (200, 202), response.text
    run.work()
    submitted: dict[str, Any] = response.json()
    return submitted


def listed(run: Running, state: str = "current") -> dict[str, dict[str, Any]]:
    answer = run.request("GET", f"/v1/documents?collection=post&state={state}", "user:olga").json()
    return {each["uri"]: each for each in answer["documents"]}


def test_attachments_are_documents_of_their_own_linked_both_ways(office: Running) -> None:
    submitted = put(office, mail({"../../claim 17.md": CLAIM, "rates.csv": RATES}), readers=["user:ana"])
    found = listed(office)
    assert list(found) == ["mail-1", "mail-1#attachments/1-claim-17.md", "mail-1#attachments/2-rates.csv"]
    whole = found.pop("mail-1")
    assert {tuple(each["attributes"]["part_of"]) for each in found.values()} == {(whole["document_id"],)}
    assert [each["code"] for each in whole["findings"]] == ["attachment"]
    assert "claim 17.md, rates.csv" in whole["findings"][0]["detail"]
    job = office.request("GET", f"/v1/jobs/{submitted['job']['id']}", "user:olga").json()
    ended = [office.request("GET", f"/v1/jobs/{id}", "user:olga").json() for id in job["result"]["attachments"]]
    assert [each["result"]["document_id"] for each in ended] == [each["document_id"] for each in found.values()]
    assert office.found("user:ana", DAMAGE)[0] == "mail-1#attachments/1-claim-17.md"
    assert office.found("user:ana", TARIFF)[0] == "mail-1#attachments/2-rates.csv"


def test_an_attachment_is_read_by_those_who_may_read_the_mail_and_by_nobody_else(office: Running) -> None:
    put(office, mail({"claim.md": CLAIM}), readers=["user:ana"], denied=["user:ben"])
    assert office.found("user:ana", DAMAGE) != []
    assert office.found("user:ben", DAMAGE) == []


def test_an_attachment_passes_a_gate_of_its_own(office: Running) -> None:
    submitted = put(office, mail({"tool.exe": b"MZ\x90\x00" + bytes(60), "claim.md": CLAIM}))
    job = office.request("GET", f"/v1/jobs/{submitted['job']['id']}", "user:olga").json()
    ended = [office.request("GET", f"/v1/jobs/{id}", "user:olga").json() for id in job["result"]["attachments"]]
    assert [each["state"] for each in ended] == ["failed", "succeeded"]
    assert ended[0]["problem"]["type"] == "/problems/unsupported-media-type"
    assert list(listed(office)) == ["mail-1", "mail-1#attachments/2-claim.md"]


def test_a_mail_within_a_mail_brings_its_own_attachments_down_to_a_depth(office: Running) -> None:
    put(office, mail({}, inner=RATES))
    nested = "mail-1#attachments/1-Forwarded.eml"
    assert list(listed(office)) == ["mail-1", nested, f"{nested}#attachments/1-rates.csv"]
    wrapped = mail({"deep.eml": mail({"deeper.eml": mail({"deepest.md": CLAIM}, subject="three")}, subject="two")})
    put(office, wrapped)
    deepest = "mail-1#attachments/1-deep.eml#attachments/1-deeper.eml"
    found = listed(office)
    assert deepest in found
    assert not any(uri.startswith(f"{deepest}#") for uri in found)
    assert found[deepest]["findings"][-1]["code"] == "partial"
    assert "deepest.md" in found[deepest]["findings"][-1]["detail"]


def test_a_next_version_keeps_replaces_and_withdraws_attachments(office: Running) -> None:
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES, "old.md": b"# Old\nAn old paper."}))
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES.replace(b"240", b"260")}, subject="Papers again"))
    found = listed(office)
    assert {uri: each["version"] for uri, each in found.items()} == {
        "mail-1": 2,
        "mail-1#attachments/1-claim.md": 1,
        "mail-1#attachments/2-rates.csv": 2,
    }
    assert list(listed(office, "withdrawn")) == ["mail-1#attachments/3-old.md"]
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES, "old.md": b"# Old\nAn old paper."}, subject="Third"))
    assert listed(office)["mail-1#attachments/3-old.md"]["version"] == 2


def test_narrowing_or_withdrawing_a_mail_takes_its_attachments_along_at_once(office: Running) -> None:
    submitted = put(office, mail({"claim.md": CLAIM}, inner=RATES), readers=["user:ana", "user:ben"])
    document = submitted["document"]["id"]
    assert office.found("user:ben", TARIFF) != []
    patched = office.request("PATCH", f"/v1/documents/{document}", "user:olga", json={"readers": ["user:ana"]})
    assert patched.status_code == 200
    assert office.found("user:ben", DAMAGE) == office.found("user:ben", TARIFF) == []
    assert office.found("user:ana", DAMAGE) != []
    gone = office.request("POST", f"/v1/documents/{document}/withdraw", "user:olga", json={"reason": "a mistake"})
    assert gone.status_code == 200
    assert office.found("user:ana", DAMAGE) == office.found("user:ana", TARIFF) == []


def test_a_label_given_to_an_attachment_of_its_own_is_not_lowered_with_the_mails(office: Running) -> None:
    document = put(office, mail({"claim.md": CLAIM, "rates.csv": RATES}))["document"]["id"]
    claim = listed(office)["mail-1#attachments/1-claim.md"]["document_id"]
    office.request("PATCH", f"/v1/documents/{claim}", "user:olga", json={"label": {"level": "restricted"}})
    lowered = {"label": {"level": "public"}, "reason": "It was published."}
    assert office.request("PATCH", f"/v1/documents/{document}", "user:olga", json=lowered).status_code == 200
    levels = {uri: each["label"]["level"] for uri, each in listed(office).items()}
    assert levels == {
        "mail-1": "public",
        "mail-1#attachments/1-claim.md": "restricted",
        "mail-1#attachments/2-rates.csv": "public",
    }


def test_a_mail_narrowed_while_it_is_read_bears_no_attachment_wider_than_itself(office: Running) -> None:
    """Between any two steps: before the mail is published, and while its attachments are still waiting."""
    response = office.submit_file(
        "user:olga", "post", mail({"claim.md": CLAIM}), "mail.eml", uri="mail-1", readers=["user:ana", "user:ben"]
    )
    document = f"/v1/documents/{response.json()['document']['id']}"
    batch = claimed(office)
    pipeline.stage_batch(office.ports, office.parser, office.readers, batch)
    assert office.request("PATCH", document, "user:olga", json={"denied": ["user:ben"]}).status_code == 200
    publish(office, batch)
    assert office.request("PATCH", document, "user:olga", json={"readers": ["user:ben"]}).status_code == 200
    office.work()
    assert office.found("user:ana", DAMAGE) == office.found("user:ben", DAMAGE) == []
    assert office.request("PATCH", document, "user:olga", json={"denied": []}).status_code == 200
    assert office.found("user:ben", DAMAGE) != []


def test_steps_that_run_twice_take_an_attachment_in_once(office: Running) -> None:
    office.submit_file("user:olga", "post", mail({"claim.md": CLAIM}), "mail.eml", uri="mail-1")
    batch = claimed(office)
    for _ in range(2):
        pipeline.stage_batch(office.ports, office.parser, office.readers, batch)
    for _ in range(2):
        publish(office, batch, place=False)
    for _ in range(2):
        pipeline.place_batch(office.ports, batch)
    office.work()
    assert {uri: each["version"] for uri, each in listed(office).items()} == {
        "mail-1": 1,
        "mail-1#attachments/1-claim.md": 1,
    }
    assert jobs_of(office) == 2


def test_a_mail_withdrawn_before_it_is_published_leaves_no_attachment(office: Running) -> None:
    response = office.submit_file("user:olga", "post", mail({"claim.md": CLAIM}), "mail.eml", uri="mail-1")
    batch = claimed(office)
    pipeline.stage_batch(office.ports, office.parser, office.readers, batch)
    document = response.json()["document"]["id"]
    office.request("POST", f"/v1/documents/{document}/withdraw", "user:olga", json={"reason": "a mistake"})
    publish(office, batch)
    office.work()
    assert listed(office) == {}
    assert jobs_of(office) == 1


def test_somebody_elses_document_under_an_attachments_uri_is_left_alone(office: Running) -> None:
    own = office.publish("user:olga", "post", "# Mine\nA paper of my own.", uri="mail-1#attachments/1-claim.md")
    put(office, mail({"claim.md": CLAIM}))
    found = listed(office)
    assert (
        found["mail-1#attachments/1-claim.md"]["document_id"],
        found["mail-1#attachments/1-claim.md"]["version"],
    ) == (
        own,
        1,
    )
    assert found["mail-1#attachments/1-claim.md~2"]["attributes"]["part_of"] == [found["mail-1"]["document_id"]]


def test_what_sets_an_attachment_apart_holds_for_its_next_version_too(office: Running) -> None:
    stated: dict[str, Any] = {"label": {"level": "public"}, "label_reason": "it was sent to everybody"}
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES}), **stated)
    claim = listed(office)["mail-1#attachments/1-claim.md"]["document_id"]
    apart = {"label": {"level": "restricted"}, "readers": ["user:olga"]}
    assert office.request("PATCH", f"/v1/documents/{claim}", "user:olga", json=apart).status_code == 200
    later = mail({"claim.md": CLAIM + b" More was said.", "rates.csv": RATES + b"Luxury;360\n"})
    put(office, later, readers=["user:ana"], **stated)
    assert {uri: (each["version"], each["label"]["level"]) for uri, each in listed(office).items()} == {
        "mail-1": (2, "public"),
        "mail-1#attachments/1-claim.md": (2, "restricted"),
        "mail-1#attachments/2-rates.csv": (2, "public"),
    }
    office.put_principal("user:ana", clearance="restricted")
    assert (office.found("user:ana", DAMAGE), len(office.found("user:ana", TARIFF))) == ([], 1)


def test_a_mail_erased_before_it_is_published_leaves_none_of_its_attachments_bytes(office: Running) -> None:
    response = office.submit_file("user:olga", "post", mail({"claim.md": CLAIM}), "mail.eml", uri="mail-1")
    batch = claimed(office)
    pipeline.stage_batch(office.ports, office.parser, office.readers, batch)
    erased = erase(office, response.json()["document"]["id"])
    assert (erased["state"], erased["certificate"]["removed"]["originals"]) == ("certified", 2)
    with pytest.raises(NotFound):
        office.ports.blobs.get(digest_of(CLAIM))


def test_erasing_a_mail_takes_its_attachments_along_unless_one_is_held(office: Running) -> None:
    papers = mail({"claim.md": CLAIM, "plan.md": b"# Plan\nThe plan."}, inner=RATES)
    document = put(office, papers, readers=["user:ana"])["document"]["id"]
    found = {uri.rpartition("/")[2]: each["document_id"] for uri, each in listed(office).items()}
    label = {"label": {"level": "restricted", "categories": ["privileged"]}}
    assert office.request("PATCH", f"/v1/documents/{found['2-plan.md']}", "user:olga", json=label).status_code == 200
    order = {"title": "Roof", "reason": "a dispute", "documents": [found["1-rates.csv"]]}
    hold = office.request("POST", "/v1/holds", "admin", json=order).json()["id"]
    refused = office.request("POST", f"/v1/documents/{document}/erase", "user:olga", json={"reason": "asked"})
    assert (refused.status_code, hold in refused.json()["detail"]) == (409, True)
    assert office.found("user:ana", DAMAGE) != []
    office.admin("POST", f"/v1/holds/{hold}/release", {"reason": "settled"})
    assert erase(office, document)["state"] == "certified"
    with reading(office.ports.engine) as session:
        there = [id for name, id in found.items() if erasing.erasure_of(session, DocumentId(id)) is None]
    assert there == [found["2-plan.md"]]  # which olga may not read


def test_an_attachment_that_was_erased_does_not_come_back_with_its_mail(office: Running) -> None:
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES}))
    claim = listed(office)["mail-1#attachments/1-claim.md"]["document_id"]
    erasure = erase(office, claim)["id"]
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES}, subject="Papers again"))
    found = listed(office)
    assert list(found) == ["mail-1", "mail-1#attachments/2-rates.csv"]
    assert [each["code"] for each in found["mail-1"]["findings"]] == ["attachment", "partial"]
    with pytest.raises(NotFound):
        office.ports.blobs.get(digest_of(CLAIM))
    readmitted = office.request("POST", f"/v1/erasures/{erasure}/readmit", "user:olga", json={"reason": "needed"})
    assert readmitted.status_code == 200
    put(office, mail({"claim.md": CLAIM, "rates.csv": RATES}, subject="Once more"))
    assert "mail-1#attachments/1-claim.md" in listed(office)


def erase(run: Running, document: str) -> dict[str, Any]:
    response = run.request("POST", f"/v1/documents/{document}/erase", "user:olga", json={"reason": "asked"})
    assert response.status_code == 201, response.text
    erased: dict[str, Any] = response.json()
    return erased


@pytest.mark.parametrize("published", [True, False])
def test_a_mail_is_erased_with_all_that_came_with_it(office: Running, published: bool) -> None:
    response = office.submit_file("user:olga", "post", mail({}, inner=RATES), "mail.eml", uri="mail-1")
    pipeline.stage_batch(office.ports, office.parser, office.readers, batch := claimed(office))
    if published:
        publish(office, batch)
        office.work()
    at = f"/v1/documents/{response.json()['document']['id']}/erase"
    assert office.request("POST", at, "user:olga", json={"reason": "asked for"}).status_code == 201
    publish(office, batch)
    office.work()
    erasures = office.request("GET", "/v1/collections/post/erasures", "user:olga").json()["erasures"]
    assert [each["state"] for each in erasures] == ["certified"] * (3 if published else 1)
    assert listed(office) == {}
    assert office.found("user:olga", TARIFF) == []
    assert [each for each in (office.folder / "blobs").rglob("*") if each.is_file()] == []


def test_a_hold_on_a_mail_holds_what_came_with_it(office: Running) -> None:
    document = put(office, mail({}, inner=RATES))["document"]["id"]
    rates = listed(office)["mail-1#attachments/1-Forwarded.eml#attachments/1-rates.csv"]["document_id"]
    hold = {"title": "Case 17", "reason": "litigation", "documents": [document]}
    assert office.request("POST", "/v1/holds", "user:olga", json=hold).status_code == 201
    erase = office.request("POST", f"/v1/documents/{rates}/erase", "user:olga", json={"reason": "asked for"})
    assert erase.status_code == 409
    assert "came with a mail that is under legal hold" in erase.json()["detail"]
    assert "Case 17" not in erase.text  # whoever may read the attachment may not read the mail
    assert office.found("user:olga", TARIFF) != []


def test_a_hold_on_an_attachment_keeps_the_mail_that_it_came_with(office: Running) -> None:
    document = put(office, mail({"claim.md": CLAIM}))["document"]["id"]
    claim = listed(office)["mail-1#attachments/1-claim.md"]["document_id"]
    hold = {"title": "Case 17", "reason": "litigation", "documents": [claim]}
    assert office.request("POST", "/v1/holds", "user:olga", json=hold).status_code == 201
    erase = office.request("POST", f"/v1/documents/{document}/erase", "user:olga", json={"reason": "asked for"})
    assert erase.status_code == 409
    assert len(listed(office)) == 2


def claimed(run: Running) -> str:
    batch = f"test:{new_id()}"
    with writing(run.ports.engine) as session:
        assert len(jobs.claim(session, batch, max_jobs=32)) == 1
    return batch


def publish(run: Running, batch: str, *, place: bool = True) -> None:
    pipeline.embed_batch(run.ports, batch)
    pipeline.index_batch(run.ports, batch)
    pipeline.publish_batch(run.ports, batch)
    if place:
        pipeline.place_batch(run.ports, batch)


def jobs_of(run: Running) -> int:
    return len(rows_of(run.ports.engine, "jobs"))
