"""Putting the page and the API together: routes for the operator's listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.web.page.access import Access
from dispatcher.web.page.api import Api
from dispatcher.web.page.views import Views
from dispatcher.web.page.working import Working

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from starlette.routing import BaseRoute

    from dispatcher.core.settings import HttpSettings
    from dispatcher.web.page.desk import Changes, Looks


def page_routes(
    http: HttpSettings, looks: Looks, changes: Changes, clock: Callable[[], datetime]
) -> Sequence[BaseRoute]:
    """Return the routes of the API and of the page; the last one answers for every path that is not there."""
    access, working = Access.of(http.listen, http.token, http.hosts, clock), Working()
    api = Api(looks, changes, access, working)
    return [*api.routes(), *Views(looks, changes, access, working, clock).routes()]
