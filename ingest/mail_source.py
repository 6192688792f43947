"""A mailbox as a source: an mbox file or a Maildir, each mail a document that its sender and recipients may read.

A mail's key is its Message-ID and the digest of its header, less the lines that mail programs rewrite: whoever sends a
mail chooses its Message-ID, and must not replace another mail by it. Attachments stay in the mail.
"""

import hashlib
import heapq
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from app.domain.errors import Invalid, NotFound, Unavailable
from app.domain.instants import Instant, instant_of, parse_instant
from app.domain.sources import Access, Acl, AclEntry, Cursor, Fetched, ForeignKind, Item, Page, SourceSettings
from ingest.gate import MAX_FILE_BYTES, MediaType
from ingest.listing import (
    PAGE_ITEMS,
    Options,
    Paths,
    Position,
    count,
    local_path,
    paged,
    position_of,
    tidy,
    too_large,
    word,
)
from ingest.ports import Source

MAX_HEADER_BYTES: Final = 256_000
MAX_READERS: Final = 5_000
"""Addresses of one mail; those after them are not given the right to read it."""
_NAMES_AT_ONCE: Final = 5_000
_LINE_BYTES: Final = 65_536
_WINDOW_BYTES: Final = 4_096
_DAY_MS: Final = 86_400_000
_EARLIEST: Final = parse_instant("1980-01-01")

_NOT_MEANT_TO_BE_READ: Final = "Drafts, Trash, Junk, Spam"
_REWRITTEN: Final = re.compile(
    rb"(status|x-status|x-keywords|x-mozilla-[a-z0-9-]+|x-uid|x-uidl|x-imap|x-imapbase|content-length|lines)[ \t]*:",
    re.IGNORECASE,
)
"""Header lines in which mail programs keep their own notes, in an mbox."""
_SEPARATOR: Final = re.compile(
    rb"From .{0,300}?\b(?:(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2})) +(?P<time>\d{1,2}:\d{2}(?::\d{2})?)"
    rb"(?: +[A-Za-z0-9:+-]{1,10}){0,2} +(?P<year>\d{4})\b"
)
"""`From ana@example.org Mon Jan  1 09:00:00 2024`: in an mbox, what a mail begins with."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PEOPLE: Final = (
    *("From", "Sender", "To", "Cc", "Bcc", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Bcc"),
    *("Delivered-To", "X-Original-To", "Envelope-To"),
)
"""The last three name the recipients that a blind copy hides."""
_MAILDIR_NAME: Final = re.compile(r"[^.:/\ud800-\udfff][^/\ud800-\udfff]*")
_ADDRESS: Final = re.compile(r"[^\s@<>()\",;:\\\[\]\x00-\x1f\x7f]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def open_mail(settings: SourceSettings, *, page_items: int = PAGE_ITEMS, max_bytes: int = MAX_FILE_BYTES) -> Source:
    """The `Source` of a mailbox: the absolute path of an mbox file, or of a Maildir.

    Options of an mbox: `append_only` (true: only what was added since the last run is read, and nothing is ever gone).
    Of a Maildir: `include` and `exclude`, patterns of folders such as `INBOX` or `Archive/2024`; drafts, trash and
    junk are left out unless `exclude` says otherwise.
    """
    options = Options(settings)
    path = local_path(settings.location)
    if path is None:
        raise Invalid("The location of a mailbox is the absolute path of an mbox file or of a Maildir.")
    if path.is_dir():
        paths = Paths(include=options.text("include"), exclude=options.text("exclude", _NOT_MEANT_TO_BE_READ))
        options.refuse_others()
        return MaildirSource(path, paths=paths, page_items=page_items, max_bytes=max_bytes)
    append_only = options.flag("append_only")
    options.refuse_others()
    return MboxSource(path, append_only=append_only, page_items=page_items, max_bytes=max_bytes)


# -- mbox ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Framed:
    """A mail in an mbox: where its line `From ` begins, where the next one's does, its header, and what it holds."""

    start: int
    end: int
    header: bytes
    delivered: Instant | None
    digest: str
    """Of its content, less the header lines that mail programs rewrite."""


