"""SDK clients of a running simulator, for every test of the targets."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.targets.alibaba import AlibabaClients
from tests.simulator_fixtures import CREDENTIALS, simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.core.settings import Credentials

__all__ = ["clients", "make_clients", "simulator"]


@pytest.fixture
def make_clients() -> Iterator[Callable[..., AlibabaClients]]:
    """Return a function that makes clients; their connections are closed after the test."""
    made: list[AlibabaClients] = []

    def make(credentials: Credentials = CREDENTIALS, timeout: float = 10.0) -> AlibabaClients:
        made.append(AlibabaClients(credentials, call_timeout=timedelta(seconds=timeout)))
        return made[-1]

    yield make
    for clients in made:
        clients.close()


@pytest.fixture
def clients(make_clients: Callable[..., AlibabaClients]) -> AlibabaClients:
    """Clients with the simulator's keys and a patient time-out."""
    return make_clients()
