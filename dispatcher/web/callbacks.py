"""Completion callbacks of IMS: answered at once, and nothing but a hint where to look.

The service allows three seconds, tries twice more, and then drops the event. So nothing is read or written
before the answer; what a callback says is never evidence.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.responses import Response

from dispatcher.core.callbacks import callback_signature, named_task
from dispatcher.web.bodies import read_body
from dispatcher.web.requests import RefusedError, head_of, is_notification

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from dispatcher.core.settings import CallbackSettings
    from dispatcher.ports import HintTaker
    from dispatcher.web.limits import WebLimits
    from dispatcher.web.requests import RequestHead

PATH = "/callbacks/ims"
OLDEST = timedelta(minutes=5)
"""How far the time of a callback may be from ours."""
TELL_EVERY = timedelta(minutes=1)
"""Refused callbacks are told at most so often: anybody can send them."""
_DIGITS = 12


@dataclass
class Callbacks:
    """The path of completion callbacks. One thread (the event loop's)."""

    settings: CallbackSettings
    hint: HintTaker
    clock: Callable[[], datetime]
    limits: WebLimits
    _told_at: datetime | None = field(default=None, init=False)
    _untold: int = field(default=0, init=False)

    async def answer(self, request: Request) -> Response:
        """Answer 200 to a genuine callback, whatever it is about. Raises RefusedError (401, 403) for others."""
        request.state.source = "ims"
        request.state.quiet = True
        try:
            head = head_of(request)
            is_notification(head)
            self._authenticate(head)
            body = await read_body(request, self.limits)
        except RefusedError as refused:
            self._tell(refused)
            raise
        request.state.bytes = len(body)
        named = named_task(body)
        if named is not None:
            self.hint(named)
        return Response(status_code=HTTPStatus.OK)

    def _authenticate(self, head: RequestHead) -> None:
        key = self.settings.auth_key
        if key is None:
            return  # the configuration allows it on a loopback listener alone
        timestamp = head.required("x-ice-timestamp")
        signature = head.required("x-ice-signature")
        expected = callback_signature(self.settings.url, timestamp, key.value)
        if not hmac.compare_digest(signature.encode("latin-1"), expected.encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the signature is wrong: see callbacks: url and auth_key")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the time of the callback is none")
        if abs(self.clock() - datetime.fromtimestamp(int(timestamp), UTC)) > OLDEST:
            raise RefusedError(HTTPStatus.FORBIDDEN, "the callback is too old, or a clock is wrong")

    def _tell(self, refused: RefusedError) -> None:
        self._untold += 1
        now = self.clock()
        if self._told_at is None or now - self._told_at >= TELL_EVERY:
            structlog.get_logger().warning(
                "callback.refused", status=int(refused.status), reason=refused.reason, refused=self._untold
            )
            self._told_at, self._untold = now, 0
