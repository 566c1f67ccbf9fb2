"""Why a dispatch has not started, in words. Pure: it reads what others have read."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.core.events import BASELINE_REVISION

if TYPE_CHECKING:
    from dispatcher.core.rules import Rule
    from dispatcher.ledger.browse import DispatchView
    from dispatcher.ledger.holds import Hold

_WAITING = {
    StateReason.PAUSED: "calls are paused: the service was away or refused our credentials;"
    " one trial goes every 30 seconds",
    StateReason.SETTLING: "its content changed a moment ago: it waits until it has been still (settle:)",
    StateReason.THROTTLED: "the service said that we call too fast; it is called again soon",
    StateReason.BACKOFF: "an earlier call failed; it is tried again with growing waits",
}


def why_not_started(row: DispatchView, hold: Hold | None) -> str:
    """Return why this row has no task yet, or that it has one."""
    match row.state:
        case DispatchState.STARTED:
            return f"it started: task {row.task_id}"
        case DispatchState.SENDING:
            return "its call is being made right now"
        case DispatchState.UNCERTAIN:
            return _uncertain(row)
        case DispatchState.PENDING:
            return _pending(row, hold)
        case DispatchState.DEAD:
            return _dead(row)
        case DispatchState.SKIPPED:
            return _skipped(row)
        case _:
            assert_never(row.state)


def why_no_row(rule: Rule, revision: int | None, first_revision: int | None) -> str:
    """Return why a matching rule has no row for the object's present content.

    `revision` is the rule-set revision at which a listing first saw this content, `first_revision` that
    of the rule; None: never.
    """
    if first_revision is None:
        return "the daemon has not run with this rule yet: start or restart `oss-dispatcher run`"
    if revision is None:
        return "no listing has seen this content yet: the next complete listing will"
    if revision < first_revision:
        age = "before the first start" if revision == BASELINE_REVISION else "before this rule"
        if rule.existing.dispatch:
            return f"it was there {age}; existing: says to start such objects, at the next complete listing"
        return (
            f"it was there {age}, and such objects do not start by themselves (existing: ignore);"
            " oss-dispatcher backfill starts them"
        )
    return "a listing saw it when the rule did not match it: its input or filters were changed since"


def _uncertain(row: DispatchView) -> str:
    said = row.last_error.message if row.last_error is not None else None
    because = f" ({said})" if said else ""
    if row.reason is StateReason.HELD:
        return (
            f"a call may have arrived{because}, no task of it was found, and on_uncertain: hold leaves it to you:"
            " dispatches retry, skip or probe"
        )
    if row.repeat_at is not None:
        return f"a call may have arrived{because}: the same request goes again under its token, which makes it one job"
    return f"a call may have arrived{because}: it is looked for among the service's tasks"


def _pending(row: DispatchView, hold: Hold | None) -> str:
    if row.reason is StateReason.HELD and hold is not None:
        return f"the rule is held ({hold.reason}: {hold.detail}): oss-dispatcher rules resume {row.rule}"
    if row.reason is StateReason.BUDGET:
        return f"today's budget of the rule is used up: tomorrow, or oss-dispatcher rules release {row.rule}"
    if row.reason is StateReason.PAUSED and row.backfill is not None and row.next_at is None:
        return f"its backfill is paused, or its time is over: oss-dispatcher backfill resume {row.backfill}"
    due = "it is due: it waits for its turn and for a permit of the account's rate"
    return _WAITING.get(row.reason, due) if row.reason is not None else due


def _dead(row: DispatchView) -> str:
    error = row.last_error
    said = f": {error.code or ''} {error.message or ''}".rstrip() if error is not None else ""
    match row.reason:
        case StateReason.USER_DATA:
            because = "its UserData would be longer than the service takes; shorten the rule's user_data"
        case StateReason.LIMIT:
            because = "its request would not keep a documented limit, and was not sent"
        case StateReason.ATTEMPTS:
            because = "it was tried for a day"
        case _:
            because = "the service refuses this request"
    return f"{because}{said}; mend the cause, then dispatches retry {row.dispatch_id}"


def _skipped(row: DispatchView) -> str:
    match row.reason:
        case StateReason.OPERATOR:
            because = "an operator skipped it"
        case StateReason.SUPERSEDED:
            because = "newer content of the same key came before its call"
        case StateReason.GONE:
            because = "the object was gone"
        case StateReason.RULE_REMOVED:
            because = "its rule was removed from the configuration"
        case StateReason.SHADOW:
            because = "it was recorded by run --shadow, which calls nothing"
        case _:
            because = "it was skipped"
    return f"{because}; dispatches retry {row.dispatch_id} sends it"
