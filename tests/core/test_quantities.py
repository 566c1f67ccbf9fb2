"""Amounts as people write them, and the advice for those that cannot be read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.quantities import (
    format_duration,
    format_monthly,
    format_rate,
    parse_budget,
    parse_duration,
    parse_monthly,
    parse_rate,
)
from dispatcher.core.ratelimit import Rate

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "seconds"), [("100ms", 0.1), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("1h30m", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "per_second"), [("10/s", 10), ("600/m", 10), ("0.5/s", 0.5), ("3600/h", 1), ("10 / sec", 10)]
)
def test_rates(text: str, per_second: float) -> None:
    assert parse_rate(text) == Rate(per_second)


def test_counts() -> None:
    assert parse_budget("10000/day") == parse_budget("10k/day") == 10_000
    assert parse_monthly("1M/month") == 1_000_000
    assert parse_monthly("1.5M/month") == 1_500_000


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "m", "-5m", "5y", "\N{ARABIC-INDIC DIGIT FIVE}m", "9999999999999d", "1e3s"]
)
def test_a_wrong_duration_gives_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 30s|for example 90d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "10", "10/", "/s", "0/s", "10/d", "-1/s", "99999/s"])
def test_a_wrong_rate_gives_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 10/s"):
        parse_rate(text)


@pytest.mark.parametrize("parse", [parse_budget, parse_monthly])
@pytest.mark.parametrize("text", ["", "10", "0/day", "0/month", "1.5/day", "10/year", "10T/month"])
def test_a_wrong_count_gives_an_example(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse(text)


@given(st.integers(0, 10**9))
def test_durations_read_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.sampled_from(["s", "m", "h"]), st.integers(1, 10_000))
def test_rates_read_back(unit: str, number: int) -> None:
    rate = parse_rate(f"{number}/{unit}")
    assert parse_rate(format_rate(rate)).per_second == pytest.approx(rate.per_second)


@given(st.integers(1, 10**9))
def test_monthly_counts_read_back(count: int) -> None:
    assert parse_monthly(format_monthly(count)) == count
