"""Receiving: each source of notifications in a thread of its own, and the bodies that are pushed to us."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from random import SystemRandom
from typing import TYPE_CHECKING

from dispatcher.core.decoding import decode
from dispatcher.core.observations import SourceAnswered, SourceFailed, unmetered
from dispatcher.errors import DispatcherError, LedgerError
from dispatcher.ports import Batch, Undecodable
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.decoding import Acceptance, Format
    from dispatcher.core.observations import Meter
    from dispatcher.ports import Source
    from dispatcher.service.intake import Intake

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
_CHANCE = SystemRandom()


@dataclass
class Receiving:
    """One source and its thread. A source that fails is iterated again after a pause that doubles up to a minute.

    `failed` is called with what no pause mends: a ledger that must be replaced, or a defect. `chance`
    returns 0 to 1: pauses are shortened by up to a half, so that sources do not fail in step.
    """

    source: Source
    intake: Intake
    failed: Callable[[BaseException], None]
    chance: Callable[[], float] = _CHANCE.random
    meter: Meter = unmetered
    failure: DispatcherError | None = field(default=None, init=False)
    """What the source failed with last; None once it brought something again."""
    _failures: int = field(default=0, init=False)

    def start(self, stop: threading.Event) -> threading.Thread:
        """Begin to receive, until `stop` is set."""
        thread = threading.Thread(target=self._run, args=(stop,), name=f"source:{self.source.name}", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.receive(stop)
                stop.wait(self.pause())
        except Exception as error:  # noqa: BLE001 - top of a thread
            self.failed(error)

    def receive(self, stop: threading.Event) -> None:
        """Take what the source brings until it ends or fails. A batch that fails comes again. Raises LedgerError."""
        try:
            for batch in self.source.batches(stop):
                self.intake.take(batch)
                self._failures, self.failure = 0, None
                self.meter(SourceAnswered(self.source.name))
        except LedgerError as error:
            if not error.passing:
                raise
            self._tell(error)
        except DispatcherError as error:
            self._tell(error)

    def pause(self) -> float:
        """Return the seconds until the source is iterated again."""
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 10))
        return longest * (1.0 - self.chance() / 2)

    def _tell(self, error: DispatcherError) -> None:
        self._failures, self.failure = self._failures + 1, error
        self.meter(SourceFailed(self.source.name))
        get_logger().error("source.failed", source=self.source.name, error=error.message, hint=error.hint)


@dataclass(frozen=True)
class BodyReceiver:
    """Takes pushed bodies (ports.Receiver). Thread-safe."""

    intake: Intake
    meter: Meter = unmetered

    def __call__(self, source: str, body: bytes, format: Format | None, accept: Acceptance) -> None:  # noqa: A002 - the port's word
        """Return after the commit. Raises DispatcherError."""
        self.intake.take(batch_of(source, body, format, accept))
        self.meter(SourceAnswered(source))


def batch_of(source: str, body: bytes, form: Format | None, accept: Acceptance) -> Batch:
    """Return what a body brings, as one batch."""
    decoded = decode(body, form, source=source, accept=accept)
    told = None if form is None else str(form)
    return Batch(
        decoded.events,
        undecodable=tuple(Undecodable(source, body, reason, told) for reason in decoded.undecodable),
        formats=decoded.formats,
        dropped=tuple(part.reason for part in decoded.dropped),
    )
