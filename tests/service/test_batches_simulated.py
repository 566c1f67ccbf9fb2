"""Batches through the official SDK against the simulator: lost answers, and what `check --online` proves."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.batches import TAG
from dispatcher.errors import DispatcherError, ExitCode
from dispatcher.service.batching import CALLS, PAUSES, create_batch, plan_batch
from dispatcher.service.imm_probing import imm_findings
from dispatcher.simulator.faults import Fault, FaultPlan, ScriptedFault
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedProject
from dispatcher.targets.alibaba import AlibabaClients
from dispatcher.targets.batches import BatchTarget
from dispatcher.targets.imm import AlibabaBatches
from dispatcher.targets.ram import AlibabaRoles
from tests.simulator_fixtures import CREDENTIALS, make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.core.settings import Settings
    from dispatcher.service.batching import CreatedBatch

OUR_ID = "abcdefghijklmnopqrstuvwxyz"


class Place:
    """A simulator with one project, and a configuration for it."""

    def __init__(self, folder: Path, simulator: Simulator, clients: AlibabaClients) -> None:
        self.simulator = simulator
        self.folder = folder
        self.clients = clients
        self.pauses: list[float] = []

    def settings(self, project: str = "p1") -> Settings:
        rule = {"name": "a", "input": "http://media.oss-cn-hangzhou.aliyuncs.com/in/", "workflow": "w"}
        actions = [{"name": "n", "parameters": ["u=oss://media/out/{barename}.jpg"]}]
        imm = {"project": project, "endpoint": self.simulator.url, "actions": actions}
        path = self.folder / "config.yaml"
        path.write_text(json.dumps({"rules": [rule], "imm": imm}), "utf-8")
        return load(path, {})

    def create(self, *faults: ScriptedFault) -> CreatedBatch:
        self.simulator.set_faults(FaultPlan(script=faults))
        batches = AlibabaBatches(self.clients, pause=lambda _: None)
        plan = plan_batch(self.settings(), "a", None, OUR_ID)
        return create_batch(plan, BatchTarget(self.clients), batches, self.pauses.append)

    def findings(self, project: str = "p1") -> list[tuple[str, ExitCode]]:
        imm = AlibabaBatches(self.clients, pause=lambda _: None)
        found = imm_findings(self.settings(project), imm, AlibabaRoles(self.clients))
        return [(each.problem.code, each.exit_code) for each in found]


@contextmanager
def serving(folder: Path, *buckets: str) -> Iterator[Place]:
    settings = make_settings(projects=(SimulatedProject("p1", buckets), SimulatedProject("p2")))
    with (
        Simulator(settings) as simulator,
        closing(AlibabaClients(CREDENTIALS, call_timeout=timedelta(seconds=1))) as clients,
    ):
        yield Place(folder, simulator, clients)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serving(tmp_path, "media") as found:
        yield found


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.DROP, Fault.GARBLED, Fault.NO_TASK_ID, Fault.EMPTY])
def test_a_batch_whose_answer_is_lost_is_found_and_is_the_only_one(place: Place, fault: Fault) -> None:
    created = place.create(ScriptedFault(fault, "CreateBatch"))
    [call] = place.simulator.accepted("CreateBatch")
    assert (created.batch_id, created.listed) == (call.answer["Id"], True)
    assert json.loads(call.parameters["Tags"]) == {TAG: OUR_ID}
    assert place.pauses == list(PAUSES[:1])


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.DROP_BEFORE, Fault.GARBLED_BEFORE])
def test_a_call_that_did_not_arrive_is_made_again_after_proven_absence(place: Place, fault: Fault) -> None:
    created = place.create(ScriptedFault(fault, "CreateBatch"))
    [call] = place.simulator.accepted("CreateBatch")
    assert (created.batch_id, created.listed, created.others) == (call.answer["Id"], False, ())
    assert place.pauses == list(PAUSES)
    assert len(place.simulator.wire("ListBatches")) == len(PAUSES) + 1


def test_a_service_that_answers_nothing_leaves_it_unsettled(place: Place) -> None:
    with pytest.raises(DispatcherError) as unsettled:
        place.create(ScriptedFault(Fault.ERROR_BEFORE, "CreateBatch", times=CALLS))
    assert unsettled.value.exit_code is ExitCode.STOPPED_EARLY
    assert place.simulator.accepted("CreateBatch") == []


def test_a_project_with_its_bucket_is_proven(place: Place) -> None:
    assert place.findings() == []
    assert [each.api for each in place.simulator.wire()] == ["GetProject", "ListBatches", "GetOSSBucketAttachment"]


def test_project_and_binding_that_are_wrong_are_found(place: Place) -> None:
    assert place.findings("p9") == [("imm_project", ExitCode.CONFIG)]
    assert place.findings("p2") == [("imm_bucket", ExitCode.CONFIG)]


@pytest.mark.parametrize("action", ["GetProject", "ListBatches", "GetOSSBucketAttachment"])
def test_a_missing_permission_is_a_finding(place: Place, action: str) -> None:
    place.simulator.set_faults(FaultPlan(denied={action: "NoPermission"}))
    assert place.findings() == [("permission", ExitCode.CREDENTIALS)]


def test_a_bucket_that_is_bound_to_nothing_is_found(tmp_path: Path) -> None:
    with serving(tmp_path) as place:
        assert place.findings() == [("imm_bucket", ExitCode.CONFIG)]
