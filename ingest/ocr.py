"""Pictures to blocks, through Tesseract, where that is installed.

https://tesseract-ocr.github.io/tessdoc/ : its TSV output has a line a word, with block, paragraph, line, box in pixels
and a confidence from 0 to 100.
"""

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageOps, ImageSequence

from app.domain.corpus import Box, ElementKind, Finding, FindingCode
from app.domain.errors import NeedsOcr, TooLarge, Unparseable
from ingest import programs
from ingest.blocks import Block, joined, partial

DOTS_PER_INCH: Final = 200
"""At which pages are drawn for it: https://tesseract-ocr.github.io/tessdoc/ImproveQuality.html wants 300 for print,
and on our fixtures 200 read the same at half the time."""
MAX_PIXELS: Final = 60_000_000
MAX_FRAMES: Final = 50
MIN_WORD_CONFIDENCE: Final = 10.0
"""Below it are specks and lines that were taken for letters."""
DOUBTFUL: Final = 60
"""A mean confidence below this is told as doubtful."""

WITHOUT: Final = (
    "{} to be read off its pictures, and Tesseract is not installed here. Install it (Debian: tesseract-ocr), "
    "or send a document that has its text."
)

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read off one picture."""

    blocks: tuple[Block, ...]
    confidence: float
    """Mean over all characters, 0 to 100."""
    characters: int


def available() -> bool:
    return programs.installed(programs.TESSERACT) is not None


def read_picture(picture: Any, *, page: int, points_per_pixel: float) -> Read:
    """A `PIL.Image` as blocks, paragraph by paragraph. Raises `Unparseable` if Tesseract fails or takes too long."""
    tesseract = programs.installed(programs.TESSERACT)
    if tesseract is None:
        raise NeedsOcr(WITHOUT.format("The document has"))
    name = f"picture-{next(_numbers)}"
    given = Path(f"{name}.png")
    picture.save(given)
    told = programs.run(
        tesseract, [given, name, "-l", _languages(Path(tesseract)), "--psm", "3", "tsv"], what="Tesseract"
    )
    given.unlink()
    if not told:
        raise Unparseable("Tesseract failed on a picture of the document. Save it as PNG or PDF, and send that.")
    output = Path(f"{name}.tsv")
    read = _read(output.read_text(encoding="utf-8", errors="replace"), page=page, scale=points_per_pixel)
    output.unlink()
    return read


def picture_blocks(content: bytes) -> tuple[list[Block], list[Finding]]:
    """A picture file, each of its frames a page. Raises `NeedsOcr`, `Unparseable` or `TooLarge`."""
    if not available():
        raise NeedsOcr(WITHOUT.format("The file is a picture: it has"))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # PIL raises at twice of it
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")) as picture:
            dots = float(picture.info.get("dpi", (72, 72))[0]) or 72.0
            pages = [
                read_picture(_upright(frame), page=number, points_per_pixel=72 / dots if dots >= 50 else 1.0)
                for number, frame in enumerate(itertools.islice(ImageSequence.Iterator(picture), MAX_FRAMES), start=1)
                if programs.time_left_s() > 0
            ]
            frames = int(getattr(picture, "n_frames", 1))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(
            f"The picture has more than {MAX_PIXELS:,} pixels, the most that is read. Scale it down."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Unparseable("The picture is damaged or incomplete: it cannot be opened. Save it anew.") from error
    if not pages:
        raise Unparseable("There was no time left to read the picture. Try again, or scale it down.")
    findings = list(confidence_told(pages))
    if len(pages) < frames:
        findings.append(partial(f"Only the first {len(pages)} of {frames} pictures in the file were read."))
    return [block for page in pages for block in page.blocks], findings


def confidence_told(pages: list[Read]) -> Iterator[Finding]:
    """How sure Tesseract was of all that it read."""
    characters = sum(page.characters for page in pages)
    if not characters:
        return
    mean = sum(page.confidence * page.characters for page in pages) / characters
    doubt = "" if mean >= DOUBTFUL else " Much of it may be wrong."
    where = "1 picture" if len(pages) == 1 else f"{len(pages)} pictures"
    yield Finding(
        code=FindingCode.OCR,
        detail=f"Text was read off {where} by Tesseract, with a mean confidence of {mean:.0f} of 100.{doubt}",
    )


def _upright(frame: Any) -> Any:
    """As it is shown, in grey."""
    return ImageOps.exif_transpose(frame).convert("L")


def _languages(tesseract: Path) -> str:
    """Those that are installed, English first; at most three, as each takes its time."""
    folders = (
        *(Path(each) for each in (programs.data_folder(),) if each),
        *tesseract.resolve().parent.parent.glob("share/tesseract-ocr/*/tessdata"),
        tesseract.resolve().parent.parent / "share/tessdata",
    )
    found = {data.stem for folder in folders if folder.is_dir() for data in folder.glob("*.traineddata")}
    wanted = sorted(found - {"osd", "equ"}, key=lambda name: (name != "eng", name))
    return "+".join(wanted[:3]) or "eng"


def _read(table: str, *, page: int, scale: float) -> Read:
    paragraphs: dict[tuple[str, str], dict[str, list[dict[str, str]]]] = {}
    weighed = 0.0
    characters = 0
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        text, confidence = (row.get("text") or "").strip(), float(row.get("conf") or -1)
        if row["level"] != "5" or not text or confidence < MIN_WORD_CONFIDENCE:
            continue
        weighed += confidence * len(text)
        characters += len(text)
        lines = paragraphs.setdefault((row["block_num"], row["par_num"]), {})
        lines.setdefault(row["line_num"], []).append(row)
    blocks = tuple(_paragraph(lines, page=page, scale=scale) for lines in paragraphs.values())
    return Read(blocks=blocks, confidence=weighed / characters if characters else 0.0, characters=characters)


def _paragraph(lines: dict[str, list[dict[str, str]]], *, page: int, scale: float) -> Block:
    text = joined(" ".join(word["text"].strip() for word in line) for line in lines.values())
    words = [word for line in lines.values() for word in line]
    edges = [
        (
            int(each["left"]),
            int(each["top"]),
            int(each["left"]) + int(each["width"]),
            int(each["top"]) + int(each["height"]),
        )
        for each in words
    ]
    box = Box(
        page=page,
        x0=round(min(edge[0] for edge in edges) * scale, 2),
        y0=round(min(edge[1] for edge in edges) * scale, 2),
        x1=round(max(edge[2] for edge in edges) * scale, 2),
        y1=round(max(edge[3] for edge in edges) * scale, 2),
    )
    return Block(kind=ElementKind.PARAGRAPH, text=text, page=page, boxes=(box,))
