"""The account: every dispatch ever made, counted by rule, day and extension; also those that were pruned.

A call counts where its request was made, whatever became of it: not one that was given back unsent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, assert_never

from sqlalchemy import BigInteger, and_, func, literal_column, select, true, type_coerce

from dispatcher.core.account import By
from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.events import decode_key
from dispatcher.core.extensions import NONE_WORD, extension_of
from dispatcher.ledger.account_tables import list_requests, pruned_calls, pruned_dispatches
from dispatcher.ledger.tables import attempts, dispatches, outcomes, tombstones
from dispatcher.ledger.writing import add

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.sql.base import ReadOnlyColumnCollection

OTHER = "other"
"""Stands for extensions that are none: names come from strangers, and the account does not grow with them."""
_LONGEST = 10
_CHUNK = 10_000
_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Group:
    """What counts together. `label`: the day (ISO 8601, UTC) on which rows were first seen, or their extension
    (lower-case, `none` for names without a dot); the rule again where the account is told by the rule alone.
    """

    rule_id: str
    label: str


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
    table = dispatches.c
    places: dict[str, dict[str, object]] = {}
    counted: Counter[tuple[str, date, str, bool, str, str]] = Counter()
    sizes: Counter[tuple[str, date, str, bool, str, str]] = Counter()
    for row in tx.execute(
        select(
            table.dispatch_id,
            table.rule_id,
            table.first_seen_at,
            table.key,
            table.size,
            table.run,
            table.state,
            table.task_status,
        ).where(table.dispatch_id.in_(ids))
    ):
        day, extension = row.first_seen_at.astimezone(UTC).date(), shown_extension(decode_key(row.key))
        places[row.dispatch_id] = {"rule_id": row.rule_id, "day": day, "extension": extension}
        kind = (row.rule_id, day, extension, bool(row.run), row.state, row.task_status or "")
        counted[kind] += 1
        sizes[kind] += row.size
    names = ("rule_id", "day", "extension", "again", "state", "task_status")
    for kind, objects in counted.items():
        values = {**dict(zip(names, kind, strict=True)), "objects": objects, "bytes": sizes[kind]}
        add(tx, pruned_dispatches, values, counters=("objects", "bytes"))
    calls = select(attempts.c.dispatch_id, _API, func.count().label("calls")).where(
        attempts.c.dispatch_id.in_(ids), ~_never_left()
    )
    for row in tx.execute(calls.group_by(attempts.c.dispatch_id, _API)):
        add(tx, pruned_calls, {**places[row.dispatch_id], "api": row.api, "calls": row.calls}, counters=("calls",))


def account(tx: Connection, span: Span, by: By) -> dict[Group, Entry]:
    """Return the account of all rows first seen within. Takes seconds for each million rows, and keeps none.

    Pruned rows count by whole days: a day that lies only partly within is left out for them.
    """
    found: defaultdict[Group, Entry] = defaultdict(Entry)
    for rule, label, again, state, status, objects, size in _rows(tx, span, by):
        entry = found[Group(rule, label)]
        entry.rows += objects
        entry.bytes += size
        entry.again += objects if again else 0
        entry.states[DispatchState(state)] += objects
        if status:
            entry.tasks[status] += objects
    for rule, label, api, calls in _calls(tx, span, by):
        found[Group(rule, label)].calls[Api(api)] += calls
    return dict(found)


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


# Constants are written out: PostgreSQL takes two parameters of one value for two expressions, and groups by neither.
_AGAIN = dispatches.c.run != literal_column("''")
_API = func.coalesce(attempts.c.api, literal_column(f"'{Api.START_WORKFLOW.value}'")).label("api")
_DAY_MICROSECONDS: ColumnElement[int] = literal_column("86400000000", BigInteger)


def _rows(tx: Connection, span: Span, by: By) -> Iterator[tuple[str, str, bool, str, str | None, int, int]]:
    """Yield (rule, label, of a named run, state, status of the task, rows, bytes) of rows and of pruned ones."""
    table, old = dispatches.c, pruned_dispatches.c
    if by is By.EXTENSION:
        yield from _rows_by_extension(tx, span)
    else:
        columns = (table.rule_id, _label(by), _AGAIN, table.state, table.task_status)
        rows = select(*columns, func.count(), func.sum(table.size)).where(span.times()).group_by(*columns)
        for rule, raw, again, state, status, count, total in tx.execute(rows):
            yield rule, _text(by, raw), again, state, status, int(count), int(total)
    objects, size = func.sum(old.objects), func.sum(old.bytes)
    kind = (old.rule_id, _pruned_label(old, by), old.again, old.state, old.task_status)
    for rule, label, again, state, status, count, total in tx.execute(
        select(*kind, objects, size).where(span.days(old.day)).group_by(*kind)
    ):
        yield rule, str(label), again, state, status, int(count), int(total)


class _Extensions(dict[tuple[bytes, bytes], str]):
    """What `shown_extension` returns, by the dot of a name (none: empty) and what is behind it."""

    def __missing__(self, ending: tuple[bytes, bytes]) -> str:
        dot, behind = ending
        shown = shown_extension(decode_key(b"name" + dot + behind)) if dot else NONE_WORD
        if dot and len(behind) <= _LONGEST:  # names of strangers are not remembered
            self[ending] = shown
        return shown


def _rows_by_extension(tx: Connection, span: Span) -> Iterator[tuple[str, str, bool, str, str | None, int, int]]:
    """Yield what `_rows` does. Databases have no function for it, so each key is looked at here, once."""
    table = dispatches.c
    columns = (table.rule_id, table.key, _AGAIN, table.state, table.task_status, table.size)
    objects: Counter[tuple[str, str, bool, str, str | None]] = Counter()
    sizes: Counter[tuple[str, str, bool, str, str | None]] = Counter()
    extensions = _Extensions()
    for rule, key, again, state, status, size in tx.execute(
        select(*columns).where(span.times()).execution_options(yield_per=_CHUNK)
    ):
        kind = (rule, extensions[key.rpartition(b"/")[2].rpartition(b".")[1:]], again, state, status)
        objects[kind] += 1
        sizes[kind] += size
    for kind, count in objects.items():
        yield *kind, count, sizes[kind]


def _calls(tx: Connection, span: Span, by: By) -> Iterator[tuple[str, str, str, int]]:
    """Yield (rule, label, API, calls) of rows and of pruned ones."""
    table, old = dispatches.c, pruned_calls.c
    made = attempts.join(dispatches, dispatches.c.dispatch_id == attempts.c.dispatch_id)
    kind = (table.rule_id, _label(by), _API)
    calls = select(*kind, func.count()).select_from(made).where(span.times(), ~_never_left()).group_by(*kind)
    for rule, raw, api, count in tx.execute(calls.execution_options(yield_per=_CHUNK)):
        yield rule, _text(by, raw), api, count
    kind_then = (old.rule_id, _pruned_label(old, by), old.api)
    for rule, label, api, count in tx.execute(
        select(*kind_then, func.sum(old.calls)).where(span.days(old.day)).group_by(*kind_then)
    ):
        yield rule, str(label), api, int(count)


def _never_left() -> ColumnElement[bool]:
    """Return the condition that the request of an attempt was never made, or given back unsent."""
    return (
        select(outcomes.c.outcome_id)
        .where(
            outcomes.c.dispatch_id == attempts.c.dispatch_id,
            outcomes.c.attempt == attempts.c.attempt,
            outcomes.c.kind == "not_sent",
        )
        .exists()
    )


def _label(by: By) -> ColumnElement[Any]:
    match by:
        case By.RULE:
            return dispatches.c.rule_id
        case By.DAY:
            return (type_coerce(dispatches.c.first_seen_at, BigInteger) // _DAY_MICROSECONDS).label("day")
        case By.EXTENSION:
            return dispatches.c.key
        case _:
            assert_never(by)


def _pruned_label(table: ReadOnlyColumnCollection[str, Any], by: By) -> ColumnElement[Any]:
    match by:
        case By.RULE:
            rule: ColumnElement[Any] = table.rule_id
            return rule
        case By.DAY:
            day: ColumnElement[Any] = table.day
            return day
        case By.EXTENSION:
            extension: ColumnElement[Any] = table.extension
            return extension
        case _:
            assert_never(by)


def _text(by: By, raw: Any) -> str:  # noqa: ANN401 - a column's value, by what was asked
    match by:
        case By.RULE:
            return str(raw)
        case By.DAY:
            return (_FIRST_DAY + timedelta(days=int(raw))).isoformat()
        case By.EXTENSION:
            return shown_extension(decode_key(raw))
        case _:
            assert_never(by)
