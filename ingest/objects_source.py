"""A bucket, or any folder that fsspec reaches, as a source: each object below the location is a document.

Listed in the order of names, so a listing goes on after the last name whatever came or went meanwhile. S3 lists from a
name itself; elsewhere one folder's names are held at a time. Links in a local folder are passed over: they lead out.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec  # type: ignore[import-untyped]

from app.domain.errors import Invalid, MunimentError, NotFound, NotPermitted, Unavailable
from app.domain.instants import Instant, instant_of
from app.domain.sources import Cursor, Fetched, Item, Page, SourceSettings
from ingest.gate import MAX_FILE_BYTES
from ingest.listing import (
    PAGE_ITEMS,
    Options,
    Paths,
    Position,
    is_safe_path,
    local_path,
    paged,
    position_of,
    tidy,
    too_large,
    word,
)

_NEEDS: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
}
"""Which of our extras brings a scheme's package."""
_MAX_DEPTH: Final = 100
_Info = Mapping[str, Any]
"""What fsspec tells of an object: name, size, type, and what else the store has."""


def open_objects(
    settings: SourceSettings, *, page_items: int = PAGE_ITEMS, max_bytes: int = MAX_FILE_BYTES
) -> "ObjectsSource":
    """The `Source` of all objects below a URL: `s3://bucket/folder`, `gs://...`, `az://...`, `file:///folder`.

    Options: `include` and `exclude` (patterns of paths below the location, see `Paths`) and `anonymous` (true: public
    objects, without credentials). Credentials, region, account and endpoint are taken from the environment, as the
    store's own package does (`AWS_ENDPOINT_URL`, ...): an owner's options must not say where a server goes.
    """
    options = Options(settings)
    paths, anonymous = options.paths(), options.flag("anonymous")
    options.refuse_others()
    scheme = _checked(settings.location)
    try:
        files = fsspec.filesystem(
            scheme, use_listings_cache=False, skip_instance_cache=True, **_arguments(scheme, anonymous=anonymous)
        )
        local = local_path(settings.location)
        root = str(local or files._strip_protocol(settings.location)).rstrip("/")
    except ImportError as error:
        extra = _NEEDS.get(scheme)
        how = f'pip install "muniment[{extra}]"' if extra else f"the fsspec package that reads {scheme}://"
        raise Invalid(f"What is needed to read {scheme}:// is not installed on this machine: {how}.") from error
    except (TypeError, ValueError, OSError) as error:
        raise Invalid(f"The location or its options are not what {scheme}:// takes.") from error
    if not root and scheme != "memory":
        raise Invalid("The location names a bucket or folder, as in s3://bucket/folder.")
    return ObjectsSource(files, root=root, scheme=scheme, paths=paths, page_items=page_items, max_bytes=max_bytes)


def _checked(location: str) -> str:
    """The scheme of a location that may be opened."""
    scheme, separator, rest = location.partition("://")
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise Invalid("The location is a URL, such as s3://bucket/folder or file:///folder.")
    if scheme in ("http", "https"):
        raise Invalid("Pages and files on the web are read by the connector 'web', which keeps to their rules.")
    if "::" in location or scheme == "local" or scheme not in fsspec.available_protocols():
        raise Invalid(f"There is no store that is spoken of as {scheme[:40]}://.")
    if re.match(r"[^/]*:[^/]*@", rest):
        raise Invalid("A URL with a password in it is not taken, since locations are shown: set it in the environment.")
    if scheme == "file" and local_path(location) is None:
        raise Invalid("The location of a local folder is absolute, as in file:///folder.")
    if any(part == ".." for part in rest.split("/")) or "\x00" in rest:
        raise Invalid("The location names its folder without '..'.")
    return scheme


def _arguments(scheme: str, *, anonymous: bool) -> dict[str, Any]:
    """What the store's package is opened with."""
    if not anonymous:
        return {}
    return {"token": "anon"} if _NEEDS.get(scheme) == "gcs" else {"anon": True}


