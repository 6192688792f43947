"""The gate: what is let through as what, and that every refusal says why."""

import contextlib
import zipfile
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import MunimentError, NeedsOcr, NoText, TooLarge, Unparseable, UnsupportedMedia
from ingest import gate
from ingest.gate import MediaType, admitted, decoded, html_depth
from tests.ingest import samples

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600


@pytest.mark.parametrize(
    ("content", "filename", "media_type"),
    [
        (samples.pdf(), "a.pdf", MediaType.PDF),
        (samples.word(), "a.docx", MediaType.DOCX),
        (samples.slides(), "a.PPTX", MediaType.PPTX),
        (samples.workbook(), "a.xlsx", MediaType.XLSX),
        (samples.HTML, "a.html", MediaType.HTML),
        (samples.MARKDOWN, "a.md", MediaType.MARKDOWN),
        (samples.TEXT, "a.txt", MediaType.TXT),
        (samples.CSV, "a.csv", MediaType.CSV),
        (samples.mail(), "a.eml", MediaType.EML),
        (samples.opendocument(), "a.odt", MediaType.ODT),
        (samples.book(), "a.epub", MediaType.EPUB),
        (samples.picture("Words"), "a.png", MediaType.PNG),
        (samples.picture("Words", kind="JPEG"), "a.jpg", MediaType.JPEG),
        (samples.picture("Words", kind="TIFF"), "a.tif", MediaType.TIFF),
        (samples.picture("Words", kind="BMP"), "a.bmp", MediaType.BMP),
        (samples.picture("Words", kind="WEBP"), "a.webp", MediaType.WEBP),
        (samples.picture("Words", kind="GIF"), "a.gif", MediaType.GIF),
        (samples.RTF, "a.rtf", MediaType.RTF),
        (OLE + "WordDocument".encode("utf-16-le"), "a.doc", MediaType.DOC),
        (OLE + "PowerPoint Document".encode("utf-16-le"), "a.ppt", MediaType.PPT),
        (OLE + "Workbook".encode("utf-16-le"), "a.xls", MediaType.XLS),
        (b"<?xml version='1.0'?><a>b</a>", "a.xml", MediaType.XML),
        (b'{"a": 1}', "a.json", MediaType.JSON),
        (b'{"a": 1}\n', "a.ndjson", MediaType.JSONL),
        (b"Head\n====\n", "a.rst", MediaType.RST),
        (b"* Head\n", "a.org", MediaType.ORG),
    ],
)
def test_each_format_is_admitted_by_name_and_by_declaration(
    content: bytes, filename: str, media_type: MediaType
) -> None:
    assert admitted(content, declared=None, filename=filename) is media_type
    assert admitted(content, declared=f"{media_type}; charset=utf-8", filename="upload") is media_type
    assert admitted(content, declared="application/octet-stream", filename=filename) is media_type


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (samples.pdf(), MediaType.PDF),
        (samples.workbook(), MediaType.XLSX),
        (samples.HTML, MediaType.HTML),
        (samples.mail(), MediaType.EML),
        (b"just words", MediaType.TXT),
        (samples.mail().decode().encode("utf-16"), MediaType.EML),
        ("just wörds".encode("utf-16-le"), MediaType.TXT),
    ],
)
def test_a_file_without_name_or_declaration_is_known_by_its_bytes(content: bytes, media_type: MediaType) -> None:
    assert admitted(content, declared=None, filename="upload") is media_type


def test_a_name_that_is_more_exact_than_plain_text_decides() -> None:
    assert admitted(b"# Head", declared="text/plain", filename="a.md") is MediaType.MARKDOWN
    assert admitted(b"# Head", declared="text/markdown", filename="a.txt") is MediaType.MARKDOWN


def test_a_new_format_under_its_elders_name_is_taken_for_what_it_is() -> None:
    assert admitted(samples.word(), declared=None, filename="a.doc") is MediaType.DOCX
    assert admitted(samples.workbook(), declared="application/vnd.ms-excel", filename="a") is MediaType.XLSX
    assert admitted(samples.picture("Words"), declared="image/jpeg", filename="a.jpg") is MediaType.PNG


