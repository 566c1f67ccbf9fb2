"""The account: every dispatch ever made, counted by rule, day and extension; also those that were pruned.

A call counts where its request was made, whatever became of it: not one that was given back unsent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, literal_column, select, true

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.events import decode_key
from dispatcher.core.extensions import NONE_WORD, extension_of
from dispatcher.ledger.account_tables import list_requests, pruned_calls, pruned_dispatches
from dispatcher.ledger.tables import attempts, dispatches, outcomes, tombstones
from dispatcher.ledger.writing import add

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from sqlalchemy import ColumnElement, Connection, Row, Select

OTHER = "other"
"""Stands for extensions that are none: names come from strangers, and the account does not grow with them."""
_LONGEST = 10
_NOT_SENT = "not_sent"
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Group:
    """What counts together. `extension` is lower-case, `none` for names without a dot."""

    rule_id: str
    day: date
    extension: str


@dataclass(slots=True)
class Entry:
    """The account of one group. `again`: rows of a named run, which are in `rows` and `bytes` as well."""

    rows: int = 0
    bytes: int = 0
    again: int = 0
    states: Counter[DispatchState] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    calls: Counter[Api] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which rows were first seen; None: open. `until` is not part of it."""

    since: datetime | None = None
    until: datetime | None = None

    def days(self, day: ColumnElement[date]) -> ColumnElement[bool]:
        """Return the condition that a whole day lies within."""
        parts: list[ColumnElement[bool]] = []
        if self.since is not None:
            begun = self.since.astimezone(UTC)
            first = begun.date() if begun.time() == time() else begun.date() + timedelta(days=1)
            parts.append(day >= first)
        if self.until is not None:
            parts.append(day < self.until.astimezone(UTC).date())
        return and_(true(), *parts)

    def times(self) -> ColumnElement[bool]:
        """Return the condition that a row was first seen within."""
        seen = dispatches.c.first_seen_at
        parts = [] if self.since is None else [seen >= self.since]
        parts += [] if self.until is None else [seen < self.until]
        return and_(true(), *parts)


def shown_extension(key: str) -> str:
    """Return by which extension an object counts; a text that looks like none is `other`."""
    extension = extension_of(key)
    if extension is None:
        return NONE_WORD
    usual = extension.isascii() and extension.isalnum() and len(extension) <= _LONGEST
    return extension if usual else OTHER


def note_pruned(tx: Connection, ids: Sequence[str]) -> None:
    """Add rows to the account of those that are pruned. Call it before they are deleted, in the same transaction."""
    groups: dict[str, Group] = {}
    counted: Counter[tuple[Group, bool, str, str]] = Counter()
    sizes: Counter[tuple[Group, bool, str, str]] = Counter()
    for row in tx.execute(_rows().where(dispatches.c.dispatch_id.in_(ids))):
        group = groups[row.dispatch_id] = _group(row)
        kind = (group, bool(row.run), row.state, row.task_status or "")
        counted[kind] += 1
        sizes[kind] += row.size
    for (group, again, state, status), objects in counted.items():
        values = {**_key(group), "again": again, "state": state, "task_status": status, "objects": objects}
        values["bytes"] = sizes[group, again, state, status]
        add(tx, pruned_dispatches, values, counters=("objects", "bytes"))
    calls: Counter[tuple[Group, str]] = Counter()
    for row in tx.execute(_calls().where(attempts.c.dispatch_id.in_(ids))):
        calls[groups[row.dispatch_id], row.api] += row.calls
    for (group, api), number in calls.items():
        add(tx, pruned_calls, {**_key(group), "api": api, "calls": number}, counters=("calls",))


def account(tx: Connection, span: Span) -> dict[Group, Entry]:
    """Return the account of all rows first seen within, by group. Reads every row once, and keeps none.

    Pruned rows count by whole days: a day that lies only partly within is left out for them.
    """
    found: dict[Group, Entry] = {}
    for row in tx.execute(_rows().where(span.times()).execution_options(yield_per=_CHUNK)):
        _add(found.setdefault(_group(row), Entry()), row, objects=1, size=row.size, again=bool(row.run))
    calls = _calls(dispatches.c.rule_id, dispatches.c.first_seen_at, dispatches.c.key).join(
        dispatches, dispatches.c.dispatch_id == attempts.c.dispatch_id
    )
    for row in tx.execute(calls.where(span.times()).execution_options(yield_per=_CHUNK)):
        found.setdefault(_group(row), Entry()).calls[Api(row.api)] += row.calls
    table = pruned_dispatches.c
    for row in tx.execute(select(pruned_dispatches).where(span.days(table.day))):
        entry = found.setdefault(Group(row.rule_id, row.day, row.extension), Entry())
        _add(entry, row, objects=row.objects, size=row.bytes, again=row.again)
    for row in tx.execute(select(pruned_calls).where(span.days(pruned_calls.c.day))):
        found.setdefault(Group(row.rule_id, row.day, row.extension), Entry()).calls[Api(row.api)] += row.calls
    return found


def unaccounted_tombstones(tx: Connection) -> int:
    """Return how many dispatches are known by their id alone: pruned by an earlier version, or adopted."""
    buried = tx.scalar(select(func.count()).select_from(tombstones)) or 0
    accounted = tx.scalar(select(func.coalesce(func.sum(pruned_dispatches.c.objects), 0))) or 0
    return max(0, buried - int(accounted))


def note_list_requests(tx: Connection, bucket: str, requests: int, now: datetime) -> None:
    """Count requests that listed a bucket."""
    day = now.astimezone(UTC).date()
    add(tx, list_requests, {"bucket": bucket, "day": day, "requests": requests}, counters=("requests",))


def listed(tx: Connection, span: Span) -> Iterator[tuple[str, date, int]]:
    """Yield (bucket, day, LIST requests) of the whole days within."""
    table = list_requests.c
    for row in tx.execute(select(list_requests).where(span.days(table.day)).order_by(table.day, table.bucket)):
        yield row.bucket, row.day, row.requests


def _rows() -> Select[tuple[object, ...]]:
    table = dispatches.c
    return select(
        table.dispatch_id,
        table.rule_id,
        table.key,
        table.size,
        table.run,
        table.state,
        table.task_status,
        table.first_seen_at,
    )


def _calls(*more: ColumnElement[object]) -> Select[tuple[object, ...]]:
    """Return the query of calls by dispatch and API: attempts without those that were given back or never left."""
    unsent = (
        select(outcomes.c.outcome_id)
        .where(
            outcomes.c.dispatch_id == attempts.c.dispatch_id,
            outcomes.c.attempt == attempts.c.attempt,
            outcomes.c.kind == literal_column(f"'{_NOT_SENT}'"),
        )
        .exists()
    )
    api = func.coalesce(attempts.c.api, Api.START_WORKFLOW.value).label("api")
    made = func.count().label("calls")
    return select(attempts.c.dispatch_id, api, made, *more).where(~unsent).group_by(attempts.c.dispatch_id, api, *more)


def _group(row: Row[tuple[object, ...]]) -> Group:
    seen: datetime = row.first_seen_at
    return Group(row.rule_id, seen.astimezone(UTC).date(), shown_extension(decode_key(row.key)))


def _key(group: Group) -> dict[str, object]:
    return {"rule_id": group.rule_id, "day": group.day, "extension": group.extension}


def _add(entry: Entry, row: Row[tuple[object, ...]], *, objects: int, size: int, again: bool) -> None:
    entry.rows += objects
    entry.bytes += size
    entry.again += objects if again else 0
    entry.states[DispatchState(row.state)] += objects
    if row.task_status:
        entry.tasks[row.task_status] += objects
