"""A model behind an OpenAI-compatible endpoint, asked by httpx: bounded in size and in time, and never followed."""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx

from app.domain.errors import Invalid, Unavailable

_MAX_LINE: Final = 1_000_000
"""Bytes of one line: an answer that is not streamed is one."""
_MAX_CHARS: Final = 20_000
"""Of what is written, whatever was agreed on."""

_DOWN: Final = "The model cannot be reached, or its answer cannot be read."


class HttpxGenerator:
    """The `Generator` port. `url` is the API's root, as in https://models.example.org/v1."""

    def __init__(self, url: str, model: str, *, api_key: str | None, timeout_s: float, max_tokens: int) -> None:
        """Raises `Invalid` for an address that nothing can be sent to; nobody is asked yet."""
        try:
            parts = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            parts = httpx.URL("")
        if parts.scheme not in ("http", "https") or not parts.host or parts.userinfo or parts.query or parts.fragment:
            raise Invalid("MUNIMENT_GENERATION__URL is no address: write it as https://models.example.org/v1.")
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._headers = {"Accept": "text/event-stream, application/json"}
        if api_key is not None:
            if not api_key.isascii() or not api_key.isprintable():
                raise Invalid("MUNIMENT_GENERATION__API_KEY cannot be sent as it is written.")
            self._headers["Authorization"] = f"Bearer {api_key}"
        self.model = model
        self.place = f"{parts.scheme}://{parts.netloc.decode()}"
        self._timeout_s, self._max_tokens = timeout_s, max_tokens

    def write(self, instructions: str, asked: str) -> Iterator[str]:
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": instructions}, {"role": "user", "content": asked}],
            "temperature": 0,
            "max_tokens": self._max_tokens,
            "stream": True,
        }
        try:
            with (
                httpx.Client(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", self._url, json=body, headers=self._headers) as response,
            ):
                if response.status_code != 200:
                    raise Unavailable("The model does not answer.")
                chars = 0
                for piece in _pieces(response, ends=time.monotonic() + self._timeout_s):
                    chars += len(piece)
                    if chars > _MAX_CHARS:
                        raise Unavailable("The model does not end.")
                    yield piece
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise Unavailable(_DOWN) from error


def _pieces(response: httpx.Response, *, ends: float) -> Iterator[str]:
    """What is written, from server-sent events or from one JSON document. One without an end was cut off."""
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    for line in _lines(response, ends):
        if streamed and not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip() if streamed else line
        if streamed and data == b"[DONE]":
            return
        choice = _choice(json.loads(data))
        said = choice.get("delta" if streamed else "message")
        text = said.get("content") if isinstance(said, dict) else None
        if isinstance(text, str) and text:
            yield text
        if choice.get("finish_reason") is not None or not streamed:
            return
    raise Unavailable(_DOWN)


def _lines(response: httpx.Response, ends: float) -> Iterator[bytes]:
    """Lines of events; of anything else the whole as one."""
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    held = b""
    for part in response.iter_bytes():
        held += part
        if len(held) > _MAX_LINE or time.monotonic() > ends:
            raise Unavailable("The model's answer is too long, or takes too long.")
        if streamed:
            *whole, held = held.split(b"\n")
            yield from whole
    if held:
        yield held


def _choice(document: Any) -> dict[str, Any]:
    """The first choice; an event that only counts tokens has none."""
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list):
        raise Unavailable(_DOWN)
    return choices[0] if choices and isinstance(choices[0], dict) else {}
