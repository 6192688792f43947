"""`muniment eval`: a dataset or golden questions put through the product, and ways to rank compared in one run.

Documents go in over HTTP and through the worker; questions go through `operations.retrieve` in this process, on the
same database and index, because a server ranks one way and here several are compared, question by question.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import app
from app.bootstrap import open_ports
from app.cli.apply import importing, lay_down, read_institution, submissions
from app.cli.client import Document as Sent
from app.cli.client import Json, Refused, Server
from app.cli.connect import load_settings
from app.cli.console import Failed, err, note, out, say, say_json, table
from app.cli.datasets import (
    Configuration,
    Dataset,
    Document,
    GoldenQuestion,
    chosen,
    read_configurations,
    read_dataset,
    read_golden,
    standard_configurations,
)
from app.cli.ingest import Fate, Submission, taken_in
from app.cli.local import Desk, opened
from app.domain.access import PrincipalRef
from app.domain.answer import Answer, Mode, Query
from app.domain.evaluation import Bar, Scored, Summary, differences, summaries, summary, svg
from app.domain.instants import iso
from app.domain.metrics import MEASURES, measured
from app.operations.identify import Credentials
from app.operations.retrieve import retrieve
from app.ports import Ports
from app.settings import Settings

FIXTURES = Path(app.__file__).parent.parent / "fixtures"
COLLECTION: Final = "dataset"
MOST_PASSAGES: Final = 50
"""Of each answer: the most that one may have."""
GOLDEN_PASSAGES: Final = 8
"""What an answer has if nobody says otherwise."""
LEAST_HITS: Final = 0.95
LEAST_REFUSED: Final = 0.9
MOST_REFUSED: Final = 0.05
_SLACK: Final = 0.0005
"""Of a mean against the one that is kept: sums of floats in another order differ by less."""
_FIRST: Final = "ndcg@10"
_SHORT: Final = ("nDCG@10", "R@5", "R@10", "R@50", "MRR@10", "hit@3")
"""The measures as they are called where there is little room."""
_KEPT: Final = ("_EMBEDDING__", "_RERANK__", "_RANKING__", "_ANSWER__")
"""Settings of the environment that hold for an evaluation, too: they are part of what is evaluated."""
_MARK: Final = "evaluated.json"
_READER: Final = "user:reader"
_OWNER: Final = "user:steward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options of the command."""

    configurations: Path | None = None
    compare: Sequence[str] = ()
    home: Path | None = None
    limit: int | None = None
    targets: Mapping[str, float]
    guard: bool = False
    as_json: bool = False
    drawing: Path | None = None
    keep: bool = False
    """Golden questions alone: let what comes out be the baseline from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one configuration made of all questions."""

    configuration: Configuration
    scored: tuple[Scored, ...]

    @property
    def summary(self) -> Summary:
        return summary(self.scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question with whose it is and how its answer is judged."""

    id: str
    slice: str
    who: str
    credentials: Credentials
    query: Query
    judge: Callable[[Answer], tuple[dict[str, float], bool]]
    """Its measures, none for a question without an answer; and whether a wrong version was cited."""
    unanswerable: bool = False


def evaluate_dataset(folder: Path, choices: Choices) -> bool:
    """Compare ways to rank on a dataset; whether every target is met. Raises `Failed`."""
    dataset = read_dataset(folder, limit=choices.limit)
    drawing = choices.drawing.absolute() if choices.drawing else None
    with _evaluating(choices) as (settings, configurations), opened(settings, worker=True, tells_key=False) as desk:
        _fill(desk, dataset, settings.home)
        key = str(desk.administrator().post(_keys_of(_READER))["key"])
        with open_ports(settings) as ports:
            asked = [_of_dataset(dataset, id, Credentials(bearer=key)) for id in dataset.queries]
            runs = _compared(ports, configurations, asked)
            model = ports.embedder.fingerprint
    targets = _dataset_targets(runs, choices)
    _tell(f"{dataset.name}: {len(dataset.corpus)} documents, {len(asked)} questions", model, runs, targets, choices)
    if drawing is not None:
        drawing.write_text(_drawn(f"{dataset.name}: nDCG@10", runs), encoding="utf-8")
    return all(met for _, met in targets)


def evaluate_golden(file: Path, choices: Choices, *, institution: Path | None, documents: Path | None) -> bool:
    """Ask golden questions of an institution that is laid down for it; whether every target is met. Raises `Failed`."""
    questions = read_golden(file)[: choices.limit]
    if not any(each.finds and not each.unanswerable for each in questions):
        raise Failed(f"{file} has no question that finds anything{', among the first' * (choices.limit is not None)}.")
    baseline = (file.parent / "baseline.json").absolute()
    held = _baseline(baseline, renewed=choices.keep)
    drawing = choices.drawing.absolute() if choices.drawing else None
    world = read_institution(institution or FIXTURES / "institution.yaml")
    corpora = (documents or FIXTURES / "corpora").absolute()
    with _evaluating(choices) as (settings, configurations), opened(settings, worker=True, tells_key=False) as desk:
        administrator = desk.administrator()
        lay_down(administrator, world)
        with importing(administrator, world) as importer:
            _all_taken(taken_in(importer, submissions(world, corpora), waits=True))
        keys = {
            ref: str(administrator.post(_keys_of(ref))["key"])
            for ref in sorted({each.through or each.who for each in questions})
        }
        with open_ports(settings) as ports:
            asked = [_of_golden(each, keys) for each in questions if each.finds or each.unanswerable]
            runs = _compared(ports, configurations, asked)
            model = ports.embedder.fingerprint
        refused = _refusals(administrator, asked)
        runs[0] = replace(
            runs[0], scored=tuple(replace(each, refused=refused.get(each.question)) for each in runs[0].scored)
        )
    targets = _wanted(runs, choices) + _golden_targets(runs, held)
    _tell(f"{file.name}: {len(asked)} golden questions", model, runs, targets, choices)
    if not choices.as_json:
        _tell_parts(runs[0])
    if drawing is not None:
        drawing.write_text(_drawn(f"{file.name}: nDCG@10", runs), encoding="utf-8")
    if choices.keep:
        baseline.write_text(json.dumps(_kept(runs[0], model), indent=2) + "\n", encoding="utf-8")
        note(f"{baseline} has been renewed.")
    return all(met for _, met in targets)


# -- What is asked, and how it is judged -------------------------------------------------------------------------------


def _of_dataset(dataset: Dataset, id: str, credentials: Credentials) -> _Asked:
    def judge(answer: Answer) -> tuple[dict[str, float], bool]:
        found = list(dict.fromkeys(passage.citation.uri for passage in answer.passages))
        return measured(found, dataset.judged[id]), False

    query = Query(text=dataset.queries[id], collections=frozenset({COLLECTION}), top_k=MOST_PASSAGES)
    return _Asked(id=id, slice=dataset.name, who=_READER, credentials=credentials, query=query, judge=judge)


def _of_golden(question: GoldenQuestion, keys: Mapping[str, str]) -> _Asked:
    def judge(answer: Answer) -> tuple[dict[str, float], bool]:
        return question.judged([(each.citation.uri, each.citation.version) for each in answer.passages])

    return _Asked(
        id=question.id,
        slice=question.slice,
        who=question.who,
        credentials=Credentials(
            bearer=keys[question.through or question.who],
            on_behalf_of=question.who if question.through else None,
        ),
        query=Query(text=question.question, purpose=question.purpose, as_of=question.as_of, top_k=GOLDEN_PASSAGES),
        judge=judge,
        unanswerable=question.unanswerable,
    )


def _compared(ports: Ports, configurations: Sequence[Configuration], asked: Sequence[_Asked]) -> list[Run]:
    """Every configuration on every question, one after the other for each, beginning with another each time."""
    worlds = [
        replace(ports, ranking=each.ranking, reranker=ports.reranker if each.rerank else None)
        for each in configurations
    ]
    scored: list[list[Scored]] = [[] for _ in configurations]
    with _bar("asked", len(asked)) as advance:
        for number, each in enumerate(asked):
            for turn in range(len(configurations)):
                at = (number + turn) % len(configurations)
                scored[at].append(_scored(worlds[at], configurations[at].mode, each))
            advance()
    return [Run(configuration=one, scored=tuple(all)) for one, all in zip(configurations, scored, strict=True)]


def _scored(ports: Ports, mode: Mode, asked: _Asked) -> Scored:
    answer = retrieve(ports, asked.credentials, replace(asked.query, mode=mode))
    measures, wrong = asked.judge(answer)
    timings = answer.usage.timings_ms
    return Scored(
        question=asked.id,
        slice=asked.slice,
        who=asked.who,
        measures=measures,
        wrong_version=wrong,
        unanswerable=asked.unanswerable,
        ms=timings["total"] - timings.get("embed", 0.0),
    )


def _refusals(server: Server, asked: Sequence[_Asked]) -> dict[str, bool]:
    """By question, whether POST /v1/answer said that nothing here answers it; empty where nothing answers there."""
    found: dict[str, bool] = {}
    for each in asked:
        query = each.query
        stated = {"purpose": query.purpose, "as_of": iso(query.as_of) if query.as_of is not None else None}
        body = {"query": query.text, **{name: value for name, value in stated.items() if value is not None}}
        bearer, person = str(each.credentials.bearer), each.credentials.on_behalf_of
        with server.with_key(bearer, on_behalf_of=person) as caller:
            try:
                found[each.id] = caller.post("/v1/answer", body)["outcome"] != "answered"
            except Refused as refusal:
                if refusal.status in (404, 405):
                    return {}
                raise
    return found


# -- A data folder of its own ------------------------------------------------------------------------------------------


@contextmanager
def _evaluating(choices: Choices) -> Iterator[tuple[Settings, list[Configuration]]]:
    """What is set, and what is compared, the first what the others are held against: all that can be refused of it
    before anything goes in."""
    file = choices.configurations.absolute() if choices.configurations else None
    with own_home(choices.home) as home:
        settings = load_settings(home)
        ranking = settings.ranking.domain()
        standard = standard_configurations(ranking, reranks=settings.rerank.model is not None)
        configurations = chosen(read_configurations(file, ranking) if file else standard, choices.compare)
        if choices.guard and not any(_parts(configurations)):
            raise Failed(
                f"--guard has nothing to hold {configurations[0].name} against: compare a hybrid one, as the first, "
                "with dense, with lexical or with itself not reranked."
            )
        yield settings, configurations


@contextmanager
def own_home(keep: Path | None) -> Iterator[Path]:
    """A data folder for evaluations alone, whatever is configured here: temporary, or one to be used again.

    The processes read the environment and muniment.toml, so the first is cleared of all but what is evaluated, and the
    working folder moved away from the second.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()) and not (keep / _MARK).exists():
        raise Failed(f"{keep} is no data folder of an evaluation. Choose one that is new.")
    for name in [name for name in os.environ if name.upper().startswith("MUNIMENT_")]:
        if not name.upper()[len("MUNIMENT") :].startswith(_KEPT):
            del os.environ[name]
        elif os.path.exists(os.environ[name]):
            os.environ[name] = os.path.abspath(os.environ[name])
    home = Path(tempfile.mkdtemp(prefix="muniment-eval-")) if keep is None else keep.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = home / _MARK
    if not mark.exists():
        mark.write_text("{}\n", encoding="utf-8")
    before = Path.cwd()
    os.chdir(home)
    try:
        yield home
    finally:
        os.chdir(before)
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)


