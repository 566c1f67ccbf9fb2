"""What an operator may do to selected rows. Started rows and rows being sent are never touched.

Each function does one bounded batch and returns how many rows it changed: call it, each time in a
transaction of its own, until it returns 0. A selector's limit is the caller's to count down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update

from dispatcher.core.backfilling import BackfillState
from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.ledger.browse import Selector, batches, where
from dispatcher.ledger.tables import Lane, backfills, dispatches, in_state
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


class Verb(Protocol):
    """`retry`, `skip` or `probe`."""

    def __call__(self, tx: Connection, selector: Selector, now: datetime, *, limit: int = BATCH) -> int: ...


def _held() -> ColumnElement[bool]:
    """Return the condition of a row whose call is proven absent and which its rule's policy holds."""
    return and_(in_state(DispatchState.UNCERTAIN), dispatches.c.reason == StateReason.HELD)


def may_retry() -> ColumnElement[bool]:
    """Return the condition of rows that `retry` changes."""
    return or_(in_state(DispatchState.DEAD), in_state(DispatchState.SKIPPED), _held())


def may_skip() -> ColumnElement[bool]:
    """Return the condition of rows that `skip` changes."""
    return or_(in_state(DispatchState.DEAD), in_state(DispatchState.PENDING), _held())


def may_probe() -> ColumnElement[bool]:
    """Return the condition of rows that `probe` changes."""
    return in_state(DispatchState.UNCERTAIN)


def retry(tx: Connection, selector: Selector, now: datetime, *, limit: int = BATCH) -> int:
    """Make dead, skipped and held uncertain rows due now; their attempts are kept. At most `limit` rows.

    Rows of a cancelled backfill leave it: nothing of it is ever sent.
    """
    number = dispatches.c.backfill
    cancelled = number.in_(select(backfills.c.number).where(backfills.c.state == BackfillState.CANCELLED))
    values: dict[str, object] = {
        "state": DispatchState.PENDING,
        "reason": None,
        "next_at": now,
        "first_attempt_at": None,
        "input_media_id": None,  # the asset may be gone: registering again yields it, or another
        "updated_at": now,
        "backfill": case((cancelled, None), else_=number),
        "lane": case((cancelled, Lane.EXEMPT), else_=dispatches.c.lane),
    }
    return _change(tx, selector, may_retry(), limit, values)


def skip(tx: Connection, selector: Selector, now: datetime, *, limit: int = BATCH) -> int:
    """Give up pending, dead and held uncertain rows (skipped, OPERATOR). At most `limit` rows."""
    return _change(
        tx,
        selector,
        may_skip(),
        limit,
        {"state": DispatchState.SKIPPED, "reason": StateReason.OPERATOR, "next_at": None, "updated_at": now},
    )


def probe(tx: Connection, selector: Selector, now: datetime, *, limit: int = BATCH) -> int:
    """Let uncertain rows be looked for now, held ones too, with absences counted afresh. At most `limit` rows."""
    due = or_(dispatches.c.next_at.is_(None), dispatches.c.next_at != now)
    return _change(
        tx,
        selector,
        and_(may_probe(), due),
        limit,
        {"reason": None, "next_at": now, "absent_sweeps": 0, "last_absent_at": None, "updated_at": now},
    )


def countable(tx: Connection, selector: Selector, allowed: ColumnElement[bool]) -> int:
    """Return how many rows a verb would change: pass `may_retry()`, `may_skip()` or `may_probe()`."""
    found = sum(
        tx.scalar(select(func.count()).select_from(dispatches).where(where(chunk), allowed)) or 0
        for chunk in batches(selector)
    )
    return found if selector.limit is None else min(found, selector.limit)


def _change(
    tx: Connection, selector: Selector, allowed: ColumnElement[bool], limit: int, values: dict[str, object]
) -> int:
    changed = 0
    for chunk in batches(selector):
        if changed >= limit:
            break
        some = (
            select(dispatches.c.dispatch_id)
            .where(where(chunk), allowed)
            .order_by(dispatches.c.first_seen_at.desc(), dispatches.c.dispatch_id)
            .limit(limit - changed)
        )
        changed += tx.execute(update(dispatches).where(dispatches.c.dispatch_id.in_(some)).values(**values)).rowcount
    return changed
