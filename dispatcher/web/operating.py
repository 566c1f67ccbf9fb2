"""The operator's application, and how it shares one loopback listener with the webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette

from dispatcher.web.guarding import Guard
from dispatcher.web.limits import ClientRates, WebLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send


def operator_app(
    routes: Sequence[BaseRoute], clock: Callable[[], datetime], *, limits: WebLimits | None = None
) -> ASGIApp:
    """Return the application of `http.listen`, within the limits of any listener."""
    limits = limits or WebLimits()
    starlette = Starlette(routes=list(routes))
    starlette.router.redirect_slashes = False
    return Guard(starlette, limits, ClientRates(limits.per_client, clock))


class Shared:
    """Two applications on one listener: some paths are the public one's, all others the operator's."""

    def __init__(self, operator: ASGIApp, public: ASGIApp, public_paths: Collection[str]) -> None:
        self._operator = operator
        self._public = public
        self._public_paths = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on by its path."""
        chosen = self._public if scope.get("path") in self._public_paths else self._operator
        await chosen(scope, receive, send)
