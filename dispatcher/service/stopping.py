"""What the process is asked by signals: to leave, once politely and twice at once; and to read its files again."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from dispatcher.errors import ExitCode
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAVING = frozenset({signal.SIGTERM, signal.SIGINT})


def say_unchanged() -> None:
    """Say that SIGHUP changes nothing: a daemon that ended by it, as processes do by default, would surprise more."""
    get_logger().warning(
        "reload.not_done",
        hint="the configuration is read at the start: restart to use a changed one; nothing is lost by a restart",
    )


class Stop:
    """SIGTERM and SIGINT as an event. The first asks for the drain, the second leaves at once.

    Leaving at once is safe at any instruction: what was in flight is found again by the next sender.
    """

    def __init__(self) -> None:
        self.event = threading.Event()

    def listen(self, hung_up: Callable[[], None] | None = None) -> None:
        """Take over the signals, for this thread and all that it starts later: call it in the main thread, first.

        `hung_up` is called for each SIGHUP, in the thread that waits for signals: it must return at once. Without
        it SIGHUP is left alone, and ends the process: a command's terminal was closed.

        A thread of its own waits for them. A handler would run in the main thread at any instruction, also
        while that thread holds the event's lock to wait for it: the signal would then be lost for ever.
        """
        taken = _LEAVING if hung_up is None else _LEAVING | {signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        threading.Thread(target=self._wait, args=(taken, hung_up), name="signals", daemon=True).start()

    def _wait(self, taken: frozenset[signal.Signals], hung_up: Callable[[], None] | None) -> None:
        while signal.sigwait(taken) not in _LEAVING:
            if hung_up is not None:
                hung_up()
        self.event.set()
        signal.sigwait(_LEAVING)
        os._exit(ExitCode.STOPPED_EARLY)
