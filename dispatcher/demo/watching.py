"""Watching the demo's ledger: says what changes, and waits for what must become true."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dispatcher.core.dispatch import DispatchState, TaskStatus
from dispatcher.errors import LedgerError, ServiceUnavailableError
from dispatcher.ledger import browse, snapshots
from dispatcher.ledger.browse import Selector
from dispatcher.ledger.engine import Ledger

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Collection, Mapping

    from dispatcher.ledger.browse import DispatchView
    from dispatcher.ledger.snapshots import RootStatistics

_LOOK_EVERY = 0.15
_WITHIN = 60.0
"""Seconds that anything the demo waits for may take."""


class Watch:
    """Reads the ledger again and again. Not thread-safe.

    Every wait raises ServiceUnavailableError when the daemon ends, or after a minute.
    """

    def __init__(self, url: str, daemon: subprocess.Popen[bytes], log: str, say: Callable[[str], None]) -> None:
        self._url = url
        self._daemon = daemon
        self._log = log
        self._say = say
        self._told: dict[str, str] = {}
        self._pause = threading.Event()

    def until_baseline(self, roots: int) -> None:
        """Wait until the first listing of every root is complete."""

        def complete() -> bool:
            found = self._roots()
            return len(found) >= roots and all(root.completed_at is not None for root in found)

        self._until(complete, "the first listing of every bucket")

    def until_passes(self, more: int) -> None:
        """Wait until every root was listed completely so many times more."""
        before = {(root.bucket, root.root): root.passes for root in self._roots()}

        def listed() -> bool:
            return all(root.passes >= before[root.bucket, root.root] + more for root in self._roots())

        self._until(listed, "the next listings")

    def until_started(self, ids: Collection[str]) -> None:
        """Wait until every one of these dispatches has its task."""
        self._until(
            lambda: self._all(ids, lambda row: row.state is DispatchState.STARTED),
            "the start of every matching object",
        )

    def until_final(self, ids: Collection[str]) -> None:
        """Wait until the task of every one of these dispatches has its final status."""
        final = {status.value for status in TaskStatus if status.final}
        self._until(lambda: self._all(ids, lambda row: row.task_status in final), "the end of every task")

    def rows(self) -> Mapping[str, DispatchView]:
        """Return all rows by dispatch id, and say what changed since the last look."""
        with closing(Ledger.open(self._url, readonly=True)) as ledger, ledger.read() as tx:
            found = {row.dispatch_id: row for row in browse.select(tx, Selector(), datetime.now(UTC))}
        for row in sorted(found.values(), key=lambda row: row.updated_at):
            self._tell(row)
        return found

    def _all(self, ids: Collection[str], reached: Callable[[DispatchView], bool]) -> bool:
        rows = self.rows()
        return all(each in rows and reached(rows[each]) for each in ids)

    def _tell(self, row: DispatchView) -> None:
        said = _words(row)
        if said and self._told.get(row.dispatch_id) != said:
            self._told[row.dispatch_id] = said
            self._say(f"      {row.bucket}/{row.key} -> {row.rule}: {said}")

    def _roots(self) -> list[RootStatistics]:
        try:
            with closing(Ledger.open(self._url, readonly=True)) as ledger, ledger.read() as tx:
                return snapshots.statistics(tx)
        except LedgerError:
            return []  # the daemon has not made it yet; the wait has a limit

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _WITHIN
        while not reached():
            if self._daemon.poll() is not None:
                raise ServiceUnavailableError(
                    f"the daemon ended with status {self._daemon.returncode} while the demo waited for {what}",
                    hint=f"its log says why: {self._log}",
                )
            if time.monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"{what} did not happen within {_WITHIN:.0f} s", hint=f"the daemon's log may say why: {self._log}"
                )
            self._pause.wait(_LOOK_EVERY)


def _words(row: DispatchView) -> str:
    if row.task_status is not None and TaskStatus(row.task_status).final:
        return f"task {row.task_id} ended: {row.task_status}"
    if row.task_id is not None:
        return f"started task {row.task_id}"
    if row.state in (DispatchState.PENDING, DispatchState.SENDING):
        return ""
    return f"{row.state} ({row.reason})" if row.reason is not None else str(row.state)
