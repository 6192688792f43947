"""Generations of the index: which there are, how far the next one is, and having it built anew."""

import json

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, problems
from app.domain.generations import GenerationState
from app.domain.instants import iso
from app.operations import rebuild

routes = APIRouter(tags=["operation"], responses=ASKED)


class BuildOut(BaseModel):
    done: int = Field(description="Chunks.")
    total: int


class GenerationOut(BaseModel):
    id: int = Field(description="As traces name it.")
    state: GenerationState
    model: str | None = Field(description="The embedding model's name or folder; null: the packaged one.")
    embedding: dict[str, object] = Field(description="The settings that decide vectors, where not as by default.")
    fingerprint: str | None = Field(description="Of the embedding model; null until it was loaded for it.")
    dimension: int
    analyzer: str
    made_at: str
    active_from: str | None
    active_to: str | None
    progress: BuildOut | None = Field(description="Of the one that is being built.")
    cut_off: int = Field(description="Chunks longer than its model reads: their ends count for nothing in vectors.")


class IndexOut(BaseModel):
    generations: list[GenerationOut]


class BegunOut(BaseModel):
    generation: int


@routes.get("/v1/index", summary="The generations of the index", responses=problems(403))
def get_index(asking: Asking, ports: PortsOf) -> IndexOut:
    """Newest first; for administrators and auditors. Those that are removed stay listed, as traces name them."""
    return IndexOut(generations=[_out(each) for each in rebuild.overview(ports, asking)])


@routes.post("/v1/index/generations", status_code=202, summary="Build the index anew", responses=problems(403))
def post_generation(asking: Asking, ports: PortsOf) -> BegunOut:
    """For administrators. With the model and analyzer of today, in the background, while the present one answers. What
    is being built already goes on."""
    return BegunOut(generation=rebuild.begin(ports, asking))


def _out(built: rebuild.Built) -> GenerationOut:
    each = built.generation
    embedding: dict[str, object] = json.loads(each.makeup.embedding or "{}")
    model = embedding.get("model")
    return GenerationOut(
        id=each.id,
        state=each.state,
        model=str(model) if model is not None else None,
        embedding=embedding,
        fingerprint=each.fingerprint,
        dimension=each.makeup.dimension,
        analyzer=each.makeup.analyzer,
        made_at=iso(each.made_at),
        active_from=iso(each.active_from) if each.active_from is not None else None,
        active_to=iso(each.active_to) if each.active_to is not None else None,
        progress=BuildOut(done=built.progress.done, total=built.progress.total) if built.progress else None,
        cut_off=each.cut_off,
    )
