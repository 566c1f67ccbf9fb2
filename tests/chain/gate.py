"""A gate in front of a server: it can be shut (connection refused), and it can answer in the server's place."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True, slots=True)
class Passed:
    """A request as it came, and what the server behind the gate answered."""

    method: str
    path: str
    status: int
    body: bytes


@dataclass
class Gate:
    """Passes every request on with its own Host header, so that signatures stay valid.

    `change` sees each answer and returns the body to send instead; None cuts the connection.
    """

    upstream: str
    change: Callable[[Passed], bytes | None] = field(default=lambda passed: passed.body)
    port: int = 0
    requests: int = 0
    _server: _Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> Self:
        """Take the port, always the same one, and pass requests on."""
        self._server = _Server(("127.0.0.1", self.port), _Connection)
        self._server.gate = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="gate")
        self._thread.start()
        return self

    def shut(self) -> None:
        """Refuse connections, and end the open ones."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.end_connections()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.shut()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for the threads: no socket outlives it
    request_queue_size = 64
    gate: Gate

    def __init__(self, address: tuple[str, int], connection: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, connection)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def end_connections(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass(self) -> None:
        gate = self.server.gate
        gate.requests += 1
        sent = self.rfile.read(int(self.headers.get("content-length", "0")))
        behind = http.client.HTTPConnection(urlsplit(gate.upstream).netloc, timeout=30)
        try:
            behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    behind.putheader(name, value)
            behind.putheader("Content-Length", str(len(sent)))
            behind.endheaders(sent)
            answer = behind.getresponse()
            body = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            behind.close()
        changed = gate.change(Passed(self.command, self.path, answer.status, body))
        if changed is None:
            self.close_connection = True
            return
        self._answer(answer, changed)

    def _answer(self, answer: http.client.HTTPResponse, body: bytes) -> None:
        with suppress(OSError):
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

    do_GET = do_POST = do_HEAD = do_PUT = _pass  # noqa: N815 - the names that http.server calls

    def handle(self) -> None:
        with suppress(OSError):  # a client that is killed is no concern of the gate
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Say nothing."""
