"""What came of evaluating: each question with its measures, and what they come to, by slice and by principal."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from app.domain.metrics import MEASURES, Difference, difference, percentile

SEED = 20_261_122
"""Of every randomization test and bootstrap: the same results have the same p."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One question as it was answered. `measures` is empty for one that has no answer here."""

    question: str
    slice: str
    who: str
    measures: Mapping[str, float] = field(default_factory=dict)
    wrong_version: bool = False
    """An expected document was cited by another version than the expected one."""
    unanswerable: bool = False
    refused: bool | None = None
    """Whether the answer was that nothing here answers it; None if no answer was asked for."""
    ms: float = 0.0
    """Of the whole answer but the question's embedding, which is cached between configurations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Means over the questions that have an answer; the rest are counts and percentiles over all of them."""

    answerable: int
    unanswerable: int
    measures: Mapping[str, float]
    wrong_versions: int
    refused_answerable: int
    refused_unanswerable: int
    judged_answerable: int
    """Of those with an answer, how many an answer was asked for."""
    judged_unanswerable: int
    p50_ms: float
    p95_ms: float


def summary(scored: Sequence[Scored]) -> Summary:
    answerable = [each for each in scored if each.measures]
    without = [each for each in scored if each.unanswerable]
    times = [each.ms for each in scored]
    return Summary(
        answerable=len(answerable),
        unanswerable=len(without),
        measures={name: fmean(each.measures[name] for each in answerable) for name in MEASURES} if answerable else {},
        wrong_versions=sum(each.wrong_version for each in scored),
        refused_answerable=sum(each.refused is True for each in answerable),
        refused_unanswerable=sum(each.refused is True for each in without),
        judged_answerable=sum(each.refused is not None for each in answerable),
        judged_unanswerable=sum(each.refused is not None for each in without),
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
    )


def summaries(scored: Sequence[Scored], key: Callable[[Scored], str]) -> dict[str, Summary]:
    """A summary of each slice, or of each principal, by name."""
    parts: dict[str, list[Scored]] = {}
    for each in scored:
        parts.setdefault(key(each), []).append(each)
    return {name: summary(parts[name]) for name in sorted(parts)}


def differences(scored: Sequence[Scored], before: Sequence[Scored]) -> dict[str, Difference]:
    """By measure, over the questions that both answered; empty if there is none."""
    earlier = {each.question: each.measures for each in before if each.measures}
    both = [(each.measures, earlier[each.question]) for each in scored if each.measures and each.question in earlier]
    if not both:
        return {}
    return {
        name: difference([mine[name] for mine, _ in both], [theirs[name] for _, theirs in both], seed=SEED)
        for name in MEASURES
    }


def says(text: str, wanted: str | None) -> bool:
    """Whether a text says it, however its lines are broken; nothing wanted is always said."""
    return wanted is None or " ".join(wanted.split()) in " ".join(text.split())


_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart: `value` in [0, 1], and what stands behind it."""

    label: str
    value: float
    note: str = ""


def svg(title: str, bars: Sequence[Bar]) -> str:
    """A bar chart as an SVG document that is read on light and on dark ground, and needs nothing else."""
    row, left, width = 26, 190, 420
    height = 44 + row * len(bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 210} {height}" role="img">',
        f"<title>{_xml(title)}</title>",
        "<style>text{font:13px system-ui,sans-serif;fill:#1f2328}.bar{fill:#3b6ea8}.ground{fill:#8884}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#79b0ea}}</style>",
        f'<text x="8" y="20" font-weight="600">{_xml(title)}</text>',
    ]
    for number, bar in enumerate(bars):
        y = 36 + row * number
        filled = round(width * min(max(bar.value, 0.0), 1.0), 1)
        lines += [
            f'<text x="8" y="{y + 14}">{_xml(_short(bar.label))}</text>',
            f'<rect class="ground" x="{left}" y="{y}" width="{width}" height="18" rx="2"/>',
            f'<rect class="bar" x="{left}" y="{y}" width="{filled}" height="18" rx="2"/>',
            f'<text x="{left + width + 10}" y="{y + 14}">{_xml(f"{bar.value:.3f} {bar.note}".strip())}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:25]}…"


def _xml(text: str) -> str:
    """Text within XML, without the characters that XML 1.0 has no way to write."""
    return "".join(_ESCAPES.get(each, each) for each in _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text))
