"""Repeating: an unanswered call under a client token is sent again, the very same request, for ten minutes.

The row stays uncertain meanwhile: what it did is unknown, and sweeps look for it as for any other. Whoever
skips, supersedes or removes waiting rows does not touch it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from dispatcher.core.dispatch import DispatchState
from dispatcher.core.outcomes import REPEAT_FOR
from dispatcher.ledger.calls import api_of_attempt, call_from_text
from dispatcher.ledger.claims import DueDispatch, Repetition, due_dispatch
from dispatcher.ledger.holds import held
from dispatcher.ledger.superseding import newer_came
from dispatcher.ledger.tables import attempts, dispatches, in_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from dispatcher.core.calls import Endpoint

NOT_REPEATED: dict[str, object] = {"repeat_attempt": None, "repeat_at": None, "repeat_until": None}
"""Columns of a row whose last call is not repeated."""


def repeats_due(  # noqa: PLR0913 - what narrows one query
    tx: Connection, *, rule_ids: Iterable[str], endpoint: Endpoint, now: datetime, before: datetime, limit: int
) -> list[DueDispatch]:
    """Return at most `limit` unanswered calls of these rules to be sent again now, those due longest first.

    Only to the endpoint that had them first, only while the token surely lasts until `before`, and not for a
    held rule. One whose key has newer content by now is not repeated: if it did not arrive it shall not start.
    """
    if limit <= 0:
        return []
    table = dispatches.c
    rows = tx.execute(
        select(dispatches, attempts.c.request.label("repeated_request"), attempts.c.api.label("repeated_api"))
        .join(
            attempts,
            (attempts.c.dispatch_id == table.dispatch_id) & (attempts.c.attempt == table.repeat_attempt),
        )
        .where(_repeatable(tx, rule_ids, endpoint, before), table.repeat_at <= now)
        .order_by(table.repeat_at)
        .limit(limit)
    ).all()
    found: list[DueDispatch] = []
    for row in rows:
        if newer_came(tx, row.dispatch_id):
            tx.execute(update(dispatches).where(table.dispatch_id == row.dispatch_id).values(**NOT_REPEATED))
            continue
        call = call_from_text(endpoint, row.repeated_request, api_of_attempt(row.repeated_api))
        repetition = Repetition(row.repeat_attempt, row.repeat_until - REPEAT_FOR, call)
        found.append(due_dispatch(row, row.repeat_at, repetition))
    return found


def next_repeat_at(tx: Connection, rule_ids: Iterable[str], endpoint: Endpoint, before: datetime) -> datetime | None:
    """Return when the first unanswered call is to be sent again; None if none is."""
    at: datetime | None = tx.scalar(
        select(func.min(dispatches.c.repeat_at)).where(_repeatable(tx, rule_ids, endpoint, before))
    )
    return at


def _repeatable(tx: Connection, rule_ids: Iterable[str], endpoint: Endpoint, before: datetime) -> ColumnElement[bool]:
    table = dispatches.c
    conditions: ColumnElement[bool] = (
        in_state(DispatchState.UNCERTAIN)
        & (table.repeat_until > before)
        & table.repeat_at.is_not(None)
        & table.rule_id.in_(sorted(set(rule_ids) - held(tx).keys()))
        & (table.region == endpoint.region)
        & (table.endpoint == endpoint.url)
    )
    return conditions
