"""The worker: what is written before a call, what each end of a call leads to, and when nothing is called."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Api, Endpoint, WorkflowCall
from dispatcher.core.outcomes import NotSent, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.core.ratelimit import Rate
from dispatcher.core.rules import WorkflowAction
from dispatcher.ledger import browse, holds, operating, rates
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.calls import call_from_text
from dispatcher.ledger.engine import Ledger
from dispatcher.ports import Batch
from dispatcher.service import worker as worker_module
from tests.service.conftest import lines
from tests.service.fakes import (
    ENDPOINT,
    OTHER_ENDPOINT,
    PATIENT,
    TARGET,
    key_of,
    make_bucket,
    make_rule,
    make_settings,
    seen,
)

if TYPE_CHECKING:
    from dispatcher.core.calls import Call
    from dispatcher.core.outcomes import Outcome
    from dispatcher.service.worker import Worker
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"


def collect(worker: Worker) -> None:
    """Wait until no call runs; how they ended is not written yet."""
    for _ in range(1_000):
        if worker._in_flight == len(worker._unwritten) + len(worker._unsent):
            return
        worker._collect(timedelta(seconds=PATIENT))
    pytest.fail("the calls do not end")


def turn(worker: Worker) -> None:
    """One whole turn: claim, call, wait for the calls, write how they ended."""
    worker.step()
    collect(worker)
    worker._settle()


# -- before the call --------------------------------------------------------------------------------


def test_the_intent_is_durable_before_the_call(scene: Scene) -> None:
    (dispatch,) = scene.record(KEY)

    def look(call: Call) -> Outcome:
        other = Ledger.open(scene.url, readonly=True)
        with other.read() as tx:
            (row,) = browse.select(tx, Selector(), scene.clock())
            detail = browse.show(tx, dispatch, scene.clock())
        other.close()
        assert detail is not None
        (attempt,) = detail.attempts
        assert (row.state, detail.outcomes) == ("sending", ())
        assert call_from_text(Endpoint(attempt.region, attempt.endpoint), attempt.request, attempt.api) == call
        return Started("t1")

    scene.target.expect(KEY, look)
    turn(scene.worker())
    assert scene.row(dispatch).state == "started"
    assert [outcome.kind for outcome in scene.detail(dispatch).outcomes] == ["started"]


def test_the_call_carries_the_object_and_our_id(scene: Scene) -> None:
    (dispatch,) = scene.record(KEY)
    scene.target.expect(KEY, Throttled("Throttling.User"), Started("t1"))
    worker = scene.worker()
    turn(worker)
    scene.clock.later(hours=1)
    turn(worker)
    first, second = scene.target.calls
    assert isinstance(first, WorkflowCall)
    assert isinstance(second, WorkflowCall)
    assert (first.endpoint, first.workflow_id) == (ENDPOINT, "wf")
    assert f'"DispatchId":"{dispatch}.1"' in first.user_data
    assert f'"DispatchId":"{dispatch}.2"' in second.user_data


def test_nothing_is_called_without_rows(scene: Scene) -> None:
    worker = scene.worker()
    assert worker.step() == worker_module.IDLE
    assert scene.target.calls == []


# -- how a call ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "due_in", "failures"),
    [
        (Started("t1", "q1"), "started", None, None, 0),
        (Throttled("Throttling.User"), "pending", "THROTTLED", 2.5, 0),
        (Throttled("Throttling.User", retry_after=timedelta(seconds=40)), "pending", "THROTTLED", 40, 0),
        (NotSent("connection refused"), "pending", "PAUSED", 30, 0),
        (Unauthorized("Forbidden.RAM", "no"), "pending", "PAUSED", 30, 0),
        (Rejected("InvalidParameter", "no"), "dead", "REJECTED", None, 1),
        (Uncertain("time-out"), "uncertain", None, 60, 1),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "__slots__") else None,
)
def test_each_outcome_leads_to_a_state_with_a_reason(
    scene: Scene, log: Log, outcome: Outcome, state: str, reason: str | None, due_in: float | None, failures: int
) -> None:
    (dispatch,) = scene.record(KEY)
    scene.target.expect(KEY, outcome)
    turn(scene.worker())
    row = scene.row(dispatch)
    with scene.ledger.read() as tx:
        stored, next_at = tx.exec_driver_sql("SELECT reason, next_at FROM dispatches").one()
    assert (row.state, stored, row.attempts) == (state, reason, failures)
    assert (next_at is None) == (due_in is None)
    if due_in is not None:
        assert row.next_at == scene.clock.now + timedelta(seconds=due_in)
    (line,) = lines(log, f"dispatch.{state}")
    assert (line["dispatch"], line["key"], line["attempt"]) == (dispatch, KEY, 1)
    assert len(scene.target.calls) == 1


def test_a_target_that_raises_has_perhaps_called(scene: Scene, log: Log) -> None:
    (dispatch,) = scene.record(KEY)
    scene.target.expect(KEY, ZeroDivisionError("a defect"))
    turn(scene.worker())
    row = scene.row(dispatch)
    assert row.state == "uncertain"
    assert row.last_error is not None
    assert row.last_error.message == "defect: ZeroDivisionError"
    assert len(lines(log, "call.defect")) == 1


def test_newer_content_that_comes_during_a_throttled_call_takes_its_place(scene: Scene, log: Log) -> None:
    (old,) = scene.record(KEY)

    def overwrite(_call: Call) -> Outcome:
        scene.clock.later(seconds=1)
        scene.record(KEY, etag="e2")
        return Throttled("Throttling.User")

    scene.target.expect(KEY, overwrite, Started("t2"))
    worker = scene.worker()
    turn(worker)
    assert (scene.row(old).state, scene.row(old).reason) == ("skipped", "SUPERSEDED")
    assert lines(log, "dispatch.skipped")[0]["log_level"] == "info"
    scene.clock.later(hours=1)
    turn(worker)
    assert [row.etag for row in scene.rows() if row.state == "started"] == ["e2"]


def test_a_second_task_of_one_dispatch_is_told(scene: Scene, log: Log) -> None:
    (dispatch,) = scene.record(KEY)
    worker = scene.worker()
    scene.target.expect(KEY, Started("t1"))
    worker.step()
    collect(worker)
    late = worker._unwritten[0]
    worker._settle()
    worker._unwritten, worker._in_flight = [replace(late, outcome=Started("t2"))], 1
    worker._settle()
    assert scene.detail(dispatch).double_starts == ("t2",)
    assert lines(log, "dispatch.double_start")[0]["log_level"] == "error"


# -- what an outcome says of the target and of the rule ---------------------------------------------


def test_throttling_halves_the_rate(scene: Scene) -> None:
    scene.settings = make_settings(rates=dict.fromkeys(Api, Rate(2)))
    keys = [f"in/{number}.mp4" for number in range(4)]
    scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Throttled("Throttling.User"), Started(f"t-{key}"))
    worker = scene.worker()
    turn(worker)
    with scene.ledger.read() as tx:
        assert rates.allowed_shares(tx, scene.clock()) == {TARGET: 0.5}
    for waited, calls in ((0.4, 1), (0.2, 2)):  # the permit taken before costs half a second, as before
        scene.clock.later(seconds=waited)
        turn(worker)
        assert len(scene.target.calls) == calls


def test_the_rate_of_the_account_is_kept(scene: Scene) -> None:
    scene.settings = make_settings(rates=dict.fromkeys(Api, Rate(2)))
    for key in (f"in/{number}.mp4" for number in range(6)):
        scene.record(key)
        scene.target.expect(key, Started(f"t-{key}"))
    worker = scene.worker()
    made = []
    for _ in range(4):
        turn(worker)
        turn(worker)
        made.append(len(scene.target.calls))
        scene.clock.later(seconds=0.5)
    assert made == [1, 2, 3, 4]


@pytest.mark.parametrize("outcome", [NotSent("connection refused"), Unauthorized("Forbidden.RAM")])
def test_a_paused_target_gets_one_trial_call_and_goes_on_when_it_answers(scene: Scene, outcome: Outcome) -> None:
    keys = [f"in/{number}.mp4" for number in range(3)]
    scene.record(*keys)
    scene.settings = replace(scene.settings, concurrent_calls=1)
    for key in keys:
        scene.target.expect(key, Started(f"t-{key}"))
    scene.target._answers[keys[0]].appendleft(outcome)
    worker = scene.worker()
    turn(worker)
    turn(worker)
    assert len(scene.target.calls) == 1, "the others wait: the target is paused"
    worker = replace_concurrency(scene, 4)
    scene.clock.later(seconds=29)
    turn(worker)
    assert len(scene.target.calls) == 1
    scene.clock.later(seconds=1)
    worker.step()
    worker.step()
    collect(worker)
    assert len(scene.target.calls) == 2, "one trial"
    worker._settle()
    turn(worker)
    assert set(scene.states().values()) == {"started"}


def replace_concurrency(scene: Scene, calls: int) -> Worker:
    scene.settings = replace(scene.settings, concurrent_calls=calls)
    return scene.worker()


def test_a_trial_that_fails_keeps_the_pause(scene: Scene) -> None:
    scene.record("in/1.mp4", "in/2.mp4")
    for key in ("in/1.mp4", "in/2.mp4"):
        scene.target.expect(key, *[NotSent("connection refused")] * 3)
    worker = scene.worker()
    made = []
    for _ in range(3):
        turn(worker)
        made.append(len(scene.target.calls))
        scene.clock.later(seconds=30)
    assert made == [2, 3, 4]
    assert all(row.attempts == 0 for row in scene.rows())


def test_five_unanswered_calls_in_a_row_pause_the_target(scene: Scene) -> None:
    keys = [f"in/{number}.mp4" for number in range(8)]
    scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Uncertain("time-out"))
    worker = replace_concurrency(scene, 5)
    turn(worker)
    turn(worker)
    assert len(scene.target.calls) == 5
    assert sorted(scene.states().values()) == ["pending"] * 3 + ["uncertain"] * 5


def test_twenty_equal_refusals_hold_the_rule_and_nothing_is_lost(scene: Scene, log: Log) -> None:
    keys = [f"in/{number:02}.mp4" for number in range(30)]
    ids = scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Rejected("InvalidParameter.WorkflowId", "no such workflow"))
    worker = replace_concurrency(scene, 20)
    turn(worker)
    turn(worker)
    assert len(scene.target.calls) == 20
    (line,) = lines(log, "rule.held")
    assert (line["rule"], line["code"]) == ("r", "InvalidParameter.WorkflowId")
    for key in keys:
        scene.target._answers[key].clear()
        scene.target.expect(key, Started(f"t-{key}"))
    with scene.ledger.write() as tx:
        assert holds.resume(tx, "r")
        assert operating.retry(tx, Selector(ids=tuple(ids)), scene.clock()) == 20
    turn(worker)
    turn(worker)
    assert set(scene.states().values()) == {"started"}


def test_user_data_too_long_is_never_sent_and_goes_once_it_is_mended(scene: Scene, log: Log) -> None:
    long = "in/" + "x" * 500 + ".mp4"
    rule = make_rule(action=WorkflowAction("wf", user_data={"of": "{key}"}))
    scene.settings = make_settings(rule)
    dispatch, short = scene.record(long, KEY)
    scene.target.expect(KEY, Started("t1"))
    turn(scene.worker())
    row = scene.row(dispatch)
    assert (row.state, row.reason, scene.row(short).state) == ("dead", "USER_DATA", "started")
    assert row.last_error is not None
    assert "the service takes 512" in (row.last_error.message or "")
    assert lines(log, "dispatch.dead")[0]["hint"].startswith("shorten workflow.user_data of rule r")

    scene.settings = make_settings(make_rule())
    with scene.ledger.write() as tx:
        assert operating.retry(tx, Selector(ids=(dispatch,)), scene.clock()) == 1
    scene.target.expect(long, Started("t2"))
    mended = scene.worker()
    turn(mended)
    turn(mended)
    assert (scene.row(dispatch).state, len(scene.target.calls)) == ("started", 2)


def test_beyond_the_budget_of_the_day_rows_wait_for_midnight(scene: Scene) -> None:
    scene.settings = make_settings(make_rule(budget=2))
    keys = [f"in/{number}.mp4" for number in range(3)]
    scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Started(f"t-{key}"))
    worker = scene.worker()
    turn(worker)
    turn(worker)
    (waiting,) = (row for row in scene.rows() if row.state == "pending")
    assert (len(scene.target.calls), waiting.reason) == (2, "BUDGET")
    scene.clock.later(hours=12)
    turn(worker)
    assert len(scene.target.calls) == 3


def test_rules_of_two_regions_go_to_their_own_endpoints(scene: Scene) -> None:
    here, there = make_rule("here", bucket="b"), make_rule("there", bucket="b2")
    buckets = {"b": make_bucket("b"), "b2": make_bucket("b2", OTHER_ENDPOINT)}
    scene.settings = make_settings(here, there, buckets=buckets)
    scene.intake().take(worker_batch("b", "b2"))
    scene.target.expect("in/x.mp4", Unauthorized("Forbidden.RAM"))
    scene.target.expect("oss://b2/in/x.mp4", Started("t2"))
    turn(scene.worker())
    assert {call.endpoint: key_of(call) for call in scene.target.calls} == {
        ENDPOINT: "in/x.mp4",
        OTHER_ENDPOINT: "oss://b2/in/x.mp4",
    }
    with scene.ledger.read() as tx:
        paused = [target for target, health in rates.healths(tx).items() if health.paused_since is not None]
    assert paused == [TARGET]


# -- never more than can be called ------------------------------------------------------------------


def test_no_more_is_claimed_than_is_called(scene: Scene) -> None:
    keys = [f"in/{number}.mp4" for number in range(10)]
    scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Started(f"t-{key}"))
    worker = replace_concurrency(scene, 3)
    scene.target.close_gate()
    worker.step()
    scene.target.wait_for_calls(3)
    worker.step()
    worker.step()
    assert sorted(scene.states().values()).count("sending") == 3
    scene.target.open_gate()
    for _ in range(4):
        collect(worker)
        worker.step()
    collect(worker)
    worker._settle()
    assert (scene.target.most_at_once, len(scene.target.calls)) == (3, 10)
    assert set(scene.states().values()) == {"started"}


def worker_batch(*buckets: str) -> Batch:
    return Batch([seen("in/x.mp4", bucket=bucket) for bucket in buckets])
