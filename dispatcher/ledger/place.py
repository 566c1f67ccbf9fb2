"""Where a ledger may lie: a file on a local disk, in a directory that can be written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from dispatcher.ledger.failures import LedgerPlaceError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre",
        "beegfs", "gpfs", "ocfs2", "davfs", "davfs2", "fuse.sshfs", "fuse.s3fs", "fuse.ossfs", "fuse.goofys",
        "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.rclone", "fuse.juicefs", "fuse.davfs", "fuse.cifs",
    }
)  # fmt: skip

_OCTAL = re.compile(r"\\([0-7]{3})")


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
    kind = file_system_of(folder)
    if kind in _NETWORK:
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


def file_system_of(folder: Path) -> str | None:
    """Return the type of the file system that holds a directory; None where the system does not say."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    return _innermost(folder.resolve(), lines)


def _innermost(folder: Path, lines: Iterable[str]) -> str | None:
    found: tuple[int, str] | None = None
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5:  # noqa: PLR2004 - the fifth field is the mount point
            continue
        mounted = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # Later lines cover earlier ones on the same mount point.
        if folder.is_relative_to(mounted) and (found is None or len(mounted.parts) >= found[0]):
            found = (len(mounted.parts), kinds[0])
    return None if found is None else found[1]
