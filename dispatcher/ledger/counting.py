"""Counting: the numbers of `status`, `rules list` and the metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.ledger.browse import Waits
from dispatcher.ledger.tables import dispatches, double_starts, foreign_starts, in_state, tombstones
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many rows of one rule are in one state for one reason."""

    rule_id: str
    state: DispatchState
    reason: StateReason | None
    count: int


@dataclass(frozen=True, slots=True)
class OldestWaiting:
    """The row that has been waiting longest, and its rule."""

    dispatch_id: str
    rule_id: str
    first_seen_at: datetime


def state_counts(tx: Connection, now: datetime) -> list[StateCount]:
    """Return all rows counted by rule, state and reason; why due rows wait is worked out at `now`.

    Started rows, which are nearly all, have no reason: the index alone counts them.
    """
    waits = Waits.at(tx, now)
    counts: Counter[tuple[str, DispatchState, StateReason | None]] = Counter()
    table = dispatches.c
    rules: dict[DispatchState, list[str]] = {}
    for rule_id, text, rows in tx.execute(
        select(table.rule_id, table.state, func.count()).group_by(table.rule_id, table.state)
    ):
        state = DispatchState(text)
        rules.setdefault(state, []).append(rule_id)
        if state is DispatchState.STARTED:
            counts[rule_id, state, None] += rows
    for state, having in rules.items():
        if state is not DispatchState.STARTED:
            _count_reasons(tx, state, having, waits, counts)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] or ""))
    return [StateCount(rule_id, state, reason, count) for (rule_id, state, reason), count in ordered]


def _count_reasons(
    tx: Connection,
    state: DispatchState,
    rules: Sequence[str],
    waits: Waits,
    counts: Counter[tuple[str, DispatchState, StateReason | None]],
) -> None:
    """Count the rows of one state by their reasons."""
    table = dispatches.c
    kind = (table.rule_id, table.reason, table.lane, table.backfill, (table.next_at <= waits.now).label("is_due"))
    for start in range(0, len(rules), BATCH):
        chunk = rules[start : start + BATCH]
        wanted = in_state(state) & table.rule_id.in_(chunk)
        for row in tx.execute(select(*kind, func.count().label("rows")).where(wanted).group_by(*kind)):
            reason = None if row.reason is None else StateReason(row.reason)
            if state is DispatchState.PENDING:
                reason = waits.reason(row, reason, due=bool(row.is_due))
            counts[row.rule_id, state, reason] += row.rows


def task_status_counts(tx: Connection) -> Mapping[str | None, int]:
    """Return started rows by the status of their task; None: not seen in a sweep yet."""
    rows = tx.execute(
        select(dispatches.c.task_status, func.count().label("rows"))
        .where(in_state(DispatchState.STARTED))
        .group_by(dispatches.c.task_status)
    )
    return {row.task_status: row.rows for row in rows}


def dead_codes(tx: Connection) -> Mapping[str, int]:
    """Return dead rows by the code of their last error, or by their reason where there is none."""
    code = func.coalesce(dispatches.c.last_error_code, dispatches.c.reason).label("code")
    rows = tx.execute(select(code, func.count().label("rows")).where(in_state(DispatchState.DEAD)).group_by(code))
    return {row.code: row.rows for row in rows}


def pruned(tx: Connection) -> Mapping[DispatchState, int]:
    """Return tombstones by state."""
    rows = tx.execute(select(tombstones.c.state, func.count().label("rows")).group_by(tombstones.c.state))
    return {DispatchState(row.state): row.rows for row in rows}


def oldest_waiting(tx: Connection) -> OldestWaiting | None:
    """Return the pending or uncertain row that was seen first."""
    table = dispatches.c
    # With a sign before it the column is an expression, so that only rows in question are looked at.
    seen: ColumnElement[int] = literal_column("+dispatches.first_seen_at")
    found = [
        row
        for state in (DispatchState.PENDING, DispatchState.UNCERTAIN)
        for row in tx.execute(
            select(table.first_seen_at, table.dispatch_id, table.rule_id).where(in_state(state)).order_by(seen).limit(1)
        )
    ]
    if not found:
        return None
    oldest = min(found, key=lambda row: row.first_seen_at)
    return OldestWaiting(oldest.dispatch_id, oldest.rule_id, oldest.first_seen_at)


def foreign_count(tx: Connection) -> int:
    """Return how many foreign starts were seen."""
    return tx.scalar(select(func.count()).select_from(foreign_starts)) or 0


def double_count(tx: Connection) -> int:
    """Return how many double starts were seen."""
    return tx.scalar(select(func.count()).select_from(double_starts)) or 0


def sending(tx: Connection) -> int:
    """Return how many calls are under way, or were when their sender died."""
    return tx.scalar(select(func.count()).select_from(dispatches).where(in_state(DispatchState.SENDING))) or 0


def failed_since(tx: Connection, since: datetime) -> int:
    """Return how many tasks ended badly since a time."""
    table = dispatches.c
    finished_at = func.coalesce(table.task_finished_at, table.updated_at)
    # A task's end is written after it: the index over updates finds it.
    lately = in_state(DispatchState.STARTED, DispatchState.SKIPPED) & (table.updated_at >= since)
    badly = table.task_status.in_(("Failed", "Canceled")) & (finished_at >= since)
    return tx.scalar(select(func.count()).select_from(dispatches).where(lately & badly)) or 0


def by_open_state(tx: Connection) -> Mapping[DispatchState, int]:
    """Return how many rows wait, are being sent, are uncertain or dead; each by its index."""
    count = select(func.count()).select_from(dispatches)
    states = (DispatchState.PENDING, DispatchState.SENDING, DispatchState.UNCERTAIN, DispatchState.DEAD)
    return {state: tx.scalar(count.where(in_state(state))) or 0 for state in states}


def unfinished(tx: Connection) -> int:
    """Return how many rows wait, are being sent, or are uncertain."""
    states = (DispatchState.PENDING, DispatchState.SENDING, DispatchState.UNCERTAIN)
    return tx.scalar(select(func.count()).select_from(dispatches).where(in_state(*states))) or 0


def dead_since(tx: Connection, since: datetime) -> int:
    """Return how many rows became dead since a time."""
    dead = in_state(DispatchState.DEAD) & (dispatches.c.updated_at >= since)
    return tx.scalar(select(func.count()).select_from(dispatches).where(dead)) or 0
