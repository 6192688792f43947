"""Generations of the index: what one was made with, and how far it is on its way from being built to being gone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from app.domain.instants import Instant

GenerationId = NewType("GenerationId", int)

FIRST: Final = GenerationId(1)
"""Of every data folder: it is there before anything is indexed."""


class GenerationState(StrEnum):
    """Of all generations, one is active, and at most one is being built."""

    BUILDING = "building"
    ACTIVE = "active"
    RETIRED = "retired"
    """Asks nobody any more, and is still there for the requests that began with it."""
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Makeup:
    """All that decides what an index holds of given documents. Another makeup, another index."""

    embedding: str
    """The settings of the embedding model that decide vectors, as canonical JSON."""
    dimension: int
    analyzer: str
    """The fingerprint of the lexical analyzer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    id: GenerationId
    makeup: Makeup
    fingerprint: str | None
    """Of the embedding model; None until somebody has loaded it for this generation."""
    state: GenerationState
    made_at: Instant
    active_from: Instant | None = None
    active_to: Instant | None = None
    cut_off: int = 0
    """Chunks longer than its model reads: their ends count for nothing in their vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Published chunks that a generation holds, of those that it is to hold."""

    done: int
    total: int
