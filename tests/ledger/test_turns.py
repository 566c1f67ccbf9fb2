"""Which rows of backfills are called, and when: after live ones, in turn, each at its own pace."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.backfilling import BackfillKind, Pace
from dispatcher.core.outcomes import Started, Throttled
from dispatcher.core.ratelimit import Rate
from dispatcher.ledger import backfills, claiming, counting, holds, operating
from dispatcher.ledger.backfills import NewBackfill
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.holds import HoldReason
from dispatcher.ledger.rulesets import RuleFacts
from dispatcher.ledger.tables import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Desk


@pytest.fixture
def make(desk: Desk) -> Callable[..., int]:
    """Make a backfill with rows of these keys."""

    def made(*keys: str, rule: str = "r", pace: Pace | None = None) -> int:
        new = NewBackfill(BackfillKind.BACKFILL, f"{keys}", "{}", pace=pace or Pace())
        with desk.ledger.write() as tx:
            number = backfills.create(tx, new, desk.now).number
        desk.record(*keys, rule=rule, source="backfill", backfill=number)
        return number

    return made


def next_due_at(desk: Desk, *rules: str) -> datetime | None:
    with desk.ledger.read() as tx:
        return claiming.next_due_at(tx, rules or ["r"], desk.now)


def test_live_rows_go_before_backfills_and_old_before_new(desk: Desk, make: Callable[..., int]) -> None:
    make("backfill")
    desk.later(seconds=1)
    desk.record("existing", source="existing")
    desk.later(seconds=1)
    desk.record("live")
    assert [row.key for row in desk.due()] == ["existing", "live", "backfill"]
    assert [row.key for row in desk.due(limit=2)] == ["existing", "live"]


def test_backfills_take_turns_and_in_each_its_rules(desk: Desk, make: Callable[..., int]) -> None:
    first = make("1", "2", "3")
    desk.record("z", rule="s", source="backfill", backfill=first)
    make("4", "5")
    assert [row.key for row in desk.due("r", "s")] == ["1", "4", "z", "5", "2", "3"]


def test_with_one_free_call_no_backfill_starves(desk: Desk, make: Callable[..., int]) -> None:
    make("a1", "a2", "a3")
    make("b1", "b2", "b3")
    served = []
    for _ in range(4):
        desk.later(seconds=1)
        served += [claim.dispatch.key[0] for claim in desk.claim(limit=1)]
    assert served == ["a", "b", "a", "b"]


def test_a_paused_backfill_is_not_called_and_says_why(desk: Desk, make: Callable[..., int]) -> None:
    number = make("a")
    (row,) = desk.due()
    with desk.ledger.write() as tx:
        backfills.pause(tx, number, desk.now)
    assert desk.due() == []
    assert next_due_at(desk) is None
    assert desk.view(row.dispatch_id).reason == "PAUSED"
    with desk.ledger.write() as tx:
        assert [(each.reason, each.count) for each in counting.state_counts(tx, desk.now)] == [("PAUSED", 1)]
        backfills.resume(tx, number, desk.now)
    assert [each.dispatch_id for each in desk.due()] == [row.dispatch_id]
    assert desk.view(row.dispatch_id).reason is None


def test_after_its_time_a_backfill_waits(desk: Desk, make: Callable[..., int]) -> None:
    make("a", pace=Pace(window=timedelta(hours=8)))
    desk.later(hours=7)
    assert len(desk.due()) == 1
    desk.later(hours=1)
    assert desk.due() == []
    assert next_due_at(desk) is None


def test_a_row_of_a_done_backfill_that_is_tried_again_is_due(desk: Desk, make: Callable[..., int]) -> None:
    number = make("a")
    (claim,) = desk.claim()
    desk.settle(claim, Started("t1", "R"))
    with desk.ledger.write() as tx:
        backfills.complete(tx, number, desk.now)
        assert backfills.end_finished(tx, desk.now) == [number]
    desk.record("b", source="backfill", backfill=number)
    assert len(desk.due()) == 1


def test_the_rate_of_a_backfill_is_its_own(desk: Desk, make: Callable[..., int]) -> None:
    make("a", "b", "c", pace=Pace(max_rate=Rate(0.5)))
    assert len(desk.due()) == 1
    assert len(desk.claim()) == 1
    assert desk.claim() == []
    assert next_due_at(desk) == desk.now + timedelta(seconds=2)
    desk.record("live")
    assert [claim.dispatch.key for claim in desk.claim()] == ["live"]
    desk.later(seconds=2)
    assert [claim.dispatch.key for claim in desk.claim()] == ["b"]


def test_no_more_tasks_run_than_a_backfill_may_have(desk: Desk, make: Callable[..., int]) -> None:
    number = make("a", "b", "c", "d", pace=Pace(max_running=2))
    first, second = desk.claim()
    assert desk.claim() == []
    desk.settle(first, Started("t1", "R1"))
    desk.settle(second, Started("t2", "R2"))
    assert desk.claim() == []
    assert next_due_at(desk) is None
    with desk.ledger.read() as tx:
        assert backfills.running(tx, number) == 2
    desk.find(first.dispatch.dispatch_id, "t1", "Succeed")
    assert [claim.dispatch.key for claim in desk.claim()] == ["c"]


def test_a_refused_call_gives_its_place_back(desk: Desk, make: Callable[..., int]) -> None:
    make("a", "b", pace=Pace(max_running=1))
    (claim,) = desk.claim()
    desk.settle(claim, Throttled("Throttling.User", retry_after=timedelta(seconds=40)))
    assert [row.key for row in desk.due()] == ["b"]


def test_budgets_count_no_backfill_and_holds_do(desk: Desk, make: Callable[..., int]) -> None:
    desk.rules(RuleFacts("r", (), "in/", "wf", budget=1))
    make("a", "b", "c")
    assert len(desk.due()) == 3
    with desk.ledger.write() as tx:
        holds.hold(tx, "r", HoldReason.OPERATOR, "", desk.now)
    assert desk.due() == []


def test_a_row_of_a_cancelled_backfill_that_is_tried_again_leaves_it(desk: Desk, make: Callable[..., int]) -> None:
    number = make("a")
    (row,) = desk.due()
    with desk.ledger.write() as tx:
        backfills.cancel(tx, number, desk.now)
        backfills.skip_cancelled(tx, desk.now)
        assert operating.retry(tx, Selector(ids=(row.dispatch_id,)), desk.now) == 1
        assert backfills.skip_cancelled(tx, desk.now) == 0
    (again,) = desk.due()
    assert (again.dispatch_id, again.backfill, again.lane) == (row.dispatch_id, None, Lane.EXEMPT)
