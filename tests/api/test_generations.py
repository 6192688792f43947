"""Another model or analyzer: the index is built beside the one that answers, and switched at once."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import select
from sqlmodel import col

from app.adapters.edge_index import EdgeIndex
from app.adapters.late_embedder import LateEmbedder
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.adapters.opened_generations import Opened, OpenedGenerations
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.bootstrap import held_generations, initialise
from app.domain.answer import Query
from app.domain.corpus import VersionId
from app.domain.errors import ModelChanged, Unavailable
from app.domain.evidence import Placement, Vector
from app.domain.generations import FIRST, Generation, GenerationId, GenerationState, Makeup
from app.domain.verification import Verdict
from app.operations.answer import Begun, Wish
from app.operations.identify import Credentials
from app.operations.rebuild import build_some, configure, look_ahead, remove_retired, renew_if_changed
from app.operations.synchronize import synchronize
from app.ports import Embedder, Ports
from app.settings import Settings
from app.store import generations, jobs, publishing
from app.store.database import open_engine, reading, writing
from app.store.tables import EmbeddingRow, VersionRow
from ingest import pipeline
from ingest.ports import Parser
from tests.running import Running, running
from tests.scripted_model import scripted_model
from tests.store.migrating import migrations
from tests.tiny_models import tiny_graph_embedder

OLD, NEW = '{"model":"old"}', '{"model":"new"}'
"""The embedding that a makeup names."""


class Counting:
    """The embedder, and how many passages it was given."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self.embedded = embedder, 0
        self.fingerprint, self.dimension = embedder.fingerprint, embedder.dimension
        self.embed_queries = embedder.embed_queries

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        self.embedded += len(texts)
        return self._embedder.embed_passages(texts)


@dataclass(kw_only=True)
class House:
    """A running Muniment with two models to choose from, and what was opened of its generations."""

    run: Running
    embedders: dict[str, Counting]
    tokenizers: dict[str, LocalTokenizer]
    gone: set[str] = field(default_factory=set)
    changed: bool = False
    """The files of the model are not those that the first generation was made with."""
    indexes: dict[GenerationId, EdgeIndex] = field(default_factory=dict)

    @property
    def ports(self) -> Ports:
        return self.run.ports

    def choose(self, model: str, *, analyzer: str = SnowballAnalyzer.fingerprint) -> None:
        """Start the server with this model and analyzer."""
        dimension = self.embedders[model].dimension
        makeup = Makeup(embedding=model, dimension=dimension, analyzer=analyzer)
        configure(self.ports.engine, makeup, now=self.ports.now())

    def build(self) -> None:
        while build_some(self.ports, "test"):
            pass

    def clear(self) -> None:
        remove_retired(self.ports, grace_ms=-1)
        look_ahead(self.ports)

    def generations(self) -> dict[int, GenerationState]:
        with reading(self.ports.engine) as session:
            return {each.id: each.state for each in generations.generations(session)}

    def wanted(self) -> list[Placement]:
        """What SQL says that an index holds."""
        with reading(self.ports.engine) as session:
            versions = [VersionId(id or 0) for id in session.scalars(select(col(VersionRow.id)))]
            return publishing.placements_of(session, versions)

    def kept(self) -> set[str]:
        with reading(self.ports.engine) as session:
            return set(session.scalars(select(col(EmbeddingRow.fingerprint))))

    def open(self, generation: Generation) -> Opened:
        model = generation.makeup.embedding

        def load() -> Embedder:
            if model in self.gone:
                raise Unavailable("The model is gone.")
            if self.changed and generation.id == FIRST:
                raise ModelChanged("The model is another.")
            with writing(self.ports.engine) as session:
                generations.settle_fingerprint(session, generation.id, self.embedders[model].fingerprint)
            return self.embedders[model]

        place = self.run.folder / f"index-{generation.id}"
        index = self.indexes.setdefault(generation.id, EdgeIndex(place, generation.makeup.dimension))
        embedder = LateEmbedder(load)

        def close() -> None:
            embedder.unload()
            index.close()
            self.indexes.pop(generation.id, None)

        return Opened(index=index, embedder=embedder, tokenizer=self.tokenizers[model], close=close)

    def drop(self, generation: Generation) -> None:
        self.indexes[generation.id].drop()


