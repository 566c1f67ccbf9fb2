"""The daemon: how the parts run together, and in which order they leave."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from dispatcher.errors import DispatcherError, ExitCode
from dispatcher.ledger.failures import LedgerFullError, LedgerLockedError
from dispatcher.service.logs import get_logger
from dispatcher.service.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.polling import Poll
    from dispatcher.service.upkeep import Upkeep
    from dispatcher.service.worker import Worker

LOOK_EVERY = timedelta(seconds=1)
"""Between two looks at what upkeep has to do; what is due when stands in the ledger."""
CLEAN_EVERY = timedelta(minutes=10)
LEDGER_PAUSE = timedelta(seconds=5)


@dataclass
class Daemon:
    """All parts of a running dispatcher. `worker` is None in shadow mode: then nothing is called."""

    settings: Settings
    ledger: Ledger
    polls: tuple[Poll, ...]
    worker: Worker | None
    upkeep: Upkeep
    stop: threading.Event
    failure: BaseException | None = None

    def run_until_stopped(self) -> ExitCode:
        """Run until a signal, then drain. A part that fails for good ends the process: a supervisor restarts it."""
        sender = self.start_worker()
        ticks = Ticks(len(self.polls) + 2, self._failed)
        for poll in self.polls:
            ticks.add(f"poll:{poll.bucket.name}", partial(poll.tick, self.stop))
        if self.worker is not None:
            ticks.add("upkeep", self._guarded(self.upkeep.tick, self._look_every()))
        ticks.add("clean", self._guarded(self.upkeep.clean, CLEAN_EVERY))
        ticks.start()
        get_logger().info("daemon.ready", buckets=len(self.polls), rules=len(self.settings.rules.rules))
        self.stop.wait()
        return self.drain(ticks, sender)

    def drain(self, ticks: Ticks | None, sender: threading.Thread | None) -> ExitCode:
        """Leave in this order: sightings, calls, ledger.

        First no new pass and no new look begins, and a running pass ends at its next batch, which is
        committed whole: nothing is half recorded. Then the calls in flight end, each has a time-out, and
        their outcomes are written: nothing becomes uncertain by our leaving. The ledger, and with it the
        right to send, goes last (`run` closes it).
        """
        deadline = time.monotonic() + self.settings.drain_timeout.total_seconds()
        get_logger().info("daemon.draining", within_seconds=self.settings.drain_timeout.total_seconds())
        drained = ticks is None or ticks.stop(deadline)
        if sender is not None and self.worker is not None:
            self.worker.wake()
            sender.join(max(0.0, deadline - time.monotonic()))
            drained = drained and not sender.is_alive()
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

    def _work(self, worker: Worker) -> None:
        try:
            worker.run(self.stop)
        except Exception as error:  # noqa: BLE001 - top of a thread
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
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
