"""Indexes with their models, by generation: opened when they are asked for, and closed when they are not any more."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from threading import Lock

from app.domain.generations import Generation, GenerationId
from app.ports import Analyzer, Embedder, Index, Retrieval, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A part, and how it is let go of."""

    index: Index
    embedder: Embedder
    tokenizer: Tokenizer
    close: Callable[[], None]


class OpenedGenerations:
    """The `Generations` port. `open` gives the parts of one generation, and `drop` removes its index.

    Two generations that are made with the same model load it once each: a rebuild of a large model takes its memory
    twice, as long as it lasts.
    """

    def __init__(
        self, open: Callable[[Generation], Opened], drop: Callable[[Generation], None], analyzer: Analyzer
    ) -> None:
        self._open, self._drop, self._analyzer = open, drop, analyzer
        self._opened: dict[GenerationId, Opened] = {}
        self._lock = Lock()

    def opened(self, generation: Generation) -> Retrieval:
        with self._lock:
            if generation.id not in self._opened:
                self._opened[generation.id] = self._open(generation)
            found = self._opened[generation.id]
        return Retrieval(index=found.index, embedder=found.embedder, tokenizer=found.tokenizer, analyzer=self._analyzer)

    def keep(self, ids: Set[GenerationId]) -> None:
        with self._lock:
            gone = [self._opened.pop(id) for id in list(self._opened) if id not in ids]
        for each in gone:
            each.close()

    def drop(self, generation: Generation) -> None:
        self._drop(generation)

    def close(self) -> None:
        """Close everything."""
        self.keep(frozenset())
