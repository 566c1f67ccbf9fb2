"""The public listener as an ASGI application: a POST to a configured path becomes a body for the receiver.

200-range answers come after the commit and never before. Whatever else happens, the answer is a bare
status: what was wrong stands in our log.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, assert_never

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from dispatcher.errors import DispatcherError
from dispatcher.web.admission import Deliver, Nothing
from dispatcher.web.authentication import check_of
from dispatcher.web.bodies import read_body
from dispatcher.web.callbacks import PATH, Callbacks
from dispatcher.web.certificates import Certificates
from dispatcher.web.fetching import HttpsFetch
from dispatcher.web.guarding import AccessLog, Guard
from dispatcher.web.limits import ClientRates, WebLimits
from dispatcher.web.replays import ReplayedError, Replays
from dispatcher.web.requests import RETRY_AFTER, RefusedError, head_of, is_notification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from dispatcher.core.settings import CallbackSettings, WebhookSettings
    from dispatcher.ports import HintTaker, Receiver
    from dispatcher.web.admission import Admission
    from dispatcher.web.authentication import Check
    from dispatcher.web.fetching import Fetch
    from dispatcher.web.requests import RequestHead

_VERIFYING = 4
"""Threads that look at signatures. Apart from those that commit: a forger's certificate may take seconds."""


class Webhooks:
    """The application of the public listener, for `WebServer`. `close` ends its threads.

    With `callbacks` it takes those of IMS as well, and hands them to `hint`.
    """

    def __init__(  # noqa: PLR0913 - what it serves, by name
        self,
        webhooks: Sequence[WebhookSettings],
        receive: Receiver,
        clock: Callable[[], datetime],
        *,
        callbacks: CallbackSettings | None = None,
        hint: HintTaker | None = None,
        limits: WebLimits | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        limits = limits or WebLimits()
        fetch = fetch or HttpsFetch()
        certificates = Certificates(fetch, clock)
        self._threads = _Threads(
            verifying=ThreadPoolExecutor(_VERIFYING, thread_name_prefix="webhook-verify"),
            committing=ThreadPoolExecutor(limits.commits, thread_name_prefix="webhook-commit"),
        )
        hooks = [
            Webhook(
                each,
                check_of(each.authentication, certificates, fetch),
                receive,
                Replays(),
                clock,
                self._threads,
                limits,
            )
            for each in webhooks
        ]
        routes = [Route(hook.settings.path, hook.answer, methods=["GET", "HEAD", "POST"]) for hook in hooks]
        if callbacks is not None and hint is not None:
            routes.append(Route(PATH, Callbacks(callbacks, hint, clock, limits).answer, methods=["POST"]))
        starlette = Starlette(
            routes=routes,
            exception_handlers={RefusedError: _refused, HTTPException: _not_served, Exception: _failed},
        )
        starlette.router.redirect_slashes = False
        self.app: ASGIApp = AccessLog(Guard(starlette, limits, ClientRates(limits.per_client, clock)))

    def close(self) -> None:
        """Wait for what is being verified or committed, and end the threads. Idempotent."""
        self._threads.verifying.shutdown()
        self._threads.committing.shutdown()


@dataclass(frozen=True, slots=True)
class _Threads:
    verifying: ThreadPoolExecutor
    committing: ThreadPoolExecutor


@dataclass(frozen=True)
class Webhook:
    """One path: who may post to it, and what becomes of what is posted."""

    settings: WebhookSettings
    check: Check
    receive: Receiver
    replays: Replays
    clock: Callable[[], datetime]
    threads: _Threads
    limits: WebLimits

    async def answer(self, request: Request) -> Response:
        """Answer a probe, or take a notification: 204 after the commit."""
        request.state.source = self.settings.name
        if request.method in {"GET", "HEAD"}:
            # MinIO and others look whether somebody is there before they send.
            return Response(status_code=HTTPStatus.OK)
        head = head_of(request)
        is_notification(head)
        self.check.admit(head)
        body = await read_body(request, self.limits)
        request.state.bytes = len(body)
        match await self._verify(head, body):
            case Deliver() as delivery:
                loop = asyncio.get_running_loop()
                request.state.note = await loop.run_in_executor(self.threads.committing, self._take, delivery)
            case Nothing(note):
                request.state.note = note
            case other:
                assert_never(other)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _verify(self, head: RequestHead, body: bytes) -> Admission:
        now = self.clock()
        if not self.check.may_block:
            return self.check.verify(head, body, now)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads.verifying, self.check.verify, head, body, now)

    def _take(self, delivery: Deliver) -> str | None:
        """Hand a body to the receiver; return a note for the log where that was not needed."""
        if delivery.once is None:
            self._receive(delivery.body)
            return None
        try:
            with self.replays.once(delivery.once.mark, delivery.once.expires_at, self.clock()):
                self._receive(delivery.body)
        except ReplayedError:
            if not delivery.once.copies_are_redelivery:
                raise
            return "redelivered: taken before"
        return None

    def _receive(self, body: bytes) -> None:
        try:
            self.receive(self.settings.name, body, self.settings.format, self.settings.accept)
        except DispatcherError as error:
            structlog.get_logger().error(
                "webhook.not_taken", source=self.settings.name, error=error.message, hint=error.hint
            )
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "it could not be recorded", RETRY_AFTER) from error


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # noqa: S101 - Starlette calls this for that class alone
    request.state.note = error.reason
    return _bare(error.status, error.headers)


async def _not_served(request: Request, error: Exception) -> Response:
    """Answer what no webhook is there for: 404, or 405 with the methods that are."""
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls this for that class alone
    request.state.note = error.detail
    return _bare(HTTPStatus(error.status_code), error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer 500 to a defect of ours; the sender tries again."""
    structlog.get_logger().error("web.defect", error=repr(error), exc_info=error, hint="please report this defect")
    request.state.note = "defect"
    return _bare(HTTPStatus.INTERNAL_SERVER_ERROR)


def _bare(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    return Response(f"{status.phrase}\n", status, headers, media_type="text/plain")
