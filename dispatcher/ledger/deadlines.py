"""Queries that end in time: who only looks must never keep a processor from who sends."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError

from dispatcher.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the time: less than a millisecond."""


class LedgerSlowError(LedgerError):
    """A look at the ledger took longer than it may. Nothing was changed."""

    passing = True


@contextmanager
def within(tx: Connection, seconds: float) -> Iterator[None]:
    """Break off what is asked inside the block after so many seconds. Raises LedgerSlowError.

    One block at a time for each connection. Does nothing on a database that is not SQLite.
    """
    raw: Any = tx.connection.dbapi_connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return
    deadline = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            raise
        raise LedgerSlowError(
            f"this was not found within {seconds:g} s: so many rows would have to be looked at",
            hint="narrow it: by state, since, rule and key, or an object's URL",
        ) from error
    finally:
        raw.set_progress_handler(None, 0)
