"""Mailboxes as they are found: who may read a mail, when it was sent, and files that change while nobody looks."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import Invalid, NotFound, Unavailable
from app.domain.instants import iso, parse_instant
from app.domain.sources import Cursor, ForeignKind, Item
from ingest.mail_source import normalized_address, open_mail
from ingest.ports import Source
from tests.contracts import places
from tests.contracts.places import in_mbox

DELIVERED = b"From ana@example.org Mon Jan  1 09:00:00 2024\n"


def opened(path: Path, *, page_items: int = 2, **options: str) -> Source:
    return open_mail(places.settings("mail", str(path), **options), page_items=page_items)


def listed(source: Source, since: Cursor | None = None) -> list[Item]:
    return [item for page in source.pages(since) for item in page.items]


def only(path: Path, mail: bytes) -> Item:
    path.write_bytes(in_mbox(mail))
    (item,) = listed(opened(path))
    return item


def readers(item: Item) -> set[str]:
    assert item.acl is not None
    return {f"{entry.kind}:{entry.value}" for entry in item.acl.entries}


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


def test_sender_and_recipients_may_read_a_mail_blind_copies_and_lists_too(box: Path) -> None:
    item = only(
        box,
        b"From: =?utf-8?q?Ana_M=C3=BCller?= <Ana@Example.org>\nSender: office@example.org\n"
        b'To: "Bo, the \\"boss\\"" <BO@example.org>, cy@example.org,\n dee@b\xc3\xbccher.example\n'
        b"Cc: Team: eli@example.org, fay@example.org;, undisclosed-recipients:;\nBcc: gus@example.org\n"
        b"Delivered-To: hal@example.org\nList-Id: The board <Board.Lists.Example.org>\n"
        b"Reply-To: ida@example.org\nSubject: =?utf-8?b?R3LDvMOfZQ==?= to\n all\n\nTo: nobody@example.org\n",
    )
    names = ("ana", "office", "bo", "cy", "eli", "fay", "gus", "hal")
    assert readers(item) >= {f"user:{name}@example.org" for name in names} | {"group:board.lists.example.org"}
    assert not {reader for reader in readers(item) if "ida" in reader or "nobody" in reader}
    assert (item.title, item.author) == ("Grüße to all", "Ana Müller <Ana@Example.org>")
    assert item.media_type == "message/rfc822"


def test_a_mail_that_names_nobody_is_nobodys_to_read(box: Path) -> None:
    item = only(box, b"Subject: Lost\nTo: not an address, <>, @, a@b@c, x@\n\nText.\n")
    assert item.acl is not None
    assert {entry for entry in item.acl.entries if entry.kind is not ForeignKind.USER} == set()
    assert not any("lost" in entry.value for entry in item.acl.entries)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Ana.B+c@Example.ORG", "ana.b+c@example.org"),
        (" ana@bücher.example ", "ana@xn--bcher-kva.example"),
        ("ana", None),
        ("@example.org", None),
        ("ana@", None),
        ("ana@exa mple.org", None),
        ("ana@-example.org", None),
        ("a\x00na@example.org", None),
        ("ana@example.org\n", "ana@example.org"),
        ("bo@example.org>ana@example.org", None),
        ("x" * 65 + "@example.org", None),
    ],
)
def test_addresses_are_compared_in_one_form(address: str, expected: str | None) -> None:
    assert normalized_address(address) == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Mon, 1 Jan 2024 08:00:00 +0100", "2024-01-01T07:00:00Z"),
        ("Mon, 1 Jan 2024 08:00:00 -0000", "2024-01-01T08:00:00Z"),
        ("Mon, 1 Jan 2024 08:00:00", "2024-01-01T08:00:00Z"),
        ("Sat, 1 Jan 2044 08:00:00 +0000", "2024-01-01T09:00:00Z"),
        ("Thu, 1 Jan 1970 00:00:00 +0000", "2024-01-01T09:00:00Z"),
        ("Mon, 31 Feb 2024 08:00:00 +0000", "2024-01-01T09:00:00Z"),
        ("yesterday", "2024-01-01T09:00:00Z"),
        ("", "2024-01-01T09:00:00Z"),
    ],
)
def test_a_mail_counts_from_when_it_was_sent_or_else_from_its_delivery(box: Path, date: str, expected: str) -> None:
    item = only(box, f"From: ana@example.org\nDate: {date}\n\nText.\n".encode())
    assert item.valid_from is not None
    assert iso(item.valid_from) == expected


def test_a_mail_with_another_ones_message_id_is_another_document(box: Path) -> None:
    mails = [b"From: ana@example.org\nMessage-ID: <1@x>\nSubject: True\n\nA\n"]
    mails += [b"From: eve@example.org\nMessage-ID: <1@x>\nSubject: False\n\nB\n"]
    box.write_bytes(b"".join(map(in_mbox, mails)))
    first, second = listed(opened(box))
    assert first.key.startswith("mid:1@x#")
    assert second.key.startswith("mid:1@x#")
    assert first.key != second.key


def test_what_a_mail_program_notes_in_a_header_makes_no_other_mail_of_it(box: Path) -> None:
    mail = b"From: ana@example.org\nMessage-ID: <1@x>\n%b\nText.\n"
    before = only(box, mail % b"Status: O\n")
    after = only(box, mail % b"Status: RO\nX-Keywords: a\n  b\nX-Mozilla-Status: 0001\n")
    assert (before.key, before.etag) == (after.key, after.etag)
    assert opened(box).fetch(after).content == mail % b"Status: RO\nX-Keywords: a\n  b\nX-Mozilla-Status: 0001\n"


@pytest.mark.parametrize("note", [b"X-Status: D\n", b"X-Status: AT\n", b"X-Mozilla-Status: 0009\n"])
def test_drafts_and_deleted_mails_are_passed_over(box: Path, note: bytes) -> None:
    box.write_bytes(in_mbox(b"From: a@b.org\n" + note + b"\nText.\n") + in_mbox(b"From: a@b.org\n\nText.\n"))
    assert len(listed(opened(box))) == 1


def test_only_a_line_that_reads_like_one_and_follows_an_empty_line_begins_a_mail(box: Path) -> None:
    body = b"From here on\n\nFrom the start, at 10:00 we knew.\nFrom x Mon Jan  1 09:00:00 2024\n\n\n"
    box.write_bytes(
        DELIVERED + b"Subject: 1\n\n" + body + b"\n" + DELIVERED + b"Subject: 2\n\n>>From x\n>From y\n> From z\n"
    )
    first, second = listed(opened(box))
    assert opened(box).fetch(first).content == b"Subject: 1\n\n" + body
    assert opened(box).fetch(second).content == b"Subject: 2\n\n>From x\nFrom y\n> From z\n"


def test_windows_line_ends_and_a_missing_last_one_are_kept(box: Path) -> None:
    box.write_bytes(DELIVERED + b"Subject: 1\r\n\r\nText.\r\n\r\n" + DELIVERED + b"Subject: 2\r\n\r\nNo end")
    first, second = listed(opened(box))
    assert opened(box).fetch(first).content == b"Subject: 1\r\n\r\nText.\r\n"
    assert opened(box).fetch(second).content == b"Subject: 2\r\n\r\nNo end"


def test_a_file_that_is_no_mbox_is_refused_and_an_empty_one_is_empty(box: Path) -> None:
    box.write_bytes(b"Dear diary,\n\nFrom here on it is private.\n")
    with pytest.raises(Invalid, match="not an mbox"):
        listed(opened(box))
    box.write_bytes(b"")
    assert listed(opened(box)) == []
    for location in ("relative/box", "", "https://example.org/box", "/x\0y"):
        with pytest.raises(Invalid):
            open_mail(places.settings("mail", location))


def test_an_mbox_that_only_grows_is_read_from_where_it_ended(box: Path) -> None:
    mails = places.mails(6)
    box.write_bytes(b"".join(map(in_mbox, mails[:4])))
    source = opened(box, append_only="true")
    assert not source.lists_all
    cursor = list(source.pages(None))[-1].next
    assert listed(opened(box, append_only="true"), cursor) == []
    with box.open("ab") as file:
        file.write(b"".join(map(in_mbox, mails[4:])))
    found = listed(opened(box, append_only="true"), cursor)
    assert [opened(box).fetch(item).content for item in found] == mails[4:]


@pytest.mark.parametrize("kept", [slice(1, 6), slice(0, 2), slice(5, 6), slice(0, 0)])
def test_an_mbox_that_was_cut_or_put_away_is_listed_anew(box: Path, kept: slice) -> None:
    mails = places.mails(6)
    box.write_bytes(b"".join(map(in_mbox, mails)))
    cursor = list(opened(box).pages(None))[1].next
    box.write_bytes(b"".join(map(in_mbox, mails[kept])))
    assert listed(opened(box), cursor) == listed(opened(box))


def test_a_mail_that_is_no_longer_where_it_was_listed_is_not_mistaken_for_another(box: Path) -> None:
    mails = places.mails(6)
    box.write_bytes(b"".join(map(in_mbox, mails)))
    item = listed(opened(box))[2]
    box.write_bytes(b"".join(map(in_mbox, mails[1:])))
    with pytest.raises(NotFound):
        opened(box).fetch(item)


LINES = st.sampled_from([b"From x Mon Jan  1 09:00:00 2024", b">From y", b"From", b"", b" ", b"text", b"\xff\x00"])


@settings(max_examples=60)
@given(bodies=st.lists(st.lists(LINES), min_size=1, max_size=5))
def test_whatever_stands_in_mails_comes_out_of_an_mbox_as_it_went_in(bodies: list[list[bytes]]) -> None:
    with TemporaryDirectory() as folder:
        box = Path(folder) / "box"
        mails = [b"Subject: %d\n\n" % n + b"".join(line + b"\n" for line in body) for n, body in enumerate(bodies)]
        box.write_bytes(b"".join(map(in_mbox, mails)))
        source = opened(box)
        assert [source.fetch(item).content for item in listed(source)] == mails


@settings(max_examples=100)
@given(header=st.binary(max_size=300))
def test_no_header_is_too_broken_to_be_listed(header: bytes) -> None:
    names = (b"From", b"To", b"Date", b"Subject", b"Message-ID", b"List-Id", b"X-Mozilla-Status")
    line = header.replace(b"\n", b"\n ").replace(b"\r", b"")
    with TemporaryDirectory() as folder:
        box = Path(folder) / "box"
        box.write_bytes(DELIVERED + b"".join(name + b": " + line + b"\n" for name in names) + b"\nText.\n")
        for item in listed(opened(box)):
            for text in (item.key, item.title or "", item.author or "", *readers(item)):
                text.encode()
                assert "\x00" not in text


def test_a_huge_header_and_a_huge_line_are_bounded(box: Path) -> None:
    many = b", ".join(b"p%d@example.org" % number for number in range(50_000))
    item = only(box, b"From: ana@example.org\nTo: " + many + b"\n\n" + b"x" * 3_000_000 + b"\n")
    assert item.acl is not None
    assert len(item.acl.entries) <= 5_000


# -- Maildir -------------------------------------------------------------------------------------------------------


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    path = tmp_path / "Maildir"
    for folder in ("", ".Sent", ".Archive.2023", ".Trash", ".Drafts"):
        for inner in ("cur", "new", "tmp"):
            (path / folder / inner).mkdir(parents=True)
    return path


def put(folder: Path, name: str, subject: str) -> None:
    (folder / name).write_bytes(f"From: ana@example.org\nSubject: {subject}\n\nText.\n".encode())


def test_folders_are_read_in_order_without_drafts_trash_and_junk(maildir: Path) -> None:
    put(maildir / "new", "1704100000.M1.host", "in")
    put(maildir / ".Sent/cur", "1704100001.M1.host:2,S", "sent")
    put(maildir / ".Archive.2023/cur", "1704100002.M1.host:2,", "old")
    put(maildir / ".Trash/cur", "1704100003.M1.host:2,", "thrown away")
    put(maildir / ".Drafts/cur", "1704100004.M1.host:2,", "not sent")
    put(maildir / "tmp", "1704100005.M1.host", "not delivered")
    assert [item.title for item in listed(opened(maildir))] == ["in", "old", "sent"]
    assert [item.title for item in listed(opened(maildir, include="Archive/**"))] == ["old"]
    assert [item.title for item in listed(opened(maildir, exclude="INBOX, Sent, Drafts"))] == ["old", "thrown away"]


def test_reading_and_flagging_a_mail_leaves_it_what_it_is(maildir: Path) -> None:
    put(maildir / "new", "1704100000.M1.host", "in")
    (before,) = listed(opened(maildir))
    (maildir / "new/1704100000.M1.host").rename(maildir / "cur/1704100000.M1.host:2,FS")
    (after,) = listed(opened(maildir))
    assert before == after
    assert opened(maildir).fetch(before).content.startswith(b"From: ana")
    (maildir / "cur/1704100000.M1.host:2,FS").rename(maildir / "cur/1704100000.M1.host:2,FST")
    assert listed(opened(maildir)) == []


def test_the_time_of_delivery_is_in_the_name(maildir: Path) -> None:
    put(maildir / "new", "1704100000.M1.host", "no date")
    os.utime(maildir / "new/1704100000.M1.host", (0, 0))
    (item,) = listed(opened(maildir))
    assert item.valid_from == parse_instant("2024-01-01T09:06:40Z")


def test_links_and_locators_lead_nowhere_else(maildir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"From: x@example.org\n\nSecret.\n")
    (maildir / "cur/1704100000.M1.host:2,S").symlink_to(tmp_path / "secret")
    (maildir / ".Linked").symlink_to(tmp_path)
    assert listed(opened(maildir)) == []
    for locator in (
        "/1704100000.M1.host",
        "../secret",
        "/../../secret",
        "..//secret",
        ".x/../../secret",
        "/",
        "",
        "/.",
    ):
        with pytest.raises(NotFound):
            opened(maildir).fetch(Item(key="x", locator=locator))


def test_a_folder_that_is_no_maildir_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        listed(opened(tmp_path))
