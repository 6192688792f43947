"""Near-duplicates: who keeps the same document, told to whoever may read both, and to nobody else."""

from typing import Any

import pytest

from tests.running import Running

RULES = (
    "Customer data may be shared with a partner only after the data office has agreed in writing. The partner signs "
    "the agreement first. A copy of the agreement is kept with the contract for as long as the contract lasts, and the "
    "office reviews every agreement once a year. Whoever shares data without an agreement tells the office at once."
)
COPY = RULES.replace("once a year", "each spring")
SHORT = "Retention is seven years."


@pytest.fixture
def teams(run: Running) -> Running:
    """Three collections: `policies` is the system of record, `sales` keeps copies, `board` is closed to the rest."""
    for group in ("legal", "sales", "board"):
        run.put_principal(f"group:{group}")
        run.put_principal(f"user:{group}", groups=[f"group:{group}"])
    staff = {"default_readers": ["group:all-staff"]}
    run.put_collection("policies", owners=["group:legal"], system_of_record=True, **staff)
    run.put_collection("sales", owners=["group:sales"], **staff)
    run.put_collection("board", owners=["group:board"])
    return run


def listed(run: Running, who: str, collection: str, **params: Any) -> list[tuple[str, list[str]]]:
    """Each document's uri with those of its near-duplicates."""
    response = run.request("GET", f"/v1/collections/{collection}/duplicates", who, params=params)
    assert response.status_code == 200, response.text
    return [
        (each["document"]["uri"], [other["document"]["uri"] for other in each["others"]])
        for each in response.json()["documents"]
    ]


def test_owner_finds_copy_of_own_document_elsewhere_with_the_system_of_record(teams: Running) -> None:
    policy = teams.publish("user:legal", "policies", RULES, uri="policies/sharing", title="Sharing")
    copy = teams.publish("user:sales", "sales", COPY, uri="sales/sharing", title="Our sharing rules")
    teams.publish("user:sales", "sales", "Nothing like it: the canteen is open from eleven to two.", uri="sales/lunch")
    response = teams.request("GET", "/v1/collections/sales/duplicates", "user:sales")
    (found,) = response.json()["documents"]
    here = {
        "document_id": copy,
        "collection": "sales",
        "uri": "sales/sharing",
        "title": "Our sharing rules",
        "version": 1,
        "system_of_record": False,
    }
    there = {
        "document_id": policy,
        "collection": "policies",
        "uri": "policies/sharing",
        "title": "Sharing",
        "version": 1,
        "system_of_record": True,
    }
    (twin,) = found["others"]
    assert (found["document"], twin["document"], twin["identical"]) == (here, there, False)
    assert 0.8 <= twin["similarity"]["exact"] < 1
    assert abs(twin["similarity"]["exact"] - twin["similarity"]["estimated"]) < 0.15
    assert response.json()["cursor"] is None
