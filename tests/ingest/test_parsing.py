"""The nine formats through the real sandbox process: text, elements, sections, tables, boxes, findings."""

import io
from collections.abc import Iterator

import docx
import pikepdf
import pytest

from app.domain.corpus import Attachment, Element, ElementKind, Finding, FindingCode, Parsed
from app.domain.errors import MunimentError, NoText, TooLarge, Unparseable, UnsupportedMedia
from ingest.gate import MediaType
from ingest.sandbox import SandboxedParser
from tests.ingest import samples

Shown = tuple[str, tuple[str, ...], str]


@pytest.fixture(scope="module")
def parser() -> Iterator[SandboxedParser]:
    with SandboxedParser() as parser:
        yield parser


def shown(parsed: Parsed) -> list[Shown]:
    return [(element.kind.value, element.section, element.span.of(parsed.text)) for element in parsed.elements]


ALL = {
    MediaType.PDF: samples.pdf(),
    MediaType.DOCX: samples.word(),
    MediaType.PPTX: samples.slides(),
    MediaType.XLSX: samples.workbook(),
    MediaType.HTML: samples.HTML,
    MediaType.MARKDOWN: samples.MARKDOWN,
    MediaType.TXT: samples.TEXT,
    MediaType.CSV: samples.CSV,
    MediaType.EML: samples.mail(),
}


@pytest.mark.parametrize("media_type", ALL)
def test_spans_are_exact_and_between_them_are_only_line_breaks(parser: SandboxedParser, media_type: MediaType) -> None:
    parsed = parser.parse(ALL[media_type], media_type, "file")
    rest, end = "", 0
    for element in parsed.elements:
        assert element.span.start >= end
        text = element.span.of(parsed.text)
        assert text == text.strip() != ""
        rest += parsed.text[end : element.span.start]
        end = element.span.end
    assert set(rest + parsed.text[end:]) <= {"\n"}
    assert "\r" not in parsed.text
    assert parsed == parser.parse(ALL[media_type], media_type, "file")


def test_pdf_has_sections_by_type_size_whole_tables_and_boxes_from_the_top_left(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.pdf(), MediaType.PDF, "a.pdf")
    assert shown(parsed) == [
        ("title", (), "1 Purpose"),
        ("paragraph", ("1 Purpose",), (samples.SENTENCE * 4).strip()),
        ("title", ("1 Purpose",), "1.1 Scope"),
        ("title", ("1 Purpose", "1.1 Scope"), "Branches"),
        ("paragraph", ("1 Purpose", "1.1 Scope", "Branches"), "This holds for all of them."),
        ("title", (), "2 Retention"),
        ("paragraph", ("2 Retention",), "The table says how long records are kept."),
        (
            "table",
            ("2 Retention",),
            "Record | Years | Legal basis\n"
            "Claims file | 10 | Insurance Act, section 12, and the guidance that the regulator gave\n"
            "Call recording | 1 | Consent of the caller",
        ),
        ("paragraph", ("2 Retention",), "After the table the text goes on."),
        ("other", (), "Meridian Mutual, page 1"),
    ]
    assert parsed.title == "Data sharing policy"
    assert parsed.parser.startswith("pypdfium2 ")
    assert [element.page for element in parsed.elements] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 1]
    assert all(box.page == element.page for element in parsed.elements for box in element.boxes)
    heading, foot = parsed.elements[0].boxes[0], parsed.elements[-1].boxes[0]
    assert 70 < heading.x0 < 80
    assert 70 < heading.y0 < heading.y1 < 105
    assert foot.y0 > 740


def test_docx_has_sections_by_heading_style_tables_by_row_and_running_feet_last(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.word(), MediaType.DOCX, "a.docx")
    assert shown(parsed) == [
        ("title", (), "Intake"),
        ("paragraph", ("Intake",), "Take the claim."),
        ("list-item", ("Intake",), "Ask for the date"),
        ("title", ("Intake",), "Deadlines"),
        (
            "table",
            ("Intake", "Deadlines"),
            "Step | Days | Owner\nAcknowledge | 2 | Claims desk\nDecide | 30 | Adjuster",
        ),
        ("title", (), "Fraud"),
        ("title", ("Fraud",), "Signs of fraud"),
        ("paragraph", ("Fraud", "Signs of fraud"), "Tell the unit."),
        ("other", (), "For staff only"),
    ]
    assert parsed.title == "Claims handbook"
    assert parsed.parser.startswith("unstructured ")


