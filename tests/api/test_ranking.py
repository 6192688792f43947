"""How an answer's passages are ranked, spread over documents and grown into the budget: through HTTP."""

from dataclasses import replace
from math import exp
from typing import Any

import pytest

from app.bootstrap import reranker
from app.domain.corpus import text_digest
from app.domain.evidence import Hits, IndexQuery
from app.domain.ranking import calibrated
from app.ports import Index
from app.settings import RerankSettings, Settings
from tests.api.test_obligations import CARD, oblige
from tests.fakes import ReferenceReranker
from tests.running import Running
from tests.tiny_models import matching_cross_encoder

TOPICS = ("harbour", "granary", "orchard", "quarry", "foundry", "tannery", "brewery", "chapel", "bakery")
FILLER = "It was looked after by the town, and whoever worked there wrote in a book what came in and what went out. "


def paragraph(topic: str) -> str:
    """About 100 tokens, so that each is a chunk of its own."""
    return f"The {topic} was built in the year of the flood. " + FILLER * 4 + f"The {topic} is closed on Sundays."


TOWN = "# The town\n\n" + "\n\n".join(map(paragraph, TOPICS)) + "\n\n# The river\n\n" + paragraph("ferry")
QUESTION = "When was the orchard built, and when is the orchard closed?"


@pytest.fixture
def town(run: Running) -> Running:
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="confidential", categories=["pii"])
    run.put_collection("town", owners=["user:olga"], default_readers=["user:ana"])
    run.publish("user:olga", "town", TOWN, uri="town", title="A guide to the town")
    return run


def text_of(run: Running, passage: dict[str, Any]) -> str:
    citation = passage["citation"]
    path = f"/v1/documents/{citation['document_id']}/versions/{citation['version']}/text"
    text: str = run.request("GET", path, "user:olga").json()["text"]
    return text


