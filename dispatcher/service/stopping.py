"""How the process is asked to leave: once politely, twice at once."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from dispatcher.errors import ExitCode

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """SIGTERM and SIGINT as an event. The first asks for the drain, the second leaves at once.

    Leaving at once is safe at any instruction: what was in flight is found again by the next sender.
    """

    def __init__(self) -> None:
        self.event = threading.Event()

    def listen(self) -> None:
        """Take over the signals; only the main thread may."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.event.is_set():
            os._exit(ExitCode.STOPPED_EARLY)
        self.event.set()
