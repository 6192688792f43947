"""What is read from an institution's file, before anything is laid down."""

from pathlib import Path

import pytest

from app.cli.apply import Institution, read_institution, submissions
from app.cli.console import Failed
from app.cli.demo import FIXTURES


def test_the_fixtures_are_read_and_every_collection_of_theirs_has_an_owner_who_can_submit() -> None:
    institution = read_institution(FIXTURES / "institution.yaml")
    owners = {name: institution.owner_of(name) for name in institution.collections}
    assert owners["policies"] == "user:dagny", "through group:privacy-office, which is in group:compliance"
    assert owners["contracts"] == "user:ana"
    assert set(owners) == set(institution.collections)
    documents = submissions(institution, FIXTURES / "corpora")
    assert len(documents) == len(institution.documents)
    assert all(each.document().content for each in documents)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("purposes: [", "is not YAML: see line 1"),
        ("- a\n- b", "and nothing else"),
        ("principles: {}", "and nothing else"),
        ("purposes: [a]", "purposes has a body under each name"),
        ("principals: {ana: {}}", "'ana' is not a principal"),
        ("documents: [{path: x}]", "each of documents has file, collection and metadata"),
        ("documents: [x]", "each of documents has file, collection and metadata"),
        ("&a [*a]", "cannot be read as YAML"),
        ("!!python/object:os.system {}", "is not YAML"),
        (b"\xff\xfe\xff", "cannot be read as YAML in UTF-8"),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_is_wrong(written: str | bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "institution.yaml"
    file.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(Failed) as refused:
        read_institution(file)
    assert says in str(refused.value)


def test_dates_without_quotes_are_dates_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "institution.yaml"
    file.write_text("documents: [{file: a.md, collection: c, metadata: {uri: a, valid_from: 2025-01-31}}]")
    (entry,) = read_institution(file).documents
    assert entry.metadata == {"uri": "a", "valid_from": "2025-01-31"}


def test_who_has_left_does_not_submit_and_nobody_is_made_up() -> None:
    institution = Institution(
        purposes={},
        principals={
            "group:legal": {},
            "user:gareth": {"groups": ["group:legal"], "active": False},
            "assistant:bot": {"groups": ["group:legal"]},
        },
        collections={"contracts": {"owners": ["group:legal"]}},
        documents=[],
    )
    with pytest.raises(Failed, match=r"^Nobody in the file is an active owner of contracts"):
        institution.owner_of("contracts")


def test_groups_in_a_circle_end() -> None:
    institution = Institution(
        purposes={},
        principals={
            "user:a": {"groups": ["group:x"]},
            "group:x": {"groups": ["group:y"]},
            "group:y": {"groups": ["group:x"]},
        },
        collections={"c": {"owners": ["group:y"]}},
        documents=[],
    )
    assert institution.owner_of("c") == "user:a"


def test_a_file_outside_the_documents_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "corpora").mkdir()
    file = tmp_path / "institution.yaml"
    file.write_text(
        "principals: {'user:a': {}}\n"
        "collections: {c: {owners: ['user:a']}}\n"
        "documents: [{file: ../secret.md, collection: c, metadata: {uri: a}}]"
    )
    (submission,) = submissions(read_institution(file), tmp_path / "corpora")
    with pytest.raises(Exception, match="outside the folder"):
        submission.document()
