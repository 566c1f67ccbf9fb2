"""One ledger with its sender, a clock that stands, strict fakes, and the program's log as data."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from dispatcher.ledger import browse, rates
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.engine import Ledger
from dispatcher.ports import Batch
from dispatcher.service.assembly import register
from dispatcher.service.behind import ALWAYS_OPEN
from dispatcher.service.deciding import Deciding
from dispatcher.service.hints import Hints
from dispatcher.service.intake import Intake
from dispatcher.service.routes import routes
from dispatcher.service.sweeping import Sweeper
from dispatcher.service.upkeep import Upkeep
from dispatcher.service.worker import Worker
from tests.service.fakes import Clock, ScriptedJobs, ScriptedTarget, ScriptedTasks, make_settings, seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping
    from pathlib import Path

    from dispatcher.core.settings import Settings
    from dispatcher.ledger.browse import DispatchDetail, DispatchView
    from dispatcher.ledger.sending import Incarnation
    from dispatcher.ports import Target
    from dispatcher.service.behind import Gate

Log = list["MutableMapping[str, Any]"]


@dataclass
class Scene:
    """What every service test needs. `settings` may be replaced before a part is made."""

    url: str
    ledger: Ledger
    sender: Incarnation
    clock: Clock
    target: ScriptedTarget
    tasks: ScriptedTasks
    settings: Settings
    jobs: ScriptedJobs = field(default_factory=ScriptedJobs)
    hints: Hints = field(default_factory=Hints)
    stop: threading.Event = field(default_factory=threading.Event)
    woken: int = 0
    workers: list[Worker] = field(default_factory=list)

    def intake(self, *, shadow: bool = False) -> Intake:
        registered = register(self.settings, self.ledger, self.clock())
        return Intake(
            self.ledger, self.settings.rules, registered.first_revision, self.clock, self._wake, shadow=shadow
        )

    def _wake(self) -> None:
        self.woken += 1

    def record(self, *keys: str, etag: str = "e1") -> list[str]:
        """Record sightings; return the ids in the order of the keys (one rule)."""
        self.intake().take(Batch([seen(key, etag) for key in keys]))
        ids = {row.key: row.dispatch_id for row in self.rows() if row.etag == etag}
        return [ids[key] for key in keys]

    def worker(self, target: Target | None = None, *, gate: Gate = ALWAYS_OPEN) -> Worker:
        """Make a worker whose permits of a long quiet time are saved up: a burst may go at once."""
        with self.ledger.write() as tx:
            for route in routes(self.settings):
                rates.take(tx, route.target, route.rate, 1, self.clock() - timedelta(minutes=1))
        worker = Worker(
            self.settings,
            self.ledger,
            self.sender,
            target or self.target,
            clock=self.clock,
            chance=lambda: 0.5,
            gate=gate,
        )
        self.workers.append(worker)
        return worker

    def sweeper(self) -> Sweeper:
        return Sweeper(self.settings, self.ledger, self.tasks, self.jobs, self.clock, self.stop, chance=lambda: 0.5)

    def upkeep(self) -> Upkeep:
        self.intake()  # a start registers the present rules
        return Upkeep(
            self.settings, self.ledger, self.tasks, self.jobs, self.hints, self.sweeper(), self.clock, self.stop
        )

    def deciding(self, stores: Mapping[str, Any] | None = None) -> Deciding:
        return Deciding(self.ledger, stores or {}, self.intake(), self.clock, self.stop)

    def rows(self) -> list[DispatchView]:
        with self.ledger.read() as tx:
            return list(browse.select(tx, Selector(limit=None), self.clock()))

    def row(self, dispatch: str) -> DispatchView:
        return next(row for row in self.rows() if row.dispatch_id == dispatch)

    def states(self) -> dict[str, str]:
        """Every row's state by its key (one rule, one content)."""
        return {row.key: row.state.value for row in self.rows()}

    def detail(self, dispatch: str) -> DispatchDetail:
        with self.ledger.read() as tx:
            found = browse.show(tx, dispatch, self.clock())
        assert found is not None
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger, clock = Ledger.open(url), Clock()
    made = Scene(url, ledger, ledger.become_sender(clock()), clock, ScriptedTarget(), ScriptedTasks(), make_settings())
    yield made
    made.stop.set()
    made.target.open_gate()
    for worker in made.workers:
        worker._calls.shutdown()
    ledger.close()
    assert made.target.unexpected == []
    assert made.tasks.unexpected == []
    assert made.jobs.unexpected == []


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def plain_logging() -> Iterator[None]:
    """Let a test configure the real log, and put everything back."""
    root = logging.getLogger()
    handlers, level, scheduler = root.handlers[:], root.level, logging.getLogger("apscheduler").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("apscheduler").setLevel(scheduler)
    structlog.reset_defaults()


def lines(log: Log, event: str) -> Log:
    """The log's lines of one event."""
    return [line for line in log if line["event"] == event]
