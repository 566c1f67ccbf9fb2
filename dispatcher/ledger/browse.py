"""Browsing: dispatches as an operator sees them, by one kind of selector.

Why a pending row is not called although it is due (HELD, PAUSED, BUDGET) follows from its rule and is
worked out here, at reading: nothing is rewritten when a rule is held or a target pauses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, and_, func, or_

from dispatcher.core.dispatch import DispatchState, StateReason, id_to_bytes
from dispatcher.core.events import decode_key, encode_key
from dispatcher.ledger import budgeting, rates, turns
from dispatcher.ledger.calls import api_of_attempt
from dispatcher.ledger.holds import held
from dispatcher.ledger.tables import (
    Lane,
    attempts,
    dispatches,
    double_starts,
    in_state,
    outcomes,
    rules,
    tombstones,
)
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from dispatcher.core.calls import Api


@dataclass(frozen=True, slots=True)
class Selector:
    """Which dispatches are meant: all conditions hold; inside one, any value. Empty: all of them.

    `objects` are (bucket, key) pairs. `buckets` narrow to what lies in one of them. `key` is an exact key, or a
    prefix with a trailing `*`. `since` and `until` bound `first_seen_at`: since <= seen < until. `limit`: at most so
    many, the newest first.
    """

    ids: tuple[str, ...] = ()
    objects: tuple[tuple[str, str], ...] = ()
    rules: tuple[str, ...] = ()
    states: tuple[DispatchState, ...] = ()
    task_statuses: tuple[str, ...] = ()
    key: str | None = None
    codes: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    sources: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class LastError:
    """What the last call that failed said."""

    code: str | None
    message: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class DispatchView:
    """One dispatch, with the fields of the public contract.

    `api` is that of its last call, None before the first. `input_media_id` is the object itself as a media
    asset; `media_id`, `vod_media_id` and `project_id` belong to what a producing job makes of it. `repeat_at`
    is when an unanswered call is sent again, None if it is not.
    """

    dispatch_id: str
    rule: str
    bucket: str
    key: str
    etag: str
    size: int
    run: str
    state: DispatchState
    reason: StateReason | None
    source: str
    attempts: int
    next_at: datetime | None
    workflow: str | None
    task_id: str | None
    task_status: str | None
    task_error: str | None
    request_id: str | None
    first_seen_at: datetime
    started_at: datetime | None
    task_finished_at: datetime | None
    updated_at: datetime
    last_error: LastError | None
    backfill: int | None = None
    api: Api | None = None
    media_id: str | None = None
    vod_media_id: str | None = None
    project_id: str | None = None
    input_media_id: str | None = None
    repeat_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One call as it was sent. `request` is the JSON text of the attempt."""

    attempt: int
    incarnation: int
    intent_at: datetime
    region: str
    endpoint: str
    request: str
    api: Api


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """One thing that was learned of an attempt."""

    attempt: int
    kind: str
    code: str | None
    message: str | None
    request_id: str | None
    task_id: str | None
    evidence: str
    ended_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class DispatchDetail:
    """Everything the ledger knows of one id. `view` is None when only its tombstone is left."""

    dispatch_id: str
    state: DispatchState
    task_id: str | None
    view: DispatchView | None
    attempts: tuple[AttemptView, ...] = ()
    outcomes: tuple[OutcomeView, ...] = ()
    double_starts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waits:
    """What makes rows wait at one moment, by rule and by backfill."""

    now: datetime
    held: frozenset[str]
    paused: dict[str, datetime | None]
    exhausted: frozenset[str]
    standing: frozenset[int]

    @classmethod
    def at(cls, tx: Connection, now: datetime) -> Waits:
        """Read it from the ledger."""
        trials = {target: each.trial_at for target, each in rates.healths(tx).items() if each.paused_since is not None}
        paused = {
            row.rule_id: trials[target]
            for row in tx.execute(sa.select(rules.c.rule_id, rules.c.target, rules.c.first_target))
            for target in (row.target, row.first_target)
            if target in trials
        }
        return cls(now, frozenset(held(tx)), paused, budgeting.exhausted_rules(tx, now), turns.standing(tx, now))

    def reason(self, row: Row[Any], stored: StateReason | None, *, due: bool) -> StateReason | None:
        """Return why a pending row waits; it is told by its rule_id, lane and backfill."""
        rule_id, lane = row.rule_id, row.lane
        if rule_id in self.held:
            return StateReason.HELD
        if row.backfill in self.standing:
            return StateReason.PAUSED
        if rule_id in self.paused:
            return StateReason.PAUSED
        if not due:
            return stored
        return StateReason.BUDGET if lane == Lane.BUDGETED and rule_id in self.exhausted else None

    def next_at(self, rule_id: str, stored: datetime | None, reason: StateReason | None) -> datetime | None:
        """Return when a pending row is due; None while only an operator can tell."""
        if stored is None or reason is StateReason.HELD:
            return None
        if reason is StateReason.PAUSED:
            return max(stored, self.paused.get(rule_id) or stored)
        return max(stored, budgeting.next_midnight(self.now)) if reason is StateReason.BUDGET else stored


