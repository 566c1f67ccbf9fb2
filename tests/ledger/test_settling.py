from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.dispatch import StateReason
from dispatcher.core.outcomes import Bury, Rejected, RetryAt, Started, Throttled, Uncertain
from dispatcher.ledger import absence, following, operating, pruning, settling
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.sending import Incarnation

if TYPE_CHECKING:
    from dispatcher.core.outcomes import Decision, Outcome
    from tests.ledger.conftest import Desk

EVERY = timedelta(seconds=60)


def absences(desk: Desk, dispatch: str, sweeps: int = 2) -> list[absence.Absent]:
    with desk.ledger.write() as tx:
        return absence.note_absence(tx, [dispatch], desk.now, every=EVERY, sweeps=sweeps, called_until=desk.now)


def test_a_started_call_completes_its_row(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    done = desk.settle(claim, Started("t1", "q1"))
    view = desk.view(dispatch)
    assert (done.written, done.state) == (True, "started")
    assert (view.state, view.task_id, view.request_id, view.started_at) == ("started", "t1", "q1", desk.now)


def test_a_rejected_call_is_dead_with_its_code(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Rejected("InvalidParameter", "no", "q1"))
    view = desk.view(dispatch)
    assert (view.state, view.reason, view.attempts) == ("dead", "REJECTED", 1)
    assert view.last_error is not None
    assert (view.last_error.code, view.last_error.request_id) == ("InvalidParameter", "q1")


def test_the_decision_of_an_earlier_sender_is_not_written_but_its_outcome_is_kept(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    late = desk.settle(claim, Rejected("X"), Incarnation(99))
    assert not late.written
    assert desk.view(dispatch).state == "sending"
    assert [each.kind for each in desk.detail(dispatch).outcomes] == ["rejected"]


@pytest.mark.parametrize("then", ["uncertain", "dead", "skipped", "pending"])
def test_a_late_start_settles_whatever_the_row_became(desk: Desk, then: str) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Rejected("X") if then != "uncertain" else Uncertain("time-out"))
    with desk.ledger.write() as tx:
        if then == "skipped":
            operating.skip(tx, Selector(), desk.now)
        elif then == "pending":
            operating.retry(tx, Selector(), desk.now)
    assert desk.view(dispatch).state == then
    assert desk.settle(claim, Started("t1"), Incarnation(99)).written
    assert (desk.view(dispatch).state, desk.view(dispatch).task_id) == ("started", "t1")
    assert desk.due() == []


def test_a_second_task_is_a_double_start_told_once(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Started("t1"))
    assert desk.settle(claim, Started("t2")).double_start
    assert not desk.settle(claim, Started("t2")).double_start
    assert not desk.settle(claim, Started("t1")).double_start
    assert desk.find(dispatch, "t3").double_starts != ()
    assert desk.find(dispatch, "t3").double_starts == ()
    assert desk.detail(dispatch).double_starts == ("t2", "t3")
    assert desk.view(dispatch).task_id == "t1"


def test_a_sweep_settles_an_uncertain_row_and_follows_it_to_the_end(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Uncertain("time-out"))
    assert len(desk.find(dispatch, status="Processing").settled) == 1
    assert desk.find(dispatch, status="Processing") == settling.Evidenced()
    assert len(desk.find(dispatch, status="Succeed").finished) == 1
    desk.find(dispatch, status="Processing")
    view = desk.view(dispatch)
    assert (view.state, view.task_status, view.task_finished_at) == ("started", "Succeed", desk.now)
    with desk.ledger.read() as tx:
        assert following.sweeps_needed(tx, desk.now, follow_since=desk.now - timedelta(days=1)) == []
        (check,) = following.outputs_to_check(tx)
    assert (check.rule_id, check.task_id) == ("r", "t1")
    with desk.ledger.write() as tx:
        following.mark_outputs_checked(tx, "r", desk.now)
        assert following.outputs_to_check(tx) == []


def test_an_id_the_ledger_never_had_is_foreign_but_a_tombstone_is_not(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Started("t1"))
    desk.find(dispatch, status="Failed")
    with desk.ledger.write() as tx:
        assert pruning.prune(tx, desk.now + timedelta(1), now=desk.now) == 1
    assert desk.find(dispatch, "t1") == settling.Evidenced()
    assert len(desk.find(dispatch, "t2").double_starts) == 1
    assert len(desk.find("a" * 26).foreign) == 1
    detail = desk.detail(dispatch)
    assert (detail.state, detail.task_id, detail.view, detail.outcomes) == ("started", "t1", None, ())


def test_absence_counts_once_in_each_interval_until_there_are_enough(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Uncertain("time-out"))
    assert absences(desk, dispatch) == []
    desk.later(seconds=59)
    assert absences(desk, dispatch) == []
    desk.later(seconds=1)
    (absent,) = absences(desk, dispatch)
    assert (absent.rule_id, absent.failures, absent.attempt) == ("r", 1, 1)


def test_what_proven_absence_leads_to(desk: Desk) -> None:
    decisions: dict[str, tuple[Decision | absence.Hold, str, str]] = {
        "retry": (RetryAt(desk.now, StateReason.BACKOFF), "pending", "BACKOFF"),
        "bury": (Bury(StateReason.ATTEMPTS), "dead", "ATTEMPTS"),
        "hold": (absence.Hold(), "uncertain", "HELD"),
    }
    desk.record(*decisions)
    for claim in desk.claim():
        desk.settle(claim, Uncertain("time-out"))
        decision, state, reason = decisions[claim.dispatch.key]
        with desk.ledger.write() as tx:
            assert absence.settle_absent(tx, claim.dispatch.dispatch_id, decision, desk.now - timedelta(seconds=1))
        row = desk.detail(claim.dispatch.dispatch_id).view
        assert row is not None
        assert row.state == state
        with desk.ledger.read() as tx:
            stored = tx.exec_driver_sql(
                "SELECT reason FROM dispatches WHERE dispatch_id = ?", (claim.dispatch.dispatch_id,)
            ).scalar_one()
        assert stored == reason
    assert [row.key for row in desk.due()] == ["retry"]


def test_absence_never_touches_a_row_that_started_meanwhile(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Uncertain("time-out"))
    desk.find(dispatch)
    assert absences(desk, dispatch, sweeps=1) == []
    with desk.ledger.write() as tx:
        assert not absence.settle_absent(tx, dispatch, RetryAt(desk.now, StateReason.BACKOFF), desk.now)
    assert desk.view(dispatch).state == "started"


def test_which_workflows_need_a_sweep(desk: Desk) -> None:
    desk.record("started", "uncertain", "throttled")
    outcomes: dict[str, Outcome] = {
        "started": Started("t1"),
        "uncertain": Uncertain("time-out"),
        "throttled": Throttled("Throttling"),
    }
    intent = desk.now
    for claim in desk.claim():
        desk.settle(claim, outcomes[claim.dispatch.key])
    since = desk.now - timedelta(days=1)
    with desk.ledger.read() as tx:
        (before,) = following.sweeps_needed(tx, desk.now, follow_since=since)
    desk.later(seconds=60)
    with desk.ledger.read() as tx:
        (need,) = following.sweeps_needed(tx, desk.now, follow_since=since)
        query = need.query(since, desk.now)
        assert len(following.expected(tx, query, desk.now, called_until=desk.now)) == 1
        (old,) = following.stragglers(tx, desk.now, follow_since=desk.now, limit=10)
    assert (before.uncertain, before.following) == (0, 1)
    assert (need.uncertain, need.following, need.earliest_intent_at) == (1, 1, intent)
    assert old.task_id == "t1"
    with desk.ledger.write() as tx:
        following.follow_later(tx, [old.dispatch_id], desk.now + timedelta(hours=1))
        assert following.stragglers(tx, desk.now, follow_since=desk.now, limit=10) == []
        following.record_sweep(tx, query, complete=False, now=desk.now)
        assert following.last_sweep_at(tx, need) == desk.now
        assert following.last_sweep_at(tx, replace(need, workflow_id="other")) is None
        following.record_sweep(tx, query, complete=True, now=desk.now + EVERY)
        assert following.last_sweep_at(tx, need) == desk.now + EVERY


def test_a_foreign_start_is_news_once(desk: Desk) -> None:
    found = following.ForeignStart("t9", "wf", "oss://b/k", "b", "k", "r", desk.now, None, desk.now)
    with desk.ledger.write() as tx:
        assert following.record_foreign(tx, [found, found]) == [found]
        assert following.record_foreign(tx, [found]) == []
        assert following.foreign(tx) == following.foreign_of(tx, "b", "k") == [found]
