"""The recording half of a backfill: one look at all that it covers, as rows, page by page.

Each page is committed by itself, with the counters of the backfill. A look that broke off begins anew: what it
recorded is known then, and nothing is recorded twice.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING

from dispatcher import crashpoints
from dispatcher.errors import LedgerError
from dispatcher.ledger import accounting, backfills, recording
from dispatcher.ledger.backfills import Seen
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from dispatcher.core.events import ObjectEvent
    from dispatcher.ledger.engine import Ledger
    from dispatcher.ledger.recording import NewDispatch
    from dispatcher.service.backfilling.matching import Matching
    from dispatcher.service.backfilling.objects import Objects


class LookEnd(Enum):
    """How a look ended: all was recorded (or as much as its limit allows), we were asked to stop, or the backfill
    may not go on: its time is over, or another command stopped it.
    """

    COMPLETE = auto()
    ASKED = auto()
    STOPPED = auto()


@dataclass(frozen=True)
class Recorder:
    """Records one backfill. `tell` is called after each page."""

    ledger: Ledger
    number: int
    matching: Matching
    clock: Callable[[], datetime]
    tell: Callable[[], None]

    def record(self, objects: Objects, stop: threading.Event) -> LookEnd:
        """Look at everything once. Raises DispatcherError, and remembers then why the look broke off."""
        try:
            return self._look(objects, stop)
        finally:
            # What ended the look is told, not that its requests could not be counted.
            with suppress(LedgerError), self.ledger.write() as tx:
                for bucket, requests in objects.list_requests.items():
                    accounting.note_list_requests(tx, bucket, requests, self.clock())

    def _look(self, objects: Objects, stop: threading.Event) -> LookEnd:
        with self.ledger.write() as tx:
            full = backfills.get(tx, self.number).left == 0
            if not full:
                backfills.begin_look(tx, self.number, self.clock())
        if full:
            return self._complete()
        for events in objects.pages(stop):
            written = self._record_page(events, stop)
            crashpoints.reach("after_backfill_commit")
            self.tell()
            if written.stopped:
                return LookEnd.STOPPED
            if stop.is_set():
                return LookEnd.ASKED
            if written.full:
                break
        if stop.is_set():
            return LookEnd.ASKED
        return self._complete()

    def _complete(self) -> LookEnd:
        with self.ledger.write() as tx:
            backfills.complete(tx, self.number, self.clock())
        return LookEnd.COMPLETE

    def _record_page(self, events: Sequence[ObjectEvent], stop: threading.Event) -> backfills.Written:
        candidates = self.matching.select(events)
        decided = self.matching.decide(candidates, self._known, stop)
        rows = (row for candidate in decided.candidates for row in self.matching.rows(candidate))
        reached = events[-1].key if events else None
        seen = Seen(len(events), len(candidates), decided.known, decided.gone, reached)
        total = backfills.Written()
        for chunk in _chunks(rows):
            with self.ledger.write() as tx:
                written = backfills.record(tx, self.number, chunk, self.clock(), seen)
                crashpoints.reach("before_backfill_commit")
            seen = Seen()
            total = written
            if written.stopped or written.full:
                break
        return total

    def _known(self, ids: Collection[str]) -> set[str]:
        with self.ledger.read() as tx:
            return recording.known_ids(tx, ids)


def _chunks(rows: Iterable[NewDispatch]) -> Iterator[list[NewDispatch]]:
    """Yield the rows, at most 1,000 at a time; at least one list, which may be empty."""
    iterator = iter(rows)
    chunk = list(islice(iterator, BATCH))
    yield chunk
    while chunk := list(islice(iterator, BATCH)):
        yield chunk
