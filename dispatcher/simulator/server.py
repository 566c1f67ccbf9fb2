"""The simulator as an HTTP server: sockets, threads, and the faults that only a socket can show.

On the standard library, since faults need the raw socket. Every answer is one buffer on a socket
without Nagle's delay: headers and body apart would cost a keep-alive client 40 ms a call.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from dispatcher.errors import UsageError
from dispatcher.simulator.account import Account
from dispatcher.simulator.admin import PREFIX, Desk, answer_admin
from dispatcher.simulator.callbacks import Callbacks
from dispatcher.simulator.journal import AcceptedCall, Delivery, JournalEntry, JournalFile, Origin
from dispatcher.simulator.replies import Answer, Drop, Hang, Reply, json_answer
from dispatcher.simulator.service import SimulatedService
from dispatcher.simulator.signature import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dispatcher.simulator.faults import FaultPlan
    from dispatcher.simulator.settings import SimulatorSettings
    from dispatcher.simulator.wire import WireCall

BODY_LIMIT = 1 << 20
_WATCH = 0.02
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def utc_now() -> datetime:
    """Return the time of the machine."""
    return datetime.now(UTC)


class Simulator:
    """A local IMS endpoint, from `start()` to `stop()`, once; also a context manager. Thread-safe.

    With `journal_path` each accepted start is on disk before it is answered, and a new simulator on
    the same file knows the old tasks. `clock` moves tasks, listings and quotas; `signing_clock` judges the
    date of a request and is the machine's clock unless a test says otherwise.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Callable[[], datetime] = utc_now,
        signing_clock: Callable[[], datetime] = utc_now,
        journal_path: Path | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._file = JournalFile(journal_path) if journal_path is not None else None
        self._account = Account(settings, self._file, clock())
        self._callbacks = Callbacks(self._account, clock, signing_clock)
        self._service = SimulatedService(self._account, clock, signing_clock, self._callbacks.expect)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._requests = 0
        self._lock = threading.Lock()

    def start(self) -> Self:
        """Listen, and serve in a thread. Raises UsageError if the address cannot be taken."""
        try:
            self._server = _Server((self.settings.host, self.settings.port), self)
        except OSError as error:
            self._close_file()
            raise UsageError(
                f"the simulator cannot listen on {self.settings.host}:{self.settings.port}: {error.strerror}",
                hint="choose another --port (0 takes a free one)",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_WATCH,), name="simulator")
        self._thread.start()
        self._callbacks.resume()
        return self

    def stop(self) -> None:
        """Stop serving and end every connection, hanging ones too. Idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.stopping.set()
            self._server.shutdown()
            self._thread.join()
            self._server.end_connections()
            self._server.server_close()
            self._server = self._thread = None
        self._callbacks.stop()
        self._close_file()

    def __enter__(self) -> Self:
        return self if self._server is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The endpoint to configure: `http://host:port`."""
        if self._server is None:
            raise RuntimeError("the simulator is not started")
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_address[1]}"

    @property
    def requests(self) -> int:
        """How many API requests arrived, refused ones included."""
        return self._requests

    def journal(self) -> list[JournalEntry]:
        """Return every accepted start, in order."""
        return self._account.tasks.entries()

    def calls(self) -> list[JournalEntry]:
        """Return the accepted StartWorkflow calls: the journal without what `trigger` started."""
        return [entry for entry in self._account.tasks.entries() if entry.origin is Origin.CALL]

    def accepted(self, api: str | None = None) -> list[AcceptedCall]:
        """Return the accepted calls of the other APIs that change something, in order; of one API if it is named."""
        return self._account.calls(api)

    def wire(self, api: str | None = None) -> list[WireCall]:
        """Return the last 10,000 API requests, reading and refused ones too; of one API if it is named."""
        return self._service.wire.calls(api)

    def deliveries(self) -> list[Delivery]:
        """Return what became of each completion callback, in order."""
        return self._account.deliveries()

    def set_faults(self, plan: FaultPlan) -> None:
        """Replace the fault plan."""
        self._service.dice.replace(plan)

    def trigger(self, workflow_id: str, media: str) -> str:
        """Start a task as the workflow's built-in trigger does, without our UserData; return its id."""
        return self._service.trigger(workflow_id, media)

    def reply(self, request: SignedRequest, *, local: bool, stopping: threading.Event) -> Reply:
        """Answer one request, late by the plan's latency."""
        if request.path.startswith(PREFIX):
            if not local:
                return json_answer(HTTPStatus.FORBIDDEN, {"message": "the admin path answers on loopback only"})
            return answer_admin(request, Desk(self._service, self._account, self._clock(), self._requests))
        with self._lock:
            self._requests += 1
        reply = self._service.reply(request)
        stopping.wait(self._service.dice.plan.latency.total_seconds())
        return reply

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()


