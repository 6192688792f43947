"""A question, answered in words that stand in the passages: `retrieve` plus a step, through the same gate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from app.domain.answer import Answer, Query
from app.domain.answering import NOT_HERE, AnswerKind, Said, Sentence, Weighed, chosen, confidence
from app.domain.checks import Check, CheckName, CheckOutcome
from app.domain.citation import Passage
from app.domain.corpus import text_digest
from app.domain.errors import Unavailable
from app.domain.stopwatch import Stopwatch
from app.domain.trace import Account, Outcome
from app.domain.verification import Verdict
from app.operations.attest import attest, attest_sentences
from app.operations.compose import sendable, withheld, written
from app.operations.extract import extract
from app.operations.generations import active
from app.operations.identify import Credentials
from app.operations.retrieve import Found, find
from app.ports import Generator, Ports

_TRIES: Final = 3

_CHANGING: Final = "What you may read changed while this was being answered, so it was not. Ask again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to answer."""

    max_sentences: int = 3
    """Of an answer in sentences of the passages."""
    generate: bool | None = None
    """Whether a model is to write it; None: if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer in words, and the passages that it rests on."""

    answer: Answer
    said: Said


def answer(ports: Ports, credentials: Credentials, query: Query, wish: Wish) -> Reply:
    """The reply to a question, whole. Raises what `retrieve` does, and `Unavailable` when what may be read changes."""
    begun = Begun(ports, credentials, query, wish)
    return begun.reply(list(begun.sentences(at_once=True)))


