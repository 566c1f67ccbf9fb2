"""/metrics on the operator's listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

METRICS = "/metrics"


def metrics_route(render: Callable[[], tuple[bytes, str]]) -> Route:
    """Return the route; `render` returns body and content type, and may take a while: it has a thread of its own."""

    def answer(_request: Request) -> Response:
        body, content_type = render()
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Route(METRICS, answer, methods=["GET"])
