"""Sightings that cannot be decided yet: their content is unknown until the object itself is asked.

Recorded is acknowledged: a sighting stays until it is decided, or its object was missing for an hour (a day
for a file that has to be carried to its bucket first).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, select, update

from dispatcher.core.events import FILE_WRITTEN, ObjectEvent, decode_key, encode_key
from dispatcher.ledger.tables import sightings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection

GONE_AFTER = timedelta(hours=1)
FILE_GONE_AFTER = timedelta(hours=24)
"""For a file of a folder: whoever carries it to the bucket may have many others to carry first."""
RETRY_LIMIT = timedelta(minutes=5)
_TIMES = ("modified_at", "happened_at")


@dataclass(frozen=True, slots=True)
class Sighting:
    """An event that waits for its object's content. `version` grows when the same object is seen again."""

    event: ObjectEvent
    version: int
    first_seen_at: datetime
    due_at: datetime
    tries: int
    missing_since: datetime | None


def record(tx: Connection, events: Iterable[ObjectEvent], now: datetime) -> None:
    """Keep these events, due now. The same object from the same source replaces the one that waits."""
    for event in events:
        changed = tx.execute(
            update(sightings)
            .where(_of(event))
            .values(event=_text(event), version=sightings.c.version + 1, due_at=now, missing_since=None)
        ).rowcount
        if not changed:
            tx.execute(
                sightings.insert().values(
                    bucket=event.bucket,
                    key=encode_key(event.key),
                    source=event.source,
                    event=_text(event),
                    version=1,
                    first_seen_at=now,
                    due_at=now,
                    tries=0,
                )
            )


def due(tx: Connection, now: datetime, *, limit: int) -> list[Sighting]:
    """Return sightings that should be decided now, the longest due first."""
    rows = tx.execute(select(sightings).where(sightings.c.due_at <= now).order_by(sightings.c.due_at).limit(limit))
    return [
        Sighting(
            _event(row.bucket, row.key, row.source, row.event),
            row.version,
            row.first_seen_at,
            row.due_at,
            row.tries,
            row.missing_since,
        )
        for row in rows
    ]


def waits_for(tx: Connection, bucket: str, keys: Iterable[str]) -> set[str]:
    """Return which of these keys a sighting waits for; at most a batch of them."""
    wanted = [encode_key(key) for key in keys]
    table = sightings.c
    found = tx.scalars(select(table.key).where(table.bucket == bucket, table.key.in_(wanted)))
    return {decode_key(raw) for raw in found}


def waiting(tx: Connection) -> int:
    """Return how many sightings wait."""
    return tx.scalar(select(func.count()).select_from(sightings)) or 0


def resolve(tx: Connection, sighting: Sighting) -> bool:
    """Forget a sighting that was decided; False if its object was seen again meanwhile: then it stays."""
    return tx.execute(delete(sightings).where(_same(sighting))).rowcount > 0


def postpone(tx: Connection, sighting: Sighting, now: datetime) -> None:
    """Try again later: the store did not answer."""
    _again(tx, sighting, now, missing_since=None)


def missing(tx: Connection, sighting: Sighting, now: datetime) -> bool:
    """Note that the object does not exist; True if it has been so for long enough: the sighting is dropped (GONE)."""
    since = sighting.missing_since or now
    patience = FILE_GONE_AFTER if sighting.event.event_name == FILE_WRITTEN else GONE_AFTER
    if now - since >= patience:
        return resolve(tx, sighting)
    _again(tx, sighting, now, missing_since=since)
    return False


def _again(tx: Connection, sighting: Sighting, now: datetime, *, missing_since: datetime | None) -> None:
    wait = min(RETRY_LIMIT, timedelta(seconds=5) * 2 ** min(sighting.tries, 10))
    tx.execute(
        update(sightings)
        .where(_same(sighting))
        .values(due_at=now + wait, tries=sighting.tries + 1, missing_since=missing_since)
    )


def _of(event: ObjectEvent) -> ColumnElement[bool]:
    table = sightings.c
    return and_(table.bucket == event.bucket, table.key == encode_key(event.key), table.source == event.source)


def _same(sighting: Sighting) -> ColumnElement[bool]:
    return and_(_of(sighting.event), sightings.c.version == sighting.version)


def _text(event: ObjectEvent) -> str:
    fields = {name: value for name, value in asdict(event).items() if name not in {"bucket", "key", "source"}}
    for name in _TIMES:
        at: datetime | None = fields[name]
        fields[name] = None if at is None else at.isoformat()
    return json.dumps(fields)


def _event(bucket: str, key: bytes, source: str, text: str) -> ObjectEvent:
    fields = json.loads(text)
    for name in _TIMES:
        fields[name] = None if fields[name] is None else datetime.fromisoformat(fields[name])
    return ObjectEvent(bucket=bucket, key=decode_key(key), source=source, **fields)
