"""A ledger that does not know what it started is noticed before anything is called."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dispatcher.core.dispatch import dispatch_id
from dispatcher.core.outcomes import Started
from dispatcher.core.rules import InputType, WorkflowAction
from dispatcher.errors import CredentialsError, ServiceUnavailableError
from dispatcher.ledger import notices
from dispatcher.ledger.notices import NoticeCode
from dispatcher.ledger.tables import dispatches, rule_progress
from dispatcher.ledger.writing import put
from dispatcher.service.behind import LOOK_AGAIN, MOST_PAGES, MOST_WORKFLOWS, BehindGate
from dispatcher.service.starts import PAGE, ServiceStarts
from tests.service.conftest import Log, Scene, lines
from tests.service.fakes import make_rule, make_settings, service_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dispatcher.core.calls import Endpoint
    from dispatcher.core.jobs import EditingJob, JobFilter, Window

STRANGER = dispatch_id("r", "b", "in/lost.mp4", "c:e:1")


@dataclass
class ScriptedJobs:
    """The service's list of editing jobs."""

    jobs: list[EditingJob] = field(default_factory=list)

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        assert (endpoint.url, asked.page_size) != ("", 0)
        for job in self.jobs:
            if job.created_at is None or window.since <= job.created_at <= window.until:
                yield job


def gate(scene: Scene, jobs: ScriptedJobs | None = None) -> BehindGate:
    starts = ServiceStarts(scene.settings, scene.tasks, jobs or ScriptedJobs())
    return BehindGate(scene.ledger, starts, scene.clock)


def notice(scene: Scene, code: NoticeCode = NoticeCode.LEDGER_BEHIND) -> str | None:
    with scene.ledger.read() as tx:
        found = notices.standing(tx).get(code)
    return None if found is None else found.detail


def served(scene: Scene, at: datetime) -> None:
    """Let the ledger have recorded its last intent then."""
    with scene.ledger.write() as tx:
        put(tx, rule_progress, {"rule_id": "r", "served_at": at})


def test_an_account_without_starts_of_ours_opens_the_gate(scene: Scene) -> None:
    scene.tasks.pages["wf"] = [[service_task("t1", key="in/a.mp4"), service_task("t2", dispatch=STRANGER, key="out/a")]]
    found = gate(scene)
    assert found.is_open()
    assert not found.is_shut()
    assert notice(scene) is None
    assert found.is_open()
    assert len(scene.tasks.queries) == 1


def test_an_unknown_id_of_ours_shuts_it_until_it_is_recorded(scene: Scene, log: Log) -> None:
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=STRANGER)]]
    scene.tasks.pages[""] = scene.tasks.pages["wf"]
    found = gate(scene)
    assert not found.is_open()
    assert found.is_shut()
    assert STRANGER in str(notice(scene))
    assert "db adopt" in lines(log, "ledger.behind")[0]["hint"]
    scene.clock.later(seconds=LOOK_AGAIN.total_seconds() - 1)
    assert not found.is_open()
    assert len(scene.tasks.queries) == 1
    scene.clock.later(seconds=1)
    assert not found.is_open()
    assert len(scene.tasks.queries) == 2
    scene.tasks.pages[""] = [[service_task("t1", dispatch=called(scene, scene.record("in/a.mp4")[0]))]]
    scene.clock.later(minutes=1)
    assert found.is_open()
    assert notice(scene) is None
    assert len(lines(log, "ledger.behind")) == 1
    assert len(lines(log, "ledger.caught_up")) == 1


def called(scene: Scene, dispatch: str, attempts: int = 1) -> str:
    """Let the ledger have made so many calls of a dispatch."""
    with scene.ledger.write() as tx:
        tx.execute(update(dispatches).where(dispatches.c.dispatch_id == dispatch).values(attempt=attempts))
    return dispatch


def test_a_row_that_waits_for_what_was_called_already_is_behind_too(scene: Scene) -> None:
    [waiting] = scene.record("in/a.mp4")
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=waiting)]]
    assert not gate(scene).is_open()


def test_under_a_notice_every_start_is_read_not_only_the_newest(scene: Scene) -> None:
    known = called(scene, scene.record("in/a.mp4")[0])
    newest = [service_task("t2", dispatch=known, at=scene.clock()) for _ in range(PAGE)]
    older = [service_task("t1", dispatch=STRANGER, at=scene.clock() - timedelta(hours=1))]
    for workflow in ("wf", ""):
        scene.tasks.pages[workflow] = [newest, older]
    assert gate(scene).is_open()
    with scene.ledger.write() as tx:
        notices.post(tx, NoticeCode.LEDGER_BEHIND, "an adoption was interrupted", scene.clock())
    assert not gate(scene).is_open()


