"""Sentences that a model elsewhere writes from the passages, each held against them before anybody sees it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from app.domain.access import Obligation
from app.domain.answer import Query
from app.domain.answering import MAX_PASSAGES, Candidate, Sentence
from app.domain.citation import Passage, context, joined
from app.domain.claims import sentences
from app.domain.composing import (
    INSTRUCTIONS,
    UNSUPPORTED_MARK,
    Unsupported,
    asked,
    leads_elsewhere,
    readable,
    tidied,
    without_marks,
)
from app.domain.verification import Verdict
from app.operations import discharge
from app.operations.extract import candidates_of
from app.operations.verify import Verifier
from app.ports import Generator, Ports

_LONG_CHARS: Final = 500
"""Few sentences are longer."""


def sendable(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Those that a model is given."""
    return tuple(passages[:MAX_PASSAGES])


def withheld(ports: Ports, passages: Sequence[Passage], obligations: Sequence[Obligation]) -> str | None:
    """Why the passages may not be sent to the model; None if they may.

    All of them or none: an answer from half of the evidence would not say that it is one. INVARIANT: fails closed; what
    is neither allowed nor forbidden is not sent.
    """
    terms, label = ports.composing, joined(passages)
    if not discharge.may_be_sent(obligations):
        return "an obligation forbids to export them"
    if label is None or terms.withhold(label):
        return "their label is above what may be sent to the model"
    if any(terms.jurisdiction not in each.boundary.jurisdictions for each in passages if each.boundary.jurisdictions):
        return "they are bound to jurisdictions where the model is not known to run"
    return None


def written(
    ports: Ports, generator: Generator, query: Query, passages: Sequence[Passage], obligations: Sequence[Obligation]
) -> Iterator[Sentence]:
    """Each sentence that the model writes, in order, as it may leave. One whose text is empty may not; one that leads
    where no passage does never may.

    What supports a sentence is cited, whatever the model cited. Closing the iterator ends the model's writing.
    """
    drop = ports.composing.unsupported is Unsupported.DROP or discharge.verified_only(obligations)
    some = [each for passage in passages for each in candidates_of(ports, passage)]
    verifier, shown = Verifier(ports, some), [passage.text for passage in passages]
    pieces = generator.write(INSTRUCTIONS, asked(query.text, context(passages)))
    for sentence in _sentences(pieces):
        claim, cited = without_marks(sentence)
        if leads_elsewhere(sentence, shown):
            yield Sentence(text="", citation=None, passage=None, score=0.0, verdict=Verdict.UNSUPPORTED)
        elif claim:
            yield _verified(verifier, some, claim, cited, drop=drop)


def _verified(
    verifier: Verifier, some: Sequence[Candidate], claim: str, cited: frozenset[int], *, drop: bool
) -> Sentence:
    found = verifier.verified(claim, cited)
    source = some[found.place] if found.place is not None else None
    sentence = Sentence(
        text="",
        citation=source.citation if source else None,
        passage=found.passage,
        score=found.score,
        redactions=source.redactions if source else (),
        verdict=found.verdict,
    )
    match found.verdict:
        case Verdict.SUPPORTED | Verdict.UNCITED:
            return replace(sentence, text=f"{claim} [{found.passage}]")
        case Verdict.UNSUPPORTED if not drop:
            return replace(sentence, text=f"{claim} {UNSUPPORTED_MARK}")
    return sentence


def _sentences(pieces: Iterator[str]) -> Iterator[str]:
    """Whole sentences as soon as something follows them; the rest at the end.

    What goes on for long without an end is looked at again only when it is half as long again: in all, a few times.
    """
    text, more, chars = "", list[str](), 0
    for piece in pieces:
        more.append(readable(piece))
        chars += len(more[-1])
        if chars < len(text) // 2 and len(text) > _LONG_CHARS:
            continue
        text, more, chars = tidied(text + "".join(more)), [], 0
        *whole, _ = [*sentences(text), None]
        for span in whole[:-1]:
            if span is not None:
                yield span.of(text)
        if len(whole) > 1 and whole[-1] is not None:
            text = text[whole[-1].start :]
    text = tidied(text + "".join(more))
    for span in sentences(text):
        yield span.of(text)
