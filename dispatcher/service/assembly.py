"""How the parts are put together: from settings to a daemon that is ready to run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dispatcher.core.settings import StoreApi
from dispatcher.ledger import announcing, rulesets
from dispatcher.ledger.rulesets import RuleFacts
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.behind import BehindGate
from dispatcher.service.board import Board, both
from dispatcher.service.counting import rows_only
from dispatcher.service.daemon import Daemon
from dispatcher.service.deciding import Deciding
from dispatcher.service.health import AT_WORK, Health
from dispatcher.service.hints import Hints
from dispatcher.service.intake import Intake
from dispatcher.service.logs import get_logger
from dispatcher.service.opening import coverage_of, make_listener, open_sources
from dispatcher.service.permits import ReadPermits
from dispatcher.service.polling import Poll
from dispatcher.service.routes import targets_of
from dispatcher.service.starts import open_starts
from dispatcher.service.sweeping import Sweeper
from dispatcher.service.upkeep import Upkeep
from dispatcher.service.worker import Worker
from dispatcher.sources.opening import open_bucket
from dispatcher.sources.s3 import keys_of_boto3
from dispatcher.targets.alibaba import AlibabaClients, keys_of_alibaba
from dispatcher.targets.jobs import AlibabaJobs
from dispatcher.targets.target import AlibabaTarget
from dispatcher.targets.tasks import AlibabaTasks

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dispatcher.core.observations import Meter
    from dispatcher.core.settings import BucketSettings, Credentials, Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.rulesets import Registered
    from dispatcher.service.metrics import Metrics
    from dispatcher.sources.store import StoreBucket


def assemble(  # noqa: PLR0913 - what it is put together from, by name
    settings: Settings,
    ledger: Ledger,
    clock: Callable[[], datetime],
    stop: threading.Event,
    *,
    shadow: bool,
    yields: bool = False,
    metrics: Metrics | None = None,
) -> Daemon:
    """Put a dispatcher together. Takes the right to send, and makes the rules the current ones. One that
    `yields` the right lets a daemon have it. `metrics` is told what the parts do, and served.

    Raises LedgerLockedError if another process sends from this ledger, ConfigError if a rule changed its
    id without saying so. Nothing is listed or called yet.
    """
    health = Health()
    board = Board(clock)
    meter: Meter = board if metrics is None else both(board, metrics)
    incarnation = ledger.become_sender(clock(), yields=yields)
    if incarnation.recovered:
        get_logger().warning(
            "dispatch.uncertain", rows=incarnation.recovered, reason="their sender died during the call"
        )
    registered = register(settings, ledger, clock())
    clients = AlibabaClients(settings.credentials, call_timeout=settings.call_timeout, meter=meter)
    permits = ReadPermits(ledger, settings.rates, clock, stop, meter=meter)
    target = AlibabaTarget(
        clients, not_started_codes=settings.not_started_codes, before_read=permits, pause=partial(_pause, stop)
    )
    following = permits.telling(partial(health.expect, "upkeep", AT_WORK))
    comparing = permits.telling(partial(health.expect, "worker", AT_WORK))
    tasks = AlibabaTasks(clients, before_read=following, pause=partial(_pause, stop))
    gate = BehindGate(ledger, open_starts(settings, clients, comparing, stop), clock)
    worker = (
        None
        if shadow
        else Worker(settings, ledger, incarnation, target, clock=clock, gate=gate, meter=meter, health=health)
    )
    wake = (lambda: None) if worker is None else worker.wake
    with ledger.write() as tx:
        since = rulesets.since(tx)
        announcing.uncover(tx, coverage_of(settings).announced)
    intake = Intake(
        ledger,
        settings.rules,
        registered.first_revision,
        clock,
        wake,
        shadow,
        since,
        coverage_of(settings),
        meter=meter,
        health=health,
    )
    # Each part has connections of its own: every request of it tells of its progress, and of no other's.
    polls = make_polls(
        settings,
        ledger,
        intake,
        open_buckets(settings, lambda bucket: health.expect(f"poll:{bucket}", AT_WORK)),
        registered,
    )
    stores = open_buckets(settings, lambda _bucket: health.expect("sightings", AT_WORK))
    jobs = AlibabaJobs(clients, before_read=following, pause=partial(_pause, stop))
    hints = Hints()
    sweeper = Sweeper(settings, ledger, tasks, jobs, clock, stop)
    daemon = Daemon(
        settings=settings,
        ledger=ledger,
        polls=polls,
        sources=open_sources(settings, ledger, registered, meter),
        intake=intake,
        worker=worker,
        # What it brings to intake was counted when it was first sighted.
        deciding=Deciding(ledger, stores, replace(intake, meter=rows_only(meter)), clock, stop),
        upkeep=Upkeep(settings, ledger, tasks, jobs, hints, sweeper, clock, stop),
        stop=stop,
        meter=meter,
        health=health,
    )
    # Imported here: the page's desk opens what this module puts together.
    from dispatcher.service.desk.opening import page_of  # noqa: PLC0415 - as above

    page = page_of(daemon, board, clock, shadow=shadow)
    daemon.listener = make_listener(settings, intake, hints, clock, daemon.fail, metrics=metrics, page=page)
    return daemon


def _pause(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


def register(settings: Settings, ledger: Ledger, now: datetime) -> Registered:
    """Make the configured rules the ledger's current ones, and say what changed."""
    facts = [
        RuleFacts(
            rule_id=rule.id,
            was=rule.was,
            input=str(rule.input),
            action=rule.action_name,
            existing_wanted=rule.existing.dispatch,
            budget=rule.budget,
            target=targets_of(settings, rule)[-1],
            first_target=targets_of(settings, rule)[0],
        )
        for rule in settings.rules.rules
    ]
    with ledger.write() as tx:
        registered = rulesets.register(tx, facts, now)
    log = get_logger().bind(revision=registered.revision)
    for event, rules in (("rule.added", registered.added), ("rule.removed", registered.removed)):
        for rule in rules:
            log.info(event, rule=rule)
    for old, new in (registered.renamed or {}).items():
        log.info("rule.renamed", rule=new, was=old)
    return registered


