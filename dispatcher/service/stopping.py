"""How the process is asked to leave: once politely, twice at once."""

from __future__ import annotations

import os
import signal
import threading

from dispatcher.errors import ExitCode

_ASKING = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """SIGTERM and SIGINT as an event. The first asks for the drain, the second leaves at once.

    Leaving at once is safe at any instruction: what was in flight is found again by the next sender.
    """

    def __init__(self) -> None:
        self.event = threading.Event()

    def listen(self) -> None:
        """Take over the signals, for this thread and all that it starts later: call it in the main thread, first.

        A thread of its own waits for them. A handler would run in the main thread at any instruction, also
        while that thread holds the event's lock to wait for it: the signal would then be lost for ever.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def _wait(self) -> None:
        signal.sigwait(_ASKING)
        self.event.set()
        signal.sigwait(_ASKING)
        os._exit(ExitCode.STOPPED_EARLY)
