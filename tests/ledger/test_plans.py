"""Each index has its query, and each hot query its index: a scan of all rows would grow with the ledger."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from dispatcher.core.backfilling import BackfillKind
from dispatcher.core.calls import Api, Endpoint, JobQuery, Stage, TaskHint, TaskQuery
from dispatcher.core.dispatch import DispatchState, content_identity, dispatch_id
from dispatcher.ledger import (
    announcing,
    backfills,
    claiming,
    counting,
    following,
    joining,
    measuring,
    pruning,
    quarantine,
    recording,
    repeating,
    sending,
    sightings,
    viewing,
)
from dispatcher.ledger.backfills import NewBackfill
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.rulesets import RuleFacts
from dispatcher.ledger.sending import Incarnation
from dispatcher.ports import Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from tests.ledger.conftest import Desk

WORKFLOW = Endpoint("cn-hangzhou", "https://ice.example")


def _record(tx: Connection, now: datetime) -> None:
    made = dispatch_id("r", "b", "k", content_identity("e", 7))
    recording.record(tx, [NewDispatch(made, "r", "b", "k", "e", 7, "", "poll", None)], now)


def _record_known(tx: Connection, now: datetime) -> None:
    _record(tx, now)
    _record(tx, now)


HOT: dict[str, tuple[Callable[[Connection, datetime], object], str]] = {
    "record": (_record, "ix_dispatches_object"),
    "due": (lambda tx, now: claiming.due(tx, rule_ids=["r"], now=now, limit=8), "ix_dispatches_pending"),
    "next due": (lambda tx, now: claiming.next_due_at(tx, ["r"], now), "ix_dispatches_pending"),
    "repeats": (lambda tx, now: repeating.next_repeat_at(tx, ["r"], WORKFLOW, now), "ix_dispatches_repeating"),
    "hints": (
        lambda tx, _now: following.worth_asking(tx, TaskHint(Api.START_WORKFLOW, "t", ("a" * 26, 1))),
        "ix_dispatches_followed_task",
    ),
    "expected jobs": (
        lambda tx, now: following.expected(tx, JobQuery(WORKFLOW, now, now), now, called_until=now),
        "ix_dispatches_uncertain",
    ),
    "first of two": (
        lambda tx, now: claiming.due(tx, rule_ids=["r"], now=now, limit=8, stage=Stage.REGISTER),
        "ix_dispatches_pending",
    ),
    "recover": (lambda tx, now: sending.recover(tx, Incarnation(9), now), "ix_dispatches_sending"),
    "expected": (
        lambda tx, now: following.expected(tx, TaskQuery(WORKFLOW, "wf", now, now), now, called_until=now),
        "ix_dispatches_uncertain",
    ),
    "stragglers": (
        lambda tx, now: following.stragglers(tx, now, follow_since=now, limit=9),
        "ix_dispatches_following",
    ),
    "sweeps": (lambda tx, now: following.sweeps_needed(tx, now, follow_since=now), "ix_dispatches_following"),
    "prune": (lambda tx, now: pruning.prune(tx, now, now=now), "ix_dispatches_finished"),
    "jobs": (lambda tx, _now: list(joining.by_job_id(tx, ["j1", "j2"])), "ix_dispatches_job"),
    "dead": (lambda tx, _now: counting.dead_codes(tx), "ix_dispatches_dead"),
    "failed lately": (counting.failed_since, "ix_dispatches_finished"),
    "sightings": (lambda tx, now: sightings.due(tx, now, limit=9), "ix_sightings_due"),
    "sightings of keys": (lambda tx, _now: sightings.waits_for(tx, "b", ["k"]), "sqlite_autoindex_sightings_1"),
    "quarantine": (
        lambda tx, now: quarantine.record(tx, [Undecodable("s", b"x", "why", None)], now),
        "ix_quarantine_body",
    ),
    "missed": (announcing.count_missed, "ix_unannounced_at"),
    "announced": (lambda tx, _now: announcing.announced(tx, "b", ["k"]), "PRIMARY KEY (bucket=? AND key=?)"),
    "old sweeps": (pruning.prune_sweeps, "ix_sweeps_at"),
    "due of backfills": (
        lambda tx, now: claiming.due(tx, rule_ids=["r"], now=now, limit=400),
        "ix_dispatches_backfill_pending",
    ),
    "rows of a backfill": (lambda tx, _now: backfills.counts(tx, 1), "ix_dispatches_backfill_state"),
    "tasks of a backfill": (lambda tx, _now: backfills.running(tx, 1), "ix_dispatches_backfill_running"),
    "backfill's way out": (_record_known, "sqlite_autoindex_dispatches_1 (dispatch_id=?)"),
    "newest": (lambda tx, now: viewing.newest(tx, Selector(limit=9), now), "ix_dispatches_seen"),
    "newest but one page": (
        lambda tx, now: viewing.newest(tx, Selector(rules=("r",), limit=9), now, after=(now, "a")),
        "ix_dispatches_seen",
    ),
    "newest dead": (
        lambda tx, now: viewing.newest(tx, Selector(states=(DispatchState.DEAD,), limit=9), now),
        "ix_dispatches_dead",
    ),
    "newest of a folder": (
        lambda tx, now: viewing.newest(tx, Selector(key="in/*", limit=9), now),
        "ix_dispatches_object (rule_id=? AND bucket=? AND key>? AND key<?)",
    ),
    "newest of an object": (
        lambda tx, now: viewing.newest(tx, Selector(objects=(("b", "k"),), limit=9), now),
        "ix_dispatches_object (rule_id=? AND bucket=? AND key=?)",
    ),
    "newest failed tasks": (
        lambda tx, now: viewing.newest(tx, Selector(task_statuses=("Failed",), limit=9), now),
        "ix_dispatches_counted (rule_id=? AND state=? AND task_status=?)",
    ),
    "changed": (lambda tx, now: viewing.changed(tx, now, timedelta(hours=1)), "ix_dispatches_finished"),
    "dead of late": (lambda tx, now: viewing.changed(tx, now, timedelta(hours=1)), "ix_dispatches_dead"),
    "failures": (lambda tx, _now: viewing.failures(tx), "ix_dispatches_dead"),
    "failed tasks": (viewing.failed_tasks, "ix_dispatches_finished"),
    "states": (lambda tx, _now: viewing.states_by_rule(tx), "COVERING INDEX ix_dispatches_counted"),
    "counted": (lambda tx, _now: measuring.dispatch_counts(tx), "ix_dispatches_counted"),
    "oldest pending": (lambda tx, _now: measuring.oldest_pending(tx), "ix_dispatches_pending"),
    "oldest uncertain": (lambda tx, _now: measuring.oldest_uncertain(tx), "ix_dispatches_uncertain"),
    "cancelled": (backfills.skip_cancelled, "ix_dispatches_backfill_state"),
}

SCAN = re.compile(r"SCAN (dispatches|outcomes|attempts|tombstones|sightings|quarantine|unannounced)\b")
WHOLE = {"ix_dispatches_object", "ix_sightings_due", "ix_sweeps_at", "ix_quarantine_body", "ix_unannounced_at"}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_uses_its_index_and_scans_no_rows(desk: Desk, name: str) -> None:
    query, index = HOT[name]
    desk.rules(RuleFacts("r", (), "oss://b/in/", "wf", budget=5))
    desk.record(*(str(i) for i in range(300)))
    for asked in ("first", "second"):
        with desk.ledger.write() as tx:
            number = backfills.create(tx, NewBackfill(BackfillKind.BACKFILL, asked, "{}"), desk.now).number
        desk.record(*(f"{asked}{i}" for i in range(50)), source="backfill", backfill=number)
        if asked == "second":
            with desk.ledger.write() as tx:
                backfills.cancel(tx, number, desk.now)
    plans: list[str] = []

    def explain(
        _connection: object, cursor: object, statement: str, parameters: object, _context: object, _many: object
    ) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            assert hasattr(cursor, "connection")
            some = parameters[0] if isinstance(parameters, list) else parameters
            plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", some))

    with desk.ledger.write() as tx:
        event.listen(tx, "before_cursor_execute", explain)
        query(tx, desk.now)
    assert any(index in plan for plan in plans), plans
    scans = [
        plan
        for plan in plans
        if re.match(r"SCAN (dispatches|outcomes|attempts|tombstones|sightings|quarantine|unannounced)\b", plan)
    ]
    # A partial index holds only the rows in question: to walk all of it is no scan of the ledger.
    assert [plan for plan in scans if index not in plan or index in WHOLE] == []
