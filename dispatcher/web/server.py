"""A listener: uvicorn in a thread of its own, from `start()` to `stop()`.

The daemon owns the signals and the log. What uvicorn does not bound is bounded here: the time that a
request's head may take to arrive, and the number of connections.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dispatcher.core.settings import Address
from dispatcher.errors import ServiceUnavailableError
from dispatcher.web.limits import WebLimits

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from starlette.types import ASGIApp
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

_BACKLOG = 128
_START_WITHIN = 10.0
_STOP_GRACE = 3
"""Seconds in which requests that are being answered may end when the listener stops."""


class WebServer:
    """Serves an application on an address, once; also a context manager. Thread-safe.

    `failed` is told what ended the serving thread by itself: without it a listener could be gone
    and nobody would know.
    """

    def __init__(
        self,
        app: ASGIApp,
        address: Address,
        *,
        limits: WebLimits | None = None,
        failed: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._app = app
        self.address = address
        """Where it listens; the real port once it was started, where the configured one is 0."""
        self._limits = limits or WebLimits()
        self._failed = failed
        self._server: _Server | None = None
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen, and serve in a thread. Raises ServiceUnavailableError if the address cannot be taken."""
        self._socket = _listening_socket(self.address)
        self.address = Address(self.address.host, self._socket.getsockname()[1])
        self._server = _Server(_Config(self._app, self._limits))
        self._thread = threading.Thread(target=self._serve, name=f"web:{self.address}", daemon=True)
        self._thread.start()
        if not self._server.serving.wait(_START_WITHIN):
            raise ServiceUnavailableError(
                f"the listener on {self.address} did not start within {_START_WITHIN:.0f} s",
                hint="the machine may be overloaded; the log may say more",
            )
        return self

    def stop(self) -> None:
        """Take no new requests, let those under way end, and close every connection. Idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        self._thread = None

    def __enter__(self) -> Self:
        return self if self._thread is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        assert self._server is not None  # noqa: S101 - `start` sets both before the thread runs
        assert self._socket is not None  # noqa: S101 - as above
        try:
            self._server.run([self._socket])
        except Exception as error:  # noqa: BLE001 - top of a thread
            self._failed(error)
        finally:
            self._server.serving.set()


class _Server(uvicorn.Server):
    """A server that tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class _Config(uvicorn.Config):
    """uvicorn's configuration for us, with the limits that a connection looks up."""

    def __init__(self, app: ASGIApp, limits: WebLimits) -> None:
        super().__init__(
            app,
            loop="asyncio",
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # the access log tells what is wrong with a request, the application its defects
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=limits.idle,
            timeout_graceful_shutdown=_STOP_GRACE,
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        self.limits = limits


class _Connection(H11Protocol):
    """uvicorn's connection with a deadline for each request's head, and a limit of connections."""

    config: _Config
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        if len(self.connections) > self.config.limits.connections:
            transport.abort()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._awaits_head():
            self._expect_nothing()
        elif self._deadline is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        begun = bool(self.conn.trailing_data[0])
        if begun and self._deadline is None and self._awaits_head():
            self._expect_head()  # the next head began to arrive while this request was answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def _awaits_head(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever its type says
        return cycle is None or cycle.response_complete

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.config.limits.head_within, self._give_up)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._awaits_head():
            self.transport.close()


def _listening_socket(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ServiceUnavailableError(
            f"cannot listen on {address}: {error.strerror}",
            hint="another program may use the port; choose another address under `http:`",
        ) from error
    return listening
