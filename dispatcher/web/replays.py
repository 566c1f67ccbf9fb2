"""The memory of signed requests that were taken: an exact copy of one is a replay.

Kept in memory for the time in which a signature is valid. After a restart it is empty: a copy that
gets through then meets the ledger, where the same sighting starts nothing twice.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from dispatcher.web.requests import RETRY_AFTER, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_REMEMBERED = 100_000


class ReplayedError(RefusedError):
    """The same signed request was taken before."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.CONFLICT, "replayed: the same signed request was taken before")


class Replays:
    """Which signed requests were taken, each until its signature expires. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[bytes, datetime] = {}
        self._under_way: set[bytes] = set()

    @contextmanager
    def once(self, mark: bytes, expires_at: datetime, now: datetime) -> Iterator[None]:
        """Run the block for a request that was not taken before; it counts as taken if the block ends well.

        Raises ReplayedError for a copy of a taken request, RefusedError (503) while the first is
        still under way: whether it will be taken is not known yet.
        """
        with self._lock:
            self._forget(now)
            if mark in self._taken:
                raise ReplayedError
            if mark in self._under_way:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the same request is under way", RETRY_AFTER)
            self._under_way.add(mark)
        try:
            yield
            with self._lock:
                self._taken[mark] = expires_at
        finally:
            with self._lock:
                self._under_way.discard(mark)

    def _forget(self, now: datetime) -> None:
        """Drop the oldest entries while they are expired, or too many."""
        while self._taken:
            oldest = next(iter(self._taken))
            if self._taken[oldest] > now and len(self._taken) < _REMEMBERED:
                return
            del self._taken[oldest]
