"""What kind of file system holds a directory: the one place that reads the system's table of mounts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

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
_SHARED_WITH_A_HOST = frozenset({"9p", "virtiofs", "vboxsf", "prl_fs", "fakeowner", "grpcfuse"})
_LAYERED = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs", "vfs"})
_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system_of(folder: Path) -> str | None:
    """Return the type of the file system that holds a directory; None where the system does not say."""
    found = _mount_of(folder)
    return None if found is None else found[1]


def on_container_layer(folder: Path) -> bool:
    """Tell whether a directory, which need not exist, lies on a root file system that ends with its container."""
    found = _mount_of(folder)
    return found is not None and found[0] == 1 and found[1] in _LAYERED


def is_network(kind: str | None) -> bool:
    """Tell whether several machines write to such a file system, and locks do not hold on it."""
    return kind in _NETWORK


def tells_of_writes(kind: str | None) -> bool:
    """Tell whether the kernel sees every write: not those of other machines, nor those behind FUSE."""
    return kind is not None and not is_network(kind) and kind not in _SHARED_WITH_A_HOST and not kind.startswith("fuse")


def _mount_of(folder: Path) -> tuple[int, str] | None:
    """Return how deep the mount point lies that holds a directory (1: the root), and its type."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    return _innermost(folder.resolve(), lines)


def _innermost(folder: Path, lines: Iterable[str]) -> tuple[int, str] | None:
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
    return found
