from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from dispatcher.core.dispatch import DispatchState, StateReason, content_identity, dispatch_id
from dispatcher.ledger import pruning, recording
from dispatcher.ledger.recording import NewDispatch
from dispatcher.ledger.tables import Lane, dispatches

if TYPE_CHECKING:
    from dispatcher.ledger.engine import Ledger

MODIFIED = datetime.fromisoformat("2026-03-01T00:00:00+00:00")


def item(key: str = "in/a.mp4", etag: str = "e1", *, at: datetime | None = MODIFIED, rule: str = "r") -> NewDispatch:
    made = dispatch_id(rule, "b", key, content_identity(etag, 7))
    return NewDispatch(made, rule, "b", key, etag, 7, "", "poll", at)


def states(ledger: Ledger) -> dict[str, tuple[str, str | None]]:
    with ledger.read() as tx:
        return {row.dispatch_id: (row.state, row.reason) for row in tx.execute(select(dispatches))}


def record(ledger: Ledger, now: datetime, *items: NewDispatch) -> recording.Recorded:
    with ledger.write() as tx:
        return recording.record(tx, items, now)


def test_the_same_sighting_is_recorded_once(ledger: Ledger, now: datetime) -> None:
    first = record(ledger, now, item(), item())
    again = record(ledger, now, item())
    assert (first.inserted, first.known) == ((item().dispatch_id,), 1)
    assert (again.inserted, again.known) == ((), 1)
    assert states(ledger) == {item().dispatch_id: ("pending", None)}


def test_a_tombstone_keeps_a_repeated_sighting_out(ledger: Ledger, now: datetime) -> None:
    record(ledger, now, replace(item(), state=DispatchState.SKIPPED, reason=StateReason.SHADOW))
    with ledger.write() as tx:
        assert pruning.prune(tx, now + timedelta(days=1), now=now) == 1
    assert states(ledger) == {}
    assert record(ledger, now, item()).inserted == ()
    assert states(ledger) == {}


def test_an_alias_counts_as_known(ledger: Ledger, now: datetime) -> None:
    record(ledger, now, item(rule="old"))
    renamed = replace(item(rule="new"), aliases=(item(rule="old").dispatch_id,))
    assert record(ledger, now, renamed).inserted == ()


@pytest.mark.parametrize("later", [timedelta(), timedelta(seconds=1)])
def test_new_content_supersedes_a_waiting_row(ledger: Ledger, now: datetime, later: timedelta) -> None:
    record(ledger, now, item(etag="e1"))
    done = record(ledger, now, item(etag="e2", at=MODIFIED + later))
    assert done.superseded == (item(etag="e1").dispatch_id,)
    assert states(ledger) == {
        item(etag="e1").dispatch_id: ("skipped", "SUPERSEDED"),
        item(etag="e2").dispatch_id: ("pending", None),
    }


def test_inside_one_batch_only_the_newest_content_waits(ledger: Ledger, now: datetime) -> None:
    done = record(
        ledger,
        now,
        item(etag="e1"),
        item(etag="e3", at=MODIFIED + timedelta(2)),
        item(etag="e2", at=MODIFIED + timedelta(1)),
    )
    assert len(done.inserted) == 3
    assert set(done.superseded) == {item(etag="e1").dispatch_id, item(etag="e2").dispatch_id}
    assert states(ledger)[item(etag="e3").dispatch_id] == ("pending", None)


def test_an_older_sighting_that_comes_late_is_superseded(ledger: Ledger, now: datetime) -> None:
    record(ledger, now, item(etag="e2"))
    record(ledger, now, item(etag="e1", at=MODIFIED - timedelta(microseconds=1)))
    assert states(ledger) == {
        item(etag="e2").dispatch_id: ("pending", None),
        item(etag="e1").dispatch_id: ("skipped", "SUPERSEDED"),
    }


@pytest.mark.parametrize("state", [DispatchState.SENDING, DispatchState.UNCERTAIN, DispatchState.STARTED])
def test_what_may_have_been_called_is_never_superseded(ledger: Ledger, now: datetime, state: DispatchState) -> None:
    record(ledger, now, item(etag="e1"))
    with ledger.write() as tx:
        tx.execute(dispatches.update().values(state=state))
    assert record(ledger, now, item(etag="e2")).superseded == ()
    assert states(ledger)[item(etag="e1").dispatch_id] == (state.value, None)


@pytest.mark.parametrize("other", [item("in/b.mp4"), item(rule="r2"), replace(item(etag="e2"), run="again")])
def test_other_keys_rules_and_runs_are_not_superseded(ledger: Ledger, now: datetime, other: NewDispatch) -> None:
    record(ledger, now, replace(item(), etag="e0", dispatch_id=item(etag="e0").dispatch_id))
    assert record(ledger, now, other).superseded == ()


def test_a_first_sighting_does_not_settle_but_a_change_does(ledger: Ledger, now: datetime) -> None:
    settle = timedelta(minutes=5)
    record(ledger, now, replace(item(etag="e1"), settle=settle))
    assert states(ledger)[item(etag="e1").dispatch_id] == ("pending", None)
    record(ledger, now + timedelta(minutes=4), replace(item(etag="e2"), settle=settle))
    record(ledger, now + timedelta(minutes=8), replace(item(etag="e3"), settle=settle))
    with ledger.read() as tx:
        row = tx.execute(select(dispatches).where(dispatches.c.etag == "e3")).one()
    assert (row.reason, row.next_at) == ("SETTLING", now + timedelta(minutes=13))


def test_a_change_after_the_settle_time_does_not_wait(ledger: Ledger, now: datetime) -> None:
    record(ledger, now, replace(item(etag="e1"), settle=timedelta(minutes=5)))
    record(ledger, now + timedelta(minutes=5), replace(item(etag="e2"), settle=timedelta(minutes=5)))
    assert states(ledger)[item(etag="e2").dispatch_id] == ("pending", None)


def test_keys_that_are_no_text_survive(ledger: Ledger, now: datetime) -> None:
    key = "in/\udcff\n\u202e é.mp4"
    record(ledger, now, item(key))
    with ledger.read() as tx:
        assert tx.execute(select(dispatches.c.key)).scalar_one() == key.encode("utf-8", "surrogateescape")
    assert record(ledger, now, item(key)).known == 1


def test_more_than_a_thousand_items_are_refused(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(ValueError, match="at most 1000"), ledger.write() as tx:
        recording.record(tx, [item()] * 1001, now)


@pytest.mark.parametrize(
    ("source", "backfill", "lane"),
    [
        ("poll", None, Lane.BUDGETED),
        ("existing", None, Lane.EXEMPT),
        ("backfill", 3, Lane.BACKFILL),
    ],
)
def test_lanes(source: str, backfill: int | None, lane: Lane) -> None:
    assert recording.lane_of(replace(item(), source=source, backfill=backfill)) is lane


def test_a_live_sighting_takes_a_row_out_of_the_backfill_that_keeps_it_waiting(ledger: Ledger, now: datetime) -> None:
    record(ledger, now, replace(item(), source="backfill", backfill=3))
    assert record(ledger, now, replace(item(), source="existing")).brought_forward == 0
    assert record(ledger, now, item()).brought_forward == 1
    with ledger.read() as tx:
        row = tx.execute(select(dispatches)).one()
    assert (row.lane, row.backfill, row.state) == (Lane.BUDGETED, None, "pending")
    assert record(ledger, now, item()).brought_forward == 0
