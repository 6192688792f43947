"""What every refusal looks like, whoever is refused and why."""

from typing import Any

from httpx import Response

from tests.running import ADMINISTRATOR_KEY, Running

_LEAKS = ("Traceback", 'File "', "site-packages", "sqlalchemy", "psycopg", "sqlite3", "pydantic", "pepper", "mun_")


def refusal(run: Running, response: Response, status: int, kind: str) -> dict[str, Any]:
    """The problem of a response that must be one: of the contract's shape, helpful, and with nobody's secret in it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.status_code,
        response.text[:500],
    )
    body: dict[str, Any] = response.json()
    assert body.keys() - {"job", "parts"} == {"type", "title", "status", "detail", "instance", "trace_id", "errors"}
    assert (body["type"], body["status"]) == (f"/problems/{kind}", status)
    assert body["title"]
    assert body["detail"].endswith(".")
    assert len(body["detail"].split()) >= 4
    assert body["instance"].startswith("/")
    assert body["instance"].isascii()
    assert body["trace_id"].startswith("tr_")
    for fault in body["errors"]:
        assert fault.keys() == {"detail", "pointer"}
        assert fault["detail"]
        assert fault["pointer"] == "" or fault["pointer"].startswith("/")
    said = response.text.replace(body["instance"], "").replace("Authorization: Bearer mun_...", "")
    for secret in (ADMINISTRATOR_KEY, *run.keys.values(), *_LEAKS):
        assert secret not in said
    return body


def pointers(problem: dict[str, Any]) -> list[str]:
    return [fault["pointer"] for fault in problem["errors"]]
