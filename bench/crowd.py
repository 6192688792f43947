"""As many points as are wanted, made of the embeddings and the terms of real texts, in files that are mapped.

Every point is a real text again: its embedding turned a little at random, some of its terms left out and some put in
from another text, so that no two are alike and all lie as real ones do. The files are what every index is filled
from, ours and others'.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from app.adapters.local_embedder import LocalEmbedder
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.evidence import IndexEntry, IndexQuery, Lexical, Placement, Vector, point_of
from app.domain.instants import FOREVER, Instant
from bench.wording import Writer, own_sentences

BOUNDARIES: Final = 1_000
"""Each holds a thousandth of the points, everywhere among the others."""

VISIBLE: Final = (0.001, 0.01, 0.1, 0.5, 1.0)

NOW: Final = Instant(1_000)

_TURN: Final = 0.4
"""Length of what is added to a unit vector: a cosine of about 0.93 to the real one is left."""
_KEPT_TERMS: Final = 0.8
_OWN_TEXTS: Final = 3_000
_QUESTIONS: Final = 300
_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """Real texts and questions, with what the default model and analyzer make of them."""

    vectors: NDArray[np.float32]
    lexical: tuple[Lexical, ...]
    questions: NDArray[np.float32]
    asked: tuple[Lexical, ...]

    @classmethod
    def of(cls, data: Path | None, kept: Path) -> Self:
        """From a folder in BEIR's layout, else of our own corpus. Embeddings are kept in the folder `kept`."""
        texts, questions = _beir(data) if data is not None else _own()
        vectors, asked = kept / "texts.npy", kept / "questions.npy"
        if not (vectors.exists() and asked.exists()):
            model = LocalEmbedder(threads=2)
            np.save(asked, _matrix(model.embed_queries(questions)))
            np.save(vectors, _matrix(model.embed_passages(texts)))
        analyzer = SnowballAnalyzer()
        return cls(
            vectors=np.load(vectors),
            lexical=tuple(map(analyzer.passage, texts)),
            questions=np.load(asked),
            asked=tuple(map(analyzer.query, questions)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """`size` points: point n is chunk n + 1, in the boundary `boundaries[n]`."""

    folder: Path
    """Where `vectors.npy` and `boundaries.npy` are, for others to read."""
    vectors: NDArray[np.float32]
    boundaries: NDArray[np.int32]
    starts: NDArray[np.int64]
    """Where a point's terms begin in `terms` and `weights`; one more than there are points."""
    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]

    @property
    def size(self) -> int:
        return len(self.boundaries)

    @classmethod
    def of(cls, real: Real, folder: Path, size: int) -> Self:
        """Made in `folder` if it is not there, always the same for the same texts."""
        if not (folder / "weights.npy").exists():
            cls._make(real, folder, size)
        names = ("vectors", "boundaries", "starts", "terms", "weights")
        return cls(folder=folder, **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names})

    @staticmethod
    def _make(real: Real, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        chance = np.random.default_rng(7)
        shape = (size, real.vectors.shape[1])
        vectors = open_memmap(folder / "vectors.npy", mode="w+", dtype="<f4", shape=shape)
        boundaries = np.concatenate(
            [chance.permutation(BOUNDARIES) for _ in range(-(-size // BOUNDARIES))], dtype=np.int32
        )[:size]
        known = [(np.array(it.terms, "<u4"), np.array(it.weights, "<f4")) for it in real.lexical]
        counts: list[int] = [0]
        terms: list[NDArray[np.uint32]] = []
        weights: list[NDArray[np.float32]] = []
        for start in range(0, size, _AT_ONCE):
            some = np.arange(start, min(start + _AT_ONCE, size)) % len(known)
            noise = chance.standard_normal((len(some), shape[1]), dtype=np.float32)
            turned = real.vectors[some] + noise * (_TURN / np.linalg.norm(noise, axis=1, keepdims=True))
            vectors[start : start + len(some)] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
            for one, other in zip(some, chance.integers(len(known), size=len(some)), strict=True):
                found, heavy = _mixed(known[one], known[other], chance)
                counts.append(len(found))
                terms.append(found)
                weights.append(heavy)
        vectors.flush()
        for name, values in {
            "boundaries": boundaries,
            "starts": np.cumsum(counts),
            "terms": np.concatenate(terms),
            "weights": np.concatenate(weights),
        }.items():
            np.save(folder / f"{name}.npy", values)

    def entries(self, start: int, stop: int) -> Iterator[IndexEntry]:
        for n in range(start, min(stop, self.size)):
            own = slice(self.starts[n], self.starts[n + 1])
            yield IndexEntry(
                placement=Placement(
                    point=point_of(ChunkId(n + 1), 0),
                    boundary=BoundaryId(int(self.boundaries[n]) + 1),
                    valid_from=Instant(0),
                    valid_to=FOREVER,
                    recorded_from=Instant(0),
                    recorded_to=FOREVER,
                ),
                dense=Vector(self.vectors[n].tobytes()),
                lexical=Lexical(terms=tuple(self.terms[own].tolist()), weights=tuple(self.weights[own].tolist())),
            )

    def nearest(self, questions: NDArray[np.float32], visible: float, depth: int) -> NDArray[np.float64]:
        """For each question the cosines of the best `depth` of what is visible, best first: all of them computed, by
        numpy, in float64."""
        best = np.empty((len(questions), 0))
        for start in range(0, self.size, _AT_ONCE):
            seen = self.boundaries[start : start + _AT_ONCE] < round(visible * BOUNDARIES)
            vectors = self.vectors[start : start + _AT_ONCE][seen].astype(np.float64)
            cosines = np.concatenate([best, questions.astype(np.float64) @ vectors.T], axis=1)
            best = -np.sort(-cosines, axis=1)[:, :depth]
        return best


def query(question: NDArray[np.float32] | None, lexical: Lexical | None, visible: float, depth: int) -> IndexQuery:
    """What the product asks its index for somebody who may read so much of it."""
    return IndexQuery(
        dense=None if question is None else Vector(question.astype("<f4").tobytes()),
        lexical=lexical or None,
        boundaries=frozenset(BoundaryId(n + 1) for n in range(round(visible * BOUNDARIES))),
        valid_at=NOW,
        known_at=NOW,
        depth=depth,
    )


def _mixed(
    one: tuple[NDArray[np.uint32], NDArray[np.float32]],
    other: tuple[NDArray[np.uint32], NDArray[np.float32]],
    chance: np.random.Generator,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Most of one text's terms and a few of another's, ascending, each once."""
    kept = chance.random(len(one[0]), dtype=np.float32) < _KEPT_TERMS
    added = chance.random(len(other[0]), dtype=np.float32) > _KEPT_TERMS
    terms, first = np.unique(np.concatenate([one[0][kept], other[0][added]]), return_index=True)
    return terms, np.concatenate([one[1][kept], other[1][added]])[first]


def _beir(folder: Path) -> tuple[list[str], list[str]]:
    texts = [f"{row.get('title', '')}\n{row['text']}" for row in _rows(folder, "corpus")]
    return texts, [row["text"] for row in _rows(folder, "queries")][:_QUESTIONS]


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    plain = folder / f"{name}.jsonl"
    content = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.jsonl.gz").read_bytes())
    return [json.loads(line) for line in content.splitlines() if line]


def _own() -> tuple[list[str], list[str]]:
    writer = Writer(own_sentences(), seed=3)
    return [writer.passage()[1] for _ in range(_OWN_TEXTS)], [writer.question() for _ in range(_QUESTIONS)]


def _matrix(vectors: Sequence[Vector]) -> NDArray[np.float32]:
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
