"""Every request field that the official SDK documents, sent through it, as it reaches the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_ice20201109 import models as ice
from alibabacloud_imm20200930 import models as imm
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from dispatcher.simulator.actions.registry import ACTIONS, ICE, IMM
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedMedia, SimulatedProject
from tests.simulator.desk import NOW, OUTPUT, batch_request, refused, submission
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.desk import Clock, Connect, Sdks

ODD = "ü +%41&=/日本"
TOKEN = "0123456789abcdef0123456789ABCDEF"  # 32 characters, as RegisterMediaInfo wants
OUTPUT_TEXT = json.dumps(OUTPUT)
COMMON = {
    "client_token": "t-1",
    "editing_produce_config": '{"AutoRegisterInputVodMedia":"true"}',
    "media_metadata": json.dumps({"Title": ODD}),
    "output_media_config": OUTPUT_TEXT,
    "output_media_target": "oss-object",
    "project_metadata": '{"Title":"p"}',
    "source": "OpenAPI",
    "user_data": json.dumps({"NotifyAddress": "http://192.0.2.1/cb", "x": ODD}, ensure_ascii=False),
}
SENT = {
    "ClientToken": "t-1",
    "EditingProduceConfig": COMMON["editing_produce_config"],
    "MediaMetadata": COMMON["media_metadata"],
    "OutputMediaConfig": OUTPUT_TEXT,
    "OutputMediaTarget": "oss-object",
    "ProjectMetadata": COMMON["project_metadata"],
    "Source": "OpenAPI",
    "UserData": COMMON["user_data"],
}
CLIPS = json.dumps({"Video": ODD})
TIMELINE = json.dumps({"VideoTracks": [{"VideoTrackClips": [{"MediaURL": f"oss://b/{ODD}"}]}]})

ICE_CALLS: list[tuple[str, Any, dict[str, str], dict[str, str]]] = [
    (
        "StartWorkflow",
        ice.StartWorkflowRequest(
            workflow_id="w1",
            task_input=json.dumps({"Type": "OSS", "Media": f"oss://b/{ODD}"}),
            user_data='{"a":1}',
            skip_input_verification=True,
        ),
        {
            "WorkflowId": "w1",
            "TaskInput": json.dumps({"Type": "OSS", "Media": f"oss://b/{ODD}"}),
            "UserData": '{"a":1}',
            "SkipInputVerification": "True",
        },
        {},
    ),
    (
        "SubmitMediaProducingJob",
        ice.SubmitMediaProducingJobRequest(timeline=TIMELINE, **COMMON),
        SENT,
        {"Timeline": TIMELINE},
    ),
    (
        "SubmitMediaProducingJob",
        ice.SubmitMediaProducingJobRequest(template_id="tpl", clips_param=CLIPS, **COMMON),
        SENT | {"TemplateId": "tpl", "ClipsParam": CLIPS},
        {},
    ),
    (
        "SubmitMediaProducingJob",
        ice.SubmitMediaProducingJobRequest(project_id="prj", **COMMON),
        SENT | {"ProjectId": "prj"},
        {},
    ),
    ("GetWorkflowTask", ice.GetWorkflowTaskRequest(task_id="t1"), {"TaskId": "t1"}, {}),
    (
        "ListWorkflowTasks",
        ice.ListWorkflowTasksRequest(
            end_of_create_time="2026-03-01T11:00:00Z",
            key_text=ODD,
            max_results=100,
            next_token="5",
            start_of_create_time="2026-02-01T11:00:00Z",
            workflow_id="w1",
            workflow_name="one",
        ),
        {
            "EndOfCreateTime": "2026-03-01T11:00:00Z",
            "KeyText": ODD,
            "MaxResults": "100",
            "NextToken": "5",
            "StartOfCreateTime": "2026-02-01T11:00:00Z",
            "WorkflowId": "w1",
            "WorkflowName": "one",
        },
        {},
    ),
    ("GetMediaProducingJob", ice.GetMediaProducingJobRequest(job_id="j1"), {"JobId": "j1"}, {}),
    (
        "ListMediaProducingJobs",
        ice.ListMediaProducingJobsRequest(
            end_time="2026-03-01T11:00:00Z",
            job_type="EditingJob",
            keyword=ODD,
            master_job_id="m1",
            max_results=7,
            next_token="3",
            project_id="prj",
            sort_by="CreationTime:Asc",
            start_time="2026-02-01T11:00:00Z",
            status="Success",
        ),
        {
            "EndTime": "2026-03-01T11:00:00Z",
            "JobType": "EditingJob",
            "Keyword": ODD,
            "MasterJobId": "m1",
            "MaxResults": "7",
            "NextToken": "3",
            "ProjectId": "prj",
            "SortBy": "CreationTime:Asc",
            "StartTime": "2026-02-01T11:00:00Z",
            "Status": "Success",
        },
        {},
    ),
    (
        "ListBatchMediaProducingJobs",
        ice.ListBatchMediaProducingJobsRequest(
            end_time="2026-03-01T11:00:00Z",
            job_id="q1",
            job_type="Smart_Mix",
            max_results=100,
            next_token="1",
            sort_by="asc",
            start_time="2026-01-01T11:00:00Z",
            status="Finished",
        ),
        {
            "EndTime": "2026-03-01T11:00:00Z",
            "JobId": "q1",
            "JobType": "Smart_Mix",
            "MaxResults": "100",
            "NextToken": "1",
            "SortBy": "asc",
            "StartTime": "2026-01-01T11:00:00Z",
            "Status": "Finished",
        },
        {},
    ),
    (
        "RegisterMediaInfo",
        ice.RegisterMediaInfoRequest(
            business_type="general",
            cate_id=45,
            client_token=TOKEN,
            cover_url="http://b.oss-cn-hangzhou.aliyuncs.com/c.jpg",
            description=ODD,
            input_url=f"oss://b/{ODD}.mp4",
            media_tags="one,two",
            media_type="video",
            overwrite=True,
            reference_id="ref_01-A",
            register_config='{"NeedSprite":"false"}',
            smart_tag_template_id="S00000101-300080",
            title=ODD,
            user_data='{"a":1}',
            workflow_id="w1",
        ),
        {
            "BusinessType": "general",
            "CateId": "45",
            "ClientToken": TOKEN,
            "CoverURL": "http://b.oss-cn-hangzhou.aliyuncs.com/c.jpg",
            "Description": ODD,
            "InputURL": f"oss://b/{ODD}.mp4",
            "MediaTags": "one,two",
            "MediaType": "video",
            "Overwrite": "True",
            "ReferenceId": "ref_01-A",
            "RegisterConfig": '{"NeedSprite":"false"}',
            "SmartTagTemplateId": "S00000101-300080",
            "Title": ODD,
            "UserData": '{"a":1}',
            "WorkflowId": "w1",
        },
        {},
    ),
    (
        "GetMediaInfo",
        ice.GetMediaInfoRequest(
            auth_timeout=3600,
            input_url="oss://b/known.mp4",
            media_id="m-known",
            output_type="oss",
            return_detailed_info='{"AiRoughData.StandardSmartTagJob":false}',
        ),
        {
            "AuthTimeout": "3600",
            "InputURL": "oss://b/known.mp4",
            "MediaId": "m-known",
            "OutputType": "oss",
            "ReturnDetailedInfo": '{"AiRoughData.StandardSmartTagJob":false}',
        },
        {},
    ),
]

INPUT = imm.Input(oss=imm.InputOSS(bucket="media", prefix=f"in/{ODD}", match_expressions=["*.mov", ODD]))
ACTION = {"name": "video/convert", "parameters": ["f_mp4", ODD]}
INPUT_SENT = {"OSS": {"Bucket": "media", "Prefix": f"in/{ODD}", "MatchExpressions": ["*.mov", ODD]}}
ACTION_SENT = {"Name": "video/convert", "Parameters": ["f_mp4", ODD]}
BATCH = {"project_name": "p1", "id": "batch-0"}
BATCH_SENT = {"ProjectName": "p1", "Id": "batch-0"}

IMM_CALLS: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    (
        "CreateBatch",
        imm.CreateBatchRequest(
            actions=[imm.CreateBatchRequestActions(fast_fail_policy=imm.FastFailPolicy(action="abort"), **ACTION)],
            input=INPUT,
            notification=imm.CreateBatchRequestNotification(mns=imm.MNS(topic_name="topic")),
            project_name="p1",
            service_role="role",
            tags={"DispatcherBatch": ODD},
        ),
        {},
        {
            "Actions": [ACTION_SENT | {"FastFailPolicy": {"Action": "abort"}}],
            "Input": INPUT_SENT,
            "Notification": {"MNS": {"TopicName": "topic"}},
            "ProjectName": "p1",
            "ServiceRole": "role",
            "Tags": {"DispatcherBatch": ODD},
        },
    ),
    (
        "UpdateBatch",
        imm.UpdateBatchRequest(
            actions=[imm.UpdateBatchRequestActions(**ACTION)], input=INPUT, tags={"t": ODD}, **BATCH
        ),
        {},
        BATCH_SENT | {"Actions": [ACTION_SENT], "Input": INPUT_SENT, "Tags": {"t": ODD}},
    ),
    ("GetBatch", imm.GetBatchRequest(**BATCH), BATCH_SENT, {}),
    ("SuspendBatch", imm.SuspendBatchRequest(**BATCH), {}, BATCH_SENT),
    ("ResumeBatch", imm.ResumeBatchRequest(**BATCH), {}, BATCH_SENT),
    ("DeleteBatch", imm.DeleteBatchRequest(**BATCH), {}, BATCH_SENT),
    (
        "ListBatches",
        imm.ListBatchesRequest(
            max_results=0,
            next_token="t",
            order="DES",
            project_name="p1",
            sort="UpdateTime",
            state="Running",
            tag_selector=f"a={ODD}",
        ),
        {
            "MaxResults": "0",
            "NextToken": "t",
            "Order": "DES",
            "ProjectName": "p1",
            "Sort": "UpdateTime",
            "State": "Running",
            "TagSelector": f"a={ODD}",
        },
        {},
    ),
    (
        "GetProject",
        imm.GetProjectRequest(project_name="p1", with_statistics=True),
        {"ProjectName": "p1", "WithStatistics": "True"},
        {},
    ),
    ("GetOSSBucketAttachment", imm.GetOSSBucketAttachmentRequest(ossbucket="media"), {"OSSBucket": "media"}, {}),
    (
        "ListAttachedOSSBuckets",
        imm.ListAttachedOSSBucketsRequest(max_results=200, next_token="0", project_name="p1"),
        {"MaxResults": "200", "NextToken": "0", "ProjectName": "p1"},
        {},
    ),
]


@pytest.fixture
def account(clock: Clock, connect: Connect) -> Iterator[Sdks]:
    settings = make_settings(
        media=(SimulatedMedia("m-known", "oss://b/known.mp4"),), projects=(SimulatedProject("p1", ("media",)),)
    )
    with Simulator(settings, clock=clock) as running:
        yield connect(running)


def call(client: Any, request: Any) -> None:
    """Make the call of a request; the account has nothing of what some of them name."""
    method = type(request).__module__.rpartition(".")[2].removeprefix("_").removesuffix("_request")
    try:
        getattr(client, method)(request)
    except AlibabaCloudException as error:
        if error.status_code != 404:
            raise


def documented(models: Any, name: str) -> set[str]:
    """Return the wire names of all fields of a request model."""
    model = getattr(models, f"{name}ShrinkRequest", None) or getattr(models, f"{name}Request")
    return set(model(**dict.fromkeys(vars(model()), "x")).to_map())


@pytest.mark.parametrize(("api", "request_", "query", "form"), ICE_CALLS, ids=lambda each: str(each)[:27])
def test_a_request_to_ims_arrives_field_by_field(
    account: Sdks, api: str, request_: Any, query: dict[str, str], form: dict[str, str]
) -> None:
    call(account.ice, request_)
    (arrived,) = account.simulator.wire()
    assert (arrived.api, arrived.version, arrived.query, arrived.form) == (api, "2020-11-09", query, form)
    for accepted in account.simulator.accepted():
        assert (accepted.api, accepted.query, accepted.form) == (api, query, form)
        assert (accepted.client_token, accepted.repeat, accepted.at) == (query["ClientToken"], False, NOW)


@pytest.mark.parametrize(("api", "request_", "query", "form"), IMM_CALLS, ids=lambda each: str(each)[:27])
def test_a_request_to_imm_arrives_field_by_field(
    account: Sdks, api: str, request_: Any, query: dict[str, Any], form: dict[str, Any]
) -> None:
    call(account.imm, request_)
    (arrived,) = account.simulator.wire()
    nested = {name: json.loads(text) if text[0] in "[{" else text for name, text in arrived.form.items()}
    assert (arrived.api, arrived.version, arrived.query, nested) == (api, "2020-09-30", query, form)
    for accepted in account.simulator.accepted():
        assert (accepted.api, accepted.form) == (api, arrived.form)


@pytest.mark.parametrize("api", sorted({api for api, *_ in ICE_CALLS}))
def test_no_field_of_ims_is_left_out(api: str) -> None:
    assert {name for each, _, query, form in ICE_CALLS if each == api for name in (*query, *form)} == documented(
        ice, api
    )


@pytest.mark.parametrize("api", sorted({api for api, *_ in IMM_CALLS}))
def test_no_field_of_imm_is_left_out(api: str) -> None:
    assert {name for each, _, query, form in IMM_CALLS if each == api for name in (*query, *form)} == documented(
        imm, api
    )


def test_every_action_of_the_simulator_is_covered() -> None:
    assert {(ICE, api) for api, *_ in ICE_CALLS} | {(IMM, api) for api, *_ in IMM_CALLS} == set(ACTIONS)


def test_an_action_belongs_to_its_version(service: Sdks) -> None:
    service.imm.create_batch(batch_request())
    service.ice.submit_media_producing_job(submission())
    crossed = [
        (service.imm, "SubmitMediaProducingJob", "2020-09-30", "InvalidAction.NotFound"),
        (service.ice, "CreateBatch", "2020-11-09", "InvalidAction.NotFound"),
        (service.ice, "CreateBatch", "2017-09-06", "InvalidVersion"),
    ]
    for client, action, version, code in crossed:
        params = Params(
            action=action,
            version=version,
            protocol="HTTP",
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        with refused(400 if code == "InvalidVersion" else 404, code):
            client.call_api(params, OpenApiRequest(query={}), RuntimeOptions())
    assert [each.code for each in service.simulator.wire()] == ["", "", *(code for *_, code in crossed)]
    assert [each.api for each in service.simulator.accepted()] == ["CreateBatch", "SubmitMediaProducingJob"]
