"""Labels: rules raise at once and alone, lowering wants a reason, and every change can be read back with its cause."""

from typing import Any

import pytest

from app.store import publishing
from app.store.database import reading
from tests.running import Running

INTERNAL = {"level": "internal", "categories": []}
CONFIDENTIAL = {"level": "confidential", "categories": []}
RESTRICTED = {"level": "restricted", "categories": []}


@pytest.fixture
def desk(run: Running) -> Running:
    """A collection `hr` that `user:boss` and `user:clerk` own; only the first may read everything."""
    run.put_principal("group:owners")
    everything = {"clearance": "restricted", "categories": ["pii", "phi", "secret", "staff"]}
    run.put_principal("user:boss", groups=["group:owners"], **everything)
    run.put_principal("user:clerk", groups=["group:owners"])
    run.put_principal("user:ana")
    run.put_collection("hr", owners=["group:owners"], default_readers=["group:all-staff"])
    return run


def _label(run: Running, document: str, who: str = "user:boss") -> Any:
    response = run.request("GET", f"/v1/documents/{document}", who)
    assert response.status_code == 200, response.text
    return response.json()["label"]


def _history(run: Running, document: str, who: str = "user:boss") -> list[dict[str, Any]]:
    response = run.request("GET", f"/v1/documents/{document}/labels", who)
    assert response.status_code == 200, response.text
    return list(response.json()["labels"])


def _causes(entry: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(each["kind"], each["detail"]) for each in entry["causes"]]


def _put_rules(run: Running, *rules: dict[str, Any], who: str = "user:boss") -> None:
    response = run.request("PUT", "/v1/collections/hr/label-rules", who, json={"rules": list(rules)})
    assert response.status_code == 200, response.text


def test_what_nobody_labels_is_restricted_where_the_collection_has_no_default(desk: Running) -> None:
    desk.put_collection("new", owners=["group:owners"], default_readers=["group:all-staff"], default_label=None)
    unsaid = desk.publish("user:boss", "new", "# Lanterns\nThe lanterns are lit at six.", uri="lanterns")
    said = desk.publish("user:boss", "new", "# Lamps\nThe lamps are lit at seven.", uri="lamps", label=INTERNAL)
    assert (_label(desk, unsaid), _label(desk, said)) == (RESTRICTED, INTERNAL)
    assert _causes(_history(desk, unsaid)[0]) == [("unknown", None)]
    assert desk.found("user:ana", "When are lanterns and lamps lit?") == ["lamps"]
    listed = desk.request("GET", "/v1/collections", "user:boss").json()["collections"]
    assert {each["name"]: each["default_label"] for each in listed} == {"hr": INTERNAL, "new": None}


def test_a_collection_put_without_a_default_label_has_none(desk: Running) -> None:
    body = {"title": "Bare", "owners": ["group:owners"]}
    assert desk.admin("PUT", "/v1/collections/bare", body)["default_label"] is None


def test_a_new_rule_raises_what_is_published_at_once_and_embeds_nothing_again(desk: Running) -> None:
    grievance = desk.publish("user:boss", "hr", "# Grievance\nThe kettle is missing.", uri="grievances/kettle")
    desk.publish("user:boss", "hr", "# Leave\nThe kettle days are two.", uri="leave")
    assert set(desk.found("user:ana", "kettle")) == {"grievances/kettle", "leave"}
    _put_rules(desk, {"path": "grievances/*", "level": "confidential", "categories": ["staff"]})
    assert desk.found("user:ana", "kettle") == ["leave"]
    assert set(desk.found("user:boss", "kettle")) == {"grievances/kettle", "leave"}
    assert _label(desk, grievance) == {"level": "confidential", "categories": ["staff"]}
    with reading(desk.ports.engine) as session:
        assert publishing.index_tasks(session, limit=10) == [], "the index was told, of placements alone"
    latest, first = _history(desk, grievance)
    assert (_causes(latest), latest["by"], latest["to"]) == ([("rule", "grievances/*")], "user:boss", None)
    assert (_causes(first), first["label"], first["to"]) == ([("collection", None)], INTERNAL, latest["from"])
    assert latest["boundary"] != first["boundary"]