class _Server(ThreadingHTTPServer):
    """The listening socket, with every open connection in view so that `stop` can end it."""

    daemon_threads = False  # server_close() then waits for the threads: no socket outlives it
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.simulator = simulator
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        # HTTPServer.server_bind looks up the host's full name: a DNS request of seconds, for nothing.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        with self._connections_lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: object) -> None:
        if isinstance(request, socket.socket):
            with self._connections_lock:
                self._connections.discard(request)
        super().shutdown_request(request)  # type: ignore[arg-type]  # the stub also allows datagram requests

    def end_connections(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    """One client connection, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        # A client that goes away (or a reset of ours) is the daily business of this server.
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def finish(self) -> None:
        with suppress(ConnectionError):
            super().finish()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the journal tells what matters."""

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            return
        url = urlsplit(self.path)
        request = SignedRequest(
            method=self.command,
            path=url.path,
            query=parse_qsl(url.query, keep_blank_values=True),
            headers=self._headers(),
            body=body,
        )
        local = ipaddress.ip_address(self.client_address[0].partition("%")[0]).is_loopback
        try:
            reply = self.server.simulator.reply(request, local=local, stopping=self.server.stopping)
        except OSError as error:
            # The journal could not be written: nothing was started, and the caller may know.
            reply = json_answer(500, {"Code": "InternalError", "Message": f"journal: {error.strerror}"})
        match reply:
            case Answer():
                self._send(reply)
            case Hang():
                self._hang()
            case Drop():
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self.close_connection = True
                self.connection.close()

    def _headers(self) -> dict[str, str]:
        """Return the headers by lower-case name; a repeated one is joined, so its signature fails."""
        names = {name.lower() for name in self.headers}
        return {name: ",".join(self.headers.get_all(name, [])) for name in names}

    def _read_body(self) -> bytes | None:
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or "transfer-encoding" in self.headers:
            self.close_connection = True
            self._send(json_answer(HTTPStatus.LENGTH_REQUIRED, {"Code": "MissingContentLength"}))
            return None
        if int(length) > BODY_LIMIT:
            self.close_connection = True
            self._send(json_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"Code": "RequestTooLarge"}))
            return None
        return self.rfile.read(int(length))

    def _send(self, answer: Answer) -> None:
        headers = {"Content-Type": "application/json;charset=utf-8", "Content-Length": str(len(answer.body))}
        headers |= answer.headers
        if self.close_connection:
            headers["Connection"] = "close"
        head = f"HTTP/1.1 {int(answer.status)} {HTTPStatus(answer.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.wfile.write(head.encode("latin-1") + b"\r\n" + answer.body)

    def _hang(self) -> None:
        """Keep silent until the client closes its end, or the simulator stops."""
        self.close_connection = True
        while not self.server.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], _WATCH)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
            if readable:  # a client that goes on talking on a hanging connection gets no answer either
                self.server.stopping.wait(_WATCH)


def serve(
    settings: SimulatorSettings,
    stop: threading.Event,
    journal_path: Path | None = None,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run a simulator until `stop` is set; `on_ready` is told its URL once it listens.

    Raises UsageError if the address is taken and ConfigError if the journal cannot be used.
    """
    with Simulator(settings, journal_path=journal_path) as simulator:
        if on_ready is not None:
            on_ready(simulator.url)
        stop.wait()
