"""The rate: never more than configured in any second, and all of it when there is work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.ratelimit import LOWEST_SHARE, ONE_OVERLOAD, RECOVERY, Rate, RateState

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SECOND = timedelta(seconds=1)

rates = st.sampled_from([0.5, 1, 3, 10, 25, 30, 100, 250, 1000])
asks = st.lists(
    st.tuples(st.integers(min_value=0, max_value=400_000), st.integers(min_value=1, max_value=50)),
    min_size=1,
    max_size=60,
)


@given(rates, asks)
def test_no_second_sees_more_permits_than_the_rate(per_second: float, steps: list[tuple[int, int]]) -> None:
    rate, state, now = Rate(per_second), RateState(), NOW
    permits: list[datetime] = []
    for pause, wanted in steps:
        now += timedelta(microseconds=pause)
        granted, state = state.take(rate, wanted, now)
        permits += [now] * granted
    for start in permits:
        within = sum(1 for each in permits if start <= each < start + SECOND)
        assert within <= max(1, per_second)


@given(rates)
def test_the_full_rate_is_reached_when_asked_often_enough(per_second: float) -> None:
    rate, state, now, total = Rate(per_second), RateState(), NOW, 0
    for _ in range(20_000):
        granted, state = state.take(rate, 100, now)
        total += granted
        now += timedelta(milliseconds=1)
    # A high rate gives up to a twentieth away so that bursts stay within it.
    assert 0.94 * 20 * per_second <= total <= 20 * per_second + 1


def test_throttling_halves_the_rate_and_it_comes_back_slowly() -> None:
    state = RateState().throttled(NOW)
    assert state.allowed_share(NOW) == 0.5
    assert state.allowed_share(NOW + RECOVERY / 2) == 0.75
    assert state.allowed_share(NOW + RECOVERY) == 1.0
    later = NOW + RECOVERY / 2
    assert state.throttled(later).allowed_share(later) == 0.375
    now = NOW
    for _ in range(39):
        now += ONE_OVERLOAD
        state = state.throttled(now)
        assert state.allowed_share(now) >= LOWEST_SHARE
    assert state.allowed_share(now) < 0.05


def test_refusals_of_calls_that_were_under_way_together_halve_the_rate_once() -> None:
    state = RateState().throttled(NOW)
    for milliseconds in range(0, 2000, 100):
        state = state.throttled(NOW + timedelta(milliseconds=milliseconds))
    assert state.allowed_share(NOW) == 0.5
    assert state.throttled(NOW + ONE_OVERLOAD).allowed_share(NOW + ONE_OVERLOAD) < 0.3


def test_the_wait_leads_to_the_next_permit() -> None:
    rate = Rate(10)
    granted, state = RateState().take(rate, 5, NOW)
    assert granted == 1
    assert state.take(rate, 1, NOW + state.wait(rate, NOW) - timedelta(microseconds=1))[0] == 0
    assert state.take(rate, 1, NOW + state.wait(rate, NOW))[0] == 1


def test_a_clock_that_went_back_for_hours_does_not_stop_the_calls() -> None:
    rate = Rate(10)
    _, state = RateState().take(rate, 1, NOW)
    assert state.take(rate, 1, NOW - timedelta(seconds=10))[0] == 0
    assert state.take(rate, 1, NOW - timedelta(hours=3))[0] == 1
