"""Settling: what a call or a sweep told becomes the state of its row.

A decision is written only by the sender that still holds the row. Evidence is never refused: an
outcome is always appended, and a task that is known to run makes its row started whatever it was.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, assert_never

from sqlalchemy import select, update

from dispatcher.core.dispatch import DispatchState, StateReason, TaskStatus, id_to_bytes
from dispatcher.core.outcomes import (
    NO_ASSETS,
    Advance,
    Assets,
    Bury,
    Complete,
    Decision,
    NotSent,
    Outcome,
    Probe,
    Registered,
    RejectedStreak,
    Repeat,
    RetryAt,
    Snooze,
    Started,
    Throttled,
    Unauthorized,
)
from dispatcher.ledger.evidence import Evidence, append_outcomes, outcome_row, outcome_text
from dispatcher.ledger.holds import HoldReason, hold
from dispatcher.ledger.repeating import NOT_REPEATED
from dispatcher.ledger.superseding import waiting_again
from dispatcher.ledger.tables import dispatches, double_starts, in_state, rule_progress, tombstones
from dispatcher.ledger.writing import insert_new, put

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.ledger.sending import Incarnation


_NOT_COUNTED = (Registered, Throttled, NotSent, Unauthorized)
"""Outcomes of calls that did not reach the service's judgement of the dispatch, or passed it."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one call ended, and what `decide` made of it."""

    dispatch_id: str
    attempt: int
    outcome: Outcome
    decision: Decision
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one settlement.

    `written`: the row changed. `state` is the row's state now, None if the ledger does not know the id.
    `double_start`: this outcome showed a second task. `held_rule`: this outcome made its rule held.
    """

    dispatch_id: str
    attempt: int
    written: bool
    state: DispatchState | None
    reason: StateReason | None = None
    double_start: bool = False
    held_rule: str | None = None


@dataclass(frozen=True, slots=True)
class TaskFound:
    """A task of the service that carries an id of ours."""

    dispatch_id: str
    attempt: int
    task_id: str
    status: str
    created_at: datetime | None
    finished_at: datetime | None = None
    error: str | None = None
    assets: Assets = NO_ASSETS


@dataclass(frozen=True, slots=True)
class Evidenced:
    """What tasks told. `finished` got a final status now; `foreign` are ids this ledger never had."""

    settled: tuple[TaskFound, ...] = ()
    finished: tuple[TaskFound, ...] = ()
    double_starts: tuple[TaskFound, ...] = ()
    foreign: tuple[TaskFound, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    rule_id: str
    state: DispatchState
    reason: StateReason | None
    incarnation: int | None
    attempt: int
    attempts: int
    task_id: str | None
    task_status: str | None
    repeat_attempt: int | None


def settle(tx: Connection, incarnation: Incarnation, settlements: Sequence[Settlement], now: datetime) -> list[Settled]:
    """Append each outcome, and write each decision whose row is still `sending` under this lease.

    Idempotent but for the appended outcomes. A late Started also settles a row that is not ours any more.
    """
    append_outcomes(
        tx,
        [
            outcome_row(each.dispatch_id, each.attempt, each.outcome, Evidence.CALL, each.ended_at, now)
            for each in settlements
        ],
    )
    return [_settle(tx, incarnation, each, now) for each in settlements]


def settle_evidence(tx: Connection, found: Iterable[TaskFound], now: datetime) -> Evidenced:
    """Write what tasks of the service prove: rows that are started after all, statuses, second tasks.

    Idempotent: the same tasks again change nothing. A final status never changes back.
    """
    settled: list[TaskFound] = []
    finished: list[TaskFound] = []
    doubled: list[TaskFound] = []
    foreign: list[TaskFound] = []
    for task in found:
        row = _row(tx, task.dispatch_id)
        if row is None:
            known, is_double = _buried_evidence(tx, task.dispatch_id, task.task_id, now)
            if not known:
                foreign.append(task)
            elif is_double:
                doubled.append(task)
            continue
        if row.state is not DispatchState.STARTED:
            started = Started(task.task_id, assets=task.assets)
            at = task.created_at or now
            append_outcomes(tx, [outcome_row(task.dispatch_id, task.attempt, started, Evidence.SWEEP, at, now)])
            _write_started(tx, task.dispatch_id, started, at, now)
            settled.append(task)
        elif row.task_id != task.task_id:
            if _note_double(tx, task.dispatch_id, task.task_id, now):
                doubled.append(task)
            continue
        if _follow(tx, row, task, now):
            finished.append(task)
    return Evidenced(tuple(settled), tuple(finished), tuple(doubled), tuple(foreign))


def bury_unsent(tx: Connection, dispatch_id: str, reason: StateReason, message: str, now: datetime) -> bool:
    """Make a waiting row dead that cannot be sent as it is; False if it does not wait any more."""
    statement = update(dispatches).where(dispatches.c.dispatch_id == dispatch_id, in_state(DispatchState.PENDING))
    values = {"state": DispatchState.DEAD, "reason": reason, "next_at": None, "updated_at": now}
    return tx.execute(statement.values(**values, last_error_code=reason, last_error_message=message)).rowcount > 0


def _settle(tx: Connection, incarnation: Incarnation, each: Settlement, now: datetime) -> Settled:
    row = _row(tx, each.dispatch_id)
    if row is None:
        if isinstance(each.outcome, Started):
            _, is_double = _buried_evidence(tx, each.dispatch_id, each.outcome.task_id, now)
            return Settled(each.dispatch_id, each.attempt, written=False, state=None, double_start=is_double)
        return Settled(each.dispatch_id, each.attempt, written=False, state=None)
    held_rule = _count_rejection(tx, row.rule_id, each.outcome, now)
    ours = row.state is DispatchState.SENDING and row.incarnation == incarnation.number and row.attempt == each.attempt
    if isinstance(each.outcome, Started):
        return _settle_started(tx, row, each, each.outcome, now)
    if not ours:
        if isinstance(each.outcome, Registered):
            _note_registration(tx, each.dispatch_id, each.outcome.media_id)
        return Settled(each.dispatch_id, each.attempt, False, row.state, row.reason, held_rule=held_rule)  # noqa: FBT003 - `written`
    state, reason = _write_decision(tx, row, each, now)
    return Settled(each.dispatch_id, each.attempt, True, state, reason, held_rule=held_rule)  # noqa: FBT003 - `written`


def _settle_started(tx: Connection, row: _Row, each: Settlement, outcome: Started, now: datetime) -> Settled:
    is_double = False
    written = row.state is not DispatchState.STARTED
    if written:
        _write_started(tx, each.dispatch_id, outcome, each.ended_at, now)
    elif row.task_id != outcome.task_id:
        is_double = _note_double(tx, each.dispatch_id, outcome.task_id, now)
    return Settled(each.dispatch_id, each.attempt, written, DispatchState.STARTED, double_start=is_double)


def _write_started(tx: Connection, dispatch_id: str, outcome: Started, at: datetime, now: datetime) -> None:
    tx.execute(
        update(dispatches)
        .where(dispatches.c.dispatch_id == dispatch_id)
        .values(
            state=DispatchState.STARTED,
            reason=None,
            incarnation=None,
            next_at=None,
            started_at=at,
            task_id=outcome.task_id,
            request_id=outcome.request_id,
            follow_at=now,
            updated_at=now,
            last_error_code=None,
            last_error_message=None,
            last_error_request_id=None,
            **NOT_REPEATED,
            **_known_assets(outcome.assets),
        )
    )


def _known_assets(assets: Assets) -> dict[str, object]:
    """Return the columns of what the service named; what it did not name stays as it was."""
    return {name: value for name, value in asdict(assets).items() if value is not None}


def _note_registration(tx: Connection, dispatch_id: str, media_id: str) -> None:
    """Keep what a registration told of a row that is not ours any more: it is true all the same."""
    table = dispatches.c
    tx.execute(
        update(dispatches)
        .where(table.dispatch_id == dispatch_id, table.input_media_id.is_(None))
        .values(input_media_id=media_id)
    )


def _write_decision(
    tx: Connection, row: _Row, each: Settlement, now: datetime
) -> tuple[DispatchState, StateReason | None]:
    """Write a decision about a row that is ours and did not start; return its new state."""
    reason: StateReason | None = None
    next_at: datetime | None = None
    more = dict(NOT_REPEATED)
    match each.decision:
        case RetryAt(at=at, reason=why) | Snooze(at=at, reason=why):
            state, reason, next_at = waiting_again(tx, each.dispatch_id, why, at)
        case Advance(media_id=media_id, at=at):
            state, reason, next_at = waiting_again(tx, each.dispatch_id, None, at)
            more["input_media_id"] = media_id
        case Probe(at=next_at):
            state = DispatchState.UNCERTAIN
        case Repeat(at=at, until=until, probe_at=next_at):
            state = DispatchState.UNCERTAIN
            more = {"repeat_attempt": row.repeat_attempt or each.attempt, "repeat_at": at, "repeat_until": until}
        case Bury(reason=reason):
            state = DispatchState.DEAD
        case Complete():
            raise ValueError(f"{each.dispatch_id} cannot be complete without a task id from the service")
        case _:
            assert_never(each.decision)
    tx.execute(
        update(dispatches)
        .where(dispatches.c.dispatch_id == each.dispatch_id)
        .values(
            state=state,
            reason=reason,
            next_at=next_at,
            incarnation=None,
            attempts=row.attempts + (0 if isinstance(each.outcome, _NOT_COUNTED) else 1),
            absent_sweeps=0,
            last_absent_at=None,
            updated_at=now,
            **_last_error(each.outcome),
            **more,
        )
    )
    return state, reason


def _last_error(outcome: Outcome) -> dict[str, object]:
    error = None if isinstance(outcome, Registered) else outcome_text(outcome)
    return {
        "last_error_code": error and error.code,
        "last_error_message": error and error.message,
        "last_error_request_id": error and error.request_id,
    }


def _follow(tx: Connection, row: _Row, task: TaskFound, now: datetime) -> bool:
    """Write a changed status of a row's task; tell whether it is final now and was not before."""
    if row.task_status == task.status or _final(row.task_status):
        return False
    final = _final(task.status)
    values: dict[str, object] = {"task_status": task.status, "task_error": task.error, "updated_at": now}
    values |= _known_assets(task.assets)
    if final:
        values |= {"task_finished_at": task.finished_at or now, "follow_at": None}
    tx.execute(update(dispatches).where(dispatches.c.dispatch_id == task.dispatch_id).values(**values))
    if any(task.status == each.value and each.succeeded for each in TaskStatus):
        _remember_output(tx, row.rule_id, task)
    return final


