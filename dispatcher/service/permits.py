"""Permits of the reading APIs: sweeps have their own share of the account's quota."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dispatcher.core.observations import Granted, unmetered
from dispatcher.ledger import rates
from dispatcher.service.routes import target_key

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dispatcher.core.calls import Api, Endpoint
    from dispatcher.core.observations import Meter
    from dispatcher.core.ratelimit import Rate
    from dispatcher.ledger.engine import Ledger


def _unheard() -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class ReadPermits:
    """Blocks until one read may pass; returns at once when the program is leaving. Thread-safe.

    `heard` is called before each read: who reads page after page makes progress.
    """

    ledger: Ledger
    rates: Mapping[Api, Rate]
    clock: Callable[[], datetime]
    stop: threading.Event
    meter: Meter = unmetered
    heard: Callable[[], None] = _unheard

    def telling(self, heard: Callable[[], None]) -> ReadPermits:
        """Return the same permits for a part that tells of its progress by its reads."""
        return replace(self, heard=heard)

    def __call__(self, endpoint: Endpoint, api: Api) -> None:
        """Take one permit for a call of this API in this region."""
        target, rate = target_key(endpoint.region, api), self.rates[api]
        while not self.stop.is_set():
            self.heard()
            now = self.clock()
            with self.ledger.write() as tx:
                granted = rates.take(tx, target, rate, 1, now)
                wait = rates.wait(tx, target, rate, now)
            if granted:
                self.meter(Granted(endpoint.region, api, granted))
                return
            self.stop.wait(wait.total_seconds())
