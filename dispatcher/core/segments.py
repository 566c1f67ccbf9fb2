"""The memory of a listing: segments of entries, what identifies an entry, and changes to it. Pure.

A segment stands for some hundred neighbouring entries of a listing: a digest of their raw bytes (equal
digest: nothing to look at) and for each entry eight bytes of keyed hash (not among those known: new).
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

DIGEST_BYTES = 16
HASH_KEY_BYTES = 32
GAP = 1 << 32
"""Distance between the positions of neighbouring segments, so that others fit between them."""
END = (1 << 63) - 1
"""Behind every position."""
_TIGHT = 16
_RUN = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class SegmentTuning:
    """Sizes, in entries: of a fresh segment, of a region before it is written, of a page that is
    asked for, and of the events that are committed together (from it follow the other limits of a commit).
    """

    target: int = 230
    spill: int = 4_000
    page: int = 1_000
    events: int = 1_000


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What is needed to recognise a segment in the raw stream; `fence` is its last raw key."""

    position: int
    count: int
    length: int
    digest: bytes
    fence: bytes


@dataclass(frozen=True, slots=True)
class FreshSegment:
    """A segment to store: its head, the packed hashes, and the packed revisions of its entries."""

    head: SegmentHead
    hashes: bytes
    revisions: bytes


@dataclass(frozen=True, slots=True)
class SegmentEdit:
    """Put `fresh` in the place of the segments at positions in (after, last].

    Those replaced become limbo: out of the live list, but known until they were missing from
    two complete passes. `last == after` replaces nothing.
    """

    after: int
    last: int
    fresh: tuple[FreshSegment, ...] = ()


@dataclass(frozen=True, slots=True)
class Suspect:
    """A pass that missed so much that nothing of it is forgotten; `missing` objects."""

    missing: int


@dataclass(frozen=True, slots=True)
class PassEnd:
    """A pass reached the end of the listing: the baseline is complete, old limbo is forgotten.

    `superseded` are earlier roots of the bucket whose objects are now remembered by others. `empty`:
    nothing was listed where something was known; such a pass is no evidence of absence.
    """

    at: datetime
    suspect: Suspect | None = None
    superseded: tuple[str, ...] = ()
    empty: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotChange:
    """One step of a pass over (bucket, root), committed with the events that it brought.

    `version` is that of the root before the change: a second writer is refused, not merged.
    `begin` is the baseline's start by the store's clock, in the first change of a new root.
    """

    bucket: str
    root: str
    version: int
    begin: datetime | None = None
    edits: tuple[SegmentEdit, ...] = ()
    end: PassEnd | None = None


@dataclass(frozen=True, slots=True)
class EarlierRoot:
    """A remembered root of the same bucket that overlaps with one that has no baseline yet."""

    id: int
    root: str
    started_at: datetime
    complete: bool


@dataclass(frozen=True, slots=True)
class RootState:
    """What the ledger remembers of (bucket, root) when a pass begins; `id` None: nothing yet.

    `passes` counts complete ones; the pass that begins has the number `passes + 1`, and so has
    its repetition if it breaks. `earlier` is empty once the baseline is complete.
    """

    id: int | None
    version: int
    passes: int
    started_at: datetime | None
    completed_at: datetime | None
    hash_key: bytes
    earlier: tuple[EarlierRoot, ...] = ()


def digest(raw: bytes | memoryview) -> bytes:
    """Return what stands for the raw bytes of a segment."""
    return hashlib.sha256(raw).digest()[:DIGEST_BYTES]


def entry_hash(hash_key: bytes, key: bytes, etag: str | None, size: int) -> int:
    """Return the 64 bits that stand for one content of one key; `hash_key` is the ledger's own.

    Keyed, so that nobody can choose object names that collide.
    """
    identity = b"%d %d %s" % (len(key), size, (etag or "").encode())
    return int.from_bytes(hashlib.blake2b(key + identity, digest_size=8, key=hash_key).digest(), "little")


def pack_hashes(hashes: Sequence[int]) -> bytes:
    """Return 8 little-endian bytes for each hash, in order."""
    packed = array("Q", hashes)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_hashes(blob: bytes) -> array[int]:
    """Return the hashes of `pack_hashes`."""
    unpacked: array[int] = array("Q")
    unpacked.frombytes(blob)
    if sys.byteorder == "big":
        unpacked.byteswap()
    return unpacked


def pack_revisions(revisions: Sequence[int]) -> bytes:
    """Return run lengths and revisions: mostly one run, eight bytes."""
    return b"".join(_RUN.pack(sum(1 for _ in run), revision) for revision, run in groupby(revisions))


def unpack_revisions(blob: bytes) -> Iterator[int]:
    """Yield the revision of each entry, the inverse of `pack_revisions`."""
    for count, revision in _RUN.iter_unpack(blob):
        for _ in range(count):
            yield revision


def cut(count: int, target: int) -> list[int]:
    """Return the sizes of nearly equal parts of `count` entries, each about `target` and none empty."""
    if count == 0:
        return []
    parts = max(1, round(count / target))
    base, more = divmod(count, parts)
    return [base + 1] * more + [base] * (parts - more)


def place(after: int, last: int, count: int) -> list[int] | None:
    """Return rising positions in (after, last] for `count` segments that replace what is there.

    The last one takes `last` (at the end of the list: any). None if they would stand too tight:
    the caller then replaces one segment more.
    """
    if last == END:
        return [after + GAP * (index + 1) for index in range(count)]
    if count and (last - after) // count < _TIGHT:
        return None
    return [after + (last - after) * (index + 1) // count for index in range(count)]


def place_before(after: int, following: int, count: int) -> list[int] | None:
    """Return positions for `count` segments between two that stay, leaving room for more of them.

    None if there is no room: the caller then replaces the following one.
    """
    step = min(GAP, (following - after) >> 16)
    if step < _TIGHT:
        return None if (following - after) // (count + 1) < _TIGHT else _dense(after, count)
    if after + step * count >= following:
        return None
    return [after + step * (index + 1) for index in range(count)]


def _dense(after: int, count: int) -> list[int]:
    return [after + _TIGHT * (index + 1) for index in range(count)]


def too_much_missing(missing: int, live: int) -> bool:
    """Tell whether a pass misses so many objects that it is suspected, not believed."""
    return missing > 1_000 and missing * 10 > live + missing  # noqa: PLR2004 - the design's two numbers


def overlap(one: str, other: str) -> bool:
    """Tell whether two roots of a bucket share keys: one is a prefix of the other."""
    return one.startswith(other) or other.startswith(one)
