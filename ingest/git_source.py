"""A git repository as a source: each commit that changed a path on the branch is a version of that path.

The history that counts is the branch's first-parent line: what the branch said, and from when. A merge is one step of
it, at the merge's own time, as that is when the branch began to say what was merged. What the plain `git` program
prints is read as it comes, parted by NUL, so no name or message can be taken for anything else; a repository's own
configuration cannot make it run anything.

Commit times may run backwards, since clocks do. Of each path they are made non-decreasing: a change is never dated
before the change of the same path that it follows. Where the branch was put on another line (a forced push), what it
said before is not unsaid: it said so until then, and "then" is the time of the last commit that was dropped, as nobody
keeps when a branch was moved.
"""

import hashlib
import os
import re
import shutil
import subprocess
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import urlsplit

from app.domain.errors import Invalid, MunimentError, NotFound, Unavailable, UnsupportedMedia
from app.domain.instants import BEGINNING, FOREVER, Instant, parse_instant
from app.domain.sources import Cursor, Fetched, Item, Page, SourceSettings
from ingest.gate import MAX_FILE_BYTES
from ingest.listing import (
    PAGE_ITEMS,
    Options,
    Paths,
    Position,
    count,
    cursor_of,
    is_safe_path,
    local_path,
    paged,
    position_of,
    tidy,
    too_large,
    word,
)

_FETCH_TIMEOUT_S: Final = 3600
_ASK_TIMEOUT_S: Final = 300
_MAX_TOKEN_BYTES: Final = 1_000_000
_READ_BYTES: Final = 16_384
_FILE_MODES: Final = ("100644", "100755", "100664")
"""Links (120000) and submodules (160000) are not content of this repository."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP_LIKE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\x00-\x1f]+")
_LFS: Final = b"version https://git-lfs.github.com/spec/"

_SAFELY: Final = (
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "safe.directory=*",
    "-c",
    "log.showRoot=true",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "http.followRedirects=false",
)
_AS_IT_IS: Final = (
    *("--raw", "-z", "--no-abbrev", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--no-relative", "-O", "/dev/null", "--ignore-submodules=none"),
)
"""Whatever anybody's configuration says."""


