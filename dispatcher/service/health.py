"""Health: what the parts of a running dispatcher tell of themselves, and what that means for a supervisor.

Parts tell, probes read. A part says within which time it will be heard of again (`expect`), so a part
that hangs is found by its silence, whatever it hangs on. Whoever commits sightings says how that ended.
Nothing here waits: not for a lock, not for the ledger, and never for anything in the cloud.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.core.health import Condition, ProbeAnswer
from dispatcher.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_WORK = timedelta(minutes=5)
"""Longest silence of a part that works: longer than one request to a store with its retries, or one wait for the
ledger. Longer work is heard of in between, with each answer that it gets."""
SLACK = timedelta(minutes=1)
"""How late the next turn of a part that rests may be: a loaded machine is no defect."""

_WAIT = "wait; if it lasts, the log says more"


@dataclass(frozen=True, slots=True)
class Promise:
    """When a part was last heard of, and until when it will be again; times of `monotonic`."""

    part: str
    heard_at: float
    until: float


class Health:
    """What is known of a running dispatcher. Thread-safe without a lock: every write replaces one whole value."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._promises: dict[object, Promise] = {}
        self._refused: Condition | None = None
        self._proven = False
        self._started = False
        self._stopping = False
        self.notes: tuple[Condition, ...] = ()
        """What to know besides, as last looked at; replaced as a whole."""
        self.summary = "starting"
        """One line for people: what it is doing."""

    # -- what parts tell ------------------------------------------------------------------------------

    def expect(self, part: str, within: timedelta) -> None:
        """Say that a part lives, and that it will be heard of again within a time; it replaces what it said before."""
        if not self._stopping:
            self._promise(part, part, within)

    def forget(self, part: str) -> None:
        """Say that a part ended or rests for as long as it likes. Idempotent."""
        self._promises.pop(part, None)

    @contextmanager
    def working(self, part: str) -> Iterator[None]:
        """Surround work of which several may be under way at once: each must end in time."""
        token = object()
        if not self._stopping:
            self._promise(token, part, AT_WORK)
        try:
            yield
        finally:
            self._promises.pop(token, None)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Surround the commit of sightings: it must end in time, and how it ends says whether intake can commit."""
        with self.working("intake"):
            try:
                yield
            except LedgerError as error:
                self.refused(error)
                raise
        self.proven()

    def proven(self) -> None:
        """Say that something was committed."""
        self._proven, self._refused = True, None

    def refused(self, error: LedgerError) -> None:
        """Say that the ledger took nothing."""
        self._refused = Condition("ledger_refuses", error.message, error.hint)

    def started(self) -> None:
        """Say that every part runs."""
        self._started = True

    def stopping(self, within: timedelta) -> None:
        """Say that the dispatcher leaves: from now on only that must end in time."""
        self._stopping = True
        self._promises.clear()
        self._promise("drain", "drain", within)
        self.summary = "draining"

    def _promise(self, key: object, part: str, within: timedelta) -> None:
        now = self._monotonic()
        self._promises[key] = Promise(part, now, now + within.total_seconds())

    # -- what probes read -----------------------------------------------------------------------------

    def live(self) -> ProbeAnswer:
        """Tell whether every part makes progress."""
        return ProbeAnswer(tuple(self._overdue()), self.notes)

    def ready(self) -> ProbeAnswer:
        """Tell whether what is seen now can be committed."""
        return ProbeAnswer(tuple(self._unready()), self.notes)

    def startup(self) -> ProbeAnswer:
        """Tell whether the start is complete; once it is, that stays so."""
        if self._started:
            return ProbeAnswer((), self.notes)
        return ProbeAnswer((Condition("starting", "not every part runs yet", _WAIT),), self.notes)

    def _overdue(self) -> Iterator[Condition]:
        now = self._monotonic()
        # A copy made in one step: other threads go on telling.
        for promise in tuple(self._promises.values()):
            if now > promise.until:
                silent = f"nothing was heard of it for {now - promise.heard_at:.0f} s"
                yield Condition("stuck", f"{promise.part}: {silent}", "it must be restarted; nothing is lost by that")

    def _unready(self) -> Iterator[Condition]:
        if self._stopping:
            yield Condition("stopping", "it was asked to leave and takes nothing new", "none: it ends by itself")
        elif not self._started:
            yield Condition("starting", "not every part runs yet", _WAIT)
        refused = self._refused
        if refused is not None:
            yield refused
        elif not self._proven:
            yield Condition("not_proven", "nothing was committed to the ledger yet", _WAIT)