def test_a_rule_labels_what_comes_after_it_and_a_rule_taken_away_lowers_nothing(desk: Running) -> None:
    _put_rules(desk, {"path": "*.secret", "level": "restricted"})
    document = desk.publish("user:boss", "hr", "# Plan\nThe kettle moves.", uri="plan.secret", label=INTERNAL)
    assert _label(desk, document) == RESTRICTED
    assert _causes(_history(desk, document)[0]) == [("stated", None), ("rule", "*.secret")]
    _put_rules(desk)
    assert desk.request("GET", "/v1/collections/hr/label-rules", "user:boss").json() == {"rules": []}
    assert _label(desk, document) == RESTRICTED
    assert len(_history(desk, document)) == 1


def test_a_rule_that_was_there_leaves_alone_what_an_owner_lowered_with_a_reason(desk: Running) -> None:
    rule = {"path": "*", "level": "confidential", "categories": []}
    _put_rules(desk, rule)
    document = desk.publish("user:boss", "hr", "# Menu\nSoup.", uri="menu")
    body = {"label": INTERNAL, "reason": "It hangs in the canteen."}
    assert desk.request("PATCH", f"/v1/documents/{document}", "user:boss", json=body).status_code == 200
    _put_rules(desk, rule, {"path": "plans/*", "level": "restricted", "categories": []})
    assert _label(desk, document) == INTERNAL


def test_every_version_and_every_document_that_a_rule_covers_is_raised_in_one_go(desk: Running) -> None:
    for number in range(70):
        desk.submit("user:boss", "hr", f"# Note {number}\nThe kettle is number {number}.", uri=f"notes/{number}")
    desk.work()
    desk.publish("user:boss", "hr", "# Note 0\nThe kettle is gone.", uri="notes/0")
    _put_rules(desk, {"path": "notes/*", "level": "confidential"})
    assert desk.retrieve("user:ana", "kettle")["outcome"] == "empty", "SQL decides, before the index is told"
    assert len(desk.found("user:boss", "kettle", top_k=50)) == 50
    listed = desk.request("GET", "/v1/documents?limit=200", "user:boss").json()["documents"]
    assert {each["label"]["level"] for each in listed} == {"confidential"}
    document = next(each["document_id"] for each in listed if each["uri"] == "notes/0")
    assert [(each["version"], _causes(each)[0]) for each in _history(desk, document)[:2]] == [
        (2, ("rule", "notes/*")),
        (1, ("rule", "notes/*")),
    ]


@pytest.mark.parametrize(
    "lower",
    [INTERNAL, {"level": "restricted", "categories": []}, {"level": "internal", "categories": ["pii", "phi"]}],
    ids=["level-and-category", "category", "level"],
)
def test_lowering_without_a_reason_is_refused_and_changes_nothing(desk: Running, lower: dict[str, Any]) -> None:
    label = {"level": "confidential", "categories": ["pii"]}
    document = desk.publish("user:boss", "hr", "# Letter\nDear kettle.", uri="letter", label=label)
    path = f"/v1/documents/{document}"
    refused = desk.request("PATCH", path, "user:boss", json={"label": lower, "readers": ["user:boss"]})
    assert (refused.status_code, [each["pointer"] for each in refused.json()["errors"]]) == (422, ["/reason"])
    assert "Lowering needs a reason" in refused.json()["detail"]
    assert len(_history(desk, document)) == 1
    body = {"label": lower, "reason": "The member agreed."}
    assert desk.request("PATCH", path, "user:boss", json=body).status_code == 200
    latest = _history(desk, document)[0]
    assert (latest["label"], latest["reason"], latest["by"]) == (
        lower | {"categories": sorted(lower["categories"])},
        "The member agreed.",
        "user:boss",
    )
    assert _causes(latest) == [("amended", "label")]


def test_raising_and_what_is_no_label_need_no_reason_and_are_in_the_history(desk: Running) -> None:
    document = desk.publish("user:boss", "hr", "# Letter\nDear kettle.", uri="letter")
    path = f"/v1/documents/{document}"
    for body in ({"label": CONFIDENTIAL}, {"label": CONFIDENTIAL}, {"readers": ["user:boss"]}):
        assert desk.request("PATCH", path, "user:boss", json=body).status_code == 200
    entries = _history(desk, document)
    assert [_causes(each) for each in entries] == [
        [("amended", "readers")],
        [("amended", "label")],
        [("collection", None)],
    ], "the same again is no change"
    assert [each["to"] for each in entries] == [None, entries[0]["from"], entries[1]["from"]]
    lone = desk.request("PATCH", path, "user:boss", json={"reason": "Just so."})
    assert lone.status_code == 422


