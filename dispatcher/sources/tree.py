"""A directory tree as a listing: each regular file is a key, in the form of a bucket's answers.

So the folder source compares a tree exactly as a bucket is compared with its snapshot, and keeps eight bytes
for a file in the ledger instead of the tree in memory. Directories are opened one below the other and never
through a symbolic link, so nothing outside the tree is ever looked at, whatever is renamed meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

import structlog

from dispatcher.core.events import encode_key
from dispatcher.errors import FolderError
from dispatcher.sources.store import Answer

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator
    from pathlib import Path

LONGEST_KEY = 1_023
"""Bytes of an OSS key; a file with a longer one has no object."""
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INSIDE = _ROOT | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file is without reading it. `appeared` is when it last changed in any way, its name and place too."""

    size: int
    mtime_ns: int
    appeared: datetime

    @property
    def mark(self) -> str:
        """What stands for the content in place of an etag."""
        return f"{self.mtime_ns:x}"


@dataclass
class Tree:
    """The files under a directory, by their path below it as bytes, parts joined by slashes."""

    root: Path
    _denied: set[bytes] = field(default_factory=set, init=False)

    def walk(self) -> Generator[tuple[bytes, FileState]]:
        """Yield every regular file, in the order of the file system; memory is that of the depth.

        A directory that may not be read is passed over, and named in the log once. Raises FolderError when
        the root cannot be read, or reading fails in another way: then it is not known what is there.
        """
        levels = [self._open_root()]
        try:
            while levels:
                found = self._step(levels)
                if found is not None:
                    yield found
        finally:
            for level in levels:
                level.close()

    def state(self, path: bytes) -> FileState | None:
        """Return a file's state now, None if there is no regular file of this path inside the tree.

        Raises FolderError when the root cannot be read.
        """
        *folders, name = path.split(b"/")
        if {b"", b".", b".."} & {*folders, name}:
            return None
        try:
            at = os.open(self.root, _ROOT)
        except OSError as error:
            raise self._failed(error) from error
        try:
            for folder in folders:
                above, at = at, os.open(folder, _INSIDE, dir_fd=at)
                os.close(above)
            return _state(os.stat(name, dir_fd=at, follow_symlinks=False))
        except OSError:
            return None  # gone, or no directory any more: what comes in its place tells of itself
        finally:
            os.close(at)

    def _open_root(self) -> _Level:
        try:
            return _Level(b"", os.open(self.root, _ROOT))
        except OSError as error:
            raise self._failed(error) from error

    def _step(self, levels: list[_Level]) -> tuple[bytes, FileState] | None:
        """Take one entry of the innermost directory: a file is returned, a directory entered."""
        level = levels[-1]
        try:
            entry = next(level.entries, None)
            if entry is None:
                levels.pop().close()
                return None
            path = level.prefix + os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                levels += self._enter(level, entry.name, path)
                return None
            state = _state(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error
        return None if state is None else (path, state)

    def _enter(self, level: _Level, name: str, path: bytes) -> list[_Level]:
        """Return the level of a directory; nothing if it is gone, became a link, or may not be read."""
        if len(path) >= LONGEST_KEY:
            return []
        try:
            return [_Level(path + b"/", os.open(name, _INSIDE, dir_fd=level.descriptor))]
        except PermissionError:
            self._tell_denied(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
        return []

    def _tell_denied(self, path: bytes) -> None:
        if path not in self._denied:
            self._denied.add(path)
            structlog.get_logger().warning(
                "folder.denied",
                folder=str(self.root),
                directory=os.fsdecode(path),
                hint="its files are not seen; give the user of this process read access to the directory",
            )

    def _failed(self, error: OSError) -> FolderError:
        return FolderError(
            f"the folder {self.root} cannot be read: {os.strerror(error.errno or 0)}",
            hint="check that it is mounted and that the user of this process may read it; nothing is lost,"
            " it is read again",
        )


class _Level:
    """An open directory on the way down. Takes over the descriptor."""

    def __init__(self, prefix: bytes, descriptor: int) -> None:
        self.prefix = prefix
        self.descriptor = descriptor
        try:
            self.entries = os.scandir(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


@dataclass
class TreeListing:
    """Answers like a bucket's listing, from a tree under a key prefix. One pass at a time.

    A file that was written less than `settle` ago may be half written: it is left out and told to `unsettled`.
    """

    tree: Tree
    settle: float
    clock: Callable[[], datetime]
    unsettled: Callable[[bytes, FileState], None]
    _walk: Generator[tuple[bytes, FileState]] = field(init=False)
    _token: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._walk = _nothing()

    def list(self, root: str, token: str | None, page: int, stop: threading.Event) -> Answer:
        """Return the next files under the keys that begin with `root`, the first ones for no token.

        Raises FolderError.
        """
        if token is None:
            self._walk.close()
            self._walk = self.tree.walk()
        elif token != str(self._token):
            raise FolderError(
                f"the listing of {self.tree.root} was begun anew meanwhile", hint="it is read again by itself"
            )
        now = self.clock()
        prefix = encode_key(root)
        entries: list[str] = []
        ended = True
        for path, state in self._walk:
            if len(prefix) + len(path) <= LONGEST_KEY:
                if self._is_settled(state, now):
                    entries.append(_entry(prefix + path, state))
                else:
                    self.unsettled(path, state)
            if len(entries) >= page or stop.is_set():
                ended = False
                break
        self._token += 1
        frame = "" if ended else f"<NextContinuationToken>{self._token}</NextContinuationToken>"
        body = (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(not ended).lower()}</IsTruncated>"
            f"{frame}{''.join(entries)}</ListBucketResult>"
        )
        return Answer(body.encode(), now)

    def close(self) -> None:
        """Leave a pass that was not ended."""
        self._walk.close()
        self._walk = _nothing()

    def _is_settled(self, state: FileState, now: datetime) -> bool:
        # A time in the future is no sign of writing; a file that is written under it shows by changing.
        age = now.timestamp() - state.mtime_ns / 1e9
        return not -1.0 <= age < self.settle


def _nothing() -> Generator[tuple[bytes, FileState]]:
    yield from ()


def _entry(key: bytes, state: FileState) -> str:
    return (
        f"<Contents><Key>{quote_from_bytes(key)}</Key><LastModified>{state.appeared.isoformat()}</LastModified>"
        f"<ETag>{state.mark}</ETag><Size>{state.size}</Size></Contents>"
    )


def _state(status: os.stat_result) -> FileState | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_size, status.st_mtime_ns, datetime.fromtimestamp(status.st_ctime, UTC))
