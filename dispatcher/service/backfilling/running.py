"""A backfill from its beginning, or from wherever it was left, to the end of its last row.

One thread: it records page by page, and between pages and afterwards looks who sends, tells the operator, and sees
whether the backfill has ended or has to stop.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from dispatcher.core.backfilling import BackfillState
from dispatcher.core.dispatch import DispatchState
from dispatcher.errors import DispatcherError, ExitCode, LedgerError
from dispatcher.ledger import backfills, notices, rates
from dispatcher.ledger.notices import NoticeCode
from dispatcher.service.backfilling.recording import LookEnd, Recorder

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from dispatcher.ledger.backfills import Backfill, RowCounts
    from dispatcher.ledger.engine import Ledger
    from dispatcher.service.backfilling.matching import Matching
    from dispatcher.service.backfilling.objects import Objects
    from dispatcher.service.backfilling.sending import Sender, Sending

LOOK_EVERY = timedelta(milliseconds=200)
BLOCKED_FOR = timedelta(seconds=15)
"""How long nothing may move for a reason that passes by no waiting, before the command leaves."""


class End(Enum):
    """Why the command leaves."""

    DONE = "done"
    ASKED = "it was asked to stop, and paused the backfill"
    STOPPED = "another command stopped the backfill"
    EXPIRED = "its time (--for) is over"
    HELD = "what is left waits for an operator: held rules, or unanswered calls that on_uncertain: hold keeps"
    DENIED = "the service refuses the credentials"
    BEHIND = "the service has tasks of ours that this ledger does not know (ledger_behind)"

    @property
    def pauses(self) -> bool:
        """Whether the backfill stands still from then on."""
        return self in (End.ASKED, End.EXPIRED)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a backfill stands at one moment. `recording`: its look is still under way."""

    backfill: Backfill
    counts: RowCounts
    at: datetime
    recording: bool
    sender: Sender


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the command ended, and where the backfill stands."""

    why: End
    progress: Progress

    @property
    def exit_code(self) -> ExitCode:
        match self.why:
            case End.DONE:
                dead = self.progress.counts.of(DispatchState.DEAD)
                return ExitCode.OBJECTS_FAILED if dead else ExitCode.DONE
            case End.DENIED:
                return ExitCode.CREDENTIALS
            case End.ASKED | End.STOPPED | End.EXPIRED | End.HELD | End.BEHIND:
                return ExitCode.STOPPED_EARLY


class Reporter(Protocol):
    """Tells the operator how it goes. `every`: how often it wants to know."""

    @property
    def every(self) -> timedelta: ...

    def show(self, progress: Progress) -> None:
        """Show where the backfill stands."""
        ...

    def say(self, text: str) -> None:
        """Tell one thing that changed."""
        ...


@dataclass
class Running:
    """Runs one backfill; its rows call `targets`.

    `matching` and `objects` None: its rows are recorded already (a rerun).
    """

    ledger: Ledger
    number: int
    sending: Sending
    reporter: Reporter
    clock: Callable[[], datetime]
    stop: threading.Event
    targets: frozenset[str]
    matching: Matching | None = None
    objects: Objects | None = None
    blocked_for: timedelta = BLOCKED_FOR
    monotonic: Callable[[], float] = time.monotonic
    _recording: bool = field(default=False, init=False)
    _shown_at: float | None = field(default=None, init=False)
    _blocked: tuple[End, float] | None = field(default=None, init=False)

    def run(self) -> Ended:
        """Record what is missing, and wait until all rows have ended; a stop pauses. Raises DispatcherError."""
        self.sending.begin()
        try:
            why = self._record()
            while why is None:
                self._turn()
                why = self._ended()
                if why is None and self.stop.wait(LOOK_EVERY.total_seconds()):
                    why = End.ASKED
            if why.pauses:
                with self.ledger.write() as tx:
                    backfills.pause(tx, self.number, self.clock())
        finally:
            self.sending.end()
        with self.ledger.write() as tx:
            backfills.end_finished(tx, self.clock())
            backfills.skip_cancelled(tx, self.clock())  # a call that came back unsent since it was cancelled
        last = self._progress()
        self.reporter.show(last)
        return Ended(why, last)

    def _record(self) -> End | None:
        """Record what is missing; return why not all of it was recorded, None if all is."""
        if self.matching is None or self.objects is None:
            return None
        self._recording = True
        recorder = Recorder(self.ledger, self.number, self.matching, self.clock, self._turn)
        try:
            end = recorder.record(self.objects, self.stop)
        except DispatcherError as error:
            if self.stop.is_set():
                return End.ASKED
            with suppress(LedgerError), self.ledger.write() as tx:
                backfills.broke_off(tx, self.number, error.message, self.clock())
            raise
        finally:
            self._recording = False
        match end:
            case LookEnd.COMPLETE:
                return None
            case LookEnd.ASKED:
                return End.ASKED
            case LookEnd.STOPPED:
                with self.ledger.read() as tx:
                    expired = backfills.get(tx, self.number).expired(self.clock())
                return End.EXPIRED if expired else End.STOPPED

    def _turn(self) -> None:
        self.sending.look()
        now = self.monotonic()
        if self._shown_at is None or now - self._shown_at >= self.reporter.every.total_seconds():
            self._shown_at = now
            self.reporter.show(self._progress())

    def _ended(self) -> End | None:
        now = self.clock()
        with self.ledger.read() as tx:
            backfill = backfills.get(tx, self.number)
            if backfill.state in (BackfillState.PAUSED, BackfillState.CANCELLED):
                return End.STOPPED
            if not backfills.has_unfinished(tx, self.number):
                return End.DONE
            if backfill.expired(now):
                return End.EXPIRED
            blocked: End | None = None
            if backfills.waits_for_operator(tx, self.number):
                blocked = End.HELD
            elif NoticeCode.LEDGER_BEHIND in notices.standing(tx):
                blocked = End.BEHIND
            elif any(health.unauthorized for target, health in rates.healths(tx).items() if target in self.targets):
                blocked = End.DENIED
        return self._blocked_long(blocked)

    def _blocked_long(self, blocked: End | None) -> End | None:
        """Return what blocks, once it has for a while: what was left from earlier is tried first."""
        if blocked is None:
            self._blocked = None
            return None
        now = self.monotonic()
        if self._blocked is None or self._blocked[0] is not blocked:
            self._blocked = (blocked, now)
        return blocked if now - self._blocked[1] >= self.blocked_for.total_seconds() else None

    def _progress(self) -> Progress:
        with self.ledger.read() as tx:
            return Progress(
                backfill=backfills.get(tx, self.number),
                counts=backfills.counts(tx, self.number),
                at=self.clock(),
                recording=self._recording,
                sender=self.sending.sender,
            )
