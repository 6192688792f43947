"""The memory of decisions: bounded, the least used goes first, and nothing is made twice without need."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

from app.domain.memo import Memo


def test_what_was_put_is_there_and_nothing_else() -> None:
    memo = Memo()
    memo.put(("party", 1), "ana")
    assert (memo.get(("party", 1)), memo.get(("party", 2))) == ("ana", None)
    memo.put(("party", 1), "ben")
    assert memo.get(("party", 1)) == "ben"


def test_least_recently_used_is_forgotten_first() -> None:
    memo = Memo(max_weight=200)
    memo.put("a", 1)
    memo.put("b", 2)
    assert memo.get("a") == 1
    memo.put("c", 3)
    assert [memo.get(key) for key in "abc"] == [1, None, 3]


def test_putting_again_counts_as_use() -> None:
    memo = Memo(max_weight=200)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        memo.put(key, value)
    assert [memo.get(key) for key in "abc"] == [3, None, 4]


def test_heavy_value_makes_more_room_and_gives_it_back() -> None:
    memo = Memo(max_weight=10)
    for key in "abcd":
        memo.put(key, key, weight=2)
    memo.put("heavy", 1, weight=7)
    assert [memo.get(key) for key in "abcd"] == [None, None, None, "d"]
    memo.put("heavy", 2, weight=1)
    for key in "efg":
        memo.put(key, key, weight=2)
    assert [memo.get(key) for key in ("d", "heavy", "e", "f", "g")] == ["d", 2, "e", "f", "g"]


def test_value_heavier_than_all_room_is_kept_alone_until_the_next() -> None:
    memo = Memo(max_weight=10)
    memo.put("a", 1, weight=5)
    assert memo.recall("huge", lambda: 2, weigh=lambda value: value * 50) == 2
    assert [memo.get("a"), memo.get("huge")] == [None, 2]
    memo.put("b", 3, weight=5)
    assert [memo.get("huge"), memo.get("b")] == [None, 3]


def test_value_is_made_once_while_its_key_is_asked_for() -> None:
    memo, made = Memo(), []

    def make() -> frozenset[int]:
        made.append(1)
        return frozenset()

    assert [memo.recall(("extent", 1), make) for _ in range(3)] == [frozenset()] * 3
    assert len(made) == 1


def test_value_is_made_by_one_when_several_ask_at_once() -> None:
    memo, both = Memo(), Barrier(2)
    met: list[bool] = []

    def make() -> str:
        try:
            both.wait(timeout=0.3)  # only two that make it at once get past
            met.append(True)
        except BrokenBarrierError:
            met.append(False)
        return "made"

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(lambda _: memo.recall("key", make), range(4))] == ["made"] * 4
    assert met == [False]


def test_value_of_a_moved_epoch_is_made_anew() -> None:
    memo = Memo()
    assert [memo.recall(("extent", epoch), lambda epoch=epoch: epoch * 10) for epoch in (1, 2, 1)] == [10, 20, 10]


def test_value_that_could_not_be_made_is_not_remembered() -> None:
    memo = Memo()

    def fail() -> int:
        raise LookupError

    for _ in range(2):
        try:
            memo.recall("key", fail)
        except LookupError:
            continue
        raise AssertionError("it was remembered")
    assert memo.recall("key", lambda: 1) == 1


def test_eight_threads_never_overfill_it_and_get_what_belongs_to_their_key() -> None:
    memo = Memo(max_weight=1000)

    def use(thread: int) -> bool:
        keys = [(thread * 7 + n) % 30 for n in range(2000)]
        return all(memo.recall(key, lambda key=key: key * 2) == key * 2 for key in keys)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))
    assert sum(memo.get(key) is not None for key in range(30)) <= 10
