"""What systemd is told, on a real socket: of the file system and of the abstract name space."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.core.health import Condition
from dispatcher.service.beacon import OFTEN, Beacon
from dispatcher.service.health import AT_WORK, Health
from dispatcher.service.notifying import ServiceManager
from tests.service.conftest import lines
from tests.service.test_health import Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.conftest import Log


@dataclass
class Listening:
    """The manager's side of the socket."""

    channel: socket.socket
    address: str

    def told(self) -> list[dict[str, str]]:
        """Return the messages that came, each as its assignments."""
        found: list[dict[str, str]] = []
        while True:
            try:
                message = self.channel.recv(65_536, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in message.split("\n")))


@pytest.fixture(params=["path", "abstract"])
def manager_side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listening]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        if request.param == "path":
            address = str(tmp_path / "notify")
            channel.bind(address)
        else:
            name = f"oss-dispatcher-test-{uuid.uuid4().hex}"
            channel.bind("\0" + name)
            address = "@" + name
        yield Listening(channel, address)


def test_each_message_as_the_protocol_has_it(manager_side: Listening) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": manager_side.address}, 1)
    manager.ready("watching b")
    manager.alive()
    manager.stopping("draining", timedelta(seconds=40))
    manager.status("two\nlines=1 \u202e")
    assert manager_side.told() == [
        {"READY": "1", "STATUS": "watching b"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1", "STATUS": "draining", "EXTEND_TIMEOUT_USEC": "40000000"},
        {"STATUS": "two\\nlines=1 \\u202e"},
    ]


def test_a_reload_carries_the_time_at_which_it_began(manager_side: Listening) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    ServiceManager(manager_side.address).reloading("reading oss-dispatcher.yaml")
    [told] = manager_side.told()
    assert told["RELOADING"] == "1"
    assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000


def test_a_long_start_asks_for_time_and_ends_asking(manager_side: Listening) -> None:
    with ServiceManager(manager_side.address).extending("upgrading the ledger"):
        assert manager_side.told() == [{"STATUS": "upgrading the ledger", "EXTEND_TIMEOUT_USEC": "60000000"}]
        assert "extending" in {thread.name for thread in threading.enumerate()}
    assert "extending" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(environment: dict[str, str], watchdog: int | None) -> None:
    found = ServiceManager.of({"NOTIFY_SOCKET": "/run/notify", **environment}, 7)
    assert found.watchdog == (None if watchdog is None else timedelta(seconds=watchdog))


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_socket_of_this_machine_nothing_is_said(address: str) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, 1)
    assert manager == ServiceManager()
    manager.ready("unheard")


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "gone")).alive()


# -- the beacon ---------------------------------------------------------------------------------------


def test_the_watchdog_is_fed_while_every_part_makes_progress_and_not_after(manager_side: Listening, log: Log) -> None:
    seconds = Seconds()
    health = Health(seconds)
    beacon = Beacon(ServiceManager(manager_side.address, timedelta(seconds=20)), health)
    health.expect("worker", AT_WORK)
    health.started()
    beacon.turn()
    assert manager_side.told() == [{"WATCHDOG": "1"}, {"STATUS": "starting"}]
    health.proven()
    health.summary = "watching b"
    beacon.turn()
    beacon.turn()
    assert manager_side.told() == [{"WATCHDOG": "1"}, {"READY": "1", "STATUS": "watching b"}, {"WATCHDOG": "1"}]
    seconds.later(AT_WORK + timedelta(seconds=1))
    beacon.turn()
    beacon.turn()
    assert manager_side.told() == [{"STATUS": "stuck: worker: nothing was heard of it for 301 s"}]
    assert len(lines(log, "health.stuck")) == 1
    health.expect("worker", AT_WORK)
    beacon.turn()
    assert manager_side.told() == [{"WATCHDOG": "1"}, {"STATUS": "watching b"}]


def test_it_is_ready_when_intake_can_commit_and_not_before(manager_side: Listening) -> None:
    health = Health()
    beacon = Beacon(ServiceManager(manager_side.address), health)
    health.started()
    health.notes = (Condition("credentials", "refused", "renew them"),)
    beacon.turn()
    assert not any("READY" in each for each in manager_side.told())
    health.proven()
    beacon.turn()
    assert any("READY" in each for each in manager_side.told())


def test_it_speaks_at_least_twice_within_the_watchdogs_time() -> None:
    assert Beacon(ServiceManager("/x", timedelta(seconds=4)), Health()).every == timedelta(seconds=2)
    assert Beacon(ServiceManager("/x", timedelta(minutes=4)), Health()).every == OFTEN
    assert Beacon(ServiceManager(), Health()).every == OFTEN