def test_docx_cells_over_several_rows_stand_in_each(parser: SandboxedParser) -> None:
    document = docx.Document()
    table = document.add_table(rows=2, cols=3)
    for at, words in enumerate(("EU", "DE", "1", "", "FR", "2")):
        table.cell(at // 3, at % 3).text = words
    table.cell(0, 0).merge(table.cell(1, 0))
    out = io.BytesIO()
    document.save(out)
    assert shown(parser.parse(out.getvalue(), MediaType.DOCX, "a.docx")) == [("table", (), "EU | DE | 1\nEU | FR | 2")]


def test_docx_footnotes_and_text_boxes_are_read(parser: SandboxedParser) -> None:
    word = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    note = '<w:footnote w:id="2"><w:p><w:r><w:t>See the Act.</w:t></w:r></w:p></w:footnote>'
    separator = '<w:footnote w:id="0" w:type="separator"><w:p><w:r><w:t>---</w:t></w:r></w:p></w:footnote>'
    notes = f"<w:footnotes {word}>{separator}{note}</w:footnotes>"
    document = samples.repacked(samples.word(), {"word/footnotes.xml": notes.encode()})
    assert shown(parser.parse(document, MediaType.DOCX, "a.docx"))[-1] == ("other", (), "[1] See the Act.")


def test_pptx_has_a_section_a_slide_notes_and_tables(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.slides(), MediaType.PPTX, "a.pptx")
    assert shown(parsed) == [
        ("title", (), "Decisions"),
        ("paragraph", ("Decisions",), "Approve the budget"),
        ("other", ("Decisions",), "The chair spoke. Nobody objected."),
        ("title", (), "Figures"),
        ("table", ("Figures",), "Branch | Premiums\nEU | 120"),
        ("paragraph", (), "A slide without a title"),
    ]
    assert [element.page for element in parsed.elements] == [1, 1, 1, 2, 2, 3]


def test_xlsx_rows_name_their_columns_and_hidden_sheets_are_told(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.workbook(), MediaType.XLSX, "a.xlsx")
    assert shown(parsed) == [
        ("title", (), "Consents"),
        ("paragraph", ("Consents",), "Register of consents"),
        (
            "table",
            ("Consents",),
            "Client | Country | Given on | Share\n"
            "Client: Client 0; Country: US; Given on: 2026-01-01; Share: 12.5%\n"
            "Client: Client 1; Country: DE; Given on: 2026-01-02; Share: 12.5%\n"
            "Client: Client 2; Country: US; Given on: 2026-01-03; Share: 12.5%",
        ),
    ]
    assert parsed.findings == (Finding(code=FindingCode.HIDDEN_TEXT, detail="The hidden sheet 'Secret' was left out."),)


def test_a_long_table_becomes_several_elements_with_every_row_once(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.workbook(rows=300), MediaType.XLSX, "a.xlsx")
    tables = [element for element in parsed.elements if element.kind is ElementKind.TABLE]
    assert len(tables) > 15
    lines = [line for table in tables for line in table.span.of(parsed.text).split("\n")]
    assert [line.split(";")[0] for line in lines[1:]] == [f"Client: Client {number}" for number in range(300)]


def test_html_keeps_what_a_page_shows_and_drops_scripts(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.HTML, MediaType.HTML, "a.html")
    assert shown(parsed) == [
        ("paragraph", (), "Home"),
        ("title", (), "Access"),
        ("paragraph", ("Access",), "Passwords have 16 characters."),
        ("title", ("Access",), "Keys"),
        ("list-item", ("Access", "Keys"), "Rotate them"),
        ("list-item", ("Access", "Keys"), "often"),
        ("paragraph", ("Access", "Keys"), "Rotation"),
        ("table", ("Access", "Keys"), "Key | Every\nAPI | 90 days"),
        ("paragraph", ("Access", "Keys"), "More"),
        ("paragraph", ("Access", "Keys"), "In a fold"),
        ("paragraph", ("Access", "Keys"), "7"),
        ("paragraph", ("Access", "Keys"), "Write to us"),
    ]
    assert parsed.title == "Security standard"


def test_html_cells_over_several_rows_stand_in_each(parser: SandboxedParser) -> None:
    page = b"<table><tr><td rowspan=2>EU<td>DE<td>1</tr><tr><td>FR<td>2</tr><tr><td colspan=2>All<td>3</tr></table>"
    assert shown(parser.parse(page, MediaType.HTML, "a.html")) == [
        ("table", (), "EU | DE | 1\nEU | FR | 2\nAll |  | 3")
    ]


def test_markdown_stays_as_written_but_for_comments_and_heading_marks(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.MARKDOWN, MediaType.MARKDOWN, "a.md")
    assert shown(parsed) == [
        ("other", (), "title: Travel policy"),
        ("title", (), "Booking"),
        ("paragraph", ("Booking",), "Book *early*, see [the portal](https://example.test/)."),
        ("title", ("Booking",), "Limits"),
        ("table", ("Booking", "Limits"), "Class | Up to\nRail | 300"),
        ("list-item", ("Booking", "Limits"), "- by rail"),
        ("list-item", ("Booking", "Limits"), "- by air"),
        ("other", ("Booking", "Limits"), "```\n# not a heading\n```"),
    ]
    assert parsed.title == "Travel policy"
    assert len(parsed.findings) == 1


def test_plain_text_has_the_headings_that_any_reader_would_see(parser: SandboxedParser) -> None:
    assert shown(parser.parse(samples.TEXT, MediaType.TXT, "a.txt")) == [
        ("title", (), "MEMORANDUM"),
        ("title", ("MEMORANDUM",), "1. Purpose"),
        ("paragraph", ("MEMORANDUM", "1. Purpose"), "This memo says\nwhat to do."),
        ("list-item", ("MEMORANDUM", "1. Purpose"), "- first"),
        ("list-item", ("MEMORANDUM", "1. Purpose"), "- second"),
    ]


def test_numbered_lines_that_follow_each_other_are_a_list(parser: SandboxedParser) -> None:
    kinds = [kind for kind, _, _ in shown(parser.parse(b"1. Bring a badge\n\n2. Sign the list\n", MediaType.TXT, "a"))]
    assert kinds == ["list-item", "list-item"]


def test_csv_is_read_whatever_its_encoding_and_delimiter(parser: SandboxedParser) -> None:
    assert shown(parser.parse(samples.CSV, MediaType.CSV, "a.csv")) == [
        ("table", (), "Name | City | Note\nName: Ana; City: Köln; Note: one, two\nName: Ben; City: Berlin")
    ]


def test_mail_begins_with_its_subject_and_headers_and_hands_its_attachments_on(parser: SandboxedParser) -> None:
    parsed = parser.parse(samples.mail(), MediaType.EML, "a.eml")
    subject = "Claim 17, größer"
    assert shown(parsed) == [
        ("title", (), subject),
        (
            "paragraph",
            (subject,),
            "From: Ana <ana@example.test>\nTo: Ben <ben@example.test>\nDate: Mon, 02 Mar 2026 10:00:00 +0000",
        ),
        ("paragraph", (subject,), "Please look at claim 17."),
        ("table", (subject,), "a | b"),
    ]
    assert parsed.title == subject
    assert parsed.findings == ()
    assert parsed.attachments == (Attachment(name="claim.pdf", media_type=None, content=b"%PDF-"),)


def test_text_is_cleaned_of_what_databases_and_encoders_refuse(parser: SandboxedParser) -> None:
    page = "<p>a&#xD800;b\x01c\u2028d</p>".encode("utf-8", "surrogatepass")
    text = parser.parse(page, MediaType.HTML, "a.html").text
    assert text.encode().decode() == text
    assert not set(text) & {"\x00", "\x01", "\u2028"}


@pytest.mark.parametrize(
    ("content", "media_type", "error", "sentence"),
    [
        (samples.locked_pdf(), MediaType.PDF, Unparseable, "protected by a password"),
        (samples.blank_pdf(), MediaType.PDF, NoText, "hold no text"),
        (samples.pdf()[:400], MediaType.PDF, Unparseable, "damaged or incomplete"),
        (b"<p></p>", MediaType.HTML, NoText, "no text"),
        (b"<table>" + b"<tr><td><table>" * 200 + b"x", MediaType.HTML, Unparseable, "nested deeper than 250"),
        (samples.repacked(samples.word(), {"word/document.xml": b"<w:"}), MediaType.DOCX, Unparseable, "damaged"),
        (samples.repacked(samples.workbook(), {"xl/workbook.xml": b"?"}), MediaType.XLSX, Unparseable, "damaged"),
        (b"1. x\n\n" * 100_001, MediaType.TXT, TooLarge, "more than 100,000 pieces"),
        (
            b"From: a\nSubject: s\nContent-Type: application/pkcs7-mime\n\nMII",
            MediaType.EML,
            Unparseable,
            "encrypted",
        ),
        (b"{}", "application/x-other", UnsupportedMedia, "application/x-other"),
    ],
)
def test_what_cannot_be_read_says_why(
    parser: SandboxedParser, content: bytes, media_type: str, error: type[MunimentError], sentence: str
) -> None:
    with pytest.raises(MunimentError) as refusal:
        parser.parse(content, media_type, "file")
    assert type(refusal.value) is error
    assert sentence in refusal.value.detail


def test_a_file_of_the_machine_cannot_be_read_into_a_document(parser: SandboxedParser) -> None:
    entity = b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    body = b"<w:body><w:p><w:r><w:t>before &x; after</w:t></w:r></w:p></w:body></w:document>"
    root = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    document = samples.repacked(samples.word(), {"word/document.xml": entity + root + body})
    try:
        text = parser.parse(document, MediaType.DOCX, "a.docx").text
    except Unparseable:
        text = ""
    assert "root:" not in text


def test_elements_of_a_page_on_its_side_have_boxes_as_shown(parser: SandboxedParser) -> None:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(samples.pdf())) as document:
        document.pages[0].rotate(90, relative=True)
        document.save(out)
    upright: Element = parser.parse(samples.pdf(), MediaType.PDF, "a.pdf").elements[0]
    turned: Element = parser.parse(out.getvalue(), MediaType.PDF, "a.pdf").elements[0]
    height = 841.89
    (before,), (after,) = upright.boxes, turned.boxes
    assert after.y0 == pytest.approx(before.x0, abs=0.5)
    assert after.x1 == pytest.approx(height - before.y0, abs=0.5)
