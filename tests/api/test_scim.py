"""SCIM 2.0: another directory keeps users and groups, each change holds at once, and nobody gets above themselves."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from ingest.ports import Parser
from tests.api.started import started
from tests.running import Running


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("scim"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_principal("assistant:scim", groups=["group:provisioners"])
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"])
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("user:ana")
        yield run


def test_scim2_tester_passes_whole(run: Running) -> None:
    headers = {"Authorization": f"Bearer {run.key('assistant:scim')}"}
    client = TestClient(run.client.app, base_url="http://testserver/scim/v2", headers=headers)
    results = check_server(SyncSCIMClient(client))
    wrong = [f"{each.title}: {each.reason}" for each in results if each.status is not Status.SUCCESS]
    print(*wrong, sep="\n\n")
    assert wrong == []
    assert len(results) > 100