class MboxSource:
    """The `Source` port on an mbox file, read as it comes. `>From ` is unquoted as mboxrd has it.

    A cursor is an offset and a digest of some of what comes before it; where the file does not have that any more,
    since mails were taken out or it was put away for a new one, the listing begins anew.
    """

    def __init__(self, path: Path, *, append_only: bool, page_items: int, max_bytes: int) -> None:
        self._path = path
        self._append_only = append_only
        self._page_items = page_items
        self._max_bytes = max_bytes

    @property
    def lists_all(self) -> bool:
        return not self._append_only

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        yield from paged(self._items(position_of(since)), size=self._page_items)

    def fetch(self, item: Item) -> Fetched:
        place = re.fullmatch(r"(\d{1,15})\+(\d{1,15})", item.locator)
        if place is None or item.etag is None:
            raise NotFound("It is not in the mailbox.")
        start, length = int(place.group(1)), int(place.group(2))
        with _mailbox(self._path) as file:
            if length > self._max_bytes + _LINE_BYTES:
                raise too_large(self._max_bytes)
            file.seek(start)
            content = _Content(keep=True)
            for line in _lines(file, length):
                content.add(line)
        if content.digest() != item.etag:
            raise NotFound("The mailbox was rewritten since it was listed: the next run finds the mail where it is.")
        kept = content.kept()
        if len(kept) > self._max_bytes:
            raise too_large(self._max_bytes)
        return _fetched(item, kept)

    def _items(self, position: Mapping[str, str | int]) -> Iterator[tuple[Item, Position]]:
        with _mailbox(self._path) as file:
            start = count(position, "at")
            if not start or _window(file, start) != word(position, "before"):
                start = 0
            latest = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
            for mail in _framed(file, start):
                header = _Header(mail.header, delivered=mail.delivered, latest=latest)
                if header.unsent:
                    continue
                item = header.item(etag=mail.digest, locator=f"{mail.start}+{mail.end - mail.start}")
                yield item, {"at": mail.end, "before": _window(file, mail.end)}


def _framed(file: IO[bytes], start: int) -> Iterator[_Framed]:
    """Each mail from an offset on. A line begins one if it reads like it and stands first or after an empty line."""
    file.seek(start)
    at = begun = start
    content: _Content | None = None
    delivered: Instant | None = None
    fresh, blank = True, True
    while line := file.readline(_LINE_BYTES):
        if fresh and blank and line.startswith(b"From ") and (found := _SEPARATOR.match(line)):
            if content is not None:
                yield _framed_mail(content, begun, at, delivered)
            content, begun, delivered = _Content(), at, _delivered(found)
            fresh = line.endswith(b"\n")
            blank = False
            content.add(line)
        elif content is None:
            raise Invalid("The file is not an mbox: it does not begin with a line 'From sender date'.")
        else:
            content.add(line)
            blank = fresh and line in (b"\n", b"\r\n")
            fresh = line.endswith(b"\n")
        at += len(line)
        if not fresh:
            blank = False
    if content is not None:
        yield _framed_mail(content, begun, at, delivered)


def _framed_mail(content: "_Content", start: int, end: int, delivered: Instant | None) -> _Framed:
    return _Framed(start=start, end=end, header=content.header(), delivered=delivered, digest=content.digest())


