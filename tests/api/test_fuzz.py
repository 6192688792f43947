"""Requests made up from the OpenAPI document, good and bad: each answer is one that it documents, and none is a 500."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.adapters.cedar_policy import default_policies
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.started import started
from tests.running import Running

EXAMPLES = 2
"""Of each operation, for each principal, of each kind of data and of ids."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


_LINES = "application/x-ndjson"


@schemathesis.serializer(_LINES)  # type: ignore[untyped-decorator]
def _lines(_: object, value: object) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="replace")


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("fuzz"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_purpose("legal-review")
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"])
        run.put_principal("user:ana")
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("assistant:herald", may_assert=True)
        staff = {"owners": ["group:owners"], "default_readers": ["group:all-staff", "assistant:herald"]}
        run.put_collection("open", **staff)
        run.put_collection("victims", **staff)
        run.publish("user:olga", "open", "# Travel\nBook a train 14 days ahead.", uri="travel")
        yield run


_EVALUATING = ("questions", "evaluations", "unanswered", "unfound")


def _ids(run: Running, who: str) -> dict[str, dict[str, Any]]:
    """What the path parameters of each route may be for it to find something."""
    document = run.request("GET", "/v1/documents?collection=open", "user:olga").json()["documents"][0]["document_id"]
    victim = run.publish("user:olga", "victims", "# Victim\nTo be changed.", uri=f"victim/{who}")
    job = run.submit("user:olga", "victims", "# Another", uri=f"another/{who}").json()["job"]["id"]
    run.work()
    answer = run.retrieve("user:ana", "train")
    pushed = _pushed(run)
    rule, consent = _registered(run)
    asked = {"kind": "ask", "reason": f"By {who}.", "trace_id": answer["trace_id"]}
    escalation = run.request("POST", "/v1/escalations", "user:ana", json=asked).json()
    return {
        "/v1/escalations": {"id": escalation["id"]},
        "/v1/webhooks": {"name": "made-up"},
        "/v1/collections/{name}/sources": {"name": "victims", "source": "pushed", "run": pushed},
        "/v1/identities": {"namespace": "directory"},
        "/v1/documents/{id}/withdraw": {"id": victim},
        "/v1/documents/{id}/versions/{n}/withdraw": {"id": victim, "n": 1},
        "/v1/documents/{id}/erase": {"id": victim},
        "/v1/documents/{id}/rollback": {"id": victim},
        "/v1/documents/{id}/supersede": {"id": victim},
        "/v1/documents/{id}/reviewed": {"id": victim},
        "/v1/documents": {"id": document, "n": 1},
        "/v1/jobs": {"id": job},
        "/v1/citations": {"id": answer["passages"][0]["citation"]["id"]},
        "/v1/traces": {"id": answer["trace_id"]},
        "/v1/collections/{name}/documents": {"name": "victims"},
        "/v1/collections/{name}/reviews": {"name": "victims"},
        **{f"/v1/collections/{{name}}/{what}": {"name": "victims", "id": "made-up"} for what in _EVALUATING},
        "/v1/collections": {"name": "made-up"},
        "/v1/principals/{kind}/{id}": {"kind": "user", "id": "made-up", "key_id": "key_none"},
        "/v1/purposes": {"id": "made-up"},
        "/v1/jurisdictions": {"id": "made-up"},
        "/v1/transfers": {"id": rule},
        "/v1/consents": {"id": consent},
        "/v1/policies": {"id": _drafted(run, who)},
    }


def _drafted(run: Running, who: str) -> str:
    """The id of a policy set that decides as the one in force does."""
    cedar = default_policies() + f"// {who}\n"
    return str(run.admin("POST", "/v1/policies", {"cedar": cedar, "reason": "To be tried."})["id"])


def _registered(run: Running) -> tuple[str, str]:
    """A transfer rule and a consent, to be ended."""
    rule = {"from": "EU", "to": "UK", "basis": "scc", "evidence": "A contract.", "reason": "Signed."}
    given = {"client": "TM-1", "purpose": "legal-review", "jurisdictions": ["EU"], "evidence": {"text": "Signed."}}
    return run.admin("PUT", "/v1/transfers", rule)["id"], run.admin("POST", "/v1/consents", given)["id"]


def _pushed(run: Running) -> str:
    """The run of an item that was pushed to a source, which there is from here on."""
    at = "/v1/collections/victims/sources/pushed"
    assert run.request("PUT", at, "user:olga", json={"connector": "push"}).status_code == 200
    line = b'{"key": "pushed", "content": "Pushed."}'
    answer = run.request("POST", f"{at}/push", "user:olga", content=line, headers={"Content-Type": _LINES})
    assert answer.json()["state"] in ("new", "unchanged"), answer.text
    return str(answer.headers["Muniment-Run"])


def _found(ids: dict[str, dict[str, Any]], path: str, method: str) -> dict[str, Any]:
    if method == "patch":
        path = f"{path}/withdraw"
    known = next((values for prefix, values in ids.items() if path.startswith(prefix)), {})
    return {name: value for name, value in known.items() if "{" + name + "}" in path}


@pytest.mark.parametrize("who", ["admin", "user:olga", "user:ana", "user:sunniva", "assistant:herald", "nobody"])
def test_every_answer_is_one_that_is_documented(run: Running, who: str) -> None:
    schema = schemathesis.openapi.from_dict(run.client.get("/openapi.json").json())
    key = "mun_unknown" if who == "nobody" else run.key(who)
    ids = _ids(run, who)
    statuses: set[int] = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        known = _found(ids, operation.path, operation.method)
        strategies = [
            operation.as_strategy(generation_mode=mode, path_parameters=parameters)
            for mode in GenerationMode
            for parameters in ((None, known) if known else (None,))
        ]

        @seed(20261122)
        @settings(
            max_examples=EXAMPLES * len(strategies),
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
            deadline=None,
        )
        @given(case=st.one_of(strategies))
        def ask(case: Case) -> None:
            response = case.call(app=run.client.app, headers={"Authorization": f"Bearer {key}"})
            statuses.add(response.status_code)
            case.validate_response(response, checks=CHECKS)

        ask()
    assert statuses >= ({401, 422} if who == "nobody" else {200, 404, 422}), "too little was tried"
    run.work()
    assert run.found("user:ana", "When do I book a train?") == ["travel"]
