"""IMM batches through the official SDK: states by the clock and by calls, listings, projects, refused inputs."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_imm20200930 import models

from dispatcher.simulator.account import Account
from dispatcher.simulator.actions.batches import create_batch, list_batches
from dispatcher.simulator.journal import AcceptedCall
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedProject
from dispatcher.simulator.signature import Refused
from tests.simulator.desk import NOW, batch_request, refused
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.simulator.actions.parameters import Parameters
    from tests.simulator.desk import Clock, Connect, Sdks

MINUTE = timedelta(minutes=1)
ACCOUNT = Account(make_settings(), None, NOW)


def create(service: Sdks, **changes: Any) -> str:
    return str(service.imm.create_batch(batch_request(**changes)).body.id)


def batch(service: Sdks, batch_id: str, project: str = "p1") -> Any:
    return service.imm.get_batch(models.GetBatchRequest(project_name=project, id=batch_id)).body.batch


def state(service: Sdks, batch_id: str) -> str:
    return str(batch(service, batch_id).state)


def suspend(service: Sdks, batch_id: str) -> None:
    service.imm.suspend_batch(models.SuspendBatchRequest(project_name="p1", id=batch_id))


def resume(service: Sdks, batch_id: str) -> None:
    service.imm.resume_batch(models.ResumeBatchRequest(project_name="p1", id=batch_id))


def delete(service: Sdks, batch_id: str) -> None:
    service.imm.delete_batch(models.DeleteBatchRequest(project_name="p1", id=batch_id))


def update(service: Sdks, batch_id: str, **changes: Any) -> None:
    service.imm.update_batch(models.UpdateBatchRequest(project_name="p1", id=batch_id, **changes))


def test_a_batch_moves_by_the_clock_and_may_be_suspended_while_it_runs(service: Sdks, clock: Clock) -> None:
    batch_id = create(service)
    assert state(service, batch_id) == "Ready"
    for change in (suspend, resume):
        with refused(409, "InvalidBatchState", "Ready"):
            change(service, batch_id)
    clock.now += MINUTE + MINUTE / 2
    running = batch(service, batch_id)
    assert (running.state, running.statistic.submit_success) == ("Running", 5)
    for change in (resume, delete):
        with refused(409, "InvalidBatchState", "Running"):
            change(service, batch_id)
    suspend(service, batch_id)
    clock.now += 10 * MINUTE
    assert (state(service, batch_id), batch(service, batch_id).statistic.submit_success) == ("Suspended", 5)
    with refused(409, "InvalidBatchState", "Suspended"):
        suspend(service, batch_id)
    resume(service, batch_id)
    assert state(service, batch_id) == "Running"
    clock.now += MINUTE / 2
    assert state(service, batch_id) == "Succeeded"
    for change in (suspend, resume):
        with refused(409, "InvalidBatchState", "Succeeded"):
            change(service, batch_id)
    delete(service, batch_id)
    with refused(404, "ResourceNotFound"):
        batch(service, batch_id)


def test_a_failed_batch_is_changed_and_resumed(clock: Clock, connect: Connect) -> None:
    settings = make_settings(task_duration=MINUTE, failing=("oss://media/in/*",))
    elsewhere = models.Input(oss=models.InputOSS(bucket="media", prefix="other/"))
    with Simulator(settings, clock=clock) as running:
        service = connect(running)
        batch_id = create(service)
        with refused(409, "InvalidBatchState", "Running"):
            update(service, batch_id, tags={"a": "b"})
        clock.now += MINUTE
        assert (state(service, batch_id), bool(batch(service, batch_id).error)) == ("Failed", True)
        resume(service, batch_id)
        clock.now += MINUTE
        assert state(service, batch_id) == "Failed"
        update(service, batch_id, input=elsewhere, tags={"a": "b"})
        clock.now += MINUTE
        after = batch(service, batch_id)
        assert (after.state, after.input.oss.prefix, after.tags) == ("Failed", "other/", {"a": "b"})
        assert after.actions[0].name == "video/convert"
        resume(service, batch_id)
        assert state(service, batch_id) == "Running"
        clock.now += MINUTE
        assert state(service, batch_id) == "Succeeded"


def test_a_batch_is_shown_with_all_that_was_sent(service: Sdks) -> None:
    batch_id = create(
        service,
        tags={"DispatcherBatch": "x"},
        notification=models.CreateBatchRequestNotification(mns=models.MNS(topic_name="t")),
    )
    shown = batch(service, batch_id).to_map()
    assert batch_id.startswith("batch-")
    assert shown["Notification"] == {"MNS": {"TopicName": "t"}}
    assert shown["Tags"] == {"DispatcherBatch": "x"}
    assert shown["ServiceRole"] == "AliyunIMMBatchTriggerRole"
    assert shown["CreateTime"] == "2026-03-01T20:00:00.000000000+08:00"
    assert shown["Statistic"] == {"SubmitSuccess": 0, "SubmitFailure": 0, "SkipFiles": 0}


def listed(service: Sdks, **fields: Any) -> tuple[list[str], str]:
    body = service.imm.list_batches(models.ListBatchesRequest(**({"project_name": "p1"} | fields))).body
    return [each.id for each in body.batches], body.next_token


def fill(service: Sdks, clock: Clock) -> list[str]:
    ids = []
    for number in range(5):
        ids.append(create(service, tags={"n": str(number), "all": "yes"}))
        clock.now += MINUTE / 2
    create(service, project_name="p2")
    return ids


def test_listings_filter_and_sort(service: Sdks, clock: Clock) -> None:
    a, b, c, d, e = fill(service, clock)  # a ran for a minute and a half: b is at its end, e not yet
    assert listed(service) == ([a, b, c, d, e], "")
    assert listed(service, max_results=0, order="DES") == ([e, d, c, b, a], "")
    assert listed(service, tag_selector="n=3")[0] == [d]
    assert listed(service, tag_selector="n=3,all=yes")[0] == [d]
    assert listed(service, tag_selector="n=3,all=no")[0] == []
    assert listed(service, state="Ready")[0] == [e]
    assert listed(service, state="Running")[0] == [c, d]
    assert listed(service, state="Succeeded")[0] == [a, b]
    clock.now += timedelta(seconds=1)
    suspend(service, c)
    assert listed(service, sort="UpdateTime", order="DES")[0][0] == c
    assert len(listed(service, project_name="p2")[0]) == 1
    for wrong in (
        {"state": "Done"},
        {"sort": "Id"},
        {"order": "DESC"},
        {"tag_selector": "n"},
        {"max_results": 101},
        {"max_results": -1},
    ):
        with refused(400, "InvalidParameter"):
            listed(service, **wrong)


@pytest.mark.parametrize("order", ["ASC", "DES"])
def test_pages_go_on_though_batches_come_and_go(service: Sdks, clock: Clock, order: str) -> None:
    ids = fill(service, clock)
    ordered = ids if order == "ASC" else ids[::-1]
    first, token = listed(service, max_results=2, order=order)
    assert first == ordered[:2]
    clock.now += 10 * MINUTE
    delete(service, first[1])
    second, token = listed(service, max_results=2, order=order, next_token=token)
    third, end = listed(service, max_results=2, order=order, next_token=token)
    assert (second, third, end) == (ordered[2:4], ordered[4:], "")


def test_a_page_holds_100_batches_unless_fewer_are_asked_for() -> None:
    account = Account(make_settings(), None, NOW)
    for number in range(101):
        account.batches.apply(AcceptedCall(NOW, "CreateBatch", "r", {}, parameters(), {"Id": f"b{number:03}"}))
    for size, shown in (("", 100), ("0", 100), ("100", 100), ("99", 99)):
        page = list_batches({"ProjectName": "p1", "MaxResults": size}, account, NOW)
        batches = page["Batches"]
        assert isinstance(batches, list)
        assert (len(batches), bool(page["NextToken"])) == (shown, True)


def parameters(**changes: Any) -> Parameters:
    fields: dict[str, Any] = {
        "ProjectName": "p1",
        "ServiceRole": "role",
        "Input": {"OSS": {"Bucket": "media", "Prefix": "in/"}},
        "Actions": [{"Name": "video/convert"}],
    } | changes
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return {name: text for name, text in texts.items() if text != "null"}


def action(*texts: str, **fields: Any) -> Parameters:
    return parameters(Actions=[{"Name": "n", "Parameters": list(texts)} | fields])


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "bad",
    [
        parameters(Input={"OSS": {"Prefix": "in/"}}),
        parameters(Input={}),
        parameters(Input={"OSS": {"Bucket": "media", "MatchExpressions": "x"}}),
        parameters(Input="text"),
        parameters(Actions=[]),
        parameters(Actions=[{"Parameters": []}]),
        parameters(Actions=["video/convert"]),
        parameters(Actions=[{"Name": "n", "Parameters": [1]}]),
        action(FastFailPolicy={"Action": "stop"}),
        action(FastFailPolicy={}),
        parameters(Notification={}),
        parameters(Notification={"MNS": {}}),
        parameters(Tags={"a": 1}),
        parameters(Tags=[1]),
        action("target=oss://media/in/out/{name}.mp4"),
        action("f_mp4", f"b_{b64('media')},o_{b64('in/{key}.mp4')}"),
        action(f"o_{b64('in/{key}.mp4')}"),
        parameters(
            Input={"OSS": {"Bucket": "media"}}, Actions=[{"Name": "n", "Parameters": ["oss://media/out/{name}"]}]
        ),
    ],
)
def test_what_makes_no_batch_is_refused(bad: Parameters) -> None:
    with pytest.raises(Refused) as caught:
        create_batch(bad, ACCOUNT, NOW)
    assert (caught.value.status, caught.value.code) == (400, "InvalidParameter")


@pytest.mark.parametrize("name", ["ProjectName", "ServiceRole", "Input", "Actions"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(Refused) as caught:
        create_batch(parameters(**{name: None}), ACCOUNT, NOW)
    assert (caught.value.code, caught.value.message.split()[0]) == ("MissingParameter", name)


@pytest.mark.parametrize(
    "good",
    [
        parameters(),
        parameters(Input={"OSS": {"Bucket": "media", "MatchExpressions": ["*.mov"]}}),
        action(FastFailPolicy={"Action": "ignore"}),
        action("target=oss://media/out/{name}.mp4"),
        action("target=oss://other/in/{name}.mp4"),
        action(f"b_{b64('other')},o_{b64('in/{key}.mp4')}"),
        action("o_???", "b_not base64"),
    ],
)
def test_what_makes_one_passes(good: Parameters) -> None:
    assert create_batch(good, ACCOUNT, NOW)["Id"]


def test_projects_roles_and_bound_buckets(clock: Clock, connect: Connect) -> None:
    settings = make_settings(
        projects=(SimulatedProject("p1", ("a", "b", "media")), SimulatedProject("p2")),
        service_roles=("AliyunIMMBatchTriggerRole",),
    )
    with Simulator(settings, clock=clock) as running:
        service = connect(running)
        create(service)
        with refused(404, "ResourceNotFound", "p3"):
            create(service, project_name="p3")
        with refused(400, "BucketNotAttached", "media"):
            create(service, project_name="p2")
        with refused(404, "EntityNotExist.Role", "other"):
            create(service, service_role="other")
        project = service.imm.get_project(models.GetProjectRequest(project_name="p1")).body.project
        assert (project.project_name, project.service_role) == ("p1", "AliyunIMMDefaultRole")
        with refused(404, "ResourceNotFound", "p3"):
            service.imm.get_project(models.GetProjectRequest(project_name="p3"))

        def attachment(bucket: str) -> str:
            request = models.GetOSSBucketAttachmentRequest(ossbucket=bucket)
            return str(service.imm.get_ossbucket_attachment(request).body.project_name)

        assert attachment("media") == "p1"
        with refused(404, "ResourceNotFound", "elsewhere"):
            attachment("elsewhere")

        def attached(**fields: Any) -> tuple[list[str], str]:
            request = models.ListAttachedOSSBucketsRequest(**fields)
            body = service.imm.list_attached_ossbuckets(request).body
            return [each.ossbucket for each in body.attached_ossbuckets], body.next_token

        assert attached(project_name="p1") == (["a", "b", "media"], "")
        assert attached(project_name="p1", max_results=2) == (["a", "b"], "1")
        assert attached(project_name="p1", max_results=2, next_token="1") == (["media"], "")
        assert attached(project_name="p2", max_results=200) == ([], "")
        with refused(400, "InvalidParameter"):
            attached(project_name="p2", max_results=201)


def test_a_restart_knows_batches_as_the_calls_left_them(tmp_path: Path, clock: Clock, connect: Connect) -> None:
    settings, path = make_settings(task_duration=MINUTE), tmp_path / "journal.jsonl"
    with Simulator(settings, clock=clock, journal_path=path) as running:
        service = connect(running)
        gone, held = create(service), create(service)
        clock.now += MINUTE / 2
        suspend(service, gone)
        delete(service, gone)
        suspend(service, held)
    with Simulator(settings, clock=clock, journal_path=path) as running:
        service = connect(running)
        clock.now += 5 * MINUTE
        assert listed(service) == ([held], "")
        assert (state(service, held), batch(service, held).statistic.submit_success) == ("Suspended", 5)
