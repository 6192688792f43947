"""Tesseract and LibreOffice: what is read through them where they are, and what is said where they are not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.corpus import FindingCode
from app.domain.errors import MunimentError, NeedsOcr, NoText, Unparseable, UnsupportedMedia
from ingest.confinement import Limits
from ingest.gate import MediaType
from ingest.sandbox import SandboxedParser
from tests.ingest import samples

WORDS = "Premiums are due\nin March of each year."
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
TESSERACT = shutil.which("tesseract")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxedParser]:
    """A parser on a machine without either."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with SandboxedParser() as parser:
        yield parser


@pytest.fixture(scope="module")
def parser() -> Iterator[SandboxedParser]:
    with SandboxedParser() as parser:
        yield parser


def test_without_tesseract_pictures_and_scans_are_refused_with_what_to_install(alone: SandboxedParser) -> None:
    for content, media_type in (
        (samples.picture(WORDS), MediaType.PNG),
        (samples.picture(WORDS, kind="TIFF"), MediaType.TIFF),
        (samples.scan(WORDS), MediaType.PDF),
    ):
        with pytest.raises(NeedsOcr, match="Install it"):
            alone.parse(content, media_type, "a")


def test_without_libreoffice_old_formats_are_refused_with_what_to_install(alone: SandboxedParser) -> None:
    for content, media_type in ((OLE, MediaType.DOC), (OLE, MediaType.PPT), (samples.RTF, MediaType.RTF)):
        with pytest.raises(UnsupportedMedia, match=r"LibreOffice.* Install it .*, or save it as (DOCX|PPTX)"):
            alone.parse(content, media_type, "a")


def read(parser: SandboxedParser, content: bytes, media_type: MediaType) -> tuple[str, list[FindingCode]]:
    """What came of a file: its text and codes, or the kind of its refusal."""
    try:
        parsed = parser.parse(content, media_type, "a")
    except MunimentError as error:
        return error.kind, []
    assert all(element.boxes for element in parsed.elements)
    assert {box.page for element in parsed.elements for box in element.boxes} == {e.page for e in parsed.elements}
    return parsed.text, [each.code for each in parsed.findings]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_a_picture_is_read_as_far_as_tesseract_is_there(parser: SandboxedParser, kind: str) -> None:
    expected = ("Premiums are due in March of each year.", [FindingCode.OCR]) if TESSERACT else ("needs-ocr", [])
    assert read(parser, samples.picture(WORDS, kind=kind), MediaType(f"image/{kind.lower()}")) == expected


def test_a_scan_is_read_page_by_page_with_boxes_and_confidence(parser: SandboxedParser) -> None:
    text, codes = read(parser, samples.scan("First page", "Second page"), MediaType.PDF)
    assert (text, codes) == (("First page\n\nSecond page", [FindingCode.OCR]) if TESSERACT else ("needs-ocr", []))
    if TESSERACT:
        parsed = parser.parse(samples.scan("First page", "Second page"), MediaType.PDF, "a")
        assert [element.page for element in parsed.elements] == [1, 2]
        (box,) = parsed.elements[0].boxes
        assert 15 < box.x0 < 30
        assert 10 < box.y0 < box.y1 < 50
        assert "mean confidence of 9" in parsed.findings[0].detail


def test_a_picture_without_words_or_cut_short_is_refused_for_that(parser: SandboxedParser) -> None:
    for content, otherwise in ((samples.picture(" "), NoText), (samples.picture(WORDS)[:300], Unparseable)):
        with pytest.raises(otherwise if TESSERACT else NeedsOcr):
            parser.parse(content, MediaType.PNG, "a")


def test_reading_pictures_ends_with_the_time_that_a_file_has() -> None:
    long = samples.picture("\n".join([WORDS] * 40))
    with SandboxedParser(limits=Limits(wall_s=5.1)) as hurried, pytest.raises(MunimentError) as refusal:
        hurried.parse(long, MediaType.PNG, "a")
    assert refusal.value.kind == ("unparseable-document" if TESSERACT else "needs-ocr")
