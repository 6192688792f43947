"""What a permit obliges to is done before anything leaves, on every way out; what cannot be done is a denial."""

import re
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from app.adapters.cedar_policy import default_policies
from app.domain.access import Grant, GrantKind, PrincipalRef
from app.domain.corpus import text_digest
from app.domain.demands import demanded
from app.domain.instants import Instant
from app.operations.identify import Credentials
from app.operations.read import Place, texts
from app.store import grants, registry
from app.store.database import reading, recording
from app.store.tables import NoticeRow
from tests.running import Running

CARD = "4111 1111 1111 1111"
MAIL = "ben.vos@example.org"
TEXT = f"The refund for the broken kettle goes to card {CARD}; write to {MAIL} about it."
QUESTION = "Where does the refund for the kettle go?"
RESTORED = default_policies()


@pytest.fixture
def shop(run: Running) -> Running:
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="confidential", categories=["pii"])
    run.put_collection("refunds", owners=["user:olga"], default_readers=["user:ana"])
    return run


def oblige(run: Running, obligations: str, *, permit: str = "readers-see") -> None:
    activate(run, RESTORED.replace(f'@id("{permit}")', f'@id("{permit}")\n@obligation("{obligations}")'))


def activate(run: Running, policies: str) -> None:
    assert run.ports.policy_engine.validate(policies) == []
    with recording(run.ports.engine, run.ports.now(), "policies") as (session, at):
        registry.record_policies(session, policies, reason="a test", at=at, by=PrincipalRef("test"))


def check(answer: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in answer["checks"] if each["check"] == name)
    return found


def doors(document: str) -> list[str]:
    root = f"/v1/documents/{document}"
    return [f"{root}/text", f"{root}/versions/1/text", f"{root}/versions/1/content", f"{root}/diff?from=1&to=1"]


def test_personal_data_is_blacked_out_and_the_citation_stays_that_of_the_evidence(shop: Running) -> None:
    shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    plain = shop.retrieve("user:ana", QUESTION)
    (before,) = plain["passages"]
    assert CARD in before["text"]
    assert check(plain, "personal-data")["outcome"] == "pass"
    assert "labelled pii" in check(plain, "personal-data")["reason"]

    oblige(shop, "redact:pii,cite")
    answer = shop.retrieve("user:ana", QUESTION)
    (passage,) = answer["passages"]
    assert passage["citation"] == before["citation"]
    assert passage["text"] == before["text"].replace(CARD, "[redacted: payment card]").replace(
        MAIL, "[redacted: e-mail address]"
    )
    hidden = [(before["text"][start:end], kind, "pii") for (start, end), kind, _ in spans(passage)]
    assert hidden == [(CARD, "payment card", "pii"), (MAIL, "e-mail address", "pii")]
    assert passage["text"] in answer["context"]
    assert answer["usage"]["context_tokens"] == len(shop.ports.tokenizer.offsets(answer["context"]))
    assert CARD not in str(answer)
    assert MAIL not in str(answer)
    assert {each["id"]: each["policies"] for each in answer["obligations"]} == {
        "cite": ["readers-see"],
        "redact:pii": ["readers-see"],
    }
    told = check(answer, "personal-data")
    assert (told["outcome"], told["policies"][0]) == ("redacted", "readers-see")
    trace = shop.request("GET", f"/v1/traces/{answer['trace_id']}", "user:ana").json()
    assert [each["kind"] for each in trace["response"]["passages"][0]["redactions"]] == [
        "payment card",
        "e-mail address",
    ]
    assert CARD in shop.retrieve("user:olga", QUESTION)["passages"][0]["text"], "her permit obliges to nothing"


def spans(passage: dict[str, Any]) -> list[tuple[tuple[int, int], str, str]]:
    """The redactions, counted from where the passage begins."""
    begins = passage["citation"]["span"][0]
    return [
        ((each["span"][0] - begins, each["span"][1] - begins), each["kind"], each["category"])
        for each in passage["redactions"]
    ]


def test_no_door_gives_what_was_blacked_out(shop: Running) -> None:
    document = shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    oblige(shop, "redact:pii")
    (passage,) = shop.retrieve("user:ana", QUESTION)["passages"]
    reopened = shop.request("GET", f"/v1/citations/{passage['citation']['id']}", "user:ana").json()
    assert reopened["text"] == passage["text"]
    assert reopened["redactions"] == passage["redactions"]
    assert reopened["quote_digest"] == passage["citation"]["quote_digest"] == text_digest(TEXT)
    assert reopened["obligations"] == [{"id": "redact:pii", "policies": ["readers-see"]}]
    for door in doors(document):
        refused = shop.request("GET", door, "user:ana")
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/not-permitted"), door
        assert "readers-see obliges to redact:pii" in refused.json()["detail"]
        assert CARD not in refused.text
        assert shop.request("GET", door, "user:olga").status_code == 200, door


