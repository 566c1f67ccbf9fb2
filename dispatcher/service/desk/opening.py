"""Opening the desk of a running dispatcher: what its page looks at and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.service.desk.changing import Changing
from dispatcher.service.desk.looking import Looking
from dispatcher.web.page.mounting import page_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from starlette.routing import BaseRoute

    from dispatcher.errors import DispatcherError
    from dispatcher.service.board import Board
    from dispatcher.service.daemon import Daemon


def page_of(daemon: Daemon, board: Board, clock: Callable[[], datetime], *, shadow: bool) -> Sequence[BaseRoute]:
    """Return the routes of the page and the API of a dispatcher that is being put together."""

    def failures() -> dict[str, DispatcherError]:
        listings = {f"poll:{each.bucket.name}": each.failure for each in daemon.polls}
        sources = {each.source.name: each.failure for each in daemon.receiving}
        return {name: failure for name, failure in {**listings, **sources}.items() if failure is not None}

    def changed() -> None:
        looking.forget()
        if daemon.worker is not None:
            daemon.worker.wake()

    looking = Looking(lambda: daemon.settings, daemon.ledger, clock, daemon.health, board, failures, shadow)
    changing = Changing(lambda: daemon.settings, daemon.ledger, clock, changed)
    return page_routes(daemon.settings.http, looking, changing, clock)
