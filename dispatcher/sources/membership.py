"""What of a parsed region is new: everything whose hash the snapshot does not know.

Regions are collected, looked up together (one scan of all known hashes for many of them), and yielded as
batches, each holding the new objects together with exactly the fresh segments that make them known.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from dispatcher.core import listing
from dispatcher.core.events import BASELINE_REVISION, LISTED, ObjectEvent, decode_key
from dispatcher.core.segments import (
    FreshSegment,
    SegmentEdit,
    SegmentHead,
    SnapshotChange,
    digest,
    entry_hash,
    pack_hashes,
    pack_revisions,
)
from dispatcher.ports import Batch
from dispatcher.sources.walk import Rewritten, Unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dispatcher.core.listing import Entry
    from dispatcher.ports import SnapshotMemory
    from dispatcher.sources.walk import Piece

_LOCAL = 64
"""Replaced segments whose hashes are read before the entries are looked up among all."""
# Limits in multiples of the events of a batch: 20,000 candidates and 200,000 entries wait at most for a
# look-up, and a batch has at most 200 segments.
_CANDIDATES = 20
_ENTRIES = 200
_EVENTS_OF_A_SEGMENT = 5
_UNDECIDED = -1


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides about an entry, besides the snapshot's hashes; the same for a whole pass.

    `baseline` is the start of an incomplete baseline, None once it is complete. Entries under one
    of `covered` (completely listed earlier roots) are decided by their memory even then.
    """

    bucket: str
    root: str
    source: str
    root_ids: tuple[int, ...]
    hash_key: bytes
    url_encoded: bool
    revision: int
    baseline: datetime | None
    covered: tuple[bytes, ...]
    existing_wanted: bool
    everything: bool


@dataclass(slots=True)
class _Draft:
    """A segment to be written; the revisions of its `candidates` (by index) are not known yet."""

    head: SegmentHead | None
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    revisions: array[int] = field(default_factory=lambda: array("q"))
    candidates: list[tuple[int, Entry]] = field(default_factory=list)
    events: list[ObjectEvent] = field(default_factory=list)


@dataclass(slots=True)
class _Step:
    """What is committed together at least: the removal of a range, or one segment, or both."""

    after: int
    last: int
    draft: _Draft | None


