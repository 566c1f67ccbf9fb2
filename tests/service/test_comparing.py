"""What we would have started beside what somebody else did start, object by object."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.comparing import EXAMPLES, Ledgered, Side, WhyTheirs
from dispatcher.core.outcomes import Started
from dispatcher.core.rules import WorkflowAction
from dispatcher.ports import Batch
from dispatcher.service.comparing import Comparer, Comparison
from dispatcher.service.starts import ServiceStarts
from tests.service.fakes import NOW, make_rule, make_settings, seen, service_task
from tests.service.test_behind import ScriptedJobs

if TYPE_CHECKING:
    from tests.service.conftest import Scene

DAY = timedelta(days=1)


def shadow(scene: Scene, *keys: str, etag: str = "e1") -> None:
    """Record what would start, as `run --shadow` does."""
    scene.intake(shadow=True).take(Batch([seen(key, etag) for key in keys]))


def compare(scene: Scene) -> Comparison:
    starts = ServiceStarts(scene.settings, scene.tasks, ScriptedJobs())
    return Comparer(scene.settings, scene.ledger, starts).compare(NOW - DAY, NOW + timedelta(minutes=30))


def test_both_start_the_same(scene: Scene) -> None:
    shadow(scene, "in/a.mp4", "in/b.mp4")
    late = NOW + timedelta(minutes=29)
    scene.tasks.pages["wf"] = [[service_task("t1", key="in/a.mp4", at=late), service_task("t2", key="in/b.mp4")]]
    found = compare(scene)
    assert found.agrees
    assert found.rules["r"].counts == {Side.BOTH: 2}


def test_each_difference_has_its_reason(scene: Scene) -> None:
    scene.settings = make_settings(make_rule(exclude=("in/private/**",)), make_rule("other", "out/"))
    shadow(scene, "in/a.mp4", "in/ours.mp4")
    scene.record("in/waits.mp4")
    tasks = [
        service_task("t1", key="in/a.mp4"),
        service_task("t2", key="in/a.mp4", at=NOW + timedelta(seconds=1)),
        service_task("t3", key="in/private/x.mp4"),
        service_task("t4", key="in/doc.pdf"),
        service_task("t5", key="in/before.mp4"),
        service_task("t6", key="in/waits.mp4"),
        service_task("t7", key="elsewhere/x.mp4"),
        replace(service_task("t8"), task_input=json.dumps({"Type": "Media", "Media": "m-1"})),
    ]
    scene.tasks.pages["wf"] = [tasks]
    found = compare(scene)
    assert not found.agrees
    rule = found.rules["r"]
    assert rule.counts == {Side.BOTH: 1, Side.ONLY_OURS: 1, Side.ONLY_THEIRS: 7}
    assert rule.reasons == {
        "DOUBLE": 1,
        "EXCLUDED": 1,
        "EXTENSION": 1,
        "NOT_RECORDED": 1,
        "OTHER_STATE: pending": 1,
        "PREFIX": 1,
        "NO_OBJECT": 1,
    }
    assert found.rules["other"].counts == {}
    [ours] = [each for each in rule.examples if each.side is Side.ONLY_OURS]
    assert (ours.key, ours.task_id) == ("in/ours.mp4", None)
    assert len([each for each in rule.examples if each.side is Side.ONLY_THEIRS]) == EXAMPLES


def test_two_contents_of_one_key_need_two_tasks(scene: Scene) -> None:
    shadow(scene, "in/a.mp4")
    scene.clock.later(minutes=1)
    shadow(scene, "in/a.mp4", etag="e2")
    scene.tasks.pages["wf"] = [[service_task("t1", key="in/a.mp4")]]
    assert compare(scene).rules["r"].counts == {Side.BOTH: 1, Side.ONLY_OURS: 1}


def test_our_own_tasks_are_on_both_sides_wherever_their_rows_came_from(scene: Scene) -> None:
    [dispatch] = scene.record("in/a.mp4")
    scene.clock.later(hours=0.1)
    scene.target.expect("in/a.mp4", Started("t1"))
    worker = scene.worker()
    worker.step()
    worker._collect(scene.settings.call_timeout)
    worker.step()
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=dispatch, key="in/a.mp4", at=scene.clock())]]
    scene.settings = make_settings(make_rule("new", was=("r",), action=WorkflowAction("wf")))
    assert compare(scene).rules["new"].counts == {Side.BOTH: 1}


def test_tasks_before_the_rule_and_outside_the_window_say_nothing(scene: Scene) -> None:
    scene.intake(shadow=True)
    early = service_task("t1", key="in/a.mp4", at=NOW - timedelta(hours=2))
    old = service_task("t2", key="in/b.mp4", at=NOW - 2 * DAY)
    scene.tasks.pages["wf"] = [[early, old]]
    found = compare(scene)
    assert found.agrees
    assert found.earlier == 1


def test_each_start_of_ours_matches_one_task() -> None:
    ours = Ledgered()
    assert ours.take("wf", "b", "k") is WhyTheirs.NOT_RECORDED
    ours.put("wf", "b", "k")
    ours.put("wf", "b", "k")
    assert [ours.take("wf", "b", "k") for _ in range(3)] == [None, None, WhyTheirs.DOUBLE]
    assert ours.take("wf2", "b", "k") is WhyTheirs.NOT_RECORDED
    assert [ours.leave("wf", "b", "k") for _ in range(3)] == [True, True, False]
