"""Who may read what a source brings: by its access list, in the names of another directory, from one moment on."""

import base64
import json
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from sqlalchemy import func, select

from app.operations.synchronize import synchronize
from app.store.database import reading
from app.store.tables import EmbeddingRow, JobRow
from tests.api.test_attachments import mail
from tests.running import Running

AT = "/v1/collections/intranet/sources/crawl"
ANA = {"type": "user", "value": "guid-ana", "accessType": "grant"}
BO = {"type": "user", "value": "guid-bo", "accessType": "grant"}
EVERYONE = {"type": "everyone", "value": "tenant", "accessType": "grant"}


def _founded(run: Running) -> None:
    run.put_principal("group:owners")
    run.put_principal("group:legal")
    run.put_principal("user:lena", groups=["group:owners"])
    run.put_principal("user:ana", groups=["group:legal"])
    run.put_principal("user:bo")
    run.put_collection("intranet", owners=["group:owners"], default_readers=["group:all-staff"])
    _identities(run, {"user:guid-ana": "user:ana", "user:guid-bo": "user:bo", "group:guid-legal": "group:legal"})
    stated = {"connector": "push", "namespace": "entra"}
    assert run.request("PUT", AT, "user:lena", json=stated).status_code == 200


def _identities(run: Running, meant: dict[str, str]) -> None:
    named = [
        {"kind": name.partition(":")[0], "value": name.partition(":")[2], "principal": ref}
        for name, ref in meant.items()
    ]
    run.admin("PUT", "/v1/identities/entra", {"identities": named})