def _final(status: str | None) -> bool:
    """Tell whether a status, also one we do not know, is the last."""
    return any(status == each.value and each.final for each in TaskStatus)


def _remember_output(tx: Connection, rule_id: str, task: TaskFound) -> None:
    """Keep the first finished task of a rule for the loop guard."""
    progress = rule_progress.c
    known = tx.scalar(select(progress.output_task_id).where(progress.rule_id == rule_id))
    if known is None:
        put(
            tx,
            rule_progress,
            {"rule_id": rule_id, "output_task_id": task.task_id, "output_dispatch_id": task.dispatch_id},
        )


def _count_rejection(tx: Connection, rule_id: str, outcome: Outcome, now: datetime) -> str | None:
    """Count equal refusals of a rule; hold it at twenty. Return the rule if it is held by this one."""
    progress = rule_progress.c
    row = tx.execute(
        select(progress.rejected_code, progress.rejected_count).where(progress.rule_id == rule_id)
    ).one_or_none()
    before = RejectedStreak() if row is None else RejectedStreak(row.rejected_code, row.rejected_count)
    after = before.after(outcome)
    if after == before:
        return None
    put(tx, rule_progress, {"rule_id": rule_id, "rejected_code": after.code, "rejected_count": after.count})
    if not after.holds_rule:
        return None
    detail = f"the last {after.count} calls were refused with {after.code}"
    return rule_id if hold(tx, rule_id, HoldReason.REJECTED, detail, now) else None


