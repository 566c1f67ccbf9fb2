"""The sweep: what a listing of tasks proves, and when it proves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.outcomes import Started, Uncertain
from dispatcher.core.rules import OnUncertain, WorkflowAction
from dispatcher.core.settings import UncertainSettings
from dispatcher.errors import CredentialsError, ServiceUnavailableError
from dispatcher.ledger import following, operating
from dispatcher.ledger.browse import Selector
from dispatcher.service.permits import ReadPermits
from dispatcher.service.sweeping import CLOCK_SLACK, FOLLOW_FOR
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.target import AlibabaTarget
from dispatcher.targets.tasks import AlibabaTasks
from tests.service.conftest import lines
from tests.service.fakes import NOW, make_bucket, make_rule, make_settings, service_task
from tests.service.test_worker import turn
from tests.simulator_fixtures import CREDENTIALS, endpoint_of
from tests.simulator_fixtures import make_settings as make_simulator_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.core.outcomes import Outcome
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"
AWAY = ServiceUnavailableError("ListWorkflowTasks failed", hint="wait")
DENIED = CredentialsError("ListWorkflowTasks is not allowed", hint="allow ice:ListWorkflowTasks")


def sent(scene: Scene, *keys: str, outcome: Outcome) -> list[str]:
    """Record these objects and call once for each; return their ids."""
    ids = scene.record(*keys)
    for key in keys:
        scene.target.expect(key, outcome)
    worker = scene.worker()
    while any(scene.row(each).state == "pending" for each in ids):
        turn(worker)
    return ids


def uncertain(scene: Scene, *keys: str) -> list[str]:
    """Rows whose call had no answer, due to be looked for now."""
    ids = sent(scene, *(keys or (KEY,)), outcome=Uncertain("time-out"))
    scene.clock.later(seconds=71)  # the call's time-out, and `after`
    return ids


def sweep(scene: Scene, *, times: int = 1) -> int:
    """Sweep, each time a minute later; return how many were complete."""
    complete = 0
    for _ in range(times):
        complete += scene.sweeper().sweep_due()
        scene.clock.later(seconds=60)
    return complete


# -- found -------------------------------------------------------------------------------------------


def test_a_call_that_arrived_is_found_and_not_made_again(scene: Scene, log: Log) -> None:
    (dispatch,) = uncertain(scene)
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=dispatch)]]
    assert sweep(scene) == 1
    row = scene.row(dispatch)
    assert (row.state, row.task_id, row.task_status, row.started_at) == ("started", "t1", "Processing", NOW)
    assert lines(log, "dispatch.started")[-1]["outcome"] == "found"
    scene.clock.later(days=1)
    turn(scene.worker())
    assert len(scene.target.calls) == 1


def test_the_window_reaches_twenty_minutes_around_the_intent_and_now(scene: Scene) -> None:
    uncertain(scene)
    scene.tasks.pages["wf"] = [[]]
    now = scene.clock()
    sweep(scene)
    (query,) = scene.tasks.queries
    assert (query.since, query.until) == (NOW - CLOCK_SLACK, now + CLOCK_SLACK)
    assert timedelta(minutes=20) == CLOCK_SLACK


def test_what_a_task_says_counts_also_where_another_workflow_runs_it_now(scene: Scene) -> None:
    """The rule's workflow was changed: the old one is swept for what was called under it."""
    (dispatch,) = uncertain(scene)
    scene.settings = make_settings(make_rule(action=WorkflowAction("new")))
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=dispatch)]]
    sweep(scene)
    assert scene.row(dispatch).state == "started"


# -- absent ------------------------------------------------------------------------------------------


