"""`check --online` on a real S3 server and the simulator: each missing permission by name, each start not ours."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.config import load
from dispatcher.core.calls import WorkflowCall
from dispatcher.core.dispatch import attempt_token, content_identity, dispatch_id
from dispatcher.core.outcomes import Started
from dispatcher.ledger import recording
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.recording import NewDispatch
from dispatcher.simulator.faults import FaultPlan
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.target import AlibabaTarget
from tests.cli.desk import Shell
from tests.simulator_fixtures import ACCESS_KEY_ID, ACCESS_KEY_SECRET, CREDENTIALS, endpoint_of, simulator

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server
    from dispatcher.simulator.server import Simulator

__all__ = ["simulator"]

IDENTITY = content_identity("e", 1)


class Place:
    """A configuration on the running servers; each part can be made wrong."""

    def __init__(self, directory: Path, store: S3Server, bucket: str, service: Simulator) -> None:
        self.bucket = bucket
        self._config = directory / "online.yaml"
        self._text = json.dumps(
            {
                "buckets": [
                    {
                        "name": bucket,
                        "region": "cn-hangzhou",
                        "endpoint": store.endpoint,
                        "addressing": "path",
                        "credentials": {
                            "type": "access_key",
                            "access_key_id": store.access_key_id,
                            "access_key_secret": store.access_key_secret.value,
                        },
                    }
                ],
                "ims": {"endpoint": service.url},
                "credentials": {
                    "type": "access_key",
                    "access_key_id": ACCESS_KEY_ID,
                    "access_key_secret": ACCESS_KEY_SECRET.value,
                },
                "rules": [
                    {
                        "name": "transcode",
                        "input": f"s3://{bucket}/incoming/",
                        "extensions": ["mp4"],
                        "workflow": {"id": "w1", "media_url": f"oss://{bucket}/{{key}}"},
                    }
                ],
                "never_trigger": [f"s3://{bucket}/out/"],
                "limits": {"call_timeout": "2s"},
            }
        )

    def check(self, *replace: tuple[str, str]) -> tuple[int, list[dict[str, Any]]]:
        text = self._text
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        self._config.write_text(text, encoding="utf-8")
        ran = Shell(self._config)("check", "--online", "-o", "json")
        return ran.code, json.loads(ran.out)["problems"]

    def ledger(self) -> Ledger:
        self._config.write_text(self._text, encoding="utf-8")
        return Ledger.open(load(self._config, {}).ledger.url)


@pytest.fixture
def place(tmp_path: Path, seaweedfs: S3Server, bucket: tuple[Any, str], simulator: Simulator) -> Place:
    return Place(tmp_path, seaweedfs, bucket[1], simulator)


def test_all_is_well_and_nothing_was_started_or_made(place: Place, simulator: Simulator, tmp_path: Path) -> None:
    assert place.check() == (0, [])
    assert simulator.journal() == []
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("action", ["StartWorkflow", "ListWorkflowTasks", "GetWorkflowTask"])
def test_a_missing_permission_is_named(place: Place, simulator: Simulator, action: str) -> None:
    simulator.set_faults(FaultPlan(denied={action: "NoPermission"}))
    code, [problem] = place.check()
    assert (code, problem["code"], problem["severity"]) == (77, "permission", "error")
    assert f"ice:{action}" in problem["message"]
    assert f"grant ice:{action}" in problem["hint"]


EDITING = {
    "template": "t1",
    "clips_param": {"Video": "oss://mirror/{key}"},
    "output_media_config": {"MediaURL": "oss://mirror/made/{key}"},
}
EDITING_ACTIONS = ["SubmitMediaProducingJob", "ListMediaProducingJobs", "GetMediaProducingJob"]


@pytest.mark.parametrize(
    ("kind", "action"),
    [("media", "RegisterMediaInfo"), ("media", "GetMediaInfo")] + [("editing", each) for each in EDITING_ACTIONS],
)
def test_only_the_calls_of_the_rules_are_tried_and_nothing_is_made(
    place: Place, simulator: Simulator, kind: str, action: str
) -> None:
    workflow = f'"workflow": {json.dumps({"id": "w1", "media_url": f"oss://{place.bucket}/{{key}}"})}'
    swap = {
        "media": ('"workflow": {', '"workflow": {"input_type": "media", '),
        "editing": (workflow, f'"editing": {json.dumps(EDITING)}'),
    }[kind]
    others = ["StartWorkflow", "ListWorkflowTasks", "RegisterMediaInfo"] if kind == "editing" else EDITING_ACTIONS
    simulator.set_faults(FaultPlan(denied=dict.fromkeys(others, "NoPermission")))
    assert place.check(swap) == (0, [])
    simulator.set_faults(FaultPlan(denied={action: "NoPermission"}))
    code, [problem] = place.check(swap)
    assert (code, problem["code"]) == (77, "permission")
    assert f"grant ice:{action}" in problem["hint"]
    assert simulator.journal() == []


def test_a_wrong_bucket_secret_is_a_missing_permission(place: Place, seaweedfs: S3Server) -> None:
    code, [problem] = place.check((seaweedfs.access_key_secret.value, "not-the-secret"))
    assert (code, problem["code"]) == (77, "permission")
    assert place.bucket in problem["message"]
    assert "ListBucket" in problem["hint"]
    assert "not-the-secret" not in json.dumps(problem)


def test_a_bucket_that_does_not_exist_is_a_wrong_configuration(place: Place) -> None:
    code, [problem] = place.check((place.bucket, "no-such-bucket"))
    assert (code, problem["code"]) == (78, "bucket_missing")


def test_a_service_that_is_away_is_unavailable(place: Place, simulator: Simulator) -> None:
    simulator.stop()
    code, problems = place.check()
    assert code == 69
    assert {problem["code"] for problem in problems} == {"service_unreachable"}


def test_the_built_in_trigger_is_found(place: Place, simulator: Simulator) -> None:
    for number in range(3):
        simulator.trigger("w1", f"oss://{place.bucket}/incoming/{number}.mp4")
    simulator.trigger("w1", f"oss://{place.bucket}/elsewhere/x.mp4")
    code, [problem] = place.check()
    assert (code, problem["code"], problem["severity"]) == (0, "foreign_start", "warning")
    assert problem["rules"] == ["transcode"]
    assert "3 tasks" in problem["message"]
    assert problem["witness"].startswith(f"oss://{place.bucket}/incoming/")
    assert "set Trigger mode to Manual" in problem["hint"]


def test_ids_of_this_ledger_are_ours_and_ids_of_another_are_not(place: Place, simulator: Simulator) -> None:
    keys = ["incoming/ours.mp4", "incoming/theirs.mp4"]
    ids = [dispatch_id("transcode", place.bucket, key, IDENTITY) for key in keys]
    with closing(place.ledger()) as ledger, ledger.write() as tx:
        row = NewDispatch(ids[0], "transcode", place.bucket, keys[0], "e", 1, "", "poll", None)
        recording.record(tx, [row], datetime.now(UTC))
    with closing(AlibabaClients(CREDENTIALS, call_timeout=timedelta(seconds=5))) as clients:
        for each, key in zip(ids, keys, strict=True):
            media = json.dumps({"Type": "OSS", "Media": f"oss://{place.bucket}/{key}"})
            user_data = json.dumps({"DispatchId": attempt_token(each, 1)})
            call = WorkflowCall(endpoint_of(simulator), "w1", media, user_data)
            assert isinstance(AlibabaTarget(clients).start(call), Started)
    code, [problem] = place.check()
    assert (code, problem["code"]) == (0, "foreign_start")
    assert problem["witness"] == f"oss://{place.bucket}/{keys[1]}"
    assert "another dispatcher" in problem["hint"]
