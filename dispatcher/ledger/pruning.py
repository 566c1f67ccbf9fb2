"""Pruning: a finished row shrinks to its tombstone, and is added to the account. The fact that it was dispatched
stays for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from dispatcher.core.dispatch import DispatchState, id_to_bytes
from dispatcher.ledger import accounting
from dispatcher.ledger.tables import attempts, dispatches, in_state, outcomes, sweeps, tombstones
from dispatcher.ledger.writing import BATCH, insert_new

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

LISTED_FOR = timedelta(days=90)
"""How long the service lists a task: an older one without a final status will not get one."""


def prune(tx: Connection, before: datetime, *, now: datetime, limit: int = BATCH) -> int:
    """Turn finished rows that did not change since `before` into tombstones; return how many. Call until 0.

    Skipped rows, and started ones whose task ended or that began more than 90 days before `now`. Dead
    rows stay until an operator decides.
    """
    table = dispatches.c
    rows = tx.execute(
        select(table.dispatch_id, table.state, table.task_id)
        .where(
            in_state(DispatchState.STARTED, DispatchState.SKIPPED),
            table.updated_at < before,
            or_(table.follow_at.is_(None), table.started_at < now - LISTED_FOR),
        )
        .order_by(table.updated_at)
        .limit(limit)
    ).all()
    if not rows:
        return 0
    insert_new(
        tx,
        tombstones,
        [{"id": id_to_bytes(row.dispatch_id), "state": row.state, "task_id": row.task_id} for row in rows],
    )
    ids = [row.dispatch_id for row in rows]
    accounting.note_pruned(tx, ids)
    tx.execute(delete(outcomes).where(outcomes.c.dispatch_id.in_(ids)))
    tx.execute(delete(attempts).where(attempts.c.dispatch_id.in_(ids)))
    tx.execute(delete(dispatches).where(table.dispatch_id.in_(ids)))
    return len(rows)


def prune_sweeps(tx: Connection, before: datetime, *, limit: int = BATCH) -> int:
    """Forget sweeps made before a time; return how many, at most `limit`."""
    old = select(sweeps.c.sweep_id).where(sweeps.c.at < before).limit(limit)
    return tx.execute(delete(sweeps).where(sweeps.c.sweep_id.in_(old))).rowcount
