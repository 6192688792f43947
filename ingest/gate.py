"""What is checked of a file before any parser sees it: size, type by its first bytes, and the shapes of bombs.

Nothing is unpacked here: archives are judged by their directory, mail by its boundary lines, HTML by its tags. All of
it is one pass over the bytes, standard library only.
"""

import codecs
import io
import re
import zipfile
from collections.abc import Collection
from enum import StrEnum
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from app.domain.errors import NeedsOcr, NoText, TooLarge, Unparseable, UnsupportedMedia


class MediaType(StrEnum):
    """The formats that are read."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TXT = "text/plain"
    CSV = "text/csv"
    EML = "message/rfc822"
    XML = "application/xml"
    JSON = "application/json"
    JSONL = "application/x-ndjson"
    RST = "text/x-rst"
    ORG = "text/org"
    EPUB = "application/epub+zip"
    ODT = "application/vnd.oasis.opendocument.text"
    XLS = "application/vnd.ms-excel"
    DOC = "application/msword"
    PPT = "application/vnd.ms-powerpoint"
    RTF = "application/rtf"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    BMP = "image/bmp"
    GIF = "image/gif"
    WEBP = "image/webp"


MAX_FILE_BYTES: Final = 20_000_000
MAX_ZIP_ENTRIES: Final = 10_000
MAX_ZIP_DIRECTORY_BYTES: Final = 2_000_000
MAX_UNZIPPED_BYTES: Final = 200_000_000
MAX_ZIP_RATIO: Final = 150
"""Unzipped to zipped, over the whole archive; office files measure 3 to 40."""
RATIO_MATTERS_FROM_BYTES: Final = 10_000_000

MAX_MIME_PARTS: Final = 500
MAX_MIME_DEPTH: Final = 10
MAX_HTML_DEPTH: Final = 250
"""libxml2 stops at 256 and says nothing of the text that comes after."""

FORMATS: Final = (
    "PDF, DOCX, PPTX, XLSX, ODT, EPUB, HTML, Markdown, plain text, CSV, XML, JSON and e-mail (EML), and where the "
    "programs for them are installed DOC, PPT, RTF and pictures,"
)

_NAMES: Final = {
    MediaType.PDF: "a PDF",
    MediaType.DOCX: "a Word document (DOCX)",
    MediaType.PPTX: "a presentation (PPTX)",
    MediaType.XLSX: "a workbook (XLSX)",
    MediaType.HTML: "HTML",
    MediaType.MARKDOWN: "Markdown",
    MediaType.TXT: "plain text",
    MediaType.CSV: "CSV",
    MediaType.EML: "an e-mail (EML)",
    MediaType.XML: "XML",
    MediaType.JSON: "JSON",
    MediaType.JSONL: "JSON lines",
    MediaType.RST: "reStructuredText",
    MediaType.ORG: "an Org file",
    MediaType.EPUB: "a book (EPUB)",
    MediaType.ODT: "an OpenDocument text (ODT)",
    MediaType.XLS: "an old workbook (XLS)",
    MediaType.DOC: "an old Word document (DOC)",
    MediaType.PPT: "an old presentation (PPT)",
    MediaType.RTF: "a rich text file (RTF)",
    MediaType.PNG: "a PNG image",
    MediaType.JPEG: "a JPEG image",
    MediaType.TIFF: "a TIFF image",
    MediaType.BMP: "a BMP image",
    MediaType.GIF: "a GIF image",
    MediaType.WEBP: "a WebP image",
}
_BY_SUFFIX: Final = {
    ".pdf": MediaType.PDF,
    ".docx": MediaType.DOCX,
    ".pptx": MediaType.PPTX,
    ".xlsx": MediaType.XLSX,
    ".html": MediaType.HTML,
    ".htm": MediaType.HTML,
    ".xhtml": MediaType.HTML,
    ".md": MediaType.MARKDOWN,
    ".markdown": MediaType.MARKDOWN,
    ".txt": MediaType.TXT,
    ".text": MediaType.TXT,
    ".csv": MediaType.CSV,
    ".tsv": MediaType.CSV,
    ".eml": MediaType.EML,
    ".xml": MediaType.XML,
    ".json": MediaType.JSON,
    ".jsonl": MediaType.JSONL,
    ".ndjson": MediaType.JSONL,
    ".rst": MediaType.RST,
    ".org": MediaType.ORG,
    ".epub": MediaType.EPUB,
    ".odt": MediaType.ODT,
    ".xls": MediaType.XLS,
    ".doc": MediaType.DOC,
    ".ppt": MediaType.PPT,
    ".rtf": MediaType.RTF,
    ".png": MediaType.PNG,
    ".jpg": MediaType.JPEG,
    ".jpeg": MediaType.JPEG,
    ".tif": MediaType.TIFF,
    ".tiff": MediaType.TIFF,
    ".bmp": MediaType.BMP,
    ".gif": MediaType.GIF,
    ".webp": MediaType.WEBP,
}
_ALIASES: Final = {
    "application/x-pdf": MediaType.PDF,
    "application/xhtml+xml": MediaType.HTML,
    "text/x-markdown": MediaType.MARKDOWN,
    "application/csv": MediaType.CSV,
    "text/tab-separated-values": MediaType.CSV,
    "text/xml": MediaType.XML,
    "application/jsonl": MediaType.JSONL,
    "application/x-jsonlines": MediaType.JSONL,
    "text/rtf": MediaType.RTF,
    "image/jpg": MediaType.JPEG,
    "image/x-ms-bmp": MediaType.BMP,
}
_SAYS_NOTHING: Final = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/zip"})
_SUFFIX_OF_A_FORMAT: Final = re.compile(r"\.[a-z][a-z0-9]{0,9}")
"""And not the end of a name like `minutes of 12.03.2026`."""
_TEXTS: Final = frozenset(
    {
        MediaType.HTML, MediaType.MARKDOWN, MediaType.TXT, MediaType.CSV, MediaType.EML, MediaType.XML, MediaType.JSON,
        MediaType.JSONL, MediaType.RST, MediaType.ORG,
    }
)  # fmt: skip
PICTURES: Final = frozenset(
    {MediaType.PNG, MediaType.JPEG, MediaType.TIFF, MediaType.BMP, MediaType.GIF, MediaType.WEBP}
)
_GENERATIONS: Final = (
    frozenset({MediaType.DOC, MediaType.DOCX, MediaType.RTF}),
    frozenset({MediaType.PPT, MediaType.PPTX}),
    frozenset({MediaType.XLS, MediaType.XLSX}),
    PICTURES,
)
"""Formats that go by each other's names: a program that opens the one opens the other."""

