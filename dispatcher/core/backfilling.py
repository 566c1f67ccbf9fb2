"""What a backfill is: its kinds, its states, and how fast it may go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from dispatcher.core.ratelimit import Rate


class BackfillKind(StrEnum):
    """What brought its rows: a look at what lies in a bucket, or rows of the ledger that run again."""

    BACKFILL = "backfill"
    RERUN = "rerun"


class BackfillState(StrEnum):
    """Where a backfill stands. Rows of a paused or cancelled one are not sent; `done` has none left to send."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"

    @property
    def ended(self) -> bool:
        return self in (BackfillState.CANCELLED, BackfillState.DONE)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the rows of a backfill may be sent, beside the account's own limits. None: no limit of its own.

    `max_rate` counts calls, `max_running` unfinished tasks of this backfill. `window` is how long it may send
    each time it is started or resumed.
    """

    max_rate: Rate | None = None
    max_running: int | None = None
    window: timedelta | None = None
