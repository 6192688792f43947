"""POST /v1/answer: a question answered in words, at once or as server-sent events."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.concurrency import iterate_in_threadpool

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, STATUS, TITLES
from app.api.retrieve import AnswerOut, CitationOut, RedactionOut, RetrieveBody, answer_out, citation_out, redaction_out
from app.domain.answering import Said, Sentence
from app.domain.errors import MunimentError
from app.operations.answer import Begun, Reply, Wish, answer

routes = APIRouter(tags=["answer"], responses=ASKED | SENT)


class AnswerBody(RetrieveBody):
    """What `POST /v1/retrieve` takes, and how to answer."""

    stream: bool = Field(default=False, description="Answer with server-sent events.")
    max_sentences: int = Field(default=3, ge=1, le=10, description="Of an answer in sentences of the passages.")
    generate: bool | None = Field(
        default=None, description="Whether a model is to write the answer; null: if one is configured."
    )

    def wish(self) -> Wish:
        return Wish(max_sentences=self.max_sentences, generate=self.generate)


class SentenceOut(BaseModel):
    text: str
    citation: CitationOut | None = Field(
        description="Of the sentence itself, or of the one that supports it; null if a model wrote it and nothing does."
    )
    passage: int | None = Field(description="The rank of the passage that it is from.")
    score: float
    redactions: list[RedactionOut]
    verdict: Literal["supported", "uncited", "unsupported"] | None = Field(
        description="Of a sentence that a model wrote. `uncited`: supported by a passage that the model did not name."
    )


class InWordsOut(BaseModel):
    text: str
    kind: Literal["extractive", "generated", "none"]
    sentences: list[SentenceOut]
    confidence: float | None = Field(description="That the passages answer the question, as calibrated: 0 to 1.")
    dropped: dict[str, int] = Field(description="Sentences of a model that did not leave, by what was found of them.")


_EXAMPLE: Final[JsonDict] = {
    "text": "A dataset is shared with a partner only under a signed agreement.",
    "kind": "extractive",
    "sentences": [
        {
            "text": "A dataset is shared with a partner only under a signed agreement.",
            "citation": {
                "id": "cit_371ee3be7eda8570726fe932004e78e0",
                "document_id": "doc_ycm4hswkclbmkpkltlte2st7ae",
                "title": "Data-sharing policy",
                "uri": "policies/data-sharing",
                "collection": "policies",
                "version": 3,
                "digest": "sha256:f0f5ee24696e05145b5c3e639650b487273cce16d85b4aa621e43fdbc75d6e70",
                "span": [1204, 1269],
                "quote_digest": "sha256:3f0c7a1ee6b6a3a0a5c3ba2cf0d0a6f9a1b0b2c69f6f3f4f0c9f7ad3cf6c11aa",
                "page": 4,
                "boxes": [],
                "section": ["Data sharing", "Partners"],
                "valid_from": "2025-03-01T00:00:00Z",
                "valid_to": None,
                "recorded_at": "2025-02-27T09:30:00Z",
            },
            "passage": 1,
            "score": 0.79,
            "redactions": [],
            "verdict": None,
        }
    ],
    "confidence": 0.93,
    "dropped": {},
}


class ReplyOut(AnswerOut):
    """What `POST /v1/retrieve` gives, and the answer in words that rests on it."""

    model_config = ConfigDict(
        json_schema_extra={"example": {**AnswerOut.model_config["json_schema_extra"]["example"], "answer": _EXAMPLE}}  # type: ignore[dict-item, index]
    )
    answer: InWordsOut


@routes.post(
    "/v1/answer",
    summary="A question answered in words that stand in the documents",
    response_model=ReplyOut,
    responses={200: {"content": {"text/event-stream": {}}}},
)
def post_answer(body: AnswerBody, asking: Asking, ports: PortsOf) -> ReplyOut | StreamingResponse:
    """Sentences of the passages, each byte for byte what its citation points at, or, where a model is configured and
    may be sent the passages, sentences that it writes and that were held against them. A question that they do not
    answer is `empty`, in the same words whether there is nothing or nothing that may be read.

    With `stream`: an event `passages` (what `POST /v1/retrieve` gives), a `sentence` for each as it is verified, and
    `done` with the answer as a whole, the checks and the usage; or `problem`, when what may be read changed meanwhile.
    """
    if not body.stream:
        return reply_out(answer(ports, asking, body.domain(), body.wish()))
    begun = Begun(ports, asking, body.domain(), body.wish())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_closing(_events(begun)), media_type="text/event-stream", headers=headers)


async def _closing(events: Iterator[str]) -> AsyncIterator[str]:
    """The events, whose making ends with the connection: a model does not write on for nobody."""
    try:
        async for event in iterate_in_threadpool(events):
            yield event
    finally:
        events.close()  # type: ignore[attr-defined]


def _events(begun: Begun) -> Iterator[str]:
    yield _event("passages", answer_out(begun.answer).model_dump(mode="json"))
    told: list[Sentence] = []
    sentences = begun.sentences()
    try:
        for sentence in sentences:
            told.append(sentence)
            yield _event("sentence", sentence_out(sentence).model_dump(mode="json"))
        whole = reply_out(begun.reply(told)).model_dump(mode="json")
        yield _event("done", {name: whole[name] for name in ("trace_id", "outcome", "answer", "checks", "usage")})
    except MunimentError as error:
        problem = {
            "type": f"/problems/{error.kind}",
            "title": TITLES[error.kind],
            "status": STATUS[error.kind],
            "detail": error.detail,
            "trace_id": begun.answer.trace_id,
        }
        yield _event("problem", problem)
    finally:
        sentences.close()  # type: ignore[attr-defined]


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def sentence_out(sentence: Sentence) -> SentenceOut:
    return SentenceOut(
        text=sentence.text,
        citation=citation_out(sentence.citation) if sentence.citation else None,
        passage=sentence.passage,
        score=sentence.score,
        redactions=[redaction_out(each) for each in sentence.redactions],
        verdict=sentence.verdict.value if sentence.verdict else None,
    )


def _words(said: Said) -> InWordsOut:
    return InWordsOut(
        text=said.text,
        kind=said.kind.value,
        sentences=[sentence_out(each) for each in said.sentences],
        confidence=said.confidence,
        dropped={verdict.value: number for verdict, number in said.dropped.items()},
    )


def reply_out(reply: Reply) -> ReplyOut:
    return ReplyOut(**dict(answer_out(reply.answer)), answer=_words(reply.said))
