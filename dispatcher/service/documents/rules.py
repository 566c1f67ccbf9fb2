"""The rules with what the ledger knows of each, as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dispatcher.core.documents import Json, rfc3339
from dispatcher.ledger import budgeting, holds, viewing

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.rules import Rule
    from dispatcher.core.settings import Settings


def rule_records(tx: Connection, settings: Settings, at: datetime) -> list[dict[str, Json]]:
    """Return the configured rules, and removed ones that still have rows."""
    counts = viewing.states_by_rule(tx)
    hits = viewing.hits(tx)
    held = holds.held(tx)
    budgets = budgeting.budgets_today(tx, at)
    records = []
    for rule_id in dict.fromkeys([*settings.rules.by_id, *counts]):
        hold = held.get(rule_id)
        budget = budgets.get(rule_id)
        records.append(
            {
                **_configured(rule_id, settings.rules.by_id.get(rule_id)),
                "states": {state.value: count for state, count in counts.get(rule_id, Counter()).items()},
                "hits": hits[rule_id].count if rule_id in hits else 0,
                "last_match_at": rfc3339(hits[rule_id].last_at) if rule_id in hits else None,
                "hold": None
                if hold is None
                else {"reason": hold.reason.value, "since_at": rfc3339(hold.since), "detail": hold.detail},
                "budget": None
                if budget is None
                else {"limit": budget.limit, "used": budget.used, "released": budget.released, "left": budget.left},
            }
        )
    return records


def _configured(rule_id: str, rule: Rule | None) -> dict[str, Json]:
    return {
        "rule": rule_id,
        "name": rule.name if rule is not None else None,
        "configured": rule is not None,
        "input": str(rule.input) if rule is not None else None,
        "workflow": rule.workflow_id if rule is not None else None,
        "action": rule.action_name if rule is not None else None,
    }
