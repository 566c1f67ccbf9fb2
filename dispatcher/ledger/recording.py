"""Recording: what intake decided becomes rows, each at most once, for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from dispatcher.core.dispatch import DispatchState, StateReason, id_from_bytes, id_to_bytes
from dispatcher.core.events import encode_key
from dispatcher.ledger.tables import Lane, dispatches, in_state, rule_hits, tombstones
from dispatcher.ledger.writing import BATCH, add

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

SOURCE_BACKFILL = "backfill"
SOURCE_EXISTING = "existing"


@dataclass(frozen=True, slots=True)
class NewDispatch:
    """One rule applied to one object.

    `aliases` are the ids that the same object has under former names of the rule. With `settle` set, a
    changed content waits until it has been still as long, and the first content of a `growing` object too.
    `state` is PENDING, or SKIPPED with a reason. `backfill` is the number of the backfill that asks for it.
    """

    dispatch_id: str
    rule_id: str
    bucket: str
    key: str
    etag: str
    size: int
    run: str
    source: str
    modified_at: datetime | None
    aliases: tuple[str, ...] = ()
    settle: timedelta | None = None
    growing: bool = False
    state: DispatchState = DispatchState.PENDING
    reason: StateReason | None = None
    backfill: int | None = None

    @property
    def live(self) -> bool:
        """Whether something was seen to happen, rather than that an operator asked for what lies there."""
        return self.backfill is None and self.source != SOURCE_EXISTING and self.state is DispatchState.PENDING


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record` did. `superseded` holds rows made skipped (SUPERSEDED), also among the inserted.

    `brought_forward`: rows that waited in a backfill, and are live from now on.
    """

    inserted: tuple[str, ...]
    known: int
    superseded: tuple[str, ...]
    brought_forward: int = 0


_Object = tuple[str, str, bytes, str]


@dataclass(slots=True)
class _Sibling:
    """Another content of the same object under the same rule and run, stored or about to be."""

    dispatch_id: str
    state: DispatchState
    modified_at: datetime | None
    first_seen_at: datetime
    row: dict[str, object] | None = None  # of one that is about to be stored


@dataclass(slots=True)
class _Plan:
    """What one call of `record` will write."""

    siblings: dict[_Object, list[_Sibling]]
    rows: list[dict[str, object]] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    stored_superseded: list[str] = field(default_factory=list)


def record(tx: Connection, items: Sequence[NewDispatch], now: datetime) -> Recorded:
    """Insert the dispatches that are new. Idempotent; at most 1,000 items a call.

    One that exists, shrank to a tombstone, or exists under an alias counts as known. A waiting row of the
    same rule, key and run with an older or equal (or unknown) time becomes skipped (SUPERSEDED): its
    call would process the new bytes. Rows that are being sent, may have been or were are never touched. An item
    that is strictly older than a recorded row is itself inserted as skipped (SUPERSEDED). A live sighting of
    a row that waits in a backfill takes it out of there: it must not wait for the whole backfill.
    """
    if len(items) > BATCH:
        raise ValueError(f"at most {BATCH} items a call, not {len(items)}")
    new = unknown(tx, items)
    forward = _bring_forward(tx, items, new, now) if len(new) < len(items) else 0
    if not new:
        return Recorded((), len(items), (), forward)
    plan = _Plan(_stored_siblings(tx, new))
    for item in new:
        _plan(plan, item, now)
    if plan.stored_superseded:
        tx.execute(
            update(dispatches)
            .where(dispatches.c.dispatch_id == bindparam("of"))
            .values(state=DispatchState.SKIPPED, reason=StateReason.SUPERSEDED, next_at=None, updated_at=now),
            [{"of": each} for each in plan.stored_superseded],
        )
    tx.execute(insert(dispatches), plan.rows)
    for rule_id, hits in Counter(item.rule_id for item in new).items():
        add(
            tx,
            rule_hits,
            {"rule_id": rule_id, "hits": hits, "last_at": now},
            counters=("hits",),
            latest=("last_at",),
        )
    inserted = tuple(item.dispatch_id for item in new)
    return Recorded(inserted, len(items) - len(new), tuple(plan.superseded), forward)


def _bring_forward(tx: Connection, items: Iterable[NewDispatch], new: Sequence[NewDispatch], now: datetime) -> int:
    inserted = {item.dispatch_id for item in new}
    seen = {item.dispatch_id: item for item in items if item.live and item.dispatch_id not in inserted}
    if not seen:
        return 0
    ids = [each for item in seen.values() for each in (item.dispatch_id, *item.aliases)]
    changed = 0
    for start in range(0, len(ids), BATCH):
        waiting = (
            in_state(DispatchState.PENDING)
            & dispatches.c.backfill.is_not(None)
            & dispatches.c.dispatch_id.in_(ids[start : start + BATCH])
        )
        values = {"lane": Lane.BUDGETED, "backfill": None, "updated_at": now}
        changed += tx.execute(update(dispatches).where(waiting).values(**values)).rowcount
    return changed


