"""Who sends the rows of a backfill: the daemon beside us, or, without one, this process.

This process lets go as soon as a daemon starts, which detects new objects too, and takes over where a daemon stopped
and none came back: rows that are recorded are sent, whoever recorded them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from dispatcher.errors import ConfigError
from dispatcher.ledger import rulesets
from dispatcher.ledger.failures import LedgerLockedError
from dispatcher.service.assembly import assemble

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.daemon import Daemon
    from dispatcher.service.ticks import Ticks

LOOK_EVERY = timedelta(seconds=1)
"""Between two looks whether somebody else sends."""
COMES_BACK = timedelta(seconds=30)
"""How long a daemon that stopped may take to be started again, before this process sends."""


class Sender(Enum):
    """Who sends now."""

    THIS_COMMAND = "this command"
    DAEMON = "the daemon"
    NOBODY = "nobody"


@dataclass(frozen=True)
class _Own:
    """The sending parts of this process while they run."""

    daemon: Daemon
    worker: threading.Thread | None
    ticks: Ticks


@dataclass
class Sending:
    """Begin it, call `look` now and then, end it. One thread. `say` tells the operator what changes."""

    settings: Settings
    ledger: Ledger
    rules: tuple[str, ...]
    clock: Callable[[], datetime]
    say: Callable[[str], None]
    comes_back: timedelta = COMES_BACK
    monotonic: Callable[[], float] = time.monotonic
    sender: Sender = field(default=Sender.NOBODY, init=False)
    _own: _Own | None = field(default=None, init=False)
    _looked_at: float = field(default=0.0, init=False)
    _nobody_since: float = field(default=0.0, init=False)

    def begin(self) -> None:
        """Send, or see that a daemon does. Raises DispatcherError, as ConfigError for a daemon with other rules."""
        if self._try_to_send():
            self.say("no daemon runs on this ledger: this command sends by itself")
        else:
            self._demand_rules()
            self.say(
                "a daemon (or another backfill) sends from this ledger: this command records, live objects go first"
            )

    def look(self) -> None:
        """Let a daemon take over, or take over from one. Raises what ended our own sending."""
        if self._own is not None and self._own.daemon.failure is not None:
            raise self._own.daemon.failure
        now = self.monotonic()
        if now - self._looked_at < LOOK_EVERY.total_seconds():
            return
        self._looked_at = now
        match self.sender:
            case Sender.THIS_COMMAND:
                if self.ledger.should_yield():
                    self.say("a daemon starts: this command lets it send")
                    self._let_go()
            case Sender.DAEMON:
                if not self.ledger.somebody_sends():
                    self.sender, self._nobody_since = Sender.NOBODY, now
                    self.say(
                        "nobody sends any more; if no daemon starts within"
                        f" {self.comes_back.total_seconds():.0f} s this command sends by itself"
                    )
            case Sender.NOBODY:
                self._find_sender(now)

    def end(self) -> None:
        """Let calls in flight end, write how they did, and give the right to send back. Idempotent."""
        own, self._own = self._own, None
        if own is None:
            return
        own.daemon.stop.set()
        own.daemon.drain(own.ticks, own.worker)
        self.ledger.resign()
        self.sender = Sender.NOBODY

    def _find_sender(self, now: float) -> None:
        if self.ledger.somebody_sends():
            self.sender = Sender.DAEMON
            self.say("a daemon runs: it sends from now on")
        elif now - self._nobody_since >= self.comes_back.total_seconds() and self._try_to_send():
            self.say("no daemon came back: this command sends by itself")

    def _let_go(self) -> None:
        self.end()
        self._nobody_since = self.monotonic()

    def _try_to_send(self) -> bool:
        """Begin to send; False if somebody else does."""
        try:
            daemon = assemble(self.settings, self.ledger, self.clock, threading.Event(), shadow=False, yields=True)
        except LedgerLockedError:
            if not self.ledger.somebody_sends():
                raise
            self.sender = Sender.DAEMON
            return False
        except BaseException:
            self.ledger.resign()
            raise
        # Nothing is detected here: what a daemon would find it finds when it runs.
        daemon.listener = None
        self._own = _Own(daemon, daemon.start_worker(), daemon.start_upkeep())
        self.sender = Sender.THIS_COMMAND
        return True

    def _demand_rules(self) -> None:
        with self.ledger.read() as tx:
            known = rulesets.since(tx)
        missing = [rule for rule in self.rules if rule not in known]
        if missing:
            raise ConfigError(
                f"the daemon that sends from this ledger does not know rule {', '.join(missing)}",
                hint="restart it with this configuration, or name the configuration it runs with (-c)",
            )
