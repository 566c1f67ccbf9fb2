"""The daemon: how the parts run together, and in which order they leave."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from dispatcher.core.health import Condition
from dispatcher.core.observations import unmetered
from dispatcher.errors import DispatcherError, ExitCode
from dispatcher.ledger.failures import LedgerFullError, LedgerLockedError
from dispatcher.service.beacon import Beacon
from dispatcher.service.health import Health
from dispatcher.service.logs import get_logger
from dispatcher.service.notifying import ServiceManager
from dispatcher.service.receiving import Receiving
from dispatcher.service.ticks import Ticks
from dispatcher.service.watching import LedgerWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dispatcher.core.observations import Meter
    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import Source
    from dispatcher.service.deciding import Deciding
    from dispatcher.service.intake import Intake
    from dispatcher.service.listening import Listener
    from dispatcher.service.polling import Poll
    from dispatcher.service.upkeep import Upkeep
    from dispatcher.service.worker import Worker

LOOK_EVERY = timedelta(seconds=1)
"""Between two looks at what upkeep has to do; what is due when stands in the ledger."""
DECIDE_EVERY = timedelta(milliseconds=250)
"""Between two looks for sightings to decide: how late a notification starts its object at most."""
COUNT_EVERY = timedelta(minutes=1)
CLEAN_EVERY = timedelta(minutes=10)
LEDGER_PAUSE = timedelta(seconds=5)
LEAVE_WITHIN = timedelta(seconds=10)
"""What leaving takes beside the drain: listeners, and the ledger's last page."""


