"""Rules that are held: their rows wait, whatever else is due."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from dispatcher.ledger.tables import holds, rule_progress
from dispatcher.ledger.writing import insert_new

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


class HoldReason(StrEnum):
    """Why a rule is held."""

    OPERATOR = "OPERATOR"
    LOOP = "LOOP"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Hold:
    """One rule, held. `detail` tells the operator what was seen."""

    rule_id: str
    reason: HoldReason
    since: datetime
    detail: str


def hold(tx: Connection, rule_id: str, reason: HoldReason, detail: str, now: datetime) -> bool:
    """Hold a rule; tell whether it was not held before. The first reason stands."""
    if held_rule(tx, rule_id) is not None:
        return False
    insert_new(tx, holds, [{"rule_id": rule_id, "reason": reason, "since": now, "detail": detail}])
    return True


def resume(tx: Connection, rule_id: str) -> bool:
    """End the hold of a rule and forget its streak of refusals; tell whether it was held."""
    tx.execute(
        update(rule_progress).where(rule_progress.c.rule_id == rule_id).values(rejected_code=None, rejected_count=0)
    )
    return tx.execute(delete(holds).where(holds.c.rule_id == rule_id)).rowcount > 0


def held_rule(tx: Connection, rule_id: str) -> Hold | None:
    """Return the hold of a rule, None if it is not held."""
    return held(tx).get(rule_id)


def held(tx: Connection) -> dict[str, Hold]:
    """Return all holds by rule."""
    return {
        row.rule_id: Hold(row.rule_id, HoldReason(row.reason), row.since, row.detail)
        for row in tx.execute(select(holds))
    }