def _push(run: Running, *lines: Any) -> list[dict[str, Any]]:
    """The verdict of each line; what was taken is published."""
    content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    headers = {"Content-Type": "application/x-ndjson"}
    answer = run.request("POST", f"{AT}/push", "user:lena", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    run.work()
    synchronize(run.ports)
    return [json.loads(line) for line in answer.text.splitlines()]


def _states(run: Running, *lines: Any) -> list[str]:
    return [each["state"] for each in _push(run, *lines)]


def _item(acl: Any, key: str = "horses", text: str = "The draught horse pulls the cart.", **more: Any) -> Any:
    return {"key": key, "content": text, "acl": acl, **more}


def _readers(run: Running) -> list[str]:
    """Who of the four finds the horses."""
    people = ("user:ana", "user:bo", "user:lena")
    return [each for each in people if "horses" in run.found(each, "Which horse pulls the cart?")]


def test_who_may_read_is_whom_the_access_list_names_and_nobody_whom_it_does_not_know(run: Running) -> None:
    _founded(run)
    unknown = {"type": "user", "value": "guid-nobody-knows", "accessType": "grant"}
    legal = {"type": "group", "value": "guid-legal", "accessType": "grant"}
    cases: list[tuple[Any, list[str]]] = [
        ([ANA], ["user:ana", "user:lena"]),
        ([legal], ["user:ana", "user:lena"]),
        ([EVERYONE], ["user:ana", "user:bo", "user:lena"]),
        ([{**EVERYONE, "type": "everyoneExceptGuests"}], ["user:ana", "user:bo", "user:lena"]),
        ([], ["user:lena"]),
        ([unknown], ["user:lena"]),
        ([EVERYONE, {**BO, "accessType": "deny"}], ["user:ana", "user:lena"]),
        ([EVERYONE, {**unknown, "accessType": "deny"}], ["user:lena"]),
        ([ANA, {**EVERYONE, "accessType": "deny"}], ["user:lena"]),
        ([{**ANA, "value": "GUID-ANA"}], ["user:lena"]),
        (None, ["user:ana", "user:bo", "user:lena"]),
    ]
    for n, (acl, readers) in enumerate(cases):
        assert _states(run, _item(acl)) == ["new" if n == 0 else "boundary-only"] or acl == [unknown]
        assert _readers(run) == readers, acl


def test_another_access_list_alone_takes_effect_at_once_and_neither_reads_nor_embeds_anything(run: Running) -> None:
    _founded(run)
    _push(run, _item([ANA, BO]))
    before = _work_done(run)
    content = json.dumps(_item([ANA])).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    answer = run.request("POST", f"{AT}/push", "user:lena", content=content, headers=headers)
    assert json.loads(answer.text)["state"] == "boundary-only"
    assert _readers(run) == ["user:ana", "user:lena"]  # the worker has done nothing yet
    run.work()
    assert _work_done(run) == before


def test_an_access_list_closes_what_came_with_a_mail_and_opens_nothing_that_was_set_apart(run: Running) -> None:
    _founded(run)
    sent = EmailMessage()
    sent.set_content("The papers come with this message.")
    for name, content in {"horses.md": b"The draught horse pulls the cart.", "cows.md": b"The cow gives milk."}.items():
        sent.add_attachment(content, maintype="text", subtype="markdown", filename=name)
    content = base64.b64encode(bytes(sent)).decode()
    line = {"key": "mail.eml", "content_base64": content, "media_type": "message/rfc822"}
    _push(run, {**line, "acl": [ANA, BO]})
    parts = ["mail.eml#attachments/1-horses.md", "mail.eml#attachments/2-cows.md"]
    listed = run.request("GET", "/v1/documents?collection=intranet", "user:lena").json()["documents"]
    horses = next(each["document_id"] for each in listed if each["uri"] == parts[0])
    apart = run.request("PATCH", f"/v1/documents/{horses}", "user:lena", json={"readers": ["user:ana"]})
    assert apart.status_code == 200

    def read_by(who: str) -> list[str]:
        return [each for each in parts if each in run.found(who, "The horse pulls the cart, the cow gives milk.")]

    _push(run, {**line, "acl": [ANA, BO, EVERYONE]})
    assert (read_by("user:ana"), read_by("user:bo")) == (parts, parts[1:])
    _push(run, {**line, "acl": [BO]})
    assert (read_by("user:ana"), read_by("user:bo"), read_by("user:lena")) == ([], parts[1:], parts)


def test_an_access_list_and_a_text_that_change_together_close_the_old_version_too(run: Running) -> None:
    _founded(run)
    _push(run, _item([ANA, BO]))
    assert _states(run, _item([ANA], text="The race horse pulls nothing.")) == ["changed"]
    assert "horses" not in run.found("user:bo", "Which horse pulls the cart?", as_of=_recorded(run, 1))
    assert "horses" in run.found("user:ana", "Which horse pulls the cart?", as_of=_recorded(run, 1))


def test_another_meaning_of_a_name_moves_what_was_brought_in_under_it_at_once(run: Running) -> None:
    _founded(run)
    _push(run, _item([ANA, BO]), _item([BO], key="cows"))
    _identities(run, {"user:guid-ana": "user:ana"})
    assert _readers(run) == ["user:ana", "user:lena"]
    _identities(run, {"user:guid-ana": "user:bo"})
    assert _readers(run) == ["user:bo", "user:lena"]
    _identities(run, {})
    assert _readers(run) == ["user:lena"]


def test_what_only_owners_read_stays_theirs_when_others_become_owners(run: Running) -> None:
    _founded(run)
    _push(run, _item([]))
    run.put_collection("intranet", owners=["user:bo"], default_readers=["group:all-staff"])
    assert _readers(run) == ["user:bo"]


def test_an_external_item_of_microsoft_graph_is_taken_as_it_stands(run: Running) -> None:
    _founded(run)
    item = {
        "@odata.type": "microsoft.graph.externalItem",
        "id": "horses",
        "acl": [{**ANA, "@odata.type": "microsoft.graph.externalConnectors.acl"}],
        "properties": {
            "title@odata.type": "String",
            "title": "On horses",
            "tags@odata.type": "Collection(String)",
            "tags": ["cart", "field"],
            "legs": 4,
        },
        "content": {"type": "html", "value": "<p>The draught horse pulls the cart.</p>"},
    }
    assert _states(run, item) == ["new"]
    assert _readers(run) == ["user:ana", "user:lena"]
    [found] = run.request("GET", "/v1/documents?collection=intranet", "user:ana").json()["documents"]
    assert (found["title"], found["attributes"]) == (
        "On horses",
        {"title": ["On horses"], "tags": ["cart", "field"], "legs": ["4"]},
    )
    assert _states(run, item) == ["unchanged"]


def test_a_line_that_is_wrong_is_told_of_by_itself_and_the_others_go_on(run: Running) -> None:
    _founded(run)
    verdicts = _push(
        run,
        b"not json",
        _item([ANA], key="one"),
        {"key": "two"},
        {"key": "three", "content": "Three.", "acl": [{"type": "robot", "value": "x", "accessType": "deny"}]},
        {"key": "four", "content": ""},
        {"key": "five", "content_base64": "bm90IGJhc2U2NA"},
        b"",
        {"key": "six", "op": "delete"},
        _item([ANA], key="seven"),
    )
    assert [(each["line"], each["state"]) for each in verdicts] == [
        (1, "invalid"),
        (2, "new"),
        (3, "invalid"),
        (4, "invalid"),
        (5, "refused"),
        (6, "invalid"),
        (8, "unchanged"),
        (9, "new"),
    ]
    assert all(each["problem"]["detail"] for each in verdicts if each["state"] in ("invalid", "refused"))
    assert [each["pointer"] for each in verdicts[3]["problem"]["errors"]] == ["/acl/0/type"]


def test_states_that_are_pushed_in_order_are_versions_in_their_time_and_a_deletion_ends_the_last(run: Running) -> None:
    _founded(run)
    lines = [
        {"key": "horses", "content": "The draught horse pulls the cart.", "valid_from": "2020-01-01"},
        {"key": "horses", "content": "The race horse pulls the cart.", "valid_from": "2021-01-01"},
        {"key": "horses", "op": "delete", "valid_from": "2022-01-01"},
        {"key": "horses", "content": "No horse pulls the cart.", "valid_from": "2023-01-01"},
    ]
    assert _states(run, *lines) == ["new", "changed", "withdrawn", "new"]
    assert _states(run, *lines)[-1] == "unchanged"

    def then(year: int) -> list[str]:
        answer = run.retrieve("user:ana", "Which horse pulls the cart?", as_of=f"{year}-06-01")
        return [each["text"] for each in answer["passages"]]

    assert [then(year) for year in (2019, 2020, 2021, 2022, 2023)] == [
        [],
        ["The draught horse pulls the cart."],
        ["The race horse pulls the cart."],
        [],
        ["No horse pulls the cart."],
    ]


def test_a_run_of_a_push_reports_on_what_became_of_its_documents(run: Running) -> None:
    _founded(run)
    body = {"key": "broken", "content_base64": "JVBERi0xLjc=", "media_type": "application/pdf"}
    headers = {"Content-Type": "application/x-ndjson"}
    answer = run.request("POST", f"{AT}/push", "user:lena", content=json.dumps(body).encode(), headers=headers)
    run.work()
    report = run.request("GET", f"{AT}/runs/{answer.headers['Muniment-Run']}", "user:lena").json()
    assert (report["state"], report["counts"]["failed"]) == ("succeeded", 1)
    assert [each["uri"] for each in report["setbacks"]] == ["broken"]


def _work_done(run: Running) -> tuple[int, int]:
    """How many jobs and vectors there are."""

    def count(table: Callable[..., Any]) -> Any:
        return select(func.count()).select_from(table)

    with reading(run.ports.engine) as session:
        return session.execute(count(JobRow)).scalar_one(), session.execute(count(EmbeddingRow)).scalar_one()


def _recorded(run: Running, number: int) -> str:
    """When a version of the horses began."""
    [found] = run.request("GET", "/v1/documents?collection=intranet", "user:lena").json()["documents"]
    version = run.request("GET", f"/v1/documents/{found['document_id']}/versions/{number}", "user:lena").json()
    return str(version["valid_from"])


def test_whoever_may_not_read_a_document_narrows_it_by_its_source_and_never_widens_it(run: Running) -> None:
    _founded(run)
    for who, groups in (("user:ana", []), ("user:bo", []), ("user:boss", ["group:owners"])):
        run.put_principal(who, groups=groups, clearance="restricted")
    _push(run, _item([ANA, BO]))
    [found] = run.request("GET", "/v1/documents?collection=intranet", "user:boss").json()["documents"]
    closed = {"label": {"level": "restricted"}}
    amended = run.request("PATCH", f"/v1/documents/{found['document_id']}", "user:boss", json=closed)
    assert amended.status_code == 200
    assert _readers(run) == ["user:ana", "user:bo"]
    [narrowed] = _push(run, _item([ANA]))
    assert (narrowed["state"], narrowed["problem"]["status"]) == ("refused", 403)
    assert _readers(run) == ["user:ana"]
    assert _states(run, _item([BO])) == ["refused"]
    assert _readers(run) == []


def test_an_access_list_opens_no_attachment_that_whoever_registered_the_source_may_not_read(run: Running) -> None:
    _founded(run)
    run.put_principal("user:boss", groups=["group:owners"], clearance="restricted", categories=["privileged"])
    run.put_principal("user:ana", clearance="restricted", categories=["privileged"])
    run.put_principal("user:bo", clearance="restricted", categories=["privileged"])
    papers = {"claim.md": b"# Claim\nThe draught horse pulls the cart.", "rates.csv": b"Tariff;Premium\nBasic;120\n"}
    letter = {"content": mail(papers).decode(), "media_type": "message/rfc822", "key": "mail"}
    assert _states(run, {**letter, "acl": [ANA]}) == ["new"]
    found = run.request("GET", "/v1/documents?collection=intranet", "user:boss").json()["documents"]
    claim = next(each["document_id"] for each in found if each["uri"].endswith("claim.md"))
    label = {"label": {"level": "restricted", "categories": ["privileged"]}}
    assert run.request("PATCH", f"/v1/documents/{claim}", "user:boss", json=label).status_code == 200
    assert _states(run, {**letter, "acl": [ANA, BO]}) == ["boundary-only"]
    wider = ["mail", "mail#attachments/2-rates.csv"]
    for who, uris in {"user:ana": [*wider, "mail#attachments/1-claim.md"], "user:bo": wider}.items():
        listed = run.request("GET", "/v1/documents?collection=intranet", who).json()["documents"]
        assert sorted(each["uri"] for each in listed) == sorted(uris)
    assert _states(run, {**letter, "acl": [BO]}) == ["boundary-only"]
    listed = run.request("GET", "/v1/documents?collection=intranet", "user:ana").json()["documents"]
    assert listed == []  # what only narrows is done to all of it
