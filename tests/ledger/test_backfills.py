from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.backfilling import BackfillKind, BackfillState, Pace
from dispatcher.core.dispatch import DispatchState, content_identity, dispatch_id
from dispatcher.core.ratelimit import Rate
from dispatcher.ledger import backfills
from dispatcher.ledger.backfills import Backfill, NewBackfill, Seen, Written
from dispatcher.ledger.recording import NewDispatch

if TYPE_CHECKING:
    from tests.ledger.conftest import Desk


@dataclass
class Office:
    """Backfills on a ledger whose clock only a test moves."""

    desk: Desk

    def create(self, asked: str = "all", *, run: str = "", most: int | None = None, pace: Pace | None = None) -> int:
        new = NewBackfill(BackfillKind.BACKFILL, asked, "{}", run=run, most=most, pace=pace or Pace())
        with self.desk.ledger.write() as tx:
            return backfills.create(tx, new, self.desk.now).number

    def record(self, number: int, *keys: str, rule: str = "r", run: str = "") -> Written:
        rows = [
            NewDispatch(
                dispatch_id(rule, "b", key, content_identity("e", 7), run),
                rule,
                "b",
                key,
                "e",
                7,
                run,
                "backfill",
                None,
            )
            for key in keys
        ]
        seen = Seen(listed=len(keys), matched=len(keys), reached=keys[-1])
        with self.desk.ledger.write() as tx:
            return backfills.record(tx, number, rows, self.desk.now, seen)

    def get(self, number: int) -> Backfill:
        with self.desk.ledger.read() as tx:
            return backfills.get(tx, number)

    def states(self, number: int) -> dict[DispatchState, int]:
        with self.desk.ledger.read() as tx:
            return dict(backfills.counts(tx, number).by_state)


@pytest.fixture
def office(desk: Desk) -> Office:
    return Office(desk)


def test_a_backfill_counts_what_it_saw_and_recorded(office: Office) -> None:
    number = office.create()
    office.desk.record("known")
    assert office.record(number, "a", "b", "known") == Written(recorded=2, known=1)
    found = office.get(number)
    assert (found.recorded, found.seen) == (2, Seen(listed=3, matched=3, known=1, gone=0, reached="known"))
    assert office.states(number) == {DispatchState.PENDING: 2}
    assert (found.name, found.state) == (f"backfill-{number}", BackfillState.RUNNING)


def test_the_same_request_finds_the_unfinished_backfill(office: Office) -> None:
    first = office.create("videos")
    with office.desk.ledger.write() as tx:
        found = backfills.unfinished(tx, "videos")
        assert found is not None
        assert found.number == first
        assert backfills.unfinished(tx, "audio") is None
        backfills.cancel(tx, first, office.desk.now)
        assert backfills.unfinished(tx, "videos") is None


def test_a_limit_counts_over_all_looks(office: Office) -> None:
    number = office.create(most=3)
    assert office.record(number, "a", "b") == Written(recorded=2)
    assert office.record(number, "a", "b", "c", "d") == Written(recorded=1, known=2, full=True)
    assert office.record(number, "d") == Written(recorded=0, full=True)
    assert office.get(number).recorded == 3


def test_a_new_look_counts_anew_but_keeps_what_was_recorded(office: Office) -> None:
    number = office.create()
    office.record(number, "a")
    with office.desk.ledger.write() as tx:
        backfills.begin_look(tx, number, office.desk.now)
    found = office.get(number)
    assert (found.recorded, found.seen) == (1, Seen())


def test_nothing_is_recorded_for_a_backfill_that_is_not_running(office: Office) -> None:
    number = office.create()
    with office.desk.ledger.write() as tx:
        assert backfills.pause(tx, number, office.desk.now)
        assert not backfills.pause(tx, number, office.desk.now)
    assert office.record(number, "a") == Written(stopped=True)
    with office.desk.ledger.write() as tx:
        backfills.resume(tx, number, office.desk.now)
    assert office.record(number, "a") == Written(recorded=1)


def test_the_same_objects_again_under_a_name_are_other_rows(office: Office) -> None:
    office.record(office.create("once"), "a")
    again = office.create("again", run="new-codec")
    assert office.record(again, "a", run="new-codec").recorded == 1
    assert office.get(again).name == "new-codec"
    with office.desk.ledger.read() as tx:
        assert backfills.runs(tx, "new-codec")
        assert not backfills.runs(tx, "other")
        assert [each.number for each in backfills.find(tx, "new-codec")] == [again]
        assert [each.number for each in backfills.find(tx, str(again))] == [again]


def test_cancelling_skips_what_was_never_sent_in_batches(office: Office) -> None:
    number = office.create()
    office.record(number, "a", "b", "c")
    with office.desk.ledger.write() as tx:
        assert backfills.cancel(tx, number, office.desk.now)
        assert [backfills.skip_cancelled(tx, office.desk.now, limit=2) for _ in range(3)] == [2, 1, 0]
    assert office.states(number) == {DispatchState.SKIPPED: 3}
    assert office.get(number).ended_at == office.desk.now


def test_a_backfill_is_done_once_all_is_recorded_and_ended(office: Office) -> None:
    number = office.create()
    office.record(number, "a")

    def end() -> list[int]:
        with office.desk.ledger.write() as tx:
            return backfills.end_finished(tx, office.desk.now)

    assert end() == []
    with office.desk.ledger.write() as tx:
        backfills.complete(tx, number, office.desk.now)
    assert end() == []
    assert office.desk.record("a") == []  # taken out of the backfill by a live sighting: none of its rows is left
    with office.desk.ledger.write() as tx:
        backfills.resume(tx, number, office.desk.now)
    assert end() == []  # the bucket is looked at again
    with office.desk.ledger.write() as tx:
        backfills.complete(tx, number, office.desk.now)
    assert end() == [number]
    assert office.get(number).state is BackfillState.DONE


def test_each_resume_gives_the_window_anew(office: Office) -> None:
    night = timedelta(hours=8)
    number = office.create(pace=Pace(max_rate=Rate(2.5), max_running=4, window=night))
    assert office.get(number).until_at == office.desk.now + night
    office.desk.later(hours=20)
    assert office.get(number).expired(office.desk.now)
    with office.desk.ledger.write() as tx:
        resumed = backfills.resume(tx, number, office.desk.now)
    assert resumed.until_at == office.desk.now + night
    assert resumed.pace == Pace(max_rate=Rate(2.5), max_running=4, window=night)
    assert not resumed.expired(office.desk.now)
