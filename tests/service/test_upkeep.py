"""Upkeep: sightings, stragglers, the loop guard, rules that went, and rows that are old."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.location import Location
from dispatcher.core.outcomes import Started
from dispatcher.core.rules import RuleSet, WorkflowAction
from dispatcher.errors import ConfigError, ListingError, ServiceUnavailableError
from dispatcher.ledger import holds, sightings
from dispatcher.ledger.failures import LedgerDamagedError
from dispatcher.ports import Batch
from dispatcher.service.sweeping import FOLLOW_FOR
from dispatcher.service.upkeep import REST, STRAGGLER_EVERY
from dispatcher.sources.store import ObjectHead
from tests.service.conftest import lines
from tests.service.fakes import MODIFIED, make_rule, make_settings, seen, service_task
from tests.service.test_worker import turn

if TYPE_CHECKING:
    import threading

    from dispatcher.errors import DispatcherError
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"
AWAY = ServiceUnavailableError("GetWorkflowTask failed", hint="wait")


@dataclass
class Store:
    """A bucket that answers HEAD as a test says."""

    heads: dict[str, ObjectHead | DispatcherError | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def head(self, key: str, stop: threading.Event) -> ObjectHead | None:
        assert not stop.is_set()
        self.asked.append(key)
        found = self.heads[key]
        if isinstance(found, Exception):
            raise found
        return found


def started(scene: Scene, *keys: str) -> list[str]:
    ids = scene.record(*keys)
    for number, key in enumerate(keys):
        scene.target.expect(key, Started(f"t{number}"))
    worker = scene.worker()
    while any(scene.row(each).state == "pending" for each in ids):
        turn(worker)
    return ids


# -- sightings ---------------------------------------------------------------------------------------


def sighted(scene: Scene, key: str = KEY) -> None:
    scene.intake().take(Batch([seen(key, etag=None, size=None, modified_at=None, source="smq:events")]))


def waiting(scene: Scene) -> int:
    with scene.ledger.read() as tx:
        return sightings.waiting(tx)


def test_the_object_itself_decides_a_sighting(scene: Scene) -> None:
    sighted(scene)
    scene.deciding({"b": Store({KEY: ObjectHead("e7", 70, MODIFIED)})}).tick()
    (row,) = scene.rows()
    assert (row.key, row.etag, row.size, row.source, row.state) == (KEY, "e7", 70, "smq:events", "pending")
    assert waiting(scene) == 0


def test_a_sighting_that_matches_nothing_after_all_is_decided_too(scene: Scene) -> None:
    sighted(scene)
    scene.deciding({"b": Store({KEY: ObjectHead("e7", 0, MODIFIED)})}).tick()
    assert (scene.rows(), waiting(scene)) == ([], 0)


def test_an_object_that_is_missing_for_an_hour_is_gone(scene: Scene, log: Log) -> None:
    sighted(scene)
    deciding = scene.deciding({"b": Store({KEY: None})})
    for _ in range(60):
        deciding.tick()
        assert waiting(scene) == 1
        scene.clock.later(seconds=59.9)
    scene.clock.later(minutes=5)
    deciding.tick()
    assert waiting(scene) == 0
    (line,) = lines(log, "sighting.gone")
    assert (line["bucket"], line["key"], line["source"]) == ("b", KEY, "smq:events")


def test_a_store_that_fails_postpones_and_says_nothing_of_the_object(scene: Scene, log: Log) -> None:
    sighted(scene)
    store = Store({KEY: ListingError("HTTP 503", hint="wait")})
    deciding = scene.deciding({"b": store})
    for _ in range(30):
        deciding.tick()
        scene.clock.later(minutes=5)
    assert (waiting(scene), len(store.asked)) == (1, 30)
    assert lines(log, "sighting.gone") == []
    assert lines(log, "sightings.postponed")[0]["error"] == "HTTP 503"
    store.heads[KEY] = ObjectHead("e1", 7, MODIFIED)
    deciding.tick()
    assert (scene.states(), waiting(scene)) == ({KEY: "pending"}, 0)


def test_one_store_that_fails_does_not_keep_the_others_waiting(scene: Scene) -> None:
    for key in (KEY, "in/b.mp4"):
        sighted(scene, key)
    scene.deciding(
        {"b": Store({KEY: ListingError("HTTP 503", hint="wait"), "in/b.mp4": ObjectHead("e1", 7, None)})}
    ).tick()
    assert scene.states() == {"in/b.mp4": "pending"}


# -- old tasks ---------------------------------------------------------------------------------------


def test_a_straggler_is_asked_for_by_itself_until_it_ends(scene: Scene, log: Log) -> None:
    (dispatch,) = started(scene, KEY)
    upkeep = scene.upkeep()
    upkeep.ask_for_stragglers()
    assert scene.tasks.asked == [], "young tasks are followed by sweeps"
    scene.clock.later(seconds=FOLLOW_FOR.total_seconds() + 1)
    scene.tasks.single["t0"] = service_task("t0", dispatch=dispatch)
    upkeep.ask_for_stragglers()
    upkeep.ask_for_stragglers()
    assert (scene.tasks.asked, scene.row(dispatch).task_status) == (["t0"], "Processing")
    scene.clock.later(seconds=STRAGGLER_EVERY.total_seconds())
    scene.tasks.single["t0"] = service_task("t0", dispatch=dispatch, status="Failed")
    upkeep.ask_for_stragglers()
    scene.clock.later(seconds=STRAGGLER_EVERY.total_seconds())
    upkeep.ask_for_stragglers()
    assert (scene.tasks.asked, scene.row(dispatch).task_status) == (["t0", "t0"], "Failed")
    assert lines(log, "task.finished")[0]["status"] == "Failed"


def test_a_task_that_cannot_be_read_does_not_keep_the_others_waiting(scene: Scene, log: Log) -> None:
    first, second = started(scene, KEY, "in/b.mp4")
    scene.clock.later(seconds=FOLLOW_FOR.total_seconds() + 1)
    tasks = {row.task_id: row.dispatch_id for row in scene.rows()}
    scene.tasks.single = {"t0": AWAY, "t1": service_task("t1", dispatch=tasks["t1"], status="Succeed")}
    upkeep = scene.upkeep()
    for _ in range(3):
        upkeep.tick()
        scene.clock.later(seconds=REST.total_seconds())
    assert scene.row(tasks["t1"]).task_status == "Succeed"
    assert {first, second} == set(tasks.values())
    assert {line["part"] for line in lines(log, "upkeep.failed")} == {"ask_for_stragglers"}


def test_a_task_that_the_service_forgot_is_asked_for_seldom(scene: Scene) -> None:
    started(scene, KEY)
    scene.clock.later(seconds=FOLLOW_FOR.total_seconds() + 1)
    scene.tasks.single["t0"] = None
    upkeep = scene.upkeep()
    for _ in range(10):
        upkeep.ask_for_stragglers()
        scene.clock.later(minutes=2)
    assert len(scene.tasks.asked) == 2


# -- loops -------------------------------------------------------------------------------------------


def finished(scene: Scene, output: str) -> str:
    """One object whose task has ended with this output; return the dispatch."""
    (dispatch,) = started(scene, KEY)
    results = json.dumps({"Transcode": json.dumps([{"OutputFile": output}]), "Input": f"oss://b/{KEY}"})
    done = service_task("t0", dispatch=dispatch, status="Succeed", results=results)
    scene.tasks.pages["wf"] = [[done]]
    scene.tasks.single["t0"] = done
    assert scene.sweeper().sweep_due() == 1
    return dispatch


def held(scene: Scene) -> dict[str, str]:
    with scene.ledger.read() as tx:
        return {rule: hold.reason.value for rule, hold in holds.held(tx).items()}


def test_a_rule_whose_output_would_start_it_again_is_held(scene: Scene, log: Log) -> None:
    finished(scene, "oss://b/in/out.mp4")
    scene.upkeep().guard_loops()
    assert held(scene) == {"r": "LOOP"}
    (line,) = lines(log, "rule.held")
    assert "oss://b/in/out.mp4" in line["detail"]
    assert "never_trigger" in line["hint"]
    scene.record("in/next.mp4")
    turn(scene.worker())
    assert scene.states()["in/next.mp4"] == "pending"


@pytest.mark.parametrize("output", ["oss://b/out/a.mp4", "oss://elsewhere/in/a.mp4", f"oss://b/{KEY}", "in/out.mp4"])
def test_outputs_elsewhere_hold_nothing_and_are_read_once(scene: Scene, output: str) -> None:
    finished(scene, output)
    upkeep = scene.upkeep()
    upkeep.guard_loops()
    upkeep.guard_loops()
    assert (held(scene), scene.tasks.asked) == ({}, ["t0"])


def test_an_output_that_never_triggers_is_no_loop(scene: Scene) -> None:
    scene.settings = make_settings(rules=RuleSet([make_rule()], [Location("b", "in/out/")]))
    finished(scene, "oss://b/in/out/a.mp4")
    scene.upkeep().guard_loops()
    assert held(scene) == {}


def test_the_guard_asks_again_when_the_service_was_away(scene: Scene, log: Log) -> None:
    finished(scene, "oss://b/in/out.mp4")
    done = scene.tasks.single["t0"]
    scene.tasks.single["t0"] = AWAY
    upkeep = scene.upkeep()
    upkeep.tick()
    scene.clock.later(seconds=1)
    upkeep.tick()
    assert (held(scene), len(scene.tasks.asked)) == ({}, 1)
    assert len(lines(log, "upkeep.failed")) == 1
    scene.tasks.single["t0"] = done
    scene.clock.later(seconds=REST.total_seconds())
    upkeep.tick()
    assert held(scene) == {"r": "LOOP"}


# -- ticks -------------------------------------------------------------------------------------------


def test_a_ledger_that_fails_ends_the_tick(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> None:
        raise LedgerDamagedError("damaged", hint="restore a copy")

    upkeep = scene.upkeep()
    monkeypatch.setattr(scene.ledger, "read", damaged)
    with pytest.raises(LedgerDamagedError):
        upkeep.tick()


def test_nothing_is_done_once_stopped(scene: Scene) -> None:
    sighted(scene)
    store = Store()
    scene.stop.set()
    scene.deciding({"b": store}).tick()
    upkeep = scene.upkeep()
    upkeep.tick()
    upkeep.clean()
    assert store.asked == []


# -- rules that went, and rows that are old ----------------------------------------------------------


def test_rows_of_a_removed_rule_are_skipped_and_those_of_others_stay(scene: Scene, log: Log) -> None:
    scene.settings = make_settings(make_rule("gone"), make_rule("stays", action=WorkflowAction("other")))
    scene.intake().take(Batch([seen(f"in/{number:04}.mp4") for number in range(1_200)]))
    scene.settings = make_settings(make_rule("stays", action=WorkflowAction("other")))
    scene.upkeep().clean()
    assert {(row.rule, row.state.value, row.reason) for row in scene.rows()} == {
        ("gone", "skipped", "RULE_REMOVED"),
        ("stays", "pending", None),
    }
    assert len(lines(log, "dispatch.skipped")) == 1_200


def test_rows_of_a_renamed_rule_go_on_under_the_new_one(scene: Scene) -> None:
    (dispatch,) = scene.record(KEY)
    scene.settings = make_settings(make_rule("new", was=("r",)))
    scene.upkeep().clean()
    assert (scene.row(dispatch).rule, scene.row(dispatch).state) == ("new", "pending")
    scene.target.expect(KEY, Started("t1"))
    turn(scene.worker())
    assert scene.row(dispatch).state == "started"


def test_a_rule_that_seems_renamed_is_refused_until_it_is_said(scene: Scene) -> None:
    scene.record(KEY)
    scene.settings = make_settings(make_rule("new"))
    with pytest.raises(ConfigError, match="same input and action"):
        scene.intake()
    assert scene.states() == {KEY: "pending"}


def test_a_finished_row_shrinks_after_a_while_and_is_never_started_again(scene: Scene) -> None:
    (dispatch,) = started(scene, KEY)
    scene.tasks.pages["wf"] = [[service_task("t0", dispatch=dispatch, status="Succeed")]]
    assert scene.sweeper().sweep_due() == 1
    keep = scene.settings.ledger.keep
    scene.clock.later(seconds=keep.total_seconds())
    scene.upkeep().clean()
    assert [row.dispatch_id for row in scene.rows()] == [dispatch]
    scene.clock.later(seconds=1)
    scene.upkeep().clean()
    assert scene.rows() == []
    assert (scene.detail(dispatch).state, scene.detail(dispatch).task_id) == ("started", "t0")
    assert scene.intake().take(Batch([seen(KEY)])).recorded == 0
    turn(scene.worker())
    assert len(scene.target.calls) == 1


def test_what_is_not_finished_never_shrinks(scene: Scene) -> None:
    started(scene, KEY)
    scene.record("in/b.mp4")
    scene.clock.later(days=89)
    scene.settings = make_settings(ledger=replace(scene.settings.ledger, keep=timedelta(days=1)))
    scene.upkeep().clean()
    assert scene.states() == {KEY: "started", "in/b.mp4": "pending"}
