"""The beacon: tells the service manager, and the log, what is known of our health. It feeds the watchdog."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.service.logs import get_logger
from dispatcher.service.orphans import Orphans

if TYPE_CHECKING:
    from dispatcher.service.health import Health
    from dispatcher.service.notifying import ServiceManager

OFTEN = timedelta(seconds=5)


@dataclass
class Beacon:
    """A thread from `start` to `stop`. What it feeds the watchdog with is the progress of all parts, not its own."""

    manager: ServiceManager
    health: Health
    orphans: Orphans = field(default_factory=Orphans)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _ready: bool = field(default=False, init=False)
    _told: str = field(default="", init=False)
    _stuck: bool = field(default=False, init=False)

    @property
    def every(self) -> timedelta:
        """Return the time between two turns: within half of the watchdog's."""
        watchdog = self.manager.watchdog
        return OFTEN if watchdog is None else min(OFTEN, watchdog / 2)

    def start(self) -> None:
        """Begin to tell; the first turn is made before this returns."""
        self.turn()
        self._thread = threading.Thread(target=self._run, name="beacon", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say nothing more. Idempotent."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def turn(self) -> None:
        """Say that it is ready, once it is; feed the watchdog where all parts make progress; tell what changed."""
        silent = self.health.live().reasons
        if silent:
            text = "stuck: " + "; ".join(each.detail for each in silent)
            if not self._stuck:
                get_logger().error("health.stuck", parts=[each.detail for each in silent], hint=silent[0].hint)
        else:
            text = self.health.summary
            self.manager.alive()
        self._stuck = bool(silent)
        if not self._ready and self.health.ready().ok:
            self._ready = True
            self.manager.ready(text)
        elif text != self._told:
            self.manager.status(text)
        self._told = text
        self.orphans.reap()

    def _run(self) -> None:
        while not self._ended.wait(self.every.total_seconds()):
            self.turn()
