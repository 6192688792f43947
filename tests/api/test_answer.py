"""A question answered in words: sentences as they stand, or the honest refusal; the same gate, the same record."""

import json
from typing import Any

import pytest

from app.adapters.cedar_policy import default_policies
from app.domain.access import PrincipalRef
from app.domain.corpus import text_digest
from app.store import registry
from app.store.database import recording
from tests.running import Running

LEAVE = (
    "# Parental leave\n\nEvery employee may take 26 weeks of parental leave. "
    "The leave is paid in full for 16 weeks.\n\n"
    "# Notice\n\nLeave must be asked for 8 weeks before it begins. Write to the People desk about it."
)
QUESTION = "For how many weeks is parental leave paid in full?"
REFUSAL = "This is not in the documents you may read."
UNANSWERED = "Which vaccination is paid for before a trip to Brazil?"


@pytest.fixture
def office(run: Running) -> Running:
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="restricted", categories=["pii"])
    run.put_collection("rules", owners=["user:olga"], default_readers=["user:ana"])
    run.publish("user:olga", "rules", LEAVE, uri="leave", title="Leave policy")
    return run


def ask(run: Running, who: str, query: str, **rest: Any) -> dict[str, Any]:
    response = run.request("POST", "/v1/answer", who, json={"query": query, **rest})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def events(run: Running, who: str, query: str, **rest: Any) -> list[tuple[str, dict[str, Any]]]:
    response = run.request("POST", "/v1/answer", who, json={"query": query, "stream": True, **rest})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    told = [each.split("\n") for each in response.text.split("\n\n") if each]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in told]


def check(answer: dict[str, Any], name: str = "grounding") -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in answer["checks"] if each["check"] == name)
    return found


def oblige(run: Running, obligations: str) -> None:
    policies = default_policies().replace('@id("readers-see")', f'@id("readers-see")\n@obligation("{obligations}")')
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))


def test_answer_is_a_sentence_byte_for_byte_as_its_version_has_it(office: Running) -> None:
    answer = ask(office, "user:ana", QUESTION, max_sentences=1)
    assert (answer["outcome"], answer["answer"]["kind"]) == ("answered", "extractive")
    (sentence,) = answer["answer"]["sentences"]
    assert sentence["text"] == answer["answer"]["text"] == "The leave is paid in full for 16 weeks."
    citation = sentence["citation"]
    text = office.request("GET", f"/v1/documents/{citation['document_id']}/text", "user:ana").json()["text"]
    start, end = citation["span"]
    assert text[start:end] == sentence["text"]
    assert text_digest(text[start:end]) == citation["quote_digest"]
    reopened = office.request("GET", f"/v1/citations/{citation['id']}", "user:ana").json()
    assert (reopened["text"], reopened["span"]) == (sentence["text"], [start, end])
    assert sentence["text"] in answer["passages"][sentence["passage"] - 1]["text"]
    assert check(answer)["outcome"] == "pass"


def test_answer_rests_on_what_retrieve_gives(office: Running) -> None:
    passages = office.retrieve("user:ana", QUESTION)
    answer = ask(office, "user:ana", QUESTION)
    for name in ("outcome", "passages", "context", "label", "obligations", "recourse"):
        assert answer[name] == passages[name], name


def test_what_was_answered_is_on_record_without_a_word_of_it(office: Running) -> None:
    office.put_principal("user:sunniva", groups=["group:auditors"])
    answer = ask(office, "user:ana", QUESTION, max_sentences=1)
    trace = office.request("GET", f"/v1/traces/{answer['trace_id']}", "user:sunniva").json()
    (told,) = trace["response"]["answer"]["sentences"]
    (sentence,) = answer["answer"]["sentences"]
    assert told["digest"] == text_digest(sentence["text"])
    assert (told["citation"], told["span"]) == (sentence["citation"]["id"], sentence["citation"]["span"])
    assert trace["response"]["answer"]["confidence"] == answer["answer"]["confidence"]
    assert sentence["text"] not in json.dumps(trace)


def test_what_is_not_there_is_refused_in_the_same_words_as_what_is_hidden(office: Running) -> None:
    nothing = ask(office, "user:ana", UNANSWERED)
    assert (nothing["outcome"], nothing["answer"]["kind"], nothing["answer"]["text"]) == ("empty", "none", REFUSAL)
    assert (nothing["passages"], nothing["context"], nothing["label"], nothing["obligations"]) == ([], "", None, [])
    assert check(nothing)["outcome"] == "warned"
    secret = "Yellow fever vaccination is paid for before a trip to Brazil."
    office.publish("user:olga", "rules", secret, uri="brazil", readers=["user:olga"])
    hidden = ask(office, "user:ana", UNANSWERED)
    assert timeless(hidden) == timeless(nothing)
    assert ask(office, "user:olga", UNANSWERED)["answer"]["text"] == secret


