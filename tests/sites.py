"""A site on this machine that counts who asks for what: real HTTP for tests of what is fetched over it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Header = dict[str, str]
Answering = Callable[[BaseHTTPRequestHandler], None]
"""Writes a whole answer by itself, however wrong."""


@dataclass(slots=True, kw_only=True)
class Served:
    """What stands at a path; with an etag or a date, it is told when somebody holds it already."""

    body: bytes = b""
    status: int = 200
    header: Header = field(default_factory=lambda: {"Content-Type": "text/html"})


@dataclass(slots=True, kw_only=True)
class Asked:
    path: str
    status: int
    header: Header


class Site:
    """Paths with their queries, each with what is served; `asked` is in the order of asking."""

    def __init__(self) -> None:
        self.served: dict[str, Served | Answering] = {}
        self.asked: list[Asked] = []
        self.otherwise: Answering | None = None
        """Answers for all other paths."""
        self.url = ""
        self._server: ThreadingHTTPServer | None = None

    def put(self, path: str, body: bytes | str, kind: str = "text/html", **header: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in header.items()}
        self.served[path] = Served(body=content, header={"Content-Type": kind, **named})

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        self.served[path] = Served(status=status, header={"Location": to})

    def paths(self, status: int | None = None) -> list[str]:
        return [each.path for each in self.asked if status in (None, each.status)]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        given = {name.lower(): value for name, value in handler.headers.items()}
        served = self.served.get(handler.path) or self.otherwise or Served(status=404)
        if not isinstance(served, Served):
            self.asked.append(Asked(path=handler.path, status=0, header=given))
            served(handler)
            return
        status, body = served.status, served.body
        held = (
            (given.get("if-none-match"), served.header.get("ETag")),
            (
                given.get("if-modified-since"),
                served.header.get("Last-Modified"),
            ),
        )
        if status == 200 and any(asked is not None and asked == has for asked, has in held):
            status, body = 304, b""
        self.asked.append(Asked(path=handler.path, status=status, header=given))
        handler.send_response(status)
        for name, value in served.header.items():
            handler.send_header(name, value)
        if "Content-Length" not in served.header:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def start(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5
            wbufsize = -1  # header and body in one piece: else the other side waits to acknowledge the first

            def do_GET(self) -> None:
                try:
                    site.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_POST = do_GET  # noqa: N815 - so it is called

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()


@contextmanager
def site() -> Iterator[Site]:
    made = Site()
    made.start()
    try:
        yield made
    finally:
        made.stop()
