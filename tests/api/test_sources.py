"""Sources of a collection, over HTTP: what a folder holds is in, what left it is withdrawn, and what went wrong is
told to whoever may know of it."""

import os
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from app.domain.instants import Instant, parse_instant
from app.operations import sources
from tests.api.refusals import pointers, refusal
from tests.running import Running

AT = "/v1/collections/handbooks/sources"
DRAUGHT = "The draught horse pulls the cart."


def _founded(run: Running) -> None:
    run.put_principal("group:owners")
    run.put_principal("user:lena", groups=["group:owners"], clearance="restricted")
    run.put_principal("user:clerk", groups=["group:owners"])
    run.put_principal("user:ana")
    run.put_collection("handbooks", owners=["group:owners"], default_readers=["group:all-staff"])
    run.places.mkdir()


def _put(run: Running, name: str = "shelf", who: str = "user:lena", **body: Any) -> dict[str, Any]:
    stated = {"connector": "folder", "location": str(run.places), **body}
    response = run.request("PUT", f"{AT}/{name}", who, json=stated)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def _run(run: Running, name: str = "shelf", who: str = "user:lena", **body: Any) -> dict[str, Any]:
    """The report of a run that was asked for and carried out."""
    asked = run.request("POST", f"{AT}/{name}/run", who, json=body)
    assert asked.status_code == 202, asked.text
    run.work()
    return _get(run, asked.headers["Location"], who)


def _get(run: Running, path: str, who: str = "user:lena") -> dict[str, Any]:
    response = run.request("GET", path, who)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def _counts(report: dict[str, Any]) -> dict[str, int]:
    """The counts that are not 0."""
    assert report["state"] == "succeeded", report
    return {name: number for name, number in report["counts"].items() if number}


def _write(run: Running, path: str, text: str) -> Path:
    place = run.places / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_a_run_takes_in_a_folder_once_and_then_only_what_differs(run: Running) -> None:
    _founded(run)
    _write(run, "horses.md", DRAUGHT)
    _write(run, "deep/er/cows.md", "The dairy cow gives milk.")
    _put(run)
    assert _counts(_run(run)) == {"listed": 2, "new": 2}
    assert run.found("user:ana", "Which horse pulls the cart?")[0] == "horses.md"
    assert _counts(_run(run)) == {"listed": 2, "unchanged": 2}
    _write(run, "horses.md", "The race horse pulls nothing.")
    assert _counts(_run(run)) == {"listed": 2, "unchanged": 1, "changed": 1}
    os.utime(run.places / "horses.md", ns=(1, 1))
    assert _counts(_run(run)) == {"listed": 2, "unchanged": 2}
    answer = run.retrieve("user:ana", "Which horse pulls the cart?")["passages"][0]
    assert (answer["citation"]["uri"], answer["citation"]["version"]) == ("horses.md", 2)


def test_what_left_a_folder_is_withdrawn_with_the_reason_and_what_came_back_is_published_again(run: Running) -> None:
    _founded(run)
    horses = _write(run, "horses.md", DRAUGHT)
    _put(run)
    _run(run)
    horses.unlink()
    assert _counts(_run(run)) == {"listed": 1, "withdrawn": 1}
    assert run.found("user:ana", "Which horse pulls the cart?") == []
    assert _counts(_run(run)) == {}
    _write(run, "horses.md", DRAUGHT)
    assert _counts(_run(run)) == {"listed": 1, "new": 1}
    assert run.found("user:ana", "Which horse pulls the cart?") == ["horses.md"]


