"""A transformer's ONNX graph on this machine's processors, shared by all who ask, on one thread for each run.

On one core half of what a short text takes is reading the weights from memory: texts that are asked for at the same
time are run together, which reads them once.
"""

import ctypes
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event, Lock
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
"""Lengths are alike that are no more tokens apart. Filling a text up with a token took 0.1 ms, and a run 2 ms more than
its tokens did (all-MiniLM-L6-v2, one core)."""

_PROBED: Final = (3, 9, 14, 15, 33, 70)


class _Call:
    """Somebody who asks, and waits until there is something to do or nothing left to wait for."""

    def __init__(self, texts: Sequence[Encoding]) -> None:
        self.asked = [_Asked(call=self, tokens=tokens, length=len(tokens.ids)) for tokens in texts]
        self.left = len(self.asked)
        self.running = False
        self.woken = Event()


@dataclass(slots=True, eq=False, kw_only=True)
class _Asked:
    """One text, as it waits for its turn."""

    call: _Call
    tokens: Encoding
    length: int
    result: Numbers | None = None


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
        _return_freed_memory()
        self._inputs = tuple(each.name for each in self._session.get_inputs())
        self._free = self._threads = threads
        self._waiting: deque[_Asked] = deque()
        self._lock = Lock()
        self._others = ThreadPoolExecutor(threads, thread_name_prefix="onnx")
        self.together = False
        self.together = self._gives_the_same_together(longest)

    def run(self, texts: Sequence[Encoding]) -> list[Numbers]:
        """One array a text, in order. Raises `Unavailable`."""
        call = _Call(texts)
        with self._lock:
            self._waiting.extend(sorted(call.asked, key=lambda each: each.length))
        for _ in range(min(self._threads, len(texts)) - 1):
            self._others.submit(self._work, _Call(()))
        while self._work(call):
            call.woken.wait()
            call.woken.clear()
        return [_there(each.result) for each in call.asked]

    def _work(self, call: _Call) -> bool:
        """Run what waits, whosever it is, while that is of use; whether the call's own is still to come."""
        while True:
            with self._lock:
                if not self._waiting or not self._free or (call.asked and not call.left):
                    return call.left > 0
                batch = self._next()
                self._free -= 1
                call.running = True
            try:
                self._run_together(batch)
            finally:
                with self._lock:
                    self._free += 1
                    call.running = False
                    self._tell(batch, call)

    def _tell(self, batch: Sequence[_Asked], by: _Call) -> None:
        """Wake those who have all they asked for, and one who can run what waits."""
        for each in batch:
            each.call.left -= 1
            if not each.call.left and each.call is not by:
                each.call.woken.set()
        idle = (each.call for each in self._waiting if not each.call.running and each.call is not by)
        if (one := next(idle, None)) is not None:
            one.woken.set()

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
            if len(batch) > 1:  # one that cannot be run takes nobody else's with it; who asked sees that it is missing
                for each in batch:
                    self._run_together([each])

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


def _return_freed_memory() -> None:
    """Give the C allocator's free pages back to the system: the weights as they were in the file. glibc only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