def test_the_same_bytes_under_a_lower_label_lower_nothing_without_a_reason(desk: Running) -> None:
    text, strict = "# Trips\nEverybody goes by train.", {"level": "confidential", "categories": []}
    document = desk.publish("user:boss", "hr", text, uri="trips", label=strict)
    desk.publish("user:boss", "hr", text, uri="trips", label=INTERNAL)
    assert _label(desk, document) == strict
    desk.publish("user:boss", "hr", text, uri="trips", label=INTERNAL, label_reason="The trip is announced.")
    assert _label(desk, document) == INTERNAL


def test_what_is_on_its_way_in_is_lowered_with_a_reason_alone(desk: Running) -> None:
    document = desk.submit("user:boss", "hr", "# Letter\nKettle.", uri="letter", label=CONFIDENTIAL).json()["document"]
    path = f"/v1/documents/{document['id']}"
    assert desk.request("PATCH", path, "user:boss", json={"label": INTERNAL}).status_code == 422
    body = {"label": INTERNAL, "reason": "It was sent to everybody."}
    assert desk.request("PATCH", path, "user:boss", json=body).status_code == 200
    desk.work()
    held = _history(desk, document["id"])[0]
    assert (held["label"], held["reason"]) == (INTERNAL, "It was sent to everybody.")


def test_a_label_raised_by_its_owner_holds_for_later_versions_that_state_none(desk: Running) -> None:
    document = desk.publish("user:boss", "hr", "# Plan\nThe kettle moves.", uri="plan")
    desk.request("PATCH", f"/v1/documents/{document}", "user:boss", json={"label": RESTRICTED})
    desk.publish("user:boss", "hr", "# Plan\nThe kettle stays.", uri="plan")
    assert _label(desk, document) == RESTRICTED
    assert _causes(_history(desk, document)[0]) == [("collection", None), ("earlier-version", None)]
    assert desk.found("user:ana", "kettle") == []


CARD = "# Refund\nPay it back to the kettle card 4111 1111 1111 1111."


def test_what_is_found_in_a_text_raises_what_its_owner_stated_and_is_told_without_the_value(desk: Running) -> None:
    submitted = desk.submit("user:boss", "hr", CARD, uri="refund", label=INTERNAL).json()
    desk.work()
    document = submitted["document"]["id"]
    assert _label(desk, document) == {"level": "internal", "categories": ["pii"]}
    assert desk.found("user:ana", "kettle") == []
    assert desk.found("user:boss", "kettle") == ["refund"]
    finding = {"code": "personal-data", "detail": "Personal data was found in the text: payment card (1)."}
    job = desk.request("GET", f"/v1/jobs/{submitted['job']['id']}", "user:boss").json()
    assert job["result"]["findings"] == [finding]
    assert desk.request("GET", f"/v1/documents/{document}", "user:boss").json()["findings"] == [finding]
    held = desk.request("GET", f"/v1/documents/{document}/labels", "user:boss")
    assert _causes(held.json()["labels"][0]) == [("stated", None), ("detected", "pii")]
    assert "4111" not in held.text


def test_a_secret_is_hidden_from_whoever_may_not_see_secrets(desk: Running) -> None:
    desk.publish("user:boss", "hr", "# Kettle\nThe kettle listens at mqtt://tea:Tr0ub4dor-3@kettle:1883.", uri="kettle")
    assert desk.found("user:ana", "kettle") == []
    assert desk.retrieve("user:boss", "kettle")["label"]["categories"] == ["secret"]


def test_an_owner_lowers_what_was_found_with_a_reason_until_a_version_says_nothing_of_it(desk: Running) -> None:
    document = desk.publish("user:boss", "hr", CARD, uri="refund", label=INTERNAL)
    path = f"/v1/documents/{document}"
    assert desk.request("PATCH", path, "user:boss", json={"label": INTERNAL}).status_code == 422
    body = {"label": INTERNAL, "reason": "A network's test number."}
    assert desk.request("PATCH", path, "user:boss", json=body).status_code == 200
    assert desk.found("user:ana", "kettle") == ["refund"]
    again = desk.submit("user:boss", "hr", CARD, uri="refund", label=INTERNAL).json()
    assert again["state"] == "unchanged"
    assert _label(desk, document) == INTERNAL
    desk.publish("user:boss", "hr", f"{CARD}\nSoon.", uri="refund", label=INTERNAL)
    assert _label(desk, document) == {"level": "internal", "categories": ["pii"]}
    stated = {"label": INTERNAL, "label_reason": "A network's test number."}
    desk.publish("user:boss", "hr", f"{CARD}\nNow.", uri="refund", **stated)
    assert _label(desk, document) == INTERNAL
    latest = _history(desk, document)[0]
    assert (latest["version"], latest["reason"]) == (3, "A network's test number.")


