"""Git repositories that the tests make: what each commit turns into, and what a hostile repository cannot do."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import Invalid, NotFound, TooLarge, Unavailable, UnsupportedMedia
from app.domain.instants import parse_instant
from app.domain.sources import Cursor, Item, SourceSettings
from ingest.git_source import GitSource, open_git
from tests import sites
from tests.contracts import places
from tests.contracts.places import git

HOUR_S = 3600
NOON_S = 1_700_000_000


@dataclass(slots=True)
class Repository:
    """A repository with a clock of its own: each commit is an hour after the one before, unless it says otherwise."""

    folder: Path
    now_s: int = NOON_S
    cursor: Cursor | None = None
    options: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments)

    def commit(self, *, at_s: int | None = None, author: str = "Ana <ana@example.org>", merge: str = "") -> str:
        """Commits all that is in the working folder, or merges a branch."""
        self.now_s = self.now_s + HOUR_S if at_s is None else at_s
        stamp = f"{self.now_s} +0000"
        environment = {**os.environ, "GIT_COMMITTER_DATE": stamp, "GIT_AUTHOR_DATE": f"{NOON_S - 5} +0000"}
        self.git("add", "--all")
        what = ["merge", "--quiet", "--no-ff", "-m", "merge", merge] if merge else ["commit", "--quiet", "-m", "change"]
        more = [] if merge else ["--allow-empty", f"--author={author}"]
        subprocess.run(
            ["git", "-C", self.folder, "-c", "user.name=Bo", "-c", "user.email=bo@example.org", *what, *more],
            env=environment,
            check=True,
            capture_output=True,
        )
        return self.git("rev-parse", "HEAD")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def source(self, *, page_items: int = 3, **options: str) -> GitSource:
        where = places.settings("git", str(self.folder), **options)
        return open_git(where, clones=self.folder.parent / "clones", page_items=page_items)

    def news(self, *, page_items: int = 3, **options: str) -> list[Item]:
        """What a run finds that goes on from where the last one ended."""
        items = []
        for page in self.source(page_items=page_items, **options).pages(self.cursor):
            items += page.items
            self.cursor = page.next or self.cursor
        return items

    def tree(self) -> dict[str, str]:
        """The blobs of the files that are at HEAD now."""
        listed = self.git("ls-tree", "-r", "-z", "HEAD").split("\0")
        return {line.partition("\t")[2]: line.split()[2] for line in listed if line.startswith("100")}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.folder.mkdir()
    made.git("init", "--quiet", "--initial-branch", "main")
    return made


def said(items: list[Item]) -> list[tuple[str, str | None, int]]:
    """Key, the first letters of the blob, and the hours since the first commit."""
    return [(i.key, "gone" if i.gone else "there", ((i.valid_from or 0) // 1000 - NOON_S) // HOUR_S) for i in items]


def test_each_commit_that_changed_a_path_is_a_version_from_its_commit_time(repository: Repository) -> None:
    repository.write("a.md", "one")
    first = repository.commit(author="Cy <cy@example.org>")
    repository.commit()
    repository.write("a.md", "two")
    repository.write("docs/b.md", "beside")
    repository.commit()
    items = repository.news()
    assert said(items) == [("a.md", "there", 1), ("a.md", "there", 3), ("docs/b.md", "there", 3)]
    source = repository.source()
    assert [source.fetch(item).content for item in items] == [b"one", b"two", b"beside"]
    assert items[0].author == "Cy <cy@example.org>"
    assert items[0].locator == f"{first}:a.md"
    assert items[0].etag == repository.git("rev-parse", f"{first}:a.md")


def test_a_run_tells_only_what_came_since_the_last(repository: Repository) -> None:
    repository.write("a.md", "one")
    repository.commit()
    assert len(repository.news()) == 1
    assert repository.news() == []
    repository.commit()
    assert repository.news() == []
    repository.write("b.md", "two")
    repository.commit()
    assert said(repository.news()) == [("b.md", "there", 3)]


def test_a_deleted_file_is_gone_from_the_commit_on(repository: Repository) -> None:
    repository.write("a.md", "one")
    repository.commit()
    (repository.folder / "a.md").unlink()
    repository.commit()
    repository.write("a.md", "back")
    repository.commit()
    assert said(repository.news()) == [("a.md", "there", 1), ("a.md", "gone", 2), ("a.md", "there", 3)]


def test_a_renamed_file_says_what_it_was_called_even_if_it_was_edited(repository: Repository) -> None:
    repository.write("old.md", "line\n" * 50)
    repository.commit()
    (repository.folder / "old.md").rename(repository.folder / "new.md")
    repository.write("new.md", "line\n" * 50 + "and one more\n")
    repository.commit()
    _, new, old = repository.news()
    assert (new.key, new.moved_from, new.gone) == ("new.md", "old.md", False)
    assert (old.key, old.gone, old.valid_from) == ("old.md", True, new.valid_from)


def test_what_a_merge_brings_counts_from_the_merge(repository: Repository) -> None:
    repository.write("a.md", "one")
    repository.commit()
    repository.git("checkout", "--quiet", "-b", "side")
    repository.write("b.md", "draft")
    repository.commit()
    repository.write("b.md", "final")
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.write("c.md", "meanwhile")
    repository.commit()
    repository.commit(merge="side")
    items = repository.news()
    assert said(items) == [("a.md", "there", 1), ("c.md", "there", 4), ("b.md", "there", 5)]
    assert repository.source().fetch(items[-1]).content == b"final"


def test_commit_times_that_run_backwards_never_date_a_change_before_the_one_it_follows(repository: Repository) -> None:
    for number, hour in enumerate((5, 2, 9, 3)):
        repository.write("a.md", f"{number}")
        repository.write(f"own-{number}.md", "x")
        repository.commit(at_s=NOON_S + hour * HOUR_S)
    items = repository.news(page_items=1)
    assert [hour for key, _, hour in said(items) if key == "a.md"] == [5, 5, 9, 9]
    assert [hour for key, _, hour in said(items) if key != "a.md"] == [5, 2, 9, 3]
    repository.write("a.md", "later")
    repository.commit(at_s=NOON_S + 4 * HOUR_S)
    assert said(repository.news()) == [("a.md", "there", 9)]


def test_a_forced_push_takes_back_what_is_no_longer_in_the_history(repository: Repository) -> None:
    repository.write("kept.md", "kept")
    repository.write("changed.md", "first")
    base = repository.commit()
    repository.write("changed.md", "dropped")
    repository.write("added.md", "dropped")
    repository.commit()
    assert len(repository.news()) == 4
    repository.git("reset", "--quiet", "--hard", base)
    repository.write("new.md", "new")
    repository.commit()
    items = repository.news(page_items=1)
    assert said(items) == [("added.md", "gone", 2), ("changed.md", "there", 2), ("new.md", "there", 3)]
    assert repository.source().fetch(items[1]).content == b"first"


def test_what_was_told_in_part_is_taken_back_if_the_branch_went_another_way(repository: Repository) -> None:
    repository.write("a.md", "one")
    base = repository.commit()
    repository.news()
    repository.write("a.md", "dropped")
    repository.write("b.md", "dropped")
    repository.commit()
    repository.cursor = next(
        iter(repository.source(page_items=1).pages(repository.cursor))
    ).next  # a.md, and broken off
    repository.git("reset", "--quiet", "--hard", base)
    repository.write("c.md", "instead")
    repository.commit()
    assert said(repository.news()) == [("a.md", "there", 2), ("b.md", "gone", 2), ("c.md", "there", 3)]
    assert repository.news() == []


def test_a_line_with_older_dates_counts_from_the_end_of_the_one_it_replaced(repository: Repository) -> None:
    repository.write("a.md", "one")
    base = repository.commit()
    repository.write("a.md", "dropped")
    repository.commit(at_s=NOON_S + 9 * HOUR_S)
    repository.news()
    repository.git("reset", "--quiet", "--hard", base)
    repository.write("a.md", "instead")
    repository.write("b.md", "beside")
    repository.commit(at_s=NOON_S + 3 * HOUR_S)
    assert said(repository.news()) == [("a.md", "there", 9), ("a.md", "there", 9), ("b.md", "there", 3)]
    repository.write("a.md", "and on")
    repository.commit(at_s=NOON_S + 4 * HOUR_S)
    assert said(repository.news()) == [("a.md", "there", 9)]
    repository.write("a.md", "later")
    repository.commit(at_s=NOON_S + 20 * HOUR_S)
    assert said(repository.news()) == [("a.md", "there", 20)]


def test_a_branch_set_back_takes_back_what_came_after(repository: Repository) -> None:
    repository.write("a.md", "one")
    base = repository.commit()
    repository.write("b.md", "two")
    repository.commit()
    repository.news()
    repository.git("reset", "--quiet", "--hard", base)
    assert said(repository.news()) == [("b.md", "gone", 2)]
    assert repository.news() == []


def test_a_history_whose_last_commit_was_lost_is_told_anew_and_whole(repository: Repository) -> None:
    repository.write("a.md", "one")
    repository.commit()
    repository.news()
    repository.cursor = Cursor(str(repository.cursor).replace(repository.git("rev-parse", "HEAD"), "1" * 40))
    source = repository.source()
    assert not source.lists_all
    assert [item.key for page in source.pages(repository.cursor) for item in page.items] == ["a.md"]
    assert source.lists_all


def test_names_that_a_shell_or_a_parser_would_trip_over_are_names(repository: Repository) -> None:
    names = [
        "-n.md",
        "--output=x.md",
        "a\nb.md",
        "tab\t.md",
        'quo"te.md',
        "back\\slash.md",
        "ü 🐍.md",
        ":(glob)x.md",
        "$(id)",
    ]
    for name in names:
        repository.write(name, f"It is {name!r}.")
    repository.commit()
    items = repository.news()
    assert sorted(item.key for item in items) == sorted(names)
    source = repository.source()
    assert {item.key: source.fetch(item).content.decode() for item in items} == {n: f"It is {n!r}." for n in names}


def test_names_that_lead_out_are_passed_over_and_bytes_that_are_no_text_are_spelt(repository: Repository) -> None:
    blob = git(repository.folder, "hash-object", "-w", "--stdin", stdin=b"x")
    entries = f"100644 blob {blob}\t..\0".encode() + f"100644 blob {blob}\tcaf".encode() + b"\xe9\0"
    tree = git(repository.folder, "mktree", "-z", stdin=entries)
    commit = repository.git("commit-tree", "-m", "x", tree)
    repository.git("update-ref", "refs/heads/main", commit)
    assert [item.key for item in repository.news()] == ["caf\\xe9"]


def test_links_and_submodules_are_passed_over_and_a_file_that_becomes_one_is_gone(repository: Repository) -> None:
    (repository.folder / "link.md").symlink_to("/etc/passwd")
    repository.write("file.md", "text")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    repository.git("add", "--all", "link.md", "file.md")
    repository.git("commit", "--quiet", "-m", "x")
    assert [item.key for item in repository.news()] == ["file.md"]
    (repository.folder / "file.md").unlink()
    (repository.folder / "file.md").symlink_to("/etc/passwd")
    (repository.folder / "link.md").unlink()
    repository.git("commit", "--quiet", "--all", "-m", "y")
    assert [(item.key, item.gone) for item in repository.news()] == [("file.md", True)]


def test_a_pointer_to_content_kept_elsewhere_is_refused_for_what_it_is(repository: Repository) -> None:
    repository.write("a.pdf", f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    repository.commit()
    (item,) = repository.news()
    with pytest.raises(UnsupportedMedia, match="LFS"):
        repository.source().fetch(item)


def test_only_wanted_paths_are_told_of_and_a_move_among_others_is_theirs(repository: Repository) -> None:
    repository.write("docs/in.md", "in\n" * 20)
    repository.write("docs/drafts/x.md", "draft\n" * 20)
    repository.write("src/a.py", "code\n" * 20)
    repository.commit()
    repository.git("mv", "docs/drafts/x.md", "docs/x.md")
    repository.git("mv", "docs/in.md", "src/out.md")
    repository.commit()
    items = repository.news(include="docs/**/*.md", exclude="docs/drafts/")
    assert [(item.key, item.gone, item.moved_from) for item in items] == [
        ("docs/in.md", False, None),
        ("docs/x.md", False, None),
        ("docs/in.md", True, None),
    ]


def test_history_before_a_date_is_told_as_the_state_it_had_led_to(repository: Repository) -> None:
    for number in range(3):
        repository.write("a.md", f"{number}")
        repository.write(f"{number}.md", "x")
        repository.commit(at_s=int(parse_instant(f"2024-01-0{number + 1}")) // 1000)
    items = repository.news(since="2024-01-03", page_items=1)
    assert [(item.key, (item.valid_from or 0) - parse_instant("2024-01-02")) for item in items] == [
        *((name, 0) for name in ("0.md", "1.md", "a.md")),
        *((name, 86_400_000) for name in ("2.md", "a.md")),
    ]


def test_a_branch_is_read_by_its_name_and_must_be_there(repository: Repository) -> None:
    repository.write("a.md", "main")
    repository.commit()
    repository.git("checkout", "--quiet", "-b", "release/1.0")
    repository.write("b.md", "release")
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    assert [item.key for item in repository.news(branch="release/1.0")] == ["a.md", "b.md"]
    for name in ("absent", "main~1", "--all", "a..b", "HEAD@{0}", "x\ny"):
        with pytest.raises(Invalid):
            list(repository.source(branch=name).pages(None))


def test_a_thousand_commits_are_told_as_git_tells_them(tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    stream, expected = b"", []
    for number in range(1000):
        path, body = f"docs/{number % 83}.md", f"# Paper\nState {number}.\n"
        at_s = NOON_S + number * 60
        gone = number > 500 and number % 100 == 0 and number - 83 > 0
        change = f"D {path}\n" if gone else f"M 100644 inline {path}\ndata {len(body)}\n{body}\n"
        stream += f"commit refs/heads/main\ncommitter A <a@example.org> {at_s} +0000\ndata 1\nx\n{change}\n".encode()
        expected.append((path, None if gone else body.encode(), at_s * 1000))
    git(folder, "fast-import", "--quiet", stdin=stream)
    source = open_git(places.settings("git", str(folder)), clones=tmp_path)
    items = [item for page in source.pages(None) for item in page.items]
    told = [(i.key, None if i.gone else source.fetch(i).content, i.valid_from) for i in items]
    assert told == expected


# -- whatever happens to a branch ----------------------------------------------------------------------------------


PATHS = ("a.md", "b.md", "docs/c.md", "docs/d.md")
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(PATHS), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.sampled_from(PATHS), st.just(0)),
        st.tuples(st.just("move"), st.sampled_from(PATHS), st.integers(0, 3)),
        st.tuples(st.just("back"), st.just(""), st.integers(1, 4)),
        st.tuples(st.just("merge"), st.sampled_from(PATHS), st.integers(0, 1)),
        st.tuples(st.just("list"), st.just(""), st.integers(0, 3)),
    ),
    min_size=3,
    max_size=10,
)


@settings(max_examples=8)
@given(acts=ACTS, hours=st.lists(st.integers(-3, 4), min_size=14, max_size=14))
def test_whatever_is_done_to_a_branch_what_was_told_adds_up_to_what_it_holds(
    acts: list[tuple[str, str, int]], hours: list[int]
) -> None:
    """Edits, moves, merges either way round, resets and clocks that run backwards, with runs in between that are
    broken off anywhere: the states told last are those of the branch, and no path's times ever run backwards."""
    with TemporaryDirectory(dir=_memory()) as folder:
        repository = Repository(Path(folder) / "repository")
        repository.folder.mkdir()
        repository.git("init", "--quiet", "--initial-branch", "main")
        repository.write("start.md", "start")
        repository.commit()
        told: dict[str, str] = {}
        dates: dict[str, int] = {}

        def take(items: list[Item]) -> None:
            for item in items:
                assert item.valid_from is not None
                assert dates.get(item.key, 0) <= item.valid_from
                dates[item.key] = item.valid_from
                if item.gone:
                    told.pop(item.key, None)
                else:
                    told[item.key] = item.etag or ""

        for (act, path, number), hour in zip(acts, hours, strict=False):
            at_s = repository.now_s + hour * HOUR_S
            if act == "list":
                for broken_off, page in enumerate(repository.source(page_items=1).pages(repository.cursor)):
                    take(list(page.items))
                    repository.cursor = page.next or repository.cursor
                    if broken_off == number:
                        break
            else:
                _act(repository, act, path, number, at_s)
        take(repository.news(page_items=2))
        assert told == repository.tree()
        assert repository.news() == []


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _act(repository: Repository, act: str, path: str, number: int, at_s: int) -> None:
    there = repository.folder / path
    if act == "write":
        repository.write(path, f"state {number}\n" * 9)
    elif act == "delete":
        there.unlink(missing_ok=True)
    elif act == "move" and there.is_file():
        other = repository.folder / PATHS[number]
        other.parent.mkdir(exist_ok=True)
        there.replace(other)
    elif act == "back":
        length = int(repository.git("rev-list", "--count", "--first-parent", "HEAD"))
        repository.git("reset", "--quiet", "--hard", f"HEAD~{min(number, length - 1)}")
        return
    elif act == "merge":
        main = repository.git("rev-parse", "HEAD")
        repository.git("checkout", "--quiet", "--detach")
        repository.write(f"side/{path}", f"side {at_s}")
        side = repository.commit(at_s=at_s)
        repository.git("checkout", "--quiet", "main")
        if number:  # the branch is put onto the side's line, of which it becomes the second parent
            repository.write("main.md", f"main {at_s}")
            main = repository.commit(at_s=at_s)
            repository.git("reset", "--quiet", "--hard", side)
            side = main
        repository.commit(at_s=at_s, merge=side) if side != main or number else None
        return
    repository.commit(at_s=at_s)


