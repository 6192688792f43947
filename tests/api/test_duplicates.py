"""Near-duplicates: who keeps the same document, told to whoever may read both, and to nobody else."""

from typing import Any

import pytest
from sqlalchemy import text

from app.domain.corpus import Digest
from app.store.database import writing
from ingest import pipeline
from tests.running import Running
from tests.store.history import rows_of

RULES = (
    "Customer data may be shared with a partner only after the data office has agreed in writing. The partner signs "
    "the agreement first. A copy of the agreement is kept with the contract for as long as the contract lasts, and the "
    "office reviews every agreement once a year. Whoever shares data without an agreement tells the office at once."
)
COPY = RULES.replace("once a year", "each spring")
SHORT = "Retention is seven years."
TABLES = ("signatures", "bands")


@pytest.fixture
def teams(run: Running) -> Running:
    """Three collections: `policies` is the system of record, `sales` keeps copies, `board` is closed to the rest."""
    for group in ("legal", "sales", "board"):
        run.put_principal(f"group:{group}")
        run.put_principal(f"user:{group}", groups=[f"group:{group}"])
    staff = {"default_readers": ["group:all-staff"]}
    run.put_collection("policies", owners=["group:legal"], system_of_record=True, **staff)
    run.put_collection("sales", owners=["group:sales"], **staff)
    run.put_collection("board", owners=["group:board"])
    return run


def listed(run: Running, who: str, collection: str, **params: Any) -> list[tuple[str, list[str]]]:
    """Each document's uri with those of its near-duplicates."""
    response = run.request("GET", f"/v1/collections/{collection}/duplicates", who, params=params)
    assert response.status_code == 200, response.text
    return [
        (each["document"]["uri"], [other["document"]["uri"] for other in each["others"]])
        for each in response.json()["documents"]
    ]


def test_owner_finds_copy_of_own_document_elsewhere_with_the_system_of_record(teams: Running) -> None:
    policy = teams.publish("user:legal", "policies", RULES, uri="policies/sharing", title="Sharing")
    copy = teams.publish("user:sales", "sales", COPY, uri="sales/sharing", title="Our sharing rules")
    teams.publish("user:sales", "sales", "Nothing like it: the canteen is open from eleven to two.", uri="sales/lunch")
    response = teams.request("GET", "/v1/collections/sales/duplicates", "user:sales")
    (found,) = response.json()["documents"]
    here = {
        "document_id": copy,
        "collection": "sales",
        "uri": "sales/sharing",
        "title": "Our sharing rules",
        "version": 1,
        "system_of_record": False,
    }
    there = {
        "document_id": policy,
        "collection": "policies",
        "uri": "policies/sharing",
        "title": "Sharing",
        "version": 1,
        "system_of_record": True,
    }
    (twin,) = found["others"]
    assert (found["document"], twin["document"], twin["identical"]) == (here, there, False)
    assert 0.8 <= twin["similarity"]["exact"] < 1
    assert abs(twin["similarity"]["exact"] - twin["similarity"]["estimated"]) < 0.15
    assert response.json()["cursor"] is None


def test_owner_is_told_of_pairs_alone_of_which_both_sides_may_be_read(teams: Running) -> None:
    """A closed twin takes no place and is not counted, whichever side it is on."""
    teams.publish("user:sales", "sales", COPY, uri="sales/sharing")
    before = teams.request("GET", "/v1/collections/sales/duplicates", "user:sales").json()
    teams.publish("user:board", "board", RULES, uri="board/sharing")
    assert teams.request("GET", "/v1/collections/sales/duplicates", "user:sales").json() == before
    assert before == {"documents": [], "cursor": None}
    assert listed(teams, "user:board", "board") == [("board/sharing", ["sales/sharing"])]
    assert teams.request("GET", "/v1/collections/sales/duplicates", "user:legal").status_code == 403
    assert teams.request("GET", "/v1/collections/board/duplicates", "user:sales").status_code == 404


def test_duplicates_follow_new_versions_and_withdrawal(teams: Running) -> None:
    policy = teams.publish("user:legal", "policies", RULES, uri="policies/sharing")
    teams.publish("user:sales", "sales", COPY, uri="sales/sharing")
    assert listed(teams, "user:sales", "sales") == [("sales/sharing", ["policies/sharing"])]
    teams.publish("user:sales", "sales", "Ask the data office, and nobody else, about sharing.", uri="sales/sharing")
    assert listed(teams, "user:sales", "sales") == []
    teams.publish("user:sales", "sales", RULES, uri="sales/sharing")
    assert listed(teams, "user:sales", "sales") == [("sales/sharing", ["policies/sharing"])]
    response = teams.request("POST", f"/v1/documents/{policy}/withdraw", "user:legal", json={"reason": "old"})
    assert response.status_code == 200, response.text
    assert listed(teams, "user:sales", "sales") == []


def test_short_texts_are_duplicates_when_their_words_are_the_same(teams: Running) -> None:
    id = teams.publish("user:legal", "policies", SHORT, uri="policies/retention")
    teams.publish("user:sales", "sales", "retention is SEVEN years", uri="sales/same")
    teams.publish("user:sales", "sales", "Retention is ten years.", uri="sales/other")
    found = teams.request("GET", f"/v1/documents/{id}/duplicates", "user:sales").json()
    assert [(each["document"]["uri"], each["identical"]) for each in found["others"]] == [("sales/same", False)]


