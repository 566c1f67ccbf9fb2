"""Absence: what follows when complete sweeps do not find the task of an unanswered call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from sqlalchemy import select, update

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.core.outcomes import Advance, Bury, Complete, Decision, Probe, Repeat, RetryAt, Snooze
from dispatcher.ledger.repeating import NOT_REPEATED
from dispatcher.ledger.superseding import waiting_again
from dispatcher.ledger.tables import dispatches, in_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Absent:
    """An uncertain row that enough complete sweeps did not find."""

    dispatch_id: str
    rule_id: str
    attempt: int
    failures: int
    first_attempt_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """Decision of a rule with `on_uncertain: hold`: the row waits for an operator."""


def note_absence(  # noqa: PLR0913 - what was seen, and the rule by which it counts
    tx: Connection, absent: Iterable[str], now: datetime, *, every: timedelta, sweeps: int, called_until: datetime
) -> list[Absent]:
    """Count one absence for each id that a complete sweep proved absent; return those with enough.

    Absences closer together than `every` count once. A row with fewer than `sweeps` is looked for again
    after `every`. Ids that are not uncertain any more are left alone, and so are those that were called again
    after `called_until` while the sweep went on: it cannot tell of that call.
    """
    enough: list[Absent] = []
    table = dispatches.c
    for dispatch_id in absent:
        row = tx.execute(
            select(dispatches).where(table.dispatch_id == dispatch_id, in_state(DispatchState.UNCERTAIN))
        ).one_or_none()
        if row is None or row.next_at is None or (row.intent_at is not None and row.intent_at > called_until):
            continue
        counts = row.last_absent_at is None or now - row.last_absent_at >= every
        seen = row.absent_sweeps + counts
        if counts:
            tx.execute(
                update(dispatches)
                .where(table.dispatch_id == dispatch_id)
                .values(absent_sweeps=seen, last_absent_at=now, next_at=now + every)
            )
        if seen >= sweeps:
            first = row.first_attempt_at or row.first_seen_at
            enough.append(Absent(dispatch_id, row.rule_id, row.attempt, row.attempts, first))
    return enough


def settle_absent(
    tx: Connection, dispatch_id: str, decision: Decision | Hold, now: datetime
) -> tuple[DispatchState, StateReason | None] | None:
    """Write what follows from proven absence; return the row's state and reason, None if it is not uncertain any more.

    A row that would be sent again is skipped (SUPERSEDED) if its key has newer content.
    """
    state = DispatchState.UNCERTAIN
    reason: StateReason | None = None
    next_at: datetime | None = None
    match decision:
        case RetryAt(at=at, reason=why) | Snooze(at=at, reason=why):
            state, reason, next_at = waiting_again(tx, dispatch_id, why, at)
        case Bury(reason=reason):
            state = DispatchState.DEAD
        case Hold():
            reason = StateReason.HELD
        case Probe(at=next_at):
            pass
        case Complete() | Advance() | Repeat():
            raise ValueError("a call that is proven absent started no task, and is not to be looked for")
        case _:
            assert_never(decision)
    statement = update(dispatches).where(dispatches.c.dispatch_id == dispatch_id, in_state(DispatchState.UNCERTAIN))
    values = {"state": state, "reason": reason, "next_at": next_at, "updated_at": now}
    changed = tx.execute(statement.values(**values, **NOT_REPEATED)).rowcount
    return (state, reason) if changed else None