def test_an_owner_without_the_category_learns_of_it_from_the_job_and_lowers_nothing(desk: Running) -> None:
    submitted = desk.submit("user:clerk", "hr", CARD, uri="refund").json()
    desk.work()
    job = desk.request("GET", f"/v1/jobs/{submitted['job']['id']}", "user:clerk").json()
    assert job["result"]["findings"][0]["code"] == "personal-data"
    body = {"label": INTERNAL, "reason": "It is fine."}
    path = f"/v1/documents/{submitted['document']['id']}"
    assert desk.request("PATCH", path, "user:clerk", json=body).status_code == 404


def test_a_reason_without_a_label_is_refused(desk: Running) -> None:
    response = desk.submit("user:boss", "hr", "Kettle.", uri="a", label_reason="Because.")
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/metadata/label")


def test_rules_and_history_are_the_owners_alone(desk: Running) -> None:
    open_to_all = desk.publish("user:boss", "hr", "# Leave\nKettle.", uri="leave")
    hidden = desk.publish("user:boss", "hr", "# Plan\nKettle.", uri="plan", label=RESTRICTED)
    rules = {"rules": [{"path": "*", "level": "restricted"}]}
    for who, status in (("user:ana", 403), ("admin", 404)):
        for method, path, body in (
            ("GET", "/v1/collections/hr/label-rules", None),
            ("PUT", "/v1/collections/hr/label-rules", rules),
            ("POST", "/v1/collections/hr/label-rules/preview", rules),
            ("GET", f"/v1/documents/{open_to_all}/labels", None),
        ):
            assert desk.request(method, path, who, json=body).status_code == status, (who, method, path)
    for who in ("user:ana", "user:clerk"):
        told = desk.request("GET", f"/v1/documents/{hidden}/labels", who)
        never = desk.request("GET", "/v1/documents/doc_none/labels", who)
        assert (told.status_code, told.json()["detail"]) == (404, never.json()["detail"])
    nowhere = desk.request("PUT", "/v1/collections/nowhere/label-rules", "user:boss", json=rules)
    assert nowhere.status_code == 404
    assert desk.found("user:ana", "kettle") == ["leave"], "nothing was raised"


def test_a_preview_lists_what_may_be_read_of_what_would_be_raised_and_raises_nothing(desk: Running) -> None:
    leave = desk.publish("user:boss", "hr", "# Leave\nKettle.", uri="leave")
    desk.publish("user:boss", "hr", "# Plan\nKettle.", uri="plan", label=CONFIDENTIAL)
    rules = {"rules": [{"path": "*", "categories": ["staff"]}, {"path": "pay/*", "level": "restricted"}]}

    def raised(who: str) -> list[dict[str, Any]]:
        response = desk.request("POST", "/v1/collections/hr/label-rules/preview", who, json=rules)
        assert response.status_code == 200, response.text
        return list(response.json()["raised"])

    assert [each["uri"] for each in raised("user:boss")] == ["leave", "plan"]
    after = {"level": "internal", "categories": ["staff"]}
    assert raised("user:clerk") == [{"document_id": leave, "uri": "leave", "before": INTERNAL, "after": after}]
    assert _label(desk, leave) == INTERNAL


def test_a_rule_raises_what_its_author_may_not_read_and_says_nothing_of_it(desk: Running) -> None:
    plan = desk.publish("user:boss", "hr", "# Plan\nKettle.", uri="plan", label=CONFIDENTIAL)
    _put_rules(desk, {"path": "*", "categories": ["staff"]}, who="user:clerk")
    assert _label(desk, plan) == {"level": "confidential", "categories": ["staff"]}


@pytest.mark.parametrize(
    "rule",
    [{"path": "*"}, {"path": "", "level": "public"}, {"path": "*", "level": "cosmic"}, {"level": "public"}],
    ids=["says-nothing", "no-path", "no-level", "path-missing"],
)
def test_a_rule_that_is_none_is_refused(desk: Running, rule: dict[str, Any]) -> None:
    response = desk.request("PUT", "/v1/collections/hr/label-rules", "user:boss", json={"rules": [rule]})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith("/rules/0")
