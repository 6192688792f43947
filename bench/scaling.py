"""How searches grow with what there is and with how much of it one may see: python -m bench.scaling

The index alone, in this process: exact search by the engine, then by arrays, of the same questions. Recall is against
every visible cosine computed by numpy. Last, how much of what is hidden can be told by a clock: the same searches of
the largest, and of an index with nothing but what is visible there. Exit codes: 0 every target is met, 1 one is missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.adapters.edge_index import EdgeIndex
from app.domain.access import BoundaryId
from app.domain.evidence import Hits
from bench.crowd import BOUNDARIES, VISIBLE, Crowd, Real, query

DEPTH: Final = 100
"""What a question asks of each list, as the product does."""

WITHIN: Final = 0.1
"""The part that is visible where latencies are compared."""

MOST_GROWTH: Final = 3.0

SEEN: Final = 0.01
"""The part that is visible where searches are timed with and without the rest."""

_ROUNDS: Final = 5
_PIECE: Final = 500
_TIDY_AFTER: Final = 10_000
_NEAR: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of one size and one part that is visible: milliseconds of hybrid searches, and how much of the best ten."""

    size: int
    visible: float
    engine_ms: float
    arrays_ms: float
    arrays_p99_ms: float
    engine_recall: float
    arrays_recall: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.scaling", description="Measure how searches grow.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 500_000, 1_000_000])
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--data", type=Path, help="a folder in BEIR's layout; else texts of our own corpus")
    parser.add_argument("--home", type=Path, help="a folder to fill and leave, or to use again")
    chosen = parser.parse_args(arguments)
    out = Console(width=120)
    with ExitStack() as opened:
        home = chosen.home or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="muniment-bench-")))
        home.mkdir(parents=True, exist_ok=True)
        missed = measure(home, chosen.data, chosen.sizes, chosen.questions, out)
    for name in missed:
        out.print(f"Missed: {name}.")
    return 1 if missed else 0


def measure(home: Path, data: Path | None, sizes: Sequence[int], questions: int, out: Console) -> list[str]:
    """The targets that were missed."""
    real = Real.of(data, home)
    found: list[Found] = []
    for size in sizes:
        crowd = Crowd.of(real, home / f"crowd-{size}", size)
        folder = home / f"index-{size}"
        filled_s = _filled_s(folder, crowd)
        with EdgeIndex(folder, crowd.vectors.shape[1], budget_ms=1e-6) as index:
            rows, laid_out_s = _measured(index, crowd, real, questions)
        found += rows
        disk = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
        out.print(f"{size:,} points: {disk / 1e9:.1f} GB, filled in {filled_s:.0f} s, laid out in {laid_out_s:.0f} s.")
    missed = _tell(found, out)
    _tell_of_hidden(home, real, Crowd.of(real, home / f"crowd-{max(sizes)}", max(sizes)), questions, out)
    return missed


def _filled_s(folder: Path, crowd: Crowd, visible: float = 1.0) -> float:
    """Fill an index with what is visible of the crowd, if it is not filled."""
    start = time.monotonic()
    most = BoundaryId(round(visible * BOUNDARIES))
    with EdgeIndex(folder, crowd.vectors.shape[1]) as index:
        there = index.size()
        for first in range(there if visible == 1.0 else 0, crowd.size if there < crowd.size * visible else 0, _PIECE):
            index.upsert([it for it in crowd.entries(first, first + _PIECE) if it.placement.boundary <= most])
            if index.unoptimized >= _TIDY_AFTER:
                index.optimize()
        index.optimize()
    return time.monotonic() - start


