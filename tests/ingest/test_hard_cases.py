"""Files that are known to hang, crash or empty readers: each is read or refused, in time, and says why."""

import io
import re
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import docx
import pytest
from pptx import Presentation
from reportlab.pdfgen.canvas import Canvas

from app.domain.corpus import FindingCode, Parsed
from app.domain.errors import NeedsOcr, NoText, Unparseable, UnsupportedMedia
from ingest.confinement import Limits
from ingest.gate import admitted
from ingest.sandbox import SandboxedParser
from tests.ingest import samples


@pytest.fixture(scope="module")
def parser() -> Iterator[SandboxedParser]:
    with SandboxedParser(limits=Limits(wall_s=60)) as parser:
        yield parser


def taken(parser: SandboxedParser, content: bytes, filename: str) -> Parsed:
    """Through the gate and the sandbox, as the pipeline does."""
    return parser.parse(content, admitted(content, declared=None, filename=filename), filename)


def shown(parsed: Parsed) -> list[tuple[str, tuple[str, ...], str]]:
    return [(element.kind.value, element.section, element.span.of(parsed.text)) for element in parsed.elements]


def codes(parsed: Parsed) -> list[FindingCode]:
    return [each.code for each in parsed.findings]


# -- bombs and floods ----------------------------------------------------------------------------------------------


def test_a_workbook_that_unpacks_to_very_much_is_refused_before_it_is_unpacked() -> None:
    bomb = samples.repacked(samples.workbook(), {"xl/worksheets/sheet1.xml": b"<c/>" * 12_000_000})
    with pytest.raises(Unparseable, match="archive bomb"):
        admitted(bomb, declared=None, filename="a.xlsx")


def test_a_workbook_with_a_million_cells_in_the_wrong_place_is_read_in_time(parser: SandboxedParser) -> None:
    book = samples.workbook()
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml")
    far = b'<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>far</t></is></c></row></sheetData>'
    spread = samples.repacked(book, {"xl/worksheets/sheet1.xml": sheet.replace(b"</sheetData>", far)})
    assert "Client 0" in taken(parser, spread, "a.xlsx").text


def flooded(operators: int, *, text: bool) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out)
    for number in range(operators):
        if text:
            canvas.drawString(number % 500, number % 700, "w")
        else:
            canvas.line(number % 500, number % 700, (7 * number) % 500, (3 * number) % 700)
    canvas.drawString(72, 720, "The end.")
    canvas.save()
    return out.getvalue()


def test_a_pdf_of_60_000_drawing_operators_is_read(parser: SandboxedParser) -> None:
    assert taken(parser, flooded(60_000, text=False), "a.pdf").text == "The end."


def test_a_pdf_of_10_000_pieces_of_text_is_read(parser: SandboxedParser) -> None:
    assert "The end." in taken(parser, flooded(10_000, text=True), "a.pdf").text


@pytest.mark.parametrize(
    "text", ["[" * 300_000, "[x](" * 100_000, "`" * 300_000, "> " * 100_000, "|-" * 100_000, "*a _b " * 50_000]
)
def test_markdown_made_to_make_parsers_go_back_and_forth_is_read(parser: SandboxedParser, text: str) -> None:
    assert len(taken(parser, text.encode(), "a.md").text) >= len(text) - 2


@pytest.mark.parametrize(
    ("text", "filename", "title"),
    [
        ("#+title: Heron{blanks}\n* In the pond{blanks}:birds:\n\nIt stands there.\n", "a.org", "Heron"),
        ("* Heron{blanks}pond\n\nIt stands there.\n", "a.org", "Heron pond"),
        ("---\ntitle: 'Heron'{blanks}\n---\nIt stands in the pond.\n", "a.md", "Heron"),
        ("---\ntitle: Heron{blanks}pond\n---\nIt stands there.\n", "a.md", "Heron pond"),
    ],
)
def test_titles_with_many_blanks_are_read(parser: SandboxedParser, text: str, filename: str, title: str) -> None:
    parsed = taken(parser, text.format(blanks=" " * 500_000).encode(), filename)
    assert " ".join((parsed.title or "").split()) == title
    assert ":birds:" not in parsed.text