def test_without_a_falling_order_one_known_start_settles_nothing(scene: Scene) -> None:
    known = called(scene, scene.record("in/a.mp4")[0])
    rising = [service_task(f"t{n}", dispatch=known, at=scene.clock() + timedelta(seconds=n)) for n in range(PAGE)]
    scene.tasks.pages["wf"] = [rising, [service_task("new", dispatch=STRANGER)]]
    assert not gate(scene).is_open()


def test_an_old_ledger_is_compared_since_its_last_intent(scene: Scene) -> None:
    served(scene, scene.clock() - timedelta(days=3))
    scene.tasks.pages["wf"] = []
    assert gate(scene).is_open()
    [query] = scene.tasks.queries
    assert query.since == scene.clock() - timedelta(days=3, minutes=20)
    assert query.until == scene.clock() + timedelta(minutes=20)


def test_foreign_starts_are_not_read_without_end(scene: Scene) -> None:
    foreign = [service_task(f"t{n}") for n in range(PAGE)]
    scene.tasks.pages["wf"] = [*([foreign] * MOST_PAGES), [service_task("t", dispatch=STRANGER)]]
    assert gate(scene).is_open()


def test_many_workflows_are_listed_together(scene: Scene) -> None:
    rules = [make_rule(f"r{n}", f"in/{n}/", action=WorkflowAction(f"wf{n}")) for n in range(MOST_WORKFLOWS + 1)]
    scene.settings = make_settings(*rules)
    scene.tasks.pages[""] = []
    assert gate(scene).is_open()
    assert [query.workflow_id for query in scene.tasks.queries] == [""]


def test_without_permission_to_list_it_goes_on_with_a_warning(scene: Scene, log: Log) -> None:
    denied = CredentialsError("ListWorkflowTasks is refused", hint="grant it")
    scene.tasks.pages["wf"] = [denied]
    scene.tasks.pages[""] = [denied]
    assert gate(scene).is_open()
    assert len(lines(log, "ledger.not_compared")) == 1
    with scene.ledger.write() as tx:
        notices.post(tx, NoticeCode.LEDGER_BEHIND, "restored", scene.clock())
    shut = gate(scene)
    assert not shut.is_open()
    assert shut.is_shut()


def test_a_service_that_is_away_is_asked_again(scene: Scene) -> None:
    away = ServiceUnavailableError("no answer", hint="wait")
    scene.tasks.pages["wf"] = [away]
    found = gate(scene)
    assert not found.is_open()
    assert not found.is_shut()
    for _ in range(2):
        scene.clock.later(seconds=10)
        assert not found.is_open()
    assert found.is_shut()
    assert notice(scene, NoticeCode.NOT_COMPARED) == "no answer"
    scene.tasks.pages["wf"] = []
    scene.clock.later(seconds=10)
    assert found.is_open()
    assert notice(scene, NoticeCode.NOT_COMPARED) is None
    assert not found.is_shut()


@pytest.mark.parametrize("input_type", InputType)
def test_a_task_of_a_media_asset_may_be_that_of_a_rule_that_registers(scene: Scene, input_type: InputType) -> None:
    task = replace(service_task("t", dispatch=STRANGER), task_input='{"Type":"Media","Media":"m-1"}')
    scene.tasks.pages["wf"] = [[task]]
    scene.settings = make_settings(make_rule(action=WorkflowAction("wf", input_type=input_type)))
    assert gate(scene).is_open() is (input_type is InputType.OSS)


def test_a_worker_claims_nothing_while_the_gate_is_shut(scene: Scene) -> None:
    [waiting] = scene.record("in/a.mp4")
    scene.tasks.pages["wf"] = [[service_task("t1", dispatch=STRANGER, key="in/lost.mp4")]]
    worker = scene.worker(gate=gate(scene))
    assert worker.step() > timedelta()
    assert worker.idle(timedelta(minutes=1))  # nobody need wait for it
    assert scene.row(waiting).state == "pending"
    scene.tasks.pages[""] = []
    scene.target.expect("in/a.mp4", Started("t2"))
    scene.clock.later(minutes=1)
    worker.step()
    assert not worker.idle(timedelta(minutes=1))
    worker._collect(scene.settings.call_timeout)
    worker.step()
    assert scene.row(waiting).state == "started"