@dataclass
class Daemon:
    """All parts of a running dispatcher. `worker` is None in shadow mode: then nothing is called."""

    settings: Settings
    ledger: Ledger
    polls: tuple[Poll, ...]
    sources: tuple[Source, ...]
    intake: Intake
    worker: Worker | None
    deciding: Deciding
    upkeep: Upkeep
    stop: threading.Event
    meter: Meter = unmetered
    listener: Listener | None = None
    failure: BaseException | None = None
    health: Health = field(default_factory=Health)
    manager: ServiceManager = field(default_factory=ServiceManager)
    receiving: tuple[Receiving, ...] = ()

    def run_until_stopped(self) -> ExitCode:
        """Run until a signal, then drain. A part that fails for good ends the process: a supervisor restarts it.

        Sources of notifications start before the first pass: what is uploaded meanwhile is told by one of them.
        """
        sender = self.start_worker()
        beacon = Beacon(self.manager, self.health)
        try:
            receivers = self.start_sources()
        except DispatcherError:
            self.stop.set()
            self.drain(None, sender)
            raise
        ticks = self._ticks()
        ticks.start()
        self.health.started()
        get_logger().info(
            "daemon.ready", buckets=len(self.polls), sources=len(self.sources), rules=len(self.settings.rules.rules)
        )
        beacon.start()
        self.stop.wait()
        code = self.drain(ticks, sender, receivers)
        beacon.stop()
        return code

    def _ticks(self) -> Ticks:
        watch = LedgerWatch(self.settings, self.ledger, self.health, self.upkeep.clock, self.troubles)
        watch.tick()
        ticks = Ticks(len(self.polls) + 5, self.fail, self.health)
        ticks.add("health", watch.tick)
        for poll in self.polls:
            ticks.add(f"poll:{poll.bucket.name}", partial(poll.tick, self.stop))
        if self.worker is not None:
            ticks.add("upkeep", self._guarded(self.upkeep.tick, self._look_every()))
        ticks.add("sightings", self._guarded(self.deciding.tick, DECIDE_EVERY))
        ticks.add("missed", self._guarded(self.upkeep.count_missed, COUNT_EVERY))
        ticks.add("clean", self._guarded(self.upkeep.clean, CLEAN_EVERY))
        return ticks

    def troubles(self) -> Iterator[Condition]:
        """Yield what listings and sources of notifications failed with last. Waits for nobody."""
        for poll in self.polls:
            if poll.failure is not None:
                yield Condition(
                    "listing_failed", f"bucket {poll.bucket.name}: {poll.failure.message}", poll.failure.hint
                )
        for each in self.receiving:
            if each.failure is not None:
                yield Condition("source_failed", f"{each.source.name}: {each.failure.message}", each.failure.hint)

    def drain(
        self, ticks: Ticks | None, sender: threading.Thread | None, receivers: Sequence[threading.Thread] = ()
    ) -> ExitCode:
        """Leave in this order: sightings, calls, ledger.

        First no new pass and no new look begins, and a running pass ends at its next batch, which is
        committed whole: nothing is half recorded. What is pushed to us is refused from now on, and what a
        queue gave and was not committed comes again; the probes are answered to the end. Then the calls in
        flight end, each has a time-out, and their outcomes are written: nothing becomes uncertain by our
        leaving. The ledger, and with it the right to send, goes last (`run` closes it).
        """
        within = self.settings.drain_timeout
        deadline = time.monotonic() + within.total_seconds()
        self.health.stopping(within + LEAVE_WITHIN)
        self.manager.stopping("draining: calls in flight end and are written", within + LEAVE_WITHIN)
        get_logger().info("daemon.draining", within_seconds=self.settings.drain_timeout.total_seconds())
        if self.listener is not None:
            self.listener.refuse()
        drained = ticks is None or ticks.stop(deadline)
        for receiver in receivers:
            receiver.join(max(0.0, deadline - time.monotonic()))
            drained = drained and not receiver.is_alive()
        if sender is not None and self.worker is not None:
            self.worker.wake()
            sender.join(max(0.0, deadline - time.monotonic()))
            drained = drained and not sender.is_alive()
        if self.listener is not None:
            self.listener.stop()
        if self.failure is not None:
            return self._tell_failure(self.failure)
        get_logger().info("daemon.stopped", drained=drained)
        return ExitCode.DONE if drained else ExitCode.STOPPED_EARLY

    def start_worker(self) -> threading.Thread | None:
        """Start the sending thread; None in shadow mode."""
        if self.worker is None:
            return None
        thread = threading.Thread(target=self._work, args=(self.worker,), name="worker", daemon=True)
        thread.start()
        return thread

    def start_upkeep(self) -> Ticks:
        """Start what follows tasks and ends rows, and nothing that detects."""
        ticks = Ticks(2, self.fail)
        ticks.add("upkeep", self._guarded(self.upkeep.tick, self._look_every()))
        ticks.add("clean", self._guarded(self.upkeep.clean, CLEAN_EVERY))
        ticks.start()
        return ticks

    def start_sources(self) -> list[threading.Thread]:
        """Start a thread for each source of notifications, and the listener. Raises ServiceUnavailableError."""
        if self.listener is not None:
            self.listener.start()
        self.receiving = tuple(Receiving(each, self.intake, self.fail, meter=self.meter) for each in self.sources)
        return [each.start(self.stop) for each in self.receiving]

    def _work(self, worker: Worker) -> None:
        try:
            worker.run(self.stop)
        except Exception as error:  # noqa: BLE001 - top of a thread
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Remember what ended a part, and end the others: half a dispatcher is worse than a restarted one."""
        if self.failure is None:
            self.failure = error
        self.stop.set()

    @staticmethod
    def _tell_failure(failure: BaseException) -> ExitCode:
        if isinstance(failure, DispatcherError):
            get_logger().error("daemon.failed", error=failure.message, hint=failure.hint)
            return failure.exit_code
        get_logger().error("daemon.failed", error=repr(failure), exc_info=failure, hint="please report this defect")
        return ExitCode.UNAVAILABLE

    @staticmethod
    def _guarded(part: Callable[[], None], every: timedelta) -> Callable[[], timedelta]:
        def run() -> timedelta:
            try:
                part()
            except (LedgerFullError, LedgerLockedError) as error:
                get_logger().error("ledger.refused", error=error.message, hint=error.hint)
                return LEDGER_PAUSE
            return every

        return run

    def _look_every(self) -> timedelta:
        return min(LOOK_EVERY, self.settings.uncertain.every)


def utc_now() -> datetime:
    """Read the clock; the one place of the services that does."""
    return datetime.now(UTC)
