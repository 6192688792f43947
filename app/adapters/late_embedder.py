"""An embedding model and its tokenizer loaded when they are first needed: a process that may never embed carries
neither, and one whose model is gone still starts."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from app.domain.errors import ModelChanged
from app.domain.evidence import Vector
from app.ports import Embedder, Tokenizer


class LateEmbedder:
    """The `Embedder` port over one that `load` makes, once, at the first call. Raises what `load` does.

    A model that is another by now is not loaded again and again to find that out.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._loaded: Embedder | None = None
        self._changed: ModelChanged | None = None
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

    def unload(self) -> None:
        """Let go of the model, until it is needed again."""
        with self._lock:
            self._loaded = None

    def _embedder(self) -> Embedder:
        with self._lock:
            if self._changed is not None:
                raise self._changed
            if self._loaded is None:
                try:
                    self._loaded = self._load()
                except ModelChanged as error:
                    self._changed = error
                    raise
            return self._loaded


class LateTokenizer:
    """The `Tokenizer` port over one that `load` makes, once, at the first call. Raises what `load` does."""

    def __init__(self, load: Callable[[], Tokenizer]) -> None:
        self._load = load
        self._loaded: Tokenizer | None = None
        self._lock = Lock()

    @property
    def max_tokens(self) -> int:
        return self._tokenizer().max_tokens

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer().offsets(text)

    def count(self, text: str) -> int:
        return self._tokenizer().count(text)

    def known(self, text: str) -> float:
        return self._tokenizer().known(text)

    def _tokenizer(self) -> Tokenizer:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded


class OneThreadEmbedder:
    """The `Embedder` port, called on one thread whoever asks.

    torch makes a team of threads for every thread that calls it, with memory of their own: from the threads that
    batches run in, 768 passages took 774 MB instead of 544, and no less time.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self._thread.submit(self._embedder.embed_queries, texts).result()

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return self._thread.submit(self._embedder.embed_passages, texts).result()
