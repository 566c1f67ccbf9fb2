"""Who may send: one process at a time, by a lock of the operating system held for life.

The number of an incarnation is the lease on each row it sends: a row left by an earlier one has
no sender any more, and what its call did is unknown.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from dispatcher.core.calls import Api
from dispatcher.core.dispatch import DispatchState
from dispatcher.core.outcomes import REPEAT_FOR, Uncertain
from dispatcher.ledger.calls import api_of_attempt
from dispatcher.ledger.evidence import Evidence, append_outcomes, outcome_row
from dispatcher.ledger.failures import LedgerLockedError, LedgerPlaceError
from dispatcher.ledger.superseding import waiting_again
from dispatcher.ledger.tables import dispatches, in_state, incarnations
from dispatcher.ledger.writing import BATCH

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection, Row

    from dispatcher.core.dispatch import StateReason

_YIELDS = "yields"


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of a sender; numbers only grow. `recovered` rows were left `sending` by earlier ones."""

    number: int
    recovered: int = 0


class SenderYieldsError(LedgerLockedError):
    """Another process sends, and will stop soon when it is asked to."""


@dataclass(frozen=True, slots=True)
class SenderLock:
    """The lock file, held. The system releases it when the process ends, however it ends."""

    descriptor: int
    path: Path

    @classmethod
    def take(cls, ledger: Path, *, yields: bool = False) -> SenderLock:
        """Take the lock beside the ledger, or raise LedgerLockedError with the holder's process id.

        One that `yields` promises to release it soon after somebody asked (`ask_to_yield`).
        """
        path = _lock_path(ledger)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LedgerPlaceError(
                f"the lock file {path} cannot be opened ({error.strerror})", hint="check its owner and permissions"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder, _, rest = os.pread(descriptor, 40, 0).decode("ascii", "replace").strip().partition(" ")
            os.close(descriptor)
            if rest == _YIELDS and not yields:
                raise SenderYieldsError(
                    f"process {holder}, a backfill, is dispatching from the ledger {ledger} and does not let go",
                    hint="stop it (Ctrl-C pauses it), start this, and resume it: it goes on beside a daemon",
                ) from None
            raise LedgerLockedError(
                f"process {holder or 'unknown'} is already dispatching from the ledger {ledger}",
                hint="stop it first; one ledger has one sender",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}{f' {_YIELDS}' if yields else ''}\n".encode("ascii"), 0)
        _wanted_path(ledger).unlink(missing_ok=True)
        return cls(descriptor, path)

    def is_held(self) -> bool:
        """Tell whether the file that is locked is still the one at its path: only then it keeps others away."""
        try:
            ours, there = os.fstat(self.descriptor), self.path.stat()
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def release(self) -> None:
        """Let another process send."""
        os.close(self.descriptor)


def ask_to_yield(ledger: Path) -> None:
    """Ask the holder of the lock to release it. Idempotent; whoever takes the lock ends the request."""
    try:
        _wanted_path(ledger).touch()
    except OSError as error:
        raise LedgerPlaceError(
            f"the file {_wanted_path(ledger)} cannot be written ({error.strerror})",
            hint="check the owner and the permissions of the ledger's directory",
        ) from error


def is_asked_to_yield(ledger: Path) -> bool:
    """Tell whether somebody waits for the lock."""
    return _wanted_path(ledger).exists()


def somebody_sends(ledger: Path) -> bool:
    """Tell whether any process holds the lock now. For a moment this takes part in it itself."""
    try:
        descriptor = os.open(_lock_path(ledger), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_path(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".sender.lock")


def _wanted_path(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".sender.wanted")


def begin_incarnation(tx: Connection, now: datetime, pid: int) -> Incarnation:
    """Return a new incarnation; only the holder of the sender's lock may ask for one."""
    number = tx.scalar(insert(incarnations).values(started_at=now, pid=pid).returning(incarnations.c.number))
    assert number is not None  # noqa: S101 - a statement that returns its row
    return Incarnation(number)


def recover(tx: Connection, incarnation: Incarnation, now: datetime) -> int:
    """Settle rows that earlier incarnations left `sending`; return how many, at most 1,000.

    What their calls did is unknown: they become uncertain, due for a look at once. A call under a client token
    is sent again as well, while the token lasts; a registration, which may come twice, just waits again.
    """
    table = dispatches.c
    left = tx.execute(
        select(table.dispatch_id, table.attempt, table.api, table.intent_at, table.repeat_attempt, table.repeat_until)
        .where(in_state(DispatchState.SENDING), table.incarnation < incarnation.number)
        .limit(BATCH)
    ).all()
    if not left:
        return 0
    died = Uncertain("sender died")
    append_outcomes(tx, [outcome_row(row.dispatch_id, row.attempt, died, Evidence.RECOVERY, now, now) for row in left])
    tx.execute(
        update(dispatches)
        .where(table.dispatch_id == bindparam("of"))
        .values(
            state=bindparam("to_state"),
            reason=bindparam("to_reason"),
            attempts=table.attempts + 1,
            absent_sweeps=0,
            last_absent_at=None,
            incarnation=None,
            next_at=bindparam("to_next", None, table.next_at.type),
            repeat_attempt=bindparam("to_repeat"),
            repeat_at=bindparam("to_repeat_at", None, table.repeat_at.type),
            repeat_until=bindparam("to_repeat_until", None, table.repeat_until.type),
            updated_at=now,
            last_error_code=None,
            last_error_message=died.reason,
            last_error_request_id=None,
        ),
        [_recovered(tx, row, now) for row in left],
    )
    return len(left)


def _recovered(tx: Connection, row: Row[*tuple[Any, ...]], now: datetime) -> dict[str, object]:
    api = api_of_attempt(row.api)
    state: DispatchState = DispatchState.UNCERTAIN
    reason: StateReason | None = None
    next_at: datetime | None = now
    if api is Api.REGISTER_MEDIA_INFO:
        state, reason, next_at = waiting_again(tx, row.dispatch_id, None, now)
    repeats = api is Api.SUBMIT_MEDIA_PRODUCING_JOB
    return {
        "of": row.dispatch_id,
        "to_state": state,
        "to_reason": reason,
        "to_next": next_at,
        "to_repeat": (row.repeat_attempt or row.attempt) if repeats else None,
        "to_repeat_at": now if repeats else None,
        "to_repeat_until": (row.repeat_until or row.intent_at + REPEAT_FOR) if repeats else None,
    }
