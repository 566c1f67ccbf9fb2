"""A backfill as JSON, and the state it is in as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.backfilling import BackfillState
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.documents import Json, rfc3339
from dispatcher.core.quantities import format_duration, format_rate

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.ledger.backfills import Backfill, RowCounts


def shown_state(backfill: Backfill, counts: RowCounts, at: datetime) -> str:
    """Return the state as it is now: what ended meanwhile is not waited for to be written."""
    if backfill.expired(at):
        return BackfillState.PAUSED.value
    finished = backfill.recorded_at is not None and not counts.unfinished
    if backfill.state is BackfillState.RUNNING and finished:
        return BackfillState.DONE.value
    return backfill.state.value


def backfill_json(backfill: Backfill, counts: RowCounts, at: datetime) -> dict[str, Json]:
    """Return a backfill for programs."""
    pace = backfill.pace
    return {
        "backfill": backfill.number,
        "name": backfill.name,
        "kind": backfill.kind.value,
        "run": backfill.run,
        "state": shown_state(backfill, counts, at),
        "listed": backfill.seen.listed,
        "matched": backfill.seen.matched,
        "known": backfill.seen.known,
        "gone": backfill.seen.gone,
        "reached": backfill.seen.reached,
        "recorded": backfill.recorded,
        "states": {state.value: counts.of(state) for state in DispatchState},
        "unfinished": counts.unfinished,
        "running": counts.running,
        "limit": backfill.most,
        "max_rate": None if pace.max_rate is None else format_rate(pace.max_rate),
        "max_running": pace.max_running,
        "window": None if pace.window is None else format_duration(pace.window),
        "until_at": rfc3339(backfill.until_at),
        "created_at": rfc3339(backfill.created_at),
        "recorded_at": rfc3339(backfill.recorded_at),
        "ended_at": rfc3339(backfill.ended_at),
        "updated_at": rfc3339(backfill.updated_at),
        "error": backfill.error,
    }