def test_absence_takes_so_many_complete_sweeps_so_far_apart(scene: Scene, log: Log) -> None:
    (dispatch,) = uncertain(scene)
    scene.tasks.pages["wf"] = [[service_task("t9")]]
    for _ in range(2):
        assert sweep(scene) == 1
        assert scene.row(dispatch).state == "uncertain"
    scene.clock.later(seconds=-31)
    assert scene.sweeper().sweep_due() == 0, "the last one was not long enough ago"
    scene.clock.later(seconds=31)
    assert scene.sweeper().sweep_due() == 1
    row = scene.row(dispatch)
    assert (row.state, row.reason, row.next_at) == ("pending", "BACKOFF", scene.clock() + timedelta(seconds=2.5))
    scene.clock.later(seconds=2.5)
    (line,) = lines(log, "dispatch.absent")
    assert (line["dispatch"], line["state"]) == (dispatch, "pending")
    scene.target.expect(KEY, Started("t2"))
    turn(scene.worker())
    assert (scene.row(dispatch).state, len(scene.target.calls)) == ("started", 2)


def test_one_sweep_is_enough_if_the_configuration_says_so(scene: Scene) -> None:
    once = UncertainSettings(timedelta(seconds=60), timedelta(seconds=60), 1)
    scene.settings = replace(scene.settings, uncertain=once)
    (dispatch,) = uncertain(scene)
    scene.tasks.pages["wf"] = [[]]
    sweep(scene)
    assert scene.row(dispatch).state == "pending"


def test_a_call_that_may_still_be_on_its_way_is_not_judged(scene: Scene) -> None:
    """A sender that died leaves rows that are due for a look at once."""
    scene.settings = replace(scene.settings, uncertain=UncertainSettings(timedelta(seconds=60), timedelta(), 1))
    (dispatch,) = sent(scene, KEY, outcome=Uncertain("time-out"))
    with scene.ledger.write() as tx:
        operating.probe(tx, Selector(ids=(dispatch,)), scene.clock())
    scene.tasks.pages["wf"] = [[]]
    scene.clock.later(seconds=69)
    assert scene.sweeper().sweep_due() == 1
    assert scene.row(dispatch).state == "uncertain"
    scene.clock.later(seconds=1)
    assert scene.sweeper().sweep_due() == 1
    assert scene.row(dispatch).state == "pending"


@pytest.mark.parametrize("error", [AWAY, DENIED])
def test_a_sweep_that_fails_proves_no_absence(scene: Scene, log: Log, error: ServiceUnavailableError) -> None:
    (dispatch,) = uncertain(scene)
    scene.tasks.pages["wf"] = [[service_task("t9")], error]
    assert sweep(scene, times=10) == 0
    assert scene.row(dispatch).state == "uncertain"
    assert len(scene.tasks.queries) == 10
    scene.clock.later(seconds=-1)
    assert sweep(scene) == 0
    assert len(scene.tasks.queries) == 10, "one that failed is not repeated at once"
    told = lines(log, "sweep.failed")
    assert (told[0]["workflow"], told[0]["hint"], told[0]["uncertain"]) == ("wf", error.hint, 1)
    scene.clock.later(days=30)
    turn(scene.worker())
    assert len(scene.target.calls) == 1


def test_what_a_failed_sweep_showed_counts(scene: Scene) -> None:
    first, second = uncertain(scene, "in/1.mp4", "in/2.mp4")
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=first, key="in/1.mp4")], AWAY]
    assert sweep(scene, times=5) == 0
    assert (scene.row(first).state, scene.row(second).state) == ("started", "uncertain")


def test_failed_sweeps_between_do_not_help_to_the_number(scene: Scene) -> None:
    (dispatch,) = uncertain(scene)
    for fails in (False, True, True, False, True):
        scene.tasks.pages["wf"] = [AWAY] if fails else [[]]
        sweep(scene)
    assert scene.row(dispatch).state == "uncertain"
    scene.tasks.pages["wf"] = [[]]
    sweep(scene)
    assert scene.row(dispatch).state == "pending"


