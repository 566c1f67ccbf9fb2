"""The daily budget of each rule: how many live objects it may start in a UTC day.

A row is counted once, at its first claim. Rows beyond the budget are not rewritten: that they wait
(reason BUDGET, until midnight) follows from this table, so that a million of them cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from dispatcher.core.dispatch import DispatchState
from dispatcher.ledger.tables import Lane, budgets, dispatches, in_state, rules
from dispatcher.ledger.writing import add

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Budget:
    """What a rule may start and has started in one UTC day. `limit` None: no budget."""

    limit: int | None
    used: int = 0
    released: int = 0

    @property
    def left(self) -> int | None:
        """Starts that are left today; None: no limit."""
        return None if self.limit is None else max(0, self.limit + self.released - self.used)

    @property
    def exhausted(self) -> bool:
        return self.left == 0


def next_midnight(now: datetime) -> datetime:
    """Return the end of the UTC day."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def budgets_today(tx: Connection, now: datetime) -> dict[str, Budget]:
    """Return the budget of every registered rule that has one."""
    day = now.astimezone(UTC).date()
    rows = tx.execute(
        select(rules.c.rule_id, rules.c.budget, budgets.c.used, budgets.c.released)
        .outerjoin_from(rules, budgets, (budgets.c.rule_id == rules.c.rule_id) & (budgets.c.day == day))
        .where(rules.c.budget.is_not(None))
    )
    return {row.rule_id: Budget(row.budget, row.used or 0, row.released or 0) for row in rows}


def exhausted_rules(tx: Connection, now: datetime) -> frozenset[str]:
    """Return the rules whose budget of today is used up."""
    return frozenset(rule for rule, budget in budgets_today(tx, now).items() if budget.exhausted)


def use(tx: Connection, started: Mapping[str, int], now: datetime) -> None:
    """Count rows against today's budgets, by rule."""
    for rule_id, count in started.items():
        _add(tx, rule_id, now, used=count)


def waiting_for_budget(tx: Connection, rule_ids: Iterable[str], now: datetime) -> dict[str, int]:
    """Return, by rule, how many rows are due and not yet counted."""
    table = dispatches.c
    rows = tx.execute(
        select(table.rule_id, func.count())
        .where(
            in_state(DispatchState.PENDING),
            table.rule_id.in_(list(rule_ids)),
            table.lane == Lane.BUDGETED,
            table.next_at <= now,
        )
        .group_by(table.rule_id)
    )
    return {rule_id: count for rule_id, count in rows}  # noqa: C416 - rows are not pairs to the type checker


def release_budget(tx: Connection, rule_id: str, now: datetime, count: int | None = None) -> int:
    """Let so many more rows of a rule go today (None: all that wait now); return how many were added."""
    budget = budgets_today(tx, now).get(rule_id)
    if budget is None or budget.left is None:
        return 0
    if count is None:
        count = max(0, waiting_for_budget(tx, [rule_id], now).get(rule_id, 0) - budget.left)
    if count > 0:
        _add(tx, rule_id, now, released=count)
    return max(0, count)


def _add(tx: Connection, rule_id: str, now: datetime, *, used: int = 0, released: int = 0) -> None:
    day = now.astimezone(UTC).date()
    add(
        tx,
        budgets,
        {"rule_id": rule_id, "day": day, "used": used, "released": released},
        counters=("used", "released"),
    )
