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


def score(question: str, passage: str) -> float:
    """What a passage gets for a question, if every term is equally rare."""
    found = ANALYZER.passage(passage)
    weights = dict(zip(found.terms, found.weights, strict=True))
    asked = ANALYZER.query(question)
    return sum(weight * weights.get(term, 0.0) for term, weight in zip(asked.terms, asked.weights, strict=True))


SAME = {
    "English": [
        ("sharing datasets", "A dataset is shared with partners."),
        ("RÉSUMÉ", "a résumé"),
        ("ﬁnance", "Finance"),
        ("customer", "the customer’s data"),
        ("IT", "the IT department"),
        ("email", "Write an e-mail to us."),
    ],
    "German": [
        ("Kündigungen", "Die Kündigung ist schriftlich."),
        ("Kuendigung", "Eine Kündigung ist möglich."),
        ("Kündigung", "Eine Kuendigung ist moeglich."),
        ("Strasse", "Die Straße ist gesperrt."),
        ("Straße", "STRASSE"),
        ("Müller", "Herr Mueller ist der Leiter."),
        ("Mueller", "Ask Mr Müller about it."),
    ],
    "German compounds": [
        ("Datenschutz", "Der Datenschutzbeauftragte wird vom Vorstand benannt."),
        ("Beauftragter", "Der Datenschutzbeauftragte wird vom Vorstand benannt."),
        ("Datenschutzbeauftragter", "Der Beauftragte für den Datenschutz ist unabhängig."),
        ("Frist", "Die Aufbewahrungsfrist beträgt zehn Jahre."),
        ("Versicherung", "Die Krankenversicherungspflicht gilt für alle."),
    ],
    "other compounds": [
        ("overeenkomst", "De verwerkersovereenkomst is van toepassing."),
        ("avtal", "Anställningsavtalet gäller för alla som är anställda."),
    ],
    "Romance and others": [
        ("politiques de conservation", "La politique de conservation des données est la suivante."),
        ("donnees", "La conservation des données est limitée."),
        ("políticas", "La politica de retención es la siguiente."),
        ("informacao", "A informação não é pública."),
        ("informações", "A informação não é pública."),
        ("contratti", "Il contratto è firmato dalle parti."),
        ("contracten", "Het contract is van kracht."),
        ("avtaler", "Avtalen gjelder for alle som er ansatt."),
        ("договоры", "о договоре с клиентом"),
        ("κανόνες", "ο κανόνας για όλους"),
        ("العقود", "كل العقود"),
    ],
    "identifiers": [
        ("SOX 404", "Controls under SOX-404 apply."),
        ("sox404", "Controls under SOX-404 apply."),
        ("SOX-404", "Controls under SOX 404 apply."),
        ("SOX-404", "Controls under SOX\u2011404 apply."),
        ("cd042", "See CD-042."),
        ("dpa-2024-17", "See DPA-2024-17."),
        ("ISO 27001", "certified to ISO/IEC 27001:2022"),
        ("27001:2022", "certified to ISO/IEC 27001:2022"),
        ("§ 25a KWG", "according to §25a KWG"),
        ("Article 17(3)", "Art. 17(3) applies."),
        ("v2.1.3", "Since v2.1.3, exports are logged."),
        ("ana.b@example.org", "Write to Ana.B@example.org!"),
        ("example", "Write to ana.b@example.org"),
        ("DE89370400440532013000", "IBAN DE89 3704 0044 0532 0130 00."),
        ("/etc/app/config.yaml", "It is kept in /etc/app/config.yaml."),
        ("config.yaml", "It is kept in /etc/app/config.yaml."),
    ],
    "numbers and dates": [
        ("1000000", "a fine of 1,000,000 euros"),
        ("1,000", "a fee of 1.000 Euro"),
        ("1,000", "a fee of 1 000 euros"),
        ("1,000", "a fee of 1'000 francs"),
        ("1.5", "ein Satz von 1,5 Prozent"),
        ("5%", "a rate of 5 percent"),
        ("5 Prozent", "a rate of 5%"),
        ("EUR 500", "€500"),
        ("2024-06-15", "signed on 15 June 2024"),
        ("June 15, 2024", "gültig ab 15.06.2024"),
        ("15. Juni 2024", "valable le 15/06/2024"),
        ("2024", "In 2024."),
    ],
    "scripts without spaces": [
        ("京都", "東京都庁"),
        ("東", "東京都庁"),
        ("不", "不"),
        ("ﾃﾞｰﾀ", "データの保存"),
        ("カタカナ", "かたかな"),
        ("ＡＢＣ", "abc"),
        ("개인정보", "개인정보를 보호"),
        ("ประเทศไทย", "ในประเทศไทย"),
    ],
}


@pytest.mark.parametrize(
    ("question", "passage"), [case for cases in SAME.values() for case in cases], ids=lambda case: str(case)[:40]
)
def test_passage_has_a_term_of_the_question(question: str, passage: str) -> None:
    assert score(question, passage) > 0


