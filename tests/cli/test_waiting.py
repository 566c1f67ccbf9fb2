"""Why something has not started: every state and reason has its own words, and says what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from dispatcher.core.dispatch import DispatchState, StateReason
from dispatcher.core.extensions import MEDIA
from dispatcher.core.location import Location
from dispatcher.core.rules import Existing, Rule, WorkflowAction
from dispatcher.ledger.browse import DispatchView, LastError
from dispatcher.ledger.holds import Hold, HoldReason
from dispatcher.service.waiting import why_no_row, why_not_started

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RULE = Rule("r", "r", Location("b", ""), MEDIA, WorkflowAction("w"))
ROW = DispatchView(
    dispatch_id="x" * 26,
    rule="r",
    bucket="b",
    key="a.mp4",
    etag="e",
    size=1,
    run="",
    state=DispatchState.PENDING,
    reason=None,
    source="poll",
    attempts=0,
    next_at=NOW,
    workflow=None,
    task_id="T1",
    task_status=None,
    task_error=None,
    request_id=None,
    first_seen_at=NOW,
    started_at=None,
    task_finished_at=None,
    updated_at=NOW,
    last_error=LastError("Code.Of.It", "what it said", None),
)


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (DispatchState.STARTED, None, "task T1"),
        (DispatchState.SENDING, None, "right now"),
        (DispatchState.UNCERTAIN, None, "what it said"),
        (DispatchState.UNCERTAIN, StateReason.HELD, "dispatches retry, skip or probe"),
        (DispatchState.PENDING, None, "its turn"),
        (DispatchState.PENDING, StateReason.HELD, "rules resume r"),
        (DispatchState.PENDING, StateReason.PAUSED, "every 30 seconds"),
        (DispatchState.PENDING, StateReason.BUDGET, "rules release r"),
        (DispatchState.PENDING, StateReason.SETTLING, "settle:"),
        (DispatchState.PENDING, StateReason.THROTTLED, "too fast"),
        (DispatchState.PENDING, StateReason.BACKOFF, "growing waits"),
        (DispatchState.DEAD, StateReason.REJECTED, "Code.Of.It what it said"),
        (DispatchState.DEAD, StateReason.ATTEMPTS, "for a day"),
        (DispatchState.DEAD, StateReason.USER_DATA, "shorten"),
        (DispatchState.SKIPPED, StateReason.OPERATOR, "an operator"),
        (DispatchState.SKIPPED, StateReason.SUPERSEDED, "newer content"),
        (DispatchState.SKIPPED, StateReason.GONE, "gone"),
        (DispatchState.SKIPPED, StateReason.RULE_REMOVED, "removed from the configuration"),
        (DispatchState.SKIPPED, StateReason.SHADOW, "--shadow"),
    ],
)
def test_each_state_and_reason_is_put_in_words(state: DispatchState, reason: StateReason | None, words: str) -> None:
    hold = Hold("r", HoldReason.LOOP, NOW, "wrote under its own input")
    assert words in why_not_started(replace(ROW, state=state, reason=reason), hold)


def test_no_combination_is_without_words() -> None:
    for state, reason in product(DispatchState, [None, *StateReason]):
        for row in (
            replace(ROW, state=state, reason=reason),
            replace(ROW, state=state, reason=reason, last_error=None),
        ):
            said = why_not_started(row, None)
            assert len(said) > 10
            assert "None" not in said


@pytest.mark.parametrize(
    ("rule", "revision", "first", "words"),
    [
        (RULE, None, None, "has not run with this rule"),
        (RULE, 3, None, "has not run with this rule"),
        (RULE, None, 1, "no listing has seen"),
        (RULE, 0, 1, "before the first start"),
        (RULE, 1, 2, "before this rule"),
        (replace(RULE, existing=Existing(dispatch=True)), 0, 1, "at the next complete listing"),
        (RULE, 2, 2, "were changed since"),
    ],
)
def test_a_missing_row_has_a_cause(rule: Rule, revision: int | None, first: int | None, words: str) -> None:
    assert words in why_no_row(rule, revision, first)


def test_a_call_that_is_repeated_says_so() -> None:
    row = replace(ROW, state=DispatchState.UNCERTAIN, repeat_at=NOW)
    assert "the same request goes again under its token" in why_not_started(row, None)
