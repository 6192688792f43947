"""A transformer's ONNX graph on this machine's processors, shared by all who ask, on one thread for each run.

On one core a short text takes as long as reading the weights from memory does: texts that are asked for at the same
time are run together, which reads them once.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Condition
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions  # type: ignore[import-untyped]
from onnxruntime.capi.onnxruntime_pybind11_state import (  # type: ignore[import-untyped]
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
    RuntimeException,
)
from tokenizers import Encoding

from app.domain.errors import Unavailable

ONNX_ERRORS: Final = (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
    RuntimeException,
    MemoryError,
)

Numbers = NDArray[np.float32]

_MOST_ROWS: Final = 16
_MOST_TOKENS: Final = 512
"""Of one run: beyond that, more texts at a time are no faster, and take memory."""

_ALIKE: Final = 16
"""Lengths are alike that are no more tokens apart. Filling a text up with a token took 0.1 ms, and a run 3 ms more than
its tokens did (all-MiniLM-L6-v2, one core)."""

_PROBED: Final = (3, 9, 14, 15, 33, 70)


@dataclass(slots=True, eq=False)
class _Asked:
    """One text, as it waits for its turn."""

    tokens: Encoding
    result: Numbers | None = None
    done: bool = field(default=False)

    @property
    def length(self) -> int:
        return len(self.tokens.ids)


class OnnxSession:
    """What a graph gives for token ids: for each text, its first output without what was filled up.

    INVARIANT: a text's numbers do not depend, by a single bit, on what it is run with. This is tried when the graph is
    loaded, on this machine's processors; where it does not hold, each text is run alone.

    Who asks runs what waits, if one of the `threads` is free, and else waits for whoever runs: someone who asks alone
    waits for nobody.
    """

    def __init__(self, file: Path, *, threads: int, longest: int) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except ONNX_ERRORS as error:
            raise Unavailable(f"{file} is no ONNX file that can be run.") from error
        self._inputs = tuple(each.name for each in self._session.get_inputs())
        self._free = self._threads = threads
        self._waiting: deque[_Asked] = deque()
        self._changed = Condition()
        self._others = ThreadPoolExecutor(threads, thread_name_prefix="onnx")
        self.together = False
        self.together = self._gives_the_same_together(longest)

    def run(self, texts: Sequence[Encoding]) -> list[Numbers]:
        """One array a text, in order. Raises `Unavailable`."""
        asked = [_Asked(tokens) for tokens in texts]
        with self._changed:
            self._waiting.extend(sorted(asked, key=lambda each: each.length))
        for _ in range(min(self._threads, len(asked)) - 1):
            self._others.submit(self._lend_a_hand, [])
        self._lend_a_hand(asked)
        return [_there(each.result) for each in asked]

    def _lend_a_hand(self, mine: Sequence[_Asked]) -> None:
        """Run what waits, whosever it is, until my own is done or a thread more is of no use."""
        with self._changed:
            while not (mine and all(each.done for each in mine)):
                if self._waiting and self._free:
                    batch = self._next()
                    self._free -= 1
                    self._changed.release()
                    try:
                        self._run_together(batch)
                    finally:
                        self._changed.acquire()
                        self._free += 1
                        self._changed.notify_all()
                elif mine:
                    self._changed.wait()
                else:
                    return

    def _next(self) -> list[_Asked]:
        """The text that waits longest, and those of about its length that wait with it."""
        first = self._waiting.popleft()
        if not self.together:
            return [first]
        most = max(1, min(_MOST_ROWS, _MOST_TOKENS // max(1, first.length)))
        alike = (each for each in self._waiting if abs(each.length - first.length) <= _ALIKE)
        batch = [first, *islice(alike, most - 1)]
        self._waiting = deque(each for each in self._waiting if each not in batch)
        return batch

    def _run_together(self, batch: Sequence[_Asked]) -> None:
        try:
            for each, numbers in zip(batch, self._outputs([each.tokens for each in batch]), strict=True):
                each.result = numbers
        except ONNX_ERRORS:
            pass  # each that asked sees that it has no result
        finally:
            for each in batch:
                each.done = True

    def _outputs(self, texts: Sequence[Encoding]) -> Iterator[Numbers]:
        longest = max(len(tokens.ids) for tokens in texts)
        given = {name: np.zeros((len(texts), longest), np.int64) for name in self._inputs}
        for row, tokens in enumerate(texts):
            length = len(tokens.ids)
            for name, values in _features(tokens).items():
                if name in given:
                    given[name][row, :length] = values
        output: Any = self._session.run(None, given)[0]
        for row, tokens in enumerate(texts):
            yield output[row, : len(tokens.ids)] if output.ndim == 3 else output[row]

    def _gives_the_same_together(self, longest: int) -> bool:
        """Whether texts of several lengths have the same bits alone, and filled up among others."""
        texts = [_Probe(ids=[at % 7 for at in range(min(length, longest))]) for length in _PROBED]
        for some in (texts, texts[:3], texts[1:3], texts[2:]):
            among = list(self._outputs(some))  # type: ignore[arg-type]
            alone = [next(self._outputs([each])) for each in some]  # type: ignore[list-item]
            if not all(map(np.array_equal, among, alone)):
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Probe:
    ids: list[int]

    @property
    def attention_mask(self) -> list[int]:
        return [1] * len(self.ids)

    @property
    def type_ids(self) -> list[int]:
        return [0] * len(self.ids)


def _features(tokens: Encoding) -> dict[str, Sequence[int]]:
    return {
        "input_ids": tokens.ids,
        "attention_mask": tokens.attention_mask,
        "token_type_ids": tokens.type_ids,
        "position_ids": range(len(tokens.ids)),
    }


def _there(result: Numbers | None) -> Numbers:
    if result is None:
        raise Unavailable("The model could not be run on this text. Try again in a moment.")
    return result
