"""Answers that are kept for a while: what cost a second to find is good for twenty."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SHARE = 20
"""An answer is kept so many times as long as it took: looking never takes more than a twentieth of a processor."""
AT_LEAST = 1.0
"""Seconds; many viewers cost no more than one."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    until: float


class Remembered(Generic[T]):
    """One answer, found anew when it is too old. Thread-safe: only one thread looks, the others wait for it."""

    def __init__(self, find: Callable[[], T], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: _Kept[T] | None = None

    def __call__(self) -> T:
        """Return the answer. Raises what finding it raises, and remembers nothing then."""
        kept = self._kept
        if kept is not None and self._monotonic() < kept.until:
            return kept.value
        with self._lock:
            kept = self._kept
            began = self._monotonic()
            if kept is not None and began < kept.until:
                return kept.value
            value = self._find()
            ended = self._monotonic()
            self._kept = _Kept(value, ended + max(AT_LEAST, SHARE * (ended - began)))
            return value

    def forget(self) -> None:
        """Find it anew next time: something was changed."""
        self._kept = None
