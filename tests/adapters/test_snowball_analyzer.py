"""What words become: the same terms in a question and in the passage that answers it."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.domain.evidence import Lexical

ANALYZER = SnowballAnalyzer()


def terms(text: str) -> set[int]:
    return set(ANALYZER.query(text).terms)


def weight(text: str, word: str) -> float:
    passage = ANALYZER.passage(text)
    return dict(zip(passage.terms, passage.weights, strict=True))[ANALYZER.query(word).terms[0]]


@pytest.mark.parametrize(
    ("question", "passage"),
    [
        ("sharing datasets", "A dataset is shared with partners."),
        ("RÉSUMÉ", "a résumé"),
        ("Straße", "STRASSE"),
        ("ﬁnance", "Finance"),
        ("SOX 404", "Controls under SOX-404 apply."),
        ("SOX-404", "Controls under SOX\u2011404 apply."),
        ("dpa-2024-17", "See DPA-2024-17."),
        ("v2.1", "Since v2.1, exports are logged."),
        ("ana.b@example.org", "Write to Ana.B@example.org!"),
        ("example", "Write to ana.b@example.org"),
        ("customer", "the customer’s data"),
        ("1000000", "a fine of 1,000,000 euros"),
        ("2024", "In 2024."),
        ("IT", "the IT department"),
        ("京都", "東京都庁"),
        ("不", "不"),
        ("개인정보", "개인정보를 보호"),
    ],
)
def test_passage_has_a_term_of_the_question(question: str, passage: str) -> None:
    assert terms(question) & set(ANALYZER.passage(passage).terms)


@pytest.mark.parametrize(
    ("one", "other"),
    [("SOX-404", "SOX-405"), ("v2.1", "v21"), ("contract", "contact"), ("it is", "policy"), ("京", "東京")],
)
def test_whole_identifiers_and_different_words_stay_apart(one: str, other: str) -> None:
    assert terms(one) != terms(other)


def test_identifier_counts_whole_and_in_parts() -> None:
    assert terms("SOX-404") == terms("SOX 404") | (terms("SOX-404") - terms("SOX 404"))
    assert len(terms("SOX-404")) == 3


@pytest.mark.parametrize("text", ["", " \n", "…!?", "what is the", "\U0001f600", "\ud800"])
def test_text_without_words_gives_no_terms(text: str) -> None:
    assert ANALYZER.passage(text) == ANALYZER.query(text) == Lexical(terms=(), weights=())


def test_no_and_not_are_words() -> None:
    assert len(terms("not without no never")) == 4


def test_a_question_in_capitals_has_the_same_terms() -> None:
    assert terms("WHAT IS THE POLICY") == terms("what is the policy")


def test_repetition_weighs_more_ever_less_so_and_length_weighs_less() -> None:
    once, twice, thrice = (weight("policy " * count + "x " * (9 - count), "policy") for count in (1, 2, 3))

    assert once < twice < thrice < 2.5
    assert thrice - twice < twice - once
    assert weight("policy " + "word " * 500, "policy") < once


def test_a_weight_is_a_function_of_its_passage_alone() -> None:
    before = ANALYZER.passage("a policy on data sharing")
    ANALYZER.passage("other words " * 1000)

    assert ANALYZER.passage("a policy on data sharing") == before


def test_term_ids_never_change() -> None:
    """Stored indexes hold them."""
    assert ANALYZER.query("policies").terms == (int.from_bytes(bytes.fromhex("90bf8a87"), "big"),)


@given(st.text(max_size=300))
def test_any_text_gives_ascending_distinct_32_bit_terms_with_exact_weights(text: str) -> None:
    for lexical in (ANALYZER.passage(text), ANALYZER.query(text)):
        assert list(lexical.terms) == sorted(set(lexical.terms))
        assert all(0 <= term < 2**32 for term in lexical.terms)
        assert all(0 < weight <= 2.5 and (weight * 1024).is_integer() for weight in lexical.weights)
    assert ANALYZER.query(text).terms == ANALYZER.passage(text).terms


def test_threads_share_one_analyzer() -> None:
    texts = [f"policies {number} regulating the sharings of datasets" * 20 for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ANALYZER.passage, texts)) == [ANALYZER.passage(text) for text in texts]