def test_what_is_around_a_citation_is_blacked_out_too(shop: Running) -> None:
    """In headings and titles as well, which are taken from the text."""
    long = "\n\n".join(
        f"Paragraph {n} tells of kettles, what they weigh and how long they take to boil." for n in range(9)
    )
    text = f"# Kettle {CARD}\n\n{long}\n\n{TEXT}\n\n{long}"
    shop.publish("user:olga", "refunds", text, uri="kettle", attributes={"from": ["Max", MAIL]})
    oblige(shop, "redact:pii")
    answer = shop.retrieve("user:ana", QUESTION, top_k=50)
    assert len(answer["passages"]) > 1
    assert CARD not in str(answer)
    for passage in answer["passages"]:
        reopened = shop.request("GET", f"/v1/citations/{passage['citation']['id']}", "user:ana")
        assert reopened.status_code == 200
        told = reopened.json()
        shown = "".join((told["before"], told["text"], told["after"], str(told["elements"])))
        assert CARD not in shown
        assert MAIL not in shown
    (listed,) = shop.request("GET", "/v1/documents", "user:ana").json()["documents"]
    assert listed["title"] == "Kettle [redacted: payment card]"
    assert MAIL not in str(listed)
    assert listed["attributes"]["from"][0] == "Max"


def test_title_is_blacked_out_to_owners_wherever_they_are_told_of_a_document(shop: Running) -> None:
    shop.put_purpose("audit")
    due: dict[str, Any] = {"title": f"Kettle {CARD}", "review_by": "2020-01-01"}
    shop.publish("user:olga", "refunds", TEXT, uri="kettle", **due)
    shop.publish("user:olga", "refunds", "Of the pot.", uri="pot", purposes=["audit"], **due)
    rule = {"when": "published", "after_days": 0, "action": "withdraw"}
    kept = shop.request("PUT", "/v1/collections/refunds/retention", "user:olga", json={"rules": [rule]})
    assert kept.status_code == 200
    oblige(shop, "redact:pii", permit="owners-see")

    def titles() -> list[list[str]]:
        reviews = shop.request("GET", "/v1/collections/refunds/reviews", "user:olga").json()["documents"]
        runs = [
            shop.request("POST", "/v1/collections/refunds/retention/run", "user:olga", json={"dry_run": dry}).json()
            for dry in (True, False)
        ]
        return [[each["title"] for each in some] for some in (reviews, *(run["versions"] for run in runs))]

    assert titles() == [["Kettle [redacted: payment card]"] * 2] * 3


def test_redaction_that_cannot_be_done_is_a_denial(shop: Running) -> None:
    document = shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    oblige(shop, "redact:weather")
    assert shop.retrieve("user:ana", QUESTION)["outcome"] == "empty"
    assert {shop.request("GET", door, "user:ana").status_code for door in doors(document)} == {404}


def test_without_a_detector_nothing_that_is_to_be_redacted_leaves(shop: Running) -> None:
    document = shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    oblige(shop, "redact:pii,cite")
    blind = replace(shop.ports, redactors={})
    with pytest.raises(Exception, match="nothing here by that id"):
        texts(blind, Credentials(bearer=shop.key("user:ana")), document, [Place(number=1)], purpose=None)  # type: ignore[arg-type]


def test_no_export_refuses_whole_texts_and_says_by_which_rule(shop: Running) -> None:
    document = shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    oblige(shop, "no-export")
    answer = shop.retrieve("user:ana", QUESTION)
    assert CARD in answer["passages"][0]["text"]
    assert answer["obligations"] == [{"id": "no-export", "policies": ["readers-see"]}]
    for door in doors(document):
        refused = shop.request("GET", door, "user:ana")
        assert (refused.status_code, "readers-see obliges to no-export" in refused.text) == (403, True), door
    reopened = shop.request("GET", f"/v1/citations/{answer['passages'][0]['citation']['id']}", "user:ana").json()
    assert (reopened["before"], reopened["after"]) == ("", "")
    trace = shop.request("GET", "/v1/traces", "user:ana").json()["traces"]
    assert "refusal" in {each["kind"] for each in trace}