def unknown(tx: Connection, items: Iterable[NewDispatch]) -> list[NewDispatch]:
    """Return the items of which the ledger knows neither the id nor an alias, without repetitions."""
    by_id: dict[str, NewDispatch] = {}
    for item in items:
        by_id.setdefault(item.dispatch_id, item)
    known = known_ids(tx, {each for item in by_id.values() for each in (item.dispatch_id, *item.aliases)})
    return [item for item in by_id.values() if item.dispatch_id not in known and known.isdisjoint(item.aliases)]


def known_ids(tx: Connection, ids: Iterable[str]) -> set[str]:
    """Return which of the ids the ledger has ever recorded."""
    wanted = list(ids)
    known: set[str] = set()
    for start in range(0, len(wanted), BATCH):
        chunk = wanted[start : start + BATCH]
        known.update(tx.scalars(select(dispatches.c.dispatch_id).where(dispatches.c.dispatch_id.in_(chunk))))
        raw = [id_to_bytes(each) for each in chunk]
        known.update(
            id_from_bytes(each) for each in tx.scalars(select(tombstones.c.id).where(tombstones.c.id.in_(raw)))
        )
    return known


def _stored_siblings(tx: Connection, items: Iterable[NewDispatch]) -> dict[_Object, list[_Sibling]]:
    table = dispatches.c
    # One query for each (rule, bucket): SQLite would scan the whole index for a list of triples.
    keys: dict[tuple[str, str], set[bytes]] = {}
    for item in items:
        keys.setdefault((item.rule_id, item.bucket), set()).add(encode_key(item.key))
    siblings: dict[_Object, list[_Sibling]] = {}
    for (rule_id, bucket), wanted in keys.items():
        rows = tx.execute(
            select(table.dispatch_id, table.key, table.run, table.state, table.modified_at, table.first_seen_at).where(
                table.rule_id == rule_id, table.bucket == bucket, table.key.in_(wanted)
            )
        )
        for dispatch_id, key, run, state, modified_at, first_seen_at in rows:
            siblings.setdefault((rule_id, bucket, key, run), []).append(
                _Sibling(dispatch_id, DispatchState(state), modified_at, first_seen_at)
            )
    return siblings


def _plan(plan: _Plan, item: NewDispatch, now: datetime) -> None:
    key = encode_key(item.key)
    siblings = plan.siblings.setdefault((item.rule_id, item.bucket, key, item.run), [])
    state, reason, next_at = item.state, item.reason, now
    if state is DispatchState.PENDING:
        if any(_older(item.modified_at, other.modified_at) for other in siblings):
            state, reason = DispatchState.SKIPPED, StateReason.SUPERSEDED
            plan.superseded.append(item.dispatch_id)
        else:
            for other in siblings:
                _supersede(plan, other)
            settle = item.settle
            if settle is not None and (item.growing or any(now - other.first_seen_at < settle for other in siblings)):
                reason, next_at = StateReason.SETTLING, now + settle
    row: dict[str, object] = {
        "dispatch_id": item.dispatch_id,
        "rule_id": item.rule_id,
        "bucket": item.bucket,
        "key": key,
        "etag": item.etag,
        "size": item.size,
        "run": item.run,
        "state": state,
        "reason": reason,
        "source": item.source,
        "lane": lane_of(item),
        "backfill": item.backfill,
        "modified_at": item.modified_at,
        "first_seen_at": now,
        "updated_at": now,
        "next_at": next_at if state is DispatchState.PENDING else None,
    }
    plan.rows.append(row)
    siblings.append(_Sibling(item.dispatch_id, state, item.modified_at, now, row))


def _supersede(plan: _Plan, other: _Sibling) -> None:
    if other.state is not DispatchState.PENDING:
        return
    other.state = DispatchState.SKIPPED
    plan.superseded.append(other.dispatch_id)
    if other.row is None:
        plan.stored_superseded.append(other.dispatch_id)
    else:
        other.row.update(state=DispatchState.SKIPPED, reason=StateReason.SUPERSEDED, next_at=None)


def _older(modified_at: datetime | None, other: datetime | None) -> bool:
    """Tell which content is older, by whole seconds: a HEAD tells no more, and listings of some stores do."""
    if modified_at is None or other is None:
        return False
    return modified_at.replace(microsecond=0) < other.replace(microsecond=0)


def lane_of(item: NewDispatch) -> Lane:
    """Return the queue of a new dispatch: what an operator asked for is not counted by a budget."""
    if item.backfill is not None:
        return Lane.BACKFILL
    return Lane.EXEMPT if item.source == SOURCE_EXISTING else Lane.BUDGETED