class _Content:
    """A mail of an mbox, line by line: without the line that begins it, unquoted, without the empty line after it."""

    def __init__(self, *, keep: bool = False) -> None:
        self._hash = hashlib.sha256()
        self._header = bytearray()
        self._kept: list[bytes] | None = [] if keep else None
        self._part = "begin"
        self._held = b""
        self._whole = True
        self._rewritten = False

    def add(self, line: bytes) -> None:
        fresh, self._whole = self._whole, line.endswith(b"\n")
        if self._part == "begin":
            self._part = "begin" if not self._whole else "header"
            return
        if self._part == "header":
            self._add_header(line, fresh=fresh)
            return
        if fresh and line.startswith(b">") and line.lstrip(b">").startswith(b"From "):
            line = line[1:]
        held, self._held = self._held, b""
        self._take(held)
        if fresh and line in (b"\n", b"\r\n"):
            self._held = line
        else:
            self._take(line)

    def _add_header(self, line: bytes, *, fresh: bool) -> None:
        if fresh and line in (b"\n", b"\r\n"):
            self._part = "body"
            self._take(line)
            return
        if fresh and not line.startswith((b" ", b"\t")):
            self._rewritten = _REWRITTEN.match(line) is not None
        if len(self._header) < MAX_HEADER_BYTES:
            self._header += line
        self._take(line, counts=not self._rewritten)

    def _take(self, line: bytes, *, counts: bool = True) -> None:
        if counts:
            self._hash.update(line)
        if self._kept is not None:
            self._kept.append(line)

    def header(self) -> bytes:
        return bytes(self._header)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def kept(self) -> bytes:
        return b"".join(self._kept or ())


def _lines(file: IO[bytes], length: int) -> Iterator[bytes]:
    while length > 0 and (line := file.readline(min(_LINE_BYTES, length))):
        length -= len(line)
        yield line


def _window(file: IO[bytes], at: int) -> str:
    """Tells whether the file is still the same up to an offset: a digest of its first bytes and the last before it."""
    number = file.fileno()
    start = max(0, at - _WINDOW_BYTES)
    seen = os.pread(number, min(at, _WINDOW_BYTES), 0) + os.pread(number, at - start, start)
    return hashlib.sha256(b"%d\n" % at + seen).hexdigest()[:32]


