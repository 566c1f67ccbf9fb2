"""SubmitMediaProducingJob and RegisterMediaInfo through the official SDK: what travels, and how each call ends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Api, EditingCall, RegisterCall
from dispatcher.core.outcomes import Assets, Registered, Rejected, Started, Throttled, Unauthorized, Uncertain
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.targets.target import AlibabaTarget
from tests.simulator_fixtures import endpoint_of, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.outcomes import Outcome
    from dispatcher.targets.alibaba import AlibabaClients

SUBMIT, REGISTER = Api.SUBMIT_MEDIA_PRODUCING_JOB.value, Api.REGISTER_MEDIA_INFO.value
OUTPUT = json.dumps({"MediaURL": "https://out.oss-cn-hangzhou.aliyuncs.com/é b+c.mp4"}, ensure_ascii=False)
TIMELINE = json.dumps({"VideoTracks": [{"VideoTrackClips": [{"MediaURL": "oss://media/é.mp4"}]}]}, ensure_ascii=False)


def editing_call(simulator: Simulator, **changes: str) -> EditingCall:
    call = EditingCall(endpoint_of(simulator), "a" * 26, OUTPUT, '{"DispatchId":"x.1"}', timeline=TIMELINE)
    return replace(call, **changes)  # type: ignore[arg-type]  # a table of texts


def register_call(simulator: Simulator, **changes: str) -> RegisterCall:
    call = RegisterCall(endpoint_of(simulator), "oss://media/in/é b+c%41.mp4", "0" * 32, '{"DispatchId":"x"}')
    return replace(call, **changes)  # type: ignore[arg-type]  # a table of texts


def no_pause(_seconds: float) -> None:
    """Read again at once."""


def target_of(clients: AlibabaClients) -> AlibabaTarget:
    return AlibabaTarget(clients, pause=no_pause)


def fail(simulator: Simulator, *faults: tuple[str, Fault]) -> None:
    simulator.set_faults(FaultPlan(script=tuple(ScriptedFault(fault, action) for action, fault in faults)))


# -- editing jobs -------------------------------------------------------------------------------------


def test_every_field_of_a_job_travels_as_it_is_and_what_it_makes_is_told(
    simulator: Simulator, clients: AlibabaClients
) -> None:
    call = editing_call(
        simulator,
        output_media_target="oss-object",
        editing_produce_config='{"CoverConfig":{"StartTime":1.5}}',
        media_metadata='{"Title":"é"}',
        project_metadata='{"Title":"p"}',
        source="OpenAPI",
    )

    outcome = target_of(clients).start(call)

    (accepted,) = simulator.accepted(SUBMIT)
    answer = accepted.answer
    assert outcome == Started(
        answer["JobId"], accepted.request_id, Assets(answer["MediaId"], None, answer["ProjectId"])
    )
    assert accepted.form == {"Timeline": TIMELINE}, "a time line is too long for a query"
    assert accepted.query == {
        "ClientToken": call.client_token,
        "OutputMediaConfig": OUTPUT,
        "OutputMediaTarget": "oss-object",
        "UserData": call.user_data,
        "EditingProduceConfig": call.editing_produce_config,
        "MediaMetadata": call.media_metadata,
        "ProjectMetadata": call.project_metadata,
        "Source": "OpenAPI",
    }


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"template_id": "t1", "clips_param": '{"a":"b"}'}, {"TemplateId": "t1", "ClipsParam": '{"a":"b"}'}),
        ({"project_id": "p1"}, {"ProjectId": "p1"}),
    ],
)
def test_a_template_or_a_project_takes_the_place_of_the_time_line(
    simulator: Simulator, clients: AlibabaClients, changes: dict[str, str], sent: dict[str, str]
) -> None:
    call = editing_call(simulator, timeline="", **changes)
    assert isinstance(target_of(clients).start(call), Started)
    (accepted,) = simulator.accepted(SUBMIT)
    assert accepted.parameters == sent | {
        "ClientToken": call.client_token,
        "OutputMediaConfig": OUTPUT,
        "UserData": call.user_data,
    }


def test_the_ids_of_vod_are_told(simulator: Simulator, clients: AlibabaClients) -> None:
    output = '{"StorageLocation":"outin-1.oss-cn-hangzhou.aliyuncs.com","FileName":"a.mp4"}'
    outcome = target_of(clients).start(
        editing_call(simulator, output_media_target="vod-media", output_media_config=output)
    )
    assert isinstance(outcome, Started)
    assert outcome.assets.vod_media_id == simulator.accepted(SUBMIT)[0].answer["VodMediaId"]


def test_the_same_request_again_is_told_the_same_job(simulator: Simulator, clients: AlibabaClients) -> None:
    target = target_of(clients)
    first = target.start(editing_call(simulator))
    second = target.start(editing_call(simulator))
    assert isinstance(first, Started)
    assert isinstance(second, Started)
    assert (first.task_id, first.assets) == (second.task_id, second.assets)
    assert [each.repeat for each in simulator.accepted(SUBMIT)] == [False, True]


def test_another_request_under_the_token_says_that_the_first_was_taken(
    simulator: Simulator, clients: AlibabaClients
) -> None:
    target = target_of(clients)
    target.start(editing_call(simulator))
    outcome = target.start(editing_call(simulator, user_data='{"DispatchId":"x.2"}'))
    assert isinstance(outcome, Uncertain)
    assert (outcome.reason, outcome.accepted) == ("IdempotentParameterMismatch", True)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.ERROR_AFTER, Uncertain),
        (Fault.DROP, Uncertain),
        (Fault.HANG, Uncertain),
        (Fault.GARBLED, Uncertain),
        (Fault.EMPTY, Uncertain),
        (Fault.NO_TASK_ID, Uncertain),
        (Fault.THROTTLE, Throttled),
        (Fault.FORBIDDEN, Unauthorized),
    ],
)
def test_how_a_job_ends_without_an_answer(
    simulator: Simulator, make_clients: Callable[..., AlibabaClients], fault: Fault, kind: type[Outcome]
) -> None:
    fail(simulator, (SUBMIT, fault))
    outcome = target_of(make_clients(timeout=1.0)).start(editing_call(simulator))
    assert isinstance(outcome, kind)
    assert simulator.requests == 1
    if isinstance(outcome, Uncertain):
        assert not outcome.accepted


def test_a_job_that_the_service_refuses_is_rejected(simulator: Simulator, clients: AlibabaClients) -> None:
    outcome = target_of(clients).start(editing_call(simulator, output_media_config="{}"))
    assert isinstance(outcome, Rejected)
    assert simulator.accepted() == []


# -- media assets -------------------------------------------------------------------------------------


def test_every_field_of_a_registration_travels(simulator: Simulator, clients: AlibabaClients) -> None:
    call = register_call(simulator)
    outcome = target_of(clients).start(call)
    (accepted,) = simulator.accepted(REGISTER)
    assert outcome == Registered(accepted.answer["MediaId"], accepted.request_id)
    assert accepted.parameters == {
        "InputURL": call.input_url,
        "ClientToken": call.client_token,
        "UserData": call.user_data,
        "Overwrite": "False",
    }


def test_a_url_that_is_registered_already_yields_the_media_id_that_it_has(
    simulator: Simulator, clients: AlibabaClients
) -> None:
    reads: list[tuple[Endpoint, Api]] = []
    target = AlibabaTarget(clients, before_read=lambda endpoint, api: reads.append((endpoint, api)))
    first = target.start(register_call(simulator))
    again = target.start(register_call(simulator, client_token="1" * 32))
    assert isinstance(first, Registered)
    assert isinstance(again, Registered)
    assert first.media_id == again.media_id
    assert len(simulator.accepted(REGISTER)) == 1, "nothing was overwritten"
    assert reads == [(endpoint_of(simulator), Api.GET_MEDIA_INFO)]


def test_the_same_registration_again_is_told_the_same_asset(simulator: Simulator, clients: AlibabaClients) -> None:
    target = target_of(clients)
    ids = {
        outcome.media_id for _ in range(2) if isinstance(outcome := target.start(register_call(simulator)), Registered)
    }
    assert len(ids) == 1


def test_a_registration_that_is_refused_for_another_reason_is_rejected(
    simulator: Simulator, clients: AlibabaClients
) -> None:
    outcome = target_of(clients).start(register_call(simulator, input_url="not-a-url"))
    assert isinstance(outcome, Rejected)
    assert outcome.code.startswith("InvalidParameter")


@pytest.mark.parametrize(
    ("fault", "kind"), [(Fault.FORBIDDEN, Unauthorized), (Fault.UNAVAILABLE, Uncertain), (Fault.THROTTLE, Uncertain)]
)
def test_whether_it_is_registered_is_not_guessed(clients: AlibabaClients, fault: Fault, kind: type[Outcome]) -> None:
    with Simulator(make_settings()) as simulator:
        target = target_of(clients)
        target.start(register_call(simulator))
        fail(simulator, *[(Api.GET_MEDIA_INFO.value, fault)] * 3)
        outcome = target.start(register_call(simulator, client_token="1" * 32))
    assert isinstance(outcome, kind)
    assert "GetMediaInfo" in (outcome.message if isinstance(outcome, Uncertain | Unauthorized) else "")


def test_an_answer_without_a_media_id_is_uncertain(simulator: Simulator, clients: AlibabaClients) -> None:
    fail(simulator, (REGISTER, Fault.NO_TASK_ID))
    outcome = target_of(clients).start(register_call(simulator))
    assert outcome == Uncertain("answer without a media id", "HTTP 200, but it names none", outcome.request_id)  # type: ignore[union-attr]  # every outcome here has one
