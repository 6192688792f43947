"""What a folder, a file or an address gives to take in."""

import os
from pathlib import Path
from typing import Any

import pytest

from app.cli.client import Document
from app.cli.console import Failed
from app.cli.gather import Candidate, Unfit, gather
from app.domain.corpus import MAX_DOCUMENT_BYTES
from tests.cli.pages import Page, pages


def test_a_folder_gives_its_files_sorted_by_their_path_in_it_and_no_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.md", "a/b/c.txt", ".hidden.md", ".git/config", "a/.x/y.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = gather([str(tmp_path)])
    assert [each.uri for each in found] == ["b.md", "a/z.md", "a/b/c.txt"]
    assert _document(found[1]) == Document(
        content=b"a/z.md",
        filename="z.md",
        media_type=None,
        metadata={"source": {"connector": "files"}, "uri": "a/z.md"},
    )


def test_a_file_goes_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bees.md").write_text("# Bees")
    assert [each.uri for each in gather([str(tmp_path / "a" / "bees.md")])] == ["bees.md"]


def test_what_is_fetched_otherwise_is_not_taken_for_a_file_and_says_how(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"^Nothing here reads smb:// addresses\.$"):
        gather(["smb://server/share"])
    (tmp_path / "ana.mbox").write_text("From ana Tue Nov 10 10:00:00 2026\n")
    (mailbox,) = gather([str(tmp_path / "ana.mbox")])
    with pytest.raises(Unfit, match="register it as a source"):
        mailbox.document({})


def test_two_files_that_would_be_one_document_are_not_begun_with(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bees.md").write_text(folder)
    with pytest.raises(Failed, match=r"^Several of these would be 'bees.md'"):
        gather([str(tmp_path / "a" / "bees.md"), str(tmp_path / "b" / "bees.md")])


def test_a_link_is_followed_within_the_folder_and_never_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "more.txt").write_text("more")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "bees.md").write_text("# Bees")
    (folder / "same.md").symlink_to("bees.md")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "away").symlink_to(tmp_path / "outside", target_is_directory=True)
    found = {each.uri: each for each in gather([str(folder)])}
    assert sorted(found) == ["bees.md", "out.txt", "same.md"]
    assert _document(found["same.md"]).content == b"# Bees"
    assert _reason(found["out.txt"]) == "It is a link to something outside the folder. It was not followed."


def test_what_is_no_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.txt").symlink_to("nothing.txt")
    found = {each.uri: each for each in gather([str(tmp_path)])}
    assert _reason(found["pipe.txt"]) == "It is not a file."
    assert _reason(found["gone.txt"]) == "There is no such file."
    assert _reason(gather([str(tmp_path / "missing.txt")])[0]) == "There is no such file."


def test_a_file_over_the_limit_is_refused_and_one_at_the_limit_is_not(tmp_path: Path) -> None:
    for name, size in (("most.txt", MAX_DOCUMENT_BYTES), ("more.txt", MAX_DOCUMENT_BYTES + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    more, most = gather([str(tmp_path)])
    assert len(_document(most).content) == MAX_DOCUMENT_BYTES
    assert _reason(more) == "It is larger than 20 MB, the most that is taken. It was not sent."


def test_a_name_of_any_bytes_becomes_a_uri(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    (found,) = gather([str(tmp_path)])
    assert found.uri == "caf\N{REPLACEMENT CHARACTER}.txt"
    assert _document(found).content == b"x"


def test_metadata_of_ones_own_wins_over_what_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    stated = {"title": "A", "source": {"connector": "mail"}}
    assert gather([str(tmp_path)])[0].document(stated).metadata == {**stated, "uri": "a.md"}


def _site(path: str) -> Page:
    return {
        "/guide": (200, {"Content-Type": "text/html; charset=utf-8", "ETag": '"v7"'}, b"<h1>Guide</h1>"),
        "/files/my%20paper.pdf": (200, {"Content-Type": "application/pdf"}, b"%PDF-1.7"),
        "/": (200, {"Content-Type": "text/markdown"}, b"# Home"),
        "/moved": (302, {"Location": "/guide"}, b""),
        "/large": (200, {}, bytes(MAX_DOCUMENT_BYTES + 1)),
        "/round": (302, {"Location": "/round"}, b""),
    }.get(path, (404, {}, b""))


def test_a_page_goes_by_its_address_with_what_its_server_said_of_it() -> None:
    with pages(_site) as url:
        guide = _document(gather([f"{url}/guide"])[0])
        assert (guide.content, guide.filename, guide.media_type) == (b"<h1>Guide</h1>", "guide.html", "text/html")
        assert guide.metadata["uri"] == f"{url}/guide"
        assert guide.metadata["source"] | {"fetched_at": ""} == {"connector": "web", "fetched_at": "", "etag": '"v7"'}
        assert _document(gather([f"{url}/files/my%20paper.pdf"])[0]).filename == "my paper.pdf"
        assert _document(gather([f"{url}/"])[0]).filename == "page.md"
        assert _document(gather([f"{url}/moved"])[0]).content == b"<h1>Guide</h1>"


def test_a_page_that_cannot_be_had_is_refused_with_the_reason() -> None:
    with pages(_site) as url:
        assert _reason(gather([f"{url}/missing"])[0]) == "Its server answered with 404."
        assert _reason(gather([f"{url}/large"])[0]).startswith("It is larger than 20 MB")
        assert _reason(gather([f"{url}/round"])[0]).startswith("It could not be fetched")
    assert _reason(gather([f"{url}/guide"])[0]).startswith("It could not be fetched")
    assert _reason(gather(["http://[half/"])[0]).startswith("It could not be fetched")


def _document(candidate: Candidate, **metadata: Any) -> Document:
    return candidate.document(metadata)


def _reason(candidate: Candidate) -> str:
    with pytest.raises(Unfit) as refused:
        candidate.document({})
    return str(refused.value)
