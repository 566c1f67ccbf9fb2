"""The tables of the bucket snapshots: roots, and their segments (see docs/adr/0002)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from dispatcher.ledger.metadata import UtcTime, metadata

snapshot_keys = Table(
    "snapshot_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("hash_key", LargeBinary, nullable=False),
)

snapshot_roots = Table(
    "snapshot_roots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("bucket", String, nullable=False),
    Column("root", LargeBinary, nullable=False),  # the key prefix as UTF-8
    Column("version", BigInteger, nullable=False),  # changes so far
    Column("passes", BigInteger, nullable=False),  # complete ones
    Column("started_at", UtcTime, nullable=False),  # of the baseline, by the store's clock
    Column("completed_at", UtcTime),  # of the baseline
    Column("listed_at", UtcTime),  # end of the last complete pass
    Column("suspect_pass", BigInteger),  # the last pass that missed too much
    Column("suspect_missing", BigInteger),
    Column("suspect_at", UtcTime),
    UniqueConstraint("bucket", "root"),
)

# The large columns come last: heads are read without touching the pages behind them.
snapshot_segments = Table(
    "snapshot_segments",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("root_id", Integer, ForeignKey(snapshot_roots.c.id), nullable=False),
    Column("position", BigInteger),  # NULL: limbo
    Column("missing_since", BigInteger),  # limbo: number of the pass that dropped it; NULL: for ever
    Column("count", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("fence", LargeBinary, nullable=False),
    Column("revisions", LargeBinary, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    UniqueConstraint("root_id", "position"),
    Index("ix_snapshot_segments_fence", "root_id", "fence"),
)
