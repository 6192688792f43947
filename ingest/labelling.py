"""The label step's eyes: what a text itself proposes for its label. Pure; `domain.corpus.labelled` joins it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from app.adapters.personal_data import EMAIL, NETWORK, PII, PersonalData, is_role
from app.adapters.secrets import SECRET, Secrets
from app.domain.corpus import Finding, FindingCode
from app.domain.redaction import Spotted
from app.ports import Detector

LEAST_WEAK: Final = 10
LEAST_WEAK_PER_1000_CHARS: Final = 2.0
"""Different weak finds: a register of people has more of both, a policy with the desks to ask at the end has fewer."""

DETECTORS: Final[Sequence[Detector]] = (PersonalData(), Secrets())


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Categories that a text asks for, and what an owner is told of it."""

    categories: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def proposals(text: str, detectors: Sequence[Detector] = DETECTORS) -> Proposals:
    """What is found in a text: strong finds each propose their category, weak ones only where they are many.

    A finding says kinds and how many different ones there are of each, never a value.
    """
    found = [each for detector in detectors for each in detector.spotted(text)]
    weak = {each.span.of(text).lower() for each in found if not each.strong and _counts(each, text)}
    many = len(weak) >= max(LEAST_WEAK, LEAST_WEAK_PER_1000_CHARS * len(text) / 1000)
    telling = [each for each in found if each.strong or many]
    categories = frozenset(each.category for each in telling if each.strong) | ({PII} if many else frozenset())
    findings = [_finding(code, several, text) for code, several in _by_code(telling) if several]
    return Proposals(categories=categories, findings=tuple(findings))


def _counts(each: Spotted, text: str) -> bool:
    """Machines and functions are told of in any handbook: they make no register of people."""
    return each.kind != NETWORK and not (each.kind == EMAIL and is_role(each.span.of(text)))


def _by_code(found: Iterable[Spotted]) -> list[tuple[FindingCode, list[Spotted]]]:
    secret: list[Spotted] = []
    personal: list[Spotted] = []
    for each in found:
        (secret if each.category == SECRET else personal).append(each)
    return [(FindingCode.PERSONAL_DATA, personal), (FindingCode.SECRET, secret)]


def _finding(code: FindingCode, found: Sequence[Spotted], text: str) -> Finding:
    different = {(each.kind, each.span.of(text)) for each in found}
    counts = Counter(kind for kind, _ in different)
    listed = ", ".join(f"{kind} ({counts[kind]})" for kind in sorted(counts))
    what = "Personal data" if code is FindingCode.PERSONAL_DATA else "What grants access to somebody's systems"
    return Finding(code=code, detail=f"{what} was found in the text: {listed}.")