@dataclass(frozen=True, kw_only=True)
class Model:
    embedder: LocalEmbedder
    tokenizer: LocalTokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        OLD: tiny_graph_embedder(folder / "old", dimension=16),
        NEW: tiny_graph_embedder(folder / "new", dimension=32, max_tokens=24),
    }
    return {
        name: Model(embedder=LocalEmbedder(str(place), made=folder), tokenizer=LocalTokenizer(str(place)))
        for name, place in made.items()
    }


@pytest.fixture
def house(tmp_path: Path, models: dict[str, Model], parser: Parser) -> Iterator[House]:
    engine = open_engine(f"sqlite:///{tmp_path / 'muniment.sqlite'}")
    old = models[OLD]
    with ExitStack() as opened:
        unused = opened.enter_context(EdgeIndex(tmp_path / "unused", old.embedder.dimension))
        run = opened.enter_context(
            running(engine, unused, tmp_path, embedder=old.embedder, tokenizer=old.tokenizer, parser=parser)
        )
        house = House(
            run=run,
            embedders={name: Counting(each.embedder) for name, each in models.items()},
            tokenizers={name: each.tokenizer for name, each in models.items()},
        )
        house.choose(OLD)
        own = OpenedGenerations(house.open, house.drop, SnowballAnalyzer())
        opened.callback(own.close)
        # of a generation that there never is, so that each step has to ask which one answers
        run.ports = replace(run.ports, generations=own, generation=GenerationId(0))
        run.client.app.state.ports = run.ports  # type: ignore[attr-defined]
        run.put_principal("user:ana")
        run.put_principal("user:bo")
        run.put_collection("ponds", owners=["user:ana"], default_readers=["group:all-staff"])
        yield house
    engine.dispose()


def publish(house: House, *names: str) -> dict[str, str]:
    """A document for each bird, by its name."""
    ids = {}
    for name in names:
        text = f"The {name} stands in the pond."
        response = house.run.submit("user:ana", "ponds", text, uri=name)
        assert response.status_code == 202, response.text
        ids[name] = response.json()["document"]["id"]
    house.run.work()
    return ids


def found(house: House, name: str) -> bool:
    return name in house.run.found("user:bo", f"{name} stands", mode="lexical", top_k=50)


def test_old_index_answers_until_the_new_one_holds_everything(house: House) -> None:
    publish(house, "heron", "egret", "bittern", "stork", "crane", "ibis")
    house.choose(NEW)
    assert house.generations() == {1: GenerationState.ACTIVE, 2: GenerationState.BUILDING}
    seen = []
    while build_some(house.ports, "test"):
        assert found(house, "heron")
        seen.append(house.generations()[2])
    assert seen[:-1] == [GenerationState.BUILDING] * (len(seen) - 1)
    assert house.generations() == {1: GenerationState.RETIRED, 2: GenerationState.ACTIVE}
    assert found(house, "heron")
    assert house.indexes[GenerationId(2)].size() == len(house.wanted()) == 6
    house.clear()
    assert house.generations() == {1: GenerationState.REMOVED, 2: GenerationState.ACTIVE}
    assert house.kept() == {house.embedders[NEW].fingerprint}
    assert not (house.run.folder / "index-1" / "shard").exists()
    assert found(house, "heron")


def test_question_is_answered_in_the_same_words_before_and_after_the_switch(house: House) -> None:
    publish(house, "heron", "egret", "bittern", "stork", "crane")

    def told() -> tuple[str, list[str]]:
        response = house.run.request("POST", "/v1/answer", "user:bo", json={"query": "Where does the heron stand?"})
        assert response.status_code == 200, response.text
        sentences = response.json()["answer"]["sentences"]
        return response.json()["answer"]["kind"], [each["citation"]["uri"] for each in sentences]

    before = told()
    assert before == ("extractive", ["heron"])
    house.choose(NEW)
    while build_some(house.ports, "test"):
        assert told() == before
    assert house.generations()[2] is GenerationState.ACTIVE
    assert told() == before
    house.clear()
    assert told() == before


