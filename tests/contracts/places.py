"""Real places with documents in them, for the contract that every `Source` keeps."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from xml.sax.saxutils import escape

import fsspec  # type: ignore[import-untyped]

from app.domain.sources import Item, SourceName, SourceSettings
from ingest.git_source import open_git
from ingest.mail_source import open_mail
from ingest.objects_source import open_objects
from ingest.ports import Source
from ingest.web_source import open_web
from tests import sites


class Opener(Protocol):
    def __call__(self, *, page_items: int = 4, max_bytes: int = 1000) -> Source: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    open: Opener
    contents: dict[str, bytes]
    """By key."""
    lose: Callable[[Item], Item]
    """Takes an item away; what to ask for then."""
    shut: Callable[[], None]
    """From now on nothing there can be reached."""


Maker = Callable[[Path, int], AbstractContextManager[Place]]


def settings(connector: str, location: str, **options: str) -> SourceSettings:
    return SourceSettings(
        name=SourceName("papers"), collection="papers", connector=connector, location=location, options=options
    )


def written(count: int) -> dict[str, bytes]:
    """Documents by path, in several folders, with names that are awkward."""
    awkward = ("-rf.md", "a b.md", "ümläut é.md", "100% #1?.md", "'quoted\".md", "x/deep/er/still.md")
    names = [*awkward, *(f"folder-{number // 50}/paper {number}.md" for number in range(count))][:count]
    return {name: f"# Paper {name}\n\nIt says {name}.\n".encode() for name in names}


def git(folder: Path, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    """Runs git as nobody in particular."""
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=Ana", "-c", "user.email=ana@example.org", *arguments],
        input=stdin,
        capture_output=True,
        check=True,
        env={**os.environ, **(env or {})},
    )
    return done.stdout.decode().strip()


@contextmanager
def repository(folder: Path, count: int) -> Iterator[Place]:
    """A commit for each document, and one for the first three together."""
    repository = folder / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch", "main")
    papers = written(count)
    stream = b""
    for number, (path, content) in enumerate(papers.items()):
        if number not in (1, 2):
            stream += (
                f"commit refs/heads/main\ncommitter Ana <ana@example.org> {1_700_000_000 + number} +0000\n".encode()
            )
            stream += b"data 1\nx"
        quoted = path.replace("\\", "\\\\").replace('"', '\\"')
        stream += f'\nM 100644 inline "{quoted}"\ndata {len(content)}\n'.encode() + content
        if number not in (0, 1):
            stream += b"\n"
    git(repository, "fast-import", "--quiet", stdin=stream)

    def opened(*, page_items: int = 4, max_bytes: int = 1000) -> Source:
        where = settings("git", str(repository))
        return open_git(where, clones=folder / "clones", page_items=page_items, max_bytes=max_bytes)

    yield Place(
        open=opened,
        contents=papers,
        lose=lambda item: replace(item, etag="0" * 40),
        shut=lambda: shutil.rmtree(repository),
    )


@contextmanager
def bucket_in_a_folder(folder: Path, count: int) -> Iterator[Place]:
    """Objects in a local folder, with a link that leads out of it, to be passed over."""
    root = folder / "bucket"
    papers = written(count)
    for path, content in papers.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (folder / "secret").mkdir()
    (folder / "secret" / "s.md").write_bytes(b"# Secret")
    (root / "link.md").symlink_to(folder / "secret" / "s.md")
    (root / "linked").symlink_to(folder / "secret")

    def lose(item: Item) -> Item:
        (root / item.key).unlink()
        return item

    yield Place(open=_objects(root.as_uri()), contents=papers, lose=lose, shut=lambda: shutil.rmtree(root))


@contextmanager
def bucket_in_memory(folder: Path, count: int) -> Iterator[Place]:
    files = fsspec.filesystem("memory")
    root = f"/bucket-{folder.name}"
    papers = written(count)
    for path, content in papers.items():
        files.pipe_file(f"{root}/{path}", content)

    def lose(item: Item) -> Item:
        files.rm_file(f"{root}/{item.key}")
        return item

    def shut() -> None:
        if files.exists(root):
            files.rm(root, recursive=True)

    try:
        yield Place(open=_objects(f"memory:/{root}"), contents=papers, lose=lose, shut=shut)
    finally:
        shut()


def _objects(url: str) -> Opener:
    def opened(*, page_items: int = 4, max_bytes: int = 1000) -> Source:
        return open_objects(settings("objects", url), page_items=page_items, max_bytes=max_bytes)

    return opened


def mails(count: int) -> list[bytes]:
    """Mails, some with lines that an mbox must quote, and some without a Message-ID."""
    return [
        (
            f"From: Ana <ana@example.org>\nTo: bo@example.org\nSubject: Paper {number}\n"
            f"Date: Mon, 1 Jan 2024 09:{number // 60 % 60:02d}:{number % 60:02d} +0000\n"
            + (f"Message-ID: <{number}/..@example.org>\n" if number % 3 else "")
            + f"\nIt says {number}.\n\nFrom here on it is quoted: 10:00 2024.\n>From there, too.\n"
        ).encode()
        for number in range(count)
    ]


def in_mbox(mail: bytes) -> bytes:
    lines = [b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in mail.splitlines(keepends=True)]
    return b"From ana@example.org Mon Jan  1 09:00:00 2024\n" + b"".join(lines) + b"\n"


@contextmanager
def mbox(folder: Path, count: int) -> Iterator[Place]:
    path = folder / "box"
    all_mails = mails(count)
    path.write_bytes(b"".join(in_mbox(mail) for mail in all_mails))

    def opened(*, page_items: int = 4, max_bytes: int = 1000) -> Source:
        return open_mail(settings("mail", str(path)), page_items=page_items, max_bytes=max_bytes)

    def lose(item: Item) -> Item:
        content = opened().fetch(item).content
        path.write_bytes(b"".join(in_mbox(mail) for mail in all_mails if mail != content))
        return item

    contents = {item.key: mail for item, mail in zip(_listed(opened()), all_mails, strict=True)}
    yield Place(open=opened, contents=contents, lose=lose, shut=path.unlink)


@contextmanager
def maildir(folder: Path, count: int) -> Iterator[Place]:
    path = folder / "Maildir"
    for inner in ("cur", "new", "tmp", ".Archive.2023/cur", ".Archive.2023/new", ".Drafts/cur", ".Drafts/new"):
        (path / inner).mkdir(parents=True)
    all_mails = mails(count)
    for number, mail in enumerate(all_mails):
        place = ("cur", "new", ".Archive.2023/cur")[number * 3 // count]
        flags = "" if place == "new" else ":2,S"
        (path / place / f"{1_704_100_000 + number}.M{number}.host{flags}").write_bytes(mail)
    (path / ".Drafts/cur/1704100000.M1.host:2,").write_bytes(b"Subject: Not sent\n\nYet.\n")
    (path / "cur/1704100000.M2.host:2,DS").write_bytes(b"Subject: Not sent either\n\nYet.\n")

    def opened(*, page_items: int = 4, max_bytes: int = 1000) -> Source:
        return open_mail(settings("mail", str(path)), page_items=page_items, max_bytes=max_bytes)

    def lose(item: Item) -> Item:
        for each in path.rglob(item.locator.rpartition("/")[2] + "*"):
            each.unlink()
        return item

    contents = {item.key: mail for item, mail in zip(_listed(opened()), all_mails, strict=True)}
    yield Place(open=opened, contents=contents, lose=lose, shut=lambda: shutil.rmtree(path))


@contextmanager
def sitemap(folder: Path, count: int) -> Iterator[Place]:
    """Pages that a sitemap lists."""
    with sites.site() as site:
        pages = {f"/{quote(path)}": content for path, content in written(count).items()}
        listed = "".join(f"<url><loc>{escape(site.url + path)}</loc></url>" for path in pages)
        site.put("/sitemap.xml", f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</urlset>')
        for path, content in pages.items():
            site.put(path, content, "text/markdown")
        yield _site(site, f"{site.url}/sitemap.xml", {site.url + path: content for path, content in pages.items()})


@contextmanager
def linked_pages(folder: Path, count: int) -> Iterator[Place]:
    """Pages that link to each other, found by following links."""
    with sites.site() as site:
        pages = {
            f"/docs/{number}": "".join(f'<a href="/docs/{each}">x</a>' for each in range(number * 3, number * 3 + 4))
            for number in range(count)
        }
        for path, content in pages.items():
            site.put(path, content)
        contents = {site.url + path: content.encode() for path, content in pages.items()}
        yield _site(site, f"{site.url}/docs/0", contents, crawl_depth="10")


def _site(site: sites.Site, location: str, contents: dict[str, bytes], **options: str) -> Place:
    def opened(*, page_items: int = 4, max_bytes: int = 1000) -> Source:
        where = settings("web", location, **options)
        pause = lambda seconds: None  # noqa: E731
        return open_web(where, private_networks_allowed=True, page_items=page_items, max_bytes=max_bytes, pause=pause)

    def lose(item: Item) -> Item:
        del site.served[item.key.removeprefix(site.url)]
        return item

    return Place(open=opened, contents=contents, lose=lose, shut=site.stop)


def _listed(source: Source) -> list[Item]:
    return [item for page in source.pages(None) for item in page.items]


MAKERS: list[Maker] = [repository, bucket_in_a_folder, bucket_in_memory, mbox, maildir, sitemap, linked_pages]
