"""What can go wrong with the file under the ledger, in the words of an operator."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from dispatcher.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator


class LedgerFullError(LedgerError):
    """There is no room for what must be written, or the disk refuses it. Nothing was changed."""

    passing = True


class LedgerLockedError(LedgerError):
    """Another process holds the ledger for too long, or is already its sender."""

    passing = True


class LedgerDamagedError(LedgerError):
    """The file is not a ledger, or is damaged."""


class LedgerVersionError(LedgerError):
    """The ledger was written by a version that this one cannot follow."""


class LedgerPlaceError(LedgerError):
    """The place of the ledger cannot be used: missing, not writable, on a network file system."""


_NO_SPACE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DENIED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_PRIMARY = 0xFF  # the low byte of an extended result code


def explain(error: BaseException, where: str) -> LedgerError | None:
    """Return what an error of the database means for an operator; None if it is a defect of ours.

    `where` names the ledger. The message never holds SQL.
    """
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    if not isinstance(original, sqlite3.Error) or code is None:
        return None
    primary = code & _PRIMARY
    if primary in _NO_SPACE:
        return LedgerFullError(
            f"the ledger {where} cannot be written: the disk is full or failing ({original})",
            hint="make room on the disk of the ledger, or mend the disk; nothing was lost, and work goes on by itself",
        )
    if primary in _BUSY:
        return LedgerLockedError(
            f"the ledger {where} is locked by another process",
            hint="find who holds it (`fuser` on the file), for example a copy or an open transaction in a SQL shell",
        )
    if primary in _DAMAGED:
        return LedgerDamagedError(
            f"the ledger {where} is damaged or is not a ledger ({original})",
            hint="move the file away and restore a copy made by `oss-dispatcher db backup`; do not delete it",
        )
    if primary in _DENIED:
        return LedgerPlaceError(
            f"the ledger {where} cannot be opened for writing ({original})",
            hint="check owner and permissions of the file and of its directory",
        )
    return None


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn errors of the database inside the block into LedgerError."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        known = explain(error, where)
        if known is None:
            raise
        raise known from error
