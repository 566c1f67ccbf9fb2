"""Notices: what an operator must know of the whole ledger before anything is called.

A notice stands until what it tells is not true any more; it survives restarts, and `status` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from dispatcher.ledger.tables import notices, rule_progress
from dispatcher.ledger.writing import put

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


class NoticeCode(StrEnum):
    """What is to be known.

    LEDGER_BEHIND: the service may have tasks of ours that this ledger does not know. Nothing is called until
    they are recorded. Set by a start that finds such a task, by `db adopt` while it is at work, and by whatever
    brings an older state of the ledger back.

    NOT_COMPARED: since a start the service has not answered whether it has such tasks. Nothing is called before.
    """

    LEDGER_BEHIND = "ledger_behind"
    NOT_COMPARED = "not_compared"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: since when it stands, and when it was last found to be true."""

    code: NoticeCode
    detail: str
    since: datetime
    seen_at: datetime


def post(tx: Connection, code: NoticeCode, detail: str, now: datetime) -> bool:
    """Put up a notice, or say again what it tells; tell whether it is new. Idempotent."""
    known = tx.scalar(select(notices.c.since).where(notices.c.code == code))
    row: dict[str, object] = {"code": code, "detail": detail, "seen_at": now}
    put(tx, notices, {**row, "since": now if known is None else known})
    return known is None


def lift(tx: Connection, code: NoticeCode) -> bool:
    """Take a notice down; tell whether it stood. Idempotent."""
    return tx.execute(delete(notices).where(notices.c.code == code)).rowcount > 0


def standing(tx: Connection) -> dict[NoticeCode, Notice]:
    """Return the notices that stand; codes that this version does not know are left out."""
    known = {code.value for code in NoticeCode}
    return {
        NoticeCode(row.code): Notice(NoticeCode(row.code), row.detail, row.since, row.seen_at)
        for row in tx.execute(select(notices).order_by(notices.c.since))
        if row.code in known
    }


def last_intent_at(tx: Connection) -> datetime | None:
    """Return when this ledger last recorded the intent of a call; None if it never did."""
    at: datetime | None = tx.scalar(select(func.max(rule_progress.c.served_at)))
    return at