def test_a_stop_in_the_middle_of_a_sweep_proves_nothing(scene: Scene) -> None:
    uncertain(scene)
    scene.tasks.pages["wf"] = [[service_task(f"t{number}") for number in range(100)], [service_task("t100")]]
    sweeper = scene.sweeper()
    taken = sweeper._take

    def stopping(page: object) -> set[str]:
        scene.stop.set()
        return taken(page)  # type: ignore[arg-type]  # what the sweeper gives

    object.__setattr__(sweeper, "_take", stopping)
    assert sweeper.sweep_due() == 0


def test_hold_leaves_it_to_the_operator(scene: Scene) -> None:
    scene.settings = make_settings(make_rule(on_uncertain=OnUncertain.HOLD))
    (dispatch,) = uncertain(scene)
    scene.tasks.pages["wf"] = [[]]
    sweep(scene, times=3)
    assert (scene.row(dispatch).state, scene.row(dispatch).reason) == ("uncertain", "HELD")
    scene.clock.later(days=1)
    turn(scene.worker())
    assert len(scene.target.calls) == 1
    with scene.ledger.write() as tx:
        assert operating.retry(tx, Selector(ids=(dispatch,)), scene.clock()) == 1
    scene.target.expect(KEY, Started("t2"))
    turn(scene.worker())
    assert scene.row(dispatch).state == "started"


def test_absence_of_a_superseded_call_starts_nothing(scene: Scene) -> None:
    (dispatch,) = uncertain(scene)
    (newer,) = scene.record(KEY, etag="e2")
    scene.tasks.pages["wf"] = [[]]
    sweep(scene, times=3)
    assert (scene.row(dispatch).state, scene.row(dispatch).reason) == ("skipped", "SUPERSEDED")
    assert scene.row(newer).state == "pending"


def test_a_call_that_never_starts_is_buried_after_a_day(scene: Scene) -> None:
    (dispatch,) = uncertain(scene)
    scene.tasks.pages["wf"] = [[]]
    for _ in range(300):
        if scene.row(dispatch).state == "pending":
            scene.target.expect(KEY, Uncertain("time-out"))
            turn(scene.worker())
        scene.clock.later(minutes=10)
        scene.sweeper().sweep_due()
        if scene.row(dispatch).state == "dead":
            break
    row = scene.row(dispatch)
    assert (row.state, row.reason) == ("dead", "ATTEMPTS")
    assert scene.clock() - NOW >= timedelta(hours=23)
    assert len(scene.target.calls) > 10


# -- following ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("final", "level"), [("Succeed", "info"), ("Failed", "warning"), ("Canceled", "warning")])
def test_a_started_task_is_followed_to_its_final_status(scene: Scene, log: Log, final: str, level: str) -> None:
    (dispatch,) = sent(scene, KEY, outcome=Started("t1"))
    for status in ("Init", "Processing", final):
        scene.tasks.pages["wf"] = [[service_task("t1", dispatch=dispatch, status=status)]]
        sweep(scene)
        assert scene.row(dispatch).task_status == status
    assert scene.row(dispatch).task_finished_at == NOW
    (line,) = lines(log, "task.finished")
    assert (line["log_level"], line["status"]) == (level, final)
    assert sweep(scene) == 0, "nothing is left to follow"


def test_sweeps_stop_following_old_tasks(scene: Scene) -> None:
    sent(scene, KEY, outcome=Started("t1"))
    scene.clock.later(seconds=FOLLOW_FOR.total_seconds() + 1)
    assert sweep(scene) == 0
    assert scene.tasks.queries == []


# -- what is not ours --------------------------------------------------------------------------------