def _fill(desk: Desk, dataset: Dataset, home: Path) -> None:
    """Put the corpus in, through the worker; nothing if this folder has just that."""
    mark, digest = home / _MARK, _digest(dataset)
    kept = json.loads(mark.read_text(encoding="utf-8")).get("corpus")
    if kept == digest:
        return
    if kept is not None:
        raise Failed(f"{home} holds another corpus. Choose another --home.")
    administrator = desk.administrator()
    label = {"level": "public", "categories": []}
    for ref in (_READER, _OWNER):
        administrator.put(
            f"/v1/principals/{ref.replace(':', '/')}",
            {"display_name": "For evaluations", "clearance": "restricted", "categories": ["pii", "phi", "secret"]},
        )
    body = {"title": dataset.name, "owners": [_OWNER], "default_label": label, "default_readers": [_READER]}
    administrator.put(f"/v1/collections/{COLLECTION}", body)
    started = time.monotonic()
    full = [each for each in dataset.corpus if each.text.strip() or each.title]
    with administrator.with_key(str(administrator.post(_keys_of(_OWNER))["key"])) as owner:
        fates = taken_in(owner, [_submission(each) for each in full], waits=True)
    _all_taken(fates)
    mark.write_text(json.dumps({"corpus": digest}) + "\n", encoding="utf-8")
    if empty := len(dataset.corpus) - len(full):
        note(f"{empty} of the dataset's documents are empty: no question finds them.")
    note(f"{len(fates)} documents went in within {time.monotonic() - started:.0f} s.")