def test_generation_that_was_searched_is_on_record_whatever_is_active_at_the_last_moment(house: House) -> None:
    publish(house, "heron", "egret")
    house.run.put_principal("user:sunniva", groups=["group:auditors"])
    house.choose(NEW)
    embed = house.embedders[OLD].embed_queries

    def switched(texts: Sequence[str]) -> list[Vector]:
        house.build()
        return embed(texts)

    house.embedders[OLD].embed_queries = switched
    answer = house.run.retrieve("user:bo", "Where does the heron stand?")
    assert answer["passages"]
    assert house.generations() == {1: GenerationState.RETIRED, 2: GenerationState.ACTIVE}
    trace = house.run.request("GET", f"/v1/traces/{answer['trace_id']}", "user:sunniva").json()
    assert trace["grounds"]["generation"] == 1


def test_answer_that_a_model_writes_is_told_to_its_end_across_the_switch(house: House) -> None:
    publish(house, "heron", "egret")
    with scripted_model() as scripted:
        scripted.script = ("The heron stands in the pond [1].", " The egret stands in the pond [2].", " Done.")
        ports = replace(house.ports, generator=scripted.generator())
        begun = Begun(
            ports,
            Credentials(bearer=house.run.key("user:bo")),
            Query(text="Do the heron and the egret stand in the pond?"),
            Wish(),
        )
        sentences = begun.sentences()
        first = next(sentences)
        house.choose(NEW)
        house.build()
        house.clear()
        assert house.generations() == {1: GenerationState.REMOVED, 2: GenerationState.ACTIVE}
        said = begun.reply([first, *sentences]).said
    assert {each.verdict for each in said.sentences} == {Verdict.SUPPORTED}
    assert len(said.sentences) == 2


def test_model_whose_files_are_others_by_now_begins_another_generation_and_no_third(house: House) -> None:
    publish(house, "heron")
    assert not renew_if_changed(house.ports)
    house.changed = True
    assert house.ports.generations is not None
    house.ports.generations.keep(set())  # as at a start
    refused = house.run.request("POST", "/v1/retrieve", "user:bo", json={"query": "heron"})
    assert (refused.status_code, refused.json()["detail"]) == (503, "The model is another.")
    for _ in range(2):
        assert renew_if_changed(house.ports)
        assert house.generations() == {1: GenerationState.ACTIVE, 2: GenerationState.BUILDING}
    house.build()
    assert house.generations() == {1: GenerationState.RETIRED, 2: GenerationState.ACTIVE}
    assert not renew_if_changed(house.ports)
    assert found(house, "heron")
    house.gone = {OLD}
    house.ports.generations.keep(set())
    with pytest.raises(Unavailable, match="gone"):
        renew_if_changed(house.ports)
    assert house.generations() == {1: GenerationState.RETIRED, 2: GenerationState.ACTIVE}


def test_what_changes_while_an_index_is_built_is_in_it(house: House) -> None:
    ids = publish(house, "heron", "egret", "bittern", "stork", "crane")
    house.choose(NEW)
    assert build_some(house.ports, "test")  # some are told of by now, and some are not
    for name in ("heron", "crane"):
        body = {"label": {"level": "restricted"}}
        assert house.run.request("PATCH", f"/v1/documents/{ids[name]}", "user:ana", json=body).status_code == 200
    for name in ("egret", "stork"):
        path = f"/v1/documents/{ids[name]}/withdraw"
        assert house.run.request("POST", path, "user:ana", json={"reason": "over"}).status_code == 200
    publish(house, "ibis")
    house.run.publish("user:ana", "ponds", "The bittern flies by now.", uri="bittern")
    house.build()
    assert house.generations()[2] is GenerationState.ACTIVE
    assert [name for name in (*ids, "ibis") if found(house, name)] == ["bittern", "ibis"]
    now = house.indexes[GenerationId(2)]
    assert now.held([each.point for each in house.wanted()]) == {each.point for each in house.wanted()}
    assert now.size() == len(house.wanted())


def test_erasing_reaches_every_index_there_is(house: House) -> None:
    ids = publish(house, "heron", "egret")
    points = [each.point for each in house.wanted()]
    house.choose(NEW)
    assert build_some(house.ports, "test")
    erased = house.run.request("POST", f"/v1/documents/{ids['heron']}/erase", "user:ana", json={"reason": "asked"})
    assert erased.status_code < 300, erased.text
    house.run.work()
    left = {point for index in house.indexes.values() for point in index.held(points)}
    assert {each.point for each in house.wanted()} == left
    house.build()
    path = f"/v1/documents/{ids['egret']}/erase"
    assert house.run.request("POST", path, "user:ana", json={"reason": "asked"}).status_code < 300
    house.run.work()
    assert [index.size() for index in house.indexes.values()] == [0, 0]  # the retired one, too


