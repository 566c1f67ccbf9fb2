"""Tables of the account: what rows that were pruned were, added up, and what listing took."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Table, Text

from dispatcher.ledger.metadata import metadata
from dispatcher.ledger.tables import dispatches

# By these the metrics count all rows at each reading: the index alone answers.
Index("ix_dispatches_counted", dispatches.c.rule_id, dispatches.c.state, dispatches.c.task_status)

pruned_dispatches = Table(
    "pruned_dispatches",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),  # in UTC, on which they were first seen
    Column("extension", Text, primary_key=True),
    Column("again", Boolean(create_constraint=False), primary_key=True),  # of a named run
    Column("state", Text, primary_key=True),
    Column("task_status", Text, primary_key=True),  # empty: none was seen
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

pruned_calls = Table(
    "pruned_calls",
    metadata,
    Column("rule_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("extension", Text, primary_key=True),
    Column("api", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

list_requests = Table(
    "list_requests",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