def _submission(document: Document) -> Submission:
    content = document.text if document.text.strip() else document.title
    metadata = {"uri": document.id, "title": document.title[:500] or document.id}
    sent = Sent(content=content.encode(), filename=f"{document.id}.txt", media_type="text/plain", metadata=metadata)
    return Submission(uri=document.id, collection=COLLECTION, document=lambda: sent)


def _all_taken(fates: Sequence[Fate]) -> None:
    if bad := [fate for fate in fates if fate.bad]:
        raise Failed(f"{len(bad)} documents were not taken; the first is {bad[0].uri}: {bad[0].reason}")


def _digest(dataset: Dataset) -> str:
    content = json.dumps([[each.id, each.title, each.text] for each in dataset.corpus])
    return hashlib.sha256(content.encode()).hexdigest()


def _keys_of(ref: str) -> str:
    return f"/v1/principals/{PrincipalRef(ref).replace(':', '/', 1)}/keys"


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    console = err()
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)


# -- Targets -----------------------------------------------------------------------------------------------------------

Target = tuple[str, bool]
"""In words with the numbers, and whether it is met."""


def _dataset_targets(runs: Sequence[Run], choices: Choices) -> list[Target]:
    return _wanted(runs, choices) + ([*not_below_its_parts(runs)] if choices.guard else [])


