"""Quarantine: bodies that mean nothing to us, kept as they came, so that the queue moves on and nothing is lost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, select, update

from dispatcher.ledger.tables import quarantine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from dispatcher.ports import Undecodable

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A body in quarantine. `times`: how often it came. `format` None: told by its marks."""

    number: int
    source: str
    body: bytes
    format: str | None
    reason: str
    times: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """Which bodies are meant: by number, by source, or every one. Empty means none."""

    numbers: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()
    every: bool = False

    def where(self) -> ColumnElement[bool]:
        """Return the condition; several words narrow it."""
        table = quarantine.c
        parts: list[ColumnElement[bool]] = []
        if self.numbers:
            parts.append(table.number.in_(self.numbers))
        if self.sources:
            parts.append(table.source.in_(self.sources))
        if not parts and not self.every:
            parts.append(table.number.is_(None))
        return and_(table.number.is_not(None), *parts)


def record(tx: Connection, items: Iterable[Undecodable], now: datetime) -> int:
    """Keep these bodies; return how many are new. A body that its source brings again is counted, not kept twice."""
    reasons: dict[tuple[str, bytes], list[Undecodable]] = {}
    for item in items:
        reasons.setdefault((item.source, item.body), []).append(item)
    new = 0
    for (source, body), parts in reasons.items():
        digest = hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
        reason = "; ".join(dict.fromkeys(part.reason for part in parts))
        changed = tx.execute(
            update(quarantine)
            .where(quarantine.c.source == source, quarantine.c.digest == digest)
            .values(times=quarantine.c.times + 1, last_seen_at=now, reason=reason, format=parts[0].format)
        ).rowcount
        if not changed:
            new += 1
            tx.execute(
                insert(quarantine).values(
                    source=source,
                    digest=digest,
                    body=body,
                    format=parts[0].format,
                    reason=reason,
                    times=1,
                    first_seen_at=now,
                    last_seen_at=now,
                )
            )
    return new


def select_some(tx: Connection, choice: Choice, *, after: int = 0, limit: int | None = None) -> Sequence[Quarantined]:
    """Return chosen bodies with numbers above `after`, the oldest first."""
    rows = tx.execute(
        select(quarantine).where(choice.where(), quarantine.c.number > after).order_by(quarantine.c.number).limit(limit)
    )
    return [_quarantined(row) for row in rows]


def count(tx: Connection, choice: Choice) -> int:
    """Return how many bodies are chosen."""
    return tx.scalar(select(func.count()).select_from(quarantine).where(choice.where())) or 0


def counts(tx: Connection) -> Mapping[str, int]:
    """Return how many bodies are in quarantine, by source."""
    rows = tx.execute(select(quarantine.c.source, func.count().label("rows")).group_by(quarantine.c.source))
    return {row.source: row.rows for row in rows}


def drop(tx: Connection, choice: Choice) -> int:
    """Forget the chosen bodies; return how many. Idempotent."""
    return tx.execute(delete(quarantine).where(choice.where())).rowcount


def explain(tx: Connection, number: int, reason: str) -> None:
    """Note why a body still means nothing."""
    tx.execute(update(quarantine).where(quarantine.c.number == number).values(reason=reason))


def _quarantined(row: Row[tuple[object, ...]]) -> Quarantined:
    return Quarantined(
        row.number,
        row.source,
        row.body,
        row.format,
        row.reason,
        row.times,
        row.first_seen_at,
        row.last_seen_at,
    )
