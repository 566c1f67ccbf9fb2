"""How the parts are put together: from settings to a daemon that is ready to run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dispatcher.core.settings import StoreApi
from dispatcher.ledger import announcing, rulesets
from dispatcher.ledger.rulesets import RuleFacts
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.service.behind import BehindGate
from dispatcher.service.daemon import Daemon
from dispatcher.service.deciding import Deciding
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

    from dispatcher.core.settings import BucketSettings, Credentials, Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.rulesets import Registered
    from dispatcher.sources.store import StoreBucket


def assemble(  # noqa: PLR0913 - what it is put together from, by name
    settings: Settings,
    ledger: Ledger,
    clock: Callable[[], datetime],
    stop: threading.Event,
    *,
    shadow: bool,
    yields: bool = False,
) -> Daemon:
    """Put a dispatcher together. Takes the right to send, and makes the rules the current ones. One that
    `yields` the right lets a daemon have it.

    Raises LedgerLockedError if another process sends from this ledger, ConfigError if a rule changed its
    id without saying so. Nothing is listed or called yet.
    """
    incarnation = ledger.become_sender(clock(), yields=yields)
    if incarnation.recovered:
        get_logger().warning(
            "dispatch.uncertain", rows=incarnation.recovered, reason="their sender died during the call"
        )
    registered = register(settings, ledger, clock())
    clients = AlibabaClients(settings.credentials, call_timeout=settings.call_timeout)
    permits = ReadPermits(ledger, settings.rates, clock, stop)
    target = AlibabaTarget(
        clients, not_started_codes=settings.not_started_codes, before_read=permits, pause=partial(_pause, stop)
    )
    tasks = AlibabaTasks(clients, before_read=permits, pause=partial(_pause, stop))
    gate = BehindGate(ledger, open_starts(settings, clients, permits, stop), clock)
    worker = None if shadow else Worker(settings, ledger, incarnation, target, clock=clock, gate=gate)
    wake = (lambda: None) if worker is None else worker.wake
    with ledger.write() as tx:
        since = rulesets.since(tx)
        announcing.uncover(tx, coverage_of(settings).announced)
    intake = Intake(
        ledger, settings.rules, registered.first_revision, clock, wake, shadow, since, coverage_of(settings)
    )
    stores = open_buckets(settings)
    polls = make_polls(settings, ledger, intake, stores, registered)
    jobs = AlibabaJobs(clients, before_read=permits, pause=partial(_pause, stop))
    hints = Hints()
    sweeper = Sweeper(settings, ledger, tasks, jobs, clock, stop)
    daemon = Daemon(
        settings=settings,
        ledger=ledger,
        polls=polls,
        sources=open_sources(settings, ledger, registered),
        intake=intake,
        worker=worker,
        deciding=Deciding(ledger, stores, intake, clock, stop),
        upkeep=Upkeep(settings, ledger, tasks, jobs, hints, sweeper, clock, stop),
        stop=stop,
    )
    daemon.listener = make_listener(settings, intake, hints, clock, daemon.fail)
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


def open_buckets(settings: Settings) -> dict[str, StoreBucket]:
    """Return the buckets that rules read, each with the keys it takes. Nothing is requested yet."""
    return {
        name: open_bucket(settings.buckets[name], keys_of(settings, settings.buckets[name]))
        for name in settings.rules.buckets()
    }


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
            )
        )
    return tuple(polls)


def _requests_of_others(polls: list[Poll], name: str) -> int:
    return sum(poll.requests for poll in polls if poll.bucket.name != name)
