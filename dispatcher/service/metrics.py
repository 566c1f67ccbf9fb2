"""The metrics, for Prometheus: what the parts tell while they work, and what the ledger knows at a scrape.

With `ledger_families` the only module that knows the library; `docs/metrics.md` tells what each metric means.
Counters live as long as the process and never go back. Label values are bounded: rules, sources and buckets are
those of the configuration and the ledger, codes the first few there were, keys never appear.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from dispatcher.core.observations import (
    Became,
    Called,
    CallEnd,
    Granted,
    Judged,
    LetGo,
    Observation,
    PassEnded,
    Quarantined,
    Recorded,
    Sighted,
    SourceAnswered,
    SourceFailed,
)
from dispatcher.errors import LedgerError
from dispatcher.ledger.measuring import measure
from dispatcher.service.ledger_families import NAMESPACE, OTHER, Reading, families
from dispatcher.service.logs import get_logger
from dispatcher.service.routes import routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from prometheus_client.metrics_core import Metric

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger

LEAST_BETWEEN_READINGS = 5.0
"""Seconds for which a reading of the ledger is used again."""
READING_SHARE = 50
"""A reading is also used for so many times as long as it took: counting never takes more than a fiftieth."""
CODES = 50
"""Codes of errors that are told by name; any further one is `other`."""
_CALL_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)
_PASS_SECONDS = (0.05, 0.25, 1, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600)


class Metrics:
    """Implements `core.observations.Meter`, and renders what there is. Thread-safe.

    `monotonic` and `clock` are arguments for the sake of tests.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._counted = _Counted(self._registry, clock)
        self._counted.begin(settings)
        self._registry.register(LedgerReader(settings, ledger, clock, monotonic))
        ProcessCollector(registry=self._registry)

    def __call__(self, seen: Observation, /) -> None:
        """Count what was seen."""
        self._counted.add(seen)

    def render(self) -> tuple[bytes, str]:
        """Return everything in the text format, and its content type. Never raises LedgerError."""
        return generate_latest(_WithoutCreation(self._registry)), CONTENT_TYPE_PLAIN_0_0_4


@dataclass(frozen=True, slots=True)
class _WithoutCreation:
    """A registry without the series that tell when each other one began: they double what is stored."""

    registry: CollectorRegistry

    def collect(self) -> Iterator[Metric]:
        for family in self.registry.collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