def test_version_that_was_staged_before_the_switch_is_found_after_it(house: House) -> None:
    publish(house, "heron")
    house.choose(NEW)
    assert house.run.submit("user:ana", "ponds", "The egret stands in the pond.", uri="egret").status_code == 202
    with writing(house.ports.engine) as session:
        jobs.claim(session, "test:batch", max_jobs=1)
    steps: list[Callable[[Ports, str], None]] = [pipeline.embed_batch, pipeline.index_batch]
    pipeline.stage_batch(house.ports, house.run.parser, house.run.readers, "test:batch")
    for step in steps:
        step(house.ports, "test:batch")
    house.build()
    assert house.generations()[2] is GenerationState.ACTIVE
    pipeline.publish_batch(house.ports, "test:batch")
    pipeline.place_batch(house.ports, "test:batch")
    assert found(house, "egret")
    assert house.run.found("user:bo", "egret stands", mode="dense", top_k=50)


def test_another_analyzer_takes_over_without_embedding_again(house: House) -> None:
    publish(house, "heron", "egret")
    before = house.embedders[OLD].embedded
    house.choose(OLD, analyzer="another")
    house.build()
    assert house.generations() == {1: GenerationState.RETIRED, 2: GenerationState.ACTIVE}
    house.clear()
    assert house.embedders[OLD].embedded == before
    assert house.kept() == {house.embedders[OLD].fingerprint}
    assert found(house, "egret")


def test_building_goes_on_where_a_killed_worker_left_it(house: House) -> None:
    publish(house, *(f"heron{number}" for number in range(10)))
    house.choose(NEW)
    assert build_some(house.ports, "test")
    embedded = house.embedders[NEW].embedded
    assert 0 < embedded < 10
    assert house.ports.generations is not None
    house.ports.generations.keep(set())  # as after a kill: all that was open is opened again
    assert not build_some(house.ports, "another worker, while it may still live")
    house.build()
    assert house.embedders[NEW].embedded == 10
    assert house.generations()[2] is GenerationState.ACTIVE


def test_new_index_that_was_lost_is_filled_again_before_it_answers(house: House) -> None:
    publish(house, "heron")
    house.choose(NEW)
    with reading(house.ports.engine) as session:
        building = generations.building(session)
    assert building is not None
    assert build_some(house.ports, "test")
    house.indexes[building.id].remove([each.point for each in house.wanted()])
    house.build()
    assert house.generations()[2] is GenerationState.ACTIVE
    assert found(house, "heron")


def test_setting_that_is_changed_back_ends_the_building(house: House) -> None:
    publish(house, "heron")
    house.choose(NEW)
    assert build_some(house.ports, "test")
    house.choose(OLD)
    assert house.generations() == {1: GenerationState.ACTIVE, 2: GenerationState.RETIRED}
    house.clear()
    assert house.generations() == {1: GenerationState.ACTIVE, 2: GenerationState.REMOVED}
    assert house.kept() == {house.embedders[OLD].fingerprint}
    assert found(house, "heron")
    house.choose(OLD)
    assert house.generations() == {1: GenerationState.ACTIVE, 2: GenerationState.REMOVED}


def test_generation_begins_with_no_folder_that_another_of_its_number_left(tmp_path: Path) -> None:
    old, new = (
        Settings(
            home=tmp_path / "home", embedding={"model": str(tiny_graph_embedder(tmp_path / name, dimension=dimension))}
        )
        for name, dimension in (("old", 16), ("new", 32))
    )
    left = old.home / "index-2" / "shard" / "points"

    def held(settings: Settings) -> dict[int, GenerationState]:
        initialise(settings)
        return {each.id: each.state for each in held_generations(settings)}

    assert held(old) == {1: GenerationState.ACTIVE}
    assert held(new) == {1: GenerationState.ACTIVE, 2: GenerationState.BUILDING}
    left.parent.mkdir(parents=True)
    left.write_text("what was told so far")
    assert held(new) == {1: GenerationState.ACTIVE, 2: GenerationState.BUILDING}
    assert left.exists()
    engine = open_engine(old.database)
    with engine.begin() as connection:
        command.downgrade(migrations(connection), "20261122_evaluation")  # the release before generations
    engine.dispose()
    assert held(old) == {1: GenerationState.ACTIVE}
    assert held(new) == {1: GenerationState.ACTIVE, 2: GenerationState.BUILDING}
    assert not left.parent.parent.exists()


