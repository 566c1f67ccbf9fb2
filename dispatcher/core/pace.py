"""How often a bucket is listed when nobody says so, and what that costs in requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MONTH = timedelta(days=30)
SHORTEST = timedelta(seconds=30)
SMALL_PASS = 50
"""Requests of a pass that may be repeated at the shortest interval whatever the budget says."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The interval between the starts of two passes of a root, and its requests in 30 days."""

    every: timedelta
    requests_per_month: int


def automatic_pace(requests: int, all_requests: Sequence[int], requests_per_month: int) -> Pace:
    """Return the pace of a root whose pass takes `requests`.

    `all_requests` are those of every root, this one included: the larger ones share the budget,
    all at one interval. 30 s for a pass of at most 50 requests.
    """
    if requests <= SMALL_PASS:
        return forecast(requests, SHORTEST)
    small = sum(forecast(each, SHORTEST).requests_per_month for each in all_requests if each <= SMALL_PASS)
    large = sum(each for each in all_requests if each > SMALL_PASS)
    # Small roots may use up the budget; the large ones then keep a tenth of it.
    left = max(requests_per_month - small, requests_per_month // 10, 1)
    return forecast(requests, max(SHORTEST, MONTH * large / left))


def forecast(requests: int, every: timedelta) -> Pace:
    """Return the pace of a pass of `requests` at a given interval."""
    return Pace(every, round(MONTH / every * requests))
