"""What becomes of a folder of awkward documents: python -m bench.documents FOLDER (or MUNIMENT_BENCH_DATA=FOLDER)

Each file goes through the gate and the sandboxed parser, as in the product. Exit codes: 0 each was read, or refused for
a reason; 1 one crashed its reader or took all the time that there is; 2 there is no such folder.
"""

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from app.domain.corpus import FindingCode
from app.domain.errors import MunimentError
from ingest.gate import MAX_FILE_BYTES, admitted
from ingest.sandbox import SandboxedParser

_AT_ONCE: Final = 2
_INCOMPLETE: Final = frozenset({FindingCode.PARTIAL, FindingCode.NEEDS_OCR})
_CRASHED: Final = ("failed on the document", "took longer than", "more memory than")
"""What refusals say that the sandbox, and not a reader, gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file: `published`, `partial`, or the kind of its refusal."""

    name: str
    state: str
    seconds: float
    detail: str
    codes: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return Path(self.name).suffix.lower() or "none"

    @property
    def crashed(self) -> bool:
        return any(said in self.detail for said in _CRASHED)


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments) or [os.environ.get("MUNIMENT_BENCH_DATA", "")]
    folder = Path(given[0])
    out = Console(width=140)
    if not given[0] or not folder.is_dir():
        out.print("Give a folder of documents, or set MUNIMENT_BENCH_DATA to one.")
        return 2
    found = list(outcomes(folder))
    tell(found, out)
    return 1 if any(each.crashed for each in found) else 0


def outcomes(folder: Path) -> Iterator[Outcome]:
    """Each file below the folder in turn, in the order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with SandboxedParser(slots=_AT_ONCE) as parser, ThreadPoolExecutor(_AT_ONCE) as threads:
        parser.hello()
        yield from threads.map(lambda file: _outcome(parser, file, str(file.relative_to(folder))), files)


def _outcome(parser: SandboxedParser, file: Path, name: str) -> Outcome:
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    start = time.monotonic()
    try:
        parsed = parser.parse(content, admitted(content, declared=None, filename=file.name), file.name)
    except MunimentError as error:
        return Outcome(name=name, state=error.kind, seconds=time.monotonic() - start, detail=error.detail)
    codes = [each.code for each in parsed.findings]
    return Outcome(
        name=name,
        state="partial" if _INCOMPLETE.intersection(codes) else "published",
        seconds=time.monotonic() - start,
        detail=" ".join(each.detail for each in parsed.findings),
        codes=tuple(codes),
    )


def tell(found: Sequence[Outcome], out: Console) -> None:
    """By type what became of them, then each that was not published whole, and why."""
    states = sorted({each.state for each in found}, key=lambda state: (state not in ("published", "partial"), state))
    by_type: dict[str, list[Outcome]] = defaultdict(list)
    for each in found:
        by_type[each.type].append(each)
    table = Table(title=f"{len(found)} documents of {len(by_type)} types", title_justify="left", title_style="bold")
    for column in ("type", "files", *states, "seconds", "slowest"):
        table.add_column(column, justify="left" if column == "type" else "right")
    for kind, listed in [*sorted(by_type.items()), ("together", list(found))]:
        counted = Counter(each.state for each in listed)
        if kind == "together":
            table.add_section()
        table.add_row(
            kind,
            f"{len(listed)}",
            *(f"{counted[state] or ''}" for state in states),
            f"{sum(each.seconds for each in listed):.2f}",
            f"{max((each.seconds for each in listed), default=0.0):.2f}",
        )
    out.print(table)
    reasons = Table("file", "outcome", "why", title="Not published whole", title_justify="left", title_style="bold")
    for each in found:
        if each.state != "published":
            reasons.add_row(each.name, each.state, each.detail)
    out.print(reasons)
    codes = Counter(code for each in found for code in each.codes)
    out.print("Findings: " + (", ".join(f"{code} {number}" for code, number in sorted(codes.items())) or "none") + ".")
    crashed = [each.name for each in found if each.crashed]
    out.print(f"Crashed or out of time: {', '.join(crashed) or 'none'}.")


if __name__ == "__main__":
    sys.exit(main())