class Begun:
    """An answer that is on record and may be told: the passages first, then sentence by sentence, then the whole.

    What holds:
    1. What `find` promises, of the passages.
    2. A question that they do not answer surely enough is refused in the same words as one about nothing, and rests on
       no passage.
    3. The question was put again, just before anything leaves, and found the same passages.
    4. The passages are on record before they leave, or are sent to a model; every sentence before it leaves.
    5. An extracted sentence is byte for byte what is in its span, without what is blacked out.
    6. A generated sentence was held against the passages. One that they contradict does not leave.
    """

    def __init__(self, ports: Ports, credentials: Credentials, query: Query, wish: Wish) -> None:
        ports = active(ports)
        watch = Stopwatch()
        self._ports, self._credentials, self._query = ports, credentials, query
        self._weighing = _Weighing(ports, query, wish)
        self._dropped: dict[Verdict, int] = {}
        self._cut_off = False
        self._records = 0
        found = self._found()
        for _ in range(_TRIES):
            before, found = found, self._found()
            if _same(before, found):
                break
        else:
            raise Unavailable(_CHANGING)
        self._extracted = self._weighing.sentences(found.answer.passages)
        self._generator, self._why_not = self._chosen(found, wish)
        generating = self._generator is not None
        checks = found.answer.checks if _refused_whole(found) else (*found.answer.checks, self._grounding(()))
        timings = {**found.answer.usage.timings_ms, "extract": self._weighing.ms, "total": watch.laps_ms()["total"]}
        usage = replace(found.answer.usage, timings_ms=timings)
        self._found_answer = replace(found, answer=replace(found.answer, checks=checks, usage=usage))
        self._principal = found.standing.principal
        attest(
            ports,
            found.standing,
            query,
            found.reach,
            self._found_answer.answer,
            drops=found.drops,
            said=self._sent() if generating else _account(self._in_words(self._extracted)),
            cited=[] if generating else [each.citation for each in self._extracted if each.citation],
        )

    @property
    def answer(self) -> Answer:
        """The passages, checks and so on: on record."""
        return self._found_answer.answer

    def sentences(self, *, at_once: bool = False) -> Iterator[Sentence]:
        """What is answered, in order; each on record, and its passages decided again. `at_once`: all before the first.

        Raises `Unavailable` when what may be read has changed. Closing the iterator ends a model's writing.
        """
        if self._generator is None:
            yield from self._extracted
            return
        told: list[Sentence] = []
        waiting: list[Sentence] = []
        for sentence in self._generated(self._generator):
            waiting.append(sentence)
            if not at_once:
                yield from self._released(waiting)
                told, waiting = told + waiting, []
        if not told and not waiting:
            waiting = [*self._extracted]
        if waiting:
            yield from self._released(waiting)

    def reply(self, told: Sequence[Sentence]) -> Reply:
        """The whole, once everything was told."""
        checks = tuple(
            self._grounding(told) if each.check is CheckName.GROUNDING else each for each in self.answer.checks
        )
        return Reply(answer=replace(self.answer, checks=checks), said=self._in_words(told))

    def _found(self) -> Found:
        self._weighing.asked = False
        return find(self._ports, self._credentials, self._query, self._weighing.keep)

    def _chosen(self, found: Found, wish: Wish) -> tuple[Generator | None, str | None]:
        """The model that is to write, or why none does."""
        if wish.generate is False or not found.answer.passages:
            return None, None
        if self._ports.generator is None:
            return None, "no model is configured" if wish.generate else None
        why_not = withheld(self._ports, sendable(found.answer.passages), found.answer.obligations)
        return (None, why_not) if why_not else (self._ports.generator, None)

    def _generated(self, generator: Generator) -> Iterator[Sentence]:
        """What may leave of what the model writes. An outage ends it, and is remembered."""
        answer = self.answer
        writing = written(self._ports, generator, self._query, sendable(answer.passages), answer.obligations)
        try:
            for sentence in writing:
                if sentence.text:
                    yield sentence
                elif sentence.verdict is not None:
                    self._dropped[sentence.verdict] = self._dropped.get(sentence.verdict, 0) + 1
        except Unavailable:
            self._cut_off = True
        finally:
            writing.close()  # type: ignore[attr-defined]

    def _released(self, some: Sequence[Sentence]) -> Sequence[Sentence]:
        """These sentences, decided again and on record."""
        if not _same(self._found(), self._found_answer):
            raise Unavailable(_CHANGING)
        self._records += 1
        attest_sentences(
            self._ports,
            self._principal,
            self.answer.trace_id,
            self._records,
            said=_account(self._in_words(some)),
            cited=[each.citation for each in some if each.citation],
        )
        return some

    def _sent(self) -> Account:
        """What is on record before passages are sent to a model."""
        assert self._generator is not None
        sent = [passage.citation.id for passage in sendable(self.answer.passages)]
        return {
            "kind": AnswerKind.GENERATED,
            "model": self._generator.model,
            "sent_to": self._generator.place,
            "sent": sent,
            "confidence": self._weighing.confidence,
        }

    def _in_words(self, some: Sequence[Sentence]) -> Said:
        if not some:
            refused = NOT_HERE if self._weighing.asked else ""
            return Said(kind=AnswerKind.NONE, text=refused, confidence=self._weighing.confidence)
        generated = any(each.verdict is not None for each in some)
        return Said(
            kind=AnswerKind.GENERATED if generated else AnswerKind.EXTRACTIVE,
            text=(" " if generated else "\n").join(each.text for each in some),
            sentences=tuple(some),
            confidence=self._weighing.confidence,
            dropped=dict(self._dropped),
        )

    def _grounding(self, told: Sequence[Sentence]) -> Check:
        """Whether what is answered stands in the passages, and why no model wrote it."""
        outcome = CheckOutcome.PASS
        if self._generator is not None and not told:
            said = "A model writes this; each sentence is held against the passages before it leaves."
        elif not self._extracted:
            said = (
                "No passage answers this surely enough, so none is shown. POST /v1/retrieve shows what comes nearest."
            )
            outcome = CheckOutcome.WARNED if self._weighing.confidence is not None else CheckOutcome.PASS
            if self._weighing.confidence is None:
                said = "There was no passage to answer from."
        elif any(each.verdict is not None for each in told):
            unsupported = sum(1 for each in told if each.verdict is Verdict.UNSUPPORTED)
            said = "Each sentence that a model wrote was held against the passages."
            if unsupported:
                outcome, said = CheckOutcome.WARNED, f"{said} Unsupported, and marked so: {unsupported}."
            for verdict, number in sorted(self._dropped.items()):
                outcome, said = CheckOutcome.WARNED, f"{said} Left out because {verdict}: {number}."
        else:
            said = "Each sentence stands in a passage as it is given."
        if self._cut_off:
            outcome, said = CheckOutcome.WARNED, f"{said} The model could not be reached, or did not end."
        elif self._generator is not None and told and all(each.verdict is None for each in told):
            outcome, said = CheckOutcome.WARNED, f"{said} Nothing that the model wrote stood up to the passages."
        if self._why_not:
            outcome, said = CheckOutcome.WARNED, f"{said} The passages were not sent to a model: {self._why_not}."
        return Check(check=CheckName.GROUNDING, outcome=outcome, reason=said)


