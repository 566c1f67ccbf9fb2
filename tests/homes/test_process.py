"""The real daemon as a supervisor has it: a notify socket, probes, signals, and as the first process of a container.

Everything of the cloud is away: none of this may depend on it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.launching import without_proxies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.launching import Launched, Launcher

CONFIG = """
http: {{listen: 127.0.0.1:{port}}}
buckets: [{{name: b, endpoint: "http://127.0.0.1:1", addressing: path, region: cn-hangzhou}}]
ims: {{endpoint: "http://127.0.0.1:1"}}
credentials: {{type: access_key, access_key_id: id, access_key_secret: not-a-secret}}
limits: {{drain_timeout: 20s}}
never_trigger: [out/]
rules: [{{name: a, input: in/, workflow: {{id: w, media_url: "oss://mirror/{{key}}"}}}}]
"""
WITHIN = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)


@dataclass
class Place:
    """A directory with a configuration, and the daemon's log."""

    home: Path
    launcher: Launcher

    @property
    def log(self) -> Path:
        return self.home / "log"

    def configure(self, port: int = 0) -> None:
        (self.home / "oss-dispatcher.yaml").write_text(CONFIG.format(port=port))

    def start(self, *words: str, **environment: str) -> Launched:
        return self.launcher.start(
            list(words),
            directory=self.home,
            stdout=self.log,
            stderr=self.log,
            environment={**without_proxies(), **environment},
        )

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines of one event; what is not complete yet is left out."""
        whole = self.log.read_text().rpartition("\n")[0].splitlines() if self.log.exists() else []
        return [line for line in (json.loads(each) for each in whole if each[:1] == "{") if line["event"] == event]

    def port(self) -> int:
        wait_until(lambda: bool(self.lines("listener.open")), "it does not listen")
        return int(self.lines("listener.open")[-1]["address"].rpartition(":")[2])


@pytest.fixture
def place(tmp_path: Path, launcher: Launcher) -> Place:
    made = Place(tmp_path, launcher)
    made.configure()
    return made


@dataclass
class Manager:
    """systemd's side of the notify socket."""

    address: str
    channel: socket.socket

    def wait_for(self, assignment: str) -> dict[str, str]:
        """Return the first message with this assignment; earlier ones are dropped."""
        while True:
            message = self.channel.recv(65_536).decode()
            if assignment in message.split("\n"):
                return dict(line.split("=", 1) for line in message.split("\n"))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(WITHIN)
        yield Manager(str(tmp_path / "notify"), channel)


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_service_manager_and_probes_see_a_life_from_start_to_end(place: Place, manager: Manager) -> None:
    """READY when it can commit, fed by progress, deaf to SIGHUP, STOPPING with the time that the drain may take."""
    daemon = place.start("run", NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="1000000")
    assert manager.wait_for("STATUS=opening the ledger")["EXTEND_TIMEOUT_USEC"]
    assert manager.wait_for("READY=1")["STATUS"].startswith("watching b; 1 rule")
    port = place.port()
    for path in ("/livez", "/readyz", "/startupz"):
        status, told = get(port, path)
        assert (status, told["program"], told["ok"], told["reasons"]) == (200, "oss-dispatcher", True, [])
    wait_until(lambda: bool(place.lines("pass.failed")), "the bucket is away")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: bool(place.lines("reload.not_done")), "SIGHUP is not answered")
    assert manager.wait_for("WATCHDOG=1")
    assert get(port, "/readyz")[0] == 200
    daemon.send_signal(signal.SIGTERM)
    assert manager.wait_for("STOPPING=1")["EXTEND_TIMEOUT_USEC"] == "30000000"
    assert daemon.wait(WITHIN) == 0


def test_healthcheck_is_0_while_the_daemon_is_well_and_1_without_it(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.configure(port)
    daemon = place.start("run")
    place.port()
    wait_until(lambda: place.start("healthcheck", "--ready").wait(WITHIN) == 0, "it is not ready")
    assert place.start("healthcheck").wait(WITHIN) == 0
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(WITHIN) == 0
    assert place.start("healthcheck").wait(WITHIN) == 1
    assert "nothing answers" in place.log.read_text()


@pytest.fixture
def first_process(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Start `run` as the first process of a process name space; return its pid as this name space has it."""
    started: list[subprocess.Popen[bytes]] = []
    words = ["unshare", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("process name spaces cannot be made here: that takes root and util-linux")

    def start() -> int:
        with (tmp_path / "log").open("ab") as log:
            outer = subprocess.Popen(
                [*words, sys.executable, "-m", "dispatcher", "run"],
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                env={**without_proxies(), "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        started.append(outer)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        wait_until(lambda: bool(children.read_text().split()), "unshare started nothing")
        return int(children.read_text().split()[0])

    yield start
    for outer in started:
        outer.kill()
        outer.wait(WITHIN)


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_as_the_first_process_of_a_container_it_drains_on_sigterm(
    place: Place, first_process: Callable[[], int]
) -> None:
    """The kernel drops signals that the first process has no answer for; it must have one."""
    pid = first_process()
    place.port()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: ended(pid), "it does not leave")
    assert place.lines("daemon.stopped")[0]["drained"]


def test_as_the_first_process_of_a_container_it_leaves_at_once_when_asked_twice(
    place: Place, first_process: Callable[[], int]
) -> None:
    """The drain waits for a long poll... of a server that takes a call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        text = CONFIG.format(port=0).replace('ims: {endpoint: "http://127.0.0.1:1"}', "ims: {endpoint: %s}")
        (place.home / "oss-dispatcher.yaml").write_text(text % f'"http://127.0.0.1:{silent.getsockname()[1]}"')
        pid = first_process()
        silent.settimeout(WITHIN)
        connection, _ = silent.accept()  # the daemon asks the service something, and waits for the answer
        with connection:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: bool(place.lines("daemon.draining")), "it does not drain")
            assert not ended(pid)
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: ended(pid), "it does not leave")
            assert not place.lines("daemon.stopped")