def _wanted(runs: Sequence[Run], choices: Choices) -> list[Target]:
    first = runs[0].summary.measures
    return [
        (f"{runs[0].configuration.name}: {name} {first[name]:.4f}, wanted {least:g}", first[name] >= least)
        for name, least in choices.targets.items()
    ]


def not_below_its_parts(runs: Sequence[Run]) -> Iterator[Target]:
    """Whether the first is no worse than dense alone, lexical alone and not reranked, as far as these were compared."""
    alone, bare = _parts([each.configuration for each in runs])
    if alone:
        best = max((runs[at] for at in alone), key=lambda each: each.summary.measures[_FIRST])
        yield _not_below(runs[0], best, called=f"{best.configuration.name} alone")
    for at in bare:
        yield _not_below(runs[0], runs[at], called=runs[at].configuration.name)


def _parts(configurations: Sequence[Configuration]) -> tuple[list[int], list[int]]:
    """Where those are that use meaning or words alone, if the first uses both; and the first without its reranker."""
    first, *others = configurations
    without = replace(first, rerank=False)
    alone = [at for at, each in enumerate(others, 1) if first.mode is Mode.HYBRID and each.mode is not Mode.HYBRID]
    bare = [at for at, each in enumerate(others, 1) if first.rerank and replace(each, name=first.name) == without]
    return alone, bare


def _not_below(run: Run, other: Run, *, called: str) -> Target:
    mine, theirs = run.summary.measures[_FIRST], other.summary.measures[_FIRST]
    return f"{_FIRST} {mine:.4f}, of {called} {theirs:.4f}", mine >= theirs - _SLACK


def _baseline(file: Path, *, renewed: bool) -> float | None:
    """The first measure of the run that is kept there, if one is. Raises `Failed` for another file, unless it is to be
    `renewed`."""
    if not file.exists():
        return None
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["measures"][_FIRST])
    except (ValueError, TypeError, KeyError):
        if renewed:
            return None
        raise Failed(f"{file} is not what --keep writes. Take it away, or write it anew with --keep.") from None


def _golden_targets(runs: Sequence[Run], kept: float | None) -> list[Target]:
    found = runs[0].summary
    targets = [
        (f"hit@3 {found.measures['hit@3']:.3f}, wanted {LEAST_HITS}", found.measures["hit@3"] >= LEAST_HITS),
        (f"{found.wrong_versions} questions cite a wrong version, wanted 0", not found.wrong_versions),
        *not_below_its_parts(runs),
    ]
    if kept is not None:
        mine = found.measures[_FIRST]
        targets.append((f"{_FIRST} {mine:.4f}, kept in baseline.json {kept:.4f}", mine >= kept - _SLACK))
    if found.judged_unanswerable:
        share = found.refused_unanswerable / found.judged_unanswerable
        targets.append((f"{share:.1%} of unanswerable refused, wanted {LEAST_REFUSED:.0%}", share >= LEAST_REFUSED))
    if found.judged_answerable:
        share = found.refused_answerable / found.judged_answerable
        targets.append((f"{share:.1%} of answerable refused, at most {MOST_REFUSED:.0%}", share <= MOST_REFUSED))
    return targets


