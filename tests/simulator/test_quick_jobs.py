"""ListBatchMediaProducingJobs through the official SDK: filters, order, pages, and where its jobs come from."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_ice20201109.models import ListBatchMediaProducingJobsRequest

from dispatcher.simulator.plans import quick_job_from_json
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import QuickJob
from tests.simulator.desk import NOW, admin, refused
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.desk import Clock, Connect, Sdks

HOUR = timedelta(hours=1)
JOBS = (
    QuickJob("c", "Smart_Mix", "Processing", NOW - HOUR),
    QuickJob(
        "a",
        "Script",
        "Finished",
        NOW - 3 * HOUR,
        modified_at=NOW - 2 * HOUR,
        completed_at=NOW - 2 * HOUR,
        user_data='{"u":1}',
        input_config='{"i":1}',
        editing_config='{"e":1}',
        output_config='{"o":1}',
        extend='{"x":1}',
    ),
    QuickJob("b", "Script", "Failed", NOW - 2 * HOUR),
    QuickJob("d"),
)


@pytest.fixture
def quick(clock: Clock, connect: Connect) -> Iterator[Sdks]:
    with Simulator(make_settings(quick_jobs=JOBS), clock=clock) as running:
        yield connect(running)


def listed(service: Sdks, **fields: Any) -> list[Any]:
    request = ListBatchMediaProducingJobsRequest(**fields)
    jobs: list[Any] = service.ice.list_batch_media_producing_jobs(request).body.editing_batch_job_list
    return jobs


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({}, "dcba"),
        ({"sort_by": "asc"}, "abcd"),
        ({"sort_by": "desc"}, "dcba"),
        ({"job_id": "b"}, "b"),
        ({"job_type": "Script"}, "dba"),
        ({"job_type": "Smart_Mix"}, "c"),
        ({"status": "Finished"}, "da"),
        ({"status": "Init"}, ""),
        ({"start_time": "2026-03-01T10:00:00Z"}, "dcb"),
        ({"end_time": "2026-03-01T10:00:00Z"}, "ba"),
        ({"start_time": "2026-03-01T10:00:00Z", "end_time": "2026-03-01T11:00:00Z"}, "cb"),
        ({"job_type": "Script", "status": "Failed"}, "b"),
    ],
)
def test_filters(quick: Sdks, fields: dict[str, Any], ids: str) -> None:
    assert "".join(job.job_id for job in listed(quick, **fields)) == ids


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_hold_every_job_once(quick: Sdks, order: str, size: int) -> None:
    found: list[str] = []
    token = None
    while token is None or token:
        request = ListBatchMediaProducingJobsRequest(max_results=size, next_token=token, sort_by=order)
        body = quick.ice.list_batch_media_producing_jobs(request).body
        assert len(body.editing_batch_job_list) <= size == body.max_results
        found += [job.job_id for job in body.editing_batch_job_list]
        token = body.next_token
    assert found == sorted("abcd", reverse=order == "desc")


def test_a_job_is_shown_with_all_its_fields(quick: Sdks) -> None:
    (job,) = listed(quick, job_id="a")
    assert job.to_map() == {
        "JobId": "a",
        "JobType": "Script",
        "Status": "Finished",
        "UserData": '{"u":1}',
        "InputConfig": '{"i":1}',
        "EditingConfig": '{"e":1}',
        "OutputConfig": '{"o":1}',
        "Extend": '{"x":1}',
        "CreateTime": "2026-03-01T09:00:00Z",
        "ModifiedTime": "2026-03-01T10:00:00Z",
        "CompleteTime": "2026-03-01T10:00:00Z",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"max_results": 0},
        {"max_results": 101},
        {"job_type": "EditingJob"},
        {"status": "Success"},
        {"sort_by": "CreationTime:Asc"},
        {"start_time": "2026-03-01"},
        {"end_time": "2026-03-01T10:00:00+08:00"},
        {"start_time": "2026-03-01T10:00:00Z", "end_time": "2026-03-01T09:00:00Z"},
        {"next_token": "-1"},
    ],
)
def test_other_values_are_refused(quick: Sdks, fields: dict[str, Any]) -> None:
    with refused(400, "InvalidParameter"):
        listed(quick, **fields)


def test_jobs_can_be_added_and_changed_over_the_admin_path(quick: Sdks) -> None:
    fields = {"job_id": "e", "status": "Init", "created_at": "2026-02-01T00:00:00Z", "user_data": "{}"}
    assert admin(quick.simulator, "POST", "quick-jobs", fields)[0] == 200
    assert admin(quick.simulator, "POST", "quick-jobs", fields | {"status": "Finished"})[0] == 200
    (job,) = listed(quick, job_id="e")
    assert (job.status, job.create_time) == ("Finished", "2026-02-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "{}",
        '{"job_id": "j", "colour": "red"}',
        '{"job_id": "j", "status": "Success"}',
        '{"job_id": "j", "job_type": "Mix"}',
        '{"job_id": 1}',
        '{"job_id": "j", "created_at": "yesterday"}',
    ],
)
def test_a_job_that_is_none_is_refused(quick: Sdks, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        quick_job_from_json(text)
    assert admin(quick.simulator, "POST", "quick-jobs", text)[0] == 400
    assert json.loads(admin(quick.simulator, "GET", "health")[1])["ok"]
