"""The simulator for tests: import the fixture into a conftest, or call `make_settings` and start your own."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.core.calls import Endpoint
from dispatcher.core.settings import Credentials, Secret
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCESS_KEY_ID = "test-key"
ACCESS_KEY_SECRET = Secret("test-secret")
CREDENTIALS = Credentials(ACCESS_KEY_ID, ACCESS_KEY_SECRET)
REGION = "cn-hangzhou"


def make_settings(**changes: Any) -> SimulatorSettings:
    """Settings with the tests' keys; tasks end at once unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "access_key_id": ACCESS_KEY_ID,
        "access_key_secret": ACCESS_KEY_SECRET,
        "region": REGION,
        "task_duration": timedelta(),
    }
    return SimulatorSettings(**(values | changes))


def endpoint_of(simulator: Simulator) -> Endpoint:
    """The endpoint that a call to this simulator carries."""
    return Endpoint(simulator.settings.region, simulator.url)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A running simulator that knows every workflow, without faults; change it by `set_faults`."""
    with Simulator(make_settings()) as running:
        yield running


def wait_until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Return once the condition holds; fail the test if it does not within so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not true within {within} s")
        threading.Event().wait(0.005)