def test_the_end_of_a_date_is_no_extension() -> None:
    assert admitted(b"words", declared=None, filename="minutes of 12.03.2026") is MediaType.TXT


REFUSALS = [
    (b"", None, "a.txt", NoText, "The file is empty"),
    (b" \r\n\t ", None, "a.pdf", NoText, "The file is empty"),
    ("\ufeff \u200b\n".encode(), None, "a.md", NoText, "nothing but spaces"),
    (b"x" * 20_000_001, None, "a.pdf", TooLarge, "larger than 20 MB"),
    (b"x" * 20_000_001, None, "a.txt", TooLarge, "larger than 20 MB"),
    (samples.pdf(), None, "a.docx", UnsupportedMedia, 'named ".docx" but looks like a PDF'),
    (samples.pdf(), "text/html", "a", UnsupportedMedia, "declared as text/html but looks like a PDF"),
    (samples.word(), None, "a.xlsx", UnsupportedMedia, 'named ".xlsx" but looks like a Word document'),
    (b"only words", None, "a.pdf", UnsupportedMedia, 'named ".pdf" but looks like plain text'),
    (b"\x89PNG\r\n\x1a\n", None, "a.txt", UnsupportedMedia, 'named ".txt" but looks like a PNG image'),
    (b"\x00\x00\x00\x18ftypheic....", None, "a.heic", NeedsOcr, "Save it as PNG or JPEG"),
    (b"\x00\x00\x00\x18ftypmp42....", None, "a", UnsupportedMedia, "a film or a sound"),
    (b"words", None, "a.png", UnsupportedMedia, 'named ".png" but looks like plain text'),
    (b"MIME-Version: 1.0\n\nsigned", None, "a.p7s", UnsupportedMedia, "'.p7s' are not read here"),
    (b"package main", None, "a.go", UnsupportedMedia, "'.go' are not read here"),
    (b"a: 1", "application/yaml", "a", UnsupportedMedia, "'application/yaml' are not read here"),
    (OLE + "__properties_version1.0".encode("utf-16-le"), None, "a.msg", UnsupportedMedia, "save it as EML"),
    (OLE + "EncryptedPackage".encode("utf-16-le"), None, "a.docx", Unparseable, "protected by a password"),
    (samples.word()[:9000], None, "a.docx", Unparseable, "damaged or incomplete"),
    (samples.word()[:200] + samples.word()[-22:], None, "a.docx", Unparseable, "damaged or incomplete"),
    (samples.zipped({"a.txt": b"x"}), None, "a.zip", UnsupportedMedia, "a ZIP archive"),
    (samples.zipped({"a.txt": b"x"}), None, "a.docx", UnsupportedMedia, 'named ".docx" but looks like a ZIP archive'),
    (samples.repacked(samples.word(), {"word/x.zip": b"PK"}), None, "a.docx", Unparseable, "another archive inside"),
    (
        samples.zipped({"[Content_Types].xml": b"", "word/x.bin": samples.zipped({"y": b"z"})}, stored=True),
        None,
        "a.docx",
        Unparseable,
        "another archive inside",
    ),
    (samples.repacked(samples.word(), {"word/bomb.xml": b"0" * 30_000_000}), None, "a.docx", Unparseable, "bomb"),
    (samples.repacked(samples.word(), {"word/b.xml": b"0" * 201_000_000}), None, "a.docx", Unparseable, "200 MB"),
    (
        samples.zipped({"[Content_Types].xml": b"", **{f"word/{number}": b"" for number in range(10_001)}}),
        None,
        "a.docx",
        Unparseable,
        "more than 10,000 parts",
    ),
    (b"a\x00b", None, "a.txt", Unparseable, "null bytes"),
    (b"a,b\x00", None, "a.csv", Unparseable, "null bytes"),
    (b"<p>\x00", None, "a.html", Unparseable, "null bytes"),
    (b"From: a\nSubject: b\n\n\x00", None, "a.eml", Unparseable, "null bytes"),
    (b"words \xc3\x28 \xf0\x28\x8c\x28", None, "a.txt", Unparseable, "Save it as UTF-8"),
    (b"\xff\xfe\xfd", None, "a.md", Unparseable, "Save it as UTF-8"),
    (bytes(range(128, 256)) * 9, None, "a.csv", Unparseable, "Save it as UTF-8"),
    (b"<div>" * 251, None, "a.html", Unparseable, "deeper than 250 levels"),
    (
        b"From: a\nContent-Type: multipart/mixed; boundary=B\n\n" + b"--B\nContent-Type: text/plain\n\nx\n" * 20_000,
        None,
        "a.eml",
        Unparseable,
        "more than 500 parts",
    ),
    (b"no header here", None, "a.eml", UnsupportedMedia, "does not begin with an e-mail's header lines"),
    (
        b"From: a\nContent-Type: multipart/mixed; boundary=B\n\n" + b"--B\nContent-Type: text/plain\n\nx\n" * 501,
        None,
        "a.eml",
        Unparseable,
        "more than 500 parts",
    ),
    (
        b"From: a\nContent-Type: multipart/mixed; boundary=B\n\n" + b"--B\n\nx\n" * 501,
        None,
        "a.eml",
        Unparseable,
        "more than 500 parts",
    ),
    (
        b"From: a\n"
        + b"".join(
            b"Content-Type: multipart/mixed; boundary=B%d\n\n--B%d\n" % (number, number) for number in range(11)
        ),
        None,
        "a.eml",
        Unparseable,
        "deeper than 10 levels",
    ),
]


