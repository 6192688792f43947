"""Any embedding model, with what is chosen about it: built here with random weights, run by both engines."""

import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.adapters.model_files import Chosen, Engine, Quantization, model_dimension
from app.adapters.onnx_export import graph_of
from app.domain.errors import Invalid, Unavailable
from app.domain.evidence import Vector
from tests.tiny_models import tiny_embedder

PROMPTS = {"query": "question: ", "document": "text: "}
TEXTS = ["May we share this?", "the canteen " * 60, ""]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_embedder(tmp_path_factory.mktemp("tiny") / "model", prompts=PROMPTS))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def kept(made: Path) -> set[Path]:
    return {path.parent for path in made.glob("*/made.json")}


def rows(vectors: list[Vector]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return np.array([np.frombuffer(vector, "<f4") for vector in vectors])


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_model_gives_what_sentence_transformers_gives_with_the_models_own_prompts(
    model: str, made: Path, engine: Engine
) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(model, device="cpu", local_files_only=True)
    embedder = LocalEmbedder(model, made=made, engine=engine)

    assert embedder.engine == engine
    assert rows(embedder.embed_queries(TEXTS)) == pytest.approx(
        np.asarray(reference.encode_query(TEXTS, normalize_embeddings=True)), abs=1e-6
    )
    assert rows(embedder.embed_passages(TEXTS)) == pytest.approx(
        np.asarray(reference.encode_document(TEXTS, normalize_embeddings=True)), abs=1e-6
    )


def test_prompts_that_are_chosen_take_the_place_of_the_models_own(model: str, made: Path) -> None:
    own = LocalEmbedder(model, made=made)
    other = LocalEmbedder(Chosen(model=model, query_prompt="", document_prompt="question: "), made=made)

    assert other.embed_passages(["may we?"]) == own.embed_queries(["may we?"])
    assert other.embed_queries(["question: may we?"]) == own.embed_queries(["may we?"])
    assert other.fingerprint != own.fingerprint


def test_a_shorter_vector_is_the_beginning_of_the_longer_made_a_unit_again(model: str, made: Path) -> None:
    whole, short = LocalEmbedder(model, made=made), LocalEmbedder(Chosen(model=model, dimension=8), made=made)
    beginning = rows(whole.embed_queries(TEXTS))[:, :8]

    assert short.dimension == model_dimension(model, dimension=8) == 8
    assert rows(short.embed_queries(TEXTS)) == pytest.approx(
        beginning / np.linalg.norm(beginning, axis=1, keepdims=True), abs=1e-6
    )
    assert short.fingerprint != whole.fingerprint
    with pytest.raises(Invalid, match="gives 32 numbers"):
        model_dimension(model, dimension=33)


def test_no_more_is_read_than_was_chosen_and_chunks_leave_room_for_the_prompt(model: str, made: Path) -> None:
    chosen = Chosen(model=model, max_tokens=16)
    embedder = LocalEmbedder(chosen, made=made)
    prompt = len(LocalTokenizer(model).offsets(PROMPTS["document"]))

    assert LocalTokenizer(chosen).max_tokens == 16 - 2 - prompt
    assert LocalTokenizer(model).max_tokens == 64 - 2 - prompt
    assert embedder.embed_passages(["a " * 50]) == embedder.embed_passages(["a " * (14 - prompt)])
    assert embedder.fingerprint != LocalEmbedder(model, made=made).fingerprint


def test_a_text_that_cannot_be_run_takes_nobody_elses_with_it(made: Path, tmp_path: Path) -> None:
    folder = tiny_embedder(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["zzqx"])  # of which the model has no vector
    tokenizer.save(str(folder / "tokenizer.json"))
    embedder = LocalEmbedder(str(folder), made=made)

    def answered(question: str) -> bool:
        try:
            return len(embedder.embed_queries([question])) == 1
        except Unavailable:
            return False

    questions = ["zzqx" if number % 8 == 0 else f"word {number % 8}" for number in range(400)]
    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(answered, questions)) == [question != "zzqx" for question in questions]


def test_a_graph_whose_making_was_killed_is_not_there_and_is_made_by_the_next(model: str, made: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom app.adapters.onnx_export import graph_of\n"
        "graph_of(Path(sys.argv[1]), kind='embedder', made=Path(sys.argv[2]), quantization='int8')\n"
    )
    before = kept(made)
    maker = subprocess.Popen([sys.executable, "-c", program, model, str(made)], start_new_session=True)
    while maker.poll() is None and not list(made.glob("making-*")):
        os.sched_yield()
    os.killpg(maker.pid, signal.SIGKILL)  # it and what writes the graph for it
    maker.wait()

    assert list(made.glob("making-*"))
    assert kept(made) == before
    graph = graph_of(Path(model), kind="embedder", made=made, quantization="int8")
    assert graph is not None
    assert kept(made) == before | {graph.parent}
    assert not list(made.glob("making-*"))


def test_layers_are_written_as_convolutions_and_in_eight_bits_as_matrices(model: str, made: Path) -> None:
    def kinds(quantization: Quantization) -> Counter[str]:
        graph = graph_of(Path(model), kind="embedder", made=made, quantization=quantization)
        return Counter(node.op_type for node in onnx.load(str(graph)).graph.node)

    whole, small = kinds("none"), kinds("int8")
    assert whole["Conv"] == small["MatMulNBits"] > 0 == small["Conv"]


def test_eight_bits_are_near_and_said_to_be_others(model: str, made: Path) -> None:
    whole, small = LocalEmbedder(model, made=made), LocalEmbedder(Chosen(model=model, quantization="int8"), made=made)
    cosines = np.sum(rows(whole.embed_queries(TEXTS)) * rows(small.embed_queries(TEXTS)), axis=1)

    assert small.fingerprint != whole.fingerprint
    assert 0.98 < float(cosines.min()) < 1


@pytest.mark.parametrize("pooling", ["cls", "max", "lasttoken", "weightedmean"])
def test_every_pooling_gives_what_sentence_transformers_gives(tmp_path: Path, made: Path, pooling: str) -> None:
    model = str(tiny_embedder(tmp_path / "model", pooling=pooling))
    embedder = LocalEmbedder(model, made=made)

    assert embedder.engine == ("torch" if pooling == "weightedmean" else "onnx")
    assert rows(embedder.embed_queries(TEXTS)) == pytest.approx(
        rows(LocalEmbedder(model).embed_queries(TEXTS)), abs=1e-6
    )


def test_a_folder_with_an_onnx_file_alone_is_a_model(model: str, made: Path, tmp_path: Path) -> None:
    whole = LocalEmbedder(model, made=made)
    graph = graph_of(Path(model), kind="embedder", made=made)
    assert graph is not None
    alone = tiny_embedder(tmp_path / "model", prompts=PROMPTS)
    (alone / "model.safetensors").unlink()
    (alone / "model.onnx").symlink_to(graph)

    assert LocalEmbedder(str(alone), made=made).embed_queries(TEXTS) == whole.embed_queries(TEXTS)
    with pytest.raises(Unavailable, match="torch reads no other weights"):
        LocalEmbedder(str(alone), engine="torch")


def test_a_graph_that_was_damaged_is_made_again(model: str, made: Path) -> None:
    graph = graph_of(Path(model), kind="embedder", made=made)
    assert graph is not None
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)

    assert graph_of(Path(model), kind="embedder", made=made) == graph
    assert graph.read_bytes() != bytes(content)
