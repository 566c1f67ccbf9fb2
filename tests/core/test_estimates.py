from __future__ import annotations

from datetime import timedelta

from dispatcher.core.calls import Api
from dispatcher.core.estimates import EXAMPLES, LEDGER_BYTES, Estimate, RuleTally, Tally, time_needed
from dispatcher.core.ratelimit import Rate

REGISTERED = {"a": (Api.START_WORKFLOW,), "m": (Api.REGISTER_MEDIA_INFO, Api.START_WORKFLOW)}


def estimate() -> Estimate:
    found = Estimate({"a": RuleTally(), "m": RuleTally()})
    for number in range(5):
        found.add("a", "b", f"in/{number}.mp4", 10, known=number == 0)
    found.add("a", "b", "in/noise", None, known=False)
    found.add("m", "b", "in/1.MP4", 7, known=False)
    return found


def test_objects_and_bytes_by_rule_and_extension() -> None:
    found = estimate()
    assert found.rules["a"].by_extension == {"mp4": Tally(5, 50, 1), "none": Tally(1, 0, 0)}
    assert found.rules["a"].examples == [("b", f"in/{number}.mp4") for number in range(1, 1 + EXAMPLES)]
    assert (found.total, found.starts, found.unsized) == (Tally(7, 57, 1), 6, 1)


def test_each_start_needs_the_calls_of_its_rule() -> None:
    assert estimate().calls(REGISTERED) == {Api.START_WORKFLOW: 6, Api.REGISTER_MEDIA_INFO: 1}


def test_the_slowest_quota_decides_or_the_backfills_own_rate() -> None:
    rates = {Api.START_WORKFLOW: Rate(2), Api.REGISTER_MEDIA_INFO: Rate(0.1)}
    calls = {Api.START_WORKFLOW: 6, Api.REGISTER_MEDIA_INFO: 1}
    assert time_needed(calls, rates, None) == timedelta(seconds=10)
    assert time_needed(calls, rates, Rate(0.5)) == timedelta(seconds=14)
    assert time_needed({}, rates, Rate(1)) == timedelta()


def test_the_ledger_grows_by_each_start_and_by_long_keys() -> None:
    found = estimate()
    assert found.ledger_bytes(None) == 6 * LEDGER_BYTES
    assert found.ledger_bytes(2) == 2 * LEDGER_BYTES
    long = Estimate({"a": RuleTally()})
    long.add("a", "b", "x" * 1_000, 1, known=False)
    assert long.ledger_bytes(None) > LEDGER_BYTES + 2_000
