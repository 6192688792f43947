"""Hits: one order everywhere."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.access import BoundaryId
from app.domain.corpus import ChunkId
from app.domain.evidence import (
    PERIODS_PER_VERSION,
    Hit,
    IndexQuery,
    Lexical,
    chunk_of,
    in_order,
    point_of,
)
from app.domain.instants import Instant

scores = st.one_of(st.floats(-1, 40), st.sampled_from([0.0, 0.5, 0.5 + 1e-9, 1.0]))
lists = st.dictionaries(st.integers(1, 12).map(ChunkId), scores, max_size=8).map(in_order)


def scored(*pairs: tuple[int, float]) -> dict[ChunkId, float]:
    return {ChunkId(chunk): score for chunk, score in pairs}


def hits(*pairs: tuple[int, float]) -> tuple[Hit, ...]:
    return tuple(Hit(chunk=ChunkId(chunk), score=score) for chunk, score in pairs)


def test_hits_are_in_the_order_of_their_scores_and_ties_of_their_chunks() -> None:
    found = scored((3, 0.5), (1, 0.5), (2, 0.9), (4, -1.0))
    assert in_order(found) == hits((2, 0.9), (1, 0.5), (3, 0.5), (4, -1.0))


def test_scores_that_differ_by_less_than_the_sixth_digit_are_a_tie() -> None:
    assert in_order(scored((2, 0.50000049), (1, 0.5))) == hits((1, 0.5), (2, 0.5))
    assert in_order(scored((1, 0.5), (2, 0.500001))) == hits((2, 0.500001), (1, 0.5))


def test_order_does_not_depend_on_the_one_in_which_scores_come() -> None:
    found = ((3, 0.5), (1, 0.5), (2, 0.5), (9, 0.7))
    assert {in_order(scored(*order)) for order in permutations(found)} == {hits((9, 0.7), (1, 0.5), (2, 0.5), (3, 0.5))}


@given(chunk=st.integers(1, 2**40).map(ChunkId), ordinal=st.integers(0, PERIODS_PER_VERSION - 1))
def test_point_leads_back_to_its_chunk(chunk: ChunkId, ordinal: int) -> None:
    assert chunk_of(point_of(chunk, ordinal)) == chunk
    assert point_of(chunk, ordinal) - point_of(chunk, 0) == ordinal


@pytest.mark.parametrize("ordinal", [-1, PERIODS_PER_VERSION])
def test_point_of_a_period_beyond_the_last_is_refused(ordinal: int) -> None:
    with pytest.raises(ValueError, match="period"):
        point_of(ChunkId(1), ordinal)


@pytest.mark.parametrize(("boundaries", "depth"), [((), 1), ((1,), 0), ((1,), -1)])
def test_search_without_boundary_or_depth_cannot_be_asked_for(boundaries: tuple[int, ...], depth: int) -> None:
    with pytest.raises(ValueError, match="search"):
        IndexQuery(
            dense=None,
            lexical=None,
            boundaries=frozenset(map(BoundaryId, boundaries)),
            valid_at=Instant(0),
            known_at=Instant(0),
            depth=depth,
        )


def test_lexical_vector_without_terms_is_empty() -> None:
    assert not Lexical(terms=(), weights=())
    assert Lexical(terms=(7,), weights=(0.5,))
