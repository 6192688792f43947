"""sentence-transformers on torch: for models that no graph can be made of, and where there is no folder for graphs."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from app.adapters.model_files import stay_offline
from app.domain.errors import Unavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCH: Final = 8
"""Texts at a time. Measured on two cores: as fast as any (39 texts a second, 28 at 64), and 0.6 GB at the peak
instead of 1.0 at 64."""


class TorchEncoder:
    """Texts to the model's vectors. `threads` is for the whole process: more than the cores that are really free made
    one query take 500 ms instead of 10."""

    def __init__(self, folder: Path, *, threads: int, longest: int) -> None:
        self._model = _loaded_model(folder, threads)
        self._model.max_seq_length = longest

    def encode(self, texts: Sequence[str], prompt: str) -> Sequence[NDArray[np.float32]]:
        return list(
            np.asarray(
                self._model.encode(list(texts), prompt=prompt, batch_size=_BATCH, show_progress_bar=False),
                dtype=np.float32,
            )
        )


def loaded_cross_encoder(
    folder: Path, *, threads: int, max_tokens: int
) -> Callable[[tuple[str, str]], NDArray[np.float32]]:
    """What gives the logits of one pair of texts, by sentence-transformers' CrossEncoder."""
    stay_offline()
    with without_evaluation_metrics():
        from sentence_transformers import CrossEncoder
    import torch

    _quiet(threads)
    with _readable(folder):
        model = CrossEncoder(str(folder), device="cpu", local_files_only=True, max_length=max_tokens).eval()

    def outputs(pair: tuple[str, str]) -> NDArray[np.float32]:
        said = model.predict([pair], activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return np.asarray(said, dtype=np.float32).ravel()

    return outputs


def _loaded_model(folder: Path, threads: int) -> "SentenceTransformer":
    stay_offline()
    with without_evaluation_metrics():
        from sentence_transformers import SentenceTransformer

    _quiet(threads)
    with _readable(folder):
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Weights that are cut off or damaged are told as a model that is not there. Raises `Unavailable`."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise Unavailable(f"The weights in {folder} are damaged: fetch the model again.") from error


def _quiet(threads: int) -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def without_evaluation_metrics() -> Iterator[None]:
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
