"""Ranking: two lists of hits fused into one."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.corpus import ChunkId
from app.domain.evidence import Hit, Hits, ranked
from app.domain.ranking import fused, relevant

scores = st.one_of(st.floats(-1, 40), st.sampled_from([0.0, 0.5, 0.5 + 1e-9, 1.0]))
lists = st.dictionaries(st.integers(1, 12).map(ChunkId), scores, max_size=8).map(
    lambda found: ranked([Hit(chunk=chunk, score=score) for chunk, score in found.items()], len(found))
)


def hits(*pairs: tuple[int, float]) -> tuple[Hit, ...]:
    return tuple(Hit(chunk=ChunkId(chunk), score=score) for chunk, score in pairs)


def test_fusion_scales_each_list_to_its_own_extremes() -> None:
    found = Hits(dense=hits((1, 0.8), (2, 0.6), (3, 0.4)), lexical=hits((3, 20.0), (2, 15.0), (4, 10.0)))
    assert fused(found) == hits((1, 0.5), (2, 0.5), (3, 0.5), (4, 0.0))
    assert fused(found, dense_weight=0.75) == hits((1, 0.75), (2, 0.5), (3, 0.25), (4, 0.0))


def test_list_whose_hits_all_tie_scales_to_one() -> None:
    assert fused(Hits(dense=hits((2, 0.3), (5, 0.3)), lexical=hits((2, 7.0)))) == hits((2, 1.0), (5, 0.5))


def test_with_one_list_empty_the_other_alone_ranks() -> None:
    found = hits((4, 9.0), (2, 6.0), (7, 3.0))
    scaled = hits((4, 1.0), (2, 0.5), (7, 0.0))
    assert fused(Hits(dense=found)) == scaled
    assert fused(Hits(lexical=found)) == scaled
    assert fused(Hits()) == ()


@given(dense=lists, lexical=lists, weight=st.floats(0, 1))
def test_fused_hits_are_those_of_both_lists_once_in_the_one_order(
    dense: tuple[Hit, ...], lexical: tuple[Hit, ...], weight: float
) -> None:
    found = fused(Hits(dense=dense, lexical=lexical), dense_weight=weight)
    assert {hit.chunk for hit in found} == {hit.chunk for hit in (*dense, *lexical)}
    assert len({hit.chunk for hit in found}) == len(found)
    assert found == ranked(found, len(found))
    assert all(0 <= hit.score <= 1 for hit in found)


@given(dense=lists, lexical=lists)
def test_hit_that_leads_both_lists_leads_their_fusion(dense: tuple[Hit, ...], lexical: tuple[Hit, ...]) -> None:
    if dense and lexical and dense[0].chunk == lexical[0].chunk:
        best = fused(Hits(dense=dense, lexical=lexical))[0]
        assert best.score == 1
        assert best.chunk <= dense[0].chunk


def test_hits_are_relevant_by_meaning_or_by_a_shared_term() -> None:
    found = Hits(dense=hits((1, 0.9), (2, 0.2), (3, 0.19), (4, 0.1)), lexical=hits((4, 3.0), (5, 1.0)))
    assert relevant(found, min_cosine=0.2) == Hits(
        dense=hits((1, 0.9), (2, 0.2), (4, 0.1)), lexical=hits((4, 3.0), (5, 1.0))
    )
    assert relevant(Hits(dense=hits((3, 0.19))), min_cosine=0.2) == Hits()
