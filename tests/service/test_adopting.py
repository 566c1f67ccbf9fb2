"""Tasks of the service become starts that this ledger knows, so that nothing starts twice."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.dispatch import DispatchState, attempt_token, content_identity, dispatch_id
from dispatcher.core.events import normalise_etag
from dispatcher.core.jobs import EditingJob
from dispatcher.core.rules import EditingAction
from dispatcher.errors import BucketDeniedError, ServiceUnavailableError
from dispatcher.ledger import counting, notices
from dispatcher.ports import Batch
from dispatcher.service.adopting import Adopting
from dispatcher.service.adoption import Adoption, NotAdopted
from dispatcher.service.starts import PAGE, ServiceStarts, earliest
from dispatcher.sources.store import ObjectHead
from tests.service.fakes import MODIFIED, NOW, make_rule, make_settings, seen, service_task
from tests.service.test_behind import ScriptedJobs, gate, notice, served

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.errors import DispatcherError
    from tests.service.conftest import Scene

ETAG, SIZE = "e1", 7
IDENTITY = content_identity(ETAG, SIZE)


@dataclass
class Shelf:
    """A bucket whose objects all have one content, unless a test says otherwise."""

    objects: dict[str, ObjectHead | DispatcherError | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def head(self, key: str, stop: threading.Event) -> ObjectHead | None:
        assert not stop.is_set()
        self.asked.append(key)
        found = self.objects.get(key, ObjectHead(normalise_etag(ETAG), SIZE, MODIFIED))
        if isinstance(found, Exception):
            raise found
        return found


def adopt(
    scene: Scene,
    shelf: Shelf | None = None,
    *,
    jobs: ScriptedJobs | None = None,
    since: datetime | None = None,
    foreign: bool = False,
    dry_run: bool = False,
) -> Adoption:
    starts = ServiceStarts(scene.settings, scene.tasks, jobs or ScriptedJobs())
    adopting = Adopting(
        scene.settings,
        scene.ledger,
        starts,
        {"b": shelf or Shelf()},
        scene.clock,
        threading.Event(),
        foreign=foreign,
        dry_run=dry_run,
    )
    return adopting.adopt(since or earliest(scene.clock()), scene.clock() + timedelta(minutes=20))


def own(key: str, rule: str = "r", run: str = "") -> str:
    return dispatch_id(rule, "b", key, IDENTITY, run)


def tell(scene: Scene, *pages: object) -> None:
    scene.tasks.pages[""] = list(pages)  # type: ignore[arg-type]  # pages or an error


def test_a_start_of_ours_becomes_a_row_and_is_never_recorded_again(scene: Scene) -> None:
    tell(scene, [service_task("t1", dispatch=own("in/a.mp4"), attempt=3, status="Succeed")])
    done = adopt(scene)
    assert (done.rows, done.tombstones, done.known, done.complete, done.behind) == (1, 0, 0, True, False)
    row = scene.row(own("in/a.mp4"))
    assert (row.rule, row.key, row.state, row.task_id, row.task_status) == (
        "r", "in/a.mp4", DispatchState.STARTED, "t1", "Succeed",
    )  # fmt: skip
    assert (row.source, row.started_at, row.workflow) == ("adopted", NOW, "wf")
    assert scene.intake().take(Batch([seen("in/a.mp4")])).recorded == 0
    again = adopt(scene)
    assert (again.rows, again.known) == (0, 1)


def test_a_start_of_older_content_or_of_a_named_run_leaves_its_id(scene: Scene) -> None:
    scene.intake()
    older = dispatch_id("r", "b", "in/a.mp4", content_identity("e0", 3))
    rerun = own("in/a.mp4", run="spring")
    tell(scene, [service_task("t1", dispatch=older), service_task("t2", dispatch=rerun)])
    done = adopt(scene)
    assert (done.rows, done.tombstones) == (0, 2)
    assert scene.intake().take(Batch([seen("in/a.mp4", "e0", 3)])).recorded == 0
    assert scene.intake().take(Batch([seen("in/a.mp4")])).recorded == 1


def test_an_object_that_cannot_be_read_leaves_its_id_and_a_store_that_is_away_ends_it(scene: Scene) -> None:
    tell(scene, [service_task("t1", dispatch=own("in/a.mp4"))], [service_task("t2", dispatch=own("in/b.mp4"))])
    refused = BucketDeniedError("no", hint="grant")
    done = adopt(scene, Shelf({"in/a.mp4": refused, "in/b.mp4": None}))
    assert (done.tombstones, done.unreadable) == (2, "no")
    tell(scene, [service_task("t3", dispatch=own("in/c.mp4"), key="in/c.mp4")])
    with pytest.raises(ServiceUnavailableError):
        adopt(scene, Shelf({"in/c.mp4": ServiceUnavailableError("away", hint="wait")}))
    assert notice(scene) is not None  # what was not finished is known to be unfinished
    adopt(scene)
    assert notice(scene) is None


def test_a_renamed_rule_finds_the_starts_of_its_former_name(scene: Scene) -> None:
    scene.settings = make_settings(make_rule("new", was=("r",)))
    tell(scene, [service_task("t1", dispatch=own("in/a.mp4", "r"))])
    assert adopt(scene).rows == 1
    assert scene.row(own("in/a.mp4", "r")).rule == "new"
    assert scene.intake().take(Batch([seen("in/a.mp4")])).recorded == 0


def test_what_was_recorded_meanwhile_under_a_new_name_counts_as_started_too(scene: Scene) -> None:
    scene.settings = make_settings(make_rule("new", was=("r",)))
    [waiting] = scene.record("in/a.mp4")
    former = own("in/a.mp4", "r")
    tell(scene, [service_task("t1", dispatch=former, status="Failed")])
    done = adopt(scene, Shelf({"in/a.mp4": ObjectHead("e9", 9, MODIFIED)}))
    assert (done.tombstones, done.rows, done.settled) == (1, 0, 1)
    assert (scene.row(waiting).state, scene.row(waiting).task_id) == (DispatchState.STARTED, "t1")
    again = adopt(scene)
    assert (again.known, again.settled, again.double_starts, again.tombstones) == (1, 0, 0, 0)


def test_rows_that_exist_are_settled_by_the_same_evidence_as_in_a_sweep(scene: Scene) -> None:
    [waiting] = scene.record("in/a.mp4")
    tell(
        scene,
        [
            service_task("t1", dispatch=waiting, status="Failed"),
            service_task("t2", dispatch=waiting, status="Succeed"),
            service_task("t3", dispatch=own("in/z.mp4"), key="elsewhere/z.mp4"),
        ],
    )
    shelf = Shelf()
    done = adopt(scene, shelf)
    assert (done.settled, done.finished, done.double_starts, done.elsewhere, done.known) == (1, 1, 1, 1, 2)
    assert scene.row(waiting).task_id == "t1"
    assert shelf.asked == []


def test_an_old_ledger_learns_what_it_called_since(scene: Scene) -> None:
    [waiting] = scene.record("in/a.mp4")
    tell(scene, [service_task("t2", dispatch=waiting, attempt=2, key="in/a.mp4")])
    scene.tasks.pages["wf"] = scene.tasks.pages[""]
    assert not gate(scene).is_open()
    assert adopt(scene).settled == 1
    assert (scene.row(waiting).state, scene.row(waiting).workflow) == (DispatchState.STARTED, "wf")
    assert gate(scene).is_open()


def test_two_tasks_of_one_unknown_dispatch_are_a_double_start(scene: Scene) -> None:
    tasks = [service_task("new", dispatch=own("in/a.mp4"), attempt=2), service_task("old", dispatch=own("in/a.mp4"))]
    tell(scene, tasks)
    done = adopt(scene)
    assert (done.rows, done.double_starts) == (1, 1)
    assert scene.row(own("in/a.mp4")).task_id == "new"
    with scene.ledger.read() as tx:
        assert counting.double_count(tx) == 1


def test_tasks_of_another_starter_are_only_counted_unless_asked_for(scene: Scene) -> None:
    tell(scene, [service_task("t1"), service_task("t2", key="elsewhere/x.mp4"), service_task("t3", workflow="other")])
    done = adopt(scene)
    assert (done.without_id, done.elsewhere, done.foreign_rows) == (1, 2, 0)
    assert scene.rows() == []


def test_a_foreign_task_counts_as_the_start_of_the_content_it_read(scene: Scene) -> None:
    tell(
        scene,
        [
            service_task("t1", key="in/a.mp4", status="Succeed"),
            service_task("t2", key="in/newer.mp4"),
            service_task("t3", key="in/gone.mp4"),
            service_task("t4", key="in/denied.mp4"),
            service_task("t5", key="in/a.mp4", at=NOW - timedelta(minutes=1)),
        ],
    )
    shelf = Shelf(
        {
            "in/newer.mp4": ObjectHead(ETAG, SIZE, NOW + timedelta(seconds=1)),
            "in/gone.mp4": None,
            "in/denied.mp4": BucketDeniedError("no", hint="grant"),
        }
    )
    done = adopt(scene, shelf, foreign=True)
    assert (done.without_id, done.foreign_rows) == (5, 1)
    assert done.not_adopted == dict.fromkeys(
        [NotAdopted.NEWER, NotAdopted.GONE, NotAdopted.UNREADABLE, NotAdopted.STARTED], 1
    )
    assert done.examples[NotAdopted.GONE] == ("b", "in/gone.mp4")
    assert (scene.row(own("in/a.mp4")).task_id, scene.row(own("in/a.mp4")).task_status) == ("t1", "Succeed")
    again = adopt(scene, shelf, foreign=True)
    assert (again.foreign_rows, again.foreign_settled, again.known) == (0, 0, 1)


def test_a_foreign_task_settles_a_row_that_waits_and_it_is_followed(scene: Scene) -> None:
    [waiting] = scene.record("in/a.mp4")
    tell(scene, [service_task("t1", key="in/a.mp4", at=NOW - timedelta(hours=7))])
    done = adopt(scene, Shelf({"in/a.mp4": ObjectHead(ETAG, SIZE, NOW - timedelta(hours=8))}), foreign=True)
    assert (done.foreign_rows, done.foreign_settled) == (0, 1)
    assert (scene.row(waiting).state, scene.row(waiting).task_id) == (DispatchState.STARTED, "t1")
    scene.tasks.single["t1"] = service_task("t1", status="Succeed")
    scene.clock.later(minutes=1)
    scene.upkeep().tick()
    assert scene.row(waiting).task_status == "Succeed"


def test_a_dry_run_writes_nothing(scene: Scene) -> None:
    tell(scene, [service_task("t1", dispatch=own("in/a.mp4")), service_task("t2", key="in/b.mp4")])
    done = adopt(scene, foreign=True, dry_run=True)
    assert (done.rows, done.foreign_rows) == (1, 1)
    assert scene.rows() == []
    assert notice(scene) is None


def test_a_window_too_short_leaves_the_ledger_behind(scene: Scene) -> None:
    tell(scene)
    assert adopt(scene, since=NOW - timedelta(days=2)).behind
    assert notice(scene) is not None
    served(scene, NOW - timedelta(days=1))
    assert not adopt(scene, since=NOW - timedelta(days=2)).behind
    assert notice(scene) is None


def test_an_adoption_that_breaks_goes_on_where_it_was(scene: Scene) -> None:
    pages = [
        [service_task(f"t{p}-{n}", dispatch=own(f"in/{p}-{n}.mp4"), key=f"in/{p}-{n}.mp4") for n in range(PAGE)]
        for p in range(2)
    ]
    tell(scene, pages[0], ServiceUnavailableError("away", hint="wait"))
    with pytest.raises(ServiceUnavailableError):
        adopt(scene)
    assert len(scene.rows()) == PAGE
    tell(scene, *pages)
    done = adopt(scene)
    assert (done.known, done.rows) == (PAGE, PAGE)
    with scene.ledger.read() as tx:
        assert notices.standing(tx) == {}


def test_editing_jobs_leave_their_ids(scene: Scene) -> None:
    editing = EditingAction({"MediaURL": "https://x/{key}"}, template_id="tpl")
    scene.settings = make_settings(make_rule(action=editing))
    mine = own("in/a.mp4")
    user_data = f'{{"DispatchId":"{attempt_token(mine, 1)}"}}'
    jobs = ScriptedJobs(
        [
            EditingJob("j1", "Success", user_data, template_id="tpl", created_at=NOW - timedelta(days=40)),
            EditingJob("j2", "Success", user_data.replace(mine, own("x")), template_id="other", created_at=NOW),
        ]
    )
    done = adopt(scene, jobs=jobs)
    assert (done.tombstones, done.elsewhere) == (1, 1)
    assert scene.intake().take(Batch([seen("in/a.mp4")])).recorded == 0
