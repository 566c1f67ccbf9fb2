"""How often a bucket is listed: quickly while that is cheap, else within the month's requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.core.settings import PollSettings

QUICK = timedelta(seconds=30)
QUICK_REQUESTS = 50
MONTH = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the next pass is due, and how many LIST requests a month of such passes makes."""

    wait: timedelta
    requests_per_month: int


def next_pass(settings: PollSettings, *, requests: int, requests_elsewhere: int = 0) -> Forecast:
    """Return the wait after a pass of this many requests.

    `every: auto` is 30 s while all buckets together need at most 50 requests a round
    (`requests_elsewhere` are those of the others), else as long as the month's requests allow; they are shared
    by the buckets in proportion to their size.
    """
    requests = max(1, requests)
    if settings.every is not None:
        wait = settings.every
    elif requests + requests_elsewhere <= QUICK_REQUESTS:
        wait = QUICK
    else:
        wait = max(QUICK, MONTH * (requests + requests_elsewhere) / settings.requests_per_month)
    return Forecast(wait, round(requests * (MONTH / max(wait, timedelta(milliseconds=1)))))
