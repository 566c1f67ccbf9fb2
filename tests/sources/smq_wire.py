"""The wire of the local SMQ: requests and answers, how they are spelled, and the sockets that carry them."""

from __future__ import annotations

import hashlib
import socket
from contextlib import suppress
from dataclasses import dataclass
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from datetime import datetime

NS = "http://mns.aliyuncs.com/doc/v1/"
PATIENT = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    silent: bool = False
    """The connection stays open without an answer."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        # Receipts are base64 and travel as they are: a plus is a plus.
        raw = urlsplit(self.target).query.replace("+", "%2B")
        return dict(parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw)))


class Refused(Exception):  # noqa: N818 - an answer of the service
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Service(Protocol):
    @property
    def changed(self) -> threading.Condition: ...

    @property
    def clock(self) -> Callable[[], datetime]: ...

    def answer(self, request: Request) -> Answer: ...

    def is_closing(self) -> bool: ...


XMLNS = f' xmlns="{NS}"'


def read_xml(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)
    except ET.ParseError:
        raise Refused(400, "MalformedXML") from None


def number(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Refused(400, "InvalidArgument")
    return int(text)


def md5_of(body: str) -> str:
    return hashlib.md5(body.encode()).hexdigest().upper()


def millis(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))


def xml_answer(status: int, xml: str) -> Answer:
    return Answer(status, f'<?xml version="1.0"?>{xml}'.encode(), (("Content-Type", "text/xml;charset=utf-8"),))


def error_answer(status: int, code: str) -> Answer:
    fields = f"<Code>{code}</Code><Message>said at length</Message><RequestId>56A0F0</RequestId><HostId>h</HostId>"
    return xml_answer(status, f"<Error{XMLNS}>{fields}</Error>")


def errors_answer(failed: Sequence[tuple[str, str]]) -> Answer:
    items = "".join(
        f"<Error><ErrorCode>{code}</ErrorCode><ErrorMessage>said at length</ErrorMessage>"
        f"<ReceiptHandle>{escape(receipt)}</ReceiptHandle></Error>"
        for code, receipt in failed
    )
    return xml_answer(404, f"<Errors{XMLNS}>{items}</Errors>")


class Http(ThreadingHTTPServer):
    daemon_threads = False  # server_close() then waits for the threads

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Connection)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: object) -> None:
        if isinstance(request, socket.socket):
            self._connections.discard(request)
        super().shutdown_request(request)  # type: ignore[arg-type]  # the stub also allows datagram requests

    def end_connections(self) -> None:
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Http

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
        answer = self.server.service.answer(Request(self.command, self.path, headers, body))
        if answer.silent:
            self.close_connection = True
            service = self.server.service
            with service.changed:
                service.changed.wait_for(service.is_closing, PATIENT)
            return
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [
            "x-mns-version: 2015-06-06",
            "x-mns-request-id: 56A0F0",
            f"Date: {format_datetime(self.server.service.clock(), usegmt=True)}",
        ]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(answer.body)}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + answer.body)

    do_GET = do_PUT = do_POST = do_DELETE = serve  # noqa: N815 - the base class's names
