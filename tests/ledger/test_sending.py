from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.calls import Endpoint, WorkflowCall
from dispatcher.core.dispatch import dispatch_id
from dispatcher.core.outcomes import Started
from dispatcher.ledger import claiming, recording
from dispatcher.ledger.calls import call_from_text
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.failures import LedgerLockedError
from dispatcher.ledger.recording import NewDispatch
from tests.simulator_fixtures import wait_until

if TYPE_CHECKING:
    from datetime import datetime

    from tests.ledger.conftest import Desk

CALL = WorkflowCall(Endpoint("cn-hangzhou", "https://ice.example"), "wf", "{}", "{}")


def test_a_second_sender_is_refused_with_the_pid_of_the_first(ledger: Ledger, url: str, now: datetime) -> None:
    ledger.become_sender(now)
    other = Ledger.open(url)
    with pytest.raises(LedgerLockedError, match=str(os.getpid())):
        other.become_sender(now)
    ledger.close()
    assert other.become_sender(now).number == 2
    other.close()


def test_what_a_killed_sender_left_is_uncertain_and_looked_for_at_once(url: str, now: datetime) -> None:
    script = """
        import sys
        from datetime import datetime
        from dispatcher.core.calls import Endpoint, WorkflowCall
        from dispatcher.core.dispatch import dispatch_id
        from dispatcher.ledger import claiming, recording
        from dispatcher.ledger.engine import Ledger
        from dispatcher.ledger.recording import NewDispatch

        ledger, now = Ledger.open(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
        sender = ledger.become_sender(now)
        call = WorkflowCall(Endpoint("cn-hangzhou", "https://ice.example"), "wf", "{}", "{}")
        for batch in range(2):
            rows = [
                NewDispatch(dispatch_id("r", "b", key, "c"), "r", "b", key, "e", 7, "", "poll", None)
                for key in (f"{batch}/{i}" for i in range(700))
            ]
            with ledger.write() as tx:
                recording.record(tx, rows, now)
                due = claiming.due(tx, rule_ids=["r"], now=now, limit=1000)
                claiming.begin(tx, sender, [(row, 1, call) for row in due], now)
        print("sending", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), url, now.isoformat()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "sending\n"
        ledger = Ledger.open(url)
        with pytest.raises(LedgerLockedError, match=str(victim.pid)):
            ledger.become_sender(now)
        victim.send_signal(signal.SIGKILL)
        victim.wait(60)
    sender = ledger.become_sender(now)
    with ledger.read() as tx:
        rows = tx.exec_driver_sql("SELECT state, count(*), min(next_at) = max(next_at) FROM dispatches").all()
        ends = tx.exec_driver_sql("SELECT count(*) FROM outcomes WHERE message = 'sender died'").scalar_one()
        assert claiming.due(tx, rule_ids=["r"], now=now, limit=10) == []
    assert (rows, ends, sender.number, sender.recovered) == ([("uncertain", 1400, 1)], 1400, 2, 1400)
    ledger.close()


def test_a_row_given_back_is_due_again_and_no_attempt_counts(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    with desk.ledger.write() as tx:
        assert claiming.give_back(tx, claim, desk.now)
        assert not claiming.give_back(tx, claim, desk.now)
    assert (desk.view(dispatch).state, desk.view(dispatch).attempts) == ("pending", 0)
    assert desk.detail(dispatch).outcomes[0].kind == "not_sent"
    (again,) = desk.claim()
    assert again.attempt == 2


def test_an_intent_needs_the_attempt_number_that_follows(desk: Desk) -> None:
    desk.record("k")
    (row,) = desk.due()
    for number, ours in ((2, 0), (1, 1), (1, 0)):
        with desk.ledger.write() as tx:
            assert len(claiming.begin(tx, desk.sender, [(row, number, CALL)], desk.now)) == ours


def test_the_call_in_the_ledger_is_the_call_that_is_sent(desk: Desk) -> None:
    (dispatch,) = desk.record("k")
    (claim,) = desk.claim()
    (attempt,) = desk.detail(dispatch).attempts
    assert call_from_text(Endpoint(attempt.region, attempt.endpoint), attempt.request, attempt.api) == claim.call
    assert attempt.intent_at == desk.now


def test_a_started_row_is_never_due(desk: Desk) -> None:
    desk.record("k")
    (claim,) = desk.claim()
    desk.settle(claim, Started("t1"))
    desk.later(days=400)
    assert desk.due() == []


def test_recorders_work_while_the_sender_sends(desk: Desk, url: str) -> None:
    def record(recorder: int) -> None:
        other = Ledger.open(url)
        for batch in range(20):
            rows = [
                NewDispatch(dispatch_id("r", "b", key, "c"), "r", "b", key, "e", 7, "", "poll", None)
                for key in (f"{batch}/{i}" for i in range(recorder, recorder + 10))
            ]
            with other.write() as tx:
                recording.record(tx, rows, desk.now)
        other.close()

    started: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        recorders = [pool.submit(record, number) for number in (0, 5, 10)]
        while not all(each.done() for each in recorders) or desk.due():
            for claim in desk.claim(limit=50):
                started.append(claim.dispatch.dispatch_id)
                assert desk.settle(claim, Started(f"t{len(started)}")).written
        for each in recorders:
            each.result()
    assert len(started) == len(set(started)) == 20 * 20


def test_a_sender_that_yields_is_asked_to_let_go(url: str, now: datetime) -> None:
    backfill, daemon, second = Ledger.open(url), Ledger.open(url), Ledger.open(url)
    with closing(backfill), closing(daemon), closing(second):
        backfill.become_sender(now, yields=True)
        assert not backfill.should_yield()
        with pytest.raises(LedgerLockedError, match=f"process {os.getpid()} is already"):
            second.become_sender(now, yields=True)  # another backfill goes beside it
        assert not backfill.should_yield()
        taken = threading.Thread(target=daemon.become_sender, args=(now,))
        taken.start()
        wait_until(backfill.should_yield)
        backfill.resign()
        taken.join(10)
        assert (backfill.is_sender(), daemon.is_sender(), daemon.should_yield()) == (False, True, False)
        assert backfill.somebody_sends()
    with closing(Ledger.open(url)) as last:
        assert not last.somebody_sends()


def test_a_sender_that_does_not_let_go_is_named(url: str, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.ledger.engine.YIELDED_WITHIN", 0.0)
    with closing(Ledger.open(url)) as backfill, closing(Ledger.open(url)) as daemon:
        backfill.become_sender(now, yields=True)
        with pytest.raises(LedgerLockedError, match=f"process {os.getpid()}, a backfill,"):
            daemon.become_sender(now)
