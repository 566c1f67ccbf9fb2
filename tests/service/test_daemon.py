"""The daemon: how its parts end together, in which order, and with which exit code."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.outcomes import Started
from dispatcher.errors import ConfigError, ExitCode
from dispatcher.ledger.failures import LedgerDamagedError, LedgerFullError
from dispatcher.service.daemon import LEDGER_PAUSE, Daemon
from dispatcher.service.once import run_once
from tests.service.conftest import lines
from tests.service.fakes import PATIENT, make_bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.settings import BucketSettings
    from dispatcher.errors import DispatcherError
    from tests.service.conftest import Log, Scene

KEY = "in/a.mp4"


@dataclass
class OnePoll:
    """A poll whose pass is what a test gives."""

    bucket: BucketSettings
    job: Callable[[threading.Event], timedelta]
    failure: DispatcherError | None = None

    def tick(self, stop: threading.Event) -> timedelta:
        return self.job(stop)


def daemon(scene: Scene, *passes: Callable[[threading.Event], timedelta], shadow: bool = False) -> Daemon:
    polls: Any = tuple(OnePoll(make_bucket(f"b{number}"), job) for number, job in enumerate(passes))
    return Daemon(
        settings=scene.settings,
        ledger=scene.ledger,
        polls=polls,
        sources=(),
        intake=scene.intake(),
        worker=None if shadow else scene.worker(),
        deciding=scene.deciding(),
        upkeep=scene.upkeep(),
        stop=scene.stop,
    )


def quiet(_stop: threading.Event) -> timedelta:
    return timedelta(hours=1)


def test_a_stop_ends_it_well(scene: Scene, log: Log) -> None:
    def stopping(stop: threading.Event) -> timedelta:
        stop.set()
        return timedelta(hours=1)

    assert daemon(scene, stopping).run_until_stopped() is ExitCode.DONE
    assert lines(log, "daemon.ready")[0]["buckets"] == 1
    assert lines(log, "daemon.stopped")[0]["drained"]


def test_sightings_end_before_calls_and_calls_before_the_right_to_send(scene: Scene) -> None:
    """A pass that is under way commits its batch; a call that is under way is written."""
    order: list[str] = []
    scene.record(KEY)

    def answer(_call: object) -> Started:
        order.append("call ended")
        assert scene.ledger.is_sender()
        return Started("t1")

    scene.target.expect(KEY, answer)
    scene.target.close_gate()

    def passing(stop: threading.Event) -> timedelta:
        scene.target.wait_for_calls(1)
        stop.set()
        scene.record("in/b.mp4")
        order.append("pass ended")
        scene.target.open_gate()
        return timedelta()

    assert daemon(scene, passing).run_until_stopped() is ExitCode.DONE
    assert order == ["pass ended", "call ended"]
    assert scene.states() == {KEY: "started", "in/b.mp4": "pending"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("a defect"), ExitCode.UNAVAILABLE),
        (LedgerDamagedError("damaged", hint="restore a copy"), ExitCode.UNAVAILABLE),
        (ConfigError("wrong", hint="mend it"), ExitCode.CONFIG),
    ],
)
def test_a_part_that_dies_ends_the_process(scene: Scene, log: Log, error: Exception, code: ExitCode) -> None:
    def dying(_stop: threading.Event) -> timedelta:
        raise error

    assert daemon(scene, dying, quiet).run_until_stopped() is code
    (line,) = lines(log, "daemon.failed")
    assert line["hint"]
    assert scene.stop.is_set()


def test_a_sender_that_dies_ends_the_process(scene: Scene, log: Log) -> None:
    scene.record(KEY)
    scene.ledger.path.with_name("ledger.db.sender.lock").unlink()
    assert daemon(scene, quiet).run_until_stopped() is ExitCode.UNAVAILABLE
    assert "another process may send" in lines(log, "daemon.failed")[0]["error"]
    assert scene.states() == {KEY: "pending"}


@pytest.mark.parametrize("hangs", ["pass", "call"])
def test_what_does_not_end_in_time_is_left_and_said(scene: Scene, log: Log, hangs: str) -> None:
    scene.settings = replace(scene.settings, drain_timeout=timedelta(milliseconds=100))
    leave = threading.Event()
    if hangs == "call":
        scene.record(KEY)
        scene.target.expect(KEY, Started("t1"))
        scene.target.close_gate()

    def passing(stop: threading.Event) -> timedelta:
        if hangs == "call":
            scene.target.wait_for_calls(1)
        stop.set()
        if hangs == "pass":
            leave.wait(PATIENT)
        return timedelta()

    made = daemon(scene, passing)
    assert made.run_until_stopped() is ExitCode.STOPPED_EARLY
    assert not lines(log, "daemon.stopped")[0]["drained"]
    leave.set()
    scene.target.open_gate()
    for thread in threading.enumerate():
        if thread.name == "worker":
            thread.join(PATIENT)


def test_a_ledger_that_is_full_makes_it_wait_not_end(scene: Scene, log: Log) -> None:
    def full() -> None:
        raise LedgerFullError("the disk is full", hint="make room")

    every = timedelta(minutes=1)
    assert daemon(scene)._guarded(full, every)() == LEDGER_PAUSE
    assert daemon(scene)._guarded(lambda: None, every)() == every
    assert lines(log, "ledger.refused")[0]["hint"] == "make room"


def test_a_shadow_run_looks_at_no_task_and_calls_nothing(scene: Scene) -> None:
    scene.record(KEY)

    def stopping(stop: threading.Event) -> timedelta:
        stop.set()
        return timedelta(hours=1)

    made = daemon(scene, stopping, shadow=True)
    assert made.start_worker() is None
    assert made.run_until_stopped() is ExitCode.DONE
    assert (scene.target.calls, scene.tasks.queries) == ([], [])


# -- one pass -----------------------------------------------------------------------------------------


def test_one_pass_sends_what_it_found_and_ends(scene: Scene) -> None:
    scene.target.expect(KEY, Started("t1"))
    scene.tasks.pages["wf"] = [[]]

    def passing(_stop: threading.Event) -> timedelta:
        scene.record(KEY)
        return timedelta()

    assert run_once(daemon(scene, passing)) is ExitCode.DONE
    assert scene.states() == {KEY: "started"}


def test_one_pass_that_leaves_rows_waiting_says_so(scene: Scene) -> None:
    scene.record(KEY)
    assert run_once(daemon(scene, quiet, shadow=True)) is ExitCode.STOPPED_EARLY
