"""Rate and health of each target, one row for each (account, region, API): replicas share them.

`target` is the text that names such a triple; its form is the caller's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from sqlalchemy import select

from dispatcher.core.outcomes import (
    TRIAL_EVERY,
    NotSent,
    Outcome,
    Registered,
    Rejected,
    Started,
    TargetHealth,
    Throttled,
    Unauthorized,
    Uncertain,
)
from dispatcher.core.ratelimit import Rate, RateState
from dispatcher.ledger.tables import rates, target_health
from dispatcher.ledger.writing import put

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Row

_MILLION = 1_000_000


def take(tx: Connection, target: str, rate: Rate, wanted: int, now: datetime) -> int:
    """Take at most `wanted` permits that are due now; return how many were granted."""
    if wanted <= 0:
        return 0
    granted, state = _rate(tx, target).take(rate, wanted, now)
    if granted:
        _put_rate(tx, target, state)
    return granted


def due(tx: Connection, target: str, rate: Rate, wanted: int, now: datetime) -> int:
    """Return how many permits `take` would grant now. Nothing is taken."""
    return _rate(tx, target).take(rate, wanted, now)[0]


def wait(tx: Connection, target: str, rate: Rate, now: datetime) -> timedelta:
    """Return how long until a permit is due and the target is not paused."""
    until_permit = _rate(tx, target).wait(rate, now)
    state = health(tx, target)
    if state.paused_since is None or state.trial_at is None:
        return until_permit
    return max(until_permit, state.trial_at - now)


def permits(tx: Connection, target: str, wanted: int, now: datetime) -> int:
    """Return how many calls the target's health lets pass now.

    The one trial call of a pause is used up by asking: the next passes 30 seconds later, also when
    this one never ends.
    """
    state = health(tx, target)
    granted = state.permits(wanted, now)
    if granted and state.paused_since is not None:
        _put_health(tx, target, replace(state, trial_at=now + TRIAL_EVERY))
    return granted


def after_outcome(tx: Connection, target: str, outcome: Outcome, now: datetime) -> TargetHealth:
    """Remember what an outcome says of the target; return its health afterwards."""
    match outcome:
        case Throttled():
            _put_rate(tx, target, _rate(tx, target).throttled(now))
        case Started() | Registered() | NotSent() | Rejected() | Unauthorized() | Uncertain():
            pass
        case _:
            assert_never(outcome)
    before = health(tx, target)
    after = before.after(outcome, now)
    if after != before:
        _put_health(tx, target, after)
    return after


def health(tx: Connection, target: str) -> TargetHealth:
    """Return the health of one target."""
    return healths(tx).get(target, TargetHealth())


def healths(tx: Connection) -> dict[str, TargetHealth]:
    """Return the health of every target that was ever in trouble; there are only a few."""
    return {
        row.target: TargetHealth(row.uncertain_streak, row.paused_since, row.pause_reason, row.trial_at)
        for row in tx.execute(select(target_health))
    }


def allowed_shares(tx: Connection, now: datetime) -> dict[str, float]:
    """Return, for each target, the part of its configured rate that is allowed now."""
    return {row.target: _state(row).allowed_share(now) for row in tx.execute(select(rates))}


def _rate(tx: Connection, target: str) -> RateState:
    row = tx.execute(select(rates).where(rates.c.target == target)).one_or_none()
    return RateState() if row is None else _state(row)


def _state(row: Row[tuple[object, ...]]) -> RateState:
    return RateState(row.next_at, row.share_millionths / _MILLION, row.share_at)


def _put_rate(tx: Connection, target: str, state: RateState) -> None:
    share = round(state.share * _MILLION)
    put(
        tx,
        rates,
        {"target": target, "next_at": state.next_at, "share_millionths": share, "share_at": state.share_at},
    )


def _put_health(tx: Connection, target: str, state: TargetHealth) -> None:
    put(
        tx,
        target_health,
        {
            "target": target,
            "uncertain_streak": state.uncertain_streak,
            "paused_since": state.paused_since,
            "pause_reason": state.pause_reason,
            "trial_at": state.trial_at,
        },
    )
