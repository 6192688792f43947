"""Golden questions of a collection and what it lacks, for its owners: and never more than they may read."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from app.operations import golden
from tests.running import Running

LEAVE = "# Leave\n\nParental leave lasts sixteen weeks for every parent."
TRAVEL = "# Travel\n\nA hotel room in Europe may cost 165 euros a night."
MERGER = "# Leave in the merger\n\nAfter the merger parental leave lasts thirty weeks for every parent."
QUESTIONS = "/v1/collections/rules/questions"
EVALUATIONS = "/v1/collections/rules/evaluations"


@pytest.fixture
def house(run: Running) -> Iterator[Running]:
    """Rules that two owners keep, of whom olga alone may read what is restricted."""
    run.put_principal("group:owners")
    run.put_principal("user:olga", groups=["group:owners"], clearance="restricted")
    run.put_principal("user:otto", groups=["group:owners"])
    run.put_principal("user:ana")
    run.put_principal("user:ben")
    run.put_principal("user:cleo")
    run.put_principal("user:dora", clearance="restricted")
    run.put_collection("rules", owners=["group:owners"], default_readers=["group:all-staff"], discoverable=True)
    run.publish("user:olga", "rules", LEAVE, uri="leave")
    run.publish("user:olga", "rules", TRAVEL, uri="travel")
    return run


def state(house: Running, id: str, *, by: str = "user:olga", expected: int = 200, **body: Any) -> Any:
    response = house.request("PUT", f"{QUESTIONS}/{id}", by, json=body)
    assert response.status_code == expected, response.text
    return response.json()


def evaluated(house: Running, who: str = "user:olga") -> dict[str, Any]:
    response = house.request("POST", EVALUATIONS, who)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def results(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["question"]: each for each in evaluation["results"]}


def test_golden_questions_are_stated_listed_and_removed_by_owners_alone(house: Running) -> None:
    expects = [{"uri": "leave", "version": 1, "says": "sixteen weeks"}]
    stated = state(house, "leave", question="How long is parental leave?", who="user:ana", expects=expects)
    assert stated["expects"][0]["document_id"].startswith("doc_")
    assert house.request("GET", f"{QUESTIONS}/leave", "user:otto").json() == stated
    assert house.request("GET", QUESTIONS, "user:otto").json() == {"questions": [stated]}
    assert house.request("DELETE", f"{QUESTIONS}/leave", "user:otto").status_code == 204
    assert house.request("GET", f"{QUESTIONS}/leave", "user:otto").status_code == 404
    for path in ("questions", "questions/leave", "evaluations", "evaluations/ev_1", "unanswered", "unfound"):
        assert house.request("GET", f"/v1/collections/rules/{path}", "user:ana").status_code == 403, path
        assert house.request("GET", f"/v1/collections/nothing/{path}", "user:ana").status_code == 404, path
    assert house.request("POST", EVALUATIONS, "user:ana").status_code == 403
    assert house.request("POST", EVALUATIONS, "user:olga").status_code == 422, "there is no question"


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"question": "Where?", "expects": [{"uri": "nowhere"}]}, "/expects/0"),
    ({"question": "Where?", "expects": [{"uri": "leave", "version": 9}]}, "/expects/0/version"),
    ({"question": "Where?", "expects": [{"uri": "leave"}], "who": "user:nobody-here"}, "/who"),
    ({"question": "Where?", "expects": [{"uri": "leave"}], "purpose": "none"}, "/purpose"),
    ({"question": "Where?"}, "/expects"),
    ({"question": "Where?", "expects": [{"uri": "leave"}], "unanswerable": True}, "/expects"),
    ({"question": "Where?", "expects": [{"uri": "leave", "document_id": "doc_1"}]}, "/expects"),
    ({"question": "  ", "unanswerable": True}, "/question"),
]


def test_a_question_that_cannot_be_asked_is_refused_with_the_place(house: Running) -> None:
    for body, pointer in IMPOSSIBLE:
        problem = state(house, "q", expected=422, **body)
        assert [each["pointer"] for each in problem["errors"]] == [pointer], body


def test_an_evaluation_tells_how_well_each_slice_and_principal_is_answered(house: Running) -> None:
    state(house, "leave", question="How long is parental leave?", who="user:ana", expects=[{"uri": "leave"}], slice="a")
    state(house, "hotel", question="What may a hotel cost?", expects=[{"uri": "travel", "says": "165 euros"}])
    state(house, "never", question="xylophone zeppelin", unanswerable=True)
    made = evaluated(house)
    assert made["whole"]["measures"]["hit@3"] == 1.0
    assert (made["whole"]["answerable"], made["whole"]["unanswerable"]) == (2, 1)
    assert {name: each["answerable"] for name, each in made["slices"].items()} == {"a": 1, "all": 1}
    assert {name: each["answerable"] for name, each in made["principals"].items()} == {"user:ana": 1, "user:olga": 1}
    assert results(made)["never"]["found_nothing"]
    assert made["ranking"]["fusion"]
    assert made["model"] == house.ports.embedder.fingerprint
    assert house.request("GET", f"{EVALUATIONS}/{made['id']}", "user:olga").json() == made
    [listed] = house.request("GET", EVALUATIONS, "user:olga").json()["evaluations"]
    assert listed == {name: made[name] for name in listed}
    drawn = house.request("GET", f"{EVALUATIONS}/{made['id']}.svg", "user:olga")
    assert drawn.headers["content-type"].startswith("image/svg+xml")
    assert ElementTree.fromstring(drawn.text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "all questions" in drawn.text


def test_an_evaluation_is_compared_with_the_one_before_over_what_was_asked_alike(house: Running) -> None:
    state(house, "leave", question="How long is parental leave?", expects=[{"uri": "leave"}])
    state(house, "hotel", question="What may a hotel cost?", expects=[{"uri": "leave"}])
    first = evaluated(house)
    assert (first["before"], first["differences"]) == (None, {})
    house.publish(
        "user:olga", "rules", "# Parental leave\n\nHow long is parental leave? See the other page.", uri="faq"
    )
    state(house, "hotel", question="What may a hotel cost?", expects=[{"uri": "travel"}])
    second = evaluated(house)
    assert second["before"] == first["id"]
    mine, theirs = (results(each)["leave"]["measures"]["ndcg@10"] for each in (second, first))
    assert second["differences"]["ndcg@10"]["mean"] == pytest.approx(mine - theirs), "hotel was stated otherwise"
    assert mine < theirs, "the new page came before what is expected"
    assert second["differences"]["ndcg@10"]["p"] == 1.0, "one question proves nothing"


def test_a_wrong_version_is_told(house: Running) -> None:
    state(house, "leave", question="How long is parental leave?", expects=[{"uri": "leave", "version": 1}])
    house.publish("user:olga", "rules", LEAVE.replace("sixteen", "twenty"), uri="leave")
    made = evaluated(house)
    assert made["whole"]["wrong_versions"] == 1
    assert results(made)["leave"]["measures"]["hit@3"] == 0.0


def test_an_owner_who_evaluates_as_somebody_who_reads_more_learns_nothing_of_it(house: Running) -> None:
    """Otto owns the collection and may not read what is restricted; dora may. Adding it changes nothing for him."""
    state(house, "leave", by="user:otto", question="How long is parental leave?", expects=[{"uri": "leave"}])
    asked_as = {"question": "How long is parental leave after the merger?"}
    state(house, "dora", by="user:otto", who="user:dora", expects=[{"uri": "leave"}], **asked_as)
    before = evaluated(house, "user:otto")
    restricted = {"label": {"level": "restricted"}, "readers": ["group:all-staff"]}
    merger = house.publish("user:olga", "rules", MERGER, uri="merger", **restricted)
    assert house.found("user:dora", asked_as["question"], collections=["rules"])[0] == "merger"
    after = evaluated(house, "user:otto")

    def told(made: dict[str, Any]) -> list[dict[str, Any]]:
        return [{name: value for name, value in each.items() if name != "ms"} for each in made["results"]]

    assert told(after) == told(before)
    assert merger not in house.request("GET", "/v1/traces?limit=50", "user:otto").text
    problem = state(house, "merger", by="user:otto", expected=422, question="When?", expects=[{"uri": "merger"}])
    absent = state(house, "merger", by="user:otto", expected=422, question="When?", expects=[{"uri": "absent"}])
    assert problem["errors"] == absent["errors"], "hidden is absent"


def test_what_came_of_more_than_one_may_read_is_not_there(house: Running) -> None:
    restricted = {"label": {"level": "restricted"}, "readers": ["group:all-staff"]}
    house.publish("user:olga", "rules", MERGER, uri="merger", **restricted)
    state(house, "merger", question="How long is leave after the merger?", expects=[{"uri": "merger"}])
    state(house, "leave", question="How long is parental leave?", expects=[{"uri": "leave"}])
    olgas = evaluated(house, "user:olga")
    assert results(olgas)["merger"]["measures"]["hit@3"] == 1.0
    assert [each["id"] for each in house.request("GET", QUESTIONS, "user:otto").json()["questions"]] == ["leave"]
    assert house.request("GET", f"{QUESTIONS}/merger", "user:otto").status_code == 404
    assert house.request("DELETE", f"{QUESTIONS}/merger", "user:otto").status_code == 404
    for path in (f"{EVALUATIONS}/{olgas['id']}", f"{EVALUATIONS}/{olgas['id']}.svg"):
        assert house.request("GET", path, "user:otto").status_code == 404
    assert house.request("GET", EVALUATIONS, "user:otto").json() == {"evaluations": []}
    ottos = evaluated(house, "user:otto")
    assert (ottos["before"], [*results(ottos)]) == (None, ["leave"])
    assert house.request("GET", f"{EVALUATIONS}/{ottos['id']}", "user:olga").status_code == 200
    house.put_principal("user:olga", groups=["group:owners"])
    assert house.request("GET", f"{EVALUATIONS}/{olgas['id']}", "user:olga").status_code == 404, "nor to her any more"


def test_a_name_is_free_to_an_owner_whether_or_not_a_question_hidden_from_them_has_it(
    house: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "MAX_QUESTIONS", 2)
    restricted = {"label": {"level": "restricted"}, "readers": ["group:all-staff"]}
    house.publish("user:olga", "rules", MERGER, uri="merger", **restricted)
    olgas = state(house, "leave", question="How long is leave after the merger?", expects=[{"uri": "merger"}])
    told = {
        id: [
            state(house, id, by="user:otto", question="How long is leave?", expects=[{"uri": "leave"}]),
            house.request("GET", f"{QUESTIONS}/{id}", "user:otto").json(),
            state(house, id, by="user:otto", question="How long is leave?", unanswerable=True),
        ]
        for id in ("leave", "absent")
    }
    assert [{**each, "id": "leave"} for each in told["absent"]] == told["leave"], "hidden is absent"
    state(house, "third", by="user:otto", expected=409, question="Which?", unanswerable=True)
    assert house.request("GET", f"{QUESTIONS}/leave", "user:olga").json() == olgas, "her own is as it was"
    seen = house.request("GET", QUESTIONS, "user:olga").json()["questions"]
    assert [(each["id"], each["stated_by"]) for each in seen] == [
        ("absent", "user:otto"),
        ("leave", "user:olga"),
        ("leave", "user:otto"),
    ]
    for expected in (204, 404):
        assert house.request("DELETE", f"{QUESTIONS}/leave", "user:otto").status_code == expected
    assert house.request("GET", f"{QUESTIONS}/leave", "user:olga").json() == olgas
    state(house, "absent", question="Which?", unanswerable=True)
    assert house.request("GET", f"{QUESTIONS}/absent", "user:otto").json()["stated_by"] == "user:olga", "in its place"


def test_evaluating_leaves_traces_of_its_own_kind_in_the_owners_name(house: Running) -> None:
    state(house, "leave", question="How long is parental leave?", who="user:ana", expects=[{"uri": "leave"}])
    made = evaluated(house)
    [trace] = [
        each
        for each in house.request("GET", "/v1/traces?limit=5", "user:olga").json()["traces"]
        if each["kind"] == "evaluation"
    ]
    assert (trace["subject"], trace["request"]["who"]) == ("user:olga", "user:ana")
    assert (trace["request"]["workflow"], trace["request"]["decision"]) == (made["id"], "leave")
    assert house.request("GET", "/v1/traces", "user:ana").json()["traces"] == [], "nobody asked in her name"
    unfound = house.request("GET", "/v1/collections/rules/unfound", "user:olga").json()
    assert "leave" in [each["uri"] for each in unfound["documents"]], "an evaluation cites nothing"


def test_golden_questions_go_with_the_document_that_they_expect(house: Running) -> None:
    stated = state(house, "leave", question="How long is parental leave?", expects=[{"uri": "leave"}])
    [expected] = stated["expects"]
    erased = house.request(
        "POST", f"/v1/documents/{expected['document_id']}/erase", "user:olga", json={"reason": "It must go."}
    )
    assert erased.status_code == 201, erased.text
    house.work()
    assert house.request("GET", QUESTIONS, "user:olga").json() == {"questions": []}


def test_a_question_is_shown_to_owners_once_three_others_asked_it_in_vain(house: Running) -> None:
    def gaps(who: str = "user:olga") -> dict[str, Any]:
        answer: dict[str, Any] = house.request("GET", "/v1/collections/rules/unanswered", who).json()
        return answer

    wordings = {
        "user:ana": "Xylophone zeppelin?",
        "user:ben": "xylophone  ZEPPELIN",
        "user:cleo": "Xylophone zeppelin!",
    }
    for who in ("user:ana", "user:ben"):
        assert house.retrieve(who, wordings[who])["outcome"] == "empty"
    house.retrieve("user:ana", wordings["user:ana"])
    house.retrieve("user:olga", wordings["user:ana"])
    assert gaps() == {"questions": [], "withheld": 1, "complete": True}, "she is no witness to what others asked"
    house.retrieve("user:cleo", wordings["user:cleo"], collections=["rules"])
    [shown] = gaps()["questions"]
    assert (shown["question"], shown["times"]) == ("xylophone zeppelin", 4)
    house.put_collection("others", owners=["group:owners"])
    for who in wordings:
        house.retrieve(who, "quagga quetzal", collections=["others"])
    assert len(gaps()["questions"]) == 1, "asked within another collection"


def test_documents_that_no_answer_cites_are_paged_and_what_is_hidden_takes_no_place(house: Running) -> None:
    for number in range(5):
        house.submit(
            "user:olga", "rules", f"# Annex {number}\n\nOrdinary words about annex {number}.", uri=f"a{number}"
        )
    restricted = {"label": {"level": "restricted"}, "readers": ["group:all-staff"]}
    house.submit("user:olga", "rules", MERGER, uri="a2-hidden", **restricted)
    house.submit("user:olga", "rules", "# Later\n\nNot yet.", uri="a3-later", valid_from="2090-01-01")
    house.work()
    house.retrieve("user:ana", "How long is parental leave?", top_k=1)

    def pages(who: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = house.request("GET", f"/v1/collections/rules/unfound?limit=2{cursor}", who).json()
            found += [each["uri"] for each in page["documents"]]
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"

    assert pages("user:otto") == ["a0", "a1", "a2", "a3", "a4", "travel"], "leave was cited"
    assert pages("user:olga") == ["a0", "a1", "a2", "a2-hidden", "a3", "a4", "travel"]
    bad = house.request("GET", "/v1/collections/rules/unfound?cursor=no", "user:otto")
    assert bad.status_code == 422