def test_a_start_by_somebody_else_is_told_once(scene: Scene, log: Log) -> None:
    (dispatch,) = sent(scene, KEY, outcome=Started("t1"))
    foreign = "a" * 26
    scene.tasks.pages["wf"] = [
        [
            service_task("t1", dispatch=dispatch),
            service_task("trigger", key=KEY),
            service_task("other-ledger", dispatch=foreign, key="in/b.mp4"),
            service_task("elsewhere", key="private/b.mp4"),
            service_task("nonsense", key="in/c.mp4", user_data="[[["),
        ]
    ]
    sweep(scene, times=3)
    told = {line["task_id"]: line for line in lines(log, "foreign_start")}
    assert set(told) == {"trigger", "other-ledger", "nonsense"}
    assert len(lines(log, "foreign_start")) == 3
    assert (told["trigger"]["rule"], told["trigger"]["key"]) == ("r", KEY)
    assert "Trigger mode to Manual" in told["trigger"]["hint"]
    with scene.ledger.read() as tx:
        tokens = {start.task_id: start.token for start in following.foreign(tx)}
    assert tokens == {"trigger": None, "other-ledger": f"{foreign}.1", "nonsense": None}


def test_a_second_task_with_our_id_is_a_double_start(scene: Scene, log: Log) -> None:
    (dispatch,) = sent(scene, KEY, outcome=Started("t1"))
    scene.tasks.pages["wf"] = [
        [service_task("t1", dispatch=dispatch), service_task("t2", dispatch=dispatch, attempt=2)]
    ]
    sweep(scene, times=2)
    (line,) = lines(log, "dispatch.double_start")
    assert (line["dispatch"], line["task_id"], line["log_level"]) == (dispatch, "t2", "error")
    assert (scene.row(dispatch).task_id, scene.detail(dispatch).double_starts) == ("t1", ("t2",))
    assert lines(log, "foreign_start") == []


# -- the real service's protocol ----------------------------------------------------------------------


@pytest.fixture
def simulator(scene: Scene) -> Iterator[Simulator]:
    """A simulator on the scene's clock; the scene's rule calls it."""
    with Simulator(make_simulator_settings(), clock=scene.clock) as running:
        scene.settings = make_settings(buckets={"b": make_bucket(ims=endpoint_of(running))})
        yield running


@pytest.fixture
def clients() -> Iterator[AlibabaClients]:
    made = AlibabaClients(CREDENTIALS, call_timeout=timedelta(seconds=10))
    yield made
    made.close()


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.DROP, Fault.GARBLED, Fault.NO_TASK_ID])
def test_a_lost_answer_is_found_through_the_sdk_without_a_second_call(
    scene: Scene, simulator: Simulator, clients: AlibabaClients, fault: Fault
) -> None:
    simulator.set_faults(FaultPlan(script=(ScriptedFault(fault),)))
    (dispatch,) = scene.record(KEY)
    turn(scene.worker(AlibabaTarget(clients)))
    assert scene.row(dispatch).state == "uncertain"
    scene.clock.later(seconds=71)
    permits = ReadPermits(scene.ledger, scene.settings.rates, scene.clock, scene.stop)
    sweeper = replace(scene.sweeper(), tasks=AlibabaTasks(clients, before_read=permits))
    assert sweeper.sweep_due() == 1
    (journalled,) = simulator.calls()
    row = scene.row(dispatch)
    assert (row.state, row.task_id, row.task_status) == ("started", journalled.task_id, "Succeed")


def test_without_permission_to_list_a_row_stays_uncertain(
    scene: Scene, simulator: Simulator, clients: AlibabaClients, log: Log
) -> None:
    simulator.set_faults(
        FaultPlan(script=(ScriptedFault(Fault.ERROR_BEFORE),), denied={"ListWorkflowTasks": "NoPermission"})
    )
    (dispatch,) = scene.record(KEY)
    turn(scene.worker(AlibabaTarget(clients)))
    sweeper = replace(scene.sweeper(), tasks=AlibabaTasks(clients))
    for _ in range(5):
        scene.clock.later(seconds=71)
        assert sweeper.sweep_due() == 0
    assert scene.row(dispatch).state == "uncertain"
    assert "ice:ListWorkflowTasks" in lines(log, "sweep.failed")[0]["hint"]
    simulator.set_faults(FaultPlan())
    for _ in range(3):
        scene.clock.later(seconds=71)
        assert sweeper.sweep_due() == 1
    assert scene.row(dispatch).state == "pending"
