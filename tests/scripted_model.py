"""A model for tests that says what is in a script: a real HTTP server that speaks the OpenAI chat API."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any

from app.adapters.httpx_generator import HttpxGenerator
from tests.sites import Site, site

PATH = "/v1/chat/completions"
KEY = "sk-the-models-own-key"


class ScriptedModel:
    """Says `script`, piece by piece; `asked` is what it was sent."""

    def __init__(self, served: Site) -> None:
        self._site = served
        self.script: Sequence[str] = ()
        self.streams = True
        self.status = 200
        self.ends = True
        self.raw: bytes | None = None
        """Sent instead, as it stands."""
        self.goes_on: Event | None = None
        """Waited for before each piece but the first."""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.gone = Event()
        """Whoever asked went away before the end."""
        served.served[PATH] = self._answer

    def generator(self, *, timeout_s: float = 10) -> HttpxGenerator:
        return HttpxGenerator(f"{self._site.url}/v1/", "scripted", api_key=KEY, timeout_s=timeout_s, max_tokens=200)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(json.loads(handler.rfile.read(int(handler.headers["Content-Length"]))))
        self.keys.append(handler.headers["Authorization"])
        handler.close_connection = True
        handler.send_response(self.status)
        handler.send_header("Content-Type", "text/event-stream" if self.streams else "application/json")
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            for piece in self._pieces():
                handler.wfile.write(piece)
                handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.gone.set()

    def _pieces(self) -> Iterator[bytes]:
        if self.raw is not None:
            yield self.raw
            return
        if not self.streams:
            message = {"role": "assistant", "content": "".join(self.script)}
            yield json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
            return
        for number, piece in enumerate(self.script):
            if number and self.goes_on is not None:
                self.goes_on.wait(5)
            yield b"data: " + json.dumps({"choices": [{"delta": {"content": piece}}]}).encode() + b"\n\n"
        if self.ends:
            yield b"data: [DONE]\n\n"


@contextmanager
def scripted_model() -> Iterator[ScriptedModel]:
    with site() as served:
        yield ScriptedModel(served)