@pytest.mark.parametrize(
    ("content", "declared", "filename", "error", "sentence"),
    REFUSALS,
    ids=[f"{at}-{row[2]}-{row[4][:24]}" for at, row in enumerate(REFUSALS)],
)
def test_what_is_refused_is_refused_with_its_reason(
    content: bytes, declared: str | None, filename: str, error: type[MunimentError], sentence: str
) -> None:
    with pytest.raises(MunimentError) as refusal:
        admitted(content, declared=declared, filename=filename)
    assert type(refusal.value) is error
    assert sentence in refusal.value.detail
    assert refusal.value.detail.endswith((".", "read.", "here."))


def test_an_encrypted_archive_is_refused() -> None:
    content = bytearray(samples.word())
    with zipfile.ZipFile(BytesIO(bytes(content))) as archive:
        assert archive.infolist()[0].flag_bits & 1 == 0
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    with pytest.raises(Unparseable, match="protected by a password"):
        admitted(bytes(content), declared=None, filename="a.docx")


def test_embedded_workbooks_of_charts_are_no_nested_archives() -> None:
    deck = samples.repacked(samples.slides(), {"ppt/embeddings/sheet1.xlsx": samples.workbook()})
    assert admitted(deck, declared=None, filename="a.pptx") is MediaType.PPTX


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1", "cp1252"],
)
def test_western_text_is_decoded_from_each_usual_encoding(encoding: str) -> None:
    text = "Größe: 5 kg, naïve façade, §12, können äöüß"
    text += "" if encoding == "latin-1" else " – 5 €, “œuvre”"
    assert decoded(text.encode(encoding)) == text


def test_html_is_decoded_as_it_declares() -> None:
    page = '<html><head><meta charset="shift_jis"></head><p>鋼板の規格</p>'
    assert decoded(page.encode("shift_jis")) == page


@given(st.binary(max_size=400))
def test_any_bytes_under_any_name_are_admitted_or_refused_in_words(content: bytes) -> None:
    for suffix in ("", ".pdf", ".docx", ".html", ".md", ".txt", ".csv", ".eml"):
        with contextlib.suppress(Unparseable, UnsupportedMedia, TooLarge):
            assert admitted(content, declared=None, filename=f"file{suffix}") in MediaType


def test_tags_that_never_end_are_counted_in_one_pass() -> None:
    assert html_depth("<a" * 200_000) == 0
    assert html_depth("<" + "a" * 200_000) == 0
    assert html_depth("<div>" * 3 + "<br><p>x<p>y<li>" + "</div>" * 3) == 3


def test_an_archive_is_never_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: object) -> None:
        raise AssertionError("unpacked")

    document = samples.word()
    monkeypatch.setattr(zipfile.ZipFile, "open", unpack)
    assert admitted(document, declared=None, filename="a.docx") is gate.MediaType.DOCX
