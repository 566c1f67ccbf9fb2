"""The account's call rate as a value: GCRA with a slow-down on throttling. Pure.

One state serves all workers of one (account, region, API). The ledger stores it, so that
replicas share a quota; time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

RECOVERY = timedelta(seconds=60)
"""Time in which a rate that was halved grows back by a half of the configured rate."""
LOWEST_SHARE = 1 / 64
ONE_OVERLOAD = timedelta(seconds=2)
"""Refusals within this are one event: calls that were under way together are refused together."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A configured rate: permits in any second."""

    per_second: float

    @property
    def burst(self) -> int:
        """Permits that may go at once: one, or a twentieth of a high rate."""
        return max(1, int(self.per_second // 20))


@dataclass(frozen=True, slots=True)
class RateState:
    """What is remembered between permits.

    `next_at` is the theoretical arrival time of GCRA: when the next permit is due if none is
    saved up. `share` is the part of the configured rate allowed after throttling, at `share_at`.
    """

    next_at: datetime | None = None
    share: float = 1.0
    share_at: datetime | None = None

    def allowed_share(self, now: datetime) -> float:
        """Return the part of the configured rate that is allowed now, in (0, 1]."""
        if self.share_at is None:
            return 1.0
        grown = max(0.0, (now - self.share_at) / RECOVERY) / 2
        return min(1.0, self.share + grown)

    def throttled(self, now: datetime) -> RateState:
        """Return the state after the service said "too fast": the rate is halved, once for each overload."""
        if self.share_at is not None and timedelta() <= now - self.share_at < ONE_OVERLOAD:
            return self
        return replace(self, share=max(LOWEST_SHARE, self.allowed_share(now) / 2), share_at=now)

    def take(self, rate: Rate, wanted: int, now: datetime) -> tuple[int, RateState]:
        """Return how many of the wanted permits are due now, and the state after them.

        Never more than `rate.per_second` permits in any half-open second of `now`s that do not
        go back. A clock that does go back grants nothing until it has caught up, or, after a
        jump of more than a minute, starts afresh.
        """
        interval = self._interval(rate, now)
        due = self.next_at if self.next_at is not None else now
        if due - now > timedelta(minutes=1) + interval * rate.burst:
            due = now
        due = max(due, now - interval * (rate.burst - 1))
        granted = 0
        while granted < wanted and due <= now:
            due += interval
            granted += 1
        return granted, replace(self, next_at=due)

    def wait(self, rate: Rate, now: datetime) -> timedelta:
        """Return how long until the next permit is due."""
        if self.next_at is None:
            return timedelta()
        return min(max(timedelta(), self.next_at - now), self._interval(rate, now) + timedelta(minutes=1))

    def _interval(self, rate: Rate, now: datetime) -> timedelta:
        # The permits saved up for a burst come out of the second's total, so that a burst
        # followed by the steady flow still keeps the rate in every second.
        steady = rate.per_second - (rate.burst - 1)
        return timedelta(seconds=1 / (steady * self.allowed_share(now)))
