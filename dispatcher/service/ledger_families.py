"""A reading of the ledger as metrics; with `metrics` the only module that knows the library."""

from __future__ import annotations

import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from dispatcher import __version__
from dispatcher.core.backfilling import BackfillState
from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.service.routes import routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.measuring import Measures

    Samples = Iterable[tuple[Sequence[str], float]]

NAMESPACE = "oss_dispatcher"
CODES = 50
"""Codes of dead dispatches that are told by name, the most frequent ones; the others are `other`."""
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the ledger said, when, and how many seconds it took."""

    measures: Measures
    at: datetime
    seconds: float


def families(settings: Settings, path: Path, reading: Reading | None, *, readable: bool) -> Iterator[Metric]:
    """Yield every family, without samples where nothing is known yet. `path` is the ledger's file."""
    yield _one("ledger_readable", "1 if the last reading of the ledger worked.", float(readable))
    yield from _files(path)
    found = None if reading is None else reading.measures
    version = {"version": __version__, "python": platform.python_version()}
    revision = {} if found is None else {"ledger_revision": found.revision}
    yield InfoMetricFamily(f"{NAMESPACE}_build", "The program and its ledger.", value={**version, **revision})
    if reading is None:
        return
    yield _one("ledger_reading_seconds", "How long the last reading of the ledger took.", reading.seconds)
    yield _one("ledger_reading_timestamp_seconds", "When the ledger was read last.", reading.at.timestamp())
    yield from _dispatches(settings, reading.measures, reading.at)
    yield from _trouble(settings, reading.measures)
    yield from _limits(settings, reading.measures)
    yield from _listings(reading.measures)
    yield from _backfills(reading.measures)


def _dispatches(settings: Settings, found: Measures, at: datetime) -> Iterator[Metric]:
    rules = [rule.id for rule in settings.rules.rules]
    states = dict.fromkeys(product(rules, DispatchState), 0) | dict(found.dispatches)
    yield _gauge(
        "dispatches",
        "Dispatches ever made, by state.",
        ("rule", "state"),
        (((rule, state.value), count) for (rule, state), count in states.items()),
    )
    tasks = {(rule, status.value): 0 for rule, status in product(rules, TaskStatus) if status.final} | dict(found.tasks)
    yield _gauge("tasks", "Tasks that dispatches became, by status as last seen.", ("rule", "status"), tasks.items())
    waited = dict.fromkeys(rules, 0.0) | {
        rule: max(0.0, (at - seen).total_seconds()) for rule, seen in found.oldest_waiting.items()
    }
    yield _gauge(
        "oldest_waiting_seconds",
        "How long the live dispatch that waits longest has been waiting.",
        ("rule",),
        (((rule,), seconds) for rule, seconds in waited.items()),
    )
    yield _gauge("dead", "Dead dispatches by the code of their last error.", ("code",), _bounded(found.dead_codes))
    yield _one("undecided_sightings", "Sightings whose content the store is still asked for.", found.undecided)
    yield _gauge(
        "quarantine",
        "Bodies that meant nothing and wait for an operator.",
        ("source",),
        (((source,), count) for source, count in found.quarantined.items()),
    )


def _trouble(settings: Settings, found: Measures) -> Iterator[Metric]:
    missed = dict.fromkeys(settings.rules.buckets(), 0)
    missed |= {bucket: each.found_by_listing_only for bucket, each in found.missed.items()}
    yield _counter(
        "found_by_listing_only",
        "Objects of which no notification came within ten minutes.",
        ("bucket",),
        (((bucket,), count) for bucket, count in missed.items()),
    )
    yield _counter(
        "foreign_starts", "Starts on inputs under a rule that are not ours.", (), [((), found.foreign_starts)]
    )
    yield _counter("double_starts", "Dispatches that became two tasks.", (), [((), found.double_starts)])
    yield _gauge(
        "held",
        "1 for each rule that is held.",
        ("rule", "reason"),
        (((h.rule_id, h.reason.value), 1) for h in found.holds),
    )
    yield _gauge("notice", "1 for each standing notice.", ("code",), (((n.code.value,), 1) for n in found.notices))
    paused = {(route.endpoint.region, route.api.value): 0 for route in routes(settings)}
    for target, health in found.targets.items():
        paused[_place(target)] = int(health.paused_since is not None)
    yield _gauge("target_paused", "1 while calls of an API are paused.", ("region", "api"), paused.items())


