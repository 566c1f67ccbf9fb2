"""The raw stream of a listing beside the stored segments: what is equal is skipped unread.

All answers of a pass are one stream of `<Contents>` elements. At the running offset it is compared with
the next stored segment; a difference opens a region, which is parsed and ends at a known fence or with
the listing. Nothing here decides what is new: a region that is larger than need be costs time only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.core import listing
from dispatcher.core.segments import END, SegmentHead, SegmentTuning, cut, digest, place, place_before

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dispatcher.core.listing import Entry
    from dispatcher.ports import SnapshotMemory

_NEAR = 12
"""Fences that are sought in the raw bytes before anything is parsed."""
_WINDOW = 256
_CLOSE = b"</Contents>"


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A segment whose bytes are as they were, with its raw entries (only asked for by `everything`)."""

    position: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What stands in the place of the segments at positions in (after, last].

    `raw` are the entries' bytes; `places` are positions for as many segments as `sizes` has parts.
    `replaced` counts the segments that went (None: unknown, many).
    """

    after: int
    last: int
    raw: bytes
    entries: Sequence[Entry]
    sizes: Sequence[int]
    places: Sequence[int]
    replaced: int | None


Piece = Unchanged | Rewritten


@dataclass(slots=True)
class _Region:
    """An open difference: what was parsed of it so far, and which stored segments it replaces."""

    last: int
    replaced: int | None = 0
    raw: list[bytes] = field(default_factory=list)
    length: int = 0
    entries: list[Entry] = field(default_factory=list)


class Walk:
    """One pass along the stored segments of a root. Feed it every answer, then end it."""

    def __init__(self, memory: SnapshotMemory, root_id: int, tuning: SegmentTuning, *, everything: bool) -> None:
        self.skipped = 0
        self.parsed = 0
        self.listed = 0
        self._memory = memory
        self._root_id = root_id
        self._tuning = tuning
        self._everything = everything
        self._heads: deque[SegmentHead] = deque()
        self._loaded = 0
        self._more_heads = True
        self._buffer = b""
        self._offset = 0
        self._after = 0
        self._region: _Region | None = None

    def feed(self, raw: bytes) -> Iterator[Piece]:
        """Take the entries of the next answer. Raises UnusualSpellingError."""
        self._buffer = self._buffer[self._offset :] + raw
        self._offset = 0
        yield from self._advance(ended=False)

    def end(self) -> Iterator[Piece]:
        """Take the end of the listing: what is stored beyond it is gone."""
        yield from self._advance(ended=True)
        if self._region is None and self._head() is not None:
            self._region = _Region(self._after)
        if self._region is not None:
            yield self._close(END)

    def _advance(self, *, ended: bool) -> Iterator[Piece]:
        while self._offset < len(self._buffer):
            if self._region is not None:
                yield from self._grow(self._region)
                continue
            head = self._head()
            if head is None:
                self._region = _Region(self._after)
            elif len(self._buffer) - self._offset < head.length and not ended:
                return
            elif self._equals(head):
                self._heads.popleft()
                self._after = head.position
                self.skipped += 1
                self.listed += head.count
                if self._everything:
                    yield Unchanged(head.position, self._take(head.length))
                else:
                    self._offset += head.length
            else:
                self._region = _Region(self._after)

    def _equals(self, head: SegmentHead) -> bool:
        end = self._offset + head.length
        if end > len(self._buffer):
            return False
        with memoryview(self._buffer) as view:
            return digest(view[self._offset : end]) == head.digest

    def _grow(self, region: _Region) -> Iterator[Piece]:
        """Parse up to the next known fence, or all there is; close or write out the region if it is time."""
        near = self._near_fence()
        if near is not None:
            end, passed = near
            self._parse(region, end)
            for _ in range(passed):
                region.last = self._heads.popleft().position
            region.replaced = None if region.replaced is None else region.replaced + passed
            closed = True
        else:
            closed = self._parse_to_far_fence(region)
        if closed and len(region.entries) * 2 >= self._tuning.target:
            yield self._close(region.last)
        elif not closed and len(region.entries) >= self._tuning.spill:
            yield self._spill(region)

    def _near_fence(self) -> tuple[int, int] | None:
        """Return the offset behind the first near fence in the buffer, and how many heads it passes."""
        self._head()
        for passed, head in enumerate(self._heads, 1):
            if passed > _NEAR:
                break
            found = self._buffer.find(b"<Key>" + head.fence + b"</Key>", self._offset)
            if found >= 0:
                return self._buffer.index(_CLOSE, found) + len(_CLOSE), passed
        return None

    def _parse_to_far_fence(self, region: _Region) -> bool:
        """Parse all there is; if one of its keys is a fence further on, stop there and tell so."""
        before = len(region.entries)
        start = self._offset
        self._parse(region, len(self._buffer))
        if not self._more_heads and len(self._heads) <= _NEAR:
            return False
        fence = self._memory.first_fence(
            self._root_id, self._heads[0].position, [entry.raw_key for entry in region.entries[before:]]
        )
        if fence is None:
            return False
        keep = next(n for n in range(before, len(region.entries)) if region.entries[n].raw_key == fence.fence) + 1
        self._unparse(region, keep, start)
        region.last = fence.position
        region.replaced = None
        self._forget_heads(fence.position)
        return True

    def _parse(self, region: _Region, end: int) -> None:
        region.entries += listing.parse(self._buffer, self._offset, end, region.length - self._offset)
        raw = self._take(end - self._offset)
        region.raw.append(raw)
        region.length += len(raw)

    def _unparse(self, region: _Region, keep: int, start: int) -> None:
        """Give back what was parsed last, behind the first `keep` entries of the region."""
        del region.entries[keep:]
        surplus = region.length - region.entries[-1].end
        region.raw[-1] = region.raw[-1][: len(region.raw[-1]) - surplus]
        region.length -= surplus
        self._offset = start + len(region.raw[-1])

    def _take(self, length: int) -> bytes:
        taken = self._buffer[self._offset : self._offset + length]
        self._offset += length
        return taken

    def _close(self, last: int) -> Rewritten:
        """End the open region: it replaces everything up to `last`, and more where places are scarce."""
        region = self._region
        assert region is not None  # noqa: S101 - only called while one is open
        sizes = self._sizes(region)
        places = place(self._after, last, len(sizes))
        while places is None:
            head = self._head()
            last = END if head is None else head.position
            if head is not None:
                self._heads.popleft()
                region.replaced = None if region.replaced is None else region.replaced + 1
            places = place(self._after, last, len(sizes))
        if last == END and (self._head() is not None):
            region.replaced = None
        self._region = None
        rewritten = self._rewritten(region, last, sizes, places)
        if last != END:
            self._after = last
        elif places:
            self._after = places[-1]
        return rewritten

    def _spill(self, region: _Region) -> Rewritten:
        """Write a long region in front of the segments still to come; it goes on behind what is written."""
        sizes = self._sizes(region)
        if region.last > self._after or self._head() is None:
            rewritten = self._close(region.last if region.last > self._after else END)
        else:
            rewritten = self._insert(region, sizes)
        self._region = _Region(self._after)
        return rewritten

    def _insert(self, region: _Region, sizes: Sequence[int]) -> Rewritten:
        head = self._heads[0]
        places = place_before(self._after, head.position, len(sizes))
        if places is None:
            self._heads.popleft()
            region.last = head.position
            return self._close(head.position)
        self._region = None
        rewritten = self._rewritten(region, self._after, sizes, places)
        self._after = places[-1]
        return rewritten

    def _sizes(self, region: _Region) -> list[int]:
        return cut(len(region.entries), self._tuning.target)

    def _rewritten(self, region: _Region, last: int, sizes: Sequence[int], places: Sequence[int]) -> Rewritten:
        self.parsed += len(sizes)
        self.listed += len(region.entries)
        return Rewritten(self._after, last, b"".join(region.raw), region.entries, sizes, places, region.replaced)

    def _head(self) -> SegmentHead | None:
        """Return the next stored segment, loading some more when the window is short."""
        if self._more_heads and len(self._heads) <= _NEAR:
            loaded = self._memory.heads(self._root_id, self._loaded, _WINDOW)
            self._heads.extend(loaded)
            self._more_heads = len(loaded) == _WINDOW
            if loaded:
                self._loaded = loaded[-1].position
        return self._heads[0] if self._heads else None

    def _forget_heads(self, position: int) -> None:
        while self._heads and self._heads[0].position <= position:
            self._heads.popleft()
        self._loaded = max(self._loaded, position)
