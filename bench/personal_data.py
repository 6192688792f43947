"""What the detectors find in annotated texts, and how long they take: python -m bench.personal_data [FOLDER]

FOLDER holds `personal_data/texts.jsonl`: a line for each text, with the spans of what is in it by type. Without it,
the folder is that of MUNIMENT_BENCH_DATA. Precision of a kind counts only against texts annotated for it. Exit codes:
0 the targets are met, 1 one is missed.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from app.adapters.personal_data import (
    ACCOUNT,
    ADDRESS,
    CARD,
    DOCUMENT,
    EMAIL,
    NATIONAL,
    NETWORK,
    PHONE,
    PersonalData,
)
from ingest.labelling import proposals

KINDS: Final = {
    "CREDIT_CARD": CARD,
    "IBAN_CODE": ACCOUNT,
    "US_SSN": NATIONAL,
    "US_DRIVER_LICENSE": DOCUMENT,
    "EMAIL_ADDRESS": EMAIL,
    "PHONE_NUMBER": PHONE,
    "STREET_ADDRESS": ADDRESS,
    "IP_ADDRESS": NETWORK,
}
STRONG: Final = (CARD, ACCOUNT, NATIONAL)
LEAST_STRONG: Final = 0.95
"""Precision and recall of what raises a label alone."""
MOST_MS: Final = 1.0
"""For a text of 1.2 kB."""
_TEXT_CHARS: Final = 1_200


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.personal_data", description="Measure the detectors.")
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("MUNIMENT_BENCH_DATA"))
    folder = parser.parse_args(arguments).folder
    if folder is None:
        parser.error("name the folder, or set MUNIMENT_BENCH_DATA")
    lines = (Path(folder) / "personal_data" / "texts.jsonl").read_text().splitlines()
    texts = [json.loads(line) for line in lines]
    missed = _accuracy(texts)
    missed += _time([text["text"] for text in texts])
    for name in missed:
        print(f"Missed: {name}.")
    return 1 if missed else 0


def _accuracy(texts: Sequence[dict[str, Any]]) -> list[str]:
    """Found: one of ours of that kind overlaps it. Right: it overlaps one of that type."""
    annotated, found, right, ours = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    detector = PersonalData()
    for text in texts:
        spotted = detector.spotted(text["text"])
        for type_, kind in KINDS.items():
            wanted = [(each["start"], each["end"]) for each in text["spans"] if each["type"] == type_]
            got = [(each.span.start, each.span.end) for each in spotted if each.kind == kind]
            annotated[kind] += len(wanted)
            ours[kind] += len(got)
            found[kind] += sum(any(_meet(each, other) for other in got) for each in wanted)
            right[kind] += sum(any(_meet(each, other) for other in wanted) for each in got)
    table = _table(f"Personal data in {len(texts):,} annotated texts", "annotated", "spotted", "precision", "recall")
    missed = []
    for kind in KINDS.values():
        precision, recall = right[kind] / max(1, ours[kind]), found[kind] / max(1, annotated[kind])
        table.add_row(kind, f"{annotated[kind]}", f"{ours[kind]}", f"{precision:.3f}", f"{recall:.3f}")
        if kind in STRONG and min(precision, recall) < LEAST_STRONG:
            missed.append(kind)
    Console(width=120).print(table)
    return missed


def _time(texts: Sequence[str]) -> list[str]:
    whole = "\n".join(texts)
    pieces = [whole[start : start + _TEXT_CHARS] for start in range(0, len(whole), _TEXT_CHARS)]
    taken = []
    for piece in pieces:
        start = time.perf_counter()
        proposals(piece)
        taken.append(1000 * (time.perf_counter() - start))
    ms = median(taken)
    table = _table("Personal data and secrets, all kinds", "ms, median")
    table.add_row(f"{len(pieces)} texts of {_TEXT_CHARS} characters (at most {MOST_MS:g})", f"{ms:.3f}")
    Console(width=120).print(table)
    return [] if ms <= MOST_MS else ["time"]


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _table(title: str, *columns: str) -> Table:
    table = Table("", title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    sys.exit(main())
