"""The two statements whose form depends on the dialect: insert what is new, and insert or update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Table

BATCH = 1_000
"""Rows that one write transaction may touch: longer ones would keep other writers waiting."""


def _insert(tx: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)


def insert_new(tx: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows, ignoring those whose primary key exists."""
    if rows:
        tx.execute(_insert(tx, table).on_conflict_do_nothing(), list(rows))


def put(tx: Connection, table: Table, row: Mapping[str, object]) -> None:
    """Insert one row, or give the row of the same primary key these values."""
    keys = [column.name for column in table.primary_key]
    statement = _insert(tx, table).values(**row)
    changed = {name: statement.excluded[name] for name in row if name not in keys}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))


def add(
    tx: Connection,
    table: Table,
    row: Mapping[str, object],
    *,
    counters: Iterable[str],
    latest: Iterable[str] = (),
) -> None:
    """Insert one row, or add its counters to those of the row of the same primary key, which gets its `latest`."""
    keys = [column.name for column in table.primary_key]
    statement = _insert(tx, table).values(**row)
    grown = {name: table.c[name] + statement.excluded[name] for name in counters}
    grown |= {name: statement.excluded[name] for name in latest}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=grown))
