"""What is written after a call: never a second start, no attempt lost to an outage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import StateReason
from dispatcher.core.outcomes import (
    BACKOFF_LIMIT,
    KEEP_TRYING_FOR,
    REJECTED_STREAK,
    TRIAL_EVERY,
    UNCERTAIN_STREAK,
    Attempted,
    Bury,
    Complete,
    Decision,
    NotSent,
    Outcome,
    Probe,
    Rejected,
    RejectedStreak,
    RetryAt,
    Snooze,
    Started,
    TargetHealth,
    Throttled,
    Unauthorized,
    Uncertain,
    backoff,
    decide,
    decide_absent,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


def after(outcome: Outcome, **known: Any) -> Decision:
    attempted = Attempted(Api.START_WORKFLOW, 1, NOW, NOW, NOW)
    return decide(outcome, replace(attempted, **known), now=NOW, probe_after=timedelta(seconds=60), chance=0.5)


def test_each_outcome_has_its_decision() -> None:
    assert after(Started("t1")) == Complete("t1")
    assert after(Rejected("InvalidParameter")) == Bury(StateReason.REJECTED)
    assert after(Uncertain("read timed out")) == Probe(NOW + timedelta(seconds=60))
    assert after(NotSent("refused")) == Snooze(NOW + TRIAL_EVERY, StateReason.PAUSED)
    assert after(Unauthorized("NoPermission")) == Snooze(NOW + TRIAL_EVERY, StateReason.PAUSED)
    assert after(Throttled("Throttling.User")) == Snooze(NOW + timedelta(seconds=2.5), StateReason.THROTTLED)


def test_throttling_waits_at_least_as_long_as_the_service_asks() -> None:
    decision = after(Throttled("Throttling.User", retry_after=timedelta(seconds=90)))
    assert decision == Snooze(NOW + timedelta(seconds=90), StateReason.THROTTLED)


@given(st.integers(min_value=1, max_value=10_000), chances)
def test_backoff_stays_between_half_a_second_and_an_hour(attempt: int, chance: float) -> None:
    assert timedelta(milliseconds=500) <= backoff(attempt, chance) <= BACKOFF_LIMIT


def test_the_ceiling_of_the_backoff_doubles() -> None:
    nearly_one = 1 - 1e-12
    seconds = [round(backoff(attempt, nearly_one).total_seconds()) for attempt in range(1, 13)]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


@given(st.integers(min_value=1, max_value=400), chances)
def test_an_absent_call_is_tried_again_for_a_day_and_then_buried(failures: int, chance: float) -> None:
    def absent(age: timedelta) -> Decision:
        return decide_absent(now=NOW, failures=failures, first_attempt_at=NOW - age, chance=chance)

    assert isinstance(absent(KEEP_TRYING_FOR - BACKOFF_LIMIT), RetryAt)
    assert absent(KEEP_TRYING_FOR) == Bury(StateReason.ATTEMPTS)


@pytest.mark.parametrize("outcome", [NotSent("refused"), Unauthorized("NoPermission")])
def test_an_outage_pauses_the_target_with_one_trial_at_a_time(outcome: Outcome) -> None:
    health = TargetHealth().after(outcome, NOW)
    assert health.permits(8, NOW) == 0
    assert health.permits(8, NOW + TRIAL_EVERY) == 1
    again = health.after(outcome, NOW + TRIAL_EVERY)
    assert again.paused_since == NOW
    assert again.permits(8, NOW + TRIAL_EVERY) == 0


@pytest.mark.parametrize("answer", [Started("t"), Rejected("X"), Throttled("Throttling")])
def test_any_answer_of_the_service_ends_a_pause(answer: Outcome) -> None:
    assert TargetHealth().after(NotSent("refused"), NOW).after(answer, NOW) == TargetHealth()


def test_five_unanswered_calls_in_a_row_pause_the_target() -> None:
    health = TargetHealth()
    for _ in range(UNCERTAIN_STREAK - 1):
        health = health.after(Uncertain("timeout"), NOW)
        assert health.permits(8, NOW) == 8
    assert health.after(Uncertain("timeout"), NOW).permits(8, NOW) == 0


def test_twenty_equal_refusals_in_a_row_hold_the_rule() -> None:
    streak = RejectedStreak()
    for _ in range(REJECTED_STREAK - 1):
        streak = streak.after(Rejected("InvalidWorkflow"))
    assert not streak.holds_rule
    assert streak.after(Throttled("Throttling")).after(Rejected("InvalidWorkflow")).holds_rule
    assert not streak.after(Rejected("Other")).holds_rule
    assert not streak.after(Started("t")).after(Rejected("InvalidWorkflow")).holds_rule
