"""Adopting: starts that the service tells of and that this ledger does not know become its own.

What is inserted here is not started yet: it is a row that may have been called, and the same evidence that
settles any such row (`settling.settle_evidence`) makes it started, in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, case, func, or_, select, update

from dispatcher.core.dispatch import DispatchState, id_to_bytes
from dispatcher.core.events import decode_key, encode_key
from dispatcher.ledger.recording import known_ids
from dispatcher.ledger.tables import Lane, dispatches, tombstones
from dispatcher.ledger.writing import insert_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from dispatcher.core.calls import Api, Endpoint

SOURCE_ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class AdoptedObject:
    """The object and the rule of a start, where they are known."""

    rule_id: str
    bucket: str
    key: str
    etag: str
    size: int
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A start to take over. `object` None: no more is known than the id, and a tombstone is all it can have."""

    dispatch_id: str
    attempt: int
    task_id: str
    api: Api
    endpoint: Endpoint
    workflow_id: str
    created_at: datetime | None
    object: AdoptedObject | None


@dataclass(frozen=True, slots=True)
class Inserted:
    """The ids that were inserted, as rows and as tombstones."""

    rows: tuple[str, ...] = ()
    tombstones: tuple[str, ...] = ()


def insert(tx: Connection, found: Sequence[Adopted], now: datetime) -> Inserted:
    """Insert what the ledger does not know, each id once. Idempotent; at most 1,000 a call.

    The rows are `uncertain`: settle them by the evidence that brought them before the transaction ends.
    """
    known = known_ids(tx, {each.dispatch_id for each in found})
    new = {each.dispatch_id: each for each in reversed(found) if each.dispatch_id not in known}
    rows = [_row(each, each.object, now) for each in new.values() if each.object is not None]
    buried = [
        {"id": id_to_bytes(each.dispatch_id), "state": DispatchState.STARTED, "task_id": each.task_id}
        for each in new.values()
        if each.object is None
    ]
    insert_new(tx, dispatches, rows)
    insert_new(tx, tombstones, buried)
    return Inserted(
        tuple(each.dispatch_id for each in new.values() if each.object is not None),
        tuple(each.dispatch_id for each in new.values() if each.object is None),
    )


@dataclass(frozen=True, slots=True)
class KnownContent:
    """A content of an object that the ledger has a live row for."""

    dispatch_id: str
    rule_id: str
    bucket: str
    key: str
    etag: str
    size: int


def contents_of(tx: Connection, rule_id: str, places: Iterable[tuple[str, str]]) -> list[KnownContent]:
    """Return the live rows of a rule for these objects, in any state. At most 1,000 objects a call."""
    keys: dict[str, list[bytes]] = {}
    for bucket, key in places:
        keys.setdefault(bucket, []).append(encode_key(key))
    table = dispatches.c
    return [
        KnownContent(row.dispatch_id, rule_id, bucket, decode_key(row.key), row.etag, row.size)
        for bucket, wanted in keys.items()
        for row in tx.execute(
            select(table.dispatch_id, table.key, table.etag, table.size).where(
                table.rule_id == rule_id, table.bucket == bucket, table.key.in_(wanted), table.run == ""
            )
        )
    ]


def attach(tx: Connection, dispatch_id: str, each: Adopted) -> None:
    """Say of a row that never made this attempt that it was made, and where its task runs. Idempotent.

    A row of an older state of the ledger may wait for what was called long ago.
    """
    table = dispatches.c
    tx.execute(
        update(dispatches)
        .where(table.dispatch_id == dispatch_id, or_(table.attempt < each.attempt, table.intent_at.is_(None)))
        .values(
            attempt=case((table.attempt < each.attempt, each.attempt), else_=table.attempt),
            region=each.endpoint.region,
            endpoint=each.endpoint.url,
            workflow_id=each.workflow_id or None,
            api=each.api.value,
            intent_at=func.coalesce(bindparam("at", each.created_at, table.updated_at.type), table.first_seen_at),
        )
    )


def unheard_of(tx: Connection, tokens: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the attempts that this ledger never made: of ids that it never had, or of rows that are not so far.

    An attempt is recorded before its call, so that a ledger which is not behind knows each. At most 1,000.
    """
    wanted = dict(sorted(tokens))  # the highest attempt of each
    table = dispatches.c
    rows = tx.execute(select(table.dispatch_id, table.attempt).where(table.dispatch_id.in_(list(wanted))))
    made = {row.dispatch_id: row.attempt for row in rows}
    known = known_ids(tx, wanted.keys() - made.keys())
    return [(each, attempt) for each, attempt in wanted.items() if each not in known and made.get(each, -1) < attempt]


def states_of(tx: Connection, ids: Iterable[str]) -> Mapping[str, tuple[DispatchState, str | None]]:
    """Return state and task id of those of the ids that the ledger knows, also as tombstones. At most 1,000."""
    wanted = list(ids)
    table, tombs = dispatches.c, tombstones.c
    found: dict[str, tuple[DispatchState, str | None]] = {}
    by_raw = {id_to_bytes(each): each for each in wanted}
    for row in tx.execute(select(tombstones).where(tombs.id.in_(list(by_raw)))):
        found[by_raw[row.id]] = (DispatchState(row.state), row.task_id)
    rows = select(table.dispatch_id, table.state, table.task_id).where(table.dispatch_id.in_(wanted))
    for row in tx.execute(rows):
        found[row.dispatch_id] = (DispatchState(row.state), row.task_id)
    return found


def _row(each: Adopted, seen: AdoptedObject, now: datetime) -> dict[str, object]:
    at = each.created_at or now
    return {
        "dispatch_id": each.dispatch_id,
        "rule_id": seen.rule_id,
        "bucket": seen.bucket,
        "key": encode_key(seen.key),
        "etag": seen.etag,
        "size": seen.size,
        "run": "",
        "state": DispatchState.UNCERTAIN,
        "source": SOURCE_ADOPTED,
        "lane": Lane.EXEMPT,
        "modified_at": seen.modified_at,
        "first_seen_at": at,
        "updated_at": now,
        "next_at": now,
        "attempt": each.attempt,
        "first_attempt_at": at,
        "intent_at": at,
        "region": each.endpoint.region,
        "endpoint": each.endpoint.url,
        "workflow_id": each.workflow_id or None,
        "api": each.api.value,
    }
