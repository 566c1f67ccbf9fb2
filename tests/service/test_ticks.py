"""The clockwork: jobs run again after as long as they say, never twice at once, and end in order."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from dispatcher.service.ticks import Ticks
from tests.service.fakes import PATIENT


class Failures(list[BaseException]):
    """What `failed` was told; `told` is set by the first."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def __call__(self, error: BaseException) -> None:
        self.append(error)
        self.told.set()


def soon() -> float:
    return time.monotonic() + PATIENT


def test_a_job_runs_at_once_and_again_after_what_it_returned() -> None:
    failures, third, runs = Failures(), threading.Event(), []

    def job() -> timedelta:
        runs.append(time.monotonic())
        if len(runs) == 3:
            third.set()
            return timedelta(hours=1)
        return timedelta(milliseconds=50)

    ticks = Ticks(1, failures)
    ticks.add("job", job)
    begun = time.monotonic()
    ticks.start()
    assert third.wait(PATIENT)
    assert ticks.stop(soon())
    assert runs[2] - begun >= 0.1
    assert (len(runs), failures) == (3, [])


def test_jobs_run_side_by_side_but_none_beside_itself() -> None:
    failures, meet, done = Failures(), threading.Barrier(2, timeout=PATIENT), threading.Event()
    running: list[str] = []
    overlaps: list[str] = []

    def job(name: str) -> timedelta:
        if name in running:
            overlaps.append(name)
        running.append(name)
        if not done.is_set():
            meet.wait()  # both are inside at the same time
            done.set()
        running.remove(name)
        return timedelta()

    ticks = Ticks(2, failures)
    for name in ("one", "other"):
        ticks.add(name, lambda name=name: job(name))  # type: ignore[misc]  # a loop variable bound by default
    ticks.start()
    assert done.wait(PATIENT)
    assert ticks.stop(soon())
    assert (overlaps, failures) == ([], [])


@pytest.mark.parametrize("error", [ValueError("a defect"), SystemExit(3)])
def test_a_job_that_raises_is_told_and_not_run_again(error: BaseException) -> None:
    failures, runs = Failures(), []

    def job() -> timedelta:
        runs.append(1)
        raise error

    ticks = Ticks(1, failures)
    ticks.add("job", job)
    ticks.start()
    assert failures.told.wait(PATIENT)
    assert ticks.stop(soon())
    assert (failures, runs) == ([error], [1])


def test_stopping_waits_for_what_runs_and_starts_nothing_more() -> None:
    failures, inside, leave, runs = Failures(), threading.Event(), threading.Event(), []

    def job() -> timedelta:
        runs.append("begun")
        inside.set()
        leave.wait(PATIENT)
        runs.append("ended")
        return timedelta()

    ticks = Ticks(1, failures)
    ticks.add("job", job)
    ticks.start()
    assert inside.wait(PATIENT)
    threading.Timer(0.05, leave.set).start()
    assert ticks.stop(soon())
    assert (runs, failures) == (["begun", "ended"], [])


def test_stopping_gives_up_at_the_deadline() -> None:
    inside, leave = threading.Event(), threading.Event()

    def job() -> timedelta:
        inside.set()
        leave.wait(PATIENT)
        return timedelta()

    ticks = Ticks(1, Failures())
    ticks.add("job", job)
    ticks.start()
    assert inside.wait(PATIENT)
    assert not ticks.stop(time.monotonic() + 0.05)
    leave.set()
