"""The embedding model loaded when it is first needed: a process that may never embed does not carry it."""

from collections.abc import Callable, Sequence
from threading import Lock

from app.domain.evidence import Vector
from app.ports import Embedder


class LateEmbedder:
    """The `Embedder` port over one that `load` makes, once, at the first call. Raises what `load` does."""

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._loaded: Embedder | None = None
        self._lock = Lock()

    @property
    def loaded(self) -> bool:
        return self._loaded is not None

    @property
    def fingerprint(self) -> str:
        return self._embedder().fingerprint

    @property
    def dimension(self) -> int:
        return self._embedder().dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self._embedder().embed_queries(texts)

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return self._embedder().embed_passages(texts)

    def _embedder(self) -> Embedder:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded
