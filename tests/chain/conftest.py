"""Fixtures of the whole chain."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.settings import Secret
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatorSettings
from tests.chain.harness import KEY_ID, KEY_SECRET, Chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.demo.s3server import S3Server
    from tests.launching import Launcher


@pytest.fixture
def qps() -> int:
    """How many calls a second the service takes; a module that needs another service has its own."""
    return 110


@pytest.fixture
def chain(
    tmp_path: Path, seaweedfs: S3Server, bucket: tuple[Any, str], launcher: Launcher, qps: int
) -> Iterator[Chain]:
    """A chain with a fresh bucket, a simulator without faults, and no daemon yet."""
    settings = SimulatorSettings(
        access_key_id=KEY_ID,
        access_key_secret=Secret(KEY_SECRET),
        task_duration=timedelta(milliseconds=300),
        listing_delay=timedelta(milliseconds=200),
        qps=qps,
    )
    with Simulator(settings) as simulator:
        client, name = bucket
        running = Chain(tmp_path, name, seaweedfs, client, simulator, launcher)
        try:
            yield running
        finally:
            running.close()