def _delivered(found: re.Match[bytes]) -> Instant | None:
    hour, minute, second = (*(int(part) for part in found["time"].split(b":")), 0)[:3]
    with suppress(ValueError, Invalid):
        month = _MONTHS.index(found["month"].decode("ascii")) + 1
        year, day = int(found["year"]), int(found["day"])
        return instant_of(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    return None


# -- Maildir -------------------------------------------------------------------------------------------------------


class MaildirSource:
    """The `Source` port on a Maildir and the folders in it (`.Archive.2024`), in the order of their mails' names."""

    lists_all = True

    def __init__(self, path: Path, *, paths: Paths, page_items: int, max_bytes: int) -> None:
        self._path = path
        self._paths = paths
        self._page_items = page_items
        self._max_bytes = max_bytes

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        position = position_of(since)
        items = self._items(word(position, "folder"), word(position, "after"))
        yield from paged(items, size=self._page_items)

    def fetch(self, item: Item) -> Fetched:
        folder, _, name = item.locator.rpartition("/")
        if not name or name.startswith(".") or "/" in folder or not (folder == "" or folder.startswith(".")):
            raise NotFound("It is not in the mailbox.")
        with _opened(self._found(self._path / folder, name)) as file:
            if os.fstat(file.fileno()).st_size > self._max_bytes:
                raise too_large(self._max_bytes)
            content = file.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            raise too_large(self._max_bytes)
        return _fetched(item, content)

    def _found(self, folder: Path, name: str) -> Path:
        """The file of a mail, by the part of its name that stays: reading or flagging it changes the rest."""
        for place in ("new", "cur"):
            if stat.S_ISREG(_mode(folder / place / name)):
                return folder / place / name
        with suppress(OSError), os.scandir(folder / "cur") as entries:
            for entry in entries:
                if entry.name.partition(":")[0] == name and entry.is_file(follow_symlinks=False):
                    return Path(entry.path)
        raise NotFound("It is no longer in the mailbox.")

    def _items(self, folder: str, after: str) -> Iterator[tuple[Item, Position]]:
        for each in self._folders():
            if each < folder:
                continue
            for name, path in self._names(self._path / each, after if each == folder else ""):
                item = self._item(each, name, path)
                if item is not None:
                    yield item, {"folder": each, "after": name}

    def _folders(self) -> list[str]:
        """The mailbox itself, as the empty name, and the folders in it that are wanted."""
        try:
            with os.scandir(self._path) as found:
                entries = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise Unavailable("There is no mailbox at the location, or it may not be read by us.") from error
        if not {"cur", "new"} <= set(entries):
            raise Unavailable("There is no Maildir at the location: a folder with 'cur' and 'new' in it.")
        inner = [name for name in entries if name.startswith(".") and (self._path / name / "cur").is_dir()]
        return sorted(name for name in ["", *inner] if self._paths.wants(_shown(name)))

    def _names(self, folder: Path, after: str) -> Iterator[tuple[str, Path]]:
        """Mails by the part of their names that stays, in order; so many are held at a time."""
        while True:
            some = heapq.nsmallest(_NAMES_AT_ONCE, ((name, path) for name, path in _mails(folder) if name > after))
            for name, path in dict(some).items():
                yield name, folder / path
            if len(some) < _NAMES_AT_ONCE:
                return
            after = some[-1][0]

    def _item(self, folder: str, name: str, path: Path) -> Item | None:
        flags = path.name.partition(":2,")[2]
        if "D" in flags or "T" in flags:  # a draft, or thrown away
            return None
        try:
            with _opened(path) as file:
                about = os.fstat(file.fileno())
                content = _Content()
                content.add(b"\n")
                for line in _lines(file, MAX_HEADER_BYTES):
                    if line in (b"\n", b"\r\n"):
                        break
                    content.add(line)
        except NotFound:
            return None  # it was moved or deleted while we were listing
        header = _Header(content.header(), delivered=_named_time(name), latest=about.st_mtime_ns // 1_000_000)
        if header.unsent:
            return None
        attributes = {"folder": (_shown(folder),)} if folder else {}
        return header.item(etag=f"{header.digest}-{about.st_size}", locator=f"{folder}/{name}", attributes=attributes)


def _mails(folder: Path) -> Iterator[tuple[str, str]]:
    for place in ("new", "cur"):  # in this order, since that is how a mail moves while we look
        try:
            with os.scandir(folder / place) as entries:
                for entry in entries:
                    if _MAILDIR_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield entry.name.partition(":")[0], f"{place}/{entry.name}"
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unavailable("A folder of the mailbox may not be read by us.") from error


def _shown(folder: str) -> str:
    """`.Archive.2024` as people see it: `Archive/2024`."""
    return folder.removeprefix(".").replace(".", "/") or "INBOX"


def _named_time(name: str) -> Instant | None:
    """Maildir names begin with the second of their delivery."""
    found = re.match(r"(\d{9,11})\.", name)
    return Instant(int(found.group(1)) * 1000) if found else None


# -- a mail --------------------------------------------------------------------------------------------------------


class _Header:
    """What a mail's header says, in so far as it can be believed."""

    def __init__(self, header: bytes, *, delivered: Instant | None, latest: int) -> None:
        self._message = BytesHeaderParser().parsebytes(header)
        self._delivered = delivered
        self._latest = delivered or latest
        kept = b"".join(_less_rewritten(header))
        self.digest = hashlib.sha256(kept).hexdigest()

    @property
    def unsent(self) -> bool:
        """A draft, or deleted but not taken out of the mbox yet."""
        status = self._raw("X-Status")
        mozilla = self._raw("X-Mozilla-Status")
        expunged = bool(re.fullmatch(r"[0-9A-Fa-f]{4}", mozilla)) and int(mozilla, 16) & 0x0008 != 0
        return "D" in status or "T" in status or expunged

    def item(self, *, etag: str, locator: str, attributes: Mapping[str, tuple[str, ...]] | None = None) -> Item:
        return Item(
            key=self._key(),
            etag=etag,
            acl=self._acl(),
            title=tidy(self._decoded("Subject"), max_chars=300),
            author=tidy(self._decoded("From"), max_chars=300),
            valid_from=self._date(),
            media_type=MediaType.EML,
            attributes=attributes or {},
            locator=locator,
        )

    def _key(self) -> str:
        found = re.search(r"<?([^<>\s]{1,300})>?", self._raw("Message-ID"))
        name = quote(found.group(1), safe="@!$'()*+,;=:~", errors="replace") if found else ""
        return f"mid:{name}#{self.digest[:16]}" if name else f"mail:{self.digest[:32]}"

    def _date(self) -> Instant | None:
        """When it was sent; where that is missing or cannot be (a day after delivery), when it was delivered."""
        with suppress(ValueError, TypeError, IndexError, OverflowError, Invalid):
            sent = parsedate_to_datetime(self._raw("Date"))
            instant = instant_of(sent if sent.tzinfo is not None else sent.replace(tzinfo=UTC))
            if _EARLIEST <= instant <= self._latest + _DAY_MS:
                return instant
        return self._delivered

    def _acl(self) -> Acl:
        """Sender and recipients, blind copies too; of a post to a mailing list, the list."""
        entries: dict[AclEntry, None] = {}
        values = [str(value) for name in _PEOPLE for value in self._message.get_all(name, [])]
        for _, address in getaddresses(values):
            if (known := normalized_address(address)) is not None and len(entries) < MAX_READERS:
                entries[AclEntry(access=Access.GRANT, kind=ForeignKind.USER, value=known)] = None
        listed = re.search(r"<?([A-Za-z0-9][A-Za-z0-9._+-]{1,250})>?\s*$", self._raw("List-Id"))
        if listed:
            entries[AclEntry(access=Access.GRANT, kind=ForeignKind.GROUP, value=listed.group(1).lower())] = None
        return Acl(entries=frozenset(entries))

    def _raw(self, name: str) -> str:
        return " ".join(str(self._message.get(name, "")).split())

    def _decoded(self, name: str) -> str:
        raw = self._raw(name)
        with suppress(HeaderParseError, MessageError, LookupError, ValueError):
            return str(make_header(decode_header(raw)))
        return raw


def normalized_address(address: str) -> str | None:
    """An e-mail address as access lists name it: lower case, its domain in ASCII. `None` if it is not one."""
    name, _, domain = address.strip().lower().rpartition("@")
    with suppress(UnicodeError):
        found = f"{name}@{domain if domain.isascii() else domain.encode('idna').decode('ascii')}"
        if _ADDRESS.fullmatch(found):
            found.encode()
            return found
    return None


def _less_rewritten(header: bytes) -> Iterator[bytes]:
    rewritten = False
    for line in header.splitlines(keepends=True):
        if not line.startswith((b" ", b"\t")):
            rewritten = _REWRITTEN.match(line) is not None
        if not rewritten:
            yield line


def _fetched(item: Item, content: bytes) -> Fetched:
    name = hashlib.sha256(item.key.encode()).hexdigest()[:16]
    return Fetched(
        content=content,
        filename=f"{name}.eml",
        media_type=MediaType.EML,
        etag=item.etag,
        title=item.title,
        author=item.author,
    )


# -- files ---------------------------------------------------------------------------------------------------------


@contextmanager
def _mailbox(path: Path) -> Iterator[IO[bytes]]:
    try:
        with _opened(path, follow=True) as file:
            yield file
    except NotFound as error:
        if error.__cause__ is None:
            raise
        raise Unavailable("There is no mailbox at the location, or it may not be read by us.") from error


@contextmanager
def _opened(path: Path, *, follow: bool = False) -> Iterator[IO[bytes]]:
    """A regular file; links are not followed out of a mailbox. Raises `NotFound`, and `Unavailable` when read."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise NotFound("It is no longer in the mailbox.") from error
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise NotFound("It is no longer in the mailbox.") from OSError("not a file")
        try:
            yield file
        except OSError as error:
            raise Unavailable("The mailbox could not be read to the end. Try again in a moment.") from error


def _mode(path: Path) -> int:
    with suppress(OSError):
        return os.lstat(path).st_mode
    return 0
