"""Jobs find their rows: by the dispatch id they carry, also of a pruned one, or by the job's own id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, update

from dispatcher.core.dispatch import DispatchState, id_to_bytes
from dispatcher.ledger.joining import JoinedRow, by_dispatch_id, by_job_id
from dispatcher.ledger.tables import dispatches, tombstones

if TYPE_CHECKING:
    from tests.ledger.conftest import Desk

PRUNED = "a" * 26
STRANGER = "b" * 25 + "a"


def test_rows_are_found_by_id_and_of_a_pruned_one_its_tombstone(desk: Desk) -> None:
    [known] = desk.record("incoming/\udcff.mp4")
    with desk.ledger.write() as tx:
        tx.execute(insert(tombstones), {"id": id_to_bytes(PRUNED), "state": "started", "task_id": "j9"})
    with desk.ledger.read() as tx:
        found = {row.dispatch_id: row for row in by_dispatch_id(tx, {known, PRUNED, STRANGER})}
    assert found == {
        known: JoinedRow(known, DispatchState.PENDING, None, "r", "b", "incoming/\udcff.mp4"),
        PRUNED: JoinedRow(PRUNED, DispatchState.STARTED, "j9"),
    }


def test_a_job_id_finds_editing_jobs_and_no_workflow_task_of_that_id(desk: Desk) -> None:
    editing, workflow = desk.record("a.mp4", "b.mp4")
    with desk.ledger.write() as tx:
        for each, api in ((editing, "SubmitMediaProducingJob"), (workflow, "StartWorkflow")):
            tx.execute(update(dispatches).where(dispatches.c.dispatch_id == each).values(api=api, task_id="j1"))
    with desk.ledger.read() as tx:
        assert [row.dispatch_id for row in by_job_id(tx, ["j1", "j2"])] == [editing]
