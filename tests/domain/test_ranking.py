"""Ranking: two lists of hits fused into one, what each of them counts for, and a reranker's word."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.corpus import ChunkId
from app.domain.evidence import Hit, Hits, in_order
from app.domain.ranking import Fusion, Ranking, Turns, dense_weight, fused, relevant, reweighed

cosines = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 0.5, 0.5 + 1e-9, 1.0]))
words = st.one_of(st.floats(0.001, 40), st.sampled_from([0.5, 0.5 + 1e-9, 1.0]))
rankings = st.builds(
    Ranking,
    fusion=st.sampled_from(Fusion),
    dense_weight=st.floats(0, 1),
    adaptation=st.floats(0, 1),
    rrf_k=st.integers(0, 100),
)
HALF = Ranking(fusion=Fusion.MIN_MAX, dense_weight=0.5, adaptation=0)
STEADY = Ranking(adaptation=0)
shares = st.floats(0, 1)


def lists(scores: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Hit, ...]]:
    found = st.dictionaries(st.integers(1, 12).map(ChunkId), scores, max_size=8)
    return found.map(in_order)


def hits(*pairs: tuple[int, float]) -> tuple[Hit, ...]:
    return tuple(Hit(chunk=ChunkId(chunk), score=score) for chunk, score in pairs)


FOUND = Hits(dense=hits((1, 0.8), (2, 0.6), (3, 0.4)), lexical=hits((3, 20.0), (2, 15.0), (4, 10.0)))


def test_min_max_scales_each_list_to_its_own_extremes() -> None:
    assert fused(FOUND, HALF) == hits((1, 0.5), (2, 0.5), (3, 0.5), (4, 0.0))
    assert fused(FOUND, replace(HALF, dense_weight=0.75)) == hits((1, 0.75), (2, 0.5), (3, 0.25), (4, 0.0))


def test_convex_scales_each_list_between_the_least_there_can_be_and_its_best() -> None:
    convex = replace(HALF, fusion=Fusion.CONVEX)
    assert fused(FOUND, convex) == hits((3, 0.888889), (2, 0.819444), (1, 0.5), (4, 0.25))


def test_dbsf_scales_each_list_by_its_mean_and_spread() -> None:
    dbsf = replace(HALF, fusion=Fusion.DBSF)
    assert fused(Hits(dense=hits((1, 0.8), (2, 0.4))), dbsf) == hits((1, 0.666667), (2, 0.333333))


def test_rrf_asks_for_ranks_alone() -> None:
    rrf = replace(HALF, fusion=Fusion.RRF, rrf_k=1)
    assert fused(FOUND, rrf) == hits((3, 0.75), (2, 0.666667), (1, 0.5), (4, 0.25))


@pytest.mark.parametrize("fusion", Fusion)
def test_list_whose_hits_all_tie_scales_to_one_and_changes_no_order(fusion: Fusion) -> None:
    tied, apart = hits((2, 0.5), (5, 0.5)), hits((5, 7.0), (2, 6.0))
    ranking = replace(HALF, fusion=fusion)
    if fusion is not Fusion.RRF:
        assert {hit.score for hit in fused(Hits(dense=tied), ranking)} == {1.0}
        assert [hit.chunk for hit in fused(Hits(dense=tied, lexical=apart), ranking)] == [5, 2]


@given(found=lists(words), ranking=rankings)
def test_with_one_list_empty_the_other_alone_ranks(found: tuple[Hit, ...], ranking: Ranking) -> None:
    for alone in (Hits(lexical=found), Hits(dense=found)):
        own = {hit.chunk: hit.score for hit in fused(alone, ranking)}
        assert own.keys() == {hit.chunk for hit in found}
        scores = [own[hit.chunk] for hit in found]
        assert scores == sorted(scores, reverse=True)
    assert fused(Hits(), ranking) == ()


@given(dense=lists(cosines), lexical=lists(words), ranking=rankings, known=shares)
def test_fused_hits_are_those_of_both_lists_once_in_the_one_order(
    dense: tuple[Hit, ...], lexical: tuple[Hit, ...], ranking: Ranking, known: float
) -> None:
    found = fused(Hits(dense=dense, lexical=lexical), ranking, known=known)
    assert {hit.chunk for hit in found} == {hit.chunk for hit in (*dense, *lexical)}
    assert len({hit.chunk for hit in found}) == len(found)
    assert found == in_order({hit.chunk: hit.score for hit in found})
    assert all(0 <= hit.score <= 1 for hit in found)


@given(dense=lists(cosines), lexical=lists(words), ranking=rankings)
def test_hit_that_leads_both_lists_leads_their_fusion(
    dense: tuple[Hit, ...], lexical: tuple[Hit, ...], ranking: Ranking
) -> None:
    if dense and lexical and dense[0].chunk == lexical[0].chunk:
        best = fused(Hits(dense=dense, lexical=lexical), ranking)[0]
        own = {hit.chunk: hit.score for hit in fused(Hits(dense=dense, lexical=lexical), ranking)}
        assert own[dense[0].chunk] == best.score
        assert best.chunk <= dense[0].chunk


@given(dense=lists(cosines), lexical=lists(words), less=lists(words))
def test_by_convex_and_steady_weights_a_hit_that_is_no_longer_there_moves_no_other_unless_it_was_the_best(
    dense: tuple[Hit, ...], lexical: tuple[Hit, ...], less: tuple[Hit, ...]
) -> None:
    gone = {hit.chunk for hit in less} - {hit.chunk for hit in (*dense[:1], *lexical[:1])}
    if not dense or not lexical:
        return
    left = Hits(
        dense=tuple(hit for hit in dense if hit.chunk not in gone),
        lexical=tuple(hit for hit in lexical if hit.chunk not in gone),
    )
    before = fused(Hits(dense=dense, lexical=lexical), STEADY)
    assert fused(left, STEADY) == tuple(hit for hit in before if hit.chunk not in gone)


def falling(first: float, *, by: float, hits: int = 30) -> tuple[Hit, ...]:
    return in_order({ChunkId(at): first - by * at for at in range(hits)})


USUAL = Hits(dense=falling(0.6, by=0.01), lexical=falling(30.0, by=0.75))
"""The first stand .1 and 7.5 above the eleventh: as far, with 75 points of BM25 for one of cosine."""
EVEN = Ranking(dense_weight=0.5, adaptation=0.5)


def test_lists_that_stand_apart_alike_leave_the_weight_as_it_is() -> None:
    for weight in (0.1, 0.5, 0.8):
        assert dense_weight(USUAL, replace(EVEN, dense_weight=weight)) == pytest.approx(weight)
    tied = Hits(dense=falling(0.6, by=0), lexical=falling(20.0, by=0))
    assert dense_weight(tied, EVEN) == pytest.approx(0.5)


def test_the_list_that_tells_its_hits_apart_counts_for_more() -> None:
    by_meaning = replace(USUAL, dense=falling(0.6, by=0.043))  # a lead of .44, with .01 for none, to .11
    by_words = replace(USUAL, lexical=falling(100.0, by=75 * 0.043))
    assert dense_weight(by_meaning, EVEN) == pytest.approx(2 / 3)  # the root of 4 to 1
    assert dense_weight(by_words, EVEN) == pytest.approx(1 / 3)
    assert dense_weight(by_meaning, replace(EVEN, adaptation=1)) == pytest.approx(4 / 5)


def test_the_first_hit_is_held_against_the_eleventh() -> None:
    for rank, counts in ((9, False), (10, True), (11, False)):
        lower = [replace(hit, score=hit.score - 0.005) if at == rank else hit for at, hit in enumerate(USUAL.dense)]
        moved = dense_weight(replace(USUAL, dense=tuple(lower)), EVEN)
        assert (moved == dense_weight(USUAL, EVEN)) is not counts


def test_what_is_not_among_the_few_that_share_a_word_scores_nothing_by_words() -> None:
    few = replace(USUAL, lexical=falling(20.0, by=0.75, hits=3))
    assert dense_weight(few, EVEN) == pytest.approx(0.11**0.5 / (0.11**0.5 + (20 / 75 + 0.01) ** 0.5))
    cut = dense_weight(few, replace(EVEN, depth=3))  # what else there is, nobody knows
    assert cut == pytest.approx(0.11**0.5 / (0.11**0.5 + (1.5 / 75 + 0.01) ** 0.5))


def test_words_decide_where_the_model_was_not_taught_to_read_the_question() -> None:
    weights = [dense_weight(USUAL, EVEN, known=known) for known in (1.0, 0.95, 0.94, 0.475, 0.06, 0.0)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == weights[1] > weights[2]
    assert weights[3] == pytest.approx(0.2)  # with half of what a well known text has, to the square: 1 to 4
    assert weights[-1] == dense_weight(USUAL, EVEN, known=0.05) == pytest.approx(1 / (1 + 19**2))
    unread = fused(USUAL, EVEN, known=0.0)
    assert unread != fused(USUAL, EVEN)
    assert unread[5].score == pytest.approx(USUAL.lexical[5].score / USUAL.lexical[0].score, abs=0.005)


@given(dense=lists(cosines), lexical=lists(words), ranking=rankings, known=shares)
def test_what_meaning_counts_for_is_a_share_and_none_or_all_stays_so(
    dense: tuple[Hit, ...], lexical: tuple[Hit, ...], ranking: Ranking, known: float
) -> None:
    if dense and lexical:
        found = Hits(dense=dense, lexical=lexical)
        assert 0 <= dense_weight(found, ranking, known=known) <= 1
        assert dense_weight(found, replace(ranking, dense_weight=0), known=known) == 0
        assert dense_weight(found, replace(ranking, dense_weight=1), known=known) == 1
        for steady in (replace(ranking, adaptation=0), replace(ranking, fusion=Fusion.RRF)):
            assert dense_weight(found, steady, known=known) == pytest.approx(ranking.dense_weight)


@pytest.mark.parametrize("choice", ["dense_weight", "adaptation", "document_decay", "rerank_weight"])
@pytest.mark.parametrize("beyond", [-0.01, 1.01, float("nan")])
def test_what_is_no_share_is_no_weight(choice: str, beyond: float) -> None:
    with pytest.raises(ValueError, match="a weight of"):
        Ranking(**{choice: beyond})  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", [{"rrf_k": -1}, {"depth": 0}, {"rerank_candidates": -1}])
def test_fewer_than_can_be_counted_are_no_choice(choice: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a count below"):
        Ranking(**choice)  # type: ignore[arg-type]


def test_hits_are_relevant_by_meaning_or_by_a_shared_term() -> None:
    found = Hits(dense=hits((1, 0.9), (2, 0.2), (3, 0.19), (4, 0.1)), lexical=hits((4, 3.0), (5, 1.0)))
    assert relevant(found, min_cosine=0.2) == Hits(
        dense=hits((1, 0.9), (2, 0.2), (4, 0.1)), lexical=hits((4, 3.0), (5, 1.0))
    )
    assert relevant(Hits(dense=hits((3, 0.19))), min_cosine=0.2) == Hits()


@given(found=lists(st.floats(0, 1)), read=st.dictionaries(st.integers(1, 12).map(ChunkId), st.floats(0, 1)))
def test_what_no_reranker_read_comes_after_what_it_read_and_in_its_order(
    found: tuple[Hit, ...], read: dict[ChunkId, float]
) -> None:
    first = {hit.chunk: read.get(hit.chunk, 0.5) for hit in found[: len(found) // 2]}
    mixed = reweighed(found, first, weight=0.3)
    assert all(0 <= hit.score <= 1 for hit in mixed)
    rest = [hit for hit in mixed if hit.chunk not in first]
    assert [hit.chunk for hit in rest] == [hit.chunk for hit in found[len(found) // 2 :]]
    assert all(hit.score <= other.score for hit in rest for other in mixed if other.chunk in first)
    assert reweighed(found, first, weight=0) == in_order({hit.chunk: hit.score for hit in found})


@given(found=lists(st.floats(0, 1)), read=st.lists(st.floats(0, 1), min_size=8, max_size=8), weight=st.floats(0, 0.9))
def test_no_reranker_overturns_a_lead_that_is_greater_than_what_it_weighs(
    found: tuple[Hit, ...], read: list[float], weight: float
) -> None:
    mixed = reweighed(found, {hit.chunk: said for hit, said in zip(found, read, strict=False)}, weight=weight)
    place = {hit.chunk: at for at, hit in enumerate(mixed)}
    decided = [(a, b) for a in found for b in found if a.score - b.score > weight / (1 - weight) + 1e-4]
    assert all(place[a.chunk] < place[b.chunk] for a, b in decided)


@given(
    found=lists(st.floats(0, 1)),
    documents=st.lists(st.sampled_from("abc"), min_size=12, max_size=12),
    decay=st.floats(0, 1),
)
def test_turns_keep_the_best_and_the_order_of_documents_whenever_they_are_asked(
    found: tuple[Hit, ...], documents: list[str], decay: float
) -> None:
    def document(hit: Hit) -> str:
        return documents[hit.chunk - 1]

    eager, patient = Turns(decay), Turns(decay)
    taken: list[Hit] = []
    for hit, following in zip(found, (*found[1:], None), strict=False):
        eager.enter(hit, document(hit))
        taken.extend(eager.due(following))
        patient.enter(hit, document(hit))
    assert taken == list(patient.due(None))
    assert {hit.chunk for hit in taken} == {hit.chunk for hit in found}
    assert tuple(taken) == in_order({hit.chunk: hit.score for hit in taken})
    assert list(dict.fromkeys(map(document, taken))) == list(dict.fromkeys(map(document, found)))
    assert taken[:1] == list(found[:1])
