"""Telling systemd: the notification protocol of `sd_notify(3)`, spoken on the socket that the manager names.

Without such a socket nothing is said. A message that cannot be delivered is dropped: a manager that does not
listen is no reason to stop working.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXTEND_BY = timedelta(seconds=60)
_EXTEND_EVERY = timedelta(seconds=15)
_EXTEND_FOR = timedelta(hours=2)
"""For how long a start is excused: a ledger of any size is upgraded by then, or never."""
_MICROSECONDS = 1_000_000
_LONGEST_STATUS = 500


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The manager that started this process. `address` None: none did, or none that wants to be told.

    `watchdog` is the time within which the manager wants to hear of progress, None where it does not.
    Thread-safe.
    """

    address: str | None = None
    watchdog: timedelta | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int) -> ServiceManager:
        """Return the manager that an environment names. A watchdog meant for another process is none of ours."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return cls()
        try:
            microseconds = int(environment.get("WATCHDOG_USEC", "0"))
            ours = int(environment.get("WATCHDOG_PID", pid)) == pid
        except ValueError:
            microseconds, ours = 0, False
        return cls(address, timedelta(microseconds=microseconds) if ours and microseconds > 0 else None)

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is complete."""
        self._send("READY=1", _status(status))

    def reloading(self, status: str) -> None:
        """Say that the configuration is being read again; `ready` says that it was, also where it was refused."""
        # The time lets the manager tell this answer to its signal from an earlier one.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", _status(status))

    def stopping(self, status: str, within: timedelta) -> None:
        """Say that the process leaves, and that it may take so long."""
        self._send("STOPPING=1", _status(status), _extension(within))

    def status(self, text: str) -> None:
        """Tell people what it is doing, in one line."""
        self._send(_status(text))

    def alive(self) -> None:
        """Feed the watchdog. Call it only where progress was seen."""
        self._send("WATCHDOG=1")

    @contextmanager
    def extending(self, status: str) -> Iterator[None]:
        """Surround a part of the start that may take longer than the manager waits, such as a ledger's upgrade."""
        if self.address is None:
            yield
            return
        ended = threading.Event()
        self._send(_status(status), _extension(_EXTEND_BY))
        thread = threading.Thread(target=self._extend, args=(ended,), name="extending", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _extend(self, ended: threading.Event) -> None:
        deadline = time.monotonic() + _EXTEND_FOR.total_seconds()
        while not ended.wait(_EXTEND_EVERY.total_seconds()) and time.monotonic() < deadline:
            self._send(_extension(_EXTEND_BY))

    def _send(self, *assignments: str) -> None:
        if self.address is None:
            return
        where = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(1.0)  # a manager whose queue is full does not stop us
            channel.sendto("\n".join(assignments).encode("utf-8", "backslashreplace"), where)


def _status(text: str) -> str:
    # One line: what is told of object keys and names must not become another assignment.
    return f"STATUS={printable(text)[:_LONGEST_STATUS]}"


def _extension(within: timedelta) -> str:
    return f"EXTEND_TIMEOUT_USEC={int(within.total_seconds() * _MICROSECONDS)}"


def manager_of_process() -> ServiceManager:
    """Return the manager of this process."""
    return ServiceManager.of(os.environ, os.getpid())
