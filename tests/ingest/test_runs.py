"""Runs of a source that tells what happened, page by page: broken off anywhere, gone on with, and nothing twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.adapters.edge_index import EdgeIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.domain.errors import NotPermitted, Unavailable
from app.domain.instants import Instant, parse_instant
from app.domain.sources import Cursor, Fetched, Item, Page
from app.store import runs as run_store
from app.store.database import open_engine, writing
from ingest import runs
from ingest.runs import BrokenOff
from ingest.sandbox import SandboxedParser
from ingest.sources import OPENERS
from tests.running import Running, running

AT = "/v1/collections/books/sources/history"


@dataclass(kw_only=True)
class History:
    """The `Source` port over a list: pages of items whose content is in their locator."""

    lists_all: bool = False
    pages_of: Sequence[Sequence[Item]] = ()
    listed: list[str] = field(default_factory=list)
    """The cursors that listings began with."""
    fetched: list[str] = field(default_factory=list)
    failing: dict[int, BaseException] = field(default_factory=dict)
    """What the n-th fetch raises instead, once."""
    canonical: dict[str, str] = field(default_factory=dict)
    """The address that stands for a key."""

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        self.listed.append(since or "")
        for n, items in enumerate(self.pages_of[int(since or 0) :], start=int(since or 0) + 1):
            yield Page(items=tuple(items), next=Cursor(str(n)))

    def fetch(self, item: Item) -> Fetched:
        n = len(self.fetched)
        self.fetched.append(item.locator)
        if n in self.failing:
            raise self.failing[n]
        uri = self.canonical.get(item.key)
        return Fetched(content=item.locator.encode(), filename="x.md", media_type="text/markdown", uri=uri)


def _state(key: str, year: int, text: str, **more: Any) -> Item:
    return Item(key=key, etag=f"{key}-{year}", valid_from=_year(year), locator=text, **more)


def _gone(key: str, year: int) -> Item:
    return Item(key=key, gone=True, valid_from=_year(year))


def _year(year: int) -> Instant:
    return parse_instant(f"{year}-01-01")


@pytest.fixture(scope="module")
def parts(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LocalEmbedder, LocalTokenizer, SandboxedParser]]:
    with SandboxedParser() as parser:
        yield LocalEmbedder(threads=2, made=tmp_path_factory.mktemp("graphs")), LocalTokenizer(), parser


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> History:
    """What the connector git is in these tests."""
    history = History()
    monkeypatch.setitem(OPENERS, "git", lambda _, __: history)
    return history


@pytest.fixture
def run(tmp_path: Path, parts: tuple[LocalEmbedder, LocalTokenizer, SandboxedParser]) -> Iterator[Running]:
    embedder, tokenizer, parser = parts
    engine = open_engine(f"sqlite:///{tmp_path / 'muniment.sqlite'}")
    with (
        EdgeIndex(tmp_path / "index", embedder.dimension) as index,
        running(engine, index, tmp_path, embedder=embedder, tokenizer=tokenizer, parser=parser) as started,
    ):
        started.put_principal("group:owners")
        started.put_principal("user:lena", groups=["group:owners"])
        started.put_principal("user:ana")
        started.put_collection("books", owners=["group:owners"], default_readers=["group:all-staff"])
        stated = {"connector": "git", "location": str(started.places)}
        assert started.request("PUT", AT, "user:lena", json=stated).status_code == 200
        yield started
    engine.dispose()


def _asked(run: Running) -> str:
    return str(run.request("POST", f"{AT}/run", "user:lena").headers["Location"])


def _report(run: Running, path: str) -> tuple[str, dict[str, int]]:
    report = run.request("GET", path, "user:lena").json()
    return report["state"], {name: number for name, number in report["counts"].items() if number}


def _versions(run: Running) -> dict[str, list[str]]:
    """The texts of each document, oldest first, as its owner has them."""
    found: dict[str, list[str]] = {}
    for state in ("current", "expired", "withdrawn"):
        path = f"/v1/documents?collection=books&state={state}"
        for each in run.request("GET", path, "user:lena").json()["documents"]:
            at = f"/v1/documents/{each['document_id']}/versions"
            numbers = [one["version"] for one in run.request("GET", at, "user:lena").json()["versions"]]
            texts = [run.request("GET", f"{at}/{n}/text", "user:lena").json()["text"] for n in sorted(numbers)]
            found[each["uri"]] = texts
    return found


def _then(run: Running, year: int) -> set[str]:
    answer = run.retrieve("user:ana", "book", as_of=f"{year}-06-01", top_k=50)
    return {passage["text"] for passage in answer["passages"]}


LIFE = [
    [_state("a", 2001, "Book one."), _state("b", 2001, "Book two."), _state("a", 2002, "Book one, again.")],
    [_gone("b", 2003), _state("c", 2004, "Book one, moved.", moved_from="a"), _state("d", 2004, "Book four.")],
    [_state("b", 2005, "Book two is back.")],
]


def test_states_are_versions_in_their_time_and_what_moved_or_ended_is_answered_as_of_before(
    run: Running, history: History
) -> None:
    history.pages_of = LIFE
    path = _asked(run)
    run.work()
    assert _report(run, path) == ("succeeded", {"listed": 8, "new": 5, "changed": 1, "withdrawn": 2})
    assert [_then(run, year) for year in range(2000, 2006)] == [
        set(),
        {"Book one.", "Book two."},
        {"Book one, again.", "Book two."},
        {"Book one, again."},
        {"Book one, moved.", "Book four."},
        {"Book one, moved.", "Book four.", "Book two is back."},
    ]


@pytest.mark.parametrize("fetch", [0, 2, 5])
def test_a_run_that_is_broken_off_at_any_item_goes_on_and_does_nothing_twice(
    run: Running, history: History, fetch: int
) -> None:
    history.pages_of = LIFE
    history.failing = {fetch: BrokenOff()}
    path = _asked(run)
    run.work()
    assert _report(run, path)[0] == "running"
    with writing(run.ports.engine) as session:
        run_store.release(session, "test")
    run.work()
    assert _report(run, path) == ("succeeded", {"listed": 8, "new": 5, "changed": 1, "withdrawn": 2})
    assert _versions(run) == {
        "a": ["Book one.", "Book one, again."],
        "b": ["Book two.", "Book two is back."],
        "c": ["Book one, moved."],
        "d": ["Book four."],
    }
    assert len(history.fetched) == 7


def test_a_place_that_fails_for_a_while_is_asked_again_and_one_that_goes_on_failing_keeps_its_place(
    run: Running, history: History
) -> None:
    history.pages_of = LIFE
    history.failing = {n: Unavailable("The place is down.") for n in (0, 1)}
    history.failing |= {n: Unavailable("The place is down.") for n in range(5, 12)}
    failed = _asked(run)
    run.work()
    assert _report(run, failed) == ("failed", {"listed": 5, "new": 2, "changed": 1, "withdrawn": 2})
    history.failing.clear()
    history.listed.clear()
    again = _asked(run)
    run.work()
    assert history.listed == ["1"]
    assert _report(run, again) == ("succeeded", {"listed": 3, "new": 3})
    third = _asked(run)
    run.work()
    assert _report(run, third) == ("succeeded", {})


def test_a_history_that_is_told_from_the_start_again_adds_nothing(run: Running, history: History) -> None:
    history.pages_of = LIFE
    _asked(run)
    run.work()
    before, fetched = _versions(run), len(history.fetched)
    stated = {"connector": "git", "location": str(run.places), "options": {"other": "yes"}}
    assert run.request("PUT", AT, "user:lena", json=stated).status_code == 200
    _asked(run)
    run.work()
    assert (history.listed[-1], _versions(run), len(history.fetched)) == ("", before, fetched)


def test_a_refused_item_is_told_of_and_the_run_goes_on(run: Running, history: History) -> None:
    history.pages_of = [[_state("a", 2001, "Book one."), _state("b", 2001, "Book two.")]]
    history.failing = {0: NotPermitted("The place gives it to nobody.")}
    path = _asked(run)
    run.work()
    report = run.request("GET", path, "user:lena").json()
    assert [(each["uri"], each["problem"]["detail"]) for each in report["setbacks"]] == [
        ("a", "The place gives it to nobody.")
    ]
    assert _report(run, path) == ("succeeded", {"listed": 2, "new": 1, "refused": 1})


def test_a_bug_in_a_connector_ends_the_run_and_is_not_told_of(
    run: Running, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.pages_of = LIFE
    history.failing = {0: KeyError("secret")}
    path = _asked(run)
    run.work()
    report = run.request("GET", path, "user:lena").json()
    assert (report["state"], report["problem"]["status"]) == ("failed", 500)
    assert "secret" not in str(report)
    assert "run run_" in caplog.text


def test_no_more_is_submitted_than_can_be_taken_in(
    run: Running, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_OPEN_JOBS", 2)
    most = 0
    meanwhile = run._meanwhile

    def watched(seconds: float) -> None:
        nonlocal most
        report = run.request("GET", path, "user:lena").json()
        most = max(most, report["counts"]["in_progress"])
        meanwhile(seconds)

    monkeypatch.setattr(run, "_meanwhile", watched)
    history.pages_of = [[_state(f"b{n}", 2001, f"Book {n}.") for n in range(5)]]
    path = _asked(run)
    run.work()
    assert _report(run, path) == ("succeeded", {"listed": 5, "new": 5})
    assert most == 2


def test_keys_that_stand_for_one_address_are_one_document_until_the_last_is_gone(
    run: Running, history: History
) -> None:
    history.lists_all = True
    history.canonical = {"a?x=1": "a", "a?x=2": "a"}
    items = [Item(key=key, etag="1", locator="Book one.") for key in history.canonical]

    def counts(*listed: Item) -> dict[str, int]:
        history.pages_of = [listed]
        path = _asked(run)
        run.work()
        return _report(run, path)[1]

    assert counts(*items)["new"] == 1
    assert _versions(run) == {"a": ["Book one."]}
    counts(items[1])
    assert run.found("user:ana", "book") == ["a"]
    counts()
    assert run.found("user:ana", "book") == []
