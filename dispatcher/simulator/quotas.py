"""Quotas: how many calls of an API the account may make in any second."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta


class CallQuota:
    """The account's calls of one API in any second. Thread-safe."""

    def __init__(self, per_second: int | None) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._taken: list[datetime] = []

    def take(self, now: datetime) -> bool:
        """Return whether one more call is within the quota; a refused call does not count."""
        if self._per_second is None:
            return True
        with self._lock:
            self._taken = [at for at in self._taken if timedelta() <= now - at < timedelta(seconds=1)]
            if len(self._taken) >= self._per_second:
                return False
            self._taken.append(now)
            return True
