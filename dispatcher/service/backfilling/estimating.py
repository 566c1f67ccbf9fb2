"""The dry run: the same look and the same decisions as a backfill, counted and not written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.core.estimates import Estimate, RuleTally, time_needed
from dispatcher.ledger import recording
from dispatcher.service.routes import steps_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a backfill would do: at most `most` of the estimated starts, their calls, and how long these take."""

    estimate: Estimate
    starts: int
    calls: Mapping[Api, int]
    needed: timedelta
    most: int | None


def forecast(settings: Settings, estimate: Estimate, max_rate: Rate | None, most: int | None) -> Forecast:
    """Return what the estimated starts need, at the configured rates and the backfill's own."""
    starts = estimate.starts if most is None else min(most, estimate.starts)
    steps = {rule.id: tuple(api for api, _ in steps_of(rule)) for rule in settings.rules.rules}
    # Of which rules a limit takes how many is not known before: each its share.
    calls = {api: -(-count * starts // estimate.starts) for api, count in estimate.calls(steps).items()}
    return Forecast(estimate, starts, calls, time_needed(calls, settings.rates, max_rate), most)
