"""How often a bucket is listed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.pacing import MONTH, QUICK, QUICK_REQUESTS, next_pass
from dispatcher.core.settings import PollSettings

AUTO = PollSettings()


@pytest.mark.parametrize(
    ("requests", "elsewhere", "wait"),
    [
        (0, 0, QUICK),
        (1, 0, QUICK),
        (50, 0, QUICK),
        (51, 0, MONTH * 51 / 1_000_000),
        (25, 25, QUICK),
        (25, 26, MONTH * 51 / 1_000_000),
        (1_000, 0, MONTH / 1_000),
        (1, 999, MONTH / 1_000),
    ],
)
def test_small_buckets_are_listed_quickly_and_large_ones_within_the_month(
    requests: int, elsewhere: int, wait: timedelta
) -> None:
    assert next_pass(AUTO, requests=requests, requests_elsewhere=elsewhere).wait == wait


def test_a_written_interval_is_kept_whatever_it_costs() -> None:
    forecast = next_pass(PollSettings(every=timedelta(seconds=1)), requests=1_000)
    assert (forecast.wait, forecast.requests_per_month) == (timedelta(seconds=1), 1_000 * 30 * 86_400)


def test_no_interval_at_all_is_no_division_by_zero() -> None:
    assert next_pass(PollSettings(every=timedelta()), requests=1).wait == timedelta()


def test_the_forecast_of_a_small_bucket() -> None:
    assert next_pass(AUTO, requests=1).requests_per_month == 86_400


@given(
    st.lists(st.integers(1, 5_000), min_size=1, max_size=6),
    st.integers(100_000, 10_000_000),
)
def test_all_buckets_together_keep_the_month(requests: list[int], allowed: int) -> None:
    settings = PollSettings(requests_per_month=allowed)
    total = sum(requests)
    forecasts = [next_pass(settings, requests=each, requests_elsewhere=total - each) for each in requests]
    if total > QUICK_REQUESTS:
        assert sum(each.requests_per_month for each in forecasts) <= allowed + len(requests)
        assert len({each.wait for each in forecasts}) == 1
    assert all(each.wait >= QUICK for each in forecasts)
