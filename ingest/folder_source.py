"""A folder as a source: its files, however deep, by their path in it.

What is hidden (`.name`) or an office program's lock (`~$name`) is passed over. Links are followed to files inside the
folder, and to nothing else.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.domain.corpus import MAX_DOCUMENT_BYTES
from app.domain.errors import Invalid, NotFound, NotPermitted, TooLarge, Unavailable
from app.domain.sources import Cursor, Fetched, Item, Page, SourceSettings
from ingest.listing import Options, Paths

PAGE_ITEMS = 500

_PASSED_OVER = (".", "~$")
_NOT_THERE = "The folder is not there, or cannot be listed."


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    parts: tuple[str, ...]
    place: str
    etag: str

    @property
    def key(self) -> str:
        """The path as text, whatever bytes it is made of."""
        return "/".join(os.fsencode(part).decode("utf-8", "replace") for part in self.parts)


def open_folder(settings: SourceSettings, *, page_items: int = PAGE_ITEMS) -> "FolderSource":
    """The `Source` of a folder. Its option `watch` is the engine's to see to. Raises `Invalid`."""
    options = Options(settings)
    paths = options.paths()
    options.refuse_others()
    path = settings.location.removeprefix("file://")
    if not os.path.isabs(path):
        raise Invalid("The location of a folder is a path from the root of the file system.")
    return FolderSource(Path(os.path.realpath(path)), paths=paths, page_items=page_items)


class FolderSource:
    """The `Source` port over a folder. Files come in the order of their path's parts, which are a page's cursor."""

    lists_all = True

    def __init__(self, root: Path, *, paths: Paths, page_items: int = PAGE_ITEMS) -> None:
        self._root, self._paths, self._page_items = root, paths, page_items

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        """As the port has it. A folder below that cannot be listed is told of at the end: the rest was listed."""
        after = tuple(_decoded(since).split("/")) if since is not None else ()
        unlisted: list[str] = []
        items: list[Item] = []
        for file in _files(self._root, str(self._root), (), after, unlisted):
            if not self._paths.wants(file.key):
                continue
            items.append(Item(key=file.key, etag=file.etag, locator=file.place))
            if len(items) == self._page_items:
                yield Page(items=tuple(items), next=_cursor(file.parts))
                items = []
        yield Page(items=tuple(items), next=None)
        if unlisted:
            raise Unavailable(
                f"{len(unlisted)} of the folders below cannot be listed; what they hold is left as it is."
            )

    def fetch(self, item: Item) -> Fetched:
        place = os.path.realpath(item.locator)
        if not _lies_in(place, str(self._root)):
            raise NotPermitted("It is a link to something outside the folder.")
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFound("It was gone when it was to be read.") from None
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):
                raise NotPermitted("The server may not read this file.") from None
            raise Unavailable(f"A file cannot be read: {error.strerror}.") from None
        with os.fdopen(descriptor, "rb") as file:
            held = os.fstat(descriptor)
            if not stat.S_ISREG(held.st_mode):
                raise NotPermitted("It is not a file.")
            if held.st_size > MAX_DOCUMENT_BYTES:
                raise TooLarge(f"It is larger than {MAX_DOCUMENT_BYTES // 1_000_000} MB, the most that is taken.")
            try:
                content = file.read(MAX_DOCUMENT_BYTES + 1)
            except OSError as error:
                raise Unavailable(f"A file cannot be read: {error.strerror}.") from None
        return Fetched(content=content, filename=item.key.rpartition("/")[2], etag=_etag(held))


def look_of(root: Path) -> str:
    """What a folder looks like: another answer when a file came, went or changed. Raises `Unavailable`."""
    seen = hashlib.sha256()
    unlisted: list[str] = []
    for file in _files(root, str(root), (), (), unlisted):
        seen.update(f"{file.key}\0{file.etag}\0".encode())
    return seen.hexdigest()


def _files(
    root: Path, folder: str, parts: tuple[str, ...], after: tuple[str, ...], unlisted: list[str]
) -> Iterator[_File]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        if not parts:
            raise Unavailable(_NOT_THERE) from None
        unlisted.append(folder)
        return
    for entry in entries:
        path = (*parts, entry.name)
        if entry.name.startswith(_PASSED_OVER) or path < after[: len(path)]:
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(root, entry.path, path, after, unlisted)
            elif path > after and (held := _regular(entry, root)) is not None:
                yield _File(parts=path, place=entry.path, etag=_etag(held))
        except OSError:
            continue  # gone since it was listed: as if it had not been


def _regular(entry: "os.DirEntry[str]", root: Path) -> os.stat_result | None:
    """What is known of a file; None of what is no file, or a link that leads out."""
    if entry.is_symlink() and not _lies_in(os.path.realpath(entry.path), str(root)):
        return None
    held = entry.stat()
    return held if stat.S_ISREG(held.st_mode) else None


def _lies_in(place: str, root: str) -> bool:
    return os.path.commonpath([place, root]) == root


def _etag(held: os.stat_result) -> str:
    return f"{held.st_size}-{held.st_mtime_ns}-{held.st_ino}"


def _cursor(parts: tuple[str, ...]) -> Cursor:
    return Cursor(os.fsencode("/".join(parts)).decode("latin-1"))


def _decoded(cursor: Cursor) -> str:
    return os.fsdecode(cursor.encode("latin-1"))
