"""Turns: which backfills may send now, and how much of each.

A backfill that is paused, cancelled or out of its time is not served, however many of its rows wait, and they are
not even looked at. A done one is: an operator may have retried one of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text, update

from dispatcher.core.backfilling import BackfillState
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.quantities import parse_rate
from dispatcher.ledger import rates
from dispatcher.ledger.backfills import running
from dispatcher.ledger.tables import backfills, dispatches, in_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from dispatcher.core.ratelimit import Rate


@dataclass(frozen=True, slots=True)
class Turn:
    """A backfill that may send, and its own limits."""

    number: int
    max_rate: Rate | None
    max_running: int | None
    until_at: datetime | None

    @property
    def target(self) -> str:
        """The key of its rate among those of the targets."""
        return f"backfill/{self.number}"


# A jump from backfill to backfill along the index, as from rule to rule in claiming.
_WITH_PENDING = text(
    "WITH RECURSIVE waiting(number) AS ("
    " SELECT min(backfill) FROM dispatches WHERE state = 'pending' AND backfill IS NOT NULL"
    " UNION ALL SELECT (SELECT min(backfill) FROM dispatches"
    " WHERE state = 'pending' AND backfill IS NOT NULL AND backfill > waiting.number)"
    " FROM waiting WHERE waiting.number IS NOT NULL"
    ") SELECT number FROM waiting WHERE number IS NOT NULL"
)


def turns(tx: Connection, now: datetime) -> list[Turn]:
    """Return the backfills that have waiting rows and may send, the one that waited longest for its turn first."""
    numbers = list(tx.scalars(_WITH_PENDING))
    if not numbers:
        return []
    rows = tx.execute(
        select(backfills).where(backfills.c.number.in_(numbers)).order_by(backfills.c.served_at, backfills.c.number)
    )
    return [_turn(row) for row in rows if not _stands(row, now)]


def standing(tx: Connection, now: datetime) -> frozenset[int]:
    """Return the backfills whose rows are not sent, whatever is due: paused, cancelled, or out of their time."""
    return frozenset(row.number for row in tx.execute(select(backfills)) if _stands(row, now))


def rules_waiting(tx: Connection, number: int, rule_ids: Iterable[str]) -> list[str]:
    """Return those of the rules of which a backfill has waiting rows, in the order given."""
    waiting: set[str] = set()
    table = dispatches.c
    of_backfill = in_state(DispatchState.PENDING) & (table.backfill == number)
    first = select(table.rule_id).where(of_backfill).order_by(table.rule_id).limit(1)
    rule = tx.scalar(first)
    while rule is not None:
        waiting.add(rule)
        rule = tx.scalar(first.where(table.rule_id > rule))
    return [rule for rule in rule_ids if rule in waiting]


def room(tx: Connection, turn: Turn, now: datetime, most: int) -> int:
    """Return how many rows of a backfill may be sent now, at most `most`. Nothing is used up by asking."""
    if turn.max_running is not None:
        most = min(most, turn.max_running - _under_way(tx, turn.number))
    if turn.max_rate is not None and most > 0:
        most = rates.due(tx, turn.target, turn.max_rate, most, now)
    return max(0, most)


def wait(tx: Connection, turn: Turn, now: datetime) -> timedelta | None:
    """Return how long a backfill's own limits keep its rows; None: until a task of it ends, nobody knows when."""
    if turn.max_running is not None and turn.max_running <= _under_way(tx, turn.number):
        return None
    if turn.max_rate is None:
        return timedelta()
    return rates.wait(tx, turn.target, turn.max_rate, now)


def serve(tx: Connection, sent: Mapping[int, int], now: datetime) -> None:
    """Use up what rows cost that are sent now, counted by backfill."""
    if not sent:
        return
    for row in tx.execute(select(backfills).where(backfills.c.number.in_(list(sent)))).all():
        turn = _turn(row)
        if turn.max_rate is not None:
            rates.take(tx, turn.target, turn.max_rate, sent[turn.number], now)
        tx.execute(update(backfills).where(backfills.c.number == turn.number).values(served_at=now))


def _under_way(tx: Connection, number: int) -> int:
    """Return the tasks that are unfinished or may be: calls under way, unanswered ones, started tasks."""
    asked = in_state(DispatchState.SENDING, DispatchState.UNCERTAIN) & (dispatches.c.backfill == number)
    return (tx.scalar(select(func.count()).select_from(dispatches).where(asked)) or 0) + running(tx, number)


def _turn(row: Row[tuple[object, ...]]) -> Turn:
    rate = None if row.max_rate is None else parse_rate(row.max_rate)
    return Turn(row.number, rate, row.max_running, row.until_at)


def _stands(row: Row[tuple[object, ...]], now: datetime) -> bool:
    match BackfillState(row.state):
        case BackfillState.PAUSED | BackfillState.CANCELLED:
            return True
        case BackfillState.RUNNING:
            return row.until_at is not None and row.until_at <= now
        case BackfillState.DONE:
            return False
