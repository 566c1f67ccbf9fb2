"""Deciding: the store is asked for the content of objects whose sighting did not tell it, or is not believed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dispatcher.errors import DispatcherError, LedgerError
from dispatcher.ledger import sightings
from dispatcher.ports import Batch
from dispatcher.service.logs import get_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dispatcher.core.events import ObjectEvent
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.sightings import Sighting
    from dispatcher.service.intake import Intake
    from dispatcher.sources.store import ObjectHead, StoreBucket

AT_ONCE = 4
"""HEAD requests on their way, as many as a store keeps connections."""
MOST = 200
"""Sightings decided by one look; what is left is decided by the next one."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The object does not exist (yet), or its bucket is none of ours any more."""


@dataclass(frozen=True)
class Deciding:
    """Decides the sightings that are due. One thread at a time. Idempotent: a crash repeats a HEAD."""

    ledger: Ledger
    stores: Mapping[str, StoreBucket]
    intake: Intake
    clock: Callable[[], datetime]
    stop: threading.Event

    def tick(self) -> None:
        """Ask for what is due until nothing is. Raises LedgerError only; where a store fails, it is asked later."""
        while not self.stop.is_set():
            with self.ledger.read() as tx:
                due = sightings.due(tx, self.clock(), limit=MOST)
            if not due:
                return
            with ThreadPoolExecutor(min(AT_ONCE, len(due)), thread_name_prefix="head") as pool:
                answers = list(pool.map(self._ask, due))
            if self.stop.is_set():
                return  # a request that was broken off says nothing about its store
            self._settle(due, answers)

    def _ask(self, sighting: Sighting) -> ObjectHead | Absent | DispatcherError:
        store = self.stores.get(sighting.event.bucket)
        if store is None or self.stop.is_set():
            return Absent()
        try:
            head = store.head(sighting.event.key, self.stop)
            return head if head is not None and sighting.event.may_be(head.size) else Absent()
        except LedgerError:
            raise
        except DispatcherError as error:
            return error

    def _settle(self, due: Sequence[Sighting], answers: Sequence[ObjectHead | Absent | DispatcherError]) -> None:
        found: list[tuple[Sighting, ObjectEvent]] = []
        absent: list[Sighting] = []
        refused: list[tuple[Sighting, DispatcherError]] = []
        for sighting, answer in zip(due, answers, strict=True):
            match answer:
                case Absent():
                    absent.append(sighting)
                case DispatcherError():
                    refused.append((sighting, answer))
                case _:
                    found.append((sighting, _decided(sighting.event, answer)))
        # Recorded first, then resolved: a crash between the two only repeats the first.
        if found:
            self.intake.take(Batch([event for _, event in found]))
        now = self.clock()
        with self.ledger.write() as tx:
            for sighting, _ in found:
                sightings.resolve(tx, sighting)
            for sighting, _ in refused:
                sightings.postpone(tx, sighting, now)
            gone = [sighting for sighting in absent if sightings.missing(tx, sighting, now)]
        _tell(gone, refused)


def _decided(event: ObjectEvent, found: ObjectHead) -> ObjectEvent:
    """Return the sighting with the content that the store told."""
    growing = event.growing or found.growing
    return replace(
        event, etag=found.etag, size=found.size, modified_at=found.modified_at, growing=growing, hearsay=False
    )


def _tell(gone: Sequence[Sighting], refused: Sequence[tuple[Sighting, DispatcherError]]) -> None:
    log = get_logger()
    for sighting in gone:
        event = sighting.event
        log.warning("sighting.gone", bucket=event.bucket, key=event.key, source=event.source)
    # A store that is away fails every request alike: one line for all of them.
    count = Counter((sighting.event.bucket, error.message, error.hint) for sighting, error in refused)
    for (bucket, message, hint), number in count.items():
        log.warning("sightings.postponed", bucket=bucket, count=number, error=message, hint=hint)
