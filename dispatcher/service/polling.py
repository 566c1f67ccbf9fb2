"""Polling: the passes over the roots of one bucket, and when the next ones are due."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.core.location import object_url
from dispatcher.core.observations import SourceFailed, unmetered
from dispatcher.core.pacing import Forecast, next_pass
from dispatcher.errors import DispatcherError
from dispatcher.ledger import accounting, rulesets
from dispatcher.service.counting import count_pass
from dispatcher.service.intake import Taken
from dispatcher.service.logs import get_logger
from dispatcher.sources.bucket import BucketSource, Wanted

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from dispatcher.core.observations import Meter
    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import BucketSettings, PollSettings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import SnapshotMemory
    from dispatcher.service.intake import Intake
    from dispatcher.sources.paging import Lister


@dataclass
class Poll:
    """The listing of one bucket. One thread at a time.

    `others` tells the requests of the last round over the other buckets. `existing_pending` holds
    rules that still have to get the objects older than themselves: the next complete pass over their
    root gives them.
    """

    bucket: BucketSettings
    rules: Sequence[Rule]
    roots: Sequence[str]
    settings: PollSettings
    revision: int
    memory: SnapshotMemory
    lister: Lister
    intake: Intake
    ledger: Ledger
    existing_pending: set[str]
    others: Callable[[], int]
    meter: Meter = unmetered
    failure: DispatcherError | None = field(default=None, init=False)
    requests: int = field(default=0, init=False)
    _sources: dict[str, BucketSource] = field(default_factory=dict, init=False)
    _empty: set[str] = field(default_factory=set, init=False)
    _forecast_told: bool = field(default=False, init=False)
    _uncounted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for root in self.roots:
            self._sources[root] = BucketSource(
                self.bucket, root, self.memory, self.lister, self.revision, roots=self.roots
            )

    def tick(self, stop: threading.Event) -> timedelta:
        """Make one pass over each root; return how long to wait for the next one.

        What the store refuses is logged and kept in `failure`; the other roots are still listed.
        """
        failure: DispatcherError | None = None
        requests = 0
        for root, source in self._sources.items():
            if stop.is_set():
                break
            try:
                self._pass(root, source, stop)
            except DispatcherError as error:
                failure = error
                self.meter(SourceFailed(source.name))
                self._tell_failure(root, error)
            requests += source.report.requests
            count_pass(self.meter, source.name, source.report)
        failure = self._count_requests(requests) or failure
        self.failure, self.requests = failure, requests
        forecast = next_pass(self.settings, requests=requests, requests_elsewhere=self.others())
        if failure is None and not stop.is_set():
            self._tell_forecast(forecast)
        return forecast.wait

    def _count_requests(self, requests: int) -> DispatcherError | None:
        """Add to the account what listing took; what the ledger refuses now is added the next time."""
        self._uncounted += requests
        try:
            with self.ledger.write() as tx:
                accounting.note_list_requests(tx, self.bucket.name, self._uncounted, self.intake.clock())
        except DispatcherError as error:
            return error
        self._uncounted = 0
        return None

    def _pass(self, root: str, source: BucketSource, stop: threading.Event) -> None:
        under = [rule for rule in self.rules if any(shape.prefix.startswith(root) for shape in rule.shapes)]
        pending = {rule.id for rule in under} & self.existing_pending
        source.wanted = Wanted(existing=any(rule.existing.dispatch for rule in under), everything=bool(pending))
        taken = Taken()
        for batch in source.batches(stop):
            taken += self.intake.take(batch)
        report = source.report
        if not report.complete:
            return
        if pending:
            with self.ledger.write() as tx:
                for rule_id in pending:
                    rulesets.mark_existing_done(tx, rule_id)
            self.existing_pending -= pending
        self._tell(root, source, taken)

    def _tell(self, root: str, source: BucketSource, taken: Taken) -> None:
        report = source.report
        log = get_logger().bind(bucket=self.bucket.name, root=root)
        if report.baseline:
            log.info(
                "baseline.complete",
                existing=report.existing,
                recorded=taken.recorded,
                hint="existing objects are not started; what would start them, and how many:"
                f" oss-dispatcher backfill --prefix {object_url(self.bucket.name, root)} --dry-run",
            )
        if report.suspect is not None:
            log.error(
                "listing.suspect",
                missing=report.suspect.missing,
                hint="so many known objects are missing that none is forgotten; if they were deleted, all is well",
            )
        if report.empty and root not in self._empty:
            log.warning(
                "listing.empty",
                hint="all known objects are missing; none is forgotten before others are listed; if they were"
                " deleted, all is well",
            )
        (self._empty.add if report.empty else self._empty.discard)(root)
        write = log.info if report.new or taken.recorded else log.debug
        write(
            "pass.complete",
            listed=report.listed,
            new=report.new,
            recorded=taken.recorded,
            requests=report.requests,
            bytes=report.bytes,
            seconds=round(report.seconds, 3),
        )

    def _tell_forecast(self, forecast: Forecast) -> None:
        if self._forecast_told:
            return
        self._forecast_told = True
        get_logger().info(
            "poll.forecast",
            bucket=self.bucket.name,
            requests_a_pass=self.requests,
            every_seconds=forecast.wait.total_seconds(),
            requests_a_month=forecast.requests_per_month,
            allowed_a_month=self.settings.requests_per_month,
        )

    def _tell_failure(self, root: str, error: DispatcherError) -> None:
        get_logger().error("pass.failed", bucket=self.bucket.name, root=root, error=error.message, hint=error.hint)
