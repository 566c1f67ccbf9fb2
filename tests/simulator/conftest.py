"""A running simulator, and the official SDKs connected to it, for the simulator's own tests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.simulator.server import Simulator
from dispatcher.targets.alibaba import AlibabaClients, Product
from tests.simulator.desk import NOW, Clock, Connect, Sdks
from tests.simulator_fixtures import CREDENTIALS, endpoint_of, make_settings, simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["simulator"]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that connects both SDKs to a running simulator."""
    clients = AlibabaClients(CREDENTIALS, call_timeout=timedelta(seconds=10))

    def to(running: Simulator) -> Sdks:
        endpoint = endpoint_of(running)
        return Sdks(running, clients.client(endpoint), clients.client(endpoint, Product.IMM))

    yield to
    clients.close()


@pytest.fixture
def service(clock: Clock, connect: Connect) -> Iterator[Sdks]:
    """A simulator on a clock that stands until it is moved, with both SDKs; tasks and jobs take a minute."""
    minute = timedelta(minutes=1)
    with Simulator(make_settings(queue_duration=minute, task_duration=minute), clock=clock) as running:
        yield connect(running)
