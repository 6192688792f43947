"""The table of who sees what, at three heights: what the policy decides, what a reach holds, what HTTP gives."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.domain.access import Action, BoundaryId, Question
from app.domain.corpus import Lifecycle, Version, lifecycle
from app.operations import authorize
from app.operations.identify import Credentials, identify
from app.ports import Bounded
from app.store import boundaries, corpus
from app.store.database import reading
from tests.running import Golden

ROWS = yaml.safe_load((Path(__file__).parents[2] / "fixtures/policies/who-sees-what.yaml").read_text())

Row = dict[str, Any]
each_row = pytest.mark.parametrize(
    "row", ROWS, ids=["-".join(filter(None, (row["who"], row.get("through"), row.get("purpose")))) for row in ROWS]
)


@pytest.fixture(scope="module")
def in_force(golden: Golden) -> dict[str, Version]:
    """Every document's version in force, by uri, straight from the store."""
    ports = golden.running.ports
    with reading(ports.engine) as session:
        every = [id for id, _ in boundaries.boundaries_after(session, BoundaryId(0))]
        versions = corpus.latest_versions(
            session, boundaries=every, collection=None, containing=None, after=None, limit=1000
        )
    current = [each for each in versions if lifecycle(each, now=ports.now()) is Lifecycle.CURRENT]
    return {version.document.uri: version for version in current}


def test_six_people_are_held_against_every_document_in_force(in_force: dict[str, Version]) -> None:
    whole = [row for row in ROWS if {*row["sees"], *row["does_not_see"]} == set(in_force)]
    assert len({row["who"] for row in whole}) >= 6


@each_row
def test_the_policy_decides_as_the_table_says(golden: Golden, in_force: dict[str, Version], row: Row) -> None:
    ports = golden.running.ports
    with reading(ports.engine) as session:
        standing = identify(ports, session, _credentials(golden, row))
        laid_down = authorize.register(ports, session, standing)
    question = Question(principal=standing.principal, action=Action.READ, purpose=row.get("purpose"))
    uris = [*row["sees"], *row["does_not_see"]]
    resources = []
    for uri in uris:
        collection = laid_down.collections[in_force[uri].document.collection]
        resources.append(Bounded(boundary=in_force[uri].boundary.within(collection), collection=collection))
    rulings = ports.policy_engine.decide(laid_down.policies, question, resources)
    assert [uri for uri, ruling in zip(uris, rulings, strict=True) if ruling.allowed] == row["sees"], row["because"]


@each_row
def test_the_reach_holds_what_the_table_says(golden: Golden, in_force: dict[str, Version], row: Row) -> None:
    ports = golden.running.ports
    with reading(ports.engine) as session:
        standing = identify(ports, session, _credentials(golden, row))
        reach = authorize.reach(ports, session, standing, purpose=row.get("purpose"))
    uris = [*row["sees"], *row["does_not_see"]]
    assert [uri for uri in uris if in_force[uri].boundary_id in reach.boundaries] == row["sees"], row["because"]


@each_row
def test_http_gives_what_the_table_says(golden: Golden, in_force: dict[str, Version], row: Row) -> None:
    """The text of each document that is seen, and 404 for each that is not; the list of documents agrees."""
    through, who = row.get("through"), row["who"]
    sender, acting_for = (through, who) if through else (who, None)
    purpose = {"purpose": row["purpose"]} if row.get("purpose") else {}

    def status(uri: str) -> int:
        version = in_force[uri]
        path = f"/v1/documents/{version.document.id}/versions/{version.number}/text"
        return golden.running.request("GET", path, sender, acting_for=acting_for, params=purpose).status_code

    listed = golden.running.request(
        "GET", "/v1/documents", sender, acting_for=acting_for, params={**purpose, "limit": 200}
    ).json()["documents"]
    about = {*row["sees"], *row["does_not_see"]}
    assert {uri: status(uri) for uri in about} == {uri: 200 if uri in row["sees"] else 404 for uri in about}, row[
        "because"
    ]
    if "audit" not in row["because"].lower():  # auditors are shown metadata, and no content
        assert {each["uri"] for each in listed} & about == set(row["sees"]), row["because"]


def _credentials(golden: Golden, row: Row) -> Credentials:
    through = row.get("through")
    return Credentials(bearer=golden.running.key(through or row["who"]), on_behalf_of=row["who"] if through else None)
