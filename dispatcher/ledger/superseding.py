"""Superseding: a call that comes late would process bytes that another row stands for already.

`recording` skips a waiting row when newer content of its key comes. A row whose call was under way then
is looked at here, at the one place through which every row passes that is to be sent once more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.ledger.tables import dispatches

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

RECORDING_TAKES = timedelta(seconds=30)
"""A recorder reads its clock before it waits for the right to write: its row may be so much younger than its time."""


def waiting_again(
    tx: Connection, dispatch_id: str, reason: StateReason | None, next_at: datetime
) -> tuple[DispatchState, StateReason | None, datetime | None]:
    """Return state, reason and due time of a row whose call certainly started nothing.

    It waits until `next_at`, or is skipped (SUPERSEDED) if newer content of the same rule, bucket, key and run
    was recorded since its first call. Nothing is written. An operator who retries a superseded row means it:
    only content that came after that counts.
    """
    if newer_came(tx, dispatch_id):
        return DispatchState.SKIPPED, StateReason.SUPERSEDED, None
    return DispatchState.PENDING, reason, next_at


def newer_came(tx: Connection, dispatch_id: str) -> bool:
    """Tell whether newer content of the same rule, bucket, key and run was recorded since a row's first call."""
    table = dispatches.c
    row = tx.execute(select(dispatches).where(table.dispatch_id == dispatch_id)).one()
    called_at = row.first_attempt_at or row.first_seen_at
    newer = [
        table.rule_id == row.rule_id,
        table.bucket == row.bucket,
        table.key == row.key,
        table.run == row.run,
        table.first_seen_at > row.first_seen_at,
        table.first_seen_at >= called_at - RECORDING_TAKES,
        # What was itself never to be sent says nothing: older content that came late, or a shadow run.
        func.coalesce(table.reason, "").not_in([StateReason.SUPERSEDED, StateReason.SHADOW]),
    ]
    if row.modified_at is not None:
        newer.append(or_(table.modified_at.is_(None), table.modified_at >= row.modified_at))
    return tx.execute(select(table.dispatch_id).where(*newer).limit(1)).first() is not None