_OTHER_MAGIC: Final = (
    (b"RIFF", "a media file (RIFF)"),
    (b"ID3", "an audio file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
    (b"SQLite format 3\x00", "a database"),
    (b"%!PS", "a PostScript file: save it as PDF"),
)
_READ_MAGIC: Final = (
    (b"{\\rtf", MediaType.RTF),
    (b"\x89PNG\r\n", MediaType.PNG),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"GIF87a", MediaType.GIF),
    (b"GIF89a", MediaType.GIF),
    (b"II*\x00", MediaType.TIFF),
    (b"MM\x00*", MediaType.TIFF),
)
_HEIC_BRANDS: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS: Final = (
    ("WordDocument", MediaType.DOC),
    ("PowerPoint Document", MediaType.PPT),
    ("Workbook", MediaType.XLS),
    ("Book", MediaType.XLS),
)
_MSG_STREAM: Final = "__properties_version1.0"
_OOXML_FOLDERS: Final = (("word/", MediaType.DOCX), ("ppt/", MediaType.PPTX), ("xl/", MediaType.XLSX))
_ARCHIVE_SUFFIXES: Final = (".zip", ".jar", ".7z", ".rar", ".gz", ".tgz", ".tar", ".bz2", ".xz")
_ZIP_START: Final = b"PK\x03\x04"


