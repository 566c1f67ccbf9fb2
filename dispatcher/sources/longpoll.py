"""Waiting on a queue without being bound by it: requests that can be left, and messages kept hidden meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from dispatcher.errors import DispatcherError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from dispatcher.sources.queue import Queue, Received

T = TypeVar("T")
_LOOK_EVERY = 0.1
"""Seconds after which a stop is noticed; an answer is noticed at once."""


def ask(
    name: str, call: Callable[[], T], stop: threading.Event, *, within: float, late: Callable[[T], None]
) -> T | None:
    """Make a blocking call and return its result, None if `stop` was set before it came.

    The call runs in a thread of its own, since nothing interrupts a socket that waits: a long poll of 30
    seconds, a peer that sends a byte now and then, a name server that is silent. When nobody waits for its
    result any longer, `late` gets it. Raises what the call raises; TimeoutError after `within` seconds.
    """
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(call, future, late), name=f"{name} request", daemon=True).start()
    deadline = time.monotonic() + within
    while not future.done() and not stop.is_set() and time.monotonic() < deadline:
        wait([future], timeout=_LOOK_EVERY)
    if not future.cancel():
        return future.result()
    if stop.is_set():
        return None
    raise TimeoutError(f"no answer within {within:.0f} s")


def _run(call: Callable[[], T], future: Future[T], late: Callable[[T], None]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - top of a thread; it is raised where it is waited for
        with suppress(InvalidStateError):
            future.set_exception(error)
        return
    try:
        future.set_result(result)
    except InvalidStateError:
        with suppress(DispatcherError):
            late(result)


class Hold:
    """Keeps received messages hidden, from its making until `release`, but no longer than `longest`.

    A renewal that fails is tried again at the next one; at worst messages come again. Thread-safe.
    """

    def __init__(
        self, queue: Queue, received: Received, visibility: timedelta, every: timedelta | None, longest: timedelta
    ) -> None:
        self._queue = queue
        self._handles = tuple(message.handle for message in received.messages)
        self._visibility = visibility
        self._first = (every or received.hidden_for / 2).total_seconds()
        self._every = (every or visibility / 2).total_seconds()
        self._ends = time.monotonic() + longest.total_seconds()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="hold", daemon=True)
        self._thread.start()

    def release(self) -> tuple[str, ...]:
        """Renew no longer; return the handles as they are now. Idempotent."""
        self._released.set()
        with self._lock:
            return self._handles

    def _renew(self) -> None:
        pause = self._first
        while not self._released.wait(pause) and time.monotonic() < self._ends:
            with self._lock, suppress(DispatcherError):
                if self._released.is_set():
                    return
                renewed = self._queue.hide(self._handles, self._visibility)
                self._handles = tuple(renewed.values())
            pause = self._every
