"""The label step's eyes: what a text itself proposes for its label. Pure; rules and statements are joined elsewhere."""

from dataclasses import dataclass

from app.domain.corpus import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Categories that a text asks for, and what an owner is told of it."""

    categories: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def proposals(text: str) -> Proposals:
    return Proposals()
