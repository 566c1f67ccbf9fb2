from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.dispatch import DispatchState
from dispatcher.core.events import ObjectEvent
from dispatcher.core.outcomes import Rejected, Started, Uncertain
from dispatcher.ledger import absence, browse, counting, operating, pruning, sightings
from dispatcher.ledger.browse import Selector

if TYPE_CHECKING:
    from tests.ledger.conftest import Desk

EVENT = ObjectEvent("b", "in/a\udcff.mp4", None, None, None, "ObjectCreated:Put", "smq")


def one_in_each_state(desk: Desk) -> dict[str, str]:
    """Return the dispatch ids by state."""
    ends = {"started": Started("t"), "dead": Rejected("InvalidParameter"), "uncertain": Uncertain("time-out")}
    desk.record("sending", *ends)
    for claim in desk.claim():
        if claim.dispatch.key in ends:
            desk.settle(claim, ends[claim.dispatch.key])  # type: ignore[arg-type] # a dict of three outcomes
    desk.record("skipped")
    with desk.ledger.write() as tx:
        assert operating.skip(tx, Selector(key="skipped"), desk.now) == 1
    desk.record("pending")
    with desk.ledger.read() as tx:
        found = {view.key: view for view in browse.select(tx, Selector(), desk.now)}
    assert {key: view.state.value for key, view in found.items()} == {key: key for key in found}
    return {key: view.dispatch_id for key, view in found.items()}


@pytest.mark.parametrize(
    ("verb", "changed", "becomes"),
    [
        (operating.retry, {"dead", "skipped"}, "pending"),
        (operating.skip, {"dead", "pending"}, "skipped"),
        (operating.probe, {"uncertain"}, "uncertain"),
    ],
)
def test_verbs_change_what_they_may_and_nothing_else(
    desk: Desk, verb: operating.Verb, changed: set[str], becomes: str
) -> None:
    ids = one_in_each_state(desk)
    desk.later(seconds=1)
    with desk.ledger.write() as tx:
        assert verb(tx, Selector(), desk.now) == len(changed)
        assert verb(tx, Selector(), desk.now) == 0
    for state, dispatch in ids.items():
        assert desk.view(dispatch).state == (becomes if state in changed else state)
        assert (desk.view(dispatch).updated_at == desk.now) == (state in changed)


def test_a_held_uncertain_row_can_be_retried_and_skipped(desk: Desk) -> None:
    desk.record("a", "b")
    for claim in desk.claim():
        desk.settle(claim, Uncertain("time-out"))
        with desk.ledger.write() as tx:
            absence.settle_absent(tx, claim.dispatch.dispatch_id, absence.Hold(), desk.now)
    with desk.ledger.write() as tx:
        assert operating.countable(tx, Selector(), operating.may_retry()) == 2
        assert operating.retry(tx, Selector(key="a"), desk.now) == 1
        assert operating.skip(tx, Selector(key="b"), desk.now) == 1


def test_selectors_narrow(desk: Desk) -> None:
    ids = one_in_each_state(desk)
    cases = {
        Selector(): 6,
        Selector(ids=(ids["dead"], ids["sending"])): 2,
        Selector(objects=(("b", "dead"), ("other", "sending"))): 1,
        Selector(rules=("r",)): 6,
        Selector(rules=("x",)): 0,
        Selector(states=(DispatchState.DEAD, DispatchState.PENDING)): 2,
        Selector(codes=("InvalidParameter",)): 1,
        Selector(key="s*"): 3,
        Selector(key="*"): 6,
        Selector(key="s"): 0,
        Selector(sources=("poll",), key="dead"): 1,
        Selector(since=desk.now): 6,
        Selector(until=desk.now): 0,
        Selector(limit=4): 4,
        Selector(ids=tuple(f"{i:026}" for i in range(3000)) + tuple(ids.values())): 6,
    }
    with desk.ledger.read() as tx:
        for selector, found in cases.items():
            assert browse.count(tx, selector) == found
            assert len(list(browse.select(tx, selector, desk.now))) == found


def test_counts_add_up(desk: Desk) -> None:
    one_in_each_state(desk)
    with desk.ledger.read() as tx:
        counts = counting.state_counts(tx, desk.now)
        assert sorted(each.state for each in counts) == sorted(DispatchState)
        assert counting.dead_codes(tx) == {"InvalidParameter": 1}
        assert counting.task_status_counts(tx) == {None: 1}
        oldest = counting.oldest_waiting(tx)
        assert oldest is not None
        assert oldest.first_seen_at == desk.now


def test_pruning_keeps_what_is_not_finished(desk: Desk) -> None:
    ids = one_in_each_state(desk)
    desk.later(days=1)
    with desk.ledger.write() as tx:
        assert pruning.prune(tx, desk.now, now=desk.now) == 1
    assert desk.detail(ids["skipped"]).view is None
    desk.later(days=90)
    with desk.ledger.write() as tx:
        assert pruning.prune(tx, desk.now, now=desk.now) == 1
        assert counting.pruned(tx) == {DispatchState.SKIPPED: 1, DispatchState.STARTED: 1}
    assert desk.detail(ids["started"]).task_id == "t"
    for state in ("pending", "sending", "uncertain", "dead"):
        assert desk.view(ids[state]).state == state


def test_a_sighting_waits_until_it_is_decided(desk: Desk) -> None:
    with desk.ledger.write() as tx:
        sightings.record(tx, [EVENT, EVENT], desk.now)
        (found,) = sightings.due(tx, desk.now, limit=10)
        assert found.event == EVENT
        sightings.postpone(tx, found, desk.now)
        assert sightings.due(tx, desk.now, limit=10) == []
        (later,) = sightings.due(tx, desk.now + timedelta(seconds=5), limit=10)
        assert sightings.resolve(tx, later)
        assert sightings.waiting(tx) == 0


def test_a_sighting_repeated_while_it_was_decided_stays(desk: Desk) -> None:
    with desk.ledger.write() as tx:
        sightings.record(tx, [EVENT], desk.now)
        (found,) = sightings.due(tx, desk.now, limit=10)
        sightings.record(tx, [EVENT], desk.now)
        assert not sightings.resolve(tx, found)
        assert sightings.waiting(tx) == 1


def test_an_object_missing_for_an_hour_is_given_up(desk: Desk) -> None:
    with desk.ledger.write() as tx:
        sightings.record(tx, [EVENT], desk.now)
        (found,) = sightings.due(tx, desk.now, limit=10)
        assert not sightings.missing(tx, found, desk.now)
        (again,) = sightings.due(tx, desk.now + timedelta(minutes=59), limit=10)
        assert not sightings.missing(tx, again, desk.now + timedelta(minutes=59))
        (last,) = sightings.due(tx, desk.now + timedelta(hours=2), limit=10)
        assert sightings.missing(tx, last, desk.now + timedelta(hours=1))
        assert sightings.waiting(tx) == 0
