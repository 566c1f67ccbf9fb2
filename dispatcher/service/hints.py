"""Hints: which tasks somebody says have ended. A few, each once, and dropped when there are too many."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.core.calls import TaskHint

KEPT = 1_000


class Hints:
    """A bounded set, in order of arrival. Implements `ports.HintTaker`; thread-safe.

    What is dropped is found by the sweeps, later.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: dict[TaskHint, None] = {}

    def __call__(self, hint: TaskHint) -> None:
        """Keep a hint, unless it is known or there are too many."""
        with self._lock:
            if len(self._waiting) < self._most:
                self._waiting[hint] = None

    def take(self, most: int) -> list[TaskHint]:
        """Return the oldest hints and forget them."""
        with self._lock:
            taken = list(self._waiting)[:most]
            for hint in taken:
                del self._waiting[hint]
        return taken
