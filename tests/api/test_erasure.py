"""Erasure: what is erased is read by nobody, is nowhere, and is certified."""

from pathlib import Path

import pytest

from tests.running import Running

OWNER, READER = "user:olga", "user:rudi"


@pytest.fixture
def papers(run: Running) -> Running:
    run.put_principal("group:owners")
    run.put_principal(OWNER, groups=["group:owners"])
    run.put_principal(READER)
    run.put_collection("papers", owners=["group:owners"], default_readers=["group:all-staff"])
    return run


def test_erased_document_is_gone_and_certified(papers: Running, tmp_path: Path) -> None:
    document = papers.publish(OWNER, "papers", "# Zwiebelkuchen\n\nThe quagmirous velocipede is blue.", uri="a.md")
    papers.publish(OWNER, "papers", "# Trains\n\nTrains leave on time.", uri="b.md")
    passage = papers.retrieve(READER, "What colour is it?")["passages"]
    assert passage
    response = papers.request("POST", f"/v1/documents/{document}/erase", OWNER, json={"reason": "asked to"})
    assert response.status_code == 201, response.text
    print(response.json())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"quagmirous" not in path.read_bytes(), path
