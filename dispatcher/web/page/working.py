"""Where the page's work is done: a few threads of its own, so that viewers never keep the sender waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from dispatcher.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 4
MOST_WAITING = 32

T = TypeVar("T")
A = TypeVar("A")


class Working:
    """Runs work in at most `THREADS` threads; one event loop. More than `MOST_WAITING` waiting are refused."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    async def run(self, work: Callable[[A], T], given: A) -> T:
        """Return what the work returns. Raises what it raises, and ServiceUnavailableError under load."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(THREADS)
        if self._limiter.statistics().tasks_waiting >= MOST_WAITING:
            raise ServiceUnavailableError("too many viewers ask at once", hint="ask again in a few seconds")
        return await anyio.to_thread.run_sync(work, given, limiter=self._limiter)
