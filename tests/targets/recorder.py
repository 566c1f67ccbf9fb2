"""A server that notes what reached the wire and answers what it was told to, one answer for each request."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from dispatcher.core.calls import Endpoint
from tests.simulator_fixtures import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Sent:
    """One request: its action, and its parameters where they travelled."""

    action: str
    query: dict[str, str]
    form: dict[str, str]


@dataclass
class Recorder:
    """What was sent, in order, and what is answered: (status, body); the last answer stays."""

    endpoint: Endpoint
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def will_answer(self, *bodies: dict[str, Any], status: int = 200) -> None:
        self.answers += [(status, {"RequestId": "R-1", **body}) for body in bodies]

    def will_refuse(self, code: str, status: int = 400, *, message: str = "as told") -> None:
        self.will_answer({"Code": code, "Message": message}, status=status)

    def answer(self) -> tuple[int, dict[str, Any]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def recorder() -> Iterator[Recorder]:
    """Run a server for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            noted.sent.append(
                Sent(
                    self.headers["x-acs-action"],
                    dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)),
                    dict(parse_qsl(body, keep_blank_values=True)),
                )
            )
            status, told = noted.answer()
            content = json.dumps(told).encode()
            head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            self.wfile.write(head.encode() + content)  # in one piece: two would wait for each other

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    noted = Recorder(Endpoint(REGION, f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield noted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
