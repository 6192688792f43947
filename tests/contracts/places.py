"""Real places with documents in them, for the contract that every `Source` keeps."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from app.domain.sources import Item, SourceName, SourceSettings
from ingest.git_source import open_git
from ingest.ports import Source


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


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Runs git as nobody in particular."""
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=Ana", "-c", "user.email=ana@example.org", *arguments],
        input=stdin,
        capture_output=True,
        check=True,
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


MAKERS: list[Maker] = [repository]