def select(
    tx: Connection,
    selector: Selector,
    now: datetime,
    *,
    after: tuple[datetime, str] | None = None,
    sorts: bool = False,
) -> Iterator[DispatchView]:
    """Yield the selected dispatches, the newest first; rows are read as they are asked for.

    `after`: only those behind this (first_seen_at, dispatch_id). `sorts`: few are selected, so that they are
    found by what selects them, and sorted then.
    """
    waits = Waits.at(tx, now)
    left = selector.limit
    for chunk in batches(selector):
        statement = _ordered(
            sa.select(dispatches).where(_walked(chunk, sorts=sorts), _behind(after)), left, sorts=sorts
        )
        for row in tx.execute(statement, execution_options={"yield_per": BATCH}):
            yield _view(row, waits)
            if left is not None:
                left -= 1


def count(tx: Connection, selector: Selector) -> int:
    """Return how many dispatches are selected; the limit counts."""
    found = 0
    for chunk in batches(selector):
        found += tx.scalar(sa.select(func.count()).select_from(dispatches).where(where(chunk))) or 0
    return found if selector.limit is None else min(found, selector.limit)


def show(tx: Connection, dispatch_id: str, now: datetime) -> DispatchDetail | None:
    """Return all that is known of an id; None if the ledger never had it."""
    row = tx.execute(sa.select(dispatches).where(dispatches.c.dispatch_id == dispatch_id)).one_or_none()
    seconds = tuple(
        tx.scalars(
            sa.select(double_starts.c.task_id).where(double_starts.c.dispatch_id == dispatch_id).order_by("seen_at")
        )
    )
    if row is None:
        tomb = tx.execute(sa.select(tombstones).where(tombstones.c.id == id_to_bytes(dispatch_id))).one_or_none()
        if tomb is None:
            return None
        return DispatchDetail(dispatch_id, DispatchState(tomb.state), tomb.task_id, None, double_starts=seconds)
    calls = tx.execute(sa.select(attempts).where(attempts.c.dispatch_id == dispatch_id).order_by(attempts.c.attempt))
    ends = tx.execute(sa.select(outcomes).where(outcomes.c.dispatch_id == dispatch_id).order_by(outcomes.c.outcome_id))
    return DispatchDetail(
        dispatch_id=dispatch_id,
        state=DispatchState(row.state),
        task_id=row.task_id,
        view=_view(row, Waits.at(tx, now)),
        attempts=tuple(
            AttemptView(
                attempt=each.attempt,
                incarnation=each.incarnation,
                intent_at=each.intent_at,
                region=each.region,
                endpoint=each.endpoint,
                request=each.request,
                api=api_of_attempt(each.api),
            )
            for each in calls
        ),
        outcomes=tuple(
            OutcomeView(
                attempt=each.attempt,
                kind=each.kind,
                code=each.code,
                message=each.message,
                request_id=each.request_id,
                task_id=each.task_id,
                evidence=each.evidence,
                ended_at=each.ended_at,
                recorded_at=each.recorded_at,
            )
            for each in ends
        ),
        double_starts=seconds,
    )


