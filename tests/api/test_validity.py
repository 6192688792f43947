"""Valid time through HTTP: what was in force when, after corrections too."""

from tests.running import Running


def _founded(run: Running) -> None:
    run.put_principal("user:ana")
    run.put_principal("user:bo")
    run.put_collection("rules", owners=["user:ana"], default_readers=["group:all-staff"])


def _in_force(run: Running, as_of: str) -> list[int]:
    answer = run.retrieve("user:bo", "How long is the notice period?", as_of=as_of)
    return [passage["citation"]["version"] for passage in answer["passages"]]


def test_version_that_is_amended_to_begin_earlier_supersedes_from_then_on(run: Running) -> None:
    _founded(run)
    run.publish("user:ana", "rules", "The notice period is one month.", uri="notice", valid_from="2020-01-01")
    document = run.publish(
        "user:ana", "rules", "The notice period is two months.", uri="notice", valid_from="2024-01-01"
    )
    assert [_in_force(run, year) for year in ("2021-06-01", "2022-06-01", "2024-06-01")] == [[1], [1], [2]]
    known = run.retrieve("user:bo", "notice")["passages"][0]["citation"]["recorded_at"]
    response = run.request("PATCH", f"/v1/documents/{document}", "user:ana", json={"valid_from": "2022-01-01"})
    assert response.status_code == 200
    assert [_in_force(run, year) for year in ("2021-06-01", "2022-06-01", "2024-06-01")] == [[1], [2], [2]]
    before = run.retrieve("user:bo", "How long is the notice period?", as_of="2022-06-01", known_at=known)
    assert [passage["citation"]["version"] for passage in before["passages"]] == [1]


def test_document_that_is_said_to_have_ended_is_read_as_of_before_and_not_now(run: Running) -> None:
    _founded(run)
    document = run.publish("user:ana", "rules", "The notice period was a week.", uri="notice", valid_to="2020-01-01")
    assert run.found("user:bo", "How long was the notice period?") == []
    assert _in_force(run, "2019-06-01") == [1]
    assert run.request("GET", f"/v1/documents/{document}", "user:bo").status_code == 404
    assert run.request("GET", f"/v1/documents/{document}", "user:ana").json()["state"] == "expired"
