"""Our directory as scim2-server's storage, held against the library's own suite, on both databases."""

from functools import partial
from pathlib import Path

import pytest
from scim2_models import ScimProvider
from scim2_server.testing import ScimStorageContract
from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import CedarPolicyEngine
from app.adapters.fsspec_blobs import FsspecBlobs
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.api.scim import PROVIDER, DirectoryStorage
from app.bootstrap import new_id
from app.domain.access import Party, Principal, PrincipalRef, Profile
from app.domain.memo import Memo
from app.operations.identify import Standing
from app.ports import Ports
from app.store import directory
from app.store.database import reading
from tests.conftest import Clock
from tests.fakes import ReferenceIndex
from tests.operations.test_erase import SignEmbedder
from tests.operations.test_synchronize import WordTokenizer


class TestDirectoryStorage(ScimStorageContract):
    @pytest.fixture
    def provider(self) -> ScimProvider:
        return PROVIDER

    @pytest.fixture
    def storage(self, engine: Engine, clock: Clock, tmp_path: Path) -> DirectoryStorage:
        ports = Ports(
            engine=engine,
            index=ReferenceIndex(),
            embedder=SignEmbedder(),
            tokenizer=WordTokenizer(),
            analyzer=SnowballAnalyzer(),
            policy_engine=CedarPolicyEngine(),
            blobs=FsspecBlobs(f"file://{tmp_path}"),
            memo=Memo(),
            pepper=b"pepper",
            now=clock.now,
            new_id=new_id,
        )
        with reading(engine) as session:
            epochs, now = directory.epochs_and_instant(session)
        client = Profile(ref=PrincipalRef("assistant:scim"), display_name="scim")
        subject = Party(profile=client, groups=frozenset())
        return DirectoryStorage(
            ports, Standing(principal=Principal(subject=subject), epochs=epochs, now=now), partial(reading, engine)
        )


def _pages_by_cursor(name: str) -> bool:
    return name.startswith("test_") and "cursor" in name


for _name in filter(_pages_by_cursor, dir(ScimStorageContract)):
    setattr(TestDirectoryStorage, _name, None)  # pages are by index here, as the configuration says
