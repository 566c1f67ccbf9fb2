"""`report`: what was done and what it cost, by rule, day or extension."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import DispatchState
from dispatcher.core.pricing import add_costs
from dispatcher.core.rules import WorkflowAction
from dispatcher.ledger import accounting
from dispatcher.ledger.accounting import Entry

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dispatcher.core.account import By
    from dispatcher.core.pricing import Prices
    from dispatcher.core.rules import Rule, RuleSet
    from dispatcher.ledger.accounting import Group, Span


@dataclass(slots=True)
class Line:
    """One rule, day or extension. `cost` None: something of it has no price."""

    name: str
    entry: Entry = field(default_factory=Entry)
    cost: Decimal | None = Decimal(0)

    @property
    def starts(self) -> int:
        """Starts that the service took."""
        return self.entry.states[DispatchState.STARTED]


@dataclass(frozen=True, slots=True)
class Report:
    """The lines, their sum, and what belongs to none: LIST requests by bucket, and what they cost.

    `without_detail`: dispatches that are known by their id alone and are in no line. `currency` None: no prices
    are configured; `list_cost` and the lines' costs mean nothing then.
    """

    by: By
    lines: tuple[Line, ...]
    total: Line
    list_requests: dict[str, int]
    list_cost: Decimal | None
    without_detail: int
    currency: str | None

    @property
    def cost(self) -> Decimal | None:
        """What everything cost; None if something has no price."""
        listed = self.list_cost if any(self.list_requests.values()) else Decimal(0)
        return add_costs(self.total.cost, listed)


def make_report(tx: Connection, rules: RuleSet, prices: Prices | None, span: Span, by: By) -> Report:
    """Return the report of what was first seen within a time. Takes seconds for each million dispatches."""
    lines: defaultdict[str, Line] = defaultdict(lambda: Line(""))
    total = Line("total")
    account = accounting.account(tx, span, by)
    for group, entry in sorted(account.items(), key=lambda item: (item[0].label, item[0].rule_id)):
        name = group.label
        cost = _cost(rules, prices, group, entry)
        for line in (lines[name], total):
            _add(line, entry, cost)
    for name, line in lines.items():
        line.name = name
    requests: Counter[str] = Counter()
    for bucket, _, count in accounting.listed(tx, span):
        requests[bucket] += count
    return Report(
        by=by,
        lines=tuple(lines.values()),
        total=total,
        list_requests=dict(requests),
        list_cost=None if prices is None else prices.of_listing(requests.total()),
        without_detail=accounting.unaccounted_tombstones(tx),
        currency=None if prices is None else prices.currency,
    )


def started_workflow(rule: Rule | None) -> str | None:
    """Return the workflow that a rule starts, None if it starts none or is gone."""
    return rule.action.workflow_id if rule is not None and isinstance(rule.action, WorkflowAction) else None


def _cost(rules: RuleSet, prices: Prices | None, group: Group, entry: Entry) -> Decimal | None:
    if prices is None:
        return None
    starts = entry.states[DispatchState.STARTED]
    of_starts = prices.of_starts(group.rule_id, started_workflow(rules.by_id.get(group.rule_id)), starts)
    return add_costs(of_starts, prices.of_calls(entry.calls))


def _add(line: Line, entry: Entry, cost: Decimal | None) -> None:
    mine = line.entry
    mine.rows += entry.rows
    mine.bytes += entry.bytes
    mine.again += entry.again
    mine.states.update(entry.states)
    mine.tasks.update(entry.tasks)
    mine.calls.update(entry.calls)
    line.cost = add_costs(line.cost, cost)
