"""Muniment running in process: once with the institution of fixtures/, and fresh for tests that change things."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.adapters.cedar_policy import default_policies
from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.bootstrap import now
from app.operations.prepare import prepare
from app.store.database import open_engine
from ingest.ports import Parser
from ingest.sandbox import SandboxedParser
from tests.running import Golden, Running, founded, running

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> LocalEmbedder:
    """On the graph that `make install` made, as the product runs it: torch is another 7 seconds in each process."""
    return LocalEmbedder(threads=2, made=tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session")
def tokenizer() -> LocalTokenizer:
    return LocalTokenizer()


@pytest.fixture(scope="session")
def parser() -> Iterator[Parser]:
    with SandboxedParser() as parser:
        yield parser


@pytest.fixture(scope="session")
def _prepared(quick_folder: Path) -> Path:
    """A database to copy, as the first start leaves it: each test is spared the migrations."""
    path = quick_folder / "started.sqlite"
    engine = open_engine(f"sqlite:///{path}")
    prepare(engine, default_policies=default_policies(), now=now())
    engine.dispose()
    return path


@pytest.fixture
def tmp_path(quick_path: Path) -> Path:
    return quick_path


@pytest.fixture
def run(
    _prepared: Path, tmp_path: Path, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    """An empty Muniment."""
    shutil.copyfile(_prepared, tmp_path / "muniment.sqlite")
    engine = open_engine(f"sqlite:///{tmp_path / 'muniment.sqlite'}")
    with (
        EdgeIndex(tmp_path / "index", embedder.dimension) as index,
        running(engine, index, tmp_path, embedder=embedder, tokenizer=tokenizer, parser=parser) as started,
    ):
        yield started
    engine.dispose()


@pytest.fixture(scope="session")
def golden(quick_folder: Path, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser) -> Iterator[Golden]:
    """Muniment with all of the fixtures' institution in it. Shared: only for tests that change nothing."""
    folder = quick_folder / "golden"
    folder.mkdir()
    engine = open_engine(f"sqlite:///{folder / 'muniment.sqlite'}")
    institution = yaml.safe_load((FIXTURES / "institution.yaml").read_text())
    with (
        EdgeIndex(folder / "index", embedder.dimension) as index,
        running(engine, index, folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as started,
    ):
        yield founded(started, institution, FIXTURES / "corpora")
    engine.dispose()
