"""The storage of bucket snapshots: what a listing reads of them, and the changes it brings."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from dispatcher.core.events import decode_key, encode_key
from dispatcher.core.segments import (
    HASH_KEY_BYTES,
    EarlierRoot,
    FreshSegment,
    PassEnd,
    RootState,
    SegmentEdit,
    SegmentHead,
    SnapshotChange,
    entry_hash,
    overlap,
    unpack_hashes,
    unpack_revisions,
)
from dispatcher.errors import LedgerError
from dispatcher.ledger.snapshot_tables import snapshot_keys, snapshot_roots, snapshot_segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

_FETCH = 200
_CHUNK = 250_000
_PARAMETERS = 500
_SEGMENT = snapshot_segments.c
_ROOT = snapshot_roots.c
_HEAD = (_SEGMENT.position, _SEGMENT.count, _SEGMENT.length, _SEGMENT.digest, _SEGMENT.fence)
_LIMBO = _SEGMENT.position.is_(None)


class SnapshotConflictError(LedgerError):
    """Another process changed this root's snapshot; nothing of this change was written."""


class Transactions(Protocol):
    """What this module needs of a ledger."""

    def read(self) -> AbstractContextManager[Connection]: ...
    def write(self) -> AbstractContextManager[Connection]: ...


@dataclass(frozen=True, slots=True)
class RootStatistics:
    """What `status` tells of one root. `kept` entries are never forgotten: a pass was suspect."""

    bucket: str
    root: str
    entries: int
    limbo: int
    kept: int
    segments: int
    passes: int
    started_at: datetime
    completed_at: datetime | None
    listed_at: datetime | None
    suspect_pass: int | None
    suspect_missing: int | None
    suspect_at: datetime | None


def apply(tx: Connection, change: SnapshotChange) -> None:
    """Write one step of a pass. Raises SnapshotConflictError if it was not made for this state.

    Not idempotent, and it need not be: the version refuses the same change a second time.
    """
    root_id, number = _advance(tx, change)
    _edit(tx, root_id, number, change.edits)
    if change.end is not None:
        _end(tx, root_id, number, change.bucket, change.end)


def load_root(tx: Connection, bucket: str, root: str, hash_key: bytes) -> RootState:
    """Return what is remembered of a root; see `SnapshotMemory.load`."""
    rows = tx.execute(select(snapshot_roots).where(_ROOT.bucket == bucket)).mappings().all()
    raw = encode_key(root)
    own = next((row for row in rows if row["root"] == raw), None)
    earlier: tuple[EarlierRoot, ...] = ()
    if own is None or own["completed_at"] is None:
        others = [row for row in rows if row["root"] != raw and overlap(decode_key(row["root"]), root)]
        earlier = tuple(
            EarlierRoot(row["id"], decode_key(row["root"]), row["started_at"], row["completed_at"] is not None)
            for row in others
        )
    if own is None:
        return RootState(None, 0, 0, None, None, hash_key, earlier)
    return RootState(
        own["id"], own["version"], own["passes"], own["started_at"], own["completed_at"], hash_key, earlier
    )


def known(tx: Connection, root_ids: Sequence[int], hashes: Collection[int]) -> dict[int, int]:
    """Return the revision of each of `hashes` that these roots know. One scan of all their hashes."""
    wanted = set(hashes)
    found: dict[int, int] = {}
    for blob, revisions in _blobs(tx, _SEGMENT.root_id.in_(root_ids)):
        if len(found) == len(wanted):
            break
        candidates = unpack_hashes(blob)
        if not wanted.isdisjoint(candidates):
            pairs = zip(candidates, unpack_revisions(revisions), strict=True)
            found.update((each, revision) for each, revision in pairs if each in wanted and each not in found)
    return found


def missing(tx: Connection, root_id: int, number: int) -> int:
    """Return how many entries that became limbo in pass `number` are in no live segment.

    Memory is bounded by looking at a part of them at a time.
    """
    count = 0
    for part in _parts(tx, (_SEGMENT.root_id == root_id) & _LIMBO & (_SEGMENT.missing_since == number)):
        for blob, _ in _blobs(tx, (_SEGMENT.root_id == root_id) & ~_LIMBO):
            part.difference_update(unpack_hashes(blob))
        count += len(part)
    return count


def revisions_of(tx: Connection, bucket: str, contents: Sequence[tuple[str, str | None, int]]) -> list[int | None]:
    """Return for each (key, etag, size) the rule-set revision at which it was first listed, None if it never was.

    One scan of all hashes of the bucket, however many are asked for.
    """
    hash_key = tx.execute(select(snapshot_keys.c.hash_key)).scalar()
    if hash_key is None:
        return [None] * len(contents)
    hashes = [entry_hash(hash_key, encode_key(key), etag, size) for key, etag, size in contents]
    roots = list(tx.scalars(select(_ROOT.id).where(_ROOT.bucket == bucket)))
    revisions = known(tx, roots, set(hashes))
    return [revisions.get(each) for each in hashes]


