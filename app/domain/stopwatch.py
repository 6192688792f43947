"""How long each step of a request took."""

from collections.abc import Mapping
from time import perf_counter


class Stopwatch:
    def __init__(self) -> None:
        self._start = self._last = perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """End a step: the time since the last lap is its."""
        now = perf_counter()
        self._laps[step] = self._laps.get(step, 0.0) + (now - self._last) * 1000
        self._last = now

    def laps_ms(self) -> Mapping[str, float]:
        """Milliseconds by step, and `total` until now."""
        laps = {step: round(ms, 2) for step, ms in self._laps.items()}
        return {**laps, "total": round((perf_counter() - self._start) * 1000, 2)}
