"""Where a ledger may lie: a file on a local disk, in a directory that can be written."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from dispatcher import mounts
from dispatcher.ledger.failures import LedgerPlaceError


def path_of(url: str) -> Path:
    """Return the file that an SQLAlchemy URL of a ledger names. Raises LedgerPlaceError for other URLs."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The text is not repeated: a malformed URL may still hold a password.
        raise LedgerPlaceError("ledger.url is not a database URL", hint="write sqlite:///NAME.db") from None
    if parsed.get_backend_name() != "sqlite":
        raise LedgerPlaceError(
            f"a ledger on {parsed.get_backend_name()} is not supported by this version",
            hint="write sqlite:///NAME.db in ledger.url",
        )
    if not parsed.database or parsed.database == ":memory:":
        raise LedgerPlaceError("a ledger needs a file", hint="write sqlite:///NAME.db in ledger.url")
    return Path(parsed.database).absolute()


def check_place(path: Path, *, readonly: bool) -> None:
    """Refuse a place where a ledger would not be safe. Raises LedgerPlaceError."""
    folder = path.parent
    if not folder.is_dir():
        raise LedgerPlaceError(f"the directory {folder} of the ledger does not exist", hint="create it")
    if path.exists() and not path.is_file():
        raise LedgerPlaceError(f"the ledger {path} is not a file", hint="name a file in ledger.url")
    if readonly and not path.exists():
        raise LedgerPlaceError(
            f"there is no ledger at {path} yet", hint="start `oss-dispatcher run`, or check ledger.url"
        )
    kind = mounts.file_system_of(folder)
    if mounts.is_network(kind):
        raise LedgerPlaceError(
            f"the ledger {path} lies on a network file system ({kind}), where locks do not hold",
            hint="put the ledger on a local disk",
        )
    if readonly:
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LedgerPlaceError(
            f"the directory {folder} of the ledger cannot be written", hint="give the user of this process write access"
        )
    if path.exists() and not os.access(path, os.W_OK):
        raise LedgerPlaceError(
            f"the ledger {path} cannot be written", hint="give the user of this process write access to the file"
        )
