"""Putting policies in force, on both databases: one at a time, and whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.adapters.fsspec_blobs import FsspecBlobs
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.bootstrap import new_id
from app.domain.errors import Conflict
from app.domain.memo import Memo
from app.domain.policies import PolicyState, PolicyVersionId, preceding
from app.operations import policies
from app.operations.identify import Credentials
from app.operations.prepare import ensure_administrator_key
from app.ports import Ports
from app.store import directory, registry
from app.store import policies as store
from app.store.database import reading
from tests.conftest import Clock
from tests.fakes import ReferenceIndex
from tests.operations.test_erase import SignEmbedder
from tests.operations.test_synchronize import WordTokenizer

KEY = "the administrator's key in tests, longer than 32 characters"
ADMINISTRATOR = Credentials(bearer=KEY)


@pytest.fixture
def ports(engine: Engine, clock: Clock, tmp_path: Path) -> Ports:
    ensure_administrator_key(engine, configured=KEY, generated="", pepper=b"pepper", now=clock.now())
    return Ports(
        engine=engine,
        index=ReferenceIndex(),
        embedder=SignEmbedder(),
        tokenizer=WordTokenizer(),
        analyzer=SnowballAnalyzer(),
        policy_engine=CedarPolicyEngine(),
        blobs=FsspecBlobs(f"file://{tmp_path / 'blobs'}"),
        memo=Memo(),
        pepper=b"pepper",
        now=clock.now,
        new_id=new_id,
    )


def drafted(ports: Ports, comment: str) -> PolicyVersionId:
    return policies.draft(ports, ADMINISTRATOR, f"{default_policies()}// {comment}\n", reason="A try.")[0].id


def test_of_activations_and_rollbacks_at_once_each_acts_on_what_it_looked_at(ports: Ports) -> None:
    policies.activate(ports, ADMINISTRATOR, drafted(ports, "first"), reason="First.")
    drafts = [drafted(ports, str(n)) for n in range(3)]
    begin = Barrier(6)

    def one(n: int) -> PolicyVersionId | None:
        begin.wait()
        try:
            if n % 2:
                return policies.roll_back(ports, ADMINISTRATOR, reason="Back.").id
            return policies.activate(ports, ADMINISTRATOR, drafts[n // 2], reason="On.").id
        except Conflict:
            return None

    with ThreadPoolExecutor(6) as threads:
        done = [each for each in threads.map(one, range(6)) if each is not None]
    with reading(ports.engine) as session:
        history = store.activations(session)
        deciding = store.in_force(session)
        versions = store.versions(session)
    assert done
    assert len(history) == 2 + len(done)
    assert {each.version for each in history[2:]} == set(done)
    assert deciding == history[-1]
    assert [each.id for each in versions if each.state is PolicyState.ACTIVE] == [history[-1].version]
    for n, restoring in enumerate(history):
        if restoring.restores is not None:
            looked_at = preceding(history[:n])
            assert looked_at is not None
            assert (looked_at.id, looked_at.version) == (restoring.restores, restoring.version)
    for before, after in pairwise(history):
        if after.restores is None:
            (activated,) = [each for each in versions if each.id == after.version]
            assert activated.based_on == before.digest, "activated on another set than it was drafted on"


def test_an_activation_that_ends_halfway_has_changed_nothing(ports: Ports) -> None:
    id = drafted(ports, "killed")

    def killed() -> str:
        raise KeyboardInterrupt

    with reading(ports.engine) as session:
        before = directory.epochs_and_instant(session)
    with pytest.raises(KeyboardInterrupt):
        policies.activate(replace(ports, new_id=killed), ADMINISTRATOR, id, reason="On.")
    with pytest.raises(KeyboardInterrupt):
        policies.put_tables(replace(ports, new_id=killed), ADMINISTRATOR, {}, reason="Fewer.")
    with reading(ports.engine) as session:
        assert registry.active_policies(session) == default_policies()
        assert store.stored_tables(session) is None
        assert directory.epochs_and_instant(session) == before
    assert policies.activate(ports, ADMINISTRATOR, id, reason="On.").state is PolicyState.ACTIVE


def test_what_decided_at_any_instant_can_be_read_after_activations_and_rollbacks(ports: Ports) -> None:
    policies.activate(ports, ADMINISTRATOR, drafted(ports, "new"), reason="On.")
    policies.roll_back(ports, ADMINISTRATOR, reason="Back.")
    with reading(ports.engine) as session:
        prepared, activated, restored = store.activations(session)
        texts = [registry.active_policies(session, at=each.at) for each in (prepared, activated, restored)]
    assert texts == [default_policies(), f"{default_policies()}// new\n", default_policies()]
    assert (activated.restores, restored.restores) == (None, prepared.id)
