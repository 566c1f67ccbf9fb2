"""Notifications of buckets that no rule reads: counted, said once, and let go."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dispatcher.core.events import ObjectEvent

MOST_NAMED = 100
"""Buckets that are remembered by name: names come from strangers, and memory does not grow with them."""


@dataclass
class Strangers:
    """The buckets that notifications told of and no rule reads. Thread-safe."""

    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def without(self, events: Sequence[ObjectEvent], known: Collection[str]) -> list[ObjectEvent]:
        """Return the events of known buckets; count the others, and log each bucket once."""
        ours = [event for event in events if event.bucket in known]
        if len(ours) < len(events):
            for event in events:
                if event.bucket not in known:
                    self._count(event)
        return ours

    def _count(self, event: ObjectEvent) -> None:
        with self._lock:
            news = event.bucket not in self.counts
            if news and len(self.counts) >= MOST_NAMED:
                return
            self.counts[event.bucket] += 1
        if news:
            get_logger().warning(
                "bucket.unknown",
                bucket=event.bucket,
                source=event.source,
                hint="no rule reads this bucket: its notifications are acknowledged and let go",
            )
