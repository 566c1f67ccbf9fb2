"""A bucket on moto, the simulator, and `oss-dispatcher backfill` as processes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.settings import Secret
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatorSettings
from tests.chain.harness import KEY_ID, KEY_SECRET, Chain, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server
    from tests.launching import Launched, Launcher


@dataclass
class Run:
    """One run of the command, which may still be going on."""

    process: Launched
    out: Path
    err: Path

    def ended(self, within: float = 60) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(timeout=within)

    @property
    def data(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out.read_text())

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        return self.err.read_text()


@dataclass
class Yard(Chain):
    """A chain whose daemon, if there is one, is accompanied by backfills."""

    runs: list[Run] = field(default_factory=list)

    def fill(self, *keys: str) -> None:
        """Put objects, a few at a time."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.put, keys))

    def backfill(self, *arguments: str, crash_at: str = "") -> Run:
        """Start `oss-dispatcher backfill ARGUMENTS -o json`."""
        number = len(self.runs)
        out, err = self.home / f"backfill-{number}.out", self.home / f"backfill-{number}.err"
        process = self._launch(["-o", "json", "backfill", *arguments], out, err, crash_at=crash_at)
        self.processes.append(process)
        self.runs.append(Run(process, out, err))
        return self.runs[-1]

    def listed(self) -> list[dict[str, Any]]:
        """Return what `backfill list` shows."""
        listed: list[dict[str, Any]] = json.loads(self.command("-o", "json", "backfill", "list").stdout)
        return listed

    def close(self) -> None:
        self.said += [run.said + run.out.read_text() for run in self.runs]
        super().close()


@pytest.fixture
def task_duration() -> timedelta:
    """How long a task of the simulator runs; a test that needs another has its own."""
    return timedelta(milliseconds=200)


@pytest.fixture
def yard(
    tmp_path: Path,
    moto: S3Server,
    make_bucket: Callable[[S3Server], tuple[Any, str]],
    launcher: Launcher,
    task_duration: timedelta,
) -> Iterator[Yard]:
    """A fresh bucket, a simulator without faults, and two rules that both match `in/`."""
    settings = SimulatorSettings(
        access_key_id=KEY_ID,
        access_key_secret=Secret(KEY_SECRET),
        task_duration=task_duration,
        listing_delay=timedelta(),
        qps=500,
    )
    client, bucket = make_bucket(moto)
    with Simulator(settings) as simulator:
        yard = Yard(tmp_path, bucket, moto, client, simulator, launcher)
        yard.configure(rule("a", "in/"), rule("b", "in/b/", extensions=["mp4"]), rate=400)
        try:
            yield yard
        finally:
            yard.close()