class Membership:
    """Decides what is new in the pieces of one pass. `version` follows the root's."""

    def __init__(
        self, memory: SnapshotMemory, facts: Circumstances, version: int, events: int, monotonic: Callable[[], float]
    ) -> None:
        self.version = version
        self.new = 0
        self.existing = 0
        self._memory = memory
        self._facts = facts
        self._events = events
        self._monotonic = monotonic
        self._steps: list[_Step] = []
        self._candidates = 0
        self._entries = 0
        self._since = 0.0
        self._scan_cost = 0.0

    def add(self, piece: Piece) -> None:
        """Take a piece of the walk; it is written by a later `flush`."""
        if not self._steps:
            self._since = self._monotonic()
        match piece:
            case Unchanged():
                self._add_unchanged(piece)
            case Rewritten():
                self._add_rewritten(piece)
            case _:
                assert_never(piece)

    def due(self) -> bool:
        """Tell whether it is time to flush: much is waiting, or it waits long beside what a scan costs."""
        if not self._steps:
            return False
        if self._candidates >= _CANDIDATES * self._events or self._entries >= _ENTRIES * self._events:
            return True
        return self._monotonic() - self._since >= max(1.0, 20 * self._scan_cost)

    def flush(self) -> Iterator[Batch]:
        """Yield all that waits as batches. Each must be committed before the next is asked for:
        a break between two loses nothing, because the first removal keeps its hashes known.
        """
        known = self._look_up()
        steps, self._steps = self._steps, []
        self._candidates = self._entries = 0
        edits: list[SegmentEdit] = []
        events: list[ObjectEvent] = []
        for step in steps:
            brought = self._decide(step.draft, known) if step.draft else []
            full = len(edits) * _EVENTS_OF_A_SEGMENT >= self._events
            if edits and (full or len(events) + len(brought) > self._events):
                yield self._batch(events, edits)
                events, edits = [], []
            events += brought
            edits.append(_edit(step))
        if edits:
            yield self._batch(events, edits)

    def change(self) -> SnapshotChange:
        """Return an empty change for the root's present version, and count it."""
        change = SnapshotChange(self._facts.bucket, self._facts.root, self.version)
        self.version += 1
        return change

    def _batch(self, events: Sequence[ObjectEvent], edits: Sequence[SegmentEdit]) -> Batch:
        change = SnapshotChange(self._facts.bucket, self._facts.root, self.version, edits=tuple(edits))
        self.version += 1
        return Batch(tuple(events), change)

    def _add_unchanged(self, piece: Unchanged) -> None:
        revisions = self._memory.revisions(self._facts.root_ids[0], piece.position - 1, piece.position)
        draft = self._draft(None, listing.parse(piece.raw, 0, len(piece.raw)), revisions)
        self._steps.append(_Step(piece.position, piece.position, draft))

    def _add_rewritten(self, piece: Rewritten) -> None:
        local: Mapping[int, int] = {}
        if piece.replaced is not None and 0 < piece.replaced <= _LOCAL:
            local = self._memory.revisions(self._facts.root_ids[0], piece.after, piece.last)
        if not piece.sizes:
            self._steps.append(_Step(piece.after, piece.last, None))
        last = piece.last
        start = raw_start = 0
        with memoryview(piece.raw) as raw:
            for size, position in zip(piece.sizes, piece.places, strict=True):
                entries = piece.entries[start : start + size]
                raw_end = entries[-1].end
                bytes_of = raw[raw_start:raw_end]
                head = SegmentHead(position, size, len(bytes_of), digest(bytes_of), entries[-1].raw_key)
                self._steps.append(_Step(piece.after, last, self._draft(head, iter(entries), local)))
                last = piece.after
                start, raw_start = start + size, raw_end

    def _draft(self, head: SegmentHead | None, entries: Iterator[Entry], local: Mapping[int, int]) -> _Draft:
        facts = self._facts
        draft = _Draft(head)
        for index, entry in enumerate(entries):
            key = listing.decode_raw_key(entry.raw_key, url_encoded=facts.url_encoded)
            etag = listing.decode_raw_etag(entry.raw_etag)
            each = entry_hash(facts.hash_key, key, etag, entry.size)
            revision = local.get(each)
            draft.hashes.append(each)
            if revision is None and facts.baseline is not None and self._is_baseline(key, entry):
                revision = BASELINE_REVISION
                self.existing += 1
                if facts.existing_wanted and not facts.everything:
                    draft.events.append(self._event(entry, revision))
            if revision is None:
                draft.candidates.append((index, entry))
                draft.revisions.append(_UNDECIDED)
                continue
            draft.revisions.append(revision)
            if facts.everything:
                draft.events.append(self._event(entry, revision))
        self._candidates += len(draft.candidates) + len(draft.events)  # both are held in full
        self._entries += len(draft.hashes)
        return draft

    def _is_baseline(self, key: bytes, entry: Entry) -> bool:
        """Tell whether the entry lay there before the first listing began. Time may add, never hide:
        what is later than the start is left to the hashes.
        """
        if self._facts.covered and key.startswith(self._facts.covered):
            return False
        modified = modified_at(entry)
        return modified is None or self._facts.baseline is None or modified <= self._facts.baseline

    def _look_up(self) -> dict[int, int]:
        wanted = {step.draft.hashes[index] for step in self._steps if step.draft for index, _ in step.draft.candidates}
        if not wanted:
            return {}
        begun = self._monotonic()
        known = self._memory.known(self._facts.root_ids, wanted)
        self._scan_cost = self._monotonic() - begun
        return known

    def _decide(self, draft: _Draft, known: dict[int, int]) -> list[ObjectEvent]:
        """Fill in the revisions of the candidates, and return the draft's events, the new ones included."""
        for index, entry in draft.candidates:
            each = draft.hashes[index]
            revision = known.get(each)
            if revision is None:
                # Known from here on: a key may be listed twice when it changes during a pass.
                known[each] = draft.revisions[index] = self._facts.revision
                self.new += 1
                draft.events.append(self._event(entry, None))
                continue
            draft.revisions[index] = revision
            if self._facts.everything:
                draft.events.append(self._event(entry, revision))
        return draft.events

    def _event(self, entry: Entry, revision: int | None) -> ObjectEvent:
        key = listing.decode_raw_key(entry.raw_key, url_encoded=self._facts.url_encoded)
        return ObjectEvent(
            bucket=self._facts.bucket,
            key=decode_key(key),
            etag=listing.decode_raw_etag(entry.raw_etag),
            size=entry.size,
            modified_at=modified_at(entry),
            event_name=LISTED,
            source=self._facts.source,
            known_revision=revision,
            growing=entry.growing,
        )


def modified_at(entry: Entry) -> datetime | None:
    """Return the entry's Last-Modified, None where the server gives none that can be read."""
    try:
        parsed = datetime.fromisoformat(entry.modified.decode("ascii"))
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _edit(step: _Step) -> SegmentEdit:
    draft = step.draft
    if draft is None or draft.head is None:
        return SegmentEdit(step.after, step.last)
    fresh = FreshSegment(draft.head, pack_hashes(draft.hashes), pack_revisions(draft.revisions))
    return SegmentEdit(step.after, step.last, (fresh,))