def test_what_is_limited_in_number_is_not_read_on_around_a_quote(shop: Running) -> None:
    document = shop.publish("user:olga", "refunds", "\n\n".join(f"{TEXT} Kettle {n}." for n in range(20)), uri="kettle")
    oblige(shop, "max-passages:1")
    (passage,) = shop.retrieve("user:ana", QUESTION)["passages"]
    mine, hers = (
        shop.request("GET", f"/v1/citations/{passage['citation']['id']}", who).json()
        for who in ("user:ana", "user:olga")
    )
    assert (mine["before"], mine["after"]) == ("", "")
    assert hers["before"] or hers["after"]
    assert {shop.request("GET", door, "user:ana").status_code for door in doors(document)} == {403}


def test_refusal_of_a_whole_text_is_the_same_404_to_whoever_may_not_read_it(shop: Running) -> None:
    document = shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    shop.put_principal("user:eve")
    oblige(shop, "no-export")
    for door in doors(document):
        absent = shop.request("GET", door.replace(document, "doc_nothing"), "user:eve").json()
        hidden = shop.request("GET", door, "user:eve").json()
        assert (hidden["status"], hidden["detail"]) == (404, absent["detail"])


def test_notice_is_written_with_the_trace_of_the_answer(shop: Running) -> None:
    shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    shop.put_principal("group:dpo")
    oblige(shop, "notify:group:dpo")
    answer = shop.retrieve("user:ana", QUESTION)
    shop.retrieve("user:ana", "zebra xylophone")
    assert noticed(shop) == [("group:dpo", "content-shown", answer["trace_id"], "user:ana")]
    citation = answer["passages"][0]["citation"]["id"]
    assert shop.request("GET", f"/v1/citations/{citation}", "user:ana").status_code == 200
    assert len(noticed(shop)) == 2


def noticed(run: Running) -> list[tuple[str, str, str, str]]:
    with reading(run.ports.engine) as session:
        rows = session.scalars(select(NoticeRow).where(col(NoticeRow.kind) == "content-shown")).all()
        return [(row.recipient, row.kind, row.about["trace"], row.about["subject"]) for row in rows]


def test_what_the_permit_to_ask_obliges_to_is_done_with_the_answer(shop: Running) -> None:
    shop.put_principal("group:dpo")
    for n in range(3):
        shop.publish("user:olga", "refunds", f"{TEXT} This is kettle {n}.", uri=f"kettle-{n}")
    oblige(shop, "max-passages:1,redact:pii,notify:group:dpo", permit="all-may-ask")
    for who in ("user:ana", "user:olga"):
        answer = shop.retrieve(who, QUESTION)
        assert len(answer["passages"]) == 1
        assert (CARD in str(answer), MAIL in str(answer)) == (False, False)
        assert [each["id"] for each in answer["obligations"]] == ["max-passages:1", "notify:group:dpo", "redact:pii"]
        assert "all-may-ask" in answer["obligations"][0]["policies"]
        assert noticed(shop)[-1] == ("group:dpo", "content-shown", answer["trace_id"], who)


def test_permit_to_ask_under_an_obligation_that_cannot_be_discharged_is_a_denial(shop: Running) -> None:
    shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    oblige(shop, "redact:weather", permit="all-may-ask")
    answer = shop.retrieve("user:ana", QUESTION)
    assert (answer["outcome"], answer["passages"]) == ("blocked", [])


def test_no_permit_counts_under_an_obligation_that_cannot_be_discharged(shop: Running) -> None:
    assert shop.submit("user:olga", "refunds", TEXT, uri="kettle").status_code == 202
    oblige(shop, "redact:weather", permit="owners-curate")
    assert shop.submit("user:olga", "refunds", f"{TEXT} Again.", uri="kettle-2").status_code == 404
    oblige(shop, "redact:weather", permit="administrators-manage")
    assert shop.request("PUT", "/v1/purposes/fun", "admin", json={"title": "Fun"}).status_code == 403


# ---- A person must decide -------------------------------------------------------------------------------------------

NO_SHARING = """
@id("no-sharing")
@code("sharing-with-partner")
@check("jurisdiction")
@reason("Nothing is shared with the partner.")
@escalate("group:compliance")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has client && ["partner", "circus"].contains(context.client) }
unless { context.waived.contains("sharing-with-partner") };
"""
FLATLY = """
@id("never-for-fun")
@check("purpose")
@reason("Nothing is shared for fun.")
forbid (principal, action == Muniment::Action::"ask", resource)
when { context has client && context.client == "circus" };
"""


