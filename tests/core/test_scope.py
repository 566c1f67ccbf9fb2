from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core.location import Location
from dispatcher.core.scope import Moment, Period, Scope, scope_from_text, scope_text

if TYPE_CHECKING:
    from collections.abc import Callable

AT = datetime(2026, 1, 31, tzinfo=UTC)
FULL = Scope(
    rules=("a", "b"),
    place=Location("b", "in/\udcff/"),
    period=Period(Moment("30d", AT - timedelta(days=30)), Moment("2026-01-31", AT), timedelta(hours=6)),
    run="codec",
    inventory="oss://logs/manifest.json",
)


@pytest.mark.parametrize("scope", [Scope(), FULL])
def test_a_scope_is_read_as_it_was_written(scope: Scope) -> None:
    assert scope_from_text(scope_text(scope)) == scope


@given(
    hours=st.integers(-100, 100),
    since=st.integers(-50, 50) | st.none(),
    until=st.integers(-50, 50) | st.none(),
    slack=st.integers(0, 48),
)
def test_a_period_is_since_less_its_slack_up_to_until(
    hours: int, since: int | None, until: int | None, slack: int
) -> None:
    def moment(number: int | None) -> Moment | None:
        return None if number is None else Moment(str(number), AT + timedelta(hours=number))

    period = Period(moment(since), moment(until), timedelta(hours=slack))
    expected = (since is None or hours >= since - slack) and (until is None or hours < until)
    assert period.covers(AT + timedelta(hours=hours)) is expected
    assert period.covers(None)


def test_the_same_request_has_the_same_fingerprint_on_another_day() -> None:
    first = Scope(rules=("a", "b"), period=Period(since=Moment("30d", AT)))
    later = Scope(rules=("b", "a"), period=Period(since=Moment("30d", AT + timedelta(days=1))))
    assert first.fingerprint() == later.fingerprint()
    others: list[Callable[[], Scope]] = [
        lambda: Scope(rules=("a",), period=first.period),
        lambda: Scope(rules=first.rules, period=Period(since=Moment("31d", AT))),
        lambda: Scope(rules=first.rules, period=Period(first.period.since, slack=timedelta())),
        lambda: Scope(rules=first.rules, period=first.period, run="x"),
        lambda: Scope(rules=first.rules, period=first.period, place=Location("b", "")),
        lambda: Scope(rules=first.rules, period=first.period, inventory="/m.json"),
    ]
    assert len({make().fingerprint() for make in others} | {first.fingerprint()}) == len(others) + 1


def test_what_narrows() -> None:
    assert not Scope().narrow
    assert not Scope(run="codec", inventory="/m.json").narrow
    assert Scope(rules=("a",)).narrow
    assert Scope(place=Location("b", "")).narrow
    assert Scope(period=Period(until=Moment("x", AT))).narrow