def test_hidden_twins_change_nothing_of_an_answer(office: Running) -> None:
    questions = (QUESTION, UNANSWERED, "May leave be asked for late?", "leave")
    before = [timeless(ask(office, "user:ana", each)) for each in questions]
    streamed = [(name, timeless(data)) for name, data in events(office, "user:ana", QUESTION)]
    for number in range(3):
        twin = f"{LEAVE}\n\nThe leave is paid in full for {20 + number} weeks. Brazil wants a vaccination."
        office.publish("user:olga", "rules", twin, uri=f"twin-{number}", readers=["user:olga"])
    assert [timeless(ask(office, "user:ana", each)) for each in questions] == before
    assert [(name, timeless(data)) for name, data in events(office, "user:ana", QUESTION)] == streamed


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    """Without ids of traces, instants and times."""
    kept = {name: value for name, value in answer.items() if name != "trace_id"}
    if "usage" in kept:
        kept["usage"] = {name: value for name, value in kept["usage"].items() if name != "timings_ms"}
    if "checks" in kept:
        kept["checks"] = [each for each in kept["checks"] if each["check"] != "lifecycle"]
    return kept


def test_threshold_is_a_setting(office: Running) -> None:
    assert ask(office, "user:ana", QUESTION)["answer"]["confidence"] < 1
    object.__setattr__(office.ports, "min_confidence", 1.0)
    refused = ask(office, "user:ana", QUESTION)
    assert (refused["outcome"], refused["answer"]["text"], refused["passages"]) == ("empty", REFUSAL, [])
    assert office.retrieve("user:ana", QUESTION)["outcome"] == "answered"


def test_sentences_are_told_after_the_passages_and_then_the_whole(office: Running) -> None:
    whole = ask(office, "user:ana", QUESTION, max_sentences=2)
    told = events(office, "user:ana", QUESTION, max_sentences=2)
    assert [name for name, _ in told] == ["passages", *["sentence"] * len(whole["answer"]["sentences"]), "done"]
    assert told[0][1]["passages"] == whole["passages"]
    assert [data for name, data in told if name == "sentence"] == whole["answer"]["sentences"]
    assert told[-1][1]["answer"] == whole["answer"]
    trace = office.request("GET", f"/v1/traces/{told[0][1]['trace_id']}", "user:ana").json()
    assert len(trace["response"]["answer"]["sentences"]) == len(whole["answer"]["sentences"])


def test_blocked_question_is_blocked_here_too(office: Running) -> None:
    office.put_purpose("payroll")
    office.put_purpose("hr")
    office.put_principal("user:ana", purposes=["hr"], clearance="confidential")
    blocked = ask(office, "user:ana", QUESTION, purpose="payroll")
    assert (blocked["outcome"], blocked["answer"]) == (
        "blocked",
        {"text": "", "kind": "none", "sentences": [], "confidence": None, "dropped": {}},
    )
    assert [name for name, _ in events(office, "user:ana", QUESTION, purpose="payroll")] == ["passages", "done"]


def test_what_an_obligation_blacks_out_is_not_in_a_sentence(office: Running) -> None:
    card = "4111 1111 1111 1111"
    office.publish("user:olga", "rules", f"The refund for the kettle goes to card {card} on Monday.", uri="kettle")
    question = "Where does the refund for the kettle go?"
    assert card in ask(office, "user:ana", question)["answer"]["text"]
    oblige(office, "redact:pii,max-passages:1")
    answer = ask(office, "user:ana", question)
    assert answer["answer"]["text"] == "The refund for the kettle goes to card [redacted: payment card] on Monday."
    (sentence,) = answer["answer"]["sentences"]
    assert [each["kind"] for each in sentence["redactions"]] == ["payment card"]
    assert card not in json.dumps(answer)
    assert len(answer["passages"]) == 1
    assert {each["id"] for each in answer["obligations"]} == {"redact:pii", "max-passages:1"}


def test_bad_requests_are_refused_before_anything_is_streamed(office: Running) -> None:
    for body in ({"query": " "}, {"query": "x", "max_sentences": 0}, {"query": "x", "stream": "perhaps"}):
        assert office.request("POST", "/v1/answer", "user:ana", json={"stream": True, **body}).status_code == 422, body
    assert office.client.post("/v1/answer", json={"query": "x", "stream": True}).status_code == 401


def test_timings_say_what_choosing_sentences_took(office: Running) -> None:
    timings = ask(office, "user:ana", QUESTION)["usage"]["timings_ms"]
    assert 0 < timings["extract"] <= timings["total"]
