"""Claiming: which rows are due, and the durable intent to call.

Rules take turns: the one that waited longest for its turn comes first, so that no backlog starves
another rule. Inside a rule live rows go before a backfill, and what is due longest goes first.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, text, update

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.events import decode_key
from dispatcher.core.outcomes import NotSent
from dispatcher.ledger import budgeting
from dispatcher.ledger.budgeting import release_budget
from dispatcher.ledger.evidence import Evidence, append_outcomes, outcome_row
from dispatcher.ledger.holds import held
from dispatcher.ledger.superseding import waiting_again
from dispatcher.ledger.tables import Lane, attempts, dispatches, in_state, rule_progress
from dispatcher.ledger.writing import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.ledger.sending import Incarnation

__all__ = [
    "Claim", "DueDispatch", "begin", "call_from_text", "call_text", "due", "give_back", "is_due", "next_due_at",
    "release_budget",
]  # fmt: skip

_LIVE = (Lane.BUDGETED, Lane.EXEMPT)
_BACKFILL = (Lane.BACKFILL,)


@dataclass(frozen=True, slots=True)
class DueDispatch:
    """A row that may be called now. `attempt` is the number of its last attempt, `failures` those that count."""

    dispatch_id: str
    rule_id: str
    bucket: str
    key: str
    etag: str
    size: int
    run: str
    source: str
    attempt: int
    failures: int
    lane: Lane
    next_at: datetime
    modified_at: datetime | None
    first_seen_at: datetime
    first_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours to call: its intent is in the ledger."""

    dispatch: DueDispatch
    attempt: int
    call: WorkflowCall
    incarnation: Incarnation


def due(tx: Connection, *, rule_ids: Iterable[str], now: datetime, limit: int) -> list[DueDispatch]:
    """Return at most `limit` rows of these rules that may be called now, in the order to call them.

    Rows of a held rule, or over its budget of the day, are not due.
    """
    if limit <= 0:
        return []
    candidates = _in_turn(tx, _callable_rules(tx, rule_ids))
    left = {rule: budget.left for rule, budget in budgeting.budgets_today(tx, now).items()}
    found: list[DueDispatch] = []
    for lanes in (_LIVE, _BACKFILL):
        queues = [_oldest(tx, rule, lanes, left.get(rule), now, limit - len(found)) for rule in candidates]
        found += _take_turns(queues, limit - len(found))
        if len(found) == limit:
            break
    return found


def is_due(tx: Connection, rule_ids: Iterable[str], now: datetime) -> bool:
    """Tell whether `due` would return anything."""
    at = next_due_at(tx, rule_ids, now)
    return at is not None and at <= now


def next_due_at(tx: Connection, rule_ids: Iterable[str], now: datetime) -> datetime | None:
    """Return when the first row of these rules is due (a past time: now); None if none waits."""
    exhausted = budgeting.exhausted_rules(tx, now)
    midnight = budgeting.next_midnight(now)
    first: datetime | None = None
    for rule in _callable_rules(tx, rule_ids):
        for lane in Lane:
            at = tx.scalar(
                select(func.min(dispatches.c.next_at)).where(
                    in_state(DispatchState.PENDING), dispatches.c.rule_id == rule, dispatches.c.lane == lane
                )
            )
            if at is None:
                continue
            if lane is Lane.BUDGETED and rule in exhausted:
                at = max(at, midnight)
            first = at if first is None else min(first, at)
    return first


def begin(
    tx: Connection, incarnation: Incarnation, calls: Sequence[tuple[DueDispatch, int, WorkflowCall]], now: datetime
) -> list[Claim]:
    """Write the intent of these calls: state `sending`, lease, attempt and request; the budget is used.

    Returns the claims that are really ours, in the order given: a row that is not pending any more, or
    whose attempt number is not the one before, is left out. Durable once `tx` commits.
    """
    ours = _still_pending(tx, calls)
    claims = [
        Claim(item, attempt, call, incarnation)
        for item, attempt, call in calls
        if ours.get(item.dispatch_id) == attempt
    ]
    if not claims:
        return []
    tx.execute(
        insert(attempts),
        [
            {
                "dispatch_id": claim.dispatch.dispatch_id,
                "attempt": claim.attempt,
                "incarnation": incarnation.number,
                "intent_at": now,
                "region": claim.call.endpoint.region,
                "endpoint": claim.call.endpoint.url,
                "request": call_text(claim.call),
            }
            for claim in claims
        ],
    )
    tx.execute(
        update(dispatches)
        .where(dispatches.c.dispatch_id == bindparam("of"))
        .values(
            state=DispatchState.SENDING,
            reason=None,
            lane=bindparam("to_lane"),
            attempt=bindparam("number"),
            incarnation=incarnation.number,
            first_attempt_at=func.coalesce(
                dispatches.c.first_attempt_at, bindparam("at", now, dispatches.c.updated_at.type)
            ),
            intent_at=now,
            updated_at=now,
            next_at=None,
            region=bindparam("to_region"),
            endpoint=bindparam("to_endpoint"),
            workflow_id=bindparam("to_workflow"),
        ),
        [
            {
                "of": claim.dispatch.dispatch_id,
                "to_lane": max(claim.dispatch.lane, Lane.EXEMPT),
                "number": claim.attempt,
                "at": now,
                "to_region": claim.call.endpoint.region,
                "to_endpoint": claim.call.endpoint.url,
                "to_workflow": claim.call.workflow_id,
            }
            for claim in claims
        ],
    )
    counted = Counter(claim.dispatch.rule_id for claim in claims if claim.dispatch.lane is Lane.BUDGETED)
    budgeting.use(tx, counted, now)
    for rule in {claim.dispatch.rule_id for claim in claims}:
        put(tx, rule_progress, {"rule_id": rule, "served_at": now})
    return claims


