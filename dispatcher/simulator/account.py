"""What the simulated account owns, and the one way to change it: journalled first, then applied.

A new account on an old journal applies the same lines again, so it is what the killed one was.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, assert_never

from dispatcher.simulator.batches import BatchBook
from dispatcher.simulator.jobs import JobBook
from dispatcher.simulator.journal import AcceptedCall, Delivery, JournalEntry
from dispatcher.simulator.media import MediaBook
from dispatcher.simulator.quick import QuickBook
from dispatcher.simulator.signature import Refused
from dispatcher.simulator.tasks import TaskBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dispatcher.simulator.journal import JournalFile, JournalLine
    from dispatcher.simulator.settings import SimulatorSettings

WITH_TOKEN = ("SubmitMediaProducingJob", "RegisterMediaInfo")
"""The APIs that take a client token."""


class Account:
    """The account's tasks, jobs, media assets and batches. Thread-safe.

    Each change is on disk, if there is a file, before the method returns; if that fails it raises
    OSError and nothing has changed.
    """

    def __init__(self, settings: SimulatorSettings, file: JournalFile | None, now: datetime) -> None:
        self.settings = settings
        self.tasks = TaskBook(settings)
        self.jobs = JobBook(settings)
        self.media = MediaBook(settings)
        self.batches = BatchBook(settings)
        self.quick = QuickBook(settings, now)
        self._file = file
        self._lock = threading.RLock()
        self._calls: list[AcceptedCall] = []
        self._deliveries: list[Delivery] = []
        self._tokens: dict[tuple[str, str], AcceptedCall] = {}
        for line in file.load() if file else ():
            self._take(line)

    def add(self, line: JournalEntry | Delivery) -> None:
        """Start a workflow task, or note what became of a callback."""
        self._write(line)

    def accept(self, call: AcceptedCall, decide: Callable[[], Mapping[str, str]]) -> AcceptedCall:
        """Accept a call, and return it with its answer.

        A client token that was used lately gives the first answer again, and nothing is made; with
        other parameters it is refused. Otherwise `decide` gives the answer, or raises Refused.
        """
        with self._lock:
            first = self._first_use(call)
            if first is None:
                done = _answered(call, decide(), repeat=False)
            elif _without_token(first) == _without_token(call):
                done = _answered(call, first.answer, repeat=True)
            else:
                raise Refused(
                    400, "IdempotentParameterMismatch", "The client token was used with other parameters already."
                )
            self._write(done)
            return done

    def calls(self, api: str | None = None) -> list[AcceptedCall]:
        """Return the accepted calls that are not starts, in order; of one API if it is named."""
        with self._lock:
            return [call for call in self._calls if api is None or call.api == api]

    def buckets_of(self, project: str) -> tuple[str, ...]:
        """Return the buckets that are bound to an IMM project."""
        found = self.settings.project(project)
        return () if found is None else found.buckets

    def deliveries(self) -> list[Delivery]:
        """Return what became of each callback, in order."""
        with self._lock:
            return list(self._deliveries)

    def _first_use(self, call: AcceptedCall) -> AcceptedCall | None:
        first = self._tokens.get((call.api, call.client_token))
        return first if first is not None and call.at - first.at < self.settings.token_lifetime else None

    def _write(self, line: JournalLine) -> None:
        with self._lock:
            if self._file is not None:
                self._file.append(line)
            self._take(line)

    def _take(self, line: JournalLine) -> None:
        match line:
            case JournalEntry():
                self.tasks.add(line)
            case Delivery():
                self._deliveries.append(line)
            case AcceptedCall():
                self._calls.append(line)
                if not line.repeat:
                    self._apply(line)
            case _:
                assert_never(line)

    def _apply(self, call: AcceptedCall) -> None:
        if call.client_token and call.api in WITH_TOKEN:
            self._tokens[call.api, call.client_token] = call
        match call.api:
            case "SubmitMediaProducingJob":
                self.jobs.apply(call)
            case "RegisterMediaInfo":
                self.media.apply(call)
            case _:
                self.batches.apply(call)


def _answered(call: AcceptedCall, answer: Mapping[str, str], *, repeat: bool) -> AcceptedCall:
    return AcceptedCall(call.at, call.api, call.request_id, call.query, call.form, answer, repeat, call.fault)


def _without_token(call: AcceptedCall) -> dict[str, str]:
    return {name: value for name, value in call.parameters.items() if name != "ClientToken"}
