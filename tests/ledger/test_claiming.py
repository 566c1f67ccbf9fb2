from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dispatcher.core.outcomes import NotSent, Rejected, Started, Throttled, Unauthorized
from dispatcher.core.ratelimit import Rate
from dispatcher.ledger import claiming, counting, holds, rates
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.rulesets import RuleFacts

if TYPE_CHECKING:
    from tests.ledger.conftest import Desk


def test_rules_take_turns(desk: Desk) -> None:
    desk.record(*(f"big/{i}" for i in range(20)), rule="a")
    desk.later(seconds=1)
    desk.record("small", rule="z")
    assert [row.rule_id for row in desk.due("a", "z", limit=4)] == ["a", "z", "a", "a"]


def test_with_one_free_call_no_rule_starves(desk: Desk) -> None:
    for rule in ("a", "b", "c"):
        desk.record(*(f"{i}" for i in range(4)), rule=rule)
    served = []
    for _ in range(6):
        desk.later(seconds=1)
        served += [claim.dispatch.rule_id for claim in desk.claim("a", "b", "c", limit=1)]
    assert sorted(served) == ["a", "a", "b", "b", "c", "c"]


def test_only_the_rules_asked_for_are_due(desk: Desk) -> None:
    desk.record("k", rule="other")
    assert desk.due("r") == []
    with desk.ledger.read() as tx:
        assert claiming.next_due_at(tx, ["r"], desk.now) is None
        assert claiming.is_due(tx, ["other"], desk.now)


def test_a_row_that_waits_tells_when_it_is_due(desk: Desk) -> None:
    desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Throttled("Throttling.User", retry_after=timedelta(seconds=40)))
    assert desk.due() == []
    with desk.ledger.read() as tx:
        assert claiming.next_due_at(tx, ["r"], desk.now) == desk.now + timedelta(seconds=40)
    desk.later(seconds=40)
    assert len(desk.due()) == 1


def test_beyond_the_budget_rows_wait_for_midnight(desk: Desk) -> None:
    desk.rules(RuleFacts("r", (), "in/", "wf", budget=2))
    ids = desk.record(*"abcd")
    assert len(desk.claim()) == 2
    assert desk.due() == []
    waiting = [view for each in ids if (view := desk.view(each)).state == "pending"]
    midnight = datetime(2026, 3, 15, tzinfo=UTC)
    assert {(view.reason, view.next_at) for view in waiting} == {("BUDGET", midnight)}
    with desk.ledger.read() as tx:
        assert claiming.next_due_at(tx, ["r"], desk.now) == midnight
        assert ("BUDGET", 2) in [(each.reason, each.count) for each in counting.state_counts(tx, desk.now)]
    desk.now = midnight
    assert len(desk.due()) == 2


def test_a_retry_is_not_counted_twice_and_not_stopped_by_the_budget(desk: Desk) -> None:
    desk.rules(RuleFacts("r", (), "in/", "wf", budget=1))
    desk.record("a", "b")
    (claim,) = desk.claim()
    desk.settle(claim, NotSent("refused"))
    desk.later(minutes=1)
    (again,) = desk.claim()
    assert again.dispatch.dispatch_id == claim.dispatch.dispatch_id


def test_what_an_operator_asked_for_is_not_counted(desk: Desk) -> None:
    desk.rules(RuleFacts("r", (), "in/", "wf", budget=1))
    desk.record("a", "b", source="existing")
    assert len(desk.claim()) == 2
    desk.record("live")
    assert len(desk.claim()) == 1


def test_releasing_lets_more_rows_go_today(desk: Desk) -> None:
    desk.rules(RuleFacts("r", (), "in/", "wf", budget=1))
    desk.record(*"abcdef")
    assert len(desk.claim()) == 1
    with desk.ledger.write() as tx:
        assert claiming.release_budget(tx, "r", desk.now, 2) == 2
    assert len(desk.claim()) == 2
    with desk.ledger.write() as tx:
        assert claiming.release_budget(tx, "r", desk.now) == 3
    assert len(desk.claim()) == 3
    with desk.ledger.write() as tx:
        assert claiming.release_budget(tx, "r", desk.now) == 0


