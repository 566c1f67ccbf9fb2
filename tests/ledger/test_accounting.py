"""The account: the same before and after pruning, and honest about what it cannot tell."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.account import By
from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState, id_to_bytes
from dispatcher.core.outcomes import NotSent, Started
from dispatcher.ledger import accounting, measuring, operating, pruning
from dispatcher.ledger.accounting import Entry, Group, Span, shown_extension
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.rulesets import RuleFacts
from dispatcher.ledger.tables import tombstones
from dispatcher.ledger.writing import insert_new

if TYPE_CHECKING:
    from tests.ledger.conftest import Desk

EVER = Span()


def account(desk: Desk, by: By, span: Span = EVER) -> dict[Group, Entry]:
    with desk.ledger.read() as tx:
        return accounting.account(tx, span, by)


def prune(desk: Desk) -> None:
    desk.later(days=200)
    with desk.ledger.write() as tx:
        while pruning.prune(tx, desk.now, now=desk.now):
            pass


@pytest.fixture
def worked(desk: Desk) -> Desk:
    """Two started (one of them after a call that never left), one skipped, one of a named run, on two days."""
    desk.rules(RuleFacts("r", (), "in/", "wf"))
    [first, second, third] = desk.record("in/a.mp4", "in/b.MOV", "in/c")
    with desk.ledger.write() as tx:
        operating.skip(tx, Selector(ids=(third,)), desk.now)
    for claim in desk.claim():
        desk.settle(claim, NotSent("no route"))
    desk.later(hours=1)
    for claim in desk.claim():
        desk.settle(claim, Started(f"t-{claim.dispatch.key}"))
    desk.find(first, "t-in/a.mp4", "Succeed")
    desk.find(second, "t-in/b.MOV", "Failed")
    desk.later(days=1)
    desk.record("in/a.mp4", run="again")
    with desk.ledger.write() as tx:
        operating.skip(tx, Selector(states=(DispatchState.PENDING,)), desk.now)
    return desk


@pytest.mark.parametrize("by", By)
def test_pruning_changes_no_account(worked: Desk, by: By) -> None:
    before = account(worked, by)
    prune(worked)
    with worked.ledger.read() as tx:
        assert accounting.unaccounted_tombstones(tx) == 0
    assert account(worked, by) == before
    assert sum(entry.rows for entry in before.values()) == 4


def test_what_is_counted(worked: Desk) -> None:
    [(group, entry)] = account(worked, By.RULE).items()
    assert group == Group("r", "r")
    assert (entry.rows, entry.bytes, entry.again) == (4, 28, 1)
    assert entry.states == {DispatchState.STARTED: 2, DispatchState.SKIPPED: 2}
    assert entry.tasks == {"Succeed": 1, "Failed": 1}
    assert entry.calls == {Api.START_WORKFLOW: 2}
    by_extension = account(worked, By.EXTENSION)
    assert {group.label: entry.rows for group, entry in by_extension.items()} == {"mp4": 2, "mov": 1, "none": 1}
    by_day = account(worked, By.DAY)
    assert {group.label: entry.rows for group, entry in by_day.items()} == {"2026-03-14": 3, "2026-03-15": 1}


def test_a_span_counts_rows_to_the_second_and_pruned_ones_by_whole_days(worked: Desk) -> None:
    second_day = worked.now
    noon = Span(second_day - timedelta(hours=2), second_day + timedelta(hours=2))
    assert sum(entry.rows for entry in account(worked, By.RULE, noon).values()) == 1
    prune(worked)
    assert account(worked, By.RULE, noon) == {}
    midnight = second_day.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    whole = Span(midnight, midnight + timedelta(days=1))
    assert sum(entry.rows for entry in account(worked, By.RULE, whole).values()) == 1


def test_tombstones_without_an_account_are_told(desk: Desk) -> None:
    with desk.ledger.write() as tx:
        insert_new(tx, tombstones, [{"id": id_to_bytes("a" * 26), "state": "started", "task_id": "t"}])
        assert accounting.unaccounted_tombstones(tx) == 1


def test_list_requests_add_up_by_day(desk: Desk) -> None:
    with desk.ledger.write() as tx:
        for requests in (3, 4):
            accounting.note_list_requests(tx, "b", requests, desk.now)
        assert list(accounting.listed(tx, EVER)) == [("b", date(2026, 3, 14), 7)]


@pytest.mark.parametrize(
    ("key", "shown"),
    [("a/b.MP4", "mp4"), ("a.b/c", "none"), ("x.\x1b[2J", "other"), (f"x.{'y' * 11}", "other"), ("x.", "other")],
)
def test_names_of_strangers_make_no_extensions(key: str, shown: str) -> None:
    assert shown_extension(key) == shown


def test_metrics_count_pruned_rows_too_and_no_backfill_as_waiting(worked: Desk) -> None:
    with worked.ledger.read() as tx:
        before = measuring.measure(tx, worked.now)
    assert before.dispatches == {("r", DispatchState.STARTED): 2, ("r", DispatchState.SKIPPED): 2}
    prune(worked)
    seen = worked.now
    worked.record("in/new.mp4")
    worked.later(hours=1)
    with worked.ledger.read() as tx:
        after = measuring.measure(tx, worked.now)
    assert after.dispatches == {**before.dispatches, ("r", DispatchState.PENDING): 1}
    assert after.tasks == before.tasks == {("r", "Succeed"): 1, ("r", "Failed"): 1}
    assert after.oldest_waiting == {"r": seen}
