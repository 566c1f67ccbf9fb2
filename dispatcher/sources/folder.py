"""The folder source: files of a directory tree that mirrors a bucket, each the sighting of an object to come.

Two ways see a file. inotify tells at once that its writer is done; a *scan* of the whole tree, at the start and
now and then, finds what that did not tell. A scan is a pass of the bucket source over the tree (`tree.py`): its
memory is a snapshot in the ledger, so a restart brings nothing again and a first start brings nothing that lay
there before. Content is not known here: HEAD of the object decides, once the object is in the bucket.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import structlog

from dispatcher import mounts
from dispatcher.core.events import FILE_WRITTEN, ObjectEvent, decode_key, encode_key
from dispatcher.core.segments import SegmentTuning
from dispatcher.ports import Batch
from dispatcher.sources.bucket import BucketSource, Wanted
from dispatcher.sources.tree import LONGEST_KEY, Tree, TreeListing
from dispatcher.sources.watch import Watch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from dispatcher.core.settings import FolderSettings
    from dispatcher.ports import SnapshotMemory
    from dispatcher.sources.tree import FileState

LOOK_EVERY = 0.2
"""Seconds between two looks at what was heard."""
LEAST_PAUSE = 5.0
"""Seconds between two scans where only scans see everything; ten times as long as a scan took, if that is more."""
_SHARE_OF_SCANS = 10
_MOST_UNSETTLED = 50_000
_MOST_HANDED = 100_000
_EVENTS = 500


class _Mark(NamedTuple):
    """What a file was when it was handed over."""

    mark: str
    size: int


@dataclass(slots=True)
class _Unsettled:
    """A file that may still be written, and since when it has been as it is."""

    state: FileState
    since: float


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a scan lists, in the place of a bucket. The name cannot be that of one."""

    name: str
    endpoint: str


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class FolderSource:
    """Brings the files of one folder (ports.Source). One thread iterates it.

    `revision` is that of the rule set; `existing_wanted` also brings what lay there at the first scan, as
    existing objects. `clock` must be that of the files' times.
    """

    settings: FolderSettings
    memory: SnapshotMemory
    revision: int
    existing_wanted: bool = False
    tuning: SegmentTuning = field(default_factory=SegmentTuning)
    clock: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    name: str = field(init=False)
    _tree: Tree = field(init=False)
    _listing: TreeListing = field(init=False)
    _scans: BucketSource = field(init=False)
    _watch: Watch | None = field(default=None, init=False)
    _root: tuple[int, int] | None = field(default=None, init=False)
    _scan_due: float = field(default=0.0, init=False)
    _unsettled: dict[bytes, _Unsettled] = field(default_factory=dict, init=False)
    _handed: OrderedDict[bytes, _Mark] = field(default_factory=OrderedDict, init=False)

    def __post_init__(self) -> None:
        self.name = self.settings.name
        self._tree = Tree(self.settings.path)
        self._listing = TreeListing(self._tree, self.settings.settle.total_seconds(), self.clock, self._wait_for)
        self._scans = BucketSource(
            bucket=_Listed(f"folder/{self.name}", self.settings.path.as_uri()),
            root=self.settings.prefix,
            memory=self.memory,
            lister=self._listing,
            revision=self.revision,
            wanted=Wanted(existing=self.existing_wanted),
            tuning=self.tuning,
            name=self.name,
        )

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """Yield files that were written until `stop` is set, beginning with a scan.

        Raises FolderError when the folder cannot be read or watched; iterating again begins with a scan, so
        that nothing is missed.
        """
        self._scan_due = self.monotonic()
        try:
            while not stop.is_set():
                yield from self.look(stop)
                stop.wait(LOOK_EVERY)
        finally:
            self.close()

    def look(self, stop: threading.Event) -> Iterator[Batch]:
        """Scan if it is due, and yield what was heard and what has become still. Does not wait."""
        paths, missed = ({}, False) if self._watch is None else self._watch.take()
        deaf = self._watch is not None and not self._watch.alive
        yield from self._hand_over(self._written(paths))
        if missed or deaf or self.monotonic() >= self._scan_due:
            self._begin_watch()
            yield from self._scan(stop)
        yield from self._hand_over(self._settled())

    def close(self) -> None:
        """Stop watching, and leave a scan that was not ended. The source can be iterated again."""
        self._listing.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # -- hearing ----------------------------------------------------------------------------------------

    def _begin_watch(self) -> None:
        """Watch the folder that is there now; before each scan, so that nothing falls between the two."""
        try:
            status = self.settings.path.stat()
            root = (status.st_dev, status.st_ino)
        except OSError:
            root = None  # the scan says why
        if self._watch is not None and (root != self._root or not self._watch.alive):
            self._watch.close()
            self._watch = None
        if self._watch is None and root is not None:
            kind = mounts.file_system_of(self.settings.path)
            polling = self.settings.polling
            if polling is None:
                polling = not mounts.tells_of_writes(kind)
            self._watch = None if polling else Watch(self.settings.path)
            if root != self._root:
                structlog.get_logger().info(
                    "folder.watched",
                    source=self.name,
                    folder=str(self.settings.path),
                    polling=polling,
                    file_system=kind,
                )
        self._root = root

    def _written(self, paths: dict[bytes, bool]) -> Iterator[tuple[bytes, FileState]]:
        """Yield the files whose writer is done; the others wait until they are still."""
        for path, done in paths.items():
            state = self._tree.state(path)
            if state is None:
                self._unsettled.pop(path, None)
            elif done:
                self._unsettled.pop(path, None)
                yield path, state
            else:
                self._wait_for(path, state)

    def _wait_for(self, path: bytes, state: FileState) -> None:
        known = self._handed.get(self._key(path)) == _mark(state)
        # What finds no room here is listed by a later scan, once it is old enough.
        if not known and path not in self._unsettled and len(self._unsettled) < _MOST_UNSETTLED:
            self._unsettled[path] = _Unsettled(state, self.monotonic())

    def _settled(self) -> Iterator[tuple[bytes, FileState]]:
        """Yield the files that have been as they are for long enough."""
        now = self.monotonic()
        settle = self.settings.settle.total_seconds()
        for path in [path for path, each in self._unsettled.items() if now - each.since >= settle]:
            before = self._unsettled.pop(path).state
            state = self._tree.state(path)
            if state is None:
                continue
            if _mark(state) == _mark(before):
                yield path, state
            else:
                self._unsettled[path] = _Unsettled(state, now)

    def _hand_over(self, files: Iterator[tuple[bytes, FileState]]) -> Iterator[Batch]:
        fresh = (
            (key, state)
            for path, state in files
            if len(key := self._key(path)) <= LONGEST_KEY and self._handed.get(key) != _mark(state)
        )
        while some := list(islice(fresh, _EVENTS)):
            events = tuple(self._event(key, state) for key, state in some)
            marks = [(key, _mark(state)) for key, state in some]
            yield Batch(events, ack=partial(self._remember, marks))

    def _remember(self, marks: Sequence[tuple[bytes, _Mark]]) -> None:
        """Keep what was committed until a scan has it in its snapshot, so that the scan does not bring it again."""
        for key, mark in marks:
            self._handed[key] = mark
            self._handed.move_to_end(key)
        while len(self._handed) > _MOST_HANDED:
            self._handed.popitem(last=False)

    # -- scanning ---------------------------------------------------------------------------------------

    def _scan(self, stop: threading.Event) -> Iterator[Batch]:
        begun = self.monotonic()
        for batch in self._scans.batches(stop):
            events = tuple(self._as_sighting(event) for event in batch.events if not self._was_handed(event))
            yield replace(batch, events=events)
        self._scan_due = self.monotonic() + self._pause(self.monotonic() - begun)

    def _pause(self, took: float) -> float:
        longest = self.settings.scan_every.total_seconds()
        if self._watch is not None and not self._watch.limited:
            return longest
        return min(longest, max(LEAST_PAUSE, _SHARE_OF_SCANS * took))

    def _was_handed(self, event: ObjectEvent) -> bool:
        """Tell whether the file was brought before the scan met it; the snapshot knows it from here on."""
        key = encode_key(event.key)
        self._unsettled.pop(key[len(self._key(b"")) :], None)
        if self._handed.get(key) != (event.etag, event.size):
            return False
        del self._handed[key]
        return True

    def _as_sighting(self, event: ObjectEvent) -> ObjectEvent:
        return replace(
            event, bucket=self.settings.bucket, etag=None, modified_at=None, event_name=FILE_WRITTEN, source=self.name
        )

    def _event(self, key: bytes, state: FileState) -> ObjectEvent:
        return ObjectEvent(
            bucket=self.settings.bucket,
            key=decode_key(key),
            etag=None,
            size=state.size,
            modified_at=None,
            event_name=FILE_WRITTEN,
            source=self.name,
        )

    def _key(self, path: bytes) -> bytes:
        return encode_key(self.settings.prefix) + path


def _mark(state: FileState) -> _Mark:
    return _Mark(state.mark, state.size)