def test_folder_that_somebody_else_removes_meanwhile_and_what_is_no_folder_hinder_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home")
    initialise(settings)
    (settings.home / "index-7" / "shard").mkdir(parents=True)
    (settings.home / "index-8").write_text("somebody's notes")
    (tmp_path / "elsewhere").mkdir()
    (settings.home / "index-9").symlink_to(tmp_path / "elsewhere")
    removed = shutil.rmtree

    def late(folder: Path, **how: Any) -> None:
        removed(folder)
        removed(folder, **how)

    monkeypatch.setattr("app.bootstrap.shutil.rmtree", late)
    initialise(settings)

    assert sorted(each.name for each in settings.home.glob("index-*")) == ["index-8", "index-9"]
    assert (tmp_path / "elsewhere").exists()


def test_model_that_is_gone_is_told_of_until_another_answers(house: House) -> None:
    publish(house, "heron")
    house.choose(NEW)
    house.gone = {OLD}
    assert house.ports.generations is not None
    house.ports.generations.keep(set())
    ready = house.run.client.get("/readyz")
    assert (ready.status_code, ready.json()["parts"]["model"]) == (503, "The model is gone.")
    refused = house.run.request("POST", "/v1/retrieve", "user:bo", json={"query": "heron"})
    assert (refused.status_code, refused.json()["detail"]) == (503, "The model is gone.")
    house.build()
    assert house.run.client.get("/readyz").status_code == 200
    assert found(house, "heron")


def test_chunks_that_the_new_model_does_not_read_to_their_ends_are_counted(house: House) -> None:
    publish(house, "heron")
    house.run.publish("user:ana", "ponds", f"The egret {'stands and waits and ' * 20}flies.", uri="egret")
    house.choose(NEW)
    house.build()
    by_id = {each["id"]: each for each in house.run.admin("GET", "/v1/index")["generations"]}
    assert (by_id[1]["cut_off"], by_id[2]["cut_off"]) == (0, 1)


def test_trace_names_the_generation_that_ranked(house: House) -> None:
    house.run.put_principal("user:una", groups=["group:auditors"])
    publish(house, "heron")
    house.choose(NEW)
    asked = [house.run.retrieve("user:bo", "heron")["trace_id"]]
    house.build()
    asked.append(house.run.retrieve("user:bo", "heron")["trace_id"])
    traces = [house.run.request("GET", f"/v1/traces/{id}", "user:una").json() for id in asked]
    assert [each["grounds"]["generation"] for each in traces] == [1, 2]
    listed = house.run.request("GET", "/v1/index", "user:una").json()["generations"]
    assert [(each["id"], each["fingerprint"]) for each in listed] == [
        (2, house.embedders[NEW].fingerprint),
        (1, house.embedders[OLD].fingerprint),
    ]


def test_administrator_has_the_same_index_built_anew_and_nobody_else_does(house: House) -> None:
    publish(house, "heron")
    for method, path in (("GET", "/v1/index"), ("POST", "/v1/index/generations")):
        assert house.run.request(method, path, "user:ana").status_code == 403
    assert house.run.admin("POST", "/v1/index/generations") == {"generation": 2}
    assert house.run.admin("POST", "/v1/index/generations") == {"generation": 2}
    first = house.run.admin("GET", "/v1/index")["generations"][0]
    assert (first["state"], first["progress"]) == ("building", {"done": 0, "total": 1})
    house.choose(OLD)  # a restart meanwhile
    house.build()
    house.clear()
    assert house.generations() == {1: GenerationState.REMOVED, 2: GenerationState.ACTIVE}
    assert house.kept() == {house.embedders[OLD].fingerprint}
    assert found(house, "heron")
    assert synchronize(house.ports) == 0
