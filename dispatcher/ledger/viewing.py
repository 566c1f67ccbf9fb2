"""What the page reads of the ledger, each by an index: pages of rows, what changed lately, failures by code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, func, select, type_coerce

from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.ledger import browse
from dispatcher.ledger.tables import dispatches, in_state, incarnations, rule_hits, rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy import Connection

    from dispatcher.ledger.browse import DispatchView, Selector

_MOST_RULES = 500
"""Rules that a selection is filled up with, so that an index can be used; with more it is broken off in time."""
_MICROSECOND = 1_000_000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Bounds nothing, and leads to the index of what is bounded."""
_OPEN = frozenset({DispatchState.PENDING, DispatchState.SENDING, DispatchState.UNCERTAIN, DispatchState.DEAD})


@dataclass(frozen=True, slots=True)
class Hits:
    """How many rows a rule ever got, and when the last one was recorded."""

    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Changed:
    """Rows whose last change lies in one slot of time (0 is the first), by what they are now.

    `task_status` of a started one: None before its task was seen.
    """

    slot: int
    state: DispatchState
    task_status: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Failures:
    """Dead rows of one rule with one code. `code` is None where the reason tells all; `message` is one of theirs."""

    rule_id: str
    code: str | None
    reason: str | None
    message: str | None
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class FailedTasks:
    """Tasks that ended badly, by what the service says of them."""

    rule_id: str
    task_status: str
    error: str | None
    count: int
    last_at: datetime


def newest(
    tx: Connection, selector: Selector, now: datetime, *, after: tuple[datetime, str] | None = None
) -> list[DispatchView]:
    """Return a page of the selected dispatches, the newest first, behind (first_seen_at, dispatch_id) of the last."""
    indexed = _indexed(tx, selector)
    return list(browse.select(tx, indexed, now, after=after, sorts=indexed is not selector or _small(selector)))


def _small(selector: Selector) -> bool:
    """Tell whether the rows in question are so few that they are better sorted than looked for among all."""
    return bool(selector.ids or (selector.states and _OPEN.issuperset(selector.states)))


def _indexed(tx: Connection, selector: Selector) -> Selector:
    """Return the same selection with what an index needs written out, where it is known."""
    by_place = selector.key is not None or bool(selector.objects)
    by_task = bool(selector.task_statuses) and not any(TaskStatus(s).succeeded for s in _known(selector.task_statuses))
    if selector.ids or not (by_place or by_task):
        return selector
    known = {row.rule_id: row.input for row in tx.execute(select(rules.c.rule_id, rules.c.input))}
    if len(known) > _MOST_RULES:
        return selector
    buckets = {text.removeprefix("oss://").partition("/")[0] for text in known.values()}
    return replace(
        selector,
        rules=selector.rules or tuple(known),
        buckets=tuple(sorted(buckets)) if by_place else (),
        states=selector.states or ((DispatchState.STARTED,) if by_task and not by_place else ()),
    )


def _known(words: Sequence[str]) -> list[str]:
    return [word for word in words if word in set(TaskStatus)]


def states_by_rule(tx: Connection) -> Mapping[str, Counter[DispatchState]]:
    """Return all rows counted by rule and state."""
    table = dispatches.c
    found: dict[str, Counter[DispatchState]] = {}
    for rule_id, state, count in tx.execute(
        select(table.rule_id, table.state, func.count()).group_by(table.rule_id, table.state)
    ):
        found.setdefault(rule_id, Counter())[DispatchState(state)] += count
    return found


def hits(tx: Connection) -> Mapping[str, Hits]:
    """Return, for each rule that ever matched, how often and when last."""
    return {row.rule_id: Hits(row.hits, row.last_at) for row in tx.execute(select(rule_hits))}


def running_since(tx: Connection) -> datetime | None:
    """Return when the present or last sender began."""
    return tx.scalar(select(incarnations.c.started_at).order_by(incarnations.c.number.desc()).limit(1))


def changed(tx: Connection, since: datetime, slot: timedelta) -> list[Changed]:
    """Return what became started, skipped or dead since a time, in slots of so long.

    A row counts once, where it changed last: a started one when its task ended, as far as that is known.
    """
    table = dispatches.c
    at = type_coerce(table.updated_at, BigInteger)
    begin = round(since.timestamp() * _MICROSECOND)
    number = ((at - begin) // round(slot.total_seconds() * _MICROSECOND)).label("slot")
    found: list[Changed] = []
    for states in ((DispatchState.STARTED, DispatchState.SKIPPED), (DispatchState.DEAD,)):
        rows = tx.execute(
            select(
                number,
                table.state,
                table.task_status,
                func.count(),
            )
            .where(in_state(*states), table.updated_at >= since)
            .group_by("slot", table.state, table.task_status)
        )
        found += [Changed(int(place), DispatchState(state), status, count) for place, state, status, count in rows]
    return found


def failures(tx: Connection) -> list[Failures]:
    """Return dead rows grouped by rule, code and reason, the most numerous first."""
    table = dispatches.c
    kind = (table.rule_id, table.last_error_code, table.reason)
    count = func.count().label("rows")
    rows = tx.execute(
        select(*kind, count, func.max(table.last_error_message), func.min(table.updated_at), func.max(table.updated_at))
        .where(in_state(DispatchState.DEAD), table.updated_at >= _LONG_AGO)
        .group_by(*kind)
        .order_by(count.desc())
    )
    return [
        Failures(rule, code, reason, message, number, first, last)
        for rule, code, reason, number, message, first, last in rows
    ]


def failed_tasks(tx: Connection, since: datetime) -> list[FailedTasks]:
    """Return tasks that were seen to have failed since a time, grouped by rule and error, the most numerous first."""
    table = dispatches.c
    kind = (table.rule_id, table.task_status, table.task_error)
    count = func.count().label("rows")
    rows = tx.execute(
        select(*kind, count, func.max(table.updated_at))
        .where(
            in_state(DispatchState.STARTED, DispatchState.SKIPPED),
            table.updated_at >= since,
            table.task_status.in_((TaskStatus.FAILED, TaskStatus.CANCELED)),
        )
        .group_by(*kind)
        .order_by(count.desc())
    )
    return [FailedTasks(rule, status, error, number, last) for rule, status, error, number, last in rows]
