"""Vectors of repeated questions: what comes out is the same, and only so many are kept."""

from collections.abc import Sequence

from app.adapters.remembering_embedder import RememberingEmbedder
from app.domain.evidence import Vector
from tests.operations.test_erase import SignEmbedder


class Counted(SignEmbedder):
    """Notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        self.asked += texts
        return super().embed_queries(texts)


def test_a_question_is_embedded_once_while_it_is_remembered() -> None:
    embedder = Counted()
    remembering = RememberingEmbedder(embedder, at_most=2)
    plain = SignEmbedder()

    for question in ("one", "two", "one", "three", "one", "two"):
        assert remembering.embed_queries([question]) == plain.embed_queries([question])
    assert embedder.asked == ["one", "two", "three", "two"]


def test_several_texts_at_once_are_not_remembered() -> None:
    embedder = Counted()
    remembering = RememberingEmbedder(embedder, at_most=9)

    for _ in range(2):
        remembering.embed_queries(["one", "two"])
    remembering.embed_queries(["one"])
    assert embedder.asked == ["one", "two", "one", "two", "one"]
    assert (remembering.fingerprint, remembering.dimension) == (embedder.fingerprint, embedder.dimension)
