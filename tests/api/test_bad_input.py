"""Bad input of every kind: a problem with a sentence that helps, nothing lost, and the server still answers.

On both databases: what one of them takes for text, the other may refuse.
"""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from httpx import Response

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.refusals import pointers, refusal
from tests.api.started import started, working
from tests.ingest import samples
from tests.running import Running

INTO = "/v1/collections/open/documents"
MULTIPART = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    embedder: LocalEmbedder,
    tokenizer: LocalTokenizer,
    parser: Parser,
) -> Iterator[Running]:
    """One Muniment for all of these tests, with a good document in it that must outlive them."""
    url = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create())
    folder = tmp_path_factory.mktemp("bad-input")
    with started(folder, url=url, embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_purpose("legal-review")
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"])
        run.put_principal("user:ana")
        run.put_principal("user:gone", active=False)
        run.put_principal("assistant:mute")
        run.put_principal("assistant:herald", may_assert=True)
        run.put_collection("open", owners=["group:owners"], default_readers=["group:all-staff"])
        run.publish("user:olga", "open", "# Travel\nBook a train 14 days ahead.", uri="travel")
        yield run


@pytest.fixture(autouse=True)
def _nothing_is_lost(run: Running) -> Iterator[None]:
    """After each: the server is alive, and the good document is still answered, the only one, in its one version."""
    yield
    assert run.client.get("/healthz").json() == {"status": "alive"}
    answer = run.retrieve("user:ana", "When do I book a train?", mode="lexical")
    assert [(each["citation"]["uri"], each["citation"]["version"]) for each in answer["passages"]] == [("travel", 1)]


def sent(
    run: Running, path: str, body: bytes, content_type: str = "application/json", method: str = "POST"
) -> Response:
    return run.request(method, path, "user:olga", content=body, headers={"Content-Type": content_type})


# -- Documents that cannot be read -------------------------------------------------------------------------------------

UNREADABLE: dict[str, tuple[bytes, str, int, str]] = {
    "zero-bytes": (b"", "nothing.txt", 422, "no-text"),
    "blank": (b" \r\n\t\n", "blank.txt", 422, "no-text"),
    "byte-order-mark-alone": (b"\xef\xbb\xbf", "mark.txt", 422, "no-text"),
    "pdf-without-text": (samples.blank_pdf(), "blank.pdf", 422, "no-text"),
    "pdf-named-docx": (samples.pdf(), "handbook.docx", 415, "unsupported-media-type"),
    "text-named-pdf": (b"These are words.", "handbook.pdf", 415, "unsupported-media-type"),
    "program": (b"MZ\x90\x00\x03\x00\x00\x00", "setup.exe", 415, "unsupported-media-type"),
    "unknown-extension": (b"These are words.", "words.xyz", 415, "unsupported-media-type"),
    "encrypted-pdf": (samples.locked_pdf(), "locked.pdf", 422, "unparseable-document"),
    "truncated-pdf": (samples.pdf()[:700], "half.pdf", 422, "unparseable-document"),
    "docx-without-its-end": (samples.word()[:4000], "half.docx", 422, "unparseable-document"),
    "docx-with-a-hole": (samples.word()[:2000] + samples.word()[2600:], "hole.docx", 422, "unparseable-document"),
    "zip-bomb": (
        samples.repacked(samples.word(), {"word/media/zeros.xml": bytes(50_000_000)}),
        "bomb.docx",
        422,
        "unparseable-document",
    ),
    "invalid-utf-8": (b"words \x81\x8d\x8f\x90\x9d", "words.txt", 422, "unparseable-document"),
    "null-bytes-in-text": (b"words\x00words", "words.txt", 422, "unparseable-document"),
    "null-bytes-in-markdown": (b"# words\x00words", "words.md", 422, "unparseable-document"),
    "null-bytes-in-csv": (b"a,b\n\x00,2\n", "words.csv", 422, "unparseable-document"),
    "null-bytes-in-html": (b"<p>words\x00words</p>", "words.html", 422, "unparseable-document"),
    "null-bytes-in-mail": (b"From: a@b.c\nSubject: words\n\nwords\x00", "words.eml", 422, "unparseable-document"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_document_tells_its_problem_at_once_and_by_its_job(run: Running, case: str) -> None:
    content, filename, status, kind = UNREADABLE[case]
    with working(run):
        response = run.request(
            "POST", INTO, "user:olga", files={"file": (filename, content)}, headers={"Prefer": "wait=30"}
        )
    problem = refusal(run, response, status, kind)
    if "job" not in problem:  # seen to be empty without a job
        return
    job = run.request("GET", f"/v1/jobs/{problem['job']['id']}", "user:olga").json()
    assert (job["state"], job["result"]) == ("failed", None)
    assert job["problem"] == {name: problem[name] for name in ("type", "title", "status", "detail")}


def test_unreadable_next_version_leaves_the_one_before_it_in_force(run: Running) -> None:
    with working(run):
        response = run.request(
            "POST",
            INTO,
            "user:olga",
            files={"file": ("travel.pdf", samples.locked_pdf())},
            data={"metadata": '{"uri": "travel"}'},
            headers={"Prefer": "wait=30"},
        )
    refusal(run, response, 422, "unparseable-document")


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0"], ids=["spaces", "tabs", "hard-spaces"])
def test_document_that_is_nearly_all_blanks_is_read_within_the_time_for_any(run: Running, blank: str) -> None:
    """Read once from each blank on, these would take the hours that no parser is given."""
    run.put_principal("user:ana")
    run.put_collection("notes", owners=["user:ana"])
    run.publish("user:ana", "notes", f"The heron stands{blank * 500_000}in the pond.", uri="heron")
    assert run.found("user:ana", "heron pond") == ["heron"]


def test_document_of_60_megabytes_is_too_large(run: Running) -> None:
    response = run.request("POST", INTO, "user:olga", files={"file": ("large.txt", b"words " * 10_000_000)})
    assert "20 MB" in refusal(run, response, 413, "too-large")["detail"]


@pytest.mark.parametrize("path", [INTO, "/v1/retrieve"])
@pytest.mark.parametrize("content_type", ["application/json", MULTIPART])
def test_body_of_unstated_length_is_too_large_all_the_same(run: Running, path: str, content_type: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(60):
            yield b"x" * 1_000_000

    response = run.request("POST", path, "user:olga", content=chunks(), headers={"Content-Type": content_type})
    refusal(run, response, 413, "too-large")


# -- What is said of a document ----------------------------------------------------------------------------------------

DESCRIPTIONS: dict[str, tuple[str, list[str]]] = {
    "malformed": ('{"uri": ', ["/metadata"]),
    "list": ("[]", ["/metadata"]),
    "null": ("null", ["/metadata"]),
    "unknown-field": ('{"lable": {"level": "restricted"}}', ["/metadata/lable"]),
    "unknown-field-to-be-escaped": ('{"label": {"a/b~c": 1}}', ["/metadata/label/a~1b~0c"]),
    "unknown-level": ('{"label": {"level": "cosmic"}}', ["/metadata/label/level"]),
    "label-as-text": ('{"label": "restricted"}', ["/metadata/label"]),
    "category-of-another-shape": ('{"label": {"categories": ["personal data"]}}', ["/metadata/label/categories/0"]),
    "reader-of-another-shape": ('{"readers": ["everybody"]}', ["/metadata/readers/0"]),
    "unknown-reader": ('{"readers": ["group:nobody"]}', ["/metadata/readers"]),
    "unknown-denied": ('{"denied": ["user:nobody"]}', ["/metadata/denied"]),
    "unknown-purpose": ('{"purposes": ["gossip"]}', ["/metadata/purposes"]),
    "naive-time": ('{"valid_from": "2026-01-01T00:00:00"}', ["/metadata/valid_from"]),
    "time-as-number": ('{"valid_from": 1767225600}', ["/metadata/valid_from"]),
    "before-the-year-1": ('{"valid_from": "0001-01-01T00:00:00+14:00"}', ["/metadata/valid_from"]),
    "after-the-year-9999": ('{"valid_to": "9999-12-31T23:59:59-14:00"}', ["/metadata/valid_to"]),
    "begins-at-the-end-of-time": ('{"valid_from": "9999-12-31T23:59:59.999Z"}', ["/metadata/valid_to"]),
    "ends-before-it-begins": ('{"valid_from": "2026-01-01", "valid_to": "2025-01-01"}', ["/metadata/valid_to"]),
    "null-character": ('{"title": "a\\u0000b"}', ["/metadata/title"]),
    "null-character-in-uri": ('{"uri": "\\u0000"}', ["/metadata/uri"]),
    "lone-surrogate": ('{"uri": "\\ud800"}', ["/metadata"]),
    "long-uri": ('{"uri": "' + "u" * 2001 + '"}', ["/metadata/uri"]),
    "attribute-of-another-type": ('{"attributes": {"region": {"name": "EU"}}}', ["/metadata/attributes/region"]),
    "attribute-among-others": ('{"attributes": {"region": ["EU", 5]}}', ["/metadata/attributes/region/1"]),
    "deep": ('{"attributes": ' + "[" * 10_000 + "]" * 10_000 + "}", ["/metadata"]),
    "huge-number": ('{"uri": ' + "9" * 5000 + "}", ["/metadata"]),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_bad_description_is_refused_at_the_place_that_is_bad(run: Running, case: str) -> None:
    stated, where = DESCRIPTIONS[case]
    response = run.request(
        "POST", INTO, "user:olga", files={"file": ("words.md", b"# Words")}, data={"metadata": stated}
    )
    assert pointers(refusal(run, response, 422, "invalid")) == where


PARTS: dict[str, tuple[list[tuple[str, Any]], list[str]]] = {
    "no-file": ([("metadata", (None, "{}"))], ["/file"]),
    "file-as-field": ([("file", (None, "words")), ("metadata", (None, "{}"))], ["/file"]),
    "misspelt": ([("file", ("a.md", b"# Words")), ("metadta", (None, "{}"))], ["/metadta"]),
    "two-files": ([("file", ("a.md", b"# Words")), ("file", ("b.md", b"# More"))], ["/file"]),
    "two-descriptions": ([("file", ("a.md", b"# A")), *[("metadata", (None, "{}"))] * 2], ["/metadata"]),
    "three-files": ([("file", (name, b"# Words")) for name in ("a.md", "b.md", "c.md")], []),
    "description-of-2-megabytes": ([("file", ("a.md", b"# A")), ("metadata", (None, "{" + " " * 2_000_000 + "}"))], []),
    "name-of-slashes-alone": ([("file", ("a/b/", b"# Words"))], ["/metadata/uri"]),
}


@pytest.mark.parametrize("case", PARTS)
def test_multipart_that_is_not_a_file_and_its_metadata_is_refused(run: Running, case: str) -> None:
    parts, where = PARTS[case]
    problem = refusal(run, run.request("POST", INTO, "user:olga", files=parts), 422, "invalid")
    assert pointers(problem) == where


@pytest.mark.parametrize(
    ("content_type", "status", "kind"),
    [
        ("multipart/form-data", 422, "invalid"),
        ("multipart/form-data; boundary=", 422, "invalid"),
        ("multipart/form-data; boundary=" + "x" * 300, 422, "invalid"),
        ("multipart/form-data; boundary=other", 422, "invalid"),
        ("multipart/form-data; charset=undefined; boundary=b", 415, "unsupported-media-type"),
        ("multipart/form-data; charset=utf-7; boundary=b", 415, "unsupported-media-type"),
        ("multipart/mixed; boundary=b", 415, "unsupported-media-type"),
        ("application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        ("text/plain", 415, "unsupported-media-type"),
        ("application/pdf", 415, "unsupported-media-type"),
        (";;;", 415, "unsupported-media-type"),
        ("application/json", 422, "invalid"),
    ],
)
def test_content_type_that_is_wrong_or_not_the_bodys_is_refused(
    run: Running, content_type: str, status: int, kind: str
) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="+2AA-.md"\r\n\r\n# Words\r\n--b--\r\n'
    refusal(run, sent(run, INTO, body, content_type), status, kind)


DOCUMENTS: dict[str, tuple[bytes, str, list[str]]] = {
    "no-body": (b"", "invalid", [""]),
    "malformed": (b'{"text": "words", "metadata": {', "invalid", [""]),
    "list": (b"[]", "invalid", [""]),
    "number": (b"1e400", "invalid", [""]),
    "deep": (b"[" * 10_000 + b"]" * 10_000, "invalid", [""]),
    "invalid-utf-8": (b'{"text": "\xff", "metadata": {"uri": "x"}}', "invalid", [""]),
    "lone-surrogate": (b'{"text": "\\ud800", "metadata": {"uri": "x"}}', "invalid", [""]),
    "no-metadata": (b'{"text": "words"}', "invalid", ["/metadata"]),
    "no-uri": (b'{"text": "words", "metadata": {}}', "invalid", ["/metadata/uri"]),
    "text-of-another-type": (b'{"text": 5, "metadata": {"uri": "x"}}', "invalid", ["/text"]),
    "unknown-field": (b'{"text": "words", "metadata": {"uri": "x"}, "labels": []}', "invalid", ["/labels"]),
    "other-media-type": (
        b'{"text": "words", "media_type": "application/pdf", "metadata": {"uri": "x"}}',
        "invalid",
        ["/media_type"],
    ),
    "empty": (b'{"text": "", "metadata": {"uri": "x"}}', "no-text", []),
    "blank": (b'{"text": " \\n ", "metadata": {"uri": "x"}}', "no-text", []),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_document_as_bad_json_is_refused(run: Running, case: str) -> None:
    body, kind, where = DOCUMENTS[case]
    assert pointers(refusal(run, sent(run, INTO, body), 422, kind)) == where


@pytest.mark.parametrize("prefer", [b"wait=\xb2", b"wait=-1", b"wait", b"wait=soon", b"wait=1e9", b"\x00", b"=,;="])
def test_preference_that_cannot_be_read_is_passed_over(run: Running, prefer: bytes) -> None:
    headers = {b"Content-Type": b"application/json", b"Prefer": prefer}
    response = run.request("POST", INTO, "user:olga", content=b"{", headers=headers)
    refusal(run, response, 422, "invalid")


# -- Questions ---------------------------------------------------------------------------------------------------------

QUESTIONS: dict[str, tuple[bytes, list[str]]] = {
    "4001-characters": (json.dumps({"query": "x" * 4001}).encode(), ["/query"]),
    "empty": (b'{"query": ""}', ["/query"]),
    "blank": (b'{"query": " \\n\\t\\u00a0"}', ["/query"]),
    "null": (b'{"query": null}', ["/query"]),
    "missing": (b"{}", ["/query"]),
    "unknown-field": (b'{"query": "train", "bypass_acl": true}', ["/bypass_acl"]),
    "top-k-0": (b'{"query": "train", "top_k": 0}', ["/top_k"]),
    "top-k-51": (b'{"query": "train", "top_k": 51}', ["/top_k"]),
    "top-k-as-text": (b'{"query": "train", "top_k": "8"}', ["/top_k"]),
    "top-k-true": (b'{"query": "train", "top_k": true}', ["/top_k"]),
    "top-k-huge": (b'{"query": "train", "top_k": ' + b"9" * 400 + b"}", ["/top_k"]),
    "top-k-infinite": (b'{"query": "train", "top_k": 1e400}', ["/top_k"]),
    "top-k-not-a-number": (b'{"query": "train", "top_k": NaN}', ["/top_k"]),
    "max-tokens-0": (b'{"query": "train", "max_tokens": 0}', ["/max_tokens"]),
    "unknown-mode": (b'{"query": "train", "mode": "psychic"}', ["/mode"]),
    "unknown-purpose": (b'{"query": "train", "purpose": "gossip"}', ["/purpose"]),
    "purpose-of-another-shape": (b'{"query": "train", "purpose": "legal review"}', ["/purpose"]),
    "collections-as-text": (b'{"query": "train", "collections": "open"}', ["/collections"]),
    "collection-of-another-shape": (b'{"query": "train", "collections": ["../open"]}', ["/collections/0"]),
    "naive-time": (b'{"query": "train", "as_of": "2026-01-01T00:00:00"}', ["/as_of"]),
    "time-in-words": (b'{"query": "train", "as_of": "yesterday"}', ["/as_of"]),
    "time-as-number": (b'{"query": "train", "known_at": 1767225600}', ["/known_at"]),
    "before-the-year-1": (b'{"query": "train", "as_of": "0001-01-01T00:00:00+14:00"}', ["/as_of"]),
    "after-the-year-9999": (b'{"query": "train", "known_at": "9999-12-31T23:59:59-14:00"}', ["/known_at"]),
    "filter-of-no-attribute": (b'{"query": "train", "filters": {"collection": ["open"]}}', ["/filters/collection"]),
    "filter-without-values": (b'{"query": "train", "filters": {"attributes.a": []}}', ["/filters/attributes.a"]),
    "filter-as-text": (b'{"query": "train", "filters": {"attributes.a": "b"}}', ["/filters/attributes.a"]),
    "null-character": (b'{"query": "tr\\u0000ain"}', ["/query"]),
    "null-character-in-workflow": (b'{"query": "train", "workflow": "\\u0000"}', ["/workflow"]),
    "null-character-in-filter": (
        b'{"query": "train", "filters": {"attributes.a": ["\\u0000"]}}',
        ["/filters/attributes.a/0"],
    ),
    "lone-surrogate": (b'{"query": "train \\ud800"}', ["/query"]),
    "lone-surrogate-in-decision": (b'{"query": "train", "decision": "\\udfff"}', ["/decision"]),
    "malformed": (b'{"query": ', [""]),
    "list": (b'["train"]', [""]),
    "text": (b'"train"', [""]),
    "number": (b"5", [""]),
    "null-alone": (b"null", [""]),
    "no-body": (b"", [""]),
    "invalid-utf-8": (b'{"query": "\xff\xfe"}', []),
    "deep": (b'{"query": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", []),
    "deep-without-an-end": (b"[" * 100_000, []),
    "more-digits-than-are-read": (b'{"query": "train", "top_k": ' + b"9" * 5000 + b"}", []),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_bad_question_is_refused_at_the_place_that_is_bad(run: Running, case: str) -> None:
    body, where = QUESTIONS[case]
    problem = refusal(run, sent(run, "/v1/retrieve", body), 422, "invalid")
    assert pointers(problem) == where
    assert not [each for each in problem["errors"] if re.match(r"(Input|String|List|Dictionary) ", each["detail"])]


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "json"])
@pytest.mark.parametrize("path", ["/v1/retrieve", "/v1/documents/doc_x/withdraw"])
def test_body_that_is_not_called_json_is_unsupported(run: Running, path: str, content_type: str) -> None:
    problem = refusal(run, sent(run, path, b'{"query": "train"}', content_type), 415, "unsupported-media-type")
    assert "application/json" in problem["detail"]


@pytest.mark.parametrize(
    "stated",
    [
        {"as_of": "0001-01-01T00:00:00Z"},
        {"known_at": "0001-01-01T00:00:00Z"},
        {"as_of": "9999-12-31T23:59:59.999999Z"},
        {"collections": []},
        {"collections": ["none-such"]},
        {"filters": {"attributes.none-such": ["x"]}},
    ],
    ids=str,
)
def test_odd_question_that_reaches_nothing_is_answered_empty(run: Running, stated: dict[str, Any]) -> None:
    assert run.retrieve("user:ana", "When do I book a train?", **stated)["outcome"] == "empty"


# -- Who asks ----------------------------------------------------------------------------------------------------------


def test_revoked_key_is_refused(run: Running) -> None:
    issued = run.admin("POST", "/v1/principals/user/ana/keys")
    headers = {"Authorization": f"Bearer {issued['key']}"}
    assert run.client.get("/v1/documents", headers=headers).status_code == 200
    run.admin("DELETE", f"/v1/principals/user/ana/keys/{issued['id']}")
    for _ in range(2):
        response = run.client.get("/v1/documents", headers=headers)
        refusal(run, response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer mun_unknown",
        b"Bearer mun_\x00",
        b"Bearer \xff\xfe",
        b"Bearer eyJhbGciOiJub25lIn0.e30.",
        b"Bearer " + b"x" * 100_000,
        b"Basic YTpi",
        b"mun_unknown",
    ],
    ids=lambda value: repr(value)[:30],
)
def test_missing_bad_or_malformed_key_is_refused(run: Running, authorization: bytes | None) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization}
    refusal(run, run.client.get("/v1/documents", headers=headers), 401, "unauthenticated")
    refusal(run, run.client.post("/v1/retrieve", headers=headers, json={"query": "train"}), 401, "unauthenticated")


def test_two_keys_in_one_request_are_nobodys(run: Running) -> None:
    keys = [("Authorization", f"Bearer {run.key(who)}") for who in ("user:ana", "user:olga")]
    refusal(run, run.client.get("/v1/documents", headers=keys), 401, "unauthenticated")


DELEGATIONS: dict[str, tuple[str, Sequence[tuple[str, str | bytes]], int, str]] = {
    "both-headers": (
        "assistant:herald",
        [("Muniment-Subject-Token", "key of user:ana"), ("Muniment-On-Behalf-Of", "user:ana")],
        422,
        "invalid",
    ),
    "person-for-another": ("user:ana", [("Muniment-On-Behalf-Of", "user:olga")], 403, "not-permitted"),
    "person-with-anothers-key": ("user:ana", [("Muniment-Subject-Token", "key of user:olga")], 403, "not-permitted"),
    "administrator-for-a-person": ("admin", [("Muniment-On-Behalf-Of", "user:olga")], 403, "not-permitted"),
    "without-may-assert": ("assistant:mute", [("Muniment-On-Behalf-Of", "user:ana")], 403, "not-permitted"),
    "asserting-a-group": ("assistant:herald", [("Muniment-On-Behalf-Of", "group:owners")], 422, "invalid"),
    "asserting-an-assistant": ("assistant:herald", [("Muniment-On-Behalf-Of", "assistant:mute")], 422, "invalid"),
    "asserting-nothing": ("assistant:herald", [("Muniment-On-Behalf-Of", "")], 422, "invalid"),
    "asserting-a-bare-name": ("assistant:herald", [("Muniment-On-Behalf-Of", "ana")], 422, "invalid"),
    "asserting-a-key": ("assistant:herald", [("Muniment-On-Behalf-Of", "key of user:ana")], 422, "invalid"),
    "asserting-a-null-byte": ("assistant:herald", [("Muniment-On-Behalf-Of", b"user:\x00")], 422, "invalid"),
    "asserting-what-is-no-text": ("assistant:herald", [("Muniment-On-Behalf-Of", b"user:\xff")], 422, "invalid"),
    "asserting-two": ("assistant:herald", [("Muniment-On-Behalf-Of", "user:ana")] * 2, 422, "invalid"),
    "token-of-an-assistant": (
        "assistant:herald",
        [("Muniment-Subject-Token", "key of assistant:mute")],
        401,
        "unauthenticated",
    ),
    "token-of-nobody": ("assistant:herald", [("Muniment-Subject-Token", "mun_unknown")], 401, "unauthenticated"),
    "token-empty": ("assistant:herald", [("Muniment-Subject-Token", "")], 401, "unauthenticated"),
    "token-of-null-bytes": ("assistant:herald", [("Muniment-Subject-Token", b"\x00")], 401, "unauthenticated"),
    "token-of-no-issuer": ("assistant:herald", [("Muniment-Subject-Token", "eyJh.e30.")], 401, "unauthenticated"),
}


@pytest.mark.parametrize("case", DELEGATIONS)
def test_delegation_that_does_not_hold_is_refused(run: Running, case: str) -> None:
    who, stated, status, kind = DELEGATIONS[case]
    headers: list[tuple[bytes, bytes]] = [(b"Authorization", f"Bearer {run.key(who)}".encode())]
    for name, value in stated:
        if isinstance(value, str):
            value = (run.key(value.removeprefix("key of ")) if value.startswith("key of ") else value).encode()
        headers.append((name.encode(), value))
    refusal(run, run.client.get("/v1/documents", headers=headers), status, kind)
    refusal(run, run.client.post("/v1/retrieve", headers=headers, json={"query": "train"}), status, kind)


def test_unknown_person_looks_like_one_who_left(run: Running) -> None:
    """Both are answered, and blocked: an assistant cannot find out who there is."""
    answers = [
        run.retrieve("assistant:herald", "When do I book a train?", acting_for=person)
        for person in ("user:nobody", "user:gone")
    ]
    for answer in answers:
        assert (answer["outcome"], answer["passages"]) == ("blocked", [])
        del answer["trace_id"], answer["usage"]
    assert json.dumps(answers[0]).replace("nobody", "gone") == json.dumps(answers[1])
    for path in ("/v1/documents", "/v1/collections", "/v1/traces"):
        one, other = (
            run.request("GET", path, "assistant:herald", acting_for=person) for person in ("user:nobody", "user:gone")
        )
        assert (one.status_code, one.content) == (other.status_code, other.content)


# -- The control plane -------------------------------------------------------------------------------------------------

CONTROLS: dict[str, tuple[str, str, dict[str, Any], int, str, list[str]]] = {
    "unknown-clearance": ("PUT", "/v1/principals/user/z", {"clearance": "cosmic"}, 422, "invalid", ["/clearance"]),
    "unknown-group": ("PUT", "/v1/principals/user/z", {"groups": ["group:none"]}, 422, "invalid", ["/groups"]),
    "group-of-another-shape": ("PUT", "/v1/principals/user/z", {"groups": ["staff"]}, 422, "invalid", ["/groups/0"]),
    "user-as-group": ("PUT", "/v1/principals/user/z", {"groups": ["user:ana"]}, 422, "invalid", ["/groups/0"]),
    "unknown-purpose": ("PUT", "/v1/principals/user/z", {"purposes": ["gossip"]}, 422, "invalid", ["/purposes"]),
    "unknown-collection": ("PUT", "/v1/principals/user/z", {"collections": ["x"]}, 422, "invalid", ["/collections"]),
    "category-with-a-space": (
        "PUT",
        "/v1/principals/user/z",
        {"categories": ["personal data"]},
        422,
        "invalid",
        ["/categories/0"],
    ),
    "null-in-a-name": ("PUT", "/v1/principals/user/z", {"display_name": "\x00"}, 422, "invalid", ["/display_name"]),
    "active-in-words": ("PUT", "/v1/principals/user/z", {"active": "no"}, 422, "invalid", ["/active"]),
    "may-assert-null": ("PUT", "/v1/principals/assistant/z", {"may_assert": None}, 422, "invalid", ["/may_assert"]),
    "unknown-field": ("PUT", "/v1/principals/user/z", {"admin": True}, 422, "invalid", ["/admin"]),
    "group-in-itself": (
        "PUT",
        "/v1/principals/group/owners",
        {"groups": ["group:owners"]},
        422,
        "invalid",
        ["/groups"],
    ),
    "assistant-as-staff": (
        "PUT",
        "/v1/principals/assistant/mute",
        {"groups": ["group:all-staff"]},
        422,
        "invalid",
        ["/groups"],
    ),
    "built-in-group": ("PUT", "/v1/principals/group/all-staff", {}, 409, "conflict", []),
    "built-in-administrator": ("PUT", "/v1/principals/user/administrator", {}, 409, "conflict", []),
    "unknown-kind": ("PUT", "/v1/principals/robot/z", {}, 422, "invalid", ["/path/kind"]),
    "id-of-null-bytes": ("PUT", "/v1/principals/user/%00", {}, 422, "invalid", ["/path/id"]),
    "id-with-a-space": ("PUT", "/v1/principals/user/a%20b", {}, 422, "invalid", ["/path/id"]),
    "long-id": ("PUT", "/v1/principals/user/" + "z" * 129, {}, 422, "invalid", ["/path/id"]),
    "key-of-a-group": ("POST", "/v1/principals/group/owners/keys", {}, 422, "invalid", []),
    "key-of-nobody": ("POST", "/v1/principals/user/nobody/keys", {}, 404, "not-found", []),
    "collection-without-title": ("PUT", "/v1/collections/z", {"owners": ["user:ana"]}, 422, "invalid", ["/title"]),
    "collection-without-owners": ("PUT", "/v1/collections/z", {"title": "Z"}, 422, "invalid", ["/owners"]),
    "collection-of-nobody": ("PUT", "/v1/collections/z", {"title": "Z", "owners": []}, 422, "invalid", ["/owners"]),
    "collection-of-unknown-owner": (
        "PUT",
        "/v1/collections/z",
        {"title": "Z", "owners": ["user:nobody"]},
        422,
        "invalid",
        ["/owners"],
    ),
    "collection-of-unknown-reader": (
        "PUT",
        "/v1/collections/z",
        {"title": "Z", "owners": ["user:ana"], "default_readers": ["group:none"]},
        422,
        "invalid",
        ["/default_readers"],
    ),
    "collection-of-unknown-label": (
        "PUT",
        "/v1/collections/z",
        {"title": "Z", "owners": ["user:ana"], "default_label": {"level": "cosmic"}},
        422,
        "invalid",
        ["/default_label/level"],
    ),
    "collection-reviewed-at-once": (
        "PUT",
        "/v1/collections/z",
        {"title": "Z", "owners": ["user:ana"], "review_after_days": 0},
        422,
        "invalid",
        ["/review_after_days"],
    ),
    "collection-of-a-bad-name": (
        "PUT",
        "/v1/collections/..%2e",
        {"title": "Z", "owners": ["user:ana"]},
        422,
        "invalid",
        ["/path/name"],
    ),
    "policies-that-cannot-be-read": (
        "POST",
        "/v1/policies",
        {"cedar": "permit (", "reason": "X."},
        422,
        "invalid",
        ["/cedar"],
    ),
    "policies-without-a-reason": (
        "POST",
        "/v1/policies",
        {"cedar": "permit (", "reason": ""},
        422,
        "invalid",
        ["/reason"],
    ),
    "policies-of-too-many-brackets": (
        "POST",
        "/v1/policies",
        {"cedar": "permit (principal, action, resource) when { " + "(" * 100_000, "reason": "X."},
        422,
        "invalid",
        ["/cedar"],
    ),
    "policies-approved-by-half-a-digest": (
        "POST",
        "/v1/policies/pol_x/approve",
        {"digest": "abc"},
        422,
        "invalid",
        ["/digest"],
    ),
    "policies-that-there-are-not": (
        "POST",
        "/v1/policies/%00/activate",
        {"reason": "X."},
        422,
        "invalid",
        ["/path/id"],
    ),
    "tables-of-a-bad-name": (
        "PUT",
        "/v1/policies/tests",
        {"tables": {"../t": "x"}, "reason": "X."},
        422,
        "invalid",
        ["/tables/..~1t"],
    ),
    "tables-of-brackets-alone": (
        "PUT",
        "/v1/policies/tests",
        {"tables": {"t": "[" * 300_000}, "reason": "X."},
        422,
        "invalid",
        ["/tables/t"],
    ),
    "purpose-of-nobody": ("PUT", "/v1/purposes/z", {"title": "Z", "owner": "group:none"}, 422, "invalid", ["/owner"]),
    "purpose-of-an-assistant": (
        "PUT",
        "/v1/purposes/z",
        {"title": "Z", "owner": "assistant:mute"},
        422,
        "invalid",
        ["/owner"],
    ),
    "consent-in-words": (
        "PUT",
        "/v1/purposes/z",
        {"title": "Z", "consent_required": "no"},
        422,
        "invalid",
        ["/consent_required"],
    ),
    "jurisdiction-in-itself": (
        "PUT",
        "/v1/jurisdictions/z",
        {"title": "Z", "within": ["z"]},
        422,
        "invalid",
        ["/within"],
    ),
    "jurisdiction-in-nothing": (
        "PUT",
        "/v1/jurisdictions/z",
        {"title": "Z", "within": ["y"]},
        422,
        "invalid",
        ["/within"],
    ),
    "jurisdiction-that-is-not": ("DELETE", "/v1/jurisdictions/nowhere", None, 404, "not-found", []),
    "purpose-that-is-not": ("DELETE", "/v1/purposes/nothing", None, 404, "not-found", []),
    "transfer-without-a-reason": (
        "PUT",
        "/v1/transfers",
        {"from": "EU", "to": "UK", "basis": "scc", "evidence": "A contract."},
        422,
        "invalid",
        ["/reason"],
    ),
    "consent-without-evidence": (
        "POST",
        "/v1/consents",
        {"client": "TM-1", "purpose": "legal-review", "jurisdictions": ["EU"], "evidence": {}},
        422,
        "invalid",
        ["/evidence"],
    ),
    "purpose-of-null-bytes": (
        "PUT",
        "/v1/purposes/z",
        {"title": "Z", "description": "\x00"},
        422,
        "invalid",
        ["/description"],
    ),
}


@pytest.mark.parametrize("case", CONTROLS)
def test_bad_change_of_the_control_plane_is_refused(run: Running, case: str) -> None:
    method, path, body, status, kind, where = CONTROLS[case]
    before = run.admin("GET", "/v1/principals")
    problem = refusal(run, run.request(method, path, "admin", json=body), status, kind)
    assert pointers(problem) == where
    assert "[A-Z" not in str(problem["errors"]), "an expression is nothing for a person to read"
    assert run.admin("GET", "/v1/principals") == before


# -- Addresses, cursors and methods ------------------------------------------------------------------------------------


def _cursor(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode()


ADDRESSES: dict[str, tuple[str, int, str]] = {
    **{
        f"{name}-{case}": (f"/v1/{name}/{id}", 404, "not-found")
        for name in ("documents", "jobs", "citations", "traces")
        for case, id in {
            "absent": "doc_absent",
            "not-utf-8": "%FF%FE",
            "half-a-surrogate": "%ED%A0%80",
            "with-a-question-mark": "a%3Fb",
            "with-a-line-break": "a%0D%0Ab",
            "half-encoded": "%zz",
            "up-and-away": "..%2F..%2Fsecrets",
            "long": "x" * 20_000,
        }.items()
    },
    **{
        f"{name}-null-byte": (f"/v1/{name}/%00", 422, "invalid")
        for name in ("documents", "jobs", "citations", "traces")
    },
    "versions-absent": ("/v1/documents/doc_absent/versions", 404, "not-found"),
    "versions-null-byte": ("/v1/documents/%00/versions/1/text", 422, "invalid"),
    "version-0": ("/v1/documents/doc_absent/versions/0", 404, "not-found"),
    "version-minus-1": ("/v1/documents/doc_absent/versions/-1", 404, "not-found"),
    "version-huge": ("/v1/documents/doc_absent/versions/" + "9" * 30, 404, "not-found"),
    "version-too-huge": ("/v1/documents/doc_absent/versions/" + "9" * 5000, 422, "invalid"),
    "version-in-words": ("/v1/documents/doc_absent/versions/latest", 422, "invalid"),
    "events-absent": ("/v1/jobs/job_absent/events", 404, "not-found"),
    "cursor-garbage": ("/v1/documents?cursor=%F0%9F%98%80", 422, "invalid"),
    "cursor-not-base64": ("/v1/documents?cursor=x", 422, "invalid"),
    "cursor-null-byte": ("/v1/documents?cursor=%00", 422, "invalid"),
    "cursor-number": ("/v1/documents?cursor=" + _cursor(5), 422, "invalid"),
    "cursor-of-three": ("/v1/documents?cursor=" + _cursor(["a", "b", "c"]), 422, "invalid"),
    "cursor-of-numbers": ("/v1/documents?cursor=" + _cursor([1, 2]), 422, "invalid"),
    "cursor-of-an-object": ("/v1/documents?cursor=" + _cursor({"a": 1, "b": 2}), 422, "invalid"),
    "cursor-with-null": ("/v1/documents?cursor=" + _cursor(["open", "\x00"]), 422, "invalid"),
    "cursor-with-a-surrogate": ("/v1/documents?cursor=" + _cursor(["open", "\ud800"]), 422, "invalid"),
    "cursor-deep": ("/v1/documents?cursor=" + _cursor(b"[" * 2900), 422, "invalid"),
    "cursor-long": ("/v1/documents?cursor=" + "A" * 5000, 422, "invalid"),
    "trace-cursor-absent": ("/v1/traces?cursor=tr_absent", 422, "invalid"),
    "trace-cursor-null-byte": ("/v1/traces?cursor=%00", 422, "invalid"),
    "limit-0": ("/v1/documents?limit=0", 422, "invalid"),
    "limit-201": ("/v1/documents?limit=201", 422, "invalid"),
    "limit-in-words": ("/v1/traces?limit=all", 422, "invalid"),
    "unknown-state": ("/v1/documents?state=lost", 422, "invalid"),
    "search-null-byte": ("/v1/documents?q=%00", 422, "invalid"),
    "search-long": ("/v1/documents?q=" + "x" * 201, 422, "invalid"),
    "unknown-purpose": ("/v1/documents?purpose=gossip", 422, "invalid"),
    "collection-of-another-shape": ("/v1/documents?collection=..%2Fopen", 422, "invalid"),
    "no-route": ("/v2/retrieve", 404, "not-found"),
    "no-route-at-the-root": ("/", 404, "not-found"),
    "slash-too-many": ("/v1/documents/", 404, "not-found"),
    "two-slashes": ("//v1/documents", 404, "not-found"),
    "no-id": ("/v1/documents//versions", 404, "not-found"),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_bad_address_is_refused(run: Running, case: str) -> None:
    path, status, kind = ADDRESSES[case]
    response = run.request("GET", path, "user:olga", follow_redirects=False)
    refusal(run, response, status, kind)


@pytest.mark.parametrize("key_id", ["none", "%00", "%FF", "x" * 5000])
def test_revoking_a_key_that_does_not_exist_is_refused(run: Running, key_id: str) -> None:
    response = run.request("DELETE", f"/v1/principals/user/ana/keys/{key_id}", "admin")
    status, kind = (422, "invalid") if key_id == "%00" else (404, "not-found")
    refusal(run, response, status, kind)


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "TRACE", "PROPFIND", "x"])
def test_method_that_is_not_possible_names_those_that_are(run: Running, method: str) -> None:
    response = run.request(method, "/v1/documents", "user:olga")
    refusal(run, response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET"
    refusal(run, run.request(method, "/v2/documents", "user:olga"), 404, "not-found")


def test_head_is_refused_like_any_method_that_is_not_possible(run: Running) -> None:
    response = run.request("HEAD", "/v1/documents", "user:olga")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.headers["content-type"] == "application/problem+json"


def test_made_up_methods_are_one_series_of_the_metrics(run: Running) -> None:
    for method in ("MADEUP1", "MADEUP2"):
        run.request(method, "/v1/documents", "user:olga")
    metrics = run.client.get("/metrics").text
    assert 'method="other"' in metrics
    assert "MADEUP" not in metrics


@pytest.mark.parametrize("host", [b"[::1", b"\xff\x00", b"a b", b""])
def test_bad_host_changes_nothing_about_a_refusal(run: Running, host: bytes) -> None:
    response = run.request("GET", "/v1/documents/doc_absent", "user:olga", headers={b"Host": host})
    assert refusal(run, response, 404, "not-found")["instance"] == "/v1/documents/doc_absent"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{}", []),
        (b'{"readers": null}', ["/readers"]),
        (b'{"readers": ["group:none"]}', ["/readers"]),
        (b'{"readers": ["staff"]}', ["/readers/0"]),
        (b'{"label": {"level": "cosmic"}}', ["/label/level"]),
        (b'{"purposes": ["gossip"]}', ["/purposes"]),
        (b'{"valid_from": "2026-01-01T00:00:00"}', ["/valid_from"]),
        (b'{"valid_to": "1970-01-01"}', ["/valid_to"]),
        (b'{"title": "Another"}', ["/title"]),
        (b"[]", [""]),
    ],
    ids=str,
)
def test_bad_amendment_is_refused_and_changes_nothing(run: Running, body: bytes, where: list[str]) -> None:
    (travel,) = run.request("GET", "/v1/documents", "user:olga").json()["documents"]
    response = sent(run, f"/v1/documents/{travel['document_id']}", body, method="PATCH")
    assert pointers(refusal(run, response, 422, "invalid")) == where
    assert run.request("GET", "/v1/documents", "user:olga").json()["documents"] == [travel]


@pytest.mark.parametrize("body", [b"{}", b'{"reason": ""}', b'{"reason": "\\u0000"}', b'{"reason": 5}'], ids=str)
def test_withdrawing_without_a_reason_is_refused(run: Running, body: bytes) -> None:
    (travel,) = run.request("GET", "/v1/documents", "user:olga").json()["documents"]
    response = sent(run, f"/v1/documents/{travel['document_id']}/withdraw", body)
    assert pointers(refusal(run, response, 422, "invalid")) == ["/reason"]