def give_back(tx: Connection, claim: Claim, now: datetime) -> bool:
    """Return a row unsent: its attempt ends as NotSent and does not count. Tell whether it was still ours.

    It is due as it was before, or skipped (SUPERSEDED) if its key has newer content.
    """
    item = claim.dispatch
    state, reason, next_at = waiting_again(tx, item.dispatch_id, None, item.next_at)
    changed = tx.execute(
        update(dispatches)
        .where(
            dispatches.c.dispatch_id == item.dispatch_id,
            in_state(DispatchState.SENDING),
            dispatches.c.incarnation == claim.incarnation.number,
            dispatches.c.attempt == claim.attempt,
        )
        .values(state=state, reason=reason, incarnation=None, next_at=next_at, updated_at=now)
    ).rowcount
    unsent = NotSent("given back before the call")
    append_outcomes(tx, [outcome_row(item.dispatch_id, claim.attempt, unsent, Evidence.GIVEN_BACK, now, now)])
    return changed > 0


def call_text(call: WorkflowCall) -> str:
    """Return a call as the JSON text that an attempt keeps."""
    return json.dumps(
        {
            "workflow_id": call.workflow_id,
            "task_input": call.task_input,
            "user_data": call.user_data,
            "skip_input_verification": call.skip_input_verification,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def call_from_text(endpoint: Endpoint, request: str) -> WorkflowCall:
    """Return the call that `call_text` wrote."""
    parts = json.loads(request)
    return WorkflowCall(
        endpoint,
        workflow_id=parts["workflow_id"],
        task_input=parts["task_input"],
        user_data=parts["user_data"],
        skip_input_verification=parts["skip_input_verification"],
    )


# A jump from rule to rule along the index: what waits may be millions of rows of a few rules.
_RULES_WITH_PENDING = text(
    "WITH RECURSIVE waiting(rule_id) AS ("
    " SELECT min(rule_id) FROM dispatches WHERE state = 'pending'"
    " UNION ALL SELECT (SELECT min(rule_id) FROM dispatches WHERE state = 'pending' AND rule_id > waiting.rule_id)"
    " FROM waiting WHERE waiting.rule_id IS NOT NULL"
    ") SELECT rule_id FROM waiting WHERE rule_id IS NOT NULL"
)


def rules_with_pending(tx: Connection) -> list[str]:
    """Return the rules that have pending rows, whether due or not."""
    return list(tx.scalars(_RULES_WITH_PENDING))


def _callable_rules(tx: Connection, rule_ids: Iterable[str]) -> list[str]:
    wanted = set(rule_ids) - held(tx).keys()
    return [rule for rule in rules_with_pending(tx) if rule in wanted]


def _in_turn(tx: Connection, rule_ids: Sequence[str]) -> list[str]:
    served: dict[str, datetime] = {
        row.rule_id: row.served_at for row in tx.execute(select(rule_progress)) if row.served_at is not None
    }
    never = [rule for rule in rule_ids if rule not in served]
    return never + sorted((rule for rule in rule_ids if rule in served), key=lambda rule: (served[rule], rule))


def _oldest(  # noqa: PLR0913, PLR0917 - what narrows one query
    tx: Connection, rule_id: str, lanes: Iterable[Lane], left: int | None, now: datetime, limit: int
) -> list[DueDispatch]:
    found: list[DueDispatch] = []
    for lane in lanes:
        most = limit if lane is not Lane.BUDGETED or left is None else min(limit, left)
        if most > 0:
            found += _waiting(tx, rule_id, lane, now, most)
    return sorted(found, key=lambda item: (item.next_at, item.first_seen_at))


def _waiting(tx: Connection, rule_id: str, lane: Lane, now: datetime, limit: int) -> Iterator[DueDispatch]:
    table = dispatches.c
    rows = tx.execute(
        select(dispatches)
        .where(in_state(DispatchState.PENDING), table.rule_id == rule_id, table.lane == lane, table.next_at <= now)
        .order_by(table.next_at, table.first_seen_at)
        .limit(limit)
    )
    for row in rows:
        yield DueDispatch(
            dispatch_id=row.dispatch_id,
            rule_id=row.rule_id,
            bucket=row.bucket,
            key=decode_key(row.key),
            etag=row.etag,
            size=row.size,
            run=row.run,
            source=row.source,
            attempt=row.attempt,
            failures=row.attempts,
            lane=Lane(row.lane),
            next_at=row.next_at,
            modified_at=row.modified_at,
            first_seen_at=row.first_seen_at,
            first_attempt_at=row.first_attempt_at,
        )


def _take_turns(queues: Sequence[Sequence[DueDispatch]], limit: int) -> list[DueDispatch]:
    taken: list[DueDispatch] = []
    turn = 0
    while len(taken) < limit and any(len(queue) > turn for queue in queues):
        taken += [queue[turn] for queue in queues if len(queue) > turn]
        turn += 1
    return taken[:limit]


def _still_pending(tx: Connection, calls: Iterable[tuple[DueDispatch, int, WorkflowCall]]) -> dict[str, int]:
    """Return the next attempt number of each row that is still pending."""
    rows = tx.execute(
        select(dispatches.c.dispatch_id, dispatches.c.attempt)
        .where(
            in_state(DispatchState.PENDING), dispatches.c.dispatch_id.in_([item.dispatch_id for item, _, _ in calls])
        )
        .with_for_update()
    )
    return {row.dispatch_id: row.attempt + 1 for row in rows}
