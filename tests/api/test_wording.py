"""How questions are worded: compounds, scripts, identifiers, phrases, filters and misspelled names, asked over HTTP.

Whatever is asked, documents that are hidden from whoever asks change nothing.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.store.database import open_engine
from ingest.ports import Parser
from tests.api.refusals import refusal
from tests.running import Running, running

PAPERS = {
    "policies/retention": (
        "Retention policy",
        "# Claims\nFiles are kept for seven years.\n\n# Mail\nLetters are burnt.",
    ),
    "policies/travel": ("Travel policy", "A hotel costs at most 140 euros a night, by rule of the board."),
    "policies/de/datenschutz": (
        "Leitlinie",
        "Der Datenschutzbeauftragte wird von der Leitung benannt und berichtet ihr.",
    ),
    "policies/de/fristen": (
        "Fristen",
        "Die Kündigung ist bis zum 15.06.2024 möglich, mit einer Gebühr von 1.000 Euro.",
    ),
    "policies/fr": ("Directive", "La durée de conservation des données est fixée par la direction."),
    "policies/ja": ("規程", "東京都の事務所では顧客データを五年間保存する。"),
    "partners/northlight": ("Partner Northlight", "They deliver the lamps in spring."),
    "partners/other": ("Partner Brightwater", "They deliver the pipes in autumn, to be or not to be paid."),
    "controls/sox": ("Controls", "Control SOX-404 wants two signatures."),
    "controls/data": ("Sharing", "Data of customers is shared. Protection of it matters, and the board rules."),
    "controls/protection": ("More sharing", "The rules on data\nprotection of   customers apply; the board decides."),
}
HIDDEN = {
    "board/retention": (
        "Retension of northlight papers",
        "Nordlight: the hotel of the board. Data protection, SOX-404.",
    ),
    "board/de": ("Datenschutz", "Datenschutz und Beauftragter, 15.06.2024, 1.000 Euro. 東京 to be or not to be."),
    "policies/board": ("Partner Nordlight", "Der Datenschutz und der Beauftragte. Data protection of customers."),
}


@pytest.fixture(scope="module")
def office(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """Papers that all staff may read. Shared: hidden papers come and go, and nothing else."""
    folder = tmp_path_factory.mktemp("wording")
    engine = open_engine(f"sqlite:///{folder / 'muniment.sqlite'}")
    with (
        EdgeIndex(folder / "index", embedder.dimension) as index,
        running(engine, index, folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as run,
    ):
        for group in ("legal", "board"):
            run.put_principal(f"group:{group}")
            run.put_principal(f"user:{group}", groups=[f"group:{group}"])
        run.put_principal("user:ana")
        run.put_collection("papers", owners=["group:legal"], default_readers=["group:all-staff"])
        run.put_collection("board", owners=["group:board"])
        for uri, (title, text) in PAPERS.items():
            assert run.submit("user:legal", "papers", text, uri=uri, title=title).status_code == 202
        run.work()
        yield run
    engine.dispose()


def shown(run: Running, query: str, **stated: Any) -> list[tuple[str, float, str]]:
    answer = run.retrieve("user:ana", query, **stated)
    return [(each["citation"]["uri"], each["score"], each["text"]) for each in answer["passages"]]


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Datenschutz", {"mode": "lexical"}),
    ("Nordlight", {}),
    ("retension policy", {"mode": "lexical"}),
    ('"data protection"', {}),
    ('What of "to be or not to be"?', {}),
    ("SOX 404", {}),
    ("東京", {"mode": "lexical"}),
    ("15 June 2024", {"mode": "lexical"}),
    ("What rules are there?", {"filters": {"uri": ["policies"], "language": ["en"]}}),
    ("What is delivered?", {"filters": {"title": ["Partner"]}}),
]


@pytest.fixture(scope="module")
def undisturbed(office: Running) -> dict[int, list[tuple[str, float, str]]]:
    """What the questions found before anything was hidden."""
    return {place: shown(office, query, **stated) for place, (query, stated) in enumerate(QUESTIONS)}


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Datenschutz", "policies/de/datenschutz"),
        ("Beauftragter", "policies/de/datenschutz"),
        ("Kuendigungen", "policies/de/fristen"),
        ("1,000 euros", "policies/de/fristen"),
        ("15 June 2024", "policies/de/fristen"),
        ("duree de conservation", "policies/fr"),
        ("東京", "policies/ja"),
        ("顧", "policies/ja"),
        ("sox404", "controls/sox"),
        ("SOX 404", "controls/sox"),
    ],
)
def test_words_find_passages_whatever_way_they_are_written(office: Running, query: str, first: str) -> None:
    assert [uri for uri, _, _ in shown(office, query, mode="lexical")][:1] == [first]


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Nordlight", "partners/northlight"),
        ("What does Northligt deliver?", "partners/northlight"),
        ("retension policy", "policies/retention"),
        ("Britewater", "partners/other"),
    ],
)
def test_a_misspelled_name_finds_what_is_called_like_it(office: Running, mode: str, query: str, first: str) -> None:
    assert next(uri for uri, _, _ in shown(office, query, mode=mode)) == first


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
@pytest.mark.parametrize(
    ("query", "uris"),
    [
        ('"data protection"', {"controls/protection"}),
        ('"DATA  Protection of customers"', {"controls/protection"}),
        ("Who pays, “to be or not to be”?", {"partners/other"}),
        ('"to be or not to be"', {"partners/other"}),
        ('"東京都の事務所"', {"policies/ja"}),
        ('"burnt"', {"policies/retention"}),
        ('"protection data"', set()),
        ('"two signature"', set()),
        ('"data protection" "two signatures"', set()),
        ('"the board" "data protection"', {"controls/protection"}),
    ],
)
def test_a_phrase_in_quotation_marks_is_in_every_passage(
    office: Running, mode: str, query: str, uris: set[str]
) -> None:
    assert {uri for uri, _, _ in shown(office, query, mode=mode)} == uris


@pytest.mark.parametrize(
    ("filters", "uris"),
    [
        ({"title": ["policy"]}, {"policies/retention", "policies/travel"}),
        ({"title": ["RETENTION policy"]}, {"policies/retention"}),
        ({"title": ["travel", "retention policy"]}, {"policies/retention", "policies/travel"}),
        ({"title": ["retention travel"]}, set()),
        ({"title": ["..."]}, set()),
        ({"section": ["claims"]}, {"policies/retention"}),
        ({"uri": ["policies/de"]}, {"policies/de/datenschutz", "policies/de/fristen"}),
        ({"uri": ["policies/de/", "controls/sox"]}, {"policies/de/datenschutz", "policies/de/fristen", "controls/sox"}),
        ({"uri": ["polic"]}, set()),
        ({"language": ["fr", "ja"]}, {"policies/fr", "policies/ja"}),
        ({"language": ["de"], "title": ["fristen"]}, {"policies/de/fristen"}),
        ({"media_type": ["Text/Markdown"], "uri": ["partners/other"]}, {"partners/other"}),
        ({"media_type": ["application/pdf"]}, set()),
    ],
    ids=lambda each: str(each if isinstance(each, dict) else sorted(each)),
)
def test_filters_narrow_to_what_has_one_value_of_each(
    office: Running, filters: dict[str, list[str]], uris: set[str]
) -> None:
    words = "policy Frist Datenschutz durée 保存 partner files signatures kept deliver hotel Leitung"
    found = {uri for uri, _, _ in shown(office, words, filters=filters, top_k=50)}

    assert found == uris


def test_an_unknown_filter_is_refused_with_those_that_there_are(office: Running) -> None:
    body = {"query": "x", "filters": {"author": ["ana"]}}
    problem = refusal(office, office.request("POST", "/v1/retrieve", "user:ana", json=body), 422, "invalid")

    assert [each["detail"] for each in problem["errors"]] == [
        "Not a filter. There are language, media_type, section, title, uri and attributes.<name>."
    ]


def test_what_is_hidden_moves_nothing_however_a_question_is_worded(
    office: Running, undisturbed: dict[int, list[tuple[str, float, str]]]
) -> None:
    assert all(undisturbed.values())
    for uri, (title, text) in HIDDEN.items():
        office.publish("user:board", "board", text, uri=uri, title=title)

    for place, (query, stated) in enumerate(QUESTIONS):
        assert shown(office, query, **stated) == undisturbed[place], query
    assert {uri for uri, _, _ in shown_to_board(office, "Nordlight")} >= {"board/retention"}


def shown_to_board(run: Running, query: str) -> list[tuple[str, float, str]]:
    answer = run.retrieve("user:board", query)
    return [(each["citation"]["uri"], each["score"], each["text"]) for each in answer["passages"]]