class _Counted:
    """What only the process knows."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._codes = _Bounded(CODES)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=NAMESPACE, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, namespace=NAMESPACE, registry=registry, buckets=buckets)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=NAMESPACE, registry=registry)

        self._events = counter("events", "Sightings that sources brought, by format.", "source", "format")
        self._let_go = counter("events_let_go", "Parts of notifications that are no sightings.", "source", "reason")
        self._verdicts = counter("verdicts", "What rules said of sightings under their prefix.", "rule", "reason")
        self._quarantined = counter("quarantined", "Bodies, or parts of one, that meant nothing.", "source")
        self._recorded = counter("recorded", "New dispatches.", "rule", "source")
        self._settled = counter("settled", "Calls by what they made of their dispatch.", "rule", "state")
        self._calls = counter("calls", "Requests to the service.", "api", "outcome")
        self._errors = counter("call_errors", "Requests that the service answered with an error code.", "api", "code")
        self._permits = counter("permits", "Permits taken of the account's quota.", "region", "api")
        self._call_seconds = histogram("call_seconds", "How long requests to the service took.", _CALL_SECONDS, "api")
        self._detection = histogram(
            "detection_lag_seconds", "From the object's time until it was recorded.", _LAG_SECONDS, "source"
        )
        self._end_to_end = histogram(
            "end_to_end_seconds", "From the object's time until its start was answered.", _LAG_SECONDS, "rule"
        )
        self._passes = counter("passes", "Passes over a listing, by whether they came to the end.", "source", "result")
        self._pass_seconds = histogram("pass_seconds", "How long a pass took.", _PASS_SECONDS, "source")
        self._requests = counter("list_requests", "LIST requests of passes.", "source")
        self._bytes = counter("list_bytes", "Bytes of listings.", "source")
        self._segments = counter("segments", "Segments of a listing: skipped as unchanged, or parsed.", "source", "how")
        self._answered = gauge("source_last_success_timestamp_seconds", "When a source was heard of last.", "source")
        self._failures = counter("source_errors", "How often a source refused or failed.", "source")
        self._begun = gauge("start_time_seconds", "When the process began to count.")

    def begin(self, settings: Settings) -> None:
        """Make the series that must be there before anything happens: a rate needs a first value."""
        self._begun.set(self._clock().timestamp())
        for route in routes(settings):
            for end in CallEnd:
                self._calls.labels(route.api.value, end.value)
            self._permits.labels(route.endpoint.region, route.api.value)
        for rule in settings.rules.rules:
            self._end_to_end.labels(rule.id)
        for source in settings.sources:
            self._failures.labels(source.name)

    def add(self, seen: Observation) -> None:  # noqa: C901, PLR0912 - one case for each member of the union
        match seen:
            case Sighted(source, form, count):
                self._events.labels(source, form).inc(count)
            case LetGo(source, reason, count):
                self._let_go.labels(source, reason).inc(count)
            case Judged(rule, reason, count):
                self._verdicts.labels(rule, reason).inc(count)
            case Quarantined(source, count):
                self._quarantined.labels(source).inc(count)
            case Recorded(rule, source, lag):
                self._recorded.labels(rule, source).inc()
                if lag is not None:
                    self._detection.labels(source).observe(lag.total_seconds())
            case Granted(region, api, permits):
                self._permits.labels(region, api).inc(permits)
            case Called():
                self._add_call(seen)
            case Became(rule, state, age):
                self._settled.labels(rule, state.value).inc()
                if age is not None:
                    self._end_to_end.labels(rule).observe(max(0.0, age.total_seconds()))
            case PassEnded():
                self._add_pass(seen)
            case SourceAnswered(source):
                self._answered.labels(source).set(self._clock().timestamp())
            case SourceFailed(source):
                self._failures.labels(source).inc()
            case _:
                assert_never(seen)

    def _add_call(self, seen: Called) -> None:
        self._calls.labels(seen.api, seen.end.value).inc()
        self._call_seconds.labels(seen.api).observe(seen.took.total_seconds())
        if seen.code is not None:
            self._errors.labels(seen.api, self._codes.name(seen.code)).inc()

    def _add_pass(self, seen: PassEnded) -> None:
        self._passes.labels(seen.source, "complete" if seen.complete else "broken").inc()
        self._pass_seconds.labels(seen.source).observe(seen.took.total_seconds())
        self._requests.labels(seen.source).inc(seen.requests)
        self._bytes.labels(seen.source).inc(seen.bytes)
        self._segments.labels(seen.source, "skipped").inc(seen.segments_skipped)
        self._segments.labels(seen.source, "parsed").inc(seen.segments_parsed)


@dataclass
class _Bounded:
    """The first few names there are; memory does not grow with what strangers call things."""

    most: int
    _known: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def name(self, text: str) -> str:
        with self._lock:
            if text not in self._known and len(self._known) >= self.most:
                return OTHER
            self._known.add(text)
            return text


@dataclass(eq=False)
class LedgerReader(Collector):
    """Reads the ledger at a scrape, and not more often than its size allows. Thread-safe.

    A ledger that cannot be read leaves the last reading standing, and says so in `ledger_readable`.
    """

    settings: Settings
    ledger: Ledger
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _last: Reading | None = field(default=None, init=False)
    _readable: bool = field(default=True, init=False)
    _again_at: float = field(default=float("-inf"), init=False)

    def collect(self) -> Iterator[Metric]:
        """Yield what the ledger knows, and about the ledger itself."""
        with self._lock:
            if self.monotonic() >= self._again_at:
                self._read()
            last, readable = self._last, self._readable
        yield from families(self.settings, self.ledger.path, last, readable=readable)

    def _read(self) -> None:
        begun, now = self.monotonic(), self.clock()
        try:
            with self.ledger.read() as tx:
                found = measure(tx, now)
        except LedgerError as error:
            self._readable = False
            self._again_at = begun + LEAST_BETWEEN_READINGS
            get_logger().warning("metrics.stale", error=error.message, hint=error.hint)
            return
        took = self.monotonic() - begun
        self._readable, self._last = True, Reading(found, now, took)
        self._again_at = begun + max(LEAST_BETWEEN_READINGS, READING_SHARE * took)
