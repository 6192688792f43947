"""Muniment running in process: once with the institution of fixtures/, and fresh for tests that change things."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
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


@pytest.fixture
def run(tmp_path: Path, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser) -> Iterator[Running]:
    """An empty Muniment."""
    engine = open_engine(f"sqlite:///{tmp_path / 'muniment.sqlite'}")
    with (
        EdgeIndex(tmp_path / "index", embedder.dimension) as index,
        running(engine, index, tmp_path, embedder=embedder, tokenizer=tokenizer, parser=parser) as started,
    ):
        yield started
    engine.dispose()


@pytest.fixture(scope="session")
def golden(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Golden]:
    """Muniment with all of the fixtures' institution in it. Shared: only for tests that change nothing."""
    folder = tmp_path_factory.mktemp("golden")
    engine = open_engine(f"sqlite:///{folder / 'muniment.sqlite'}")
    institution = yaml.safe_load((FIXTURES / "institution.yaml").read_text())
    with (
        EdgeIndex(folder / "index", embedder.dimension) as index,
        running(engine, index, folder, embedder=embedder, tokenizer=tokenizer, parser=parser) as started,
    ):
        yield founded(started, institution, FIXTURES / "corpora")
    engine.dispose()
