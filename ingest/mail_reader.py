"""E-mail to blocks, through the standard library: headers, the body that is shown, and what came with it.

What is no text shown in the message is not read here: each attachment is handed on whole, to become a document of its
own. A name that a mail gives is never a path.
"""

import email
import email.message
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Final

from app.domain.corpus import Attachment, Finding
from app.domain.errors import Unparseable
from ingest.blocks import Block, as_shown, paragraph, partial, title
from ingest.gate import as_utf8_mail, decoded
from ingest.text_reader import text_blocks

MAX_ATTACHMENTS: Final = 50
MAX_MAIL_DEPTH: Final = 20
_SHOWN_HEADERS: Final = ("From", "To", "Cc", "Date")
_MAX_HEADER_CHARS: Final = 2_000
_SIGNATURES: Final = ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
_ENCRYPTED: Final = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")

HtmlBlocks = Callable[[str], tuple[list[Block], str | None, list[Finding]]]


@dataclass(slots=True)
class Mail:
    """What was found in a mail so far."""

    attachments: list[Attachment] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Names of what came with it and cannot be handed on."""
    findings: list[Finding] = field(default_factory=list)


def mail_blocks(content: bytes, html_blocks: HtmlBlocks) -> tuple[list[Block], str, Mail]:
    """Subject, sender, receivers and date, then the body; the subject; and what came with it. Raises `Unparseable`."""
    message = email.message_from_bytes(as_utf8_mail(content))
    subject = _header(message, "Subject")
    lines = [f"{name}: {text}" for name in _SHOWN_HEADERS if (text := _header(message, name))]
    mail = Mail()
    blocks = [title(subject, level=0), paragraph("\n".join(lines)), *_body(message, mail, html_blocks, depth=0)]
    if mail.left:
        more = f" and {len(mail.left) - 10} more" if len(mail.left) > 10 else ""
        mail.findings.append(partial(f"What came with it was not read: {', '.join(mail.left[:10])}{more}."))
    return blocks, subject, mail


def _header(message: email.message.Message, name: str) -> str:
    """A header as a reader sees it, on one line; as it stands when its encoding is broken."""
    raw = str(message.get(name, ""))[:_MAX_HEADER_CHARS]
    try:
        shown = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        shown = raw
    return " ".join(shown.split())


def _body(part: email.message.Message, mail: Mail, html_blocks: HtmlBlocks, *, depth: int) -> Iterator[Block]:
    """The blocks of a part; what is no text shown in the message goes to `mail`."""
    if depth > MAX_MAIL_DEPTH:
        raise Unparseable("The e-mail's parts are nested too deeply. Save what is inside by itself.")
    kind = part.get_content_type()
    if kind in _ENCRYPTED:
        raise Unparseable("The e-mail is encrypted: save it decrypted.")
    if part.is_multipart() and kind != "message/rfc822":
        inner = [each for each in _parts(part) if each is not part]
        if kind == "multipart/alternative":
            inner = _preferred(inner)
        for each in inner:
            yield from _body(each, mail, html_blocks, depth=depth + 1)
        return
    if kind in _SIGNATURES:
        return
    named = _file_name(part)
    apart = part.get_content_disposition() == "attachment" or (named and part.get_content_disposition() is None)
    if apart or kind not in ("text/plain", "text/html"):
        _set_apart(part, kind, named, mail)
        return
    text = _payload_text(part)
    if kind == "text/html":
        blocks, _, findings = html_blocks(text)
        mail.findings.extend(findings)
        yield from blocks
    else:
        yield from text_blocks(text)


def _set_apart(part: email.message.Message, kind: str, named: str | None, mail: Mail) -> None:
    """Hand an attachment on, or tell that it stays: pictures shown in the text are no documents."""
    if kind.startswith("image/") and part.get("Content-ID") and part.get_content_disposition() != "attachment":
        mail.left.append(named or "a picture")
        return
    name, content = (_message(part) if kind == "message/rfc822" else (named, part.get_payload(decode=True))) or (
        "",
        b"",
    )
    name = name or named or kind.replace("/", "-")
    if not isinstance(content, bytes) or not content.strip() or len(mail.attachments) == MAX_ATTACHMENTS:
        mail.left.append(name)
        return
    told_by_name = "." in name.strip(".") or kind == "application/octet-stream"
    mail.attachments.append(Attachment(name=name, media_type=None if told_by_name else kind, content=content))


def _message(part: email.message.Message) -> tuple[str, bytes] | None:
    """A mail that came with a mail, named by its subject."""
    inner = next(iter(_parts(part)), None)
    if inner is None:
        return None
    try:
        return f"{_printable(_header(inner, 'Subject')) or 'message'}.eml", inner.as_bytes()
    except (KeyError, LookupError, UnicodeError, ValueError):
        return None


def _parts(part: email.message.Message) -> list[email.message.Message]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, email.message.Message)] if isinstance(payload, list) else []


def _preferred(parts: list[email.message.Message]) -> list[email.message.Message]:
    """Of the same text in several forms, HTML, which keeps tables and headings, then plain text, then the last."""

    def has(part: email.message.Message, kind: str) -> bool:
        return any(each.get_content_type() == kind and _payload_text(each).strip() for each in part.walk())

    for kind in ("text/html", "text/plain"):
        if chosen := next((part for part in parts if has(part, kind)), None):
            return [chosen]
    return parts[-1:]


def _payload_text(part: email.message.Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = part.get_content_charset() or "utf-8"
    try:
        return payload.decode(charset)
    except (LookupError, UnicodeError):
        pass
    try:
        return decoded(payload)
    except Unparseable:
        return payload.decode("latin-1")


def _file_name(part: email.message.Message) -> str | None:
    """The name an attachment goes by: last part only, no control characters, at most 120 characters."""
    try:
        stated = part.get_filename()
    except (LookupError, UnicodeError, ValueError):
        stated = "unnamed"
    return (_printable(str(stated)) or "unnamed") if stated else None


def _printable(name: str) -> str:
    last = re.split(r"[\\/]", as_shown(name))[-1]
    return "".join(filter(str.isprintable, last)).strip()[-120:]