def revision_of(tx: Connection, bucket: str, key: str, etag: str | None, size: int) -> int | None:
    """Return the rule-set revision at which this content of a key was first listed, None if it never was."""
    hash_key = tx.execute(select(snapshot_keys.c.hash_key)).scalar()
    if hash_key is None:
        return None
    roots = tx.execute(select(_ROOT.id, _ROOT.root).where(_ROOT.bucket == bucket)).all()
    raw = encode_key(key)
    own = [row.id for row in roots if raw.startswith(row.root)]
    each = entry_hash(hash_key, raw, etag, size)
    return known(tx, own, [each]).get(each)


def last_pass(tx: Connection) -> datetime | None:
    """Return when a listing was complete last; None if none ever was."""
    at: datetime | None = tx.scalar(select(func.max(_ROOT.listed_at)))
    return at


def statistics(tx: Connection) -> list[RootStatistics]:
    """Return the figures of every root, by bucket and root."""
    total = func.sum(_SEGMENT.count)
    sums = select(
        _SEGMENT.root_id,
        func.coalesce(total.filter(~_LIMBO), 0).label("entries"),
        func.coalesce(total.filter(_LIMBO), 0).label("limbo"),
        func.coalesce(total.filter(_LIMBO & _SEGMENT.missing_since.is_(None)), 0).label("kept"),
        func.count().filter(~_LIMBO).label("segments"),
    ).group_by(_SEGMENT.root_id)
    by_root = {row["root_id"]: row for row in tx.execute(sums).mappings()}
    rows = tx.execute(select(snapshot_roots).order_by(_ROOT.bucket, _ROOT.root)).mappings()
    return [_statistics(row, by_root.get(row["id"])) for row in rows]