@pytest.mark.parametrize(
    ("question", "better", "worse"),
    [
        ("SOX-404", "Control SOX-404 applies.", "Control SOX-405 applies."),
        ("v2.1", "Since v2.1 it is so.", "Since v21 it is so."),
        ("1,000 euros", "a fee of 1.000 Euro", "a fee of 1.001 Euro"),
        ("15 June 2024", "gültig ab 15.06.2024", "gültig ab 16.06.2024"),
        ("Datenschutz", "Der Datenschutz ist geregelt.", "Der Datenschutzbeauftragte ist bestellt."),
        ("Datenschutzbeauftragter", "Ein Datenschutzbeauftragter ist bestellt.", "Der Datenschutz ist geregelt."),
    ],
)
def test_what_is_meant_comes_before_what_is_like_it(question: str, better: str, worse: str) -> None:
    assert score(question, better) > score(question, worse)


@pytest.mark.parametrize(
    ("one", "other"), [("contract", "contact"), ("it is", "policy"), ("京", "東京"), ("SOX-404", "SOX-405")]
)
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert terms(one) != terms(other)


def test_identifier_counts_whole_and_in_parts() -> None:
    assert terms("SOX 404") < terms("SOX-404") == terms("sox404")


def test_a_word_counts_once_however_many_stems_it_may_have() -> None:
    """`policies` has several stems in the languages it may be of; an English passage has one of them."""
    passage = ANALYZER.passage("The policies are kept.")
    once = max(passage.weights)

    assert score("policies", "The policies are kept.") == once
    assert len(terms("policies")) > 1


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the retention period?", "en"),
        ("Wie lange sind Daten aufzubewahren?", "de"),
        ("Aufbewahrungsfristen: Datenschutzerklärung", "de"),
        ("Quelle est la durée de conservation ?", "fr"),
        ("¿Cuál es el plazo de retención?", "es"),
        ("Il contratto è firmato dalle parti.", "it"),
        ("De overeenkomst is van toepassing.", "nl"),
        ("Os dados são guardados por cinco anos.", "pt"),
        ("Avtalet gäller för alla och måste följas.", "sv"),
        ("Договор с клиентом", "ru"),
        ("データの保存期間", "ja"),
        ("SOX-404 2024", None),
        ("", None),
    ],
)
def test_language_is_told_by_the_text_alone(text: str, language: str | None) -> None:
    assert ANALYZER.language(text) == language


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Nordlight", "Northlight"),
        ("retension", "Retention"),
        ("recieve", "Receive"),
        ("Muller", "Müller"),
        ("Mueller", "Müller"),
        ("Klinkstone", "Clinkstone"),
        ("Schmitt", "Schmidt"),
        ("Northligt", "Northlight"),
        ("Northlightt", "Northlight"),
    ],
)
def test_a_misspelled_word_meets_the_name_in_title_and_text(written: str, name: str) -> None:
    meant = set(ANALYZER.misspelled(written, found=()).terms)

    assert meant & set(ANALYZER.passage("Some text.", names=(f"On {name} matters",)).terms)
    assert meant & set(ANALYZER.passage(f"It was sent by partner {name} in March.").terms)


@pytest.mark.parametrize(("written", "name"), [("parent", "payment"), ("board", "boat"), ("four", "fire")])
def test_words_that_are_further_apart_do_not_meet(written: str, name: str) -> None:
    meant = set(ANALYZER.misspelled(written, found=()).terms)

    assert not meant & set(ANALYZER.passage("Some text.", names=(name,)).terms)


def test_a_word_that_was_found_is_not_taken_for_misspelled() -> None:
    assert not ANALYZER.misspelled("retention", found=ANALYZER.query("retention").terms)
    assert not ANALYZER.misspelled("what is the", found=())


@pytest.mark.parametrize("text", ["", " \n", "…!?", "what is the", "\U0001f600", "\ud800"])
def test_text_without_words_gives_no_terms(text: str) -> None:
    assert ANALYZER.passage(text) == ANALYZER.query(text) == Lexical(terms=(), weights=())


def test_what_denies_is_a_word() -> None:
    for word in ("not", "without", "no", "never", "nicht", "kein", "ohne", "sans", "pas"):
        assert score(word, f"{word} here"), word


def test_a_question_in_capitals_has_the_same_terms() -> None:
    assert terms("WHAT IS THE POLICY") == terms("what is the policy")


def test_repetition_weighs_more_ever_less_so_and_length_weighs_less() -> None:
    once, twice, thrice = (score("policy", "policy " * count + "x " * (9 - count)) for count in (1, 2, 3))

    assert once < twice < thrice < 2.5
    assert thrice - twice < twice - once
    assert score("policy", "policy " + "word " * 500) < once


def test_a_weight_is_a_function_of_its_passage_alone() -> None:
    before = ANALYZER.passage("a policy on data sharing")
    ANALYZER.passage("other words " * 1000)

    assert ANALYZER.passage("a policy on data sharing") == before


def test_term_ids_never_change() -> None:
    """Stored indexes hold them."""
    assert int.from_bytes(bytes.fromhex("90bf8a87"), "big") in ANALYZER.passage("policies").terms


@given(st.text(max_size=300))
def test_any_text_gives_ascending_distinct_32_bit_terms_with_exact_weights(text: str) -> None:
    for lexical in (ANALYZER.passage(text), ANALYZER.query(text)):
        assert list(lexical.terms) == sorted(set(lexical.terms))
        assert all(0 <= term < 2**32 for term in lexical.terms)
        assert all(0 < weight <= 3 and (weight * 1024).is_integer() for weight in lexical.weights)


def test_threads_share_one_analyzer() -> None:
    texts = [f"policies {number} regulating the sharings of datasets" * 20 for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ANALYZER.passage, texts)) == [ANALYZER.passage(text) for text in texts]
