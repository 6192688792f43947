"""Small files in every format, made on the spot, and the awkward ones that a gate or a parser must survive."""

import datetime as dt
import io
import zipfile
from collections.abc import Mapping
from email.message import EmailMessage

import docx
import openpyxl
import pikepdf
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from pptx.util import Inches
from reportlab.lib import colors
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

SENTENCE = "The insurer may share a customer dataset with a partner only when the partner has signed the agreement. "


def pdf() -> bytes:
    """Two pages: headings by weight and by size alone, prose, a table whose cells wrap, a running foot."""
    style = getSampleStyleSheet()
    style.add(ParagraphStyle("Large", parent=style["BodyText"], fontSize=18, leading=22))

    def text(words: str, name: str = "BodyText") -> Paragraph:
        return Paragraph(words, style[name])

    def foot(canvas: object, document: object) -> None:
        canvas.drawString(72, 30, f"Meridian Mutual, page {document.page}")  # type: ignore[attr-defined]

    table = Table(
        [
            ["Record", "Years", "Legal basis"],
            [
                text("Claims file"),
                text("10"),
                text("Insurance Act, section 12, and the guidance that the regulator gave"),
            ],
            [text("Call recording"), text("1"), text("Consent of the caller")],
        ],
        colWidths=[100, 60, 160],
        style=[("GRID", (0, 0), (-1, -1), 0.5, colors.black)],
    )
    story = [
        text("1 Purpose", "Heading1"),
        text(SENTENCE * 4),
        text("1.1 Scope", "Heading2"),
        text("<b>Branches</b>"),
        text("This holds for all of them."),
        PageBreak(),
        text("2 Retention", "Large"),
        text("The table says how long records are kept."),
        Spacer(1, 12),
        table,
        text("After the table the text goes on."),
    ]
    out = io.BytesIO()
    SimpleDocTemplate(out, title="Data sharing policy").build(story, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def blank_pdf() -> bytes:
    out = io.BytesIO()
    document = pikepdf.new()
    document.add_blank_page()
    document.save(out)
    return out.getvalue()


def locked_pdf() -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf())) as document:
        document.save(out, encryption=pikepdf.Encryption(owner="owner", user="user"))
    return out.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.core_properties.title = "Claims handbook"
    document.sections[0].footer.paragraphs[0].text = "For staff only"
    document.add_heading("Intake", 1)
    document.add_paragraph("Take the claim.")
    document.add_paragraph("Ask for the date", style="List Bullet")
    document.add_heading("Deadlines", 2)
    table = document.add_table(rows=0, cols=3)
    for row in (("Step", "Days", "Owner"), ("Acknowledge", "2", "Claims desk"), ("Decide", "30", "Adjuster")):
        for cell, words in zip(table.add_row().cells, row, strict=True):
            cell.text = words
    document.add_heading("Fraud", 1)
    document.add_paragraph().add_run("Signs of fraud").bold = True
    document.add_paragraph("Tell the unit.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def slides() -> bytes:
    deck = Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Decisions"
    first.placeholders[1].text_frame.text = "Approve the budget"
    first.notes_slide.notes_text_frame.text = "The chair spoke. Nobody objected."
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Figures"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for at, words in enumerate(("Branch", "Premiums", "EU", "120")):
        table.cell(at // 2, at % 2).text = words
    third = deck.slides.add_slide(deck.slide_layouts[6])
    third.shapes.add_textbox(Inches(1), Inches(1), Inches(3), Inches(1)).text_frame.text = "A slide without a title"
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def workbook(rows: int = 3) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Consents"
    sheet.append(["Register of consents"])
    sheet.append([])
    sheet.append(["Client", "Country", "Given on", "Share"])
    for number in range(rows):
        sheet.append([f"Client {number}", "DE" if number % 2 else "US", dt.date(2026, 1, 1 + number % 28), 0.125])
        sheet.cell(row=sheet.max_row, column=4).number_format = "0.0%"
    book.create_sheet("Secret").sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


RTF = b"{\\rtf1\\ansi Premiums are due in March.\\par}"


def opendocument() -> bytes:
    body = (
        '<text:h text:outline-level="1">Intake</text:h><text:p>Take<text:s/>the claim.</text:p>'
        "<text:list><text:list-item><text:p>Ask for the date</text:p></text:list-item></text:list>"
        '<text:h text:outline-level="2">Deadlines</text:h><table:table><table:table-row>'
        "<table:table-cell><text:p>Step</text:p></table:table-cell><table:table-cell><text:p>Days</text:p>"
        "</table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>Decide</text:p>"
        "</table:table-cell><table:table-cell><text:p>30</text:p></table:table-cell></table:table-row></table:table>"
    )
    names = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{short}:1.0"' for short in ("office", "text", "table")
    )
    inner = f"<office:body><office:text>{body}</office:text></office:body>"
    content = f"<office:document-content {names}>{inner}</office:document-content>"
    return _typed("application/vnd.oasis.opendocument.text", {"content.xml": content.encode()})


def book() -> bytes:
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="in/book.opf"/></rootfiles></container>'
    )
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<metadata><dc:title>Handbook</dc:title></metadata><manifest>"
        '<item id="b" href="two.xhtml"/><item id="a" href="one.xhtml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="gone"/></spine></package>'
    )
    return _typed(
        "application/epub+zip",
        {
            "META-INF/container.xml": container.encode(),
            "in/book.opf": opf.encode(),
            "in/one.xhtml": b"<html><body><h1>One</h1><p>First words.</p></body></html>",
            "in/two.xhtml": b"<html><body><h1>Two</h1><p>Last words.</p></body></html>",
        },
    )


