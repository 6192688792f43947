"""A cross-encoder on this machine's processors: reads a question and a text together, and says how well they fit."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from app.adapters.local_embedder import Numbers, encodable, plain_tokenizer
from app.adapters.model_files import Engine, longest, reranker_folder, settings_digest, weights_digest
from app.domain.errors import Unavailable

_DIGITS: Final = 6
"""Of a score: what lies behind them is noise of the arithmetic."""


class LocalReranker:
    """The `Reranker` port on ONNX Runtime, or on sentence-transformers' CrossEncoder.

    `model` is a folder, or a name in the local Hugging Face cache: of a model with one output, or with two of which the
    second speaks for a fit. `max_tokens` bounds what is read of question and text together. Raises `Unavailable` when
    the model is not there or gives something else. Graphs are kept below `made`, as those of the embedding model.
    """

    def __init__(
        self, model: str, *, threads: int = 1, max_tokens: int = 256, made: Path | None = None, engine: Engine = "onnx"
    ) -> None:
        self._folder = folder = reranker_folder(model)
        self._weights = weights_digest(folder)
        self._max_tokens = longest(folder, max_tokens)
        scorer = _onnx(folder, threads, self._max_tokens, made) if engine == "onnx" and made is not None else None
        self.engine: Engine = "torch" if scorer is None else "onnx"
        self._scorer = scorer or _torch(folder, threads, self._max_tokens)
        self.scores("ready?", ["ready"])

    @cached_property
    def fingerprint(self) -> str:
        return f"sha256:{self._weights};settings:{settings_digest(self._folder)};tokens:{self._max_tokens}"

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        pairs = [(encodable(query), encodable(text)) for text in texts]
        return [_score(outputs) for outputs in self._scorer.outputs(pairs)] if pairs else []


class _Scorer(Protocol):
    def outputs(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Numbers]:
        """What the model says of each pair, in order: logits. INVARIANT: of each as if it were alone."""
        ...


class _OnnxScorer:
    def __init__(self, folder: Path, file: Path, *, threads: int, max_tokens: int) -> None:
        from app.adapters.onnx_session import OnnxSession

        self._tokenizer = plain_tokenizer(folder)
        self._tokenizer.enable_truncation(max_tokens)
        self._session = OnnxSession(file, threads=threads, longest=max_tokens)

    def outputs(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Numbers]:
        return self._session.run(self._tokenizer.encode_batch(list(pairs)))


class _TorchScorer:
    def __init__(self, folder: Path, *, threads: int, max_tokens: int) -> None:
        from app.adapters.torch_encoder import loaded_cross_encoder

        self._model = loaded_cross_encoder(folder, threads=threads, max_tokens=max_tokens)

    def outputs(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Numbers]:
        return [self._model(pair) for pair in pairs]


def _score(outputs: Numbers) -> float:
    """In [0, 1], from the logits of one pair."""
    logits = np.ravel(outputs).astype(np.float64)
    if logits.size not in (1, 2):
        raise Unavailable("The reranker says more than how well a text fits: it is no cross-encoder for ranking.")
    fit = float(logits[0] if logits.size == 1 else logits[1] - logits[0])
    return round(float(1 / (1 + np.exp(-np.clip(fit, -50, 50)))), _DIGITS)


def _onnx(folder: Path, threads: int, max_tokens: int, made: Path) -> _Scorer | None:
    from app.adapters.onnx_export import graph_of

    file = graph_of(folder, kind="reranker", made=made)
    return None if file is None else _OnnxScorer(folder, file, threads=threads, max_tokens=max_tokens)


def _torch(folder: Path, threads: int, max_tokens: int) -> _Scorer:
    if not any(folder.glob("*.safetensors")):
        raise Unavailable(f"The reranker in {folder} has no model.safetensors, and torch reads no other weights here.")
    return _TorchScorer(folder, threads=threads, max_tokens=max_tokens)