class _Weighing:
    """Says on which passages an answer is to rest: all, or none if they do not answer. Nothing is embedded twice."""

    def __init__(self, ports: Ports, query: Query, wish: Wish) -> None:
        self._ports, self._query, self._wish = ports, query, wish
        self._before: tuple[object, ...] | None = None
        self._weighed: list[Weighed] = []
        self._confidence: float | None = None
        self.asked = False
        """Whether the question was one that may be put: it is answered, or refused in words."""
        self.ms = 0.0
        """What weighing took."""

    @property
    def confidence(self) -> float | None:
        """How surely the passages answer; None without any, and of a question that may not be put any longer."""
        return self._confidence if self.asked else None

    def keep(self, passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
        self.asked = True
        key = _key(passages)
        if key != self._before:
            watch = Stopwatch()
            self._weighed, found = extract(self._ports, self._query.text, passages)
            self._confidence = confidence(found) if passages else None
            self._before = key
            self.ms = round(self.ms + watch.laps_ms()["total"], 2)
        sure = self.confidence is not None and self.confidence >= self._ports.min_confidence and self._weighed
        return passages if sure else ()

    def sentences(self, passages: Sequence[Passage]) -> tuple[Sentence, ...]:
        if not passages:
            return ()
        return tuple(
            Sentence(
                text=each.candidate.shown,
                citation=each.candidate.citation,
                passage=each.candidate.passage,
                score=each.score,
                redactions=each.candidate.redactions,
            )
            for each in chosen(self._weighed, most=self._wish.max_sentences)
        )


def _key(passages: Sequence[Passage]) -> tuple[object, ...]:
    """What of passages an answer rests on. Their scores move when anything that may be read does."""
    return tuple((each.citation, each.boundary, each.redactions) for each in passages)


def _same(some: Found, other: Found) -> bool:
    ours, theirs = some.answer, other.answer
    return (ours.outcome, ours.obligations, _key(ours.passages)) == (
        theirs.outcome,
        theirs.obligations,
        _key(theirs.passages),
    )


def _refused_whole(found: Found) -> bool:
    return found.answer.outcome in (Outcome.BLOCKED, Outcome.ESCALATED)


def _account(said: Said) -> Account:
    """What is on record of an answer in words: digests and spans, and no word of a document or a model."""
    account: dict[str, Any] = {
        "kind": said.kind,
        "confidence": said.confidence,
        "sentences": [_told(each) for each in said.sentences],
    }
    return account | ({"dropped": dict(said.dropped)} if said.dropped else {})


def _told(sentence: Sentence) -> Account:
    citation = sentence.citation
    return {
        "digest": text_digest(sentence.text),
        "citation": citation.id if citation else None,
        "span": [citation.span.start, citation.span.end] if citation else None,
        "quote_digest": citation.quote_digest if citation else None,
        "passage": sentence.passage,
        "score": sentence.score,
        "verdict": sentence.verdict,
    }