def _kept(run: Run, model: str) -> Json:
    """What is kept of a run to hold later ones against."""
    found = run.summary
    return {
        "model": model,
        "questions": found.answerable,
        "measures": {name: round(value, 4) for name, value in found.measures.items()},
    }


# -- Told --------------------------------------------------------------------------------------------------------------


def _tell(title: str, model: str, runs: Sequence[Run], targets: Sequence[Target], choices: Choices) -> None:
    if choices.as_json:
        say_json(_account(title, model, runs, targets))
        return
    say(title, style="bold")
    say(f"Model {model}. Latency is of whole answers, less the question's embedding.")
    say()
    columns = ("configuration", *_SHORT, "p50 ms", "p95 ms")
    out().print(table(columns, [_row(each) for each in runs], whole="configuration"))
    if len(runs) > 1:
        say()
        against = ("against the first", _FIRST, "95% interval", "p", "ratio", "p50 ms")
        out().print(table(against, [_against(each, runs[0]) for each in runs[1:]], whole=against[0]))
    say()
    for bar in _bars(runs):
        say(f"{bar.label:>24} {'█' * round(40 * bar.value):<40} {bar.value:.3f}")
    if targets:
        say()
        out().print(table(("", "target"), [("met" if met else "MISSED", said) for said, met in targets]))


def _row(run: Run) -> tuple[str, ...]:
    found = run.summary
    measures = [f"{found.measures[name]:.4f}" for name in MEASURES]
    return run.configuration.name, *measures, f"{found.p50_ms:.1f}", f"{found.p95_ms:.1f}"


def _against(run: Run, first: Run) -> tuple[str, ...]:
    found = differences(run.scored, first.scored)[_FIRST]
    theirs = first.summary.measures[_FIRST]
    ratio = f"{run.summary.measures[_FIRST] / theirs:.3f}" if theirs else ""
    interval = f"{found.low:+.4f} to {found.high:+.4f}"
    slower = f"{run.summary.p50_ms - first.summary.p50_ms:+.1f}"
    return run.configuration.name, f"{found.mean:+.4f}", interval, f"{found.p:.4f}", ratio, slower


def _tell_parts(run: Run) -> None:
    for what, parts in (
        ("slice", summaries(run.scored, lambda each: each.slice)),
        ("principal", summaries(run.scored, lambda each: each.who)),
    ):
        rows = [_part(name, each) for name, each in parts.items()]
        say()
        out().print(table((what, "of", *_SHORT, "without", "refused"), rows, whole=what))
    say()
    judged = run.summary.judged_unanswerable + run.summary.judged_answerable
    if not judged:
        say("Refusals were not measured: this server has no POST /v1/answer.")
    if missed := [each.question for each in run.scored if each.measures and not each.measures["hit@3"]]:
        say(f"Not among the first three: {', '.join(missed)}.")


def _part(name: str, found: Summary) -> tuple[str, ...]:
    measures = [f"{found.measures[each]:.3f}" if found.measures else "" for each in MEASURES]
    refused = str(found.refused_unanswerable + found.refused_answerable) if found.judged_unanswerable else ""
    return name, str(found.answerable), *measures, str(found.unanswerable or ""), refused


def _bars(runs: Sequence[Run]) -> list[Bar]:
    return [
        Bar(
            label=each.configuration.name,
            value=each.summary.measures[_FIRST],
            note="" if each is runs[0] else f"p {differences(each.scored, runs[0].scored)[_FIRST].p:.3f}",
        )
        for each in runs
    ]


def _drawn(title: str, runs: Sequence[Run]) -> str:
    return svg(title, _bars(runs))


def _account(title: str, model: str, runs: Sequence[Run], targets: Sequence[Target]) -> dict[str, Any]:
    return {
        "title": title,
        "model": model,
        "configurations": [
            {
                "name": each.configuration.name,
                "mode": each.configuration.mode,
                "ranking": asdict(each.configuration.ranking),
                **asdict(each.summary),
                "slices": {name: asdict(one) for name, one in summaries(each.scored, lambda it: it.slice).items()},
                "principals": {name: asdict(one) for name, one in summaries(each.scored, lambda it: it.who).items()},
                "against_first": {name: asdict(one) for name, one in differences(each.scored, runs[0].scored).items()}
                if each is not runs[0]
                else None,
                "missed": [it.question for it in each.scored if it.measures and not it.measures["hit@3"]],
            }
            for each in runs
        ],
        "targets": [{"target": said, "met": met} for said, met in targets],
    }