def _tell_of_hidden(home: Path, real: Real, crowd: Crowd, questions: int, out: Console) -> None:
    """Searches of one who may read `SEEN` of the crowd, where the rest is there and where it is not, in turn."""
    alone = home / f"alone-{crowd.size}"
    _filled_s(alone, crowd, SEEN)
    exact = crowd.nearest(real.questions[:questions], SEEN, 10)
    spent_ms: dict[str, list[float]] = {"alone": [], "among": []}
    with (
        EdgeIndex(alone, crowd.vectors.shape[1]) as without,
        EdgeIndex(home / f"index-{crowd.size}", crowd.vectors.shape[1]) as among,
    ):
        for index in (without, among):  # each as a server would have it: by arrays if it takes too long without
            for _ in range(_ROUNDS):  # often enough for it to know
                _asked(index.search, crowd, real, SEEN, exact)
            while index.quicken():
                pass
        for _ in range(_ROUNDS):
            spent_ms["alone"] += _asked(without.search, crowd, real, SEEN, exact)[0]
            spent_ms["among"] += _asked(among.search, crowd, real, SEEN, exact)[0]
        how = {True: "arrays", False: "the engine"}
        there, hidden = without.size(), among.size() - without.size()
        few, many = median(spent_ms["alone"]), median(spent_ms["among"])
        out.print(
            f"{there:,} visible points alone: {few:.2f} ms by {how[without.quick]}; with {hidden:,} hidden ones: "
            f"{many:.2f} ms by {how[among.quick]}; {many - few:+.2f} ms, {many / few:.2f} times as long."
        )


def _measured(index: EdgeIndex, crowd: Crowd, real: Real, questions: int) -> tuple[list[Found], float]:
    exact = {visible: crowd.nearest(real.questions[:questions], visible, 10) for visible in VISIBLE}
    engine = {visible: _asked(index.search, crowd, real, visible, exact[visible]) for visible in VISIBLE}
    start = time.monotonic()
    while index.quicken():
        pass
    laid_out_s = time.monotonic() - start
    if not index.quick:
        raise RuntimeError("the arrays were refused: see the log")
    arrays = {visible: _asked(index.search, crowd, real, visible, exact[visible]) for visible in VISIBLE}
    return [
        Found(
            size=crowd.size,
            visible=visible,
            engine_ms=median(engine[visible][0]),
            arrays_ms=median(arrays[visible][0]),
            arrays_p99_ms=sorted(arrays[visible][0])[int(questions * 0.99)],
            engine_recall=engine[visible][1],
            arrays_recall=arrays[visible][1],
        )
        for visible in VISIBLE
    ], laid_out_s


def _asked(
    search: Callable[..., Hits],
    crowd: Crowd,
    real: Real,
    visible: float,
    exact: NDArray[np.float64],
) -> tuple[list[float], float]:
    """Milliseconds of each search, and the mean recall of the ten best by cosine. A tie with the tenth counts."""
    spent_ms, recalled = [], []
    for n, best in enumerate(exact):
        asked = query(real.questions[n], real.asked[n], visible, DEPTH)
        start = time.perf_counter()
        hits = search(asked)
        spent_ms.append((time.perf_counter() - start) * 1000)
        found = [hit.chunk - 1 for hit in hits.dense[: len(best)]]
        cosines = crowd.vectors[sorted(found)].astype("f8") @ real.questions[n].astype("f8")
        recalled.append(sum(cosine >= best[-1] - _NEAR for cosine in cosines) / len(best))
    return spent_ms, sum(recalled) / len(recalled)


def _tell(found: Sequence[Found], out: Console) -> list[str]:
    table = Table(title="Hybrid searches of the index, p50 ms", title_justify="left", title_style="bold")
    for column in ("points", "visible", "engine", "arrays", "p99", "arrays / engine", "recall@10 engine", "arrays"):
        table.add_column(column, justify="right")
    missed = []
    for each in found:
        table.add_row(
            f"{each.size:,}",
            f"{each.visible:.1%}",
            f"{each.engine_ms:.1f}",
            f"{each.arrays_ms:.1f}",
            f"{each.arrays_p99_ms:.1f}",
            f"{each.arrays_ms / each.engine_ms:.2f}",
            f"{each.engine_recall:.3f}",
            f"{each.arrays_recall:.3f}",
        )
        least = 1.0 if each.size <= 100_000 else 0.99
        if min(each.engine_recall, each.arrays_recall) < least:
            missed.append(f"recall at {each.size:,} points, {each.visible:.1%} visible")
    out.print(table)
    within = {each.size: each.arrays_ms for each in found if each.visible == WITHIN}
    if len(within) > 1:
        growth = within[max(within)] / within[min(within)]
        out.print(
            f"At {max(within):,} points a search of the index takes {growth:.1f} times as long as at {min(within):,}, "
            f"{WITHIN:.0%} visible; the rest of an answer does not grow (at most {MOST_GROWTH:g} for the whole)."
        )
    return missed


if __name__ == "__main__":
    sys.exit(main())
