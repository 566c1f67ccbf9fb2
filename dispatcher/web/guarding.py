"""What stands before the application: the access log, the limits, and the end of refused requests."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from dispatcher.web.requests import RETRY_AFTER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dispatcher.web.limits import ClientRates, WebLimits

_CLOSE = (b"connection", b"close")
_LONGEST_PATH = 200


class AccessLog:
    """One line for each request: who, which webhook, status, time, size, and why not. Never a header or a query.

    A path that tells of its requests itself asks for quiet (`state.quiet`): then only debugging shows the line.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            _tell(scope, status, time.monotonic() - started)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    state = scope["state"]
    log = structlog.get_logger()
    refused = status == 0 or status >= HTTPStatus.BAD_REQUEST
    say = log.warning if refused else log.info if scope["method"] == "POST" else log.debug
    if state.get("quiet"):
        say = log.debug
    told = {name: state[name] for name in ("source", "note", "bytes") if state.get(name) is not None}
    if "source" not in told:
        told["path"] = scope["path"][:_LONGEST_PATH]
    say("web.request", client=client_of(scope), method=scope["method"], status=status, ms=round(seconds * 1000), **told)


def client_of(scope: Scope) -> str:
    """Return the address that the connection came from. Forwarding headers are not believed."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


class Guard:
    """Applies the limits, and ends the connection of a request whose body was not read to its end."""

    def __init__(self, app: ASGIApp, limits: WebLimits, rates: ClientRates) -> None:
        self._app = app
        self._limits = limits
        self._rates = rates
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send, self._limits.linger)
        if not self._rates.allows(client_of(scope)):
            scope["state"]["note"] = "too many requests from this client"
            await exchange.refuse(HTTPStatus.TOO_MANY_REQUESTS)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > self._limits.head_bytes:
            # uvicorn bounds only what arrives in pieces.
            scope["state"]["note"] = "the headers are too large"
            await exchange.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._under_way >= self._limits.concurrent:
            scope["state"]["note"] = "too many requests at once"
            await exchange.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._under_way += 1
            try:
                await self._app(scope, exchange.receive, exchange.send)
            finally:
                self._under_way -= 1


class _Exchange:
    """One request and its answer.

    An answer that comes before the end of the body ends the connection, else the sender could go on
    for ever. It is first complete for the sender, who gets a moment to stop: a connection closed with
    unread bytes is reset, and the sender would not learn the status.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, linger: float) -> None:
        self._receive = receive
        self._send = send
        self._linger = linger
        names = {name for name, value in scope["headers"] if not (name == b"content-length" and not value.strip(b"0"))}
        self._unread = bool(names & {b"content-length", b"transfer-encoding"})

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if not self._unread:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._send({**message, "headers": [*message.get("headers", ()), _CLOSE]})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._drain()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, status: HTTPStatus) -> None:
        body = f"{status.phrase}\n".encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain; charset=utf-8")]
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            headers += [(name.lower().encode(), value.encode()) for name, value in RETRY_AFTER.items()]
        await self.send({"type": "http.response.start", "status": int(status), "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self) -> None:
        """Throw away what still comes, for a moment."""
        try:
            async with asyncio.timeout(self._linger):
                while self._unread:
                    await self.receive()
        except TimeoutError:
            pass
