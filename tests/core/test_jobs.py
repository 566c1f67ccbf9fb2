"""Filters of the job lists, their windows, and the JSON that their fields may hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.jobs import (
    LONGEST_WINDOW,
    JobStatus,
    JobType,
    Order,
    QuickJobStatus,
    QuickJobType,
    Window,
    check_window,
    parsed,
    read_choice,
    windows,
)
from dispatcher.errors import ExitCode, UsageError

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis asks for naive bounds


def test_a_value_is_read_in_any_case() -> None:
    assert read_choice(QuickJobType, "smart_mix", "--type") is QuickJobType.SMART_MIX
    assert read_choice(JobStatus, "Success", "--status") is JobStatus.SUCCESS


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        (JobStatus, "Finished", "Init, Processing, Success, Failed"),
        (QuickJobStatus, "Success", "Init, Processing, Finished, Failed"),
        (JobType, "Script", "EditingJob, LiveEditingJob, VETemplateJob"),
        (QuickJobType, "EditingJob", "Script, Smart_Mix"),
    ],
)
def test_a_value_of_the_other_call_is_refused_with_those_that_exist(
    kind: type[JobStatus | QuickJobStatus | JobType | QuickJobType], text: str, named: str
) -> None:
    with pytest.raises(UsageError) as refused:
        read_choice(kind, text, "--status")
    assert refused.value.exit_code is ExitCode.USAGE
    assert named in refused.value.hint


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    check_window(NOW, NOW)
    check_window(None, NOW)
    with pytest.raises(UsageError):
        check_window(NOW, NOW - timedelta(seconds=1))


def test_thirty_days_are_one_window_and_a_second_more_are_two() -> None:
    start = NOW.replace(microsecond=0)
    assert list(windows(start, start + LONGEST_WINDOW, Order.ASC)) == [Window(start, start + LONGEST_WINDOW)]
    end = start + LONGEST_WINDOW + timedelta(seconds=1)
    assert list(windows(start, end, Order.DESC)) == [
        Window(start + LONGEST_WINDOW, end),
        Window(start, start + LONGEST_WINDOW),
    ]


def test_times_are_widened_to_whole_seconds_of_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=8)))
    [window] = windows(there, there, Order.ASC)
    assert (window.since, window.until) == (NOW.replace(microsecond=0), NOW.replace(second=1, microsecond=0))
    assert window.since.tzinfo is UTC


@given(MOMENTS, MOMENTS, st.sampled_from(Order))
def test_windows_cover_the_time_without_a_gap_and_none_is_too_long(
    one: datetime, other: datetime, order: Order
) -> None:
    since, until = sorted((one, other))
    found = sorted(windows(since, until, order), key=lambda window: window.since)
    assert found[0].since <= since
    assert found[-1].until >= until
    assert all(window.until - window.since <= LONGEST_WINDOW for window in found)
    assert all(first.until == second.since for first, second in pairwise(found))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("[]", []),
        ("", None),
        (None, None),
        ("not json", "not json"),
        ('"text"', '"text"'),
        ("12", "12"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        ("[" * 500 + "]" * 500, "[" * 500 + "]" * 500),
        ("[" * 100_000, "[" * 100_000),
        ('{"n": ' + "9" * 5000 + "}", '{"n": ' + "9" * 5000 + "}"),
    ],
    ids=range(12),
)
def test_objects_and_lists_are_parsed_and_anything_else_stays_text(text: str | None, value: object) -> None:
    assert parsed(text) == value