def where(selector: Selector) -> ColumnElement[bool]:
    """Return the condition of a selector with at most 1,000 ids and objects; its limit is not in it."""
    table = dispatches.c
    conditions: list[ColumnElement[bool]] = []
    if selector.ids or selector.objects:
        these: list[ColumnElement[bool]] = [table.dispatch_id.in_(selector.ids)] if selector.ids else []
        these += [and_(table.bucket == bucket, table.key == encode_key(key)) for bucket, key in selector.objects]
        conditions.append(or_(*these))
    if selector.states:
        conditions.append(in_state(*selector.states))
    if selector.key is not None:
        conditions.append(_key(selector.key))
    if selector.since is not None:
        conditions.append(table.first_seen_at >= selector.since)
    if selector.until is not None:
        conditions.append(table.first_seen_at < selector.until)
    for column, values in (
        (table.rule_id, selector.rules),
        (table.task_status, selector.task_statuses),
        (table.last_error_code, selector.codes),
        (table.source, selector.sources),
        (table.bucket, selector.buckets),
    ):
        if values:
            conditions.append(column.in_(values))
    return and_(True, *conditions)  # noqa: FBT003 - the neutral element


def _key(pattern: str) -> ColumnElement[bool]:
    key = dispatches.c.key
    if not pattern.endswith("*"):
        return key == encode_key(pattern)
    prefix = encode_key(pattern[:-1])
    after = prefix.rstrip(b"\xff")
    if not after:
        return key >= prefix
    return and_(key >= prefix, key < after[:-1] + bytes([after[-1] + 1]))


def batches(selector: Selector) -> Iterator[Selector]:
    """Split a selector with many ids or objects into those that one statement holds."""
    most = BATCH // 4
    if len(selector.ids) + len(selector.objects) <= most:
        yield selector
        return
    for start in range(0, len(selector.ids), most):
        yield replace(selector, ids=selector.ids[start : start + most], objects=())
    for start in range(0, len(selector.objects), most):
        yield replace(selector, ids=(), objects=selector.objects[start : start + most])


def _walked(selector: Selector, *, sorts: bool) -> ColumnElement[bool]:
    """Return the condition of a selector, so that rows of one rule among many are met on the way, and not sorted."""
    if sorts or not selector.rules or selector.key is not None or selector.objects:
        return where(selector)
    met = func.coalesce(dispatches.c.rule_id, "").in_(selector.rules)
    return and_(where(replace(selector, rules=())), met)


def _behind(last: tuple[datetime, str] | None) -> ColumnElement[bool]:
    if last is None:
        return sa.true()
    table, (at, dispatch_id) = dispatches.c, last
    return and_(table.first_seen_at <= at, or_(table.first_seen_at < at, table.dispatch_id > dispatch_id))


def _ordered(statement: Select[Any], limit: int | None, *, sorts: bool) -> Select[Any]:
    # With a sign before it the column is an expression, which no index is walked for.
    seen: ColumnElement[Any] = sa.literal_column("+dispatches.first_seen_at") if sorts else dispatches.c.first_seen_at
    statement = statement.order_by(seen.desc(), dispatches.c.dispatch_id)
    return statement if limit is None else statement.limit(limit)


def _view(row: Row[tuple[object, ...]], waits: Waits) -> DispatchView:
    state = DispatchState(row.state)
    reason = None if row.reason is None else StateReason(row.reason)
    next_at = row.next_at
    if state is DispatchState.PENDING:
        reason = waits.reason(row, reason, due=row.next_at <= waits.now)
        next_at = None if row.backfill in waits.standing else waits.next_at(row.rule_id, row.next_at, reason)
    failed = row.last_error_code is not None or row.last_error_message is not None
    error = LastError(row.last_error_code, row.last_error_message, row.last_error_request_id)
    return DispatchView(
        dispatch_id=row.dispatch_id,
        rule=row.rule_id,
        bucket=row.bucket,
        key=decode_key(row.key),
        etag=row.etag,
        size=row.size,
        run=row.run,
        state=state,
        reason=reason,
        source=row.source,
        attempts=row.attempts,
        next_at=next_at,
        workflow=row.workflow_id,
        task_id=row.task_id,
        task_status=row.task_status,
        task_error=row.task_error,
        request_id=row.request_id,
        first_seen_at=row.first_seen_at,
        started_at=row.started_at,
        task_finished_at=row.task_finished_at,
        updated_at=row.updated_at,
        last_error=error if failed else None,
        api=None if row.attempt == 0 else api_of_attempt(row.api),
        media_id=row.media_id,
        vod_media_id=row.vod_media_id,
        project_id=row.project_id,
        input_media_id=row.input_media_id,
        repeat_at=row.repeat_at if row.repeat_until is not None and row.repeat_until > waits.now else None,
        backfill=row.backfill,
    )
