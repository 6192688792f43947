"""How fast documents are read: python -m bench.parsing, and as rows of python -m bench

PDF in pages a second of one core, through the sandbox; DOCX against unstructured with its spaCy model, in the same run.
"""

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import docx
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate
from rich.console import Console
from rich.table import Table

from bench import with_spacy
from bench.wording import Writer, own_sentences
from ingest.gate import MediaType
from ingest.sandbox import SandboxedParser

LEAST_PAGES_A_SECOND: Final = 15.0
LEAST_DOCX_RATIO: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading took."""

    pdf_pages: int
    pdf_s: float
    """Wall clock, with the fork, the limits and the way back."""
    docx_characters: int
    docx_s: float
    """Processor seconds of our reader, warm."""
    spacy_s: float | None
    """The same of unstructured with its model; `None` where that is not installed."""

    @property
    def pages_a_second(self) -> float:
        return self.pdf_pages / self.pdf_s

    @property
    def docx_ratio(self) -> float | None:
        return None if self.spacy_s is None else self.spacy_s / self.docx_s


def reading(writer: Writer, *, paragraphs: int, times: int) -> Reading:
    """The same words as PDF and as DOCX, each read several times; medians."""
    texts = [writer.passage()[1] for _ in range(paragraphs)]
    pdf, pages = _pdf(texts)
    with SandboxedParser(slots=1) as parser:
        parser.parse(pdf, MediaType.PDF, "a.pdf")
        took: list[float] = []
        for _ in range(times):
            start = time.monotonic()
            parser.parse(pdf, MediaType.PDF, "a.pdf")
            took.append(time.monotonic() - start)
    with tempfile.TemporaryDirectory(prefix="muniment-bench-") as folder:
        documents = [Path(folder, f"{number}.docx") for number in range(times + 1)]
        for document in documents:  # each of other words: unstructured remembers what its model said of a sentence
            document.write_bytes(_docx([writer.passage()[1] for _ in range(paragraphs)]))
        ours = _ours(documents)
        theirs = with_spacy.seconds_for(documents) if with_spacy.installed() else []
    return Reading(
        pdf_pages=pages,
        pdf_s=median(took),
        docx_characters=sum(map(len, texts)),
        docx_s=median(ours),
        spacy_s=median(theirs) if theirs else None,
    )


def tell(found: Reading, out: Console) -> list[str]:
    """Print it; the names of the targets that were missed."""
    table = Table("", title="Reading documents", title_justify="left", title_style="bold")
    for column in ("seconds", "rate", "at least"):
        table.add_column(column, justify="right")
    table.add_row(
        f"PDF, {found.pdf_pages} pages of text, in the sandbox",
        f"{found.pdf_s:.2f}",
        f"{found.pages_a_second:.0f} pages/s",
        f"{LEAST_PAGES_A_SECOND:g} pages/s",
    )
    table.add_row(f"DOCX, {found.docx_characters:,} characters", f"{found.docx_s:.2f}", "", "")
    if found.spacy_s is None:
        table.add_row("the same by unstructured with spaCy", "not installed", "", "")
    else:
        table.add_row("the same by unstructured with spaCy", f"{found.spacy_s:.2f}", "", "")
        table.add_row("ratio", "", f"{found.docx_ratio:.1f}", f"{LEAST_DOCX_RATIO:g}")
    out.print(table)
    missed = [] if found.pages_a_second >= LEAST_PAGES_A_SECOND else ["reading PDF"]
    return missed + (["reading DOCX"] if (found.docx_ratio or LEAST_DOCX_RATIO) < LEAST_DOCX_RATIO else [])


_OURS: Final = """
import sys, time
from pathlib import Path
from ingest.unstructured_parser import parse_file, warm_up
warm_up()
for document in sys.argv[2:]:
    content = Path(document).read_bytes()
    start = time.process_time()
    parse_file(content, sys.argv[1])
    print(time.process_time() - start)
"""


def _ours(documents: Sequence[Path]) -> list[float]:
    """Processor seconds for each document but the first."""
    told = subprocess.run(
        [sys.executable, "-c", _OURS, MediaType.DOCX, *documents], capture_output=True, text=True, check=True
    )
    return [float(line) for line in told.stdout.splitlines()][1:]


def _pdf(texts: Sequence[str]) -> tuple[bytes, int]:
    style = getSampleStyleSheet()
    out = io.BytesIO()
    template = SimpleDocTemplate(out)
    template.build(
        [
            Paragraph(f"Section {number // 2}" if number % 2 == 0 else texts[number // 2], style[name])
            for number in range(2 * len(texts))
            for name in [("Heading2", "BodyText")[number % 2]]
        ]
    )
    return out.getvalue(), template.page


def _docx(texts: Sequence[str]) -> bytes:
    document = docx.Document()
    for number, text in enumerate(texts):
        document.add_heading(f"Section {number}", 2)
        document.add_paragraph(text)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def main() -> int:
    out = Console(width=120)
    missed = tell(reading(Writer(own_sentences(), seed=time.time_ns()), paragraphs=200, times=3), out)
    for name in missed:
        out.print(f"Missed: {name}.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
