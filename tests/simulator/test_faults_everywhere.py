"""Faults, quotas and the journal hold for every API, each for itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_ice20201109 import models
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from darabonba.exceptions import UnretryableException

from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.journal import AcceptedCall, Delivery, DeliveryOutcome, JournalEntry, parse_line
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.wire import REMEMBERED, WireCall, WireLog
from tests.simulator.desk import NOW, admin, batch_request, refused, submission
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.simulator.journal import JournalLine
    from tests.simulator.desk import Clock, Connect, Sdks

TOKEN = "0123456789abcdef0123456789abcdef"


def submit(service: Sdks) -> Any:
    return service.ice.submit_media_producing_job(submission(client_token="t")).body.job_id


def register(service: Sdks) -> Any:
    request = models.RegisterMediaInfoRequest(input_url="oss://media/a.mp4", client_token=TOKEN)
    return service.ice.register_media_info(request).body.media_id


def create(service: Sdks) -> Any:
    return service.imm.create_batch(batch_request(tags={"k": "v"})).body.id


CALLS = [("SubmitMediaProducingJob", submit), ("RegisterMediaInfo", register), ("CreateBatch", create)]


def meet(service: Sdks, api: str, fault: Fault, call: Callable[[Sdks], Any]) -> str:
    """Make the call while this fault waits for it; return the code of the refusal, or what else it met."""
    service.simulator.set_faults(FaultPlan(script=(ScriptedFault(fault, api),)))
    try:
        return f"answer {call(service)}"
    except UnretryableException:
        return "silence"
    except AlibabaCloudException as error:
        return str(error.code)


@pytest.mark.parametrize(("api", "call"), CALLS)
@pytest.mark.parametrize(
    ("fault", "met", "accepted"),
    [
        (Fault.ERROR_BEFORE, "InternalError", 0),
        (Fault.ERROR_AFTER, "InternalError", 1),
        (Fault.THROTTLE, "Throttling.User", 0),
        (Fault.DROP_BEFORE, "silence", 0),
        (Fault.DROP, "silence", 1),
        (Fault.GARBLED, "silence", 1),
        (Fault.NO_TASK_ID, "answer None", 1),
        (Fault.FORBIDDEN, "Forbidden.RAM", 0),
    ],
)
def test_a_fault_strikes_the_api_it_is_meant_for(
    service: Sdks, api: str, call: Callable[[Sdks], Any], fault: Fault, met: str, accepted: int
) -> None:
    assert meet(service, api, fault, call) == met
    assert [each.fault for each in service.simulator.accepted(api)] == [fault] * accepted
    assert [each.fault for each in service.simulator.wire(api)] == [fault]


@pytest.mark.parametrize(("api", "call"), CALLS[:2])
def test_a_lost_answer_is_asked_for_again_by_its_token(service: Sdks, api: str, call: Callable[[Sdks], Any]) -> None:
    assert meet(service, api, Fault.DROP, call) == "silence"
    (lost,) = service.simulator.accepted(api)
    assert call(service) in lost.answer.values()
    assert [each.repeat for each in service.simulator.accepted(api)] == [False, True]


def test_a_fault_of_one_api_lets_the_others_pass(service: Sdks) -> None:
    service.simulator.set_faults(FaultPlan(denied={"CreateBatch": "NoPermission"}))
    with refused(403, "NoPermission", "imm:CreateBatch"):
        create(service)
    assert submit(service)
    assert register(service)


def test_each_api_has_its_own_quota(clock: Clock, connect: Connect) -> None:
    with Simulator(make_settings(quotas={"RegisterMediaInfo": 1}, read_qps=2), clock=clock) as running:
        service = connect(running)
        for _ in range(30):
            submit(service)
        with refused(400, "Throttling.User"):
            submit(service)
        register(service)
        with refused(400, "Throttling.User"):
            register(service)
        for _ in range(2):
            service.ice.list_media_producing_jobs(models.ListMediaProducingJobsRequest())
        with refused(400, "Throttling.User"):
            service.ice.list_media_producing_jobs(models.ListMediaProducingJobsRequest())
        create(service)
        clock.now += timedelta(seconds=1)
        submit(service)
        assert len(running.accepted("SubmitMediaProducingJob")) == 31
    with Simulator(make_settings(quotas={"SubmitMediaProducingJob": None}), clock=clock) as running:
        service = connect(running)
        for _ in range(31):
            submit(service)


@pytest.mark.parametrize(
    "line",
    [
        JournalEntry(NOW, "t", "w", "{}", "", "r", fault=Fault.DROP),
        AcceptedCall(NOW, "CreateBatch", "r", {}, {"Input": "é \u2028"}, {"Id": "b"}, fault=Fault.EMPTY),
        AcceptedCall(NOW, "SubmitMediaProducingJob", "r", {"ClientToken": "t"}, {}, {"JobId": "j"}, repeat=True),
        Delivery(NOW, "WorkflowTaskComplete", "t", "http://127.0.0.1/", DeliveryOutcome.DROPPED, ("500", "timeout")),
    ],
)
def test_a_journal_line_is_read_as_it_was_written(line: JournalLine) -> None:
    assert parse_line(json.dumps(line.to_json())) == line


@pytest.mark.parametrize("text", ["[]", "{}", '{"api": "CreateBatch"}', '{"delivery": "x", "tries": "500"}', "1"])
def test_another_line_is_none(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_line(text)


def test_the_admin_path_shows_calls_requests_and_state(service: Sdks) -> None:
    job_id, media_id, batch_id = submit(service), register(service), create(service)
    with refused(409, "MediaAlreadyExist"):
        service.ice.register_media_info(models.RegisterMediaInfoRequest(input_url="oss://media/a.mp4"))

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in admin(service.simulator, "GET", name)[1].splitlines()]

    def state(name: str) -> Any:
        return json.loads(admin(service.simulator, "GET", name)[1])

    assert [each["api"] for each in lines("calls")] == [api for api, _ in CALLS]
    (call,) = lines("calls?api=SubmitMediaProducingJob")
    assert (call["client_token"], call["repeat"], call["answer"]["JobId"]) == ("t", False, job_id)
    assert call["form"] == {"Timeline": '{"VideoTracks": []}'}
    assert [each["code"] for each in lines("wire?api=RegisterMediaInfo")] == ["", "MediaAlreadyExist"]
    assert lines("journal") == lines("deliveries") == []
    assert [(each["job_id"], each["status"]) for each in state("jobs")] == [(job_id, "Init")]
    assert [(each["media_id"], each["input_url"]) for each in state("media")] == [(media_id, "oss://media/a.mp4")]
    assert [(each["id"], each["state"], each["tags"]) for each in state("batches")] == [(batch_id, "Ready", {"k": "v"})]
    assert state("health") == {"ok": True, "requests": 4, "accepted": 0}


def test_the_wire_is_remembered_within_bounds() -> None:
    log = WireLog()
    for number in range(REMEMBERED + 2):
        log.add(WireCall(NOW, "A" if number % 2 else "B", "v", {"n": str(number)}, {}))
    assert len(log.calls()) == REMEMBERED
    assert log.calls()[0].parameters == {"n": "2"}
    assert len(log.calls("A")) == REMEMBERED / 2
