"""Cross-encoders, built here with random weights: what they say is theirs, and of each text alone."""

from pathlib import Path

import pytest

from app.adapters.local_reranker import LocalReranker
from app.adapters.model_files import Engine, reranker_folder
from app.domain.errors import Unavailable
from tests.tiny_models import tiny_cross_encoder

QUESTION = "How long are personal data kept?"
TEXTS = ["Ten years.", "", "The canteen serves lunch from noon. " * 30, "\ud800", "Ten years."]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_cross_encoder(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_scores_are_the_cross_encoders_between_nothing_and_one(model: str, made: Path, engine: Engine) -> None:
    from sentence_transformers import CrossEncoder
    from torch import nn

    reference = CrossEncoder(model, device="cpu", local_files_only=True, max_length=48)
    reranker = LocalReranker(model, made=made, max_tokens=48, engine=engine)
    scores = reranker.scores(QUESTION, TEXTS)
    expected = reference.predict(
        [(QUESTION, text.replace("\ud800", "?")) for text in TEXTS], activation_fn=nn.Sigmoid(), show_progress_bar=False
    )

    assert reranker.engine == engine
    assert scores == pytest.approx([float(each) for each in expected], abs=1e-5)
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 2
    assert reranker.scores(QUESTION, []) == []


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_texts_score_does_not_depend_on_the_other_texts(model: str, made: Path, engine: Engine) -> None:
    reranker = LocalReranker(model, made=made, threads=2, engine=engine)
    together = reranker.scores(QUESTION, TEXTS)

    assert together == [reranker.scores(QUESTION, [text])[0] for text in TEXTS]
    assert list(reversed(together)) == reranker.scores(QUESTION, TEXTS[::-1])


def test_fingerprint_names_the_model_and_what_is_read(model: str, made: Path) -> None:
    assert LocalReranker(model, made=made).fingerprint == LocalReranker(model).fingerprint
    assert LocalReranker(model, made=made, max_tokens=48).fingerprint != LocalReranker(model).fingerprint


def test_two_outputs_are_no_and_yes_and_three_are_no_reranker(tmp_path: Path) -> None:
    two = LocalReranker(str(tiny_cross_encoder(tmp_path / "two", outputs=2)))

    assert all(0 <= score <= 1 for score in two.scores(QUESTION, TEXTS))
    with pytest.raises(Unavailable, match="no cross-encoder for ranking"):
        LocalReranker(str(tiny_cross_encoder(tmp_path / "three", outputs=3)))


@pytest.mark.parametrize(
    "configuration", ['{"architectures": 1}', '{"architectures": ["XForSequenceClassification"], "id2label": 3}']
)
def test_a_configuration_of_other_kinds_than_are_written_is_unavailable(tmp_path: Path, configuration: str) -> None:
    (tmp_path / "config.json").write_text(configuration)

    with pytest.raises(Unavailable, match="cannot be read"):
        reranker_folder(str(tmp_path))


def test_a_model_that_is_not_on_this_machine_is_unavailable(made: Path, tmp_path: Path) -> None:
    for model in ("nobody/has-this-model", str(tmp_path)):
        with pytest.raises(Unavailable, match=r"neither a folder nor|no cross-encoder for ranking"):
            LocalReranker(model, made=made)