def _buried_evidence(tx: Connection, dispatch_id: str, task_id: str, now: datetime) -> tuple[bool, bool]:
    """Handle a task of a row that may have been pruned: (is the id known, is this a second task)."""
    raw = id_to_bytes(dispatch_id)
    tomb = tx.execute(select(tombstones).where(tombstones.c.id == raw)).one_or_none()
    if tomb is None:
        return False, False
    if tomb.task_id is None:
        tx.execute(
            update(tombstones).where(tombstones.c.id == raw).values(state=DispatchState.STARTED, task_id=task_id)
        )
        return True, False
    return True, tomb.task_id != task_id and _note_double(tx, dispatch_id, task_id, now)


def _note_double(tx: Connection, dispatch_id: str, task_id: str, now: datetime) -> bool:
    """Record a second task of a dispatch; tell whether it is news."""
    known = tx.scalar(
        select(double_starts.c.task_id).where(
            double_starts.c.dispatch_id == dispatch_id, double_starts.c.task_id == task_id
        )
    )
    row: Mapping[str, object] = {"dispatch_id": dispatch_id, "task_id": task_id, "seen_at": now}
    insert_new(tx, double_starts, [row])
    return known is None


def _row(tx: Connection, dispatch_id: str) -> _Row | None:
    row = tx.execute(select(dispatches).where(dispatches.c.dispatch_id == dispatch_id)).one_or_none()
    if row is None:
        return None
    return _Row(
        rule_id=row.rule_id,
        state=DispatchState(row.state),
        reason=None if row.reason is None else StateReason(row.reason),
        incarnation=row.incarnation,
        attempt=row.attempt,
        attempts=row.attempts,
        task_id=row.task_id,
        task_status=row.task_status,
        repeat_attempt=row.repeat_attempt,
    )