def test_pages_of_duplicates_are_the_whole_list_in_order(teams: Running) -> None:
    for number in range(5):
        rules = f"{RULES} Rule number {number} of the book of rules."
        teams.submit("user:legal", "policies", rules, uri=f"policies/{number}")
        teams.submit("user:sales", "sales", rules, uri=f"sales/{number}")
    teams.work()
    whole = listed(teams, "user:sales", "sales")
    assert [uri for uri, _ in whole] == [f"sales/{number}" for number in range(5)]
    assert all(others[0] == f"policies/{uri[-1]}" for uri, others in whole)
    pages, cursor = [], None
    while cursor != "":
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        pages.append(listed(teams, "user:sales", "sales", **params))
        response = teams.request("GET", "/v1/collections/sales/duplicates", "user:sales", params=params)
        cursor = response.json()["cursor"] or ""
    assert [each for page in pages for each in page] == whole
    assert [len(page) for page in pages] == [2, 2, 1]


def test_nothing_made_of_an_erased_text_is_left(teams: Running) -> None:
    document = teams.publish("user:sales", "sales", COPY, uri="sales/sharing")
    assert len(rows_of(teams.ports.engine, "signatures")) == 1
    erased = teams.request("POST", f"/v1/documents/{document}/erase", "user:sales", json={"reason": "it was asked"})
    assert erased.status_code == 201, erased.text
    with teams.ports.engine.connect() as connection:
        counts = [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in TABLES]
    assert counts == [0, 0]
    assert listed(teams, "user:sales", "sales") == []


def test_texts_from_before_they_were_signed_are_signed_later(teams: Running) -> None:
    for who, collection in (("user:legal", "policies"), ("user:sales", "sales")):
        teams.publish(who, collection, RULES, uri=f"{collection}/sharing")
    (row,) = rows_of(teams.ports.engine, "signatures").values()
    with writing(teams.ports.engine) as session:
        session.execute(text("DELETE FROM signatures"))
    assert listed(teams, "user:sales", "sales") == []
    after = pipeline.sign_texts(teams.ports, after=Digest(""), limit=5)
    assert after == row["text_digest"]
    assert pipeline.sign_texts(teams.ports, after=after, limit=5) is None
    assert listed(teams, "user:sales", "sales") == [("sales/sharing", ["policies/sharing"])]
    assert rows_of(teams.ports.engine, "signatures") == {1: {**row, "id": 1}}


# -- Retrieval ---------------------------------------------------------------------------------------------------------

QUESTION = "When may customer data be shared with a partner?"


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    return next(check for check in answer["checks"] if check["check"] == "authority")


def test_system_of_record_speaks_for_its_copies_at_the_better_rank(teams: Running) -> None:
    teams.publish("user:sales", "sales", COPY, uri="sales/sharing", title=QUESTION)
    alone = teams.retrieve("user:sales", QUESTION)
    teams.publish("user:legal", "policies", RULES, uri="policies/sharing", title="Handbook, part four")
    answer = teams.retrieve("user:sales", QUESTION)
    assert [each["citation"]["uri"] for each in alone["passages"]] == ["sales/sharing"]
    assert [each["citation"]["uri"] for each in answer["passages"]] == ["policies/sharing"]
    assert answer["passages"][0]["flags"] == ["speaks-for-copy"]
    assert (checked(answer)["outcome"], checked(answer)["reason"]) == (
        "narrowed",
        "The system of record speaks for a copy of it: passage 1.",
    )


def test_copy_that_contradicts_the_system_of_record_is_told_with_a_warning(teams: Running) -> None:
    teams.publish("user:legal", "policies", f"{RULES} It is kept for 7 years.", uri="policies/sharing")
    teams.publish("user:sales", "sales", f"{RULES} It is kept for 9 years.", uri="sales/sharing")
    answer = teams.retrieve("user:legal", QUESTION)
    flags = {each["citation"]["uri"]: each["flags"] for each in answer["passages"]}
    assert flags == {"policies/sharing": [], "sales/sharing": ["not-authoritative"]}
    rank = next(each["rank"] for each in answer["passages"] if each["flags"])
    assert checked(answer)["outcome"] == "warned"
    assert checked(answer)["reason"] == f"Not from a system of record: passage {rank}."


def test_without_a_system_of_record_no_collection_comes_before_another(teams: Running) -> None:
    teams.publish("user:board", "board", RULES, uri="board/sharing")
    answer = teams.retrieve("user:board", QUESTION)
    assert [each["flags"] for each in answer["passages"]] == [[]]
    assert checked(answer)["outcome"] == "pass"


def test_superseded_version_is_told_as_such_when_asked_as_of_then(teams: Running) -> None:
    teams.publish("user:legal", "policies", RULES, uri="policies/sharing", valid_from="2020-01-01")
    teams.publish("user:legal", "policies", "Customer data is shared with no partner.", uri="policies/sharing")
    then, now = (teams.retrieve("user:sales", QUESTION, **at) for at in ({"as_of": "2021-01-01"}, {}))
    assert [each["flags"] for each in then["passages"]] == [["superseded"]]
    assert checked(then)["reason"] == "Superseded since the instant asked for: passage 1."
    assert [(each["flags"], checked(now)["outcome"]) for each in now["passages"]] == [([], "pass")]


def test_hidden_twin_of_the_system_of_record_changes_nothing(teams: Running) -> None:
    teams.publish("user:sales", "sales", COPY, uri="sales/sharing")
    before = teams.retrieve("user:sales", QUESTION)
    policy = teams.publish("user:legal", "policies", RULES, uri="policies/sharing", readers=["user:legal"])
    after = teams.retrieve("user:sales", QUESTION)
    for answer in (before, after):
        del answer["trace_id"], answer["usage"]["timings_ms"]
        answer["checks"] = [each for each in answer["checks"] if each["check"] != "lifecycle"]
    assert before == after
    assert teams.request("GET", f"/v1/documents/{policy}/duplicates", "user:sales").status_code == 404