def admitted(content: bytes, *, declared: str | None, filename: str) -> MediaType:
    """The true media type of a file that may be parsed.

    Its own bytes decide; what it is called and declared as must agree with them. A declared type with parameters is
    read without them, and one that says nothing (`application/octet-stream`) is passed over.
    Raises `TooLarge`, `UnsupportedMedia` or `Unparseable`, each with a sentence for the owner.
    """
    if len(content) > MAX_FILE_BYTES:
        raise TooLarge(f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB, the most that is read: split it.")
    if not content.strip():
        raise NoText("The file is empty: send one that holds something.")
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        raise NeedsOcr(
            "It is a picture (HEIC), which cannot be opened here to read text off it. Save it as PNG or JPEG."
        )
    claims = _claims(declared, filename)
    media_type = _binary_type(content, claims) or _text_type(content, claims, filename)
    _agree(media_type, claims)
    if media_type in _TEXTS:
        _check_text(content, media_type)
    return media_type


def decoded(content: bytes) -> str:
    """The text of a text file: UTF-8, UTF-16, UTF-32, or what HTML declares, else Windows-1252.

    UTF-16 and UTF-32 are known by their byte order mark, or by where their null bytes stand.
    Windows-1252 gives a meaning to nearly every byte, so it is believed only where the result reads like words.
    Raises `Unparseable` when none of them fits.
    """
    for encoding in (_wide_encoding(content) or "utf-8-sig", _declared_charset(content), "cp1252"):
        if encoding is None:
            continue
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "cp1252" or _reads_like_words(text):
            return text.removeprefix("\ufeff")
    raise Unparseable(
        "The text is in an encoding that could not be told: it is neither UTF-8 nor UTF-16 nor Windows-1252. "
        "Save it as UTF-8."
    )


_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _wide_encoding(content: bytes) -> str | None:
    """UTF-16 or UTF-32, if text is in it: by its mark, or as most of its characters have the same bytes empty."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    start = content[:4096]
    for encoding, width, filled in (
        ("utf-32-le", 4, 0),
        ("utf-32-be", 4, 3),
        ("utf-16-le", 2, 0),
        ("utf-16-be", 2, 1),
    ):
        columns = [start[at::width] for at in range(width)]
        if len(content) % width or min(map(len, columns)) < 2:
            continue
        empty = [column.count(0) / len(column) for column in columns]
        if empty.pop(filled) < 0.02 and min(empty) > 0.6:
            return encoding
    return None


# -- what it is called ---------------------------------------------------------------------------------------------


def _claims(declared: str | None, filename: str) -> dict[str, MediaType]:
    """What the file is said to be, by how that was said. Refuses names of formats that are not read."""
    claims: dict[str, MediaType] = {}
    named = (declared or "").partition(";")[0].strip().lower()
    if named not in _SAYS_NOTHING:
        known = _ALIASES.get(named) or (MediaType(named) if named in tuple(MediaType) else None)
        if known is None:
            raise UnsupportedMedia(f"Files of type {named[:80]!r} are not read here: {FORMATS} are.")
        claims[f"declared as {named}"] = known
    suffix = PurePosixPath(filename).suffix.lower()
    if by_name := _BY_SUFFIX.get(suffix):
        # A mail client or browser calls everything that is text "text/plain": the name then knows better.
        if MediaType.TXT in claims.values() and by_name in _TEXTS:
            claims.clear()
        claims[f'named "{suffix}"'] = by_name
    return claims


def _agree(found: MediaType, claims: dict[str, MediaType]) -> None:
    for how, claimed in claims.items():
        alike = any({claimed, found} <= each for each in (_TEXTS, *_GENERATIONS))
        if claimed != found and not alike:
            raise UnsupportedMedia(f"The file is {how} but looks like {_NAMES[found]}.")


def _looks_like(name: str, claims: dict[str, MediaType]) -> str:
    """`It looks like ...`, set against what the file is called."""
    how = next(iter(claims), None)
    return f"It looks like {name}." if how is None else f"The file is {how} but looks like {name}."


# -- what it is ----------------------------------------------------------------------------------------------------


def _binary_type(content: bytes, claims: dict[str, MediaType]) -> MediaType | None:
    """The type of a file with a binary format's first bytes; `None` for text."""
    called_text = any(kind in _TEXTS for kind in claims.values())
    if content.lstrip().startswith(b"%PDF-") or (b"%PDF-" in content[:1024] and not called_text):
        return MediaType.PDF
    if content.startswith((_ZIP_START, b"PK\x05\x06")):
        return _checked_package(content, claims)
    if content.startswith(_OLE):
        return _ole_type(content, claims)
    for magic, media_type in _READ_MAGIC:
        if content.startswith(magic):
            return media_type
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return MediaType.WEBP
    if content.startswith(b"BM") and len(content) > 26 and content[6:10] == bytes(4) and not called_text:
        return MediaType.BMP
    if content[4:8] == b"ftyp":
        raise UnsupportedMedia(f"{_looks_like('a film or a sound', claims)} Send what is said in it as text.")
    for magic, name in _OTHER_MAGIC:
        if content.startswith(magic):
            raise UnsupportedMedia(f"{_looks_like(name, claims)} {FORMATS} are read here.")
    if not called_text and claims:
        looks = "something else, or damaged" if b"\x00" in content[:4096] else "plain text"
        raise UnsupportedMedia(_looks_like(looks, claims))
    return None


def _ole_type(content: bytes, claims: dict[str, MediaType]) -> MediaType:
    """An OLE compound file is an old Office format, an Outlook message or a new format behind a password."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise Unparseable("The document is protected by a password: save it without one.")
    if _MSG_STREAM.encode("utf-16-le") in content:
        raise UnsupportedMedia(_looks_like("an Outlook message (MSG): save it as EML", claims))
    for stream, media_type in _OLE_STREAMS:
        if stream.encode("utf-16-le") in content:
            return media_type
    raise UnsupportedMedia(_looks_like("a file of an old Office program: save it as DOCX, PPTX, XLSX or PDF", claims))


def _text_type(content: bytes, claims: dict[str, MediaType], filename: str) -> MediaType:
    """The text type that is declared, else named, else what its start looks like."""
    if claims:
        return next(iter(claims.values()))
    suffix = PurePosixPath(filename).suffix.lower()
    if _SUFFIX_OF_A_FORMAT.fullmatch(suffix):
        raise UnsupportedMedia(f"Files named {suffix!r} are not read here: {FORMATS} are.")
    start = as_utf8_mail(content[:4096])[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return MediaType.HTML
    if start.startswith(b"<?xml"):
        return MediaType.XML
    return MediaType.EML if _starts_like_mail(content) else MediaType.TXT


# -- archives ------------------------------------------------------------------------------------------------------


def _checked_package(content: bytes, claims: dict[str, MediaType]) -> MediaType:
    """Which format a ZIP is, judged by its directory alone. Raises for anything else, and for bombs."""
    _check_directory_size(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError) as error:
        raise Unparseable("The file is damaged or incomplete: its archive cannot be opened.") from error
    names = {entry.filename for entry in entries}
    kind = _package_type(content, names)
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise Unparseable("The document is protected by a password: save it without one.")
    if kind is None:
        raise UnsupportedMedia(f"{_looks_like('a ZIP archive', claims)} Send its files one by one.")
    _check_unzipped(entries, zipped_bytes=len(content))
    if any(_is_archive(entry, content) for entry in entries):
        raise Unparseable("The document holds another archive inside: take it out and send it by itself.")
    return kind


def _package_type(content: bytes, names: Collection[str]) -> MediaType | None:
    """By its folders, or by the type that it names first, which stands there as it is (ODF 1.3, 3.3; EPUB OCF 4.3)."""
    if "[Content_Types].xml" in names:
        return next((kind for folder, kind in _OOXML_FOLDERS if any(name.startswith(folder) for name in names)), None)
    for kind in (MediaType.ODT, MediaType.EPUB):
        if content[:200].find(b"mimetype" + kind.encode()) == 30:
            return kind
    if {"META-INF/container.xml", "mimetype"} <= set(names):
        return MediaType.EPUB
    return MediaType.ODT if {"content.xml", "mimetype", "styles.xml"} <= set(names) and _says_text(content) else None


def _says_text(content: bytes) -> bool:
    return MediaType.ODT.encode() in content[:400]


def _check_directory_size(content: bytes) -> None:
    """Refuse an archive whose directory alone would be large to read (the end record: APPNOTE.TXT 4.3.16)."""
    at = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_557))
    if at < 0 or at + 22 > len(content):
        raise Unparseable("The file is damaged or incomplete: the end of its archive is missing.")
    entries = int.from_bytes(content[at + 10 : at + 12], "little")
    directory_bytes = int.from_bytes(content[at + 12 : at + 16], "little")
    if entries > MAX_ZIP_ENTRIES or directory_bytes > MAX_ZIP_DIRECTORY_BYTES:
        raise Unparseable(f"The document is made of more than {MAX_ZIP_ENTRIES:,} parts, the most that is read.")


def _check_unzipped(entries: list[zipfile.ZipInfo], *, zipped_bytes: int) -> None:
    # A directory that understates sizes gains nothing: readers stop at the stated size, and the checksum then fails.
    total_bytes = sum(entry.file_size for entry in entries)
    if total_bytes > MAX_UNZIPPED_BYTES:
        raise Unparseable(f"Unpacked, the document is larger than {MAX_UNZIPPED_BYTES // 1_000_000} MB.")
    if total_bytes > RATIO_MATTERS_FROM_BYTES and total_bytes > MAX_ZIP_RATIO * zipped_bytes:
        raise Unparseable(f"The document unpacks to more than {MAX_ZIP_RATIO} times its size, as an archive bomb does.")


def _is_archive(entry: zipfile.ZipInfo, content: bytes) -> bool:
    """An archive that has no business here. Embedded Office files (charts' data) are usual, and never opened."""
    if "/embeddings/" in entry.filename:
        return False
    if entry.filename.lower().endswith(_ARCHIVE_SUFFIXES):
        return True
    if entry.compress_type != zipfile.ZIP_STORED:
        return False
    header = content[entry.header_offset : entry.header_offset + 30]
    name_bytes, extra_bytes = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = entry.header_offset + 30 + name_bytes + extra_bytes
    return entry.file_size >= len(_ZIP_START) and content[start : start + 4] == _ZIP_START


# -- text ----------------------------------------------------------------------------------------------------------


def _check_text(content: bytes, media_type: MediaType) -> None:
    if media_type is MediaType.EML:
        _check_mail(content)
        return
    text = decoded(content)
    if "\x00" in text:
        raise Unparseable("The file is called text but holds null bytes: it is damaged, or not text. Save it as UTF-8.")
    if not text.strip("\ufeff \t\r\n\v\f\u200b\xa0"):
        raise NoText("The file is empty: it holds nothing but spaces. Send one that holds text.")
    if media_type is MediaType.HTML and html_depth(text) > MAX_HTML_DEPTH:
        raise Unparseable(f"The HTML is nested deeper than {MAX_HTML_DEPTH} levels, the most that is read.")


_META_CHARSET: Final = re.compile(rb"<meta[^>]{1,200}charset\s*=\s*[\"']?([A-Za-z0-9_:.-]{2,30})", re.IGNORECASE)


_TEXT_CODECS: Final = ("big5", "cp", "euc", "gb", "hz", "iso", "johab", "koi8", "mac", "ptcp", "shift", "tis")


def _declared_charset(content: bytes) -> str | None:
    """The encoding that an HTML page declares in its head, if Python knows it as one of text."""
    found = _META_CHARSET.search(content[:4096])
    if found is None:
        return None
    try:
        name = codecs.lookup(found.group(1).decode("ascii")).name
    except LookupError:
        return None
    return name if name.startswith(_TEXT_CODECS) else None


_TYPOGRAPHY: Final = frozenset("€‚„…†‡‰‹‘’“”•–—™›\xa0¡£§©ª«®°±²³´µ·º»¼½¾¿×÷¢¥¹\xad")


_COMMON_LETTERS: Final = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüßœšž")


def _reads_like_words(text: str) -> bool:
    """Whether characters beyond ASCII stand where Western European text has them: at most one in ten elsewhere.

    A letter counts as in place next to an ASCII or a common accented letter, unless it is a capital after a small
    letter, or the rare one that byte 255 stands for.
    """
    beyond = odd = 0
    padded = f" {text} "
    for found in islice(re.finditer(r"[^\x00-\x7f]", padded), 100_000):
        at, character = found.start(), found.group()
        beyond += 1
        if character in _TYPOGRAPHY:
            continue
        before, after = padded[at - 1], padded[at + 1]
        in_a_word = any(near in _COMMON_LETTERS or (near.isascii() and near.isalpha()) for near in (before, after))
        capital_inside = character.isupper() and before.islower()
        odd += not character.isalpha() or character == "ÿ" or not in_a_word or capital_inside
    controls = sum(text.count(chr(code)) for code in range(32) if chr(code) not in "\t\n\v\f\r\x1b")
    return not controls and odd * 10 <= beyond and beyond * 2 <= len(text)


_TAG: Final = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,40}+)([^<>]*+)>")
"""Possessive: a tag that never ends is passed over in one step."""
_VOID_TAGS: Final = (
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
)  # fmt: skip
_CLOSED_BY_THE_NEXT: Final = (
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "colgroup",
    "html", "head", "body",
)  # fmt: skip
_NOT_NESTING: Final = frozenset(_VOID_TAGS + _CLOSED_BY_THE_NEXT)


