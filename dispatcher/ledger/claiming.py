"""Claiming: which rows are due, and the durable intent to call.

Rules take turns: the one that waited longest for its turn comes first, so that no backlog starves
another rule. Live rows go before those of backfills, and inside a rule what is due longest goes first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, text, update

from dispatcher.core.calls import Stage, WorkflowCall, api_of
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.outcomes import REPEAT_FOR, NotSent
from dispatcher.ledger import budgeting, turns
from dispatcher.ledger.budgeting import release_budget
from dispatcher.ledger.calls import call_text
from dispatcher.ledger.claims import Claim, DueDispatch, due_dispatch
from dispatcher.ledger.evidence import Evidence, append_outcomes, outcome_row
from dispatcher.ledger.holds import held
from dispatcher.ledger.superseding import waiting_again
from dispatcher.ledger.tables import Lane, attempts, dispatches, in_state, rule_progress
from dispatcher.ledger.writing import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from dispatcher.core.calls import Call
    from dispatcher.ledger.claims import Repetition
    from dispatcher.ledger.sending import Incarnation

__all__ = ["Claim", "DueDispatch", "begin", "due", "give_back", "is_due", "next_due_at", "release_budget"]

AHEAD = 200
"""Rows of one queue among which the next call of two is looked for."""
_LIVE = (Lane.BUDGETED, Lane.EXEMPT)


def due(
    tx: Connection, *, rule_ids: Iterable[str], now: datetime, limit: int, stage: Stage = Stage.ONLY
) -> list[DueDispatch]:
    """Return at most `limit` rows of these rules that may be called now, in the order to call them.

    Rows of a held rule, or over its budget of the day, are not due. With a `stage` of two, only rows that
    need this call next, among the first `AHEAD` of each queue.
    """
    if limit <= 0:
        return []
    candidates = _in_turn(tx, _callable_rules(tx, rule_ids, stage))
    left = {rule: budget.left for rule, budget in budgeting.budgets_today(tx, now).items()}
    found = _take_turns([_oldest(tx, rule, left.get(rule), now, limit, stage) for rule in candidates], limit)
    if len(found) < limit:
        found += _of_backfills(tx, candidates, now, limit - len(found), stage)
    return found


def is_due(tx: Connection, rule_ids: Iterable[str], now: datetime) -> bool:
    """Tell whether `due` would return anything."""
    at = next_due_at(tx, rule_ids, now)
    return at is not None and at <= now


def next_due_at(tx: Connection, rule_ids: Iterable[str], now: datetime, stage: Stage = Stage.ONLY) -> datetime | None:
    """Return when the first row of these rules is due (a past time: now); None if none waits."""
    exhausted = budgeting.exhausted_rules(tx, now)
    midnight = budgeting.next_midnight(now)
    found: list[datetime] = []
    rules = _callable_rules(tx, rule_ids, stage)
    for rule in rules:
        for lane in _LIVE:
            at = _first_due_at(tx, rule, dispatches.c.lane == lane, stage)
            if at is not None:
                found.append(max(at, midnight) if lane is Lane.BUDGETED and rule in exhausted else at)
    return min([*found, *_next_of_backfills(tx, rules, now, stage)], default=None)


def begin(
    tx: Connection, incarnation: Incarnation, calls: Sequence[tuple[DueDispatch, int, Call]], now: datetime
) -> list[Claim]:
    """Write the intent of these calls: state `sending`, lease, attempt and request; the budget is used.

    Returns the claims that are really ours, in the order given: a row that does not wait any more, or whose
    attempt number is not the one before, is left out. A repetition keeps which attempt it repeats, and until
    when. Durable once `tx` commits.
    """
    ours = _still_ours(tx, calls)
    claims = [
        Claim(item, attempt, call, incarnation, now)
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
                "api": api_of(claim.call).value,
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
            api=bindparam("to_api"),
            repeat_attempt=bindparam("to_repeat"),
            repeat_at=None,
            repeat_until=bindparam("to_repeat_until", None, dispatches.c.repeat_until.type),
        ),
        [
            {
                "of": claim.dispatch.dispatch_id,
                "to_lane": max(claim.dispatch.lane, Lane.EXEMPT),
                "number": claim.attempt,
                "at": now,
                "to_region": claim.call.endpoint.region,
                "to_endpoint": claim.call.endpoint.url,
                "to_workflow": claim.call.workflow_id if isinstance(claim.call, WorkflowCall) else None,
                "to_api": api_of(claim.call).value,
                **_repeat_columns(claim.dispatch.repetition),
            }
            for claim in claims
        ],
    )
    counted = Counter(claim.dispatch.rule_id for claim in claims if claim.dispatch.lane is Lane.BUDGETED)
    budgeting.use(tx, counted, now)
    turns.serve(tx, Counter(claim.dispatch.backfill for claim in claims if claim.dispatch.backfill is not None), now)
    for rule in {claim.dispatch.rule_id for claim in claims}:
        put(tx, rule_progress, {"rule_id": rule, "served_at": now})
    return claims


def give_back(tx: Connection, claim: Claim, now: datetime) -> bool:
    """Return a row unsent: its attempt ends as NotSent and does not count. Tell whether it was still ours.

    It is due as it was before, or skipped (SUPERSEDED) if its key has newer content. One that would have
    repeated an unanswered call is uncertain as before.
    """
    item = claim.dispatch
    values: dict[str, object] = {"state": DispatchState.UNCERTAIN, "next_at": now, "repeat_at": item.next_at}
    if item.repetition is None:
        state, reason, next_at = waiting_again(tx, item.dispatch_id, None, item.next_at)
        values = {"state": state, "reason": reason, "next_at": next_at}
    changed = tx.execute(
        update(dispatches)
        .where(
            dispatches.c.dispatch_id == item.dispatch_id,
            in_state(DispatchState.SENDING),
            dispatches.c.incarnation == claim.incarnation.number,
            dispatches.c.attempt == claim.attempt,
        )
        .values(**values, incarnation=None, updated_at=now)
    ).rowcount
    unsent = NotSent("given back before the call")
    append_outcomes(tx, [outcome_row(item.dispatch_id, claim.attempt, unsent, Evidence.GIVEN_BACK, now, now)])
    return changed > 0


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


def _callable_rules(tx: Connection, rule_ids: Iterable[str], stage: Stage) -> list[str]:
    wanted = set(rule_ids) - held(tx).keys()
    waiting = [rule for rule in rules_with_pending(tx) if rule in wanted]
    return waiting if stage is not Stage.REGISTER else [rule for rule in waiting if not _is_far_ahead(tx, rule)]


def _is_far_ahead(tx: Connection, rule_id: str) -> bool:
    """Tell whether `AHEAD` registered objects of a rule already wait for their starts."""
    first = _queue(rule_id, dispatches.c.lane == Lane.EXEMPT).limit(AHEAD).subquery()
    registered = select(func.count()).where(first.c.input_media_id.is_not(None))
    return (tx.scalar(registered) or 0) >= AHEAD


def _in_turn(tx: Connection, rule_ids: Sequence[str]) -> list[str]:
    served: dict[str, datetime] = {
        row.rule_id: row.served_at for row in tx.execute(select(rule_progress)) if row.served_at is not None
    }
    never = [rule for rule in rule_ids if rule not in served]
    return never + sorted((rule for rule in rule_ids if rule in served), key=lambda rule: (served[rule], rule))


def _oldest(  # noqa: PLR0913, PLR0917 - what narrows one query
    tx: Connection, rule_id: str, left: int | None, now: datetime, limit: int, stage: Stage
) -> list[DueDispatch]:
    found: list[DueDispatch] = []
    for lane in _LIVE:
        most = limit if lane is not Lane.BUDGETED or left is None else min(limit, left)
        if most > 0:
            found += _waiting(tx, rule_id, dispatches.c.lane == lane, now, most, stage)
    return sorted(found, key=lambda item: (item.next_at, item.first_seen_at))


def _of_backfills(
    tx: Connection, rule_ids: Sequence[str], now: datetime, limit: int, stage: Stage
) -> list[DueDispatch]:
    """Return due rows of the backfills that may send: these take turns, and in each of them its rules."""
    queues: list[list[DueDispatch]] = []
    for turn in turns.turns(tx, now):
        most = turns.room(tx, turn, now, limit)
        if most > 0:
            queue = dispatches.c.backfill == turn.number
            rules = turns.rules_waiting(tx, turn.number, rule_ids)
            queues.append(_take_turns([list(_waiting(tx, rule, queue, now, most, stage)) for rule in rules], most))
    return _take_turns(queues, limit)


def _next_of_backfills(tx: Connection, rule_ids: Sequence[str], now: datetime, stage: Stage) -> Iterator[datetime]:
    for turn in turns.turns(tx, now):
        wait = turns.wait(tx, turn, now)
        if wait is None:
            continue
        for rule in turns.rules_waiting(tx, turn.number, rule_ids):
            at = _first_due_at(tx, rule, dispatches.c.backfill == turn.number, stage)
            if at is not None:
                yield max(at, now + wait)


def _first_due_at(tx: Connection, rule_id: str, queue: ColumnElement[bool], stage: Stage) -> datetime | None:
    first = in_stage(_queue(rule_id, queue), stage, 1)
    return next((row.next_at for row in tx.execute(first)), None)


def _waiting(  # noqa: PLR0913, PLR0917 - what narrows one query
    tx: Connection, rule_id: str, queue: ColumnElement[bool], now: datetime, limit: int, stage: Stage
) -> Iterator[DueDispatch]:
    rows = _queue(rule_id, queue).where(dispatches.c.next_at <= now)
    return (due_dispatch(row, row.next_at) for row in tx.execute(in_stage(rows, stage, limit)))


def _queue(rule_id: str, queue: ColumnElement[bool]) -> Select[Any]:
    table = dispatches.c
    return (
        select(dispatches)
        .where(in_state(DispatchState.PENDING), table.rule_id == rule_id, queue)
        .order_by(table.next_at, table.first_seen_at)
    )


def in_stage(queue: Select[Any], stage: Stage, limit: int) -> Select[Any]:
    """Return the first rows of an ordered queue that need this call next.

    Of two calls each is looked for among the first `AHEAD` rows only: objects are registered that far ahead
    of their starts and no farther, and one call that does not pass leaves the other so many rows to go on with.
    """
    if stage is Stage.ONLY:
        return queue.limit(limit)
    first = queue.limit(AHEAD).subquery()
    registered = first.c.input_media_id.is_not(None)
    wanted = registered if stage is Stage.START else ~registered
    return select(first).where(wanted).order_by(first.c.next_at, first.c.first_seen_at).limit(limit)


def _repeat_columns(repetition: Repetition | None) -> dict[str, object]:
    if repetition is None:
        return {"to_repeat": None, "to_repeat_until": None}
    return {"to_repeat": repetition.attempt, "to_repeat_until": repetition.unanswered_since + REPEAT_FOR}


def _take_turns(queues: Sequence[Sequence[DueDispatch]], limit: int) -> list[DueDispatch]:
    taken: list[DueDispatch] = []
    turn = 0
    while len(taken) < limit and any(len(queue) > turn for queue in queues):
        taken += [queue[turn] for queue in queues if len(queue) > turn]
        turn += 1
    return taken[:limit]


def _still_ours(tx: Connection, calls: Iterable[tuple[DueDispatch, int, Call]]) -> dict[str, int]:
    """Return the next attempt number of each row that still waits for its call, or to be repeated."""
    repeated = {item.dispatch_id: item.repetition.attempt for item, _, _ in calls if item.repetition is not None}
    table = dispatches.c
    rows = tx.execute(
        select(table.dispatch_id, table.attempt, table.state, table.repeat_attempt)
        .where(
            in_state(DispatchState.PENDING, DispatchState.UNCERTAIN),
            table.dispatch_id.in_([item.dispatch_id for item, _, _ in calls]),
        )
        .with_for_update()
    )
    return {
        row.dispatch_id: row.attempt + 1
        for row in rows
        if (row.state == DispatchState.PENDING and row.dispatch_id not in repeated)
        or (row.state == DispatchState.UNCERTAIN and row.repeat_attempt == repeated.get(row.dispatch_id, 0))
    }