def test_a_report_says_of_each_file_that_is_not_in_why_and_says_it_again(run: Running) -> None:
    _founded(run)
    _write(run, "fine.md", DRAUGHT)
    _write(run, "empty.md", "")
    (run.places / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of the kind")
    _put(run)
    report = _run(run)
    assert _counts(report) == {"listed": 3, "new": 2, "refused": 1, "failed": 1}
    assert {each["uri"] for each in report["setbacks"]} == {"empty.md", "broken.pdf"}
    assert all(each["problem"]["detail"] for each in report["setbacks"])
    again = _run(run)
    assert _counts(again) == {"listed": 3, "unchanged": 1, "refused": 2}
    assert {each["uri"] for each in again["setbacks"]} == {"empty.md", "broken.pdf"}


def test_a_place_that_lost_most_of_what_it_had_withdraws_nothing_until_an_owner_confirms(run: Running) -> None:
    _founded(run)
    for number in range(24):
        _write(run, f"{number:02}.txt", f"Horse number {number} pulls the cart.")
    _put(run)
    _run(run)
    for number in range(22):
        (run.places / f"{number:02}.txt").unlink()
    stopped = _run(run)
    assert (stopped["state"], stopped["counts"]["withdrawn"]) == ("needs-confirmation", 0)
    assert "confirm_withdrawals" in stopped["problem"]["detail"]
    assert "00.txt" in run.found("user:ana", "Horse number 0", top_k=50)
    assert _counts(_run(run, confirm_withdrawals=True)) == {"listed": 24, "unchanged": 2, "withdrawn": 22}
    assert set(run.found("user:ana", "Horse number 0", top_k=50)) == {"22.txt", "23.txt"}


def test_a_place_that_is_not_there_fails_the_run_and_withdraws_nothing(run: Running) -> None:
    _founded(run)
    _write(run, "shelf/horses.md", DRAUGHT)
    _put(run, location=str(run.places / "shelf"))
    _run(run)
    (run.places / "shelf").rename(run.places / "elsewhere")
    report = _run(run)
    assert (report["state"], report["problem"]["status"]) == ("failed", 503)
    assert run.found("user:ana", "Which horse pulls the cart?") == ["horses.md"]


def test_links_that_lead_out_and_hidden_and_lock_files_are_passed_over(run: Running) -> None:
    _founded(run)
    outside = run.folder / "secret.md"
    outside.write_text("The secret stable.")
    _write(run, "horses.md", DRAUGHT)
    _write(run, ".hidden.md", "x")
    _write(run, "~$horses.md", "x")
    _write(run, ".git/config.md", "x")
    (run.places / "out.md").symlink_to(outside)
    (run.places / "out").symlink_to(run.folder)
    (run.places / "loop").symlink_to(run.places)
    (run.places / "in.md").symlink_to(run.places / "horses.md")
    _put(run)
    assert _counts(_run(run)) == {"listed": 2, "new": 2}
    listed = _get(run, "/v1/documents?collection=handbooks", "user:ana")["documents"]
    assert [each["uri"] for each in listed] == ["horses.md", "in.md"]


def test_a_folder_is_narrowed_by_its_options_and_one_that_means_nothing_takes_nothing_in(run: Running) -> None:
    _founded(run)
    for path in ("horses.md", "private/pay.md", "horses.csv"):
        _write(run, path, DRAUGHT)
    for options in ({"exlude": "private/**"}, {"watch": "yes"}):
        _put(run, options=options)
        report = _run(run)
        assert (report["state"], report["problem"]["status"], report["counts"]["listed"]) == ("failed", 422, 0)
        assert next(iter(options)) in report["problem"]["detail"]
    _put(run, options={"include": "**/*.md", "exclude": "private/**"})
    assert _counts(_run(run)) == {"listed": 1, "new": 1}


@pytest.mark.parametrize("place", ["/etc", "{places}/../secret", "{places}/link", "{places}-other", "file:///etc"])
def test_nothing_is_fetched_from_where_the_operator_has_not_allowed_it(run: Running, place: str) -> None:
    _founded(run)
    (run.places / "link").symlink_to("/etc")
    body = {"connector": "folder", "location": place.format(places=run.places)}
    response = run.request("PUT", f"{AT}/shelf", "user:lena", json=body)
    assert "MUNIMENT_SOURCES__ALLOW" in refusal(run, response, 403, "not-permitted")["detail"]


def test_sources_are_absent_to_whoever_does_not_own_the_collection(run: Running) -> None:
    _founded(run)
    _write(run, "horses.md", DRAUGHT)
    _put(run)
    location = run.request("POST", f"{AT}/shelf/run", "user:lena").headers["Location"]
    run.work()
    for who in ("user:ana", "admin"):
        for method, path in (
            ("GET", AT),
            ("GET", f"{AT}/shelf"),
            ("DELETE", f"{AT}/shelf"),
            ("POST", f"{AT}/shelf/run"),
            ("GET", f"{AT}/shelf/runs"),
            ("GET", location),
            ("POST", f"{location}/cancel"),
            ("POST", f"{AT}/shelf/push"),
        ):
            absent = run.request(method, path.replace("shelf", "absent"), who)
            hidden = run.request(method, path, who)
            assert (hidden.status_code, hidden.json()["detail"]) == (404, absent.json()["detail"]), (who, path)
    body = {"connector": "folder", "location": str(run.places)}
    assert run.request("PUT", f"{AT}/mine", "user:ana", json=body).status_code == 404


def test_a_report_tells_an_owner_nothing_of_documents_that_they_may_not_read(run: Running) -> None:
    """The same is told whether there is anything hidden or not."""
    _founded(run)
    _write(run, "fine.md", DRAUGHT)
    _write(run, "empty.md", "")
    _write(run, "merger.md", "The merger closes in March.")
    _put(run)
    first = _run(run)
    [merger] = [
        each["document_id"]
        for each in _get(run, "/v1/documents?collection=handbooks")["documents"]
        if each["uri"] == "merger.md"
    ]
    assert _counts(_get(run, f"{AT}/shelf/runs/{first['id']}", "user:clerk")) == {"listed": 3, "new": 2, "refused": 1}
    closed = {"label": {"level": "restricted"}}
    assert run.request("PATCH", f"/v1/documents/{merger}", "user:lena", json=closed).status_code == 200
    seen = _get(run, f"{AT}/shelf/runs/{first['id']}", "user:clerk")
    assert _counts(seen) == {"listed": 2, "new": 1, "refused": 1}
    assert "merger" not in str(seen)
    again = _run(run)
    assert _counts(again) == {"listed": 3, "unchanged": 2, "refused": 1}
    assert _counts(_get(run, f"{AT}/shelf/runs/{again['id']}", "user:clerk")) == {
        "listed": 2,
        "unchanged": 1,
        "refused": 1,
    }


def test_jobs_tell_whoever_registered_a_source_nothing_of_what_it_brought_and_they_may_not_read(run: Running) -> None:
    _founded(run)
    letter = EmailMessage()
    letter.set_content("The merger closes in March.")
    letter.add_attachment(b"# Terms\nThe price is ten.", maintype="text", subtype="markdown", filename="terms.md")
    _write(run, "merger.eml", letter.as_string())
    rules = {"rules": [{"path": "merger*", "level": "restricted"}]}
    assert run.request("PUT", "/v1/collections/handbooks/label-rules", "user:lena", json=rules).status_code == 200
    body = {"connector": "folder", "location": str(run.places)}
    assert run.request("PUT", f"{AT}/shelf", "user:clerk", json=body).status_code == 200
    assert run.request("POST", f"{AT}/shelf/run", "user:clerk").status_code == 202
    run.work()
    known = _get(run, "/v1/jobs", "user:lena")["jobs"]
    assert len(known) == 2
    assert _get(run, "/v1/jobs", "user:clerk")["jobs"] == []
    for each in known:
        assert run.request("GET", f"/v1/jobs/{each['id']}", "user:clerk").status_code == 404
        assert run.request("POST", f"/v1/jobs/{each['id']}/cancel", "user:clerk").status_code == 404


def test_nothing_is_left_of_what_was_erased_where_its_source_tells_of_it(run: Running) -> None:
    """Its name neither: it was refused at first, then taken in, then refused as erased."""
    _founded(run)
    _write(run, "quetzal.md", "")
    _put(run)
    _run(run)
    _write(run, "quetzal.md", "# Quetzal\nThe quetzal is green.")
    _run(run)
    [document] = _get(run, "/v1/documents?collection=handbooks")["documents"]
    path = f"/v1/documents/{document['document_id']}"
    reviewed = run.request("POST", f"{path}/reviewed", "user:lena", json={"note": "The quetzal stays."})
    assert reviewed.status_code == 200
    lower = {"label": {"level": "public"}, "reason": "The quetzal is known."}
    assert run.request("PATCH", path, "user:lena", json=lower).status_code == 200
    assert "quetzal" in _all_rows(run)
    assert run.request("POST", f"{path}/erase", "user:lena", json={"reason": "asked for"}).status_code == 201
    _run(run)
    assert [line for line in _all_rows(run).splitlines() if "quetzal" in line] == []


def _all_rows(run: Running) -> str:
    with run.ports.engine.connect() as connection:
        return "\n".join(
            f"{table}: {tuple(row)!r}".lower()
            for table in inspect(run.ports.engine).get_table_names()
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        )


def test_runs_stop_when_whoever_registered_the_source_is_an_owner_no_longer(run: Running) -> None:
    _founded(run)
    _write(run, "horses.md", DRAUGHT)
    _put(run, who="user:clerk")
    run.put_principal("user:clerk")
    report = _run(run)
    assert (report["state"], report["problem"]["status"]) == ("failed", 403)
    assert "user:clerk registered this source" in report["problem"]["detail"]
    assert run.found("user:ana", "Which horse pulls the cart?") == []
    _put(run, who="user:lena")
    assert _counts(_run(run)) == {"listed": 1, "new": 1}


def test_a_run_changes_no_document_that_whoever_registered_the_source_may_not_read(run: Running) -> None:
    _founded(run)
    horses = _write(run, "horses.md", DRAUGHT)
    _put(run, who="user:clerk")
    report = _run(run)
    document = _get(run, "/v1/documents?collection=handbooks")["documents"][0]["document_id"]
    closed = {"label": {"level": "restricted"}}
    assert run.request("PATCH", f"/v1/documents/{document}", "user:lena", json=closed).status_code == 200
    horses.write_text("The race horse pulls nothing.")
    report = _run(run)
    assert _counts(report) == {"listed": 1, "refused": 1}
    assert _counts(_get(run, f"{AT}/shelf/runs/{report['id']}", "user:clerk")) == {}
    horses.unlink()
    assert _counts(_run(run)) == {"listed": 1, "withdrawn": 1}


def test_a_paused_source_is_not_run_and_a_removed_one_leaves_its_documents(run: Running) -> None:
    _founded(run)
    _write(run, "horses.md", DRAUGHT)
    _put(run)
    _run(run)
    _put(run, paused=True)
    assert run.request("POST", f"{AT}/shelf/run", "user:lena").status_code == 409
    assert run.request("DELETE", f"{AT}/shelf", "user:lena").status_code == 204
    assert run.request("GET", f"{AT}/shelf", "user:lena").status_code == 404
    assert _get(run, AT) == {"sources": []}
    assert run.found("user:ana", "Which horse pulls the cart?") == ["horses.md"]


def test_a_run_that_is_asked_for_twice_is_one_and_a_cancelled_one_takes_nothing_more(run: Running) -> None:
    _founded(run)
    _write(run, "horses.md", DRAUGHT)
    _put(run)
    first, second = (run.request("POST", f"{AT}/shelf/run", "user:lena").json()["run"]["id"] for _ in range(2))
    assert first == second
    assert run.request("POST", f"{AT}/shelf/runs/{first}/cancel", "user:lena").json()["run"]["state"] == "cancelled"
    run.work()
    assert run.found("user:ana", "Which horse pulls the cart?") == []
    assert run.request("POST", f"{AT}/shelf/runs/{first}/cancel", "user:lena").status_code == 409
    assert _counts(_run(run)) == {"listed": 1, "new": 1}


def test_a_due_schedule_is_run_once_however_many_look_and_however_often_it_was_missed(run: Running) -> None:
    _founded(run)
    _write(run, "horses.md", DRAUGHT)
    put = _put(run, schedule="*/5 * * * *")
    assert put["next_run_at"] is not None
    later = Instant(parse_instant(put["next_run_at"]) + 3_600_000)
    ports = replace(run.ports, now=lambda: later)
    assert sources.trigger_due(run.ports) == []
    assert len(sources.trigger_due(ports)) == 1
    assert sources.trigger_due(ports) == []
    assert parse_instant(_get(run, f"{AT}/shelf")["next_run_at"]) > later
    run.work()
    [report] = _get(run, f"{AT}/shelf/runs")["runs"]
    assert (report["triggered_by"], _counts(report)) == ("schedule", {"listed": 1, "new": 1})


@pytest.mark.parametrize("schedule", ["", "* * * *", "@daily", "* * * * * *", "61 * * * *", "H * * * *", "R R * * *"])
def test_a_schedule_is_five_fields_of_cron(run: Running, schedule: str) -> None:
    _founded(run)
    body = {"connector": "folder", "location": str(run.places), "schedule": schedule}
    response = run.request("PUT", f"{AT}/shelf", "user:lena", json=body)
    assert pointers(refusal(run, response, 422, "invalid")) == ["/schedule"]


def test_two_sources_of_a_collection_do_not_take_each_others_documents(run: Running) -> None:
    _founded(run)
    _write(run, "a/horses.md", DRAUGHT)
    _write(run, "b/horses.md", "The race horse pulls nothing.")
    _put(run, "a", location=str(run.places / "a"))
    _put(run, "b", location=str(run.places / "b"))
    _run(run, "a")
    report = _run(run, "b")
    assert _counts(report) == {"listed": 1, "refused": 1}
    assert "prefix" in report["setbacks"][0]["problem"]["detail"]
    _put(run, "b", location=str(run.places / "b"), options={"prefix": "b/"})
    assert _counts(_run(run, "b")) == {"listed": 1, "new": 1}
    assert set(run.found("user:ana", "horse")) == {"horses.md", "b/horses.md"}
