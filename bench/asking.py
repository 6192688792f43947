"""A governed retrieval over HTTP against the bare search inside it, and the decision that it rests on."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final, TypeVar

from app.domain.evidence import IndexQuery
from app.operations import authorize
from app.operations.identify import Credentials, identify
from app.ports import Ports
from app.store.database import reading
from bench.serving import Caller

_WARM_UP: Final = 40

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Medians in milliseconds. `governed_ms` is the whole request as the client sees it, less the query's embedding."""

    pairs: int
    passages: float
    governed_ms: float
    bare_ms: float
    governed_p95_ms: float
    bare_p95_ms: float
    pairwise_ratio: float
    steps_ms: dict[str, float]
    """By step as the server reports them, and what is left of the request: trace, serialization and HTTP."""

    @property
    def ratio(self) -> float:
        return self.governed_ms / self.bare_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Medians in milliseconds of one warm decision, and of identifying, which reads the epochs."""

    boundaries: int
    readable: int
    reach_ms: float
    identify_ms: float


def retrieval(ports: Ports, caller: Caller, key: str, questions: Sequence[str]) -> Retrieval:
    """Governed and bare, one after the other for each question, and the other way round for the next.

    `ports` search the index that the server searches. The embedding of a question, made in the server and here before
    the clock runs, is in neither time.
    """
    bodies = [json.dumps({"query": question}).encode() for question in questions]
    bare = _bare_queries(ports, key, questions)
    for body, query in zip(bodies[:_WARM_UP], bare[:_WARM_UP], strict=True):
        caller.bytes_of("POST", "/v1/retrieve", body)
        ports.index.search(query)
    governed_ms, bare_ms, passages = [], [], []
    steps: defaultdict[str, list[float]] = defaultdict(list)
    for number, (body, query) in enumerate(zip(bodies[_WARM_UP:], bare[_WARM_UP:], strict=True)):
        if number % 2:
            searched_ms, _ = _timed(ports.index.search, query)
        whole_ms, content = _timed(caller.bytes_of, "POST", "/v1/retrieve", body)
        if not number % 2:
            searched_ms, _ = _timed(ports.index.search, query)
        answer = json.loads(content)
        timings = answer["usage"]["timings_ms"]
        total_ms = timings.pop("total")
        governed_ms.append(whole_ms - timings["embed"])
        bare_ms.append(searched_ms)
        passages.append(len(answer["passages"]))
        for step, ms in timings.items():
            steps[step].append(ms)
        steps["label, context, checks"].append(total_ms - sum(timings.values()))
        steps["trace, JSON, HTTP"].append(whole_ms - total_ms)
    return Retrieval(
        pairs=len(governed_ms),
        passages=median(passages),
        governed_ms=median(governed_ms),
        bare_ms=median(bare_ms),
        governed_p95_ms=_p95(governed_ms),
        bare_p95_ms=_p95(bare_ms),
        pairwise_ratio=median(one / other for one, other in zip(governed_ms, bare_ms, strict=True)),
        steps_ms={step: median(listed) for step, listed in steps.items()},
    )


def decision(ports: Ports, key: str, *, times: int) -> Decision:
    """Identify and decide, over and over, with nothing changed in between."""
    credentials = Credentials(bearer=key)
    identify_ms, reach_ms = [], []
    for _ in range(times + _WARM_UP):
        with reading(ports.engine) as session:
            identified_ms, standing = _timed(identify, ports, session, credentials)
            decided_ms, reach = _timed(authorize.reach, ports, session, standing)
        identify_ms.append(identified_ms)
        reach_ms.append(decided_ms)
    return Decision(
        boundaries=len(reach.grounds.rulings),
        readable=len(reach.boundaries),
        reach_ms=median(reach_ms[_WARM_UP:]),
        identify_ms=median(identify_ms[_WARM_UP:]),
    )


def _bare_queries(ports: Ports, key: str, questions: Sequence[str]) -> list[IndexQuery]:
    """What the server asks the index for each question, with the same filter."""
    with reading(ports.engine) as session:
        reach = authorize.reach(ports, session, identify(ports, session, Credentials(bearer=key)))
    return [
        IndexQuery(
            dense=ports.embedder.embed_queries([question])[0],
            lexical=ports.analyzer.query(question) or None,
            boundaries=reach.boundaries,
            valid_at=reach.valid_at,
            known_at=reach.known_at,
            depth=ports.ranking.depth,
        )
        for question in questions
    ]


def _timed(act: Callable[..., _Made], *arguments: object) -> tuple[float, _Made]:
    start = perf_counter()
    made = act(*arguments)
    return (perf_counter() - start) * 1000, made


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]
