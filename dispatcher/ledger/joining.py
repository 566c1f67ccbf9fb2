"""From jobs of the service to the ledger's rows: by the dispatch id that a job carries, or by its job id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from dispatcher.core.dispatch import DispatchState, id_from_bytes, id_to_bytes
from dispatcher.core.events import decode_key
from dispatcher.ledger.tables import EDITING_JOB, dispatches, tombstones

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """What the ledger says of a job's dispatch. Of a pruned one rule, bucket and key are gone."""

    dispatch_id: str
    state: DispatchState
    task_id: str | None
    rule: str | None = None
    bucket: str | None = None
    key: str | None = None


def by_dispatch_id(tx: Connection, dispatch_ids: Collection[str]) -> Iterator[JoinedRow]:
    """Yield the rows of these ids, pruned ones too; at most 1,000 ids."""
    found: set[str] = set()
    for row in tx.execute(select(dispatches).where(dispatches.c.dispatch_id.in_(dispatch_ids))):
        found.add(row.dispatch_id)
        yield _joined(row)
    lost = [id_to_bytes(each) for each in dispatch_ids if each not in found]
    if lost:
        for tomb in tx.execute(select(tombstones).where(tombstones.c.id.in_(lost))):
            yield JoinedRow(id_from_bytes(tomb.id), DispatchState(tomb.state), tomb.task_id)


def by_job_id(tx: Connection, job_ids: Collection[str]) -> Iterator[JoinedRow]:
    """Yield the rows that started these editing jobs; at most 1,000 ids."""
    for row in tx.execute(select(dispatches).where(EDITING_JOB & dispatches.c.task_id.in_(job_ids))):
        yield _joined(row)


def _joined(row: Row[tuple[object, ...]]) -> JoinedRow:
    return JoinedRow(
        row.dispatch_id, DispatchState(row.state), row.task_id, row.rule_id, row.bucket, decode_key(row.key)
    )
