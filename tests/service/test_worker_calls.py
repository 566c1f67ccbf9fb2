"""Editing jobs and media assets: what a worker, a sweep and upkeep make of calls that are not StartWorkflow."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.calls import Api, EditingCall, RegisterCall, TaskHint, WorkflowCall
from dispatcher.core.outcomes import Assets, Registered, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.core.rules import EditingAction, InputType, WorkflowAction
from dispatcher.ledger import browse, rates
from dispatcher.ledger.browse import Selector
from dispatcher.service import live
from dispatcher.service.permits import ReadPermits
from dispatcher.simulator.faults import Fault, FaultPlan, FaultRate, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.jobs import AlibabaJobs
from dispatcher.targets.target import AlibabaTarget
from tests.service.conftest import lines
from tests.service.fakes import NOW, editing_job, make_bucket, make_rule, make_settings, service_task
from tests.service.test_worker import turn
from tests.simulator_fixtures import CREDENTIALS, endpoint_of
from tests.simulator_fixtures import make_settings as make_simulator_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.service.worker import Worker
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"
SUBMIT = Api.SUBMIT_MEDIA_PRODUCING_JOB.value
OUTPUT = {"MediaURL": "https://b.oss-cn-hangzhou.aliyuncs.com/out/{stem}.mp4"}
MEDIA = make_rule(action=WorkflowAction("wf", input_type=InputType.MEDIA))
EDITING = make_rule(action=EditingAction(OUTPUT, timeline={"VideoTracks": []}))
LOST = Uncertain("time-out")


def with_rule(scene: Scene, *rules: object) -> None:
    scene.settings = make_settings(*rules)  # type: ignore[arg-type]  # rules


# -- media assets --------------------------------------------------------------------------------------


def test_the_object_is_registered_and_then_started_as_a_media_asset(scene: Scene, log: Log) -> None:
    with_rule(scene, MEDIA)
    (dispatch,) = scene.record(KEY)
    scene.target.expect(KEY, Registered("m1", "q1"))
    scene.target.expect("m1", Started("t1", "q2"))
    worker = scene.worker()
    turn(worker)
    assert (scene.row(dispatch).state, scene.row(dispatch).input_media_id) == ("pending", "m1")
    turn(worker)
    register, start = scene.target.calls
    assert isinstance(register, RegisterCall)
    assert register.input_url == f"oss://b/{KEY}"
    assert isinstance(start, WorkflowCall)
    assert json.loads(start.task_input) == {"Type": "Media", "Media": "m1"}
    assert json.loads(start.user_data) == {"DispatchId": f"{dispatch}.2"}
    row = scene.row(dispatch)
    assert (row.state, row.task_id, row.attempts, row.workflow) == ("started", "t1", 0, "wf")
    assert [line["event"] for line in log if "outcome" in line] == ["dispatch.registered", "dispatch.started"]
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=dispatch, attempt=2, status="Succeed")]]
    scene.sweeper().sweep_due()
    assert scene.row(dispatch).task_status == "Succeed"


def test_a_start_that_fails_does_not_register_again(scene: Scene) -> None:
    with_rule(scene, MEDIA)
    scene.record(KEY)
    scene.target.expect(KEY, LOST, Registered("m1"))
    scene.target.expect("m1", Throttled("Throttling.User"), Started("t1"))
    worker = scene.worker()
    for _ in range(5):
        turn(worker)
        scene.clock.later(hours=1)
    kinds = [type(call) for call in scene.target.calls]
    assert kinds == [RegisterCall, RegisterCall, WorkflowCall, WorkflowCall]
    first, second = scene.target.calls[:2]
    assert first == second, "the token makes both one registration"


def test_an_api_that_refuses_the_account_does_not_hold_up_the_others(scene: Scene) -> None:
    edit = replace(EDITING, id="edit", name="edit")
    with_rule(scene, MEDIA, edit)
    scene.intake()
    keys = [f"in/{number}.mp4" for number in range(3)]
    scene.record(*keys)
    with scene.ledger.read() as tx:
        jobs = [row.dispatch_id for row in browse.select(tx, Selector(rules=("edit",)), scene.clock())]
    for job in jobs:
        scene.target.expect(job, Unauthorized("Forbidden.RAM"))
    for key in keys:
        scene.target.expect(key, Registered(f"m-{key}"))
        scene.target.expect(f"m-{key}", Started(f"t-{key}"))
    scene.settings = replace(scene.settings, concurrent_calls=2)
    worker = scene.worker()
    for _ in range(8):
        turn(worker)
    assert sorted((row.rule, row.state) for row in scene.rows()) == [("edit", "pending")] * 3 + [("r", "started")] * 3
    with scene.ledger.read() as tx:
        paused = [target for target, health in rates.healths(tx).items() if health.paused_since is not None]
    assert paused == [f"default/cn-hangzhou/{SUBMIT}"]
    assert {row.reason for row in scene.rows() if row.rule == "edit"} == {"PAUSED"}


def test_rows_wait_as_paused_while_they_cannot_be_registered(scene: Scene) -> None:
    with_rule(scene, MEDIA)
    (dispatch,) = scene.record(KEY)
    scene.target.expect(KEY, Unauthorized("Forbidden.RAM", "no RegisterMediaInfo"))
    turn(scene.worker())
    assert scene.row(dispatch).reason == "PAUSED"


def test_twenty_refused_registrations_hold_the_rule(scene: Scene, log: Log) -> None:
    with_rule(scene, MEDIA)
    keys = [f"in/{number:02}.mp4" for number in range(21)]
    scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Rejected("InvalidParameter.InputURL"))
    scene.settings = replace(scene.settings, concurrent_calls=20)
    worker = scene.worker()
    turn(worker)
    turn(worker)
    assert len(scene.target.calls) == 20
    assert lines(log, "rule.held")[0]["code"] == "InvalidParameter.InputURL"


# -- editing jobs, by a script -------------------------------------------------------------------------


def submitted(scene: Scene) -> str:
    """Record one object of the editing rule whose job started as `j1`."""
    with_rule(scene, EDITING)
    (dispatch,) = scene.record(KEY)
    scene.target.expect(dispatch, Started("j1", "q1", Assets("m1", None, "p1")))
    turn(scene.worker())
    return dispatch


def test_a_job_is_submitted_once_and_what_it_makes_is_kept(scene: Scene) -> None:
    dispatch = submitted(scene)
    (call,) = scene.target.calls
    assert isinstance(call, EditingCall)
    assert (call.client_token, json.loads(call.user_data)) == (dispatch, {"DispatchId": f"{dispatch}.1"})
    row = scene.row(dispatch)
    assert (row.state, row.task_id, row.media_id, row.project_id, row.workflow) == ("started", "j1", "m1", "p1", None)


@pytest.mark.parametrize(
    ("status", "level", "error"), [("Success", "info", None), ("Failed", "warning", "BadClip: no such clip")]
)
def test_a_job_is_followed_to_its_end(scene: Scene, log: Log, status: str, level: str, error: str | None) -> None:
    dispatch = submitted(scene)
    said: dict[str, Any] = {"code": "BadClip", "message": "no such clip"} if error else {}
    for seen in ("Queuing", "Processing", status):
        scene.jobs.pages = [[editing_job("j1", dispatch=dispatch, status=seen, **said), editing_job("theirs")]]
        scene.sweeper().sweep_due()
        scene.clock.later(seconds=60)
    row = scene.row(dispatch)
    assert (row.task_status, row.task_error, row.task_finished_at) == (status, error, NOW)
    (line,) = lines(log, "task.finished")
    assert (line["log_level"], line.get("error")) == (level, error)
    assert lines(log, "foreign_start") == []
    assert scene.sweeper().sweep_due() == 0


def test_an_old_job_is_asked_for_by_itself(scene: Scene) -> None:
    dispatch = submitted(scene)
    scene.clock.later(hours=7)
    scene.jobs.single["j1"] = editing_job("j1", dispatch=dispatch, status="Success", vod_media_id="v1")
    scene.upkeep().ask_for_stragglers()
    assert (scene.row(dispatch).task_status, scene.row(dispatch).vod_media_id) == ("Success", "v1")


def test_a_long_time_is_swept_in_windows_of_thirty_days(scene: Scene) -> None:
    with_rule(scene, EDITING)
    (dispatch,) = scene.record(KEY)
    scene.target.expect(dispatch, LOST)
    worker = scene.worker()
    turn(worker)
    scene.clock.later(days=45)
    scene.jobs.pages = [[editing_job("j1", dispatch=dispatch)]]
    scene.sweeper().sweep_due()
    first, second = scene.jobs.windows
    assert (first.until - first.since, second.since) == (timedelta(days=30), first.until)
    assert first.since <= NOW - timedelta(minutes=30), "twenty minutes of doubt, and ten in which it was repeated"
    assert scene.row(dispatch).task_id == "j1"


def test_a_rule_whose_job_wrote_under_a_rule_is_held(scene: Scene, log: Log) -> None:
    dispatch = submitted(scene)
    url = "https://b.oss-cn-hangzhou.aliyuncs.com/in/again.mp4?Signature=x"
    done = editing_job("j1", dispatch=dispatch, status="Success", media_url=url)
    scene.jobs.pages, scene.jobs.single["j1"] = [[done]], done
    scene.upkeep().tick()
    (line,) = lines(log, "rule.held")
    assert (line["rule"], line["reason"]) == ("r", "LOOP")
    assert "oss://b/in/again.mp4" in line["detail"]
    assert "Signature" not in line["detail"]


def test_a_hint_leads_to_a_look_and_never_changes_a_row_by_itself(scene: Scene) -> None:
    dispatch = submitted(scene)
    upkeep = scene.upkeep()
    api = Api.SUBMIT_MEDIA_PRODUCING_JOB
    for hint in (
        TaskHint(api, "j1"),
        TaskHint(api, "j1"),
        TaskHint(api, "nobody's"),
        TaskHint(api, "j9", ("a" * 26, 1)),
    ):
        scene.hints(hint)
    scene.jobs.single["j1"] = editing_job("j1", dispatch=dispatch, status="Processing")
    upkeep.follow_hints()
    assert (scene.jobs.asked, scene.row(dispatch).task_status) == (["j1"], "Processing")
    scene.hints(TaskHint(api, "j1"))
    scene.jobs.single["j1"] = editing_job("j1", dispatch=dispatch, status="Success")
    upkeep.follow_hints()
    assert scene.row(dispatch).task_status == "Success"


def test_a_hint_settles_an_unanswered_call(scene: Scene) -> None:
    with_rule(scene, EDITING)
    (dispatch,) = scene.record(KEY)
    scene.target.expect(dispatch, LOST)
    turn(scene.worker())
    scene.hints(TaskHint(Api.SUBMIT_MEDIA_PRODUCING_JOB, "j1"))
    scene.jobs.single["j1"] = editing_job("j1", dispatch=dispatch, status="Success")
    scene.upkeep().follow_hints()
    row = scene.row(dispatch)
    assert (row.state, row.task_id, row.task_status) == ("started", "j1", "Success")


# -- editing jobs, lost answers, the service's own semantics ------------------------------------------


@pytest.fixture
def simulator(scene: Scene) -> Iterator[Simulator]:
    """A simulator on the scene's clock; the scene's rule submits editing jobs to it."""
    with Simulator(make_simulator_settings(), clock=scene.clock) as running:
        scene.settings = make_settings(EDITING, buckets={"b": make_bucket(ims=endpoint_of(running))})
        yield running


@pytest.fixture
def clients() -> Iterator[AlibabaClients]:
    made = AlibabaClients(CREDENTIALS, call_timeout=timedelta(seconds=10))
    yield made
    made.close()


def made_jobs(simulator: Simulator) -> int:
    """How many jobs there really are."""
    return sum(not call.repeat for call in simulator.accepted(SUBMIT))


def sweep(scene: Scene, clients: AlibabaClients, *, times: int = 1) -> None:
    permits = ReadPermits(scene.ledger, scene.settings.rates, scene.clock, scene.stop)
    sweeper = replace(scene.sweeper(), jobs=AlibabaJobs(clients, before_read=permits))
    for _ in range(times):
        sweeper.sweep_due()
        scene.clock.later(seconds=60)


def repeat_until(scene: Scene, worker: Worker, minutes: float) -> None:
    """Let the worker take its turns for so long."""
    end = scene.clock() + timedelta(minutes=minutes)
    while scene.clock() < end:
        turn(worker)
        scene.clock.later(seconds=15)


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.ERROR_AFTER, Fault.GARBLED, Fault.ERROR_BEFORE, Fault.DROP_BEFORE])
def test_lost_answers_inside_the_window_make_one_job(
    scene: Scene, simulator: Simulator, clients: AlibabaClients, fault: Fault
) -> None:
    simulator.set_faults(FaultPlan(script=(ScriptedFault(fault, SUBMIT, times=3),)))
    (dispatch,) = scene.record(KEY)
    repeat_until(scene, scene.worker(AlibabaTarget(clients)), minutes=5)
    row = scene.row(dispatch)
    assert (row.state, made_jobs(simulator)) == ("started", 1)
    assert row.task_id == simulator.accepted(SUBMIT)[0].answer["JobId"]
    texts = {attempt.request for attempt in scene.detail(dispatch).attempts}
    assert (len(scene.detail(dispatch).attempts), len(texts)) == (4, 1)


def test_after_the_window_the_sweep_settles_it(scene: Scene, simulator: Simulator, clients: AlibabaClients) -> None:
    simulator.set_faults(FaultPlan(rates=(FaultRate(Fault.DROP, 1, SUBMIT),)))
    (dispatch,) = scene.record(KEY)
    worker = scene.worker(AlibabaTarget(clients))
    repeat_until(scene, worker, minutes=11)
    sent = len(scene.detail(dispatch).attempts)
    repeat_until(scene, worker, minutes=30)
    assert (scene.row(dispatch).state, len(scene.detail(dispatch).attempts)) == ("uncertain", sent)
    sweep(scene, clients)
    row = scene.row(dispatch)
    assert (row.state, row.task_id) == ("started", simulator.accepted(SUBMIT)[0].answer["JobId"])
    assert made_jobs(simulator) == 1


def test_a_job_that_never_arrived_is_submitted_as_a_new_request(
    scene: Scene, simulator: Simulator, clients: AlibabaClients
) -> None:
    simulator.set_faults(FaultPlan(rates=(FaultRate(Fault.DROP_BEFORE, 1, SUBMIT),)))
    (dispatch,) = scene.record(KEY)
    worker = scene.worker(AlibabaTarget(clients))
    repeat_until(scene, worker, minutes=11)
    sweep(scene, clients, times=4)
    assert scene.row(dispatch).state == "pending"
    simulator.set_faults(FaultPlan())
    scene.clock.later(hours=1)
    turn(worker)
    (accepted,) = simulator.accepted(SUBMIT)
    number = len(scene.detail(dispatch).attempts)
    assert json.loads(accepted.parameters["UserData"]) == {"DispatchId": f"{dispatch}.{number}"}
    assert (scene.row(dispatch).state, accepted.client_token) == ("started", dispatch)


def test_the_token_keeps_a_second_job_away_where_the_list_is_late(scene: Scene, clients: AlibabaClients) -> None:
    late = make_simulator_settings(listing_delay=timedelta(hours=2), token_lifetime=timedelta(days=1))
    with Simulator(late, clock=scene.clock) as simulator:
        scene.settings = make_settings(EDITING, buckets={"b": make_bucket(ims=endpoint_of(simulator))})
        simulator.set_faults(FaultPlan(rates=(FaultRate(Fault.DROP, 1, SUBMIT),)))
        (dispatch,) = scene.record(KEY)
        worker = scene.worker(AlibabaTarget(clients))
        repeat_until(scene, worker, minutes=11)
        sweep(scene, clients, times=4)
        assert scene.row(dispatch).state == "pending", "the list was believed"
        simulator.set_faults(FaultPlan())
        scene.clock.later(minutes=10)
        turn(worker)
        row = scene.row(dispatch)
        assert row.state == "uncertain"
        assert row.last_error is not None
        assert "IdempotentParameterMismatch" in (row.last_error.message or "")
        scene.clock.later(hours=2)
        sweep(scene, clients)
        assert (scene.row(dispatch).state, made_jobs(simulator)) == ("started", 1)


def test_following_reads_within_its_own_share(scene: Scene, simulator: Simulator, clients: AlibabaClients) -> None:
    (dispatch,) = scene.record(KEY)
    turn(scene.worker(AlibabaTarget(clients)))
    asked: list[Api] = []
    jobs = AlibabaJobs(clients, before_read=lambda _endpoint, api: asked.append(api))
    replace(scene.sweeper(), jobs=jobs).sweep_due()
    assert scene.row(dispatch).task_status is not None
    jobs.get_job(endpoint_of(simulator), "j")
    assert asked == [Api.LIST_MEDIA_PRODUCING_JOBS, Api.GET_MEDIA_PRODUCING_JOB]


def test_a_live_look_asks_for_a_job_as_a_job(scene: Scene) -> None:
    dispatch = submitted(scene)
    scene.jobs.single["j1"] = editing_job("j1", dispatch=dispatch, status="Queuing")
    look = live._Look(scene.settings, scene.tasks, scene.jobs, scene.clock(), ("oss://b/in/a.mp4", "b", KEY))
    (row,) = look._with_task_statuses((scene.row(dispatch),))
    assert (row.task_status, look.notes) == ("Queuing", [])
