"""A row whose call did not start is not sent again once its key has newer content."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.dispatch import DispatchState, StateReason, content_identity, dispatch_id
from dispatcher.core.outcomes import NotSent, RetryAt, Started, Throttled, Uncertain
from dispatcher.ledger import absence, claiming, operating, recording
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.recording import NewDispatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.ledger.claiming import Claim
    from tests.ledger.conftest import Desk

MODIFIED = datetime.fromisoformat("2026-03-01T00:00:00+00:00")


def see(
    desk: Desk, etag: str, modified_at: datetime | None = MODIFIED, *, key: str = "k", rule: str = "r", run: str = ""
) -> str:
    """Record one content of a key a second after whatever came before; return its id."""
    desk.later(seconds=1)
    made = dispatch_id(rule, "b", key, content_identity(etag, 7), run)
    item = NewDispatch(made, rule, "b", key, etag, 7, run, "poll", modified_at)
    with desk.ledger.write() as tx:
        recording.record(tx, [item], desk.now)
    return made


def is_throttled(desk: Desk, claim: Claim) -> None:
    desk.settle(claim, Throttled("Throttling.User"))


def is_not_sent(desk: Desk, claim: Claim) -> None:
    desk.settle(claim, NotSent("connection refused"))


def is_given_back(desk: Desk, claim: Claim) -> None:
    with desk.ledger.write() as tx:
        assert claiming.give_back(tx, claim, desk.now)


def is_proven_absent(desk: Desk, claim: Claim) -> None:
    desk.settle(claim, Uncertain("time-out"))
    with desk.ledger.write() as tx:
        retry = RetryAt(desk.now, StateReason.BACKOFF)
        assert absence.settle_absent(tx, claim.dispatch.dispatch_id, retry, desk.now) is not None


WAYS = pytest.mark.parametrize("returns", [is_throttled, is_not_sent, is_given_back, is_proven_absent])


@WAYS
@pytest.mark.parametrize("modified_at", [None, MODIFIED, MODIFIED + timedelta(seconds=1)])
def test_newer_content_that_came_during_the_call_supersedes(
    desk: Desk, returns: Callable[[Desk, Claim], None], modified_at: datetime | None
) -> None:
    old = see(desk, "e1")
    (claim,) = desk.claim()
    new = see(desk, "e2", modified_at)
    returns(desk, claim)
    view = desk.view(old)
    assert (view.state, view.reason, view.next_at) == ("skipped", "SUPERSEDED", None)
    desk.later(hours=2)
    assert [row.dispatch_id for row in desk.due()] == [new]


@WAYS
def test_without_newer_content_it_waits_again(desk: Desk, returns: Callable[[Desk, Claim], None]) -> None:
    old = see(desk, "e1")
    (claim,) = desk.claim()
    see(desk, "e2", key="other")
    see(desk, "e2", rule="other")
    see(desk, "e2", run="again")
    see(desk, "e2", MODIFIED - timedelta(seconds=1))  # comes late: it is superseded itself
    returns(desk, claim)
    assert desk.view(old).state == "pending"
    desk.later(hours=2)
    assert old in [row.dispatch_id for row in desk.due()]


def test_it_is_superseded_whatever_became_of_the_newer_content(desk: Desk) -> None:
    old = see(desk, "e1")
    (claim,) = desk.claim()
    new = see(desk, "e2")
    (other,) = desk.claim()
    desk.settle(other, Started("t2"))
    settled = desk.settle(claim, Throttled("Throttling.User"))
    assert (settled.written, settled.state, settled.reason) == (True, DispatchState.SKIPPED, StateReason.SUPERSEDED)
    assert (desk.view(old).state, desk.view(new).state) == ("skipped", "started")


def test_a_shadow_run_supersedes_nothing(desk: Desk) -> None:
    old = see(desk, "e1")
    (claim,) = desk.claim()
    desk.later(seconds=1)
    made = dispatch_id("r", "b", "k", content_identity("e2", 7))
    item = NewDispatch(made, "r", "b", "k", "e2", 7, "", "poll", MODIFIED)
    shadow = replace(item, state=DispatchState.SKIPPED, reason=StateReason.SHADOW)
    with desk.ledger.write() as tx:
        recording.record(tx, [shadow], desk.now)
    is_throttled(desk, claim)
    assert desk.view(old).state == "pending"


def test_a_started_row_stays_started(desk: Desk) -> None:
    old = see(desk, "e1")
    (claim,) = desk.claim()
    see(desk, "e2")
    desk.settle(claim, Started("t1"))
    assert desk.view(old).state == "started"


def test_what_an_operator_retries_is_sent_although_newer_content_is_there(desk: Desk) -> None:
    old = see(desk, "e1")
    new = see(desk, "e2")
    assert desk.view(old).reason == "SUPERSEDED"
    desk.later(minutes=5)
    with desk.ledger.write() as tx:
        assert operating.retry(tx, Selector(ids=(old,)), desk.now) == 1
    for claim in desk.claim():
        is_throttled(desk, claim)
    assert (desk.view(old).state, desk.view(new).state) == ("pending", "pending")


def test_a_recorder_that_waited_for_the_lock_is_still_newer(desk: Desk) -> None:
    """Its clock was read before the claim that was written first."""
    old = see(desk, "e1")
    recorder_at = desk.now + timedelta(seconds=5)
    desk.later(seconds=10)
    (claim,) = desk.claim()
    sender_now, desk.now = desk.now, recorder_at - timedelta(seconds=1)
    see(desk, "e2")
    desk.now = sender_now
    is_throttled(desk, claim)
    assert desk.view(old).reason == "SUPERSEDED"
