"""Editing jobs through the official SDK: documented limits on both sides, tokens, states, listings."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_ice20201109 import models

from dispatcher.simulator.account import Account
from dispatcher.simulator.actions.editing import submit_job
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.signature import Refused
from tests.simulator.desk import NOW, OUTPUT, refused, submission
from tests.simulator_fixtures import make_settings

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.simulator.actions.parameters import Parameters
    from tests.simulator.desk import Clock, Connect, Sdks

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ACCOUNT = Account(make_settings(templates=("tpl",)), None, NOW)


def parameters(output: dict[str, Any] | None = None, **changes: str | None) -> Parameters:
    fields = {"Timeline": "{}", "OutputMediaConfig": json.dumps(OUTPUT | (output or {}))} | changes
    return {name: value for name, value in fields.items() if value is not None}


def tracks(kind: str, count: int) -> str:
    return json.dumps({kind: [{}] * count})


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (parameters(Timeline="{}"), parameters(Timeline=None)),
        (parameters(Timeline=None, ProjectId="p"), parameters(ProjectId="p")),
        (
            parameters(Timeline=None, TemplateId="tpl", ClipsParam="{}"),
            parameters(TemplateId="tpl", ClipsParam="{}"),
        ),
        (parameters(), parameters(Timeline="[]")),
        (parameters(), parameters(Timeline="{")),
        (parameters(), parameters(OutputMediaConfig="text")),
        (parameters(), parameters(OutputMediaConfig='{"Width": 128}')),
        (parameters(), parameters({"MediaURL": "ftp://b/k"})),
        (parameters(), parameters({"MediaURL": "oss://bucket"})),
        (
            parameters({"MediaURL": "http://b.oss-cn-hangzhou-internal.aliyuncs.com/k"}),
            parameters({"MediaURL": "http://b.oss-cn-shanghai.aliyuncs.com/k"}),
        ),
        (parameters({"Width": 128}), parameters({"Width": 127})),
        (parameters({"Width": 4096}), parameters({"Width": 4097})),
        (parameters({"Height": 128}), parameters({"Height": 127})),
        (parameters({"Height": 4096}), parameters({"Height": 4097})),
        (parameters({"Width": 4096, "Height": 2160}), parameters({"Width": 4096, "Height": 2161})),
        (parameters({"Width": 2160, "Height": 4096}), parameters({"Width": 2161, "Height": 4096})),
        (parameters({"Bitrate": 5000}), parameters({"Bitrate": 5001})),
        (parameters({"Bitrate": 1}), parameters({"Bitrate": 0})),
        (parameters({"Bitrate": 1}), parameters({"Bitrate": True})),
        (parameters({"Bitrate": "5000"}), parameters({"Bitrate": "5001"})),
        (parameters({"Bitrate": "1"}), parameters({"Bitrate": "9" * 5000})),
        (parameters(), parameters({"MediaURL": "oss://[b/k"})),
        (parameters(), parameters({"MediaURL": "https://[b/k"})),
        *(
            (parameters(Timeline=tracks(kind, 100)), parameters(Timeline=tracks(kind, 101)))
            for kind in ("VideoTracks", "AudioTracks", "ImageTracks", "SubtitleTracks")
        ),
        (parameters(Source="WebSDK"), parameters(Source="websdk")),
        (parameters(OutputMediaTarget="oss-object"), parameters(OutputMediaTarget="oss")),
        (parameters(OutputMediaTarget="S3", OutputMediaConfig="{}"), parameters(OutputMediaConfig="{}")),
        (
            parameters(OutputMediaTarget="vod-media", OutputMediaConfig='{"StorageLocation":"l","FileName":"f.mp4"}'),
            parameters(OutputMediaTarget="vod-media", OutputMediaConfig='{"StorageLocation":"l"}'),
        ),
        (parameters(UserData=json.dumps({"x": "é" * 250}, ensure_ascii=False)), parameters(UserData='"text"')),
        (
            parameters(UserData=json.dumps({"x": "a" * 503})),
            parameters(UserData=json.dumps({"x": "a" * 504})),
        ),
        *(
            (parameters({}, **{name: "{}"}), parameters({}, **{name: "[]"}))
            for name in ("EditingProduceConfig", "MediaMetadata", "ProjectMetadata")
        ),
    ],
)
def test_documented_limits_hold_on_both_sides(good: Parameters, bad: Parameters) -> None:
    assert submit_job(good, ACCOUNT, NOW)["JobId"]
    with pytest.raises(Refused) as caught:
        submit_job(bad, ACCOUNT, NOW)
    assert (caught.value.status, caught.value.code) == (400, "InvalidParameter")


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (parameters(OutputMediaConfig=None), 400, "MissingParameter"),
        (parameters(Timeline=None, TemplateId="tpl"), 400, "MissingParameter"),
        (parameters(Timeline=None, TemplateId="other", ClipsParam="{}"), 404, "InvalidTemplate.NotFound"),
    ],
)
def test_what_is_missing_is_named(bad: Parameters, status: int, code: str) -> None:
    with pytest.raises(Refused) as caught:
        submit_job(bad, ACCOUNT, NOW)
    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_vod_asset_has_an_id_of_its_own_and_a_project_is_kept(service: Sdks) -> None:
    vod = submission(output_media_target="vod-media", output_media_config={"StorageLocation": "loc", "FileName": "f"})
    first = service.ice.submit_media_producing_job(vod).body
    second = service.ice.submit_media_producing_job(submission(timeline=None, project_id="prj")).body
    job = service.ice.get_media_producing_job(models.GetMediaProducingJobRequest(job_id=first.job_id)).body
    assert job.media_producing_job.vod_media_id == first.vod_media_id != ""
    assert job.media_producing_job.media_url == "vod://loc/f"
    assert (second.project_id, second.vod_media_id) == ("prj", "")
    assert len({first.job_id, first.media_id, first.project_id, second.job_id, second.media_id}) == 5


def test_a_repeated_token_is_one_job(service: Sdks, clock: Clock) -> None:
    first = service.ice.submit_media_producing_job(submission(client_token="t")).body
    clock.now += timedelta(minutes=9, seconds=59)
    again = service.ice.submit_media_producing_job(submission(client_token="t")).body
    assert (again.job_id, again.media_id, again.project_id) == (first.job_id, first.media_id, first.project_id)
    assert again.request_id != first.request_id
    assert [each.repeat for each in service.simulator.accepted()] == [False, True]
    with refused(400, "IdempotentParameterMismatch"):
        service.ice.submit_media_producing_job(submission(client_token="t", user_data='{"a":1}'))
    clock.now += timedelta(seconds=1)
    late = service.ice.submit_media_producing_job(submission(client_token="t")).body
    assert late.job_id != first.job_id
    jobs = service.ice.list_media_producing_jobs(models.ListMediaProducingJobsRequest()).body
    assert [job.job_id for job in jobs.media_producing_job_list] == [late.job_id, first.job_id]


def test_callers_with_one_token_make_one_job(service: Sdks) -> None:
    def submit(_: int) -> str:
        return str(service.ice.submit_media_producing_job(submission(client_token="t")).body.job_id)

    with ThreadPoolExecutor(8) as callers:
        assert len(set(callers.map(submit, range(24)))) == 1
    assert [each.repeat for each in service.simulator.accepted()] == [False] + [True] * 23


def test_text_that_is_no_unicode_comes_back_as_it_was_sent(service: Sdks) -> None:
    output = '{"MediaURL":"oss://b/\\ud800.mp4"}'
    job_id = service.ice.submit_media_producing_job(submission(output_media_config=output)).body.job_id
    request = models.GetMediaProducingJobRequest(job_id=job_id)
    job = service.ice.get_media_producing_job(request).body.media_producing_job
    assert job.media_url == "oss://b/\ud800.mp4"


def test_a_refused_call_leaves_its_token_free(service: Sdks) -> None:
    with refused(400, "InvalidParameter", "Source"):
        service.ice.submit_media_producing_job(submission(client_token="t", source="Elsewhere"))
    assert service.ice.submit_media_producing_job(submission(client_token="t")).body.job_id


def test_a_token_may_have_64_ascii_characters(service: Sdks) -> None:
    service.ice.submit_media_producing_job(submission(client_token="t" * 64))
    for token in ("t" * 65, "ü"):
        with refused(400, "InvalidParameter", "ClientToken"):
            service.ice.submit_media_producing_job(submission(client_token=token))


def test_jobs_move_by_the_clock_alone(clock: Clock, connect: Connect) -> None:
    settings = make_settings(
        queue_duration=MINUTE, task_duration=DAY, job_duration=MINUTE, failing=("*/broken/*",), listing_delay=MINUTE
    )
    broken = {"MediaURL": "https://out.oss-cn-hangzhou.aliyuncs.com/broken/a.mp4"}
    with Simulator(settings, clock=clock) as running:
        service = connect(running)
        fine = service.ice.submit_media_producing_job(submission(user_data='{"k":"v"}')).body.job_id
        failing = service.ice.submit_media_producing_job(submission(output_media_config=broken)).body.job_id

        def job(job_id: str) -> Any:
            request = models.GetMediaProducingJobRequest(job_id=job_id)
            return service.ice.get_media_producing_job(request).body.media_producing_job

        def listed() -> list[Any]:
            request = models.ListMediaProducingJobsRequest()
            jobs: list[Any] = service.ice.list_media_producing_jobs(request).body.media_producing_job_list
            return jobs

        assert (job(fine).status, job(fine).progress, listed()) == ("Init", 0, [])
        clock.now += MINUTE
        assert (job(fine).status, job(fine).modified_time) == ("Processing", "2026-03-01T12:01:00Z")
        clock.now += MINUTE
        assert [each.status for each in listed()] == ["Failed", "Success"]
        assert (job(failing).code, job(failing).complete_time) == ("InvalidMaterial", "2026-03-01T12:02:00Z")
        done = job(fine)
        assert (done.user_data, done.media_url, done.timeline) == (
            '{"k":"v"}',
            OUTPUT["MediaURL"],
            '{"VideoTracks": []}',
        )
        clock.now += 365 * DAY
        with refused(404, "InvalidJobId.NotFound"):
            job(fine)


def fill(service: Sdks, clock: Clock, count: int) -> list[str]:
    """Submit jobs, a day apart, the last of them now."""
    ids: list[str] = []
    clock.now = NOW - (count - 1) * DAY
    for _ in range(count):
        ids.append(
            service.ice.submit_media_producing_job(submission(timeline=None, project_id=f"p{len(ids)}")).body.job_id
        )
        clock.now += DAY
    clock.now = NOW
    return ids


def pages(service: Sdks, **fields: Any) -> list[list[str]]:
    """Return the job ids of every page."""
    found = []
    token = None
    while token is None or token:
        request = models.ListMediaProducingJobsRequest(next_token=token, **fields)
        body = service.ice.list_media_producing_jobs(request).body
        found.append([job.job_id for job in body.media_producing_job_list])
        token = body.next_token
    return found


def test_listings_page_and_filter(service: Sdks, clock: Clock) -> None:
    ids = fill(service, clock, 5)
    a, b, c, d, e = ids
    assert pages(service, max_results=2) == [[e, d], [c, b], [a]]
    assert pages(service, max_results=2, sort_by="CreationTime:Asc") == [[a, b], [c, d], [e]]
    assert pages(service, max_results=5) == [[e, d, c, b, a]]
    assert pages(service, status="Processing") == [[]]
    assert pages(service, status="Init") == [[e]]
    assert pages(service, keyword=c) == [[c]]
    assert pages(service, keyword="nothing") == [[]]
    assert pages(service, project_id="p1") == [[b]]
    assert pages(service, start_time="2026-02-27T12:00:00Z", end_time="2026-02-28T12:00:00Z") == [[d, c]]
    assert pages(service, job_type="EditingJob", master_job_id="m") == [[]]
    assert pages(service, job_type="VETemplateJob") == [[]]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"max_results": 100}, {"max_results": 101}),
        ({"max_results": 1}, {"max_results": 0}),
        (
            {"start_time": "2026-01-30T12:00:00Z", "end_time": "2026-03-01T12:00:00Z"},
            {"start_time": "2026-01-30T11:59:59Z", "end_time": "2026-03-01T12:00:00Z"},
        ),
        ({"start_time": "2026-01-30T12:00:00Z"}, {"start_time": "2026-01-30T11:59:59Z"}),
        ({"end_time": "2026-01-30T12:00:00Z"}, {"end_time": "2026-01-30 12:00"}),
        ({}, {"start_time": "2026-03-01T12:00:00Z", "end_time": "2026-03-01T11:00:00Z"}),
        ({"status": "Queuing"}, {"status": "Succeed"}),
        ({"job_type": "LiveEditingJob"}, {"job_type": "Script"}),
        ({"sort_by": "CreationTime:Desc"}, {"sort_by": "desc"}),
        ({"next_token": "1"}, {"next_token": "x"}),
        ({"next_token": "9" * 19}, {"next_token": "9" * 5000}),
    ],
)
def test_filters_have_documented_values(service: Sdks, good: dict[str, Any], bad: dict[str, Any]) -> None:
    service.ice.list_media_producing_jobs(models.ListMediaProducingJobsRequest(**good))
    with refused(400, "InvalidParameter"):
        service.ice.list_media_producing_jobs(models.ListMediaProducingJobsRequest(**bad))


def test_a_restart_knows_jobs_and_tokens(tmp_path: Path, clock: Clock, connect: Connect) -> None:
    path = tmp_path / "journal.jsonl"
    with Simulator(make_settings(), clock=clock, journal_path=path) as running:
        first = connect(running).ice.submit_media_producing_job(submission(client_token="t")).body.job_id
        before = running.accepted()
    with Simulator(make_settings(), clock=clock, journal_path=path) as running:
        assert running.accepted() == before
        assert connect(running).ice.submit_media_producing_job(submission(client_token="t")).body.job_id == first
        assert [each.repeat for each in running.accepted()] == [False, True]
    assert [json.loads(line)["client_token"] for line in path.read_text().splitlines()] == ["t", "t"]
