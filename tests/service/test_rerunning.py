"""Selected dispatches run once more under a name: what ended, what still is as it was, and each once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dispatcher.core.backfilling import BackfillKind, BackfillState
from dispatcher.core.dispatch import DispatchState, dispatch_id
from dispatcher.core.outcomes import Rejected, Started
from dispatcher.errors import BucketDeniedError
from dispatcher.ledger import backfills
from dispatcher.ledger.browse import Selector
from dispatcher.service.rerunning import NotRerun, Rerun, Rerunning, Selected, selected
from dispatcher.sources.store import ObjectHead
from tests.service.fakes import MODIFIED, make_rule, make_settings, service_task
from tests.service.test_adopting import IDENTITY, Shelf

if TYPE_CHECKING:
    from dispatcher.ledger.backfills import Backfill
    from tests.service.conftest import Scene

ALL = Selector()


def rerun(scene: Scene, selector: Selector = ALL, name: str = "fix", shelf: Shelf | None = None) -> Rerun:
    running = Rerunning(scene.settings, scene.ledger, {"b": shelf or Shelf()}, scene.clock, threading.Event())
    return running.rerun(selector, name)


def again(key: str, name: str = "fix", rule: str = "r") -> str:
    return dispatch_id(rule, "b", key, IDENTITY, name)


def send(scene: Scene) -> None:
    """Let the worker send what is due, and write how it ended."""
    worker = scene.worker()
    worker.step()
    calls = len(scene.target.calls)
    while worker._in_flight:
        worker._collect(scene.settings.call_timeout)
        worker.step()
    assert len(scene.target.calls) >= calls


def everything(scene: Scene) -> list[Backfill]:
    with scene.ledger.read() as tx:
        return backfills.everything(tx)


def test_a_failed_task_runs_again_as_a_row_of_the_run(scene: Scene) -> None:
    scene.record("in/a.mp4")
    scene.target.expect("in/a.mp4", Started("t1"), Started("t2"))
    send(scene)
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=scene.rows()[0].dispatch_id, status="Failed")]]
    scene.clock.later(minutes=2)
    scene.sweeper().sweep_due()
    failed = Selector(task_statuses=("Failed",))
    with scene.ledger.read() as tx:
        assert selected(tx, failed) == Selected(1, 1)
    done = rerun(scene, failed)
    assert (done.selected, done.recorded, done.known, done.not_rerun) == (1, 1, 0, {})
    row = scene.row(again("in/a.mp4"))
    assert (row.run, row.state, row.source, row.rule) == ("fix", DispatchState.PENDING, "rerun", "r")
    [made] = everything(scene)
    assert (made.number, made.kind, made.name, made.state) == (
        done.backfill, BackfillKind.RERUN, "fix", BackfillState.RUNNING,
    )  # fmt: skip
    assert made.recorded_at is not None
    send(scene)
    assert scene.row(again("in/a.mp4")).task_id == "t2"
    assert {each.task_id for each in scene.rows()} == {"t1", "t2"}


def test_the_same_name_again_adds_nothing_and_another_name_does(scene: Scene) -> None:
    scene.record("in/a.mp4")
    scene.target.expect("in/a.mp4", Rejected("InvalidParameter", "no"))
    send(scene)
    assert rerun(scene).recorded == 1
    once_more = rerun(scene)
    assert (once_more.recorded, once_more.known, len(everything(scene))) == (0, 2, 1)  # the row, and that of the run
    assert once_more.not_rerun == {}
    assert rerun(scene, Selector(states=(DispatchState.DEAD,)), "other").recorded == 1
    assert {each.run for each in scene.rows()} == {"", "fix", "other"}


def test_what_has_not_ended_or_is_not_there_any_more_does_not_run_again(scene: Scene) -> None:
    keys = ["in/waits.mp4", "in/gone.mp4", "in/changed.mp4", "in/denied.mp4", "in/fine.mp4"]
    for key in keys[1:]:
        scene.record(key)
        scene.target.expect(key, Started(f"task of {key}"))
        send(scene)
    scene.record(keys[0])
    shelf = Shelf(
        {
            "in/gone.mp4": None,
            "in/changed.mp4": ObjectHead("e2", 7, MODIFIED),
            "in/denied.mp4": BucketDeniedError("no", hint="grant"),
        }
    )
    done = rerun(scene, shelf=shelf)
    assert done.not_rerun == dict.fromkeys(
        [NotRerun.UNFINISHED, NotRerun.GONE, NotRerun.CHANGED, NotRerun.UNREADABLE], 1
    )
    assert done.examples[NotRerun.CHANGED] == ("b", "in/changed.mp4")
    assert {row.key for row in scene.rows() if row.run} == {"in/fine.mp4"}
    assert "in/waits.mp4" not in shelf.asked


def test_a_row_of_a_renamed_rule_runs_again_under_the_present_one(scene: Scene) -> None:
    scene.record("in/a.mp4")
    scene.target.expect("in/a.mp4", Started("t1"))
    send(scene)
    scene.settings = make_settings(make_rule("new", was=("r",)))
    assert rerun(scene).recorded == 1
    assert scene.row(again("in/a.mp4", rule="new")).rule == "new"
    scene.settings = make_settings(make_rule("new", prefix="elsewhere/", was=("r",)))
    assert rerun(scene, name="other").not_rerun == {NotRerun.UNMATCHED: 1, NotRerun.UNFINISHED: 1}


def test_a_paused_rerun_goes_on_when_it_is_asked_for_again(scene: Scene) -> None:
    for key in ("in/a.mp4", "in/b.mp4"):
        scene.record(key)
        scene.target.expect(key, Started(key))
        send(scene)
    first = rerun(scene, Selector(key="in/a.mp4"))
    assert first.backfill is not None
    with scene.ledger.write() as tx:
        backfills.pause(tx, first.backfill, scene.clock())
    second = rerun(scene)
    assert (second.backfill, second.recorded, second.known) == (first.backfill, 1, 2)
    assert everything(scene)[0].state is BackfillState.RUNNING