def _statistics(row: RowMapping, sums: RowMapping | None) -> RootStatistics:
    return RootStatistics(
        bucket=row["bucket"],
        root=decode_key(row["root"]),
        entries=sums["entries"] if sums else 0,
        limbo=sums["limbo"] if sums else 0,
        kept=sums["kept"] if sums else 0,
        segments=sums["segments"] if sums else 0,
        passes=row["passes"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        listed_at=row["listed_at"],
        suspect_pass=row["suspect_pass"],
        suspect_missing=row["suspect_missing"],
        suspect_at=row["suspect_at"],
    )


@dataclass(frozen=True)
class LedgerSnapshots:
    """The `SnapshotMemory` of a listing: each call is a read transaction of its own."""

    ledger: Transactions

    def load(self, bucket: str, root: str) -> RootState:
        hash_key = self._hash_key()
        with self.ledger.read() as tx:
            return load_root(tx, bucket, root, hash_key)

    def roots(self, bucket: str) -> Mapping[str, bool]:
        query = select(_ROOT.root, _ROOT.completed_at).where(_ROOT.bucket == bucket)
        with self.ledger.read() as tx:
            return {decode_key(row.root): row.completed_at is not None for row in tx.execute(query)}

    def heads(self, root_id: int, after: int, limit: int) -> Sequence[SegmentHead]:
        query = (
            select(*_HEAD)
            .where(_SEGMENT.root_id == root_id, _SEGMENT.position > after)
            .order_by(_SEGMENT.position)
            .limit(limit)
        )
        with self.ledger.read() as tx:
            return [SegmentHead(*row) for row in tx.execute(query)]

    def first_fence(self, root_id: int, after: int, raw_keys: Sequence[bytes]) -> SegmentHead | None:
        found = []
        with self.ledger.read() as tx:
            for start in range(0, len(raw_keys), _PARAMETERS):
                query = (
                    select(*_HEAD)
                    .where(
                        _SEGMENT.root_id == root_id,
                        _SEGMENT.fence.in_(raw_keys[start : start + _PARAMETERS]),
                        _SEGMENT.position > after,
                    )
                    .order_by(_SEGMENT.position)
                    .limit(1)
                )
                found += [SegmentHead(*row) for row in tx.execute(query)]
        return min(found, key=lambda head: head.position, default=None)

    def revisions(self, root_id: int, after: int, last: int) -> Mapping[int, int]:
        between = (_SEGMENT.root_id == root_id) & (_SEGMENT.position > after) & (_SEGMENT.position <= last)
        with self.ledger.read() as tx:
            return {
                each: revision
                for blob, revisions in _blobs(tx, between)
                for each, revision in zip(unpack_hashes(blob), unpack_revisions(revisions), strict=True)
            }

    def known(self, root_ids: Sequence[int], hashes: Collection[int]) -> dict[int, int]:
        with self.ledger.read() as tx:
            return known(tx, root_ids, hashes)

    def counts(self, root_id: int, number: int) -> tuple[int, int]:
        total = func.coalesce(func.sum(_SEGMENT.count), 0)
        own = _SEGMENT.root_id == root_id
        with self.ledger.read() as tx:
            live = tx.execute(select(total).where(own, ~_LIMBO)).scalar_one()
            limbo = tx.execute(select(total).where(own, _LIMBO, _SEGMENT.missing_since == number)).scalar_one()
        return live, limbo

    def missing(self, root_id: int, number: int) -> int:
        with self.ledger.read() as tx:
            return missing(tx, root_id, number)

    def _hash_key(self) -> bytes:
        """Return the ledger's own key, made once at random; several processes agree on the first."""
        query = select(snapshot_keys.c.hash_key)
        with self.ledger.read() as tx:
            stored: bytes | None = tx.execute(query).scalar()
        if stored is not None:
            return stored
        with self.ledger.write() as tx:
            stored = tx.execute(query).scalar()
            if stored is None:
                stored = secrets.token_bytes(HASH_KEY_BYTES)
                tx.execute(insert(snapshot_keys).values(id=1, hash_key=stored))
        return stored


def _advance(tx: Connection, change: SnapshotChange) -> tuple[int, int]:
    """Take the change's version, or create the root; return its id and the number of this pass."""
    raw = encode_key(change.root)
    own = (_ROOT.bucket == change.bucket) & (_ROOT.root == raw)
    row = tx.execute(select(_ROOT.id, _ROOT.version, _ROOT.passes).where(own)).one_or_none()
    if row is None and change.begin is not None and change.version == 0:
        new = {"bucket": change.bucket, "root": raw, "version": 1, "passes": 0, "started_at": change.begin}
        created = tx.execute(insert(snapshot_roots).values(**new).returning(_ROOT.id)).scalar_one()
        return created, 1
    if row is None or row.version != change.version or change.begin is not None:
        raise SnapshotConflictError(
            f"the snapshot of {change.bucket}/{change.root} was changed by another process during this listing",
            hint="let only one process list a bucket with one ledger; the next listing continues by itself",
        )
    tx.execute(update(snapshot_roots).where(_ROOT.id == row.id).values(version=change.version + 1))
    return row.id, row.passes + 1


def _edit(tx: Connection, root_id: int, number: int, edits: Sequence[SegmentEdit]) -> None:
    """Turn what is replaced into limbo, then insert: an edit's fresh segments lie in no other edit's range."""
    for edit in edits:
        if edit.last > edit.after:
            span = (_SEGMENT.root_id == root_id) & (_SEGMENT.position > edit.after) & (_SEGMENT.position <= edit.last)
            tx.execute(update(snapshot_segments).where(span).values(position=None, missing_since=number))
    rows = [_row(root_id, segment) for edit in edits for segment in edit.fresh]
    if rows:
        tx.execute(insert(snapshot_segments), rows)


def _row(root_id: int, segment: FreshSegment) -> dict[str, object]:
    return {
        "root_id": root_id,
        "position": segment.head.position,
        "count": segment.head.count,
        "length": segment.head.length,
        "digest": segment.head.digest,
        "fence": segment.head.fence,
        "revisions": segment.revisions,
        "hashes": segment.hashes,
    }


def _end(tx: Connection, root_id: int, number: int, bucket: str, end: PassEnd) -> None:
    """Count the pass, and forget what was missing already from the complete pass before it."""
    limbo = (_SEGMENT.root_id == root_id) & _LIMBO
    values: dict[str, object] = {"passes": number, "listed_at": end.at}
    if end.empty and end.suspect is None:
        # Two passes that list something must agree on what is gone: this one only puts the judgement off.
        absent = update(snapshot_segments).where(limbo, _SEGMENT.missing_since.is_not(None))
        tx.execute(absent.values(missing_since=number + 1))
    elif end.suspect is None:
        tx.execute(delete(snapshot_segments).where(limbo, _SEGMENT.missing_since < number))
    else:
        # What was missing before may be the beginning of the same trouble: nothing of it is forgotten.
        tx.execute(update(snapshot_segments).where(limbo).values(missing_since=None))
        values |= {"suspect_pass": number, "suspect_missing": end.suspect.missing, "suspect_at": end.at}
    own = update(snapshot_roots).where(_ROOT.id == root_id)
    tx.execute(own.values(**values))
    tx.execute(own.where(_ROOT.completed_at.is_(None)).values(completed_at=end.at))
    if end.superseded:
        gone = (_ROOT.bucket == bucket) & _ROOT.root.in_([encode_key(root) for root in end.superseded])
        tx.execute(delete(snapshot_segments).where(_SEGMENT.root_id.in_(select(_ROOT.id).where(gone))))
        tx.execute(delete(snapshot_roots).where(gone))


def _blobs(tx: Connection, condition: ColumnElement[bool]) -> Iterator[tuple[bytes, bytes]]:
    """Yield hashes and revisions of segments, a few at a time; the order does not matter."""
    query = select(_SEGMENT.hashes, _SEGMENT.revisions).where(condition)
    for row in tx.execute(query.execution_options(yield_per=_FETCH)):
        yield row[0], row[1]


def _parts(tx: Connection, condition: ColumnElement[bool]) -> Iterator[set[int]]:
    part: set[int] = set()
    for blob, _ in _blobs(tx, condition):
        part.update(unpack_hashes(blob))
        if len(part) >= _CHUNK:
            yield part
            part = set()
    if part:
        yield part
