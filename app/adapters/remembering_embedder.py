"""Questions that were embedded before need not be again."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from app.domain.evidence import Vector
from app.ports import Embedder


class RememberingEmbedder:
    """The `Embedder` port over another, with the vectors of the last `at_most` questions that were asked by themselves.

    They are kept in memory by a digest of the model and the words, never by who asked, and the words are not kept.
    What comes out is what would have come out; only how soon may tell that somebody asked the same words lately.
    """

    def __init__(self, embedder: Embedder, *, at_most: int) -> None:
        self._embedder, self._at_most = embedder, at_most
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        if len(texts) != 1:
            return self._embedder.embed_queries(texts)
        words = f"{self._embedder.fingerprint}\0{texts[0]}".encode("utf-8", "surrogatepass")
        key = hashlib.sha256(words).digest()
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return [kept]
        [vector] = self._embedder.embed_queries(texts)
        with self._lock:
            self._kept[key] = vector
            if len(self._kept) > self._at_most:
                self._kept.popitem(last=False)
        return [vector]

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return self._embedder.embed_passages(texts)