def html_depth(text: str) -> int:
    """About how deeply tags are nested: elements that close themselves are left out."""
    depth = deepest = 0
    for tag in _TAG.finditer(text):
        closing, name, rest = tag.groups()
        if name.lower() in _NOT_NESTING or rest.endswith("/"):
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest


# -- mail ----------------------------------------------------------------------------------------------------------

_HEADER: Final = re.compile(rb"\A(?:From [^\r\n]*\r?\n)?[A-Za-z][A-Za-z0-9-]{0,60}:[ \t]?[^\r\n]*\r?\n")
_MAIL_HEADER: Final = re.compile(
    rb"^(?:from|to|subject|date|received|return-path|message-id|mime-version):", re.IGNORECASE | re.MULTILINE
)
_BOUNDARY: Final = re.compile(rb"boundary\s*=\s*(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_PART_HEADER: Final = re.compile(rb"^content-type[ \t]*:", re.IGNORECASE | re.MULTILINE)


def _starts_like_mail(content: bytes) -> bool:
    head = as_utf8_mail(content[:16_384]).lstrip(b"\xef\xbb\xbf\r\n")
    return bool(_HEADER.match(head)) and len(_MAIL_HEADER.findall(re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0])) >= 2


def as_utf8_mail(content: bytes) -> bytes:
    """A mail that was saved in UTF-16 or UTF-32 as the bytes that a mail is made of; any other as it is."""
    encoding = _wide_encoding(content)
    if encoding is None:
        return content
    try:
        return content.decode(encoding).lstrip("\ufeff").encode()
    except UnicodeDecodeError:
        return content


