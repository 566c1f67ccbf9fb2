"""What a comparison reads of the ledger: what was started, what would have been, and what became of an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.core.events import decode_key, encode_key
from dispatcher.ledger.tables import dispatches, in_state
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class OwnStart:
    """A dispatch that was started, or would have been if we called (SHADOW).

    `at` is when it was started, or first seen.
    """

    rule_id: str
    workflow_id: str | None
    bucket: str
    key: str
    at: datetime
    task_id: str | None


def own_starts(tx: Connection, since: datetime, until: datetime) -> Iterator[OwnStart]:
    """Yield what was started, or would have been, in since <= at < until; rows are read as they are asked for."""
    table = dispatches.c
    at = func.coalesce(table.started_at, table.first_seen_at)
    shadow = and_(in_state(DispatchState.SKIPPED), table.reason == StateReason.SHADOW)
    query = (
        select(table.rule_id, table.workflow_id, table.bucket, table.key, at.label("at"), table.task_id)
        .where(or_(in_state(DispatchState.STARTED), shadow), at >= since, at < until)
        .order_by(at, table.dispatch_id)
    )
    for row in tx.execute(query.execution_options(yield_per=BATCH)):
        yield OwnStart(row.rule_id, row.workflow_id, row.bucket, decode_key(row.key), row.at, row.task_id)


def states_of(tx: Connection, rule_id: str, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return state and reason of the newest dispatch of a rule for each of these objects. At most 1,000."""
    keys: dict[str, list[bytes]] = {}
    for bucket, key in places:
        keys.setdefault(bucket, []).append(encode_key(key))
    table = dispatches.c
    found: dict[tuple[str, str], str] = {}
    for bucket, wanted in keys.items():
        query = (
            select(table.key, table.state, table.reason)
            .where(table.rule_id == rule_id, table.bucket == bucket, table.key.in_(wanted))
            .order_by(table.first_seen_at)
        )
        for row in tx.execute(query):
            found[bucket, decode_key(row.key)] = f"{row.state} {row.reason or ''}".strip()
    return found
