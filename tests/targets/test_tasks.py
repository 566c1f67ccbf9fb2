"""What the service's task list proves, and when it proves nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Api, Endpoint, TaskQuery
from dispatcher.core.settings import Credentials, Secret
from dispatcher.errors import CredentialsError, DispatcherError, ServiceUnavailableError
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.targets.reading import TRIES
from dispatcher.targets.tasks import AlibabaTasks
from tests.simulator_fixtures import endpoint_of, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.targets.alibaba import AlibabaClients

LIST = str(Api.LIST_WORKFLOW_TASKS)
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def query(simulator: Simulator, workflow_id: str = "w1", around: datetime = NOW) -> TaskQuery:
    hour = timedelta(hours=1)
    return TaskQuery(endpoint_of(simulator), workflow_id, around - hour, around + hour)


def started(simulator: Simulator, count: int, workflow_id: str = "w1") -> list[str]:
    return [simulator.trigger(workflow_id, f"oss://media/in/{n}.mp4") for n in range(count)]


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def tasks(clients: AlibabaClients, pauses: list[float]) -> AlibabaTasks:
    return AlibabaTasks(clients, pause=pauses.append)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_all_pages_are_read_and_other_workflows_left_out(tasks: AlibabaTasks, count: int) -> None:
    with Simulator(make_settings(), clock=Clock()) as simulator:
        ids = started(simulator, count)
        started(simulator, 2, workflow_id="other")
        listed = [task.task_id for task in tasks.list_tasks(query(simulator))]
    assert sorted(listed) == sorted(ids)


def test_tasks_accepted_while_the_pages_are_read_hide_none(tasks: AlibabaTasks) -> None:
    with Simulator(make_settings(), clock=Clock()) as simulator:
        ids = set(started(simulator, 150))
        listing = tasks.list_tasks(query(simulator))
        listed = {next(listing).task_id}
        started(simulator, 30)
        listed |= {task.task_id for task in listing}
    assert ids <= listed


def test_a_listed_task_is_told_whole(tasks: AlibabaTasks) -> None:
    with Simulator(make_settings(), clock=Clock()) as simulator:
        task_id = simulator.trigger("w1", "oss://media/in/é +.mp4")
        (listed,) = tasks.list_tasks(query(simulator))
        got = tasks.get_task(endpoint_of(simulator), task_id)

    whole_second = NOW.replace(microsecond=0)
    assert (listed.task_id, listed.workflow_id, listed.status) == (task_id, "w1", "Succeed")
    assert (listed.created_at, listed.finished_at) == (whole_second, whole_second)
    assert json.loads(listed.task_input) == {"Type": "OSS", "Media": "oss://media/in/é +.mp4"}
    assert (listed.user_data, listed.activity_results) == ("", None)
    assert got is not None
    assert f"oss://media/outputs/{task_id}/é +.m3u8" in (got.activity_results or "")


def test_the_ends_of_the_window_are_included(tasks: AlibabaTasks) -> None:
    with Simulator(make_settings(), clock=Clock()) as simulator:
        (task_id,) = started(simulator, 1)
        moment = TaskQuery(endpoint_of(simulator), "w1", NOW, NOW)
        assert [task.task_id for task in tasks.list_tasks(moment)] == [task_id]


def test_a_task_is_listed_after_the_delay_and_known_at_once(tasks: AlibabaTasks) -> None:
    clock = Clock()
    settings = make_settings(listing_delay=timedelta(seconds=30), task_duration=timedelta(minutes=5))
    with Simulator(settings, clock=clock) as simulator:
        (task_id,) = started(simulator, 1)
        assert list(tasks.list_tasks(query(simulator))) == []
        got = tasks.get_task(endpoint_of(simulator), task_id)
        assert got is not None
        assert got.status == "Processing"

        clock.now += timedelta(seconds=30)
        assert [task.status for task in tasks.list_tasks(query(simulator))] == ["Processing"]


def test_an_unknown_task_is_none(tasks: AlibabaTasks, simulator: Simulator) -> None:
    assert tasks.get_task(endpoint_of(simulator), "0" * 32) is None


def test_an_unknown_key_is_not_an_unknown_task(
    make_clients: Callable[..., AlibabaClients], simulator: Simulator
) -> None:
    """Both answers are 404 with a code that ends in NotFound."""
    tasks = AlibabaTasks(make_clients(Credentials("nobody", Secret("x"))))
    with pytest.raises(CredentialsError, match="InvalidAccessKeyId"):
        tasks.get_task(endpoint_of(simulator), "0" * 32)


@pytest.mark.parametrize(
    "fault", [Fault.THROTTLE, Fault.THROTTLE_RETRY_AFTER, Fault.ERROR_BEFORE, Fault.UNAVAILABLE, Fault.DROP_BEFORE]
)
def test_a_page_that_fails_twice_is_read_again(tasks: AlibabaTasks, pauses: list[float], fault: Fault) -> None:
    with Simulator(make_settings(), clock=Clock()) as simulator:
        ids = started(simulator, 120)
        simulator.set_faults(FaultPlan(script=(ScriptedFault(None, LIST), ScriptedFault(fault, LIST, times=TRIES - 1))))
        assert len({task.task_id for task in tasks.list_tasks(query(simulator))}) == len(ids)
        assert simulator.requests == 2 + TRIES - 1
    assert len(pauses) == TRIES - 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.ERROR_BEFORE, ServiceUnavailableError),
        (Fault.GARBLED_BEFORE, ServiceUnavailableError),
        (Fault.GARBLED, ServiceUnavailableError),
        (Fault.EMPTY, ServiceUnavailableError),
        (Fault.THROTTLE, ServiceUnavailableError),
        (Fault.NO_PERMISSION, CredentialsError),
        (Fault.ARREARS, CredentialsError),
    ],
)
def test_a_page_that_goes_on_failing_ends_the_listing(
    tasks: AlibabaTasks, fault: Fault, error: type[DispatcherError]
) -> None:
    with Simulator(make_settings(), clock=Clock()) as simulator:
        started(simulator, 120)
        simulator.set_faults(FaultPlan(script=(ScriptedFault(None, LIST), ScriptedFault(fault, LIST, times=TRIES))))
        listing = tasks.list_tasks(query(simulator))
        seen = [next(listing) for _ in range(100)]
        with pytest.raises(error) as caught:
            next(listing)
    assert len(seen) == 100
    assert "ListWorkflowTasks at http://127.0.0.1" in caught.value.message
    assert caught.value.hint


def test_a_missing_permission_is_named_and_not_tried_again(
    tasks: AlibabaTasks, simulator: Simulator, pauses: list[float]
) -> None:
    simulator.set_faults(FaultPlan(denied={LIST: "NoPermission"}))
    with pytest.raises(CredentialsError) as caught:
        list(tasks.list_tasks(query(simulator)))
    assert "ice:ListWorkflowTasks" in caught.value.hint
    assert (simulator.requests, pauses) == (1, [])


def test_a_window_that_is_too_old_is_no_proof_of_absence(tasks: AlibabaTasks, simulator: Simulator) -> None:
    with pytest.raises(ServiceUnavailableError, match="InvalidParameter"):
        list(tasks.list_tasks(query(simulator, around=datetime.now(UTC) - timedelta(days=91))))


def test_an_unreachable_service_is_no_empty_listing(tasks: AlibabaTasks) -> None:
    unreachable = TaskQuery(Endpoint("cn-hangzhou", "http://127.0.0.1:1"), "w1", NOW, NOW)
    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        list(tasks.list_tasks(unreachable))


def test_the_callers_quota_is_asked_before_every_request(clients: AlibabaClients) -> None:
    asked: list[tuple[Endpoint, Api]] = []
    tasks = AlibabaTasks(clients, before_read=lambda endpoint, api: asked.append((endpoint, api)))
    with Simulator(make_settings(), clock=Clock()) as simulator:
        started(simulator, 150)
        listing = tasks.list_tasks(query(simulator))
        next(listing)
        assert len(asked) == 1
        list(listing)
        assert asked == [(endpoint_of(simulator), Api.LIST_WORKFLOW_TASKS)] * 2


@pytest.mark.parametrize("body", [{}, {"TaskList": []}, [], None, "text"])
def test_json_that_is_not_the_services_is_no_empty_listing(
    tasks: AlibabaTasks,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    body: object,
    make_clients: Callable[..., AlibabaClients],
) -> None:
    client = make_clients().client(endpoint_of(simulator))
    monkeypatch.setattr(type(client), "call_api", lambda *_: {"headers": {}, "statusCode": 200, "body": body})
    with pytest.raises(ServiceUnavailableError, match="ListWorkflowTasks"):
        list(tasks.list_tasks(query(simulator)))


def test_a_circle_of_pages_ends(
    tasks: AlibabaTasks, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, clients: AlibabaClients
) -> None:
    page = {"RequestId": "r", "NextToken": "again", "TaskList": [{"TaskId": "t"}]}
    client = clients.client(endpoint_of(simulator))
    monkeypatch.setattr(type(client), "call_api", lambda *_: {"headers": {}, "statusCode": 200, "body": page})
    with pytest.raises(ServiceUnavailableError, match="circle"):
        list(tasks.list_tasks(query(simulator)))