def told(passages: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Which topics each passage speaks of."""
    return [
        (each["citation"]["uri"], [topic for topic in TOPICS if f"The {topic} was" in each["text"]])
        for each in passages
    ]


# -- what meaning counts for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "counts"),
    [
        ("When is the ferry closed?", "The ferry is closed in winter.", True),
        ("Когда закрыт паром?", "Паром закрыт зимой.", False),  # which the packaged model reads letter by letter
    ],
)
def test_words_decide_where_the_model_was_not_taught_to_read_the_question(
    town: Running, question: str, answer: str, counts: bool
) -> None:
    town.publish("user:olga", "town", answer, uri="winter")
    town.publish("user:olga", "town", "Зимний каток открыт всегда. Boats do not sail then.", uri="other")
    scores = {each["citation"]["uri"]: each["score"] for each in town.retrieve("user:ana", question)["passages"]}
    assert max(scores, key=lambda uri: scores[uri]) == "winter"
    assert (scores.get("other", 0.0) > 0.1) is counts


# -- passages grow ----------------------------------------------------------------------------------------------------


def test_passage_grows_by_its_neighbours_into_the_tokens_that_are_left(town: Running) -> None:
    (narrow,) = town.retrieve("user:ana", QUESTION, top_k=1, max_tokens=800, expand=False)["passages"]
    answer = town.retrieve("user:ana", QUESTION, top_k=1, max_tokens=800)
    (wide,) = answer["passages"]
    assert narrow["text"] in wide["text"]
    assert [len(topics) for _, topics in told([narrow, wide])] == [1, 5]
    assert answer["usage"]["context_tokens"] <= 800
    assert wide["text"] in answer["context"]
    (without_budget,) = town.retrieve("user:ana", QUESTION, top_k=1)["passages"]
    assert without_budget == narrow


def test_passage_does_not_grow_to_what_costs_one_token_too_many(town: Running) -> None:
    def cost(max_tokens: int) -> int:
        answer = town.retrieve("user:ana", QUESTION, top_k=1, max_tokens=max_tokens)
        tokens: int = answer["usage"]["context_tokens"]
        return tokens

    costs = [cost(3000)]
    while costs[-1] > 250:
        costs.append(cost(costs[-1] - 1))
        assert costs[-1] < costs[-2], "the header of the context counts, too"
    assert len(costs) == 5, "by one neighbour less each time"


@pytest.mark.parametrize("max_tokens", [60, 250, 400, 550, 900, 3000])
def test_grown_passages_quote_their_spans_fit_the_budget_and_reopen(town: Running, max_tokens: int) -> None:
    answer = town.retrieve("user:ana", QUESTION, top_k=4, max_tokens=max_tokens)
    passages = answer["passages"]
    assert answer["usage"]["context_tokens"] <= max_tokens or len(passages) == 1
    taken: list[tuple[int, int]] = []
    for rank, passage in enumerate(passages, 1):
        start, end = passage["citation"]["span"]
        assert passage["rank"] == rank
        assert passage["text"] == text_of(town, passage)[start:end]
        assert passage["citation"]["quote_digest"] == text_digest(passage["text"])
        assert all(end <= other_start or other_end <= start for other_start, other_end in taken)
        taken.append((start, end))
        opened = town.request("GET", f"/v1/citations/{passage['citation']['id']}", "user:ana").json()
        assert (opened["text"], opened["span"]) == (passage["text"], [start, end])


def test_passages_that_meet_become_one_and_stay_in_their_section(town: Running) -> None:
    (passage,) = town.retrieve("user:ana", "Where are harbour, granary, orchard and quarry?", top_k=4, max_tokens=4000)[
        "passages"
    ]
    assert {"harbour", "granary", "orchard", "quarry"} <= set(told([passage])[0][1])
    assert passage["citation"]["section"] == ["The town"]
    assert "ferry" not in passage["text"]


def test_what_is_blacked_out_is_so_in_what_a_passage_grows_by(town: Running) -> None:
    oblige(town, "redact:pii")
    town.publish("user:olga", "town", TOWN.replace("The quarry is", f"Pay with card {CARD}. The quarry is"), uri="town")
    (passage,) = town.retrieve("user:ana", QUESTION, top_k=1, max_tokens=900)["passages"]
    assert "quarry" in told([passage])[0][1]
    assert "[redacted: payment card]" in passage["text"]
    assert CARD not in passage["text"]
    start, end = passage["citation"]["span"]
    assert CARD in text_of(town, passage)[start:end]


def test_passage_whose_quote_is_shown_alone_does_not_grow(town: Running) -> None:
    oblige(town, "max-passages:1")
    (passage,) = town.retrieve("user:ana", QUESTION, max_tokens=3000)["passages"]
    assert told([passage]) == [("town", ["orchard"])]


def test_passage_does_not_grow_by_what_another_says_already(town: Running) -> None:
    town.put_collection("archive", owners=["user:olga"], default_readers=["user:ana"], system_of_record=True)
    copy = f"# The town\n\n{paragraph('orchard')}"
    town.publish("user:olga", "archive", copy, uri="record", title="A guide to the town")
    passages = town.retrieve("user:ana", "Where are the orchard and the quarry?", top_k=8, max_tokens=3000)["passages"]
    assert [uri for uri, topics in told(passages) if "orchard" in topics] == ["record"]


# -- one document does not take every place ---------------------------------------------------------------------------


def test_long_document_leaves_room_for_another_and_keeps_the_first_place(town: Running) -> None:
    question = "What was built in the year of the flood and is closed on Sundays?"
    town.publish("user:olga", "town", paragraph("mill"), uri="mill", title="A guide to the mill")
    alike = [each["citation"]["uri"] for each in worth(town, 1.0).retrieve("user:ana", question, top_k=4)["passages"]]
    spread = worth(town, 0.8).retrieve("user:ana", question, top_k=4)["passages"]
    uris = [each["citation"]["uri"] for each in spread]
    assert uris[0] == alike[0]
    assert set(uris) == {"town", "mill"}
    assert uris.count("town") <= alike.count("town")
    assert [each["score"] for each in spread] == sorted((each["score"] for each in spread), reverse=True)


def worth(run: Running, decay: float) -> Running:
    """The same institution, where each further passage of a document is worth so much of the one before."""
    return with_ports(run, ranking=replace(run.ports.ranking, document_decay=decay))


# -- a reranker -------------------------------------------------------------------------------------------------------


def with_ports(run: Running, **changed: Any) -> Running:
    """The same institution with other ports, through HTTP."""
    from fastapi.testclient import TestClient

    from tests.running import app_on

    ports = replace(run.ports, **changed)
    return replace(run, ports=ports, client=TestClient(app_on(ports)))


class StaleIndex:
    """The real index, which goes on to offer what it found before."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._found: dict[str, Hits] = {}

    def search(self, query: IndexQuery) -> Hits:
        return self._found.setdefault("first", self._index.search(query))


ASKED = "Is the chapel closed on Sundays?"


def test_reranker_reads_the_first_hits_and_moves_them_unless_told_not_to(town: Running) -> None:
    reranker = ReferenceReranker()
    ranking = replace(town.ports.ranking, rerank_candidates=5, rerank_weight=1.0)
    reranked = with_ports(town, reranker=reranker, ranking=ranking)
    plain = town.retrieve("user:ana", ASKED, top_k=5)
    answer = reranked.retrieve("user:ana", ASKED, top_k=5)
    assert len(reranker.read) == 5
    assert all(text.startswith("A guide to the town > ") for text in reranker.read)
    assert told(answer["passages"])[0] == ("town", ["chapel"])
    assert {each["citation"]["id"] for each in answer["passages"]} == {
        each["citation"]["id"] for each in plain["passages"]
    }
    assert [each["score"] for each in answer["passages"]] != [each["score"] for each in plain["passages"]]
    assert "rerank" in answer["usage"]["timings_ms"]
    assert "rerank" not in plain["usage"]["timings_ms"]
    without = reranked.retrieve("user:ana", ASKED, top_k=5, rerank=False)
    assert without["passages"] == plain["passages"]
    assert len(reranker.read) == 5


def test_a_configured_cross_encoder_reads_title_and_text_up_to_its_tokens_and_decides(run: Running) -> None:
    """A real graph on the real runtime and tokenizer, from the settings to HTTP; what it says can be counted."""
    folder = str(matching_cross_encoder(run.folder / "cross-encoder"))
    run.put_principal("user:ana", clearance="confidential", categories=["pii"])
    run.put_principal("user:olga", clearance="confidential", categories=["pii"])
    run.put_collection("yard", owners=["user:olga"], default_readers=["user:ana"])
    texts = {
        "late": "It stands by the old gate and is painted green. " * 3 + "lamp lamp lamp lamp lamp lamp",
        "named": "There was a lantern.",
        "thrice": "Lamp by lamp, the lamp lighter went home.",
        "twice": "A lamp for the stairs and a lamp for the cellar.",
        "once": "One lamp is for the yard.",
    }
    for uri, text in texts.items():
        run.publish("user:olga", "yard", text, uri=uri, title="Lamp lamp, lamp lamp" if uri == "named" else "Yard")
    lamps = {"late": 6, "named": 4, "thrice": 3, "twice": 2, "once": 1}

    def reranked(max_tokens: int, candidates: int = 20) -> dict[str, float]:
        chosen = RerankSettings(model=folder, max_tokens=max_tokens, threads=2)
        ranking = replace(run.ports.ranking, rerank_weight=1.0, rerank_candidates=candidates)
        decides = with_ports(run, reranker=reranker(Settings(home=run.folder, rerank=chosen)), ranking=ranking)
        passages = decides.retrieve("user:ana", "lamp", top_k=20)["passages"]
        return {each["citation"]["uri"]: each["score"] for each in passages}

    fits = {uri: 1 / (1 + exp(-(lit + 1 - 3))) for uri, lit in lamps.items()}  # question and text both end with [SEP]
    scores = reranked(256)
    assert list(scores) == list(lamps)
    assert scores == pytest.approx({uri: calibrated(fit) for uri, fit in fits.items()}, abs=1e-4)
    assert list(reranked(24)) == ["named", "thrice", "twice", "once", "late"]
    read = {uri for uri, score in reranked(256, candidates=2).items() if score}
    assert read == set(run.found("user:ana", "lamp")[:2])


def test_reranker_never_reads_what_is_closed_by_now_and_it_moves_no_score(town: Running) -> None:
    asked = "Where is the quay and the chapel?"
    closed = town.publish("user:olga", "town", "The quay is closed for the season, as the bakery is.", uri="quay")
    reranker = ReferenceReranker()
    stale = with_ports(
        town,
        reranker=reranker,
        index=StaleIndex(town.ports.index),
        ranking=replace(town.ports.ranking, rerank_candidates=3),
    )
    assert "quay" in [each["citation"]["uri"] for each in stale.retrieve("user:ana", asked)["passages"]]
    reranker.read.clear()
    response = town.request("PATCH", f"/v1/documents/{closed}", "user:olga", json={"readers": ["user:olga"]})
    assert response.status_code == 200, response.text
    left = stale.retrieve("user:ana", asked)["passages"]
    assert "quay" not in [each["citation"]["uri"] for each in left]
    assert len(reranker.read) == 3  # others took its place
    assert not any("quay" in text for text in reranker.read)