def test_html_that_nests_deeper_than_is_read_is_refused_not_cut(parser: SandboxedParser) -> None:
    with pytest.raises(Unparseable, match="deeper than 250 levels"):
        taken(parser, b"<div>" * 300 + b"lost", "a.html")
    assert taken(parser, b"<div>" * 200 + b"kept", "a.html").text == "kept"


def test_a_csv_of_many_megabytes_is_read_as_far_as_cells_go(parser: SandboxedParser) -> None:
    rows = b"Name,City,Amount\n" + b"".join(b"%d,Berlin,%d\n" % (number, number) for number in range(360_000))
    parsed = taken(parser, rows, "a.csv")
    assert codes(parsed) == [FindingCode.PARTIAL]
    assert "Name: 300000; City: Berlin; Amount: 300000" in parsed.text


def test_text_of_20_megabytes_is_read_whole(parser: SandboxedParser) -> None:
    text = "A paragraph of a few words that says little.\n\n" * 99_000 * 4
    content = text[:19_900_000].replace("\n\n", "\n", 300_000).encode()
    assert len(taken(parser, content, "a.txt").text) > 0.99 * len(content)


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "a.json"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "a.json"),
        (b"<a>" * 100_000 + b"</a>" * 100_000, "a.xml"),
        (b'<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><l>&b;&b;<x>', "a.xml"),
        (b'{"a": 1', "a.json"),
        (b'{"a": 1}\n{"a"', "a.jsonl"),
    ],
)
def test_data_that_is_nested_too_deeply_or_broken_is_refused(
    parser: SandboxedParser, content: bytes, filename: str
) -> None:
    with pytest.raises(Unparseable, match=r"(Simplify|Save|Mend) it"):
        taken(parser, content, filename)


def test_entities_of_xml_are_not_resolved(parser: SandboxedParser, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of the machine")
    page = f'<!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]><d><a>before</a><b>&x;</b></d>'
    assert taken(parser, page.encode(), "a.xml").text == "d\n\na: before"


# -- encodings -----------------------------------------------------------------------------------------------------

TABLE = "Name;Ort;Betrag\nJürgen Köhler;Düsseldorf;120 Euro\nZoë Müller;Köln;95 Euro\n"
ROWS = (
    "Name | Ort | Betrag\n"
    "Name: Jürgen Köhler; Ort: Düsseldorf; Betrag: 120 Euro\nName: Zoë Müller; Ort: Köln; Betrag: 95 Euro"
)
ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_csv_is_read_from_each_encoding_with_and_without_its_mark(parser: SandboxedParser, encoding: str) -> None:
    assert taken(parser, TABLE.encode(encoding), "a.csv").text == ROWS


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".eml"])
def test_text_and_mail_are_read_from_each_encoding(parser: SandboxedParser, encoding: str, suffix: str) -> None:
    head = "From: ana@example.test\nSubject: Premiums\n\n" if suffix == ".eml" else ""
    parsed = taken(parser, f"{head}Prämien sind im März fällig, übrigens überall.".encode(encoding), f"a{suffix}")
    assert parsed.text.endswith("Prämien sind im März fällig, übrigens überall.")


# -- names and places ----------------------------------------------------------------------------------------------


