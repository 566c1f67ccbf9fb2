"""The probes: /livez, /readyz and /startupz on the operator's listener, each with its reasons as JSON.

They read what the parts told last and wait for nothing, so a probe is answered while the ledger is locked and
while the cloud is away.
"""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from dispatcher.core.health import ProbeAnswer

PROGRAM = "oss-dispatcher"
"""Named in every answer: whoever asks can tell us from another program on the same port."""
LIVE, READY, STARTUP = "/livez", "/readyz", "/startupz"
_FRESH = {"Cache-Control": "no-store"}


class Probes(Protocol):
    """What answers probes. Thread-safe; never waits."""

    summary: str

    def live(self) -> ProbeAnswer:
        """Tell whether every part makes progress."""
        ...

    def ready(self) -> ProbeAnswer:
        """Tell whether what is seen now can be committed."""
        ...

    def startup(self) -> ProbeAnswer:
        """Tell whether the start is complete."""
        ...


def health_routes(probes: Probes) -> Sequence[BaseRoute]:
    """Return the routes of the probes: 200 where all is well, 503 where not."""
    asked = ((LIVE, probes.live), (READY, probes.ready), (STARTUP, probes.startup))
    return [Route(path, _probe(ask, probes), methods=["GET"]) for path, ask in asked]


def _probe(ask: Callable[[], ProbeAnswer], probes: Probes) -> Callable[[Request], Response]:
    async def answer(_request: Request) -> Response:
        found = ask()
        body = {
            "program": PROGRAM,
            "ok": found.ok,
            "summary": probes.summary,
            "reasons": [asdict(each) for each in found.reasons],
            "notes": [asdict(each) for each in found.notes],
        }
        status = HTTPStatus.OK if found.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(body, status, headers=_FRESH)

    return answer  # type: ignore[return-value]  # Starlette takes a coroutine function where it asks for a function