def _limits(settings: Settings, found: Measures) -> Iterator[Metric]:
    rates = {api.value: rate.per_second for api, rate in settings.rates.items()}
    configured = {route.target: route.rate.per_second for route in routes(settings)}
    for target in found.shares:
        rate = rates.get(_place(target)[1])
        if rate is not None:
            configured.setdefault(target, rate)
    yield _gauge(
        "rate_limit_per_second",
        "Configured rate of calls.",
        ("region", "api"),
        ((_place(target), rate) for target, rate in configured.items()),
    )
    yield _gauge(
        "rate_allowed_per_second",
        "Rate of calls that is allowed now; throttling lowers it for a while.",
        ("region", "api"),
        ((_place(target), rate * found.shares.get(target, 1.0)) for target, rate in configured.items()),
    )
    limited = [(rule, budget) for rule, budget in found.budgets.items() if budget.limit is not None]
    yield _gauge(
        "budget_limit",
        "Live dispatches that may start today (UTC), with what an operator released.",
        ("rule",),
        (((rule,), (budget.limit or 0) + budget.released) for rule, budget in limited),
    )
    yield _gauge(
        "budget_used",
        "Live dispatches counted against today's budget.",
        ("rule",),
        (((rule,), budget.used) for rule, budget in limited),
    )


def _listings(found: Measures) -> Iterator[Metric]:
    place = ("bucket", "root")
    roots = [((root.bucket, root.root), root) for root in found.roots]
    yield _gauge("snapshot_objects", "Objects of the last listing.", place, ((at, r.entries) for at, r in roots))
    yield _gauge("snapshot_segments", "Segments of the snapshot.", place, ((at, r.segments) for at, r in roots))
    yield _gauge(
        "last_complete_pass_timestamp_seconds",
        "When a pass over the listing was complete last.",
        place,
        ((at, r.listed_at.timestamp()) for at, r in roots if r.listed_at is not None),
    )
    yield _gauge(
        "listing_suspect",
        "1 while so many known objects are missing from the listing that none is forgotten.",
        place,
        ((at, int(r.suspect_pass is not None)) for at, r in roots),
    )


def _backfills(found: Measures) -> Iterator[Metric]:
    rows = [(str(backfill.number), backfill, counts) for backfill, counts in found.backfills]
    yield _gauge(
        "backfill_dispatches",
        "Dispatches of backfills that have not ended, by state.",
        ("backfill", "state"),
        (((number, state.value), counts.of(state)) for number, _, counts in rows for state in DispatchState),
    )
    yield _gauge(
        "backfill_paused",
        "1 for a backfill that is paused, 0 for one that runs.",
        ("backfill",),
        (((number,), int(backfill.state is BackfillState.PAUSED)) for number, backfill, _ in rows),
    )
    yield _gauge(
        "backfill_recorded",
        "1 once all that a backfill covers was recorded.",
        ("backfill",),
        (((number,), int(backfill.recorded_at is not None)) for number, backfill, _ in rows),
    )


def _files(path: Path) -> Iterator[Metric]:
    sizes: dict[tuple[str], int] = {}
    for part, file in (("database", path), ("log", path.with_name(path.name + "-wal"))):
        with suppress(OSError):
            sizes[part,] = file.stat().st_size
    yield _gauge("ledger_bytes", "Size of the ledger's files.", ("file",), sizes.items())
    free: list[tuple[tuple[()], int]] = []
    with suppress(OSError):
        free.append(((), shutil.disk_usage(path.parent).free))
    yield _gauge("ledger_disk_free_bytes", "Free space where the ledger lies.", (), free)


def _place(target: str) -> tuple[str, str]:
    """Return (region, API) of a target's name."""
    _, region, api = target.split("/", maxsplit=2)
    return region, api


def _bounded(codes: Mapping[str, int]) -> list[tuple[tuple[str], int]]:
    ordered = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[CODES:])
    return [*(((code,), count) for code, count in ordered[:CODES]), *([((OTHER,), rest)] if rest else [])]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=labels), samples)


def _counter(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(CounterMetricFamily(f"{NAMESPACE}_{name}", text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _one(name: str, text: str, value: float) -> Metric:
    return _gauge(name, text, (), [((), value)])
