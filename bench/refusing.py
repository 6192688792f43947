"""How well POST /v1/answer tells what is not in the documents, and what tells it: python -m bench.refusing [--limit N]

Lays down the fixtures, asks the golden questions and those of fixtures/golden/refusing.yaml as their principals, and
reads what `app.operations.extract` finds of each. Then it fits the coefficients of `app.domain.answering`, which are
copied there by hand, and prints what they refuse of questions about documents that they were not fitted on: questions
about one document are never on both sides.

It prints, too, how often what a golden question `says` is among the first sentences, and the processor time of a step.
"""

import argparse
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.bootstrap import open_ports
from app.cli.apply import importing, lay_down, read_institution, submissions
from app.cli.evaluate import FIXTURES, own_home
from app.cli.ingest import taken_in
from app.cli.local import opened
from app.domain.answer import Query
from app.domain.answering import MIN_CONFIDENCE, Basis, Weighed, confidence
from app.domain.instants import parse_instant
from app.operations.extract import extract
from app.operations.identify import Credentials
from app.operations.retrieve import retrieve
from app.ports import Ports
from app.settings import Settings

NAMES: Final = ("cosine", "near", "anywhere")
FOLDS: Final = 10
PENALTY: Final = 0.02
THRESHOLDS: Final = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A question with what the passages have of it."""

    source: str
    question: str
    document: str
    """That answers it; the question itself if none does."""
    answerable: bool
    basis: Basis
    says: tuple[str, ...]
    first: tuple[str, ...]
    """The sentences that answer it best."""
    cpu_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.refusing", description="Fit and measure the refusal.")
    parser.add_argument("--limit", type=int, help="ask so many questions of each file")
    limit = parser.parse_args(arguments).limit
    golden, own = (_read(FIXTURES / "golden" / name)[:limit] for name in ("questions.yaml", "refusing.yaml"))
    golden = [each for each in golden if each.get("finds") or each.get("unanswerable")]
    judged = _judged({"golden": golden, "own": own})
    _print_fit(judged)
    _print_sentences([each for each in judged if each.says])
    return 0


def _read(file: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return read


def _judged(questions: Mapping[str, Sequence[dict[str, Any]]]) -> list[Judged]:
    world = read_institution(FIXTURES / "institution.yaml")
    with own_home(None) as home, opened(Settings(home=home), worker=True, tells_key=False) as desk:
        administrator = desk.administrator()
        lay_down(administrator, world)
        with importing(administrator, world) as importer:
            taken_in(importer, submissions(world, FIXTURES / "corpora"), waits=True)
        keys: dict[str, str] = {}
        for ref in {each.get("through", each["who"]) for some in questions.values() for each in some}:
            keys[ref] = str(administrator.post(f"/v1/principals/{ref.replace(':', '/', 1)}/keys")["key"])
        with open_ports(Settings(home=home)) as ports:
            return [_one(ports, keys, source, each) for source, some in questions.items() for each in some]


def _one(ports: Ports, keys: Mapping[str, str], source: str, asked: Mapping[str, Any]) -> Judged:
    through = asked.get("through")
    as_of = parse_instant(asked["as_of"]) if "as_of" in asked else None
    query = Query(text=asked["question"], purpose=asked.get("purpose"), as_of=as_of)
    credentials = Credentials(bearer=keys[through or asked["who"]], on_behalf_of=asked["who"] if through else None)
    passages = retrieve(ports, credentials, query).passages
    started = time.process_time()
    weighed, basis = extract(ports, query.text, passages)
    cpu_ms = 1000 * (time.process_time() - started)
    finds = () if asked.get("unanswerable") else asked.get("finds") or ()
    document = finds[0]["uri"] if finds else asked.get("answers")
    return Judged(
        source=source,
        question=query.text,
        document=document or query.text,
        answerable=document is not None,
        basis=basis,
        says=tuple(_plain(each["says"]) for each in finds if each.get("says")),
        first=tuple(_plain(each.candidate.citation.quote) for each in _best(weighed)),
        cpu_ms=cpu_ms,
    )


def _best(some: Sequence[Weighed]) -> list[Weighed]:
    return sorted(some, key=lambda each: -each.score)[:3]


def _plain(text: str) -> str:
    return " ".join(text.split())


def _print_fit(judged: Sequence[Judged]) -> None:
    found = np.array([[getattr(each.basis, name) for name in NAMES] for each in judged])
    answerable = np.array([each.answerable for each in judged])
    folds = np.array([zlib.crc32(each.document.encode()) % FOLDS for each in judged])
    apart = np.zeros(len(judged))
    for fold in set(folds.tolist()):
        out = folds == fold
        apart[out] = _probability(found[out], _fit(found[~out], answerable[~out]))
    as_is = np.array([confidence(each.basis) for each in judged])
    intercept, *weights = _fit(found, answerable)
    fitted = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(NAMES, weights, strict=True))
    print(f"Fitted on {len(judged)} questions: intercept {intercept:.2f}, {fitted}")
    for source in dict.fromkeys(each.source for each in judged):
        of = np.array([each.source == source for each in judged])
        for what, sure in (("cross-validated by document", apart), ("as it is in app/domain/answering.py", as_is)):
            _print_curve(f"{source}, {what}", sure[of], answerable[of])
    for each, sure in sorted(zip(judged, as_is, strict=True), key=lambda pair: pair[1]):
        if (sure < MIN_CONFIDENCE) == each.answerable:
            print(f"{sure:.2f} {'refused' if each.answerable else 'answered'}: {each.question} | {each.first[:1]}")


def _fit(found: _Numbers, answerable: NDArray[np.bool_]) -> _Numbers:
    """Logistic regression by Newton's method: both classes of equal weight, an L2 penalty on standardized features."""
    middle, spread = found.mean(axis=0), found.std(axis=0) + 1e-9
    rows = np.column_stack([np.ones(len(found)), (found - middle) / spread])
    wanted = answerable.astype(float)
    weight = np.where(answerable, 0.5 / wanted.mean(), 0.5 / (1 - wanted.mean())) / len(found)
    penalty = np.diag([0.0] + [PENALTY] * found.shape[1])
    made = np.zeros(rows.shape[1])
    for _ in range(40):
        sure = 1 / (1 + np.exp(-rows @ made))
        slope = rows.T @ (weight * (sure - wanted)) + penalty @ made
        made -= np.linalg.solve((rows * (weight * sure * (1 - sure))[:, None]).T @ rows + penalty, slope)
    made[1:] /= spread
    made[0] -= made[1:] @ middle
    return made


