"""`muniment eval`: what it reads, and a small dataset put through the whole product."""

import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.cli.console import Failed
from app.cli.datasets import (
    Configuration,
    chosen,
    read_configurations,
    read_dataset,
    read_golden,
    standard_configurations,
)
from app.cli.evaluate import Run, not_below_its_parts
from app.domain.answer import Mode
from app.domain.evaluation import Bar, Scored, svg
from app.domain.metrics import MEASURES
from app.domain.ranking import Fusion, Ranking
from tests.cli.running import muniment
from tests.tiny_models import matching_cross_encoder

CORPUS = [
    {"_id": "bees", "title": "Bees", "text": "Forty thousand bees live in the hive in July."},
    {"_id": "wasps", "title": "", "text": "Wasps build their nests of paper."},
    {"_id": 7, "title": "Ants have no text", "text": ""},
    {"_id": "nothing", "title": "", "text": " "},
]
QUERIES = [
    {"_id": "q1", "text": "How many bees are in a hive?"},
    {"_id": "q2", "text": "What are wasps' nests made of?"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\tbees\t1\nq2\twasps\t2\nq2\tbees\t0\n"


def laid(folder: Path, *, qrels: str = QRELS, corpus: str | None = None, queries: str | None = None) -> Path:
    (folder / "qrels").mkdir(parents=True)
    lines = "\n".join(map(json.dumps, CORPUS)) if corpus is None else corpus
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "queries.jsonl").write_text(
        ("\n".join(map(json.dumps, QUERIES)) if queries is None else queries) + "\n\n"
    )
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


@pytest.mark.parametrize(
    "qrels", [QRELS, QRELS.partition("\n")[2], "q1\t0\tbees\t1\nq2\t0\twasps\t2\nq2\t0\tbees\t0\n"]
)
def test_a_dataset_is_read_with_and_without_a_header_and_in_trecs_form(tmp_path: Path, qrels: str) -> None:
    dataset = read_dataset(laid(tmp_path / "small", qrels=qrels))
    assert [each.id for each in dataset.corpus] == ["bees", "wasps", "7", "nothing"]
    assert dataset.judged == {"q1": {"bees": 1.0}, "q2": {"wasps": 2.0, "bees": 0.0}}
    assert (dataset.name, dataset.queries["q1"]) == ("small", QUERIES[0]["text"])
    assert list(read_dataset(tmp_path / "small", limit=1).queries) == ["q1"]


def test_a_judged_document_that_the_corpus_lacks_is_one_to_be_missed(tmp_path: Path) -> None:
    dataset = read_dataset(
        laid(tmp_path / "small", qrels="q1\tmoths\t1\n", corpus='{"_id": "a", "title": null, "text": "x"}')
    )
    assert dataset.judged == {"q1": {"moths": 1.0}}
    assert dataset.corpus[0].title == ""


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"qrels": "q1\tbees\t1\nq1 bees 1\n"}, "test.tsv, line 2: write query, document and score"),
        ({"qrels": "q1\tbees\t1\nq9\tbees\t1\n"}, "test.tsv, line 2: there is no query q9."),
        ({"qrels": "q1\tbees\t0\n"}, "has no question that any document answers"),
        ({"corpus": '{"_id": "a", "text": "x"}\n\nnot json'}, "corpus.jsonl.gz, line 3: it is no JSON object."),
        ({"corpus": '{"_id": "a"}'}, "corpus.jsonl.gz, line 1: text is wanted, as a text."),
        ({"corpus": '{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}'}, "line 2: a is there twice."),
        ({"corpus": "\n\n"}, "corpus.jsonl.gz holds no document, so there is nothing to be found."),
        ({"queries": '{"_id": "q1", "text": "x"}\n{"_id": "q1", "text": "y"}'}, "line 2: q1 is there twice."),
        ({"corpus": r'{"_id": "a", "text": "x\u0000y"}'}, "corpus.jsonl.gz, line 1: text holds a null character"),
        ({"corpus": r'{"_id": "a", "title": "\ud800", "text": "x"}'}, "line 1: title holds a null character or half"),
        ({"queries": r'{"_id": "q1", "text": "bees\u0000"}'}, "queries.jsonl, line 1: text holds a null character"),
        ({"queries": r'{"_id": "q\u0000", "text": "bees"}'}, "queries.jsonl, line 1: _id holds a null character"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_told_with_file_and_line(
    tmp_path: Path, broken: dict[str, str], says: str
) -> None:
    with pytest.raises(Failed) as failed:
        read_dataset(laid(tmp_path / "small", **broken))
    assert says in str(failed.value)


def test_a_null_character_in_a_dataset_ends_the_command_with_a_sentence(tmp_path: Path) -> None:
    folder = laid(tmp_path / "small", corpus=r'{"_id": "bees", "title": "Bees", "text": "Forty\u0000thousand"}')
    refused = muniment("eval", "--dataset", str(folder), folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    [sentence] = refused.stderr.splitlines()
    assert sentence.startswith(f"{folder / 'corpus.jsonl.gz'}, line 1: text holds a null character")


def test_a_file_that_is_not_there_or_not_packed_is_told(tmp_path: Path) -> None:
    folder = laid(tmp_path / "small")
    (folder / "corpus.jsonl.gz").write_bytes(b"not packed")
    with pytest.raises(Failed, match="cannot be read as UTF-8 packed by gzip"):
        read_dataset(folder)
    (folder / "corpus.jsonl.gz").unlink()
    with pytest.raises(Failed, match=r"has no corpus\.jsonl, packed by gzip or not"):
        read_dataset(folder)


def test_configurations_name_any_choice_of_ranking(tmp_path: Path) -> None:
    (tmp_path / "ways.yaml").write_text(
        "configurations:\n- {name: as it is}\n- {name: words, mode: lexical, depth: 7}\n- {name: bare, rerank: false}\n"
    )
    wanted = [
        Configuration(name="as it is", ranking=Ranking()),
        Configuration(name="words", ranking=Ranking(depth=7), mode=Mode.LEXICAL),
        Configuration(name="bare", ranking=Ranking(), rerank=False),
    ]
    assert read_configurations(tmp_path / "ways.yaml", Ranking()) == wanted
    settled = read_configurations(tmp_path / "ways.yaml", Ranking(rrf_k=7, depth=8))
    assert [each.ranking for each in settled] == [
        Ranking(rrf_k=7, depth=8),
        Ranking(rrf_k=7, depth=7),
        Ranking(rrf_k=7, depth=8),
    ], "what a configuration does not say is as it is set"
    (tmp_path / "ways.toml").write_text(f'[[configurations]]\nname = "x"\nfusion = "{[*Fusion][-1]}"\n')
    [made] = read_configurations(tmp_path / "ways.toml", Ranking())
    assert made.ranking.fusion is [*Fusion][-1]
    standard = standard_configurations(Ranking(), reranks=True)
    assert [each.name for each in standard][:3] == ["hybrid", "dense", "lexical"]
    assert len(standard) == 3 + len(Fusion) - 1 + 1
    assert [each.name for each in standard if not each.rerank] == ["dense", "lexical", "not reranked"]
    assert [each.name for each in chosen(standard, ["dense", "hybrid"])] == ["dense", "hybrid"]
    with pytest.raises(Failed, match="There is no configuration 'psychic'"):
        chosen(standard, ["psychic"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("configurations: [", "cannot be read as YAML"),
        ("configurations: {}", "has `configurations`, a list"),
        ("configurations: [{name: x, psychic: 1}]", "psychic cannot be chosen. There are: name, mode, rerank, fusion"),
        ("configurations: [{name: x, depth: deep}]", "x: depth: "),
        ("configurations: [{name: x, dense_weight: 1.5}]", "x: dense_weight: Input should be less than or equal to 1."),
        ("configurations: [{name: x, min_cosine: .nan}]", "x: min_cosine: "),
        ("configurations: [{depth: 3}]", "a configuration: name: "),
        ("configurations: [{name: x}, {name: x}]", "two configurations have one name"),
    ],
)
def test_what_is_wrong_with_configurations_is_told(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "ways.yaml").write_text(content)
    with pytest.raises(Failed) as failed:
        read_configurations(tmp_path / "ways.yaml", Ranking())
    assert says in str(failed.value)


def test_golden_questions_of_another_form_are_told(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text("- {id: a, who: 'user:x', question: 'Why?'}\n- {id: b}\n")
    with pytest.raises(Failed, match="question 2 is not of that form"):
        read_golden(tmp_path / "q.yaml")
    (tmp_path / "q.yaml").write_text(r"""- {id: a, who: 'user:x', question: "Why\0?"}""")
    with pytest.raises(Failed, match=r"question 1 is not of that form .it holds a null character"):
        read_golden(tmp_path / "q.yaml")


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ("who: 'user:x'", "question is wanted"),
        ("who: x, question: 'Why?'", "who is written as in user:ana or assistant:hr-bot"),
        ("who: 'user:x', question: ''", "question has 1 to 4,000 characters"),
        ("who: 'user:x', question: 'Why?', finds: [{uri: x, versio: 1}]", "finds.0.version: "),
        ("who: 'user:x', question: 'Why?', finds: [{uri: x, version: one}]", "finds.0.version: Input should be"),
        ("who: 'user:x', question: 'Why?', finds: x", "finds: Input should be a valid tuple"),
    ],
)
def test_what_is_wrong_with_a_golden_question_is_told_with_its_name(tmp_path: Path, stated: str, why: str) -> None:
    (tmp_path / "q.yaml").write_text(f"- {{id: a, {stated}}}\n")
    with pytest.raises(Failed) as failed:
        read_golden(tmp_path / "q.yaml")
    assert f"question 1 is not of that form ({why}" in str(failed.value)


_FOUND = "- {id: a, who: 'user:mei', question: 'Why?', finds: [{uri: x, version: 1}]}"


@pytest.mark.parametrize(
    ("questions", "kept", "says"),
    [
        ("[]", None, "q.yaml has no question that finds anything."),
        ("- {id: a, who: 'user:mei', question: 'Why?', unanswerable: true}", None, "has no question that finds"),
        (_FOUND, "{}", "baseline.json is not what --keep writes."),
        (_FOUND, "not json", "baseline.json is not what --keep writes."),
    ],
)
def test_golden_questions_that_cannot_be_held_against_anything_are_refused(
    tmp_path: Path, questions: str, kept: str | None, says: str
) -> None:
    (tmp_path / "q.yaml").write_text(questions)
    if kept is not None:
        (tmp_path / "baseline.json").write_text(kept)
    refused = muniment("eval", "--golden", "q.yaml", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    [sentence] = refused.stderr.splitlines()
    assert says in sentence


def test_a_drawing_is_xml_whatever_things_are_called() -> None:
    drawn = svg('A & B <"c">\x00\x1b', [Bar(label="x" * 40, value=1.7, note="<&>"), Bar(label="\x07", value=-1.0)])
    root = ElementTree.fromstring(drawn)
    widths = [each.get("width") for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("class") == "bar"]
    assert widths == ["420.0", "0.0"], "a bar stays within its ground"
    assert "prefers-color-scheme:dark" in drawn


@pytest.mark.parametrize(("without", "met"), [(0.7, True), (0.8, False)])
def test_what_is_reranked_is_held_against_the_same_without_a_reranker(without: float, met: bool) -> None:
    def run(configuration: Configuration, ndcg: float) -> Run:
        return Run(configuration=configuration, scored=(Scored(question="q", slice="s", who="w", measures=_all(ndcg)),))

    standard = standard_configurations(Ranking(), reranks=True)
    means = {"hybrid": 0.75, "not reranked": without}
    runs = [run(each, means.get(each.name, 0.6)) for each in standard]
    alone = ("ndcg@10 0.7500, of dense alone 0.6000", True)
    said = f"ndcg@10 0.7500, of not reranked {without:.4f}"
    assert list(not_below_its_parts(runs)) == [alone, (said, met)]


def _all(value: float) -> dict[str, float]:
    return dict.fromkeys(MEASURES, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MUNIMENT_EMBEDDING__ENGINE", "steam"), ("MUNIMENT_RERANK__WEIGHT", ".1"), ("MUNIMENT_RANKING__DEPTH", "0")],
)
def test_a_setting_that_cannot_be_used_is_told_before_anything_goes_in(tmp_path: Path, name: str, value: str) -> None:
    laid(tmp_path / "small")
    refused = muniment("eval", "--dataset", "small", folder=tmp_path, **{name: value})
    assert (refused.returncode, refused.stdout) == (1, "")
    [sentence] = refused.stderr.splitlines()
    assert sentence.startswith(name)


@pytest.mark.parametrize("compared", [("hybrid",), ("dense", "lexical"), ("hybrid", "fusion rrf")])
def test_a_guard_that_would_hold_nothing_is_refused_before_anything_goes_in(
    tmp_path: Path, compared: tuple[str, ...]
) -> None:
    laid(tmp_path / "small")
    compare = [word for name in compared for word in ("--compare", name)]
    refused = muniment("eval", "--dataset", "small", "--guard", *compare, folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    [sentence] = refused.stderr.splitlines()
    assert sentence.startswith(f"--guard has nothing to hold {compared[0]} against: ")


def test_a_dataset_goes_through_the_product_and_ways_to_rank_are_compared(tmp_path: Path) -> None:
    laid(tmp_path / "small")
    target = ("--target", "ndcg@10=1.0", "--guard", "--svg", "drawn.svg", "--home", "kept")
    model = str(matching_cross_encoder(tmp_path / "cross-encoder"))
    done = muniment(
        "eval",
        "--dataset",
        "small",
        "--json",
        *target,
        folder=tmp_path,
        MUNIMENT_RERANK__MODEL=model,
        MUNIMENT_RANKING__RRF_K="7",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert [each["name"] for each in account["configurations"]][:3] == ["hybrid", "dense", "lexical"]
    assert account["configurations"][0]["measures"]["ndcg@10"] == 1.0
    assert {each["ranking"]["rrf_k"] for each in account["configurations"]} == {7}, "it is measured as it is set"
    assert account["configurations"][1]["against_first"]["ndcg@10"]["p"] == 1.0
    assert account["configurations"][-1]["name"] == "not reranked"
    assert "ndcg@10 1.0000, of not reranked 1.0000" in [each["target"] for each in account["targets"]]
    assert all(each["met"] for each in account["targets"])
    assert ElementTree.parse(tmp_path / "drawn.svg").getroot().tag.endswith("svg")
    other = laid(tmp_path / "other", corpus="\n".join(map(json.dumps, CORPUS[:2])))
    refused = muniment("eval", "--dataset", str(other), "--home", "kept", folder=tmp_path)
    assert refused.returncode == 1
    assert "holds another corpus" in refused.stderr
