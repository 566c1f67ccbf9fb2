"""The board: what sources and calls did lately, kept in memory for the page. A meter like any other."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.observations import Granted, Recorded, Sighted, SourceAnswered, SourceFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.core.observations import Meter, Observation

USED_OVER = timedelta(seconds=60)
"""Time over which used permits are counted."""
_MOST_SOURCES = 1_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One source since this process began. `lag`: how long after its object's time the last row was committed."""

    sightings: int = 0
    sighted_at: datetime | None = None
    answered_at: datetime | None = None
    failed_at: datetime | None = None
    lag: timedelta | None = None

    @property
    def failing(self) -> bool:
        """Tell whether what was heard of it last is a failure."""
        return self.failed_at is not None and (self.answered_at is None or self.failed_at > self.answered_at)


class Board:
    """Remembers the last of each source, and the permits of the last minute. Thread-safe."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: dict[str, Seen] = {}
        self._permits: dict[tuple[str, str], Counter[int]] = {}

    def __call__(self, seen: Observation, /) -> None:
        """Take an observation; most are not for the board."""
        match seen:
            case Sighted(source=source, count=count):
                self._put(source, count=count)
            case SourceAnswered(source=source):
                self._put(source, answered_at=self._clock())
            case SourceFailed(source=source):
                self._put(source, failed_at=self._clock())
            case Recorded(source=source, lag=lag) if lag is not None:
                self._put(source, lag=lag)
            case Granted(region=region, api=api, permits=permits):
                self._use((region, api), permits)
            case _:
                pass

    def _put(
        self,
        source: str,
        *,
        count: int = 0,
        answered_at: datetime | None = None,
        failed_at: datetime | None = None,
        lag: timedelta | None = None,
    ) -> None:
        with self._lock:
            before = self._sources.get(source)
            if before is None and len(self._sources) >= _MOST_SOURCES:
                return
            known = before or Seen()
            self._sources[source] = replace(
                known,
                sightings=known.sightings + count,
                sighted_at=self._clock() if count else known.sighted_at,
                answered_at=answered_at or known.answered_at,
                failed_at=failed_at or known.failed_at,
                lag=lag if lag is not None else known.lag,
            )

    def _use(self, target: tuple[str, str], permits: int) -> None:
        second = int(self._clock().timestamp())
        with self._lock:
            counts = self._permits.setdefault(target, Counter())
            counts[second] += permits
            for old in [each for each in counts if each <= second - USED_OVER.total_seconds()]:
                del counts[old]

    def sources(self) -> dict[str, Seen]:
        """Return what is known of each source that was heard of."""
        with self._lock:
            return dict(self._sources)

    def used(self, region: str, api: str) -> int:
        """Return how many permits were taken in the last minute."""
        since = self._clock().timestamp() - USED_OVER.total_seconds()
        with self._lock:
            return sum(count for second, count in self._permits.get((region, api), Counter()).items() if second > since)


def both(first: Meter, second: Meter) -> Meter:
    """Return a meter that tells two."""

    def told(seen: Observation, /) -> None:
        first(seen)
        second(seen)

    return told
