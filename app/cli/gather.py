"""What `muniment ingest` was given to take in: files, folders and addresses, each under the uri it will have."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from app.cli.client import Document
from app.cli.console import Failed
from app.domain.corpus import MAX_DOCUMENT_BYTES

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_TOO_LARGE = f"It is larger than {MAX_DOCUMENT_BYTES // 1_000_000} MB, the most that is taken. It was not sent."
_SUFFIXES = {
    "application/pdf": ".pdf",
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "message/rfc822": ".eml",
}


class Unfit(Exception):
    """It cannot be sent, for the reason given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Something to take in. `root` is the folder it must not lead out of, if it was found in one."""

    uri: str
    place: Path | str
    root: Path | None = None

    def document(self, metadata: Mapping[str, Any]) -> Document:
        """Its bytes, with this metadata under its uri. Raises `Unfit`."""
        stated = {**metadata, "uri": self.uri}
        return _page(self.place, stated) if isinstance(self.place, str) else _file(self.place, self.root, stated)


def gather(targets: Sequence[str]) -> list[Candidate]:
    """Every candidate in `targets`, in their order, a folder's sorted. Raises `Failed` if two would have one uri."""
    found = [candidate for target in targets for candidate in _candidates(target)]
    uris = Counter(candidate.uri for candidate in found)
    if twice := [uri for uri, times in uris.items() if times > 1]:
        raise Failed(f"Several of these would be {twice[0]!r}, versions of one document. Give the folder they are in.")
    return found


def _candidates(target: str) -> Iterator[Candidate]:
    if target.startswith(("http://", "https://")):
        yield Candidate(uri=target, place=target)
        return
    if "://" in target:
        raise Failed(f"Nothing here reads {_text(target.partition('://')[0])}:// addresses.")
    path = Path(target)
    if not path.is_dir():
        yield Candidate(uri=_text(path.name), place=path)
        return
    for folder, folders, names in os.walk(path, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            place = Path(folder, name)
            yield Candidate(uri=_text(place.relative_to(path).as_posix()), place=place, root=path)


def _file(place: Path, root: Path | None, metadata: Mapping[str, Any]) -> Document:
    try:
        if root is not None and not place.resolve().is_relative_to(root.resolve()):
            raise Unfit("It is a link to something outside the folder. It was not followed.")
        if not place.exists():
            raise Unfit("There is no such file.")
        if not place.is_file():
            raise Unfit("It is not a file.")
        if place.suffix.lower() == ".mbox":
            raise Unfit("It is a mailbox: register it as a source, with muniment source add.")
        with place.open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise Unfit(f"It cannot be read: {error.strerror}.") from None
    if len(content) > MAX_DOCUMENT_BYTES:
        raise Unfit(_TOO_LARGE)
    stated = {"source": {"connector": "files"}, **metadata}
    return Document(content=content, filename=_text(place.name), media_type=None, metadata=stated)


def _page(url: str, metadata: Mapping[str, Any]) -> Document:
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=5, timeout=_TIMEOUT) as client,
            client.stream("GET", url) as response,
        ):
            if not response.is_success:
                raise Unfit(f"Its server answered with {response.status_code}.")
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_DOCUMENT_BYTES:
                    raise Unfit(_TOO_LARGE)
            headers = response.headers
    except (httpx.HTTPError, httpx.InvalidURL):
        raise Unfit("It could not be fetched: its server cannot be reached, or does not answer as it should.") from None
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower() or None
    source = {"connector": "web", "fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}
    if etag := headers.get("etag"):
        source["etag"] = etag[:500]
    return Document(
        content=bytes(content),
        filename=_filename(url, media_type),
        media_type=media_type,
        metadata={"source": source, **metadata},
    )


def _filename(url: str, media_type: str | None) -> str:
    """The last part of the path; where that has no suffix, one by the media type."""
    name = unquote(urlsplit(url).path).rpartition("/")[2] or "page"
    return name if "." in name else name + _SUFFIXES.get(media_type or "", "")


def _text(name: str) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return os.fsencode(name).decode("utf-8", "replace")
