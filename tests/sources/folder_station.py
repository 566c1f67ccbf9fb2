"""The other side of a folder, for the contract suite: somebody writes files. Nothing settles, so no time is needed."""

from __future__ import annotations

import tempfile
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.core.settings import FolderSettings
from dispatcher.ledger import snapshots
from dispatcher.ledger.snapshots import LedgerSnapshots
from dispatcher.sources.folder import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.ledger.engine import Ledger
    from dispatcher.ports import Batch

BUCKET = "media"
PATIENT = 20.0


def folder_source(ledger: Ledger, **arguments: str) -> FolderSource:
    settings = FolderSettings(
        "folder",
        Path(arguments["path"]),
        BUCKET,
        "in/",
        scan_every=timedelta(minutes=10),
        settle=timedelta(0),
        polling=arguments["polling"] == "yes",
    )
    return FolderSource(settings, LedgerSnapshots(ledger), revision=1)


@dataclass
class FolderStation:
    """A directory. What it told of is acknowledged by the snapshot in the ledger alone."""

    ledger: Ledger
    path: Path
    polling: str
    scanned: threading.Event = field(default_factory=threading.Event)
    process: str = "folder"

    def announce(self, *keys: str) -> None:
        for key in keys:
            (self.path / key.removeprefix("in/")).write_bytes(key.encode())

    def run(self, take: Callable[[Batch], object], stop: threading.Event) -> None:
        source = folder_source(self.ledger, **self.describe())
        with closing(source.batches(stop)) as batches:  # type: ignore[type-var]  # a generator
            for batch in batches:
                take(batch)
                self.scanned.set()

    def time_passes(self) -> None:
        """What was not committed is found by the scan at the next start."""

    def unacknowledged(self) -> int:
        """A look that is not committed tells what the next one would bring."""
        with closing(folder_source(self.ledger, **self.describe())) as source:
            return next((len(batch.events) for batch in source.look(threading.Event()) if batch.events), 0)

    def wait_until_idle(self) -> None:
        assert self.scanned.wait(PATIENT)

    def describe(self) -> dict[str, str]:
        return {"path": str(self.path), "polling": self.polling}


@contextmanager
def folder_station(ledger: Ledger, polling: str = "no") -> Iterator[FolderStation]:
    with tempfile.TemporaryDirectory() as path:
        station = FolderStation(ledger, Path(path), polling)
        with closing(folder_source(ledger, **station.describe())) as first:
            for batch in first.look(threading.Event()):
                _commit(ledger, batch)
        yield station


def _commit(ledger: Ledger, batch: Batch) -> None:
    """Commit the baseline of a folder without files: only progress."""
    assert batch.progress is not None
    with ledger.write() as tx:
        snapshots.apply(tx, batch.progress)
    batch.ack()
