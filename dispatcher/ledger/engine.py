"""The ledger as a file: opening, transactions, copies, and who may send.

SQLite in WAL mode. Every write takes the lock at its beginning (BEGIN IMMEDIATE) and is durable when
it returns (synchronous=FULL). Any number of processes may record and read; one of them is the sender.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from dispatcher.ledger import place, sending, upgrading
from dispatcher.ledger.failures import LedgerLockedError, LedgerPlaceError, explained
from dispatcher.ledger.sending import Incarnation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["Incarnation", "Ledger"]

PAGE_SIZE = 16_384
"""Bytes. Snapshot segments fill such pages well; 4 KiB pages would waste a third of the disk."""
BUSY_TIMEOUT_MS = 30_000
YIELDED_WITHIN = 60.0
"""Seconds in which a sender that yields lets go: its calls in flight end first."""
_ASK_EVERY = 0.1
_LOOKED_AT_FOR = 0.3
"""Seconds in which the lock may seem to be taken, while somebody only looks whether it is."""
_WRITING = "ledger_writing"


@dataclass
class Ledger:
    """An open ledger. Thread-safe; close it at the end."""

    path: Path
    readonly: bool
    _engine: Engine
    _lock: sending.SenderLock | None = None

    @classmethod
    def open(cls, url: str, *, upgrade: bool = True, readonly: bool = False) -> Ledger:
        """Open the ledger of an SQLAlchemy URL; create it, or bring it to this version.

        Before an upgrade an existing file is copied to `<file>.before-<revision>`. `upgrade=False` opens an
        older ledger as it is, for `db current`. Raises LedgerError: the place is unsuitable, the file is
        damaged, or it was written by a version that this one cannot follow.
        """
        path = place.path_of(url)
        place.check_place(path, readonly=readonly)
        ledger = cls(path, readonly, _engine(path, readonly=readonly))
        try:
            if readonly:
                with ledger.read() as tx:
                    upgrading.check_current(tx, str(path))
            elif upgrade:
                ledger.upgrade()
            else:
                with ledger.read() as tx:
                    upgrading.check_known(tx, str(path))
        except BaseException:
            ledger.close()
            raise
        return ledger

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one moment of the ledger. Raises LedgerError."""
        with explained(str(self.path)), self._engine.connect() as tx, tx.begin():
            yield tx

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection whose changes are committed together at the end, or not at all.

        Waits for other writers, at most 30 seconds. Raises LedgerError.
        """
        with explained(str(self.path)), self._engine.connect() as connection:
            tx = connection.execution_options(**{_WRITING: True})
            with tx.begin():
                yield tx

    def current(self) -> str | None:
        """Return the schema revision of the file; None for a new one."""
        with self.read() as tx:
            return upgrading.revision_of(tx)

    def upgrade(self) -> bool:
        """Bring the file to the revision of this version; tell whether anything was done."""
        with self.read() as tx:
            if upgrading.check_known(tx, str(self.path)):
                return False
        with self.write() as tx:
            return upgrading.upgrade(tx, str(self.path), self._copy_before)

    def backup(self, to: Path) -> None:
        """Copy the ledger to a new file, consistent also while others write. Raises LedgerError."""
        if to.exists():
            raise LedgerPlaceError(f"{to} exists already", hint="name a new file")
        part = to.with_name(to.name + ".part")
        try:
            with explained(str(to)):
                self._copy(part)
            part.replace(to)
        except OSError as error:
            raise LedgerPlaceError(
                f"the copy {to} cannot be written ({error.strerror})", hint="check the directory and its free space"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def become_sender(self, now: datetime, *, yields: bool = False) -> Incarnation:
        """Become the one process that may call, until `resign` or for as long as this ledger is open.

        Rows that an earlier sender left `sending` become uncertain, due for a look at once. Raises
        LedgerLockedError, naming the process, while another sender lives. One that `yields` is asked to let go,
        and waited for, by one that does not.
        """
        if self._lock is None:
            self._lock = self._take_lock(yields=yields)
        with self.write() as tx:
            incarnation = sending.begin_incarnation(tx, now, os.getpid())
        recovered, more = 0, True
        while more:
            with self.write() as tx:
                some = sending.recover(tx, incarnation, now)
            recovered += some
            more = some > 0
        return replace(incarnation, recovered=recovered)

    def _take_lock(self, *, yields: bool) -> sending.SenderLock:
        begun = time.monotonic()
        while True:
            try:
                return sending.SenderLock.take(self.path, yields=yields)
            except sending.SenderYieldsError:
                if time.monotonic() - begun > YIELDED_WITHIN:
                    raise
                sending.ask_to_yield(self.path)
            except LedgerLockedError:
                if time.monotonic() - begun > _LOOKED_AT_FOR:
                    raise
            threading.Event().wait(_ASK_EVERY)

    def should_yield(self) -> bool:
        """Tell whether another process waits for the right to send that this one has."""
        return self._lock is not None and sending.is_asked_to_yield(self.path)

    def somebody_sends(self) -> bool:
        """Tell whether any process has the right to send now."""
        return self._lock is not None or sending.somebody_sends(self.path)

    def resign(self) -> None:
        """Give the right to send back; nothing may be under way. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def is_sender(self) -> bool:
        """Tell whether this process still is the one that may call. Thread-safe, cheap, never raises.

        False after `close`, and when somebody removed or replaced the lock file: then another may be sending.
        """
        lock = self._lock
        return lock is not None and lock.is_held()

    def close(self) -> None:
        """Release everything, the sender's lock too. Idempotent."""
        self._engine.dispose()
        self.resign()

    def _copy_before(self, revision: str) -> None:
        to = self.path.with_name(f"{self.path.name}.before-{revision}")
        if not to.exists():
            self.backup(to)

    def _copy(self, to: Path) -> None:
        source = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)
        try:
            target = sqlite3.connect(to)
            try:
                source.backup(target, pages=4_096)
                target.execute("PRAGMA journal_mode=DELETE")  # one file, complete by itself
            finally:
                target.close()
        finally:
            source.close()
        _sync(to)


def _engine(path: Path, *, readonly: bool) -> Engine:
    uri = f"{path.as_uri()}?mode={'ro' if readonly else 'rwc'}"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=0),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
    )
    event.listen(engine, "connect", _prepare_reader if readonly else _prepare_writer)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_reader(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _prepare_writer(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute(f"PRAGMA page_size={PAGE_SIZE}")  # of a new file only; must precede WAL
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _sync(path: Path) -> None:
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems cannot sync a directory
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
