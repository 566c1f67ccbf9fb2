"""The lists of jobs through the official SDK: every filter as it travels, every field as it is told."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.jobs import (
    EditingJob,
    JobFilter,
    JobStatus,
    JobType,
    Order,
    QuickJob,
    QuickJobFilter,
    QuickJobStatus,
    QuickJobType,
    Window,
)
from dispatcher.errors import CredentialsError, ServiceUnavailableError
from dispatcher.targets.jobs import AlibabaJobs
from tests.targets.recorder import Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.targets.alibaba import AlibabaClients

SINCE = datetime(2026, 2, 1, 8, 0, 0, tzinfo=timezone(timedelta(hours=8)))
UNTIL = datetime(2026, 2, 20, 0, 0, 0, 1, tzinfo=UTC)
WINDOW = Window(SINCE, UNTIL)
TOLD: dict[str, Any] = {
    "JobId": "j1",
    "Status": "Success",
    "UserData": '{"DispatchId":"x"}',
    "ProjectId": "p1",
    "TemplateId": "t1",
    "ClipsParam": '{"a":"b"}',
    "Timeline": "{}",
    "MediaId": "m1",
    "MediaURL": "https://media.example/a.mp4",
    "VodMediaId": "v1",
    "Duration": 3.5,
    "Progress": 100,
    "Code": "Ok",
    "Message": "done",
    "SubJobMaterials": "{}",
    "CreateTime": "2026-02-02T03:04:05Z",
    "ModifiedTime": "2026-02-02T03:04:06Z",
    "CompleteTime": "2026-02-02T03:04:07Z",
}


@pytest.fixture
def wire() -> Iterator[Recorder]:
    with recorder() as running:
        yield running


@pytest.fixture
def jobs(clients: AlibabaClients) -> AlibabaJobs:
    return AlibabaJobs(clients, pause=lambda _: None)


def test_every_filter_of_editing_jobs_travels(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_answer({"MediaProducingJobList": [], "NextToken": "page 2"}, {"MediaProducingJobList": []})
    asked = JobFilter(JobType.TEMPLATE, JobStatus.FAILED, "é key", "p 1", "m-1", Order.ASC, page_size=7)
    assert list(jobs.list_jobs(wire.endpoint, asked, WINDOW)) == []
    first = {
        "StartTime": "2026-02-01T00:00:00Z",
        "EndTime": "2026-02-20T00:00:01Z",
        "JobType": "VETemplateJob",
        "Status": "Failed",
        "Keyword": "é key",
        "ProjectId": "p 1",
        "MasterJobId": "m-1",
        "SortBy": "CreationTime:Asc",
        "MaxResults": "7",
    }
    assert [each.action for each in wire.sent] == ["ListMediaProducingJobs"] * 2
    assert [each.query for each in wire.sent] == [first, {**first, "NextToken": "page 2"}]
    assert [each.form for each in wire.sent] == [{}, {}]


def test_what_is_not_asked_for_does_not_travel(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_answer({})
    list(jobs.list_jobs(wire.endpoint, JobFilter(), WINDOW))
    list(jobs.list_quick_jobs(wire.endpoint, QuickJobFilter()))
    assert set(wire.sent[0].query) == {"StartTime", "EndTime", "SortBy", "MaxResults"}
    assert wire.sent[1].query == {"SortBy": "desc", "MaxResults": "100"}


def test_every_filter_of_quick_jobs_travels(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_answer({"EditingBatchJobList": [], "NextToken": "2"}, {})
    asked = QuickJobFilter(
        "j-1", QuickJobType.SMART_MIX, QuickJobStatus.FINISHED, SINCE, UNTIL, Order.ASC, page_size=100
    )
    assert list(jobs.list_quick_jobs(wire.endpoint, asked)) == []
    first = {
        "JobId": "j-1",
        "JobType": "Smart_Mix",
        "Status": "Finished",
        "StartTime": "2026-02-01T00:00:00Z",
        "EndTime": "2026-02-20T00:00:01Z",
        "SortBy": "asc",
        "MaxResults": "100",
    }
    assert [each.action for each in wire.sent] == ["ListBatchMediaProducingJobs"] * 2
    assert [each.query for each in wire.sent] == [first, {**first, "NextToken": "2"}]


def test_an_editing_job_is_told_whole(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_answer({"MediaProducingJob": TOLD})
    job = jobs.get_job(wire.endpoint, "j1")
    assert (wire.sent[0].action, wire.sent[0].query) == ("GetMediaProducingJob", {"JobId": "j1"})
    assert job == EditingJob(
        job_id="j1",
        status="Success",
        user_data='{"DispatchId":"x"}',
        project_id="p1",
        template_id="t1",
        clips_param='{"a":"b"}',
        timeline="{}",
        media_id="m1",
        media_url="https://media.example/a.mp4",
        vod_media_id="v1",
        duration=3.5,
        progress=100,
        code="Ok",
        message="done",
        sub_job_materials="{}",
        created_at=datetime(2026, 2, 2, 3, 4, 5, tzinfo=UTC),
        modified_at=datetime(2026, 2, 2, 3, 4, 6, tzinfo=UTC),
        completed_at=datetime(2026, 2, 2, 3, 4, 7, tzinfo=UTC),
    )
    assert job is not None
    assert not [each.name for each in fields(job) if getattr(job, each.name) is None]


def test_a_quick_job_is_told_whole(wire: Recorder, jobs: AlibabaJobs) -> None:
    configs = {name: f'{{"{name}":1}}' for name in ("InputConfig", "EditingConfig", "OutputConfig", "Extend")}
    wire.will_answer({"EditingBatchJobList": [{**TOLD, **configs, "JobType": "Script", "Status": "Finished"}]})
    [job] = jobs.list_quick_jobs(wire.endpoint, QuickJobFilter())
    assert isinstance(job, QuickJob)
    assert (job.job_id, job.job_type, job.status) == ("j1", "Script", "Finished")
    assert (job.input_config, job.editing_config) == ('{"InputConfig":1}', '{"EditingConfig":1}')
    assert (job.output_config, job.extend) == ('{"OutputConfig":1}', '{"Extend":1}')
    assert not [each.name for each in fields(job) if getattr(job, each.name) is None]


def test_a_job_that_does_not_exist_is_none(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_refuse("JobNotFound", 404)
    assert jobs.get_job(wire.endpoint, "j1") is None


def test_a_missing_permission_is_named(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_refuse("NoPermission", 403)
    with pytest.raises(CredentialsError) as refused:
        list(jobs.list_quick_jobs(wire.endpoint, QuickJobFilter()))
    assert "ice:ListBatchMediaProducingJobs" in refused.value.hint


def test_a_job_without_an_id_is_no_answer(wire: Recorder, jobs: AlibabaJobs) -> None:
    wire.will_answer({"MediaProducingJobList": [{"Status": "Init"}]})
    with pytest.raises(ServiceUnavailableError, match="without an id"):
        list(jobs.list_jobs(wire.endpoint, JobFilter(), WINDOW))