# -- repositories elsewhere ----------------------------------------------------------------------------------------


def served(site: sites.Site, repositories: Path) -> None:
    """Lets a site answer for the repositories in a folder, by git's own program for it."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        done = subprocess.run(
            ["git", "http-backend"],
            input=handler.rfile.read(length),
            capture_output=True,
            check=True,
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(repositories),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": "uploadpack.allowFilter",
                "GIT_CONFIG_VALUE_0": "true",
                "GIT_CONFIG_KEY_1": "safe.directory",
                "GIT_CONFIG_VALUE_1": "*",
                "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "REQUEST_METHOD": handler.command,
                "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
                "REMOTE_ADDR": "127.0.0.1",
            },
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        handler.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    site.otherwise = answer


def test_a_repository_elsewhere_is_cloned_once_and_then_only_what_is_new_is_fetched(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("a.md", "one")
    repository.write("large.bin", "x" * 20_500_000)
    base = repository.commit()
    with sites.site() as site:
        served(site, tmp_path)
        where = places.settings("git", f"{site.url}/repository/.git")

        def source() -> GitSource:
            return open_git(where, clones=tmp_path / "clones")

        def news(cursor: Cursor | None) -> tuple[list[Item], Cursor | None]:
            items = []
            for page in source().pages(cursor):
                items += page.items
                cursor = page.next or cursor
            return items, cursor

        items, cursor = news(None)
        assert [item.key for item in items] == ["a.md", "large.bin"]
        assert source().fetch(items[0]).content == b"one"
        with pytest.raises(TooLarge):
            source().fetch(items[1])
        kept = sum(each.stat().st_size for each in (tmp_path / "clones").rglob("*") if each.is_file())
        assert kept < 1_000_000

        repository.write("a.md", "two")
        repository.commit()
        items, cursor = news(cursor)
        assert [(item.key, source().fetch(item).content) for item in items] == [("a.md", b"two")]

        repository.git("reset", "--quiet", "--hard", base)
        repository.git("reflog", "expire", "--expire=now", "--all")
        repository.git("gc", "--quiet", "--prune=now")
        items, cursor = news(cursor)
        assert [(item.key, source().fetch(item).content) for item in items] == [("a.md", b"one")]

        with pytest.raises(Invalid, match="no such branch"):
            list(open_git(_with(where.location, branch="absent"), clones=tmp_path / "clones").pages(None))
        site.otherwise = None
        site.redirect("/repository/.git/info/refs?service=git-upload-pack", "http://127.0.0.1:1/elsewhere")
        with pytest.raises(Unavailable):
            news(cursor)


def _with(location: str, **options: str) -> SourceSettings:
    return places.settings("git", location, **options)


@pytest.mark.parametrize(
    "location",
    [
        "ext::sh -c 'touch pwned'",
        "--upload-pack=touch pwned",
        "https://ana:secret@example.org/x.git",
        "https://token@example.org/x.git",
        "ssh://-oProxyCommand=touch/x",
        "-oProxyCommand=x@host:path",
        "git://example.org/x.git",
        "https:///x",
        "relative/path",
        "https://example.org/x\n.git",
        "",
    ],
)
def test_locations_that_could_run_something_or_show_a_secret_are_refused(location: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        open_git(_with(location), clones=tmp_path)
    assert "secret" not in refusal.value.detail
    assert "token" not in refusal.value.detail


def test_a_repository_cannot_make_us_run_anything(repository: Repository, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    repository.write(".gitattributes", "*.md diff=evil filter=evil\n")
    repository.write("a.md", "one\n" * 30)
    repository.commit()
    repository.git("mv", "a.md", "b.md")
    repository.write("b.md", "one\n" * 30 + "two")
    repository.commit()
    for name in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass", "diff.external"),
        *("diff.evil.command", "diff.evil.textconv", "filter.evil.smudge", "filter.evil.clean", "gpg.program"),
        *("uploadpack.packObjectsHook", "credential.helper", "core.gitProxy", "core.alternateRefsCommand"),
    ):
        repository.git("config", name, str(program))
    repository.git("config", "log.showSignature", "true")
    repository.git("config", "core.repositoryFormatVersion", "1")
    repository.git("config", "extensions.partialClone", "evil")
    repository.git("config", "remote.evil.url", f"ext::{program} x")
    repository.git("config", "remote.evil.promisor", "true")
    hooks = repository.folder / ".git" / "hooks"
    shutil.rmtree(hooks, ignore_errors=True)
    hooks.mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"):
        shutil.copy(program, hooks / hook)
    items = repository.news()
    source = repository.source()
    for item in items:
        if not item.gone:
            source.fetch(item)
    with pytest.raises((NotFound, Unavailable)):
        source.fetch(Item(key="x.md", etag="2" * 40))  # lost: git would ask the remote for it
    assert not mark.exists()
