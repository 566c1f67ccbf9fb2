"""What a plan reads of the ledger: which wishes are fulfilled, and how large a listed bucket was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from dispatcher.core.events import decode_key, encode_key
from dispatcher.core.listing import decode_raw_key
from dispatcher.ledger.snapshot_tables import snapshot_roots, snapshot_segments
from dispatcher.ledger.tables import rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

_FETCH = 500


@dataclass(frozen=True, slots=True)
class Remembered:
    """A complete snapshot that covers a prefix: how many objects it has there, and of when it is."""

    root_id: int
    entries: int
    segments: int
    listed_at: datetime | None


def existing_done(tx: Connection) -> frozenset[str]:
    """Return the current rules that got all objects that were there before them, as they wished."""
    wanted = rules.c.existing_done.is_(True) & rules.c.removed_revision.is_(None)
    return frozenset(tx.scalars(select(rules.c.rule_id).where(wanted)))


def remembered(tx: Connection, bucket: str, prefix: str) -> Remembered | None:
    """Return what a complete listing remembers under a prefix, None without one. Reads each segment's head."""
    root = snapshot_roots.c
    complete = select(root.id, root.root, root.listed_at).where(root.bucket == bucket, root.completed_at.is_not(None))
    covering = [row for row in tx.execute(complete) if encode_key(prefix).startswith(row.root)]
    if not covering:
        return None
    best = max(covering, key=lambda row: len(row.root))
    if decode_key(best.root) == prefix:
        segment = snapshot_segments.c
        sums = select(func.coalesce(func.sum(segment.count), 0), func.count()).where(
            segment.root_id == best.id, segment.position.is_not(None)
        )
        entries, segments = tx.execute(sums).one()
        return Remembered(best.id, entries, segments, best.listed_at)
    counts = [count for _, count in fences(tx, best.id, prefix)]
    return Remembered(best.id, sum(counts), len(counts), best.listed_at)


def fences(tx: Connection, root_id: int, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield, in the order of the listing, the last key of each segment under a prefix and its number of entries.

    Keys are as the listing spelled them, which is asked for in URL encoding.
    """
    segment = snapshot_segments.c
    query = (
        select(segment.fence, segment.count)
        .where(segment.root_id == root_id, segment.position.is_not(None))
        .order_by(segment.position)
    )
    for fence, count in tx.execute(query.execution_options(yield_per=_FETCH)):
        key = decode_key(decode_raw_key(fence, url_encoded=True))
        if key.startswith(prefix):
            yield key, count
