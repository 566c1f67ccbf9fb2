"""The options of `simulator`: what they set up, and what is refused before anything listens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_ice20201109 import models as ice
from alibabacloud_imm20200930 import models as imm
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from typer.testing import CliRunner

from dispatcher.cli.main import app
from dispatcher.core.calls import Endpoint
from dispatcher.core.settings import Credentials, Secret
from dispatcher.errors import ExitCode
from dispatcher.targets.alibaba import AlibabaClients, Product

if TYPE_CHECKING:
    from pathlib import Path


def codes(client: Any, *calls: tuple[str, Any]) -> list[str]:
    """Make calls; return the code of each refusal, empty for an answer."""
    found = []
    for method, request in calls:
        try:
            getattr(client, method)(request)
        except AlibabaCloudException as error:
            found.append(str(error.code))
        else:
            found.append("")
    return found


def test_options_set_up_the_account(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(
        '{"job_id": "q1", "status": "Failed"}\n\n{"job_id": "q2", "job_type": "Smart_Mix"}\n', encoding="utf-8"
    )
    words = ["--port", "0", "--quick-jobs", str(jobs), "--media", "m1=oss://media/a.mp4", "--template", "tpl"]
    words += ["--project", "p1=media,archive", "--quota", "GetProject=1", "--failing", "*broken*"]
    words += ["--callback-url", "http://127.0.0.1:9/cb", "--token-lifetime", "1h"]
    command = [sys.executable, "-m", "dispatcher", "simulator", *words]
    environment = os.environ | {"SIMULATOR_CALLBACK_KEY": "callback-key"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            printed = process.stdout.readline() + process.stdout.readline()
            endpoint = Endpoint("cn-hangzhou", printed.split('"')[1])
            keys = Credentials("simulator", Secret("simulator-secret"))
            with closing(AlibabaClients(keys, call_timeout=timedelta(seconds=20))) as clients:
                service, batches = clients.client(endpoint), clients.client(endpoint, Product.IMM)
                listed = service.list_batch_media_producing_jobs(ice.ListBatchMediaProducingJobsRequest()).body
                assert {job.job_id: job.status for job in listed.editing_batch_job_list} == {
                    "q1": "Failed",
                    "q2": "Finished",
                }
                output = json.dumps({"MediaURL": "oss://out/a.mp4"})
                assert codes(
                    service,
                    ("get_media_info", ice.GetMediaInfoRequest(input_url="oss://media/a.mp4")),
                    ("get_media_info", ice.GetMediaInfoRequest(media_id="m2")),
                    *(
                        (
                            "submit_media_producing_job",
                            ice.SubmitMediaProducingJobRequest(
                                template_id=template, clips_param="{}", output_media_config=output
                            ),
                        )
                        for template in ("tpl", "other")
                    ),
                ) == ["", "InvalidMedia.NotFound", "", "InvalidTemplate.NotFound"]
                assert codes(
                    batches,
                    ("get_project", imm.GetProjectRequest(project_name="p1")),
                    ("get_project", imm.GetProjectRequest(project_name="p1")),
                    ("get_ossbucket_attachment", imm.GetOSSBucketAttachmentRequest(ossbucket="archive")),
                ) == ["", "Throttling.User", ""]
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
    assert "0 tasks were started, 1 other calls accepted" in said
    assert "callback-key" not in printed + said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--media", "m1"], "m1=oss://"),
        (["--media", "m1=oss://bucket"], "names a bucket"),
        (["--project", "p1="], "--project my-project="),
        (["--quota", "CreateBatch=many"], "many is no number"),
        (["--quota", "DropBatch=1"], "there is no action DropBatch"),
        (["--quick-jobs", "/nowhere/jobs.jsonl"], "--quick-jobs /nowhere/jobs.jsonl"),
        (["--callback-url", "127.0.0.1:8081"], "not an http or https URL"),
        (["--callback-url", "https://cb.example.com/"], "--allow-remote-callbacks"),
        (["--token-lifetime", "soon"], "--token-lifetime"),
    ],
)
def test_wrong_options_say_what_to_write(words: list[str], said: str) -> None:
    answer = CliRunner().invoke(app, ["simulator", "--port", "0", *words])
    assert answer.exit_code == ExitCode.USAGE
    assert said in str(answer.exception) + str(getattr(answer.exception, "hint", "")) + answer.output


def test_a_wrong_line_of_quick_jobs_is_named(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"job_id": "q1"}\n{"job_id": "q2", "status": "Success"}\n', encoding="utf-8")
    answer = CliRunner().invoke(app, ["simulator", "--port", "0", "--quick-jobs", str(jobs)])
    assert "line 2" in str(answer.exception) + answer.output