def test_names_that_lead_out_of_a_folder_lead_nowhere(parser: SandboxedParser, tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "../../../etc/cron.d/x"
    message["From"] = "a@b.test"
    message.set_content("words")
    for name in ("../../../../tmp/evil.txt", "..\\..\\evil.txt", "/etc/passwd", "..", "a\r\nb\u202e.txt"):
        message.add_attachment(b"words", maintype="text", subtype="plain", filename=name)
    parsed = taken(parser, bytes(message), "a.eml")
    assert [each.name for each in parsed.attachments][:3] == ["evil.txt", "evil.txt", "passwd"]
    assert not any(re.search(r"[/\\\r\n\u202e]", each.name) for each in parsed.attachments)
    outside = samples.repacked(samples.word(), {"../../../../tmp/evil.xml": b"<a/>", "word/../../evil": b""})
    assert "Take the claim." in taken(parser, outside, "../../a.docx").text
    assert not Path("/tmp/evil.xml").exists()
    assert list(Path(parser.hello().folder).iterdir()) == []


def test_a_mail_nested_and_packed_again_and_again_is_refused(parser: SandboxedParser) -> None:
    inner = b"From: a\nSubject: s\n\nwords"
    for number in range(12):
        head = b"From: a\nSubject: s\nContent-Type: multipart/mixed; boundary=B%d\n\n--B%d\n" % (number, number)
        inner = head + b"Content-Type: message/rfc822\n\n" + inner
    with pytest.raises(Unparseable, match="deeper than 10 levels"):
        taken(parser, inner, "a.eml")


# -- what comes out empty elsewhere --------------------------------------------------------------------------------


def strict(content: bytes) -> bytes:
    """An Office file in the strict form: the same in other namespaces."""
    renamed = {
        b"http://schemas.openxmlformats.org/spreadsheetml/2006/": b"http://purl.oclc.org/ooxml/spreadsheetml/",
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/": b"http://purl.oclc.org/ooxml/wordprocessingml/",
        b"http://schemas.openxmlformats.org/officeDocument/2006/": b"http://purl.oclc.org/ooxml/officeDocument/",
    }
    parts = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            parts[name] = archive.read(name)
            for known, other in renamed.items():
                parts[name] = parts[name].replace(known, other)
    return samples.zipped(parts)


def test_strict_office_files_are_read_and_told(parser: SandboxedParser) -> None:
    for content, filename, words in (
        (samples.workbook(), "a.xlsx", "Client: Client 0; Country: US"),
        (samples.word(), "a.docx", "Take the claim."),
    ):
        parsed = taken(parser, strict(content), filename)
        assert words in parsed.text
        assert FindingCode.PARTIAL in codes(parsed)
        assert "strict" in next(each.detail for each in parsed.findings if each.code is FindingCode.PARTIAL)


def test_text_in_shapes_over_a_sheet_is_told_as_not_read(parser: SandboxedParser) -> None:
    drawing = b"<xdr:wsDr><xdr:sp><xdr:txBody><a:p><a:r><a:t>A note</a:t></a:r></a:p></xdr:txBody></xdr:sp></xdr:wsDr>"
    parsed = taken(parser, samples.repacked(samples.workbook(), {"xl/drawings/drawing1.xml": drawing}), "a.xlsx")
    assert any("1 shapes" in each.detail for each in parsed.findings)


def test_a_large_file_with_little_text_is_told(parser: SandboxedParser) -> None:
    parsed = taken(
        parser, samples.repacked(samples.word(), {"word/embeddings/x.bin": bytes(range(256)) * 2000}), "a.docx"
    )
    assert codes(parsed) == []  # it packs small
    noise = bytes((number * 7919 + number // 3) % 251 for number in range(900_000))
    packed = samples.zipped({"word/embeddings/y.bin": noise}, stored=True)
    with (
        zipfile.ZipFile(io.BytesIO(samples.word())) as word,
        zipfile.ZipFile(buffer := io.BytesIO(packed), "a") as both,
    ):
        for name in word.namelist():
            both.writestr(name, word.read(name))
    parsed = taken(parser, buffer.getvalue(), "a.docx")
    assert codes(parsed) == [FindingCode.PARTIAL]
    assert "Little text" in parsed.findings[0].detail


def test_pictures_alone_need_ocr_and_nothing_at_all_is_no_text(parser: SandboxedParser) -> None:
    deck = Presentation()
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_picture(io.BytesIO(samples.picture("Words")), 0, 0)
    out = io.BytesIO()
    deck.save(out)
    with pytest.raises(NeedsOcr, match="only pictures"):
        taken(parser, out.getvalue(), "a.pptx")
    nothing = io.BytesIO()
    docx.Document().save(nothing)
    with pytest.raises(NoText):
        taken(parser, nothing.getvalue(), "a.docx")
    with pytest.raises(NoText, match="can be seen"):
        taken(parser, samples.blank_pdf(), "a.pdf")


@pytest.mark.parametrize("filename", ["a.pdf", "a.docx", "a.xlsx", "a.pptx", "a.odt", "a.epub", "a.png", "a.xls"])
def test_a_file_cut_short_is_refused_or_read_and_never_hangs(parser: SandboxedParser, filename: str) -> None:
    whole = {
        "a.pdf": samples.pdf(),
        "a.docx": samples.word(),
        "a.xlsx": samples.workbook(),
        "a.pptx": samples.slides(),
        "a.odt": samples.opendocument(),
        "a.epub": samples.book(),
        "a.png": samples.picture("Words"),
        "a.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "Workbook".encode("utf-16-le") + bytes(600),
    }[filename]
    for share in (0.3, 0.9):
        with pytest.raises((Unparseable, UnsupportedMedia)) as refusal:
            taken(parser, whole[: int(share * len(whole))], filename)
        assert refusal.value.detail.endswith(".")


# -- formats beside the nine ---------------------------------------------------------------------------------------


def test_opendocument_text_has_sections_lists_and_tables(parser: SandboxedParser) -> None:
    assert shown(taken(parser, samples.opendocument(), "a.odt")) == [
        ("title", (), "Intake"),
        ("paragraph", ("Intake",), "Take the claim."),
        ("list-item", ("Intake",), "Ask for the date"),
        ("title", ("Intake",), "Deadlines"),
        ("table", ("Intake", "Deadlines"), "Step | Days\nDecide | 30"),
    ]


def test_a_book_is_read_page_by_page_in_its_own_order(parser: SandboxedParser) -> None:
    parsed = taken(parser, samples.book(), "a.epub")
    assert parsed.text == "One\n\nFirst words.\n\nTwo\n\nLast words."
    assert parsed.title == "Handbook"
    assert codes(parsed) == [FindingCode.PARTIAL]


def test_data_names_each_value(parser: SandboxedParser) -> None:
    value = b'{"policy": "travel", "limits": {"rail": 300, "air": {"eu": [1, 2]}}, "open": true, "none": null}'
    assert shown(taken(parser, value, "a.json")) == [
        ("paragraph", (), "policy: travel\nopen: true"),
        ("title", (), "limits"),
        ("paragraph", ("limits",), "rail: 300"),
        ("title", ("limits",), "air"),
        ("paragraph", ("limits", "air"), "eu: 1; 2"),
    ]
    assert taken(parser, b'{"a": 1}\n\n{"a": 2}\n', "a.ndjson").text == "a: 1\n\na: 2"
    xml = b"<book><!-- no --><country code='DE'><name>Germany</name><area>357</area></country></book>"
    assert shown(taken(parser, xml, "a.xml")) == [
        ("title", (), "book"),
        ("paragraph", ("book",), "code: DE\nname: Germany\narea: 357"),
    ]


def test_restructured_text_and_org_have_their_own_headings(parser: SandboxedParser) -> None:
    rst = b"=====\nGuide\n=====\n\nFirst.\n\nScope\n-----\n\nAll.\n\nDetail\n~~~~~~\n\nMore.\n\nEnd\n---\n\nDone.\n"
    assert [(section, text) for kind, section, text in shown(taken(parser, rst, "a.rst")) if kind == "paragraph"] == [
        (("Guide",), "First."),
        (("Guide", "Scope"), "All."),
        (("Guide", "Scope", "Detail"), "More."),
        (("Guide", "End"), "Done."),
    ]
    org = b"#+TITLE: Notes\n* One :tag:\ntext\n** Two\nmore\n"
    parsed = taken(parser, org, "a.org")
    assert parsed.title == "Notes"
    assert shown(parsed)[-1] == ("paragraph", ("One", "Two"), "more")