def test_question_that_persons_may_allow_is_escalated(shop: Running) -> None:
    shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    activate(shop, RESTORED + NO_SHARING + FLATLY)
    assert shop.retrieve("user:ana", QUESTION)["outcome"] == "answered"
    answer = shop.retrieve("user:ana", QUESTION, client="partner")
    assert (answer["outcome"], answer["passages"], answer["context"]) == ("escalated", [], "")
    told = check(answer, "jurisdiction")
    assert told == {
        "check": "jurisdiction",
        "outcome": "escalated",
        "reason": "Nothing is shared with the partner. It may be waived for a time by group:compliance.",
        "policies": ["no-sharing"],
        "code": "sharing-with-partner",
    }
    trace = shop.request("GET", f"/v1/traces/{answer['trace_id']}", "user:ana").json()
    assert (trace["outcome"], trace["response"]["checks"][-1]) == ("escalated", told)


def test_question_that_one_rule_forbids_for_good_is_blocked(shop: Running) -> None:
    activate(shop, RESTORED + NO_SHARING + FLATLY)
    answer = shop.retrieve("user:ana", QUESTION, client="circus")
    assert answer["outcome"] == "blocked"
    assert [each["outcome"] for each in answer["checks"]] == ["pass", "blocked", "blocked"]


def test_checks_say_what_a_grant_waives_and_opens_and_until_when(shop: Running) -> None:
    shop.publish("user:olga", "refunds", TEXT, uri="kettle")
    shop.put_principal("user:eve", clearance="confidential", categories=["pii"])
    activate(shop, RESTORED + NO_SHARING)
    begins = shop.ports.now()
    given = Grant(
        id="grant-1",
        kind=GrantKind.ESCALATION,
        subject=PrincipalRef("user:eve"),
        waives=frozenset({"sharing-with-partner"}),
        collections=frozenset({"refunds"}),
        client="partner",
        begins=begins,
        ends=Instant(begins + 3_600_000),
        because="a test",
        granted_by=PrincipalRef("user:olga"),
    )
    with recording(shop.ports.engine, begins, "grants") as (session, at):
        grants.record_grant(session, replace(given, begins=at), at=at)
    answer = shop.retrieve("user:eve", QUESTION, client="partner")
    assert answer["outcome"] == "answered"
    until = r"until 20\S+Z\.$"
    assert re.search(rf"A grant opens refunds {until}", check(answer, "boundary")["reason"])
    waived = check(answer, "jurisdiction")["reason"]
    assert re.search(rf"A grant waives sharing-with-partner for this question {until}", waived)


def test_no_filter_and_no_search_confirms_what_is_blacked_out(shop: Running) -> None:
    text = f"# Complaint of {MAIL}\n\n{TEXT}"
    more = {"attributes": {"sender": [MAIL], "region": ["EU"]}}
    shop.publish("user:olga", "refunds", text, uri="kettle", title=f"Kettle of {MAIL}", **more)
    guesses: list[dict[str, list[str]]] = [
        {"title": ["ben vos"]},
        {"title": ["example.org"]},
        {"section": ["ben"]},
        {"attributes.sender": [MAIL]},
        {"language": [_sharing_the_mark_of("ben vos")]},
    ]
    assert [shop.found("user:ana", QUESTION, filters=each) for each in guesses] == [["kettle"]] * 4 + [[]]
    assert listed(shop, "ben.vos") == ["kettle"]

    oblige(shop, "redact:pii")
    assert [shop.found("user:ana", QUESTION, filters=each) for each in guesses] == [[]] * 5
    assert shop.found("user:ana", f'{QUESTION} "{MAIL}"') == []
    assert listed(shop, "ben.vos") == listed(shop, "example") == []
    for shown in ({"title": ["kettle"]}, {"section": ["complaint"]}, {"attributes.region": ["EU"]}):
        assert shop.found("user:ana", QUESTION, filters=shown) == ["kettle"]
    assert shop.found("user:ana", QUESTION, filters={"language": ["en"]}) == ["kettle"]
    assert listed(shop, "kettle of") == ["kettle"]


def listed(run: Running, part: str) -> list[str]:
    found = run.request("GET", "/v1/documents", "user:ana", params={"q": part}).json()["documents"]
    return [each["uri"] for each in found]


def _sharing_the_mark_of(two_words: str) -> str:
    """A language that nothing is in, whose mark is that of these words in a row."""
    wanted = demanded(f'"{two_words}"', {})
    return next(each for each in (f"x{n}" for n in range(10**7)) if demanded("", {"language": [each]}) == wanted)
