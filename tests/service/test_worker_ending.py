"""The worker when things end: a ledger that refuses, a stop, a lock that is lost; and how it waits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.outcomes import NotSent, Started, Throttled
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.failures import LedgerFullError, LedgerLockedError
from dispatcher.service import worker as worker_module
from dispatcher.service.worker import LEDGER_PAUSE
from tests.service.conftest import lines
from tests.service.fakes import (
    PATIENT,
    key_of,
)
from tests.service.test_worker import collect, replace_concurrency, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from dispatcher.core.calls import Call
    from dispatcher.core.outcomes import Outcome
    from dispatcher.service.worker import Worker
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"


def run(worker: Worker, stop: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENT)
    return not thread.is_alive()


# -- a ledger that refuses --------------------------------------------------------------------------


def refuse_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the next write raise as on a full disk; the list grows by one when it did."""
    refused: list[str] = []
    write = scene.ledger.write

    @contextmanager
    def refusing() -> Iterator[Connection]:
        if not refused:
            refused.append("full")
            raise LedgerFullError("the disk is full", hint="make room")
        with write() as tx:
            yield tx

    monkeypatch.setattr(scene.ledger, "write", refusing)
    return refused


def test_what_a_full_disk_refuses_is_written_later_and_not_called_again(
    scene: Scene, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scene.record(KEY, "in/b.mp4")
    scene.target.expect(KEY, Started("t1"))
    scene.target.expect("in/b.mp4", Started("t2"))
    worker = replace_concurrency(scene, 1)
    worker.step()
    collect(worker)
    refused = refuse_once(scene, monkeypatch)
    assert worker._step_or_pause() == LEDGER_PAUSE
    assert (refused, scene.row(first).state, len(scene.target.calls)) == (["full"], "sending", 1)
    assert len(lines(log, "ledger.refused")) == 1
    turn(worker)
    assert (scene.row(first).task_id, scene.row(second).task_id) == ("t1", "t2")
    assert [key_of(call) for call in scene.target.calls] == [KEY, "in/b.mp4"]


def test_a_claim_that_a_full_disk_refuses_calls_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.record(KEY)
    worker = scene.worker()
    refuse_once(scene, monkeypatch)
    assert worker._step_or_pause() == LEDGER_PAUSE
    assert (scene.target.calls, worker._in_flight) == ([], 0)
    scene.target.expect(KEY, Started("t1"))
    turn(worker)
    assert scene.states() == {KEY: "started"}


# -- leaving ----------------------------------------------------------------------------------------


def test_draining_ends_the_calls_in_flight_and_begins_no_other(scene: Scene) -> None:
    keys = [f"in/{number}.mp4" for number in range(6)]
    scene.record(*keys)
    for key in keys:
        scene.target.expect(key, Started(f"t-{key}"))
    scene.target.close_gate()
    thread = run(replace_concurrency(scene, 2), scene.stop)
    scene.target.wait_for_calls(2)
    scene.stop.set()
    scene.target.open_gate()
    assert ended(thread)
    assert len(scene.target.calls) == 2
    assert sorted(scene.states().values()) == ["pending"] * 4 + ["started"] * 2


def test_once_stopped_nothing_is_called(scene: Scene) -> None:
    scene.record(KEY)
    scene.stop.set()
    scene.worker().run(scene.stop)
    assert scene.target.calls == []
    assert scene.states() == {KEY: "pending"}


def test_a_stop_between_claim_and_call_leaves_nothing_sending(scene: Scene) -> None:
    """The claim is durable, its call waits for a thread, and the program leaves: the row goes back unsent."""
    keys = [f"in/{number}.mp4" for number in range(3)]
    ids = scene.record(*keys)
    worker = scene.worker()
    begin = threading.Event()
    single = ThreadPoolExecutor(1)  # shut down with the worker
    worker._calls.shutdown()
    worker._calls = single
    single.submit(begin.wait, PATIENT)  # nothing submitted later runs before this ends
    worker.step()
    assert set(scene.states().values()) == {"sending"}
    worker._draining = True
    begin.set()
    scene.stop.set()
    worker.run(scene.stop)
    assert scene.target.calls == []
    assert set(scene.states().values()) == {"pending"}
    assert [scene.row(each).attempts for each in ids] == [0, 0, 0]
    assert [outcome.kind for outcome in scene.detail(ids[0]).outcomes] == ["not_sent"]


def test_the_drain_outlasts_a_full_disk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.record(KEY)
    scene.target.expect(KEY, Started("t1"))
    monkeypatch.setattr(worker_module, "IDLE", timedelta(milliseconds=10))
    worker = scene.worker()
    scene.target.close_gate()
    worker.step()
    scene.target.wait_for_calls(1)
    refused = refuse_once(scene, monkeypatch)
    scene.stop.set()
    scene.target.open_gate()
    worker.run(scene.stop)
    assert (refused, scene.states()) == (["full"], {KEY: "started"})


# -- the lease --------------------------------------------------------------------------------------


def test_a_sender_whose_lock_is_gone_gives_its_rows_back_and_ends(scene: Scene, log: Log) -> None:
    (dispatch,) = scene.record(KEY)
    lock = scene.ledger.path.with_name("ledger.db.sender.lock")
    lock.unlink()
    with pytest.raises(LedgerLockedError, match="another process may send"):
        scene.worker().run(scene.stop)
    row = scene.row(dispatch)
    assert (scene.target.calls, row.state, row.attempts) == ([], "pending", 0)
    assert len(lines(log, "dispatch.given_back")) == 1


def test_the_call_in_flight_while_the_lock_goes_is_still_written(scene: Scene) -> None:
    first, second = scene.record("in/1.mp4", "in/2.mp4")

    def lose(_call: Call) -> Outcome:
        scene.ledger.path.with_name("ledger.db.sender.lock").unlink()
        return Started("t1")

    scene.target.expect("in/1.mp4", lose)
    scene.target.expect("in/2.mp4", lose)
    with pytest.raises(LedgerLockedError):
        replace_concurrency(scene, 1).run(scene.stop)
    assert sorted([scene.row(first).state, scene.row(second).state]) == ["pending", "started"]
    assert len(scene.target.calls) == 1


def test_a_new_sender_takes_over_what_was_given_back(scene: Scene) -> None:
    (dispatch,) = scene.record(KEY)
    scene.ledger.path.with_name("ledger.db.sender.lock").unlink()
    other = Ledger.open(scene.url)
    next_sender = other.become_sender(scene.clock())
    assert (scene.ledger.is_sender(), other.is_sender()) == (False, True)
    with pytest.raises(LedgerLockedError):
        scene.worker().run(scene.stop)
    scene.target.expect(KEY, Started("t1"))
    scene.ledger, scene.sender, old = other, next_sender, scene.ledger
    turn(scene.worker())
    assert scene.row(dispatch).state == "started"
    scene.ledger = old
    other.close()
    assert not other.is_sender()


# -- being woken, being idle ------------------------------------------------------------------------


def test_a_wake_up_is_heard_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "IDLE", timedelta(hours=1))
    worker = scene.worker()
    scene.target.expect(KEY, Started("t1"))
    scene.target.close_gate()
    thread = run(worker, scene.stop)
    scene.record(KEY)
    worker.wake()
    scene.target.wait_for_calls(1)
    scene.stop.set()
    scene.target.open_gate()
    assert ended(thread)
    assert scene.states() == {KEY: "started"}


def test_idle_means_nothing_runs_and_nothing_is_due_soon(scene: Scene) -> None:
    soon = timedelta(seconds=10)
    worker = scene.worker()
    assert worker.idle(soon)
    scene.record(KEY)
    assert not worker.idle(soon)
    scene.target.expect(KEY, Throttled("Throttling.User", retry_after=timedelta(seconds=15)), NotSent("refused"))
    scene.target.close_gate()
    worker.step()
    scene.target.wait_for_calls(1)
    assert not worker.idle(soon), "a call runs"
    scene.target.open_gate()
    collect(worker)
    worker._settle()
    assert worker.idle(soon)
    scene.clock.later(seconds=5)
    assert not worker.idle(soon), "it is due in ten seconds"
    scene.clock.later(minutes=1)
    turn(worker)
    scene.clock.later(seconds=25)
    assert worker.idle(soon), "nobody knows when a paused target answers again"
