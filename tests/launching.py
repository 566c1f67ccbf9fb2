"""Starts the program as processes of its own, quickly: forked from one that has imported it (`launched`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

SERVER = Path(__file__).with_name("launched.py")


@dataclass
class Launched:
    """One started process; used as `subprocess.Popen` is."""

    pid: int
    returncode: int | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return the exit code, negative for a signal. Raises TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to a process that has not ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def ended(self, status: int) -> None:
        self.returncode = status
        self._ended.set()


class Launcher:
    """The process that forks, and those it forked. Thread-safe."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=without_proxies()
        )
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._number = 0
        self._pids: dict[int, int] = {}
        self._launched: dict[int, Launched] = {}
        self._reader = threading.Thread(target=self._read, name="launcher")
        self._reader.start()

    def start(
        self, arguments: Sequence[str], *, directory: Path, stdout: Path, stderr: Path, environment: Mapping[str, str]
    ) -> Launched:
        """Start `oss-dispatcher ARGUMENTS`; its streams are appended to the files."""
        assert self._server.stdin is not None
        for stream in (stdout, stderr):
            stream.touch()  # who reads them need not wait for the process to open them
        with self._news:
            self._number += 1
            number = self._number
            request = {
                "number": number,
                "arguments": list(arguments),
                "directory": str(directory),
                "stdout": str(stdout),
                "stderr": str(stderr),
                "environment": dict(environment),
            }
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
            assert self._news.wait_for(lambda: number in self._pids, timeout=60), "the launcher does not answer"
            return self._launched[self._pids.pop(number)]

    def close(self) -> None:
        """End the launcher, and with it whatever it started and still runs."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._reader.join()

    def _read(self) -> None:
        assert self._server.stdout is not None
        with self._server.stdout as told:
            for line in told:
                message = json.loads(line)
                with self._news:
                    if "started" in message:
                        self._pids[message["started"]] = message["pid"]
                        self._launched[message["pid"]] = Launched(message["pid"])
                        self._news.notify_all()
                    else:
                        self._launched.pop(message["ended"]).ended(message["status"])


def without_proxies() -> dict[str, str]:
    """Return the environment without proxies: everything that tests talk to is on loopback."""
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
