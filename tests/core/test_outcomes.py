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
    REPEAT_FOR,
    TRIAL_EVERY,
    UNCERTAIN_STREAK,
    Advance,
    Attempted,
    Bury,
    Complete,
    Decision,
    NotSent,
    Outcome,
    Probe,
    Registered,
    Rejected,
    RejectedStreak,
    Repeat,
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


# -- calls that may come twice ------------------------------------------------------------------------

SUBMIT = Api.SUBMIT_MEDIA_PRODUCING_JOB
MINUTE = timedelta(minutes=1)


def test_a_registered_object_is_due_as_it_was() -> None:
    due_at = NOW - MINUTE
    assert after(Registered("m1"), api=Api.REGISTER_MEDIA_INFO, due_at=due_at) == Advance("m1", due_at)


def test_an_unanswered_registration_is_just_made_again() -> None:
    again = after(Uncertain("timeout"), api=Api.REGISTER_MEDIA_INFO)
    assert again == RetryAt(NOW + timedelta(seconds=2.5), StateReason.BACKOFF)
    long_ago = NOW - KEEP_TRYING_FOR
    buried = after(Uncertain("timeout"), api=Api.REGISTER_MEDIA_INFO, first_attempt_at=long_ago)
    assert buried == Bury(StateReason.ATTEMPTS)


def test_an_unanswered_job_is_submitted_again_within_ten_minutes_of_the_first_unanswered_call() -> None:
    intent = NOW - timedelta(seconds=3)
    probe_at = NOW + MINUTE
    first = after(Uncertain("timeout"), api=SUBMIT, intent_at=intent)
    assert first == Repeat(NOW + timedelta(seconds=2.5), intent + REPEAT_FOR, probe_at)
    since = NOW - timedelta(minutes=9)
    second = after(Uncertain("timeout"), api=SUBMIT, intent_at=intent, unanswered_since=since)
    assert second == Repeat(NOW + timedelta(seconds=2.5), since + REPEAT_FOR, probe_at)
    late = after(Uncertain("timeout"), api=SUBMIT, unanswered_since=NOW - REPEAT_FOR)
    assert late == Probe(probe_at)


@pytest.mark.parametrize(
    ("outcome", "waits"),
    [
        (Throttled("Throttling.User", retry_after=timedelta(seconds=7)), timedelta(seconds=7)),
        (NotSent("refused"), TRIAL_EVERY),
        (Unauthorized("NoPermission"), TRIAL_EVERY),
    ],
)
def test_a_repetition_that_did_not_arrive_leaves_the_first_call_unanswered(outcome: Outcome, waits: timedelta) -> None:
    since = NOW - MINUTE
    assert after(outcome, api=SUBMIT, unanswered_since=since) == Repeat(NOW + waits, since + REPEAT_FOR, NOW + MINUTE)
    assert after(outcome, api=SUBMIT, unanswered_since=NOW - REPEAT_FOR) == Probe(NOW + MINUTE)


def test_a_refused_repetition_says_nothing_of_the_first_call() -> None:
    assert after(Rejected("InvalidParameter"), api=SUBMIT) == Bury(StateReason.REJECTED)
    assert after(Rejected("InvalidParameter"), api=SUBMIT, unanswered_since=NOW) == Probe(NOW + MINUTE)


def test_a_token_that_was_used_with_other_parameters_was_taken() -> None:
    mismatch = Uncertain("IdempotentParameterMismatch", accepted=True)
    assert after(mismatch, api=SUBMIT) == Probe(NOW + MINUTE)
    assert TargetHealth(uncertain_streak=4).after(mismatch, NOW) == TargetHealth(), "the service answered"


def test_registering_does_not_end_a_row_of_refused_starts() -> None:
    streak = RejectedStreak().after(Rejected("InvalidWorkflow"))
    assert streak.after(Registered("m")) == streak
    assert TargetHealth(uncertain_streak=4).after(Registered("m"), NOW) == TargetHealth()