def test_a_held_rule_waits_and_says_so(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    with desk.ledger.write() as tx:
        assert holds.hold(tx, "r", HoldReason.OPERATOR, "maintenance", desk.now)
        assert not holds.hold(tx, "r", HoldReason.LOOP, "loop", desk.now)
    assert desk.due() == []
    assert (desk.view(dispatch).reason, desk.view(dispatch).next_at) == ("HELD", None)
    with desk.ledger.write() as tx:
        assert holds.held(tx)["r"].detail == "maintenance"
        assert holds.resume(tx, "r")
        assert not holds.resume(tx, "r")
    assert len(desk.due()) == 1


def test_twenty_equal_rejections_hold_the_rule(desk: Desk) -> None:
    desk.record(*(str(i) for i in range(25)))
    held = [desk.settle(claim, Rejected("InvalidParameter")).held_rule for claim in desk.claim(limit=20)]
    assert held == [None] * 19 + ["r"]
    assert desk.due() == []
    with desk.ledger.write() as tx:
        assert holds.held(tx)["r"].reason is HoldReason.REJECTED
        holds.resume(tx, "r")
    (claim,) = desk.claim(limit=1)
    assert desk.settle(claim, Rejected("InvalidParameter")).held_rule is None


def test_a_success_ends_a_streak_of_rejections(desk: Desk) -> None:
    desk.record(*(str(i) for i in range(25)))
    for number, claim in enumerate(desk.claim()):
        held = desk.settle(claim, Started(f"t{number}") if number == 10 else Rejected("InvalidParameter")).held_rule
        assert held is None


def test_replicas_share_one_rate(desk: Desk) -> None:
    rate = Rate(10)
    granted = 0
    for _ in range(40):
        with desk.ledger.write() as tx:
            granted += rates.take(tx, "a/cn/StartWorkflow", rate, 5, desk.now)
            granted += rates.take(tx, "a/cn/StartWorkflow", rate, 5, desk.now)
        desk.later(seconds=0.025)
    assert 9 <= granted <= 10
    with desk.ledger.read() as tx:
        assert timedelta() <= rates.wait(tx, "a/cn/StartWorkflow", rate, desk.now) <= timedelta(seconds=0.1)


def test_throttling_halves_the_rate(desk: Desk) -> None:
    with desk.ledger.write() as tx:
        rates.after_outcome(tx, "t", Throttled("Throttling.User"), desk.now)
        assert rates.allowed_shares(tx, desk.now) == {"t": 0.5}
        rates.after_outcome(tx, "t", Started("x"), desk.now)
        assert rates.allowed_shares(tx, desk.now) == {"t": 0.5}


def test_a_paused_target_lets_one_trial_pass_every_thirty_seconds(desk: Desk) -> None:
    desk.rules(RuleFacts("r", (), "in/", "wf", target="t"))
    (dispatch,) = desk.record("k")
    with desk.ledger.write() as tx:
        assert rates.permits(tx, "t", 8, desk.now) == 8
        rates.after_outcome(tx, "t", Unauthorized("Forbidden.RAM"), desk.now)
        assert rates.permits(tx, "t", 8, desk.now) == 0
        assert rates.wait(tx, "t", Rate(10), desk.now) == timedelta(seconds=30)
    assert desk.view(dispatch).reason == "PAUSED"
    desk.later(seconds=30)
    with desk.ledger.write() as tx:
        assert [rates.permits(tx, "t", 8, desk.now) for _ in range(2)] == [1, 0]
        rates.after_outcome(tx, "t", Rejected("X"), desk.now)
        assert rates.permits(tx, "t", 8, desk.now) == 8
    assert desk.view(dispatch).reason is None