def open_git(
    settings: SourceSettings, *, clones: Path, page_items: int = PAGE_ITEMS, max_bytes: int = MAX_FILE_BYTES
) -> "GitSource":
    """The `Source` of a repository: a local folder, read in place, or a URL, cloned bare below `clones`.

    Options: `branch` (the remote's or folder's HEAD, if not given), `include` and `exclude` (patterns of paths, see
    `Paths`) and `since` (a date: what stood then is the first version of each path, and older history is left out).
    """
    if shutil.which("git") is None:
        raise Invalid("The program git is not installed on this machine: install it (apt-get install git).")
    options = Options(settings)
    branch, since = options.text("branch"), options.text("since")
    paths = options.paths()
    options.refuse_others()
    if branch.startswith("-") or re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock$|/$|\.$", branch):
        raise Invalid("The option 'branch' is not the name of a branch.")
    repository = _repository(settings.location, clones=clones, branch=branch)
    return GitSource(
        repository,
        paths=paths,
        since=parse_instant(since) if since else None,
        plan=hashlib.sha256("\n".join((settings.location, branch, since, paths.text)).encode()).hexdigest()[:16],
        page_items=page_items,
        max_bytes=max_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A path as a step leaves it; `blob` is `None` where it is no longer a file."""

    path: str
    blob: str | None
    at: Instant
    moved_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """From one state of the branch to the next: `commit` is where it stands after it. Its changes are drawn once."""

    commit: str
    author: str | None
    changes: Iterator[_Change]
    left: str = ""
    """The commit that was dropped by this step, if it went back."""


class GitSource:
    """The `Source` port on a repository. It tells what happened; see `lists_all` for the one exception."""

    def __init__(
        self,
        repository: "_Repository",
        *,
        paths: Paths,
        since: Instant | None,
        plan: str,
        page_items: int,
        max_bytes: int,
    ) -> None:
        self._repository = repository
        self._paths = paths
        self._since = since
        self._plan = plan
        self._page_items = page_items
        self._max_bytes = max_bytes
        self._lists_all = False

    @property
    def lists_all(self) -> bool:
        """False, until a listing had to begin anew: the commit it should go on from is no longer there at all, or
        branch or patterns are others than they were. Such a listing names every path that there ever was.
        """
        return self._lists_all

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        head = self._repository.head()
        start = position_of(since)
        if since is not None and not self._leads_on(start):
            self._lists_all = True
            start = {}
        walk = _Walk(at=word(start, "at"), left=word(start, "left"))
        last: Cursor | None = None
        for page in paged(self._items(walk, head, start), size=self._page_items):
            last = page.next
            yield page
        if walk.left and self._repository.time(walk.left) <= self._repository.time(head):
            walk.left = ""
        end = cursor_of(self._position(walk, into="", done=0))
        if end != (last or since):
            yield Page(items=(), next=end)

    def _leads_on(self, start: Position) -> bool:
        """Whether a cursor is one of this source as it is set up now, at commits that are still there."""
        known = (word(start, name) for name in ("at", "left", "in"))
        return word(start, "plan") == self._plan and all(
            not each or (_COMMIT.fullmatch(each) is not None and self._repository.has(each)) for each in known
        )

    def fetch(self, item: Item) -> Fetched:
        if item.etag is None or not _COMMIT.fullmatch(item.etag):
            raise NotFound("It is not in the repository.")
        content = self._repository.blob(item.etag, max_bytes=self._max_bytes)
        if content.startswith(_LFS) and len(content) < 1024:
            raise UnsupportedMedia("The repository holds only a pointer to it: its content is kept in Git LFS.")
        return Fetched(content=content, filename=PurePosixPath(item.key).name, etag=item.etag, author=item.author)

    def _items(self, walk: "_Walk", head: str, start: Position) -> Iterator[tuple[Item, Position]]:
        """What each step changed, with where to go on after it; a step that was broken off begins where it was.

        If the branch was moved meanwhile, so that the step is no longer on its way, what was told of it is taken back.
        """
        into, done = word(start, "in"), count(start, "done")
        steps = self._steps(walk, head)
        step = next(steps, None)
        if done and (step is None or step.commit != into):
            for item in self._changed(self._taken_back(walk.at, into)):
                yield item, start
            if into and not self._repository.is_ancestor(into, head):
                walk.left = into
            done, steps = 0, self._steps(walk, head)
            step = next(steps, None)
        while step is not None:
            for number, item in enumerate(self._changed(step), start=1):
                if number > done:
                    yield item, self._position(walk, into=step.commit, done=number)
            done = 0
            walk.at = step.commit
            walk.left = step.left or walk.left
            step = next(steps, None)

    def _taken_back(self, at: str, into: str) -> _Step:
        """From a state that was told in part back to the one that was told whole, dated after both."""
        time = max(self._repository.time(each) for each in (at, into) if each)
        dated = [self._dated_after(each, time) for each in (at, into) if each]
        changes = self._repository.difference(into, at, lambda *paths: max(each(*paths) for each in dated))
        return _Step(commit=at, author=None, changes=changes)

    def _position(self, walk: "_Walk", *, into: str, done: int) -> Position:
        return {"plan": self._plan, "at": walk.at, "left": walk.left, "in": into, "done": done}

    def _changed(self, step: _Step) -> Iterator[Item]:
        for change in step.changes:
            moved_from = change.moved_from
            if moved_from is not None and not self._wants(moved_from):
                moved_from = None
            if self._wants(change.path):
                yield Item(
                    key=change.path,
                    etag=change.blob,
                    gone=change.blob is None,
                    author=step.author,
                    valid_from=change.at,
                    locator=f"{step.commit}:{change.path}",
                    moved_from=moved_from,
                )
            if moved_from is not None:
                yield Item(key=moved_from, gone=True, author=step.author, valid_from=change.at)

    def _wants(self, path: str) -> bool:
        return is_safe_path(path) and self._paths.wants(path)

    # -- steps

    def _steps(self, walk: "_Walk", head: str) -> Iterator[_Step]:
        """How the branch came from where it was (nothing, if empty) to `head`.

        1. It only grew: each commit on its first-parent line.
        2. It was put on a line where it was an ancestor, but not by first parents: all of the way is one step.
        3. It was rewritten (a forced push, a reset): back to where the two part, then on along the new line.
        """
        repository, at = self._repository, walk.at
        if at == head:
            return
        base = repository.parting(at, head) if at else ""
        if not at:
            yield from self._from_the_beginning(head, walk.left)
        elif base == at:  # 1
            yield from self._line(at, head, walk.left)
        elif repository.is_ancestor(at, head):  # 2
            dated = self._dated_after(at, max(repository.time(at), repository.time(head)))
            yield _Step(commit=head, author=None, changes=repository.difference(at, head, dated))
        else:  # 3
            undone = repository.difference(at, base, self._dated_after(at, repository.time(at)))
            yield _Step(commit=base, author=None, changes=undone, left=at)
            if base:
                yield from self._line(base, head, at)
            else:
                yield from self._from_the_beginning(head, at)

    def _from_the_beginning(self, head: str, left: str) -> Iterator[_Step]:
        first = ""
        if self._since is not None:
            times = self._repository.times(head)
            before = _before(times, self._since)
            if before is not None:
                first = self._repository.on_line(head, back=len(times) - 1 - before)
                time = Instant(times[before])
                stood = self._repository.difference("", first, lambda *_: time)
                yield _Step(commit=first, author=None, changes=stood)
        yield from self._line(first, head, left)

    def _line(self, at: str, head: str, left: str) -> Iterator[_Step]:
        """The commits after `at` on the first-parent line of `head`; none is dated before what it does away with."""
        times = self._repository.times(head)
        begin = len(times) - self._repository.line_length(at, head)
        dates = self._dates(times, begin, at)
        if left:
            for path, time in self._dropped(left, head):
                dates.hold(path, time)
        yield from self._repository.line(at, head, dates, begin=begin)

    def _dropped(self, left: str, head: str) -> Iterator[tuple[str, Instant]]:
        """The paths that a dropped line had changed since it parted, and until when that stood at least."""
        repository = self._repository
        times, until = repository.times(left), repository.time(left)
        own = repository.line_length(repository.parting(left, head), left)
        begin = len(times) - own
        base = repository.on_line(left, back=own) if begin else ""
        for step in repository.line(base, left, self._dates(times, begin, base), begin=begin):
            for change in step.changes:
                for path in (change.path, change.moved_from):
                    if path is not None:
                        yield path, max(change.at, until)

    def _dated_after(self, at: str, time: Instant) -> "_Dated":
        """When a path's change counts from that was made at `time` on top of a commit."""
        times = array("q", [*self._repository.times(at), time])
        begin = len(times) - 1
        return self._dates(times, begin, at).by(begin)

    def _dates(self, times: Sequence[int], begin: int, at: str) -> "_Dates":
        """Dates from the commit of number `begin` on, which follows `at`: what came before is read again if it must."""
        before = _before(times, self._since) if self._since is not None else None
        dates = _Dates(times, least=BEGINNING if before is None else times[before])
        first = 0 if before is None else before + 1
        if first < begin and dates.run_backwards_from(begin):
            start = self._repository.on_line(at, back=begin - first) if first else ""
            for step in self._repository.line(start, at, dates, begin=first):
                for _ in step.changes:
                    pass
        return dates


@dataclass(slots=True)
class _Walk:
    """Where a listing is: the state that was told whole, and the line that was dropped and may still be dated later."""

    at: str
    left: str


def _before(times: Sequence[int], since: Instant) -> int | None:
    """The last commit before the first that is not older than `since`."""
    first = next((number for number, time in enumerate(times) if time >= since), len(times))
    return first - 1 if first else None


class _Dates:
    """Commit times, made non-decreasing for each path. Only paths that a later commit could underbid are held."""

    def __init__(self, times: Sequence[int], *, least: int) -> None:
        self._times = times
        self._least = least
        self._lowest_after = array("q", bytes(8 * (len(times) + 1)))
        self._lowest_after[-1] = FOREVER
        for number in range(len(times) - 1, -1, -1):
            self._lowest_after[number] = min(times[number], self._lowest_after[number + 1])
        self._held: dict[str, int] = {}

    def run_backwards_from(self, begin: int) -> bool:
        return max(self._times[:begin]) > self._lowest_after[begin]

    def hold(self, path: str, time: Instant) -> None:
        """Date no change of this path before that."""
        self._held[path] = max(time, self._held.get(path, time))

    def by(self, number: int) -> "_Dated":
        return lambda *paths: self._dated(paths, number)

    def _dated(self, paths: tuple[str, ...], number: int) -> Instant:
        """When what the commit of this number did to these paths together counts from."""
        time = max(self._times[number], self._least, *(self._held.get(path, self._least) for path in paths))
        for path in paths:
            if time > self._lowest_after[number + 1]:
                self._held[path] = time
            else:
                self._held.pop(path, None)
        return Instant(time)


_Dated = Callable[..., Instant]
"""Given one path, or two of which one became the other."""


# -- the program ---------------------------------------------------------------------------------------------------


def _repository(location: str, *, clones: Path, branch: str) -> "_Repository":
    """The repository at a location: a folder here, or a clone of a URL."""
    if location.startswith("-") or any(character < " " for character in location):
        raise Invalid("The location of a repository is an absolute path, an https:// or ssh:// URL or user@host:path.")
    scheme, separator, _ = location.partition("://")
    if not separator and _SCP_LIKE.fullmatch(location):
        return _Clone(location, folder=clones, branch=branch)
    if separator and scheme in ("https", "http", "ssh"):
        try:
            parts = urlsplit(location)
            host, password, user = parts.hostname or "", parts.password, parts.username
        except ValueError:
            host, password, user = "", None, None
        if not re.fullmatch(r"[A-Za-z0-9\[][A-Za-z0-9.:\]_-]*", host):
            raise Invalid("The location is not a URL with a host.")
        if password is not None or (user is not None and scheme != "ssh"):
            raise Invalid(
                "A URL with a user or password in it is not taken, since locations are shown. "
                "Let git's credential helper know them, for the account that runs the worker."
            )
        return _Clone(location, folder=clones, branch=branch)
    path = local_path(location)
    if path is None:
        raise Invalid("The location of a repository is an absolute path, an https:// or ssh:// URL or user@host:path.")
    return _Repository(path, branch=branch)


class _Repository:
    """The git program on one repository, that is only read."""

    def __init__(self, folder: Path, *, branch: str) -> None:
        self._folder = folder
        self._ref = f"refs/heads/{branch}" if branch else "HEAD"
        self._empty: str | None = None
        self._blobs: subprocess.Popen[bytes] | None = None
        self._end_blobs: weakref.finalize[..., _Repository] | None = None

    def head(self) -> str:
        """The commit that the branch stands at now."""
        if not self._folder.is_dir():
            raise Unavailable("There is no folder at the location of this repository.")
        found = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self._ref}^{{commit}}")
        if found is None:
            raise Invalid("There is no git repository at the location, or no such branch with a commit in it.")
        return found

    def has(self, commit: str) -> bool:
        return self._ask("cat-file", "-e", f"{commit}^{{commit}}") is not None

    def is_ancestor(self, commit: str, of: str) -> bool:
        return self._ask("merge-base", "--is-ancestor", commit, of) is not None

    def parting(self, at: str, head: str) -> str:
        """The newest commit on the first-parent line of `head` that `at` comes from too; empty if there is none."""
        with self._tokens("rev-list", "--first-parent", "--parents", head, f"^{at}", end=b"\n") as lines:
            last = deque(lines, maxlen=1)
        if not last:
            return head
        _, _, parents = last[0].decode("ascii").partition(" ")
        return parents.partition(" ")[0]

    def on_line(self, head: str, *, back: int) -> str:
        """The commit so many first parents before `head`."""
        return self._told("rev-parse", "--verify", f"{head}~{back}")

    def line_length(self, at: str, head: str) -> int:
        """How many commits of the first-parent line of `head` come after `at`."""
        return int(self._told("rev-list", "--first-parent", "--count", head, *([f"^{at}"] if at else [])))

    def time(self, commit: str) -> Instant:
        return _instant(self._told("show", "--no-patch", "--no-show-signature", "--format=%ct", commit))

    def times(self, head: str) -> Sequence[int]:
        """When each commit of the first-parent line of `head` was made, oldest first."""
        arguments = ("log", "--first-parent", "--reverse", "--no-show-signature", "--format=%ct", head)
        with self._tokens(*arguments, end=b"\n") as lines:
            return array("q", (_instant(line.decode("ascii")) for line in lines))

    def line(self, at: str, head: str, dates: _Dates, *, begin: int) -> Iterator[_Step]:
        """A step for each commit after `at` on the first-parent line of `head`, oldest first; `begin` is its number."""
        arguments = (
            *("log", "--first-parent", "-m", "--reverse", "--find-renames", "-l1000", *_AS_IT_IS),
            *("--no-show-signature", "--no-notes", "--no-mailmap", "--encoding=UTF-8"),
            *("--format=%H%x00%an%x00%ae", head, *([f"^{at}"] if at else []), "--"),
        )
        with self._tokens(*arguments) as tokens:
            stream = _Lookahead(tokens)
            for number in count_from(begin):
                if (commit := stream.next()) is None:
                    return
                author = _author(stream.needed(), stream.needed())
                changes = self._changes(stream, dates.by(number))
                yield _Step(commit=commit.decode("ascii"), author=author, changes=changes)

    def difference(self, old: str, new: str, dated: _Dated) -> Iterator[_Change]:
        """What parts two states, by path, without renames; an empty one holds nothing."""
        trees = [each or self._nothing() for each in (old, new)]
        with self._tokens("diff-tree", "-r", "--no-renames", *_AS_IT_IS, *trees, "--") as tokens:
            yield from self._changes(_Lookahead(tokens), dated)

    def _changes(self, stream: "_Lookahead", dated: _Dated) -> Iterator[_Change]:
        """The raw lines that come next, `:<old mode> <new mode> <old id> <new id> <status>` and one or two paths."""
        while stream.peek().lstrip(b"\n").startswith(b":"):
            old_mode, mode, _, blob, status = stream.needed().decode("ascii").strip("\n:").split(" ")
            path = _text(stream.needed())
            moved_from = None
            if status.startswith("R"):
                moved_from, path = path, _text(stream.needed())
            is_file, was_file = mode in _FILE_MODES, old_mode in _FILE_MODES
            if moved_from is not None and is_file and was_file:
                yield _Change(path=path, blob=blob, at=dated(path, moved_from), moved_from=moved_from)
            elif is_file:
                yield _Change(path=path, blob=blob, at=dated(path))
            elif was_file:
                yield _Change(path=path, blob=None, at=dated(path))

    def blob(self, id: str, *, max_bytes: int) -> bytes:
        """A blob's content, from one process that is kept for all of them."""
        try:
            process = self._blobs or self._open_blobs()
            asked, answered = process.stdin, process.stdout
            assert asked is not None
            assert answered is not None
            asked.write(id.encode("ascii") + b"\n")
            asked.flush()
            said = answered.readline(_READ_BYTES).split()
            if len(said) != 3:
                if not said:
                    raise BrokenPipeError
                raise NotFound("It is not in the repository.")
            size = int(said[2])
            if said[1] != b"blob" or size > max_bytes:
                self._close_blobs()  # rather than read past all of it
                raise too_large(max_bytes) if said[1] == b"blob" else NotFound("It is not a file of the repository.")
            content = answered.read(size + 1)
        except (OSError, ValueError) as error:
            self._close_blobs()
            raise self._blob_lost() from error
        if len(content) != size + 1:
            self._close_blobs()
            raise self._blob_lost()
        return content[:-1]

    def _blob_lost(self) -> MunimentError:
        return Unavailable("The repository could not be read. It may be damaged: try git fsck.")

    def _open_blobs(self) -> subprocess.Popen[bytes]:
        process = self._start("cat-file", "--batch", stdin=subprocess.PIPE, environment=self._environment())
        self._blobs, self._end_blobs = process, weakref.finalize(self, _ended, process)
        return process

    def _close_blobs(self) -> None:
        if self._end_blobs is not None:
            self._end_blobs()
        self._blobs = self._end_blobs = None

    def _nothing(self) -> str:
        """The id of the tree that holds nothing, in this repository's kind of id."""
        if self._empty is None:
            self._empty = self._told("hash-object", "-t", "tree", "--stdin")
        return self._empty

    # -- running it

    def _told(self, *arguments: str) -> str:
        answer = self._ask(*arguments)
        if answer is None:
            raise Unavailable("The repository could not be read. It may be damaged: try git fsck.")
        return answer

    def _ask(self, *arguments: str) -> str | None:
        """What git prints, without the end of line; `None` if it fails."""
        try:
            done = subprocess.run(
                self._command(*arguments),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ASK_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable("The git program did not answer.") from error
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None

    @contextmanager
    def _tokens(self, *arguments: str, end: bytes = b"\0") -> Iterator[Iterator[bytes]]:
        """What git prints, cut at `end`, as it comes. Raises `Unavailable` after the last if git failed."""
        process = self._start(*arguments, stdin=subprocess.DEVNULL, environment=self._for_listing())
        assert process.stdout is not None
        try:
            yield _cut(process.stdout, end)
            if process.stdout.read(1) == b"" and process.wait() != 0:
                raise Unavailable("The repository could not be read to the end. It may be damaged: try git fsck.")
        finally:
            _ended(process)

    def _start(self, *arguments: str, stdin: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._command(*arguments),
                env=environment,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise Unavailable("The git program could not be started.") from error

    def _command(self, *arguments: str) -> list[str]:
        return ["git", "--no-pager", *_SAFELY, "-C", str(self._folder), *arguments]

    def _environment(self) -> dict[str, str]:
        """Nothing of ours and nobody's configuration but the repository's own; and no way out of this machine."""
        return {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH")},
            "LC_ALL": "C",
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(self._folder.parent),
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "none",
        }

    def _for_listing(self) -> dict[str, str]:
        return self._environment()


class _Clone(_Repository):
    """A bare clone of one branch. Files larger than may be read are left where they are, if the server lets us."""

    def __init__(self, url: str, *, folder: Path, branch: str) -> None:
        name = hashlib.sha256(f"{url}\n{branch}".encode()).hexdigest()[:32]
        super().__init__(folder / f"{name}.git", branch="")
        self._url = url
        self._theirs = f"refs/heads/{branch}" if branch else "HEAD"
        self._ref = "refs/muniment/head"

    def head(self) -> str:
        self._fetch()
        return super().head()

    def _fetch(self) -> None:
        """Bring what is new. What was fetched once is kept, so a cursor's commit outlives a forced push."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable("The clone's folder could not be made.") from error
        self._told("init", "--quiet", "--bare", ".")
        self._told("config", "remote.origin.url", self._url)
        command = self._command(
            *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60", "-c", "fetch.fsckObjects=false"),
            *("fetch", "--quiet", "--no-tags", "--force", "--no-auto-maintenance", "--no-recurse-submodules"),
            *(f"--filter=blob:limit={MAX_FILE_BYTES + 1}", "--end-of-options", "origin"),
            f"+{self._theirs}:{self._ref}",
        )
        try:
            done = subprocess.run(
                command,
                env=self._reaching_out(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_FETCH_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable("The repository took too long to answer.") from error
        if done.returncode != 0:
            raise _refusal(done.stderr.decode("utf-8", "replace"))

    def _for_listing(self) -> dict[str, str]:
        """To tell a large file's renaming, git may have to bring the file after all."""
        return self._reaching_out()

    def _blob_lost(self) -> MunimentError:
        return too_large()

    def _reaching_out(self) -> dict[str, str]:
        """As the account that runs us is set up, for its credentials, but asking nobody anything."""
        ours = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
        return {
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20",
            **ours,
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_ALLOW_PROTOCOL": self._url.partition("://")[0] if "://" in self._url else "ssh",
        }


_OF_ANOTHER_REPOSITORY: Final = frozenset(
    (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_CONFIG_PARAMETERS",
        "GIT_TRACE",
        "GIT_CURL_VERBOSE",
    )
)


def _refusal(said: str) -> MunimentError:
    """Why a fetch failed, in our words: git's may hold what is not for everybody."""
    if "couldn't find remote ref" in said:
        return Invalid("The repository has no such branch, or no commit in it.")
    if re.search(r"Authentication failed|could not read|Permission denied|Host key|403|401", said):
        return Unavailable("The repository refuses us: give the account that runs the worker its credentials for git.")
    return Unavailable("The repository could not be reached, or is not one.")


def _ended(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.kill()
    process.wait()


def _cut(stream: IO[bytes], end: bytes) -> Iterator[bytes]:
    held = b""
    while part := stream.read1(_READ_BYTES):  # type: ignore[attr-defined]
        *whole, held = (held + part).split(end)
        if len(held) > _MAX_TOKEN_BYTES:
            raise Invalid("The repository holds a name of more than a million characters.")
        yield from whole
    if held:
        yield held


class _Lookahead:
    """Tokens one by one, with a look at the next."""

    def __init__(self, tokens: Iterator[bytes]) -> None:
        self._tokens = tokens
        self._next = next(tokens, None)

    def peek(self) -> bytes:
        return self._next or b""

    def next(self) -> bytes | None:
        token, self._next = self._next, next(self._tokens, None)
        return token

    def needed(self) -> bytes:
        token = self.next()
        if token is None:
            raise Unavailable("The git program stopped in the middle.")
        return token


def _text(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 are written `\\xNN`."""
    return path.decode("utf-8", "backslashreplace")


def _author(name: bytes, address: bytes) -> str | None:
    return tidy(f"{name.decode('utf-8', 'replace')} <{address.decode('utf-8', 'replace')}>", max_chars=300)


def _instant(seconds: str) -> Instant:
    return Instant(max(BEGINNING, min(int(seconds) * 1000, FOREVER - 1)))
