"""What every source promises, run over each of them with the real front half and a real ledger.

Acknowledged only after the commit; redelivery is harmless; a crash before the acknowledgement loses nothing;
a stop is heard. A new source joins in `stations.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from dispatcher import crashpoints
from dispatcher.core.events import decode_key
from dispatcher.ledger.engine import Ledger
from dispatcher.ledger.failures import LedgerFullError
from dispatcher.ledger.tables import dispatches, sightings
from tests.sources.stations import PATIENT, STATIONS, Station, describe, make_intake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.ports import Batch

NAMES = ("in/a.mp4", "in/b c+d.mp4", "in/é.mp4")
PROMPTLY = 5.0


class Died(Exception):  # noqa: N818 - not an error of the product
    """The process ended here."""


@dataclass
class Desk:
    """A station, and the ledger that its source brings to."""

    station: Station
    ledger: Ledger
    url: str

    def recorded(self) -> Counter[str]:
        """How many rows each key has, decided or waiting to be."""
        with self.ledger.read() as tx:
            keys = [*tx.scalars(select(dispatches.c.key)), *tx.scalars(select(sightings.c.key))]
        return Counter(map(decode_key, keys))

    def run(self, take: Callable[[Batch], object] | None = None) -> None:
        """Let a new source bring everything, until nothing is unacknowledged."""
        stop, late = threading.Event(), threading.Event()

        def give_up() -> None:
            late.set()
            stop.set()

        watch = threading.Timer(PATIENT, give_up)
        watch.start()
        commit = take or make_intake(self.ledger).take

        def until_done(batch: Batch) -> None:
            commit(batch)
            if self.station.unacknowledged() == 0:
                stop.set()

        try:
            self.station.run(until_done, stop)
        finally:
            watch.cancel()
        assert not late.is_set(), f"not everything was brought: {self.recorded()}"


@pytest.fixture(params=sorted(STATIONS))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger.open(url)
    with STATIONS[request.param](ledger) as station:
        yield Desk(station, ledger, url)
    ledger.close()


def once(*names: str) -> Counter[str]:
    return Counter(names)


def test_everything_announced_is_recorded_and_then_acknowledged(desk: Desk) -> None:
    desk.station.announce(*NAMES)
    assert desk.station.unacknowledged() == len(NAMES)
    desk.run()
    assert (desk.recorded(), desk.station.unacknowledged()) == (once(*NAMES), 0)


def test_nothing_is_acknowledged_before_its_commit(desk: Desk) -> None:
    desk.station.announce(*NAMES)
    intake = make_intake(desk.ledger)
    looked: list[int] = []

    def take(batch: Batch) -> None:
        before = desk.station.unacknowledged()
        unknown = {event.key for event in batch.events} - desk.recorded().keys()

        def acknowledge() -> None:
            assert {event.key for event in batch.events} <= desk.recorded().keys()
            batch.ack()

        assert before >= len(unknown)
        looked.append(len(unknown))
        intake.take(replace(batch, ack=acknowledge))

    desk.run(take)
    assert sum(looked) == len(NAMES)
    assert desk.station.unacknowledged() == 0


def test_dying_before_the_commit_loses_nothing(desk: Desk) -> None:
    desk.station.announce(*NAMES)

    def die(batch: Batch) -> None:
        if batch.events:
            raise Died

    with pytest.raises(Died):
        desk.run(die)
    assert desk.recorded() == Counter()
    desk.station.time_passes()
    assert desk.station.unacknowledged() == len(NAMES)
    desk.run()
    assert (desk.recorded(), desk.station.unacknowledged()) == (once(*NAMES), 0)


def test_dying_between_commit_and_acknowledgement_starts_nothing_twice(desk: Desk) -> None:
    desk.station.announce(*NAMES)
    intake = make_intake(desk.ledger)

    def die() -> None:
        raise Died

    with pytest.raises(Died):
        desk.run(lambda batch: intake.take(replace(batch, ack=die)))
    first = desk.recorded()
    assert first.keys() <= set(NAMES)
    desk.station.time_passes()
    desk.station.announce("in/last.mp4")
    desk.run()
    assert (desk.recorded(), desk.station.unacknowledged()) == (once(*NAMES, "in/last.mp4"), 0)


def test_a_ledger_that_refuses_for_a_while_delays_and_loses_nothing(desk: Desk) -> None:
    desk.station.announce(*NAMES)
    intake = make_intake(desk.ledger)
    for _ in range(2):
        with pytest.raises(LedgerFullError):
            desk.run(_refuse)
        desk.station.time_passes()
    desk.run(intake.take)
    assert (desk.recorded(), desk.station.unacknowledged()) == (once(*NAMES), 0)


def _refuse(batch: Batch) -> None:
    raise LedgerFullError("the disk is full", hint="make room")


def test_the_same_announcement_twice_is_one_row(desk: Desk) -> None:
    for _ in range(2):
        desk.station.announce(*NAMES)
        if desk.station.unacknowledged():
            desk.run()
    assert desk.recorded() == once(*NAMES)


@pytest.mark.parametrize("place", ["before_record_commit", "after_record_commit"])
def test_a_killed_process_loses_nothing_and_starts_nothing_twice(desk: Desk, place: str) -> None:
    desk.station.announce(*NAMES)
    assert _run_process(desk, crash_at=place) == -signal.SIGKILL
    recorded = desk.recorded()
    assert (recorded == Counter()) is (place == "before_record_commit")
    desk.station.time_passes()
    desk.station.announce("in/last.mp4")
    desk.run()
    assert (desk.recorded(), desk.station.unacknowledged()) == (once(*NAMES, "in/last.mp4"), 0)


def _run_process(desk: Desk, crash_at: str) -> int:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    root = Path(__file__).parents[2]
    environment |= {crashpoints.VARIABLE: crash_at, "PYTHONPATH": str(root)}
    module = "tests.sources.station_process"
    process = subprocess.run(
        [sys.executable, "-m", module, desk.station.process, describe(desk.station), desk.url],
        env=environment,
        cwd=root,
        timeout=60,
        check=False,
    )
    return process.returncode


def test_a_stop_is_heard_while_the_other_side_has_nothing_to_say(desk: Desk) -> None:
    stop = threading.Event()
    brought: list[Batch] = []
    running = threading.Thread(target=desk.station.run, args=(brought.append, stop))
    running.start()
    desk.station.wait_until_idle()
    stop.set()
    running.join(PROMPTLY)
    assert not running.is_alive()
    assert [batch.events for batch in brought if batch.events] == []


def test_what_is_announced_while_it_runs_is_brought(desk: Desk) -> None:
    desk.station.announce(NAMES[0])
    desk.run()
    desk.station.announce(*NAMES[1:])
    desk.run()
    assert (desk.recorded(), desk.station.unacknowledged()) == (once(*NAMES), 0)