def open_buckets(settings: Settings, heard: Callable[[str], None] = lambda _: None) -> dict[str, StoreBucket]:
    """Return the buckets that rules read, each with the keys it takes. Nothing is requested yet.

    `heard` is called with a bucket's name before each request, also before one that is tried again.
    """
    return {
        name: open_bucket(
            settings.buckets[name], _telling(keys_of(settings, settings.buckets[name]), partial(heard, name))
        )
        for name in settings.rules.buckets()
    }


def _telling(keys: Callable[[], Credentials], heard: Callable[[], None]) -> Callable[[], Credentials]:
    def provide() -> Credentials:
        heard()
        return keys()

    return provide


def keys_of(settings: Settings, bucket: BucketSettings) -> Callable[[], Credentials]:
    """Return where a bucket's keys come from: its own, the account's on OSS, else boto3's chain."""
    own = bucket.credentials
    if own is not None:
        return lambda: own
    alibaba = bucket.on_oss or bucket.api is StoreApi.OSS
    return keys_of_alibaba(settings.credentials) if alibaba else keys_of_boto3()


def make_polls(
    settings: Settings, ledger: Ledger, intake: Intake, stores: Mapping[str, StoreBucket], registered: Registered
) -> tuple[Poll, ...]:
    """Return one poll for each bucket, none where polling is off; they share the month's requests."""
    polls: list[Poll] = []
    if settings.poll is None:
        return ()
    for name, store in stores.items():
        rules = [rule for rule in settings.rules.rules if rule.input.bucket == name]
        polls.append(
            Poll(
                bucket=settings.buckets[name],
                rules=rules,
                roots=settings.rules.roots(name),
                settings=settings.poll,
                revision=registered.revision,
                memory=LedgerSnapshots(ledger),
                lister=store,
                intake=intake,
                ledger=ledger,
                existing_pending={rule.id for rule in rules} & set(registered.existing_pending),
                others=partial(_requests_of_others, polls, name),
                meter=intake.meter,
            )
        )
    return tuple(polls)


def _requests_of_others(polls: list[Poll], name: str) -> int:
    return sum(poll.requests for poll in polls if poll.bucket.name != name)
