"""The dry run: the same look and the same decisions as a backfill, counted and not written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.estimates import Estimate, RuleTally, time_needed
from dispatcher.ledger import recording
from dispatcher.service.routes import steps_of

if TYPE_CHECKING:
    import threading
    from collections import Counter
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from dispatcher.core.calls import Api
    from dispatcher.core.events import ObjectEvent
    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.recording import NewDispatch
    from dispatcher.service.backfilling.matching import Candidate, Matching
    from dispatcher.service.backfilling.objects import Objects


@dataclass(frozen=True)
class Estimating:
    """Counts what a backfill would do. `ledger` None: there is none yet, so nothing was dispatched before.

    What an inventory tells is taken as it is: nothing is asked of the store for it.
    """

    matching: Matching
    ledger: Ledger | None
    tell: Callable[[Estimate], None]

    def estimate(self, objects: Objects, stop: threading.Event) -> Estimate:
        """Look at everything once and count it. Ends early once `stop` is set. Raises DispatcherError."""
        found = Estimate({rule.id: RuleTally() for rule in self.matching.rules.rules})
        for events in objects.pages(stop):
            self._add(found, events)
            found.list_requests = objects.requests
            self.tell(found)
        found.list_requests = objects.requests
        return found

    def _add(self, found: Estimate, events: Sequence[ObjectEvent]) -> None:
        candidates = self.matching.select(events)
        rows = [self._rows(candidate) for candidate in candidates]
        known = self._known([row for of_object in rows for row in of_object])
        found.listed += len(events)
        found.matched += len(candidates)
        for candidate, of_object in zip(candidates, rows, strict=True):
            event = candidate.event
            told = {row.rule_id: row.dispatch_id in known or not known.isdisjoint(row.aliases) for row in of_object}
            for rule in candidate.rules:
                found.add(rule.id, event.bucket, event.key, event.size, known=told.get(rule.id, False))
            found.head_requests += not event.decided and not (told and all(told.values()))

    def _rows(self, candidate: Candidate) -> list[NewDispatch]:
        event = candidate.event
        return [] if event.etag is None or event.size is None else self.matching.rows(candidate)

    def _known(self, rows: Sequence[NewDispatch]) -> set[str]:
        if self.ledger is None:
            return set()
        with self.ledger.read() as tx:
            return recording.known_ids(tx, {each for row in rows for each in (row.dispatch_id, *row.aliases)})


def calls_needed(settings: Settings, estimate: Estimate) -> Counter[Api]:
    """Return how many calls of each API the estimated starts need."""
    return estimate.calls({rule.id: tuple(api for api, _ in steps_of(rule)) for rule in settings.rules.rules})


def time_estimated(settings: Settings, estimate: Estimate, max_rate: Rate | None, most: int | None) -> timedelta:
    """Return how long the estimated calls take at least, at the configured rates and the backfill's own."""
    needed = time_needed(calls_needed(settings, estimate), settings.rates, max_rate)
    if most is None or not estimate.starts or most >= estimate.starts:
        return needed
    return needed * (most / estimate.starts)