class ObjectsSource:
    """The `Source` port on a file system of fsspec's."""

    lists_all = True

    def __init__(self, files: Any, *, root: str, scheme: str, paths: Paths, page_items: int, max_bytes: int) -> None:
        self._files = files
        self._root = root
        self._scheme = scheme
        self._paths = paths
        self._page_items = page_items
        self._max_bytes = max_bytes

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        after = word(position_of(since), "after")
        yield from paged(self._items(after), size=self._page_items)

    def fetch(self, item: Item) -> Fetched:
        if not is_safe_path(item.key):
            raise NotFound("It is not there.")
        path = f"{self._root}/{item.key}"
        if self._scheme == "file" and Path(path).resolve() != Path(self._root).resolve() / item.key:
            raise NotFound("It is no longer there.")  # a link took its place
        with _told(lost=NotFound("It is no longer there.")):
            info = self._files.info(path)
            if info.get("type") != "file" or _is_link(info):
                raise NotFound("It is no longer there.")
            if (info.get("size") or 0) > self._max_bytes:
                raise too_large(self._max_bytes)
            content = bytes(self._files.cat_file(path, start=0, end=self._max_bytes + 1))
        if len(content) > self._max_bytes:
            raise too_large(self._max_bytes)
        name = PurePosixPath(item.key).name
        stated = info.get("ContentType") or info.get("contentType")
        return Fetched(
            content=content,
            filename=name,
            media_type=str(stated) if stated and not PurePosixPath(name).suffix else None,
            etag=_etag(info),
        )

    def _items(self, after: str) -> Iterator[tuple[Item, Position]]:
        with _told(lost=Unavailable("There is no such bucket or folder, or it is not shown to us.")):
            for key, info in self._listed(after):
                if not is_safe_path(key) or not self._paths.wants(key):
                    continue
                item = Item(key=key, etag=_etag(info), valid_from=self._began(info), author=_author(info), locator=key)
                yield item, {"after": key}

    def _listed(self, after: str) -> Iterator[tuple[str, _Info]]:
        if hasattr(self._files, "call_s3"):
            yield from self._listed_by_s3(after)
        else:
            yield from self._listed_by_folder("", after, depth=0)

    def _listed_by_s3(self, after: str) -> Iterator[tuple[str, _Info]]:
        """By ListObjectsV2, which begins after a name and gives a thousand at a time in the order of UTF-8."""
        bucket, _, folder = self._root.partition("/")
        prefix = f"{folder}/" if folder else ""
        begin = {"StartAfter": prefix + after} if after else {}
        while True:
            answer = self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1000, **begin)
            found = answer.get("Contents", [])
            for each in found:
                if not each["Key"].endswith("/"):
                    info = {"size": each["Size"], "ETag": each.get("ETag"), "LastModified": each.get("LastModified")}
                    yield each["Key"].removeprefix(prefix), info
            if not answer.get("IsTruncated") or not found:
                return
            begin = {"StartAfter": found[-1]["Key"]}

    def _listed_by_folder(self, folder: str, after: str, *, depth: int) -> Iterator[tuple[str, _Info]]:
        """A folder's objects and those of the folders in it, by whole names: `a.md` stands before `a/b.md`."""
        there = f"{self._root}/{folder}".rstrip("/")
        entries = []
        for info in self._files.ls(there or "/", detail=True):
            whole = str(info["name"]).rstrip("/")
            is_folder = info.get("type") == "directory"
            if whole == there:  # some stores keep an empty object for a folder; else it is not a folder at all
                if not folder and not is_folder and info.get("size"):
                    raise Invalid("The location is one object: name the bucket or folder that it is in.")
                continue
            name = whole.rpartition("/")[2]
            key = f"{folder}{name}/" if is_folder else f"{folder}{name}"
            past = key <= after and not (is_folder and after.startswith(key))
            if name and not past and not _is_link(info) and info.get("type") in ("file", "directory"):
                entries.append((key, is_folder, info))
        entries.sort(key=lambda entry: entry[0])
        for key, is_folder, info in entries:
            if not is_folder:
                yield key, info
            elif depth < _MAX_DEPTH and is_safe_path(key.rstrip("/")):
                try:
                    yield from self._listed_by_folder(key, after, depth=depth + 1)
                except FileNotFoundError:
                    continue  # it was taken away while we were listing

    def _began(self, info: _Info) -> Instant | None:
        """When a bucket was given this content. The date of a file in a folder says too little: any copy sets it."""
        if self._scheme not in _NEEDS:
            return None
        for name in ("LastModified", "last_modified", "updated"):
            moment = info.get(name)
            if isinstance(moment, str):
                try:
                    moment = datetime.fromisoformat(moment)
                except ValueError:
                    continue
            if isinstance(moment, datetime) and moment.tzinfo is not None:
                return instant_of(moment)
        return None


def _etag(info: _Info) -> str | None:
    """The store's own word for the content, else size and time."""
    for name in ("ETag", "etag", "generation", "md5Hash", "content_settings_md5"):
        if info.get(name):
            return str(info[name]).strip('"')[:200]
    for name in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        if info.get(name) is not None:
            return f"{info.get('size')}-{info[name]}"[:200]
    return None


def _author(info: _Info) -> str | None:
    owner = info.get("Owner") or info.get("owner")
    name = owner.get("DisplayName") if isinstance(owner, Mapping) else owner
    return tidy(name, max_chars=300) if isinstance(name, str) else None


def _is_link(info: _Info) -> bool:
    return bool(info.get("islink")) or info.get("type") == "link"


@contextmanager
def _told(*, lost: MunimentError) -> Iterator[None]:
    """Everything that a store's package may raise, in our words. Theirs may hold addresses and names of accounts."""
    try:
        yield
    except MunimentError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise lost from error
    except PermissionError as error:
        if isinstance(lost, NotFound):
            raise NotPermitted("The store refuses it to us.") from error
        raise Unavailable("The store refuses us: set its credentials where the worker runs.") from error
    except _foreign() as error:
        raise Unavailable("The store could not be reached, or refuses us. Try again in a moment.") from error


def _foreign() -> tuple[type[Exception], ...]:
    """What a store's package may raise. Of the packages, only those that are loaded have exceptions to name."""
    found: list[type[Exception]] = [OSError, ValueError]
    for module, name in (
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("azure.core.exceptions", "AzureError"),
        ("google.auth.exceptions", "GoogleAuthError"),
        ("gcsfs.retry", "HttpError"),
        ("aiohttp", "ClientError"),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            found.append(kind)
    return tuple(found)