def _probability(found: _Numbers, fitted: _Numbers) -> _Numbers:
    sure: _Numbers = 1 / (1 + np.exp(-(fitted[0] + found @ fitted[1:])))
    return sure


def _print_curve(title: str, sure: _Numbers, answerable: NDArray[np.bool_]) -> None:
    yes, no = sure[answerable], sure[~answerable]
    area = float(np.mean(yes[:, None] > no) + 0.5 * np.mean(yes[:, None] == no))
    table = Table("threshold", *(f"{each:g}" for each in THRESHOLDS), title=f"{title}: area {area:.3f}")
    for name, some in (("unanswerable", no), ("answerable", yes)):
        table.add_row(f"{len(some)} {name}, refused", *(f"{np.mean(some < each):.0%}" for each in THRESHOLDS))
    Console(width=120).print(table)


def _print_sentences(judged: Sequence[Judged]) -> None:
    shares = [
        np.mean([any(says in said or said in says for says in each.says for said in each.first[:n]) for each in judged])
        for n in (1, 2, 3)
    ]
    print(f"What {len(judged)} golden questions say is in the first 1, 2, 3 sentences:", *(f"{s:.0%}" for s in shares))
    print(f"Processor time of the step: {np.median([each.cpu_ms for each in judged]):.0f} ms (median of all threads)")


if __name__ == "__main__":
    sys.exit(main())