def _check_mail(content: bytes) -> None:
    """Refuse what is no mail, and mail made of too many or too deeply nested parts."""
    content = as_utf8_mail(content)
    head = content[:65_536].lstrip(b"\xef\xbb\xbf\r\n")
    if not _HEADER.match(head) or not _MAIL_HEADER.search(head):
        raise UnsupportedMedia("The file is called an e-mail (EML) but does not begin with an e-mail's header lines.")
    if b"\x00" in content:
        raise Unparseable("The e-mail holds null bytes: it is damaged. Save it from the mail program again.")
    parts, depth = _mime_shape(content)
    if max(parts, len(_PART_HEADER.findall(content))) > MAX_MIME_PARTS:
        raise Unparseable(f"The e-mail is made of more than {MAX_MIME_PARTS} parts, the most that is read.")
    if depth > MAX_MIME_DEPTH:
        raise Unparseable(f"The e-mail's parts are nested deeper than {MAX_MIME_DEPTH} levels, the most that is read.")


def _mime_shape(content: bytes) -> tuple[int, int]:
    """How many parts there are and how deeply they are nested: a boundary declared inside a part is one deeper."""
    depth_of: dict[bytes, int] = {}
    parts = current = deepest = 0
    for line in content.splitlines():
        if line.startswith(b"--"):
            depth = depth_of.get(line[2:].rstrip())
            parts += depth is not None
            current = current if depth is None else depth
        elif b"oundary" in line or b"OUNDARY" in line:
            for quoted, bare in _BOUNDARY.findall(line):
                depth_of.setdefault(quoted or bare, current + 1)
                deepest = max(deepest, current + 1)
    return parts, deepest