def _typed(media_type: str, parts: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", media_type)
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def picture(words: str, *, kind: str = "PNG") -> bytes:
    """Black words on white, as large as a scan has them."""
    drawn = Image.new("L", (1000, 60 + 80 * (words.count("\n") + 1)), 255)
    ImageDraw.Draw(drawn).multiline_text((40, 30), words, fill=0, font=ImageFont.load_default(44), spacing=30)
    out = io.BytesIO()
    drawn.save(out, kind, dpi=(144, 144))
    return out.getvalue()


def scan(*pages: str) -> bytes:
    """A PDF whose pages are pictures."""
    drawn = [Image.open(io.BytesIO(picture(words))) for words in pages]
    out = io.BytesIO()
    drawn[0].save(out, "PDF", save_all=True, append_images=drawn[1:], resolution=144)
    return out.getvalue()


HTML = b"""<!doctype html><html><head><title>Security standard</title><script>alert("script")</script></head><body>
<nav>Home</nav><main><h1>Access</h1><p>Passwords have <b>16</b> characters.</p>
<h2>Keys</h2><ul><li>Rotate them<ul><li>often</li></ul></li></ul>
<table><caption>Rotation</caption><tr><th>Key</th><th>Every</th></tr><tr><td>API</td><td>90 days</td></tr></table>
<details><summary>More</summary>In a fold</details><p>7</p></main><footer>Write to us</footer></body></html>"""

MARKDOWN = b"""---
title: Travel policy
---
# Booking

Book *early*, see [the portal](https://example.test/).

<!-- ask legal -->

## Limits

| Class | Up to |
|---|---|
| Rail | 300 |

- by rail
- by air

```
# not a heading
```
"""

TEXT = b"MEMORANDUM\r\n\r\n1. Purpose\r\n\r\nThis memo says\r\nwhat to do.\r\n\r\n- first\r\n- second\r\n"

CSV = "Name;City;Note\nAna;Köln;one, two\nBen;Berlin;\n".encode("cp1252")


def mail() -> bytes:
    message = EmailMessage()
    message["Subject"] = "Claim 17, größer"
    message["From"] = "Ana <ana@example.test>"
    message["To"] = "Ben <ben@example.test>"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    message.set_content("Plain words.")
    message.add_alternative("<p>Please look at <b>claim 17</b>.</p><table><tr><td>a<td>b</table>", subtype="html")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="../claim.pdf")
    return bytes(message)


def zipped(parts: Mapping[str, bytes], *, stored: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def repacked(original: bytes, changed: Mapping[str, bytes]) -> bytes:
    """An Office file with some of its parts replaced or added."""
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        return zipped({name: archive.read(name) for name in archive.namelist()} | dict(changed))


def slow_html(paragraphs: int = 35_000) -> bytes:
    """Takes unstructured seconds: nothing in it is out of the ordinary but how much there is."""
    return b"<html>" + b"<p>a paragraph of a few words</p>" * paragraphs
