"""What notifications missed: matched objects that only a listing brought.

An object that a listing brings first is *unannounced* until a notification of it comes. One that stays so
for ten minutes counts as found by listing only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, select, update

from dispatcher.core.events import decode_key, encode_key
from dispatcher.ledger.tables import missed_notifications, unannounced
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

MISSED_AFTER = timedelta(minutes=10)
"""A notification that comes later than that was of no use."""


@dataclass(frozen=True, slots=True)
class Missed:
    """How many objects of one bucket no notification told of, and when the last was counted."""

    found_by_listing_only: int
    last_at: datetime


def listed(tx: Connection, bucket: str, keys: Iterable[str], now: datetime) -> None:
    """Note objects that a listing brought first. One that waits for its notification already goes on waiting."""
    wanted = {encode_key(key) for key in keys}
    known = set(tx.scalars(select(unannounced.c.key).where(_of(bucket, wanted))))
    rows = [{"bucket": bucket, "key": key, "listed_at": now} for key in sorted(wanted - known)]
    if rows:
        tx.execute(insert(unannounced), rows)


def announced(tx: Connection, bucket: str, keys: Iterable[str]) -> None:
    """Note that notifications of these objects came. Idempotent."""
    wanted = [encode_key(key) for key in dict.fromkeys(keys)]
    for start in range(0, len(wanted), BATCH):
        tx.execute(delete(unannounced).where(_of(bucket, wanted[start : start + BATCH])))


def count_missed(tx: Connection, now: datetime, *, limit: int = BATCH) -> list[tuple[str, str]]:
    """Count what has waited for its notification too long; return bucket and key of each, at most `limit`."""
    table = unannounced.c
    rows = tx.execute(
        select(table.bucket, table.key)
        .where(table.listed_at <= now - MISSED_AFTER)
        .order_by(table.listed_at)
        .limit(limit)
    ).all()
    by_bucket: dict[str, list[bytes]] = {}
    for bucket, key in rows:
        by_bucket.setdefault(bucket, []).append(key)
    for bucket, keys in by_bucket.items():
        tx.execute(delete(unannounced).where(_of(bucket, keys)))
        _add(tx, bucket, len(keys), now)
    return [(bucket, decode_key(key)) for bucket, key in rows]


def missed(tx: Connection) -> Mapping[str, Missed]:
    """Return what notifications missed, by bucket."""
    rows = tx.execute(select(missed_notifications).order_by(missed_notifications.c.bucket))
    return {row.bucket: Missed(row.found_by_listing_only, row.last_at) for row in rows}


def waiting(tx: Connection) -> int:
    """Return how many objects wait for their notification."""
    return tx.scalar(select(func.count()).select_from(unannounced)) or 0


def uncover(tx: Connection, covered: Iterable[str]) -> None:
    """Wait no longer for notifications of buckets that no source tells of any more."""
    tx.execute(delete(unannounced).where(unannounced.c.bucket.not_in(list(covered))))


def _add(tx: Connection, bucket: str, number: int, now: datetime) -> None:
    table = missed_notifications
    values = {"found_by_listing_only": table.c.found_by_listing_only + number, "last_at": now}
    if not tx.execute(update(table).where(table.c.bucket == bucket).values(values)).rowcount:
        tx.execute(insert(table).values(bucket=bucket, found_by_listing_only=number, last_at=now))


def _of(bucket: str, keys: Iterable[bytes]) -> ColumnElement[bool]:
    return and_(unannounced.c.bucket == bucket, unannounced.c.key.in_(list(keys)))
